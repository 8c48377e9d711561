//! Turning by moving coefficients: nothing is decoded, nothing is lost.
//!
//! A mirror changes the sign of the odd frequencies across it, a transposition swaps the axes
//! (they are cosines), and the blocks move as the pixels do.

use super::plane::{Block, EMPTY, Layout, Plane, SIDE};
use crate::capture::media::Orientation;

/// Row and column of the coefficients in zigzag order (T.81 figure A.6).
pub(super) const ZIGZAG: [(u8, u8); 64] = zigzag();

#[allow(clippy::indexing_slicing)] // by constants, when it is compiled
const fn zigzag() -> [(u8, u8); 64] {
    let mut order = [(0, 0); 64];
    let (mut at, mut row, mut column) = (0, 0_u8, 0_u8);
    while at < 64 {
        order[at] = (row, column);
        if (row + column).is_multiple_of(2) {
            // Up and to the right.
            if column == 7 {
                row += 1;
            } else {
                row = row.saturating_sub(1);
                column += 1;
            }
        } else if row == 7 {
            column += 1;
        } else {
            row += 1;
            column = column.saturating_sub(1);
        }
        at += 1;
    }
    order
}

/// What turns a picture upright: first the axes are swapped, then each is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) swaps: bool,
    /// Left and right, of the picture as it becomes.
    pub(super) mirrors_across: bool,
    pub(super) mirrors_down: bool,
}

impl Turn {
    /// CIPA DC-008 §4.6.4: where the first row and the first column of the samples are seen.
    pub(super) fn upright(orientation: Orientation) -> Self {
        let (swaps, mirrors_across, mirrors_down) = match orientation.to_exif() {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Self { swaps, mirrors_across, mirrors_down }
    }

    /// True where the blocks of a component can stay as they are: its grid begins on the left and
    /// at the top, so that a mirrored axis must end with a whole block, just where the picture does.
    pub(super) fn keeps_blocks(self, plane: &Plane, layout: &Layout) -> bool {
        let (across, down) = self.mirrored();
        (!across || (layout.width * plane.h).is_multiple_of(8 * layout.h_max))
            && (!down || (layout.height * plane.v).is_multiple_of(8 * layout.v_max))
    }

    /// Which axes of the source, across and down, are mirrored.
    fn mirrored(self) -> (bool, bool) {
        if self.swaps { (self.mirrors_down, self.mirrors_across) } else { (self.mirrors_across, self.mirrors_down) }
    }

    /// The layout of the source up to the last whole MCU of the axes that are mirrored; `None`: there is none.
    pub(super) fn whole(self, layout: &Layout) -> Option<Layout> {
        let (across, down) = self.mirrored();
        let whole = |pixels: u32, most: u32, is_mirrored: bool| {
            if is_mirrored { pixels - pixels % (SIDE * most) } else { pixels }
        };
        let (width, height) = (whole(layout.width, layout.h_max, across), whole(layout.height, layout.v_max, down));
        let whole = Layout::new(width, height, std::iter::once((layout.h_max, layout.v_max)));
        (width.min(height) > 0).then_some(whole)
    }

    pub(super) fn layout(self, layout: &Layout) -> Layout {
        let l = *layout;
        if !self.swaps {
            return l;
        }
        Layout {
            width: l.height,
            height: l.width,
            h_max: l.v_max,
            v_max: l.h_max,
            mcus_across: l.mcus_down,
            mcus_down: l.mcus_across,
        }
    }

    /// Steps of quantization move with their coefficients.
    pub(super) fn steps(self, steps: &[u16; 64]) -> [u16; 64] {
        let moves = Moves::new(self);
        let mut turned = [0; 64];
        for (step, to) in steps.iter().zip(moves.to) {
            if let Some(slot) = turned.get_mut(usize::from(to)) {
                *slot = *step;
            }
        }
        turned
    }
}

/// Where each coefficient goes and with which sign, worked out once.
pub(super) struct Moves {
    turn: Turn,
    to: [u8; 64],
    sign: [i16; 64],
}

impl Moves {
    pub(super) fn swaps(&self) -> bool {
        self.turn.swaps
    }

    pub(super) fn new(turn: Turn) -> Self {
        let mut moves = Self { turn, to: [0; 64], sign: [1; 64] };
        for ((to, sign), (row, column)) in moves.to.iter_mut().zip(&mut moves.sign).zip(ZIGZAG) {
            let (row, column) = if turn.swaps { (column, row) } else { (row, column) };
            let place = ZIGZAG.iter().position(|at| *at == (row, column)).unwrap_or_default();
            *to = u8::try_from(place).unwrap_or_default();
            let is_negative = (turn.mirrors_across && column % 2 == 1) != (turn.mirrors_down && row % 2 == 1);
            if is_negative {
                *sign = -1;
            }
        }
        moves
    }

    /// A component with its blocks where the turn brings them.
    pub(super) fn plane(&self, plane: &Plane, layout: &Layout) -> Plane {
        let (h, v) = if self.turn.swaps { (plane.v, plane.h) } else { (plane.h, plane.v) };
        let [(across, down), (stride, rows)] = layout.blocks(h, v);
        let mut blocks = vec![EMPTY; stride as usize * rows as usize];
        let mut moved = EMPTY;
        for (row, line) in (0..down).zip(blocks.chunks_exact_mut(stride as usize)) {
            for (column, block) in (0..across).zip(line) {
                let mut mask = self.block(plane, row, column, &mut moved);
                while mask != 0 {
                    let at = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    if let (Some(to), Some(value)) = (block.get_mut(at), moved.get(at)) {
                        *to = *value;
                    }
                }
            }
        }
        Plane { id: plane.id, h, v, across, down, stride, steps: plane.steps.map(|steps| self.turn.steps(&steps)), blocks }
    }

    /// The block of `plane` that comes to lie at `row` and `column`. The answer has one bit for
    /// each coefficient that is not zero; what the others hold means nothing.
    #[inline]
    pub(super) fn block(&self, plane: &Plane, row: u32, column: u32, into: &mut Block) -> u64 {
        let (across, down) = if self.turn.swaps { (plane.down, plane.across) } else { (plane.across, plane.down) };
        let column = if self.turn.mirrors_across { across - 1 - column } else { column };
        let row = if self.turn.mirrors_down { down - 1 - row } else { row };
        let (row, column) = if self.turn.swaps { (column, row) } else { (row, column) };
        let block = plane.block(row, column);
        if self.turn == Turn::upright(Orientation::UPRIGHT) {
            *into = *block;
            return not_zero(block);
        }
        let (mut from, mut mask) = (not_zero(block), 0);
        while from != 0 {
            let at = from.trailing_zeros() as usize;
            from &= from - 1;
            let (Some(value), Some(to), Some(sign)) = (block.get(at), self.to.get(at), self.sign.get(at)) else { break };
            if let Some(slot) = into.get_mut(usize::from(*to & 63)) {
                *slot = value.wrapping_mul(*sign);
            }
            mask |= 1 << (to & 63);
        }
        mask
    }
}

/// One bit for each coefficient that is not zero. Most fours of them are all zero.
#[inline]
pub(super) fn not_zero(block: &Block) -> u64 {
    let mut mask = 0;
    for (group, four) in (0..).zip(block.as_chunks::<4>().0) {
        let [a, b, c, d] = *four;
        if a | b | c | d != 0 {
            let bits = u64::from(a != 0) | u64::from(b != 0) << 1 | u64::from(c != 0) << 2 | u64::from(d != 0) << 3;
            mask |= bits << (4 * group);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zigzag_is_the_one_of_the_standard() {
        let numbers: Vec<u8> = ZIGZAG.iter().map(|(row, column)| row * 8 + column).collect();
        assert_eq!(numbers[..16], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5]);
        assert_eq!(numbers[48..], [58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63]);
    }

    #[test]
    fn a_mirrored_axis_needs_whole_blocks_and_a_transposed_one_does_not() {
        let layout = Layout::new(96, 72, [(2, 2), (1, 1)].into_iter());
        let plane = |h, v| Plane { id: 1, h, v, across: 0, down: 0, stride: 0, steps: None, blocks: Vec::new() };
        let keeps = |plane: Plane| -> Vec<bool> {
            (1..=8).map(|o| Turn::upright(Orientation::from_exif(o).unwrap()).keeps_blocks(&plane, &layout)).collect()
        };
        assert_eq!(keeps(plane(2, 2)), [true; 8]);
        assert_eq!(keeps(plane(1, 1)), [true, true, false, false, true, false, false, true]);
    }
}
