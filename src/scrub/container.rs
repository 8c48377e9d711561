//! Files with an index: read at any place, planned as a whole, checked, then copied.
//!
//! The plan comes first and is small. Where the output leaves at once ([`scrub`]), the verifier reads
//! the whole of it, through the plan, before the first byte does. Where it is put down first
//! ([`apply`]), the verifier reads it where it lies, and without that there is no [`Scrubbed`].
//! Memory holds the index, what is read of it, and one buffer:
//! some hundred KiB for what a phone writes; an index at its limit (8 MiB, of a film of hours) takes
//! ten to twenty times its size.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;

use super::plan::Plan;
use super::policy::{Limits, Purpose};
use super::verify::{self, VerifyError};
use super::{ScrubCode, ScrubError, Scrubbed, heif, look_of, pdf, video};
use crate::capture::{Essence, Facts, MediaKind};
use crate::media::isobmff::ReadError;
use crate::media::source::Source;
use crate::media::{Sniffed, sniff, sniff::HEAD_BYTES};

/// Bytes copied or looked through at a time.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// Why there is no plan.
#[derive(Debug)]
pub enum PlanError {
    Read(io::Error),
    Scrub(ScrubError),
}

/// Why there is no output.
#[derive(Debug)]
pub enum CopyError<E> {
    Read(io::Error),
    Scrub(ScrubError),
    Sink(E),
}

impl PlanError {
    /// `kind` is the file's, as the text of the refusal names it.
    pub(super) fn of(error: ReadError, kind: &str) -> Self {
        match error {
            ReadError::Source(error) => Self::Read(error),
            ReadError::Fault(fault) => Self::Scrub(ScrubError::damaged(kind, fault)),
        }
    }
}

impl From<io::Error> for PlanError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<ScrubError> for PlanError {
    fn from(error: ScrubError) -> Self {
        Self::Scrub(error)
    }
}

impl<E> From<PlanError> for CopyError<E> {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Read(error) => Self::Read(error),
            PlanError::Scrub(error) => Self::Scrub(error),
        }
    }
}

/// A part of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Written anew.
    New(Vec<u8>),
    /// As in the source.
    Kept(Range<u64>),
    /// So many zeros.
    Blank(u64),
}

impl Piece {
    pub(super) fn length_bytes(&self) -> u64 {
        match self {
            Self::New(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Kept(range) => range.end.saturating_sub(range.start),
            Self::Blank(length_bytes) => *length_bytes,
        }
    }
}

/// What will be done with one file. It prints as text through its `plan`.
#[derive(Clone, Debug)]
pub struct Planned {
    pub media: MediaKind,
    pub location_found: bool,
    pub removed: Vec<String>,
    pub facts: Facts,
    pub plan: Plan,
    /// Each with the place of its first byte in the output.
    pieces: Vec<(u64, Piece)>,
    length_bytes: u64,
}

/// What a planner of one format says; the rest of [`Planned`] follows from it.
pub(super) struct Decision {
    pub location_found: bool,
    pub removed: Vec<String>,
    pub facts: Facts,
    pub plan: Plan,
    pub pieces: Vec<Piece>,
}

impl Planned {
    fn new(media: MediaKind, decision: Decision) -> Self {
        let Decision { location_found, removed, facts, plan, pieces } = decision;
        let mut length_bytes = 0u64;
        let mut placed = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let start = length_bytes;
            length_bytes = length_bytes.saturating_add(piece.length_bytes());
            placed.push((start, piece));
        }
        Self { media, location_found, removed, facts, plan, pieces: placed, length_bytes }
    }

    /// Bytes of the output.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// True where each byte that stays has its place in the output where it had it in the source:
    /// so the output may be written over the source.
    #[must_use]
    pub fn stays_in_place(&self) -> bool {
        self.pieces.iter().all(|(start, piece)| match piece {
            Piece::Kept(range) => range.start == *start,
            Piece::New(_) | Piece::Blank(_) => true,
        })
    }

    /// Reads the output with a parser of its own: what it holds, and that it is as long as planned.
    fn check(&self, purpose: Purpose, output: &dyn Source) -> Result<(), ScrubError> {
        if output.length_bytes() != self.length_bytes {
            return Err(ScrubError::unverified("a file of another length than was planned"));
        }
        verify::container(self.media, purpose, output).map_err(|VerifyError(what)| ScrubError::unverified(what))?;
        match &self.facts.icc_profile {
            Some(profile) => verify::check_profile(profile).map_err(|VerifyError(what)| ScrubError::unverified(what)),
            None => Ok(()),
        }
    }

    fn into_scrubbed(self) -> Scrubbed {
        Scrubbed {
            media: self.media,
            location_found: self.location_found,
            removed: self.removed,
            essence: Essence::Unchanged,
            facts: self.facts,
            kept_bytes: self.length_bytes,
            plan: self.plan,
            verified: PhantomData,
        }
    }
}

/// A plan that was carried out, and what it made was not looked at yet.
#[derive(Debug)]
pub struct Applied {
    planned: Planned,
    purpose: Purpose,
}

impl Applied {
    /// Verifies the output where it lies.
    ///
    /// # Errors
    /// Where it holds what does not belong there, or cannot be read.
    pub fn verify(self, output: &dyn Source) -> Result<Scrubbed, ScrubError> {
        self.planned.check(self.purpose, output)?;
        Ok(self.planned.into_scrubbed())
    }
}

/// Decides what of a file stays.
///
/// # Errors
/// Where the file cannot be read, is damaged, too large, or of a kind that is not planned here.
pub fn plan(source: &dyn Source, purpose: Purpose, limits: &Limits) -> Result<Planned, PlanError> {
    let length = source.length_bytes();
    if length == 0 {
        return Err(ScrubError::empty().into());
    }
    let mut head = [0; HEAD_BYTES];
    let head = portion(&mut head, length);
    source.read_at(0, head)?;
    match sniff(head) {
        Sniffed::Known(MediaKind::Heic) => Ok(Planned::new(MediaKind::Heic, heif::plan(source, purpose, limits)?)),
        Sniffed::Known(kind @ (MediaKind::Mp4 | MediaKind::QuickTime)) => Ok(Planned::new(kind, video::plan(source, limits)?)),
        Sniffed::Known(MediaKind::Pdf) => Ok(Planned::new(MediaKind::Pdf, pdf::plan(source, limits)?)),
        Sniffed::Known(MediaKind::Jpeg | MediaKind::Png) => {
            let detail = "The file has no index; it is scrubbed while it arrives. Push its bytes instead.".to_owned();
            Err(ScrubError { code: ScrubCode::UnsupportedMedia, detail }.into())
        }
        Sniffed::Other(word) => Err(ScrubError::unsupported(&look_of(word)).into()),
    }
}

/// Carries a plan out, in the order of the output: what it puts into the sink counts for nothing
/// before [`Applied::verify`] has read it.
///
/// # Errors
/// Where the source cannot be read, and with what the sink said.
pub fn apply<E>(
    planned: Planned,
    source: &dyn Source,
    purpose: Purpose,
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Applied, CopyError<E>> {
    copy(&planned, source, sink)?;
    Ok(Applied { planned, purpose })
}

/// The only way from a plan to bytes.
fn copy<E>(planned: &Planned, source: &dyn Source, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), CopyError<E>> {
    let mut buffer = vec![0; BUFFER_BYTES];
    for (_, piece) in &planned.pieces {
        match piece {
            Piece::New(bytes) => sink(bytes).map_err(CopyError::Sink)?,
            Piece::Blank(length_bytes) => {
                buffer.fill(0);
                let mut left = *length_bytes;
                while left > 0 {
                    let portion = portion(&mut buffer, left);
                    sink(portion).map_err(CopyError::Sink)?;
                    left = left.saturating_sub(u64::try_from(portion.len()).unwrap_or(u64::MAX));
                }
            }
            Piece::Kept(range) => {
                let mut at = range.start;
                while at < range.end {
                    let portion = portion(&mut buffer, range.end - at);
                    source.read_at(at, portion).map_err(CopyError::Read)?;
                    sink(portion).map_err(CopyError::Sink)?;
                    at = at.saturating_add(u64::try_from(portion.len()).unwrap_or(u64::MAX));
                }
            }
        }
    }
    Ok(())
}

/// As much of `buffer` as is left to do.
pub(super) fn portion(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).map_or(buffer.len(), |n| n.min(buffer.len()));
    buffer.get_mut(..length).unwrap_or_default()
}

/// The output as it will be.
struct View<'a> {
    planned: &'a Planned,
    source: &'a dyn Source,
}

/// A scrubbed file that is nowhere: read at any place, through its plan.
pub struct Seen<'a> {
    planned: Planned,
    source: &'a dyn Source,
}

/// Plans one file and verifies the output that the plan describes, without writing it.
///
/// # Errors
/// As [`plan`], and what the verifier found.
pub fn see<'a>(source: &'a dyn Source, purpose: Purpose, limits: &Limits) -> Result<Seen<'a>, PlanError> {
    let planned = plan(source, purpose, limits)?;
    planned.check(purpose, &View { planned: &planned, source })?;
    Ok(Seen { planned, source })
}

impl Seen<'_> {
    #[must_use]
    pub fn scrubbed(&self) -> Scrubbed {
        self.planned.clone().into_scrubbed()
    }
}

impl Source for Seen<'_> {
    fn length_bytes(&self) -> u64 {
        self.planned.length_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        View { planned: &self.planned, source: self.source }.read_at(at, into)
    }
}

impl Source for View<'_> {
    fn length_bytes(&self) -> u64 {
        self.planned.length_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let (mut at, mut into) = (at, into);
        let first = self.planned.pieces.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        for (start, piece) in self.planned.pieces.get(first..).unwrap_or_default() {
            let inside = at.saturating_sub(*start);
            let left = piece.length_bytes().saturating_sub(inside);
            let length = usize::try_from(left).map_or(into.len(), |n| n.min(into.len()));
            let (now, later) = into.split_at_mut(length);
            match piece {
                Piece::New(bytes) => bytes.as_slice().read_at(inside, now)?,
                Piece::Kept(range) => self.source.read_at(range.start.saturating_add(inside), now)?,
                Piece::Blank(_) => now.fill(0),
            }
            at = at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            into = later;
            if into.is_empty() {
                break;
            }
        }
        if into.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Scrubs one file: plans it, verifies the output that the plan describes, and copies it into the
/// sink. Nothing reaches the sink unless the plan is verified; discard the output on an error.
///
/// # Errors
/// As [`plan`], and with what the sink said.
pub fn scrub<E>(
    source: &dyn Source,
    purpose: Purpose,
    limits: &Limits,
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Scrubbed, CopyError<E>> {
    let seen = see(source, purpose, limits)?;
    copy(&seen.planned, source, sink)?;
    Ok(seen.planned.into_scrubbed())
}
