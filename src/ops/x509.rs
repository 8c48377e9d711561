//! When a certificate ends: the one field that is read here (RFC 5280 §4.1.2.5).

use jiff::Timestamp;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`: the version, absent in v1.
const VERSION: u8 = 0xA0;

/// `notAfter` of a certificate in DER; `None` where it cannot be read.
#[must_use]
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer; then validity.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, validity, _) = element(fields)? else { return None };
    let (_, _, after_not_before) = element(validity)?;
    let (tag, time, _) = element(after_not_before)?;
    read_time(tag, std::str::from_utf8(time).ok()?)
}

/// The first element of `der`: its tag, its content, and what follows it (X.690 §8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if first & 0x80 == 0 {
        (usize::from(*first), rest)
    } else {
        // Four bytes of length are far more than any certificate has.
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F)).filter(|(b, _)| (1..=4).contains(&b.len()))?;
        (bytes.iter().fold(0usize, |acc, b| (acc << 8) | usize::from(*b)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn read_time(tag: u8, text: &str) -> Option<Timestamp> {
    let full = match tag {
        // RFC 5280 §4.1.2.5.1: 50 to 99 are of the last century.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| full.get(range).filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if full.len() != 15 || !full.ends_with('Z') {
        return None;
    }
    let date = format!("{}-{}-{}", part(0..4)?, part(4..6)?, part(6..8)?);
    format!("{date}T{}:{}:{}Z", part(8..10)?, part(10..12)?, part(12..14)?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_time_are_read() {
        for (tag, text, then) in [
            (UTC_TIME, "261125080000Z", Some("2026-11-25T08:00:00Z")),
            (UTC_TIME, "991231235959Z", Some("1999-12-31T23:59:59Z")),
            (GENERALIZED_TIME, "20510101000000Z", Some("2051-01-01T00:00:00Z")),
            (GENERALIZED_TIME, "20510101000000", None),
            (GENERALIZED_TIME, "20511301000000Z", None),
            (UTC_TIME, "2", None),
            (4, "261125080000Z", None),
        ] {
            assert_eq!(read_time(tag, text), then.map(|t| t.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn rubbish_is_no_certificate() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], &[0x30, 0x80, 0x30], &[0x30, 2, 0x30, 0]] {
            assert_eq!(not_after(bytes), None);
        }
    }
}
