//! Room on the disk. Acceptance refuses before the disk is full; what was promised goes on.

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

impl Spool {
    /// # Errors
    /// [`SpoolError::Io`] where the file system does not tell.
    pub fn capacity(&self) -> Result<Capacity, SpoolError> {
        capacity_of(&self.0.live)
    }

    /// Sets `bytes` aside for a request, which holds them until it is answered. What such a request
    /// has written already counts twice meanwhile: rather too early than too late.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where less than the configured minimum would stay free.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, SpoolError> {
        let capacity = self.capacity()?;
        let free_min_bytes = match self.0.options.free_min {
            FreeMin::Percent(percent) => capacity.total_bytes / 100 * u64::from(percent),
            FreeMin::Bytes(bytes) => bytes,
        };
        let reservation = Reservation { spool: Arc::clone(&self.0), bytes };
        let others = self.0.reserved_bytes.fetch_add(bytes, Ordering::SeqCst);
        let wanted = others.saturating_add(bytes).saturating_add(free_min_bytes);
        if wanted > capacity.free_bytes { Err(SpoolError::Full) } else { Ok(reservation) }
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
/// [`SpoolError::Io`] where the file system does not tell.
pub fn capacity_of(path: &Path) -> Result<Capacity, SpoolError> {
    let disk = rustix::fs::statvfs(path).map_err(|e| SpoolError::io("asking for free space")(e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    // Some file systems run out of names before they run out of bytes; those that do not count
    // names answer 0 of 0.
    let is_out_of_names = disk.f_files > 0 && disk.f_favail == 0;
    let free_bytes = if is_out_of_names { 0 } else { bytes(disk.f_bavail) };
    Ok(Capacity { total_bytes: bytes(disk.f_blocks), free_bytes })
}
