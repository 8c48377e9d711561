//! What is at the archive leaves the spool: after the journal says so of every item, and a while
//! later. The record, its history and its idempotency key stay.
//!
//! The order survives a crash: the journal's row is on disk before anything is erased, the head's
//! key goes first, and a capture without its head is no capture to who lists the spool. What a
//! crash leaves unerased is found at the next start.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::step::{Line, Works};
use super::tombstone;
use crate::capture::{CaptureId, Record, Stage};

/// Bytes at rest stay so long: an index that is lost meanwhile is rebuilt whole, and nothing is
/// left a quarter of an hour after the archive has it.
const KEPT: SignedDuration = SignedDuration::from_mins(10);
/// The same where an archive only said that it has it, and was not asked to commit to it: one that
/// loses what it took seconds ago is found out within the hour.
const KEPT_ON_ITS_WORD: SignedDuration = SignedDuration::from_hours(1);
/// Reports that come later than this are refused like those of strangers; archives that copy to
/// tape first take days.
const TRANSACTION_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Between two looks at what waits.
const PERIOD: Duration = Duration::from_secs(60);
/// Old questions are dropped at start and after so many looks: each reads all questions.
const LOOKS_PER_DROP: u32 = 60;

/// Captures whose bytes may go, and from when on.
#[derive(Default)]
pub(super) struct Sweeper {
    state: Mutex<Waiting>,
    woken: Condvar,
}

#[derive(Default)]
struct Waiting {
    captures: BTreeSet<(Timestamp, CaptureId)>,
    stopping: bool,
}

impl Sweeper {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called with records that the journal has.
    pub(super) fn rested<'r>(&self, works: &Works, records: impl Iterator<Item = &'r Record>) {
        let now = works.clock.now();
        let at_rest = records.filter_map(|r| Some((later(now, may_go_after(r)?), r.id())));
        self.state().captures.extend(at_rest);
    }

    /// Nothing stays longer from now on: what is due later was put in by a clock that was wrong.
    fn bring_back(&self, bound: Timestamp) {
        let mut state = self.state();
        while let Some((_, id)) = state.captures.last().copied().filter(|(from, _)| *from > bound) {
            state.captures.pop_last();
            state.captures.insert((bound, id));
        }
    }

    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.woken.notify_all();
    }
}

impl Line {
    /// The sweeper's thread: until [`Line::stop`].
    pub fn run_sweeper(&self) {
        let observer = &self.works().observer;
        let mut is_found = false;
        for look in 0_u32.. {
            // sled panics on some kinds of damage; nothing is erased then.
            let swept = catch_unwind(AssertUnwindSafe(|| self.look(look, &mut is_found)));
            match swept.unwrap_or_else(|_| Err("the sweeper broke; the cause is in the log".to_owned())) {
                Ok(erased) => observer.swept(Ok(erased)),
                Err(why) => observer.swept(Err(&why)),
            }
            let state = self.sweeper.state();
            let wait = |s: &mut Waiting| !s.stopping;
            if self.sweeper.woken.wait_timeout_while(state, PERIOD, wait).unwrap_or_else(PoisonError::into_inner).0.stopping {
                return;
            }
        }
    }

    /// `is_found`: what a crash left is on the list.
    fn look(&self, look: u32, is_found: &mut bool) -> Result<usize, String> {
        if !*is_found {
            self.find_unswept()?;
            *is_found = true;
        }
        let erased = self.sweep()?;
        if look.is_multiple_of(LOOKS_PER_DROP) {
            self.drop_old_questions()?;
        }
        Ok(erased)
    }

    /// Looks through the spool for what is at rest already: at start, what a crash left.
    ///
    /// # Errors
    /// Text for the operator.
    pub fn find_unswept(&self) -> Result<(), String> {
        let works = self.works();
        let settled = works.journal.ids(&[Stage::Forwarded, Stage::Committed]).map_err(|e| e.to_string())?;
        let here = works.spool.captures().map_err(|e| e.to_string())?;
        for id in here.into_iter().filter(|id| settled.binary_search(id).is_ok()) {
            if self.sweeper.state().stopping {
                return Ok(());
            }
            let Some(record) = works.journal.get(id).map_err(|e| e.to_string())? else { continue };
            if let Some(kept) = may_go_after(&record) {
                let since = record.history.last().map_or(record.acceptance.accepted_at, |e| e.at);
                self.sweeper.state().captures.insert((later(since, kept), id));
            }
        }
        Ok(())
    }

    /// Erases what has waited long enough; how many captures that were.
    ///
    /// # Errors
    /// Text for the operator; what was not erased is tried again later.
    pub fn sweep(&self) -> Result<usize, String> {
        let (works, now) = (self.works(), self.works().clock.now());
        self.sweeper.bring_back(later(now, KEPT_ON_ITS_WORD));
        let mut erased = 0;
        loop {
            let next = {
                let mut state = self.sweeper.state();
                let first = state.captures.first().copied().filter(|(from, _)| *from <= now && !state.stopping);
                first.inspect(|first| {
                    state.captures.remove(first);
                })
            };
            let Some((_, id)) = next else { return Ok(erased) };
            match erase(works, id) {
                Ok(is_erased) => erased += usize::from(is_erased),
                Err(why) => {
                    let again = later(now, KEPT);
                    self.sweeper.state().captures.insert((again, id));
                    return Err(why);
                }
            }
        }
    }

    fn drop_old_questions(&self) -> Result<(), String> {
        let works = self.works();
        let before = works.clock.now().checked_sub(TRANSACTION_KEPT).unwrap_or(Timestamp::MIN);
        works.journal.drop_transactions(before).map(|_| ()).map_err(|e| e.to_string())
    }
}

/// Asks the journal once more: what was at rest may have been taken up again.
fn erase(works: &Works, id: CaptureId) -> Result<bool, String> {
    let Some(record) = works.journal.get(id).map_err(|e| e.to_string())? else { return Ok(false) };
    if may_go_after(&record).is_none() {
        return Ok(false);
    }
    tombstone::leave(&works.spool, &record, works.clock.now())?;
    works.spool.remove(id, record.acceptance.items).map_err(|e| e.to_string())?;
    Ok(true)
}

/// How long it stays from now on, where every archive that it went to has every item, and has committed
/// to it or is not asked to. What a person discarded is that person's matter and not decided here.
fn may_go_after(record: &Record) -> Option<SignedDuration> {
    let has = |stages: &[Stage]| record.items.iter().all(|item| stages.contains(&item.stage) && item.schedule.due.is_none());
    if has(&[Stage::Committed]) { Some(KEPT) } else { has(&[Stage::Forwarded, Stage::Committed]).then_some(KEPT_ON_ITS_WORD) }
}

fn later(than: Timestamp, by: SignedDuration) -> Timestamp {
    than.checked_add(by).unwrap_or(Timestamp::MAX)
}
