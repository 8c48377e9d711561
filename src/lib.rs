//! Shutterbridge: clinical photos from phones into the record.
//!
//! The floor plan. A room imports from lower floors only; `tests/architecture.rs` holds us to it.
//!
//! ```text
//!  roof  main.rs · gateway.rs (wiring only) · config/         may name anything
//!   5    http/ · web/ · mllp/ · cli/ · ops/                   doors: translate, never decide
//!   4    pipeline/                                            decides the order; the only place with "then"
//!   3    store/ spool/ journal/ lookup/ archive/
//!        identity/ audit/ fence/ clock.rs                     ports (mod.rs) + adapters (child files)
//!   2    media/ scrub/ dicom/ hl7/ seal/                      pure: bytes and values in, bytes and values out
//!   1    capture/                                             the words; no I/O, no clock, no formats
//! ```
//!
//! One photo: `http` takes the body, `pipeline::accept` lets `media` and `scrub` look at every
//! byte while it arrives, `spool` seals it, and after the flush the phone hears 201: the promise
//! line. Behind it `pipeline::step` identifies (`lookup`), wraps (`dicom`) and forwards
//! (`archive`), as often as it takes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod capture;

pub mod dicom;
pub mod hl7;
pub mod media;
pub mod scrub;
pub mod seal;

pub mod archive;
pub mod audit;
pub mod clock;
pub mod fence;
pub mod identity;
pub mod journal;
pub mod lookup;
pub mod spool;
pub mod store;

pub mod pipeline;

pub mod cli;
pub mod http;
pub mod mllp;
pub mod ops;
pub mod web;

pub mod config;
pub mod gateway;
