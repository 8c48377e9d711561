//! What the people who run the gateway see of it, and what it needs of the machine.
//!
//! Owns: metrics, readiness and their door; log lines; certificates and the key file; the signal to stop; backups.
//! Never: decides about captures, reads the configuration, names a patient.

pub mod backup;
pub mod door;
pub mod files;
pub mod key;
pub mod log;
pub mod metrics;
pub mod open_files;
pub mod readiness;
pub mod signals;
pub mod sparing;
pub mod tls;
mod x509;
