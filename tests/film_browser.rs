//! Films of objects in a real browser, where the machine has one: they play, and the right way up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod browser_support;
mod dicom_fixture;
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use browser_support::Browser;
use dicom_dictionary_std::tags;
use dicom_fixture::TempDir;
use serde_json::Value;
use support::is_installed;

const SIDE: usize = 48;
/// How often it is looked whether the middle of a film is painted: ten seconds, a third of what the driver
/// gives a script.
const LOOKS: usize = 200;

/// A page on loopback, and the film that it plays.
struct Stage {
    port: u16,
    film: Arc<Mutex<Vec<u8>>>,
}

impl Stage {
    fn build() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let film: Arc<Mutex<Vec<u8>>> = Arc::default();
        let given = Arc::clone(&film);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let (kind, body) = if asked.contains("/film") {
                    ("video/mp4", given.lock().unwrap().clone())
                } else {
                    ("text/html", b"<!doctype html><title>film</title>".to_vec())
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { port, film }
    }

    /// Plays a film to its end; gives the size that it is shown in, and how it looks in its middle, as
    /// grey of [`SIDE`] by [`SIDE`].
    fn play(&self, browser: &Browser, film: &[u8]) -> ((u64, u64), Vec<f64>) {
        film.clone_into(&mut self.film.lock().unwrap());
        browser.open(&format!("http://127.0.0.1:{}/", self.port));
        let script = "const done = arguments[arguments.length - 1]; const video = document.createElement('video');
            video.muted = true; video.onerror = () => done('refused: ' + video.error.message);
            let looks = 0; const middle = () => { const side = SIDE; const canvas = document.createElement('canvas');
                canvas.width = canvas.height = side; const on = canvas.getContext('2d');
                on.imageSmoothingQuality = 'high'; on.drawImage(video, 0, 0, side, side);
                const seen = on.getImageData(0, 0, side, side).data; const grey = [];
                for (let n = 0; n < seen.length; n += 4) grey.push(0.299 * seen[n] + 0.587 * seen[n + 1] + 0.114 * seen[n + 2]);
                if (new Set(grey).size < 2) {
                    if (++looks < LOOKS) setTimeout(middle, 50); else done('its middle is of one grey'); return; }
                video.onseeked = null; video.onended = () => done({width: video.videoWidth, height: video.videoHeight, grey});
                video.playbackRate = 8; video.play(); };
            video.onloadeddata = () => { video.onseeked = middle; video.currentTime = video.duration / 2; };
            fetch('/film').then(r => r.blob()).then(film => { video.src = URL.createObjectURL(film); });"
            .replace("LOOKS", &LOOKS.to_string())
            .replace("SIDE", &SIDE.to_string());
        let told = browser.told_by(&script);
        let side = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{told}"));
        let grey = told["grey"].as_array().unwrap_or_else(|| panic!("{told}")).iter().map(|n| n.as_f64().unwrap()).collect();
        ((side("width"), side("height")), grey)
    }
}

fn wrap(folder: &Path, file: &Path) -> Value {
    dicom_fixture::wrap(folder, &[file], &dicom_fixture::hand(), |_| ()).remove(0)
}

/// The middle of a film as ffmpeg shows it, turned as its matrix says.
fn by_ffmpeg(film: &Path) -> Vec<f64> {
    let ask = |what: &str| {
        let args = ["-v", "error", "-select_streams", "v:0", "-show_entries", what, "-of", "default=nw=1:nk=1"];
        let told = Command::new("ffprobe").args(args).arg(film).output().unwrap();
        String::from_utf8(told.stdout).unwrap().lines().next().unwrap().to_owned()
    };
    let middle = ask("format=duration").parse::<f64>().unwrap() / 2.0;
    let filter = format!("select=gte(t\\,{middle}-0.02),scale={SIDE}:{SIDE}:flags=area");
    let args = ["-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
    let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(film).args(["-vf", &filter]).args(args).output().unwrap();
    assert_eq!(output.stdout.len(), SIDE * SIDE, "{}: {}", film.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout.into_iter().map(f64::from).collect()
}

/// How alike two pictures are, whatever their brightness and contrast: 1 is the same.
fn likeness(a: &[f64], b: &[f64]) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    let sum = |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| of(a - of_a, b - of_b)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

/// A quarter turn.
fn turned(picture: &[f64]) -> Vec<f64> {
    (0..SIDE * SIDE).map(|n| picture[(SIDE - 1 - n % SIDE) * SIDE + n / SIDE]).collect()
}

/// The matrix of a track that turns nothing (ISO/IEC 14496-12 §8.3.2).
fn identity() -> Vec<u8> {
    [0x1_0000_u32, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000].iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn films(folder: &Path) -> Vec<PathBuf> {
    let ffmpeg = |args: &[&str], name: &str| {
        let film = folder.join(name);
        let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args).arg(&film).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        film
    };
    let pictures = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=1", "-pix_fmt", "yuv420p"];
    let upright = ffmpeg(&pictures, "upright.mp4");
    let flat = upright.to_str().unwrap().to_owned();
    let mut all = vec![upright];
    for quarters in ["90", "180", "270"] {
        let rotate = format!("rotate={quarters}");
        all.push(ffmpeg(&["-i", &flat, "-c", "copy", "-metadata:s:v", &rotate], &format!("turned {quarters}.mov")));
    }
    let corpus = support::shared().map(|shared| shared.join("corpus/media/real/video"));
    for entry in corpus.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        all.push(entry.unwrap().path());
    }
    all
}

#[test]
fn every_film_plays_upright_in_a_browser_that_looks_at_no_matrix() {
    if !["ffmpeg", "ffprobe"].iter().all(|program| is_installed(program)) {
        eprintln!("skipped: ffmpeg is not installed");
        return;
    }
    let Some(browser) = Browser::start() else { return };
    let (folder, stage) = (TempDir::new("film-browser"), Stage::build());
    for film in films(folder.path()) {
        let name = film.file_name().unwrap().to_str().unwrap();
        let line = wrap(folder.path(), &film);
        let object = dicom_object::open_file(line["output"].as_str().unwrap_or_else(|| panic!("{name}: {line}"))).unwrap();
        let pixels = object.element(tags::PIXEL_DATA).unwrap();
        let payload = &pixels.fragments().unwrap()[0];
        let (size, seen) = stage.play(&browser, payload);
        let told = |tag| object.element(tag).unwrap().to_int::<u64>().unwrap();
        assert_eq!(size, (told(tags::COLUMNS), told(tags::ROWS)), "{name}");
        for track in memchr::memmem::find_iter(payload, b"tkhd") {
            assert_eq!(payload[track + 44..track + 80], identity(), "{name}: there is no matrix to look at");
        }
        let meant = by_ffmpeg(&film);
        let likenesses = [meant.clone(), turned(&meant), turned(&turned(&meant)), turned(&turned(&turned(&meant)))]
            .map(|p| likeness(&seen, &p));
        assert!(likenesses[0] > 0.95, "{name}: {likenesses:?}");
        assert!(likenesses[1..].iter().all(|other| *other < likenesses[0]), "{name}: {likenesses:?}");
    }
}
