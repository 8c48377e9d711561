//! The way of one item to one archive.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::record::{ItemRecord, Schedule, progress};
use super::stage::Stage;

/// As what an item goes to an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As an object of its own class.
    #[default]
    Own,
    /// As a Secondary Capture, another instance, because the archive does not take that class; of a film
    /// its stills.
    StandIn,
}

impl Form {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for this shape
    fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// What there is to do with an item for one archive: its own schedule, failures and commitment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The name that the configuration gave the archive when this was decided. Empty only in the
    /// leg that stands for an item without legs.
    pub archive: String,
    pub stage: Stage,
    /// Where `Held` resumes.
    pub resume: Stage,
    pub schedule: Schedule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Written down before anything is sent in it.
    #[serde(default, skip_serializing_if = "Form::is_own")]
    pub form: Form,
    /// While something stands in for the object: why the archive does not take that as what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Of a film: attempts by which the archive may have it in HEVC. `None`: nobody knows, because an older
    /// gateway made some, or the index was lost after it may have left so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_hevc: Option<u32>,
}

impl Leg {
    /// Where it stands, or stood before it was held or discarded.
    #[must_use]
    pub fn progress(&self) -> Stage {
        progress(self.stage, self.resume)
    }

    /// True where an attempt is to be made, now or at its time.
    #[must_use]
    pub fn is_to_be_sent(&self) -> bool {
        matches!(self.stage, Stage::Identified | Stage::Wrapped) && self.schedule.due.is_some()
    }

    /// True where its time has come.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.schedule.due.is_some_and(|due| due <= now)
    }

    /// Attempts of which the archive may have something.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.schedule.attempts.saturating_sub(self.schedule.unsent)
    }

    /// True where the archive may have the object, or had it: the attempt that is being made counts.
    #[must_use]
    pub fn may_be_there(&self) -> bool {
        matches!(self.progress(), Stage::Forwarded | Stage::Committed) || self.sent() > 0
    }

    /// True where what may be there may be a film in HEVC.
    #[must_use]
    pub fn may_be_there_in_hevc(&self) -> bool {
        self.in_hevc.map_or_else(|| self.may_be_there(), |attempts| attempts > 0)
    }

    /// As the transition table says; out of `Held` only what was at the archive before is there again.
    pub(super) fn may_become(&self, stage: Stage) -> bool {
        let was_there = self.resume == Stage::Forwarded;
        let is_false = self.stage == Stage::Held && stage == Stage::Forwarded && !was_there;
        self.stage.may_become(stage) && !is_false
    }

    /// True where it changed. The caller has asked whether it may.
    pub(super) fn become_stage(&mut self, stage: Stage) -> bool {
        if stage == Stage::Held && self.stage != Stage::Held {
            self.resume = self.stage;
        }
        let is_new = self.stage != stage;
        self.stage = stage;
        is_new
    }
}

impl ItemRecord {
    /// The item's own state, as of a leg without archive.
    pub(super) fn as_leg(&self) -> Leg {
        let Self { stage, resume, schedule, failure, .. } = self;
        Leg {
            archive: String::new(),
            stage: *stage,
            resume: *resume,
            schedule: *schedule,
            failure: failure.clone(),
            form: Form::Own,
            refused: None,
            in_hevc: None,
        }
    }

    /// True where it holds of any leg, or of the item while it has none.
    pub fn any_leg(&self, holds: impl Fn(&Leg) -> bool) -> bool {
        if self.legs.is_empty() { holds(&self.as_leg()) } else { self.legs.iter().any(holds) }
    }

    pub(super) fn change_legs(&mut self, mut change: impl FnMut(&mut Leg)) {
        if self.legs.is_empty() {
            let mut own = self.as_leg();
            change(&mut own);
            let Leg { stage, resume, schedule, failure, .. } = own;
            (self.stage, self.resume, self.schedule, self.failure) = (stage, resume, schedule, failure);
        } else {
            self.legs.iter_mut().for_each(change);
            self.summarize();
        }
    }

    /// What the legs say together.
    pub(super) fn summarize(&mut self) {
        let open = || self.legs.iter().filter(|leg| leg.stage != Stage::Discarded);
        let held = self.legs.iter().find(|leg| leg.stage == Stage::Held);
        let stage = if held.is_some() { Stage::Held } else { open().map(|l| l.stage).min().unwrap_or(Stage::Discarded) };
        let of_open = open().map(Leg::progress).min();
        let resume = of_open.or_else(|| self.legs.iter().map(Leg::progress).min()).unwrap_or(Stage::Accepted);
        let failing = held.or_else(|| open().find(|leg| leg.failure.is_some()));
        let failure = failing.or_else(|| self.legs.iter().find(|leg| leg.failure.is_some())).and_then(|l| l.failure.clone());
        let sum = |of: fn(&Schedule) -> u32| self.legs.iter().fold(0_u32, |sum, leg| sum.saturating_add(of(&leg.schedule)));
        let schedule = Schedule {
            due: self.legs.iter().filter_map(|leg| leg.schedule.due).min(),
            attempts: sum(|s| s.attempts),
            unsent: sum(|s| s.unsent),
            ..Schedule::default()
        };
        (self.stage, self.resume, self.schedule, self.failure) = (stage, resume, schedule, failure);
    }
}
