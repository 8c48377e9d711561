//! Where the picture in a scan ends: at its last MCU, not at the next marker. Walks the Huffman
//! codes without decoding what they mean.
//!
//! Bytes behind the last MCU of a restart interval or a scan belong to nothing, and some phones
//! write there (T.81 §B.1.1.5 knows only padding of the last byte). A walk counts MCUs, so it needs
//! the tables, and, for refinements of a progressive picture, which coefficients are not zero: one
//! bit for each.

use super::bits::low32;
use super::huffman::Reading;
use super::plane::{Layout, factors};
use super::read::{VISITS_MAX, huffman_tables};
use super::sequential::{BAD_CODE, CUT, NO_TABLE};
use super::{Frame, Process, check_restart_interval, marker};
use crate::media::Fault;
use crate::media::field::be16;

/// Bits that one look spans: several short codes with their values at once. Two tables of it
/// stay in the first cache.
const JUMP_BITS: u32 = 13;
/// An entry ends its block.
const ENDS: u16 = 1 << 15;
/// Longest MCU in bytes: ten blocks of 64 codes of 31 bits each, every byte stuffed.
const MCU_BYTES_MAX: usize = 10 * 64 * 31 / 8 * 2;

const WRONG: Fault = Fault("has a scan header that does not add up");

/// What comes behind the bytes that were walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More of the same: the rest is needed again, with what follows it.
    More,
    /// This restart marker, RST0 to RST7; what stands before it belongs to nothing.
    Restart(u8),
    /// The end of the scan; what stands before the next marker belongs to nothing.
    End,
}

/// How far to go for what the next bits say.
#[derive(Clone)]
struct Dc {
    reading: Reading,
    /// By the next ten bits: length of the code and of the number behind it; 0: a longer code.
    totals: [u8; 1 << 10],
}

#[derive(Clone)]
struct Ac {
    reading: Reading,
    /// By the next [`JUMP_BITS`]: bits of the whole codes with their numbers (4 bits), how many
    /// coefficients they pass (7 bits), and whether they end the block ([`ENDS`]). 0: not one.
    jumps: Vec<u16>,
}

impl Dc {
    fn new(reading: Reading) -> Self {
        let mut totals = [0; 1 << 10];
        for (index, total) in (0_u64..).zip(&mut totals) {
            // A size that no number has is found out by the longer way.
            if let Some((size @ 0..=15, length)) = reading.short_symbol(index << 54) {
                *total = u8::try_from(length + u32::from(size)).unwrap_or_default();
            }
        }
        Self { reading, totals }
    }
}

impl Ac {
    fn new(reading: Reading) -> Self {
        let entry = |bits: u32, passed: u32| u16::try_from(bits | passed << 4).unwrap_or_default();
        let jump = |index: u64| {
            let (mut bits, mut passed) = (0, 0_u32);
            let word = index << (64 - JUMP_BITS);
            while let Some((symbol, length)) = reading.short_symbol(word << bits) {
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                if bits + length + size > JUMP_BITS || passed + run + 1 > 64 {
                    break;
                }
                bits += length + size;
                match (run, size) {
                    (15, 0) => passed += 16,
                    (_, 0) => return entry(bits, passed) | ENDS,
                    _ => passed += run + 1,
                }
            }
            entry(bits, passed)
        };
        let jumps = (0..1 << JUMP_BITS).map(jump).collect();
        Self { reading, jumps }
    }
}

/// The bytes of one portion, bit by bit.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    word: u64,
    have: u32,
    /// Bits of those that stand for what is not there, behind a marker.
    phantom: u32,
}

impl Cursor<'_> {
    #[inline]
    fn need(&mut self) {
        if self.have < 32 {
            match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
                Some(eight) if !has_ff(u64::from_be_bytes(*eight)) => {
                    self.word |= u64::from_be_bytes(*eight) >> self.have;
                    self.at += ((63 - self.have) >> 3) as usize;
                    self.have |= 0x38;
                }
                _ => self.fill_bytewise(),
            }
        }
    }

    #[cold]
    fn fill_bytewise(&mut self) {
        // What a wide look left behind the known bits.
        self.word &= !(u64::MAX >> self.have);
        while self.have <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                None | Some([] | [0xFF, ..]) => {
                    self.phantom += 8;
                    0
                }
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.word |= u64::from(byte) << (56 - self.have);
            self.have += 8;
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.word <<= bits;
        self.have -= bits;
    }

    #[inline]
    fn take(&mut self, bits: u32) -> u32 {
        let value = low32(self.word >> 32 >> (32 - bits));
        self.skip(bits);
        value
    }

    fn take_one(&mut self) -> bool {
        self.need();
        self.take(1) == 1
    }

    /// Gives back the bytes of which no bit was taken.
    fn give_back(&mut self) {
        for _ in 0..self.have.saturating_sub(self.phantom) / 8 {
            let is_stuffed = self.at >= 2 && self.bytes.get(self.at - 2..self.at) == Some(&[0xFF, 0]);
            self.at = self.at.saturating_sub(if is_stuffed { 2 } else { 1 });
        }
        self.have = self.have.saturating_sub(self.phantom) % 8;
        self.phantom = 0;
        self.word &= !(u64::MAX >> self.have);
    }
}

#[inline]
fn has_ff(word: u64) -> bool {
    (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

/// One component of the scan.
struct Part {
    /// Blocks in an MCU.
    blocks: u32,
    dc: usize,
    ac: usize,
}

enum Kind {
    Sequential,
    DcFirst,
    DcRefinement,
    /// From and to which coefficient.
    AcFirst(u32, u32),
    AcRefinement(u32, u32),
}

/// The scan that is walked.
struct Scan {
    kind: Kind,
    parts: Vec<Part>,
    mcus_left: u64,
    /// MCUs until the next restart marker.
    until_restart: u64,
    /// Its number.
    restart: u8,
    /// Blocks that are known to end before they begin.
    run: u32,
    /// For AC scans: which component, and which of its blocks comes next.
    plane: usize,
    block: usize,
    word: u64,
    have: u32,
}

/// Walks the scans of one JPEG. Tell it the tables and the frame as they come.
#[derive(Default)]
pub struct Walker {
    dc: [Option<Box<Dc>>; 4],
    ac: [Option<Box<Ac>>; 4],
    interval: u64,
    frame: Option<Frame>,
    /// Of a progressive picture, by component and block: a bit for each coefficient that is not zero.
    masks: Vec<Vec<u64>>,
    visits: u64,
    scan: Option<Scan>,
}

impl std::fmt::Debug for Walker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker").field("frame", &self.frame).finish_non_exhaustive()
    }
}

impl Walker {
    /// Takes the payload of DHT.
    ///
    /// # Errors
    /// Tables that do not add up.
    pub fn define_huffman(&mut self, payload: &[u8]) -> Result<(), Fault> {
        huffman_tables(payload, |class, slot, spec| {
            let reading = Reading::new(&spec)?;
            let slot = usize::from(slot);
            if class > 0 {
                if let Some(place) = self.ac.get_mut(slot) {
                    *place = Some(Box::new(Ac::new(reading)));
                }
            } else if let Some(place) = self.dc.get_mut(slot) {
                *place = Some(Box::new(Dc::new(reading)));
            }
            Ok(())
        })
    }

    /// Takes the payload of DRI.
    ///
    /// # Errors
    /// Any length but two bytes.
    pub fn define_restart_interval(&mut self, payload: &[u8]) -> Result<(), Fault> {
        check_restart_interval(payload)?;
        self.interval = be16(payload, 0).map_or(0, u64::from);
        Ok(())
    }

    pub fn begin_frame(&mut self, frame: &Frame) {
        if frame.process == Process::Progressive {
            let layout = Layout::of(frame);
            let blocks = frame.components.iter().map(|component| {
                let (h, v) = factors(*component, frame);
                let [(across, down), _] = layout.blocks(h, v);
                vec![0; across as usize * down as usize]
            });
            self.masks = blocks.collect();
        }
        self.frame = Some(frame.clone());
    }

    /// Takes the payload of SOS. What is pushed from now on is entropy-coded data.
    ///
    /// # Errors
    /// A scan that does not fit the frame, or too many of them for so large a picture.
    pub fn begin_scan(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let frame = self.frame.as_ref().ok_or(WRONG)?;
        let (&count, rest) = payload.split_first().ok_or(WRONG)?;
        let (pairs, tail) = rest.split_at_checked(usize::from(count) * 2).ok_or(WRONG)?;
        let &[first, last, approximation] = tail else { return Err(WRONG) };
        let layout = Layout::of(frame);
        let mut mcus = u64::from(layout.mcus_across) * u64::from(layout.mcus_down);
        let (mut parts, mut plane, mut blocks) = (Vec::new(), 0, 0);
        for pair in pairs.chunks_exact(2) {
            let &[id, tables] = pair else { continue };
            plane = frame.components.iter().position(|c| c.id == id).ok_or(WRONG)?;
            let (h, v) = frame.components.get(plane).map(|c| factors(*c, frame)).ok_or(WRONG)?;
            let in_mcu = if count == 1 { 1 } else { h * v };
            if count == 1 {
                let [(across, down), _] = layout.blocks(h, v);
                mcus = u64::from(across) * u64::from(down);
            }
            blocks += in_mcu;
            parts.push(Part { blocks: in_mcu, dc: usize::from(tables >> 4), ac: usize::from(tables & 15) });
        }
        self.visits += mcus * u64::from(blocks);
        if blocks == 0 || blocks > 10 || self.visits > VISITS_MAX {
            return Err(Fault("has scans that would take too long to read"));
        }
        let kind = match (frame.process, first, approximation >> 4) {
            (Process::Baseline | Process::Extended, ..) => Kind::Sequential,
            (_, 0, 0) => Kind::DcFirst,
            (_, 0, _) => Kind::DcRefinement,
            (_, _, high) if count == 1 && first <= last && last <= 63 => {
                let (first, last) = (u32::from(first), u32::from(last));
                if high == 0 { Kind::AcFirst(first, last) } else { Kind::AcRefinement(first, last) }
            }
            _ => return Err(WRONG),
        };
        let until_restart = if self.interval > 0 { self.interval } else { mcus };
        self.scan =
            Some(Scan { kind, parts, mcus_left: mcus, until_restart, restart: 0, run: 0, plane, block: 0, word: 0, have: 0 });
        Ok(())
    }

    /// Walks on. The answer says how many of `bytes` belong to the picture, and what comes next.
    /// After [`Next::Restart`] push what follows the marker.
    ///
    /// # Errors
    /// Data that breaks off before its last MCU, or that no table explains.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Next), Fault> {
        let Self { dc, ac, interval, masks, scan, .. } = self;
        let Some(scan) = scan else { return Ok((0, Next::End)) };
        // Up to here a whole MCU follows; from here on only where the end of the data is seen.
        let safe = bytes.len().checked_sub(MCU_BYTES_MAX);
        let sees_marker = has_marker(bytes.get(safe.unwrap_or_default()..).unwrap_or_default());
        let mut cursor = Cursor { bytes, at: 0, word: scan.word, have: scan.have, phantom: 0 };
        loop {
            if scan.mcus_left == 0 || scan.until_restart == 0 {
                cursor.give_back();
                let next = if scan.mcus_left == 0 { Next::End } else { Next::Restart(marker::RST0 + scan.restart) };
                (scan.word, scan.have, scan.run, scan.until_restart) = (0, 0, 0, *interval);
                scan.restart = (scan.restart + 1) & 7;
                return Ok((cursor.at, next));
            }
            if !sees_marker && safe.is_none_or(|safe| cursor.at > safe) {
                cursor.give_back();
                (scan.word, scan.have) = (cursor.word, cursor.have);
                return Ok((cursor.at, Next::More));
            }
            scan.pass_mcu(&mut cursor, dc, ac, masks)?;
            if cursor.have < cursor.phantom {
                return Err(CUT);
            }
            scan.mcus_left -= 1;
            scan.until_restart -= 1;
        }
    }
}

/// True where a marker begins in `bytes`.
fn has_marker(mut bytes: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(0xFF, bytes) {
        match bytes.get(at + 1) {
            Some(0) => bytes = bytes.get(at + 2..).unwrap_or_default(),
            next => return next.is_some(),
        }
    }
    false
}

impl Scan {
    #[inline]
    fn pass_mcu(
        &mut self,
        cursor: &mut Cursor,
        dc: &[Option<Box<Dc>>; 4],
        ac: &[Option<Box<Ac>>; 4],
        masks: &mut [Vec<u64>],
    ) -> Result<(), Fault> {
        let ac = |part: &Part| ac.get(part.ac).and_then(Option::as_deref).ok_or(NO_TABLE);
        let dc = |part: &Part| dc.get(part.dc).and_then(Option::as_deref).ok_or(NO_TABLE);
        for part in &self.parts {
            match self.kind {
                Kind::Sequential => {
                    let (dc, ac) = (dc(part)?, ac(part)?);
                    for _ in 0..part.blocks {
                        pass_dc(cursor, dc)?;
                        pass_ac(cursor, ac)?;
                    }
                }
                Kind::DcFirst => {
                    let dc = dc(part)?;
                    for _ in 0..part.blocks {
                        pass_dc(cursor, dc)?;
                    }
                }
                Kind::DcRefinement => {
                    for _ in 0..part.blocks {
                        cursor.take_one();
                    }
                }
                Kind::AcFirst(first, last) => {
                    let mask = masks.get_mut(self.plane).and_then(|m| m.get_mut(self.block)).ok_or(CUT)?;
                    pass_band(cursor, &ac(part)?.reading, (first, last), &mut self.run, mask)?;
                    self.block += 1;
                }
                Kind::AcRefinement(first, last) => {
                    let mask = masks.get_mut(self.plane).and_then(|m| m.get_mut(self.block)).ok_or(CUT)?;
                    pass_refinement(cursor, &ac(part)?.reading, (first, last), &mut self.run, mask)?;
                    self.block += 1;
                }
            }
        }
        Ok(())
    }
}

#[inline]
fn pass_dc(cursor: &mut Cursor, dc: &Dc) -> Result<(), Fault> {
    cursor.need();
    let total = dc.totals.get((cursor.word >> 54) as usize).copied().unwrap_or_default();
    if total > 0 {
        cursor.skip(u32::from(total));
        return Ok(());
    }
    let (size, length) = dc.reading.symbol(cursor.word);
    if length == 0 || size > 15 {
        return Err(BAD_CODE);
    }
    cursor.skip(length + u32::from(size));
    Ok(())
}

#[inline]
fn pass_ac(cursor: &mut Cursor, ac: &Ac) -> Result<(), Fault> {
    let mut at = 1;
    loop {
        cursor.need();
        let jump = ac.jumps.get((cursor.word >> (64 - JUMP_BITS)) as usize).copied().unwrap_or_default();
        let (bits, next, ends) = (jump & 15, at + u32::from(jump >> 4 & 127), jump >> 15);
        if bits > 0 && next + u32::from(ends) <= 64 {
            cursor.skip(u32::from(bits));
            at = next;
            if ends == 1 || at == 64 {
                return Ok(());
            }
            continue;
        }
        let (symbol, length) = ac.reading.symbol(cursor.word);
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if length == 0 {
            return Err(BAD_CODE);
        }
        cursor.skip(length + size);
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => return Ok(()),
            _ => at += run + 1,
        }
        if at >= 64 {
            return if at > 64 && size > 0 { Err(BAD_CODE) } else { Ok(()) };
        }
    }
}

/// First scan of a band (T.81 §G.1.2.2).
fn pass_band(cursor: &mut Cursor, ac: &Reading, band: (u32, u32), run: &mut u32, mask: &mut u64) -> Result<(), Fault> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let (mut at, last) = band;
    while at <= last {
        cursor.need();
        let (symbol, length) = ac.symbol(cursor.word);
        let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if length == 0 {
            return Err(BAD_CODE);
        }
        cursor.skip(length);
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                *run = (1 << zeros) + cursor.take(zeros) - 1;
                return Ok(());
            }
            _ => {
                cursor.skip(size);
                at += zeros + 1;
                if at > last + 1 {
                    return Err(BAD_CODE);
                }
                *mask |= 1 << (at - 1);
            }
        }
    }
    Ok(())
}

/// Refinement of a band (T.81 §G.1.2.3): one bit for each coefficient that is not zero.
fn pass_refinement(cursor: &mut Cursor, ac: &Reading, band: (u32, u32), run: &mut u32, mask: &mut u64) -> Result<(), Fault> {
    let (mut at, last) = band;
    while at <= last && *run == 0 {
        cursor.need();
        let (symbol, length) = ac.symbol(cursor.word);
        let (mut zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if length == 0 || size > 1 {
            return Err(BAD_CODE);
        }
        cursor.skip(length);
        if size == 0 && zeros < 15 {
            *run = (1 << zeros) + cursor.take(zeros);
            break;
        }
        cursor.skip(size);
        while at <= last {
            at += 1;
            if *mask >> (at - 1) & 1 == 1 {
                cursor.take_one();
            } else if zeros == 0 {
                *mask |= u64::from(size) << (at - 1);
                break;
            } else {
                zeros -= 1;
            }
        }
    }
    if *run > 0 {
        while at <= last {
            if *mask >> at & 1 == 1 {
                cursor.take_one();
            }
            at += 1;
        }
        *run -= 1;
    }
    Ok(())
}
