//! Sealing: AES-256-GCM (NIST SP 800-38D), whole values and streams of chunks.
//!
//! Three layers. The key encryption key ([`Kek`]) of the installation seals nothing itself: sub-keys
//! are derived from it, one per purpose. A sub-key seals small values ([`seal_small`]), among them
//! the [`DataKey`] of a file, which is random and used for that file alone. A data key seals one
//! stream of parts ([`StreamSealer`]): the STREAM construction (Hoang, Reyhanitabar, Rogaway and
//! Vizár, CRYPTO 2015), whose nonce carries the place of a part, so that a part that is missing,
//! moved, exchanged or appended is seen.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::digest::hmac_sha256;
use super::random::{NoRandom, random};
use super::secret::Secret;

/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;
/// What [`seal_small`] adds: 12 bytes that derive the key, 12 of nonce, the tag.
pub const SMALL_OVERHEAD_BYTES: usize = SEED_BYTES + NONCE_LEN + TAG_BYTES;
/// A data key, wrapped.
pub const WRAPPED_BYTES: usize = 32 + SMALL_OVERHEAD_BYTES;
/// Random bytes in front of each nonce of a stream.
pub const PREFIX_BYTES: usize = 7;

const SEED_BYTES: usize = 12;

/// Sealing or opening did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The bytes are not what was sealed, or were sealed under another key, name or place.
    Altered,
    /// No random bytes.
    NoRandom,
    /// More parts than a stream can number.
    TooLong,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered => f.write_str("sealed bytes do not open: they were altered, or sealed with another key"),
            Self::NoRandom => NoRandom.fmt(f),
            Self::TooLong => f.write_str("more than 2^32 sealed parts in one stream"),
        }
    }
}

impl std::error::Error for SealError {}

impl From<NoRandom> for SealError {
    fn from(_: NoRandom) -> Self {
        Self::NoRandom
    }
}

/// The key encryption key of an installation.
#[derive(Clone, Debug)]
pub struct Kek {
    key: Secret<32>,
    id: [u8; 8],
}

impl Kek {
    #[must_use]
    pub fn new(key: Secret<32>) -> Self {
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(hmac_sha256(key.expose(), &[b"kek id"])) {
            *to = from;
        }
        Self { key, id }
    }

    /// Names the key without telling anything about it; no secret.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The sub-key for one purpose. Labels are constants of the room that uses them.
    #[must_use]
    pub fn derive(&self, label: &str) -> Secret<32> {
        Secret::new(hmac_sha256(self.key.expose(), &[b"sub-key", label.as_bytes()]))
    }
}

/// The key of one file: random, and stored only wrapped. Whoever destroys the wrapped key has
/// destroyed the file.
#[derive(Clone, Debug)]
pub struct DataKey(Secret<32>);

impl DataKey {
    /// # Errors
    /// [`NoRandom`] where the system has no random bytes.
    pub fn random() -> Result<Self, NoRandom> {
        random().map(Secret::new).map(Self)
    }

    /// Seals this key with `sub_key`. `context` names what the key is for, and whose; it opens
    /// with the same context only.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub fn wrap(&self, sub_key: &Secret<32>, context: &[u8]) -> Result<[u8; WRAPPED_BYTES], SealError> {
        let wrapped = seal_small(sub_key, context, self.0.expose())?;
        wrapped.try_into().map_err(|_| SealError::Altered)
    }

    /// # Errors
    /// [`SealError::Altered`] for another key, another context or other bytes.
    pub fn unwrap(sub_key: &Secret<32>, context: &[u8], wrapped: &[u8]) -> Result<Self, SealError> {
        let key: [u8; 32] = open_small(sub_key, context, wrapped)?.try_into().map_err(|_| SealError::Altered)?;
        Ok(Self(Secret::new(key)))
    }
}

/// Seals one value. `aad` is bound to it, not contained in it.
///
/// Each value has its own cipher key, derived from `key` and 12 random bytes, beside its own random
/// nonce: a sub-key may seal as many values as it likes (SP 800-38D §8.3 allows 2^32 random nonces
/// per key).
///
/// # Errors
/// [`SealError::NoRandom`].
pub fn seal_small(key: &Secret<32>, aad: &[u8], bytes: &[u8]) -> Result<Vec<u8>, SealError> {
    let fresh = random::<{ SEED_BYTES + NONCE_LEN }>()?;
    let (seed, nonce) = fresh.split_at_checked(SEED_BYTES).ok_or(SealError::Altered)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Altered)?;
    let mut out = Vec::with_capacity(bytes.len() + SMALL_OVERHEAD_BYTES);
    out.extend_from_slice(&fresh);
    out.extend_from_slice(bytes);
    let body = out.get_mut(fresh.len()..).unwrap_or_default();
    let tag = small_cipher(key, seed)?.seal_in_place_separate_tag(nonce, Aad::from(aad), body).map_err(|_| SealError::Altered)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Opens what [`seal_small`] sealed.
///
/// # Errors
/// [`SealError::Altered`] for another key, another `aad` or other bytes.
pub fn open_small(key: &Secret<32>, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (seed, rest) = sealed.split_at_checked(SEED_BYTES).ok_or(SealError::Altered)?;
    let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Altered)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Altered)?;
    let mut body = body.to_vec();
    let length = small_cipher(key, seed)?.open_in_place(nonce, Aad::from(aad), &mut body).map_err(|_| SealError::Altered)?.len();
    body.truncate(length);
    Ok(body)
}

fn small_cipher(key: &Secret<32>, seed: &[u8]) -> Result<LessSafeKey, SealError> {
    cipher(&hmac_sha256(key.expose(), &[b"small", seed]))
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| SealError::Altered)
}

/// What a part of a stream is. The word stands in its nonce: no part passes for another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A chunk that another follows.
    Chunk = 0,
    /// The last chunk.
    Last = 1,
    /// What stands behind the chunks.
    Appendix = 2,
    /// The end of the stream: nothing sealed, only its `aad`.
    End = 3,
}

/// Nonces and `aad` of a stream: prefix ‖ number of the part ‖ kind of the part.
#[derive(Clone)]
struct Stream {
    cipher: LessSafeKey,
    prefix: [u8; PREFIX_BYTES],
    context: Vec<u8>,
}

impl Stream {
    fn new(key: &DataKey, prefix: [u8; PREFIX_BYTES], context: &[u8]) -> Result<Self, SealError> {
        Ok(Self { cipher: cipher(key.0.expose())?, prefix, context: context.to_vec() })
    }

    fn nonce(&self, number: u32, part: Part) -> Nonce {
        let [p0, p1, p2, p3, p4, p5, p6] = self.prefix;
        let [n0, n1, n2, n3] = number.to_be_bytes();
        Nonce::assume_unique_for_key([p0, p1, p2, p3, p4, p5, p6, n0, n1, n2, n3, part as u8])
    }

    fn aad(&self, number: u32, part: Part, beside: &[u8]) -> Aad<Vec<u8>> {
        let mut aad = Vec::with_capacity(self.context.len() + 5 + beside.len());
        aad.extend_from_slice(&self.context);
        aad.extend_from_slice(&number.to_be_bytes());
        aad.push(part as u8);
        aad.extend_from_slice(beside);
        Aad::from(aad)
    }
}

/// Seals the parts of one stream in their order. A data key serves one sealer, once.
pub struct StreamSealer {
    stream: Stream,
    next: Option<u32>,
}

impl StreamSealer {
    /// `prefix` is random and stored beside the stream; `context` names the stream (format version,
    /// whose it is) and is bound to each part.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn new(key: &DataKey, prefix: [u8; PREFIX_BYTES], context: &[u8]) -> Result<Self, SealError> {
        Ok(Self { stream: Stream::new(key, prefix, context)?, next: Some(0) })
    }

    /// Seals the next part where it lies, and answers its tag. `beside` is bound to it in clear.
    ///
    /// # Errors
    /// [`SealError::TooLong`] after 2^32 parts.
    pub fn seal(&mut self, part: Part, beside: &[u8], in_place: &mut [u8]) -> Result<[u8; TAG_BYTES], SealError> {
        let number = self.next.ok_or(SealError::TooLong)?;
        self.next = number.checked_add(1);
        let (nonce, aad) = (self.stream.nonce(number, part), self.stream.aad(number, part, beside));
        let tag = self.stream.cipher.seal_in_place_separate_tag(nonce, aad, in_place).map_err(|_| SealError::TooLong)?;
        tag.as_ref().try_into().map_err(|_| SealError::Altered)
    }

    /// Opens what this sealer sealed, also where its key is written down nowhere.
    #[must_use]
    pub fn opener(&self) -> StreamOpener {
        StreamOpener(self.stream.clone())
    }
}

/// Opens the parts of a stream, in any order: each must lie where it was sealed.
pub struct StreamOpener(Stream);

impl StreamOpener {
    /// # Errors
    /// None that a caller can cause.
    pub fn new(key: &DataKey, prefix: [u8; PREFIX_BYTES], context: &[u8]) -> Result<Self, SealError> {
        Stream::new(key, prefix, context).map(Self)
    }

    /// Opens part `number` (from 0) where it lies; `in_place` is its bytes and its tag. The opened
    /// bytes stand at the front. Where it fails, `in_place` is rubbish.
    ///
    /// # Errors
    /// [`SealError::Altered`] where this is not part `number` of this stream.
    pub fn open<'a>(&self, number: u32, part: Part, beside: &[u8], in_place: &'a mut [u8]) -> Result<&'a mut [u8], SealError> {
        let (nonce, aad) = (self.0.nonce(number, part), self.0.aad(number, part, beside));
        self.0.cipher.open_in_place(nonce, aad, in_place).map_err(|_| SealError::Altered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kek(byte: u8) -> Kek {
        Kek::new(Secret::new([byte; 32]))
    }

    #[test]
    fn a_value_opens_with_its_own_key_and_name_only() {
        let key = kek(1).derive("rows");
        let sealed = seal_small(&key, b"row 1", b"fact").unwrap();
        assert_eq!(sealed.len(), 4 + SMALL_OVERHEAD_BYTES);
        assert_eq!(open_small(&key, b"row 1", &sealed).as_deref(), Ok(&b"fact"[..]));
        assert_eq!(open_small(&key, b"row 2", &sealed), Err(SealError::Altered));
        assert_eq!(open_small(&kek(1).derive("files"), b"row 1", &sealed), Err(SealError::Altered));
        assert_eq!(open_small(&kek(2).derive("rows"), b"row 1", &sealed), Err(SealError::Altered));
        assert_ne!(seal_small(&key, b"row 1", b"fact"), Ok(sealed));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_of_a_value_goes_unseen() {
        let key = kek(1).derive("rows");
        let sealed = seal_small(&key, b"", b"fact").unwrap();
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(open_small(&key, b"", &flipped), Err(SealError::Altered), "byte {at}");
            assert_eq!(open_small(&key, b"", &sealed[..at]), Err(SealError::Altered), "cut at {at}");
        }
    }

    #[test]
    fn the_id_of_a_key_names_it_and_tells_nothing() {
        assert_eq!(kek(1).id(), kek(1).id());
        assert_ne!(kek(1).id(), kek(2).id());
        assert_ne!(kek(1).id(), [1; 8]);
        assert!(!format!("{:?}", kek(1)).contains("1, 1"));
    }

    #[test]
    fn a_data_key_comes_back_for_the_same_file_only() {
        let sub_key = kek(1).derive("files");
        let key = DataKey::random().unwrap();
        let wrapped = key.wrap(&sub_key, b"file 1").unwrap();
        assert_eq!(DataKey::unwrap(&sub_key, b"file 1", &wrapped).unwrap().0.expose(), key.0.expose());
        assert!(DataKey::unwrap(&sub_key, b"file 2", &wrapped).is_err());
        assert!(DataKey::unwrap(&sub_key, b"file 1", &[0; WRAPPED_BYTES]).is_err());
    }

    fn sealed_parts(key: &DataKey, context: &[u8]) -> Vec<Vec<u8>> {
        let mut sealer = StreamSealer::new(key, [9; PREFIX_BYTES], context).unwrap();
        let parts = [(Part::Chunk, "one"), (Part::Chunk, "two"), (Part::Last, "three"), (Part::Appendix, "notes")];
        parts
            .into_iter()
            .map(|(part, text)| {
                let mut bytes = text.as_bytes().to_vec();
                let tag = sealer.seal(part, b"", &mut bytes).unwrap();
                bytes.extend(tag);
                bytes
            })
            .collect()
    }

    #[test]
    fn a_part_opens_in_its_own_place_of_its_own_stream_only() {
        let key = DataKey::random().unwrap();
        let parts = sealed_parts(&key, b"stream 1");
        let kinds = [Part::Chunk, Part::Chunk, Part::Last, Part::Appendix];
        let opener = StreamOpener::new(&key, [9; PREFIX_BYTES], b"stream 1").unwrap();
        for (at, bytes) in parts.iter().enumerate() {
            for number in 0..5 {
                for kind in [Part::Chunk, Part::Last, Part::Appendix, Part::End] {
                    let opens = opener.open(number, kind, b"", &mut bytes.clone()).is_ok();
                    assert_eq!(opens, number as usize == at && kinds.get(at) == Some(&kind), "part {at} as {kind:?} {number}");
                }
            }
            assert!(opener.open(u32::try_from(at).unwrap(), kinds[at], b"beside", &mut bytes.clone()).is_err());
        }
        let other = StreamOpener::new(&key, [9; PREFIX_BYTES], b"stream 2").unwrap();
        assert!(other.open(0, Part::Chunk, b"", &mut parts[0].clone()).is_err());
        let other = StreamOpener::new(&key, [8; PREFIX_BYTES], b"stream 1").unwrap();
        assert!(other.open(0, Part::Chunk, b"", &mut parts[0].clone()).is_err());
    }
}
