//! What is decoded behind the fence: the picture is right, and nothing gets out.
//!
//! The tests whose names begin with `deed_` are what a broken decoder might do. Others start them in a
//! process of their own, behind the same wall, and look how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod dicom_fixture;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dicom_dictionary_std::tags;
use dicom_fixture::{TempDir, run, validator_errors};
use serde_json::{Value, json};
use shutterbridge::fence::wall::Calls;
use shutterbridge::fence::{self, Bounds, Ended, Fence, Task, wall};
use shutterbridge::media::raster;

const BINARY: &str = env!("CARGO_BIN_EXE_shutterbridge");
const HEIC: Task = Task::Heic { quality: 95 };

const BOUNDS: Bounds = Bounds {
    memory_bytes: 1 << 30,
    cpu_seconds: 1,
    wall: Duration::from_secs(20),
    silence: Duration::from_secs(20),
    output_bytes: 1 << 20,
};

fn decoder() -> Fence {
    Fence::of([BINARY.into(), fence::WORD.into()])
}

fn decode(heic: &[u8]) -> Result<Vec<u8>, Ended> {
    let mut made = Vec::new();
    let mut sink = |piece: &[u8]| {
        made.extend_from_slice(piece);
        Ok(())
    };
    decoder().run(&HEIC, &mut &*heic, &mut sink)?;
    Ok(made)
}

// ---------------------------------------------------------------- the picture

/// A drawn photo as `heif-enc` codes it; `None` where that is not installed.
fn coded(folder: &Path, name: &str, options: &[&str]) -> Option<Vec<u8>> {
    let (source, heic) = (folder.join("source.jpg"), folder.join(format!("{name}.heic")));
    std::fs::write(&source, raster::draw_sample_photo()).unwrap();
    let files = [source.to_str().unwrap(), "-o", heic.to_str().unwrap()];
    let output = run("heif-enc", &[options, &files].concat())?;
    assert!(output.status.success(), "heif-enc: {}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(heic).unwrap())
}

#[test]
fn what_is_damaged_is_refused_with_a_reason() {
    let folder = TempDir::new("fence-damaged");
    assert!(matches!(decode(b"hello"), Err(Ended::Refused(raster::RasterError::Undecodable))));
    let Some(heic) = coded(folder.path(), "cut", &[]) else { return };
    let refused = decode(&heic[..heic.len() / 2]).unwrap_err();
    assert!(refused.to_string().contains("cannot be decoded"), "{refused}");
}

// ---------------------------------------------------------------- at the shell

fn wrap(folder: &Path, files: &[&Path]) -> Vec<Value> {
    dicom_fixture::wrap(folder, files, &json!({}), |_| ())
}

#[test]
fn a_heic_becomes_an_object_that_says_what_was_done_to_it() {
    let folder = TempDir::new("fence-wrap");
    let Some(heic) = coded(folder.path(), "a", &[]) else { return };
    let file = folder.path().join("a.heic");
    std::fs::write(&file, heic).unwrap();
    let lines = wrap(folder.path(), &[&file]);
    assert_eq!((&lines[0]["error"], &lines[0]["essence"]), (&Value::Null, &json!("reencoded")));
    let path = lines[0]["output"].as_str().unwrap();
    let object = dicom_object::open_file(path).unwrap();
    let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
    assert_eq!(text(tags::IMAGE_TYPE), "DERIVED\\PRIMARY");
    assert_eq!(text(tags::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_23008_2\\ISO_10918_1");
    assert_eq!(text(tags::LOSSY_IMAGE_COMPRESSION_RATIO).split('\\').count(), 2);
    assert_eq!((text(tags::ROWS), text(tags::COLUMNS)), ("1200".to_owned(), "1600".to_owned()));
    let mut errors = validator_errors(Path::new(path));
    // The validator is older than the method.
    errors.retain(|line| !line.contains("ISO_23008_2"));
    assert_eq!(errors, Vec::<String>::new());
}

// ---------------------------------------------------------------- the wall

fn ending_of(deed: &str, bounds: Bounds) -> Ended {
    let program = std::env::current_exe().unwrap();
    let words = ["--exact", deed, "--ignored", "--nocapture"].map(OsString::from);
    let fence = Fence::of(std::iter::once(program.into_os_string()).chain(words));
    let mut silent = &b""[..];
    fence.run_within(&HEIC, bounds, &mut silent, &mut |_| Ok(())).expect_err("nobody does this and ends well")
}

#[test]
fn whoever_breaks_the_decoder_gets_nothing_by_it() {
    let not_allowed = "it asked for what it is not allowed";
    let table = [
        ("deed_open_a_file", not_allowed),
        ("deed_connect", not_allowed),
        ("deed_start_a_program", not_allowed),
        ("deed_take_four_gigabytes", "more memory than it is allowed"),
        ("deed_spin", "more time than it is allowed"),
    ];
    for (deed, why) in table {
        let ended = ending_of(deed, BOUNDS);
        assert!(matches!(&ended, Ended::Broke(how) if how.contains(why)), "{deed}: {ended}");
    }
}

#[test]
fn whoever_hangs_or_never_ends_to_talk_is_ended() {
    let soon = Bounds { wall: Duration::from_millis(500), ..BOUNDS };
    let ended = ending_of("deed_wait_for_ever", soon);
    assert!(matches!(ended, Ended::TooLong), "{ended}");
    let ended = ending_of("deed_talk_for_ever", BOUNDS);
    assert!(matches!(ended, Ended::TooMuch), "{ended}");
}

#[test]
fn a_process_that_cannot_be_started_is_an_error_and_no_more() {
    let fence = Fence::of([OsString::from("/nowhere/shutterbridge")]);
    let ended = fence.run(&HEIC, &mut &b""[..], &mut |_| Ok(())).unwrap_err();
    assert!(matches!(ended, Ended::NotStarted(_)), "{ended}");
}

#[test]
fn what_cannot_be_read_or_kept_is_told_as_that() {
    struct Torn;
    impl Read for Torn {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
    assert!(matches!(decoder().run(&HEIC, &mut Torn, &mut |_| Ok(())), Err(Ended::Input(_))));
    let folder = TempDir::new("fence-kept");
    let Some(heic) = coded(folder.path(), "a", &[]) else { return };
    let full = decoder().run(&HEIC, &mut heic.as_slice(), &mut |_| Err(io::ErrorKind::StorageFull.into()));
    assert!(matches!(full, Err(Ended::Output(_))));
}

fn behind_the_wall() {
    wall::build(&BOUNDS, &Calls::Decoding).expect("this system has seccomp and limits");
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_open_a_file() {
    behind_the_wall();
    let _ = std::fs::read("/etc/hostname");
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_connect() {
    behind_the_wall();
    let _ = std::net::TcpStream::connect("127.0.0.1:9");
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_start_a_program() {
    behind_the_wall();
    let _ = Command::new("/bin/true").status();
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_take_four_gigabytes() {
    behind_the_wall();
    let taken = vec![1_u8; 4 << 30];
    assert_eq!(taken.last(), Some(&1));
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_spin() {
    behind_the_wall();
    let mut number = 1_u64;
    while std::hint::black_box(number) != 0 {
        number = number.wrapping_mul(3);
    }
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_wait_for_ever() {
    behind_the_wall();
    let (_kept, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv();
}

#[test]
#[ignore = "a deed: others start it in a process of its own"]
fn deed_talk_for_ever() {
    behind_the_wall();
    let mut out = io::stdout().lock();
    while out.write_all(&[0; 4096]).is_ok() {}
}
