//! When the process dies. From then on nothing it does has any effect, until it is started again.

use std::sync::{Mutex, MutexGuard};

use super::chance::Chance;
use super::trace::Trace;

/// Where a crash may come: at everything the gateway does that somebody else can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Create,
    Append,
    Sync,
    Rename,
    SyncNames,
    Overwrite,
    Remove,
    IndexCommit,
    FactsCommit,
    Store,
    Ask,
}

impl Point {
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Append,
        Self::Sync,
        Self::Rename,
        Self::SyncNames,
        Self::Overwrite,
        Self::Remove,
        Self::IndexCommit,
        Self::FactsCommit,
        Self::Store,
        Self::Ask,
    ];
}

/// How what happens at a point ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Happens,
    /// The process dies, and it did not happen.
    DiesBefore,
    /// It happened, and the process dies before it hears of it.
    DiesBehind,
    IsDead,
}

/// Dies at the `countdown`-th next point, or at the `countdown`-th next `at`.
struct Fuse {
    at: Option<Point>,
    countdown: usize,
}

struct State {
    alive: bool,
    fuse: Option<Fuse>,
    /// Crashes at each point so far, in the order of [`Point::ALL`].
    crashes: [u32; Point::ALL.len()],
}

pub struct Power {
    state: Mutex<State>,
    chance: Chance,
    trace: Trace,
}

impl Power {
    pub fn new(chance: Chance, trace: Trace) -> Self {
        Self { state: Mutex::new(State { alive: true, fuse: None, crashes: [0; Point::ALL.len()] }), chance, trace }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn is_on(&self) -> bool {
        self.state().alive
    }

    pub fn arm(&self, at: Option<Point>, countdown: usize) {
        self.state().fuse = Some(Fuse { at, countdown });
    }

    pub fn disarm(&self) {
        self.state().fuse = None;
    }

    pub fn on(&self) {
        let mut state = self.state();
        state.alive = true;
        state.fuse = None;
    }

    pub fn off(&self) {
        self.state().alive = false;
    }

    pub fn crashes(&self) -> [u32; Point::ALL.len()] {
        self.state().crashes
    }

    /// What comes of `point`, which is reached now.
    pub fn fate(&self, point: Point) -> Fate {
        let mut state = self.state();
        if !state.alive {
            return Fate::IsDead;
        }
        let is_last = match &mut state.fuse {
            Some(fuse) if fuse.at.is_none_or(|at| at == point) => {
                fuse.countdown = fuse.countdown.saturating_sub(1);
                fuse.countdown == 0
            }
            _ => false,
        };
        if !is_last {
            return Fate::Happens;
        }
        state.alive = false;
        state.crashes[point as usize] += 1;
        let fate = self.chance.pick(&[Fate::DiesBefore, Fate::DiesBehind]);
        self.trace.say(|| format!("  crash {} {point:?}", if fate == Fate::DiesBefore { "before" } else { "behind" }));
        fate
    }
}
