//! The modules that are written: each with the function that writes it, and a row for each of its
//! attributes. A row that no object keeps, and an attribute without a row, fail a test
//! (`tests/conformance.rs`); an object with an attribute that has no row is not made at all.

use std::fmt;

use dicom_core::header::Header;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::build::Source;
use super::data_set::DataSet;
use super::{DicomError, burst, document, exposure, modules, video};

/// Writes one module; notes are for a person.
type Fill = fn(&mut DataSet, &Source, &mut Vec<&'static str>) -> Result<(), DicomError>;

/// One module of PS3.3 annex C, or the part of it that is written.
pub struct Module {
    pub name: &'static str,
    /// Of PS3.3.
    pub clause: &'static str,
    pub attributes: &'static [Attribute],
    pub(super) fill: Fill,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One attribute of an object.
#[derive(Debug)]
pub struct Attribute {
    pub tag: Tag,
    pub presence: Presence,
    pub origin: Origin,
    /// Which value, where the origin alone does not say it.
    pub says: &'static str,
    /// Of each item, where it is a sequence.
    pub items: &'static [Attribute],
}

/// Whether an attribute is there (PS3.2 §N.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// With a value.
    Always,
    /// There, and may be empty.
    ValueNotAlways,
    /// With a value, or not there.
    NotAlways,
    /// There, without a value.
    Empty,
    /// Without a value, or not there.
    EmptyNotAlways,
}

impl Presence {
    /// The word of PS3.2.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "ALWAYS",
            Self::ValueNotAlways => "VNAP",
            Self::NotAlways => "ANAP",
            Self::Empty => "EMPTY",
            Self::EmptyNotAlways => "ANAP, EMPTY",
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made by the gateway.
    Auto,
    /// What the sender says with the files.
    Claim,
    /// The configuration.
    Config,
    /// The file, and what its metadata said before they were removed.
    File,
    /// The hospital's messages (HL7), or `resolved` of `wrap`.
    Hospital,
    /// Who signed in.
    Token,
}

impl Origin {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Claim => "CLAIM",
            Self::Config => "CONFIG",
            Self::File => "FILE",
            Self::Hospital => "HL7",
            Self::Token => "TOKEN",
        }
    }
}

pub(super) fn find(attributes: &'static [Attribute], tag: Tag) -> Option<&'static Attribute> {
    attributes.iter().find(|a| a.tag == tag)
}

/// True where the row is there and has all that stands in the element's items.
pub(super) fn holds(row: Option<&'static Attribute>, element: &InMemElement) -> bool {
    let Some(row) = row else { return false };
    if element.vr() != VR::SQ {
        return true;
    }
    let mut inner = element.items().unwrap_or_default().iter().flat_map(InMemDicomObject::iter);
    inner.all(|element| holds(find(row.items, element.tag()), element))
}

use Origin::{Auto, Claim, Config, File, Hospital, Token};
use Presence::{Always, Empty, EmptyNotAlways, NotAlways, ValueNotAlways};

const fn row(tag: Tag, presence: Presence, origin: Origin, says: &'static str) -> Attribute {
    Attribute { tag, presence, origin, says, items: &[] }
}

const fn sequence(tag: Tag, presence: Presence, origin: Origin, says: &'static str, items: &'static [Attribute]) -> Attribute {
    Attribute { tag, presence, origin, says, items }
}

/// Code Sequence Macro (§8.8).
static CODE: [Attribute; 5] = [
    row(tags::CODE_VALUE, NotAlways, Auto, "the code, up to 16 characters"),
    row(tags::LONG_CODE_VALUE, NotAlways, Auto, "a longer code"),
    row(tags::URN_CODE_VALUE, NotAlways, Auto, "a code that is a URN or URL"),
    row(tags::CODING_SCHEME_DESIGNATOR, NotAlways, Auto, "as sent where PS3.16 §8 registers it, else `99…`; none beside a URN"),
    row(tags::CODE_MEANING, Always, Auto, "the meaning, else the code"),
];

/// Hierarchic Designator Macro (§10.14).
static DESIGNATOR: [Attribute; 3] = [
    row(tags::LOCAL_NAMESPACE_ENTITY_ID, NotAlways, Hospital, "namespace"),
    row(tags::UNIVERSAL_ENTITY_ID, NotAlways, Hospital, "universal id, with a type that DICOM has a term for"),
    row(tags::UNIVERSAL_ENTITY_ID_TYPE, NotAlways, Hospital, "ISO, DNS, EUI64, URI, UUID, X400, X500"),
];

/// Issuer of Patient ID Macro (§10.15), its sequence.
static QUALIFIERS: [Attribute; 3] = [
    row(tags::UNIVERSAL_ENTITY_ID, NotAlways, Hospital, "PID-3.4.2"),
    row(tags::UNIVERSAL_ENTITY_ID_TYPE, NotAlways, Hospital, "PID-3.4.3"),
    row(tags::IDENTIFIER_TYPE_CODE, NotAlways, Hospital, "PID-3.5"),
];

static OTHER_PATIENT_ID: [Attribute; 4] = [
    row(tags::PATIENT_ID, Always, Hospital, "PID-3.1"),
    row(tags::ISSUER_OF_PATIENT_ID, NotAlways, Hospital, "PID-3.4.1"),
    sequence(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, NotAlways, Hospital, "", &QUALIFIERS),
    row(tags::TYPE_OF_PATIENT_ID, Always, Auto, "`TEXT`"),
];

/// Person Identification Macro (§10.1).
static PERSON: [Attribute; 2] = [
    sequence(tags::PERSON_IDENTIFICATION_CODE_SEQUENCE, Always, Token, "`sub` in scheme `99STAFF`", &CODE),
    row(tags::INSTITUTION_NAME, Always, Config, "`site.institution`"),
];

/// Request Attributes Macro (§10.6).
static REQUEST: [Attribute; 7] = [
    row(tags::ACCESSION_NUMBER, NotAlways, Hospital, "as in the study"),
    sequence(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, NotAlways, Hospital, "as in the study", &DESIGNATOR),
    row(tags::STUDY_INSTANCE_UID, NotAlways, Hospital, "the ordered one"),
    row(tags::REQUESTED_PROCEDURE_DESCRIPTION, NotAlways, Hospital, "meaning of the procedure"),
    sequence(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, NotAlways, Hospital, "procedure", &CODE),
    row(tags::SCHEDULED_PROCEDURE_STEP_ID, NotAlways, Hospital, ""),
    row(tags::REQUESTED_PROCEDURE_ID, NotAlways, Hospital, ""),
];

/// Patient (§C.7.1.1).
pub static PATIENT: Module = Module {
    name: "Patient",
    clause: "C.7.1.1",
    attributes: &[
        row(tags::PATIENT_NAME, ValueNotAlways, Hospital, "PID-5, prefix before suffix"),
        row(tags::PATIENT_ID, Always, Hospital, "PID-3.1 of the site's authority; without one there is no object"),
        row(tags::ISSUER_OF_PATIENT_ID, NotAlways, Hospital, "PID-3.4.1"),
        sequence(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, NotAlways, Hospital, "", &QUALIFIERS),
        row(tags::PATIENT_BIRTH_DATE, ValueNotAlways, Hospital, "PID-7, whole dates only"),
        row(tags::PATIENT_SEX, ValueNotAlways, Hospital, "PID-8: M, F, O"),
        sequence(tags::OTHER_PATIENT_I_DS_SEQUENCE, NotAlways, Hospital, "further repetitions of PID-3", &OTHER_PATIENT_ID),
    ],
    fill: |to, source, _| modules::patient(to, source),
};

/// General Study (§C.7.2.1).
pub static GENERAL_STUDY: Module = Module {
    name: "General Study",
    clause: "C.7.2.1",
    attributes: &[
        row(tags::STUDY_INSTANCE_UID, Always, Hospital, "of the order; else AUTO"),
        row(tags::STUDY_DATE, Always, Auto, "start of the study, the same in all its objects"),
        row(tags::STUDY_TIME, Always, Auto, "the same"),
        row(tags::STUDY_ID, ValueNotAlways, Hospital, "Requested Procedure ID up to 16 characters; else AUTO"),
        row(tags::ACCESSION_NUMBER, ValueNotAlways, Hospital, "of the order"),
        sequence(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, NotAlways, Hospital, "", &DESIGNATOR),
        row(tags::REFERRING_PHYSICIAN_NAME, ValueNotAlways, Hospital, "PV1-8 as the study began"),
        row(tags::PHYSICIANS_OF_RECORD, NotAlways, Hospital, "PV1-7 as the study began"),
        row(tags::REQUESTING_SERVICE, NotAlways, Hospital, "department of the visit as the study began"),
        row(
            tags::STUDY_DESCRIPTION,
            Always,
            Hospital,
            "of the order as the study began; else CONFIG of the department, else `Photography, <department>`",
        ),
        sequence(
            tags::PROCEDURE_CODE_SEQUENCE,
            Always,
            Hospital,
            "the same; else (197157006, SCT, \"Photography of patient\")",
            &CODE,
        ),
    ],
    fill: |to, source, _| modules::general_study(to, source),
};

/// Patient Study (§C.7.2.2).
pub static PATIENT_STUDY: Module = Module {
    name: "Patient Study",
    clause: "C.7.2.2",
    attributes: &[
        row(tags::PATIENT_AGE, NotAlways, Auto, "birth date and Study Date"),
        row(tags::ADMISSION_ID, NotAlways, Hospital, "PV1-19.1"),
        sequence(tags::ISSUER_OF_ADMISSION_ID_SEQUENCE, NotAlways, Hospital, "PV1-19.4", &DESIGNATOR),
    ],
    fill: |to, source, _| modules::patient_study(to, source),
};

/// General Series (§C.7.3.1), less who took the picture.
pub static GENERAL_SERIES: Module = Module {
    name: "General Series",
    clause: "C.7.3.1",
    attributes: &[
        row(tags::MODALITY, Always, Auto, "of the object, as in section 1"),
        row(tags::SERIES_INSTANCE_UID, Always, Auto, ""),
        row(tags::SERIES_NUMBER, Always, Auto, "given once in a study"),
        row(tags::SERIES_DATE, Always, Auto, "first capture of the series"),
        row(tags::SERIES_TIME, Always, Auto, "the same"),
        row(tags::SERIES_DESCRIPTION, NotAlways, Claim, "`description`; else body site and view"),
        row(tags::PERFORMED_PROCEDURE_STEP_START_DATE, Always, Auto, "as Series Date"),
        row(tags::PERFORMED_PROCEDURE_STEP_START_TIME, Always, Auto, "as Series Time"),
        row(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION, Always, Auto, "as Study Description"),
    ],
    fill: |to, source, _| {
        modules::general_series(to, source);
        Ok(())
    },
};

/// General Series (§C.7.3.1): who took the picture.
pub static OPERATOR: Module = Module {
    name: "General Series, operator",
    clause: "C.7.3.1",
    attributes: &[
        row(
            tags::OPERATORS_NAME,
            NotAlways,
            Token,
            "`name` (`Family, Given` becomes `Family^Given`; other orders stay one component), else `sub`",
        ),
        sequence(tags::OPERATOR_IDENTIFICATION_SEQUENCE, NotAlways, Token, "where `site.institution` is set", &PERSON),
    ],
    fill: |to, source, _| modules::operator(to, source),
};

/// General Series (§C.7.3.1): what was ordered.
pub static REQUEST_ATTRIBUTES: Module = Module {
    name: "General Series, request",
    clause: "10.6",
    attributes: &[sequence(
        tags::REQUEST_ATTRIBUTES_SEQUENCE,
        NotAlways,
        Hospital,
        "ordered work, one item, only attributes of the macro",
        &REQUEST,
    )],
    fill: |to, source, _| modules::request_attributes(to, source),
};

/// General Equipment (§C.7.5.1).
pub static GENERAL_EQUIPMENT: Module = Module {
    name: "General Equipment",
    clause: "C.7.5.1",
    attributes: &[
        row(tags::MANUFACTURER, ValueNotAlways, Claim, "of the phone: `device`; else FILE"),
        row(tags::MANUFACTURER_MODEL_NAME, NotAlways, Claim, "the same"),
        row(tags::SOFTWARE_VERSIONS, NotAlways, Claim, "`device.software`, and FILE"),
        row(tags::INSTITUTION_NAME, NotAlways, Config, "`site.institution`"),
        row(tags::INSTITUTIONAL_DEPARTMENT_NAME, NotAlways, Config, "`name` of the department"),
        sequence(tags::INSTITUTIONAL_DEPARTMENT_TYPE_CODE_SEQUENCE, NotAlways, Config, "`type` of the department", &CODE),
    ],
    fill: |to, source, _| {
        modules::general_equipment(to, source);
        Ok(())
    },
};

/// General Acquisition (§C.7.10.1).
pub static GENERAL_ACQUISITION: Module = Module {
    name: "General Acquisition",
    clause: "C.7.10.1",
    attributes: &[
        row(
            tags::ACQUISITION_DATE_TIME,
            NotAlways,
            File,
            "with its offset; else CLAIM `taken_at`; absent where neither is known, or both are in the future (`studies.md`)",
        ),
        row(tags::ACQUISITION_DATE, NotAlways, File, "the same"),
        row(tags::ACQUISITION_TIME, NotAlways, File, "the same"),
    ],
    fill: |to, source, _| {
        modules::general_acquisition(to, source);
        Ok(())
    },
};

/// General Image (§C.7.6.1) and General Reference (§C.12.4).
pub static GENERAL_IMAGE: Module = Module {
    name: "General Image, General Reference",
    clause: "C.7.6.1, C.12.4",
    attributes: &[
        row(
            tags::IMAGE_TYPE,
            Always,
            Auto,
            "`ORIGINAL\\PRIMARY` where the camera's coefficients were kept, else `DERIVED\\PRIMARY`",
        ),
        row(tags::INSTANCE_NUMBER, Always, Auto, ""),
        row(tags::PATIENT_ORIENTATION, Empty, Auto, ""),
        row(tags::CONTENT_DATE, Always, File, "else CLAIM `taken_at`, else the time of acceptance; none that is in the future"),
        row(tags::CONTENT_TIME, Always, File, "the same"),
        row(tags::BURNED_IN_ANNOTATION, Always, Auto, "`NO`; `YES` for CLAIM `view` = `consent-form`"),
        row(tags::DERIVATION_DESCRIPTION, NotAlways, Auto, "DERIVED only"),
        sequence(
            tags::DERIVATION_CODE_SEQUENCE,
            NotAlways,
            Auto,
            "DERIVED that was coded again: (113040, DCM, \"Lossy Compression\")",
            &CODE,
        ),
        row(tags::LOSSY_IMAGE_COMPRESSION, Always, Auto, "`01` once anything was lost, else `00`"),
        row(tags::LOSSY_IMAGE_COMPRESSION_RATIO, NotAlways, Auto, "one for each lossy step since the camera"),
        row(tags::LOSSY_IMAGE_COMPRESSION_METHOD, NotAlways, Auto, "the same, in their order"),
    ],
    fill: |to, source, _| {
        modules::general_image(to, source);
        modules::lossy_compression(to, source);
        Ok(())
    },
};

/// Image Pixel (§C.7.6.3).
pub static IMAGE_PIXEL: Module = Module {
    name: "Image Pixel",
    clause: "C.7.6.3",
    attributes: &[
        row(tags::SAMPLES_PER_PIXEL, Always, File, "1 or 3"),
        row(
            tags::PHOTOMETRIC_INTERPRETATION,
            Always,
            File,
            "`YBR_FULL_422` for every colour JPEG; `YBR_PARTIAL_420` for video; `MONOCHROME2`; `RGB` for native samples",
        ),
        row(tags::PLANAR_CONFIGURATION, NotAlways, Auto, "0, of colour"),
        row(tags::ROWS, Always, File, "upright"),
        row(tags::COLUMNS, Always, File, "upright"),
        row(tags::BITS_ALLOCATED, Always, Auto, "8"),
        row(tags::BITS_STORED, Always, Auto, "8"),
        row(tags::HIGH_BIT, Always, Auto, "7"),
        row(tags::PIXEL_REPRESENTATION, Always, Auto, "0"),
        row(
            tags::PIXEL_DATA,
            Always,
            File,
            "empty Basic Offset Table and one fragment (a JPEG, or a video as a flat MP4 file), at most one byte 00 behind the stream; or native",
        ),
    ],
    fill: |to, source, _| modules::image_pixel(to, source),
};

/// Image Pixel (§C.7.6.3) of a burst.
pub static BURST_PIXEL: Module = Module {
    name: "Image Pixel",
    clause: "C.7.6.3",
    attributes: &[
        row(tags::SAMPLES_PER_PIXEL, Always, Auto, "3"),
        row(tags::PHOTOMETRIC_INTERPRETATION, Always, Auto, "`YBR_FULL_422`"),
        row(tags::PLANAR_CONFIGURATION, Always, Auto, "0"),
        row(tags::ROWS, Always, File, "upright, the same in all"),
        row(tags::COLUMNS, Always, File, "the same"),
        row(tags::BITS_ALLOCATED, Always, Auto, "8"),
        row(tags::BITS_STORED, Always, Auto, "8"),
        row(tags::HIGH_BIT, Always, Auto, "7"),
        row(tags::PIXEL_REPRESENTATION, Always, Auto, "0"),
        row(
            tags::PIXEL_DATA,
            Always,
            File,
            "Basic Offset Table with an offset for each still, and a fragment for each, at most one byte 00 behind its JPEG",
        ),
    ],
    fill: |to, source, _| modules::image_pixel(to, source),
};

/// Multi-frame (§C.7.6.6), Cine (§C.7.6.5), SC Multi-frame Image (§C.8.6.3) and Vector (§C.8.6.4).
pub static STILLS: Module = Module {
    name: "Multi-frame, Cine, SC Multi-frame Image and Vector",
    clause: "C.7.6.6, C.7.6.5, C.8.6.3, C.8.6.4",
    attributes: &[
        row(tags::NUMBER_OF_FRAMES, Always, File, "stills"),
        row(tags::FRAME_INCREMENT_POINTER, Always, Auto, "Frame Time Vector; else Page Number Vector"),
        row(tags::FRAME_TIME_VECTOR, NotAlways, File, "ms since the still before, where all tell when, one after the other"),
        row(tags::PAGE_NUMBER_VECTOR, NotAlways, Auto, "1, 2, 3 … where they do not"),
    ],
    fill: |to, source, _| burst::put_stills(to, source),
};

/// Cine (§C.7.6.5).
pub static CINE: Module = Module {
    name: "Cine",
    clause: "C.7.6.5",
    attributes: &[
        row(tags::FRAME_TIME, Always, File, "average, ms: phones let the rate vary"),
        row(tags::CINE_RATE, Always, File, "the same as a rate, rounded"),
        row(tags::RECOMMENDED_DISPLAY_FRAME_RATE, Always, File, "the same"),
        row(tags::EFFECTIVE_DURATION, Always, File, "seconds"),
        sequence(
            tags::MULTIPLEXED_AUDIO_CHANNELS_DESCRIPTION_CODE_SEQUENCE,
            NotAlways,
            File,
            "where there is sound: one item, a pair of channels",
            &CHANNELS,
        ),
    ],
    fill: |to, source, _| video::put_cine(to, source),
};

static CHANNELS: [Attribute; 3] = [
    row(tags::CHANNEL_IDENTIFICATION_CODE, Always, Auto, "1"),
    row(tags::CHANNEL_MODE, Always, Auto, "`STEREO`"),
    sequence(tags::CHANNEL_SOURCE_SEQUENCE, Always, Auto, "(109112, DCM, \"Ambient room environment\")", &CODE),
];

/// Multi-frame (§C.7.6.6).
pub static MULTI_FRAME: Module = Module {
    name: "Multi-frame",
    clause: "C.7.6.6",
    attributes: &[
        row(tags::NUMBER_OF_FRAMES, Always, File, "coded pictures, each shown once"),
        row(tags::FRAME_INCREMENT_POINTER, Always, Auto, "Frame Time"),
    ],
    fill: |to, source, _| video::put_multi_frame(to, source),
};

/// VL Image (§C.8.12.1): what a film, unlike a still, has to show.
pub static VIDEO_REGION: Module = Module {
    name: "VL Image, region of a video",
    clause: "C.8.12.1",
    attributes: &[sequence(tags::ANATOMIC_REGION_SEQUENCE, Always, Claim, "`body_site`, without which no video is taken", &CODE)],
    fill: |_, source, _| video::check_region(source),
};

/// Acquisition Context (§C.7.6.14).
pub static ACQUISITION_CONTEXT: Module = Module {
    name: "Acquisition Context",
    clause: "C.7.6.14",
    attributes: &[sequence(tags::ACQUISITION_CONTEXT_SEQUENCE, Empty, Auto, "no item", &[])],
    fill: |to, _, _| {
        to.put_empty_sequence(tags::ACQUISITION_CONTEXT_SEQUENCE);
        Ok(())
    },
};

/// What is seen, and on which side: of VL Image (§C.8.12.1), General Image and General Series.
pub static ANATOMY: Module = Module {
    name: "VL Image, General Series: what is seen",
    clause: "C.8.12.1, C.7.3.1",
    attributes: &[
        sequence(tags::ANATOMIC_REGION_SEQUENCE, NotAlways, Claim, "`body_site`", &CODE),
        row(tags::BODY_PART_EXAMINED, NotAlways, Claim, "the term of PS3.16 annex L, where the SNOMED CT code stands there"),
        row(tags::IMAGE_LATERALITY, NotAlways, Claim, "`laterality`; `U` where the region is known to be unpaired"),
        row(tags::LATERALITY, EmptyNotAlways, Auto, "where there is no Image Laterality"),
    ],
    fill: |to, source, _| {
        modules::anatomy(to, source);
        Ok(())
    },
};

/// VL Photographic Acquisition (§C.8.12.11).
pub static PHOTOGRAPHIC_ACQUISITION: Module = Module {
    name: "VL Photographic Acquisition",
    clause: "C.8.12.11",
    attributes: exposure::ATTRIBUTES,
    fill: |to, source, _| {
        exposure::vl_photographic_acquisition(to, source);
        Ok(())
    },
};

/// Enhanced General Equipment (§C.7.5.2).
pub static ENHANCED_EQUIPMENT: Module = Module {
    name: "Enhanced General Equipment",
    clause: "C.7.5.2",
    attributes: &[
        row(tags::MANUFACTURER, Always, Claim, "as in General Equipment, else `UNKNOWN`"),
        row(tags::MANUFACTURER_MODEL_NAME, Always, Claim, "the same"),
        row(tags::SOFTWARE_VERSIONS, Always, Claim, "the same"),
        row(tags::DEVICE_SERIAL_NUMBER, Always, Auto, "`UNKNOWN`: a phone's would name a member of staff"),
    ],
    fill: |to, _, _| {
        modules::enhanced_equipment(to);
        Ok(())
    },
};

/// Dermoscopic Image (§C.8.12.13).
pub static DERMOSCOPIC_IMAGE: Module = Module {
    name: "Dermoscopic Image",
    clause: "C.8.12.13",
    attributes: &[
        row(tags::LIGHT_SOURCE_POLARIZATION, Empty, Auto, ""),
        row(tags::EMITTER_COLOR_TEMPERATURE, Empty, Auto, ""),
        row(tags::CONTACT_METHOD, Empty, Auto, "so that there is no Immersion Media"),
        row(tags::OPTICAL_MAGNIFICATION_FACTOR, Empty, Auto, ""),
        row(tags::RECOGNIZABLE_VISUAL_FEATURES, Always, Auto, "`YES`: nobody has looked for a fingerprint"),
    ],
    fill: |to, _, _| {
        modules::dermoscopic_image(to);
        Ok(())
    },
};

/// SC Equipment (§C.8.6.1) of a picture.
pub static SECONDARY_EQUIPMENT: Module = Module {
    name: "SC Equipment",
    clause: "C.8.6.1",
    attributes: &[row(tags::CONVERSION_TYPE, Always, Auto, "`DI`"), CAPTURE_MANUFACTURER, CAPTURE_MODEL, CAPTURE_VERSION],
    fill: |to, source, _| {
        modules::capture_equipment(to, source, "DI");
        Ok(())
    },
};

/// SC Image (§C.8.6.2).
pub static SECONDARY_IMAGE: Module = Module {
    name: "SC Image",
    clause: "C.8.6.2",
    attributes: &[
        row(tags::DATE_OF_SECONDARY_CAPTURE, Always, Auto, "when the capture was identified"),
        row(tags::TIME_OF_SECONDARY_CAPTURE, Always, Auto, "the same"),
    ],
    fill: |to, source, _| {
        modules::secondary_image(to, source);
        Ok(())
    },
};

/// ICC Profile (§C.11.15).
pub static ICC_PROFILE: Module = Module {
    name: "ICC Profile",
    clause: "C.11.15",
    attributes: &[row(
        tags::ICC_PROFILE,
        NotAlways,
        File,
        "of colour pictures: class `scnr`, profile id zeroed, words rewritten; of a HEIC that tells Display P3 or BT.2020 by number: made for these",
    )],
    fill: |to, source, notes| {
        modules::icc_profile(to, source, notes);
        Ok(())
    },
};

/// SOP Common (§C.12.1).
pub static SOP_COMMON: Module = Module {
    name: "SOP Common",
    clause: "C.12.1",
    attributes: &[
        row(tags::SPECIFIC_CHARACTER_SET, Always, Auto, "`ISO_IR 192`, or `ISO_IR 100` (section 9)"),
        row(tags::SOP_CLASS_UID, Always, Auto, ""),
        row(tags::SOP_INSTANCE_UID, Always, Auto, "given at acceptance"),
        row(tags::INSTANCE_CREATION_DATE, Always, Auto, "when the capture was identified"),
        row(tags::INSTANCE_CREATION_TIME, Always, Auto, "the same"),
        row(tags::TIMEZONE_OFFSET_FROM_UTC, Always, Config, "`site.timezone` at the content time"),
    ],
    fill: |to, source, _| {
        modules::sop_common(to, source);
        Ok(())
    },
};

/// The gateway's own part in a picture (§C.12.1.1.5).
pub static CONTRIBUTING_EQUIPMENT: Module = Module {
    name: "SOP Common, contributing equipment",
    clause: "C.12.1.1.5",
    attributes: &[sequence(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, Always, Auto, "the gateway", &CONTRIBUTION)],
    fill: |to, source, _| {
        to.put_items(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, [modules::contribution(source)]);
        Ok(())
    },
};

const PURPOSE: Attribute =
    sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, Always, Auto, "(109103, DCM, \"Modifying Equipment\")", &CODE);
const GATEWAY: Attribute = row(tags::MANUFACTURER, Always, Auto, "`Shutterbridge`");
const GATEWAY_MODEL: Attribute = row(tags::MANUFACTURER_MODEL_NAME, Always, Auto, "`Shutterbridge`");
const GATEWAY_SITE: Attribute = row(tags::INSTITUTION_NAME, NotAlways, Config, "`site.institution`");
const GATEWAY_VERSION: Attribute = row(tags::SOFTWARE_VERSIONS, NotAlways, Auto, "its version");
const CONTRIBUTED_AT: Attribute = row(tags::CONTRIBUTION_DATE_TIME, Always, Auto, "when the capture was identified");
const CONTRIBUTED: Attribute = row(tags::CONTRIBUTION_DESCRIPTION, Always, Auto, "what was done to the file");

static CONTRIBUTION: [Attribute; 7] =
    [PURPOSE, GATEWAY, GATEWAY_MODEL, GATEWAY_SITE, GATEWAY_VERSION, CONTRIBUTED_AT, CONTRIBUTED];

static OPERATED_CONTRIBUTION: [Attribute; 9] = [
    PURPOSE,
    GATEWAY,
    GATEWAY_MODEL,
    GATEWAY_SITE,
    GATEWAY_VERSION,
    CONTRIBUTED_AT,
    CONTRIBUTED,
    row(tags::OPERATORS_NAME, NotAlways, Token, "who sent it: the series of this IOD has no place for them"),
    sequence(tags::OPERATOR_IDENTIFICATION_SEQUENCE, NotAlways, Token, "the same", &PERSON),
];

/// The same of a document, with who sent it.
pub static OPERATED_EQUIPMENT: Module = Module {
    name: "SOP Common, contributing equipment",
    clause: "C.12.1.1.5",
    attributes: &[sequence(
        tags::CONTRIBUTING_EQUIPMENT_SEQUENCE,
        Always,
        Auto,
        "the gateway, and who used it",
        &OPERATED_CONTRIBUTION,
    )],
    fill: |to, source, _| {
        let mut item = modules::contribution(source);
        modules::operator(&mut item, source)?;
        to.put_items(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, [item]);
        Ok(())
    },
};

const CAPTURE_MANUFACTURER: Attribute = row(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER, Always, Auto, "`Shutterbridge`");
const CAPTURE_MODEL: Attribute = row(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER_MODEL_NAME, Always, Auto, "`Shutterbridge`");
const CAPTURE_VERSION: Attribute = row(tags::SECONDARY_CAPTURE_DEVICE_SOFTWARE_VERSIONS, NotAlways, Auto, "its version");

/// SC Equipment (§C.8.6.1) of a document.
pub static DOCUMENT_EQUIPMENT: Module = Module {
    name: "SC Equipment",
    clause: "C.8.6.1",
    attributes: &[row(tags::CONVERSION_TYPE, Always, Auto, "`WSD`"), CAPTURE_MANUFACTURER, CAPTURE_MODEL, CAPTURE_VERSION],
    fill: |to, source, _| {
        modules::capture_equipment(to, source, "WSD");
        Ok(())
    },
};

/// Encapsulated Document (§C.24.2).
pub static ENCAPSULATED_DOCUMENT: Module = Module {
    name: "Encapsulated Document",
    clause: "C.24.2",
    attributes: &[
        row(tags::INSTANCE_NUMBER, Always, Auto, ""),
        row(tags::CONTENT_DATE, Always, Claim, "`taken_at`, else the time of acceptance; none that is in the future"),
        row(tags::CONTENT_TIME, Always, Claim, "the same"),
        row(tags::ACQUISITION_DATE_TIME, ValueNotAlways, Claim, "`taken_at`, unless it is in the future"),
        row(tags::BURNED_IN_ANNOTATION, Always, Auto, "`YES`"),
        row(tags::DOCUMENT_TITLE, Always, Claim, "`description`, else `Consent form` or `Document`; never the title in the file"),
        sequence(
            tags::CONCEPT_NAME_CODE_SEQUENCE,
            ValueNotAlways,
            Claim,
            "(59284-0, LN, \"Consent Document\") for `view` = `consent-form`, else no item",
            &CODE,
        ),
        row(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, Always, Auto, "`application/pdf`"),
        row(tags::ENCAPSULATED_DOCUMENT, Always, File, "the scrubbed file, one 00 behind it where its length is odd"),
        row(tags::ENCAPSULATED_DOCUMENT_LENGTH, Always, File, "bytes of the file, less that one"),
    ],
    fill: |to, source, _| {
        document::encapsulated_document(to, source);
        Ok(())
    },
};
