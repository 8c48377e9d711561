//! What is in the spool.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::error::{Damage, SpoolError};
use super::name::{Name, Packed};
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
    pub stopped: bool,
    /// Items that have a derived file.
    pub derived: Vec<u16>,
    /// Items of which there are stills.
    pub stills: Vec<u16>,
}

/// The spool as it was when the listing began, by capture, oldest first. Files are looked at one
/// by one while it goes on: header and end, not the payload.
pub struct Listing {
    spool: Arc<Inner>,
    /// Sorted; those before `at` were given.
    names: Vec<Packed>,
    at: usize,
    /// Captures that are passed over, ascending.
    known: Vec<CaptureId>,
    passed_over: usize,
    /// Entries to give before the next capture is looked at.
    found: VecDeque<Entry>,
}

/// What a sweep did with captures that have no head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Never promised, or half erased: gone.
    pub erased: usize,
    /// Promised once, and their head was lost: put aside, nothing of them was deleted.
    pub put_aside: Vec<CaptureId>,
}

/// What is kept beside a capture whose head was lost.
const HEAD_LOST: &str =
    "The first file of the capture is missing. It says who took it and of whom; without it nothing can be forwarded.\n";

impl Spool {
    /// Lists everything.
    ///
    /// # Errors
    /// Errors of the folder; what is wrong with a file is an [`Entry`].
    pub fn list(&self) -> Result<Listing, SpoolError> {
        self.list_beyond(Vec::new())
    }

    /// Lists everything but the captures in `known`, ascending, of which no file is looked at: of a
    /// million captures only those that somebody does not know cost time. A known capture whose head
    /// is gone is listed.
    ///
    /// # Errors
    /// As for [`Spool::list`].
    pub fn list_beyond(&self, known: Vec<CaptureId>) -> Result<Listing, SpoolError> {
        let doing = "listing the spool";
        let mut names = Vec::new();
        let mut found = VecDeque::new();
        // No capture is half placed or half removed while names are read.
        let quiet = self.0.arranging.write().unwrap_or_else(PoisonError::into_inner);
        for file_name in self.0.disk.names(&self.0.live).map_err(SpoolError::io(doing))? {
            let file_name = file_name.map_err(SpoolError::io(doing))?;
            let text = file_name.to_string_lossy();
            match text.parse::<Name>() {
                Ok(name) => names.push(name.pack()),
                Err(_) => found.push_back(Entry::Damaged { name: text.into_owned(), why: Damage::Foreign }),
            }
        }
        drop(quiet);
        names.sort_unstable();
        Ok(Listing { spool: Arc::clone(&self.0), names, at: 0, known, passed_over: 0, found })
    }

    /// Every capture of which a file is here, ascending; none is looked at.
    ///
    /// # Errors
    /// As for [`Spool::list`].
    pub fn captures(&self) -> Result<Vec<CaptureId>, SpoolError> {
        let mut ids: Vec<CaptureId> = self.list()?.names.iter().filter_map(Name::unpack).map(Name::capture).collect();
        ids.dedup();
        Ok(ids)
    }

    /// Removes what has no head and was never promised, or is half erased. What was promised and
    /// lost its head otherwise is put aside whole: it has files of its own that only a promised
    /// capture gets, or `is_known` knows it. Captures in `waiting`, ascending, are certainly not being
    /// erased: where they have a head nothing of them is opened.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn sweep_orphans(&self, waiting: &[CaptureId], is_known: impl Fn(CaptureId) -> bool) -> Result<Swept, SpoolError> {
        let mut swept = Swept::default();
        let mut listing = self.list()?;
        while let Some((id, names)) = listing.next_capture() {
            let is_waiting = || names.iter().any(|n| n.is_head()) && waiting.binary_search(&id).is_ok();
            if is_waiting() || has_head(&self.0, &names) {
                continue;
            }
            // A removal destroys all keys, the head's first, before it takes a file away.
            let is_half_erased = names.iter().any(|n| n.is_head()) || !names.iter().any(|n| may_open(&self.0, *n));
            let was_promised = names.iter().any(|n| !matches!(n, Name::Item(_))) || is_known(id);
            if is_half_erased || !was_promised {
                erase(&self.0, names)?;
                swept.erased += 1;
            } else {
                self.put_aside(id, &names, HEAD_LOST)?;
                swept.put_aside.push(id);
            }
        }
        Ok(swept)
    }
}

/// False where the key of a file was destroyed, or it is gone.
fn may_open(spool: &Inner, name: Name) -> bool {
    !matches!(spool.open_file(name), Err(SpoolError::Damaged(Damage::Erased) | SpoolError::Missing))
}

/// Whether the capture's head stands among `names`; one whose key was destroyed does not.
fn has_head(spool: &Inner, names: &[Name]) -> bool {
    names.iter().find(|n| n.is_head()).is_some_and(|head| may_open(spool, *head))
}

impl Iterator for Listing {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.found.is_empty() {
            let (id, names) = self.next_capture()?;
            if names.iter().any(|n| n.is_head()) && self.known.binary_search(&id).is_ok() {
                self.passed_over += 1;
            } else {
                self.look_at(id, names);
            }
        }
        self.found.pop_front()
    }
}

impl Listing {
    /// Known captures that were passed over so far.
    #[must_use]
    pub fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// The next capture with all its names, sorted. A name that was given while the folder was read
    /// may have been passed over (POSIX.1-2017 `readdir`): before a capture is taken for one without
    /// its head, the head is asked for.
    fn next_capture(&mut self) -> Option<(CaptureId, Vec<Name>)> {
        let rest = self.names.get(self.at..).unwrap_or_default();
        let mut id = None;
        let mut names: Vec<Name> =
            rest.iter().filter_map(Name::unpack).take_while(|name| *id.get_or_insert(name.capture()) == name.capture()).collect();
        self.at += names.len();
        let id = id?;
        if !names.iter().any(|n| n.is_head()) {
            let head = Name::Item(id.item(0));
            names.extend(self.spool.disk.exists(&self.spool.live_path(head)).unwrap_or(true).then_some(head));
        }
        names.sort_unstable();
        Some((id, names))
    }

    fn look_at(&mut self, id: CaptureId, mut names: Vec<Name>) {
        for beside in [Name::Binding(id), Name::Stopped(id)] {
            if !names.contains(&beside) && self.spool.disk.exists(&self.spool.live_path(beside)).unwrap_or(false) {
                names.push(beside);
            }
        }
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
        let mut present = Self { id, items: Vec::new(), binding: false, stopped: false, derived: Vec::new(), stills: Vec::new() };
        for name in names {
            match name {
                Name::Item(item) => present.items.push(item.index),
                Name::Binding(_) => present.binding = true,
                Name::Stopped(_) => present.stopped = true,
                Name::Derived(item) => present.derived.push(item.index),
                Name::Stills(item) => present.stills.push(item.index),
            }
        }
        present
    }
}
