//! A real HTTPS door with a pipeline that only remembers, and clients that speak raw HTTP.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::Value;
use shutterbridge::capture::media::{Coding, Details, Orientation, PictureFormat};
use shutterbridge::capture::record::{Acceptance, ItemFacts};
use shutterbridge::capture::{CaptureId, Claim, Essence, Facts, MediaKind, Operator, Patient, Record, Stage, Uid};
use shutterbridge::clock::Clock;
use shutterbridge::http::codes::Department;
use shutterbridge::http::{AccessLine, Limits, Observer, Options, Pages, Server, Services};
use shutterbridge::identity::{DevIssuer, Permit, Scope, Verifier};
use shutterbridge::lookup::{Answer as LookupAnswer, Asked};
use shutterbridge::pipeline::{Acceptor, Act, Desk, Intake, Reason, Receipt, Refusal, RefusalCode};
use shutterbridge::seal::digest::sha256;

pub const ISSUER: &str = "https://dev.local";
pub const AUDIENCE: &str = "shutterbridge";
/// The fake pipeline's largest file.
pub const FILE_MAX_BYTES: usize = 64 << 20;

/// A pipeline that remembers what it was given.
#[derive(Default)]
pub struct Fake {
    inner: Arc<Mutex<Remembered>>,
    pub refuse_next: Arc<Mutex<Option<Refusal>>>,
    hears: Mutex<Option<Sender<&'static str>>>,
    pub decisions: Mutex<Vec<(CaptureId, Act, Reason)>>,
}

#[derive(Default)]
pub struct Remembered {
    pub filed: Vec<(Record, Vec<Vec<u8>>, Value)>,
    keys: HashMap<String, usize>,
    pub open: usize,
    pub dropped: usize,
}

struct Draft {
    inner: Arc<Mutex<Remembered>>,
    refuse: Arc<Mutex<Option<Refusal>>>,
    operator: Operator,
    claim: Claim,
    json: Value,
    key: Option<String>,
    files: Vec<Vec<u8>>,
    bell: Option<Sender<&'static str>>,
    done: bool,
}

impl Fake {
    pub fn filed(&self) -> Vec<(Record, Vec<Vec<u8>>, Value)> {
        self.inner.lock().unwrap().filed.clone()
    }

    pub fn open(&self) -> usize {
        self.inner.lock().unwrap().open
    }

    /// Rings at `begin`, `push` and `drop`, so that a test waits for what happens, not for time.
    pub fn listen(&self) -> Receiver<&'static str> {
        let (bell, rings) = channel();
        *self.hears.lock().unwrap() = Some(bell);
        rings
    }

    pub fn refuse_next(&self, refusal: Refusal) {
        *self.refuse_next.lock().unwrap() = Some(refusal);
    }

    pub fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.inner.lock().unwrap().filed.last_mut().unwrap().0);
    }
}

impl Acceptor for Fake {
    fn begin(&self, operator: &Operator, claim: &Value, key: Option<&str>) -> Result<Box<dyn Intake>, Refusal> {
        let json = claim.clone();
        let claim = Claim::from_json(claim).map_err(|errors| Refusal {
            errors,
            ..Refusal::new(RefusalCode::ClaimInvalid, "The claim is not valid; `errors` says where.")
        })?;
        self.inner.lock().unwrap().open += 1;
        let bell = self.hears.lock().unwrap().clone();
        if let Some(bell) = &bell {
            let _ = bell.send("begin");
        }
        Ok(Box::new(Draft {
            inner: Arc::clone(&self.inner),
            refuse: Arc::clone(&self.refuse_next),
            operator: operator.clone(),
            claim,
            json,
            key: key.map(str::to_owned),
            files: Vec::new(),
            bell,
            done: false,
        }))
    }
}

impl Intake for Draft {
    fn start_file(&mut self) -> Result<(), Refusal> {
        self.files.push(Vec::new());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if let Some(bell) = &self.bell {
            let _ = bell.send("push");
        }
        let part = u16::try_from(self.files.len()).unwrap();
        let file = self.files.last_mut().unwrap();
        if file.len() + bytes.len() > FILE_MAX_BYTES {
            return Err(Refusal {
                part: Some(part),
                limit_bytes: Some(FILE_MAX_BYTES as u64),
                ..Refusal::new(RefusalCode::TooLarge, "File 1 is larger than a photo may be.")
            });
        }
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), Refusal> {
        let part = u16::try_from(self.files.len()).unwrap();
        if self.files.last().unwrap().starts_with(b"GIF") {
            return Err(Refusal { part: Some(part), ..Refusal::new(RefusalCode::UnsupportedMedia, "File 1 is no photo.") });
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt, Refusal> {
        if let Some(refusal) = self.refuse.lock().unwrap().take() {
            return Err(refusal);
        }
        self.done = true;
        let mut inner = self.inner.lock().unwrap();
        inner.open -= 1;
        if let Some(index) = self.key.as_ref().and_then(|k| inner.keys.get(k)) {
            return Ok(Receipt { record: inner.filed[*index].0.clone(), replayed: true });
        }
        let id = CaptureId::new(1_800_000_000_000, [u8::try_from(inner.filed.len()).unwrap(); 10]);
        let record = record(id, &self.operator, &self.claim, &self.files);
        let index = inner.filed.len();
        if let Some(key) = &self.key {
            inner.keys.insert(key.clone(), index);
        }
        inner.filed.push((record.clone(), std::mem::take(&mut self.files), self.json.clone()));
        Ok(Receipt { record, replayed: false })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            if let Ok(mut inner) = self.inner.lock() {
                inner.open -= 1;
                inner.dropped += 1;
            }
            if let Some(bell) = &self.bell {
                let _ = bell.send("drop");
            }
        }
    }
}

pub fn record(id: CaptureId, operator: &Operator, claim: &Claim, files: &[Vec<u8>]) -> Record {
    let acceptance = Acceptance {
        id,
        accepted_at: Timestamp::from_second(1_800_000_000).unwrap(),
        operator: operator.clone(),
        idempotency: None,
        claim: claim.clone(),
        items: u16::try_from(files.len()).unwrap(),
    };
    let item = |file: &Vec<u8>| ItemFacts {
        media: MediaKind::Jpeg,
        size_bytes: file.len() as u64,
        sha256: sha256(file),
        sealed_bytes: file.len() as u64,
        sealed_sha256: None,
        sop_instance_uid: Uid::from_uuid_bytes([7; 16]),
        location_found: true,
        removed: vec!["exif.gps".to_owned(), "xmp".to_owned()],
        essence: Essence::Unchanged,
        verifier: 1,
        sealed_as_received: None,
        facts: Facts {
            format: PictureFormat { width: 4000, height: 3000, coding: Coding::JpegBaselineYcbcr },
            orientation: Orientation::UPRIGHT,
            taken_at: None,
            make: None,
            model: None,
            software: None,
            details: Details::default(),
            icc_profile: None,
        },
    };
    Record::accepted(acceptance, files.iter().map(item).collect())
}

impl Desk for Fake {
    fn capture(&self, permit: &Permit, id: CaptureId) -> Result<Record, Refusal> {
        let inner = self.inner.lock().unwrap();
        let found = inner.filed.iter().map(|(r, ..)| r).find(|r| r.id() == id);
        let mine = |r: &&Record| permit.may(Scope::CaptureRead) || &r.acceptance.operator == permit.operator();
        found
            .filter(mine)
            .cloned()
            .ok_or_else(|| Refusal::new(RefusalCode::NotFound, "There is no such capture, or not for you."))
    }

    fn captures(
        &self,
        permit: &Permit,
        stage: Option<Stage>,
        after: Option<CaptureId>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<CaptureId>), Refusal> {
        let inner = self.inner.lock().unwrap();
        let mine = |r: &&Record| permit.may(Scope::CaptureRead) || &r.acceptance.operator == permit.operator();
        let all = inner.filed.iter().map(|(r, ..)| r).filter(mine).filter(|r| after.is_none_or(|a| r.id() > a));
        let all: Vec<Record> = all.filter(|r| stage.is_none_or(|s| r.stage() == s)).cloned().collect();
        let next = (all.len() > limit).then(|| all[limit - 1].id());
        Ok((all.into_iter().take(limit).collect(), next))
    }

    fn decide(&self, permit: &Permit, id: CaptureId, act: Act, reason: Reason) -> Result<Record, Refusal> {
        let record = self.capture(permit, id)?;
        if let Some(refusal) = self.refuse_next.lock().unwrap().take() {
            return Err(refusal);
        }
        self.decisions.lock().unwrap().push((id, act, reason));
        Ok(record)
    }

    fn lookup(&self, _: &Permit, asked: &Asked) -> Result<LookupAnswer, Refusal> {
        match asked {
            Asked::Barcode(code) if code.expose() == "4711" => {
                let patient: Patient =
                    serde_json::from_str(r#"{"id":"4711","issuer":"HOSP","name":"Jörg Müller","birth_date":"1970-03-01"}"#)
                        .unwrap();
                Ok(LookupAnswer::Found(Box::new(patient)))
            }
            _ => Ok(LookupAnswer::None),
        }
    }
}

/// Keeps each line as the log would have it.
#[derive(Default)]
pub struct Log(pub Mutex<Vec<String>>);

impl Observer for Log {
    fn answered(&self, line: &AccessLine<'_>) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

pub struct Gateway {
    pub server: Option<Server>,
    pub addr: SocketAddr,
    pub fake: Arc<Fake>,
    pub log: Arc<Log>,
    pub issuer: DevIssuer,
    pub clock: Clock,
    pub verifier: Arc<Verifier>,
    client: Arc<ClientConfig>,
}

impl Gateway {
    pub fn start() -> Self {
        Self::with(Limits::default(), |_| None)
    }

    pub fn with(limits: Limits, pages: impl FnOnce(&Parts) -> Option<Arc<dyn Pages>>) -> Self {
        let issuer = DevIssuer::generate(AUDIENCE).unwrap();
        let parts = Parts {
            fake: Arc::new(Fake::default()),
            verifier: Arc::new(Verifier::open(vec![issuer.options(ISSUER)]).unwrap()),
            clock: Clock::set_by_hand(Timestamp::from_second(1_800_000_000).unwrap()),
        };
        let log = Arc::new(Log::default());
        let services = Services {
            acceptor: Arc::clone(&parts.fake) as Arc<dyn Acceptor>,
            desk: Arc::clone(&parts.fake) as Arc<dyn Desk>,
            verifier: Arc::clone(&parts.verifier),
            clock: parts.clock.clone(),
            observer: Arc::clone(&log) as Arc<dyn Observer>,
            departments: vec![Department { id: "derm".to_owned(), name: "Dermatology".to_owned(), kind: None }],
            pages: pages(&parts),
        };
        let (tls, client) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, Options { tls, limits }, Arc::new(services)).unwrap();
        let addr = server.local_addr();
        let Parts { fake, verifier, clock } = parts;
        Self { server: Some(server), addr, fake, log, issuer, clock, verifier, client }
    }

    pub fn token(&self, scopes: &[Scope]) -> String {
        self.token_of("nurse", scopes)
    }

    pub fn token_of(&self, subject: &str, scopes: &[Scope]) -> String {
        let operator = Operator { issuer: ISSUER.to_owned(), subject: subject.to_owned(), name: "N. Nurse".to_owned() };
        self.issuer.mint(&operator, scopes, self.clock.now(), 3600).unwrap()
    }

    pub fn writer(&self) -> String {
        self.token(&[Scope::CaptureWrite])
    }

    pub fn connect(&self) -> Client {
        let tcp = TcpStream::connect(self.addr).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        tcp.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        Client { stream: StreamOwned::new(connection, tcp), held: Vec::new() }
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"))
    }

    pub fn upload(&self, token: &str, headers: &str, body: &[u8]) -> Answer {
        self.ask(upload_request(token, headers, body))
    }
}

/// What pages may be made of.
pub struct Parts {
    pub fake: Arc<Fake>,
    pub verifier: Arc<Verifier>,
    pub clock: Clock,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.unwrap();
            }
        }
    }
}

fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(server), Arc::new(client))
}

pub struct Client {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    held: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that this is a whole problem document, and gives its `code`.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let document = self.json();
        for member in ["type", "code", "title", "status", "detail", "request_id", "retryable"] {
            assert!(document.get(member).is_some(), "no {member} in {document}");
        }
        assert_eq!(document["status"], self.status);
        assert_eq!(document["request_id"].as_str(), self.header("x-request-id"));
        document["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Reads until `Content-Length` is satisfied.
    pub fn answer(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    pub fn try_answer(&mut self, has_body: bool) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.held.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.held[..head_end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> =
            lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |l| l.parse().unwrap());
        let length = if has_body { length } else { 0 };
        while self.held.len() < head_end + length {
            self.read_more()?;
        }
        answer.body = self.held[head_end..head_end + length].to_vec();
        self.held.drain(..head_end + length);
        Some(answer)
    }

    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.held.extend_from_slice(&buffer[..n]);
                Some(())
            }
        }
    }

    /// True where the server ends the connection, with nothing more to say.
    pub fn ends(&mut self) -> bool {
        self.held.is_empty() && self.read_more().is_none()
    }
}

pub const CLAIM: &str = r#"{"patient":{"id":"4711"},"department":"derm"}"#;

pub fn part(name: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    labelled_part(&format!("Content-Disposition: form-data; name=\"{name}\""), body)
}

pub fn labelled_part(header: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [b"--XX\r\n", header.as_bytes(), b"\r\n\r\n", body.as_ref(), b"\r\n"].concat()
}

pub fn body(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"--XX--\r\n".to_vec()].concat()
}

pub fn good_body() -> Vec<u8> {
    body(&[part("claim", CLAIM), part("file", photo(200_000))])
}

pub fn photo(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

pub fn upload_head(token: &str, headers: &str, length: usize) -> String {
    format!(
        "POST /api/v1/captures HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
}

pub fn upload_request(token: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [upload_head(token, headers, body.len()).as_bytes(), body].concat()
}
