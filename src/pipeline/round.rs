//! One round's decisions, before they are written: what the workers and archives told, what is
//! due, and whom the next attempts are for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::commit;
use super::forward::NamedArchive;
use super::lane::{Breaker, Lane, Order, SENT_MAX};
use super::sealed;
use super::step::{Delivery, Failed, Job, Outcome, Works, advance, jitter, later};
use crate::capture::record::{Digest, Event};
use crate::capture::retry::{Next, RetryPolicy};
use crate::capture::{Binding, CaptureId, Class, Failure, FailureCode, ItemId, Leg, Record, Stage};
use crate::journal::{Commit, Queue, Span, StudyRow};

/// Rows of one queue that a round looks at, beyond those in hand: what stands aside and what waits
/// behind it is passed over.
const LOOK_MAX: usize = 256;
/// Rows read in one go.
const PAGE_ROWS: usize = 64;
/// Captures that are asked about in one round: as many as fit a few questions.
const ASKS_MAX: usize = 400;
/// Captures that a round identifies again, or takes over from an older format.
const UNIDENTIFIED_MAX: usize = 64;
/// In how many deaths of the process an item may have been in hand before it is worked on alone,
/// and before it is held.
const SUSPECT_DEATHS: u8 = 2;
const DEATHS_MAX: u8 = 3;
/// A suspect waits so long after a start: then a death that comes by itself, or by an administrator
/// in a hurry, seldom meets it again.
const SUSPECT_WAIT_MS: u64 = 5_000;

/// One archive's lane as the round finds it.
pub(super) struct LaneView {
    breaker: Breaker,
    /// In hand; true: a suspect.
    claimed: BTreeMap<CaptureId, bool>,
    order: Order,
    alone_in_failing: BTreeSet<CaptureId>,
    /// Nothing waits that could be sent now: what arrives may go at once.
    is_drained: bool,
    /// By a person, for an attempt now.
    pub(super) was_asked: bool,
}

/// All lanes.
pub(super) struct View {
    pub(super) lanes: Vec<LaneView>,
}

impl View {
    pub(super) fn new(lanes: &[Lane]) -> Self {
        let one = |lane: &Lane| LaneView {
            breaker: lane.breaker.clone(),
            claimed: lane.claimed.clone(),
            order: lane.order.clone(),
            alone_in_failing: lane.alone_in_failing(),
            is_drained: false,
            was_asked: false,
        };
        Self { lanes: lanes.iter().map(one).collect() }
    }

    /// It is in hand no more.
    pub(super) fn forget(&mut self, outcome: &Outcome) {
        if let Some(lane) = self.lanes.get_mut(outcome.lane) {
            lane.claimed.remove(&outcome.id);
        }
    }

    /// A person wants a capture to be tried now: its archives are asked whether they are back.
    pub(super) fn ask_now(&mut self, record: &Record, archives: &[NamedArchive]) {
        for (lane, target) in self.lanes.iter_mut().zip(archives) {
            let waits = |leg: &Leg| leg.archive == target.name && leg.schedule.due.is_some();
            if record.items.iter().any(|item| item.any_leg(waits)) {
                lane.breaker.ask_now();
                lane.was_asked = true;
            }
        }
    }

    fn has_suspect_in_hand(&self) -> bool {
        self.lanes.iter().any(|lane| lane.claimed.values().any(|is_suspect| *is_suspect))
    }
}

impl LaneView {
    fn room(&self, now: Timestamp, policy: &RetryPolicy) -> usize {
        self.breaker.room(now, self.claimed.len(), policy)
    }

    /// When this lane has something to do next.
    pub(super) fn next_due(&self, works: &Works, target: &NamedArchive, now: Timestamp) -> Option<Timestamp> {
        let closed = self.breaker.closed_until(now, &works.retry);
        let mut next = closed;
        for queue in [Queue::Aside, Queue::Ask] {
            if queue == Queue::Ask && target.commitment == crate::capture::Commitment::None {
                continue;
            }
            // What is in hand is woken for by its outcome; what is due and cannot be claimed waits
            // for the next look.
            let span = Span { later_than: Some(now), ..Span::default() };
            let first = works.journal.queued(&target.name, queue, &span, 1).unwrap_or_default();
            let due = first.first().map(|row| closed.map_or(row.due, |until| until.max(row.due)));
            next = next.into_iter().chain(due).min();
        }
        next
    }
}

/// One round.
pub(super) struct Round<'w> {
    pub(super) works: &'w Works,
    pub(super) now: Timestamp,
    pub(super) view: View,
    inserts: BTreeMap<CaptureId, Record>,
    changes: BTreeMap<CaptureId, (Record, Record)>,
    pub(super) studies: BTreeMap<Digest, StudyRow>,
    pub(super) bindings: Vec<(CaptureId, Binding)>,
    pub(super) jobs: Vec<Job>,
    pub(super) answers: Vec<commit::Answer>,
    pub(super) asks: Vec<(usize, ItemId)>,
    pub(super) held: Vec<CaptureId>,
}

impl<'w> Round<'w> {
    pub(super) fn new(works: &'w Works, now: Timestamp, view: View) -> Self {
        Self {
            works,
            now,
            view,
            inserts: BTreeMap::new(),
            changes: BTreeMap::new(),
            studies: BTreeMap::new(),
            bindings: Vec::new(),
            jobs: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
            held: Vec::new(),
        }
    }

    pub(super) fn touched(&self) -> usize {
        self.inserts.len() + self.changes.len()
    }

    /// Records as they are once it is written.
    pub(super) fn written(&self) -> impl Iterator<Item = &Record> {
        self.inserts.values().chain(self.changed())
    }

    pub(super) fn changed(&self) -> impl Iterator<Item = &Record> {
        self.changes.values().map(|(_, new)| new)
    }

    /// Discarded captures whose bytes nobody needs any more.
    pub(super) fn erasable(&self) -> impl Iterator<Item = (CaptureId, u16)> {
        self.changed().filter(|r| r.is_erasable()).map(|r| (r.id(), r.acceptance.items))
    }

    /// The record as this round leaves it so far, and as it was before.
    pub(super) fn load(&self, id: CaptureId) -> Result<Option<(Record, Record)>, String> {
        if let Some((old, new)) = self.changes.get(&id) {
            return Ok(Some((old.clone(), new.clone())));
        }
        let stored = self.works.journal.get(id).map_err(|e| e.to_string())?;
        Ok(stored.map(|old| {
            let mut new = old.clone();
            self.route(&mut new);
            (old, new)
        }))
    }

    /// A row that cannot be read waits for `journal rebuild` and stops nobody.
    fn load_or_tell(&self, id: CaptureId) -> Option<(Record, Record)> {
        self.load(id).unwrap_or_else(|why| {
            self.works.observer.written(Err(&why));
            None
        })
    }

    pub(super) fn keep(&mut self, old: Record, new: Record) {
        // What was given back and claimed again in one round is as the journal has it.
        let was_changed = self.changes.remove(&new.id()).is_some();
        if old == new && !was_changed {
            return;
        }
        for (view, target) in self.view.lanes.iter_mut().zip(&self.works.archives) {
            view.order.note(&new, &target.name);
        }
        if old != new {
            self.changes.insert(new.id(), (old, new));
        }
    }

    /// Decides once to which archives each item goes, in rows of an older format too: what those
    /// had sent went to the only archive there was.
    fn route(&self, record: &mut Record) {
        let archives = &self.works.archives;
        if archives.is_empty() || record.items.iter().all(|item| !item.legs.is_empty()) {
            return;
        }
        for index in 0..record.acceptance.items {
            let Some(item) = record.items.get(usize::from(index)) else { continue };
            let names: Vec<String> = match item.progress() {
                Stage::Forwarded | Stage::Committed => archives.iter().take(1).map(|a| a.name.clone()).collect(),
                _ => {
                    let takes = |a: &&NamedArchive| a.takes.takes_item(&record.acceptance.claim, item.facts.media);
                    archives.iter().filter(takes).map(|a| a.name.clone()).collect()
                }
            };
            record.route(index, &names);
        }
        if record.patient_key.is_none()
            && record.study_instance_uid.is_some()
            && let Ok(Some(binding)) = sealed::read_binding(&self.works.spool, record.id())
        {
            record.patient_key = Some(super::bind::patient_key(&binding.patient.identifier, &self.works.place));
        }
    }

    /// Holds what no archive takes, or what waits for one that is not configured any more; and lets
    /// go on what was held for that and need not be.
    pub(super) fn arrange(&self, record: &mut Record) {
        let works = self.works;
        if works.archives.is_empty() {
            return;
        }
        let is_known = |leg: &Leg| works.archives.iter().any(|a| a.name == leg.archive);
        for index in 0..record.acceptance.items {
            let Some(item) = record.items.get(usize::from(index)) else { continue };
            let homeless = |leg: &Leg| {
                leg.failure.as_ref().is_some_and(|f| matches!(f.code, FailureCode::ArchiveGone | FailureCode::NoArchive))
            };
            let is_back = |leg: &Leg| leg.stage == Stage::Held && homeless(leg) && is_known(leg);
            let is_lost = |leg: &Leg| matches!(leg.stage, Stage::Identified | Stage::Wrapped) && !is_known(leg);
            if item.any_leg(is_back) {
                self.release(record, index, is_back);
            } else if item.any_leg(is_lost) {
                let (code, detail) = if item.legs.is_empty() {
                    (FailureCode::NoArchive, "no [[archive]] takes this department, kind of file and sensitivity".to_owned())
                } else {
                    let names = item.legs.iter().filter(|leg| is_lost(leg)).map(|leg| format!("\"{}\"", leg.archive));
                    let names = names.collect::<Vec<_>>().join(", ");
                    (FailureCode::ArchiveGone, format!("it waits for {names}, which the configuration does not name any more"))
                };
                self.hold(record, index, None, &Failure::new(code, detail, self.now), is_lost);
            }
        }
    }

    fn release(&self, record: &mut Record, index: u16, which: impl Fn(&Leg) -> bool) {
        let legs = record.items.get(usize::from(index)).into_iter().flat_map(|item| &item.legs);
        let resumes: BTreeSet<Stage> = legs.filter(|leg| which(leg)).map(Leg::progress).collect();
        let due = Some(record.acceptance.accepted_at);
        for stage in resumes {
            let why = Some("an archive takes it now".to_owned());
            let event = Event { at: self.now, item: index, stage, why, by: None, archive: None };
            let is_meant = |leg: &Leg| which(leg) && leg.progress() == stage;
            let _legal = record.enter_where(event, is_meant, |leg| (leg.failure, leg.schedule.due) = (None, due));
        }
    }

    /// Holds those legs of an item for a person. `of`: the archive, where it is that one's leg.
    pub(super) fn hold(
        &self,
        record: &mut Record,
        index: u16,
        of: Option<&str>,
        failure: &Failure,
        which: impl Fn(&Leg) -> bool,
    ) {
        let was_held = record.items.get(usize::from(index)).is_some_and(|item| item.stage == Stage::Held);
        let why = Some(failure.code.word().to_owned());
        let event = Event { at: self.now, item: index, stage: Stage::Held, why, by: None, archive: of.map(str::to_owned) };
        let held = record.enter_where(event, which, |leg| (leg.failure, leg.schedule.due) = (Some(failure.clone()), None));
        if held.is_ok() && !was_held {
            self.works.observer.reached(Stage::Held);
        }
    }

    /// What a worker reported.
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        let Some(archive) = self.works.archives.get(outcome.lane).map(|a| a.name.clone()) else { return };
        let Some((old, mut record)) = self.load_or_tell(outcome.id) else { return };
        for index in &outcome.untried {
            change_leg(&mut record, *index, &archive, |leg| {
                leg.schedule.open = false;
                leg.schedule.attempts = leg.schedule.attempts.saturating_sub(1);
            });
        }
        for item in &outcome.items {
            change_leg(&mut record, item.index, &archive, |leg| (leg.schedule.open, leg.schedule.deaths) = (false, 0));
            match &item.result {
                Ok(delivery) => self.stored(&mut record, outcome.lane, item.index, item.at, delivery),
                Err(failed) => self.failed(&mut record, outcome.lane, item.index, failed),
            }
        }
        self.keep(old, record);
    }

    /// What an archive said of items.
    pub(super) fn hear(&mut self) {
        for answer in self.answers.clone() {
            let Some((old, mut record)) = self.load_or_tell(answer.item.capture) else { continue };
            commit::settle(self.works, &mut record, &answer, self.now);
            self.keep(old, record);
        }
    }

    fn stored(&self, record: &mut Record, lane: usize, index: u16, at: Timestamp, delivery: &Delivery) {
        let Some(target) = self.works.archives.get(lane) else { return };
        for note in &delivery.notes {
            if !record.notes.iter().any(|n| n == note) {
                record.notes.push((*note).to_owned());
            }
        }
        let before = record.items.get(usize::from(index)).map(|item| item.stage);
        wrapped(record, index, at);
        advance(record, index, Some(&target.name), Stage::Forwarded, at, delivery.warning.clone());
        commit::stored(target, record, index, self.now);
        let after = record.items.get(usize::from(index)).map(|item| item.stage);
        if after == Some(Stage::Forwarded) && before != after {
            self.works.observer.reached(Stage::Forwarded);
            self.works.observer.delivered(at.duration_since(record.acceptance.accepted_at).as_secs_f64());
        }
    }

    fn failed(&self, record: &mut Record, lane: usize, index: u16, failed: &Failed) {
        let Some(archive) = self.works.archives.get(lane).map(|a| a.name.clone()) else { return };
        // An answer to a question may have overtaken the worker.
        if record.leg(index, &archive).is_none_or(|leg| matches!(leg.stage, Stage::Forwarded | Stage::Committed)) {
            return;
        }
        if failed.wrapped {
            wrapped(record, index, self.now);
        }
        let is_unsent = failed.failure.code.nothing_was_stored() || !failed.wrapped;
        change_leg(record, index, &archive, |leg| leg.schedule.unsent = leg.schedule.unsent.saturating_add(u32::from(is_unsent)));
        let Some(leg) = record.leg(index, &archive).cloned() else { return };
        let failure = if self.is_its_own_fault(&leg, record.id(), lane, &failed.failure) {
            let (times, last) = (leg.sent(), &failed.failure.detail);
            let detail = format!("the archive failed {times} times on this object and took others meanwhile; last: {last}");
            Failure::new(FailureCode::ArchiveStumbles, detail, self.now)
        } else {
            failed.failure.clone()
        };
        match self.works.retry.next(leg.schedule.attempts, failure.class, jitter()) {
            Next::After(ms) => {
                let closed = self.view.lanes.get(lane).and_then(|l| l.breaker.closed_until(self.now, &self.works.retry));
                // The archive's own wait holds for whoever met that it is away.
                let due = closed.filter(|_| failure.code.concerns_the_archive()).unwrap_or_else(|| later(self.now, ms));
                // Until its acceptance it would stand among those that were never tried: with a clock
                // that was set back since, it would be tried without a pause.
                let due = due.max(later(record.acceptance.accepted_at, 1));
                change_leg(record, index, &archive, |leg| (leg.failure, leg.schedule.due) = (Some(failure.clone()), Some(due)));
            }
            Next::Hold => self.hold(record, index, Some(&archive), &failure, |leg| leg.archive == archive),
        }
    }

    /// True where the archive breaks off or fails with this object again and again, and takes others.
    fn is_its_own_fault(&self, leg: &Leg, id: CaptureId, lane: usize, failure: &Failure) -> bool {
        let may_be = failure.class == Class::Ambiguous || failure.code == FailureCode::ArchiveProcessing;
        let is_alone = || self.view.lanes.get(lane).is_some_and(|l| l.alone_in_failing.contains(&id));
        may_be && leg.sent() >= SENT_MAX && is_alone()
    }

    /// A capture that is promised and not yet in the journal.
    pub(super) fn arrive(&mut self, mut record: Record) {
        let id = record.id();
        self.route(&mut record);
        self.find_owner(&mut record);
        self.arrange(&mut record);
        self.claim_drained(&mut record);
        self.inserts.insert(id, record);
    }

    /// A held capture whose hospital facts, or whose archives, may have changed; or one that a
    /// wrong clock put off.
    pub(super) fn look_again(&mut self, id: CaptureId) {
        let Some((old, mut record)) = self.load_or_tell(id) else { return };
        self.pull_back(&mut record);
        if record.items.iter().any(|item| item.any_leg(super::owner::waits_for_facts)) {
            self.find_owner(&mut record);
        }
        self.arrange(&mut record);
        self.claim_drained(&mut record);
        self.keep(old, record);
    }

    /// No wait is longer than the longest there is: what is due later was written by a clock that
    /// was wrong.
    fn pull_back(&self, record: &mut Record) {
        let bound = later(self.now, self.works.retry.bound_ms());
        let asked = later(self.now, commit::WAIT_MAX_MS);
        for index in 0..record.acceptance.items {
            record.change_legs(index, |leg| {
                let bound = if commit::waits_for_an_answer(leg) { asked } else { bound };
                leg.schedule.due = leg.schedule.due.map(|due| due.min(bound));
            });
        }
    }

    /// Everything whose time has come: first who is not identified yet, then each archive's queue,
    /// oldest first.
    pub(super) fn claim_due(&mut self, busy: &BTreeSet<CaptureId>) {
        if self.works.archives.is_empty() {
            return;
        }
        match self.works.journal.due_ids(self.now, busy.len() + UNIDENTIFIED_MAX) {
            Ok(due) => due.into_iter().filter(|id| !busy.contains(id)).for_each(|id| self.take_up(id)),
            Err(e) => self.works.observer.written(Err(&e.to_string())),
        }
        let works = self.works;
        for (lane, target) in works.archives.iter().enumerate() {
            let claimed = self.claim_asks(lane, target).and_then(|()| self.claim_lane(lane, target));
            if let Err(why) = claimed {
                works.observer.written(Err(&why));
            }
        }
    }

    /// Not identified yet, or from an older format.
    fn take_up(&mut self, id: CaptureId) {
        let Some((old, mut record)) = self.load_or_tell(id) else { return };
        if record.items.iter().any(|item| item.any_leg(super::owner::waits_for_owner)) {
            self.find_owner(&mut record);
        }
        self.arrange(&mut record);
        self.keep(old, record);
    }

    fn claim_asks(&mut self, lane: usize, target: &NamedArchive) -> Result<(), String> {
        let Some(view) = self.view.lanes.get(lane) else { return Ok(()) };
        if target.commitment == crate::capture::Commitment::None
            || view.breaker.closed_until(self.now, &self.works.retry).is_some()
        {
            return Ok(());
        }
        let limit = if view.breaker.is_probing() { 1 } else { ASKS_MAX };
        let span = Span { until: Some(self.now), ..Span::default() };
        let due = self.works.journal.queued(&target.name, Queue::Ask, &span, limit).map_err(|e| e.to_string())?;
        for row in due {
            if self.view.lanes.get(lane).is_some_and(|view| view.claimed.contains_key(&row.id)) {
                continue;
            }
            let Some((old, mut record)) = self.load_or_tell(row.id) else { continue };
            self.asks.extend(commit::claim(target, &mut record, self.now).into_iter().map(|item| (lane, item)));
            self.keep(old, record);
        }
        Ok(())
    }

    /// What failed before and is due again comes first: it is older than what was never tried, or
    /// was asked for by a person.
    fn claim_lane(&mut self, lane: usize, target: &NamedArchive) -> Result<(), String> {
        let mut has_more = false;
        for queue in [Queue::Aside, Queue::Ready] {
            let until = Some(self.now).filter(|_| queue == Queue::Aside);
            let (mut looked, mut place) = (0, None);
            while looked < LOOK_MAX {
                let Some(view) = self.view.lanes.get(lane) else { return Ok(()) };
                if view.room(self.now, &self.works.retry) == 0 {
                    return Ok(());
                }
                let span = Span { after: place.as_deref(), later_than: None, until };
                let page = self.works.journal.queued(&target.name, queue, &span, PAGE_ROWS).map_err(|e| e.to_string())?;
                for row in &page {
                    self.claim(row.id, lane, target);
                }
                looked += page.len();
                if page.len() < PAGE_ROWS {
                    place = None;
                    break;
                }
                place = page.into_iter().last().map(|row| row.place);
            }
            has_more |= place.is_some();
        }
        if let Some(view) = self.view.lanes.get_mut(lane) {
            view.is_drained = !has_more;
        }
        Ok(())
    }

    fn claim(&mut self, id: CaptureId, lane: usize, target: &NamedArchive) {
        let has_room = |view: &LaneView| view.room(self.now, &self.works.retry) > 0 && !view.claimed.contains_key(&id);
        if !self.view.lanes.get(lane).is_some_and(has_room) {
            return;
        }
        let Some((old, mut record)) = self.load_or_tell(id) else { return };
        if !self.view.lanes.get(lane).is_some_and(|view| view.order.is_behind(&record)) {
            let now = time_of(&record, self.now);
            if record.is_unsent() && record.items.iter().any(|i| i.legs.iter().any(|leg| is_ready(leg, &target.name, now))) {
                self.check_owner(&mut record);
            }
            self.arrange(&mut record);
            self.asks.extend(commit::claim(target, &mut record, self.now).into_iter().map(|item| (lane, item)));
            self.claim_items(&mut record, lane, target);
        }
        self.keep(old, record);
    }

    /// What just came in goes at once where nothing waits before it.
    fn claim_drained(&mut self, record: &mut Record) {
        let works = self.works;
        for (lane, target) in works.archives.iter().enumerate() {
            let may_go = |view: &LaneView| {
                view.is_drained
                    && !view.order.is_behind(record)
                    && view.room(self.now, &works.retry) > 0
                    && !view.claimed.contains_key(&record.id())
            };
            if self.view.lanes.get(lane).is_some_and(may_go) {
                self.claim_items(record, lane, target);
            }
        }
    }

    /// Counts an attempt for each item that is due and ready, and makes the job.
    fn claim_items(&mut self, record: &mut Record, lane: usize, target: &NamedArchive) {
        let (id, now) = (record.id(), time_of(record, self.now));
        for index in 0..record.acceptance.items {
            self.charge(record, index, target);
        }
        let has_suspect = self.view.has_suspect_in_hand();
        let Some(view) = self.view.lanes.get_mut(lane) else { return };
        let most = if view.breaker.is_probing() { 1 } else { usize::MAX };
        let (mut items, mut is_suspect) = (Vec::new(), false);
        for (index, item) in (0..).zip(&record.items) {
            let Some(leg) = item.legs.iter().find(|leg| is_ready(leg, &target.name, now)) else { continue };
            let suspected = leg.schedule.deaths >= SUSPECT_DEATHS;
            // A suspect goes alone, so that the next death tells.
            if items.len() >= most || is_suspect || suspected && (has_suspect || !items.is_empty()) {
                break;
            }
            is_suspect |= suspected;
            items.push(index);
        }
        if items.is_empty() {
            return;
        }
        view.claimed.insert(id, is_suspect);
        for index in &items {
            change_leg(record, *index, &target.name, |leg| {
                leg.schedule.attempts = leg.schedule.attempts.saturating_add(1);
                leg.schedule.open = true;
            });
        }
        self.jobs.push(Job { record: record.clone(), lane, items, is_suspect });
    }

    /// An attempt that is open and in nobody's hands was open when the process died.
    fn charge(&self, record: &mut Record, index: u16, target: &NamedArchive) {
        let now = time_of(record, self.now);
        let is_open = |leg: &Leg| is_ready(leg, &target.name, now) && leg.schedule.open;
        if !record.leg(index, &target.name).is_some_and(is_open) {
            return;
        }
        let mut deaths = 0;
        let wait_until = later(self.now, SUSPECT_WAIT_MS);
        change_leg(record, index, &target.name, |leg| {
            leg.schedule.open = false;
            leg.schedule.deaths = leg.schedule.deaths.saturating_add(1);
            deaths = leg.schedule.deaths;
            if deaths == SUSPECT_DEATHS {
                leg.schedule.due = Some(wait_until);
            }
        });
        if deaths >= DEATHS_MAX {
            let detail = format!("the gateway died {deaths} times in a row while it worked on this item for \"{}\"", target.name);
            let failure = Failure::new(FailureCode::GatewayDied, detail, self.now);
            self.hold(record, index, Some(&target.name), &failure, |leg| leg.archive == target.name);
        }
    }

    /// Bindings first: what may be sent under an identity must be sealed before the journal says
    /// that it is known.
    pub(super) fn write(&mut self) -> Result<(), String> {
        self.drop_broken();
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

    /// A record that contradicts itself would keep all others from being written.
    fn drop_broken(&mut self) {
        let broken: BTreeSet<CaptureId> = self.written().filter(|r| r.check().is_err()).map(Record::id).collect();
        if broken.is_empty() {
            return;
        }
        self.works.observer.written(Err("a record would contradict itself and was left as it is; report this"));
        self.inserts.retain(|id, _| !broken.contains(id));
        self.changes.retain(|id, _| !broken.contains(id));
        self.jobs.retain(|job| !broken.contains(&job.record.id()));
        self.asks.retain(|(_, item)| !broken.contains(&item.capture));
        self.bindings.retain(|(id, _)| !broken.contains(id));
    }
}

/// For a worker of this archive, now.
fn is_ready(leg: &Leg, archive: &str, now: Timestamp) -> bool {
    leg.archive == archive && leg.is_to_be_sent() && leg.is_due(now)
}

/// What was accepted while the clock was ahead is not put off until then.
fn time_of(record: &Record, now: Timestamp) -> Timestamp {
    now.max(record.acceptance.accepted_at)
}

/// The object was built: that is true for every leg that waited for it.
fn wrapped(record: &mut Record, index: u16, at: Timestamp) {
    let event = Event { at, item: index, stage: Stage::Wrapped, why: None, by: None, archive: None };
    let _already_there = record.enter_where(event, |leg| leg.stage == Stage::Identified, |_| ());
}

pub(super) fn change_leg(record: &mut Record, index: u16, archive: &str, mut change: impl FnMut(&mut Leg)) {
    record.change_legs(index, |leg| {
        if leg.archive == archive {
            change(leg);
        }
    });
}
