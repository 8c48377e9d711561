//! Plans one PNG: chunk by chunk, and inflates the picture to know that it is whole.
//!
//! What stays: the header, the palette, the picture and the chunks that say how its samples are
//! to be seen; the colour profile and the turn, both written anew. IEND ends the output.
//!
//! Source: W3C PNG, third edition, §5 (structure), §11 (chunks), §13.2 (errors).

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc, Decompress, FlushDecompress, Status};

use super::apply::Edits;
use super::findings::Findings;
use super::icc;
use super::policy::{Length, Limits, PNG_PROFILE_NAME, PROFILE_BYTES_MAX, PngChunk, Purpose};
use super::{ScrubCode, ScrubError};
use crate::capture::media::PictureFormat;
use crate::media::exif::{self, Block};
use crate::media::png::{Colour, Header, Pass};
use crate::media::{Fault, iptc};

const SIGNATURE_BYTES: usize = 8;
/// Length and type before a chunk's data, CRC behind it.
const HEAD_BYTES: usize = 8;
const CRC_BYTES: usize = 4;
/// Chunks that are read whole, and what they inflate to; larger texts go unread but for words in
/// the clear. Exif of a phone with its thumbnail has some 20 KiB, twice that as hexadecimal text.
const HELD_BYTES_MAX: usize = 96 * 1024;
/// Inflated bytes looked at together.
const SCRATCH_BYTES: usize = 32 * 1024;

/// Chromaticities in hundred thousandths, none over ten; pixels by unknown unit or by metre (§11.3.2.1,
/// §11.3.4.3). Other numbers have no bounds to tell them by.
fn is_number(kind: [u8; 4], data: &[u8]) -> bool {
    match &kind {
        b"cHRM" => data.as_chunks::<4>().0.iter().all(|raw| u32::from_be_bytes(*raw) <= 1_000_000),
        b"pHYs" => matches!(data.last(), Some(0 | 1)),
        _ => true,
    }
}

fn damaged(what: &'static str) -> ScrubError {
    ScrubError::damaged("PNG", Fault(what))
}

/// Where in the file the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Signature,
    /// At a chunk's head.
    Chunk,
    /// In a chunk that is taken whole: so many bytes in all.
    Whole(usize),
    /// In a chunk that goes: so many bytes are left of it.
    Dropped {
        left: u64,
        what: &'static str,
    },
    /// In the data of an IDAT.
    Picture(u64),
    /// Behind the data of an IDAT.
    PictureCrc,
    Trailer,
}

pub(super) struct Planner {
    purpose: Purpose,
    limits: Limits,
    at: At,
    /// What a portion cut: a head, a whole chunk, or a CRC.
    held: Vec<u8>,
    findings: Findings,
    chunks: u32,
    header: Option<Header>,
    palette_entries: Option<usize>,
    /// Kinds of colour chunks that were kept: each may come once.
    seen: Vec<[u8; 4]>,
    rows: Option<Rows>,
    picture: Picture,
    crc: Crc,
    /// From a text chunk, by the custom of older programs; an eXIf chunk counts more.
    text_exif: Option<Block>,
    has_turn: bool,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("at", &self.at).field("chunks", &self.chunks).finish_non_exhaustive()
    }
}

/// The IDAT chunks follow each other without another between them (§5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    Before,
    In,
    After,
}

impl Planner {
    pub(super) fn new(purpose: Purpose, limits: Limits) -> Self {
        Self {
            purpose,
            limits,
            at: At::Signature,
            held: Vec::new(),
            findings: Findings::default(),
            chunks: 0,
            header: None,
            palette_entries: None,
            seen: Vec::new(),
            rows: None,
            picture: Picture::Before,
            crc: Crc::new(),
            text_exif: None,
            has_turn: false,
        }
    }

    pub(super) fn push<O: Edits>(&mut self, mut rest: &[u8], out: &mut O) -> Result<(), O::Stop> {
        while !rest.is_empty() {
            rest = match self.at {
                At::Signature => self.gather(SIGNATURE_BYTES, rest, out, |planner, bytes, out| {
                    planner.at = At::Chunk;
                    out.keep(bytes, "signature")
                })?,
                At::Chunk => self.gather(HEAD_BYTES, rest, out, Self::begin_chunk)?,
                At::Whole(length) => self.gather(length, rest, out, |planner, bytes, out| {
                    planner.at = At::Chunk;
                    planner.take_whole(bytes, out)
                })?,
                At::Dropped { left, what } => self.pass_dropped(left, what, rest, out),
                At::Picture(left) => self.pass_picture(left, rest, out)?,
                At::PictureCrc => self.gather(CRC_BYTES, rest, out, |planner, bytes, out| {
                    planner.at = At::Chunk;
                    if planner.crc.sum().to_be_bytes() != bytes {
                        return Err(damaged("has a picture whose checksum (CRC) is wrong").into());
                    }
                    out.keep(bytes, "picture")
                })?,
                At::Trailer => {
                    out.discard(rest.len(), "trailer");
                    self.findings.remove("png.trailer");
                    self.findings.finder.push(rest);
                    &[]
                }
            };
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(PictureFormat, Findings), ScrubError> {
        let (At::Trailer, Some(header)) = (self.at, self.header) else {
            return Err(damaged("ends before its picture does (no IEND chunk)"));
        };
        self.findings.finder.end();
        self.findings.exif = self.findings.exif.or(self.text_exif);
        Ok((header.format(), self.findings))
    }

    /// Hands `length` bytes to `take` once they are there: in place where `rest` holds them all.
    fn gather<'c, O: Edits>(
        &mut self,
        length: usize,
        rest: &'c [u8],
        out: &mut O,
        take: impl FnOnce(&mut Self, &[u8], &mut O) -> Result<(), O::Stop>,
    ) -> Result<&'c [u8], O::Stop> {
        let missing = length.saturating_sub(self.held.len());
        let Some((now, later)) = rest.split_at_checked(missing) else {
            self.held.extend_from_slice(rest);
            return Ok(&[]);
        };
        if self.held.is_empty() {
            take(self, now, out)?;
        } else {
            let mut bytes = std::mem::take(&mut self.held);
            bytes.extend_from_slice(now);
            take(self, &bytes, out)?;
        }
        Ok(later)
    }

    /// Decides by length and type what becomes of a chunk.
    fn begin_chunk<O: Edits>(&mut self, head: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let (Some(length), Some(kind)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else { return Ok(()) };
        let length = u32::from_be_bytes(*length);
        if length > u32::MAX >> 1 || !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(damaged("has a chunk that the standard does not allow").into());
        }
        self.chunks += 1;
        if self.chunks > self.limits.segments_max {
            return Err(ScrubError::too_large(format!("The PNG has more than {} chunks.", self.limits.segments_max)).into());
        }
        let chunk = PngChunk::of(*kind);
        if (self.header.is_none()) != (chunk == PngChunk::Header) {
            return Err(damaged("does not begin with its one header (IHDR)").into());
        }
        let total = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(HEAD_BYTES + CRC_BYTES);
        let left = u64::from(length) + 12;
        match chunk {
            PngChunk::Picture => return self.begin_picture(head, length, total, out),
            PngChunk::Other(word) => {
                if kind.first().is_some_and(u8::is_ascii_uppercase) {
                    return Err(ScrubError::unsupported("a PNG with a chunk that viewers must know and do not").into());
                }
                self.findings.remove(word);
                self.at = At::Dropped { left, what: word };
            }
            PngChunk::Header | PngChunk::Palette | PngChunk::End if total > 1024 => {
                return Err(damaged("has a chunk of a length that the standard does not allow").into());
            }
            _ if total > HELD_BYTES_MAX && chunk != PngChunk::Profile => {
                let word = if chunk == PngChunk::Text { "png.text" } else { "png.unknown" };
                self.findings.remove(word);
                self.at = At::Dropped { left, what: word };
            }
            _ if total > PROFILE_BYTES_MAX => return Err(profile_too_large().into()),
            _ => self.at = At::Whole(total),
        }
        self.held.extend_from_slice(head);
        if let At::Dropped { left, what } = self.at {
            let head = std::mem::take(&mut self.held);
            self.pass_dropped(left, what, &head, out);
        }
        if self.picture == Picture::In {
            self.picture = Picture::After;
        }
        Ok(())
    }

    fn pass_dropped<'c, O: Edits>(&mut self, left: u64, what: &'static str, rest: &'c [u8], out: &mut O) -> &'c [u8] {
        let (now, later) = rest.split_at_checked(usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or((rest, &[]));
        out.discard(now.len(), what);
        self.findings.finder.push(now);
        let left = left - u64::try_from(now.len()).unwrap_or(left).min(left);
        self.at = if left > 0 { At::Dropped { left, what } } else { At::Chunk };
        if left == 0 {
            self.findings.finder.end();
        }
        later
    }

    /// A chunk that is all here: head, data and CRC.
    fn take_whole<O: Edits>(&mut self, bytes: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(()) };
        let Some((data, crc)) = rest.split_last_chunk::<CRC_BYTES>() else { return Ok(()) };
        let kind = head.last_chunk::<4>().copied().unwrap_or_default();
        let is_sound = crc_of(kind, data) == *crc;
        let chunk = PngChunk::of(kind);
        let is_critical = matches!(chunk, PngChunk::Header | PngChunk::Palette | PngChunk::Picture | PngChunk::End);
        if is_critical && !is_sound {
            return Err(damaged("has a chunk whose checksum (CRC) is wrong").into());
        }
        match chunk {
            PngChunk::Header => self.take_header(data)?,
            PngChunk::Palette => {
                self.take_palette(data)?;
                if self.header.is_some_and(|header| header.colour != Colour::Palette) {
                    // A proposal to screens of few colours.
                    self.findings.remove_bytes(data, "png.unknown");
                    out.discard(bytes.len(), "palette");
                    return Ok(());
                }
            }
            PngChunk::Picture => return self.take_picture(bytes, data, out),
            PngChunk::End => return self.take_end(bytes, data, out),
            PngChunk::Text => {
                self.see_text(kind, data);
                out.discard(bytes.len(), "text");
                return Ok(());
            }
            PngChunk::Exif => return self.take_exif(bytes, data, is_sound, out),
            PngChunk::Profile if is_sound && self.is_first(kind) => return self.take_profile(bytes, data, out),
            PngChunk::Colour(length) if is_sound && self.fits(kind, length, data) && self.is_first(kind) => {}
            PngChunk::Colour(_) | PngChunk::Profile | PngChunk::Other(_) => {
                // Viewers do not use it either: broken, too late, or the second of its kind.
                self.findings.remove_bytes(data, "png.unknown");
                out.discard(bytes.len(), "unusable");
                return Ok(());
            }
        }
        out.keep(bytes, "colour")
    }

    /// True for the first chunk of its kind, where it comes before the picture.
    fn is_first(&mut self, kind: [u8; 4]) -> bool {
        let is_first = self.picture == Picture::Before && !self.seen.contains(&kind);
        if is_first {
            self.seen.push(kind);
        }
        is_first
    }

    fn fits(&self, kind: [u8; 4], length: Length, data: &[u8]) -> bool {
        let Some(header) = self.header else { return false };
        let wanted = match (length, &kind, header.colour) {
            (Length::Is(length), ..) => Some(length),
            (_, b"tRNS" | b"bKGD", Colour::Grey) | (_, b"bKGD" | b"sBIT", Colour::GreyAlpha) => Some(2),
            (_, b"tRNS" | b"bKGD", Colour::Rgb) | (_, b"bKGD", Colour::Rgba) => Some(6),
            (_, b"tRNS", Colour::Palette) => self.palette_entries.map(|n| n.min(data.len())).filter(|n| *n > 0),
            (_, b"bKGD", Colour::Palette) | (_, b"sBIT", Colour::Grey) => Some(1),
            (_, b"sBIT", Colour::Rgb | Colour::Palette) => Some(3),
            (_, b"sBIT", Colour::Rgba) => Some(4),
            _ => None,
        };
        wanted == Some(data.len()) && is_number(kind, data)
    }

    fn take_header(&mut self, data: &[u8]) -> Result<(), ScrubError> {
        let header = Header::read(data).map_err(|fault| ScrubError::damaged("PNG", fault))?;
        self.limits.check_size(header.width, header.height, self.purpose == Purpose::Object)?;
        self.rows = Some(Rows::new(&header));
        self.header = Some(header);
        Ok(())
    }

    fn take_palette(&mut self, data: &[u8]) -> Result<(), ScrubError> {
        let Some(header) = self.header else { return Err(damaged("has a palette before its header")) };
        let entries = data.len() / 3;
        let most = if header.colour == Colour::Palette { 1 << header.bits.min(8) } else { 256 };
        let is_allowed = !matches!(header.colour, Colour::Grey | Colour::GreyAlpha)
            && self.palette_entries.is_none()
            && self.picture == Picture::Before
            && data.len().is_multiple_of(3)
            && (1..=most).contains(&entries);
        if !is_allowed {
            return Err(damaged("has a palette that the standard does not allow"));
        }
        self.palette_entries = Some(entries);
        Ok(())
    }

    fn take_end<O: Edits>(&mut self, bytes: &[u8], data: &[u8], out: &mut O) -> Result<(), O::Stop> {
        if self.picture == Picture::Before || !data.is_empty() || !self.rows.as_ref().is_some_and(Rows::is_whole) {
            return Err(damaged("ends before its picture does").into());
        }
        self.at = At::Trailer;
        out.keep(bytes, "end")
    }

    /// A picture chunk of common size is taken whole, so that what stands behind the end of the
    /// picture data can be cut off; a larger one passes as it comes, and a tail in it is refused.
    fn begin_picture<O: Edits>(&mut self, head: &[u8], length: u32, total: usize, out: &mut O) -> Result<(), O::Stop> {
        if self.rows.as_ref().is_some_and(|rows| rows.is_ended) {
            self.findings.remove("png.unknown");
            out.discard(head.len(), "behind the picture");
            let left = u64::from(length) + 4;
            self.at = At::Dropped { left, what: "behind the picture" };
            return Ok(());
        }
        match self.picture {
            Picture::After => return Err(damaged("has its picture in two places").into()),
            Picture::In => {}
            Picture::Before => self.begin_first_picture(out)?,
        }
        if total <= HELD_BYTES_MAX {
            self.held.extend_from_slice(head);
            self.at = At::Whole(total);
            return Ok(());
        }
        self.crc = Crc::new();
        self.crc.update(b"IDAT");
        self.at = At::Picture(u64::from(length));
        out.keep(head, "picture")
    }

    fn begin_first_picture<O: Edits>(&mut self, out: &mut O) -> Result<(), O::Stop> {
        if self.header.is_some_and(|h| h.colour == Colour::Palette) && self.palette_entries.is_none() {
            return Err(damaged("has no palette").into());
        }
        self.picture = Picture::In;
        let turn = self.findings.exif.as_ref().or(self.text_exif.as_ref()).and_then(|b| b.orientation);
        if let Some(turn) = turn.filter(|_| self.purpose == Purpose::File) {
            self.has_turn = true;
            out.replace(0, &chunk(*b"eXIf", &exif::orientation_block(turn)), "exif")?;
        }
        Ok(())
    }

    fn pass_picture<'c, O: Edits>(&mut self, left: u64, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        let (now, later) = rest.split_at_checked(usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or((rest, &[]));
        self.crc.update(now);
        if self.inflate(now)? < now.len() {
            return Err(damaged("has bytes behind its picture data").into());
        }
        let left = left - u64::try_from(now.len()).unwrap_or(left).min(left);
        self.at = if left > 0 { At::Picture(left) } else { At::PictureCrc };
        out.keep(now, "picture")?;
        Ok(later)
    }

    fn take_picture<O: Edits>(&mut self, bytes: &[u8], data: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let used = self.inflate(data)?;
        let Some((picture, tail)) = data.split_at_checked(used).filter(|(_, tail)| !tail.is_empty()) else {
            return out.keep(bytes, "picture");
        };
        self.findings.remove_bytes(tail, "png.unknown");
        out.replace(bytes.len(), &chunk(*b"IDAT", picture), "picture")
    }

    /// How many bytes of `data` are picture.
    fn inflate(&mut self, data: &[u8]) -> Result<usize, ScrubError> {
        self.rows.as_mut().map_or(Ok(0), |rows| rows.inflate(data))
    }

    /// Goes; what it says of the turn is written before the picture, or here where the picture
    /// has passed already (§11.3.4.4 allows both).
    fn take_exif<O: Edits>(&mut self, bytes: &[u8], tiff: &[u8], is_sound: bool, out: &mut O) -> Result<(), O::Stop> {
        let block = self.findings.see_exif(tiff, "png.exif");
        if self.findings.exif.is_some() || !is_sound || block.is_none() {
            self.findings.remove("png.exif");
            out.discard(bytes.len(), "exif");
            return Ok(());
        }
        self.findings.exif = block;
        let turn = self.findings.exif.as_ref().and_then(|b| b.orientation);
        match turn {
            Some(turn) if self.purpose == Purpose::File && self.picture != Picture::Before && !self.has_turn => {
                self.has_turn = true;
                out.replace(bytes.len(), &chunk(*b"eXIf", &exif::orientation_block(turn)), "exif")
            }
            _ => {
                out.discard(bytes.len(), "exif");
                Ok(())
            }
        }
    }

    fn take_profile<O: Edits>(&mut self, bytes: &[u8], data: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let Some(clean) = self.clean_profile(data)? else {
            self.findings.remove_bytes(data, "icc");
            out.discard(bytes.len(), "icc");
            return Ok(());
        };
        if self.purpose == Purpose::Object {
            self.findings.profile = Some(clean);
            out.discard(bytes.len(), "icc");
            return Ok(());
        }
        let data = [PNG_PROFILE_NAME, &[0, 0], &deflate(&clean)].concat();
        out.replace(bytes.len(), &chunk(*b"iCCP", &data), "icc")
    }

    /// The profile without its words. `None`: it is none that a viewer would use.
    fn clean_profile(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, ScrubError> {
        let unpacked = profile_parts(data).and_then(|(name, packed)| Some((name, inflate(packed, PROFILE_BYTES_MAX)?)));
        let Some((name, source)) = unpacked else { return Ok(None) };
        if source.len() > PROFILE_BYTES_MAX {
            return Err(profile_too_large());
        }
        let Ok(clean) = icc::rewrite(&source) else { return Ok(None) };
        if clean != source || name != PNG_PROFILE_NAME {
            self.findings.remove_bytes(&source, "icc.text");
        }
        Ok(Some(clean))
    }
}

fn profile_too_large() -> ScrubError {
    let kib = PROFILE_BYTES_MAX / 1024;
    let detail = format!("The picture's colour profile is larger than {kib} KiB. Convert the picture to sRGB and send it again.");
    ScrubError { code: ScrubCode::TooLarge, detail }
}

/// Text chunks: keyword, NUL, and a text that may be packed. `ImageMagick` and older programs hide
/// whole Exif, IPTC and XMP blocks in them, as hexadecimal digits.
impl Planner {
    fn see_text(&mut self, kind: [u8; 4], data: &[u8]) {
        self.findings.remove_bytes(data, "png.text");
        let mut parts = data.splitn(2, |b| *b == 0);
        let (Some(keyword), Some(rest)) = (parts.next(), parts.next()) else { return };
        let text = match (&kind, rest) {
            (b"zTXt", [0, packed @ ..]) => inflate(packed, HELD_BYTES_MAX),
            (b"iTXt", [is_packed, 0, rest @ ..]) => {
                // Language tag and translated keyword, each up to a NUL (§11.3.3.4).
                let text = rest.splitn(3, |b| *b == 0).nth(2);
                text.and_then(|text| if *is_packed == 1 { inflate(text, HELD_BYTES_MAX) } else { Some(text.to_vec()) })
            }
            _ => Some(rest.to_vec()),
        };
        let Some(text) = text else { return };
        if keyword == b"XML:com.adobe.xmp" {
            self.findings.remove("xmp");
        }
        self.findings.finder.push(&text);
        self.findings.finder.end();
        if let Some(name) = keyword.strip_prefix(b"Raw profile type ") {
            self.see_raw_profile(name, &unhex(&text));
        }
    }

    fn see_raw_profile(&mut self, name: &[u8], raw: &[u8]) {
        let tiff = raw.strip_prefix(exif::PREAMBLE).unwrap_or(raw);
        if Block::read(tiff).is_some() {
            let block = self.findings.see_exif(tiff, "exif");
            self.text_exif = self.text_exif.take().or(block);
        } else if let Some(resources) = raw.strip_prefix(iptc::PREAMBLE).or_else(|| raw.starts_with(b"8BIM").then_some(raw)) {
            self.findings.see_photoshop(resources);
        } else {
            let word = if name.eq_ignore_ascii_case(b"iptc") { "iptc" } else { "xmp" };
            self.findings.finder.note(iptc::names_a_place(raw));
            self.findings.remove_bytes(raw, word);
        }
    }
}

/// The bytes of a raw profile: a line with its name, a line with its length, hexadecimal digits.
fn unhex(text: &[u8]) -> Vec<u8> {
    let text = text.trim_ascii_start().splitn(3, |b| *b == b'\n').nth(2).unwrap_or_default();
    let mut digits = text.iter().filter_map(|d| char::from(*d).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len() / 2);
    while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
        bytes.extend(u8::try_from(high << 4 | low));
    }
    bytes
}

/// Name and packed profile of an iCCP chunk.
fn profile_parts(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|b| *b == 0).filter(|end| (1..80).contains(end))?;
    match data.split_at_checked(end)? {
        (name, [0, 0, packed @ ..]) => Some((name, packed)),
        _ => None,
    }
}

fn crc_of(kind: [u8; 4], data: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    crc.sum().to_be_bytes()
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], &kind, data, &crc_of(kind, data)].concat()
}

/// What `packed` inflates to, but no more than one byte over `most`. `None`: it is broken.
fn inflate(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut inflater = Decompress::new(true);
    let mut out = Vec::new();
    loop {
        out.reserve_exact((out.len().max(SCRATCH_BYTES)).min((most + 1).saturating_sub(out.len()).max(1)));
        let rest = packed.get(usize::try_from(inflater.total_in()).ok()?..)?;
        let before = (inflater.total_in(), out.len());
        match inflater.decompress_vec(rest, &mut out, FlushDecompress::None).ok()? {
            Status::StreamEnd => return Some(out),
            _ if out.len() > most => return Some(out),
            _ if before == (inflater.total_in(), out.len()) => return None,
            _ => {}
        }
    }
}

/// Always the same bytes for the same profile, so that a second scrub changes nothing.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail; if it did, the verifier would see a broken profile.
    let _ = packed.write_all(bytes);
    packed.finish().unwrap_or_default()
}

/// The rows of the picture, as they come out of the inflater: counted, and not kept.
struct Rows {
    inflater: Decompress,
    scratch: Vec<u8>,
    passes: Vec<Pass>,
    /// Of the first pass that is left: bytes to the next filter byte.
    to_filter: u64,
    is_ended: bool,
}

impl Rows {
    fn new(header: &Header) -> Self {
        let mut passes: Vec<Pass> = header.passes().collect();
        passes.reverse();
        Self { inflater: Decompress::new(true), scratch: vec![0; SCRATCH_BYTES], passes, to_filter: 0, is_ended: false }
    }

    /// The stream has ended, its Adler-32 was right, and every row has come.
    fn is_whole(&self) -> bool {
        self.is_ended && self.passes.is_empty() && self.to_filter == 0
    }

    /// How many bytes of `source` belong to the stream.
    fn inflate(&mut self, source: &[u8]) -> Result<usize, ScrubError> {
        let mut packed = source;
        loop {
            if self.is_ended {
                return Ok(source.len() - packed.len());
            }
            let (taken, given) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(packed, &mut self.scratch, FlushDecompress::None);
            let status = status.map_err(|_| damaged("has picture data that does not unpack"))?;
            let taken = usize::try_from(self.inflater.total_in() - taken).unwrap_or(usize::MAX);
            let given = usize::try_from(self.inflater.total_out() - given).unwrap_or(usize::MAX);
            packed = packed.get(taken..).unwrap_or_default();
            let scratch = std::mem::take(&mut self.scratch);
            let counted = self.count(scratch.get(..given).unwrap_or_default());
            self.scratch = scratch;
            counted?;
            self.is_ended = status == Status::StreamEnd;
            if !self.is_ended && taken == 0 && given == 0 {
                return if packed.is_empty() { Ok(source.len()) } else { Err(damaged("has picture data that does not unpack")) };
            }
        }
    }

    /// Counts rows and looks at their filter bytes, 0 to 4 (§9.2).
    fn count(&mut self, mut bytes: &[u8]) -> Result<(), ScrubError> {
        while !bytes.is_empty() {
            if self.to_filter > 0 {
                let step = usize::try_from(self.to_filter).unwrap_or(usize::MAX).min(bytes.len());
                self.to_filter -= u64::try_from(step).unwrap_or(self.to_filter);
                bytes = bytes.get(step..).unwrap_or_default();
                continue;
            }
            let Some(pass) = self.passes.last_mut() else {
                return Err(damaged("has more picture data than its header says"));
            };
            if bytes.first().is_some_and(|filter| *filter > 4) {
                return Err(damaged("has picture data that no viewer can read"));
            }
            self.to_filter = pass.row_bytes;
            pass.rows -= 1;
            if pass.rows == 0 {
                self.passes.pop();
            }
        }
        Ok(())
    }
}
