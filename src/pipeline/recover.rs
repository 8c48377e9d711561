//! The journal from the spool: at start for what a crash left out, and whole after a lost index.

use super::sealed;
use crate::capture::record::{Acceptance, SealedManifest};
use crate::capture::{Binding, CaptureId, Record, Stage};
use crate::journal::{Commit, Journal};
use crate::spool::{Damage, Entry, Present, Spool};

/// Rows in one flushed batch: bounds memory, and one flush serves many.
const BATCH: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub known: usize,
    pub inserted: usize,
    /// Names of sealed files that could not be read, with the reason. They stay where they are.
    pub damaged: Vec<(String, String)>,
}

/// Inserts a row for every capture in the spool that the journal does not know.
///
/// # Errors
/// Text for the operator where spool or journal cannot be read or written.
pub fn recover(spool: &Spool, journal: &Journal) -> Result<Recovered, String> {
    let mut report = Recovered::default();
    let mut batch = Vec::new();
    for entry in spool.list().map_err(|e| e.to_string())? {
        match entry {
            Entry::Capture(Present { id, .. }) => {
                if journal.contains(id).map_err(|e| e.to_string())? {
                    report.known += 1;
                    continue;
                }
                match read(spool, id) {
                    Ok(record) => batch.push(record),
                    Err(why) => report.damaged.push((id.to_string(), why)),
                }
                if batch.len() >= BATCH {
                    report.inserted += insert(journal, &mut batch)?;
                }
            }
            // A name that is none of ours may be anything, also a person's.
            Entry::Damaged { why: Damage::Foreign, .. } => {
                report.damaged.push(("a foreign file".to_owned(), Damage::Foreign.to_string()))
            }
            Entry::Damaged { name, why } => report.damaged.push((name, why.to_string())),
            Entry::Orphan(_) => {}
        }
    }
    report.inserted += insert(journal, &mut batch)?;
    Ok(report)
}

fn insert(journal: &Journal, batch: &mut Vec<Record>) -> Result<usize, String> {
    let count = batch.len();
    if count > 0 {
        journal.commit(Commit { insert: std::mem::take(batch), ..Commit::default() }).map_err(|e| e.to_string())?;
    }
    Ok(count)
}

/// The record that the sealed files tell: accepted, or identified where a binding is sealed
/// beside. Whether it was forwarded nobody knows; it is sent again under the same UIDs.
fn read(spool: &Spool, id: CaptureId) -> Result<Record, String> {
    let head = manifest(spool, id, 0)?;
    let acceptance: Acceptance = head.acceptance.ok_or("the head has no acceptance")?;
    let mut items = vec![head.item];
    for index in 1..acceptance.items {
        items.push(manifest(spool, id, index)?.item);
    }
    let at = acceptance.accepted_at;
    let mut record = Record::accepted(acceptance, items);
    if let Some(bytes) = sealed::binding(spool, id).map_err(|e| e.to_string())? {
        let binding: Binding = serde_json::from_slice(&bytes).map_err(|e| format!("the binding cannot be read: {e}"))?;
        record.study_instance_uid = Some(binding.study.instance_uid);
        for index in 0..record.acceptance.items {
            record.move_item(index, Stage::Identified, at, None).map_err(|b| b.0.to_owned())?;
        }
    }
    Ok(record)
}

fn manifest(spool: &Spool, id: CaptureId, index: u16) -> Result<SealedManifest, String> {
    let bytes = spool.manifest(id.item(index)).map_err(|e| e.to_string())?;
    let manifest: SealedManifest = serde_json::from_slice(&bytes).map_err(|e| format!("the manifest cannot be read: {e}"))?;
    if manifest.capture != id || manifest.index != index {
        return Err("the manifest belongs to another item".to_owned());
    }
    Ok(manifest)
}
