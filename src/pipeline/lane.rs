//! What is in hand for one archive, and how much of it that archive gets just now.
//!
//! All of it is memory: after a restart an archive is met as if it were well, and the queue is the
//! journal's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::WORKERS;
use super::step::{ItemOutcome, Job, Outcome, later};
use crate::capture::retry::{Next, RetryPolicy};
use crate::capture::{CaptureId, Class, FailureCode, Leg, Record};
use crate::journal::Queue;

/// Captures in hand for an archive at a time: those that are being sent, and as many claimed ones
/// behind them as keep the workers busy while a batch is written.
pub(super) const IN_HAND_MAX: usize = WORKERS + 16;
/// Failures in a row, with nothing stored in between, after which an archive is taken for down.
/// Fewer may be the fault of the objects.
const FAILURES_MAX: u32 = 3;
/// An item that was really sent so often and failed is overtaken by the same patient's next ones:
/// by then it is its own fault, and no error of one delays another.
const SENT_BEFORE_OVERTAKEN: u32 = 3;
/// After so many attempts really sent an item is held, where the archive took others meanwhile.
pub(super) const SENT_MAX: u32 = 5;
/// Captures remembered because others wait behind them, or because they fail: an outage makes a
/// few, not thousands. Beyond this, order and blame are given up, not captures.
const REMEMBERED_MAX: usize = 4_096;

/// Meets an archive that fails with fewer attempts, and one that comes back with slowly more.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    /// Nothing is sent before.
    until: Option<Timestamp>,
    /// Captures that may be in hand.
    width: usize,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, until: None, width: IN_HAND_MAX }
    }
}

impl Breaker {
    /// Captures that may be claimed now, where so many are in hand.
    pub(super) fn room(&self, now: Timestamp, in_hand: usize, policy: &RetryPolicy) -> usize {
        if self.closed_until(now, policy).is_some() { 0 } else { self.width.saturating_sub(in_hand) }
    }

    /// When the next attempt may be made, where not now. A wait that no policy makes was begun by a
    /// clock that was wrong.
    pub(super) fn closed_until(&self, now: Timestamp, policy: &RetryPolicy) -> Option<Timestamp> {
        self.until.filter(|until| *until > now && *until <= later(now, policy.bound_ms()))
    }

    /// The archive is asked with one item at a time whether it is back.
    pub(super) fn is_probing(&self) -> bool {
        self.width == 1
    }

    /// A person wants to know now.
    pub(super) fn ask_now(&mut self) {
        self.until = None;
    }

    pub(super) fn stored(&mut self) {
        self.failures = 0;
        self.until = None;
        self.width = self.width.saturating_mul(2).clamp(1, IN_HAND_MAX);
    }

    pub(super) fn failed(&mut self, code: FailureCode, now: Timestamp, policy: &RetryPolicy, jitter: u8) {
        if self.closed_until(now, policy).is_some() {
            return; // It was on its way when the archive was found down.
        }
        self.failures = self.failures.saturating_add(1);
        if !code.concerns_the_archive() && self.failures < FAILURES_MAX {
            return;
        }
        self.width = 1;
        if let Next::After(ms) = policy.next(self.failures, Class::Transient, jitter) {
            self.until = Some(later(now, ms));
        }
    }
}

/// Whom the later captures of a patient may not overtake.
#[derive(Clone, Default)]
pub(super) struct Order {
    /// By patient, captures that wait for their time.
    aside: BTreeMap<u64, BTreeSet<CaptureId>>,
    /// Under which patient each of them stands there: it may be another's meanwhile.
    patients: BTreeMap<CaptureId, u64>,
}

impl Order {
    /// Remembers, or forgets, that others wait behind a capture.
    pub(super) fn note(&mut self, record: &Record, archive: &str) {
        let id = record.id();
        let mut legs = record.items.iter().flat_map(|item| item.legs.iter().filter(|leg| leg.archive == archive));
        let wanted = record.patient_key.filter(|_| legs.any(|leg| may_not_be_overtaken(leg, record)));
        if self.patients.get(&id).copied() == wanted {
            return;
        }
        if let Some(key) = self.patients.remove(&id)
            && let Some(ids) = self.aside.get_mut(&key)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.aside.remove(&key);
            }
        }
        if let Some(key) = wanted.filter(|_| self.patients.len() < REMEMBERED_MAX) {
            self.aside.entry(key).or_default().insert(id);
            self.patients.insert(id, key);
        }
    }

    /// True where an older capture of the same patient has to leave first.
    pub(super) fn is_behind(&self, record: &Record) -> bool {
        let first = record.patient_key.and_then(|key| self.aside.get(&key)).and_then(BTreeSet::first);
        first.is_some_and(|first| *first < record.id())
    }
}

fn is_ours(code: FailureCode) -> bool {
    matches!(code, FailureCode::StoreUnavailable | FailureCode::SpoolUnreadable | FailureCode::WrapFailed)
}

/// It waits for its time, and not by its own fault as far as can be told.
fn may_not_be_overtaken(leg: &Leg, record: &Record) -> bool {
    // It may take hours, and its picture is of no use to the next one.
    let is_in_the_darkroom = leg.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::Transcoding);
    let is_aside = !is_in_the_darkroom && Queue::of(leg, record.acceptance.accepted_at) == Some(Queue::Aside);
    is_aside && leg.sent() < SENT_BEFORE_OVERTAKEN
}

/// One archive's lane.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) breaker: Breaker,
    /// Claimed and not yet settled; true: it was in hand when the process died twice.
    pub(super) claimed: BTreeMap<CaptureId, bool>,
    pub(super) order: Order,
    jobs: VecDeque<Job>,
    /// Patients of whom a worker has a capture: theirs leave one after the other.
    working: BTreeSet<u64>,
    /// Since when an item fails for reasons that may be its own.
    failing: BTreeMap<CaptureId, Timestamp>,
    /// When the archive last took anything.
    last_stored: Option<Timestamp>,
}

impl Lane {
    pub(super) fn add(&mut self, job: Job) {
        self.claimed.insert(job.record.id(), job.is_suspect);
        self.jobs.push_back(job);
    }

    /// The next job whose patient nobody works for.
    pub(super) fn take(&mut self) -> Option<Job> {
        let is_free = |job: &Job| job.record.patient_key.is_none_or(|key| !self.working.contains(&key));
        let at = self.jobs.iter().position(is_free)?;
        let job = self.jobs.remove(at)?;
        self.working.extend(job.record.patient_key);
        Some(job)
    }

    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// A worker is done with a job. Gives back what may not be sent now: everything where the
    /// archive is away, and the patient's other captures where this one has to be sent before.
    pub(super) fn finish(&mut self, job: &Job, outcome: &Outcome, policy: &RetryPolicy, jitter: u8) -> Vec<Outcome> {
        if let Some(key) = job.record.patient_key {
            self.working.remove(&key);
        }
        let mut is_away = false;
        let mut has_failed = !outcome.untried.is_empty();
        for item in &outcome.items {
            match &item.result {
                Ok(_) => self.last_stored = Some(item.at),
                Err(failed) => {
                    let code = failed.failure.code;
                    is_away |= code.concerns_the_archive();
                    has_failed |= failed.failure.class != Class::Permanent && code != FailureCode::Transcoding;
                    if failed.failure.class != Class::Permanent && failed.wrapped && !code.nothing_was_stored() {
                        self.blame(outcome.id, item.at);
                    }
                }
            }
        }
        self.tell_breaker(&outcome.items, policy, jitter);
        let is_behind = |other: &Job| {
            is_away || has_failed && job.record.patient_key.is_some() && other.record.patient_key == job.record.patient_key
        };
        let (back, kept) = std::mem::take(&mut self.jobs).into_iter().partition(is_behind);
        self.jobs = kept;
        let back: VecDeque<Job> = back;
        back.into_iter().map(Outcome::untried).collect()
    }

    /// What the archive did last: an answer of any kind but a passing failure shows that it is well. What
    /// failed on our side says nothing about it.
    fn tell_breaker(&mut self, items: &[ItemOutcome], policy: &RetryPolicy, jitter: u8) {
        let told = items.iter().rev().find_map(|item| match &item.result {
            Ok(_) => Some((item.at, None)),
            Err(failed) if !failed.wrapped || is_ours(failed.failure.code) => None,
            Err(failed) => Some((item.at, Some(&failed.failure))),
        });
        match told {
            None => {}
            Some((at, Some(failure))) if failure.class != Class::Permanent => {
                self.breaker.failed(failure.code, at, policy, jitter);
            }
            Some(_) => self.breaker.stored(),
        }
    }

    fn blame(&mut self, id: CaptureId, at: Timestamp) {
        if self.failing.len() < REMEMBERED_MAX {
            self.failing.entry(id).or_insert(at);
        }
    }

    /// Captures that fail while the archive takes others.
    pub(super) fn alone_in_failing(&self) -> BTreeSet<CaptureId> {
        let is_alone = |since: &Timestamp| self.last_stored.is_some_and(|at| at > *since);
        self.failing.iter().filter(|(_, since)| is_alone(since)).map(|(id, _)| *id).collect()
    }

    /// Everything that no worker has begun, given back.
    pub(super) fn give_back(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.jobs).into_iter().map(Outcome::untried).collect()
    }

    /// Takes notice of a record that the journal has.
    pub(super) fn note(&mut self, record: &Record, archive: &str) {
        self.order.note(record, archive);
        let mut legs = record.items.iter().flat_map(|item| item.legs.iter().filter(|leg| leg.archive == archive));
        if !legs.any(Leg::is_to_be_sent) {
            self.failing.remove(&record.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::step::Failed;
    use super::*;
    use crate::capture::Failure;

    fn at(ms: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, ms)
    }

    #[test]
    fn an_archive_that_fails_is_probed_with_growing_waits_and_comes_back_slowly() {
        let policy = RetryPolicy::default();
        let mut breaker = Breaker::default();
        assert_eq!(breaker.room(at(0), 3, &policy), IN_HAND_MAX - 3);
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..9 {
            for _ in 0..WORKERS {
                breaker.failed(FailureCode::ArchiveUnreachable, at(now), &policy, 0);
            }
            assert_eq!(breaker.room(at(now), 0, &policy), 0);
            let wait = (0..=75_000).find(|ms| breaker.room(at(now + ms), 0, &policy) > 0).unwrap();
            assert_eq!(breaker.room(at(now + wait), 0, &policy), 1, "one probe at a time");
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        let mut rooms = Vec::new();
        for _ in 0..6 {
            breaker.stored();
            rooms.push(breaker.room(at(now), 0, &policy));
        }
        assert_eq!(rooms, [2, 4, 8, 16, IN_HAND_MAX, IN_HAND_MAX]);
    }

    #[test]
    fn what_may_be_the_objects_fault_closes_an_archive_only_when_nothing_else_gets_through() {
        let policy = RetryPolicy::default();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(FailureCode::ArchiveAborted, at(0), &policy, 0);
            breaker.failed(FailureCode::ArchiveBusy, at(0), &policy, 0);
            assert!(breaker.room(at(0), 0, &policy) > 0);
            breaker.stored();
        }
        for _ in 0..FAILURES_MAX {
            breaker.failed(FailureCode::ArchiveAborted, at(0), &policy, 0);
        }
        assert_eq!(breaker.room(at(0), 0, &policy), 0);
    }

    #[test]
    fn what_fails_on_our_side_is_no_sign_that_an_archive_is_back() {
        let policy = RetryPolicy::default();
        let ended = |code, wrapped| {
            let failure = Failure::new(code, "", at(2_000));
            [ItemOutcome { index: 0, at: at(2_000), result: Err(Failed { wrapped, failure, notes: Vec::new(), stand_in: None }) }]
        };
        for (code, room) in [
            (FailureCode::SpoolUnreadable, 1),
            (FailureCode::WrapFailed, 1),
            (FailureCode::StoreUnavailable, 1),
            (FailureCode::ArchiveUnreachable, 0),
            (FailureCode::ArchiveRefusedObject, 2),
        ] {
            let mut lane = Lane::default();
            lane.breaker.failed(FailureCode::ArchiveUnreachable, at(0), &policy, 0);
            lane.tell_breaker(&ended(code, true), &policy, 0);
            assert_eq!(lane.breaker.room(at(2_000), 0, &policy), room, "{code:?}");
        }
    }

    #[test]
    fn a_wait_that_a_wrong_clock_began_is_over_when_the_clock_is_set_right() {
        let policy = RetryPolicy::default();
        let mut breaker = Breaker::default();
        let year_ahead = 365 * 24 * 3_600_000;
        breaker.failed(FailureCode::ArchiveUnreachable, at(year_ahead), &policy, 0);
        assert_eq!(breaker.room(at(year_ahead), 0, &policy), 0);
        assert_eq!(breaker.room(at(0), 0, &policy), 1);
    }
}
