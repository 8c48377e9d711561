//! What it costs to make a photo upright, and how it looks then, beside the usual programs.
//!
//! `cargo bench --bench pictures` turns a JPEG of 12 million pixels as phones write it (4:2:0, held
//! upright) in its coefficients, beside `jpegtran -rotate 90`, and makes JPEGs of HEIC photos, beside
//! `heif-convert`; a process each, again and again in turn, user and system time of one run. For a HEIC
//! also how far the two pictures are apart, in levels of 255, before `heif-convert` codes its own.
//!
//! `cargo bench --bench pictures -- FILE|FOLDER…` takes HEIC photos of your own; without, it draws one.
//! Option: `--runs N` (10).
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench may stop")]

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::imageops::FilterType;
use shutterbridge::capture::media::{EdgeBlocks, Orientation};
use shutterbridge::fence::{self, Fence, Task};
use shutterbridge::media::{jpeg, raster};
use shutterbridge::scrub::{Limits, Purpose, container};

/// The first word of a process of this bench that turns one picture: the files to read and to write.
const TURN: &str = "turn-one";
const SIZE: (u32, u32) = (4032, 3024);
/// As `wrap` codes what has to be coded again.
const QUALITY: u8 = 95;

fn main() {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|word| word == TURN) {
        let files: Vec<OsString> = words.skip(1).collect();
        let source = std::fs::read(&files[0]).expect("the picture");
        let turn = Orientation::from_exif(6).expect("a quarter turn");
        let made = raster::upright_jpeg(&source, turn, EdgeBlocks::Recode, QUALITY).expect("it is turned");
        assert!(made.is_lossless, "its coefficients stay");
        std::fs::write(&files[1], made.jpeg).expect("it is written");
        return;
    }
    let (runs, given) = options(words);
    let folder = std::env::temp_dir().join(format!("shutterbridge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let photo = draw(&folder);
    turns(&folder, &photo, runs);
    let photos = if given.is_empty() { code_heic(&folder, &photo).into_iter().collect() } else { given };
    heics(&folder, &photos, runs);
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn options(mut words: impl Iterator<Item = OsString>) -> (u32, Vec<PathBuf>) {
    let (mut runs, mut given) = (10, Vec::new());
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--runs") => {
                let value = words.next().and_then(|value| value.to_str()?.parse().ok());
                runs = value.expect("--runs wants a number");
            }
            // cargo's own.
            Some("--bench") => {}
            _ => given.push(PathBuf::from(word)),
        }
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for path in given {
        match std::fs::read_dir(&path) {
            Ok(entries) => files.extend(entries.map(|entry| entry.expect("a file").path())),
            Err(_) => files.push(path),
        }
    }
    files.retain(|file| file.extension().is_some_and(|e| ["heic", "heif"].iter().any(|known| e.eq_ignore_ascii_case(known))));
    files.sort();
    (runs, files)
}

/// The drawn photo in a phone's size, under the grain of a sensor.
fn draw(folder: &Path) -> PathBuf {
    let small = image::load_from_memory(&raster::draw_sample_photo()).expect("the drawn photo");
    let mut samples = small.resize_exact(SIZE.0, SIZE.1, FilterType::Triangle).into_rgb8().into_raw();
    let mut grain = 0x2545_F491_4F6C_DD1D_u64;
    for sample in &mut samples {
        grain ^= grain << 13;
        grain ^= grain >> 7;
        grain ^= grain << 17;
        *sample = sample.saturating_add(u8::try_from(grain % 11).unwrap_or_default());
    }
    let encoding = jpeg::Encoding { quality: 92, has_full_chroma: false };
    let photo = folder.join("photo.jpg");
    let coded = jpeg::encode(samples, SIZE, 3, Orientation::UPRIGHT, encoding).expect("it is coded");
    std::fs::write(&photo, coded).expect("it is written");
    photo
}

fn code_heic(folder: &Path, photo: &Path) -> Option<PathBuf> {
    let heic = folder.join("photo.heic");
    let made = Command::new("heif-enc").args(["-q", "60", "-o"]).arg(&heic).arg(photo).stdout(Stdio::null()).status();
    if made.is_err() {
        println!("heif-enc (Debian: libheif-examples) is not installed: name HEIC photos of your own");
    }
    made.ok().filter(std::process::ExitStatus::success).map(|_| heic)
}

// ---- JPEG -----------------------------------------------------------------------------------------

fn turns(folder: &Path, photo: &Path, runs: u32) {
    let size = std::fs::metadata(photo).expect("it is there").len();
    println!(
        "a quarter turn in the coefficients, {} × {}, 4:2:0, {:.1} MB; ms of CPU a run of {runs}\n",
        SIZE.0,
        SIZE.1,
        mega(size)
    );
    let (ours, theirs) = (folder.join("ours.jpg"), folder.join("theirs.jpg"));
    let mut own = Command::new(std::env::current_exe().expect("this bench"));
    own.arg(TURN).arg(photo).arg(&ours);
    let mut other = Command::new("jpegtran");
    other.args(["-rotate", "90", "-perfect", "-copy", "none", "-outfile"]).arg(&theirs).arg(photo);
    let mut rows = [("shutterbridge", 0.0), ("jpegtran -rotate 90 -perfect", 0.0)];
    for _ in 0..runs {
        for (command, (_, sum)) in [&mut own, &mut other].into_iter().zip(&mut rows) {
            *sum += cost_ms(|| _ = command.status().expect("jpegtran (Debian: libjpeg-turbo-progs) is installed"));
        }
    }
    let [.., (_, least)] = rows;
    for ((what, sum), file) in rows.into_iter().zip([&ours, &theirs]) {
        let size = std::fs::metadata(file).map(|file| mega(file.len())).unwrap_or_default();
        println!("{what:<44} {:>7.0} ms {:>6.2} × {size:>7.2} MB", sum / f64::from(runs), sum / least);
    }
    println!();
}

// ---- HEIC -----------------------------------------------------------------------------------------

fn heics(folder: &Path, photos: &[PathBuf], runs: u32) {
    println!("HEIC to an upright JPEG of quality {QUALITY}; ms of CPU a run of {runs}; levels of 255 from libheif's picture\n");
    println!(
        "{:<44} {:>13} {:>14} {:>14} {:>6} {:>6} {:>5}",
        "", "size", "shutterbridge", "heif-convert", "ratio", "mean", "most"
    );
    let command = [OsString::from(env!("CARGO_BIN_EXE_shutterbridge")), OsString::from(fence::WORD)];
    let fence = Fence::of(command);
    for photo in photos {
        let source = scrubbed(&std::fs::read(photo).expect("the photo"));
        let name = photo.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (mut ours, mut made, mut theirs) = (0.0, Vec::new(), 0.0);
        let mut ended = Ok(());
        let jpeg = folder.join("theirs.jpg");
        for _ in 0..runs {
            made.clear();
            let mut sink = |piece: &[u8]| {
                made.extend_from_slice(piece);
                Ok(())
            };
            ours += cost_ms(|| ended = fence.run(&Task::Heic { quality: QUALITY }, &mut source.as_slice(), &mut sink));
            theirs += cost_ms(|| _ = convert(photo, &jpeg));
        }
        if let Err(why) = ended {
            println!("{name:<44} {why}");
            continue;
        }
        let picture = image::load_from_memory(&made).expect("a JPEG").into_rgb8();
        let (size, ratio) = (format!("{} × {}", picture.width(), picture.height()), ours / theirs);
        let [ours, theirs] = [ours, theirs].map(|sum| sum / f64::from(runs));
        let png = folder.join("theirs.png");
        let _ = std::fs::remove_file(&png);
        let apart = if convert(photo, &png) { apart(picture.as_raw(), &png) } else { None };
        let apart = apart.map_or_else(|| "no picture of libheif".to_owned(), |(mean, most)| format!("{mean:>6.2} {most:>5}"));
        println!("{name:<44} {size:>13} {ours:>11.0} ms {theirs:>11.0} ms {ratio:>6.2} {apart}");
    }
}

/// As it lies in the spool, and goes into the decoder.
fn scrubbed(photo: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut sink = |piece: &[u8]| {
        kept.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    };
    container::scrub(&photo, Purpose::Object, &Limits::default(), &mut sink).expect("a HEIC that is accepted");
    kept
}

fn convert(photo: &Path, into: &Path) -> bool {
    let mut command = Command::new("heif-convert");
    command.args(["-q", &QUALITY.to_string()]).arg(photo).arg(into).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("heif-convert (Debian: libheif-examples) is installed").success()
}

/// Mean and largest difference; `None` where libheif made no picture of this size.
fn apart(ours: &[u8], png: &Path) -> Option<(f64, u8)> {
    let theirs = raster::native(&std::fs::read(png).ok()?, Orientation::UPRIGHT).ok()?.bytes;
    if ours.len() != theirs.len() {
        return None;
    }
    let each = || ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let mean = each().map(u64::from).sum::<u64>() as f64 / ours.len() as f64;
    Some((mean, each().max()?))
}

// ---- What the kernel knows of the processes ---------------------------------------------------------

#[allow(clippy::cast_precision_loss)] // a file is smaller than 2^53 bytes
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// User and system time of the processes that it starts and waits for, ms.
fn cost_ms(run: impl FnOnce()) -> f64 {
    let before = ticks();
    run();
    #[allow(clippy::cast_precision_loss)]
    let ticks = (ticks() - before) as f64;
    ticks * 10.0
}

/// cutime + cstime, hundredths of a second (proc(5): fields 16 and 17; the name in brackets may hold spaces).
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [13, 14].iter().map(|n| fields[*n].parse::<u64>().expect("ticks")).sum()
}
