//! MLLP framing: VT … FS CR (HL7 v2.5.1 appendix C, Minimal Lower Layer Protocol).

use memchr::{memchr, memchr2};

const VT: u8 = 0x0B;
const FS: u8 = 0x1C;
const CR: u8 = b'\r';

/// Largest message taken by default. Feeds send 1 to 20 KiB; an order with a long report stays
/// below 1 MiB, a document embedded in base64 does not and has no business on this door.
pub const FRAME_MAX_BYTES: usize = 1024 * 1024;
/// Bytes outside a frame before the peer is taken for something that does not speak MLLP.
pub const NOISE_MAX_BYTES: usize = 4096;

/// What the bytes so far amount to. All but a message is said again until the peer is hung up on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// One whole message, without its frame.
    Message(&'a [u8]),
    /// The open frame is over the limit; its beginning, so that the header can be answered.
    TooLong(&'a [u8]),
    /// Too much outside any frame.
    Noise,
}

/// A push parser: [`Decoder::push`] bytes as they come, then drain [`Decoder::next_event`].
///
/// Tolerated: any split, blanks and line ends between frames, FS LF instead of FS CR, FS without
/// CR where the next VT follows. A VT with `MSH` behind it inside an open frame starts over: the
/// sender was cut off and begins anew.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Everything before is consumed.
    start: usize,
    /// Everything between `start` and here was looked at.
    seen: usize,
    open: bool,
    noise: usize,
    frame_max_bytes: usize,
}

impl Decoder {
    #[must_use]
    pub fn new(frame_max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, seen: 0, open: false, noise: 0, frame_max_bytes }
    }

    /// True while a frame has begun and not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
        } else if self.start > 0 {
            self.bytes.drain(..self.start);
        }
        self.seen -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next thing the pushed bytes hold; `None`: more bytes are needed.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        if !self.open {
            self.seek_start();
        }
        if !self.open {
            return (self.noise > NOISE_MAX_BYTES).then_some(Event::Noise);
        }
        let end = self.seek_end();
        let frame_end = end.unwrap_or(self.bytes.len());
        if frame_end - self.start > self.frame_max_bytes {
            return self.bytes.get(self.start..self.start + self.frame_max_bytes).map(Event::TooLong);
        }
        let (from, to) = (self.start, end?);
        // The byte behind FS is part of the frame, unless it is the next frame's VT.
        let skip = if self.bytes.get(to + 1) == Some(&VT) { 1 } else { 2 };
        self.start = to + skip;
        self.seen = self.start;
        self.open = false;
        self.bytes.get(from..to).map(Event::Message)
    }

    fn seek_start(&mut self) {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let skipped = memchr(VT, rest).unwrap_or(rest.len());
        let noise = rest.iter().take(skipped).filter(|b| !matches!(**b, b' ' | b'\t' | CR | b'\n' | FS)).count();
        self.noise = self.noise.saturating_add(noise);
        if skipped < rest.len() {
            self.open = true;
            self.noise = 0;
            self.start += skipped + 1;
        } else {
            self.start += skipped;
        }
        self.seen = self.start;
    }

    /// Where the open frame ends (the place of its FS); `None` where it goes on.
    fn seek_end(&mut self) -> Option<usize> {
        loop {
            let rest = self.bytes.get(self.seen..).unwrap_or_default();
            let Some(offset) = memchr2(VT, FS, rest) else {
                self.seen = self.bytes.len();
                return None;
            };
            let at = self.seen + offset;
            let behind = self.bytes.get(at + 1..).unwrap_or_default();
            if self.bytes.get(at) == Some(&FS) {
                match behind.first() {
                    None => {
                        self.seen = at;
                        return None;
                    }
                    Some(&(CR | b'\n' | VT)) => return Some(at),
                    Some(_) => self.seen = at + 1,
                }
            } else if behind.starts_with(b"MSH") {
                self.start = at + 1;
                self.seen = at + 1;
            } else if behind.len() < 3 && b"MSH".starts_with(behind) {
                self.seen = at;
                return None;
            } else {
                self.seen = at + 1;
            }
        }
    }
}

/// `message` as it goes on the wire.
#[must_use]
pub fn wrap(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.push(VT);
    frame.extend_from_slice(message);
    frame.extend_from_slice(&[FS, CR]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(event) = decoder.next_event() {
            match event {
                Event::Message(m) => out.push(String::from_utf8_lossy(m).into_owned()),
                Event::TooLong(m) => {
                    out.push(format!("too long {}", m.len()));
                    break;
                }
                Event::Noise => {
                    out.push("noise".into());
                    break;
                }
            }
        }
        out
    }

    #[test]
    fn a_frame_is_found_however_it_is_dressed_and_split() {
        let table: &[(&[u8], &[&str])] = &[
            (b"\x0bMSH|a\x1c\r", &["MSH|a"]),
            (b"\r\n \r\n\x0bMSH|a\x1c\r\n\x0bMSH|b\x1c\r", &["MSH|a", "MSH|b"]),
            (b"\x0bMSH|a\x1c\x0bMSH|b\x1c\r", &["MSH|a", "MSH|b"]),
            (b"\x0bMSH|a\x1c\n", &["MSH|a"]),
            (b"\x0bMSH|torn\x0bMSH|b\x1c\r", &["MSH|b"]),
            (b"\x0bMSH|F\x1cay\x1c\r", &["MSH|F\u{1c}ay"]),
            (b"\x0bMSH|F\x0bKay\x1c\r", &["MSH|F\u{b}Kay"]),
            (b"\x0b\x1c\r", &[""]),
            (b"\x0bMSH|no end", &[]),
        ];
        for (bytes, want) in table {
            let mut whole = Decoder::new(100);
            whole.push(bytes);
            assert_eq!(all(&mut whole), *want, "{:?}", String::from_utf8_lossy(bytes));
            let mut split = Decoder::new(100);
            let mut got = Vec::new();
            for byte in *bytes {
                split.push(&[*byte]);
                got.extend(all(&mut split));
            }
            assert_eq!(got, *want, "byte by byte {:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_told_with_its_beginning() {
        let mut decoder = Decoder::new(10);
        decoder.push(b"\x0bMSH|^~\\&|A|B|C");
        assert_eq!(decoder.next_event(), Some(Event::TooLong(b"MSH|^~\\&|A")));
        let mut exact = Decoder::new(10);
        exact.push(b"\x0b0123456789\x1c\r");
        assert_eq!(exact.next_event(), Some(Event::Message(b"0123456789")));
    }

    #[test]
    fn a_peer_that_never_opens_a_frame_is_noticed() {
        let mut decoder = Decoder::new(100);
        decoder.push(&[b'\n'; 10_000]);
        assert_eq!(decoder.next_event(), None);
        decoder.push(&[b'x'; NOISE_MAX_BYTES + 1]);
        assert_eq!(decoder.next_event(), Some(Event::Noise));
    }
}
