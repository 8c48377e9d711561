//! Plans one JPEG: segment by segment, and scans as one run of bytes each or, where the limits say
//! so, MCU by MCU.
//!
//! What stays: SOI, tables, the frame, scans, a bare JFIF header, a bare Adobe header, the colour
//! profile and the turn; EOI of the first picture ends the output. Everything behind it (a second
//! picture of a multi-picture file, a gain map, a motion video, notes of the maker) goes, but is
//! still looked through for a position, so that the report is true.
//!
//! Source: ITU-T T.81 Annex B; T.871 (JFIF); Adobe Technical Note 5116 (APP14); ICC.1 §B.4; CIPA
//! DC-007 (MPF).

use memchr::memchr;

use super::apply::Edits;
use super::findings::Findings;
use super::icc;
use super::policy::{APP_WORDS, Limits, PROFILE_BYTES_MAX, PROFILE_CHUNK_BYTES, Purpose};
use super::{ScrubCode, ScrubError};
use crate::capture::media::{Coding, PictureFormat};
use crate::media::jpeg::scan::{Next, Walker};
use crate::media::jpeg::tail::Tail;
use crate::media::jpeg::{Frame, PROFILE_PREAMBLE, Tables, check_restart_interval, marker};
use crate::media::location::has_flir_position;
use crate::media::{Fault, exif, iptc};

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_EXTENSION: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
/// GUID, full length and offset of an extension chunk (XMP part 3 §1.1.3.1).
const XMP_EXTENSION_HEAD: usize = 40;
const FLIR: &[u8] = b"FLIR\0";
const JFIF: &[u8] = b"JFIF\0";
const JFIF_BYTES: usize = 14;
const ADOBE: &[u8] = b"Adobe";
const ADOBE_BYTES: usize = 12;

fn damaged(fault: Fault) -> ScrubError {
    ScrubError::damaged("JPEG", fault)
}

/// Where in the file the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Between segments; also before SOI.
    Segments,
    /// Inside entropy-coded data.
    Scan,
    /// Inside entropy-coded data, behind so many FF bytes that are not yet spoken for.
    ScanFill(usize),
    /// Inside entropy-coded data of which every code is read.
    Walk,
    /// Behind the last MCU of an interval or a scan. `restart`: the marker that has to come, else
    /// any; `is_marker`: behind an FF.
    Gap {
        restart: Option<u8>,
        is_marker: bool,
    },
    Trailer,
}

#[derive(Debug)]
pub(super) struct Planner {
    purpose: Purpose,
    limits: Limits,
    at: At,
    /// A segment that a portion cut, from its FF on.
    held: Vec<u8>,
    findings: Findings,
    segments: u32,
    scans: u32,
    has_soi: bool,
    frame: Option<Frame>,
    tables: Tables,
    /// One bit for each component whose picture a scan began.
    begun: u8,
    is_jfif: bool,
    adobe_transform: Option<u8>,
    has_exif: bool,
    profile: Profile,
    /// Where scans are walked: their tables, and how far it is.
    walker: Option<Box<Walker>>,
    /// Where they are not: whether they seem to end with their last MCU.
    tail: Tail,
}

/// The colour profile, while its segments arrive. A whole one is written in the place of the last
/// segment, so that it can be checked and rewritten as one.
#[derive(Debug, Default)]
struct Profile {
    count: u8,
    chunks: Vec<Option<Vec<u8>>>,
    bytes: usize,
    is_done: bool,
}

/// A piece of the file between segments.
enum Unit {
    /// So many bytes that belong to nothing.
    Stray(usize),
    /// A marker without a length.
    Bare(u8),
    Segment(u8),
}

/// What stands at the start of `bytes`, which is not empty, and how long it is; `Err`: how many
/// bytes are needed to tell.
fn unit(bytes: &[u8]) -> Result<(Unit, usize), usize> {
    if bytes.first() != Some(&0xFF) {
        let length = memchr(0xFF, bytes).unwrap_or(bytes.len());
        return Ok((Unit::Stray(length), length));
    }
    let Some(fill) = bytes.iter().position(|b| *b != 0xFF) else {
        // Fill bytes may precede any marker (T.81 §B.1.1.2); the last FF may be the marker's own.
        return if bytes.len() > 1 { Ok((Unit::Stray(bytes.len() - 1), bytes.len() - 1)) } else { Err(2) };
    };
    if fill > 1 {
        return Ok((Unit::Stray(fill - 1), fill - 1));
    }
    let code = bytes.get(1).copied().unwrap_or_default();
    match code {
        0 | marker::TEM | marker::RST0..=marker::EOI => Ok((Unit::Bare(code), 2)),
        _ => match (bytes.get(2), bytes.get(3)) {
            (Some(high), Some(low)) => {
                let length = 2 + usize::from(u16::from_be_bytes([*high, *low]));
                if bytes.len() < length { Err(length) } else { Ok((Unit::Segment(code), length)) }
            }
            _ => Err(4),
        },
    }
}

impl Planner {
    pub(super) fn new(purpose: Purpose, limits: Limits) -> Self {
        Self {
            purpose,
            limits,
            at: At::Segments,
            held: Vec::new(),
            findings: Findings::default(),
            segments: 0,
            scans: 0,
            has_soi: false,
            frame: None,
            tables: Tables::default(),
            begun: 0,
            is_jfif: false,
            adobe_transform: None,
            has_exif: false,
            profile: Profile::default(),
            walker: limits.walks_scans.then(Box::default),
            tail: Tail::default(),
        }
    }

    pub(super) fn push<O: Edits>(&mut self, mut rest: &[u8], out: &mut O) -> Result<(), O::Stop> {
        while !rest.is_empty() {
            rest = match self.at {
                At::Segments if self.held.is_empty() => self.segment(rest, out)?,
                At::Segments => self.held_segment(rest, out)?,
                At::Scan => self.scan(rest, out)?,
                At::ScanFill(fill) => self.scan_fill(fill, rest, out)?,
                At::Walk => self.walk(rest, out)?,
                At::Gap { restart, is_marker: false } => self.gap(restart, rest, out),
                At::Gap { restart, is_marker: true } => self.gap_marker(restart, rest, out)?,
                At::Trailer => {
                    out.discard(rest.len(), "trailer");
                    self.findings.remove("jpeg.trailer");
                    self.findings.finder.push(rest);
                    &[]
                }
            };
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(PictureFormat, Findings), ScrubError> {
        let (At::Trailer, Some(frame)) = (self.at, &self.frame) else {
            return Err(damaged(Fault("ends before its picture does (no EOI marker)")));
        };
        self.findings.finder.end();
        let (width, height) = (u32::from(frame.width), u32::from(frame.height));
        let coding = match frame.coding(self.is_jfif, self.adobe_transform) {
            _ if self.tail.is_in_doubt() => Coding::JpegOther,
            coding => coding,
        };
        let format = PictureFormat { width, height, coding };
        Ok((format, self.findings))
    }

    /// One unit at the start of `rest`, in place.
    fn segment<'c, O: Edits>(&mut self, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        let Ok((unit, length)) = unit(rest) else {
            self.held.extend_from_slice(rest);
            return Ok(&[]);
        };
        let (bytes, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        self.take(&unit, bytes, out)?;
        Ok(rest)
    }

    /// One unit that began in an earlier portion.
    fn held_segment<'c, O: Edits>(&mut self, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        match unit(&self.held) {
            Err(needed) => {
                let missing = needed.saturating_sub(self.held.len());
                let (now, later) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
                self.held.extend_from_slice(now);
                if unit(&self.held).is_err() {
                    return Ok(later);
                }
                self.held_segment(later, out)
            }
            Ok((unit, length)) => {
                let mut bytes = std::mem::take(&mut self.held);
                let left = bytes.split_off(length.min(bytes.len()));
                self.take(&unit, &bytes, out)?;
                if self.at == At::Segments {
                    self.held = left;
                }
                Ok(rest)
            }
        }
    }

    fn take<O: Edits>(&mut self, unit: &Unit, bytes: &[u8], out: &mut O) -> Result<(), O::Stop> {
        // A run of stray bytes may come in any number of portions; what ends it is counted.
        if !matches!(unit, Unit::Stray(_)) {
            self.count_segment()?;
        }
        match *unit {
            Unit::Stray(length) => self.drop_stray(length, out),
            Unit::Bare(marker::SOI) if !self.has_soi => {
                self.has_soi = true;
                out.keep(bytes, "soi")?;
            }
            Unit::Bare(marker::SOI) => {
                return Err(damaged(Fault("holds the start of a second picture before the end of the first")).into());
            }
            Unit::Bare(marker::EOI) => {
                self.end_picture()?;
                out.keep(bytes, "eoi")?;
                self.at = At::Trailer;
            }
            Unit::Bare(_) => self.drop_stray(bytes.len(), out),
            Unit::Segment(code) => {
                let payload = bytes.get(4..).ok_or_else(|| damaged(Fault("has a segment without a length")))?;
                self.take_segment(code, bytes, payload, out)?;
            }
        }
        Ok(())
    }

    fn count_segment(&mut self) -> Result<(), ScrubError> {
        self.segments += 1;
        let most = self.limits.segments_max;
        if self.segments > most {
            return Err(ScrubError::too_large(format!("The JPEG has more than {most} segments; a camera writes some twenty.")));
        }
        Ok(())
    }

    fn drop_stray<O: Edits>(&mut self, length: usize, out: &mut O) {
        self.findings.remove("jpeg.stray");
        out.discard(length, "stray");
    }

    /// `bytes` is the whole segment, `payload` what follows its length.
    fn take_segment<O: Edits>(&mut self, code: u8, bytes: &[u8], payload: &[u8], out: &mut O) -> Result<(), O::Stop> {
        match code {
            marker::DQT => {
                self.tables.define_quantization(payload).map_err(damaged)?;
                out.keep(bytes, "dqt")
            }
            marker::DHT => {
                self.tables.define_huffman(payload).map_err(damaged)?;
                match &mut self.walker {
                    Some(walker) => walker.define_huffman(payload),
                    None => self.tail.define_huffman(payload),
                }
                .map_err(damaged)?;
                out.keep(bytes, "dht")
            }
            marker::DRI => {
                check_restart_interval(payload).map_err(damaged)?;
                if let Some(walker) = &mut self.walker {
                    walker.define_restart_interval(payload).map_err(damaged)?;
                }
                out.keep(bytes, "dri")
            }
            marker::SOF0..=marker::SOF2 => {
                self.begin_frame(code, payload)?;
                out.keep(bytes, "sof")
            }
            marker::SOS => {
                self.begin_scan(payload)?;
                out.keep(bytes, "sos")?;
                self.at = if self.walker.is_some() { At::Walk } else { At::Scan };
                Ok(())
            }
            marker::COM => {
                self.drop_bytes(bytes, payload, "jpeg.com", out);
                Ok(())
            }
            marker::APP0..=0xEF => self.take_app(code, bytes, payload, out),
            0xF0..=0xFD => {
                self.drop_bytes(bytes, payload, "jpeg.unknown", out);
                Ok(())
            }
            marker::DNL => Err(damaged(Fault("tells its height only behind the picture (DNL)")).into()),
            0xC3..=0xCF | 0xDE | 0xDF => Err(ScrubError::unsupported(
                "a JPEG coded in a way that viewers do not show (lossless, arithmetic or hierarchical)",
            )
            .into()),
            _ => Err(damaged(Fault("has a marker that does not exist")).into()),
        }
    }

    fn drop_bytes<O: Edits>(&mut self, bytes: &[u8], payload: &[u8], word: &'static str, out: &mut O) {
        self.findings.remove_bytes(payload, word);
        out.discard(bytes.len(), word);
    }

    fn begin_frame(&mut self, code: u8, payload: &[u8]) -> Result<(), ScrubError> {
        if self.frame.is_some() {
            return Err(damaged(Fault("has two frame headers")));
        }
        let frame = Frame::read(code, payload).map_err(damaged)?;
        self.limits.check_size(u32::from(frame.width), u32::from(frame.height), false)?;
        if let Some(walker) = &mut self.walker {
            walker.begin_frame(&frame);
        }
        self.frame = Some(frame);
        Ok(())
    }

    fn begin_scan(&mut self, payload: &[u8]) -> Result<(), ScrubError> {
        let Some(frame) = &self.frame else {
            return Err(damaged(Fault("has a scan before its frame header")));
        };
        self.begun |= self.tables.check_scan(payload, frame).map_err(damaged)?;
        self.scans += 1;
        if self.scans > self.limits.scans_max {
            return Err(ScrubError::too_large(format!("The JPEG has more than {} scans.", self.limits.scans_max)));
        }
        match &mut self.walker {
            Some(walker) => walker.begin_scan(payload).map_err(damaged)?,
            None => self.tail.begin_scan(payload, frame),
        }
        if self.scans > 1 {
            return Ok(());
        }
        let orientation = self.findings.exif.as_ref().and_then(|e| e.orientation).unwrap_or_default();
        let must_decode = frame.coding(self.is_jfif, self.adobe_transform) == Coding::JpegOther || !orientation.is_upright();
        if must_decode && self.purpose == Purpose::Object {
            self.limits.check_size(u32::from(frame.width), u32::from(frame.height), true)?;
        }
        if self.profile.count > 0 && !self.profile.is_done {
            // Viewers do not use a profile of which a part is missing.
            self.findings.remove("icc");
            self.profile = Profile { is_done: true, ..Profile::default() };
        }
        Ok(())
    }

    fn end_picture(&self) -> Result<(), ScrubError> {
        let components = self.frame.as_ref().map_or(0, |f| f.components.len());
        if components == 0 || self.begun != (1 << components) - 1 {
            return Err(damaged(Fault("ends before its picture does")));
        }
        Ok(())
    }

    fn take_app<O: Edits>(&mut self, code: u8, bytes: &[u8], payload: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let before_scan = self.scans == 0;
        if before_scan && code == marker::APP0 && payload.starts_with(JFIF) && payload.len() >= JFIF_BYTES && !self.is_jfif {
            return self.take_jfif(bytes, payload, out);
        }
        if code == marker::APP1 && payload.starts_with(exif::PREAMBLE) {
            return self.take_exif(bytes, payload, out);
        }
        if before_scan && code == marker::APP2 && payload.starts_with(PROFILE_PREAMBLE) {
            return self.take_profile(bytes, payload, out);
        }
        if before_scan && code == marker::APP14 && payload.starts_with(ADOBE) && payload.len() >= ADOBE_BYTES {
            return self.take_adobe(bytes, payload, out);
        }
        if let Some(resources) = payload.strip_prefix(iptc::PREAMBLE) {
            self.findings.see_photoshop(resources);
            out.discard(bytes.len(), "photoshop");
            return Ok(());
        }
        if let Some(chunk) = payload.strip_prefix(XMP_EXTENSION) {
            // Chunks of one text: a word may run on in the next.
            self.findings.remove("xmp");
            self.findings.finder.push(chunk.get(XMP_EXTENSION_HEAD..).unwrap_or_default());
            out.discard(bytes.len(), "xmp");
            return Ok(());
        }
        if payload.starts_with(FLIR) {
            self.findings.finder.note(has_flir_position(payload));
        }
        let word = match code {
            marker::APP0 if payload.starts_with(b"JFXX") => "jpeg.jfxx",
            marker::APP1 if payload.starts_with(XMP) => "xmp",
            marker::APP2 if payload.starts_with(PROFILE_PREAMBLE) => "icc",
            marker::APP2 if payload.starts_with(b"MPF\0") => "jpeg.mpf",
            0xEB if payload.starts_with(b"JP") => "jpeg.jumbf",
            _ => APP_WORDS.get(usize::from(code & 15)).copied().unwrap_or("jpeg.unknown"),
        };
        self.drop_bytes(bytes, payload, word, out);
        Ok(())
    }

    /// JFIF without its thumbnail (T.871 §10.1).
    fn take_jfif<O: Edits>(&mut self, bytes: &[u8], payload: &[u8], out: &mut O) -> Result<(), O::Stop> {
        self.is_jfif = true;
        if payload.len() == JFIF_BYTES && payload.ends_with(&[0, 0]) {
            return out.keep(bytes, "jfif");
        }
        // Apple appends `AMPF` where there is no thumbnail.
        let has_thumbnail = payload.get(JFIF_BYTES - 2..JFIF_BYTES) != Some(&[0, 0]);
        self.findings.remove(if has_thumbnail { "jpeg.thumbnail" } else { "jpeg.app0" });
        let fields = payload.get(..JFIF_BYTES - 2).unwrap_or_default();
        out.replace(bytes.len(), &[&[0xFF, marker::APP0, 0, 16], fields, &[0, 0]].concat(), "jfif")
    }

    /// The bare Adobe header: decoders read the colour transform in it.
    fn take_adobe<O: Edits>(&mut self, bytes: &[u8], payload: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let header = payload.get(..ADOBE_BYTES).unwrap_or_default();
        let transform = header.last().copied().unwrap_or_default();
        match self.adobe_transform {
            None => self.adobe_transform = Some(transform),
            Some(first) if first == transform => {
                self.drop_bytes(bytes, payload, "jpeg.app14", out);
                return Ok(());
            }
            Some(_) => return Err(damaged(Fault("names two colour transforms")).into()),
        }
        if payload.len() == ADOBE_BYTES {
            return out.keep(bytes, "adobe");
        }
        self.findings.remove("jpeg.app14");
        out.replace(bytes.len(), &[&[0xFF, marker::APP14, 0, 14], header].concat(), "adobe")
    }

    /// Exif goes; before the first scan its first readable block says how the picture is turned
    /// (behind it no viewer reads Exif), and a file keeps that alone, in the same place.
    fn take_exif<O: Edits>(&mut self, bytes: &[u8], payload: &[u8], out: &mut O) -> Result<(), O::Stop> {
        let tiff = payload.get(exif::PREAMBLE.len()..).unwrap_or_default();
        let block = self.findings.see_exif(tiff, "exif");
        if self.scans > 0 || self.has_exif || block.is_none() {
            if block.is_some_and(|b| b.is_bare) {
                self.findings.remove("exif");
            }
            out.discard(bytes.len(), "exif");
            return Ok(());
        }
        self.has_exif = true;
        self.findings.exif = block;
        let orientation = self.findings.exif.as_ref().and_then(|b| b.orientation);
        let Some(orientation) = orientation.filter(|_| self.purpose == Purpose::File) else {
            out.discard(bytes.len(), "exif");
            return Ok(());
        };
        let tiff = exif::orientation_block(orientation);
        let length = u8::try_from(2 + exif::PREAMBLE.len() + tiff.len()).unwrap_or_default();
        let segment = [&[0xFF, marker::APP1, 0, length], exif::PREAMBLE, &tiff].concat();
        if segment == bytes { out.keep(bytes, "exif") } else { out.replace(bytes.len(), &segment, "exif") }
    }

    fn take_profile<O: Edits>(&mut self, bytes: &[u8], payload: &[u8], out: &mut O) -> Result<(), O::Stop> {
        if self.profile.is_done {
            self.drop_bytes(bytes, payload, "icc", out);
            return Ok(());
        }
        let chunk = payload.get(PROFILE_PREAMBLE.len()..).unwrap_or_default();
        let Some(whole) = self.profile.add(chunk)? else {
            return out.replace(bytes.len(), &[], "icc");
        };
        let Ok(clean) = whole.and_then(|source| {
            let clean = icc::rewrite(&source)?;
            if clean != source {
                self.findings.remove_bytes(&source, "icc.text");
            }
            Ok(clean)
        }) else {
            self.findings.remove("icc");
            return out.replace(bytes.len(), &[], "icc");
        };
        match self.purpose {
            Purpose::Object => {
                out.discard(bytes.len(), "icc");
                self.findings.profile = Some(clean);
                Ok(())
            }
            Purpose::File => out.replace(bytes.len(), &profile_segments(&clean), "icc"),
        }
    }
}

impl Profile {
    /// Takes number, count and data of one segment. `Some` with the last one: the whole profile,
    /// or that it is none.
    fn add(&mut self, chunk: &[u8]) -> Result<Option<Result<Vec<u8>, icc::Unusable>>, ScrubError> {
        let (&[number, count], data) = chunk.split_first_chunk().unwrap_or((&[0, 0], &[]));
        if self.count == 0 {
            self.count = count;
            self.chunks = vec![None; usize::from(count)];
        }
        self.bytes += data.len();
        if self.bytes > PROFILE_BYTES_MAX {
            let kib = PROFILE_BYTES_MAX / 1024;
            let detail =
                format!("The picture's colour profile is larger than {kib} KiB. Convert the picture to sRGB and send it again.");
            return Err(ScrubError { code: ScrubCode::TooLarge, detail });
        }
        let slot = usize::from(number).checked_sub(1).and_then(|at| self.chunks.get_mut(at));
        match slot {
            Some(slot @ None) if count == self.count => *slot = Some(data.to_vec()),
            _ => {
                *self = Self { is_done: true, ..Self::default() };
                return Ok(Some(Err(icc::Unusable)));
            }
        }
        if self.chunks.iter().any(Option::is_none) {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.chunks).into_iter().flatten().flatten().collect();
        self.is_done = true;
        Ok(Some(Ok(whole)))
    }
}

fn profile_segments(profile: &[u8]) -> Vec<u8> {
    let chunks = profile.chunks(PROFILE_CHUNK_BYTES);
    let count = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    let mut segments = Vec::with_capacity(profile.len() + 18 * chunks.len());
    for (number, chunk) in (1..=count).zip(chunks) {
        let length = u16::try_from(2 + PROFILE_PREAMBLE.len() + 2 + chunk.len()).unwrap_or(u16::MAX);
        segments.extend([0xFF, marker::APP2]);
        segments.extend(length.to_be_bytes());
        segments.extend(PROFILE_PREAMBLE);
        segments.extend([number, count]);
        segments.extend(chunk);
    }
    segments
}

/// Inside of scans.
impl Planner {
    /// Entropy-coded data at the start of `rest`, code by code: what follows the last MCU of an
    /// interval or a scan is no picture, whatever it is.
    fn walk<'c, O: Edits>(&mut self, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        let Some(walker) = &mut self.walker else { return Ok(&[]) };
        self.held.extend_from_slice(if self.held.is_empty() { &[] } else { rest });
        let joined = std::mem::take(&mut self.held);
        let bytes = if joined.is_empty() { rest } else { &joined };
        let (used, next) = walker.push(bytes).map_err(damaged)?;
        let (picture, behind) = bytes.split_at_checked(used).unwrap_or((bytes, &[]));
        out.keep(picture, "scan")?;
        self.at = match next {
            Next::More => {
                self.held.extend_from_slice(behind);
                return Ok(&[]);
            }
            Next::Restart(code) => At::Gap { restart: Some(code), is_marker: false },
            Next::End => At::Gap { restart: None, is_marker: false },
        };
        // What is left of an earlier portion comes before this one.
        let later = behind.len().min(rest.len());
        let (earlier, _) = behind.split_at_checked(behind.len() - later).unwrap_or((behind, &[]));
        self.push(earlier, out)?;
        Ok(rest.get(rest.len() - later..).unwrap_or_default())
    }

    /// What belongs to no MCU, up to an FF.
    fn gap<'c, O: Edits>(&mut self, restart: Option<u8>, rest: &'c [u8], out: &mut O) -> &'c [u8] {
        let length = memchr(0xFF, rest).unwrap_or(rest.len());
        let (stray, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if !stray.is_empty() {
            self.findings.finder.push(stray);
            self.findings.is_scan_cut = true;
            self.drop_stray(stray.len(), out);
        }
        if !tail.is_empty() {
            self.at = At::Gap { restart, is_marker: true };
        }
        tail.get(1..).unwrap_or_default()
    }

    /// The byte behind an FF, which is either the marker that ends the gap or as stray as the rest.
    fn gap_marker<'c, O: Edits>(&mut self, restart: Option<u8>, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        let Some((code, tail)) = rest.split_first() else { return Ok(rest) };
        match (*code, restart) {
            (0xFF, _) => self.drop_stray(1, out),
            (code, Some(expected)) if code == expected => {
                out.keep(&[0xFF, code], "scan")?;
                self.at = At::Walk;
            }
            (0, _) | (marker::RST0..=marker::RST7, None) => {
                self.findings.finder.push(&[0xFF, *code]);
                self.findings.is_scan_cut = true;
                self.drop_stray(2, out);
                self.at = At::Gap { restart, is_marker: false };
            }
            (_, Some(_)) => return Err(damaged(Fault("has restart markers that are missing or out of order")).into()),
            (_, None) => {
                self.findings.finder.end();
                self.held.push(0xFF);
                self.at = At::Segments;
                return Ok(rest);
            }
        }
        Ok(tail)
    }

    /// Entropy-coded data at the start of `rest`: all bytes up to a marker that is neither a
    /// stuffed FF nor a restart (T.81 §B.1.1.5).
    ///
    /// From marker to marker: bytes before the marker that belong to no MCU, as some phones write
    /// them there, pass as picture here. Their look puts the scan in doubt, and it is walked before
    /// it leaves.
    fn scan<'c, O: Edits>(&mut self, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        let (mut from, mut watched) = (0, 0);
        while let Some(found) = rest.get(from..).and_then(|tail| memchr(0xFF, tail)) {
            let at = from + found;
            match rest.get(at + 1) {
                Some(0) => from = at + 2,
                Some(marker::RST0..=marker::RST7) => {
                    self.tail.push(rest.get(watched..at).unwrap_or_default());
                    self.tail.end_interval();
                    from = at + 2;
                    watched = from;
                }
                next => {
                    let (entropy, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
                    out.keep(entropy, "scan")?;
                    self.tail.push(entropy.get(watched..).unwrap_or_default());
                    if matches!(next, None | Some(0xFF)) {
                        self.at = At::ScanFill(0);
                    } else {
                        self.tail.end_scan();
                        self.at = At::Segments;
                    }
                    return Ok(tail);
                }
            }
        }
        out.keep(rest, "scan")?;
        self.tail.push(rest.get(watched..).unwrap_or_default());
        Ok(&[])
    }

    /// Behind one or more FF inside a scan: fill bytes go, what follows them decides.
    fn scan_fill<'c, O: Edits>(&mut self, fill: usize, rest: &'c [u8], out: &mut O) -> Result<&'c [u8], O::Stop> {
        let more = rest.iter().take_while(|b| **b == 0xFF).count();
        let fill = fill + more;
        let Some((next, tail)) = rest.split_at_checked(more).and_then(|(_, tail)| Some((*tail.first()?, tail))) else {
            self.at = At::ScanFill(fill);
            return Ok(&[]);
        };
        if fill > 1 {
            if next == 0 {
                return Err(damaged(Fault("has fill bytes before a stuffed byte")).into());
            }
            self.count_segment()?;
            self.drop_stray(fill - 1, out);
        }
        match next {
            0 => self.tail.push(&[0xFF, 0]),
            marker::RST0..=marker::RST7 => self.tail.end_interval(),
            _ => {
                self.tail.end_scan();
                self.held.push(0xFF);
                self.at = At::Segments;
                return Ok(tail);
            }
        }
        out.keep(&[0xFF, next], "scan")?;
        self.at = At::Scan;
        Ok(tail.get(1..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::plan::{Action, Plan};

    /// A planner's decisions, and nothing applied.
    #[derive(Default)]
    struct Paper(Plan);

    impl Edits for Paper {
        type Stop = ScrubError;

        fn keep(&mut self, bytes: &[u8], what: &'static str) -> Result<(), ScrubError> {
            self.0.add(bytes.len(), Action::Keep, what);
            Ok(())
        }

        fn discard(&mut self, length: usize, what: &'static str) {
            self.0.add(length, Action::Drop, what);
        }

        fn replace(&mut self, length: usize, with: &[u8], what: &'static str) -> Result<(), ScrubError> {
            self.0.add(length, Action::Rewrite { into_bytes: with.len() as u64 }, what);
            Ok(())
        }
    }

    fn segment(code: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, code], &length[..], payload].concat()
    }

    fn picture(scan: &[u8]) -> Vec<u8> {
        [
            segment(marker::DQT, &[&[0][..], &[1; 64]].concat()),
            segment(marker::SOF0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]),
            segment(marker::DHT, &[&[0, 1][..], &[0; 15], &[0]].concat()),
            segment(marker::DHT, &[&[0x10, 1][..], &[0; 15], &[0]].concat()),
            segment(marker::SOS, &[1, 1, 0, 0, 63, 0]),
            scan.to_vec(),
            vec![0xFF, marker::EOI],
        ]
        .concat()
    }

    fn plan(portions: &[&[u8]]) -> Result<(Plan, Findings), ScrubError> {
        let mut planner = Planner::new(Purpose::File, Limits::default());
        let mut paper = Paper::default();
        for portion in portions {
            planner.push(portion, &mut paper)?;
        }
        Ok((paper.0, planner.finish()?.1))
    }

    #[test]
    fn the_plan_of_a_phone_photo_reads_as_text() {
        let photo = [
            &[0xFF, 0xD8][..],
            &segment(0xE0, b"JFIF\0\x01\x02\0\0\x48\0\x48\x01\x01rgb"),
            &segment(0xE1, &[exif::PREAMBLE, b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0more"].concat()),
            &segment(0xE1, &[XMP, b"<exif:GPSLatitude>47,8N"].concat()),
            b"??",
            &segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01"),
            &picture(&[1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4]),
            b"\xff\xd8 a motion video",
        ]
        .concat();
        let (plan, findings) = plan(&[&photo]).unwrap();
        let golden = "        \
            0 keep            2 soi\n        \
            2 rewrite        21 jfif into 18\n       \
           23 rewrite        40 exif into 36\n       \
           63 drop           56 xmp\n      \
          119 drop            2 stray\n      \
          121 keep           16 adobe\n      \
          137 keep           69 dqt\n      \
          206 keep           13 sof\n      \
          219 keep           44 dht\n      \
          263 keep           10 sos\n      \
          273 keep            8 scan\n      \
          281 keep            2 eoi\n      \
          283 drop           17 trailer\n";
        assert_eq!(plan.to_string(), golden);
        assert_eq!(
            findings.removed.into_iter().collect::<Vec<_>>(),
            ["exif", "jpeg.stray", "jpeg.thumbnail", "jpeg.trailer", "xmp"]
        );
        assert!(findings.finder.has_found());
    }

    #[test]
    fn any_cut_of_the_input_makes_the_same_plan() {
        let photo =
            [&[0xFF, 0xD8][..], b"x\xff\xff", &segment(0xE5, b"abc"), &picture(b"a\xff\0b\xff\xff\xff\xd1c\xff\xff")].concat();
        let whole = plan(&[&photo]).unwrap().0;
        for at in 0..photo.len() {
            let (a, b) = photo.split_at(at);
            assert_eq!(plan(&[a, b]).unwrap().0, whole, "{at}");
        }
        let bytes: Vec<&[u8]> = photo.chunks(1).collect();
        assert_eq!(plan(&bytes).unwrap().0, whole);
    }

    #[test]
    fn a_flood_of_segments_ends_and_a_gap_in_small_portions_does_not() {
        let flood = [&[0xFF, 0xD8][..], &b"\xff\x01".repeat(20_000), &picture(b"a")].concat();
        assert_eq!(plan(&[&flood]).unwrap_err().code, ScrubCode::TooLarge);
        let flood = [&[0xFF, 0xD8][..], &picture(&b"\xff\xff\xd0".repeat(20_000))].concat();
        assert_eq!(plan(&[&flood]).unwrap_err().code, ScrubCode::TooLarge);
        let gap = [&[0xFF, 0xD8][..], &[7; 9_000], &picture(b"a")].concat();
        assert!(plan(&gap.chunks(1).collect::<Vec<_>>()).is_ok());
    }

    #[test]
    fn what_no_viewer_shows_whole_is_refused() {
        let whole = picture(b"abc");
        let table: [(&str, Vec<u8>); 8] = [
            ("no EOI", whole[..whole.len() - 2].to_vec()),
            ("no scan", [&segment(marker::SOF0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0])[..], &[0xFF, marker::EOI]].concat()),
            ("only an end", vec![0xFF, marker::EOI]),
            ("a second SOI", [&[0xFF, 0xD8], &whole[..]].concat()),
            ("a scan without its table", whole[69..].to_vec()),
            ("arithmetic", segment(0xC9, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0])),
            ("fill before a stuffed byte", picture(b"a\xff\xff\0")),
            ("an unknown marker in the scan", picture(b"a\xff\x05\0\x02")),
        ];
        for (what, bytes) in table {
            assert!(plan(&[&[0xFF, 0xD8], &bytes]).is_err(), "{what}");
        }
    }
}
