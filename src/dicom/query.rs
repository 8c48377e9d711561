//! The identifiers of C-FIND requests: which orders, and which studies, bear an accession number.
//!
//! Only what is used is asked for: no names, no births.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use super::encapsulate::encode;
use super::value::{LO_MAX, SH_MAX};
use super::{DicomError, Syntax, iod};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A modality worklist (PS3.4 §K.6.1).
    Worklist,
    /// An archive, at the level of studies (PS3.4 §C.6.2.1).
    Studies,
}

impl Model {
    #[must_use]
    pub fn sop_class(self) -> &'static str {
        match self {
            Self::Worklist => iod::WORKLIST_FIND,
            Self::Studies => iod::STUDY_ROOT_FIND,
        }
    }
}

/// The two keys. An empty one matches everything (PS3.4 §C.2.2.2.3).
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    accession: &'a str,
    patient_id: &'a str,
}

impl<'a> Keys<'a> {
    /// `None` where the number can be no key: it does not fit its attribute, or it could be read as
    /// two values or as a pattern.
    #[must_use]
    pub fn of_order(accession: &'a str) -> Option<Self> {
        is_key(accession, SH_MAX).then_some(Self { accession, patient_id: "" })
    }

    /// With the patient's number beside it. `None` as for [`Keys::of_order`].
    #[must_use]
    pub fn and_patient(self, patient_id: &'a str) -> Option<Self> {
        is_key(patient_id, LO_MAX).then_some(Self { patient_id, ..self })
    }
}

fn is_key(text: &str, characters_max: usize) -> bool {
    let is_plain = |b: u8| (b == b' ' || b.is_ascii_graphic()) && !matches!(b, b'\\' | b'*' | b'?');
    !text.trim().is_empty() && text.len() <= characters_max && text.bytes().all(is_plain)
}

/// The identifier of a request.
///
/// # Errors
/// [`DicomError::Encoding`].
pub fn write_identifier(model: Model, keys: Keys<'_>, syntax: Syntax) -> Result<Vec<u8>, DicomError> {
    let mut set = DataSet::new();
    set.put(tags::SPECIFIC_CHARACTER_SET, VR::CS, "");
    set.put(tags::ACCESSION_NUMBER, VR::SH, keys.accession);
    set.put(tags::PATIENT_ID, VR::LO, keys.patient_id);
    set.put(tags::STUDY_INSTANCE_UID, VR::UI, "");
    ask_for_issuers(&mut set);
    match model {
        Model::Studies => set.put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY"),
        Model::Worklist => ask_for_the_order(&mut set),
    }
    encode(&set.finish(), syntax)
}

/// The item of a sequence of which these attributes are asked for.
fn item(keys: &[(Tag, VR)]) -> [DataSet; 1] {
    let mut item = DataSet::new();
    for (tag, vr) in keys {
        item.put(*tag, *vr, "");
    }
    [item]
}

/// Whose the numbers of an answer are: two departments may give the same one (optional keys of both models,
/// PS3.4 §C.6.2.1 and §K.6.1.2.2; the HIER macro, PS3.3 §10.14).
fn ask_for_issuers(set: &mut DataSet) {
    let local = [(tags::LOCAL_NAMESPACE_ENTITY_ID, VR::UT)];
    let universal = [(tags::UNIVERSAL_ENTITY_ID, VR::UT), (tags::UNIVERSAL_ENTITY_ID_TYPE, VR::CS)];
    set.put_items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, item(&[&local[..], &universal].concat()));
    set.put(tags::ISSUER_OF_PATIENT_ID, VR::LO, "");
    set.put_items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, item(&universal));
}

/// Return keys of the worklist (PS3.4 §K.6.1.2.2).
fn ask_for_the_order(set: &mut DataSet) {
    let other = [(tags::PATIENT_ID, VR::LO), (tags::ISSUER_OF_PATIENT_ID, VR::LO), (tags::TYPE_OF_PATIENT_ID, VR::CS)];
    set.put_items(tags::OTHER_PATIENT_I_DS_SEQUENCE, item(&other));
    set.put(tags::REQUESTING_PHYSICIAN, VR::PN, "");
    set.put(tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO, "");
    let code = [(tags::CODE_VALUE, VR::SH), (tags::CODING_SCHEME_DESIGNATOR, VR::SH), (tags::CODE_MEANING, VR::LO)];
    set.put_items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, item(&code));
    set.put(tags::REQUESTED_PROCEDURE_ID, VR::SH, "");
    let step = [(tags::MODALITY, VR::CS), (tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH)];
    set.put_items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE, item(&step));
}

#[cfg(test)]
mod tests {
    use super::super::Fields;
    use super::*;

    #[test]
    fn a_number_that_could_be_read_as_a_pattern_or_as_two_is_no_key() {
        for bad in ["", "  ", "A*", "A?1", "A\\B", "Ä1", "12345678901234567", "A\n"] {
            assert!(Keys::of_order(bad).is_none(), "{bad:?}");
        }
        let keys = Keys::of_order("A 123/4").unwrap();
        assert!(keys.and_patient("4711*").is_none() && keys.and_patient("").is_none());
        for model in [Model::Worklist, Model::Studies] {
            let bytes = write_identifier(model, keys.and_patient("4711").unwrap(), Syntax::ImplicitLe).unwrap();
            let fields = Fields::of(&bytes, Syntax::ImplicitLe).unwrap();
            assert_eq!((fields.value(tags::ACCESSION_NUMBER), fields.value(tags::PATIENT_ID)), (&b"A 123/4"[..], &b"4711"[..]));
        }
    }
}
