//! Reads a JBIG2 picture that is about to leave: segments without a gap, none of them a comment.

use super::Verdict;
use crate::scrub::VerifyError;
use crate::scrub::policy::pdf::is_jbig2_segment;

const BAD: VerifyError = VerifyError("a JBIG2 picture with more in it than a picture");

pub(super) fn check(bytes: &[u8]) -> Verdict {
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = behind_segment(rest).ok_or(BAD)?;
    }
    Ok(())
}

fn behind_segment(bytes: &[u8]) -> Option<&[u8]> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    let (flags, rest) = rest.split_first()?;
    let (count, mut rest) = match rest {
        [first, behind @ ..] if first >> 5 < 5 => (u32::from(first >> 5), behind),
        _ => {
            let (long, behind) = rest.split_first_chunk::<4>()?;
            let count = u32::from_be_bytes(*long) & 0x1FFF_FFFF;
            (count, behind.get(usize::try_from((count + 8) / 8).ok()?..)?)
        }
    };
    let number = u32::from_be_bytes(*number);
    let width = if number <= 256 {
        1u64
    } else if number <= 65_536 {
        2
    } else {
        4
    };
    let skipped = u64::from(count) * width + if flags >> 6 & 1 == 1 { 4 } else { 1 };
    rest = rest.get(usize::try_from(skipped).ok()?..)?;
    let (length, data) = rest.split_first_chunk::<4>()?;
    let behind = data.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)?;
    is_jbig2_segment(flags & 0x3F).then_some(behind)
}
