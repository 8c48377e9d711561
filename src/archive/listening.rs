//! Taking connections: a thread for each, so many at once, all of them ended when it stops.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// After a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is done with a connection; true: there are as many as may be, so say farewell.
pub(super) type Serve = dyn Fn(TcpStream, bool) + Send + Sync;

/// A listener that serves. Stops when dropped.
pub(super) struct Listening {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    name: &'static str,
    connections_max: usize,
    serve: Box<Serve>,
    is_stopping: AtomicBool,
    /// Connections that are open, so that stopping can end them.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Listening {
    pub(super) fn start(
        address: SocketAddr,
        name: &'static str,
        connections_max: usize,
        serve: impl Fn(TcpStream, bool) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let local_addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name,
            connections_max,
            serve: Box::new(serve),
            is_stopping: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = std::thread::Builder::new().name(format!("{name}-accept")).spawn({
            let shared = Arc::clone(&shared);
            move || accept_all(&listener, &shared)
        })?;
        Ok(Self { shared, local_addr, accepting: Some(accepting) })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Ends every connection, whatever it does, and returns when all is quiet.
    pub(super) fn halt(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // `accept` has no other alarm clock.
        let _ = TcpStream::connect(self.local_addr);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut serving: Vec<JoinHandle<()>> = Vec::new();
    for number in 0_u64.. {
        let accepted = listener.accept();
        if shared.is_stopping.load(Ordering::SeqCst) {
            break;
        }
        // Out of descriptors, or the peer has gone already: neither is the end.
        let Ok((socket, _)) = accepted else {
            std::thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        serving.retain(|thread| !thread.is_finished());
        let is_full = serving.len() >= shared.connections_max;
        if serving.len() >= 2 * shared.connections_max {
            // Not even a farewell: it costs a thread that waits for a request first.
            continue;
        }
        if let Ok(clone) = socket.try_clone() {
            shared.open().insert(number, clone);
        }
        let serve = {
            let shared = Arc::clone(shared);
            move || {
                (shared.serve)(socket, is_full);
                shared.open().remove(&number);
            }
        };
        if let Ok(thread) = std::thread::Builder::new().name(shared.name.to_owned()).spawn(serve) {
            serving.push(thread);
        } else {
            shared.open().remove(&number);
        }
    }
    for socket in shared.open().values() {
        let _ = socket.shutdown(Shutdown::Both);
    }
    for thread in serving {
        let _ = thread.join();
    }
}
