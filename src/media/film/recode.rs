//! How a film is coded anew that no transfer syntax carries as it is: upright H.264 High of 8 bits in
//! 4:2:0, at most 1080 lines and 60 pictures a second, each picture as long as the next, with sound
//! of 48 kHz in stereo. From a pipe to a pipe.
//!
//! Source: PS3.5 §8.2.7, §8.2.8; ITU-T H.264 table A-1.

use super::Facts;
use super::sound::Sound;
use super::stills::Plan;
use crate::media::film::coding::Coding;

/// Sides of the largest picture of level 4.1, and of one held upright.
pub(super) const LONG_SIDE: u16 = 1920;
const SHORT_SIDE: u16 = 1080;
/// What is usual, pictures a second: over, under.
const RATES: [(u32, u32); 8] = [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];
const RATE_MAX: f64 = 60.0;
/// A phone that says 30 keeps between 29.1 and 30.9.
const RATE_SLACK: f64 = 0.03;
/// Side of a macroblock, and how many of them level 4.1 carries in a second.
const BLOCK_SIDE: f64 = 16.0;
const BLOCKS_OF_41: f64 = 245_760.0;
/// What an eye does not tell from the source (constant rate factor of x264), and the preset that
/// a small machine keeps up with.
const QUALITY: &str = "18";
const PRESET: &str = "veryfast";

/// True where its colours are of a high dynamic range: PQ or HLG (ITU-T H.273).
#[must_use]
pub fn is_high_range(facts: &Facts) -> bool {
    facts.coding.as_ref().is_ok_and(|coding: &Coding| [16, 18].contains(&coding.colour.transfer))
}

/// The arguments of `ffmpeg` for a film of which only the sound is coded anew.
#[must_use]
pub fn sound_arguments() -> Vec<String> {
    split(&[&input(UNDECODED_MAX), STREAMS, "-c:v copy", SOUND, OUTPUT])
}

/// The arguments of `ffmpeg`. `maps_tones`: it has the filters `zscale` and `tonemap`; without them
/// a high dynamic range is cut to 8 bits as it is, and looks flat.
#[must_use]
pub fn arguments(facts: &Facts, maps_tones: bool) -> Vec<String> {
    let (over, under) = rate(facts.rate());
    let is_large = blocks(facts) * f64::from(over) / f64::from(under) > BLOCKS_OF_41;
    let filters = format!("fps={over}/{under},{}", upright(facts, maps_tones, &FILM));
    let level = if is_large { "4.2" } else { "4.1" };
    // No picture refers to a later one, so each is shown when it is read. Messages between the
    // pictures tell what coded them, and go.
    let coding = "-bf 0 -g 60 -maxrate 40M -bufsize 60M -bsf:v filter_units=remove_types=6";
    let coder = format!("-c:v libx264 -threads 2 -profile:v high -level:v {level} -preset {PRESET} -crf {QUALITY} {coding}");
    split(&[&input(undecoded_max(facts)), STREAMS, "-vf", &filters, &coder, SOUND, OUTPUT])
}

/// The arguments of `ffmpeg` for stills of a film, as `YUV4MPEG2` in the colours of a JPEG (T.871 §7).
/// `maps_tones` as for [`arguments`].
#[must_use]
pub fn stills_arguments(facts: &Facts, maps_tones: bool, plan: Plan) -> Vec<String> {
    let Plan { count, apart_ms } = plan;
    // A film that has fewer pictures shows its last one for longer.
    let filters = format!("fps=1000/{apart_ms},tpad=stop_mode=clone:stop={count},{}", upright(facts, maps_tones, &JPEG));
    split(&[
        &input(UNDECODED_MAX),
        "-map 0:v:0 -an -sn -dn",
        "-vf",
        &filters,
        &format!("-frames:v {count} -f yuv4mpegpipe pipe:1"),
    ])
}

/// What luma and chroma mean, as options of the filters.
struct Meaning {
    scale: &'static str,
    zscale: &'static str,
}

const FILM: Meaning = Meaning { scale: "out_range=tv", zscale: "m=bt709:r=tv" };
const JPEG: Meaning = Meaning { scale: "out_range=pc:out_color_matrix=bt601", zscale: "m=170m:r=pc" };

/// Filters that make the pixels square and the picture small enough, in 8 bits of 4:2:0. What is smaller
/// stays so; both sides are even.
fn upright(facts: &Facts, maps_tones: bool, meaning: &Meaning) -> String {
    let is_toned = is_high_range(facts) && maps_tones;
    let scale = if is_toned { FILM.scale } else { meaning.scale };
    let tones = if is_toned {
        // To linear light of 100 nits for white, to the colours of BT.709, brought into range, back.
        format!(
            "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,zscale=t=bt709:{},",
            meaning.zscale
        )
    } else {
        String::new()
    };
    // Tones last: a filter behind them would make of red, green and blue what it takes for luma and chroma,
    // by the matrix of BT.601; and a picture of 1080 lines has a quarter of the pixels that one of 2160 has.
    format!(
        "scale=w=trunc(iw*sar/2)*2:h=trunc(ih/2)*2,setsar=1,\
         scale=w=min(iw\\,if(gte(iw\\,ih)\\,{LONG_SIDE}\\,{SHORT_SIDE})):h=min(ih\\,if(gte(iw\\,ih)\\,{SHORT_SIDE}\\,{LONG_SIDE})):\
         force_original_aspect_ratio=decrease:force_divisible_by=2:{scale},setsar=1,{tones}format=yuv420p"
    )
}

/// What cannot be decoded is left out, and the picture before it shown instead: of more than one picture in
/// fifty that is an error.
const UNDECODED_MAX: f64 = 0.02;
/// Samples of a block of AAC (ISO/IEC 14496-3 §4.5.1.1), and blocks of other sound in a second, about.
const AAC_BLOCK_SAMPLES: f64 = 1024.0;
const BLOCKS_A_SECOND: f64 = 50.0;

/// The share of all that is decoded, pictures and blocks of sound, that may fail: `ffmpeg` 5 counts them
/// together, and damage to the pictures is not to be lost among blocks of sound. Newer ones count each by
/// itself, and are so much stricter.
fn undecoded_max(facts: &Facts) -> f64 {
    let sound = match &facts.sound {
        None => 0.0,
        Some(Sound::Aac(aac)) => f64::from(aac.rate_hz) / AAC_BLOCK_SAMPLES,
        Some(Sound::Other(_)) => BLOCKS_A_SECOND,
    };
    let pictures = facts.rate();
    let share = pictures / (pictures + sound);
    if share.is_finite() { UNDECODED_MAX * share } else { UNDECODED_MAX }
}

fn input(undecoded_max: f64) -> String {
    format!(
        "-nostdin -hide_banner -loglevel error -protocol_whitelist pipe -max_error_rate {undecoded_max:.5} -threads 2 \
         -filter_threads 1 -f mov -i pipe:0"
    )
}

/// With this code `ffmpeg` ends where more could not be decoded.
pub const DAMAGED: u8 = 69;
const STREAMS: &str = "-map 0:v:0 -map 0:a:0? -map_metadata -1 -map_chapters -1 -sn -dn";
const SOUND: &str = "-c:a aac -b:a 160k -ar 48000 -ac 2";
// The index comes with the first pictures, and so knows by how much they and the sound are late.
const OUTPUT: &str = "-movflags +frag_keyframe+delay_moov+default_base_moof -f mp4 pipe:1";

fn split(words: &[&str]) -> Vec<String> {
    words.iter().flat_map(|words| words.split(' ')).map(str::to_owned).collect()
}

/// The usual rate next to this one; the next whole one where none is near.
fn rate(rate: f64) -> (u32, u32) {
    let of = |(over, under): (u32, u32)| f64::from(over) / f64::from(under);
    let apart = |usual: &(u32, u32)| (rate / of(*usual) - 1.0).abs();
    let near = RATES.into_iter().min_by(|a, b| apart(a).total_cmp(&apart(b))).filter(|usual| apart(usual) < RATE_SLACK);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to 60
    let whole = || if rate.is_finite() { rate.ceil().clamp(1.0, RATE_MAX) as u32 } else { 30 };
    near.unwrap_or_else(|| (whole(), 1))
}

/// Macroblocks of one picture as it comes out: of the largest where its pixels are not square, or nothing
/// tells how large it is.
fn blocks(facts: &Facts) -> f64 {
    let whole = (f64::from(LONG_SIDE), f64::from(SHORT_SIDE));
    let told = facts.coding.as_ref().ok().filter(|coding| coding.is_square && facts.is_square);
    let (long, short) = told.map_or(whole, |coding| {
        let (long, short) = (coding.width.max(coding.height), coding.width.min(coding.height));
        (f64::from(long), f64::from(short))
    });
    let smaller = (whole.0 / long).min(whole.1 / short).min(1.0);
    let along = |side: f64| (side * smaller / BLOCK_SIDE).ceil();
    along(long) * along(short)
}

#[cfg(test)]
mod tests {
    use super::super::coding::{Colour, Family};
    use super::*;
    use crate::capture::media::Orientation;
    use crate::media::Fault;

    /// Three seconds in so many pictures a second; of H.264 Main where it is told how large they are.
    fn film(size: Option<(u32, u32)>, rate: u32) -> Facts {
        let coding = size.map(|(width, height)| Coding {
            family: Family::Avc,
            profile: 77,
            level: 51,
            is_high_tier: false,
            chroma: 1,
            bits: 8,
            width,
            height,
            coded_pixels: u64::from(width) * u64::from(height),
            is_square: true,
            is_progressive: true,
            is_full_range: false,
            colour: Colour::UNSAID,
        });
        Facts {
            entry: *b"avc1",
            coding: coding.ok_or(Fault("is not told")),
            turn: Some(Orientation::UPRIGHT),
            is_square: true,
            is_cropped: false,
            is_shown_whole: true,
            is_each_coded: true,
            frames: 3 * rate,
            ticks: 1_800,
            ticks_per_second: 600,
            picture_bytes: 1_000_000,
            sound: None,
        }
    }

    #[test]
    fn what_level_41_carries_is_said_to_be_of_it() {
        let stretched = Facts { is_square: false, ..film(Some((640, 480)), 60) };
        let table = [
            (film(Some((1920, 1080)), 30), "4.1"),
            (film(Some((1080, 1920)), 30), "4.1"),
            (film(Some((3840, 2160)), 30), "4.1"),
            (film(Some((1280, 720)), 60), "4.1"),
            (film(Some((720, 1280)), 240), "4.1"),
            (film(Some((1920, 1080)), 60), "4.2"),
            (film(Some((3840, 2160)), 60), "4.2"),
            (film(None, 30), "4.1"),
            (film(None, 60), "4.2"),
            (stretched, "4.2"),
        ];
        for (facts, then) in table {
            let words = arguments(&facts, false);
            let at = words.iter().position(|word| word == "-level:v").unwrap();
            assert_eq!(words[at + 1], then, "{facts:?}");
        }
    }

    #[test]
    fn a_rate_becomes_the_usual_one_next_to_it() {
        let table = [
            (29.97, (30_000, 1001)),
            (29.4, (30_000, 1001)),
            (30.0, (30, 1)),
            (25.1, (25, 1)),
            (59.8, (60_000, 1001)),
            (239.7, (60, 1)),
            (12.3, (13, 1)),
            (0.2, (1, 1)),
            (f64::NAN, (30, 1)),
            (f64::INFINITY, (30, 1)),
        ];
        for (given, then) in table {
            assert_eq!(rate(given), then, "{given}");
        }
    }
}
