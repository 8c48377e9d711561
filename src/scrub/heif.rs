//! HEIF: the picture that is shown and what it is made of stay, in a file written anew.
//!
//! `meta` is not edited. A new one lists the items that are kept, numbered from one, with the
//! properties they use; behind it stands one `mdat` with their coded bytes and nothing between
//! them. What is not asked for cannot come along: thumbnails, depth and gain maps, second
//! pictures, Exif, XMP, sequences, motion videos, user data, padding, trailers.
//!
//! `irot`, `imir` and `clap` stay and alone turn the picture; the Orientation of Exif is about
//! nothing in HEIF (ISO/IEC 23008-12 annex A.2.1), and goes with its item. Where it asks for another
//! turn than the file has, the record says so: some cameras write it alone, some editors leave it
//! behind, and the same bytes mean both.
//!
//! What can still slip through: bytes that a parameter set or a slice carries behind its own
//! syntax (extension data). No camera is known to write any.

mod picture;
mod property;
mod sweep;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::container::{Decision, PlanError};
use super::findings::Findings;
use super::policy::{HEIF_ALPHA, HEIF_BRANDS, HEIF_DEPTH_MAX, Limits, Purpose};
use super::{ScrubError, facts_of};
use crate::capture::media::{Coding, Orientation, PictureFormat};
use crate::media::Fault;
use crate::media::exif::Block;
use crate::media::heif::{Data, Index, Item};
use crate::media::isobmff::{BoxAt, Fields, boxes, bytes_of};
use crate::media::source::Source;

const KIND: &str = "HEIF file";
/// `ftyp` names some ten brands.
const BRANDS_BYTES_MAX: usize = 4096;
/// Largest Exif block that is read. A maker note and a thumbnail are some 100 KiB.
const EXIF_BYTES_MAX: u64 = 1024 * 1024;
/// Exif items that are read; a burst has some twenty. What more there are goes unread.
const EXIF_ITEMS_MAX: usize = 64;

/// One item of the output.
struct Kept {
    kind: [u8; 4],
    is_hidden: bool,
    /// Essential, and position in the list of the output.
    properties: Vec<(bool, usize)>,
    /// To items of the output.
    references: Vec<([u8; 4], Vec<u16>)>,
    data: KeptData,
}

enum KeptData {
    /// How a derived picture is put together.
    Made(Vec<u8>),
    Coded(Vec<Range<u64>>),
}

/// The file as its top level tells.
struct Top {
    boxes: Vec<BoxAt>,
    /// Where the boxes end and a trailer begins.
    end: u64,
    brands: Vec<u8>,
    meta: BoxAt,
}

pub(super) fn plan(source: &dyn Source, purpose: Purpose, limits: &Limits) -> Result<Decision, PlanError> {
    let top = read_top(source, limits)?;
    let index = Index::read(source, &top.meta, limits.segments_max).map_err(|e| PlanError::of(e, KIND))?;
    let format = format_of(&index, purpose, limits)?;
    let ids = select(&index)?;
    let numbers: BTreeMap<u32, u16> = ids.iter().copied().zip(1..).collect();
    let mut findings = Findings::default();
    let properties = property::Chosen::of(&index, &ids, purpose, &mut findings)?;
    let mut units_left = limits.segments_max;
    let mut kept = Vec::with_capacity(ids.len());
    for id in &ids {
        let Some(item) = index.items.get(id) else { continue };
        kept.push(Kept {
            kind: item.kind,
            is_hidden: item.is_hidden && *id != index.primary,
            properties: properties.of_item(&index, *id),
            references: references(&index, *id, &numbers),
            data: picture::read(source, &index, *id, item, &top.boxes, &mut units_left)?,
        });
    }
    check_bytes(&kept, source.length_bytes())?;
    let primary = numbers.get(&index.primary).copied().unwrap_or(1);
    let written = write::write(&top.brands, primary, &kept, &properties.boxes)?;
    let exif = see_metadata(source, &index, &mut findings)?;
    let plan = sweep::sweep(source, &top, &index, (&ids, &kept), written.sizes, &mut findings)?;
    let exif = exif.unwrap_or_default();
    let wanted = exif.orientation;
    let profile = findings.profile.take().filter(|_| purpose == Purpose::Object);
    let mut facts = facts_of(format, Orientation::UPRIGHT, exif, profile);
    let turn = index.turn_of(index.primary);
    facts.details.turn = Some(turn);
    // Upright in Exif is how a writer says that nothing is left to do.
    facts.details.is_turn_disputed = wanted.is_some_and(|wanted| !wanted.is_upright() && wanted != turn);
    Ok(Decision {
        location_found: findings.finder.has_found(),
        removed: findings.removed.into_iter().map(str::to_owned).collect(),
        facts,
        plan,
        pieces: written.pieces,
    })
}

fn damaged(fault: Fault) -> ScrubError {
    ScrubError::damaged(KIND, fault)
}

fn unsupported(what: &str) -> ScrubError {
    ScrubError::unsupported(what)
}

fn read_top(source: &dyn Source, limits: &Limits) -> Result<Top, PlanError> {
    let (boxes, end) = boxes(source, 0..source.length_bytes(), limits.segments_max).map_err(|e| PlanError::of(e, KIND))?;
    let of_kind = |kind: &[u8; 4]| boxes.iter().filter(|b| b.kind == *kind).cloned().collect::<Vec<_>>();
    let (Some(first), [_]) = (boxes.first().filter(|b| b.kind == *b"ftyp"), of_kind(b"ftyp").as_slice()) else {
        return Err(damaged(Fault("does not begin with its type, or has two of them")).into());
    };
    let [meta] = of_kind(b"meta").try_into().map_err(|_| damaged(Fault("has no index of its pictures, or several")))?;
    let brands = bytes_of(source, &first.body, BRANDS_BYTES_MAX).map_err(|e| PlanError::of(e, KIND))?;
    Ok(Top { brands: brands_of(&brands), end, meta, boxes })
}

/// Major and compatible brands of the output, in the order of the source.
fn brands_of(body: &[u8]) -> Vec<u8> {
    let (words, _) = body.as_chunks::<4>();
    let is_known = |brand: &&[u8; 4]| HEIF_BRANDS.contains(brand);
    let major = words.first().filter(is_known).unwrap_or(b"mif1");
    let mut brands: Vec<[u8; 4]> = Vec::new();
    for brand in words.iter().skip(2).filter(is_known).chain([major, b"mif1"]) {
        if !brands.contains(brand) {
            brands.push(*brand);
        }
    }
    [&major[..], &[0; 4], brands.as_flattened()].concat()
}

fn format_of(index: &Index, purpose: Purpose, limits: &Limits) -> Result<PictureFormat, ScrubError> {
    let size = index.properties_of(index.primary).find(|(_, p)| p.kind == *b"ispe").map(|(_, p)| p.body.as_slice());
    let mut fields = Fields(size.ok_or_else(|| damaged(Fault("does not say how large its picture is")))?);
    let read = fields.version().and_then(|_| Ok((fields.long()?, fields.long()?)));
    let (width, height) = read.map_err(damaged)?;
    if width == 0 || height == 0 {
        return Err(damaged(Fault("has a picture without pixels")));
    }
    limits.check_size(width, height, purpose == Purpose::Object)?;
    Ok(PictureFormat { width, height, coding: Coding::Heic })
}

/// The picture that is shown, its transparency, and all that these are made of.
fn select(index: &Index) -> Result<Vec<u32>, ScrubError> {
    let is_alpha = |id: u32| index.properties_of(id).any(|(_, p)| p.kind == *b"auxC" && is_alpha_property(&p.body));
    let alphas =
        index.references.iter().filter(|((from, kind), to)| kind == b"auxl" && to.contains(&index.primary) && is_alpha(*from));
    let mut level: BTreeSet<u32> = alphas.map(|((from, _), _)| *from).chain([index.primary]).collect();
    let mut kept = BTreeSet::new();
    for _ in 0..HEIF_DEPTH_MAX {
        for id in &level {
            let item = index.items.get(id).ok_or_else(|| damaged(Fault("shows a picture that it does not list")))?;
            check_kind(item)?;
        }
        let next = level.iter().flat_map(|id| index.references_of(*id, *b"dimg")).collect();
        kept.append(&mut level);
        level = next;
        if level.is_empty() {
            return Ok(kept.into_iter().collect());
        }
    }
    // Also where pictures are made of each other in a ring.
    Err(damaged(Fault("has a picture that is made of others too many times over")))
}

fn check_kind(item: &Item) -> Result<(), ScrubError> {
    if item.is_protected {
        return Err(unsupported("HEIF with an encrypted picture"));
    }
    match &item.kind {
        b"hvc1" | b"grid" | b"iovl" | b"iden" => Ok(()),
        b"av01" => Err(unsupported("HEIF with a picture coded as AV1")),
        b"jpeg" => Err(unsupported("HEIF with a picture coded as JPEG")),
        _ => Err(unsupported("HEIF with a picture coded in a way that is not known here")),
    }
}

fn is_alpha_property(body: &[u8]) -> bool {
    let urn = body.get(4..).and_then(|rest| rest.split(|b| *b == 0).next());
    urn.is_some_and(|urn| HEIF_ALPHA.contains(&urn))
}

/// The references of one item that lead to items of the output.
fn references(index: &Index, from: u32, numbers: &BTreeMap<u32, u16>) -> Vec<([u8; 4], Vec<u16>)> {
    [*b"dimg", *b"auxl", *b"prem"]
        .into_iter()
        .map(|kind| (kind, index.references_of(from, kind).filter_map(|to| numbers.get(&to).copied()).collect::<Vec<_>>()))
        .filter(|(_, to)| !to.is_empty())
        .collect()
}

/// Items may not share their bytes: a small file of many items would become a large one.
fn check_bytes(kept: &[Kept], length: u64) -> Result<(), ScrubError> {
    let bytes = kept.iter().map(|k| match &k.data {
        KeptData::Made(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        KeptData::Coded(ranges) => ranges.iter().map(|r| r.end - r.start).fold(0, u64::saturating_add),
    });
    if bytes.fold(0, u64::saturating_add) > length {
        return Err(damaged(Fault("has pictures that share their bytes")));
    }
    Ok(())
}

/// What the items that go say: words for the report, and the block that describes the picture.
fn see_metadata(source: &dyn Source, index: &Index, findings: &mut Findings) -> Result<Option<Block>, PlanError> {
    let mut best: Option<(bool, Block)> = None;
    for (id, item) in index.items.iter().filter(|(_, item)| item.kind == *b"Exif").take(EXIF_ITEMS_MAX) {
        findings.remove("exif");
        let bytes = match &item.data {
            Data::At(ranges) => picture::joined(source, ranges, EXIF_BYTES_MAX)?,
            Data::Lost(_) => continue,
        };
        let Some(block) = findings.see_exif(tiff_of(&bytes), "exif") else { continue };
        let is_of_primary = index.references_of(*id, *b"cdsc").any(|to| to == index.primary);
        if best.as_ref().is_none_or(|(of_primary, _)| is_of_primary && !of_primary) {
            best = Some((is_of_primary, block));
        }
    }
    if index.items.values().any(|item| item.has_name) || index.handler.get(24..).is_some_and(|name| name.iter().any(|b| *b != 0))
    {
        findings.remove("heif.name");
    }
    Ok(best.map(|(_, block)| block))
}

/// The TIFF block of an Exif item: behind a number that says how far behind it begins
/// (ISO/IEC 23008-12 annex A.2.1); some writers count wrong.
fn tiff_of(bytes: &[u8]) -> &[u8] {
    let told = Fields(bytes).long().ok().and_then(|n| usize::try_from(n).ok()).and_then(|n| bytes.get(n.checked_add(4)?..));
    let is_tiff = |block: &&[u8]| block.starts_with(b"II*\0") || block.starts_with(b"MM\0*");
    let near = bytes.get(..64).unwrap_or(bytes).windows(4).position(|w| is_tiff(&w));
    told.filter(is_tiff).or_else(|| bytes.get(near?..)).unwrap_or(bytes)
}
