//! A phone: one keep-alive TLS connection, one request at a time, blocking.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

const ANSWER_MAX: Duration = Duration::from_secs(60);
pub const BOUNDARY: &str = "--------------shutterbridge";

pub struct Phone {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    token: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Phone {
    /// Any certificate will do: what is tested here is not whom we talk to.
    pub fn connect(address: SocketAddr, token: &str) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3");
        let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let socket = TcpStream::connect(address).expect("the HTTPS door is open");
        socket.set_nodelay(true).expect("no delay");
        socket.set_read_timeout(Some(ANSWER_MAX)).expect("a timeout");
        Self { stream: BufReader::new(StreamOwned::new(session, socket)), token: token.to_owned() }
    }

    pub fn call(&mut self, method: &str, path: &str, headers: &str, body: &[&[u8]]) -> Answer {
        self.send(method, path, headers, body).expect("the request is read");
        self.answer().expect("an answer")
    }

    /// `POST /api/v1/captures`: a claim and its files in one request.
    pub fn upload(&mut self, key: &str, claim: &serde_json::Value, files: &[&[u8]]) -> Answer {
        let part = |name: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name={name}\r\n\r\n");
        let claim = format!("{}{claim}\r\n", part("\"claim\""));
        let (file, end) = (part("\"file\"; filename=\"photo.jpg\""), format!("--{BOUNDARY}--\r\n"));
        let mut body: Vec<&[u8]> = vec![claim.as_bytes()];
        for bytes in files {
            body.extend([file.as_bytes(), bytes, b"\r\n"]);
        }
        body.push(end.as_bytes());
        let headers = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nIdempotency-Key: {key}\r\n");
        self.call("POST", "/api/v1/captures", &headers, &body)
    }

    /// Begins an upload of one file of so many bytes; they go by [`Phone::write`].
    pub fn begin_upload(&mut self, claim: &serde_json::Value, file_bytes: usize) {
        let part = |name: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name={name}\r\n\r\n");
        let start = format!("{}{claim}\r\n{}", part("\"claim\""), part("\"file\""));
        let length = start.len() + file_bytes + format!("\r\n--{BOUNDARY}--\r\n").len();
        let head = format!(
            "POST /api/v1/captures HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n",
            self.token
        );
        self.write(head.as_bytes());
        self.write(start.as_bytes());
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let out = self.stream.get_mut();
        out.write_all(bytes).and_then(|()| out.flush()).expect("the request is read");
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &[&[u8]]) -> std::io::Result<()> {
        let length: usize = body.iter().map(|piece| piece.len()).sum();
        let token = &self.token;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        let out = self.stream.get_mut();
        out.write_all(head.as_bytes())?;
        for piece in body {
            out.write_all(piece)?;
        }
        out.flush()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not a status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
