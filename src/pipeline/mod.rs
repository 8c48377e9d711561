//! Floor 4: the order of things; the only place with "then".
//!
//! Owns: what happens before the promise line and what happens behind it.
//! Never: parses a format, speaks a protocol, names an adapter.

pub mod accept;
pub mod act;
mod arrival;
pub mod bind;
pub mod burst;
mod claim;
pub mod commit;
mod darkroom;
pub mod department;
pub mod desk;
mod develop;
pub mod feed;
mod film;
pub mod forward;
pub mod identify;
mod lane;
pub mod observer;
pub mod offline;
mod owner;
pub mod pending;
pub mod recover;
pub mod refusal;
mod round;
mod sealed;
pub mod step;
pub mod sweep;
pub mod tombstone;
mod view;
mod walk;
pub mod wrap;

pub use accept::{Acceptor, Intake, Receipt};
pub use act::{Act, Decision, Reason};
pub use desk::Desk;
pub use refusal::{Refusal, RefusalCode};

/// Threads that wrap and send, for each archive. Each holds one association; more would not fill two cores better
/// and an archive seldom likes it.
pub const WORKERS: usize = 4;
