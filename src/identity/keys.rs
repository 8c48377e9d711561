//! The keys an issuer publishes (RFC 7517), read from its file.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::json;
use super::token::{VerifyingKey, decode_base64};
use super::verifier::{Denied, IdentityError, JwksSource};
use crate::seal::signature::Scheme;

/// Largest key set. A hundred RSA keys with their certificates stay far below.
const JWKS_MAX_BYTES: u64 = 1024 * 1024;
/// Most keys of one set that are looked at.
const KEYS_MAX: usize = 100;
/// How often the file is looked at again: a new key is taken up within seconds, and a thousand
/// requests cost one look.
const LOOK_AGAIN_S: i64 = 3;
/// Shortest RSA modulus (NIST SP 800-131A §3).
const RSA_MIN_BITS: usize = 2048;

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    /// What it may verify: one scheme where the key says so, else all of its kind.
    schemes: Vec<Scheme>,
    verifying: VerifyingKey,
}

/// The usable keys of one set.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Keys that cannot be used are left out (RFC 7517 §5): symmetric ones, RSA under 2048 bits,
    /// other purposes, unknown kinds.
    ///
    /// `None` where this is no key set at all, or one that two readers could understand differently.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let set = json::parse(text).ok()?;
        let keys = set.as_object()?.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(KEYS_MAX).filter_map(|k| read_key(k.as_object()?)).collect()))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key for a token. Without `kid` it must be the only one that fits; with one, the only
    /// one of that name: nothing is tried in turn.
    ///
    /// # Errors
    /// [`Denied::Key`].
    pub fn find(&self, kid: Option<&str>, scheme: Scheme) -> Result<&VerifyingKey, Denied> {
        let named = |k: &&Key| kid.is_none_or(|kid| k.kid.as_deref() == Some(kid));
        let mut fitting = self.0.iter().filter(|k| k.schemes.contains(&scheme)).filter(named);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.verifying),
            _ => Err(Denied::Key),
        }
    }
}

fn read_key(jwk: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(decode_base64);
    if jwk.get("use").is_some_and(|u| u != "sig") {
        return None;
    }
    if jwk.get("key_ops").is_some_and(|ops| !ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"))) {
        return None;
    }
    let (of_kind, verifying): (&[Scheme], VerifyingKey) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let modulus = without_leading_zeros(bytes("n")?);
            let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
            if bits < RSA_MIN_BITS {
                return None;
            }
            (&[Scheme::Rs256, Scheme::Ps256], VerifyingKey::rsa(&modulus, &without_leading_zeros(bytes("e")?)))
        }
        ("EC", Some("P-256")) => (&[Scheme::Es256], VerifyingKey::ec(&point(&bytes("x")?, &bytes("y")?, 32)?)),
        ("EC", Some("P-384")) => (&[Scheme::Es384], VerifyingKey::ec(&point(&bytes("x")?, &bytes("y")?, 48)?)),
        ("OKP", Some("Ed25519")) => (&[Scheme::EdDsa], VerifyingKey::ed(&bytes("x").filter(|x| x.len() == 32)?)),
        _ => return None,
    };
    let schemes = match jwk.get("alg") {
        None => of_kind.to_vec(),
        Some(alg) => {
            let bound = Scheme::from_word(alg.as_str()?)?;
            if !of_kind.contains(&bound) {
                return None;
            }
            vec![bound]
        }
    };
    let kid = match jwk.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str()?.to_owned()),
    };
    Some(Key { kid, schemes, verifying })
}

fn without_leading_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|b| *b == 0).collect()
}

/// SEC 1 §2.3.3; RFC 7518 §6.2.1.2 wants each coordinate at its full length.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

/// A key set that follows its file.
#[derive(Debug)]
pub struct Keys {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    set: Arc<KeySet>,
    stamp: Option<Stamp>,
    looked_at: Timestamp,
}

/// A file that was written anew differs in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size_bytes: u64,
}

impl Keys {
    /// # Errors
    /// [`IdentityError`] where there is no readable key set.
    pub fn open(source: JwksSource) -> Result<Self, IdentityError> {
        let (file, set, stamp) = match source {
            JwksSource::Given(text) => {
                let set = KeySet::parse(text.as_bytes()).ok_or(IdentityError::NotKeys("the given key set".to_owned()))?;
                (None, set, None)
            }
            JwksSource::File(path) => {
                let stamp = look(&path);
                let set = read_file(&path)?;
                (Some(path), set, stamp)
            }
        };
        let state = State { set: Arc::new(set), stamp, looked_at: Timestamp::MIN };
        Ok(Self { file, state: Mutex::new(state) })
    }

    /// The set as its file has it now. A file that cannot be read or understood changes nothing:
    /// the last good set stays, so that a half-written file locks nobody out.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> Arc<KeySet> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let age_s = now.as_second().saturating_sub(state.looked_at.as_second());
        if let Some(path) = self.file.as_deref().filter(|_| !(0..LOOK_AGAIN_S).contains(&age_s)) {
            state.looked_at = now;
            let stamp = look(path);
            let read = if stamp.is_some() && stamp != state.stamp { read_file(path).ok() } else { None };
            if let Some(set) = read {
                state.set = Arc::new(set);
                state.stamp = stamp;
            }
        }
        Arc::clone(&state.set)
    }
}

fn look(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp { modified: about.modified().ok(), size_bytes: about.len() })
}

fn read_file(path: &Path) -> Result<KeySet, IdentityError> {
    let unreadable = |e: std::io::Error| IdentityError::Unreadable(path.display().to_string(), e.kind());
    let mut text = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(JWKS_MAX_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    let fits = u64::try_from(text.len()).is_ok_and(|n| n <= JWKS_MAX_BYTES);
    let set = if fits { KeySet::parse(&text) } else { None };
    set.ok_or_else(|| IdentityError::NotKeys(path.display().to_string()))
}
