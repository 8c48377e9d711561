//! JPEG in coefficients: what is turned, made baseline or cut keeps its picture, as referees see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use shutterbridge::capture::media::{Coding, EdgeBlocks, Essence, Orientation};
use shutterbridge::media::{jpeg, raster};
use shutterbridge::scrub::{Limits, Purpose, PushError, ScrubCode, ScrubError, Scrubbed, Scrubber};

fn orientation(value: u16) -> Orientation {
    Orientation::from_exif(value).unwrap()
}

/// RGB samples with soft tones and some grain, different in every corner.
fn scene(width: u32, height: u32) -> Vec<u8> {
    let mut grain = 0x2545_F491_4F6C_DD1D_u64;
    let mut samples = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        grain ^= grain << 13;
        grain ^= grain >> 7;
        grain ^= grain << 17;
        let tone = |at: u32, side: u32| u8::try_from(at * 200 / side).unwrap();
        let noise = u8::try_from(grain % 13).unwrap();
        samples.extend([tone(x, width) + noise, tone(y, height) + noise, 220 - tone(x, width) + noise]);
    }
    samples
}

/// 4:4:4, as the crate codes.
fn coded_444(width: u32, height: u32) -> Vec<u8> {
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, 90)
        .write_image(&scene(width, height), width, height, ExtendedColorType::Rgb8)
        .unwrap();
    out
}

/// 4:2:0, as we code.
fn coded_420(width: u32, height: u32) -> Vec<u8> {
    let encoding = jpeg::Encoding { quality: 90, has_full_chroma: false };
    jpeg::encode(scene(width, height), (width, height), 3, Orientation::UPRIGHT, encoding).unwrap()
}

/// Runs a referee over `input`; `None` where it is not installed, an error where it says no.
fn referee(program: &str, args: &[&str], input: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        let _ = pipe.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() && said.is_empty() { Ok(output.stdout) } else { Err(said) })
}

/// Pictures in many forms: samplings, processes, restarts, several scans.
fn forms(width: u32, height: u32) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("4:4:4".to_owned(), coded_444(width, height)), ("4:2:0".to_owned(), coded_420(width, height))];
    let ppm = [format!("P6 {width} {height} 255\n").as_bytes(), &scene(width, height)].concat();
    let table: [&[&str]; 10] = [
        &["-sample", "2x1"],
        &["-sample", "1x2"],
        &["-sample", "2x2,2x1,1x1"],
        &["-restart", "1", "-sample", "2x2"],
        &["-restart", "3B", "-sample", "1x1"],
        &["-progressive"],
        &["-progressive", "-sample", "1x1", "-restart", "1"],
        &["-progressive", "-quality", "100"],
        &["-grayscale"],
        &["-grayscale", "-progressive", "-sample", "2x2"],
    ];
    for args in table {
        if let Some(coded) = referee("cjpeg", args, &ppm) {
            all.push((args.join(" "), coded.unwrap()));
        }
    }
    all
}

fn tran_of(value: u16) -> &'static [&'static str] {
    match value {
        2 => &["-flip", "horizontal"],
        3 => &["-rotate", "180"],
        4 => &["-flip", "vertical"],
        5 => &["-transpose"],
        6 => &["-rotate", "90"],
        7 => &["-transverse"],
        8 => &["-rotate", "270"],
        _ => &[],
    }
}

/// What jpegtran makes of it; an error where it cannot be done in the coefficients.
fn turned_by_referee(source: &[u8], value: u16) -> Option<Result<Vec<u8>, String>> {
    let args = [&["-copy", "none", "-perfect"], tran_of(value)].concat();
    referee("jpegtran", &args, source)
}

fn pixels(jpeg: &[u8]) -> (u32, u32, Vec<u8>) {
    let picture = image::load_from_memory(jpeg).unwrap().into_rgb8();
    (picture.width(), picture.height(), picture.into_raw())
}

/// The samples of a decoded picture as the orientation shows them.
fn shown((width, height, samples): (u32, u32, Vec<u8>), value: u16) -> (u32, u32, Vec<u8>) {
    let picture = image::DynamicImage::ImageRgb8(image::RgbImage::from_raw(width, height, samples).unwrap());
    let picture = match value {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        5 => picture.rotate90().fliph(),
        6 => picture.rotate90(),
        7 => picture.rotate270().fliph(),
        8 => picture.rotate270(),
        _ => picture,
    }
    .into_rgb8();
    (picture.width(), picture.height(), picture.into_raw())
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    #[allow(clippy::cast_precision_loss)]
    let mean = sum as f64 / a.len() as f64;
    mean
}

fn assert_same_picture(ours: &[u8], theirs: &[u8], what: &str) {
    let decoded = |jpeg: &[u8]| referee("djpeg", &["-dct", "int"], jpeg);
    match (decoded(ours), decoded(theirs)) {
        (Some(ours), Some(theirs)) => assert_eq!(ours.unwrap(), theirs.unwrap(), "{what}"),
        _ => assert_eq!(pixels(ours), pixels(theirs), "{what}"),
    }
}

#[test]
fn a_turn_of_whole_mcus_is_the_one_of_jpegtran_to_the_last_pixel() {
    for (form, source) in forms(96, 64) {
        for value in 1..=8 {
            let ours = jpeg::upright(&source, orientation(value), EdgeBlocks::Recode).unwrap_or_else(|e| panic!("{form}: {e}"));
            assert!(ours.is_lossless, "{form} {value}");
            let Some(theirs) = turned_by_referee(&source, value) else { return };
            assert_same_picture(&ours.jpeg, &theirs.expect("whole MCUs"), &format!("{form} {value}"));
        }
    }
}

#[test]
fn coefficients_survive_any_number_of_turns() {
    for (form, source) in forms(96, 64) {
        let once = jpeg::upright(&source, Orientation::UPRIGHT, EdgeBlocks::Recode).unwrap().jpeg;
        for (there, back) in [(2, 2), (3, 3), (4, 4), (5, 5), (6, 8), (7, 7), (8, 6)] {
            let turned = jpeg::upright(&once, orientation(there), EdgeBlocks::Recode).unwrap().jpeg;
            let again = jpeg::upright(&turned, orientation(back), EdgeBlocks::Recode).unwrap().jpeg;
            assert_eq!(again, once, "{form} {there}");
        }
    }
}

#[test]
fn what_comes_out_is_baseline_and_passes_the_scrubber_unchanged() {
    for (form, source) in forms(50, 37) {
        let made = jpeg::upright(&source, orientation(6), EdgeBlocks::Recode).unwrap();
        let (out, scrubbed) = scrub(&made.jpeg, Purpose::Object, &Limits::walking(), 512).unwrap();
        assert_eq!(out, made.jpeg, "{form}");
        assert!(scrubbed.removed.is_empty(), "{form}");
        let coding = if made.components == 1 { Coding::JpegBaselineGrey } else { Coding::JpegBaselineYcbcr };
        let format = scrubbed.facts.format;
        assert_eq!((format.width, format.height, format.coding), (37, 50, coding), "{form}");
    }
}

#[test]
fn progressive_becomes_baseline_without_the_loss_of_a_bit() {
    for (form, source) in forms(101, 71) {
        let made = jpeg::upright(&source, Orientation::UPRIGHT, EdgeBlocks::Recode).unwrap();
        assert!(made.is_lossless, "{form}");
        assert_same_picture(&made.jpeg, &source, &form);
    }
}

#[test]
fn where_an_edge_is_no_whole_mcu_no_row_is_lost_and_nothing_stands_behind_it() {
    for (form, source) in forms(101, 71) {
        for value in 2..=8 {
            let made = jpeg::upright(&source, orientation(value), EdgeBlocks::Recode).unwrap();
            let (width, height, samples) = pixels(&made.jpeg);
            let (right_width, right_height, right) = shown(pixels(&source), value);
            assert_eq!((width, height), (right_width, right_height), "{form} {value}");
            let far = mean_difference(&samples, &right);
            assert!(far < 3.0, "{form} {value}: {far}");
            if let Some(theirs) = turned_by_referee(&source, value) {
                assert_eq!(made.is_lossless, theirs.is_ok(), "{form} {value}");
            }
        }
    }
}

#[test]
fn what_is_trimmed_is_what_jpegtran_trims_to_the_last_pixel() {
    for (form, source) in forms(101, 71) {
        for value in 2..=8 {
            let made = jpeg::upright(&source, orientation(value), EdgeBlocks::Trim).unwrap();
            assert!(made.is_lossless, "{form} {value}");
            let args = [&["-copy", "none", "-trim"], tran_of(value)].concat();
            let Some(theirs) = referee("jpegtran", &args, &source) else { return };
            let theirs = theirs.unwrap();
            assert_same_picture(&made.jpeg, &theirs, &format!("{form} {value}"));
            let (width, height, _) = pixels(&theirs);
            assert_eq!((made.width, made.height), (width, height), "{form} {value}");
            let is_smaller = width * height < 101 * 71;
            assert_eq!(made.is_trimmed, is_smaller, "{form} {value}");
        }
        let made = jpeg::upright(&source, Orientation::UPRIGHT, EdgeBlocks::Trim).unwrap();
        assert_eq!((made.width, made.height, made.is_trimmed), (101, 71, false), "{form}");
    }
    // Nothing would be left.
    for (form, source) in forms(9, 7) {
        let made = jpeg::upright(&source, orientation(3), EdgeBlocks::Trim).unwrap();
        assert_eq!((made.width, made.height), (9, 7), "{form}");
    }
}

#[test]
fn colours_that_the_module_does_not_know_are_converted() {
    // The same planes, said to be red, green and blue by Adobe's header.
    let ycbcr = coded_444(40, 24);
    let adobe = [&[0xFF, 0xD8, 0xFF, 0xEE, 0, 14][..], b"Adobe\0\x64\0\0\0\0\0"].concat();
    let jfif_end = 2 + 2 + usize::from(u16::from_be_bytes([ycbcr[4], ycbcr[5]]));
    let rgb = [&adobe, &ycbcr[jfif_end..]].concat();
    assert!(jpeg::upright(&rgb, Orientation::UPRIGHT, EdgeBlocks::Recode).is_err());
    let made = raster::upright_jpeg(&rgb, orientation(6), EdgeBlocks::Recode, 95).unwrap();
    assert_eq!((made.width, made.height, made.components, made.is_lossless), (24, 40, 3, false));
    let far = mean_difference(&pixels(&made.jpeg).2, &shown(pixels(&rgb), 6).2);
    assert!(far < 8.0, "{far}");
}

#[test]
fn what_is_coded_here_looks_like_its_samples() {
    for ((width, height), has_full_chroma) in
        [((1, 1), false), ((2, 3), true), ((15, 17), false), ((64, 48), false), ((97, 33), true)]
    {
        let encoding = jpeg::Encoding { quality: 95, has_full_chroma };
        let coded = jpeg::encode(scene(width, height), (width, height), 3, Orientation::UPRIGHT, encoding).unwrap();
        let (w, h, samples) = pixels(&coded);
        assert_eq!((w, h), (width, height));
        let far = mean_difference(&samples, &scene(width, height));
        assert!(far < 6.0, "{width} × {height}: {far}");
        if let Some(decoded) = referee("djpeg", &[], &coded) {
            assert!(decoded.is_ok(), "{width} × {height}: {decoded:?}");
        }
    }
    let encoding = jpeg::Encoding { quality: 95, has_full_chroma: false };
    assert!(jpeg::encode(vec![0; 11], (2, 2), 3, Orientation::UPRIGHT, encoding).is_err());
}

#[test]
fn damage_is_an_error_or_a_picture_and_never_a_panic() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 16).unwrap()
    };
    for (form, source) in forms(33, 25) {
        for _ in 0..60 {
            let mut bytes = source.clone();
            for _ in 0..=next() % 3 {
                let at = next() % bytes.len();
                bytes[at] ^= 1 << (next() % 8);
            }
            let value = u16::try_from(1 + next() % 8).unwrap();
            let edges = [EdgeBlocks::Recode, EdgeBlocks::Trim][next() % 2];
            if let Ok(made) = jpeg::upright(&bytes, orientation(value), edges) {
                let again = jpeg::upright(&made.jpeg, Orientation::UPRIGHT, EdgeBlocks::Recode);
                assert_eq!(again.map(|a| a.jpeg), Ok(made.jpeg), "{form}");
            }
            let _ = scrub(&bytes, Purpose::File, &Limits::walking(), 100);
        }
    }
}

fn scrub(file: &[u8], purpose: Purpose, limits: &Limits, portion: usize) -> Result<(Vec<u8>, Scrubbed), ScrubError> {
    let mut out = Vec::new();
    let mut sink = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<(), ()>(())
    };
    let stopped = |e: PushError<()>| match e {
        PushError::Scrub(error) => error,
        PushError::Sink(()) => unreachable!(),
    };
    let mut scrubber = Scrubber::new(purpose, limits);
    for part in file.chunks(portion) {
        scrubber.push(part, &mut sink).map_err(stopped)?;
    }
    let verdict = scrubber.finish(&mut sink).map_err(stopped)?;
    Ok((out, verdict))
}

/// Where the data of each scan ends: at each marker that follows entropy-coded data. Restart
/// markers count.
fn ends_of_data(jpeg: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut is_in_scan = false;
    let mut at = 2;
    while at + 1 < jpeg.len() {
        match (jpeg[at], jpeg[at + 1]) {
            (0xFF, 0) | (0..=0xFE, _) if is_in_scan => at += 1,
            (0xFF, 0xD0..=0xD7) => {
                ends.push(at);
                at += 2;
            }
            (0xFF, code) => {
                if is_in_scan {
                    ends.push(at);
                }
                if code == 0xD9 {
                    break;
                }
                is_in_scan = code == 0xDA;
                at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            }
            _ => panic!("{at}"),
        }
    }
    ends
}

#[test]
fn bytes_that_belong_to_no_mcu_do_not_leave() {
    let secrets: [&[u8]; 4] =
        [b"GPSLatitude 47.3769 GPSLongitude 8.5417 ISO6709 +47.3769+008.5417/", b"\0\0\0\x2f\0\0\0\x01", b"x", &[0xA5; 9000]];
    for (form, source) in forms(96, 64) {
        let ends = ends_of_data(&source);
        for at in [ends[0], ends[ends.len() / 2], ends[ends.len() - 1]] {
            for secret in secrets {
                let hidden = [&source[..at], secret, &source[at..]].concat();
                let (clean, _) = scrub(&source, Purpose::File, &Limits::walking(), 4096).unwrap();
                for portion in [7, 999, 100_000] {
                    let (out, scrubbed) = scrub(&hidden, Purpose::File, &Limits::walking(), portion).unwrap();
                    assert!(out == clean, "{form}: {} bytes at {at} by {portion}", secret.len());
                    assert_eq!(scrubbed.removed, ["jpeg.stray"], "{form}");
                    assert_eq!(scrubbed.essence, Essence::Rotated, "{form}: the coefficients are kept");
                    assert_eq!(scrubbed.location_found, secret.starts_with(b"GPS"), "{form}");
                }
            }
        }
    }
}

#[test]
fn a_walked_picture_that_breaks_off_is_refused_and_a_whole_one_is_not_touched() {
    for (form, source) in forms(96, 64) {
        let (out, scrubbed) = scrub(&source, Purpose::File, &Limits::walking(), 333).unwrap();
        let plain = scrub(&source, Purpose::File, &Limits::default(), 333).unwrap();
        assert!(out == plain.0 && scrubbed.removed.is_empty(), "{form}");
        assert_eq!(scrubbed.essence, Essence::Unchanged, "{form}");
        let last = *ends_of_data(&source).last().unwrap();
        let cut = [&source[..last - 9], &source[last..]].concat();
        let refused = scrub(&cut, Purpose::File, &Limits::walking(), 333).map(|_| ());
        assert_eq!(refused.unwrap_err().code, ScrubCode::DamagedMedia, "{form}");
    }
}

#[test]
fn a_scan_that_goes_on_behind_its_last_mcu_is_seen_while_it_passes() {
    let secrets: [&[u8]; 3] = [b"+47.3769+008.5417/", &[0xA5, 0x17, 0x00, 0xC3, 0x99], b"\x40\x47\xb0\x3d\0\0\x40\x21\x15\x5a"];
    let (mut seen, mut tried) = (0, 0);
    for (form, source) in forms(320, 240) {
        let coding_of = |file: &[u8], portion| {
            let (out, scrubbed) = scrub(file, Purpose::Object, &Limits::default(), portion).unwrap();
            assert_eq!(out, file, "{form}: what passes is not cut");
            scrubbed.facts.format.coding
        };
        if jpeg::process(&source) != Some(jpeg::Process::Baseline) {
            continue;
        }
        let end = *ends_of_data(&source).last().unwrap();
        for portion in [100, 1 << 16] {
            assert_ne!(coding_of(&source, portion), Coding::JpegOther, "{form}");
            for secret in secrets {
                let hidden = [&source[..end], secret, &source[end..]].concat();
                seen += usize::from(coding_of(&hidden, portion) == Coding::JpegOther);
                tried += 1;
            }
        }
    }
    // One in two hundred reads as MCUs by chance.
    assert!(tried > 0 && seen + 1 + tried / 100 >= tried, "{seen} of {tried}");
}

fn corpus() -> Vec<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("SHUTTERBRIDGE_SHARED").map_or(beside, PathBuf::from);
    let mut found = Vec::new();
    let mut folders = vec![shared.join("corpus/media")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "jpg") && !path.components().any(|c| c.as_os_str() == "refuse") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_photo_of_the_corpus_keeps_its_picture() {
    let (mut lossless, mut again) = (0, 0);
    let photos = corpus();
    if photos.is_empty() {
        eprintln!("skipped: no corpus lies beside the project");
    }
    for path in photos {
        let file = std::fs::read(&path).unwrap();
        // Those that are cut short are refused: nobody knows where their picture ends.
        let Ok((stream, scrubbed)) = scrub(&file, Purpose::Object, &Limits::walking(), 1 << 16) else { continue };
        let turn = scrubbed.facts.orientation;
        let made = raster::upright_jpeg(&stream, turn, EdgeBlocks::Recode, 95).unwrap_or_else(|e| panic!("{}: {e}", name(&path)));
        let Some(theirs) = turned_by_referee(&stream, u16::from(turn.to_exif())) else { return };
        if made.is_lossless {
            lossless += 1;
            assert_same_picture(&made.jpeg, &theirs.unwrap_or_else(|e| panic!("{}: {e}", name(&path))), &name(&path));
        } else {
            again += 1;
            let (width, height, samples) = pixels(&made.jpeg);
            let right = shown(pixels(&stream), u16::from(turn.to_exif()));
            assert_eq!((width, height), (right.0, right.1), "{}", name(&path));
            assert!(mean_difference(&samples, &right.2) < 4.0, "{}", name(&path));
        }
    }
    if lossless > 0 {
        eprintln!("{lossless} photos kept their coefficients, {again} were coded again");
        assert!(lossless > 10 * again);
    }
}
