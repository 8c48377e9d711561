//! Keys that find records; they stand in [`sheets`].

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::queue::{self, Tag};
use super::{JournalError, sheets};
use crate::capture::claim::OrderKey;
use crate::capture::record::Digest;
use crate::capture::{CaptureId, Operator, Phi, Record, Stage};
use crate::seal::aead::Kek;
use crate::seal::digest::hmac_sha256;
use crate::seal::secret::Secret;
use crate::store::Store;
use crate::store::table::after_prefix;

const DUE: u8 = 0x11;
const STAGE: u8 = 0x12;
const OWNER: u8 = 0x13;
const WAITING: u8 = 0x15;

/// First bytes of all keys that stand in sheets.
pub(super) const PREFIXES: [u8; 5] = [DUE, STAGE, OWNER, WAITING, queue::LANE];

const ID_BYTES: usize = 16;
/// Keys read at once where all are wanted.
pub(super) const SCAN_ROWS: usize = 4096;

/// Keys that changes take away and add.
#[derive(Default)]
pub(super) struct KeyChanges {
    pub(super) gone: BTreeSet<Vec<u8>>,
    pub(super) come: BTreeSet<Vec<u8>>,
}

/// Rows of queues that a change took away and added.
#[derive(Default)]
pub(super) struct LaneMoves {
    pub(super) gone: Vec<(Tag, Stage)>,
    pub(super) come: Vec<(Tag, Stage)>,
}

/// Index rows stand in clear, so what names a person stands in them as keyed hash.
pub(super) struct Indexes {
    key: Secret<32>,
}

impl Indexes {
    pub(super) fn new(kek: &Kek) -> Self {
        Self { key: kek.derive("journal index") }
    }

    /// Replaces the index keys of a record by those of its successor.
    pub(super) fn change(&self, changes: &mut KeyChanges, old: Option<&Record>, new: &Record) -> LaneMoves {
        let old = old.map(|old| self.keys(old)).unwrap_or_default();
        let new = self.keys(new);
        let mut moves = LaneMoves::default();
        for key in old.difference(&new) {
            moves.gone.extend(queue::tag_and_stage(key));
            changes.gone.insert(key.clone());
        }
        for key in new.difference(&old) {
            moves.come.extend(queue::tag_and_stage(key));
            changes.come.insert(key.clone());
        }
        moves
    }

    pub(super) fn tag(&self, archive: &str) -> Tag {
        queue::tag(self.key.expose(), archive)
    }

    fn keys(&self, record: &Record) -> BTreeSet<Vec<u8>> {
        let id = record.id().to_bytes();
        let operator = &record.acceptance.operator;
        let mut keys = BTreeSet::new();
        keys.insert([&stage_prefix(record.stage())[..], &id].concat());
        keys.insert([self.owner_prefix(&operator.issuer, &operator.subject), id.to_vec()].concat());
        if let Some(due) = record.due() {
            keys.insert([&due_prefix(due)[..], &id].concat());
        }
        keys.extend(queue::keys(record, |archive| self.tag(archive)));
        let waits = record.items.iter().any(|i| matches!(i.stage, Stage::Accepted | Stage::Held));
        for identifier in named(record).into_iter().filter(|_| waits) {
            keys.insert([self.waiting_prefix(identifier), id.to_vec()].concat());
        }
        keys
    }

    pub(super) fn owned(
        &self,
        store: &dyn Store,
        issuer: &str,
        subject: &str,
        after: Option<CaptureId>,
        limit: usize,
    ) -> Result<Vec<CaptureId>, JournalError> {
        behind(store, &self.owner_prefix(issuer, subject), after, limit)
    }

    pub(super) fn waiting(&self, store: &dyn Store, identifier: &Phi) -> Result<Vec<CaptureId>, JournalError> {
        all(store, &self.waiting_prefix(identifier))
    }

    fn owner_prefix(&self, issuer: &str, subject: &str) -> Vec<u8> {
        [&[OWNER], &self.owner_hash(issuer, subject)[..]].concat()
    }

    /// Stands for an operator where nobody need be named.
    pub(super) fn owner(&self, operator: &Operator) -> Digest {
        self.owner_hash(&operator.issuer, &operator.subject)
    }

    fn owner_hash(&self, issuer: &str, subject: &str) -> Digest {
        hmac_sha256(self.key.expose(), &[b"owner", issuer.as_bytes(), subject.as_bytes()])
    }

    fn waiting_prefix(&self, identifier: &Phi) -> Vec<u8> {
        let hash = hmac_sha256(self.key.expose(), &[b"waiting", identifier.expose().as_bytes()]);
        [&[WAITING], &hash[..]].concat()
    }
}

/// Captures due at `now`, longest due first.
pub(super) fn due(store: &dyn Store, now: Timestamp, limit: usize) -> Result<Vec<CaptureId>, JournalError> {
    ids(store, &[DUE], &after_prefix(&due_prefix(now)), limit)
}

/// Captures of a stage behind `after`.
pub(super) fn staged(
    store: &dyn Store,
    stage: Stage,
    after: Option<CaptureId>,
    limit: usize,
) -> Result<Vec<CaptureId>, JournalError> {
    behind(store, &stage_prefix(stage), after, limit)
}

/// All captures of a stage.
pub(super) fn all_staged(store: &dyn Store, stage: Stage) -> Result<Vec<CaptureId>, JournalError> {
    all(store, &stage_prefix(stage))
}

/// Captures due later than `after`, soonest first.
pub(super) fn due_after(store: &dyn Store, after: Timestamp, limit: usize) -> Result<Vec<CaptureId>, JournalError> {
    ids(store, &after_prefix(&due_prefix(after)), &after_prefix(&[DUE]), limit)
}

/// Every identifier a claim names, and those beside it that the capture waits for.
fn named(record: &Record) -> Vec<&Phi> {
    let claim = &record.acceptance.claim;
    let order = claim.order.as_ref().map(|order| match order {
        OrderKey::Accession(id) | OrderKey::Placer(id) | OrderKey::Filler(id) | OrderKey::StudyInstanceUid(id) => id,
    });
    let patient = claim.patient.as_ref().map(|p| &p.id);
    let claimed = [patient, claim.visit.as_ref(), order, claim.barcode.as_ref()].into_iter().flatten();
    claimed.chain(&record.also_waits_for).filter(|id| !id.is_empty()).collect()
}

fn stage_prefix(stage: Stage) -> [u8; 2] {
    [STAGE, stage_number(stage)]
}

/// The words of stages are stable, their order in the enum need not be.
pub(super) fn stage_number(stage: Stage) -> u8 {
    match stage {
        Stage::Accepted => 1,
        Stage::Identified => 2,
        Stage::Wrapped => 3,
        Stage::Forwarded => 4,
        Stage::Committed => 5,
        Stage::Held => 6,
        Stage::Discarded => 7,
    }
}

pub(super) fn stage_of(number: u8) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| stage_number(*stage) == number)
}

/// Nanoseconds since 1970, moved so that times before it sort before.
pub(super) fn sortable(due: Timestamp) -> [u8; 16] {
    (due.as_nanosecond().cast_unsigned() ^ (1 << 127)).to_be_bytes()
}

fn due_prefix(due: Timestamp) -> Vec<u8> {
    [&[DUE], &sortable(due)[..]].concat()
}

/// Captures of one prefix behind `after`, by id.
fn behind(store: &dyn Store, prefix: &[u8], after: Option<CaptureId>, limit: usize) -> Result<Vec<CaptureId>, JournalError> {
    let mut from = prefix.to_vec();
    if let Some(after) = after {
        from.extend(after.to_bytes());
        from.push(0);
    }
    ids(store, &from, &after_prefix(prefix), limit)
}

fn all(store: &dyn Store, prefix: &[u8]) -> Result<Vec<CaptureId>, JournalError> {
    let mut found = Vec::new();
    loop {
        let next = behind(store, prefix, found.last().copied(), SCAN_ROWS)?;
        let is_end = next.len() < SCAN_ROWS;
        found.extend(next);
        if is_end {
            return Ok(found);
        }
    }
}

/// The ids at the end of the keys.
fn ids(store: &dyn Store, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<CaptureId>, JournalError> {
    let keys = sheets::scan(store, from, until, limit)?;
    let id = |key: &[u8]| key.last_chunk::<ID_BYTES>().copied().map(CaptureId::from_bytes);
    keys.iter().map(|key| id(key).ok_or(JournalError::Broken("an index key without a capture"))).collect()
}
