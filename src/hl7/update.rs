//! What a message says happened, as values.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::capture::order::{Code, OrderStatus};
use crate::capture::person::VisitStatus;
use crate::capture::{Identifier, Phi};

use super::dates::Moment;

/// One message's change of the hospital's facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub source: Source,
    /// MSH-10. Not unique by itself: senders restart their counters.
    pub control_id: String,
    /// The whole decoded text: the same control id with another text is another message.
    pub body: Phi,
    pub received_at: Timestamp,
    /// When it happened, by the sender's clock (EVN-2, else MSH-7, else `received_at`).
    pub event: Moment,
    pub facts: Vec<Fact>,
}

/// MSH-3 and MSH-4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub application: String,
    pub facility: String,
}

/// Something about one patient, and what to do beside recording it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub patient: PatientFact,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing but what `patient` says.
    Record,
    /// The prior ids (MRG-1) are the patient's own from now on and answer with him for ever.
    Merge { prior: Vec<Identifier>, kind: MergeKind },
    /// These ids (MRG-1) leave their patient and become this patient's (A43).
    TakeIdentifiers(Vec<Identifier>),
    /// The visit (MRG-5) and what was ordered in it leave that patient (MRG-1) (A45).
    TakeVisit { from: Vec<Identifier>, visit: Identifier },
    /// The visit has the number of `patient.visit` from now on; the prior (MRG-5) still answers.
    RenumberVisit { prior: Identifier },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeKind {
    /// Two records become one (A18 A30 A34 A36 A39 A40).
    Absorb,
    /// The prior id never was a second person: the record goes on under the new id (A46 A47 A48).
    Rename,
}

/// A field of an update (HL7 v2.5.1 §2.5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Nothing was sent.
    #[default]
    Keep,
    /// `""`, or a value that means nothing to us.
    Clear,
    Set(T),
}

/// What a message says about one patient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatientFact {
    /// The one the message means first.
    pub ids: Vec<RankedIdentifier>,
    pub name: Change<Name>,
    pub birth_date: Change<Date>,
    /// `M`, `F` or `O`.
    pub sex: Change<String>,
    pub deceased: Change<bool>,
    /// The person was added (again), or deleted (A29).
    pub active: Change<bool>,
    pub visit: Option<VisitFact>,
    pub orders: Vec<OrderFact>,
}

/// An identifier, and how fit it is to be the patient's first: lower is fitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedIdentifier {
    pub identifier: Identifier,
    pub rank: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// DICOM PN.
    pub dicom: Phi,
    pub display: Phi,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitFact {
    /// PV1-19, else PID-18. `id_type` is CX-5.
    pub number: Identifier,
    pub class: Change<String>,
    pub location: Change<Location>,
    pub department: Change<String>,
    pub attending: Change<Phi>,
    pub referring: Change<Phi>,
    pub status: Option<VisitStatus>,
    /// Of a visit that was not known before, where `status` says nothing.
    pub status_if_new: VisitStatus,
    /// PV1-44.
    pub started: Option<Moment>,
}

/// PV1-3: moved as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Location {
    pub ward: String,
    pub room: String,
    pub bed: String,
    pub facility: String,
}

/// What a message says about one order. Entity identifiers (EI) are [`Identifier`]s without type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFact {
    pub placer: Change<Identifier>,
    pub filler: Change<Identifier>,
    pub accession: Change<Identifier>,
    /// The accession number of an order that has none: the filler number (hospitals whose filler
    /// is the picture archive's own number).
    pub accession_fallback: Option<Identifier>,
    pub requested_procedure_id: Change<Phi>,
    pub scheduled_step_id: Change<Phi>,
    /// Validated.
    pub study_instance_uid: Change<String>,
    pub procedure: Change<Code>,
    pub modality: Change<String>,
    pub requesting_physician: Change<Phi>,
    /// `None`: as it was; a new one is ordered.
    pub status: Option<OrderStatus>,
    /// The number of the visit it was ordered in.
    pub visit: Change<Phi>,
}

impl OrderFact {
    /// True where something names the order.
    #[must_use]
    pub fn has_key(&self) -> bool {
        [&self.placer, &self.filler, &self.accession].into_iter().any(|key| matches!(key, Change::Set(_)))
    }
}
