//! Which object a picture becomes: data, not code.

use crate::capture::MediaClass;

/// VL Photographic Image Storage (PS3.4 §B.5).
pub const VL_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
/// Video Photographic Image Storage (PS3.4 §B.5).
pub const VIDEO_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4.1";
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
    pub sop_class: &'static str,
    pub modality: &'static str,
    /// What it is made of.
    pub media: MediaClass,
    /// The contexts to propose: one per compressed syntax and one for the native ones, because an
    /// acceptor takes one syntax per context (PS3.8 §9.3.3.2) and might take the wrong one.
    pub contexts: &'static [&'static [Syntax]],
}

/// A still of a patient. Modality is fixed by the IOD (PS3.3 §A.32.4).
pub const PHOTOGRAPH: Iod = Iod {
    sop_class: VL_PHOTOGRAPHIC,
    modality: "XC",
    media: MediaClass::Photo,
    contexts: &[&[Syntax::JpegBaseline], &[Syntax::ExplicitLe, Syntax::ImplicitLe]],
};

/// A film of a patient. No native context: there is no such form of it (PS3.5 §10.1). Modality is
/// fixed by the IOD (PS3.3 §A.32.7).
pub const VIDEO: Iod = Iod {
    sop_class: VIDEO_PHOTOGRAPHIC,
    modality: "XC",
    media: MediaClass::Video,
    contexts: &[&[Syntax::Avc41], &[Syntax::Avc42], &[Syntax::HevcMain]],
};

/// A document of a patient.
pub const DOCUMENT: Iod = Iod {
    sop_class: ENCAPSULATED_PDF,
    modality: "DOC",
    media: MediaClass::Document,
    contexts: &[&[Syntax::ExplicitLe, Syntax::ImplicitLe]],
};

/// Everything that is made here.
pub const ALL: &[&Iod] = &[&PHOTOGRAPH, &VIDEO, &DOCUMENT];
