//! A gateway that is killed in the middle of a film leaves nothing that anybody can read.
//!
//! `DOOR_CRASH_MB=500 cargo test --release --test door_crash` does the same with a long film.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod media_fixture;
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use media_fixture::{files_below, film, tellers};
use serde_json::json;
use support::gateway::Gateway;
use support::phone::Phone;
use support::{hospital, wait_until};

/// Whatever the length of a film: the gateway itself, one connection, an index and some chunks.
const PEAK_MAX_KIB: u64 = 40 * 1024;
/// Bytes of each picture of the film.
const PICTURE_BYTES: usize = 100_000;

#[test]
fn a_place_that_is_uploading_is_read_by_nobody_while_it_does_and_after_a_kill() {
    let megabytes = std::env::var("DOOR_CRASH_MB").map_or(6, |text| text.parse::<usize>().unwrap());
    let file = film(*b"qt  ", megabytes * 10, PICTURE_BYTES);
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), 9, "");
    hospital::tell(gateway.mllp, &[hospital::admit("4711")]);
    let token = gateway.issuer.token(&json!({}));
    let mut phone = Phone::connect(gateway.https, &token);
    let site = json!({"code": "38266002", "scheme": "SCT", "meaning": "Entire body"});
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm", "body_site": site});
    phone.begin_upload(&claim, file.len());
    let folder = gateway.folder.path().to_owned();
    let drafts = || files_below(&folder.join("data/spool/draft"));
    let on_disk = || drafts().iter().map(|draft| std::fs::metadata(draft).map_or(0, |m| m.len())).sum::<u64>();
    for (part, number) in file[..file.len() * 3 / 4].chunks(file.len() / 4).zip(1..) {
        phone.write(part);
        let lies = u64::try_from(file.len() / 8 * number).unwrap();
        wait_until(Duration::from_secs(60), "the film reaches the disk", || (on_disk() >= lies).then_some(()));
        nobody_can_read(&folder, &drafts());
    }
    let kill = Command::new("sh").args(["-c", "kill -KILL \"$1\"", "sh", &gateway.pid().to_string()]).status();
    assert!(kill.expect("a shell").success());
    wait_until(Duration::from_secs(10), "the gateway is dead", || std::net::TcpStream::connect(gateway.ops).err());
    assert!(on_disk() > 0, "what was received is still there, sealed");
    nobody_can_read(&folder, &drafts());
    gateway.kill_and_restart();
    assert_eq!(drafts(), Vec::<PathBuf>::new(), "a new start removes it");
    assert_eq!(tellers(&folder, &[]), Vec::<String>::new());
    // And the same film once more, whole.
    let answer = Phone::connect(gateway.https, &token).upload("again", &claim, &[&file]);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let item = &answer.json()["items"][0];
    assert_eq!((item["location_found"].as_bool(), item["media"].as_str()), (Some(true), Some("video/quicktime")));
    assert_eq!(tellers(&folder, &[]), Vec::<String>::new());
    assert!(gateway.metric("shutterbridge_location_removed_total", "container=\"quicktime\"") > 0.0);
    let peak = peak_kib(gateway.pid());
    println!("a film of {} MB; the gateway's memory at its peak: {} MiB", file.len() / 1_000_000, peak / 1024);
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB for a film of {} bytes", file.len());
    let audit = std::fs::read_to_string(folder.join("audit.log")).unwrap();
    let line = audit.lines().find(|line| line.contains("item.scrub")).expect("the proof is in the audit");
    for word in ["video.udta", "\"location_found\":true", item["sha256"].as_str().unwrap(), "\"verifier\":2"] {
        assert!(line.contains(word), "{word} in {line}");
    }
}

/// The most memory that a process ever had.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    mark.expect("Linux tells")
}

/// Nothing tells the place in clear; and where the wrapped key of a draft belongs are zeros, so that
/// the key file opens nothing either.
fn nobody_can_read(folder: &std::path::Path, drafts: &[PathBuf]) {
    assert_eq!(tellers(folder, &[]), Vec::<String>::new());
    assert_eq!(drafts.len(), 1);
    let bytes = std::fs::read(&drafts[0]).unwrap();
    assert!(bytes.len() > 128 && bytes[..128].iter().all(|b| *b == 0), "a key is on the disk");
}
