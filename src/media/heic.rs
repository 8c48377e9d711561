//! HEIC as a JPEG. The only file that names heic-decoder, and only a process of its own calls it.

use heic_decoder::{ChromaUpsampling, ColorInfo, DecodeOptions, DecodedImage, RgbOptions};

use super::heif::Index;
use super::isobmff::boxes;
use super::jpeg::{self, Encoding, Samples};
use super::profile;
use super::raster::RasterError;
use super::source::Source;
use crate::capture::media::Orientation;

/// Most pixels that are decoded: at twenty bytes each all but the address space that the process has.
/// Phones take 12 to 50 million.
pub const PIXELS_MAX: u64 = 64_000_000;

/// Boxes of a file, or of its index; ours has some ten, and two for each tile.
const BOXES_MAX: u32 = 16_384;

/// Code points of ITU-T H.273.
const TRANSFER_PQ: u16 = 16;
const TRANSFER_HLG: u16 = 18;
const UNSAID: u16 = 2;
/// That of JPEG, which has two numbers.
const MATRICES_BT601: [u16; 2] = [5, 6];

/// Decodes the picture that is shown, turned, mirrored and cut as the file says, and codes it as a
/// baseline JPEG, grey or YCbCr, chroma as fine as in the source. Wide colours that the file tells by
/// number get a profile in it.
///
/// Some 0.6 s for 12 million pixels; some 20 bytes of memory for each.
///
/// # Errors
/// A picture over [`PIXELS_MAX`], of a high dynamic range, or one that does not decode.
pub fn upright_jpeg(file: Vec<u8>, quality: u8) -> Result<Vec<u8>, RasterError> {
    let told = heic_decoder::probe(&file).map_err(|_| RasterError::Undecodable)?;
    let pixels = (told.coded_width as u64).saturating_mul(told.coded_height as u64);
    if pixels > PIXELS_MAX {
        return Err(RasterError::TooLarge);
    }
    let turn = plain_turn(&file);
    let options = DecodeOptions { apply_transforms: turn.is_none() };
    let picture = heic_decoder::decode_with(&file, &options).map_err(|_| RasterError::Undecodable)?;
    drop(file);
    let turn = turn.unwrap_or(Orientation::UPRIGHT);
    let colours = meant(picture.color_info);
    if [TRANSFER_PQ, TRANSFER_HLG].contains(&colours.transfer_characteristics) {
        return Err(RasterError::HighRange);
    }
    // Grey has no primaries.
    let profile = if picture.chroma_format_idc == 0 { None } else { profile::of_primaries(colours.color_primaries) };
    let jpeg = if keeps_its_planes(&picture, colours) {
        jpeg::encode_planes(planes(picture, colours.full_range)?, turn, quality)
    } else {
        let size = (side(picture.width)?, side(picture.height)?);
        let (is_grey, has_full_chroma) = (picture.chroma_format_idc == 0, picture.chroma_format_idc > 1);
        let rgb = rgb(picture, colours)?;
        let (samples, bytes) =
            if is_grey { (1, rgb.as_chunks::<3>().0.iter().map(|[grey, ..]| *grey).collect()) } else { (3, rgb) };
        jpeg::encode(bytes, size, samples, turn, Encoding { quality, has_full_chroma })
    };
    let jpeg = jpeg.map_err(|_| RasterError::Uncodable)?;
    Ok(match profile {
        Some(profile) => jpeg::with_profile(&jpeg, &profile),
        None => jpeg,
    })
}

/// How a picture is turned that nothing else is done to: coding turns it with less loss, for it knows
/// which pixels a sample of chroma stands for, also where an edge cuts some off. `None`: it is cut too, or
/// made of one that may be turned itself.
fn plain_turn(file: &[u8]) -> Option<Orientation> {
    let (top, _) = boxes(&file, 0..file.length_bytes(), BOXES_MAX).ok()?;
    let index = Index::read(&file, top.iter().find(|top| top.kind == *b"meta")?, BOXES_MAX).ok()?;
    let is_plain = index.items.get(&index.primary).is_some_and(|item| matches!(&item.kind, b"hvc1" | b"grid"));
    let is_cut = index.properties_of(index.primary).any(|(_, property)| property.kind == *b"clap");
    (is_plain && !is_cut).then(|| index.turn_of(index.primary))
}

/// What the numbers of samples mean: as the file says, else as every other decoder takes them.
fn meant(said: Option<ColorInfo>) -> ColorInfo {
    let [matrix, _] = MATRICES_BT601;
    let silent =
        ColorInfo { color_primaries: UNSAID, transfer_characteristics: UNSAID, matrix_coefficients: UNSAID, full_range: false };
    let said = said.unwrap_or(silent);
    ColorInfo { matrix_coefficients: if said.matrix_coefficients == UNSAID { matrix } else { said.matrix_coefficients }, ..said }
}

/// True where luma and chroma are those of a JPEG, but for their range: no picture of red, green and
/// blue has to lie between, in which colours would be cut and chroma be scaled there and back.
fn keeps_its_planes(picture: &DecodedImage, colours: ColorInfo) -> bool {
    let at = picture.chroma_sampling;
    // A JPEG's chroma stands in the midst of its pixels; a quarter of a sample beside is what everybody
    // takes for that. Further off are those of a picture that was cut or turned at an odd place.
    let is_in_place = [at.origin_x, at.origin_y].iter().all(|origin| (0.0..=1.0).contains(origin));
    let is_ycc = picture.chroma_format_idc == 0 || MATRICES_BT601.contains(&colours.matrix_coefficients);
    picture.alpha.is_none() && is_ycc && is_in_place
}

/// The components of the file, in 8 bits of full range.
fn planes(picture: DecodedImage, is_full_range: bool) -> Result<Vec<Samples>, RasterError> {
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    let mut planes = vec![plane(picture.y, (width, height), &levels(picture.bit_depth_luma, is_full_range, false)?)?];
    if picture.chroma_format_idc > 0 {
        let size = (side(picture.cb_width)?, side(picture.cb_height)?);
        let levels = levels(picture.bit_depth_chroma, is_full_range, true)?;
        planes.push(plane(picture.cb, size, &levels)?);
        planes.push(plane(picture.cr, size, &levels)?);
    }
    Ok(planes)
}

/// `samples` is given away, for it is large.
#[allow(clippy::needless_pass_by_value)]
fn plane(samples: Vec<i32>, (width, height): (u32, u32), levels: &[u8]) -> Result<Samples, RasterError> {
    let level = |sample: &i32| usize::try_from(*sample).ok().and_then(|sample| levels.get(sample)).copied();
    let bytes = samples.iter().map(level).collect::<Option<_>>().ok_or(RasterError::Undecodable)?;
    Ok(Samples { width, height, bytes })
}

/// What each value of a sample of so many bits is in 8 bits of full range (H.273 §8.3, T.871 §7).
fn levels(bits: u32, is_full_range: bool, is_chroma: bool) -> Result<Vec<u8>, RasterError> {
    if !(8..=16).contains(&bits) {
        return Err(RasterError::Undecodable);
    }
    let (last, unit) = (f64::from((1_u32 << bits) - 1), f64::from(1_u32 << (bits - 8)));
    let (zero, span, middle) = match (is_full_range, is_chroma) {
        (true, false) => (0.0, last, 0.0),
        (true, true) => (128.0 * unit, last, 128.0),
        (false, false) => (16.0 * unit, 219.0 * unit, 0.0),
        (false, true) => (128.0 * unit, 224.0 * unit, 128.0),
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast of a float saturates
    let level = |value: u32| ((f64::from(value) - zero) * 255.0 / span + middle).round() as u8;
    Ok((0..1 << bits).map(level).collect())
}

fn side(pixels: usize) -> Result<u32, RasterError> {
    u32::try_from(pixels).map_err(|_| RasterError::TooLarge)
}

/// RGB of 8 bits; what is transparent lies on white. Chroma is repeated, not smoothed: coding takes
/// the mean of the same pixels again, and so the source's own chroma.
fn rgb(mut picture: DecodedImage, colours: ColorInfo) -> Result<Vec<u8>, RasterError> {
    let at = &mut picture.chroma_sampling;
    (at.origin_x, at.origin_y) = (in_the_midst(at.origin_x, at.sub_x), in_the_midst(at.origin_y, at.sub_y));
    let options = RgbOptions { color: Some(colours), upsampling: ChromaUpsampling::Nearest };
    if picture.alpha.is_none() {
        return Ok(picture.to_rgb8_with_options(&options).map_err(|_| RasterError::Undecodable)?.data);
    }
    let rgba = picture.to_rgba8_with_options(&options).map_err(|_| RasterError::Undecodable)?;
    let on_white = |colour: u8, alpha: u8| {
        let (colour, alpha) = (u16::from(colour), u16::from(alpha));
        let own = if rgba.premultiplied { colour } else { (colour * alpha + 127) / 255 };
        u8::try_from(own + 255 - alpha).unwrap_or(u8::MAX)
    };
    let pixels = rgba.data.as_chunks::<4>().0;
    Ok(pixels.iter().flat_map(|[r, g, b, a]| [r, g, b].map(|colour| on_white(*colour, *a))).collect())
}

/// A chroma sample of two pixels that is said to stand on one of them is as near to the other: it is
/// taken to stand between, and is then that of both.
fn in_the_midst(origin: f32, pixels: u32) -> f32 {
    if pixels == 1 || origin.fract() != 0.0 {
        return origin;
    }
    if origin > 0.5 { origin - 0.5 } else { origin + 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_range_and_depth_become_those_of_a_jpeg() {
        let table = [
            // given bits, full range, chroma, a value, then its level
            (8, true, false, 77, 77),
            (8, true, true, 201, 201),
            (8, false, false, 16, 0),
            (8, false, false, 235, 255),
            (8, false, false, 250, 255),
            (8, false, true, 128, 128),
            (8, false, true, 240, 255),
            (8, false, true, 16, 1),
            (10, true, false, 1023, 255),
            (10, true, true, 512, 128),
            (10, false, false, 64, 0),
            (10, false, true, 960, 255),
            (16, true, false, 65_535, 255),
        ];
        for (bits, is_full_range, is_chroma, value, level) in table {
            let levels = levels(bits, is_full_range, is_chroma).unwrap();
            assert_eq!((levels.len(), levels[value]), (1 << bits, level), "{bits} {is_full_range} {is_chroma} {value}");
        }
        assert!(levels(7, true, false).is_err() && levels(17, true, false).is_err());
    }

    #[test]
    fn a_matrix_that_is_not_said_is_that_of_jpeg() {
        let said = |matrix| ColorInfo {
            color_primaries: 1,
            transfer_characteristics: 13,
            matrix_coefficients: matrix,
            full_range: true,
        };
        assert_eq!(meant(None).matrix_coefficients, 5);
        assert_eq!(meant(Some(said(2))), said(5));
        assert_eq!(meant(Some(said(1))), said(1));
    }

    #[test]
    fn chroma_stands_in_the_midst_of_its_pixels() {
        let table = [(0.0, 2, 0.5), (1.0, 2, 0.5), (0.5, 2, 0.5), (-1.0, 2, -0.5), (-0.5, 2, -0.5), (0.0, 1, 0.0)];
        for (origin, pixels, then) in table {
            assert!((in_the_midst(origin, pixels) - then).abs() < f32::EPSILON, "{origin} {pixels}");
        }
    }

    #[test]
    fn what_is_no_heic_is_an_error() {
        for file in [&b""[..], b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"hello"] {
            assert_eq!(upright_jpeg(file.to_vec(), 90), Err(RasterError::Undecodable));
        }
    }
}
