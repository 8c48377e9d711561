//! Signatures of tokens: five ways to verify one, and one way to make one.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{self as ways, EcdsaKeyPair, KeyPair};

/// How a signature was made (RFC 7518 §3.1, RFC 8037 §3.1). Nothing symmetric: a verifier that
/// could sign would be an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Rs256,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

impl Scheme {
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The `alg` of a token header or a JWK.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// A public key, by reference. Big-endian numbers; a point is uncompressed (SEC 1 §2.3.3), or the
/// 32 bytes of Ed25519.
#[derive(Clone, Copy)]
pub enum PublicKey<'k> {
    Rsa { modulus: &'k [u8], exponent: &'k [u8] },
    Point(&'k [u8]),
}

/// The signature is not of this message by this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature;

/// # Errors
/// [`BadSignature`], also for a key of the wrong kind or size: RSA takes 2048 to 8192 bits.
pub fn verify(scheme: Scheme, key: PublicKey<'_>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let point = |way: &'static dyn ways::VerificationAlgorithm| match key {
        PublicKey::Point(point) => ways::UnparsedPublicKey::new(way, point).verify(message, signature).map_err(|_| BadSignature),
        PublicKey::Rsa { .. } => Err(BadSignature),
    };
    let rsa = |way: &'static ways::RsaParameters| match key {
        PublicKey::Rsa { modulus, exponent } => {
            ways::RsaPublicKeyComponents { n: modulus, e: exponent }.verify(way, message, signature).map_err(|_| BadSignature)
        }
        PublicKey::Point(_) => Err(BadSignature),
    };
    match scheme {
        Scheme::Rs256 => rsa(&ways::RSA_PKCS1_2048_8192_SHA256),
        Scheme::Ps256 => rsa(&ways::RSA_PSS_2048_8192_SHA256),
        Scheme::Es256 => point(&ways::ECDSA_P256_SHA256_FIXED),
        Scheme::Es384 => point(&ways::ECDSA_P384_SHA384_FIXED),
        Scheme::EdDsa => point(&ways::ED25519),
    }
}

/// No key could be made or read, or nothing could be signed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

/// An ES256 key pair.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl SigningKey {
    /// # Errors
    /// [`BadKey`] where the operating system has no random bytes.
    pub fn generate() -> Result<Self, BadKey> {
        let document = EcdsaKeyPair::generate_pkcs8(&ways::ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::from_pkcs8(document.map_err(|_| BadKey)?.as_ref())
    }

    /// # Errors
    /// [`BadKey`] where the bytes are no P-256 key in PKCS #8.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ways::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        Ok(Self { pair: pair.map_err(|_| BadKey)?, pkcs8: pkcs8.to_vec() })
    }

    /// The private key. For its own file; never for a log.
    #[must_use]
    pub fn expose_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public point, 65 bytes: 04, x, y.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// 64 bytes: r, s (RFC 7518 §3.4).
    ///
    /// # Errors
    /// [`BadKey`] where the operating system has no random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BadKey> {
        self.pair.sign(&SystemRandom::new(), message).map(|s| s.as_ref().to_vec()).map_err(|_| BadKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_its_key_and_its_scheme_only() {
        let key = SigningKey::generate().unwrap();
        let other = SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose_pkcs8()).unwrap();
        let signature = key.sign(b"message").unwrap();
        let point = PublicKey::Point(key.point());
        assert_eq!(verify(Scheme::Es256, point, b"message", &signature), Ok(()));
        assert_eq!(verify(Scheme::Es256, point, b"massage", &signature), Err(BadSignature));
        assert_eq!(verify(Scheme::Es384, point, b"message", &signature), Err(BadSignature));
        assert_eq!(verify(Scheme::Rs256, point, b"message", &signature), Err(BadSignature));
        assert_eq!(verify(Scheme::Es256, PublicKey::Point(other.point()), b"message", &signature), Err(BadSignature));
        assert_eq!(verify(Scheme::Es256, point, b"message", &[]), Err(BadSignature));
        assert_eq!(format!("{key:?}"), "[secret]");
    }
}
