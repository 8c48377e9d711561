//! What a validator and a reader say of the objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dicom_fixture;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use dicom_dictionary_std::tags;
use dicom_fixture::*;
use dicom_object::{DefaultDicomObject, InMemDicomObject, Tag};
use shutterbridge::capture::claim::View;
use shutterbridge::capture::media::Number;
use shutterbridge::capture::{Claim, Phi};
use shutterbridge::dicom::{self, DicomError, LossyHistory, LossyMethod, LossyStep, Picture, Pixels, Syntax, check};

fn judge(name: &str, file: &[u8]) -> DefaultDicomObject {
    let dir = TempDir::new("dicom");
    let path = dir.path().join("object.dcm");
    std::fs::write(&path, file).unwrap();
    assert_eq!(validator_errors(&path), Vec::<String>::new(), "{name}");
    if let Some(output) = run("dcmftest", &[path.to_str().unwrap()]) {
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("yes"), "{name}");
    }
    let object = dicom_object::from_reader(Cursor::new(file)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(check::faults(&object), Vec::<String>::new(), "{name}");
    object
}

fn text(of: &InMemDicomObject, tag: Tag) -> String {
    of.get(tag).map_or_else(|| "(absent)".into(), |e| e.to_str().unwrap().trim_end_matches([' ', '\0']).to_owned())
}

fn item(of: &InMemDicomObject, tag: Tag) -> InMemDicomObject {
    let element = of.element(tag).unwrap();
    let items = element.items().unwrap();
    assert_eq!(items.len(), 1, "{tag}");
    items[0].clone()
}

/// The photograph with everything known.
fn full() -> DefaultDicomObject {
    let payload = jpeg(64, 48, 3);
    judge("full", &file_bytes(&photograph(9, &payload, 64, 48), &payload))
}

#[test]
fn every_kind_of_object_passes_the_validator() {
    let (colour, grey) = (jpeg(65, 47, 3), jpeg(65, 47, 1));
    let coloured = jpeg_picture(&colour, 65, 47, 3);
    let profiled = Picture { icc_profile: Some(display_profile(557)), ..coloured.clone() };
    let again = |from| Picture { history: LossyHistory::Reencoded { from }, ..coloured.clone() };
    let heic = again(Some(LossyStep { method: LossyMethod::Jpeg, ratio: 14.2 }));
    let decoded = Picture { history: heic.history, ..native_picture(5, 3, 3) };
    let mut unordered = full_binding();
    unordered.order = None;
    let mut nameless = bare_binding();
    nameless.site.institution = String::new();
    nameless.site.department_name = String::new();
    nameless.gateway_version = String::new();
    nameless.study.id = String::new();
    let mut japanese = full_binding();
    japanese.patient.name_dicom = Phi::from("Yamada^Tarou=山田^太郎=やまだ^たろう");
    let mut no_side = full_claim();
    no_side.laterality = None;
    let (full, bare) = (full_binding(), bare_binding());
    let (rgb, one) = (noise(5, 3, 3), noise(5, 3, 1));
    let table = [
        ("order and visit", &full, full_claim(), &coloured, &colour),
        ("visit, no order", &unordered, full_claim(), &coloured, &colour),
        ("number only", &bare, bare_claim(), &coloured, &colour),
        ("no institution", &nameless, bare_claim(), &coloured, &colour),
        ("region without side", &full, no_side, &coloured, &colour),
        ("grey JPEG", &full, full_claim(), &jpeg_picture(&grey, 65, 47, 1), &grey),
        ("PNG, odd length", &full, full_claim(), &native_picture(5, 3, 3), &rgb),
        ("grey PNG, odd length", &bare, bare_claim(), &native_picture(5, 3, 1), &one),
        ("coded again", &full, full_claim(), &heic, &colour),
        ("PNG coded as JPEG", &full, full_claim(), &again(None), &colour),
        ("JPEG decoded", &full, full_claim(), &decoded, &rgb),
        ("colour profile", &full, full_claim(), &profiled, &colour),
        ("three groups of name", &japanese, full_claim(), &coloured, &colour),
    ];
    for (name, binding, claim, picture, payload) in table {
        let instance = dicom::build(binding, &manifest(claim, 9), picture).unwrap_or_else(|e| panic!("{name}: {e}"));
        judge(name, &file_bytes(&instance, payload));
    }
}

#[test]
fn a_picture_through_a_dermoscope_says_what_is_known_and_that_the_rest_is_not() {
    // The validator wants a module that the IOD does not have (PS3.3 §A.32.11).
    let known = |line: &String| line.contains("FrameOfReferenceUID") || line.contains("PositionReferenceIndicator");
    let payload = jpeg(64, 48, 3);
    for (claim, model, software) in [(full_claim(), "iPhone 15", "Capture 1.4"), (bare_claim(), "UNKNOWN", "UNKNOWN")] {
        let claim = Claim { view: Some(View::Dermoscopic), ..claim };
        let instance = dicom::build(&full_binding(), &manifest(claim, 9), &jpeg_picture(&payload, 64, 48, 3)).unwrap();
        let dir = TempDir::new("dermoscopic");
        let path = dir.path().join("object.dcm");
        std::fs::write(&path, file_bytes(&instance, &payload)).unwrap();
        let errors: Vec<String> = validator_errors(&path).into_iter().filter(|line| !known(line)).collect();
        assert_eq!(errors, Vec::<String>::new());
        let o = dicom_object::open_file(&path).unwrap();
        assert_eq!(check::faults(&o), Vec::<String>::new());
        let table = [
            (tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.77.1.7"),
            (tags::MODALITY, "DMS"),
            (tags::MANUFACTURER_MODEL_NAME, model),
            (tags::SOFTWARE_VERSIONS, software),
            (tags::DEVICE_SERIAL_NUMBER, "UNKNOWN"),
            (tags::LIGHT_SOURCE_POLARIZATION, ""),
            (tags::EMITTER_COLOR_TEMPERATURE, ""),
            (tags::CONTACT_METHOD, ""),
            (tags::IMMERSION_MEDIA, "(absent)"),
            (tags::OPTICAL_MAGNIFICATION_FACTOR, ""),
            (tags::RECOGNIZABLE_VISUAL_FEATURES, "YES"),
        ];
        for (tag, then) in table {
            assert_eq!(text(&o, tag), then, "{tag}");
        }
    }
}

#[test]
fn a_secondary_capture_keeps_what_was_lost_and_what_is_known() {
    let (payload, samples) = (jpeg(65, 47, 3), noise(5, 3, 3));
    let from = Some(LossyStep { method: LossyMethod::Jpeg, ratio: 14.2 });
    let again = Picture { history: LossyHistory::Reencoded { from }, ..jpeg_picture(&payload, 65, 47, 3) };
    for (picture, payload, lossy) in [
        (jpeg_picture(&payload, 65, 47, 3), &payload, "ISO_10918_1"),
        (again, &payload, "ISO_10918_1\\ISO_10918_1"),
        (native_picture(5, 3, 3), &samples, "(absent)"),
    ] {
        for (binding, claim) in [(full_binding(), full_claim()), (bare_binding(), bare_claim())] {
            let instance = dicom::build_stand_in(&binding, &manifest(claim, 9), &picture).unwrap();
            let o = judge("secondary capture", &file_bytes(&instance, payload));
            let table = [
                (tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.7"),
                (tags::CONVERSION_TYPE, "DI"),
                (tags::MODALITY, "XC"),
                (tags::LOSSY_IMAGE_COMPRESSION_METHOD, lossy),
                (tags::PATIENT_ID, "4711"),
            ];
            for (tag, then) in table {
                assert_eq!(text(&o, tag), then, "{tag}");
            }
        }
    }
}

#[test]
fn numbers_of_the_exposure_are_written_and_every_code_is_one_of_the_standard() {
    let payload = jpeg(16, 16, 3);
    let picture = jpeg_picture(&payload, 16, 16, 3);
    let build = |exposure| {
        let mut manifest = manifest(full_claim(), 9);
        manifest.item.facts.details.exposure = exposure;
        let instance = dicom::build(&full_binding(), &manifest, &picture).unwrap();
        judge("exposure", &file_bytes(&instance, &payload))
    };
    let o = build(BTreeMap::from([
        (0x829A, Number::Ratio(1, 120)),
        (0x829D, Number::Ratio(18, 10)),
        (0x8827, Number::Whole(200)),
        (0x9000, Number::Whole(232)),
        (0x9209, Number::Whole(0b101_1101)),
        (0x9208, Number::Whole(300)),
        (0xA405, Number::Whole(26)),
    ]));
    let table = [
        (tags::EXPOSURE_TIME_IN_SECONDS, "0.00833333"),
        (tags::F_NUMBER, "1.8"),
        (tags::PHOTOGRAPHIC_SENSITIVITY, "200"),
        (tags::EXIF_VERSION, "0232"),
        (tags::FLASH_FIRING_STATUS, "1"),
        (tags::FLASH_RETURN_STATUS, "2"),
        (tags::FLASH_MODE, "3"),
        (tags::FLASH_FUNCTION_PRESENT, "0"),
        (tags::FLASH_RED_EYE_MODE, "1"),
        (tags::LIGHT_SOURCE, "(absent)"),
        (tags::FOCAL_LENGTH_IN35MM_FILM, "26"),
    ];
    for (tag, then) in table {
        assert_eq!(text(&o, tag), then, "{tag}");
    }
    for code in (0..=26).chain([127, 255, 65_535]) {
        build((0x8822..=0xA40C).map(|tag| (tag, Number::Whole(code))).collect());
    }
}

#[test]
fn the_coded_picture_is_in_the_object_byte_for_byte() {
    let mut payload = jpeg(64, 48, 3);
    for _ in 0..2 {
        let object = judge("fragment", &file_bytes(&photograph(9, &payload, 64, 48), &payload));
        let pixels = object.element(tags::PIXEL_DATA).unwrap();
        let fragments = pixels.fragments().unwrap();
        assert_eq!(fragments.len(), 1);
        assert_eq!(&fragments[0][..payload.len()], payload);
        assert_eq!(fragments[0].len(), payload.len().next_multiple_of(2));
        // Once more with the other parity: a fill byte may stand before a marker (T.81 §B.1.1.2).
        let at = payload.len() - 2;
        payload.insert(at, 0xFF);
    }
}

#[test]
fn the_hospital_s_words_stand_where_the_standard_wants_them() {
    let o = full();
    let table = [
        (tags::PATIENT_NAME, "Müller^Jörg^Karl^Dr^Jr"),
        (tags::PATIENT_ID, "4711"),
        (tags::ISSUER_OF_PATIENT_ID, "HOSP"),
        (tags::TYPE_OF_PATIENT_ID, "(absent)"),
        (tags::PATIENT_BIRTH_DATE, "19700301"),
        (tags::PATIENT_SEX, "M"),
        (tags::PATIENT_AGE, "056Y"),
        (tags::STUDY_INSTANCE_UID, "1.2.826.0.1.3680043.10.99.1"),
        (tags::STUDY_DATE, "20260301"),
        (tags::STUDY_TIME, "101530"),
        (tags::ACCESSION_NUMBER, "A123"),
        (tags::ADMISSION_ID, "V100"),
        (tags::REFERRING_PHYSICIAN_NAME, "Ref^Rita"),
        (tags::PHYSICIANS_OF_RECORD, "Doc^Dora"),
        (tags::PERFORMING_PHYSICIAN_NAME, "(absent)"),
        (tags::STUDY_DESCRIPTION, "Dermatology photo"),
        (tags::MODALITY, "XC"),
        (tags::SERIES_DESCRIPTION, "Dorsal hand, day 3"),
        (tags::OPERATORS_NAME, "Rivera^Ana"),
        (tags::MANUFACTURER, "Apple"),
        (tags::MANUFACTURER_MODEL_NAME, "iPhone 15"),
        (tags::INSTITUTION_NAME, "Demo General Hospital"),
        (tags::INSTITUTIONAL_DEPARTMENT_NAME, "Dermatology"),
        (tags::ACQUISITION_DATE_TIME, "20260301101530.123+0100"),
        (tags::CONTENT_DATE, "20260301"),
        (tags::CONTENT_TIME, "101530.123"),
        (tags::TIMEZONE_OFFSET_FROM_UTC, "+0100"),
        (tags::INSTANCE_CREATION_TIME, "102001"),
        (tags::IMAGE_LATERALITY, "L"),
        (tags::LATERALITY, "(absent)"),
        (tags::BODY_PART_EXAMINED, "HAND"),
        (tags::PATIENT_ORIENTATION, ""),
        (tags::BURNED_IN_ANNOTATION, "NO"),
        (tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY"),
        (tags::LOSSY_IMAGE_COMPRESSION, "01"),
        (tags::LOSSY_IMAGE_COMPRESSION_METHOD, "ISO_10918_1"),
        (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"),
    ];
    for (tag, then) in table {
        assert_eq!(text(&o, tag), then, "{tag}");
    }
}

#[test]
fn identifiers_name_who_assigned_them() {
    let o = full();
    let qualifiers = item(&o, tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE);
    assert_eq!(text(&qualifiers, tags::UNIVERSAL_ENTITY_ID), "1.2.3.4");
    assert_eq!(text(&qualifiers, tags::UNIVERSAL_ENTITY_ID_TYPE), "ISO");
    assert_eq!(text(&qualifiers, tags::IDENTIFIER_TYPE_CODE), "MR");
    let others = o.element(tags::OTHER_PATIENT_I_DS_SEQUENCE).unwrap();
    let others = others.items().unwrap();
    assert_eq!(others.len(), 2);
    assert_eq!(
        (text(&others[0], tags::PATIENT_ID), text(&others[0], tags::ISSUER_OF_PATIENT_ID)),
        ("8-15".into(), "CITY".into())
    );
    assert_eq!(text(&others[1], tags::TYPE_OF_PATIENT_ID), "TEXT");
    let admission = item(&o, tags::ISSUER_OF_ADMISSION_ID_SEQUENCE);
    assert_eq!(text(&admission, tags::LOCAL_NAMESPACE_ENTITY_ID), "VN");
    assert_eq!(text(&admission, tags::UNIVERSAL_ENTITY_ID), "1.2.9");
    assert_eq!(text(&item(&o, tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE), tags::LOCAL_NAMESPACE_ENTITY_ID), "RIS");
    let department = item(&o, tags::INSTITUTIONAL_DEPARTMENT_TYPE_CODE_SEQUENCE);
    assert_eq!(text(&department, tags::CODE_VALUE), "309923008");
    let operator = item(&o, tags::OPERATOR_IDENTIFICATION_SEQUENCE);
    assert_eq!(text(&operator, tags::INSTITUTION_NAME), "Demo General Hospital");
    assert_eq!(text(&item(&operator, tags::PERSON_IDENTIFICATION_CODE_SEQUENCE), tags::CODE_VALUE), "u-17");
}

#[test]
fn an_order_is_quoted_and_without_one_nothing_is() {
    let request = item(&full(), tags::REQUEST_ATTRIBUTES_SEQUENCE);
    let table = [
        (tags::REQUESTED_PROCEDURE_ID, "RP1"),
        (tags::SCHEDULED_PROCEDURE_STEP_ID, "SPS1"),
        (tags::ACCESSION_NUMBER, "A123"),
        (tags::STUDY_INSTANCE_UID, "1.2.826.0.1.3680043.10.99.1"),
        (tags::REQUESTING_PHYSICIAN, "(absent)"),
    ];
    for (tag, then) in table {
        assert_eq!(text(&request, tag), then, "{tag}");
    }
    let code = item(&request, tags::REQUESTED_PROCEDURE_CODE_SEQUENCE);
    assert_eq!((text(&code, tags::CODE_VALUE), text(&code, tags::CODING_SCHEME_DESIGNATOR)), ("DERMPH".into(), "99LOCAL".into()));

    let payload = jpeg(16, 16, 3);
    let instance = dicom::build(&bare_binding(), &manifest(bare_claim(), 9), &jpeg_picture(&payload, 16, 16, 3)).unwrap();
    let o = judge("encounter", &file_bytes(&instance, &payload));
    assert_eq!(text(&o, tags::ACCESSION_NUMBER), "");
    assert_eq!(text(&o, tags::STUDY_DESCRIPTION), "Photography, Dermatology");
    assert_eq!(text(&item(&o, tags::PROCEDURE_CODE_SEQUENCE), tags::CODE_VALUE), "197157006");
    for absent in [tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, tags::ANATOMIC_REGION_SEQUENCE] {
        assert!(o.get(absent).is_none(), "{absent}");
    }
    assert_eq!((text(&o, tags::LATERALITY), text(&o, tags::IMAGE_LATERALITY)), (String::new(), "(absent)".into()));
}

#[test]
fn the_file_s_own_time_is_believed_before_the_claim_s_and_none_that_is_in_the_future() {
    let payload = jpeg(16, 16, 3);
    let picture = jpeg_picture(&payload, 16, 16, 3);
    let table = [
        // given acceptance, the file's time and the claim's, then content date, time, zone, and whether it is a time of capture
        ("2026-07-02T08:00:00Z", "2026-07-01T23:30:00Z", "2026-03-01T10:15:30+01:00", "20260702", "013000", "+0200", true),
        ("2026-07-02T08:00:00Z", "2026-07-01T23:30:00", "2026-03-01T10:15:30+01:00", "20260701", "233000", "+0200", true),
        ("2026-03-02T08:00:00Z", "", "2026-03-01T10:15:30-05:00", "20260301", "161530", "+0100", true),
        ("2026-03-01T09:20:00Z", "", "", "20260301", "102000", "+0100", false),
        // Clocks differ by minutes, not by more.
        ("2026-03-01T09:20:00Z", "2026-03-01T09:30:00Z", "", "20260301", "103000", "+0100", true),
        ("2026-03-01T09:20:00Z", "2026-03-01T09:30:01Z", "", "20260301", "102000", "+0100", false),
        ("2026-03-01T09:20:00Z", "2026-03-01T10:31:00", "", "20260301", "102000", "+0100", false),
        ("2026-03-01T09:20:00Z", "2027-03-01T09:00:00Z", "2026-03-01T10:15:30+01:00", "20260301", "101530", "+0100", true),
        ("2026-03-01T09:20:00Z", "2026-03-01T09:00:00Z", "2027-03-01T10:15:30+01:00", "20260301", "100000", "+0100", true),
        ("2026-03-01T09:20:00Z", "2027-03-01T09:00:00Z", "2027-03-01T09:00:00Z", "20260301", "102000", "+0100", false),
    ];
    for (accepted_at, file, claimed, day, clock, zone, known) in table {
        let mut manifest = manifest(bare_claim(), 9);
        manifest.acceptance.accepted_at = accepted_at.parse().unwrap();
        manifest.item.facts.taken_at = taken(file);
        manifest.acceptance.claim.taken_at = taken(claimed);
        let instance = dicom::build(&bare_binding(), &manifest, &picture).unwrap();
        let o = judge(file, &file_bytes(&instance, &payload));
        assert_eq!(
            [text(&o, tags::CONTENT_DATE), text(&o, tags::CONTENT_TIME), text(&o, tags::TIMEZONE_OFFSET_FROM_UTC)],
            [day, clock, zone],
            "{file} {claimed}"
        );
        assert_eq!(o.get(tags::ACQUISITION_DATE_TIME).is_some(), known);
    }
}

#[test]
fn a_number_that_does_not_fit_is_held_and_never_cut() {
    let long = |n: usize| Phi::from("1".repeat(n));
    let payload = jpeg(16, 16, 3);
    let picture = jpeg_picture(&payload, 16, 16, 3);
    let mut accession = full_binding();
    accession.order.as_mut().unwrap().accession = long(17);
    let mut patient = full_binding();
    patient.patient.identifier.id = long(65);
    let mut visit = full_binding();
    visit.visit.as_mut().unwrap().id = long(65);
    let mut step = full_binding();
    step.order.as_mut().unwrap().scheduled_step_id = long(17);
    for (binding, attribute) in [
        (&accession, "Accession Number"),
        (&patient, "Patient ID"),
        (&visit, "Admission ID"),
        (&step, "Scheduled Procedure Step ID"),
    ] {
        match dicom::build(binding, &manifest(full_claim(), 9), &picture) {
            Err(DicomError::IdentifierTooLong { attribute: found, .. }) => assert_eq!(found, attribute),
            other => panic!("{attribute}: {other:?}"),
        }
    }
    let mut nobody = full_binding();
    nobody.patient.identifier.id = Phi::from(" ");
    assert_eq!(dicom::build(&nobody, &manifest(full_claim(), 9), &picture).unwrap_err(), DicomError::PatientIdMissing);
}

#[test]
fn the_words_for_a_site_never_differ_from_its_code() {
    let payload = jpeg(16, 16, 3);
    let mut claim = full_claim();
    claim.description = None;
    claim.body_site.as_mut().unwrap().meaning = "Foot".into();
    let instance = dicom::build(&full_binding(), &manifest(claim, 9), &jpeg_picture(&payload, 16, 16, 3)).unwrap();
    let o = judge("meaning", &file_bytes(&instance, &payload));
    let site = item(&o, tags::ANATOMIC_REGION_SEQUENCE);
    assert_eq!((text(&site, tags::CODE_VALUE), text(&site, tags::CODE_MEANING)), ("85562004".into(), "Hand".into()));
    assert!(text(&o, tags::SERIES_DESCRIPTION).starts_with("Hand"), "{}", text(&o, tags::SERIES_DESCRIPTION));
}

#[test]
fn text_that_could_split_a_value_stays_one_value() {
    let mut binding = full_binding();
    binding.patient.identifier.id = Phi::from("47\\11");
    binding.patient.name_dicom = Phi::from("Back\\slash^A\r\nB");
    binding.study.description = "ä".repeat(80);
    let payload = jpeg(16, 16, 3);
    let instance = dicom::build(&binding, &manifest(full_claim(), 9), &jpeg_picture(&payload, 16, 16, 3)).unwrap();
    let o = judge("hostile text", &file_bytes(&instance, &payload));
    assert_eq!(text(&o, tags::PATIENT_ID), "47/11");
    assert_eq!(text(&o, tags::PATIENT_NAME), "Back/slash^A  B");
    assert_eq!(text(&o, tags::STUDY_DESCRIPTION), "ä".repeat(32));
}

#[test]
fn what_was_coded_again_says_so_with_every_step() {
    let payload = jpeg(64, 48, 3);
    let from = Some(LossyStep { method: LossyMethod::Hevc, ratio: 14.2 });
    let picture = Picture { history: LossyHistory::Reencoded { from }, ..jpeg_picture(&payload, 64, 48, 3) };
    let instance = dicom::build(&full_binding(), &manifest(full_claim(), 9), &picture).unwrap();
    let o = dicom_object::from_reader(Cursor::new(file_bytes(&instance, &payload))).unwrap();
    assert_eq!(check::faults(&o), Vec::<String>::new());
    assert_eq!(text(&o, tags::IMAGE_TYPE), "DERIVED\\PRIMARY");
    assert_eq!(text(&o, tags::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_23008_2\\ISO_10918_1");
    assert!(text(&o, tags::LOSSY_IMAGE_COMPRESSION_RATIO).starts_with("14.2\\"));
}

#[test]
fn a_profile_that_fits_no_rgb_is_left_out_with_a_note() {
    let payload = jpeg(16, 16, 3);
    let picture = |profile| Picture { icc_profile: Some(profile), ..jpeg_picture(&payload, 16, 16, 3) };
    let build = |p: &Picture| dicom::build(&full_binding(), &manifest(full_claim(), 9), p).unwrap();
    let good = build(&picture(display_profile(557)));
    assert!(good.notes.is_empty());
    assert_eq!(good.dataset.element(tags::ICC_PROFILE).unwrap().to_bytes().unwrap().len(), 558);
    let bad = build(&picture(vec![1, 2, 3]));
    assert!(bad.dataset.get(tags::ICC_PROFILE).is_none());
    assert_eq!(bad.notes.len(), 1);
}

#[test]
fn the_same_arguments_make_the_same_bytes() {
    let payload = jpeg(64, 48, 3);
    let once = || file_bytes(&photograph(9, &payload, 64, 48), &payload);
    assert_eq!(once(), once());
}

#[test]
fn a_payload_of_another_length_never_completes_an_object() {
    let payload = jpeg(64, 48, 3);
    let jpeg_object = photograph(9, &payload, 64, 48);
    let native = dicom::build(&full_binding(), &manifest(full_claim(), 9), &native_picture(4, 4, 3)).unwrap();
    let samples = noise(4, 4, 3);
    for (instance, good) in [(&jpeg_object, &payload), (&native, &samples)] {
        let size = |given: &[u8]| {
            let mut given = given;
            let mut stream = instance.stream(instance.transfer_syntax(), &mut given).unwrap();
            let size = stream.size_bytes();
            let mut out = Vec::new();
            let result = stream.read_to_end(&mut out);
            (result.map(|n| n as u64), size, out.len() as u64)
        };
        let (whole, announced, _) = size(good);
        assert_eq!(whole.unwrap(), announced);
        let mut long = good.clone();
        long.push(0);
        for wrong in [&good[..good.len() - 1], &long, &[]] {
            let (result, announced, given_out) = size(wrong);
            assert!(result.is_err());
            assert!(given_out < announced, "{given_out} of {announced}");
        }
    }
}

#[test]
fn a_picture_is_sent_only_as_it_is_coded() {
    let payload = jpeg(16, 16, 3);
    let instance = photograph(9, &payload, 16, 16);
    for syntax in [Syntax::ExplicitLe, Syntax::ImplicitLe] {
        let mut source = payload.as_slice();
        assert_eq!(instance.stream(syntax, &mut source).err(), Some(DicomError::SyntaxUnfit { syntax }));
    }
}

#[test]
fn a_picture_that_contradicts_itself_is_refused() {
    let good = native_picture(4, 4, 3);
    let table = [
        Picture { samples: 4, ..good.clone() },
        Picture { width: 65_536, ..good.clone() },
        Picture { height: 0, ..good.clone() },
        Picture { pixels: Pixels::Native { length: 47 }, ..good.clone() },
        Picture { pixels: Pixels::Jpeg { length: 0 }, history: LossyHistory::Original, ..good.clone() },
        Picture { pixels: Pixels::Jpeg { length: 10 }, ..good.clone() },
        Picture { history: LossyHistory::Original, ..good },
    ];
    for picture in table {
        let built = dicom::build(&full_binding(), &manifest(full_claim(), 9), &picture);
        assert!(matches!(built, Err(DicomError::Picture(_))), "{picture:?}");
    }
}

#[test]
fn an_instance_prints_nothing_of_the_patient() {
    let payload = jpeg(16, 16, 3);
    let printed = format!("{:?}", photograph(9, &payload, 16, 16));
    for word in ["4711", "ller", "1970", "A123", "Rivera"] {
        assert!(!printed.contains(word), "{word}");
    }
}

type Spoil = fn(&mut DefaultDicomObject);

#[test]
fn own_checks_see_what_a_validator_does_not() {
    use dicom_core::value::PrimitiveValue;
    use dicom_core::{DataElement, VR};
    let payload = jpeg(64, 48, 3);
    let good = file_bytes(&photograph(9, &payload, 64, 48), &payload);
    let spoil: [(&str, Spoil); 8] = [
        ("zone", |o| {
            o.put_str(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "+01:00");
        }),
        ("rows", |o| {
            o.put(DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(47_u16)));
        }),
        ("nobody", |o| {
            o.put_str(tags::PATIENT_ID, VR::LO, "");
        }),
        ("both sides", |o| {
            o.put_str(tags::LATERALITY, VR::CS, "");
        }),
        ("place", |o| {
            o.put_str(Tag(0x0016, 0x0071), VR::CS, "N");
        }),
        ("lossless", |o| {
            o.put_str(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
        }),
        ("colour model", |o| {
            o.put_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
        }),
        ("retired", |o| {
            o.put_str(Tag(0x0010, 0x1000), VR::LO, "815");
        }),
    ];
    for (name, spoil) in spoil {
        let mut object = dicom_object::from_reader(Cursor::new(&good)).unwrap();
        spoil(&mut object);
        assert_eq!(check::faults(&object).len(), 1, "{name}: {:?}", check::faults(&object));
    }
}

/// Letters that hospitals and enemies write.
fn any_text(random: &mut impl FnMut() -> usize, longest: usize) -> String {
    const LETTERS: [char; 24] = [
        'A', 'z', '0', '9', ' ', '^', '=', '\\', '-', '.', ',', '"', '&', '|', '\n', '\r', '\t', '\0', '\u{1b}', 'ü', 'ß', '山',
        '\u{202E}', '😀',
    ];
    (0..random() % (longest + 1)).map(|_| LETTERS[random() % LETTERS.len()]).collect()
}

fn any_ascii(random: &mut impl FnMut() -> usize, longest: usize) -> String {
    any_text(random, longest).chars().filter(char::is_ascii).collect()
}

#[test]
fn whatever_the_hospital_writes_the_object_is_legal_or_held() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let payload = jpeg(16, 16, 3);
    let picture = jpeg_picture(&payload, 16, 16, 3);
    let (mut built, mut judged) = (0, 0);
    for round in 0..600 {
        let mut binding = full_binding();
        let mut claim = full_claim();
        let (patient, visit, order) = (&mut binding.patient, binding.visit.as_mut().unwrap(), binding.order.as_mut().unwrap());
        for id in [&mut patient.identifier, &mut patient.other_ids[0]] {
            id.issuer = any_ascii(&mut random, 20);
            id.issuer_universal_id = any_text(&mut random, 20);
            id.issuer_universal_id_type = any_text(&mut random, 4);
            id.id_type = any_text(&mut random, 4);
        }
        for phi in [
            &mut patient.identifier.id,
            &mut patient.other_ids[0].id,
            &mut patient.name_dicom,
            &mut visit.id,
            &mut order.accession,
        ] {
            *phi = Phi::from(any_ascii(&mut random, 20));
        }
        // The validator counts the bytes of all groups of a name, the standard the letters of each.
        let name_max = if judged < 40 { 15 } else { 300 };
        for phi in [&mut visit.attending, &mut visit.referring, &mut patient.name_dicom] {
            *phi = Phi::from(any_text(&mut random, name_max));
        }
        for phi in [&mut order.requested_procedure_id, &mut order.scheduled_step_id] {
            *phi = Phi::from(any_ascii(&mut random, 18));
        }
        for text in [
            &mut patient.sex,
            &mut visit.issuer,
            &mut visit.department,
            &mut order.accession_issuer,
            &mut order.study_instance_uid,
            &mut order.procedure.code,
            &mut order.procedure.scheme,
            &mut order.procedure.meaning,
            &mut binding.site.department_name,
            &mut binding.gateway_version,
        ] {
            *text = any_text(&mut random, 100);
        }
        let study = &mut binding.study;
        (study.referring, study.attending) = (visit.referring.clone(), visit.attending.clone());
        study.requesting_service.clone_from(&visit.department);
        study.procedure.clone_from(&order.procedure);
        study.description.clone_from(&order.procedure.meaning);
        claim.description = Some(Phi::from(any_text(&mut random, 1_024)));
        let mut manifest = manifest(claim, 9);
        manifest.acceptance.operator.name = any_text(&mut random, name_max);
        manifest.acceptance.operator.subject = any_ascii(&mut random, 20);
        manifest.item.facts.software = Some(any_text(&mut random, 100));
        let instance = match dicom::build(&binding, &manifest, &picture) {
            Ok(instance) => instance,
            Err(DicomError::IdentifierTooLong { .. } | DicomError::PatientIdMissing) => continue,
            Err(other) => panic!("round {round}: {other:?}"),
        };
        built += 1;
        let file = file_bytes(&instance, &payload);
        let object = dicom_object::from_reader(Cursor::new(&file)).unwrap();
        assert_eq!(check::faults(&object), Vec::<String>::new(), "round {round}");
        if judged < 40 {
            judged += 1;
            judge(&format!("round {round}"), &file);
        }
    }
    assert!(built > 200, "{built}");
}
