//! Reads a scrubbed PDF: one revision, in one form of spelling, without a byte between its objects.
//!
//! Each object is reached from the catalog, as one thing, and holds no key that this thing may not
//! have. Data are unpacked to their end, contents are read operator by operator, pictures as the
//! files that they are. It shares the table of what may stay with the planner, and no code.

mod content;
mod data;
mod font;
mod grammar;
mod jbig2;
mod jpx;

use std::collections::BTreeMap;
use std::ops::Range;

use super::VerifyError;
use crate::media::source::Source;
use crate::scrub::policy::pdf::{HEAD, Kind, LAYER_NAME, ORDERINGS, REGISTRIES, keys};
use grammar::Value;

type Verdict = Result<(), VerifyError>;

fn fail(what: &'static str) -> Verdict {
    Err(VerifyError(what))
}

/// What lies behind the last object is at most a table of so many entries.
const OBJECTS_MAX: u64 = 400_000;
/// Bytes of an entry of the table (ISO 32000-1 §7.5.4).
const ENTRY_BYTES: u64 = 20;
/// One object, less its data.
const VALUE_BYTES_MAX: usize = 32 * 1024 * 1024;
const DEPTH_MAX: usize = 48;

const UNREADABLE: VerifyError = VerifyError("bytes that cannot be read");

/// An object of the output.
struct Object {
    value: Value,
    data: Option<Range<u64>>,
}

struct Walk<'s> {
    output: &'s dyn Source,
    objects: Vec<Object>,
    /// As what each object was reached.
    reached: BTreeMap<u32, Kind>,
    open: Vec<(u32, Kind)>,
}

pub(super) fn check(output: &dyn Source) -> Verdict {
    let (root, spans) = table(output)?;
    let mut objects = Vec::with_capacity(spans.len());
    for (span, number) in spans.iter().zip(1u32..) {
        objects.push(object(output, span, number)?);
    }
    let mut walk = Walk { output, objects, reached: BTreeMap::new(), open: Vec::new() };
    walk.reach(root, Kind::Catalog)?;
    while let Some((number, kind)) = walk.open.pop() {
        walk.object(number, kind)?;
    }
    if walk.reached.len() == walk.objects.len() { Ok(()) } else { fail("an object that nothing leads to") }
}

fn read(output: &dyn Source, range: Range<u64>) -> Result<Vec<u8>, VerifyError> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| UNREADABLE)?;
    let mut bytes = vec![0; length];
    output.read_at(range.start, &mut bytes).map_err(|_| UNREADABLE)?;
    Ok(bytes)
}

/// The number of the catalog, and where each object lies: they fill the file between its head and
/// its table.
fn table(output: &dyn Source) -> Result<(u32, Vec<Range<u64>>), VerifyError> {
    const BAD: VerifyError = VerifyError("a table of objects that is not as it is written here");
    let length = output.length_bytes();
    let head = read(output, 0..HEAD.len() as u64)?;
    let tail = read(output, length.saturating_sub(40)..length)?;
    let tail = String::from_utf8_lossy(&tail).into_owned();
    let start =
        tail.strip_suffix("\n%%EOF\n").and_then(|t| t.rsplit_once("startxref\n")).and_then(|(_, n)| n.parse::<u64>().ok());
    let start = start.filter(|s| head == HEAD && *s < length && length - s < OBJECTS_MAX * ENTRY_BYTES + 256).ok_or(BAD)?;
    let text = read(output, start..length)?;
    let text = std::str::from_utf8(&text).map_err(|_| BAD)?;
    let (entries, trailer) = text.split_once("trailer\n").ok_or(BAD)?;
    let mut places = Vec::new();
    for line in entries.split_inclusive('\n').skip(3) {
        let place = line.strip_suffix(" 00000 n \n").filter(|p| p.len() == 10).and_then(|p| p.parse::<u64>().ok()).ok_or(BAD)?;
        places.push(place);
    }
    let size = places.len() + 1;
    let root: u32 =
        trailer.strip_prefix("<</Root ").and_then(|t| t.split_once(' ')).and_then(|(root, _)| root.parse().ok()).ok_or(BAD)?;
    // Said again in full, it has to be the same.
    let again = format!("<</Root {root} 0 R/Size {size}>>\nstartxref\n{start}\n%%EOF\n");
    if trailer != again || !entries.starts_with(&format!("xref\n0 {size}\n0000000000 65535 f \n")) {
        return Err(BAD);
    }
    let ends = places.iter().copied().skip(1).chain([start]);
    let spans: Vec<Range<u64>> = places.iter().copied().zip(ends).map(|(from, to)| from..to).collect();
    if places.first() != Some(&(HEAD.len() as u64)) || spans.iter().any(|s| s.start >= s.end) {
        return Err(BAD);
    }
    Ok((root, spans))
}

/// One object, which fills its span.
fn object(output: &dyn Source, span: &Range<u64>, number: u32) -> Result<Object, VerifyError> {
    const BAD: VerifyError = VerifyError("an object with bytes beside it");
    let head = format!("{number} 0 obj\n");
    let whole = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
    let mut wanted = 16 * 1024;
    loop {
        let bytes = read(output, span.start..span.start + wanted.min(whole) as u64)?;
        let text = bytes.strip_prefix(head.as_bytes()).ok_or(BAD)?;
        match grammar::value(text) {
            Some((value, rest)) if rest.len() > 16 || wanted >= whole => {
                if rest == b"\nendobj\n" {
                    return Ok(Object { value, data: None });
                }
                let before = bytes.len() - rest.len() + b"\nstream\n".len();
                let start = span.start + before as u64;
                let length = value.get(b"Length").and_then(Value::integer).and_then(|n| u64::try_from(n).ok()).ok_or(BAD)?;
                let end = start.checked_add(length).filter(|e| *e <= span.end).ok_or(BAD)?;
                let is_framed = rest.starts_with(b"\nstream\n") && read(output, end..span.end)? == b"\nendstream\nendobj\n";
                return if is_framed { Ok(Object { value, data: Some(start..end) }) } else { Err(BAD) };
            }
            _ if wanted >= whole || wanted > VALUE_BYTES_MAX => {
                return Err(VerifyError("an object that is not spelled as it is here"));
            }
            _ => wanted *= 4,
        }
    }
}

impl Walk<'_> {
    fn reach(&mut self, number: u32, kind: Kind) -> Verdict {
        match self.reached.insert(number, kind) {
            None => {
                self.open.push((number, kind));
                Ok(())
            }
            Some(before) if before == kind => Ok(()),
            Some(_) => fail("an object that is two things at once"),
        }
    }

    fn at(&self, number: u32) -> Option<&Object> {
        self.objects.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    fn object(&mut self, number: u32, kind: Kind) -> Verdict {
        let Some(object) = self.at(number) else { return fail("a reference to nothing") };
        let (value, data) = (object.value.clone(), object.data.clone());
        match data {
            _ if value == Value::Null => Ok(()),
            Some(range) => self.stream(&value, range, kind),
            None => self.value(&value, kind, 0),
        }
    }

    /// A value that may be an object of its own.
    fn value(&mut self, value: &Value, kind: Kind, depth: usize) -> Verdict {
        if depth > DEPTH_MAX {
            return fail("values nested too deep");
        }
        let depth = depth + 1;
        match (kind, value) {
            (Kind::Parent, _) if *value != Value::Reference(1) => fail("a page that is not in the tree"),
            (kind, Value::Reference(number)) if kind != Kind::Parent => self.reach(*number, leads_to(kind)),
            (Kind::Parent, _)
            | (Kind::Bool | Kind::Numbers, Value::Bool(_))
            | (Kind::Number | Kind::Numbers | Kind::Differences, Value::Number(_))
            | (Kind::Name | Kind::Names | Kind::Differences | Kind::Value | Kind::Encoding, Value::Name(_))
            | (Kind::Text | Kind::Value, Value::Text(_)) => Ok(()),
            (Kind::OneOf(words), Value::Name(word)) if words.contains(&word.as_slice()) => Ok(()),
            (Kind::SoftMask, Value::Name(word)) if word == b"None" => Ok(()),
            (Kind::GlyphMap, Value::Name(word)) if word == b"Identity" => Ok(()),
            (Kind::Function, Value::Name(word)) if word == b"Identity" || word == b"Default" => Ok(()),
            (Kind::Expression, Value::Name(word)) if [&b"And"[..], b"Or", b"Not"].contains(&word.as_slice()) => Ok(()),
            (Kind::Operators, Value::Text(text)) => content::check(text, b' '),
            (Kind::ColorSpace, _) => self.colours(value, depth),
            (Kind::FontSize, Value::Array(items)) => match items.as_slice() {
                [font, Value::Number(_)] => self.value(font, Kind::Font, depth),
                _ => fail("a font without a size"),
            },
            (
                Kind::Numbers | Kind::Names | Kind::Differences | Kind::Value | Kind::Function | Kind::Expression,
                Value::Array(items),
            ) => items.iter().try_for_each(|item| self.value(item, kind, depth)),
            (Kind::Mask, Value::Array(items)) => items.iter().try_for_each(|item| self.value(item, Kind::Numbers, depth)),
            (Kind::List(kind), Value::Array(items)) => items.iter().try_for_each(|item| self.value(item, *kind, depth)),
            (Kind::Map(kind), Value::Dict(dict)) => dict.iter().try_for_each(|(_, value)| self.value(value, *kind, depth)),
            (Kind::Encoding, Value::Dict(_)) => self.dict(value, Kind::EncodingDict, depth),
            (Kind::Pattern, Value::Dict(_)) => self.dict(value, Kind::ShadingPattern, depth),
            (Kind::Property, Value::Dict(_)) => {
                let kind = match value.get(b"Type").and_then(Value::name) {
                    Some(b"OCG") => Kind::Layer,
                    Some(b"OCMD") => Kind::Membership,
                    _ => Kind::Mark,
                };
                self.dict(value, kind, depth)
            }
            (_, Value::Dict(_)) if !keys(kind).is_empty() && !is_data(kind) => self.dict(value, kind, depth),
            _ => fail("a value that may not stand where it does"),
        }
    }

    /// Every key is one that this kind of dictionary may have.
    fn dict(&mut self, value: &Value, kind: Kind, depth: usize) -> Verdict {
        let Value::Dict(dict) = value else { return fail("no dictionary where one belongs") };
        let mut last: Option<&[u8]> = None;
        for (key, item) in dict {
            if last.is_some_and(|last| last >= key.as_slice()) {
                return fail("keys that stand twice");
            }
            last = Some(key);
            if matches!(key.as_slice(), b"Length" | b"Filter" | b"DecodeParms") && is_stream(kind) {
                continue;
            }
            let known = keys(kind).iter().find(|(name, _)| name.as_bytes() == key.as_slice());
            let Some((_, of)) = known else { return fail("a key that may not stay") };
            let is_ours = match (kind, key.as_slice(), item) {
                (Kind::Layer, b"Name", Value::Text(name)) => name == LAYER_NAME,
                (Kind::System, b"Registry", Value::Text(name)) => REGISTRIES.contains(&name.as_slice()),
                (Kind::System, b"Ordering", Value::Text(name)) => ORDERINGS.contains(&name.as_slice()),
                (Kind::Annotation, b"T", Value::Text(name)) => {
                    name.strip_prefix(b"field ").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
                }
                _ => true,
            };
            if !is_ours {
                return fail("a name that somebody gave");
            }
            self.value(item, *of, depth)?;
        }
        Ok(())
    }

    fn colours(&mut self, value: &Value, depth: usize) -> Verdict {
        const BAD: &str = "a colour space that is not known";
        let parts = match value {
            Value::Name(word) if is_device(word) => return Ok(()),
            Value::Array(parts) => parts.as_slice(),
            _ => return fail(BAD),
        };
        let [Value::Name(family), rest @ ..] = parts else { return fail(BAD) };
        match (family.as_slice(), rest) {
            (b"CalGray" | b"CalRGB", [dict]) => self.value(dict, Kind::CalGray, depth),
            (b"Lab", [dict]) => self.value(dict, Kind::Lab, depth),
            (b"ICCBased", [Value::Reference(profile)]) => self.reach(*profile, Kind::Profile),
            (b"Pattern", [base]) => self.value(base, Kind::ColorSpace, depth),
            (b"Indexed" | b"I", [base, Value::Number(Some(highest)), Value::Text(table)]) => {
                let fits = (0..256).contains(highest) && table.len() <= 256 * 32;
                if fits { self.value(base, Kind::ColorSpace, depth) } else { fail(BAD) }
            }
            (b"Separation" | b"DeviceN", [colorants, base, tint]) => {
                self.value(colorants, Kind::Names, depth)?;
                self.value(base, Kind::ColorSpace, depth)?;
                self.value(tint, Kind::Function, depth)
            }
            _ => fail(BAD),
        }
    }
}

/// The kind of an object, by the kind of the place that refers to it.
fn leads_to(kind: Kind) -> Kind {
    match kind {
        Kind::Mask => Kind::Outside,
        Kind::GlyphMap => Kind::Data,
        Kind::Encoding => Kind::CharacterMap,
        Kind::Property | Kind::Expression => Kind::Layer,
        Kind::List(kind) => *kind,
        kind => kind,
    }
}

fn is_device(word: &[u8]) -> bool {
    [&b"DeviceGray"[..], b"DeviceRGB", b"DeviceCMYK", b"Pattern", b"G", b"RGB", b"CMYK"].contains(&word)
}

/// Kinds that are nothing without data.
fn is_data(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Outside
            | Kind::Image
            | Kind::Form
            | Kind::Content
            | Kind::FontProgram
            | Kind::CharacterMap
            | Kind::Profile
            | Kind::Data
            | Kind::Shared
    )
}

fn is_stream(kind: Kind) -> bool {
    is_data(kind) || matches!(kind, Kind::Tiling | Kind::Shading | Kind::Function)
}
