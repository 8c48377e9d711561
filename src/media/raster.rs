//! Pictures as samples: for what DICOM cannot carry as it is coded. The only file that names image and png.

mod sample;

use std::fmt;
use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::{ColorType, ImageDecoder};

use super::jpeg;
use crate::capture::media::{EdgeBlocks, Orientation};

/// Most pixels of a picture that is decoded: at three bytes each 384 MB, and as much again while
/// it is turned. Phones take 12 to 50 million unless told otherwise.
pub const PIXELS_MAX: u64 = 128_000_000;

/// Why a picture cannot be decoded or coded. The text carries nothing of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RasterError {
    TooLarge,
    Undecodable,
    Uncodable,
    /// Brighter and wider than 8 bits show: PQ or HLG.
    HighRange,
}

impl fmt::Display for RasterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the picture has too many pixels to be decoded here; send it smaller",
            Self::Undecodable => "the coded picture cannot be decoded; take it again",
            Self::Uncodable => "the picture cannot be coded as JPEG",
            Self::HighRange => {
                "the picture has a high dynamic range (PQ or HLG), which nothing here brings into 8 bits; take it without HDR"
            }
        })
    }
}

impl std::error::Error for RasterError {}

/// A picture as baseline JPEG, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upright {
    /// Grey, or YCbCr.
    pub jpeg: Vec<u8>,
    pub width: u32,
    pub height: u32,
    /// 1 or 3.
    pub components: u8,
    /// The coefficients are the source's own; false: coded again.
    pub is_lossless: bool,
    /// Rows or columns at an edge were cut off.
    pub is_trimmed: bool,
}

/// Samples by pixel, 8 bits each, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Native {
    pub width: u32,
    pub height: u32,
    /// 1 (grey) or 3 (RGB).
    pub samples: u8,
    pub bytes: Vec<u8>,
}

/// Makes a baseline JPEG, grey or YCbCr, of any JPEG, and turns it upright: in its coefficients
/// where that can be, else coded again, with `quality` (1 to 100) where its colours have to be
/// converted. Some 0.1 s for 12 million pixels whose coefficients stay, and twice to three times as
/// much for others.
///
/// # Errors
/// A picture over [`PIXELS_MAX`], or one that does not decode.
pub fn upright_jpeg(jpeg: &[u8], orientation: Orientation, edges: EdgeBlocks, quality: u8) -> Result<Upright, RasterError> {
    if let Ok(made) = jpeg::upright(jpeg, orientation, edges) {
        let jpeg::Transcoded { jpeg, width, height, components, is_lossless, is_trimmed } = made;
        return Ok(Upright { jpeg, width, height, components, is_lossless, is_trimmed });
    }
    let Native { width, height, samples: components, bytes } = jpeg_samples(jpeg)?;
    // RGB and CMYK have all their colour in every pixel; of the largest pictures that is too much
    // to hold.
    let has_full_chroma = u64::from(width) * u64::from(height) <= PIXELS_MAX / 2;
    let encoding = jpeg::Encoding { quality, has_full_chroma };
    let jpeg = jpeg::encode(bytes, (width, height), components, orientation, encoding).map_err(|_| RasterError::Uncodable)?;
    let (width, height) = if orientation.swaps_sides() { (height, width) } else { (width, height) };
    Ok(Upright { jpeg, width, height, components, is_lossless: false, is_trimmed: false })
}

/// Decodes a JPEG to 8 bit grey or RGB, as it lies.
///
/// # Errors
/// A picture over [`PIXELS_MAX`], or one that does not decode.
pub fn jpeg_samples(jpeg: &[u8]) -> Result<Native, RasterError> {
    let decoder = JpegDecoder::new(Cursor::new(jpeg)).map_err(|_| RasterError::Undecodable)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height)?;
    let samples = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        _ => return Err(RasterError::Undecodable),
    };
    let mut bytes = buffer(decoder.total_bytes())?;
    decoder.read_image(&mut bytes).map_err(|_| RasterError::Undecodable)?;
    Ok(Native { width, height, samples, bytes })
}

/// A drawn photo for the demo and for tests, a JPEG of 1600 × 1200 pixels: a forearm on a drape, a
/// wound, a ruler, and words that say that it is nobody's. It has no Exif:
/// [`crate::media::exif::with_location`] makes a phone's photo of it.
#[must_use]
pub fn draw_sample_photo() -> Vec<u8> {
    // This has no way to fail: the samples have the size that is announced.
    let encoding = jpeg::Encoding { quality: 88, has_full_chroma: false };
    jpeg::encode(sample::draw(), (sample::WIDTH, sample::HEIGHT), 3, Orientation::UPRIGHT, encoding).unwrap_or_default()
}

/// Decodes a PNG to 8 bit grey or RGB, upright: palettes are looked up, 16 bits cut to 8, 1 to 4
/// bits spread, and what is transparent lies on white, as a viewer shows it.
///
/// # Errors
/// A picture over [`PIXELS_MAX`], or one that does not decode.
pub fn native(png: &[u8], orientation: Orientation) -> Result<Native, RasterError> {
    let mut decoder = png::Decoder::new(Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|_| RasterError::Undecodable)?;
    let (width, height) = (reader.info().width, reader.info().height);
    check_pixels(width, height)?;
    let size = reader.output_buffer_size().ok_or(RasterError::TooLarge)?;
    let mut bytes = buffer(u64::try_from(size).map_err(|_| RasterError::TooLarge)?)?;
    let info = reader.next_frame(&mut bytes).map_err(|_| RasterError::Undecodable)?;
    bytes.truncate(info.buffer_size());
    let samples = match info.color_type {
        png::ColorType::Grayscale => 1,
        png::ColorType::Rgb => 3,
        png::ColorType::GrayscaleAlpha => {
            flatten::<2, 1>(&mut bytes);
            1
        }
        png::ColorType::Rgba => {
            flatten::<4, 3>(&mut bytes);
            3
        }
        png::ColorType::Indexed => return Err(RasterError::Undecodable),
    };
    Ok(turned(Native { width, height, samples, bytes }, orientation))
}

fn check_pixels(width: u32, height: u32) -> Result<(), RasterError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(RasterError::Undecodable),
        1..=PIXELS_MAX => Ok(()),
        _ => Err(RasterError::TooLarge),
    }
}

fn buffer(bytes: u64) -> Result<Vec<u8>, RasterError> {
    usize::try_from(bytes).map(|n| vec![0; n]).map_err(|_| RasterError::TooLarge)
}

/// Lays pixels of `WITH` samples, the last of them alpha, on white; `WITHOUT` is one less.
fn flatten<const WITH: usize, const WITHOUT: usize>(bytes: &mut Vec<u8>) {
    let mut write = 0;
    for read in (0..bytes.len()).step_by(WITH) {
        let pixel: [u8; WITH] = bytes.get(read..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; WITH]);
        let alpha = u16::from(pixel.last().copied().unwrap_or(255));
        for (to, sample) in bytes.iter_mut().skip(write).zip(pixel.iter().take(WITHOUT)) {
            let mixed = (u16::from(*sample) * alpha + 255 * (255 - alpha) + 127) / 255;
            *to = u8::try_from(mixed).unwrap_or(255);
        }
        write += WITHOUT;
    }
    bytes.truncate(write);
}

fn turned(picture: Native, orientation: Orientation) -> Native {
    if orientation.is_upright() {
        return picture;
    }
    let bytes = match picture.samples {
        1 => turn::<1>(&picture, orientation),
        _ => turn::<3>(&picture, orientation),
    };
    let (width, height) =
        if orientation.swaps_sides() { (picture.height, picture.width) } else { (picture.width, picture.height) };
    Native { width, height, samples: picture.samples, bytes }
}

/// Rows and columns that are turned together, so that both sides of a turn stay in the cache.
const TILE: usize = 32;

fn turn<const N: usize>(picture: &Native, orientation: Orientation) -> Vec<u8> {
    let source = picture.bytes.as_chunks::<N>().0;
    let (w, h) = (picture.width as usize, picture.height as usize);
    let (last_x, last_y) = (w - 1, (h - 1) * w);
    // Where the upper left pixel of the upright picture comes from, and what a step to the right
    // and a step down mean there (CIPA DC-008, Orientation): forwards or backwards.
    let (start, right, down) = match orientation.to_exif() {
        2 => (last_x, Step::Back(1), Step::On(w)),
        3 => (last_y + last_x, Step::Back(1), Step::Back(w)),
        4 => (last_y, Step::On(1), Step::Back(w)),
        5 => (0, Step::On(w), Step::On(1)),
        6 => (last_y, Step::Back(w), Step::On(1)),
        7 => (last_y + last_x, Step::Back(w), Step::Back(1)),
        8 => (last_x, Step::On(w), Step::Back(1)),
        _ => (0, Step::On(1), Step::On(w)),
    };
    let width = if orientation.swaps_sides() { h } else { w };
    let mut out = vec![[0u8; N]; source.len()];
    for (band_index, band) in out.chunks_mut(width * TILE).enumerate() {
        for left in (0..width).step_by(TILE) {
            for (row, line) in band.chunks_mut(width).enumerate() {
                let mut from = right.by(left, down.by(band_index * TILE + row, start));
                for pixel in line.iter_mut().skip(left).take(TILE) {
                    *pixel = source.get(from).copied().unwrap_or([0; N]);
                    from = right.by(1, from);
                }
            }
        }
    }
    out.into_flattened()
}

#[derive(Clone, Copy)]
enum Step {
    On(usize),
    Back(usize),
}

impl Step {
    fn by(self, count: usize, from: usize) -> usize {
        match self {
            Self::On(step) => from + count * step,
            Self::Back(step) => from.wrapping_sub(count * step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a b c
    /// d e f
    fn letters() -> Native {
        Native { width: 3, height: 2, samples: 1, bytes: b"abcdef".to_vec() }
    }

    #[test]
    fn each_orientation_is_turned_upright() {
        let table: [(u16, u32, &[u8]); 8] = [
            (1, 3, b"abcdef"),
            (2, 3, b"cbafed"),
            (3, 3, b"fedcba"),
            (4, 3, b"defabc"),
            (5, 2, b"adbecf"),
            (6, 2, b"daebfc"),
            (7, 2, b"fcebda"),
            (8, 2, b"cfbead"),
        ];
        for (value, width, bytes) in table {
            let native = turned(letters(), Orientation::from_exif(value).unwrap());
            assert_eq!((native.width, native.bytes.as_slice()), (width, bytes), "{value}");
        }
    }

    #[test]
    fn a_large_picture_is_turned_as_a_small_one() {
        let (w, h) = (70u32, 45u32);
        let bytes: Vec<u8> = (0..h).flat_map(|y| (0..w).map(move |x| u8::try_from((x * 7 + y * 13) % 251).unwrap())).collect();
        let source = Native { width: w, height: h, samples: 1, bytes };
        let six = Orientation::from_exif(6).unwrap();
        let eight = Orientation::from_exif(8).unwrap();
        let there = turned(source.clone(), six);
        assert_eq!(there.bytes[0], source.bytes[((h - 1) * w) as usize]);
        assert_eq!(turned(there, eight), source);
    }

    #[test]
    fn what_is_transparent_lies_on_white() {
        let mut bytes = vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128];
        flatten::<4, 3>(&mut bytes);
        assert_eq!(bytes, [10, 20, 30, 255, 255, 255, 127, 127, 127]);
    }

    #[test]
    fn every_kind_of_png_becomes_8_bits() {
        use png::{BitDepth as B, ColorType as C};
        let table = [
            ((C::Grayscale, B::One), &[0b1010_0000][..], (1, &[255, 0, 255][..])),
            ((C::Indexed, B::Eight), &[0, 1, 0], (3, &[1, 2, 3, 4, 5, 6, 1, 2, 3])),
            ((C::Grayscale, B::Sixteen), &[1, 2, 3, 4, 5, 6], (1, &[1, 3, 5])),
            ((C::GrayscaleAlpha, B::Eight), &[9, 255, 9, 0, 9, 255], (1, &[9, 255, 9])),
            ((C::Rgba, B::Eight), &[1, 2, 3, 255, 1, 2, 3, 0, 1, 2, 3, 255], (3, &[1, 2, 3, 255, 255, 255, 1, 2, 3])),
        ];
        for ((colour, depth), data, (samples, bytes)) in table {
            let mut file = Vec::new();
            let mut encoder = png::Encoder::new(&mut file, 3, 1);
            encoder.set_color(colour);
            encoder.set_depth(depth);
            if colour == C::Indexed {
                encoder.set_palette(vec![1, 2, 3, 4, 5, 6]);
            }
            encoder.write_header().unwrap().write_image_data(data).unwrap();
            let native = native(&file, Orientation::UPRIGHT).unwrap();
            assert_eq!((native.samples, native.bytes.as_slice()), (samples, bytes), "{colour:?} {depth:?}");
        }
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        for bytes in [&b""[..], b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n", b"hello"] {
            assert!(upright_jpeg(bytes, Orientation::UPRIGHT, EdgeBlocks::Recode, 90).is_err());
            assert!(native(bytes, Orientation::UPRIGHT).is_err());
        }
    }
}
