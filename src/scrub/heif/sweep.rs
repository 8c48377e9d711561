//! Goes once over the whole source: what becomes of each byte, in words, and whether what goes
//! knows a place.

use std::ops::Range;

use super::{Kept, KeptData, Top, write::Sizes};
use crate::media::heif::{Data, Index, Item};
use crate::media::isobmff::BoxAt;
use crate::media::source::Source;
use crate::scrub::container::{BUFFER_BYTES, PlanError, portion};
use crate::scrub::findings::Findings;
use crate::scrub::plan::{Action, Plan};

/// What stands in a range.
type Mark = (Range<u64>, &'static str);

struct Sweep<'a> {
    source: &'a dyn Source,
    findings: &'a mut Findings,
    plan: Plan,
    buffer: Vec<u8>,
}

impl Sweep<'_> {
    fn add(&mut self, range: &Range<u64>, action: Action, what: &'static str) {
        let length = range.end.saturating_sub(range.start);
        self.plan.add(usize::try_from(length).unwrap_or(usize::MAX), action, what);
    }

    fn discard(&mut self, range: &Range<u64>, what: &'static str) -> Result<(), PlanError> {
        if range.start < range.end {
            self.add(range, Action::Drop, what);
            self.findings.remove(what);
            self.look(range)?;
        }
        Ok(())
    }

    /// Does what goes know a place?
    fn look(&mut self, range: &Range<u64>) -> Result<(), PlanError> {
        let Self { source, findings, buffer, .. } = self;
        let mut at = range.start;
        while at < range.end && !findings.finder.has_found() {
            let bytes = portion(buffer, range.end - at);
            source.read_at(at, bytes)?;
            findings.finder.push(bytes);
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        findings.finder.end();
        Ok(())
    }

    /// The body of one `mdat`: pictures, and what goes between them.
    fn media(&mut self, body: &Range<u64>, pictures: &[Range<u64>], rest: &[Mark]) -> Result<(), PlanError> {
        let first = pictures.partition_point(|range| range.start < body.start);
        let inside = pictures.get(first..).unwrap_or_default().iter().take_while(|range| range.start < body.end);
        let mut at = body.start;
        for picture in inside {
            let picture = picture.start.max(at)..picture.end.min(body.end);
            if !picture.is_empty() {
                self.between(&(at..picture.start), rest)?;
                self.add(&picture, Action::Keep, "picture");
                at = picture.end;
            }
        }
        self.between(&(at..body.end), rest)
    }

    /// What other items have in a range, and what nobody has.
    fn between(&mut self, range: &Range<u64>, rest: &[Mark]) -> Result<(), PlanError> {
        let mut at = range.start;
        while at < range.end {
            let next = rest.partition_point(|(mark, _)| mark.start <= at);
            let until = rest.get(next).map_or(range.end, |(mark, _)| mark.start.min(range.end));
            let covering = next.checked_sub(1).and_then(|n| rest.get(n)).filter(|(mark, _)| mark.end > at);
            let (to, what) = covering.map_or((until, "heif.unreferenced"), |(mark, what)| (mark.end.min(until), *what));
            self.discard(&(at..to), what)?;
            at = to;
        }
        Ok(())
    }
}

pub(super) fn sweep(
    source: &dyn Source,
    top: &Top,
    index: &Index,
    (ids, kept): (&[u32], &[Kept]),
    sizes: Sizes,
    findings: &mut Findings,
) -> Result<Plan, PlanError> {
    for kind in &index.others {
        if let Some(word) = word_of_child(*kind) {
            findings.remove(word);
        }
    }
    let mut pictures: Vec<Range<u64>> = Vec::new();
    for item in kept {
        if let KeptData::Coded(ranges) = &item.data {
            pictures.extend_from_slice(ranges);
        }
    }
    pictures.sort_by_key(|range| range.start);
    let rest = rest(index, ids);
    let mut sweep = Sweep { source, findings, plan: Plan::default(), buffer: vec![0; BUFFER_BYTES] };
    let mut media_header = 8;
    for BoxAt { kind, at, body, is_cut } in &top.boxes {
        let whole = *at..body.end;
        match kind {
            b"ftyp" => sweep.add(&whole, Action::Rewrite { into_bytes: sizes.brands }, "ftyp"),
            b"meta" => {
                sweep.add(&whole, Action::Rewrite { into_bytes: sizes.index }, "meta");
                sweep.look(&whole)?;
            }
            b"mdat" => {
                let header = *at..body.start;
                sweep.add(&header, Action::Rewrite { into_bytes: std::mem::take(&mut media_header) }, "mdat");
                sweep.media(body, &pictures, &rest)?;
            }
            // Four letters in a trailer look like a box, but a size of its own it has not.
            _ if *is_cut => sweep.discard(&whole, "heif.trailer")?,
            _ => sweep.discard(&whole, word_of_box(*kind))?,
        }
    }
    sweep.discard(&(top.end..source.length_bytes()), "heif.trailer")?;
    Ok(sweep.plan)
}

/// Where each item stands, in order. What of a kept item is no picture is a message to players.
fn rest(index: &Index, ids: &[u32]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (id, item) in &index.items {
        if let Data::At(ranges) = &item.data {
            let word = if ids.binary_search(id).is_ok() { "heif.sei" } else { word_of_item(index, *id, item) };
            marks.extend(ranges.iter().cloned().map(|range| (range, word)));
        }
    }
    marks.sort_by_key(|(range, _)| range.start);
    marks
}

fn word_of_item(index: &Index, id: u32, item: &Item) -> &'static str {
    let refers = |kind: [u8; 4]| index.references.contains_key(&(id, kind));
    match &item.kind {
        b"Exif" => "exif",
        b"mime" if item.is_xmp => "xmp",
        b"mime" => "heif.mime",
        b"uri " => "heif.uri",
        _ if refers(*b"thmb") => "heif.thumbnail",
        _ if refers(*b"auxl") => "heif.auxiliary",
        _ => "heif.item",
    }
}

fn word_of_box(kind: [u8; 4]) -> &'static str {
    match &kind {
        b"free" | b"skip" | b"wide" => "heif.free",
        b"uuid" => "heif.uuid",
        b"mpvd" => "heif.mpvd",
        b"sefd" => "heif.sefd",
        b"moov" => "heif.moov",
        b"udta" => "heif.udta",
        _ => "heif.unknown",
    }
}

/// Boxes of an index that are none; `None` for those that say nothing of their own.
fn word_of_child(kind: [u8; 4]) -> Option<&'static str> {
    match &kind {
        b"dinf" | b"grpl" => None,
        other => Some(word_of_box(*other)),
    }
}
