//! The desk over HTTPS and from a shell, and the stream of a capture's events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod http_support;
mod support;

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use http_support::{Gateway, good_body};
use serde_json::{Value, json};
use shutterbridge::capture::Stage;
use shutterbridge::http::Limits;
use shutterbridge::identity::Scope;
use shutterbridge::pipeline::{Act, Reason, Refusal, RefusalCode};
use support::phone::Phone;
use support::{hospital, photo};

fn post(token: &str, path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One capture of the nurse's; its address.
fn file_one(gateway: &Gateway) -> String {
    let receipt = gateway.upload(&gateway.writer(), "", &good_body());
    assert_eq!(receipt.status, 201, "{}", receipt.text());
    receipt.header("location").unwrap().to_owned()
}

fn reached(gateway: &Gateway, stage: Stage, why: Option<&str>) {
    gateway.fake.change(|record| {
        let at = record.acceptance.accepted_at;
        record.move_item(0, stage, at, why.map(str::to_owned)).unwrap();
        record.items[0].schedule.due = None;
    });
}

#[test]
fn a_decision_reaches_the_desk_with_its_reason_and_the_capture_comes_back() {
    let gateway = Gateway::start();
    let capture = file_one(&gateway);
    let token = gateway.token_of("boss", &[Scope::QueueOperate, Scope::CaptureRead]);
    let reason = r#"{"reason": "Wrong bed"}"#;
    let patient = r#"{"reason": "Wrong bed", "patient": {"id": "815", "issuer": "HOSP"}}"#;
    for (act, body) in [("retry", reason), ("hold", reason), ("discard", reason), ("assign", patient)] {
        let answer = gateway.ask(post(&token, &format!("{capture}/{act}"), body));
        assert_eq!(answer.status, 200, "{act}: {}", answer.text());
        assert!(capture.ends_with(answer.json()["id"].as_str().unwrap()));
        let (_, done, why) = gateway.fake.decisions.lock().unwrap().pop().unwrap();
        assert_eq!((done.word(), why), (act, Reason::parse("Wrong bed").unwrap()));
        if let Act::Assign(key) = done {
            assert_eq!((key.id, key.issuer.as_deref()), ("815".into(), Some("HOSP")));
        }
    }
}

#[test]
fn a_decision_without_scope_reason_or_capture_is_refused_and_never_made() {
    let gateway = Gateway::start();
    let capture = file_one(&gateway);
    let desk = gateway.token_of("boss", &[Scope::QueueOperate, Scope::CaptureRead]);
    let stranger = gateway.token_of("boss", &[Scope::QueueOperate]);
    let nurse = gateway.token(&[Scope::CaptureWrite, Scope::CaptureRead]);
    let good = r#"{"reason": "x"}"#.to_owned();
    let absent = "/api/v1/captures/01J00000000000000000000000";
    let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(501));
    for (token, path, body, status, code) in [
        (&nurse, format!("{capture}/hold"), &good, 403, "forbidden"),
        (&stranger, format!("{capture}/hold"), &good, 404, "not-found"),
        (&stranger, format!("{absent}/hold"), &good, 404, "not-found"),
        (&desk, "/api/v1/captures/1/hold".to_owned(), &good, 404, "not-found"),
        (&desk, format!("{capture}/hold"), &String::new(), 400, "malformed"),
        (&desk, format!("{capture}/hold"), &"{}".to_owned(), 400, "malformed"),
        (&desk, format!("{capture}/hold"), &r#"{"reason": " "}"#.to_owned(), 400, "malformed"),
        (&desk, format!("{capture}/hold"), &r#"{"reason": "a\nb"}"#.to_owned(), 400, "malformed"),
        (&desk, format!("{capture}/hold"), &long, 400, "malformed"),
        (&desk, format!("{capture}/hold"), &r#"{"reason": "x", "force": true}"#.to_owned(), 400, "malformed"),
        (&desk, format!("{capture}/assign"), &good, 400, "malformed"),
    ] {
        let answer = gateway.ask(post(token, &path, body));
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{path} {body}");
    }
    let foreign = gateway.ask(post(&stranger, &format!("{capture}/hold"), &good)).json();
    let missing = gateway.ask(post(&stranger, &format!("{absent}/hold"), &good)).json();
    assert_eq!(foreign["detail"], missing["detail"]);
    let other = gateway.get(&desk, &format!("{capture}/hold"));
    assert_eq!((other.status, other.header("allow")), (405, Some("POST")));
    assert!(gateway.fake.decisions.lock().unwrap().is_empty());
}

#[test]
fn a_conflict_says_whether_waiting_helps() {
    let gateway = Gateway::start();
    let capture = file_one(&gateway);
    let desk = gateway.token_of("boss", &[Scope::QueueOperate, Scope::CaptureRead]);
    for (lasts, retry_after) in [(false, true), (true, false)] {
        gateway.fake.refuse_next(Refusal { lasts, ..Refusal::new(RefusalCode::Conflict, "As told.") });
        let answer = gateway.ask(post(&desk, &format!("{capture}/retry"), r#"{"reason": "x"}"#));
        assert_eq!((answer.status, answer.problem().as_str()), (409, "conflict"));
        assert_eq!(answer.json()["retryable"], !lasts);
        assert_eq!(answer.header("retry-after").is_some(), retry_after);
    }
}

/// A stream as it comes in: its head, then what was read so far.
struct Stream {
    client: http_support::Client,
    text: String,
}

impl Stream {
    fn open(gateway: &Gateway, token: &str, capture: &str, headers: &str) -> Self {
        let mut client = gateway.connect();
        client
            .send(format!("GET {capture}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"));
        Self { client, text: String::new() }
    }

    /// Reads until `wanted` came, or to the end.
    fn until(&mut self, wanted: &str) -> &str {
        let mut buffer = [0; 4096];
        while !self.text.contains(wanted) {
            match self.client.stream.read(&mut buffer) {
                Ok(n) if n > 0 => self.text.push_str(&String::from_utf8_lossy(&buffer[..n])),
                _ => panic!("the stream ended without {wanted:?}: {}", self.text),
            }
        }
        &self.text
    }
}

/// The last chunk (RFC 9112 §7.1).
const END: &str = "\r\n0\r\n\r\n";

#[test]
fn each_change_of_stage_is_told_once_and_the_end_ends_the_stream() {
    let gateway = Gateway::start();
    let capture = file_one(&gateway);
    let mut stream = Stream::open(&gateway, &gateway.writer(), &capture, "");
    let head = stream.until("\"stage\":\"accepted\"");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store\r\n"), "{head}");
    assert!(head.contains("id: 0\nevent: stage\ndata: {"), "{head}");
    reached(&gateway, Stage::Held, Some("patient-unknown"));
    let text = stream.until("\"why\":\"patient-unknown\"");
    assert!(text.contains("id: 1\nevent: stage\ndata: {") && text.contains("\"stage\":\"held\""), "{text}");
    for stage in [Stage::Identified, Stage::Wrapped, Stage::Forwarded] {
        reached(&gateway, stage, None);
    }
    let text = stream.until(END);
    assert_eq!(text.matches("event: stage").count(), 5, "{text}");
    let item = format!("{}-0", capture.rsplit('/').next().unwrap());
    assert_eq!(text.matches(&item).count(), 5, "{text}");
    // Whoever comes back hears what it missed, and only that.
    let mut again = Stream::open(&gateway, &gateway.writer(), &capture, "Last-Event-ID: 3\r\n");
    let text = again.until(END);
    assert!(text.matches("event: stage").count() == 1 && text.contains("id: 4\n"), "{text}");
}

#[test]
fn a_stream_is_for_those_who_may_see_the_capture_and_streams_are_counted() {
    let gateway = Gateway::with(Limits { streams_max: 1, ..Limits::default() }, |_| None);
    let capture = file_one(&gateway);
    let path = format!("{capture}/events");
    let other = gateway.token_of("other", &[Scope::CaptureWrite]);
    assert_eq!(gateway.get(&other, &path).problem(), "not-found");
    assert_eq!(gateway.get(&gateway.token(&[Scope::PatientLookup]), &path).problem(), "forbidden");
    let token = gateway.writer();
    let mut client = gateway.connect();
    client.send(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"));
    assert_eq!(client.try_answer(false).unwrap().status, 200);
    let mut stream = Stream::open(&gateway, &token, &capture, "");
    stream.until("\"stage\":\"accepted\"");
    let busy = gateway.get(&token, &path);
    assert_eq!((busy.status, busy.problem().as_str()), (429, "busy"));
    // The token ends, and with it what was opened by it.
    gateway.clock.advance_ms(3_600_000);
    stream.until(END);
}

#[test]
fn an_open_stream_does_not_keep_the_gateway_from_stopping() {
    let mut gateway = Gateway::start();
    let capture = file_one(&gateway);
    let mut stream = Stream::open(&gateway, &gateway.writer(), &capture, "");
    stream.until("\"stage\":\"accepted\"");
    let begun = std::time::Instant::now();
    gateway.server.take().unwrap().stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for the listener");
}

/// `shutterbridge queue` as a person calls it.
struct Shell<'g> {
    gateway: &'g support::gateway::Gateway,
}

impl Shell<'_> {
    fn run(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let folder = self.gateway.folder.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_shutterbridge"));
        command.arg("queue").args(args).args(["--to", &format!("https://{}", self.gateway.https)]);
        command.args(["--token-file", "token", "--ca", "data/dev-ca/ca.pem"]).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.run(&[args, &["--json"]].concat(), "");
        assert_eq!(code, 0, "{args:?}: {err}");
        serde_json::from_str(&out).unwrap()
    }
}

#[test]
fn the_desk_works_from_a_shell_against_a_running_gateway() {
    // Nobody listens at the archive's port: what is identified waits.
    let gateway = support::gateway::Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), 1, "");
    let token = gateway.issuer.token(&json!({}));
    std::fs::write(gateway.folder.path().join("token"), format!("{token}\n")).unwrap();
    let claim = json!({"patient": {"id": "4712", "issuer": "HOSP"}, "department": "derm"});
    let mut phone = Phone::connect(gateway.https, &token);
    let mut picture = photo::Photo::draw(64, 48);
    let mut held = |number: u64| {
        let receipt = phone.upload(&number.to_string(), &claim, &[picture.numbered(number)]);
        assert_eq!(receipt.status, 201, "{}", String::from_utf8_lossy(&receipt.body));
        receipt.json()["id"].as_str().unwrap().to_owned()
    };
    let (id, other) = (held(1), held(2));
    let shell = Shell { gateway: &gateway };
    support::wait_until(Duration::from_secs(20), "both are held", || {
        (shell.json(&["ls", "--stage", "held"])["items"].as_array().unwrap().len() == 2).then_some(())
    });
    let (code, out, err) = shell.run(&["ls"], "");
    assert_eq!((code, out.lines().count(), out.matches("patient-unknown").count()), (0, 2, 2), "{out}{err}");
    assert!(out.contains(&id) && out.contains(&other));

    assert_eq!(shell.json(&["hold", &id, "--reason", "wrong ward"])["items"][0]["failure"]["code"], "held-by-person");
    let (code, out, _) = shell.run(&["show", &id], "");
    assert_eq!(code, 0);
    assert!(out.contains("by Rivera, Ana  held: wrong ward"), "{out}");

    // Nobody is guessed; then the hospital knows the patient.
    let assign = ["assign", &id, "--patient", "-", "--issuer", "HOSP", "--reason", "scanned again"];
    let (code, _, err) = shell.run(&assign, "ZQ4711\n");
    assert_eq!(code, 1);
    assert!(err.contains("(unknown-patient)") && !err.contains("ZQ4711"), "{err}");
    hospital::tell(gateway.mllp, &[hospital::admit("ZQ4711")]);
    let (code, out, err) = shell.run(&assign, "ZQ4711\n");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("identified") || out.contains("wrapped"), "{out}");

    let (code, _, err) = shell.run(&["retry", "01J00000000000000000000000", "--reason", "x"], "");
    assert!(code == 1 && err.contains("(not-found)"), "{err}");
    let discarded = shell.json(&["discard", &other, "--reason", "test picture"]);
    assert_eq!((&discarded["stage"], &discarded["history"][2]["by"]), (&json!("discarded"), &json!("Rivera, Ana")));
    let live = std::fs::read_dir(gateway.folder.path().join("data/spool/live")).unwrap();
    let names: Vec<String> = live.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|n| n.starts_with(&id)), "{names:?}");

    let audit = std::fs::read_to_string(gateway.folder.path().join("audit.log")).unwrap();
    for action in ["capture.hold", "capture.assign", "capture.discard", "capture.discard.asked"] {
        assert!(audit.contains(&format!("\"{action}\"")), "{action} is not in the audit trail");
    }
    for secret in ["wrong ward", "scanned again", "test picture", "ZQ4711"] {
        assert!(!audit.contains(secret), "{secret} is in the audit trail");
    }
}
