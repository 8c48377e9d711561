//! Huffman tables, to read with and to write with (T.81 Annex C, §F.2.2.3, §K.3).

use crate::media::Fault;

/// Codes up to this long are found with one look: nearly all of them, in a table that stays in
/// the cache.
const LOOK_BITS: u32 = 10;
const LOOK: usize = 1 << LOOK_BITS;
/// Longest code (T.81 §C.1).
const CODE_BITS_MAX: u32 = 16;

const WRONG: Fault = Fault("has Huffman tables that do not add up");

/// One table as DHT says it: how many codes of each length, and what they stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec<'a> {
    pub(super) counts: &'a [u8; 16],
    pub(super) symbols: &'a [u8],
}

impl Spec<'_> {
    /// Calls `each` with code, its length and its symbol, shortest first (T.81 §C.2).
    fn codes(&self, mut each: impl FnMut(u32, u32, u8)) -> Result<(), Fault> {
        let mut symbols = self.symbols.iter();
        let mut code = 0_u32;
        for (length, count) in (1..=CODE_BITS_MAX).zip(self.counts) {
            for _ in 0..*count {
                if code >> length != 0 {
                    return Err(WRONG);
                }
                each(code, length, *symbols.next().ok_or(WRONG)?);
                code += 1;
            }
            code <<= 1;
        }
        if symbols.next().is_some() { Err(WRONG) } else { Ok(()) }
    }
}

/// To read with.
#[derive(Clone)]
pub(super) struct Reading {
    /// By the next [`LOOK_BITS`] bits: length of the code (high byte) and symbol; 0: longer.
    look: [u16; LOOK],
    /// By length: the first 16 bit number that no code of that length begins, and what leads from
    /// a code to its symbol.
    ends: [(u32, u32); CODE_BITS_MAX as usize + 1],
    symbols: [u8; 256],
}

impl Reading {
    pub(super) fn new(spec: &Spec) -> Result<Self, Fault> {
        let mut table = Self { look: [0; LOOK], ends: [(0, 0); 17], symbols: [0; 256] };
        let mut index = 0_u32;
        spec.codes(|code, length, symbol| {
            if let Some(slot) = table.symbols.get_mut(index as usize) {
                *slot = symbol;
            }
            if length <= LOOK_BITS {
                let first = (code << (LOOK_BITS - length)) as usize;
                let entry = u16::try_from(length << 8 | u32::from(symbol)).unwrap_or_default();
                table.look.iter_mut().skip(first).take(1 << (LOOK_BITS - length)).for_each(|slot| *slot = entry);
            }
            if let Some(end) = table.ends.get_mut(length as usize) {
                *end = ((code + 1) << (CODE_BITS_MAX - length), index.wrapping_sub(code));
            }
            index += 1;
        })?;
        Ok(table)
    }

    /// The symbol at the top of `bits`, and the length of its code; 0 where no code begins so.
    #[inline]
    pub(super) fn symbol(&self, bits: u64) -> (u8, u32) {
        let look = (bits >> (64 - LOOK_BITS)) as usize;
        let [length, symbol] = self.look.get(look).copied().unwrap_or_default().to_be_bytes();
        if length > 0 { (symbol, u32::from(length)) } else { self.long_symbol(bits) }
    }

    /// The same where the code is short enough for one look.
    pub(super) fn short_symbol(&self, bits: u64) -> Option<(u8, u32)> {
        let look = (bits >> (64 - LOOK_BITS)) as usize;
        let [length, symbol] = self.look.get(look)?.to_be_bytes();
        if length > 0 { Some((symbol, u32::from(length))) } else { None }
    }

    #[cold]
    fn long_symbol(&self, bits: u64) -> (u8, u32) {
        let next = u32::try_from(bits >> 48).unwrap_or_default();
        for (length, (end, shift)) in (0..).zip(self.ends).skip(LOOK_BITS as usize + 1) {
            if next < end {
                let index = (next >> (CODE_BITS_MAX - length)).wrapping_add(shift);
                return (self.symbols.get(index as usize).copied().unwrap_or_default(), length);
            }
        }
        (0, 0)
    }
}

/// To write with: by symbol the code and its length; length 0: no code.
#[derive(Clone)]
pub(super) struct Writing([(u16, u8); 256]);

impl Writing {
    pub(super) fn new(spec: &Spec) -> Result<Self, Fault> {
        let mut table = Self([(0, 0); 256]);
        spec.codes(|code, length, symbol| {
            if let Some(slot) = table.0.get_mut(usize::from(symbol)) {
                *slot = (u16::try_from(code).unwrap_or_default(), u8::try_from(length).unwrap_or_default());
            }
        })?;
        Ok(table)
    }

    #[inline]
    pub(super) fn code(&self, symbol: u32) -> (u32, u32) {
        let (code, length) = self.0.get(symbol as usize).copied().unwrap_or_default();
        (u32::from(code), u32::from(length))
    }
}

/// How often each symbol occurs, and from that the table with which it takes the fewest bits.
#[derive(Clone)]
pub(super) struct Counts(pub(super) [u32; 256]);

/// A table of our own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) counts: [u8; 16],
    pub(super) symbols: Vec<u8>,
}

impl Made {
    pub(super) fn spec(&self) -> Spec<'_> {
        Spec { counts: &self.counts, symbols: &self.symbols }
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        Self([0; 256])
    }

    #[inline]
    pub(super) fn add(&mut self, symbol: u32) {
        if let Some(count) = self.0.get_mut(symbol as usize) {
            *count += 1;
        }
    }

    /// The best table whose codes have at most 16 bits and none of which is all ones
    /// (T.81 §K.2): lengths by Huffman's way, too long ones shortened, symbols in order of length.
    pub(super) fn table(&self) -> Made {
        /// Stands for the code of all ones, which is taken away at the end.
        const RESERVED: u16 = 256;
        let mut lengths = [0_u8; 257];
        // (weight, symbols below); merged until one is left.
        let mut trees: Vec<(u64, Vec<u16>)> = (0..)
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
            .map(|(symbol, count)| (u64::from(count), vec![symbol]))
            .chain([(0, vec![RESERVED])])
            .collect();
        trees.sort_by_key(|t| std::cmp::Reverse(t.0));
        while trees.len() > 1 {
            let (Some(a), Some(b)) = (trees.pop(), trees.pop()) else { break };
            let below: Vec<u16> = a.1.into_iter().chain(b.1).collect();
            for symbol in &below {
                if let Some(length) = lengths.get_mut(usize::from(*symbol)) {
                    *length += 1;
                }
            }
            let weight = a.0 + b.0;
            trees.insert(trees.partition_point(|t| t.0 > weight), (weight, below));
        }
        let mut counts = shortened(&lengths);
        // The reserved code is one of the longest.
        if let Some(longest) = counts.iter_mut().rev().find(|c| **c > 0) {
            *longest -= 1;
        }
        let mut symbols: Vec<u8> = (0..=255).filter(|s| lengths.get(usize::from(*s)).is_some_and(|l| *l > 0)).collect();
        symbols.sort_by_key(|s| lengths.get(usize::from(*s)).copied());
        Made { counts, symbols }
    }
}

/// How many codes of each length, none over 16 bits: two of the longest become one shorter and
/// one that shares a prefix with what was a leaf higher up (T.81 figure K.3).
fn shortened(lengths: &[u8; 257]) -> [u8; 16] {
    let mut bits = [0_u32; 258];
    for length in lengths.iter().filter(|l| **l > 0) {
        if let Some(count) = bits.get_mut(usize::from(*length)) {
            *count += 1;
        }
    }
    let mut at = |length: usize, change: i32| -> u32 {
        let Some(count) = bits.get_mut(length) else { return 0 };
        *count = count.saturating_add_signed(change);
        *count
    };
    for length in (17..258).rev() {
        while at(length, 0) > 0 {
            let Some(leaf) = (1..length - 1).rev().find(|l| at(*l, 0) > 0) else { break };
            at(length, -2);
            at(length - 1, 1);
            at(leaf + 1, 2);
            at(leaf, -1);
        }
    }
    let mut counts = [0; 16];
    for (count, length) in counts.iter_mut().zip(1..) {
        *count = u8::try_from(at(length, 0)).unwrap_or(u8::MAX);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_promises_more_codes_than_there_are_is_refused() {
        let table: [(&str, [u8; 16], usize); 4] = [
            ("three codes of one bit", [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 3),
            ("no room for a third", [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 3),
            ("symbols that have no code", [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2),
            ("codes that have no symbol", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        ];
        for (what, counts, symbols) in table {
            let symbols: Vec<u8> = (0..).take(symbols).collect();
            assert!(Reading::new(&Spec { counts: &counts, symbols: &symbols }).is_err(), "{what}");
        }
    }

    #[test]
    fn what_is_written_with_a_made_table_is_read_again() {
        let mut counts = Counts::new();
        // Weights like Fibonacci's make the longest codes that there are.
        let (mut a, mut b) = (1_u32, 1_u32);
        for symbol in 0..40_u8 {
            counts.0[usize::from(symbol)] = a;
            (a, b) = (b, a.saturating_add(b));
        }
        let made = counts.table();
        assert_eq!(made.symbols.len(), 40);
        let (writing, reading) = (Writing::new(&made.spec()).unwrap(), Reading::new(&made.spec()).unwrap());
        for symbol in 0..40_u8 {
            let (code, length) = writing.code(u32::from(symbol));
            assert!((1..=16).contains(&length) && code != (1 << length) - 1, "{symbol}: {length} bits");
            let bits = u64::from(code) << (64 - length) | (u64::MAX >> length);
            assert_eq!(reading.symbol(bits), (symbol, length));
        }
        assert_eq!(reading.symbol(u64::MAX).1, 0, "all ones are no code");
    }

    #[test]
    fn one_symbol_alone_has_a_code_of_one_bit() {
        let mut counts = Counts::new();
        counts.add(7);
        let made = counts.table();
        assert_eq!((made.counts[0], made.symbols.as_slice()), (1, &[7][..]));
        assert!(Counts::new().table().symbols.is_empty());
    }
}
