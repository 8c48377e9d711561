//! One claimed capture to the archive: wrap → open the sealed bytes → store.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::step::{Delivery, Failed, ItemOutcome, Job, Outcome, Works};
use super::{sealed, wrap};
use crate::archive::{Archive, Refused, Stored};
use crate::capture::{Binding, CaptureId, Commitment, Failure, FailureCode};
use crate::seal::digest::Hasher;

/// An archive under the name that the configuration gives it.
#[derive(Clone)]
pub struct NamedArchive {
    pub name: String,
    pub archive: Arc<dyn Archive>,
    /// Whether it is asked to say that it keeps what it stored.
    pub commitment: Commitment,
}

/// Sends the items of a job in their order. An item that fails does not stop the next one, except
/// where the archive itself is away: then the rest waits with it. `go_on`: false once the gateway
/// stops; what was not tried then is due at the next start.
#[must_use]
pub fn deliver(works: &Works, job: &Job, go_on: &dyn Fn() -> bool) -> Outcome {
    let mut items = Vec::with_capacity(job.items.len());
    let mut away: Option<Failure> = None;
    for index in &job.items {
        if !go_on() {
            break;
        }
        let result = match &away {
            Some(failure) => Err(Failed { wrapped: false, failure: failure.clone() }),
            None => catch_unwind(AssertUnwindSafe(|| one(works, job, *index))).unwrap_or_else(|_| {
                Err(broke(works, false, FailureCode::WrapFailed, "the worker broke; the cause is in the log"))
            }),
        };
        if let Err(Failed { failure, .. }) = &result
            && failure.code.nothing_was_stored()
        {
            away = Some(failure.clone());
        }
        items.push(ItemOutcome { index: *index, at: works.clock.now(), result });
    }
    Outcome { id: job.record.id(), items }
}

fn one(works: &Works, job: &Job, index: u16) -> Result<Delivery, Failed> {
    let binding = binding(works, job.record.id())?;
    let wrapped =
        wrap::wrap(&works.spool, &job.record, index, &binding).map_err(|(code, detail)| broke(works, false, code, &detail))?;
    let mut payload = wrapped.open(&works.spool).map_err(|(code, detail)| broke(works, true, code, &detail))?;
    let Some(target) = &works.archive else {
        return Err(broke(works, true, FailureCode::ArchiveUnreachable, "no archive is configured"));
    };
    let mut payload = Digested { bytes: &mut payload, hasher: Hasher::new() };
    match target.archive.store(&wrapped.instance, &mut payload) {
        Ok(Stored { warning }) => {
            let sent_sha256 = payload.hasher.finish();
            works.observer.sent(job.record.id().item(index), &sent_sha256);
            works.observer.attempted(&target.name, Ok(warning.is_some()));
            Ok(Delivery { warning, notes: wrapped.instance.notes, sent_sha256 })
        }
        Err(Refused { code, detail }) => {
            works.observer.attempted(&target.name, Err(code));
            Err(broke(works, true, code, &detail))
        }
    }
}

/// Bytes on their way to the archive: their digest is the proof of what left, and costs nobody a
/// wait here.
struct Digested<'a> {
    bytes: &'a mut dyn Read,
    hasher: Hasher,
}

impl Read for Digested<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = self.bytes.read(out)?;
        self.hasher.update(out.get(..length).unwrap_or_default());
        Ok(length)
    }
}

pub(super) fn binding(works: &Works, id: CaptureId) -> Result<Binding, Failed> {
    let found = sealed::read_binding(&works.spool, id).map_err(|(code, detail)| broke(works, false, code, &detail))?;
    found.ok_or_else(|| broke(works, false, FailureCode::SpoolUnreadable, "the sealed binding is missing"))
}

fn broke(works: &Works, wrapped: bool, code: FailureCode, detail: &str) -> Failed {
    Failed { wrapped, failure: Failure::new(code, detail, works.clock.now()) }
}
