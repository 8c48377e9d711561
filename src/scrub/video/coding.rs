//! How a track is coded, as its sample entry tells: fields that are known stay, and of parameter sets
//! those that are such. What stands behind, between or instead of them becomes zeros; messages (SEI) are
//! emptied as they are among the pictures.

use std::ops::Range;

use super::index::{Editor, Found, list};
use super::messages::{emptied, is_message, without_words};
use crate::media::Fault;
use crate::media::isobmff::Fields;
use crate::scrub::icc;
use crate::scrub::policy::{CodingBox, SOUND_CONFIGURATION_BYTES};

const CUT: Fault = Fault("has a record of its coding that is cut short");
/// Word for what stands where nothing belongs.
const REST: Option<&str> = Some("video.padding");
/// Boxes stand in `wave`, and nothing stands in those.
const DEPTH_MAX: u32 = 2;

/// Tags of descriptors (ISO/IEC 14496-1 §7.2.2.1): stream, decoder, its configuration, packets.
mod tag {
    pub const STREAM: u8 = 3;
    pub const DECODER: u8 = 4;
    pub const CONFIGURATION: u8 = 5;
    pub const PACKETS: u8 = 6;
}
const DESCRIPTORS_MAX: u32 = 64;

impl Editor<'_> {
    /// The boxes of a sample entry.
    pub(super) fn coding(&mut self, range: Range<usize>, is_picture: bool) -> Result<(), Fault> {
        self.coding_boxes(range, is_picture, DEPTH_MAX)
    }

    fn coding_boxes(&mut self, range: Range<usize>, is_picture: bool, depth: u32) -> Result<(), Fault> {
        for found in list(self.bytes, range)? {
            let body = found.body.clone();
            match CodingBox::of(found.kind) {
                CodingBox::Fields { from, bytes } => {
                    self.zero(body.start..body.end.min(body.start + from), None);
                    self.zero(body.start + from + bytes..body.end, REST);
                }
                CodingBox::Sets { is_hevc: true } => self.lists(&body)?,
                CodingBox::Sets { is_hevc: false } => self.sets(&body)?,
                CodingBox::Colour => self.colour(&found),
                CodingBox::Channels => self.channels(&body),
                CodingBox::Descriptors => self.descriptors(body.start + 4..body.end, 0, is_picture),
                CodingBox::Parent if depth > 1 => self.coding_boxes(body, is_picture, depth - 1)?,
                CodingBox::Parent | CodingBox::Other => self.free(&found),
            }
        }
        Ok(())
    }

    fn colour(&mut self, found: &Found) {
        let body = self.bytes.get(found.body.clone()).unwrap_or_default();
        let behind = |bytes: usize| found.body.start + bytes..found.body.end;
        match body.split_first_chunk::<4>() {
            Some((b"nclc", _)) => drop(self.zero(behind(10), REST)),
            Some((b"nclx", _)) => drop(self.zero(behind(11), REST)),
            Some((b"prof" | b"rICC", profile)) => match icc::rewrite(profile).ok().filter(|clean| clean.len() == profile.len()) {
                Some(clean) => self.put(&behind(4), &clean, Some("icc.text")),
                None => self.free(found),
            },
            _ => self.free(found),
        }
    }

    fn channels(&mut self, body: &Range<usize>) {
        let count = Fields(self.bytes.get(body.clone()).and_then(|b| b.get(12..)).unwrap_or_default()).long().unwrap_or(0);
        let mut at = body.start + 16;
        for _ in 0..count {
            if at >= body.end {
                break;
            }
            self.zero(at + 4..body.end.min(at + 20), REST);
            at += 20;
        }
        self.zero(at..body.end, REST);
    }

    /// `avcC` (ISO/IEC 14496-15 §5.3.3.1).
    fn sets(&mut self, body: &Range<usize>) -> Result<(), Fault> {
        let mut at = body.start + 5;
        for (mask, kind) in [(31, 7), (255, 8)] {
            let count = self.byte(at, body)? & mask;
            at += 1;
            for _ in 0..count {
                at = self.unit(at, body, false, |first| first & 31 == kind)?;
            }
        }
        // Of some profiles: colours and depth beside bits that are one, and extensions of the sets.
        let more = self.bytes.get(at..body.end).and_then(|rest| rest.first_chunk::<4>()).copied();
        if let Some([0xFC..=0xFF, 0xF8..=0xFF, 0xF8..=0xFF, count]) = more {
            at += 4;
            for _ in 0..count {
                match self.unit(at, body, false, |first| first & 31 == 13) {
                    Ok(next) => at = next,
                    Err(_) => break,
                }
            }
        }
        self.zero(at..body.end, REST);
        Ok(())
    }

    /// `hvcC` (ISO/IEC 14496-15 §8.3.3.1).
    fn lists(&mut self, body: &Range<usize>) -> Result<(), Fault> {
        let arrays = self.byte(body.start + 22, body)?;
        let mut at = body.start + 23;
        for _ in 0..arrays {
            let count = Fields(self.bytes.get(at + 1..body.end).unwrap_or_default()).short()?;
            at += 3;
            for _ in 0..count {
                at = self.unit(at, body, true, |first| matches!(first >> 1 & 63, 32..=34))?;
            }
        }
        self.zero(at..body.end, REST);
        Ok(())
    }

    /// One unit behind its length: a parameter set stays, all else is emptied. Where the next begins.
    fn unit(&mut self, at: usize, body: &Range<usize>, is_hevc: bool, is_set: impl Fn(u8) -> bool) -> Result<usize, Fault> {
        let length = usize::from(Fields(self.bytes.get(at..body.end).unwrap_or_default()).short()?);
        let range = at + 2..at + 2 + length;
        let unit = self.bytes.get(range.clone()).filter(|_| range.end <= body.end).ok_or(CUT)?;
        match unit.first() {
            Some(first) if !is_set(*first) => {
                let clean = if is_message(*first, is_hevc) { without_words(unit, is_hevc) } else { emptied(unit, is_hevc) };
                self.put(&range, &clean, Some("video.sei"));
            }
            _ => {}
        }
        Ok(range.end)
    }

    /// `esds`: descriptors inside `within` (ISO/IEC 14496-1 §7.2.6). What cannot be read becomes zeros.
    fn descriptors(&mut self, range: Range<usize>, within: u8, is_picture: bool) {
        let mut at = range.start;
        for _ in 0..DESCRIPTORS_MAX {
            let Some((kind, body)) = descriptor(self.bytes, &(at..range.end)) else { break };
            match (within, kind) {
                (0, tag::STREAM) => {
                    let fields = self.stream_fields(&body);
                    self.descriptors(fields..body.end, kind, is_picture);
                }
                (tag::STREAM, tag::DECODER) => self.descriptors(body.end.min(body.start + 13)..body.end, kind, is_picture),
                (tag::STREAM, tag::PACKETS) => drop(self.zero(body.start + 1..body.end, REST)),
                (tag::DECODER, tag::CONFIGURATION) if is_picture => self.user_data(&body),
                (tag::DECODER, tag::CONFIGURATION) => {
                    self.zero(body.start + SOUND_CONFIGURATION_BYTES..body.end, REST);
                }
                _ => drop(self.zero(body.clone(), REST)),
            }
            at = body.end;
        }
        self.zero(at..range.end, REST);
    }

    /// Where the fields of a stream end. An address where it might be found goes.
    fn stream_fields(&mut self, body: &Range<usize>) -> usize {
        let flags = self.bytes.get(body.start + 2).copied().unwrap_or(0);
        let mut at = body.start + 3 + if flags & 0x80 == 0 { 0 } else { 2 };
        if flags & 0x40 != 0 {
            let length = self.bytes.get(at).copied().map_or(0, usize::from);
            self.zero(at + 1..body.end.min(at + 1 + length), REST);
            at += 1 + length;
        }
        (at + if flags & 0x20 == 0 { 0 } else { 2 }).min(body.end)
    }

    /// Words of the encoder among the headers of MPEG-4 Visual (ISO/IEC 14496-2 §6.2.2.2).
    fn user_data(&mut self, body: &Range<usize>) {
        let Some(headers) = self.bytes.get(body.clone()) else { return };
        let mut clean = headers.to_vec();
        let mut is_words = false;
        let mut at = 0;
        while at < headers.len() {
            if let Some([0, 0, 1, kind]) = headers.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
                is_words = *kind == 0xB2;
                at += 4;
                continue;
            }
            if let Some(byte) = clean.get_mut(at).filter(|_| is_words) {
                *byte = 0xFF;
            }
            at += 1;
        }
        self.put(body, &clean, Some("video.sei"));
    }

    fn byte(&self, at: usize, body: &Range<usize>) -> Result<u8, Fault> {
        self.bytes.get(at).copied().filter(|_| at < body.end).ok_or(CUT)
    }

    /// Bytes of the same length; `word` where they are others.
    fn put(&mut self, range: &Range<usize>, clean: &[u8], word: Option<&'static str>) {
        let Some(place) = self.bytes.get_mut(range.clone()).filter(|place| place.len() == clean.len()) else { return };
        let is_other = place != clean;
        place.copy_from_slice(clean);
        if let Some(word) = word.filter(|_| is_other) {
            self.findings.remove(word);
        }
    }
}

/// Tag and body of the descriptor at the start of `range`; its length is in up to four bytes.
fn descriptor(bytes: &[u8], range: &Range<usize>) -> Option<(u8, Range<usize>)> {
    let kind = *bytes.get(range.start).filter(|_| range.start < range.end)?;
    let (mut at, mut length) = (range.start + 1, 0usize);
    for _ in 0..4 {
        let byte = *bytes.get(at)?;
        at += 1;
        length = length << 7 | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            let end = at.checked_add(length).filter(|end| *end <= range.end)?;
            return Some((kind, at..end));
        }
    }
    None
}
