//! One file, from its first byte to its sealed draft.
//!
//! A photo is scrubbed and verified while it arrives: no byte that goes is ever written. What has an
//! index (HEIC, film) is scrubbed when it is there whole: until then it lies in the draft as it came,
//! sealed under a key that only memory knows. Then it is planned from its index, and written anew
//! under another key: over itself where every byte keeps its place (a film: so four gigabytes need
//! no second copy), else beside itself. The verifier reads what was sealed, as it lies on the disk,
//! and only a draft that passed it gets its manifest and its key.

use std::sync::Arc;

use super::accept::{Reception, refuse_spool};
use super::refusal::{Refusal, RefusalCode};
use crate::capture::claim::ClaimError;
use crate::capture::record::Digest;
use crate::capture::{FailureCode, ItemId, MediaKind};
use crate::media::sniff::HEAD_BYTES;
use crate::media::source::Source as _;
use crate::media::{Sniffed, sniff};
use crate::scrub::container::{self, CopyError, PlanError};
use crate::scrub::{self, Purpose, PushError, ScrubError, Scrubbed, Scrubber};
use crate::seal::digest;
use crate::spool::{Draft, ReadBack, Reservation, SpoolError};

/// Room that is set aside ahead of what arrives: several usual photos. A film moves it along.
const ROOM_BYTES: u64 = 16 << 20;

/// Bytes copied at a time.
const COPY_BYTES: usize = 64 << 10;

/// The file that is arriving.
pub(super) struct Arrival {
    reception: Arc<Reception>,
    item: ItemId,
    /// Counted from 1, as a refusal names it.
    part: u16,
    /// The claim names one.
    has_body_site: bool,
    state: State,
    room: Reservation,
    /// So many bytes fit into the room.
    room_until: u64,
    received: digest::Hasher,
    received_bytes: u64,
}

enum State {
    /// The first bytes, as long as they are too few to tell the kind.
    Head(Vec<u8>),
    /// Scrubbed while it arrives; `sealed` is of what stays.
    Passing { scrubber: Box<Scrubber>, draft: Box<Draft>, sealed: Box<digest::Hasher> },
    /// Kept as it comes until it is there whole.
    Resting { kind: MediaKind, draft: Box<Draft> },
}

/// A file that is there whole, and sealed.
pub(super) struct Arrived {
    pub draft: Draft,
    pub contents: Contents,
    pub received: Digest,
    pub received_bytes: u64,
    /// Digest of what was sealed.
    pub sealed: Digest,
}

/// What is sealed of a file.
pub(super) enum Contents {
    /// What stayed of it, verified.
    Scrubbed(Box<Scrubbed>),
    /// The file itself, because a scrub would destroy what it is worth. It never leaves.
    AsReceived { media: MediaKind, why: FailureCode },
}

impl Contents {
    pub fn media(&self) -> MediaKind {
        match self {
            Self::Scrubbed(scrubbed) => scrubbed.media,
            Self::AsReceived { media, .. } => *media,
        }
    }
}

impl Arrival {
    /// `has_body_site`: the claim names one, without which no film is taken.
    pub fn begin(reception: Arc<Reception>, item: ItemId, part: u16, has_body_site: bool) -> Result<Self, Refusal> {
        let room = reception.spool.reserve(ROOM_BYTES).map_err(|e| refuse_spool(&e))?;
        let state = State::Head(Vec::new());
        let received = digest::Hasher::new();
        Ok(Self { reception, item, part, has_body_site, state, room, room_until: ROOM_BYTES, received, received_bytes: 0 })
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received_bytes = self.received_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if let State::Head(head) = &mut self.state {
            if head.len() + bytes.len() < HEAD_BYTES {
                head.extend_from_slice(bytes);
                return Ok(());
            }
            let before = std::mem::take(head);
            self.tell_kind(&before, bytes)?;
            self.take(&before)?;
        }
        self.check_size()?;
        if self.received_bytes > self.room_until {
            self.room = self.reception.spool.reserve(ROOM_BYTES).map_err(|e| refuse_spool(&e))?;
            self.room_until = self.received_bytes.saturating_add(ROOM_BYTES);
        }
        self.take(bytes)
    }

    /// The file has ended.
    pub fn end(mut self) -> Result<Arrived, Refusal> {
        if let State::Head(head) = &mut self.state {
            let head = std::mem::take(head);
            self.tell_kind(&head, &[])?;
            self.take(&head)?;
        }
        let state = std::mem::replace(&mut self.state, State::Head(Vec::new()));
        let (draft, contents, sealed) = match state {
            State::Passing { scrubber, mut draft, mut sealed } => {
                let scrubbed = scrubber.finish(&mut digested(&mut draft, &mut sealed)).map_err(|e| self.refuse_push(e))?;
                (*draft, Contents::Scrubbed(Box::new(scrubbed)), sealed.finish())
            }
            State::Resting { draft, kind } => self.scrub_whole(*draft, kind)?,
            State::Head(_) => return Err(super::accept::out_of_order()),
        };
        Ok(Arrived { draft, contents, received: self.received.finish(), received_bytes: self.received_bytes, sealed })
    }

    /// The first bytes decide, never a name. What is of no accepted kind is refused by
    /// who scrubs photos.
    fn tell_kind(&mut self, first: &[u8], then: &[u8]) -> Result<(), Refusal> {
        let head: Vec<u8> = first.iter().chain(then).copied().take(HEAD_BYTES).collect();
        let spool = &self.reception.spool;
        self.state = match sniff(&head) {
            Sniffed::Known(kind) if kind.is_video() && !self.has_body_site => return Err(no_body_site(self.part)),
            Sniffed::Known(kind) if kind.has_index() => {
                let draft = Box::new(spool.unkeyed_draft(self.item).map_err(|e| refuse_spool(&e))?);
                State::Resting { kind, draft }
            }
            Sniffed::Known(_) | Sniffed::Other(_) => {
                let draft = Box::new(spool.draft(self.item).map_err(|e| refuse_spool(&e))?);
                let scrubber = Box::new(Scrubber::new(Purpose::Object, &self.reception.options.scrub));
                State::Passing { scrubber, draft, sealed: Box::default() }
            }
        };
        Ok(())
    }

    fn check_size(&self) -> Result<(), Refusal> {
        let options = &self.reception.options;
        let (limit, what) = match &self.state {
            State::Resting { kind, .. } if kind.is_video() => (options.video_bytes, "video"),
            _ => (options.photo_bytes, "photo"),
        };
        if self.received_bytes <= limit {
            return Ok(());
        }
        let detail = format!("File {} is larger than {limit} bytes, the limit for a {what}.", self.part);
        Err(Refusal { part: Some(self.part), limit_bytes: Some(limit), ..Refusal::new(RefusalCode::TooLarge, detail) })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received.update(bytes);
        match &mut self.state {
            State::Passing { scrubber, draft, sealed } => {
                let pushed = scrubber.push(bytes, &mut digested(draft, sealed));
                pushed.map_err(|e| self.refuse_push(e))
            }
            State::Resting { draft, .. } => draft.write(bytes).map_err(|e| refuse_spool(&e)),
            State::Head(_) => Ok(()),
        }
    }

    /// Plans what was received, writes what stays, and verifies what was written.
    fn scrub_whole(&self, mut received: Draft, media: MediaKind) -> Result<(Draft, Contents, Digest), Refusal> {
        let Reception { spool, options, .. } = &*self.reception;
        let source = received.read_back().map_err(|e| refuse_spool(&e))?;
        let refuse = |error: CopyError<SpoolError>| match (source.failure(), error) {
            (Some(disk), _) | (None, CopyError::Sink(disk)) => refuse_spool(&disk),
            (None, CopyError::Scrub(error)) => refuse_file(&error, self.part),
            (None, CopyError::Read(_)) => refuse_file(&ended_early(), self.part),
        };
        let planned = match container::plan(&source, Purpose::Object, &options.scrub) {
            Ok(planned) => planned,
            Err(PlanError::Scrub(error)) if error.code == scrub::ScrubCode::SignedDocument => {
                let mut kept = spool.reseal(received).map_err(|e| refuse_spool(&e))?;
                copy_all(&source, &mut kept).map_err(|e| refuse_spool(&e))?;
                let contents = Contents::AsReceived { media, why: FailureCode::SignedDocument };
                return Ok((kept, contents, self.received.clone().finish()));
            }
            Err(error) => return Err(refuse(error.into())),
        };
        let (mut kept, _room, beside) = if planned.stays_in_place() {
            (spool.reseal(received).map_err(|e| refuse_spool(&e))?, None, None)
        } else {
            let room = spool.reserve(planned.length_bytes()).map_err(|e| refuse_spool(&e))?;
            (spool.unkeyed_draft(self.item).map_err(|e| refuse_spool(&e))?, Some(room), Some(received))
        };
        let mut sealed = digest::Hasher::new();
        let applied =
            container::apply(planned, &source, Purpose::Object, &mut digested(&mut kept, &mut sealed)).map_err(refuse)?;
        // What was received goes here, and its key with it.
        drop((beside, source));
        let output = kept.read_back().map_err(|e| refuse_spool(&e))?;
        let verified = applied.verify(&output);
        let scrubbed =
            verified.map_err(|e| output.failure().map_or_else(|| refuse_file(&e, self.part), |disk| refuse_spool(&disk)))?;
        Ok((kept, Contents::Scrubbed(Box::new(scrubbed)), sealed.finish()))
    }

    fn refuse_push(&self, error: PushError<SpoolError>) -> Refusal {
        match error {
            PushError::Sink(e) => refuse_spool(&e),
            PushError::Scrub(e) => refuse_file(&e, self.part),
        }
    }
}

/// Seals what stays, and digests it on its way.
fn digested<'d>(draft: &'d mut Draft, sealed: &'d mut digest::Hasher) -> impl FnMut(&[u8]) -> Result<(), SpoolError> + 'd {
    |kept| {
        sealed.update(kept);
        draft.write(kept)
    }
}

/// A film becomes a multi-frame object, which has to name its region (PS3.3 §C.8.12.1): told while the
/// person is still there to say it.
fn no_body_site(part: u16) -> Refusal {
    let detail =
        format!("File {part} is a video, and a video needs `body_site` in its claim. Name the part of the body and send again.");
    let error = ClaimError { pointer: "/body_site".to_owned(), detail: "a video needs a body site".to_owned() };
    Refusal { part: Some(part), errors: vec![error], ..Refusal::new(RefusalCode::ClaimInvalid, detail) }
}

/// As it was received, under the key that stays.
fn copy_all(source: &ReadBack, kept: &mut Draft) -> Result<(), SpoolError> {
    let mut buffer = vec![0; COPY_BYTES];
    let (mut at, end) = (0, source.length_bytes());
    while at < end {
        let length = usize::try_from(end - at).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        let part = buffer.get_mut(..length).unwrap_or_default();
        source.read_at(at, part).map_err(|_| source.failure().unwrap_or(SpoolError::Broken))?;
        kept.write(part)?;
        at = at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// Its index leads to where nothing is.
fn ended_early() -> ScrubError {
    let detail = "The file ends before what its index speaks of. Send the original file again.".to_owned();
    ScrubError { code: scrub::ScrubCode::DamagedMedia, detail }
}

fn refuse_file(error: &ScrubError, part: u16) -> Refusal {
    let code = match error.code {
        // A signed document is kept, and not refused; whoever sees one here cannot keep it.
        scrub::ScrubCode::UnsupportedMedia | scrub::ScrubCode::SignedDocument => RefusalCode::UnsupportedMedia,
        scrub::ScrubCode::Empty | scrub::ScrubCode::DamagedMedia => RefusalCode::DamagedMedia,
        scrub::ScrubCode::TooLarge => RefusalCode::TooLarge,
    };
    Refusal { part: Some(part), ..Refusal::new(code, format!("File {part}: {}", error.detail)) }
}
