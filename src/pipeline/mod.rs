//! Floor 4: the order of things; the only place with "then".
//!
//! Owns: what happens before the promise line and what happens behind it.
//! Never: parses a format, speaks a protocol, names an adapter.

pub mod accept;
pub mod desk;
pub mod refusal;

pub use accept::{Acceptor, Intake, Receipt};
pub use desk::Desk;
pub use refusal::{Refusal, RefusalCode};
