//! A picture as coefficients, and where its blocks lie (T.81 §A.1, §A.2).

use super::{Component, Frame};

/// Side of a block.
pub(super) const SIDE: u32 = 8;
/// Coefficients of a block, in zigzag order (T.81 figure A.6).
pub(super) type Block = [i16; 64];
pub(super) const EMPTY: Block = [0; 64];

/// The coefficients of one component.
pub(super) struct Plane {
    pub(super) id: u8,
    /// Sampling factors.
    pub(super) h: u32,
    pub(super) v: u32,
    /// Blocks that hold picture.
    pub(super) across: u32,
    pub(super) down: u32,
    /// Blocks of a row in `blocks`: whole MCUs.
    pub(super) stride: u32,
    /// Steps of quantization, zigzag; latched at the component's first scan.
    pub(super) steps: Option<[u16; 64]>,
    pub(super) blocks: Vec<Block>,
}

impl Plane {
    pub(super) fn at(&self, row: u32, column: u32) -> usize {
        row as usize * self.stride as usize + column as usize
    }

    #[inline]
    pub(super) fn block(&self, row: u32, column: u32) -> &Block {
        self.blocks.get(self.at(row, column)).unwrap_or(&EMPTY)
    }
}

/// How a frame is cut into MCUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) h_max: u32,
    pub(super) v_max: u32,
    /// MCUs of a scan of all components.
    pub(super) mcus_across: u32,
    pub(super) mcus_down: u32,
}

impl Layout {
    /// A frame of one component is cut into its blocks, whatever its factors (T.81 §A.2.2).
    pub(super) fn new(width: u32, height: u32, factors: impl Iterator<Item = (u32, u32)>) -> Self {
        let (h_max, v_max) = factors.fold((1, 1), |(h, v), (ch, cv)| (h.max(ch), v.max(cv)));
        let (mcus_across, mcus_down) = (width.div_ceil(SIDE * h_max), height.div_ceil(SIDE * v_max));
        Self { width, height, h_max, v_max, mcus_across, mcus_down }
    }

    pub(super) fn of(frame: &Frame) -> Self {
        Self::new(u32::from(frame.width), u32::from(frame.height), frame.components.iter().map(|c| factors(*c, frame)))
    }

    /// Blocks of a component: those that hold picture, then those of whole MCUs.
    pub(super) fn blocks(&self, h: u32, v: u32) -> [(u32, u32); 2] {
        let side = |pixels: u32, factor: u32, most: u32| (pixels * factor).div_ceil(SIDE * most);
        [(side(self.width, h, self.h_max), side(self.height, v, self.v_max)), (self.mcus_across * h, self.mcus_down * v)]
    }

    /// Coefficients of all components, padding among them.
    pub(super) fn coefficients(&self, factors: impl Iterator<Item = (u32, u32)>) -> u64 {
        let mcus = u64::from(self.mcus_across) * u64::from(self.mcus_down);
        factors.map(|(h, v)| mcus * u64::from(h * v) * 64).sum()
    }
}

/// Sampling factors as they count: one component alone has none.
pub(super) fn factors(component: Component, frame: &Frame) -> (u32, u32) {
    if frame.components.len() == 1 { (1, 1) } else { (u32::from(component.h), u32::from(component.v)) }
}
