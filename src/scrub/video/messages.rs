//! What stands among the coded pictures and is none: messages that are not numbers of decoding and
//! showing (SEI: ITU-T H.264 annex D, H.265 annex D), and units that no decoder reads. Their bytes are
//! overwritten where they stand; message and unit stay, of the same length. No slice and no
//! parameter set is touched.

use std::ops::Range;

use super::index::{Track, Units};
use super::samples::Run;
use super::{damaged, unsupported};
use crate::media::Fault;
use crate::media::isobmff::Fields;
use crate::media::source::Source;
use crate::scrub::container::PlanError;
use crate::scrub::policy::{is_message_kept, is_void_unit};

/// Units of a film: two hours of 60 pictures a second in 16 slices.
const UNITS_MAX: u32 = 8_000_000;
/// Largest message that is read. Phones write some hundred bytes.
const MESSAGE_BYTES_MAX: u64 = 256 * 1024;
/// Overwritten messages that are held until they are written.
const EDITS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What words are overwritten with: never a part of a start code.
const FILL: u8 = 0xFF;

pub(super) struct Edit {
    pub at: u64,
    pub before: Vec<u8>,
    pub bytes: Vec<u8>,
}

/// True for a unit that is a message: by the first byte of its header.
pub(crate) fn is_message(first: u8, is_hevc: bool) -> bool {
    if is_hevc { matches!(first >> 1 & 0x3F, 39 | 40) } else { first & 0x1F == 6 }
}

/// What has to be overwritten, in the order of the file.
pub(super) fn find(source: &dyn Source, picture: &Track, runs: &[Run]) -> Result<Vec<Edit>, PlanError> {
    let Some(units) = picture.units else { return Ok(Vec::new()) };
    let mut edits = Vec::new();
    let (mut left, mut held) = (UNITS_MAX, 0usize);
    for sample in runs.iter().flat_map(Run::samples) {
        let mut at = sample.start;
        while at < sample.end {
            left = left.checked_sub(1).ok_or_else(|| unsupported("a video in more pieces than any phone writes"))?;
            let (body, first) = unit(source, at, sample.end, units)?;
            let (is_message, is_void) = (is_message(first, units.is_hevc), is_void_unit(first, units.is_hevc));
            if is_message || is_void {
                if body.end - body.start > MESSAGE_BYTES_MAX {
                    return Err(damaged(Fault("has a message between its pictures that is larger than any phone writes")).into());
                }
                let mut before = vec![0; usize::try_from(body.end - body.start).unwrap_or(0)];
                source.read_at(body.start, &mut before)?;
                let bytes = if is_void { emptied(&before, units.is_hevc) } else { without_words(&before, units.is_hevc) };
                held = held.saturating_add(if bytes == before { 0 } else { bytes.len() * 2 });
                if held > EDITS_BYTES_MAX {
                    return Err(unsupported("a video with more messages than any phone writes").into());
                }
                if bytes != before {
                    edits.push(Edit { at: body.start, before, bytes });
                }
            }
            at = body.end;
        }
    }
    edits.sort_by_key(|edit| edit.at);
    Ok(edits)
}

/// The unit at `at` without its length, and its first byte.
fn unit(source: &dyn Source, at: u64, end: u64, units: Units) -> Result<(Range<u64>, u8), PlanError> {
    let cut = || damaged(Fault("has a picture that ends in the middle of a unit"));
    let mut head = [0; 5];
    let head = head.get_mut(..units.prefix + 1).unwrap_or_default();
    let there = end.saturating_sub(at).min(u64::try_from(head.len()).unwrap_or(0));
    if there < u64::try_from(units.prefix).unwrap_or(0) {
        return Err(cut().into());
    }
    source.read_at(at, head.get_mut(..usize::try_from(there).unwrap_or(0)).unwrap_or_default())?;
    let mut fields = Fields(head);
    let length = fields.number(units.prefix).map_err(damaged)?;
    let start = at.saturating_add(u64::try_from(units.prefix).unwrap_or(0));
    let stop = start.checked_add(length).filter(|stop| *stop <= end).ok_or_else(cut)?;
    Ok((start..stop, if length == 0 { 0 } else { fields.byte().map_err(damaged)? }))
}

/// The unit with nothing in it; its end (`rbsp_trailing_bits`) stays where it has one.
pub(crate) fn emptied(unit: &[u8], is_hevc: bool) -> Vec<u8> {
    let mut empty = unit.to_vec();
    let end = unit.len() - usize::from(unit.last() == Some(&0x80));
    if let Some(body) = empty.get_mut(if is_hevc { 2 } else { 1 }..end) {
        body.fill(FILL);
    }
    empty
}

/// The unit with the payloads overwritten that may not stay. A byte that stands against start
/// codes stays, with the two zeros before it: so the payload keeps its length.
pub(crate) fn without_words(unit: &[u8], is_hevc: bool) -> Vec<u8> {
    let head = if is_hevc { 2 } else { 1 };
    // Places of the bytes that count: those against start codes do not.
    let mut places = Vec::with_capacity(unit.len());
    let mut guards = Vec::new();
    let mut zeros = 0;
    for (place, byte) in unit.iter().enumerate().skip(head) {
        if zeros >= 2 && *byte == 3 {
            guards.push(place);
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        places.push(place);
    }
    let mut clean = unit.to_vec();
    let byte_at = |n: usize| places.get(n).and_then(|place| unit.get(*place)).copied();
    let mut at = 0;
    // The last byte is the end of the unit (rbsp_trailing_bits).
    while at + 1 < places.len() {
        let (mut kind, mut size) = (0usize, 0usize);
        for value in [&mut kind, &mut size] {
            while byte_at(at) == Some(0xFF) {
                *value += 255;
                at += 1;
            }
            *value += usize::from(byte_at(at).unwrap_or(0));
            at += 1;
        }
        let end = at.saturating_add(size).min(places.len());
        if !is_message_kept(kind, is_hevc) {
            for place in places.get(at..end).unwrap_or_default() {
                if let Some(byte) = clean.get_mut(*place) {
                    *byte = FILL;
                }
            }
        }
        at = end;
    }
    for place in guards {
        if let Some(triple) = place.checked_sub(2).and_then(|from| clean.get_mut(from..=place)) {
            triple.copy_from_slice(&[0, 0, 3]);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_is_overwritten_and_other_messages_are_not() {
        let table: [(&[u8], &[u8]); 4] = [
            // Pic timing, then user data of five bytes.
            (b"\x06\x01\x02ab\x05\x05hello\x80", b"\x06\x01\x02ab\x05\x05\xff\xff\xff\xff\xff\x80"),
            (b"\x06\x04\x03abc\x01\x01x\x80", b"\x06\x04\x03\xff\xff\xff\x01\x01x\x80"),
            // Three bytes that a guard makes four.
            (b"\x06\x05\x03\0\0\x03\x01\x80", b"\x06\x05\x03\0\0\x03\xff\x80"),
            // Longer than its unit.
            (b"\x06\x05\xff\x10abc", b"\x06\x05\xff\x10\xff\xff\xff"),
        ];
        for (unit, clean) in table {
            assert_eq!(without_words(unit, false), clean, "{unit:?}");
            assert_eq!(without_words(clean, false), clean, "{unit:?} again");
        }
        assert_eq!(without_words(b"\x4e\x01\x05\x02ab\x80", true), b"\x4e\x01\x05\x02\xff\xff\x80");
        // Nested in a message of HEVC; reserved in both.
        assert_eq!(without_words(b"\x4e\x01\x85\x04\x05\x02ab\x80", true), b"\x4e\x01\x85\x04\xff\xff\xff\xff\x80");
        assert_eq!(without_words(b"\x06\xc8\x02ab\x80", false), b"\x06\xc8\x02\xff\xff\x80");
        assert_eq!(without_words(b"\x4e\x01\x89\x02ab\x80", true), b"\x4e\x01\x89\x02ab\x80", "the mastering display");
    }

    #[test]
    fn a_unit_that_no_decoder_reads_is_emptied_and_an_empty_one_stays_as_it_is() {
        for (unit, is_hevc, empty) in [
            (&b"\x1ewords\x80"[..], false, &b"\x1e\xff\xff\xff\xff\xff\x80"[..]),
            (b"\x0c\xff\xff\x80", false, b"\x0c\xff\xff\x80"),
            (b"\x7e\x01words", true, b"\x7e\x01\xff\xff\xff\xff\xff"),
            (b"\x0c", false, b"\x0c"),
            (b"", false, b""),
            (b"\x80", true, b"\x80"),
        ] {
            assert_eq!(emptied(unit, is_hevc), empty);
            assert_eq!(emptied(empty, is_hevc), empty);
        }
        assert!(!is_void_unit(0x65, false) && !is_void_unit(0x7C, true), "a slice and Dolby Vision stay");
    }
}
