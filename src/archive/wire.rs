//! PDUs over one TCP connection (PS3.8 §9.3): deadlines, and the two switches without which a
//! peer that uses Nagle's algorithm waits 40 ms for each answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use dicom_ul::pdu::{Pdu, read_pdu, write_pdu};

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
/// A farewell is worth no more, milliseconds.
const FAREWELL_MS: u64 = 1_000;

/// Why nothing more comes over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unresolved,
    Closed,
    TimedOut,
    Broken(io::ErrorKind),
    /// The peer does not keep PS3.8.
    Protocol(&'static str),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unresolved => f.write_str("its name has no address"),
            Self::Closed => f.write_str("it closed the connection"),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Broken(kind) => write!(f, "the connection failed ({kind})"),
            Self::Protocol(what) => write!(f, "it does not speak DICOM: {what}"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            kind => Self::Broken(kind),
        }
    }
}

/// Until when, and how long a single write may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) deadline: Instant,
    pub(super) stall: Duration,
}

impl Patience {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, stall: Duration::MAX }
    }

    pub(super) fn from_now(ms: u64) -> Self {
        Self::until(Instant::now() + Duration::from_millis(ms))
    }

    fn left(&self) -> Result<Duration, Fault> {
        let left = self.deadline.checked_duration_since(Instant::now()).unwrap_or_default();
        if left.is_zero() { Err(Fault::TimedOut) } else { Ok(left.min(self.stall)) }
    }
}

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
    socket: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(super) fn connect(address: &str, patience: Patience) -> Result<Self, Fault> {
        let mut fault = Fault::Unresolved;
        for address in address.to_socket_addrs().map_err(|_| Fault::Unresolved)? {
            match TcpStream::connect_timeout(&address, patience.left()?) {
                Ok(socket) => return Self::over(socket),
                Err(error) => fault = error.into(),
            }
        }
        Err(fault)
    }

    pub(super) fn over(socket: TcpStream) -> Result<Self, Fault> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, input: vec![0; PDU_HEAD_BYTES + PDU_BYTES_MAX], start: 0, end: 0 })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], patience: Patience) -> Result<(), Fault> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(patience.left()?))?;
            match self.socket.write(bytes) {
                Ok(0) => return Err(Fault::Closed),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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

    /// Reads until `need` bytes are there. The acknowledgement is asked for at once after every
    /// read: the kernel forgets the wish, and a peer with Nagle's algorithm holds the rest of its
    /// answer back until it comes.
    fn fill(&mut self, need: usize, patience: Patience) -> Result<(), Fault> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + need > self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < need {
            self.socket.set_read_timeout(Some(patience.left()?))?;
            self.acknowledge_at_once();
            let room = self.input.get_mut(self.end..).unwrap_or_default();
            match self.socket.read(room) {
                Ok(0) => return Err(Fault::Closed),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            self.acknowledge_at_once();
        }
        Ok(())
    }

    /// Costs some speed where it fails, and nothing else.
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.socket).set_tcp_quickack(true);
    }

    /// True where the peer has neither closed nor said anything: between two messages it has
    /// nothing to say but farewell.
    pub(super) fn is_quiet(&self) -> bool {
        let mut probe = [0; 1];
        let is_open = self.start == self.end
            && self.socket.set_nonblocking(true).is_ok()
            && matches!(self.socket.peek(&mut probe), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).is_ok() && is_open
    }

    /// A-ABORT, and the end of the connection.
    pub(super) fn abort(mut self) {
        let abort = Pdu::AbortRQ { source: dicom_ul::pdu::AbortRQSource::ServiceUser };
        let _ = self.write_pdu(&abort, Patience::from_now(FAREWELL_MS));
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// A-RELEASE, and the end of the connection. A peer that does not answer is left.
    pub(super) fn release(mut self) {
        let patience = Patience::from_now(FAREWELL_MS);
        if self.write_pdu(&Pdu::ReleaseRQ, patience).is_ok() {
            let _ = self.read(patience);
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
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
        let mut wire = Wire::connect(&address, Patience::from_now(5_000)).unwrap();
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
        let wire = Wire::connect(&listener.local_addr().unwrap().to_string(), Patience::from_now(5_000)).unwrap();
        drop(listener.accept().unwrap());
        while wire.is_quiet() {
            std::thread::yield_now();
        }
    }
}
