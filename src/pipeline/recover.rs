//! The journal from the spool: at start for what a crash left out, and whole after a lost index.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::bind::{self, Place};
use super::sealed;
use super::tombstone;
use crate::capture::record::{Acceptance, Broken, Digest, ItemFacts, SealedManifest};
use crate::capture::{Binding, CaptureId, Failure, FailureCode, Record, Stage, Uid};
use crate::journal::{Commit, Journal, JournalError, StudyRow};
use crate::seal::random;
use crate::spool::{Damage, Entry, Name, Present, Spool, SpoolError};
use crate::store::StoreError;

/// Rows in one flushed batch: bounds memory (a few KiB each), and one flush serves many.
const BATCH: usize = 250;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub known: usize,
    pub inserted: usize,
    /// Names of sealed files that could not be read, with the reason and what became of them.
    pub damaged: Vec<(String, String)>,
}

/// Inserts a row for every capture in the spool that the journal does not know. An item that does
/// not open is held with the reason, the others go on; a capture whose first file does not open is
/// put aside, because nothing says whose it is. Captures that the journal knows cost nothing. Where
/// this never came to its end in this index, captures that were erased come back as rows, too. An
/// index that is found damaged on the way is put aside and made anew.
///
/// # Errors
/// Text for the operator where spool or journal cannot be read or written.
pub fn recover(spool: &Spool, journal: &Journal, place: &Place) -> Result<Recovered, String> {
    fill(spool, journal, place).or_else(|why| match journal.health() {
        Err(JournalError::Store(StoreError::Corrupt(_))) => rebuild(spool, journal, place),
        _ => Err(why),
    })
}

/// Puts a damaged index aside and makes it anew; where that did not come to its end, goes on with it.
///
/// # Errors
/// As for [`recover`]; call again.
pub fn rebuild(spool: &Spool, journal: &Journal, place: &Place) -> Result<Recovered, String> {
    journal.rebuild(|| fill(spool, journal, place))
}

fn fill(spool: &Spool, journal: &Journal, place: &Place) -> Result<Recovered, String> {
    let mut report = Recovered::default();
    let mut batch = Batch { journal, place, commit: Commit::default(), studies: BTreeMap::new() };
    let known = journal.all_ids().map_err(|e| e.to_string())?;
    let is_new = !journal.is_whole().map_err(|e| e.to_string())?;
    let mut listing = spool.list_beyond(known).map_err(|e| e.to_string())?;
    // Those of the capture that comes next.
    let mut damaged: Vec<(Name, Damage)> = Vec::new();
    for entry in listing.by_ref() {
        match entry {
            Entry::Capture(present) => {
                let damaged = std::mem::take(&mut damaged);
                // It may have been inserted since: the gateway runs while a lost index is made anew.
                if journal.contains(present.id).map_err(|e| e.to_string())? {
                    report.known += 1;
                    continue;
                }
                match read(spool, &present, &damaged, place) {
                    Ok((record, binding)) => {
                        report.damaged.extend(untold(&record, &damaged));
                        batch.add(record, binding.as_ref())?;
                    }
                    Err(lost) => report.damaged.push(give_up(spool, present.id, &lost)),
                }
                if batch.commit.insert.len() >= BATCH {
                    report.inserted += batch.write()?;
                }
            }
            Entry::Damaged { name, why } => {
                let parsed = name.parse::<Name>().ok();
                damaged.extend(parsed.map(|name| (name, why)));
                // A name that is none of ours may be anything, also a person's.
                let shown = if parsed.is_some() { name } else { "a foreign file".to_owned() };
                report.damaged.push((shown, why.to_string()));
            }
            Entry::Orphan(_) => damaged.clear(),
        }
    }
    report.known += listing.passed_over();
    report.inserted += batch.write()?;
    if is_new {
        let (inserted, damaged) = tombstone::bring_back(spool, journal)?;
        report.inserted += inserted;
        report.damaged.extend(
            (damaged > 0).then(|| ("what is left of erased captures".to_owned(), format!("{damaged} lines do not open"))),
        );
        journal.note_whole().map_err(|e| e.to_string())?;
    }
    Ok(report)
}

/// What a crash left half done, among captures that the journal knows: discards whose row is written
/// are carried out, and files without a head are swept. Reads many rows: to be called where time does
/// not matter. Answers the captures that were put aside because their head is lost.
///
/// # Errors
/// Text for the operator.
pub fn tidy(spool: &Spool, journal: &Journal, now: Timestamp, is_stopping: &dyn Fn() -> bool) -> Result<Vec<CaptureId>, String> {
    let is_known = |id| journal.contains(id).unwrap_or(true);
    let waiting = journal.ids(&[Stage::Accepted, Stage::Identified, Stage::Wrapped, Stage::Held]).map_err(|e| e.to_string())?;
    let swept = spool.sweep_orphans(&waiting, is_known).map_err(|e| e.to_string())?;
    drop(waiting);
    let settled = journal.ids(&[Stage::Forwarded, Stage::Committed, Stage::Discarded]).map_err(|e| e.to_string())?;
    let here = spool.captures().map_err(|e| e.to_string())?;
    for id in here.into_iter().filter(|id| settled.binary_search(id).is_ok()) {
        if is_stopping() {
            break;
        }
        // A row that cannot be read decides nothing.
        let Ok(Some(record)) = journal.get(id) else { continue };
        if record.is_erasable() {
            tombstone::leave(spool, &record, now)?;
            spool.remove(id, record.acceptance.items).map_err(|e| e.to_string())?;
        }
    }
    Ok(swept.put_aside)
}

/// Why no record can be made of a capture.
struct Lost {
    why: String,
    /// The damage will not go away by itself, as another key file or a newer version would.
    for_good: bool,
    items: u16,
}

/// Items that are held and that the listing did not name: their file is gone, or opens at both ends only.
fn untold(record: &Record, damaged: &[(Name, Damage)]) -> Vec<(String, String)> {
    let told = |index| damaged.iter().any(|(name, _)| *name == Name::Item(record.id().item(index)));
    let held = (0..).zip(&record.items).filter_map(|(index, item)| Some((index, item.failure.as_ref()?)));
    let untold = held.filter(|(index, failure)| failure.code == FailureCode::SpoolUnreadable && !told(*index));
    untold.map(|(index, failure)| (Name::Item(record.id().item(index)).to_string(), failure.detail.clone())).collect()
}

/// Puts aside what can never be read, so that it is told once, and leaves the rest. Where that fails,
/// all others go on nevertheless.
fn give_up(spool: &Spool, id: CaptureId, lost: &Lost) -> (String, String) {
    if !lost.for_good {
        return (id.to_string(), lost.why.clone());
    }
    let reason =
        format!("The first file of the capture cannot be read, and only it says who took it and of whom: {}.\n", lost.why);
    let became = match spool.quarantine(id, lost.items, &reason) {
        Ok(()) => "the capture was put aside in quarantine/".to_owned(),
        Err(why) => format!("it could not be put aside: {why}"),
    };
    (id.to_string(), format!("{}; {became}", lost.why))
}

/// Rows that are written together.
struct Batch<'j> {
    journal: &'j Journal,
    place: &'j Place,
    commit: Commit,
    studies: BTreeMap<Digest, StudyRow>,
}

impl Batch<'_> {
    /// Of a capture that was bound the study comes back too: its times, which numbers are taken, and what
    /// others said of its order.
    fn add(&mut self, record: Record, binding: Option<&Binding>) -> Result<(), String> {
        self.commit.orders.extend(binding.and_then(|binding| bind::told_order(binding, self.place)));
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
fn read(spool: &Spool, present: &Present, damaged: &[(Name, Damage)], place: &Place) -> Result<(Record, Option<Binding>), Lost> {
    let id = present.id;
    let seen = present.items.iter().chain(&present.derived).chain(&present.stills).copied();
    let seen = seen.chain(damaged.iter().filter_map(|(name, _)| index_of(*name)));
    let items_seen = seen.max().map_or(1, |last| last.saturating_add(1));
    let lost = |(why, for_good): (String, bool)| Lost { why, for_good, items: items_seen };
    let head = manifest(spool, id, 0).map_err(lost)?;
    let acceptance: Acceptance = head.acceptance.ok_or_else(|| lost(("the head has no acceptance".to_owned(), true)))?;
    let mut items = vec![head.item];
    let mut unread = Vec::new();
    for index in 1..acceptance.items {
        match manifest(spool, id, index) {
            Ok(manifest) => items.push(manifest.item),
            // It may open tomorrow, under its own name: nothing is made up for it.
            Err((why, false)) => return Err(lost((why, false))),
            Err((why, true)) => {
                items.push(unknown_facts(items.first()).map_err(lost)?);
                unread.push((index, why));
            }
        }
    }
    let at = acceptance.accepted_at;
    let mut record = Record::accepted(acceptance, items);
    let broken = |b: Broken| lost((b.0.to_owned(), false));
    let binding = match sealed::read_binding(spool, id) {
        Ok(binding) => binding,
        Err((_, why)) => {
            // It may have been sent under it: a person decides whether it is bound anew.
            unread = (0..record.acceptance.items).map(|index| (index, format!("its binding: {why}"))).collect();
            None
        }
    };
    if let Some(binding) = &binding {
        record.study_instance_uid = Some(binding.study.instance_uid.clone());
        record.patient_key = Some(bind::patient_key(&binding.patient.identifier, place));
        record.notes = bind::notes(&record, binding, place);
        // Nobody knows whether it was sent: what may have left is never bound anew.
        for item in &mut record.items {
            item.schedule.attempts = 1;
        }
        for (index, archives) in (0..record.acceptance.items).zip(&binding.archives) {
            record.route(index, archives);
        }
        for index in 0..record.acceptance.items {
            record.move_item(index, Stage::Identified, at, None).map_err(broken)?;
            let never_in_hevc = record.is_film(index) && binding.in_hevc.as_ref().is_some_and(|noted| !noted.contains(&index));
            record.change_legs(index, |leg| leg.in_hevc = never_in_hevc.then_some(0));
        }
    }
    match sealed::stopped(spool, id) {
        Ok(stopped) => {
            for index in stopped {
                let why = "a person had stopped it, or given it up, before the index was made anew";
                hold(&mut record, index, FailureCode::HeldByPerson, why, at).map_err(broken)?;
            }
        }
        Err((_, why)) => unread.extend((0..record.acceptance.items).map(|index| (index, format!("a person's decision: {why}")))),
    }
    for (index, why) in unread {
        hold(&mut record, index, FailureCode::SpoolUnreadable, &why, at).map_err(broken)?;
    }
    Ok((record, binding))
}

fn index_of(name: Name) -> Option<u16> {
    match name {
        Name::Item(item) | Name::Derived(item) | Name::Stills(item) => Some(item.index),
        Name::Binding(_) | Name::Stopped(_) => None,
    }
}

fn hold(record: &mut Record, index: u16, code: FailureCode, why: &str, at: Timestamp) -> Result<(), Broken> {
    record.move_item(index, Stage::Held, at, Some(code.word().to_owned()))?;
    let failure = Failure::new(code, why, at);
    record.change_legs(index, |leg| (leg.failure, leg.schedule.due) = (Some(failure.clone()), None));
    Ok(())
}

/// Stands for an item whose own facts do not open: as the capture's first, of no bytes, under a UID
/// that nothing was ever sent under.
fn unknown_facts(first: Option<&ItemFacts>) -> Result<ItemFacts, (String, bool)> {
    let uuid = random::random::<16>().map_err(|_| ("the system gives no random numbers".to_owned(), false))?;
    let first = first.ok_or_else(|| ("a capture without items".to_owned(), true))?;
    Ok(ItemFacts {
        size_bytes: 0,
        sha256: [0; 32],
        sealed_bytes: 0,
        sealed_sha256: None,
        sop_instance_uid: Uid::from_uuid_bytes(uuid),
        removed: Vec::new(),
        ..first.clone()
    })
}

/// What is sealed behind an item; or why it is not read, and whether for good.
fn manifest(spool: &Spool, id: CaptureId, index: u16) -> Result<SealedManifest, (String, bool)> {
    let bytes = spool.manifest(id.item(index)).map_err(|e| (e.to_string(), is_for_good(&e)))?;
    let manifest: SealedManifest =
        serde_json::from_slice(&bytes).map_err(|_| ("the manifest cannot be read by this version".to_owned(), false))?;
    if manifest.version > SealedManifest::VERSION {
        return Err(("it was sealed by a newer version; run that one".to_owned(), false));
    }
    if manifest.capture != id || manifest.index != index {
        return Err(("the manifest belongs to another item".to_owned(), true));
    }
    Ok(manifest)
}

fn is_for_good(error: &SpoolError) -> bool {
    match error {
        SpoolError::Missing => true,
        SpoolError::Damaged(why) => match why {
            Damage::NotSealed | Damage::Torn | Damage::Altered | Damage::Misnamed | Damage::Erased => true,
            // Another key, a newer version, a better cable: it may be read yet.
            Damage::Foreign | Damage::Newer(_) | Damage::OtherKey(_) | Damage::Unreadable(_) => false,
        },
        _ => false,
    }
}
