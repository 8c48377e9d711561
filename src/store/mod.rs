//! Typed tables on an engine.
//!
//! Owns: the port [`Store`], its adapters, [`Table`], what a durable commit is; the only room that
//! names sled.
//! Never: knows what a row means. Keys stand in clear on the disk: callers pass ids and hashes.

pub mod cause;
pub mod folder;
pub mod group;
pub mod memory;
pub mod sled;
pub mod table;
pub mod version;

use std::fmt;

pub use cause::Cause;
pub use table::{Key, Table};

/// Longest key, bytes: a prefix, two digests and an id, with room to spare.
pub const KEY_MAX_BYTES: usize = 128;
/// Longest value, bytes: the largest record (each of many items with its history) is far below.
pub const VALUE_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Rows in the order of their keys. Every method may be called from any thread.
pub trait Store: Send + Sync {
    /// # Errors
    /// [`StoreError`] where the row cannot be read; never an empty answer instead.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` rows from `from` on, before `until`, ascending.
    ///
    /// # Errors
    /// As for [`Store::get`].
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The last row from `from` on that stands before `until`.
    ///
    /// # Errors
    /// As for [`Store::get`].
    fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Applies the whole batch or nothing; durable when it returns. Callers share flushes.
    ///
    /// # Errors
    /// [`StoreError::NotDurable`] where the disk did not confirm: nothing may be acknowledged, and
    /// nothing is taken until [`Store::health`] mended it.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// False from the first commit that the disk did not confirm until the store was mended: what
    /// it shows may then not be what is on the disk. Costs nothing.
    fn is_sound(&self) -> bool {
        true
    }

    /// Mends a store that is not sound, by writing it anew: to be called from time to time. It
    /// costs nothing while all is well.
    ///
    /// # Errors
    /// [`StoreError`] where the disk still does not take it.
    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Notes that what is stored here is damaged, where its reader sees that first: from then on
    /// [`Store::health`] says [`StoreError::Corrupt`], until [`Store::renew`]. A store that cannot
    /// begin anew takes no note.
    fn condemn(&self, _why: &str) {}

    /// Puts everything aside, for whoever looks into it, and begins empty: for what can be made
    /// anew from elsewhere.
    ///
    /// # Errors
    /// [`StoreError`]; the store is then as it was. Some stores cannot.
    fn renew(&self) -> Result<(), StoreError> {
        Err(StoreError::Unexpected)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// Changes that happen together. The last change of a key counts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(in crate::store) changes: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(in crate::store) struct Change {
    pub key: Vec<u8>,
    /// `None`: delete.
    pub value: Option<Vec<u8>>,
}

impl Batch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change { key, value: Some(value) });
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.push(Change { key, value: None });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Every key and value within the limits.
    fn check(&self) -> Result<(), StoreError> {
        let fits = |c: &Change| {
            let value_bytes = c.value.as_ref().map_or(0, Vec::len);
            !c.key.is_empty() && c.key.len() <= KEY_MAX_BYTES && value_bytes <= VALUE_MAX_BYTES
        };
        if self.changes.iter().all(fits) { Ok(()) } else { Err(StoreError::TooLong) }
    }
}

/// Carries no key, no value and no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Another process has it open.
    Locked,
    /// The engine cannot open it, or found it broken. It can be moved aside and rebuilt.
    Corrupt(String),
    /// A row does not open: altered, or sealed under another key.
    Sealed,
    /// A row is not what its table expects.
    Unexpected,
    /// Written by a newer version.
    Newer(u32),
    /// A commit was not confirmed by the disk, now or before.
    NotDurable,
    TooLong,
    Io(Cause),
    NoRandom,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process has the index open; stop it, or give this gateway a folder of its own"),
            Self::Corrupt(why) => {
                write!(f, "the index is damaged ({why}); move its folder aside and rebuild it from the spool")
            }
            Self::Sealed => f.write_str("a row of the index does not open: it was altered, or the key file is another one"),
            Self::Unexpected => f.write_str("a row of the index cannot be understood; rebuild the index from the spool"),
            Self::Newer(found) => {
                write!(f, "the index has format {found}, which this version does not know; run the newer version")
            }
            Self::NotDurable => f.write_str(
                "the disk did not confirm a write; nothing is accepted until all could be written anew; look at the disk",
            ),
            Self::TooLong => f.write_str("a row is longer than the index takes"),
            Self::NoRandom => f.write_str("the operating system gave no random bytes"),
            Self::Io(why) => write!(f, "the index cannot be read or written: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}
