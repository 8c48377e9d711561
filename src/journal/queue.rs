//! What waits for each archive: rows that order the legs of captures.
//!
//! The key of a row says all: archive, queue, when it is due, stage, capture. What was never tried
//! stands in the order of acceptance, so a claimer takes the oldest first and reads nothing else.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::index::{SCAN_ROWS, sortable, stage_number, stage_of};
use super::{Journal, JournalError, sheets};
use crate::capture::{CaptureId, Leg, Record, Stage};
use crate::seal::digest::hmac_sha256;
use crate::store::Store;
use crate::store::table::after_prefix;

pub(super) const LANE: u8 = 0x18;
/// Of the keyed hash of an archive's name: names are longer than a key may be.
const TAG_BYTES: usize = 8;
const TAG_END: usize = 1 + TAG_BYTES;
/// Archive, queue, due, stage, capture.
const KEY_BYTES: usize = TAG_END + 1 + DUE_BYTES + 1 + ID_BYTES;
const DUE_BYTES: usize = 16;
const ID_BYTES: usize = 16;

/// An archive in the keys.
pub(super) type Tag = [u8; TAG_BYTES];

/// What is to be done with a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// To be sent, oldest first; never tried.
    Ready,
    /// To be sent when its time has come.
    Aside,
    /// Stored, and to be asked about when its time has come.
    Ask,
    /// Waits for a person.
    Held,
    /// Not known yet whose it is.
    Accepted,
}

impl Queue {
    fn number(self) -> u8 {
        match self {
            Self::Ready => 1,
            Self::Aside => 2,
            Self::Ask => 3,
            Self::Held => 4,
            Self::Accepted => 5,
        }
    }

    /// Where a leg stands; `None` where nothing is left to do.
    #[must_use]
    pub fn of(leg: &Leg, accepted_at: Timestamp) -> Option<Self> {
        let due = leg.schedule.due;
        match leg.stage {
            Stage::Accepted => Some(Self::Accepted),
            Stage::Held => Some(Self::Held),
            Stage::Identified | Stage::Wrapped => due.map(|due| if due <= accepted_at { Self::Ready } else { Self::Aside }),
            Stage::Forwarded => due.map(|_| Self::Ask),
            Stage::Committed | Stage::Discarded => None,
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub id: CaptureId,
    pub due: Timestamp,
    /// Behind which a next page begins.
    pub place: Vec<u8>,
}

/// A part of a queue.
#[derive(Clone, Debug, Default)]
pub struct Span<'a> {
    /// Behind this place of an earlier page.
    pub after: Option<&'a [u8]>,
    /// Due later than this.
    pub later_than: Option<Timestamp>,
    /// Due then or earlier.
    pub until: Option<Timestamp>,
}

pub(super) fn tag(index_key: &[u8], archive: &str) -> Tag {
    let hash = hmac_sha256(index_key, &[b"archive", archive.as_bytes()]);
    hash.first_chunk().copied().unwrap_or_default()
}

/// The rows of a record.
pub(super) fn keys(record: &Record, tag_of: impl Fn(&str) -> Tag) -> BTreeSet<Vec<u8>> {
    let accepted_at = record.acceptance.accepted_at;
    let mut rows: BTreeMap<(Tag, Queue), (Timestamp, Stage)> = BTreeMap::new();
    for leg in record.items.iter().flat_map(|item| &item.legs) {
        let Some(queue) = Queue::of(leg, accepted_at) else { continue };
        // Held and accepted ones stand in the order of acceptance as well.
        let due = if matches!(queue, Queue::Held | Queue::Accepted | Queue::Ready) {
            accepted_at
        } else {
            leg.schedule.due.unwrap_or(accepted_at)
        };
        let row = rows.entry((tag_of(&leg.archive), queue)).or_insert((due, leg.stage));
        *row = (row.0.min(due), row.1.min(leg.stage));
    }
    let key = |((tag, queue), (due, stage)): (&(Tag, Queue), &(Timestamp, Stage))| {
        [&prefix(*tag, *queue)[..], &sortable(*due), &[stage_number(*stage)], &record.id().to_bytes()].concat()
    };
    rows.iter().map(key).collect()
}

fn prefix(tag: Tag, queue: Queue) -> Vec<u8> {
    [&[LANE], &tag[..], &[queue.number()]].concat()
}

fn read(key: &[u8]) -> Result<Queued, JournalError> {
    let broken = || JournalError::Broken("a row of a queue without a capture");
    let id = key.last_chunk::<ID_BYTES>().filter(|_| key.len() == KEY_BYTES).ok_or_else(broken)?;
    let due = key.get(TAG_END + 1..).and_then(|rest| rest.first_chunk::<DUE_BYTES>()).ok_or_else(broken)?;
    let nanoseconds = (u128::from_be_bytes(*due) ^ (1 << 127)).cast_signed();
    let due = Timestamp::from_nanosecond(nanoseconds).map_err(|_| broken())?;
    Ok(Queued { id: CaptureId::from_bytes(*id), due, place: key.to_vec() })
}

/// Tag and stage of a key of this table.
pub(super) fn tag_and_stage(key: &[u8]) -> Option<(Tag, Stage)> {
    let tag =
        key.get(1..).and_then(|rest| rest.first_chunk()).filter(|_| key.first() == Some(&LANE) && key.len() == KEY_BYTES)?;
    let stage = key.get(KEY_BYTES - ID_BYTES - 1).and_then(|number| stage_of(*number))?;
    Some((*tag, stage))
}

/// How many rows there are, by archive and stage.
pub(super) fn counts(store: &dyn Store) -> Result<BTreeMap<(Tag, Stage), u64>, JournalError> {
    let mut counts = BTreeMap::new();
    let (mut from, until) = (vec![LANE], after_prefix(&[LANE]));
    loop {
        let keys = sheets::scan(store, &from, &until, SCAN_ROWS)?;
        for row in keys.iter().filter_map(|key| tag_and_stage(key)) {
            *counts.entry(row).or_insert(0) += 1;
        }
        match keys.last().filter(|_| keys.len() == SCAN_ROWS) {
            None => return Ok(counts),
            Some(last) => from = [&last[..], &[0]].concat(),
        }
    }
}

impl Journal {
    /// At most `limit` rows of an archive's queue, in their order.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn queued(&self, archive: &str, queue: Queue, span: &Span<'_>, limit: usize) -> Result<Vec<Queued>, JournalError> {
        self.queued_of(self.tag(archive), queue, span, limit)
    }

    fn queued_of(&self, tag: Tag, queue: Queue, span: &Span<'_>, limit: usize) -> Result<Vec<Queued>, JournalError> {
        let prefix = prefix(tag, queue);
        let behind = |due: Timestamp| after_prefix(&[&prefix[..], &sortable(due)].concat());
        let from = match (span.after, span.later_than) {
            (Some(after), _) => [after, &[0]].concat(),
            (None, Some(due)) => behind(due),
            (None, None) => prefix.clone(),
        };
        let until = span.until.map_or_else(|| after_prefix(&prefix), behind);
        sheets::scan(&*self.store, &from, &until, limit)?.iter().map(|key| read(key)).collect()
    }

    /// At most `limit` captures with legs to be sent to, or to be asked about at, an archive that is
    /// none of `archives`.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn queued_for_others(&self, archives: &[String], limit: usize) -> Result<BTreeSet<CaptureId>, JournalError> {
        let known: BTreeSet<Tag> = archives.iter().map(|name| self.tag(name)).collect();
        let strange: BTreeSet<Tag> = self.lanes().keys().map(|(tag, _)| *tag).filter(|tag| !known.contains(tag)).collect();
        let mut found = BTreeSet::new();
        for tag in strange {
            for queue in [Queue::Ready, Queue::Aside, Queue::Ask] {
                let wanted = limit.saturating_sub(found.len());
                found.extend(self.queued_of(tag, queue, &Span::default(), wanted)?.iter().map(|row| row.id));
            }
        }
        Ok(found)
    }

    /// Captures that wait for an archive, by stage.
    #[must_use]
    pub fn waiting_for(&self, archive: &str) -> Vec<(Stage, u64)> {
        let (tag, lanes) = (self.tag(archive), self.lanes());
        Stage::ALL.into_iter().map(|stage| (stage, lanes.get(&(tag, stage)).copied().unwrap_or(0))).collect()
    }

    /// When the oldest capture was accepted that an archive does not have yet. Of those that stand
    /// aside only the first are looked at.
    ///
    /// # Errors
    /// As for [`Journal::get`].
    pub fn oldest_waiting_for(&self, archive: &str) -> Result<Option<Timestamp>, JournalError> {
        let mut oldest: Option<Timestamp> = None;
        for queue in [Queue::Ready, Queue::Held, Queue::Accepted] {
            let first = self.queued(archive, queue, &Span::default(), 1)?.first().map(|row| row.due);
            oldest = oldest.into_iter().chain(first).min();
        }
        let aside = self.queued(archive, Queue::Aside, &Span::default(), SCAN_ROWS)?;
        Ok(oldest.into_iter().chain(aside.iter().filter_map(|row| row.id.made_at())).min())
    }
}
