//! The lanes as a round finds them, and as far as it has used them up.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::forward::NamedArchive;
use super::lane::{Breaker, Lane, Order};
use super::step::{Outcome, Works, later};
use crate::capture::retry::RetryPolicy;
use crate::capture::{CaptureId, Commitment, Leg, Record};
use crate::journal::{Queue, Span};

/// One archive's lane as the round finds it.
pub(super) struct LaneView {
    pub(super) breaker: Breaker,
    /// In hand; true: a suspect.
    pub(super) claimed: BTreeMap<CaptureId, bool>,
    pub(super) order: Order,
    pub(super) alone_in_failing: BTreeSet<CaptureId>,
    /// Nothing waits that could be sent now: what arrives may go at once.
    pub(super) is_drained: bool,
    /// By a person, for an attempt now.
    pub(super) was_asked: bool,
}

/// A suspect waits until the process has lived so long: then a death that comes by itself, or by an
/// administrator in a hurry, seldom meets it again.
const SUSPECT_WAIT_MS: u64 = 5_000;

/// All lanes.
pub(super) struct View {
    pub(super) lanes: Vec<LaneView>,
    /// When the process began to work.
    started: Timestamp,
    /// Rows that cannot be read, and were complained of: passed over until the next walk.
    pub(super) unreadable: BTreeSet<CaptureId>,
}

impl View {
    pub(super) fn new(lanes: &[Lane], unreadable: &BTreeSet<CaptureId>, started: Timestamp) -> Self {
        let one = |lane: &Lane| LaneView {
            breaker: lane.breaker.clone(),
            claimed: lane.claimed.clone(),
            order: lane.order.clone(),
            alone_in_failing: lane.alone_in_failing(),
            is_drained: false,
            was_asked: false,
        };
        Self { lanes: lanes.iter().map(one).collect(), started, unreadable: unreadable.clone() }
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

    /// Until when no suspect is worked on; `None`: one may be. A clock that was set back keeps none.
    pub(super) fn suspects_wait_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = later(self.started, SUSPECT_WAIT_MS);
        Some(until).filter(|until| now >= self.started && now < *until)
    }

    pub(super) fn has_suspect_in_hand(&self) -> bool {
        self.lanes.iter().any(|lane| lane.claimed.values().any(|is_suspect| *is_suspect))
    }
}

impl LaneView {
    pub(super) fn room(&self, now: Timestamp, policy: &RetryPolicy) -> usize {
        self.breaker.room(now, self.claimed.len(), policy)
    }

    /// When this lane has something to do next.
    pub(super) fn next_due(&self, works: &Works, target: &NamedArchive, now: Timestamp) -> Option<Timestamp> {
        let closed = self.breaker.closed_until(now, &works.retry);
        let mut next = closed;
        for queue in [Queue::Aside, Queue::Ask] {
            if queue == Queue::Ask && target.commitment == Commitment::None {
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
