//! The walk over what waits: at start and every few minutes everything that is held is looked at
//! again, and what stands where no claimer would ever find it is brought back.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::commit;
use super::step::{Works, later};
use crate::capture::{CaptureId, Commitment, Record, Stage};
use crate::journal::{Queue, Span};

/// Every so often: a message that made a match exact may have come while nobody could know who
/// waits for it.
const PERIOD_MS: i64 = 5 * 60_000;
/// Held captures that one round looks at.
const PAGE: usize = 200;
/// Captures that a walk brings back at most; ids only, so some megabytes. The next walk finds the
/// rest.
const FOUND_MAX: usize = 100_000;
/// Captures that are remembered at start because others wait behind them.
const ASIDE_MAX: usize = 4_096;

/// Where the walk stands.
#[derive(Default)]
pub(super) struct Walk {
    has_begun: bool,
    /// When the last walk began; `None`: not since the start.
    begun: Option<Timestamp>,
    /// Over held captures it goes on behind this one.
    after: Option<CaptureId>,
    under_way: bool,
    just_begun: bool,
}

impl Walk {
    /// True the first time.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.has_begun, true)
    }

    /// True where the last step was the first of a walk.
    pub(super) fn has_just_begun(&self) -> bool {
        self.just_begun
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// The next captures to look at; a new walk begins when it is time, also where the clock was
    /// set back.
    pub(super) fn go_on(&mut self, works: &Works, now: Timestamp) -> BTreeSet<CaptureId> {
        let mut found = BTreeSet::new();
        self.just_begun = false;
        if !self.under_way {
            let is_early = |at: Timestamp| at <= now && now.duration_since(at).as_millis() < i128::from(PERIOD_MS);
            if self.begun.is_some_and(is_early) {
                return found;
            }
            *self = Self { has_begun: true, begun: Some(now), after: None, under_way: true, just_begun: true };
            found = misplaced(works, now);
        }
        // Ids, so that a row that cannot be read does not hide the others.
        let page = works.journal.staged(Stage::Held, self.after, PAGE).unwrap_or_default();
        self.after = page.last().copied().filter(|_| page.len() == PAGE);
        self.under_way = self.after.is_some();
        found.extend(page);
        found
    }
}

/// What waits for an archive that is not configured, or for a word that is not asked for any more, and
/// what is due later than anything can be.
fn misplaced(works: &Works, now: Timestamp) -> BTreeSet<CaptureId> {
    let journal = &works.journal;
    if works.archives.is_empty() {
        return BTreeSet::new();
    }
    let names: Vec<String> = works.archives.iter().map(|a| a.name.clone()).collect();
    let mut found = journal.queued_for_others(&names, FOUND_MAX).unwrap_or_default();
    let bound = later(now, works.retry.bound_ms());
    found.extend(journal.due_after(bound, FOUND_MAX).unwrap_or_default());
    for target in works.archives.iter().filter(|target| target.commitment == Commitment::None) {
        // Nobody asks for it any more.
        let asked = journal.queued(&target.name, Queue::Ask, &Span::default(), FOUND_MAX).unwrap_or_default();
        found.extend(asked.into_iter().map(|row| row.id));
    }
    for name in &names {
        for (queue, bound) in [(Queue::Aside, bound), (Queue::Ask, later(now, commit::WAIT_MAX_MS))] {
            let span = Span { later_than: Some(bound), ..Span::default() };
            found.extend(journal.queued(name, queue, &span, FOUND_MAX).unwrap_or_default().into_iter().map(|row| row.id));
        }
    }
    found
}

/// Captures that stand aside, as far as they are few: an outage leaves a handful.
pub(super) fn set_aside(works: &Works) -> Vec<Record> {
    let rows = works
        .archives
        .iter()
        .flat_map(|target| works.journal.queued(&target.name, Queue::Aside, &Span::default(), ASIDE_MAX).unwrap_or_default());
    rows.filter_map(|row| works.journal.get(row.id).ok().flatten()).collect()
}
