//! The same film as a flat MP4 file: index first, one `mdat`, no fragments, no matrix, no brand of
//! `QuickTime`. Coded pictures and sound are not touched, not even read, before the file is: it is a
//! head that is written here, and ranges of the source.
//!
//! Source: ISO/IEC 14496-12 §4.3, §8; ISO/IEC 14496-14 §5.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use super::coding::Colour;
use super::sound::{Aac, Sound};
use super::table::{Runs, Table};
use super::{Edit, Film, Track};
use crate::media::Fault;
use crate::media::source::Source;

/// Why a film has no flat file that could have one by its samples: places in it are 32 bits wide.
pub const TOO_LONG: Fault = Fault("is longer than 4 GiB");
/// 1.0 in 16.16.
const ONE: u32 = 0x1_0000;
/// No turn, no stretch, no shift (§8.3.2).
const IDENTITY: [u32; 9] = [ONE, 0, 0, 0, ONE, 0, 0, 0, 0x4000_0000];
/// `und`, in five bits a letter (§8.4.2).
const NO_LANGUAGE: u16 = 0x55C4;
const PICTURE_TRACK: u32 = 1;
const SOUND_TRACK: u32 = 2;

/// How a flat file is made of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flat {
    /// Everything before the first sample.
    pub(super) head: Vec<u8>,
    /// What follows, of the source.
    pub(super) ranges: Vec<Range<u64>>,
    pub(super) length_bytes: u64,
}

impl Flat {
    /// Of the flat file.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }
}

impl Film {
    /// Plans the flat file. Places in it are 32 bits wide: no object is longer (PS3.5 §A.4).
    ///
    /// # Errors
    /// Samples that stand outside of the source or share their bytes; [`TOO_LONG`].
    pub fn flat(&self) -> Result<Flat, Fault> {
        let tracks: Vec<&Track> = [Some(&self.picture), self.sound.as_ref()].into_iter().flatten().collect();
        let media = Media::of(&tracks, self.length_bytes)?;
        let brands = brands(&self.picture);
        let before = brands.len() + self.movie(&media, 0).len() + 8;
        let first = u32::try_from(before).map_err(|_| TOO_LONG)?;
        let length_bytes = u64::from(first) + media.length_bytes;
        let body = u32::try_from(media.length_bytes + 8).map_err(|_| TOO_LONG)?;
        if length_bytes > u64::from(u32::MAX) {
            return Err(TOO_LONG);
        }
        let mut head = brands;
        head.extend(self.movie(&media, first));
        head.extend(body.to_be_bytes());
        head.extend(b"mdat");
        Ok(Flat { head, ranges: media.ranges, length_bytes })
    }

    fn movie(&self, media: &Media, first: u32) -> Vec<u8> {
        let (picture, sound) = (&self.picture, self.sound.as_ref());
        let starts = [Some(picture), sound].into_iter().flatten().filter(|t| t.edits.is_empty()).map(|t| self.start_of(t));
        let common = starts.min().unwrap_or(0);
        let edits = self.edits(picture, common);
        let mut tracks = self.picture_track(picture, &edits, &media.of_picture(first));
        let mut lasts = total(&edits, picture, self.ticks_per_second);
        if let (Some(track), Some(Sound::Aac(aac))) = (sound, &self.facts.sound) {
            let edits = self.edits(track, common);
            lasts = lasts.max(total(&edits, track, self.ticks_per_second));
            tracks.extend(self.sound_track(track, aac, &edits, &media.of_sound(first)));
        }
        let header = [
            clock(self.ticks_per_second, lasts),
            numbers(&[ONE]),
            vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            numbers(&IDENTITY),
            vec![0; 24],
            numbers(&[SOUND_TRACK + 1]),
        ];
        boxed(*b"moov", &[boxed(*b"mvhd", &header), tracks])
    }

    /// When a track of fragments begins, in ticks of the film.
    fn start_of(&self, track: &Track) -> u64 {
        rescaled(track.table.start, track.ticks_per_second, self.ticks_per_second)
    }

    /// The edit list of a track whose first sample stands at tick 0. `common`: what the film begins
    /// with is not waited for.
    fn edits(&self, track: &Track, common: u64) -> Vec<Edit> {
        let start = track.table.start;
        let shows = |from: u64| {
            let ticks = track.table.shown_end().saturating_sub(from);
            let duration = rescaled_up(ticks, track.ticks_per_second, self.ticks_per_second).max(1);
            Edit { duration, from: Some(from), is_own_speed: true }
        };
        let waits = |duration: u64| Edit { duration, from: None, is_own_speed: true };
        if track.edits.is_empty() {
            let wait = self.start_of(track).saturating_sub(common);
            return if wait == 0 { Vec::new() } else { vec![waits(wait), shows(0)] };
        }
        let mut edits = Vec::new();
        for edit in &track.edits {
            match edit.from {
                Some(from) if edit.duration == 0 => {
                    let wait = rescaled(start.saturating_sub(from), track.ticks_per_second, self.ticks_per_second);
                    edits.extend(Some(waits(wait)).filter(|_| wait > 0));
                    edits.push(shows(from.saturating_sub(start)));
                }
                _ => edits.push(*edit),
            }
        }
        edits
    }

    fn picture_track(&self, track: &Track, edits: &[Edit], places: &[u32]) -> Vec<u8> {
        let (width, height) = self.facts.coding.as_ref().map_or((0, 0), |coding| (coding.width, coding.height));
        let of_track = TrackHead { id: PICTURE_TRACK, volume: 0, width, height };
        let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).to_be_bytes();
        let mut entry = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &side(width), &side(height)].concat();
        entry.extend(numbers(&[0x48_0000, 0x48_0000, 0]));
        entry.extend([0, 1]);
        entry.extend([0; 32]);
        entry.extend([0, 0x18, 0xFF, 0xFF]);
        if let Some((kind, record)) = &track.record {
            entry.extend(boxed(*kind, std::slice::from_ref(record)));
        }
        entry.extend(colours(track.colour, self.facts.coding.as_ref().is_ok_and(|coding| coding.is_full_range)));
        let described = boxed(self.facts.entry, &[entry]);
        let kind = (*b"vide", full(*b"vmhd", 1, &[vec![0; 8]]));
        self.track(track, &of_track, edits, kind, described, places)
    }

    fn sound_track(&self, track: &Track, aac: &Aac, edits: &[Edit], places: &[u32]) -> Vec<u8> {
        let of_track = TrackHead { id: SOUND_TRACK, volume: 0x0100, width: 0, height: 0 };
        let channels = u16::try_from(aac.channels).unwrap_or(2).to_be_bytes();
        let rate = u16::try_from(aac.rate_hz).unwrap_or(0);
        let mut entry = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8], &channels, &[0, 16, 0, 0, 0, 0]].concat();
        entry.extend(numbers(&[u32::from(rate) << 16]));
        entry.extend(full(*b"esds", 0, &[decoder(aac)]));
        let described = boxed(*b"mp4a", &[entry]);
        let kind = (*b"soun", full(*b"smhd", 0, &[vec![0; 4]]));
        self.track(track, &of_track, edits, kind, described, places)
    }

    fn track(
        &self,
        track: &Track,
        head: &TrackHead,
        edits: &[Edit],
        (handler, media_header): ([u8; 4], Vec<u8>),
        described: Vec<u8>,
        places: &[u32],
    ) -> Vec<u8> {
        let header = track_header(head, total(edits, track, self.ticks_per_second));
        let edits = if edits.is_empty() { Vec::new() } else { boxed(*b"edts", &[edit_list(edits)]) };
        let own = full(*b"url ", 1, &[]);
        let here = boxed(*b"dinf", &[full(*b"dref", 0, &[numbers(&[1]), own])]);
        let described = full(*b"stsd", 0, &[numbers(&[1]), described]);
        let table = boxed(*b"stbl", &[described, tables(&track.table, places)]);
        let language = [NO_LANGUAGE.to_be_bytes(), [0; 2]].concat();
        let media = boxed(
            *b"mdia",
            &[
                boxed(*b"mdhd", &[clock(track.ticks_per_second, track.table.ticks), language]),
                full(*b"hdlr", 0, &[vec![0; 4], handler.to_vec(), vec![0; 13]]),
                boxed(*b"minf", &[media_header, here, table]),
            ],
        );
        boxed(*b"trak", &[header, edits, media])
    }
}

/// Where everything stands: in the order of the source, the tracks as they were interleaved there.
struct Media {
    ranges: Vec<Range<u64>>,
    /// Of each chunk of the picture and of the sound, bytes from the first sample.
    places: [Vec<u32>; 2],
    length_bytes: u64,
}

impl Media {
    fn of(tracks: &[&Track], source_bytes: u64) -> Result<Self, Fault> {
        let mut chunks: Vec<(Range<u64>, usize, usize)> = Vec::new();
        for (track, number) in tracks.iter().zip(0..) {
            let mut sizes = track.table.sizes.iter();
            for ((at, count), chunk) in track.table.chunks.iter().zip(0..) {
                let samples = sizes.by_ref().take(usize::try_from(*count).unwrap_or(usize::MAX));
                let end = samples.fold(*at, |end, size| end.saturating_add(u64::from(*size)));
                chunks.push((*at..end, number, chunk));
            }
        }
        chunks.sort_by_key(|(range, number, chunk)| (range.start, *number, *chunk));
        let mut media = Self { ranges: Vec::new(), places: [const { Vec::new() }; 2], length_bytes: 0 };
        for (place, track) in media.places.iter_mut().zip(tracks) {
            place.resize(track.table.chunks.len(), 0);
        }
        for (range, number, chunk) in chunks {
            if range.end > source_bytes {
                return Err(Fault("ends before its pictures do"));
            }
            let place = media.places.get_mut(number).and_then(|places| places.get_mut(chunk));
            if let Some(place) = place {
                // What is too long is refused as a whole.
                *place = u32::try_from(media.length_bytes).unwrap_or(u32::MAX);
            }
            media.length_bytes = media.length_bytes.saturating_add(range.end - range.start);
            match media.ranges.last_mut() {
                // Samples without a byte: to who reads, a range of none is the end of the film.
                _ if range.is_empty() => {}
                Some(last) if last.end == range.start => last.end = range.end,
                Some(last) if last.end > range.start => return Err(Fault("has samples that share their bytes")),
                _ => media.ranges.push(range),
            }
        }
        Ok(media)
    }

    fn of_picture(&self, first: u32) -> Vec<u32> {
        let [places, _] = &self.places;
        places.iter().map(|place| place.saturating_add(first)).collect()
    }

    fn of_sound(&self, first: u32) -> Vec<u32> {
        let [_, places] = &self.places;
        places.iter().map(|place| place.saturating_add(first)).collect()
    }
}

struct TrackHead {
    id: u32,
    /// 8.8; 1.0 of sound.
    volume: u16,
    width: u32,
    height: u32,
}

fn brands(picture: &Track) -> Vec<u8> {
    let coding: &[u8; 4] = if picture.record.as_ref().is_some_and(|(kind, _)| kind == b"avcC") { b"avc1" } else { b"hvc1" };
    boxed(*b"ftyp", &[[*b"mp42", [0; 4], *b"mp42", *b"isom", *coding].concat()])
}

/// Length in ticks of the film: what an edit list shows, or all there is.
fn total(edits: &[Edit], track: &Track, film_ticks: u32) -> u64 {
    if edits.is_empty() {
        return rescaled(track.table.ticks, track.ticks_per_second, film_ticks);
    }
    edits.iter().map(|edit| edit.duration).fold(0, u64::saturating_add)
}

fn rescaled(ticks: u64, from: u32, to: u32) -> u64 {
    u64::try_from(u128::from(ticks) * u128::from(to) / u128::from(from.max(1))).unwrap_or(u64::MAX)
}

/// The same, and nothing of it lost.
fn rescaled_up(ticks: u64, from: u32, to: u32) -> u64 {
    let scaled = (u128::from(ticks) * u128::from(to)).div_ceil(u128::from(from.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Version and flags, times of creation and change that are not told, ticks a second, ticks of all:
/// how `mvhd` and `mdhd` begin.
fn clock(ticks_per_second: u32, ticks: u64) -> Vec<u8> {
    match u32::try_from(ticks) {
        Ok(ticks) => [vec![0; 12], numbers(&[ticks_per_second, ticks])].concat(),
        Err(_) => [vec![1], vec![0; 19], numbers(&[ticks_per_second]), ticks.to_be_bytes().to_vec()].concat(),
    }
}

/// `tkhd` of a track that is played.
fn track_header(head: &TrackHead, ticks: u64) -> Vec<u8> {
    const PLAYED: u8 = 7;
    let begin = match u32::try_from(ticks) {
        Ok(ticks) => [vec![0, 0, 0, PLAYED], vec![0; 8], numbers(&[head.id, 0, ticks])].concat(),
        Err(_) => [vec![1, 0, 0, PLAYED], vec![0; 16], numbers(&[head.id, 0]), ticks.to_be_bytes().to_vec()].concat(),
    };
    let volume = [vec![0; 12], head.volume.to_be_bytes().to_vec(), vec![0; 2]].concat();
    boxed(*b"tkhd", &[begin, volume, numbers(&IDENTITY), numbers(&[head.width << 16, head.height << 16])])
}

fn edit_list(edits: &[Edit]) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0];
    body.extend(numbers(&[count(edits.len())]));
    for edit in edits {
        body.extend(edit.duration.to_be_bytes());
        body.extend(edit.from.unwrap_or(u64::MAX).to_be_bytes());
        body.extend(numbers(&[ONE]));
    }
    boxed(*b"elst", &[body])
}

/// `stts`, `ctts`, `stss`, `stsc`, `stsz` and `stco`.
fn tables(table: &Table, places: &[u32]) -> Vec<u8> {
    let runs =
        |runs: &mut dyn Iterator<Item = (u32, u32)>| -> Vec<u8> { runs.flat_map(|(n, value)| numbers(&[n, value])).collect() };
    let mut all = listed(*b"stts", 0, table.durations.len(), &runs(&mut table.durations.iter().copied()));
    if !table.shifts.is_empty() {
        // Backwards only in version 1.
        let version = u8::from(table.shifts.iter().any(|(_, shift)| *shift < 0));
        let shifts = runs(&mut table.shifts.iter().map(|(n, shift)| (*n, shift.cast_unsigned())));
        all.extend(listed(*b"ctts", version, table.shifts.len(), &shifts));
    }
    if let Some(sync) = &table.sync {
        all.extend(listed(*b"stss", 0, sync.len(), &numbers(sync)));
    }
    let mut groups: Runs<u32> = Vec::new();
    for ((_, samples), chunk) in table.chunks.iter().zip(1u32..) {
        if groups.last().is_none_or(|(_, last)| last != samples) {
            groups.push((chunk, *samples));
        }
    }
    let grouped: Vec<u8> = groups.iter().flat_map(|(first, samples)| numbers(&[*first, *samples, 1])).collect();
    all.extend(listed(*b"stsc", 0, groups.len(), &grouped));
    all.extend(full(*b"stsz", 0, &[numbers(&[0, count(table.sizes.len())]), numbers(&table.sizes)]));
    all.extend(listed(*b"stco", 0, places.len(), &numbers(places)));
    all
}

/// A full box with a number of entries.
fn listed(kind: [u8; 4], version: u8, entries: usize, bytes: &[u8]) -> Vec<u8> {
    boxed(kind, &[vec![version, 0, 0, 0], numbers(&[count(entries)]), bytes.to_vec()])
}

/// Nothing where nothing is said.
fn colours(colour: Colour, is_full_range: bool) -> Vec<u8> {
    if colour == Colour::UNSAID {
        return Vec::new();
    }
    let points = [colour.primaries, colour.transfer, colour.matrix].map(u16::to_be_bytes).concat();
    boxed(*b"colr", &[b"nclx".to_vec(), points, vec![u8::from(is_full_range) << 7]])
}

/// The elementary stream of sound (ISO/IEC 14496-1 §7.2.6.5).
fn decoder(aac: &Aac) -> Vec<u8> {
    let described = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        [vec![tag, u8::try_from(body.len()).unwrap_or(u8::MAX)], body].concat()
    };
    let configured = described(5, &[&aac.configuration]);
    // MPEG-4 Audio, a stream of sound; buffer and rates are not told.
    let decoder = described(4, &[&[0x40, 0x15], &[0; 11], &configured]);
    described(3, &[&[0, 0, 0], &decoder, &[6, 1, 2]])
}

fn count(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn full(kind: [u8; 4], flags: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    boxed(kind, &[vec![0, 0, 0, flags], parts.concat()])
}

fn boxed(kind: [u8; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    let length = parts.iter().map(Vec::len).sum::<usize>() + 8;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(count(length).to_be_bytes());
    bytes.extend(kind);
    for part in parts {
        bytes.extend(part);
    }
    bytes
}

/// A flat file, from front to back. Holds its head; of the source, what one read asks for.
pub struct Reader<S> {
    flat: Arc<Flat>,
    source: S,
    /// Bytes of the head that were given, then the range that is read and how far.
    head_at: usize,
    range: usize,
    range_at: u64,
}

impl<S: Source> Reader<S> {
    /// `source` is the film that was planned.
    pub fn new(flat: Arc<Flat>, source: S) -> Self {
        Self { flat, source, head_at: 0, range: 0, range_at: 0 }
    }
}

impl<S: Source> Read for Reader<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let head = self.flat.head.get(self.head_at..).unwrap_or_default();
        if !head.is_empty() {
            let length = (&*head).read(out)?;
            self.head_at += length;
            return Ok(length);
        }
        let Some(range) = self.flat.ranges.get(self.range) else { return Ok(0) };
        let at = range.start.saturating_add(self.range_at);
        let left = range.end.saturating_sub(at);
        let length = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
        let Some(room) = out.get_mut(..length) else { return Ok(0) };
        self.source.read_at(at, room)?;
        let given = u64::try_from(length).unwrap_or(u64::MAX);
        if given == left {
            (self.range, self.range_at) = (self.range + 1, 0);
        } else {
            self.range_at += given;
        }
        Ok(length)
    }
}
