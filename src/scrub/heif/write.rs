//! Writes the new file: `ftyp`, `meta`, `mdat`.

use super::{Kept, KeptData, damaged};
use crate::media::Fault;
use crate::scrub::ScrubError;
use crate::scrub::container::Piece;
use crate::scrub::policy::HEIF_HANDLER;

/// Bytes of the three headers, for the plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub brands: u64,
    pub index: u64,
}

pub(super) struct Written {
    pub pieces: Vec<Piece>,
    pub sizes: Sizes,
}

/// A box of `kind` with its body in parts.
pub(super) fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.iter().map(|p| p.len()).sum::<usize>();
    let size = u32::try_from(body + 8).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(body + 8);
    bytes.extend(size.to_be_bytes());
    bytes.extend(kind);
    for part in parts {
        bytes.extend(*part);
    }
    bytes
}

fn short(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes()
}

fn long(value: u64) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes()
}

/// Offsets are of four bytes: a file of more than 4 GiB is not written.
pub(super) fn write(brands: &[u8], primary: u16, kept: &[Kept], properties: &[Vec<u8>]) -> Result<Written, ScrubError> {
    if kept.len() >= usize::from(u16::MAX) || properties.len() > 0x7FFF {
        return Err(damaged(Fault("has more pictures than can be numbered")));
    }
    let brands = boxed(*b"ftyp", &[brands]);
    let coded = kept.iter().map(|k| bytes_of(k, false)).fold(0, u64::saturating_add);
    // Written twice: the places of the pictures follow from the length of what says them.
    let draft = index(primary, kept, properties, 0);
    let head = u64::try_from(brands.len() + draft.len() + 8).unwrap_or(u64::MAX);
    if head.saturating_add(coded) > u64::from(u32::MAX) {
        return Err(ScrubError::too_large("The HEIF file has more than 4 GiB of pictures. Send it smaller.".to_owned()));
    }
    let index = index(primary, kept, properties, head);
    let sizes = Sizes { brands: u64::try_from(brands.len()).unwrap_or(0), index: u64::try_from(index.len()).unwrap_or(0) };
    let mut start = [brands, index].concat();
    start.extend(long(coded + 8));
    start.extend(b"mdat");
    let mut pieces = vec![Piece::New(start)];
    for item in kept {
        if let KeptData::Coded(ranges) = &item.data {
            pieces.extend(ranges.iter().cloned().map(Piece::Kept));
        }
    }
    Ok(Written { pieces, sizes })
}

/// Bytes that an item has in `idat` or else in `mdat`.
fn bytes_of(item: &Kept, in_index: bool) -> u64 {
    match &item.data {
        KeptData::Made(bytes) if in_index => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        KeptData::Coded(ranges) if !in_index => ranges.iter().map(|r| r.end - r.start).fold(0, u64::saturating_add),
        _ => 0,
    }
}

fn index(primary: u16, kept: &[Kept], properties: &[Vec<u8>], coded_at: u64) -> Vec<u8> {
    let made: Vec<&[u8]> = kept
        .iter()
        .filter_map(|k| match &k.data {
            KeptData::Made(bytes) => Some(bytes.as_slice()),
            KeptData::Coded(_) => None,
        })
        .collect();
    let made = made.concat();
    let references = references(kept);
    boxed(
        *b"meta",
        &[
            &[0; 4],
            HEIF_HANDLER,
            &boxed(*b"pitm", &[&[0; 4], &primary.to_be_bytes()]),
            &items(kept),
            &references,
            &boxed(*b"iprp", &[&boxed(*b"ipco", &[&properties.concat()]), &associations(kept, properties.len())]),
            &if made.is_empty() { Vec::new() } else { boxed(*b"idat", &[&made]) },
            &places(kept, coded_at),
        ],
    )
}

fn items(kept: &[Kept]) -> Vec<u8> {
    let mut list = [&[0; 4][..], &short(kept.len())].concat();
    for (item, number) in kept.iter().zip(1..) {
        let version = [2, 0, 0, u8::from(item.is_hidden)];
        list.extend(boxed(*b"infe", &[&version, &short(number), &[0; 2], &item.kind, &[0]]));
    }
    boxed(*b"iinf", &[&list])
}

fn references(kept: &[Kept]) -> Vec<u8> {
    let mut list = vec![0; 4];
    for (item, number) in kept.iter().zip(1..) {
        for (kind, to) in &item.references {
            let to: Vec<u8> = to.iter().flat_map(|n| n.to_be_bytes()).collect();
            list.extend(boxed(*kind, &[&short(number), &short(to.len() / 2), &to]));
        }
    }
    if list.len() == 4 { Vec::new() } else { boxed(*b"iref", &[&list]) }
}

fn associations(kept: &[Kept], properties: usize) -> Vec<u8> {
    let is_wide = properties > 0x7F;
    let mut list = [&[0, 0, 0, u8::from(is_wide)][..], &long(u64::try_from(kept.len()).unwrap_or(0))].concat();
    for (item, number) in kept.iter().zip(1..) {
        list.extend(short(number));
        list.push(u8::try_from(item.properties.len()).unwrap_or(u8::MAX));
        for (is_essential, position) in &item.properties {
            let value = u16::try_from(position + 1).unwrap_or(0);
            if is_wide {
                list.extend((value | u16::from(*is_essential) << 15).to_be_bytes());
            } else {
                list.push(u8::try_from(value).unwrap_or(0) | u8::from(*is_essential) << 7);
            }
        }
    }
    boxed(*b"ipma", &[&list])
}

/// `iloc` of version 1: four bytes of offset and of length, no base, one extent for each item.
fn places(kept: &[Kept], coded_at: u64) -> Vec<u8> {
    let mut list = [&[1, 0, 0, 0, 0x44, 0][..], &short(kept.len())].concat();
    let (mut made, mut coded) = (0, coded_at);
    for (item, number) in kept.iter().zip(1..) {
        let in_index = matches!(item.data, KeptData::Made(_));
        let at = if in_index { &mut made } else { &mut coded };
        let length = bytes_of(item, in_index);
        list.extend(short(number));
        list.extend([0, u8::from(in_index), 0, 0]);
        // An identity is made of no bytes, and no bytes have no place.
        list.extend(short(usize::from(length > 0)));
        if length > 0 {
            list.extend([long(*at), long(length)].concat());
        }
        *at = at.saturating_add(length);
    }
    boxed(*b"iloc", &[&list])
}
