//! C-FIND on the wire: real worklists and archives, and peers that answer wrongly, too much or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;
mod worklist_files;

use std::net::{SocketAddr, TcpListener};

use archive_peer::finder::{Finder, Reply};
use archive_peer::web::orthanc;
use archive_peer::*;
use dicom_fixture::{TempDir, jpeg, photograph};
use shutterbridge::archive::Archive as _;
use shutterbridge::archive::dimse::{Limits, Options};
use shutterbridge::archive::find::Find;
use shutterbridge::archive::studies::{Entry, Studies as _, Unanswered};
use shutterbridge::capture::Phi;
use shutterbridge::dicom::query::Model;
use worklist_files::{Item, Worklist};

fn find(address: SocketAddr, model: Model, response_ms: u64) -> Find {
    let limits = Limits { response_ms, association_ms: 2_000, ..Limits::default() };
    Find::new(Options { limits, ..options(&address.to_string()) }, model)
}

fn ask(address: SocketAddr, model: Model) -> Result<Vec<Entry>, Unanswered> {
    find(address, model, 10_000).under(&"A7".into(), &["4711".into()])
}

/// Study and patients of each entry.
fn told(entries: &[Entry]) -> Vec<(&str, Vec<&str>)> {
    let mut all = Vec::new();
    for Entry { patient, order } in entries {
        all.push((order.study_instance_uid.as_str(), patient.iter().map(|id| id.id.expose()).collect()));
    }
    all
}

#[test]
fn a_worklist_tells_the_order_in_its_own_character_set() {
    let table: [(&[u8], &[u8], &str); 5] = [
        (b"ISO_IR 100", b"H\xE4matom", "Hämatom"),
        (b"ISO_IR 192", "Hämatom".as_bytes(), "Hämatom"),
        (b"\\ISO 2022 IR 87", b"\x1B$BHiIf\x1B(B", "皮膚"),
        (b"ISO_IR 13", b"\x94\xE7\x95\x86", "皮膚"),
        (b"", b"H\xE4matom", "Hämatom"),
    ];
    for (charset, description, then) in table {
        let item = Item { charset, description, ..Item::of("A7", "4711", "1.2.2") };
        let Some(worklist) = Worklist::start(&[item, Item::of("A8", "815", "1.2.3")]) else { return };
        let entries = ask(worklist.address, Model::Worklist).unwrap();
        assert_eq!(told(&entries), [("1.2.2", vec!["4711"])], "{then}");
        let order = &entries[0].order;
        assert_eq!(order.procedure.meaning, then);
        assert_eq!((order.requested_procedure_id.expose(), order.scheduled_step_id.expose()), ("RPA7", "SPSA7"));
        assert_eq!((order.modality.as_str(), order.requesting_physician.expose()), ("XC", "Req^Rob"));
        assert_eq!(entries[0].patient[0].issuer, "HOSP");
        assert_eq!(find(worklist.address, Model::Worklist, 10_000).under(&"A9".into(), &["4711".into()]), Ok(Vec::new()));
    }
}

#[test]
fn an_archive_tells_the_study_of_what_it_was_sent() {
    let dir = TempDir::new("find-orthanc");
    let Some((_orthanc, port)) = orthanc(dir.path(), ",\"DicomAlwaysAllowFind\":true") else { return };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let payload = jpeg(64, 48, 3);
    dimse(address).store(&photograph(1, &payload, 64, 48), &mut payload.as_slice()).unwrap();
    let find = find(address, Model::Studies, 10_000);
    let entries = find.under(&"A123".into(), &["4711".into()]).unwrap();
    assert_eq!(told(&entries), [("1.2.826.0.1.3680043.10.99.1", vec!["4711"])]);
    assert_eq!(find.under(&"A12".into(), &["4711".into()]), Ok(Vec::new()));
    // To this one a star would be all numbers.
    assert_eq!(find.under(&"A*".into(), &["4711".into()]), Ok(Vec::new()));
}

#[test]
fn who_does_not_match_accession_numbers_is_asked_for_the_patients_orders_instead() {
    let others = ("A9", "815", "1.2.9");
    let peer = Finder::start(vec![
        Reply::List(vec![others, ("A7", "4711", "1.2.2"), ("A70", "4711", "1.2.3")]),
        Reply::Flood(others, 500),
        Reply::List(vec![("A9", "4711", "1.2.9"), ("A7", "4711", "1.2.2")]),
        Reply::Flood(others, 500),
        Reply::Flood(others, 500),
    ]);
    for _ in 0..2 {
        assert_eq!(told(&ask(peer.address, Model::Worklist).unwrap()), [("1.2.2", vec!["4711"])]);
    }
    let Err(Unanswered(why)) = ask(peer.address, Model::Worklist) else { panic!("it was believed") };
    assert!(why.contains("500 answers"), "{why}");
    let asked = peer.finish();
    assert_eq!(names_patient(&asked), [false, false, true, false, true]);
    assert!(asked.iter().all(|question| question.contains("A7")));
}

fn names_patient(asked: &[String]) -> Vec<bool> {
    asked.iter().map(|question| question.contains("4711")).collect()
}

#[test]
fn who_does_not_stop_when_it_is_cancelled_is_asked_for_the_patients_orders_all_the_same() {
    let others = ("A9", "815", "1.2.9");
    let its_own = || Reply::List(vec![("A9", "4711", "1.2.9"), ("A7", "4711", "1.2.2")]);
    for reply in [Reply::Endless(others), Reply::Mute(others, 500), Reply::Torn(others, 500)] {
        let peer = Finder::start(vec![reply, its_own()]);
        let entries = find(peer.address, Model::Worklist, 2_000).under(&"A7".into(), &["4711".into()]).unwrap();
        assert_eq!(told(&entries), [("1.2.2", vec!["4711"])]);
        assert_eq!(names_patient(&peer.finish()), [false, true]);
    }
    let peer = Finder::start(vec![Reply::Endless(others), Reply::Endless(others)]);
    let Err(Unanswered(why)) = ask(peer.address, Model::Worklist) else { panic!("it was believed") };
    assert!(why.contains("500 answers"), "{why}");
    assert_eq!(names_patient(&peer.finish()), [false, true]);
}

#[test]
fn who_is_asked_for_the_patient_is_asked_for_every_number_that_can_be_asked_for_and_for_eight_at_most() {
    let others = ("A9", "815", "1.2.9");
    let mut replies = vec![Reply::Flood(others, 500), Reply::List(vec![]), Reply::List(vec![("A7", "P2", "1.2.2")])];
    replies.extend((3..=8).map(|_| Reply::List(vec![])));
    let peer = Finder::start(replies);
    let numbers = ["P1", "P*", "P1", "P2", "P\\2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"].map(Phi::from);
    let entries = find(peer.address, Model::Worklist, 10_000).under(&"A7".into(), &numbers).unwrap();
    assert_eq!(told(&entries), [("1.2.2", vec!["P2"])]);
    let asked = peer.finish();
    let of = |question: &String| (1..=9).filter(|n| question.contains(&format!("P{n}"))).collect::<Vec<_>>();
    let then: Vec<Vec<i32>> = std::iter::once(vec![]).chain((1..=8).map(|n| vec![n])).collect();
    assert_eq!(asked.iter().map(of).collect::<Vec<_>>(), then);
    // Where there is nothing to ask for, it has not answered.
    let peer = Finder::start(vec![Reply::Flood(others, 500)]);
    let answer = find(peer.address, Model::Worklist, 10_000).under(&"A7".into(), &["P*".into(), "P?1".into()]);
    assert!(answer.is_err_and(|Unanswered(why)| why.contains("500 answers")));
    assert_eq!(peer.finish().len(), 1);
}

#[test]
fn both_are_asked_for_the_authorities_of_what_they_answer_and_for_its_character_set() {
    for model in [Model::Worklist, Model::Studies] {
        let peer = Finder::start(vec![Reply::List(vec![])]);
        ask(peer.address, model).unwrap();
        let asked = peer.finish().remove(0);
        // Issuer of Accession Number Sequence, of Patient ID, its Qualifiers Sequence, Specific Character Set.
        for key in ["\u{8}\0Q\0", "\u{10}\0!\0", "\u{10}\0$\0", "\u{8}\0\u{5}\0"] {
            assert!(asked.contains(key), "{model:?} {key:?}");
        }
    }
}

#[test]
fn no_answer_is_never_taken_for_an_empty_one() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let says = |address: SocketAddr| {
        let answer = find(address, Model::Studies, 300).under(&"AB77".into(), &["4711".into()]);
        let Err(Unanswered(why)) = answer else { panic!("it was believed") };
        assert!(!why.contains("AB77") && !why.contains("4711"), "{why}");
        why
    };
    assert!(says(nobody).contains("cannot be reached"));
    assert!(says(silent.local_addr().unwrap()).contains("in time"));
    let table = [
        (Reply::Status(0xA700), "A700H"),
        (Reply::Status(0xC001), "C001H"),
        (Reply::Status(0xFE00), "FE00H"),
        (Reply::Garbage, "cannot be read"),
        (Reply::Another, "something else"),
        (Reply::Silence, "in time"),
        (Reply::Close, "closed"),
    ];
    for (reply, then) in table {
        let peer = Finder::start(vec![reply]);
        let why = says(peer.address);
        assert!(why.contains(then), "{why}");
        peer.finish();
    }
    let dir = TempDir::new("find-refused");
    let Some(storescp) = Other::storescp(dir.path(), &[]) else { return };
    let why = says(storescp.address);
    assert!(why.contains("does not take SOP class 1.2.840.10008.5.1.4.1.2.2.1"), "{why}");
}
