//! A film that was sent, or may have been, keeps its form; one that no archive can have follows the
//! configuration. One step at a time, with a clock set by hand; only the darkroom is a thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod line_support;

use std::process::Command;
use std::sync::Arc;

use line_support::films::{develop, send, world};
use line_support::{House, Shelf, World};
use shutterbridge::capture::{CaptureId, FailureCode, Stage};
use shutterbridge::dicom::Syntax;

const SILENT: &[&str] = &["-an"];
/// A sound that no syntax carries: it alone is coded anew.
const MONO: &[&str] = &["-c:a", "aac", "-ar", "44100", "-ac", "1"];

/// A second of HEVC that .107 carries.
fn hevc(world: &World, sound: &[&str]) -> Vec<u8> {
    let file = world.folder.join("film.mp4");
    let pictures = ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=30:duration=1"];
    let tone = ["-f", "lavfi", "-i", "sine=f=440:d=1"];
    let coder = ["-c:v", "libx265", "-x265-params", "log-level=none:info=0", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"];
    let made = Command::new("ffmpeg").args(pictures).args(tone).args(coder).args(sound).arg(&file).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(file).unwrap()
}

/// Until it is at every archive, or held; how the leg to that one stands then.
fn end(house: &House, id: CaptureId, archive: &str) -> (Stage, Option<FailureCode>) {
    develop(house, id, || matches!(house.stage(id), Stage::Forwarded | Stage::Held));
    house.leg(id, archive)
}

fn came_in(shelf: &Shelf) -> Vec<Syntax> {
    shelf.came_in.lock().unwrap().clone()
}

fn leave_out_hevc(shelf: &Shelf) {
    *shelf.leaves_out.lock().unwrap() = Some(Syntax::HevcMain);
}

/// How the one attempt ended that was made while the archive was offered HEVC.
enum First {
    /// The process died in the middle of it.
    Died,
    /// The worker broke in the middle of it.
    Broke,
    /// The same, and the archive was not offered HEVC then, either.
    DiedWithout,
    /// So said the archive, or nobody.
    Answered(FailureCode),
}

#[test]
fn a_film_that_an_archive_may_have_never_goes_out_in_another_form() {
    const HELD: (Stage, Option<FailureCode>) = (Stage::Held, Some(FailureCode::ArchiveRefusedClass));
    const GONE: (Stage, Option<FailureCode>) = (Stage::Forwarded, None);
    let table = [
        ("died", First::Died, HELD, &[][..]),
        ("without", First::DiedWithout, GONE, &[Syntax::Avc41]),
        ("broke", First::Broke, HELD, &[]),
        ("aborted", First::Answered(FailureCode::ArchiveAborted), HELD, &[Syntax::HevcMain]),
        ("busy", First::Answered(FailureCode::ArchiveBusy), HELD, &[]),
        ("away", First::Answered(FailureCode::ArchiveUnreachable), GONE, &[Syntax::Avc41]),
        ("class", First::Answered(FailureCode::ArchiveRefusedClass), GONE, &[Syntax::Avc41]),
    ];
    for (name, first, then, arrived) in table {
        let Some(world) = world(&format!("once-{name}")) else { return };
        if matches!(first, First::DiedWithout) {
            leave_out_hevc(&world.shelf);
        }
        let house = world.start();
        let id = send(&house, &hevc(&world, SILENT));
        match first {
            First::Died | First::DiedWithout => {
                house.line.step();
            }
            First::Broke => {
                *world.shelf.meanwhile.lock().unwrap() = Some(Box::new(|| panic!("on purpose")));
                house.settle();
                assert_eq!(house.leg(id, "pacs"), (Stage::Held, Some(FailureCode::WrapFailed)));
            }
            First::Answered(code) => {
                *world.shelf.refuse.lock().unwrap() = vec![code];
                house.settle();
            }
        }
        drop(house);
        leave_out_hevc(&world.shelf);
        let house = world.start();
        assert_eq!(end(&house, id, "pacs"), then, "{name}");
        assert_eq!(came_in(&world.shelf), arrived, "{name}");
    }
}

#[test]
fn a_film_that_never_left_in_hevc_is_coded_anew_also_after_the_index_was_lost() {
    let Some(mut world) = world("once-lost-never") else { return };
    leave_out_hevc(&world.shelf);
    let house = world.start();
    let id = send(&house, &hevc(&world, SILENT));
    house.settle();
    drop(house);
    world.store = Arc::default();
    let house = world.start();
    assert_eq!(end(&house, id, "pacs"), (Stage::Forwarded, None), "no archive was ever offered HEVC");
    assert_eq!(came_in(&world.shelf), [Syntax::Avc41]);
}

#[test]
fn a_film_that_may_have_left_in_hevc_keeps_its_form_also_after_the_index_was_lost() {
    let Some(mut world) = world("once-lost-may") else { return };
    *world.shelf.refuse.lock().unwrap() = vec![FailureCode::ArchiveAborted];
    let house = world.start();
    let id = send(&house, &hevc(&world, SILENT));
    house.settle();
    drop(house);
    world.store = Arc::default();
    leave_out_hevc(&world.shelf);
    let house = world.start();
    assert_eq!(end(&house, id, "pacs"), (Stage::Held, Some(FailureCode::ArchiveRefusedClass)));
    assert_eq!(came_in(&world.shelf), [Syntax::HevcMain]);
}

#[test]
fn what_one_archive_may_have_binds_what_goes_to_the_other() {
    let Some(world) = world("once-other") else { return };
    let other = Arc::<Shelf>::default();
    *world.shelf.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    let archives = [("pacs", &world.shelf), ("vna", &other)];
    let house = world.start_at(&archives);
    let id = send(&house, &hevc(&world, SILENT));
    house.line.step();
    assert!(house.line.work_one(), "the first archive is away");
    house.line.step();
    assert_eq!(house.leg(id, "pacs"), (Stage::Wrapped, Some(FailureCode::ArchiveUnreachable)));
    drop(house);
    *world.shelf.away.lock().unwrap() = None;
    *other.away.lock().unwrap() = Some(FailureCode::ArchiveUnreachable);
    leave_out_hevc(&world.shelf);
    leave_out_hevc(&other);
    let house = world.start_at(&archives);
    develop(&house, id, || house.leg(id, "pacs").0 != Stage::Wrapped);
    assert_eq!(house.leg(id, "pacs"), (Stage::Held, Some(FailureCode::ArchiveRefusedClass)));
    assert_eq!(came_in(&world.shelf), []);
}

#[test]
fn two_archives_that_are_not_offered_hevc_get_the_very_same_film() {
    let Some(world) = world("once-both") else { return };
    let other = Arc::<Shelf>::default();
    leave_out_hevc(&world.shelf);
    leave_out_hevc(&other);
    let house = world.start_at(&[("pacs", &world.shelf), ("vna", &other)]);
    let id = send(&house, &hevc(&world, SILENT));
    assert_eq!(end(&house, id, "vna"), (Stage::Forwarded, None));
    assert_eq!((came_in(&world.shelf), came_in(&other)), (vec![Syntax::Avc41], vec![Syntax::Avc41]));
    assert!(*world.shelf.stored.lock().unwrap() == *other.stored.lock().unwrap(), "the archives have different objects");
}

#[test]
fn a_film_whose_sound_alone_was_coded_anew_follows_the_configuration_until_it_may_have_left() {
    const REFUSED: (Stage, Option<FailureCode>) = (Stage::Held, Some(FailureCode::ArchiveRefusedClass));
    let table = [
        ("away", FailureCode::ArchiveUnreachable, (Stage::Forwarded, None), &[Syntax::Avc41][..]),
        ("aborted", FailureCode::ArchiveAborted, REFUSED, &[Syntax::HevcMain]),
    ];
    for (name, first, then, arrived) in table {
        let Some(world) = world(&format!("once-sound-{name}")) else { return };
        *world.shelf.refuse.lock().unwrap() = vec![first];
        let house = world.start();
        let id = send(&house, &hevc(&world, MONO));
        develop(&house, id, || world.shelf.sends() > 0);
        assert_eq!(house.leg(id, "pacs"), (Stage::Wrapped, Some(first)), "{name}: its sound was coded anew");
        drop(house);
        leave_out_hevc(&world.shelf);
        let house = world.start();
        assert_eq!(end(&house, id, "pacs"), then, "{name}");
        assert_eq!(came_in(&world.shelf), arrived, "{name}");
    }
}
