//! Sequential scans into coefficients (T.81 §F.2).

use super::bits::{Bits, Intervals};
use super::huffman::Reading;
use super::plane::Block;
use super::read::{Picture, Scan};
use crate::media::Fault;

pub(super) const BAD_CODE: Fault = Fault("has a code in its picture that is in no table");
pub(super) const CUT: Fault = Fault("ends inside its picture");
pub(super) const NO_TABLE: Fault = Fault("uses a table that it does not hold");

/// A component of the scan: its blocks in an MCU, its tables and its last DC value.
struct Part<'t> {
    plane: usize,
    h: u32,
    v: u32,
    dc: &'t Reading,
    ac: &'t Reading,
    last: i32,
}

/// Reads one scan.
pub(super) fn read(scan: &Scan, picture: &mut Picture, intervals: &mut Intervals) -> Result<(), Fault> {
    let is_alone = scan.selected.len() == 1;
    let mut parts: Vec<Part> = Vec::with_capacity(scan.selected.len());
    let (mut across, mut down) = (picture.layout.mcus_across, picture.layout.mcus_down);
    for selected in &scan.selected {
        let plane = picture.planes.get(selected.plane).ok_or(NO_TABLE)?;
        let (dc, ac) = (selected.dc.ok_or(NO_TABLE)?, selected.ac.ok_or(NO_TABLE)?);
        // A component alone has no MCUs but its blocks, and no padding (T.81 §A.2.2).
        let (h, v) = if is_alone { (1, 1) } else { (plane.h, plane.v) };
        if is_alone {
            (across, down) = (plane.across, plane.down);
        }
        parts.push(Part { plane: selected.plane, h, v, dc, ac, last: 0 });
    }
    let mut bits = intervals.next()?;
    let mut left = scan.interval;
    for row in 0..down {
        for column in 0..across {
            if scan.interval > 0 && left == 0 {
                if bits.is_past_end() {
                    return Err(CUT);
                }
                bits = intervals.next()?;
                left = scan.interval;
                for part in &mut parts {
                    part.last = 0;
                }
            }
            left = left.wrapping_sub(1);
            for part in &mut parts {
                read_mcu(part, picture, &mut bits, row, column)?;
            }
        }
        if bits.is_past_end() {
            return Err(CUT);
        }
    }
    Ok(())
}

#[inline]
fn read_mcu(part: &mut Part, picture: &mut Picture, bits: &mut Bits, row: u32, column: u32) -> Result<(), Fault> {
    let Some(plane) = picture.planes.get_mut(part.plane) else { return Ok(()) };
    for y in 0..part.v {
        let first = plane.at(row * part.v + y, column * part.h);
        for block in plane.blocks.iter_mut().skip(first).take(part.h as usize) {
            read_block(bits, part.dc, part.ac, &mut part.last, block)?;
        }
    }
    Ok(())
}

#[inline]
fn read_block(bits: &mut Bits, dc: &Reading, ac: &Reading, last: &mut i32, block: &mut Block) -> Result<(), Fault> {
    bits.need();
    let (size, length) = dc.symbol(bits.word());
    if length == 0 || size > 15 {
        return Err(BAD_CODE);
    }
    bits.skip(length);
    *last = last.wrapping_add(bits.take_signed(u32::from(size)));
    if let Some(first) = block.first_mut() {
        *first = i16::try_from(*last).map_err(|_| BAD_CODE)?;
    }
    let mut at = 1;
    while at < 64 {
        bits.need();
        let (symbol, length) = ac.symbol(bits.word());
        if length == 0 {
            return Err(BAD_CODE);
        }
        bits.skip(length);
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                return Ok(());
            }
            at += 16;
            continue;
        }
        at += run;
        let value = bits.take_signed(size);
        // Runs over the end of a block are found here.
        let slot = block.get_mut(at).ok_or(BAD_CODE)?;
        *slot = i16::try_from(value).map_err(|_| BAD_CODE)?;
        at += 1;
    }
    Ok(())
}
