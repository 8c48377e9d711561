//! The coefficients of a JPEG kept, and everything round them written anew: upright, baseline, one
//! scan of all components, no metadata.
//!
//! What a camera measured stays bit for bit: a turn moves coefficients and changes signs, a
//! progressive or extended picture gets another Huffman code. Time is linear in blocks and scans;
//! memory is two bytes for each coefficient, at most 384 MiB.

use super::encode;
use super::plane::Plane;
use super::read::{self, Picture};
use super::turn::Turn;
use super::write;
use super::{Unfit, is_rgb};
use crate::capture::media::{EdgeBlocks, Orientation};

/// A JPEG with the coefficients of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcoded {
    /// Baseline: grey, or YCbCr.
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

/// Turns a JPEG upright, whatever its process.
///
/// Where an incomplete block of an edge would come to lie inside the picture, no block of its
/// component can stay. With [`EdgeBlocks::Recode`] such a component is coded again, with finer steps of
/// quantization than its own, rather than lose rows at the edge or show what lies behind it. (Of
/// 4000 × 3000 pixels in 4:2:0 that is the chroma; the luma stays.) With [`EdgeBlocks::Trim`] the picture
/// ends before them, unless nothing would be left. Coded again is as well whose steps have more than 8 bits, which
/// baseline does not know (T.81 §B.2.4.1). `is_lossless` tells.
///
/// # Errors
/// [`Unfit`] where it is not YCbCr or grey, where baseline cannot hold it, or where it is damaged.
pub fn upright(jpeg: &[u8], orientation: Orientation, edges: EdgeBlocks) -> Result<Transcoded, Unfit> {
    let mut picture = read::read(jpeg)?;
    let ids: Vec<u8> = picture.planes.iter().map(|p: &Plane| p.id).collect();
    if ids.len() > 3 || (ids.len() == 3 && is_rgb(&ids, picture.is_jfif, picture.adobe_transform)) {
        return Err(Unfit::Kind("its colours are not YCbCr"));
    }
    let turn = Turn::upright(orientation);
    let has_steps = picture.planes.iter().all(has_baseline_steps);
    let keeps_blocks = |picture: &Picture| picture.planes.iter().all(|p| turn.keeps_blocks(p, &picture.layout));
    let is_trimmed = edges == EdgeBlocks::Trim && has_steps && !keeps_blocks(&picture) && trim(&mut picture, turn);
    let layout = turn.layout(&picture.layout);
    let is_lossless = has_steps && keeps_blocks(&picture);
    let jpeg =
        if is_lossless { write::write(&picture.layout, &picture.planes, turn)? } else { encode::turned(picture, orientation)? };
    let components = u8::try_from(ids.len()).unwrap_or_default();
    Ok(Transcoded { jpeg, width: layout.width, height: layout.height, components, is_lossless, is_trimmed })
}

/// Ends a picture before its incomplete MCUs, where the turn would begin with them. False: it has no others.
fn trim(picture: &mut Picture, turn: Turn) -> bool {
    let Some(layout) = turn.whole(&picture.layout) else { return false };
    picture.layout = layout;
    for plane in &mut picture.planes {
        let [(across, down), _] = layout.blocks(plane.h, plane.v);
        (plane.across, plane.down) = (across, down);
    }
    true
}

pub(super) fn has_baseline_steps(plane: &Plane) -> bool {
    plane.steps.is_some_and(|steps| steps.iter().all(|step| (1..=255).contains(step)))
}
