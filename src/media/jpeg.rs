//! The inside of a JPEG's segments (ITU-T T.81 Annex B). Each check accounts for every byte of
//! its segment, so that nothing can sit behind a table that is shorter than its segment says.

mod bits;
mod dct;
mod encode;
mod huffman;
mod plane;
mod progressive;
mod read;
mod samples;
pub mod scan;
mod sequential;
pub mod tail;
mod transcode;
mod turn;
mod write;

use std::fmt;

pub use encode::{Encoding, encode, encode_planes};
pub use read::process;
pub use samples::Samples;
pub use transcode::{Transcoded, upright};

use super::Fault;
use super::field::be16;
use crate::capture::media::Coding;

/// What begins each segment of a colour profile, before its number and their count (ICC.1 §B.4).
pub const PROFILE_PREAMBLE: &[u8] = b"ICC_PROFILE\0";

/// Second byte of a marker.
pub mod marker {
    pub const TEM: u8 = 0x01;
    pub const SOF0: u8 = 0xC0;
    pub const SOF1: u8 = 0xC1;
    pub const SOF2: u8 = 0xC2;
    pub const DHT: u8 = 0xC4;
    pub const RST0: u8 = 0xD0;
    pub const RST7: u8 = 0xD7;
    pub const SOI: u8 = 0xD8;
    pub const EOI: u8 = 0xD9;
    pub const SOS: u8 = 0xDA;
    pub const DQT: u8 = 0xDB;
    pub const DNL: u8 = 0xDC;
    pub const DRI: u8 = 0xDD;
    pub const APP0: u8 = 0xE0;
    pub const APP1: u8 = 0xE1;
    pub const APP2: u8 = 0xE2;
    pub const APP14: u8 = 0xEE;
    pub const COM: u8 = 0xFE;
}

/// The picture with a colour profile that fits one segment (65,519 bytes).
#[must_use]
pub fn with_profile(jpeg: &[u8], profile: &[u8]) -> Vec<u8> {
    let (start, rest) = jpeg.split_at_checked(2).unwrap_or((jpeg, &[]));
    let length = u16::try_from(2 + PROFILE_PREAMBLE.len() + 2 + profile.len()).unwrap_or(u16::MAX).to_be_bytes();
    [start, &[0xFF, marker::APP2], &length, PROFILE_PREAMBLE, &[1, 1], profile, rest].concat()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    Baseline,
    Extended,
    Progressive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    pub id: u8,
    /// Sampling factors, 1 to 4.
    pub h: u8,
    pub v: u8,
    /// Quantization table, 0 to 3.
    pub table: u8,
}

/// A frame header (T.81 §B.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub process: Process,
    pub width: u16,
    pub height: u16,
    /// 1, 3 or 4.
    pub components: Vec<Component>,
}

impl Frame {
    /// Reads the payload of SOF0, SOF1 or SOF2.
    ///
    /// # Errors
    /// What no decoder of ours shows: 12 bit samples, two components, a height that only a DNL
    /// behind the scan would tell (T.81 §B.2.5).
    pub fn read(code: u8, payload: &[u8]) -> Result<Self, Fault> {
        let process = match code {
            marker::SOF0 => Process::Baseline,
            marker::SOF1 => Process::Extended,
            _ => Process::Progressive,
        };
        let &[bits, h1, h0, w1, w0, count, ref specs @ ..] = payload else {
            return Err(Fault("has a frame header that is too short"));
        };
        if bits != 8 {
            return Err(Fault("has samples of other than 8 bits, which no viewer here can show"));
        }
        let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
        if height == 0 || width == 0 {
            return Err(Fault("says that it has no rows or no columns"));
        }
        if !matches!(count, 1 | 3 | 4) || specs.len() != usize::from(count) * 3 {
            return Err(Fault("has a frame header whose components do not add up"));
        }
        let mut components: Vec<Component> = Vec::with_capacity(usize::from(count));
        for spec in specs.chunks_exact(3) {
            let &[id, sampling, table] = spec else { continue };
            let (h, v) = (sampling >> 4, sampling & 15);
            let sampled = (1..=4).contains(&h) && (1..=4).contains(&v);
            if !sampled || table > 3 || components.iter().any(|c| c.id == id) {
                return Err(Fault("has a frame header with an impossible component"));
            }
            components.push(Component { id, h, v, table });
        }
        Ok(Self { process, width, height, components })
    }

    #[must_use]
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// How the samples are coded, as decoders decide it.
    #[must_use]
    pub fn coding(&self, is_jfif: bool, adobe_transform: Option<u8>) -> Coding {
        if self.process != Process::Baseline {
            return Coding::JpegOther;
        }
        let ids: Vec<u8> = self.components.iter().map(|c| c.id).collect();
        match ids.len() {
            1 => Coding::JpegBaselineGrey,
            3 if !is_rgb(&ids, is_jfif, adobe_transform) => Coding::JpegBaselineYcbcr,
            _ => Coding::JpegOther,
        }
    }
}

/// True where three components are red, green and blue: JFIF means YCbCr, else Adobe's transform
/// says it, else component ids that spell RGB (T.871 §6.1; Adobe Technical Note 5116).
fn is_rgb(ids: &[u8], is_jfif: bool, adobe_transform: Option<u8>) -> bool {
    !is_jfif && adobe_transform.map_or(*ids == *b"RGB", |t| t == 0)
}

/// Why the coefficients of a JPEG cannot be kept. A constant text: it carries nothing of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    TooLarge,
    /// Not what baseline JPEG with YCbCr or grey can hold; the end of "because …".
    Kind(&'static str),
    Damaged(Fault),
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Self::Damaged(fault)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("it has more coefficients or scans than are held here"),
            Self::Kind(why) => f.write_str(why),
            Self::Damaged(fault) => write!(f, "it {fault}"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Which table slots were defined: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    quantization: u8,
    dc: u8,
    ac: u8,
}

impl Tables {
    /// Reads the payload of DQT (T.81 §B.2.4.1).
    ///
    /// # Errors
    /// Tables that do not fill the segment exactly.
    pub fn define_quantization(&mut self, mut payload: &[u8]) -> Result<(), Fault> {
        const WRONG: Fault = Fault("has quantization tables that do not add up");
        if payload.is_empty() {
            return Err(WRONG);
        }
        while let Some((head, rest)) = payload.split_first() {
            let (precision, slot) = (head >> 4, head & 15);
            if precision > 1 || slot > 3 {
                return Err(WRONG);
            }
            let (_, rest) = rest.split_at_checked(64 << precision).ok_or(WRONG)?;
            self.quantization |= 1 << slot;
            payload = rest;
        }
        Ok(())
    }

    /// Reads the payload of DHT (T.81 §B.2.4.2).
    ///
    /// # Errors
    /// Tables that do not fill the segment exactly, or have more than 256 codes.
    pub fn define_huffman(&mut self, mut payload: &[u8]) -> Result<(), Fault> {
        const WRONG: Fault = Fault("has Huffman tables that do not add up");
        if payload.is_empty() {
            return Err(WRONG);
        }
        while let Some((head, rest)) = payload.split_first() {
            let (class, slot) = (head >> 4, head & 15);
            let (counts, rest) = rest.split_at_checked(16).ok_or(WRONG)?;
            let codes: usize = counts.iter().map(|c| usize::from(*c)).sum();
            if class > 1 || slot > 3 || codes > 256 {
                return Err(WRONG);
            }
            let (_, rest) = rest.split_at_checked(codes).ok_or(WRONG)?;
            let slots = if class == 0 { &mut self.dc } else { &mut self.ac };
            *slots |= 1 << slot;
            payload = rest;
        }
        Ok(())
    }

    /// Reads the payload of SOS (T.81 §B.2.3). The answer has one bit for each component of the
    /// frame whose picture this scan begins.
    ///
    /// # Errors
    /// A scan of components that the frame does not have, or of tables that were not defined.
    pub fn check_scan(self, payload: &[u8], frame: &Frame) -> Result<u8, Fault> {
        const WRONG: Fault = Fault("has a scan header that does not add up");
        let (&count, rest) = payload.split_first().ok_or(WRONG)?;
        let (selectors, tail) = rest.split_at_checked(usize::from(count) * 2).ok_or(WRONG)?;
        let &[first, last, approximation] = tail else { return Err(WRONG) };
        if !(1..=4).contains(&count) {
            return Err(WRONG);
        }
        let progressive = frame.process == Process::Progressive;
        if progressive && (first > last || last > 63 || (first == 0) != (last == 0) || (first > 0 && count > 1)) {
            return Err(WRONG);
        }
        let codes_first = !progressive || first == 0;
        let codes_others = !progressive || first > 0;
        let is_refinement = progressive && approximation >> 4 != 0;
        let mut begun = 0;
        for pair in selectors.chunks_exact(2) {
            let &[id, tables] = pair else { continue };
            let index = frame.components.iter().position(|c| c.id == id).ok_or(WRONG)?;
            let quantization = frame.components.get(index).map_or(0, |c| c.table);
            let (dc, ac) = (tables >> 4, tables & 15);
            if dc > 3 || ac > 3 || begun & (1 << index) != 0 {
                return Err(WRONG);
            }
            let defined = self.quantization & (1 << quantization) != 0
                && (!codes_first || is_refinement || self.dc & (1 << dc) != 0)
                && (!codes_others || self.ac & (1 << ac) != 0);
            if !defined {
                return Err(Fault("uses a table that it does not hold"));
            }
            begun |= 1 << index;
        }
        Ok(if codes_first && !is_refinement { begun } else { 0 })
    }
}

/// Reads the payload of DRI (T.81 §B.2.4.4).
///
/// # Errors
/// Any length but two bytes.
pub fn check_restart_interval(payload: &[u8]) -> Result<(), Fault> {
    match (payload.len(), be16(payload, 0)) {
        (2, Some(_)) => Ok(()),
        _ => Err(Fault("has a restart interval that does not add up")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 15] = [8, 0, 64, 0, 96, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];

    #[test]
    fn a_frame_header_is_read_to_its_last_byte_or_not_at_all() {
        let frame = Frame::read(marker::SOF0, &FRAME).unwrap();
        assert_eq!((frame.width, frame.height, frame.components.len()), (96, 64, 3));
        for length in 0..FRAME.len() {
            assert!(Frame::read(marker::SOF0, &FRAME[..length]).is_err(), "{length}");
        }
        assert!(Frame::read(marker::SOF0, &[&FRAME[..], b"place"].concat()).is_err());
    }

    #[test]
    fn nothing_fits_behind_a_table() {
        let quantization = [&[0u8][..], &[1; 64], &[0x11], &[1; 128]].concat();
        let huffman = [&[0u8][..], &[0, 1, 2], &[0; 13], &[5, 6, 7]].concat();
        let mut tables = Tables::default();
        assert_eq!(tables.define_quantization(&quantization), Ok(()));
        assert_eq!(tables.define_huffman(&huffman), Ok(()));
        assert_eq!(tables, Tables { quantization: 3, dc: 1, ac: 0 });
        for extra in [&b"x"[..], b"ZYX"] {
            assert!(tables.define_quantization(&[&quantization, extra].concat()).is_err());
            assert!(tables.define_huffman(&[&huffman, extra].concat()).is_err());
        }
        assert!(check_restart_interval(&[0, 4, 0]).is_err());
    }

    #[test]
    fn the_colour_model_is_the_one_that_decoders_see() {
        let with_ids = |ids: [u8; 3]| {
            let mut header = FRAME;
            (header[6], header[9], header[12]) = (ids[0], ids[1], ids[2]);
            Frame::read(marker::SOF0, &header).unwrap()
        };
        let table = [
            (*b"\x01\x02\x03", false, None, Coding::JpegBaselineYcbcr),
            (*b"RGB", false, None, Coding::JpegOther),
            (*b"RGB", true, None, Coding::JpegBaselineYcbcr),
            (*b"\x01\x02\x03", false, Some(0), Coding::JpegOther),
            (*b"\x01\x02\x03", true, Some(0), Coding::JpegBaselineYcbcr),
            (*b"\x01\x02\x03", false, Some(1), Coding::JpegBaselineYcbcr),
        ];
        for (ids, jfif, adobe, coding) in table {
            assert_eq!(with_ids(ids).coding(jfif, adobe), coding, "{ids:?} {jfif} {adobe:?}");
        }
    }
}
