//! The stills of a burst as one object, as readers and a validator see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dicom_fixture;
mod media_fixture;

use std::path::{Path, PathBuf};

use dicom_core::value::Value as Held;
use dicom_dictionary_std::tags;
use dicom_fixture::{TempDir, run, validator_errors};
use dicom_object::{DefaultDicomObject, Tag};
use serde_json::{Value, json};
use shutterbridge::capture::media::Orientation;
use shutterbridge::dicom::check;
use shutterbridge::media::jpeg::{self, Encoding};

const MULTI_FRAME_TRUE_COLOUR: &str = "1.2.840.10008.5.1.4.1.1.7.4";

/// A still of noise; of another quality it has other bytes.
fn still(width: u32, height: u32, samples: u8, quality: u8) -> Vec<u8> {
    let noise = dicom_fixture::noise(width, height, u32::from(samples));
    let encoding = Encoding { quality, has_full_chroma: false };
    jpeg::encode(noise, (width, height), samples, Orientation::UPRIGHT, encoding).unwrap()
}

/// The same with Exif: how it is turned, and when it was taken, at `10:15:30` and so many thousandths.
fn exposed(still: &[u8], turn: u8, thousandths: &str) -> Vec<u8> {
    let tiff = [
        &b"MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0"[..],
        &[turn],
        b"\0\0\x87\x69\0\x04\0\0\0\x01\0\0\0\x26\0\0\0\0\0\x02\x90\x03\0\x02\0\0\0\x14\0\0\0\x44\x92\x91\0\x02\0\0\0\x04",
        thousandths.as_bytes(),
        b"\0\0\0\0\0",
        b"2026:03:01 10:15:30\0",
    ]
    .concat();
    let length = u16::try_from(tiff.len() + 8).unwrap().to_be_bytes();
    [&still[..2], b"\xFF\xE1", &length, b"Exif\0\0", &tiff, &still[2..]].concat()
}

/// A display profile of one curve.
fn profile() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[8..24].copy_from_slice(b"\x02\x10\0\0mntrRGB XYZ ");
    bytes[36..44].copy_from_slice(b"acspAPPL");
    bytes.extend(b"\0\0\0\x01rTRC\0\0\0\x90\0\0\0\x14curv\0\0\0\0\0\0\0\x04\0\x07\0\x07\0\x07\0\x07");
    let size = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    bytes[..4].copy_from_slice(&size);
    bytes
}

/// A line for each file.
fn wrap(folder: &Path, files: &[(&str, Vec<u8>)], more: &[&str]) -> Vec<Value> {
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let names: Vec<&Path> = files.iter().map(|(name, _)| Path::new(*name)).collect();
    dicom_fixture::wrap(folder, &names, &dicom_fixture::hand(), |command| {
        command.args(more);
    })
}

fn object_of(folder: &Path, line: &Value) -> (PathBuf, DefaultDicomObject) {
    let path = folder.join(line["output"].as_str().unwrap_or_else(|| panic!("{line}")));
    let object = dicom_object::open_file(&path).unwrap();
    assert_eq!(check::faults(&object), Vec::<String>::new());
    (path, object)
}

fn text(of: &DefaultDicomObject, tag: Tag) -> String {
    of.get(tag).map_or_else(|| "(absent)".into(), |e| e.to_str().unwrap().trim_end_matches([' ', '\0']).to_owned())
}

fn fragments(of: &DefaultDicomObject) -> (Vec<u32>, Vec<Vec<u8>>) {
    match of.element(tags::PIXEL_DATA).unwrap().value() {
        Held::PixelSequence(all) => (all.offset_table().to_vec(), all.fragments().to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_stills_of_a_burst_are_the_frames_of_one_object_bit_for_bit() {
    let folder = TempDir::new("burst");
    let stills: Vec<(&str, Vec<u8>)> = [("a.jpg", 90, "100"), ("b.jpg", 80, "250"), ("c.jpg", 70, "900")]
        .map(|(name, quality, thousandths)| (name, exposed(&still(96, 64, 3, quality), 1, thousandths)))
        .to_vec();
    let alone: Vec<Vec<u8>> =
        wrap(folder.path(), &stills, &[]).iter().map(|line| fragments(&object_of(folder.path(), line).1).1.remove(0)).collect();
    let lines = wrap(folder.path(), &stills, &["--burst"]);
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!((&line["error"], &line["essence"]), (&Value::Null, &json!("unchanged")), "{line}");
        assert_eq!((&line["output"], &line["sop_class"]), (&lines[0]["output"], &json!(MULTI_FRAME_TRUE_COLOUR)));
        assert_eq!(line["removed"], json!(["exif"]), "each still has its own report");
    }
    let (path, object) = object_of(folder.path(), &lines[0]);
    let (table, frames) = fragments(&object);
    assert_eq!(frames, alone, "each frame is what its still is alone");
    let second = u32::try_from(8 + alone[0].len()).unwrap();
    assert_eq!(table, [0, second, second + 8 + u32::try_from(alone[1].len()).unwrap()]);
    assert_eq!((text(&object, tags::NUMBER_OF_FRAMES).as_str(), text(&object, tags::ROWS).as_str()), ("3", "64"));
    assert_eq!(object.element(tags::FRAME_INCREMENT_POINTER).unwrap().value().to_tag().unwrap(), tags::FRAME_TIME_VECTOR);
    assert_eq!(text(&object, tags::FRAME_TIME_VECTOR), "0\\150\\650");
    assert_eq!(
        (text(&object, tags::IMAGE_TYPE).as_str(), text(&object, tags::CONVERSION_TYPE).as_str()),
        ("ORIGINAL\\PRIMARY", "DI")
    );
    assert_eq!(
        (text(&object, tags::BURNED_IN_ANNOTATION).as_str(), text(&object, tags::CONTENT_TIME).as_str()),
        ("NO", "101530.100")
    );
    assert_eq!(text(&object, tags::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_10918_1");
    let coded: usize = alone.iter().map(|still| still.len() - usize::from(still.ends_with(&[0xD9, 0]))).sum();
    let ratio: f64 = text(&object, tags::LOSSY_IMAGE_COMPRESSION_RATIO).parse().unwrap();
    #[allow(clippy::cast_precision_loss)]
    let wanted = f64::from(96 * 64 * 3 * 3) / coded as f64;
    assert!((ratio - wanted).abs() < 0.001, "{ratio} and not {wanted}");
    assert_eq!(validator_errors(&path), Vec::<String>::new());
    if let Some(output) = run("dcmftest", &[path.to_str().unwrap()]) {
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("yes"));
    }
    assert!(folder.files().iter().all(|file| !file.to_string_lossy().contains(".part")), "nothing is left behind");
}

#[test]
fn stills_that_do_not_tell_their_times_are_numbered_and_all_are_upright() {
    let folder = TempDir::new("burst-pages");
    let stills = [("a.jpg", 90), ("b.jpg", 80)].map(|(name, quality)| (name, exposed(&still(96, 64, 3, quality), 6, "100")));
    let lines = wrap(folder.path(), &stills, &["--burst"]);
    assert_eq!((&lines[1]["error"], &lines[1]["essence"]), (&Value::Null, &json!("rotated")), "{lines:?}");
    let (path, object) = object_of(folder.path(), &lines[0]);
    assert_eq!((text(&object, tags::ROWS).as_str(), text(&object, tags::COLUMNS).as_str()), ("96", "64"));
    assert_eq!(object.element(tags::FRAME_INCREMENT_POINTER).unwrap().value().to_tag().unwrap(), tags::PAGE_NUMBER_VECTOR);
    assert_eq!((text(&object, tags::PAGE_NUMBER_VECTOR).as_str(), object.get(tags::FRAME_TIME_VECTOR).is_none()), ("1\\2", true));
    assert_eq!(validator_errors(&path), Vec::<String>::new());
}

#[test]
fn what_is_no_burst_becomes_no_object_and_says_which_photo_is_to_blame() {
    let photo = |width| still(width, 64, 3, 90);
    let png = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 96, 64);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&vec![7; 96 * 64 * 3]).unwrap();
        bytes
    };
    let profiled = {
        let (plain, profile) = (photo(96), profile());
        let length = u16::try_from(profile.len() + 16).unwrap().to_be_bytes();
        [&plain[..2], b"\xFF\xE2", &length, b"ICC_PROFILE\0\x01\x01", &profile, &plain[2..]].concat()
    };
    let table = [
        ("another size", photo(80), "one size, and this one has 80 × 64, not 96 × 64"),
        ("grey", still(96, 64, 1, 90), "in colour that are JPEG or HEIC"),
        ("not coded", png, "in colour that are JPEG or HEIC"),
        ("another profile", profiled, "colour profile"),
        ("a document", media_fixture::pdf(false), "this is a document"),
        ("a video", media_fixture::clip(*b"isom", 3, 500), "this is a video"),
    ];
    for (name, odd, why) in table {
        let folder = TempDir::new("burst-none");
        let lines = wrap(folder.path(), &[("a.jpg", photo(96)), ("odd", odd), ("b.jpg", photo(96))], &["--burst"]);
        let told = |at: usize| {
            let part = |of: &str| lines[at]["error"][of].as_str().unwrap_or_else(|| panic!("{name}: {lines:?}"));
            (part("code"), part("detail"))
        };
        assert_eq!(told(1).0, "burst-misfit", "{name}: {lines:?}");
        assert!(told(1).1.contains(why), "{name}: {}", told(1).1);
        for good in [0, 2] {
            assert_eq!(told(good), ("burst-misfit", "Not wrapped: another photo of this burst was refused."), "{name}");
        }
        assert!(!folder.files().iter().any(|file| file.extension().is_some_and(|e| e == "dcm")), "{name}");
    }
    let folder = TempDir::new("burst-one");
    let lines = wrap(folder.path(), &[("a.jpg", photo(96))], &["--burst"]);
    assert!(lines[0]["error"]["detail"].as_str().unwrap().contains("two photos or more"), "{lines:?}");
}
