//! Bits of entropy-coded data (T.81 §F.2.2.5, §B.1.1.5).

use memchr::memchr;

use super::marker;
use crate::media::Fault;

/// Behind the last byte of an interval stand zeros, so that eight bytes can always be read.
const BEHIND: [u8; 8] = [0; 8];

/// Entropy-coded data of one scan, interval by interval: without stuffed bytes and markers.
pub(super) struct Intervals<'a> {
    rest: &'a [u8],
    /// Of the restart marker that comes next, 0 to 7.
    number: u8,
    plain: Vec<u8>,
}

impl<'a> Intervals<'a> {
    /// `scan` begins behind SOS; what comes behind the scan is not read.
    pub(super) fn new(scan: &'a [u8]) -> Self {
        Self { rest: scan, number: 0, plain: Vec::new() }
    }

    /// The next interval. Where there is none any more it is empty, which reads as cut short.
    pub(super) fn next(&mut self) -> Result<Bits<'_>, Fault> {
        self.plain.clear();
        loop {
            let Some(at) = memchr(0xFF, self.rest) else {
                self.plain.extend_from_slice(std::mem::take(&mut self.rest));
                break;
            };
            let (before, behind) = self.rest.split_at_checked(at).unwrap_or((self.rest, &[]));
            self.plain.extend_from_slice(before);
            match behind.get(1).copied() {
                Some(0) => {
                    self.plain.push(0xFF);
                    self.rest = behind.get(2..).unwrap_or_default();
                }
                Some(code @ marker::RST0..=marker::RST7) => {
                    if code & 7 != self.number {
                        return Err(Fault("has restart markers that are out of order"));
                    }
                    self.number = (self.number + 1) & 7;
                    self.rest = behind.get(2..).unwrap_or_default();
                    break;
                }
                // Fill bytes (T.81 §B.1.1.2).
                Some(0xFF) => self.rest = behind.get(1..).unwrap_or_default(),
                _ => {
                    self.rest = &[];
                    break;
                }
            }
        }
        let length = self.plain.len() * 8;
        self.plain.extend_from_slice(&BEHIND);
        Ok(Bits { bytes: &self.plain, at: 0, word: 0, have: 0, length })
    }
}

/// The bits of one interval, first bit first.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the highest on; below them what may be more of them.
    word: u64,
    have: u32,
    /// Bits of the interval.
    length: usize,
}

impl Bits<'_> {
    /// Makes at least 56 bits ready. Behind the end they are zeros.
    #[inline]
    pub(super) fn fill(&mut self) {
        let next = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_be_bytes(*b));
        // As many whole bytes as fit: 56 to 63 bits are ready then.
        self.word |= next >> self.have;
        self.at += ((63 - self.have) >> 3) as usize;
        self.have |= 0x38;
    }

    /// Makes at least 32 bits ready: one code and what it announces.
    #[inline]
    pub(super) fn need(&mut self) {
        if self.have < 32 {
            self.fill();
        }
    }

    #[inline]
    pub(super) fn word(&self) -> u64 {
        self.word
    }

    #[inline]
    pub(super) fn skip(&mut self, bits: u32) {
        self.word <<= bits;
        self.have -= bits;
    }

    /// The next `bits`, at most 16 and of those that are ready.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        let value = low32(self.word >> 32 >> (32 - bits));
        self.skip(bits);
        value
    }

    #[inline]
    pub(super) fn take_one(&mut self) -> bool {
        self.need();
        self.take(1) == 1
    }

    /// The next `size` bits as a number with a sign (T.81 §F.2.2.1, EXTEND).
    #[inline]
    pub(super) fn take_signed(&mut self, size: u32) -> i32 {
        let value = self.take(size).cast_signed();
        // Below the middle the number is negative.
        let below = (value.wrapping_sub(1 << size >> 1)) >> 31;
        value + (below & (1 - (1 << size)))
    }

    /// Bits that are left; 0 behind the end.
    pub(super) fn left(&self) -> usize {
        (self.length + self.have as usize).saturating_sub(self.at * 8)
    }

    /// True where what is left is ones, or nothing.
    pub(super) fn is_all_ones(&mut self) -> bool {
        self.need();
        let left = self.left().min(32);
        self.word.leading_ones() as usize >= left
    }

    /// True where more bits were taken than there were.
    pub(super) fn is_past_end(&self) -> bool {
        self.at * 8 > self.length + self.have as usize
    }
}

/// The lower half.
#[inline]
pub(super) fn low32(word: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // wanted
    let low = word as u32;
    low
}

/// Bits to bytes, with a zero behind each FF.
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    word: u64,
    /// Bits that wait in `word`, in its lowest places.
    have: u32,
}

impl Writer {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, word: 0, have: 0 }
    }

    /// The lowest `length` bits of `bits`, at most 32; above them are zeros.
    #[inline]
    pub(super) fn put(&mut self, bits: u32, length: u32) {
        self.word = self.word << length | u64::from(bits);
        self.have += length;
        if self.have >= 32 {
            self.have -= 32;
            self.flush(low32(self.word >> self.have));
        }
    }

    #[inline]
    fn flush(&mut self, word: u32) {
        let bytes = word.to_be_bytes();
        // True where a byte is FF: its complement is zero.
        let none = !word;
        if none.wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
            self.bytes.extend_from_slice(&bytes);
        } else {
            for byte in bytes {
                self.push(byte);
            }
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xFF {
            self.bytes.push(0);
        }
    }

    /// Fills the last byte with ones (T.81 §F.1.2.3).
    pub(super) fn finish(mut self) -> Vec<u8> {
        let missing = (8 - self.have % 8) % 8;
        self.put((1 << missing) - 1, missing);
        while self.have >= 8 {
            self.have -= 8;
            let [.., byte] = low32(self.word >> self.have).to_be_bytes();
            self.push(byte);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_bytes_and_markers_are_not_data() {
        let mut intervals = Intervals::new(b"\x12\xff\0\x34\xff\xff\xd0\xff\0\xff\xd1\xff\xd9\x56");
        let whole: Vec<Vec<u8>> = (0..4)
            .map(|_| {
                let bits = intervals.next().unwrap();
                bits.bytes[..bits.length / 8].to_vec()
            })
            .collect();
        assert_eq!(whole, [&b"\x12\xff\x34"[..], b"\xff", b"", b""]);
        assert!(Intervals::new(b"a\xff\xd1b").next().is_err(), "the first restart marker is number 0");
    }

    #[test]
    fn numbers_have_a_sign() {
        let mut intervals = Intervals::new(&[0b0100_0110, 0b1100_0111, 0]);
        let mut bits = intervals.next().unwrap();
        bits.fill();
        let taken: Vec<i32> = [1, 1, 2, 2, 2, 2, 3, 3, 0].map(|size| bits.take_signed(size)).to_vec();
        assert_eq!(taken, [-1, 1, -3, -2, 2, 3, -7, 7, 0]);
        assert!(!bits.is_past_end());
        bits.skip(9);
        assert!(bits.is_past_end());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let given: Vec<(u32, u32)> = (0..2000_u32).map(|n| (1 + n % 27, n.wrapping_mul(0x9E37_79B1))).collect();
        let mut writer = Writer::new(Vec::new());
        for (length, value) in &given {
            writer.put(value >> (32 - length), *length);
        }
        writer.put(0xFFFF, 16);
        let bytes = writer.finish();
        assert!(bytes.windows(2).all(|w| w[0] != 0xFF || w[1] == 0));
        let mut intervals = Intervals::new(&bytes);
        let mut bits = intervals.next().unwrap();
        for (length, value) in given {
            bits.need();
            let (high, low) = (length.min(16), length - length.min(16));
            let taken = bits.take(high) << low | if low > 0 { bits.take(low) } else { 0 };
            assert_eq!(taken, value >> (32 - length));
        }
        assert!(!bits.is_past_end());
    }
}
