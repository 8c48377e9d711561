//! Many callers, one flush.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Lets callers that come while a flush runs share the next one. The first of them leads: it does
/// the work for all that came before it began; the others wait for their result. A caller's job is
/// always part of a flush that began after the job was handed in.
pub struct Group<J, R> {
    state: Mutex<State<J, R>>,
    ended: Condvar,
}

struct State<J, R> {
    leading: bool,
    jobs: Vec<J>,
    /// Where the results of `jobs` will be, in their order.
    results: Arc<OnceLock<Vec<R>>>,
}

/// The leader died over its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned;

impl<J, R: Clone> Group<J, R> {
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::new(State { leading: false, jobs: Vec::new(), results: Arc::default() }), ended: Condvar::new() }
    }

    /// Hands in `job` and waits for its result. `lead` answers one result per job, in order; only
    /// one `lead` runs at a time.
    ///
    /// # Errors
    /// [`Abandoned`] where the thread that led did not come back; nothing is known of the job.
    pub fn run(&self, job: J, lead: impl FnOnce(Vec<J>) -> Vec<R>) -> Result<R, Abandoned> {
        let mut state = self.lock();
        let place = state.jobs.len();
        state.jobs.push(job);
        let results = Arc::clone(&state.results);
        while state.leading && results.get().is_none() {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_mine_to_lead = results.get().is_none() && Arc::ptr_eq(&results, &state.results);
        if is_mine_to_lead {
            state.leading = true;
            let jobs = mem::take(&mut state.jobs);
            state.results = Arc::default();
            drop(state);
            let turn = Turn(self);
            // Nobody else sets it: the cell left the state with its jobs.
            let _ = results.set(lead(jobs));
            drop(turn);
        } else {
            drop(state);
        }
        results.get().and_then(|all| all.get(place)).cloned().ok_or(Abandoned)
    }

    fn lock(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J, R: Clone> Default for Group<J, R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends a turn, also by a panic: else everybody would wait for ever.
struct Turn<'a, J, R: Clone>(&'a Group<J, R>);

impl<J, R: Clone> Drop for Turn<'_, J, R> {
    fn drop(&mut self) {
        self.0.lock().leading = false;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn everybody_gets_the_result_of_the_own_job() {
        let group = Group::new();
        let flushes = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..16u32 {
                let (group, flushes) = (&group, &flushes);
                scope.spawn(move || {
                    for n in 0..200 {
                        let job = thread * 1000 + n;
                        let result = group.run(job, |jobs| {
                            flushes.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            jobs.into_iter().map(|j| j * 2).collect()
                        });
                        assert_eq!(result, Ok(job * 2));
                    }
                });
            }
        });
        assert!(flushes.load(Ordering::SeqCst) <= 3200);
    }

    #[test]
    fn a_flush_counts_only_for_what_was_written_before_it_began() {
        let group = Group::new();
        let (written, flushed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
                        let led = group.run((), |jobs| {
                            let reached = written.load(Ordering::SeqCst);
                            std::thread::yield_now();
                            flushed.store(reached, Ordering::SeqCst);
                            vec![(); jobs.len()]
                        });
                        assert_eq!(led, Ok(()));
                        assert!(flushed.load(Ordering::SeqCst) >= mine);
                    }
                });
            }
        });
    }

    #[test]
    fn a_leader_that_dies_leaves_nobody_waiting() {
        let group: Arc<Group<u8, u8>> = Arc::default();
        let dead = Arc::clone(&group);
        std::thread::spawn(move || dead.run(1, |_| panic!("on purpose"))).join().unwrap_err();
        assert_eq!(group.run(2, |jobs| jobs), Ok(2));
    }
}
