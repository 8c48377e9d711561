//! The main job, from outside: one phone, one hospital, one real archive, and the whole program
//! between them. Referees that we did not write say whether it was done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::archive::Storescp;
use support::folder::Folder;
use support::gateway::Gateway;
use support::phone::{Answer, Phone};
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};

const SOON: Duration = Duration::from_secs(30);

struct Ward {
    gateway: Gateway,
    _archive: Storescp,
    kept: Folder,
}

impl Ward {
    /// `None`, said aloud, where there is no dcmtk to send to.
    fn open() -> Option<Self> {
        if !is_installed("storescp") {
            eprintln!("storescp (Debian: dcmtk) is not installed: nothing is tested here");
            return None;
        }
        let kept = Folder::new();
        let archive = Storescp::start(Some(kept.path()));
        let gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), archive.port, "");
        hospital::tell(gateway.mllp, &[hospital::admit("4711"), hospital::order("4711", "A123")]);
        Some(Self { gateway, _archive: archive, kept })
    }

    fn phone(&self) -> Phone {
        Phone::connect(self.gateway.https, &self.gateway.issuer.token(&json!({})))
    }

    fn capture(&self, id: &str) -> Value {
        self.phone().call("GET", &format!("/api/v1/captures/{id}"), "", &[]).json()
    }

    fn wait_for(&self, id: &str, stage: &str) {
        wait_until(SOON, &format!("the capture is {stage}"), || (self.capture(id)["stage"] == stage).then_some(()));
    }

    fn objects(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.kept.path()).unwrap().map(|e| e.unwrap().path()).collect()
    }
}

fn claim() -> Value {
    json!({
        "patient": {"id": "4711", "issuer": "HOSP"}, "order": {"accession": "A123"}, "department": "derm",
        "body_site": {"code": "85562004", "scheme": "SCT", "meaning": "Hand"}, "laterality": "L"
    })
}

fn id_of(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("no receipt: {}", answer.json())).to_owned()
}

/// What a program prints about a file; `None` where it is not installed.
fn ask(program: &str, words: &[&str], file: &Path) -> Option<String> {
    if !is_installed(program) {
        eprintln!("{program} is not installed and not asked");
        return None;
    }
    let said = Command::new(program).args(words).arg(file).output().unwrap();
    Some(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

/// The one JPEG in an object: from its SOI to its EOI.
fn picture(object: &[u8]) -> &[u8] {
    let find = |word: &[u8]| object.windows(word.len()).position(|w| w == word);
    let from = find(b"\xFF\xD8\xFF").expect("a JPEG");
    let until = object.windows(2).rposition(|w| w == b"\xFF\xD9").expect("its end") + 2;
    &object[from..until]
}

/// The entropy-coded bytes: all behind the scan's header.
fn scan(jpeg: &[u8]) -> &[u8] {
    let at = jpeg.windows(2).position(|w| w == b"\xFF\xDA").expect("a scan");
    let end = jpeg.windows(2).rposition(|w| w == b"\xFF\xD9").expect("its end");
    &jpeg[at..end]
}

#[test]
fn a_photo_with_a_location_becomes_one_valid_object_without_one() {
    let Some(ward) = Ward::open() else { return };
    let photo = Photo::draw(640, 480).bytes().to_vec();
    let answer = ward.phone().upload("k-1", &claim(), &[&photo]);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["items"][0]["location_found"], true);
    ward.wait_for(&id_of(&answer), "forwarded");
    let objects = ward.objects();
    assert_eq!(objects.len(), 1);
    let object = std::fs::read(&objects[0]).unwrap();
    assert_eq!(scan(picture(&object)), scan(&photo), "the coded picture was touched");
    if let Some(said) = ask("dciodvfy", &[], &objects[0]) {
        let errors: Vec<&str> = said.lines().filter(|l| l.starts_with("Error")).collect();
        assert_eq!(errors, Vec::<&str>::new());
    }
    let fragment = ward.kept.path().join("fragment.jpg");
    std::fs::write(&fragment, picture(&object)).unwrap();
    if let Some(said) = ask("exiftool", &["-ee3", "-a", "-G1", "-s"], &fragment) {
        for word in ["GPS", "Latitude", "Exif", "XMP", "Comment"] {
            assert!(!said.lines().any(|l| l.contains(word) && !l.contains("ExifTool")), "{word} in:\n{said}");
        }
    }
    if let Some(said) = ask("dcmdump", &["+P", "0010,0020", "+P", "0008,0050", "+P", "0038,0010", "+P", "0020,0062"], &objects[0])
    {
        for value in ["[4711]", "[A123]", "[V4711]", "[L]"] {
            assert!(said.contains(value), "{value} not in:\n{said}");
        }
    }
}

#[test]
fn a_kill_between_the_answer_and_the_archive_loses_nothing_and_doubles_nothing() {
    let Some(mut ward) = Ward::open() else { return };
    let mut photo = Photo::draw(320, 240);
    let mut receipts = Vec::new();
    for number in 0..5 {
        let answer = ward.phone().upload(&format!("cut-{number}"), &claim(), &[photo.numbered(number)]);
        assert_eq!(answer.status, 201);
        receipts.push((number, answer.json()));
    }
    ward.gateway.kill_and_restart();
    for (number, receipt) in &receipts {
        let again = ward.phone().upload(&format!("cut-{number}"), &claim(), &[photo.numbered(*number)]);
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
        let uid = |answer: &Value| answer["items"][0]["sop_instance_uid"].clone();
        assert_eq!(uid(&again.json()), uid(receipt));
        ward.wait_for(receipt["id"].as_str().unwrap(), "forwarded");
    }
    let objects: Vec<Vec<u8>> = ward.objects().iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (_, receipt) in &receipts {
        let uid = receipt["items"][0]["sop_instance_uid"].as_str().unwrap();
        assert!(objects.iter().any(|o| o.windows(uid.len()).any(|w| w == uid.as_bytes())), "{uid} never arrived");
    }
    assert!(ward.gateway.stop().success());
}

#[test]
fn whoever_is_unknown_waits_until_the_hospital_announces_them() {
    let Some(ward) = Ward::open() else { return };
    let photo = Photo::draw(320, 240).bytes().to_vec();
    let late = json!({"patient": {"id": "815", "issuer": "HOSP"}, "department": "derm"});
    let id = id_of(&ward.phone().upload("late", &late, &[&photo]));
    ward.wait_for(&id, "held");
    assert_eq!(ward.capture(&id)["items"][0]["failure"]["code"], "patient-unknown");
    hospital::tell(ward.gateway.mllp, &[hospital::admit("815")]);
    ward.wait_for(&id, "forwarded");
}

/// The PNG signature and an IHDR of 100,000 × 100,000.
fn bomb() -> Vec<u8> {
    let ihdr = [b"IHDR".as_slice(), &100_000u32.to_be_bytes(), &100_000u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&ihdr);
    [b"\x89PNG\r\n\x1A\n".as_slice(), &13u32.to_be_bytes(), &ihdr, &crc.sum().to_be_bytes()].concat()
}

/// What, claim, files, status, code.
type Case<'a> = (&'a str, Value, Vec<&'a [u8]>, u16, &'a str);

#[test]
fn bad_input_gets_a_clear_answer_and_leaves_nothing() {
    let Some(ward) = Ward::open() else { return };
    let photo = Photo::draw(320, 240).bytes().to_vec();
    let cut = &photo[..photo.len() / 2];
    let (bomb, html) = (bomb(), b"<!doctype html><html><script>alert(1)</script></html>");
    let table: Vec<Case> = vec![
        ("unknown department", json!({"patient": {"id": "4711"}, "department": "none"}), vec![&photo], 422, "claim-invalid"),
        (
            "unknown member",
            json!({"patient": {"id": "4711"}, "department": "derm", "colour": 1}),
            vec![&photo],
            422,
            "claim-invalid",
        ),
        ("names nobody", json!({"department": "derm"}), vec![&photo], 422, "claim-invalid"),
        ("no file", claim(), vec![], 400, "malformed"),
        ("empty file", claim(), vec![b""], 422, "damaged-media"),
        ("HTML", claim(), vec![html], 415, "unsupported-media"),
        ("truncated JPEG", claim(), vec![cut], 422, "damaged-media"),
        ("one of two is bad", claim(), vec![&photo, cut], 422, "damaged-media"),
        ("huge PNG", claim(), vec![&bomb], 413, "too-large"),
    ];
    for (what, claim, files, status, code) in table {
        let answer = ward.phone().upload(&what.replace(' ', "-"), &claim, &files);
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{what}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|d| d.len() > 20), "{what}: no advice");
    }
    let stranger = Phone::connect(ward.gateway.https, "not.a.token").upload("x", &claim(), &[&photo]);
    assert_eq!(stranger.status, 401);
    let spool = ward.gateway.folder.path().join("data/spool");
    for part in ["draft", "live"] {
        assert_eq!(std::fs::read_dir(spool.join(part)).unwrap().count(), 0, "{part} is not empty");
    }
}
