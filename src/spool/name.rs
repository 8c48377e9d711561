//! Names of files: ids only.

use std::fmt;
use std::str::FromStr;

use crate::capture::{CaptureId, ItemId};

const PACKED_BYTES: usize = 16 + 1 + 2;
/// See [`Name::pack`].
pub(super) type Packed = [u8; PACKED_BYTES];

/// One sealed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// `ULID-0.item`: what was received, scrubbed, and its manifest.
    Item(ItemId),
    /// `ULID.binding`: whose picture it is, once that is known.
    Binding(CaptureId),
    /// `ULID.stopped`: which of its items a person stopped.
    Stopped(CaptureId),
    /// `ULID-0.derived`: what goes into the object where that is not the item itself.
    Derived(ItemId),
    /// `ULID-0.stills`: of a film, for an archive that takes no films.
    Stills(ItemId),
}

impl Name {
    #[must_use]
    pub fn capture(self) -> CaptureId {
        match self {
            Self::Item(item) | Self::Derived(item) | Self::Stills(item) => item.capture,
            Self::Binding(capture) | Self::Stopped(capture) => capture,
        }
    }

    /// A capture is there exactly where its head is: its first item.
    #[must_use]
    pub fn is_head(self) -> bool {
        matches!(self, Self::Item(ItemId { index: 0, .. }))
    }

    /// In a few bytes, which sort by capture: a spool may have a million files.
    pub(super) fn pack(self) -> Packed {
        let (kind, index) = match self {
            Self::Item(item) => (1, item.index),
            Self::Binding(_) => (2, 0),
            Self::Derived(item) => (3, item.index),
            Self::Stopped(_) => (4, 0),
            Self::Stills(item) => (5, item.index),
        };
        let mut packed = [0; PACKED_BYTES];
        let bytes = self.capture().to_bytes().into_iter().chain([kind]).chain(index.to_be_bytes());
        packed.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        packed
    }

    pub(super) fn unpack(packed: &Packed) -> Option<Self> {
        let (capture, rest) = packed.split_first_chunk::<16>()?;
        let (capture, [kind, index @ ..]) = (CaptureId::from_bytes(*capture), rest) else { return None };
        let item = capture.item(u16::from_be_bytes(index.try_into().ok()?));
        match kind {
            1 => Some(Self::Item(item)),
            2 => Some(Self::Binding(capture)),
            3 => Some(Self::Derived(item)),
            4 => Some(Self::Stopped(capture)),
            5 => Some(Self::Stills(item)),
            _ => None,
        }
    }

    /// All names a capture of so many items may have, its head first.
    pub(super) fn all_of(capture: CaptureId, items: u16) -> impl Iterator<Item = Self> {
        let each = (0..items).map(move |n| capture.item(n));
        let each = each.flat_map(|item| [Self::Item(item), Self::Derived(item), Self::Stills(item)]);
        each.chain([Self::Binding(capture), Self::Stopped(capture)])
    }
}

impl From<ItemId> for Name {
    fn from(item: ItemId) -> Self {
        Self::Item(item)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(item) => write!(f, "{item}.item"),
            Self::Binding(capture) => write!(f, "{capture}.binding"),
            Self::Stopped(capture) => write!(f, "{capture}.stopped"),
            Self::Derived(item) => write!(f, "{item}.derived"),
            Self::Stills(item) => write!(f, "{item}.stills"),
        }
    }
}

/// The text is no name of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (id, kind) = text.split_once('.').ok_or(BadName)?;
        match kind {
            "item" => id.parse().map(Self::Item).map_err(|_| BadName),
            "binding" => id.parse().map(Self::Binding).map_err(|_| BadName),
            "stopped" => id.parse().map(Self::Stopped).map_err(|_| BadName),
            "derived" => id.parse().map(Self::Derived).map_err(|_| BadName),
            "stills" => id.parse().map(Self::Stills).map_err(|_| BadName),
            _ => Err(BadName),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        let capture = CaptureId::new(1_772_000_000_123, [7; 10]);
        let (item, other) = (capture.item(0), capture.item(12));
        let beside = [Name::Binding(capture), Name::Stopped(capture)];
        for name in [Name::Item(item), Name::Derived(other), Name::Stills(other)].into_iter().chain(beside) {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(Name::unpack(&name.pack()), Some(name));
        }
        for text in ["", "x.item", "01J.binding", "../format", &format!("{capture}.item"), &format!("{capture}-0.item.7")] {
            assert_eq!(text.parse::<Name>(), Err(BadName), "{text}");
        }
    }
}
