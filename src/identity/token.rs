//! One token (RFC 7519): read strictly, then verified. The only file that names jsonwebtoken.
//!
//! jsonwebtoken checks the signature; what a header and claims may look like is checked here,
//! because a repeated name, a string where a number belongs or a second key inside the token are
//! how others were deceived (RFC 8725 §3).

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{Error as Mismatch, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use serde_json::{Map, Value};

use super::json;
use super::verifier::Denied;
use crate::seal::signature::{PublicKey, Scheme, verify};

/// Longest token. Those of large identity providers with group lists stay under 4 kB; what is
/// longer is not worth the parsing.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// Header members that bring a key, or the place of one, or rules of their own (RFC 7515 §4.1).
/// Keys come from configuration alone.
const FORBIDDEN: [&str; 5] = ["crit", "jku", "x5u", "x5c", "jwk"];

/// The `typ` of an access token (RFC 9068 §2.1) and of any JWT; others are for another purpose.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// A token that reads well. Nothing in it is true yet.
pub struct Unverified<'t> {
    pub scheme: Scheme,
    pub kid: Option<String>,
    pub claims: Map<String, Value>,
    signed: &'t [u8],
    signature: &'t str,
}

/// The public half of an issuer's key.
#[derive(Clone, Debug)]
pub struct VerifyingKey(DecodingKey);

impl VerifyingKey {
    #[must_use]
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self(DecodingKey::from_rsa_raw_components(modulus, exponent))
    }

    /// `point`: uncompressed, P-256 or P-384.
    #[must_use]
    pub fn ec(point: &[u8]) -> Self {
        Self(DecodingKey::from_ec_der(point))
    }

    /// `point`: 32 bytes of Ed25519.
    #[must_use]
    pub fn ed(point: &[u8]) -> Self {
        Self(DecodingKey::from_ed_der(point))
    }
}

/// Base64url without padding, no stray bits (RFC 7515 §2).
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// # Errors
/// [`Denied`] says which rule; it is for the log, never for the one who asks.
pub fn read(token: &str) -> Result<Unverified<'_>, Denied> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(Denied::Oversized);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Denied::Shape)?;
    let (header, claims) = signed.split_once('.').ok_or(Denied::Shape)?;
    let object = |part: &str| {
        let text = decode_base64(part).ok_or(Denied::Shape)?;
        match json::parse(&text) {
            Ok(Value::Object(members)) => Ok(members),
            _ => Err(Denied::Shape),
        }
    };
    let header = object(header)?;
    let claims = object(claims)?;
    decode_base64(signature).filter(|s| !s.is_empty()).ok_or(Denied::Shape)?;
    if FORBIDDEN.iter().any(|name| header.contains_key(*name)) {
        return Err(Denied::Header);
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if TYPES.contains(&typ.to_ascii_lowercase().as_str()) => {}
        Some(_) => return Err(Denied::Header),
    }
    let scheme = header.get("alg").and_then(Value::as_str).and_then(Scheme::from_word).ok_or(Denied::Algorithm)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(Denied::Header),
    };
    Ok(Unverified { scheme, kid, claims, signed: signed.as_bytes(), signature })
}

impl Unverified<'_> {
    /// # Errors
    /// [`Denied::Signature`].
    pub fn check_signature(&self, key: &VerifyingKey) -> Result<(), Denied> {
        install();
        match jsonwebtoken::crypto::verify(self.signature, self.signed, &key.0, algorithm(self.scheme)) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Denied::Signature),
        }
    }
}

fn algorithm(scheme: Scheme) -> Algorithm {
    match scheme {
        Scheme::Rs256 => Algorithm::RS256,
        Scheme::Ps256 => Algorithm::PS256,
        Scheme::Es256 => Algorithm::ES256,
        Scheme::Es384 => Algorithm::ES384,
        Scheme::EdDsa => Algorithm::EdDSA,
    }
}

/// jsonwebtoken asks a provider for its cryptography; ours is seal/. Nothing is ever signed through
/// it, and no JWK is made from a key.
static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: sign_nothing, verifier_factory, key_utils: KeyUtils::new_unimplemented() };

fn install() {
    static INSTALLED: Once = Once::new();
    // An Err means that it is installed already, by this very function.
    INSTALLED.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the provider asks for this shape
fn sign_nothing(_: &Algorithm, _: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

struct SealVerifier {
    scheme: Scheme,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the provider asks for this shape
fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    let (scheme, family) = match algorithm {
        Algorithm::RS256 => (Scheme::Rs256, AlgorithmFamily::Rsa),
        Algorithm::PS256 => (Scheme::Ps256, AlgorithmFamily::Rsa),
        Algorithm::ES256 => (Scheme::Es256, AlgorithmFamily::Ec),
        Algorithm::ES384 => (Scheme::Es384, AlgorithmFamily::Ec),
        Algorithm::EdDSA => (Scheme::EdDsa, AlgorithmFamily::Ed),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    if key.family() != family {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(SealVerifier { scheme, algorithm: *algorithm, key: key.clone() }))
}

impl Verifier<Vec<u8>> for SealVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Mismatch> {
        let key = match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => PublicKey::Rsa { modulus: n, exponent: e },
            DecodingKeyKind::SecretOrDer(point) => PublicKey::Point(point),
        };
        verify(self.scheme, key, message, signature).map_err(|_| Mismatch::new())
    }
}

impl JwtVerifier for SealVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
