//! Whether the gateway can accept. A dead archive does not make it unready: captures wait here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// What must hold before a capture can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Every door is open, and the gateway is not stopping.
    Doors,
    /// The journal and the hospital's facts take writes.
    Store,
    /// The spool takes writes and has space.
    Spool,
}

impl Condition {
    pub const ALL: [Self; 3] = [Self::Doors, Self::Store, Self::Spool];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Doors => "doors",
            Self::Store => "store",
            Self::Spool => "spool",
        }
    }
}

/// Shared between those who know and the ops door. At first nothing holds.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<Condition, Result<(), String>>>);

impl Readiness {
    pub fn holds(&self, condition: Condition) {
        self.put(condition, Ok(()));
    }

    /// `why` for an operator, without patient data.
    pub fn fails(&self, condition: Condition, why: impl Into<String>) {
        self.put(condition, Err(why.into()));
    }

    fn put(&self, condition: Condition, state: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(condition, state);
    }

    /// True where all hold, with one line for each.
    #[must_use]
    pub fn report(&self) -> (bool, String) {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = true;
        let mut text = String::new();
        for condition in Condition::ALL {
            let line = match states.get(&condition) {
                Some(Ok(())) => "ok",
                Some(Err(why)) => why.as_str(),
                None => "not yet",
            };
            ready &= matches!(states.get(&condition), Some(Ok(())));
            let _ = writeln!(text, "{}: {line}", condition.word());
        }
        (ready, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_everything_holds() {
        let readiness = Readiness::default();
        assert!(!readiness.report().0, "not before it is known");
        for condition in Condition::ALL {
            readiness.holds(condition);
        }
        assert!(readiness.report().0);
        readiness.fails(Condition::Spool, "2% free, 5% wanted");
        assert_eq!(readiness.report(), (false, "doors: ok\nstore: ok\nspool: 2% free, 5% wanted\n".to_owned()));
    }
}
