//! Looks for a place in bytes that are thrown away, so that the report tells the truth about
//! them: Exif with a position, XMP and `QuickTime` words, wherever they lie. Nothing is kept or
//! dropped because of what is found here.

use memchr::memmem;

use super::exif;

/// How far behind its preamble an Exif block may reach: it fills an APP1 segment.
const REACH: usize = 64 * 1024;
/// Bytes looked at together. Twice the reach, so that each block is seen whole once.
const WINDOW: usize = 2 * REACH;
/// Exif blocks that are read. A burst has some twenty pictures; what is made of preambles alone
/// must not cost a walk for each.
const BLOCKS_MAX: usize = 64;

/// Words that only stand where there is a position: XMP (`exif:GPSLatitude`), C2PA and text
/// chunks alike; the key of `QuickTime` metadata; IPTC extension structures.
const WORDS: [&[u8]; 5] = [
    b"GPSLatitude",
    b"GPSLongitude",
    b"com.apple.quicktime.location.",
    b"Iptc4xmpExt:LocationCreated",
    b"Iptc4xmpExt:LocationShown",
];
/// XMP properties that name a place where they have a value.
const PLACES: [&[u8]; 3] = [b"photoshop:City", b"photoshop:State", b"Iptc4xmpCore:Location"];

/// Push bytes, then ask. Holds up to 128 KiB, and nothing once a place is found.
#[derive(Debug, Default)]
pub struct Finder {
    window: Vec<u8>,
    blocks: usize,
    found: bool,
}

impl Finder {
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !self.found && !bytes.is_empty() {
            let room = WINDOW.saturating_sub(self.window.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.window.extend_from_slice(now);
            bytes = later;
            if self.window.len() >= WINDOW {
                self.look(WINDOW - REACH);
                self.window.drain(..WINDOW - REACH);
            }
        }
    }

    /// Ends one run of bytes, so that what follows is not read as its continuation.
    pub fn end(&mut self) {
        if !self.found {
            self.look(self.window.len());
        }
        self.window.clear();
    }

    pub fn note(&mut self, found: bool) {
        self.found |= found;
    }

    #[must_use]
    pub fn has_found(&self) -> bool {
        self.found
    }

    /// Looks at the window; Exif blocks that begin behind `limit` are left for the next look.
    fn look(&mut self, limit: usize) {
        let window = &self.window;
        let mut found = names_a_place(window);
        for at in memmem::find_iter(window, exif::PREAMBLE).take_while(|at| *at < limit) {
            if found || self.blocks >= BLOCKS_MAX {
                break;
            }
            let tiff = window.get(at + exif::PREAMBLE.len()..).unwrap_or_default();
            let tiff = tiff.get(..REACH).unwrap_or(tiff);
            if let Some(block) = exif::Block::read(tiff) {
                self.blocks += 1;
                found = block.has_position;
            }
        }
        self.found |= found;
    }
}

/// True where `bytes` hold a word or a box that tells a place.
#[must_use]
pub fn names_a_place(bytes: &[u8]) -> bool {
    let follows = |pattern: &[u8], test: fn(&[u8]) -> bool| {
        memmem::find_iter(bytes, pattern).any(|at| bytes.get(at + pattern.len()..).is_some_and(test))
    };
    WORDS.iter().any(|word| memmem::find(bytes, word).is_some())
        || PLACES.iter().any(|place| follows(place, has_value))
        // QuickTime user data and 3GPP TS 26.244 §8.3 location boxes.
        || follows(b"\xA9xyz", has_coordinate)
        || follows(b"loci\0\0\0\0", |_| true)
}

/// True where the records of a thermal camera (APP1 `FLIR`) hold a position: both references as
/// letters, then latitude and longitude as little endian doubles.
#[must_use]
pub fn has_flir_position(records: &[u8]) -> bool {
    let is_degrees = |bytes: Option<&[u8]>| {
        let degrees = bytes.and_then(<[u8]>::first_chunk).map(|raw| f64::from_le_bytes(*raw).abs());
        degrees.is_some_and(|d| d > 0.0 && d <= 180.0)
    };
    [b"N\0E\0\0\0\0\0", b"N\0W\0\0\0\0\0", b"S\0E\0\0\0\0\0", b"S\0W\0\0\0\0\0"].iter().any(|references| {
        memmem::find_iter(records, references).any(|at| is_degrees(records.get(at + 8..)) && is_degrees(records.get(at + 16..)))
    })
}

/// `="x` or `>x`: neither an empty attribute nor an empty element.
fn has_value(rest: &[u8]) -> bool {
    match rest {
        [b'=', quote, first, ..] => first != quote,
        [b'>', first, ..] => *first != b'<',
        _ => false,
    }
}

/// A signed number near the start, as ISO 6709 writes it: `+47.13`.
fn has_coordinate(rest: &[u8]) -> bool {
    let near = rest.get(..32).unwrap_or(rest);
    near.windows(2).any(|pair| matches!(pair, [b'+' | b'-', b'0'..=b'9']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::claim::parse_taken_at;

    fn found(parts: &[&[u8]]) -> bool {
        let mut finder = Finder::default();
        for part in parts {
            finder.push(part);
        }
        finder.end();
        finder.has_found()
    }

    #[test]
    fn a_place_is_seen_wherever_it_lies_and_an_empty_field_is_none() {
        let table: [(&[u8], bool); 8] = [
            (b"<exif:GPSLatitude>47,8N</exif:GPSLatitude>", true),
            (b"<x photoshop:City=\"Bern\"/>", true),
            (b"<x photoshop:City=\"\"/>", false),
            (b"<photoshop:City></photoshop:City>", false),
            (b"\xA9xyz\0\x12\x15\xc7+47.1372+009.5238/", true),
            (b"\xA9xyz random", false),
            (b"....loci\0\0\0\0\0\0", true),
            (b"Exif\0\0 no block", false),
        ];
        for (bytes, truth) in table {
            assert_eq!(found(&[bytes]), truth, "{bytes:?}");
        }
    }

    #[test]
    fn a_thermal_camera_tells_its_place_in_doubles() {
        let record =
            |latitude: f64| [b"\x01\0\0\0\0\0\0\0N\0W\0\0\0\0\0", &latitude.to_le_bytes()[..], &118.2f64.to_le_bytes()].concat();
        assert!(has_flir_position(&record(34.07)));
        assert!(!has_flir_position(&record(0.0)));
        assert!(!has_flir_position(&record(34.07)[..20]));
    }

    #[test]
    fn an_exif_block_is_found_across_any_cut() {
        let taken = parse_taken_at("2026-03-01T10:15:30").unwrap();
        let phone = exif::with_location(b"\xff\xd8\xff\xd9", 47.1, 9.5, &taken);
        for lead in [0, 1, REACH - 3, WINDOW - 20, WINDOW - 3, 3 * REACH + 7] {
            let bytes = [&vec![7; lead][..], &phone].concat();
            for cut in [0, lead, lead + 8, lead + 60, bytes.len()] {
                let (a, b) = bytes.split_at(cut);
                assert!(found(&[a, b]), "{lead} {cut}");
            }
        }
    }
}
