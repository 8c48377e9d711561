//! Font programs without words: who made a font, its full name and its licence stand in places that no
//! reader needs to draw a glyph.
//!
//! Source: ISO/IEC 14496-22 (`OpenType`: the tables that ISO 32000-1 §9.9 asks for), Adobe Type 1 Font
//! Format §2.3 and §2.5, Adobe Technical Note 5176 (CFF) §9. What can still slip through: names of
//! glyphs, and what a table or a charstring carries behind its own syntax.

use std::ops::Range;

use crate::scrub::policy::pdf::{CFF_WORDS, FONT_TABLES, is_outline_font};

/// Tables of one font.
const TABLES_MAX: usize = 64;
const ENTRY_BYTES: usize = 16;

/// The program without its words; `None`: it is cut short.
pub(super) fn strip(program: &[u8]) -> Option<Vec<u8>> {
    if is_outline_font(program) {
        return tables(program);
    }
    let mut clean = program.to_vec();
    if program.starts_with(b"%!") || program.starts_with(b"\x80\x01") {
        blank_words(&mut clean);
    } else if program.first() == Some(&1) {
        blank_strings(&mut clean)?;
    }
    Some(clean)
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    Some(bytes.get(at..)?.get(..width)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}

/// The tables that draw, one behind the other.
fn tables(program: &[u8]) -> Option<Vec<u8>> {
    let count = number(program, 4, 2)?.min(TABLES_MAX);
    let entries = program.get(12..)?.get(..count * ENTRY_BYTES)?;
    let mut kept: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let (tag, from, length) = (entry.get(..4)?, number(entry, 8, 4)?, number(entry, 12, 4)?);
        if !FONT_TABLES.iter().any(|known| known.as_slice() == tag) || kept.iter().any(|(other, _)| *other == tag) {
            continue;
        }
        // Some writers count the last table too long.
        let rest = program.get(from..).unwrap_or_default();
        let mut table = rest.get(..length).unwrap_or(rest).to_vec();
        if tag == b"CFF " {
            blank_strings(&mut table)?;
        }
        kept.push((entry.get(..8)?, table));
    }
    let log = kept.len().checked_ilog2()?;
    let search = 16usize << log;
    let head = [kept.len(), search, usize::try_from(log).ok()?, kept.len() * 16 - search];
    let mut out = program.get(..4)?.to_vec();
    out.extend(head.iter().flat_map(|n| u16::try_from(*n).unwrap_or(u16::MAX).to_be_bytes()));
    let mut at = 12 + kept.len() * ENTRY_BYTES;
    for (entry, table) in &kept {
        out.extend(*entry);
        out.extend(u32::try_from(at).ok()?.to_be_bytes());
        out.extend(u32::try_from(table.len()).ok()?.to_be_bytes());
        at += table.len().next_multiple_of(4);
    }
    for (_, table) in &kept {
        out.extend(table);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    Some(out)
}

/// Blanks comments and strings before the encrypted part of a Type 1 font.
fn blank_words(program: &mut [u8]) {
    let clear = memchr::memmem::find(program, b"eexec").unwrap_or(program.len());
    // What says that it is a font ends with a colon.
    let first = program.iter().take_while(|b| !matches!(b, b':' | b'\r' | b'\n')).count();
    let (mut depth, mut is_comment, mut is_escaped) = (0usize, true, false);
    for (at, byte) in program.iter_mut().enumerate().take(clear) {
        let is_end = matches!(*byte, b'\r' | b'\n');
        if is_comment {
            is_comment = !is_end;
            if at > first && !is_end {
                *byte = b' ';
            }
        } else if depth > 0 {
            match *byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth > 0 && !is_end {
                *byte = b' ';
            }
        } else if *byte == b'(' {
            depth = 1;
        } else if *byte == b'%' {
            is_comment = true;
            *byte = b' ';
        }
    }
}

/// Blanks the strings of a CFF font that are words: those that its top dictionary names as such.
fn blank_strings(font: &mut [u8]) -> Option<()> {
    let mut at = usize::from(*font.get(2)?);
    let mut lists = Vec::new();
    for _ in 0..3 {
        let (list, end) = index(font, at)?;
        lists.push(list);
        at = end;
    }
    let [_, dictionaries, strings] = lists.as_slice() else { return None };
    let mut words = Vec::new();
    for dictionary in dictionaries {
        words.extend(words_of(font.get(dictionary.clone())?));
    }
    for word in words.iter().filter_map(|word| strings.get(*word)) {
        font.get_mut(word.clone())?.fill(b' ');
    }
    Some(())
}

/// The objects of an INDEX, and where it ends (§5).
fn index(font: &[u8], at: usize) -> Option<(Vec<Range<usize>>, usize)> {
    let count = number(font, at, 2)?;
    if count == 0 {
        return Some((Vec::new(), at + 2));
    }
    let width = number(font, at + 2, 1).filter(|width| (1..=4).contains(width))?;
    let data = at + 2 + (count + 1) * width;
    let mut objects = Vec::with_capacity(count);
    let mut from = data.checked_add(number(font, at + 3, width)?)?;
    for n in 1..=count {
        let to = data.checked_add(number(font, at + 3 + n * width, width)?).filter(|to| *to >= from && *to <= font.len())?;
        objects.push(from..to);
        from = to;
    }
    Some((objects, from))
}

/// Strings of the font, by position, that a dictionary has for words (§4, table 9).
fn words_of(dictionary: &[u8]) -> Vec<usize> {
    /// Strings before those are the standard's.
    const STANDARD: usize = 391;
    let (mut found, mut operand, mut at) = (Vec::new(), None, 0);
    while let Some(byte) = dictionary.get(at).copied() {
        let short = |from: usize| number(dictionary, from, 1).unwrap_or(0);
        let (next, length) = match byte {
            // Operators of two bytes; numbers below zero.
            12 | 251..=254 => (None, 2),
            28 => (number(dictionary, at + 1, 2), 3),
            29 => (number(dictionary, at + 1, 4), 5),
            30 => (None, 2 + dictionary.get(at + 1..).unwrap_or_default().iter().take_while(|b| **b & 15 != 15).count()),
            32..=246 => (usize::from(byte).checked_sub(139), 1),
            247..=250 => (Some((usize::from(byte) - 247) * 256 + short(at + 1) + 108), 2),
            _ => (None, 1),
        };
        if byte <= 21 {
            let operator = if byte == 12 { 0x0C00 | u16::try_from(short(at + 1)).unwrap_or(0) } else { u16::from(byte) };
            if CFF_WORDS.contains(&operator) {
                found.extend(operand.and_then(|n: usize| n.checked_sub(STANDARD)));
            }
        }
        operand = next;
        at += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sfnt(tables: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let count = u16::try_from(tables.len()).unwrap();
        let mut head = [&[0, 1, 0, 0][..], &count.to_be_bytes(), &[0; 6]].concat();
        let mut data = Vec::new();
        for (tag, table) in tables {
            let at = u32::try_from(12 + tables.len() * 16 + data.len()).unwrap();
            head.extend([&tag[..], &[7; 4], &at.to_be_bytes(), &u32::try_from(table.len()).unwrap().to_be_bytes()].concat());
            data.extend([*table, b"ZYXC"].concat());
        }
        [head, data].concat()
    }

    #[test]
    fn an_outline_font_keeps_the_tables_that_draw() {
        let font = sfnt(&[(b"glyf", b"outline"), (b"name", b"ZYXCANARY"), (b"head", b"numbers"), (b"zyxc", b"ZYXCANARY")]);
        let clean = strip(&font).unwrap();
        assert!(!clean.windows(3).any(|w| w.eq_ignore_ascii_case(b"ZYX")));
        assert_eq!(clean.len(), 12 + 2 * 16 + 8 + 8);
        assert!(clean.windows(7).any(|w| w == b"outline") && clean.windows(7).any(|w| w == b"numbers"));
        assert_eq!(strip(&clean), Some(clean));
        assert_eq!(strip(&font[..40]), None);
    }

    #[test]
    fn a_type_1_font_keeps_its_length_and_loses_its_words() {
        let font =
            b"%!PS-AdobeFont-1.0: ZYXC 1\n%ZYXC\n/Notice (ZYXC \\) (ZYXC) C) def /FontName /F def % ZYXC\ncurrentfile eexec (Z%";
        let clean = strip(font).unwrap();
        assert_eq!(clean.len(), font.len());
        assert!(!clean.windows(3).any(|w| w == b"ZYX"), "{}", String::from_utf8_lossy(&clean));
        assert!(clean.starts_with(b"%!PS-AdobeFont-1.0:") && clean.ends_with(b"currentfile eexec (Z%"));
        assert!(clean.windows(17).any(|w| w == b"def /FontName /F "));
        assert_eq!(strip(&clean), Some(clean));
    }

    #[test]
    fn a_compact_font_loses_the_strings_that_are_words() {
        let list = |objects: &[&[u8]]| {
            let mut bytes = u16::try_from(objects.len()).unwrap().to_be_bytes().to_vec();
            let mut end = 1u8;
            bytes.extend([1, end]);
            for object in objects {
                end += u8::try_from(object.len()).unwrap();
                bytes.push(end);
            }
            [bytes, objects.concat()].concat()
        };
        // Notice is the second string, the family the third; the first is a glyph's name.
        let dictionary = [28, 1, 136, 1, 248, 29, 3, 139, 15];
        let font =
            [&[1, 0, 4, 1][..], &list(&[b"F"]), &list(&[&dictionary]), &list(&[b"glyph", b"ZYXC", b"zyxc"]), b"rest"].concat();
        let clean = strip(&font).unwrap();
        assert!(!clean.windows(3).any(|w| w.eq_ignore_ascii_case(b"ZYX")));
        assert!(clean.windows(5).any(|w| w == b"glyph") && clean.ends_with(b"rest") && clean.len() == font.len());
        assert_eq!(strip(&clean), Some(clean));
        for length in 1..font.len() - 4 {
            assert!(strip(&font[..length]).is_none(), "{length}");
        }
    }
}
