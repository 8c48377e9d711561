//! JPEG 2000 inside a PDF: the boxes that a decoder needs, and a code stream without comments.
//!
//! Source: ITU-T T.800 annex A (code stream) and annex I (boxes). What can still slip through:
//! bytes of a tile that belong to no packet.

use crate::media::Fault;
use crate::scrub::icc;
use crate::scrub::policy::PROFILE_BYTES_MAX;
use crate::scrub::policy::pdf::{is_jpx_header_box, is_jpx_marker, jpx_marker as marker};

type Result<T> = std::result::Result<T, Fault>;

const CUT: Fault = Fault("has a JPEG 2000 picture that is cut short");
const UNKNOWN: Fault = Fault("has a JPEG 2000 picture that is coded in a way that is not known");
/// The signature, and a type that says no more than that it is one (§I.5.1, §I.5.2).
const HEAD: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 ";

/// What stays of a picture.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.starts_with(&[0xFF, 0x4F]) {
        return code_stream(bytes);
    }
    let mut out = HEAD.to_vec();
    let mut rest = bytes;
    let mut has_header = false;
    while let Some((kind, body, behind)) = next_box(rest) {
        match &kind {
            b"jp2h" if !has_header => {
                has_header = true;
                put_box(&mut out, *b"jp2h", &header(body));
            }
            b"jp2c" if has_header => {
                put_box(&mut out, *b"jp2c", &code_stream(body)?);
                return Ok(out);
            }
            _ => {}
        }
        rest = behind;
    }
    Err(CUT)
}

/// Kind, content, and what follows.
fn next_box(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let (body, behind) = match length {
        0 => (rest, &[][..]),
        1 => {
            let (long, rest) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_be_bytes(*long)).ok()?.checked_sub(16)?;
            rest.split_at_checked(length)?
        }
        _ => rest.split_at_checked(usize::try_from(length).ok()?.checked_sub(8)?)?,
    };
    Some((*kind, body, behind))
}

fn put_box(out: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) {
    out.extend(u32::try_from(body.len() + 8).unwrap_or(0).to_be_bytes());
    out.extend(kind);
    out.extend(body);
}

/// Size, depth, palette, channels, colours; a profile without its words.
fn header(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((kind, body, behind)) = next_box(rest) {
        rest = behind;
        if !is_jpx_header_box(kind) {
            continue;
        }
        match (&kind, body) {
            // An enumerated space takes four bytes behind three (§I.5.3.3).
            (b"colr", [1, ..]) => put_box(&mut out, kind, body.get(..7).unwrap_or(body)),
            (b"colr", [2 | 3, _, _, profile @ ..]) if profile.len() <= PROFILE_BYTES_MAX => {
                if let (Ok(clean), Some(before)) = (icc::rewrite(profile), body.get(..3)) {
                    put_box(&mut out, kind, &[before, &clean].concat());
                }
            }
            (b"colr", _) => {}
            (b"ihdr", _) => put_box(&mut out, kind, body.get(..14).unwrap_or(body)),
            _ => put_box(&mut out, kind, body),
        }
    }
    out
}

/// The main header, the parts of tiles, and the end; no comment in any of them, nothing behind.
fn code_stream(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0x4F]).ok_or(UNKNOWN)?;
    let mut out = vec![0xFF, 0x4F];
    rest = headers(rest, marker::SOT, &mut out)?;
    loop {
        if rest.starts_with(&[0xFF, 0xD9]) || rest.is_empty() {
            out.extend([0xFF, 0xD9]);
            return Ok(out);
        }
        let head: &[u8; 12] = rest.first_chunk().ok_or(CUT)?;
        let [0xFF, 0x90, 0, 10, tile_high, tile_low, a, b, c, d, part, parts] = *head else { return Err(UNKNOWN) };
        let told = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| CUT)?;
        // Zero: up to the end (§A.4.2).
        let length = if told == 0 { rest.strip_suffix(&[0xFF, 0xD9]).unwrap_or(rest).len() } else { told };
        let (whole, behind) = rest.split_at_checked(length).ok_or(CUT)?;
        let mut made = Vec::new();
        let data = headers(whole.get(12..).ok_or(CUT)?, marker::SOD, &mut made)?;
        let size = u32::try_from(12 + made.len() + data.len()).map_err(|_| UNKNOWN)?.to_be_bytes();
        out.extend([&[0xFF, 0x90, 0, 10, tile_high, tile_low], &size[..], &[part, parts], &made, data].concat());
        rest = behind;
    }
}

/// Copies marker segments that say how to decode, up to `last`, which is not consumed.
fn headers<'b>(mut rest: &'b [u8], last: u8, out: &mut Vec<u8>) -> Result<&'b [u8]> {
    loop {
        match rest {
            [0xFF, code, ..] if *code == last => return Ok(rest),
            [0xFF, code, high, low, ..] => {
                let length = 2 + usize::from(u16::from_be_bytes([*high, *low]));
                let (segment, behind) = rest.split_at_checked(length).ok_or(CUT)?;
                match *code {
                    // Lengths of tiles are told again by the tiles; comments are no picture.
                    marker::COM | marker::TLM => {}
                    code if is_jpx_marker(code) => out.extend(segment),
                    _ => return Err(UNKNOWN),
                }
                rest = behind;
            }
            _ => return Err(CUT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(code: u8, body: &[u8]) -> Vec<u8> {
        [&[0xFF, code][..], &u16::try_from(body.len() + 2).unwrap().to_be_bytes(), body].concat()
    }

    fn stream(main: &[u8], tile: &[u8]) -> Vec<u8> {
        let size = u32::try_from(12 + tile.len() + 2 + 3).unwrap().to_be_bytes();
        let part = [&[0xFF, 0x90, 0, 10, 0, 0], &size[..], &[0, 1], tile, &[0xFF, 0x93], b"abc"].concat();
        [&[0xFF, 0x4F], &segment(0x51, b"size")[..], main, &part, &[0xFF, 0xD9]].concat()
    }

    #[test]
    fn comments_and_boxes_that_are_no_picture_go() {
        let (bare, comment) = (stream(b"", b""), segment(0x64, b"\0\x01ZYXCANARY"));
        assert_eq!(strip(&bare), Ok(bare.clone()));
        assert_eq!(strip(&[&stream(&comment, &comment)[..], b"ZYXCANARY"].concat()), Ok(bare.clone()));
        let mut file = HEAD.to_vec();
        put_box(&mut file, *b"xml ", b"ZYXCANARY");
        let mut inner = Vec::new();
        put_box(&mut inner, *b"ihdr", &[7; 14]);
        put_box(&mut inner, *b"colr", b"\x01\0\0\0\0\0\x10ZYXCANARY");
        put_box(&mut inner, *b"zyxc", b"ZYXCANARY");
        put_box(&mut file, *b"jp2h", &inner);
        put_box(&mut file, *b"uuid", b"ZYXCANARY");
        put_box(&mut file, *b"jp2c", &stream(&comment, b""));
        put_box(&mut file, *b"uuid", b"ZYXCANARY");
        let clean = strip(&file).unwrap();
        assert!(!clean.windows(4).any(|w| w == b"ZYXC" || w == b"zyxc") && clean.ends_with(&bare));
        assert_eq!(strip(&clean), Ok(clean.clone()));
        for length in 0..clean.len() {
            // Never a panic; an end that is missing is written.
            let _ = strip(&clean[..length]);
        }
    }
}
