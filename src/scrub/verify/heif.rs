//! Reads a HEIF file that is about to leave. It knows one order of boxes and one form of each:
//! what the writer writes. Every byte is accounted for: a field of a box, or a unit of a picture.

use std::collections::BTreeSet;

use super::VerifyError;
use crate::media::source::Source;
use crate::scrub::policy::{HEIF_ALPHA, HEIF_BRANDS, HEIF_HANDLER, HeifProperty, PROFILE_BYTES_MAX, Purpose, is_picture_unit};

/// Largest index: that of a grid of 65,534 tiles with twenty properties each.
const INDEX_BYTES_MAX: usize = 8 * 1024 * 1024;

type Checked<T> = Result<T, VerifyError>;

const SHORT: VerifyError = VerifyError("a HEIF file that ends too early");
const ORDER: VerifyError = VerifyError("a HEIF file with a box in a place that is not its own");
const PLACE: VerifyError = VerifyError("a HEIF file with bytes that no picture has");
const PROPERTY: VerifyError = VerifyError("a HEIF file with a property that may not stay");
const MESSAGE: VerifyError = VerifyError("a HEIF file with a message in the record of its coding");

/// What is left of a run of bytes.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn bytes(&mut self, length: usize) -> Checked<&'b [u8]> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Checked<u8> {
        self.bytes(1).map(|b| b.iter().fold(0, |_, v| *v))
    }

    fn u16(&mut self) -> Checked<u16> {
        Ok(u16::from(self.u8()?) << 8 | u16::from(self.u8()?))
    }

    fn u32(&mut self) -> Checked<u32> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn expect(&mut self, bytes: &[u8]) -> Checked<()> {
        if self.bytes(bytes.len())? == bytes { Ok(()) } else { Err(ORDER) }
    }

    fn one(&mut self) -> Checked<([u8; 4], Rest<'b>)> {
        let size = usize::try_from(self.u32()?).map_err(|_| SHORT)?;
        let kind = *self.bytes(4)?.first_chunk().ok_or(SHORT)?;
        Ok((kind, Rest(self.bytes(size.checked_sub(8).ok_or(SHORT)?)?)))
    }

    fn named(&mut self, wanted: [u8; 4]) -> Checked<Rest<'b>> {
        let (kind, body) = self.one()?;
        if kind == wanted { Ok(body) } else { Err(ORDER) }
    }

    fn starts_with_box(&self, kind: [u8; 4]) -> bool {
        self.0.get(4..8) == Some(kind.as_slice())
    }

    fn end(&self) -> Checked<()> {
        if self.0.is_empty() { Ok(()) } else { Err(VerifyError("a HEIF file with bytes behind the fields of a box")) }
    }
}

struct Entry {
    kind: [u8; 4],
    inputs: usize,
    /// Bytes of the length of a unit.
    prefix: u8,
    length: u64,
}

/// # Errors
/// What does not belong there, or bytes that cannot be read.
pub(super) fn check(source: &dyn Source, purpose: Purpose) -> Checked<()> {
    let (brands, at) = boxed(source, 0, *b"ftyp")?;
    check_brands(&brands)?;
    let (index, at) = boxed(source, at, *b"meta")?;
    let start = media_start(source, at)?;
    let mut meta = Rest(&index);
    meta.expect(&[0; 4])?;
    meta.expect(HEIF_HANDLER)?;
    let mut primary = meta.named(*b"pitm")?;
    primary.expect(&[0; 4])?;
    let shown = primary.u16()?;
    primary.end()?;
    let mut entries = items(meta.named(*b"iinf")?)?;
    if !(1..=entries.len()).contains(&usize::from(shown)) {
        return Err(ORDER);
    }
    if meta.starts_with_box(*b"iref") {
        references(meta.named(*b"iref")?, &mut entries)?;
    }
    properties(meta.named(*b"iprp")?, &mut entries, purpose)?;
    let made = if meta.starts_with_box(*b"idat") { meta.named(*b"idat")?.0 } else { &[] };
    places(meta.named(*b"iloc")?, &mut entries, made, start, source)?;
    meta.end()
}

/// The body of the box at `at`, and where the next one begins.
fn boxed(source: &dyn Source, at: u64, kind: [u8; 4]) -> Checked<(Vec<u8>, u64)> {
    let (size, found) = head(source, at)?;
    let length = usize::try_from(size).ok().and_then(|n| n.checked_sub(8)).filter(|n| *n <= INDEX_BYTES_MAX);
    let end = at.checked_add(u64::from(size)).filter(|end| *end <= source.length_bytes());
    let (Some(length), Some(end), true) = (length, end, found == kind) else { return Err(ORDER) };
    let mut body = vec![0; length];
    source.read_at(at + 8, &mut body).map_err(|_| SHORT)?;
    Ok((body, end))
}

fn head(source: &dyn Source, at: u64) -> Checked<(u32, [u8; 4])> {
    let mut head = [0; 8];
    source.read_at(at, &mut head).map_err(|_| SHORT)?;
    let [a, b, c, d, kind @ ..] = head;
    Ok((u32::from_be_bytes([a, b, c, d]), kind))
}

/// Where the coded bytes begin; `mdat` is the last box and ends with the file.
fn media_start(source: &dyn Source, at: u64) -> Checked<u64> {
    let (size, kind) = head(source, at)?;
    if kind != *b"mdat" || at.checked_add(u64::from(size)) != Some(source.length_bytes()) || size < 8 {
        return Err(PLACE);
    }
    Ok(at + 8)
}

fn check_brands(body: &[u8]) -> Checked<()> {
    let (words, rest) = body.as_chunks::<4>();
    let are_known = words.iter().enumerate().all(|(n, word)| if n == 1 { *word == [0; 4] } else { HEIF_BRANDS.contains(&word) });
    if are_known && rest.is_empty() && words.len() > 2 {
        Ok(())
    } else {
        Err(VerifyError("a HEIF file with a brand that may not stay"))
    }
}

fn items(mut list: Rest<'_>) -> Checked<Vec<Entry>> {
    list.expect(&[0; 4])?;
    let mut entries = Vec::new();
    for number in 1..=list.u16()? {
        let mut item = list.named(*b"infe")?;
        item.expect(&[2, 0, 0])?;
        let hidden = item.u8()?;
        item.expect(&number.to_be_bytes())?;
        item.expect(&[0; 2])?;
        let kind = *item.bytes(4)?.first_chunk().ok_or(SHORT)?;
        item.expect(&[0])?;
        item.end()?;
        if hidden > 1 || ![*b"hvc1", *b"grid", *b"iovl", *b"iden"].contains(&kind) {
            return Err(VerifyError("a HEIF file with an item that is no picture"));
        }
        entries.push(Entry { kind, inputs: 0, prefix: 0, length: 0 });
    }
    list.end()?;
    Ok(entries)
}

fn references(mut list: Rest<'_>, entries: &mut [Entry]) -> Checked<()> {
    list.expect(&[0; 4])?;
    while !list.0.is_empty() {
        let (kind, mut one) = list.one()?;
        let (from, count) = (one.u16()?, one.u16()?);
        for _ in 0..count {
            let to = usize::from(one.u16()?);
            if !(1..=entries.len()).contains(&to) {
                return Err(ORDER);
            }
        }
        one.end()?;
        let entry = usize::from(from).checked_sub(1).and_then(|n| entries.get_mut(n)).ok_or(ORDER)?;
        match &kind {
            b"dimg" if entry.inputs == 0 => entry.inputs = usize::from(count),
            b"auxl" | b"prem" => {}
            _ => return Err(VerifyError("a HEIF file with a reference that may not stay")),
        }
    }
    Ok(())
}

fn properties(mut both: Rest<'_>, entries: &mut [Entry], purpose: Purpose) -> Checked<()> {
    let mut list = both.named(*b"ipco")?;
    // For each property, bytes of the length of a unit where it says so.
    let mut prefixes: Vec<Option<u8>> = Vec::new();
    while !list.0.is_empty() {
        let (kind, body) = list.one()?;
        prefixes.push(property(kind, body, purpose)?);
    }
    let mut map = both.named(*b"ipma")?;
    both.end()?;
    map.expect(&[0; 3])?;
    let is_wide = match map.u8()? {
        0 => false,
        1 => true,
        _ => return Err(ORDER),
    };
    if usize::try_from(map.u32()?).ok() != Some(entries.len()) {
        return Err(ORDER);
    }
    let mut used = BTreeSet::new();
    for (number, entry) in (1u16..).zip(entries.iter_mut()) {
        map.expect(&number.to_be_bytes())?;
        for _ in 0..map.u8()? {
            let raw = if is_wide { map.u16()? & 0x7FFF } else { u16::from(map.u8()? & 0x7F) };
            let position = usize::from(raw).checked_sub(1).ok_or(ORDER)?;
            if let Some(prefix) = prefixes.get(position).ok_or(ORDER)? {
                entry.prefix = *prefix;
            }
            used.insert(position);
        }
    }
    map.end()?;
    if used.len() == prefixes.len() { Ok(()) } else { Err(VerifyError("a HEIF file with a property that no picture has")) }
}

fn property(kind: [u8; 4], mut body: Rest<'_>, purpose: Purpose) -> Checked<Option<u8>> {
    let is_right = match HeifProperty::of(kind) {
        HeifProperty::Decoder => return decoder(body).map(Some),
        HeifProperty::Profile => match body.bytes(4)? {
            b"nclx" => body.0.len() == 7 && matches!(body.0.last(), Some(0 | 0x80)),
            b"prof" | b"rICC" => {
                super::check_profile(body.0)?;
                purpose == Purpose::File && body.0.len() <= PROFILE_BYTES_MAX
            }
            _ => false,
        },
        HeifProperty::Auxiliary => HEIF_ALPHA.iter().any(|urn| body.0 == [&[0; 4], *urn, &[0]].concat()),
        HeifProperty::Depth => {
            body.expect(&[0; 4])?;
            usize::from(body.u8()?) == body.0.len()
        }
        HeifProperty::Plain(length) => {
            let is_versioned = kind == *b"ispe";
            body.0.len() == length && (!is_versioned || body.0.starts_with(&[0; 4]))
        }
        HeifProperty::Bits(mask) => matches!(body.0, [bits] if bits & !mask == 0),
        HeifProperty::Other => false,
    };
    if is_right { Ok(None) } else { Err(PROPERTY) }
}

/// The record of the decoder: numbers and parameter sets. How long the length of a unit is.
fn decoder(mut body: Rest<'_>) -> Checked<u8> {
    let prefix = body.bytes(22)?.last().map_or(0, |b| (b & 3) + 1);
    for _ in 0..body.u8()? {
        if !matches!(body.u8()? & 0x7F, 32..=34) {
            return Err(MESSAGE);
        }
        for _ in 0..body.u16()? {
            let length = usize::from(body.u16()?);
            if !body.bytes(length)?.first().is_some_and(|first| matches!(first >> 1 & 0x3F, 32..=34)) {
                return Err(MESSAGE);
            }
        }
    }
    body.end()?;
    Ok(prefix)
}

/// The items fill `idat` and `mdat` one behind the other, without a gap.
fn places(mut list: Rest<'_>, entries: &mut [Entry], made: &[u8], start: u64, source: &dyn Source) -> Checked<()> {
    list.expect(&[1, 0, 0, 0, 0x44, 0])?;
    if usize::from(list.u16()?) != entries.len() {
        return Err(ORDER);
    }
    let (mut described, mut coded) = (Rest(made), start);
    for (number, entry) in (1u16..).zip(entries.iter_mut()) {
        let is_made = entry.kind != *b"hvc1";
        list.expect(&number.to_be_bytes())?;
        list.expect(&[0, u8::from(is_made), 0, 0])?;
        let at = if is_made { u64::try_from(made.len() - described.0.len()).unwrap_or(u64::MAX) } else { coded };
        match list.u16()? {
            0 => {}
            1 if u64::from(list.u32()?) == at => entry.length = u64::from(list.u32()?),
            _ => return Err(PLACE),
        }
        if is_made {
            let length = usize::try_from(entry.length).map_err(|_| PLACE)?;
            check_made(entry, described.bytes(length)?)?;
        } else {
            let end = coded.checked_add(entry.length).filter(|end| *end <= source.length_bytes()).ok_or(PLACE)?;
            check_units(source, coded, end, entry.prefix)?;
            coded = end;
        }
    }
    list.end()?;
    described.end()?;
    if coded == source.length_bytes() { Ok(()) } else { Err(PLACE) }
}

fn check_made(entry: &Entry, bytes: &[u8]) -> Checked<()> {
    let wide = bytes.get(1).is_some_and(|flags| *flags == 1);
    let is_headed = bytes.first() == Some(&0) && bytes.get(1).is_some_and(|flags| *flags <= 1);
    let is_whole = match &entry.kind {
        b"iden" => entry.inputs == 1 && bytes.is_empty(),
        b"grid" => {
            let places =
                bytes.get(2..4).and_then(|n| n.iter().map(|n| usize::from(*n) + 1).reduce(|rows, columns| rows * columns));
            is_headed && places == Some(entry.inputs) && bytes.len() == if wide { 12 } else { 8 }
        }
        b"iovl" => is_headed && entry.inputs > 0 && bytes.len() == 10 + (1 + entry.inputs) * if wide { 8 } else { 4 },
        _ => false,
    };
    if is_whole { Ok(()) } else { Err(VerifyError("a HEIF file with a derived picture that is more than its description")) }
}

fn check_units(source: &dyn Source, start: u64, end: u64, prefix: u8) -> Checked<()> {
    let mut at = start;
    if start == end || !(1..=4).contains(&prefix) {
        return Err(VerifyError("a HEIF file with a picture that holds nothing"));
    }
    while at < end {
        let mut head = [0; 6];
        let head = head.get_mut(..usize::from(prefix) + 2).unwrap_or_default();
        source.read_at(at, head).map_err(|_| SHORT)?;
        let (length, kind) = head.split_at(usize::from(prefix));
        let length = length.iter().fold(0u64, |n, byte| n * 256 + u64::from(*byte));
        if length < 3 || !kind.first_chunk().is_some_and(|kind| is_picture_unit(*kind)) {
            return Err(VerifyError("a HEIF file with a unit that is no picture"));
        }
        at = at.checked_add(u64::from(prefix) + length).filter(|next| *next <= end).ok_or(SHORT)?;
    }
    Ok(())
}
