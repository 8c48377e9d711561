//! Floor 2: what must go.
//!
//! Owns: the removal of location, owner and device from a file: plan, apply, verify. A planner
//! decides from structure alone what of a file is picture; all else goes. A second parser of its
//! own reads every byte that is about to leave and stops what is not on the list.
//! Never: re-encodes a picture, keeps what it does not know, does I/O.
//!
//! Two ways: JPEG and PNG are scrubbed while they arrive ([`Scrubber`]); a file with an index,
//! HEIF, MP4 and PDF, is read at any place, planned, verified and copied ([`container`]).
//!
//! Memory is bounded whatever the size of the file. While it arrives: one segment or chunk (at most 96 KiB), a
//! window over what goes (128 KiB) where the location is not found yet, and a colour profile (a
//! few KiB; never over [`policy::PROFILE_BYTES_MAX`]). The coded picture of a JPEG is not copied.

mod apply;
pub mod container;
mod findings;
mod heif;
mod icc;
mod jpeg;
mod pdf;
pub mod plan;
mod png;
pub mod policy;
pub mod report;
pub mod verify;
mod video;

use std::fmt;
use std::marker::PhantomData;

pub use plan::{Action, Entry, Plan};
pub use policy::{Limits, Purpose};
pub use report::Report;
pub use verify::{Verifier, VerifyError};

use crate::capture::media::{Details, Orientation, PictureFormat, TimeSource};
use crate::capture::{Essence, Facts, MediaKind};
use crate::media::exif::Block;
use crate::media::{Sniffed, sniff, sniff::HEAD_BYTES};
use apply::{Apply, Edits, Ledger};
use findings::Findings;

/// Why a file is not scrubbed. `detail` says what happened and what to do; it carries nothing of
/// the file but numbers and the kind it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubError {
    pub code: ScrubCode,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubCode {
    Empty,
    UnsupportedMedia,
    DamagedMedia,
    TooLarge,
    /// Whole, and it stays so: a scrub would break its signature.
    SignedDocument,
}

impl ScrubCode {
    /// The code of the problem document. An empty file is one that was damaged on its way.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Empty | Self::DamagedMedia => "damaged-media",
            Self::UnsupportedMedia => "unsupported-media",
            Self::TooLarge => "too-large",
            Self::SignedDocument => "signed-document",
        }
    }
}

impl ScrubError {
    fn damaged(kind: &str, fault: impl fmt::Display) -> Self {
        let detail = format!("The {kind} is damaged: it {fault}. Take the picture again, or send the original file.");
        Self { code: ScrubCode::DamagedMedia, detail }
    }

    fn unsupported(what: &str) -> Self {
        let accepted = MediaKind::ACCEPTED_TYPES.join(", ");
        let detail = format!("The file is {what}, which is not accepted; accepted are {accepted}. Send it as one of these.");
        Self { code: ScrubCode::UnsupportedMedia, detail }
    }

    fn empty() -> Self {
        let detail = "The file is empty; it was lost on its way. Send it again.".to_owned();
        Self { code: ScrubCode::Empty, detail }
    }

    fn too_large(detail: String) -> Self {
        Self { code: ScrubCode::TooLarge, detail }
    }

    /// The planner kept what the verifier does not know: a fault of ours, and the file stays out.
    fn unverified(what: &str) -> Self {
        let detail = format!(
            "The scrubbed file did not pass its own check ({what}), so it was not let through. Report this file's origin."
        );
        Self { code: ScrubCode::DamagedMedia, detail }
    }
}

fn look_of(word: &str) -> String {
    if word == "unknown" { "of a kind that is not known here".to_owned() } else { format!("{word}, as its first bytes tell") }
}

impl fmt::Display for ScrubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ScrubError {}

/// Why a push ended: the file, or the place that its bytes go to.
#[derive(Debug)]
pub enum PushError<E> {
    Scrub(ScrubError),
    Sink(E),
}

impl<E> From<ScrubError> for PushError<E> {
    fn from(error: ScrubError) -> Self {
        Self::Scrub(error)
    }
}

/// The result of a scrub. Only [`Scrubber::finish`] makes one, and only when the verifier has
/// read the whole output to its end and found nothing that does not belong there.
#[derive(Clone, Debug)]
pub struct Scrubbed {
    pub media: MediaKind,
    pub location_found: bool,
    /// What was removed, sorted: `exif.gps`, `xmp`, `jpeg.trailer` …
    pub removed: Vec<String>,
    pub essence: Essence,
    pub facts: Facts,
    /// Bytes of the output.
    pub kept_bytes: u64,
    pub plan: Plan,
    /// Nobody else can write one down.
    verified: PhantomData<Verifier>,
}

/// Scrubs one file while it arrives. Push its bytes in any portions; what may stay comes out of
/// the sink, mostly as parts of the portion itself. Discard the output unless `finish` succeeds.
#[derive(Debug)]
pub struct Scrubber {
    purpose: Purpose,
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first bytes, as long as they are too few to tell the kind.
    Head(Vec<u8>),
    Running(Box<Run>),
    Refused(ScrubError),
}

#[derive(Debug)]
struct Run {
    planner: Planner,
    ledger: Ledger,
}

#[derive(Debug)]
enum Planner {
    Jpeg(Box<jpeg::Planner>),
    Png(Box<png::Planner>),
}

impl Planner {
    fn push<O: Edits>(&mut self, chunk: &[u8], out: &mut O) -> Result<(), O::Stop> {
        match self {
            Self::Jpeg(planner) => planner.push(chunk, out),
            Self::Png(planner) => planner.push(chunk, out),
        }
    }

    fn finish(self) -> Result<(PictureFormat, Findings), ScrubError> {
        match self {
            Self::Jpeg(planner) => planner.finish(),
            Self::Png(planner) => planner.finish(),
        }
    }
}

impl Run {
    fn start(head: &[u8], purpose: Purpose, limits: Limits) -> Result<Self, ScrubError> {
        let kind = match sniff(head) {
            Sniffed::Known(kind) => kind,
            Sniffed::Other(word) => return Err(ScrubError::unsupported(&look_of(word))),
        };
        let planner = match kind {
            MediaKind::Jpeg => Planner::Jpeg(Box::new(jpeg::Planner::new(purpose, limits))),
            MediaKind::Png => Planner::Png(Box::new(png::Planner::new(purpose, limits))),
            // It has an index, which may stand at its end: no plan is made while it arrives.
            MediaKind::Heic | MediaKind::Mp4 | MediaKind::QuickTime | MediaKind::Pdf => {
                let detail = "The file has an index; it is scrubbed when it is there whole. Give it whole instead.".to_owned();
                return Err(ScrubError { code: ScrubCode::UnsupportedMedia, detail });
            }
        };
        let ledger = Ledger { plan: Plan::default(), verifier: Verifier::new(kind, purpose), kept_bytes: 0 };
        Ok(Self { planner, ledger })
    }

    fn finish(self, purpose: Purpose) -> Result<Scrubbed, ScrubError> {
        let media = match self.planner {
            Planner::Jpeg(_) => MediaKind::Jpeg,
            Planner::Png(_) => MediaKind::Png,
        };
        let (format, findings) = self.planner.finish()?;
        self.ledger.verifier.finish().map_err(|VerifyError(what)| ScrubError::unverified(what))?;
        if let Some(profile) = &findings.profile {
            verify::check_profile(profile).map_err(|VerifyError(what)| ScrubError::unverified(what))?;
        }
        let exif = findings.exif.unwrap_or_default();
        let orientation = exif.orientation.unwrap_or_default();
        let facts = facts_of(format, orientation, exif, findings.profile.filter(|_| purpose == Purpose::Object));
        Ok(Scrubbed {
            media,
            location_found: findings.finder.has_found(),
            removed: findings.removed.into_iter().map(str::to_owned).collect(),
            essence: Essence::Unchanged,
            facts,
            kept_bytes: self.ledger.kept_bytes,
            plan: self.ledger.plan,
            verified: PhantomData,
        })
    }
}

/// What the record keeps of a picture that `exif` describes.
fn facts_of(format: PictureFormat, orientation: Orientation, exif: Block, icc_profile: Option<Vec<u8>>) -> Facts {
    let taken_from = exif.taken_at.map(|_| TimeSource::Exif);
    Facts {
        format,
        orientation,
        taken_at: exif.taken_at,
        make: exif.make,
        model: exif.model,
        software: exif.software,
        details: Details { taken_from, exposure: exif.exposure, ..Details::default() },
        icc_profile,
    }
}

impl Scrubber {
    #[must_use]
    pub fn new(purpose: Purpose, limits: &Limits) -> Self {
        Self { purpose, limits: *limits, state: State::Head(Vec::new()) }
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// [`PushError::Scrub`] as soon as the file is known to be unacceptable (and again on every
    /// later call), [`PushError::Sink`] with what the sink said.
    pub fn push<E>(&mut self, chunk: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), PushError<E>> {
        match &mut self.state {
            State::Refused(error) => Err(PushError::Scrub(error.clone())),
            State::Head(head) if head.len() + chunk.len() < HEAD_BYTES => {
                head.extend_from_slice(chunk);
                Ok(())
            }
            State::Head(head) => {
                let head = std::mem::take(head);
                if head.is_empty() {
                    return self.start(chunk, &[], sink);
                }
                self.start(&head, chunk, sink)
            }
            State::Running(_) => self.run(chunk, sink),
        }
    }

    /// Begins with the kind that `first` and `then`, the start of the file, tell.
    fn start<E>(&mut self, first: &[u8], then: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), PushError<E>> {
        let head: Vec<u8> = first.iter().chain(then).copied().take(HEAD_BYTES).collect();
        match Run::start(&head, self.purpose, self.limits) {
            Ok(run) => self.state = State::Running(Box::new(run)),
            Err(error) => return Err(self.refuse(error)),
        }
        self.run(first, sink)?;
        self.run(then, sink)
    }

    fn run<E>(&mut self, chunk: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), PushError<E>> {
        let State::Running(run) = &mut self.state else { return Ok(()) };
        let Run { planner, ledger } = &mut **run;
        match planner.push(chunk, &mut Apply { ledger, sink }) {
            Err(PushError::Scrub(error)) => Err(self.refuse(error)),
            other => other,
        }
    }

    fn refuse<E>(&mut self, error: ScrubError) -> PushError<E> {
        self.state = State::Refused(error.clone());
        PushError::Scrub(error)
    }

    /// The file is complete.
    ///
    /// # Errors
    /// As for [`Scrubber::push`]; and where the file ends before its picture does.
    pub fn finish<E>(mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<Scrubbed, PushError<E>> {
        if let State::Head(head) = &mut self.state {
            let head = std::mem::take(head);
            if head.is_empty() {
                return Err(PushError::Scrub(ScrubError::empty()));
            }
            self.start(&head, &[], sink)?;
        }
        match self.state {
            State::Running(run) => run.finish(self.purpose).map_err(PushError::Scrub),
            State::Refused(error) => Err(PushError::Scrub(error)),
            State::Head(_) => Err(PushError::Scrub(ScrubError::empty())),
        }
    }
}
