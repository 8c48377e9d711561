//! Bytes that can be read at any place: a file with an index is not read from front to back.

use std::io;

/// A whole file, as a planner or a verifier sees it.
pub trait Source {
    fn length_bytes(&self) -> u64;

    /// Fills `into` with the bytes that begin at `at`.
    ///
    /// # Errors
    /// Where they cannot be read, or the file ends before.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for &dyn Source {
    fn length_bytes(&self) -> u64 {
        (**self).length_bytes()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
        (**self).read_at(at, into)
    }
}

impl Source for &[u8] {
    fn length_bytes(&self) -> u64 {
        u64::try_from(self.len()).unwrap_or(u64::MAX)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let bytes = rest.and_then(|rest| rest.get(..into.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}
