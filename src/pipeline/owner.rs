//! Whose a capture is: found, looked at again, withdrawn, decided by a person.

use super::act::{self, Act, Decision, Verdict};
use super::bind::{self, OrderKeys, StudyKey};
use super::identify::{self, Doubt, Match};
use super::inquire::{NONE_CHOSEN, Question, Told};
use super::refusal::Refusal;
use super::round::Round;
use super::sealed;
use super::step::{advance, jitter, later};
use crate::capture::claim::PatientKey;
use crate::capture::record::{Digest, Event, Schedule};
use crate::capture::retry::Next;
use crate::capture::{Binding, CaptureId, Claim, Class, Failure, FailureCode, Leg, Order, Phi, Record, Stage, Uid};
use crate::dicom;
use crate::journal::StudyRow;

impl Round<'_> {
    /// What a person decided. A row that cannot be read refuses its own decision and stops nobody.
    pub(super) fn decide(&mut self, decision: &Decision) -> Verdict {
        let Some((old, mut record)) = self.load(decision.capture).map_err(|_| act::unreadable())? else {
            return Err(act::absent());
        };
        let before = record.clone();
        match &decision.act {
            Act::Retry => act::retry(&mut record, self.now, decision)?,
            Act::Hold => act::hold(&mut record, self.now, decision)?,
            Act::Discard => act::discard(&mut record, self.now, decision)?,
            Act::Assign(key) => self.assign(&mut record, key, decision)?,
        }
        self.arrange(&mut record);
        if decision.act == Act::Retry {
            self.view.ask_now(&record, &self.works.archives);
        }
        for (was, is) in before.items.iter().zip(&record.items).filter(|(was, is)| was.stage != is.stage) {
            // What goes on where it was reached that long ago.
            if was.progress() != is.stage {
                self.works.observer.reached(is.stage);
            }
        }
        self.keep(old, record.clone());
        self.decided.insert(decision.capture);
        Ok(record)
    }

    /// Binds a capture to the patient whom a person names: looked up as any other, never guessed.
    /// The binding there may be is replaced, because nothing was sent under it. The new one says
    /// whom the person named, so that every later look asks for that patient.
    fn assign(&mut self, record: &mut Record, key: &PatientKey, decision: &Decision) -> Result<(), Refusal> {
        act::may_be_assigned(record)?;
        let mut found = self.identify(record, Some(key)).map_err(act::refuse_doubt)?;
        let told = self.complete_order(&mut found, record.id()).map_err(act::refuse_doubt)?;
        let (study, row) = self.study_of(&found, record).map_err(act::refuse_doubt)?;
        let (mut binding, row) =
            bind::bind(found, record, &study, row, &self.works.place, self.now).map_err(act::refuse_doubt)?;
        binding.assigned = Some(key.clone());
        (binding.told_for, binding.told) = told.unzip();
        record.notes = bind::notes(record, &binding, &self.works.place);
        self.name(record, &binding);
        act::assigned(record, self.now, decision)?;
        self.studies.insert(study.row, row);
        self.seal(record.id(), binding);
        Ok(())
    }

    /// What the row tells of its binding: the study, whose captures it keeps its place among, and
    /// whose news may release it once it is held.
    fn name(&self, record: &mut Record, binding: &Binding) {
        let patient = &binding.patient.identifier;
        record.study_instance_uid = Some(binding.study.instance_uid.clone());
        record.patient_key = Some(bind::patient_key(patient, &self.works.place));
        let named: Vec<Phi> = binding.assigned.iter().map(|key| key.id.clone()).chain([patient.id.clone()]).collect();
        let claimed = record.acceptance.claim.patient.as_ref().map(|key| &key.id);
        record.also_waits_for = named.into_iter().filter(|id| Some(id) != claimed).collect();
        record.also_waits_for.dedup();
    }

    /// To be sealed with this round; of one capture only the last.
    fn seal(&mut self, id: CaptureId, binding: Binding) {
        self.bindings.retain(|(bound, _)| *bound != id);
        self.bindings.push((id, binding));
    }

    /// Identifies and binds, or holds.
    pub(super) fn find_owner(&mut self, record: &mut Record) {
        match self.owner(record) {
            Ok(binding) => {
                self.name(record, &binding);
                // In the place of its acceptance, however late it was identified.
                let schedule = Schedule { due: Some(record.acceptance.accepted_at), ..Schedule::default() };
                let event = |item, stage| Event { at: self.now, item, stage, why: None, by: None, archive: None };
                for index in 0..record.acceptance.items {
                    // What a person holds or gave up stays so.
                    let free = |leg: &mut Leg| (leg.failure, leg.schedule) = (None, schedule);
                    if record.enter_where(event(index, Stage::Accepted), waits_for_owner, free).is_ok() {
                        let _legal =
                            record.enter_where(event(index, Stage::Identified), |leg| leg.stage == Stage::Accepted, |_| ());
                    }
                }
                self.works.observer.reached(Stage::Identified);
            }
            Err((code, detail)) => self.doubt(record, code, &detail),
        }
    }

    /// A capture that waited since it was identified, and of which no archive has anything: what
    /// the hospital says now decides. A survivor of a merge and corrected names are taken over
    /// under the same UIDs; any doubt holds it.
    pub(super) fn check_owner(&mut self, record: &mut Record) {
        if self.bindings.iter().any(|(id, _)| *id == record.id()) {
            return; // This round made it.
        }
        let Ok(Some(mut binding)) = sealed::read_binding(&self.works.spool, record.id()) else { return };
        self.follow(record, &binding);
        let found = self.same_person(record, &binding).map(|found| as_it_is_now(&record.acceptance.claim, found, &binding));
        match found {
            Ok(found) if (&found.patient, &found.visit, &found.order) == (&binding.patient, &binding.visit, &binding.order) => {}
            Ok(found) => {
                for index in 0..record.acceptance.items {
                    let stage = record.items.get(usize::from(index)).map_or(Stage::Identified, |i| i.stage);
                    advance(record, index, None, stage, self.now, Some("patient-updated".to_owned()));
                }
                (binding.patient, binding.visit, binding.order) = (found.patient, found.visit, found.order);
                self.name(record, &binding);
                self.note_procedure(record, &binding);
                self.seal(record.id(), binding);
            }
            Err((FailureCode::LookupUnavailable, _)) => {}
            Err((code, detail)) => self.withdraw(record, code, &detail),
        }
    }

    /// The study is of the procedure that the hospital has named since. Unread, its row learns that from the
    /// binding when the index is made anew.
    fn note_procedure(&mut self, record: &Record, binding: &Binding) {
        if let Ok(key) = bind::bound_study(binding, record, &self.works.place)
            && let Ok(Some(row)) = self.study(&key)
        {
            self.studies.insert(key, bind::restore(binding, Some(row), &self.works.place));
        }
    }

    /// A crash may have come between the sealing of an assigned binding and its row. What is sealed
    /// is what will be sent, so the row follows it.
    fn follow(&mut self, record: &mut Record, binding: &Binding) {
        if record.study_instance_uid.as_ref() != Some(&binding.study.instance_uid) {
            self.name(record, binding);
            record.notes = bind::notes(record, binding, &self.works.place);
            // Unread, the number of its series may be given twice; the series keep their own UIDs.
            let _unread = self.restore_study(record, binding);
        }
    }

    /// Holds what was identified and is no longer sure; it goes back to where a match releases it.
    fn withdraw(&mut self, record: &mut Record, code: FailureCode, detail: &str) {
        let failure = Failure::new(code, detail, self.now);
        for index in 0..record.acceptance.items {
            self.hold(record, index, None, &failure, |leg| matches!(leg.stage, Stage::Identified | Stage::Wrapped));
        }
        self.held.push(record.id());
    }

    /// Whose it is by its claim, or by the patient whom a person named.
    fn identify(&self, record: &Record, assigned: Option<&PatientKey>) -> Result<Match, Doubt> {
        let (claim, lookup, home) = (&record.acceptance.claim, &*self.works.lookup, &self.works.assigning_authority);
        match assigned {
            Some(key) => act::assigned_match(claim, key, lookup, home),
            None => identify::identify(claim, lookup, home),
        }
    }

    /// Whom a capture that is bound belongs to now: the same person, under whatever name and number.
    /// An order or a visit that went over to somebody else does not take the capture with it: it was
    /// another patient who was confirmed when it was sent.
    fn same_person(&self, record: &Record, binding: &Binding) -> Result<Match, Doubt> {
        let found = self.identify(record, binding.assigned.as_ref())?;
        if identify::is_one_person(&binding.patient.identifier, &found.patient.identifier, &*self.works.lookup)? {
            return Ok(found);
        }
        let why = "what the claim names went over to another patient since the capture was identified";
        Err((FailureCode::IdentityDisagrees, why.to_owned()))
    }

    fn owner(&mut self, record: &mut Record) -> Result<Binding, Doubt> {
        let sealed = sealed::read_binding(&self.works.spool, record.id())?;
        // A binding that was sealed before a crash is the truth: an object may have left under it.
        if record.items.iter().all(|i| i.stage == Stage::Accepted)
            && let Some(binding) = sealed
        {
            self.restore_study(record, &binding)?;
            record.notes = bind::notes(record, &binding, &self.works.place);
            return Ok(binding);
        }
        let mut found = match &sealed {
            Some(binding) => self.same_person(record, binding)?,
            None => self.identify(record, None)?,
        };
        let told = self.complete_order(&mut found, record.id())?;
        let assigned = sealed.and_then(|binding| binding.assigned);
        let (key, row) = self.study_of(&found, record)?;
        let (mut binding, row) = bind::bind(found, record, &key, row, &self.works.place, self.now)?;
        binding.assigned = assigned;
        (binding.told_for, binding.told) = told.unzip();
        record.notes = bind::notes(record, &binding, &self.works.place);
        self.studies.insert(key.row, row);
        self.seal(record.id(), binding.clone());
        Ok(binding)
    }

    /// Has an order say which study it has, where the hospital's messages do not: as somebody else said
    /// once and for all, else as one is asked now. An order whose study was begun here without keeps it.
    /// `Some`: somebody else said it, of the procedure that the hospital names so, and what they said.
    fn complete_order(&mut self, found: &mut Match, id: CaptureId) -> Result<Option<(Phi, Order)>, Doubt> {
        let is_open = |order: &Order| order.study_instance_uid.is_empty() && !order.accession.is_empty();
        let Some(order) = found.order.clone().filter(is_open) else { return Ok(None) };
        let procedure_id = order.requested_procedure_id.clone();
        let journal = &self.works.journal;
        let is_partial = journal.is_being_made();
        let keys: Vec<OrderKeys> = bind::order_keys(found, &order, &self.works.place).collect();
        let others = self.begun_for_others(&keys, &procedure_id)?;
        for key in &keys {
            if let Some(told) = self.told_of(key, &procedure_id, &others)? {
                found.order = Some(completed(order, &fitting(told.clone(), &mut found.notes)));
                return Ok(Some((procedure_id, told)));
            }
            if self.study(&key.begun)?.is_some_and(|row| row.may_be_of_procedure(&procedure_id)) {
                return Ok(None);
            }
        }
        let Some(key) = keys.first().map(|key| key.told).filter(|_| !self.works.sources.is_empty()) else { return Ok(None) };
        if is_partial || journal.is_being_made() {
            return Err(may_yet_tell());
        }
        self.heard.insert(key);
        match self.told.get(&key).map(|(_, told)| told) {
            Some(Told::Order(told)) if is_by_worklist(told) || self.may_be_study_of(told, &procedure_id, &others)? => {
                // Also in place of an older word that holds no more.
                self.orders.insert(key, Order::clone(told));
                found.order = Some(completed(order, &fitting(Order::clone(told), &mut found.notes)));
                return Ok(Some((procedure_id, Order::clone(told))));
            }
            Some(Told::Order(_)) => {
                self.orders.remove(&key);
                found.notes.push(NONE_CHOSEN.to_owned());
            }
            Some(Told::Nowhere(notes)) => found.notes.extend(notes.iter().cloned()),
            Some(Told::Doubt(doubt)) => return Err(doubt.clone()),
            None => {
                self.questions.push((Question::about(key, &order, found, &self.works.assigning_authority), id));
                let why = "it is being asked which study the order has";
                return Err((FailureCode::StudyUnknown, why.to_owned()));
            }
        }
        Ok(None)
    }

    /// What somebody else said of an order, once and for all. What was said before the hospital named its
    /// procedure is said of the first that it names.
    fn told_of(&self, key: &OrderKeys, procedure_id: &Phi, others: &[Uid]) -> Result<Option<Order>, Doubt> {
        for (key, is_named) in [(key.told, true), (key.told_of_any, false)] {
            let told = match self.orders.get(&key) {
                Some(told) => Some(told.clone()),
                None => self.works.journal.order(&key).map_err(|e| (FailureCode::StoreUnavailable, e.to_string()))?,
            };
            let Some(told) = told.filter(|told| told.may_be_of_procedure(procedure_id)) else { continue };
            if is_named && is_by_worklist(&told) || self.may_be_study_of(&told, procedure_id, others)? {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    /// Studies that were begun here for the same order, and have captures of other requested procedures
    /// alone: an archive may have them from here.
    fn begun_for_others(&self, keys: &[OrderKeys], procedure_id: &Phi) -> Result<Vec<Uid>, Doubt> {
        let mut others = Vec::new();
        for key in keys {
            let row = self.study(&key.begun)?.filter(|row| !row.may_be_of_procedure(procedure_id));
            others.extend(row.map(|row| row.study.instance_uid));
        }
        Ok(others)
    }

    /// False where the study that was said is known here as that of other requested procedures.
    fn may_be_study_of(&self, told: &Order, procedure_id: &Phi, others: &[Uid]) -> Result<bool, Doubt> {
        if procedure_id.is_empty() {
            return Ok(true);
        }
        let Ok(uid) = Uid::parse(&told.study_instance_uid) else { return Ok(true) };
        if others.contains(&uid) {
            return Ok(false);
        }
        let journal = &self.works.journal;
        let is_partial = journal.is_being_made();
        match self.study(&bind::study_of_uid(&uid, &self.works.place))? {
            Some(row) if !row.may_be_of_procedure(procedure_id) => Ok(false),
            _ if is_partial || journal.is_being_made() => Err(may_yet_tell()),
            _ => Ok(true),
        }
    }

    /// The study a capture belongs to, with its row where it was begun already.
    fn study_of(&self, found: &Match, record: &Record) -> Result<(StudyKey, Option<StudyRow>), Doubt> {
        let (key, before) = bind::study_keys(found, record, &self.works.place)?;
        for key in std::iter::once(key.clone()).chain(before) {
            if let Some(row) = self.study(&key.row)? {
                return Ok((key, Some(self.of_survivor(row, found)?)));
            }
        }
        Ok((key, None))
    }

    /// A study's row, as this round leaves it so far.
    fn study(&self, row: &Digest) -> Result<Option<StudyRow>, Doubt> {
        match self.studies.get(row) {
            Some(row) => Ok(Some(row.clone())),
            None => self.works.journal.study(row).map_err(|e| (FailureCode::StoreUnavailable, e.to_string())),
        }
    }

    /// Whom a study was begun for may have been merged into this patient since: it is the survivor's
    /// then, and keeps its UID.
    fn of_survivor(&self, mut row: StudyRow, found: &Match) -> Result<StudyRow, Doubt> {
        let (patient, place) = (&found.patient.identifier, &self.works.place);
        if let Some(before) = bind::former_owner(&row, patient, place)
            && identify::is_one_person(&before, patient, &*self.works.lookup)?
        {
            bind::hand_over(&mut row, patient, place);
        }
        Ok(row)
    }

    fn restore_study(&mut self, record: &Record, binding: &Binding) -> Result<(), Doubt> {
        // Its key was made once, so it can be made again.
        let Ok(key) = bind::bound_study(binding, record, &self.works.place) else { return Ok(()) };
        let row = bind::restore(binding, self.study(&key)?, &self.works.place);
        self.studies.insert(key, row);
        self.orders.extend(bind::told_order(binding, &self.works.place));
        Ok(())
    }

    fn doubt(&mut self, record: &mut Record, code: FailureCode, detail: &str) {
        let failure = Failure::new(code, detail, self.now);
        let is_known = |leg: &Leg| leg.stage == Stage::Held && leg.failure.as_ref().is_some_and(|f| f.code == code);
        let waits = |leg: &Leg| waits_for_owner(leg) && leg.progress() == Stage::Accepted && !is_known(leg);
        for index in 0..record.acceptance.items {
            if failure.class == Class::Permanent {
                if record.items.get(usize::from(index)).is_some_and(|item| item.any_leg(waits)) {
                    self.hold(record, index, None, &failure, waits);
                }
                continue;
            }
            record.change_legs(index, |leg| {
                // What is held stays so as it is, and is looked at again.
                if waits(leg) && leg.stage != Stage::Held {
                    leg.failure = Some(failure.clone());
                    leg.schedule.attempts = leg.schedule.attempts.saturating_add(1);
                    if let Next::After(ms) = self.works.retry.next(leg.schedule.attempts, failure.class, jitter()) {
                        leg.schedule.due = Some(later(self.now, ms));
                    }
                }
            });
        }
        self.held.push(record.id());
    }
}

/// A worklist says at least the number that it was asked for, and means the procedure. An archive says a UID
/// alone, which it may have got from here.
fn is_by_worklist(told: &Order) -> bool {
    !told.accession.is_empty()
}

/// What is asked for may stand in the rows that are still to come.
fn may_yet_tell() -> Doubt {
    let why = "the index is being made anew, and may yet tell which study the order has";
    (FailureCode::StoreUnavailable, why.to_owned())
}

/// What of a match an object that is bound takes over: the patient, and the visit and the order that the
/// claim names, as they are now. A visit that was chosen for it stays: the patient may be in another one
/// since. So does an order that would be another study's.
fn as_it_is_now(claim: &Claim, found: Match, binding: &Binding) -> Match {
    // What others said of the order is the binding's to tell.
    let order = found.order.map(|order| match &binding.order {
        Some(bound) if bound.accession == order.accession && bound.may_be_of_procedure(&order.requested_procedure_id) => {
            completed(order, bound)
        }
        _ => order,
    });
    let found = Match { order, ..found };
    let study = |order: &Order| order.study_instance_uid.clone();
    let is_same_study = found.order.as_ref().map(study) == binding.order.as_ref().map(study);
    let visit = if claim.visit.is_some() { found.visit } else { binding.visit.clone() };
    let order = if claim.order.is_some() && is_same_study { found.order } else { binding.order.clone() };
    Match { visit, order, ..found }
}

/// What of it an object can hold, with a note of what none can. A step is one of its procedure.
fn fitting(mut told: Order, notes: &mut Vec<String>) -> Order {
    let note =
        |name| format!("The {name} of the worklist has more than 16 characters, which no object can hold; it was left out.");
    if !dicom::is_short_string(told.requested_procedure_id.expose()) {
        notes.push(note("Requested Procedure ID"));
        (told.requested_procedure_id, told.scheduled_step_id) = (Phi::default(), Phi::default());
    }
    if !dicom::is_short_string(told.scheduled_step_id.expose()) {
        notes.push(note("Scheduled Procedure Step ID"));
        told.scheduled_step_id = Phi::default();
    }
    told
}

fn completed(mut order: Order, told: &Order) -> Order {
    order.complete(told);
    order
}

/// Not known yet only because nobody has said which study its order has.
pub(super) fn waits_for_study(leg: &Leg) -> bool {
    leg.stage == Stage::Accepted && leg.failure.as_ref().is_some_and(|f| f.code == FailureCode::StudyUnknown)
}

/// Held for want of a match: what a message of the hospital may release.
pub(super) fn waits_for_facts(leg: &Leg) -> bool {
    let by_facts = |code: FailureCode| {
        matches!(
            code,
            FailureCode::PatientUnknown
                | FailureCode::PatientAmbiguous
                | FailureCode::IdentityDisagrees
                | FailureCode::OrderCancelled
                | FailureCode::StudyUnclear
        )
    };
    leg.stage == Stage::Held && leg.failure.as_ref().is_some_and(|f| by_facts(f.code))
}

/// Nobody knows yet whose it is, and nobody else stopped it.
pub(super) fn waits_for_owner(leg: &Leg) -> bool {
    leg.stage == Stage::Accepted || waits_for_facts(leg)
}
