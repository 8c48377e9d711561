//! The one row per capture.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::failure::Failure;
use super::id::CaptureId;
use super::media::{Essence, Facts, MediaKind};
use super::person::Operator;
use super::stage::Stage;
use super::uid::Uid;

/// SHA-256.
pub type Digest = [u8; 32];

/// What is true of a capture from the moment of acceptance and never changes: the capture's part
/// of every sealed manifest, so that the journal can be rebuilt from the spool alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    pub id: CaptureId,
    pub accepted_at: Timestamp,
    pub operator: Operator,
    /// Present where the sender gave an Idempotency-Key.
    pub idempotency: Option<Idempotency>,
    pub claim: Claim,
    /// How many items the capture has.
    pub items: u16,
}

/// Same key and same digest: same answer. Same key and another digest: refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// SHA-256 over issuer, subject and key.
    #[serde(with = "super::hex")]
    pub key: Digest,
    /// SHA-256 over the claim by value and the digests of the files in order.
    #[serde(with = "super::hex")]
    pub request: Digest,
}

/// The item's part of its sealed manifest: true from acceptance, never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFacts {
    pub media: MediaKind,
    /// Bytes received, and their digest.
    pub size_bytes: u64,
    #[serde(with = "super::hex")]
    pub sha256: Digest,
    /// Bytes sealed, after the scrub.
    pub sealed_bytes: u64,
    pub sop_instance_uid: Uid,
    pub location_found: bool,
    pub removed: Vec<String>,
    pub essence: Essence,
    pub facts: Facts,
}

/// One item with the capture it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u16,
    pub acceptance: Acceptance,
    pub index: u16,
    pub item: ItemFacts,
}

impl Manifest {
    pub const VERSION: u16 = 1;
}

/// What is sealed behind an item's bytes. The head (item 0) carries the acceptance of the whole
/// capture: it is ended last, when the number of items is known, and a capture lives while its
/// head does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedManifest {
    pub version: u16,
    pub capture: CaptureId,
    pub index: u16,
    pub item: ItemFacts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
}

impl SealedManifest {
    pub const VERSION: u16 = 1;
}

/// The journal's row of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub version: u16,
    pub acceptance: Acceptance,
    pub items: Vec<ItemRecord>,
    pub study_instance_uid: Option<Uid>,
    /// For a person: why no visit was chosen, that a profile was dropped … Never patient data.
    #[serde(default)]
    pub notes: Vec<String>,
    pub history: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    pub facts: ItemFacts,
    pub stage: Stage,
    /// Where `Held` resumes.
    pub resume: Stage,
    pub schedule: Schedule,
    pub failure: Option<Failure>,
}

/// When an item is due. `None`: not by time (held, or done).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub due: Option<Timestamp>,
    /// Counted before acting.
    pub attempts: u32,
    /// Those of them of which it is known that the archive stored nothing.
    #[serde(default)]
    pub unsent: u32,
}

/// One line of a capture's history. `why` has no patient data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    pub item: u16,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A record contradicts itself: a bug, never a user's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl Record {
    pub const VERSION: u16 = 1;
    /// A longer history keeps its first and its latest lines.
    const HISTORY_MAX: usize = 200;

    /// The record of a capture that was just accepted; all its items are due at once.
    #[must_use]
    pub fn accepted(acceptance: Acceptance, items: Vec<ItemFacts>) -> Self {
        let at = acceptance.accepted_at;
        let history = (0..acceptance.items).map(|item| Event { at, item, stage: Stage::Accepted, why: None }).collect();
        let items = items
            .into_iter()
            .map(|mut facts| ItemRecord {
                // It may be large; it is read from the sealed manifest when the object is built.
                facts: {
                    facts.facts.icc_profile = None;
                    facts
                },
                stage: Stage::Accepted,
                resume: Stage::Accepted,
                schedule: Schedule { due: Some(at), attempts: 0, unsent: 0 },
                failure: None,
            })
            .collect();
        Self { version: Self::VERSION, acceptance, items, study_instance_uid: None, notes: Vec::new(), history }
    }

    #[must_use]
    pub fn id(&self) -> CaptureId {
        self.acceptance.id
    }

    /// The least advanced of the items; `Held` if any is held.
    #[must_use]
    pub fn stage(&self) -> Stage {
        if self.items.iter().any(|i| i.stage == Stage::Held) {
            return Stage::Held;
        }
        let open = self.items.iter().map(|i| i.stage).filter(|s| *s != Stage::Discarded).min();
        open.unwrap_or(Stage::Discarded)
    }

    /// The earliest due time of any item.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.items.iter().filter_map(|i| i.schedule.due).min()
    }

    /// True where the archive certainly has no object of this capture.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        let waits = |stage| matches!(stage, Stage::Accepted | Stage::Identified | Stage::Wrapped | Stage::Held);
        self.items.iter().all(|i| waits(i.stage) && i.schedule.attempts == i.schedule.unsent)
    }

    /// Moves one item by the transition table and writes the history. An illegal move changes
    /// nothing.
    ///
    /// # Errors
    /// [`Broken`] where the table does not allow it, or there is no such item.
    pub fn move_item(&mut self, index: u16, stage: Stage, at: Timestamp, why: Option<String>) -> Result<(), Broken> {
        let item = self.items.get_mut(usize::from(index)).ok_or(Broken("no such item"))?;
        if !item.stage.may_become(stage) {
            return Err(Broken("a stage that may not follow"));
        }
        if stage == Stage::Held && item.stage != Stage::Held {
            item.resume = item.stage;
        }
        if item.stage != stage || why.is_some() {
            self.history.push(Event { at, item: index, stage, why });
            if self.history.len() > Self::HISTORY_MAX {
                self.history.remove(Self::HISTORY_MAX / 2);
            }
        }
        item.stage = stage;
        Ok(())
    }

    /// What must hold before a write and after a read.
    ///
    /// # Errors
    /// [`Broken`] names the rule.
    pub fn check(&self) -> Result<(), Broken> {
        if self.items.is_empty() || self.items.len() != usize::from(self.acceptance.items) {
            return Err(Broken("the number of items is not the accepted one"));
        }
        let past_identity = |s: Stage| matches!(s, Stage::Identified | Stage::Wrapped | Stage::Forwarded | Stage::Committed);
        if self.study_instance_uid.is_none() && self.items.iter().any(|i| past_identity(i.stage)) {
            return Err(Broken("identified without a study"));
        }
        Ok(())
    }
}
