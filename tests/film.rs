//! What becomes of films, as ffmpeg, a validator and an archive see it: packets that nobody touched in
//! an object that says what they are, or a reason why not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::cast_precision_loss)]

mod archive_peer;
mod dicom_fixture;
mod media_fixture;
mod support;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use archive_peer::web::orthanc;
use archive_peer::{Other, dimse};
use dicom_dictionary_std::tags;
use dicom_fixture::*;
use dicom_object::{DefaultDicomObject, Tag};
use media_fixture::clip;
use serde_json::{Value, json};
use shutterbridge::archive::folder::{self, Folder};
use shutterbridge::archive::profile::Profile;
use shutterbridge::archive::stow::{self, Stow, Url};
use shutterbridge::archive::{Archive, Asked, Stored};
use shutterbridge::capture::{SopRef, Uid};
use shutterbridge::dicom::video::{Unfit, carrier};
use shutterbridge::dicom::{self, Cine, DicomError, Instance, LossyHistory, Picture, Pixels, Syntax, check};
use shutterbridge::media::film::{self, flat::Reader};
use shutterbridge::media::source::Source;

// ---------------------------------------------------------------- films of ffmpeg

const PICTURES: &[&str] = &["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=30:duration=0.5"];
const SOUND: &[&str] = &["-f", "lavfi", "-i", "aevalsrc=0.3*sin(440*2*PI*t)|0.3*sin(660*2*PI*t):s=48000:d=0.5"];
const HIGH: &[&str] = &["-c:v", "libx264", "-profile:v", "high", "-level", "4.0", "-pix_fmt", "yuv420p"];
/// The name of the encoder stands among its pictures; a scrub would overwrite it.
const NAMELESS: &[&str] = &["-bsf:v", "filter_units=remove_types=6"];
const AAC: &[&str] = &["-c:a", "aac", "-ar", "48000", "-ac", "2"];

fn has_ffmpeg() -> bool {
    let has = ["ffmpeg", "ffprobe"].iter().all(|program| support::is_installed(program));
    if !has {
        eprintln!("skipped: ffmpeg is not installed");
    }
    has
}

fn ffmpeg(args: &[&[&str]], into: &Path) {
    let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args.concat()).arg(into).output().unwrap();
    assert!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// Streams as ffprobe tells them: pictures are counted by decoding them.
fn streams(file: &Path) -> Vec<Value> {
    let told = Command::new("ffprobe").args(["-v", "error", "-count_frames", "-show_streams", "-of", "json"]).arg(file).output();
    let told: Value = serde_json::from_slice(&told.unwrap().stdout).unwrap();
    told["streams"].as_array().unwrap().clone()
}

fn stream(file: &Path, kind: &str) -> Option<Value> {
    streams(file).into_iter().find(|s| s["codec_type"] == kind)
}

/// Digests of the packets of pictures and of sound.
fn packets(file: &Path) -> Vec<String> {
    let map = ["-map", "0:v", "-map", "0:a?", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-"];
    let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(map).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut digests: Vec<String> = lines.lines().map(|l| l.split_once(',').unwrap().1.to_owned()).collect();
    digests.sort();
    digests
}

// ---------------------------------------------------------------- at the shell

fn wrap(folder: &Path, file: &Path, has_body_site: bool) -> Value {
    let mut claim = if has_body_site { dicom_fixture::hand() } else { json!({}) };
    claim["taken_at"] = json!("2026-03-01T10:15:30.5+01:00");
    let off = |command: &mut Command| {
        command.env("SHUTTERBRIDGE__TRANSCODE__FFMPEG", "off");
    };
    dicom_fixture::wrap(folder, &[file], &claim, off).remove(0)
}

fn text(of: &DefaultDicomObject, tag: Tag) -> String {
    of.get(tag).map_or_else(|| "(absent)".into(), |e| e.to_str().unwrap().trim_end_matches([' ', '\0']).to_owned())
}

fn fragment(of: &DefaultDicomObject) -> Vec<u8> {
    let pixels = of.element(tags::PIXEL_DATA).unwrap();
    let fragments = pixels.fragments().unwrap();
    assert_eq!(fragments.len(), 1);
    fragments[0].clone()
}

/// The validator does not know HEVC and takes it for H.264, as which a copy is shown to it.
fn judge(folder: &Path, file: &Path) -> DefaultDicomObject {
    let mut bytes = std::fs::read(file).unwrap();
    if let Some(at) = memchr::memmem::find(&bytes[..512], b"1.2.840.10008.1.2.4.107") {
        bytes[at + 20..at + 23].copy_from_slice(b"102");
    }
    let shown = folder.join("shown.dcm");
    std::fs::write(&shown, bytes).unwrap();
    assert_eq!(validator_errors(&shown), Vec::<String>::new(), "{}", file.display());
    if let Some(output) = run("dcmftest", &[file.to_str().unwrap()]) {
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("yes"));
    }
    let object = dicom_object::open_file(file).unwrap();
    assert_eq!(check::faults(&object), Vec::<String>::new(), "{}", file.display());
    object
}

#[test]
fn a_film_that_a_syntax_carries_is_an_object_of_the_very_same_packets() {
    if !has_ffmpeg() {
        return;
    }
    let fragmented: &[&str] = &["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-g", "5"];
    let hevc: &[&str] = &["-c:v", "libx265", "-pix_fmt", "yuv420p", "-tag:v", "hvc1", "-x265-params", "log-level=none:info=0"];
    let quick: &[&str] = &["-c:v", "libx264", "-profile:v", "high", "-level", "4.2", "-pix_fmt", "yuv420p", "-r", "60"];
    let table: [(&str, &[&[&str]], &str); 8] = [
        ("silent.mp4", &[PICTURES, HIGH, NAMELESS], "1.2.840.10008.1.2.4.102"),
        ("sound.mp4", &[PICTURES, SOUND, HIGH, NAMELESS, AAC], "1.2.840.10008.1.2.4.102"),
        (
            "front.mp4",
            &[PICTURES, SOUND, HIGH, NAMELESS, AAC, &["-movflags", "faststart", "-bf", "0"]],
            "1.2.840.10008.1.2.4.102",
        ),
        ("quick.mov", &[PICTURES, SOUND, HIGH, NAMELESS, AAC], "1.2.840.10008.1.2.4.102"),
        ("parts.mp4", &[PICTURES, SOUND, HIGH, NAMELESS, AAC, fragmented], "1.2.840.10008.1.2.4.102"),
        ("parts.mov", &[PICTURES, SOUND, HIGH, NAMELESS, AAC, fragmented, &["-bf", "0"]], "1.2.840.10008.1.2.4.102"),
        ("sixty.mp4", &[PICTURES, quick, NAMELESS], "1.2.840.10008.1.2.4.104"),
        ("hevc.mov", &[PICTURES, SOUND, hevc, AAC], "1.2.840.10008.1.2.4.107"),
    ];
    for (name, args, syntax) in table {
        let folder = TempDir::new("film");
        let source = folder.path().join(name);
        ffmpeg(args, &source);
        let line = wrap(folder.path(), &source, true);
        assert_eq!((&line["transfer_syntax"], &line["essence"]), (&json!(syntax), &json!("unchanged")), "{name}: {line}");
        let object = judge(folder.path(), Path::new(line["output"].as_str().unwrap()));
        let played = folder.path().join("fragment.mp4");
        std::fs::write(&played, fragment(&object)).unwrap();
        assert_eq!(packets(&played), packets(&source), "{name}");
        says_what_ffprobe_says(&object, &source, &played);
    }
}

fn says_what_ffprobe_says(object: &DefaultDicomObject, source: &Path, played: &Path) {
    let name = source.display();
    let (picture, was) = (stream(played, "video").unwrap(), stream(source, "video").unwrap());
    assert!(picture["side_data_list"].is_null(), "{name}: no matrix");
    assert_eq!(picture["start_time"], was["start_time"], "{name}");
    let rate = was["avg_frame_rate"].as_str().unwrap();
    assert_eq!(picture["avg_frame_rate"], rate, "{name}");
    let (over, under) = rate.split_once('/').unwrap();
    let rate: f64 = over.parse::<f64>().unwrap() / under.parse::<f64>().unwrap();
    assert_eq!(text(object, tags::NUMBER_OF_FRAMES), picture["nb_read_frames"].as_str().unwrap(), "{name}");
    assert_eq!(text(object, tags::COLUMNS), picture["width"].to_string());
    assert_eq!(text(object, tags::ROWS), picture["height"].to_string());
    let frame_time: f64 = text(object, tags::FRAME_TIME).parse().unwrap();
    assert!((frame_time - 1000.0 / rate).abs() < 0.01, "{name}: {frame_time} ms at {rate} a second");
    assert_eq!(text(object, tags::CINE_RATE), format!("{rate:.0}"), "{name}");
    let method = if was["codec_name"] == "hevc" { "ISO_23008_2" } else { "ISO_14496_10" };
    let table = [
        (tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.77.1.4.1"),
        (tags::MODALITY, "XC"),
        (tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY"),
        (tags::PHOTOMETRIC_INTERPRETATION, "YBR_PARTIAL_420"),
        (tags::LOSSY_IMAGE_COMPRESSION, "01"),
        (tags::LOSSY_IMAGE_COMPRESSION_METHOD, method),
        (tags::PIXEL_ASPECT_RATIO, "(absent)"),
        (tags::ICC_PROFILE, "(absent)"),
    ];
    for (tag, value) in table {
        assert_eq!(text(object, tag), value, "{name}: {tag}");
    }
    let sound = (stream(played, "audio"), stream(source, "audio"));
    let told = object.get(tags::MULTIPLEXED_AUDIO_CHANNELS_DESCRIPTION_CODE_SEQUENCE);
    match sound {
        (None, None) => assert!(told.is_none(), "{name}: silence is not described"),
        (Some(now), Some(was)) => {
            assert_eq!((&now["start_time"], &now["profile"]), (&was["start_time"], &was["profile"]), "{name}");
            assert_eq!(told.unwrap().items().unwrap().len(), 1, "{name}: a pair of channels is one item");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn what_no_syntax_carries_is_refused_with_the_reason() {
    if !has_ffmpeg() {
        return;
    }
    let coded = |args: &'static [&'static str]| [PICTURES, &["-c:v", "libx264"], args];
    let sound = |args: &'static [&'static str]| [PICTURES, SOUND, HIGH, args];
    let hevc = |args: &'static [&'static str]| {
        [PICTURES, &["-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1"], args]
    };
    let quick: &[&str] = &["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=240:duration=0.05"];
    let table: [(&str, Vec<&[&str]>, &str); 13] = [
        ("baseline.mp4", coded(&["-profile:v", "baseline", "-pix_fmt", "yuv420p"]).to_vec(), "profile Baseline"),
        ("main.mp4", coded(&["-profile:v", "main", "-pix_fmt", "yuv420p"]).to_vec(), "profile Main"),
        ("ten.mp4", coded(&["-profile:v", "high10", "-pix_fmt", "yuv420p10le"]).to_vec(), "more than 8 bits"),
        ("full.mp4", coded(&["-profile:v", "high422", "-pix_fmt", "yuv422p"]).to_vec(), "not sampled 4:2:0"),
        ("range.mp4", coded(&["-pix_fmt", "yuvj420p", "-color_range", "pc"]).to_vec(), "full range"),
        ("wide.mp4", coded(&["-pix_fmt", "yuv420p", "-vf", "setsar=4/3"]).to_vec(), "not square"),
        ("fields.mp4", coded(&["-pix_fmt", "yuv420p", "-flags", "+ildct+ilme"]).to_vec(), "interlaced"),
        ("level.mp4", coded(&["-pix_fmt", "yuv420p", "-level", "5.1"]).to_vec(), "its level"),
        ("quick.mp4", [quick, &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-level", "4.2"]].to_vec(), "pictures a second"),
        ("old.mp4", [PICTURES, &["-c:v", "mpeg4"]].to_vec(), "neither H.264 nor HEVC"),
        ("mono.mp4", sound(&["-c:a", "aac", "-ar", "44100", "-ac", "1"]).to_vec(), "48 kHz in stereo"),
        ("mp3.mp4", sound(&["-c:a", "libmp3lame"]).to_vec(), "48 kHz in stereo"),
        ("main10.mov", hevc(&["-pix_fmt", "yuv420p10le"]).to_vec(), "profile Main 10"),
    ];
    for (name, args, reason) in table {
        let folder = TempDir::new("film-unfit");
        let source = folder.path().join(name);
        ffmpeg(&args, &source);
        is_refused(folder.path(), &source, reason);
    }
}

fn is_refused(folder: &Path, source: &Path, reason: &str) {
    let line = wrap(folder, source, true);
    assert_eq!(line["error"]["code"], "needs-transcoding", "{}: {line}", source.display());
    let detail = line["error"]["detail"].as_str().unwrap();
    assert!(detail.contains(reason), "{}: {detail}", source.display());
    assert!(line["output"].is_null() && std::fs::read_dir(folder.join("out")).unwrap().next().is_none());
}

#[test]
fn what_the_container_does_to_a_picture_is_a_reason_too() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("film-container");
    let upright = folder.path().join("upright.mp4");
    ffmpeg(&[PICTURES, HIGH, &["-g", "30"]], &upright);
    let mut turned = std::fs::read(&upright).unwrap();
    let at = memchr::memmem::find(&turned, b"tkhd").unwrap() + 44;
    let quarter: Vec<u8> = [0, 0x1_0000_u32, 0, 0xFFFF_0000, 0, 0].iter().flat_map(|n| n.to_be_bytes()).collect();
    turned[at..at + 24].copy_from_slice(&quarter);
    let file = folder.path().join("turned.mp4");
    std::fs::write(&file, turned).unwrap();
    is_refused(folder.path(), &file, "turned by a matrix");
    let cut = folder.path().join("cut.mp4");
    ffmpeg(&[&["-ss", "0.2", "-i", upright.to_str().unwrap(), "-c", "copy"]], &cut);
    is_refused(folder.path(), &cut, "edit list hides");
}

#[test]
fn a_film_whose_sound_stands_twice_in_one_place_is_told_as_that() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("film-twice");
    let file = folder.path().join("twice.mp4");
    ffmpeg(&[PICTURES, SOUND, HIGH, NAMELESS, AAC], &file);
    let mut whole = std::fs::read(&file).unwrap();
    let places = memchr::memmem::find_iter(&whole, b"stco").nth(1).unwrap() + 12;
    whole.copy_within(places..places + 4, places + 4);
    std::fs::write(&file, whole).unwrap();
    is_refused(folder.path(), &file, "as it is: the film has samples that share their bytes");
}

#[test]
fn pictures_that_are_shown_later_than_they_are_decoded_are_shown_to_the_last() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("film-later");
    let parts = folder.path().join("parts.mp4");
    let fragments: &[&str] = &["-use_editlist", "0", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"];
    ffmpeg(&[PICTURES, SOUND, HIGH, NAMELESS, &["-bf", "3"], AAC, fragments], &parts);
    let mut bytes = std::fs::read(parts).unwrap();
    // They begin half a second after the sound, and no edit list says so.
    let start = memchr::memmem::find(&bytes, b"tfdt").unwrap() + 8;
    bytes[start..start + 8].copy_from_slice(&7_680_u64.to_be_bytes());
    let read = film::read(&bytes.as_slice()).unwrap();
    assert_eq!(carrier(&read.facts, 1_000_000), Ok(Syntax::Avc41));
    let mut made = Vec::new();
    Reader::new(Arc::new(read.flat().unwrap()), bytes.as_slice()).read_to_end(&mut made).unwrap();
    assert_eq!(film::read(&made.as_slice()).unwrap().facts, read.facts);
    let flat = folder.path().join("flat.mp4");
    std::fs::write(&flat, made).unwrap();
    let told = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
        ])
        .arg(flat)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "15");
}

#[test]
fn a_film_without_a_body_site_becomes_no_object() {
    let folder = TempDir::new("film-site");
    let source = folder.path().join("clip.mp4");
    std::fs::write(&source, clip(*b"isom", 3, 500)).unwrap();
    let line = wrap(folder.path(), &source, false);
    assert_eq!(line["error"]["code"], "claim-invalid");
    assert!(line["error"]["detail"].as_str().unwrap().contains("body_site"), "{line}");
}

#[test]
fn ffprobe_reads_the_same_facts_of_every_film_of_the_corpus() {
    let Some(corpus) = support::shared().filter(|_| has_ffmpeg()) else { return };
    let mut seen = 0;
    for folder in ["media/real/video", "media/made/video", "media/made/control"] {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(corpus.join("corpus").join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| ["mp4", "mov", "3gp"].iter().any(|known| e == *known)));
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let mut scrubbed = Vec::new();
            let mut sink = |kept: &[u8]| {
                scrubbed.extend_from_slice(kept);
                Ok::<(), std::convert::Infallible>(())
            };
            let (purpose, limits) = (shutterbridge::scrub::Purpose::Object, shutterbridge::scrub::Limits::default());
            shutterbridge::scrub::container::scrub(&bytes.as_slice(), purpose, &limits, &mut sink).unwrap();
            let facts = film::read(&scrubbed.as_slice()).unwrap().facts;
            let (told, coding) = (stream(&file, "video").unwrap(), facts.coding.unwrap());
            let shown = file.display();
            let level = told["level"].as_u64().unwrap() / if told["codec_name"] == "hevc" { 3 } else { 1 };
            assert_eq!(u64::from(coding.level), level, "{shown}");
            assert_eq!(
                (coding.width.to_string(), coding.height.to_string()),
                (told["width"].to_string(), told["height"].to_string())
            );
            let format = told["pix_fmt"].as_str().unwrap();
            assert_eq!(
                (coding.bits == 10, coding.is_full_range),
                (format.ends_with("10le"), format.starts_with("yuvj")),
                "{shown}"
            );
            if let Some(frames) = told["nb_frames"].as_str() {
                assert_eq!(facts.frames.to_string(), frames, "{shown}");
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

// ---------------------------------------------------------------- without a process

/// The object of a film, and its payload.
fn object_of(film: &[u8], number: u8) -> (Instance, Vec<u8>) {
    let read = film::read(&film).unwrap();
    let flat = Arc::new(read.flat().unwrap());
    let (syntax, length) = (carrier(&read.facts, flat.length_bytes()).unwrap(), flat.length_bytes());
    let (width, height) = read.facts.coding.map(|c| (c.width, c.height)).unwrap();
    let pixels = Pixels::Video { length, syntax };
    let picture = Picture { width, height, samples: 3, pixels, history: LossyHistory::Original, icc_profile: None };
    let instance =
        dicom::build_video(&full_binding(), &manifest(full_claim(), number), &picture, &Cine::of(&read.facts)).unwrap();
    let mut payload = Vec::new();
    Reader::new(flat, film).read_to_end(&mut payload).unwrap();
    (instance, payload)
}

#[test]
fn a_real_archive_receives_the_film_it_was_offered() {
    let folder = TempDir::new("film-storescp");
    let Some(archive) = Other::storescp(folder.path(), &["+xa"]) else { return };
    let to = dimse(archive.address);
    for (number, pictures) in [(11, 3), (12, 200)] {
        let (instance, payload) = object_of(&clip(*b"qt  ", pictures, 10_001), number);
        assert_eq!(to.store(&instance, &mut payload.as_slice()), Ok(Stored { warning: None }));
        let file = folder.files().into_iter().find(|f| f.to_str().unwrap().contains(instance.sop_instance.as_str())).unwrap();
        let object = judge(folder.path(), &file);
        let kept = fragment(&object);
        assert_eq!(&kept[..payload.len()], payload);
        assert_eq!(kept.len(), payload.len().next_multiple_of(2));
    }
}

#[test]
fn an_object_that_contradicts_itself_is_not_made() {
    let (_, payload) = object_of(&clip(*b"isom", 3, 500), 9);
    let pixels = Pixels::Video { length: payload.len() as u64, syntax: Syntax::Avc41 };
    let good = Picture { width: 640, height: 480, samples: 3, pixels, history: LossyHistory::Original, icc_profile: None };
    let cine = Cine { frames: 3, seconds: 0.1, picture_bytes: 1_500, has_sound: false };
    let build =
        |claim, picture: &Picture, cine: &Cine| dicom::build_video(&full_binding(), &manifest(claim, 9), picture, cine).err();
    assert_eq!(build(full_claim(), &good, &cine), None);
    assert_eq!(build(bare_claim(), &good, &cine), Some(DicomError::BodySiteMissing));
    let table = [
        (Picture { samples: 1, ..good.clone() }, cine),
        (Picture { pixels: Pixels::Jpeg { length: 9 }, ..good.clone() }, cine),
        (Picture { history: LossyHistory::Lossless, ..good.clone() }, cine),
        (good.clone(), Cine { frames: 0, ..cine }),
        (good.clone(), Cine { seconds: 0.0, ..cine }),
        (good, Cine { seconds: f64::INFINITY, ..cine }),
    ];
    for (picture, cine) in table {
        assert!(matches!(build(full_claim(), &picture, &cine), Some(DicomError::Picture(_))), "{picture:?} {cine:?}");
    }
}

/// A film of any length that is nowhere: only its index has bytes of its own. Counts what is read of it.
struct Endless {
    front: Vec<u8>,
    length_bytes: u64,
    back: Vec<u8>,
    largest: Arc<AtomicUsize>,
}

impl Endless {
    /// So many pictures of so many bytes: `mdat` with a size of eight bytes, `co64`.
    fn new(pictures: u32, bytes: u32) -> Self {
        let model = clip(*b"isom", 1, 50);
        let moov = memchr::memmem::find(&model, b"moov").unwrap() - 4;
        let end = moov + usize::try_from(u32::from_be_bytes(*model[moov..].first_chunk().unwrap())).unwrap();
        let media = u64::from(pictures) * u64::from(bytes);
        let front = [&model[..24], &[0, 0, 0, 1], b"mdat", &(media + 16).to_be_bytes()].concat();
        let at = front.len() as u64;
        let places: Vec<u8> = (0..u64::from(pictures)).flat_map(|n| (at + n * u64::from(bytes)).to_be_bytes()).collect();
        let head = |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_be_bytes()).collect() };
        let table =
            |kind: [u8; 4], body: &[u8]| [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &kind, body].concat();
        let tables = [
            table(*b"stts", &head(&[0, 1, pictures, 20])),
            table(*b"stsc", &head(&[0, 1, 1, 1, 1])),
            table(*b"stsz", &head(&[0, bytes, pictures])),
            table(*b"co64", &[head(&[0, pictures]), places].concat()),
        ];
        let back = with_tables(&model[moov..end], &tables.concat());
        Self { front, length_bytes: at + media + back.len() as u64, back, largest: Arc::default() }
    }
}

/// The index of one track with other tables behind its `stsd`.
fn with_tables(movie: &[u8], tables: &[u8]) -> Vec<u8> {
    let at = |kind: &[u8; 4]| memchr::memmem::find(movie, kind).unwrap() - 4;
    let size = |at: usize| usize::try_from(u32::from_be_bytes(*movie[at..].first_chunk().unwrap())).unwrap();
    let boxes = [b"moov", b"trak", b"mdia", b"minf", b"stbl"].map(at);
    let (described, first) = (at(b"stsd") + size(at(b"stsd")), boxes[1] + size(boxes[1]));
    let mut index = [&movie[..described], tables].concat();
    // The sensor's track goes, and user data.
    let gone = size(boxes[0]) - first;
    for (place, outer) in boxes.iter().zip(0..) {
        let behind = if outer == 0 { gone } else { 0 };
        let length = size(*place) - (first - described) - behind + tables.len();
        index[*place..place + 4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    }
    index
}

impl Source for Endless {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.largest.fetch_max(into.len(), Ordering::Relaxed);
        let back = self.length_bytes - self.back.len() as u64;
        into.fill(0x5A);
        let end = at + into.len() as u64;
        for (start, bytes) in [(0, &self.front), (back, &self.back)] {
            let (from, until) = (at.max(start), end.min(start + bytes.len() as u64));
            if from < until {
                let place = |n: u64, origin: u64| usize::try_from(n - origin).unwrap();
                let own = &bytes[place(from, start)..place(until, start)];
                into[place(from, at)..place(until, at)].copy_from_slice(own);
            }
        }
        Ok(())
    }
}

#[test]
fn a_gigabyte_passes_through_one_buffer() {
    let film = Endless::new(600, 2_000_000);
    let read = film::read(&film).unwrap();
    assert_eq!((read.facts.frames, read.facts.picture_bytes), (600, 1_200_000_000));
    let flat = Arc::new(read.flat().unwrap());
    let length = flat.length_bytes();
    let largest = Arc::clone(&film.largest);
    largest.store(0, Ordering::Relaxed);
    let mut reader = Reader::new(flat, film);
    let (mut buffer, mut given) = (vec![0; 64 << 10], 0);
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            count => given += count as u64,
        }
    }
    assert_eq!(given, length);
    assert!(length > 1_200_000_000 && length < 1_200_100_000, "{length}");
    assert!(largest.load(Ordering::Relaxed) <= buffer.len(), "what one read asks for is all that is held");
}

#[test]
fn a_sample_without_a_byte_is_no_picture_and_does_not_end_the_film() {
    let mut film = clip(*b"isom", 3, 500);
    let sizes = memchr::memmem::find(&film, b"stsz").unwrap() + 16;
    film[sizes + 4..sizes + 8].fill(0);
    let film = film.as_slice();
    let read = film::read(&film).unwrap();
    assert_eq!(carrier(&read.facts, 2_000), Err(vec![Unfit::Empty]));
    let flat = Arc::new(read.flat().unwrap());
    let mut payload = Vec::new();
    Reader::new(Arc::clone(&flat), film).read_to_end(&mut payload).unwrap();
    assert_eq!(payload.len() as u64, flat.length_bytes());
}

#[test]
fn what_no_fragment_can_hold_is_told_before_a_byte_of_it_is_read() {
    let film = Endless::new(5_000, 1_000_000);
    let read = film::read(&film).unwrap();
    assert!(read.flat().is_err(), "4 GiB are too long for one fragment");
    assert_eq!(carrier(&read.facts, u64::MAX), Err(vec![Unfit::Length]));
    assert!(film.largest.load(Ordering::Relaxed) < 100_000);
}

// ---------------------------------------------------------------- when it was taken

#[test]
fn a_film_was_taken_when_it_says_so_itself_else_when_the_sender_does_and_never_in_1904() {
    // What `mvhd` and a date with a zone say; in UTC the day before, in Berlin after midnight.
    let seconds_1904 = |unix: u32| (unix + 2_082_844_800).to_be_bytes();
    let table = [
        (seconds_1904(1_772_407_800), "2026-03-02T08:30:00+0900", "20260302003000+0100", "003000"),
        (seconds_1904(1_772_407_800), "2026-03-02T09:30:00+0900", "20260302013000+0100", "013000"),
        (seconds_1904(1_772_407_800), "no date, and no zone even", "20260302003000+0100", "003000"),
        ([0; 4], "no date, and no zone even", "20260301101530.500+0100", "101530.500"),
    ];
    for (header, date, date_time, time) in table {
        let folder = TempDir::new("film-time");
        let mut film = clip(*b"qt  ", 3, 500);
        let mvhd = memchr::memmem::find(&film, b"mvhd").unwrap() + 8;
        film[mvhd..mvhd + 4].copy_from_slice(&header);
        let day = memchr::memmem::find(&film, b"2026-03-02T08:30:00+0900").unwrap();
        let date = date.as_bytes().get(..24).unwrap_or(date.as_bytes());
        film[day..day + 24].copy_from_slice(date);
        let source = folder.path().join("clip.mov");
        std::fs::write(&source, film).unwrap();
        let line = wrap(folder.path(), &source, true);
        let object = judge(folder.path(), Path::new(line["output"].as_str().unwrap_or_else(|| panic!("{line}"))));
        assert_eq!(
            (text(&object, tags::ACQUISITION_DATE_TIME).as_str(), text(&object, tags::CONTENT_TIME).as_str()),
            (date_time, time)
        );
        assert_eq!(text(&object, tags::CONTENT_DATE), date_time[..8]);
    }
}

// ---------------------------------------------------------------- other ways to an archive

#[test]
fn orthanc_takes_a_film_over_the_web_and_by_dimse_and_a_folder_keeps_it() {
    let (instance, payload) = object_of(&clip(*b"isom", 90, 20_003), 21);
    let kept = TempDir::new("film-folder");
    let to = Folder::new(folder::Options { path: kept.path().to_owned(), profile: Profile::default() });
    assert_eq!(to.store(&instance, &mut payload.as_slice()), Ok(Stored { warning: None }));
    assert_eq!(std::fs::read(&kept.files()[0]).unwrap(), file_bytes(&instance, &payload));
    let dir = TempDir::new("film-orthanc");
    let Some((orthanc, dicom)) = orthanc(dir.path(), "") else { return };
    let url = Url::parse(&format!("http://{}/dicom-web", orthanc.address)).unwrap();
    let to = Stow::new(stow::Options {
        url,
        tls: None,
        bearer_file: None,
        profile: Profile::default(),
        limits: stow::Limits::default(),
    });
    let sop = SopRef { sop_class: instance.sop_class.clone(), sop_instance: instance.sop_instance.clone() };
    assert_eq!(to.store(&instance, &mut payload.as_slice()), Ok(Stored { warning: None }));
    let Ok(Asked::Answered(reports)) = to.ask_commitment(&Uid::parse("2.25.9").unwrap(), std::slice::from_ref(&sop)) else {
        panic!("no answer")
    };
    assert_eq!(reports[0].committed, [sop]);
    let (instance, payload) = object_of(&clip(*b"isom", 90, 20_003), 22);
    let to = dimse(std::net::SocketAddr::from(([127, 0, 0, 1], dicom)));
    assert_eq!(to.store(&instance, &mut payload.as_slice()), Ok(Stored { warning: None }));
}
