//! The MSH segment as bytes: what must be known before anything can be decoded, and what an
//! acknowledgement echoes byte for byte.

use std::fmt;

use super::message::Delimiters;

/// Longest MSH line looked at. Its 25 fields stay below 2 KiB in every feed seen.
const LINE_MAX_BYTES: usize = 16 * 1024;

/// The MSH segment, undecoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    line: Vec<u8>,
    separator: u8,
}

impl fmt::Debug for Header {
    /// A torn header may hold anything, a patient's name too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({} bytes)", self.line.len())
    }
}

impl Header {
    /// The header of a message, behind a byte order mark and blanks; `None`: this is no HL7 v2.
    #[must_use]
    pub fn find(message: &[u8]) -> Option<Self> {
        let message = body(message);
        let end = message.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(message.len()).min(LINE_MAX_BYTES);
        let line = message.get(..end)?;
        let separator = *line.strip_prefix(b"MSH")?.first()?;
        Some(Self { line: line.to_vec(), separator })
    }

    /// MSH-`number` as it was sent, from MSH-2 on.
    #[must_use]
    pub fn field(&self, number: usize) -> &[u8] {
        self.line.split(|b| *b == self.separator).nth(number.saturating_sub(1)).unwrap_or_default()
    }

    #[must_use]
    pub fn separator(&self) -> u8 {
        self.separator
    }

    /// The delimiters MSH-1 and MSH-2 name; `None` where they are nonsense.
    #[must_use]
    pub fn delimiters(&self) -> Option<Delimiters> {
        Delimiters::new(self.separator, self.field(2))
    }

    /// The first component of a field.
    #[must_use]
    pub fn component(&self, number: usize) -> &[u8] {
        let field = self.field(number);
        let Some(&component) = self.field(2).first() else { return field };
        field.split(|b| *b == component).next().unwrap_or_default()
    }

    /// MSH-12.1, e.g. `2.5.1`.
    #[must_use]
    pub fn version(&self) -> &[u8] {
        self.component(12).trim_ascii()
    }
}

/// The message behind a byte order mark and blanks.
#[must_use]
pub fn body(message: &[u8]) -> &[u8] {
    let message = message.trim_ascii_start();
    message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message).trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_as_the_standard_counts_them() {
        let header = Header::find(b"\xEF\xBB\xBF\r\nMSH|^~\\&|HIS|HOSP|GW|IMG|2026||ADT^A04|ID 1 |P|2.5.1^X\rPID|1").unwrap();
        assert_eq!(header.field(2), b"^~\\&");
        assert_eq!(header.field(3), b"HIS");
        assert_eq!(header.field(10), b"ID 1 ");
        assert_eq!(header.version(), b"2.5.1");
        assert_eq!(header.field(18), b"");
    }

    #[test]
    fn what_is_not_hl7_has_no_header() {
        for bytes in [&b""[..], b"MSH", b"GET / HTTP/1.1", b"{\"a\":1}", b"<MSH>", b"PID|1"] {
            assert!(Header::find(bytes).is_none(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
