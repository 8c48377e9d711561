//! A store that can die in a commit, before it or behind it, and that takes nothing more once a
//! commit was not confirmed, as the real one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shutterbridge::store::memory::MemoryStore;
use shutterbridge::store::{Batch, Row, Store, StoreError};

use super::chance::Chance;
use super::power::{Fate, Point, Power};
use super::trace::Trace;

/// What is on the disk: every commit is durable when it returns.
#[derive(Clone)]
pub struct Shelf {
    rows: Arc<MemoryStore>,
    /// One commit in so many is not confirmed; 0: none.
    fault_rate: Arc<AtomicUsize>,
}

impl Shelf {
    pub fn new() -> Self {
        Self { rows: Arc::default(), fault_rate: Arc::default() }
    }

    pub fn set_faults(&self, rate: usize) {
        self.fault_rate.store(rate, Ordering::SeqCst);
    }
}

/// The store of one process.
pub struct SimStore {
    shelf: Shelf,
    point: Point,
    power: Arc<Power>,
    chance: Chance,
    trace: Trace,
    is_broken: AtomicBool,
}

impl SimStore {
    pub fn open(shelf: &Shelf, point: Point, power: Arc<Power>, chance: Chance, trace: Trace) -> Self {
        Self { shelf: shelf.clone(), point, power, chance, trace, is_broken: AtomicBool::new(false) }
    }

    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    fn refuse_if_broken(&self) -> Result<(), StoreError> {
        if self.is_broken() || !self.power.is_on() { Err(StoreError::NotDurable) } else { Ok(()) }
    }
}

impl Store for SimStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shelf.rows.get(key)
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.shelf.rows.scan(from, until, limit)
    }

    fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError> {
        self.shelf.rows.last(from, until)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.refuse_if_broken()?;
        match self.power.fate(self.point) {
            Fate::Happens if self.chance.one_in(self.shelf.fault_rate.load(Ordering::SeqCst)) => {
                self.is_broken.store(true, Ordering::SeqCst);
                let is_there = self.chance.one_in(2);
                self.trace.say(|| format!("  EIO: {:?}, which is {}", self.point, if is_there { "there" } else { "lost" }));
                if is_there {
                    self.shelf.rows.commit(batch)?;
                }
                Err(StoreError::NotDurable)
            }
            Fate::Happens => self.shelf.rows.commit(batch),
            Fate::DiesBehind => self.shelf.rows.commit(batch).and(Err(StoreError::NotDurable)),
            Fate::DiesBefore | Fate::IsDead => Err(StoreError::NotDurable),
        }
    }
}
