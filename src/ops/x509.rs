//! When a certificate ends and whom it names: the two fields that are read here (RFC 5280
//! §4.1.2.5, §4.2.1.6).

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`: the version, absent in v1.
const VERSION: u8 = 0xA0;
/// `[3] EXPLICIT`: the extensions.
const EXTENSIONS: u8 = 0xA3;
const OCTET_STRING: u8 = 0x04;
/// Subject Alternative Name, 2.5.29.17.
const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1D, 0x11];
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// Names that are read; a certificate with more is for a farm.
const NAMES_MAX: usize = 100;

/// `notAfter` of a certificate in DER; `None` where it cannot be read.
#[must_use]
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (SEQUENCE, validity, _) = element(validity_on(certificate)?)? else { return None };
    let (_, _, after_not_before) = element(validity)?;
    let (tag, time, _) = element(after_not_before)?;
    read_time(tag, std::str::from_utf8(time).ok()?)
}

/// The fields of a certificate from its validity on.
fn validity_on(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer; then validity.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    Some(fields)
}

/// The host names and addresses that a certificate is for; empty where it names none.
#[must_use]
pub fn names(certificate: &[u8]) -> Vec<String> {
    alternative_names(certificate).map_or_else(Vec::new, |general| {
        let elements = std::iter::successors(element(general), |(_, _, rest)| element(rest));
        elements.take(NAMES_MAX).filter_map(|(tag, value, _)| general_name(tag, value)).collect()
    })
}

fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let mut fields = validity_on(certificate)?;
    while fields.first()? != &EXTENSIONS {
        fields = element(fields)?.2;
    }
    let (_, extensions, _) = element(element(fields)?.1)?;
    let mut all = std::iter::successors(element(extensions), |(_, _, rest)| element(rest));
    all.find_map(|(_, extension, _)| {
        let (_, id, mut value) = element(extension)?;
        if id != ALTERNATIVE_NAME {
            return None;
        }
        // Behind the flag that says whether it is critical.
        while value.first()? != &OCTET_STRING {
            value = element(value)?.2;
        }
        Some(element(element(value)?.1)?.1)
    })
}

fn general_name(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        DNS_NAME => String::from_utf8(value.to_vec()).ok().filter(|name| name.bytes().all(|b| b.is_ascii_graphic())),
        IP_ADDRESS => match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
            (Ok(v4), _) => Some(Ipv4Addr::from(v4).to_string()),
            (_, Ok(v6)) => Some(Ipv6Addr::from(v6).to_string()),
            _ => None,
        },
        _ => None,
    }
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
