//! TLS with archives: DICOM over TLS and HTTPS, as the client; the door for reports, as the server.
//!
//! The profile is PS3.15 §B.12 (BCP 195): TLS 1.2 and 1.3, nothing older, no clear text before it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};

/// A bundle of every public authority has a quarter of it.
const PEM_BYTES_MAX: u64 = 1 << 20;
/// A leaf and those above it.
const CHAIN_MAX: usize = 10;
/// The bundles of operating systems have some 150.
const AUTHORITIES_MAX: usize = 1_000;

/// PEM files of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Whom to believe: authorities, or the peer's own certificate.
    pub ca: PathBuf,
    /// Who we are: a certificate chain and its key. `None`: the peer does not ask.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug)]
pub enum TlsError {
    Unreadable(PathBuf, io::Error),
    /// What should be in the file.
    NotPem(PathBuf, &'static str),
    Refused(PathBuf, rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::NotPem(path, what) => write!(f, "{} holds no {what} in PEM", path.display()),
            Self::Refused(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "{path} cannot be used: {error}; key and certificate must belong together, ECDSA or RSA of 2048 bits or more"
                )
            }
        }
    }
}

impl std::error::Error for TlsError {}

/// Why there is no TLS with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFault {
    UnknownAuthority,
    OtherName,
    Expired,
    NotYetValid,
    BadCertificate,
    /// The peer wants a certificate of ours, or another one.
    CertificateWanted,
    /// No version or suite in common.
    NothingInCommon,
    /// It answers, and not with TLS.
    NotTls,
    Other,
}

impl TlsFault {
    pub(super) fn of(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidCertificate(why) => Self::of_certificate(why),
            Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => Self::CertificateWanted,
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity => Self::NothingInCommon,
                _ => Self::Other,
            },
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Other,
        }
    }

    /// The same before the handshake is over; `is_agreed`: version and suite are.
    pub(super) fn in_handshake(error: &rustls::Error, is_agreed: bool) -> Self {
        match error {
            // So TLS 1.2 refuses a client without a certificate (RFC 5246 §7.4.6).
            rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) if is_agreed => Self::CertificateWanted,
            _ => Self::of(error),
        }
    }

    fn of_certificate(why: &CertificateError) -> Self {
        match why {
            // The second: a certificate that signs itself, and is not among the believed ones.
            CertificateError::UnknownIssuer | CertificateError::Other(_) => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            _ => Self::BadCertificate,
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "its certificate is signed by nobody in tls_ca",
            Self::OtherName => "its certificate is for another name than the one it is reached by",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet; look at the clocks",
            Self::BadCertificate => "its certificate is not acceptable",
            Self::CertificateWanted => "it does not accept the certificate of this gateway, or wants one (tls_cert, tls_key)",
            Self::NothingInCommon => "it speaks neither TLS 1.2 nor 1.3 with a suite of BCP 195",
            Self::NotTls => "what answers there does not speak TLS",
            Self::Other => "TLS with it failed",
        })
    }
}

/// For connections to a peer; `protocols` are those of ALPN.
///
/// # Errors
/// Where a file cannot be read, or does not hold what it should.
pub fn client(files: &Files, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let refused = |error| TlsError::Refused(files.ca.clone(), error);
    let believed = certificates(&files.ca, AUTHORITIES_MAX)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused)?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&files.ca, &believed)?), provider())
        .build()
        .map_err(|_| TlsError::NotPem(files.ca.clone(), "certificate of an authority"))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Believed { inner, pinned: believed }));
    let mut config = match &files.identity {
        Some((cert, key)) => {
            let (chain, secret) = identity(cert, key)?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| TlsError::Refused(key.clone(), error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

/// For a door of ours; `client_ca`: whoever comes must have a certificate of it.
///
/// # Errors
/// As for [`client`].
pub fn server(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let refused = |error| TlsError::Refused(key.to_owned(), error);
    let (chain, secret) = identity(cert, key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused)?;
    let builder = match client_ca {
        Some(path) => {
            let roots = Arc::new(roots(path, &certificates(path, AUTHORITIES_MAX)?)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|_| TlsError::NotPem(path.to_owned(), "certificate of an authority"))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, secret).map_err(refused)?;
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn identity(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(cert, CHAIN_MAX)?;
    let secret = PrivateKeyDer::from_pem_slice(&read_pem(key)?)
        .map_err(|_| TlsError::NotPem(key.to_owned(), "private key without a passphrase"))?;
    Ok((chain, secret))
}

fn certificates(path: &Path, max: usize) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read_pem(path)?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem).take(max).collect::<Result<_, _>>().unwrap_or_default();
    if all.is_empty() { Err(TlsError::NotPem(path.to_owned(), "certificate")) } else { Ok(all) }
}

fn roots(path: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    if roots.is_empty() { Err(TlsError::NotPem(path.to_owned(), "certificate that can be used")) } else { Ok(roots) }
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), error);
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Certificates that lead to an authority, and those that are named themselves: an archive often
/// shows one that it signed itself, which no path leads to. The administrator who copies exactly
/// that one into `tls_ca` has decided (IHE ITI-19 asks for both ways). The key is proven in either.
#[derive(Debug)]
struct Believed {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

/// No authority leads to it, it is one itself, or it says no name. An expired one stays refused.
fn can_be_pinned(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::Other(_)
            | CertificateError::UnknownIssuer
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
    )
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(why))
                if can_be_pinned(&why) && self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
