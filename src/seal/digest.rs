//! SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104).

use ring::{digest, hmac};

/// The digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// A digest over bytes that come piece by piece.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        take(self.0.finish().as_ref())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// A keyed hash over `parts`. Each part goes in behind its length, so that ("ab", "c") and
/// ("a", "bc") differ.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    take(context.sign().as_ref())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let nibbles = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    nibbles.filter_map(|n| DIGITS.get(usize::from(n))).collect()
}

/// Compares without telling by its duration where two secrets differ; their lengths are no secret.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |all, (x, y)| std::hint::black_box(all | (x ^ y)));
    a.len() == b.len() && difference == 0
}

/// All algorithms here give 32 bytes.
fn take(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_standards_own_example() {
        // FIPS 180-4, example "abc".
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), want);
        let mut pieces = Hasher::new();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(hex(&pieces.finish()), want);
    }

    #[test]
    fn parts_of_a_keyed_hash_cannot_flow_into_each_other() {
        assert_ne!(hmac_sha256(b"k", &[b"ab", b"c"]), hmac_sha256(b"k", &[b"a", b"bc"]));
        assert_ne!(hmac_sha256(b"k", &[b"abc"]), hmac_sha256(b"k", &[b"abc", b""]));
        assert_ne!(hmac_sha256(b"k", &[b"abc"]), hmac_sha256(b"l", &[b"abc"]));
    }

    #[test]
    fn a_comparison_sees_length_and_every_bit() {
        assert!(equal(b"same", b"same"));
        assert!(!equal(b"same", b"samf") && !equal(b"same", b"sam") && !equal(b"", b"x"));
    }
}
