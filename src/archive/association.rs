//! One association as the requestor (PS3.8 §7.1): negotiated once, used for one message at a time.

use std::io::Read;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResultReason,
    UserVariableItem,
};

use super::command::{COMMAND_BYTES_MAX, Command, echo_request, store_request};
use super::dimse::Options;
use super::message::{Assembler, Message};
use super::profile::{NATIVE, Profile};
use super::wire::{
    Fault, Incoming, PDU_BYTES_ANNOUNCED, PDU_BYTES_MAX, PDU_HEAD_BYTES, PDV_HEAD_BYTES, Patience, Wire, data_head,
};
use crate::dicom::query::Model;
use crate::dicom::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Instance, Syntax, iod};

/// PS3.7 §A.2.1.
pub(super) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// What an acceptor that names no maximum is taken to receive, bytes.
const UNSAID_PDU_BYTES: u32 = 16 << 10;
/// An acceptor with less cannot even take a command in one piece.
const ACCEPTOR_PDU_BYTES_MIN: usize = 1 << 10;
/// What goes out in one write: as many whole PDUs as fit. Small PDUs would otherwise cost a
/// system call for each 16 KiB.
pub(super) const WRITE_BYTES: usize = PDU_HEAD_BYTES + PDU_BYTES_MAX + COMMAND_ROOM_BYTES;
/// A C-STORE request: two UIDs and some numbers. Goes out together with the first data.
const COMMAND_ROOM_BYTES: usize = 512;

/// A context that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) id: u8,
    pub(super) syntax: Syntax,
}

/// Why there is no association.
#[derive(Debug)]
pub(super) enum NoAssociation {
    Unreachable(Fault),
    Rejected(AssociationRJ),
    Aborted,
}

/// Why a message has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The source of the data set failed. The association is not to be used further.
    Source,
    /// The data set was not out: nobody has it.
    NotSent(Fault),
    /// The data set was out: nobody knows.
    NotAnswered(Fault),
}

/// The answer to a C-STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) comment: String,
}

pub(super) struct Association {
    wire: Wire,
    accepted: Vec<(String, Context)>,
    /// Data of one value, so that its PDU is no longer than the acceptor's maximum; even.
    value_bytes_max: usize,
    next_message: u16,
    output: Vec<u8>,
    pub(super) idle_since: Instant,
}

impl Association {
    /// For storing and Verification.
    pub(super) fn request(options: &Options) -> Result<Self, NoAssociation> {
        Self::propose(options, &contexts(&options.profile))
    }

    /// For asking for storage commitment. The default roles are the right ones: who requests the
    /// association is the SCU (PS3.4 §J.3.1, PS3.7 §D.3.3.4).
    pub(super) fn request_commitment(options: &Options) -> Result<Self, NoAssociation> {
        let native: &[Syntax] = &[Syntax::ExplicitLe, Syntax::ImplicitLe];
        Self::propose(options, &numbered([(iod::STORAGE_COMMITMENT, native)].into_iter()))
    }

    /// For asking by C-FIND, and Verification.
    pub(super) fn request_find(options: &Options, model: Model) -> Result<Self, NoAssociation> {
        let native: &[Syntax] = &NATIVE;
        Self::propose(options, &numbered([(model.sop_class(), native), (iod::VERIFICATION, native)].into_iter()))
    }

    fn propose(options: &Options, proposed: &[PresentationContextProposed]) -> Result<Self, NoAssociation> {
        let limits = &options.limits;
        let connecting = Patience::from_now(limits.connect_ms);
        let mut wire = Wire::connect(&options.address, options.tls.as_ref(), connecting).map_err(NoAssociation::Unreachable)?;
        let patience = Patience::from_now(limits.association_ms);
        let request = Pdu::AssociationRQ(AssociationRQ {
            protocol_version: 1,
            calling_ae_title: options.calling_ae.as_str().to_owned(),
            called_ae_title: options.called_ae.as_str().to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: proposed.to_vec(),
            user_variables: user_variables(),
        });
        let answered = wire.write_pdu(&request, patience).and_then(|()| match wire.read(patience)? {
            Incoming::Other(pdu) => Ok(pdu),
            Incoming::Data(_) => Err(Fault::Protocol("data came before the association")),
        });
        match answered.map_err(NoAssociation::Unreachable)? {
            Pdu::AssociationAC(accept) => Self::accepted(wire, proposed, &accept).map_err(NoAssociation::Unreachable),
            Pdu::AssociationRJ(reject) => Err(NoAssociation::Rejected(reject)),
            Pdu::AbortRQ { .. } => Err(NoAssociation::Aborted),
            _ => Err(NoAssociation::Unreachable(Fault::Protocol("the association was not answered"))),
        }
    }

    fn accepted(wire: Wire, proposed: &[PresentationContextProposed], accept: &AssociationAC) -> Result<Self, Fault> {
        let announced = accept.user_variables.iter().find_map(|v| match v {
            UserVariableItem::MaxLength(bytes) => Some(*bytes),
            _ => None,
        });
        // 0 is "no limit" (PS3.8 §D.1): ours holds then, or one PDU would be the whole object.
        let pdu_bytes = match announced.unwrap_or(UNSAID_PDU_BYTES) {
            0 => PDU_BYTES_MAX,
            bytes => usize::try_from(bytes).unwrap_or(PDU_BYTES_MAX).min(PDU_BYTES_MAX),
        };
        if pdu_bytes < ACCEPTOR_PDU_BYTES_MIN {
            return Err(Fault::Protocol("its maximum PDU length is too short for a command"));
        }
        let accepted = accept.presentation_contexts.iter().filter(|r| r.reason == PresentationContextResultReason::Acceptance);
        let accepted = accepted.filter_map(|result| {
            let asked = proposed.iter().find(|p| p.id == result.id)?;
            let chosen = result.transfer_syntax.trim_end_matches(['\0', ' ']);
            // An answer that was not offered is no agreement.
            asked.transfer_syntaxes.iter().find(|offered| *offered == chosen)?;
            Some((asked.abstract_syntax.clone(), Context { id: result.id, syntax: Syntax::from_uid(chosen)? }))
        });
        Ok(Self {
            accepted: accepted.collect(),
            wire,
            value_bytes_max: (pdu_bytes - PDV_HEAD_BYTES) & !1,
            next_message: 1,
            output: vec![0; WRITE_BYTES],
            idle_since: Instant::now(),
        })
    }

    /// Where an object of this class goes, the best of its syntaxes first.
    pub(super) fn context(&self, sop_class: &str, syntaxes: &[Syntax]) -> Option<Context> {
        let of_class = || self.accepted.iter().filter(|(class, _)| class == sop_class).map(|(_, context)| *context);
        syntaxes.iter().find_map(|syntax| of_class().find(|c| c.syntax == *syntax))
    }

    pub(super) fn takes_class(&self, sop_class: &str) -> bool {
        self.accepted.iter().any(|(class, _)| class == sop_class)
    }

    /// True where nothing was heard since the last answer.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.wire.is_quiet()
    }

    pub(super) fn tls_version(&self) -> Option<&'static str> {
        self.wire.tls_version()
    }

    pub(super) fn release(self) {
        self.wire.release();
    }

    pub(super) fn abort(self) {
        self.wire.abort();
    }

    /// C-STORE (PS3.7 §9.3.1): the command and `size_bytes` of `data_set`.
    pub(super) fn store(
        &mut self,
        instance: &Instance,
        context: Context,
        data_set: &mut dyn Read,
        size_bytes: u64,
        options: &Options,
    ) -> Result<Answer, NoAnswer> {
        let limits = &options.limits;
        let message_id = self.take_message_id();
        let command = store_request(message_id, instance.sop_class.as_str(), instance.sop_instance.as_str());
        let transfer_ms =
            limits.response_ms.saturating_add(size_bytes.saturating_mul(1_000) / limits.bytes_per_second_min.max(1));
        let patience = Patience { stall: Duration::from_millis(limits.stall_ms), ..Patience::from_now(transfer_ms) };
        self.send(context.id, &command, data_set, size_bytes, patience)?;
        let patience = Patience::from_now(limits.response_ms);
        match self.receive(context.id, patience).map_err(NoAnswer::NotAnswered)? {
            Command::StoreResponse { message_id: about, status, comment } if about == message_id => {
                Ok(Answer { status, comment })
            }
            _ => Err(NoAnswer::NotAnswered(Fault::Protocol("it answered something else"))),
        }
    }

    /// Sends a command and its data set, of which more than one PDU may be needed.
    pub(super) fn send_message(&mut self, context: u8, command: &[u8], data: &[u8], patience: Patience) -> Result<(), Fault> {
        self.send(context, command, &mut &*data, data.len() as u64, patience).map_err(|why| match why {
            NoAnswer::Source => Fault::Protocol("a data set of ours cannot be sent"),
            NoAnswer::NotSent(fault) | NoAnswer::NotAnswered(fault) => fault,
        })
    }

    /// The next whole message with its data set.
    pub(super) fn receive_message(&mut self, assembler: &mut Assembler, patience: Patience) -> Result<Message, Fault> {
        loop {
            if let Some(message) = assembler.next() {
                return Ok(message);
            }
            match self.wire.read(patience)? {
                Incoming::Data(fragments) => assembler.take_all(fragments)?,
                Incoming::Other(Pdu::AbortRQ { .. }) => return Err(Fault::Closed),
                Incoming::Other(Pdu::ReleaseRQ) => {
                    let _ = self.wire.write_pdu(&Pdu::ReleaseRP, patience);
                    return Err(Fault::Closed);
                }
                Incoming::Other(_) => return Err(Fault::Protocol("a PDU came out of turn")),
            }
        }
    }

    /// Sends one command without a data set.
    pub(super) fn send_command(&mut self, context: u8, command: &[u8], patience: Patience) -> Result<(), Fault> {
        let mut pdu = data_head(context, true, true, command.len()).to_vec();
        pdu.extend_from_slice(command);
        self.wire.write(&pdu, patience)
    }

    /// C-ECHO (PS3.7 §9.3.5): its status.
    pub(super) fn echo(&mut self, options: &Options) -> Result<u16, Fault> {
        let Some(context) = self.context(iod::VERIFICATION, &[Syntax::ExplicitLe, Syntax::ImplicitLe]) else {
            return Err(Fault::Protocol("it accepts associations but not C-ECHO"));
        };
        let message_id = self.take_message_id();
        let command = echo_request(message_id);
        let patience = Patience::from_now(options.limits.response_ms);
        self.send_command(context.id, &command, patience)?;
        match self.receive(context.id, patience)? {
            Command::EchoResponse { message_id: about, status } if about == message_id => Ok(status),
            _ => Err(Fault::Protocol("it answered something else")),
        }
    }

    pub(super) fn take_message_id(&mut self) -> u16 {
        let id = self.next_message;
        self.next_message = id.wrapping_add(1);
        id
    }

    /// Fills the output with whole PDUs, the command first, and writes it whenever it is full.
    /// The last value is marked by the size that was announced, never by the end of the source:
    /// a source that fails leaves an object that no archive takes for complete.
    fn send(
        &mut self,
        context: u8,
        command: &[u8],
        data_set: &mut dyn Read,
        size_bytes: u64,
        patience: Patience,
    ) -> Result<(), NoAnswer> {
        let mut used = 0;
        put(&mut self.output, &mut used, &data_head(context, true, true, command.len()));
        put(&mut self.output, &mut used, command);
        let mut left = size_bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.value_bytes_max);
            left -= length as u64;
            put(&mut self.output, &mut used, &data_head(context, false, left == 0, length));
            let room = self.output.get_mut(used..used + length).ok_or(NoAnswer::NotSent(Fault::Protocol("a PDU has no room")))?;
            data_set.read_exact(room).map_err(|_| NoAnswer::Source)?;
            used += length;
            let next_bytes =
                PDU_HEAD_BYTES + PDV_HEAD_BYTES + usize::try_from(left).unwrap_or(usize::MAX).min(self.value_bytes_max);
            if left == 0 || used + next_bytes > self.output.len() {
                self.wire.write(self.output.get(..used).unwrap_or_default(), patience).map_err(NoAnswer::NotSent)?;
                used = 0;
            }
        }
        Ok(())
    }

    /// The next whole command on a context.
    fn receive(&mut self, context: u8, patience: Patience) -> Result<Command, Fault> {
        let mut command = Vec::new();
        loop {
            match self.wire.read(patience)? {
                Incoming::Data(fragments) => {
                    for fragment in fragments {
                        let fragment = fragment?;
                        if !fragment.is_command || fragment.context != context {
                            return Err(Fault::Protocol("a data set came where a response was due"));
                        }
                        if command.len() + fragment.bytes.len() > COMMAND_BYTES_MAX {
                            return Err(Fault::Protocol("a command is too long"));
                        }
                        command.extend_from_slice(fragment.bytes);
                        if fragment.is_last {
                            return Command::parse(&command).ok_or(Fault::Protocol("a command cannot be read"));
                        }
                    }
                }
                Incoming::Other(Pdu::AbortRQ { .. }) => return Err(Fault::Closed),
                Incoming::Other(Pdu::ReleaseRQ) => {
                    let _ = self.wire.write_pdu(&Pdu::ReleaseRP, patience);
                    return Err(Fault::Closed);
                }
                Incoming::Other(_) => return Err(Fault::Protocol("a PDU came out of turn")),
            }
        }
    }
}

fn put(output: &mut [u8], used: &mut usize, bytes: &[u8]) {
    if let Some(room) = output.get_mut(*used..*used + bytes.len()) {
        room.copy_from_slice(bytes);
        *used += bytes.len();
    }
}

/// What is proposed: every object that is made here, in the syntaxes that this archive is to be
/// offered, and Verification.
fn contexts(profile: &Profile) -> Vec<PresentationContextProposed> {
    let native: &[Syntax] = &[Syntax::ExplicitLe, Syntax::ImplicitLe];
    let of = |syntaxes: &[Syntax]| syntaxes.iter().copied().filter(|s| profile.offers(*s)).collect::<Vec<_>>();
    let wanted = iod::ALL.iter().filter(|iod| profile.fallback || !iod.is_stand_in());
    let storage = wanted.flat_map(|iod| iod.contexts.iter().map(|syntaxes| (iod.sop_class, of(syntaxes))));
    let all: Vec<_> =
        storage.filter(|(_, syntaxes)| !syntaxes.is_empty()).chain([(iod::VERIFICATION, native.to_vec())]).collect();
    numbered(all.iter().map(|(class, syntaxes)| (*class, syntaxes.as_slice())))
}

/// Odd numbers (PS3.8 §9.3.2.2).
fn numbered<'a>(contexts: impl Iterator<Item = (&'a str, &'a [Syntax])>) -> Vec<PresentationContextProposed> {
    contexts
        .zip((1..=u8::MAX).step_by(2))
        .map(|((abstract_syntax, syntaxes), id)| PresentationContextProposed {
            id,
            abstract_syntax: abstract_syntax.to_owned(),
            transfer_syntaxes: syntaxes.iter().map(|s| s.uid().to_owned()).collect(),
        })
        .collect()
}

/// The same on both sides of the house.
pub(super) fn user_variables() -> Vec<UserVariableItem> {
    vec![
        UserVariableItem::MaxLength(PDU_BYTES_ANNOUNCED),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_and_native_never_share_a_context() {
        let contexts = contexts(&Profile::default());
        assert!(contexts.iter().map(|c| c.id).eq((1..).step_by(2).take(contexts.len())));
        for context in &contexts {
            let compressed = context.transfer_syntaxes.iter().filter(|s| !Syntax::from_uid(s).unwrap().is_native()).count();
            assert!(compressed == 0 || context.transfer_syntaxes.len() == 1, "{context:?}");
        }
        let of = |class: &str| contexts.iter().filter(|c| c.abstract_syntax == class).count();
        assert_eq!((of(iod::VL_PHOTOGRAPHIC), of(iod::VIDEO_PHOTOGRAPHIC), of(iod::VERIFICATION)), (2, 3, 1));
    }
}
