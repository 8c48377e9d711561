//! Sorted keys, many to a row.
//!
//! An index over a million captures is a million keys without values. A row each costs the engine
//! memory for as long as it is open, more than the key is long; so keys that follow each other share
//! one row, a sheet. Its key is the least that may stand in it, and the next sheet's is where it ends:
//! a key is in the last sheet that begins at it or before it, or nowhere.
//!
//! Who changes them has to be alone (the leader of a group of commits is). Readers need not be: no key
//! moves to a sheet before its own.
//!
//! Keys follow from records and no record from them: a row that is no sheet condemns the index, which is
//! then made anew.

use std::collections::{BTreeMap, BTreeSet};

use super::JournalError;
use crate::store::table::after_prefix;
use crate::store::{Batch, Row, Store, StoreError};

/// First byte of the rows.
pub(super) const SHEET: u8 = 0x1A;
/// Keys of a full sheet: the longest (49 bytes) fill less than two kilobytes.
const SHEET_KEYS: usize = 32;
/// Rows read at once.
const SCAN_SHEETS: usize = 128;
/// Rows of the older kind that are taken over in one commit.
const TAKEN_OVER: usize = 4096;

/// Adds the keys in `come` and takes away those in `gone`; one that is in both is added.
///
/// # Errors
/// As for [`super::Journal::get`].
pub(super) fn change(
    store: &dyn Store,
    batch: &mut Batch,
    gone: &BTreeSet<Vec<u8>>,
    come: &BTreeSet<Vec<u8>>,
) -> Result<(), JournalError> {
    let mut sheets = Changed { store, sheets: BTreeMap::new() };
    for key in gone.difference(come) {
        sheets.remove(key)?;
    }
    for key in come {
        sheets.insert(key)?;
    }
    for (row, keys) in sheets.sheets {
        if keys.is_empty() {
            batch.delete(row);
        } else {
            batch.put(row, written(&keys)?);
        }
    }
    Ok(())
}

/// At most `limit` keys from `from` on, before `until`, ascending.
///
/// # Errors
/// As for [`super::Journal::get`].
pub(super) fn scan(store: &dyn Store, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, JournalError> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let (mut next, end) = (first_row(store, from)?, row_key(until));
    while found.len() < limit {
        let wanted = (limit - found.len()).div_ceil(SHEET_KEYS).saturating_add(1).min(SCAN_SHEETS);
        let rows = sound(store, store.scan(&next, &end, wanted))?;
        for row in &rows {
            let keys = sound(store, read(&row.value))?;
            // A sheet that was divided meanwhile has keys that stood in the one before.
            let is_new = |key: &Vec<u8>| found.last().is_none_or(|last| key > last);
            let new: Vec<_> = keys.into_iter().filter(|key| key[..] >= *from && key[..] < *until && is_new(key)).collect();
            found.extend(new);
        }
        match rows.last().filter(|_| rows.len() == wanted) {
            None => break,
            Some(last) => next = [&last.key[..], &[0]].concat(),
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Takes over keys of an index that stand in rows of their own, as they did before there were sheets:
/// all that begin with one of `prefixes`. Cut short, it is to be called again.
///
/// # Errors
/// As for [`super::Journal::get`].
pub(super) fn take_over(store: &dyn Store, prefixes: &[u8]) -> Result<(), JournalError> {
    for prefix in prefixes {
        loop {
            let rows = store.scan(&[*prefix], &after_prefix(&[*prefix]), TAKEN_OVER)?;
            if rows.is_empty() {
                break;
            }
            let (mut batch, keys) = (Batch::new(), rows.into_iter().map(|row| row.key).collect());
            change(store, &mut batch, &BTreeSet::new(), &keys)?;
            for key in keys {
                batch.delete(key);
            }
            store.commit(batch)?;
        }
    }
    Ok(())
}

/// Sheets as they will be.
struct Changed<'s> {
    store: &'s dyn Store,
    sheets: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Changed<'_> {
    fn remove(&mut self, key: &[u8]) -> Result<(), JournalError> {
        if let Some(row) = self.sheet_of(key)?
            && let Some(keys) = self.sheets.get_mut(&row)
        {
            keys.remove(key);
        }
        Ok(())
    }

    fn insert(&mut self, key: &[u8]) -> Result<(), JournalError> {
        let row = self.sheet_of(key)?.unwrap_or_else(|| row_key(key));
        let keys = self.sheets.entry(row).or_default();
        keys.insert(key.to_vec());
        if keys.len() > SHEET_KEYS {
            // What comes in order leaves full sheets behind.
            let is_last = keys.last().is_some_and(|last| last == key);
            let kept = if is_last { SHEET_KEYS } else { SHEET_KEYS / 2 };
            if let Some(middle) = keys.iter().nth(kept).cloned() {
                let behind = keys.split_off(&middle);
                self.sheets.insert(row_key(&middle), behind);
            }
        }
        Ok(())
    }

    /// The row of the sheet that a key belongs to, which is read where it was not yet.
    fn sheet_of(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let place = row_key(key);
        let changed = self.sheets.range(..=place.clone()).next_back().map(|(row, _)| row.clone());
        let stored = last_row(self.store, key)?.filter(|stored| changed.as_ref().is_none_or(|changed| stored.key > *changed));
        let Some(stored) = stored else { return Ok(changed) };
        let keys = sound(self.store, read(&stored.value))?;
        self.sheets.insert(stored.key.clone(), keys.into_iter().collect());
        Ok(Some(stored.key))
    }
}

fn row_key(key: &[u8]) -> Vec<u8> {
    [&[SHEET], key].concat()
}

/// The last sheet that begins at `key` or before it.
fn last_row(store: &dyn Store, key: &[u8]) -> Result<Option<Row>, JournalError> {
    sound(store, store.last(&[SHEET], &[&row_key(key)[..], &[0]].concat()))
}

/// Where a scan from `key` on begins.
fn first_row(store: &dyn Store, key: &[u8]) -> Result<Vec<u8>, JournalError> {
    Ok(last_row(store, key)?.map_or_else(|| row_key(key), |row| row.key))
}

/// A row that does not open, or is no sheet, hides many keys for good: the index is condemned.
fn sound<T>(store: &dyn Store, read: Result<T, StoreError>) -> Result<T, JournalError> {
    read.map_err(|error| match error {
        StoreError::Sealed | StoreError::Unexpected => {
            store.condemn(BROKEN);
            JournalError::Store(StoreError::Corrupt(BROKEN.to_owned()))
        }
        other => JournalError::Store(other),
    })
}

const BROKEN: &str = "a row of keys does not open";

/// Each key as how many bytes it shares with the one before, how many follow, and these: keys of one
/// sheet have most bytes in common.
fn written(keys: &BTreeSet<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
    let (mut value, mut before) = (Vec::new(), &[][..]);
    for key in keys {
        let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
        let rest = key.get(shared..).unwrap_or_default();
        for count in [shared, rest.len()] {
            value.push(u8::try_from(count).map_err(|_| StoreError::TooLong)?);
        }
        value.extend_from_slice(rest);
        before = key;
    }
    Ok(value)
}

fn read(value: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(SHEET_KEYS);
    let mut rest = value;
    while let Some(([shared, length], behind)) = rest.split_first_chunk() {
        let before = keys.last().map(Vec::as_slice).unwrap_or_default();
        let shared = before.get(..usize::from(*shared)).ok_or(StoreError::Unexpected)?;
        let (key, behind) = behind.split_at_checked(usize::from(*length)).ok_or(StoreError::Unexpected)?;
        keys.push([shared, key].concat());
        rest = behind;
    }
    if rest.is_empty() { Ok(keys) } else { Err(StoreError::Unexpected) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::seal::digest::sha256;
    use crate::store::memory::MemoryStore;

    fn commit(store: &MemoryStore, gone: &BTreeSet<Vec<u8>>, come: &BTreeSet<Vec<u8>>) {
        let mut batch = Batch::new();
        change(store, &mut batch, gone, come).unwrap();
        store.commit(batch).unwrap();
    }

    fn rows(store: &MemoryStore) -> Vec<Row> {
        store.scan(&[SHEET], &[SHEET + 1], usize::MAX).unwrap()
    }

    /// Sixteen bits, so that keys meet.
    fn random_keys(seed: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..40u32).map(move |n| {
            let hash = sha256(&[seed.to_be_bytes(), n.to_be_bytes()].concat());
            [&[0x11], &hash[..2]].concat()
        })
    }

    #[test]
    fn whatever_is_added_and_taken_away_the_keys_are_those_of_a_plain_set() {
        let (store, mut model) = (MemoryStore::new(), BTreeSet::new());
        for round in 0..200u32 {
            // It grows, then shrinks to nothing.
            let come: BTreeSet<_> = if round < 120 { random_keys(round).collect() } else { BTreeSet::new() };
            let gone: BTreeSet<_> = if round < 120 {
                random_keys(round / 2).step_by(3).collect()
            } else {
                model.iter().step_by(7).cloned().chain(random_keys(round)).collect()
            };
            commit(&store, &gone, &come);
            model.retain(|key| !gone.contains(key) || come.contains(key));
            model.extend(come);
            let (from, until) = (vec![0x11, u8::try_from(round).unwrap()], vec![0x11, 0xf0]);
            let wanted: Vec<_> = model.range(from.clone()..until.clone()).take(50).cloned().collect();
            assert_eq!(scan(&store, &from, &until, 50).unwrap(), wanted, "round {round}");
            let all = scan(&store, &[0x11], &[0x12], usize::MAX).unwrap();
            assert_eq!(all, model.iter().cloned().collect::<Vec<_>>(), "round {round}");
        }
        commit(&store, &model, &BTreeSet::new());
        assert_eq!(rows(&store), [], "empty sheets leave no rows");
    }

    #[test]
    fn keys_that_come_in_order_fill_their_sheets() {
        let store = MemoryStore::new();
        for n in 0..1000u32 {
            commit(&store, &BTreeSet::new(), &BTreeSet::from([[&[0x12][..], &n.to_be_bytes()].concat()]));
        }
        assert_eq!(rows(&store).len(), 1000usize.div_ceil(SHEET_KEYS));
    }

    #[test]
    fn rows_of_the_older_kind_are_taken_over_also_after_a_cut() {
        let store = MemoryStore::new();
        let keys: BTreeSet<Vec<u8>> = (0..5000u32).map(|n| [&[0x15][..], &sha256(&n.to_be_bytes())].concat()).collect();
        let (mut batch, other) = (Batch::new(), vec![0x16, 1]);
        for key in keys.iter().chain([&other]) {
            batch.put(key.clone(), Vec::new());
        }
        store.commit(batch).unwrap();
        // Some were, before the power went.
        commit(&store, &BTreeSet::new(), &keys.iter().take(100).cloned().collect());
        take_over(&store, &[0x11, 0x15]).unwrap();
        assert_eq!(scan(&store, &[0x15], &[0x16], usize::MAX).unwrap(), keys.into_iter().collect::<Vec<_>>());
        assert_eq!(store.scan(&[0x11], &[0x17], 10).unwrap().iter().map(|row| &row.key).collect::<Vec<_>>(), [&other]);
    }

    #[test]
    fn a_row_that_is_no_list_of_keys_is_damage_to_the_index() {
        for value in [&[0, 9, 0x11][..], &[1, 1, 0x11], &[0, 1, 0x11, 3, 1, 0x11], &[0]] {
            let store = MemoryStore::new();
            let mut batch = Batch::new();
            batch.put(vec![SHEET, 0x11], value.to_vec());
            store.commit(batch).unwrap();
            let told = scan(&store, &[0x11], &[0x12], 1);
            assert!(matches!(told, Err(JournalError::Store(StoreError::Corrupt(_)))), "{value:x?}");
        }
    }

    /// Between the pages of one look somebody adds keys, so that sheets are divided.
    struct Busy {
        rows: MemoryStore,
        looks: std::sync::atomic::AtomicU32,
    }

    impl Store for Busy {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.rows.get(key)
        }

        fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
            let found = self.rows.scan(from, until, limit)?;
            let look = self.looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            // Into the sheet that was looked at last.
            let last = found.last().map(|row| read(&row.value).unwrap()[0].clone()).unwrap_or_default();
            commit(
                &self.rows,
                &BTreeSet::new(),
                &(0..40).map(|n| [&last[..], &[u8::try_from(look).unwrap(), n]].concat()).collect(),
            );
            Ok(found)
        }

        fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError> {
            self.rows.last(from, until)
        }

        fn commit(&self, batch: Batch) -> Result<(), StoreError> {
            self.rows.commit(batch)
        }
    }

    #[test]
    fn a_look_over_sheets_that_are_divided_meanwhile_has_every_key_once() {
        let store = Busy { rows: MemoryStore::new(), looks: 0.into() };
        let keys: BTreeSet<Vec<u8>> = (0..10_000u32).map(|n| [&[0x12][..], &n.to_be_bytes()].concat()).collect();
        commit(&store.rows, &BTreeSet::new(), &keys);
        let found = scan(&store, &[0x12], &[0x13], usize::MAX).unwrap();
        assert!(store.looks.load(std::sync::atomic::Ordering::SeqCst) > 2, "one page is no test");
        assert!(found.is_sorted_by(|a, b| a < b), "a key was found twice");
        assert!(found.iter().filter(|key| key.len() == 5).eq(&keys), "a key was passed over");
    }
}
