//! Sealed bytes: the truth about every capture.
//!
//! Owns: the folder `spool/`, the sealed file (`api-spec/spool.md`), the promise line, erasure.
//! Never: knows what a manifest says; deletes what was promised, except by [`Spool::remove`].

mod draft;
mod error;
mod format;
mod list;
mod name;
mod promise;
mod reader;
mod remove;
mod space;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

pub use draft::{Draft, Finished};
pub use error::{Damage, SpoolError};
pub use list::{Entry, Listing, Present};
pub use name::Name;
pub use reader::PayloadReader;
pub use space::{Capacity, FreeMin, Reservation, capacity_of};

use crate::seal::aead::Kek;
use crate::seal::secret::Secret;
use crate::store::group::Group;
use crate::store::{Cause, folder};

/// Files of the spool: nobody but the gateway reads them.
const FILE_MODE: u32 = 0o600;
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
    draft: PathBuf,
    live: PathBuf,
    quarantine: PathBuf,
    live_folder: File,
    live_syncs: Group<(), Result<(), Cause>>,
    /// Wraps the data keys.
    wrap_key: Secret<32>,
    kek_id: [u8; 8],
    /// False from the first fsync that failed until a probe file was synced.
    sound: AtomicBool,
    drafts: AtomicU64,
    reserved_bytes: AtomicU64,
    /// Held for reading while a capture is neither wholly here nor wholly gone.
    arranging: RwLock<()>,
    options: Options,
    /// Its lock says that the folder is ours; given back when it is closed.
    _lock: File,
}

impl Spool {
    /// Opens the spool in the folder `dir`, which is made where it is missing, and removes every
    /// draft that a former process left: it was never promised.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] where another process has it, [`SpoolError::Newer`] where a newer
    /// gateway wrote it, [`SpoolError::Io`] where the folder does not work.
    pub fn open(dir: &Path, kek: &Kek, options: Options) -> Result<Self, SpoolError> {
        make_folder(dir)?;
        let lock = lock_folder(dir)?;
        let [draft, live, quarantine] = ["draft", "live", "quarantine"].map(|name| dir.join(name));
        check_format(dir)?;
        for folder in [&draft, &live, &quarantine] {
            make_folder(folder)?;
        }
        empty_folder(&draft)?;
        let live_folder = File::open(&live).map_err(SpoolError::io("opening the folder of promised files"))?;
        sync_folder(dir)?;
        Ok(Self(Arc::new(Inner {
            draft,
            live,
            quarantine,
            live_folder,
            live_syncs: Group::new(),
            wrap_key: kek.derive("spool data keys"),
            kek_id: kek.id(),
            sound: AtomicBool::new(true),
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

    fn refuse_if_unsound(&self) -> Result<(), SpoolError> {
        if self.sound.load(Ordering::SeqCst) { Ok(()) } else { Err(SpoolError::Unsound) }
    }

    /// What a failed sync means, whatever its errno: the kernel reports it once and may have
    /// dropped the pages, so a second attempt that succeeds proves nothing.
    fn not_durable(&self, why: Cause) -> SpoolError {
        self.sound.store(false, Ordering::SeqCst);
        SpoolError::NotDurable(why)
    }
}

fn create_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

fn sync_folder(path: &Path) -> Result<(), SpoolError> {
    folder::sync(path).map_err(|e| SpoolError::NotDurable((&e).into()))
}

fn make_folder(path: &Path) -> Result<(), SpoolError> {
    folder::make(path).map_err(SpoolError::io("making a folder of the spool"))
}

fn lock_folder(dir: &Path) -> Result<File, SpoolError> {
    let mut options = OpenOptions::new();
    let lock = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(dir.join("lock"));
    let lock = lock.map_err(SpoolError::io("opening the lock file of the spool"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked),
        Err(TryLockError::Error(e)) => Err(SpoolError::io("locking the spool")(e)),
    }
}

/// Reads the format file; a new spool gets one.
fn check_format(dir: &Path) -> Result<(), SpoolError> {
    /// Longer than any format file.
    const READ_BYTES: u64 = 64;
    let path = dir.join("format");
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(READ_BYTES).read_to_string(&mut text).map_err(SpoolError::io("reading the format of the spool"))?;
        }
        Err(e) if e.kind() == ErrorKind::NotFound => return write_format(dir, &path),
        Err(e) => return Err(SpoolError::io("reading the format of the spool")(e)),
    }
    match text.trim_end().strip_prefix(FORMAT_WORDS).and_then(|n| n.parse::<u16>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(SpoolError::Newer(found)),
        None => Err(SpoolError::Damaged(Damage::NotSealed)),
    }
}

fn write_format(dir: &Path, path: &Path) -> Result<(), SpoolError> {
    let doing = "writing the format of the spool";
    let fresh = dir.join("format.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&fresh).map_err(SpoolError::io(doing))?;
    file.write_all(format!("{FORMAT_WORDS}{FORMAT}\n").as_bytes()).map_err(SpoolError::io(doing))?;
    file.sync_all().map_err(|e| SpoolError::NotDurable((&e).into()))?;
    std::fs::rename(&fresh, path).map_err(SpoolError::io(doing))?;
    sync_folder(dir)
}

fn empty_folder(path: &Path) -> Result<(), SpoolError> {
    let doing = "removing unfinished drafts";
    for entry in std::fs::read_dir(path).map_err(SpoolError::io(doing))? {
        let entry = entry.map_err(SpoolError::io(doing))?;
        std::fs::remove_file(entry.path()).map_err(SpoolError::io(doing))?;
    }
    Ok(())
}
