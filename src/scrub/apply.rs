//! Carries a plan out while it is made: the only place from which bytes leave a scrub. Each byte
//! passes the verifier first.

use super::plan::{Action, Plan};
use super::verify::{Verifier, VerifyError};
use super::{PushError, ScrubError};

/// What a planner can decide. Calls are in the order of the source, and together they speak of
/// each of its bytes once.
pub(super) trait Edits {
    type Stop: From<ScrubError>;

    /// `bytes` stay as they are.
    fn keep(&mut self, bytes: &[u8], what: &'static str) -> Result<(), Self::Stop>;
    /// The next `length` bytes go.
    fn discard(&mut self, length: usize, what: &'static str);
    /// In place of the next `length` bytes stand others.
    fn replace(&mut self, length: usize, with: &[u8], what: &'static str) -> Result<(), Self::Stop>;
}

/// What became of the bytes so far.
#[derive(Debug)]
pub(super) struct Ledger {
    pub plan: Plan,
    pub verifier: Verifier,
    pub kept_bytes: u64,
}

pub(super) struct Apply<'a, F> {
    pub ledger: &'a mut Ledger,
    pub sink: &'a mut F,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Apply<'_, F> {
    fn emit(&mut self, bytes: &[u8]) -> Result<(), PushError<E>> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.ledger.verifier.push(bytes).map_err(|VerifyError(what)| ScrubError::unverified(what))?;
        self.ledger.kept_bytes = self.ledger.kept_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        (self.sink)(bytes).map_err(PushError::Sink)
    }
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Edits for Apply<'_, F> {
    type Stop = PushError<E>;

    fn keep(&mut self, bytes: &[u8], what: &'static str) -> Result<(), Self::Stop> {
        self.ledger.plan.add(bytes.len(), Action::Keep, what);
        self.emit(bytes)
    }

    fn discard(&mut self, length: usize, what: &'static str) {
        self.ledger.plan.add(length, Action::Drop, what);
    }

    fn replace(&mut self, length: usize, with: &[u8], what: &'static str) -> Result<(), Self::Stop> {
        let into_bytes = u64::try_from(with.len()).unwrap_or(u64::MAX);
        self.ledger.plan.add(length, Action::Rewrite { into_bytes }, what);
        self.emit(with)
    }
}
