//! What is left behind: words for it, and whether it knows a place.

use super::{Planner, Result};
use crate::media::pdf::PdfError;
use crate::media::pdf::lexer::{Dict, Object};
use crate::media::source::Source;
use crate::scrub::container::{BUFFER_BYTES, Piece, portion};
use crate::scrub::plan::{Action, Plan};

/// Bytes of one stream that goes which are looked through.
const LOOK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Words for the keys of the catalog.
fn word_of(key: &[u8]) -> Option<&'static str> {
    Some(match key {
        b"Type" | b"Pages" | b"OCProperties" | b"AcroForm" | b"Version" => return None,
        b"Metadata" => "xmp",
        b"OpenAction" | b"AA" => "pdf.actions",
        b"AF" | b"Collection" => "pdf.attachments",
        b"PieceInfo" => "pdf.private",
        b"StructTreeRoot" | b"MarkInfo" | b"Lang" => "pdf.structure",
        b"Outlines" | b"Dests" | b"PageLabels" | b"Threads" => "pdf.outlines",
        b"OutputIntents" => "pdf.output-intent",
        b"PageLayout" | b"PageMode" | b"ViewerPreferences" => "pdf.view",
        _ => "pdf.unknown",
    })
}

pub(super) fn sweep(planner: &mut Planner<'_>, source: &dyn Source, catalog: &Dict) -> Result<()> {
    for key in catalog.keys() {
        if let Some(word) = word_of(key).filter(|_| key != b"Names") {
            planner.findings.remove(word);
        }
    }
    see_names(planner, catalog)?;
    let trailer = [(b"Info".as_slice(), "pdf.info"), (b"ID", "pdf.id"), (b"Encrypt", "pdf.encryption")];
    for (_, word) in trailer.iter().filter(|(key, _)| planner.document.trailer.contains_key(*key)) {
        planner.findings.remove(word);
    }
    if planner.document.has_history {
        planner.findings.remove("pdf.history");
    }
    let tail = source.length_bytes().saturating_sub(planner.document.end);
    if tail > 2 {
        planner.findings.remove("pdf.trailer");
    }
    see_unused(planner)?;
    see_whole(planner, source)
}

/// Name trees (§7.7.4): attachments and scripts have one each.
fn see_names(planner: &mut Planner<'_>, catalog: &Dict) -> Result<()> {
    let Some(names) = catalog.get(b"Names".as_slice()) else { return Ok(()) };
    let names = planner.document.follow(names)?.value;
    for key in names.dict().into_iter().flat_map(Dict::keys) {
        planner.findings.remove(match key.as_slice() {
            b"EmbeddedFiles" => "pdf.attachments",
            b"JavaScript" => "pdf.javascript",
            _ => "pdf.outlines",
        });
    }
    Ok(())
}

/// Objects that no page needs.
fn see_unused(planner: &mut Planner<'_>) -> Result<()> {
    let told: Vec<u32> = [b"Info".as_slice(), b"Encrypt"]
        .into_iter()
        .filter_map(|key| if let Some(Object::Reference(n)) = planner.document.trailer.get(key) { Some(*n) } else { None })
        .collect();
    for number in planner.document.numbers() {
        if planner.used.contains(&number) {
            continue;
        }
        // What cannot be read is not looked at; it goes all the same.
        let loaded = match planner.document.load(number) {
            Ok(loaded) => loaded,
            Err(PdfError::Read(error)) => return Err(error.into()),
            Err(_) => continue,
        };
        let kind =
            loaded.value.dict().and_then(|d| d.get(b"Type".as_slice())).and_then(Object::name).unwrap_or_default().to_vec();
        let is_script = loaded.value.dict().is_some_and(|d| d.contains_key(b"JS".as_slice()));
        match kind.as_slice() {
            b"Metadata" => planner.findings.remove("xmp"),
            b"EmbeddedFile" | b"Filespec" => planner.findings.remove("pdf.attachments"),
            _ if is_script => planner.findings.remove("pdf.javascript"),
            b"XRef" | b"ObjStm" => continue,
            _ if loaded.value == Object::Null || told.contains(&number) => continue,
            _ => planner.findings.remove("pdf.unused"),
        }
        if loaded.data.is_none() || planner.findings.finder.has_found() {
            continue;
        }
        let bytes = match planner.document.unpack(&loaded, LOOK_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(PdfError::Read(error)) => return Err(error.into()),
            Err(_) => continue,
        };
        planner.findings.finder.push(&bytes);
        planner.findings.finder.end();
    }
    Ok(())
}

/// The file as it lies there: what is not packed shows, older revisions and tails among it.
fn see_whole(planner: &mut Planner<'_>, source: &dyn Source) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < source.length_bytes() && !planner.findings.finder.has_found() {
        let portion = portion(&mut buffer, source.length_bytes() - at);
        source.read_at(at, portion)?;
        planner.findings.finder.push(portion);
        at += portion.len() as u64;
    }
    planner.findings.finder.end();
    Ok(())
}

/// The source, piece by piece; what is kept keeps its bytes, all other is written anew or goes.
pub(super) fn plan(length: u64, pieces: &[Piece]) -> Plan {
    let mut kept: Vec<_> = pieces
        .iter()
        .filter_map(|piece| if let Piece::Kept(range) = piece { Some(range.clone()) } else { None })
        .filter(|range| range.start < range.end)
        .collect();
    kept.sort_by_key(|range| (range.start, range.end));
    let new_bytes = pieces.iter().map(|p| if let Piece::New(bytes) = p { bytes.len() as u64 } else { 0 }).sum();
    let mut plan = Plan::default();
    let mut at = 0;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    for range in kept {
        if range.start > at {
            plan.add(size(range.start - at), Action::Drop, "structure");
        }
        let start = range.start.max(at);
        if range.end > start {
            plan.add(size(range.end - start), Action::Keep, "data");
        }
        at = at.max(range.end);
    }
    if length > at {
        plan.add(size(length - at), Action::Drop, "structure");
    }
    plan.add(0, Action::Rewrite { into_bytes: new_bytes }, "pages");
    plan
}
