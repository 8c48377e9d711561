//! ADT trigger events (HL7 v2.5.1 chapter 3) and what each does.

use crate::capture::person::VisitStatus;

use super::ack::{Fault, FaultCode};
use super::message::Segment;
use super::patient::{patient, prior, visit};
use super::read::Reading;
use super::rules::Authority;
use super::update::{Act, Change, Fact, MergeKind, PatientFact};

/// What an event means for a patient and the visit in PV1.
#[derive(Clone, Copy)]
enum Meaning {
    /// The visit gets this status; the person is (again) on file.
    Opens(VisitStatus),
    /// The visit gets this status.
    Visit(VisitStatus),
    /// The patient and the visit as they are told.
    Told,
    /// The person alone is added.
    PersonAdded,
    /// The person alone; PV1 stands there for form's sake.
    Person,
    PersonDeleted,
    Merge(MergeKind, u8),
    TakesIdentifiers,
    TakesVisit,
    RenumbersVisit,
    /// Nothing that concerns us.
    Nothing,
}

fn meaning(trigger: &str) -> Option<Meaning> {
    Some(match trigger {
        "A01" | "A04" | "A13" => Meaning::Opens(VisitStatus::Active),
        "A05" | "A14" => Meaning::Opens(VisitStatus::Planned),
        "A03" => Meaning::Visit(VisitStatus::Finished),
        "A11" | "A23" | "A27" | "A38" => Meaning::Visit(VisitStatus::Cancelled),
        "A02" | "A06" | "A07" | "A08" | "A09" | "A10" | "A12" | "A15" | "A16" | "A17" | "A21" | "A22" | "A25" | "A26" | "A32"
        | "A33" | "A52" | "A53" | "A54" | "A55" | "A60" | "A61" | "A62" => Meaning::Told,
        "A28" => Meaning::PersonAdded,
        // A24 and A37 link and unlink: both records stay as they are. A35, A41, A44 and A49 are
        // about accounts, A51 about alternate visit numbers: neither is indexed.
        "A24" | "A31" | "A35" | "A37" | "A41" | "A44" | "A49" | "A51" => Meaning::Person,
        "A29" => Meaning::PersonDeleted,
        "A18" | "A30" | "A34" | "A36" | "A39" | "A40" => Meaning::Merge(MergeKind::Absorb, 1),
        "A46" | "A47" => Meaning::Merge(MergeKind::Rename, 1),
        "A48" => Meaning::Merge(MergeKind::Rename, 2),
        "A43" => Meaning::TakesIdentifiers,
        "A45" => Meaning::TakesVisit,
        "A42" | "A50" => Meaning::RenumbersVisit,
        "A20" => Meaning::Nothing,
        _ if trigger.starts_with('Z') => Meaning::Nothing,
        _ => return None,
    })
}

/// Events whose structure repeats the patient.
const REPEATING: [&str; 21] = [
    "A17", "A18", "A24", "A30", "A34", "A35", "A36", "A37", "A39", "A40", "A41", "A42", "A43", "A44", "A45", "A46", "A47", "A48",
    "A49", "A50", "A51",
];

/// Events that are acknowledged also where they name no patient.
const WITHOUT_PATIENT: [&str; 15] =
    ["A09", "A10", "A15", "A16", "A21", "A22", "A25", "A26", "A32", "A33", "A52", "A53", "A54", "A55", "A62"];

/// What an ADT message says.
pub(super) fn facts(reading: &Reading<'_>, trigger: &str) -> Result<Vec<Fact>, Fault> {
    let Some(meaning) = meaning(trigger) else {
        return Err(Fault::reject(FaultCode::UnsupportedEvent, ("MSH", 9), "This ADT event is not known here."));
    };
    if matches!(meaning, Meaning::Nothing) {
        return Ok(Vec::new());
    }
    let groups = groups(reading);
    if groups.is_empty() && WITHOUT_PATIENT.contains(&trigger) {
        return Ok(Vec::new());
    }
    if groups.len() > 1 && !REPEATING.contains(&trigger) {
        return Err(Fault::error(
            FaultCode::SegmentSequence,
            ("PID", 0),
            "The event is about one patient; the message has more.",
        ));
    }
    if groups.is_empty() {
        return Err(patient(reading, None).err().unwrap_or(Fault::error(FaultCode::RequiredMissing, ("PID", 0), "No PID.")));
    }
    groups.iter().map(|group| fact(reading, meaning, group)).collect()
}

/// SIU: a planned appointment tells who the patient is; the visit it speaks of is not open yet.
pub(super) fn appointment(reading: &Reading<'_>) -> Result<Vec<Fact>, Fault> {
    groups(reading).iter().map(|group| fact(reading, Meaning::Person, group)).collect()
}

/// PID and the segments behind it, up to the next PID.
fn groups<'a>(reading: &Reading<'a>) -> Vec<Vec<Segment<'a>>> {
    let mut groups: Vec<Vec<Segment<'a>>> = Vec::new();
    for segment in &reading.message.segments {
        if segment.is("PID") {
            groups.push(vec![*segment]);
        } else if let Some(group) = groups.last_mut() {
            group.push(*segment);
        }
    }
    groups
}

fn fact(reading: &Reading<'_>, meaning: Meaning, group: &[Segment<'_>]) -> Result<Fact, Fault> {
    let find = |name: &str| group.iter().copied().find(|s| s.is(name));
    let (pid, pv1, mrg) = (find("PID"), find("PV1"), find("MRG"));
    let mut who = patient(reading, pid)?;
    let mut act = Act::Record;
    match meaning {
        Meaning::Opens(status) => {
            who.active = Change::Set(true);
            who.visit = visit(reading, pid, pv1)?.map(|v| super::update::VisitFact { status: Some(status), ..v });
        }
        Meaning::Visit(status) => {
            who.visit = visit(reading, pid, pv1)?.map(|v| super::update::VisitFact { status: Some(status), ..v });
        }
        Meaning::Told => who.visit = visit(reading, pid, pv1)?,
        Meaning::PersonAdded => who.active = Change::Set(true),
        Meaning::Person | Meaning::Nothing => {}
        Meaning::PersonDeleted => who.active = Change::Set(false),
        Meaning::Merge(kind, field) => {
            act = Act::Merge { prior: prior(mrg, field, survivor_authority(&who).as_ref())?, kind };
        }
        Meaning::TakesIdentifiers => act = Act::TakeIdentifiers(prior(mrg, 1, survivor_authority(&who).as_ref())?),
        Meaning::TakesVisit => {
            let from = prior(mrg, 1, survivor_authority(&who).as_ref())?;
            let numbers = prior(mrg, 5, None)?;
            who.visit = visit(reading, pid, pv1)?;
            if let Some(visit) = numbers.into_iter().next() {
                act = Act::TakeVisit { from, visit };
            }
        }
        Meaning::RenumbersVisit => {
            let numbers = prior(mrg, 5, None)?;
            who.visit = visit(reading, pid, pv1)?;
            if who.visit.is_none() {
                return Err(Fault::error(
                    FaultCode::RequiredMissing,
                    ("PV1", 19),
                    "The new visit number is missing; send PV1-19.",
                ));
            }
            if let Some(prior) = numbers.into_iter().next() {
                act = Act::RenumberVisit { prior };
            }
        }
    }
    Ok(Fact { patient: who, act })
}

/// The authority of the id the message means first: a prior id without one is of the same.
fn survivor_authority(who: &PatientFact) -> Option<Authority> {
    who.ids.first().map(|id| Authority {
        namespace: id.identifier.issuer.clone(),
        universal_id: id.identifier.issuer_universal_id.clone(),
        universal_id_type: id.identifier.issuer_universal_id_type.clone(),
    })
}
