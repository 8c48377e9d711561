//! One unit of work behind the promise line: settle → claim → act.
//!
//! One claimer, many workers: only [`Line::step`] decides and writes, in one flushed batch a
//! round; workers take a claimed capture, act, and report. An attempt is counted and flushed
//! before it is made. Whom a dead process had claimed is due again at once, because being claimed
//! is only remembered in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::act::{self, Act, Awaited, Decision, Inbox, Note, Verdict};
use super::bind::{self, Place};
use super::commit;
use super::forward::{self, NamedArchive};
use super::identify::{self, Doubt};
use super::observer::Observer;
use super::pending::Pending;
use super::refusal::Refusal;
use super::sealed;
use super::sweep::Sweeper;
use super::tombstone;
use crate::capture::claim::PatientKey;
use crate::capture::record::{Digest, Schedule};
use crate::capture::retry::{Next, RetryPolicy};
use crate::capture::{Binding, CaptureId, Class, Failure, FailureCode, ItemId, ItemRecord, Record, Stage};
use crate::clock::Clock;
use crate::journal::{Commit, Filter, Journal, StudyRow};
use crate::lookup::Lookup;
use crate::seal::random;
use crate::spool::Spool;

/// Arrivals wait this long for each other, so that one flush serves many; nobody waits for it,
/// since the phone has its answer.
const GATHER: Duration = Duration::from_millis(25);
/// Longest sleep of the claimer.
const NAP: Duration = Duration::from_secs(60);
/// Every so often all held captures are looked at again: a message that made a match exact may
/// have come while nobody could know who waits for it.
const LOOK_AGAIN_MS: i64 = 5 * 60_000;
/// Held captures that one round looks at.
const LOOK_AGAIN_MAX: usize = 200;
/// A worker without a job looks this often whether an association may be given back.
const IDLE: Duration = Duration::from_secs(5);
/// After the journal did not take a batch.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a person waits for a decision: a photo is at the archive, or refused, before. Once it
/// is being written the same again is added.
const DECIDE_WAIT: Duration = Duration::from_secs(10);
/// Captures that one round looks at: bounds the batch and the memory of a round.
const ROUND_MAX: usize = 64;
/// Claimed captures that wait for a worker, beyond those being worked on.
const CLAIMED_MAX: usize = 16;

/// Everything the line works with.
pub struct Works {
    pub spool: Arc<Spool>,
    pub journal: Arc<Journal>,
    pub pending: Arc<Pending>,
    pub lookup: Arc<dyn Lookup>,
    /// `None`: no archive is configured; captures wait, identified.
    pub archive: Option<NamedArchive>,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub place: Place,
    /// Whose a number is that the claim gives no issuer.
    pub assigning_authority: String,
    pub retry: RetryPolicy,
}

/// What a round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many captures were settled, claimed or held.
    Did(usize),
    /// Nothing to do before then; `None`: before something arrives.
    IdleUntil(Option<Timestamp>),
    /// The journal did not take the batch; everything is kept and tried again.
    Blocked,
}

/// The one line all captures go through.
pub struct Line {
    works: Works,
    pub(super) clerk: commit::Clerk,
    pub(super) sweeper: Sweeper,
    state: Mutex<State>,
    /// Something for the claimer.
    claimer: Condvar,
    /// Something for the workers.
    workers: Condvar,
    /// Grows with each change of the hospital's facts: who was held while they changed is looked
    /// at again.
    facts: AtomicU64,
}

/// Where the walk over all held captures stands.
#[derive(Default)]
struct Rounds {
    /// When the last walk began; `None`: not since the start.
    begun: Option<Timestamp>,
    /// The walk goes on behind this one.
    after: Option<CaptureId>,
    under_way: bool,
}

#[derive(Default)]
struct State {
    rounds: Rounds,
    arrived: bool,
    woken: BTreeSet<CaptureId>,
    /// Woken while in a worker's hands.
    postponed: BTreeSet<CaptureId>,
    claimed: BTreeSet<CaptureId>,
    jobs: VecDeque<Job>,
    outcomes: Vec<Outcome>,
    inbox: Inbox,
    /// A decision came in since the last round.
    asked: bool,
    /// Discarded captures whose bytes are still to be erased.
    erasable: BTreeMap<CaptureId, u16>,
    answers: Vec<commit::Answer>,
    stopping: bool,
}

/// A claimed capture: the items that are due, and whose they are.
pub struct Job {
    pub record: Record,
    pub items: Vec<u16>,
}

/// What became of a job.
pub struct Outcome {
    pub id: CaptureId,
    pub items: Vec<ItemOutcome>,
}

pub struct ItemOutcome {
    pub index: u16,
    pub at: Timestamp,
    /// Stored, or not.
    pub result: Result<Delivery, Failed>,
}

/// An item that the archive has.
pub struct Delivery {
    /// Of the archive, where it had one.
    pub warning: Option<String>,
    /// For a person: what could not enter the object.
    pub notes: Vec<&'static str>,
    /// Of the coded picture as it left.
    pub sent_sha256: Digest,
}

/// `wrapped`: the object was built, so the failure is the archive's.
pub struct Failed {
    pub wrapped: bool,
    pub failure: Failure,
}

impl Line {
    #[must_use]
    pub fn new(works: Works) -> Self {
        Self {
            works,
            clerk: commit::Clerk::default(),
            sweeper: Sweeper::default(),
            state: Mutex::default(),
            claimer: Condvar::new(),
            workers: Condvar::new(),
            facts: AtomicU64::new(0),
        }
    }

    #[must_use]
    pub fn works(&self) -> &Works {
        &self.works
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A capture was accepted.
    pub fn arrived(&self) {
        self.state().arrived = true;
        self.claimer.notify_one();
    }

    /// The hospital's facts changed. To be called before it is asked who waited for them: a capture
    /// that is being held just now is looked at again.
    pub fn facts_changed(&self) {
        self.facts.fetch_add(1, Ordering::SeqCst);
    }

    /// These captures waited for facts that changed.
    pub fn wake(&self, ids: Vec<CaptureId>) {
        if !ids.is_empty() {
            self.state().woken.extend(ids);
            self.claimer.notify_one();
        }
    }

    /// Gives a person's decision to the next round.
    ///
    /// # Errors
    /// `Busy` where too many wait.
    pub fn ask(&self, decision: Decision) -> Result<Awaited, Refusal> {
        let awaited = {
            let mut state = self.state();
            state.asked = true;
            state.inbox.add(decision)?
        };
        self.claimer.notify_one();
        Ok(awaited)
    }

    /// Waits for what became of a decision.
    ///
    /// # Errors
    /// What the round refuses; `Conflict` where a worker had the capture all the time: then
    /// nothing will come of the decision.
    pub fn answer(&self, awaited: &Awaited) -> Verdict {
        for _ in 0..2 {
            if let Ok(verdict) = awaited.answer.recv_timeout(DECIDE_WAIT) {
                return verdict;
            }
            if let Some(refusal) = self.state().inbox.withdraw(awaited.number) {
                return Err(refusal);
            }
        }
        Err(act::unanswered())
    }

    /// What an archive said about what it keeps.
    pub(super) fn answered(&self, answers: Vec<commit::Answer>) {
        if !answers.is_empty() {
            let mut state = self.state();
            state.answers.extend(answers);
            state.arrived = true;
            drop(state);
            self.claimer.notify_one();
        }
    }

    pub(super) fn answers_waiting(&self) -> usize {
        self.state().answers.len()
    }

    pub fn stop(&self) {
        self.clerk.stop();
        self.sweeper.stop();
        self.state().stopping = true;
        self.claimer.notify_all();
        self.workers.notify_all();
    }

    /// The claimer's thread: rounds until [`Line::stop`].
    pub fn run_claimer(&self) {
        loop {
            // sled panics on some kinds of damage; the line must outlive that.
            let progress = catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(|_| {
                self.works.observer.written(Err("the line broke; the cause is in the log"));
                Progress::Blocked
            });
            let mut state = self.state();
            if state.stopping {
                return;
            }
            let wait = self.pause(progress);
            let nothing = state.outcomes.is_empty() && state.woken.is_empty() && !state.arrived && !state.asked;
            if nothing || progress == Progress::Blocked {
                state = self.claimer.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            // One flush serves many: a lone capture's outcome is written at once, the first of
            // several waits for the others.
            let comes_more = state.outcomes.is_empty() && state.arrived || state.claimed.len() > state.outcomes.len();
            if comes_more {
                let alone = |s: &mut State| !s.stopping && s.outcomes.len() < CLAIMED_MAX;
                drop(self.claimer.wait_timeout_while(state, GATHER, alone).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    fn pause(&self, progress: Progress) -> Duration {
        match progress {
            Progress::Did(_) => Duration::ZERO,
            Progress::Blocked => STORE_PAUSE,
            Progress::IdleUntil(None) => NAP,
            Progress::IdleUntil(Some(at)) => {
                let wait = at.duration_since(self.works.clock.now());
                Duration::try_from(wait).unwrap_or(Duration::ZERO).min(NAP)
            }
        }
    }

    /// The last round, after the workers have ended: writes what they reported, begins nothing.
    pub fn finish(&self) {
        let now = self.works.clock.now();
        let outcomes = std::mem::take(&mut self.state().outcomes);
        let mut round = Round::new(&self.works, now);
        for outcome in &outcomes {
            // What cannot be written is sent again at the next start, under the same UID.
            let _unwritten = round.settle(outcome);
        }
        if let Err(why) = round.write() {
            self.works.observer.written(Err(&why));
        }
    }

    /// One worker's thread: jobs until [`Line::stop`].
    pub fn run_worker(&self) {
        loop {
            let job = {
                let mut state = self.state();
                loop {
                    if state.stopping {
                        return;
                    }
                    if let Some(job) = state.jobs.pop_front() {
                        break job;
                    }
                    let (waited, idle) = self.workers.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                    state = waited;
                    if idle.timed_out() && state.jobs.is_empty() {
                        drop(state);
                        self.release_idle();
                        state = self.state();
                    }
                }
            };
            self.work(&job);
        }
    }

    /// Archives that serve one peer at a time wait for us to leave.
    fn release_idle(&self) {
        if let Some(target) = &self.works.archive {
            target.archive.release_idle();
        }
    }

    /// Works one waiting job off; false where there is none. For a test on one thread.
    pub fn work_one(&self) -> bool {
        let job = self.state().jobs.pop_front();
        job.inspect(|job| self.work(job)).is_some()
    }

    fn work(&self, job: &Job) {
        let outcome = forward::deliver(&self.works, job, &|| !self.state().stopping);
        self.state().outcomes.push(outcome);
        self.claimer.notify_one();
    }

    /// One round: settles what the workers report, takes in arrivals, identifies, claims what is
    /// due, writes it all in one flushed batch, and only then hands it to the workers.
    pub fn step(&self) -> Progress {
        let now = self.works.clock.now();
        let (outcomes, woken, claimed, notes) = {
            let mut state = self.state();
            (state.arrived, state.asked) = (false, false);
            let (outcomes, woken) = (std::mem::take(&mut state.outcomes), std::mem::take(&mut state.woken));
            (outcomes, woken, state.claimed.clone(), state.inbox.take())
        };
        let facts = self.facts.load(Ordering::SeqCst);
        let mut round = Round::new(&self.works, now);
        round.answers = std::mem::take(&mut self.state().answers);
        let (woken, later): (BTreeSet<_>, BTreeSet<_>) =
            woken.into_iter().partition(|id| !claimed.contains(id) || outcomes.iter().any(|o| o.id == *id));
        let done = self.fill(&mut round, &outcomes, &woken, &claimed, &notes);
        let written = done.and_then(|verdicts| round.write().map(|()| verdicts));
        let mut state = self.state();
        // Whoever is in a worker's hands is looked at again once it is settled.
        state.postponed.extend(later);
        let verdicts = match written {
            Ok(verdicts) => verdicts,
            Err(why) => {
                self.works.observer.written(Err(&why));
                state.outcomes.splice(0..0, outcomes);
                state.answers.splice(0..0, round.answers);
                state.woken.extend(woken);
                state.inbox.put_back_tried(notes);
                return Progress::Blocked;
            }
        };
        let did = round.touched();
        if did > 0 {
            self.works.observer.written(Ok(()));
        }
        let (answered, deferred): (Vec<_>, Vec<_>) = notes.into_iter().zip(verdicts).partition(|(_, verdict)| verdict.is_some());
        state.inbox.put_back(deferred.into_iter().map(|(note, _)| note).collect());
        state.erasable.extend(round.erasable());
        let settled: Vec<CaptureId> = outcomes.iter().map(|o| o.id).collect();
        state.claimed.retain(|id| !settled.contains(id));
        let free: Vec<CaptureId> = state.postponed.iter().filter(|id| !state.claimed.contains(id)).copied().collect();
        state.postponed.retain(|id| !free.contains(id));
        state.woken.extend(free);
        state.claimed.extend(round.jobs.iter().map(|j| j.record.id()));
        if self.facts.load(Ordering::SeqCst) != facts {
            state.woken.extend(round.held.iter().copied());
        }
        self.clerk.ask(std::mem::take(&mut round.asks));
        self.sweeper.rested(&self.works, round.changes.values().map(|(_, new)| new));
        state.jobs.extend(round.jobs);
        self.walk_held(&mut state, now);
        let busy = state.claimed.clone();
        let more = state.rounds.under_way;
        drop(state);
        self.workers.notify_all();
        self.erase();
        for (note, verdict) in answered {
            if let Some(verdict) = verdict {
                note.tell(verdict);
            }
        }
        if did > 0 || more { Progress::Did(did) } else { Progress::IdleUntil(self.next_due(&busy)) }
    }

    /// When there will be something to claim; without an archive there is nothing.
    fn next_due(&self, busy: &BTreeSet<CaptureId>) -> Option<Timestamp> {
        self.works.archive.as_ref().and_then(|_| self.works.journal.next_due(busy).ok().flatten())
    }

    /// Wakes the next held captures of the walk, and begins a new walk when it is time.
    fn walk_held(&self, state: &mut State, now: Timestamp) {
        let rounds = &mut state.rounds;
        let is_time = rounds.begun.is_none_or(|at| now.duration_since(at).as_millis() >= i128::from(LOOK_AGAIN_MS));
        if !rounds.under_way && !is_time {
            return;
        }
        if !rounds.under_way {
            *rounds = Rounds { begun: Some(now), after: None, under_way: true };
        }
        let held = Filter { stage: Some(Stage::Held), owner: None };
        let page = self.works.journal.list(&held, rounds.after, LOOK_AGAIN_MAX);
        let (ids, next) =
            page.map_or_else(|_| (Vec::new(), None), |p| (p.records.iter().map(Record::id).collect::<Vec<_>>(), p.next));
        rounds.after = next;
        rounds.under_way = next.is_some();
        state.woken.extend(ids);
    }

    /// Erases what was discarded, after the journal has it. What the disk does not do now is tried
    /// again in the next round, and at the next start.
    fn erase(&self) {
        let erasable = std::mem::take(&mut self.state().erasable);
        for (id, items) in erasable {
            // A row that cannot be read leaves nothing behind, and must not keep the bytes either.
            let record = self.works.journal.get(id).ok().flatten();
            let left = record.map_or(Ok(()), |record| tombstone::leave(&self.works.spool, &record, self.works.clock.now()));
            if left.is_err() || self.works.spool.remove(id, items).is_err() {
                self.state().erasable.insert(id, items);
            }
        }
    }

    /// Answers each decision; `None` where its capture is in a worker's hands or not yet in the
    /// journal, so that it has to wait.
    fn fill(
        &self,
        round: &mut Round,
        outcomes: &[Outcome],
        woken: &BTreeSet<CaptureId>,
        claimed: &BTreeSet<CaptureId>,
        notes: &[Note],
    ) -> Result<Vec<Option<Verdict>>, String> {
        round.hear()?;
        for outcome in outcomes {
            round.settle(outcome)?;
        }
        let settled: BTreeSet<CaptureId> = outcomes.iter().map(|o| o.id).collect();
        let busy: BTreeSet<CaptureId> = claimed.difference(&settled).copied().collect();
        round.room = (CLAIMED_MAX + super::WORKERS).saturating_sub(busy.len());
        let mut verdicts = Vec::with_capacity(notes.len());
        for Note { decision, .. } in notes {
            let waits = busy.contains(&decision.capture) || self.works.pending.get(decision.capture).is_some();
            verdicts.push(if waits { None } else { Some(round.decide(decision)) });
        }
        for record in self.works.pending.oldest(ROUND_MAX) {
            round.arrive(record);
        }
        for id in woken {
            round.look_again(*id)?;
        }
        if round.room > 0 && self.works.archive.is_some() {
            let due = self.works.journal.due_ids(round.now, busy.len() + round.room).map_err(|e| e.to_string())?;
            for id in due.into_iter().filter(|id| !busy.contains(id)) {
                round.claim(id);
            }
        }
        Ok(verdicts)
    }
}

/// One round's decisions, before they are written.
struct Round<'w> {
    works: &'w Works,
    now: Timestamp,
    inserts: BTreeMap<CaptureId, Record>,
    changes: BTreeMap<CaptureId, (Record, Record)>,
    studies: BTreeMap<Digest, StudyRow>,
    bindings: Vec<(CaptureId, Binding)>,
    jobs: Vec<Job>,
    answers: Vec<commit::Answer>,
    asks: Vec<ItemId>,
    /// Jobs that may still be added.
    room: usize,
    held: Vec<CaptureId>,
}

impl<'w> Round<'w> {
    fn new(works: &'w Works, now: Timestamp) -> Self {
        Self {
            works,
            now,
            inserts: BTreeMap::new(),
            changes: BTreeMap::new(),
            studies: BTreeMap::new(),
            bindings: Vec::new(),
            jobs: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
            room: 0,
            held: Vec::new(),
        }
    }

    fn touched(&self) -> usize {
        self.inserts.len() + self.changes.len()
    }

    /// Discarded captures whose bytes nobody needs any more.
    fn erasable(&self) -> impl Iterator<Item = (CaptureId, u16)> {
        let changed = self.changes.values().map(|(_, new)| new).filter(|r| r.is_erasable());
        changed.map(|r| (r.id(), r.acceptance.items))
    }

    /// The record as this round leaves it so far, and as it was before.
    fn load(&self, id: CaptureId) -> Result<Option<(Record, Record)>, String> {
        if let Some((old, new)) = self.changes.get(&id) {
            return Ok(Some((old.clone(), new.clone())));
        }
        let stored = self.works.journal.get(id).map_err(|e| e.to_string())?;
        Ok(stored.map(|r| (r.clone(), r)))
    }

    /// What a worker reported.
    fn settle(&mut self, outcome: &Outcome) -> Result<(), String> {
        let Some((old, mut record)) = self.load(outcome.id)? else { return Ok(()) };
        for item in &outcome.items {
            match &item.result {
                Ok(delivery) => self.stored(&mut record, item.index, item.at, delivery),
                Err(failed) => self.failed(&mut record, item.index, failed),
            }
        }
        self.changes.insert(outcome.id, (old, record));
        Ok(())
    }

    /// What an archive said of items.
    fn hear(&mut self) -> Result<(), String> {
        for answer in self.answers.clone() {
            let Some((old, mut record)) = self.load(answer.item.capture)? else { continue };
            commit::settle(self.works, &mut record, &answer, self.now);
            if record != old {
                self.changes.insert(record.id(), (old, record));
            }
        }
        Ok(())
    }

    fn stored(&self, record: &mut Record, index: u16, at: Timestamp, delivery: &Delivery) {
        for note in &delivery.notes {
            if !record.notes.iter().any(|n| n == note) {
                record.notes.push((*note).to_owned());
            }
        }
        if let Some(item) = record.items.get_mut(usize::from(index)) {
            item.sent_sha256 = Some(delivery.sent_sha256);
        }
        advance(record, index, Stage::Wrapped, at, None);
        advance(record, index, Stage::Forwarded, at, delivery.warning.clone());
        commit::stored(self.works, record, index, self.now);
        self.works.observer.reached(Stage::Forwarded);
        self.works.observer.delivered(at.duration_since(record.acceptance.accepted_at).as_secs_f64());
    }

    fn failed(&self, record: &mut Record, index: u16, failed: &Failed) {
        // An answer to a question may have overtaken the worker.
        if record.items.get(usize::from(index)).is_none_or(|i| matches!(i.stage, Stage::Forwarded | Stage::Committed)) {
            return;
        }
        if failed.wrapped {
            advance(record, index, Stage::Wrapped, self.now, None);
        }
        let Some(item) = record.items.get_mut(usize::from(index)) else { return };
        if failed.failure.code.nothing_was_stored() || !failed.wrapped {
            item.schedule.unsent = item.schedule.unsent.saturating_add(1);
        }
        let next = self.works.retry.next(item.schedule.attempts, failed.failure.class, jitter());
        item.failure = Some(failed.failure.clone());
        match next {
            Next::After(ms) => item.schedule.due = Some(later(self.now, ms)),
            Next::Hold => {
                item.schedule.due = None;
                self.works.observer.reached(Stage::Held);
                advance(record, index, Stage::Held, self.now, Some(failed.failure.code.word().to_owned()));
            }
        }
    }

    /// What a person decided. A row that cannot be read refuses its own decision and stops nobody.
    fn decide(&mut self, decision: &Decision) -> Verdict {
        let Some((old, mut record)) = self.load(decision.capture).map_err(|_| act::unreadable())? else {
            return Err(act::absent());
        };
        let before = record.clone();
        match &decision.act {
            Act::Retry => act::retry(&mut record, self.now, decision)?,
            Act::Hold => act::hold(&mut record, self.now, decision)?,
            Act::Discard => act::discard(&mut record, self.now, decision)?,
            Act::Assign(key) => self.assign(&mut record, key, decision)?,
        }
        for (was, is) in before.items.iter().zip(&record.items).filter(|(was, is)| was.stage != is.stage) {
            // What goes on where it was reached that long ago.
            if was.progress() != is.stage {
                self.works.observer.reached(is.stage);
            }
        }
        self.changes.insert(decision.capture, (old, record.clone()));
        Ok(record)
    }

    /// Binds a capture to the patient whom a person names: looked up as any other, never guessed.
    /// The binding there may be is replaced, because nothing was sent under it. The new one says
    /// whom the person named, so that every later look asks for that patient.
    fn assign(&mut self, record: &mut Record, key: &PatientKey, decision: &Decision) -> Result<(), Refusal> {
        act::may_be_assigned(record)?;
        let found = self.identify(record, Some(key)).map_err(act::refuse_doubt)?;
        let notes = found.notes.clone();
        let study = bind::study_key(&found, record, &self.works.place).map_err(act::refuse_doubt)?;
        let row = self.study(&study.row).map_err(act::refuse_doubt)?;
        let (mut binding, row) =
            bind::bind(found, record, &study, row, &self.works.place, self.now).map_err(act::refuse_doubt)?;
        binding.assigned = Some(key.clone());
        record.notes = notes;
        record.study_instance_uid = Some(binding.study.instance_uid.clone());
        act::assigned(record, self.now, decision)?;
        self.studies.insert(study.row, row);
        self.seal(record.id(), binding);
        Ok(())
    }

    /// To be sealed with this round; of one capture only the last.
    fn seal(&mut self, id: CaptureId, binding: Binding) {
        self.bindings.retain(|(bound, _)| *bound != id);
        self.bindings.push((id, binding));
    }

    /// A capture that is promised and not yet in the journal.
    fn arrive(&mut self, mut record: Record) {
        let id = record.id();
        self.find_owner(&mut record);
        self.claim_items(&mut record);
        self.inserts.insert(id, record);
    }

    /// A held capture whose hospital facts may have changed.
    fn look_again(&mut self, id: CaptureId) -> Result<(), String> {
        let Some((old, mut record)) = self.load(id)? else { return Ok(()) };
        if !record.items.iter().any(waits_for_facts) {
            return Ok(());
        }
        self.find_owner(&mut record);
        self.claim_items(&mut record);
        if record != old {
            self.changes.insert(id, (old, record));
        }
        Ok(())
    }

    /// A capture whose time has come. One whose row cannot be read waits for `journal rebuild` and
    /// stops nobody.
    fn claim(&mut self, id: CaptureId) {
        let (old, mut record) = match self.load(id) {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(why) => return self.works.observer.written(Err(&why)),
        };
        if record.items.iter().any(waits_for_owner) {
            self.find_owner(&mut record);
        } else if record.is_unsent() && self.room > 0 && record.items.iter().any(|i| is_ready(i, self.now)) {
            self.check_owner(&mut record);
        }
        self.claim_items(&mut record);
        if record != old {
            self.changes.insert(id, (old, record));
        }
    }

    /// Counts an attempt for each item that is due and ready, and makes the job.
    fn claim_items(&mut self, record: &mut Record) {
        if self.works.archive.is_none() {
            return;
        }
        self.asks.extend(commit::claim(self.works, record, self.now));
        let twice = self.jobs.iter().any(|j| j.record.id() == record.id());
        if self.room == 0 || twice {
            return;
        }
        let mut items = Vec::new();
        for (index, item) in (0..).zip(&mut record.items) {
            if is_ready(item, self.now) {
                item.schedule.attempts = item.schedule.attempts.saturating_add(1);
                items.push(index);
            }
        }
        if !items.is_empty() {
            self.room -= 1;
            self.jobs.push(Job { record: record.clone(), items });
        }
    }

    /// Identifies and binds, or holds.
    fn find_owner(&mut self, record: &mut Record) {
        match self.owner(record) {
            Ok(binding) => {
                record.study_instance_uid = Some(binding.study.instance_uid.clone());
                for index in 0..record.acceptance.items {
                    // What a person holds or gave up stays so.
                    let Some(item) = record.items.get_mut(usize::from(index)).filter(|i| waits_for_owner(i)) else { continue };
                    item.failure = None;
                    item.schedule = Schedule { due: Some(self.now), attempts: 0, unsent: 0 };
                    advance(record, index, Stage::Accepted, self.now, None);
                    advance(record, index, Stage::Identified, self.now, None);
                }
                self.works.observer.reached(Stage::Identified);
            }
            Err((code, detail)) => self.doubt(record, code, &detail),
        }
    }

    /// A capture that waited since it was identified, and of which the archive has nothing: what
    /// the hospital says now decides. A survivor of a merge and corrected names are taken over
    /// under the same UIDs; any doubt holds it.
    fn check_owner(&mut self, record: &mut Record) {
        if self.bindings.iter().any(|(id, _)| *id == record.id()) {
            return; // This round made it.
        }
        let Ok(Some(mut binding)) = sealed::read_binding(&self.works.spool, record.id()) else { return };
        self.follow(record, &binding);
        match self.identify(record, binding.assigned.as_ref()) {
            Ok(found) if found.patient == binding.patient => {}
            Ok(found) => {
                for index in 0..record.acceptance.items {
                    let stage = record.items.get(usize::from(index)).map_or(Stage::Identified, |i| i.stage);
                    advance(record, index, stage, self.now, Some("patient-updated".to_owned()));
                }
                binding.patient = found.patient;
                self.seal(record.id(), binding);
            }
            Err((FailureCode::LookupUnavailable, _)) => {}
            Err((code, detail)) => self.withdraw(record, code, &detail),
        }
    }

    /// A crash may have come between the sealing of an assigned binding and its row. What is sealed
    /// is what will be sent, so the row follows it.
    fn follow(&mut self, record: &mut Record, binding: &Binding) {
        if record.study_instance_uid.as_ref() != Some(&binding.study.instance_uid) {
            record.study_instance_uid = Some(binding.study.instance_uid.clone());
            // Unread, the number of its series may be given twice; the series keep their own UIDs.
            let _unread = self.restore_study(record, binding);
        }
    }

    /// Holds what was identified and is no longer sure; it goes back to where a match releases it.
    fn withdraw(&mut self, record: &mut Record, code: FailureCode, detail: &str) {
        for index in 0..record.acceptance.items {
            let goes = |i: &ItemRecord| matches!(i.stage, Stage::Identified | Stage::Wrapped);
            let Some(item) = record.items.get_mut(usize::from(index)).filter(|i| goes(i)) else { continue };
            item.failure = Some(Failure::new(code, detail, self.now));
            item.schedule.due = None;
            advance(record, index, Stage::Held, self.now, Some(code.word().to_owned()));
        }
        self.works.observer.reached(Stage::Held);
        self.held.push(record.id());
    }

    /// Whose it is by its claim, or by the patient whom a person named.
    fn identify(&self, record: &Record, assigned: Option<&PatientKey>) -> Result<identify::Match, Doubt> {
        let (claim, lookup, home) = (&record.acceptance.claim, &*self.works.lookup, &self.works.assigning_authority);
        match assigned {
            Some(key) => act::assigned_match(claim, key, lookup, home),
            None => identify::identify(claim, lookup, home),
        }
    }

    fn owner(&mut self, record: &mut Record) -> Result<Binding, Doubt> {
        let sealed = sealed::read_binding(&self.works.spool, record.id())?;
        // A binding that was sealed before a crash is the truth: an object may have left under it.
        if record.items.iter().all(|i| i.stage == Stage::Accepted)
            && let Some(binding) = sealed
        {
            self.restore_study(record, &binding)?;
            return Ok(binding);
        }
        let assigned = sealed.and_then(|binding| binding.assigned);
        let found = self.identify(record, assigned.as_ref())?;
        let key = bind::study_key(&found, record, &self.works.place)?;
        let row = self.study(&key.row)?;
        let notes = found.notes.clone();
        let (mut binding, row) = bind::bind(found, record, &key, row, &self.works.place, self.now)?;
        binding.assigned = assigned;
        record.notes = notes;
        self.studies.insert(key.row, row);
        self.seal(record.id(), binding.clone());
        Ok(binding)
    }

    /// A study's row, as this round leaves it so far.
    fn study(&self, row: &Digest) -> Result<Option<StudyRow>, Doubt> {
        match self.studies.get(row) {
            Some(row) => Ok(Some(row.clone())),
            None => self.works.journal.study(row).map_err(|e| (FailureCode::StoreUnavailable, e.to_string())),
        }
    }

    fn restore_study(&mut self, record: &Record, binding: &Binding) -> Result<(), Doubt> {
        // Its key was made once, so it can be made again.
        let Ok(key) = bind::bound_study(binding, record, &self.works.place) else { return Ok(()) };
        let row = bind::restore(binding, self.study(&key)?, &self.works.place);
        self.studies.insert(key, row);
        Ok(())
    }

    fn doubt(&mut self, record: &mut Record, code: FailureCode, detail: &str) {
        let failure = Failure::new(code, detail, self.now);
        for index in 0..record.acceptance.items {
            let Some(item) = record.items.get_mut(usize::from(index)) else { continue };
            let waits = waits_for_owner(item) && (item.stage == Stage::Accepted || item.resume == Stage::Accepted);
            if !waits || item.failure.as_ref().is_some_and(|f| f.code == code && item.stage == Stage::Held) {
                continue;
            }
            if failure.class != Class::Permanent && item.stage == Stage::Held {
                // It stays held as it is, and is looked at again.
                continue;
            }
            item.failure = Some(failure.clone());
            if failure.class == Class::Permanent {
                item.schedule.due = None;
                self.works.observer.reached(Stage::Held);
                advance(record, index, Stage::Held, self.now, Some(code.word().to_owned()));
            } else {
                item.schedule.attempts = item.schedule.attempts.saturating_add(1);
                if let Next::After(ms) = self.works.retry.next(item.schedule.attempts, failure.class, jitter()) {
                    item.schedule.due = Some(later(self.now, ms));
                }
            }
        }
        self.held.push(record.id());
    }

    /// Bindings first: what may be sent under an identity must be sealed before the journal says
    /// that it is known.
    fn write(&mut self) -> Result<(), String> {
        sealed::bind_all(&self.works.spool, &self.bindings).map_err(|e| e.to_string())?;
        if self.touched() == 0 && self.studies.is_empty() {
            return Ok(());
        }
        let arrived: Vec<CaptureId> = self.inserts.keys().copied().collect();
        let commit = Commit {
            insert: self.inserts.values().cloned().collect(),
            replace: self.changes.values().cloned().collect(),
            studies: self.studies.iter().map(|(k, v)| (*k, v.clone())).collect(),
            transactions: Vec::new(),
        };
        self.works.journal.commit(commit).map_err(|e| e.to_string())?;
        self.works.pending.remove(&arrived);
        Ok(())
    }
}

/// Held for want of a match: what a message of the hospital may release.
fn waits_for_facts(item: &ItemRecord) -> bool {
    let by_facts = |code: FailureCode| {
        matches!(
            code,
            FailureCode::PatientUnknown
                | FailureCode::PatientAmbiguous
                | FailureCode::IdentityDisagrees
                | FailureCode::OrderCancelled
        )
    };
    item.stage == Stage::Held && item.failure.as_ref().is_some_and(|f| by_facts(f.code))
}

/// Nobody knows yet whose it is, and nobody else stopped it.
fn waits_for_owner(item: &ItemRecord) -> bool {
    item.stage == Stage::Accepted || waits_for_facts(item)
}

/// For a worker, now.
fn is_ready(item: &ItemRecord, now: Timestamp) -> bool {
    matches!(item.stage, Stage::Identified | Stage::Wrapped) && item.schedule.due.is_some_and(|due| due <= now)
}

/// Moves an item forward where the table allows it; where it is further already, nothing happens.
pub(super) fn advance(record: &mut Record, index: u16, stage: Stage, at: Timestamp, why: Option<String>) {
    // The table's one way back is the archive's to open, not a worker's.
    let is_further = |i: &ItemRecord| i.stage == Stage::Forwarded && stage == Stage::Wrapped;
    if !record.items.get(usize::from(index)).is_some_and(is_further) {
        let _already_there = record.move_item(index, stage, at, why);
    }
}

pub(super) fn later(now: Timestamp, ms: u64) -> Timestamp {
    let wait = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Without randomness all return in step, which is slow, not wrong.
pub(super) fn jitter() -> u8 {
    random::random::<1>().map_or(0, |[byte]| byte)
}
