//! A disk that is full, read-only or broken: the phone is told, readiness is told, what is known
//! can still be read, and when the disk is back everything goes on without a restart.
//!
//! Needs root for a small file system of its own, and strace for a sync that fails; where there is
//! neither, nothing is tested and the test says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use support::archive::Storescp;
use support::folder::Folder;
use support::gateway::Gateway;
use support::phone::{Answer, Phone};
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};

const SOON: Duration = Duration::from_secs(30);
/// From the end of a fault until photos are taken again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A file system of its own; lazily unmounted, since the folder of a gateway may outlive it.
struct Mounted(PathBuf);

impl Mounted {
    fn over(folder: &Folder) -> Option<Self> {
        let path = folder.path().to_owned();
        let words = ["-t", "tmpfs", "-o", "size=96m,nr_inodes=1000", "shutterbridge-test"];
        let mounted = Command::new("mount").args(words).arg(&path).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Ward {
    gateway: Gateway,
    photo: Photo,
    /// Identifiers of what was acknowledged.
    acknowledged: Vec<String>,
    sent: u64,
    _archive: Storescp,
    kept: Folder,
    disk: Mounted,
}

impl Ward {
    fn open() -> Option<Self> {
        if !is_installed("storescp") {
            eprintln!("storescp (Debian: dcmtk) is not installed: nothing is tested here");
            return None;
        }
        let (folder, kept) = (Folder::new(), Folder::new());
        let Some(disk) = Mounted::over(&folder) else {
            eprintln!("nothing can be mounted here: nothing is tested");
            return None;
        };
        let archive = Storescp::start(Some(kept.path()));
        let binary = env!("CARGO_BIN_EXE_shutterbridge");
        let gateway = Gateway::start_in(folder, binary, archive.port, "[limits]\nspool_free_min = \"4MiB\"");
        hospital::tell(gateway.mllp, &[hospital::admit("4711"), hospital::order("4711", "A123")]);
        let photo = Photo::draw(320, 240);
        Some(Self { gateway, photo, acknowledged: Vec::new(), sent: 0, _archive: archive, kept, disk })
    }

    fn phone(&self) -> Phone {
        Phone::connect(self.gateway.https, &self.gateway.issuer.token(&json!({})))
    }

    fn upload(&mut self) -> Answer {
        self.sent += 1;
        let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"});
        let mut phone = self.phone();
        let answer = phone.upload(&format!("k-{}", self.sent), &claim, &[self.photo.numbered(self.sent)]);
        if answer.status == 201 {
            self.acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
        }
        answer
    }

    fn stage(&self, id: &str) -> String {
        let answer = self.phone().call("GET", &format!("/api/v1/captures/{id}"), "", &[]);
        assert_eq!(answer.status, 200, "a status can always be read");
        answer.json()["stage"].as_str().unwrap().to_owned()
    }

    /// Acknowledged and at the archive: something to ask about while the disk is broken.
    fn begin(&mut self) {
        for _ in 0..3 {
            assert_eq!(self.upload().status, 201);
        }
        self.all_arrive();
        let (status, report) = self.gateway.ops("/readyz");
        assert!(status.contains("200"), "{report}");
        for word in ["spool", "index", "facts", "audit"] {
            assert!(report.contains(&format!("{word}: ok\n")), "{word} in {report}");
        }
    }

    /// A photo of somebody whom the hospital has not announced: 815.
    fn hold(&mut self) -> String {
        let unknown = json!({"patient": {"id": "815", "issuer": "HOSP"}, "department": "derm"});
        let answer = self.phone().upload("held", &unknown, &[self.photo.bytes()]);
        let held = answer.json()["id"].as_str().unwrap().to_owned();
        wait_until(SOON, "nobody knows the patient", || (self.stage(&held) == "held").then_some(()));
        held
    }

    /// Until nothing fits any more; the file that does it.
    fn fill(&self) -> PathBuf {
        let ballast = self.disk.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
        ballast
    }

    /// The phone hears why, and `/readyz` says it; what is known can be read.
    fn refuses(&mut self, statuses: &[u16]) {
        let answer = wait_until(SOON, "a photo is refused", || Some(self.upload()).filter(|a| a.status != 201));
        assert!(statuses.contains(&answer.status), "{}", answer.status);
        let problem = answer.json();
        assert!(problem["detail"].as_str().is_some_and(|d| d.len() > 20), "{problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        wait_until(SOON, "readiness is told", || self.gateway.ops("/readyz").0.contains("503").then_some(()));
        let not_ok: Vec<String> =
            self.gateway.ops("/readyz").1.lines().filter(|l| !l.ends_with(": ok")).map(str::to_owned).collect();
        eprintln!("  the phone hears {} {}: {}", answer.status, problem["code"], problem["detail"]);
        eprintln!("  /readyz says {not_ok:?}");
        let known = self.acknowledged[0].clone();
        assert_eq!(self.stage(&known), "forwarded");
    }

    fn recovers(&mut self) {
        let ended = Instant::now();
        wait_until(BACK_WITHIN, "photos are taken again", || (self.upload().status == 201).then_some(()));
        wait_until(BACK_WITHIN, "it is ready again", || self.gateway.ops("/readyz").0.contains("200").then_some(()));
        eprintln!("  back after {:?}, {} acknowledged, all there", ended.elapsed(), self.acknowledged.len());
        self.all_arrive();
        assert!(self.gateway.stop().success());
    }

    fn all_arrive(&self) {
        for id in &self.acknowledged {
            wait_until(SOON, "what was acknowledged arrives", || (self.stage(id) == "forwarded").then_some(()));
        }
        let objects = std::fs::read_dir(self.kept.path()).unwrap().count();
        assert!(objects >= self.acknowledged.len(), "{objects} of {}", self.acknowledged.len());
    }
}

#[test]
fn a_full_disk_refuses_photos_until_there_is_room_and_forwards_what_it_has() {
    let Some(mut ward) = Ward::open() else { return };
    ward.begin();
    let held = ward.hold();
    let ballast = ward.fill();
    ward.refuses(&[507, 503]);
    // What was promised before goes on: the gateway gives its own ballast back.
    hospital::tell(ward.gateway.mllp, &[hospital::admit("815")]);
    wait_until(SOON, "a full disk forwards what it has", || (ward.stage(&held) == "forwarded").then_some(()));
    std::fs::remove_file(ballast).unwrap();
    ward.recovers();
}

#[test]
fn a_disk_that_others_filled_while_the_gateway_was_down_does_not_keep_it_from_starting() {
    let Some(mut ward) = Ward::open() else { return };
    ward.begin();
    let held = ward.hold();
    ward.gateway.kill();
    let ballast = ward.fill();
    ward.gateway.restart();
    hospital::tell(ward.gateway.mllp, &[hospital::admit("815")]);
    wait_until(SOON, "a full disk forwards what it has", || (ward.stage(&held) == "forwarded").then_some(()));
    std::fs::remove_file(ballast).unwrap();
    ward.recovers();
}

#[test]
fn a_disk_without_free_names_refuses_photos_until_there_are_some() {
    let Some(mut ward) = Ward::open() else { return };
    ward.begin();
    let many = ward.disk.0.join("many");
    std::fs::create_dir(&many).unwrap();
    let mut number = 0;
    while std::fs::write(many.join(number.to_string()), "").is_ok() {
        number += 1;
    }
    ward.refuses(&[507, 503]);
    std::fs::remove_dir_all(many).unwrap();
    ward.recovers();
}

#[test]
fn one_sender_cannot_fill_the_disk_while_the_archive_is_away() {
    let nobody_listens = 9;
    let mut gateway = Gateway::start(
        env!("CARGO_BIN_EXE_shutterbridge"),
        nobody_listens,
        "[limits]\nspool_free_min = \"1MiB\"\nsubject_bytes = \"1MiB\"",
    );
    let mut photo = Photo::draw(1_600, 1_200);
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"});
    let mut send = |gateway: &Gateway, subject: &str, number: u64| {
        let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({"sub": subject})));
        phone.upload(&format!("{subject}-{number}"), &claim, &[photo.numbered(number)])
    };
    let refused = wait_until(SOON, "the quota is reached", || {
        let number = u64::try_from(Instant::now().duration_since(begun()).as_nanos()).unwrap();
        Some(send(&gateway, "greedy", number)).filter(|answer| answer.status != 201)
    });
    assert_eq!((refused.status, refused.json()["code"].as_str()), (507, Some("spool-full")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("you sent"), "{}", refused.json());
    assert_eq!(send(&gateway, "modest", 1).status, 201);
    gateway.kill_and_restart();
    let still = || (send(&gateway, "greedy", 2).status == 507).then_some(());
    wait_until(SOON, "it is counted again after a restart", still);
}

/// When this programme looked at the clock first.
fn begun() -> Instant {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *BEGUN.get_or_init(Instant::now)
}

/// System calls of a running process that fail or are slow, until it is dropped.
struct Faults(Child);

impl Faults {
    /// `how`: `error=EIO`, `delay_enter=1500000` (microseconds).
    fn begin(pid: u32, calls: &str, how: &str) -> Option<Self> {
        let inject = format!("inject={calls}:{how}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-p", &pid.to_string(), "-e", &format!("trace={calls}"), "-e", &inject]);
        let child = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            status.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0")).then_some(())
        };
        wait_until(SOON, "strace attaches", traced);
        Some(Self(child))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_disk_that_fails_or_is_read_only_is_recovered_from_without_a_restart() {
    if !is_installed("strace") {
        eprintln!("strace is not installed: nothing is tested here");
        return;
    }
    let all = "openat,rename,unlink,ftruncate,pwrite64,fsync,fdatasync";
    // Of the syncs; of the writes of index and hospital facts (`pwrite64` is sled's alone); of all
    // that changes a file system that became read-only.
    for (calls, error) in [("fsync,fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), (all, "EROFS")] {
        let Some(mut ward) = Ward::open() else { return };
        ward.begin();
        eprintln!("{error} of {calls}");
        let Some(faults) = Faults::begin(ward.gateway.pid(), calls, &format!("error={error}")) else {
            eprintln!("strace may not attach here: nothing is tested");
            return;
        };
        ward.refuses(&[503, 507]);
        drop(faults);
        ward.recovers();
    }
}

#[test]
fn no_photo_is_acknowledged_before_a_slow_flush_is_done() {
    if !is_installed("strace") {
        eprintln!("strace is not installed: nothing is tested here");
        return;
    }
    let Some(mut ward) = Ward::open() else { return };
    ward.begin();
    let Some(faults) = Faults::begin(ward.gateway.pid(), "fsync,fdatasync", "delay_enter=1500000") else {
        eprintln!("strace may not attach here: nothing is tested");
        return;
    };
    for _ in 0..2 {
        let sent = Instant::now();
        assert_eq!(ward.upload().status, 201);
        assert!(sent.elapsed() >= Duration::from_millis(1_500), "acknowledged after {:?}", sent.elapsed());
    }
    let (status, report) = ward.gateway.ops("/readyz");
    eprintln!("  acknowledged after the flush; /readyz says {status}");
    assert!(status.contains("200"), "{report}");
    drop(faults);
    ward.recovers();
}
