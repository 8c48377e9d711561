//! How fast objects leave on one association: `cargo bench --bench delivery`.
//!
//! The sender of the gateway and dcmtk's `storescu +sd` send the same objects to the same archive, dcmtk's
//! storescp as it comes, each on one association, one after the other, in the same run. Each round begins
//! with an association of its own; the best of three rounds counts, for a machine is never quite idle.
//!
//! Prints a table; ends with 1 where small objects are sent neither at 400/s nor 15 times as fast as by
//! storescu.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_precision_loss)]

#[path = "../tests/archive_peer/mod.rs"]
mod archive_peer;
#[path = "../tests/dicom_fixture/mod.rs"]
mod dicom_fixture;

use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use archive_peer::{Other, dimse};
use dicom_fixture::{TempDir, file_bytes, jpeg, photograph};
use shutterbridge::archive::{Archive as _, Stored};
use shutterbridge::dicom::Instance;

/// What was promised of small objects.
const PER_SECOND_MIN: f64 = 400.0;
const TIMES_STORESCU_MIN: f64 = 15.0;
const ROUNDS: usize = 3;
/// Width and height of the noisy pictures, and how many of them.
const SIZES: [(u32, u32, u8); 3] = [(64, 48, 250), (400, 300, 250), (2_000, 1_500, 50)];

fn main() {
    println!("object KiB  objects  ours/s  ours MB/s  storescu/s  storescu MB/s  ours/storescu");
    let mut holds = true;
    for (n, size) in SIZES.into_iter().enumerate() {
        let Some((ours, theirs, bytes)) = compare(size) else { return };
        let count = f64::from(size.2);
        let (mb, times) = (bytes as f64 / 1e6, theirs / ours);
        println!(
            "{:>10.1}  {:>7}  {:>6.0}  {:>9.1}  {:>10.0}  {:>13.1}  {:>13.1}",
            bytes as f64 / count / 1024.0,
            size.2,
            count / ours,
            mb / ours,
            count / theirs,
            mb / theirs,
            times
        );
        holds &= n > 0 || count / ours >= PER_SECOND_MIN || times >= TIMES_STORESCU_MIN;
    }
    if !holds {
        println!("small objects: neither {PER_SECOND_MIN}/s nor {TIMES_STORESCU_MIN} times storescu");
        std::process::exit(1);
    }
}

/// Seconds of the sender, seconds of storescu, and the size of it all.
fn compare((width, height, count): (u32, u32, u8)) -> Option<(f64, f64, usize)> {
    let (files, kept) = (TempDir::new("delivery"), TempDir::new("delivery-kept"));
    let payload = jpeg(width, height, 3);
    let objects: Vec<Instance> = (0..count).map(|number| photograph(number, &payload, width, height)).collect();
    let mut bytes = 0;
    for (number, object) in objects.iter().enumerate() {
        let file = file_bytes(object, &payload);
        bytes += file.len();
        std::fs::write(files.path().join(format!("{number:03}.dcm")), file).expect("a file");
    }
    let archive = Other::storescp(kept.path(), &["+xa"])?;
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        ours = ours.min(seconds(|| send(&archive, &objects, &payload)));
        assert_eq!(kept.files().len(), objects.len(), "each is there once");
        theirs = theirs.min(seconds(|| storescu(&archive, files.path())));
    }
    Some((ours, theirs, bytes))
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// One thread has one association.
fn send(archive: &Other, objects: &[Instance], payload: &[u8]) {
    let to = dimse(archive.address);
    for object in objects {
        assert_eq!(to.store(object, &mut Cursor::new(payload)), Ok(Stored { warning: None }));
    }
}

fn storescu(archive: &Other, folder: &Path) {
    let port = archive.address.port().to_string();
    // `-xy` proposes JPEG Baseline; one association for the whole folder.
    let args = ["-aec", "PACS", "-xy", "+sd", "127.0.0.1", &port];
    let sent = Command::new("storescu").args(args).arg(folder).status().expect("storescu (Debian: dcmtk)");
    assert!(sent.success());
}
