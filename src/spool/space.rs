//! Room on the disk. Acceptance refuses before the disk is full; what was promised goes on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::SpoolError;
use super::{Inner, Spool};

/// What must stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeMin {
    /// Of the whole disk.
    Percent(u8),
    Bytes(u64),
}

/// The disk of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub total_bytes: u64,
    /// What the gateway may still write.
    pub free_bytes: u64,
}

/// Room set aside; dropped, it is given back.
#[must_use]
pub struct Reservation {
    spool: Arc<Inner>,
    bytes: u64,
}

/// Room that is taken while there is plenty, and given back when others have filled the disk: with
/// it what was promised is still forwarded, noted in the journal, and erased. A hundred thousand
/// outcomes fit.
const BALLAST_MAX_BYTES: u64 = 64 << 20;
/// Names that must stay free, where a file system counts them: what was promised needs a few for its
/// attachments. Of a small one a hundredth.
const NAMES_FREE_MIN: u64 = 1_000;
/// On a small disk no more than this part of it.
const BALLAST_SHARE: u64 = 64;

impl Spool {
    /// Takes the ballast where there is room for it several times over beyond what must stay free,
    /// and gives it up when less is free than its own size. To be called from time to time; what
    /// fails is tried again.
    pub fn keep_ballast(&self) {
        let inner = &*self.0;
        let Ok(capacity) = self.capacity() else { return };
        let ballast_bytes = ballast_bytes(capacity);
        let is_there = inner.disk.exists(&inner.ballast).unwrap_or(false);
        let plenty_bytes = inner.free_min_bytes(capacity).saturating_add(4 * ballast_bytes);
        // Errors are those of a disk that is full or broken; others see them too.
        if is_there && capacity.free_bytes < ballast_bytes {
            let _ = inner.disk.remove(&inner.ballast);
        } else if !is_there && capacity.free_bytes > plenty_bytes {
            let _ = inner.disk.allocate(&inner.ballast, ballast_bytes);
        }
    }

    /// # Errors
    /// [`SpoolError::Io`] where the file system does not tell.
    pub fn capacity(&self) -> Result<Capacity, SpoolError> {
        self.0.disk.capacity(&self.0.live).map_err(SpoolError::io("asking for free space"))
    }

    /// Sets `bytes` aside for a request, which holds them until it is answered. What such a request
    /// has written already counts twice meanwhile: rather too early than too late.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where less than the configured minimum would stay free.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, SpoolError> {
        let capacity = self.capacity()?;
        let free_min_bytes = self.0.free_min_bytes(capacity);
        let reservation = Reservation { spool: Arc::clone(&self.0), bytes };
        let others = self.0.reserved_bytes.fetch_add(bytes, Ordering::SeqCst);
        let wanted = others.saturating_add(bytes).saturating_add(free_min_bytes);
        if wanted > capacity.free_bytes { Err(SpoolError::Full) } else { Ok(reservation) }
    }

    /// For what is made of what was promised: it may take the room that acceptance leaves free, all but
    /// twice the ballast, lest everything else stand still while it grows.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where `bytes` more would take that too.
    pub fn spare(&self, bytes: u64) -> Result<(), SpoolError> {
        let capacity = self.capacity()?;
        let left = capacity.free_bytes.saturating_sub(bytes);
        if left < 2 * ballast_bytes(capacity) { Err(SpoolError::Full) } else { Ok(()) }
    }
}

fn ballast_bytes(capacity: Capacity) -> u64 {
    BALLAST_MAX_BYTES.min(capacity.total_bytes / BALLAST_SHARE)
}

impl Inner {
    fn free_min_bytes(&self, capacity: Capacity) -> u64 {
        match self.options.free_min {
            FreeMin::Percent(percent) => capacity.total_bytes / 100 * u64::from(percent),
            FreeMin::Bytes(bytes) => bytes,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.spool.reserved_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// Of the disk that `path` is on.
///
/// # Errors
/// Where the file system does not tell.
pub fn capacity_of(path: &Path) -> io::Result<Capacity> {
    let disk = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    // Some file systems run out of names before they run out of bytes; those that do not count
    // names answer 0 of 0.
    let is_out_of_names = disk.f_files > 0 && disk.f_favail < NAMES_FREE_MIN.min(disk.f_files / 100);
    let free_bytes = if is_out_of_names { 0 } else { bytes(disk.f_bavail) };
    Ok(Capacity { total_bytes: bytes(disk.f_blocks), free_bytes })
}
