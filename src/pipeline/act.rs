//! What a person decides about a capture.
//!
//! The line is the journal's only writer, so a decision is a note in its inbox: the next round
//! applies it, together with everything else it writes, and answers. A capture in a worker's hands
//! settles first; who cannot wait so long takes the note out again.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use jiff::Timestamp;

use super::identify::{self, Doubt, Match};
use super::refusal::{Refusal, RefusalCode};
use crate::capture::claim::{ClaimError, PatientKey};
use crate::capture::record::{Event, Schedule};
use crate::capture::text::is_plain;
use crate::capture::{CaptureId, Claim, Failure, FailureCode, Leg, Operator, Phi, Record, Stage};
use crate::lookup::Lookup;

/// Decisions that wait at a time, each with a thread of the door: more than a desk has people.
const INBOX_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// What is held goes on where it was; what waits for its time is due now.
    Retry,
    /// What is not at the archive stays until a person says otherwise.
    Hold,
    /// What is held is given up.
    Discard,
    /// It is this patient's.
    Assign(PatientKey),
}

impl Act {
    /// As in the API and at the shell.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Discard => "discard",
            Self::Assign(_) => "assign",
        }
    }

    /// As the audit trail has it: before it is done, and when it was.
    #[must_use]
    pub fn actions(&self) -> (&'static str, &'static str) {
        match self {
            Self::Retry => ("capture.retry.asked", "capture.retry"),
            Self::Hold => ("capture.hold.asked", "capture.hold"),
            Self::Discard => ("capture.discard.asked", "capture.discard"),
            Self::Assign(_) => ("capture.assign.asked", "capture.assign"),
        }
    }

    fn past(&self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Hold => "held",
            Self::Discard => "discarded",
            Self::Assign(_) => "assigned",
        }
    }
}

/// Why, in the person's own words. They may speak of a patient: they go into the capture's history
/// and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Phi);

impl Reason {
    /// A few sentences.
    pub const CHARS_MAX: usize = 500;

    /// `None` where it is empty, too long or no plain text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= Self::CHARS_MAX && is_plain(text);
        fits.then(|| Self(text.into()))
    }

    fn text(&self) -> &str {
        self.0.expose()
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub capture: CaptureId,
    pub by: Operator,
    pub act: Act,
    pub reason: Reason,
}

/// The capture as it stands after a decision.
pub type Verdict = Result<Record, Refusal>;

/// Decisions that wait for a round.
#[derive(Default)]
pub(super) struct Inbox {
    notes: VecDeque<Note>,
    numbers: u64,
}

pub(super) struct Note {
    number: u64,
    pub(super) decision: Decision,
    answer: SyncSender<Verdict>,
    /// What to say to who does not wait any longer.
    waits: Refusal,
    /// A round tried to write it: some of it may be on the disk.
    tried: bool,
}

/// Where the answer to a decision comes in.
pub struct Awaited {
    pub(super) number: u64,
    pub(super) answer: Receiver<Verdict>,
}

impl Inbox {
    pub(super) fn add(&mut self, decision: Decision) -> Result<Awaited, Refusal> {
        if self.notes.len() >= INBOX_MAX {
            return Err(Refusal::new(RefusalCode::Busy, "Too many decisions wait at this moment. Try again in a few seconds."));
        }
        let (tell, answer) = sync_channel(1);
        self.numbers += 1;
        self.notes.push_back(Note { number: self.numbers, decision, answer: tell, waits: in_hand(), tried: false });
        Ok(Awaited { number: self.numbers, answer })
    }

    pub(super) fn take(&mut self) -> Vec<Note> {
        self.notes.drain(..).collect()
    }

    /// Back in their order, in front of what came meanwhile.
    pub(super) fn put_back(&mut self, notes: Vec<Note>) {
        notes.into_iter().rev().for_each(|note| self.notes.push_front(note));
    }

    /// Back after a round that could not be written.
    pub(super) fn put_back_tried(&mut self, notes: Vec<Note>) {
        self.put_back(notes.into_iter().map(|note| Note { tried: true, ..note }).collect());
    }

    /// What to answer where the note is still there; it is gone then.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<Refusal> {
        let at = self.notes.iter().position(|note| note.number == number)?;
        let note = self.notes.remove(at)?;
        Some(if note.tried { unanswered() } else { note.waits })
    }
}

impl Note {
    /// Not in this round, and what to say to who does not wait for the next.
    pub(super) fn waiting(self, why: Refusal) -> Self {
        Self { waits: why, ..self }
    }

    pub(super) fn tell(&self, verdict: Verdict) {
        // Who asked may have left.
        let _ = self.answer.try_send(verdict);
    }
}

pub(super) fn absent() -> Refusal {
    Refusal::new(RefusalCode::NotFound, "There is no such capture, or it is not yours to see.")
}

pub(super) fn unreadable() -> Refusal {
    let detail = "What the gateway knows of the capture cannot be read just now. Nothing was changed; try again, and tell the administrator if it stays so.";
    Refusal::new(RefusalCode::Unavailable, detail)
}

pub(super) fn in_hand() -> Refusal {
    let detail = "The capture is being sent at this moment. Nothing was changed; try again in a few seconds.";
    Refusal::new(RefusalCode::Conflict, detail)
}

pub(super) fn unanswered() -> Refusal {
    let detail = "The decision could not be written in time; it may still happen. Look at the capture before you repeat it.";
    Refusal::new(RefusalCode::Unavailable, detail)
}

/// A conflict that waiting does not end.
fn conflict(detail: &str) -> Refusal {
    Refusal { lasts: true, ..Refusal::new(RefusalCode::Conflict, detail) }
}

/// What is held goes on where it was; what waits is due now. Attempts stay counted.
///
/// # Errors
/// Nothing is held and nothing waits.
pub(super) fn retry(record: &mut Record, now: Timestamp, decision: &Decision) -> Result<(), Refusal> {
    let next = |leg: &Leg| match leg.stage {
        Stage::Held => Some(leg.resume),
        Stage::Accepted | Stage::Identified | Stage::Wrapped => Some(leg.stage),
        // Due for its commitment.
        Stage::Forwarded => leg.schedule.due.map(|_| Stage::Forwarded),
        Stage::Committed | Stage::Discarded => None,
    };
    let mut done = 0;
    for index in 0..record.acceptance.items {
        let Some(item) = record.items.get(usize::from(index)) else { continue };
        for stage in Stage::ALL.into_iter().filter(|stage| item.any_leg(|leg| next(leg) == Some(*stage))).collect::<Vec<_>>() {
            // What failed and waits keeps its failure until it is known better.
            let is_held = record.items.get(usize::from(index)).is_some_and(|item| item.stage == Stage::Held);
            enter(
                record,
                index,
                stage,
                now,
                decision,
                |leg| next(leg) == Some(stage),
                |leg| {
                    leg.schedule.due = Some(now);
                    if is_held {
                        leg.failure = None;
                    }
                },
            )?;
            done += 1;
        }
    }
    if done > 0 { Ok(()) } else { Err(conflict("Nothing of this capture is held or waits, so there is nothing to retry.")) }
}

/// Everything that is not at its archive waits for a person, also what was held for a doubt that
/// the hospital might lift.
///
/// # Errors
/// Nothing is left to hold.
pub(super) fn hold(record: &mut Record, now: Timestamp, decision: &Decision) -> Result<(), Refusal> {
    let is_open = |leg: &Leg| match leg.stage {
        Stage::Accepted | Stage::Identified | Stage::Wrapped => true,
        Stage::Held => !is_held_by_person(leg),
        Stage::Forwarded | Stage::Committed | Stage::Discarded => false,
    };
    let failure = Failure::new(FailureCode::HeldByPerson, "a person stopped it; see the history", now);
    let done = each(record, Stage::Held, now, decision, is_open, |leg| {
        leg.failure = Some(failure.clone());
        leg.schedule.due = None;
    })?;
    let nothing = "Nothing of this capture can be held: it is held by a person already, at the archive, or discarded.";
    if done > 0 { Ok(()) } else { Err(conflict(nothing)) }
}

/// Items of which a person stopped or gave up a leg, as long as that holds.
pub(super) fn stopped(record: &Record) -> Vec<u16> {
    let is_stopped = |leg: &Leg| match leg.stage {
        Stage::Held => is_held_by_person(leg),
        Stage::Discarded => true,
        Stage::Accepted | Stage::Identified | Stage::Wrapped | Stage::Forwarded | Stage::Committed => false,
    };
    (0..).zip(&record.items).filter(|(_, item)| item.any_leg(is_stopped)).map(|(index, _)| index).collect()
}

fn is_held_by_person(leg: &Leg) -> bool {
    leg.failure.as_ref().is_some_and(|f| f.code == FailureCode::HeldByPerson)
}

/// What is held is given up. Its bytes go when nothing else of the capture needs them, after
/// the journal has it.
///
/// # Errors
/// Nothing is held.
pub(super) fn discard(record: &mut Record, now: Timestamp, decision: &Decision) -> Result<(), Refusal> {
    let done = each(record, Stage::Discarded, now, decision, |leg| leg.stage == Stage::Held, |_| ())?;
    if done > 0 { Ok(()) } else { Err(conflict("Only what is held can be discarded. Hold it first.")) }
}

/// # Errors
/// Bytes may have left under the binding there is, or nothing is left to assign.
pub(super) fn may_be_assigned(record: &Record) -> Result<(), Refusal> {
    let has_left = |leg: &Leg| match leg.progress() {
        Stage::Forwarded | Stage::Committed => true,
        // Attempts of which the archive certainly has nothing do not count.
        Stage::Identified | Stage::Wrapped => leg.sent() > 0,
        Stage::Accepted | Stage::Held | Stage::Discarded => false,
    };
    if record.items.iter().any(|item| item.any_leg(has_left)) {
        return Err(conflict(
            "An attempt to send it was made, so the archive may have it under the patient it was sent for. Correct it at the archive; here it can be held or discarded.",
        ));
    }
    if record.items.iter().all(|i| i.stage == Stage::Discarded) {
        return Err(conflict("The capture was discarded; there is nothing left to assign."));
    }
    Ok(())
}

/// The match for the patient whom a person names. What else the claim names is kept where the
/// hospital says that it is this patient's, else it is left out and noted.
///
/// # Errors
/// Nobody, more than one, or somebody whom the hospital has withdrawn.
pub(super) fn assigned_match(claim: &Claim, key: &PatientKey, lookup: &dyn Lookup, home: &str) -> Result<Match, Doubt> {
    let bare = Claim { patient: Some(key.clone()), visit: None, order: None, barcode: None, birth_date: None, ..claim.clone() };
    let mut found = identify::identify(&bare, lookup, home)?;
    let (mut kept, mut notes) = (bare, Vec::new());
    for what in ["order", "visit", "barcode"] {
        // One after the other: what was kept so far stays.
        let mut wider = kept.clone();
        match what {
            "order" => wider.order.clone_from(&claim.order),
            "visit" => wider.visit.clone_from(&claim.visit),
            _ => wider.barcode.clone_from(&claim.barcode),
        }
        if wider == kept {
            continue;
        }
        match identify::identify(&wider, lookup, home) {
            Ok(wider_match) => (kept, found) = (wider, wider_match),
            Err(doubt @ (FailureCode::LookupUnavailable, _)) => return Err(doubt),
            Err(_) => {
                notes.push(format!("Assigned by a person: the {what} of the claim is not this patient's and was left out."));
            }
        }
    }
    found.notes.append(&mut notes);
    Ok(found)
}

pub(super) fn refuse_doubt((code, detail): Doubt) -> Refusal {
    match code {
        FailureCode::LookupUnavailable => {
            Refusal::new(RefusalCode::Unavailable, "The hospital's facts cannot be read just now. Try again.")
        }
        FailureCode::StoreUnavailable => unreadable(),
        FailureCode::StudyUnknown => Refusal::new(
            RefusalCode::Unavailable,
            "The worklist, or an archive, does not say now which study the order has. Nothing was changed; try again.",
        ),
        FailureCode::PatientUnknown => Refusal::new(
            RefusalCode::UnknownPatient,
            "The hospital has not announced a patient of this number. Check number and issuer; nothing was changed.",
        ),
        _ => Refusal {
            errors: vec![ClaimError { pointer: "/patient".to_owned(), detail }],
            ..Refusal::new(
                RefusalCode::ClaimInvalid,
                "It cannot be assigned to this patient; `errors` says why. Nothing was changed.",
            )
        },
    }
}

/// Every item that is left goes on, identified, under the new binding.
///
/// # Errors
/// A record that contradicts itself.
pub(super) fn assigned(record: &mut Record, now: Timestamp, decision: &Decision) -> Result<(), Refusal> {
    let anew = |leg: &mut Leg| {
        leg.failure = None;
        leg.schedule = Schedule { due: Some(now), ..Schedule::default() };
    };
    // A stage never goes back; the object is built from the new binding all the same.
    each(record, Stage::Wrapped, now, decision, |leg| leg.stage == Stage::Wrapped, anew)?;
    let before = |leg: &Leg| matches!(leg.stage, Stage::Accepted | Stage::Identified | Stage::Held);
    each(record, Stage::Identified, now, decision, before, anew)?;
    Ok(())
}

/// Moves the legs that are meant of every item; how many items have some.
fn each(
    record: &mut Record,
    stage: Stage,
    at: Timestamp,
    decision: &Decision,
    is_meant: impl Fn(&Leg) -> bool,
    and_then: impl Fn(&mut Leg),
) -> Result<usize, Refusal> {
    let mut done = 0;
    for index in 0..record.acceptance.items {
        if record.items.get(usize::from(index)).is_some_and(|item| item.any_leg(&is_meant)) {
            enter(record, index, stage, at, decision, &is_meant, &and_then)?;
            done += 1;
        }
    }
    Ok(done)
}

/// Moves legs of an item and notes who decided it, and why.
fn enter(
    record: &mut Record,
    item: u16,
    stage: Stage,
    at: Timestamp,
    decision: &Decision,
    is_meant: impl Fn(&Leg) -> bool,
    and_then: impl Fn(&mut Leg),
) -> Result<(), Refusal> {
    let Decision { by, act, reason, .. } = decision;
    let who = if by.name.is_empty() { &by.subject } else { &by.name };
    let why = Some(format!("{}: {}", act.past(), reason.text()));
    let event = Event { at, item, stage, why, by: Some(who.clone()), archive: None };
    record.enter_where(event, is_meant, and_then).map_err(|_| {
        Refusal::new(RefusalCode::Unavailable, "The record of the capture contradicts itself. Nothing was changed; report it.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_that_is_taken_out_again_says_whether_it_can_still_happen() {
        let decision = || Decision {
            capture: CaptureId::new(1, [1; 10]),
            by: Operator { issuer: String::new(), subject: "u".to_owned(), name: String::new() },
            act: Act::Hold,
            reason: Reason::parse("why").unwrap(),
        };
        let mut inbox = Inbox::default();
        let (first, second) = (inbox.add(decision()).unwrap(), inbox.add(decision()).unwrap());
        let notes = inbox.take();
        inbox.put_back(notes);
        let untouched = inbox.withdraw(first.number).unwrap();
        assert!(untouched.code == RefusalCode::Conflict && untouched.is_retryable());
        let notes = inbox.take();
        assert!(inbox.withdraw(second.number).is_none(), "a round has it");
        inbox.put_back_tried(notes);
        assert_eq!(inbox.withdraw(second.number).map(|r| r.code), Some(RefusalCode::Unavailable));
        for _ in 0..INBOX_MAX {
            inbox.add(decision()).unwrap();
        }
        assert_eq!(inbox.add(decision()).map(|_| ()).map_err(|r| r.code), Err(RefusalCode::Busy));
    }

    #[test]
    fn a_reason_is_plain_and_never_empty() {
        for bad in ["", "   ", "two\nlines", &"x".repeat(501)] {
            assert_eq!(Reason::parse(bad), None, "{bad:?}");
        }
        let reason = Reason::parse(" wrong patient ").unwrap();
        assert_eq!(reason.text(), "wrong patient");
        assert!(!format!("{reason:?}").contains("wrong"), "a reason may not get into a log");
        assert!(Reason::parse(&"ü".repeat(500)).is_some());
    }
}
