//! Who is asking, and what may they do.
//!
//! Owns: tokens, the keys that sign them, the [`Permit`].
//! Never: patients; HTTP.

pub mod permit;

pub use permit::{Permit, Scope};
