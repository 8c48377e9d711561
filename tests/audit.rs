//! What the audit file shows, and what it hides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use shutterbridge::audit::{Audit, AuditError, Event, Object, Outcome, Seal, Verified, VerifyError, verify};
use shutterbridge::capture::{CaptureId, Operator, Phi};
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::digest::{hex, sha256};
use shutterbridge::seal::secret::Secret;

struct AuditFile(PathBuf);

impl AuditFile {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("shutterbridge-audit-{}-{}.log", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self) -> Result<Audit, AuditError> {
        Audit::open(&self.0, &Kek::new(Secret::new([1; 32])))
    }

    fn with_lines(lines: usize) -> Self {
        let file = Self::new();
        let audit = file.open().unwrap();
        (0..lines).for_each(|_| audit.record(&looked_up(&Phi::from("CANARY-4711"))).unwrap());
        file
    }

    fn head(&self) -> PathBuf {
        self.0.with_extension("log.head")
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        verify(&self.0, &Seal::of(&Kek::new(Secret::new([1; 32]))))
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for AuditFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.head());
    }
}

fn looked_up(patient: &Phi) -> Event<'_> {
    let at = Timestamp::from_second(1_772_000_000).unwrap();
    let (actor, detail) = (None, "");
    Event { at, actor, action: "patient.lookup", outcome: Outcome::Done, object: Object::Identifier(patient), detail }
}

#[test]
fn each_line_tells_who_did_what_to_whose_data_without_naming_the_patient() {
    let file = AuditFile::new();
    let audit = file.open().unwrap();
    let nurse = Operator { issuer: "https://id".to_owned(), subject: "n1".to_owned(), name: "N. \"Urse\"".to_owned() };
    let patient = Phi::from("CANARY-4711");
    audit.record(&Event { actor: Some(&nurse), ..looked_up(&patient) }).unwrap();
    let id = CaptureId::new(1_772_000_000_000, [7; 10]);
    audit.record(&Event { object: Object::Capture(id), outcome: Outcome::Refused, ..looked_up(&patient) }).unwrap();
    audit.record(&looked_up(&patient)).unwrap();
    let lines: Vec<serde_json::Value> = file.lines().iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["actor"]["name"], "N. \"Urse\"");
    assert_eq!(lines[0]["utc"], "2026-02-25T06:13:20Z");
    assert_eq!(lines[1]["object"], format!("capture:{id}"));
    assert_eq!(lines[1]["outcome"], "refused");
    assert_eq!(lines[0]["object"], lines[2]["object"], "the same patient is found again");
    assert_eq!(lines[2]["seq"], 3);
    assert!(!fs::read_to_string(&file.0).unwrap().contains("CANARY"));
}

#[test]
fn anybody_can_check_a_line_with_sha_256() {
    let file = AuditFile::with_lines(2);
    let lines = file.lines();
    let (front, hash) = lines[0].split_once(",\"hash\":\"").unwrap();
    assert_eq!(hex(&sha256(format!("{front}}}").as_bytes())), hash.trim_end_matches("\"}"));
    assert!(lines[1].contains(&format!("\"prev\":\"{}", hash.trim_end_matches("\"}"))));
}

#[test]
fn the_chain_goes_on_over_restarts() {
    let file = AuditFile::with_lines(3);
    file.open().unwrap().record(&looked_up(&Phi::from("2"))).unwrap();
    let verified = file.verify().unwrap();
    assert_eq!(verified.lines, 4);
    assert!(file.lines()[3].contains(&verified.head));
}

#[test]
fn half_a_line_that_a_power_cut_left_is_cut_off_and_the_chain_goes_on() {
    let file = AuditFile::with_lines(0);
    // As the power cut finds it: nothing of the three lines was confirmed yet.
    let unsigned = fs::read(file.head()).unwrap();
    let audit = file.open().unwrap();
    (0..3).for_each(|_| audit.record(&looked_up(&Phi::from("CANARY-4711"))).unwrap());
    drop(audit);
    let whole = fs::read(&file.0).unwrap();
    let third = whole.len() - file.lines()[2].len() - 1;
    for cut in [1, third / 2 - 5, third + 1, whole.len() - 1] {
        fs::write(&file.0, &whole[..cut]).unwrap();
        fs::write(file.head(), &unsigned).unwrap();
        assert!(matches!(file.verify(), Err(VerifyError::Line { why: "has no end", .. })));
        let audit = file.open().unwrap();
        assert!(audit.cut_bytes() > 0);
        audit.record(&looked_up(&Phi::from("2"))).unwrap();
        drop(audit);
        assert!(file.verify().is_ok(), "cut at {cut}");
    }
    fs::write(&file.0, &whole[..third]).unwrap();
    fs::write(file.head(), &unsigned).unwrap();
    assert_eq!(file.open().unwrap().cut_bytes(), 0);
}

#[test]
fn the_first_line_that_was_changed_is_named() {
    let file = AuditFile::with_lines(6);
    let lines = file.lines();
    let shapes: [(&str, Vec<usize>, u64); 4] = [
        ("left out", vec![0, 1, 3, 4, 5], 3),
        ("moved", vec![0, 2, 1, 3, 4, 5], 2),
        ("doubled", vec![0, 1, 1, 2, 3, 4, 5], 3),
        ("begun late", vec![1, 2, 3, 4, 5], 1),
    ];
    for (what, order, bad) in shapes {
        let order: Vec<&str> = order.iter().map(|n| lines[*n].as_str()).collect();
        fs::write(&file.0, order.join("\n") + "\n").unwrap();
        let seen = file.verify();
        assert!(matches!(seen, Err(VerifyError::Line { number, .. }) if number == bad), "{what}: {seen:?}");
    }
    let text = lines.join("\n") + "\n";
    fs::write(&file.0, &text).unwrap();
    assert_eq!(file.verify().unwrap().lines, 6);
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(&file.0, &bytes).unwrap();
        let line = 1 + text[..at].matches('\n').count() as u64;
        let seen = file.verify();
        assert!(matches!(seen, Err(VerifyError::Line { number, .. }) if number == line), "byte {at}: {seen:?}");
    }
}

#[test]
fn nothing_is_added_to_a_file_whose_last_line_was_changed() {
    let file = AuditFile::with_lines(2);
    let text = fs::read_to_string(&file.0).unwrap().replace("done", "DONE");
    fs::write(&file.0, text).unwrap();
    assert_eq!(file.open().err(), Some(AuditError::Broken));
}

#[test]
fn two_gateways_cannot_write_one_file() {
    let file = AuditFile::new();
    let _audit = file.open().unwrap();
    assert_eq!(file.open().err(), Some(AuditError::Locked));
}

#[test]
fn lines_of_many_threads_stand_in_one_chain() {
    let file = AuditFile::new();
    let audit = file.open().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..50).for_each(|_| audit.record(&looked_up(&Phi::from("3"))).unwrap()));
        }
    });
    assert_eq!(file.verify().unwrap().lines, 800);
}

#[test]
fn an_end_that_was_cut_off_is_seen_and_nothing_is_added_to_it() {
    let file = AuditFile::with_lines(6);
    let lines = file.lines();
    for kept in 0..6 {
        let left: Vec<&str> = lines[..kept].iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        fs::write(&file.0, left.concat()).unwrap();
        let why = "is missing: the end of the file was cut off";
        assert_eq!(file.verify(), Err(VerifyError::Line { number: kept as u64 + 1, why }));
        assert_eq!(file.open().err(), Some(AuditError::Cut { missing: 6 - kept as u64 }));
    }
}

#[test]
fn a_chain_that_was_written_anew_is_seen_by_its_head() {
    let file = AuditFile::with_lines(3);
    let head = fs::read(file.head()).unwrap();
    // Anybody can make a chain that holds.
    let other = AuditFile::new();
    let audit = other.open().unwrap();
    (0..3).for_each(|_| audit.record(&looked_up(&Phi::from("another"))).unwrap());
    drop(audit);
    fs::copy(&other.0, &file.0).unwrap();
    assert!(matches!(file.verify(), Err(VerifyError::Line { number: 3, .. })));
    assert_eq!(file.open().err(), Some(AuditError::Broken));
    // Nobody without the key can make a head for it.
    let text = String::from_utf8(head.clone()).unwrap();
    for at in 0..text.len() {
        let mut bytes = head.clone();
        bytes[at] ^= 1;
        fs::write(file.head(), bytes).unwrap();
        let seen = file.verify();
        assert!(seen.is_err(), "byte {at} of the head: {seen:?}");
    }
    fs::remove_file(file.head()).unwrap();
    assert_eq!(file.verify(), Err(VerifyError::Head("is missing")));
    assert_eq!(file.open().err(), Some(AuditError::HeadMissing));
    fs::write(file.head(), text.replace("\"version\":1", "\"version\":9")).unwrap();
    assert_eq!(file.open().err(), Some(AuditError::Newer(9)), "an older gateway leaves it alone");
}

#[test]
fn the_head_follows_the_lines_that_the_disk_has() {
    let file = AuditFile::new();
    let audit = file.open().unwrap();
    assert_eq!(audit.signed_head().lines, 0);
    audit.record(&looked_up(&Phi::from("1"))).unwrap();
    drop(audit);
    let audit = file.open().unwrap();
    let head = audit.signed_head();
    assert_eq!(head.lines, 1);
    let text = fs::read_to_string(file.head()).unwrap();
    assert!(text.contains(&head.hash) && text.contains(&head.signature), "{text}");
}
