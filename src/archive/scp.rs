//! The built-in archive of the demo: C-STORE and C-ECHO on loopback, one Part 10 file per object.
//!
//! It believes everybody who reaches it, so it listens on loopback only.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, Pdu, PresentationContextResult,
    PresentationContextResultReason,
};

use super::AeTitle;
use super::association::user_variables;
use super::command::{COMMAND_BYTES_MAX, Command, echo_response, store_response};
use super::listening::Listening;
use super::wire::{Fault, Fragment, Incoming, Patience, Wire, data_head};
use crate::capture::Uid;
use crate::dicom::{Syntax, file_prefix, iod};

/// Storage SOP classes all stand below this (PS3.6 annex A).
const STORAGE_ROOT: &str = "1.2.840.10008.5.1.4.1.1.";
/// A demo has one gateway with four associations, and a curious person.
const ASSOCIATIONS_MAX: usize = 32;
/// Between two messages, and within one, milliseconds.
const SILENCE_MS: u64 = 60_000;
/// From connecting to the request (ARTIM, PS3.8 §9.1.5), milliseconds.
const REQUEST_MS: u64 = 10_000;
/// The longest video that the gateway takes is half of it.
const OBJECT_BYTES_MAX: u64 = 8 << 30;

/// C-STORE statuses that are sent (PS3.7 annex C, PS3.4 §B.2.3).
mod status {
    pub const STORED: u16 = 0x0000;
    pub const INVALID_INSTANCE: u16 = 0x0117;
    pub const NO_SUCH_CLASS: u16 = 0x0122;
    pub const OUT_OF_RESOURCES: u16 = 0xA700;
}

/// One object that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub sop_class: Uid,
    pub sop_instance: Uid,
    /// Of the data set.
    pub size_bytes: u64,
    pub path: PathBuf,
}

/// Told of each object after it is on the disk and before the sender hears of it.
pub type OnReceived = dyn Fn(&Received) + Send + Sync;

/// A running archive. Stops when dropped.
pub struct Scp(Listening);

struct Shared {
    ae: AeTitle,
    dir: PathBuf,
    on_received: Box<OnReceived>,
    next_number: AtomicU64,
}

impl Scp {
    /// Listens; port 0 takes any. Files go into `dir`, which is made where it is not there.
    ///
    /// # Errors
    /// The address is not loopback or not free, or the directory cannot be made.
    pub fn start(
        address: SocketAddr,
        ae: AeTitle,
        dir: &Path,
        on_received: impl Fn(&Received) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the built-in archive listens on loopback only"));
        }
        fs::create_dir_all(dir)?;
        let (dir, on_received) = (dir.to_owned(), Box::new(on_received));
        let shared = Shared { ae, dir, on_received, next_number: AtomicU64::new(0) };
        Listening::start(address, "archive", ASSOCIATIONS_MAX, move |socket, is_full| {
            // A peer's fault ends its association and nothing else.
            let _ = serve(socket, is_full, &shared);
        })
        .map(Self)
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Ends every association, whatever it does, and returns when all is quiet. An object in
    /// mid-transfer leaves nothing behind.
    pub fn stop(mut self) {
        self.0.halt();
    }
}

impl Shared {
    fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

/// The context a peer may use, by its number.
type Contexts = HashMap<u8, (String, Syntax)>;

fn serve(socket: TcpStream, is_full: bool, shared: &Shared) -> Result<(), Fault> {
    let patience = Patience::from_now(REQUEST_MS);
    let mut wire = Wire::over(socket, None, patience)?;
    let Incoming::Other(Pdu::AssociationRQ(request)) = wire.read(patience)? else {
        wire.abort();
        return Err(Fault::Protocol("no association was requested"));
    };
    let patience = Patience::from_now(SILENCE_MS);
    if let Some(reject) = rejection(&request, is_full, shared) {
        return wire.write_pdu(&Pdu::AssociationRJ(reject), patience);
    }
    let (accept, contexts) = negotiate(&request);
    wire.write_pdu(&Pdu::AssociationAC(accept), patience)?;
    let mut session = Session { contexts, command: Vec::new(), receiving: None, shared };
    let served = session.run(&mut wire);
    if matches!(served, Err(Fault::Protocol(_))) {
        wire.abort();
    }
    served
}

fn rejection(request: &AssociationRQ, is_full: bool, shared: &Shared) -> Option<AssociationRJ> {
    if is_full {
        let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
        let source = AssociationRJSource::ServiceProviderPresentation(reason);
        return Some(AssociationRJ { result: AssociationRJResult::Transient, source });
    }
    if request.called_ae_title.trim() != shared.ae.as_str() {
        let source = AssociationRJSource::ServiceUser(AssociationRJServiceUserReason::CalledAETitleNotRecognized);
        return Some(AssociationRJ { result: AssociationRJResult::Permanent, source });
    }
    None
}

/// Takes every storage class and Verification, in the first syntax that is known here.
fn negotiate(request: &AssociationRQ) -> (AssociationAC, Contexts) {
    let mut contexts = Contexts::new();
    let answers = request.presentation_contexts.iter().map(|proposed| {
        let class = proposed.abstract_syntax.trim_end_matches('\0');
        let syntax = proposed.transfer_syntaxes.iter().find_map(|s| Syntax::from_uid(s.trim_end_matches('\0')));
        let is_known = class == iod::VERIFICATION || class.starts_with(STORAGE_ROOT);
        let (reason, syntax) = match syntax {
            Some(syntax) if is_known => {
                contexts.insert(proposed.id, (class.to_owned(), syntax));
                (PresentationContextResultReason::Acceptance, syntax)
            }
            Some(syntax) => (PresentationContextResultReason::AbstractSyntaxNotSupported, syntax),
            None => (PresentationContextResultReason::TransferSyntaxesNotSupported, Syntax::ImplicitLe),
        };
        PresentationContextResult { id: proposed.id, reason, transfer_syntax: syntax.uid().to_owned() }
    });
    let accept = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title.clone(),
        called_ae_title: request.called_ae_title.clone(),
        application_context_name: request.application_context_name.clone(),
        presentation_contexts: answers.collect(),
        user_variables: user_variables(),
    };
    (accept, contexts)
}

struct Session<'a> {
    contexts: Contexts,
    command: Vec<u8>,
    receiving: Option<Receiving>,
    shared: &'a Shared,
}

/// A C-STORE between its command and its last byte.
struct Receiving {
    context: u8,
    message_id: u16,
    sop_class: String,
    sop_instance: String,
    /// Where the bytes go; or the status that was found before they came, which they cannot change.
    file: Result<PartFile, u16>,
}

impl Session<'_> {
    /// Until the peer says farewell.
    fn run(&mut self, wire: &mut Wire) -> Result<(), Fault> {
        loop {
            let patience = Patience::from_now(SILENCE_MS);
            let mut answers = Vec::new();
            match wire.read(patience)? {
                Incoming::Data(fragments) => {
                    for fragment in fragments {
                        let fragment = fragment?;
                        if let Some((context, answer)) = self.take(&fragment)? {
                            answers.extend_from_slice(&data_head(context, true, true, answer.len()));
                            answers.extend_from_slice(&answer);
                        }
                    }
                }
                Incoming::Other(Pdu::ReleaseRQ) => return wire.write_pdu(&Pdu::ReleaseRP, patience),
                Incoming::Other(Pdu::AbortRQ { .. }) => return Ok(()),
                Incoming::Other(_) => return Err(Fault::Protocol("a PDU came out of turn")),
            }
            wire.write(&answers, patience)?;
        }
    }

    /// One fragment; an answer where it was the last of a message.
    fn take(&mut self, fragment: &Fragment) -> Result<Option<(u8, Vec<u8>)>, Fault> {
        if !fragment.is_command {
            return self.take_data(fragment);
        }
        if self.receiving.is_some() {
            return Err(Fault::Protocol("a command came within a data set"));
        }
        if self.command.len() + fragment.bytes.len() > COMMAND_BYTES_MAX {
            return Err(Fault::Protocol("a command is too long"));
        }
        self.command.extend_from_slice(fragment.bytes);
        if !fragment.is_last {
            return Ok(None);
        }
        let command = Command::parse(&std::mem::take(&mut self.command));
        match command.ok_or(Fault::Protocol("a command cannot be read"))? {
            Command::EchoRequest { message_id } => Ok(Some((fragment.context, echo_response(message_id)))),
            Command::StoreRequest { message_id, sop_class, sop_instance } => {
                let file = self.open_file(fragment.context, &sop_class, &sop_instance);
                self.receiving = Some(Receiving { context: fragment.context, message_id, sop_class, sop_instance, file });
                Ok(None)
            }
            Command::StoreResponse { .. }
            | Command::EchoResponse { .. }
            | Command::ActionResponse { .. }
            | Command::EventRequest(_)
            | Command::FindResponse { .. }
            | Command::Other => Err(Fault::Protocol("only C-STORE and C-ECHO are served")),
        }
    }

    /// The instance UID becomes a file name: it is a UID first, so it holds digits and dots only.
    fn open_file(&self, context: u8, sop_class: &str, sop_instance: &str) -> Result<PartFile, u16> {
        let (agreed, syntax) = self.contexts.get(&context).ok_or(status::NO_SUCH_CLASS)?;
        if agreed != sop_class || !sop_class.starts_with(STORAGE_ROOT) {
            return Err(status::NO_SUCH_CLASS);
        }
        let class = Uid::parse(sop_class).map_err(|_| status::NO_SUCH_CLASS)?;
        let instance = Uid::parse(sop_instance).map_err(|_| status::INVALID_INSTANCE)?;
        let number = self.shared.number();
        PartFile::create(&self.shared.dir, number, class, instance, *syntax).map_err(|_| status::OUT_OF_RESOURCES)
    }

    fn take_data(&mut self, fragment: &Fragment) -> Result<Option<(u8, Vec<u8>)>, Fault> {
        let Some(receiving) = self.receiving.as_mut().filter(|r| r.context == fragment.context) else {
            return Err(Fault::Protocol("a data set came without its command"));
        };
        if let Ok(file) = &mut receiving.file
            && file.write(fragment.bytes).is_err()
        {
            receiving.file = Err(status::OUT_OF_RESOURCES);
        }
        if !fragment.is_last {
            return Ok(None);
        }
        let Some(Receiving { context, message_id, sop_class, sop_instance, file }) = self.receiving.take() else {
            return Ok(None);
        };
        let status = match file.map(PartFile::finish) {
            Ok(Ok(received)) => {
                (self.shared.on_received)(&received);
                status::STORED
            }
            Ok(Err(_)) => status::OUT_OF_RESOURCES,
            Err(status) => status,
        };
        Ok(Some((context, store_response(message_id, &sop_class, &sop_instance, status))))
    }
}

/// A file that is not there until it is whole.
struct PartFile {
    file: File,
    part: PathBuf,
    received: Received,
}

impl PartFile {
    fn create(dir: &Path, number: u64, sop_class: Uid, sop_instance: Uid, syntax: Syntax) -> io::Result<Self> {
        let prefix = file_prefix(&sop_class, &sop_instance, syntax.uid(), None).map_err(io::Error::other)?;
        let part = dir.join(format!(".{number}.part"));
        let path = dir.join(format!("{sop_instance}.dcm"));
        let file = File::create(&part)?;
        let mut this = Self { file, part, received: Received { sop_class, sop_instance, size_bytes: 0, path } };
        this.file.write_all(&prefix)?;
        Ok(this)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received.size_bytes += bytes.len() as u64;
        if self.received.size_bytes > OBJECT_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than this archive takes"));
        }
        self.file.write_all(bytes)
    }

    /// Flushed, then named, then the name flushed. The same instance again takes the place of
    /// the first: its UID is the sender's promise that it is the same.
    fn finish(self) -> io::Result<Received> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.received.path)?;
        if let Some(dir) = self.received.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(self.received.clone())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Gone already where it was finished.
        let _ = fs::remove_file(&self.part);
    }
}
