//! A store whose disk did not confirm a write is written anew.
//!
//! The kernel tells once that it could not write, and may forget the pages: a second sync that
//! succeeds proves nothing. So every row is written into a new folder, by new writes, and the
//! folder is synced; only then it takes the place of the old one. The rows come from what sled
//! shows, which is everything that was ever confirmed, and from the batch that was not: nobody was
//! told of that one, but half of it would be worse than all of it.
//!
//! Two renames, `X` to `X.failed` and `X.fresh` to `X`; a crash between them leaves no `X`, and
//! opening finishes what was begun. The format row is written last: a folder without it is none.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::super::{StoreError, folder};
use super::SledStore;
use super::engine::{Engine, RawRow, engine_error, io_error};

/// Rows in one batch: bounds memory.
const BATCH_ROWS: usize = 1_000;
/// Damaged stores that are kept: who has so many should look at the disk first.
const ASIDE_MAX: u32 = 100;
/// The store's own rows, the format among them.
const OWN_PREFIX: u8 = 0;

fn beside(dir: &Path, word: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(word);
    dir.with_file_name(name)
}

/// Where a crash came between the two renames.
pub(super) fn finish(dir: &Path) -> Result<(), StoreError> {
    let fresh = beside(dir, ".fresh");
    if dir.exists() || !fresh.exists() {
        return Ok(());
    }
    fs::rename(&fresh, dir).and_then(|()| folder::sync(folder::above(dir))).map_err(|e| io_error(&e))
}

/// What a crash left beside a store that is open, and so ours.
pub(super) fn tidy(dir: &Path) -> Result<(), StoreError> {
    remove(&beside(dir, ".fresh"))?;
    remove(&beside(dir, ".failed"))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error(&e)),
        _ => Ok(()),
    }
}

impl SledStore {
    /// Writes everything anew, and takes commits again.
    ///
    /// # Errors
    /// What the disk still refuses; the store stays as it is, readable, and takes nothing.
    pub(super) fn mend(&self) -> Result<(), StoreError> {
        let Ok(_one) = self.mending.try_lock() else { return Err(StoreError::NotDurable) };
        if self.durable.load(Ordering::SeqCst) {
            return Ok(());
        }
        probe(&self.dir).map_err(|e| io_error(&e))?;
        let (fresh, failed) = (beside(&self.dir, ".fresh"), beside(&self.dir, ".failed"));
        remove(&fresh)?;
        let engine = Engine::open(&fresh)?;
        let written = self.copy_into(&engine);
        engine.close();
        written?;
        remove(&failed)?;
        self.exchange(&fresh, &failed)?;
        // What cannot be removed now goes when the store is opened again.
        let _ = remove(&failed);
        Ok(())
    }

    /// Puts a damaged store aside as `X.damaged-1` and so on, and begins an empty one.
    pub(super) fn begin_anew(&self) -> Result<(), StoreError> {
        let Ok(_one) = self.mending.try_lock() else { return Err(StoreError::NotDurable) };
        let aside = (1..=ASIDE_MAX).map(|n| beside(&self.dir, &format!(".damaged-{n}"))).find(|path| !path.exists());
        let aside = aside.ok_or(StoreError::Unexpected)?;
        let fresh = beside(&self.dir, ".fresh");
        remove(&fresh)?;
        Self::open_with(&fresh, self.key.clone())?.close();
        self.exchange(&fresh, &aside)
    }

    /// `fresh`, whole and durable, takes the place of what there is, which goes to `aside`.
    fn exchange(&self, fresh: &Path, aside: &Path) -> Result<(), StoreError> {
        let mut place = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let renamed = fs::rename(&self.dir, aside).and_then(|()| fs::rename(fresh, &self.dir));
        renamed.and_then(|()| folder::sync(folder::above(&self.dir))).map_err(|e| io_error(&e))?;
        let engine = Engine::open(&self.dir)?;
        let old = std::mem::replace(&mut *place, engine);
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.durable.store(true, Ordering::SeqCst);
        drop(place);
        old.close();
        Ok(())
    }

    fn close(self) {
        self.engine.into_inner().unwrap_or_else(PoisonError::into_inner).close();
    }

    fn copy_into(&self, to: &Engine) -> Result<(), StoreError> {
        let from = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<RawRow> = Vec::with_capacity(BATCH_ROWS);
        for row in from.db.range([OWN_PREFIX + 1]..) {
            let (key, value) = row.map_err(|e| engine_error(&e))?;
            rows.push((key.to_vec(), Some(value.to_vec())));
            if rows.len() == BATCH_ROWS {
                to.apply(std::mem::take(&mut rows))?;
            }
        }
        to.apply(rows)?;
        to.apply(self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).clone())?;
        to.flush()?;
        let own = from.db.range([OWN_PREFIX]..[OWN_PREFIX + 1]);
        let own = own.map(|row| row.map(|(key, value)| (key.to_vec(), Some(value.to_vec()))).map_err(|e| engine_error(&e)));
        to.apply(own.collect::<Result<_, _>>()?)?;
        to.flush()
    }
}

/// A file of its own, written and synced beside the store.
fn probe(dir: &Path) -> io::Result<()> {
    /// A block of most file systems.
    const PROBE: [u8; 4096] = [0x5A; 4096];
    let path = beside(dir, ".probe");
    let written = fs::File::create(&path).and_then(|mut file| {
        file.write_all(&PROBE)?;
        file.sync_all()?;
        folder::sync(folder::above(dir))
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}
