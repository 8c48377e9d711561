//! Archives that behave as they are told, and real ones in processes of their own.
#![allow(dead_code)] // each test binary uses a part

pub mod committer;
pub mod web;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use dicom_ul::ServerAssociationOptions;
use dicom_ul::association::server::ServerAssociation;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use shutterbridge::archive::AeTitle;
use shutterbridge::archive::dimse::{Dimse, Limits, Options};
use shutterbridge::archive::profile::Profile;

pub fn ae(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

pub fn options(address: &str) -> Options {
    Options {
        address: address.to_owned(),
        called_ae: ae("PACS"),
        calling_ae: ae("SHUTTERBRIDGE"),
        tls: None,
        profile: Profile::default(),
        limits: Limits::default(),
    }
}

pub fn dimse(address: SocketAddr) -> Dimse {
    Dimse::new(options(&address.to_string()))
}

/// A program that listens on a port of loopback, killed with its owner.
pub struct Other {
    child: Child,
    pub address: SocketAddr,
}

impl Other {
    /// Returns when it accepts connections. `None`, with a word about it, where it is not installed.
    pub fn start(program: &str, args: &[&str], port: u16) -> Option<Self> {
        let Ok(child) = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            eprintln!("skipped: {program} is not installed");
            return None;
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut this = Self { child, address };
        while TcpStream::connect(address).is_err() {
            assert!(this.child.try_wait().unwrap().is_none(), "{program} ended at once");
            std::thread::yield_now();
        }
        Some(this)
    }

    /// dcmtk's archive on a free port.
    pub fn storescp(dir: &Path, args: &[&str]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::storescp_at(port, dir, args)
    }

    pub fn storescp_at(port: u16, dir: &Path, args: &[&str]) -> Option<Self> {
        let (dir, at) = (dir.to_str().unwrap(), port.to_string());
        let args: Vec<&str> = ["-aet", "PACS", "-od", dir].iter().chain(args).copied().chain([at.as_str()]).collect();
        Self::start("storescp", &args, port)
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Classes, and the syntaxes of each.
pub type Takes = &'static [(&'static str, &'static [&'static str])];

/// A configuration of storescp (`-xf FILE ALL`) that takes these classes in these syntaxes, C-ECHO, and
/// nothing else.
pub fn listed(folder: &Path, takes: Takes) -> PathBuf {
    let (mut syntaxes, mut contexts) =
        (String::from("[[TransferSyntaxes]]\n"), String::from("[[PresentationContexts]]\n[ALL]\n"));
    let echo: (&str, &[&str]) = ("1.2.840.10008.1.1", &["1.2.840.10008.1.2"]);
    for (n, (class, of)) in takes.iter().chain([&echo]).enumerate() {
        writeln!(syntaxes, "[SET{n}]").unwrap();
        for (m, uid) in of.iter().enumerate() {
            writeln!(syntaxes, "TransferSyntax{} = {uid}", m + 1).unwrap();
        }
        writeln!(contexts, "PresentationContext{} = {class}\\SET{n}", n + 1).unwrap();
    }
    let file = folder.join("storescp.cfg");
    std::fs::write(&file, format!("{syntaxes}{contexts}[[Profiles]]\n[ALL]\nPresentationContexts = ALL\n")).unwrap();
    file
}

/// What a scripted archive does with one message.
#[derive(Clone, Debug)]
pub enum Then {
    /// Reads it all and answers.
    Answer(u16, &'static str),
    /// Reads it all, says that it is stored, and closes.
    AnswerAndClose,
    /// Reads it all and answers a message that was not sent.
    AnswerAnother,
    /// Reads the first PDU and closes.
    CloseAtOnce,
    /// Reads it all and closes.
    CloseAfterIt,
    /// Reads it all and says nothing until the other side has gone.
    Silence,
}

/// What a scripted archive saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    Associated,
    Message {
        longest_pdu: usize,
        data: Vec<u8>,
        is_complete: bool,
    },
    Aborted,
    Released,
    Gone,
    /// It closed the connection itself.
    Closed,
}

impl Saw {
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Message { is_complete: true, .. })
    }
}

/// An archive that takes one association after the other and follows the script of each. Where
/// a script is over before the association is, it waits for the farewell.
pub struct Scripted {
    pub address: SocketAddr,
    saw: Receiver<Saw>,
    thread: JoinHandle<()>,
}

impl Scripted {
    pub fn start(max_pdu: u32, scripts: Vec<Vec<Then>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (say, saw) = channel();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let mut association = associate(listener.accept().unwrap().0, max_pdu);
                say.send(Saw::Associated).unwrap();
                let mut is_open = true;
                for then in script {
                    say.send(follow(&mut association, &then)).unwrap();
                    is_open = matches!(then, Then::Answer(..) | Then::AnswerAnother);
                    if !is_open {
                        break;
                    }
                }
                if is_open {
                    say.send(farewell(association)).unwrap();
                } else {
                    drop(association);
                    say.send(Saw::Closed).unwrap();
                }
            }
        });
        Self { address, saw, thread }
    }

    /// Returns when it has closed a connection by itself; what was seen until then is left out
    /// of [`Scripted::finish`].
    pub fn wait_until_closed(&self) -> Vec<Saw> {
        let mut seen = Vec::new();
        while seen.last() != Some(&Saw::Closed) {
            seen.push(self.saw.recv().unwrap());
        }
        seen
    }

    /// Everything that was seen, once every script is over.
    pub fn finish(self) -> Vec<Saw> {
        self.thread.join().unwrap();
        self.saw.try_iter().collect()
    }
}

pub fn associate(socket: TcpStream, max_pdu: u32) -> ServerAssociation<TcpStream> {
    ServerAssociationOptions::new()
        .accept_any()
        .promiscuous(true)
        .with_transfer_syntax("1.2.840.10008.1.2.4.50")
        .with_transfer_syntax("1.2.840.10008.1.2.1")
        .with_transfer_syntax("1.2.840.10008.1.2")
        .max_pdu_length(max_pdu)
        .strict(false)
        .establish(socket)
        .unwrap()
}

/// Plays one message of the script.
fn follow(association: &mut ServerAssociation<TcpStream>, then: &Then) -> Saw {
    let (mut longest_pdu, mut data, mut command, mut context) = (0, Vec::new(), Vec::new(), 0);
    loop {
        let values = match association.receive() {
            Ok(Pdu::PData { data }) => data,
            Ok(Pdu::AbortRQ { .. }) => return Saw::Aborted,
            Ok(Pdu::ReleaseRQ) => return Saw::Released,
            Ok(_) | Err(_) if data.is_empty() => return Saw::Gone,
            Ok(_) | Err(_) => return Saw::Message { longest_pdu, data, is_complete: false },
        };
        longest_pdu = longest_pdu.max(values.iter().map(|v| v.data.len() + 6).sum());
        let mut is_complete = false;
        for value in values {
            context = value.presentation_context_id;
            match value.value_type {
                PDataValueType::Command => {
                    command.extend_from_slice(&value.data);
                    is_complete = number(&command, 0x0800) == Some(0x0101);
                }
                PDataValueType::Data => {
                    data.extend_from_slice(&value.data);
                    is_complete = value.is_last;
                }
            }
        }
        if is_complete || matches!(then, Then::CloseAtOnce) {
            let answer = match then {
                Then::Answer(status, comment) => Some((*status, *comment)),
                Then::AnswerAndClose | Then::AnswerAnother => Some((0, "")),
                Then::CloseAtOnce | Then::CloseAfterIt | Then::Silence => None,
            };
            if let Some((status, comment)) = answer {
                let other = u16::from(matches!(then, Then::AnswerAnother));
                let answer =
                    response(number(&command, 0x0110).unwrap() + other, number(&command, 0x0100).unwrap(), status, comment);
                let value_type = PDataValueType::Command;
                let value = PDataValue { presentation_context_id: context, value_type, is_last: true, data: answer };
                association.send(&Pdu::PData { data: vec![value] }).unwrap();
            } else if matches!(then, Then::Silence) {
                let _ = association.receive();
            }
            return Saw::Message { longest_pdu, data, is_complete };
        }
    }
}

/// What the other side says at the end.
fn farewell(mut association: ServerAssociation<TcpStream>) -> Saw {
    match association.receive() {
        Ok(Pdu::ReleaseRQ) => {
            let _ = association.send(&Pdu::ReleaseRP);
            Saw::Released
        }
        Ok(Pdu::AbortRQ { .. }) => Saw::Aborted,
        _ => Saw::Gone,
    }
}

/// A number of a command set, found apart from the code under test.
pub fn number(command: &[u8], element: u16) -> Option<u16> {
    let [e1, e2] = element.to_le_bytes();
    let at = command.windows(8).position(|w| w == [0, 0, e1, e2, 2, 0, 0, 0])?;
    Some(u16::from_le_bytes([command[at + 8], command[at + 9]]))
}

/// A response, made apart from the code under test.
pub fn response(message_id: u16, request: u16, status: u16, comment: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut put = |element: u16, value: &[u8]| {
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&element.to_le_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        body.extend_from_slice(value);
    };
    put(0x0100, &(request | 0x8000).to_le_bytes());
    put(0x0120, &message_id.to_le_bytes());
    put(0x0800, &0x0101_u16.to_le_bytes());
    put(0x0900, &status.to_le_bytes());
    let mut comment = comment.as_bytes().to_vec();
    comment.resize(comment.len().next_multiple_of(2), b' ');
    put(0x0902, &comment);
    let mut whole = vec![0, 0, 0, 0, 4, 0, 0, 0];
    whole.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    whole.extend_from_slice(&body);
    whole
}

/// A payload that does something when it was read so far.
pub struct Tripwire<'a, F: FnMut() -> io::Result<()>> {
    pub inner: &'a [u8],
    pub after: usize,
    pub then: F,
}

impl<F: FnMut() -> io::Result<()>> Read for Tripwire<'_, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.after == 0 {
            (self.then)()?;
            self.after = usize::MAX;
        }
        let room = out.len().min(self.after);
        let count = self.inner.read(&mut out[..room])?;
        self.after = if self.after == usize::MAX { usize::MAX } else { self.after - count };
        Ok(count)
    }
}

/// Bytes as they are, to whom it may concern.
pub fn write_raw(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}
