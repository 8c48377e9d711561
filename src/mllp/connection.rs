//! One connection: bytes to messages, one after the other, each answered before the next.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::{Reply, Shared};
use crate::hl7::batch;
use crate::hl7::frame::{Decoder, Event, wrap};

/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes discarded after a refusal, so that the peer reads it before it meets a reset …
const DISCARD_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// … and how long each of those reads may wait.
const DISCARD_STALL_MS: u64 = 1_000;

/// Serves a connection to its end. `wire` carries the bytes (TLS would wrap it); `control` is the
/// socket below, for time-outs.
pub(super) fn run(mut wire: impl Read + Write, control: &TcpStream, shared: &Shared) {
    let mut decoder = Decoder::new(shared.options.frame_max_bytes);
    let mut bytes = vec![0; READ_BYTES];
    let mut was_open = false;
    loop {
        // Only inside a frame does silence end the connection.
        if decoder.is_open() != was_open {
            was_open = decoder.is_open();
            let stall = was_open.then(|| Duration::from_millis(shared.options.frame_stall_ms));
            if control.set_read_timeout(stall).is_err() {
                return;
            }
        }
        let count = match wire.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        decoder.push(bytes.get(..count).unwrap_or_default());
        while let Some(event) = decoder.next_event() {
            let goes_on = match event {
                Event::Message(frame) => answer(&mut wire, shared, frame),
                Event::TooLong(start) => {
                    if let Reply::Ack(ack) = shared.inbox.refuse_oversize(start) {
                        let _ = wire.write_all(&wrap(&ack));
                    }
                    false
                }
                Event::Noise => false,
            };
            if !goes_on || shared.is_stopping() {
                return;
            }
        }
    }
}

/// Delivers what one frame holds and writes the answers; false: the connection is to end.
fn answer(wire: &mut impl Write, shared: &Shared, frame: &[u8]) -> bool {
    for message in batch::split(frame) {
        match shared.inbox.deliver(message) {
            Reply::Ack(ack) => {
                if wire.write_all(&wrap(&ack)).is_err() {
                    return false;
                }
            }
            Reply::Close => return false,
        }
    }
    true
}

/// Ends a connection so that the last answer can still be read: half-close, then discard for a
/// bounded time what the peer goes on sending (RFC 9293 §3.6.1: unread bytes would be answered
/// with a reset, which wipes out the answer).
pub(super) fn close(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_err()
        || stream.set_read_timeout(Some(Duration::from_millis(DISCARD_STALL_MS))).is_err()
    {
        return;
    }
    let _ = io::copy(&mut stream.take(DISCARD_MAX_BYTES), &mut io::sink());
    let _ = stream.shutdown(Shutdown::Both);
}
