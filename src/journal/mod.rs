//! One row per capture, and when it is due.
//!
//! Owns: the record's row and every index over it, the queue of each archive, the rows of studies and of orders' answers, the questions for storage
//! commitment.
//! Never: decides what happens to a capture; reads the spool.

mod index;
mod queue;
mod sheets;
mod transaction;
mod usage;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capture::binding::StudyBinding;
use crate::capture::record::Digest;
use crate::capture::{CaptureId, Identifier, Operator, Order, Phi, Record, Stage, Uid};
use crate::seal::aead::Kek;
use crate::store::group::Group;
use crate::store::{Batch, Store, StoreError, Table};
use index::{Indexes, KeyChanges};
use queue::Tag;
pub use queue::{Queue, Queued, Span};
use transaction::TRANSACTIONS;
pub use transaction::{Covered, Transaction};
use usage::{Usage, Walk};

const RECORDS: Table<CaptureId, Record> = Table::new(0x10);
/// By [`crate::capture::record::Idempotency::key`].
const IDEMPOTENCY: Table<Digest, CaptureId> = Table::new(0x14);
const STUDIES: Table<Digest, StudyRow> = Table::new(0x16);
/// What others said of an order that the hospital announced without a study: by the same key as the
/// study that it would have here.
const ORDERS: Table<Digest, Order> = Table::new(0x1B);
/// One row, once everything that the spool tells is in the index.
const WHOLE: Table<Vec<u8>, bool> = Table::new(0x19);

/// Captures read at once while a filter is applied.
const PAGE_ROWS: usize = 256;

/// The journal of one gateway.
pub struct Journal {
    store: Arc<dyn Store>,
    indexes: Indexes,
    commits: Group<Commit, Result<(), JournalError>>,
    /// Captures by stage, in the order of [`Stage::ALL`].
    counts: [AtomicU64; Stage::ALL.len()],
    /// The counts may be wrong: a commit that failed may have happened after all.
    miscounted: AtomicBool,
    /// How often an index that was put aside began, or was, made anew: odd while it is.
    rebuilds: AtomicU64,
    /// Held over a commit, and while another index takes the place of this one: what a commit read
    /// of the one is never written into the other.
    turn: Mutex<()>,
    /// What was counted at opening, for the recovery that comes next: 16 bytes a capture.
    counted: Mutex<Option<Vec<CaptureId>>>,
    usage: Mutex<Usage>,
    /// Somebody waits for another page of it.
    usage_wanted: AtomicBool,
    /// Captures that wait, by archive and stage.
    lanes: Mutex<BTreeMap<(Tag, Stage), u64>>,
}

/// Changes that happen together.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// A record that is there already stays as it is.
    pub insert: Vec<Record>,
    /// The record as it was read, and as it shall be. Where it was changed meanwhile, nothing of
    /// the commit happens.
    pub replace: Vec<(Record, Record)>,
    pub studies: Vec<(Digest, StudyRow)>,
    /// What a worklist or an archive said of orders.
    pub orders: Vec<(Digest, Order)>,
    /// Questions that are about to be asked.
    pub transactions: Vec<(Uid, Transaction)>,
}

/// What the gateway knows of a study it adds to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyRow {
    pub study: StudyBinding,
    /// Keyed hash of the patient: the study must not change hands.
    #[serde(with = "crate::capture::hex")]
    pub patient: Digest,
    /// The patient: after a merge the hospital says who that is now. `None` in older rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_for: Option<Identifier>,
    /// (0040,1001) of the orders whose captures are in it, as the hospital named them; empty: of one that
    /// names none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub procedures: BTreeSet<Phi>,
    pub next_series_number: u32,
    pub last_capture_at: Timestamp,
}

impl StudyRow {
    /// False where it is known to be of other requested procedures than the one that an order names. What was
    /// filed in it before the hospital named one is of the one that was named first.
    #[must_use]
    pub fn may_be_of_procedure(&self, procedure_id: &Phi) -> bool {
        let mut named = self.procedures.iter().filter(|known| !known.is_empty()).peekable();
        procedure_id.is_empty() || named.peek().is_none() || named.any(|known| known == procedure_id)
    }
}

/// Which captures a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub stage: Option<Stage>,
    /// Issuer and subject of the operator.
    pub owner: Option<(String, String)>,
}

/// Captures in the order of their acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<Record>,
    /// Where the next page goes on; `None` at the end.
    pub next: Option<CaptureId>,
}

/// Carries no patient data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    Store(StoreError),
    /// Somebody else replaced the record since it was read. Read it again.
    Stale,
    /// A record contradicts itself: a bug.
    Broken(&'static str),
    /// A record has a format that a newer gateway wrote.
    Newer(u16),
    /// The index is being made anew, and what was asked for may yet come.
    BeingMade,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Stale => f.write_str("the capture was changed by somebody else meanwhile; look at it again"),
            Self::Newer(found) => {
                write!(f, "a capture has format {found}, which this version does not know; run the newer version")
            }
            Self::BeingMade => f.write_str("the index is being made anew from the spool; try again in a minute"),
            Self::Broken(rule) => write!(f, "a record contradicts itself: {rule}; keep the data and report it"),
        }
    }
}

impl std::error::Error for JournalError {}

impl JournalError {
    /// True where the row itself is the trouble: reading it again gives the same until somebody
    /// repairs it.
    #[must_use]
    pub fn is_of_the_row(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Newer(_) | Self::Store(StoreError::Sealed | StoreError::Unexpected))
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Journal {
    /// Opens the journal in `store` and counts its captures.
    ///
    /// # Errors
    /// [`JournalError::Store`].
    pub fn open(store: Arc<dyn Store>, kek: &Kek) -> Result<Self, JournalError> {
        let indexes = Indexes::new(kek);
        let counts = Stage::ALL.map(|_| AtomicU64::new(0));
        let journal = Self {
            store,
            indexes,
            commits: Group::new(),
            counts,
            miscounted: AtomicBool::new(false),
            rebuilds: AtomicU64::new(0),
            turn: Mutex::default(),
            counted: Mutex::default(),
            usage: Mutex::default(),
            usage_wanted: AtomicBool::new(false),
            lanes: Mutex::default(),
        };
        sheets::take_over(&*journal.store, &index::PREFIXES)?;
        let ids = journal.recount()?;
        *journal.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(ids);
        Ok(journal)
    }

    /// Counts all captures; answers which there are, ascending.
    fn recount(&self) -> Result<Vec<CaptureId>, JournalError> {
        *self.usage() = Usage::default();
        *self.lanes() = queue::counts(&*self.store)?;
        let mut ids = Vec::new();
        for (stage, count) in Stage::ALL.into_iter().zip(&self.counts) {
            let mut staged = index::all_staged(&*self.store, stage)?;
            count.store(staged.len() as u64, Ordering::Relaxed);
            ids.append(&mut staged);
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// False from the first commit that the disk did not confirm until [`Journal::health`] mended
    /// the index.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.store.is_sound() && !self.is_being_made()
    }

    /// True while an index that was put aside is made anew: what is not found may yet come.
    #[must_use]
    pub fn is_being_made(&self) -> bool {
        !self.rebuilds.load(Ordering::SeqCst).is_multiple_of(2)
    }

    /// Puts a damaged index aside and begins an empty one, which `fill` fills. Until it has, the
    /// journal is not sound; where it could not, call again.
    ///
    /// # Errors
    /// Errors of the store, and what `fill` says.
    pub fn rebuild<T>(&self, fill: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        self.rebuilds.fetch_or(1, Ordering::SeqCst);
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let turn = self.turn();
        let renewed = match self.store.health() {
            Err(StoreError::Corrupt(_)) => self.store.renew(),
            other => other,
        };
        drop(turn);
        self.miscounted.store(true, Ordering::SeqCst);
        let filled = renewed.map_err(|e| e.to_string()).and_then(|()| fill())?;
        self.rebuilds.fetch_add(1, Ordering::SeqCst);
        Ok(filled)
    }

    /// True where everything that the spool told was written into this index once.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn is_whole(&self) -> Result<bool, JournalError> {
        Ok(WHOLE.contains(&*self.store, &Vec::new())?)
    }

    /// To be called when everything that the spool tells is written.
    ///
    /// # Errors
    /// Errors of a commit.
    pub fn note_whole(&self) -> Result<(), JournalError> {
        let mut batch = Batch::new();
        WHOLE.put(&mut batch, &Vec::new(), &true)?;
        Ok(self.store.commit(batch)?)
    }

    /// Whether commits are durable; where one was not, mends that. A commit that failed may have
    /// happened after all: nobody was told, and whoever tries again finds it.
    ///
    /// # Errors
    /// Where the disk still does not take it; [`JournalError::BeingMade`] where [`Journal::rebuild`]
    /// did not come to its end.
    pub fn health(&self) -> Result<(), JournalError> {
        if !self.store.is_sound() {
            self.store.health()?;
            self.miscounted.store(true, Ordering::SeqCst);
            // Counted where nothing else is written meanwhile.
            self.commit(Commit::default())?;
        }
        if self.is_being_made() { Err(JournalError::BeingMade) } else { Ok(()) }
    }

    /// Makes all of `commit` durable with its indexes, or nothing. Callers share flushes.
    ///
    /// # Errors
    /// [`JournalError::Stale`] where a record to be replaced is not what it was; and errors of
    /// the store.
    pub fn commit(&self, commit: Commit) -> Result<(), JournalError> {
        let done = self.commits.run(commit, |commits| self.lead(&commits));
        done.unwrap_or(Err(JournalError::Store(StoreError::NotDurable)))
    }

    /// Every capture there is, ascending. At a start it is known from the opening.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn all_ids(&self) -> Result<Vec<CaptureId>, JournalError> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).take();
        counted.map_or_else(|| self.ids(&Stage::ALL), Ok)
    }

    /// Every capture of these stages, ascending: 16 bytes each.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn ids(&self, stages: &[Stage]) -> Result<Vec<CaptureId>, JournalError> {
        let mut ids = Vec::new();
        for stage in stages.iter().copied() {
            ids.append(&mut index::all_staged(&*self.store, stage)?);
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// # Errors
    /// [`JournalError`]; so in all that read.
    pub fn get(&self, id: CaptureId) -> Result<Option<Record>, JournalError> {
        let record = RECORDS.get(&*self.store, &id)?;
        record.map(checked).transpose()
    }

    /// # Errors
    /// As for [`Journal::get`].
    pub fn contains(&self, id: CaptureId) -> Result<bool, JournalError> {
        Ok(RECORDS.contains(&*self.store, &id)?)
    }

    /// As [`Journal::get`], for somebody who takes `None` as an answer.
    ///
    /// # Errors
    /// As for [`Journal::get`]; [`JournalError::BeingMade`] where nothing is found while the index is
    /// made anew.
    pub fn find(&self, id: CaptureId) -> Result<Option<Record>, JournalError> {
        self.found(|| self.get(id))
    }

    /// The capture that was accepted under an idempotency key.
    ///
    /// # Errors
    /// As for [`Journal::find`].
    pub fn by_idempotency(&self, key: &Digest) -> Result<Option<Record>, JournalError> {
        self.found(|| {
            let id = IDEMPOTENCY.get(&*self.store, key)?;
            Ok(id.map(|id| self.get(id)).transpose()?.flatten())
        })
    }

    /// What `look` finds. That it finds nothing counts only where all was there all the time.
    fn found<T>(&self, look: impl FnOnce() -> Result<Option<T>, JournalError>) -> Result<Option<T>, JournalError> {
        let before = self.rebuilds.load(Ordering::SeqCst);
        let found = look()?;
        let is_sure = found.is_some() || before.is_multiple_of(2) && before == self.rebuilds.load(Ordering::SeqCst);
        if is_sure { Ok(found) } else { Err(JournalError::BeingMade) }
    }

    /// Captures of which an item is due at `now`, longest due first.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Record>, JournalError> {
        self.records(index::due(&*self.store, now, limit)?)
    }

    /// The ids alone, so that a row that cannot be read does not hide the others.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn due_ids(&self, now: Timestamp, limit: usize) -> Result<Vec<CaptureId>, JournalError> {
        index::due(&*self.store, now, limit)
    }

    /// When the next capture is due that is not among `busy`, be it past or to come.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn next_due(&self, busy: &BTreeSet<CaptureId>) -> Result<Option<Timestamp>, JournalError> {
        let first = index::due(&*self.store, Timestamp::MAX, busy.len() + 1)?.into_iter().find(|id| !busy.contains(id));
        Ok(first.map(|id| self.get(id)).transpose()?.flatten().as_ref().and_then(Record::due))
    }

    /// At most `limit` captures of a stage behind `after`, in the order of acceptance.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn staged(&self, stage: Stage, after: Option<CaptureId>, limit: usize) -> Result<Vec<CaptureId>, JournalError> {
        index::staged(&*self.store, stage, after, limit)
    }

    /// Captures that wait for one of these identifiers: a claim names it, and an item of theirs
    /// is held or not yet identified.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn waiting(&self, identifiers: &[Phi]) -> Result<Vec<CaptureId>, JournalError> {
        let mut ids = Vec::new();
        for identifier in identifiers {
            ids.extend(self.indexes.waiting(&*self.store, identifier)?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// At most `limit` captures behind `after`, in the order of acceptance.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn list(&self, filter: &Filter, after: Option<CaptureId>, limit: usize) -> Result<Page, JournalError> {
        let mut page = Page { records: Vec::new(), next: None };
        let mut after = after;
        loop {
            // One more than wanted tells whether there is more.
            let wanted = (limit + 1 - page.records.len()).min(PAGE_ROWS);
            let found = self.list_some(filter, after, wanted)?;
            let is_end = found.len() < wanted;
            after = found.last().map(Record::id);
            let shown = |r: &Record| filter.stage.is_none_or(|stage| r.stage() == stage);
            page.records.extend(found.into_iter().filter(shown));
            if page.records.len() > limit {
                page.records.truncate(limit);
                page.next = page.records.last().map(Record::id);
                return Ok(page);
            }
            if is_end {
                return Ok(page);
            }
        }
    }

    /// Sealed bytes that wait for the archive: of one operator, and of one department. At a start
    /// they are known when [`Journal::count_usage`] has come to its end.
    #[must_use]
    pub fn waiting_bytes(&self, operator: &Operator, department: &str) -> (u64, u64) {
        self.usage().of(&self.indexes.owner(operator), department)
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what waits in the rows that were there at the start, a page a call; false when all
    /// are counted. Writers wait for a page, not for all of them.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn count_usage(&self) -> Result<bool, JournalError> {
        self.usage_wanted.store(true, Ordering::SeqCst);
        self.commit(Commit::default())?;
        Ok(self.usage().walk() != Walk::Done)
    }

    fn count_usage_page(&self) -> Result<(), JournalError> {
        let after = match self.usage().walk() {
            Walk::NotBegun => None,
            Walk::At(id) => Some(id),
            Walk::Done => return Ok(()),
        };
        let rows = RECORDS.scan(&*self.store, after.as_ref(), PAGE_ROWS)?;
        let is_end = rows.len() < PAGE_ROWS;
        let owned = rows.iter().map(|(_, record)| (self.indexes.owner(&record.acceptance.operator), record));
        self.usage().walked(owned, is_end);
        Ok(())
    }

    /// Captures that are due later than `after`, soonest first.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn due_after(&self, after: Timestamp, limit: usize) -> Result<Vec<CaptureId>, JournalError> {
        index::due_after(&*self.store, after, limit)
    }

    fn tag(&self, archive: &str) -> Tag {
        self.indexes.tag(archive)
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<(Tag, Stage), u64>> {
        // Whole at every point where the lock is let go.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Captures by stage.
    #[must_use]
    pub fn counts(&self) -> Vec<(Stage, u64)> {
        Stage::ALL.into_iter().zip(&self.counts).map(|(stage, count)| (stage, count.load(Ordering::Relaxed))).collect()
    }

    /// # Errors
    /// As for [`Journal::get`].
    pub fn study(&self, key: &Digest) -> Result<Option<StudyRow>, JournalError> {
        Ok(STUDIES.get(&*self.store, key)?)
    }

    /// What others said of an order.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn order(&self, key: &Digest) -> Result<Option<Order>, JournalError> {
        Ok(ORDERS.get(&*self.store, key)?)
    }

    /// Rows behind `after` that may belong to the filter: the narrower index chooses.
    fn list_some(&self, filter: &Filter, after: Option<CaptureId>, limit: usize) -> Result<Vec<Record>, JournalError> {
        let store = &*self.store;
        match (&filter.owner, filter.stage) {
            (Some((issuer, subject)), _) => self.records(self.indexes.owned(store, issuer, subject, after, limit)?),
            (None, Some(stage)) => self.records(index::staged(store, stage, after, limit)?),
            (None, None) => RECORDS.scan(store, after.as_ref(), limit)?.into_iter().map(|(_, record)| checked(record)).collect(),
        }
    }

    /// The rows behind index entries. An entry whose row went meanwhile is passed over.
    fn records(&self, ids: Vec<CaptureId>) -> Result<Vec<Record>, JournalError> {
        ids.into_iter().filter_map(|id| self.get(id).transpose()).collect()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what many callers handed in with one flush. Only one thread is here at a time, so
    /// what it reads stays true until it writes.
    fn lead(&self, commits: &[Commit]) -> Vec<Result<(), JournalError>> {
        let _turn = self.turn();
        // What a store shows that is not sound need not be what it has.
        if let Err(error) = self.store.commit(Batch::new()) {
            return vec![Err(error.into()); commits.len()];
        }
        if self.miscounted.swap(false, Ordering::SeqCst)
            && let Err(error) = self.recount()
        {
            self.miscounted.store(true, Ordering::SeqCst);
            return vec![Err(error); commits.len()];
        }
        if self.usage_wanted.swap(false, Ordering::SeqCst)
            && let Err(error) = self.count_usage_page()
        {
            return vec![Err(error); commits.len()];
        }
        let mut plan = Plan::default();
        let mut results: Vec<_> = commits.iter().map(|commit| self.plan(commit, &mut plan)).collect();
        let done = self.write(&plan);
        for result in results.iter_mut().filter(|r| r.is_ok()) {
            result.clone_from(&done);
        }
        results
    }

    /// Adds one commit to the plan, whole or not at all.
    fn plan(&self, commit: &Commit, plan: &mut Plan) -> Result<(), JournalError> {
        let mut changed: HashMap<CaptureId, Row> = HashMap::new();
        for record in &commit.insert {
            let row = self.row(record.id(), plan, &mut changed)?;
            if row.now.is_none() {
                row.now = Some(checked(record.clone())?);
            }
        }
        for (old, new) in &commit.replace {
            let row = self.row(old.id(), plan, &mut changed)?;
            if row.now.as_ref() != Some(old) || old.id() != new.id() {
                return Err(JournalError::Stale);
            }
            row.now = Some(checked(new.clone())?);
        }
        plan.rows.extend(changed);
        plan.studies.extend(commit.studies.iter().cloned());
        plan.orders.extend(commit.orders.iter().cloned());
        plan.transactions.extend(commit.transactions.iter().cloned());
        Ok(())
    }

    /// The row as the commits before this change left it.
    fn row<'a>(&self, id: CaptureId, plan: &Plan, changed: &'a mut HashMap<CaptureId, Row>) -> Result<&'a mut Row, JournalError> {
        match changed.entry(id) {
            Entry::Occupied(row) => Ok(row.into_mut()),
            Entry::Vacant(place) => {
                let planned = plan.rows.get(&id).cloned();
                let row = planned.map_or_else(|| self.get(id).map(|stored| Row { stored: stored.clone(), now: stored }), Ok)?;
                Ok(place.insert(row))
            }
        }
    }

    fn write(&self, plan: &Plan) -> Result<(), JournalError> {
        let mut batch = Batch::new();
        let (mut moves, mut queues, mut keys) = (Vec::new(), Vec::new(), KeyChanges::default());
        for (id, row) in &plan.rows {
            let Some(now) = row.now.as_ref().filter(|_| row.now != row.stored) else { continue };
            RECORDS.put(&mut batch, id, now)?;
            queues.push(self.indexes.change(&mut keys, row.stored.as_ref(), now));
            moves.push((row.stored.as_ref(), now));
        }
        sheets::change(&*self.store, &mut batch, &keys.gone, &keys.come)?;
        self.put_idempotency(&mut batch, plan)?;
        for (key, study) in &plan.studies {
            STUDIES.put(&mut batch, key, study)?;
        }
        for (key, order) in &plan.orders {
            ORDERS.put(&mut batch, key, order)?;
        }
        for (key, transaction) in &plan.transactions {
            TRANSACTIONS.put(&mut batch, key, transaction)?;
        }
        self.store.commit(batch)?;
        let mut lanes = self.lanes();
        for moved in queues {
            for row in moved.come {
                *lanes.entry(row).or_insert(0) += 1;
            }
            for row in moved.gone {
                lanes.entry(row).and_modify(|count| *count = count.saturating_sub(1));
            }
        }
        drop(lanes);
        for (from, to) in moves {
            self.usage().changed(self.indexes.owner(&to.acceptance.operator), from, to);
            self.count(to.stage()).fetch_add(1, Ordering::Relaxed);
            if let Some(from) = from {
                self.count(from.stage()).fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Under one key the latest accepted capture counts, so that a rebuild finds the one the sender
    /// heard of: an older one may only be a promise that failed and came back with the power.
    fn put_idempotency(&self, batch: &mut Batch, plan: &Plan) -> Result<(), JournalError> {
        let mut latest: HashMap<Digest, CaptureId> = HashMap::new();
        for (id, row) in plan.rows.iter().filter(|(_, row)| row.stored.is_none()) {
            if let Some(idempotency) = row.now.as_ref().and_then(|now| now.acceptance.idempotency) {
                let holder = latest.entry(idempotency.key).or_insert(*id);
                *holder = (*holder).max(*id);
            }
        }
        for (key, id) in latest {
            let stored = IDEMPOTENCY.get(&*self.store, &key)?;
            if stored.is_none_or(|stored| id > stored) {
                IDEMPOTENCY.put(batch, &key, &id)?;
            }
        }
        Ok(())
    }

    fn count(&self, stage: Stage) -> &AtomicU64 {
        let [accepted, identified, wrapped, forwarded, committed, held, discarded] = &self.counts;
        match stage {
            Stage::Accepted => accepted,
            Stage::Identified => identified,
            Stage::Wrapped => wrapped,
            Stage::Forwarded => forwarded,
            Stage::Committed => committed,
            Stage::Held => held,
            Stage::Discarded => discarded,
        }
    }
}

/// One row while commits are planned.
#[derive(Clone)]
struct Row {
    stored: Option<Record>,
    now: Option<Record>,
}

#[derive(Default)]
struct Plan {
    rows: HashMap<CaptureId, Row>,
    studies: HashMap<Digest, StudyRow>,
    orders: HashMap<Digest, Order>,
    transactions: Vec<(Uid, Transaction)>,
}

fn checked(record: Record) -> Result<Record, JournalError> {
    if record.version > Record::VERSION {
        return Err(JournalError::Newer(record.version));
    }
    record.check().map_err(|broken| JournalError::Broken(broken.0))?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_first_byte_of_its_own() {
        let tables = [RECORDS.prefix(), IDEMPOTENCY.prefix(), STUDIES.prefix(), ORDERS.prefix(), WHOLE.prefix()];
        let mut all = [&tables[..], &[TRANSACTIONS.prefix(), sheets::SHEET], &index::PREFIXES].concat();
        all.sort_unstable();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:x?}");
    }
}
