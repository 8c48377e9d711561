//! One question to a running gateway over HTTPS, and its answer.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The gateway answers a decision within 20 s; this is beyond.
const ANSWER_WAIT: Duration = Duration::from_secs(45);
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// A page of two hundred captures with long histories.
const ANSWER_MAX_BYTES: u64 = 64 << 20;
/// A token has at most 8 kB.
const TOKEN_MAX_BYTES: u64 = 16 * 1024;
const PORT: u16 = 443;
/// Where systems keep the authorities they trust: Debian, Red Hat, Alpine and BSD.
const SYSTEM_ROOTS: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom to ask, and as whom.
pub struct Client {
    host: String,
    port: u16,
    token: String,
    tls: Arc<ClientConfig>,
}

/// Status and body.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    /// `to`: `https://HOST[:PORT]`; `ca`: the only authority trusted; not given: the system's.
    ///
    /// # Errors
    /// Text for the person at the shell.
    pub fn new(to: &str, token_file: &Path, ca: Option<&Path>) -> Result<Self, String> {
        let (host, port) =
            read_address(to).ok_or_else(|| "--to is not https://HOST[:PORT], such as https://127.0.0.1:8443.".to_owned())?;
        let mut token = String::new();
        File::open(token_file)
            .and_then(|file| file.take(TOKEN_MAX_BYTES).read_to_string(&mut token))
            .map_err(|e| format!("The token file {} cannot be read: {e}", token_file.display()))?;
        let token = token.trim().to_owned();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("The token file {} does not hold one token.", token_file.display()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS cannot be set up: {e}"))?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        Ok(Self { host, port, token, tls: Arc::new(tls) })
    }

    /// Asks once, on a connection of its own.
    ///
    /// # Errors
    /// Text for the person at the shell, where there is no whole answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        let cannot = |e: &dyn std::fmt::Display| format!("{}:{} cannot be asked: {e}", self.host, self.port);
        let name = ServerName::try_from(self.host.clone()).map_err(|e| cannot(&e))?;
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(|e| cannot(&e))?;
        let mut stream = BufReader::new(StreamOwned::new(session, self.connect().map_err(|e| cannot(&e))?));
        let Self { host, port, token, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let out = stream.get_mut();
        out.write_all(request.as_bytes()).and_then(|()| out.flush()).map_err(|e| cannot(&e))?;
        let mut answer = Vec::new();
        // A peer that ends without a farewell of TLS is no error where the length was reached.
        let ended = stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer);
        read_answer(&answer).ok_or_else(|| match ended {
            Err(e) => cannot(&e),
            Ok(_) => cannot(&"what answers there is no gateway, or was cut off"),
        })
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut failed = std::io::Error::other("the name leads to no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(ANSWER_WAIT))?;
                    socket.set_write_timeout(Some(ANSWER_WAIT))?;
                    return Ok(socket);
                }
                Err(e) => failed = e,
            }
        }
        Err(failed)
    }
}

fn read_address(to: &str) -> Option<(String, u16)> {
    let authority = to.strip_prefix("https://")?.trim_end_matches('/');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|p| *p > 0)?),
        _ => (authority, PORT),
    };
    let host = host.strip_prefix('[').map_or(Some(host), |h| h.strip_suffix(']'))?;
    let legal = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b));
    legal.then(|| (host.to_owned(), port))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let file = match ca {
        Some(file) => file,
        None => SYSTEM_ROOTS
            .iter()
            .map(Path::new)
            .find(|file| file.is_file())
            .ok_or("This system's authorities are not where they are looked for; give --ca FILE.")?,
    };
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|e| format!("The authorities in {} cannot be read: {e}", file.display()))?;
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(format!("There is no certificate in {}.", file.display())) } else { Ok(roots) }
}

/// The answer, where it is whole.
fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let head_end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_end)?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    })?;
    let body = bytes.get(head_end + 4..)?.get(..length)?;
    Some(Answer { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (text, then) in [
            ("https://gw.example", Some(("gw.example", 443))),
            ("https://127.0.0.1:8443/", Some(("127.0.0.1", 8443))),
            ("https://[::1]:8443", Some(("::1", 8443))),
            ("https://[::1]", Some(("::1", 443))),
            ("http://gw.example", None),
            ("https://", None),
            ("https://gw.example:0", None),
            ("https://gw.example/path", None),
            ("https://user@gw.example", None),
        ] {
            assert_eq!(read_address(text), then.map(|(h, p): (&str, u16)| (h.to_owned(), p)), "{text}");
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(read_answer(whole).map(|a| (a.status, a.body)), Some((200, b"{}".to_vec())));
        assert!(read_answer(&whole[..whole.len() - 1]).is_none());
        assert!(read_answer(b"220 smtp ready\r\n\r\n").is_none());
    }
}
