//! The journal from the spool alone.

use super::{Commit, Journal, JournalError};
use crate::capture::record::Manifest;
use crate::capture::{CaptureId, Record};

/// Records in one commit. sled holds a batch in memory several times over.
const BATCH_ROWS: usize = 1_000;

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Records that were missing and are there now, at the beginning of their way. What was
    /// forwarded already is forwarded again under the same UIDs.
    pub inserted: usize,
    /// Records that were there.
    pub kept: usize,
    /// Captures of which manifests are missing or contradict each other: for a person.
    pub incomplete: Vec<CaptureId>,
}

/// Inserts a record for each capture that has none. `manifests` come capture by capture, as the
/// spool lists them; items in any order.
///
/// # Errors
/// [`JournalError`] of a commit; what was inserted before it stays, and the rebuild can be repeated.
pub fn rebuild(manifests: impl IntoIterator<Item = Manifest>, journal: &Journal) -> Result<Rebuilt, JournalError> {
    let mut rebuilt = Rebuilt::default();
    let mut missing = Vec::new();
    let mut manifests = manifests.into_iter().peekable();
    while let Some(first) = manifests.next() {
        let id = first.acceptance.id;
        let mut items = vec![first];
        while let Some(next) = manifests.next_if(|m| m.acceptance.id == id) {
            items.push(next);
        }
        if journal.contains(id)? {
            rebuilt.kept += 1;
            continue;
        }
        match record_of(items) {
            Some(record) => missing.push(record),
            None => rebuilt.incomplete.push(id),
        }
        if missing.len() == BATCH_ROWS {
            insert(&mut missing, journal, &mut rebuilt)?;
        }
    }
    insert(&mut missing, journal, &mut rebuilt)?;
    Ok(rebuilt)
}

/// The record of a capture just accepted, from all its manifests.
fn record_of(mut items: Vec<Manifest>) -> Option<Record> {
    items.sort_by_key(|m| m.index);
    let acceptance = items.first()?.acceptance.clone();
    let is_whole = items.iter().map(|m| m.index).eq(0..acceptance.items) && items.iter().all(|m| m.acceptance == acceptance);
    if !is_whole {
        return None;
    }
    let record = Record::accepted(acceptance, items.into_iter().map(|m| m.item).collect());
    record.check().is_ok().then_some(record)
}

fn insert(missing: &mut Vec<Record>, journal: &Journal, rebuilt: &mut Rebuilt) -> Result<(), JournalError> {
    rebuilt.inserted += missing.len();
    journal.commit(Commit { insert: std::mem::take(missing), ..Commit::default() })
}
