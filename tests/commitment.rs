//! Storage commitment on the wire: questions to archives that answer at once, later, wrongly or
//! not at all, and the door for their reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archive_peer::committer::*;
use archive_peer::*;
use dicom_fixture::{TempDir, jpeg, photograph};
use shutterbridge::archive::dimse::{Dimse, Limits};
use shutterbridge::archive::reports::{self, Reports};
use shutterbridge::archive::{AeTitle, Archive, Asked, Report, ReportSink, Unwanted};
use shutterbridge::capture::{FailureCode, SopRef, Uid};

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

fn sop(number: u32) -> SopRef {
    SopRef { sop_class: uid("1.2.840.10008.5.1.4.1.1.77.1.4"), sop_instance: uid(&format!("2.25.{number}")) }
}

fn ask(address: SocketAddr, wanted: &[SopRef]) -> Result<Asked, FailureCode> {
    // A wait that no peer of these tests needs whole, but for the one that never reports.
    let limits = Limits { report_wait_ms: 300, ..Limits::default() };
    let archive = Dimse::new(shutterbridge::archive::dimse::Options { limits, ..options(&address.to_string()) });
    archive.ask_commitment(&uid("2.25.99"), wanted).map_err(|refused| refused.code)
}

#[test]
fn an_archive_that_reports_on_the_same_association_is_heard() {
    let archive =
        Committer::start(vec![Reply::Report(vec![]), Reply::Report(vec![("2.25.2".to_owned(), 0x0112)]), Reply::ReportFirst]);
    let kept = Report { transaction: uid("2.25.99"), committed: vec![sop(1), sop(2)], failed: vec![] };
    let partly = Report { transaction: uid("2.25.99"), committed: vec![sop(1)], failed: vec![(sop(2), 0x0112)] };
    for then in [kept.clone(), partly, kept] {
        assert_eq!(ask(archive.address, &[sop(1), sop(2)]), Ok(Asked::Answered(vec![then])));
    }
    for (question, answered) in archive.finish() {
        assert_eq!((question.transaction.as_str(), answered), ("2.25.99", Some(0)));
        assert_eq!(question.instances, ["2.25.1", "2.25.2"]);
    }
}

#[test]
fn an_archive_that_reports_later_or_refuses_the_question_is_understood() {
    let archive =
        Committer::start(vec![Reply::Later, Reply::Status(0x0110), Reply::Status(0x0122), Reply::Status(0x0124), Reply::Close]);
    let table = [
        Ok(Asked::Later),
        Err(FailureCode::ArchiveProcessing),
        Err(FailureCode::ArchiveRefusedClass),
        Err(FailureCode::ArchiveNotAuthorised),
        Err(FailureCode::ArchiveUnreachable),
    ];
    for then in table {
        assert_eq!(ask(archive.address, &[sop(1)]), then);
    }
    archive.finish();
}

#[test]
fn a_thousand_instances_are_asked_about_at_once() {
    let archive = Committer::start(vec![Reply::Report(vec![])]);
    let wanted: Vec<SopRef> = (0..1_000).map(sop).collect();
    let Ok(Asked::Answered(reports)) = ask(archive.address, &wanted) else { panic!("no report") };
    assert_eq!(reports[0].committed, wanted);
    archive.finish();
}

/// Knows one transaction.
#[derive(Default)]
struct Sink {
    reports: Mutex<Vec<Report>>,
    voices: Mutex<Vec<String>>,
    strangers: Mutex<usize>,
    refused: Mutex<usize>,
}

impl ReportSink for Sink {
    fn report(&self, from: &AeTitle, report: Report) -> Result<(), Unwanted> {
        self.voices.lock().unwrap().push(from.as_str().to_owned());
        match report.transaction.as_str() {
            "2.25.99" => {
                self.reports.lock().unwrap().push(report);
                Ok(())
            }
            "2.25.98" => Err(Unwanted::Later),
            _ => {
                *self.refused.lock().unwrap() += 1;
                Err(Unwanted::UnknownTransaction)
            }
        }
    }

    fn stranger(&self) {
        *self.strangers.lock().unwrap() += 1;
    }
}

fn door() -> (Reports, Arc<Sink>) {
    let sink = Arc::new(Sink::default());
    let options = reports::Options { ae: ae("SHUTTERBRIDGE"), archive_aes: vec![ae("PACS"), ae("VNA")], tls: None };
    (Reports::start(SocketAddr::from(([127, 0, 0, 1], 0)), options, sink.clone()).unwrap(), sink)
}

#[test]
fn a_report_on_an_association_of_the_archive_s_own_is_taken() {
    let (door, sink) = door();
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((false, true))).unwrap();
    assert!(peer.is_provider(), "the roles were not turned round");
    assert_eq!(peer.report("2.25.99", &["2.25.1"], &[("2.25.2", 0x0112)]), Some(0));
    assert_eq!(peer.report("2.25.99", &["2.25.1", "2.25.2"], &[]), Some(0));
    peer.release();
    // An archive that forgets to name its role is served too.
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", None).unwrap();
    assert_eq!(peer.report("2.25.99", &["2.25.1"], &[]), Some(0));
    peer.release();
    door.stop();
    let first = Report { transaction: uid("2.25.99"), committed: vec![sop(1)], failed: vec![(sop(2), 0x0112)] };
    let reports = sink.reports.lock().unwrap();
    assert_eq!((reports.len(), &reports[0]), (3, &first));
}

#[test]
fn a_report_is_handed_on_with_the_name_under_which_it_came() {
    let (door, sink) = door();
    for name in ["VNA", "PACS"] {
        let mut peer = Reporter::connect(door.local_addr(), name, "SHUTTERBRIDGE", Some((false, true))).unwrap();
        assert_eq!(peer.report("2.25.99", &["2.25.1"], &[]), Some(0));
        peer.release();
    }
    door.stop();
    assert_eq!(*sink.voices.lock().unwrap(), ["VNA", "PACS"]);
}

#[test]
fn a_report_that_nobody_asked_for_is_refused_with_a_status() {
    let (door, sink) = door();
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((false, true))).unwrap();
    assert_eq!(peer.report("2.25.1234", &["2.25.1"], &[]), Some(0x0115), "an unknown transaction");
    assert_eq!(peer.report("2.25.98", &["2.25.1"], &[]), Some(0x0110), "not just now");
    let good = || report("2.25.99", &["2.25.1"], &[], false);
    let table = [
        (event_command(1, COMMITMENT, "2.25.5", 1), good(), 0x0112),
        (event_command(1, COMMITMENT, COMMITMENT_INSTANCE, 3), good(), 0x0113),
        (event_command(1, "1.2.840.10008.1.40", COMMITMENT_INSTANCE, 1), good(), 0x0118),
        (event_command(1, COMMITMENT, COMMITMENT_INSTANCE, 1), good()[..40].to_vec(), 0x0115),
    ];
    for (event, data, status) in table {
        assert_eq!(peer.send(event, data), Some(status));
    }
    peer.release();
    door.stop();
    assert!(sink.reports.lock().unwrap().is_empty());
    assert_eq!(*sink.refused.lock().unwrap(), 1);
}

#[test]
fn who_is_not_the_archive_or_wants_something_else_is_not_served() {
    let (door, sink) = door();
    assert!(Reporter::connect(door.local_addr(), "EVIL", "SHUTTERBRIDGE", Some((false, true))).is_none());
    assert!(Reporter::connect(door.local_addr(), "PACS", "OTHER", Some((false, true))).is_none());
    // Who wants to be served instead of serving gets no context for it.
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((true, false))).unwrap();
    assert_eq!(peer.report("2.25.99", &["2.25.1"], &[]), None);
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF]] {
        let mut stranger = write_raw(door.local_addr(), nonsense);
        let _ = stranger.shutdown(std::net::Shutdown::Write);
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    // A data set that never ends.
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((false, true))).unwrap();
    let endless = || vec![0; 2 << 20];
    assert_eq!(peer.send(event_command(1, COMMITMENT, COMMITMENT_INSTANCE, 1), endless()), None);
    let mut peer = Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((false, true))).unwrap();
    assert_eq!(peer.report("2.25.99", &["2.25.1"], &[]), Some(0));
    peer.release();
    door.stop();
    assert_eq!((sink.reports.lock().unwrap().len(), *sink.strangers.lock().unwrap()), (1, 2));
}

#[test]
fn more_associations_than_may_be_are_turned_away() {
    let (door, _) = door();
    let connect = || Reporter::connect(door.local_addr(), "PACS", "SHUTTERBRIDGE", Some((false, true)));
    let held: Vec<Reporter> = std::iter::repeat_with(connect).take_while(Option::is_some).flatten().take(20).collect();
    assert_eq!(held.len(), 8);
    door.stop();
}

/// Hands every report on.
struct Relay(Mutex<Sender<Report>>);

impl ReportSink for Relay {
    fn report(&self, _: &AeTitle, report: Report) -> Result<(), Unwanted> {
        self.0.lock().unwrap().send(report).map_err(|_| Unwanted::Later)
    }

    fn stranger(&self) {
        panic!("Orthanc came under another name");
    }
}

/// A real archive, which reports on an association of its own.
#[test]
fn orthanc_commits_to_what_it_has_and_to_nothing_else() {
    let (say, heard) = channel();
    let ours = reports::Options { ae: ae("SHUTTERBRIDGE"), archive_aes: vec![ae("PACS")], tls: None };
    let door = Reports::start(SocketAddr::from(([127, 0, 0, 1], 0)), ours, Arc::new(Relay(Mutex::new(say)))).unwrap();
    let (store_dir, config) = (TempDir::new("orthanc"), TempDir::new("orthanc-config"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = config.path().join("orthanc.json");
    let settings = serde_json::json!({
        "DicomAet": "PACS", "DicomPort": port, "DicomCheckCalledAet": true, "HttpServerEnabled": false, "Plugins": [],
        "StorageDirectory": store_dir.path(), "IndexDirectory": store_dir.path(),
        "DicomModalities": { "gateway": ["SHUTTERBRIDGE", "127.0.0.1", door.local_addr().port()] },
    });
    std::fs::write(&file, settings.to_string()).unwrap();
    let Some(orthanc) = Other::start("Orthanc", &[file.to_str().unwrap()], port) else { return };
    let payload = jpeg(64, 48, 3);
    let instance = photograph(1, &payload, 64, 48);
    let archive = dimse(orthanc.address);
    archive.store(&instance, &mut payload.as_slice()).unwrap();
    let kept = SopRef { sop_class: instance.sop_class.clone(), sop_instance: instance.sop_instance.clone() };
    let (transaction, wanted) = (Uid::from_uuid_bytes([5; 16]), [kept.clone(), sop(12_345)]);
    let report = match archive.ask_commitment(&transaction, &wanted).unwrap() {
        Asked::Answered(reports) => reports[0].clone(),
        Asked::Later => heard.recv_timeout(Duration::from_secs(60)).expect("a report"),
    };
    assert_eq!(report, Report { transaction, committed: vec![kept], failed: vec![(sop(12_345), 0x0112)] });
    drop(archive);
    door.stop();
}
