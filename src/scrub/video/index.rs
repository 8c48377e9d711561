//! `moov` and `moof` in memory: what tracks there are, and the same bytes with what goes blanked.

use std::ops::Range;

use super::unsupported;
use crate::capture::media::Orientation;
use crate::media::Fault;
use crate::media::isobmff::Fields;
use crate::media::quicktime::turn_of;
use crate::scrub::ScrubError;
use crate::scrub::findings::Findings;
use crate::scrub::policy::{SOUND_CODINGS, VIDEO_CODINGS, VideoBox, is_film_brand};

/// Bytes of a sample entry before its boxes: of pictures, and of sound in version 0, 1 and 2.
const PICTURE_ENTRY: usize = 86;
const SOUND_ENTRIES: [usize; 3] = [36, 52, 72];

pub(super) struct Track {
    pub id: u32,
    pub is_kept: bool,
    pub is_picture: bool,
    is_enabled: bool,
    coding: [u8; 4],
    pub width: u32,
    pub height: u32,
    pub turn: Option<Orientation>,
    /// How its units are marked off, where it is H.264 or HEVC.
    pub units: Option<Units>,
    /// Where `stbl` stands in the index.
    pub table: Range<usize>,
    /// Where `trak` stands.
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    pub is_hevc: bool,
    pub prefix: usize,
}

/// A box inside an index.
pub(super) struct Found {
    pub kind: [u8; 4],
    pub at: usize,
    pub body: Range<usize>,
}

/// The boxes of a range. Zeros at its end are padding.
pub(super) fn list(bytes: &[u8], range: Range<usize>) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let rest = bytes.get(at..range.end).unwrap_or_default();
        let size = Fields(rest).long().map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if size == 0 && rest.iter().all(|b| *b == 0) {
            break;
        }
        let kind = rest.get(4..8).and_then(|k| k.first_chunk()).copied();
        let end = at.checked_add(size).filter(|end| size >= 8 && *end <= range.end);
        let (Some(kind), Some(end)) = (kind, end) else { return Err(Fault("has a box that reaches out of another")) };
        found.push(Found { kind, at, body: at + 8..end });
        at = end;
    }
    Ok(found)
}

/// The one box that a path leads to.
pub(super) fn at_path(bytes: &[u8], range: &Range<usize>, path: &[&[u8; 4]]) -> Result<Option<Range<usize>>, Fault> {
    let mut range = range.clone();
    for kind in path {
        let found = list(bytes, range)?;
        let mut of_kind = found.into_iter().filter(|f| f.kind == **kind);
        match (of_kind.next(), of_kind.next()) {
            (Some(one), None) => range = one.body,
            (None, _) => return Ok(None),
            (_, Some(_)) => return Err(Fault("has a box twice that stands once")),
        }
    }
    Ok(Some(range))
}

pub(super) fn tracks(movie: &[u8]) -> Result<Vec<Track>, Fault> {
    let mut tracks: Vec<Track> = Vec::new();
    for found in list(movie, 8..movie.len())?.into_iter().filter(|f| f.kind == *b"trak") {
        let track = track(movie, &found)?;
        if tracks.iter().any(|t| t.id == track.id) {
            return Err(Fault("has two tracks of one number"));
        }
        tracks.push(track);
    }
    Ok(tracks)
}

fn track(movie: &[u8], found: &Found) -> Result<Track, Fault> {
    let get = |path: &[&[u8; 4]]| at_path(movie, &found.body, path).map(|r| r.unwrap_or(0..0));
    let bytes = |range: &Range<usize>| movie.get(range.clone()).unwrap_or_default();
    let header = get(&[b"tkhd"])?;
    let mut head = Fields(bytes(&header));
    let (version, flags) = head.version()?;
    head.take(if version == 0 { 8 } else { 16 })?;
    let id = head.long()?;
    let handler = get(&[b"mdia", b"hdlr"])?;
    let handler = bytes(&handler).get(8..12).unwrap_or_default();
    let table = get(&[b"mdia", b"minf", b"stbl"])?;
    let described = get(&[b"mdia", b"minf", b"stbl", b"stsd"])?;
    let mut track = Track {
        id,
        is_kept: false,
        is_picture: handler == b"vide",
        is_enabled: flags & 1 == 1,
        coding: [0; 4],
        width: 0,
        height: 0,
        turn: turn_of(bytes(&header)),
        units: None,
        table,
        at: found.at,
    };
    let entries =
        if described.len() > 8 { list(movie, described.start + 8..described.end).unwrap_or_default() } else { Vec::new() };
    if let Some(entry) = entries.first() {
        let is_known = (track.is_picture && VIDEO_CODINGS.contains(&&entry.kind))
            || (handler == b"soun" && SOUND_CODINGS.contains(&&entry.kind));
        track.coding = if is_known { entry.kind } else { track.coding };
    }
    if track.is_picture && track.coding != [0; 4] {
        for entry in &entries {
            let mut size = Fields(movie.get(entry.at + 32..entry.body.end).unwrap_or_default());
            (track.width, track.height) = (u32::from(size.short()?), u32::from(size.short()?));
            let units = units(movie, entry)?;
            if entry.at != entries.first().map_or(0, |e| e.at) && units != track.units {
                return Err(Fault("has pictures that are marked off in two ways"));
            }
            track.units = units;
        }
    }
    Ok(track)
}

fn units(movie: &[u8], entry: &Found) -> Result<Option<Units>, Fault> {
    let inner = entry.at + PICTURE_ENTRY..entry.body.end.max(entry.at + PICTURE_ENTRY);
    for (kind, place, is_hevc) in [(b"avcC", 4, false), (b"hvcC", 21, true)] {
        if let Some(record) = at_path(movie, &inner, &[kind])? {
            let byte =
                movie.get(record).and_then(|r| r.get(place)).ok_or(Fault("has a record of its coding that is cut short"))?;
            return Ok(Some(Units { is_hevc, prefix: usize::from(byte & 3) + 1 }));
        }
    }
    Ok(None)
}

/// One picture track and at most one sound track: the first that are played, of a known coding.
pub(super) fn choose(tracks: &mut [Track]) -> Result<(), ScrubError> {
    for is_picture in [true, false] {
        let place = [true, false].iter().find_map(|enabled| {
            tracks.iter().position(|t| t.coding != [0; 4] && t.is_picture == is_picture && t.is_enabled == *enabled)
        });
        match place.and_then(|n| tracks.get_mut(n)) {
            Some(track) => track.is_kept = true,
            None if is_picture => return Err(unsupported("a video without pictures in a coding that is known here")),
            None => {}
        }
    }
    Ok(())
}

/// `ftyp` of the same length: brands that are known stay, others become the major one.
pub(super) fn brands(mut bytes: Vec<u8>) -> Vec<u8> {
    let major = bytes.get(8..12).and_then(|b| b.first_chunk::<4>()).filter(|b| is_film_brand(**b)).copied().unwrap_or(*b"isom");
    if let Some(words) = bytes.get_mut(8..) {
        let (words, rest) = words.as_chunks_mut::<4>();
        rest.fill(0);
        for (n, word) in words.iter_mut().enumerate() {
            *word = match n {
                1 => [0; 4],
                _ if is_film_brand(*word) || *word == [0; 4] => *word,
                _ => major,
            };
        }
    }
    bytes
}

pub(super) fn word_of(kind: [u8; 4]) -> &'static str {
    match &kind {
        b"free" | b"skip" | b"wide" => "video.free",
        b"udta" => "video.udta",
        b"meta" => "video.meta",
        b"uuid" => "video.uuid",
        b"trak" | b"traf" => "video.track",
        b"tref" | b"chap" => "video.chapters",
        _ => "video.unknown",
    }
}

/// The index with all that goes blanked. Its length stays.
pub(super) fn edit(mut bytes: Vec<u8>, tracks: &[Track], findings: &mut Findings) -> Result<Vec<u8>, Fault> {
    let kind = bytes.get(4..8).and_then(|k| k.first_chunk()).copied().unwrap_or_default();
    let range = 8..bytes.len();
    let mut editor = Editor { bytes: &mut bytes, tracks, findings };
    editor.children(range, kind)?;
    Ok(bytes)
}

pub(super) struct Editor<'a> {
    pub bytes: &'a mut Vec<u8>,
    tracks: &'a [Track],
    pub findings: &'a mut Findings,
}

impl Editor<'_> {
    /// As deep as [`VideoBox::of`] leads: seven boxes.
    fn children(&mut self, range: Range<usize>, parent: [u8; 4]) -> Result<(), Fault> {
        for found in list(self.bytes, range)? {
            let shape = if self.is_of_dropped_track(&found)? { VideoBox::Other } else { VideoBox::of(parent, found.kind) };
            match shape {
                VideoBox::Parent => self.children(found.body, found.kind)?,
                VideoBox::Other => self.free(&found),
                VideoBox::Handler => {
                    self.zero(found.body.start + 12..found.body.end, Some("video.name"));
                }
                VideoBox::References => self.references(found.body)?,
                VideoBox::Descriptions => self.descriptions(found.body)?,
                _ => {
                    let body = self.bytes.get(found.body.clone()).unwrap_or_default();
                    let length = shape.length_bytes(body).ok_or(Fault("has a box that ends before its fields do"))?;
                    let version = body.first().copied().unwrap_or(0);
                    if let VideoBox::Times(..) = shape {
                        let width = if version == 0 { 8 } else { 16 };
                        self.zero(found.body.start + 4..found.body.start + 4 + width, None);
                    }
                    for (from, to) in VideoBox::reserved(found.kind, version) {
                        self.zero(found.body.start + from..found.body.start + to, Some("video.padding"));
                    }
                    self.zero(found.body.start + length..found.body.end, Some("video.padding"));
                }
            }
        }
        Ok(())
    }

    fn is_of_dropped_track(&self, found: &Found) -> Result<bool, Fault> {
        Ok(match &found.kind {
            b"trak" => !self.tracks.iter().any(|t| t.is_kept && t.at == found.at),
            b"traf" => {
                let head = at_path(self.bytes, &found.body, &[b"tfhd"])?.unwrap_or(0..0);
                let mut fields = Fields(self.bytes.get(head).unwrap_or_default());
                fields.version()?;
                let id = fields.long()?;
                !self.tracks.iter().any(|t| t.is_kept && t.id == id)
            }
            _ => false,
        })
    }

    /// Makes a box one of zeros that says nothing.
    pub(super) fn free(&mut self, found: &Found) {
        let was_free = found.kind == *b"free";
        let word = match &found.kind {
            b"sgpd" | b"sbgp" | b"sdtp" | b"iods" | b"saio" | b"saiz" | b"gmhd" => None,
            other => Some(word_of(*other)),
        };
        if let Some(name) = self.bytes.get_mut(found.at + 4..found.at + 8) {
            name.copy_from_slice(b"free");
        }
        let held = self.zero(found.body.clone(), None);
        if let Some(word) = word.filter(|_| held_or(held, was_free)) {
            self.findings.remove(word);
        }
    }

    /// Zeros; true where there was anything else. A range that runs backwards is none.
    pub(super) fn zero(&mut self, range: Range<usize>, word: Option<&'static str>) -> bool {
        let Some(bytes) = self.bytes.get_mut(range) else { return false };
        let held = bytes.iter().any(|b| *b != 0);
        bytes.fill(0);
        if let Some(word) = word.filter(|_| held) {
            self.findings.remove(word);
        }
        held
    }

    /// `dref`: samples stand in this file. What else an entry says is a path.
    fn references(&mut self, body: Range<usize>) -> Result<(), Fault> {
        let entries = body.start.saturating_add(8)..body.end;
        for found in list(self.bytes, entries)? {
            let flags = Fields(self.bytes.get(found.body.clone()).unwrap_or_default()).version()?.1;
            if flags & 1 == 0 || !matches!(&found.kind, b"url " | b"alis") {
                return Err(Fault("has samples that stand in another file"));
            }
            self.zero(found.body.start + 4..found.body.end, Some("video.name"));
        }
        Ok(())
    }

    fn descriptions(&mut self, body: Range<usize>) -> Result<(), Fault> {
        for entry in list(self.bytes, body.start.saturating_add(8)..body.end)? {
            let is_picture = VIDEO_CODINGS.contains(&&entry.kind);
            if !is_picture && !SOUND_CODINGS.contains(&&entry.kind) {
                return Err(Fault("has a track that is coded in two ways"));
            }
            // Reserved; the vendor, and of pictures how well they were packed and the compressor's name.
            self.zero(entry.at + 8..entry.at + 14, Some("video.padding"));
            self.zero(entry.at + 20..entry.at + if is_picture { 32 } else { 24 }, None);
            let version = self.bytes.get(entry.at + 17).copied().unwrap_or(0);
            let head = if is_picture {
                self.zero(entry.at + 50..entry.at + 82, Some("video.name"));
                PICTURE_ENTRY
            } else {
                SOUND_ENTRIES.get(usize::from(version)).copied().ok_or(Fault("has sound of a version that is not known"))?
            };
            if entry.at + head > entry.body.end {
                return Err(Fault("has a track whose coding is not told"));
            }
            self.coding(entry.at + head..entry.body.end, is_picture)?;
        }
        Ok(())
    }
}

/// Free boxes are named only where they held something.
fn held_or(held: bool, was_free: bool) -> bool {
    held || !was_free
}
