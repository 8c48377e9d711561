//! Acknowledgements in original mode (HL7 v2.5.1 §2.9.2): AA, AE, AR, in the sender's delimiters
//! and with the sender's own bytes echoed. No text in them ever repeats a value of the message.

use jiff::Timestamp;
use jiff::fmt::strtime;

use super::header::Header;

/// Table 0008.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCode {
    /// Applied, and on disk.
    Accept,
    /// The content is wrong; sending it again will not help.
    Error,
    /// Not ours: type, event, version or character set.
    Reject,
}

impl AckCode {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "AA",
            Self::Error => "AE",
            Self::Reject => "AR",
        }
    }
}

/// Table 0357, as far as we use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCode {
    SegmentSequence,
    RequiredMissing,
    DataType,
    TableValue,
    UnsupportedType,
    UnsupportedEvent,
    UnsupportedVersion,
    TooLarge,
}

impl FaultCode {
    fn number(self) -> &'static str {
        match self {
            Self::SegmentSequence => "100",
            Self::RequiredMissing => "101",
            Self::DataType => "102",
            Self::TableValue => "103",
            Self::UnsupportedType => "200",
            Self::UnsupportedEvent => "201",
            Self::UnsupportedVersion => "203",
            Self::TooLarge => "207",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::SegmentSequence => "Segment sequence error",
            Self::RequiredMissing => "Required field missing",
            Self::DataType => "Data type error",
            Self::TableValue => "Table value not found",
            Self::UnsupportedType => "Unsupported message type",
            Self::UnsupportedEvent => "Unsupported event code",
            Self::UnsupportedVersion => "Unsupported version id",
            Self::TooLarge => "Application internal error",
        }
    }
}

/// What is wrong with a message, where, and what to do. No patient data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub ack: AckCode,
    pub code: FaultCode,
    /// Segment and field, e.g. `("MRG", 1)`; field 0: the segment itself.
    pub location: (&'static str, u8),
    pub detail: &'static str,
}

impl Fault {
    #[must_use]
    pub fn error(code: FaultCode, location: (&'static str, u8), detail: &'static str) -> Self {
        Self { ack: AckCode::Error, code, location, detail }
    }

    #[must_use]
    pub fn reject(code: FaultCode, location: (&'static str, u8), detail: &'static str) -> Self {
        Self { ack: AckCode::Reject, code, location, detail }
    }
}

/// A message that is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    pub fault: Fault,
    /// `None`: it has no MSH.
    pub header: Option<Header>,
    pub received_at: Timestamp,
}

impl Nack {
    /// The answer, unframed.
    #[must_use]
    pub fn answer(&self) -> Vec<u8> {
        acknowledge(self.header.as_ref(), Err(&self.fault), self.received_at)
    }
}

/// The acknowledgement of the message with that header.
#[must_use]
pub fn acknowledge(header: Option<&Header>, outcome: Result<(), &Fault>, at: Timestamp) -> Vec<u8> {
    // Delimiters that make no sense are not echoed, and then nothing else may be.
    let echo = header.filter(|h| h.delimiters().is_some());
    let field = |number: usize| echo.map(|h| h.field(number)).unwrap_or_default();
    let separator = echo.map_or(b'|', Header::separator);
    let encoding = echo.map_or(&b"^~\\&"[..], |h| h.field(2));
    let component = encoding.first().copied().unwrap_or(b'^');
    let control_id = header.map(|h| h.field(10)).unwrap_or_default();
    let control_id = if control_id.contains(&separator) { b"" } else { control_id };
    let version = echo.map(Header::version).unwrap_or_default();

    let mut segments = Vec::with_capacity(3);
    let time = strtime::format("%Y%m%d%H%M%S+0000", at).unwrap_or_default();
    let own_id = own_control_id(at, header);
    let kind = kind(echo, version, component);
    let mut msh: Vec<&[u8]> =
        vec![b"MSH", encoding, field(5), field(6), field(3), field(4), time.as_bytes(), b"", &kind, own_id.as_bytes()];
    msh.push(if field(11).is_empty() { b"P" } else { field(11) });
    msh.push(if field(12).is_empty() { b"2.5.1" } else { field(12) });
    if !field(18).is_empty() {
        msh.extend([&b""[..], b"", b"", b"", b""]);
        msh.push(field(18));
    }
    segments.push(join(&msh, separator));

    let word = outcome.map_or_else(|fault| fault.ack.word(), |()| AckCode::Accept.word());
    let mut msa: Vec<&[u8]> = vec![b"MSA", word.as_bytes(), control_id];
    let Err(fault) = outcome else {
        segments.push(join(&msa, separator));
        return finish(&segments);
    };
    let plain = |text: &str| -> Vec<u8> {
        text.bytes().map(|b| if b == separator || encoding.contains(&b) { b' ' } else { b }).collect()
    };
    let (segment, place) = fault.location;
    let place = if place == 0 { Vec::new() } else { place.to_string().into_bytes() };
    let detail = plain(fault.detail);
    let meaning = plain(fault.code.meaning());
    if is_before_2_5(version) {
        msa.push(&detail);
        let subcomponent = encoding.get(3).copied().unwrap_or(b'&');
        let code = join(&[fault.code.number().as_bytes(), &meaning, b"HL70357"], subcomponent);
        let location = join(&[segment.as_bytes(), b"1", &place, &code], component);
        segments.push(join(&msa, separator));
        segments.push(join(&[b"ERR", &location], separator));
    } else {
        let location: Vec<&[u8]> =
            if place.is_empty() { vec![segment.as_bytes(), b"1"] } else { vec![segment.as_bytes(), b"1", &place] };
        let location = join(&location, component);
        let code = join(&[fault.code.number().as_bytes(), &meaning, b"HL70357"], component);
        segments.push(join(&msa, separator));
        segments.push(join(&[b"ERR", b"", &location, &code, b"E", b"", b"", b"", &detail], separator));
    }
    finish(&segments)
}

/// MSH-9: `ACK^A04^ACK`; before v2.3.1 it had no more than `ACK`.
fn kind(header: Option<&Header>, version: &[u8], component: u8) -> Vec<u8> {
    let old = [&b"2.1"[..], b"2.2", b"2.3"].contains(&version);
    let trigger = header.and_then(|h| h.field(9).split(|b| *b == component).nth(1)).unwrap_or_default();
    let trigger = trigger.to_ascii_uppercase();
    if old || trigger.len() != 3 || !trigger.iter().all(u8::is_ascii_alphanumeric) {
        return b"ACK".to_vec();
    }
    join(&[b"ACK", &trigger, b"ACK"], component)
}

/// Own and unique, at most 20 characters (MSH-10 in every version): the time in nanoseconds, and
/// a checksum of the header for two messages that came in the same one.
fn own_control_id(at: Timestamp, header: Option<&Header>) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut number = u128::try_from(at.as_nanosecond()).unwrap_or_default();
    let mut sum: u32 = 0x811C_9DC5; // FNV-1a
    for byte in header.map(|h| h.field(10)).unwrap_or_default() {
        sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    number = (number << 16) | u128::from(sum & 0xFFFF);
    let mut letters: Vec<u8> = Vec::with_capacity(20);
    while number > 0 && letters.len() < 20 {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        letters.extend(DIGITS.get(digit));
        number /= 36;
    }
    letters.iter().rev().copied().map(char::from).collect()
}

fn is_before_2_5(version: &[u8]) -> bool {
    let mut parts = version.split(|b| *b == b'.');
    let number = |part: Option<&[u8]>| part.and_then(|p| std::str::from_utf8(p).ok()?.parse::<u8>().ok());
    let (major, minor) = (number(parts.next()), number(parts.next()));
    matches!((major, minor), (Some(2), Some(minor)) if minor < 5)
}

fn join(pieces: &[&[u8]], with: u8) -> Vec<u8> {
    pieces.join(&with)
}

fn finish(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut out = segments.join(&b'\r');
    out.push(b'\r');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Fault = Fault {
        ack: AckCode::Error,
        code: FaultCode::RequiredMissing,
        location: ("MRG", 1),
        detail: "A merge names no prior id; send MRG-1.",
    };

    fn text(message: &[u8], outcome: Result<(), &Fault>) -> String {
        let at: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
        String::from_utf8_lossy(&acknowledge(Header::find(message).as_ref(), outcome, at)).into_owned()
    }

    #[test]
    fn the_sender_is_answered_in_its_own_words() {
        let ack = text(b"MSH|^~\\&|HIS|HOSP|GW|IMG|2026||ADT^A04^ADT_A01|ID\\X0D\\1|T|2.5.1||||||UNICODE UTF-8", Ok(()));
        let lines: Vec<&str> = ack.split('\r').collect();
        let msh: Vec<&str> = lines[0].split('|').collect();
        assert_eq!(msh[1..8], ["^~\\&", "GW", "IMG", "HIS", "HOSP", "20260301080000+0000", ""]);
        assert_eq!((msh[8], msh[10], msh[11], msh[17]), ("ACK^A04^ACK", "T", "2.5.1", "UNICODE UTF-8"));
        assert!((1..=20).contains(&msh[9].len()));
        assert_eq!(lines[1..], ["MSA|AA|ID\\X0D\\1", ""]);
    }

    #[test]
    fn an_error_tells_the_place_as_the_version_has_it() {
        let new = text(b"MSH|^~\\&|A|B|C|D|2026||ADT^A40|7|P|2.5", Err(&FAULT));
        assert!(new.contains("\rMSA|AE|7\rERR||MRG^1^1|101^Required field missing^HL70357|E||||A merge"), "{new}");
        let old = text(b"MSH|^~\\&|A|B|C|D|2026||ADT^A34|7|P|2.3", Err(&FAULT));
        assert!(old.contains("|ACK|") && old.contains("\rMSA|AE|7|A merge names"), "{old}");
        assert!(old.contains("\rERR|MRG^1^1^101&Required field missing&HL70357\r"), "{old}");
    }

    #[test]
    fn foreign_delimiters_are_used_and_nonsense_ones_are_not() {
        let foreign = text(b"MSH#*!@$#HIS#F#GW#IMG#2026##ADT*A04#C1#P#2.5", Err(&FAULT));
        assert!(foreign.starts_with("MSH#*!@$#GW#IMG#HIS#F#") && foreign.contains("\rMSA#AE#C1\r"), "{foreign}");
        let nonsense = text(b"MSH|^^^^|HIS|F|GW|IMG|2026||ADT^A04|C1|P|2.5", Err(&FAULT));
        assert!(nonsense.starts_with("MSH|^~\\&|||||") && nonsense.contains("\rMSA|AE|C1\r"), "{nonsense}");
        assert!(text(b"GET /", Err(&FAULT)).contains("\rMSA|AE|\r"));
    }

    #[test]
    fn no_two_acknowledgements_have_one_control_id() {
        let ids: std::collections::HashSet<String> =
            (0..1000).map(|n| own_control_id(Timestamp::from_nanosecond(1_800_000_000_000_000_000 + n).unwrap(), None)).collect();
        assert_eq!(ids.len(), 1000);
    }
}
