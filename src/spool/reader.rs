//! Reading sealed files.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};

use super::disk::DiskFile;
use super::error::{Damage, SpoolError};
use super::format::{CHUNK_BYTES, CONTEXT_BYTES, END_BYTES, END_PLAIN_BYTES, End, HEADER_BYTES, Header, MANIFEST_MAX_BYTES};
use super::name::Name;
use super::{Inner, Spool};
use crate::media::source::Source;
use crate::seal::aead::{Part, StreamOpener, TAG_BYTES};

impl Spool {
    /// Opens the payload of a file.
    ///
    /// # Errors
    /// [`SpoolError::Missing`], [`SpoolError::Damaged`], and errors of the disk.
    pub fn payload(&self, name: impl Into<Name>) -> Result<PayloadReader, SpoolError> {
        Ok(PayloadReader::new(self.0.open_file(name.into())?))
    }

    /// The payload of a file, to be read at any place.
    ///
    /// # Errors
    /// As for [`Spool::payload`].
    pub fn read_at_any_place(&self, name: impl Into<Name>) -> Result<ReadBack, SpoolError> {
        let Opened { file, opener, chunk_bytes, end } = self.0.open_file(name.into())?;
        let seen = RefCell::default();
        Ok(ReadBack { file, opener, chunk_bytes, chunks: end.chunks, payload_bytes: end.payload_bytes, seen })
    }

    /// The manifest of a file. Of the file only its two ends are read.
    ///
    /// # Errors
    /// As for [`Spool::payload`].
    pub fn manifest(&self, name: impl Into<Name>) -> Result<Vec<u8>, SpoolError> {
        self.0.open_file(name.into())?.manifest()
    }

    /// Whether there is such a file; nothing of it is read.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn has(&self, name: impl Into<Name>) -> Result<bool, SpoolError> {
        self.0.disk.exists(&self.0.live_path(name.into())).map_err(SpoolError::io("looking for a sealed file"))
    }
}

/// A file whose header and end were found true.
pub(super) struct Opened {
    file: Box<dyn DiskFile>,
    opener: StreamOpener,
    chunk_bytes: u32,
    end: End,
}

impl Inner {
    pub(super) fn open_file(&self, name: Name) -> Result<Opened, SpoolError> {
        self.refuse_if_doubtful(name)?;
        let file = self.disk.open(&self.live_path(name)).map_err(SpoolError::io("opening a sealed file"))?;
        let file_bytes = file.size_bytes().map_err(|e| unreadable(&e))?;
        let mut bytes = [0; HEADER_BYTES];
        read_at(&*file, &mut bytes, 0)?;
        let (header, key) = Header::decode(&bytes, self.kek_id, &self.wrap_key)?;
        if header.name != name {
            return Err(Damage::Misnamed.into());
        }
        let opener = StreamOpener::new(&key, header.prefix, bytes.get(..CONTEXT_BYTES).unwrap_or_default())?;
        let mut bytes = [0; END_BYTES];
        read_at(&*file, &mut bytes, file_bytes.checked_sub(END_BYTES as u64).ok_or(Damage::Torn)?)?;
        let end = End::decode(&bytes, header.chunk_bytes, file_bytes)?;
        let (plain, tag) = bytes.split_at_mut(END_PLAIN_BYTES);
        let number = end.chunks.checked_add(1).ok_or(Damage::Altered)?;
        opener.open(number, Part::End, plain, tag)?;
        Ok(Opened { file, opener, chunk_bytes: header.chunk_bytes, end })
    }
}

impl Opened {
    fn manifest(&self) -> Result<Vec<u8>, SpoolError> {
        let length = usize::try_from(self.end.manifest_bytes).map_err(|_| SpoolError::TooLong)?;
        if length > MANIFEST_MAX_BYTES {
            return Err(Damage::Altered.into());
        }
        let mut bytes = vec![0; length + TAG_BYTES];
        read_at(&*self.file, &mut bytes, self.end.manifest_at().ok_or(Damage::Altered)?)?;
        self.opener.open(self.end.chunks, Part::Appendix, b"", &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn unreadable(error: &io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Damage::Torn.into(),
        _ => Damage::Unreadable(error.into()).into(),
    }
}

fn read_at(file: &dyn DiskFile, bytes: &mut [u8], at: u64) -> Result<(), SpoolError> {
    file.read_at(bytes, at).map_err(|e| unreadable(&e))
}

/// The payload of a sealed file, in order. Every byte it gives was authenticated; the end is only
/// told where it is the true end.
pub struct PayloadReader {
    opened: Opened,
    next: u32,
    at: u64,
    /// One chunk as it was read; opened where it lies.
    buffer: Vec<u8>,
    /// What of the buffer was not given yet.
    from: usize,
    until: usize,
}

impl PayloadReader {
    fn new(opened: Opened) -> Self {
        Self { opened, next: 0, at: HEADER_BYTES as u64, buffer: Vec::new(), from: 0, until: 0 }
    }

    /// Plain bytes of the whole payload.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.opened.end.payload_bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rest of the current chunk, or else the next one, without a copy; empty at the end.
    /// Does not combine with [`BufRead::fill_buf`], which needs [`BufRead::consume`].
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] where the bytes are not what was sealed.
    pub fn fill_chunk(&mut self) -> Result<&[u8], SpoolError> {
        self.open_next_if_empty()?;
        let chunk = self.buffer.get(self.from..self.until).unwrap_or_default();
        self.from = self.until;
        Ok(chunk)
    }

    fn open_next_if_empty(&mut self) -> Result<(), SpoolError> {
        let Opened { file, opener, chunk_bytes, end } = &self.opened;
        if self.from < self.until || self.next == end.chunks {
            return Ok(());
        }
        let is_last = self.next.checked_add(1) == Some(end.chunks);
        let chunk =
            if is_last { end.payload_bytes - u64::from(self.next) * u64::from(*chunk_bytes) } else { u64::from(*chunk_bytes) };
        let length = usize::try_from(chunk).map_err(|_| SpoolError::TooLong)?;
        self.buffer.resize(length + TAG_BYTES, 0);
        read_at(&**file, &mut self.buffer, self.at)?;
        let part = if is_last { Part::Last } else { Part::Chunk };
        opener.open(self.next, part, b"", &mut self.buffer)?;
        self.at += chunk + TAG_BYTES as u64;
        self.next += 1;
        (self.from, self.until) = (0, length);
        if is_last {
            // A payload is read once, by the sender. Its pages make room for the next photo's: a
            // queue drains through the same few megabytes instead of filling the machine's cache
            // (on a machine with fresh memory that saves a sixth of a photo's processor time).
            file.give_back_memory();
        }
        Ok(())
    }
}

impl BufRead for PayloadReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.open_next_if_empty()?;
        Ok(self.buffer.get(self.from..self.until).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.from = self.until.min(self.from.saturating_add(amount));
    }
}

impl Read for PayloadReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let length = ready.read(out)?;
        self.consume(length);
        Ok(length)
    }

    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let before = out.len();
        out.reserve(usize::try_from(self.len()).unwrap_or(0));
        loop {
            let chunk = self.fill_chunk()?;
            if chunk.is_empty() {
                return Ok(out.len() - before);
            }
            out.extend_from_slice(chunk);
        }
    }
}

/// Chunks that are held open while it is read: who goes through an index reads here and
/// there, who goes through a film reads across the border of two.
const OPEN_CHUNKS: usize = 4;

/// The payload of a draft or of a sealed file, read at any place. Every byte it gives was authenticated.
pub struct ReadBack {
    file: Box<dyn DiskFile>,
    opener: StreamOpener,
    chunk_bytes: u32,
    chunks: u32,
    payload_bytes: u64,
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The one that was used last stands last.
    open: Vec<(u32, Vec<u8>)>,
    failed: Option<SpoolError>,
}

impl ReadBack {
    pub(super) fn new(file: Box<dyn DiskFile>, opener: StreamOpener, chunks: u32, payload_bytes: u64) -> Self {
        Self { file, opener, chunk_bytes: CHUNK_BYTES, chunks, payload_bytes, seen: RefCell::default() }
    }

    /// What the disk did not give, if anything: who was told that the file cannot be read asks here
    /// whether the file or the disk is to blame.
    #[must_use]
    pub fn failure(&self) -> Option<SpoolError> {
        self.seen.borrow().failed
    }

    /// Copies from chunk `number` on, as far as that chunk goes; tells how much it was.
    fn copy(&self, number: u32, from: usize, into: &mut [u8]) -> Result<usize, SpoolError> {
        let seen = &mut *self.seen.borrow_mut();
        if let Some(at) = seen.open.iter().position(|(n, _)| *n == number) {
            seen.open.get_mut(at..).unwrap_or_default().rotate_left(1);
        } else {
            let mut buffer = if seen.open.len() < OPEN_CHUNKS { Vec::new() } else { seen.open.remove(0).1 };
            self.open(number, &mut buffer)?;
            seen.open.push((number, buffer));
        }
        let chunk = seen.open.last().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        let rest = chunk.get(from..).unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }

    fn open(&self, number: u32, buffer: &mut Vec<u8>) -> Result<(), SpoolError> {
        let (place, whole) = (u64::from(number), u64::from(self.chunk_bytes));
        let is_last = number.checked_add(1) == Some(self.chunks);
        let length = if is_last { self.payload_bytes.saturating_sub(place * whole) } else { whole };
        let length = usize::try_from(length).map_err(|_| SpoolError::TooLong)?;
        buffer.resize(length + TAG_BYTES, 0);
        read_at(&*self.file, buffer, HEADER_BYTES as u64 + place * (whole + TAG_BYTES as u64))?;
        let part = if is_last { Part::Last } else { Part::Chunk };
        self.opener.open(number, part, b"", buffer)?;
        buffer.truncate(length);
        Ok(())
    }
}

impl Source for ReadBack {
    fn length_bytes(&self) -> u64 {
        self.payload_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.payload_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut at, mut into) = (at, into);
        while !into.is_empty() {
            let number = u32::try_from(at / u64::from(self.chunk_bytes)).map_err(io::Error::other)?;
            let from = usize::try_from(at % u64::from(self.chunk_bytes)).map_err(io::Error::other)?;
            let length = self.copy(number, from, into).inspect_err(|error| {
                self.seen.borrow_mut().failed.get_or_insert(*error);
            })?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += length as u64;
            into = into.get_mut(length..).unwrap_or_default();
        }
        Ok(())
    }
}
