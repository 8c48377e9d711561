//! Where finished instances go.
//!
//! Owns: the port [`Archive`] and its adapters; what a status means, with its clause.
//! Never: decides when to try again, reads the journal or the spool.

pub mod dimse;
pub mod scp;
pub mod status;

use std::io::Read;

use crate::capture::FailureCode;
use crate::dicom::Instance;

/// Where finished instances go. One implementation per protocol.
/// Every method may be repeated: an instance keeps its UIDs for life.
pub trait Archive: Send + Sync {
    /// Stores one instance. `payload` is the coded picture alone, as [`Instance::pixels`] says
    /// how it is wrapped.
    ///
    /// # Errors
    /// [`Refused`] with a code whose class tells the retry rule what to do.
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused>;

    /// Asks whether the archive is there (C-ECHO).
    ///
    /// # Errors
    /// As for [`Archive::store`].
    fn probe(&self) -> Result<(), Refused>;
}

/// The archive has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The status word where it was a warning (Bxxx), with the archive's own comment.
    pub warning: Option<String>,
}

/// The archive does not have it, or nobody knows. `detail` carries the archive's own words, cut
/// to what a log may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: FailureCode,
    pub detail: String,
}
