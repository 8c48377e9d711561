//! Whom the next attempts are for: oldest first, as far as an archive has room and nobody older of
//! the same patient has to leave before; and who was in hand when the process died.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::commit;
use super::film::goes_as_hevc;
use super::forward::NamedArchive;
use super::owner::waits_for_owner;
use super::round::{Round, change_leg};
use super::step::Job;
use super::view::LaneView;
use crate::capture::{CaptureId, Commitment, Failure, FailureCode, Form, Leg, Record};
use crate::journal::{Queue, Span};

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
/// and before it is held: the last two tell, for nothing else was suspected then.
const SUSPECT_DEATHS: u8 = 2;
const DEATHS_MAX: u8 = 4;

impl Round<'_> {
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
        if record.items.iter().any(|item| item.any_leg(waits_for_owner)) {
            self.find_owner(&mut record);
        }
        self.arrange(&mut record);
        self.keep(old, record);
    }

    fn claim_asks(&mut self, lane: usize, target: &NamedArchive) -> Result<(), String> {
        let Some(view) = self.view.lanes.get(lane) else { return Ok(()) };
        if target.commitment == Commitment::None || view.breaker.closed_until(self.now, &self.works.retry).is_some() {
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
    pub(super) fn claim_drained(&mut self, record: &mut Record) {
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
        let wait_until = self.view.suspects_wait_until(self.now);
        let Some(view) = self.view.lanes.get_mut(lane) else { return };
        let most = if view.breaker.is_probing() { 1 } else { usize::MAX };
        let (mut items, mut waiting, mut is_suspect) = (Vec::new(), Vec::new(), false);
        for (index, item) in (0..).zip(&record.items) {
            let Some(leg) = item.legs.iter().find(|leg| is_ready(leg, &target.name, now)) else { continue };
            let suspected = leg.schedule.deaths >= SUSPECT_DEATHS;
            if suspected && wait_until.is_some() {
                waiting.push(index);
                continue;
            }
            // A suspect goes alone, so that the next death tells.
            if items.len() >= most || is_suspect || suspected && (has_suspect || !items.is_empty()) {
                break;
            }
            is_suspect |= suspected;
            items.push(index);
        }
        for index in waiting {
            change_leg(record, index, &target.name, |leg| leg.schedule.due = wait_until);
        }
        if items.is_empty() {
            return;
        }
        view.claimed.insert(id, is_suspect);
        let is_hevc_offered = goes_as_hevc(&self.works.archives);
        for index in &items {
            let is_film = record.is_film(*index);
            change_leg(record, *index, &target.name, |leg| {
                let known = leg.in_hevc.or((is_film && !leg.may_be_there()).then_some(0));
                // Its stills are in no such form.
                let may_be_so = is_hevc_offered && leg.form == Form::Own;
                leg.in_hevc = known.map(|attempts| attempts.saturating_add(u32::from(may_be_so)));
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
        change_leg(record, index, &target.name, |leg| {
            leg.schedule.open = false;
            leg.schedule.deaths = leg.schedule.deaths.saturating_add(1);
            deaths = leg.schedule.deaths;
        });
        if deaths >= DEATHS_MAX {
            let detail = format!("the gateway died {deaths} times in a row while it worked on this item for \"{}\"", target.name);
            let failure = Failure::new(FailureCode::GatewayDied, detail, self.now);
            self.hold_leg(record, index, &target.name, &failure);
        }
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
