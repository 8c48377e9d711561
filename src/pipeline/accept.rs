//! What a door asks of acceptance: everything before the promise line.

use serde_json::Value;

use super::refusal::Refusal;
use crate::capture::{Operator, Record};

/// Opens captures. One call per request.
pub trait Acceptor: Send + Sync {
    /// `claim` as it came, unique names; `idempotency_key` as the sender chose it.
    ///
    /// # Errors
    /// [`Refusal`] for the sender.
    fn begin(&self, operator: &Operator, claim: &Value, idempotency_key: Option<&str>) -> Result<Box<dyn Intake>, Refusal>;
}

/// One capture while it arrives. Dropped unfinished, it leaves nothing behind.
pub trait Intake: Send {
    /// # Errors
    /// [`Refusal`] for the sender; nothing may be pushed after it.
    fn start_file(&mut self) -> Result<(), Refusal>;

    /// # Errors
    /// As for [`Intake::start_file`].
    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal>;

    /// # Errors
    /// As for [`Intake::start_file`].
    fn end_file(&mut self) -> Result<(), Refusal>;

    /// The promise line: when it returns, the capture is on disk.
    ///
    /// # Errors
    /// [`Refusal`] for the sender; nothing is kept then.
    fn finish(self: Box<Self>) -> Result<Receipt, Refusal>;
}

/// What was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub record: Record,
    /// True where the same request was answered before.
    pub replayed: bool,
}
