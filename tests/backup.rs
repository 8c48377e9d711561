//! A backup that is taken while phones send, and what a gateway elsewhere makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use support::archive::Storescp;
use support::folder::Folder;
use support::gateway::{self, Gateway};
use support::issuer::Issuer;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};

const SOON: Duration = Duration::from_secs(30);
/// Nobody listens there: what is accepted stays.
const NO_ARCHIVE_PORT: u16 = 9;
const BINARY: &str = env!("CARGO_BIN_EXE_shutterbridge");
/// So that a machine whose disk is nearly full can run this.
const LIMITS: &str = "[limits]\nspool_free_min = \"1MiB\"";

fn shutterbridge(folder: &Path, words: &[&str]) -> Output {
    Command::new(BINARY).args(words).args(["--config", "shutterbridge.toml"]).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A gateway whose archive is away, with a few captures; their receipts.
fn busy() -> (Gateway, Vec<Value>, Photo) {
    let gateway = Gateway::start(BINARY, NO_ARCHIVE_PORT, LIMITS);
    hospital::tell(gateway.mllp, &[hospital::admit("CANARY4711"), hospital::order("CANARY4711", "A123")]);
    let mut photo = Photo::draw(320, 240);
    let receipts = (0..5).map(|n| upload(&gateway, &mut photo, n)).collect();
    (gateway, receipts, photo)
}

fn upload(gateway: &Gateway, photo: &mut Photo, number: u64) -> Value {
    let claim = json!({"patient": {"id": "CANARY4711", "issuer": "HOSP"}, "department": "derm"});
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let answer = phone.upload(&format!("key-{number}"), &claim, &[photo.numbered(number)]);
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()
}

/// A folder with a configuration and the key, and nothing else.
fn elsewhere(key: Option<&Path>, archive_port: u16) -> Folder {
    let folder = Folder::new();
    gateway::config(folder.path(), &Issuer::new(), archive_port, LIMITS);
    if let Some(key) = key {
        fs::copy(key, folder.path().join("data.key")).unwrap();
    }
    folder
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_twin_from_a_backup_under_load_sends_what_was_acknowledged_under_the_same_uids() {
    if !is_installed("storescp") {
        eprintln!("storescp (Debian: dcmtk) is not installed: nothing is tested here");
        return;
    }
    let (gateway, receipts, mut photo) = busy();
    let backups = Folder::new();
    let out = backups.path().join("backup");
    let taken = std::thread::scope(|scope| {
        let taking = scope.spawn(|| shutterbridge(gateway.folder.path(), &["backup", "--out", out.to_str().unwrap()]));
        let mut number = 100;
        while !taking.is_finished() {
            upload(&gateway, &mut photo, number);
            number += 1;
        }
        taking.join().unwrap()
    });
    assert!(taken.status.success(), "{}", said(&taken));
    assert!(said(&taken).contains("everything acknowledged before"), "{}", said(&taken));

    let kept = Folder::new();
    let archive = Storescp::start(Some(kept.path()));
    let twin = elsewhere(Some(&gateway.folder.path().join("data.key")), archive.port);
    let restored = shutterbridge(twin.path(), &["restore", "--from", out.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", said(&restored));
    let twin = Gateway::start_in(twin, BINARY, archive.port, LIMITS);
    let phone = || Phone::connect(twin.https, &twin.issuer.token(&json!({})));
    for receipt in &receipts {
        let path = format!("/api/v1/captures/{}", receipt["id"].as_str().unwrap());
        let capture = || phone().call("GET", &path, "", &[]).json();
        wait_until(SOON, "the twin forwards it", || (capture()["stage"] == "forwarded").then_some(()));
    }
    let objects: Vec<Vec<u8>> = fs::read_dir(kept.path()).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
    for receipt in &receipts {
        let uid = receipt["items"][0]["sop_instance_uid"].as_str().unwrap();
        let copies = objects.iter().filter(|o| o.windows(uid.len()).any(|w| w == uid.as_bytes())).count();
        assert_eq!(copies, 1, "{uid}");
    }
    let audited = shutterbridge(twin.folder.path(), &["audit", "verify"]);
    assert!(audited.status.success(), "{}", said(&audited));
}

#[test]
fn without_its_key_a_backup_is_noise() {
    let (gateway, _, _) = busy();
    let backups = Folder::new();
    let out = backups.path().join("backup");
    let words = ["backup", "--out", out.to_str().unwrap()];
    assert!(shutterbridge(gateway.folder.path(), &words).status.success());
    let again = shutterbridge(gateway.folder.path(), &words);
    assert!(!again.status.success() && said(&again).contains("there is data already"), "{}", said(&again));
    for file in files_below(&out) {
        let bytes = fs::read(&file).unwrap();
        for word in ["CANARY", "4711", "JFIF"] {
            assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{word} in {}", file.display());
        }
        assert!(!file.ends_with("data.key"));
    }
    let from = ["restore", "--from", out.to_str().unwrap()];
    let keyless = elsewhere(None, NO_ARCHIVE_PORT);
    let refused = shutterbridge(keyless.path(), &from);
    assert!(!refused.status.success() && said(&refused).contains("The key file is missing"), "{}", said(&refused));
    // With another key every file is named as sealed under another one.
    let (stranger, _, _) = busy();
    let other = elsewhere(Some(&stranger.folder.path().join("data.key")), NO_ARCHIVE_PORT);
    let refused = shutterbridge(other.path(), &from);
    assert!(!refused.status.success() && said(&refused).contains("bring that key back"), "{}", said(&refused));
    // A newer gateway's backup is left alone, and so is a place where there is data.
    let label = out.join("backup.json");
    let text = fs::read_to_string(&label).unwrap();
    fs::write(&label, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let place = elsewhere(Some(&gateway.folder.path().join("data.key")), NO_ARCHIVE_PORT);
    let refused = shutterbridge(place.path(), &from);
    assert!(!refused.status.success() && said(&refused).contains("newer version"), "{}", said(&refused));
    fs::write(&label, text).unwrap();
    let refused = shutterbridge(gateway.folder.path(), &from);
    assert!(!refused.status.success() && said(&refused).contains("there is data already"), "{}", said(&refused));
    assert!(shutterbridge(place.path(), &from).status.success());
    fs::remove_file(&label).unwrap();
    let refused = shutterbridge(other.path(), &from);
    assert!(!refused.status.success() && said(&refused).contains("no whole backup"), "{}", said(&refused));
}
