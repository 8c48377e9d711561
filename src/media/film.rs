//! A film as its index tells: how its pictures and its sound are coded, how it is shown; and the same
//! film in one flat MP4 file, its coded pictures untouched ([`flat`]).
//!
//! Reads what a scrub has left: one picture track and at most one sound track.
//!
//! Source: ISO/IEC 14496-12 §8; `QuickTime` File Format.

mod bits;
pub mod coding;
pub mod flat;
pub mod front;
pub mod recode;
pub mod sound;
pub mod stills;
mod table;

use self::coding::{Coding, Colour, Family};
use self::sound::Sound;
use self::table::Table;
use super::Fault;
use super::isobmff::{BoxAt, Fields, ReadError, boxes, bytes_of, children};
use super::quicktime::{turn_of, turn_of_film};
use super::source::Source;
use crate::capture::media::Orientation;

/// Largest index that is held in memory: an hour at 60 pictures a second needs some 5 MiB.
pub const INDEX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Boxes of one file: a fragment each second for hours.
const BOXES_MAX: u32 = 16_384;
/// Bytes of a picture entry before its boxes.
const PICTURE_ENTRY_BYTES: usize = 78;

/// What decides whither a film can go.
#[allow(clippy::struct_excessive_bools)] // each answers a question of its own
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Sample entry of the pictures.
    pub entry: [u8; 4],
    /// Why it is not there: the pictures are neither H.264 nor HEVC, or their parameter sets do not
    /// tell.
    pub coding: Result<Coding, Fault>,
    /// How the container turns the picture; `None`: it does something else to it.
    pub turn: Option<Orientation>,
    /// False where the container stretches the pixels.
    pub is_square: bool,
    /// The container shows a part of the coded picture.
    pub is_cropped: bool,
    /// True where every picture is shown, once, and at its own speed.
    pub is_shown_whole: bool,
    /// True where every sample is a picture: one without a byte is none, though it has its time.
    pub is_each_coded: bool,
    /// Coded pictures.
    pub frames: u32,
    /// From the first picture to the end of the last.
    pub ticks: u64,
    pub ticks_per_second: u32,
    /// Bytes of the coded pictures.
    pub picture_bytes: u64,
    pub sound: Option<Sound>,
}

impl Facts {
    /// Pictures a second, on the average.
    #[must_use]
    pub fn rate(&self) -> f64 {
        f64::from(self.frames) / self.seconds()
    }

    /// How long it lasts.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53 ticks
    pub fn seconds(&self) -> f64 {
        self.ticks as f64 / f64::from(self.ticks_per_second)
    }
}

/// One film, read.
#[derive(Debug)]
pub struct Film {
    pub facts: Facts,
    picture: Track,
    sound: Option<Track>,
    /// As its track says, whatever the film shows of it.
    sound_seconds: f64,
    /// Ticks of the film in a second.
    ticks_per_second: u32,
    length_bytes: u64,
}

/// How long a film is seen and heard. Seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lasts {
    pub picture: f64,
    /// While there is a picture; 0 where it is silent, or does not say.
    pub sound: f64,
}

impl Film {
    /// How long its pictures are shown, as its edit list has it, and its sound beside them.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53 ticks
    pub fn lasts(&self) -> Lasts {
        let shows = self.picture.edits.iter().filter(|edit| edit.from.is_some()).map(|edit| edit.duration);
        let whole = self.facts.seconds();
        // None, or one without an end: all there is.
        let picture = match shows.clone().fold(0, u64::saturating_add) {
            _ if shows.clone().any(|duration| duration == 0) => whole,
            0 => whole,
            ticks => whole.min(ticks as f64 / f64::from(self.ticks_per_second)),
        };
        Lasts { picture, sound: self.sound_seconds.min(picture) }
    }
}

/// One track, with all that a flat file says of it.
#[derive(Debug)]
struct Track {
    ticks_per_second: u32,
    edits: Vec<Edit>,
    table: Table,
    /// `avcC` or `hvcC` with its kind; none of a sound track.
    record: Option<([u8; 4], Vec<u8>)>,
    colour: Colour,
}

impl Track {
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53 ticks
    fn seconds(&self) -> f64 {
        self.table.ticks as f64 / f64::from(self.ticks_per_second)
    }
}

/// One line of an edit list (§8.6.6): ticks of the film, and from which tick of the track on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    duration: u64,
    /// `None`: nothing is shown.
    from: Option<u64>,
    is_own_speed: bool,
}

/// Reads the index of a film.
///
/// # Errors
/// Bytes that cannot be read, and an index that says too little, too much, or contradicts itself.
pub fn read(source: &dyn Source) -> Result<Film, ReadError> {
    let (found, _) = boxes(source, 0..source.length_bytes(), BOXES_MAX)?;
    let movie = found.iter().find(|b| b.kind == *b"moov").ok_or(Fault("has no index of its pictures"))?;
    let movie = bytes_of(source, &movie.body, INDEX_BYTES_MAX)?;
    let mut held = movie.len();
    let mut fragments = Vec::new();
    for moof in found.iter().filter(|b| b.kind == *b"moof") {
        let bytes = fragment(source, moof)?;
        held = held.saturating_add(bytes.len());
        if held > INDEX_BYTES_MAX {
            return Err(Fault("has more index than any phone writes").into());
        }
        fragments.push((moof.at, bytes));
    }
    Ok(of_index(&movie, &fragments, source.length_bytes())?)
}

/// A fragment with its header.
fn fragment(source: &dyn Source, moof: &BoxAt) -> Result<Vec<u8>, ReadError> {
    if moof.body.start - moof.at != 8 {
        return Err(Fault("has a fragment with an index of 4 GiB").into());
    }
    bytes_of(source, &(moof.at..moof.body.end), INDEX_BYTES_MAX)
}

fn of_index(movie: &[u8], fragments: &[(u64, Vec<u8>)], length_bytes: u64) -> Result<Film, Fault> {
    let header = child(movie, *b"mvhd").ok_or(Fault("has no header"))?;
    let (ticks_per_second, _) = clock(header)?;
    let mut pictures = None;
    let mut sounds = None;
    for (_, whole) in children(movie).filter(|(kind, _)| kind == b"trak") {
        let media = child(whole, *b"mdia").unwrap_or_default();
        let handler = child(media, *b"hdlr").and_then(|body| body.get(8..12)).unwrap_or_default();
        let place = match handler {
            b"vide" => &mut pictures,
            b"soun" => &mut sounds,
            _ => continue,
        };
        if place.replace(whole).is_some() {
            return Err(Fault("has two tracks of one kind"));
        }
    }
    let index = Index { movie, fragments };
    let pictures = pictures.ok_or(Fault("has no pictures"))?;
    let (picture, mut facts) = index.picture(pictures, header, ticks_per_second)?;
    let (mut sound, mut sound_seconds) = (None, 0.0);
    if let Some(whole) = sounds {
        let (track, said, is_whole) = index.sound(whole, ticks_per_second)?;
        sound_seconds = track.as_ref().map_or_else(|| seconds_said(whole), Track::seconds);
        facts.sound = Some(said);
        facts.is_shown_whole &= is_whole;
        sound = track;
    }
    Ok(Film { facts, picture, sound, sound_seconds, ticks_per_second, length_bytes })
}

/// How long a track says that it is, where its tables are not read.
#[allow(clippy::cast_precision_loss)] // exact up to 2^53 ticks
fn seconds_said(track: &[u8]) -> f64 {
    let header = child(track, *b"mdia").and_then(|media| child(media, *b"mdhd")).unwrap_or_default();
    // All ones: not known (§8.4.2.3).
    let unknown = if header.first() == Some(&0) { u64::from(u32::MAX) } else { u64::MAX };
    clock(header).ok().filter(|(_, ticks)| *ticks != unknown).map_or(0.0, |(each, ticks)| ticks as f64 / f64::from(each))
}

fn child(of: &[u8], wanted: [u8; 4]) -> Option<&[u8]> {
    children(of).find(|(kind, _)| *kind == wanted).map(|(_, body)| body)
}

/// Ticks a second and the ticks of all, of `mvhd` or `mdhd`.
fn clock(header: &[u8]) -> Result<(u32, u64), Fault> {
    let mut fields = Fields(header);
    let (version, _) = fields.version()?;
    let width = if version == 0 { 4 } else { 8 };
    fields.take(2 * width)?;
    let each_second = fields.long()?;
    if each_second == 0 { Err(Fault("has a clock that stands still")) } else { Ok((each_second, fields.number(width)?)) }
}

/// What a picture entry says beside its decoder record.
struct Entry<'b> {
    record: Option<([u8; 4], &'b [u8])>,
    coding: Result<Coding, Fault>,
    boxes: &'b [u8],
}

impl<'b> Entry<'b> {
    fn read(kind: [u8; 4], body: &'b [u8]) -> Self {
        let boxes = body.get(PICTURE_ENTRY_BYTES..).unwrap_or_default();
        let family = match &kind {
            b"avc1" | b"avc3" => Some((*b"avcC", Family::Avc)),
            b"hvc1" | b"hev1" => Some((*b"hvcC", Family::Hevc)),
            _ => None,
        };
        let record = family.and_then(|(kind, _)| child(boxes, kind).map(|body| (kind, body)));
        let coding = match (family, record) {
            (Some((_, family)), Some((_, record))) => coding::read(record, family),
            (Some(_), None) => Err(Fault("has no decoder record")),
            (None, _) => Err(Fault("is neither H.264 nor HEVC")),
        };
        Self { record, coding: coding.map(|coding| said_by_container(coding, boxes)), boxes }
    }

    /// False where `pasp` stretches the pixels.
    fn is_square(&self) -> bool {
        child(self.boxes, *b"pasp").and_then(|body| body.first_chunk::<8>()).is_none_or(|body| body.get(..4) == body.get(4..))
    }

    /// `clap`: width and height as fractions.
    fn is_cropped(&self) -> bool {
        let (Some(clap), Ok(coding)) = (child(self.boxes, *b"clap"), &self.coding) else { return false };
        let mut fields = Fields(clap);
        let mut side = || Some((u64::from(fields.long().ok()?), u64::from(fields.long().ok()?)));
        let (width, height) = (side(), side());
        let is = |side: Option<(u64, u64)>, whole: u32| side.is_some_and(|(over, under)| over == u64::from(whole) * under);
        !(is(width, coding.width) && is(height, coding.height))
    }
}

/// Colours and fields as the container tells them, where it does; it counts before the stream
/// (ISO/IEC 14496-12 §12.1.5).
fn said_by_container(mut coding: Coding, boxes: &[u8]) -> Coding {
    if child(boxes, *b"fiel").and_then(|body| body.first()).is_some_and(|fields| *fields == 2) {
        coding.is_progressive = false;
    }
    if let Some((b"nclx" | b"nclc", points)) = child(boxes, *b"colr").and_then(|body| body.split_first_chunk::<4>()) {
        let mut fields = Fields(points);
        if let (Ok(primaries), Ok(transfer), Ok(matrix)) = (fields.short(), fields.short(), fields.short()) {
            coding.colour = Colour { primaries, transfer, matrix };
        }
        coding.is_full_range |= fields.byte().is_ok_and(|flags| flags & 0x80 != 0);
    }
    coding
}

struct Index<'b> {
    movie: &'b [u8],
    fragments: &'b [(u64, Vec<u8>)],
}

impl Index<'_> {
    fn picture(&self, whole: &[u8], film: &[u8], film_ticks: u32) -> Result<(Track, Facts), Fault> {
        let (header, media) = (child(whole, *b"tkhd").unwrap_or_default(), child(whole, *b"mdia").unwrap_or_default());
        let (kind, body) = only_entry(media)?;
        let entry = Entry::read(kind, body);
        let track = self.track(whole, &entry)?;
        let (turn, of_film) = (turn_of(header), turn_of_film(film));
        let facts = Facts {
            entry: kind,
            turn: turn.filter(|_| of_film.is_some_and(Orientation::is_upright)),
            is_square: entry.is_square() && is_shown_as_coded(header, &entry.coding),
            is_cropped: entry.is_cropped(),
            is_shown_whole: shows_all(&track, film_ticks, Slack::NONE),
            is_each_coded: !track.table.sizes.contains(&0),
            frames: u32::try_from(track.table.sizes.len()).unwrap_or(u32::MAX),
            ticks: track.table.ticks,
            ticks_per_second: track.ticks_per_second,
            picture_bytes: track.table.bytes(),
            sound: None,
            coding: entry.coding,
        };
        Ok((track, facts))
    }

    /// What the sound is, and whether all of it is heard. Tables are read only of sound that may stay
    /// as it is: uncompressed sound has a sample for each 48,000th of a second.
    fn sound(&self, whole: &[u8], film_ticks: u32) -> Result<(Option<Track>, Sound, bool), Fault> {
        let (kind, body) = only_entry(child(whole, *b"mdia").unwrap_or_default())?;
        let said = sound::read(kind, body)?;
        if matches!(said, Sound::Other(_)) {
            return Ok((None, said, true));
        }
        let entry = Entry { record: None, coding: Err(Fault("is sound")), boxes: &[] };
        let track = self.track(whole, &entry)?;
        let is_whole = shows_all(&track, film_ticks, Slack::of_sound(track.ticks_per_second));
        Ok((Some(track), said, is_whole))
    }

    fn track(&self, whole: &[u8], entry: &Entry) -> Result<Track, Fault> {
        let mut fields = Fields(child(whole, *b"tkhd").unwrap_or_default());
        let (version, _) = fields.version()?;
        fields.take(if version == 0 { 8 } else { 16 })?;
        let id = fields.long()?;
        let media = child(whole, *b"mdia").unwrap_or_default();
        let (ticks_per_second, _) = clock(child(media, *b"mdhd").ok_or(Fault("has a track without a clock"))?)?;
        let table = child(media, *b"minf").and_then(|body| child(body, *b"stbl")).unwrap_or_default();
        let edits = child(whole, *b"edts").and_then(|body| child(body, *b"elst")).map_or(Ok(Vec::new()), read_edits)?;
        Ok(Track {
            ticks_per_second,
            edits,
            table: Table::read(table, self.movie, self.fragments, id)?,
            record: entry.record.map(|(kind, body)| (kind, body.to_vec())),
            colour: entry.coding.as_ref().map_or(Colour::UNSAID, |coding| coding.colour),
        })
    }
}

/// The one sample entry of a track.
fn only_entry(media: &[u8]) -> Result<([u8; 4], &[u8]), Fault> {
    let table = child(media, *b"minf").and_then(|body| child(body, *b"stbl")).unwrap_or_default();
    let described = child(table, *b"stsd").and_then(|body| body.get(8..)).unwrap_or_default();
    let mut entries = children(described);
    match (entries.next(), entries.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Fault("has a track whose coding is not told")),
        (Some(_), Some(_)) => Err(Fault("changes its coding in the middle")),
    }
}

/// False where `tkhd` has another shape than the coded picture, by more than what rounding does.
fn is_shown_as_coded(header: &[u8], coding: &Result<Coding, Fault>) -> bool {
    let Some(([], &[width, height])) =
        header.get(header.len().saturating_sub(8)..).map(<[u8]>::as_chunks::<4>).map(|(c, r)| (r, c))
    else {
        return true;
    };
    let (width, height) = (u64::from(u32::from_be_bytes(width) >> 16), u64::from(u32::from_be_bytes(height) >> 16));
    let Ok(coding) = coding else { return true };
    let (across, down) = (width * u64::from(coding.height), height * u64::from(coding.width));
    width == 0 || height == 0 || across.abs_diff(down) <= across.max(down) / 100
}

fn read_edits(body: &[u8]) -> Result<Vec<Edit>, Fault> {
    const OWN_SPEED: u32 = 0x1_0000;
    let mut fields = Fields(body);
    let (version, _) = fields.version()?;
    let width = if version == 0 { 4 } else { 8 };
    let nothing = u64::MAX >> (64 - 8 * width);
    let mut edits = Vec::new();
    for _ in 0..fields.long()? {
        let (duration, from) = (fields.number(width)?, fields.number(width)?);
        let is_own_speed = fields.long()? == OWN_SPEED;
        edits.push(Edit { duration, from: Some(from).filter(|from| *from != nothing), is_own_speed });
    }
    Ok(edits)
}

/// Ticks of a track that an edit may leave out at either end.
#[derive(Clone, Copy)]
struct Slack {
    before: u64,
    behind: u64,
}

impl Slack {
    const NONE: Self = Self { before: 0, behind: 0 };

    /// A coder of sound begins before the sound, and ends with a whole block.
    fn of_sound(ticks_per_second: u32) -> Self {
        Self { before: u64::from(ticks_per_second / 4), behind: u64::from(ticks_per_second) }
    }
}

/// True where an edit list at most waits, and then shows every sample once.
fn shows_all(track: &Track, film_ticks: u32, slack: Slack) -> bool {
    let (waits, shows): (Vec<&Edit>, Vec<&Edit>) = track.edits.iter().partition(|edit| edit.from.is_none());
    let (Some(edit), true) = (shows.first(), shows.len() == 1) else { return track.edits.is_empty() };
    let waits_first = track.edits.iter().take(waits.len()).all(|edit| edit.from.is_none());
    let Some((first, last)) = track.table.shown() else { return true };
    let (start, from) = (track.table.start, edit.from.unwrap_or(0));
    let at = |shown: i64| start.saturating_add_signed(shown);
    // Rounded to ticks of the film, which may be coarser.
    let lasts = u128::from(edit.duration.saturating_add(1)) * u128::from(track.ticks_per_second) / u128::from(film_ticks);
    let end = u64::try_from(lasts).unwrap_or(u64::MAX).saturating_add(from).saturating_add(1);
    waits_first
        && edit.is_own_speed
        // Fragments behind an edit: what is to come is not cut (§8.6.6.1).
        && (start == 0 || edit.duration == 0)
        && from <= at(first).saturating_add(slack.before)
        && (edit.duration == 0 || at(last) < end.saturating_add(slack.behind))
}
