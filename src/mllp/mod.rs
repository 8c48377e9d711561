//! The HL7 door: MLLP over TCP.
//!
//! Owns: connections, frames on the wire, the order of answers.
//! Never: reads a message; answers before [`Inbox::deliver`] returned.

mod connection;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::hl7::frame::FRAME_MAX_BYTES;

/// Connections open at a time. A hospital has some ten senders, each with a few connections; a
/// thread and its buffers are about 100 KiB.
const CONNECTIONS_MAX: usize = 1024;
/// An open frame without a byte for this long is given up: a sender that stalls inside a message
/// is dead, and senders resend.
const FRAME_STALL_MS: u64 = 30_000;
/// A peer that does not read its acknowledgement for this long is gone.
const WRITE_STALL_MS: u64 = 10_000;
/// Idle connections live for ever (feeds sleep all night), but dead ones are found out.
const KEEPALIVE_IDLE_S: u64 = 60;
const KEEPALIVE_PROBE_S: u64 = 15;
const KEEPALIVE_PROBES: u32 = 4;
/// Connections the system holds for us until we take them.
const BACKLOG: i32 = 128;
/// A thread here reads frames and waits for the disk; parsing does not recurse.
const STACK_BYTES: usize = 512 * 1024;

/// What to send back for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An acknowledgement, unframed.
    Ack(Vec<u8>),
    /// Nothing, and the connection ends, so that the sender keeps the message: we failed, not it.
    Close,
}

/// Who takes the messages. Called from one thread per connection.
pub trait Inbox: Send + Sync {
    /// One message, unframed. An `AA` in the reply is a promise: what it confirms is on the disk.
    fn deliver(&self, message: &[u8]) -> Reply;

    /// A frame over the limit, of which only the beginning was kept. The connection ends after
    /// the reply.
    fn refuse_oversize(&self, start: &[u8]) -> Reply;
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Largest message. Default: [`FRAME_MAX_BYTES`].
    pub frame_max_bytes: usize,
    /// Default: [`FRAME_STALL_MS`], as the contract says.
    pub frame_stall_ms: u64,
    /// Default: [`CONNECTIONS_MAX`].
    pub connections_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { frame_max_bytes: FRAME_MAX_BYTES, frame_stall_ms: FRAME_STALL_MS, connections_max: CONNECTIONS_MAX }
    }
}

/// An open door.
pub struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    options: Options,
    inbox: Arc<dyn Inbox>,
    stopping: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (TcpStream, Option<JoinHandle<()>>)>,
}

impl Listener {
    /// Opens the door at `address`; port 0: any.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub fn open(address: SocketAddr, options: Options, inbox: Arc<dyn Inbox>) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { options, inbox, stopping: AtomicBool::new(false), open: Mutex::default() });
        let acceptor = thread::Builder::new().name("mllp".into()).spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        })?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open().connections.len()
    }

    /// Closes the door: messages in hand are finished and acknowledged, torn ones are dropped.
    /// Returns when every connection has ended.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        wake(self.address);
        let _ = acceptor.join();
        let threads: Vec<JoinHandle<()>> = {
            let mut open = self.shared.open();
            open.connections
                .values_mut()
                .filter_map(|(stream, thread)| {
                    // Ends a read that waits; a write that runs is not touched.
                    let _ = stream.shutdown(Shutdown::Read);
                    thread.take()
                })
                .collect()
        };
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Ends an `accept` that waits: a connection of our own.
fn wake(mut address: SocketAddr) {
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        }
    }
    let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.is_stopping() {
            return;
        }
        match accepted {
            // One too many is closed at once: better than a sender that waits unseen.
            Ok((stream, _)) if shared.open().connections.len() < shared.options.connections_max => {
                // A connection that fails at birth is the peer's to try again.
                let _ = serve(stream, shared);
            }
            Ok(_) => {}
            // Out of descriptors, or the peer left already: give others time to end.
            Err(_) => thread::park_timeout(Duration::from_millis(50)),
        }
    }
}

fn serve(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_millis(WRITE_STALL_MS)))?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(KEEPALIVE_IDLE_S))
        .with_interval(Duration::from_secs(KEEPALIVE_PROBE_S))
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let control = stream.try_clone()?;
    // Held until the thread is entered, so that one that ends at once finds itself in the list.
    let mut open = shared.open();
    let number = open.next;
    open.next += 1;
    let thread = thread::Builder::new().name("mllp-connection".into()).stack_size(STACK_BYTES).spawn({
        let shared = Arc::clone(shared);
        move || {
            let entry = Entry { shared: &shared, number };
            if let Ok(control) = stream.try_clone() {
                connection::run(stream, &control, &shared);
                connection::close(&control);
            }
            drop(entry);
        }
    })?;
    open.connections.insert(number, (control, Some(thread)));
    Ok(())
}

/// Strikes a connection off the list when its thread ends, however it ends.
struct Entry<'s> {
    shared: &'s Shared,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.shared.open().connections.remove(&self.number);
    }
}
