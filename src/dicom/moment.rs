//! Dates and times as DICOM writes them (PS3.5 §6.2: DA, TM, DT).

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Unit};

use super::DicomError;
use crate::capture::TakenAt;

/// When the content came to be, in the site's zone, and the one offset that holds for every date
/// and time of the object: (0008,0201) applies to them all (PS3.3 §C.12.1.1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) content: DateTime,
    pub(super) offset: Offset,
    /// False where nobody knows when the picture was taken and the time of acceptance stands in.
    pub(super) is_capture_time: bool,
}

impl Moment {
    /// The file's own time is believed first, then the claim's, then the time of acceptance; what lies in the
    /// future of that is not believed.
    pub(super) fn new(zone_name: &str, taken: [Option<TakenAt>; 2], accepted_at: Timestamp) -> Result<Self, DicomError> {
        let zone = TimeZone::get(zone_name).map_err(|_| DicomError::ZoneUnknown)?;
        let (instant, is_capture_time) = match TakenAt::first_possible(taken, &zone, accepted_at) {
            Some(instant) => (instant, true),
            None => (accepted_at, false),
        };
        let offset = zone.to_offset(instant);
        Ok(Self { content: offset.to_datetime(instant), offset, is_capture_time })
    }

    /// An instant in the object's one offset.
    pub(super) fn local(&self, at: Timestamp) -> DateTime {
        self.offset.to_datetime(at)
    }

    /// `+hhmm` (0008,0201); `-0000` is forbidden.
    pub(super) fn offset_text(&self) -> String {
        let minutes = self.offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }

    /// DT with its offset.
    pub(super) fn date_time(&self, at: DateTime) -> String {
        format!("{}{}{}", date(at.date()), time(at), self.offset_text())
    }
}

/// DA.
pub(super) fn date(date: jiff::civil::Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
}

/// TM, to the microsecond where there is one.
pub(super) fn time(at: DateTime) -> String {
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let micros = at.subsec_nanosecond() / 1_000;
    match (micros, micros % 1_000) {
        (0, _) => format!("{hour:02}{minute:02}{second:02}"),
        (_, 0) => format!("{hour:02}{minute:02}{second:02}.{:03}", micros / 1_000),
        _ => format!("{hour:02}{minute:02}{second:02}.{micros:06}"),
    }
}

/// AS: exactly four characters (PS3.5 §6.2), in the unit a ward would say; nothing before birth.
pub(super) fn age(born: jiff::civil::Date, on: jiff::civil::Date) -> Option<String> {
    let span = born.until((Unit::Year, on)).ok()?;
    let days = born.until((Unit::Day, on)).ok()?.get_days();
    match (span.get_years(), span.get_months(), days) {
        (_, _, d) if d < 0 => None,
        (years @ 2..=999, _, _) => Some(format!("{years:03}Y")),
        (years @ 0..=1, months, d) if d > 90 => Some(format!("{:03}M", i32::from(years) * 12 + months)),
        (0..=1, _, d) => Some(format!("{d:03}D")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date as day;

    use super::*;
    use crate::capture::claim::parse_taken_at;

    /// Of a file that came later than all of these were taken.
    fn moment(zone: &str, taken: &str) -> Moment {
        let accepted_at = "2026-11-25T12:00:00Z".parse().expect("a time");
        Moment::new(zone, [parse_taken_at(taken), None], accepted_at).expect("a zone")
    }

    #[test]
    fn the_time_of_a_picture_is_told_in_the_zone_of_the_site() {
        let table = [
            // given zone, taken at, then DT
            ("Europe/Berlin", "2026-03-01T10:15:30.123+01:00", "20260301101530.123+0100"),
            ("Europe/Berlin", "2026-03-01T10:15:30.123", "20260301101530.123+0100"),
            ("Europe/Berlin", "2026-07-01T23:59:59Z", "20260702015959+0200"),
            ("America/St_Johns", "2026-01-01T00:00:00Z", "20251231203000-0330"),
            ("Etc/UTC", "2026-01-01T00:00:00.000001-00:30", "20260101003000.000001+0000"),
            ("Europe/Berlin", "2026-03-29T02:30:00", "20260329033000+0200"),
        ];
        for (zone, taken, then) in table {
            let moment = moment(zone, taken);
            assert_eq!(moment.date_time(moment.content), then, "{zone} {taken}");
            assert!(moment.is_capture_time);
        }
    }

    #[test]
    fn where_no_time_is_known_acceptance_stands_in() {
        let at = "2026-11-25T12:00:00Z".parse().expect("a time");
        let moment = Moment::new("Asia/Tokyo", [None, None], at).expect("a zone");
        assert_eq!((moment.date_time(moment.content).as_str(), moment.is_capture_time), ("20261125210000+0900", false));
        assert_eq!(Moment::new("Mars/Base", [None, None], at), Err(DicomError::ZoneUnknown));
    }

    #[test]
    fn an_age_has_four_characters() {
        let on = day(2026, 3, 1);
        let table = [
            (day(1970, 3, 1), Some("056Y")),
            (day(1970, 3, 2), Some("055Y")),
            (day(2025, 1, 15), Some("013M")),
            (day(2026, 2, 22), Some("007D")),
            (on, Some("000D")),
            (day(2026, 3, 2), None),
            (day(1000, 1, 1), None),
        ];
        for (born, then) in table {
            assert_eq!(age(born, on).as_deref(), then, "{born}");
        }
    }
}
