//! The header and the sizes of a PNG (ISO/IEC 15948, W3C PNG third edition).

use super::Fault;
use super::field::be32;
use crate::capture::media::{Coding, PictureFormat};

/// IHDR (§11.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    /// Per sample (per index where there is a palette).
    pub bits: u8,
    pub colour: Colour,
    pub interlaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Grey,
    Rgb,
    Palette,
    GreyAlpha,
    Rgba,
}

impl Colour {
    fn samples(self) -> u64 {
        match self {
            Self::Grey | Self::Palette => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// Where Adam7 begins and how far it steps: x, y, dx, dy of each pass (§8.2).
const ADAM7: [(u32, u32, u32, u32); 7] =
    [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

/// So many rows of so many bytes each, the filter byte included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    pub rows: u64,
    pub row_bytes: u64,
}

impl Header {
    /// # Errors
    /// Any combination that the standard does not have.
    pub fn read(payload: &[u8]) -> Result<Self, Fault> {
        const WRONG: Fault = Fault("has a header that the standard does not allow");
        let (Some(width), Some(height)) = (be32(payload, 0), be32(payload, 4)) else { return Err(WRONG) };
        let Some(&[bits, colour, 0, 0, interlace @ (0 | 1)]) = payload.get(8..) else { return Err(WRONG) };
        let (colour, depths): (Colour, &[u8]) = match colour {
            0 => (Colour::Grey, &[1, 2, 4, 8, 16]),
            2 => (Colour::Rgb, &[8, 16]),
            3 => (Colour::Palette, &[1, 2, 4, 8]),
            4 => (Colour::GreyAlpha, &[8, 16]),
            6 => (Colour::Rgba, &[8, 16]),
            _ => return Err(WRONG),
        };
        let sides = 1..=u32::MAX >> 1;
        if !depths.contains(&bits) || !sides.contains(&width) || !sides.contains(&height) {
            return Err(WRONG);
        }
        Ok(Self { width, height, bits, colour, interlaced: interlace == 1 })
    }

    #[must_use]
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    #[must_use]
    pub fn format(&self) -> PictureFormat {
        let colour = match self.colour {
            Colour::Grey => 0,
            Colour::Rgb => 2,
            Colour::Palette => 3,
            Colour::GreyAlpha => 4,
            Colour::Rgba => 6,
        };
        let coding = Coding::Png { colour, bits: self.bits, interlaced: self.interlaced };
        PictureFormat { width: self.width, height: self.height, coding }
    }

    /// The rows that the inflated IDAT holds, in order; passes without a pixel have none.
    pub fn passes(&self) -> impl Iterator<Item = Pass> + use<> {
        let header = *self;
        let whole = [(0, 0, 1, 1)];
        let steps: &[(u32, u32, u32, u32)] = if header.interlaced { &ADAM7 } else { &whole };
        let steps = steps.to_vec();
        steps.into_iter().filter_map(move |(x, y, dx, dy)| {
            let columns = u64::from(header.width.saturating_sub(x).div_ceil(dx));
            let rows = u64::from(header.height.saturating_sub(y).div_ceil(dy));
            let bits = columns * header.colour.samples() * u64::from(header.bits);
            (columns > 0 && rows > 0).then_some(Pass { rows, row_bytes: 1 + bits.div_ceil(8) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(width: u32, height: u32, bits: u8, colour: u8, interlace: u8) -> Result<Header, Fault> {
        let mut payload = [width.to_be_bytes(), height.to_be_bytes()].concat();
        payload.extend([bits, colour, 0, 0, interlace]);
        Header::read(&payload)
    }

    #[test]
    fn a_header_outside_the_standard_is_refused() {
        assert!(header(1, 1, 8, 2, 0).is_ok());
        for (w, h, bits, colour, interlace) in [
            (0, 1, 8, 2, 0),
            (1, 0, 8, 2, 0),
            (1, 1, 4, 2, 0),
            (1, 1, 16, 3, 0),
            (1, 1, 8, 5, 0),
            (1, 1, 8, 2, 2),
            (1 << 31, 1, 8, 2, 0),
        ] {
            assert!(header(w, h, bits, colour, interlace).is_err(), "{w} {h} {bits} {colour} {interlace}");
        }
    }

    #[test]
    fn the_rows_of_a_picture_are_counted_with_and_without_interlace() {
        let size = |h: Header| h.passes().map(|p| p.rows * p.row_bytes).sum::<u64>();
        assert_eq!(size(header(10, 3, 1, 0, 0).unwrap()), 3 * 3);
        assert_eq!(size(header(10, 3, 8, 6, 0).unwrap()), 3 * 41);
        // A single pixel is in the first pass alone.
        assert_eq!(size(header(1, 1, 8, 2, 1).unwrap()), 4);
        // 8×8 in Adam7: 1, 1, 2, 4, 8, 16 and 32 pixels in 1, 1, 1, 2, 2, 4 and 4 rows.
        assert_eq!(size(header(8, 8, 8, 0, 1).unwrap()), 64 + 15);
    }
}
