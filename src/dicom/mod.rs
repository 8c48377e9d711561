//! The instance: what DICOM makes of a picture and its binding.
//!
//! Owns: SOP classes, transfer syntaxes, attributes, encapsulation, the Part 10 file.
//! Never: I/O of its own, sockets, identity decisions.

mod build;
mod burst;
pub mod check;
pub mod codes;
pub mod commitment;
mod data_set;
mod document;
mod encapsulate;
mod exposure;
pub mod icc;
pub mod iod;
mod latin1;
mod macros;
mod modules;
mod moment;
mod native;
mod part10;
pub mod query;
mod reader;
pub mod table;
mod value;
pub mod video;

use std::fmt;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

pub use build::{build, build_stand_in};
pub use burst::{Burst, build_burst};
pub use document::build_document;
pub use encapsulate::DataSetStream;
pub use iod::Syntax;
pub use part10::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, file_prefix};
pub use reader::Fields;
pub use value::is_short_string;
pub use video::{Cine, build_video};

use crate::capture::{FailureCode, Uid};

/// One picture that is ready to be wrapped: upright, without metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Of the coded picture as it is sent. Pixels.
    pub width: u32,
    pub height: u32,
    /// 1 (grey) or 3 (colour).
    pub samples: u8,
    pub pixels: Pixels,
    pub history: LossyHistory,
    /// As it left the source; its class is changed here (PS3.3 §C.11.15.1.1).
    pub icc_profile: Option<Vec<u8>>,
}

/// How the payload becomes (7FE0,0010), or (0042,0011).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// One JPEG baseline stream of so many bytes: transfer syntax .50, empty offset table, one fragment.
    Jpeg { length: u64 },
    /// Native samples, interleaved by pixel, so many bytes.
    Native { length: u64 },
    /// One MP4 file of so many bytes, its pictures coded as `syntax` wants them: empty offset table,
    /// one fragment.
    Video { length: u64, syntax: Syntax },
    /// A document of so many bytes, which is no picture.
    Document { length: u64 },
}

impl Pixels {
    /// Bytes of the payload.
    #[must_use]
    pub fn length(self) -> u64 {
        match self {
            Self::Jpeg { length } | Self::Native { length } | Self::Video { length, .. } | Self::Document { length } => length,
        }
    }
}

/// What a picture has lost before it came here. Once lossy, always lossy (PS3.3 §C.7.6.1.1.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossyHistory {
    /// The camera's own coefficients: ORIGINAL, whatever turned them or rewrote their Huffman code.
    Original,
    /// The same without some rows or columns at an edge: DERIVED, and nothing was lost of what is left.
    Trimmed,
    /// From a lossless source, and not made lossy here.
    Lossless,
    /// Decoded and coded again. `from`: the lossy step of the source; `None`: it was lossless.
    Reencoded { from: Option<LossyStep> },
}

/// One lossy step: its method, and uncompressed by compressed size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossyStep {
    pub method: LossyMethod,
    pub ratio: f64,
}

/// (0028,2114) Lossy Image Compression Method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossyMethod {
    Jpeg,
    /// H.264.
    Avc,
    /// Also HEIC.
    Hevc,
}

impl LossyMethod {
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Self::Jpeg => "ISO_10918_1",
            Self::Avc => "ISO_14496_10",
            Self::Hevc => "ISO_23008_2",
        }
    }
}

/// One finished instance, less the coded picture, which streams from the sealed file.
#[derive(Clone)]
pub struct Instance {
    pub sop_class: Uid,
    pub sop_instance: Uid,
    pub pixels: Pixels,
    /// Of a burst, bytes of each still in the payload; of one picture nothing.
    pub still_bytes: Vec<u64>,
    /// Everything but the payload's own element.
    pub dataset: InMemDicomObject,
    /// For a person: what could not enter the object and why. Never patient data.
    pub notes: Vec<&'static str>,
}

/// The data set is about a patient: it is never printed.
impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("sop_class", &self.sop_class)
            .field("sop_instance", &self.sop_instance)
            .field("pixels", &self.pixels)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// The syntax in which the picture is, and in which a file of it is written.
    #[must_use]
    pub fn transfer_syntax(&self) -> Syntax {
        match self.pixels {
            Pixels::Jpeg { .. } => Syntax::JpegBaseline,
            Pixels::Video { syntax, .. } => syntax,
            Pixels::Native { .. } | Pixels::Document { .. } => Syntax::ExplicitLe,
        }
    }

    /// The syntaxes in which this object can be sent, best first.
    #[must_use]
    pub fn syntaxes(&self) -> &'static [Syntax] {
        match self.transfer_syntax() {
            Syntax::JpegBaseline => &[Syntax::JpegBaseline],
            Syntax::Avc41 => &[Syntax::Avc41],
            Syntax::Avc42 => &[Syntax::Avc42],
            Syntax::HevcMain => &[Syntax::HevcMain],
            Syntax::ExplicitLe | Syntax::ImplicitLe => &[Syntax::ExplicitLe, Syntax::ImplicitLe],
        }
    }
}

/// Attributes whose words name a person or a number of theirs.
const PERSONAL: &[Tag] = &[
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::ACCESSION_NUMBER,
    tags::ADMISSION_ID,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PHYSICIANS_OF_RECORD,
    tags::OPERATORS_NAME,
    tags::SERIES_DESCRIPTION,
    tags::DOCUMENT_TITLE,
];

impl Instance {
    /// True where `word` is part of a name or number in this object, whatever its case: for
    /// those who repeat an archive's words.
    #[must_use]
    pub fn names(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let values = PERSONAL.iter().filter_map(|tag| self.dataset.get(*tag)?.to_str().ok());
        !word.is_empty()
            && values.into_iter().any(|v| v.to_lowercase().split(['^', '=', '\\', ' ', ',']).any(|part| part == word))
    }
}

/// Why no object can be made. Texts carry no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DicomError {
    /// Identifiers are never cut (a cut number is another patient's).
    IdentifierTooLong {
        attribute: &'static str,
        characters_max: usize,
    },
    /// An object without a Patient ID passes validators and is still nobody's.
    PatientIdMissing,
    /// The site's zone is no IANA name.
    ZoneUnknown,
    /// The binding has no instance number for this item.
    ItemUnknown,
    /// The picture contradicts itself.
    Picture(&'static str),
    /// A film is of a part of the body (PS3.3 §C.8.12.1: Anatomic Region Sequence is Type 1 there).
    BodySiteMissing,
    /// The picture cannot be sent in this syntax without being coded again.
    SyntaxUnfit {
        syntax: Syntax,
    },
    /// The object got an attribute that its table does not have.
    Unlisted,
    Encoding,
}

impl DicomError {
    /// What the journal writes.
    #[must_use]
    pub fn failure_code(&self) -> FailureCode {
        match self {
            Self::IdentifierTooLong { .. } => FailureCode::IdentifierTooLong,
            Self::PatientIdMissing => FailureCode::PatientUnknown,
            Self::SyntaxUnfit { .. } => FailureCode::ArchiveRefusedClass,
            Self::ZoneUnknown
            | Self::ItemUnknown
            | Self::Picture(_)
            | Self::BodySiteMissing
            | Self::Unlisted
            | Self::Encoding => FailureCode::WrapFailed,
        }
    }
}

impl fmt::Display for DicomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdentifierTooLong { attribute, characters_max } => write!(
                f,
                "{attribute} is longer than the {characters_max} characters DICOM has for it and is never cut; correct it at its source"
            ),
            Self::PatientIdMissing => f.write_str("there is no Patient ID; assign a patient"),
            Self::ZoneUnknown => f.write_str("site.timezone is no IANA zone; write one like Europe/Berlin"),
            Self::ItemUnknown => f.write_str("the binding has no instance number for this item; report the capture id"),
            Self::Picture(why) => write!(f, "the picture contradicts itself: {why}; report the capture id"),
            Self::BodySiteMissing => f.write_str("a film needs a body site, and its claim names none; send it again with one"),
            Self::SyntaxUnfit { syntax } => {
                write!(f, "the picture cannot be sent in {} as it is coded; use another transfer syntax", syntax.uid())
            }
            Self::Unlisted => f.write_str("the object got an attribute that its table does not have; report the capture id"),
            Self::Encoding => f.write_str("the data set could not be encoded; report the capture id"),
        }
    }
}

impl std::error::Error for DicomError {}
