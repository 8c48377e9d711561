//! The journal from the spool: at start for what a crash left out, and whole after a lost index.

use super::sealed;
use std::collections::BTreeMap;

use super::bind::{self, Place};
use crate::capture::record::{Acceptance, Digest, SealedManifest};
use crate::capture::{Binding, CaptureId, Record, Stage};
use crate::journal::{Commit, Journal, StudyRow};
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
pub fn recover(spool: &Spool, journal: &Journal, place: &Place) -> Result<Recovered, String> {
    let mut report = Recovered::default();
    let mut batch = Batch { journal, place, commit: Commit::default(), studies: BTreeMap::new() };
    for entry in spool.list().map_err(|e| e.to_string())? {
        match entry {
            Entry::Capture(Present { id, .. }) => {
                if journal.contains(id).map_err(|e| e.to_string())? {
                    report.known += 1;
                    continue;
                }
                match read(spool, id) {
                    Ok((record, binding)) => batch.add(record, binding.as_ref())?,
                    Err(why) => report.damaged.push((id.to_string(), why)),
                }
                if batch.commit.insert.len() >= BATCH {
                    report.inserted += batch.write()?;
                }
            }
            // A name that is none of ours may be anything, also a person's.
            Entry::Damaged { why: Damage::Foreign, .. } => {
                report.damaged.push(("a foreign file".to_owned(), Damage::Foreign.to_string()));
            }
            Entry::Damaged { name, why } => report.damaged.push((name, why.to_string())),
            Entry::Orphan(_) => {}
        }
    }
    report.inserted += batch.write()?;
    Ok(report)
}

/// Rows that are written together.
struct Batch<'j> {
    journal: &'j Journal,
    place: &'j Place,
    commit: Commit,
    studies: BTreeMap<Digest, StudyRow>,
}

impl Batch<'_> {
    /// Of a capture that was bound the study comes back too: its times, and which numbers are taken.
    fn add(&mut self, record: Record, binding: Option<&Binding>) -> Result<(), String> {
        if let Some(binding) = binding
            && let Ok(key) = bind::bound_study(binding, &record, self.place)
        {
            let known = match self.studies.get(&key) {
                Some(row) => Some(row.clone()),
                None => self.journal.study(&key).map_err(|e| e.to_string())?,
            };
            self.studies.insert(key, bind::restore(binding, known, self.place));
        }
        self.commit.insert.push(record);
        Ok(())
    }

    fn write(&mut self) -> Result<usize, String> {
        let count = self.commit.insert.len();
        if count > 0 {
            self.commit.studies = std::mem::take(&mut self.studies).into_iter().collect();
            self.journal.commit(std::mem::take(&mut self.commit)).map_err(|e| e.to_string())?;
        }
        Ok(count)
    }
}

/// The record that the sealed files tell: accepted, or identified where a binding is sealed
/// beside. Whether it was forwarded nobody knows; it is sent again under the same UIDs.
fn read(spool: &Spool, id: CaptureId) -> Result<(Record, Option<Binding>), String> {
    let head = manifest(spool, id, 0)?;
    let acceptance: Acceptance = head.acceptance.ok_or("the head has no acceptance")?;
    let mut items = vec![head.item];
    for index in 1..acceptance.items {
        items.push(manifest(spool, id, index)?.item);
    }
    let at = acceptance.accepted_at;
    let mut record = Record::accepted(acceptance, items);
    let Some(binding) = sealed::read_binding(spool, id).map_err(|(_, why)| why)? else { return Ok((record, None)) };
    record.study_instance_uid = Some(binding.study.instance_uid.clone());
    // Nobody knows whether it was sent: what may have left is never bound anew.
    for item in &mut record.items {
        item.schedule.attempts = 1;
    }
    for index in 0..record.acceptance.items {
        record.move_item(index, Stage::Identified, at, None).map_err(|b| b.0.to_owned())?;
    }
    Ok((record, Some(binding)))
}

fn manifest(spool: &Spool, id: CaptureId, index: u16) -> Result<SealedManifest, String> {
    let bytes = spool.manifest(id.item(index)).map_err(|e| e.to_string())?;
    let manifest: SealedManifest =
        serde_json::from_slice(&bytes).map_err(|_| "the manifest cannot be read by this version".to_owned())?;
    if manifest.capture != id || manifest.index != index {
        return Err("the manifest belongs to another item".to_owned());
    }
    Ok(manifest)
}
