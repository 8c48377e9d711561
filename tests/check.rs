//! `check`: what an administrator reads of a site that is right, and of each thing that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;
mod support;
mod tls_fixture;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive_peer::web::{Do, Web, orthanc};
use archive_peer::{Other, Takes, ae, listed};
use dicom_fixture::TempDir;
use serde_json::Value;
use shutterbridge::archive::scp::Scp;
use support::issuer::Issuer;
use tls_fixture::*;

/// A small site whose archives are as `archives` says, from line 18 on.
fn site(folder: &Path, archives: &str) -> PathBuf {
    let issuer = Issuer::new();
    std::fs::write(folder.join("jwks.json"), issuer.jwks().to_string()).unwrap();
    let url = &issuer.url;
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\n[limits]\nspool_free_min = \"1MiB\"\nvideo_bytes = \"1MiB\"\n\
         [site]\ninstitution = \"Test Hospital\"\n[[department]]\nid = \"derm\"\nname = \"Dermatology\"\n\
         [hl7]\nlisten = \"127.0.0.1:0\"\n[[issuer]]\njwks_file = \"jwks.json\"\nissuer = \"{url}\"\naudience = \"shutterbridge\"\n{archives}"
    );
    let file = folder.join("gw.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// The rows, and whether it ended with success.
fn check(file: &Path) -> (Vec<Value>, bool) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_shutterbridge")).args(["check", "--json", "--config"]).arg(file).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(said["ok"] == true, output.status.success());
    assert!(output.status.success() || output.status.code() == Some(1));
    (said["rows"].as_array().unwrap().clone(), output.status.success())
}

/// The row of an archive that fails, with its key and its line.
fn failure(archives: &str) -> (String, String, String) {
    let [says, key, at, _] = failure_and_fix(archives);
    (says, key, at)
}

/// The same, with what to do.
fn failure_and_fix(archives: &str) -> [String; 4] {
    let dir = TempDir::new("check-fails");
    let (rows, ok) = check(&site(dir.path(), archives));
    let failed: Vec<&Value> = rows.iter().filter(|r| r["result"] == "FAIL").collect();
    assert!(!ok && failed.len() == 1, "{rows:#?}");
    let text = |name: &str| failed[0][name].as_str().unwrap_or_default().to_owned();
    assert!(!text("fix").is_empty(), "{rows:#?}");
    [text("says"), text("key"), text("at").replace(&format!("{}/", dir.path().display()), ""), text("fix")]
}

fn dimse(address: SocketAddr, more: &str) -> String {
    format!("[[archive]]\nname = \"pacs\"\naddress = \"{address}\"\ncalled_ae = \"PACS\"\n{more}")
}

fn stow(url: &str, more: &str) -> String {
    format!("[[archive]]\nname = \"web\"\nkind = \"stow\"\nurl = \"{url}\"\n{more}")
}

fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_site_that_is_right_passes_and_nothing_is_left_behind() {
    let (dir, kept) = (TempDir::new("check-right"), TempDir::new("check-right-kept"));
    let scp = Scp::start(SocketAddr::from(([127, 0, 0, 1], 0)), ae("PACS"), kept.path(), |_| ()).unwrap();
    let file = site(dir.path(), &dimse(scp.local_addr(), ""));
    let before = dir.files();
    let (rows, ok) = check(&file);
    assert!(ok, "{rows:#?}");
    let names: Vec<&str> = rows.iter().map(|r| r["check"].as_str().unwrap()).collect();
    for name in [
        "config",
        "server.tls_cert",
        "data.dir",
        "data.key_file",
        "audit.file",
        "limits.spool_free_min",
        "issuer.0",
        "server.listen",
        "server.ops_listen",
        "hl7.listen",
        "archive.pacs",
        "scrub",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(dir.files(), before);
    assert!(kept.files().is_empty());
    let output = Command::new(env!("CARGO_BIN_EXE_shutterbridge")).args(["check", "--config"]).arg(&file).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("PASS  archive.pacs") && table.trim_end().ends_with("0 FAIL"), "{table}");
}

#[test]
fn an_archive_that_is_not_there_or_not_called_so_is_told_apart() {
    let dir = TempDir::new("check-dimse");
    let scp = Scp::start(SocketAddr::from(([127, 0, 0, 1], 0)), ae("OTHER"), dir.path(), |_| ()).unwrap();
    let (says, key, at) = failure(&dimse(scp.local_addr(), ""));
    assert!(says.contains("is not called PACS"), "{says}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.called_ae", "gw.toml:21"));
    let (says, key, at) = failure(&dimse(nobody(), ""));
    assert!(says.contains("connection refused"), "{says}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.address", "gw.toml:20"));
    let (says, key, _) = failure("[[archive]]\nname = \"p\"\naddress = \"no.such.host.invalid:104\"\ncalled_ae = \"P\"\n");
    assert!(says.contains("its name has no address"), "{says}");
    assert_eq!(key, "archive.address");
}

#[test]
fn a_title_that_an_archive_does_not_know_is_told_whichever_it_is() {
    let dir = TempDir::new("check-titles");
    let known = ",\"DicomCheckCalledAet\":true,\"DicomAlwaysAllowEcho\":false,\"DicomAlwaysAllowStore\":false,\
         \"DicomModalities\":{\"gw\":[\"GATEWAY\",\"127.0.0.1\",104]}";
    let Some((_orthanc, port)) = orthanc(dir.path(), known) else { return };
    let archive = |called: &str, calling: &str| {
        let address = format!("[[archive]]\nname = \"pacs\"\naddress = \"127.0.0.1:{port}\"\n");
        format!("{address}called_ae = \"{called}\"\ncalling_ae = \"{calling}\"\n")
    };
    let (says, key, at) = failure(&archive("OTHER", "GATEWAY"));
    assert!(says.contains("is not called OTHER"), "{says}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.called_ae", "gw.toml:21"));
    let (says, key, at) = failure(&archive("PACS", "STRANGER"));
    assert!(says.contains("does not know STRANGER"), "{says}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.calling_ae", "gw.toml:22"));
    let site_folder = TempDir::new("check-titles-right");
    let (rows, ok) = check(&site(site_folder.path(), &archive("PACS", "GATEWAY")));
    assert!(ok, "{rows:#?}");
}

#[test]
fn an_archive_that_blames_the_wrong_title_does_not_lead_astray() {
    let dir = TempDir::new("check-dcmqrscp");
    let (file, port) = (dir.path().join("dcmqrscp.cfg"), nobody().port());
    let shelf = dir.path().display();
    let text = format!(
        "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nall = (KNOWN, localhost, 104)\nHostTable END\n\
         VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nPACS {shelf} RW (200, 1024mb) all\nAETable END\n"
    );
    std::fs::write(&file, text).unwrap();
    let Some(archive) = Other::start("dcmqrscp", &["-c", file.to_str().unwrap()], port) else { return };
    let [says, key, _, fix] = failure_and_fix(&dimse(archive.address, ""));
    assert!(says.contains("does not recognise the called AE title"), "{says}");
    assert!(fix.contains("have SHUTTERBRIDGE added there"), "{fix}");
    assert_eq!(key, "archive.called_ae");
}

#[test]
fn a_class_that_is_refused_is_told_with_what_goes_in_its_place() {
    const TAKES: Takes = &[("1.2.840.10008.5.1.4.1.1.7", &["1.2.840.10008.1.2.4.50"])];
    let dir = TempDir::new("check-capture");
    let list = listed(dir.path(), TAKES);
    let Some(archive) = Other::storescp(dir.path(), &["-xf", list.to_str().unwrap(), "ALL"]) else { return };
    let [says, key, at, fix] = failure_and_fix(&dimse(archive.address, ""));
    assert!(says.contains("1.2.840.10008.5.1.4.1.1.104.1 is refused in every transfer syntax"), "of documents: {says}");
    assert!(fix.contains("enable the class"), "{fix}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.media", "gw.toml:18"));
    let site_folder = TempDir::new("check-capture-site");
    let (rows, _) = check(&site(site_folder.path(), &dimse(archive.address, "")));
    for class in ["1.2.840.10008.5.1.4.1.1.77.1.4 ", "1.2.840.10008.5.1.4.1.1.77.1.7 "] {
        let goes_as = |r: &&Value| {
            let says = r["says"].as_str().unwrap();
            says.contains(class) && says.contains("will go as Secondary Capture Image")
        };
        assert!(rows.iter().any(|r| r["result"] == "WARN" && goes_as(&r)), "{class}: {rows:#?}");
    }
}

#[test]
fn a_context_that_is_refused_is_named_with_what_it_means() {
    let dir = TempDir::new("check-contexts");
    let Some(archive) = Other::storescp(dir.path(), &["+xi"]) else { return };
    let (says, key, _) = failure(&dimse(archive.address, "fallback = false\n"));
    assert!(says.contains("1.2.840.10008.1.2.4.50") && says.contains("will be held"), "{says}");
    assert_eq!(key, "archive.fallback");
    let decoding = TempDir::new("check-contexts-decoded");
    let (rows, ok) = check(&site(decoding.path(), &dimse(archive.address, "")));
    assert!(ok && rows.iter().any(|r| r["says"].as_str().unwrap().contains("photographs will be decoded")), "{rows:#?}");
    let site_folder = TempDir::new("check-contexts-native");
    let native = dimse(archive.address, "syntaxes = [\"1.2.840.10008.1.2\"]\ncommitment = \"ask\"\n");
    let (rows, ok) = check(&site(site_folder.path(), &native));
    assert!(ok, "{rows:#?}");
    assert!(
        rows.iter().any(|r| r["result"] == "WARN" && r["says"].as_str().unwrap().contains("Storage Commitment")),
        "{rows:#?}"
    );
    let (says, key, _) = failure(&dimse(archive.address, "syntaxes = [\"1.2.840.10008.1.2\"]\ncommitment = \"required\"\n"));
    assert!(says.contains("does not offer Storage Commitment"), "{says}");
    assert_eq!(key, "archive.commitment");
}

#[test]
fn an_archive_without_video_fails_where_video_is_sent_there_by_name() {
    let dir = TempDir::new("check-video");
    let Some(archive) = Other::storescp(dir.path(), &["+xi"]) else { return };
    let says_video = |r: &&Value| r["says"].as_str().unwrap().contains("1.2.840.10008.5.1.4.1.1.77.1.4.1 is refused");
    let everything = TempDir::new("check-video-unnamed");
    let (rows, ok) = check(&site(everything.path(), &dimse(archive.address, "")));
    assert!(ok, "it may well be meant: {rows:#?}");
    assert_eq!(rows.iter().filter(says_video).map(|r| &r["result"]).collect::<Vec<_>>(), ["WARN"], "{rows:#?}");
    let elsewhere = TempDir::new("check-video-elsewhere");
    let folder = format!("[[archive]]\nname = \"all\"\nkind = \"folder\"\npath = \"{}\"\n", dir.path().display());
    let photos = format!("{}{folder}", dimse(archive.address, "media = [\"photo\"]\n"));
    let (rows, ok) = check(&site(elsewhere.path(), &photos));
    assert!(ok && rows.iter().find(says_video).is_none(), "nothing of it goes there: {rows:#?}");
    let (says, _, _) = failure(&format!("{}{folder}", dimse(archive.address, "media = [\"video\"]\n")));
    assert!(says.contains("1.2.840.10008.5.1.4.1.1.77.1.4.1"), "{says}");
}

#[test]
fn a_port_that_speaks_something_else_is_recognised() {
    let dir = TempDir::new("check-tongues");
    let scp = Scp::start(SocketAddr::from(([127, 0, 0, 1], 0)), ae("PACS"), dir.path(), |_| ()).unwrap();
    let (says, key, _) = failure(&stow(&format!("http://{}/dicom-web", scp.local_addr()), ""));
    assert!(says.contains("speaks DICOM"), "{says}");
    assert_eq!(key, "archive.kind");
    let hospital = Authority::new(dir.path(), "hospital");
    let ca = format!("tls_ca = \"{}\"\n", hospital.ca.display());
    let (says, key, at) = failure(&stow(&format!("https://{}/dicom-web", scp.local_addr()), &ca));
    assert!(says.contains("speaks DICOM"), "{says}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.kind", "gw.toml:20"));
    let Some((web, _)) = orthanc(dir.path(), "") else { return };
    for more in ["", ca.as_str()] {
        let (says, key, at) = failure(&dimse(web.address, more));
        assert!(says.contains("speaks HTTP"), "{says}");
        assert_eq!((key.as_str(), at.as_str()), ("archive.address", "gw.toml:20"));
    }
    let (says, key, at) = failure(&stow(&format!("https://{}/dicom-web", web.address), &ca));
    assert!(says.contains("speaks HTTP without TLS"), "{says}");
    assert_eq!((key.as_str(), at.as_str()), ("archive.url", "gw.toml:21"));
}

/// An archive with TLS and what is configured of it.
struct Secure {
    dir: TempDir,
    kept: TempDir,
    hospital: Authority,
    server: Leaf,
}

impl Secure {
    fn new(name: &str) -> Self {
        let (dir, kept) = (TempDir::new(name), TempDir::new(name));
        let hospital = Authority::new(dir.path(), "hospital");
        let server = hospital.leaf("server", &["localhost"]);
        Self { dir, kept, hospital, server }
    }

    fn archive(&self, more: &[&str]) -> Option<Other> {
        let (key, cert) = (self.server.key.to_str().unwrap(), self.server.cert.to_str().unwrap());
        let args: Vec<&str> = ["+xa", "+tls", key, cert].into_iter().chain(more.iter().copied()).collect();
        Other::storescp(self.kept.path(), &args)
    }
}

fn with_ca(archive: &Other, authority: &Authority, more: &str) -> String {
    let (port, ca) = (archive.address.port(), authority.ca.display());
    format!("[[archive]]\nname = \"p\"\naddress = \"localhost:{port}\"\ncalled_ae = \"PACS\"\ntls_ca = \"{ca}\"\n{more}")
}

#[test]
fn tls_where_it_is_not_expected_and_the_reverse_are_told() {
    let site = Secure::new("check-tls");
    let (Some(tls), Some(plain)) = (site.archive(&["-ic"]), Other::storescp(site.kept.path(), &["+xa"])) else { return };
    let (says, key, _) = failure(&dimse(tls.address, ""));
    assert!(says.contains("speaks TLS"), "{says}");
    assert_eq!(key, "archive.tls_ca");
    let (says, key, at_line) = failure(&with_ca(&plain, &site.hospital, ""));
    assert!(says.contains("speaks DICOM without TLS"), "{says}");
    assert_eq!((key.as_str(), at_line.as_str()), ("archive.tls_ca", "gw.toml:22"));
    let (says, key, _) = failure(&stow(&format!("http://{}/x", tls.address), ""));
    assert!(says.contains("speaks TLS"), "{says}");
    assert_eq!(key, "archive.url");
}

#[test]
fn a_certificate_of_an_archive_that_does_not_hold_is_told_with_its_reason() {
    let site = Secure::new("check-tls-certs");
    let stranger = Authority::new(site.dir.path(), "stranger");
    let ca = site.hospital.ca.to_str().unwrap();
    let (Some(tls), Some(strict)) = (site.archive(&["-ic"]), site.archive(&["+cf", ca])) else { return };
    let by_number = with_ca(&tls, &site.hospital, "").replace("localhost", "127.0.0.1");
    let untrusted = with_ca(&tls, &stranger, "");
    let anonymous = with_ca(&strict, &site.hospital, "");
    for (archive, wanted, wanted_key) in [
        (untrusted, "signed by nobody in tls_ca", "archive.tls_ca"),
        (by_number, "is for another name", "archive.address"),
        (anonymous, "does not accept the certificate of this gateway, or wants one", "archive.tls_cert"),
    ] {
        let (says, key, _) = failure(&archive);
        assert!(says.contains(wanted), "{wanted}: {says}");
        assert_eq!(key, wanted_key);
    }
}

#[test]
fn an_archive_over_tls_passes_unless_our_own_certificate_has_ended() {
    let site_of = Secure::new("check-tls-right");
    let Some(tls) = site_of.archive(&["-ic"]) else { return };
    let folder = TempDir::new("check-tls-site");
    let (rows, ok) = check(&site(folder.path(), &with_ca(&tls, &site_of.hospital, "")));
    assert!(ok && rows.iter().any(|r| r["says"].as_str().unwrap().contains("answers C-ECHO (TLS 1.3)")), "{rows:#?}");
    let old = site_of.hospital.leaf_until("old", &["gateway"], 2021);
    let ours = format!("tls_cert = \"{}\"\ntls_key = \"{}\"\n", old.cert.display(), old.key.display());
    let (says, key, _) = failure(&with_ca(&tls, &site_of.hospital, &ours));
    assert!(says.contains("expired at 2021-01-01"), "{says}");
    assert_eq!(key, "archive.tls_cert");
}

#[test]
fn a_web_service_is_judged_by_its_answer_to_nothing() {
    for (status, key, line) in
        [(401, "archive.bearer_file", "gw.toml:18"), (404, "archive.url", "gw.toml:21"), (301, "archive.url", "gw.toml:21")]
    {
        // The first connection tries the handshake and says nothing.
        let web = Web::start(vec![Do::AnswerAndClose(status, "", String::new())]);
        let (says, found, at) = failure(&stow(&web.url(), ""));
        assert!(says.contains(&format!("HTTP {status}")), "{says}");
        assert_eq!((found.as_str(), at.as_str()), (key, line));
        assert!(web.finish()[0].head.starts_with("POST /dicom-web/studies "));
    }
}

#[test]
fn a_wrong_configuration_and_a_taken_port_are_rows_as_well() {
    let dir = TempDir::new("check-config");
    let file = site(dir.path(), "[sever]\n");
    let (rows, ok) = check(&file);
    assert!(
        !ok && rows[0]["check"] == "config" && rows[0]["says"].as_str().unwrap().contains("did you mean [server]?"),
        "{rows:#?}"
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = site(dir.path(), "");
    let text = std::fs::read_to_string(&file).unwrap();
    let hl7 = format!("[hl7]\nlisten = \"{}\"", taken.local_addr().unwrap());
    std::fs::write(&file, text.replace("[hl7]\nlisten = \"127.0.0.1:0\"", &hl7)).unwrap();
    std::fs::File::create(dir.path().join("jwks.json")).unwrap().write_all(b"{\"keys\":[]}").unwrap();
    let (rows, ok) = check(&file);
    let failed: Vec<&str> = rows.iter().filter(|r| r["result"] == "FAIL").map(|r| r["check"].as_str().unwrap()).collect();
    assert!(!ok);
    assert_eq!(failed, ["issuer.0", "hl7.listen"], "{rows:#?}");
}

#[test]
fn a_certificate_that_does_not_fit_or_ends_soon_is_told() {
    let dir = TempDir::new("check-cert");
    let hospital = Authority::new(dir.path(), "hospital");
    let (one, two) = (hospital.leaf("one", &["gw.example"]), hospital.leaf("two", &["gw.example"]));
    let nameless = hospital.leaf("nameless", &[]);
    let old = hospital.leaf_until("old", &["gw.example"], 2021);
    for (cert, key, result, says) in [
        (&one.cert, &one.key, "PASS", "for gw.example; good for"),
        (&one.cert, &two.key, "FAIL", "must belong to the certificate"),
        (&nameless.cert, &nameless.key, "FAIL", "names no host"),
        (&old.cert, &old.key, "FAIL", "expired at 2021-01-01"),
    ] {
        let file = site(dir.path(), "");
        let text = std::fs::read_to_string(&file).unwrap();
        let server = format!("[server]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n", cert.display(), key.display());
        std::fs::write(&file, text.replace("[server]\n", &server)).unwrap();
        let (rows, _) = check(&file);
        let row = rows.iter().find(|r| r["check"] == "server.tls_cert").unwrap();
        assert!(row["result"] == result && row["says"].as_str().unwrap().contains(says), "{says}: {row:#?}");
    }
}
