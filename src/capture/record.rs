//! The one row per capture.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::failure::{Failure, FailureCode};
use super::id::CaptureId;
use super::leg::Leg;
use super::media::{Essence, Facts, MediaKind};
use super::person::Operator;
use super::stage::Stage;
use super::text::Phi;
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
    /// Their digest: where nothing was taken out, that of the bytes received. None where an older gateway
    /// sealed them.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::hex::option")]
    pub sealed_sha256: Option<Digest>,
    pub sop_instance_uid: Uid,
    pub location_found: bool,
    pub removed: Vec<String>,
    pub essence: Essence,
    /// Version of the verifier that read what was sealed; 0 where an older gateway did not say.
    #[serde(default)]
    pub verifier: u16,
    /// It was sealed as it was received, for a scrub would destroy what it is worth (a signature): so
    /// nothing was taken out, nothing is known of what it tells, and it never leaves. Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_as_received: Option<FailureCode>,
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
    /// Keyed hash of the patient, once that is known: captures with the same one leave in the
    /// order in which they were accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_key: Option<u64>,
    /// Identifiers beside the claim's whose news may release it: whom a person named, whose it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_waits_for: Vec<Phi>,
    /// For a person: why no visit was chosen, that a profile was dropped … Never patient data.
    #[serde(default)]
    pub notes: Vec<String>,
    pub history: Vec<Event>,
    /// Lines that a long history left out of its middle.
    #[serde(default)]
    pub left_out: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    pub facts: ItemFacts,
    /// The least advanced of its legs; `Held` if any is held. So in all members below: they are
    /// the item's own only while it has no legs.
    pub stage: Stage,
    /// Where `Held` resumes.
    pub resume: Stage,
    pub schedule: Schedule,
    pub failure: Option<Failure>,
    /// Of the coded picture as the archive last took it; none of a photo that left as it was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::hex::option")]
    pub sent_sha256: Option<Digest>,
    /// One for each archive it goes to, decided once. Empty: not decided yet, because no archive
    /// is configured or none takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<Leg>,
}

impl ItemRecord {
    /// True where nothing is left to do: an item at the archive whose commitment is still to be
    /// asked for is due for that.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.stage.is_at_rest(self.schedule.due.is_some())
    }

    /// Where it stands, or stood before it was held or discarded.
    #[must_use]
    pub fn progress(&self) -> Stage {
        progress(self.stage, self.resume)
    }
}

pub(super) fn progress(stage: Stage, resume: Stage) -> Stage {
    match stage {
        Stage::Held | Stage::Discarded => resume,
        Stage::Accepted | Stage::Identified | Stage::Wrapped | Stage::Forwarded | Stage::Committed => stage,
    }
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
    /// An attempt was begun and nobody knows its end: told before acting. Who finds it so later
    /// knows that the process died meanwhile.
    #[serde(default, skip_serializing_if = "is_false")]
    pub open: bool,
    /// So often in a row the process died with an attempt open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deaths: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands in a reference
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands in a reference
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// One line of a capture's history. `why` is the gateway's word without patient data, or, where a
/// person decided, that person's: shown to whoever may see the capture, and written to no log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    pub item: u16,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who decided; `None`: the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of this leg alone; `None`: of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

/// A record contradicts itself: a bug, never a user's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl Record {
    /// 2: legs. A row of 1 has none; they are added when the row is taken up.
    pub const VERSION: u16 = 2;
    /// A longer history keeps its first and its latest lines.
    const HISTORY_MAX: usize = 200;
    const HISTORY_KEPT_FIRST: usize = 100;

    /// The record of a capture that was just accepted; all its items are due at once.
    #[must_use]
    pub fn accepted(acceptance: Acceptance, items: Vec<ItemFacts>) -> Self {
        let at = acceptance.accepted_at;
        let history = (0..acceptance.items)
            .map(|item| Event { at, item, stage: Stage::Accepted, why: None, by: None, archive: None })
            .collect();
        let items = items
            .into_iter()
            .map(|mut facts| ItemRecord {
                // They may be large; they are read from the sealed manifest when the object is built.
                facts: {
                    facts.facts.icc_profile = None;
                    facts.facts.details.exposure.clear();
                    facts
                },
                stage: Stage::Accepted,
                resume: Stage::Accepted,
                schedule: Schedule { due: Some(at), ..Schedule::default() },
                failure: None,
                sent_sha256: None,
                legs: Vec::new(),
            })
            .collect();
        let mut record = Self {
            version: Self::VERSION,
            acceptance,
            items,
            study_instance_uid: None,
            patient_key: None,
            also_waits_for: Vec::new(),
            notes: Vec::new(),
            history,
            left_out: 0,
        };
        record.notes = record.turn_notes().collect();
        record
    }

    /// A note for each file that asks for two turns: a person alone can tell which is right.
    pub fn turn_notes(&self) -> impl Iterator<Item = String> + use<> {
        let disputed: Vec<u32> =
            self.items.iter().zip(1..).filter(|(item, _)| item.facts.facts.details.is_turn_disputed).map(|(_, n)| n).collect();
        disputed.into_iter().map(|number| {
            format!(
                "File {number}: its Exif block asks for another turn than the file itself has. The file's own turn was used, as the standard says; look whether the picture is upright."
            )
        })
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

    /// The earliest due time of any item, legs that wait for their archive apart: those stand in
    /// its queue.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.items.iter().filter(|i| i.legs.is_empty() || i.stage == Stage::Accepted).filter_map(|i| i.schedule.due).min()
    }

    /// True where the archive certainly has no object of this capture.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        let is_open = |leg: &Leg| matches!(leg.progress(), Stage::Accepted | Stage::Identified | Stage::Wrapped);
        !self.items.iter().any(|item| item.any_leg(|leg| !is_open(leg) || leg.sent() > 0))
    }

    /// Moves one item by the transition table, with all its legs that the table allows to, and
    /// writes the history. An illegal move changes nothing.
    ///
    /// # Errors
    /// [`Broken`] where the table does not allow it, or there is no such item.
    pub fn move_item(&mut self, index: u16, stage: Stage, at: Timestamp, why: Option<String>) -> Result<(), Broken> {
        self.enter(Event { at, item: index, stage, why, by: None, archive: None })
    }

    /// True of an item that is a video.
    #[must_use]
    pub fn is_film(&self, index: u16) -> bool {
        self.items.get(usize::from(index)).is_some_and(|item| item.facts.media.is_video())
    }

    /// Moves one item, or the leg that the line names, as a line of the history says, and adds the
    /// line.
    ///
    /// # Errors
    /// As for [`Record::move_item`].
    pub fn enter(&mut self, event: Event) -> Result<(), Broken> {
        let archive = event.archive.clone();
        self.enter_where(event, |leg| archive.as_ref().is_none_or(|name| *name == leg.archive), |_| ())
    }

    /// As [`Record::enter`], for those legs of the item that are meant; `and_then` changes each
    /// that the table lets go there.
    ///
    /// # Errors
    /// As for [`Record::move_item`].
    pub fn enter_where(
        &mut self,
        event: Event,
        is_meant: impl Fn(&Leg) -> bool,
        and_then: impl Fn(&mut Leg),
    ) -> Result<(), Broken> {
        let item = self.items.get_mut(usize::from(event.item)).ok_or(Broken("no such item"))?;
        let (mut allowed, mut moved) = (0, 0);
        item.change_legs(|leg| {
            if is_meant(leg) && leg.may_become(event.stage) {
                allowed += 1;
                moved += u32::from(leg.become_stage(event.stage));
                and_then(leg);
            }
        });
        if allowed == 0 {
            return Err(Broken("a stage that may not follow"));
        }
        if moved > 0 || event.why.is_some() {
            self.history.push(event);
            if self.history.len() > Self::HISTORY_MAX {
                self.history.remove(Self::HISTORY_KEPT_FIRST);
                self.left_out = self.left_out.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Changes schedule or failure of each leg of an item, or of the item while it has none.
    pub fn change_legs(&mut self, index: u16, change: impl FnMut(&mut Leg)) {
        if let Some(item) = self.items.get_mut(usize::from(index)) {
            item.change_legs(change);
        }
    }

    /// One leg of an item.
    #[must_use]
    pub fn leg(&self, index: u16, archive: &str) -> Option<&Leg> {
        self.items.get(usize::from(index))?.legs.iter().find(|leg| leg.archive == archive)
    }

    /// Decides to which archives an item goes: each leg goes on where the item stands. Decided
    /// once: where there are legs nothing happens.
    pub fn route(&mut self, index: u16, archives: &[String]) {
        self.version = Self::VERSION;
        let undecided = self.items.get_mut(usize::from(index)).filter(|item| item.legs.is_empty() && !archives.is_empty());
        if let Some(item) = undecided {
            let own = item.as_leg();
            item.legs = archives.iter().map(|archive| Leg { archive: archive.clone(), ..own.clone() }).collect();
            item.summarize();
        }
    }

    /// The history from its `first` line on (from 0), each line with its number: a number stays
    /// the line's own, also when lines before it are left out.
    pub fn history_from(&self, first: u64) -> impl Iterator<Item = (u64, &Event)> {
        let number = |index: usize| {
            let moved = if index < Self::HISTORY_KEPT_FIRST { 0 } else { u64::from(self.left_out) };
            u64::try_from(index).unwrap_or(u64::MAX).saturating_add(moved)
        };
        self.history.iter().enumerate().map(move |(index, event)| (number(index), event)).filter(move |(n, _)| *n >= first)
    }

    /// The number of the history's next line.
    #[must_use]
    pub fn history_lines(&self) -> u64 {
        self.history_from(0).last().map_or(0, |(number, _)| number.saturating_add(1))
    }

    /// True where the gateway has nothing left to do by itself for any item.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.items.iter().all(ItemRecord::is_at_rest)
    }

    /// True where the sealed bytes may go by a person's decision: an item was discarded, and no
    /// other needs them any more.
    #[must_use]
    pub fn is_erasable(&self) -> bool {
        self.is_at_rest() && self.items.iter().any(|i| i.stage == Stage::Discarded)
    }

    /// What must hold before a write and after a read.
    ///
    /// # Errors
    /// [`Broken`] names the rule.
    pub fn check(&self) -> Result<(), Broken> {
        if self.items.is_empty() || self.items.len() != usize::from(self.acceptance.items) {
            return Err(Broken("the number of items is not the accepted one"));
        }
        if self
            .items
            .iter()
            .any(|i| i.legs.iter().enumerate().any(|(n, leg)| i.legs.iter().skip(n + 1).any(|l| l.archive == leg.archive)))
        {
            return Err(Broken("an item goes to one archive twice"));
        }
        let past_identity = |s: Stage| matches!(s, Stage::Identified | Stage::Wrapped | Stage::Forwarded | Stage::Committed);
        if self.study_instance_uid.is_none() && self.items.iter().any(|i| past_identity(i.stage)) {
            return Err(Broken("identified without a study"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::MediaKind;
    use crate::capture::media::{Coding, Details, Orientation, PictureFormat};

    fn record() -> Record {
        let claim = serde_json::json!({"patient": {"id": "4711"}, "department": "derm"});
        let acceptance = Acceptance {
            id: CaptureId::new(1, [1; 10]),
            accepted_at: Timestamp::UNIX_EPOCH,
            operator: Operator { issuer: String::new(), subject: "u".to_owned(), name: String::new() },
            idempotency: None,
            claim: Claim::from_json(&claim).unwrap(),
            items: 1,
        };
        let facts = Facts {
            format: PictureFormat { width: 1, height: 1, coding: Coding::JpegBaselineYcbcr },
            orientation: Orientation::UPRIGHT,
            taken_at: None,
            make: None,
            model: None,
            software: None,
            details: Details::default(),
            icc_profile: None,
        };
        let item = ItemFacts {
            media: MediaKind::Jpeg,
            size_bytes: 1,
            sha256: [0; 32],
            sealed_bytes: 1,
            sealed_sha256: None,
            sop_instance_uid: Uid::from_uuid_bytes([7; 16]),
            location_found: false,
            removed: Vec::new(),
            essence: Essence::Unchanged,
            verifier: 1,
            sealed_as_received: None,
            facts,
        };
        Record::accepted(acceptance, vec![item])
    }

    #[test]
    fn a_line_of_the_history_keeps_its_number_however_long_the_history_gets() {
        let mut record = record();
        let at = Timestamp::UNIX_EPOCH;
        for n in 1..1_000 {
            record.move_item(0, Stage::Accepted, at, Some(n.to_string())).unwrap();
        }
        assert_eq!(record.history.len(), Record::HISTORY_MAX);
        for (number, event) in record.history_from(1) {
            assert_eq!(event.why, Some(number.to_string()));
        }
        assert_eq!(record.history_from(998).count(), 2);
        assert_eq!(record.history_from(1_000).count(), 0);
    }
}
