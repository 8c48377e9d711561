//! Which study and series a capture belongs to, and everything else that is frozen with it.
//!
//! Precedence of the study: the order's own UID, used verbatim; this gateway's
//! record for the same order; the encounter rule; a study of its own. UIDs that are made here are
//! keyed hashes of what they stand for, so that a rebuilt index makes the same ones again.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::identify::{Doubt, Match};
use crate::capture::binding::{SeriesBinding, SiteNames, StudyBinding};
use crate::capture::record::Digest;
use crate::capture::{Binding, FailureCode, Identifier, MediaKind, Phi, Record, TakenAt, Uid};
use crate::journal::StudyRow;
use crate::seal::digest::hmac_sha256;

/// Study ID is SH (PS3.5 §6.2).
const STUDY_ID_MAX: usize = 16;

/// What every binding of this gateway shares.
pub struct Place {
    pub institution: String,
    pub timezone: String,
    /// (id, name) of each department.
    pub departments: Vec<(String, String)>,
    /// Key of the UIDs made here; never leaves the gateway.
    pub uid_key: [u8; 32],
    pub gateway_version: String,
}

/// The row under which a study is remembered, and the UID it has or would get.
pub struct StudyKey {
    pub row: Digest,
    pub uid: Uid,
}

/// # Errors
/// A [`Doubt`] where the order's own UID is not one.
pub fn study_key(found: &Match, record: &Record, place: &Place) -> Result<StudyKey, Doubt> {
    let patient = &found.patient.identifier;
    if let Some(order) = &found.order {
        if !order.study_instance_uid.is_empty() {
            let uid = Uid::parse(&order.study_instance_uid)
                .map_err(|e| (FailureCode::WrapFailed, format!("the order's Study Instance UID is {e}")))?;
            return Ok(StudyKey { row: hmac_sha256(&place.uid_key, &[b"study-of-uid", uid.as_str().as_bytes()]), uid });
        }
        let number = [&order.accession, &order.filler, &order.placer].into_iter().find(|n| !n.is_empty());
        if let Some(number) = number {
            return Ok(made_from(place, &[b"order", &person(patient), number.expose().as_bytes()]));
        }
    }
    let claim = &record.acceptance.claim;
    let day = started(record, &zone(place)).date().to_string();
    match &found.visit {
        Some(visit) => Ok(made_from(
            place,
            &[b"encounter", &person(patient), visit.id.expose().as_bytes(), claim.department.as_bytes(), day.as_bytes()],
        )),
        // With the person: a capture that is assigned to another one gets another study.
        None => Ok(made_from(place, &[b"session", &person(patient), &record.id().to_bytes()])),
    }
}

/// Freezes a capture: its binding, and the study's row with the numbers this capture used up.
///
/// # Errors
/// A [`Doubt`] where the study is known as another patient's.
pub fn bind(
    found: Match,
    record: &Record,
    key: &StudyKey,
    row: Option<StudyRow>,
    place: &Place,
    now: Timestamp,
) -> Result<(Binding, StudyRow), Doubt> {
    let patient = patient_digest(&found.patient.identifier, place);
    let started = started(record, &zone(place));
    let mut row = row.unwrap_or_else(|| StudyRow {
        study: StudyBinding { instance_uid: key.uid.clone(), started, id: study_id(&found, key) },
        patient,
        next_series_number: 1,
        last_capture_at: now,
    });
    if row.patient != patient {
        return Err((FailureCode::IdentityDisagrees, "the study of this order was begun for another patient".to_owned()));
    }
    row.last_capture_at = now;
    let items = u32::try_from(record.items.len()).unwrap_or(u32::MAX);
    let series = next_series(&mut row, record, b"", started, place);
    let has_documents = record.items.iter().any(|item| item.facts.media == MediaKind::Pdf);
    let document_series = has_documents.then(|| next_series(&mut row, record, b"document", started, place));
    let department = &record.acceptance.claim.department;
    let department_name = place.departments.iter().find(|(id, _)| id == department).map_or(department, |(_, name)| name);
    let binding = Binding {
        version: Binding::VERSION,
        patient: found.patient,
        visit: found.visit,
        order: found.order,
        study: row.study.clone(),
        series,
        document_series,
        instance_numbers: (1..=items).collect(),
        site: SiteNames {
            institution: place.institution.clone(),
            department_id: department.clone(),
            department_name: department_name.clone(),
            timezone: place.timezone.clone(),
        },
        assigned: None,
        bound_at: now,
        gateway_version: place.gateway_version.clone(),
    };
    Ok((binding, row))
}

/// One capture session is one series for each kind of object; a number is taken once and never
/// again. `kind` is empty for pictures.
fn next_series(row: &mut StudyRow, record: &Record, kind: &[u8], started: DateTime, place: &Place) -> SeriesBinding {
    let study = row.study.instance_uid.as_str().as_bytes();
    let id = record.id().to_bytes();
    let parts: &[&[u8]] = if kind.is_empty() { &[b"series", study, &id] } else { &[b"series", study, &id, kind] };
    let uid = hmac_sha256(&place.uid_key, parts);
    let number = row.next_series_number;
    row.next_series_number = number.saturating_add(1);
    SeriesBinding { instance_uid: Uid::from_uuid_bytes(head(&uid)), number, started }
}

/// The row key of the study that a binding names; made again, it is the same.
///
/// # Errors
/// As for [`study_key`].
pub fn bound_study(binding: &Binding, record: &Record, place: &Place) -> Result<Digest, Doubt> {
    let (patient, visit, order) = (binding.patient.clone(), binding.visit.clone(), binding.order.clone());
    let found = Match { patient, visit, order, notes: Vec::new() };
    study_key(&found, record, place).map(|key| key.row)
}

/// The study's row after a binding that was sealed before a crash kept the row from being
/// written: the number it took stays taken.
#[must_use]
pub fn restore(binding: &Binding, row: Option<StudyRow>, place: &Place) -> StudyRow {
    let mut row = row.unwrap_or_else(|| StudyRow {
        study: binding.study.clone(),
        patient: patient_digest(&binding.patient.identifier, place),
        next_series_number: 1,
        last_capture_at: binding.bound_at,
    });
    let last = binding.document_series.as_ref().map_or(binding.series.number, |s| s.number.max(binding.series.number));
    row.next_series_number = row.next_series_number.max(last.saturating_add(1));
    row
}

fn patient_digest(identifier: &Identifier, place: &Place) -> Digest {
    hmac_sha256(&place.uid_key, &[b"patient", &person(identifier)])
}

/// Stands for a patient where captures are kept in order: two that share one by chance wait for
/// each other, no more.
#[must_use]
pub fn patient_key(identifier: &Identifier, place: &Place) -> u64 {
    patient_digest(identifier, place).first_chunk().copied().map_or(0, u64::from_be_bytes)
}

fn made_from(place: &Place, parts: &[&[u8]]) -> StudyKey {
    let row = hmac_sha256(&place.uid_key, parts);
    let uid = hmac_sha256(&place.uid_key, &[b"study-uid", &row]);
    StudyKey { row, uid: Uid::from_uuid_bytes(head(&uid)) }
}

fn study_id(found: &Match, key: &StudyKey) -> String {
    let ordered = found.order.as_ref().map(|o| &o.requested_procedure_id).map(Phi::expose);
    match ordered.filter(|id| !id.is_empty() && id.chars().count() <= STUDY_ID_MAX) {
        Some(id) => id.to_owned(),
        None => key.row.iter().take(STUDY_ID_MAX / 2).fold(String::new(), |text, b| format!("{text}{b:02X}")),
    }
}

/// A patient, unmistakably: the authority's OID where there is one, else its name.
fn person(identifier: &Identifier) -> Vec<u8> {
    let authority = if identifier.issuer_universal_id.is_empty() { &identifier.issuer } else { &identifier.issuer_universal_id };
    let mut bytes = authority.clone().into_bytes();
    bytes.push(0);
    bytes.extend_from_slice(identifier.id.expose().as_bytes());
    bytes
}

/// When the first picture was taken, on the site's wall clock: the camera's word, else the app's,
/// else the hour of the upload.
fn started(record: &Record, zone: &TimeZone) -> DateTime {
    let acceptance = &record.acceptance;
    record
        .items
        .iter()
        .filter_map(|i| i.facts.facts.taken_at)
        .chain(acceptance.claim.taken_at)
        .map(|taken| on_site(taken, zone))
        .next()
        .unwrap_or_else(|| zone.to_datetime(acceptance.accepted_at))
}

fn on_site(taken: TakenAt, zone: &TimeZone) -> DateTime {
    match taken.offset.and_then(|offset| offset.to_timestamp(taken.local).ok()) {
        Some(instant) => zone.to_datetime(instant),
        None => taken.local,
    }
}

fn zone(place: &Place) -> TimeZone {
    TimeZone::get(&place.timezone).unwrap_or(TimeZone::UTC)
}

fn head(digest: &Digest) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = *from;
    }
    bytes
}
