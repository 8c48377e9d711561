//! Which study has an order that the hospital announced without one? A worklist is asked, then the
//! archives; off the line, one order at a time. Nothing is guessed: who does not answer is waited for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::identify::{Doubt, Match};
use super::step::{Line, Works, later};
use crate::archive::studies::{Entry, Studies, Unanswered};
use crate::capture::record::Digest;
use crate::capture::{CaptureId, FailureCode, Identifier, Order, Phi, Uid};

/// Orders that wait to be asked about: beyond that, captures come again at their time.
const QUESTIONS_MAX: usize = 1_024;
/// Who did not answer is not asked for so long, whoever else waits.
const PAUSE_MS: u64 = 5_000;

/// Who is asked.
pub struct Source {
    /// As the configuration names it.
    pub name: String,
    pub kind: SourceKind,
    pub studies: Arc<dyn Studies>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// It says what is to be done, for whom, and under which study: its word counts, and a wrong one
    /// stops the capture.
    Worklist,
    /// It says what it has. Numbers of departments may meet there, so what is another patient's says nothing.
    Archive,
}

/// About one order of one patient.
#[derive(Clone, Debug)]
pub struct Question {
    key: Digest,
    accession: Phi,
    issuer: Identifier,
    /// (0040,1001), where the hospital named it.
    procedure_id: Phi,
    /// Every number that the patient has or had, the first of them now.
    patient: Vec<Identifier>,
    /// The authority of numbers that are given without one.
    home: String,
}

impl Question {
    #[must_use]
    pub fn about(key: Digest, order: &Order, found: &Match, home: &str) -> Self {
        let patient = std::iter::once(&found.patient.identifier).chain(&found.patient.other_ids).chain(&found.prior_ids);
        Self {
            key,
            accession: order.accession.clone(),
            issuer: issuer_of(order),
            procedure_id: order.requested_procedure_id.clone(),
            patient: patient.cloned().collect(),
            home: home.to_owned(),
        }
    }

    pub(super) fn key(&self) -> Digest {
        self.key
    }

    fn is_of_the_patient(&self, entry: &Entry) -> bool {
        let is_theirs = |ours: &Identifier, theirs: &Identifier| {
            ours.id == theirs.id && may_be_one(ours, theirs) && (is_named(theirs) || !is_named(ours) || self.is_at_home(ours))
        };
        entry.patient.iter().any(|theirs| self.patient.iter().any(|ours| is_theirs(ours, theirs)))
    }

    fn is_at_home(&self, number: &Identifier) -> bool {
        [&number.issuer, &number.issuer_universal_id].contains(&&self.home)
    }
}

/// The authority of an accession number, as of any other number.
fn issuer_of(order: &Order) -> Identifier {
    Identifier {
        issuer: order.accession_issuer.clone(),
        issuer_universal_id: order.accession_issuer_universal_id.clone(),
        ..Identifier::default()
    }
}

/// Whether it says whose number it is.
fn is_named(number: &Identifier) -> bool {
    !number.issuer.is_empty() || !number.issuer_universal_id.is_empty()
}

/// False where both name an authority, and not the same.
fn may_be_one(a: &Identifier, b: &Identifier) -> bool {
    let differ = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
    let agree = |a: &str, b: &str| !a.is_empty() && a == b;
    agree(&a.issuer_universal_id, &b.issuer_universal_id)
        || !differ(&a.issuer_universal_id, &b.issuer_universal_id) && !differ(&a.issuer, &b.issuer)
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The order with its study.
    Order(Box<Order>),
    /// Nobody has it; notes for a person.
    Nowhere(Vec<String>),
    /// A person decides, or it is asked again.
    Doubt(Doubt),
}

/// What entries of a worklist say of the order; `None`: nothing.
fn told_by_worklist(question: &Question, entries: &[Entry]) -> Result<Option<Order>, Doubt> {
    let is_of_issuer = |entry: &&Entry| may_be_one(&question.issuer, &issuer_of(&entry.order));
    let entries: Vec<&Entry> = entries.iter().filter(is_of_issuer).collect();
    if entries.iter().any(|entry| !question.is_of_the_patient(entry)) {
        let why = "the worklist has the accession number of this order for another patient";
        return Err((FailureCode::IdentityDisagrees, why.to_owned()));
    }
    // One request may be for several procedures, each with a study of its own. What was done may be off the
    // list already, so the only one that is left need not be the one that was ordered.
    let is_named = |entry: &&&Entry| entry.order.requested_procedure_id == question.procedure_id;
    let named: Vec<&Entry> = entries.iter().filter(is_named).copied().collect();
    if named.is_empty() && entries.iter().any(|entry| !entry.order.may_be_of_procedure(&question.procedure_id)) {
        let why = "the worklist has the accession number of this order for other requested procedures only";
        return Err((FailureCode::StudyUnclear, why.to_owned()));
    }
    let entries = if question.procedure_id.is_empty() || named.is_empty() { entries } else { named };
    one_study(&entries, "the worklist")?.map(|(_, order)| Ok(order)).transpose()
}

/// The one study of these entries, with what they say alike; `None` where none names a study. Steps of one
/// procedure are entries of their own.
fn one_study(entries: &[&Entry], who: &str) -> Result<Option<(Uid, Order)>, Doubt> {
    let mut orders = entries.iter().map(|entry| &entry.order);
    let Some(mut order) = orders.next().cloned() else { return Ok(None) };
    for other in orders {
        if other.study_instance_uid != order.study_instance_uid {
            let why = format!("{who} has not one and the same study in all it has under the accession number of this order");
            return Err((FailureCode::StudyUnclear, why));
        }
        order.keep_alike(other);
    }
    if order.study_instance_uid.is_empty() {
        return Ok(None);
    }
    let uid = Uid::parse(&order.study_instance_uid)
        .map_err(|e| (FailureCode::StudyUnclear, format!("the Study Instance UID that {who} has for this order is {e}")))?;
    Ok(Some((uid, order)))
}

/// What is to be asked, and who is asked.
pub(super) struct Inquirer {
    state: Mutex<Questions>,
    woken: Condvar,
}

#[derive(Default)]
struct Questions {
    /// Who was here first is asked about first, however busy others are.
    waiting: VecDeque<(Question, BTreeSet<CaptureId>)>,
    /// Of which it is known who waits, while it is asked.
    asked: Option<(Digest, BTreeSet<CaptureId>)>,
    /// By their place: who did not answer, and until when it is left alone.
    silent: BTreeMap<usize, (Timestamp, String)>,
    stopping: bool,
}

impl Inquirer {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), woken: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, Questions> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ask(&self, questions: Vec<(Question, CaptureId)>) {
        if questions.is_empty() {
            return;
        }
        let mut state = self.state();
        for (question, id) in questions {
            if let Some((key, ids)) = &mut state.asked
                && *key == question.key
            {
                ids.insert(id);
            } else if let Some((_, ids)) = state.waiting.iter_mut().find(|(known, _)| known.key == question.key) {
                ids.insert(id);
            } else if state.waiting.len() < QUESTIONS_MAX {
                state.waiting.push_back((question, BTreeSet::from([id])));
            }
        }
        drop(state);
        self.woken.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.woken.notify_all();
    }

    fn next(&self) -> Option<Question> {
        let mut state = self.state();
        let (question, ids) = state.waiting.pop_front()?;
        state.asked = Some((question.key, ids));
        Some(question)
    }

    /// Who waited for the answer to the question that was asked.
    pub(super) fn done(&self) -> BTreeSet<CaptureId> {
        self.state().asked.take().map(|(_, ids)| ids).unwrap_or_default()
    }

    /// Asks one source, unless it is left alone. A wait that is longer than it may be was begun by a
    /// clock that was wrong.
    fn ask_source(&self, place: usize, source: &Source, question: &Question, works: &Works) -> Result<Vec<Entry>, String> {
        let now = works.clock.now();
        if let Some((until, why)) = self.state().silent.get(&place)
            && *until > now
            && *until <= later(now, PAUSE_MS)
        {
            return Err(why.clone());
        }
        let patient_ids: Vec<Phi> = question.patient.iter().map(|identifier| identifier.id.clone()).collect();
        let answer = source.studies.under(&question.accession, &patient_ids);
        let answer = answer.map_err(|Unanswered(why)| format!("{} does not say which study the order has: {why}", source.name));
        works.observer.inquired(&question.accession, answer.as_ref().map(|_| ()).map_err(String::as_str));
        let mut state = self.state();
        state.silent.remove(&place);
        answer.inspect_err(|why| {
            state.silent.insert(place, (later(works.clock.now(), PAUSE_MS), why.clone()));
        })
    }
}

impl Line {
    /// The thread that asks, until [`Line::stop`].
    pub fn run_inquirer(&self) {
        loop {
            {
                let mut state = self.inquirer.state();
                while state.waiting.is_empty() && !state.stopping {
                    state = self.inquirer.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.stopping {
                    return;
                }
            }
            // What was not asked is asked again when its captures are due.
            if catch_unwind(AssertUnwindSafe(|| self.inquire_one())).is_err() {
                self.inquirer.done();
                self.works().observer.written(Err("a question for a study broke; the cause is in the log"));
            }
        }
    }

    /// Asks about one order; false where none waits. For a test on one thread.
    pub fn inquire_one(&self) -> bool {
        let Some(question) = self.inquirer.next() else { return false };
        let told = self.inquire(&question).unwrap_or_else(Told::Doubt);
        self.told(question.key, told);
        true
    }

    fn inquire(&self, question: &Question) -> Result<Told, Doubt> {
        let of_kind = |kind| self.works().sources.iter().enumerate().filter(move |(_, source)| source.kind == kind);
        let ask = |(place, source): (usize, &Source)| {
            let answer = self.inquirer.ask_source(place, source, question, self.works());
            answer.map_err(|why| (FailureCode::StudyUnknown, why))
        };
        let mut listed = Vec::new();
        for source in of_kind(SourceKind::Worklist) {
            let entries = ask(source)?;
            if let Some(order) = told_by_worklist(question, &entries)? {
                return Ok(Told::Order(Box::new(order)));
            }
            listed.extend(entries);
        }
        let mut entries = Vec::new();
        for source in of_kind(SourceKind::Archive) {
            entries.extend(ask(source)?);
        }
        told_by_archives(question, &listed, &entries)
    }
}

/// Said of a capture for whose order no study was chosen.
pub(super) const NONE_CHOSEN: &str = "The archive does not say clearly which study the order has; none was chosen.";

/// The one study that archives have of the order; where they have more, or no valid UID, or one that a
/// worklist (`listed`) gives to another requested procedure, a person is told and none is chosen. Their
/// studies carry what was sent there, so nothing but the UID is taken from them.
fn told_by_archives(question: &Question, listed: &[Entry], entries: &[Entry]) -> Result<Told, Doubt> {
    let is_ours = |entry: &&Entry| may_be_one(&question.issuer, &issuer_of(&entry.order)) && question.is_of_the_patient(entry);
    let entries: Vec<&Entry> = entries.iter().filter(is_ours).collect();
    let is_anothers = |uid: &Uid| {
        let mut others = listed.iter().filter(|entry| !entry.order.may_be_of_procedure(&question.procedure_id));
        others.any(|entry| Uid::parse(&entry.order.study_instance_uid).is_ok_and(|theirs| theirs == *uid))
    };
    match one_study(&entries, "the archive") {
        Ok(Some((uid, _))) if is_anothers(&uid) => Ok(Told::Nowhere(vec![NONE_CHOSEN.to_owned()])),
        Ok(Some((uid, _))) => Ok(Told::Order(Box::new(Order { study_instance_uid: uid.to_string(), ..Order::default() }))),
        Ok(None) => Ok(Told::Nowhere(Vec::new())),
        Err((FailureCode::StudyUnclear, _)) => Ok(Told::Nowhere(vec![NONE_CHOSEN.to_owned()])),
        Err(doubt) => Err(doubt),
    }
}
