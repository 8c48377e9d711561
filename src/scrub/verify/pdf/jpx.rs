//! Reads a JPEG 2000 picture that is about to leave: known boxes, known markers, an end.

use super::{Verdict, fail};
use crate::scrub::VerifyError;
use crate::scrub::policy::pdf::{is_jpx_header_box, is_jpx_marker, jpx_marker};
use crate::scrub::verify::check_profile;

const BAD: VerifyError = VerifyError("a JPEG 2000 picture with more in it than a picture");

pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Some(rest) = bytes.strip_prefix(b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 ") else {
        return code_stream(bytes);
    };
    let (header, rest) = body(rest, *b"jp2h")?;
    let (stream, rest) = body(rest, *b"jp2c")?;
    let mut inner = header;
    while !inner.is_empty() {
        let kind = *inner.get(4..).and_then(<[u8]>::first_chunk::<4>).ok_or(BAD)?;
        let (content, behind) = body(inner, kind)?;
        inner = behind;
        match (&kind, content) {
            (b"colr", [1, rest @ ..]) if rest.len() == 6 => {}
            (b"colr", [2 | 3, _, _, profile @ ..]) => check_profile(profile)?,
            (b"colr", _) => return Err(BAD),
            (b"ihdr", content) if content.len() > 14 => return Err(BAD),
            _ if is_jpx_header_box(kind) => {}
            _ => return Err(BAD),
        }
    }
    if rest.is_empty() { code_stream(stream) } else { Err(BAD) }
}

/// The content of a box of this kind, which stands first, and what follows it.
fn body(bytes: &[u8], kind: [u8; 4]) -> Result<(&[u8], &[u8]), VerifyError> {
    let length = bytes.first_chunk::<4>().map(|raw| u32::from_be_bytes(*raw)).ok_or(BAD)?;
    let length = usize::try_from(length).map_err(|_| BAD)?;
    let (whole, behind) = bytes.split_at_checked(length).ok_or(BAD)?;
    let content = whole.get(4..).and_then(|rest| rest.strip_prefix(&kind)).ok_or(BAD)?;
    Ok((content, behind))
}

fn code_stream(bytes: &[u8]) -> Verdict {
    let mut at = 2;
    let pair = |at: usize| bytes.get(at..at + 2).and_then(<[u8]>::first_chunk::<2>).copied();
    if pair(0) != Some([0xFF, 0x4F]) {
        return Err(BAD);
    }
    let mut tile_end = None;
    loop {
        let [0xFF, code] = pair(at).ok_or(BAD)? else { return Err(BAD) };
        match code {
            0xD9 if at + 2 == bytes.len() && tile_end.is_none() => return Ok(()),
            jpx_marker::SOT if tile_end.is_none() => {
                let size = bytes.get(at + 6..).and_then(<[u8]>::first_chunk::<4>).map(|raw| u32::from_be_bytes(*raw));
                let size = size.and_then(|n| usize::try_from(n).ok()).filter(|n| *n >= 14).ok_or(BAD)?;
                if pair(at + 2) != Some([0, 10]) {
                    return Err(BAD);
                }
                tile_end = Some(at + size);
                at += 12;
            }
            jpx_marker::SOD => at = tile_end.take().filter(|end| *end > at).ok_or(BAD)?,
            code if is_jpx_marker(code) => at += 2 + usize::from(u16::from_be_bytes(pair(at + 2).ok_or(BAD)?)),
            _ => return fail("a JPEG 2000 picture with a comment"),
        }
    }
}
