//! How fast a long film loses its place, beside the usual recipes.
//!
//! `cargo bench --bench scrub_video` makes a film of one gigabyte with ffmpeg (1080p H.264 and AAC, a
//! place in its user data) and lets `shutterbridge scrub`, `exiftool -all=` and
//! `ffmpeg -map_metadata -1 -c copy` each write a clean copy of it, one after the other, from and to
//! the same disk, the film in the page cache. Seconds, MB/s and the peak of resident memory of each.
//!
//! Options: `--megabytes N` (1000), `--binary PATH` (the one that cargo builds).
#![allow(clippy::expect_used, clippy::panic, reason = "a bench may stop")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One film that ffmpeg codes; it is repeated without coding it again. Seconds.
const CODED_S: u32 = 10;

fn main() {
    let (megabytes, binary) = options();
    for program in ["ffmpeg", "exiftool"] {
        assert!(is_installed(program), "{program} is not on the path (Debian: ffmpeg, libimage-exiftool-perl)");
    }
    let folder = std::env::temp_dir().join(format!("shutterbridge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let film = make_film(&folder, megabytes);
    let size_bytes = std::fs::metadata(&film).expect("the film is there").len();
    println!("a film of {:.0} MB\n", mega(size_bytes));
    println!("{:<42} {:>8} {:>8} {:>12}", "", "seconds", "MB/s", "peak RSS MB");
    let out = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let film_text = film.to_string_lossy().into_owned();
    let rows: [(&str, &str, Vec<String>); 3] = [
        ("shutterbridge scrub", &binary, vec!["scrub".into(), film_text.clone(), "--out".into(), out("scrubbed")]),
        (
            "exiftool -all=",
            "exiftool",
            ["-q", "-api", "LargeFileSupport=1", "-all=", "-o", &out("a.mp4"), &film_text].map(Into::into).into(),
        ),
        (
            "ffmpeg -map_metadata -1 -c copy",
            "ffmpeg",
            ["-v", "error", "-i", &film_text, "-map_metadata", "-1", "-c", "copy", &out("b.mp4")].map(Into::into).into(),
        ),
    ];
    for (what, program, arguments) in rows {
        // Each finds the film in the page cache.
        std::io::copy(&mut std::fs::File::open(&film).expect("the film"), &mut std::io::sink()).expect("it can be read");
        let (took, peak_kib) = run(program, &arguments);
        let speed = mega(size_bytes) / took.as_secs_f64();
        println!("{what:<42} {:>8.2} {speed:>8.0} {:>12.1}", took.as_secs_f64(), mega(peak_kib * 1024));
    }
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

fn options() -> (u32, String) {
    let (mut megabytes, mut binary) = (1000, env!("CARGO_BIN_EXE_shutterbridge").to_owned());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} wants a value"));
        match word.as_str() {
            "--megabytes" => megabytes = value().parse().expect("--megabytes wants a number"),
            "--binary" => binary = value(),
            // cargo's own.
            "--bench" => {}
            other => panic!("{other} is no option of this bench; read its head"),
        }
    }
    (megabytes, binary)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[allow(clippy::cast_precision_loss)] // a file is smaller than 2^53 bytes
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Noise does not pack, so ten seconds are as large as they are told to be.
fn make_film(folder: &Path, megabytes: u32) -> PathBuf {
    let (part, film) = (folder.join("part.mp4"), folder.join("film.mp4"));
    // 80 Mbit/s: what a phone writes at its best.
    let video = "testsrc2=size=1920x1080:rate=30,noise=alls=40:allf=t";
    let coded = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-b:v",
        "80M",
        "-maxrate",
        "80M",
        "-bufsize",
        "80M",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
    ];
    let seconds = CODED_S.to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", &seconds]);
    assert!(command.args(coded).arg(&part).status().expect("ffmpeg starts").success(), "ffmpeg codes a film");
    let part_bytes = std::fs::metadata(&part).expect("it is there").len().max(1);
    let loops = (u64::from(megabytes) * 1_000_000 / part_bytes).max(1) - 1;
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-stream_loop", &loops.to_string(), "-i"]).arg(&part);
    command.args(["-c", "copy", "-metadata", "location=+47.1372+009.5238/", "-metadata", "location-eng=+47.1372+009.5238/"]);
    assert!(command.arg(&film).status().expect("ffmpeg starts").success(), "ffmpeg repeats a film");
    film
}

/// How long it took, and the most memory it had, in KiB.
fn run(program: &str, arguments: &[String]) -> (Duration, u64) {
    let started = Instant::now();
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts");
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let status = loop {
        // Its high-water mark: only what is gained in the last milliseconds is missed.
        let text = std::fs::read_to_string(&status_file).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        peak_kib = peak_kib.max(mark.unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{program} does it");
    (started.elapsed(), peak_kib)
}
