//! The second look: a parser of its own that reads exactly what is about to leave.
//!
//! It shares no code with the planners, knows only what an output may hold, and whatever it does
//! not know ends it. It can run again over bytes that come back from a disk.
//!
//! It does not decode pictures: that the samples of a PNG are whole was proven when it was
//! planned, and the bytes are the same.

mod heif;
mod jpeg;
mod pdf;
mod png;
mod profile;
mod video;

use super::policy::Purpose;
use crate::capture::MediaKind;
use crate::media::source::Source;

pub use profile::check as check_profile;

/// Raised when this verifier lets through or stops what it did not before: the record and the audit
/// of each item say which one read it.
pub const VERSION: u16 = 2;

/// The output holds what does not belong there. The text names the rule, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyError(pub &'static str);

/// Push the output, then [`Verifier::finish`]. Holds one segment or small chunk at a time.
#[derive(Debug)]
pub struct Verifier {
    walk: Walk,
    failed: Option<VerifyError>,
}

#[derive(Debug)]
enum Walk {
    Jpeg(jpeg::Walk),
    Png(Box<png::Walk>),
    /// A file with an index is read by [`container`].
    Indexed,
}

const INDEXED: VerifyError = VerifyError("a file with an index, which cannot be read from front to back");

impl Verifier {
    #[must_use]
    pub fn new(kind: MediaKind, purpose: Purpose) -> Self {
        let walk = match kind {
            MediaKind::Jpeg => Walk::Jpeg(jpeg::Walk::new(purpose)),
            MediaKind::Png => Walk::Png(Box::new(png::Walk::new(purpose))),
            MediaKind::Heic | MediaKind::Mp4 | MediaKind::QuickTime | MediaKind::Pdf => Walk::Indexed,
        };
        Self { walk, failed: None }
    }

    /// # Errors
    /// The first thing that does not belong, and the same on every later call.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = match &mut self.walk {
            Walk::Jpeg(walk) => walk.push(bytes),
            Walk::Png(walk) => walk.push(bytes),
            Walk::Indexed => Err(INDEXED),
        };
        self.failed = result.err();
        result
    }

    /// The output is complete.
    ///
    /// # Errors
    /// Where it ends too early, or a push failed.
    pub fn finish(self) -> Result<(), VerifyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.walk {
            Walk::Jpeg(walk) => walk.finish(),
            Walk::Png(walk) => walk.finish(),
            Walk::Indexed => Err(INDEXED),
        }
    }
}

/// Reads an output that has an index, at any place of it.
///
/// # Errors
/// The first thing that does not belong there, or bytes that cannot be read.
pub fn container(kind: MediaKind, purpose: Purpose, output: &dyn Source) -> Result<(), VerifyError> {
    match kind {
        MediaKind::Heic => heif::check(output, purpose),
        MediaKind::Mp4 | MediaKind::QuickTime => video::check(output),
        MediaKind::Pdf => pdf::check(output),
        MediaKind::Jpeg | MediaKind::Png => Err(VerifyError("a file without an index, which is read from front to back")),
    }
}

/// An Exif block (behind its preamble) that holds Orientation 1 to 8 and nothing else.
fn is_bare_turn(tiff: &[u8]) -> bool {
    const BEFORE: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
    const AFTER: &[u8] = &[0; 6];
    match tiff.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER)) {
        Some([value]) => (1..=8).contains(value),
        _ => false,
    }
}
