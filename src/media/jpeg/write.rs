//! Coefficients into a baseline JPEG (T.81 §F.1).

use super::bits::Writer;
use super::huffman::{Counts, Made, Writing};
use super::plane::{EMPTY, Layout, Plane};
use super::turn::{Moves, Turn};
use super::{Unfit, marker};

/// Most blocks of an MCU (T.81 §B.2.3).
const MCU_BLOCKS_MAX: u32 = 10;
/// Largest sizes of a baseline code: more bits than that have no code in a baseline decoder
/// (T.81 tables F.1 and F.2).
const DC_SIZE_MAX: u32 = 11;
const AC_SIZE_MAX: u32 = 10;

/// Codes are chosen by the symbols of one row of MCUs in so many, which costs a fraction of a pass
/// over all and less than a thousandth in length; of small pictures by all.
const SAMPLED_EVERY: usize = 8;
const SAMPLED_ROWS_MIN: u32 = 64;

const UNCODABLE: Unfit = Unfit::Kind("it has values that the baseline process cannot hold");

/// What takes the symbols of a pass: first a count, then the stream.
trait Sink {
    /// `symbol` of the tables of class `ac` and number `table`, then `size` bits.
    fn put(&mut self, table: usize, ac: bool, symbol: u32, bits: u32, size: u32);
}

/// Tables 0 for the first component and 1 for the others, each DC and AC.
struct Count([[Counts; 2]; 2]);

impl Count {
    /// Every symbol that baseline knows is there, for not all blocks are counted.
    fn new() -> Self {
        let (mut dc, mut ac) = (Counts::new(), Counts::new());
        for size in 0..=DC_SIZE_MAX {
            dc.add(size);
        }
        for symbol in (0..16).flat_map(|run| (1..=AC_SIZE_MAX).map(move |size| run << 4 | size)).chain([0, 0xF0]) {
            ac.add(symbol);
        }
        Self([[dc.clone(), ac.clone()], [dc, ac]])
    }
}

impl Sink for Count {
    #[inline]
    fn put(&mut self, table: usize, ac: bool, symbol: u32, _: u32, _: u32) {
        if let Some(counts) = self.0.get_mut(table).and_then(|t| t.get_mut(usize::from(ac))) {
            counts.add(symbol);
        }
    }
}

struct Stream {
    tables: [[Writing; 2]; 2],
    writer: Writer,
}

impl Sink for Stream {
    #[inline]
    fn put(&mut self, table: usize, ac: bool, symbol: u32, bits: u32, size: u32) {
        if let Some(writing) = self.tables.get(table).and_then(|t| t.get(usize::from(ac))) {
            let (code, length) = writing.code(symbol);
            self.writer.put(code << size | bits, length + size);
        }
    }
}

/// Writes `planes`, turned, as one scan with the shortest codes.
///
/// # Errors
/// [`Unfit`] where the baseline process cannot hold them.
pub(super) fn write(layout: &Layout, planes: &[Plane], turn: Turn) -> Result<Vec<u8>, Unfit> {
    let layout = &turn.layout(layout);
    let moves = &Moves::new(turn);
    let mut count = Count::new();
    let every = if layout.mcus_down < SAMPLED_ROWS_MIN { 1 } else { SAMPLED_EVERY };
    pass(layout, planes, moves, every, &mut count)?;
    let made = count.0.map(|pair| pair.map(|counts| counts.table()));
    let head = head(layout, planes, turn, &made)?;
    let [first, others] = &made;
    let writing = |pair: &[Made; 2]| -> Result<[Writing; 2], Unfit> {
        let [dc, ac] = pair;
        Ok([Writing::new(&dc.spec())?, Writing::new(&ac.spec())?])
    };
    let mut stream = Stream { tables: [writing(first)?, writing(others)?], writer: Writer::new(head) };
    pass(layout, planes, moves, 1, &mut stream)?;
    let mut bytes = stream.writer.finish();
    bytes.extend([0xFF, marker::EOI]);
    Ok(bytes)
}

/// Every block in the order of a scan of all components, or those of every so many rows of MCUs.
fn pass(layout: &Layout, planes: &[Plane], moves: &Moves, every: usize, sink: &mut impl Sink) -> Result<(), Unfit> {
    let swaps = moves.swaps();
    let mut last = [0_i32; 4];
    let mut block = EMPTY;
    for mcu_row in (0..layout.mcus_down).step_by(every) {
        for mcu_column in 0..layout.mcus_across {
            for ((index, plane), last) in planes.iter().enumerate().zip(&mut last) {
                let (h, v, across, down) = if swaps {
                    (plane.v, plane.h, plane.down, plane.across)
                } else {
                    (plane.h, plane.v, plane.across, plane.down)
                };
                let table = index.min(1);
                for (y, x) in (0..v).flat_map(|y| (0..h).map(move |x| (y, x))) {
                    let (row, column) = (mcu_row * v + y, mcu_column * h + x);
                    if row < down && column < across {
                        let mask = moves.block(plane, row, column, &mut block);
                        code(&block, mask, table, last, sink)?;
                    } else {
                        // Padding of the last MCUs: of no picture, so nothing of the source stands there.
                        sink.put(table, false, 0, 0, 0);
                        sink.put(table, true, 0, 0, 0);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Bits and size of a number with a sign (T.81 §F.1.2.1).
#[inline]
fn signed(value: i32) -> (u32, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    // A negative number is one less, of which the lowest bits are taken.
    let bits = (value - i32::from(value < 0)).cast_unsigned() & ((1 << size) - 1);
    (bits, size)
}

/// One block; `mask` has a bit for each coefficient that is not zero.
#[inline]
fn code(block: &[i16; 64], mask: u64, table: usize, last: &mut i32, sink: &mut impl Sink) -> Result<(), Unfit> {
    let dc = if mask & 1 == 1 { block.first().map_or(0, |v| i32::from(*v)) } else { 0 };
    let (bits, size) = signed(dc - *last);
    *last = dc;
    if size > DC_SIZE_MAX {
        return Err(UNCODABLE);
    }
    sink.put(table, false, size, bits, size);
    let (mut left, mut next) = (mask & !1, 1);
    while left != 0 {
        let at = left.trailing_zeros();
        left &= left - 1;
        let mut run = at - next;
        while run > 15 {
            sink.put(table, true, 0xF0, 0, 0);
            run -= 16;
        }
        let (bits, size) = signed(block.get(at as usize).map_or(0, |v| i32::from(*v)));
        if size > AC_SIZE_MAX {
            return Err(UNCODABLE);
        }
        sink.put(table, true, run << 4 | size, bits, size);
        next = at + 1;
    }
    if next < 64 {
        sink.put(table, true, 0, 0, 0);
    }
    Ok(())
}

/// Everything before the scan's data: tables, frame, scan header. No application segment: three
/// components numbered 1, 2, 3 are YCbCr to every decoder, and the object says so too.
fn head(layout: &Layout, planes: &[Plane], turn: Turn, made: &[[Made; 2]; 2]) -> Result<Vec<u8>, Unfit> {
    let mut out = vec![0xFF, marker::SOI];
    let mut steps: Vec<[u16; 64]> = Vec::new();
    let mut slots: Vec<u8> = Vec::new();
    for plane in planes {
        let own = turn.steps(&plane.steps.ok_or(Unfit::Kind("it has no quantization table"))?);
        let slot = steps.iter().position(|s| *s == own).unwrap_or(steps.len());
        if slot == steps.len() {
            steps.push(own);
        }
        slots.push(u8::try_from(slot).unwrap_or_default());
    }
    for (slot, table) in (0..).zip(&steps) {
        let mut payload = vec![slot];
        for step in table {
            payload.push(u8::try_from(*step).ok().filter(|s| *s > 0).ok_or(UNCODABLE)?);
        }
        segment(&mut out, marker::DQT, &payload);
    }
    let [width, height] = [layout.width, layout.height].map(|side| u16::try_from(side).unwrap_or_default().to_be_bytes());
    let mut frame = vec![8, height[0], height[1], width[0], width[1], u8::try_from(planes.len()).unwrap_or_default()];
    let mut scan = vec![u8::try_from(planes.len()).unwrap_or_default()];
    let mut blocks = 0;
    for ((id, plane), slot) in (1_u8..).zip(planes).zip(&slots) {
        let (h, v) = if turn.swaps { (plane.v, plane.h) } else { (plane.h, plane.v) };
        blocks += h * v;
        frame.extend([id, u8::try_from(h << 4 | v).unwrap_or_default(), *slot]);
        scan.extend([id, if id == 1 { 0 } else { 0x11 }]);
    }
    if blocks > MCU_BLOCKS_MAX {
        return Err(Unfit::Kind("its MCU has more blocks than one scan of all components may have"));
    }
    segment(&mut out, marker::SOF0, &frame);
    for (number, pair) in (0_u8..).zip(made).take(if planes.len() == 1 { 1 } else { 2 }) {
        for (class, table) in [0_u8, 0x10].into_iter().zip(pair) {
            segment(&mut out, marker::DHT, &[&[class | number][..], &table.counts, &table.symbols].concat());
        }
    }
    scan.extend([0, 63, 0]);
    segment(&mut out, marker::SOS, &scan);
    Ok(out)
}

fn segment(out: &mut Vec<u8>, code: u8, payload: &[u8]) {
    let length = u16::try_from(payload.len() + 2).unwrap_or_default();
    out.extend([0xFF, code]);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(payload);
}
