//! JBIG2 inside a PDF: segments that are picture, and nothing else.
//!
//! Source: ITU-T T.88 §7.2 (segment headers), §7.3 (types); ISO 32000-1 §7.4.7 (no file header).

use crate::media::Fault;
use crate::scrub::policy::pdf::is_jbig2_segment;

const CUT: Fault = Fault("has a JBIG2 picture that is cut short, or of a length it does not tell");

/// The segments that are picture, as they are.
pub(super) fn strip(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while rest.len() >= 11 {
        let (kind, length) = segment(rest)?;
        let (whole, behind) = rest.split_at_checked(length).ok_or(CUT)?;
        if is_jbig2_segment(kind) {
            out.extend(whole);
        }
        rest = behind;
    }
    Ok(out)
}

/// Type and length of the segment at the start, its header counted in.
fn segment(bytes: &[u8]) -> Result<(u8, usize), Fault> {
    let byte = |at: usize| bytes.get(at).copied().ok_or(CUT);
    let long = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).map(|raw| u32::from_be_bytes(*raw)).ok_or(CUT);
    let (number, flags, count) = (long(0)?, byte(4)?, byte(5)?);
    // Up to four references in three bits; more in a count of its own, with a bit for each.
    let (references, mut at) = match count >> 5 {
        7 => {
            let count = usize::try_from(long(5)? & 0x1FFF_FFFF).map_err(|_| CUT)?;
            (count, 9usize.checked_add((count + 1).div_ceil(8)).ok_or(CUT)?)
        }
        count => (usize::from(count), 6),
    };
    let each = match number {
        0..=256 => 1,
        257..=65_536 => 2,
        _ => 4,
    };
    at = references.checked_mul(each).and_then(|n| n.checked_add(at)).ok_or(CUT)?;
    at = at.checked_add(if flags & 0x40 == 0 { 1 } else { 4 }).ok_or(CUT)?;
    let length = usize::try_from(long(at)?).ok().and_then(|n| n.checked_add(at + 4)).ok_or(CUT)?;
    Ok((flags & 0x3F, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(number: u8, kind: u8, references: &[u8], data: &[u8]) -> Vec<u8> {
        let count = u8::try_from(references.len()).unwrap() << 5;
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&[0, 0, 0, number, kind, count], references, &[1], &length, data].concat()
    }

    #[test]
    fn comments_go_and_pictures_stay() {
        let (page, region) = (made(0, 48, &[], b"page"), made(1, 38, &[0], b"region"));
        let comment = made(2, 62, &[0, 1], b"\x20\0\0\0ZYXCANARY");
        let picture = [&page[..], &region].concat();
        assert_eq!(strip(&[&page[..], &comment, &region, b"tail"].concat()), Ok(picture.clone()));
        assert_eq!(strip(&picture), Ok(picture.clone()));
        for length in 0..picture.len() {
            assert!(strip(&picture[..length]).is_ok_and(|out| out.len() <= length) || length >= 11);
        }
        assert!(strip(&[0xFF; 40]).is_err());
    }
}
