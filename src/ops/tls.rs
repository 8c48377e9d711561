//! Certificates of the HTTPS door: given ones, or those of a dev CA.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::files::{PUBLIC_MODE, SECRET_MODE, make_private_folder, replace};
use super::x509;

/// A chain and a key are a few KiB.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// A chain has a leaf and one or two above it.
const CHAIN_MAX: usize = 10;

#[derive(Debug)]
pub enum TlsError {
    Unreadable(PathBuf, io::Error),
    Unwritable(PathBuf, io::Error),
    /// What should be in the file.
    NotPem(PathBuf, &'static str),
    /// The library's reason: the key does not belong to the certificate, or is of a kind it does not take.
    Refused(PathBuf, rustls::Error),
    Expired(PathBuf, Timestamp),
    NotMade(rcgen::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::Unwritable(path, error) => {
                write!(f, "the dev certificate {} cannot be written: {error}; data.dir must be writable", path.display())
            }
            Self::NotPem(path, what) => write!(f, "{} holds no {what} in PEM", path.display()),
            Self::Refused(path, error) => {
                write!(
                    f,
                    "{} cannot be used: {error}; the key must belong to the certificate, ECDSA or RSA of 2048 bits or more",
                    path.display()
                )
            }
            Self::Expired(path, at) => write!(f, "{} expired at {at}; put a new certificate there", path.display()),
            Self::NotMade(error) => write!(f, "the dev certificate cannot be made: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rcgen::Error> for TlsError {
    fn from(error: rcgen::Error) -> Self {
        Self::NotMade(error)
    }
}

/// A certificate chain with its key, ready for the door.
#[derive(Clone, Debug)]
pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// When the leaf ends; `None` where that cannot be read.
    pub expires: Option<Timestamp>,
    /// Host names and addresses that the leaf is for.
    pub names: Vec<String>,
}

/// Reads a chain and its key in PEM.
///
/// TLS 1.2 and 1.3 with the ring provider, HTTP/1.1 only; the server's order of suites counts.
///
/// # Errors
/// Where either cannot be read, they do not belong together, or the leaf has expired at `now`.
pub fn load(cert: &Path, key: &Path, now: Timestamp) -> Result<Identity, TlsError> {
    let pem = read_pem(cert)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).take(CHAIN_MAX).collect::<Result<_, _>>().unwrap_or_default();
    let Some(leaf) = chain.first() else {
        return Err(TlsError::NotPem(cert.to_owned(), "certificate"));
    };
    let (expires, names) = (x509::not_after(leaf), x509::names(leaf));
    if let Some(at) = expires.filter(|at| *at <= now) {
        return Err(TlsError::Expired(cert.to_owned(), at));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read_pem(key)?)
        .map_err(|_| TlsError::NotPem(key.to_owned(), "private key without a passphrase"))?;
    let refused = |error| TlsError::Refused(key.to_owned(), error);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, secret).map_err(refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    Ok(Identity { config: Arc::new(config), expires, names })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    use io::Read;
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), error);
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Where the dev CA keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCa {
    /// What a client must trust.
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    ca_key: PathBuf,
}

/// Browsers take no server certificate that is valid for longer than 398 days; a short one is renewed at a start.
const SERVER_DAYS: i64 = 90;
const CA_DAYS: i64 = 3650;
/// A start within so many days of the end makes a new one.
const RENEW_DAYS: i64 = 30;

impl DevCa {
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            cert: folder.join("server.pem"),
            key: folder.join("server.key"),
            ca_key: folder.join("ca.key"),
        }
    }

    /// Makes what is missing or near its end: the CA, and a certificate for localhost,
    /// 127.0.0.1 and `::1`. What is there and good is kept, so that a client trusts it once.
    ///
    /// # Errors
    /// Where a file can be neither used nor made.
    pub fn ensure(&self, now: Timestamp) -> Result<Identity, TlsError> {
        if let Some(folder) = self.ca.parent() {
            make_private_folder(folder).map_err(|error| TlsError::Unwritable(folder.to_owned(), error))?;
        }
        if let Some(identity) = self.usable(now) {
            return Ok(identity);
        }
        let ca_key = match self.usable_ca(now) {
            Some(key) => key,
            None => self.make_ca(now)?,
        };
        self.make_server(&ca_key, now)?;
        load(&self.cert, &self.key, now)
    }

    /// The certificate as it stands, where it and its CA are good for some time yet.
    fn usable(&self, now: Timestamp) -> Option<Identity> {
        self.usable_ca(now)?;
        let identity = load(&self.cert, &self.key, now).ok()?;
        (identity.expires? > days_after(now, RENEW_DAYS)).then_some(identity)
    }

    fn usable_ca(&self, now: Timestamp) -> Option<KeyPair> {
        let ca = CertificateDer::from_pem_slice(&read_pem(&self.ca).ok()?).ok()?;
        let lasts = x509::not_after(&ca)? > days_after(now, RENEW_DAYS + SERVER_DAYS);
        let key = KeyPair::from_pem(&String::from_utf8(read_pem(&self.ca_key).ok()?).ok()?).ok()?;
        lasts.then_some(key)
    }

    fn make_ca(&self, now: Timestamp) -> Result<KeyPair, TlsError> {
        let key = KeyPair::generate()?;
        let ca = ca_params(now).self_signed(&key)?;
        // A leaf of the CA before would not verify under this one.
        let _ = fs::remove_file(&self.cert);
        write(&self.ca_key, &key.serialize_pem(), SECRET_MODE)?;
        write(&self.ca, &ca.pem(), PUBLIC_MODE)?;
        Ok(key)
    }

    fn make_server(&self, ca_key: &KeyPair, now: Timestamp) -> Result<(), TlsError> {
        let key = KeyPair::generate()?;
        let ca = ca_params(now);
        let cert = server_params(now)?.signed_by(&key, &Issuer::from_params(&ca, ca_key))?;
        let _ = fs::remove_file(&self.cert);
        write(&self.key, &key.serialize_pem(), SECRET_MODE)?;
        write(&self.cert, &cert.pem(), PUBLIC_MODE)
    }
}

fn write(path: &Path, pem: &str, mode: u32) -> Result<(), TlsError> {
    replace(path, pem.as_bytes(), mode).map_err(|error| TlsError::Unwritable(path.to_owned(), error))
}

fn ca_params(now: Timestamp) -> CertificateParams {
    let mut params = dated(now, CA_DAYS);
    params.distinguished_name.push(DnType::CommonName, "Shutterbridge dev CA, this machine only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Whoever steals this CA's key can pretend to be the loopback of a machine that trusts it, and
    // nothing else (RFC 5280 §4.2.1.10).
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn server_params(now: Timestamp) -> Result<CertificateParams, TlsError> {
    let mut params = dated(now, SERVER_DAYS);
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.subject_alt_names = vec![
        SanType::DnsName(Ia5String::try_from("localhost")?),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Valid from the day before `now`, as a client's clock may be behind.
fn dated(now: Timestamp, days: i64) -> CertificateParams {
    let day = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = day(days_after(now, -1));
    params.not_after = day(days_after(now, days));
    params
}

fn days_after(now: Timestamp, days: i64) -> Timestamp {
    now.checked_add((days * 24).hours()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A dev CA in a folder of its own, gone after the test.
    struct Own(DevCa);

    impl Own {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("shutterbridge-tls-{}-{name}", std::process::id()));
            Self(DevCa::in_folder(&path))
        }
    }

    impl std::ops::Deref for Own {
        type Target = DevCa;

        fn deref(&self) -> &DevCa {
            &self.0
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.ca.parent().unwrap());
        }
    }

    fn now() -> Timestamp {
        "2026-11-25T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_dev_certificate_is_made_once_and_kept() {
        let dev = Own::new("once");
        let made = dev.ensure(now()).expect("made");
        assert_eq!(made.names, ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(made.expires, Some("2027-02-23T00:00:00Z".parse().unwrap()));
        let files = |dev: &DevCa| [&dev.ca, &dev.cert, &dev.key, &dev.ca_key].map(|f| fs::read(f).unwrap());
        let before = files(&dev);
        dev.ensure(days_after(now(), 50)).expect("kept");
        assert_eq!(files(&dev), before);
        for secret in [&dev.key, &dev.ca_key] {
            assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600, "{}", secret.display());
        }
    }

    #[test]
    fn a_dev_certificate_near_its_end_is_renewed_under_the_same_ca() {
        let dev = Own::new("renewed");
        dev.ensure(now()).expect("made");
        let (ca, cert) = (fs::read(&dev.ca).unwrap(), fs::read(&dev.cert).unwrap());
        let later = days_after(now(), 70);
        assert!(dev.ensure(later).expect("renewed").expires.unwrap() > days_after(later, 80));
        assert_eq!(fs::read(&dev.ca).unwrap(), ca, "clients trust it already");
        assert_ne!(fs::read(&dev.cert).unwrap(), cert);
    }

    #[test]
    fn a_damaged_dev_certificate_is_made_anew() {
        let dev = Own::new("damaged");
        dev.ensure(now()).expect("made");
        fs::write(&dev.key, "cut").unwrap();
        dev.ensure(now()).expect("made anew");
        fs::remove_file(&dev.ca_key).unwrap();
        let ca = fs::read(&dev.ca).unwrap();
        dev.ensure(now()).expect("made anew");
        assert_ne!(fs::read(&dev.ca).unwrap(), ca);
    }

    #[test]
    fn a_wrong_certificate_says_why() {
        let (one, two) = (Own::new("wrong-one"), Own::new("wrong-two"));
        one.ensure(now()).expect("made");
        two.ensure(now()).expect("made");
        let told = |cert: &Path, key: &Path, at| load(cert, key, at).expect_err("refused").to_string();
        assert!(told(&one.cert, &two.key, now()).contains("must belong to the certificate"));
        assert!(told(&one.key, &one.key, now()).contains("holds no certificate in PEM"));
        assert!(told(&one.cert, &one.cert, now()).contains("holds no private key"));
        assert!(told(&one.cert, &one.key, days_after(now(), 365)).contains("expired at 2027-02-23"));
        assert!(told(&one.ca.join("none"), &one.key, now()).contains("cannot be read"));
    }
}
