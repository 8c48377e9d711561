//! What a door may ask about captures and patients.

use super::refusal::Refusal;
use crate::capture::{CaptureId, Record, Stage};
use crate::identity::Permit;
use crate::lookup::{Answer, Asked};

/// Reads, each within what the permit allows. What is absent and what is another's look the same.
pub trait Desk: Send + Sync {
    /// # Errors
    /// [`Refusal`]: not found, or unavailable.
    fn capture(&self, permit: &Permit, id: CaptureId) -> Result<Record, Refusal>;

    /// Captures behind `after` in a stable order, at most `limit`, and where the next page begins.
    ///
    /// # Errors
    /// [`Refusal`]: unavailable.
    fn captures(
        &self,
        permit: &Permit,
        stage: Option<Stage>,
        after: Option<CaptureId>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<CaptureId>), Refusal>;

    /// # Errors
    /// [`Refusal`]: unavailable.
    fn lookup(&self, permit: &Permit, asked: &Asked) -> Result<Answer, Refusal>;
}
