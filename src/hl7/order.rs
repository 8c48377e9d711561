//! Orders: ORM^O01, OMG^O19, OMI^O23 (HL7 v2.5.1 chapter 4; IHE RAD TF-2 §4.4).

use crate::capture::order::{Code, OrderStatus};
use crate::capture::{Identifier, Phi, Uid};

use super::ack::{Fault, FaultCode};
use super::message::{Part, Segment};
use super::names;
use super::path::FieldPath;
use super::patient::{checked, patient, plain, visit};
use super::read::Reading;
use super::update::{Act, Change, Fact, OrderFact};

/// Longest filler number that is taken for an accession number (0008,0050): SH.
const ACCESSION_MAX_CHARS: usize = 16;

/// Modality (0008,0060), defined terms of PS3.3 §C.7.3.1.1.1. HL7 table 0074 in OBR-24 has
/// others (`RAD`, `NMR`, `CUS`).
const MODALITIES: [&str; 72] = [
    "ANN",
    "AR",
    "ASMT",
    "AU",
    "BDUS",
    "BI",
    "BMD",
    "CFM",
    "CR",
    "CT",
    "CTPROTOCOL",
    "DG",
    "DMS",
    "DOC",
    "DX",
    "ECG",
    "EEG",
    "EMG",
    "EOG",
    "EPS",
    "ES",
    "FID",
    "GM",
    "HC",
    "HD",
    "IO",
    "IOL",
    "IVOCT",
    "IVUS",
    "KER",
    "KO",
    "LEN",
    "LS",
    "M3D",
    "MG",
    "MR",
    "NM",
    "OAM",
    "OCT",
    "OP",
    "OPM",
    "OPT",
    "OPTBSV",
    "OPTENF",
    "OPV",
    "OSS",
    "OT",
    "PA",
    "PLAN",
    "POS",
    "PR",
    "PT",
    "PX",
    "REG",
    "RESP",
    "RF",
    "RG",
    "RTDOSE",
    "RTIMAGE",
    "RTPLAN",
    "RTRECORD",
    "RTSTRUCT",
    "RWV",
    "SEG",
    "SM",
    "SMR",
    "SR",
    "SRF",
    "TG",
    "US",
    "XA",
    "XC",
];

/// The segments of one order.
#[derive(Clone, Copy, Default)]
struct Group<'a> {
    orc: Option<Segment<'a>>,
    obr: Option<Segment<'a>>,
    ipc: Option<Segment<'a>>,
    zds: Option<Segment<'a>>,
}

/// What an order message says.
pub(super) fn facts(reading: &Reading<'_>) -> Result<Vec<Fact>, Fault> {
    let (pid, pv1) = (reading.message.first("PID"), reading.message.first("PV1"));
    if reading.message.segments.iter().filter(|s| s.is("PID")).count() > 1 {
        return Err(Fault::error(FaultCode::SegmentSequence, ("PID", 0), "An order is for one patient; the message has more."));
    }
    let mut who = patient(reading, pid)?;
    who.visit = visit(reading, pid, pv1)?;
    let visit_number = who.visit.as_ref().map_or(Change::Keep, |v| Change::Set(v.number.id.clone()));
    let groups = groups(&reading.message.segments);
    let mut keyless = groups.is_empty();
    for group in &groups {
        let Effect::Applies(status) = effect(group) else { continue };
        let mut order = order(reading, group)?;
        order.status = status;
        order.visit = visit_number.clone();
        if order.has_key() { who.orders.push(order) } else { keyless = true }
    }
    if keyless && who.orders.is_empty() {
        return Err(Fault::error(
            FaultCode::RequiredMissing,
            ("ORC", 2),
            "The order has no placer, filler or accession number; send one.",
        ));
    }
    Ok(vec![Fact { patient: who, act: Act::Record }])
}

/// ORC begins an order, and so does a second OBR under one ORC. The first IPC of an order counts:
/// the others are further steps of the same procedure. ZDS holds for all orders before it that
/// have none (it comes once, at the end).
fn groups<'a>(segments: &[Segment<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for segment in segments {
        match segment.name() {
            "ORC" => groups.push(Group { orc: Some(*segment), ..Group::default() }),
            "OBR" => match groups.last_mut() {
                Some(group) if group.obr.is_none() => group.obr = Some(*segment),
                last => {
                    let orc = last.and_then(|group| group.orc);
                    groups.push(Group { orc, obr: Some(*segment), ..Group::default() });
                }
            },
            "IPC" => {
                if let Some(group) = groups.last_mut()
                    && group.ipc.is_none()
                {
                    group.ipc = Some(*segment);
                }
            }
            "ZDS" => groups.iter_mut().filter(|g| g.zds.is_none()).for_each(|g| g.zds = Some(*segment)),
            _ => {}
        }
    }
    groups
}

/// A field that says something.
fn field(segment: Option<Segment<'_>>, number: usize) -> Option<Part<'_>> {
    segment.map(|s| s.field(number)).filter(|f| !f.is_absent())
}

enum Effect {
    /// Recorded, with this status; `None`: as it was.
    Applies(Option<OrderStatus>),
    Ignored,
}

/// ORC-1 (table 0119) decides, then ORC-5 (table 0038).
fn effect(group: &Group<'_>) -> Effect {
    let word = |number: usize| group.orc.map(|orc| orc.field(number).value().to_ascii_uppercase()).unwrap_or_default();
    let told = match word(5).as_str() {
        "SC" | "IP" | "A" => Some(OrderStatus::Ordered),
        "CM" => Some(OrderStatus::Completed),
        "CA" => Some(OrderStatus::Cancelled),
        "DC" | "RP" => Some(OrderStatus::Discontinued),
        "HD" => Some(OrderStatus::Held),
        _ => None,
    };
    match word(1).as_str() {
        "CA" | "OC" | "CR" => Effect::Applies(Some(OrderStatus::Cancelled)),
        "DC" | "OD" | "DR" => Effect::Applies(Some(OrderStatus::Discontinued)),
        "HD" | "OH" | "HR" => Effect::Applies(Some(OrderStatus::Held)),
        "NW" | "RL" | "OE" | "OR" => Effect::Applies(told.or(Some(OrderStatus::Ordered))),
        // Results, and answers to requests we never made; `U_`: unable to do what was asked.
        "RE" | "OK" | "AF" | "LI" | "UN" | "UA" | "UC" | "UD" | "UF" | "UH" | "UM" | "UR" | "UX" | "OF" | "DF" => Effect::Ignored,
        _ => Effect::Applies(told),
    }
}

fn order(reading: &Reading<'_>, group: &Group<'_>) -> Result<OrderFact, Fault> {
    let ei_of = |first: (Option<Segment<'_>>, usize), second: (Option<Segment<'_>>, usize), at| {
        entity(field(first.0, first.1).or_else(|| field(second.0, second.1)), at)
    };
    let filler = ei_of((group.orc, 3), (group.obr, 3), ("ORC", 3))?;
    let text = |part: Option<Part<'_>>| match part {
        None => Ok(Change::Keep),
        Some(part) if part.is_null() => Ok(Change::Clear),
        Some(part) => checked(part.component(1).subcomponent(1), ("OBR", 19)).map(Change::Set),
    };
    let uid = field(group.ipc, 3).or_else(|| field(group.zds, 1)).and_then(|p| Uid::parse(&p.value()).ok());
    let modality = field(group.ipc, 5).or_else(|| field(group.obr, 24)).map(|p| p.value().into_owned());
    let physician = field(group.obr, 16).or_else(|| field(group.orc, 12));
    Ok(OrderFact {
        placer: ei_of((group.orc, 2), (group.obr, 2), ("ORC", 2))?,
        accession: accession(reading, group)?,
        accession_fallback: match &filler {
            Change::Set(filler) if is_default_accession(reading) => {
                Some(filler.clone()).filter(|f| f.id.expose().chars().count() <= ACCESSION_MAX_CHARS)
            }
            _ => None,
        },
        filler,
        requested_procedure_id: text(field(group.ipc, 2).or_else(|| field(group.obr, 19)))?,
        scheduled_step_id: text(field(group.ipc, 4).or_else(|| field(group.obr, 20)))?,
        // An invalid UID is no UID: it must never reach an object (PS3.5 §9.1).
        study_instance_uid: uid.map_or(Change::Keep, |uid| Change::Set(uid.to_string())),
        procedure: procedure(field(group.obr, 44).or_else(|| field(group.obr, 4))),
        modality: modality.filter(|m| MODALITIES.contains(&m.as_str())).map_or(Change::Keep, Change::Set),
        requesting_physician: physician.map_or(Change::Keep, |part| {
            let name = names::person(part, reading.drops_degree());
            if part.is_null() || name.is_empty() { Change::Clear } else { Change::Set(Phi::new(name)) }
        }),
        status: None,
        visit: Change::Keep,
    })
}

/// True where the source has no paths of its own.
fn is_default_accession(reading: &Reading<'_>) -> bool {
    reading.rule.is_none_or(|r| r.accession.is_empty())
}

/// The accession number, where the source says it stands: never guessed by its looks.
fn accession(reading: &Reading<'_>, group: &Group<'_>) -> Result<Change<Identifier>, Fault> {
    let default = ["IPC-1", "OBR-18"].into_iter().filter_map(|path| FieldPath::parse(path).ok());
    let paths: Vec<FieldPath> = match reading.rule {
        Some(rule) if !rule.accession.is_empty() => rule.accession.clone(),
        _ => default.collect(),
    };
    for path in paths {
        let segment = match path.segment.as_str() {
            "ORC" => group.orc,
            "OBR" => group.obr,
            "IPC" => group.ipc,
            "ZDS" => group.zds,
            other => reading.message.first(other),
        };
        let found = entity(field(segment, path.field), ("OBR", 18))?;
        if found != Change::Keep {
            return Ok(found);
        }
    }
    Ok(Change::Keep)
}

/// EI (HL7 v2.5.1 §2.A.28).
fn entity(part: Option<Part<'_>>, location: (&'static str, u8)) -> Result<Change<Identifier>, Fault> {
    let Some(part) = part else { return Ok(Change::Keep) };
    if part.is_null() {
        return Ok(Change::Clear);
    }
    let id = checked(part.component(1).subcomponent(1), location)?;
    if id.is_empty() {
        return Ok(Change::Keep);
    }
    Ok(Change::Set(Identifier {
        id,
        issuer: plain(part.component(2).subcomponent(1)),
        issuer_universal_id: plain(part.component(3)),
        issuer_universal_id_type: plain(part.component(4)),
        id_type: String::new(),
    }))
}

/// CE, components 1 to 3 (HL7 v2.5.1 §2.A.8).
fn procedure(part: Option<Part<'_>>) -> Change<Code> {
    let Some(part) = part else { return Change::Keep };
    let code = Code { code: plain(part.component(1)), scheme: plain(part.component(3)), meaning: plain(part.component(2)) };
    if part.is_null() || code == Code::default() { Change::Clear } else { Change::Set(code) }
}
