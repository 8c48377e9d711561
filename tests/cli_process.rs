//! `demo` and `serve` as whole processes: what a person, a supervisor and a phone see of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A process that is ended with the test, however it ends.
struct Process(Child);

impl Process {
    fn start(args: &[&str], out: Stdio, err: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shutterbridge"));
        Self(command.args(args).stdout(out).stderr(err).spawn().expect("starts"))
    }

    /// Sends a signal and waits for the end. The exit code.
    fn end(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args(["-s", signal, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        self.0.wait().expect("ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request over TLS, trusting that CA alone; the whole answer.
fn ask(address: &str, ca: &Path, request: &[u8]) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the dev CA")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let client = ClientConnection::new(config, ServerName::try_from("127.0.0.1").unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address).expect("the door is open"));
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // The server may close without a TLS farewell once the answer is out.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// What the `curl` line would send.
fn as_curl_does(curl: &str) -> (String, PathBuf, Vec<u8>) {
    let between = |from: &str, to: &str| curl.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("in the line").0;
    let (token, claim) = (between("Authorization: Bearer ", "\""), between("claim=", ";type="));
    let address = between(" https://", "/").to_owned();
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"claim\"\r\nContent-Type: application/json\r\n\r\n{claim}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"sample.jpg\"\r\n\r\n"
    )
    .into_bytes();
    body.extend(fs::read(between("file=@", " ")).expect("the sample photo"));
    body.extend(b"\r\n--b--\r\n");
    let head = format!(
        "POST /api/v1/captures HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (address, between("--cacert ", " ").into(), [head.into_bytes(), body].concat())
}

#[test]
fn the_demo_files_the_photo_of_its_curl_line_and_leaves_nothing_behind() {
    let mut demo = Process::start(&["demo"], Stdio::piped(), Stdio::inherit());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.by_ref().take_while(|line| line != "ready").collect();
    let curl = said.iter().find(|line| line.starts_with("curl ")).expect("a curl line");
    let (address, ca, request) = as_curl_does(curl);
    let answer = ask(&address, &ca, &request);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.contains("\"location_found\":true"), "{answer}");
    let arrived = lines.find_map(|line| line.strip_prefix("archive received ").map(PathBuf::from)).expect("an object");
    let object = fs::read(&arrived).unwrap();
    assert_eq!(&object[128..132], b"DICM");
    assert!(object.windows(9).any(|w| w == "Müller^J".as_bytes()) && !object.windows(4).any(|w| w == b"Exif"));
    let folder = ca.ancestors().nth(3).unwrap().to_owned();
    assert!(folder.is_dir());
    assert_eq!(demo.end("INT"), Some(0));
    assert!(!folder.exists(), "{}", folder.display());
}

#[test]
fn serve_says_when_every_door_is_open_and_ends_with_0_on_sigterm() {
    let folder = std::env::temp_dir().join(format!("shutterbridge-serve-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let config = folder.join("gw.toml");
    fs::write(
        &config,
        "[server]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\n[hl7]\nlisten = \"127.0.0.1:0\"\n[limits]\nspool_free_min = \"0%\"\n",
    )
    .unwrap();
    let mut serve = Process::start(&["serve", "--config", config.to_str().unwrap()], Stdio::null(), Stdio::piped());
    let mut lines = BufReader::new(serve.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ready = lines.find(|line| line.starts_with("ready ")).expect("ready");
    let doors: Vec<(&str, &str)> = ready.split(' ').skip(1).map(|door| door.split_once('=').expect("name=address")).collect();
    assert_eq!(doors.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["https", "mllp", "ops"]);
    let health =
        ask(doors[0].1, &folder.join("data/dev-ca/ca.pem"), b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(TcpStream::connect(doors[1].1).is_ok() && TcpStream::connect(doors[2].1).is_ok());
    assert_eq!(serve.end("TERM"), Some(0));
    // A second start takes the same key and certificate.
    let ca = fs::read(folder.join("data/dev-ca/ca.pem")).unwrap();
    let mut again = Process::start(&["serve", "--config", config.to_str().unwrap()], Stdio::null(), Stdio::piped());
    let mut lines = BufReader::new(again.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("ready ")));
    assert_eq!(fs::read(folder.join("data/dev-ca/ca.pem")).unwrap(), ca);
    assert_eq!(again.end("TERM"), Some(0));
    fs::remove_dir_all(&folder).unwrap();
}
