//! Storage Commitment Push Model as the SCU (PS3.4 §J.3): N-ACTION, and the N-EVENT-REPORT that
//! comes on the same association within a short while. Later ones come to [`super::reports`].

use super::association::Association;
use super::command::{Command, EventRequest, action_request, event_response};
use super::dimse::{Options, no_association};
use super::message::{Assembler, Message};
use super::wire::{Fault, Patience};
use super::{Asked, Refused, Report};
use crate::capture::{FailureCode, SopRef, Uid};
use crate::dicom::{Syntax, commitment, iod};

/// Reports about former questions that an archive may push in while it has us on the line.
const REPORTS_MAX: usize = 64;

/// N-EVENT-REPORT statuses that are sent (PS3.7 §10.1.1.1.8).
pub(super) mod status {
    pub const TAKEN: u16 = 0x0000;
    pub const PROCESSING_FAILURE: u16 = 0x0110;
    pub const NO_SUCH_INSTANCE: u16 = 0x0112;
    pub const NO_SUCH_EVENT: u16 = 0x0113;
    pub const INVALID_ARGUMENT: u16 = 0x0115;
    pub const NO_SUCH_CLASS: u16 = 0x0118;
}

/// Event types: all are kept; some are not (PS3.4 §J.3.3).
const EVENTS: [u16; 2] = [1, 2];

/// Over an association of its own: the archive may want to keep it until it has looked.
pub(super) fn ask(options: &Options, transaction: &Uid, wanted: &[SopRef]) -> Result<Asked, Refused> {
    let mut association = Association::request_commitment(options).map_err(|why| no_association(&why))?;
    let Some(context) = association.context(iod::STORAGE_COMMITMENT, &[Syntax::ExplicitLe, Syntax::ImplicitLe]) else {
        association.release();
        let detail = "the archive does not take the Storage Commitment class; enable it there, or set commitment = \"none\"";
        return Err(Refused { code: FailureCode::ArchiveRefusedClass, detail: detail.to_owned() });
    };
    let data = commitment::write_request(transaction, wanted, context.syntax)
        .map_err(|error| Refused { code: error.failure_code(), detail: error.to_string() })?;
    let message_id = association.take_message_id();
    let patience = Patience::from_now(options.limits.response_ms);
    let mut talk =
        Talk { context: context.id, syntax: context.syntax, message_id, assembler: Assembler::default(), reports: Vec::new() };
    let answered = association
        .send_message(context.id, &action_request(message_id), &data, patience)
        .and_then(|()| talk.hear_answer(&mut association, patience));
    match answered {
        Ok((0, _)) => {}
        Ok((status, comment)) => {
            association.release();
            return Err(refused(status, &comment));
        }
        Err(fault) => {
            association.abort();
            let detail = format!("the archive was lost when it was asked for commitment: {fault}");
            return Err(Refused { code: FailureCode::ArchiveUnreachable, detail });
        }
    }
    // What goes wrong from here on takes nothing back: the archive has the question.
    match talk.hear_report(&mut association, transaction, Patience::from_now(options.limits.report_wait_ms)) {
        Ok(()) | Err(Fault::TimedOut) => association.release(),
        Err(_) => association.abort(),
    }
    Ok(if talk.reports.is_empty() { Asked::Later } else { Asked::Answered(talk.reports) })
}

struct Talk {
    context: u8,
    syntax: Syntax,
    message_id: u16,
    assembler: Assembler,
    reports: Vec<Report>,
}

impl Talk {
    /// The answer to N-ACTION; a report may overtake it.
    fn hear_answer(&mut self, association: &mut Association, patience: Patience) -> Result<(u16, String), Fault> {
        loop {
            let message = association.receive_message(&mut self.assembler, patience)?;
            match message.command {
                Command::ActionResponse { message_id, status, comment } if message_id == self.message_id => {
                    return Ok((status, comment));
                }
                Command::EventRequest(ref event) => self.take(event, &message, association, patience)?,
                _ => return Err(Fault::Protocol("it answered something else")),
            }
        }
    }

    fn hear_report(&mut self, association: &mut Association, transaction: &Uid, patience: Patience) -> Result<(), Fault> {
        while !self.reports.iter().any(|r| r.transaction == *transaction) {
            let message = association.receive_message(&mut self.assembler, patience)?;
            let Command::EventRequest(ref event) = message.command else {
                return Err(Fault::Protocol("it said something else than a report"));
            };
            self.take(event, &message, association, patience)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        event: &EventRequest,
        message: &Message,
        association: &mut Association,
        patience: Patience,
    ) -> Result<(), Fault> {
        if message.context != self.context || self.reports.len() >= REPORTS_MAX {
            return Err(Fault::Protocol("a report came out of turn"));
        }
        let status = match read(event, &message.data, self.syntax) {
            Ok(report) => {
                self.reports.push(report);
                status::TAKEN
            }
            Err(status) => status,
        };
        association.send_command(self.context, &event_response(event, status), patience)
    }
}

/// The report of an event, or the status that says what is wrong with it.
pub(super) fn read(event: &EventRequest, data: &[u8], syntax: Syntax) -> Result<Report, u16> {
    if event.sop_class != iod::STORAGE_COMMITMENT {
        return Err(status::NO_SUCH_CLASS);
    }
    if event.sop_instance != iod::STORAGE_COMMITMENT_INSTANCE {
        return Err(status::NO_SUCH_INSTANCE);
    }
    if !EVENTS.contains(&event.event_type) {
        return Err(status::NO_SUCH_EVENT);
    }
    commitment::read_report(data, syntax).ok_or(status::INVALID_ARGUMENT)
}

/// PS3.7 §10.1.4.1.10. Whatever it is, the question may be asked again.
fn refused(status: u16, comment: &str) -> Refused {
    let says: String =
        comment.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).collect::<Vec<_>>().join(" ");
    let says: String = says.chars().take(160).collect();
    let says = if says.is_empty() { String::new() } else { format!("; the archive says: {says}") };
    let code = match status {
        0x0118 | 0x0122 | 0x0211 => FailureCode::ArchiveRefusedClass,
        0x0124 => FailureCode::ArchiveNotAuthorised,
        _ => FailureCode::ArchiveProcessing,
    };
    Refused { code, detail: format!("the archive answered N-ACTION with status {status:04X}H{says}") }
}
