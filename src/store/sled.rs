//! sled 0.34 as engine, with the durability it does not have by itself.
//!
//! Three things are ours:
//!
//! - sled's `flush` ends in `sync_file_range`, which flushes neither the length of a file nor the
//!   cache of a disk. After each flush we sync the database file through a handle of our own; its
//!   names (`db`, `conf`, `blobs/`, `snap.…`) change at opening only, and are synced there.
//! - A page over 128 KiB goes into a file of its own in `blobs/`, which sled never syncs. A page
//!   has up to 19 rows, so no stored value may be longer than [`PIECE_BYTES`]: longer ones are cut
//!   into several rows.
//! - Values are sealed; bound to their key, so that no value can be moved to another row.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use super::group::Group;
use super::{Batch, Cause, Row, Store, StoreError, version};
use crate::seal::aead::{Kek, open_small, seal_small};
use crate::seal::secret::Secret;

/// Pages held in memory. The journal's working set is what is not forwarded yet: small.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// 19 rows of this and their keys stay under sled's limit for a page within the log.
const PIECE_BYTES: usize = 5 * 1024;
/// First byte of the keys of pieces; no table has it.
const PIECE_PREFIX: u8 = 255;
/// In front of the first piece: how many follow.
const COUNT_BYTES: usize = 2;

/// A store in one folder.
pub struct SledStore {
    db: ::sled::Db,
    file: File,
    key: Secret<32>,
    commits: Group<Batch, Result<(), StoreError>>,
    /// False from the first flush that failed: what sled shows is then not what is on the disk.
    durable: AtomicBool,
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
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(|e| io_error(&e))?;
        let is_new = !dir.join("db").exists();
        let config = ::sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        // sled meets some damage with a panic.
        let db = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| StoreError::Corrupt("the engine gave up".to_owned()))?
            .map_err(|e| opening_error(&e))?;
        let file = File::open(dir.join("db")).map_err(|e| io_error(&e))?;
        sync_names(dir).map_err(|_| StoreError::NotDurable)?;
        let key = kek.derive("store values");
        let store = Self { db, file, key, commits: Group::new(), durable: AtomicBool::new(true), applying: RwLock::new(()) };
        version::check(&store, is_new)?;
        Ok(store)
    }

    /// Commits what many callers handed in as one.
    fn lead(&self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let mut last: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
        for change in batches.into_iter().flat_map(|b| b.changes) {
            last.insert(change.key, change.value);
        }
        let mut merged = ::sled::Batch::default();
        for (key, value) in last {
            self.write_row(&mut merged, &key, value)?;
        }
        let done = self.write_durably(merged);
        if done.is_err() {
            self.durable.store(false, Ordering::SeqCst);
        }
        done
    }

    fn write_durably(&self, batch: ::sled::Batch) -> Result<(), StoreError> {
        let applying = self.applying.write().unwrap_or_else(PoisonError::into_inner);
        self.db.apply_batch(batch).map_err(|e| engine_error(&e))?;
        drop(applying);
        self.db.flush().map_err(|_| StoreError::NotDurable)?;
        self.file.sync_data().map_err(|_| StoreError::NotDurable)
    }

    /// Adds a row, in as many pieces as it needs, and removes the pieces it had more.
    fn write_row(&self, batch: &mut ::sled::Batch, key: &[u8], value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let before = self.db.get(key).map_err(|e| engine_error(&e))?.map_or(Ok(0), |stored| count_of(&stored).map(|(n, _)| n))?;
        let mut now = 0;
        match value {
            None => batch.remove(key),
            Some(value) if value.is_empty() => batch.insert(key, &[]),
            Some(value) => {
                let sealed = seal_small(&self.key, key, &value).map_err(|_| StoreError::NoRandom)?;
                let (first, rest) = sealed.split_at(PIECE_BYTES.min(sealed.len()));
                for piece in rest.chunks(PIECE_BYTES) {
                    batch.insert(piece_key(key, now), piece);
                    now += 1;
                }
                batch.insert(key, [&now.to_be_bytes(), first].concat());
            }
        }
        for number in now..before {
            batch.remove(piece_key(key, number));
        }
        Ok(())
    }

    fn read_row(&self, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let (count, first) = count_of(stored)?;
        if count == 0 {
            return open_small(&self.key, key, first).map_err(|_| StoreError::Sealed);
        }
        let mut sealed = first.to_vec();
        for number in 0..count {
            let piece = self.db.get(piece_key(key, number)).map_err(|e| engine_error(&e))?;
            sealed.extend_from_slice(&piece.ok_or(StoreError::Sealed)?);
        }
        open_small(&self.key, key, &sealed).map_err(|_| StoreError::Sealed)
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _quiet = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let stored = self.db.get(key).map_err(|e| engine_error(&e))?;
        stored.map(|stored| self.read_row(key, &stored)).transpose()
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= until {
            return Ok(Vec::new());
        }
        let _quiet = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        let rows = self.db.range(from..until).take(limit).map(|row| {
            let (key, stored) = row.map_err(|e| engine_error(&e))?;
            Ok(Row { value: self.read_row(&key, &stored)?, key: key.to_vec() })
        });
        rows.collect()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        if !self.durable.load(Ordering::SeqCst) {
            return Err(StoreError::NotDurable);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let lead = |batches: Vec<Batch>| {
            let waiting = batches.len();
            vec![self.lead(batches); waiting]
        };
        self.commits.run(batch, lead).unwrap_or(Err(StoreError::NotDurable))
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

/// Makes the files sled has at opening durable, and their names up to the folder above.
fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir.join("db"))?.sync_all()?;
    for entry in fs::read_dir(dir)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(dir)?.sync_all()?;
    let above = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}

fn opening_error(error: &::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(e) if e.kind() == io::ErrorKind::PermissionDenied => io_error(e),
        // sled says "could not acquire lock" as an error of kind Other, with the cause inside its text.
        ::sled::Error::Io(e) if e.kind() == io::ErrorKind::WouldBlock || e.to_string().contains("could not acquire lock") => {
            StoreError::Locked
        }
        ::sled::Error::Io(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem) => io_error(e),
        other => StoreError::Corrupt(words(other)),
    }
}

fn engine_error(error: &::sled::Error) -> StoreError {
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

fn io_error(error: &io::Error) -> StoreError {
    StoreError::Io(error.into())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
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
        assert_eq!(store.db.iter().count(), 1, "the format row alone");
    }

    #[test]
    fn values_stand_sealed_on_the_disk_and_open_with_their_key_in_their_row_only() {
        let folder = Folder::new();
        let store = folder.open().unwrap();
        put(&store, &[1], b"CANARY-4711".to_vec());
        let stored = store.db.get([1]).unwrap().unwrap();
        store.db.insert([2], stored).unwrap();
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
        let seen = folder.open().map(|store| store.db.len());
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
}
