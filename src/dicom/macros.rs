//! The attribute macros that several modules share (PS3.3 §8, §10).

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::DicomError;
use super::data_set::DataSet;
use super::value::{LO_MAX, SH_MAX, code_string, description, identifier, plain};

/// Coding scheme designators of PS3.16 §8 that a hospital's feed may name; every other one is the
/// hospital's own and is written with the `99` of a private scheme.
const REGISTERED: &[&str] = &[
    "ACR", "BI", "C4", "C5", "DCM", "FMA", "I10", "I10C", "I10P", "I9", "I9C", "ICDO3", "LN", "MDC", "MSH", "NCIt", "NDC",
    "NICIP", "RADLEX", "RXNORM", "SCT", "UCUM", "UMLS",
];

/// Other spellings that feeds use (HL7 table 0396 and the long names).
const SPELLINGS: &[(&str, &str)] = &[
    ("SNOMED-CT", "SCT"),
    ("SNOMED CT", "SCT"),
    ("SNOMEDCT", "SCT"),
    ("LOINC", "LN"),
    ("RADLEX ID", "RADLEX"),
    ("", "99LOCAL"),
    ("L", "99LOCAL"),
    ("LOCAL", "99LOCAL"),
];

pub(super) fn designator(scheme: &str) -> String {
    let scheme = plain(scheme);
    let upper = scheme.to_uppercase();
    if let Some((_, then)) = SPELLINGS.iter().find(|(given, _)| *given == upper) {
        return (*then).to_owned();
    }
    if let Some(known) = REGISTERED.iter().find(|known| known.to_uppercase() == upper) {
        return (*known).to_owned();
    }
    if scheme.starts_with("99") { description(&scheme, SH_MAX) } else { description(&format!("99{scheme}"), SH_MAX) }
}

/// Code Sequence Macro (PS3.3 §8.8); nothing where there is no code.
pub(super) fn code(value: &str, scheme: &str, meaning: &str) -> Option<DataSet> {
    let value = plain(value);
    if value.is_empty() {
        return None;
    }
    let mut item = DataSet::new();
    if value.starts_with("urn:") || value.contains("://") {
        item.put(tags::URN_CODE_VALUE, VR::UR, value.as_str());
    } else {
        // SNOMED extension identifiers have up to 18 digits.
        let (tag, vr) =
            if value.chars().count() <= SH_MAX { (tags::CODE_VALUE, VR::SH) } else { (tags::LONG_CODE_VALUE, VR::UC) };
        item.put(tag, vr, value.as_str());
        item.put(tags::CODING_SCHEME_DESIGNATOR, VR::SH, designator(scheme));
    }
    let meaning = description(meaning, LO_MAX);
    item.put(tags::CODE_MEANING, VR::LO, if meaning.is_empty() { description(&value, LO_MAX) } else { meaning });
    Some(item)
}

/// Hierarchic Designator Macro (PS3.3 §10.14): a namespace, or a universal id with its type.
pub(super) fn hierarchic_designator(namespace: &str, universal_id: &str, universal_id_type: &str) -> Option<DataSet> {
    let mut item = DataSet::new();
    item.put_some(tags::LOCAL_NAMESPACE_ENTITY_ID, VR::UT, plain(namespace));
    put_universal_id(&mut item, universal_id, universal_id_type);
    (!item.is_empty()).then_some(item)
}

fn put_universal_id(item: &mut DataSet, id: &str, id_type: &str) {
    let id = plain(id);
    if let Some(term) = universal_id_type(&id, id_type).filter(|_| !id.is_empty()) {
        item.put(tags::UNIVERSAL_ENTITY_ID, VR::UT, id);
        item.put(tags::UNIVERSAL_ENTITY_ID_TYPE, VR::CS, term);
    }
}

/// HL7 table 0301 to (0040,0033): an id of a type that DICOM has no term for is left out.
fn universal_id_type(id: &str, id_type: &str) -> Option<&'static str> {
    match id_type.trim().to_uppercase().as_str() {
        "ISO" => Some("ISO"),
        "" if id.contains('.') && id.bytes().all(|b| b.is_ascii_digit() || b == b'.') => Some("ISO"),
        "DNS" => Some("DNS"),
        "EUI64" => Some("EUI64"),
        "URI" => Some("URI"),
        "UUID" | "GUID" => Some("UUID"),
        "X400" => Some("X400"),
        "X500" => Some("X500"),
        _ => None,
    }
}

/// Who assigned a patient identifier (PS3.3 §10.15): its short name, and an item with the rest.
pub(super) fn put_patient_issuer(to: &mut DataSet, issuer: &crate::capture::Identifier) -> Result<(), DicomError> {
    to.put_some(tags::ISSUER_OF_PATIENT_ID, VR::LO, identifier("Issuer of Patient ID", &issuer.issuer, LO_MAX)?);
    let mut item = DataSet::new();
    put_universal_id(&mut item, &issuer.issuer_universal_id, &issuer.issuer_universal_id_type);
    // HL7 table 0203 (MR, PI …) belongs here and not in Type of Patient ID.
    if let Some(term) = code_string(&issuer.id_type) {
        item.put(tags::IDENTIFIER_TYPE_CODE, VR::CS, term);
    }
    let item = (!item.is_empty()).then_some(item);
    to.put_items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, item);
    Ok(())
}

/// Person Identification Macro (PS3.3 §10.1), which wants an institution: nothing without one.
pub(super) fn person(subject: &str, scheme: &str, name: &str, institution: &str) -> Option<DataSet> {
    let institution = description(institution, LO_MAX);
    let code = code(subject, scheme, name).filter(|_| !institution.is_empty())?;
    let mut item = DataSet::new();
    item.put_items(tags::PERSON_IDENTIFICATION_CODE_SEQUENCE, [code]);
    item.put(tags::INSTITUTION_NAME, VR::LO, institution);
    Some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_registered_or_marked_as_private() {
        let table = [
            ("SCT", "SCT"),
            ("sct", "SCT"),
            ("LN", "LN"),
            ("L", "99LOCAL"),
            ("", "99LOCAL"),
            ("99L", "99L"),
            ("HOSPCODES", "99HOSPCODES"),
            ("A VERY LONG SCHEME NAME", "99A VERY LONG SC"),
        ];
        for (given, then) in table {
            assert_eq!(designator(given), then, "{given}");
        }
    }

    #[test]
    fn a_long_code_goes_where_it_fits() {
        let of = |value: &str| code(value, "SCT", "").expect("a code").finish();
        assert!(of("1234567890123456").get(tags::CODE_VALUE).is_some());
        let long = of("12345678901234567");
        assert!(long.get(tags::CODE_VALUE).is_none());
        assert_eq!(long.element(tags::LONG_CODE_VALUE).unwrap().to_str().unwrap(), "12345678901234567");
        assert_eq!(long.element(tags::CODE_MEANING).unwrap().to_str().unwrap(), "12345678901234567");
        assert!(code(" ", "SCT", "Hand").is_none());
    }

    #[test]
    fn an_issuer_without_a_name_or_a_typed_id_is_no_issuer() {
        assert!(hierarchic_designator("", "", "ISO").is_none());
        assert!(hierarchic_designator("", "abc", "").is_none());
        assert!(hierarchic_designator("", "1.2.3", "").is_some());
        assert!(hierarchic_designator("HOSP", "1.2.3", "M").is_some());
    }
}
