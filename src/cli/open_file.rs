//! A file that is read at any place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::media::sniff::HEAD_BYTES;
use crate::media::source::Source;
use crate::media::{Sniffed, sniff};

pub struct OpenFile {
    file: File,
    length_bytes: u64,
}

impl OpenFile {
    /// # Errors
    /// As the file system says.
    pub fn new(file: File) -> io::Result<Self> {
        let length_bytes = file.metadata()?.len();
        Ok(Self { file, length_bytes })
    }
}

/// What a file is; `None` of a pipe, which has no places, and of an empty one.
pub fn kind_of(file: &File) -> Option<Sniffed> {
    let mut head = [0; HEAD_BYTES];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    head.get(..length).filter(|head| !head.is_empty()).map(sniff)
}

impl Source for OpenFile {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}
