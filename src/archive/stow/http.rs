//! HTTP/1.1 as a client (RFC 9112), as much as STOW-RS and QIDO-RS need: one request after the other
//! over a kept connection, a body that streams, an answer with a limit.
//!
//! A library would hide the two facts that decide what becomes of an object: whether its last
//! byte was out when the connection broke, and what the archive said while it still came.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;

use super::super::link::{Fault, Link, Patience, Tongue};

/// What goes out in one write, bytes.
const CHUNK_BYTES: usize = 128 << 10;
/// A status line and its fields.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// An answer about one instance has a few hundred bytes; some archives add a page about the study.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Interim answers (1xx) before the real one.
const INTERIM_MAX: usize = 8;
/// After a body that the archive did not take to its end, for the answer that says why.
const LAST_WORD_MS: u64 = 2_000;

/// `http[s]://host[:port][/path]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub is_tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// Empty, or with a slash before and none behind.
    pub path: String,
}

impl Url {
    /// `None` where it is none, or holds what no address of a service has: credentials, a query,
    /// a fragment, blanks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let is_plain = |c: u8| c.is_ascii_graphic() && !b"?#\\\"<>{}|^`@".contains(&c);
        if !text.bytes().all(is_plain) {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|p| *p > 0)?),
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let (host, is_address) = match host.strip_prefix('[') {
            Some(inner) => (inner.strip_suffix(']')?, true),
            None => (host, false),
        };
        let is_legal = if is_address {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        is_legal.then(|| Self { is_tls, host: host.to_owned(), port, path })
    }

    /// `host:port`, to connect to and for the Host field.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Why an exchange has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The source of the body failed; the archive never got its end.
    Source,
    /// The body was not out.
    NotSent(Fault),
    /// The body was out: nobody knows.
    NotAnswered(Fault),
}

/// An answer with its whole body.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Another request may follow.
    leaves_open: bool,
}

impl Answer {
    /// The first field of that name, in small letters.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A body on its way out.
pub(super) struct Body<'a> {
    pub(super) source: &'a mut dyn Read,
    /// `Some`: it is announced and sent as it is. `None`: in chunks (RFC 9112 §7.1).
    pub(super) length: Option<u64>,
}

/// One connection, for one request at a time.
pub(super) struct Connection {
    link: Link,
    input: Vec<u8>,
    is_reusable: bool,
    pub(super) idle_since: Instant,
}

impl Connection {
    pub(super) fn open(url: &Url, tls: Option<&Arc<ClientConfig>>, patience: Patience) -> Result<Self, Fault> {
        let mut link = Link::connect(&url.authority(), patience)?;
        if let Some(config) = tls.filter(|_| url.is_tls) {
            link.secure(config, &url.host, patience)?;
        }
        Ok(Self { link, input: Vec::new(), is_reusable: true, idle_since: Instant::now() })
    }

    pub(super) fn tls_version(&self) -> Option<&'static str> {
        self.link.tls_version()
    }

    /// True where another request may follow.
    pub(super) fn is_usable(&mut self) -> bool {
        self.is_reusable && self.input.is_empty() && self.link.is_quiet()
    }

    /// Sends `head` (request line and fields, each with its line end) and the body, and hears the
    /// answer within `answer_ms` of the last byte.
    pub(super) fn exchange(
        &mut self,
        head: &str,
        mut body: Body<'_>,
        sending: Patience,
        answer_ms: u64,
    ) -> Result<Answer, NoAnswer> {
        // Unless everything was sent and answered.
        self.is_reusable = false;
        match self.send(head, &mut body, sending) {
            Ok(None) => {}
            Ok(Some(early)) => return Ok(early),
            Err(NoAnswer::NotSent(fault)) => {
                // It may have said why before it closed.
                let last_word = self.receive(Patience::from_now(LAST_WORD_MS)).ok().filter(|a| a.status >= 300);
                return last_word.ok_or(NoAnswer::NotSent(fault));
            }
            Err(other) => return Err(other),
        }
        let answer = self.receive(Patience::from_now(answer_ms)).map_err(NoAnswer::NotAnswered)?;
        self.is_reusable = answer.leaves_open;
        Ok(answer)
    }

    /// `Some`: the archive answered before it had everything, and does not want the rest.
    fn send(&mut self, head: &str, body: &mut Body<'_>, patience: Patience) -> Result<Option<Answer>, NoAnswer> {
        let mut out = head.as_bytes().to_vec();
        match body.length {
            Some(length) => out.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes()),
            None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        }
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = fill(body.source, &mut buffer).map_err(|_| NoAnswer::Source)?;
            let chunk = buffer.get(..count).unwrap_or_default();
            let is_last = count < CHUNK_BYTES;
            if body.length.is_some() {
                out.extend_from_slice(chunk);
            } else {
                if count > 0 {
                    out.extend_from_slice(format!("{count:x}\r\n").as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                if is_last {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
            }
            self.link.write(&out, patience).map_err(NoAnswer::NotSent)?;
            if is_last {
                return Ok(None);
            }
            out.clear();
            if !self.link.is_quiet() {
                let early = self.receive(Patience::from_now(LAST_WORD_MS)).map_err(NoAnswer::NotSent)?;
                // A success that has not seen the end is none.
                return if early.status >= 300 {
                    Ok(Some(early))
                } else {
                    Err(NoAnswer::NotSent(Fault::Protocol("it answered before it had everything")))
                };
            }
        }
    }

    /// The next answer that is not an interim one.
    fn receive(&mut self, patience: Patience) -> Result<Answer, Fault> {
        for _ in 0..INTERIM_MAX {
            let mut answer = self.receive_head(patience)?;
            if !(100..200).contains(&answer.status) {
                self.receive_body(&mut answer, patience)?;
                return Ok(answer);
            }
        }
        Err(Fault::Protocol("it sends interim answers and no other"))
    }

    fn receive_head(&mut self, patience: Patience) -> Result<Answer, Fault> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n\r\n") {
                break end;
            }
            if let Some(tongue @ (Tongue::Tls | Tongue::Dicom)) = Tongue::of(&self.input) {
                return Err(Fault::Speaks(tongue));
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(Fault::Protocol("the head of its answer is too long"));
            }
            if self.more(patience)? == 0 {
                return Err(Fault::Closed);
            }
        };
        let head = self.take(end + 4);
        let text = std::str::from_utf8(&head).map_err(|_| Fault::Protocol("the head of its answer is no text"))?;
        let (status, fields) = parse_head(text).ok_or(Fault::Protocol("it does not answer as HTTP/1.1"))?;
        Ok(Answer { status, fields, ..Answer::default() })
    }

    /// RFC 9112 §6.3.
    fn receive_body(&mut self, answer: &mut Answer, patience: Patience) -> Result<(), Fault> {
        let wants_close = answer.field("connection").is_some_and(|v| v.to_ascii_lowercase().contains("close"));
        let is_chunked = answer.field("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        let length = answer.field("content-length").map(|v| v.trim().parse::<usize>());
        let mut ends_with_close = false;
        match (answer.status, is_chunked, length) {
            (204 | 304, ..) => {}
            (_, true, _) => self.receive_chunks(&mut answer.body, patience)?,
            (_, false, Some(Ok(length))) if length <= BODY_BYTES_MAX => answer.body = self.receive_exactly(length, patience)?,
            (_, false, Some(_)) => return Err(Fault::Protocol("the length of its answer is none, or too long")),
            (_, false, None) => {
                ends_with_close = true;
                while self.more(patience)? > 0 {
                    if self.input.len() > BODY_BYTES_MAX {
                        return Err(Fault::Protocol("its answer is too long"));
                    }
                }
                answer.body = std::mem::take(&mut self.input);
            }
        }
        answer.leaves_open = !wants_close && !ends_with_close;
        Ok(())
    }

    fn receive_chunks(&mut self, body: &mut Vec<u8>, patience: Patience) -> Result<(), Fault> {
        const MALFORMED: Fault = Fault::Protocol("a chunk of its answer is malformed");
        loop {
            let line = self.receive_line(patience)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| MALFORMED)?;
            if length == 0 {
                break;
            }
            if body.len().saturating_add(length) > BODY_BYTES_MAX {
                return Err(Fault::Protocol("its answer is too long"));
            }
            body.extend(self.receive_exactly(length, patience)?);
            if !self.receive_line(patience)?.is_empty() {
                return Err(MALFORMED);
            }
        }
        // Trailers end with an empty line.
        for _ in 0..64 {
            if self.receive_line(patience)?.is_empty() {
                return Ok(());
            }
        }
        Err(MALFORMED)
    }

    fn receive_line(&mut self, patience: Patience) -> Result<String, Fault> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return String::from_utf8(line).map_err(|_| Fault::Protocol("a line of its answer is no text"));
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(Fault::Protocol("a line of its answer is too long"));
            }
            if self.more(patience)? == 0 {
                return Err(Fault::Closed);
            }
        }
    }

    fn receive_exactly(&mut self, length: usize, patience: Patience) -> Result<Vec<u8>, Fault> {
        while self.input.len() < length {
            if self.more(patience)? == 0 {
                return Err(Fault::Closed);
            }
        }
        Ok(self.take(length))
    }

    /// What comes next, behind what is there.
    fn more(&mut self, patience: Patience) -> Result<usize, Fault> {
        let mut buffer = [0; 8 << 10];
        let count = self.link.read(&mut buffer, patience)?;
        self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.input.split_off(length.min(self.input.len()));
        std::mem::replace(&mut self.input, rest)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.shut_down();
    }
}

/// Reads until the buffer is full or the source is over.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn parse_head(text: &str) -> Option<(u16, Vec<(String, String)>)> {
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok().filter(|s| (100..600).contains(s))?;
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Some((status, lines.take_while(|line| !line.is_empty()).filter_map(field).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_perhaps_a_port_and_a_path() {
        let url = |is_tls, host: &str, port, path: &str| Some(Url { is_tls, host: host.into(), port, path: path.into() });
        for (text, then) in [
            ("https://pacs.example/dicom-web", url(true, "pacs.example", 443, "/dicom-web")),
            ("https://pacs.example/dicom-web/", url(true, "pacs.example", 443, "/dicom-web")),
            ("http://127.0.0.1:8042", url(false, "127.0.0.1", 8042, "")),
            ("https://[::1]:8443/a/b", url(true, "::1", 8443, "/a/b")),
            ("https://[::1]", url(true, "::1", 443, "")),
            ("https://user@pacs", None),
            ("https://pacs/x?y=1", None),
            ("https://pacs:0/", None),
            ("https://", None),
            ("pacs.example", None),
            ("ftp://pacs", None),
            ("https://pa cs/", None),
        ] {
            assert_eq!(Url::parse(text), then, "{text}");
        }
        assert_eq!(Url::parse("https://[::1]/").unwrap().authority(), "[::1]:443");
    }

    #[test]
    fn a_head_is_a_status_and_its_fields() {
        let (status, fields) = parse_head("HTTP/1.1 202 Accepted\r\nContent-Type: x/y\r\nRetry-After:3\r\n\r\n").unwrap();
        assert_eq!(status, 202);
        assert_eq!(fields[1], ("retry-after".to_owned(), "3".to_owned()));
        for wrong in ["220 smtp", "HTTP/2 200", "HTTP/1.1 abc", "HTTP/1.1 42", ""] {
            assert_eq!(parse_head(wrong), None, "{wrong}");
        }
    }
}
