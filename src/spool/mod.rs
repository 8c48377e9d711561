//! Sealed bytes: the truth about every capture.
//!
//! Owns: the folder `spool/`, the sealed file (`api-spec/spool.md`), the promise line, erasure.
//! Never: knows what a manifest says; deletes what was promised, except by [`Spool::remove`].

pub mod disk;
mod draft;
mod error;
mod format;
mod list;
mod name;
mod promise;
mod reader;
mod remove;
mod space;
mod tombstone;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use disk::{Disk, DiskFolder, LocalDisk};
pub use draft::{Draft, Finished};
pub use error::{Damage, SpoolError};
pub use list::{Entry, Listing, Present, Swept};
pub use name::Name;
pub use reader::{PayloadReader, ReadBack};
pub use space::{Capacity, FreeMin, Reservation, capacity_of};
pub use tombstone::{Day, Graves};

use crate::seal::aead::Kek;
use crate::seal::secret::Secret;
use crate::store::Cause;
use crate::store::group::Group;

/// What the format file says; the number is that of the folder's layout.
const FORMAT_WORDS: &str = "shutterbridge spool ";
const FORMAT: u16 = 1;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What must stay free on the disk: acceptance refuses before, so that the journal, the index
    /// and the log of the machine still can write.
    pub free_min: FreeMin,
}

impl Default for Options {
    /// A twentieth: what most file systems keep back for the administrator.
    fn default() -> Self {
        Self { free_min: FreeMin::Percent(5) }
    }
}

/// The spool of one gateway. Cheap to clone; the last clone gives the folder free.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    draft: PathBuf,
    live: PathBuf,
    quarantine: PathBuf,
    erased: PathBuf,
    ballast: PathBuf,
    /// Held while a line is added; days whose file has a name that this process has synced.
    burying: Mutex<BTreeSet<Day>>,
    tombstone_key: Secret<32>,
    live_folder: Box<dyn DiskFolder>,
    live_syncs: Group<(), Result<(), SpoolError>>,
    /// Wraps the data keys.
    wrap_key: Secret<32>,
    kek_id: [u8; 8],
    /// Syncs that failed so far.
    failures: AtomicU64,
    /// How many of them had failed when the last probe began that was synced: with more since, the
    /// disk is not to be trusted.
    outlived: AtomicU64,
    /// Files that stand in `live/` though the sync of their names failed: a power cut may bring back
    /// what stood there before. Nobody reads them until they were written anew.
    doubtful: Mutex<BTreeSet<Name>>,
    drafts: AtomicU64,
    reserved_bytes: AtomicU64,
    /// Held for reading while a capture is neither wholly here nor wholly gone.
    arranging: RwLock<()>,
    options: Options,
    /// Its lock says that the folder is ours; given back when it is closed.
    _lock: Box<dyn Send + Sync>,
}

impl Spool {
    /// Opens the spool in the folder `dir`, which is made where it is missing, and removes every
    /// draft that a former process left: it was never promised.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] where another process has it, [`SpoolError::Newer`] where a newer
    /// gateway wrote it, [`SpoolError::Io`] where the folder does not work.
    pub fn open(dir: &Path, kek: &Kek, options: Options) -> Result<Self, SpoolError> {
        Self::open_on(Arc::new(LocalDisk), dir, kek, options)
    }

    /// The same on a disk of the caller's.
    ///
    /// # Errors
    /// As for [`Spool::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, kek: &Kek, options: Options) -> Result<Self, SpoolError> {
        make_folder(&*disk, dir)?;
        let lock = lock_folder(&*disk, dir)?;
        let [draft, live, quarantine, erased] = ["draft", "live", "quarantine", "erased"].map(|name| dir.join(name));
        check_format(&*disk, dir)?;
        for folder in [&draft, &live, &quarantine, &erased] {
            make_folder(&*disk, folder)?;
        }
        empty_folder(&*disk, &draft)?;
        let live_folder = disk.open_folder(&live).map_err(SpoolError::io("opening the folder of promised files"))?;
        sync_folder(&*disk, dir)?;
        // A process that was killed may have left names that no sync has reached yet. Whoever reads
        // them from now on answers for them, so they must not go with the next power cut.
        live_folder.sync_names().map_err(|e| SpoolError::NotDurable((&e).into()))?;
        Ok(Self(Arc::new(Inner {
            disk,
            draft,
            live,
            quarantine,
            erased,
            ballast: dir.join("ballast"),
            burying: Mutex::default(),
            tombstone_key: kek.derive("tombstones"),
            live_folder,
            live_syncs: Group::new(),
            wrap_key: kek.derive("spool data keys"),
            kek_id: kek.id(),
            failures: AtomicU64::new(0),
            outlived: AtomicU64::new(0),
            doubtful: Mutex::default(),
            drafts: AtomicU64::new(0),
            reserved_bytes: AtomicU64::new(0),
            arranging: RwLock::new(()),
            options,
            _lock: lock,
        })))
    }
}

impl Inner {
    fn live_path(&self, name: Name) -> PathBuf {
        self.live.join(name.to_string())
    }

    /// A path no other draft has.
    fn draft_path(&self, name: &str) -> PathBuf {
        self.draft.join(format!("{name}.{}", self.drafts.fetch_add(1, Ordering::Relaxed)))
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// False from the first sync that failed until a probe was synced that began after it.
    fn is_sound(&self) -> bool {
        self.failures() == self.outlived.load(Ordering::SeqCst)
    }

    fn refuse_if_unsound(&self) -> Result<(), SpoolError> {
        if self.is_sound() { Ok(()) } else { Err(SpoolError::Unsound) }
    }

    /// Nothing proves anything that was synced after another's sync failed: the kernel may have told
    /// that one alone.
    fn refuse_if_failed_since(&self, failures: u64) -> Result<(), SpoolError> {
        if self.failures() == failures { Ok(()) } else { Err(SpoolError::Unsound) }
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file in doubt is as good as none.
    fn refuse_if_doubtful(&self, name: Name) -> Result<(), SpoolError> {
        let is_doubtful = !self.is_sound() && self.doubtful().contains(&name);
        if is_doubtful { Err(SpoolError::Unsound) } else { Ok(()) }
    }

    /// What a failed sync means, whatever its errno: the kernel reports it once and may have
    /// dropped the pages, so a second attempt that succeeds proves nothing.
    fn not_durable(&self, why: Cause) -> SpoolError {
        self.failures.fetch_add(1, Ordering::SeqCst);
        SpoolError::NotDurable(why)
    }
}

fn sync_folder(disk: &dyn Disk, path: &Path) -> Result<(), SpoolError> {
    let synced = disk.open_folder(path).and_then(|folder| folder.sync_names());
    synced.map_err(|e| SpoolError::NotDurable((&e).into()))
}

fn make_folder(disk: &dyn Disk, path: &Path) -> Result<(), SpoolError> {
    disk.make_folder(path).map_err(SpoolError::io("making a folder of the spool"))
}

fn lock_folder(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send + Sync>, SpoolError> {
    disk.lock(&dir.join("lock")).map_err(|e| match e.kind() {
        ErrorKind::WouldBlock => SpoolError::Locked,
        _ => SpoolError::io("locking the spool")(e),
    })
}

/// Reads the format file; a new spool gets one.
fn check_format(disk: &dyn Disk, dir: &Path) -> Result<(), SpoolError> {
    /// Longer than any format file.
    const READ_BYTES: u64 = 64;
    let doing = SpoolError::io("reading the format of the spool");
    let path = dir.join("format");
    let mut text = Vec::new();
    match disk.open(&path) {
        Ok(file) => {
            let length = file.size_bytes().map_err(&doing)?.min(READ_BYTES);
            text.resize(usize::try_from(length).unwrap_or(0), 0);
            file.read_at(&mut text, 0).map_err(&doing)?;
        }
        Err(e) if e.kind() == ErrorKind::NotFound => return write_format(disk, dir, &path),
        Err(e) => return Err(doing(e)),
    }
    let text = str::from_utf8(&text).unwrap_or_default();
    match text.trim_end().strip_prefix(FORMAT_WORDS).and_then(|n| n.parse::<u16>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(SpoolError::Newer(found)),
        None => Err(SpoolError::Damaged(Damage::NotSealed)),
    }
}

fn write_format(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(), SpoolError> {
    let doing = SpoolError::io("writing the format of the spool");
    let fresh = dir.join("format.new");
    match disk.remove(&fresh) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(doing(e)),
        _ => {}
    }
    let mut file = disk.create(&fresh).map_err(&doing)?;
    file.append(format!("{FORMAT_WORDS}{FORMAT}\n").as_bytes()).map_err(&doing)?;
    file.sync().map_err(|e| SpoolError::NotDurable((&e).into()))?;
    disk.rename(&fresh, path).map_err(&doing)?;
    sync_folder(disk, dir)
}

fn empty_folder(disk: &dyn Disk, path: &Path) -> Result<(), SpoolError> {
    let doing = SpoolError::io("removing unfinished drafts");
    for name in disk.names(path).map_err(&doing)? {
        disk.remove(&path.join(name.map_err(&doing)?)).map_err(&doing)?;
    }
    Ok(())
}
