//! From a token to a [`Permit`], in the one order that asks nothing of an unproven claim.

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::keys::{KeySet, Keys};
use super::permit::{Permit, Scope};
use super::token;
use crate::capture::Operator;
use crate::capture::text::is_plain;
use crate::seal::digest::sha256;

/// How far the clocks of an issuer and ours may differ.
const LEEWAY_S: f64 = 60.0;
/// Longest `sub` (`OpenID` Connect Core §2).
const SUBJECT_MAX_CHARS: usize = 255;
/// Longest name taken over: a PN component group (PS3.5 §6.2).
const NAME_MAX_CHARS: usize = 64;
/// Latest moment that is a date: the end of the year 9999.
const EXPIRY_MAX_S: f64 = 253_402_207_200.0;
/// Verified tokens that are remembered. One ES384 signature costs a millisecond, and a phone sends
/// the same token with each photo; a thousand are more than a hospital has phones in use at once.
const REMEMBERED_MAX: usize = 1024;

/// One who signs tokens.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// `iss`, compared byte by byte.
    pub issuer: String,
    /// Must be `aud`, or stand in its list.
    pub audience: String,
    pub jwks: JwksSource,
}

/// Where the issuer's public keys are.
#[derive(Clone, Debug)]
pub enum JwksSource {
    File(PathBuf),
    /// The key set itself.
    Given(String),
}

/// Why nobody can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    Unreadable(String, ErrorKind),
    NotKeys(String),
    NoKey,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, kind) => {
                write!(f, "the keys in {path} cannot be read ({kind}); check the path and its permissions")
            }
            Self::NotKeys(path) => {
                write!(f, "{path} is no JSON Web Key Set (RFC 7517): an object with `keys`, no name twice, at most 1 MiB")
            }
            Self::NoKey => f.write_str("the signing key is not one; remove its file and a new one is made"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// Why a token is not accepted. For the log and the counters; the one who asks hears the same
/// words in every case, so that nothing can be found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    Oversized,
    Shape,
    Header,
    Algorithm,
    Issuer,
    Key,
    Signature,
    Claims,
    Audience,
    Expired,
    NotYet,
}

impl Denied {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Shape => "shape",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::Issuer => "issuer",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not-yet",
        }
    }
}

#[derive(Debug)]
struct Issuer {
    /// `iss`.
    name: String,
    audience: String,
    keys: Keys,
}

/// Verifies tokens of the configured issuers.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
}

/// A token that was verified with this very key set.
#[derive(Debug)]
struct Remembered {
    permit: Permit,
    issuer: usize,
    set: Arc<KeySet>,
    not_before_s: f64,
    expires_s: f64,
}

impl Verifier {
    /// # Errors
    /// [`IdentityError`] names the issuer's key set that cannot be read.
    pub fn open(issuers: Vec<IssuerOptions>) -> Result<Self, IdentityError> {
        let open = |o: IssuerOptions| Ok(Issuer { name: o.issuer, audience: o.audience, keys: Keys::open(o.jwks)? });
        let issuers = issuers.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { issuers, remembered: Mutex::default() })
    }

    /// How many keys of each issuer can verify a token now.
    #[must_use]
    pub fn usable_keys(&self, now: Timestamp) -> Vec<(&str, usize)> {
        self.issuers.iter().map(|i| (i.name.as_str(), i.keys.current(now).len())).collect()
    }

    /// # Errors
    /// [`Denied`] is for the log, never for the one who asks.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Permit, Denied> {
        if token.len() > token::TOKEN_MAX_BYTES {
            return Err(Denied::Oversized);
        }
        let fingerprint = sha256(token.as_bytes());
        let now_s = seconds(now);
        if let Some(permit) = self.recall(&fingerprint, now, now_s) {
            return Ok(permit);
        }
        let unverified = token::read(token)?;
        let issuer = unverified.claims.get("iss").and_then(Value::as_str).ok_or(Denied::Issuer)?;
        let ours = |(_, i): &(usize, &Issuer)| i.name == issuer && is_for(&unverified.claims, &i.audience);
        let (index, issuer) = self.issuers.iter().enumerate().find(ours).ok_or_else(|| {
            let known = self.issuers.iter().any(|i| i.name == issuer);
            if known { Denied::Audience } else { Denied::Issuer }
        })?;
        let set = issuer.keys.current(now);
        let key = set.find(unverified.kid.as_deref(), unverified.scheme)?;
        unverified.check_signature(key)?;
        let (permit, not_before_s, expires_s) = read_claims(&unverified.claims, &issuer.name, now_s)?;
        let remembered = Remembered { permit: permit.clone(), issuer: index, set, not_before_s, expires_s };
        self.remember(fingerprint, remembered, now_s);
        Ok(permit)
    }

    /// A remembered token is as good as a verified one while its times hold and its issuer's keys
    /// are still the same set.
    fn recall(&self, fingerprint: &[u8; 32], now: Timestamp, now_s: f64) -> Option<Permit> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let found = remembered.get(fingerprint)?;
        let set = self.issuers.get(found.issuer)?.keys.current(now);
        let holds = Arc::ptr_eq(&set, &found.set) && found.not_before_s <= now_s + LEEWAY_S && now_s < found.expires_s + LEEWAY_S;
        holds.then(|| found.permit.clone())
    }

    fn remember(&self, fingerprint: [u8; 32], token: Remembered, now_s: f64) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, r| now_s < r.expires_s + LEEWAY_S);
        }
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(fingerprint, token);
    }
}

#[allow(clippy::cast_precision_loss)] // seconds since 1970 stay exact in an f64 for 285 million years
fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9
}

/// RFC 7519 §4.1.3: one audience, or a list of them.
fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(|a| a == audience),
        _ => false,
    }
}

/// The permit, and from when to when it holds (seconds since 1970).
fn read_claims(claims: &Map<String, Value>, issuer: &str, now_s: f64) -> Result<(Permit, f64, f64), Denied> {
    let moment = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|s| s.abs() <= EXPIRY_MAX_S).map(Some).ok_or(Denied::Claims),
    };
    let text = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(Denied::Claims),
    };
    let expires_s = moment("exp")?.ok_or(Denied::Claims)?;
    let not_before_s = moment("nbf")?.unwrap_or(f64::MIN).max(moment("iat")?.unwrap_or(f64::MIN));
    let subject = text("sub")?.ok_or(Denied::Claims)?;
    if subject.trim().is_empty() || subject.chars().count() > SUBJECT_MAX_CHARS || !is_plain_line(subject) {
        return Err(Denied::Claims);
    }
    // A name that fits no record is left out rather than cut: `sub` says who it is.
    let name = text("name")?.map_or("", str::trim);
    let name = if name.chars().count() <= NAME_MAX_CHARS && is_plain(name) { name } else { "" };
    let scopes = text("scope")?.unwrap_or("").split(' ').filter_map(Scope::from_word).collect();
    if now_s >= expires_s + LEEWAY_S {
        return Err(Denied::Expired);
    }
    if not_before_s > now_s + LEEWAY_S {
        return Err(Denied::NotYet);
    }
    #[allow(clippy::cast_possible_truncation)] // bounded by EXPIRY_MAX_S
    let expires_at = Timestamp::from_second(expires_s as i64).map_err(|_| Denied::Claims)?;
    let operator = Operator { issuer: issuer.to_owned(), subject: subject.to_owned(), name: name.to_owned() };
    Ok((Permit::new(operator, scopes, expires_at), not_before_s, expires_s))
}

/// `sub` may hold a backslash (`DOMAIN\name`), but nothing that breaks or turns a line.
fn is_plain_line(text: &str) -> bool {
    text.split('\\').all(is_plain)
}
