//! One message: bytes to an [`Update`], or to a refusal that can be sent back.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::capture::Phi;

use super::ack::{Fault, FaultCode, Nack, acknowledge};
use super::charset::{Charset, CharsetFault};
use super::dates::{Moment, moment};
use super::header::{Header, body};
use super::message::{Message, Part};
use super::rules::{Authority, Rules, SourceRule};
use super::update::{Change, Fact, Source, Update};
use super::{adt, order};

/// Longest MSH-10 (ST of 199 since v2.7).
const CONTROL_ID_MAX_BYTES: usize = 199;
/// How far a sender's clock may run ahead before its times are not believed: a message from the
/// future would keep all later ones from being applied.
const AHEAD_MAX_MS: i64 = 24 * 3_600_000;

/// A message that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub update: Update,
    /// Message code and trigger event, for a metric: `ADT^A04`. Never free text.
    pub kind: String,
    /// The sender's character set was guessed.
    pub is_charset_guessed: bool,
    header: Header,
}

impl Read {
    /// AA, unframed. To be sent once the update is durable, not before.
    #[must_use]
    pub fn accepted(&self) -> Vec<u8> {
        acknowledge(Some(&self.header), Ok(()), self.update.received_at)
    }
}

/// Reads one message that came at `received_at`.
///
/// # Errors
/// A [`Nack`] where the message is not applied.
pub fn read(message: &[u8], rules: &Rules, received_at: Timestamp) -> Result<Read, Nack> {
    let Some(header) = Header::find(message) else {
        let fault = Fault::reject(FaultCode::SegmentSequence, ("MSH", 0), "This does not begin with MSH; send HL7 v2 in ER7.");
        return Err(Nack { fault, header: None, received_at });
    };
    match understand(message, &header, rules, received_at) {
        Ok((update, kind, is_charset_guessed)) => Ok(Read { update, kind, is_charset_guessed, header }),
        Err(fault) => Err(Nack { fault, header: Some(header), received_at }),
    }
}

/// The answer to a frame over the limit, of which only the beginning was kept.
#[must_use]
pub fn refuse_oversize(start: &[u8], received_at: Timestamp) -> Nack {
    let fault =
        Fault::reject(FaultCode::TooLarge, ("MSH", 0), "The message is over the size limit; leave out embedded documents.");
    Nack { fault, header: Header::find(start), received_at }
}

/// A message in hand, with what its sender's rule says.
pub(super) struct Reading<'a> {
    pub message: Message<'a>,
    pub rule: Option<&'a SourceRule>,
    pub authority: &'a Authority,
    pub zone: &'a TimeZone,
    pub received_on: Date,
}

impl Reading<'_> {
    pub fn drops_degree(&self) -> bool {
        self.rule.is_some_and(|r| r.drops_degree)
    }

    /// The three states of a field. A value `read` makes nothing of deletes as `""` does: what we
    /// had is known to be wrong.
    pub fn change<'p, T>(&self, part: Part<'p>, read: impl FnOnce(Part<'p>) -> Option<T>) -> Change<T> {
        if part.is_absent() {
            return if self.rule.is_some_and(|r| r.is_snapshot) { Change::Clear } else { Change::Keep };
        }
        if part.is_null() { Change::Clear } else { read(part).map_or(Change::Clear, Change::Set) }
    }
}

fn understand(bytes: &[u8], header: &Header, rules: &Rules, received_at: Timestamp) -> Result<(Update, String, bool), Fault> {
    if memchr::memchr2(0x0B, 0x1C, bytes).is_some() {
        return Err(Fault::error(FaultCode::DataType, ("MSH", 0), "A frame character stands inside the message; escape it."));
    }
    let Some(delimiters) = header.delimiters() else {
        return Err(Fault::reject(
            FaultCode::DataType,
            ("MSH", 2),
            "These delimiters cannot be told apart; use five different signs.",
        ));
    };
    check_header(header)?;
    let text = |number: usize| String::from_utf8_lossy(header.component(number)).trim().to_owned();
    let rule = rules.source(&text(3), &text(4));
    let repetition = delimiters.repetition.unwrap_or(0);
    let decoded = Charset::declared(header.field(18), repetition, delimiters.component)
        .and_then(|charset| charset.decode(body(bytes), rule.and_then(|r| r.default_charset)))
        .map_err(charset_fault)?;
    let message = Message::split(&decoded.text, delimiters)
        .map_err(|_| Fault::reject(FaultCode::TooLarge, ("MSH", 0), "More than 10000 segments; split the message."))?;
    let zone = rule.and_then(|r| r.zone.as_ref()).unwrap_or(&rules.zone);
    let authority = rule.and_then(|r| r.assigning_authority.as_ref()).unwrap_or(&rules.assigning_authority);
    let received_on = received_at.to_zoned(zone.clone()).date();
    let reading = Reading { message, rule, authority, zone, received_on };
    let (kind, facts) = facts(&reading)?;
    let update = Update {
        source: source(&reading.message),
        control_id: String::from_utf8_lossy(header.field(10)).into_owned(),
        event: event(&reading, received_at),
        facts,
        received_at,
        body: Phi::new(decoded.text),
    };
    Ok((update, kind, decoded.guessed))
}

fn check_header(header: &Header) -> Result<(), Fault> {
    let control_id = header.field(10);
    if control_id.trim_ascii().is_empty() {
        return Err(Fault::error(FaultCode::RequiredMissing, ("MSH", 10), "The message has no control id; send MSH-10."));
    }
    if control_id.len() > CONTROL_ID_MAX_BYTES {
        return Err(Fault::error(FaultCode::DataType, ("MSH", 10), "The control id is longer than 199 characters."));
    }
    let version = header.version();
    if !(version.is_empty() || version.starts_with(b"2")) {
        return Err(Fault::reject(FaultCode::UnsupportedVersion, ("MSH", 12), "Only HL7 version 2 is read here."));
    }
    Ok(())
}

fn charset_fault(fault: CharsetFault) -> Fault {
    match fault {
        CharsetFault::Unknown => {
            Fault::error(FaultCode::TableValue, ("MSH", 18), "The character set is not known; use table 0211.")
        }
        CharsetFault::CannotTravel => {
            Fault::reject(FaultCode::TableValue, ("MSH", 18), "UTF-16 and UTF-32 cannot travel in MLLP; send UTF-8.")
        }
        CharsetFault::Undecodable => {
            Fault::error(FaultCode::DataType, ("MSH", 18), "The text is not in the declared character set; correct MSH-18.")
        }
    }
}

fn facts(reading: &Reading<'_>) -> Result<(String, Vec<Fact>), Fault> {
    let message = &reading.message;
    if message.segments.iter().filter(|s| s.is("MSH")).count() > 1 {
        return Err(Fault::error(FaultCode::SegmentSequence, ("MSH", 0), "Two messages are in one frame; send one, or a batch."));
    }
    let kind = message.first("MSH").map(|msh| msh.field(9));
    let piece = |number: usize| kind.map(|k| k.component(number).text().to_ascii_uppercase()).unwrap_or_default();
    let (code, mut trigger) = (piece(1), piece(2));
    if trigger.is_empty() {
        // v2.2 and before: the event stands in EVN-1 only.
        trigger = message.first("EVN").map(|evn| evn.field(1).value().to_ascii_uppercase()).unwrap_or_default();
    }
    let facts = match code.as_str() {
        "" => return Err(Fault::error(FaultCode::RequiredMissing, ("MSH", 9), "The message has no type; send MSH-9.")),
        "ADT" => adt::facts(reading, &trigger)?,
        "ORM" | "OMI" | "OMG" => order::facts(reading)?,
        "SIU" => adt::appointment(reading)?,
        _ => {
            return Err(Fault::reject(
                FaultCode::UnsupportedType,
                ("MSH", 9),
                "This door takes ADT, ORM, OMI, OMG and SIU; do not route other messages here.",
            ));
        }
    };
    let known = trigger.len() == 3 && trigger.bytes().all(|b| b.is_ascii_alphanumeric());
    Ok((if known { format!("{code}^{trigger}") } else { code }, facts))
}

fn source(message: &Message<'_>) -> Source {
    let text = |number: usize| message.first("MSH").map(|msh| msh.field(number).value().into_owned()).unwrap_or_default();
    Source { application: text(3), facility: text(4) }
}

/// EVN-2, else MSH-7, else when it came; also where the sender's clock is a day ahead.
fn event(reading: &Reading<'_>, received_at: Timestamp) -> Moment {
    let time = |segment: &str, field: usize| {
        let value = reading.message.first(segment)?.field(field).value().into_owned();
        moment(&value, reading.zone).filter(|m| m.from_ms <= received_at.as_millisecond() + AHEAD_MAX_MS)
    };
    time("EVN", 2).or_else(|| time("MSH", 7)).unwrap_or_else(|| Moment::at(received_at))
}
