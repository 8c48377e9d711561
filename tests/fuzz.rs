//! The claims of the fuzz targets, over seeded mutations: the smoke that every change
//! has to pass. `script/fuzz` looks longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_fixture;
mod support;

#[path = "../fuzz/src/lib.rs"]
#[allow(clippy::pedantic)]
mod claims;

use std::path::PathBuf;

/// Mutations of each seed.
const ROUNDS: u64 = 40;
/// Larger files of the corpus are left to the long run.
const SEED_BYTES_MAX: u64 = 60_000;

/// xorshift64* (Marsaglia 2003; Vigna 2016): the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides.max(1)
    }
}

/// One to four wounds: a byte, a length field, a cut, a piece twice.
fn mutate(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.roll(4) {
        // Structure stands mostly at the beginning.
        let reach = if dice.roll(2) == 0 { bytes.len() } else { bytes.len().min(512) };
        let at = dice.roll(reach);
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => {
                let piece = bytes[at..bytes.len().min(at + 64)].to_vec();
                bytes.splice(at..at, piece);
            }
            2 if at + 4 <= bytes.len() => {
                let value = [0u32, 1, 7, 8, 0x7FFF_FFFF, u32::MAX][dice.roll(6)];
                bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
            3 if at < bytes.len() => bytes[at] = [0, 0xFF, 0x7F, 0x80][dice.roll(4)],
            _ if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            _ => {}
        }
    }
    bytes
}

fn withstand(claim: fn(&[u8]), seeds: &[Vec<u8>]) {
    assert!(!seeds.is_empty(), "there is something to mutate");
    for (index, seed) in seeds.iter().enumerate() {
        claim(seed);
        for round in 0..ROUNDS {
            let number = (index as u64 + 1) * 1_000 + round;
            let mutant = mutate(seed, &mut Dice(number));
            let told = std::panic::catch_unwind(|| claim(&mutant));
            assert!(told.is_ok(), "seed {index}, mutation {number}");
        }
    }
}

/// Files of the corpus, where it lies beside the project.
fn corpus(folders: &[&str], endings: &[&str]) -> Vec<Vec<u8>> {
    let Some(root) = support::shared() else { return Vec::new() };
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| files_below(&root.join("corpus").join(folder))).collect();
    files.retain(|file| file.extension().is_some_and(|e| endings.contains(&e.to_string_lossy().to_lowercase().as_str())));
    files.retain(|file| file.metadata().unwrap().len() <= SEED_BYTES_MAX);
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn files_below(folder: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn pictures_withstand_wounds() {
    let photo = support::photo::Photo::draw(64, 48);
    let pixels: Vec<u8> = (0..32 * 32 * 3).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &pixels, 32, 32, image::ExtendedColorType::Rgb8).unwrap();
    let mut seeds = vec![photo.bytes().to_vec(), png];
    seeds.extend(corpus(&["media"], &["jpg", "jpeg", "png"]));
    withstand(claims::picture, &seeds);
}

#[test]
fn containers_withstand_wounds() {
    let mut seeds = corpus(&["media"], &["heic", "heif", "mp4", "mov", "m4v", "3gp", "pdf"]);
    seeds.extend([media_fixture::heic(2_000), media_fixture::film(*b"qt  ", 3, 500), media_fixture::pdf(false)]);
    seeds.extend(clip());
    withstand(claims::container, &seeds);
}

/// A second of video with sound and a place, as a phone's recorder writes it.
fn clip() -> Option<Vec<u8>> {
    if !support::is_installed("ffmpeg") {
        return None;
    }
    let folder = support::folder::Folder::new();
    let file = folder.path().join("clip.mov");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1"])
        .args(["-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000"])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", "-metadata", "location=+47.4984+019.0406/"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success(), "ffmpeg makes a clip");
    Some(std::fs::read(file).unwrap())
}

#[test]
fn messages_withstand_wounds() {
    let mut seeds = vec![support::hospital::admit("4711").into_bytes(), support::hospital::order("4711", "A123").into_bytes()];
    seeds.extend(seeds.clone().into_iter().map(|message| [b"\x0b", message.as_slice(), b"\x1c\r"].concat()));
    withstand(claims::message, &seeds);
}

#[test]
fn uploads_withstand_wounds() {
    let claim = r#"{"patient":{"id":"4711","issuer":"HOSP"},"department":"derm","taken_at":"2026-03-01T10:15:30.123+01:00"}"#;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"claim\"\r\n\r\n{claim}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n\u{0}\u{1}\r\n--\r\n--b--\r\n"
    );
    withstand(claims::upload, &[claim.as_bytes().to_vec(), body.into_bytes()]);
}

#[test]
fn what_stands_beside_a_picture_withstands_wounds() {
    let photo = support::photo::Photo::draw(8, 8);
    let start = photo.bytes().windows(4).position(|w| w == b"II*\0" || w == b"MM\0*").unwrap();
    withstand(claims::exif, &[photo.bytes()[start..].to_vec()]);
}
