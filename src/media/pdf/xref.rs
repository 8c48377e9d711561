//! Cross-references (ISO 32000-1 §7.5.4 to §7.5.8): tables, streams, both at once, one revision
//! upon another. Where they are broken, as mail gateways and old tools break them, the file is
//! looked through for its objects, as every viewer does.

use std::collections::BTreeSet;

use memchr::memmem;

use super::lexer::{Dict, Lexer, Object, Token, is_space};
use super::{Document, Loaded, OBJECTS_MAX, PdfError, Place, Result};
use crate::media::Fault;

/// Without its end, nobody can tell how many pages are missing: what is cut short is not guessed at.
const CUT: Fault = Fault("has no end, as if it was cut short");
/// Revisions of one file, and parts of one revision.
const SECTIONS_MAX: usize = 512;
/// Where the first object says that a file is linearized.
const LINEARIZED_WITHIN_BYTES: usize = 1024;
/// How far before the end `startxref` may stand.
const TAIL_BYTES: usize = 2048;
/// A cross-reference stream: 200,000 objects of some seven bytes.
const STREAM_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) fn read(document: &mut Document<'_>) -> Result<()> {
    match follow_chain(document) {
        Ok(()) if has_root(document)? => Ok(()),
        Ok(()) | Err(PdfError::Fault(_)) if document.has_end => rebuild(document),
        Ok(()) | Err(PdfError::Fault(_)) => Err(CUT.into()),
        Err(error) => Err(error),
    }
}

/// As [`read`], where the cross-references are not to be trusted.
pub(super) fn find(document: &mut Document<'_>) -> Result<()> {
    start(document)?;
    if document.has_end { rebuild(document) } else { Err(CUT.into()) }
}

/// The catalog can be read and names a tree of pages.
fn has_root(document: &mut Document<'_>) -> Result<bool> {
    if document.trailer.contains_key(b"Encrypt".as_slice()) {
        return Ok(true);
    }
    let root = document.trailer.get(b"Root".as_slice()).cloned().unwrap_or(Object::Null);
    let pages = match document.follow(&root) {
        Ok(root) => root.value.dict().and_then(|d| d.get(b"Pages".as_slice()).cloned()).unwrap_or(Object::Null),
        Err(PdfError::Fault(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    match document.follow(&pages) {
        Ok(pages) => Ok(pages.value.dict().is_some()),
        Err(PdfError::Fault(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn follow_chain(document: &mut Document<'_>) -> Result<()> {
    let mut next = Some(start(document)?);
    let mut seen = BTreeSet::new();
    let mut revisions = 0usize;
    while let Some(at) = next {
        if seen.len() >= SECTIONS_MAX {
            return Err(PdfError::TooMuch("more revisions than are read"));
        }
        if !seen.insert(at) {
            return Err(Fault("has cross-references that lead in a ring").into());
        }
        let dict = section(document, at)?;
        if let Some(hybrid) = number(&dict, b"XRefStm").filter(|at| seen.insert(*at)) {
            section(document, hybrid)?;
        }
        next = number(&dict, b"Prev");
        revisions += 1;
        if document.trailer.is_empty() {
            document.trailer = dict;
        }
    }
    // A linearized file is one revision in two parts (annex F.3.4).
    let head = document.window(0, LINEARIZED_WITHIN_BYTES)?;
    let parts = if memmem::find(head, b"/Linearized").is_some() { 2 } else { 1 };
    document.has_history = revisions > parts;
    Ok(())
}

fn number(dict: &Dict, key: &[u8]) -> Option<u64> {
    dict.get(key).and_then(Object::integer).and_then(|n| u64::try_from(n).ok())
}

/// Where the newest section is, by the last `startxref`.
fn start(document: &mut Document<'_>) -> Result<u64> {
    let length = document.length_bytes();
    let at = length.saturating_sub(TAIL_BYTES as u64);
    let bytes = document.window(at, TAIL_BYTES)?.to_vec();
    let found = memmem::rfind(&bytes, b"startxref").ok_or(Fault("does not say where its cross-references are"))?;
    let mut lexer = Lexer::new(bytes.get(found + 9..).unwrap_or_default());
    let Ok(Some(Token::Integer(place))) = lexer.token() else {
        return Err(Fault("does not say where its cross-references are").into());
    };
    let rest = bytes.get(found..).unwrap_or_default();
    if let Some(end) = memmem::find(rest, b"%%EOF") {
        document.end = at + (found + end + 5) as u64;
        // Zero stands at the end of the first part of a linearized file (annex F.3.6).
        document.has_end = place != 0;
    }
    u64::try_from(place).ok().filter(|p| *p < length).ok_or_else(|| Fault("does not say where its cross-references are").into())
}

/// One section, table or stream: its entries, unless newer ones are known, and its trailer.
fn section(document: &mut Document<'_>, at: u64) -> Result<Dict> {
    let (is_table, _) = document.lex(at, |lexer| Ok(matches!(lexer.token()?, Some(Token::Word(word)) if word == b"xref")))?;
    if !is_table {
        return stream(document, at);
    }
    let ((entries, dict), _) = document.lex(at, |lexer| {
        lexer.token()?;
        let mut entries = Vec::new();
        loop {
            match lexer.token()?.ok_or(Fault("has cross-references that do not end"))? {
                Token::Integer(first) => subsection(lexer, first, &mut entries)?,
                Token::Word(word) if word == b"trailer" => {
                    let Object::Dict(dict) = lexer.object(true)? else {
                        return Err(Fault("has no trailer"));
                    };
                    return Ok((entries, dict));
                }
                _ => return Err(Fault("has cross-references that cannot be read")),
            }
        }
    })?;
    for (number, place) in entries {
        enter(document, number, place)?;
    }
    Ok(dict)
}

fn subsection(lexer: &mut Lexer<'_>, first: i64, entries: &mut Vec<(u32, Place)>) -> std::result::Result<(), Fault> {
    const BROKEN: Fault = Fault("has cross-references that cannot be read");
    let Some(Token::Integer(count)) = lexer.token()? else { return Err(BROKEN) };
    let (first, count) = (u32::try_from(first).map_err(|_| BROKEN)?, u32::try_from(count).map_err(|_| BROKEN)?);
    if entries.len() + usize::try_from(count).unwrap_or(usize::MAX) > OBJECTS_MAX {
        return Err(Fault("has cross-references to more objects than are read"));
    }
    let last = first.checked_add(count).ok_or(BROKEN)?;
    for number in first..last {
        let (Some(Token::Integer(at)), Some(Token::Integer(_)), Some(Token::Word(kind))) =
            (lexer.token()?, lexer.token()?, lexer.token()?)
        else {
            return Err(BROKEN);
        };
        let place = match (kind.as_slice(), u64::try_from(at)) {
            (b"n", Ok(at)) if at > 0 => Place::At(at),
            _ => Place::Free,
        };
        entries.push((number, place));
    }
    Ok(())
}

fn enter(document: &mut Document<'_>, number: u32, place: Place) -> Result<()> {
    document.places.entry(number).or_insert(place);
    if document.places.len() > OBJECTS_MAX {
        return Err(PdfError::TooMuch("more objects than are read"));
    }
    Ok(())
}

fn stream(document: &mut Document<'_>, at: u64) -> Result<Dict> {
    const BROKEN: Fault = Fault("has cross-references that cannot be read");
    let (number_of_it, value, behind) = document.object_at(at)?;
    let data = document.data_behind(&value, behind)?.ok_or(BROKEN)?;
    let loaded = Loaded { number: number_of_it, value, data: Some(data) };
    let dict = loaded.value.dict().cloned().unwrap_or_default();
    if dict.get(b"Type".as_slice()).and_then(Object::name) != Some(b"XRef") {
        return Err(BROKEN.into());
    }
    let bytes = document.unpack(&loaded, STREAM_BYTES_MAX)?;
    let widths: Vec<usize> = integers(dict.get(b"W".as_slice())).into_iter().filter_map(|w| usize::try_from(w).ok()).collect();
    let [kind_bytes, first_bytes, second_bytes] = *widths.as_slice() else { return Err(BROKEN.into()) };
    if widths.iter().any(|w| *w > 8) || kind_bytes + first_bytes + second_bytes == 0 {
        return Err(BROKEN.into());
    }
    let size = dict.get(b"Size".as_slice()).and_then(Object::integer).unwrap_or(0);
    let mut index = integers(dict.get(b"Index".as_slice()));
    if index.is_empty() {
        index = vec![0, size];
    }
    let mut rows = bytes.chunks_exact(kind_bytes + first_bytes + second_bytes);
    for pair in index.chunks_exact(2) {
        let (Some(first), Some(count)) = (pair.first(), pair.get(1)) else { break };
        let (first, count) = (u32::try_from(*first).map_err(|_| BROKEN)?, u32::try_from(*count).map_err(|_| BROKEN)?);
        for (number, row) in (first..first.checked_add(count).ok_or(BROKEN)?).zip(&mut rows) {
            let (kind, row) = row.split_at_checked(kind_bytes).unwrap_or_default();
            let (one, two) = row.split_at_checked(first_bytes).unwrap_or_default();
            let value = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
            let place = match if kind_bytes == 0 { 1 } else { value(kind) } {
                1 => Place::At(value(one)),
                2 => match (u32::try_from(value(one)), usize::try_from(value(two))) {
                    (Ok(stream), Ok(position)) => Place::In(stream, position),
                    _ => Place::Free,
                },
                _ => Place::Free,
            };
            enter(document, number, place)?;
        }
    }
    Ok(dict)
}

fn integers(value: Option<&Object>) -> Vec<i64> {
    value.and_then(Object::array).unwrap_or_default().iter().filter_map(Object::integer).collect()
}

/// Looks through the file for `n g obj`; of one number the last is the newest.
fn rebuild(document: &mut Document<'_>) -> Result<()> {
    document.places.clear();
    document.trailer.clear();
    document.object_streams.clear();
    document.has_history = true;
    let mut found = Vec::new();
    let mut trailers = Vec::new();
    scan(document, &mut found, &mut trailers)?;
    for (number, at) in &found {
        document.places.insert(*number, Place::At(*at));
    }
    let mut root = None;
    for (number, at) in found {
        if document.places.get(&number) != Some(&Place::At(at)) {
            continue;
        }
        let Ok((_, Object::Dict(dict), _)) = document.object_at(at) else { continue };
        match dict.get(b"Type".as_slice()).and_then(Object::name) {
            Some(b"Catalog") => root = Some(Object::Reference(number)),
            Some(b"XRef") => trailers.push(dict),
            Some(b"ObjStm") => {
                let Ok(objects) = document.object_stream(number) else { continue };
                for (position, (inner, _)) in objects.index.iter().enumerate() {
                    enter(document, *inner, Place::In(number, position))?;
                }
            }
            _ => {}
        }
    }
    for trailer in trailers {
        for (key, value) in
            trailer.into_iter().filter(|(key, _)| matches!(key.as_slice(), b"Root" | b"Info" | b"ID" | b"Encrypt"))
        {
            document.trailer.insert(key, value);
        }
    }
    if let Some(root) = root {
        document.trailer.entry(b"Root".to_vec()).or_insert(root);
    }
    if has_root(document)? { Ok(()) } else { Err(Fault("has no pages that can be found").into()) }
}

/// Every `n g obj` and every trailer, in order.
fn scan(document: &mut Document<'_>, found: &mut Vec<(u32, u64)>, trailers: &mut Vec<Dict>) -> Result<()> {
    /// What stands before the word: two numbers and their blanks.
    const BEFORE: usize = 32;
    const BLOCK: usize = 64 * 1024;
    let length = document.length_bytes();
    let mut at = 0u64;
    while at < length {
        let bytes = document.window(at, BLOCK + BEFORE)?.to_vec();
        for place in memmem::find_iter(&bytes, b"obj").filter(|p| *p >= BEFORE || at == 0) {
            if let Some((number, start)) = header_before(bytes.get(..place).unwrap_or_default()) {
                found.push((number, at + start as u64));
            }
        }
        let words: Vec<usize> = memmem::find_iter(&bytes, b"trailer").filter(|p| *p < BLOCK).collect();
        for place in words {
            if let Ok((Object::Dict(dict), _)) = document.lex(at + place as u64 + 7, |lexer| lexer.object(true)) {
                trailers.push(dict);
            }
        }
        if found.len() > OBJECTS_MAX || trailers.len() > SECTIONS_MAX {
            return Err(PdfError::TooMuch("more objects than are read"));
        }
        document.pay(BLOCK as u64)?;
        at = at.saturating_add(BLOCK as u64);
    }
    Ok(())
}

/// `12 0 ` at the end of `before`: the number, and where it begins.
fn header_before(before: &[u8]) -> Option<(u32, usize)> {
    let back = |bytes: &[u8], test: fn(u8) -> bool| bytes.iter().rev().take_while(|b| test(**b)).count();
    let digit = |b: u8| b.is_ascii_digit();
    let mut end = before.len();
    let mut starts = [0; 2];
    for start in &mut starts {
        let spaces = back(before.get(..end)?, is_space);
        end -= spaces;
        let digits = back(before.get(..end)?, digit);
        if spaces == 0 || digits == 0 || digits > 10 {
            return None;
        }
        end -= digits;
        *start = end;
    }
    let [_, start] = starts;
    let digits: Vec<u8> = before.get(start..)?.iter().copied().take_while(u8::is_ascii_digit).collect();
    Some((std::str::from_utf8(&digits).ok()?.parse().ok()?, start))
}
