//! `spool verify`, `journal rebuild` and `audit verify` on real folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use serde_json::json;
use shutterbridge::audit::{Audit, Event, Object, Outcome, Seal};
use shutterbridge::capture::media::{Coding, Details, Orientation, PictureFormat};
use shutterbridge::capture::record::{Acceptance, ItemFacts, SealedManifest};
use shutterbridge::capture::{CaptureId, Claim, Essence, Facts, MediaKind, Operator, Phi, Uid};
use shutterbridge::cli::upkeep::{tell, verify_audit, verify_spool};
use shutterbridge::config::{self, Sources};
use shutterbridge::gateway;
use shutterbridge::ops::key;
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::{FreeMin, Options, Spool};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("shutterbridge-upkeep-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn spool(&self) -> Spool {
        Spool::open(&self.0.join("spool"), &kek(), Options { free_min: FreeMin::Bytes(0) }).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kek() -> Kek {
    Kek::new(Secret::new([1; 32]))
}

fn capture(n: u8) -> CaptureId {
    CaptureId::new(1_772_000_000_000 + u64::from(n), [n; 10])
}

fn manifest(n: u8, payload: &[u8], items: u16) -> SealedManifest {
    let claim = json!({"patient": {"id": "CANARY-4711"}, "department": "derm"});
    let operator = Operator { issuer: "https://id".to_owned(), subject: "nurse".to_owned(), name: String::new() };
    let acceptance = Acceptance {
        id: capture(n),
        accepted_at: Timestamp::from_second(1_772_000_000).unwrap(),
        operator,
        idempotency: None,
        claim: Claim::from_json(&claim).unwrap(),
        items,
    };
    let facts = Facts {
        format: PictureFormat { width: 4, height: 3, coding: Coding::JpegBaselineYcbcr },
        orientation: Orientation::UPRIGHT,
        taken_at: None,
        make: None,
        model: None,
        software: None,
        details: Details::default(),
        icc_profile: None,
    };
    let item = ItemFacts {
        media: MediaKind::Jpeg,
        size_bytes: 10,
        sha256: [n; 32],
        sealed_bytes: payload.len() as u64,
        sealed_sha256: None,
        sop_instance_uid: Uid::from_uuid_bytes([n; 16]),
        location_found: false,
        removed: Vec::new(),
        essence: Essence::Unchanged,
        verifier: 1,
        sealed_as_received: None,
        facts,
    };
    let version = SealedManifest::VERSION;
    SealedManifest { version, capture: capture(n), index: 0, item, acceptance: Some(acceptance) }
}

fn promise(spool: &Spool, n: u8, payload: &[u8], manifest: &SealedManifest) {
    let mut draft = spool.draft(capture(n).item(0)).unwrap();
    draft.write(payload).unwrap();
    spool.promise(vec![draft.finish(&serde_json::to_vec(manifest).unwrap()).unwrap()]).unwrap();
}

#[test]
fn spool_verify_finds_the_file_that_was_touched() {
    let folder = Folder::new();
    let spool = folder.spool();
    for n in 1..=3 {
        let picture = vec![n; 200_000];
        promise(&spool, n, &picture, &manifest(n, &picture, 1));
    }
    let good = verify_spool(&spool).unwrap();
    assert_eq!((good.summary.as_str(), good.faults.len()), ("3 captures, 3 sealed files", 0));
    let file = folder.0.join("spool/live").join(format!("{}.item", capture(2).item(0)));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    // A name that is none of ours may be a person's.
    fs::write(folder.0.join("spool/live/CANARY-4711.jpg"), "x").unwrap();
    let bad = verify_spool(&spool).unwrap();
    assert_eq!(bad.faults.len(), 2, "{:?}", bad.faults);
    assert!(bad.faults.iter().any(|f| f.contains(&capture(2).to_string())), "{:?}", bad.faults);
    assert!(!bad.faults.iter().any(|f| f.contains("CANARY")), "{:?}", bad.faults);
}

#[test]
fn spool_verify_holds_a_file_against_its_manifest() {
    let folder = Folder::new();
    let spool = folder.spool();
    promise(&spool, 1, b"one picture", &manifest(1, b"another picture", 1));
    let bad = verify_spool(&spool).unwrap();
    assert!(bad.faults[0].ends_with("it is not the file that its manifest tells of"), "{:?}", bad.faults);
}

#[test]
fn journal_rebuild_makes_what_is_missing_and_names_what_is_incomplete() {
    let folder = Folder::new();
    let file = folder.0.join("gw.toml");
    fs::write(&file, "[limits]\nspool_free_min = \"0%\"\n").unwrap();
    let config = config::load(&Sources::of_file(&file)).unwrap().config;
    let made = key::load_or_make(&folder.0.join("data.key"), true).unwrap();
    fs::create_dir(folder.0.join("data")).unwrap();
    let options = Options { free_min: FreeMin::Bytes(0) };
    let spool = Spool::open(&folder.0.join("data/spool"), &Kek::new(made.key), options).unwrap();
    promise(&spool, 1, b"whole", &manifest(1, b"whole", 1));
    promise(&spool, 2, b"half", &manifest(2, b"half", 2));
    drop(spool);
    let first = gateway::rebuild_journal(&config).unwrap();
    assert_eq!(first.summary, "0 captures known, 2 added", "the item that is there goes on");
    assert_eq!(first.faults.len(), 1);
    assert!(first.faults[0].starts_with(&capture(2).item(1).to_string()), "{:?}", first.faults);
    assert_eq!(gateway::rebuild_journal(&config).unwrap().summary, "2 captures known, 0 added");
}

#[test]
fn audit_verify_names_the_line_that_was_changed() {
    let folder = Folder::new();
    let file = folder.0.join("audit.log");
    let audit = Audit::open(&file, &kek()).unwrap();
    let patient = Phi::from("CANARY-4711");
    for _ in 0..3 {
        let at = Timestamp::from_second(1_772_000_000).unwrap();
        let (action, outcome, object) = ("patient.lookup", Outcome::Done, Object::Identifier(&patient));
        audit.record(&Event { at, actor: None, action, outcome, object, detail: "" }).unwrap();
    }
    assert!(verify_audit(&file, &Seal::of(&kek())).unwrap().summary.starts_with("3 lines"));
    let text = fs::read_to_string(&file).unwrap().replacen("lookup", "lokoup", 2);
    fs::write(&file, text).unwrap();
    assert!(verify_audit(&file, &Seal::of(&kek())).unwrap_err().starts_with("line 1 of the audit file"));
}

#[test]
fn what_does_not_hold_ends_with_1() {
    let folder = Folder::new();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(tell(verify_spool(&folder.spool()), &mut out, &mut err), 0);
    assert_eq!(String::from_utf8(out).unwrap(), "0 captures, 0 sealed files: all is well\n");
    assert_eq!(tell(verify_audit(&folder.0.join("none"), &Seal::of(&kek())), &mut Vec::new(), &mut err), 1);
    assert!(String::from_utf8(err).unwrap().contains("the .head beside the audit file is missing"));
}
