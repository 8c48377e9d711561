//! How much one photo costs, from the phone's first byte to the archive's answer.
//!
//! `cargo bench --bench end_to_end` starts the release binary with a real archive behind it
//! (dcmtk's storescp, which receives and drops) and lets 1, 8 and 64 phones on keep-alive TLS
//! connections send 12 MP photos. Everything is on loopback and on this machine, phones and archive
//! too, so photos/s is a floor; CPU-ms a photo is the gateway process alone.
//!
//! Options: `--seconds N` a row (10), `--phones 1,8,64`, `--photo-mp 12`.
//!
//! Machines differ and are noisy. Compare the last column: CPU over the floor arithmetic, which is
//! measured in the same run (what one core must do to the same bytes at the least).
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench may stop")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};
use support::archive::Storescp;
use support::gateway::Gateway;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};

/// After the last acknowledgement, the archive leg may take this long.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// The address of a port that nobody listens on: without storescp only the phones' leg is measured.
const NO_ARCHIVE_PORT: u16 = 9;

struct Options {
    seconds: u64,
    phones: Vec<usize>,
    photo_mp: u32,
}

/// What one row of the table says.
struct Row {
    phones: usize,
    photos: usize,
    refused: usize,
    /// Sorted.
    acknowledged: Vec<Duration>,
    upload_time: Duration,
    whole_time: Duration,
    cpu_ms: f64,
    peak_rss_kib: u64,
}

fn main() {
    let options = options();
    let photo = Photo::draw(options.photo_mp * 1_000_000 / 3_000, 3_000);
    let floor = Floor::measure(photo.bytes());
    floor.print();

    let archive = is_installed("storescp").then(|| Storescp::start(None));
    if archive.is_none() {
        println!("storescp (Debian: dcmtk) is not installed: nothing is forwarded, and CPU-ms is the phones' leg alone\n");
    }
    let port = archive.as_ref().map_or(NO_ARCHIVE_PORT, |a| a.port);
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), port, "");
    let most = options.phones.iter().max().copied().unwrap_or(0);
    let known: Vec<String> =
        (0..most).flat_map(|n| [hospital::admit(&patient(n)), hospital::order(&patient(n), &accession(n))]).collect();
    hospital::tell(gateway.mllp, &known);

    println!("phones  photos  photos/s  forwarded/s  ack p50 ms  ack p99 ms  CPU-ms/photo  peak RSS MiB  CPU/floor  refused");
    for (n, phones) in options.phones.iter().enumerate() {
        let row = run(&gateway, &photo, *phones, options.seconds, n as u64, archive.is_some());
        row.print(&floor);
    }
    assert!(gateway.stop().success(), "the gateway did not drain");
}

fn options() -> Options {
    let mut options = Options { seconds: 10, phones: vec![1, 8, 64], photo_mp: 12 };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--seconds" => options.seconds = number(&value),
            "--photo-mp" => options.photo_mp = u32::try_from(number(&value)).expect("megapixels"),
            "--phones" => options.phones = value.split(',').map(|n| usize::try_from(number(n)).expect("phones")).collect(),
            _ => panic!("{word}: not an option; there are --seconds, --phones, --photo-mp"),
        }
    }
    options
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?}: not a number"))
}

/// Lets `phones` send for so long, then waits until the archive has everything.
fn run(gateway: &Gateway, photo: &Photo, phones: usize, seconds: u64, series: u64, forwards: bool) -> Row {
    reset_peak_rss(gateway.pid());
    let forwarded_before = forwarded(gateway);
    let (cpu_before, start) = (cpu_ms(gateway.pid()), Instant::now());
    let until = start + Duration::from_secs(seconds);
    let token = gateway.issuer.token(&json!({}));
    let results: Vec<(Vec<Duration>, usize)> = std::thread::scope(|scope| {
        let start_one = |n: usize| {
            let (mut photo, token) = (photo.clone(), &token);
            // The photos of one patient leave one after another: a phone each, as on a ward.
            let claim = json!({ "patient": { "id": patient(n), "issuer": "HOSP" }, "order": { "accession": accession(n) }, "department": "derm" });
            let first = series * 1_000_000_000 + n as u64 * 1_000_000;
            scope.spawn(move || one_phone(Phone::connect(gateway.https, token), &mut photo, &claim, first, until))
        };
        let running: Vec<_> = (0..phones).map(start_one).collect();
        running.into_iter().map(|phone| phone.join().expect("a phone ends")).collect()
    });
    let upload_time = start.elapsed();
    let mut acknowledged: Vec<Duration> = results.iter().flat_map(|(times, _)| times.iter().copied()).collect();
    acknowledged.sort_unstable();
    let photos = acknowledged.len();
    if forwards {
        #[allow(clippy::cast_precision_loss, reason = "a count of photos")]
        let wanted = forwarded_before + photos as f64;
        wait_until(DRAIN_MAX, "every photo is in the archive", || (forwarded(gateway) >= wanted).then_some(()));
    }
    Row {
        phones,
        photos,
        refused: results.iter().map(|(_, refused)| refused).sum(),
        acknowledged,
        upload_time,
        whole_time: start.elapsed(),
        cpu_ms: cpu_ms(gateway.pid()) - cpu_before,
        peak_rss_kib: peak_rss_kib(gateway.pid()),
    }
}

/// Sends one photo after the other; how long each acknowledgement took, and how many were refused.
fn one_phone(mut phone: Phone, photo: &mut Photo, claim: &Value, first: u64, until: Instant) -> (Vec<Duration>, usize) {
    let (mut times, mut refused) = (Vec::new(), 0);
    for number in first.. {
        if Instant::now() >= until {
            break;
        }
        let start = Instant::now();
        let answer = phone.upload(&format!("bench-{number}"), claim, &[photo.numbered(number)]);
        match answer.status {
            201 => times.push(start.elapsed()),
            429 | 503 | 507 => refused += 1,
            status => panic!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    (times, refused)
}

fn patient(phone: usize) -> String {
    format!("{}", 4711 + phone)
}

fn accession(phone: usize) -> String {
    format!("A{}", 123 + phone)
}

fn forwarded(gateway: &Gateway) -> f64 {
    gateway.metric("shutterbridge_captures_total", "stage=\"forwarded\"")
}

impl Row {
    #[allow(clippy::cast_precision_loss, reason = "counts of photos and KiB")]
    fn print(&self, floor: &Floor) {
        let photos = self.photos.max(1) as f64;
        let percentile = |p: usize| self.acknowledged.get(self.photos * p / 100).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3);
        println!(
            "{:>6}  {:>6}  {:>8.1}  {:>11.1}  {:>10.1}  {:>10.1}  {:>12.2}  {:>12.1}  {:>9.2}  {:>7}",
            self.phones,
            self.photos,
            photos / self.upload_time.as_secs_f64(),
            photos / self.whole_time.as_secs_f64(),
            percentile(50),
            percentile(99),
            self.cpu_ms / photos,
            self.peak_rss_kib as f64 / 1024.0,
            self.cpu_ms / photos / floor.total_ms(),
            self.refused,
        );
    }
}

// ---- What the kernel knows of the gateway -----------------------------------------------------

/// utime + stime of all its threads (proc(5): fields 14 and 15; the name in brackets may hold spaces).
#[allow(clippy::cast_precision_loss, reason = "ticks")]
fn cpu_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the gateway runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().expect("ticks")).sum();
    ticks as f64 * 1e3 / ticks_per_second()
}

fn ticks_per_second() -> f64 {
    let asked = std::process::Command::new("getconf").arg("CLK_TCK").output().ok();
    asked.and_then(|out| String::from_utf8_lossy(&out.stdout).trim().parse().ok()).unwrap_or(100.0)
}

fn peak_rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// So that a row shows its own peak (proc(5): 5 into `clear_refs`); without the right to, peaks only rise.
fn reset_peak_rss(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

// ---- The floor --------------------------------------------------------------------------------

/// What must happen to the bytes of one photo, whoever writes the gateway: TLS opens them, one walk
/// sees every byte, one digest, one seal for the disk, one opening for the archive, and a copy for
/// each way through the kernel (in from the socket, out to the disk, in again, out to the archive).
struct Floor {
    size_bytes: usize,
    copy_ms: f64,
    digest_ms: f64,
    cipher_ms: f64,
    walk_ms: f64,
}

const COPIES: f64 = 4.0;
const CIPHER_PASSES: f64 = 3.0;
/// A TLS record (RFC 8446 §5.1); the seal works in larger pieces, at the same speed.
const RECORD_BYTES: usize = 16 * 1024;

impl Floor {
    fn measure(photo: &[u8]) -> Self {
        let mut copy = vec![0; photo.len()];
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"));
        let mut sealed = photo.to_vec();
        Self {
            size_bytes: photo.len(),
            copy_ms: median_ms(|| copy.copy_from_slice(std::hint::black_box(photo))),
            digest_ms: median_ms(|| {
                std::hint::black_box(ring::digest::digest(&ring::digest::SHA256, photo));
            }),
            cipher_ms: median_ms(|| {
                for record in sealed.chunks_mut(RECORD_BYTES) {
                    let nonce = Nonce::assume_unique_for_key([0; 12]);
                    let _ = std::hint::black_box(key.seal_in_place_separate_tag(nonce, Aad::empty(), record));
                }
            }),
            walk_ms: median_ms(|| {
                std::hint::black_box(markers(photo));
            }),
        }
    }

    fn total_ms(&self) -> f64 {
        COPIES * self.copy_ms + self.digest_ms + CIPHER_PASSES * self.cipher_ms + self.walk_ms
    }

    #[allow(clippy::cast_precision_loss, reason = "bytes of a photo")]
    fn print(&self) {
        println!("floor for one photo of {:.2} MB on this machine, one core:", self.size_bytes as f64 / 1e6);
        println!("  {COPIES} copies       {:>6.2} ms", COPIES * self.copy_ms);
        println!("  SHA-256        {:>6.2} ms", self.digest_ms);
        println!("  AES-256-GCM ×{CIPHER_PASSES} {:>6.2} ms", CIPHER_PASSES * self.cipher_ms);
        println!("  JPEG walk      {:>6.2} ms", self.walk_ms);
        println!("  together       {:>6.2} ms\n", self.total_ms());
    }
}

/// Every FF that is not stuffing or a restart: what a walk over entropy-coded data looks for.
fn markers(photo: &[u8]) -> usize {
    let is_marker = |at: &usize| !matches!(photo.get(at + 1), Some(0x00 | 0xD0..=0xD7));
    memchr::memchr_iter(0xFF, photo).filter(is_marker).count()
}

fn median_ms(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
