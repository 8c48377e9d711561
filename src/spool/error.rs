//! What can be wrong with a spool.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::store::Cause;

/// Carries no path and no patient data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolError {
    /// Another process owns the folder.
    Locked,
    /// The folder has a format this gateway does not know.
    Newer(u16),
    /// There is no such file.
    Missing,
    /// A file of this name was promised already.
    Exists,
    /// The disk is full, or would be under the limit.
    Full,
    /// A sync failed: what it should have made durable is not acknowledged, and never will be.
    NotDurable(Cause),
    /// A former sync failed and no probe has succeeded since.
    Unsound,
    /// A manifest longer than the format allows, or a payload longer than it can number.
    TooLong,
    /// A write of this draft failed before: it cannot be finished.
    Broken,
    Damaged(Damage),
    NoRandom,
    Io {
        doing: &'static str,
        why: Cause,
    },
}

/// What is wrong with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The name is none of ours.
    Foreign,
    /// It does not begin as a sealed file does.
    NotSealed,
    /// Sealed in a newer format.
    Newer(u16),
    /// Its end is missing.
    Torn,
    /// Sealed under another key; its id.
    OtherKey([u8; 8]),
    /// Its data key was destroyed on purpose.
    Erased,
    /// Bytes were changed, moved or exchanged.
    Altered,
    /// It is the file of another item.
    Misnamed,
    /// The disk does not give it.
    Unreadable(Cause),
}

impl SpoolError {
    /// For `map_err`: what an error of the system means while `doing` something.
    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |e| match e.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { doing, why: (&e).into() },
        }
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process owns the spool; stop it, or give this gateway a folder of its own"),
            Self::Newer(found) => {
                write!(f, "the spool has format {found}, which this version does not know; run the newer version")
            }
            Self::Missing => f.write_str("there is no such file in the spool"),
            Self::Exists => f.write_str("the spool has a file of this name already"),
            Self::Full => f.write_str("the disk of the spool has too little free space; make room"),
            Self::NotDurable(why) => {
                write!(f, "the disk did not confirm a write ({why}); nothing was acknowledged; look at the disk")
            }
            Self::Unsound => f.write_str("an earlier write was not confirmed by the disk; nothing is accepted until a probe is"),
            Self::TooLong => f.write_str("longer than a sealed file can be"),
            Self::Broken => f.write_str("an earlier write of this file failed"),
            Self::Damaged(damage) => damage.fmt(f),
            Self::NoRandom => f.write_str("the operating system gave no random bytes"),
            Self::Io { doing, why } => write!(f, "{doing} failed: {why}"),
        }
    }
}

impl std::error::Error for SpoolError {}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("a file that no gateway wrote; take it out of the spool"),
            Self::NotSealed => f.write_str("not a sealed file"),
            Self::Newer(found) => write!(f, "sealed in format {found}, which this version does not know; run the newer version"),
            Self::Torn => f.write_str("the end of the sealed file is missing"),
            Self::OtherKey(id) => {
                write!(f, "sealed under the key {}; bring that key back", crate::seal::digest::hex(id))
            }
            Self::Erased => f.write_str("its key was destroyed: it was erased"),
            Self::Altered => f.write_str("the sealed bytes were changed"),
            Self::Misnamed => f.write_str("the file of another item stands under this name"),
            Self::Unreadable(why) => write!(f, "the disk does not give it: {why}"),
        }
    }
}

impl From<SpoolError> for io::Error {
    fn from(error: SpoolError) -> Self {
        let kind = match error {
            SpoolError::Io { why, .. } | SpoolError::NotDurable(why) => why.kind,
            SpoolError::Full => ErrorKind::StorageFull,
            SpoolError::Missing => ErrorKind::NotFound,
            _ => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
