//! What the pipeline tells whoever counts. The wiring connects it to the metrics.

use crate::capture::record::Digest;
use crate::capture::{FailureCode, ItemId, MediaKind, Phi, Stage, Uid};

pub trait Observer: Send + Sync {
    /// One item crossed the promise line.
    fn accepted(&self, media: MediaKind, location_found: bool);
    /// One item reached a stage behind it.
    fn reached(&self, stage: Stage);
    /// One attempt to store ended: stored (true: with a warning), or not.
    fn attempted(&self, archive: &str, outcome: Result<bool, FailureCode>);
    /// The archive took one item; the SHA-256 is of its coded picture as it left.
    fn sent(&self, _item: ItemId, _sha256: &Digest) {}
    /// An archive took one item as a Secondary Capture under this UID; for the audit.
    fn stood_in(&self, _item: ItemId, _sop_instance: &Uid) {}
    /// A film was coded anew, or why it was not; the text is for the operator and has no patient data.
    fn transcoded(&self, _failure: Option<&str>) {}
    /// Somebody was asked which study the order of an accession number has, and answered, or why not; for
    /// the audit. The text is for the operator and has no patient data.
    fn inquired(&self, _accession: &Phi, _answer: Result<(), &str>) {}
    /// One item is at the archive so many seconds after it was accepted.
    fn delivered(&self, seconds: f64);
    /// A round was written to the journal, or could not be; the text is for the operator and has
    /// no patient data.
    fn written(&self, result: Result<(), &str>);
    /// So many captures that are at the archive were erased here, or why they were not.
    fn swept(&self, result: Result<usize, &str>);
    /// An archive reported on what nobody asked it, or somebody else did in its name; for the
    /// audit. `why` is a constant of the code.
    fn report_refused(&self, why: &'static str);
}

/// Counts nothing.
pub struct Nobody;

impl Observer for Nobody {
    fn accepted(&self, _: MediaKind, _: bool) {}
    fn reached(&self, _: Stage) {}
    fn attempted(&self, _: &str, _: Result<bool, FailureCode>) {}
    fn delivered(&self, _: f64) {}
    fn written(&self, _: Result<(), &str>) {}
    fn swept(&self, _: Result<usize, &str>) {}
    fn report_refused(&self, _: &'static str) {}
}
