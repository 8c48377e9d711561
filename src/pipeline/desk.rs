//! What a person may see, ask, and decide.

use std::sync::Arc;

use super::act::{Act, Decision, Reason};
use super::pending::Pending;
use super::refusal::{Refusal, RefusalCode};
use super::step::Line;
use crate::audit::{Audit, Event, Object, Outcome};
use crate::capture::claim::OrderKey;
use crate::capture::{CaptureId, Operator, Phi, Record, Stage};
use crate::clock::Clock;
use crate::identity::{Permit, Scope};
use crate::journal::{Filter, Journal};
use crate::lookup::{Answer, Asked, Lookup};

/// One page of captures, and where the next one begins.
pub type Page = (Vec<Record>, Option<CaptureId>);

pub trait Desk: Send + Sync {
    /// # Errors
    /// `NotFound` alike for what does not exist and what is not this person's.
    fn capture(&self, permit: &Permit, id: CaptureId) -> Result<Record, Refusal>;
    /// In the order of acceptance; with `capture.write` alone, one's own.
    ///
    /// # Errors
    /// `Unavailable` where the index cannot be read.
    fn captures(&self, permit: &Permit, stage: Option<Stage>, after: Option<CaptureId>, limit: usize) -> Result<Page, Refusal>;
    /// # Errors
    /// `Unavailable` where the hospital's facts cannot be read.
    fn lookup(&self, permit: &Permit, asked: &Asked) -> Result<Answer, Refusal>;
    /// What a person decides about a capture; durable when it returns.
    ///
    /// # Errors
    /// `NotFound` as for [`Desk::capture`]; `Forbidden` without the scope of the desk; `Conflict`
    /// where its stage does not allow it; for an assignment also what the lookup says.
    fn decide(&self, permit: &Permit, id: CaptureId, act: Act, reason: Reason) -> Result<Record, Refusal>;
}

/// The desk over the journal.
pub struct Counter {
    pub journal: Arc<Journal>,
    pub pending: Arc<Pending>,
    pub line: Arc<Line>,
    pub facts: Arc<dyn Lookup>,
    pub audit: Arc<Audit>,
    pub clock: Clock,
}

impl Desk for Counter {
    fn capture(&self, permit: &Permit, id: CaptureId) -> Result<Record, Refusal> {
        let record = match self.pending.get(id) {
            Some(record) => Some(record),
            None => self.journal.find(id).map_err(|_| unreadable())?,
        };
        record
            .filter(|r| permit.may(Scope::CaptureRead) || is_owner(permit.operator(), r))
            .ok_or_else(|| Refusal::new(RefusalCode::NotFound, "There is no such capture, or it is not yours to see."))
    }

    fn captures(&self, permit: &Permit, stage: Option<Stage>, after: Option<CaptureId>, limit: usize) -> Result<Page, Refusal> {
        let all = permit.may(Scope::CaptureRead);
        let operator = permit.operator();
        let owner = (!all).then(|| (operator.issuer.clone(), operator.subject.clone()));
        let page = self.journal.list(&Filter { stage, owner }, after, limit).map_err(|_| unreadable())?;
        if self.journal.is_being_made() {
            return Err(unreadable());
        }
        let mut records = page.records;
        if page.next.is_none() {
            // Those that the journal will have in a moment are the youngest of all.
            let known = |id: CaptureId| records.iter().any(|r: &Record| r.id() == id);
            let fresh: Vec<Record> = self
                .pending
                .all()
                .into_iter()
                .filter(|r| (all || is_owner(operator, r)) && stage.is_none_or(|s| s == r.stage()))
                .filter(|r| after.is_none_or(|a| r.id() > a) && !known(r.id()))
                .collect();
            records.extend(fresh);
            if records.len() > limit {
                records.truncate(limit);
                let next = records.last().map(Record::id);
                return Ok((records, next));
            }
        }
        Ok((records, page.next))
    }

    fn lookup(&self, permit: &Permit, asked: &Asked) -> Result<Answer, Refusal> {
        let answer = self.facts.find(asked);
        let (outcome, detail) = match &answer {
            Ok(Answer::Found(_)) => (Outcome::Done, "found"),
            Ok(Answer::None) => (Outcome::Done, "none"),
            Ok(Answer::Multiple(_)) => (Outcome::Done, "multiple"),
            Err(_) => (Outcome::Failed, ""),
        };
        let object = Object::Identifier(asked_for(asked));
        let actor = Some(permit.operator());
        let event = Event { at: self.clock.now(), actor, action: "patient.lookup", outcome, object, detail };
        self.audit.record(&event).map_err(|_| no_audit())?;
        answer.map_err(|_| Refusal::new(RefusalCode::Unavailable, "The hospital's facts cannot be read just now. Try again."))
    }

    /// Two lines in the trail: that it was asked, before anything happens, and what came of it.
    fn decide(&self, permit: &Permit, id: CaptureId, act: Act, reason: Reason) -> Result<Record, Refusal> {
        if !permit.may(Scope::QueueOperate) {
            return Err(Refusal::new(RefusalCode::Forbidden, "The desk is for people with the scope queue.operate."));
        }
        let held_for = held_for(&self.capture(permit, id)?);
        let (asked, done) = act.actions();
        let actor = Some(permit.operator());
        let event = |action, outcome, detail| {
            let object = Object::Capture(id);
            Event { at: self.clock.now(), actor, action, outcome, object, detail }
        };
        self.audit.record(&event(asked, Outcome::Done, held_for)).map_err(|_| no_audit())?;
        if let Act::Assign(key) = &act {
            let object = Object::Identifier(&key.id);
            self.audit.record(&Event { object, ..event(asked, Outcome::Done, held_for) }).map_err(|_| no_audit())?;
        }
        let decision = Decision { capture: id, by: permit.operator().clone(), act, reason };
        let verdict = self.line.ask(decision).and_then(|awaited| self.line.answer(&awaited));
        let (outcome, detail) = match &verdict {
            Ok(_) => (Outcome::Done, held_for),
            Err(Refusal { code: RefusalCode::Unavailable, .. }) => (Outcome::Failed, RefusalCode::Unavailable.word()),
            Err(refusal) => (Outcome::Refused, refusal.code.word()),
        };
        // That it was asked stands there already; what was done stays done.
        let _ = self.audit.record(&event(done, outcome, detail));
        verdict
    }
}

/// The code of what the capture is held for, as far as there is one.
fn held_for(record: &Record) -> &'static str {
    record.items.iter().find_map(|i| i.failure.as_ref()).map_or("", |f| f.code.word())
}

fn no_audit() -> Refusal {
    let detail = "The audit trail cannot be written, so nothing was done. Tell the administrator.";
    Refusal::new(RefusalCode::Unavailable, detail)
}

/// The number that was asked for.
fn asked_for(asked: &Asked) -> &Phi {
    match asked {
        Asked::Patient { id, .. } | Asked::Visit { id } | Asked::Barcode(id) => id,
        Asked::Order(OrderKey::Accession(id) | OrderKey::Placer(id) | OrderKey::Filler(id) | OrderKey::StudyInstanceUid(id)) => {
            id
        }
    }
}

fn is_owner(operator: &Operator, record: &Record) -> bool {
    let owner = &record.acceptance.operator;
    owner.issuer == operator.issuer && owner.subject == operator.subject
}

fn unreadable() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "The index cannot be read just now. Nothing is lost; try again.")
}
