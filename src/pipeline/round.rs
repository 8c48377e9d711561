//! One round's decisions, before they are written: what the workers and archives told, what is
//! due, and whom the next attempts are for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::act;
use super::commit;
use super::film::goes_as_hevc;
use super::forward::NamedArchive;
use super::inquire::{Question, Told};
use super::lane::SENT_MAX;
use super::owner::{waits_for_facts, waits_for_study};
use super::sealed;
use super::step::{Delivery, Failed, Job, Outcome, Works, advance, jitter, later};
use super::view::View;
use crate::capture::record::{Digest, Event};
use crate::capture::retry::Next;
use crate::capture::{Binding, CaptureId, Class, Commitment, Failure, FailureCode, Form, ItemId, Leg, Order, Record, Stage, Uid};
use crate::journal::{Commit, JournalError, StudyRow};

/// Unreadable rows that are remembered, so that each is complained of once.
const UNREADABLE_MAX: usize = 1_000;
/// One round.
pub(super) struct Round<'w> {
    pub(super) works: &'w Works,
    pub(super) now: Timestamp,
    pub(super) view: View,
    inserts: BTreeMap<CaptureId, Record>,
    changes: BTreeMap<CaptureId, (Record, Record)>,
    pub(super) studies: BTreeMap<Digest, StudyRow>,
    pub(super) bindings: Vec<(CaptureId, Binding)>,
    /// What was said of orders: to be kept.
    pub(super) orders: BTreeMap<Digest, Order>,
    /// What was said since the last round, whatever it is, and when.
    pub(super) told: BTreeMap<Digest, (Timestamp, Told)>,
    /// Of which somebody has heard that.
    pub(super) heard: BTreeSet<Digest>,
    /// What is to be asked, and for whom.
    pub(super) questions: Vec<(Question, CaptureId)>,
    pub(super) jobs: Vec<Job>,
    pub(super) answers: Vec<commit::Answer>,
    pub(super) asks: Vec<(usize, ItemId)>,
    pub(super) held: Vec<CaptureId>,
    /// Of which a person decided something.
    pub(super) decided: BTreeSet<CaptureId>,
}

/// So long an answer is kept for a person who did not wait for it; the world goes on.
const UNHEARD_MS: u64 = 60_000;
/// How often it is asked how far a film is that is being coded anew: a person may look at it.
const ASK_DARKROOM_MS: u64 = 5_000;

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
            orders: BTreeMap::new(),
            told: BTreeMap::new(),
            heard: BTreeSet::new(),
            questions: Vec::new(),
            jobs: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
            held: Vec::new(),
            decided: BTreeSet::new(),
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
    pub(super) fn load(&self, id: CaptureId) -> Result<Option<(Record, Record)>, JournalError> {
        if let Some((old, new)) = self.changes.get(&id) {
            return Ok(Some((old.clone(), new.clone())));
        }
        let stored = self.works.journal.get(id)?;
        Ok(stored.map(|old| {
            let mut new = old.clone();
            self.route(&mut new);
            (old, new)
        }))
    }

    /// A row that cannot be read waits for `journal rebuild` and stops nobody.
    pub(super) fn load_or_tell(&mut self, id: CaptureId) -> Option<(Record, Record)> {
        if self.view.unreadable.contains(&id) {
            return None;
        }
        self.load(id).unwrap_or_else(|why| {
            self.works.observer.written(Err(&why.to_string()));
            if why.is_of_the_row() && self.view.unreadable.len() < UNREADABLE_MAX {
                self.view.unreadable.insert(id);
            }
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

    /// Fits a record to the archives as they are configured now: holds what none takes, or what
    /// waits for one that is gone, be it for its commitment alone; lets go on what was held for that; asks for no word that is not
    /// wanted any more.
    pub(super) fn arrange(&self, record: &mut Record) {
        let works = self.works;
        if works.archives.is_empty() {
            return;
        }
        let is_enough = |leg: &Leg| works.archives.iter().any(|a| a.name == leg.archive && a.commitment == Commitment::None);
        let is_known = |leg: &Leg| works.archives.iter().any(|a| a.name == leg.archive);
        let homeless =
            |leg: &Leg| leg.failure.as_ref().is_some_and(|f| matches!(f.code, FailureCode::ArchiveGone | FailureCode::NoArchive));
        let is_back = |leg: &Leg| leg.stage == Stage::Held && homeless(leg) && is_known(leg);
        let is_lost = |leg: &Leg| matches!(leg.stage, Stage::Identified | Stage::Wrapped) && !is_known(leg);
        let is_unasked = |leg: &Leg| leg.stage == Stage::Forwarded && leg.schedule.due.is_some() && !is_known(leg);
        for index in 0..record.acceptance.items {
            let has = |record: &Record, which: &dyn Fn(&Leg) -> bool| {
                record.items.get(usize::from(index)).is_some_and(|item| item.any_leg(which))
            };
            if has(record, &is_back) {
                self.release(record, index, is_back);
            }
            if has(record, &is_lost) {
                let failure = self.lost(record, index, is_lost, "waits for it");
                self.hold(record, index, None, &failure, is_lost);
            }
            if has(record, &is_unasked) {
                let failure = self.lost(record, index, is_unasked, "is there, and it has not committed to it");
                self.hold(record, index, None, &failure, is_unasked);
            }
            record.change_legs(index, |leg| {
                // The archive's word at storing counts now.
                if leg.stage == Stage::Forwarded && is_enough(leg) {
                    (leg.failure, leg.schedule.due) = (None, None);
                }
            });
        }
    }

    /// Why legs of an item have no archive.
    fn lost(&self, record: &Record, index: u16, which: impl Fn(&Leg) -> bool, how: &str) -> Failure {
        let legs = record.items.get(usize::from(index)).into_iter().flat_map(|item| &item.legs);
        let names: Vec<String> = legs.filter(|leg| which(leg)).map(|leg| format!("\"{}\"", leg.archive)).collect();
        let (code, detail) = if names.is_empty() {
            (FailureCode::NoArchive, "no [[archive]] takes this department, kind of file and sensitivity".to_owned())
        } else {
            let names = names.join(", ");
            (FailureCode::ArchiveGone, format!("the configuration does not name {names} any more; the object {how}"))
        };
        Failure::new(code, detail, self.now)
    }

    fn release(&self, record: &mut Record, index: u16, which: impl Fn(&Leg) -> bool) {
        let legs = record.items.get(usize::from(index)).into_iter().flat_map(|item| &item.legs);
        let resumes: BTreeSet<Stage> = legs.filter(|leg| which(leg)).map(Leg::progress).collect();
        for stage in resumes {
            let due = Some(if stage == Stage::Forwarded { self.now } else { record.acceptance.accepted_at });
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
            let is_hevc_offered = goes_as_hevc(&self.works.archives);
            change_leg(&mut record, *index, &archive, |leg| {
                leg.schedule.open = false;
                leg.schedule.attempts = leg.schedule.attempts.saturating_sub(1);
                not_in_hevc(leg, is_hevc_offered);
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

    /// A worker did not come back before the gateway stopped: nobody died of that.
    pub(super) fn close(&mut self, id: CaptureId, lane: usize) {
        let Some(archive) = self.works.archives.get(lane).map(|a| a.name.clone()) else { return };
        let Some((old, mut record)) = self.load_or_tell(id) else { return };
        for index in 0..record.acceptance.items {
            change_leg(&mut record, index, &archive, |leg| leg.schedule.open = false);
        }
        self.keep(old, record);
    }

    /// What an archive said of items.
    pub(super) fn hear(&mut self) {
        for answer in self.answers.clone() {
            let Some((old, mut record)) = self.load_or_tell(answer.item.capture) else { continue };
            if let Some(failure) = commit::settle(self.works, &mut record, &answer, self.now) {
                let archive = answer.archive.as_str();
                self.hold(&mut record, answer.item.index, Some(archive), &failure, |leg| leg.archive == archive);
            }
            self.keep(old, record);
        }
    }

    /// What was said of an order's study is kept, whoever still waits for it. What was said first stays.
    pub(super) fn keep_told(&mut self) {
        for (key, (_, told)) in &self.told {
            if let Told::Order(order) = told
                && !matches!(self.works.journal.order(key), Ok(Some(_)))
            {
                self.orders.insert(*key, Order::clone(order));
            }
        }
    }

    /// What else was said and nobody has heard, because the person at the desk did not wait so long: for
    /// when they come again. That somebody did not answer is no answer.
    pub(super) fn unheard(&mut self) -> Vec<(Digest, (Timestamp, Told))> {
        let is_fresh = |at: Timestamp| at <= self.now && self.now <= later(at, UNHEARD_MS);
        let is_to_hear = |told: &Told| match told {
            Told::Order(_) => false,
            Told::Nowhere(_) => true,
            Told::Doubt((code, _)) => *code != FailureCode::StudyUnknown,
        };
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter(|(key, (at, told))| !self.heard.contains(key) && is_fresh(*at) && is_to_hear(told)).collect()
    }

    fn stored(&self, record: &mut Record, lane: usize, index: u16, at: Timestamp, delivery: &Delivery) {
        let Some(target) = self.works.archives.get(lane) else { return };
        for note in &delivery.notes {
            note_once(record, note);
        }
        if let Some(item) = record.items.get_mut(usize::from(index)) {
            item.sent_sha256 = delivery.sent_sha256.or(item.sent_sha256);
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
        let is_unsent = failed.failure.code.nothing_was_stored() || !failed.wrapped || failed.stand_in.is_some();
        let is_hevc_offered = goes_as_hevc(&self.works.archives);
        change_leg(record, index, &archive, |leg| {
            if is_unsent {
                leg.schedule.unsent = leg.schedule.unsent.saturating_add(1);
                not_in_hevc(leg, is_hevc_offered);
            }
        });
        if let Some(uid) = &failed.stand_in {
            return self.let_stand_in(record, index, &archive, &failed.failure.detail, uid);
        }
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
                let ms = if failure.code == FailureCode::Transcoding { ASK_DARKROOM_MS } else { ms };
                let closed = self.view.lanes.get(lane).and_then(|l| l.breaker.closed_until(self.now, &self.works.retry));
                // The archive's own wait holds for whoever met that it is away.
                let due = closed.filter(|_| failure.code.concerns_the_archive()).unwrap_or_else(|| later(self.now, ms));
                // Until its acceptance it would stand among those that were never tried: with a clock
                // that was set back since, it would be tried without a pause.
                let due = due.max(later(record.acceptance.accepted_at, 1));
                change_leg(record, index, &archive, |leg| (leg.failure, leg.schedule.due) = (Some(failure.clone()), Some(due)));
            }
            Next::Hold => {
                for note in &failed.notes {
                    note_once(record, note);
                }
                self.hold_leg(record, index, &archive, &failure);
            }
        }
    }

    /// Holds one leg. What is taken neither as the one nor as the other, and a film whatever became of its
    /// stills, begins from the start once a person has it tried again.
    pub(super) fn hold_leg(&self, record: &mut Record, index: u16, archive: &str, failure: &Failure) {
        let is_film = record.is_film(index);
        let refused = record.leg(index, archive).filter(|leg| leg.form == Form::StandIn).and_then(|leg| leg.refused.clone());
        let failure = match refused.filter(|refused| is_film && !failure.detail.starts_with(refused)) {
            Some(refused) => {
                Failure { detail: format!("{refused}; and of stills in its place: {}", failure.detail), ..failure.clone() }
            }
            None => failure.clone(),
        };
        self.hold(record, index, Some(archive), &failure, |leg| leg.archive == archive);
        if is_film || failure.code == FailureCode::ArchiveRefusedClass {
            change_leg(record, index, archive, |leg| (leg.form, leg.refused) = (Form::Own, None));
        }
    }

    /// The archive does not take the object's class: another instance goes in its place, at once.
    /// That is written down before it is sent, so that a crash makes no third.
    fn let_stand_in(&self, record: &mut Record, index: u16, archive: &str, detail: &str, uid: &Uid) {
        let due = self.now.max(later(record.acceptance.accepted_at, 1));
        let what = if record.is_film(index) { "stills of it go" } else { "it goes" };
        let why = Some(format!("{detail}; {what} as a Secondary Capture, {uid}"));
        let event = Event { at: self.now, item: index, stage: Stage::Wrapped, why, by: None, archive: Some(archive.to_owned()) };
        let _legal = record.enter_where(
            event,
            |leg| leg.archive == archive,
            |leg| {
                (leg.form, leg.refused) = (Form::StandIn, Some(detail.to_owned()));
                (leg.failure, leg.schedule.due) = (None, Some(due));
            },
        );
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
        if record.items.iter().any(|item| item.any_leg(|leg| waits_for_facts(leg) || waits_for_study(leg))) {
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

    /// Bindings first: what may be sent under an identity must be sealed before the journal says
    /// that it is known. What a person stopped is sealed before it, too, and let go after it: an index
    /// made anew must not send it.
    pub(super) fn write(&mut self) -> Result<(), String> {
        self.drop_broken();
        sealed::bind_all(&self.works.spool, &self.bindings).map_err(|e| e.to_string())?;
        let decided = self.decided.iter().filter_map(|id| self.changes.get(id).map(|(_, new)| (*id, act::stopped(new))));
        let (stopped, freed): (Vec<_>, Vec<_>) = decided.partition(|(_, items)| !items.is_empty());
        for (id, items) in stopped {
            sealed::stop(&self.works.spool, id, items).map_err(|e| e.to_string())?;
        }
        if self.touched() == 0 && self.studies.is_empty() && self.orders.is_empty() {
            return Ok(());
        }
        let arrived: Vec<CaptureId> = self.inserts.keys().copied().collect();
        let commit = Commit {
            insert: self.inserts.values().cloned().collect(),
            replace: self.changes.values().cloned().collect(),
            studies: self.studies.iter().map(|(k, v)| (*k, v.clone())).collect(),
            orders: self.orders.iter().map(|(k, v)| (*k, v.clone())).collect(),
            transactions: Vec::new(),
        };
        self.works.journal.commit(commit).map_err(|e| e.to_string())?;
        self.works.pending.remove(&arrived);
        for (id, items) in freed {
            // What stays there can only hold it once more.
            let _ = sealed::stop(&self.works.spool, id, items);
        }
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

/// The object was built: that is true for every leg that waited for it.
fn wrapped(record: &mut Record, index: u16, at: Timestamp) {
    let event = Event { at, item: index, stage: Stage::Wrapped, why: None, by: None, archive: None };
    let _already_there = record.enter_where(event, |leg| leg.stage == Stage::Identified, |_| ());
}

/// An attempt of this process that sent nothing is taken back.
fn not_in_hevc(leg: &mut Leg, is_hevc_offered: bool) {
    if is_hevc_offered && leg.form == Form::Own {
        leg.in_hevc = leg.in_hevc.map(|attempts| attempts.saturating_sub(1));
    }
}

fn note_once(record: &mut Record, note: &str) {
    if !record.notes.iter().any(|n| n == note) {
        record.notes.push(note.to_owned());
    }
}

pub(super) fn change_leg(record: &mut Record, index: u16, archive: &str, mut change: impl FnMut(&mut Leg)) {
    record.change_legs(index, |leg| {
        if leg.archive == archive {
            change(leg);
        }
    });
}
