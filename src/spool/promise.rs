//! The promise line.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::draft::Finished;
use super::error::SpoolError;
use super::name::Name;
use super::remove::erase;
use super::{Inner, Spool};
use crate::store::Cause;

impl Spool {
    /// Makes `finished` durable, contents and names, all or none. After this returned `Ok` the
    /// sender may forget; before, nothing was said.
    ///
    /// The order: each file's bytes are synced; then all files but the heads get their names and the
    /// folder is synced; then the heads (a capture is there exactly where its first item is) and the
    /// folder is synced again. So a power cut finds a capture whole or not at all. A capture of one
    /// item costs one file sync and a share of one folder sync.
    ///
    /// All items of a capture belong into one call. Attachments of many captures may share a call.
    ///
    /// # Errors
    /// Nothing is promised then, and what had its name already loses it, heads first; only an
    /// attachment that replaced an older one stays, and is not read before it was written anew. [`SpoolError::NotDurable`] where the disk did
    /// not confirm: see [`Spool::health`].
    pub fn promise(&self, finished: Vec<Finished>) -> Result<(), SpoolError> {
        let inner = &*self.0;
        let failures = inner.failures();
        inner.refuse_if_unsound()?;
        for file in &finished {
            file.sync().map_err(|e| inner.not_durable((&e).into()))?;
        }
        let (heads, others): (Vec<_>, Vec<_>) = finished.into_iter().partition(|f| f.name().is_head());
        let in_two_steps = !heads.is_empty() && !others.is_empty();
        let _arranging = in_two_steps.then(|| inner.arranging.read().unwrap_or_else(PoisonError::into_inner));
        let mut placed = Vec::with_capacity(heads.len() + others.len());
        let done = place(inner, others, &mut placed, failures).and_then(|()| place(inner, heads, &mut placed, failures));
        match done {
            Ok(()) => inner.doubtful().retain(|name| placed.iter().all(|p| p.name != *name)),
            Err(error) => withdraw(inner, &placed, error),
        }
        done
    }

    /// Seals and promises a small attachment.
    ///
    /// # Errors
    /// As for [`Spool::draft`] and [`Spool::promise`].
    pub fn attach(&self, name: impl Into<Name>, bytes: &[u8]) -> Result<(), SpoolError> {
        let mut draft = self.draft(name)?;
        draft.write(bytes)?;
        self.promise(vec![draft.finish(b"")?])
    }

    /// Whether the disk can be trusted. After a sync that failed nothing is accepted until a fresh
    /// file was written and synced here; call it from time to time, and from the readiness check.
    /// It costs nothing while all is well.
    ///
    /// # Errors
    /// [`SpoolError::NotDurable`], or what stopped the probe.
    pub fn health(&self) -> Result<(), SpoolError> {
        if self.0.is_sound() { Ok(()) } else { self.probe() }
    }

    /// Writes and syncs a fresh file, whether or not the disk was trusted so far: a file system that
    /// went read-only is found before a phone finds it. Lifts or sets the distrust of
    /// [`Spool::health`]; a full disk is told and is no distrust.
    ///
    /// # Errors
    /// As for [`Spool::health`].
    pub fn probe(&self) -> Result<(), SpoolError> {
        let inner = &*self.0;
        let failures = inner.failures();
        let path = inner.draft_path("probe");
        let probed = probe(inner, &path).and_then(|()| renew(inner));
        // What cannot be removed now is removed when the spool is opened again.
        let _ = inner.disk.remove(&path);
        match probed {
            // What failed meanwhile is not outlived.
            Ok(()) => drop(inner.outlived.fetch_max(failures, Ordering::SeqCst)),
            // Counted where it failed.
            Err(SpoolError::Full | SpoolError::NotDurable(_)) => {}
            Err(_) => drop(inner.failures.fetch_add(1, Ordering::SeqCst)),
        }
        probed
    }
}

fn probe(inner: &Inner, path: &Path) -> Result<(), SpoolError> {
    /// A block of most file systems: less might find room where a photo does not.
    const PROBE: [u8; 4096] = [0x5A; 4096];
    let mut file = inner.disk.create(path).map_err(SpoolError::io("writing a probe"))?;
    file.append(&PROBE).map_err(SpoolError::io("writing a probe"))?;
    file.sync().map_err(|e| inner.not_durable((&e).into()))?;
    inner.sync_live()
}

/// One name in `live/`, and whether it was free before.
struct Placed {
    name: Name,
    was_free: bool,
}

/// Gives `files` their names, and makes the names durable. `failures`: how many syncs had failed when
/// their bytes were not synced yet.
fn place(inner: &Inner, files: Vec<Finished>, placed: &mut Vec<Placed>, failures: u64) -> Result<(), SpoolError> {
    if files.is_empty() {
        return Ok(());
    }
    for mut file in files {
        let (name, path) = (file.name(), inner.live_path(file.name()));
        let was_free = !inner.disk.exists(&path).map_err(SpoolError::io("looking at a promised file"))?;
        if matches!(name, Name::Item(_)) && !was_free {
            return Err(SpoolError::Exists);
        }
        file.place(&path).map_err(SpoolError::io("naming a sealed file"))?;
        placed.push(Placed { name, was_free });
    }
    inner.sync_live()?;
    inner.refuse_if_failed_since(failures)
}

/// Takes names back, heads first: a capture that is not promised must not look whole.
fn withdraw(inner: &Inner, placed: &[Placed], error: SpoolError) {
    let (heads, others): (Vec<_>, Vec<_>) = placed.iter().filter(|p| p.was_free).partition(|p| p.name.is_head());
    for place in heads.into_iter().chain(others) {
        // Where even this fails it is tried again with the probe, before anything else is accepted.
        let _ = take_back(inner, place.name);
    }
    inner.doubtful().extend(placed.iter().map(|p| p.name));
    if matches!(error, SpoolError::NotDurable(_) | SpoolError::Unsound) {
        // A probe that came in between knew nothing of these names.
        inner.failures.fetch_add(1, Ordering::SeqCst);
    }
}

/// A name may come back with the power. An item without its key is no capture then; a binding that
/// comes back is a good one, under which nothing was sent.
fn take_back(inner: &Inner, name: Name) -> Result<(), SpoolError> {
    match name {
        Name::Item(_) => erase(inner, [name]),
        Name::Binding(_) | Name::Stopped(_) | Name::Derived(_) | Name::Stills(_) => {
            inner.disk.remove(&inner.live_path(name)).map_err(SpoolError::io("taking back a promise that failed"))
        }
    }
}

/// Ends every doubt. What stays is written anew: another sync of the same names would prove nothing.
fn renew(inner: &Inner) -> Result<(), SpoolError> {
    let names = inner.doubtful().clone();
    for name in &names {
        let path = inner.live_path(*name);
        let done = match name {
            // Nobody was promised it, and its sender may have sent it again since.
            Name::Item(_) => take_back(inner, *name),
            Name::Binding(_) | Name::Stopped(_) | Name::Derived(_) | Name::Stills(_) => renew_file(inner, &path),
        };
        match done {
            // It was withdrawn at once.
            Err(SpoolError::Missing) => {}
            other => other?,
        }
    }
    if !names.is_empty() {
        inner.sync_live()?;
    }
    inner.doubtful().retain(|name| !names.contains(name));
    Ok(())
}

fn renew_file(inner: &Inner, path: &Path) -> Result<(), SpoolError> {
    /// Bounds the memory; most such files are a page.
    const PIECE_BYTES: u64 = 1 << 20;
    let doing = SpoolError::io("writing a sealed file anew");
    let old = inner.disk.open(path).map_err(&doing)?;
    let length = old.size_bytes().map_err(&doing)?;
    let fresh = inner.draft_path("renewed");
    let mut file = inner.disk.create(&fresh).map_err(&doing)?;
    let mut at = 0;
    while at < length {
        let mut piece = vec![0; usize::try_from(PIECE_BYTES.min(length - at)).unwrap_or(0)];
        old.read_at(&mut piece, at).map_err(&doing)?;
        file.append(&piece).map_err(&doing)?;
        at += PIECE_BYTES;
    }
    file.sync().map_err(|e| inner.not_durable((&e).into()))?;
    inner.disk.rename(&fresh, path).map_err(&doing)
}

impl Inner {
    /// Makes the names in `live/` durable that were given before this call; callers share a sync.
    pub(super) fn sync_live(&self) -> Result<(), SpoolError> {
        let synced = self.live_syncs.run((), |waiting| {
            // Counted before the next sync can begin, which may succeed over the same loss.
            let synced = self.live_folder.sync_names().map_err(|e| self.not_durable((&e).into()));
            vec![synced; waiting.len()]
        });
        synced.unwrap_or_else(|_| Err(self.not_durable(Cause { kind: ErrorKind::Other, code: None })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CaptureId;
    use crate::seal::aead::Kek;
    use crate::seal::secret::Secret;

    #[test]
    fn after_a_failed_sync_nothing_is_accepted_until_a_probe_was_synced() {
        let folder = std::env::temp_dir().join(format!("shutterbridge-unsound-{}", std::process::id()));
        let spool = Spool::open(&folder, &Kek::new(Secret::new([1; 32])), super::super::Options::default()).unwrap();
        let item = CaptureId::new(1, [1; 10]).item(0);
        let waiting = spool.draft(item).unwrap().finish(b"").unwrap();
        spool.0.not_durable(Cause { kind: ErrorKind::Other, code: Some(5) });
        assert_eq!(spool.draft(item).map(|_| ()), Err(SpoolError::Unsound));
        assert_eq!(spool.promise(vec![waiting]), Err(SpoolError::Unsound));
        assert_eq!(spool.has(item), Ok(false));
        assert_eq!(spool.health(), Ok(()));
        spool.promise(vec![spool.draft(item).unwrap().finish(b"").unwrap()]).unwrap();
        assert_eq!(std::fs::read_dir(&spool.0.draft).unwrap().count(), 0, "the probe is gone");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
