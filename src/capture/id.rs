//! Capture and item identifiers.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_LEN: usize = 26;

/// One capture: what a person files in one go. A ULID, so that ids sort by time of acceptance
/// and 80 bits of it cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaptureId(u128);

impl CaptureId {
    /// `unix_ms` since 1970 (48 bits are kept) and 10 random bytes.
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        let random = random.iter().fold(0u128, |acc, b| (acc << 8) | u128::from(*b));
        Self((u128::from(unix_ms & 0xFFFF_FFFF_FFFF) << 80) | random)
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// When it was made, to the millisecond.
    #[must_use]
    pub fn made_at(self) -> Option<Timestamp> {
        Timestamp::from_millisecond(i64::try_from(self.0 >> 80).ok()?).ok()
    }

    #[must_use]
    pub fn item(self, index: u16) -> ItemId {
        ItemId { capture: self, index }
    }
}

impl fmt::Display for CaptureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_LEN);
        for place in (0..TEXT_LEN).rev() {
            let digit = usize::try_from((self.0 >> (place * 5)) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET.get(digit).copied().unwrap_or(b'0')));
        }
        f.write_str(&text)
    }
}

/// The text is no capture id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadId;

impl FromStr for CaptureId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        // The first letter carries 3 bits only: 26 × 5 = 130.
        if text.len() != TEXT_LEN || text.as_bytes().first().is_none_or(|c| *c > b'7') {
            return Err(BadId);
        }
        let mut value = 0u128;
        for c in text.bytes() {
            value = (value << 5) | u128::from(digit(c).ok_or(BadId)?);
        }
        Ok(Self(value))
    }
}

/// What a letter of [`ALPHABET`] stands for. A start reads a million names: no search for each letter.
fn digit(letter: u8) -> Option<u8> {
    Some(match letter {
        b'0'..=b'9' => letter - b'0',
        b'A'..=b'H' => letter - b'A' + 10,
        b'J' | b'K' => letter - b'J' + 18,
        b'M' | b'N' => letter - b'M' + 20,
        b'P'..=b'T' => letter - b'P' + 22,
        b'V'..=b'Z' => letter - b'V' + 27,
        _ => return None,
    })
}

impl Serialize for CaptureId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CaptureId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|BadId| serde::de::Error::custom("not a capture id"))
    }
}

/// One file of a capture; `index` counts from 0 in the order received. Text form: `ULID-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId {
    pub capture: CaptureId,
    pub index: u16,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.capture, self.index)
    }
}

impl FromStr for ItemId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (capture, index) = text.split_once('-').ok_or(BadId)?;
        // One text for one item: no sign, no leading zeros.
        let is_canonical = index == "0" || index.starts_with(|c: char| matches!(c, '1'..='9'));
        let parsed = Self { capture: capture.parse()?, index: index.parse().map_err(|_| BadId)? };
        if is_canonical { Ok(parsed) } else { Err(BadId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_id_reads_back_as_it_was_written() {
        let id = CaptureId::new(1_772_000_000_123, [0, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.item(7).to_string().parse(), Ok(id.item(7)));
    }

    #[test]
    fn a_text_that_no_gateway_wrote_is_no_id() {
        for text in ["", "01J", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01JU0000000000000000000000", "../../../../../etc/passwd0"] {
            assert_eq!(text.parse::<CaptureId>(), Err(BadId), "{text}");
        }
        for item in ["007", "+7", "-7", "", "65536", "0x1", "00"] {
            assert_eq!(format!("01J00000000000000000000000-{item}").parse::<ItemId>(), Err(BadId), "{item}");
        }
        for letter in 0..=u8::MAX {
            let place = ALPHABET.iter().position(|a| *a == letter);
            assert_eq!(digit(letter).map(usize::from), place, "{letter}");
        }
    }
}
