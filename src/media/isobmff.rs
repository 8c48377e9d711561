//! Boxes of the ISO base media file format, found in a file without reading what they hold.
//!
//! Source: ISO/IEC 14496-12 §4.2.

use std::io;
use std::ops::Range;

use super::Fault;
use super::source::Source;

/// Why a structure cannot be told.
#[derive(Debug)]
pub enum ReadError {
    Source(io::Error),
    Fault(Fault),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One box: `at` is where its header begins, `body` what its header announces, cut at the end of
/// what surrounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxAt {
    pub kind: [u8; 4],
    pub at: u64,
    pub body: Range<u64>,
    /// The header announces more than there is.
    pub is_cut: bool,
}

/// The boxes of `range`, and where the first byte stands that is no box any more: the end of the
/// range, or of what can be read as boxes.
///
/// # Errors
/// More than `boxes_max`, or bytes that cannot be read.
pub fn boxes(source: &dyn Source, range: Range<u64>, boxes_max: u32) -> Result<(Vec<BoxAt>, u64), ReadError> {
    let mut found: Vec<BoxAt> = Vec::new();
    let mut at = range.start;
    while range.end.saturating_sub(at) >= 8 {
        let Some(next) = head(source, at, range.end)? else { break };
        if u32::try_from(found.len()).is_ok_and(|n| n >= boxes_max) {
            return Err(Fault("has more boxes than any camera writes").into());
        }
        at = next.body.end;
        found.push(next);
    }
    Ok((found, at))
}

/// The box at `at`; `None` where the bytes there are no box header.
fn head(source: &dyn Source, at: u64, end: u64) -> io::Result<Option<BoxAt>> {
    let mut start = [0; 8];
    source.read_at(at, &mut start)?;
    let [a, b, c, d, kind @ ..] = start;
    let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (end - at, 8),
        1 if end - at >= 16 => {
            let mut large = [0; 8];
            source.read_at(at + 8, &mut large)?;
            (u64::from_be_bytes(large), 16)
        }
        size => (u64::from(size), 8),
    };
    let is_name = kind.iter().all(|b| (0x20..0x7F).contains(b) || *b == 0xA9);
    if size < header || !is_name {
        return Ok(None);
    }
    let stop = at.saturating_add(size);
    Ok(Some(BoxAt { kind, at, body: at + header..stop.min(end).max(at + header), is_cut: stop > end }))
}

/// The bytes of `range`, where they are at most `bytes_max`.
///
/// # Errors
/// More than that, or bytes that cannot be read.
pub fn bytes_of(source: &dyn Source, range: &Range<u64>, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
    // A declared size never decides what is allocated: it is compared with what is there first.
    let there = range.end.min(source.length_bytes()).saturating_sub(range.start);
    let length = usize::try_from(there).ok().filter(|n| *n <= bytes_max);
    let length = length.ok_or(Fault("has a box that is larger than any camera writes"))?;
    let mut bytes = vec![0; length];
    source.read_at(range.start, &mut bytes)?;
    Ok(bytes)
}

/// Reads the fields of a box that is in memory, from front to back.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b>(pub &'b [u8]);

const ENDS: Fault = Fault("has a box that ends before its fields do");

impl<'b> Fields<'b> {
    /// # Errors
    /// Fewer bytes are left.
    pub fn take(&mut self, length: usize) -> Result<&'b [u8], Fault> {
        let (now, later) = self.0.split_at_checked(length).ok_or(ENDS)?;
        self.0 = later;
        Ok(now)
    }

    /// A number of `width` bytes, at most eight; none are zero.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn number(&mut self, width: usize) -> Result<u64, Fault> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// # Errors
    /// Fewer bytes are left.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.take(1)?.first().copied().ok_or(ENDS)
    }

    /// # Errors
    /// Fewer bytes are left.
    pub fn short(&mut self) -> Result<u16, Fault> {
        self.take(2)?.first_chunk().map(|raw| u16::from_be_bytes(*raw)).ok_or(ENDS)
    }

    /// # Errors
    /// Fewer bytes are left.
    pub fn long(&mut self) -> Result<u32, Fault> {
        self.take(4)?.first_chunk().map(|raw| u32::from_be_bytes(*raw)).ok_or(ENDS)
    }

    /// # Errors
    /// Fewer bytes are left.
    pub fn kind(&mut self) -> Result<[u8; 4], Fault> {
        self.take(4)?.first_chunk().copied().ok_or(ENDS)
    }

    /// Version and flags of a full box (ISO/IEC 14496-12 §4.2).
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn version(&mut self) -> Result<(u8, u32), Fault> {
        let word = self.long()?;
        Ok((word.to_be_bytes()[0], word & 0x00FF_FFFF))
    }

    /// Text up to its NUL, or up to the end.
    pub fn text(&mut self) -> &'b [u8] {
        let length = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }

    /// The next box; `None` at the end.
    ///
    /// # Errors
    /// Bytes that are no box.
    pub fn inner(&mut self) -> Result<Option<([u8; 4], Self)>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let size = usize::try_from(self.long()?).map_err(|_| ENDS)?;
        let kind = self.kind()?;
        let body = size.checked_sub(8).ok_or(ENDS)?;
        Ok(Some((kind, Self(self.take(body)?))))
    }
}

/// Boxes in memory, as many as there are until one is none.
pub fn children(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(move || fields.inner().ok().flatten().map(|(kind, body)| (kind, body.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(file: &[u8]) -> (String, u64) {
        let (found, end) = boxes(&file, 0..file.len() as u64, 10).unwrap();
        let words = found.iter().map(|b| {
            format!(
                "{} {}+{}{}",
                String::from_utf8_lossy(&b.kind),
                b.body.start,
                b.body.end - b.body.start,
                if b.is_cut { " cut" } else { "" }
            )
        });
        (words.collect::<Vec<_>>().join(", "), end)
    }

    #[test]
    fn boxes_are_found_whatever_way_their_size_is_written() {
        let table: [(&[u8], &str, u64); 7] = [
            (b"\0\0\0\x09free!\0\0\0\x08skip", "free 8+1, skip 17+0", 17),
            (b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x12ab", "mdat 16+2", 18),
            (b"\0\0\0\0mdatabc", "mdat 8+3", 11),
            (b"\0\0\0\x20mdatabc", "mdat 8+3 cut", 11),
            (b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xffab", "mdat 16+2 cut", 18),
            (b"\0\0\0\x07free", "", 0),
            (b"\0\0\0\x08free\0\0\0\0\x01\x02\x03\x04tail", "free 8+0", 8),
        ];
        for (file, words, end) in table {
            assert_eq!(walk(file), (words.to_owned(), end), "{file:?}");
        }
    }

    #[test]
    fn a_file_of_headers_alone_is_given_up() {
        let file = b"\0\0\0\x08free".repeat(11);
        assert!(matches!(boxes(&file.as_slice(), 0..88, 10), Err(ReadError::Fault(_))));
        assert!(boxes(&file.as_slice(), 0..88, 11).is_ok());
    }
}
