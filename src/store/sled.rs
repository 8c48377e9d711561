//! sled 0.34 as engine, with the durability it does not have by itself.
//!
//! Four things are ours:
//!
//! - sled's `flush` ends in `sync_file_range`, which flushes neither the length of a file nor the
//!   cache of a disk. After each flush we sync the database file through a handle of our own; its
//!   names (`db`, `conf`, `blobs/`, `snap.…`) change at opening only, and are synced there.
//! - A page over 128 KiB goes into a file of its own in `blobs/`, which sled never syncs. A page
//!   has up to 19 rows, so no stored value may be longer than [`PIECE_BYTES`]: longer ones are cut
//!   into several rows.
//! - Values are sealed; bound to their key, so that no value can be moved to another row.
//! - After a flush that failed nothing is taken until everything was written anew ([`mend`]).

mod engine;
mod mend;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use self::engine::{Engine, RawRow, engine_error};
use super::group::Group;
use super::{Batch, Row, Store, StoreError, folder, version};
use crate::seal::aead::{Kek, open_small, seal_small};
use crate::seal::secret::Secret;

/// 19 rows of this and their keys stay under sled's limit for a page within the log.
const PIECE_BYTES: usize = 5 * 1024;
/// First byte of the keys of pieces; no table has it.
const PIECE_PREFIX: u8 = 255;
/// In front of the first piece: how many follow.
const COUNT_BYTES: usize = 2;

/// A file beside a database that has no format row yet: so a process that was killed over its first
/// start is not taken for a store that lost its rows.
struct Begun {
    path: PathBuf,
    is_new: bool,
}

impl Begun {
    /// To be called before the database is made.
    fn note(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("begun");
        if !dir.join("db").exists() {
            folder::make(dir)
                .and_then(|()| fs::File::create(&path)?.sync_all())
                .and_then(|()| folder::sync(dir))
                .map_err(|e| engine::io_error(&e))?;
        }
        Ok(Self { is_new: path.exists(), path })
    }

    /// The format row is there.
    fn end(self) -> Result<(), StoreError> {
        if self.is_new { fs::remove_file(&self.path).map_err(|e| engine::io_error(&e)) } else { Ok(()) }
    }
}

/// A store in one folder.
pub struct SledStore {
    dir: PathBuf,
    /// Exchanged, under the lock for writing, where it is written anew.
    engine: RwLock<Engine>,
    key: Secret<32>,
    commits: Group<Batch, Result<(), StoreError>>,
    /// False from the first flush that failed: what sled shows is then not what is on the disk.
    durable: AtomicBool,
    /// Why, from the first page on that does not read back as it was written.
    damaged: Mutex<Option<String>>,
    /// The batch that was not confirmed.
    unconfirmed: Mutex<Vec<RawRow>>,
    mending: Mutex<()>,
    /// Held for writing while a batch is applied: a reader never meets pieces of two values.
    applying: RwLock<()>,
}

impl SledStore {
    /// Opens the store in the folder `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where sled will not open it: move the folder aside and rebuild.
    /// [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Sealed`] where the key is
    /// another one; [`StoreError::Io`].
    pub fn open(dir: &Path, kek: &Kek) -> Result<Self, StoreError> {
        Self::open_with(dir, kek.derive("store values"))
    }

    fn open_with(dir: &Path, key: Secret<32>) -> Result<Self, StoreError> {
        mend::finish(dir)?;
        let begun = Begun::note(dir)?;
        let engine = Engine::open(dir)?;
        mend::tidy(dir)?;
        let store = Self {
            dir: dir.to_owned(),
            engine: RwLock::new(engine),
            key,
            commits: Group::new(),
            durable: AtomicBool::new(true),
            damaged: Mutex::default(),
            unconfirmed: Mutex::default(),
            mending: Mutex::default(),
            applying: RwLock::new(()),
        };
        version::check(&store, begun.is_new)?;
        begun.end()?;
        Ok(store)
    }

    /// Reads; sled meets some damage with a panic. What was found damaged once is not sound any more.
    fn reading<T>(&self, read: impl FnOnce(&Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let engine = self.engine();
        let _quiet = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let read = catch_unwind(AssertUnwindSafe(|| read(&engine)));
        let read = read.unwrap_or_else(|_| Err(StoreError::Corrupt("the engine gave up".to_owned())));
        self.note_damage(read)
    }

    fn note_damage<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Corrupt(why)) = &done {
            *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        }
        done
    }

    fn damage(&self) -> Option<String> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn engine(&self) -> RwLockReadGuard<'_, Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what many callers handed in as one.
    fn lead(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        // It may have failed while these waited.
        if !self.is_sound() {
            return Err(StoreError::NotDurable);
        }
        // In the order of the keys: rows of one page come one after the other.
        let mut last: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for change in batches.into_iter().flat_map(|b| b.changes) {
            last.insert(change.key, change.value);
        }
        let engine = self.engine();
        let mut rows = Vec::new();
        for (key, value) in last {
            self.write_row(&engine, &mut rows, key, value)?;
        }
        let applying = self.applying.write().unwrap_or_else(PoisonError::into_inner);
        let applied = engine.apply(rows.clone());
        drop(applying);
        let done = applied.and_then(|()| engine.flush());
        if done.is_err() {
            *self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner) = rows;
            self.durable.store(false, Ordering::SeqCst);
        }
        done
    }

    /// Adds a row, in as many pieces as it needs, and removes the pieces it had more.
    fn write_row(&self, engine: &Engine, rows: &mut Vec<RawRow>, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let stored = engine.db.get(&key).map_err(|e| engine_error(&e))?;
        let before = stored.map_or(Ok(0), |stored| count_of(&stored).map(|(n, _)| n))?;
        let mut now = 0;
        let first = match value {
            None => None,
            Some(value) if value.is_empty() => Some(Vec::new()),
            Some(value) => {
                let sealed = seal_small(&self.key, &key, &value).map_err(|_| StoreError::NoRandom)?;
                let (first, rest) = sealed.split_at(PIECE_BYTES.min(sealed.len()));
                for piece in rest.chunks(PIECE_BYTES) {
                    rows.push((piece_key(&key, now), Some(piece.to_vec())));
                    now += 1;
                }
                Some([&now.to_be_bytes(), first].concat())
            }
        };
        for number in now..before {
            rows.push((piece_key(&key, number), None));
        }
        rows.push((key, first));
        Ok(())
    }

    fn read_row(&self, engine: &Engine, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let (count, first) = count_of(stored)?;
        if count == 0 {
            return open_small(&self.key, key, first).map_err(|_| StoreError::Sealed);
        }
        let mut sealed = first.to_vec();
        for number in 0..count {
            let piece = engine.db.get(piece_key(key, number)).map_err(|e| engine_error(&e))?;
            sealed.extend_from_slice(&piece.ok_or(StoreError::Sealed)?);
        }
        open_small(&self.key, key, &sealed).map_err(|_| StoreError::Sealed)
    }
}

impl SledStore {
    fn row(&self, engine: &Engine, found: ::sled::Result<(::sled::IVec, ::sled::IVec)>) -> Result<Row, StoreError> {
        let (key, stored) = found.map_err(|e| engine_error(&e))?;
        Ok(Row { value: self.read_row(engine, &key, &stored)?, key: key.to_vec() })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reading(|engine| {
            let stored = engine.db.get(key).map_err(|e| engine_error(&e))?;
            stored.map(|stored| self.read_row(engine, key, &stored)).transpose()
        })
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= until {
            return Ok(Vec::new());
        }
        self.reading(|engine| engine.db.range(from..until).take(limit).map(|row| self.row(engine, row)).collect())
    }

    fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError> {
        if from >= until {
            return Ok(None);
        }
        self.reading(|engine| engine.db.range(from..until).next_back().map(|row| self.row(engine, row)).transpose())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        if let Some(why) = self.damage() {
            return Err(StoreError::Corrupt(why));
        }
        if !self.is_sound() {
            return Err(StoreError::NotDurable);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let lead = |batches: Vec<Batch>| {
            let waiting = batches.len();
            let led = catch_unwind(AssertUnwindSafe(|| self.lead(batches)));
            let led = led.unwrap_or_else(|_| Err(StoreError::Corrupt("the engine gave up".to_owned())));
            vec![self.note_damage(led); waiting]
        };
        self.commits.run(batch, lead).unwrap_or(Err(StoreError::NotDurable))
    }

    fn is_sound(&self) -> bool {
        self.durable.load(Ordering::SeqCst) && self.damage().is_none()
    }

    fn health(&self) -> Result<(), StoreError> {
        match self.damage() {
            Some(why) => Err(StoreError::Corrupt(why)),
            None if self.is_sound() => Ok(()),
            None => self.mend(),
        }
    }

    fn condemn(&self, why: &str) {
        let _noted = self.note_damage::<()>(Err(StoreError::Corrupt(why.to_owned())));
    }

    fn renew(&self) -> Result<(), StoreError> {
        self.begin_anew()
    }
}

/// How many pieces follow, and the first. A row without a value has neither.
fn count_of(stored: &[u8]) -> Result<(u16, &[u8]), StoreError> {
    if stored.is_empty() {
        return Ok((0, stored));
    }
    let (count, first) = stored.split_first_chunk::<COUNT_BYTES>().ok_or(StoreError::Sealed)?;
    Ok((u16::from_be_bytes(*count), first))
}

fn piece_key(key: &[u8], number: u16) -> Vec<u8> {
    [&[PIECE_PREFIX], key, &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::AtomicU64;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let name = format!("shutterbridge-sled-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
            Self(std::env::temp_dir().join(name))
        }

        fn open(&self) -> Result<SledStore, StoreError> {
            self.open_with(1)
        }

        fn open_with(&self, key: u8) -> Result<SledStore, StoreError> {
            SledStore::open(&self.0, &Kek::new(Secret::new([key; 32])))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn put(store: &SledStore, key: &[u8], value: Vec<u8>) {
        let mut batch = Batch::new();
        batch.put(key.to_vec(), value);
        store.commit(batch).unwrap();
    }

    #[test]
    fn rows_are_there_again_after_the_store_was_only_dropped() {
        let folder = Folder::new();
        put(&folder.open().unwrap(), b"\x01key", b"value".to_vec());
        let store = folder.open().unwrap();
        assert_eq!(store.get(b"\x01key"), Ok(Some(b"value".to_vec())));
        put(&store, b"\x01key", Vec::new());
        assert_eq!(store.get(b"\x01key"), Ok(Some(Vec::new())));
        let mut batch = Batch::new();
        batch.delete(b"\x01key".to_vec());
        store.commit(batch).unwrap();
        assert_eq!(store.get(b"\x01key"), Ok(None));
    }

    #[test]
    fn long_values_come_back_whole_whatever_they_replace_and_never_leave_the_log() {
        let folder = Folder::new();
        let store = folder.open().unwrap();
        let lengths = [1, PIECE_BYTES, 400_000, PIECE_BYTES + 1, 7, 0, 90_000];
        for length in lengths {
            for n in 0..40u8 {
                put(&store, &[1, n], vec![n; length]);
            }
            let rows = store.scan(&[1], &[2], 100).unwrap();
            assert_eq!(rows.len(), 40);
            assert!(rows.iter().all(|r| r.value == vec![r.key[1]; length]), "{length}");
        }
        assert_eq!(fs::read_dir(folder.0.join("blobs")).unwrap().count(), 0);
        let mut batch = Batch::new();
        (0..40).for_each(|n| batch.delete(vec![1, n]));
        store.commit(batch).unwrap();
        assert_eq!(store.engine().db.iter().count(), 1, "the format row alone");
    }

    #[test]
    fn values_stand_sealed_on_the_disk_and_open_with_their_key_in_their_row_only() {
        let folder = Folder::new();
        let store = folder.open().unwrap();
        put(&store, &[1], b"CANARY-4711".to_vec());
        let stored = store.engine().db.get([1]).unwrap().unwrap();
        store.engine().db.insert([2], stored).unwrap();
        assert_eq!(store.get(&[2]), Err(StoreError::Sealed));
        drop(store);
        let bytes = fs::read(folder.0.join("db")).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"CANARY"));
        assert_eq!(folder.open_with(2).err(), Some(StoreError::Sealed));
    }

    #[test]
    fn two_gateways_cannot_have_one_store() {
        let folder = Folder::new();
        let _store = folder.open().unwrap();
        assert_eq!(folder.open().err(), Some(StoreError::Locked));
    }

    #[test]
    fn a_broken_store_says_so_and_works_again_once_it_is_moved_aside() {
        let folder = Folder::new();
        let store = folder.open().unwrap();
        (0..200u8).for_each(|n| put(&store, &[1, n], vec![n; 3000]));
        drop(store);
        let db = folder.0.join("db");
        let mut bytes = fs::read(&db).unwrap();
        for byte in &mut bytes {
            *byte ^= 0x5A;
        }
        fs::write(&db, bytes).unwrap();
        for entry in fs::read_dir(&folder.0).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("db") {
                fs::write(path, "rubbish").unwrap();
            }
        }
        let seen = folder.open().map(|store| store.engine().db.len());
        assert!(matches!(seen, Err(StoreError::Corrupt(_))), "{seen:?}");
        fs::rename(&folder.0, folder.0.with_extension("broken")).unwrap();
        assert!(folder.open().is_ok());
        fs::remove_dir_all(folder.0.with_extension("broken")).unwrap();
    }

    #[test]
    fn commits_of_many_threads_are_all_kept() {
        let folder = Folder::new();
        let store = folder.open().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..16u8 {
                let store = &store;
                scope.spawn(move || (0..20u8).for_each(|n| put(store, &[1, thread, n], vec![thread, n])));
            }
        });
        drop(store);
        let rows = folder.open().unwrap().scan(&[1], &[2], 1000).unwrap();
        assert_eq!(rows.len(), 320);
        assert!(rows.iter().all(|r| r.value == r.key[1..]));
    }

    #[test]
    fn after_a_flush_that_failed_all_rows_are_written_anew_without_a_restart() {
        let folder = Folder::new();
        let store = folder.open().unwrap();
        (0..200u8).for_each(|n| put(&store, &[1, n], vec![n; 100 * usize::from(n)]));
        store.engine().fails.store(true, Ordering::SeqCst);
        let mut batch = Batch::new();
        batch.put(vec![1, 7], b"unconfirmed".to_vec());
        assert_eq!(store.commit(batch), Err(StoreError::NotDurable));
        assert!(!store.is_sound());
        assert_eq!(store.commit(Batch::new()), Err(StoreError::NotDurable), "nothing is taken");
        assert_eq!(store.get(&[1, 9]), Ok(Some(vec![9; 900])), "reading goes on");
        let before = fs::metadata(folder.0.join("db")).unwrap();
        assert_eq!(store.health(), Ok(()));
        assert_ne!(fs::metadata(folder.0.join("db")).unwrap().ino(), before.ino(), "a sync is never tried again as proof");
        put(&store, &[1, 200], b"after".to_vec());
        drop(store);
        let store = folder.open().unwrap();
        let rows = store.scan(&[1], &[2], 1000).unwrap();
        assert_eq!(rows.len(), 201);
        assert!(rows.iter().all(|r| r.key[1] == 7 || r.key[1] == 200 || r.value == vec![r.key[1]; 100 * usize::from(r.key[1])]));
        for word in [".fresh", ".failed", ".probe"] {
            assert!(!folder.0.with_extension(&word[1..]).exists(), "{word}");
        }
    }

    #[test]
    fn a_first_start_that_was_killed_is_taken_up_and_a_store_that_lost_its_rows_is_not() {
        let folder = Folder::new();
        drop(folder.open().unwrap());
        let lose_the_format = || {
            let engine = Engine::open(&folder.0).unwrap();
            engine.db.remove([&[0][..], b"format"].concat()).unwrap().unwrap();
            engine.flush().unwrap();
        };
        lose_the_format();
        assert!(matches!(folder.open().err(), Some(StoreError::Corrupt(_))));
        // As it is left between the making of the database and its first row.
        fs::write(folder.0.join("begun"), "").unwrap();
        put(&folder.open().unwrap(), &[1, 1], b"row".to_vec());
        assert!(!folder.0.join("begun").exists());
        assert_eq!(folder.open().unwrap().get(&[1, 1]), Ok(Some(b"row".to_vec())));
        lose_the_format();
        assert!(matches!(folder.open().err(), Some(StoreError::Corrupt(_))));
    }

    #[test]
    fn a_crash_while_a_store_is_written_anew_leaves_one_whole_store() {
        let folder = Folder::new();
        put(&folder.open().unwrap(), &[1, 1], b"row".to_vec());
        // Before the first rename: the new one is not whole.
        fs::create_dir(folder.0.with_extension("fresh")).unwrap();
        assert_eq!(folder.open().unwrap().get(&[1, 1]), Ok(Some(b"row".to_vec())));
        assert!(!folder.0.with_extension("fresh").exists());
        // Between the renames.
        fs::rename(&folder.0, folder.0.with_extension("fresh")).unwrap();
        assert_eq!(folder.open().unwrap().get(&[1, 1]), Ok(Some(b"row".to_vec())));
        // A new one that was never finished has no format row.
        fs::rename(&folder.0, folder.0.with_extension("fresh")).unwrap();
        {
            let engine = Engine::open(&folder.0.with_extension("fresh")).unwrap();
            engine.db.remove([&[0][..], b"format"].concat()).unwrap().unwrap();
            engine.flush().unwrap();
        }
        assert!(matches!(folder.open().err(), Some(StoreError::Corrupt(_))));
    }
}
