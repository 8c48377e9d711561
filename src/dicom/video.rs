//! Video Photographic Image (PS3.3 §A.32.7): which films a transfer syntax carries as they are, and
//! the object of one.

use std::fmt;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::build::{Source, check_picture};
use super::data_set::DataSet;
use super::encapsulate::PIXEL_BYTES_MAX;
use super::iod::VIDEO;
use super::value::DS_MAX;
use super::{DicomError, Instance, Picture, Pixels, Syntax, macros};
use crate::capture::Binding;
use crate::capture::media::Orientation;
use crate::capture::record::Manifest;
use crate::media::film::Facts;
use crate::media::film::coding::{Coding, Family};
use crate::media::film::sound::Sound;

/// Why a film cannot go as it is: each of these is a reason of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Neither H.264 nor HEVC, or nothing tells how it is coded, or where.
    Coding(&'static str),
    /// Another profile than the syntax is for.
    Profile(&'static str),
    Level,
    Tier,
    Depth,
    Chroma,
    Range,
    HighDynamicRange,
    Interlaced,
    Aspect,
    Turned,
    Cropped,
    Edited,
    Empty,
    Rate,
    Size,
    Length,
    /// The sound is at fault, and only the sound.
    Sound,
    /// A syntax carries it that no archive is offered.
    NotOffered(Syntax),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coding(why) => write!(f, "the film {why}"),
            Self::Profile(name) => write!(f, "it is coded in profile {name}; of H.264 only High is carried, of HEVC only Main"),
            Self::Level => f.write_str("its level is above 4.2 of H.264 or 5.1 of HEVC"),
            Self::Tier => f.write_str("it is of the High tier of HEVC; only the Main tier is carried"),
            Self::Depth => f.write_str("its samples have more than 8 bits"),
            Self::Chroma => f.write_str("its colours are not sampled 4:2:0"),
            Self::Range => f.write_str("its samples use the full range; YBR_PARTIAL_420 does not"),
            Self::HighDynamicRange => f.write_str("its colours are of high dynamic range (HLG or PQ)"),
            Self::Interlaced => f.write_str("its pictures may be interlaced"),
            Self::Aspect => f.write_str("its pixels are not square"),
            Self::Turned => f.write_str("it is turned by a matrix, which viewers do not look at"),
            Self::Cropped => f.write_str("its container shows a part of the picture only"),
            Self::Edited => f.write_str("its edit list hides pictures or sound, or changes their speed"),
            Self::Empty => f.write_str("it has times without a picture, and could not say how many pictures it has"),
            Self::Rate => f.write_str("it has more pictures a second than the level allows, or tells no rate"),
            Self::Size => f.write_str("its pictures are larger than the level allows"),
            Self::Length => f.write_str("it is longer than the 4 GiB that one fragment can be"),
            Self::Sound => f.write_str("its sound is not AAC-LC of 48 kHz in stereo"),
            Self::NotOffered(syntax) => write!(f, "no [[archive]] that takes videos is offered {}", syntax.name()),
        }
    }
}

/// What a level allows.
struct Level {
    syntax: Syntax,
    family: Family,
    /// Times ten.
    number: u8,
    /// Pixels of a coded picture (`MaxFS` macroblocks, `MaxLumaPs`).
    pixels_max: u64,
    /// Pixels a second (`MaxMBPS`, `MaxLumaSr`).
    pixels_per_second_max: u64,
}

/// ITU-T H.264 table A-1, ITU-T H.265 tables A.8 and A.9. Where two carry a film, the first does.
///
/// The Blu-ray syntax .103 is never needed: .102 carries all that it does. 3D (.105, .106) and Main 10
/// (.108, against the 8 bits of the VL Image Module) are never written.
const LEVELS: [Level; 3] = [
    Level {
        syntax: Syntax::Avc41,
        family: Family::Avc,
        number: 41,
        pixels_max: 8_192 * 256,
        pixels_per_second_max: 245_760 * 256,
    },
    Level {
        syntax: Syntax::Avc42,
        family: Family::Avc,
        number: 42,
        pixels_max: 8_704 * 256,
        pixels_per_second_max: 522_240 * 256,
    },
    Level {
        syntax: Syntax::HevcMain,
        family: Family::Hevc,
        number: 51,
        pixels_max: 8_912_896,
        pixels_per_second_max: 534_773_760,
    },
];

/// The syntax that carries a film as it is (PS3.5 §8.2.7 to §8.2.12). `length_bytes`: of the flat file.
///
/// A stream has to be what the syntax is named after: a decoder of High reads Main and Baseline as
/// well, and yet they are not High.
///
/// # Errors
/// Every reason why none does.
pub fn carrier(facts: &Facts, length_bytes: u64) -> Result<Syntax, Vec<Unfit>> {
    let mut unfit = Vec::new();
    let mut syntax = None;
    match &facts.coding {
        Err(fault) => unfit.push(Unfit::Coding(fault.0)),
        Ok(coding) => {
            unfit.extend(of_coding(coding));
            match level(coding, facts) {
                Ok(carrier) => syntax = Some(carrier),
                Err(why) => unfit.push(why),
            }
        }
    }
    let rules = [
        (facts.turn.is_some_and(Orientation::is_upright), Unfit::Turned),
        (facts.is_square || unfit.contains(&Unfit::Aspect), Unfit::Aspect),
        (!facts.is_cropped, Unfit::Cropped),
        (facts.is_shown_whole, Unfit::Edited),
        (facts.is_each_coded, Unfit::Empty),
        (length_bytes <= PIXEL_BYTES_MAX, Unfit::Length),
        (facts.sound.as_ref().is_none_or(is_carried), Unfit::Sound),
    ];
    unfit.extend(rules.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why));
    syntax.filter(|_| unfit.is_empty()).ok_or(unfit)
}

fn of_coding(coding: &Coding) -> impl Iterator<Item = Unfit> {
    const HIGH: u8 = 100;
    const MAIN: u8 = 1;
    /// PQ and HLG (ITU-T H.273).
    const HIGH_DYNAMIC: [u16; 2] = [16, 18];
    let is_profile = match coding.family {
        Family::Avc => coding.profile == HIGH,
        Family::Hevc => coding.profile == MAIN,
    };
    let rules = [
        (is_profile, Unfit::Profile(profile_name(coding))),
        (!coding.is_high_tier, Unfit::Tier),
        (coding.bits == 8, Unfit::Depth),
        (coding.chroma == 1, Unfit::Chroma),
        (!coding.is_full_range, Unfit::Range),
        (!HIGH_DYNAMIC.contains(&coding.colour.transfer), Unfit::HighDynamicRange),
        (coding.is_progressive, Unfit::Interlaced),
        (coding.is_square, Unfit::Aspect),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why)
}

fn profile_name(coding: &Coding) -> &'static str {
    match (coding.family, coding.profile) {
        (Family::Avc, 66) => "Baseline",
        (Family::Avc, 77) => "Main",
        (Family::Avc, 88) => "Extended",
        (Family::Avc, 110) => "High 10",
        (Family::Avc, 122) => "High 4:2:2",
        (Family::Avc, 244) => "High 4:4:4",
        (Family::Hevc, 2) => "Main 10",
        (Family::Hevc, 3) => "Main Still Picture",
        (Family::Hevc, 4) => "of the range extensions",
        _ => "of another kind",
    }
}

/// The first level that the stream keeps: as it says, and as its pictures are.
fn level(coding: &Coding, facts: &Facts) -> Result<Syntax, Unfit> {
    let mut why = Unfit::Level;
    let rate = facts.rate();
    for level in LEVELS.iter().filter(|l| l.family == coding.family && l.number >= coding.level) {
        if coding.coded_pixels > level.pixels_max {
            why = Unfit::Size;
            continue;
        }
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let (pixels, most) = (coding.coded_pixels as f64, level.pixels_per_second_max as f64);
        if rate.is_finite() && rate > 0.0 && pixels * rate <= most {
            return Ok(level.syntax);
        }
        why = Unfit::Rate;
    }
    Err(why)
}

/// AAC in MP4 has to be 48 kHz, stereo or 5.1 (PS3.5 §8.2.12); a description of six channels has no
/// code here, and no phone records them.
fn is_carried(sound: &Sound) -> bool {
    const LOW_COMPLEXITY: u32 = 2;
    match sound {
        Sound::Aac(aac) => (aac.object, aac.rate_hz, aac.channels) == (LOW_COMPLEXITY, 48_000, 2),
        Sound::Other(_) => false,
    }
}

/// How a film runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cine {
    /// Coded pictures, each shown once.
    pub frames: u32,
    /// All of it. Seconds.
    pub seconds: f64,
    /// Bytes of the coded pictures, without sound and index.
    pub picture_bytes: u64,
    /// Two channels; else it is silent.
    pub has_sound: bool,
}

impl Cine {
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        Self {
            frames: facts.frames,
            seconds: facts.seconds(),
            picture_bytes: facts.picture_bytes,
            has_sound: facts.sound.is_some(),
        }
    }
}

const NO_FILM: DicomError = DicomError::Picture("a film has pictures in colour, and lasts");

/// Builds the object of one film. The same arguments give the same bytes.
///
/// # Errors
/// [`DicomError`]: the hospital's identifiers do not fit, the claim names no body site, or the
/// arguments contradict each other.
pub fn build_video(binding: &Binding, manifest: &Manifest, picture: &Picture, cine: &Cine) -> Result<Instance, DicomError> {
    check_picture(picture)?;
    let is_film = matches!(picture.pixels, Pixels::Video { .. }) && picture.samples == 3;
    if !is_film || cine.frames == 0 || !(cine.seconds.is_finite() && cine.seconds > 0.0) {
        return Err(NO_FILM);
    }
    let source = Source { cine: Some(cine), ..Source::new(binding, manifest, picture, &VIDEO)? };
    source.object(manifest.item.sop_instance_uid.clone())
}

/// No film without a region (§C.8.12.1: required where there is Number of Frames).
pub(super) fn check_region(source: &Source) -> Result<(), DicomError> {
    let site = source.manifest.acceptance.claim.body_site.as_ref();
    let code = site.and_then(|site| macros::code(&site.code, &site.scheme, &site.meaning));
    code.map(|_| ()).ok_or(DicomError::BodySiteMissing)
}

/// Cine (§C.7.6.5). Phones let the rate vary: Frame Time is the average, because a vector of all of
/// them has no room in explicit VR beyond some minutes.
pub(super) fn put_cine(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let cine = source.cine.ok_or(NO_FILM)?;
    let rate = (f64::from(cine.frames) / cine.seconds).round().max(1.0);
    to.put(tags::FRAME_TIME, VR::DS, decimal(cine.seconds * 1000.0 / f64::from(cine.frames)));
    to.put(tags::CINE_RATE, VR::IS, format!("{rate:.0}"));
    to.put(tags::RECOMMENDED_DISPLAY_FRAME_RATE, VR::IS, format!("{rate:.0}"));
    to.put(tags::EFFECTIVE_DURATION, VR::DS, decimal(cine.seconds));
    if cine.has_sound {
        // Left out where there is none: an empty one is an error to validators.
        let mut item = DataSet::new();
        item.put(tags::CHANNEL_IDENTIFICATION_CODE, VR::IS, "1");
        item.put(tags::CHANNEL_MODE, VR::CS, "STEREO");
        item.put_items(tags::CHANNEL_SOURCE_SEQUENCE, macros::code("109112", "DCM", "Ambient room environment"));
        to.put_items(tags::MULTIPLEXED_AUDIO_CHANNELS_DESCRIPTION_CODE_SEQUENCE, [item]);
    }
    Ok(())
}

/// Multi-frame (§C.7.6.6).
pub(super) fn put_multi_frame(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let cine = source.cine.ok_or(NO_FILM)?;
    to.put(tags::NUMBER_OF_FRAMES, VR::IS, cine.frames.to_string());
    to.put_tag(tags::FRAME_INCREMENT_POINTER, tags::FRAME_TIME);
    Ok(())
}

/// Decimal String, to the millionth where it has room.
fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.get(..DS_MAX).unwrap_or(text).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::film::coding::Colour;

    /// 1920×1080 in 30 pictures a second, H.264 High 4.0, silent.
    fn usual() -> Facts {
        Facts { coding: Ok(coded(Family::Avc, 100, 40)), ..ninety() }
    }

    fn ninety() -> Facts {
        Facts {
            entry: *b"avc1",
            coding: Err(crate::media::Fault("is not told")),
            turn: Some(Orientation::UPRIGHT),
            is_square: true,
            is_cropped: false,
            is_shown_whole: true,
            is_each_coded: true,
            frames: 90,
            ticks: 1_800,
            ticks_per_second: 600,
            picture_bytes: 1_000_000,
            sound: None,
        }
    }

    fn coded(family: Family, profile: u8, level: u8) -> Coding {
        Coding {
            family,
            profile,
            level,
            is_high_tier: false,
            chroma: 1,
            bits: 8,
            width: 1920,
            height: 1080,
            coded_pixels: 1920 * 1088,
            is_square: true,
            is_progressive: true,
            is_full_range: false,
            colour: Colour::UNSAID,
        }
    }

    #[test]
    fn a_film_goes_in_the_first_syntax_whose_level_it_keeps() {
        let avc = |level, frames| Facts { coding: Ok(coded(Family::Avc, 100, level)), frames, ..usual() };
        let sized = |family, profile, level, pixels, frames| {
            let coding = Coding { coded_pixels: pixels, ..coded(family, profile, level) };
            Facts { coding: Ok(coding), frames, ..usual() }
        };
        let table = [
            // given, then; over three seconds
            (avc(31, 75), Ok(Syntax::Avc41)),
            (avc(41, 90), Ok(Syntax::Avc41)),
            (avc(40, 150), Ok(Syntax::Avc42)),
            (avc(42, 180), Ok(Syntax::Avc42)),
            (avc(42, 360), Err(Unfit::Rate)),
            (avc(51, 90), Err(Unfit::Level)),
            (avc(40, 0), Err(Unfit::Rate)),
            (sized(Family::Avc, 100, 41, 3840 * 2160, 90), Err(Unfit::Size)),
            (sized(Family::Hevc, 1, 51, 3840 * 2160, 180), Ok(Syntax::HevcMain)),
            (sized(Family::Hevc, 1, 51, 3840 * 2160, 360), Err(Unfit::Rate)),
            (sized(Family::Hevc, 1, 61, 7680 * 4320, 90), Err(Unfit::Level)),
        ];
        for (facts, then) in table {
            assert_eq!(carrier(&facts, 1_000_000), then.map_err(|why| vec![why]), "{facts:?}");
        }
    }

    #[test]
    fn every_reason_is_told_and_not_only_the_first() {
        let mut facts = usual();
        facts.turn = None;
        facts.is_square = false;
        facts.is_cropped = true;
        facts.is_shown_whole = false;
        facts.is_each_coded = false;
        facts.sound = Some(Sound::Other(*b"lpcm"));
        let coding = Coding { bits: 10, chroma: 2, is_full_range: true, is_progressive: false, ..coded(Family::Avc, 122, 52) };
        facts.coding = Ok(Coding { is_square: false, colour: Colour { transfer: 18, ..Colour::UNSAID }, ..coding });
        let told = carrier(&facts, u64::MAX).unwrap_err();
        for why in [
            Unfit::Profile("High 4:2:2"),
            Unfit::Depth,
            Unfit::Chroma,
            Unfit::Range,
            Unfit::HighDynamicRange,
            Unfit::Interlaced,
            Unfit::Aspect,
            Unfit::Level,
            Unfit::Turned,
            Unfit::Cropped,
            Unfit::Edited,
            Unfit::Empty,
            Unfit::Length,
            Unfit::Sound,
        ] {
            assert_eq!(told.iter().filter(|told| **told == why).count(), 1, "{why:?} among {told:?}");
        }
        assert_eq!(carrier(&ninety(), 9), Err(vec![Unfit::Coding("is not told")]));
    }

    #[test]
    fn a_time_of_a_picture_fits_a_decimal_string() {
        for (value, then) in
            [(1001.0 / 30.0, "33.366667"), (40.0, "40"), (123_456_789.123_456, "123456789.123456"), (1e15, "1000000000000000")]
        {
            assert_eq!(decimal(value), then);
            assert!(decimal(value).len() <= DS_MAX);
        }
    }
}
