//! DICOM over TLS (PS3.15 §B.12) with archives of other makers, right ones and wrong ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;
mod tls_fixture;

use std::io::{Cursor, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use archive_peer::*;
use dicom_fixture::*;
use rustls::ClientConfig;
use shutterbridge::archive::dimse::{Dimse, Options};
use shutterbridge::archive::reports::{self, Reports};
use shutterbridge::archive::tls::{self, Files};
use shutterbridge::archive::{AeTitle, Archive as _, Report, ReportSink, Stored, Unwanted};
use shutterbridge::capture::{Class, Commitment, FailureCode};
use shutterbridge::dicom::Instance;
use tls_fixture::*;

fn dimse(address: SocketAddr, host: &str, tls: Arc<ClientConfig>) -> Dimse {
    Dimse::new(Options { tls: Some(tls), ..options(&format!("{host}:{}", address.port())) })
}

fn small(number: u8) -> (Instance, Vec<u8>) {
    let payload = jpeg(64, 48, 3);
    (photograph(number, &payload, 64, 48), payload)
}

/// dcmtk's archive with TLS; whoever comes must be known to `clients`.
fn storescp(kept: &Path, server: &Leaf, clients: &Path, more: &[&str]) -> Option<Other> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (key, cert, ca) = (text(&server.key), text(&server.cert), text(clients));
    let args: Vec<&str> = ["+xa", "+uf", "+tls", &key, &cert, "+cf", &ca].into_iter().chain(more.iter().copied()).collect();
    Other::storescp(kept, &args)
}

#[test]
fn an_archive_that_knows_us_by_certificate_receives_the_object() {
    let (dir, kept) = (TempDir::new("tls"), TempDir::new("tls-kept"));
    let hospital = Authority::new(dir.path(), "hospital");
    let server = hospital.leaf("server", &["localhost", "127.0.0.1"]);
    let us = hospital.leaf("gateway", &["gateway.example"]);
    let Some(archive) = storescp(kept.path(), &server, &hospital.ca, &[]) else { return };
    for (number, host) in [(21, "127.0.0.1"), (22, "localhost")] {
        let to = dimse(archive.address, host, hospital.client(Some(&us)));
        assert_eq!(to.probe(), Ok(()));
        let (instance, payload) = small(number);
        // Twice over one association: what TLS says in between does not count as farewell.
        for _ in 0..2 {
            assert_eq!(to.store(&instance, &mut Cursor::new(&payload)), Ok(Stored { warning: None }));
        }
    }
    assert!(!kept.files().is_empty());
    for file in kept.files() {
        assert_eq!(validator_errors(&file), Vec::<String>::new());
    }
}

/// What OpenSSL does by itself: no version but these, and whatever suite.
fn openssl_conf(folder: &Path, versions: [&str; 2]) -> String {
    let file = folder.join(format!("{}.cnf", versions.concat()));
    let [oldest, newest] = versions;
    let limits = format!("MinProtocol = {oldest}\nMaxProtocol = {newest}\nCipherString = ALL:@SECLEVEL=0\n");
    std::fs::write(&file, format!("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n{limits}")).unwrap();
    format!("OPENSSL_CONF={}", file.display())
}

/// dcmtk's archive, which wants a certificate of its clients, with OpenSSL so limited. RSA: what old
/// suites want.
fn limited(kept: &Path, conf: &str, files: [&Path; 3], how: &[&str]) -> Option<Other> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (number, [key, cert, ca]) = (port.to_string(), files.map(|file| file.to_str().unwrap()));
    let always = ["storescp", "+xa", "+uf", "-aet", "PACS", "-od", kept.to_str().unwrap(), "+tls", key, cert, "+cf", ca];
    let args = [&[conf], &always[..], how, &[number.as_str()]].concat();
    Other::start("env", &args, port)
}

#[test]
fn tls_1_2_and_1_3_are_spoken_with_our_certificate_and_nothing_without_it_or_older() {
    let (dir, kept) = (TempDir::new("tls-versions"), TempDir::new("tls-versions-kept"));
    let hospital = Authority::new(dir.path(), "hospital");
    let us = hospital.leaf("gateway", &["gateway.example"]);
    let Some(server) = hospital.rsa_leaf("server", &["127.0.0.1"]) else { return };
    let anonymous = "does not accept the certificate of this gateway, or wants one (tls_cert, tls_key)";
    let foreign = "it speaks neither TLS 1.2 nor 1.3 with a suite of BCP 195";
    let old_suite = ["+pa", "+cs", "TLS_RSA_WITH_AES_128_CBC_SHA"];
    // Given what the archive speaks and who we are, then.
    for (versions, how, identity, then) in [
        (["TLSv1.2", "TLSv1.2"], &["+py"][..], Some(&us), Ok("TLS 1.2")),
        (["TLSv1.2", "TLSv1.3"], &["+py"], Some(&us), Ok("TLS 1.3")),
        (["TLSv1.2", "TLSv1.2"], &["+py"], None, Err(anonymous)),
        (["TLSv1.2", "TLSv1.3"], &["+py"], None, Err(anonymous)),
        (["TLSv1", "TLSv1.1"], &["+px"], Some(&us), Err(foreign)),
        (["TLSv1.2", "TLSv1.2"], &old_suite, Some(&us), Err(foreign)),
    ] {
        let conf = openssl_conf(dir.path(), versions);
        let files = [server.key.as_path(), &server.cert, &hospital.ca];
        let Some(archive) = limited(kept.path(), &conf, files, how) else { return };
        let to = dimse(archive.address, "127.0.0.1", hospital.client(identity));
        let found = to.examine(Commitment::None, &[]);
        let (instance, payload) = small(23);
        match (to.store(&instance, &mut Cursor::new(&payload)), then) {
            (Ok(Stored { warning: None }), Ok(version)) => {
                assert!(found[0].says.ends_with(&format!("answers C-ECHO ({version})")), "{found:?}");
                assert_eq!(kept.files().len(), 1);
                kept.files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
            }
            (Err(refused), Err(says)) => {
                assert_eq!(refused.code, FailureCode::ArchiveUnreachable, "{versions:?}");
                assert!(refused.detail.contains(says), "{versions:?}: {}", refused.detail);
                assert!(found[0].says.contains(says) && !found[0].fix.is_empty(), "{versions:?}: {found:?}");
                assert!(kept.files().is_empty());
            }
            (got, _) => panic!("{versions:?} {then:?}: {got:?}"),
        }
    }
}

/// The archive that is refused above is one that those of its age can talk to.
#[test]
fn the_archive_that_speaks_tls_1_1_alone_really_speaks_it() {
    let (dir, kept) = (TempDir::new("tls11"), TempDir::new("tls11-kept"));
    let hospital = Authority::new(dir.path(), "hospital");
    let Some(server) = hospital.rsa_leaf("server", &["127.0.0.1"]) else { return };
    let conf = openssl_conf(dir.path(), ["TLSv1", "TLSv1.1"]);
    let files = [server.key.as_path(), &server.cert, &hospital.ca];
    let Some(archive) = limited(kept.path(), &conf, files, &["+px"]) else { return };
    let (number, [key, cert, ca]) = (archive.address.port().to_string(), files.map(|file| file.to_str().unwrap()));
    let args = [&conf, "echoscu", "+px", "-aec", "PACS", "+tls", key, cert, "+cf", ca, "127.0.0.1", &number];
    assert!(run("env", &args).unwrap().status.success());
}

#[test]
fn a_large_object_goes_through_tls_byte_by_byte() {
    let (dir, kept) = (TempDir::new("tls-big"), TempDir::new("tls-big-kept"));
    let hospital = Authority::new(dir.path(), "hospital");
    let server = hospital.leaf("server", &["127.0.0.1"]);
    let Some(archive) = storescp(kept.path(), &server, &hospital.ca, &["-ic", "+B"]) else { return };
    let payload = jpeg(1_200, 900, 3);
    let instance = photograph(3, &payload, 1_200, 900);
    let to = dimse(archive.address, "127.0.0.1", hospital.client(None));
    assert_eq!(to.store(&instance, &mut Cursor::new(&payload)), Ok(Stored { warning: None }));
    let (mut sent, mut source) = (Vec::new(), Cursor::new(&payload));
    instance.stream(instance.transfer_syntax(), &mut source).unwrap().read_to_end(&mut sent).unwrap();
    let file = std::fs::read(&kept.files()[0]).unwrap();
    assert!(file.ends_with(&sent));
}

#[test]
fn an_archive_that_cannot_be_believed_gets_nothing_and_the_cause_is_named() {
    let (dir, kept) = (TempDir::new("tls-wrong"), TempDir::new("tls-wrong-kept"));
    let (hospital, stranger) = (Authority::new(dir.path(), "hospital"), Authority::new(dir.path(), "stranger"));
    let us = hospital.leaf("gateway", &["gateway.example"]);
    let theirs = stranger.leaf("theirs", &["gateway.example"]);
    let good = hospital.leaf("good", &["127.0.0.1"]);
    let elsewhere = hospital.leaf("elsewhere", &["other.example"]);
    let expired = hospital.leaf_until("expired", &["127.0.0.1"], 2021);
    let foreign = stranger.leaf("foreign", &["127.0.0.1"]);
    for (server, identity, says) in [
        (&foreign, Some(&us), "its certificate is signed by nobody in tls_ca"),
        (&elsewhere, Some(&us), "its certificate is for another name"),
        (&expired, Some(&us), "its certificate has expired"),
        (&good, None, "does not accept the certificate of this gateway, or wants one"),
        (&good, Some(&theirs), "does not accept the certificate of this gateway, or wants one"),
    ] {
        let Some(archive) = storescp(kept.path(), server, &hospital.ca, &[]) else { return };
        let (instance, payload) = small(4);
        let to = dimse(archive.address, "127.0.0.1", hospital.client(identity));
        let refused = to.store(&instance, &mut Cursor::new(&payload)).unwrap_err();
        assert_eq!((refused.code, refused.code.class()), (FailureCode::ArchiveUnreachable, Class::Transient), "{says}");
        assert!(refused.detail.contains(says), "{says}: {}", refused.detail);
    }
    assert!(kept.files().is_empty());
}

#[test]
fn an_archive_s_own_certificate_may_be_believed_itself() {
    let (dir, kept) = (TempDir::new("tls-self"), TempDir::new("tls-self-kept"));
    let (own, other) = (self_signed(dir.path(), "own", &["pacs"]), self_signed(dir.path(), "other", &["127.0.0.1"]));
    let Some(archive) = storescp(kept.path(), &own, &own.cert, &["-ic"]) else { return };
    for (ca, is_believed) in [(&own.cert, true), (&other.cert, false)] {
        let client = tls::client(&Files { ca: ca.clone(), identity: None }, &[]).unwrap();
        assert_eq!(dimse(archive.address, "127.0.0.1", client).probe().is_ok(), is_believed);
    }
}

#[test]
fn files_of_tls_that_do_not_fit_are_named() {
    let dir = TempDir::new("tls-files");
    let hospital = Authority::new(dir.path(), "hospital");
    let (one, two) = (hospital.leaf("one", &["a"]), hospital.leaf("two", &["b"]));
    let mixed = Leaf { cert: one.cert.clone(), key: two.key };
    for (files, says) in [
        (hospital.files(Some(&mixed)), "two.key cannot be used"),
        (Files { ca: one.key.clone(), identity: None }, "one.key holds no certificate in PEM"),
        (Files { ca: dir.path().join("none"), identity: None }, "none cannot be read"),
    ] {
        let told = tls::client(&files, &[]).expect_err(says).to_string();
        assert!(told.contains(says), "{told}");
    }
}

struct Deaf;

impl ReportSink for Deaf {
    fn report(&self, _: &AeTitle, _: Report) -> Result<(), Unwanted> {
        Err(Unwanted::UnknownTransaction)
    }

    fn stranger(&self) {}
}

#[test]
fn the_door_for_reports_speaks_tls_with_those_that_it_knows() {
    let dir = TempDir::new("tls-door");
    let hospital = Authority::new(dir.path(), "hospital");
    let stranger = Authority::new(dir.path(), "stranger");
    let (server, archive) = (hospital.leaf("server", &["localhost", "127.0.0.1"]), hospital.leaf("archive", &["pacs"]));
    let foreign = stranger.leaf("foreign", &["pacs"]);
    let tls = tls::server(&server.cert, &server.key, Some(&hospital.ca)).unwrap();
    let ours = reports::Options { ae: ae("SHUTTERBRIDGE"), archive_aes: vec![ae("PACS")], tls: Some(tls) };
    let door = Reports::start(SocketAddr::from(([127, 0, 0, 1], 0)), ours, Arc::new(Deaf)).unwrap();
    let port = door.local_addr().port().to_string();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let echo = |more: &[&str]| {
        let args: Vec<&str> = ["-aet", "PACS", "-aec", "SHUTTERBRIDGE"].into_iter().chain(more.iter().copied()).collect();
        let args: Vec<&str> = args.into_iter().chain(["localhost", &port]).collect();
        run("echoscu", &args).map(|output| output.status.success())
    };
    let (key, cert, ca) = (text(&archive.key), text(&archive.cert), text(&hospital.ca));
    let Some(is_taken) = echo(&["+tls", &key, &cert, "+cf", &ca]) else { return };
    assert!(is_taken);
    let (key, cert) = (text(&foreign.key), text(&foreign.cert));
    assert_eq!(echo(&["+tls", &key, &cert, "+cf", &ca]), Some(false));
    assert_eq!(echo(&["+tla", "+cf", &ca]), Some(false));
    assert_eq!(echo(&[]), Some(false));
}

#[test]
fn whoever_speaks_no_tls_is_not_waited_for() {
    let dir = TempDir::new("tls-plain");
    let hospital = Authority::new(dir.path(), "hospital");
    let Some(plain) = Other::storescp(dir.path(), &["+xa"]) else { return };
    let refused = dimse(plain.address, "127.0.0.1", hospital.client(None)).probe().unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveUnreachable, "{}", refused.detail);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(dimse(nobody, "127.0.0.1", hospital.client(None)).probe().is_err());
}
