//! Person names: XPN and XCN to DICOM PN (PS3.5 §6.2.1), and to what a person reads.

use super::message::Part;

/// A name in both forms. Empty where the source has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonName {
    /// Groups (alphabetic, ideographic, phonetic) joined with `=`.
    pub dicom: String,
    /// Prefix given middle family suffix.
    pub display: String,
}

/// One group: family, given, middle, prefix, suffix. PN order, not XPN order.
#[derive(Clone, Default)]
struct Group([String; 5]);

/// The name of PID-5: the repetition of the best type, in each of its representations
/// (HL7 v2.5.1 §2.A.88, XPN-7 and XPN-8). `drops_degree`: XPN-6 is not appended to the suffix.
#[must_use]
pub fn patient_name(field: Part<'_>, drops_degree: bool) -> PersonName {
    let mut best = u8::MAX;
    let mut groups: [Option<Group>; 3] = [None, None, None];
    for name in field.repetitions() {
        let group = Group::read(name, 0, drops_degree);
        if group.is_empty() {
            continue;
        }
        let rank = rank(&name.component(7).value());
        if rank < best {
            best = rank;
            groups = [None, None, None];
        }
        let place = match &*name.component(8).value() {
            "I" => 1,
            "P" => 2,
            _ => 0,
        };
        if let Some(slot) = groups.get_mut(place)
            && rank == best
            && slot.is_none()
        {
            *slot = Some(group);
        }
    }
    let display = groups.iter().flatten().next().map(|group| {
        let ideographic = groups.first().is_some_and(Option::is_none);
        if ideographic { group.as_written() } else { group.as_read() }
    });
    let dicom: Vec<String> = groups.iter().map(|g| g.as_ref().map(Group::pn).unwrap_or_default()).collect();
    PersonName { dicom: dicom.join("=").trim_end_matches('=').to_owned(), display: display.unwrap_or_default() }
}

/// The PN of the first person an XCN field names: component 1 is the id, names begin at 2
/// (HL7 v2.5.1 §2.A.86). One group: the field repeats for other persons, not for other scripts.
#[must_use]
pub fn person(field: Part<'_>, drops_degree: bool) -> String {
    field.repetitions().map(|name| Group::read(name, 1, drops_degree).pn()).find(|name| !name.is_empty()).unwrap_or_default()
}

/// Table 0200. The legal name wins; an alias, nickname, maiden name or pseudonym is taken only
/// where nothing else was sent.
fn rank(type_code: &str) -> u8 {
    match type_code {
        "L" => 0,
        "" | "D" => 1,
        "A" | "N" | "M" | "S" => 3,
        _ => 2,
    }
}

impl Group {
    /// `offset`: components before the family name.
    fn read(name: Part<'_>, offset: usize, drops_degree: bool) -> Self {
        let component = |number: usize| legal(&name.component(offset + number).subcomponent(1).text());
        let mut suffix = component(4);
        if !drops_degree {
            let degree = component(6);
            if !suffix.is_empty() && !degree.is_empty() {
                suffix.push(' ');
            }
            suffix.push_str(&degree);
        }
        Self([family(name.component(offset + 1)), component(2), component(3), component(5), suffix])
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(String::is_empty)
    }

    fn pn(&self) -> String {
        self.0.join("^").trim_end_matches('^').to_owned()
    }

    fn as_read(&self) -> String {
        let [family, given, middle, prefix, suffix] = &self.0;
        let words = [&dotted(prefix), given, middle, family, &dotted(suffix)];
        words.into_iter().filter(|w| !w.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Family name first, as scripts without an alphabet write it.
    fn as_written(&self) -> String {
        let [family, given, middle, ..] = &self.0;
        [family, given, middle].into_iter().filter(|w| !w.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// FN (HL7 v2.5.1 §2.A.30): the surname whole is subcomponent 1; without it, own surname prefix
/// and own surname.
fn family(part: Part<'_>) -> String {
    let whole = legal(&part.subcomponent(1).text());
    if !whole.is_empty() {
        return whole;
    }
    let own = [legal(&part.subcomponent(2).text()), legal(&part.subcomponent(3).text())];
    own.join(" ").trim().to_owned()
}

/// `^`, `=`, backslash, control characters and direction overrides are legal in HL7 and illegal
/// inside a PN component (PS3.5 §6.2.1, §6.1.3): a blank stands for each.
fn legal(text: &str) -> String {
    let illegal = |c: char| c.is_control() || matches!(c, '^' | '=' | '\\' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let text: String = text.chars().map(|c| if illegal(c) { ' ' } else { c }).collect();
    text.trim().to_owned()
}

/// Abbreviations that are read with a full stop, where the sender left it out.
fn dotted(title: &str) -> String {
    let words = title.split(' ').map(|word| match word {
        "Dr" | "Prof" | "Jr" | "Sr" => format!("{word}."),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::message::{Delimiters, Message};
    use super::*;

    fn name(field: &str) -> PersonName {
        let text = format!("PID|{field}");
        let message = Message::split(&text, Delimiters::new(b'|', b"^~\\&").unwrap()).unwrap();
        patient_name(message.first("PID").unwrap().field(1), false)
    }

    #[test]
    fn a_pn_has_the_prefix_before_the_suffix_and_nothing_illegal() {
        let table = [
            ("Müller^Jörg^Karl^Jr^Dr", "Müller^Jörg^Karl^Dr^Jr", "Dr. Jörg Karl Müller Jr."),
            ("Doe^John^Q^Jr^Dr^PhD^L", "Doe^John^Q^Dr^Jr PhD", "Dr. John Q Doe Jr. PhD"),
            ("Doe^John^^^^MD", "Doe^John^^^MD", "John Doe MD"),
            ("Brennan^Saoirse^L^^^^L", "Brennan^Saoirse^L", "Saoirse L Brennan"),
            ("Beethoven&van&Beethoven^Ludwig^^III^Dr^^L", "Beethoven^Ludwig^^Dr^III", "Dr. Ludwig Beethoven III"),
            ("&van&Beethoven^Ludwig", "van Beethoven^Ludwig", "Ludwig van Beethoven"),
            ("Alias^Ann^^^^^A~Legal^Anna^^^^^L", "Legal^Anna", "Anna Legal"),
            ("Only^Alias^^^^^A", "Only^Alias", "Alias Only"),
            (r"Smith \T\ Sons^A\F\B", "Smith & Sons^A|B", "A|B Smith & Sons"),
            (r"O\S\x^a\X3D\b^\E\c", "O x^a b^c", "a b c O x"),
            (
                "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P",
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
                "Tarou Yamada",
            ),
            ("患者^太郎^^^^^L^I~カンジャ^タロウ^^^^^L^P", "=患者^太郎=カンジャ^タロウ", "患者 太郎"),
            ("Zörb^Renée^^^^^L~山田^太郎^^^^^L", "Zörb^Renée", "Renée Zörb"),
            ("\"\"^\"\"", "", ""),
            ("", "", ""),
            ("Smith\u{202E}anna^x", "Smith anna^x", "x Smith anna"),
        ];
        for (field, dicom, display) in table {
            assert_eq!(name(field), PersonName { dicom: dicom.into(), display: display.into() }, "{field}");
        }
    }

    #[test]
    fn a_clinician_is_named_from_the_second_component_on() {
        let message = Message::split(
            "PV1|5678^Orderer^Olga^^^Dr^MD|863968|^~1^Second^S|D12345^医師^太郎^^^^^^^L^^^^^I",
            Delimiters::new(b'|', b"^~\\&").unwrap(),
        )
        .unwrap();
        let pv1 = message.first("PV1").unwrap();
        for (number, want) in [(1, "Orderer^Olga^^Dr^MD"), (2, ""), (3, "Second^S"), (4, "医師^太郎")] {
            assert_eq!(person(pv1.field(number), false), want);
        }
        assert_eq!(person(pv1.field(1), true), "Orderer^Olga^^Dr");
    }
}
