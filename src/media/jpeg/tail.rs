//! Whether a scan seems to end with its last MCU, told from its last bytes alone.
//!
//! To be sure one has to read every code from the first on ([`super::scan`]), which costs more than
//! all else that is done with a photo. But Huffman codes find their way: read from any place on,
//! after some hundred codes the reading falls in with the true one, and then the data must end where
//! an MCU does, with ones to fill the last byte (T.81 §F.1.2.3). Where it does not, or where the
//! last bytes look like text, the scan is in doubt, and whoever sends it walks it first.
//!
//! What can slip through: of bytes without a pattern that were put behind the last MCU, one case in
//! two hundred, for they happen to read as MCUs; before a restart marker inside a scan, all that is
//! no text.

use super::bits::Intervals;
use super::huffman::Reading;
use super::plane::factors;
use super::read::huffman_tables;
use super::{Frame, Process};
use crate::media::Fault;

/// Bytes at the end of a scan that are read: some hundred MCUs of a photo.
const TAIL_BYTES: usize = 8 << 10;
/// Places to begin from, where the first reading does not fall in.
const STARTS: usize = 3;
/// Bytes that must have been read without a fault when the end is reached.
const SOUND_BITS: usize = 64 * 8;
/// The bytes at the end of an interval whose looks are judged.
const LOOKS_BYTES: usize = 16;

/// One component of an MCU: its blocks and tables.
struct Part {
    blocks: u32,
    dc: usize,
    ac: usize,
}

/// Watches the scans of one JPEG while they pass.
#[derive(Default)]
pub struct Tail {
    dc: [Option<Box<Reading>>; 4],
    ac: [Option<Box<Reading>>; 4],
    parts: Vec<Part>,
    kept: Vec<u8>,
    /// Nothing of the scan or interval was left out of `kept`.
    is_whole: bool,
    is_watched: bool,
    is_in_doubt: bool,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("is_in_doubt", &self.is_in_doubt).finish_non_exhaustive()
    }
}

impl Tail {
    /// Takes the payload of DHT.
    ///
    /// # Errors
    /// Tables that do not add up.
    pub fn define_huffman(&mut self, payload: &[u8]) -> Result<(), Fault> {
        huffman_tables(payload, |class, slot, spec| {
            let slots = if class == 0 { &mut self.dc } else { &mut self.ac };
            if let Some(place) = slots.get_mut(usize::from(slot)) {
                *place = Some(Box::new(Reading::new(&spec)?));
            }
            Ok(())
        })
    }

    /// Takes the payload of SOS. Progressive scans are not watched: they never leave as they are.
    pub fn begin_scan(&mut self, payload: &[u8], frame: &Frame) {
        self.parts.clear();
        self.kept.clear();
        self.is_whole = true;
        self.is_watched = frame.process != Process::Progressive;
        let Some((count, rest)) = payload.split_first() else { return };
        for pair in rest.chunks_exact(2).take(usize::from(*count)) {
            let &[id, tables] = pair else { continue };
            let Some(component) = frame.components.iter().find(|c| c.id == id) else { continue };
            let (h, v) = if *count == 1 { (1, 1) } else { factors(*component, frame) };
            self.parts.push(Part { blocks: h * v, dc: usize::from(tables >> 4), ac: usize::from(tables & 15) });
        }
    }

    /// Takes entropy-coded data as it comes, without markers.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_watched {
            return;
        }
        let from = bytes.len().saturating_sub(TAIL_BYTES);
        let bytes = bytes.get(from..).unwrap_or_default();
        let over = (self.kept.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        self.is_whole &= from == 0 && over == 0;
        self.kept.drain(..over.min(self.kept.len()));
        self.kept.extend_from_slice(bytes);
    }

    /// A restart marker came.
    pub fn end_interval(&mut self) {
        if self.is_watched {
            self.is_in_doubt |= printable_at_end(&self.kept) == LOOKS_BYTES;
            self.kept.clear();
            self.is_whole = true;
        }
    }

    /// The marker behind the scan came.
    pub fn end_scan(&mut self) {
        if self.is_watched {
            self.is_in_doubt |= printable_at_end(&self.kept) + 2 >= LOOKS_BYTES || !self.ends_with_mcu();
            self.kept.clear();
        }
    }

    /// True where a scan should be walked before it leaves.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    fn ends_with_mcu(&self) -> bool {
        let starts = if self.is_whole { 1 } else { STARTS };
        (0..starts).any(|start| self.reads_to_end(self.kept.get(start * 37..).unwrap_or_default()).unwrap_or(false))
    }

    /// Reads MCUs until the end. `None`: some code was in no table, too near to the end.
    fn reads_to_end(&self, bytes: &[u8]) -> Option<bool> {
        let mut intervals = Intervals::new(bytes);
        let mut bits = intervals.next().ok()?;
        let whole = bits.left();
        let mut sound_from = whole;
        loop {
            for part in &self.parts {
                let (dc, ac) = (self.dc.get(part.dc)?.as_deref()?, self.ac.get(part.ac)?.as_deref()?);
                for _ in 0..part.blocks {
                    if !pass_block(&mut bits, dc, ac) {
                        sound_from = bits.left();
                        if sound_from == 0 {
                            return None;
                        }
                    }
                }
            }
            if bits.is_past_end() {
                return Some(false);
            }
            let left = bits.left();
            if left < 8 && bits.is_all_ones() {
                return Some((self.is_whole && sound_from == whole) || sound_from - left >= SOUND_BITS);
            }
        }
    }
}

/// Passes one block; false where a code is in no table or runs out of the block.
fn pass_block(bits: &mut super::bits::Bits, dc: &Reading, ac: &Reading) -> bool {
    bits.need();
    let (size, length) = dc.symbol(bits.word());
    if length == 0 || size > 15 {
        bits.skip(1);
        return false;
    }
    bits.skip(length + u32::from(size));
    let mut at = 1;
    while at < 64 {
        bits.need();
        let (symbol, length) = ac.symbol(bits.word());
        if length == 0 {
            bits.skip(1);
            return false;
        }
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        bits.skip(length + size);
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => return true,
            _ => at += run + 1,
        }
    }
    at == 64
}

/// How many of the last bytes are printable. Of entropy six in sixteen are; all are once in ten
/// million times.
fn printable_at_end(interval: &[u8]) -> usize {
    let last = interval.get(interval.len().saturating_sub(LOOKS_BYTES)..).unwrap_or_default();
    last.iter().filter(|b| matches!(b, 0x20..=0x7E | b'\t' | b'\n' | b'\r')).count()
}
