//! Whether the gateway can accept. A dead archive does not make it unready: captures wait here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Between two looks: what a broken disk lets go of is taken up again so soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A disk that has not answered for so long does not count as one that takes writes. A flush of a
/// busy disk may take seconds.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What must hold before a capture can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Every door is open, and the gateway is not stopping.
    Doors,
    /// The spool takes writes and has space.
    Spool,
    /// The journal takes writes.
    Index,
    /// The hospital's facts take writes.
    Facts,
    /// The audit trail takes lines.
    Audit,
}

impl Condition {
    pub const ALL: [Self; 5] = [Self::Doors, Self::Spool, Self::Index, Self::Facts, Self::Audit];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Doors => "doors",
            Self::Spool => "spool",
            Self::Index => "index",
            Self::Facts => "facts",
            Self::Audit => "audit",
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

/// Tells whether one condition holds, and mends what can be mended; the text is for an operator.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Looks after the disks: once a second, and whenever somebody asks whether the gateway is ready.
pub struct Watch {
    readiness: Arc<Readiness>,
    checks: Vec<(Condition, Check)>,
    looking: Mutex<()>,
    /// The condition that is being looked at, and since when.
    at: Mutex<Option<(Condition, Instant)>>,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

impl Watch {
    #[must_use]
    pub fn new(readiness: Arc<Readiness>, checks: Vec<(Condition, Check)>) -> Self {
        let (looking, at, stopping, stopped) = (Mutex::default(), Mutex::default(), Mutex::default(), Condvar::new());
        Self { readiness, checks, looking, at, stopping, stopped }
    }

    /// Looks at everything once. Where somebody else does and a disk does not answer, says so.
    pub fn look(&self) {
        let _looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(TryLockError::Poisoned(looking)) => looking.into_inner(),
            Err(TryLockError::WouldBlock) => return self.tell_if_stuck(),
        };
        for (condition, check) in &self.checks {
            self.set_at(Some((*condition, Instant::now())));
            match check() {
                Ok(()) => self.readiness.holds(*condition),
                Err(why) => self.readiness.fails(*condition, why),
            }
        }
        self.set_at(None);
    }

    fn set_at(&self, at: Option<(Condition, Instant)>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn tell_if_stuck(&self) {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((condition, since)) = at.filter(|(_, since)| since.elapsed() > STUCK_AFTER) {
            self.readiness.fails(condition, format!("the disk has not answered for {} s", since.elapsed().as_secs()));
        }
    }

    /// The watch's thread: until [`Watch::stop`].
    pub fn run(&self) {
        loop {
            self.look();
            if self.wait_stopped(LOOK_EVERY) {
                return;
            }
        }
    }

    /// Waits so long; true, at once, where the watch ends.
    #[must_use]
    pub fn wait_stopped(&self, limit: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stopped.wait_timeout_while(stopping, limit, |stopping| !*stopping);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stop(&self) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopped.notify_all();
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
        let report = "doors: ok\nspool: 2% free, 5% wanted\nindex: ok\nfacts: ok\naudit: ok\n".to_owned();
        assert_eq!(readiness.report(), (false, report));
    }

    #[test]
    fn a_disk_that_recovers_makes_ready_again_and_one_that_hangs_does_not_hang_the_question() {
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::sync::mpsc;
        let readiness = Arc::new(Readiness::default());
        let broken = Arc::new(AtomicBool::new(true));
        let seen = broken.clone();
        let check: Check =
            Box::new(move || if seen.load(Ordering::SeqCst) { Err("the disk is gone".to_owned()) } else { Ok(()) });
        let watch = Watch::new(readiness.clone(), vec![(Condition::Audit, check)]);
        watch.look();
        assert!(readiness.report().1.contains("audit: the disk is gone\n"));
        broken.store(false, Ordering::SeqCst);
        watch.look();
        assert!(readiness.report().1.contains("audit: ok\n"));

        let (entered, is_in) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let may_leave = Mutex::new(may_leave);
        let hangs: Check = Box::new(move || {
            entered.send(()).unwrap();
            may_leave.lock().unwrap().recv().map_err(|e| e.to_string())
        });
        let watch = Arc::new(Watch::new(readiness.clone(), vec![(Condition::Index, hangs)]));
        let hanging = watch.clone();
        let thread = std::thread::spawn(move || hanging.look());
        is_in.recv().unwrap();
        watch.look();
        watch.set_at(Instant::now().checked_sub(STUCK_AFTER * 2).map(|since| (Condition::Index, since)));
        watch.look();
        assert!(readiness.report().1.contains("index: the disk has not answered for 20 s\n"), "{}", readiness.report().1);
        leave.send(()).unwrap();
        thread.join().unwrap();
        assert!(readiness.report().1.contains("index: ok\n"));
    }
}
