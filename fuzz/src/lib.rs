//! What holds of every parser, whatever bytes it gets: it never panics, it stays within its limits,
//! and what a scrub lets through passes its verifier and is changed by no second scrub.
//!
//! Each claim is a function of bytes. libFuzzer calls it from `fuzz_targets/`; the project's own
//! tests call it with seeded mutations (`tests/fuzz.rs`).

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io::Read;

use shutterbridge::capture::claim::{self, Claim};
use shutterbridge::capture::media::MediaKind;
use shutterbridge::http::multipart::{self, Event, Multipart, Parts};
use shutterbridge::identity::json;
use shutterbridge::media::exif::Block;
use shutterbridge::media::film;
use shutterbridge::media::film::flat::{Flat, Reader};
use shutterbridge::media::film::front::front;
use shutterbridge::media::location::Finder;
use shutterbridge::media::{Sniffed, sniff};
use shutterbridge::pipeline::Refusal;
use shutterbridge::scrub::container::{self, CopyError};
use shutterbridge::scrub::{Limits, Purpose, PushError, Scrubbed, Scrubber};
use shutterbridge::{dicom, hl7};

/// What a scrub may add to a file: an Exif block of Orientation and the frames of new segments.
const ADDED_BYTES_MAX: usize = 4096;
/// Longest HL7 message of a fuzzed door.
const FRAME_MAX_BYTES: usize = 64 * 1024;

const PURPOSES: [Purpose; 2] = [Purpose::File, Purpose::Object];

/// A small picture is as good as a large one, and a target that decodes none stays quick.
fn limits() -> Limits {
    Limits { pixels_max: 1 << 26, decoded_pixels_max: 1 << 24, segments_max: 4096, scans_max: 100, walks_scans: true }
}

/// JPEG and PNG, scrubbed while they arrive in portions.
pub fn picture(bytes: &[u8]) {
    if !matches!(sniff(bytes), Sniffed::Known(MediaKind::Jpeg | MediaKind::Png)) {
        return;
    }
    // How the network cuts a file makes no difference.
    let portion = usize::from(*bytes.last().unwrap_or(&0)) * 16 + 1;
    for purpose in PURPOSES {
        let whole = push(bytes, purpose, usize::MAX);
        let cut = push(bytes, purpose, portion);
        assert_eq!(whole.is_some(), cut.is_some(), "cuts of {portion} bytes change the verdict");
        let (Some((out, scrubbed)), Some((same, _))) = (whole, cut) else { continue };
        assert!(out == same, "cuts of {portion} bytes change the picture");
        check(bytes, &out, &scrubbed);
        let (again, second) = push(&out, purpose, usize::MAX).expect("what passed once passes again");
        settled(&out, &again, &second);
    }
}

/// HEIC, MP4 and QuickTime (and what else has an index), planned as a whole.
pub fn container(bytes: &[u8]) {
    for purpose in PURPOSES {
        let Some((out, scrubbed)) = copy(bytes, purpose) else { continue };
        check(bytes, &out, &scrubbed);
        let (again, second) = copy(&out, purpose).expect("what passed once passes again");
        settled(&out, &again, &second);
        film(&out);
    }
    film(bytes);
}

/// A film in one flat file is as long as was said, and the same film; so is one whose index was brought to the
/// front.
fn film(bytes: &[u8]) {
    let Ok(film) = film::read(&bytes) else { return };
    if let Ok(front) = front(&bytes) {
        let again = film::read(&made(front, bytes).as_slice()).expect("it could be read before");
        assert_eq!(again.facts, film.facts, "its index was moved");
    }
    let Ok(flat) = film.flat() else { return };
    let length = flat.length_bytes();
    let is_carried = dicom::video::carrier(&film.facts, length).is_ok();
    let flat = made(flat, bytes);
    assert_eq!(flat.len() as u64, length);
    assert!(flat.len() <= 2 * bytes.len() + ADDED_BYTES_MAX + 64 * film.facts.frames as usize);
    if is_carried {
        let again = film::read(&flat.as_slice()).expect("it is carried");
        assert_eq!(again.facts, film.facts, "it was made flat");
    }
}

fn made(flat: Flat, bytes: &[u8]) -> Vec<u8> {
    let mut made = Vec::new();
    Reader::new(flat.into(), bytes).read_to_end(&mut made).expect("every range is in the file");
    made
}

fn push(bytes: &[u8], purpose: Purpose, portion: usize) -> Option<(Vec<u8>, Scrubbed)> {
    let mut out = Vec::new();
    let mut sink = |kept: &[u8]| {
        out.extend_from_slice(kept);
        Ok::<(), Infallible>(())
    };
    let mut scrubber = Scrubber::new(purpose, &limits());
    let pushed = bytes.chunks(portion).try_for_each(|part| scrubber.push(part, &mut sink));
    match pushed.and_then(|()| scrubber.finish(&mut sink)) {
        Ok(scrubbed) => Some((out, scrubbed)),
        Err(PushError::Scrub(error)) => {
            assert!(!error.detail.contains("its own check"), "the planner kept what the verifier refuses: {error}");
            None
        }
        Err(PushError::Sink(never)) => match never {},
    }
}

fn copy(bytes: &[u8], purpose: Purpose) -> Option<(Vec<u8>, Scrubbed)> {
    let mut out = Vec::new();
    let mut sink = |kept: &[u8]| {
        out.extend_from_slice(kept);
        Ok::<(), Infallible>(())
    };
    match container::scrub(&bytes, purpose, &limits(), &mut sink) {
        Ok(scrubbed) => Some((out, scrubbed)),
        Err(CopyError::Scrub(error)) => {
            assert!(!error.detail.contains("its own check"), "the planner kept what the verifier refuses: {error}");
            None
        }
        Err(CopyError::Read(error)) => panic!("a planner read where nothing is: {error}"),
        Err(CopyError::Sink(never)) => match never {},
    }
}

fn check(bytes: &[u8], out: &[u8], scrubbed: &Scrubbed) {
    assert_eq!(out.len() as u64, scrubbed.kept_bytes, "the report counts what came out");
    assert!(out.len() <= 2 * bytes.len() + ADDED_BYTES_MAX, "{} bytes became {}", bytes.len(), out.len());
}

/// scrub(scrub(x)) = scrub(x), and the second finds nothing.
fn settled(out: &[u8], again: &[u8], second: &Scrubbed) {
    assert!(out == again, "a second scrub changes the file");
    assert!(!second.location_found, "a second scrub finds a location");
}

/// The HL7 door: framing, then one message.
pub fn message(bytes: &[u8]) {
    let mut decoder = hl7::frame::Decoder::new(FRAME_MAX_BYTES);
    for portion in bytes.chunks(61) {
        decoder.push(portion);
        // The door hangs up at anything else.
        while matches!(decoder.next_event(), Some(hl7::frame::Event::Message(_))) {}
    }
    let authority = hl7::rules::Authority::named("HOSP");
    let rules = hl7::Rules { assigning_authority: authority, zone: jiff::tz::TimeZone::UTC, sources: Vec::new() };
    for bytes in hl7::batch::split(bytes) {
        let answer = match hl7::read(bytes, &rules, jiff::Timestamp::UNIX_EPOCH) {
            Ok(read) => read.accepted(),
            Err(nack) => nack.answer(),
        };
        assert!(answer.starts_with(b"MSH"), "every message gets an answer");
        assert!(answer.len() <= bytes.len() + 1024, "an answer is no longer than its question");
    }
}

/// The body of an upload: multipart, and each part as a claim.
pub fn upload(bytes: &[u8]) {
    struct Seen(Vec<u8>);
    impl Parts for Seen {
        fn take(&mut self, event: Event<'_>) -> Result<(), Refusal> {
            match event {
                Event::Data(data) => {
                    assert!(!data.is_empty(), "data is never empty");
                    self.0.extend_from_slice(data);
                }
                Event::PartStart { .. } => self.0.clear(),
                Event::PartEnd => claim(&self.0),
                Event::End => {}
            }
            Ok(())
        }
    }
    claim(bytes);
    drop(multipart::boundary_of(Some(bytes)));
    let read = |portion: usize| {
        let (mut reader, mut seen) = (Multipart::new("b", 8), Seen(Vec::new()));
        let fed = bytes.chunks(portion).try_for_each(|part| reader.feed(part, &mut seen));
        (fed.is_ok(), reader.is_complete())
    };
    assert_eq!(read(usize::MAX), read(7), "cuts change nothing");
}

fn claim(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes) else { return };
    drop(Claim::from_json(&value));
    if let Some(text) = value.as_str() {
        let _ = claim::parse_taken_at(text);
    }
}

/// What stands beside a picture: Exif, ICC profiles, and the search for a place.
pub fn exif(bytes: &[u8]) {
    drop(Block::read(bytes));
    drop(dicom::icc::input_class(bytes));
    let mut finder = Finder::default();
    bytes.chunks(33).for_each(|part| finder.push(part));
    finder.end();
}
