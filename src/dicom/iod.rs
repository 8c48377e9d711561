//! Which object a picture becomes: data, not code.

/// VL Photographic Image Storage (PS3.4 §B.5).
pub const VL_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
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

    #[must_use]
    pub fn from_uid(uid: &str) -> Option<Self> {
        [Self::JpegBaseline, Self::ExplicitLe, Self::ImplicitLe].into_iter().find(|s| s.uid() == uid)
    }
}

/// One kind of object.
#[derive(Debug)]
pub struct Iod {
    pub sop_class: &'static str,
    pub modality: &'static str,
    /// The contexts to propose: one per compressed syntax and one for the native ones, because an
    /// acceptor takes one syntax per context (PS3.8 §9.3.3.2) and might take the wrong one.
    pub contexts: &'static [&'static [Syntax]],
}

/// A still of a patient. Modality is fixed by the IOD (PS3.3 §A.32.4).
pub const PHOTOGRAPH: Iod = Iod {
    sop_class: VL_PHOTOGRAPHIC,
    modality: "XC",
    contexts: &[&[Syntax::JpegBaseline], &[Syntax::ExplicitLe, Syntax::ImplicitLe]],
};

/// A document of a patient.
pub const DOCUMENT: Iod =
    Iod { sop_class: ENCAPSULATED_PDF, modality: "DOC", contexts: &[&[Syntax::ExplicitLe, Syntax::ImplicitLe]] };

/// Everything that is made here.
pub const ALL: &[&Iod] = &[&PHOTOGRAPH, &DOCUMENT];
