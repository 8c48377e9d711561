//! Floor 2: what a file is, as its bytes tell.
//!
//! Owns: the kind of a file, the structure of JPEG, PNG, HEIF, films and PDF, what Exif, XMP, IPTC and the
//! index of a film say, the profile that colours told by number mean, and the one way to decode a picture.
//! Never: edits, files, sockets; never decides what has to go (that is `scrub`).

pub mod exif;
mod field;
pub mod film;
pub mod heic;
pub mod heif;
pub mod iptc;
pub mod isobmff;
pub mod jpeg;
pub mod location;
pub mod pdf;
pub mod png;
pub mod profile;
pub mod quicktime;
pub mod raster;
pub mod sniff;
pub mod source;

use std::fmt;

pub use sniff::{Sniffed, sniff};

/// What is wrong with a structure, as the end of a sentence that begins with the file's kind.
/// A constant text: it cannot carry anything of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
