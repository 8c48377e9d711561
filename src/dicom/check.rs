//! What a validator of attributes does not see: an own look at a finished file.
//!
//! `dciodvfy` knows the modules. It does not compare Rows with the stream, read the offset table
//! or the profile's class, test the form of a zone, or mind a place of capture. These rules do.

use dicom_core::header::{HasLength, Header};
use dicom_core::value::Value;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, InMemDicomObject};

use super::Syntax;
use crate::capture::Uid;

/// One rule: its clause, what it says, and whether a file keeps it.
type Rule = (&'static str, &'static str, fn(&DefaultDicomObject) -> bool);

/// What is wrong with a file; empty: nothing that is known here. Texts carry no values.
#[must_use]
pub fn faults(file: &DefaultDicomObject) -> Vec<String> {
    RULES.iter().filter(|(_, _, holds)| !holds(file)).map(|(clause, says, _)| format!("{clause}: {says}")).collect()
}

const RULES: &[Rule] = &[
    ("PS3.10 §7.1", "the meta header names the class and instance of the data set", |f| {
        f.meta().media_storage_sop_class_uid() == text(f, tags::SOP_CLASS_UID)
            && f.meta().media_storage_sop_instance_uid() == text(f, tags::SOP_INSTANCE_UID)
    }),
    ("PS3.10 §7.1", "the version name has at most 16 characters", |f| {
        f.meta().implementation_version_name().is_none_or(|n| n.len() <= 16)
    }),
    ("PS3.5 §9.1", "every UID is legal", |f| every(f, &|e| e.vr() != VR::UI || values(e).iter().all(|v| Uid::parse(v).is_ok()))),
    ("PS3.5 §7.8", "no private, group length or retired element", |f| {
        every(f, &|e| {
            let Tag(group, element) = e.tag();
            group % 2 == 0 && element != 0 && e.tag() != Tag(0x0010, 0x1000)
        })
    }),
    ("PS3.5 §7.4", "no empty sequence but the two of Type 2", |f| {
        every(f, &|e| e.tag() == tags::ACQUISITION_CONTEXT_SEQUENCE || items(e).is_none_or(|items| !items.is_empty()))
    }),
    ("PS3.3 §8.8", "a code has a meaning and a place that it fits", |f| every_item(f, &is_code_well_formed)),
    ("PS3.3 §C.12.1.1.2", "text is UTF-8, and only that is said", |f| text(f, tags::SPECIFIC_CHARACTER_SET) == "ISO_IR 192"),
    ("PS3.3 §C.12.1.1.8", "the zone is +hhmm or -hhmm and not -0000", |f| is_zone(&text(f, tags::TIMEZONE_OFFSET_FROM_UTC))),
    ("PS3.5 §6.2", "a date time with a zone has no colon", |f| {
        every(f, &|e| e.vr() != VR::DT || values(e).iter().all(|v| !v.contains(':')))
    }),
    ("PS3.3 §C.12.1.1.5", "the gateway is named as modifying equipment", |f| {
        f.get(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE).and_then(items).is_some_and(|items| {
            items.iter().any(|i| {
                let purpose = i.get(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE).and_then(self::items);
                purpose.is_some_and(|p| p.iter().any(|c| text(c, tags::CODE_VALUE) == "109103")) && has(i, tags::MANUFACTURER)
            })
        })
    }),
    ("PS3.3 §C.7.1.1", "the object is somebody's", |f| has(f, tags::PATIENT_ID)),
    ("PS3.3 §C.7.1.1", "Type of Patient ID is TEXT where it is there", |f| {
        every(f, &|e| e.tag() != tags::TYPE_OF_PATIENT_ID || values(e) == ["TEXT"])
    }),
    ("PS3.3 §C.7.1.1", "the sex is M, F, O or empty", |f| matches!(text(f, tags::PATIENT_SEX).as_str(), "" | "M" | "F" | "O")),
    ("PS3.5 §6.2", "an age has four characters", |f| {
        let age = text(f, tags::PATIENT_AGE);
        age.is_empty() || (age.len() == 4 && age.bytes().take(3).all(|b| b.is_ascii_digit()))
    }),
    ("PS3.5 §6.4", "name and number of the patient are one value each", |f| {
        [tags::PATIENT_NAME, tags::PATIENT_ID].iter().all(|t| !text(f, *t).contains('\\'))
    }),
    ("PS3.3 §10.6", "request attributes are one item and only the macro", |f| {
        f.get(tags::REQUEST_ATTRIBUTES_SEQUENCE)
            .and_then(items)
            .is_none_or(|items| items.len() == 1 && items.iter().all(|i| i.tags().all(|t| REQUEST_MACRO.contains(&t))))
    }),
    ("PS3.3 §C.7.3.1", "either Laterality or Image Laterality", |f| {
        f.get(tags::LATERALITY).is_some() != f.get(tags::IMAGE_LATERALITY).is_some()
    }),
    ("PS3.3 §C.8.12.1", "at most one anatomic region", |f| {
        f.get(tags::ANATOMIC_REGION_SEQUENCE).and_then(items).is_none_or(|i| i.len() == 1)
    }),
    ("PS3.3 §C.7.6.1", "content date and time are filled", |f| has(f, tags::CONTENT_DATE) && has(f, tags::CONTENT_TIME)),
    ("PS3.3 §C.8.12.1", "samples are 8 bits in a colour model of the module", has_vl_pixels),
    ("PS3.3 §C.7.6.1", "a lossy picture names one ratio for each method, and a lossless one none", is_lossy_history_whole),
    ("PS3.3 §C.11.15", "a profile is of the input class, for RGB", |f| {
        f.get(tags::ICC_PROFILE)
            .is_none_or(|e| e.to_bytes().is_ok_and(|p| p.get(12..20) == Some(b"scnrRGB ") && p.len().is_multiple_of(2)))
    }),
    ("PS3.3 §C.7.6.6", "a film tells its pictures, their time and their region, and a still none", is_cine_whole),
    ("PS3.3 §C.8.6.4", "a burst tells its stills, and of each when it was taken or its number", is_burst_whole),
    ("PS3.5 §A.4", "pixel data is one fragment after an empty table, one for each still, or native and whole", has_whole_pixels),
    ("PS3.3 §C.8.12", "no attribute of the place, the owner or the lens", |f| {
        every(f, &|e| {
            let Tag(group, element) = e.tag();
            group != 0x0016 || !matches!(element, 0x002B | 0x004B | 0x004D | 0x0051 | 0x0070..=0x008E)
        })
    }),
];

/// The whole macro of PS3.3 table 10-9, as far as it is written here.
const REQUEST_MACRO: &[Tag] = &[
    tags::REQUESTED_PROCEDURE_ID,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::STUDY_INSTANCE_UID,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
    tags::REQUESTED_PROCEDURE_CODE_SEQUENCE,
    tags::SCHEDULED_PROCEDURE_STEP_ID,
];

fn text(of: &InMemDicomObject, tag: Tag) -> String {
    of.get(tag).and_then(|e| e.to_str().ok().map(|t| t.trim_end_matches([' ', '\0']).to_owned())).unwrap_or_default()
}

fn has(of: &InMemDicomObject, tag: Tag) -> bool {
    !text(of, tag).is_empty()
}

fn number(of: &InMemDicomObject, tag: Tag) -> Option<u64> {
    of.get(tag)?.to_int().ok()
}

fn values(element: &InMemElement) -> Vec<String> {
    let all = element.to_multi_str().map(|v| v.iter().map(|t| t.trim_end_matches([' ', '\0']).to_owned()).collect::<Vec<_>>());
    all.unwrap_or_default().into_iter().filter(|v| !v.is_empty()).collect()
}

fn items(element: &InMemElement) -> Option<&[InMemDicomObject]> {
    if element.vr() == VR::SQ { Some(element.items().unwrap_or_default()) } else { None }
}

fn every(of: &InMemDicomObject, holds: &dyn Fn(&InMemElement) -> bool) -> bool {
    of.iter().all(|e| holds(e) && items(e).is_none_or(|items| items.iter().all(|i| every(i, holds))))
}

fn every_item(of: &InMemDicomObject, holds: &dyn Fn(&InMemDicomObject) -> bool) -> bool {
    of.iter().filter_map(items).flatten().all(|i| holds(i) && every_item(i, holds))
}

fn is_code_well_formed(item: &InMemDicomObject) -> bool {
    let (short, long, urn) = (text(item, tags::CODE_VALUE), text(item, tags::LONG_CODE_VALUE), text(item, tags::URN_CODE_VALUE));
    let is_code = !(short.is_empty() && long.is_empty() && urn.is_empty());
    !is_code
        || (has(item, tags::CODE_MEANING)
            && short.chars().count() <= 16
            && (!urn.is_empty() || has(item, tags::CODING_SCHEME_DESIGNATOR))
            && !matches!(text(item, tags::CODING_SCHEME_DESIGNATOR).as_str(), "SRT" | "99SDM"))
}

fn is_zone(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or_default();
    digits.len() == 4
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.get(..2).is_some_and(|h| h <= "14")
        && digits.get(2..).is_some_and(|m| m < "60")
        && text != "-0000"
}

fn syntax_of(file: &DefaultDicomObject) -> Option<Syntax> {
    Syntax::from_uid(file.meta().transfer_syntax().trim_end_matches('\0'))
}

/// A film says how many pictures it has, how long each is shown, and of what part of the body they
/// are; a still does not.
fn is_cine_whole(file: &DefaultDicomObject) -> bool {
    let is_film = text(file, tags::SOP_CLASS_UID) == super::iod::VIDEO_PHOTOGRAPHIC;
    let counts = number(file, tags::NUMBER_OF_FRAMES);
    if is_burst(file) {
        return true;
    }
    if !is_film {
        return counts.is_none() && file.get(tags::FRAME_INCREMENT_POINTER).is_none();
    }
    let frame_time = text(file, tags::FRAME_TIME);
    counts.is_some_and(|n| n > 0)
        && file.get(tags::FRAME_INCREMENT_POINTER).is_some_and(|e| e.value().to_tag().is_ok_and(|t| t == tags::FRAME_TIME))
        && frame_time.len() <= 16
        && frame_time.parse::<f64>().is_ok_and(|ms| ms > 0.0)
        && file.get(tags::ANATOMIC_REGION_SEQUENCE).and_then(items).is_some_and(|i| i.len() == 1)
        && file
            .get(tags::MULTIPLEXED_AUDIO_CHANNELS_DESCRIPTION_CODE_SEQUENCE)
            .and_then(items)
            .is_none_or(|items| items.iter().all(|i| has(i, tags::CHANNEL_MODE) && has(i, tags::CHANNEL_IDENTIFICATION_CODE)))
}

fn is_burst(file: &DefaultDicomObject) -> bool {
    text(file, tags::SOP_CLASS_UID) == super::iod::MULTI_FRAME_TRUE_COLOUR
}

fn is_burst_whole(file: &DefaultDicomObject) -> bool {
    let vectors = [tags::FRAME_TIME_VECTOR, tags::PAGE_NUMBER_VECTOR];
    let told = file.get(tags::FRAME_INCREMENT_POINTER).and_then(|e| e.value().to_tag().ok());
    let steps = told.filter(|tag| vectors.contains(tag)).and_then(|tag| file.get(tag)).map(values).unwrap_or_default();
    let stills = number(file, tags::NUMBER_OF_FRAMES);
    !is_burst(file) || (stills.is_some_and(|n| n > 1) && stills == u64::try_from(steps.len()).ok())
}

fn has_vl_pixels(file: &DefaultDicomObject) -> bool {
    let photometric = text(file, tags::PHOTOMETRIC_INTERPRETATION);
    let colour = match syntax_of(file) {
        Some(Syntax::JpegBaseline) => "YBR_FULL_422",
        Some(Syntax::Avc41 | Syntax::Avc42 | Syntax::HevcMain) => "YBR_PARTIAL_420",
        Some(Syntax::ExplicitLe | Syntax::ImplicitLe) | None => "RGB",
    };
    let planar = number(file, tags::PLANAR_CONFIGURATION);
    let depth = [tags::BITS_ALLOCATED, tags::BITS_STORED, tags::HIGH_BIT, tags::PIXEL_REPRESENTATION].map(|t| number(file, t));
    depth == [Some(8), Some(8), Some(7), Some(0)]
        && file.get(tags::PIXEL_ASPECT_RATIO).is_none()
        && match number(file, tags::SAMPLES_PER_PIXEL) {
            Some(1) => photometric == "MONOCHROME2" && planar.is_none(),
            Some(3) => photometric == colour && planar == Some(0),
            _ => false,
        }
}

fn is_lossy_history_whole(file: &DefaultDicomObject) -> bool {
    let of = |tag| file.get(tag).map(values).unwrap_or_default();
    let (ratios, methods) = (of(tags::LOSSY_IMAGE_COMPRESSION_RATIO), of(tags::LOSSY_IMAGE_COMPRESSION_METHOD));
    let is_derived = file.get(tags::IMAGE_TYPE).map(values).unwrap_or_default().first().is_some_and(|v| v == "DERIVED");
    let is_told = has(file, tags::DERIVATION_DESCRIPTION) && file.get(tags::DERIVATION_CODE_SEQUENCE).is_some();
    let is_counted = match text(file, tags::LOSSY_IMAGE_COMPRESSION).as_str() {
        "00" => ratios.is_empty() && methods.is_empty(),
        "01" => {
            !ratios.is_empty()
                && ratios.len() == methods.len()
                && ratios.iter().all(|r| r.len() <= 16 && r.parse::<f64>().is_ok_and(|r| r > 0.0))
        }
        _ => false,
    };
    is_counted && is_derived == is_told
}

fn has_whole_pixels(file: &DefaultDicomObject) -> bool {
    let (Some(rows), Some(columns)) = (number(file, tags::ROWS), number(file, tags::COLUMNS)) else { return false };
    let Some(samples) = number(file, tags::SAMPLES_PER_PIXEL) else { return false };
    let Some(pixels) = file.get(tags::PIXEL_DATA) else { return false };
    match pixels.value() {
        Value::PixelSequence(sequence) => match (sequence.offset_table(), sequence.fragments()) {
            ([], [fragment]) if syntax_of(file) == Some(Syntax::JpegBaseline) => is_bare_jpeg(fragment, rows, columns, samples),
            ([], [fragment]) => is_flat_film(fragment),
            (table, fragments) if is_burst(file) => {
                let is_still = |f: &Vec<u8>| is_bare_jpeg(f, rows, columns, samples);
                are_offsets(table, fragments) && fragments.len() > 1 && fragments.iter().all(is_still)
            }
            _ => false,
        },
        Value::Primitive(_) => {
            let length = rows * columns * samples;
            pixels.length().get().is_some_and(|l| u64::from(l) == length + length % 2)
        }
        Value::Sequence(_) => false,
    }
}

/// Where each item begins, from the first one on (PS3.5 §A.4).
fn are_offsets(table: &[u32], fragments: &[Vec<u8>]) -> bool {
    let mut at = 0;
    let begins = fragments.iter().map(|fragment| {
        let here = at;
        at += 8 + fragment.len() as u64;
        here
    });
    begins.eq(table.iter().copied().map(u64::from))
}

/// An MP4 file of three boxes, and at most one byte of padding.
fn is_flat_film(stream: &[u8]) -> bool {
    let mut at = 0;
    let kinds: Vec<Option<&[u8]>> = (0..3)
        .map(|_| {
            let size = stream.get(at..at + 4).and_then(|s| s.first_chunk()).map(|s| u32::from_be_bytes(*s));
            let kind = stream.get(at + 4..at + 8);
            at = at.saturating_add(size.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX));
            kind
        })
        .collect();
    let padding = stream.get(at..);
    kinds == [Some(b"ftyp".as_slice()), Some(b"moov"), Some(b"mdat")]
        && stream.get(8..12) != Some(b"qt  ")
        && stream.len().is_multiple_of(2)
        && padding.is_some_and(|padding| matches!(padding, [] | [0]))
}

/// One baseline picture of that size: no application data that tells of more than the colour
/// model, no comment, nothing behind its end but one byte of padding.
fn is_bare_jpeg(stream: &[u8], rows: u64, columns: u64, samples: u64) -> bool {
    let is_even = stream.len().is_multiple_of(2);
    let ends = matches!(stream, [.., 0xFF, 0xD9] | [.., 0xFF, 0xD9, 0x00]);
    let mut at = 2;
    let mut is_frame_right = false;
    loop {
        let Some(&[0xFF, marker, high, low]) = stream.get(at..at + 4) else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = stream.get(at + 4..at + 2 + length).unwrap_or_default();
        match marker {
            0xC0 => {
                is_frame_right = matches!(body, &[8, h1, h2, w1, w2, n, ..]
                    if u64::from(u16::from_be_bytes([h1, h2])) == rows
                        && u64::from(u16::from_be_bytes([w1, w2])) == columns
                        && u64::from(n) == samples);
            }
            0xC1..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xE1..=0xED | 0xEF | 0xFE => return false,
            0xDA => break,
            _ => {}
        }
        at += 2 + length;
    }
    let scan = stream.get(at..).unwrap_or_default();
    let pictures = scan.windows(2).filter(|w| *w == [0xFF, 0xD8]).count();
    is_even && ends && is_frame_right && pictures == 0 && stream.starts_with(&[0xFF, 0xD8])
}
