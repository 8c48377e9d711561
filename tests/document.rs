//! What a validator, a reader and the person at the shell see of a document that became an object.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::format_push_string)]

mod dicom_fixture;

use std::io::{Cursor, Read};
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_fixture::*;
use dicom_object::{DefaultDicomObject, InMemDicomObject, Tag};
use serde_json::{Value, json};
use shutterbridge::capture::binding::SeriesBinding;
use shutterbridge::capture::{Binding, Claim, MediaKind, Uid};
use shutterbridge::dicom::{self, DicomError, Instance, Syntax};

const PDF: &[u8] = b"%PDF-1.7\nnot read here\n%%EOF\n";

/// Of a capture whose only item is a document, in the second series of its study.
fn binding() -> Binding {
    let started = "2026-03-01T10:15:30".parse().unwrap();
    let series = vec![SeriesBinding { instance_uid: Uid::from_uuid_bytes([3; 16]), number: 2, started }];
    Binding { series, ..full_binding() }
}

fn instance_of(claim: Claim, document: &[u8]) -> Result<Instance, DicomError> {
    let mut manifest = manifest(claim, 9);
    manifest.item.media = MediaKind::Pdf;
    manifest.item.sealed_bytes = document.len() as u64;
    dicom::build_document(&binding(), &manifest)
}

fn judge(file: &[u8]) -> DefaultDicomObject {
    let dir = TempDir::new("document");
    let path = dir.path().join("object.dcm");
    std::fs::write(&path, file).unwrap();
    assert_eq!(validator_errors(&path), Vec::<String>::new());
    if let Some(output) = run("dcmftest", &[path.to_str().unwrap()]) {
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("yes"));
    }
    dicom_object::from_reader(Cursor::new(file)).unwrap()
}

fn text(of: &InMemDicomObject, tag: Tag) -> String {
    of.get(tag).map_or_else(|| "(absent)".into(), |e| e.to_str().unwrap().trim_end_matches([' ', '\0']).to_owned())
}

fn items(of: &InMemDicomObject, tag: Tag) -> Vec<InMemDicomObject> {
    of.element(tag).unwrap().items().unwrap_or_default().to_vec()
}

#[test]
fn a_document_is_an_object_of_its_kind_with_every_byte() {
    for document in [PDF, &PDF[..PDF.len() - 1]] {
        let object = judge(&file_bytes(&instance_of(full_claim(), document).unwrap(), document));
        let bytes = object.element(tags::ENCAPSULATED_DOCUMENT).unwrap().to_bytes().unwrap();
        // The pad byte is no part of it (PS3.3 §C.24.2).
        assert_eq!(bytes.len(), document.len().next_multiple_of(2));
        let length = object.element(tags::ENCAPSULATED_DOCUMENT_LENGTH).unwrap().to_int::<usize>().unwrap();
        assert_eq!(&bytes[..length], document);
        assert!(object.get(tags::PIXEL_DATA).is_none() && object.get(tags::ROWS).is_none());
    }
}

#[test]
fn it_says_what_it_is_and_whose() {
    let object = judge(&file_bytes(&instance_of(full_claim(), PDF).unwrap(), PDF));
    let table = [
        (tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.104.1"),
        (tags::MODALITY, "DOC"),
        (tags::CONVERSION_TYPE, "WSD"),
        (tags::BURNED_IN_ANNOTATION, "YES"),
        (tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "application/pdf"),
        (tags::DOCUMENT_TITLE, "Dorsal hand, day 3"),
        (tags::PATIENT_ID, "4711"),
        (tags::SERIES_NUMBER, "2"),
        (tags::INSTANCE_NUMBER, "1"),
        (tags::CONTENT_DATE, "20260301"),
        (tags::OPERATORS_NAME, "(absent)"),
    ];
    for (tag, value) in table {
        assert_eq!(text(&object, tag), value, "{tag}");
    }
    assert!(text(&object, tags::ACQUISITION_DATE_TIME).starts_with("20260301101530"));
    assert_eq!(items(&object, tags::CONCEPT_NAME_CODE_SEQUENCE).len(), 0, "no code would be true of every document");
    // Who sent it stands where this kind of object has a place for persons.
    let [equipment] = &items(&object, tags::CONTRIBUTING_EQUIPMENT_SEQUENCE)[..] else { panic!("one gateway") };
    assert!(text(equipment, tags::OPERATORS_NAME).contains("Rivera"));
    assert_eq!(items(equipment, tags::OPERATOR_IDENTIFICATION_SEQUENCE).len(), 1);
}

#[test]
fn a_consent_form_is_coded_as_one() {
    let claim = claim_of(&json!({"patient": {"id": "4711"}, "department": "derm", "view": "consent-form"}));
    let object = judge(&file_bytes(&instance_of(claim, PDF).unwrap(), PDF));
    let [code] = &items(&object, tags::CONCEPT_NAME_CODE_SEQUENCE)[..] else { panic!("one code") };
    assert_eq!((text(code, tags::CODE_VALUE).as_str(), text(code, tags::CODING_SCHEME_DESIGNATOR).as_str()), ("59284-0", "LN"));
    assert_eq!(text(&object, tags::DOCUMENT_TITLE), "Consent form");
}

#[test]
fn it_never_shares_a_series_with_pictures() {
    let payload = jpeg(16, 16, 3);
    let series = full_binding().series.into_iter().chain(binding().series).collect();
    let both = Binding { series, item_series: vec![0, 1], instance_numbers: vec![1, 2], ..full_binding() };
    let photo = dicom::build(&both, &manifest(full_claim(), 8), &jpeg_picture(&payload, 16, 16, 3)).unwrap();
    let mut second = manifest(full_claim(), 9);
    (second.index, second.item.media, second.item.sealed_bytes) = (1, MediaKind::Pdf, PDF.len() as u64);
    let document = dicom::build_document(&both, &second).unwrap();
    let of = |instance: &Instance, tag| text(&instance.dataset, tag);
    assert_eq!(of(&photo, tags::STUDY_INSTANCE_UID), of(&document, tags::STUDY_INSTANCE_UID));
    for tag in [tags::SERIES_INSTANCE_UID, tags::SERIES_NUMBER] {
        assert_ne!(of(&photo, tag), of(&document, tag));
    }
    second.index = 2;
    assert_eq!(dicom::build_document(&both, &second).err(), Some(DicomError::ItemUnknown));
}

#[test]
fn it_goes_out_in_both_native_syntaxes_and_never_cut() {
    let instance = instance_of(full_claim(), PDF).unwrap();
    for syntax in [Syntax::ExplicitLe, Syntax::ImplicitLe] {
        let whole = |given: &[u8]| {
            let mut given = given;
            let mut stream = instance.stream(syntax, &mut given).unwrap();
            let (size, mut out) = (stream.size_bytes(), Vec::new());
            stream.read_to_end(&mut out).map(|read| (read as u64 == size, out))
        };
        let (is_announced, bytes) = whole(PDF).unwrap();
        assert!(is_announced && bytes.windows(PDF.len()).any(|w| w == PDF));
        assert!(bytes.windows(6).any(|w| w == [0x42, 0, 0x15, 0, b'U', b'L']) == (syntax == Syntax::ExplicitLe));
        assert!(whole(&PDF[1..]).is_err() && whole(&[PDF, b"x"].concat()).is_err());
    }
    let mut payload = PDF;
    let unfit = instance.stream(Syntax::JpegBaseline, &mut payload).err();
    assert_eq!(unfit, Some(DicomError::SyntaxUnfit { syntax: Syntax::JpegBaseline }));
    assert!(matches!(instance_of(full_claim(), b""), Err(DicomError::Picture(_))));
}

// ---------------------------------------------------------------- at the shell

fn wrap(folder: &Path, files: &[&Path]) -> Vec<Value> {
    dicom_fixture::wrap(folder, files, &json!({}), |_| ())
}

/// A page with a title that names somebody.
fn document(info: &str, catalog: &str) -> Vec<u8> {
    let objects = [
        format!("<< /Type /Catalog /Pages 2 0 R {catalog} >>"),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>".to_owned(),
        format!("<< /Title ({info}) >>"),
        "<< /FT /Sig /V << /ByteRange [0 1 2 3] /Contents <00> >> >>".to_owned(),
    ];
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut table = String::from("0000000000 65535 f \n");
    for (object, number) in objects.iter().zip(1..) {
        table += &format!("{:010} 00000 n \n", out.len());
        out.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    let start = out.len();
    out.extend(format!("xref\n0 6\n{table}trailer\n<< /Size 6 /Root 1 0 R /Info 4 0 R >>\nstartxref\n{start}\n%%EOF\n").bytes());
    out
}

#[test]
fn a_photo_and_a_document_become_objects_of_one_study() {
    let folder = TempDir::new("wrap-document");
    let (photo, form) = (folder.path().join("a.jpg"), folder.path().join("b.pdf"));
    std::fs::write(&photo, jpeg(16, 16, 3)).unwrap();
    std::fs::write(&form, document("ZYXCANARY", "")).unwrap();
    let lines = wrap(folder.path(), &[&photo, &form]);
    let objects: Vec<_> =
        lines.iter().map(|l| dicom_object::open_file(l["output"].as_str().unwrap_or_else(|| panic!("{l}"))).unwrap()).collect();
    assert_eq!(lines[1]["media"], "application/pdf");
    assert_eq!((&lines[1]["removed"], &lines[1]["essence"]), (&json!(["pdf.info", "pdf.unused"]), &json!("unchanged")));
    assert_eq!(text(&objects[0], tags::STUDY_INSTANCE_UID), text(&objects[1], tags::STUDY_INSTANCE_UID));
    assert_ne!(text(&objects[0], tags::SERIES_INSTANCE_UID), text(&objects[1], tags::SERIES_INSTANCE_UID));
    assert_eq!(validator_errors(Path::new(lines[1]["output"].as_str().unwrap())), Vec::<String>::new());
    let bytes = std::fs::read(lines[1]["output"].as_str().unwrap()).unwrap();
    assert!(!bytes.windows(9).any(|w| w == b"ZYXCANARY"));
}

#[test]
fn a_signed_document_is_not_wrapped() {
    let folder = TempDir::new("wrap-signed");
    let signed = folder.path().join("signed.pdf");
    std::fs::write(&signed, document("ZYXCANARY", "/AcroForm << /SigFlags 3 /Fields [5 0 R] >>")).unwrap();
    let lines = wrap(folder.path(), &[&signed]);
    assert_eq!(lines[0]["error"]["code"], "signed-document");
    assert!(lines[0]["output"].is_null());
}
