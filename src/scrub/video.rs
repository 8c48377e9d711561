//! MP4 and `QuickTime`: one picture track and at most one sound track stay, everything else goes.
//!
//! Nothing moves. A box that goes becomes a `free` box of zeros, and what no kept sample uses of
//! `mdat` becomes zeros, so that every offset in the file stays true and the coded pictures stay
//! where they are. Only what stands behind the last box is cut off.
//!
//! Among the coded pictures, messages that are not numbers of decoding and showing (SEI of H.264
//! and HEVC; [`super::policy::is_message_kept`]) and units that no decoder reads are overwritten.
//!
//! What can still slip through: bytes that a parameter set, a slice or a sound
//! sample carries behind its own syntax, the numbers of Dolby Vision, and user data of MPEG-4 Visual and H.263, which phones
//! stopped to write.

mod coding;
mod index;
mod messages;
mod samples;

use std::ops::Range;

use super::ScrubError;
use super::container::{BUFFER_BYTES, Decision, Piece, PlanError, portion};
use super::findings::Findings;
use super::plan::{Action, Plan};
use super::policy::Limits;
use crate::capture::Facts;
use crate::capture::media::{Coding, Details, Orientation, PictureFormat};
use crate::media::Fault;
use crate::media::film::INDEX_BYTES_MAX;
use crate::media::isobmff::{BoxAt, boxes, bytes_of};
use crate::media::quicktime::Said;
use crate::media::source::Source;
use index::Track;
use messages::Edit;

const KIND: &str = "video";
const BRANDS_BYTES_MAX: usize = 4096;

fn damaged(fault: Fault) -> ScrubError {
    ScrubError::damaged(KIND, fault)
}

fn unsupported(what: &str) -> ScrubError {
    ScrubError::unsupported(what)
}

/// The file as its top level and its indexes tell.
struct Film {
    boxes: Vec<BoxAt>,
    /// Where the boxes end and a trailer begins.
    end: u64,
    /// `moov`, and each `moof` with its place.
    movie: Vec<u8>,
    fragments: Vec<(u64, Vec<u8>)>,
    tracks: Vec<Track>,
}

pub(super) fn plan(source: &dyn Source, limits: &Limits) -> Result<Decision, PlanError> {
    let film = read(source, limits)?;
    let picture = film.tracks.iter().find(|t| t.is_kept && t.is_picture).ok_or_else(|| damaged(Fault("has no pictures")))?;
    limits.check_size(picture.width, picture.height, false)?;
    let found = samples::find(&film)?;
    // Many samples of one place would be read many times over.
    if found.kept.iter().map(length_of).fold(0, u64::saturating_add) > source.length_bytes() {
        return Err(damaged(Fault("has samples that share their bytes, or ends before its pictures do")).into());
    }
    let ranges = merged(found.kept);
    check_places(&ranges, &film)?;
    let edits = messages::find(source, picture, &found.pictures)?;
    let mut findings = Findings::default();
    findings.finder.note(samples::knows_a_place(source, &found.dropped)?);
    let mut sweep = Sweep {
        source,
        findings: &mut findings,
        ranges: &ranges,
        edits: &edits,
        plan: Plan::default(),
        pieces: Vec::new(),
        buffer: vec![0; BUFFER_BYTES],
    };
    for box_at in &film.boxes {
        sweep.top_level(box_at, &film)?;
    }
    sweep.trailer(&(film.end..source.length_bytes()))?;
    let Sweep { plan, pieces, .. } = sweep;
    let said = Said::read(&film.movie);
    let facts = Facts {
        format: PictureFormat { width: picture.width, height: picture.height, coding: Coding::Video },
        // The matrix of the track turns it, and stays.
        orientation: Orientation::UPRIGHT,
        taken_at: said.taken.map(|(taken, _)| taken),
        make: said.make,
        model: said.model,
        software: said.software,
        details: Details {
            taken_from: said.taken.map(|(_, from)| from),
            duration_ms: said.duration_ms,
            turn: picture.turn,
            ..Details::default()
        },
        icc_profile: None,
    };
    Ok(Decision {
        location_found: findings.finder.has_found(),
        removed: findings.removed.into_iter().map(str::to_owned).collect(),
        facts,
        plan,
        pieces,
    })
}

fn read(source: &dyn Source, limits: &Limits) -> Result<Film, PlanError> {
    let (mut boxes, mut end) =
        boxes(source, 0..source.length_bytes(), limits.segments_max).map_err(|e| PlanError::of(e, KIND))?;
    if let Some(cut) = boxes.pop_if(|last| last.is_cut) {
        if matches!(&cut.kind, b"mdat" | b"moov" | b"moof") {
            return Err(damaged(Fault("ends in the middle of a box")).into());
        }
        end = cut.at;
    }
    let mut movies = boxes.iter().filter(|b| b.kind == *b"moov");
    let (Some(movie), None) = (movies.next(), movies.next()) else {
        return Err(damaged(Fault("has no index of its pictures, or two of them")).into());
    };
    let movie = read_index(source, movie)?;
    let mut fragments: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut held = movie.len();
    for moof in boxes.iter().filter(|b| b.kind == *b"moof") {
        let bytes = read_index(source, moof)?;
        held = held.saturating_add(bytes.len());
        if held > INDEX_BYTES_MAX {
            let detail = "The video has more index than any phone writes. Send it shorter.".to_owned();
            return Err(ScrubError::too_large(detail).into());
        }
        fragments.push((moof.at, bytes));
    }
    let mut tracks = index::tracks(&movie).map_err(damaged)?;
    index::choose(&mut tracks)?;
    Ok(Film { boxes, end, movie, fragments, tracks })
}

/// A box with its header. A size of eight bytes or of none is not written by anyone here.
fn read_index(source: &dyn Source, found: &BoxAt) -> Result<Vec<u8>, PlanError> {
    if found.body.start - found.at != 8 {
        return Err(unsupported("a video with an index of 4 GiB").into());
    }
    bytes_of(source, &(found.at..found.body.end), INDEX_BYTES_MAX).map_err(|e| PlanError::of(e, KIND))
}

/// Ranges in order, those that touch joined.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match joined.last_mut() {
            Some(before) if before.end >= range.start => before.end = before.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Samples stand in `mdat`, nowhere else.
fn check_places(ranges: &[Range<u64>], film: &Film) -> Result<(), ScrubError> {
    let is_in_place = |range: &Range<u64>| {
        let next = film.boxes.partition_point(|b| b.body.start <= range.start);
        let around = next.checked_sub(1).and_then(|n| film.boxes.get(n));
        around.is_some_and(|b| b.kind == *b"mdat" && range.end <= b.body.end)
    };
    if ranges.iter().all(is_in_place) { Ok(()) } else { Err(damaged(Fault("ends before its pictures do"))) }
}

struct Sweep<'a> {
    source: &'a dyn Source,
    findings: &'a mut Findings,
    ranges: &'a [Range<u64>],
    edits: &'a [Edit],
    plan: Plan,
    pieces: Vec<Piece>,
    buffer: Vec<u8>,
}

fn length_of(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

impl Sweep<'_> {
    fn top_level(&mut self, found: &BoxAt, film: &Film) -> Result<(), PlanError> {
        let BoxAt { kind, at, body, .. } = found;
        let whole = *at..body.end;
        match kind {
            b"ftyp" => {
                let bytes = bytes_of(self.source, &whole, BRANDS_BYTES_MAX).map_err(|e| PlanError::of(e, KIND))?;
                self.replace(&whole, index::brands(bytes), "ftyp");
            }
            b"moov" => {
                self.look(&whole)?;
                let edited = index::edit(film.movie.clone(), &film.tracks, self.findings).map_err(damaged)?;
                self.replace(&whole, edited, "moov");
            }
            b"moof" => {
                self.look(&whole)?;
                let position = film.fragments.partition_point(|(place, _)| place < at);
                let bytes = film.fragments.get(position).map(|(_, bytes)| bytes.clone()).unwrap_or_default();
                let edited = index::edit(bytes, &film.tracks, self.findings).map_err(damaged)?;
                self.replace(&whole, edited, "moof");
            }
            b"mdat" => {
                self.keep(&(*at..body.start), "mdat");
                self.media(body)?;
            }
            _ => {
                let mut header = bytes_of(self.source, &(*at..body.start), 16).map_err(|e| PlanError::of(e, KIND))?;
                if let Some(name) = header.get_mut(4..8) {
                    name.copy_from_slice(b"free");
                }
                self.replace(&(*at..body.start), header, index::word_of(*kind));
                self.blank(body, index::word_of(*kind))?;
            }
        }
        Ok(())
    }

    /// The body of one `mdat`: what samples use stays, the rest is zeros.
    fn media(&mut self, body: &Range<u64>) -> Result<(), PlanError> {
        let ranges = self.ranges;
        let first = ranges.partition_point(|range| range.start < body.start);
        let mut at = body.start;
        for range in ranges.get(first..).unwrap_or_default().iter().take_while(|range| range.start < body.end) {
            self.blank(&(at..range.start), "video.unreferenced")?;
            self.samples(range);
            at = range.end;
        }
        self.blank(&(at..body.end), "video.unreferenced")
    }

    /// Samples that stand together, with the messages in them.
    fn samples(&mut self, range: &Range<u64>) {
        let edits = self.edits;
        let first = edits.partition_point(|edit| edit.at < range.start);
        let mut at = range.start;
        for edit in edits.get(first..).unwrap_or_default().iter().take_while(|edit| edit.at < range.end) {
            let stop = edit.at.saturating_add(u64::try_from(edit.bytes.len()).unwrap_or(0));
            if edit.at < at || stop > range.end {
                continue;
            }
            self.keep(&(at..edit.at), "samples");
            self.findings.remove("video.sei");
            self.findings.finder.push(&edit.before);
            self.findings.finder.end();
            self.replace(&(edit.at..stop), edit.bytes.clone(), "video.sei");
            at = stop;
        }
        self.keep(&(at..range.end), "samples");
    }

    fn keep(&mut self, range: &Range<u64>, what: &'static str) {
        if !range.is_empty() {
            self.plan.add(usize::try_from(length_of(range)).unwrap_or(usize::MAX), Action::Keep, what);
            self.pieces.push(Piece::Kept(range.clone()));
        }
    }

    fn replace(&mut self, range: &Range<u64>, bytes: Vec<u8>, what: &'static str) {
        let into_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.plan.add(usize::try_from(length_of(range)).unwrap_or(usize::MAX), Action::Rewrite { into_bytes }, what);
        self.pieces.push(Piece::New(bytes));
    }

    /// Zeros in place of a range; nothing is said of one that holds zeros.
    fn blank(&mut self, range: &Range<u64>, what: &'static str) -> Result<(), PlanError> {
        if range.start >= range.end {
            return Ok(());
        }
        if self.look(range)? {
            self.findings.remove(what);
        }
        let into_bytes = length_of(range);
        self.plan.add(usize::try_from(into_bytes).unwrap_or(usize::MAX), Action::Rewrite { into_bytes }, what);
        self.pieces.push(Piece::Blank(into_bytes));
        Ok(())
    }

    fn trailer(&mut self, range: &Range<u64>) -> Result<(), PlanError> {
        if range.start < range.end {
            self.findings.remove("video.trailer");
            self.look(range)?;
            self.plan.add(usize::try_from(length_of(range)).unwrap_or(usize::MAX), Action::Drop, "video.trailer");
        }
        Ok(())
    }

    /// Does what goes know a place, and does it hold anything at all?
    fn look(&mut self, range: &Range<u64>) -> Result<bool, PlanError> {
        let Self { source, findings, buffer, .. } = self;
        let (mut at, mut holds) = (range.start, false);
        while at < range.end {
            let bytes = portion(buffer, range.end - at);
            source.read_at(at, bytes)?;
            holds |= bytes.iter().any(|b| *b != 0);
            findings.finder.push(bytes);
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        findings.finder.end();
        Ok(holds)
    }
}
