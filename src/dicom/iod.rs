//! Which object a picture becomes: data, not code.
//!
//! The tables here and in [`table`](super::table) build the objects, fence them (an attribute that
//! stands in no table never leaves) and are what `api-spec/dicom-conformance.md` is printed from.

use dicom_core::Tag;
use dicom_object::InMemDicomObject;

use super::table::{self, Attribute, Module};

/// VL Photographic Image Storage (PS3.4 §B.5).
pub const VL_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
/// Dermoscopic Photography Image Storage (PS3.4 §B.5).
pub const DERMOSCOPIC_PHOTOGRAPHY: &str = "1.2.840.10008.5.1.4.1.1.77.1.7";
/// Secondary Capture Image Storage (PS3.4 §B.5).
pub const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// Encapsulated PDF Storage (PS3.4 §B.5).
pub const ENCAPSULATED_PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
/// Verification (PS3.4 §A.4).
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Storage Commitment Push Model, and its one instance (PS3.4 §J.3.5).
pub const STORAGE_COMMITMENT: &str = "1.2.840.10008.1.20.1";
pub const STORAGE_COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";

/// The transfer syntaxes that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// JPEG Baseline (Process 1), explicit VR little endian, encapsulated.
    JpegBaseline,
    ExplicitLe,
    ImplicitLe,
}

impl Syntax {
    #[must_use]
    pub fn uid(self) -> &'static str {
        match self {
            Self::JpegBaseline => "1.2.840.10008.1.2.4.50",
            Self::ExplicitLe => "1.2.840.10008.1.2.1",
            Self::ImplicitLe => "1.2.840.10008.1.2",
        }
    }

    /// As PS3.6 Annex A calls it, in short.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JpegBaseline => "JPEG Baseline (Process 1)",
            Self::ExplicitLe => "Explicit VR Little Endian",
            Self::ImplicitLe => "Implicit VR Little Endian",
        }
    }

    #[must_use]
    pub fn from_uid(uid: &str) -> Option<Self> {
        [Self::JpegBaseline, Self::ExplicitLe, Self::ImplicitLe].into_iter().find(|s| s.uid() == uid)
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
        self.sop_class == SECONDARY_CAPTURE
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

/// A document of a patient (PS3.3 §A.45.1).
pub static DOCUMENT: Iod = Iod {
    name: "Encapsulated PDF",
    sop_class: ENCAPSULATED_PDF,
    modality: "DOC",
    made_of: "a PDF",
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

/// Everything that is made here.
pub static ALL: &[&Iod] = &[&PHOTOGRAPH, &DERMOSCOPIC, &DOCUMENT, &STAND_IN];
