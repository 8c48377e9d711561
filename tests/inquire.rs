//! Which study an order gets that the hospital announced without one: who is asked, what counts, and what
//! stops a capture. One step at a time, with a worklist and archives that say what they are told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod line_support;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shutterbridge::archive::studies::{Entry, Studies, Unanswered};
use shutterbridge::capture::order::Code;
use shutterbridge::capture::{CaptureId, FailureCode, Identifier, Order, Phi, Stage};
use shutterbridge::pipeline::inquire::SourceKind::{self, Archive, Worklist};
use shutterbridge::pipeline::{Act, RefusalCode};
use shutterbridge::store::memory::MemoryStore;
use shutterbridge::store::{Batch, Store as _};

use line_support::*;

/// Answers every question with its entries, or not at all.
#[derive(Default)]
struct Peer {
    entries: Mutex<Vec<Entry>>,
    is_away: Mutex<bool>,
    /// Accession number, and the numbers of the patient.
    asked: Mutex<Vec<(String, Vec<String>)>>,
}

impl Peer {
    fn of(entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::new(entries), ..Self::default() })
    }

    fn says(&self, entries: Vec<Entry>) {
        *self.entries.lock().unwrap() = entries;
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Studies for Peer {
    fn under(&self, accession: &Phi, patient_ids: &[Phi]) -> Result<Vec<Entry>, Unanswered> {
        let patient_ids = patient_ids.iter().map(|id| id.expose().to_owned()).collect();
        self.asked.lock().unwrap().push((accession.expose().to_owned(), patient_ids));
        if *self.is_away.lock().unwrap() {
            return Err(Unanswered("it cannot be reached: nobody is there".to_owned()));
        }
        Ok(self.entries.lock().unwrap().clone())
    }
}

fn entry(patient: &str, study: &str) -> Entry {
    let identifier = Identifier { id: patient.into(), issuer: "HOSP".to_owned(), ..Identifier::default() };
    let order = Order { accession: "A7".into(), study_instance_uid: study.to_owned(), ..Order::default() };
    Entry { patient: vec![identifier], order }
}

fn numbered(entry: Entry, procedure: &str, step: &str) -> Entry {
    let order = Order { requested_procedure_id: procedure.into(), scheduled_step_id: step.into(), ..entry.order };
    Entry { order, ..entry }
}

/// With patient 4711, whose order A7 has the study `announced`, and these to ask.
fn open(name: &str, announced: &str, sources: &[(SourceKind, &Arc<Peer>)]) -> World {
    let mut world = World::new(name);
    world.hospital.order("A7", "4711", announced);
    for (kind, peer) in sources {
        world.ask(*kind, Arc::clone(peer) as _);
    }
    world
}

fn ordered() -> Value {
    json!({"patient": {"id": "4711", "issuer": "HOSP"}, "order": {"accession": "A7"}, "department": "derm"})
}

fn send(house: &House, number: u8) -> CaptureId {
    let id = house.send(&ordered(), None, &[&photo(number)]).unwrap().record.id();
    house.settle();
    id
}

fn study(house: &House, id: CaptureId) -> String {
    house.record(id).study_instance_uid.expect("a study").to_string()
}

fn failure(house: &House, id: CaptureId) -> (FailureCode, String) {
    let failure = house.record(id).items[0].failure.clone().expect("a failure");
    (failure.code, failure.detail)
}

#[test]
fn the_study_is_the_orders_own_else_the_worklists_else_that_of_an_archive_else_one_made_here() {
    let table = [
        // (announced, on the worklist, at the archive, then, who is asked how often)
        ("1.2.1", vec![entry("4711", "1.2.2")], vec![entry("4711", "1.2.3")], "1.2.1", (0, 0)),
        ("", vec![entry("4711", "1.2.2")], vec![entry("4711", "1.2.3")], "1.2.2", (1, 0)),
        ("", vec![], vec![entry("4711", "1.2.3")], "1.2.3", (1, 1)),
        ("", vec![entry("4711", "")], vec![entry("4711", "1.2.3")], "1.2.3", (1, 1)),
        ("", vec![], vec![], "2.25.", (1, 1)),
        // What an archive has of others under the number is not of this order.
        ("", vec![], vec![entry("815", "1.2.3")], "2.25.", (1, 1)),
        ("", vec![], vec![entry("815", "1.2.9"), entry("4711", "1.2.3")], "1.2.3", (1, 1)),
        ("", vec![], vec![entry("4711", "1.2.3"), entry("4711", "1.2.3")], "1.2.3", (1, 1)),
    ];
    for (number, (announced, listed, archived, then, asked)) in table.into_iter().enumerate() {
        let (worklist, archive) = (Peer::of(listed), Peer::of(archived));
        let world = open(&format!("inquire-{number}"), announced, &[(Archive, &archive), (Worklist, &worklist)]);
        let house = world.start();
        let first = send(&house, 1);
        assert!(study(&house, first).starts_with(then), "{number}: {}", study(&house, first));
        assert_eq!((worklist.questions(), archive.questions()), asked, "{number}");
        assert_eq!(house.stage(first), Stage::Forwarded, "{number}");
        let second = send(&house, 2);
        assert_eq!(study(&house, second), study(&house, first), "{number}");
        assert_eq!((worklist.questions(), archive.questions()), asked, "{number}: it was asked about an order again");
    }
}

#[test]
fn a_capture_without_an_order_asks_nobody() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-none", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let id = house.send(&claim("4711"), None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(id), worklist.questions()), (Stage::Forwarded, 0));
}

#[test]
fn what_the_worklist_has_for_another_patient_or_twice_stops_a_capture_until_it_is_corrected() {
    let another = FailureCode::IdentityDisagrees;
    let unclear = FailureCode::StudyUnclear;
    let nameless = Entry { patient: Vec::new(), ..entry("4711", "1.2.2") };
    let elsewhere = |mut entry: Entry| {
        entry.patient[0].issuer = "OTHER".to_owned();
        entry
    };
    let table = [
        (vec![entry("815", "1.2.2")], another),
        (vec![entry("4711", "1.2.2"), entry("815", "1.2.3")], another),
        (vec![nameless], another),
        (vec![elsewhere(entry("4711", "1.2.2"))], another),
        (vec![entry("4711", "1.2.2"), entry("4711", "1.2.3")], unclear),
        (vec![entry("4711", "1.2.2"), entry("4711", "")], unclear),
        (vec![entry("4711", ""), entry("4711", "1.2.2")], unclear),
        (vec![entry("4711", "1.02.3")], unclear),
    ];
    for (number, (entries, code)) in table.into_iter().enumerate() {
        let worklist = Peer::of(entries);
        let world = open(&format!("inquire-stops-{number}"), "", &[(Worklist, &worklist)]);
        let house = world.start();
        let id = send(&house, 1);
        assert_eq!((house.stage(id), failure(&house, id).0), (Stage::Held, code), "{number}");
        assert!(failure(&house, id).1.contains("worklist") && world.stored() == 0, "{number}");
        worklist.says(vec![entry("4711", "1.2.2")]);
        let decided = house.decide(id, Act::Retry).unwrap();
        assert_ne!(decided.stage(), Stage::Held, "{number}");
        house.clock.advance_ms(1_000);
        house.settle();
        assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()), "{number}");
    }
}

#[test]
fn a_corrected_worklist_is_noticed_without_a_person() {
    let worklist = Peer::of(vec![entry("815", "1.2.2")]);
    let world = open("inquire-noticed", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let id = send(&house, 1);
    assert_eq!(house.stage(id), Stage::Held);
    worklist.says(vec![entry("4711", "1.2.2")]);
    house.clock.advance_ms(6 * 60_000);
    house.settle();
    assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));
}

#[test]
fn steps_of_one_study_are_one_and_of_several_procedures_the_ordered_one_counts() {
    let worklist = Peer::of(vec![numbered(entry("4711", "1.2.2"), "RP1", "S1"), numbered(entry("4711", "1.2.2"), "RP1", "S2")]);
    let world = open("inquire-steps", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let id = send(&house, 1);
    assert_eq!(study(&house, id), "1.2.2");
    let two = vec![numbered(entry("4711", "1.2.2"), "RP1", "S1"), numbered(entry("4711", "1.2.3"), "RP2", "S2")];
    let world = open("inquire-procedures", "", &[(Worklist, &Peer::of(two))]);
    world.hospital.1.lock().unwrap().get_mut("A7").unwrap().1.requested_procedure_id = "RP2".into();
    let house = world.start();
    let id = send(&house, 1);
    assert_eq!(study(&house, id), "1.2.3");
}

/// What is filed under accession number A7: one request, two procedures, a study each.
fn two_procedures() -> Vec<Entry> {
    vec![numbered(entry("4711", "1.2.2"), "RP1", "S1"), numbered(entry("4711", "1.2.3"), "RP2", "S1")]
}

fn send_for(house: &House, filler: &str, number: u8) -> CaptureId {
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "order": {"filler": filler}, "department": "derm"});
    house.send(&claim, None, &[&photo(number)]).unwrap().record.id()
}

#[test]
fn procedures_of_one_accession_number_keep_a_study_each_also_through_a_lost_index() {
    let worklist = Peer::of(two_procedures());
    let mut world = open("inquire-both", "", &[(Worklist, &worklist)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    let both = [send_for(&house, "F1", 1), send_for(&house, "F2", 2)];
    house.settle();
    assert_eq!(both.map(|id| study(&house, id)), ["1.2.2", "1.2.3"]);
    worklist.says(vec![entry("4711", "1.2.9")]);
    for number in [3, 5] {
        let both = [send_for(&house, "F2", number), send_for(&house, "F1", number + 1)];
        house.settle();
        assert_eq!(both.map(|id| study(&house, id)), ["1.2.3", "1.2.2"]);
    }
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    let both = [send_for(&house, "F2", 7), send_for(&house, "F1", 8)];
    house.settle();
    assert_eq!(both.map(|id| study(&house, id)), ["1.2.3", "1.2.2"]);
    assert_eq!(worklist.questions(), 2);
}

#[test]
fn a_procedure_that_is_off_the_worklist_does_not_get_the_study_of_the_one_that_is_left() {
    let worklist = Peer::of(two_procedures().split_off(1));
    let world = open("inquire-off", "", &[(Worklist, &worklist)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    let house = world.start();
    let id = send_for(&house, "F1", 1);
    house.settle();
    assert_eq!((house.stage(id), failure(&house, id).0), (Stage::Held, FailureCode::StudyUnclear));
    assert!(failure(&house, id).1.contains("other requested procedures"), "{}", failure(&house, id).1);
    worklist.says(two_procedures());
    house.clock.advance_ms(6 * 60_000);
    house.settle();
    assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));
}

#[test]
fn what_was_said_before_the_procedure_was_named_is_not_said_of_another_one() {
    let worklist = Peer::of(two_procedures().drain(..1).collect());
    let world = open("inquire-named", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let study_under = |procedure: &str, number| {
        world.hospital.1.lock().unwrap().get_mut("A7").unwrap().1.requested_procedure_id = procedure.into();
        let id = send(&house, number);
        study(&house, id)
    };
    assert_eq!(study_under("", 1), "1.2.2");
    worklist.says(two_procedures().split_off(1));
    assert_eq!((study_under("RP1", 2).as_str(), worklist.questions()), ("1.2.2", 1));
    assert_eq!((study_under("RP2", 3).as_str(), worklist.questions()), ("1.2.3", 2));
    assert_eq!((study_under("", 4).as_str(), worklist.questions()), ("1.2.2", 2));
}

#[test]
fn a_study_that_is_known_as_another_procedures_is_not_taken_from_an_archive() {
    let (worklist, archive) = (Peer::of(two_procedures().drain(..1).collect()), Peer::of(vec![entry("4711", "1.2.2")]));
    let mut world = open("inquire-anothers", "", &[(Worklist, &worklist), (Archive, &archive)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    let ulcer = send_for(&house, "F1", 1);
    house.settle();
    assert_eq!(study(&house, ulcer), "1.2.2");
    worklist.says(vec![]);
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    let nevus = send_for(&house, "F2", 2);
    house.settle();
    assert!(study(&house, nevus).starts_with("2.25."), "{}", study(&house, nevus));
    let notes = house.record(nevus).notes;
    assert!(notes.iter().any(|note| note.contains("which study the order has")), "{notes:?}");
    // It is not kept for later ones either.
    let both = [send_for(&house, "F2", 3), send_for(&house, "F1", 4)];
    house.settle();
    assert_eq!(both.map(|id| study(&house, id)), [study(&house, nevus), "1.2.2".to_owned()]);
}

#[test]
fn a_study_that_the_worklist_gives_to_another_procedure_is_not_taken_from_an_archive() {
    let nevus = numbered(entry("4711", ""), "RP2", "S1");
    let ulcer = |study| numbered(entry("4711", study), "RP1", "S1");
    for (number, (listed, then)) in [
        (vec![nevus.clone(), ulcer("1.2.2")], "2.25."),
        (vec![nevus.clone(), ulcer("1.2.3")], "1.2.2"),
        (vec![nevus.clone()], "1.2.2"),
    ]
    .into_iter()
    .enumerate()
    {
        let (worklist, archive) = (Peer::of(listed), Peer::of(vec![entry("4711", "1.2.2")]));
        let world = open(&format!("inquire-given-{number}"), "", &[(Worklist, &worklist), (Archive, &archive)]);
        world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
        let house = world.start();
        let id = send_for(&house, "F2", 1);
        house.settle();
        assert!(study(&house, id).starts_with(then), "{number}: {}", study(&house, id));
        let is_noted = house.record(id).notes.iter().any(|note| note.contains("which study the order has"));
        assert_eq!(is_noted, then == "2.25.", "{number}");
    }
}

#[test]
fn of_two_procedures_that_an_archive_is_asked_for_at_once_one_gets_its_only_study() {
    let archive = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-at-once", "", &[(Archive, &archive)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    let both = [send_for(&house, "F1", 1), send_for(&house, "F2", 2)];
    house.line.step();
    assert!(house.line.inquire_one() && house.line.inquire_one());
    house.settle();
    let studies = both.map(|id| study(&house, id));
    assert_eq!(studies.iter().filter(|study| *study == "1.2.2").count(), 1, "{studies:?}");
    let again = [send_for(&house, "F1", 3), send_for(&house, "F2", 4)];
    house.settle();
    assert_eq!(again.map(|id| study(&house, id)), studies);
}

#[test]
fn procedures_that_the_worklist_has_in_one_study_share_it() {
    let shared = vec![numbered(entry("4711", "1.2.2"), "RP1", "S1"), numbered(entry("4711", "1.2.2"), "RP2", "S1")];
    let world = open("inquire-shared", "", &[(Worklist, &Peer::of(shared))]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    for number in [1, 3] {
        let both = [send_for(&house, "F1", number), send_for(&house, "F2", number + 1)];
        house.settle();
        assert_eq!(both.map(|id| study(&house, id)), ["1.2.2", "1.2.2"]);
    }
}

#[test]
fn what_was_said_before_a_procedure_was_named_goes_to_the_first_that_is_named() {
    for (number, kind) in [Worklist, Archive].into_iter().enumerate() {
        let peer = Peer::of(vec![entry("4711", "1.2.2")]);
        let mut world = open(&format!("inquire-first-named-{number}"), "", &[(kind, &peer)]);
        world.hospital.order_of_procedure("F0", "A7", "", "4711");
        world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
        world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
        world.hospital.order_of_procedure("F3", "A7", "RP3", "4711");
        let house = world.start();
        let studies_of = |house: &House, fillers: &[&str]| {
            let come = |filler: &&str| {
                let id = send_for(house, filler, 1);
                house.settle();
                study(house, id)
            };
            fillers.iter().map(come).collect::<Vec<_>>()
        };
        assert_eq!(studies_of(&house, &["F0", "F1", "F0"]), ["1.2.2"; 3]);
        assert_eq!(peer.questions(), 1);
        peer.says(if kind == Worklist { two_procedures().split_off(1) } else { vec![entry("4711", "1.2.3")] });
        assert_eq!(studies_of(&house, &["F2", "F1", "F0", "F2"]), ["1.2.3", "1.2.2", "1.2.2", "1.2.3"]);
        assert_eq!(peer.questions(), 2);
        drop(house);
        world.store = Arc::default();
        peer.says(vec![entry("4711", "1.2.2")].split_off(usize::from(kind == Worklist)));
        let house = world.start();
        let third = studies_of(&house, &["F3"]).remove(0);
        assert!(third.starts_with("2.25."), "{third}");
        assert_eq!(studies_of(&house, &["F2", "F1", "F0"]), ["1.2.3", "1.2.2", "1.2.2"]);
        assert_eq!(peer.questions(), 3);
    }
}

#[test]
fn while_the_index_is_being_made_anew_no_procedure_takes_what_may_be_anothers() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let mut world = open("inquire-first-anew", "", &[(Worklist, &worklist)]);
    world.hospital.order_of_procedure("F0", "A7", "", "4711");
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    let come = |filler, number| {
        let id = send_for(&house, filler, number);
        house.settle();
        assert_eq!(study(&house, id), "1.2.2");
    };
    come("F0", 1);
    let some_rows = copy(&world.store);
    come("F1", 2);
    worklist.says(two_procedures());
    let nevus = send_for(&house, "F2", 3);
    let fill = || {
        let mut batch = Batch::new();
        world.store.scan(&[], &[0xFF; 8], usize::MAX).unwrap().into_iter().for_each(|row| batch.delete(row.key));
        world.store.commit(batch).unwrap();
        pour(&some_rows, &world.store);
        Err::<(), _>("not at its end yet".to_owned())
    };
    assert!(house.journal.rebuild(fill).is_err());
    house.settle();
    assert_eq!((house.stage(nevus), failure(&house, nevus).0), (Stage::Accepted, FailureCode::StoreUnavailable));
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    house.settle();
    assert_eq!((house.stage(nevus), study(&house, nevus)), (Stage::Forwarded, "1.2.3".to_owned()));
}

#[test]
fn a_procedure_that_is_named_while_the_capture_waits_for_the_archive_is_the_first_too() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-named-late", "", &[(Worklist, &worklist)]);
    world.hospital.order_of_procedure("F0", "A7", "", "4711");
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    let house = world.start();
    let ulcer = send_for(&house, "F0", 1);
    house.settle();
    assert_eq!(study(&house, ulcer), "1.2.2");
    world.hospital.order_of_procedure("F0", "A7", "RP1", "4711");
    *world.shelf.away.lock().unwrap() = None;
    house.clock.advance_ms(60_000);
    house.settle();
    assert_eq!((house.stage(ulcer), study(&house, ulcer)), (Stage::Forwarded, "1.2.2".to_owned()));
    worklist.says(two_procedures());
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let nevus = send_for(&house, "F2", 2);
    house.settle();
    assert_eq!(study(&house, nevus), "1.2.3");
}

#[test]
fn a_study_that_was_begun_here_for_one_procedure_keeps_no_other_from_its_own() {
    let worklist = Peer::of(vec![]);
    let mut world = open("inquire-begun-one", "", &[(Worklist, &worklist)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    let first = send_for(&house, "F1", 1);
    house.settle();
    assert!(study(&house, first).starts_with("2.25."));
    worklist.says(two_procedures());
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    let both = [send_for(&house, "F2", 2), send_for(&house, "F1", 3)];
    house.settle();
    assert_eq!(both.map(|id| study(&house, id)), ["1.2.3".to_owned(), study(&house, first)]);
}

#[test]
fn a_study_that_was_begun_here_is_not_given_to_another_procedure_by_the_archive_that_has_it_from_here() {
    let archive = Peer::of(vec![]);
    let world = open("inquire-from-here", "", &[(Archive, &archive)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    let first = send_for(&house, "F1", 1);
    house.settle();
    archive.says(vec![entry("4711", &study(&house, first))]);
    let second = send_for(&house, "F2", 2);
    house.settle();
    assert_eq!(study(&house, second), study(&house, first), "nobody knows of two, so the order has one");
    let notes = house.record(second).notes;
    assert!(notes.iter().any(|note| note.contains("which study the order has")), "{notes:?}");
    // One study has one head, and its series one row of numbers.
    let stored = world.shelf.stored.lock().unwrap();
    let values = |tag: [u8; 4], vr: &[u8; 2]| -> std::collections::BTreeSet<Vec<u8>> {
        let head = [&tag[..], vr].concat();
        let at = |object: &Vec<u8>| object.windows(6).position(|piece| piece == head).unwrap() + 6;
        let value = |object: &Vec<u8>| {
            let at = at(object);
            let length = usize::from(u16::from_le_bytes([object[at], object[at + 1]]));
            object[at + 2..at + 2 + length].to_vec()
        };
        stored.values().map(|sent| value(&sent[0])).collect()
    };
    let (started, numbers) = (values([8, 0, 0x30, 0], b"TM"), values([0x20, 0, 0x11, 0], b"IS"));
    assert_eq!((stored.len(), started.len(), numbers.len()), (2, 1, 2), "{started:?} {numbers:?}");
}

#[test]
fn an_answer_that_holds_no_more_makes_room_for_the_one_that_does() {
    let (worklist, archive) = (Peer::of(vec![]), Peer::of(vec![entry("4711", "1.2.2")]));
    let world = open("inquire-room", "", &[(Worklist, &worklist), (Archive, &archive)]);
    world.hospital.order_of_procedure("F1", "A7", "RP1", "4711");
    world.hospital.order_of_procedure("F2", "A7", "RP2", "4711");
    let house = world.start();
    // Somebody assigns a capture of the second procedure and does not wait: what the archive says is kept.
    let unknown = json!({"patient": {"id": "9"}, "order": {"filler": "F2"}, "department": "derm"});
    let waits = house.send(&unknown, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    let awaited = house.line.ask(decision(waits, to_patient("4711"))).unwrap();
    house.line.step();
    house.line.withdraw(&awaited).unwrap();
    house.settle();
    // Then the first procedure is told the same, and has it.
    let first = send_for(&house, "F1", 2);
    house.settle();
    assert_eq!(study(&house, first), "1.2.2");
    worklist.says(two_procedures());
    let third = send_for(&house, "F2", 3);
    house.settle();
    assert_eq!(study(&house, third), "1.2.3");
    worklist.says(vec![]);
    let fourth = send_for(&house, "F2", 4);
    house.settle();
    assert_eq!(study(&house, fourth), "1.2.3", "it is known, whatever the worklist has by now");
}

#[test]
fn of_procedures_that_share_a_study_only_what_is_alike_enters_the_object() {
    let with = |procedure: &str, description: &str, code: &str| {
        let mut entry = numbered(entry("4711", "1.2.2"), procedure, "S77");
        entry.order.procedure = Code { code: code.to_owned(), scheme: "L".to_owned(), meaning: description.to_owned() };
        entry
    };
    let table = [
        (vec![with("RP1", "Left ulcer", "CODE-L"), with("RP2", "Right ulcer", "CODE-R")], [false; 4]),
        (vec![with("RP1", "Left ulcer", "CODE-L"), with("RP1", "Right ulcer", "CODE-R")], [true, true, false, false]),
        (vec![with("RP1", "Left ulcer", "CODE-L"), with("RP1", "Left ulcer", "CODE-L")], [true; 4]),
    ];
    for (number, (entries, then)) in table.into_iter().enumerate() {
        let world = open(&format!("inquire-alike-{number}"), "", &[(Worklist, &Peer::of(entries))]);
        let house = world.start();
        let id = send(&house, 1);
        assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));
        let stored = world.shelf.stored.lock().unwrap();
        let object = &stored.values().next().unwrap()[0];
        let says = |text: &str| object.windows(text.len()).any(|piece| piece == text.as_bytes());
        assert_eq!(["RP1", "S77", "Left ulcer", "CODE-L"].map(says), then, "{number}");
        assert!(!["RP2", "Right ulcer", "CODE-R"].iter().any(|text| says(text)), "{number}");
    }
}

#[test]
fn an_id_that_no_object_can_hold_is_left_out_with_a_note_and_tells_procedures_apart() {
    let (long, other) = ("PROCEDURE-NUMBER-1", "PROCEDURE-NUMBER-2");
    let table = [
        (long, "S77", ["Requested Procedure ID", ""], false),
        ("RP1", "STEP-NUMBER-000077", ["", "Scheduled Procedure Step ID"], false),
        ("RP1", "S77", ["", ""], true),
    ];
    for (number, (procedure, step, noted, has_step)) in table.into_iter().enumerate() {
        let worklist = Peer::of(vec![numbered(entry("4711", "1.2.2"), procedure, step)]);
        let mut world = open(&format!("inquire-long-{number}"), "", &[(Worklist, &worklist)]);
        let house = world.start();
        // What is kept is noted of each capture.
        let both = [send(&house, 1), send(&house, 2)];
        for id in both {
            assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()), "{number}");
            let notes = house.record(id).notes.concat();
            for name in ["Requested Procedure ID", "Scheduled Procedure Step ID"] {
                assert_eq!(notes.contains(name), noted.contains(&name), "{number}: {notes}");
            }
        }
        let stored = world.shelf.stored.lock().unwrap();
        let object = &stored.values().next().unwrap()[0];
        let says = |text: &str| object.windows(text.len()).any(|piece| piece == text.as_bytes());
        assert_eq!((says("S77"), says("PROCEDURE-NUMBER") || says("STEP-NUMBER")), (has_step, false), "{number}");
        drop(stored);
        let noted = both.map(|id| house.record(id).notes);
        drop(house);
        world.store = Arc::default();
        let house = world.start();
        assert_eq!(both.map(|id| house.record(id).notes), noted, "{number}: the index was lost");
        let third = send(&house, 3);
        assert_eq!([study(&house, third)], ["1.2.2"], "{number}");
        assert_eq!(house.record(third).notes, noted[0], "{number}: the index was lost");
        // One that is named now is another than the long one, which is all that the worklist has.
        world.hospital.1.lock().unwrap().get_mut("A7").unwrap().1.requested_procedure_id = "RP9".into();
        let named = send(&house, 4);
        assert_eq!((house.stage(named), failure(&house, named).0), (Stage::Held, FailureCode::StudyUnclear), "{number}");
    }
    let two = vec![numbered(entry("4711", "1.2.2"), long, "S1"), numbered(entry("4711", "1.2.3"), other, "S1")];
    let world = open("inquire-long", "", &[(Worklist, &Peer::of(two))]);
    world.hospital.1.lock().unwrap().get_mut("A7").unwrap().1.requested_procedure_id = "RP1".into();
    let house = world.start();
    let id = send(&house, 1);
    assert_eq!(failure(&house, id).0, FailureCode::StudyUnclear);
}

#[test]
fn a_patient_whose_numbers_were_merged_is_known_to_the_worklist_by_any_of_them() {
    let worklist = Peer::of(vec![entry("0815", "1.2.2")]);
    let world = open("inquire-merged", "", &[(Worklist, &worklist)]);
    let prior = Identifier { id: "0815".into(), issuer: "HOSP".to_owned(), ..Identifier::default() };
    world.hospital.0.lock().unwrap().get_mut("4711").unwrap().prior_ids = vec![prior];
    let house = world.start();
    let id = send(&house, 1);
    assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));
    let asked = worklist.asked.lock().unwrap();
    assert_eq!(*asked, [("A7".to_owned(), vec!["4711".to_owned(), "0815".to_owned()])]);
}

#[test]
fn a_number_without_an_authority_is_one_of_the_sites_own() {
    let unnamed = |patient: &str, study: &str| {
        let mut entry = entry(patient, study);
        entry.patient[0].issuer.clear();
        entry
    };
    let another = FailureCode::IdentityDisagrees;
    for (number, (kind, entries, then)) in [
        (Worklist, vec![unnamed("4711", "1.2.2")], Ok("1.2.2")),
        (Worklist, vec![unnamed("0815", "1.2.2")], Ok("1.2.2")),
        (Worklist, vec![unnamed("12", "1.2.2")], Ok("1.2.2")),
        // The patient's number at CITY may be somebody else's here.
        (Worklist, vec![unnamed("815", "1.2.2")], Err(another)),
        (Archive, vec![unnamed("815", "1.2.2")], Ok("2.25.")),
    ]
    .into_iter()
    .enumerate()
    {
        let world = open(&format!("inquire-unnamed-{number}"), "", &[(kind, &Peer::of(entries))]);
        let numbered = |id: &str, issuer: &str, oid: &str| Identifier {
            id: id.into(),
            issuer: issuer.to_owned(),
            issuer_universal_id: oid.to_owned(),
            ..Identifier::default()
        };
        let mut patients = world.hospital.0.lock().unwrap();
        let patient = patients.get_mut("4711").unwrap();
        patient.other_ids = vec![numbered("815", "CITY", ""), numbered("0815", "", "HOSP"), numbered("12", "", "")];
        drop(patients);
        let house = world.start();
        let id = send(&house, 1);
        match then {
            Ok(then) => assert!(study(&house, id).starts_with(then), "{number}: {}", study(&house, id)),
            Err(code) => assert_eq!((house.stage(id), failure(&house, id).0), (Stage::Held, code), "{number}"),
        }
    }
}

#[test]
fn a_number_of_another_authority_is_another_order_s_at_an_archive() {
    let issued = |study: &str, issuer: &str| {
        let mut entry = entry("4711", study);
        entry.order.accession_issuer = issuer.to_owned();
        entry
    };
    for (number, (entries, then)) in [
        (vec![issued("1.2.2", "CITY")], "2.25."),
        (vec![issued("1.2.2", "CITY"), issued("1.2.3", "RIS")], "1.2.3"),
        (vec![issued("1.2.2", "")], "1.2.2"),
    ]
    .into_iter()
    .enumerate()
    {
        let world = open(&format!("inquire-issuer-{number}"), "", &[(Archive, &Peer::of(entries))]);
        world.hospital.1.lock().unwrap().get_mut("A7").unwrap().1.accession_issuer = "RIS".to_owned();
        let house = world.start();
        let id = send(&house, 1);
        assert!(study(&house, id).starts_with(then), "{number}: {}", study(&house, id));
    }
}

#[test]
fn archives_with_several_studies_of_an_order_tell_a_person_and_none_is_chosen() {
    let (one, other) = (Peer::of(vec![entry("4711", "1.2.2")]), Peer::of(vec![entry("4711", "1.2.3")]));
    let world = open("inquire-archives", "", &[(Archive, &one), (Archive, &other)]);
    let house = world.start();
    let id = send(&house, 1);
    assert!(study(&house, id).starts_with("2.25."));
    let notes = house.record(id).notes;
    assert!(notes.iter().any(|note| note.contains("which study the order has")), "{notes:?}");
}

#[test]
fn while_somebody_does_not_answer_the_capture_waits_and_nothing_is_made_up() {
    let (worklist, archive) = (Peer::of(vec![]), Peer::of(vec![entry("4711", "1.2.3")]));
    for (number, away) in [&worklist, &archive].into_iter().enumerate() {
        *away.is_away.lock().unwrap() = true;
        let world = open(&format!("inquire-away-{number}"), "", &[(Worklist, &worklist), (Archive, &archive)]);
        let house = world.start();
        let id = send(&house, 1);
        for _ in 0..100 {
            house.clock.advance_ms(10_000);
            house.settle();
        }
        assert_eq!((house.stage(id), failure(&house, id).0), (Stage::Accepted, FailureCode::StudyUnknown));
        assert!(failure(&house, id).1.contains("cannot be reached") && world.stored() == 0);
        // Another capture is not kept waiting by it.
        let plain = house.send(&claim("4711"), None, &[&photo(2)]).unwrap().record.id();
        house.settle();
        assert_eq!(house.stage(plain), Stage::Forwarded);
        *away.is_away.lock().unwrap() = false;
        for _ in 0..10 {
            house.clock.advance_ms(10_000);
            house.settle();
        }
        assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.3".to_owned()));
    }
}

#[test]
fn many_captures_of_one_order_are_one_question() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-many", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let ids: Vec<CaptureId> = (0..20).map(|n| house.send(&ordered(), None, &[&photo(n)]).unwrap().record.id()).collect();
    house.settle();
    assert!(ids.iter().all(|id| house.stage(*id) == Stage::Forwarded && study(&house, *id) == "1.2.2"));
    assert_eq!(worklist.questions(), 1);
    let mut numbers: Vec<_> = ids.iter().map(|id| house.record(*id).study_instance_uid).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 1);
}

#[test]
fn an_order_that_was_told_once_keeps_its_study_through_restarts_a_lost_index_and_a_changed_worklist() {
    let worklist = Peer::of(vec![numbered(entry("4711", "1.2.2"), "RP1", "S1")]);
    let mut world = open("inquire-kept", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let first = send(&house, 1);
    assert_eq!(study(&house, first), "1.2.2");
    worklist.says(vec![entry("4711", "1.2.9")]);
    drop(house);
    let house = world.start();
    let second = send(&house, 2);
    assert_eq!(study(&house, second), "1.2.2");
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    house.settle();
    let third = send(&house, 3);
    assert_eq!((study(&house, first), study(&house, third)), ("1.2.2".to_owned(), "1.2.2".to_owned()));
    assert_eq!(worklist.questions(), 1);
}

/// The index as it is now.
fn copy(store: &MemoryStore) -> Arc<MemoryStore> {
    let copied = Arc::default();
    pour(store, &copied);
    copied
}

fn pour(from: &MemoryStore, to: &MemoryStore) {
    let mut batch = Batch::new();
    for row in from.scan(&[], &[0xFF; 8], usize::MAX).unwrap() {
        batch.put(row.key, row.value);
    }
    to.commit(batch).unwrap();
}

#[test]
fn a_power_cut_between_the_sealed_answer_and_the_index_asks_nothing_again() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let mut world = open("inquire-power", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let first = house.send(&ordered(), None, &[&photo(1)]).unwrap().record.id();
    house.line.step();
    let before = copy(&world.store);
    house.settle();
    assert_eq!((study(&house, first), worklist.questions()), ("1.2.2".to_owned(), 1));
    drop(house);
    worklist.says(vec![entry("4711", "1.2.9")]);
    world.store = before;
    let house = world.start();
    assert_eq!(house.stage(first), Stage::Accepted, "the index knew it already");
    let second = house.send(&ordered(), None, &[&photo(2)]).unwrap().record.id();
    house.clock.advance_ms(10_000);
    house.settle();
    assert_eq!((study(&house, first), study(&house, second)), ("1.2.2".to_owned(), "1.2.2".to_owned()));
    assert_eq!((house.stage(first), worklist.questions()), (Stage::Forwarded, 1));
}

#[test]
fn what_is_noted_of_a_capture_outlives_a_power_cut_between_its_sealed_binding_and_the_index() {
    let worklist = Peer::of(vec![numbered(entry("4711", "1.2.2"), "RP1", "STEP-NUMBER-000077")]);
    let mut world = open("inquire-power-notes", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let mut claim = ordered();
    claim["taken_at"] = json!("2026-03-02T09:00:00Z");
    let id = house.send(&claim, None, &[&photo(1)]).unwrap().record.id();
    house.line.step();
    let before = copy(&world.store);
    house.settle();
    let notes = house.record(id).notes;
    assert!(notes.len() == 2 && notes[0].contains("clock was ahead") && notes[1].contains("Step ID"), "{notes:?}");
    drop(house);
    world.store = before;
    let house = world.start();
    assert_eq!(house.stage(id), Stage::Accepted, "the index knew it already");
    house.clock.advance_ms(10_000);
    house.settle();
    assert_eq!((house.stage(id), house.record(id).notes), (Stage::Forwarded, notes));
}

#[test]
fn a_study_that_was_begun_here_is_not_taken_elsewhere_when_the_worklist_comes_to_know_one() {
    let worklist = Peer::of(vec![]);
    let mut world = open("inquire-begun", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let first = send(&house, 1);
    worklist.says(vec![entry("4711", "1.2.9")]);
    let second = send(&house, 2);
    assert_eq!(study(&house, second), study(&house, first));
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    let third = send(&house, 3);
    assert_eq!((study(&house, third), worklist.questions()), (study(&house, first), 1));
}

#[test]
fn a_correction_of_the_order_reaches_a_capture_that_waits_under_the_study_it_was_told() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-corrected", "", &[(Worklist, &worklist)]);
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    let house = world.start();
    let id = send(&house, 1);
    assert_eq!(study(&house, id), "1.2.2");
    world.hospital.1.lock().unwrap().get_mut("A7").unwrap().1.procedure.meaning = "Ulcer, left".to_owned();
    *world.shelf.away.lock().unwrap() = None;
    house.clock.advance_ms(60_000);
    house.settle();
    assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));
    let stored = world.shelf.stored.lock().unwrap();
    let bytes = stored.values().next().unwrap()[0].clone();
    assert!(bytes.windows(11).any(|piece| piece == b"Ulcer, left"), "the correction was lost");
    assert!(bytes.windows(5).any(|piece| piece == b"1.2.2"));
}

#[test]
fn an_answer_that_comes_when_the_person_has_left_is_there_when_they_come_again() {
    let table = [
        (vec![entry("4711", "1.2.2")], Ok("1.2.2")),
        (vec![], Ok("2.25.")),
        (vec![entry("815", "1.2.2")], Err("another patient")),
    ];
    for (number, (entries, then)) in table.into_iter().enumerate() {
        let worklist = Peer::of(entries);
        let world = open(&format!("inquire-late-{number}"), "", &[(Worklist, &worklist)]);
        let house = world.start();
        let mut unknown = ordered();
        unknown["patient"]["id"] = json!("9");
        let id = house.send(&unknown, None, &[&photo(1)]).unwrap().record.id();
        house.settle();
        let awaited = house.line.ask(decision(id, to_patient("4711"))).unwrap();
        house.line.step();
        let refusal = house.line.withdraw(&awaited).unwrap();
        assert!(refusal.is_retryable() && refusal.detail.contains("worklist"), "{number}: {refusal:?}");
        house.settle();
        assert_eq!(house.stage(id), Stage::Held, "{number}: it was assigned although the person had left");
        match (house.decide(id, to_patient("4711")), then) {
            (Ok(_), Ok(then)) => assert!(study(&house, id).starts_with(then), "{number}: {}", study(&house, id)),
            (Err(refusal), Err(then)) => assert!(refusal.errors[0].detail.contains(then), "{number}: {refusal:?}"),
            (verdict, _) => panic!("{number}: {verdict:?}"),
        }
        assert_eq!(worklist.questions(), 1, "{number}");
        if then.is_err() {
            worklist.says(vec![entry("4711", "1.2.3")]);
            let awaited = house.line.ask(decision(id, to_patient("4711"))).unwrap();
            house.settle();
            house.line.answer(&awaited).unwrap();
            assert_eq!(study(&house, id), "1.2.3", "an answer of before was heard twice");
        }
    }
}

#[test]
fn an_index_that_is_being_made_anew_is_waited_for_before_anybody_is_asked() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-anew", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let id = house.send(&ordered(), None, &[&photo(1)]).unwrap().record.id();
    assert!(house.journal.rebuild(|| Err::<(), _>("not at its end yet".to_owned())).is_err());
    house.settle();
    assert_eq!((house.stage(id), failure(&house, id).0), (Stage::Accepted, FailureCode::StoreUnavailable));
    house.clock.advance_ms(10 * 60_000);
    house.settle();
    assert_eq!((house.stage(id), worklist.questions()), (Stage::Accepted, 0));
    house.journal.rebuild(|| Ok(())).unwrap();
    house.clock.advance_ms(60 * 60_000);
    house.settle();
    assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));
}

#[test]
fn orders_are_asked_about_in_the_order_in_which_they_came() {
    let worklist = Peer::of(vec![]);
    let world = open("inquire-turns", "", &[(Worklist, &worklist)]);
    let house = world.start();
    let come = |number: u8| {
        let accession = format!("B{number}");
        world.hospital.order(&accession, "4711", "");
        let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "order": {"accession": accession}, "department": "derm"});
        house.send(&claim, None, &[&photo(number)]).unwrap();
        house.line.step();
    };
    (0..8).for_each(come);
    for number in 8..16 {
        // Whoever comes meanwhile comes behind.
        assert!(house.line.inquire_one());
        come(number);
    }
    while house.line.inquire_one() {}
    let asked: Vec<String> = worklist.asked.lock().unwrap().iter().map(|(accession, _)| accession.clone()).collect();
    assert_eq!(asked, (0..16).map(|number| format!("B{number}")).collect::<Vec<_>>());
}

#[test]
fn a_person_who_assigns_a_capture_waits_for_the_answer_too() {
    let worklist = Peer::of(vec![entry("4711", "1.2.2")]);
    let world = open("inquire-assign", "", &[(Worklist, &worklist)]);
    world.hospital.admit("815", "1980-01-01");
    let house = world.start();
    let mut unknown = ordered();
    unknown["patient"]["id"] = json!("9");
    let id = house.send(&unknown, None, &[&photo(1)]).unwrap().record.id();
    house.settle();
    assert_eq!((house.stage(id), worklist.questions()), (Stage::Held, 0));
    let awaited = house.line.ask(decision(id, to_patient("4711"))).unwrap();
    house.settle();
    assert_ne!(house.line.answer(&awaited).unwrap().stage(), Stage::Held);
    house.settle();
    assert_eq!((house.stage(id), study(&house, id)), (Stage::Forwarded, "1.2.2".to_owned()));

    *worklist.is_away.lock().unwrap() = true;
    world.hospital.order("A8", "815", "");
    unknown["order"]["accession"] = json!("A8");
    let id = house.send(&unknown, None, &[&photo(2)]).unwrap().record.id();
    house.settle();
    let awaited = house.line.ask(decision(id, to_patient("815"))).unwrap();
    house.settle();
    let refusal = house.line.answer(&awaited).unwrap_err();
    assert!(refusal.code == RefusalCode::Unavailable && refusal.detail.contains("worklist"), "{refusal:?}");
    assert_eq!(house.stage(id), Stage::Held);
}
