//! A colour profile without words: its colours bit for bit, everything else written anew.
//!
//! The new profile begins as zeros and gets what is known to be colour: whatever lies between,
//! behind or beside the tags is gone without having been looked for. It has the length of the
//! old one and its tags stand where they stood.
//!
//! Source: ICC.1:2022 §7 (structure), §9 (tags), §10 (types); ICC.1:2001-04 §6.5.17 (`desc`).

use std::ops::Range;

use super::policy::{PROFILE_COLOUR_TAGS, PROFILE_DATE, PROFILE_REMOVED, PROFILE_UNNAMED, PROFILE_WORDS};

const HEADER_BYTES: usize = 128;
const ENTRY_BYTES: usize = 12;
/// More tags than any class has by several times; each is compared with the others.
const TAGS_MAX: usize = 128;
/// Header fields that are colour: size, version to connection space, signature, intent, illuminant.
const HEADER_KEPT: [Range<usize>; 5] = [0..4, 8..10, 12..24, 36..40, 66..80];
const CLASSES: [&[u8]; 4] = [b"scnr", b"mntr", b"prtr", b"spac"];
const SPACES: [&[u8]; 6] = [b"RGB ", b"GRAY", b"CMYK", b"Lab ", b"XYZ ", b"YCbr"];

/// The bytes are no profile that a viewer would use; it is taken out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable;

struct Tag {
    signature: [u8; 4],
    range: Range<usize>,
}

/// The profile without its words.
pub(super) fn rewrite(source: &[u8]) -> Result<Vec<u8>, Unusable> {
    let size = word(source, 0)?;
    let source = source.get(..size).filter(|s| s.len() >= HEADER_BYTES + 4).ok_or(Unusable)?;
    let mut clean = header(source)?;
    let tags = tags(source)?;
    let mut table: Vec<&Tag> = Vec::new();
    let mut colours: Vec<Range<usize>> = Vec::new();
    for tag in tags.iter().filter(|t| PROFILE_COLOUR_TAGS.contains(&&t.signature)) {
        let data = source.get(tag.range.clone()).ok_or(Unusable)?;
        put(&mut clean, tag.range.start, &colours_of(data)?)?;
        colours.push(tag.range.clone());
        table.push(tag);
    }
    let mut texts: Vec<Range<usize>> = Vec::new();
    // `desc` last: where both share one text, the name wins.
    for signature in [b"cprt", b"desc"] {
        let Some(tag) = tags.iter().find(|t| t.signature == *signature) else { continue };
        let data = source.get(tag.range.clone()).ok_or(Unusable)?;
        let crossed = |other: &Range<usize>| other.start < tag.range.end && tag.range.start < other.end;
        if colours.iter().any(crossed) || texts.iter().any(|t| *t != tag.range && crossed(t)) {
            return Err(Unusable);
        }
        if let Some(text) = text_in_place_of(data, signature == b"desc") {
            put(&mut clean, tag.range.start, &text)?;
            texts.push(tag.range.clone());
            table.push(tag);
        }
    }
    table.sort_by_key(|t| tags.iter().position(|o| o.signature == t.signature));
    put(&mut clean, HEADER_BYTES, &u32::try_from(table.len()).map_err(|_| Unusable)?.to_be_bytes())?;
    for (index, tag) in table.iter().enumerate() {
        let offset = u32::try_from(tag.range.start).map_err(|_| Unusable)?;
        let length = u32::try_from(tag.range.len()).map_err(|_| Unusable)?;
        let entry = [tag.signature, offset.to_be_bytes(), length.to_be_bytes()].concat();
        put(&mut clean, HEADER_BYTES + 4 + index * ENTRY_BYTES, &entry)?;
    }
    Ok(clean)
}

/// Zeros of the profile's length, with the header fields that are colour.
fn header(source: &[u8]) -> Result<Vec<u8>, Unusable> {
    let field = |range: Range<usize>| source.get(range).unwrap_or_default();
    if field(36..40) != b"acsp" || !CLASSES.contains(&field(12..16)) || !SPACES.contains(&field(16..20)) {
        return Err(Unusable);
    }
    if field(20..24) != b"XYZ " && field(20..24) != b"Lab " {
        return Err(Unusable);
    }
    let mut clean = vec![0; source.len()];
    for range in HEADER_KEPT {
        put(&mut clean, range.start, field(range.clone()))?;
    }
    put(&mut clean, 24, &PROFILE_DATE)?;
    // Of flags and attributes the bits that the standard defines (§7.2.11, §7.2.14).
    put(&mut clean, 47, &[source.get(47).copied().unwrap_or(0) & 0x03])?;
    put(&mut clean, 63, &[source.get(63).copied().unwrap_or(0) & 0x0F])?;
    Ok(clean)
}

fn tags(source: &[u8]) -> Result<Vec<Tag>, Unusable> {
    let count = word(source, HEADER_BYTES)?;
    if count > TAGS_MAX {
        return Err(Unusable);
    }
    let table_end = HEADER_BYTES + 4 + count * ENTRY_BYTES;
    let table = source.get(HEADER_BYTES + 4..table_end).ok_or(Unusable)?;
    let mut tags: Vec<Tag> = Vec::with_capacity(count);
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let signature = entry.first_chunk().copied().ok_or(Unusable)?;
        let (offset, length) = (word(entry, 4)?, word(entry, 8)?);
        let end = offset.checked_add(length).filter(|end| *end <= source.len()).ok_or(Unusable)?;
        if offset < table_end || tags.iter().any(|t| t.signature == signature) {
            return Err(Unusable);
        }
        tags.push(Tag { signature, range: offset..end });
    }
    Ok(tags)
}

/// More channels than any profile has (§7.2.6).
const CHANNELS_MAX: usize = 16;

/// An element as far as it is colour. What stands between or behind its numbers is not copied.
fn colours_of(data: &[u8]) -> Result<Vec<u8>, Unusable> {
    if data.starts_with(b"mAB ") || data.starts_with(b"mBA ") {
        return stages(data);
    }
    let mut colours = data.get(..colour_length(data)?).ok_or(Unusable)?.to_vec();
    colours.get_mut(4..8).ok_or(Unusable)?.fill(0);
    Ok(colours)
}

/// Curves, a matrix and a table, each where the head says that it is (§10.12, §10.13).
fn stages(data: &[u8]) -> Result<Vec<u8>, Unusable> {
    let byte = |at: usize| data.get(at).map(|b| usize::from(*b)).ok_or(Unusable);
    let (inputs, outputs) = (byte(8)?, byte(9)?);
    if inputs > CHANNELS_MAX || outputs > CHANNELS_MAX {
        return Err(Unusable);
    }
    let (near, far) = if data.starts_with(b"mAB ") { (outputs, inputs) } else { (inputs, outputs) };
    let mut clean = vec![0; data.len()];
    let mut keep =
        |from: usize, bytes: usize| put(&mut clean, from, data.get(from..).and_then(|rest| rest.get(..bytes)).ok_or(Unusable)?);
    keep(0, 4)?;
    keep(8, 2)?;
    keep(12, 20)?;
    for (field, count) in [(12, near), (20, near), (28, far)] {
        let mut at = word(data, field)?;
        for _ in 0..if at == 0 { 0 } else { count } {
            let curve = data.get(at..).filter(|curve| curve.starts_with(b"curv") || curve.starts_with(b"para"));
            let length = colour_length(curve.ok_or(Unusable)?)?;
            keep(at, length)?;
            at = (at + length).next_multiple_of(4);
        }
    }
    match word(data, 16)? {
        0 => {}
        matrix => keep(matrix, 48)?,
    }
    match word(data, 24)? {
        0 => {}
        table => {
            let grid = data.get(table..).and_then(|rest| rest.get(..inputs)).ok_or(Unusable)?;
            let cells = grid.iter().try_fold(outputs, |n, points| n.checked_mul(usize::from(*points))).ok_or(Unusable)?;
            keep(table, inputs)?;
            keep(table + 16, 1)?;
            keep(table + 20, cells.checked_mul(byte(table + 16)?).ok_or(Unusable)?)?;
        }
    }
    Ok(clean)
}

/// How many bytes of an element are colour.
fn colour_length(data: &[u8]) -> Result<usize, Unusable> {
    let byte = |at: usize| data.get(at).map(|b| usize::from(*b)).ok_or(Unusable);
    let short = |at: usize| Ok::<usize, Unusable>(byte(at)? << 8 | byte(at + 1)?);
    let cells = || {
        let (inputs, outputs, grid) = (byte(8)?, byte(9)?, byte(10)?);
        let points = grid.checked_pow(u32::try_from(inputs).map_err(|_| Unusable)?);
        let cells = points.and_then(|p| p.checked_mul(outputs)).filter(|cells| *cells <= data.len());
        Ok((inputs, outputs, cells.ok_or(Unusable)?))
    };
    let length = match data.first_chunk::<4>().ok_or(Unusable)? {
        // One colour; one matrix.
        b"XYZ " => 20,
        b"sf32" => 44,
        b"curv" => word(data, 8)?.checked_mul(2).and_then(|n| n.checked_add(12)).ok_or(Unusable)?,
        b"para" => 12 + 4 * [1, 3, 4, 5, 7].get(short(8)?).ok_or(Unusable)?,
        b"cicp" => 12,
        b"mft1" => {
            let (inputs, outputs, cells) = cells()?;
            48 + 256 * (inputs + outputs) + cells
        }
        b"mft2" => {
            let (inputs, outputs, cells) = cells()?;
            52 + 2 * (short(48)? * inputs + cells + short(50)? * outputs)
        }
        _ => return Err(Unusable),
    };
    if length <= data.len() { Ok(length) } else { Err(Unusable) }
}

/// An element of the same type and length with words of ours. `None`: it has no room for any.
fn text_in_place_of(data: &[u8], is_name: bool) -> Option<Vec<u8>> {
    let wanted = if is_name {
        let name = words_of(data).unwrap_or_default();
        PROFILE_WORDS.iter().find(|w| **w == name).unwrap_or(&PROFILE_UNNAMED)
    } else {
        &PROFILE_REMOVED
    };
    let kind = data.first_chunk::<4>()?;
    // What surrounds the words in each type.
    let (around, width) = match kind {
        b"desc" => (91, 1),
        b"mluc" => (28, 2),
        b"text" => (9, 1),
        _ => return None,
    };
    let words = if around + wanted.len() * width <= data.len() { wanted } else { "" };
    let length = u32::try_from(words.len() * width).ok()?;
    let mut text = [&kind[..], &[0; 4]].concat();
    match kind {
        b"desc" => text.extend([&(length + 1).to_be_bytes()[..], words.as_bytes()].concat()),
        b"mluc" => {
            text.extend([0, 0, 0, 1, 0, 0, 0, 12]);
            text.extend(b"enUS");
            text.extend([length.to_be_bytes(), 28u32.to_be_bytes()].concat());
            text.extend(words.encode_utf16().flat_map(u16::to_be_bytes));
        }
        _ => text.extend(words.as_bytes()),
    }
    (around <= data.len()).then(|| {
        text.resize(data.len(), 0);
        text
    })
}

/// The first text of an element.
fn words_of(data: &[u8]) -> Option<String> {
    let until_nul = |bytes: &[u8]| bytes.split(|b| *b == 0).next().map(|t| String::from_utf8_lossy(t).into_owned());
    match data.first_chunk::<4>()? {
        b"desc" => until_nul(data.get(12..)?.get(..word(data, 8).ok()?)?),
        b"text" => until_nul(data.get(8..)?),
        b"mluc" => {
            let bytes = data.get(word(data, 24).ok()?..)?.get(..word(data, 20).ok()?)?;
            let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            Some(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned())
        }
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Result<usize, Unusable> {
    let raw = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Unusable)?;
    usize::try_from(u32::from_be_bytes(*raw)).map_err(|_| Unusable)
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), Unusable> {
    let place = into.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())).ok_or(Unusable)?;
    place.copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn profile_of(tags: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
        let mut head = vec![0u8; HEADER_BYTES];
        for (at, text) in [
            (4, &b"ZYXC"[..]),
            (8, &[2, 0x10]),
            (12, b"mntrRGB XYZ "),
            (36, b"acspZYXC"),
            (48, b"ZYXCZYXC"),
            (80, b"ZYXC"),
            (100, b"ZYXC"),
        ] {
            head[at..at + text.len()].copy_from_slice(text);
        }
        let mut table = u32::try_from(tags.len()).unwrap().to_be_bytes().to_vec();
        let mut data = Vec::new();
        let data_at = HEADER_BYTES + 4 + tags.len() * ENTRY_BYTES;
        for (signature, element) in tags {
            table.extend(*signature);
            table.extend(u32::try_from(data_at + data.len()).unwrap().to_be_bytes());
            table.extend(u32::try_from(element.len()).unwrap().to_be_bytes());
            data.extend(element);
            data.extend(b"ZYXC gap");
        }
        let mut profile = [head, table, data].concat();
        let size = u32::try_from(profile.len()).unwrap().to_be_bytes();
        profile[..4].copy_from_slice(&size);
        profile
    }

    fn desc(words: &str) -> Vec<u8> {
        let count = u32::try_from(words.len() + 1).unwrap().to_be_bytes();
        [b"desc\0\0\0\0", &count[..], words.as_bytes(), &[0; 79]].concat()
    }

    fn mluc(words: &str) -> Vec<u8> {
        let text: Vec<u8> = words.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [b"mluc\0\0\0\0\0\0\0\x01\0\0\0\x0cdeCH", &length[..], b"\0\0\0\x1c", &text].concat()
    }

    /// A profile with a word in every place that has room for one.
    pub(in crate::scrub) fn talkative(name: &str) -> Vec<u8> {
        profile_of(&[
            (b"desc", desc(name)),
            (b"cprt", mluc("ZYXC owner")),
            (b"rXYZ", b"XYZ \0\0\0\0\0\0\x6f\xa2\0\0\x38\xf5\0\0\x03\x90ZYXC".to_vec()),
            (b"rTRC", b"curv\0\0\0\0\0\0\0\x01\x02\x33ZYXC".to_vec()),
            (b"dmdd", desc("ZYXC model")),
            (b"mmod", b"mmodZYXC serial".to_vec()),
        ])
    }

    #[test]
    fn a_profile_keeps_its_colours_and_loses_its_words() {
        let source = talkative("ZYXC's monitor");
        let clean = rewrite(&source).unwrap();
        assert_eq!(clean.len(), source.len());
        assert!(!clean.windows(4).any(|w| w == b"ZYXC" || w == b"\0Z\0Y"));
        for colour in [&b"XYZ \0\0\0\0\0\0\x6f\xa2\0\0\x38\xf5\0\0\x03\x90"[..], b"curv\0\0\0\0\0\0\0\x01\x02\x33", b"unnamed"] {
            let find = |bytes: &[u8]| bytes.windows(colour.len()).position(|w| w == colour);
            assert!(find(&clean).is_some());
            assert!(colour == b"unnamed" || find(&clean) == find(&source));
        }
        assert_eq!(word(&clean, HEADER_BYTES), Ok(4));
        assert_eq!(rewrite(&clean), Ok(clean));
    }

    #[test]
    fn nothing_hides_in_or_behind_the_numbers_of_a_colour() {
        let curve = b"curv\0\0\0\0\0\0\0\x01\x02\x33\0\0".as_slice();
        let at = |n: u32| n.to_be_bytes();
        let grid = [&[2, 2, 2][..], b"ZYXCZYXCZYXCZ", &[1], b"ZYX", &[7; 24]].concat();
        let head = [b"mAB \0\0\0\0\x03\x03\0\0", &at(32)[..], &at(0), &at(0), &at(84), &at(128)].concat();
        let table = [&head[..], &curve.repeat(3), b"ZYXC", &grid, &curve.repeat(3), b"ZYXC"].concat();
        let numbers = |kind: &[u8], count: usize| [kind, b"ZYXC", &vec![5; count], b"ZYXCZYXCZYXC"].concat();
        let source = profile_of(&[
            (b"A2B0", table),
            (b"wtpt", numbers(b"XYZ ", 12)),
            (b"chad", numbers(b"sf32", 36)),
            (b"view", numbers(b"view", 28)),
            (b"gamt", b"mft1ZYXC".to_vec()),
            (b"D2B0", b"mpetZYXC".to_vec()),
        ]);
        let clean = rewrite(&source).unwrap();
        assert!(!clean.windows(3).any(|w| w == b"ZYX"));
        assert_eq!(word(&clean, HEADER_BYTES), Ok(3));
        assert_eq!(clean.windows(4).filter(|w| *w == b"curv").count(), 6);
        assert!(clean.windows(24).any(|w| w == [7; 24]) && clean.windows(36).any(|w| w == [5; 36]));
        assert_eq!(crate::scrub::verify::check_profile(&clean), Ok(()));
        assert_eq!(rewrite(&clean), Ok(clean));
    }

    #[test]
    fn a_well_known_name_stays_readable() {
        let clean = rewrite(&talkative("Display P3")).unwrap();
        assert!(clean.windows(10).any(|w| w == b"Display P3"));
        let clean = rewrite(&profile_of(&[(b"desc", mluc("Display P3"))])).unwrap();
        assert!(clean.windows(4).any(|w| w == b"\0P\x003"));
    }

    #[test]
    fn what_is_no_profile_is_unusable_and_never_a_panic() {
        let whole = talkative("x");
        for length in 0..whole.len() {
            assert_eq!(rewrite(&whole[..length]), Err(Unusable));
        }
        let mut shared = profile_of(&[(b"desc", desc("x")), (b"rTRC", b"curv\0\0\0\0\0\0\0\0".to_vec())]);
        // The curve's tag now points into the description.
        let (desc_at, curve) = (HEADER_BYTES + 8, HEADER_BYTES + 4 + ENTRY_BYTES + 4);
        let at: [u8; 4] = shared[desc_at..desc_at + 4].try_into().unwrap();
        shared[curve..curve + 4].copy_from_slice(&at);
        assert_eq!(rewrite(&shared), Err(Unusable));
        for at in 0..whole.len() {
            for bit in [0x80, 1] {
                let mut broken = whole.clone();
                broken[at] ^= bit;
                if let Ok(clean) = rewrite(&broken) {
                    assert_eq!(crate::scrub::verify::check_profile(&clean), Ok(()), "{at} {bit}");
                    assert_eq!(rewrite(&clean), Ok(clean), "{at} {bit}");
                }
            }
        }
    }
}
