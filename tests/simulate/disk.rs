//! A disk that keeps what was synced and what was not apart, and breaks as disks do.
//!
//! What a power cut leaves is chosen by the seed: each write that was not synced is kept, dropped
//! or torn, each change of a name in a folder that was not synced is kept or dropped, one apart
//! from the other. That is harsher than the journal of any file system of today, and what POSIX
//! allows. A sync that fails drops what it should have made durable, and the next one succeeds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use shutterbridge::spool::disk::{Disk, DiskFile, DiskFolder, Names};
use shutterbridge::spool::{Capacity, Name};

use super::chance::Chance;
use super::ledger::Ledger;
use super::power::{Fate, Point, Power};
use super::trace::Trace;

/// Of the whole disk; a request reserves a part of it.
const TOTAL_BYTES: u64 = 1 << 30;
const SCARCE_BYTES: u64 = 1 << 10;

#[derive(Default)]
struct Inode {
    /// As programs see it.
    cache: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync: where, and what.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A change of a folder that is not durable: the name leads there now, or nowhere.
struct NameChange {
    path: PathBuf,
    inode: Option<usize>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    /// A sync of names failed: the file system is broken until it was mounted again.
    is_torn: bool,
}

struct Platter {
    state: Mutex<State>,
    power: Arc<Power>,
    chance: Chance,
    trace: Trace,
    ledger: Arc<Ledger>,
    is_locked: AtomicBool,
    is_full: AtomicBool,
    /// One operation in so many fails; 0: none.
    fault_rate: AtomicUsize,
    /// Reading fails as often as everything else.
    reads_fail: AtomicBool,
    /// Says that it has synced a sealed file, and has not: a planted bug.
    lies: bool,
}

#[derive(Clone)]
pub struct SimDisk(Arc<Platter>);

impl SimDisk {
    pub fn new(power: Arc<Power>, chance: Chance, trace: Trace, ledger: Arc<Ledger>, lies: bool) -> Self {
        Self(Arc::new(Platter {
            state: Mutex::default(),
            power,
            chance,
            trace,
            ledger,
            is_locked: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            fault_rate: AtomicUsize::new(0),
            reads_fail: AtomicBool::new(true),
            lies,
        }))
    }

    pub fn set_faults(&self, rate: usize, reads_fail: bool) {
        self.0.fault_rate.store(rate, Ordering::SeqCst);
        self.0.reads_fail.store(reads_fail, Ordering::SeqCst);
    }

    pub fn set_full(&self, is_full: bool) {
        self.0.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Files in a folder, as programs see them.
    fn files_in(&self, folder: &Path) -> Vec<String> {
        let state = self.0.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    /// What is left after the power went.
    pub fn cut_power(&self) {
        self.0.state().cut_power(&self.0.chance);
    }

    /// No file system lives on after it could not write its own journal: whoever starts the gateway
    /// again has mounted it again, which brings what a power cut brings.
    pub fn is_torn(&self) -> bool {
        self.0.state().is_torn
    }
}

impl State {
    fn cut_power(&mut self, chance: &Chance) {
        self.is_torn = false;
        // Most journals lose the end only; POSIX promises less.
        let keeps_order = chance.one_in(2);
        let mut is_lost = false;
        for change in std::mem::take(&mut self.unsynced_names) {
            is_lost = if keeps_order { is_lost || chance.one_in(3) } else { chance.one_in(2) };
            if !is_lost {
                apply(&mut self.durable_names, change);
            }
        }
        self.names.clone_from(&self.durable_names);
        for inode in &mut self.inodes {
            for (at, bytes) in std::mem::take(&mut inode.unsynced) {
                match chance.below(4) {
                    0 => write(&mut inode.durable, at, &bytes[..chance.below(bytes.len())]),
                    1 => write(&mut inode.durable, at, &bytes),
                    _ => {}
                }
            }
            inode.cache.clone_from(&inode.durable);
        }
    }

    fn change(&mut self, path: &Path, inode: Option<usize>) {
        apply(&mut self.names, NameChange { path: path.to_owned(), inode });
        self.unsynced_names.push(NameChange { path: path.to_owned(), inode });
    }

    /// A sync that fails keeps what `keeps` says, and will never again try the rest.
    fn sync_names(&mut self, folder: &Path, mut keeps: impl FnMut() -> bool) {
        let (now, later) =
            std::mem::take(&mut self.unsynced_names).into_iter().partition(|change| change.path.parent() == Some(folder));
        self.unsynced_names = later;
        let now: Vec<NameChange> = now;
        for change in now {
            if keeps() {
                apply(&mut self.durable_names, change);
            }
        }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: NameChange) {
    match change.inode {
        Some(inode) => names.insert(change.path, inode),
        None => names.remove(&change.path),
    };
}

fn write(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if to.len() < at + bytes.len() {
        to.resize(at + bytes.len(), 0);
    }
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Platter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether this one fails.
    fn fails(&self, what: &str) -> bool {
        let fails = self.chance.one_in(self.fault_rate.load(Ordering::SeqCst));
        if fails {
            self.trace.say(|| format!("  EIO: {what}"));
        }
        fails
    }

    fn refuse_read(&self) -> io::Result<()> {
        if !self.power.is_on() || self.reads_fail.load(Ordering::SeqCst) && self.fails("read") {
            return Err(broken());
        }
        Ok(())
    }

    /// Does `what` at a point where the process may die.
    fn reach<T>(&self, point: Point, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.power.fate(point) {
            Fate::Happens if self.fails(&format!("{point:?}")) => Err(broken()),
            Fate::Happens => what(),
            Fate::DiesBehind => what().and_then(|_| Err(broken())),
            Fate::DiesBefore | Fate::IsDead => Err(broken()),
        }
    }

    /// Tells whoever keeps the books that an item goes.
    fn tell_of_erasing(&self, path: &Path) {
        if path.parent().is_some_and(|folder| folder.ends_with("live"))
            && let Ok(Name::Item(item)) = name_of(path).parse::<Name>()
        {
            self.ledger.erasing(item);
        }
    }
}

impl Disk for SimDisk {
    fn make_folder(&self, _: &Path) -> io::Result<()> {
        self.0.refuse_read()
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let was_locked = self.0.is_locked.swap(true, Ordering::SeqCst);
        assert!(!was_locked, "the spool was opened twice");
        Ok(Box::new(Lock(self.0.clone())))
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>> {
        self.0.refuse_read()?;
        Ok(Box::new(Folder { platter: self.0.clone(), path: path.to_owned() }))
    }

    fn names(&self, folder: &Path) -> io::Result<Names> {
        self.0.refuse_read()?;
        Ok(Box::new(self.files_in(folder).into_iter().map(|name| Ok(OsString::from(name)))))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.refuse_read()?;
        Ok(self.0.state().names.contains_key(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.reach(Point::Create, || {
            let mut state = self.0.state();
            if state.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.change(path, Some(inode));
            drop(state);
            Ok(self.handle(path, inode))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.refuse_read()?;
        let inode = self.0.state().inode(path)?;
        Ok(self.handle(path, inode))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.reach(Point::Rename, || {
            self.0.trace.say(|| format!("  rename {}", name_of(to)));
            let mut state = self.0.state();
            let inode = state.inode(from)?;
            state.change(to, Some(inode));
            state.change(from, None);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let is_there = self.0.state().names.contains_key(path);
        if !is_there {
            return Err(ErrorKind::NotFound.into());
        }
        self.0.reach(Point::Remove, || {
            self.0.trace.say(|| format!("  remove {}", name_of(path)));
            self.0.tell_of_erasing(path);
            self.0.state().change(path, None);
            Ok(())
        })
    }

    fn capacity(&self, _: &Path) -> io::Result<Capacity> {
        let free_bytes = if self.0.is_full.load(Ordering::SeqCst) { SCARCE_BYTES } else { TOTAL_BYTES / 2 };
        Ok(Capacity { total_bytes: TOTAL_BYTES, free_bytes })
    }
}

impl SimDisk {
    fn handle(&self, path: &Path, inode: usize) -> Box<dyn DiskFile> {
        Box::new(OpenFile { platter: self.0.clone(), path: path.to_owned(), inode })
    }
}

/// The kernel gives it back when the process ends.
struct Lock(Arc<Platter>);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.is_locked.store(false, Ordering::SeqCst);
    }
}

struct OpenFile {
    platter: Arc<Platter>,
    path: PathBuf,
    inode: usize,
}

impl OpenFile {
    fn write(&self, at: Option<usize>, bytes: &[u8]) {
        let mut state = self.platter.state();
        let inode = &mut state.inodes[self.inode];
        let at = at.unwrap_or(inode.cache.len());
        write(&mut inode.cache, at, bytes);
        inode.unsynced.push((at, bytes.to_vec()));
    }

    fn sync(&self, mut keeps: impl FnMut() -> bool) {
        let mut state = self.platter.state();
        let inode = &mut state.inodes[self.inode];
        for (at, bytes) in std::mem::take(&mut inode.unsynced) {
            if keeps() {
                write(&mut inode.durable, at, &bytes);
            }
        }
    }
}

impl DiskFile for OpenFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.platter.refuse_read()?;
        Ok(self.platter.state().inodes[self.inode].cache.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.platter.refuse_read()?;
        let at = usize::try_from(at).unwrap();
        let state = self.platter.state();
        let found = state.inodes[self.inode].cache.get(at..at + bytes.len()).ok_or(ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.platter.is_full.load(Ordering::SeqCst) {
            self.write(None, &bytes[..self.platter.chance.below(bytes.len())]);
            return Err(ErrorKind::StorageFull.into());
        }
        self.platter.reach(Point::Append, || {
            self.write(None, bytes);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.platter.reach(Point::Overwrite, || {
            self.platter.trace.say(|| format!("  overwrite {}", name_of(&self.path)));
            self.platter.tell_of_erasing(&self.path);
            self.write(Some(usize::try_from(at).unwrap()), bytes);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let chance = &self.platter.chance;
        let lies = self.platter.lies && self.path.parent().is_some_and(|folder| folder.ends_with("draft"));
        match self.platter.power.fate(Point::Sync) {
            Fate::Happens if lies => Ok(()),
            Fate::Happens if self.platter.fails("Sync") => {
                self.sync(|| chance.one_in(2));
                Err(broken())
            }
            Fate::Happens => {
                self.sync(|| true);
                Ok(())
            }
            Fate::DiesBehind => {
                self.sync(|| !lies);
                Err(broken())
            }
            Fate::DiesBefore | Fate::IsDead => Err(broken()),
        }
    }
}

struct Folder {
    platter: Arc<Platter>,
    path: PathBuf,
}

impl DiskFolder for Folder {
    fn sync_names(&self) -> io::Result<()> {
        let chance = &self.platter.chance;
        let sync = |keeps: &dyn Fn() -> bool| self.platter.state().sync_names(&self.path, keeps);
        match self.platter.power.fate(Point::SyncNames) {
            Fate::Happens if self.platter.fails("SyncNames") => {
                sync(&|| chance.one_in(2));
                self.platter.state().is_torn = true;
                Err(broken())
            }
            Fate::Happens => {
                sync(&|| true);
                Ok(())
            }
            Fate::DiesBehind => {
                sync(&|| true);
                Err(broken())
            }
            Fate::DiesBefore | Fate::IsDead => Err(broken()),
        }
    }
}
