//! The bits of a parameter set, without what keeps start codes out of it (H.264 §7.3.1, H.265 §7.3.1.1).

use crate::media::Fault;

const ENDS: Fault = Fault("has a parameter set that ends before its fields do");

pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Bits read.
    at: usize,
}

impl Bits {
    /// `unit` without its header.
    pub(super) fn new(unit: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(unit.len());
        let mut zeros = 0;
        for byte in unit {
            if zeros >= 2 && *byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            bytes.push(*byte);
        }
        Self { bytes, at: 0 }
    }

    /// At most 32.
    pub(super) fn number(&mut self, bits: u32) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..bits {
            let byte = self.bytes.get(self.at / 8).ok_or(ENDS)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.number(8)?.to_be_bytes()[3])
    }

    pub(super) fn flag(&mut self) -> Result<bool, Fault> {
        Ok(self.number(1)? == 1)
    }

    pub(super) fn skip(&mut self, bits: usize) -> Result<(), Fault> {
        self.at = self.at.saturating_add(bits);
        if self.at <= self.bytes.len() * 8 { Ok(()) } else { Err(ENDS) }
    }

    /// `ue(v)`: Exp-Golomb (H.264 §9.1).
    pub(super) fn unsigned(&mut self) -> Result<u32, Fault> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Fault("has a parameter set with a number of more than 32 bits"));
            }
        }
        Ok((1 << zeros) - 1 + self.number(zeros)?)
    }

    /// `se(v)`.
    pub(super) fn signed(&mut self) -> Result<i64, Fault> {
        let code = i64::from(self.unsigned()?);
        Ok(if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_read_and_the_end_is_an_end() {
        // 1 | 010 | 011 | 00100 | 00101 | 1111111
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1111_1111]);
        let read: Vec<u32> = (0..5).map(|_| bits.unsigned().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert_eq!(bits.number(7), Ok(127));
        assert!(bits.flag().is_err() && bits.skip(1).is_err());
        assert!(Bits::new(&[0; 9]).unsigned().is_err());
        let mut signed = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<i64> = (0..5).map(|_| signed.signed().unwrap()).collect();
        assert_eq!(read, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn what_keeps_start_codes_out_is_not_read() {
        let mut bits = Bits::new(&[0, 0, 3, 1, 0, 0, 3]);
        assert_eq!((bits.number(24), bits.number(16)), (Ok(1), Ok(0)));
        assert!(bits.flag().is_err());
    }
}
