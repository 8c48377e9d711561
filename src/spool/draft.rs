//! A file before its promise: sealed while it is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Spool;
use super::disk::{Disk, DiskFile};
use super::error::SpoolError;
use super::format::{CHUNK_BYTES, CONTEXT_BYTES, END_BYTES, End, HEADER_BYTES, Header, MANIFEST_MAX_BYTES};
use super::name::Name;
use crate::seal::aead::{DataKey, Part, StreamSealer, TAG_BYTES};
use crate::seal::random::random;

/// Sealed chunks that go to the disk in one write: with more a photo costs a little less (measured
/// with 3.5 MB: writes of 64 KiB cost 2.0 ms each photo, of 256 KiB 1.3 ms), but a hundred phones
/// at once cost too much memory.
const WRITE_CHUNKS: usize = 2;
/// Room for the header in front, and behind for the manifest and the end, so that a usual file
/// ends without another allocation.
const BUFFER_BYTES: usize = WRITE_CHUNKS * (CHUNK_BYTES as usize + TAG_BYTES) + HEADER_BYTES + 8 * 1024;

/// A temporary file that goes when it is dropped.
struct Temporary {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    placed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is removed when the spool is opened again.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// A sealed file that grows. Dropped, it leaves nothing.
pub struct Draft {
    name: Name,
    temporary: Temporary,
    file: Box<dyn DiskFile>,
    sealer: StreamSealer,
    /// Sealed bytes that were not written yet; behind them, from `start`, the chunk that fills.
    buffer: Vec<u8>,
    start: usize,
    chunks: u32,
    payload_bytes: u64,
    broken: bool,
}

/// A sealed file that is complete and not yet synced. Dropped, it leaves nothing.
pub struct Finished {
    name: Name,
    temporary: Temporary,
    file: Box<dyn DiskFile>,
}

impl Spool {
    /// Begins a file.
    ///
    /// # Errors
    /// [`SpoolError::Unsound`] while the disk is not to be trusted, and errors of the disk.
    pub fn draft(&self, name: impl Into<Name>) -> Result<Draft, SpoolError> {
        let (name, spool) = (name.into(), Arc::clone(&self.0));
        spool.refuse_if_unsound()?;
        let key = DataKey::random().map_err(|_| SpoolError::NoRandom)?;
        let prefix = random().map_err(|_| SpoolError::NoRandom)?;
        let header = Header { name, chunk_bytes: CHUNK_BYTES, kek_id: spool.kek_id, prefix };
        let header = header.encode(&key, &spool.wrap_key)?;
        let sealer = StreamSealer::new(&key, prefix, header.get(..CONTEXT_BYTES).unwrap_or_default())?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(&header);
        let path = spool.draft_path(&name.to_string());
        let file = spool.disk.create(&path).map_err(SpoolError::io("beginning a sealed file"))?;
        let temporary = Temporary { disk: Arc::clone(&spool.disk), path, placed: false };
        Ok(Draft { name, temporary, file, sealer, start: buffer.len(), buffer, chunks: 0, payload_bytes: 0, broken: false })
    }
}

impl Draft {
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// Plain bytes taken so far.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Appends to the payload. Bytes reach the disk sealed, a chunk at a time.
    ///
    /// # Errors
    /// Errors of the disk; the draft cannot be finished after one.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        if self.broken {
            return Err(SpoolError::Broken);
        }
        while !bytes.is_empty() {
            // A full chunk waits until it is known whether another follows.
            if self.buffer.len() - self.start == CHUNK_BYTES as usize {
                self.seal_chunk(Part::Chunk)?;
                if self.start >= WRITE_CHUNKS * CHUNK_BYTES as usize {
                    self.write_buffer()?;
                }
            }
            let room = CHUNK_BYTES as usize - (self.buffer.len() - self.start);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            self.payload_bytes += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the file: last chunk, `manifest`, end. Nothing is synced yet: [`Spool::promise`].
    ///
    /// # Errors
    /// [`SpoolError::TooLong`] for a manifest over 4 MiB, and errors of the disk.
    pub fn finish(mut self, manifest: &[u8]) -> Result<Finished, SpoolError> {
        if self.broken {
            return Err(SpoolError::Broken);
        }
        if manifest.len() > MANIFEST_MAX_BYTES {
            return Err(SpoolError::TooLong);
        }
        self.seal_chunk(Part::Last)?;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(manifest);
        let tag = self.sealer.seal(Part::Appendix, b"", self.buffer.get_mut(start..).unwrap_or_default())?;
        self.buffer.extend_from_slice(&tag);
        let manifest_bytes = u32::try_from(manifest.len()).map_err(|_| SpoolError::TooLong)?;
        let end = End { payload_bytes: self.payload_bytes, manifest_bytes, chunks: self.chunks }.encode();
        let tag = self.sealer.seal(Part::End, &end, &mut [])?;
        self.buffer.reserve(END_BYTES);
        self.buffer.extend_from_slice(&end);
        self.buffer.extend_from_slice(&tag);
        self.write_buffer()?;
        Ok(Finished { name: self.name, temporary: self.temporary, file: self.file })
    }

    /// Seals what stands in the buffer from `start`, where it stands.
    fn seal_chunk(&mut self, part: Part) -> Result<(), SpoolError> {
        let chunk = self.buffer.get_mut(self.start..).unwrap_or_default();
        let tag = self.sealer.seal(part, b"", chunk)?;
        self.buffer.extend_from_slice(&tag);
        self.start = self.buffer.len();
        self.chunks = self.chunks.checked_add(1).ok_or(SpoolError::TooLong)?;
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<(), SpoolError> {
        let written = self.file.append(&self.buffer);
        self.broken = written.is_err();
        self.buffer.clear();
        self.start = 0;
        written.map_err(SpoolError::io("writing a sealed file"))
    }
}

impl Finished {
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// Makes the bytes durable; their name is not yet.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }

    /// Gives the file its place. After this a drop leaves it there.
    pub(super) fn place(&mut self, path: &Path) -> std::io::Result<()> {
        self.temporary.disk.rename(&self.temporary.path, path)?;
        self.temporary.placed = true;
        Ok(())
    }
}
