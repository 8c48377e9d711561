//! What the pipeline tells whoever counts. The wiring connects it to the metrics.

use crate::capture::{MediaKind, Stage};

pub trait Observer: Send + Sync {
    /// One item crossed the promise line.
    fn accepted(&self, media: MediaKind, location_found: bool);
    /// One item reached a stage behind it.
    fn reached(&self, stage: Stage);
    /// One attempt to store ended; `outcome` is `stored`, `warning` or a failure's word.
    fn attempted(&self, archive: &str, outcome: &'static str);
    /// One item is at the archive so many seconds after it was accepted.
    fn delivered(&self, seconds: f64);
    /// A round could not be written; `why` is for the operator and has no patient data.
    fn blocked(&self, why: &str);
}

/// Counts nothing.
pub struct Nobody;

impl Observer for Nobody {
    fn accepted(&self, _: MediaKind, _: bool) {}
    fn reached(&self, _: Stage) {}
    fn attempted(&self, _: &str, _: &'static str) {}
    fn delivered(&self, _: f64) {}
    fn blocked(&self, _: &str) {}
}
