//! Patients, visits and orders.
//!
//! Owns: the question, the answer, who wins where two agree; the ports [`Lookup`] and [`Feed`].
//! Never: guesses; reads a socket; parses HL7.

pub mod local;

use crate::capture::claim::OrderKey;
use crate::capture::{Patient, Phi};
use crate::hl7::update::Update;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `issuer`: a namespace or an OID; `None`: the site's own authority, where that leaves one.
    Patient {
        id: Phi,
        issuer: Option<String>,
    },
    Visit {
        id: Phi,
    },
    Order(OrderKey),
    /// Untyped: a patient id, a visit number or an accession number.
    Barcode(Phi),
}

/// One answer. Asked by visit or order, `visits`/`orders` hold just the match; asked by patient,
/// all that are active, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Found(Box<Patient>),
    None,
    Multiple(Vec<Patient>),
}

/// The hospital's facts cannot be read or written. Carries no patient data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

pub trait Lookup: Send + Sync {
    /// # Errors
    /// [`Unavailable`] where the facts cannot be read: never an empty answer instead.
    fn find(&self, asked: &Asked) -> Result<Answer, Unavailable>;
}

/// What one update touched: every identifier (patient ids, visit numbers, accession, placer and
/// filler numbers) under which a waiting capture may now be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched(pub Vec<Phi>);

pub trait Feed: Send + Sync {
    /// Applies one update; durable when it returns. Applying the same update twice has one effect.
    ///
    /// # Errors
    /// [`Unavailable`] where it could not be made durable; nothing may be acknowledged then.
    fn apply(&self, update: &Update) -> Result<Touched, Unavailable>;
}
