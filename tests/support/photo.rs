//! Photos as a phone makes them: baseline JPEG with Exif, a place in it, and a comment that numbers it.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// How coarse the sensor's grain is: chosen for the size that a phone's file has.
const GRAIN: u8 = 29;

/// The number stands in a comment, so that no two photos are the same bytes.
const NUMBER_DIGITS: usize = 12;

#[derive(Clone)]
pub struct Photo {
    bytes: Vec<u8>,
    number_at: usize,
}

impl Photo {
    /// A scene of soft colour under the grain of a sensor: about 2.3 bits a pixel, as phones write.
    pub fn draw(width: u32, height: u32) -> Self {
        let mut grain = 0x2545_F491_4F6C_DD1D_u64;
        let mut samples = Vec::with_capacity(width as usize * height as usize * 3);
        for y in 0..height {
            for x in 0..width {
                grain ^= grain << 13;
                grain ^= grain >> 7;
                grain ^= grain << 17;
                let [a, b, c, ..] = grain.to_le_bytes();
                let (across, down) = (tone(x, width, 120), tone(y, height, 90));
                samples.extend([80 + across + a % GRAIN, 60 + down + b % GRAIN, 150 - across + c % GRAIN]);
            }
        }
        let mut plain = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut plain, 85);
        encoder.write_image(&samples, width, height, ExtendedColorType::Rgb8).expect("a JPEG");
        let comment = format!("photo {:0NUMBER_DIGITS$}", 0);
        let head = [segment(0xE1, &exif_with_a_place()), segment(0xFE, comment.as_bytes())].concat();
        let bytes = [&plain[..2], &head, &plain[2..]].concat();
        Self { bytes, number_at: 2 + head.len() - NUMBER_DIGITS }
    }

    /// The same photo under another number; nothing is copied.
    pub fn numbered(&mut self, number: u64) -> &[u8] {
        let digits = format!("{number:0NUMBER_DIGITS$}");
        self.bytes[self.number_at..self.number_at + NUMBER_DIGITS].copy_from_slice(&digits.as_bytes()[..NUMBER_DIGITS]);
        &self.bytes
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// How far along a side, as a tone.
fn tone(at: u32, side: u32, tones: u32) -> u8 {
    u8::try_from(at * tones / side).unwrap_or(u8::MAX)
}

/// A marker segment: FF, the marker, a length that counts itself (ITU-T T.81 §B.1.1.4).
fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).expect("a segment fits 64 KiB");
    [&[0xFF, marker][..], &length.to_be_bytes(), content].concat()
}

/// Exif with Orientation 1 and a GPS IFD: N 52°31′12″, E 13°24′18″ (CIPA DC-008 §4.6.6).
fn exif_with_a_place() -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    const ASCII: u16 = 2;
    const RATIONAL: u16 = 5;
    const GPS_IFD: u32 = 38;
    const VALUES: u32 = GPS_IFD + 2 + 4 * 12 + 4;
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat()
    };
    let at = |offset: u32| offset.to_be_bytes();
    let degrees = |parts: [u32; 3]| parts.map(|n| [n.to_be_bytes(), 1_u32.to_be_bytes()].concat()).concat();
    [
        b"Exif\0\0MM\0\x2a".to_vec(),
        at(8).to_vec(),
        2_u16.to_be_bytes().to_vec(),
        entry(0x0112, SHORT, 1, [0, 1, 0, 0]),
        entry(0x8825, LONG, 1, at(GPS_IFD)),
        at(0).to_vec(),
        4_u16.to_be_bytes().to_vec(),
        entry(1, ASCII, 2, *b"N\0\0\0"),
        entry(2, RATIONAL, 3, at(VALUES)),
        entry(3, ASCII, 2, *b"E\0\0\0"),
        entry(4, RATIONAL, 3, at(VALUES + 24)),
        at(0).to_vec(),
        degrees([52, 31, 12]),
        degrees([13, 24, 18]),
    ]
    .concat()
}
