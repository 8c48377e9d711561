//! Floor 1: the words everybody uses.
//!
//! Owns: identifiers, the claim, what a hospital says about a patient, stages, failures, the record.
//! Never: I/O, time, file formats, wire formats.

pub mod binding;
pub mod claim;
pub mod equipment;
pub mod failure;
pub mod hex;
pub mod id;
pub mod leg;
pub mod media;
pub mod order;
pub mod person;
pub mod record;
pub mod retry;
pub mod routing;
pub mod stage;
pub mod text;
pub mod uid;

pub use binding::Binding;
pub use claim::Claim;
pub use equipment::Equipment;
pub use failure::{Class, Failure, FailureCode};
pub use id::{CaptureId, ItemId};
pub use leg::{Form, Leg};
pub use media::{Essence, Facts, MediaKind, TakenAt};
pub use order::Order;
pub use person::{Identifier, Operator, Patient, Visit};
pub use record::{ItemRecord, Record};
pub use routing::{MediaClass, Takes};
pub use stage::{Commitment, Stage};
pub use text::Phi;
pub use uid::{SopRef, Uid};
