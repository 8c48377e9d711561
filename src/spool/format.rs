//! The sealed file, byte for byte: `api-spec/spool.md`. Nothing here touches a disk.

use super::error::{Damage, SpoolError};
use super::name::Name;
use crate::capture::{CaptureId, ItemId};
use crate::seal::aead::{DataKey, PREFIX_BYTES, SealError, TAG_BYTES, WRAPPED_BYTES};
use crate::seal::secret::Secret;

pub(super) const VERSION: u16 = 1;
pub(super) const MAGIC: [u8; 8] = *b"SHBSPOOL";
const END_MAGIC: [u8; 8] = *b"SHBSPEND";

/// Plain bytes of a chunk. Measured with photos of 3.5 MB: chunks of 16 KiB cost a third more,
/// larger ones win nothing where several go into one write, and a reader would hold more memory.
pub(super) const CHUNK_BYTES: u32 = 64 * 1024;
/// A reader takes any size up to this; it is what one read needs of memory.
const CHUNK_MAX_BYTES: u32 = 4 * 1024 * 1024;
/// A manifest is a page of JSON; a colour profile in it may have a megabyte.
pub(super) const MANIFEST_MAX_BYTES: usize = 4 * 1024 * 1024;

/// What each part of a file is bound to: the header without its keys.
pub(super) const CONTEXT_BYTES: usize = 40;
const KEK_ID_BYTES: usize = 8;
/// Where the wrapped data key stands: the bytes that an erasure destroys.
pub(super) const WRAPPED_AT: usize = 56;
pub(super) const HEADER_BYTES: usize = WRAPPED_AT + WRAPPED_BYTES;
pub(super) const END_BYTES: usize = END_PLAIN_BYTES + TAG_BYTES;
pub(super) const END_PLAIN_BYTES: usize = 32;
/// [`END_BYTES`] and so on, as lengths of files are counted.
const TAG: u64 = TAG_BYTES as u64;

/// The header, before its wrapped key.
pub(super) struct Header {
    pub name: Name,
    pub chunk_bytes: u32,
    pub kek_id: [u8; 8],
    pub prefix: [u8; PREFIX_BYTES],
}

/// What the wrapped key is bound to.
fn wrap_context(front: &[u8]) -> Vec<u8> {
    [b"spool data key", front].concat()
}

impl Header {
    fn front(&self) -> Vec<u8> {
        let (kind, capture, index) = match self.name {
            Name::Item(item) => (1, item.capture, item.index),
            Name::Binding(capture) => (2, capture, 0),
            Name::Derived(item) => (3, item.capture, item.index),
            Name::Stopped(capture) => (4, capture, 0),
            Name::Stills(item) => (5, item.capture, item.index),
        };
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[kind, 0]);
        out.extend_from_slice(&self.chunk_bytes.to_be_bytes());
        out.extend_from_slice(&capture.to_bytes());
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.kek_id);
        out.extend_from_slice(&self.prefix);
        out.push(0);
        out
    }

    /// The header's bytes, `key` wrapped in them.
    pub(super) fn encode(&self, key: &DataKey, wrap_key: &Secret<32>) -> Result<Vec<u8>, SealError> {
        let mut out = self.front();
        let wrapped = key.wrap(wrap_key, &wrap_context(&out))?;
        out.extend_from_slice(&wrapped);
        Ok(out)
    }

    /// Reads a header and unwraps its key. Whatever was changed in it, the key does not open.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], kek_id: [u8; 8], wrap_key: &Secret<32>) -> Result<(Self, DataKey), Damage> {
        let mut fields = Fields(bytes);
        if fields.take::<8>()? != MAGIC {
            return Err(Damage::NotSealed);
        }
        let version = u16::from_be_bytes(fields.take()?);
        if version != VERSION {
            return Err(Damage::Newer(version));
        }
        let [kind, _] = fields.take()?;
        let chunk_bytes = u32::from_be_bytes(fields.take()?);
        let capture = CaptureId::from_bytes(fields.take()?);
        let item = ItemId { capture, index: u16::from_be_bytes(fields.take()?) };
        fields.take::<6>()?;
        let name = match kind {
            1 => Name::Item(item),
            2 => Name::Binding(capture),
            3 => Name::Derived(item),
            4 => Name::Stopped(capture),
            5 => Name::Stills(item),
            _ => return Err(Damage::Altered),
        };
        let header = Self { name, chunk_bytes, kek_id: fields.take()?, prefix: fields.take()? };
        fields.take::<1>()?;
        let wrapped: [u8; WRAPPED_BYTES] = fields.take()?;
        if wrapped == [0; WRAPPED_BYTES] {
            return Err(Damage::Erased);
        }
        let (context, rest) = bytes.split_at(CONTEXT_BYTES);
        let nonce = rest.get(KEK_ID_BYTES..WRAPPED_AT - CONTEXT_BYTES).unwrap_or_default();
        // With the id that it ought to have: a file of ours whose id alone was changed is damaged, and
        // waits for no other key.
        let front = [context, &kek_id[..], nonce].concat();
        let opened = DataKey::unwrap(wrap_key, &wrap_context(&front), &wrapped);
        if header.kek_id != kek_id {
            return Err(if opened.is_ok() { Damage::Altered } else { Damage::OtherKey(header.kek_id) });
        }
        let key = opened.map_err(|_| Damage::Altered)?;
        if header.chunk_bytes == 0 || header.chunk_bytes > CHUNK_MAX_BYTES {
            return Err(Damage::Altered);
        }
        Ok((header, key))
    }
}

/// The end of a file: how much stands in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub payload_bytes: u64,
    pub manifest_bytes: u32,
    pub chunks: u32,
}

impl End {
    pub(super) fn encode(self) -> [u8; END_PLAIN_BYTES] {
        let mut out = [0; END_PLAIN_BYTES];
        let fields = self.payload_bytes.to_be_bytes().into_iter();
        let fields = fields.chain(self.manifest_bytes.to_be_bytes()).chain(self.chunks.to_be_bytes()).chain(END_MAGIC);
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    /// Reads an end that stands in a file of `file_bytes` whose chunks have `chunk_bytes`.
    pub(super) fn decode(bytes: &[u8; END_BYTES], chunk_bytes: u32, file_bytes: u64) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        let end = Self {
            payload_bytes: u64::from_be_bytes(fields.take()?),
            manifest_bytes: u32::from_be_bytes(fields.take()?),
            chunks: u32::from_be_bytes(fields.take()?),
        };
        if fields.take::<8>()? != END_MAGIC {
            return Err(Damage::Torn);
        }
        if Some(end.chunks) != chunks_of(end.payload_bytes, chunk_bytes) || Some(file_bytes) != end.file_bytes() {
            return Err(Damage::Torn);
        }
        Ok(end)
    }

    /// Where the sealed manifest begins.
    pub(super) fn manifest_at(self) -> Option<u64> {
        let tags = u64::from(self.chunks).checked_mul(TAG)?;
        self.payload_bytes.checked_add(tags)?.checked_add(HEADER_BYTES as u64)
    }

    fn file_bytes(self) -> Option<u64> {
        self.manifest_at()?.checked_add(u64::from(self.manifest_bytes) + TAG + END_BYTES as u64)
    }
}

/// How many chunks a payload has: at least one, and the last is never empty behind another.
fn chunks_of(payload_bytes: u64, chunk_bytes: u32) -> Option<u32> {
    u32::try_from(payload_bytes.div_ceil(u64::from(chunk_bytes.max(1))).max(1)).ok()
}

/// Takes fixed fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Damage::Torn)?;
        self.0 = rest;
        Ok(*field)
    }
}

impl From<SealError> for SpoolError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Altered => Self::Damaged(Damage::Altered),
            SealError::NoRandom => Self::NoRandom,
            SealError::TooLong => Self::TooLong,
        }
    }
}

impl From<Damage> for SpoolError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}
