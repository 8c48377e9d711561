//! DICOM unique identifiers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A UID that is legal by PS3.5 §9.1: at most 64 characters, digits and dots, no component with
/// a leading zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

/// The text is no UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUid;

impl fmt::Display for BadUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a DICOM UID (PS3.5 §9.1)")
    }
}

impl Uid {
    /// # Errors
    /// [`BadUid`] where PS3.5 §9.1 does not allow the text.
    pub fn parse(text: &str) -> Result<Self, BadUid> {
        let legal = text.len() <= 64
            && text.split('.').count() > 1
            && text.split('.').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'))
            });
        if legal { Ok(Self(text.to_owned())) } else { Err(BadUid) }
    }

    /// `2.25.` and the decimal of a UUID (PS3.5 §B.2). Version and variant bits are set here
    /// (version 8, RFC 9562 §5.8), so any 16 bytes will do: random ones, or a keyed hash.
    #[must_use]
    pub fn from_uuid_bytes(bytes: [u8; 16]) -> Self {
        let mut value = u128::from_be_bytes(bytes);
        value = (value & !(0xF << 76)) | (8 << 76);
        value = (value & !(0x3 << 62)) | (2 << 62);
        Self(format!("2.25.{value}"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One instance, as others are asked about it (PS3.3 §10.8).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SopRef {
    pub sop_class: Uid,
    pub sop_instance: Uid,
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Uid {
    type Error = BadUid;

    fn try_from(text: String) -> Result<Self, BadUid> {
        Self::parse(&text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_a_uid() {
        for good in ["1.2.840.10008.1.1", "2.25.0", "1.2.826.0.1.3680043.10.99.1"] {
            assert!(Uid::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "1..2", "1.02", "1.2.", ".1", "1.2a", "1.2 ", &"1.".repeat(33)] {
            assert_eq!(Uid::parse(bad), Err(BadUid), "{bad}");
        }
    }

    #[test]
    fn a_minted_uid_fits_44_characters() {
        assert!(Uid::from_uuid_bytes([0xFF; 16]).as_str().len() <= 44);
        assert!(Uid::parse(Uid::from_uuid_bytes([0; 16]).as_str()).is_ok());
    }
}
