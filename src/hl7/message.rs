//! A decoded message: segments, fields, repetitions, components, subcomponents.

use std::borrow::Cow;

use super::escape::unescape;

/// Most segments of one message. The longest real ones (cumulative reports) have some hundreds.
pub const SEGMENTS_MAX: usize = 10_000;

/// The delimiters of one message (HL7 v2.5.1 §2.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub field: u8,
    pub component: u8,
    pub repetition: Option<u8>,
    pub escape: Option<u8>,
    pub subcomponent: Option<u8>,
}

impl Delimiters {
    /// From MSH-1 and MSH-2. The fifth character of MSH-2, the truncation character of v2.7, is
    /// of no use here. `None`: letters, digits, blanks, or one for two purposes.
    #[must_use]
    pub fn new(field: u8, msh2: &[u8]) -> Option<Self> {
        let [component, rest @ ..] = msh2 else { return None };
        let legal = msh2.len() <= 5 && field.is_ascii_punctuation() && msh2.iter().all(u8::is_ascii_punctuation);
        let mut all = vec![field];
        all.extend(msh2.iter().take(4));
        let distinct = all.iter().enumerate().all(|(at, b)| !all.iter().take(at).any(|other| other == b));
        (legal && distinct).then(|| Self {
            field,
            component: *component,
            repetition: rest.first().copied(),
            escape: rest.get(1).copied(),
            subcomponent: rest.get(2).copied(),
        })
    }
}

/// The text has more than [`SEGMENTS_MAX`] segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySegments;

/// One message. Borrows its text.
#[derive(Debug)]
pub struct Message<'a> {
    pub segments: Vec<Segment<'a>>,
}

impl<'a> Message<'a> {
    /// Splits `text`. Segments end with CR; LF ends them only where it ends the first, so that a
    /// line end inside a text cannot make up a segment.
    ///
    /// # Errors
    /// [`TooManySegments`].
    pub fn split(text: &'a str, delimiters: Delimiters) -> Result<Self, TooManySegments> {
        let ends: &[char] = if text.chars().find(|c| matches!(c, '\r' | '\n')) == Some('\n') { &['\r', '\n'] } else { &['\r'] };
        let mut segments = Vec::with_capacity(16);
        for line in text.split(ends) {
            let line = line.trim_matches(['\n', '\r', ' ', '\t']);
            if line.is_empty() {
                continue;
            }
            if segments.len() == SEGMENTS_MAX {
                return Err(TooManySegments);
            }
            segments.push(Segment { text: line, delimiters });
        }
        Ok(Self { segments })
    }

    /// The first segment of that name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Segment<'a>> {
        self.segments.iter().copied().find(|s| s.is(name))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    text: &'a str,
    delimiters: Delimiters,
}

impl<'a> Segment<'a> {
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.text.split(char::from(self.delimiters.field)).next().unwrap_or_default()
    }

    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    /// Field `number`, counted from 1. MSH-1 is the separator itself, so MSH counts one less.
    #[must_use]
    pub fn field(&self, number: usize) -> Part<'a> {
        let place = if self.is("MSH") { number.saturating_sub(1) } else { number };
        let raw = self.text.split(char::from(self.delimiters.field)).nth(place).unwrap_or_default();
        Part { raw, delimiters: self.delimiters }
    }
}

/// A field, or a piece of one.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    raw: &'a str,
    delimiters: Delimiters,
}

impl<'a> Part<'a> {
    /// Nothing was sent: empty, or delimiters only.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        let d = &self.delimiters;
        self.raw.bytes().all(|b| b == b' ' || b == d.component || [d.repetition, d.subcomponent].contains(&Some(b)))
    }

    /// `""`: the value is to be deleted (HL7 v2.5.1 §2.5.3).
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.raw.trim() == "\"\""
    }

    pub fn repetitions(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let delimiters = self.delimiters;
        split(self.raw, delimiters.repetition).map(move |raw| Part { raw, delimiters })
    }

    /// The first repetition.
    #[must_use]
    pub fn first(&self) -> Part<'a> {
        self.repetitions().next().unwrap_or(Part { raw: "", delimiters: self.delimiters })
    }

    /// Component `number` of the first repetition, counted from 1.
    #[must_use]
    pub fn component(&self, number: usize) -> Part<'a> {
        self.piece(Some(self.delimiters.component), number)
    }

    /// Subcomponent `number`, counted from 1.
    #[must_use]
    pub fn subcomponent(&self, number: usize) -> Part<'a> {
        self.piece(self.delimiters.subcomponent, number)
    }

    fn piece(&self, delimiter: Option<u8>, number: usize) -> Part<'a> {
        let raw = split(self.first().raw, delimiter).nth(number.saturating_sub(1)).unwrap_or_default();
        Part { raw, delimiters: self.delimiters }
    }

    /// The text without escape sequences and outer blanks. `""` is empty.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        if self.is_null() {
            return Cow::Borrowed("");
        }
        match unescape(self.raw.trim(), &self.delimiters) {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        }
    }

    /// The text of the first subcomponent: a value whose type grew components in later versions
    /// is still its first (HL7 v2.5.1 §2.11.1).
    #[must_use]
    pub fn value(&self) -> Cow<'a, str> {
        self.component(1).subcomponent(1).text()
    }
}

fn split(raw: &str, delimiter: Option<u8>) -> impl Iterator<Item = &str> + use<'_> {
    // No delimiter of this level: a character no decoded message holds.
    raw.split(char::from(delimiter.unwrap_or(0x0B)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_delimiters_are_refused() {
        for good in [&b"^~\\&"[..], b"^~\\&#", b"^~\\", b"^", b"*!@$", b"|&~\\"] {
            let field = if good == b"|&~\\" { b'^' } else { b'|' };
            assert!(Delimiters::new(field, good).is_some(), "{:?}", String::from_utf8_lossy(good));
        }
        for (field, bad) in
            [(b'|', &b""[..]), (b'|', b"^^^^"), (b'A', b"^~\\&"), (b'|', b"|~\\&"), (b'|', b"^~\\&#x"), (b' ', b"^~\\&")]
        {
            assert!(Delimiters::new(field, bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn parts_are_found_where_the_standard_counts_them() {
        let delimiters = Delimiters::new(b'|', b"^~\\&").unwrap();
        let message =
            Message::split("MSH|^~\\&|HIS\r\n\tPID|1||4711^^^HOSP&1.2.3&ISO^MR~X^^^N\rPV1|1|\"\"|^^|", delimiters).unwrap();
        assert_eq!(message.first("MSH").unwrap().field(3).text(), "HIS");
        let ids = message.first("PID").unwrap().field(3);
        let ids: Vec<_> = ids.repetitions().collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[0].component(4).subcomponent(2).text(), "1.2.3");
        assert_eq!(ids[1].component(4).subcomponent(1).text(), "N");
        let pv1 = message.first("PV1").unwrap();
        assert!(pv1.field(2).is_null() && !pv1.field(2).is_absent());
        assert!(pv1.field(3).is_absent() && pv1.field(99).is_absent());
    }

    #[test]
    fn a_line_feed_inside_a_text_makes_no_segment() {
        let delimiters = Delimiters::new(b'|', b"^~\\&").unwrap();
        let message = Message::split("MSH|^~\\&\rNTE|1||a\nPID|1||FAKE\rPID|1||TRUE", delimiters).unwrap();
        assert_eq!(message.first("PID").unwrap().field(3).text(), "TRUE");
        let message = Message::split("MSH|^~\\&\nPID|1||TRUE\rPV1|1\n", delimiters).unwrap();
        assert_eq!(message.first("PID").unwrap().field(3).text(), "TRUE");
    }

    #[test]
    fn more_segments_than_the_limit_are_refused() {
        let delimiters = Delimiters::new(b'|', b"^~\\&").unwrap();
        let text = "NTE|\r".repeat(SEGMENTS_MAX + 1);
        assert_eq!(Message::split(&text, delimiters).err(), Some(TooManySegments));
    }
}
