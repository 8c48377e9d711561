//! How a picture was exposed (PS3.3 §C.8.12.11, VL Photographic Acquisition): numbers of its Exif
//! block, each where DICOM has an attribute for it. Codes that DICOM does not know are left out.

use std::ops::RangeInclusive;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::build::Source;
use super::data_set::DataSet;
use super::table::{Attribute, Origin, Presence};
use super::value::DS_MAX;
use crate::capture::media::Number;

/// How a number stands in its attribute.
enum Form {
    /// DS.
    Decimal,
    /// IS.
    Whole,
    /// UT: four digits.
    Version,
    /// US: so many bits of the number from `shift` on, where they are one of the terms.
    Term { shift: u32, mask: i64, terms: &'static [RangeInclusive<i64>] },
}

use Form::{Decimal, Version, Whole};

const fn term(terms: &'static [RangeInclusive<i64>]) -> Form {
    Form::Term { shift: 0, mask: i64::MAX, terms }
}

/// A part of Exif's bit field Flash.
const fn flash(shift: u32, mask: i64, terms: &'static [RangeInclusive<i64>]) -> Form {
    Form::Term { shift, mask, terms }
}

/// Makes the rows that write and the rows that are told of one list: Exif tag, attribute, form,
/// and what Exif calls it.
macro_rules! exposure {
    ($($exif:literal $tag:ident $form:expr, $name:literal;)*) => {
        static FORMS: &[(u16, Tag, Form)] = &[$(($exif, tags::$tag, $form)),*];
        pub(super) static ATTRIBUTES: &[Attribute] = &[$(Attribute {
            tag: tags::$tag,
            presence: Presence::NotAlways,
            origin: Origin::File,
            says: concat!("Exif `", $name, "`"),
            items: &[],
        }),*];
    };
}

exposure! {
    0x829A EXPOSURE_TIME_IN_SECONDS Decimal, "ExposureTime";
    0x829D F_NUMBER Decimal, "FNumber";
    0x9209 FLASH_FIRING_STATUS flash(0, 1, &[0..=1]), "Flash";
    0x9209 FLASH_RETURN_STATUS flash(1, 3, &[0..=0, 2..=3]), "Flash";
    0x9209 FLASH_MODE flash(3, 3, &[0..=3]), "Flash";
    0x9209 FLASH_FUNCTION_PRESENT flash(5, 1, &[0..=1]), "Flash";
    0x9209 FLASH_RED_EYE_MODE flash(6, 1, &[0..=1]), "Flash";
    0x8822 EXPOSURE_PROGRAM term(&[0..=8]), "ExposureProgram";
    0x8827 PHOTOGRAPHIC_SENSITIVITY Whole, "PhotographicSensitivity";
    0x8830 SENSITIVITY_TYPE term(&[0..=7]), "SensitivityType";
    0x8831 STANDARD_OUTPUT_SENSITIVITY Whole, "StandardOutputSensitivity";
    0x8832 RECOMMENDED_EXPOSURE_INDEX Whole, "RecommendedExposureIndex";
    0x8833 ISO_SPEED Whole, "ISOSpeed";
    0x9000 EXIF_VERSION Version, "ExifVersion";
    0x9201 SHUTTER_SPEED_VALUE Decimal, "ShutterSpeedValue";
    0x9202 APERTURE_VALUE Decimal, "ApertureValue";
    0x9203 BRIGHTNESS_VALUE Decimal, "BrightnessValue";
    0x9204 EXPOSURE_BIAS_VALUE Decimal, "ExposureBiasValue";
    0x9205 MAX_APERTURE_VALUE Decimal, "MaxApertureValue";
    0x9206 SUBJECT_DISTANCE Decimal, "SubjectDistance";
    0x9207 METERING_MODE term(&[0..=6, 255..=255]), "MeteringMode";
    0x9208 LIGHT_SOURCE term(&[0..=4, 9..=15, 17..=24, 255..=255]), "LightSource";
    0x920A FOCAL_LENGTH Decimal, "FocalLength";
    0xA20B FLASH_ENERGY Decimal, "FlashEnergy";
    0xA215 PHOTOGRAPHIC_EXPOSURE_INDEX Decimal, "ExposureIndex";
    0xA217 SENSING_METHOD term(&[1..=5, 7..=8]), "SensingMethod";
    0xA300 FILE_SOURCE term(&[0..=3]), "FileSource";
    0xA301 SCENE_TYPE term(&[1..=1]), "SceneType";
    0xA401 CUSTOM_RENDERED term(&[0..=1]), "CustomRendered";
    0xA402 EXPOSURE_MODE term(&[0..=2]), "ExposureMode";
    0xA403 WHITE_BALANCE term(&[0..=1]), "WhiteBalance";
    0xA404 DIGITAL_ZOOM_RATIO Decimal, "DigitalZoomRatio";
    0xA405 FOCAL_LENGTH_IN35MM_FILM Whole, "FocalLengthIn35mmFilm";
    0xA406 SCENE_CAPTURE_TYPE term(&[0..=3]), "SceneCaptureType";
    0xA407 GAIN_CONTROL term(&[0..=4]), "GainControl";
    0xA408 CONTRAST term(&[0..=2]), "Contrast";
    0xA409 SATURATION term(&[0..=2]), "Saturation";
    0xA40A SHARPNESS term(&[0..=2]), "Sharpness";
    0xA40C SUBJECT_DISTANCE_RANGE term(&[0..=3]), "SubjectDistanceRange";
}

/// Writes what is known; nothing of a picture without Exif.
pub(super) fn vl_photographic_acquisition(to: &mut DataSet, source: &Source) {
    let exposure = &source.manifest.item.facts.details.exposure;
    for (exif, tag, form) in FORMS {
        let Some(number) = exposure.get(exif) else { continue };
        match (form, number) {
            (Form::Decimal, number) => to.put_some(*tag, VR::DS, decimal(*number).unwrap_or_default()),
            (Form::Whole, Number::Whole(n)) if i32::try_from(*n).is_ok() => to.put_some(*tag, VR::IS, n.to_string()),
            (Form::Version, Number::Whole(n @ 0..=9_999)) => to.put_some(*tag, VR::UT, format!("{n:04}")),
            (Form::Term { shift, mask, terms }, Number::Whole(n)) => {
                let code = (n >> shift) & mask;
                if let Some(code) = u16::try_from(code).ok().filter(|_| terms.iter().any(|t| t.contains(&code))) {
                    to.put_number(*tag, code);
                }
            }
            _ => {}
        }
    }
}

/// To eight places, which are more than a shutter has.
#[allow(clippy::cast_precision_loss)] // both parts have 32 bits in Exif
fn decimal(number: Number) -> Option<String> {
    let value = match number {
        Number::Whole(n) => n as f64,
        Number::Ratio(over, under) => over as f64 / under as f64,
    };
    let text = format!("{value:.8}");
    let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    let text = if text == "-0" { "0".to_owned() } else { text };
    (value.is_finite() && text.len() <= DS_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_exif_is_a_decimal_string_or_nothing() {
        let table = [
            (Number::Ratio(1, 8_000), Some("0.000125")),
            (Number::Ratio(1, 60), Some("0.01666667")),
            (Number::Ratio(-1, 3), Some("-0.33333333")),
            (Number::Whole(5), Some("5")),
            (Number::Ratio(4_294_967_295, 1), Some("4294967295")),
            (Number::Ratio(-1, 4_294_967_295), Some("0")),
            (Number::Ratio(4_294_967_295, 7), None),
            (Number::Ratio(1, 0), None),
        ];
        for (number, then) in table {
            assert_eq!(decimal(number).as_deref(), then, "{number:?}");
        }
    }
}
