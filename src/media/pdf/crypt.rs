//! Files that anybody can open: encrypted, with an empty password (ISO 32000-1 §7.6, ISO 32000-2
//! §7.6.4). Such a file hides nothing from a reader; it asks printers and editors for manners. One
//! that has a password of its own is locked.

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha384, Sha512};

use super::lexer::{Dict, Object};

/// What an empty password is filled up with (ISO 32000-1 §7.6.3.3).
const PAD: [u8; 32] = [
    0x28, 0xBF, 0x4E, 0x5E, 0x4E, 0x75, 0x8A, 0x41, 0x64, 0x00, 0x4E, 0x56, 0xFF, 0xFA, 0x01, 0x08, 0x2E, 0x2E, 0x00, 0xB6, 0xD0,
    0x68, 0x3E, 0x80, 0x2F, 0x0C, 0xA9, 0xFE, 0x64, 0x53, 0x69, 0x7A,
];
const BLOCK: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    None,
    Rc4,
    Aes128,
    Aes256,
}

pub(super) struct Crypt {
    key: Vec<u8>,
    texts: Method,
    data: Method,
}

impl Crypt {
    /// `None`: it does not open with an empty password.
    pub(super) fn open(dict: &Dict, id: &[u8]) -> Option<Self> {
        let integer = |key: &[u8]| dict.get(key).and_then(Object::integer);
        let text = |key: &[u8]| match dict.get(key) {
            Some(Object::Text(text)) => Some(text.as_slice()),
            _ => None,
        };
        if dict.get(b"Filter".as_slice()).and_then(Object::name) != Some(b"Standard") {
            return None;
        }
        let (version, revision) = (integer(b"V")?, integer(b"R")?);
        let (data, texts) = match version {
            1 | 2 => (Method::Rc4, Method::Rc4),
            4 | 5 => (method(dict, b"StmF")?, method(dict, b"StrF")?),
            _ => return None,
        };
        let key = match revision {
            2..=4 => {
                let bits = if version == 4 { 128 } else { integer(b"Length").unwrap_or(40) };
                let length = if revision == 2 { 5 } else { usize::try_from(bits / 8).ok()?.clamp(5, 16) };
                let permissions = u32::try_from(integer(b"P")? & 0xFFFF_FFFF).ok()?;
                let is_open = revision >= 4 && dict.get(b"EncryptMetadata".as_slice()) == Some(&Object::Bool(false));
                let key = old_key(text(b"O")?, permissions, id, revision, length, is_open)?;
                is_user_key(&key, revision, text(b"U")?, id).then_some(key)?
            }
            5 | 6 => new_key(text(b"U")?, text(b"UE")?, revision)?,
            _ => return None,
        };
        Some(Self { key, texts, data })
    }

    pub(super) fn decrypt_texts(&self, number: u32, value: &mut Object) {
        match value {
            Object::Text(text) => *text = self.decrypt(self.texts, number, std::mem::take(text)),
            Object::Array(items) => items.iter_mut().for_each(|item| self.decrypt_texts(number, item)),
            Object::Dict(dict) => dict.values_mut().for_each(|item| self.decrypt_texts(number, item)),
            _ => {}
        }
    }

    pub(super) fn decrypt_data(&self, number: u32, dict: &Dict, bytes: Vec<u8>) -> Vec<u8> {
        let is_identity = |o: Option<&Object>| match o {
            Some(Object::Name(name)) => name == b"Crypt",
            Some(Object::Array(items)) => items.iter().any(|i| i.name() == Some(b"Crypt")),
            _ => false,
        };
        // Cross-references are in clear, and so is what names a filter of its own: Identity alone
        // is known.
        let is_clear = dict.get(b"Type".as_slice()).and_then(Object::name) == Some(b"XRef");
        if is_clear || is_identity(dict.get(b"Filter".as_slice())) { bytes } else { self.decrypt(self.data, number, bytes) }
    }

    fn decrypt(&self, method: Method, number: u32, bytes: Vec<u8>) -> Vec<u8> {
        match method {
            Method::None => bytes,
            Method::Rc4 => rc4(&self.object_key(number, b""), &bytes),
            Method::Aes128 => aes(&self.object_key(number, b"sAlT"), &bytes),
            Method::Aes256 => aes(&self.key, &bytes),
        }
    }

    /// ISO 32000-1 §7.6.2, algorithm 1, for generation 0.
    fn object_key(&self, number: u32, salt: &[u8]) -> Vec<u8> {
        let [a, b, c, _] = number.to_le_bytes();
        let hash = Md5::digest([&self.key[..], &[a, b, c, 0, 0], salt].concat());
        hash.iter().copied().take((self.key.len() + 5).min(BLOCK)).collect()
    }
}

fn method(dict: &Dict, which: &[u8]) -> Option<Method> {
    let name = dict.get(which).and_then(Object::name).unwrap_or(b"Identity");
    if name == b"Identity" {
        return Some(Method::None);
    }
    let filter = dict.get(b"CF".as_slice())?.dict()?.get(name)?.dict()?;
    Some(match filter.get(b"CFM".as_slice()).and_then(Object::name)? {
        b"None" => Method::None,
        b"V2" => Method::Rc4,
        b"AESV2" => Method::Aes128,
        b"AESV3" => Method::Aes256,
        _ => return None,
    })
}

/// ISO 32000-1 §7.6.3.3, algorithm 2.
fn old_key(owner: &[u8], permissions: u32, id: &[u8], revision: i64, length: usize, is_open: bool) -> Option<Vec<u8>> {
    let tail: &[u8] = if is_open { &[0xFF; 4] } else { &[] };
    let seed = [&PAD[..], owner.get(..32)?, &permissions.to_le_bytes(), id, tail].concat();
    let mut hash = Md5::digest(seed).to_vec();
    for _ in 0..if revision >= 3 { 50 } else { 0 } {
        hash = Md5::digest(hash.get(..length)?).to_vec();
    }
    hash.get(..length).map(<[u8]>::to_vec)
}

/// ISO 32000-1 §7.6.3.4, algorithms 4 to 6.
fn is_user_key(key: &[u8], revision: i64, user: &[u8], id: &[u8]) -> bool {
    if revision == 2 {
        return rc4(key, &PAD) == user;
    }
    let mut mark = Md5::digest([&PAD[..], id].concat()).to_vec();
    for round in 0..20u8 {
        let turned: Vec<u8> = key.iter().map(|b| b ^ round).collect();
        mark = rc4(&turned, &mark);
    }
    user.get(..BLOCK) == Some(mark.as_slice())
}

/// ISO 32000-2 §7.6.4.3.3, algorithm 2.A.
fn new_key(user: &[u8], wrapped: &[u8], revision: i64) -> Option<Vec<u8>> {
    let hash = |salt: &[u8]| if revision == 5 { Sha256::digest(salt).to_vec() } else { hardened(salt) };
    if user.get(..32)? != hash(user.get(32..40)?) {
        return None;
    }
    Some(cbc(&hash(user.get(40..48)?), &[0; BLOCK], wrapped.get(..32)?))
}

/// ISO 32000-2 §7.6.4.3.4, algorithm 2.B, for an empty password.
fn hardened(salt: &[u8]) -> Vec<u8> {
    let mut key = Sha256::digest(salt).to_vec();
    for round in 0u32.. {
        let mut text = key.repeat(64);
        let (aes_key, iv) = (key.get(..BLOCK).unwrap_or_default(), key.get(BLOCK..2 * BLOCK).unwrap_or_default());
        if let Ok(cipher) = Aes128::new_from_slice(aes_key) {
            let mut before = iv.to_vec();
            for block in text.chunks_exact_mut(BLOCK) {
                block.iter_mut().zip(&before).for_each(|(byte, other)| *byte ^= other);
                let Ok(mut sealed) = Block::try_from(&*block) else { break };
                cipher.encrypt_block(&mut sealed);
                block.copy_from_slice(&sealed);
                before = block.to_vec();
            }
        }
        let kind = text.iter().take(BLOCK).map(|b| u32::from(*b)).sum::<u32>() % 3;
        key = match kind {
            0 => Sha256::digest(&text).to_vec(),
            1 => Sha384::digest(&text).to_vec(),
            _ => Sha512::digest(&text).to_vec(),
        };
        if round >= 63 && u32::from(text.last().copied().unwrap_or(0)) + 32 <= round + 1 {
            break;
        }
    }
    key.truncate(32);
    key
}

fn rc4(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut state: Vec<u8> = (0..=255).collect();
    let at = |state: &[u8], index: u8| state.get(usize::from(index)).copied().unwrap_or(0);
    let mut j = 0u8;
    for (i, key_byte) in (0..=255u8).zip(key.iter().cycle()) {
        j = j.wrapping_add(at(&state, i)).wrapping_add(*key_byte);
        state.swap(usize::from(i), usize::from(j));
    }
    let (mut i, mut j) = (0u8, 0u8);
    bytes
        .iter()
        .map(|byte| {
            i = i.wrapping_add(1);
            j = j.wrapping_add(at(&state, i));
            state.swap(usize::from(i), usize::from(j));
            byte ^ at(&state, at(&state, i).wrapping_add(at(&state, j)))
        })
        .collect()
}

/// The initialization vector, whole blocks, and a padding that says how long it is.
fn aes(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let Some((iv, sealed)) = bytes.split_at_checked(BLOCK) else { return Vec::new() };
    let mut text = cbc(key, iv, sealed);
    let padding = text.last().map_or(0, |b| usize::from(*b));
    if (1..=BLOCK).contains(&padding) {
        text.truncate(text.len().saturating_sub(padding));
    }
    text
}

fn cbc(key: &[u8], iv: &[u8], sealed: &[u8]) -> Vec<u8> {
    let decrypt: Box<dyn Fn(&mut Block)> = if let Ok(cipher) = Aes128::new_from_slice(key) {
        Box::new(move |block| cipher.decrypt_block(block))
    } else if let Ok(cipher) = Aes256::new_from_slice(key) {
        Box::new(move |block| cipher.decrypt_block(block))
    } else {
        return Vec::new();
    };
    let mut out = Vec::with_capacity(sealed.len());
    let mut before = iv;
    for block in sealed.chunks_exact(BLOCK) {
        let Ok(mut open) = Block::try_from(block) else { break };
        decrypt(&mut open);
        out.extend(open.iter().zip(before).map(|(byte, other)| byte ^ other));
        before = block;
    }
    out
}
