//! Files that appear under their name only when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::seal::digest::{Hasher, hex};

/// Bytes gathered before a write; scrubbed pieces may be small.
const BUFFER_BYTES: usize = 256 * 1024;

/// An output file that is being written. Dropped unfinished, it leaves nothing behind.
pub struct Output {
    file: BufWriter<File>,
    hasher: Hasher,
    part: PathBuf,
    folder: PathBuf,
    number: usize,
    finished: bool,
}

impl Output {
    /// Begins the `number`-th file of `folder`, under a name that no program takes for a picture.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(folder: &Path, number: usize) -> io::Result<Self> {
        let part = folder.join(format!(".shutterbridge-{}-{number}.part", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, hasher: Hasher::new(), part, folder: folder.to_owned(), number, finished: false })
    }

    /// Gives the file its name: its number and the beginning of its digest, and nothing of the
    /// name that the sender gave it, which may be a patient's.
    ///
    /// # Errors
    /// As the file system says.
    pub fn finish(mut self, extension: &str) -> io::Result<PathBuf> {
        self.file.flush()?;
        let digest = hex(&std::mem::take(&mut self.hasher).finish());
        let path = self.folder.join(format!("{}-{}.{extension}", self.number, digest.get(..16).unwrap_or(&digest)));
        fs::rename(&self.part, &path)?;
        self.finished = true;
        Ok(path)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.part);
        }
    }
}
