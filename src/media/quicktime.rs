//! What the index of a film says of the film besides its pictures: when it was taken, by what, how
//! long it is, how its picture is turned. Read before it goes; nothing of a place is looked at.
//!
//! Source: ISO/IEC 14496-12 §8.2.2, §8.3.2; `QuickTime` File Format, Metadata and User Data.

use jiff::tz::Offset;

use super::isobmff::{Fields, children};
use crate::capture::TakenAt;
use crate::capture::claim::parse_taken_at;
use crate::capture::media::{Orientation, TimeSource};
use crate::capture::text::is_plain;

/// From 1904, when `QuickTime` begins to count, to 1970. Seconds.
const EPOCH_S: i64 = 2_082_844_800;
/// Keys of one list that are looked at: phones write some ten.
const KEYS_MAX: usize = 256;
/// Longest text that is taken over: an LO (PS3.5 §6.2).
const TEXT_MAX: usize = 64;
/// The tag of an ISO 639-2 language and the length before it, of a text in user data.
const USER_TEXT_HEAD_BYTES: usize = 4;

/// What a film says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// With who said it: the date that carries a zone, else `mvhd`, which counts in UTC, where it
    /// is after 1970.
    pub taken: Option<(TakenAt, TimeSource)>,
    pub duration_ms: Option<u64>,
    pub make: Option<String>,
    pub model: Option<String>,
    pub software: Option<String>,
}

impl Said {
    /// Reads `moov`, its header included, as far as it can be read.
    #[must_use]
    pub fn read(movie: &[u8]) -> Self {
        let mut said = Self::default();
        let mut zoned = None;
        for (kind, body) in children(movie.get(8..).unwrap_or_default()) {
            match &kind {
                b"mvhd" => said.see_header(body),
                // A plain box in QuickTime, a full one in ISO files.
                b"meta" => said
                    .see_keys(if body.get(4..8) == Some(b"hdlr") { body } else { body.get(4..).unwrap_or_default() }, &mut zoned),
                b"udta" => said.see_user_data(body, &mut zoned),
                _ => {}
            }
        }
        if let Some(taken) = zoned {
            said.taken = Some((taken, TimeSource::QuickTime));
        }
        said
    }

    fn see_header(&mut self, body: &[u8]) {
        let mut fields = Fields(body);
        let read = fields.version().and_then(|(version, _)| {
            let width = if version == 0 { 4 } else { 8 };
            let (created, _) = (fields.number(width)?, fields.number(width)?);
            let (each_second, duration) = (fields.long()?, fields.number(width)?);
            // All ones: it cannot be told (ISO/IEC 14496-12 §8.2.2.3).
            let is_told = duration != u64::MAX >> (64 - 8 * width);
            Ok((created, each_second, duration, is_told))
        });
        let Ok((created, each_second, duration, is_told)) = read else { return };
        let seconds = i64::try_from(created).ok().and_then(|s| s.checked_sub(EPOCH_S)).filter(|s| *s > 0);
        let stamp = seconds.and_then(|s| jiff::Timestamp::from_second(s).ok());
        self.taken = stamp
            .map(|stamp| (TakenAt { local: Offset::UTC.to_datetime(stamp), offset: Some(Offset::UTC) }, TimeSource::MovieHeader));
        self.duration_ms =
            duration.checked_mul(1000).and_then(|ms| ms.checked_div(u64::from(each_second))).filter(|ms| is_told && *ms > 0);
    }

    /// `keys` names, `ilst` says, in one order.
    fn see_keys(&mut self, meta: &[u8], zoned: &mut Option<TakenAt>) {
        let list = |wanted: &[u8; 4]| children(meta).find(|(kind, _)| kind == wanted).map(|(_, body)| body);
        let (Some(keys), Some(values)) = (list(b"keys"), list(b"ilst")) else { return };
        let names: Vec<&[u8]> = children(keys.get(8..).unwrap_or_default()).map(|(_, name)| name).take(KEYS_MAX).collect();
        for (number, item) in children(values).take(KEYS_MAX) {
            let place = usize::try_from(u32::from_be_bytes(number)).ok().and_then(|n| n.checked_sub(1));
            let Some(name) = place.and_then(|n| names.get(n)) else { continue };
            let Some((_, data)) = children(item).find(|(kind, _)| kind == b"data") else { continue };
            let text = data.get(8..).unwrap_or_default();
            match *name {
                b"com.apple.quicktime.creationdate" => see_date(text, zoned),
                b"com.apple.quicktime.make" | b"com.android.manufacturer" => see_text(text, &mut self.make),
                b"com.apple.quicktime.model" | b"com.android.model" => see_text(text, &mut self.model),
                b"com.apple.quicktime.software" | b"com.android.version" => see_text(text, &mut self.software),
                _ => {}
            }
        }
    }

    fn see_user_data(&mut self, body: &[u8], zoned: &mut Option<TakenAt>) {
        for (kind, value) in children(body) {
            let text = value.get(USER_TEXT_HEAD_BYTES..).unwrap_or_default();
            match &kind {
                b"\xA9day" => see_date(text, zoned),
                b"\xA9mak" => see_text(text, &mut self.make),
                b"\xA9mod" => see_text(text, &mut self.model),
                b"\xA9swr" => see_text(text, &mut self.software),
                _ => {}
            }
        }
    }
}

/// A date counts where it carries a zone; the first that does.
fn see_date(text: &[u8], zoned: &mut Option<TakenAt>) {
    let text = std::str::from_utf8(text).ok().map(|t| t.trim_matches(|c: char| c.is_whitespace() || c == '\0'));
    let taken = text.and_then(parse_taken_at).filter(|t| t.offset.is_some() && t.local.year() > 1970);
    *zoned = zoned.or(taken);
}

/// Text that may stand in a DICOM value, trimmed and cut; the first there is.
fn see_text(text: &[u8], into: &mut Option<String>) {
    let text = std::str::from_utf8(text).unwrap_or_default().trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let text: String = text.chars().take(TEXT_MAX).collect();
    if into.is_none() && !text.is_empty() && is_plain(&text) {
        *into = Some(text);
    }
}

/// How the matrix of a `tkhd` turns its picture; `None` where it does anything else as well
/// (ISO/IEC 14496-12 §8.3.2: a b u, c d v, x y w; 16.16). Where to it moves does not matter.
#[must_use]
pub fn turn_of(header: &[u8]) -> Option<Orientation> {
    turn_at(header, if header.first()? == &0 { 40 } else { 52 })
}

/// The same for the matrix of the whole film, in `mvhd`: players apply both.
#[must_use]
pub fn turn_of_film(header: &[u8]) -> Option<Orientation> {
    turn_at(header, if header.first()? == &0 { 36 } else { 48 })
}

fn turn_at(header: &[u8], matrix_at: usize) -> Option<Orientation> {
    const ONE: i32 = 0x1_0000;
    let numbers = header.get(matrix_at..)?.as_chunks::<4>().0;
    let number = |n: usize| numbers.get(n).map(|raw| i32::from_be_bytes(*raw));
    let exif = match (number(0)?, number(1)?, number(3)?, number(4)?) {
        (ONE, 0, 0, ONE) => 1,
        (a, 0, 0, ONE) if a == -ONE => 2,
        (a, 0, 0, d) if a == -ONE && d == -ONE => 3,
        (ONE, 0, 0, d) if d == -ONE => 4,
        (0, ONE, ONE, 0) => 5,
        (0, ONE, c, 0) if c == -ONE => 6,
        (0, b, c, 0) if b == -ONE && c == -ONE => 7,
        (0, b, ONE, 0) if b == -ONE => 8,
        _ => return None,
    };
    Orientation::from_exif(exif)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &kind, &body].concat()
    }

    fn header(created_s: i64) -> Vec<u8> {
        let created = u32::try_from(created_s).unwrap().to_be_bytes();
        boxed(*b"mvhd", &[&[0; 4], &created, &[0; 4], &600u32.to_be_bytes(), &900u32.to_be_bytes(), &[0; 80]])
    }

    fn keys(pairs: &[(&str, &str)]) -> Vec<u8> {
        let count = u32::try_from(pairs.len()).unwrap().to_be_bytes();
        let names: Vec<u8> = pairs.iter().flat_map(|(name, _)| boxed(*b"mdta", &[name.as_bytes()])).collect();
        let values = pairs.iter().zip(1u32..).flat_map(|((_, text), n)| {
            boxed(n.to_be_bytes(), &[&boxed(*b"data", &[&[0, 0, 0, 1, 0, 0, 0, 0], text.as_bytes()])])
        });
        let values: Vec<u8> = values.collect();
        [boxed(*b"hdlr", &[&[0; 24]]), boxed(*b"keys", &[&[0; 4], &count, &names]), boxed(*b"ilst", &[&values])].concat()
    }

    fn read(parts: &[&[u8]]) -> Said {
        Said::read(&boxed(*b"moov", parts))
    }

    #[test]
    fn the_date_that_carries_a_zone_counts_before_the_clock_of_the_header() {
        let in_utc = header(EPOCH_S + 1_772_407_800);
        let apple = |date: &str| boxed(*b"meta", &[&keys(&[("com.apple.quicktime.creationdate", date)])]);
        let day = |date: &str| boxed(*b"udta", &[&boxed(*b"\xA9day", &[&[0, 24, 0x55, 0xC4], date.as_bytes()])]);
        let table = [
            (read(&[&in_utc]), "2026-03-01T23:30:00Z", TimeSource::MovieHeader),
            (read(&[&in_utc, &apple("2026-03-02T08:30:00+0900")]), "2026-03-02T08:30:00+09:00", TimeSource::QuickTime),
            (read(&[&apple("2026-03-02T08:30:00+09:00"), &in_utc]), "2026-03-02T08:30:00+09:00", TimeSource::QuickTime),
            (read(&[&in_utc, &day("2026-03-02T08:30:00+0900")]), "2026-03-02T08:30:00+09:00", TimeSource::QuickTime),
            (read(&[&in_utc, &apple("2026-03-02T08:30:00")]), "2026-03-01T23:30:00Z", TimeSource::MovieHeader),
            (read(&[&in_utc, &apple("1904-01-01T00:00:00+0000")]), "2026-03-01T23:30:00Z", TimeSource::MovieHeader),
        ];
        for (said, date, from) in table {
            assert_eq!(said.taken, Some((parse_taken_at(date).unwrap(), from)), "{date}");
            assert_eq!(said.duration_ms, if said.duration_ms.is_some() { Some(1500) } else { None });
        }
        for unset in [0, EPOCH_S - 1, EPOCH_S] {
            assert_eq!(read(&[&header(unset)]).taken, None, "1904 is no date");
        }
    }

    #[test]
    fn the_device_is_told_and_the_place_is_not_looked_at() {
        let list = keys(&[
            ("com.apple.quicktime.location.ISO6709", "+47.1372+009.5238/"),
            ("com.apple.quicktime.make", "Apple"),
            ("com.apple.quicktime.model", "iPhone 15\0"),
            ("com.apple.quicktime.software", "two\nlines"),
        ]);
        for meta in [boxed(*b"meta", &[&list]), boxed(*b"meta", &[&[0; 4], &list])] {
            let said = read(&[&meta]);
            assert_eq!((said.make.as_deref(), said.model.as_deref(), said.software), (Some("Apple"), Some("iPhone 15"), None));
        }
    }

    #[test]
    fn a_broken_index_tells_what_it_can_and_ends() {
        let whole =
            boxed(*b"moov", &[&header(EPOCH_S + 1), &boxed(*b"meta", &[&keys(&[("com.apple.quicktime.make", "Apple")])])]);
        for length in 0..whole.len() {
            let _ = Said::read(&whole[..length]);
        }
        let nowhere =
            [boxed(*b"keys", &[&[0; 8]]), boxed(*b"ilst", &[&boxed([0, 0, 0, 0], &[]), &boxed([0xFF; 4], &[])])].concat();
        assert_eq!(read(&[&boxed(*b"meta", &[&[0; 4], &nowhere])]), Said::default());
    }

    #[test]
    fn a_matrix_is_one_of_eight_turns_or_none() {
        let header = |m: [i32; 4]| {
            let [a, b, c, d] = m.map(i32::to_be_bytes);
            [&[0; 40][..], &a, &b, &[0; 4], &c, &d, &[0; 4], &[0, 1, 0, 0], &[0; 4], &[0x40, 0, 0, 0]].concat()
        };
        let one = 0x1_0000;
        let table = [
            ([one, 0, 0, one], Some(1)),
            ([0, one, -one, 0], Some(6)),
            ([-one, 0, 0, -one], Some(3)),
            ([0, -one, one, 0], Some(8)),
            ([-one, 0, 0, one], Some(2)),
            ([one / 2, 0, 0, one], None),
            ([0, 0, 0, 0], None),
        ];
        for (matrix, exif) in table {
            assert_eq!(turn_of(&header(matrix)).map(Orientation::to_exif), exif, "{matrix:?}");
        }
        assert_eq!(turn_of(&[0; 50]), None);
    }
}
