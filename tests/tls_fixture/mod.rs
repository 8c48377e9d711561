//! Authorities and certificates of a moment, as PEM files.
#![allow(dead_code)] // each test binary uses a part

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use shutterbridge::archive::tls::{self, Files};

/// An authority, and the folder of everything that it signed.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub ca: PathBuf,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Leaf {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let ca = folder.join(format!("{name}.pem"));
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), ca }
    }

    pub fn leaf(&self, file: &str, names: &[&str]) -> Leaf {
        self.leaf_until(file, names, 2040)
    }

    /// With an RSA key, which the suites of older archives want; `None` where nothing makes one.
    pub fn rsa_leaf(&self, file: &str, names: &[&str]) -> Option<Leaf> {
        let made =
            Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output().ok()?;
        let key = KeyPair::from_pem(std::str::from_utf8(&made.stdout).unwrap()).unwrap();
        let cert = leaf_params(names).signed_by(&key, &self.issuer).unwrap();
        Some(write(&self.folder, file, &cert.pem(), &key))
    }

    pub fn leaf_until(&self, file: &str, names: &[&str], year: i32) -> Leaf {
        let mut params = leaf_params(names);
        params.not_after = date_time_ymd(year, 1, 1);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        write(&self.folder, file, &cert.pem(), &key)
    }

    pub fn files(&self, identity: Option<&Leaf>) -> Files {
        Files { ca: self.ca.clone(), identity: identity.map(|l| (l.cert.clone(), l.key.clone())) }
    }

    pub fn client(&self, identity: Option<&Leaf>) -> Arc<rustls::ClientConfig> {
        tls::client(&self.files(identity), &[]).unwrap()
    }
}

/// A certificate that signed itself and calls itself an authority, as many archives show.
pub fn self_signed(folder: &Path, file: &str, names: &[&str]) -> Leaf {
    let mut params = leaf_params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    write(folder, file, &cert.pem(), &key)
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a test");
    params.not_before = date_time_ymd(2020, 1, 1);
    params
}

fn write(folder: &Path, file: &str, cert: &str, key: &KeyPair) -> Leaf {
    let leaf = Leaf { cert: folder.join(format!("{file}.pem")), key: folder.join(format!("{file}.key")) };
    std::fs::write(&leaf.cert, cert).unwrap();
    std::fs::write(&leaf.key, key.serialize_pem()).unwrap();
    leaf
}
