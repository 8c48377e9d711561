//! PDUs over one connection (PS3.8 §9.3).

use std::net::TcpStream;
use std::sync::Arc;

use dicom_ul::pdu::{Pdu, read_pdu, write_pdu};
use rustls::{ClientConfig, ServerConfig};

use super::link::{FAREWELL_MS, Link, Tongue, host_of};
pub(super) use super::link::{Fault, Patience};

/// Longest PDU that is received and sent, bytes after its head. Beyond 128 KiB nothing gets
/// faster and memory per association grows.
pub(super) const PDU_BYTES_MAX: usize = 128 << 10;
/// The same as it is announced (PS3.8 §D.1).
pub(super) const PDU_BYTES_ANNOUNCED: u32 = 128 << 10;
/// Type, a reserved byte, length.
pub(super) const PDU_HEAD_BYTES: usize = 6;
/// Item length, context, message control header (PS3.8 §9.3.5.1).
pub(super) const PDV_HEAD_BYTES: usize = 6;
const P_DATA_TF: u8 = 0x04;
/// Message control header (PS3.8 §E.2).
const IS_COMMAND: u8 = 1;
const IS_LAST: u8 = 2;
/// One received PDU.
pub(super) enum Incoming<'a> {
    Data(Fragments<'a>),
    Other(Pdu),
}

/// The presentation data values of one P-DATA-TF.
pub(super) struct Fragments<'a>(&'a [u8]);

pub(super) struct Fragment<'a> {
    pub(super) context: u8,
    pub(super) is_command: bool,
    pub(super) is_last: bool,
    pub(super) bytes: &'a [u8],
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parsed = parse_fragment(self.0);
        self.0 = parsed.as_ref().map(|(_, rest)| *rest).unwrap_or_default();
        Some(parsed.map(|(fragment, _)| fragment).ok_or(Fault::Protocol("a data value runs past its PDU")))
    }
}

fn parse_fragment(bytes: &[u8]) -> Option<(Fragment<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (item, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (&[context, control], bytes) = item.split_first_chunk::<2>()?;
    let fragment = Fragment { context, is_command: control & IS_COMMAND != 0, is_last: control & IS_LAST != 0, bytes };
    Some((fragment, rest))
}

/// The 12 bytes before `length` bytes of a data value that fills its PDU.
pub(super) fn data_head(context: u8, is_command: bool, is_last: bool, length: usize) -> [u8; PDU_HEAD_BYTES + PDV_HEAD_BYTES] {
    let item = u32::try_from(length + 2).unwrap_or(0);
    let [p1, p2, p3, p4] = (item + 4).to_be_bytes();
    let [i1, i2, i3, i4] = item.to_be_bytes();
    let control = if is_command { IS_COMMAND } else { 0 } | if is_last { IS_LAST } else { 0 };
    [P_DATA_TF, 0, p1, p2, p3, p4, i1, i2, i3, i4, context, control]
}

pub(super) struct Wire {
    link: Link,
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(super) fn connect(address: &str, tls: Option<&Arc<ClientConfig>>, patience: Patience) -> Result<Self, Fault> {
        let mut link = Link::connect(address, patience)?;
        if let Some(config) = tls {
            link.secure(config, host_of(address), patience)?;
        }
        Ok(Self::of(link))
    }

    /// A connection that came to us.
    pub(super) fn over(socket: TcpStream, tls: Option<&Arc<ServerConfig>>, patience: Patience) -> Result<Self, Fault> {
        let mut link = Link::over(socket)?;
        if let Some(config) = tls {
            link.secure_door(config, patience)?;
        }
        Ok(Self::of(link))
    }

    fn of(link: Link) -> Self {
        Self { link, input: vec![0; PDU_HEAD_BYTES + PDU_BYTES_MAX], start: 0, end: 0 }
    }

    pub(super) fn tls_version(&self) -> Option<&'static str> {
        self.link.tls_version()
    }

    pub(super) fn write(&mut self, bytes: &[u8], patience: Patience) -> Result<(), Fault> {
        self.link.write(bytes, patience)
    }

    pub(super) fn write_pdu(&mut self, pdu: &Pdu, patience: Patience) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|_| Fault::Protocol("a PDU of ours cannot be written"))?;
        self.write(&bytes, patience)
    }

    /// Waits for one whole PDU.
    pub(super) fn read(&mut self, patience: Patience) -> Result<Incoming<'_>, Fault> {
        self.fill(PDU_HEAD_BYTES, patience)?;
        let head = self.input.get(self.start..self.start + PDU_HEAD_BYTES).unwrap_or_default();
        let &[kind, _, l1, l2, l3, l4] = head else { return Err(Fault::Closed) };
        if let Some(tongue @ (Tongue::Http | Tongue::Tls)) = Tongue::of(head) {
            return Err(Fault::Speaks(tongue));
        }
        let length = usize::try_from(u32::from_be_bytes([l1, l2, l3, l4])).unwrap_or(usize::MAX);
        if length > PDU_BYTES_MAX {
            return Err(Fault::Protocol("a PDU is longer than was agreed"));
        }
        self.fill(PDU_HEAD_BYTES + length, patience)?;
        let whole = self.input.get(self.start..self.start + PDU_HEAD_BYTES + length).unwrap_or_default();
        self.start += PDU_HEAD_BYTES + length;
        if kind == P_DATA_TF {
            return Ok(Incoming::Data(Fragments(whole.get(PDU_HEAD_BYTES..).unwrap_or_default())));
        }
        match read_pdu(whole, PDU_BYTES_ANNOUNCED, true) {
            Ok(Some(pdu)) => Ok(Incoming::Other(pdu)),
            Ok(None) | Err(_) => Err(Fault::Protocol("a PDU cannot be read")),
        }
    }

    /// Reads until `need` bytes are there.
    fn fill(&mut self, need: usize, patience: Patience) -> Result<(), Fault> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + need > self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < need {
            match self.link.read(self.input.get_mut(self.end..).unwrap_or_default(), patience)? {
                0 => return Err(Fault::Closed),
                count => self.end += count,
            }
        }
        Ok(())
    }

    /// True where the peer has neither closed nor said anything: between two messages it has
    /// nothing to say but farewell.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.start == self.end && self.link.is_quiet()
    }

    /// A-ABORT, and the end of the connection.
    pub(super) fn abort(mut self) {
        let abort = Pdu::AbortRQ { source: dicom_ul::pdu::AbortRQSource::ServiceUser };
        let _ = self.write_pdu(&abort, Patience::from_now(FAREWELL_MS));
        self.link.shut_down();
    }

    /// A-RELEASE, and the end of the connection. A peer that does not answer is left.
    pub(super) fn release(mut self) {
        let patience = Patience::from_now(FAREWELL_MS);
        if self.write_pdu(&Pdu::ReleaseRQ, patience).is_ok() {
            let _ = self.read(patience);
        }
        self.link.shut_down();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_data_head_says_what_follows() {
        let mut pdu = data_head(3, true, true, 5).to_vec();
        pdu.extend_from_slice(b"hello");
        let length = u32::from_be_bytes([pdu[2], pdu[3], pdu[4], pdu[5]]);
        assert_eq!(usize::try_from(length).unwrap(), pdu.len() - PDU_HEAD_BYTES);
        let fragment = Fragments(&pdu[PDU_HEAD_BYTES..]).next().expect("one").expect("legal");
        assert_eq!((fragment.context, fragment.is_command, fragment.is_last, fragment.bytes), (3, true, true, &b"hello"[..]));
    }

    #[test]
    fn a_value_that_lies_about_its_length_ends_the_pdu() {
        for bytes in [&[0, 0, 0, 9, 1, 2, 0][..], &[0, 0, 0, 1, 1][..], &[0, 0][..], &[0xFF; 8][..]] {
            let mut fragments = Fragments(bytes);
            assert!(fragments.next().expect("one").is_err());
            assert!(fragments.next().is_none());
        }
    }

    #[test]
    fn a_peer_that_is_silent_or_talks_too_much_is_left() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut wire = Wire::connect(&address, None, Patience::from_now(5_000)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert!(wire.is_quiet());
        assert!(matches!(wire.read(Patience::from_now(10)), Err(Fault::TimedOut)));
        peer.write_all(&[4, 0, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap();
        assert!(matches!(wire.read(Patience::from_now(5_000)), Err(Fault::Protocol(_))));
        assert!(!wire.is_quiet());
    }

    #[test]
    fn a_peer_that_has_gone_is_noticed_between_two_messages() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(&listener.local_addr().unwrap().to_string(), None, Patience::from_now(5_000)).unwrap();
        drop(listener.accept().unwrap());
        while wire.is_quiet() {
            std::thread::yield_now();
        }
    }
}
