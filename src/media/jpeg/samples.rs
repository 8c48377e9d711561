//! Components as samples: what a picture is decoded to where its blocks cannot stay, and what it is
//! coded from again.

use super::dct::{Basis, Square};
use super::plane::{EMPTY, Layout, Plane, SIDE};
use super::turn::{Turn, ZIGZAG};

/// The samples of one component, 8 bits each, row by row from the top; no padding.
pub struct Samples {
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
}

/// Samples that lie between a component's own, over whom a side of the picture ends: how far the
/// last sample reaches over the edge, in parts of a sample.
fn excess(pixels: u32, factor: u32, most: u32, samples: u32) -> f32 {
    let over = (samples * most).saturating_sub(pixels * factor);
    #[allow(clippy::cast_precision_loss)] // at most 4
    let part = over as f32 / most as f32;
    part
}

impl Samples {
    /// Decodes one component.
    pub(super) fn decode(plane: &Plane, steps: &[u16; 64], layout: &Layout, basis: &Basis) -> Self {
        let side = |pixels: u32, factor: u32, most: u32| (pixels * factor).div_ceil(most);
        let (width, height) = (side(layout.width, plane.h, layout.h_max), side(layout.height, plane.v, layout.v_max));
        let stride = plane.across as usize * 8;
        let mut bytes = Vec::with_capacity(width as usize * height as usize);
        let mut band = vec![0; stride * 8];
        for row in 0..plane.down {
            for column in 0..plane.across {
                let block = basis.inverse(&dequantized(plane.block(row, column), steps));
                let left = column as usize * 8;
                for (line, values) in band.chunks_exact_mut(stride).zip(&block) {
                    for (sample, value) in line.iter_mut().skip(left).zip(values) {
                        *sample = byte(value + 128.0);
                    }
                }
            }
            let lines = (height - row * SIDE).min(SIDE) as usize;
            for line in band.chunks_exact(stride).take(lines) {
                bytes.extend_from_slice(line.get(..width as usize).unwrap_or(line));
            }
        }
        Self { width, height, bytes }
    }

    /// As a turn shows them. `shift`: how far samples reach over the right and the lower edge; a
    /// mirror would move the colours by as much, so it takes in between.
    pub(super) fn turned(self, turn: Turn, shift: (f32, f32)) -> Self {
        let swapped = if turn.swaps { self.transposed() } else { self };
        let (across, down) = if turn.swaps { (shift.1, shift.0) } else { shift };
        let mut out = swapped;
        let width = out.width as usize;
        if turn.mirrors_across {
            for line in out.bytes.chunks_exact_mut(width) {
                line.reverse();
                if across > 0.0 {
                    blend_line(line, across);
                }
            }
        }
        if turn.mirrors_down {
            let lines: Vec<&[u8]> = out.bytes.chunks_exact(width).rev().collect();
            let mut bytes = Vec::with_capacity(out.bytes.len());
            for (index, line) in lines.iter().enumerate() {
                let next = lines.get(index + 1).unwrap_or(line);
                bytes.extend(line.iter().zip(*next).map(|(a, b)| if down > 0.0 { between(*a, *b, down) } else { *a }));
            }
            out.bytes = bytes;
        }
        out
    }

    fn transposed(self) -> Self {
        /// Rows and columns that are moved together, so that both sides stay in the cache.
        const TILE: usize = 32;
        let (w, h) = (self.width as usize, self.height as usize);
        let mut bytes = vec![0; self.bytes.len()];
        for (top, left) in (0..h).step_by(TILE).flat_map(|t| (0..w).step_by(TILE).map(move |l| (t, l))) {
            for y in top..(top + TILE).min(h) {
                let line = self.bytes.get(y * w..).unwrap_or_default();
                for (x, sample) in line.iter().enumerate().take(w).skip(left).take(TILE) {
                    if let Some(place) = bytes.get_mut(x * h + y) {
                        *place = *sample;
                    }
                }
            }
        }
        Self { width: self.height, height: self.width, bytes }
    }

    /// Codes the component: `h` and `v` are its sampling factors, `steps` in zigzag order. Beyond
    /// the edge the last sample goes on, which costs the fewest bits.
    pub(super) fn encode(&self, (id, h, v): (u8, u32, u32), steps: &[u16; 64], layout: &Layout, basis: &Basis) -> Plane {
        let [(across, down), (stride, rows)] = layout.blocks(h, v);
        let mut blocks = vec![EMPTY; stride as usize * rows as usize];
        let inverse: Square = natural(|k| steps.get(k).map_or(0.0, |step| 1.0 / f32::from((*step).max(1))));
        for (row, line) in (0..down).zip(blocks.chunks_exact_mut(stride as usize)) {
            for (column, block) in (0..across).zip(line) {
                let coefficients = basis.forward(&self.square(column, row));
                for (value, (y, x)) in block.iter_mut().zip(ZIGZAG) {
                    let at = |square: &Square| {
                        square.get(usize::from(y)).and_then(|r| r.get(usize::from(x))).copied().unwrap_or_default()
                    };
                    #[allow(clippy::cast_possible_truncation)] // at most 1024 by any step
                    let rounded = (at(&coefficients) * at(&inverse)).round_ties_even() as i16;
                    *value = rounded.clamp(-1023, 1023);
                }
            }
        }
        Plane { id, h, v, across, down, stride, steps: Some(*steps), blocks }
    }

    fn square(&self, column: u32, row: u32) -> Square {
        let (left, top) = (column as usize * 8, row as usize * 8);
        let (width, height) = (self.width as usize, self.height as usize);
        let mut square = [[0.0; 8]; 8];
        for (y, values) in (top..).zip(&mut square) {
            let first = y.min(height - 1) * width;
            let line = self.bytes.get(first + left.min(width - 1)..first + width).unwrap_or_default();
            let last = line.last().copied().unwrap_or_default();
            for (value, sample) in values.iter_mut().zip(line.iter().chain(std::iter::repeat(&last))) {
                *value = f32::from(*sample) - 128.0;
            }
        }
        square
    }
}

impl Plane {
    /// How far its last samples reach over the right and the lower edge of the picture.
    pub(super) fn shift(&self, layout: &Layout, samples: &Samples) -> (f32, f32) {
        (excess(layout.width, self.h, layout.h_max, samples.width), excess(layout.height, self.v, layout.v_max, samples.height))
    }
}

/// `value` by place in zigzag order, as rows.
fn natural(value: impl Fn(usize) -> f32) -> Square {
    let mut square = [[0.0; 8]; 8];
    for (k, (y, x)) in ZIGZAG.into_iter().enumerate() {
        if let Some(place) = square.get_mut(usize::from(y)).and_then(|r| r.get_mut(usize::from(x))) {
            *place = value(k);
        }
    }
    square
}

#[inline]
fn dequantized(block: &[i16; 64], steps: &[u16; 64]) -> Square {
    let mut square = [[0.0; 8]; 8];
    for ((value, step), (y, x)) in block.iter().zip(steps).zip(ZIGZAG) {
        if let Some(place) = square.get_mut(usize::from(y)).and_then(|r| r.get_mut(usize::from(x))) {
            *place = f32::from(*value) * f32::from(*step);
        }
    }
    square
}

#[inline]
fn byte(value: f32) -> u8 {
    // A cast of a float saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let byte = (value + 0.5) as u8;
    byte
}

fn between(a: u8, b: u8, part: f32) -> u8 {
    byte(f32::from(a) + (f32::from(b) - f32::from(a)) * part)
}

/// Each sample moves towards the next one by `part`.
fn blend_line(line: &mut [u8], part: f32) {
    let mut rest = line;
    while let [first, others @ ..] = rest {
        if let Some(next) = others.first() {
            *first = between(*first, *next, part);
        }
        rest = others;
    }
}
