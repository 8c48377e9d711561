//! ER7 text and its meaning.
//!
//! Owns: frames, character sets, messages, what a message says happened, acknowledgements.
//! Never: I/O; decides whom a picture belongs to.

pub mod ack;
mod adt;
pub mod batch;
pub mod charset;
pub mod dates;
pub mod escape;
pub mod frame;
pub mod header;
pub mod message;
pub mod names;
mod order;
pub mod path;
mod patient;
pub mod read;
pub mod rules;
pub mod update;

pub use ack::{AckCode, Fault, Nack};
pub use read::{Read, read, refuse_oversize};
pub use rules::{Rules, SourceRule};
