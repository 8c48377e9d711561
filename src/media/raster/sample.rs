//! A drawn photo for the demo and for tests: a forearm on a drape, a wound, a ruler, and words
//! that say that it is nobody's.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

const WIDTH: u32 = 1600;
const HEIGHT: u32 = 1200;
const QUALITY: u8 = 88;

type Rgb = [f32; 3];

/// A JPEG of 1600 × 1200 pixels; each call gives the same bytes. It has no Exif:
/// [`crate::media::exif::with_location`] makes a phone's photo of it.
#[must_use]
pub fn draw_sample_photo() -> Vec<u8> {
    let mut samples = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let pixel = pixel(x, y);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped to a byte
            samples.extend(pixel.map(|s| s.clamp(0.0, 255.0) as u8));
        }
    }
    let mut jpeg = Vec::new();
    // Encoding into memory cannot fail with a buffer of the size it announces.
    let _ = JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode(&samples, WIDTH, HEIGHT, ExtendedColorType::Rgb8);
    jpeg
}

#[allow(clippy::cast_precision_loss)] // coordinates are below 2^24
fn pixel(x: u32, y: u32) -> Rgb {
    if let Some(ruler) = ruler(x, y) {
        return ruler;
    }
    let grain = noise(x, y) * 6.0 - 3.0;
    let cloud = noise_at(x as f32 / 40.0, y as f32 / 40.0);
    let (fx, fy) = (x as f32, y as f32);
    // The arm lies across, thicker to the right.
    let (middle, half) = (520.0 + fx * 0.03, 210.0 + fx * 0.06);
    let across = (fy - middle) / half;
    let colour = if across.abs() > 1.0 {
        let shade = 1.0 - 0.45 * (1.0 - (across.abs() - 1.0) * 3.0).clamp(0.0, 1.0);
        scale([44.0, 112.0, 118.0], shade * (0.92 + 0.16 * cloud))
    } else {
        let light = 0.45 + 0.55 * (1.0 - (across + 0.25).powi(2)).max(0.0).sqrt();
        let skin = scale([226.0, 178.0, 150.0], light * (0.96 + 0.08 * cloud));
        wound(fx, fy, cloud).map_or(skin, |(wound, depth)| mix(skin, scale(wound, light), depth))
    };
    colour.map(|s| s + grain)
}

/// Colour of the wound and how far it covers the skin, 0 to 1.
fn wound(x: f32, y: f32, cloud: f32) -> Option<(Rgb, f32)> {
    let (dx, dy) = ((x - 800.0) / 170.0, (y - 530.0) / 95.0);
    let edge = 1.0 + 0.35 * (noise_at(x / 55.0, y / 45.0) - 0.5);
    let far = dx.hypot(dy) / edge;
    if far > 1.5 {
        return None;
    }
    let bed = if noise_at(x / 18.0 + 9.0, y / 14.0) > 0.68 { [196.0, 170.0, 96.0] } else { [150.0, 38.0, 36.0] };
    let bed = scale(bed, 0.8 + 0.4 * cloud);
    Some(match far {
        far if far < 0.9 => (bed, 1.0),
        far if far < 1.0 => ([112.0, 26.0, 30.0], 1.0),
        far => ([206.0, 96.0, 88.0], (1.5 - far) * 1.4),
    })
}

/// A paper ruler: 100 pixels are one centimetre.
fn ruler(x: u32, y: u32) -> Option<Rgb> {
    const LEFT: u32 = 280;
    const TOP: u32 = 900;
    let (x, y) = (x.checked_sub(LEFT)?, y.checked_sub(TOP)?);
    if x >= 1040 || y >= 190 {
        return None;
    }
    let at = x.checked_sub(20);
    let tick = at.filter(|at| *at <= 1000 && at % 10 < 2).is_some_and(|at| {
        let length = if at % 100 < 2 { 44 } else { 22 };
        y < length
    });
    let digits = (0..=10).any(|cm| letter_at(&cm.to_string(), x, y, 12 + cm * 100, 50, 3));
    let words = letter_at("TEST PICTURE - NO PATIENT - CM", x, y, 66, 116, 5);
    let ink = tick || digits || words;
    Some(if ink { [24.0, 24.0, 28.0] } else { [244.0, 243.0, 236.0] })
}

/// True where a text, drawn from (`left`, `top`) with dots of `dot` pixels, has ink.
fn letter_at(text: &str, x: u32, y: u32, left: u32, top: u32, dot: u32) -> bool {
    let (Some(x), Some(y)) = (x.checked_sub(left), y.checked_sub(top)) else { return false };
    let (column, row) = (x / dot, y / dot);
    let letter = text.chars().nth((column / 6) as usize);
    column % 6 < 5 && row < 7 && letter.is_some_and(|c| rows_of(c) >> (row * 5 + 4 - column % 6) & 1 == 1)
}

/// Seven rows of five dots, the top row in the lowest bits.
fn rows_of(letter: char) -> u64 {
    let rows: [u64; 7] = match letter {
        '0' | 'O' => [14, 17, 17, 17, 17, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 6, 8, 16, 31],
        '3' => [30, 1, 1, 14, 1, 1, 30],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        'A' => [14, 17, 17, 31, 17, 17, 17],
        'C' => [14, 17, 16, 16, 16, 17, 14],
        'E' => [31, 16, 16, 30, 16, 16, 31],
        'I' => [14, 4, 4, 4, 4, 4, 14],
        'M' => [17, 27, 21, 21, 17, 17, 17],
        'N' => [17, 25, 21, 19, 17, 17, 17],
        'P' => [30, 17, 17, 30, 16, 16, 16],
        'R' => [30, 17, 17, 30, 20, 18, 17],
        'S' => [15, 16, 16, 14, 1, 1, 30],
        'T' => [31, 4, 4, 4, 4, 4, 4],
        'U' => [17, 17, 17, 17, 17, 17, 14],
        '-' => [0, 0, 0, 31, 0, 0, 0],
        _ => [0; 7],
    };
    rows.iter().rev().fold(0, |bits, row| bits << 5 | row)
}

fn scale(colour: Rgb, by: f32) -> Rgb {
    colour.map(|s| s * by)
}

fn mix(under: Rgb, over: Rgb, share: f32) -> Rgb {
    let share = share.clamp(0.0, 1.0);
    let mut mixed = scale(under, 1.0 - share);
    mixed.iter_mut().zip(over).for_each(|(m, o)| *m += o * share);
    mixed
}

/// 0 to 1, the same for the same place.
#[allow(clippy::cast_precision_loss)] // 16 bits
fn noise(x: u32, y: u32) -> f32 {
    let mut h = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    (h & 0xFFFF) as f32 / 65_535.0
}

/// Noise between the points of a grid, smooth.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
fn noise_at(x: f32, y: f32) -> f32 {
    let (cx, cy) = (x as u32, y as u32);
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (ease(x.fract()), ease(y.fract()));
    let row = |y| noise(cx, y) * (1.0 - tx) + noise(cx + 1, y) * tx;
    row(cy) * (1.0 - ty) + row(cy + 1) * ty
}
