//! A baseline JPEG of samples: what cannot keep its coefficients is coded anew.

use super::dct::Basis;
use super::plane::{Layout, Plane};
use super::read::Picture;
use super::samples::Samples;
use super::transcode::has_baseline_steps;
use super::turn::{Moves, Turn, ZIGZAG};
use super::{Unfit, write};
use crate::capture::media::Orientation;

/// Steps of quantization for quality 50, by rows (T.81 tables K.1 and K.2).
const LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80,
    62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,
    112, 100, 103, 99,
];
const CHROMA: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99,
];

/// Steps for a quality of 1 to 100, zigzag, as everybody scales them.
fn steps(table: &[u8; 64], quality: u8) -> [u16; 64] {
    let quality = u16::from(quality.clamp(1, 100));
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    ZIGZAG.map(|(row, column)| {
        let at = usize::from(row) * 8 + usize::from(column);
        let step = table.get(at).copied().unwrap_or(1);
        ((u16::from(step) * percent + 50) / 100).clamp(1, 255)
    })
}

/// Turns a picture of which some blocks cannot stay: moves those of the components that can keep
/// them; decodes the other components, turns them and codes them again in the source's own sampling.
/// No colour is converted and no chroma scaled, and their steps of quantization are half the
/// source's: what is lost is a quarter of what its own coding has lost.
pub(super) fn turned(picture: Picture, orientation: Orientation) -> Result<Vec<u8>, Unfit> {
    const NO_STEPS: Unfit = Unfit::Kind("it has no quantization table");
    let turn = Turn::upright(orientation);
    let (layout, basis) = (turn.layout(&picture.layout), Basis::new());
    let mut planes = Vec::with_capacity(picture.planes.len());
    let moves = Moves::new(turn);
    for plane in picture.planes {
        if has_baseline_steps(&plane) && turn.keeps_blocks(&plane, &picture.layout) {
            planes.push(moves.plane(&plane, &layout));
            continue;
        }
        let steps = plane.steps.ok_or(NO_STEPS)?;
        let samples = Samples::decode(&plane, &steps, &picture.layout, &basis);
        let shift = plane.shift(&picture.layout, &samples);
        let finer = turn.steps(&steps).map(|step| step.div_ceil(2).min(255));
        let (h, v) = if turn.swaps { (plane.v, plane.h) } else { (plane.h, plane.v) };
        drop(plane.blocks);
        planes.push(samples.turned(turn, shift).encode((plane.id, h, v), &finer, &layout, &basis));
    }
    write::write(&layout, &planes, Turn::upright(Orientation::UPRIGHT))
}

/// How a picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// 1 to 100.
    pub quality: u8,
    /// Chroma for every pixel (4:4:4); false: for each two by two (4:2:0), as a camera has it.
    pub has_full_chroma: bool,
}

/// Codes grey samples, or RGB as YCbCr (T.871 §7), turned upright. `size`: width and height.
///
/// # Errors
/// [`Unfit::Kind`] where `bytes` are not as many pixels of one or three samples.
pub fn encode(
    bytes: Vec<u8>,
    size: (u32, u32),
    samples: u8,
    orientation: Orientation,
    encoding: Encoding,
) -> Result<Vec<u8>, Unfit> {
    let (width, height) = size;
    let Encoding { quality, has_full_chroma } = encoding;
    let area = width as usize * height as usize;
    if area == 0 || width.max(height) > 65_535 || bytes.len() != area * usize::from(samples) {
        return Err(Unfit::Kind("its samples are not what its size says"));
    }
    let components = match samples {
        1 => vec![Samples { width, height, bytes }],
        3 if has_full_chroma => ycbcr::<1>(bytes, width, height),
        3 => ycbcr::<2>(bytes, width, height),
        _ => return Err(Unfit::Kind("its samples are neither grey nor RGB")),
    };
    encode_planes(components, orientation, quality)
}

/// Codes grey samples, or luma and two chromas as T.871 §7 means them, as they are, turned upright. A
/// sample of chroma stands for one pixel or two, across and down.
///
/// # Errors
/// [`Unfit::Kind`] where they are not as many as that.
pub fn encode_planes(components: Vec<Samples>, orientation: Orientation, quality: u8) -> Result<Vec<u8>, Unfit> {
    const UNFIT: Unfit = Unfit::Kind("its samples are not what its size says");
    let [luma, chroma @ ..] = components.as_slice() else { return Err(UNFIT) };
    let (width, height) = (luma.width, luma.height);
    let (chroma_width, chroma_height) = chroma.first().map_or((width, height), |blue| (blue.width, blue.height));
    let is_whole = |samples: &Samples| samples.bytes.len() == samples.width as usize * samples.height as usize;
    let is_alike = chroma.iter().all(|samples| (samples.width, samples.height) == (chroma_width, chroma_height));
    let factor = |pixels: u32, samples: u32| [(1, pixels), (2, pixels.div_ceil(2))].into_iter().find(|(_, n)| *n == samples);
    let (Some((across, _)), Some((down, _))) = (factor(width, chroma_width), factor(height, chroma_height)) else {
        return Err(UNFIT);
    };
    let has_size = width.min(height) > 0 && width.max(height) <= 65_535;
    if !matches!(chroma.len(), 0 | 2) || !has_size || !is_alike || !components.iter().all(is_whole) {
        return Err(UNFIT);
    }
    let factors = [(across, down), (1, 1), (1, 1)];
    let turn = Turn::upright(orientation);
    let before = Layout::new(width, height, factors.into_iter().take(components.len()));
    let (layout, basis) = (turn.layout(&before), Basis::new());
    let tables = [steps(&LUMA, quality), steps(&CHROMA, quality), steps(&CHROMA, quality)];
    let mut planes: Vec<Plane> = Vec::with_capacity(components.len());
    for (((samples, (h, v)), steps), id) in components.into_iter().zip(factors).zip(tables).zip(1..) {
        let reach = |pixels: u32, factor: u32, most: u32, samples: u32| {
            if factor < most && samples * 2 > pixels { 0.5 } else { 0.0 }
        };
        let shift = (reach(width, h, before.h_max, samples.width), reach(height, v, before.v_max, samples.height));
        let (h, v) = if turn.swaps { (v, h) } else { (h, v) };
        planes.push(samples.turned(turn, shift).encode((id, h, v), &steps, &layout, &basis));
    }
    write::write(&layout, &planes, Turn::upright(Orientation::UPRIGHT))
}

/// Luma of each pixel, and chroma of each `EVERY` by `EVERY` (1 or 2): their mean.
/// `rgb` is given away, for it is large.
#[allow(clippy::needless_pass_by_value)]
fn ycbcr<const EVERY: usize>(rgb: Vec<u8>, width: u32, height: u32) -> Vec<Samples> {
    let every = u32::try_from(EVERY).unwrap_or(1);
    let (w, (cw, ch)) = (width as usize, (width.div_ceil(every), height.div_ceil(every)));
    let pixels = rgb.as_chunks::<3>().0;
    let mut luma = Vec::with_capacity(pixels.len());
    luma.extend(pixels.iter().map(|[r, g, b]| {
        let [r, g, b] = [r, g, b].map(|s| i32::from(*s));
        shifted(19_595 * r + 38_470 * g + 7_471 * b)
    }));
    let (mut blue, mut red) = (Vec::with_capacity((cw * ch) as usize), Vec::with_capacity((cw * ch) as usize));
    for lines in pixels.chunks(w * EVERY) {
        let (upper, lower) = lines.split_at_checked(w).unwrap_or((lines, lines));
        let lower = if lower.is_empty() { upper } else { lower };
        for (above, below) in upper.chunks(EVERY).zip(lower.chunks(EVERY)) {
            let mut sum = [0; 3];
            for pixel in [above.first(), above.last(), below.first(), below.last()].into_iter().flatten() {
                sum.iter_mut().zip(pixel).for_each(|(sum, sample)| *sum += i32::from(*sample));
            }
            // Of four pixels, in 65,536ths of a quarter; 128 is the middle.
            let [r, g, b] = sum;
            blue.push(shifted((-11_059 * r - 21_709 * g + 32_768 * b + (128 << 18)) / 4));
            red.push(shifted((32_768 * r - 27_439 * g - 5_329 * b + (128 << 18)) / 4));
        }
    }
    vec![
        Samples { width, height, bytes: luma },
        Samples { width: cw, height: ch, bytes: blue },
        Samples { width: cw, height: ch, bytes: red },
    ]
}

/// Rounded from 65,536ths.
fn shifted(value: i32) -> u8 {
    u8::try_from((value + 32_768) >> 16).unwrap_or(u8::MAX)
}
