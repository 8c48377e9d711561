//! Photoshop image resources (APP13) and the IPTC datasets in them: whether they name a place.
//!
//! Source: Adobe Photoshop File Formats, Image Resources; IPTC IIM 4.2.

use super::field::{be16, be32};

/// What precedes the resources in an APP13 segment.
pub const PREAMBLE: &[u8] = b"Photoshop 3.0\0";

/// Resource ids.
pub mod resource {
    pub const IPTC: u16 = 0x0404;
    pub const EXIF: u16 = 0x0422;
    pub const EXIF_MORE: u16 = 0x0423;
}

/// Application record datasets that name a place: content location code and name, city,
/// sub-location, province, country code and name.
const PLACES: [u8; 7] = [26, 27, 90, 92, 95, 100, 101];

/// The resources in what follows [`PREAMBLE`]: id and content.
pub fn resources(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let after = bytes.strip_prefix(b"8BIM")?;
        let id = be16(after, 0)?;
        // The name is a Pascal string, padded to an even length with its count byte.
        let name = usize::from(*after.get(2)?) + 1;
        let sized = after.get(2 + name + name % 2..)?;
        let length = usize::try_from(be32(sized, 0)?).ok()?;
        let body = sized.get(4..)?;
        let content = body.get(..length).unwrap_or(body);
        bytes = body.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some((id, content))
    })
}

/// True where one of the datasets names a place.
#[must_use]
pub fn names_a_place(mut datasets: &[u8]) -> bool {
    while let Some(&[0x1C, record, dataset, ..]) = datasets.get(..3) {
        let Some(length) = be16(datasets, 3) else { return false };
        // The top bit announces an extended length; no place needs one.
        let length = usize::from(length & 0x7FFF);
        if record == 2 && PLACES.contains(&dataset) && length > 0 {
            return true;
        }
        datasets = datasets.get(5 + length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_is_a_place_and_a_caption_is_none() {
        let caption = b"8BIM\x04\x04\0\0\0\0\0\x06\x1c\x02\x78\0\x01x";
        assert!(resources(caption).all(|(id, iim)| id == resource::IPTC && !names_a_place(iim)));
        let city = b"8BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x78\0\x01x\x1c\x02\x5a\0\x01X";
        assert!(resources(city).any(|(id, iim)| id == resource::IPTC && names_a_place(iim)));
        assert!(!names_a_place(b"\x1c\x02\x5a\0\0\x1c\x02\x78\0\x01x"));
    }

    #[test]
    fn broken_resources_end() {
        for broken in [&b""[..], b"8BIM", b"8BIM\x04\x04\xff", b"8BIM\x04\x04\0\0\xff\xff\xff\xffx", b"\x1c\x02"] {
            assert!(resources(broken).count() <= 1);
            assert!(!names_a_place(broken));
        }
    }
}
