//! What becomes of a photo whose class an archive does not take: it goes as a Secondary Capture, one
//! and the same whatever happens in between, or is held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod line_support;

use std::sync::Arc;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use line_support::{House, Says, Shelf, World, claim, photo};
use shutterbridge::capture::{CaptureId, Commitment, FailureCode, Form, Stage};
use shutterbridge::pipeline::Act;

const VL_PHOTOGRAPHIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// A world whose archive takes none of these classes.
fn world(name: &str, takes_stand_ins: bool, refused: &[&'static str]) -> World {
    let mut world = World::new(name);
    world.shelf = Arc::new(Shelf { takes_stand_ins, ..Shelf::default() });
    *world.shelf.refused_classes.lock().unwrap() = refused.to_vec();
    world
}

fn send(house: &House, number: u8) -> CaptureId {
    house.send(&claim("4711"), None, &[&photo(number)]).unwrap().record.id()
}

/// Until nothing is left to do; a stand-in is due a moment after its capture.
fn work(house: &House) {
    house.settle();
    house.clock.advance_ms(1);
    house.settle();
}

/// What the archive has, by UID.
fn kept(world: &World) -> Vec<(String, InMemDicomObject)> {
    let stored = world.shelf.stored.lock().unwrap();
    let read = |bytes: &[u8]| InMemDicomObject::read_dataset_with_ts(bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
    stored
        .iter()
        .map(|(uid, sent)| {
            assert!(sent.iter().all(|bytes| bytes == &sent[0]), "each time the same object");
            (uid.clone(), read(&sent[0]))
        })
        .collect()
}

fn text(object: &InMemDicomObject, tag: dicom_core::Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches([' ', '\0']).to_owned()
}

#[test]
fn a_photo_whose_class_is_not_taken_goes_as_a_secondary_capture() {
    let world = world("class", true, &[VL_PHOTOGRAPHIC]);
    let house = world.start();
    let id = send(&house, 1);
    work(&house);
    assert_eq!(house.stage(id), Stage::Forwarded);
    let record = house.record(id);
    let kept = kept(&world);
    let [(uid, object)] = kept.as_slice() else { panic!("{} instances", kept.len()) };
    assert_ne!(*uid, record.items[0].facts.sop_instance_uid.to_string(), "a UID is bound to one class");
    assert_eq!(text(object, tags::SOP_CLASS_UID), SECONDARY_CAPTURE);
    assert_eq!(text(object, tags::SOP_INSTANCE_UID), *uid);
    assert_eq!(text(object, tags::STUDY_INSTANCE_UID), record.study_instance_uid.as_ref().unwrap().to_string());
    assert_eq!(text(object, tags::SERIES_NUMBER), "1000001");
    let told = |event: &&shutterbridge::capture::record::Event| event.why.as_ref().is_some_and(|why| why.contains(uid));
    let lines: Vec<_> = record.history.iter().filter(told).collect();
    assert_eq!(lines.len(), 1, "{:?}", record.history);
    assert_eq!((lines[0].archive.as_deref(), lines[0].item), (Some("pacs"), 0));
    assert_eq!((record.items[0].legs[0].form, record.items[0].schedule.unsent), (Form::StandIn, 1));
}

#[test]
fn series_of_stand_ins_are_their_own_and_the_same_for_one_capture() {
    let world = world("series", true, &[VL_PHOTOGRAPHIC]);
    let house = world.start();
    let id = house.send(&claim("4711"), None, &[&photo(1), &photo(2)]).unwrap().record.id();
    *world.shelf.refused_classes.lock().unwrap() = Vec::new();
    let other = send(&house, 3);
    *world.shelf.refused_classes.lock().unwrap() = vec![VL_PHOTOGRAPHIC];
    work(&house);
    assert_eq!((house.stage(id), house.stage(other)), (Stage::Forwarded, Stage::Forwarded));
    let series: Vec<String> = kept(&world).iter().map(|(_, object)| text(object, tags::SERIES_INSTANCE_UID)).collect();
    let mut different = series.clone();
    different.sort();
    different.dedup();
    assert_eq!((series.len(), different.len()), (3, 2), "one series for each capture");
}

#[test]
fn a_crash_between_the_two_makes_no_second_stand_in() {
    // given what goes wrong with the first stand-in, and whether the index is lost then
    for (name, goes_wrong, loses_index) in [
        ("aborted", FailureCode::ArchiveAborted, false),
        ("away", FailureCode::ArchiveUnreachable, false),
        ("index", FailureCode::ArchiveAborted, true),
    ] {
        let mut world = world(name, true, &[VL_PHOTOGRAPHIC]);
        world.shelf.refuse.lock().unwrap().push(goes_wrong);
        let house = world.start();
        let id = send(&house, 1);
        work(&house);
        assert_ne!(house.stage(id), Stage::Forwarded);
        drop(house);
        if loses_index {
            world.store = Arc::default();
        }
        let house = world.start();
        house.clock.advance_ms(10 * 60_000);
        work(&house);
        assert_eq!(house.stage(id), Stage::Forwarded, "{name}");
        assert_eq!(kept(&world).len(), 1, "{name}");
    }
}

#[test]
fn an_archive_is_asked_to_commit_to_what_it_got() {
    let mut world = world("commit", true, &[VL_PHOTOGRAPHIC]);
    world.commitment = Commitment::Required;
    world.shelf.words.lock().unwrap().push(Says::Kept);
    let house = world.start();
    let id = send(&house, 1);
    work(&house);
    let (_, asked) = world.shelf.last_question();
    assert_eq!(asked[0].sop_class.as_str(), SECONDARY_CAPTURE);
    assert_eq!(asked[0].sop_instance.as_str(), kept(&world)[0].0);
    assert_eq!(house.stage(id), Stage::Committed);
}

#[test]
fn what_may_not_stand_in_or_is_not_taken_either_is_held() {
    let both = [VL_PHOTOGRAPHIC, SECONDARY_CAPTURE];
    for (name, allowed, refused) in [("forbidden", false, &both[..1]), ("neither", true, &both[..])] {
        let world = world(name, allowed, refused);
        let house = world.start();
        let id = send(&house, 1);
        work(&house);
        assert_eq!(house.leg(id, "pacs"), (Stage::Held, Some(FailureCode::ArchiveRefusedClass)), "{name}");
        // The administrator enables the class, and a person has it tried again: as what it is.
        world.shelf.refused_classes.lock().unwrap().clear();
        house.decide(id, Act::Retry).unwrap();
        work(&house);
        let kept = kept(&world);
        assert_eq!((house.stage(id), kept.len()), (Stage::Forwarded, 1), "{name}");
        assert_eq!(text(&kept[0].1, tags::SOP_CLASS_UID), VL_PHOTOGRAPHIC, "{name}");
    }
}
