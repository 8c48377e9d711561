//! Films that have to be coded anew, or of which stills are wanted: one at a time, on a thread of their own, while everything else
//! goes on.
//!
//! A worker that meets one asks here and gives it back: it waits as for an archive that is away, and
//! asks again every few seconds, until the film lies sealed beside the item or cannot be made. All that
//! is remembered is memory: after a restart the first who asks begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::develop;
use super::identify::Doubt;
use super::wrap;
use crate::capture::{FailureCode, Form, ItemId};
use crate::fence::Fence;
use crate::spool::Spool;

/// Films that wait at a time; who finds no place asks again.
const WAITING_MAX: usize = 256;
/// Failures that nobody has asked for yet.
const FAILED_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Darkroom {
    state: Mutex<State>,
    work: Condvar,
    stopping: AtomicBool,
}

/// An item, and the form in which it is to leave.
type Wanted = (ItemId, Form);

#[derive(Default)]
struct State {
    waiting: VecDeque<Wanted>,
    current: Option<(Wanted, Arc<Progress>)>,
    failed: BTreeMap<Wanted, Doubt>,
}

/// How much of a film was read.
#[derive(Default)]
struct Progress {
    read_bytes: AtomicU64,
    all_bytes: AtomicU64,
}

impl Progress {
    fn percent(&self) -> u64 {
        let all = self.all_bytes.load(Ordering::Relaxed).max(1);
        self.read_bytes.load(Ordering::Relaxed).saturating_mul(100) / all
    }
}

impl Darkroom {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to tell of an item that has to be coded anew: that it waits, how far it is, or why it
    /// cannot be.
    pub fn ask(&self, item: ItemId, form: Form) -> Doubt {
        let wanted = (item, form);
        let (is_made, has_to_be_made) = match form {
            Form::Own => ("the video is being coded anew", "the video has to be coded anew"),
            Form::StandIn => ("stills of the video are being made", "stills of the video have to be made"),
        };
        let mut state = self.state();
        if let Some(doubt) = state.failed.remove(&wanted) {
            return doubt;
        }
        let waits = |how: String| (FailureCode::Transcoding, how);
        if let Some((_, progress)) = state.current.as_ref().filter(|(current, _)| *current == wanted) {
            return waits(format!("{is_made}: {} % of it is read", progress.percent()));
        }
        let at = state.waiting.iter().position(|waiting| *waiting == wanted);
        if at.is_none() && state.waiting.len() < WAITING_MAX {
            state.waiting.push_back(wanted);
            self.work.notify_one();
        }
        let before = at.unwrap_or(state.waiting.len().saturating_sub(1)) + usize::from(state.current.is_some());
        waits(format!("{has_to_be_made}; {before} videos are before it"))
    }

    /// The thread: one film after the other until [`Darkroom::stop`]. `with_hevc` as for
    /// [`film::reel`](super::film::reel); `done`: of an item that can go on, or why it cannot.
    pub fn run(&self, spool: &Spool, fence: &Fence, with_hevc: bool, done: &dyn Fn(ItemId, Option<&Doubt>)) {
        loop {
            let state = self.state();
            let idle = |state: &mut State| state.waiting.is_empty() && !self.is_stopping();
            drop(self.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner));
            if self.is_stopping() {
                return;
            }
            self.develop_one(spool, fence, with_hevc, done);
        }
    }

    fn develop_one(&self, spool: &Spool, fence: &Fence, with_hevc: bool, done: &dyn Fn(ItemId, Option<&Doubt>)) {
        let progress = Arc::new(Progress::default());
        let wanted = {
            let mut state = self.state();
            let Some(wanted) = state.waiting.pop_front() else { return };
            state.current = Some((wanted, Arc::clone(&progress)));
            wanted
        };
        let (item, form) = wanted;
        let mut watch = |read_bytes, all_bytes| {
            progress.all_bytes.store(all_bytes, Ordering::Relaxed);
            progress.read_bytes.store(read_bytes, Ordering::Relaxed);
            !self.is_stopping()
        };
        // The next film is not to suffer from this one.
        let develop = || match form {
            Form::Own => develop::film(spool, fence, item, with_hevc, &mut watch),
            Form::StandIn => develop::stills(spool, fence, item, wrap::QUALITY, &mut watch),
        };
        let made = catch_unwind(AssertUnwindSafe(develop))
            .unwrap_or_else(|_| Err((FailureCode::WrapFailed, "coding it anew broke; the cause is in the log".to_owned())));
        let mut state = self.state();
        state.current = None;
        if self.is_stopping() {
            return;
        }
        if let Err(doubt) = &made {
            // Nobody asks any more for what was given up.
            if state.failed.len() >= FAILED_MAX {
                state.failed.pop_first();
            }
            state.failed.insert(wanted, doubt.clone());
        }
        drop(state);
        done(item, made.as_ref().err());
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends the film in hand: it is begun anew after the next start.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _state = self.state();
        self.work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CaptureId;

    #[test]
    fn who_asks_again_waits_once_and_hears_of_a_failure_once() {
        let room = Darkroom::default();
        let item = |n| CaptureId::new(1, [n; 10]).item(0);
        for _ in 0..3 {
            assert_eq!(room.ask(item(1), Form::Own).0, FailureCode::Transcoding);
        }
        assert!(room.ask(item(2), Form::Own).1.contains("1 videos are before it"));
        assert_eq!(room.state().waiting.len(), 2);
        assert!(room.ask(item(1), Form::StandIn).1.contains("stills of the video"));
        room.state().waiting.clear();
        room.state().failed.insert((item(1), Form::Own), (FailureCode::WrapFailed, "why".to_owned()));
        assert_eq!(room.ask(item(1), Form::Own), (FailureCode::WrapFailed, "why".to_owned()));
        assert_eq!(room.ask(item(1), Form::Own).0, FailureCode::Transcoding, "a person may try again");
        let progress = Progress::default();
        progress.all_bytes.store(200, Ordering::Relaxed);
        progress.read_bytes.store(90, Ordering::Relaxed);
        room.state().current = Some(((item(3), Form::Own), Arc::new(progress)));
        assert!(room.ask(item(3), Form::Own).1.contains("45 %"));
    }
}
