//! The bytes of an item that stays: of a coded picture the units that are picture, of a derived
//! one how it is put together.

use std::ops::Range;

use super::{KeptData, damaged, unsupported};
use crate::media::Fault;
use crate::media::heif::{Data, Index, Item};
use crate::media::isobmff::{BoxAt, Fields};
use crate::media::source::Source;
use crate::scrub::ScrubError;
use crate::scrub::container::PlanError;
use crate::scrub::policy::is_picture_unit;

/// The longest description of a derived picture is that of an overlay: 18 bytes, and eight for
/// each picture in it.
const MADE_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn read(
    source: &dyn Source,
    index: &Index,
    id: u32,
    item: &Item,
    top: &[BoxAt],
    units_left: &mut u32,
) -> Result<KeptData, PlanError> {
    let ranges: &[Range<u64>] = match &item.data {
        Data::At(ranges) => ranges,
        Data::Lost(_) if item.kind == *b"iden" => &[],
        Data::Lost(fault) => return Err(damaged(*fault).into()),
    };
    if item.kind != *b"hvc1" {
        let inputs = index.references_of(id, *b"dimg").count();
        let bytes = joined(source, ranges, MADE_BYTES_MAX)?;
        return Ok(KeptData::Made(made(item.kind, &bytes, inputs).map_err(damaged)?));
    }
    check_place(ranges, top)?;
    let mut decoders = index.properties_of(id).filter(|(_, p)| p.kind == *b"hvcC").map(|(_, p)| &p.body);
    let (Some(decoder), None) = (decoders.next(), decoders.next()) else {
        return Err(damaged(Fault("has a picture without the one record that says how it is coded")).into());
    };
    let width = decoder.get(21).map(|b| usize::from(b & 3) + 1);
    let width = width.ok_or_else(|| damaged(Fault("has a record of its coding that is cut short")))?;
    let kept = units(source, ranges, width, units_left)?;
    if kept.is_empty() {
        return Err(damaged(Fault("has a picture without anything coded in it")).into());
    }
    Ok(KeptData::Coded(kept))
}

/// Coded pictures stand in `mdat` or `idat`, nowhere else.
fn check_place(ranges: &[Range<u64>], top: &[BoxAt]) -> Result<(), ScrubError> {
    let is_in_place = |range: &Range<u64>| {
        let next = top.partition_point(|b| b.body.start <= range.start);
        let around = next.checked_sub(1).and_then(|n| top.get(n));
        around.is_some_and(|b| matches!(&b.kind, b"mdat" | b"meta") && range.end <= b.body.end)
    };
    if ranges.iter().all(is_in_place) { Ok(()) } else { Err(damaged(Fault("has a picture outside the place for pictures"))) }
}

/// The bytes of an item, at most `bytes_max`.
pub(super) fn joined(source: &dyn Source, ranges: &[Range<u64>], bytes_max: u64) -> Result<Vec<u8>, PlanError> {
    let mut bytes = Vec::new();
    let mut left = bytes_max;
    for range in ranges {
        let length = (range.end - range.start).min(left);
        if length == 0 {
            break;
        }
        left -= length;
        let before = bytes.len();
        bytes.resize(before.saturating_add(usize::try_from(length).unwrap_or(0)), 0);
        source.read_at(range.start, bytes.get_mut(before..).unwrap_or_default())?;
    }
    Ok(bytes)
}

/// How a derived picture is put together, to the byte (ISO/IEC 23008-12 §6.6.2).
fn made(kind: [u8; 4], bytes: &[u8], inputs: usize) -> Result<Vec<u8>, Fault> {
    let mut fields = Fields(bytes);
    let length = match &kind {
        b"iden" if inputs == 1 => 0,
        b"grid" => {
            let (_, flags, rows, columns) = (fields.byte()?, fields.byte()?, fields.byte()?, fields.byte()?);
            if inputs != (usize::from(rows) + 1) * (usize::from(columns) + 1) {
                return Err(Fault("has a grid with more or fewer tiles than it has places"));
            }
            if flags & 1 == 0 { 8 } else { 12 }
        }
        b"iovl" if inputs > 0 => {
            let (_, flags) = (fields.byte()?, fields.byte()?);
            let width = if flags & 1 == 0 { 2 } else { 4 };
            2 + 8 + 2 * width + inputs * 2 * width
        }
        _ => return Err(Fault("has a picture that is made of nothing")),
    };
    let mut made = bytes.get(..length).ok_or(Fault("has a derived picture whose description is cut short"))?.to_vec();
    // Version zero and the one flag that is defined.
    if let [version, flags, ..] = made.as_mut_slice() {
        if *version != 0 {
            return Err(Fault("has a derived picture of a version that is not known"));
        }
        *flags &= 1;
    }
    Ok(made)
}

/// Goes over the length-prefixed units of an item (ISO/IEC 14496-15 §8.3.3) and gives the ranges
/// of those that are picture, neighbours joined.
fn units(source: &dyn Source, ranges: &[Range<u64>], width: usize, units_left: &mut u32) -> Result<Vec<Range<u64>>, PlanError> {
    let mut kept: Vec<Range<u64>> = Vec::new();
    let mut cursor = Cursor { ranges: ranges.iter(), now: 0..0 };
    while cursor.find() {
        *units_left =
            units_left.checked_sub(1).ok_or_else(|| unsupported("HEIF with a picture in more pieces than any camera writes"))?;
        let mut unit: Vec<Range<u64>> = Vec::new();
        let mut head = [0; 4];
        let head = head.get_mut(..width).unwrap_or_default();
        cursor.read(source, head, &mut unit)?;
        let length = Fields(head).number(width).map_err(damaged)?;
        let mut kind = [0; 2];
        let told = kind.get_mut(..usize::try_from(length.min(2)).unwrap_or(0)).unwrap_or_default();
        cursor.read(source, told, &mut unit)?;
        cursor.skip(length.saturating_sub(2), &mut unit)?;
        if length > 2 && is_picture_unit(kind) {
            for range in unit {
                append(&mut kept, range);
            }
        }
    }
    Ok(kept)
}

fn append(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// A place in the joined ranges of an item.
struct Cursor<'r> {
    ranges: std::slice::Iter<'r, Range<u64>>,
    now: Range<u64>,
}

const CUT: Fault = Fault("has a picture that ends in the middle of a unit");

impl Cursor<'_> {
    /// False at the end.
    fn find(&mut self) -> bool {
        while self.now.is_empty() {
            let Some(next) = self.ranges.next() else { return false };
            self.now = next.clone();
        }
        true
    }

    fn read(&mut self, source: &dyn Source, into: &mut [u8], passed: &mut Vec<Range<u64>>) -> Result<(), PlanError> {
        let mut into = into;
        while !into.is_empty() {
            let left = u64::try_from(into.len()).unwrap_or(u64::MAX);
            let range = self.next(left)?;
            let length = usize::try_from(range.end - range.start).unwrap_or(0);
            let (now, later) = into.split_at_mut_checked(length).ok_or_else(|| damaged(CUT))?;
            source.read_at(range.start, now)?;
            into = later;
            append(passed, range);
        }
        Ok(())
    }

    fn skip(&mut self, length: u64, passed: &mut Vec<Range<u64>>) -> Result<(), ScrubError> {
        let mut left = length;
        while left > 0 {
            let range = self.next(left)?;
            left -= range.end - range.start;
            append(passed, range);
        }
        Ok(())
    }

    /// The next bytes that stand together, at most `length`.
    fn next(&mut self, length: u64) -> Result<Range<u64>, ScrubError> {
        if !self.find() {
            return Err(damaged(CUT));
        }
        let to = self.now.end.min(self.now.start.saturating_add(length));
        let range = self.now.start..to;
        self.now.start = to;
        Ok(range)
    }
}
