//! A file before its promise: sealed while it is written.
//!
//! Two ways to begin one. What is scrubbed already is sealed under the key that its header holds,
//! wrapped, from the first write on ([`Spool::draft`]). What is not scrubbed yet, and what was not
//! verified yet, is sealed under a key that only memory knows ([`Spool::unkeyed_draft`]): its header
//! is zeros until it is finished, and a process that dies before has lost the key for good. Bytes
//! as they were received are never finished; they are sealed anew, each chunk in its own place,
//! under another key ([`Spool::reseal`]). So no key ever seals two things under one nonce, and the
//! key that opens a promised file opens nothing of what was there before it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::error::SpoolError;
use super::format::{CHUNK_BYTES, CONTEXT_BYTES, END_BYTES, End, HEADER_BYTES, Header, MANIFEST_MAX_BYTES};
use super::name::Name;
use super::reader::ReadBack;
use super::{Inner, Spool};
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
    /// Held back until the end where the key may not be on the disk before.
    header: Option<Vec<u8>>,
    sealer: StreamSealer,
    /// Sealed bytes that were not written yet; behind them, from `start`, the chunk that fills.
    buffer: Vec<u8>,
    start: usize,
    /// Where the buffer goes; `None`: behind all that the file holds.
    over: Option<u64>,
    chunks: u32,
    payload_bytes: u64,
    /// The last chunk is sealed.
    closed: bool,
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
        let mut draft = self.unkeyed_draft(name)?;
        // In one write with the first chunks.
        if let Some(header) = draft.header.take() {
            draft.buffer.clear();
            draft.buffer.extend_from_slice(&header);
        }
        Ok(draft)
    }

    /// Begins a file that nobody can open before it is finished: its key is in memory alone.
    ///
    /// # Errors
    /// As for [`Spool::draft`].
    pub fn unkeyed_draft(&self, name: impl Into<Name>) -> Result<Draft, SpoolError> {
        let (name, spool) = (name.into(), &*self.0);
        spool.refuse_if_unsound()?;
        let path = spool.draft_path(&name.to_string());
        let file = spool.disk.create(&path).map_err(SpoolError::io("beginning a sealed file"))?;
        let temporary = Temporary { disk: Arc::clone(&spool.disk), path, placed: false };
        let mut draft = Draft::begin(spool, name, temporary, file)?;
        draft.buffer.resize(HEADER_BYTES, 0);
        draft.start = HEADER_BYTES;
        Ok(draft)
    }

    /// Begins a draft anew, over its own bytes, under another key that is in memory alone. What was
    /// read back of it before can still be read, chunk by chunk, as long as it was not written
    /// over: a chunk is, once it was written whole. The old key is gone with the last reader.
    ///
    /// # Errors
    /// [`SpoolError::NoRandom`].
    pub fn reseal(&self, draft: Draft) -> Result<Draft, SpoolError> {
        let draft = Draft::begin(&self.0, draft.name, draft.temporary, draft.file)?;
        Ok(Draft { over: Some(HEADER_BYTES as u64), ..draft })
    }
}

impl Draft {
    /// With a key and a prefix of its own, whatever the file holds.
    fn begin(spool: &Inner, name: Name, temporary: Temporary, file: Box<dyn DiskFile>) -> Result<Self, SpoolError> {
        let key = DataKey::random().map_err(|_| SpoolError::NoRandom)?;
        let prefix = random().map_err(|_| SpoolError::NoRandom)?;
        let header = Header { name, chunk_bytes: CHUNK_BYTES, kek_id: spool.kek_id, prefix };
        let header = header.encode(&key, &spool.wrap_key)?;
        let sealer = StreamSealer::new(&key, prefix, header.get(..CONTEXT_BYTES).unwrap_or_default())?;
        Ok(Self {
            name,
            temporary,
            file,
            header: Some(header),
            sealer,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            start: 0,
            over: None,
            chunks: 0,
            payload_bytes: 0,
            closed: false,
            broken: false,
        })
    }

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
    /// Errors of the disk; the draft cannot be finished after one. [`SpoolError::Broken`] also where
    /// it was read back already.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        if self.broken || self.closed {
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

    /// Ends the payload, and reads it as it lies on the disk, sealed. More cannot be written then.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn read_back(&mut self) -> Result<ReadBack, SpoolError> {
        if self.broken {
            return Err(SpoolError::Broken);
        }
        if !self.closed {
            self.close()?;
            self.write_buffer()?;
        }
        let file = self.temporary.disk.open(&self.temporary.path).map_err(SpoolError::io("reading a draft back"))?;
        Ok(ReadBack::new(file, self.sealer.opener(), self.chunks, self.payload_bytes))
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
        self.close()?;
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
        if let Some(header) = self.header.take() {
            let doing = SpoolError::io("ending a sealed file");
            if let Some(end) = self.over {
                // What was there before may have been longer.
                self.file.cut(end).map_err(&doing)?;
            }
            self.file.write_at(&header, 0).map_err(&doing)?;
        }
        Ok(Finished { name: self.name, temporary: self.temporary, file: self.file })
    }

    /// Seals the last chunk, once.
    fn close(&mut self) -> Result<(), SpoolError> {
        if !self.closed {
            self.seal_chunk(Part::Last)?;
            self.closed = true;
        }
        Ok(())
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
        let written = match &mut self.over {
            None => self.file.append(&self.buffer),
            Some(at) => {
                let place = *at;
                *at = at.saturating_add(self.buffer.len() as u64);
                self.file.write_at(&self.buffer, place)
            }
        };
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
