//! An issuer of our own, for the demo and for `token mint`: never part of a hospital's sign-in
//! unless its key set is configured like any other.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;

use super::permit::Scope;
use super::token::encode_base64;
use super::verifier::{IdentityError, IssuerOptions, JwksSource};
use crate::capture::Operator;
use crate::seal::digest::{hex, sha256};
use crate::seal::signature::SigningKey;

/// Signs tokens with a key of its own.
#[derive(Debug)]
pub struct DevIssuer {
    audience: String,
    key: SigningKey,
}

impl DevIssuer {
    /// A new key that lives as long as this value.
    ///
    /// # Errors
    /// [`IdentityError::NoKey`] where the operating system has no random bytes.
    pub fn generate(audience: impl Into<String>) -> Result<Self, IdentityError> {
        let key = SigningKey::generate().map_err(|_| IdentityError::NoKey)?;
        Ok(Self { audience: audience.into(), key })
    }

    /// The key in the file; a new one is made and written (mode 0600) where there is none.
    ///
    /// # Errors
    /// [`IdentityError`] where the file cannot be read or written, or holds no key.
    pub fn load(path: &Path, audience: impl Into<String>) -> Result<Self, IdentityError> {
        let unreadable = |e: std::io::Error| IdentityError::Unreadable(path.display().to_string(), e.kind());
        match fs::read_to_string(path) {
            Ok(text) => {
                let pkcs8 = STANDARD.decode(text.trim()).map_err(|_| IdentityError::NoKey)?;
                let key = SigningKey::from_pkcs8(&pkcs8).map_err(|_| IdentityError::NoKey)?;
                Ok(Self { audience: audience.into(), key })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::generate(audience)?;
                made.write(path).map_err(unreadable)?;
                Ok(made)
            }
            Err(e) => Err(unreadable(e)),
        }
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        writeln!(file, "{}", STANDARD.encode(self.key.expose_pkcs8()))?;
        file.sync_all()
    }

    fn kid(&self) -> String {
        let fingerprint = sha256(self.key.point());
        hex(fingerprint.get(..8).unwrap_or(&fingerprint))
    }

    /// The public half, as an issuer publishes it.
    #[must_use]
    pub fn jwks(&self) -> String {
        let (x, y) = self.key.point().get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid(),
            "x": encode_base64(x), "y": encode_base64(y),
        });
        json!({ "keys": [key] }).to_string()
    }

    /// How a [`super::Verifier`] comes to know this issuer.
    #[must_use]
    pub fn options(&self, issuer: impl Into<String>) -> IssuerOptions {
        IssuerOptions { issuer: issuer.into(), audience: self.audience.clone(), jwks: JwksSource::Given(self.jwks()) }
    }

    /// A token for `operator` (its `issuer` becomes `iss`), good from `now` for `lifetime_s`.
    ///
    /// # Errors
    /// [`IdentityError::NoKey`] where nothing could be signed.
    pub fn mint(&self, operator: &Operator, scopes: &[Scope], now: Timestamp, lifetime_s: u32) -> Result<String, IdentityError> {
        let words: Vec<&str> = scopes.iter().map(|s| s.word()).collect();
        let mut claims = json!({
            "iss": operator.issuer, "aud": self.audience, "sub": operator.subject, "scope": words.join(" "),
            "iat": now.as_second(), "exp": now.as_second() + i64::from(lifetime_s),
        });
        if let Some(claims) = claims.as_object_mut().filter(|_| !operator.name.is_empty()) {
            claims.insert("name".to_owned(), operator.name.clone().into());
        }
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.kid() });
        let signed = format!("{}.{}", encode_base64(header.to_string().as_bytes()), encode_base64(claims.to_string().as_bytes()));
        let signature = self.key.sign(signed.as_bytes()).map_err(|_| IdentityError::NoKey)?;
        Ok(format!("{signed}.{}", encode_base64(&signature)))
    }
}
