//! Encapsulated PDF (PS3.3 §A.45.1): a document as it was scrubbed, with whose it is.

use dicom_core::VR;
use dicom_core::header::Header;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::build::Source;
use super::data_set::DataSet;
use super::encapsulate::PIXEL_BYTES_MAX;
use super::iod::DOCUMENT;
use super::moment::{date, time};
use super::value::{ST_MAX, description};
use super::{DicomError, Instance, LossyHistory, Picture, Pixels, macros};
use crate::capture::claim::View;
use crate::capture::record::Manifest;
use crate::capture::{Binding, Phi};

/// What a form of consent is (LOINC); other documents have no code that would be true of all.
const CONSENT: (&str, &str, &str) = ("59284-0", "LN", "Consent Document");
const MIME_TYPE: &str = "application/pdf";

/// Builds the object of one document. The same arguments give the same bytes.
///
/// # Errors
/// [`DicomError`]: the hospital's identifiers do not fit, or there is no document.
pub fn build_document(binding: &Binding, manifest: &Manifest) -> Result<Instance, DicomError> {
    let length = manifest.item.sealed_bytes;
    if length == 0 || length > PIXEL_BYTES_MAX {
        return Err(DicomError::Picture("the document is empty or longer than one element may be"));
    }
    let pixels = Pixels::Document { length };
    let nothing = Picture { width: 0, height: 0, samples: 0, pixels, history: LossyHistory::Lossless, icc_profile: None };
    let source = Source::new(binding, manifest, &nothing, &DOCUMENT)?;
    source.object(manifest.item.sop_instance_uid.clone())
}

/// Encapsulated Document (§C.24.2), less the document.
pub(super) fn encapsulated_document(to: &mut DataSet, source: &Source) {
    let claim = &source.manifest.acceptance.claim;
    let moment = &source.moment;
    to.put(tags::INSTANCE_NUMBER, VR::IS, source.instance_number.to_string());
    to.put(tags::CONTENT_DATE, VR::DA, date(moment.content.date()));
    to.put(tags::CONTENT_TIME, VR::TM, time(moment.content));
    let acquired = if moment.is_capture_time { moment.date_time(moment.content) } else { String::new() };
    to.put(tags::ACQUISITION_DATE_TIME, VR::DT, acquired);
    // A document of a hospital names its patient; that one does not, nobody here can tell.
    to.put(tags::BURNED_IN_ANNOTATION, VR::CS, "YES");
    let is_consent = claim.view == Some(View::ConsentForm);
    let caption = claim.description.as_ref().map(Phi::expose).filter(|d| !d.is_empty());
    let title = caption.unwrap_or(if is_consent { "Consent form" } else { "Document" });
    to.put(tags::DOCUMENT_TITLE, VR::ST, description(title, ST_MAX));
    let (code, scheme, meaning) = CONSENT;
    match macros::code(code, scheme, meaning).filter(|_| is_consent) {
        Some(code) => to.put_items(tags::CONCEPT_NAME_CODE_SEQUENCE, [code]),
        None => to.put_empty_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE),
    }
    to.put(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, MIME_TYPE);
    // Without the byte that makes its element even.
    to.put_long(tags::ENCAPSULATED_DOCUMENT_LENGTH, source.picture.pixels.length());
}

/// The elements that stand before the document and those behind it (PS3.5 §7.1: by their tags).
pub(super) fn split(dataset: &InMemDicomObject) -> (InMemDicomObject, InMemDicomObject) {
    let (before, behind): (Vec<_>, Vec<_>) = dataset.iter().cloned().partition(|e| e.tag() < tags::ENCAPSULATED_DOCUMENT);
    (InMemDicomObject::from_element_iter(before), InMemDicomObject::from_element_iter(behind))
}
