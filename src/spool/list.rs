//! What is in the spool.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};

use super::error::{Damage, SpoolError};
use super::name::Name;
use super::remove::erase;
use super::{Inner, Spool};
use crate::capture::CaptureId;

/// One finding of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A promised capture, and which of its files are sound.
    Capture(Present),
    /// A file that is not sound. Its capture is listed besides, with the files that are.
    Damaged { name: String, why: Damage },
    /// Files without their head: never promised, or half erased.
    Orphan(Present),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub id: CaptureId,
    /// Indexes of the items, ascending.
    pub items: Vec<u16>,
    pub binding: bool,
    /// Items that have a derived file.
    pub derived: Vec<u16>,
}

/// The spool as it was when the listing began, by capture, oldest first. Files are looked at one
/// by one while it goes on: header and end, not the payload.
pub struct Listing {
    spool: Arc<Inner>,
    captures: BTreeMap<CaptureId, Vec<Name>>,
    /// Entries to give before the next capture is looked at.
    found: VecDeque<Entry>,
}

impl Spool {
    /// Lists everything.
    ///
    /// # Errors
    /// Errors of the folder; what is wrong with a file is an [`Entry`].
    pub fn list(&self) -> Result<Listing, SpoolError> {
        let doing = "listing the spool";
        let mut captures: BTreeMap<CaptureId, Vec<Name>> = BTreeMap::new();
        let mut found = VecDeque::new();
        // No capture is half placed or half removed while names are read.
        let quiet = self.0.arranging.write().unwrap_or_else(PoisonError::into_inner);
        for file_name in self.0.disk.names(&self.0.live).map_err(SpoolError::io(doing))? {
            let file_name = file_name.map_err(SpoolError::io(doing))?;
            let text = file_name.to_string_lossy();
            match text.parse::<Name>() {
                Ok(name) => captures.entry(name.capture()).or_default().push(name),
                Err(_) => found.push_back(Entry::Damaged { name: text.into_owned(), why: Damage::Foreign }),
            }
        }
        drop(quiet);
        Ok(Listing { spool: Arc::clone(&self.0), captures, found })
    }

    /// Removes what has no head: files of a capture that was never promised or is half erased.
    /// Answers how many captures that were.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn sweep_orphans(&self) -> Result<usize, SpoolError> {
        let mut swept = 0;
        for mut names in self.list()?.captures.into_values() {
            if has_head(&self.0, &names) {
                continue;
            }
            names.sort_unstable();
            erase(&self.0, names)?;
            swept += 1;
        }
        Ok(swept)
    }
}

/// Whether the capture's head stands among `names`; one whose key was destroyed does not.
fn has_head(spool: &Inner, names: &[Name]) -> bool {
    let head = names.iter().find(|n| n.is_head());
    head.is_some_and(|head| !matches!(spool.open_file(*head), Err(SpoolError::Damaged(Damage::Erased) | SpoolError::Missing)))
}

impl Iterator for Listing {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.found.is_empty() {
            let (id, mut names) = self.captures.pop_first()?;
            names.sort_unstable();
            self.look_at(id, names);
        }
        self.found.pop_front()
    }
}

impl Listing {
    fn look_at(&mut self, id: CaptureId, mut names: Vec<Name>) {
        if !has_head(&self.spool, &names) {
            // Unless it was removed since the names were read.
            names.retain(|n| self.spool.disk.exists(&self.spool.live_path(*n)).unwrap_or(false));
            if names.is_empty() {
                return;
            }
            self.found.push_back(Entry::Orphan(Present::new(id, names)));
            return;
        }
        let (mut sound, mut damaged) = (Vec::with_capacity(names.len()), Vec::new());
        for name in names.iter().copied() {
            match self.spool.open_file(name) {
                Ok(_) => sound.push(name),
                // Removed since the names were read.
                Err(SpoolError::Missing) => {}
                Err(error) => damaged.push(Entry::Damaged { name: name.to_string(), why: damage_of(error) }),
            }
        }
        // Keys go head first: one that is gone while the head's is not is damage, else a removal runs.
        if damaged.is_empty() || has_head(&self.spool, &names) {
            self.found.extend(damaged);
            self.found.push_back(Entry::Capture(Present::new(id, sound)));
        }
    }
}

fn damage_of(error: SpoolError) -> Damage {
    match error {
        SpoolError::Damaged(why) => why,
        SpoolError::Io { why, .. } => Damage::Unreadable(why),
        _ => Damage::Altered,
    }
}

impl Present {
    fn new(id: CaptureId, names: Vec<Name>) -> Self {
        let mut present = Self { id, items: Vec::new(), binding: false, derived: Vec::new() };
        for name in names {
            match name {
                Name::Item(item) => present.items.push(item.index),
                Name::Binding(_) => present.binding = true,
                Name::Derived(item) => present.derived.push(item.index),
            }
        }
        present
    }
}
