//! One opened sled database, and its files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::{Cause, StoreError, folder};

/// Pages held in memory, as long as they are on the disk; in memory a page of small rows is several
/// times as large. The journal's working set is the end of each index: small.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;
/// sled tells the threads that wait for a flush of a write that failed only when the next write
/// comes: after so long one is made. A healthy flush takes milliseconds.
const NUDGE_AFTER: Duration = Duration::from_millis(500);
/// The row of such a write; 0 is the store's own first byte.
const NUDGE_KEY: [u8; 2] = [0, b'n'];

/// A row as sled has it: sealed, in pieces. `None`: no such row.
pub(super) type RawRow = (Vec<u8>, Option<Vec<u8>>);

pub(super) struct Engine {
    nudger: Nudger,
    pub db: ::sled::Db,
    file: File,
    /// Its lock says that the folder is ours; given back when it is closed.
    _lock: File,
    #[cfg(test)]
    pub fails: std::sync::atomic::AtomicBool,
}

impl Engine {
    /// Opens the folder, which is made where it is missing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        folder::make(dir).map_err(|e| io_error(&e))?;
        let lock = lock_folder(dir)?;
        let config = ::sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        // sled meets some damage with a panic.
        let db = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| StoreError::Corrupt("the engine gave up".to_owned()))?
            .map_err(|e| opening_error(&e))?;
        let file = File::open(dir.join("db")).map_err(|e| io_error(&e))?;
        sync_files(dir).map_err(|_| StoreError::NotDurable)?;
        let nudger = Nudger::start(db.clone()).map_err(|e| io_error(&e))?;
        Ok(Self {
            nudger,
            db,
            file,
            _lock: lock,
            #[cfg(test)]
            fails: false.into(),
        })
    }

    pub fn apply(&self, rows: Vec<RawRow>) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|e| engine_error(&e))
    }

    /// What was applied is on the disk when this returns `Ok`.
    pub fn flush(&self) -> Result<(), StoreError> {
        let flushing = self.nudger.flushing();
        self.db.flush().map_err(|_| StoreError::NotDurable)?;
        drop(flushing);
        #[cfg(test)]
        if self.fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::NotDurable);
        }
        // XFS may answer a sync with success while it shuts down over a failed write of its log; it
        // refuses a stat from then on.
        self.file.sync_data().and_then(|()| self.file.metadata()).map_err(|_| StoreError::NotDurable)?;
        Ok(())
    }

    /// sled syncs once more where it is dropped, and panics where the disk does not.
    pub fn close(self) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }
}

/// A thread that looks after flushes that do not end.
struct Nudger {
    state: Arc<(Mutex<Flushing>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Flushing {
    number: u64,
    under_way: bool,
    /// The thread is awake, and looks again by itself: nobody wakes it for each flush.
    watched: bool,
    stopping: bool,
}

impl Nudger {
    fn start(db: ::sled::Db) -> io::Result<Self> {
        let state: Arc<(Mutex<Flushing>, Condvar)> = Arc::default();
        let watched = Arc::clone(&state);
        let thread = thread::Builder::new().name("store-watch".to_owned()).spawn(move || watch(&watched, &db))?;
        Ok(Self { state, thread: Some(thread) })
    }

    fn flushing(&self) -> UnderWay<'_> {
        let mut state = lock(&self.state.0);
        state.number += 1;
        state.under_way = true;
        let is_watched = state.watched;
        drop(state);
        if !is_watched {
            self.state.1.notify_all();
        }
        UnderWay(self)
    }
}

struct UnderWay<'n>(&'n Nudger);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.0.state.0).under_way = false;
    }
}

impl Drop for Nudger {
    fn drop(&mut self) {
        lock(&self.state.0).stopping = true;
        self.state.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

fn watch((state, changed): &(Mutex<Flushing>, Condvar), db: &::sled::Db) {
    let mut flushing = lock(state);
    loop {
        flushing.watched = false;
        flushing = changed.wait_while(flushing, |f| !f.under_way && !f.stopping).unwrap_or_else(PoisonError::into_inner);
        flushing.watched = true;
        let number = flushing.number;
        let waited = changed.wait_timeout_while(flushing, NUDGE_AFTER, |f| !f.stopping);
        flushing = waited.unwrap_or_else(PoisonError::into_inner).0;
        if flushing.stopping {
            return;
        }
        if flushing.under_way && flushing.number == number {
            drop(flushing);
            // Where it fails it has done its work: whoever waits is told.
            let _ = catch_unwind(AssertUnwindSafe(|| db.insert(NUDGE_KEY, &[])));
            flushing = lock(state);
        }
    }
}

fn lock(state: &Mutex<Flushing>) -> MutexGuard<'_, Flushing> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the folder. sled's own lock alone would not do: threads of it outlive its handle for a
/// moment, and an opening right behind a drop would find it locked. So ours decides, and sled's is
/// waited for.
fn lock_folder(dir: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"));
    let lock = lock.map_err(|e| io_error(&e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
        Err(TryLockError::Error(e)) => return Err(io_error(&e)),
    }
    match File::open(dir.join("db")) {
        Ok(db) => db.lock().and_then(|()| db.unlock()).map_err(|e| io_error(&e))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error(&e)),
    }
    Ok(lock)
}

/// Makes the files that sled has at opening durable, and their names.
fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        File::open(entry?.path())?.sync_all()?;
    }
    folder::sync(dir)
}

/// What the system refused is told as such; everything else is damage.
fn opening_error(error: &::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(e) if e.raw_os_error().is_some() => io_error(e),
        other => StoreError::Corrupt(words(other)),
    }
}

pub(super) fn engine_error(error: &::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(e) => io_error(e),
        other => StoreError::Corrupt(words(other)),
    }
}

/// sled's texts may name a path of this machine: only the kind is kept.
fn words(error: &::sled::Error) -> String {
    match error {
        ::sled::Error::Corruption { .. } => "checksums do not match".to_owned(),
        ::sled::Error::Io(e) => Cause::from(e).to_string(),
        ::sled::Error::CollectionNotFound(_) | ::sled::Error::Unsupported(_) | ::sled::Error::ReportableBug(_) => {
            "its files contradict each other".to_owned()
        }
    }
}

pub(super) fn io_error(error: &io::Error) -> StoreError {
    StoreError::Io(error.into())
}
