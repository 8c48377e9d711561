//! What a STOW-RS or QIDO-RS answer says (PS3.18 §10.5.3, annex F): JSON, or XML of the Native
//! DICOM Model (PS3.19 §A.1), read into one shape with limits.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Data sets, elements, items and values of one answer together.
const NODES_MAX: usize = 100_000;
/// Sequences within sequences. An answer has one, a study of a query two.
const DEPTH_MAX: usize = 8;

pub(super) const SOP_CLASS: &str = "00080016";
pub(super) const SOP_INSTANCE: &str = "00080018";
const REFERENCED_SOP_INSTANCE: &str = "00081155";
const WARNING_REASON: &str = "00081196";
const FAILURE_REASON: &str = "00081197";
const FAILED_SOPS: &str = "00081198";
const REFERENCED_SOPS: &str = "00081199";
const OTHER_FAILURES: &str = "0008119A";

/// A data set: what was looked at is kept as text, sequences as data sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(BTreeMap<String, Element>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Element {
    values: Vec<String>,
    items: Vec<Set>,
}

impl Set {
    pub(super) fn text(&self, tag: &str) -> Option<&str> {
        self.0.get(tag)?.values.first().map(|v| v.trim_end_matches(['\0', ' ']))
    }

    fn number(&self, tag: &str) -> Option<u16> {
        self.text(tag)?.trim().parse().ok()
    }

    fn items(&self, tag: &str) -> &[Self] {
        self.0.get(tag).map_or(&[], |e| &e.items)
    }
}

/// What is said about one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// With the warning reason, where there is one.
    Stored(Option<u16>),
    /// With the failure reason; 0 where none is given.
    Failed(u16),
    Unnamed,
}

/// Whether the answer names the instance. Where it names it twice, its failure counts. A failure
/// that names nobody is ours: the request had no other part.
pub(super) fn fate(sets: &[Set], sop_instance: &str) -> Fate {
    let named = |list: &'static str| {
        sets.iter().flat_map(move |s| s.items(list)).find(|item| item.text(REFERENCED_SOP_INSTANCE) == Some(sop_instance))
    };
    if let Some(item) = named(FAILED_SOPS) {
        return Fate::Failed(item.number(FAILURE_REASON).unwrap_or(0));
    }
    if let Some(item) = named(REFERENCED_SOPS) {
        return Fate::Stored(item.number(WARNING_REASON).filter(|reason| *reason != 0));
    }
    match sets.iter().flat_map(|s| s.items(OTHER_FAILURES)).next() {
        Some(item) => Fate::Failed(item.number(FAILURE_REASON).unwrap_or(0)),
        None => Fate::Unnamed,
    }
}

/// Whether the answer to a query holds this very instance.
pub(super) fn holds(sets: &[Set], sop_class: &str, sop_instance: &str) -> bool {
    sets.iter().any(|s| s.text(SOP_INSTANCE) == Some(sop_instance) && s.text(SOP_CLASS).is_none_or(|class| class == sop_class))
}

/// The data sets of an answer; by how it begins, since not every archive names the type. `None`
/// where it is neither JSON nor XML, or beyond the limits.
pub(super) fn parse(body: &[u8]) -> Option<Vec<Set>> {
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{FEFF}').trim();
    match text.bytes().next() {
        None => Some(Vec::new()),
        Some(b'{' | b'[') => parse_json(text),
        Some(b'<') => parse_xml(text),
        Some(_) => None,
    }
}

fn parse_json(text: &str) -> Option<Vec<Set>> {
    let mut left = NODES_MAX;
    match serde_json::from_str(text).ok()? {
        Json::Array(sets) => sets.iter().map(|s| read_json(s, 0, &mut left)).collect(),
        set => Some(vec![read_json(&set, 0, &mut left)?]),
    }
}

fn read_json(json: &Json, depth: usize, left: &mut usize) -> Option<Set> {
    let mut set = Set::default();
    for (tag, element) in json.as_object()? {
        let mut read = Element::default();
        for value in element.get("Value").and_then(Json::as_array).into_iter().flatten() {
            *left = left.checked_sub(1)?;
            match value {
                Json::String(text) => read.values.push(text.clone()),
                Json::Number(number) => read.values.push(number.to_string()),
                Json::Object(_) if element.get("vr").is_some_and(|vr| vr == "SQ") && depth < DEPTH_MAX => {
                    read.items.push(read_json(value, depth + 1, left)?);
                }
                _ => {}
            }
        }
        *left = left.checked_sub(1)?;
        set.0.insert(tag.to_ascii_uppercase(), read);
    }
    Some(set)
}

/// One piece of XML.
enum Piece<'a> {
    Open { name: &'a str, attributes: &'a str, is_empty: bool },
    Close(&'a str),
    Text(&'a str),
}

/// It is no XML, or more than is read here.
struct Malformed;

/// Cuts XML into pieces. What could name something outside (a document type) ends it.
struct Pieces<'a>(&'a str);

impl<'a> Pieces<'a> {
    /// `None` at the end.
    fn next(&mut self) -> Result<Option<Piece<'a>>, Malformed> {
        loop {
            if self.0.is_empty() {
                return Ok(None);
            }
            if !self.0.starts_with('<') {
                let (text, rest) = self.0.split_at(self.0.find('<').unwrap_or(self.0.len()));
                self.0 = rest;
                return Ok(Some(Piece::Text(text)));
            }
            if let Some(rest) = self.0.strip_prefix("<?") {
                self.0 = rest.split_once("?>").ok_or(Malformed)?.1;
            } else if let Some(rest) = self.0.strip_prefix("<!--") {
                self.0 = rest.split_once("-->").ok_or(Malformed)?.1;
            } else if self.0.starts_with("<!") {
                return Err(Malformed);
            } else {
                return self.tag().map(Some).ok_or(Malformed);
            }
        }
    }

    fn tag(&mut self) -> Option<Piece<'a>> {
        let (inside, rest) = self.0.strip_prefix('<')?.split_once('>')?;
        self.0 = rest;
        if let Some(name) = inside.strip_prefix('/') {
            return Some(Piece::Close(local(name.trim())));
        }
        let is_empty = inside.ends_with('/');
        let inside = inside.trim_end_matches('/');
        let (name, attributes) = inside.split_once(|c: char| c.is_whitespace()).unwrap_or((inside, ""));
        Some(Piece::Open { name: local(name), attributes, is_empty })
    }
}

/// A name without its prefix of a namespace.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = after.get(1..)?.split_once(quote)?;
        if key.trim() == name {
            return Some(value);
        }
        rest = after;
    }
}

/// What is open while XML is read.
enum Open {
    Set(Set),
    Element(String, Element),
    Value(String),
    Other,
}

fn parse_xml(text: &str) -> Option<Vec<Set>> {
    let (mut pieces, mut left) = (Pieces(text), NODES_MAX);
    let (mut open, mut sets): (Vec<(String, Open)>, Vec<Set>) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.next().ok()? {
        left = left.checked_sub(1)?;
        match piece {
            Piece::Text(text) => {
                if let Some((_, Open::Value(value))) = open.last_mut() {
                    value.push_str(text);
                }
            }
            Piece::Open { name, attributes, is_empty } => {
                // Set, element and value for each level.
                if open.len() > 3 * DEPTH_MAX {
                    return None;
                }
                open.push((name.to_owned(), opened(name, attributes)?));
                if is_empty {
                    close(&mut open, &mut sets)?;
                }
            }
            Piece::Close(name) => {
                open.last().filter(|(opened, _)| opened == name)?;
                close(&mut open, &mut sets)?;
            }
        }
    }
    open.is_empty().then_some(sets)
}

fn opened(name: &str, attributes: &str) -> Option<Open> {
    Some(match name {
        "NativeDicomModel" | "Item" => Open::Set(Set::default()),
        "DicomAttribute" => Open::Element(attribute(attributes, "tag")?.to_ascii_uppercase(), Element::default()),
        "Value" => Open::Value(String::new()),
        _ => Open::Other,
    })
}

fn close(open: &mut Vec<(String, Open)>, sets: &mut Vec<Set>) -> Option<()> {
    let (_, closed) = open.pop()?;
    match (closed, open.last_mut()) {
        (Open::Set(set), Some((_, Open::Element(_, element)))) => element.items.push(set),
        (Open::Set(set), _) => sets.push(set),
        (Open::Element(tag, element), Some((_, Open::Set(set)))) => {
            set.0.insert(tag, element);
        }
        // UIDs and numbers have nothing to escape.
        (Open::Value(value), Some((_, Open::Element(_, element)))) => element.values.push(value.trim().to_owned()),
        (Open::Element(..) | Open::Value(_) | Open::Other, _) => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"00081190":{"vr":"UR","Value":["https://p/studies/1"]},
        "00081198":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.2"]},"00081155":{"vr":"UI","Value":["2.25.2"]},
            "00081197":{"vr":"US","Value":[272]}}]},
        "00081199":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.2"]},"00081155":{"vr":"UI","Value":["2.25.1"]}},
            {"00081155":{"vr":"UI","Value":["2.25.3"]},"00081196":{"vr":"US","Value":[45056]}}]}}"#;

    const XML: &str = r#"<?xml version="1.0" encoding="utf-8"?><!-- a -->
        <NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">
        <DicomAttribute keyword="FailedSOPSequence" tag="00081198" vr="SQ"><Item number="1">
          <DicomAttribute tag="00081155" vr="UI"><Value number="1">2.25.2</Value></DicomAttribute>
          <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute></Item></DicomAttribute>
        <DicomAttribute tag="00081199" vr="SQ">
          <Item number="1"><DicomAttribute tag='00081155' vr="UI"><Value number="1">2.25.1</Value></DicomAttribute></Item>
          <Item number="2"><DicomAttribute tag="00081155" vr="UI"><Value number="1">2.25.3</Value></DicomAttribute>
            <DicomAttribute tag="00081196" vr="US"><Value number="1">45056</Value></DicomAttribute></Item></DicomAttribute>
        <DicomAttribute tag="0008119A" vr="SQ"/></NativeDicomModel>"#;

    #[test]
    fn json_and_xml_say_the_same_about_each_instance() {
        for (kind, body) in [("json", JSON.to_owned()), ("array", format!("[{JSON}]")), ("xml", XML.to_owned())] {
            let sets = parse(body.as_bytes()).expect(kind);
            for (uid, then) in [
                ("2.25.1", Fate::Stored(None)),
                ("2.25.3", Fate::Stored(Some(0xB000))),
                ("2.25.2", Fate::Failed(0x0110)),
                ("2.25.4", Fate::Unnamed),
            ] {
                assert_eq!(fate(&sets, uid), then, "{kind} {uid}");
            }
        }
    }

    #[test]
    fn a_failure_counts_before_a_success_and_one_without_a_name_is_ours() {
        let both = r#"{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["2.25.1"]}}]},
            "00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["2.25.1"]}}]}}"#;
        assert_eq!(fate(&parse(both.as_bytes()).unwrap(), "2.25.1"), Fate::Failed(0));
        let other = r#"{"0008119a":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":["49442"]}}]},"00081198":{"vr":"SQ"}}"#;
        assert_eq!(fate(&parse(other.as_bytes()).unwrap(), "2.25.1"), Fate::Failed(0xC122));
    }

    #[test]
    fn an_answer_to_a_query_holds_an_instance_or_not() {
        let found = r#"[{"00080016":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["2.25.1"]}}]"#;
        let sets = parse(found.as_bytes()).unwrap();
        assert!(holds(&sets, "1.2", "2.25.1") && !holds(&sets, "1.3", "2.25.1") && !holds(&sets, "1.2", "2.25.2"));
        assert_eq!(parse(b""), Some(Vec::new()));
    }

    #[test]
    fn what_is_neither_is_not_read() {
        let deep = "<DicomAttribute tag=\"1\"><Item>".repeat(1_000);
        let entity = "<!DOCTYPE x [<!ENTITY a \"b\">]><NativeDicomModel/>";
        for body in ["<html><body>no", "not found", "{\"a\":", "<a></b>", deep.as_str(), entity, "<a", "\u{1}"] {
            assert_eq!(parse(body.as_bytes()), None, "{body}");
        }
        assert_eq!(parse(b"<html><body>yes</body></html>"), Some(Vec::new()));
        let nested = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(parse(nested.as_bytes()), None);
    }
}
