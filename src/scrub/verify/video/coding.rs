//! The boxes that say how a track is coded: known fields, parameter sets, and zeros.

use super::{BOX, Checked, SHORT, blank, children, long, message, void};
use crate::scrub::policy::{CodingBox, SOUND_CONFIGURATION_BYTES};
use crate::scrub::verify::{VerifyError, check_profile};

const WORDS: VerifyError = VerifyError("a video with words in the record of its coding");

/// # Errors
/// A box that may not stay, or a byte where a zero belongs.
pub(super) fn check(boxes: &[u8], is_picture: bool, is_inner: bool) -> Checked<()> {
    for (kind, body) in children(boxes)? {
        if kind == *b"free" {
            blank(Some(body))?;
            continue;
        }
        match CodingBox::of(kind) {
            CodingBox::Fields { from, bytes } => {
                blank(body.get(..from.min(body.len())))?;
                blank(Some(body.get(from + bytes..).unwrap_or_default()))?;
            }
            CodingBox::Sets { is_hevc } => blank(Some(if is_hevc { lists(body)? } else { sets(body)? }))?,
            CodingBox::Colour => match body.get(..4) {
                Some(b"nclc") => blank(Some(body.get(10..).unwrap_or_default()))?,
                Some(b"nclx") => blank(Some(body.get(11..).unwrap_or_default()))?,
                Some(b"prof" | b"rICC") => check_profile(body.get(4..).unwrap_or_default())?,
                _ => return Err(BOX),
            },
            CodingBox::Channels => {
                let count = usize::try_from(long(body, 12).unwrap_or(0)).unwrap_or(0);
                let mut each = body.get(16..).unwrap_or_default().chunks(20);
                each.by_ref().take(count).try_for_each(|one| blank(Some(one.get(4..).unwrap_or_default())))?;
                each.try_for_each(|rest| blank(Some(rest)))?;
            }
            CodingBox::Descriptors => stream(body.get(4..).unwrap_or_default(), is_picture)?,
            CodingBox::Parent if !is_inner => check(body, is_picture, true)?,
            CodingBox::Parent | CodingBox::Other => return Err(BOX),
        }
    }
    Ok(())
}

/// A unit behind its length, and what follows.
fn unit(bytes: &[u8]) -> Checked<(&[u8], &[u8])> {
    let [high, low, rest @ ..] = bytes else { return Err(SHORT) };
    rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))).ok_or(SHORT)
}

fn judge(unit: &[u8], is_hevc: bool, is_set: bool) -> Checked<()> {
    let Some(first) = unit.first().filter(|_| !is_set) else { return Ok(()) };
    let is_message = if is_hevc { matches!(first & 0x7E, 78 | 80) } else { first & 31 == 6 };
    if is_message { message(unit, is_hevc) } else { void(unit, is_hevc) }
}

/// What follows the sets of `avcC`.
fn sets(body: &[u8]) -> Checked<&[u8]> {
    let mut rest = body.get(5..).ok_or(SHORT)?;
    for (mask, kind) in [(0x1F, 7), (0xFF, 8)] {
        let (count, mut behind) = rest.split_first().ok_or(SHORT)?;
        for _ in 0..count & mask {
            let (one, next) = unit(behind)?;
            judge(one, false, one.first().is_some_and(|first| first & 31 == kind))?;
            behind = next;
        }
        rest = behind;
    }
    let Some(([0xFC..=0xFF, 0xF8..=0xFF, 0xF8..=0xFF, count], mut behind)) = rest.split_first_chunk::<4>() else {
        return Ok(rest);
    };
    for _ in 0..*count {
        let Ok((one, next)) = unit(behind) else { break };
        judge(one, false, one.first().is_some_and(|first| first & 31 == 13))?;
        behind = next;
    }
    Ok(behind)
}

/// What follows the lists of `hvcC`.
fn lists(body: &[u8]) -> Checked<&[u8]> {
    let mut rest = body.get(23..).ok_or(SHORT)?;
    for _ in 0..body.get(22).copied().unwrap_or(0) {
        let Some(([_, high, low], mut behind)) = rest.split_first_chunk::<3>() else { return Err(SHORT) };
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            let (one, next) = unit(behind)?;
            judge(one, true, one.first().is_some_and(|first| (64..70).contains(&(first & 0x7E))))?;
            behind = next;
        }
        rest = behind;
    }
    Ok(rest)
}

/// Tag, body, and what follows; `None` where there is no descriptor.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let last = rest.iter().take(4).position(|b| b & 0x80 == 0)?;
    let (size, rest) = rest.split_at_checked(last + 1)?;
    let size = size.iter().fold(0, |n, b| n * 128 + usize::from(b & 0x7F));
    let (body, behind) = rest.split_at_checked(size)?;
    Some((*tag, body, behind))
}

/// The stream's descriptor, the decoder's in it, and zeros in all others.
fn stream(bytes: &[u8], is_picture: bool) -> Checked<()> {
    each(bytes, 3, &|body| {
        let flags = body.get(2).copied().unwrap_or(0);
        let mut fields = body.get(if flags & 0x80 == 0 { 3 } else { 5 }..).unwrap_or_default();
        if flags & 0x40 != 0 {
            let length = fields.first().copied().map_or(0, usize::from);
            let address = fields.get(1..).unwrap_or_default();
            blank(Some(address.get(..length).unwrap_or(address)))?;
            fields = address.get(length..).unwrap_or_default();
        }
        let inner = fields.get(if flags & 0x20 == 0 { 0 } else { 2 }..).unwrap_or_default();
        decoder(inner, is_picture)
    })
}

fn decoder(bytes: &[u8], is_picture: bool) -> Checked<()> {
    let mut rest = bytes;
    while let Some((tag, body, behind)) = descriptor(rest) {
        match tag {
            4 => each(body.get(13..).unwrap_or_default(), 5, &|configuration| {
                if is_picture {
                    return user_data(configuration);
                }
                blank(Some(configuration.get(SOUND_CONFIGURATION_BYTES..).unwrap_or_default()))
            })?,
            6 => blank(Some(body.get(1..).unwrap_or_default()))?,
            _ => blank(Some(body))?,
        }
        rest = behind;
    }
    blank(Some(rest))
}

/// Descriptors of one tag are looked at, others hold zeros.
fn each(bytes: &[u8], wanted: u8, look: &dyn Fn(&[u8]) -> Checked<()>) -> Checked<()> {
    let mut rest = bytes;
    while let Some((tag, body, behind)) = descriptor(rest) {
        if tag == wanted {
            look(body)?;
        } else {
            blank(Some(body))?;
        }
        rest = behind;
    }
    blank(Some(rest))
}

fn user_data(headers: &[u8]) -> Checked<()> {
    let starts: Vec<usize> = memchr::memmem::find_iter(headers, b"\0\0\x01").collect();
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(headers.len());
        let section = headers.get(start + 3..end).unwrap_or_default();
        if let Some((0xB2, words)) = section.split_first()
            && words.iter().any(|b| *b != 0xFF)
        {
            return Err(WORDS);
        }
    }
    Ok(())
}
