//! Whose picture is it? Never a guess: one exact match that every given fact agrees with, or a
//! person decides.

use crate::capture::order::OrderStatus;
use crate::capture::person::VisitStatus;
use crate::capture::{Claim, FailureCode, Identifier, Order, Patient, Phi, Visit};
use crate::lookup::{Answer, Asked, Lookup, Unavailable};

/// The one match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// `visits`, `orders` and `prior_ids` are empty: they stand beside, those that matter.
    pub patient: Patient,
    pub prior_ids: Vec<Identifier>,
    pub visit: Option<Visit>,
    pub order: Option<Order>,
    pub notes: Vec<String>,
}

/// Why there is none. The text has no patient data.
pub type Doubt = (FailureCode, String);

/// Finds the patient, visit and order of a claim. `home`: the authority of numbers that the claim
/// gives no issuer.
///
/// # Errors
/// A [`Doubt`]: held for a person, except `LookupUnavailable`, which is tried again.
pub fn identify(claim: &Claim, lookup: &dyn Lookup, home: &str) -> Result<Match, Doubt> {
    let mut answers = Vec::new();
    for (what, asked) in questions(claim, home) {
        answers.push((what, one(lookup, what, &asked)?));
    }
    let Some((_, first)) = answers.first() else {
        return Err((FailureCode::PatientUnknown, "the claim names nobody".to_owned()));
    };
    let patient = first.clone();
    for (what, other) in &answers {
        if other.identifier != patient.identifier {
            return Err((
                FailureCode::IdentityDisagrees,
                format!("{what} belongs to another patient than the rest of the claim says"),
            ));
        }
    }
    agree(claim, &patient)?;
    let answer = |wanted: &str| answers.iter().find(|(what, _)| *what == wanted).map(|(_, p)| p);
    let scanned = claim.barcode.as_ref().zip(answer(BARCODE)).map(|(code, p)| read_barcode(code, p, home)).transpose()?;
    let (scanned_visit, scanned_order) = scanned.unwrap_or_default();
    let order = answer(ORDER).map(|p| only(&p.orders, ORDER)).transpose()?.or(scanned_order);
    if order.as_ref().is_some_and(|o| matches!(o.status, OrderStatus::Cancelled | OrderStatus::Discontinued)) {
        return Err((FailureCode::OrderCancelled, "the order was cancelled or discontinued".to_owned()));
    }
    let named = answer(VISIT).map(|p| only(&p.visits, VISIT)).transpose()?.or(scanned_visit);
    let mut notes = Vec::new();
    let visit = match named {
        Some(visit) => Some(visit),
        None => choose_visit(lookup, &patient, order.as_ref(), &mut notes)?,
    };
    let mut patient = Patient { visits: Vec::new(), orders: Vec::new(), ..patient };
    let prior_ids = std::mem::take(&mut patient.prior_ids);
    Ok(Match { patient, prior_ids, visit, order, notes })
}

/// What a barcode turned out to be: a visit, an order, or the patient's own number. It chooses
/// nothing that does not bear the scanned number.
fn read_barcode(code: &Phi, patient: &Patient, home: &str) -> Result<(Option<Visit>, Option<Order>), Doubt> {
    let visits: Vec<Visit> = patient.visits.iter().filter(|v| v.id == *code).cloned().collect();
    let orders: Vec<Order> = patient.orders.iter().filter(|o| o.accession == *code).cloned().collect();
    match (visits.as_slice(), orders.as_slice()) {
        ([visit], []) => Ok((Some(visit.clone()), None)),
        ([], [order]) => Ok((None, Some(order.clone()))),
        ([], []) => {
            let ours = |i: &Identifier| i.id == *code && (i.issuer == home || i.issuer_universal_id == home);
            if ours(&patient.identifier) || patient.other_ids.iter().any(ours) {
                return Ok((None, None));
            }
            Err((FailureCode::PatientAmbiguous, format!("{BARCODE} is a number of another authority")))
        }
        _ => Err((FailureCode::PatientAmbiguous, format!("{BARCODE} fits more than one visit or order"))),
    }
}

/// Of several that bear the same number none is guessed.
fn only<T: Clone>(found: &[T], what: &str) -> Result<T, Doubt> {
    match found {
        [one] => Ok(one.clone()),
        _ => Err((FailureCode::PatientAmbiguous, format!("{what} fits more than one of the patient's"))),
    }
}

const PATIENT: &str = "the patient number";
const VISIT: &str = "the visit number";
const ORDER: &str = "the order";
const BARCODE: &str = "the barcode";

fn questions(claim: &Claim, home: &str) -> Vec<(&'static str, Asked)> {
    let mut questions = Vec::new();
    if let Some(key) = &claim.patient {
        questions.push((
            PATIENT,
            Asked::Patient { id: key.id.clone(), issuer: Some(key.issuer.clone().unwrap_or_else(|| home.to_owned())) },
        ));
    }
    if let Some(id) = &claim.visit {
        questions.push((VISIT, Asked::Visit { id: id.clone() }));
    }
    if let Some(key) = &claim.order {
        questions.push((ORDER, Asked::Order(key.clone())));
    }
    if let Some(code) = &claim.barcode {
        questions.push((BARCODE, Asked::Barcode(code.clone())));
    }
    questions
}

fn one(lookup: &dyn Lookup, what: &str, asked: &Asked) -> Result<Patient, Doubt> {
    match lookup.find(asked) {
        Ok(Answer::Found(patient)) => Ok(*patient),
        Ok(Answer::None) => Err((FailureCode::PatientUnknown, format!("the hospital has not announced {what}"))),
        Ok(Answer::Multiple(_)) => Err((FailureCode::PatientAmbiguous, format!("{what} fits more than one patient"))),
        Err(Unavailable(why)) => Err((FailureCode::LookupUnavailable, why)),
    }
}

/// The second look: everything the sender states about the person must be what the hospital says.
fn agree(claim: &Claim, patient: &Patient) -> Result<(), Doubt> {
    if !patient.active {
        return Err((FailureCode::IdentityDisagrees, "the hospital has withdrawn this patient".to_owned()));
    }
    if let Some(claimed) = claim.birth_date
        && patient.birth_date != Some(claimed)
    {
        let why = match patient.birth_date {
            Some(_) => "the birth date in the claim is not the hospital's",
            None => "the hospital knows no birth date to compare with the claim's",
        };
        return Err((FailureCode::IdentityDisagrees, why.to_owned()));
    }
    Ok(())
}

/// The order's own visit, else the patient's only active one; with two or more, none is guessed.
fn choose_visit(
    lookup: &dyn Lookup,
    patient: &Patient,
    order: Option<&Order>,
    notes: &mut Vec<String>,
) -> Result<Option<Visit>, Doubt> {
    if let Some(order) = order.filter(|o| !o.visit.is_empty()) {
        match lookup.find(&Asked::Visit { id: order.visit.clone() }) {
            Ok(Answer::Found(found)) if found.identifier == patient.identifier => {
                if let [visit] = found.visits.as_slice() {
                    return Ok(Some(visit.clone()));
                }
            }
            Ok(_) => {}
            Err(Unavailable(why)) => return Err((FailureCode::LookupUnavailable, why)),
        }
        notes.push("The visit that the order names is not known for certain; none was chosen, Admission ID is empty.".to_owned());
        return Ok(None);
    }
    let whole = one(lookup, PATIENT, &ask_for(&patient.identifier))?;
    let mut active = whole.visits.iter().filter(|v| v.status == VisitStatus::Active);
    let (first, second) = (active.next(), active.next());
    if second.is_some() {
        notes.push("The patient has more than one active visit; none was chosen, Admission ID is empty.".to_owned());
        return Ok(None);
    }
    Ok(first.cloned())
}

/// Whether two identifiers are one person's: the same, or the hospital has merged the first into the
/// second since.
///
/// # Errors
/// `LookupUnavailable`.
pub fn is_one_person(before: &Identifier, now: &Identifier, lookup: &dyn Lookup) -> Result<bool, Doubt> {
    if before == now {
        return Ok(true);
    }
    match lookup.find(&ask_for(before)) {
        Ok(Answer::Found(patient)) => Ok(patient.identifier == *now),
        Ok(Answer::None | Answer::Multiple(_)) => Ok(false),
        Err(Unavailable(why)) => Err((FailureCode::LookupUnavailable, why)),
    }
}

/// The question that has just this patient as its answer.
fn ask_for(identifier: &Identifier) -> Asked {
    let issuer = [&identifier.issuer_universal_id, &identifier.issuer].into_iter().find(|i| !i.is_empty());
    Asked::Patient { id: Phi::new(identifier.id.expose()), issuer: issuer.cloned() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::capture::claim::OrderKey;

    /// A hospital of answers written down beforehand; what is not there is `None`.
    #[derive(Default)]
    struct Hospital(HashMap<String, Answer>);

    fn word(asked: &Asked) -> String {
        match asked {
            Asked::Patient { id, .. } => format!("patient {}", id.expose()),
            Asked::Visit { id } => format!("visit {}", id.expose()),
            Asked::Order(OrderKey::Accession(id)) => format!("order {}", id.expose()),
            Asked::Order(_) => "order".to_owned(),
            Asked::Barcode(code) => format!("barcode {}", code.expose()),
        }
    }

    impl Lookup for Hospital {
        fn find(&self, asked: &Asked) -> Result<Answer, Unavailable> {
            Ok(self.0.get(&word(asked)).cloned().unwrap_or(Answer::None))
        }
    }

    fn patient(id: &str) -> Patient {
        Patient {
            identifier: Identifier { id: id.into(), issuer: "HOSP".to_owned(), ..Identifier::default() },
            active: true,
            birth_date: "1970-03-01".parse().ok(),
            ..Patient::default()
        }
    }

    fn visit(id: &str) -> Visit {
        Visit { id: id.into(), ..Visit::default() }
    }

    fn found(patient: Patient) -> Answer {
        Answer::Found(Box::new(patient))
    }

    /// 4711 with one active visit and an order; 815 with two visits; 0815 twice.
    fn hospital() -> Hospital {
        let order = Order { accession: "A123".into(), ..Order::default() };
        let cancelled = Order { accession: "A9".into(), status: OrderStatus::Cancelled, ..Order::default() };
        Hospital(HashMap::from([
            ("patient 4711".to_owned(), found(Patient { visits: vec![visit("V100")], ..patient("4711") })),
            ("order A123".to_owned(), found(Patient { orders: vec![order], ..patient("4711") })),
            ("order A9".to_owned(), found(Patient { orders: vec![cancelled], ..patient("4711") })),
            ("visit V100".to_owned(), found(Patient { visits: vec![visit("V100")], ..patient("4711") })),
            ("patient 815".to_owned(), found(Patient { visits: vec![visit("V1"), visit("V2")], ..patient("815") })),
            ("visit V2".to_owned(), found(Patient { visits: vec![visit("V2")], ..patient("815") })),
            ("patient 0815".to_owned(), Answer::Multiple(vec![patient("0815"), patient("0815")])),
            ("patient gone".to_owned(), found(Patient { active: false, ..patient("gone") })),
        ]))
    }

    fn ask(claim: serde_json::Value) -> Result<Match, FailureCode> {
        let mut claim = claim;
        claim["department"] = json!("derm");
        identify(&Claim::from_json(&claim).unwrap(), &hospital(), "HOSP").map_err(|(code, _)| code)
    }

    #[test]
    fn a_capture_is_held_whenever_there_is_any_doubt() {
        let table = [
            (json!({"patient": {"id": "unknown"}}), FailureCode::PatientUnknown),
            (json!({"patient": {"id": "0815"}}), FailureCode::PatientAmbiguous),
            (json!({"patient": {"id": "gone"}}), FailureCode::IdentityDisagrees),
            (json!({"patient": {"id": "4711"}, "birth_date": "1980-01-01"}), FailureCode::IdentityDisagrees),
            (json!({"patient": {"id": "815"}, "order": {"accession": "A123"}}), FailureCode::IdentityDisagrees),
            (json!({"patient": {"id": "4711"}, "visit": {"id": "V2"}}), FailureCode::IdentityDisagrees),
            (json!({"patient": {"id": "4711"}, "order": {"accession": "none"}}), FailureCode::PatientUnknown),
            (json!({"order": {"accession": "A9"}}), FailureCode::OrderCancelled),
        ];
        for (claim, code) in table {
            assert_eq!(ask(claim.clone()).err(), Some(code), "{claim}");
        }
    }

    #[test]
    fn an_order_alone_brings_the_patient_and_the_only_active_visit() {
        let found = ask(json!({"order": {"accession": "A123"}, "birth_date": "1970-03-01"})).unwrap();
        assert_eq!(found.patient.identifier.id, "4711".into());
        assert_eq!(found.order.map(|o| o.accession), Some("A123".into()));
        assert_eq!(found.visit.map(|v| v.id), Some("V100".into()));
    }

    #[test]
    fn of_two_active_visits_none_is_guessed_and_a_note_says_so() {
        let found = ask(json!({"patient": {"id": "815"}})).unwrap();
        assert_eq!((found.visit, found.notes.len()), (None, 1));
        let named = ask(json!({"patient": {"id": "815"}, "visit": {"id": "V2"}})).unwrap();
        assert_eq!(named.visit.map(|v| v.id), Some("V2".into()));
    }
}
