//! The JSON of the API (`api-spec/openapi.yaml`): captures out, questions in, answers out.

use serde_json::{Map, Value, json};

use crate::capture::claim::{ClaimError, OrderKey, PatientKey};
use crate::capture::record::Schedule;
use crate::capture::{CaptureId, Failure, ItemRecord, Leg, Phi, Record};
use crate::lookup::{Answer, Asked};
use crate::pipeline::Reason;
use crate::seal::digest::hex;

/// Longest identifier in a question: Patient ID is LO (PS3.5 §6.2).
const ID_MAX_CHARS: usize = 64;
/// Longest UID (PS3.5 §9.1); the rest of an order's names are LO or SH.
const ISSUER_MAX_CHARS: usize = 64;

/// What `201` answers.
#[must_use]
pub fn receipt(record: &Record) -> Value {
    let items: Vec<Value> = items(record).map(|(id, item)| Value::Object(receipt_item(&id, item))).collect();
    json!({
        "id": record.id(),
        "stage": record.stage(),
        "study_instance_uid": record.study_instance_uid,
        "items": items,
    })
}

/// The receipt, and how it goes on: per item its failure, and the history.
#[must_use]
pub fn capture(record: &Record) -> Value {
    let item = |(id, item): (String, &ItemRecord)| {
        let mut members = receipt_item(&id, item);
        members.insert("failure".to_owned(), failure(item.failure.as_ref(), &item.schedule));
        members.insert("legs".to_owned(), item.legs.iter().map(leg).collect());
        members.insert("sent_sha256".to_owned(), json!(item.sent_sha256.as_ref().map(|digest| hex(digest))));
        Value::Object(members)
    };
    let items: Vec<Value> = items(record).map(item).collect();
    let history: Vec<Value> = record
        .history
        .iter()
        .map(|e| json!({ "at": e.at, "item": record.id().item(e.item).to_string(), "stage": e.stage, "archive": e.archive, "why": e.why, "by": e.by }))
        .collect();
    json!({
        "id": record.id(),
        "stage": record.stage(),
        "study_instance_uid": record.study_instance_uid,
        "accepted_at": record.acceptance.accepted_at,
        "items": items,
        "notes": record.notes,
        "history": history,
    })
}

/// One page of captures.
#[must_use]
pub fn page(records: &[Record], next: Option<CaptureId>) -> Value {
    json!({ "items": records.iter().map(capture).collect::<Vec<_>>(), "next": next })
}

fn items(record: &Record) -> impl Iterator<Item = (String, &ItemRecord)> {
    (0u16..).zip(&record.items).map(|(index, item)| (record.id().item(index).to_string(), item))
}

fn receipt_item(id: &str, item: &ItemRecord) -> Map<String, Value> {
    let facts = &item.facts;
    let members = json!({
        "id": id,
        "media": facts.media,
        "size_bytes": facts.size_bytes,
        "sha256": hex(&facts.sha256),
        "sealed_sha256": facts.sealed_sha256.as_ref().map(|digest| hex(digest)),
        "sop_instance_uid": facts.sop_instance_uid,
        "stage": item.stage,
        "location_found": facts.location_found,
        "removed": facts.removed,
        "essence": facts.essence,
        "verifier": facts.verifier,
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The way of an item to one archive.
fn leg(leg: &Leg) -> Value {
    json!({
        "archive": leg.archive,
        "stage": leg.stage,
        "form": leg.form,
        "failure": failure(leg.failure.as_ref(), &leg.schedule),
    })
}

fn failure(failure: Option<&Failure>, schedule: &Schedule) -> Value {
    let Some(failure) = failure else { return Value::Null };
    json!({
        "code": failure.code,
        "class": failure.class,
        "detail": failure.detail,
        "advice": failure.code.advice(),
        "at": failure.at,
        "attempts": schedule.attempts,
        "next_try_at": schedule.due,
    })
}

/// What `POST /lookup` answers.
#[must_use]
pub fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Found(patient) => json!({ "status": "found", "patients": [patient] }),
        Answer::None => json!({ "status": "none", "patients": [] }),
        Answer::Multiple(patients) => json!({ "status": "multiple", "patients": patients }),
    }
}

/// Reads the question of `POST /lookup`.
///
/// # Errors
/// What is wrong, by JSON pointer; no value is repeated.
pub fn asked(value: &Value) -> Result<Asked, Vec<ClaimError>> {
    let wrong = |pointer: &str, detail: &str| vec![ClaimError { pointer: pointer.to_owned(), detail: detail.to_owned() }];
    let one_of = "ask by exactly one of patient, visit, order, barcode";
    let members = value.as_object().ok_or_else(|| wrong("", one_of))?;
    let (Some((name, inner)), 1) = (members.iter().next(), members.len()) else {
        return Err(wrong("", one_of));
    };
    match name.as_str() {
        "patient" => {
            let PatientKey { id, issuer } = patient(inner)?;
            Ok(Asked::Patient { id, issuer })
        }
        "visit" => Ok(Asked::Visit { id: id(object(inner, "/visit", &["id"])?, "/visit", "id")? }),
        "order" => {
            let object = object(inner, "/order", &["accession", "placer", "filler", "study_instance_uid"])?;
            let (Some(key), 1) = (object.keys().next(), object.len()) else {
                return Err(wrong("/order", "name the order by exactly one of accession, placer, filler, study_instance_uid"));
            };
            let value = id(object, "/order", key)?;
            Ok(Asked::Order(match key.as_str() {
                "accession" => OrderKey::Accession(value),
                "placer" => OrderKey::Placer(value),
                "filler" => OrderKey::Filler(value),
                _ => OrderKey::StudyInstanceUid(value),
            }))
        }
        "barcode" => Ok(Asked::Barcode(text(inner, "/barcode", ID_MAX_CHARS)?.into())),
        _ => Err(wrong("", one_of)),
    }
}

fn patient(value: &Value) -> Result<PatientKey, Vec<ClaimError>> {
    let object = object(value, "/patient", &["id", "issuer"])?;
    let issuer = match object.get("issuer") {
        None | Some(Value::Null) => None,
        Some(issuer) => Some(text(issuer, "/patient/issuer", ISSUER_MAX_CHARS)?),
    };
    Ok(PatientKey { id: id(object, "/patient", "id")?, issuer })
}

/// Reads the reason of a decision.
///
/// # Errors
/// As for [`asked`].
pub fn reason(value: &Value) -> Result<Reason, Vec<ClaimError>> {
    reason_of(object(value, "", &["reason"])?)
}

/// Reads the reason and the patient of an assignment.
///
/// # Errors
/// As for [`asked`].
pub fn assignment(value: &Value) -> Result<(Reason, PatientKey), Vec<ClaimError>> {
    let object = object(value, "", &["reason", "patient"])?;
    match (reason_of(object), patient(object.get("patient").unwrap_or(&Value::Null))) {
        (Ok(reason), Ok(patient)) => Ok((reason, patient)),
        (reason, patient) => Err([reason.err(), patient.err()].into_iter().flatten().flatten().collect()),
    }
}

fn reason_of(object: &Map<String, Value>) -> Result<Reason, Vec<ClaimError>> {
    object.get("reason").and_then(Value::as_str).and_then(Reason::parse).ok_or_else(|| {
        let detail = format!("a text of 1 to {} plain characters", Reason::CHARS_MAX);
        vec![ClaimError { pointer: "/reason".to_owned(), detail }]
    })
}

fn object<'v>(value: &'v Value, pointer: &str, known: &[&str]) -> Result<&'v Map<String, Value>, Vec<ClaimError>> {
    let object = value.as_object().filter(|o| o.keys().all(|k| known.contains(&k.as_str())));
    object.ok_or_else(|| vec![ClaimError { pointer: pointer.to_owned(), detail: format!("an object of {}", known.join(", ")) }])
}

fn id(object: &Map<String, Value>, pointer: &str, name: &str) -> Result<Phi, Vec<ClaimError>> {
    text(object.get(name).unwrap_or(&Value::Null), &format!("{pointer}/{name}"), ID_MAX_CHARS).map(Phi::from)
}

fn text(value: &Value, pointer: &str, max_chars: usize) -> Result<String, Vec<ClaimError>> {
    let plain = value.as_str().map(str::trim).filter(|t| !t.is_empty() && t.chars().count() <= max_chars);
    plain.filter(|t| crate::capture::text::is_plain(t)).map(str::to_owned).ok_or_else(|| {
        vec![ClaimError { pointer: pointer.to_owned(), detail: format!("a text of 1 to {max_chars} plain characters") }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_by_one_thing() {
        let phi = Phi::from;
        for (question, then) in [
            (json!({"patient": {"id": " 4711 "}}), Some(Asked::Patient { id: phi("4711"), issuer: None })),
            (
                json!({"patient": {"id": "4711", "issuer": "HOSP"}}),
                Some(Asked::Patient { id: phi("4711"), issuer: Some("HOSP".to_owned()) }),
            ),
            (json!({"visit": {"id": "V1"}}), Some(Asked::Visit { id: phi("V1") })),
            (json!({"order": {"accession": "A1"}}), Some(Asked::Order(OrderKey::Accession(phi("A1"))))),
            (json!({"order": {"study_instance_uid": "1.2"}}), Some(Asked::Order(OrderKey::StudyInstanceUid(phi("1.2"))))),
            (json!({"barcode": "4711"}), Some(Asked::Barcode(phi("4711")))),
            (json!({}), None),
            (json!([]), None),
            (json!({"patient": {"id": "1"}, "visit": {"id": "2"}}), None),
            (json!({"patient": {"id": ""}}), None),
            (json!({"patient": {"id": 4711}}), None),
            (json!({"patient": {"id": "1", "name": "x"}}), None),
            (json!({"patient": "4711"}), None),
            (json!({"order": {"accession": "A", "placer": "P"}}), None),
            (json!({"order": {}}), None),
            (json!({"barcode": "x\u{0}"}), None),
            (json!({"barcode": "9".repeat(65)}), None),
            (json!({"mrn": "1"}), None),
        ] {
            assert_eq!(asked(&question).ok(), then, "{question}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_question_never_repeats_it() {
        let errors = asked(&json!({"patient": {"id": "SECRET\u{7}"}})).unwrap_err();
        assert_eq!(errors[0].pointer, "/patient/id");
        assert!(!format!("{errors:?}").contains("SECRET"));
    }
}
