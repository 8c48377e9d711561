//! One connection to or from an archive, plain or in TLS, with a deadline on every wait.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::tls::TlsFault;

/// A farewell is worth no more, milliseconds.
pub(super) const FAREWELL_MS: u64 = 1_000;
/// Records that a peer may send between two messages (session tickets, RFC 8446 §4.6.1) and still
/// count as quiet.
const QUIET_READS_MAX: usize = 16;

/// Why nothing more comes over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unresolved,
    Closed,
    TimedOut,
    Broken(io::ErrorKind),
    /// The peer does not keep the protocol.
    Protocol(&'static str),
    /// The peer speaks something else.
    Speaks(Tongue),
    Tls(TlsFault),
}

/// What can be told from the first bytes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    Dicom,
    Http,
    Tls,
}

impl Tongue {
    /// `None` where the begin could be anything.
    pub(super) fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [b'H', b'T', b'T', b'P', ..] => Some(Self::Http),
            // A record of TLS: an alert or a handshake, and the major version (RFC 8446 §5.1).
            [0x15 | 0x16, 3, ..] => Some(Self::Tls),
            // A-ASSOCIATE-AC, -RJ, A-ABORT and a reserved byte; lengths are short (PS3.8 §9.3).
            [2 | 3 | 7, 0, 0, 0, ..] => Some(Self::Dicom),
            _ => None,
        }
    }
}

impl fmt::Display for Tongue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dicom => "DICOM without TLS",
            Self::Http => "HTTP without TLS",
            Self::Tls => "TLS",
        })
    }
}

impl Fault {
    /// Where the cause may be that the peer speaks something else: worth asking in other words.
    pub(super) fn may_be_another_tongue(self) -> bool {
        match self {
            Self::Closed | Self::TimedOut | Self::Protocol(_) | Self::Tls(TlsFault::NotTls | TlsFault::Other) => true,
            Self::Broken(kind) => kind != io::ErrorKind::ConnectionRefused,
            Self::Unresolved | Self::Speaks(_) | Self::Tls(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved => f.write_str("its name has no address"),
            Self::Closed => f.write_str("it closed the connection"),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Broken(kind) => write!(f, "the connection failed ({kind})"),
            Self::Protocol(what) => write!(f, "it does not keep the protocol: {what}"),
            Self::Speaks(tongue) => write!(f, "what answers there speaks {tongue}"),
            Self::Tls(fault) => fault.fmt(f),
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

/// `host` of `host:port`, without the brackets of IPv6.
pub(super) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

pub(super) struct Link {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
}

impl Link {
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
        Ok(Self { socket, tls: None })
    }

    /// TLS from here on; the peer must be `host`.
    pub(super) fn secure(&mut self, config: &Arc<ClientConfig>, host: &str, patience: Patience) -> Result<(), Fault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Fault::Tls(TlsFault::OtherName))?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(|e| Fault::Tls(TlsFault::of(&e)))?;
        self.shake_hands(session.into(), patience)
    }

    /// TLS from here on; the peer came to us.
    pub(super) fn secure_door(&mut self, config: &Arc<ServerConfig>, patience: Patience) -> Result<(), Fault> {
        let session = ServerConnection::new(Arc::clone(config)).map_err(|e| Fault::Tls(TlsFault::of(&e)))?;
        self.shake_hands(session.into(), patience)
    }

    fn shake_hands(&mut self, session: Connection, patience: Patience) -> Result<(), Fault> {
        let mut session = Box::new(session);
        let mut begin = Begin { socket: &self.socket, seen: Vec::new() };
        while session.is_handshaking() {
            flush(&mut session, &self.socket, patience)?;
            if !session.is_handshaking() {
                break;
            }
            self.socket.set_read_timeout(Some(patience.left()?))?;
            match session.read_tls(&mut begin) {
                Ok(0) => return Err(Fault::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            if let Err(error) = session.process_new_packets() {
                let _ = flush(&mut session, &self.socket, Patience::from_now(FAREWELL_MS));
                let tongue = Tongue::of(&begin.seen).filter(|t| *t != Tongue::Tls);
                let is_agreed = session.negotiated_cipher_suite().is_some();
                return Err(tongue.map_or_else(|| Fault::Tls(TlsFault::in_handshake(&error, is_agreed)), Fault::Speaks));
            }
        }
        flush(&mut session, &self.socket, patience)?;
        self.tls = Some(session);
        Ok(())
    }

    /// `TLSv1_3` and the like; `None` in clear text.
    pub(super) fn tls_version(&self) -> Option<&'static str> {
        Some(match self.tls.as_ref()?.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3",
            _ => "TLS 1.2",
        })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], patience: Patience) -> Result<(), Fault> {
        if let Some(session) = &mut self.tls {
            while !bytes.is_empty() {
                let count = session.writer().write(bytes)?;
                if count == 0 {
                    return Err(Fault::Closed);
                }
                bytes = bytes.get(count..).unwrap_or_default();
                flush(session, &self.socket, patience)?;
            }
            return Ok(());
        }
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

    /// What is there, at least one byte; 0: the peer has ended.
    ///
    /// The acknowledgement is asked for at once before and after every read: the kernel forgets
    /// the wish, and a peer with Nagle's algorithm holds the rest of its answer back until it comes.
    pub(super) fn read(&mut self, room: &mut [u8], patience: Patience) -> Result<usize, Fault> {
        loop {
            if let Some(session) = &mut self.tls {
                match session.reader().read(room) {
                    Ok(count) => return Ok(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.socket.set_read_timeout(Some(patience.left()?))?;
            self.acknowledge_at_once();
            let received = match &mut self.tls {
                Some(session) => session.read_tls(&mut &self.socket),
                None => self.socket.read(room),
            };
            self.acknowledge_at_once();
            match received {
                // Without a farewell of TLS: it may have been cut off.
                Ok(0) if self.tls.is_some() => return Err(Fault::Closed),
                Ok(count) if self.tls.is_none() => return Ok(count),
                Ok(_) => self.process()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn process(&mut self) -> Result<(), Fault> {
        let Some(session) = &mut self.tls else { return Ok(()) };
        let processed = session.process_new_packets();
        // An answer to a key update, or the alert that says what is wrong.
        let flushed = flush(session, &self.socket, Patience::from_now(FAREWELL_MS));
        processed.map_err(|error| Fault::Tls(TlsFault::of(&error)))?;
        flushed
    }

    /// Costs some speed where it fails, and nothing else.
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.socket).set_tcp_quickack(true);
    }

    /// True where the peer has neither closed nor said anything.
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.socket.set_nonblocking(true).is_err() {
            return false;
        }
        let is_quiet = match &mut self.tls {
            Some(session) => is_session_quiet(session, &self.socket),
            None => matches!(self.socket.peek(&mut [0; 1]), Err(e) if e.kind() == io::ErrorKind::WouldBlock),
        };
        self.socket.set_nonblocking(false).is_ok() && is_quiet
    }

    /// The end of the connection, in both directions.
    pub(super) fn shut_down(&mut self) {
        if let Some(session) = &mut self.tls {
            session.send_close_notify();
            let _ = flush(session, &self.socket, Patience::from_now(FAREWELL_MS));
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Everything that TLS has to say.
fn flush(session: &mut Connection, socket: &TcpStream, patience: Patience) -> Result<(), Fault> {
    while session.wants_write() {
        socket.set_write_timeout(Some(patience.left()?))?;
        match session.write_tls(&mut &*socket) {
            Ok(0) => return Err(Fault::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes in what does not count, such as session tickets.
fn is_session_quiet(session: &mut Connection, socket: &TcpStream) -> bool {
    for _ in 0..QUIET_READS_MAX {
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
            _ => return false,
        }
        match session.read_tls(&mut &*socket) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    false
}

/// Remembers how the answer begins: what is no TLS may be known by it.
struct Begin<'a> {
    socket: &'a TcpStream,
    seen: Vec<u8>,
}

impl Read for Begin<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(room)?;
        if self.seen.len() < 8 {
            self.seen.extend(room.iter().take(count.min(8)));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_how_it_begins() {
        for (begin, then) in [
            (&b"HTTP/1.1 400"[..], Some(Tongue::Http)),
            (&[0x15, 3, 3, 0, 2, 2, 70], Some(Tongue::Tls)),
            (&[7, 0, 0, 0, 0, 4, 0, 0, 2, 0], Some(Tongue::Dicom)),
            (&b"220 smtp"[..], None),
            (&[], None),
        ] {
            assert_eq!(Tongue::of(begin), then, "{begin:?}");
        }
    }

    #[test]
    fn the_host_of_an_address_is_its_name_alone() {
        for (address, host) in [("pacs.example:104", "pacs.example"), ("[::1]:104", "::1"), ("10.0.0.1:104", "10.0.0.1")] {
            assert_eq!(host_of(address), host);
        }
    }
}
