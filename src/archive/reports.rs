//! The door for commitment reports that come on an association of the archive's own (PS3.4 §J.3.3):
//! N-EVENT-REPORT as the SCU's role of the acceptor, and Verification.
//!
//! It believes nobody: the AE titles must be the configured ones, and a report counts only where
//! its transaction is known and was asked of whom it comes from. It never takes an object.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, Pdu, PresentationContextResult,
    PresentationContextResultReason, RequestorRoles, UserVariableItem,
};

use rustls::ServerConfig;

use super::association::user_variables;
use super::command::{Command, echo_response, event_response};
use super::commitment::{read, status};
use super::listening::Listening;
use super::message::{Assembler, Message};
use super::wire::{Fault, Incoming, Patience, Wire, data_head};
use super::{AeTitle, ReportSink, Unwanted};
use crate::dicom::{Syntax, iod};

/// One archive reports; a few at once are retries of its own.
const ASSOCIATIONS_MAX: usize = 8;
/// From connecting to the request (ARTIM, PS3.8 §9.1.5), milliseconds.
const REQUEST_MS: u64 = 10_000;
/// Between two messages, and within one, milliseconds.
const SILENCE_MS: u64 = 30_000;
/// An association that lives longer wants to hold a place, not to report.
const ASSOCIATION_MAX: Duration = Duration::from_secs(600);

/// Whom it expects.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of this gateway: what the archive must call.
    pub ae: AeTitle,
    /// Of the archives.
    pub archive_aes: Vec<AeTitle>,
    /// `None`: in clear text.
    pub tls: Option<Arc<ServerConfig>>,
}

/// The open door. Closes when dropped.
pub struct Reports(Listening);

impl Reports {
    /// Listens; port 0 takes any.
    ///
    /// # Errors
    /// The address is not free.
    pub fn start(address: SocketAddr, options: Options, sink: Arc<dyn ReportSink>) -> io::Result<Self> {
        let door = Door { options, sink };
        Listening::start(address, "reports", ASSOCIATIONS_MAX, move |socket, is_full| {
            // A peer's fault ends its association and nothing else.
            let _ = door.serve(socket, is_full);
        })
        .map(Self)
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// Ends every association and returns when all is quiet.
    pub fn stop(mut self) {
        self.0.halt();
    }
}

struct Door {
    options: Options,
    sink: Arc<dyn ReportSink>,
}

/// The context a peer may use, by its number.
type Contexts = HashMap<u8, (&'static str, Syntax)>;

impl Door {
    fn serve(&self, socket: TcpStream, is_full: bool) -> Result<(), Fault> {
        let patience = Patience::from_now(REQUEST_MS);
        let mut wire = Wire::over(socket, self.options.tls.as_ref(), patience)?;
        let Incoming::Other(Pdu::AssociationRQ(request)) = wire.read(patience)? else {
            wire.abort();
            return Err(Fault::Protocol("no association was requested"));
        };
        let patience = Patience::from_now(SILENCE_MS);
        let from = match self.known(&request, is_full) {
            Ok(from) => from,
            Err(reject) => return wire.write_pdu(&Pdu::AssociationRJ(reject), patience),
        };
        let (accept, contexts) = negotiate(&request);
        wire.write_pdu(&Pdu::AssociationAC(accept), patience)?;
        let served = self.run(&mut wire, from, &contexts);
        if matches!(served, Err(Fault::Protocol(_))) {
            wire.abort();
        }
        served
    }

    /// Which archive it is, or how it is turned away.
    fn known(&self, request: &AssociationRQ, is_full: bool) -> Result<&AeTitle, AssociationRJ> {
        if is_full {
            let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
            let source = AssociationRJSource::ServiceProviderPresentation(reason);
            return Err(AssociationRJ { result: AssociationRJResult::Transient, source });
        }
        let from = self.options.archive_aes.iter().find(|ae| ae.as_str() == request.calling_ae_title.trim());
        let reason = match from {
            _ if request.called_ae_title.trim() != self.options.ae.as_str() => {
                AssociationRJServiceUserReason::CalledAETitleNotRecognized
            }
            Some(from) => return Ok(from),
            None => AssociationRJServiceUserReason::CallingAETitleNotRecognized,
        };
        self.sink.stranger();
        let source = AssociationRJSource::ServiceUser(reason);
        Err(AssociationRJ { result: AssociationRJResult::Permanent, source })
    }

    /// Until the peer says farewell, or its time is over.
    fn run(&self, wire: &mut Wire, from: &AeTitle, contexts: &Contexts) -> Result<(), Fault> {
        let end = Instant::now() + ASSOCIATION_MAX;
        let mut assembler = Assembler::default();
        loop {
            let silence = Patience::from_now(SILENCE_MS);
            let patience = Patience { deadline: silence.deadline.min(end), ..silence };
            match wire.read(patience)? {
                Incoming::Data(fragments) => assembler.take_all(fragments)?,
                Incoming::Other(Pdu::ReleaseRQ) => return wire.write_pdu(&Pdu::ReleaseRP, patience),
                Incoming::Other(Pdu::AbortRQ { .. }) => return Ok(()),
                Incoming::Other(_) => return Err(Fault::Protocol("a PDU came out of turn")),
            }
            while let Some(message) = assembler.next() {
                let answer = self.answer(&message, from, contexts)?;
                let mut pdu = data_head(message.context, true, true, answer.len()).to_vec();
                pdu.extend_from_slice(&answer);
                wire.write(&pdu, patience)?;
            }
        }
    }

    fn answer(&self, message: &Message, from: &AeTitle, contexts: &Contexts) -> Result<Vec<u8>, Fault> {
        let (class, syntax) = contexts.get(&message.context).ok_or(Fault::Protocol("a context that was not agreed"))?;
        match &message.command {
            Command::EchoRequest { message_id } if *class == iod::VERIFICATION => Ok(echo_response(*message_id)),
            Command::EventRequest(event) if *class == iod::STORAGE_COMMITMENT => {
                let taken = read(event, &message.data, *syntax).and_then(|report| {
                    self.sink.report(from, report).map_err(|why| match why {
                        Unwanted::UnknownTransaction => status::INVALID_ARGUMENT,
                        Unwanted::Later => status::PROCESSING_FAILURE,
                    })
                });
                Ok(event_response(event, taken.err().unwrap_or(status::TAKEN)))
            }
            _ => Err(Fault::Protocol("only commitment reports and C-ECHO are taken")),
        }
    }
}

/// Takes Storage Commitment with the roles turned round (the requestor is the SCP, PS3.7 §D.3.3.4)
/// and Verification. A requestor that names no roles is taken too: several archives forget to.
fn negotiate(request: &AssociationRQ) -> (AssociationAC, Contexts) {
    let roles = request.user_variables.iter().find_map(|item| match item {
        UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) if trimmed(uid) == iod::STORAGE_COMMITMENT => Some(*roles),
        _ => None,
    });
    let mut contexts = Contexts::new();
    let answers = request.presentation_contexts.iter().map(|proposed| {
        let class = match trimmed(&proposed.abstract_syntax) {
            iod::VERIFICATION => Some(iod::VERIFICATION),
            iod::STORAGE_COMMITMENT if roles.as_ref().is_none_or(|r| r.scp) => Some(iod::STORAGE_COMMITMENT),
            _ => None,
        };
        let known = proposed.transfer_syntaxes.iter().filter_map(|s| Syntax::from_uid(trimmed(s)));
        let syntax = known.into_iter().find(|s| s.is_native());
        let reason = match (class, syntax) {
            (Some(class), Some(syntax)) => {
                contexts.insert(proposed.id, (class, syntax));
                PresentationContextResultReason::Acceptance
            }
            (None, _) => PresentationContextResultReason::AbstractSyntaxNotSupported,
            (_, None) => PresentationContextResultReason::TransferSyntaxesNotSupported,
        };
        let transfer_syntax = syntax.unwrap_or(Syntax::ImplicitLe).uid().to_owned();
        PresentationContextResult { id: proposed.id, reason, transfer_syntax }
    });
    let presentation_contexts = answers.collect();
    let mut user_variables = user_variables();
    if roles.is_some_and(|r| r.scp) {
        let accepted = RequestorRoles { scu: false, scp: true };
        user_variables.push(UserVariableItem::ScuScpRoleSelectionSubItem(iod::STORAGE_COMMITMENT.to_owned(), accepted));
    }
    let accept = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title.clone(),
        called_ae_title: request.called_ae_title.clone(),
        application_context_name: request.application_context_name.clone(),
        presentation_contexts,
        user_variables,
    };
    (accept, contexts)
}

fn trimmed(uid: &str) -> &str {
    uid.trim_end_matches(['\0', ' '])
}
