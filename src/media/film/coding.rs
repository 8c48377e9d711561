//! How the pictures of a film are coded, as the parameter sets in its decoder record tell.
//!
//! Source: ITU-T H.264 §7.3.2.1, §E.1, annex A; ITU-T H.265 §7.3.2.2, §7.3.3, §E.2.1;
//! ISO/IEC 14496-15 §5.3.3, §8.3.3.

use super::bits::Bits;
use crate::media::Fault;
use crate::media::isobmff::Fields;

/// The standard that a stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// ITU-T H.264, MPEG-4 AVC.
    Avc,
    /// ITU-T H.265, HEVC.
    Hevc,
}

/// What a sequence parameter set says.
#[allow(clippy::struct_excessive_bools)] // each answers a question of its own
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    pub family: Family,
    /// `profile_idc`; of HEVC 1 also where the stream says that it keeps Main beside another one.
    pub profile: u8,
    /// Times ten: 41 is 4.1.
    pub level: u8,
    /// HEVC: the High tier.
    pub is_high_tier: bool,
    /// 1: 4:2:0.
    pub chroma: u32,
    /// The deeper of luma and chroma.
    pub bits: u32,
    /// As shown: without what is cropped. Pixels.
    pub width: u32,
    pub height: u32,
    /// Pixels of the coded picture, padding included.
    pub coded_pixels: u64,
    /// False where a shape is told and it is not square.
    pub is_square: bool,
    /// False where fields may be coded one by one.
    pub is_progressive: bool,
    pub is_full_range: bool,
    pub colour: Colour,
}

/// Code points of ITU-T H.273; 2 is "not said".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    pub primaries: u16,
    pub transfer: u16,
    pub matrix: u16,
}

impl Colour {
    pub const UNSAID: Self = Self { primaries: 2, transfer: 2, matrix: 2 };
}

/// The part of VUI that says how a picture is shown.
struct Shown {
    is_square: bool,
    is_full_range: bool,
    colour: Colour,
}

impl Shown {
    const UNSAID: Self = Self { is_square: true, is_full_range: false, colour: Colour::UNSAID };

    /// Its first fields, which H.264 and HEVC share.
    fn read(bits: &mut Bits) -> Result<Self, Fault> {
        const EXTENDED: u8 = 255;
        let mut shown = Self::UNSAID;
        if bits.flag()? {
            shown.is_square = match bits.byte()? {
                0 | 1 => true,
                EXTENDED => bits.number(16)? == bits.number(16)?,
                _ => false,
            };
        }
        if bits.flag()? {
            bits.skip(1)?;
        }
        if bits.flag()? {
            bits.skip(3)?;
            shown.is_full_range = bits.flag()?;
            if bits.flag()? {
                let mut point = || bits.byte().map(u16::from);
                shown.colour = Colour { primaries: point()?, transfer: point()?, matrix: point()? };
            }
        }
        Ok(shown)
    }
}

/// Luma samples cropped on the four sides: left, right, top, bottom.
fn crop(bits: &mut Bits) -> Result<[u32; 4], Fault> {
    if !bits.flag()? {
        return Ok([0; 4]);
    }
    Ok([bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?])
}

fn shown_side(coded: u32, before: u32, behind: u32, unit: u32) -> Result<u32, Fault> {
    let cropped = before.checked_add(behind).and_then(|n| n.checked_mul(unit));
    cropped.and_then(|n| coded.checked_sub(n)).filter(|n| *n > 0).ok_or(Fault("crops more than there is"))
}

const TOO_MANY: Fault = Fault("has a parameter set that counts more than there can be");
const NO_SETS: Fault = Fault("has no parameter set in its index");

/// Reads `avcC` or `hvcC`. Several parameter sets have to say the same.
///
/// # Errors
/// A record or a set that cannot be read, none, or some that differ.
pub fn read(record: &[u8], family: Family) -> Result<Coding, Fault> {
    let sets = match family {
        Family::Avc => avc_sets(record)?,
        Family::Hevc => hevc_sets(record)?,
    };
    let mut codings = sets.into_iter().map(|set| match family {
        Family::Avc => avc(set),
        Family::Hevc => hevc(set),
    });
    let first = codings.next().ok_or(NO_SETS)??;
    for other in codings {
        if other? != first {
            return Err(Fault("has parameter sets that differ"));
        }
    }
    Ok(first)
}

fn avc_sets(record: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    let mut fields = Fields(record);
    fields.take(5)?;
    let count = fields.byte()? & 31;
    (0..count).map(|_| fields.short().and_then(|length| fields.take(usize::from(length)))).collect()
}

fn hevc_sets(record: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    const SEQUENCE: u8 = 33;
    let mut fields = Fields(record);
    fields.take(22)?;
    let mut sets = Vec::new();
    for _ in 0..fields.byte()? {
        let kind = fields.byte()? & 63;
        for _ in 0..fields.short()? {
            let length = fields.short()?;
            let unit = fields.take(usize::from(length))?;
            if kind == SEQUENCE {
                sets.push(unit);
            }
        }
    }
    Ok(sets)
}

/// Profiles whose set goes on with a chroma format (H.264 §7.3.2.1.1).
const AVC_HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

fn avc(unit: &[u8]) -> Result<Coding, Fault> {
    let mut bits = Bits::new(unit.get(1..).unwrap_or_default());
    let (profile, _, level) = (bits.byte()?, bits.byte()?, bits.byte()?);
    bits.unsigned()?;
    let (mut chroma, mut depth) = (1, 8);
    if AVC_HIGH_PROFILES.contains(&profile) {
        (chroma, depth) = avc_samples(&mut bits)?;
    }
    bits.unsigned()?;
    avc_order(&mut bits)?;
    bits.unsigned()?;
    bits.skip(1)?;
    let side = |n: u32| n.checked_add(1).and_then(|n| n.checked_mul(16)).ok_or(TOO_MANY);
    let (width, rows) = (side(bits.unsigned()?)?, side(bits.unsigned()?)?);
    let is_progressive = bits.flag()?;
    // Rows count in fields where fields may be coded.
    let height = if is_progressive { rows } else { rows.checked_mul(2).ok_or(TOO_MANY)? };
    bits.skip(if is_progressive { 1 } else { 2 })?;
    let [left, right, top, bottom] = crop(&mut bits)?;
    let (across, down) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    let shown = if bits.flag()? { Shown::read(&mut bits)? } else { Shown::UNSAID };
    Ok(Coding {
        family: Family::Avc,
        profile,
        level,
        is_high_tier: false,
        chroma,
        bits: depth,
        width: shown_side(width, left, right, across)?,
        height: shown_side(height, top, bottom, if is_progressive { down } else { down * 2 })?,
        coded_pixels: u64::from(width) * u64::from(height),
        is_square: shown.is_square,
        is_progressive,
        is_full_range: shown.is_full_range,
        colour: shown.colour,
    })
}

/// Chroma format and bit depth; scaling lists are passed over.
fn avc_samples(bits: &mut Bits) -> Result<(u32, u32), Fault> {
    let chroma = bits.unsigned()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let (luma, colour) = (bits.unsigned()?, bits.unsigned()?);
    bits.skip(1)?;
    if bits.flag()? {
        for list in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.flag()? {
                pass_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok((chroma, luma.max(colour).saturating_add(8)))
}

fn pass_scaling_list(bits: &mut Bits, length: u32) -> Result<(), Fault> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..length {
        if next != 0 {
            next = (last + bits.signed()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// The order in which pictures are shown.
fn avc_order(bits: &mut Bits) -> Result<(), Fault> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.skip(1)?;
            bits.signed()?;
            bits.signed()?;
            let count = bits.unsigned()?;
            if count > 255 {
                return Err(TOO_MANY);
            }
            for _ in 0..count {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn hevc(unit: &[u8]) -> Result<Coding, Fault> {
    let mut bits = Bits::new(unit.get(2..).unwrap_or_default());
    bits.skip(4)?;
    let sub_layers = bits.number(3)?;
    bits.skip(1)?;
    let (is_high_tier, profile, is_frames, level) = hevc_profile(&mut bits, sub_layers)?;
    bits.unsigned()?;
    let chroma = bits.unsigned()?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let (width, height) = (bits.unsigned()?, bits.unsigned()?);
    let [left, right, top, bottom] = crop(&mut bits)?;
    let (across, down) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    let depth = bits.unsigned()?.max(bits.unsigned()?).saturating_add(8);
    let order_bits = bits.unsigned()?.saturating_add(4);
    let is_each_told = bits.flag()?;
    for _ in 0..if is_each_told { sub_layers + 1 } else { 1 } {
        pass_numbers(&mut bits, 3)?;
    }
    pass_hevc_tools(&mut bits, order_bits)?;
    let (shown, is_fields) = if bits.flag()? { hevc_shown(&mut bits)? } else { (Shown::UNSAID, false) };
    Ok(Coding {
        family: Family::Hevc,
        profile,
        level: level / 3,
        is_high_tier,
        chroma,
        bits: depth,
        width: shown_side(width, left, right, across)?,
        height: shown_side(height, top, bottom, down)?,
        coded_pixels: u64::from(width) * u64::from(height),
        is_square: shown.is_square,
        is_progressive: is_frames && !is_fields,
        is_full_range: shown.is_full_range,
        colour: shown.colour,
    })
}

fn pass_numbers(bits: &mut Bits, count: u32) -> Result<(), Fault> {
    for _ in 0..count {
        bits.unsigned()?;
    }
    Ok(())
}

/// `profile_tier_level` (H.265 §7.3.3): tier, profile, whether pictures are frames, level times 30.
fn hevc_profile(bits: &mut Bits, sub_layers: u32) -> Result<(bool, u8, bool, u8), Fault> {
    const MAIN: u8 = 1;
    let head = bits.byte()?;
    let keeps_main = bits.number(32)? >> 30 & 1 == 1;
    let (is_progressive, is_interlaced) = (bits.flag()?, bits.flag()?);
    bits.skip(46)?;
    let level = bits.byte()?;
    let mut told = Vec::new();
    for _ in 0..sub_layers {
        told.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        bits.skip(2 * usize::try_from(8 - sub_layers).unwrap_or(0))?;
    }
    for (has_profile, has_level) in told {
        bits.skip(usize::from(has_profile) * 88 + usize::from(has_level) * 8)?;
    }
    let profile = if keeps_main { MAIN } else { head & 31 };
    Ok((head >> 5 & 1 == 1, profile, is_progressive || !is_interlaced, level))
}

/// Everything between the bit depth and VUI.
fn pass_hevc_tools(bits: &mut Bits, order_bits: u32) -> Result<(), Fault> {
    pass_numbers(bits, 6)?;
    if bits.flag()? && bits.flag()? {
        pass_hevc_scaling(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        pass_numbers(bits, 2)?;
        bits.skip(1)?;
    }
    let sets = bits.unsigned()?;
    if sets > 64 {
        return Err(TOO_MANY);
    }
    let mut referred = 0;
    for set in 0..sets {
        referred = pass_hevc_references(bits, set > 0, referred)?;
    }
    if bits.flag()? {
        let count = bits.unsigned()?;
        if count > 32 {
            return Err(TOO_MANY);
        }
        for _ in 0..count {
            bits.skip(usize::try_from(order_bits).unwrap_or(usize::MAX).saturating_add(1))?;
        }
    }
    bits.skip(2)
}

/// `scaling_list_data` (H.265 §7.3.4).
fn pass_hevc_scaling(bits: &mut Bits) -> Result<(), Fault> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.unsigned()?;
                continue;
            }
            if size > 1 {
                bits.signed()?;
            }
            for _ in 0..(1 << (4 + (size << 1))).min(64) {
                bits.signed()?;
            }
        }
    }
    Ok(())
}

/// `st_ref_pic_set` (H.265 §7.3.7): how many pictures it refers to; the one before referred to `before`.
fn pass_hevc_references(bits: &mut Bits, has_before: bool, before: u32) -> Result<u32, Fault> {
    if has_before && bits.flag()? {
        bits.skip(1)?;
        bits.unsigned()?;
        let mut count = 0;
        for _ in 0..=before {
            let is_used = bits.flag()?;
            count += u32::from(is_used || bits.flag()?);
        }
        return Ok(count);
    }
    let (negative, positive) = (bits.unsigned()?, bits.unsigned()?);
    if negative > 16 || positive > 16 {
        return Err(TOO_MANY);
    }
    for _ in 0..negative + positive {
        bits.unsigned()?;
        bits.skip(1)?;
    }
    Ok(negative + positive)
}

/// VUI as far as its fields, and whether pictures are fields.
fn hevc_shown(bits: &mut Bits) -> Result<(Shown, bool), Fault> {
    let shown = Shown::read(bits)?;
    if bits.flag()? {
        pass_numbers(bits, 2)?;
    }
    bits.skip(1)?;
    Ok((shown, bits.flag()?))
}
