//! How the picture was exposed, in numbers: what DICOM has attributes for, and no text. What could
//! name a person, a device or a place is not on the list (maker note, comment, owner, serial
//! numbers, lens names, identifiers), nor is what a turn makes untrue (subject area and location).
//!
//! Source: CIPA DC-008 (Exif 2.32) §4.6.5; DICOM PS3.6, attributes (0016,xxxx).

use std::collections::BTreeMap;

use super::{Directory, Entry, kind};
use crate::capture::media::Number;

/// `ExifVersion`: four digits.
const EXIF_VERSION: u16 = 0x9000;
const FILE_SOURCE: u16 = 0xA300;
const SCENE_TYPE: u16 = 0xA301;
const CUSTOM_RENDERED: u16 = 0xA401;

/// One number each, of these tags.
const NUMBERS: [u16; 35] = [
    0x829A, // ExposureTime
    0x829D, // FNumber
    0x8822, // ExposureProgram
    0x8827, // PhotographicSensitivity, the first of them
    0x8830, // SensitivityType
    0x8831, // StandardOutputSensitivity
    0x8832, // RecommendedExposureIndex
    0x8833, // ISOSpeed
    EXIF_VERSION,
    0x9201, // ShutterSpeedValue
    0x9202, // ApertureValue
    0x9203, // BrightnessValue
    0x9204, // ExposureBiasValue
    0x9205, // MaxApertureValue
    0x9206, // SubjectDistance
    0x9207, // MeteringMode
    0x9208, // LightSource
    0x9209, // Flash
    0x920A, // FocalLength
    0xA20B, // FlashEnergy
    0xA215, // ExposureIndex
    0xA217, // SensingMethod
    FILE_SOURCE,
    SCENE_TYPE,
    CUSTOM_RENDERED,
    0xA402, // ExposureMode
    0xA403, // WhiteBalance
    0xA404, // DigitalZoomRatio
    0xA405, // FocalLengthIn35mmFilm
    0xA406, // SceneCaptureType
    0xA407, // GainControl
    0xA408, // Contrast
    0xA409, // Saturation
    0xA40A, // Sharpness
    0xA40C, // SubjectDistanceRange
];

/// The numbers that a directory holds, by tag.
pub(super) fn read(directory: &Directory<'_>) -> BTreeMap<u16, Number> {
    let number = |tag: &u16| Some((*tag, value(*tag, &directory.find(*tag)?)?));
    NUMBERS.iter().filter_map(number).collect()
}

fn value(tag: u16, entry: &Entry<'_>) -> Option<Number> {
    let whole = match tag {
        // Four characters of type UNDEFINED.
        EXIF_VERSION => std::str::from_utf8(entry.bytes.get(..4)?).ok()?.parse::<u16>().ok().map(i64::from),
        FILE_SOURCE | SCENE_TYPE => entry.bytes.first().map(|b| i64::from(*b)),
        // Apple writes 2 to 8, which DICOM does not know.
        CUSTOM_RENDERED => entry.short().filter(|v| *v <= 1).map(i64::from),
        _ => return plain(entry),
    };
    whole.map(Number::Whole)
}

fn plain(entry: &Entry<'_>) -> Option<Number> {
    let long = |at| entry.order.u32(entry.bytes, at);
    let signed = |at| long(at).map(|n| i64::from(n.cast_signed()));
    match entry.kind {
        kind::SHORT => entry.short().map(|n| Number::Whole(n.into())),
        kind::LONG => long(0).map(|n| Number::Whole(n.into())),
        kind::RATIONAL => Some(Number::Ratio(long(0)?.into(), long(4)?.into())),
        kind::SIGNED_RATIONAL => Some(Number::Ratio(signed(0)?, signed(4)?)),
        _ => None,
    }
    // n/0 is how Exif says infinity and unknown.
    .filter(|number| !matches!(number, Number::Ratio(_, 0)))
}

#[cfg(test)]
mod tests {
    use super::super::{Block, Field, directory};
    use super::*;

    fn block(fields: &[Field]) -> Block {
        let exif = directory(26, fields);
        let first = directory(8, &[Field::pointer(0x8769, 26)]);
        Block::read(&[b"MM\0*\0\0\0\x08", &first[..], &exif].concat()).unwrap()
    }

    fn ratio(tag: u16, kind: u16, over: i32, under: i32) -> Field {
        Field(tag, kind, 1, [over.to_be_bytes(), under.to_be_bytes()].concat())
    }

    #[test]
    fn numbers_of_the_exposure_are_kept_and_words_are_not() {
        let read = block(&[
            ratio(0x829A, kind::RATIONAL, 1, 60),
            Field(0x8827, kind::SHORT, 2, vec![0, 200, 1, 144]),
            Field(0x9000, 7, 4, b"0232".to_vec()),
            ratio(0x9204, kind::SIGNED_RATIONAL, -1, 3),
            ratio(0x9206, kind::RATIONAL, -1, 0),
            Field(0x927C, 7, 5, b"maker".to_vec()),
            Field::ascii(0xA430, "Owner"),
            Field::ascii(0xA434, "Lens of Owner"),
            Field(0xA300, 7, 1, vec![3]),
            Field(0xA401, kind::SHORT, 1, vec![0, 6]),
        ]);
        let then = [
            (0x829A, Number::Ratio(1, 60)),
            (0x8827, Number::Whole(200)),
            (0x9000, Number::Whole(232)),
            (0x9204, Number::Ratio(-1, 3)),
            (0xA300, Number::Whole(3)),
        ];
        assert_eq!(read.exposure, BTreeMap::from(then));
    }
}
