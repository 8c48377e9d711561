//! Captures that are promised but not yet in the journal.
//!
//! The sealed file alone is the promise; the journal's row follows a moment later, in one batch
//! with others. Until then the row stands here. A crash in between loses nothing: at start every
//! head in the spool that the journal does not know is inserted again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::capture::record::Digest;
use crate::capture::{CaptureId, Record};

#[derive(Default)]
pub struct Pending {
    state: Mutex<State>,
    /// A key was released.
    released: Condvar,
    /// Told when a record comes in; set once by the wiring.
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<CaptureId, Record>,
    keys: HashMap<Digest, CaptureId>,
    /// Idempotency keys of requests that are being finished.
    reserved: HashSet<Digest>,
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn on_arrival(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    pub fn add(&self, record: Record) {
        {
            let mut state = self.state();
            if let Some(mark) = record.acceptance.idempotency {
                state.keys.insert(mark.key, record.id());
            }
            state.records.insert(record.id(), record);
        }
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// The oldest records, at most `limit`; they stay until [`Pending::remove`].
    #[must_use]
    pub fn oldest(&self, limit: usize) -> Vec<Record> {
        self.state().records.values().take(limit).cloned().collect()
    }

    /// To be called after the journal has them.
    pub fn remove(&self, ids: &[CaptureId]) {
        let mut state = self.state();
        for id in ids {
            if let Some(mark) = state.records.remove(id).and_then(|r| r.acceptance.idempotency) {
                state.keys.remove(&mark.key);
            }
        }
    }

    #[must_use]
    pub fn get(&self, id: CaptureId) -> Option<Record> {
        self.state().records.get(&id).cloned()
    }

    #[must_use]
    pub fn by_key(&self, key: &Digest) -> Option<Record> {
        let state = self.state();
        state.keys.get(key).and_then(|id| state.records.get(id)).cloned()
    }

    #[must_use]
    pub fn all(&self) -> Vec<Record> {
        self.state().records.values().cloned().collect()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.state().records.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until no other request with this key is being finished, then takes its place.
    /// The wait ends: whoever holds a ticket is at most one flush away from giving it back.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, key: Digest) -> Ticket {
        let mut state = self.state();
        while state.reserved.contains(&key) {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.reserved.insert(key);
        Ticket { pending: self.clone(), key }
    }
}

/// The right to finish a request with one key; dropping it lets the next one in.
pub struct Ticket {
    pending: Arc<Pending>,
    key: Digest,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.state().reserved.remove(&self.key);
        self.pending.released.notify_all();
    }
}
