//! Which format a store has.

use super::{Batch, Store, StoreError, Table};

/// Of the rows, not of the engine. 2: captures have legs, and stand in the queues of archives.
/// 3: the keys of indexes share rows. 4: and they share their beginnings; a row of keys of format 3 does
/// not open, so an index that has any is made anew.
pub const FORMAT: u32 = 4;
/// Whose rows are read as they are, and written anew when they are taken up.
const OLDEST: u32 = 1;

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
        Some(found) if found > FORMAT => Err(StoreError::Newer(found)),
        None if !is_new => Err(StoreError::Corrupt("its rows are gone".to_owned())),
        Some(found) if found < OLDEST => Err(StoreError::Corrupt("it has a format that never was".to_owned())),
        // From here on an older version, which would not find what waits, refuses it.
        Some(_) | None => {
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

    #[test]
    fn an_older_store_is_taken_over_and_no_longer_the_older_versions() {
        let store = MemoryStore::new();
        let format = |found: u32| {
            let mut batch = Batch::new();
            TABLE.put(&mut batch, &b"format".to_vec(), &found).unwrap();
            store.commit(batch).unwrap();
        };
        format(OLDEST);
        assert_eq!(check(&store, false), Ok(()));
        assert_eq!(TABLE.get(&store, &b"format".to_vec()), Ok(Some(FORMAT)));
        format(0);
        assert!(matches!(check(&store, false), Err(StoreError::Corrupt(_))));
    }
}
