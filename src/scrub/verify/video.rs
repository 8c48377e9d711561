//! Reads an MP4 or `QuickTime` file that is about to leave: known boxes of known length, zeros in
//! the rest, one picture track, at most one sound track, and no byte of `mdat` that neither uses.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

mod coding;

use super::VerifyError;
use crate::media::source::Source;
use crate::scrub::policy::{SOUND_CODINGS, VIDEO_CODINGS, VideoBox, is_film_brand, is_message_kept, is_void_unit};

const INDEX_BYTES_MAX: u64 = 8 * 1024 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
const MESSAGE_BYTES_MAX: u64 = 256 * 1024;

type Checked<T> = Result<T, VerifyError>;

const SHORT: VerifyError = VerifyError("a video with a box that is cut short");
const BOX: VerifyError = VerifyError("a video with a box that may not stay");
const BLANK: VerifyError = VerifyError("a video with bytes where zeros belong");

impl From<io::Error> for VerifyError {
    fn from(_: io::Error) -> Self {
        Self("a file that cannot be read")
    }
}

/// What one file adds up to.
#[derive(Default)]
struct Film {
    tracks: Vec<Track>,
    media: Vec<Range<u64>>,
    used: Vec<Range<u64>>,
    /// Sizes of samples in fragments, by track.
    sizes: BTreeMap<u32, u32>,
}

#[derive(Default)]
struct Track {
    id: u32,
    handler: [u8; 4],
    /// H.264 or HEVC, and bytes before each unit.
    units: Option<(bool, usize)>,
    sizes: Vec<u8>,
    groups: Vec<u8>,
    chunks: Vec<u8>,
    chunk_width: usize,
    samples: Vec<(u64, u64)>,
}

fn long(bytes: &[u8], at: usize) -> Checked<u32> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|raw| u32::from_be_bytes(*raw)).ok_or(SHORT)
}

fn huge(bytes: &[u8], at: usize) -> Checked<u64> {
    Ok(u64::from(long(bytes, at)?) << 32 | u64::from(long(bytes, at + 4)?))
}

fn blank(bytes: Option<&[u8]>) -> Checked<()> {
    if bytes.is_some_and(|bytes| bytes.iter().all(|b| *b == 0)) { Ok(()) } else { Err(BLANK) }
}

/// # Errors
/// What does not belong there, or bytes that cannot be read.
pub(super) fn check(source: &dyn Source) -> Checked<()> {
    let mut film = Film::default();
    let mut fragments = Vec::new();
    let (mut at, end) = (0, source.length_bytes());
    while at < end {
        let (kind, body) = head(source, at, end)?;
        match &kind {
            b"ftyp" if at == 0 => brands(&load(source, &body)?)?,
            b"moov" if film.tracks.is_empty() => film.tree(&load(source, &body)?, *b"moov")?,
            b"moof" => fragments.push((at, load(source, &body)?)),
            b"mdat" => film.media.push(body.clone()),
            b"free" => zeros(source, &body)?,
            _ => return Err(BOX),
        }
        at = body.end;
    }
    for (at, bytes) in &fragments {
        film.tree(bytes, *b"moof")?;
        film.fragment(bytes, *at)?;
    }
    film.kinds()?;
    for track in &mut film.tracks {
        let samples = track.samples()?;
        film.used.extend(samples.iter().map(|(at, length)| *at..at.saturating_add(*length)));
        track.samples.extend(samples);
    }
    film.coverage(source)?;
    film.tracks.iter().try_for_each(|track| track.messages(source))
}

fn head(source: &dyn Source, at: u64, end: u64) -> Checked<([u8; 4], Range<u64>)> {
    let mut head = [0; 16];
    let length = usize::try_from(end - at).map_or(16, |n| n.min(16));
    let head = head.get_mut(..length).unwrap_or_default();
    source.read_at(at, head)?;
    let kind = head.get(4..8).and_then(|k| k.first_chunk()).copied().ok_or(SHORT)?;
    let (size, length) = match long(head, 0)? {
        0 => (end - at, 8),
        1 => (huge(head, 8)?, 16),
        size => (u64::from(size), 8),
    };
    let stop = at.checked_add(size).filter(|stop| size >= length && *stop <= end).ok_or(SHORT)?;
    Ok((kind, at + length..stop))
}

fn load(source: &dyn Source, body: &Range<u64>) -> Checked<Vec<u8>> {
    let length = body.end - body.start;
    let length = usize::try_from(length).ok().filter(|_| length <= INDEX_BYTES_MAX).ok_or(SHORT)?;
    let mut bytes = vec![0; length];
    source.read_at(body.start, &mut bytes)?;
    Ok(bytes)
}

fn zeros(source: &dyn Source, range: &Range<u64>) -> Checked<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).map_or(BUFFER_BYTES, |n| n.min(BUFFER_BYTES));
        let part = buffer.get_mut(..length).unwrap_or_default();
        source.read_at(at, part)?;
        blank(Some(part))?;
        at += u64::try_from(length).unwrap_or(u64::MAX);
    }
    Ok(())
}

fn brands(body: &[u8]) -> Checked<()> {
    let (words, rest) = body.as_chunks::<4>();
    blank(Some(rest))?;
    let is_known = |n: usize, word: [u8; 4]| word == [0; 4] || (n != 1 && is_film_brand(word));
    if words.iter().enumerate().all(|(n, word)| is_known(n, *word)) {
        Ok(())
    } else {
        Err(VerifyError("a video with a brand that may not stay"))
    }
}

/// The boxes of `bytes`; what follows the last is zeros.
fn children(bytes: &[u8]) -> Checked<Vec<([u8; 4], &[u8])>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if long(rest, 0).unwrap_or(0) == 0 && blank(Some(rest)).is_ok() {
            break;
        }
        let size = usize::try_from(long(rest, 0)?).map_err(|_| SHORT)?;
        let kind = rest.get(4..8).and_then(|k| k.first_chunk()).copied().ok_or(SHORT)?;
        found.push((kind, rest.get(8..size).ok_or(SHORT)?));
        rest = rest.get(size..).ok_or(SHORT)?;
    }
    Ok(found)
}

impl Film {
    fn tree(&mut self, bytes: &[u8], parent: [u8; 4]) -> Checked<()> {
        for (kind, body) in children(bytes)? {
            if kind == *b"free" {
                blank(Some(body))?;
                continue;
            }
            let shape = VideoBox::of(parent, kind);
            if kind == *b"trak" {
                self.tracks.push(Track::default());
            }
            match shape {
                VideoBox::Other => return Err(BOX),
                VideoBox::Parent => self.tree(body, kind)?,
                VideoBox::Handler => blank(body.get(12..))?,
                VideoBox::References => references(body)?,
                VideoBox::Descriptions => descriptions(body)?,
                VideoBox::Times(..) => {
                    blank(body.get(4..if body.first() == Some(&0) { 12 } else { 20 }))?;
                    blank(shape.length_bytes(body).and_then(|length| body.get(length..)))?;
                }
                _ => blank(shape.length_bytes(body).and_then(|length| body.get(length..)))?,
            }
            for (from, to) in VideoBox::reserved(kind, body.first().copied().unwrap_or(0)) {
                blank(body.get(*from..*to))?;
            }
            self.note(parent, kind, body)?;
        }
        Ok(())
    }

    fn note(&mut self, parent: [u8; 4], kind: [u8; 4], body: &[u8]) -> Checked<()> {
        if kind == *b"trex" {
            let (id, size) = (long(body, 4)?, long(body, 16)?);
            self.sizes.insert(id, size);
            return Ok(());
        }
        let Some(track) = self.tracks.last_mut() else { return Ok(()) };
        match (&parent, &kind) {
            (b"trak", b"tkhd") => track.id = long(body, if body.first() == Some(&0) { 12 } else { 20 })?,
            (b"mdia", b"hdlr") => track.handler = body.get(8..12).and_then(|h| h.first_chunk()).copied().ok_or(SHORT)?,
            (b"stbl", b"stsd") => track.units = units(body)?,
            (b"stbl", b"stsz") => track.sizes = body.to_vec(),
            (b"stbl", b"stsc") => track.groups = body.to_vec(),
            (b"stbl", b"stco" | b"co64") => {
                track.chunks = body.to_vec();
                track.chunk_width = if kind == *b"stco" { 4 } else { 8 };
            }
            _ => {}
        }
        Ok(())
    }

    fn kinds(&self) -> Checked<()> {
        let count = |kind: &[u8; 4]| self.tracks.iter().filter(|t| t.handler == *kind).count();
        if count(b"vide") == 1 && count(b"soun") <= 1 && count(b"vide") + count(b"soun") == self.tracks.len() {
            Ok(())
        } else {
            Err(VerifyError("a video with a track that may not stay"))
        }
    }

    /// The samples of one `moof` that stands at `base`.
    fn fragment(&mut self, bytes: &[u8], base: u64) -> Checked<()> {
        for (_, traf) in children(bytes)?.into_iter().filter(|(kind, _)| kind == b"traf") {
            let boxes = children(traf)?;
            let tfhd = boxes.iter().find(|(kind, _)| kind == b"tfhd").map(|(_, body)| *body).ok_or(SHORT)?;
            let (flags, id) = (long(tfhd, 0)?, long(tfhd, 4)?);
            let track = self.tracks.iter_mut().find(|t| t.id == id).ok_or(BOX)?;
            let base = if flags & 1 == 1 { huge(tfhd, 8)? } else { base };
            let skipped = 8 + usize::from(flags & 1 != 0) * 8 + usize::from(flags & 2 != 0) * 4 + usize::from(flags & 8 != 0) * 4;
            let size = if flags & 16 == 0 { self.sizes.get(&id).copied().unwrap_or(0) } else { long(tfhd, skipped)? };
            let (mut next, before) = (base, track.samples.len());
            for (_, run) in boxes.iter().filter(|(kind, _)| kind == b"trun") {
                let (flags, count) = (long(run, 0)?, long(run, 4)?);
                if flags & 1 == 1 {
                    next = base.wrapping_add_signed(i64::from(long(run, 8)?.cast_signed()));
                }
                let first = 8 + usize::from(flags & 1 != 0) * 4 + usize::from(flags & 4 != 0) * 4;
                let stride = [8, 9, 10, 11].iter().filter(|bit| flags >> **bit & 1 == 1).count() * 4;
                if flags & 0x200 == 0 {
                    let all = u64::from(count).saturating_mul(u64::from(size));
                    track.samples.push((next, all));
                    next = next.saturating_add(all);
                } else {
                    for n in 0..usize::try_from(count).unwrap_or(0) {
                        let length = u64::from(long(run, first + n * stride + usize::from(flags & 0x100 != 0) * 4)?);
                        track.samples.push((next, length));
                        next = next.saturating_add(length);
                    }
                }
            }
            let new = track.samples.iter().skip(before);
            self.used.extend(new.map(|(at, length)| *at..at.saturating_add(*length)));
        }
        Ok(())
    }

    /// What no sample uses is zeros.
    fn coverage(&mut self, source: &dyn Source) -> Checked<()> {
        self.used.sort_by_key(|range| range.start);
        let mut used = self.used.iter().peekable();
        for body in &self.media {
            let mut at = body.start;
            while let Some(range) = used.next_if(|range| range.start < body.end) {
                zeros(source, &(at..range.start.max(at)))?;
                at = at.max(range.end);
            }
            zeros(source, &(at..body.end.max(at)))?;
        }
        Ok(())
    }
}

fn references(body: &[u8]) -> Checked<()> {
    for (kind, entry) in children(body.get(8..).ok_or(SHORT)?)? {
        if long(entry, 0)? & 1 == 0 || !matches!(&kind, b"url " | b"alis") {
            return Err(VerifyError("a video whose samples stand elsewhere"));
        }
        blank(entry.get(4..))?;
    }
    Ok(())
}

fn descriptions(body: &[u8]) -> Checked<()> {
    for (kind, entry) in children(body.get(8..).ok_or(SHORT)?)? {
        let is_picture = VIDEO_CODINGS.contains(&&kind);
        if !is_picture && !SOUND_CODINGS.contains(&&kind) {
            return Err(BOX);
        }
        blank(entry.get(12..if is_picture { 24 } else { 16 }))?;
        if is_picture {
            blank(entry.get(42..74))?;
        }
        blank(entry.get(..6))?;
        coding::check(inside(kind, entry)?, is_picture, false)?;
    }
    Ok(())
}

/// What stands behind the fields of a sample entry.
fn inside(kind: [u8; 4], entry: &[u8]) -> Checked<&[u8]> {
    let fields = match entry.get(9) {
        _ if VIDEO_CODINGS.contains(&&kind) => 78,
        Some(0) => 28,
        Some(1) => 44,
        Some(2) => 64,
        _ => return Err(SHORT),
    };
    entry.get(fields..).ok_or(SHORT)
}

fn units(body: &[u8]) -> Checked<Option<(bool, usize)>> {
    for (kind, entry) in children(body.get(8..).ok_or(SHORT)?)? {
        for (record, inner) in children(inside(kind, entry)?)? {
            let (place, is_hevc) = match &record {
                b"avcC" => (4, false),
                b"hvcC" => (21, true),
                _ => continue,
            };
            return Ok(Some((is_hevc, inner.get(place).map_or(4, |b| usize::from(b & 3) + 1))));
        }
    }
    Ok(None)
}

impl Track {
    /// Each sample of the tables, or each chunk where all are of one size.
    fn samples(&self) -> Checked<Vec<(u64, u64)>> {
        let (size, count) = (long(&self.sizes, 4)?, u64::from(long(&self.sizes, 8)?));
        let mut found = Vec::new();
        let (mut sample, mut group, mut per_chunk) = (0u64, 0usize, 0u64);
        let groups = usize::try_from(long(&self.groups, 4)?).unwrap_or(usize::MAX);
        for chunk in 0..long(&self.chunks, 4)? {
            while group < groups && long(&self.groups, 8 + group * 12)? <= chunk + 1 {
                per_chunk = u64::from(long(&self.groups, 12 + group * 12)?);
                group += 1;
            }
            let place = 8 + usize::try_from(chunk).unwrap_or(0) * self.chunk_width;
            let mut at = if self.chunk_width == 4 { u64::from(long(&self.chunks, place)?) } else { huge(&self.chunks, place)? };
            let here = per_chunk.min(count - sample);
            if size > 0 {
                found.push((at, here.saturating_mul(u64::from(size))));
                sample += here;
                continue;
            }
            for _ in 0..here {
                let length = u64::from(long(&self.sizes, 12 + usize::try_from(sample).unwrap_or(0) * 4)?);
                found.push((at, length));
                at = at.saturating_add(length);
                sample += 1;
            }
        }
        Ok(found)
    }

    /// No message among the pictures has user data.
    fn messages(&self, source: &dyn Source) -> Checked<()> {
        let Some((is_hevc, prefix)) = self.units else { return Ok(()) };
        for (start, length) in &self.samples {
            let (mut at, end) = (*start, start.saturating_add(*length));
            while at < end {
                let mut head = [0; 5];
                let there = usize::try_from(end - at).map_or(prefix + 1, |n| n.min(prefix + 1));
                source.read_at(at, head.get_mut(..there).unwrap_or_default())?;
                let (size, first) = head.split_at(prefix);
                let size = size.iter().fold(0u64, |n, byte| n * 256 + u64::from(*byte));
                let first = first.first().copied().unwrap_or(0);
                let body = at.saturating_add(u64::try_from(prefix).unwrap_or(0));
                let is_message = if is_hevc { matches!(first & 0x7E, 78 | 80) } else { first & 31 == 6 };
                let is_void = is_void_unit(first, is_hevc);
                if (is_message || is_void) && size > 0 {
                    if size > MESSAGE_BYTES_MAX {
                        return Err(SHORT);
                    }
                    let unit = load(source, &(body..body.saturating_add(size)))?;
                    if is_void { void(&unit, is_hevc)? } else { message(&unit, is_hevc)? }
                }
                at = body.saturating_add(size);
            }
        }
        Ok(())
    }
}

/// Nothing is in it, but its end may be.
fn void(unit: &[u8], is_hevc: bool) -> Checked<()> {
    let body = unit.get(if is_hevc { 2 } else { 1 }..).unwrap_or_default();
    let body = body.strip_suffix(b"\x80").unwrap_or(body);
    if body.iter().all(|b| *b == 0xFF) { Ok(()) } else { Err(VerifyError("a video with words in a unit that nobody reads")) }
}

fn message(unit: &[u8], is_hevc: bool) -> Checked<()> {
    let mut plain = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit.get(if is_hevc { 2 } else { 1 }..).unwrap_or_default() {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    let mut rest = plain.as_slice();
    while rest.len() > 1 {
        let kind = varying(&mut rest);
        let size = varying(&mut rest).min(rest.len());
        let (payload, later) = rest.split_at(size);
        if !is_message_kept(kind, is_hevc) && payload.iter().any(|b| !matches!(b, 0 | 0xFF)) {
            return Err(VerifyError("a video with words among its pictures"));
        }
        rest = later;
    }
    Ok(())
}

/// A number as a run of 255 and a rest.
fn varying(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value += usize::from(*byte);
        if *byte != 0xFF {
            break;
        }
    }
    value
}
