//! Read, change, flush: many writers, one order, shared flushes.
//!
//! A writer computes its changes alone, on what all before it have written, flushed or not; then
//! it waits for the flush that holds them. While one flush runs, the changes of all who come pile
//! up for the next. So messages about one patient have one order on any number of connections,
//! and a busy feed needs few flushes.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::Unavailable;
use super::unavailable;
use crate::store::{Batch, Store, StoreError};

/// Rows read at once when a prefix is walked.
const PAGE_ROWS: usize = 256;
/// Most rows of one prefix: the orders of one person. Beyond, something is wrong with the feed, and
/// nobody is served by a longer list.
const PREFIX_MAX_ROWS: usize = 20_000;

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// One flush, run or to be run.
#[derive(Default)]
struct Flush {
    result: OnceLock<Result<(), StoreError>>,
    /// Its own waiters: those of the next flush sleep on.
    ended: Condvar,
}

pub(super) struct Ledger {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Written and not flushed yet, with the number of the flush it belongs to.
    pending: BTreeMap<Vec<u8>, (Option<Vec<u8>>, u64)>,
    /// For the next flush.
    next: Changes,
    next_number: u64,
    next_flush: Arc<Flush>,
    running: Option<Arc<Flush>>,
}

impl Ledger {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, state: Mutex::default() }
    }

    /// Runs `f` and returns when what it wrote is on the disk; also where it wrote nothing
    /// because somebody else just had.
    pub fn write<R>(&self, f: impl FnOnce(&mut Transaction<'_>) -> Result<R, Unavailable>) -> Result<R, Unavailable> {
        let mut state = self.lock();
        // The store may show rows whose flush failed: who finds his own there and changes nothing
        // would be told that it is on the disk.
        if !self.store.is_sound() {
            return Err(unavailable(&StoreError::NotDurable));
        }
        let mut txn = Transaction { store: &*self.store, pending: &state.pending, changes: Changes::new() };
        let result = f(&mut txn)?;
        let changes = txn.changes;
        if changes.is_empty() && state.next.is_empty() && state.running.is_none() {
            return Ok(result);
        }
        let flush = match &state.running {
            Some(running) if changes.is_empty() && state.next.is_empty() => Arc::clone(running),
            _ => Arc::clone(&state.next_flush),
        };
        let number = state.next_number;
        for (key, value) in changes {
            state.pending.insert(key.clone(), (value.clone(), number));
            state.next.insert(key, value);
        }
        loop {
            if let Some(outcome) = flush.result.get() {
                return outcome.as_ref().map(|()| result).map_err(unavailable);
            }
            state = if state.running.is_none() {
                self.flush(state)
            } else {
                flush.ended.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// See [`Store::health`].
    pub fn health(&self) -> Result<(), StoreError> {
        self.store.health()
    }

    /// Runs `f` on all that was written. What is not flushed yet is seen too: it differs from
    /// what will be flushed in a moment only where the disk fails.
    pub fn read<R>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<R, Unavailable>) -> Result<R, Unavailable> {
        let state = self.lock();
        f(&Transaction { store: &*self.store, pending: &state.pending, changes: Changes::new() })
    }

    fn flush<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let changes = std::mem::take(&mut state.next);
        let flush = std::mem::take(&mut state.next_flush);
        let number = state.next_number;
        state.next_number += 1;
        state.running = Some(Arc::clone(&flush));
        drop(state);

        let keys: Vec<Vec<u8>> = changes.keys().cloned().collect();
        let mut batch = Batch::new();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let result = self.store.commit(batch);

        let mut state = self.lock();
        state.running = None;
        if result.is_ok() {
            for key in keys {
                if state.pending.get(&key).is_some_and(|(_, of)| *of == number) {
                    state.pending.remove(&key);
                }
            }
        } else {
            // What came meanwhile was computed on what is lost now.
            state.pending.clear();
            state.next.clear();
            let lost = std::mem::take(&mut state.next_flush);
            let _ = lost.result.set(result.clone());
            lost.ended.notify_all();
        }
        let _ = flush.result.set(result);
        flush.ended.notify_all();
        // One of those behind leads the next.
        state.next_flush.ended.notify_one();
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one writer sees and changes.
pub(super) struct Transaction<'a> {
    store: &'a dyn Store,
    pending: &'a BTreeMap<Vec<u8>, (Option<Vec<u8>>, u64)>,
    changes: Changes,
}

impl Transaction<'_> {
    pub fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Unavailable> {
        let written = self.changes.get(key).or_else(|| self.pending.get(key).map(|(value, _)| value));
        match written {
            Some(value) => value.as_deref().map(decode).transpose(),
            None => self.store.get(key).map_err(|e| unavailable(&e))?.as_deref().map(decode).transpose(),
        }
    }

    pub fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), Unavailable> {
        let bytes = serde_json::to_vec(value).map_err(|_| unreadable())?;
        self.changes.insert(key, Some(bytes));
        Ok(())
    }

    pub fn remove(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// The rows whose key begins with `prefix`.
    pub fn rows<T: DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, T)>, Unavailable> {
        let until = end_of(prefix);
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut next = prefix.to_vec();
        while rows.len() < PREFIX_MAX_ROWS {
            let page = self.store.scan(&next, &until, PAGE_ROWS).map_err(|e| unavailable(&e))?;
            let Some(last) = page.last() else { break };
            next.clone_from(&last.key);
            next.push(0);
            let is_last = page.len() < PAGE_ROWS;
            rows.extend(page.into_iter().map(|row| (row.key, row.value)));
            if is_last {
                break;
            }
        }
        let range = prefix.to_vec()..until;
        let pending = self.pending.range(range.clone()).map(|(key, (value, _))| (key, value));
        for (key, value) in pending.chain(self.changes.range(range)) {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        rows.into_iter().map(|(key, value)| Ok((key, decode(&value)?))).collect()
    }
}

/// The first key behind all that begin with `prefix`; prefixes here are letters.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX]
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unavailable> {
    serde_json::from_slice(bytes).map_err(|_| unreadable())
}

fn unreadable() -> Unavailable {
    Unavailable("a row of the hospital's facts cannot be understood; move the facts aside and let the hospital resend".into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::store::Row;
    use crate::store::memory::MemoryStore;

    /// A store whose commits wait, and fail, as told.
    #[derive(Default)]
    struct Slow {
        rows: MemoryStore,
        commits: AtomicUsize,
        fails: AtomicBool,
        unsound: AtomicBool,
        gate: Mutex<()>,
    }

    impl Store for Slow {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.rows.get(key)
        }
        fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
            self.rows.scan(from, until, limit)
        }
        fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError> {
            self.rows.last(from, until)
        }
        fn commit(&self, batch: Batch) -> Result<(), StoreError> {
            let _gate = self.gate.lock().unwrap();
            self.commits.fetch_add(1, Ordering::SeqCst);
            if self.fails.load(Ordering::SeqCst) { Err(StoreError::NotDurable) } else { self.rows.commit(batch) }
        }
        fn is_sound(&self) -> bool {
            !self.unsound.load(Ordering::SeqCst)
        }
    }

    fn count(ledger: &Ledger) -> Result<u64, Unavailable> {
        ledger.write(|txn| {
            let n: u64 = txn.get(b"n")?.unwrap_or(0) + 1;
            txn.put(b"n".to_vec(), &n)?;
            Ok(n)
        })
    }

    #[test]
    fn writers_share_flushes_and_lose_no_step() {
        let store = Arc::new(Slow::default());
        let ledger = Arc::new(Ledger::new(store.clone()));
        let gate = store.gate.lock().unwrap();
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let ledger = ledger.clone();
                std::thread::spawn(move || count(&ledger).unwrap())
            })
            .collect();
        while ledger.lock().pending.is_empty() || ledger.read(|t| t.get::<u64>(b"n")) != Ok(Some(16)) {
            std::thread::yield_now();
        }
        drop(gate);
        let mut got: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (1..=16).collect::<Vec<_>>());
        assert_eq!(store.commits.load(Ordering::SeqCst), 2, "one for the first, one for all behind it");
        assert!(ledger.lock().pending.is_empty());
        assert_eq!(store.rows.get(b"n").unwrap().unwrap(), b"16");
    }

    #[test]
    fn a_writer_that_changes_nothing_waits_for_the_flush_it_relies_on() {
        let store = Arc::new(Slow::default());
        let ledger = Arc::new(Ledger::new(store.clone()));
        let gate = store.gate.lock().unwrap();
        let writer = std::thread::spawn({
            let ledger = ledger.clone();
            move || count(&ledger).unwrap()
        });
        while ledger.lock().running.is_none() {
            std::thread::yield_now();
        }
        let reader = std::thread::spawn({
            let ledger = ledger.clone();
            move || ledger.write(|txn| txn.get::<u64>(b"n")).unwrap()
        });
        assert!(!reader.is_finished());
        drop(gate);
        assert_eq!(reader.join().unwrap(), Some(1));
        assert_eq!(store.commits.load(Ordering::SeqCst), 1);
        writer.join().unwrap();
    }

    #[test]
    fn a_failed_flush_is_told_to_all_who_built_on_it() {
        let store = Arc::new(Slow::default());
        let ledger = Arc::new(Ledger::new(store.clone()));
        store.fails.store(true, Ordering::SeqCst);
        let gate = store.gate.lock().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let ledger = ledger.clone();
                std::thread::spawn(move || count(&ledger))
            })
            .collect();
        while ledger.read(|t| t.get::<u64>(b"n")) != Ok(Some(4)) {
            std::thread::yield_now();
        }
        drop(gate);
        assert!(threads.into_iter().all(|t| t.join().unwrap().is_err()));
        store.fails.store(false, Ordering::SeqCst);
        assert_eq!(count(&ledger), Ok(1), "nothing of what failed is left");
    }

    #[test]
    fn who_finds_the_own_message_in_a_store_that_is_not_sound_is_told_nothing() {
        let store = Arc::new(Slow::default());
        let ledger = Ledger::new(store.clone());
        assert_eq!(count(&ledger), Ok(1));
        store.unsound.store(true, Ordering::SeqCst);
        assert!(ledger.write(|txn| txn.get::<u64>(b"n")).is_err());
        assert_eq!(ledger.read(|txn| txn.get::<u64>(b"n")), Ok(Some(1)), "reading goes on");
        store.unsound.store(false, Ordering::SeqCst);
        assert_eq!(ledger.write(|txn| txn.get::<u64>(b"n")), Ok(Some(1)));
    }

    #[test]
    fn a_prefix_shows_rows_flushed_and_not() {
        let store = Arc::new(MemoryStore::new());
        let mut batch = Batch::new();
        for n in 0..600_u32 {
            batch.put([b"V".to_vec(), n.to_be_bytes().to_vec()].concat(), b"1".to_vec());
        }
        store.commit(batch).unwrap();
        let ledger = Ledger::new(store);
        let rows = ledger.write(|txn| {
            txn.remove([b"V".to_vec(), 7_u32.to_be_bytes().to_vec()].concat());
            txn.put(b"Vz".to_vec(), &2)?;
            txn.put(b"W".to_vec(), &3)?;
            txn.rows::<u32>(b"V")
        });
        assert_eq!(rows.unwrap().len(), 600);
    }
}
