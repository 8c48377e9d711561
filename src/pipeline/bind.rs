//! Which study and series a capture belongs to, and everything else that is frozen with it.
//!
//! Precedence of the study: the order's own UID, used verbatim, be it the hospital's message or a
//! worklist or an archive that says it; this gateway's record for the same order; the encounter rule; a
//! study of its own. UIDs that are made here are
//! keyed hashes of what they stand for, so that a rebuilt index makes the same ones again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::identify::{Doubt, Match};
use crate::capture::binding::{SeriesBinding, SiteNames, StudyBinding};
use crate::capture::order::Code;
use crate::capture::record::{Acceptance, Digest, ItemFacts, Manifest};
use crate::capture::{Binding, Equipment, FailureCode, Identifier, MediaClass, Order, Phi, Record, TakenAt, Uid, Visit};
use crate::dicom::codes::{self, Entry};
use crate::journal::StudyRow;
use crate::seal::digest::hmac_sha256;

/// Study ID is SH (PS3.5 §6.2).
const STUDY_ID_MAX: usize = 16;

/// What every binding of this gateway shares.
pub struct Place {
    pub institution: String,
    pub timezone: String,
    pub departments: Vec<Department>,
    /// Key of the UIDs made here; never leaves the gateway.
    pub uid_key: [u8; 32],
    pub gateway_version: String,
}

/// What the site says of one department.
#[derive(Clone, Debug)]
pub struct Department {
    pub id: String,
    pub name: String,
    /// What kind of department it is (PS3.16 CID 7030).
    pub kind: Option<Code>,
    /// What is done there where nothing was ordered; `None`: photography, in so many words.
    pub procedure: Option<Code>,
}

impl Place {
    fn department(&self, id: &str) -> Option<&Department> {
        self.departments.iter().find(|d| d.id == id)
    }
}

/// The row under which a study is remembered, and the UID it has or would get.
#[derive(Clone)]
pub struct StudyKey {
    pub row: Digest,
    pub uid: Uid,
}

/// The key of the study, then those that it had before its patient's numbers were merged: where
/// there is a row under one of them, the study was begun and goes on.
///
/// # Errors
/// A [`Doubt`] where the order's own UID is not one.
pub fn study_keys(found: &Match, record: &Record, place: &Place) -> Result<(StudyKey, Vec<StudyKey>), Doubt> {
    let (patient, visit, order) = (&found.patient, found.visit.as_ref(), found.order.as_ref());
    let procedure = procedure(order, &record.acceptance.claim.department, place).code;
    let key = |id| study_key(id, visit, order, record, place, &procedure);
    let before = patient.other_ids.iter().chain(&found.prior_ids).map(key).collect::<Result<_, _>>()?;
    Ok((key(&patient.identifier)?, before))
}

fn study_key(
    patient: &Identifier,
    visit: Option<&Visit>,
    order: Option<&Order>,
    record: &Record,
    place: &Place,
    procedure: &str,
) -> Result<StudyKey, Doubt> {
    if let Some(order) = order {
        if !order.study_instance_uid.is_empty() {
            let uid = Uid::parse(&order.study_instance_uid)
                .map_err(|e| (FailureCode::WrapFailed, format!("the order's Study Instance UID is {e}")))?;
            return Ok(StudyKey { row: study_of_uid(&uid, place), uid });
        }
        let number = [&order.accession, &order.filler, &order.placer].into_iter().find(|n| !n.is_empty());
        if let Some(number) = number {
            return Ok(study_of_order(patient, number, place));
        }
    }
    let department = record.acceptance.claim.department.as_bytes();
    let day = started(record, &zone(place)).date().to_string();
    match visit {
        Some(visit) => {
            let (person, visit) = (person(patient), visit.id.expose().as_bytes());
            Ok(made_from(place, &[b"encounter", &person, visit, department, procedure.as_bytes(), day.as_bytes()]))
        }
        // With the person: a capture that is assigned to another one gets another study.
        None => Ok(made_from(place, &[b"session", &person(patient), &record.id().to_bytes()])),
    }
}

/// The row of a study whose UID somebody else made.
#[must_use]
pub fn study_of_uid(uid: &Uid, place: &Place) -> Digest {
    hmac_sha256(&place.uid_key, &[b"study-of-uid", uid.as_str().as_bytes()])
}

/// The study that an order has here, where nobody else says which.
fn study_of_order(patient: &Identifier, number: &Phi, place: &Place) -> StudyKey {
    made_from(place, &[b"order", &person(patient), number.expose().as_bytes()])
}

/// Under which keys an order is known here, by one number of its patient.
pub struct OrderKeys {
    /// Of what others said of it.
    pub told: Digest,
    /// Of what they said where the hospital had not named its procedure yet.
    pub told_of_any: Digest,
    /// Of the study that was begun for its accession number.
    pub begun: Digest,
}

/// By the number that the patient has now, then by those before.
pub fn order_keys(found: &Match, order: &Order, place: &Place) -> impl Iterator<Item = OrderKeys> {
    let numbers = std::iter::once(&found.patient.identifier).chain(&found.patient.other_ids).chain(&found.prior_ids);
    numbers.map(|number| OrderKeys {
        told: told_key(number, order, &order.requested_procedure_id, place),
        told_of_any: told_key(number, order, &Phi::default(), place),
        begun: study_of_order(number, &order.accession, place).row,
    })
}

/// One accession number may stand for several requested procedures, each with a study of its own.
fn told_key(patient: &Identifier, order: &Order, procedure_id: &Phi, place: &Place) -> Digest {
    let (accession, procedure_id) = (order.accession.expose().as_bytes(), procedure_id.expose().as_bytes());
    hmac_sha256(&place.uid_key, &[b"told", &person(patient), accession, procedure_id])
}

/// What a binding tells of an order whose study somebody else knows, and its key: so that it is not asked
/// about again.
#[must_use]
pub fn told_order(binding: &Binding, place: &Place) -> Option<(Digest, Order)> {
    let (order, procedure_id) = (binding.order.as_ref()?, binding.told_for.as_ref()?);
    let told = binding.told.as_ref().unwrap_or(order).clone();
    Some((told_key(&binding.patient.identifier, order, procedure_id, place), told))
}

/// As the hospital named it; empty without an order.
fn procedure_id(order: Option<&Order>) -> Phi {
    order.map(|order| order.requested_procedure_id.clone()).unwrap_or_default()
}

/// What is done: as ordered, else as the department does.
fn procedure(order: Option<&Order>, department: &str, place: &Place) -> Code {
    let ordered = order.map(|o| &o.procedure).filter(|p| !p.code.is_empty());
    let known = ordered.or_else(|| place.department(department)?.procedure.as_ref()).cloned();
    known.or_else(|| codes::procedures().first().map(Entry::to_code)).unwrap_or_default()
}

/// Freezes a capture: its binding, and the study's row with the numbers this capture used up. What
/// the first capture of a study said of it holds for all (PS3.3 §C.7.2.1 is per study).
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
    let mut row = row.unwrap_or_else(|| StudyRow {
        study: begin_study(&found, record, key, place),
        patient,
        begun_for: Some(found.patient.identifier.clone()),
        procedures: BTreeSet::new(),
        next_series_number: 1,
        last_capture_at: now,
    });
    // A number that was merged into another still names the same person.
    let mut others = found.patient.other_ids.iter().chain(&found.prior_ids);
    if row.patient != patient && !others.any(|other| row.patient == patient_digest(other, place)) {
        return Err((FailureCode::IdentityDisagrees, "the study of this order was begun for another patient".to_owned()));
    }
    row.patient = patient;
    row.procedures.insert(procedure_id(found.order.as_ref()));
    row.last_capture_at = now;
    let acceptance = &record.acceptance;
    let mut series = Vec::new();
    let mut enter = |item: &ItemFacts| enter_series(&mut series, &mut row, acceptance, item, place);
    let item_series = record.items.iter().map(|item| enter(&item.facts)).collect();
    let department = &acceptance.claim.department;
    let binding = Binding {
        version: Binding::VERSION,
        patient: found.patient,
        visit: found.visit,
        order: found.order,
        study: row.study.clone(),
        series,
        item_series,
        instance_numbers: (1..).zip(&record.items).map(|(number, _)| number).collect(),
        site: SiteNames {
            institution: place.institution.clone(),
            department_id: department.clone(),
            department_name: place.department(department).map_or(department, |d| &d.name).clone(),
            department_type: place.department(department).and_then(|d| d.kind.clone()),
            timezone: place.timezone.clone(),
        },
        assigned: None,
        told_for: None,
        in_hevc: Some(Vec::new()),
        told: None,
        notes: found.notes,
        archives: record.items.iter().map(|item| item.legs.iter().map(|leg| leg.archive.clone()).collect()).collect(),
        bound_at: now,
        gateway_version: place.gateway_version.clone(),
    };
    Ok((binding, row))
}

fn begin_study(found: &Match, record: &Record, key: &StudyKey, place: &Place) -> StudyBinding {
    let department = &record.acceptance.claim.department;
    let procedure = procedure(found.order.as_ref(), department, place);
    let ordered = found.order.as_ref().map(|o| &o.procedure.meaning).filter(|m| !m.is_empty()).cloned();
    let known = place.department(department);
    let usual = known.and_then(|d| d.procedure.as_ref()).map(|p| p.meaning.clone());
    let name = known.map_or(department, |d| &d.name);
    let visit = found.visit.as_ref();
    StudyBinding {
        instance_uid: key.uid.clone(),
        started: started(record, &zone(place)),
        id: study_id(found, key),
        description: ordered.or(usual).unwrap_or_else(|| format!("Photography, {name}")),
        procedure,
        referring: visit.map(|v| v.referring.clone()).unwrap_or_default(),
        attending: visit.map(|v| v.attending.clone()).unwrap_or_default(),
        requesting_service: visit.map(|v| v.department.clone()).unwrap_or_default(),
    }
}

/// The place in `series` of the one that `item` belongs to: one session, one kind of object, one
/// device. A new one takes the next number of its study; a number is taken once and never again.
pub(super) fn enter_series(
    series: &mut Vec<SeriesBinding>,
    row: &mut StudyRow,
    acceptance: &Acceptance,
    item: &ItemFacts,
    place: &Place,
) -> u16 {
    let equipment = Equipment::of(acceptance.claim.device.as_ref(), &item.facts);
    let (study, session) = (row.study.instance_uid.as_str().as_bytes(), acceptance.id.to_bytes());
    let kind = MediaClass::of(item.media).word().as_bytes();
    let mut parts: Vec<&[u8]> = vec![b"series", study, &session, kind];
    parts.extend([&equipment.manufacturer, &equipment.model].map(String::as_bytes));
    parts.extend(equipment.software.iter().map(String::as_bytes));
    let instance_uid = Uid::from_uuid_bytes(head(&hmac_sha256(&place.uid_key, &parts)));
    let at = series.iter().position(|s| s.instance_uid == instance_uid).unwrap_or_else(|| {
        let number = row.next_series_number;
        row.next_series_number = number.saturating_add(1);
        let started = taken(item, acceptance, &zone(place));
        series.push(SeriesBinding { instance_uid, number, started });
        series.len() - 1
    });
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// What of an item's object is another one's in its Secondary Capture: the instance, and the series,
/// for one series has one class (PS3.3 §A.1.2.3). Made of what is replaced, so that they are the same
/// whenever they are made.
#[must_use]
pub fn stand_in(binding: &Binding, mut manifest: Manifest, place: &Place) -> (Binding, Manifest) {
    /// A study counts its own series from 1 and never comes so far.
    const NUMBERS_FROM: u32 = 1_000_000;
    let of = |uid: &Uid| {
        let uuid = hmac_sha256(&place.uid_key, &[b"secondary-capture", uid.as_str().as_bytes()]);
        Uid::from_uuid_bytes(head(&uuid))
    };
    let mut binding = binding.clone();
    for series in &mut binding.series {
        series.instance_uid = of(&series.instance_uid);
        series.number = series.number.saturating_add(NUMBERS_FROM);
    }
    manifest.item.sop_instance_uid = of(&manifest.item.sop_instance_uid);
    (binding, manifest)
}

/// The row key of the study that a binding names; made again, it is the same.
///
/// # Errors
/// As for [`study_keys`].
pub fn bound_study(binding: &Binding, record: &Record, place: &Place) -> Result<Digest, Doubt> {
    let (visit, order) = (binding.visit.as_ref(), binding.order.as_ref());
    study_key(&binding.patient.identifier, visit, order, record, place, &binding.study.procedure.code).map(|key| key.row)
}

/// The study's row after a binding that was sealed before a crash kept the row from being
/// written: the number it took stays taken.
#[must_use]
pub fn restore(binding: &Binding, row: Option<StudyRow>, place: &Place) -> StudyRow {
    let mut row = row.unwrap_or_else(|| StudyRow {
        study: binding.study.clone(),
        patient: patient_digest(&binding.patient.identifier, place),
        begun_for: Some(binding.patient.identifier.clone()),
        procedures: BTreeSet::new(),
        next_series_number: 1,
        last_capture_at: binding.bound_at,
    });
    row.procedures.insert(procedure_id(binding.order.as_ref()));
    let last = binding.series.iter().map(|s| s.number).max().unwrap_or_default();
    row.next_series_number = row.next_series_number.max(last.saturating_add(1));
    row
}

/// Whom a study was begun for, where that is written otherwise than this patient.
#[must_use]
pub fn former_owner(row: &StudyRow, patient: &Identifier, place: &Place) -> Option<Identifier> {
    row.begun_for.clone().filter(|_| row.patient != patient_digest(patient, place))
}

/// The study is another identifier's of the same person from now on.
pub fn hand_over(row: &mut StudyRow, patient: &Identifier, place: &Place) {
    row.patient = patient_digest(patient, place);
    row.begun_for = Some(patient.clone());
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

/// When the first picture was taken.
fn started(record: &Record, zone: &TimeZone) -> DateTime {
    let accepted_at = record.acceptance.accepted_at;
    let is_dated = |item: &&ItemFacts| TakenAt::first_possible([item.facts.taken_at, None], zone, accepted_at).is_some();
    let mut items = record.items.iter().map(|item| &item.facts);
    match items.clone().find(is_dated).or(items.next()) {
        Some(item) => taken(item, &record.acceptance, zone),
        None => zone.to_datetime(accepted_at),
    }
}

/// On the site's wall clock: the camera's word, else the app's, else the hour of the upload.
fn taken(item: &ItemFacts, acceptance: &Acceptance, zone: &TimeZone) -> DateTime {
    let told = [item.facts.taken_at, acceptance.claim.taken_at];
    zone.to_datetime(TakenAt::first_possible(told, zone, acceptance.accepted_at).unwrap_or(acceptance.accepted_at))
}

/// All that a person is told of a capture that is bound: of its files, of its times, of whose it is.
#[must_use]
pub fn notes(record: &Record, binding: &Binding, place: &Place) -> Vec<String> {
    record.turn_notes().chain(clock_notes(record, place)).chain(binding.notes.iter().cloned()).collect()
}

/// A note for each time of capture that was not used, because it lies in the future.
fn clock_notes(record: &Record, place: &Place) -> impl Iterator<Item = String> {
    let (zone, accepted_at) = (zone(place), record.acceptance.accepted_at);
    let is_ahead = move |taken: Option<TakenAt>| taken.is_some_and(|taken| taken.is_ahead(&zone, accepted_at));
    let files = record.items.iter().zip(1..).map(|(item, number)| (format!("File {number}"), item.facts.facts.taken_at));
    let told = files.chain([("The claim".to_owned(), record.acceptance.claim.taken_at)]);
    told.filter(move |(_, taken)| is_ahead(*taken)).map(|(whose, _)| {
        format!(
            "{whose}: its time of capture was in the future when it came, so the phone's clock was ahead, or it runs in another zone than the site. It was not used; look whether the date of the objects is right."
        )
    })
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
