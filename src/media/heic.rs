//! HEIC as a JPEG. The only file that names heic-decoder, and only a process of its own calls it.

use heic_decoder::{ChromaUpsampling, ColorInfo, DecodedImage, RgbOptions};

use super::jpeg;
use super::raster::{RasterError, Upright};
use crate::capture::media::Orientation;

/// Most pixels that are decoded: at twenty bytes each all but the address space that the process has.
/// Phones take 12 to 50 million.
pub const PIXELS_MAX: u64 = 64_000_000;

/// Code points of ITU-T H.273.
const PRIMARIES_BT2020: u16 = 9;
const PRIMARIES_P3: [u16; 2] = [11, 12];
const TRANSFER_PQ: u16 = 16;
const TRANSFER_HLG: u16 = 18;
const MATRIX_UNSAID: u16 = 2;
const MATRIX_BT601: u16 = 6;

/// Decodes the picture that is shown, turned, mirrored and cut as the file says, and codes it as a
/// baseline JPEG, grey or YCbCr, chroma as fine as in the source. Without a profile beside the file
/// (`has_profile`) its colours become sRGB.
///
/// Some 0.7 s for 12 million pixels; some 20 bytes of memory for each.
///
/// # Errors
/// A picture over [`PIXELS_MAX`], of a high dynamic range, or one that does not decode.
pub fn upright_jpeg(file: Vec<u8>, has_profile: bool, quality: u8) -> Result<Upright, RasterError> {
    let told = heic_decoder::probe(&file).map_err(|_| RasterError::Undecodable)?;
    let pixels = (told.coded_width as u64).saturating_mul(told.coded_height as u64);
    if pixels > PIXELS_MAX {
        return Err(RasterError::TooLarge);
    }
    let picture = heic_decoder::decode(&file).map_err(|_| RasterError::Undecodable)?;
    drop(file);
    if picture.color_info.is_some_and(|c| [TRANSFER_PQ, TRANSFER_HLG].contains(&c.transfer_characteristics)) {
        return Err(RasterError::HighRange);
    }
    let has_full_chroma = picture.chroma_format_idc > 1;
    let (is_grey, primaries) = (picture.chroma_format_idc == 0, picture.color_info.map(|c| c.color_primaries));
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    let mut rgb = samples(&picture)?;
    drop(picture);
    if let Some(matrix) = primaries.filter(|_| !has_profile).and_then(to_srgb) {
        convert(&mut rgb, &matrix);
    }
    let components = if is_grey { 1 } else { 3 };
    if is_grey {
        rgb = rgb.as_chunks::<3>().0.iter().map(|[grey, ..]| *grey).collect();
    }
    let encoding = jpeg::Encoding { quality, has_full_chroma };
    let jpeg =
        jpeg::encode(rgb, (width, height), components, Orientation::UPRIGHT, encoding).map_err(|_| RasterError::Uncodable)?;
    Ok(Upright { jpeg, width, height, components, is_lossless: false })
}

fn side(pixels: usize) -> Result<u32, RasterError> {
    u32::try_from(pixels).map_err(|_| RasterError::TooLarge)
}

/// RGB of 8 bits; what is transparent lies on white. Chroma is repeated, not smoothed: coding takes
/// the mean of the same pixels again, and so the source's own chroma.
fn samples(picture: &DecodedImage) -> Result<Vec<u8>, RasterError> {
    // A matrix that is not said is that of JPEG, as every other decoder takes it.
    let said = picture.color_info;
    let meant = said.map(|c| ColorInfo {
        matrix_coefficients: if c.matrix_coefficients == MATRIX_UNSAID { MATRIX_BT601 } else { c.matrix_coefficients },
        ..c
    });
    let options = RgbOptions { color: meant, upsampling: ChromaUpsampling::Nearest };
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

type Matrix = [[f32; 3]; 3];

/// From linear light of these primaries to that of sRGB, which shares their white (D65; the white of
/// DCI-P3 is taken for it). `None` where they are those of sRGB, or near, or not said.
fn to_srgb(primaries: u16) -> Option<Matrix> {
    if PRIMARIES_P3.contains(&primaries) {
        return Some([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]]);
    }
    (primaries == PRIMARIES_BT2020).then_some([
        [1.6605, -0.5876, -0.0729],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ])
}

/// Steps of linear light that are told apart: half a level where the curve is steepest.
const STEPS: u16 = 8192;

/// What lies outside of sRGB gets its nearest value in each colour.
fn convert(rgb: &mut [u8], matrix: &Matrix) {
    let linear: Vec<f32> = (0..=u8::MAX).map(|code| to_linear(f32::from(code) / 255.0)).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 255
    let coded: Vec<u8> = (0..=STEPS).map(|step| (to_coded(f32::from(step) / f32::from(STEPS)) * 255.0).round() as u8).collect();
    for pixel in rgb.as_chunks_mut::<3>().0 {
        let [r, g, b] = pixel.map(|code| linear.get(usize::from(code)).copied().unwrap_or(0.0));
        for (to, [of_r, of_g, of_b]) in pixel.iter_mut().zip(matrix) {
            let light = (of_r * r + of_g * g + of_b * b).clamp(0.0, 1.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to STEPS
            let step = (light * f32::from(STEPS)).round() as usize;
            *to = coded.get(step).copied().unwrap_or(*to);
        }
    }
}

/// IEC 61966-2-1; Display P3 has the same curve.
fn to_linear(code: f32) -> f32 {
    if code <= 0.040_45 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) }
}

fn to_coded(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_colours_become_those_of_srgb() {
        // Display P3 to sRGB, as three colour engines agree.
        let table = [([200, 120, 90], [213, 115, 83]), ([128, 128, 128], [128, 128, 128]), ([255, 255, 255], [255, 255, 255])];
        for (given, then) in table {
            let mut rgb = given;
            convert(&mut rgb, &to_srgb(12).unwrap());
            let apart = rgb.iter().zip(then).map(|(a, b)| a.abs_diff(b)).max();
            assert!(apart <= Some(1), "{given:?} became {rgb:?}, not {then:?}");
        }
        assert!(to_srgb(1).is_none() && to_srgb(2).is_none());
    }

    #[test]
    fn what_is_no_heic_is_an_error() {
        for file in [&b""[..], b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"hello"] {
            assert_eq!(upright_jpeg(file.to_vec(), false, 90), Err(RasterError::Undecodable));
        }
    }
}
