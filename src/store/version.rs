//! Which format a store has.

use super::{Batch, Store, StoreError, Table};

/// Of the rows, not of the engine.
pub const FORMAT: u32 = 1;

const TABLE: Table<Vec<u8>, u32> = Table::new(0);

/// Reads the format row; a new store gets one.
///
/// # Errors
/// [`StoreError::Newer`] where a newer version wrote the store: nothing in it was touched.
/// [`StoreError::Corrupt`] where a store that is not new has no such row: sled opens some damaged
/// files as if they were empty.
pub fn check(store: &dyn Store, is_new: bool) -> Result<(), StoreError> {
    let key = b"format".to_vec();
    match TABLE.get(store, &key)? {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StoreError::Newer(found)),
        None if !is_new => Err(StoreError::Corrupt("its rows are gone".to_owned())),
        None => {
            let mut batch = Batch::new();
            TABLE.put(&mut batch, &key, &FORMAT)?;
            store.commit(batch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    #[test]
    fn a_newer_store_is_refused_and_left_alone() {
        let store = MemoryStore::new();
        assert!(matches!(check(&store, false), Err(StoreError::Corrupt(_))));
        assert_eq!(check(&store, true), Ok(()));
        assert_eq!(check(&store, false), Ok(()));
        let mut batch = Batch::new();
        TABLE.put(&mut batch, &b"format".to_vec(), &7).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(check(&store, false), Err(StoreError::Newer(7)));
    }
}
