//! A web service that answers as it is told, and Orthanc as a real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

use super::Other;

/// What it does with one request.
#[derive(Clone, Debug)]
pub enum Do {
    /// Reads it all and answers: status, further fields, body.
    Answer(u16, &'static str, String),
    /// As `Answer`, and closes.
    AnswerAndClose(u16, &'static str, String),
    /// Reads the head, answers at once, and reads no more.
    Refuse(u16),
    /// Reads it all and closes without a word.
    CloseAfterIt,
    /// Reads the head and closes.
    CloseAtOnce,
}

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Request line and fields.
    pub head: String,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
    pub is_complete: bool,
    /// Of which connection, from 0.
    pub connection: usize,
}

pub struct Web {
    pub address: SocketAddr,
    thread: JoinHandle<Vec<Asked>>,
}

impl Web {
    /// Follows the script over as many connections as it takes.
    pub fn start(script: Vec<Do>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut script, mut asked, mut connection) = (script.into_iter().peekable(), Vec::new(), 0);
            while script.peek().is_some() {
                let socket = listener.accept().unwrap().0;
                socket.set_nodelay(true).unwrap();
                let mut reader = BufReader::new(socket);
                while let Some(then) = script.peek().cloned() {
                    let Some(request) = read_request(&mut reader, &then, connection) else { break };
                    asked.push(request);
                    script.next();
                    if !answer(reader.get_mut(), &then) {
                        break;
                    }
                }
                connection += 1;
            }
            asked
        });
        Self { address, thread }
    }

    pub fn url(&self) -> String {
        format!("http://{}/dicom-web", self.address)
    }

    /// Every request, once the script is over.
    pub fn finish(self) -> Vec<Asked> {
        self.thread.join().unwrap()
    }
}

fn answer(socket: &mut TcpStream, then: &Do) -> bool {
    let (status, fields, body, stays) = match then {
        Do::Answer(status, fields, body) => (*status, *fields, body.as_str(), true),
        Do::AnswerAndClose(status, fields, body) => (*status, *fields, body.as_str(), false),
        Do::Refuse(status) => (*status, "", "", false),
        Do::CloseAfterIt | Do::CloseAtOnce => return false,
    };
    let close = if stays { "" } else { "Connection: close\r\n" };
    let text = format!("HTTP/1.1 {status} Said\r\n{fields}{close}Content-Length: {}\r\n\r\n{body}", body.len());
    let _ = socket.write_all(text.as_bytes());
    if !stays {
        // What was not read would turn the farewell into a reset, and the answer be lost.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut (&*socket).take(64 << 20), &mut std::io::sink());
    }
    stays
}

fn read_request(reader: &mut BufReader<TcpStream>, then: &Do, connection: usize) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut asked = Asked { head, connection, ..Asked::default() };
    if matches!(then, Do::Refuse(_) | Do::CloseAtOnce) {
        return Some(asked);
    }
    let fields = asked.head.to_ascii_lowercase();
    if let Some((_, rest)) = fields.split_once("content-length: ") {
        let length: u64 = rest.split("\r\n").next()?.parse().ok()?;
        asked.is_complete = reader.take(length).read_to_end(&mut asked.body).ok()? as u64 == length;
    } else if fields.contains("transfer-encoding: chunked") {
        asked.is_complete = read_chunks(reader, &mut asked.body).is_some();
    }
    Some(asked)
}

fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim(), 16).ok()?;
        if reader.take(length).read_to_end(body).ok()? as u64 != length {
            return None;
        }
        let mut end = [0; 2];
        reader.read_exact(&mut end).ok()?;
        if length == 0 {
            return Some(());
        }
    }
}

/// Orthanc with its web service; `more` are further members of its configuration, with a comma
/// before each. `None`, with a word about it, where it or its plugin is not installed.
pub fn orthanc(dir: &Path, more: &str) -> Option<(Other, u16)> {
    const PLUGIN: &str = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";
    if !Path::new(PLUGIN).exists() {
        eprintln!("skipped: Orthanc's DICOMweb is not installed");
        return None;
    }
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (http, dicom) = (port(), port());
    let text = format!(
        r#"{{"Name":"test","StorageDirectory":"{0}/store","IndexDirectory":"{0}/store","HttpPort":{http},"DicomPort":{dicom},
        "DicomAet":"PACS","RemoteAccessAllowed":true,"AuthenticationEnabled":false,"DicomAlwaysAllowStore":true,
        "Plugins":["{PLUGIN}"],"DicomWeb":{{"Enable":true,"Root":"/dicom-web/"}}{more}}}"#,
        dir.display()
    );
    let file = dir.join("orthanc.json");
    std::fs::write(&file, text).unwrap();
    let orthanc = Other::start("Orthanc", &[file.to_str().unwrap()], http)?;
    Some((orthanc, dicom))
}
