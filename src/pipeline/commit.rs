//! Forwarded → committed: the archive is asked to say that it keeps what it stored (PS3.4 §J).
//!
//! A question covers what is due when the clerk has time, so that one association serves many.
//! Its transaction is in the journal, with the items it covers, before it is sent; an answer
//! counts for those items only, whenever and however often it comes. A question that is never
//! answered, or lost in a crash, is asked again with a new transaction: each item was due again
//! before it was asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::forward::{self, NamedArchive};
use super::round::change_leg;
use super::step::{Line, Works, advance, jitter, later};
use super::wrap;
use crate::archive::{Asked, NO_SUCH_INSTANCE, Refused, Report, Unwanted};
use crate::capture::record::Event;
use crate::capture::retry::{Next, RetryPolicy};
use crate::capture::{Class, Commitment, Failure, FailureCode, Form, ItemId, Leg, Record, SopRef, Stage, Uid};
use crate::journal::{Commit, Covered, Transaction};
use crate::seal::random;

/// Waits between two questions about one item. Most archives report within seconds; those that
/// copy to tape first take hours, and late answers to former questions count too.
const AGAIN: RetryPolicy = RetryPolicy { first_ms: 60_000, longest_ms: 6 * 60 * 60 * 1_000, factor: 2 };
/// No question is due later than this: the longest wait with its jitter.
pub(super) const WAIT_MAX_MS: u64 = AGAIN.longest_ms + AGAIN.longest_ms / 4;
/// Instances of one question: archives look each up before they answer.
const QUESTION_MAX: usize = 200;
/// Answers that wait for a round: a peer that floods us is told to come later.
const ANSWERS_MAX: usize = 10_000;
/// How the history says that the archive lost an object.
const LOST: &str = "the archive does not have it; sent again";

/// What is known of one item after a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub item: ItemId,
    /// Whose word it is.
    pub archive: String,
    /// Lines that the history had when the question was asked that this answers.
    pub history_lines: u64,
    pub word: Word,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Kept,
    /// Not kept, with the failure reason (0008,1197).
    NotKept(u16),
    /// The question could not be put.
    Unasked(Failure),
}

/// Items to ask about, and whoever waits for them.
pub(super) struct Clerk {
    state: Mutex<Questions>,
    woken: Condvar,
}

struct Questions {
    /// For each archive, in the order of the configuration.
    lanes: Vec<BTreeSet<ItemId>>,
    stopping: bool,
}

impl Clerk {
    pub(super) fn new(archives: usize) -> Self {
        let state = Questions { lanes: vec![BTreeSet::new(); archives], stopping: false };
        Self { state: Mutex::new(state), woken: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, Questions> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after the journal has it that they are asked about.
    pub(super) fn ask(&self, items: Vec<(usize, ItemId)>) {
        if items.is_empty() {
            return;
        }
        let mut state = self.state();
        for (lane, item) in items {
            if let Some(questions) = state.lanes.get_mut(lane) {
                questions.insert(item);
            }
        }
        drop(state);
        self.woken.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.woken.notify_all();
    }

    fn next(&self, lane: usize) -> Vec<ItemId> {
        let mut state = self.state();
        let Some(questions) = state.lanes.get_mut(lane) else { return Vec::new() };
        let batch: Vec<ItemId> = questions.iter().take(QUESTION_MAX).copied().collect();
        for item in &batch {
            questions.remove(item);
        }
        batch
    }
}

impl Line {
    /// The thread of a clerk, for the archive at that place: questions until [`Line::stop`].
    pub fn run_clerk(&self, lane: usize) {
        loop {
            {
                let mut state = self.clerk.state();
                while state.lanes.get(lane).is_none_or(BTreeSet::is_empty) && !state.stopping {
                    state = self.clerk.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.stopping {
                    return;
                }
            }
            // sled panics on some kinds of damage; what was not asked is due again.
            if catch_unwind(AssertUnwindSafe(|| self.ask_archive(lane))).is_err() {
                self.works().observer.written(Err("a question for commitment broke; the cause is in the log"));
            }
        }
    }

    /// Asks each archive about what waits, as much as fits one question; false where nothing does.
    /// For a test on one thread.
    pub fn ask_some(&self) -> bool {
        let mut has_asked = false;
        for lane in 0..self.works().archives.len() {
            has_asked |= self.ask_archive(lane);
        }
        has_asked
    }

    fn ask_archive(&self, lane: usize) -> bool {
        let items = self.clerk.next(lane);
        let Some(target) = self.works().archives.get(lane).filter(|_| !items.is_empty()) else { return false };
        let mut answers = self.question(lane, target, &items);
        // Over the limit they are dropped like answers that never came: all are due again.
        answers.truncate(ANSWERS_MAX);
        self.answered(answers);
        true
    }

    /// What an archive reported, by whatever way. Only what was asked is answered, and only by whom it
    /// was asked. `from`: the archives that may speak with this voice.
    ///
    /// # Errors
    /// [`Unwanted`]: nobody asked, or it cannot be taken just now.
    pub fn report(&self, from: &[impl AsRef<str>], report: &Report) -> Result<(), Unwanted> {
        let works = self.works();
        let known = works.journal.transaction(&report.transaction).map_err(|_| Unwanted::Later)?;
        let Some(transaction) = known else {
            works.observer.report_refused("unknown transaction");
            return Err(Unwanted::UnknownTransaction);
        };
        let whose =
            if transaction.archive.is_empty() { works.archives.first().map(|a| &a.name) } else { Some(&transaction.archive) };
        let Some(archive) = whose.filter(|name| works.archives.iter().any(|a| a.name == **name)) else {
            works.observer.report_refused("an archive that is not configured any more");
            return Err(Unwanted::UnknownTransaction);
        };
        if !from.iter().any(|name| name.as_ref() == archive) {
            works.observer.report_refused("another archive than the one that was asked");
            return Err(Unwanted::UnknownTransaction);
        }
        let (answers, strange) = resolve(&transaction, archive, report);
        if strange > 0 {
            works.observer.report_refused("instances that were not asked about");
        }
        if self.answers_waiting() + answers.len() > ANSWERS_MAX {
            return Err(Unwanted::Later);
        }
        self.answered(answers);
        Ok(())
    }

    fn question(&self, lane: usize, target: &NamedArchive, items: &[ItemId]) -> Vec<Answer> {
        let works = self.works();
        let unasked = |item, failure: &Failure| Answer {
            item,
            archive: target.name.clone(),
            history_lines: 0,
            word: Word::Unasked(failure.clone()),
        };
        let (mut covered, mut answers) = (Vec::new(), Vec::new());
        for item in items {
            match reference(works, target, *item) {
                Ok(None) => {}
                Ok(Some(of_item)) => covered.push(of_item),
                Err(failure) => answers.push(unasked(*item, &failure)),
            }
        }
        if covered.is_empty() {
            return answers;
        }
        let wanted: Vec<SopRef> = covered.iter().map(|c| c.sop.clone()).collect();
        let asked =
            write_down(works, target, &covered).and_then(|transaction| target.archive.ask_commitment(&transaction, &wanted));
        match asked {
            Ok(Asked::Later) => self.question_ended(lane, None),
            Ok(Asked::Answered(reports)) => {
                self.question_ended(lane, None);
                for report in reports {
                    // Refused is told of where it is found out.
                    let _ = self.report(&[&target.name], &report);
                }
            }
            Err(Refused { code, detail }) => {
                let failure = Failure::new(code, detail, works.clock.now());
                if failure.class != Class::Permanent && code != FailureCode::StoreUnavailable {
                    self.question_ended(lane, Some(&failure));
                }
                answers.extend(covered.iter().map(|c| unasked(c.item(), &failure)));
            }
        }
        answers
    }
}

/// Flushed before it is sent: an answer may be faster than we are.
fn write_down(works: &Works, target: &NamedArchive, covered: &[Covered]) -> Result<Uid, Refused> {
    let unavailable = |detail: String| Refused { code: FailureCode::StoreUnavailable, detail };
    let uuid = random::random::<16>().map_err(|_| unavailable("the system gives no random numbers".to_owned()))?;
    let transaction = Uid::from_uuid_bytes(uuid);
    let row = Transaction { asked_at: works.clock.now(), archive: target.name.clone(), items: covered.to_vec() };
    let commit = Commit { transactions: vec![(transaction.clone(), row)], ..Commit::default() };
    works.journal.commit(commit).map_err(|e| unavailable(e.to_string()))?;
    Ok(transaction)
}

/// Under which name the archive has an item; `None` where it is no longer to be asked about.
fn reference(works: &Works, target: &NamedArchive, item: ItemId) -> Result<Option<Covered>, Failure> {
    let failure = |code, detail: &str| Failure::new(code, detail, works.clock.now());
    let stored = works.journal.get(item.capture).map_err(|e| failure(FailureCode::StoreUnavailable, &e.to_string()))?;
    let Some(record) = stored else { return Ok(None) };
    let Some(leg) = record.leg(item.index, &target.name).filter(|leg| is_open(leg)) else { return Ok(None) };
    let binding = forward::binding(works, record.id()).map_err(|failed| failed.failure)?;
    let wrapped = wrap::wrap(works, &record, item.index, &binding, leg.form).map_err(|(code, detail)| failure(code, &detail))?;
    let instance = wrapped.instance;
    let sop = SopRef { sop_class: instance.sop_class, sop_instance: instance.sop_instance };
    Ok(Some(Covered { capture: item.capture, index: item.index, sop, history_lines: record.history_lines() }))
}

/// What a report says about the items of its question, and of how many others it speaks.
fn resolve(transaction: &Transaction, archive: &str, report: &Report) -> (Vec<Answer>, usize) {
    let asked: BTreeMap<&SopRef, &Covered> = transaction.items.iter().map(|c| (&c.sop, c)).collect();
    let kept = report.committed.iter().map(|sop| (sop, Word::Kept));
    let lost = report.failed.iter().map(|(sop, reason)| (sop, Word::NotKept(*reason)));
    let (mut answers, mut strange) = (Vec::new(), 0);
    for (sop, word) in kept.chain(lost) {
        match asked.get(sop) {
            Some(of_item) => answers.push(Answer {
                item: of_item.item(),
                archive: archive.to_owned(),
                history_lines: of_item.history_lines,
                word,
            }),
            None => strange += 1,
        }
    }
    (answers, strange)
}

fn is_open(leg: &Leg) -> bool {
    matches!(leg.stage, Stage::Wrapped | Stage::Forwarded)
}

/// True where it was asked about and is due only once no answer can be expected any more.
pub(super) fn waits_for_an_answer(leg: &Leg) -> bool {
    let is_in_question = leg.failure.as_ref().is_some_and(|f| f.code == FailureCode::ArchiveNotCommitted);
    leg.stage == Stage::Forwarded || leg.stage == Stage::Wrapped && is_in_question
}

/// The items of a record that an archive is to be asked about now: forwarded ones, and those of
/// which nobody knows whether the archive has them, before they are sent again (some archives lose
/// an object that comes twice). Each is counted, and due again should the answer never come.
pub(super) fn claim(target: &NamedArchive, record: &mut Record, now: Timestamp) -> Vec<ItemId> {
    let mut asked = Vec::new();
    if target.commitment == Commitment::None {
        return asked;
    }
    let id = record.id();
    for index in 0..record.acceptance.items {
        let is_film = record.is_film(index);
        change_leg(record, index, &target.name, |leg| {
            // Stills are sent again: a word that the archive keeps them would be none about the film.
            let in_doubt = leg.stage == Stage::Wrapped
                && !(is_film && leg.form == Form::StandIn)
                && leg.failure.as_ref().is_some_and(|f| f.class == Class::Ambiguous);
            if !leg.is_due(now) || !(in_doubt || leg.stage == Stage::Forwarded) {
                return;
            }
            leg.schedule.attempts = leg.schedule.attempts.saturating_add(1);
            // A doubt is asked about once: without an answer the object is sent again. Of the others
            // the first attempt was the sending.
            let times = if in_doubt { 1 } else { leg.schedule.attempts.saturating_sub(1) };
            leg.schedule.due = Some(after(&AGAIN, times, now));
            if in_doubt {
                // Nothing is sent with a question.
                leg.schedule.unsent = leg.schedule.unsent.saturating_add(1);
                let detail = "the connection broke before the archive answered; it was asked whether it has the object";
                leg.failure = Some(Failure::new(FailureCode::ArchiveNotCommitted, detail, now));
            }
            asked.push(id.item(index));
        });
    }
    asked
}

/// An item the archive took: to be asked about, where that is wanted.
pub(super) fn stored(target: &NamedArchive, record: &mut Record, index: u16, now: Timestamp) {
    change_leg(record, index, &target.name, |leg| {
        (leg.failure, leg.refused) = (None, None);
        leg.schedule.due = None;
        if target.commitment != Commitment::None && leg.stage == Stage::Forwarded {
            leg.schedule.due = Some(now);
            // Sent, so that nobody may be given another patient for it, whatever failed before.
            (leg.schedule.attempts, leg.schedule.unsent) = (1, 0);
        }
    });
}

/// What an answer does to an item. An answer that comes late, twice, or after a better one changes
/// nothing; of one that is held for its commitment only a better one counts.
///
/// Also returned is what it is to be held for.
pub(super) fn settle(works: &Works, record: &mut Record, answer: &Answer, now: Timestamp) -> Option<Failure> {
    let (index, archive) = (answer.item.index, answer.archive.as_str());
    let is_late_yes = |leg: &Leg| answer.word == Word::Kept && leg.stage == Stage::Held && leg.progress() == Stage::Forwarded;
    let is_of_stills = |leg: &Leg| record.is_film(index) && leg.form == Form::StandIn;
    let leg = record.leg(index, archive).filter(|leg| (is_open(leg) || is_late_yes(leg)) && !is_of_stills(leg)).cloned()?;
    // What the archive said then of an object it has lost since, by its own word, is over: the object
    // was sent again. Times would not tell: clocks are set back.
    let is_over = || losses(record, index, archive).any(|line| line >= answer.history_lines);
    match &answer.word {
        Word::Kept | Word::NotKept(_) if is_over() => {}
        Word::Kept => kept(works, record, index, archive, now),
        Word::NotKept(NO_SUCH_INSTANCE) => missing(record, index, archive, now),
        Word::NotKept(reason) => {
            let detail = format!("the archive does not commit to the object: {} ({reason:04X}H)", says(*reason));
            if leg.stage == Stage::Forwarded && is_final(*reason) {
                return Some(Failure::new(FailureCode::ArchiveWillNotCommit, detail, now));
            }
            note(record, index, archive, &Failure::new(FailureCode::ArchiveNotCommitted, detail, now), None);
        }
        Word::Unasked(failure) => unasked(works, record, answer, &leg, failure, now),
    }
    None
}

/// True where asking again would be answered in the same way (PS3.3 §C.14.1.1). Where no reason is
/// given nobody knows.
fn is_final(reason: u16) -> bool {
    !matches!(reason, 0 | 0x0110 | 0x0131 | 0x0213)
}

fn kept(works: &Works, record: &mut Record, index: u16, archive: &str, now: Timestamp) {
    let stage_of = |record: &Record| record.items.get(usize::from(index)).map_or(Stage::Accepted, |item| item.stage);
    let before = stage_of(record);
    advance(record, index, Some(archive), Stage::Forwarded, now, None);
    let between = stage_of(record);
    advance(record, index, Some(archive), Stage::Committed, now, None);
    change_leg(record, index, archive, |leg| (leg.failure, leg.schedule.due) = (None, None));
    if between == Stage::Forwarded && before != between {
        works.observer.reached(Stage::Forwarded);
        works.observer.delivered(now.duration_since(record.acceptance.accepted_at).as_secs_f64());
    }
    if stage_of(record) == Stage::Committed {
        works.observer.reached(Stage::Committed);
    }
}

/// Lines that say that the archive does not have the object. Those of an older format name none.
fn losses(record: &Record, index: u16, archive: &str) -> impl Iterator<Item = u64> {
    let is_of = move |name: &Option<String>| name.as_ref().is_none_or(|name| name == archive);
    let is_loss = move |e: &Event| e.item == index && e.why.as_deref() == Some(LOST) && is_of(&e.archive);
    record.history_from(0).filter(move |(_, e)| is_loss(e)).map(|(line, _)| line)
}

/// 0112: the archive has no such instance, whatever it said before. It is sent again under the
/// same UID: at once, and then more and more seldom, so that an archive that takes everything and
/// keeps nothing is not fed in a circle.
fn missing(record: &mut Record, index: u16, archive: &str, now: Timestamp) {
    let times = u32::try_from(losses(record, index, archive).count()).unwrap_or(u32::MAX);
    let due = if times == 0 { now } else { after(&AGAIN, times, now) };
    let (why, archive_name) = (Some(LOST.to_owned()), Some(archive.to_owned()));
    if record.enter(Event { at: now, item: index, stage: Stage::Wrapped, why, by: None, archive: archive_name }).is_ok() {
        let detail = "the archive says that it has no such instance (0112H); it is sent again";
        note(record, index, archive, &Failure::new(FailureCode::ArchiveNotCommitted, detail, now), Some(due));
    }
}

fn unasked(works: &Works, record: &mut Record, answer: &Answer, leg: &Leg, failure: &Failure, now: Timestamp) {
    let (index, archive) = (answer.item.index, answer.archive.as_str());
    let soon = after(&works.retry, leg.schedule.attempts, now);
    let cannot = failure.class == Class::Permanent;
    let is_enough = works.archives.iter().any(|a| a.name == archive && a.commitment == Commitment::Ask);
    match leg.stage {
        // There is nobody to ask: the only way to know is to send it again.
        Stage::Wrapped if cannot => note(record, index, archive, failure, Some(soon)),
        // Still in doubt, and asked again.
        Stage::Wrapped => {
            let doubt = Failure::new(FailureCode::ArchiveAborted, failure.detail.clone(), now);
            note(record, index, archive, &doubt, Some(soon));
        }
        _ if cannot && is_enough && failure.code == FailureCode::ArchiveRefusedClass => {
            let why = "the archive offers no storage commitment; its word at storing is taken".to_owned();
            advance(record, index, Some(archive), Stage::Forwarded, now, Some(why));
            change_leg(record, index, archive, |leg| (leg.failure, leg.schedule.due) = (None, None));
        }
        // As claimed: an administrator has to act first.
        _ if cannot => note(record, index, archive, failure, None),
        _ => note(record, index, archive, failure, Some(soon)),
    }
}

/// `due`: `None` leaves it as it was claimed.
fn note(record: &mut Record, index: u16, archive: &str, failure: &Failure, due: Option<Timestamp>) {
    change_leg(record, index, archive, |leg| {
        leg.failure = Some(failure.clone());
        leg.schedule.due = due.or(leg.schedule.due);
    });
}

fn after(policy: &RetryPolicy, attempts: u32, now: Timestamp) -> Timestamp {
    match policy.next(attempts, Class::Transient, jitter()) {
        Next::After(ms) => later(now, ms),
        // No policy holds what is transient.
        Next::Hold => now,
    }
}

/// Failure Reason (0008,1197), PS3.3 §C.14.1.1.
fn says(reason: u16) -> &'static str {
    match reason {
        0x0110 => "processing failure",
        0x0119 => "class and instance conflict",
        0x0122 => "SOP class not supported",
        0x0131 => "duplicate transaction",
        0x0213 => "resource limitation",
        _ => "a reason without a meaning here",
    }
}
