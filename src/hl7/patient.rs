//! PID, PV1 and MRG: who, where, and under which numbers.

use crate::capture::person::VisitStatus;
use crate::capture::{Identifier, Phi};

use super::ack::{Fault, FaultCode};
use super::dates::{date, moment};
use super::message::{Part, Segment};
use super::names;
use super::read::Reading;
use super::rules::Authority;
use super::update::{Change, Location, Name, PatientFact, RankedIdentifier, VisitFact};

/// Most identifiers of one patient in one message. Regional indexes send some thirty.
const IDENTIFIERS_MAX: usize = 100;
/// Longest identifier. DICOM takes 64 characters; feeds send 40.
const IDENTIFIER_MAX_CHARS: usize = 250;
/// Longest name, all groups. The longest legal PN has 194 characters (PS3.5 §6.2).
const NAME_MAX_CHARS: usize = 4096;
/// Longest text kept of a place, a description or a code.
const TEXT_MAX_CHARS: usize = 1024;

const MISSING_PID: Fault = Fault {
    ack: super::ack::AckCode::Error,
    code: FaultCode::RequiredMissing,
    location: ("PID", 0),
    detail: "The message names no patient; send PID.",
};

/// What PID says.
pub(super) fn patient(reading: &Reading<'_>, pid: Option<Segment<'_>>) -> Result<PatientFact, Fault> {
    let pid = pid.ok_or(MISSING_PID)?;
    let ids = identifiers(reading, pid)?;
    let mut too_long = false;
    let name = reading.change(pid.field(5), |field| {
        let name = names::patient_name(field, reading.drops_degree());
        too_long = name.dicom.chars().count() > NAME_MAX_CHARS;
        (!name.dicom.is_empty()).then(|| Name { dicom: Phi::new(name.dicom), display: Phi::new(name.display) })
    });
    if too_long {
        return Err(Fault::error(FaultCode::DataType, ("PID", 5), "The name is longer than 4096 characters."));
    }
    Ok(PatientFact {
        ids,
        name,
        birth_date: reading.change(pid.field(7), |field| date(&field.value())),
        sex: reading.change(pid.field(8), |field| sex(&field.value())),
        deceased: deceased(reading, pid),
        ..PatientFact::default()
    })
}

/// PID-3: all that are alive, the one the message means first.
fn identifiers(reading: &Reading<'_>, pid: Segment<'_>) -> Result<Vec<RankedIdentifier>, Fault> {
    let mut ids: Vec<RankedIdentifier> = Vec::new();
    for part in pid.field(3).repetitions() {
        let expired = date(&part.component(8).text()).is_some_and(|until| until < reading.received_on);
        let Some(identifier) = cx(part, Some(reading.authority), ("PID", 3))? else { continue };
        if expired || ids.iter().any(|known| known.identifier == identifier) {
            continue;
        }
        if ids.len() == IDENTIFIERS_MAX {
            return Err(Fault::error(FaultCode::DataType, ("PID", 3), "More than 100 identifiers for one patient."));
        }
        ids.push(RankedIdentifier { rank: rank(&identifier, reading.authority), identifier });
    }
    if ids.is_empty() {
        return Err(Fault::error(FaultCode::RequiredMissing, ("PID", 3), "The patient has no identifier; send PID-3."));
    }
    ids.sort_by_key(|id| id.rank); // stable: the order sent decides among equals
    Ok(ids)
}

/// The configured authority's, else a medical record number, else a patient internal id.
fn rank(identifier: &Identifier, authority: &Authority) -> u8 {
    let own = if identifier.issuer_universal_id.is_empty() || authority.universal_id.is_empty() {
        !authority.namespace.is_empty() && identifier.issuer == authority.namespace
    } else {
        identifier.issuer_universal_id == authority.universal_id
    };
    match identifier.id_type.as_str() {
        _ if own => 0,
        "MR" => 1,
        "PI" => 2,
        _ => 3,
    }
}

/// CX (HL7 v2.5.1 §2.A.14); `None` where it is empty or `""`. One without authority is of
/// `default`.
pub(super) fn cx(part: Part<'_>, default: Option<&Authority>, location: (&'static str, u8)) -> Result<Option<Identifier>, Fault> {
    let authority = part.component(4);
    let mut identifier = Identifier {
        id: checked(part.component(1).subcomponent(1), location)?,
        issuer: plain(authority.subcomponent(1)),
        issuer_universal_id: plain(authority.subcomponent(2)),
        issuer_universal_id_type: plain(authority.subcomponent(3)),
        id_type: plain(part.component(5)),
    };
    if identifier.id.is_empty() {
        return Ok(None);
    }
    if let Some(default) = default
        && identifier.issuer.is_empty()
        && identifier.issuer_universal_id.is_empty()
    {
        identifier.issuer.clone_from(&default.namespace);
        identifier.issuer_universal_id.clone_from(&default.universal_id);
        identifier.issuer_universal_id_type.clone_from(&default.universal_id_type);
    }
    Ok(Some(identifier))
}

/// An identifier as it was sent; never shortened, never repaired.
pub(super) fn checked(part: Part<'_>, location: (&'static str, u8)) -> Result<Phi, Fault> {
    let text = part.text();
    if text.chars().count() > IDENTIFIER_MAX_CHARS {
        return Err(Fault::error(FaultCode::DataType, location, "An identifier is longer than 250 characters."));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::error(FaultCode::DataType, location, "An identifier holds a control character."));
    }
    Ok(Phi::new(text))
}

/// A text on one line, cut at a sane length.
pub(super) fn plain(part: Part<'_>) -> String {
    part.text().chars().take(TEXT_MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Table 0001 to (0010,0040): M, F and O stay, A and N are O, everything else is unknown.
fn sex(code: &str) -> Option<String> {
    match code {
        "M" | "m" => Some("M"),
        "F" | "f" => Some("F"),
        "O" | "o" | "A" | "N" => Some("O"),
        _ => None,
    }
    .map(str::to_owned)
}

/// PID-30, else a date in PID-29.
fn deceased(reading: &Reading<'_>, pid: Segment<'_>) -> Change<bool> {
    let indicator = reading.change(pid.field(30), |field| match &*field.value() {
        "Y" => Some(true),
        "N" => Some(false),
        _ => None,
    });
    match indicator {
        Change::Set(_) => indicator,
        Change::Keep | Change::Clear => {
            match reading.change(pid.field(29), |field| moment(&field.value(), reading.zone).map(|_| true)) {
                Change::Set(yes) => Change::Set(yes),
                Change::Keep => indicator,
                Change::Clear => Change::Clear,
            }
        }
    }
}

/// What PV1 says. A visit without a number cannot be told from another: `None`. The number is
/// PV1-19, else the account (PID-18).
pub(super) fn visit(
    reading: &Reading<'_>,
    pid: Option<Segment<'_>>,
    pv1: Option<Segment<'_>>,
) -> Result<Option<VisitFact>, Fault> {
    let Some(pv1) = pv1 else { return Ok(None) };
    let number = match cx(pv1.field(19).first(), None, ("PV1", 19))? {
        Some(number) => Some(number),
        None => pid.map(|pid| cx(pid.field(18).first(), None, ("PID", 18))).transpose()?.flatten(),
    };
    let Some(number) = number else { return Ok(None) };
    let person = |field: Part<'_>| {
        let name = names::person(field, reading.drops_degree());
        let name: String = name.chars().take(TEXT_MAX_CHARS).collect();
        (!name.is_empty()).then(|| Phi::new(name))
    };
    let text = |field: Part<'_>| Some(plain(field.component(1).subcomponent(1))).filter(|t| !t.is_empty());
    let discharged = moment(&pv1.field(45).value(), reading.zone).is_some();
    Ok(Some(VisitFact {
        number,
        class: reading.change(pv1.field(2), text),
        location: reading.change(pv1.field(3), |field| {
            let piece = |number| plain(field.component(number).subcomponent(1));
            Some(Location { ward: piece(1), room: piece(2), bed: piece(3), facility: piece(4) })
        }),
        department: reading.change(pv1.field(10), text),
        attending: reading.change(pv1.field(7), person),
        referring: reading.change(pv1.field(8), person),
        status: None,
        status_if_new: if discharged { VisitStatus::Finished } else { VisitStatus::Active },
        started: moment(&pv1.field(44).value(), reading.zone),
    }))
}

/// An MRG field: the prior identifiers. One without authority is of the survivor's.
pub(super) fn prior(mrg: Option<Segment<'_>>, field: u8, authority: Option<&Authority>) -> Result<Vec<Identifier>, Fault> {
    let mut ids = Vec::new();
    if let Some(mrg) = mrg {
        for part in mrg.field(usize::from(field)).repetitions().take(IDENTIFIERS_MAX) {
            ids.extend(cx(part, authority, ("MRG", field))?);
        }
    }
    if ids.is_empty() {
        return Err(Fault::error(FaultCode::RequiredMissing, ("MRG", field), "The message names nothing prior; send MRG."));
    }
    Ok(ids)
}
