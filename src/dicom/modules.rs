//! The modules of the IODs (PS3.3 §C), one function each. `put` is for Type 1 and 2, `put_some`
//! for Type 3.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::build::Source;
use super::codes::{self, Entry};
use super::data_set::DataSet;
use super::moment::{age, date, time};
use super::value::{LO_MAX, SH_MAX, ST_MAX, decimal, description, display_name, identifier, person_name};
use super::{DicomError, LossyHistory, LossyMethod, LossyStep, Pixels, Syntax, icc, macros};
use crate::capture::claim::View;
use crate::capture::order::Code;
use crate::capture::{Equipment, Order, Uid};

/// What this program calls itself in an object.
const PRODUCT: &str = "Shutterbridge";
/// Coding scheme of staff numbers: the token's subject, which is the hospital's own.
const STAFF_SCHEME: &str = "99STAFF";

/// Patient (§C.7.1.1).
pub(super) fn patient(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let patient = &source.binding.patient;
    let id = identifier("Patient ID", patient.identifier.id.expose(), LO_MAX)?;
    if id.is_empty() {
        return Err(DicomError::PatientIdMissing);
    }
    to.put(tags::PATIENT_NAME, VR::PN, person_name(patient.name_dicom.expose()));
    to.put(tags::PATIENT_ID, VR::LO, id);
    macros::put_patient_issuer(to, &patient.identifier)?;
    to.put(tags::PATIENT_BIRTH_DATE, VR::DA, patient.birth_date.map(date).unwrap_or_default());
    // Every other word, U for unknown among them, is illegal here.
    let sex = Some(patient.sex.trim()).filter(|s| matches!(*s, "M" | "F" | "O")).unwrap_or_default();
    to.put(tags::PATIENT_SEX, VR::CS, sex);
    let mut others = Vec::new();
    for other in &patient.other_ids {
        let id = identifier("Other Patient IDs", other.id.expose(), LO_MAX)?;
        if id.is_empty() {
            continue;
        }
        let mut item = DataSet::new();
        item.put(tags::PATIENT_ID, VR::LO, id);
        macros::put_patient_issuer(&mut item, other)?;
        item.put(tags::TYPE_OF_PATIENT_ID, VR::CS, "TEXT");
        others.push(item);
    }
    to.put_items(tags::OTHER_PATIENT_I_DS_SEQUENCE, others);
    Ok(())
}

/// General Study (§C.7.2.1). The same in every object of a study.
pub(super) fn general_study(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let binding = source.binding;
    to.put(tags::STUDY_INSTANCE_UID, VR::UI, binding.study.instance_uid.as_str());
    to.put(tags::STUDY_DATE, VR::DA, date(binding.study.started.date()));
    to.put(tags::STUDY_TIME, VR::TM, time(binding.study.started));
    to.put(tags::STUDY_ID, VR::SH, identifier("Study ID", &binding.study.id, SH_MAX)?);
    put_accession(to, binding.order.as_ref())?;
    let study = &binding.study;
    to.put(tags::REFERRING_PHYSICIAN_NAME, VR::PN, person_name(study.referring.expose()));
    to.put_some(tags::PHYSICIANS_OF_RECORD, VR::PN, person_name(study.attending.expose()));
    to.put_some(tags::REQUESTING_SERVICE, VR::LO, description(&study.requesting_service, LO_MAX));
    to.put(tags::STUDY_DESCRIPTION, VR::LO, description(&study.description, LO_MAX));
    to.put_items(tags::PROCEDURE_CODE_SEQUENCE, code_of(&study.procedure));
    Ok(())
}

fn code_of(code: &Code) -> Option<DataSet> {
    macros::code(&code.code, &code.scheme, &code.meaning)
}

/// Empty where nothing was ordered; an issuer only beside a number.
fn put_accession(to: &mut DataSet, order: Option<&Order>) -> Result<(), DicomError> {
    let number = order.map(|o| o.accession.expose()).unwrap_or_default();
    let number = identifier("Accession Number", number, SH_MAX)?;
    if let Some(order) = order.filter(|_| !number.is_empty()) {
        let issuer = macros::hierarchic_designator(
            &order.accession_issuer,
            &order.accession_issuer_universal_id,
            &order.accession_issuer_universal_id_type,
        );
        to.put_items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, issuer);
    }
    to.put(tags::ACCESSION_NUMBER, VR::SH, number);
    Ok(())
}

/// Patient Study (§C.7.2.2): the visit, and the age at the start of the study.
pub(super) fn patient_study(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let binding = source.binding;
    if let Some(visit) = &binding.visit {
        let id = identifier("Admission ID", visit.id.expose(), LO_MAX)?;
        if !id.is_empty() {
            to.put(tags::ADMISSION_ID, VR::LO, id);
            let issuer =
                macros::hierarchic_designator(&visit.issuer, &visit.issuer_universal_id, &visit.issuer_universal_id_type);
            to.put_items(tags::ISSUER_OF_ADMISSION_ID_SEQUENCE, issuer);
        }
    }
    let age = binding.patient.birth_date.and_then(|born| age(born, binding.study.started.date()));
    to.put_some(tags::PATIENT_AGE, VR::AS, age.unwrap_or_default());
    Ok(())
}

/// General Series (§C.7.3.1): one capture session.
pub(super) fn general_series(to: &mut DataSet, source: &Source) {
    let series = source.series;
    to.put(tags::MODALITY, VR::CS, source.iod.modality);
    to.put(tags::SERIES_INSTANCE_UID, VR::UI, series.instance_uid.as_str());
    to.put(tags::SERIES_NUMBER, VR::IS, series.number.to_string());
    to.put(tags::SERIES_DATE, VR::DA, date(series.started.date()));
    to.put(tags::SERIES_TIME, VR::TM, time(series.started));
    to.put_some(tags::SERIES_DESCRIPTION, VR::LO, series_description(source));
    to.put(tags::PERFORMED_PROCEDURE_STEP_START_DATE, VR::DA, date(series.started.date()));
    to.put(tags::PERFORMED_PROCEDURE_STEP_START_TIME, VR::TM, time(series.started));
    to.put_some(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION, VR::LO, description(&source.binding.study.description, LO_MAX));
}

/// Who took the picture, by their sign-in.
pub(super) fn operator(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let operator = &source.manifest.acceptance.operator;
    let subject = identifier("Operator Identification", &operator.subject, LO_MAX)?;
    let named = display_name(&operator.name);
    let name = if named.is_empty() { display_name(&subject) } else { named };
    to.put_some(tags::OPERATORS_NAME, VR::PN, name.as_str());
    let meaning = if operator.name.trim().is_empty() { subject.as_str() } else { operator.name.as_str() };
    let person = macros::person(&subject, STAFF_SCHEME, meaning, &source.binding.site.institution);
    to.put_items(tags::OPERATOR_IDENTIFICATION_SEQUENCE, person);
    Ok(())
}

/// The caption, else what is seen and how.
fn series_description(source: &Source) -> String {
    let claim = &source.manifest.acceptance.claim;
    if let Some(caption) = claim.description.as_ref().filter(|d| !d.is_empty()) {
        return description(caption.expose(), LO_MAX);
    }
    let view = claim.view.map(|v| match v {
        View::Overview => "overview",
        View::CloseUp => "close-up",
        View::WithScale => "with scale",
        View::Dermoscopic => "dermoscopic",
        View::ConsentForm => "consent form",
    });
    let site = claim.body_site.as_ref().map(|s| codes::find_site(s).map_or(s.meaning.as_str(), |known| known.meaning));
    let words: Vec<&str> = site.into_iter().chain(view).collect();
    description(&words.join(", "), LO_MAX)
}

/// Request Attributes Macro (§10.6), ordered work only. Requesting physician, placer and filler
/// numbers are not part of it: adding them would make a Standard Extended SOP Class.
pub(super) fn request_attributes(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let Some(order) = &source.binding.order else { return Ok(()) };
    let mut item = DataSet::new();
    if !order.accession.is_empty() {
        put_accession(&mut item, Some(order))?;
    }
    let ids = [
        (tags::REQUESTED_PROCEDURE_ID, "Requested Procedure ID", &order.requested_procedure_id),
        (tags::SCHEDULED_PROCEDURE_STEP_ID, "Scheduled Procedure Step ID", &order.scheduled_step_id),
    ];
    for (tag, name, id) in ids {
        item.put_some(tag, VR::SH, identifier(name, id.expose(), SH_MAX)?);
    }
    if item.is_empty() {
        return Ok(());
    }
    if let Ok(uid) = Uid::parse(&order.study_instance_uid) {
        item.put(tags::STUDY_INSTANCE_UID, VR::UI, uid.as_str());
    }
    item.put_some(tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO, description(&order.procedure.meaning, LO_MAX));
    item.put_items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, code_of(&order.procedure));
    to.put_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, [item]);
    Ok(())
}

/// General Equipment (§C.7.5.1): the phone, which made the picture.
pub(super) fn general_equipment(to: &mut DataSet, source: &Source) {
    let manifest = source.manifest;
    let equipment = Equipment::of(manifest.acceptance.claim.device.as_ref(), &manifest.item.facts);
    to.put(tags::MANUFACTURER, VR::LO, description(&equipment.manufacturer, LO_MAX));
    to.put_some(tags::MANUFACTURER_MODEL_NAME, VR::LO, description(&equipment.model, LO_MAX));
    to.put_values(tags::SOFTWARE_VERSIONS, VR::LO, equipment.software.iter().map(|s| description(s, LO_MAX)));
    let site = &source.binding.site;
    to.put_some(tags::INSTITUTION_NAME, VR::LO, description(&site.institution, LO_MAX));
    to.put_some(tags::INSTITUTIONAL_DEPARTMENT_NAME, VR::LO, description(&site.department_name, LO_MAX));
    to.put_items(tags::INSTITUTIONAL_DEPARTMENT_TYPE_CODE_SEQUENCE, site.department_type.as_ref().and_then(code_of));
}

/// Enhanced General Equipment (§C.7.5.2): what General Equipment has must have a value. The serial
/// number of a phone is never taken.
pub(super) fn enhanced_equipment(to: &mut DataSet) {
    let must = [tags::MANUFACTURER, tags::MANUFACTURER_MODEL_NAME, tags::DEVICE_SERIAL_NUMBER, tags::SOFTWARE_VERSIONS];
    for tag in must {
        to.put_where_empty(tag, VR::LO, "UNKNOWN");
    }
}

/// Dermoscopic Image (§C.8.12.13): of the dermoscope nothing is known, and nobody has looked
/// whether a fingerprint is seen, so it is not denied.
pub(super) fn dermoscopic_image(to: &mut DataSet) {
    to.put(tags::RECOGNIZABLE_VISUAL_FEATURES, VR::CS, "YES");
    to.put(tags::LIGHT_SOURCE_POLARIZATION, VR::CS, "");
    to.put(tags::EMITTER_COLOR_TEMPERATURE, VR::DS, "");
    to.put(tags::CONTACT_METHOD, VR::CS, "");
    to.put(tags::OPTICAL_MAGNIFICATION_FACTOR, VR::DS, "");
}

/// SC Image (§C.8.6.2): when the gateway made an object of it.
pub(super) fn secondary_image(to: &mut DataSet, source: &Source) {
    let made = source.moment.local(source.binding.bound_at);
    to.put(tags::DATE_OF_SECONDARY_CAPTURE, VR::DA, date(made.date()));
    to.put(tags::TIME_OF_SECONDARY_CAPTURE, VR::TM, time(made));
}

/// General Acquisition (§C.7.10.1); nothing where the time of capture is not known.
pub(super) fn general_acquisition(to: &mut DataSet, source: &Source) {
    let moment = &source.moment;
    if moment.is_capture_time {
        to.put(tags::ACQUISITION_DATE_TIME, VR::DT, moment.date_time(moment.content));
        to.put(tags::ACQUISITION_DATE, VR::DA, date(moment.content.date()));
        to.put(tags::ACQUISITION_TIME, VR::TM, time(moment.content));
    }
}

/// General Image (§C.7.6.1) and General Reference (§C.12.4).
pub(super) fn general_image(to: &mut DataSet, source: &Source) {
    let claim = &source.manifest.acceptance.claim;
    to.put(tags::INSTANCE_NUMBER, VR::IS, source.instance_number.to_string());
    // Required for want of an image plane, and empty because a photographer's stance is not known.
    to.put(tags::PATIENT_ORIENTATION, VR::CS, "");
    to.put(tags::CONTENT_DATE, VR::DA, date(source.moment.content.date()));
    to.put(tags::CONTENT_TIME, VR::TM, time(source.moment.content));
    // A photographed form shows a name and a signature.
    let burned_in = if claim.view == Some(View::ConsentForm) { "YES" } else { "NO" };
    to.put(tags::BURNED_IN_ANNOTATION, VR::CS, burned_in);
    let is_coded_again = matches!(source.picture.history, LossyHistory::Reencoded { .. });
    let is_derived = is_coded_again || source.picture.history == LossyHistory::Trimmed;
    let first = if is_derived { "DERIVED" } else { "ORIGINAL" };
    to.put_values(tags::IMAGE_TYPE, VR::CS, [first.to_owned(), "PRIMARY".to_owned()]);
    if is_derived {
        let is_of_film = source.burst.is_some_and(|burst| burst.is_of_film);
        let text = match source.picture.pixels {
            _ if !is_coded_again => {
                "Cut at one edge or two by less than a unit of its coding (8 to 32 pixels), so that it could be turned upright with no sample changed"
            }
            Pixels::Jpeg { .. } if is_of_film => {
                "Still pictures at even distances out of a video, which is not here because it could not be sent; decoded, turned upright and compressed again as JPEG baseline"
            }
            Pixels::Jpeg { .. } => {
                "Decoded and compressed again as JPEG baseline, because the source as it was coded could not be sent, or not be turned upright"
            }
            Pixels::Video { .. } => {
                "Decoded, turned upright and compressed again as H.264, because no transfer syntax carries the source as it was coded or turned"
            }
            Pixels::Native { .. } | Pixels::Document { .. } => {
                "Decoded to native samples, because no transfer syntax carries the source as it was coded"
            }
        };
        to.put(tags::DERIVATION_DESCRIPTION, VR::ST, description(text, ST_MAX));
        if is_coded_again {
            to.put_items(tags::DERIVATION_CODE_SEQUENCE, macros::code("113040", "DCM", "Lossy Compression"));
        }
    }
}

/// Lossy compression, part of General Image, with the VL Image Module's Type 2 (§C.8.12.1): the
/// steps in their order, one ratio for each method.
pub(super) fn lossy_compression(to: &mut DataSet, source: &Source) {
    let picture = source.picture;
    let mut steps = match picture.history {
        LossyHistory::Reencoded { from: Some(step) } => vec![step],
        LossyHistory::Original | LossyHistory::Trimmed | LossyHistory::Lossless | LossyHistory::Reencoded { from: None } => {
            Vec::new()
        }
    };
    let coded = match picture.pixels {
        Pixels::Jpeg { length } => Some((LossyMethod::Jpeg, length)),
        Pixels::Video { syntax: Syntax::HevcMain, length } => Some((LossyMethod::Hevc, length)),
        Pixels::Video { length, .. } => Some((LossyMethod::Avc, length)),
        Pixels::Native { .. } | Pixels::Document { .. } => None,
    };
    if let Some((method, length)) = coded {
        let area = u64::from(picture.width) * u64::from(picture.height) * u64::from(picture.samples);
        let stills = source.burst.map_or(1, |burst| burst.still_bytes.len() as u64);
        let (frames, bytes) = source.cine.map_or((stills, length), |cine| (u64::from(cine.frames), cine.picture_bytes));
        #[allow(clippy::cast_precision_loss)] // a ratio of three digits
        let ratio = area.saturating_mul(frames) as f64 / bytes.max(1) as f64;
        steps.push(LossyStep { method, ratio });
    }
    to.put(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if steps.is_empty() { "00" } else { "01" });
    to.put_values(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, steps.iter().map(|s| decimal(s.ratio)));
    to.put_values(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, steps.iter().map(|s| s.method.term().to_owned()));
}

/// Image Pixel (§C.7.6.3) as the VL Image Module narrows it (§C.8.12.1.1): 8 bits, unsigned. No
/// Pixel Aspect Ratio: 1\1 must not be written.
pub(super) fn image_pixel(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let picture = source.picture;
    let side = |pixels: u32| u16::try_from(pixels).map_err(|_| DicomError::Picture("a side is longer than 65535"));
    to.put_number(tags::ROWS, side(picture.height)?);
    to.put_number(tags::COLUMNS, side(picture.width)?);
    to.put_number(tags::SAMPLES_PER_PIXEL, u16::from(picture.samples));
    // YBR_FULL_422 whatever the chroma sampling of a JPEG stream (§C.7.6.3.1.2).
    let photometric = match (picture.samples, picture.pixels) {
        (1, _) => "MONOCHROME2",
        (_, Pixels::Jpeg { .. }) => "YBR_FULL_422",
        (_, Pixels::Video { .. }) => "YBR_PARTIAL_420",
        (_, Pixels::Native { .. } | Pixels::Document { .. }) => "RGB",
    };
    to.put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
    if picture.samples > 1 {
        to.put_number(tags::PLANAR_CONFIGURATION, 0);
    }
    to.put_number(tags::BITS_ALLOCATED, 8);
    to.put_number(tags::BITS_STORED, 8);
    to.put_number(tags::HIGH_BIT, 7);
    to.put_number(tags::PIXEL_REPRESENTATION, 0);
    Ok(())
}

/// What is seen, and on which side (§C.8.12.1, §C.7.3.1).
pub(super) fn anatomy(to: &mut DataSet, source: &Source) {
    let claim = &source.manifest.acceptance.claim;
    let known = claim.body_site.as_ref().and_then(codes::find_site);
    // The meaning is that of the table, so that it never contradicts the code.
    let coded = known.map(Entry::to_site).or_else(|| claim.body_site.clone());
    if let Some(site) = coded {
        to.put_items(tags::ANATOMIC_REGION_SEQUENCE, macros::code(&site.code, &site.scheme, &site.meaning));
    }
    to.put_some(tags::BODY_PART_EXAMINED, VR::CS, known.map(|r| r.term).unwrap_or_default());
    // One of the two and never both: Image Laterality where the side is known, or where there is
    // only one such part; else an empty Laterality, which says "not known".
    match codes::image_laterality(known, claim.laterality) {
        Some(side) => to.put(tags::IMAGE_LATERALITY, VR::CS, side.term()),
        None => to.put(tags::LATERALITY, VR::CS, ""),
    }
}

/// ICC Profile (§C.11.15), for colour.
pub(super) fn icc_profile(to: &mut DataSet, source: &Source, notes: &mut Vec<&'static str>) {
    let Some(profile) = &source.picture.icc_profile else { return };
    match icc::input_class(profile).filter(|_| source.picture.samples == 3) {
        Some(profile) => to.put_bytes(tags::ICC_PROFILE, profile),
        None => notes.push("the colour profile does not fit the samples and was left out"),
    }
}

/// SOP Common (§C.12.1).
pub(super) fn sop_common(to: &mut DataSet, source: &Source) {
    // One value, and no code extensions beside it (§C.12.1.1.2).
    to.put(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    to.put(tags::SOP_CLASS_UID, VR::UI, source.iod.sop_class);
    to.put(tags::SOP_INSTANCE_UID, VR::UI, source.manifest.item.sop_instance_uid.as_str());
    let created = source.moment.local(source.binding.bound_at);
    to.put(tags::INSTANCE_CREATION_DATE, VR::DA, date(created.date()));
    to.put(tags::INSTANCE_CREATION_TIME, VR::TM, time(created));
    to.put(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, source.moment.offset_text());
}

/// The gateway's own part in the object (§C.12.1.1.5).
pub(super) fn contribution(source: &Source) -> DataSet {
    let done = match source.picture.history {
        _ if matches!(source.picture.pixels, Pixels::Document { .. }) => "metadata removed, pages kept, encapsulated",
        LossyHistory::Original if source.cine.is_some() => {
            "metadata removed, coded pictures kept, put into a flat MP4 file, encapsulated"
        }
        LossyHistory::Original if source.burst.is_some() => {
            "metadata removed, coefficients kept, stills of a burst put into one object, encapsulated"
        }
        LossyHistory::Original => "metadata removed, coefficients kept, encapsulated",
        LossyHistory::Trimmed => "metadata removed, cut at an edge, coefficients kept, encapsulated",
        LossyHistory::Lossless => "metadata removed, samples kept, wrapped",
        LossyHistory::Reencoded { .. } => "metadata removed, coded again, wrapped",
    };
    let mut item = DataSet::new();
    item.put_items(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, macros::code("109103", "DCM", "Modifying Equipment"));
    item.put(tags::MANUFACTURER, VR::LO, PRODUCT);
    item.put(tags::MANUFACTURER_MODEL_NAME, VR::LO, PRODUCT);
    item.put_some(tags::INSTITUTION_NAME, VR::LO, description(&source.binding.site.institution, LO_MAX));
    item.put_some(tags::SOFTWARE_VERSIONS, VR::LO, description(&source.binding.gateway_version, LO_MAX));
    item.put(tags::CONTRIBUTION_DATE_TIME, VR::DT, source.moment.date_time(source.moment.local(source.binding.bound_at)));
    item.put(tags::CONTRIBUTION_DESCRIPTION, VR::ST, done);
    item
}

/// SC Equipment (§C.8.6.1): the gateway, which made an object of a file.
pub(super) fn capture_equipment(to: &mut DataSet, source: &Source, conversion_type: &str) {
    to.put(tags::CONVERSION_TYPE, VR::CS, conversion_type);
    to.put(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER, VR::LO, PRODUCT);
    to.put(tags::SECONDARY_CAPTURE_DEVICE_MANUFACTURER_MODEL_NAME, VR::LO, PRODUCT);
    let version = description(&source.binding.gateway_version, LO_MAX);
    to.put_some(tags::SECONDARY_CAPTURE_DEVICE_SOFTWARE_VERSIONS, VR::LO, version);
}
