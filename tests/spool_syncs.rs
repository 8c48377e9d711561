//! Syncs that fail while others sync: what the kernel told one caller nobody else may take for a
//! success. A disk of this machine whose folders fail when they are told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::{env, fs, process};

use shutterbridge::capture::CaptureId;
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::disk::{Disk, DiskFile, DiskFolder, LocalDisk, Names};
use shutterbridge::spool::{self, Capacity, Entry, FreeMin, Name, Present, Spool, SpoolError, Swept};

/// What the disk was asked, and what it is to do.
#[derive(Default)]
struct Told {
    /// Names given in `live/`.
    placed: usize,
    /// Syncs of each folder, by its last name.
    syncs: BTreeMap<String, usize>,
    /// The next sync of this folder fails, once so many names stand in `live/`.
    fails: Option<(&'static str, usize)>,
    /// A name that was given while the folder was read, and that the reading passed over.
    passed_over: Option<String>,
    /// What the disk says of itself in place of what is true.
    capacity: Option<Capacity>,
}

#[derive(Clone, Default)]
struct Faulty(Arc<(Mutex<Told>, Condvar)>);

impl Faulty {
    fn fail(&self, folder: &'static str, once_placed: usize) {
        self.0.0.lock().unwrap().fails = Some((folder, once_placed));
    }

    fn syncs_of(&self, folder: &str) -> usize {
        self.0.0.lock().unwrap().syncs.get(folder).copied().unwrap_or(0)
    }

    /// Until the failure that was asked for is under way.
    fn wait_for_failure(&self) {
        let told = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(told, |told| told.fails.is_some_and(|(folder, _)| !told.syncs.contains_key(folder))));
    }
}

struct FaultyFolder {
    disk: Faulty,
    name: String,
    folder: Box<dyn DiskFolder>,
}

impl DiskFolder for FaultyFolder {
    fn sync_names(&self) -> io::Result<()> {
        let (told, changed) = &*self.disk.0;
        let mut state = told.lock().unwrap();
        *state.syncs.entry(self.name.clone()).or_default() += 1;
        changed.notify_all();
        let Some((_, placed)) = state.fails.filter(|(folder, _)| *folder == self.name) else {
            drop(state);
            return self.folder.sync_names();
        };
        state = changed.wait_while(state, |told| told.placed < placed).unwrap();
        state.fails = None;
        Err(io::Error::from_raw_os_error(5))
    }
}

impl Disk for Faulty {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        LocalDisk.make_folder(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        LocalDisk.lock(path)
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>> {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(Box::new(FaultyFolder { disk: self.clone(), name, folder: LocalDisk.open_folder(path)? }))
    }

    fn names(&self, folder: &Path) -> io::Result<Names> {
        let hidden = self.0.0.lock().unwrap().passed_over.clone();
        let names = LocalDisk.names(folder)?;
        Ok(Box::new(names.filter(move |name| name.as_ref().ok().and_then(|n| n.to_str()) != hidden.as_deref())))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        LocalDisk.exists(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.open(path)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        LocalDisk.open_to_write(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)?;
        if to.parent().is_some_and(|folder| folder.ends_with("live")) {
            self.0.0.lock().unwrap().placed += 1;
            self.0.1.notify_all();
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn capacity(&self, path: &Path) -> io::Result<Capacity> {
        let told = self.0.0.lock().unwrap().capacity;
        told.map_or_else(|| LocalDisk.capacity(path), Ok)
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("shutterbridge-syncs-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Self(env::temp_dir().join(name))
    }

    fn open(&self, disk: &Faulty) -> Spool {
        let options = spool::Options { free_min: FreeMin::Bytes(0) };
        let spool = Spool::open_on(Arc::new(disk.clone()), &self.0, &Kek::new(Secret::new([7; 32])), options).unwrap();
        *disk.0.0.lock().unwrap() = Told::default();
        spool
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn promise(spool: &Spool, name: Name) -> Result<(), SpoolError> {
    let mut draft = spool.draft(name)?;
    draft.write(b"picture")?;
    spool.promise(vec![draft.finish(b"{}")?])
}

fn item(n: u8) -> Name {
    Name::Item(CaptureId::new(1, [n; 10]).item(0))
}

#[test]
fn a_sync_that_failed_for_one_phone_is_no_success_for_the_next() {
    let (folder, disk) = (Folder::new(), Faulty::default());
    let spool = folder.open(&disk);
    // The second phone's name stands there before the sync fails, and its own sync comes after it: by
    // then the kernel has told of the loss, and tells of it no more.
    disk.fail("live", 2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| promise(&spool, item(1)));
        disk.wait_for_failure();
        let second = promise(&spool, item(2));
        assert!(matches!(first.join().unwrap(), Err(SpoolError::NotDurable(_))));
        assert_eq!(second, Err(SpoolError::Unsound));
    });
    assert_eq!((spool.has(item(1)), spool.has(item(2))), (Ok(false), Ok(false)));
    assert_eq!(spool.health(), Ok(()));
    assert_eq!(promise(&spool, item(2)), Ok(()));
}

#[test]
fn a_probe_that_meets_the_failure_lets_nobody_else_pass() {
    let (folder, disk) = (Folder::new(), Faulty::default());
    let spool = folder.open(&disk);
    disk.fail("live", 1);
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| spool.probe());
        disk.wait_for_failure();
        assert_eq!(promise(&spool, item(1)), Err(SpoolError::Unsound));
        assert!(matches!(probe.join().unwrap(), Err(SpoolError::NotDurable(_))));
    });
    assert_eq!(spool.has(item(1)), Ok(false));
}

#[test]
fn a_file_that_came_while_the_folder_was_read_is_not_missing() {
    let (folder, disk) = (Folder::new(), Faulty::default());
    let spool = folder.open(&disk);
    let capture = CaptureId::new(1, [1; 10]);
    let (head, binding) = (item(1), Name::Binding(capture));
    promise(&spool, head).unwrap();
    promise(&spool, binding).unwrap();
    for name in [head, binding] {
        disk.0.0.lock().unwrap().passed_over = Some(name.to_string());
        assert_eq!(spool.sweep_orphans(&[], |_| true), Ok(Swept::default()));
        let found: Vec<Entry> = spool.list().unwrap().collect();
        let whole =
            Present { id: capture, items: vec![0], binding: true, stopped: false, derived: Vec::new(), stills: Vec::new() };
        assert_eq!(found, [Entry::Capture(whole)], "{name}");
    }
    assert_eq!((spool.has(head), spool.has(binding)), (Ok(true), Ok(true)));
}

#[test]
fn the_file_of_a_day_gets_a_durable_name_also_when_that_failed_at_first() {
    let (folder, disk) = (Folder::new(), Faulty::default());
    let spool = folder.open(&disk);
    disk.fail("erased", 0);
    assert!(matches!(spool.bury(20_000, b"receipt"), Err(SpoolError::NotDurable(_))));
    assert_eq!(spool.bury(20_000, b"receipt"), Ok(()));
    assert_eq!(disk.syncs_of("erased"), 2, "the name was not durable yet");
    assert_eq!(spool.bury(20_000, b"another"), Ok(()));
    assert_eq!(disk.syncs_of("erased"), 2, "now it is");
    drop(spool);
    // A process that was killed may have left the file without a durable name.
    let spool = folder.open(&disk);
    assert_eq!(spool.bury(20_000, b"third"), Ok(()));
    assert_eq!(disk.syncs_of("erased"), 1);
}

#[test]
fn what_is_made_of_a_film_takes_what_acceptance_leaves_free_and_not_the_last_of_it() {
    const GIB: u64 = 1 << 30;
    let (folder, disk) = (Folder::new(), Faulty::default());
    let options = spool::Options { free_min: FreeMin::Bytes(5 * GIB) };
    let spool = Spool::open_on(Arc::new(disk.clone()), &folder.0, &Kek::new(Secret::new([7; 32])), options).unwrap();
    let table = [
        // given free bytes, when a photo comes and when a film grows by 16 MiB, then
        (6 * GIB, Ok(()), Ok(())),
        (5 * GIB, Err(SpoolError::Full), Ok(())),
        (GIB / 4, Err(SpoolError::Full), Ok(())),
        (GIB / 8 + 1, Err(SpoolError::Full), Err(SpoolError::Full)),
        (0, Err(SpoolError::Full), Err(SpoolError::Full)),
    ];
    for (free_bytes, photo, film) in table {
        disk.0.0.lock().unwrap().capacity = Some(Capacity { total_bytes: 100 * GIB, free_bytes });
        assert_eq!((spool.reserve(1).map(drop), spool.spare(16 << 20)), (photo, film), "{free_bytes}");
    }
}
