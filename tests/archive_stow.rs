//! Storing over the web, judged by what the archive says of each instance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;
mod tls_fixture;

use std::io::{Cursor, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use archive_peer::Other;
use archive_peer::web::*;
use dicom_fixture::*;
use rustls::{ServerConnection, StreamOwned};
use shutterbridge::archive::finding::Grade;
use shutterbridge::archive::profile::Profile;
use shutterbridge::archive::stow::{Limits, Options, Stow, Url};
use shutterbridge::archive::tls;
use shutterbridge::archive::{Archive as _, Asked as Commitments, Refused, Report, Stored};
use shutterbridge::capture::{Class, Commitment, FailureCode, SopRef, Uid};
use shutterbridge::dicom::Instance;
use tls_fixture::*;

fn options(url: &str) -> Options {
    Options {
        url: Url::parse(url).unwrap(),
        tls: None,
        bearer_file: None,
        profile: Profile::default(),
        limits: Limits::default(),
    }
}

fn small(number: u8) -> (Instance, Vec<u8>) {
    let payload = jpeg(64, 48, 3);
    (photograph(number, &payload, 64, 48), payload)
}

fn store(to: &Stow, instance: &Instance, payload: &[u8]) -> Result<Stored, Refused> {
    to.store(instance, &mut Cursor::new(payload))
}

fn list(tag: &str, uid: &str, more: &str) -> String {
    format!(r#"{{"{tag}":{{"vr":"SQ","Value":[{{"00081155":{{"vr":"UI","Value":["{uid}"]}}{more}}}]}}}}"#)
}

fn stored(instance: &Instance) -> String {
    list("00081199", instance.sop_instance.as_str(), "")
}

fn failed(instance: &Instance, reason: u16) -> String {
    list("00081198", instance.sop_instance.as_str(), &format!(r#","00081197":{{"vr":"US","Value":[{reason}]}}"#))
}

fn found(instance: &Instance) -> String {
    format!(r#"[{{"00080018":{{"vr":"UI","Value":["{}"]}}}}]"#, instance.sop_instance)
}

#[test]
fn an_instance_is_one_part_that_is_exactly_its_file() {
    let dir = TempDir::new("stow-bearer");
    let token = dir.path().join("token");
    std::fs::write(&token, "abc.def\n").unwrap();
    let payload = jpeg(1_200, 900, 3);
    let instance = photograph(1, &payload, 1_200, 900);
    let web = Web::start(vec![Do::Answer(200, "", stored(&instance)), Do::Answer(200, "", stored(&instance))]);
    let to = Stow::new(Options { bearer_file: Some(token), ..options(&web.url()) });
    for _ in 0..2 {
        assert_eq!(store(&to, &instance, &payload), Ok(Stored { warning: None }));
    }
    drop(to);
    let asked = web.finish();
    assert_eq!(asked.iter().map(|a| a.connection).collect::<Vec<_>>(), [0, 0], "the connection is kept");
    for request in &asked {
        let head = &request.head;
        assert!(head.starts_with("POST /dicom-web/studies HTTP/1.1\r\n"), "{head}");
        for field in ["Authorization: Bearer abc.def", "Accept: application/dicom+json", "Transfer-Encoding: chunked"] {
            assert!(head.contains(&format!("{field}\r\n")), "{field}: {head}");
        }
        let boundary = head.split("type=\"application/dicom\"; boundary=").nth(1).unwrap().split("\r\n").next().unwrap();
        let begin = format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n");
        let end = format!("\r\n--{boundary}--\r\n");
        let whole = [begin.as_bytes(), &file_bytes(&instance, &payload), end.as_bytes()].concat();
        assert!(request.is_complete && request.body == whole);
    }
    let boundary = |n: usize| asked[n].head.split("boundary=").nth(1).unwrap().to_owned();
    assert_ne!(boundary(0), boundary(1), "nobody can know it before");
}

#[test]
fn the_body_decides_about_the_instance_and_not_the_status() {
    let (instance, payload) = small(2);
    let other = list("00081199", "2.25.1", "");
    let html = "<html><body>Bad Gateway</body></html>".to_owned();
    let warned = list("00081199", instance.sop_instance.as_str(), r#","00081196":{"vr":"US","Value":[45056]}"#);
    let xml = format!(
        "<NativeDicomModel><DicomAttribute tag=\"00081199\" vr=\"SQ\"><Item number=\"1\"><DicomAttribute tag=\"00081155\" vr=\"UI\">\
         <Value number=\"1\">{}</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>",
        instance.sop_instance
    );
    let table = [
        (200, stored(&instance), Ok(None)),
        (200, xml, Ok(None)),
        (400, stored(&instance), Ok(None)),
        (202, warned, Ok(Some("B000H: elements were coerced"))),
        (200, failed(&instance, 0x0110), Err((FailureCode::ArchiveProcessing, Class::Transient, "0110H"))),
        (202, failed(&instance, 0xA700), Err((FailureCode::ArchiveBusy, Class::Transient, "A700H"))),
        (409, failed(&instance, 0xA900), Err((FailureCode::ArchiveRefusedObject, Class::Permanent, "A900H"))),
        (409, failed(&instance, 0x0122), Err((FailureCode::ArchiveRefusedClass, Class::Permanent, "0122H"))),
        (409, failed(&instance, 0x0124), Err((FailureCode::ArchiveNotAuthorised, Class::Transient, "0124H"))),
        (409, other.clone(), Err((FailureCode::ArchiveRefusedObject, Class::Permanent, "HTTP 409"))),
        (400, String::new(), Err((FailureCode::ArchiveRefusedObject, Class::Permanent, "HTTP 400"))),
        (401, String::new(), Err((FailureCode::ArchiveRejected, Class::Transient, "bearer_file"))),
        (403, String::new(), Err((FailureCode::ArchiveNotAuthorised, Class::Transient, "HTTP 403"))),
        (404, html.clone(), Err((FailureCode::ArchiveRejected, Class::Transient, "correct url"))),
        (302, String::new(), Err((FailureCode::ArchiveRejected, Class::Transient, "a redirect is never followed"))),
        (413, String::new(), Err((FailureCode::ArchiveRefusedObject, Class::Permanent, "too large"))),
        (415, String::new(), Err((FailureCode::ArchiveRefusedClass, Class::Permanent, "enable it there"))),
        (500, html.clone(), Err((FailureCode::ArchiveProcessing, Class::Transient, "HTTP 500"))),
        (502, html, Err((FailureCode::ArchiveAborted, Class::Ambiguous, "HTTP 502"))),
        (503, String::new(), Err((FailureCode::ArchiveBusy, Class::Transient, "busy"))),
    ];
    let web = Web::start(table.iter().map(|(status, body, _)| Do::Answer(*status, "", body.clone())).collect());
    let to = Stow::new(options(&web.url()));
    for (status, body, then) in &table {
        match (store(&to, &instance, &payload), then) {
            (Ok(Stored { warning }), Ok(want)) => {
                assert_eq!(warning.is_some(), want.is_some(), "{status} {body}");
                assert!(warning.unwrap_or_default().contains(want.unwrap_or_default()), "{status}");
            }
            (Err(refused), Err((code, class, says))) => {
                assert_eq!((refused.code, refused.code.class()), (*code, *class), "{status} {body}: {}", refused.detail);
                assert!(refused.detail.contains(says), "{status}: {}", refused.detail);
            }
            (got, _) => panic!("{status} {body}: {got:?}"),
        }
    }
    drop(to);
    web.finish();
}

#[test]
fn an_answer_that_names_nobody_is_asked_about_once() {
    let (instance, payload) = small(3);
    let silent = || Do::Answer(200, "", "{}".to_owned());
    let duplicate = || Do::Answer(409, "", failed(&instance, 0x0111));
    let table = [
        (silent(), Do::Answer(200, "", found(&instance)), Ok(None)),
        (silent(), Do::Answer(204, "", String::new()), Err(FailureCode::ArchiveProcessing)),
        (silent(), Do::Answer(200, "", "[]".to_owned()), Err(FailureCode::ArchiveProcessing)),
        (silent(), Do::Answer(404, "", String::new()), Ok(Some("its word is taken"))),
        (silent(), Do::Answer(500, "", String::new()), Err(FailureCode::ArchiveAborted)),
        (duplicate(), Do::Answer(200, "", found(&instance)), Ok(Some("has this instance already"))),
        (duplicate(), Do::Answer(204, "", String::new()), Err(FailureCode::ArchiveProcessing)),
    ];
    let web = Web::start(table.iter().flat_map(|(one, two, _)| [one.clone(), two.clone()]).collect());
    let to = Stow::new(options(&web.url()));
    for (number, (.., then)) in table.iter().enumerate() {
        match (store(&to, &instance, &payload), then) {
            (Ok(Stored { warning }), Ok(want)) => {
                assert!(warning.unwrap_or_default().contains(want.unwrap_or_default()), "{number}");
            }
            (Err(refused), Err(code)) => assert_eq!(refused.code, *code, "{number}: {}", refused.detail),
            (got, _) => panic!("{number}: {got:?}"),
        }
    }
    drop(to);
    let query = format!("GET /dicom-web/instances?SOPInstanceUID={} HTTP/1.1\r\n", instance.sop_instance);
    assert!(web.finish().iter().skip(1).step_by(2).all(|asked| asked.head.starts_with(&query)));
}

#[test]
fn an_archive_that_asks_for_rest_is_left_alone() {
    let (instance, payload) = small(4);
    let web = Web::start(vec![Do::AnswerAndClose(503, "Retry-After: 3000\r\n", String::new())]);
    let to = Stow::new(options(&web.url()));
    assert_eq!(store(&to, &instance, &payload).unwrap_err().code, FailureCode::ArchiveBusy);
    assert_eq!(web.finish().len(), 1);
    // Nobody listens any more, and nobody is asked.
    let refused = store(&to, &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveBusy);
    assert!(
        refused.detail.contains("asked for rest (Retry-After), 3000 s are left") || refused.detail.contains("2999 s"),
        "{}",
        refused.detail
    );
}

#[test]
fn an_archive_that_wants_the_length_is_told_it() {
    let (instance, payload) = small(5);
    let web = Web::start(vec![Do::Answer(411, "", String::new()), Do::Answer(200, "", stored(&instance))]);
    let to = Stow::new(options(&web.url()));
    assert_eq!(store(&to, &instance, &payload).unwrap_err().code.class(), Class::Transient);
    assert_eq!(store(&to, &instance, &payload), Ok(Stored { warning: None }));
    drop(to);
    let asked = web.finish();
    assert!(
        asked[1].head.contains("Content-Length: ") && asked[1].is_complete && asked[1].body == replaced(&asked[0], &asked[1])
    );
}

/// The body of the first with the boundary of the second.
fn replaced(first: &Asked, second: &Asked) -> Vec<u8> {
    let boundary = |a: &Asked| a.head.split("boundary=").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    let (old, new) = (boundary(first), boundary(second));
    let mut body = first.body.clone();
    for at in 0..body.len() - old.len() {
        if body[at..].starts_with(old.as_bytes()) {
            body[at..at + old.len()].copy_from_slice(new.as_bytes());
        }
    }
    body
}

#[test]
fn an_early_no_is_heard_and_the_rest_is_not_sent() {
    let payload = jpeg(4_000, 3_000, 3);
    let instance = photograph(6, &payload, 4_000, 3_000);
    for (status, code) in [(401, FailureCode::ArchiveRejected), (413, FailureCode::ArchiveRefusedObject)] {
        let web = Web::start(vec![Do::Refuse(status)]);
        let refused = store(&Stow::new(options(&web.url())), &instance, &payload).unwrap_err();
        assert_eq!(refused.code, code, "{}", refused.detail);
        web.finish();
    }
}

#[test]
fn an_archive_that_goes_after_the_object_leaves_doubt_and_before_it_none() {
    let payload = jpeg(2_000, 1_500, 3);
    let instance = photograph(7, &payload, 2_000, 1_500);
    for (then, code) in [(Do::CloseAfterIt, FailureCode::ArchiveAborted), (Do::CloseAtOnce, FailureCode::ArchiveUnreachable)] {
        let web = Web::start(vec![then.clone()]);
        let refused = store(&Stow::new(options(&web.url())), &instance, &payload).unwrap_err();
        assert_eq!(refused.code, code, "{then:?}: {}", refused.detail);
        web.finish();
    }
}

#[test]
fn a_picture_that_cannot_be_read_to_its_end_never_becomes_an_object() {
    let payload = jpeg(1_200, 900, 3);
    let instance = photograph(8, &payload, 1_200, 900);
    let web = Web::start(vec![Do::CloseAfterIt]);
    let refused = store(&Stow::new(options(&web.url())), &instance, &payload[..payload.len() - 1]).unwrap_err();
    assert_eq!(refused.code, FailureCode::SpoolUnreadable);
    assert!(!web.finish()[0].is_complete);
}

#[test]
fn a_token_that_cannot_be_read_sends_nothing() {
    let (dir, (instance, payload)) = (TempDir::new("stow-token"), small(9));
    let file = dir.path().join("token");
    let to = Stow::new(Options { bearer_file: Some(file.clone()), ..options("http://127.0.0.1:1/x") });
    for content in [None, Some(""), Some("two words")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let refused = store(&to, &instance, &payload).unwrap_err();
        assert!(refused.detail.starts_with("bearer_file of this [[archive]]"), "{}", refused.detail);
    }
}

#[test]
fn commitment_is_what_a_query_finds() {
    let ((one, _), (two, _)) = (small(10), small(11));
    let sop = |i: &Instance| SopRef { sop_class: i.sop_class.clone(), sop_instance: i.sop_instance.clone() };
    let web = Web::start(vec![
        Do::Answer(200, "", found(&one)),
        Do::Answer(204, "", String::new()),
        Do::Answer(405, "", String::new()),
    ]);
    let to = Stow::new(options(&web.url()));
    let transaction = Uid::parse("2.25.7").unwrap();
    let report = Report { transaction: transaction.clone(), committed: vec![sop(&one)], failed: vec![(sop(&two), 0x0112)] };
    assert_eq!(to.ask_commitment(&transaction, &[sop(&one), sop(&two)]), Ok(Commitments::Answered(vec![report])));
    assert_eq!(to.ask_commitment(&transaction, &[sop(&one)]).unwrap_err().code, FailureCode::ArchiveRefusedClass);
    drop(to);
    web.finish();
}

#[test]
fn a_query_that_fails_does_not_keep_the_answers_about_the_others() {
    let ((one, _), (two, _), (three, _)) = (small(10), small(11), small(12));
    let sop = |i: &Instance| SopRef { sop_class: i.sop_class.clone(), sop_instance: i.sop_instance.clone() };
    let wanted = [sop(&one), sop(&two), sop(&three)];
    let web = Web::start(vec![
        Do::Answer(200, "", found(&one)),
        Do::Answer(500, "", String::new()),
        Do::Answer(204, "", String::new()),
        // An archive that is busy is left alone, whatever it said before.
        Do::Answer(200, "", found(&one)),
        Do::Answer(503, "Retry-After: 1\r\n", String::new()),
        Do::Answer(500, "", String::new()),
        Do::Answer(500, "", String::new()),
    ]);
    let to = Stow::new(options(&web.url()));
    let transaction = Uid::parse("2.25.7").unwrap();
    let report = |failed: &[&SopRef]| Report {
        transaction: transaction.clone(),
        committed: vec![wanted[0].clone()],
        failed: failed.iter().map(|sop| ((*sop).clone(), 0x0112)).collect(),
    };
    let answered = |report| Ok(Commitments::Answered(vec![report]));
    assert_eq!(to.ask_commitment(&transaction, &wanted), answered(report(&[&wanted[2]])));
    assert_eq!(to.ask_commitment(&transaction, &wanted), answered(report(&[])));
    assert_eq!(to.ask_commitment(&transaction, &wanted[..2]).unwrap_err().code, FailureCode::ArchiveProcessing);
    drop(to);
    web.finish();
}

#[test]
fn orthanc_takes_the_object_over_plain_http() {
    let dir = TempDir::new("orthanc-stow");
    let Some((orthanc, _)) = orthanc(dir.path(), "") else { return };
    let to = Stow::new(options(&format!("http://{}/dicom-web", orthanc.address)));
    let findings = to.examine(Commitment::Required, &[]);
    assert!(findings.iter().all(|f| f.grade == Grade::Pass), "{findings:?}");
    let payload = jpeg(1_200, 900, 3);
    let instance = photograph(12, &payload, 1_200, 900);
    let sop = SopRef { sop_class: instance.sop_class.clone(), sop_instance: instance.sop_instance.clone() };
    let transaction = Uid::parse("2.25.8").unwrap();
    let report = |kept: bool| {
        let (committed, failed) = if kept { (vec![sop.clone()], vec![]) } else { (vec![], vec![(sop.clone(), 0x0112)]) };
        Ok(Commitments::Answered(vec![Report { transaction: transaction.clone(), committed, failed }]))
    };
    assert_eq!(to.ask_commitment(&transaction, std::slice::from_ref(&sop)), report(false));
    for _ in 0..2 {
        assert_eq!(store(&to, &instance, &payload), Ok(Stored { warning: None }));
    }
    assert_eq!(to.ask_commitment(&transaction, std::slice::from_ref(&sop)), report(true));
}

/// A service that lets in whoever has a certificate of `ca`, for so many connections of one request.
fn mutual(
    server: &Leaf,
    ca: &std::path::Path,
    answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    connections: usize,
) -> (SocketAddr, JoinHandle<()>) {
    let config = tls::server(&server.cert, &server.key, Some(ca)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, listener.accept().unwrap().0);
            let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
            let is_whole = |all: &[u8]| all.ends_with(if all.starts_with(b"GET ") { &b"\r\n\r\n"[..] } else { b"\r\n0\r\n\r\n" });
            while !is_whole(&all) {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => all.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            if !all.is_empty() {
                let _ = stream.write_all(&answer(&all));
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
            // What was not read would turn the farewell into a reset.
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
        }
    });
    (address, thread)
}

#[test]
fn a_service_that_knows_us_by_certificate_receives_the_object() {
    let dir = TempDir::new("stow-mutual");
    let (hospital, stranger) = (Authority::new(dir.path(), "hospital"), Authority::new(dir.path(), "stranger"));
    let (server, us) = (hospital.leaf("server", &["127.0.0.1"]), hospital.leaf("us", &["gateway"]));
    let (instance, payload) = small(14);
    let answer = stored(&instance);
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
    let (address, thread) = mutual(&server, &hospital.ca, move |_| answer.clone().into_bytes(), 3);
    let none = "does not accept the certificate of this gateway, or wants one";
    for (files, says) in [
        (hospital.files(Some(&us)), None),
        (hospital.files(None), Some(none)),
        (stranger.files(None), Some("signed by nobody in tls_ca")),
    ] {
        let tls = tls::client(&files, &[b"http/1.1"]).unwrap();
        let to = Stow::new(Options { tls: Some(tls), ..options(&format!("https://{address}")) });
        match (store(&to, &instance, &payload), says) {
            (Ok(Stored { warning: None }), None) => {}
            (Err(refused), Some(says)) => assert!(refused.detail.contains(says), "{}", refused.detail),
            (got, _) => panic!("{says:?}: {got:?}"),
        }
    }
    thread.join().unwrap();
}

/// Orthanc with a door before it, as hospitals have one: the door wants a certificate, and Orthanc this
/// token.
fn behind_a_door(dir: &std::path::Path, server: &Leaf, ca: &std::path::Path, token: &str) -> Option<(Other, SocketAddr)> {
    let script = dir.join("door.lua");
    let lua = "function IncomingHttpRequestFilter(method, uri, ip, username, headers)\nreturn headers['authorization'] == ";
    std::fs::write(&script, format!("{lua}'Bearer {token}'\nend\n")).unwrap();
    let (orthanc, _) = orthanc(dir, &format!(r#","LuaScripts":["{}"]"#, script.display()))?;
    let behind = orthanc.address;
    let ask = move |request: &[u8]| {
        let closing = |message: &[u8]| {
            let (line, rest) = message.split_at(memchr::memchr(b'\n', message).unwrap() + 1);
            [line, b"Connection: close\r\n", rest].concat()
        };
        let mut socket = std::net::TcpStream::connect(behind).unwrap();
        socket.write_all(&closing(request)).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        closing(&answer)
    };
    let (address, _) = mutual(server, ca, ask, usize::MAX);
    Some((orthanc, address))
}

#[test]
fn orthanc_behind_tls_takes_the_object_from_who_has_certificate_and_token() {
    let dir = TempDir::new("orthanc-https");
    let (hospital, stranger) = (Authority::new(dir.path(), "hospital"), Authority::new(dir.path(), "stranger"));
    let server = hospital.leaf("server", &["127.0.0.1"]);
    let (us, them) = (hospital.leaf("us", &["gateway"]), stranger.leaf("them", &["gateway"]));
    let Some((_orthanc, door)) = behind_a_door(dir.path(), &server, &hospital.ca, "new.one") else { return };
    let token = dir.path().join("token");
    let to = |files| {
        let tls = Some(tls::client(&files, &[b"http/1.1"]).unwrap());
        Stow::new(Options { tls, bearer_file: Some(token.clone()), ..options(&format!("https://{door}/dicom-web")) })
    };
    let (instance, payload) = small(15);
    let known = to(hospital.files(Some(&us)));
    std::fs::write(&token, "old.one").unwrap();
    let refused = store(&known, &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveNotAuthorised, "{}", refused.detail);
    // Somebody renews it, and nobody starts anything anew.
    std::fs::write(&token, "new.one").unwrap();
    assert_eq!(store(&known, &instance, &payload), Ok(Stored { warning: None }));
    let sop = SopRef { sop_class: instance.sop_class.clone(), sop_instance: instance.sop_instance.clone() };
    let transaction = Uid::parse("2.25.8").unwrap();
    let report = Report { transaction: transaction.clone(), committed: vec![sop.clone()], failed: vec![] };
    assert_eq!(known.ask_commitment(&transaction, &[sop]), Ok(Commitments::Answered(vec![report])));
    for identity in [None, Some(&them)] {
        let refused = store(&to(hospital.files(identity)), &instance, &payload).unwrap_err();
        let says = "does not accept the certificate of this gateway, or wants one";
        assert!(refused.detail.contains(says), "{}", refused.detail);
    }
}
