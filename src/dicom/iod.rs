//! Which object a picture becomes: data, not code.
//!
//! The tables here and in [`table`](super::table) build the objects, fence them (an attribute that
//! stands in no table never leaves) and are what `api-spec/dicom-conformance.md` is printed from.

use dicom_core::Tag;
use dicom_object::InMemDicomObject;

use super::table::{self, Attribute, Module};
use crate::capture::MediaClass;

/// VL Photographic Image Storage (PS3.4 §B.5).
pub const VL_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
/// Video Photographic Image Storage (PS3.4 §B.5).
pub const VIDEO_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4.1";
/// Dermoscopic Photography Image Storage (PS3.4 §B.5).
pub const DERMOSCOPIC_PHOTOGRAPHY: &str = "1.2.840.10008.5.1.4.1.1.77.1.7";
/// Secondary Capture Image Storage (PS3.4 §B.5).
pub const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// Multi-frame True Color Secondary Capture Image Storage (PS3.4 §B.5).
pub const MULTI_FRAME_TRUE_COLOUR: &str = "1.2.840.10008.5.1.4.1.1.7.4";
/// Encapsulated PDF Storage (PS3.4 §B.5).
pub const ENCAPSULATED_PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
/// Verification (PS3.4 §A.4).
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Storage Commitment Push Model, and its one instance (PS3.4 §J.3.5).
pub const STORAGE_COMMITMENT: &str = "1.2.840.10008.1.20.1";
pub const STORAGE_COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Modality Worklist Information Model – FIND (PS3.4 §K.6.1.4).
pub const WORKLIST_FIND: &str = "1.2.840.10008.5.1.4.31";
/// Study Root Query/Retrieve Information Model – FIND (PS3.4 §C.6.2.1.3).
pub const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

/// The transfer syntaxes that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// JPEG Baseline (Process 1), explicit VR little endian, encapsulated.
    JpegBaseline,
    /// MPEG-4 AVC/H.264 High Profile / Level 4.1, one fragment (PS3.5 §8.2.7).
    Avc41,
    /// MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D video, one fragment (PS3.5 §8.2.8).
    Avc42,
    /// HEVC/H.265 Main Profile / Level 5.1 (PS3.5 §8.2.10).
    HevcMain,
    ExplicitLe,
    ImplicitLe,
}

impl Syntax {
    pub const ALL: [Self; 6] = [Self::JpegBaseline, Self::Avc41, Self::Avc42, Self::HevcMain, Self::ExplicitLe, Self::ImplicitLe];

    #[must_use]
    pub fn uid(self) -> &'static str {
        match self {
            Self::JpegBaseline => "1.2.840.10008.1.2.4.50",
            Self::Avc41 => "1.2.840.10008.1.2.4.102",
            Self::Avc42 => "1.2.840.10008.1.2.4.104",
            Self::HevcMain => "1.2.840.10008.1.2.4.107",
            Self::ExplicitLe => "1.2.840.10008.1.2.1",
            Self::ImplicitLe => "1.2.840.10008.1.2",
        }
    }

    /// As PS3.6 Annex A calls it, in short.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JpegBaseline => "JPEG Baseline (Process 1)",
            Self::Avc41 => "MPEG-4 AVC/H.264 High Profile / Level 4.1",
            Self::Avc42 => "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video",
            Self::HevcMain => "HEVC/H.265 Main Profile / Level 5.1",
            Self::ExplicitLe => "Explicit VR Little Endian",
            Self::ImplicitLe => "Implicit VR Little Endian",
        }
    }

    #[must_use]
    pub fn from_uid(uid: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.uid() == uid)
    }

    /// True where samples stand as they are, and an object can be read by everybody.
    #[must_use]
    pub fn is_native(self) -> bool {
        match self {
            Self::ExplicitLe | Self::ImplicitLe => true,
            Self::JpegBaseline | Self::Avc41 | Self::Avc42 | Self::HevcMain => false,
        }
    }
}

/// One kind of object.
#[derive(Debug)]
pub struct Iod {
    pub name: &'static str,
    pub sop_class: &'static str,
    pub modality: &'static str,
    /// What becomes one, for a reader.
    pub made_of: &'static str,
    /// The same, for a configuration.
    pub media: MediaClass,
    /// The contexts to propose: one per compressed syntax and one for the native ones, because an
    /// acceptor takes one syntax per context (PS3.8 §9.3.3.2) and might take the wrong one.
    pub contexts: &'static [&'static [Syntax]],
    /// What goes in its place where an archive does not take its class: another instance.
    pub stand_in: Option<&'static Iod>,
    /// In the order in which they are written; a later one narrows what an earlier one says.
    pub modules: &'static [&'static Module],
}

impl Iod {
    /// What the tables say of an attribute of the data set itself.
    #[must_use]
    pub fn attribute(&self, tag: Tag) -> Option<&'static Attribute> {
        self.modules.iter().rev().find_map(|module| table::find(module.attributes, tag))
    }

    /// True where it is made only in place of another.
    #[must_use]
    pub fn is_stand_in(&self) -> bool {
        matches!(self.sop_class, SECONDARY_CAPTURE | MULTI_FRAME_TRUE_COLOUR)
    }

    /// True where the tables have every attribute of the object, those in sequences too.
    pub(super) fn holds(&self, object: &InMemDicomObject) -> bool {
        object.iter().all(|element| table::holds(self.attribute(dicom_core::header::Header::tag(element)), element))
    }
}

const PICTURE_CONTEXTS: &[&[Syntax]] = &[&[Syntax::JpegBaseline], &[Syntax::ExplicitLe, Syntax::ImplicitLe]];

/// A still of a patient. Modality is fixed by the IOD (PS3.3 §A.32.4).
pub static PHOTOGRAPH: Iod = Iod {
    name: "VL Photographic Image",
    sop_class: VL_PHOTOGRAPHIC,
    modality: "XC",
    made_of: "a photo",
    media: MediaClass::Photo,
    contexts: PICTURE_CONTEXTS,
    stand_in: Some(&STAND_IN),
    modules: &[
        &table::PATIENT,
        &table::GENERAL_STUDY,
        &table::PATIENT_STUDY,
        &table::GENERAL_SERIES,
        &table::OPERATOR,
        &table::REQUEST_ATTRIBUTES,
        &table::GENERAL_EQUIPMENT,
        &table::GENERAL_ACQUISITION,
        &table::GENERAL_IMAGE,
        &table::IMAGE_PIXEL,
        &table::ACQUISITION_CONTEXT,
        &table::ANATOMY,
        &table::PHOTOGRAPHIC_ACQUISITION,
        &table::ICC_PROFILE,
        &table::SOP_COMMON,
        &table::CONTRIBUTING_EQUIPMENT,
    ],
};

/// A still through a dermoscope (PS3.3 §A.32.11).
pub static DERMOSCOPIC: Iod = Iod {
    name: "Dermoscopic Photography Image",
    sop_class: DERMOSCOPIC_PHOTOGRAPHY,
    modality: "DMS",
    made_of: "a photo of `view` = `dermoscopic`",
    media: MediaClass::Photo,
    contexts: PICTURE_CONTEXTS,
    stand_in: Some(&STAND_IN),
    modules: &[
        &table::PATIENT,
        &table::GENERAL_STUDY,
        &table::PATIENT_STUDY,
        &table::GENERAL_SERIES,
        &table::OPERATOR,
        &table::REQUEST_ATTRIBUTES,
        &table::GENERAL_EQUIPMENT,
        &table::ENHANCED_EQUIPMENT,
        &table::GENERAL_ACQUISITION,
        &table::GENERAL_IMAGE,
        &table::IMAGE_PIXEL,
        &table::ACQUISITION_CONTEXT,
        &table::ANATOMY,
        &table::PHOTOGRAPHIC_ACQUISITION,
        &table::DERMOSCOPIC_IMAGE,
        &table::ICC_PROFILE,
        &table::SOP_COMMON,
        &table::CONTRIBUTING_EQUIPMENT,
    ],
};

/// A still for an archive that takes no other class of it (PS3.3 §A.8.1).
pub static STAND_IN: Iod = Iod {
    name: "Secondary Capture Image",
    sop_class: SECONDARY_CAPTURE,
    modality: "XC",
    made_of: "a photo whose own class an archive does not take (`fallback`)",
    media: MediaClass::Photo,
    contexts: PICTURE_CONTEXTS,
    stand_in: None,
    modules: &[
        &table::PATIENT,
        &table::GENERAL_STUDY,
        &table::PATIENT_STUDY,
        &table::GENERAL_SERIES,
        &table::OPERATOR,
        &table::REQUEST_ATTRIBUTES,
        &table::GENERAL_EQUIPMENT,
        &table::SECONDARY_EQUIPMENT,
        &table::GENERAL_ACQUISITION,
        &table::GENERAL_IMAGE,
        &table::IMAGE_PIXEL,
        &table::SECONDARY_IMAGE,
        &table::ANATOMY,
        &table::ICC_PROFILE,
        &table::SOP_COMMON,
        &table::CONTRIBUTING_EQUIPMENT,
    ],
};

/// The stills of a burst, or of a film (PS3.3 §A.8.5.1).
pub static BURST: Iod = Iod {
    name: "Multi-frame True Color Secondary Capture Image",
    sop_class: MULTI_FRAME_TRUE_COLOUR,
    modality: "XC",
    made_of: "all photos of one `wrap --burst`; stills of a video whose own class an archive does not take (`fallback`)",
    media: MediaClass::Photo,
    contexts: &[&[Syntax::JpegBaseline]],
    stand_in: None,
    modules: &[
        &table::PATIENT,
        &table::GENERAL_STUDY,
        &table::PATIENT_STUDY,
        &table::GENERAL_SERIES,
        &table::OPERATOR,
        &table::REQUEST_ATTRIBUTES,
        &table::GENERAL_EQUIPMENT,
        &table::SECONDARY_EQUIPMENT,
        &table::GENERAL_ACQUISITION,
        &table::GENERAL_IMAGE,
        &table::BURST_PIXEL,
        &table::STILLS,
        &table::ANATOMY,
        &table::ICC_PROFILE,
        &table::SOP_COMMON,
        &table::CONTRIBUTING_EQUIPMENT,
    ],
};

/// A film of a patient (PS3.3 §A.32.7). No native context: there is no such form of it (PS3.5 §10.1).
pub static VIDEO: Iod = Iod {
    name: "Video Photographic Image",
    sop_class: VIDEO_PHOTOGRAPHIC,
    modality: "XC",
    made_of: "a video",
    media: MediaClass::Video,
    contexts: &[&[Syntax::Avc41], &[Syntax::Avc42], &[Syntax::HevcMain]],
    stand_in: Some(&BURST),
    modules: &[
        &table::PATIENT,
        &table::GENERAL_STUDY,
        &table::PATIENT_STUDY,
        &table::GENERAL_SERIES,
        &table::OPERATOR,
        &table::REQUEST_ATTRIBUTES,
        &table::GENERAL_EQUIPMENT,
        &table::GENERAL_ACQUISITION,
        &table::GENERAL_IMAGE,
        &table::CINE,
        &table::MULTI_FRAME,
        &table::IMAGE_PIXEL,
        &table::ACQUISITION_CONTEXT,
        &table::ANATOMY,
        &table::VIDEO_REGION,
        &table::SOP_COMMON,
        &table::CONTRIBUTING_EQUIPMENT,
    ],
};

/// A document of a patient (PS3.3 §A.45.1).
pub static DOCUMENT: Iod = Iod {
    name: "Encapsulated PDF",
    sop_class: ENCAPSULATED_PDF,
    modality: "DOC",
    made_of: "a PDF",
    media: MediaClass::Document,
    contexts: &[&[Syntax::ExplicitLe, Syntax::ImplicitLe]],
    stand_in: None,
    modules: &[
        &table::PATIENT,
        &table::GENERAL_STUDY,
        &table::PATIENT_STUDY,
        &table::GENERAL_SERIES,
        &table::REQUEST_ATTRIBUTES,
        &table::GENERAL_EQUIPMENT,
        &table::DOCUMENT_EQUIPMENT,
        &table::ENCAPSULATED_DOCUMENT,
        &table::SOP_COMMON,
        &table::OPERATED_EQUIPMENT,
    ],
};

/// Everything that is made, and sent.
pub static ALL: &[&Iod] = &[&PHOTOGRAPH, &DERMOSCOPIC, &VIDEO, &DOCUMENT, &STAND_IN, &BURST];
