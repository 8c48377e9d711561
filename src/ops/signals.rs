//! The wish to stop: a signal from outside, or a word from inside.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Set once, never taken back. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Set by SIGTERM and SIGINT. SIGHUP is left as it is: under nohup it must not end a server.
    ///
    /// # Errors
    /// Where the system does not take the handlers.
    pub fn on_terminate() -> io::Result<Self> {
        Self::on(&[SIGTERM, SIGINT])
    }

    /// As [`Stop::on_terminate`], and also when the terminal goes away.
    ///
    /// # Errors
    /// Where the system does not take the handlers.
    pub fn on_terminate_or_hang_up() -> io::Result<Self> {
        Self::on(&[SIGTERM, SIGINT, SIGHUP])
    }

    fn on(signals: &[i32]) -> io::Result<Self> {
        let stop = Self::default();
        let mut signals = Signals::new(signals)?;
        let theirs = stop.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                theirs.set();
            }
        })?;
        Ok(stop)
    }

    pub fn set(&self) {
        let (flag, changed) = &*self.0;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wait(&self) {
        while !self.wait_for(Duration::from_secs(3600)) {}
    }

    /// Waits until it is set, at most so long. True where it is set.
    #[must_use]
    pub fn wait_for(&self, longest: Duration) -> bool {
        let (flag, changed) = &*self.0;
        let held = flag.lock().unwrap_or_else(PoisonError::into_inner);
        *changed.wait_timeout_while(held, longest, |set| !*set).unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_hears_of_it_at_once() {
        let stop = Stop::default();
        assert!(!stop.wait_for(Duration::ZERO));
        let theirs = stop.clone();
        let waiting = std::thread::spawn(move || theirs.wait());
        stop.set();
        waiting.join().unwrap();
        assert!(stop.is_set() && stop.wait_for(Duration::ZERO));
    }
}
