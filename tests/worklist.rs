//! The study of an order from outside: one phone, a hospital that announces orders without a study, a real
//! worklist, a real archive, and the whole program between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod support;
mod worklist_files;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use archive_peer::Other;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, open_file};
use serde_json::{Value, json};
use support::archive::Storescp;
use support::folder::Folder;
use support::gateway::Gateway;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};
use worklist_files::{Item, Worklist};

const SOON: Duration = Duration::from_secs(60);

struct Ward {
    gateway: Gateway,
    worklist: Worklist,
    _archive: Storescp,
    kept: Folder,
}

impl Ward {
    /// `None`, said aloud, where there is no dcmtk.
    fn open(items: &[Item<'_>]) -> Option<Self> {
        if !is_installed("storescp") {
            eprintln!("storescp (Debian: dcmtk) is not installed: nothing is tested here");
            return None;
        }
        let worklist = Worklist::start(items)?;
        let kept = Folder::new();
        let archive = Storescp::start(Some(kept.path()));
        let more = format!("[lookup.mwl]\naddress = \"{}\"\ncalled_ae = \"PACS\"\n", worklist.address);
        let gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), archive.port, &more);
        hospital::tell(gateway.mllp, &[hospital::admit("4711")]);
        Some(Self { gateway, worklist, _archive: archive, kept })
    }

    fn phone(&self) -> Phone {
        Phone::connect(self.gateway.https, &self.gateway.issuer.token(&json!({})))
    }

    /// A photo for an order of patient 4711.
    fn send(&self, accession: &str) -> String {
        let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "order": {"accession": accession}, "department": "derm"});
        let answer = self.phone().upload(accession, &claim, &[Photo::draw(320, 240).bytes()]);
        assert_eq!(answer.status, 201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    fn capture(&self, id: &str) -> Value {
        self.phone().call("GET", &format!("/api/v1/captures/{id}"), "", &[]).json()
    }

    fn wait_for(&self, id: &str, stage: &str, code: &str) {
        wait_until(SOON, &format!("the capture is {stage} {code}"), || {
            let capture = self.capture(id);
            let failure = capture["items"][0]["failure"]["code"].as_str().unwrap_or_default();
            (capture["stage"] == stage && failure == code).then_some(())
        });
    }

    fn objects(&self) -> Vec<DefaultDicomObject> {
        let files = std::fs::read_dir(self.kept.path()).unwrap().map(|e| e.unwrap().path());
        files.collect::<Vec<PathBuf>>().iter().map(|file| open_file(file).unwrap()).collect()
    }
}

/// An order that says neither its study nor what is to be done.
fn bare_order(accession: &str) -> String {
    format!(
        "MSH|^~\\&|RIS|HOSP|GW|IMG|20260301081000||ORM^O01^ORM_O01|O{accession}|P|2.3.1||||||UNICODE UTF-8\r\
         PID|1||4711^^^HOSP^MR||Müller^Jörg||19700301|M\r\
         PV1|1|O|DERM\r\
         ORC|NW|P{accession}|F{accession}\r\
         OBR|1|P{accession}|F{accession}|||||||||||||||{accession}\r"
    )
}

fn text(object: &DefaultDicomObject, tag: dicom_core::Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned()
}

#[test]
fn a_photo_goes_into_the_study_of_the_worklist_with_what_the_worklist_says_of_it() {
    let item = Item { charset: b"\\ISO 2022 IR 87", description: b"\x1B$BHiIf\x1B(B", ..Item::of("A7", "4711", "1.2.2") };
    let Some(ward) = Ward::open(&[Item::of("A8", "4711", "1.2.3"), item]) else { return };
    hospital::tell(ward.gateway.mllp, &[bare_order("A7")]);
    let id = ward.send("A7");
    ward.wait_for(&id, "forwarded", "");
    assert_eq!(ward.capture(&id)["study_instance_uid"], "1.2.2");
    let object = ward.objects().pop().unwrap();
    assert_eq!(text(&object, tags::STUDY_INSTANCE_UID), "1.2.2");
    assert_eq!(
        (text(&object, tags::SPECIFIC_CHARACTER_SET).as_str(), text(&object, tags::STUDY_DESCRIPTION).as_str()),
        ("ISO_IR 192", "皮膚")
    );
    let requests = object.element(tags::REQUEST_ATTRIBUTES_SEQUENCE).unwrap().items().unwrap().to_vec();
    let of = |tag| requests[0].element(tag).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned();
    assert_eq!(requests.len(), 1);
    let wanted = [
        (tags::STUDY_INSTANCE_UID, "1.2.2"),
        (tags::ACCESSION_NUMBER, "A7"),
        (tags::REQUESTED_PROCEDURE_ID, "RPA7"),
        (tags::SCHEDULED_PROCEDURE_STEP_ID, "SPSA7"),
        (tags::REQUESTED_PROCEDURE_DESCRIPTION, "皮膚"),
    ];
    for (tag, then) in wanted {
        assert_eq!(of(tag), then);
    }
    let audit = std::fs::read_to_string(ward.gateway.folder.path().join("audit.log")).unwrap();
    assert!(audit.lines().any(|line| line.contains("order.ask")) && !audit.contains("\"A7\""), "{audit}");
}

#[test]
fn the_wrong_patient_of_a_worklist_gets_no_photo_and_a_worklist_that_is_away_is_waited_for() {
    let Some(mut ward) = Ward::open(&[Item::of("A8", "815", "1.2.3"), Item::of("A9", "4711", "1.2.4")]) else { return };
    hospital::tell(ward.gateway.mllp, &[bare_order("A8"), bare_order("A9")]);
    let wrong = ward.send("A8");
    ward.wait_for(&wrong, "held", "identity-disagrees");
    ward.worklist.close();
    let waits = ward.send("A9");
    ward.wait_for(&waits, "accepted", "study-unknown");
    ward.gateway.kill_and_restart();
    ward.wait_for(&waits, "accepted", "study-unknown");
    assert!(ward.objects().is_empty());
    ward.worklist.open().unwrap();
    ward.wait_for(&waits, "forwarded", "");
    assert_eq!(ward.objects().iter().map(|o| text(o, tags::STUDY_INSTANCE_UID)).collect::<Vec<_>>(), ["1.2.4"]);
    ward.worklist.lists(&[Item::of("A8", "4711", "1.2.3")]).unwrap();
    let reason = json!({"reason": "the worklist was corrected"}).to_string();
    let path = format!("/api/v1/captures/{wrong}/retry");
    let answer = ward.phone().call("POST", &path, "Content-Type: application/json\r\n", &[reason.as_bytes()]);
    assert_eq!(answer.status, 200);
    ward.wait_for(&wrong, "forwarded", "");
    assert_eq!(ward.capture(&wrong)["study_instance_uid"], "1.2.3");
}

/// What a modality made for order A7 of patient 4711 and sent to the archive.
fn send_a_study(port: u16, study: &str, folder: &Path) {
    let (dump, file) = (folder.join("modality.dump"), folder.join("modality.dcm"));
    let lines = format!(
        "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.77.1.4]\n(0008,0018) UI [{study}.1.1]\n(0008,0050) SH [A7]\n(0008,0060) CS [XC]\n\
         (0010,0010) PN [Test^Tessa]\n(0010,0020) LO [4711]\n(0020,000d) UI [{study}]\n(0020,000e) UI [{study}.1]\n"
    );
    std::fs::write(&dump, lines).unwrap();
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("dump2dcm").args(["+te", "-q"]).arg(&dump).arg(&file));
    run(Command::new("storescu").args(["-aec", "PACS", "localhost"]).arg(port.to_string()).arg(&file));
}

#[test]
fn a_photo_joins_the_study_that_the_archive_has_of_its_order() {
    let (store, config) = (Folder::new(), Folder::new());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = json!({
        "DicomAet": "PACS", "DicomPort": port, "HttpServerEnabled": false, "Plugins": [], "DicomAlwaysAllowFind": true,
        "StorageDirectory": store.path(), "IndexDirectory": store.path(),
    });
    let file = config.path().join("orthanc.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    if !is_installed("storescu") {
        return;
    }
    let Some(_orthanc) = Other::start("Orthanc", &[file.to_str().unwrap()], port) else { return };
    send_a_study(port, "1.2.7", config.path());
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), port, "study_lookup = true\n");
    hospital::tell(gateway.mllp, &[hospital::admit("4711"), hospital::order("4711", "A7"), hospital::order("4711", "A8")]);
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    for (accession, then) in [("A7", "1.2.7"), ("A8", "2.25.")] {
        let claim = json!({"order": {"accession": accession}, "department": "derm"});
        let answer = phone.upload(accession, &claim, &[Photo::draw(320, 240).bytes()]);
        let path = format!("/api/v1/captures/{}", answer.json()["id"].as_str().unwrap());
        let study = wait_until(SOON, "the capture is forwarded", || {
            let capture = phone.call("GET", &path, "", &[]).json();
            (capture["stage"] == "forwarded").then(|| capture["study_instance_uid"].as_str().unwrap().to_owned())
        });
        assert!(study.starts_with(then), "{accession}: {study}");
    }
}
