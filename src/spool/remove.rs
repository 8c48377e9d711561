//! What leaves the spool, and how.

use std::io::ErrorKind;
use std::sync::PoisonError;

use super::error::SpoolError;
use super::format::WRAPPED_AT;
use super::name::Name;
use super::{Inner, Spool};
use crate::capture::CaptureId;
use crate::seal::aead::WRAPPED_BYTES;

impl Spool {
    /// Erases a capture of so many items, and all that is attached to it: the data keys are
    /// overwritten and synced first, the head's first of all, then the files go. A power cut in
    /// between leaves files that nobody can open and that the listing calls orphans, so no folder
    /// is synced here. Erasing what is gone already is no error.
    ///
    /// # Errors
    /// Errors of the disk; call again.
    pub fn remove(&self, capture: CaptureId, items: u16) -> Result<(), SpoolError> {
        let _arranging = self.0.arranging.read().unwrap_or_else(PoisonError::into_inner);
        erase(&self.0, Name::all_of(capture, items))
    }

    /// Erases one attachment in the same way. An item goes with its capture only.
    ///
    /// # Errors
    /// Errors of the disk; call again.
    pub fn detach(&self, attachment: Name) -> Result<(), SpoolError> {
        let attachments = [attachment].into_iter().filter(|n| !matches!(n, Name::Item(_)));
        erase(&self.0, attachments)
    }

    /// Puts a capture of so many items aside, its head last, so that no part of it looks like an
    /// orphan on the way. `reason` is kept beside it in clear: never patient data.
    ///
    /// # Errors
    /// Errors of the disk; call again.
    pub fn quarantine(&self, capture: CaptureId, items: u16, reason: &str) -> Result<(), SpoolError> {
        let names: Vec<Name> = Name::all_of(capture, items).collect();
        self.put_aside(capture, &names, reason)
    }

    /// `names` in the order of a capture, its head first.
    pub(super) fn put_aside(&self, capture: CaptureId, names: &[Name], reason: &str) -> Result<(), SpoolError> {
        let (inner, doing) = (&*self.0, "putting a capture aside");
        let _arranging = inner.arranging.read().unwrap_or_else(PoisonError::into_inner);
        let note = inner.draft_path("reason");
        let mut file = inner.disk.create(&note).map_err(SpoolError::io(doing))?;
        file.append(reason.as_bytes()).map_err(SpoolError::io(doing))?;
        file.sync().map_err(|e| inner.not_durable((&e).into()))?;
        inner.disk.rename(&note, &inner.quarantine.join(format!("{capture}.reason"))).map_err(SpoolError::io(doing))?;
        for name in names.iter().rev() {
            match inner.disk.rename(&inner.live_path(*name), &inner.quarantine.join(name.to_string())) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(SpoolError::io(doing)(e)),
                _ => {}
            }
        }
        let aside = inner.disk.open_folder(&inner.quarantine).and_then(|folder| folder.sync_names());
        aside.map_err(|e| inner.not_durable((&e).into()))?;
        inner.sync_live()
    }
}

/// Destroys keys, then files, in the order given.
pub(super) fn erase(spool: &Inner, names: impl IntoIterator<Item = Name>) -> Result<(), SpoolError> {
    let doing = "erasing a sealed file";
    let mut erased = Vec::new();
    for name in names {
        let path = spool.live_path(name);
        let file = match spool.disk.open_to_write(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(SpoolError::io(doing)(e)),
        };
        file.write_at(&[0; WRAPPED_BYTES], WRAPPED_AT as u64).map_err(SpoolError::io(doing))?;
        file.sync().map_err(|e| spool.not_durable((&e).into()))?;
        erased.push(path);
    }
    for path in erased {
        match spool.disk.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(SpoolError::io(doing)(e)),
            _ => {}
        }
    }
    Ok(())
}
