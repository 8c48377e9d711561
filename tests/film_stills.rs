//! What becomes of a film at an archive that takes no films: stills of it are there in its place, one
//! object and the same whatever happens in between; the film itself stays here for a person.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod line_support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::JPEG_BASELINE;
use line_support::films::{develop, send, world};
use line_support::{House, Says, Shelf, World, to_patient};
use shutterbridge::capture::{CaptureId, Commitment, FailureCode, Stage};
use shutterbridge::dicom::Syntax;
use shutterbridge::pipeline::Act;

const VIDEO: &str = "1.2.840.10008.5.1.4.1.1.77.1.4.1";
const STILLS: &str = "1.2.840.10008.5.1.4.1.1.7.4";
const HELD: (Stage, Option<FailureCode>) = (Stage::Held, Some(FailureCode::ArchiveHasStills));

/// Three seconds that .102 carries as they are.
fn film(world: &World) -> Vec<u8> {
    let file = world.folder.join("film.mp4");
    let pictures = ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30:duration=3"];
    let coder = ["-c:v", "libx264", "-profile:v", "high", "-level", "4.0", "-pix_fmt", "yuv420p"];
    let made = Command::new("ffmpeg").args(pictures).args(coder).arg(&file).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(file).unwrap()
}

/// An archive that takes none of these classes.
fn at_one_without(name: &str, refused: &[&'static str]) -> Option<World> {
    let mut world = world(name)?;
    world.shelf = Arc::new(Shelf { takes_stand_ins: true, ..Shelf::default() });
    *world.shelf.refused_classes.lock().unwrap() = refused.to_vec();
    Some(world)
}

fn end(house: &House, id: CaptureId) -> (Stage, Option<FailureCode>) {
    develop(house, id, || matches!(house.stage(id), Stage::Forwarded | Stage::Held));
    house.leg(id, "pacs")
}

/// What the archive has of that class: its UID, and as how many equal copies it came.
fn kept(world: &World, class: &str) -> Vec<(String, InMemDicomObject)> {
    let stored = world.shelf.stored.lock().unwrap();
    let mut found = Vec::new();
    for (uid, sent) in stored.iter() {
        assert!(sent.iter().all(|bytes| bytes == &sent[0]), "each time the same object");
        let object = InMemDicomObject::read_dataset_with_ts(&*sent[0], &JPEG_BASELINE.erased()).unwrap();
        if text(&object, tags::SOP_CLASS_UID) == class {
            found.push((uid.clone(), object));
        }
    }
    found
}

fn text(object: &InMemDicomObject, tag: dicom_core::Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches([' ', '\0']).to_owned()
}

#[test]
fn an_archive_without_films_has_stills_and_the_film_is_kept_until_it_takes_it() {
    let Some(world) = at_one_without("stills", &[VIDEO]) else { return };
    let house = world.start();
    let id = send(&house, &film(&world));
    assert_eq!(end(&house, id), HELD);
    let record = house.record(id);
    let objects = kept(&world, STILLS);
    let [(uid, object)] = objects.as_slice() else { panic!("{} objects of stills", objects.len()) };
    assert_ne!(*uid, record.items[0].facts.sop_instance_uid.to_string(), "a UID is bound to one class");
    assert_eq!(text(object, tags::STUDY_INSTANCE_UID), record.study_instance_uid.as_ref().unwrap().to_string());
    assert_eq!(text(object, tags::SERIES_NUMBER), "1000001");
    assert_eq!(text(object, tags::NUMBER_OF_FRAMES), "3", "one a second");
    assert_eq!(text(object, tags::FRAME_TIME_VECTOR), "0\\1000\\1000");
    assert_eq!(text(object, tags::IMAGE_TYPE), "DERIVED\\PRIMARY");
    assert_eq!(text(object, tags::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_14496_10\\ISO_10918_1");
    assert_eq!((text(object, tags::ROWS), text(object, tags::COLUMNS)), ("240".to_owned(), "320".to_owned()));
    let told = record.items[0].legs[0].failure.clone().unwrap().detail;
    assert!(told.contains("3 stills") && told.contains(uid), "{told}");

    // The administrator enables the class, and a person has it tried again: as what it is.
    world.shelf.refused_classes.lock().unwrap().clear();
    drop(house);
    let house = world.start();
    house.decide(id, Act::Retry).unwrap();
    house.settle();
    assert_eq!(house.stage(id), Stage::Forwarded);
    let (films, stills) = (kept(&world, VIDEO), kept(&world, STILLS));
    assert_eq!((films.len(), stills.len()), (1, 1));
    assert_eq!(films[0].0, record.items[0].facts.sop_instance_uid.to_string());
}

/// Pictures of a file as grey samples of 90 × 160, at a distance of so many milliseconds.
fn pictures(file: &Path, apart_ms: u32, as_coded: bool) -> Vec<Vec<u8>> {
    let turn: &[&str] = if as_coded { &["-noautorotate"] } else { &[] };
    let filters = format!("fps=1000/{apart_ms},scale=90:160");
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(turn)
        .arg("-i")
        .arg(file)
        .args(["-vf", &filters, "-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(90 * 160).map(<[u8]>::to_vec).collect()
}

fn apart(ours: &[u8], theirs: &[u8]) -> f64 {
    let sum: u32 = ours.iter().zip(theirs).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / f64::from(u32::try_from(ours.len()).unwrap())
}

#[test]
fn stills_of_a_film_held_upright_are_upright_and_of_their_moments() {
    let Some(world) = at_one_without("stills-turned", &[VIDEO]) else { return };
    let flat = world.folder.join("film.mp4");
    film(&world);
    let turned = world.folder.join("turned.mov");
    let turn = ["-c", "copy", "-metadata:s:v", "rotate=90"];
    let made = Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(&flat).args(turn).arg(&turned).status().unwrap();
    assert!(made.success());
    let house = world.start();
    let id = send(&house, &std::fs::read(&turned).unwrap());
    assert_eq!(end(&house, id), HELD);
    let (_, object) = kept(&world, STILLS).remove(0);
    assert_eq!((text(&object, tags::ROWS), text(&object, tags::COLUMNS)), ("320".to_owned(), "240".to_owned()));
    let fragments = object.element(tags::PIXEL_DATA).unwrap().fragments().unwrap();
    let (as_shown, as_coded) = (pictures(&turned, 1000, false), pictures(&turned, 1000, true));
    assert_eq!(fragments.len(), 3);
    for (n, jpeg) in fragments.iter().enumerate() {
        let file = world.folder.join("still.jpg");
        std::fs::write(&file, jpeg).unwrap();
        let still = pictures(&file, 40, false).remove(0);
        let means = [apart(&still, &as_shown[n]), apart(&still, &as_coded[n]), apart(&still, &as_shown[(n + 1) % 3])];
        assert!(means[0] < 6.0 && means[1] > 20.0 && means[0] < means[2], "still {n}: {means:?} levels off");
    }
}

#[test]
fn a_crash_or_a_lost_index_makes_no_second_object_of_stills() {
    for (name, goes_wrong, loses_index) in [
        ("aborted", FailureCode::ArchiveAborted, false),
        ("away", FailureCode::ArchiveUnreachable, false),
        ("index", FailureCode::ArchiveAborted, true),
    ] {
        let Some(mut world) = at_one_without(&format!("stills-{name}"), &[VIDEO]) else { return };
        world.shelf.refuse.lock().unwrap().push(goes_wrong);
        let house = world.start();
        let id = send(&house, &film(&world));
        develop(&house, id, || world.shelf.refuse.lock().unwrap().is_empty());
        drop(house);
        if loses_index {
            world.store = Arc::default();
        }
        let house = world.start();
        assert_eq!(end(&house, id), HELD, "{name}");
        assert_eq!(kept(&world, STILLS).len(), 1, "{name}");
    }
}

#[test]
fn a_word_that_an_archive_keeps_stills_is_none_about_the_film() {
    let Some(mut world) = at_one_without("stills-kept", &[VIDEO]) else { return };
    world.commitment = Commitment::Required;
    world.shelf.refuse.lock().unwrap().push(FailureCode::ArchiveAborted);
    world.shelf.words.lock().unwrap().push(Says::Kept);
    let house = world.start();
    let id = send(&house, &film(&world));
    assert_eq!(end(&house, id), HELD, "nobody asks about stills of which the outcome is not known: they are sent again");
    assert_eq!((world.shelf.questions(), kept(&world, STILLS).len()), (0, 1));
    drop(house);
    world.shelf.refused_classes.lock().unwrap().clear();
    let house = world.start();
    house.decide(id, Act::Retry).unwrap();
    house.settle();
    assert_eq!(house.stage(id), Stage::Committed, "of the film");
    let (_, asked) = world.shelf.last_question();
    assert_eq!((asked.len(), asked[0].sop_class.as_str()), (1, VIDEO));
}

#[test]
fn whatever_an_archive_has_against_stills_the_film_is_tried_first_again() {
    let Some(world) = at_one_without("stills-bad", &[VIDEO]) else { return };
    world.shelf.refuse.lock().unwrap().push(FailureCode::ArchiveRefusedObject);
    let house = world.start();
    let id = send(&house, &film(&world));
    assert_eq!(end(&house, id), (Stage::Held, Some(FailureCode::ArchiveRefusedObject)));
    let told = house.record(id).items[0].legs[0].failure.clone().unwrap().detail;
    assert!(told.starts_with("no such class"), "what has to be mended first is told first: {told}");
    drop(house);
    world.shelf.refused_classes.lock().unwrap().clear();
    let house = world.start();
    house.decide(id, Act::Retry).unwrap();
    house.settle();
    assert_eq!((house.stage(id), kept(&world, VIDEO).len(), kept(&world, STILLS).len()), (Stage::Forwarded, 1, 0));
}

#[test]
fn stills_do_not_bind_a_film_in_hevc_to_that_form() {
    let Some(world) = at_one_without("stills-hevc", &[VIDEO]) else { return };
    let file = world.folder.join("film.mp4");
    let pictures = ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30:duration=1"];
    let coder = ["-c:v", "libx265", "-x265-params", "log-level=none:info=0", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"];
    let made = Command::new("ffmpeg").args(pictures).args(coder).arg(&file).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let house = world.start();
    let id = send(&house, &std::fs::read(&file).unwrap());
    assert_eq!(end(&house, id), HELD);
    drop(house);
    // Somebody is too quick.
    let house = world.start();
    house.decide(id, Act::Retry).unwrap();
    assert_eq!(end(&house, id), HELD);
    drop(house);
    // The archive takes videos now, and is not offered HEVC.
    world.shelf.refused_classes.lock().unwrap().clear();
    *world.shelf.leaves_out.lock().unwrap() = Some(Syntax::HevcMain);
    let house = world.start();
    assert_eq!(end(&house, id), (Stage::Forwarded, None));
    assert_eq!(*world.shelf.came_in.lock().unwrap(), [Syntax::JpegBaseline, Syntax::JpegBaseline, Syntax::Avc41]);
}

#[test]
fn a_film_of_which_stills_left_stays_with_its_patient() {
    let Some(world) = at_one_without("stills-bound", &[VIDEO]) else { return };
    world.hospital.admit("4712", "1980-01-01");
    let house = world.start();
    let id = send(&house, &film(&world));
    assert_eq!(end(&house, id), HELD);
    assert!(house.decide(id, to_patient("4712")).is_err(), "stills of it are filed under another");
}

#[test]
fn where_stills_are_not_taken_either_or_cannot_be_made_the_film_is_held_alone() {
    let refused = (Stage::Held, Some(FailureCode::ArchiveRefusedClass));
    let Some(world) = at_one_without("stills-neither", &[VIDEO, STILLS]) else { return };
    let house = world.start();
    let id = send(&house, &film(&world));
    assert_eq!(end(&house, id), refused);
    let Some(mut world) = at_one_without("stills-none", &[VIDEO]) else { return };
    world.ffmpeg = "/nowhere/ffmpeg".into();
    let made = film(&world);
    let house = world.start();
    let id = send(&house, &made);
    assert_eq!(end(&house, id), refused);
    assert!(kept(&world, STILLS).is_empty());
}
