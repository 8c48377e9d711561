//! Storage commitment against a scripted archive, on the wire, with the real line behind it: what each
//! word, and each silence, does to a photo.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod line_support;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use archive_peer::committer::*;
use archive_peer::*;
use line_support::*;
use shutterbridge::archive::dimse::{Dimse, Limits};
use shutterbridge::archive::reports::{self, Reports};
use shutterbridge::archive::{AeTitle, Archive, Asked, Refused, Report, ReportSink, Stored, Unwanted};
use shutterbridge::capture::{CaptureId, Commitment, FailureCode, SopRef, Stage, Takes, Uid};
use shutterbridge::dicom::Instance;
use shutterbridge::pipeline::forward::NamedArchive;

/// Takes objects in memory and answers for them on the wire.
struct Half {
    shelf: Arc<Shelf>,
    wire: Mutex<Option<Dimse>>,
}

impl Archive for Half {
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        self.shelf.store(instance, payload)
    }

    fn probe(&self) -> Result<(), Refused> {
        Ok(())
    }

    fn ask_commitment(&self, transaction: &Uid, wanted: &[SopRef]) -> Result<Asked, Refused> {
        self.wire.lock().unwrap().as_ref().expect("a script").ask_commitment(transaction, wanted)
    }
}

/// A gateway with one archive that follows a script, and the photos that it was sent.
struct Scene {
    world: World,
    house: Arc<House>,
    half: Arc<Half>,
    id: CaptureId,
}

impl Scene {
    fn new(name: &str, photos: usize) -> Self {
        let mut world = World::new(name);
        world.commitment = Commitment::Required;
        let half = Arc::new(Half { shelf: world.shelf.clone(), wire: Mutex::default() });
        let archive = NamedArchive {
            name: "pacs".to_owned(),
            archive: half.clone(),
            commitment: Commitment::Required,
            takes: Takes::default(),
        };
        let house = Arc::new(world.start_with(vec![archive]));
        let files: Vec<Vec<u8>> = (0..photos).map(|n| photo(u8::try_from(n).unwrap())).collect();
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let id = house.send(&claim("4711"), None, &files).unwrap().record.id();
        Self { world, house, half, id }
    }

    fn uid(&self, item: usize) -> String {
        self.house.record(self.id).items[item].facts.sop_instance_uid.to_string()
    }

    /// Lets the archive answer so many questions, at most two hours long; what it was asked.
    fn play(&self, replies: Vec<Reply>) -> Vec<Question> {
        let questions = replies.len();
        let archive = Committer::start(replies);
        let limits = Limits { report_wait_ms: 300, ..Limits::default() };
        let dimse = shutterbridge::archive::dimse::Options { limits, ..options(&archive.address.to_string()) };
        *self.half.wire.lock().unwrap() = Some(Dimse::new(dimse));
        for _ in 0..120 {
            for _ in 0..4 {
                self.house.line.step();
                self.house.line.work_one();
            }
            if self.house.line.ask_some() && archive.asked() == questions {
                break;
            }
            self.house.clock.advance_ms(60_000);
        }
        assert_eq!(archive.asked(), questions, "it was asked less often than it has answers");
        let heard = archive.finish().into_iter().map(|(question, _)| question).collect();
        for _ in 0..4 {
            self.house.line.step();
            self.house.line.work_one();
        }
        heard
    }

    fn stages(&self) -> Vec<Stage> {
        self.house.record(self.id).items.iter().map(|i| i.stage).collect()
    }

    /// The door for reports, with this gateway behind it. `VNA` is another archive.
    fn door(&self) -> Reports {
        let ours = reports::Options { ae: ae("SHUTTERBRIDGE"), archive_aes: vec![ae("PACS"), ae("VNA")], tls: None };
        Reports::start(SocketAddr::from(([127, 0, 0, 1], 0)), ours, Arc::new(Door(self.house.clone()))).unwrap()
    }
}

struct Door(Arc<House>);

impl ReportSink for Door {
    fn report(&self, from: &AeTitle, report: Report) -> Result<(), Unwanted> {
        self.0.line.report(&[from.as_str().to_lowercase()], &report)
    }

    fn stranger(&self) {}
}

fn kept() -> Reply {
    Reply::Report(Vec::new())
}

#[test]
fn kept_is_committed() {
    let scene = Scene::new("case-kept", 2);
    let asked = scene.play(vec![kept()]);
    assert_eq!(asked[0].instances, [scene.uid(0), scene.uid(1)]);
    assert_eq!((scene.stages(), scene.world.shelf.sends()), (vec![Stage::Committed; 2], 2));
}

#[test]
fn partly_kept_is_committed_in_part_and_the_rest_asked_about_again() {
    let scene = Scene::new("case-partly", 2);
    let asked = scene.play(vec![Reply::Report(vec![(scene.uid(1), 0x0110)]), kept()]);
    assert_eq!(asked[1].instances, [scene.uid(1)]);
    assert_eq!(scene.stages(), [Stage::Committed; 2]);
}

#[test]
fn no_such_instance_0112_is_sent_again_under_its_uid_and_asked_about_again() {
    let scene = Scene::new("case-0112", 1);
    let asked = scene.play(vec![Reply::Report(vec![(scene.uid(0), 0x0112)]), kept()]);
    assert_eq!((scene.stages(), scene.world.shelf.sends()), (vec![Stage::Committed], 2));
    assert_eq!(scene.world.shelf.stored.lock().unwrap()[&scene.uid(0)].len(), 2);
    assert_ne!(asked[0].transaction, asked[1].transaction);
}

#[test]
fn processing_failure_0110_resources_0213_and_duplicate_transaction_0131_are_asked_again_as_new_transactions() {
    for reason in [0x0110, 0x0213, 0x0131] {
        let scene = Scene::new(&format!("case-{reason:04x}"), 1);
        let asked = scene.play(vec![Reply::Report(vec![(scene.uid(0), reason)]), kept()]);
        assert_eq!((scene.stages(), scene.world.shelf.sends()), (vec![Stage::Committed], 1), "{reason:04X}");
        assert_ne!(asked[0].transaction, asked[1].transaction, "{reason:04X}");
    }
}

#[test]
fn class_conflict_0119_class_0122_and_unknown_reasons_are_held() {
    for reason in [0x0119, 0x0122, 0xC001] {
        let scene = Scene::new(&format!("case-{reason:04x}"), 1);
        scene.play(vec![Reply::Report(vec![(scene.uid(0), reason)])]);
        let held = (Stage::Held, Some(FailureCode::ArchiveWillNotCommit));
        assert_eq!((scene.house.leg(scene.id, "pacs"), scene.world.shelf.sends()), (held, 1), "{reason:04X}");
    }
}

#[test]
fn a_report_that_never_comes_is_asked_for_again_as_a_new_transaction() {
    let scene = Scene::new("case-never", 1);
    let asked = scene.play(vec![Reply::Later, Reply::Later, kept()]);
    let transactions: std::collections::BTreeSet<_> = asked.iter().map(|q| &q.transaction).collect();
    assert_eq!((transactions.len(), scene.stages(), scene.world.shelf.sends()), (3, vec![Stage::Committed], 1));
}

#[test]
fn a_report_on_an_association_of_the_archives_own_counts_late_and_twice() {
    let scene = Scene::new("case-late", 1);
    let asked = scene.play(vec![Reply::Later, Reply::Later]);
    let door = scene.door();
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((false, true))).unwrap();
    for _ in 0..2 {
        assert_eq!(peer.report(&asked[0].transaction, &[&scene.uid(0)], &[]), Some(0));
        scene.house.line.step();
        assert_eq!(scene.stages(), [Stage::Committed]);
    }
    peer.release();
    door.stop();
}

#[test]
fn a_forged_report_is_refused_told_and_without_effect() {
    let scene = Scene::new("case-forged", 1);
    let asked = scene.play(vec![Reply::Later]);
    let (transaction, ours) = (asked[0].transaction.clone(), scene.uid(0));
    let door = scene.door();
    // given who reports, on which transaction and instance, then the status
    let table = [
        ("PACS", "2.25.1", ours.as_str(), Some(0x0115)),
        ("VNA", transaction.as_str(), ours.as_str(), Some(0x0115)),
        ("PACS", transaction.as_str(), "2.25.4711", Some(0)),
    ];
    for (who, about, instance, status) in table {
        let mut peer = Reporter::connect(door.local_addr(), who, "SHUTTERBRIDGE", Some((false, true))).unwrap();
        assert_eq!(peer.report(about, &[instance], &[]), status, "{who} {about} {instance}");
        peer.release();
        scene.house.line.step();
        assert_eq!(scene.stages(), [Stage::Forwarded], "{who} {about} {instance}");
    }
    assert!(Reporter::connect(door.local_addr(), "EVIL", "SHUTTERBRIDGE", Some((false, true))).is_none());
    door.stop();
    let told = ["unknown transaction", "another archive than the one that was asked", "instances that were not asked about"];
    assert_eq!(*scene.world.refused.lock().unwrap(), told);
}
