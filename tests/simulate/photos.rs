//! Photos that can be told apart: each its colour, its time, its bytes once scrubbed.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::{Mutex, OnceLock};

use shutterbridge::capture::TakenAt;
use shutterbridge::capture::media::Orientation;
use shutterbridge::media::exif;
use shutterbridge::scrub::{Limits, Purpose, Scrubber};

/// How many there are. The last is for requests that must be refused.
pub const PHOTOS: usize = 64;
/// Colours lie this far apart, beyond what the coding changes.
const SHADE: usize = 36;

pub struct Photo {
    /// As the phone sends it.
    pub sent: Vec<u8>,
    /// The time in it, as a DICOM object says it; empty where there is none.
    pub time: String,
    colour: [u8; 3],
    is_turned: bool,
    /// As it may leave, where it is not coded again.
    scrubbed: Vec<u8>,
}

pub fn all() -> &'static [Photo] {
    static ALL: OnceLock<Vec<Photo>> = OnceLock::new();
    ALL.get_or_init(|| (0..PHOTOS).map(photo).collect())
}

/// Which photo these bytes of an object are; `None`: none of them, so they are damaged.
pub fn identify(payload: &[u8]) -> Option<usize> {
    static KNOWN: OnceLock<Mutex<HashMap<Vec<u8>, Option<usize>>>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| Mutex::new(upright()));
    let mut known = known.lock().unwrap();
    *known.entry(payload.to_vec()).or_insert_with(|| turned_one(payload))
}

fn upright() -> HashMap<Vec<u8>, Option<usize>> {
    let numbered = all().iter().enumerate().filter(|(_, photo)| !photo.is_turned);
    numbered.map(|(number, photo)| (photo.scrubbed.clone(), Some(number))).collect()
}

/// A turned photo may be coded again; its picture stands upright then.
fn turned_one(payload: &[u8]) -> Option<usize> {
    let picture = image::load_from_memory(payload).ok()?.into_rgb8();
    if picture.dimensions() != (8, 16) {
        return None;
    }
    let is_near = |a: u8, b: u8| usize::from(a.abs_diff(b)) < SHADE / 3;
    let fits = |photo: &Photo| picture.pixels().all(|p| p.0.iter().zip(photo.colour).all(|(a, b)| is_near(*a, b)));
    all().iter().position(|photo| photo.is_turned && fits(photo))
}

fn photo(number: usize) -> Photo {
    let shade = |n: usize| u8::try_from(n % 8 * SHADE).unwrap();
    let colour = [shade(number), shade(number / 8), 60];
    let picture = image::RgbImage::from_pixel(16, 8, image::Rgb(colour));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    let jpeg = bytes.into_inner();
    let is_turned = number % 8 == 5;
    let (sent, time) = if is_turned {
        (turned(&jpeg), String::new())
    } else {
        // Before every time to which the clock is set back.
        let local = format!("2025-03-01T10:{:02}:{:02}", number / 60, number % 60);
        let taken = TakenAt { local: local.parse().unwrap(), offset: None };
        (exif::with_location(&jpeg, 47.137_219, 9.523_847, &taken), local[11..].replace(':', ""))
    };
    let scrubbed = scrub(&sent);
    Photo { sent, time, colour, is_turned, scrubbed }
}

/// Taken with the phone held upright: Exif orientation 6.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    let block = exif::orientation_block(Orientation::from_exif(6).unwrap());
    let length = u16::try_from(block.len() + 8).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, b"Exif\0\0", &block, &jpeg[2..]].concat()
}

fn scrub(sent: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut sink = |bytes: &[u8]| -> Result<(), ()> {
        kept.extend_from_slice(bytes);
        Ok(())
    };
    let mut scrubber = Scrubber::new(Purpose::Object, &Limits::default());
    scrubber.push(sent, &mut sink).unwrap();
    scrubber.finish(&mut sink).unwrap();
    kept
}
