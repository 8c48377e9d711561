//! The instance: what DICOM makes of a picture and its binding.
//!
//! Owns: SOP classes, transfer syntaxes, attributes, encapsulation, the Part 10 file.
//! Never: I/O of its own, sockets, identity decisions.

use crate::capture::Uid;

/// One finished instance, less the coded picture, which streams from the sealed file.
#[derive(Clone, Debug)]
pub struct Instance {
    pub sop_class: Uid,
    pub sop_instance: Uid,
    pub pixels: Pixels,
}

/// How the payload becomes (7FE0,0010).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// One JPEG baseline stream of so many bytes: transfer syntax .50, empty offset table, one fragment.
    Jpeg { length: u64 },
    /// Native samples, interleaved by pixel, so many bytes.
    Native { length: u64 },
}
