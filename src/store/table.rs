//! Rows with a type.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Batch, Row, Store, StoreError};
use crate::capture::record::Digest;
use crate::capture::{CaptureId, Uid};

/// What can be a key: bytes whose order is that of the values.
pub trait Key: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Rows of one kind in a store. Their keys begin with `prefix`; values are JSON, so that a row
/// can be read without the program that wrote it, and members can be added.
#[derive(Debug)]
pub struct Table<K, V> {
    prefix: u8,
    kind: PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// The first byte of a key; each table of a store has its own. 0 and 255 belong to the store.
    #[must_use]
    pub const fn new(prefix: u8) -> Self {
        Self { prefix, kind: PhantomData }
    }

    #[cfg(test)]
    pub(crate) const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// # Errors
    /// As for [`Store::get`], and [`StoreError::Unexpected`] where the row is none of this table.
    pub fn get(&self, store: &dyn Store, key: &K) -> Result<Option<V>, StoreError> {
        store.get(&self.key(key))?.map(|value| read(&value)).transpose()
    }

    /// # Errors
    /// As for [`Store::get`].
    pub fn contains(&self, store: &dyn Store, key: &K) -> Result<bool, StoreError> {
        Ok(store.get(&self.key(key))?.is_some())
    }

    /// # Errors
    /// [`StoreError::Unexpected`] where the value has no JSON form.
    pub fn put(&self, batch: &mut Batch, key: &K, value: &V) -> Result<(), StoreError> {
        batch.put(self.key(key), serde_json::to_vec(value).map_err(|_| StoreError::Unexpected)?);
        Ok(())
    }

    pub fn delete(&self, batch: &mut Batch, key: &K) {
        batch.delete(self.key(key));
    }

    /// At most `limit` rows behind `after`, or from the first one.
    ///
    /// # Errors
    /// As for [`Table::get`].
    pub fn scan(&self, store: &dyn Store, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>, StoreError> {
        let mut from = after.map_or_else(|| vec![self.prefix], |key| self.key(key));
        if after.is_some() {
            // The next key there can be.
            from.push(0);
        }
        let rows = store.scan(&from, &after_prefix(&[self.prefix]), limit)?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &Row) -> Result<(K, V), StoreError> {
        let key = row.key.split_first().filter(|(prefix, _)| **prefix == self.prefix).and_then(|(_, key)| K::from_bytes(key));
        Ok((key.ok_or(StoreError::Unexpected)?, read(&row.value)?))
    }

    fn key(&self, key: &K) -> Vec<u8> {
        let mut out = vec![self.prefix];
        out.extend(key.to_bytes());
        out
    }
}

fn read<V: DeserializeOwned>(value: &[u8]) -> Result<V, StoreError> {
    serde_json::from_slice(value).map_err(|_| StoreError::Unexpected)
}

/// The first key behind all that begin with `prefix`.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    while let Some(last) = out.pop() {
        if let Some(next) = last.checked_add(1) {
            out.push(next);
            return out;
        }
    }
    // Nothing stands behind 255, 255 …; no prefix of ours is that.
    vec![u8::MAX; super::KEY_MAX_BYTES + 1]
}

impl Key for CaptureId {
    fn to_bytes(&self) -> Vec<u8> {
        CaptureId::to_bytes(*self).to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(CaptureId::from_bytes)
    }
}

impl Key for Uid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::parse(std::str::from_utf8(bytes).ok()?).ok()
    }
}

impl Key for Digest {
    fn to_bytes(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

impl Key for Vec<u8> {
    fn to_bytes(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    #[test]
    fn what_stands_behind_a_prefix_is_found_exactly() {
        assert_eq!(after_prefix(&[1, 2]), [1, 3]);
        assert_eq!(after_prefix(&[1, 255]), [2]);
        assert!(after_prefix(&[255, 255]) > vec![255; 100]);
    }

    #[test]
    fn a_table_sees_its_own_rows_only_and_goes_on_behind_the_last() {
        let store = MemoryStore::new();
        let (a, b): (Table<Digest, u32>, Table<Digest, u32>) = (Table::new(1), Table::new(2));
        let mut batch = Batch::new();
        for n in 0..5u8 {
            a.put(&mut batch, &[n; 32], &u32::from(n)).unwrap();
            b.put(&mut batch, &[n; 32], &99).unwrap();
        }
        store.commit(batch).unwrap();
        let first = a.scan(&store, None, 3).unwrap();
        assert_eq!(first.iter().map(|(_, v)| *v).collect::<Vec<_>>(), [0, 1, 2]);
        let rest = a.scan(&store, first.last().map(|(k, _)| k), 30).unwrap();
        assert_eq!(rest.iter().map(|(_, v)| *v).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(b.get(&store, &[3; 32]), Ok(Some(99)));
        assert_eq!(b.get(&store, &[9; 32]), Ok(None));
        let texts: Table<Digest, String> = Table::new(1);
        assert_eq!(texts.get(&store, &[0; 32]), Err(StoreError::Unexpected));
    }
}
