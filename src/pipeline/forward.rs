//! One claimed capture to the archive: wrap → open the sealed bytes → store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::step::{Delivery, Failed, ItemOutcome, Job, Outcome, Works};
use super::{sealed, wrap};
use crate::archive::{Archive, Refused, Stored};
use crate::capture::{Binding, CaptureId, Commitment, Failure, FailureCode};

/// An archive under the name that the configuration gives it.
#[derive(Clone)]
pub struct NamedArchive {
    pub name: String,
    pub archive: Arc<dyn Archive>,
    /// Whether it is asked to say that it keeps what it stored.
    pub commitment: Commitment,
}

/// Sends the items of a job in their order. An item that fails does not stop the next one.
#[must_use]
pub fn deliver(works: &Works, job: &Job) -> Outcome {
    let items = job
        .items
        .iter()
        .map(|index| {
            let result = catch_unwind(AssertUnwindSafe(|| one(works, job, *index))).unwrap_or_else(|_| {
                Err(broke(works, false, FailureCode::WrapFailed, "the worker broke; the cause is in the log"))
            });
            ItemOutcome { index: *index, at: works.clock.now(), result }
        })
        .collect();
    Outcome { id: job.record.id(), items }
}

fn one(works: &Works, job: &Job, index: u16) -> Result<Delivery, Failed> {
    let binding = binding(works, job.record.id())?;
    let wrapped =
        wrap::wrap(&works.spool, &job.record, index, &binding).map_err(|(code, detail)| broke(works, false, code, &detail))?;
    let mut payload = wrapped.open(&works.spool).map_err(|detail| broke(works, true, FailureCode::SpoolUnreadable, &detail))?;
    let Some(target) = &works.archive else {
        return Err(broke(works, true, FailureCode::ArchiveUnreachable, "no archive is configured"));
    };
    match target.archive.store(&wrapped.instance, &mut payload) {
        Ok(Stored { warning }) => {
            works.observer.attempted(&target.name, Ok(warning.is_some()));
            Ok(Delivery { warning, notes: wrapped.instance.notes })
        }
        Err(Refused { code, detail }) => {
            works.observer.attempted(&target.name, Err(code));
            Err(broke(works, true, code, &detail))
        }
    }
}

pub(super) fn binding(works: &Works, id: CaptureId) -> Result<Binding, Failed> {
    let unreadable = |detail: &str| broke(works, false, FailureCode::SpoolUnreadable, detail);
    let bytes = sealed::binding(&works.spool, id).map_err(|e| unreadable(&e.to_string()))?;
    let bytes = bytes.ok_or_else(|| unreadable("the sealed binding is missing"))?;
    serde_json::from_slice(&bytes).map_err(|_| unreadable("the sealed binding cannot be read"))
}

fn broke(works: &Works, wrapped: bool, code: FailureCode, detail: &str) -> Failed {
    Failed { wrapped, failure: Failure::new(code, detail, works.clock.now()) }
}
