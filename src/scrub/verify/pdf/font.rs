//! Font programs: tables that draw, and no words.

use super::{Verdict, fail};
use crate::scrub::policy::pdf::{CFF_WORDS, FONT_TABLES, is_outline_font};

const WORDS: &str = "a font with words in it";
const BROKEN: &str = "a font that is cut short";

pub(super) fn check(program: &[u8]) -> Verdict {
    if is_outline_font(program) {
        return outlines(program).unwrap_or_else(|| fail(BROKEN));
    }
    match program {
        [b'%', b'!', ..] | [0x80, 1, ..] => {
            let clear = memchr::memmem::find(program, b"eexec").and_then(|end| program.get(..end)).unwrap_or(program);
            let first = clear.iter().position(|b| matches!(b, b':' | b'\r' | b'\n')).unwrap_or(clear.len());
            words(clear.get(first..).unwrap_or_default())
        }
        [1, ..] => compact(program).unwrap_or_else(|| fail(BROKEN)),
        _ => Ok(()),
    }
}

/// No comment, and nothing between parentheses.
fn words(clear: &[u8]) -> Verdict {
    let mut parts = clear.split(|b| *b == b'(');
    let is_plain = |part: &[u8]| !part.contains(&b'%');
    let first = parts.next().is_none_or(is_plain);
    let are_empty = parts.all(|part| {
        let end = part.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(part.len());
        part.get(end).is_none_or(|b| *b == b')') && is_plain(part)
    });
    if first && are_empty { Ok(()) } else { fail(WORDS) }
}

fn read(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    Some(bytes.get(at..at.checked_add(width)?)?.iter().fold(0, |n, byte| n * 256 + usize::from(*byte)))
}

fn outlines(program: &[u8]) -> Option<Verdict> {
    let count = read(program, 4, 2)?;
    let mut next = 12 + count * 16;
    for entry in program.get(12..next)?.chunks_exact(16) {
        let (tag, at, length) = (entry.first_chunk::<4>()?, read(entry, 8, 4)?, read(entry, 12, 4)?);
        if at != next || !FONT_TABLES.contains(&tag) {
            return Some(fail(WORDS));
        }
        next = at.checked_add(length)?.next_multiple_of(4);
        if program.get(at + length..next)?.iter().any(|b| *b != 0) {
            return Some(fail(WORDS));
        }
        if tag == b"CFF " {
            compact(program.get(at..at + length)?)?.ok()?;
        }
    }
    Some(if next == program.len() { Ok(()) } else { fail(WORDS) })
}

/// Where the objects of a list begin, one more than there are, and so where it ends.
fn list(font: &[u8], at: usize) -> Option<Vec<usize>> {
    let count = read(font, at, 2)?;
    if count == 0 {
        return Some(vec![at + 2]);
    }
    let width = read(font, at + 2, 1)?;
    let before = at + 2 + (count + 1) * width;
    (0..=count).map(|n| read(font, at + 3 + n * width, width)?.checked_add(before)).collect()
}

fn compact(font: &[u8]) -> Option<Verdict> {
    let names = list(font, read(font, 2, 1)?)?;
    let dictionaries = list(font, *names.last()?)?;
    let strings = list(font, *dictionaries.last()?)?;
    for pair in dictionaries.windows(2) {
        let &[from, to] = pair else { continue };
        for number in named(font.get(from..to)?) {
            let Some(&[from, to]) = strings.get(number..number + 2) else { continue };
            if font.get(from..to)?.iter().any(|b| *b != b' ') {
                return Some(fail(WORDS));
            }
        }
    }
    Some(Ok(()))
}

/// Numbers of the strings that are words.
fn named(mut rest: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut value = 0;
    while let Some((first, behind)) = rest.split_first() {
        let byte = |n: usize| behind.get(n).map_or(0, |b| usize::from(*b));
        let used = match first {
            0..=21 => {
                let operator = if *first == 12 { 0x0C00 + byte(0) } else { usize::from(*first) };
                if value >= 391 && CFF_WORDS.iter().any(|known| usize::from(*known) == operator) {
                    found.push(value - 391);
                }
                usize::from(*first == 12)
            }
            28 => 2,
            29 => 4,
            30 => 1 + behind.iter().take_while(|b| **b % 16 != 15).count(),
            247..=254 => 1,
            _ => 0,
        };
        value = match first {
            28 => byte(0) * 256 + byte(1),
            29 => read(behind, 0, 4).unwrap_or(0),
            139..=246 => usize::from(*first) - 139,
            247..=250 => (usize::from(*first) - 247) * 256 + byte(0) + 108,
            _ => 0,
        };
        rest = behind.get(used..).unwrap_or_default();
    }
    found
}
