//! The disk as the spool uses it: a few verbs, of which each says what is durable behind it.
//!
//! Only `sync` and `sync_names` make anything durable. Everything else may be lost, torn or kept
//! when the power goes, in any order.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, fadvise};

use super::space::{Capacity, capacity_of};
use crate::store::folder;

/// Files of the spool: nobody but the gateway reads them.
const FILE_MODE: u32 = 0o600;

/// The names in a folder, in no order.
pub type Names = Box<dyn Iterator<Item = io::Result<OsString>>>;

/// Where a spool lies. Called from many threads.
///
/// Errors are those of the system, with its kinds: `NotFound`, `StorageFull` and so on.
pub trait Disk: Send + Sync {
    /// Makes a folder with all that is missing above it, durably.
    ///
    /// # Errors
    /// Of the system; so in all.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock file at `path`, which is made where it is missing, until the answer is dropped.
    ///
    /// # Errors
    /// `WouldBlock` where somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// # Errors
    /// As for [`Disk::make_folder`].
    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>>;

    /// # Errors
    /// As for [`Disk::make_folder`].
    fn names(&self, folder: &Path) -> io::Result<Names>;

    /// # Errors
    /// As for [`Disk::make_folder`].
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// A new, empty file to append to.
    ///
    /// # Errors
    /// `AlreadyExists`.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file to read.
    ///
    /// # Errors
    /// As for [`Disk::make_folder`].
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file to write into.
    ///
    /// # Errors
    /// As for [`Disk::make_folder`].
    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Replaces what stands at `to`.
    ///
    /// # Errors
    /// As for [`Disk::make_folder`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// # Errors
    /// As for [`Disk::make_folder`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// # Errors
    /// As for [`Disk::make_folder`].
    fn capacity(&self, path: &Path) -> io::Result<Capacity>;

    /// Makes a file of so many bytes that nobody writes: its room is taken. Disks that are not real
    /// need none.
    ///
    /// # Errors
    /// As for [`Disk::make_folder`].
    fn allocate(&self, _path: &Path, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// # Errors
    /// Of the system; so in all.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Fills `bytes`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;

    /// # Errors
    /// As for [`DiskFile::size_bytes`].
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// # Errors
    /// As for [`DiskFile::size_bytes`].
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Cuts what stands behind `bytes`. The default cannot: only films are written over.
    ///
    /// # Errors
    /// As for [`DiskFile::size_bytes`].
    fn cut(&self, _bytes: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Makes contents and length durable; the name is not.
    ///
    /// # Errors
    /// What was not durable then is not made so by another call that succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Nobody reads this file soon: its pages may serve for another. Only advice.
    fn give_back_memory(&self) {}
}

/// An open folder.
pub trait DiskFolder: Send + Sync {
    /// Makes the names in it durable.
    ///
    /// # Errors
    /// As for [`DiskFile::sync`].
    fn sync_names(&self) -> io::Result<()>;
}

/// The disks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        folder::make(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn DiskFolder>> {
        Ok(Box::new(File::open(path)?))
    }

    fn names(&self, folder: &Path) -> io::Result<Names> {
        Ok(Box::new(fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name()))))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn capacity(&self, path: &Path) -> io::Result<Capacity> {
        capacity_of(path)
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        let allocated = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
        if allocated.is_err() {
            fs::remove_file(path)?;
        }
        Ok(allocated?)
    }
}

impl DiskFile for File {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn give_back_memory(&self) {
        // Where it is not taken, nothing is lost.
        let _ = fadvise(self, 0, None, Advice::DontNeed);
    }
}

impl DiskFolder for File {
    fn sync_names(&self) -> io::Result<()> {
        folder::sync_names(self)
    }
}
