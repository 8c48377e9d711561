//! Whether an audit file is what was written.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::head::{BadHead, Seal};
use super::line::{FIRST_PREV, Head, LINE_MAX_BYTES, Line};
use crate::store::Cause;

/// The file is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub lines: u64,
    /// Hash of the last line: what a witness elsewhere may have kept.
    pub head: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// The first line, counted from 1, that is not what was written there.
    Line {
        number: u64,
        why: &'static str,
    },
    /// There is no head to hold the file against.
    Head(&'static str),
    Io(Cause),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { number, why } => write!(f, "line {number} of the audit file {why}; keep the file as evidence"),
            Self::Head(why) => write!(f, "the .head beside the audit file {why}; keep both files as evidence"),
            Self::Io(why) => write!(f, "the audit file cannot be read: {why}"),
        }
    }
}

impl std::error::Error for VerifyError {}

/// Checks every line of the file at `path` and its place in the chain, and holds the chain against
/// its signed head: a line that was changed, moved, left out or slipped in, an end that was cut off,
/// a chain that was written anew. What cannot be seen is that file and head were both put back as
/// they were earlier: for that the head is to be kept elsewhere, too.
///
/// # Errors
/// [`VerifyError::Line`] names the first bad line.
pub fn verify(path: &Path, seal: &Seal) -> Result<Verified, VerifyError> {
    let io_error = |e: std::io::Error| VerifyError::Io((&e).into());
    // Before the file: a running gateway adds lines.
    let signed = seal.read(path).map_err(|bad| match bad {
        BadHead::Missing => VerifyError::Head("is missing"),
        BadHead::Changed => VerifyError::Head("was changed, or was signed under another key"),
        BadHead::Newer(_) => VerifyError::Head("was written by a newer version"),
        BadHead::Io(why) => VerifyError::Io(why),
    })?;
    let mut reader = BufReader::new(File::open(path).map_err(io_error)?);
    let mut last = Head { seq: 0, hash: FIRST_PREV.to_owned() };
    let mut text = Vec::new();
    loop {
        text.clear();
        // One byte more than a line may have tells a longer one.
        let mut limited = reader.by_ref().take(LINE_MAX_BYTES as u64 + 1);
        if limited.read_until(b'\n', &mut text).map_err(io_error)? == 0 {
            let is_cut = last.seq < signed.seq;
            let why = "is missing: the end of the file was cut off";
            return if is_cut {
                Err(VerifyError::Line { number: last.seq + 1, why })
            } else {
                Ok(Verified { lines: last.seq, head: last.hash })
            };
        }
        last = next(&text, &last).map_err(|why| VerifyError::Line { number: last.seq + 1, why })?;
        if last.seq == signed.seq && last.hash != signed.hash {
            let why = "is not the line that was signed: the chain was written anew";
            return Err(VerifyError::Line { number: last.seq, why });
        }
    }
}

/// The head of the chain behind `text`, where it follows `last`.
fn next(text: &[u8], last: &Head) -> Result<Head, &'static str> {
    let whole = text.strip_suffix(b"\n").ok_or("has no end")?;
    let (line, head) = Line::open(whole).ok_or("was changed: its hash is not its own")?;
    if line.prev != last.hash || line.seq != last.seq + 1 {
        return Err("does not follow the line before it");
    }
    Ok(head)
}
