//! One unit of work behind the promise line: settle → claim → act.
//!
//! One claimer, many workers: only [`Line::step`] decides and writes, in one flushed batch a
//! round; workers take a claimed capture, act, and report. An attempt is counted and flushed
//! before it is made. Whom a dead process had claimed is due again at once, because being claimed
//! is only remembered in memory.
//!
//! Each archive has a lane and workers of its own, so that one that hangs delays no other.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::act::{self, Awaited, Decision, Inbox, Note, Verdict};
use super::bind::Place;
use super::commit;
use super::film::goes_as_hevc;
use super::forward::{self, NamedArchive, Wrapping};
use super::inquire::{Inquirer, Source, Told};
use super::lane::{IN_HAND_MAX, Lane};
use super::observer::Observer;
use super::pending::Pending;
use super::refusal::Refusal;
use super::round::Round;
use super::sweep::Sweeper;
use super::tombstone;
use super::view::View;
use super::walk::Walk;
use crate::capture::media::EdgeBlocks;
use crate::capture::record::{Digest, Event};
use crate::capture::retry::RetryPolicy;
use crate::capture::{CaptureId, Failure, Leg, Record, Stage, Uid};
use crate::clock::Clock;
use crate::fence::Fence;
use crate::journal::Journal;
use crate::lookup::Lookup;
use crate::seal::random;
use crate::spool::Spool;

/// Arrivals wait this long for each other, so that one flush serves many; nobody waits for it,
/// since the phone has its answer.
const GATHER: Duration = Duration::from_millis(25);
/// Longest sleep of the claimer.
const NAP: Duration = Duration::from_secs(60);
/// A worker without a job looks this often whether an association may be given back.
const IDLE: Duration = Duration::from_secs(5);
/// After the journal did not take a batch.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a person waits for a decision: a photo is at the archive, or refused, before. Once it
/// is being written the same again is added.
const DECIDE_WAIT: Duration = Duration::from_secs(10);
/// Captures that a round takes in, and that it takes from those that were woken: bounds the batch
/// and the memory of a round.
const ROUND_MAX: usize = 64;
const WOKEN_MAX: usize = 256;

/// Everything the line works with.
pub struct Works {
    pub spool: Arc<Spool>,
    /// Where pictures are decoded that come from elsewhere.
    pub fence: Arc<Fence>,
    /// How a JPEG is turned that cannot be turned as it is coded.
    pub edges: EdgeBlocks,
    pub journal: Arc<Journal>,
    pub pending: Arc<Pending>,
    pub lookup: Arc<dyn Lookup>,
    /// Each with a name of its own. Empty: captures wait, identified.
    pub archives: Vec<NamedArchive>,
    /// Who is asked which study an order has, the first that knows counts. Empty: nobody.
    pub sources: Vec<Source>,
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
    pub(super) inquirer: Inquirer,
    pub(super) sweeper: Sweeper,
    wrapping: Wrapping,
    started: Timestamp,
    state: Mutex<State>,
    /// Something for the claimer.
    claimer: Condvar,
    /// Something for the workers.
    workers: Condvar,
    /// Grows with each change of the hospital's facts: who was held while they changed is looked
    /// at again.
    facts: AtomicU64,
}

#[derive(Default)]
struct State {
    walk: Walk,
    /// One for each archive, in the order of the configuration.
    lanes: Vec<Lane>,
    arrived: bool,
    woken: BTreeSet<CaptureId>,
    /// Woken while in a worker's hands.
    postponed: BTreeSet<CaptureId>,
    outcomes: Vec<Outcome>,
    inbox: Inbox,
    /// A decision came in since the last round.
    asked: bool,
    /// Discarded captures whose bytes are still to be erased.
    erasable: BTreeMap<CaptureId, u16>,
    answers: Vec<commit::Answer>,
    told: BTreeMap<Digest, (Timestamp, Told)>,
    unreadable: BTreeSet<CaptureId>,
    stopping: bool,
}

impl State {
    fn is_claimed(&self, id: CaptureId) -> bool {
        self.lanes.iter().any(|lane| lane.claimed.contains_key(&id))
    }

    fn in_hand(&self) -> usize {
        self.lanes.iter().map(|lane| lane.claimed.len()).sum()
    }
}

/// A capture that is claimed for an archive: the items that are due, and whose they are.
pub struct Job {
    pub record: Record,
    /// By its place in the configuration.
    pub lane: usize,
    pub items: Vec<u16>,
    /// The process died twice while it worked on this.
    pub is_suspect: bool,
}

/// What became of a job.
pub struct Outcome {
    pub id: CaptureId,
    pub lane: usize,
    pub items: Vec<ItemOutcome>,
    /// Claimed, and not begun.
    pub untried: Vec<u16>,
}

impl Outcome {
    pub(super) fn untried(job: Job) -> Self {
        Self { id: job.record.id(), lane: job.lane, items: Vec::new(), untried: job.items }
    }
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
    pub sent_sha256: Option<Digest>,
}

/// `wrapped`: the object was built, so the failure is the archive's.
pub struct Failed {
    pub wrapped: bool,
    pub failure: Failure,
    /// For a person, as for a [`Delivery`].
    pub notes: Vec<&'static str>,
    /// The archive does not take its class: the UID under which a stand-in may go.
    pub stand_in: Option<Uid>,
}

/// What a round takes out of the line's hands.
struct Taken {
    outcomes: Vec<Outcome>,
    woken: BTreeSet<CaptureId>,
    notes: Vec<Note>,
    /// In a worker's hands, and not among the outcomes.
    busy: BTreeSet<CaptureId>,
    facts: u64,
}

impl Line {
    #[must_use]
    pub fn new(works: Works) -> Self {
        let lanes = works.archives.iter().map(|_| Lane::default()).collect();
        let (questions, started) = (works.archives.len(), works.clock.now());
        Self {
            started,
            works,
            clerk: commit::Clerk::new(questions),
            inquirer: Inquirer::new(),
            sweeper: Sweeper::default(),
            wrapping: Wrapping::default(),
            state: Mutex::new(State { lanes, ..State::default() }),
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
            if let Some(refusal) = self.withdraw(awaited) {
                return Err(refusal);
            }
        }
        Err(act::unanswered())
    }

    /// Takes a decision back, and says what it has waited for; `None` where a round has it.
    pub fn withdraw(&self, awaited: &Awaited) -> Option<Refusal> {
        self.state().inbox.withdraw(awaited.number)
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

    /// What was said of an order, to those who wait for it.
    pub(super) fn told(&self, order: Digest, told: Told) {
        let mut state = self.state();
        // Nobody comes in between and asks again.
        state.woken.extend(self.inquirer.done());
        state.told.insert(order, (self.works.clock.now(), told));
        state.arrived = true;
        drop(state);
        self.claimer.notify_one();
    }

    pub(super) fn answers_waiting(&self) -> usize {
        self.state().answers.len()
    }

    /// What a question told of an archive's health.
    pub(super) fn question_ended(&self, lane: usize, failure: Option<&Failure>) {
        if let Some(lane) = self.state().lanes.get_mut(lane) {
            match failure {
                None => lane.breaker.stored(),
                Some(failure) => lane.breaker.failed(failure.code, failure.at, &self.works.retry, jitter()),
            }
        }
    }

    pub fn stop(&self) {
        self.clerk.stop();
        self.inquirer.stop();
        self.wrapping.darkroom.stop();
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
            let comes_more = state.outcomes.is_empty() && state.arrived || state.in_hand() > state.outcomes.len();
            if comes_more {
                let alone = |s: &mut State| !s.stopping && s.outcomes.len() < IN_HAND_MAX;
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

    /// The last round, after the workers have ended: writes what they reported and gives back what
    /// they did not begin; begins nothing.
    pub fn finish(&self) {
        let now = self.works.clock.now();
        let (outcomes, stuck, view) = {
            let mut state = self.state();
            let mut outcomes = std::mem::take(&mut state.outcomes);
            outcomes.extend(state.lanes.iter_mut().flat_map(Lane::give_back));
            let is_stuck = |lane: usize, id: CaptureId| !outcomes.iter().any(|o| o.id == id && o.lane == lane);
            let claimed = state.lanes.iter().enumerate().flat_map(|(n, lane)| lane.claimed.keys().map(move |id| (n, *id)));
            let stuck: Vec<(usize, CaptureId)> = claimed.filter(|(lane, id)| is_stuck(*lane, *id)).collect();
            (outcomes, stuck, View::new(&state.lanes, &state.unreadable, self.started))
        };
        let mut round = Round::new(&self.works, now, view);
        for outcome in &outcomes {
            // What cannot be written is sent again at the next start, under the same UID.
            round.settle(outcome);
        }
        for (lane, id) in stuck {
            round.close(id, lane);
        }
        if let Err(why) = round.write() {
            self.works.observer.written(Err(&why));
        }
    }

    /// One worker's thread, for the archive at that place: jobs until [`Line::stop`].
    pub fn run_worker(&self, lane: usize) {
        loop {
            let job = {
                let mut state = self.state();
                loop {
                    if state.stopping {
                        return;
                    }
                    if let Some(job) = state.lanes.get_mut(lane).and_then(Lane::take) {
                        break job;
                    }
                    let (waited, idle) = self.workers.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                    state = waited;
                    if idle.timed_out() && !state.lanes.get(lane).is_some_and(Lane::has_jobs) {
                        drop(state);
                        // Archives that serve one peer at a time wait for us to leave.
                        if let Some(target) = self.works.archives.get(lane) {
                            target.archive.release_idle();
                        }
                        state = self.state();
                    }
                }
            };
            self.work(&job);
        }
    }

    /// The thread that codes films anew, until [`Line::stop`].
    pub fn run_darkroom(&self) {
        let Works { spool, journal, fence, observer, archives, .. } = &self.works;
        self.wrapping.darkroom.run(spool, fence, goes_as_hevc(archives), &|item, doubt| {
            observer.transcoded(doubt.map(|(_, why)| why.as_str()));
            // It may have been given up meanwhile.
            if let Ok(Some(record)) = journal.get(item.capture)
                && record.is_erasable()
                && let Err(e) = spool.remove(item.capture, record.acceptance.items)
            {
                observer.swept(Err(&e.to_string()));
            }
        });
    }

    /// Works one waiting job off; false where there is none. For a test on one thread.
    pub fn work_one(&self) -> bool {
        let job = self.state().lanes.iter_mut().find_map(Lane::take);
        job.inspect(|job| self.work(job)).is_some()
    }

    fn work(&self, job: &Job) {
        let outcome = forward::deliver(&self.works, &self.wrapping, job, &|| !self.state().stopping);
        let mut state = self.state();
        let policy = &self.works.retry;
        let back = state.lanes.get_mut(job.lane).map(|lane| lane.finish(job, &outcome, policy, jitter())).unwrap_or_default();
        state.outcomes.push(outcome);
        state.outcomes.extend(back);
        let is_free_now = state.lanes.get(job.lane).is_some_and(Lane::has_jobs);
        drop(state);
        self.claimer.notify_one();
        if is_free_now {
            // A job of the same patient may have waited for this one.
            self.workers.notify_all();
        }
    }

    /// One round: settles what the workers report, takes in arrivals, identifies, claims what is
    /// due, writes it all in one flushed batch, and only then hands it to the workers.
    pub fn step(&self) -> Progress {
        let now = self.works.clock.now();
        self.recall();
        let (taken, mut round) = self.take(now);
        let verdicts = self.fill(&mut round, &taken);
        if let Err(why) = round.write() {
            return self.put_back(taken, round, &why);
        }
        let did = round.touched();
        if did > 0 {
            self.works.observer.written(Ok(()));
        }
        let (answered, more) = self.hand_out(taken, verdicts, round, now);
        self.workers.notify_all();
        self.erase();
        for (note, verdict) in answered {
            note.tell(verdict);
        }
        if did > 0 || more { Progress::Did(did) } else { Progress::IdleUntil(self.next_due(now)) }
    }

    fn take(&self, now: Timestamp) -> (Taken, Round<'_>) {
        let mut state = self.state();
        (state.arrived, state.asked) = (false, false);
        let outcomes = std::mem::take(&mut state.outcomes);
        let settled = |id: CaptureId, lane: usize| outcomes.iter().any(|o| o.id == id && o.lane == lane);
        let lanes = state.lanes.iter().enumerate();
        let busy =
            lanes.flat_map(|(n, lane)| lane.claimed.keys().filter(move |id| !settled(**id, n)).copied()).collect::<BTreeSet<_>>();
        // Whoever is in a worker's hands is looked at again once it is settled.
        let (later, free): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut state.woken).into_iter().partition(|id| busy.contains(id));
        state.postponed.extend(later);
        let mut free = free.into_iter();
        let woken = free.by_ref().take(WOKEN_MAX).collect();
        state.woken = free.collect();
        let mut round = Round::new(&self.works, now, View::new(&state.lanes, &state.unreadable, self.started));
        for outcome in &outcomes {
            round.view.forget(outcome);
        }
        round.answers = std::mem::take(&mut state.answers);
        round.told = std::mem::take(&mut state.told);
        let notes = state.inbox.take();
        (Taken { outcomes, woken, notes, busy, facts: self.facts.load(Ordering::SeqCst) }, round)
    }

    /// The journal did not take it: everything is kept and tried again.
    fn put_back(&self, taken: Taken, round: Round<'_>, why: &str) -> Progress {
        self.works.observer.written(Err(why));
        let mut state = self.state();
        state.outcomes.splice(0..0, taken.outcomes);
        state.answers.splice(0..0, round.answers);
        state.told.extend(round.told);
        state.woken.extend(taken.woken);
        state.inbox.put_back_tried(taken.notes);
        Progress::Blocked
    }

    /// After the journal has it. Which decisions are to be answered, and whether more is to be done
    /// at once.
    fn hand_out(
        &self,
        taken: Taken,
        verdicts: Vec<Result<Verdict, Refusal>>,
        mut round: Round<'_>,
        now: Timestamp,
    ) -> (Vec<(Note, Verdict)>, bool) {
        let mut state = self.state();
        let (mut answered, mut deferred) = (Vec::new(), Vec::new());
        for (note, verdict) in taken.notes.into_iter().zip(verdicts) {
            match verdict {
                Ok(verdict) => answered.push((note, verdict)),
                Err(why) => deferred.push(note.waiting(why)),
            }
        }
        state.inbox.put_back(deferred);
        state.erasable.extend(round.erasable());
        for outcome in &taken.outcomes {
            if let Some(lane) = state.lanes.get_mut(outcome.lane) {
                lane.claimed.remove(&outcome.id);
            }
        }
        let free: Vec<CaptureId> = state.postponed.iter().filter(|id| !state.is_claimed(**id)).copied().collect();
        state.postponed.retain(|id| !free.contains(id));
        state.woken.extend(free);
        if self.facts.load(Ordering::SeqCst) != taken.facts {
            state.woken.extend(round.held.iter().copied());
        }
        state.unreadable = std::mem::take(&mut round.view.unreadable);
        for (lane, view) in state.lanes.iter_mut().zip(&round.view.lanes) {
            if view.was_asked {
                lane.breaker.ask_now();
            }
        }
        for record in round.written() {
            for (lane, target) in state.lanes.iter_mut().zip(&self.works.archives) {
                lane.note(record, &target.name);
            }
        }
        self.clerk.ask(std::mem::take(&mut round.asks));
        let (said, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut round.questions).into_iter().partition(|(question, _)| state.told.contains_key(&question.key()));
        state.woken.extend(said.into_iter().map(|(_, id)| id));
        self.inquirer.ask(open);
        for (key, told) in round.unheard() {
            state.told.entry(key).or_insert(told);
        }
        self.sweeper.rested(&self.works, round.changed());
        for job in std::mem::take(&mut round.jobs) {
            if let Some(lane) = state.lanes.get_mut(job.lane) {
                lane.add(job);
            }
        }
        let found = state.walk.go_on(&self.works, now);
        if state.walk.has_just_begun() {
            state.unreadable.clear();
        }
        state.woken.extend(found);
        let more = state.walk.is_under_way() || !state.woken.is_empty();
        (answered, more)
    }

    /// When there will be something to claim; without an archive there is nothing.
    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.works.archives.is_empty() {
            return None;
        }
        let (busy, view) = {
            let state = self.state();
            let busy = state.lanes.iter().flat_map(|lane| lane.claimed.keys().copied()).collect();
            (busy, View::new(&state.lanes, &state.unreadable, self.started))
        };
        let unidentified = self.works.journal.next_due(&busy).ok().flatten();
        let lanes = self.works.archives.iter().zip(&view.lanes);
        unidentified.into_iter().chain(lanes.filter_map(|(target, lane)| lane.next_due(&self.works, target, now))).min()
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

    /// Answers each decision; an error, what to say to who does not wait, where its capture is in a worker's
    /// hands or not yet in the journal, or somebody has to be asked first.
    fn fill(&self, round: &mut Round<'_>, taken: &Taken) -> Vec<Result<Verdict, Refusal>> {
        round.hear();
        round.keep_told();
        for outcome in &taken.outcomes {
            round.settle(outcome);
        }
        let mut verdicts = Vec::with_capacity(taken.notes.len());
        for Note { decision, .. } in &taken.notes {
            let waits = taken.busy.contains(&decision.capture) || self.works.pending.get(decision.capture).is_some();
            if waits {
                verdicts.push(Err(act::in_hand()));
                continue;
            }
            let questions = round.questions.len();
            verdicts.push(match round.decide(decision) {
                Err(refusal) if round.questions.len() > questions => Err(refusal),
                verdict => Ok(verdict),
            });
        }
        round.claim_due(&taken.busy);
        for record in self.works.pending.oldest(ROUND_MAX) {
            round.arrive(record);
        }
        for id in &taken.woken {
            round.look_again(*id);
        }
        verdicts
    }

    /// Once, at start: whom the later ones may not overtake.
    fn recall(&self) {
        if !self.state().walk.begin() {
            return;
        }
        for record in super::walk::set_aside(&self.works) {
            let mut state = self.state();
            for (lane, target) in state.lanes.iter_mut().zip(&self.works.archives) {
                lane.note(&record, &target.name);
            }
        }
    }
}

/// Moves an item forward where the table allows it; where it is further already, nothing happens.
/// `archive`: that leg alone.
pub(super) fn advance(record: &mut Record, index: u16, archive: Option<&str>, stage: Stage, at: Timestamp, why: Option<String>) {
    let event = Event { at, item: index, stage, why, by: None, archive: archive.map(str::to_owned) };
    // The table's one way back is the archive's to open, not a worker's.
    let is_meant = |leg: &Leg| {
        let is_back = leg.stage == Stage::Forwarded && stage == Stage::Wrapped;
        !is_back && archive.is_none_or(|name| name == leg.archive)
    };
    let _already_there = record.enter_where(event, is_meant, |_| ());
}

pub(super) fn later(now: Timestamp, ms: u64) -> Timestamp {
    let wait = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Without randomness all return in step, which is slow, not wrong.
pub(super) fn jitter() -> u8 {
    random::random::<1>().map_or(0, |[byte]| byte)
}
