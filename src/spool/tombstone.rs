//! What is left of an erased capture for a few days: a line that answers a sender who repeats the
//! request. One file a day, sealed line by line; an old file goes whole.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::error::SpoolError;
use super::{Inner, Spool};
use crate::seal::aead::{open_small, seal_small};

/// Days since 1970.
pub type Day = i64;

/// Behind the number of the day, the name of a file.
const SUFFIX: &str = ".erased";
/// What a line is bound to.
const BOUND_TO: &[u8] = b"tombstone";
/// A capture of a thousand items needs half a mebibyte.
const LINE_MAX_BYTES: usize = 4 << 20;
/// Read at once.
const READ_BYTES: usize = 1 << 20;

/// What was buried, and how much of it could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graves {
    pub read: usize,
    pub damaged: usize,
}

impl Inner {
    fn grave(&self, day: Day) -> PathBuf {
        self.erased.join(format!("{day}{SUFFIX}"))
    }
}

impl Spool {
    /// Keeps `bytes` under a day, durably. Call it before the erasure it stands for; more than once
    /// does no harm.
    ///
    /// # Errors
    /// Errors of the disk; what was to be erased should stay then.
    pub fn bury(&self, day: Day, bytes: &[u8]) -> Result<(), SpoolError> {
        let (inner, doing) = (&*self.0, SpoolError::io("keeping what is left of an erased capture"));
        let sealed = seal_small(&inner.tombstone_key, BOUND_TO, bytes)?;
        // Half a line that a power cut left ends here.
        let line = format!("\n{}\n", BASE64.encode(sealed));
        if line.len() > LINE_MAX_BYTES {
            return Err(SpoolError::TooLong);
        }
        let mut named = inner.burying.lock().unwrap_or_else(PoisonError::into_inner);
        let path = inner.grave(day);
        match inner.disk.open_to_write(&path) {
            Ok(file) => {
                file.write_at(line.as_bytes(), file.size_bytes().map_err(&doing)?).map_err(&doing)?;
                file.sync().map_err(|e| inner.not_durable((&e).into()))?;
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut file = inner.disk.create(&path).map_err(&doing)?;
                file.append(line.as_bytes()).map_err(&doing)?;
                file.sync().map_err(|e| inner.not_durable((&e).into()))?;
            }
            Err(e) => return Err(doing(e)),
        }
        // A file that is there may be one whose name was never synced.
        if !named.contains(&day) {
            let synced = inner.disk.open_folder(&inner.erased).and_then(|folder| folder.sync_names());
            synced.map_err(|e| inner.not_durable((&e).into()))?;
            named.insert(day);
        }
        Ok(())
    }

    /// Gives everything that is buried to `found`, in no order. Lines that do not open are counted.
    ///
    /// # Errors
    /// Errors of the disk, and what `found` says.
    pub fn buried<E: From<SpoolError>>(&self, mut found: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Graves, E> {
        let mut graves = Graves::default();
        for (_, path) in self.graves()? {
            self.read_grave(&path, &mut graves, &mut found)?;
        }
        Ok(graves)
    }

    /// Drops what was buried before `day`; how many days that were.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn forget_buried(&self, day: Day) -> Result<usize, SpoolError> {
        let mut named = self.0.burying.lock().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<(Day, PathBuf)> = self.graves()?.into_iter().filter(|(of, _)| *of < day).collect();
        for (day, path) in &old {
            named.remove(day);
            self.0.disk.remove(path).map_err(SpoolError::io("forgetting an erased capture"))?;
        }
        Ok(old.len())
    }

    fn graves(&self) -> Result<Vec<(Day, PathBuf)>, SpoolError> {
        let doing = SpoolError::io("looking for what is left of erased captures");
        let mut graves = Vec::new();
        for name in self.0.disk.names(&self.0.erased).map_err(&doing)? {
            let name = name.map_err(&doing)?;
            let day = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|day| day.parse().ok());
            graves.extend(day.map(|day| (day, self.0.erased.join(name))));
        }
        Ok(graves)
    }

    fn read_grave<E: From<SpoolError>>(
        &self,
        path: &std::path::Path,
        graves: &mut Graves,
        found: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let doing = SpoolError::io("reading what is left of erased captures");
        let file = self.0.disk.open(path).map_err(&doing)?;
        let (mut at, length) = (0, file.size_bytes().map_err(&doing)?);
        let mut line = Vec::new();
        let mut piece = vec![0; READ_BYTES];
        while at < length {
            let now = piece.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            let bytes = piece.get_mut(..now).unwrap_or_default();
            file.read_at(bytes, at).map_err(&doing)?;
            at += now as u64;
            let mut lines = bytes.split(|b| *b == b'\n');
            line.extend_from_slice(lines.next().unwrap_or_default());
            for next in lines {
                self.read_line(&line, graves, found)?;
                line.clear();
                line.extend_from_slice(next);
            }
            // No line of ours: what follows is read as lines again.
            line.truncate(LINE_MAX_BYTES);
        }
        // Half a line was never durable: nothing was erased for it.
        Ok(())
    }

    fn read_line<E: From<SpoolError>>(
        &self,
        line: &[u8],
        graves: &mut Graves,
        found: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.is_empty() {
            return Ok(());
        }
        let opened = BASE64.decode(line).ok().and_then(|sealed| open_small(&self.0.tombstone_key, BOUND_TO, &sealed).ok());
        let Some(bytes) = opened else {
            graves.damaged += 1;
            return Ok(());
        };
        graves.read += 1;
        found(&bytes)
    }
}
