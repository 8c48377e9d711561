//! One TLS connection, and how it ends.
//!
//! Two things that actix leaves open. A refusal counts only when the client can read it: a socket
//! that is closed while bytes wait in it answers with a reset, and the reset wipes out the answer
//! on its way (RFC 9112 §9.6). So the answer is followed by a half-close, and what the client still
//! sends is thrown away for a while. And actix times the first request head of a connection only:
//! the later ones are timed here, and so is a client that does not read its answer.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::server::Limits;

/// Bytes thrown away behind an answer: the largest photo, several times.
const DISCARD_MAX_BYTES: usize = 256 * 1024 * 1024;
/// A client that sends nothing for so long behind its answer has read it or never will.
const DISCARD_IDLE: Duration = Duration::from_secs(5);
/// Longest wait for the half-close itself.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between a request's first byte and its answer, as far as known here.
    Busy,
    /// Answered, the body read to its end.
    Between,
    /// Bytes of another head arrive.
    Head,
    /// Answered, and the body is not read to its end.
    Unread,
}

/// The phase, shared with whoever answers on this connection.
#[derive(Clone)]
pub struct Pace(Rc<Cell<Phase>>);

impl Pace {
    pub fn set(&self, phase: Phase) {
        self.0.set(phase);
    }
}

struct Line {
    tls: TlsStream<BufReader<TcpStream>>,
    pace: Pace,
    head_max: Duration,
    stall_max: Duration,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
    saw_end: bool,
}

/// The stream that actix reads and writes.
pub struct Wire(Rc<RefCell<Line>>);

/// The same connection, for the time when actix is done with it.
pub struct Ending(Rc<RefCell<Line>>, Duration);

impl Wire {
    #[must_use]
    pub fn new(tls: TlsStream<BufReader<TcpStream>>, limits: &Limits) -> (Self, Ending) {
        let line = Rc::new(RefCell::new(Line {
            tls,
            // actix times the first head itself.
            pace: Pace(Rc::new(Cell::new(Phase::Busy))),
            head_max: Duration::from_millis(limits.head_ms),
            stall_max: Duration::from_millis(limits.write_stall_ms),
            head: None,
            stall: None,
            saw_end: false,
        }));
        (Self(Rc::clone(&line)), Ending(line, Duration::from_millis(limits.discard_ms)))
    }

    #[must_use]
    pub fn pace(&self) -> Pace {
        self.0.borrow().pace.clone()
    }
}

impl Line {
    /// An error where a later head takes too long.
    fn check_head(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.pace.0.get() != Phase::Head {
            self.head = None;
            return Ok(());
        }
        let head_max = self.head_max;
        match self.head.get_or_insert_with(|| Box::pin(sleep(head_max))).as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// An error where the client has not read for too long.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let stall_max = self.stall_max;
        match self.stall.get_or_insert_with(|| Box::pin(sleep(stall_max))).as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.tls).poll_shutdown(cx);
        self.watch_stall(cx, outcome)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.borrow_mut();
        line.check_head(cx)?;
        let before = buf.filled().len();
        // At most one TLS record (16 KiB) at a time, so that actix's buffer stays near its limit.
        ready!(Pin::new(&mut line.tls).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            line.saw_end = true;
        } else if line.pace.0.get() == Phase::Between {
            line.pace.set(Phase::Head);
            line.check_head(cx)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = self.0.borrow_mut();
        let outcome = Pin::new(&mut line.tls).poll_write(cx, bytes);
        line.watch_stall(cx, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.borrow_mut();
        let outcome = Pin::new(&mut line.tls).poll_flush(cx);
        line.watch_stall(cx, outcome)
    }

    /// Half-close: `close_notify`, then FIN. Reading goes on in [`Ending`].
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_close(cx)
    }
}

impl Ending {
    /// Half-closes if that was not done, and throws away what still comes, within limits. Nothing
    /// to do where the client closed first, or where it owes nothing and we owe nothing.
    pub async fn linger(self) {
        let Self(line, discard_max) = self;
        let owed = !line.borrow().saw_end && line.borrow().pace.0.get() != Phase::Between;
        if !owed {
            return;
        }
        let close = poll_fn(|cx| line.borrow_mut().poll_close(cx));
        if !matches!(timeout(CLOSE_MAX, close).await, Ok(Ok(()))) {
            return;
        }
        // actix dropped its half when it returned, so this is the only one.
        let Some(line) = Rc::into_inner(line) else { return };
        let (tcp, _) = line.into_inner().tls.into_inner();
        discard(tcp.get_ref(), discard_max).await;
    }
}

async fn discard(tcp: &TcpStream, discard_max: Duration) {
    let end = Instant::now() + discard_max;
    let mut scrap = vec![0; 16 * 1024];
    let mut discarded_bytes = 0;
    while discarded_bytes < DISCARD_MAX_BYTES {
        let patience = end.min(Instant::now() + DISCARD_IDLE);
        if !matches!(timeout_at(patience, tcp.readable()).await, Ok(Ok(()))) {
            return;
        }
        match tcp.try_read(&mut scrap) {
            Ok(0) => return,
            Ok(read) => discarded_bytes += read,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
