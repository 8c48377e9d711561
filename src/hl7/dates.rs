//! Dates and times: YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ] (HL7 v2.5.1 §2.A.77).

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

/// A span of time: an instant, told as exactly as the sender told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub from_ms: i64,
    /// The last millisecond it may mean: a time told by the minute may be any second of it.
    pub until_ms: i64,
}

impl Moment {
    #[must_use]
    pub fn at(instant: Timestamp) -> Self {
        Self { from_ms: instant.as_millisecond(), until_ms: instant.as_millisecond() }
    }
}

/// A birth date: eight digits that are a real day, else nothing. A time behind it is dropped and
/// a zone never moves the day.
#[must_use]
pub fn date(text: &str) -> Option<Date> {
    let digits = digits(text)?;
    civil(digits.get(..8)?)
}

/// An event time; one without an offset is in `zone`.
#[must_use]
pub fn moment(text: &str, zone: &TimeZone) -> Option<Moment> {
    let text = text.trim();
    let (body, offset) =
        match text.char_indices().skip(4).find(|(at, c)| *c == '+' || (*c == '-' && *at >= 8 && zone_at(text, *at))) {
            None => (text, None),
            Some((at, _)) => {
                let (body, sign) = text.split_at_checked(at)?;
                (body, Some(parse_offset(sign)?))
            }
        };
    let digits = digits(body)?;
    let (digits, _fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let length = digits.len();
    let number = |from: usize, otherwise: i8| match digits.get(from..from + 2) {
        Some(two) => two.parse::<i8>().ok(),
        None => Some(otherwise),
    };
    let year: i16 = digits.get(..4)?.parse().ok()?;
    let second = number(12, 0)?.min(59);
    let start = DateTime::new(year, number(4, 1)?, number(6, 1)?, number(8, 0)?, number(10, 0)?, second, 0).ok()?;
    let zone = offset.map_or_else(|| zone.clone(), TimeZone::fixed);
    let from_ms = start.to_zoned(zone).ok()?.timestamp().as_millisecond();
    let span_ms = match length {
        14.. => 1_000,
        12.. => 60_000,
        10.. => 3_600_000,
        8.. => 86_400_000,
        6.. => 31 * 86_400_000,
        _ => 366 * 86_400_000_i64,
    };
    Some(Moment { from_ms, until_ms: from_ms + span_ms - 1 })
}

/// The digits of a date or time; `1980-01-01` and `20171231 0800` occur.
fn digits(text: &str) -> Option<String> {
    let plain: String = text.trim().chars().filter(|c| !matches!(c, '-' | ' ' | ':' | 'T')).collect();
    let leading = plain.chars().take_while(char::is_ascii_digit).count();
    (leading >= 4).then_some(plain)
}

fn civil(digits: &str) -> Option<Date> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let year = digits.get(..4)?.parse().ok()?;
    Date::new(year, digits.get(4..6)?.parse().ok()?, digits.get(6..8)?.parse().ok()?).ok().filter(|d| d.year() > 0)
}

/// True where the minus begins a zone and is not a dash between year, month and day.
fn zone_at(text: &str, at: usize) -> bool {
    let behind = text.get(at + 1..).unwrap_or_default();
    behind.len() == 4 && behind.bytes().all(|b| b.is_ascii_digit())
}

fn parse_offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let hours: i32 = text.get(1..3)?.parse().ok()?;
    let minutes: i32 = text.get(3..5)?.parse().ok()?;
    if minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_date_is_a_real_day_or_nothing() {
        let table = [
            ("19700301", Some("1970-03-01")),
            ("197003011230", Some("1970-03-01")),
            ("19840615233000-0500", Some("1984-06-15")),
            ("19840615000000+1300", Some("1984-06-15")),
            ("1980-01-01", Some("1980-01-01")),
            ("10131113", Some("1013-11-13")),
            ("1984", None),
            ("198406", None),
            ("00000000", None),
            ("19830230", None),
            ("Aug 15, 1942", None),
            ("", None),
            ("\u{663}9700301", None),
        ];
        for (text, want) in table {
            assert_eq!(date(text).map(|d| d.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_moment_is_as_exact_as_it_was_told() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let table = [
            ("20260301080000", "2026-03-01T07:00:00Z", 999),
            ("20260301080000.5", "2026-03-01T07:00:00Z", 999),
            ("202603010800", "2026-03-01T07:00:00Z", 59_999),
            ("20260301", "2026-02-28T23:00:00Z", 86_399_999),
            ("20060529090131-0500", "2006-05-29T14:01:31Z", 999),
            ("2026-03-01 08:00", "2026-03-01T07:00:00Z", 59_999),
            ("20260301080060", "2026-03-01T07:00:59Z", 999),
            ("20260301080000+0000", "2026-03-01T08:00:00Z", 999),
        ];
        for (text, from, span) in table {
            let got = moment(text, &berlin).unwrap();
            let from: Timestamp = from.parse().unwrap();
            assert_eq!((got.from_ms, got.until_ms - got.from_ms), (from.as_millisecond(), span), "{text}");
        }
        for text in ["", "soon", "20261301", "2026030125", "20260301080000+9", "Aug 14, 2004"] {
            assert_eq!(moment(text, &berlin), None, "{text}");
        }
    }
}
