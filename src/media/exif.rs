//! An Exif block: what the record needs of it, and whether it knows a position.
//!
//! The walk is our own, the grammar of times kamadak-exif's. The walk reads a handful of fields in place, in time linear in the block, and
//! takes what a broken block still tells; a reader that lists every field can be made to list
//! hundreds of megabytes by directories that overlap.
//!
//! Source: CIPA DC-008 (Exif 2.32), TIFF 6.0 §2.

mod exposure;

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::field::Order;
use crate::capture::TakenAt;
use crate::capture::media::{Number, Orientation};
use crate::capture::text::is_plain;

/// What precedes the TIFF block in an APP1 segment.
pub const PREAMBLE: &[u8] = b"Exif\0\0";
/// Longest text that is taken over: an LO (PS3.5 §6.2).
const TEXT_MAX: usize = 64;
/// A TIFF block that holds Orientation and nothing else.
pub const ORIENTATION_BYTES: usize = 26;

mod tag {
    pub const MAKE: u16 = 0x010F;
    pub const MODEL: u16 = 0x0110;
    pub const ORIENTATION: u16 = 0x0112;
    pub const SOFTWARE: u16 = 0x0131;
    pub const EXIF: u16 = 0x8769;
    pub const GPS: u16 = 0x8825;
    pub const DATE_TIME_ORIGINAL: u16 = 0x9003;
    pub const OFFSET_TIME_ORIGINAL: u16 = 0x9011;
    pub const SUB_SEC_TIME_ORIGINAL: u16 = 0x9291;
    pub const MAKER_NOTE: u16 = 0x927C;
    pub const GPS_LATITUDE_REF: u16 = 1;
    pub const GPS_LATITUDE: u16 = 2;
    pub const GPS_LONGITUDE_REF: u16 = 3;
    pub const GPS_LONGITUDE: u16 = 4;
    /// Latitude, longitude, both of a destination, and the name of an area.
    pub const GPS_PLACES: [u16; 5] = [GPS_LATITUDE, GPS_LONGITUDE, 20, 22, 28];
}

mod kind {
    pub const ASCII: u16 = 2;
    pub const SHORT: u16 = 3;
    pub const LONG: u16 = 4;
    pub const RATIONAL: u16 = 5;
    pub const SIGNED_RATIONAL: u16 = 10;
}

/// What one Exif block says.
#[allow(clippy::struct_excessive_bools)] // four answers to four questions
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Of IFD0 alone: the one of IFD1 is about the thumbnail.
    pub orientation: Option<Orientation>,
    pub taken_at: Option<TakenAt>,
    pub make: Option<String>,
    pub model: Option<String>,
    pub software: Option<String>,
    /// Numbers by their tag.
    pub exposure: BTreeMap<u16, Number>,
    pub has_gps: bool,
    /// A latitude, a longitude or the name of an area; or a GPS directory that cannot be read.
    pub has_position: bool,
    pub has_maker_note: bool,
    pub has_thumbnail: bool,
    /// It is one directory of one Orientation and nothing else, in either byte order.
    pub is_bare: bool,
}

impl Block {
    /// Reads a TIFF block, as far as it can be read. `None`: it is none.
    #[must_use]
    pub fn read(tiff: &[u8]) -> Option<Self> {
        let order = match tiff.get(..4)? {
            b"II*\0" => Order::Little,
            b"MM\0*" => Order::Big,
            _ => return None,
        };
        let mut block = Self::default();
        let at = order.u32(tiff, 4)?;
        let Some(first) = Directory::read(tiff, order, at) else { return Some(block) };
        block.orientation = first.find(tag::ORIENTATION).and_then(|e| e.short()).and_then(Orientation::from_exif);
        block.is_bare = block.orientation.is_some_and(|o| tiff == orientation_in(o, order));
        block.make = first.text(tag::MAKE);
        block.model = first.text(tag::MODEL);
        block.software = first.text(tag::SOFTWARE);
        block.see_gps(&first);
        if let Some(exif) = first.child(tag::EXIF) {
            block.taken_at = taken_at(&exif);
            block.exposure = exposure::read(&exif);
            block.has_maker_note = exif.find(tag::MAKER_NOTE).is_some();
            block.see_gps(&exif);
        }
        if let Some(second) = first.next() {
            block.has_thumbnail = true;
            block.see_gps(&second);
        }
        Some(block)
    }

    fn see_gps(&mut self, directory: &Directory<'_>) {
        if directory.find(tag::GPS).is_none() {
            return;
        }
        self.has_gps = true;
        // A pointer that leads nowhere: the position may stand where only its writer finds it.
        self.has_position |= directory
            .child(tag::GPS)
            .is_none_or(|gps| gps.is_cut || tag::GPS_PLACES.iter().any(|t| gps.find(*t).is_some_and(|e| e.count > 0)));
    }
}

/// kamadak-exif reads the three fields that make a time: their grammar has blanks, missing
/// fractions and half-hour zones.
fn taken_at(directory: &Directory<'_>) -> Option<TakenAt> {
    let mut read = exif::DateTime::from_ascii(directory.ascii(tag::DATE_TIME_ORIGINAL)?).ok()?;
    // Neither is worth the time itself: what cannot be read stays unknown.
    let _fraction = directory.ascii(tag::SUB_SEC_TIME_ORIGINAL).map(|f| read.parse_subsec(f));
    let _zone = directory.ascii(tag::OFFSET_TIME_ORIGINAL).map(|z| read.parse_offset(z));
    let small = |number: u8| i8::try_from(number).ok();
    let local = DateTime::new(
        i16::try_from(read.year).ok()?,
        small(read.month)?,
        small(read.day)?,
        small(read.hour)?,
        small(read.minute)?,
        small(read.second)?,
        i32::try_from(read.nanosecond.unwrap_or(0)).ok()?,
    );
    let offset = read.offset.and_then(|minutes| Offset::from_seconds(i32::from(minutes) * 60).ok());
    Some(TakenAt { local: local.ok()?, offset })
}

/// One image file directory (TIFF 6.0 §2).
struct Directory<'t> {
    tiff: &'t [u8],
    order: Order,
    entries: &'t [u8],
    next: u32,
    is_cut: bool,
}

struct Entry<'t> {
    order: Order,
    kind: u16,
    count: u32,
    bytes: &'t [u8],
}

impl<'t> Directory<'t> {
    /// The directory at `at`, or as many entries of it as the block still holds.
    fn read(tiff: &'t [u8], order: Order, at: u32) -> Option<Self> {
        let body = tiff.get(usize::try_from(at).ok()?..)?;
        let stated = usize::from(order.u16(body, 0)?) * 12;
        let rest = body.get(2..)?;
        let held = stated.min(rest.len() / 12 * 12);
        let entries = rest.get(..held)?;
        let next = if held == stated { order.u32(rest, held).unwrap_or(0) } else { 0 };
        Some(Self { tiff, order, entries, next, is_cut: held < stated })
    }

    fn find(&self, tag: u16) -> Option<Entry<'t>> {
        let raw = self.entries.chunks_exact(12).find(|raw| self.order.u16(raw, 0) == Some(tag))?;
        let (kind, count) = (self.order.u16(raw, 2)?, self.order.u32(raw, 4)?);
        let width: usize = match kind {
            kind::SHORT => 2,
            kind::LONG => 4,
            kind::RATIONAL | kind::SIGNED_RATIONAL => 8,
            _ => 1,
        };
        let length = usize::try_from(count).ok()?.saturating_mul(width);
        let bytes = if length <= 4 {
            raw.get(8..8 + length)?
        } else {
            let from = self.tiff.get(usize::try_from(self.order.u32(raw, 8)?).ok()?..).unwrap_or_default();
            from.get(..length).unwrap_or(from)
        };
        Some(Entry { order: self.order, kind, count, bytes })
    }

    /// The directory that `tag` points to.
    fn child(&self, tag: u16) -> Option<Self> {
        let entry = self.find(tag)?;
        Self::read(self.tiff, self.order, self.order.u32(entry.bytes, 0)?)
    }

    fn next(&self) -> Option<Self> {
        if self.next == 0 { None } else { Self::read(self.tiff, self.order, self.next) }
    }

    /// The letters of an ASCII field up to its NUL.
    fn ascii(&self, tag: u16) -> Option<&'t [u8]> {
        let entry = self.find(tag).filter(|e| e.kind == kind::ASCII)?;
        entry.bytes.split(|b| *b == 0).next()
    }

    /// Text, trimmed, cut to [`TEXT_MAX`]; `None` where it is empty or may not stand in a DICOM
    /// value.
    fn text(&self, tag: u16) -> Option<String> {
        let text: String = std::str::from_utf8(self.ascii(tag)?).ok()?.trim().chars().take(TEXT_MAX).collect();
        (!text.is_empty() && is_plain(&text)).then_some(text)
    }
}

impl Entry<'_> {
    fn short(&self) -> Option<u16> {
        if self.kind == kind::SHORT { self.order.u16(self.bytes, 0) } else { None }
    }
}

/// The TIFF block that holds `orientation` and nothing else, big endian.
#[must_use]
pub fn orientation_block(orientation: Orientation) -> Vec<u8> {
    orientation_in(orientation, Order::Big)
}

fn orientation_in(orientation: Orientation, order: Order) -> Vec<u8> {
    let short = |value: u16| if order == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if order == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut block = Vec::with_capacity(ORIENTATION_BYTES);
    block.extend(if order == Order::Big { b"MM" } else { b"II" });
    block.extend(short(42));
    block.extend(long(8));
    block.extend(short(1));
    block.extend(short(tag::ORIENTATION));
    block.extend(short(kind::SHORT));
    block.extend(long(1));
    block.extend(short(u16::from(orientation.to_exif())));
    block.extend(short(0));
    block.extend(long(0));
    block
}

/// `jpeg` with an Exif block that says where and when it was taken and by what: what a phone
/// hands in, for the demo and for tests. Degrees, north and east positive.
///
/// `jpeg` comes back as it is where it does not begin as a JPEG.
#[must_use]
pub fn with_location(jpeg: &[u8], latitude: f64, longitude: f64, taken: &TakenAt) -> Vec<u8> {
    let Some(rest) = jpeg.strip_prefix(&[0xFF, 0xD8]) else { return jpeg.to_vec() };
    let tiff = location_block(latitude, longitude, taken);
    let Ok(length) = u16::try_from(2 + PREAMBLE.len() + tiff.len()) else { return jpeg.to_vec() };
    [&[0xFF, 0xD8, 0xFF, 0xE1], &length.to_be_bytes()[..], PREAMBLE, &tiff, rest].concat()
}

struct Field(u16, u16, u32, Vec<u8>);

impl Field {
    fn ascii(tag: u16, text: &str) -> Self {
        let bytes = [text.as_bytes(), b"\0"].concat();
        Self(tag, kind::ASCII, u32::try_from(bytes.len()).unwrap_or(0), bytes)
    }

    fn pointer(tag: u16, at: usize) -> Self {
        Self(tag, kind::LONG, 1, u32::try_from(at).unwrap_or(0).to_be_bytes().to_vec())
    }

    /// Degrees, minutes, seconds in ten thousandths.
    fn angle(tag: u16, degrees: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 180 × 36,000,000; never negative
        let ticks = (degrees.abs().min(180.0) * 36_000_000.0).round() as u64;
        let parts = [(ticks / 36_000_000, 1), (ticks / 600_000 % 60, 1), (ticks % 600_000, 10_000u32)];
        let bytes = parts.iter().flat_map(|(value, over)| {
            let value = u32::try_from(*value).unwrap_or(0);
            [value.to_be_bytes(), over.to_be_bytes()].concat()
        });
        Self(tag, kind::RATIONAL, 3, bytes.collect())
    }
}

fn location_block(latitude: f64, longitude: f64, taken: &TakenAt) -> Vec<u8> {
    let local = taken.local;
    let mut exif = vec![Field::ascii(
        tag::DATE_TIME_ORIGINAL,
        &format!(
            "{:04}:{:02}:{:02} {:02}:{:02}:{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        ),
    )];
    if let Some(offset) = taken.offset {
        let minutes = offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let zone = format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
        exif.push(Field::ascii(tag::OFFSET_TIME_ORIGINAL, &zone));
    }
    let gps = [
        Field::ascii(tag::GPS_LATITUDE_REF, if latitude < 0.0 { "S" } else { "N" }),
        Field::angle(tag::GPS_LATITUDE, latitude),
        Field::ascii(tag::GPS_LONGITUDE_REF, if longitude < 0.0 { "W" } else { "E" }),
        Field::angle(tag::GPS_LONGITUDE, longitude),
    ];
    let first = |exif_at, gps_at| {
        [
            Field::ascii(tag::MAKE, "Shutterbridge"),
            Field::ascii(tag::MODEL, "Demo phone"),
            Field::pointer(tag::EXIF, exif_at),
            Field::pointer(tag::GPS, gps_at),
        ]
    };
    let exif_at = 8 + directory(8, &first(0, 0)).len();
    let exif = directory(exif_at, &exif);
    let gps_at = exif_at + exif.len();
    [b"MM\0*\0\0\0\x08", &directory(8, &first(exif_at, gps_at))[..], &exif, &directory(gps_at, &gps)].concat()
}

/// A big endian directory that stands at `at`, its longer values behind it.
fn directory(at: usize, fields: &[Field]) -> Vec<u8> {
    let mut values_at = at + 2 + fields.len() * 12 + 4;
    let mut out = u16::try_from(fields.len()).unwrap_or(0).to_be_bytes().to_vec();
    let mut values = Vec::new();
    for Field(tag, kind, count, bytes) in fields {
        out.extend(tag.to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend(count.to_be_bytes());
        if bytes.len() <= 4 {
            out.extend(bytes.iter().chain(&[0; 4]).take(4));
        } else {
            out.extend(u32::try_from(values_at).unwrap_or(0).to_be_bytes());
            values.extend(bytes);
            values.extend(std::iter::repeat_n(0, bytes.len() % 2));
            values_at += bytes.len() + bytes.len() % 2;
        }
    }
    out.extend([0; 4]);
    out.extend(values);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> TakenAt {
        crate::capture::claim::parse_taken_at("2026-03-01T10:15:30+01:00").unwrap()
    }

    fn block() -> Vec<u8> {
        location_block(-33.8568, 151.2153, &taken())
    }

    #[test]
    fn a_phone_block_tells_time_and_device_and_that_it_has_a_position() {
        let read = Block::read(&block()).unwrap();
        assert_eq!(read.taken_at, Some(taken()));
        assert_eq!(read.make.as_deref(), Some("Shutterbridge"));
        assert_eq!(read.model.as_deref(), Some("Demo phone"));
        assert!(read.has_gps && read.has_position && !read.is_bare);
    }

    #[test]
    fn a_block_cut_anywhere_still_tells_that_it_knew_a_position_or_nothing() {
        let whole = block();
        for length in 0..whole.len() {
            let read = Block::read(&whole[..length]);
            // From the fourth entry of IFD0 on, the GPS pointer is seen.
            if length >= 8 + 2 + 4 * 12 {
                assert!(read.is_some_and(|b| b.has_position), "{length}");
            }
        }
    }

    #[test]
    fn an_orientation_block_is_26_bytes_and_nothing_else() {
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            for order in [Order::Big, Order::Little] {
                let block = orientation_in(orientation, order);
                assert_eq!(block.len(), ORIENTATION_BYTES);
                let read = Block::read(&block).unwrap();
                assert_eq!(read, Block { orientation: Some(orientation), is_bare: true, ..Block::default() });
            }
        }
    }

    #[test]
    fn only_ifd0_turns_a_picture() {
        let mut two = b"MM\0*\0\0\0\x08\0\0\0\0\0\x0e".to_vec();
        two.extend(orientation_block(Orientation::from_exif(6).unwrap()).get(8..).unwrap());
        let read = Block::read(&two).unwrap();
        assert_eq!(read.orientation, None);
        assert!(read.has_thumbnail);
    }

    #[test]
    fn directories_that_loop_or_overlap_end() {
        let mut tiff = b"MM\0*\0\0\0\x08".to_vec();
        while tiff.len() < 65_000 {
            tiff.extend(b"\x14\xff\x87\x69\0\x04\0\0\0\x01\0\0\0\x08");
        }
        assert!(Block::read(&tiff).is_some());
    }

    #[test]
    fn a_time_without_sense_is_no_time() {
        for text in ["0000:00:00 00:00:00", "    :  :     :  :  ", "2026:13:01 10:00:00", "yesterday"] {
            let exif = directory(0, &[Field::ascii(tag::DATE_TIME_ORIGINAL, text)]);
            let exif = Directory::read(&exif, Order::Big, 0).unwrap();
            assert_eq!(taken_at(&exif), None, "{text}");
        }
    }

    #[test]
    fn text_that_may_not_stand_in_an_object_is_left_behind() {
        for (text, read) in
            [("Apple", Some("Apple")), (" Apple \0junk", Some("Apple")), ("Ap\\ple", None), ("\x1b[31m", None), ("", None)]
        {
            let raw = directory(0, &[Field::ascii(tag::MAKE, text)]);
            assert_eq!(Directory::read(&raw, Order::Big, 0).unwrap().text(tag::MAKE).as_deref(), read, "{text:?}");
        }
    }
}
