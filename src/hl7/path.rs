//! Where a value stands: `OBR-18`, `ORC-3`, `IPC-1`.

use std::fmt;

/// A segment and a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    pub segment: String,
    pub field: usize,
}

/// The text is no path such as `OBR-18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPath;

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a field; write a segment and a number, such as OBR-18")
    }
}

impl FieldPath {
    /// # Errors
    /// [`BadPath`].
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let (segment, field) = text.trim().split_once('-').ok_or(BadPath)?;
        let legal = segment.len() == 3 && segment.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let field = field.parse().map_err(|_| BadPath)?;
        if legal && field > 0 { Ok(Self { segment: segment.to_owned(), field }) } else { Err(BadPath) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.segment, self.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_segment_and_a_number() {
        for good in ["OBR-18", "ORC-3", "IPC-1", "ZDS-1"] {
            assert_eq!(FieldPath::parse(good).map(|p| p.to_string()).as_deref(), Ok(good));
        }
        for bad in ["OBR", "obr-18", "OBR-0", "OBR-x", "OBRX-1", ""] {
            assert_eq!(FieldPath::parse(bad), Err(BadPath), "{bad}");
        }
    }
}
