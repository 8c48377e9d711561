//! How much waits here for whom: sealed bytes that the archive does not have yet, by the person who
//! sent them and by department. For quotas, so that one sender or one ward cannot fill the disk.
//!
//! Counted in memory. At a start the rows that are there are counted page by page, in the order of
//! acceptance, while the gateway works already; until that walk has come by, a capture is not counted.

use std::collections::HashMap;
use std::hash::Hash;

use crate::capture::record::Digest;
use crate::capture::{CaptureId, Record, Stage};

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Usage {
    subjects: HashMap<Digest, u64>,
    departments: HashMap<String, u64>,
    walk: Walk,
}

/// How far the walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Walk {
    #[default]
    NotBegun,
    /// Everything up to here is counted.
    At(CaptureId),
    Done,
}

impl Usage {
    pub fn walk(&self) -> Walk {
        self.walk
    }

    pub fn of(&self, subject: &Digest, department: &str) -> (u64, u64) {
        let of = |bytes: Option<&u64>| bytes.copied().unwrap_or(0);
        (of(self.subjects.get(subject)), of(self.departments.get(department)))
    }

    /// A row changed, or is new. What the walk has yet to come by it will count as it is then.
    pub fn changed(&mut self, subject: Digest, was: Option<&Record>, is: &Record) {
        let is_counted = match self.walk {
            Walk::NotBegun => false,
            Walk::At(last) => is.id() <= last,
            Walk::Done => true,
        };
        if is_counted {
            self.change(subject, &is.acceptance.claim.department, was.map_or(0, waiting_bytes), waiting_bytes(is));
        }
    }

    /// The walk came by these rows; there are more, or not.
    pub fn walked<'r>(&mut self, rows: impl Iterator<Item = (Digest, &'r Record)>, is_end: bool) {
        for (subject, record) in rows {
            self.change(subject, &record.acceptance.claim.department, 0, waiting_bytes(record));
            self.walk = Walk::At(record.id());
        }
        if is_end {
            self.walk = Walk::Done;
        }
    }

    fn change(&mut self, subject: Digest, department: &str, was: u64, is: u64) {
        if was == is {
            return;
        }
        change(&mut self.subjects, subject, was, is);
        change(&mut self.departments, department.to_owned(), was, is);
    }
}

/// Who has nothing waiting costs nothing.
fn change<K: Eq + Hash>(all: &mut HashMap<K, u64>, key: K, was: u64, is: u64) {
    let now = all.get(&key).copied().unwrap_or(0).saturating_add(is).saturating_sub(was);
    if now == 0 {
        all.remove(&key);
    } else {
        all.insert(key, now);
    }
}

fn waiting_bytes(record: &Record) -> u64 {
    let waits = |stage| matches!(stage, Stage::Accepted | Stage::Identified | Stage::Wrapped | Stage::Held);
    record.items.iter().filter(|item| waits(item.stage)).map(|item| item.facts.sealed_bytes).sum()
}
