//! Progressive scans into coefficients (T.81 §G.2).

use super::bits::{Bits, Intervals};
use super::huffman::Reading;
use super::plane::Block;
use super::read::{Picture, Scan};
use super::sequential::{BAD_CODE, CUT, NO_TABLE};
use crate::media::Fault;

/// Reads one scan.
pub(super) fn read(scan: &Scan, picture: &mut Picture, intervals: &mut Intervals) -> Result<(), Fault> {
    if scan.first == 0 && scan.selected.len() > 1 {
        read_interleaved_dc(scan, picture, intervals)
    } else {
        read_alone(scan, picture, intervals)
    }
}

/// DC of several components, MCU by MCU.
fn read_interleaved_dc(scan: &Scan, picture: &mut Picture, intervals: &mut Intervals) -> Result<(), Fault> {
    let (across, down) = (picture.layout.mcus_across, picture.layout.mcus_down);
    let mut last = [0; 4];
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
                last = [0; 4];
            }
            left = left.wrapping_sub(1);
            for (selected, last) in scan.selected.iter().zip(&mut last) {
                let Some(plane) = picture.planes.get_mut(selected.plane) else { continue };
                for y in 0..plane.v {
                    let first = plane.at(row * plane.v + y, column * plane.h);
                    for block in plane.blocks.iter_mut().skip(first).take(plane.h as usize) {
                        read_dc(scan, selected.dc, &mut bits, last, block)?;
                    }
                }
            }
        }
        if bits.is_past_end() {
            return Err(CUT);
        }
    }
    Ok(())
}

/// One component, block by block.
fn read_alone(scan: &Scan, picture: &mut Picture, intervals: &mut Intervals) -> Result<(), Fault> {
    let Some(selected) = scan.selected.first() else { return Ok(()) };
    let Some(plane) = picture.planes.get_mut(selected.plane) else { return Ok(()) };
    let (mut last, mut run) = (0, 0);
    let mut bits = intervals.next()?;
    let mut left = scan.interval;
    for row in 0..plane.down {
        let first = plane.at(row, 0);
        for block in plane.blocks.iter_mut().skip(first).take(plane.across as usize) {
            if scan.interval > 0 && left == 0 {
                if bits.is_past_end() {
                    return Err(CUT);
                }
                bits = intervals.next()?;
                left = scan.interval;
                (last, run) = (0, 0);
            }
            left = left.wrapping_sub(1);
            match (scan.first, scan.high) {
                (0, _) => read_dc(scan, selected.dc, &mut bits, &mut last, block)?,
                (_, 0) => read_ac(scan, selected.ac.ok_or(NO_TABLE)?, &mut bits, &mut run, block)?,
                _ => refine_ac(scan, selected.ac.ok_or(NO_TABLE)?, &mut bits, &mut run, block)?,
            }
        }
        if bits.is_past_end() {
            return Err(CUT);
        }
    }
    Ok(())
}

/// First scan or refinement of a DC coefficient (§G.1.2.1).
fn read_dc(scan: &Scan, dc: Option<&Reading>, bits: &mut Bits, last: &mut i32, block: &mut Block) -> Result<(), Fault> {
    let Some(value) = block.first_mut() else { return Ok(()) };
    if scan.high > 0 {
        *value |= i16::from(bits.take_one()) << scan.low;
        return Ok(());
    }
    bits.need();
    let (size, length) = dc.ok_or(NO_TABLE)?.symbol(bits.word());
    if length == 0 || size > 15 {
        return Err(BAD_CODE);
    }
    bits.skip(length);
    *last = last.wrapping_add(bits.take_signed(u32::from(size)));
    *value = scaled(*last, scan.low)?;
    Ok(())
}

fn scaled(value: i32, low: u8) -> Result<i16, Fault> {
    i16::try_from(value.wrapping_mul(1 << low)).map_err(|_| BAD_CODE)
}

/// First scan of a band (§G.1.2.2). `run`: blocks that are known to have nothing more.
fn read_ac(scan: &Scan, ac: &Reading, bits: &mut Bits, run: &mut u32, block: &mut Block) -> Result<(), Fault> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let (mut at, last) = (usize::from(scan.first), usize::from(scan.last));
    while at <= last {
        bits.need();
        let (symbol, length) = ac.symbol(bits.word());
        if length == 0 {
            return Err(BAD_CODE);
        }
        bits.skip(length);
        let (zeros, size) = (symbol >> 4, u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                *run = end_of_band(bits, zeros) - 1;
                return Ok(());
            }
            at += 16;
            continue;
        }
        at += usize::from(zeros);
        let value = scaled(bits.take_signed(size), scan.low)?;
        if at > last {
            return Err(BAD_CODE);
        }
        if let Some(slot) = block.get_mut(at) {
            *slot = value;
        }
        at += 1;
    }
    Ok(())
}

/// How many blocks end here, this one among them: EOB0 to EOB14.
fn end_of_band(bits: &mut Bits, size: u8) -> u32 {
    (1 << size) + bits.take(u32::from(size))
}

/// Refinement of a band (§G.1.2.3): a bit for each coefficient that is not zero yet, and between
/// them those that become it.
fn refine_ac(scan: &Scan, ac: &Reading, bits: &mut Bits, run: &mut u32, block: &mut Block) -> Result<(), Fault> {
    let one = 1_i16 << scan.low;
    let (first, last) = (usize::from(scan.first), usize::from(scan.last));
    let Some(mut band) = block.get_mut(first..=last) else { return Ok(()) };
    if *run == 0 {
        while !band.is_empty() {
            bits.need();
            let (symbol, length) = ac.symbol(bits.word());
            if length == 0 {
                return Err(BAD_CODE);
            }
            bits.skip(length);
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            let fresh = match size {
                0 if zeros < 15 => {
                    *run = end_of_band(bits, zeros);
                    break;
                }
                0 => 0,
                1 => {
                    if bits.take_one() {
                        one
                    } else {
                        -one
                    }
                }
                _ => return Err(BAD_CODE),
            };
            // Over `zeros` coefficients that stay zero to the one that gets the new value.
            let mut taken = 0;
            for value in band.iter_mut() {
                taken += 1;
                if *value != 0 {
                    refine(value, one, bits);
                } else if zeros == 0 {
                    *value = fresh;
                    break;
                } else {
                    zeros -= 1;
                }
            }
            band = band.get_mut(taken..).unwrap_or_default();
        }
    }
    if *run > 0 {
        band.iter_mut().filter(|value| **value != 0).for_each(|value| refine(value, one, bits));
        *run -= 1;
    }
    Ok(())
}

/// One more bit of a coefficient: away from zero, and once only.
fn refine(value: &mut i16, one: i16, bits: &mut Bits) {
    if bits.take_one() && *value & one == 0 {
        *value = value.wrapping_add(if *value >= 0 { one } else { -one });
    }
}
