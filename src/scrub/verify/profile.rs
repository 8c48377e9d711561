//! Reads a colour profile that is about to leave: known tags, known words, zeros between them.

use super::VerifyError;
use crate::scrub::policy::{PROFILE_COLOUR_TAGS, PROFILE_DATE, PROFILE_WORDS};

const TABLE_AT: usize = 132;
/// Header bytes that must be zero: preferred module, rest of the version, platform to vendor
/// attributes, rest of the intent, creator to the end.
const BLANK: [(usize, usize); 8] = [(4, 8), (10, 12), (40, 47), (48, 56), (56, 63), (64, 66), (80, 100), (100, 128)];

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// # Errors
/// A word, a tag or a byte that may not stay.
pub fn check(profile: &[u8]) -> Result<(), VerifyError> {
    let is_header_blank = BLANK.iter().all(|(from, to)| profile.get(*from..*to).is_some_and(is_zero))
        && profile.get(24..36) == Some(&PROFILE_DATE)
        && profile.get(36..40) == Some(b"acsp")
        && profile.get(47).is_some_and(|flags| flags & 0xFC == 0)
        && profile.get(63).is_some_and(|attributes| attributes & 0xF0 == 0);
    if long(profile, 0) != Some(profile.len()) || !is_header_blank {
        return Err(VerifyError("a colour profile whose header says who made it"));
    }
    let table = long(profile, 128).and_then(|n| profile.get(TABLE_AT..)?.get(..n.checked_mul(12)?));
    let Some(table) = table else { return Err(VerifyError("a colour profile without its table")) };
    let mut used = vec![(0, TABLE_AT + table.len())];
    for entry in table.chunks_exact(12) {
        let range = long(entry, 4).and_then(|at| Some((at, at.checked_add(long(entry, 8)?)?)));
        let element = range.and_then(|(from, to)| Some(((from, to), profile.get(from..to)?)));
        let (Some(signature), Some((range, element))) = (entry.first_chunk::<4>(), element) else {
            return Err(VerifyError("a colour profile with a tag outside"));
        };
        let may_stay =
            PROFILE_COLOUR_TAGS.contains(&signature) || (matches!(signature, b"desc" | b"cprt") && is_known_text(element));
        if !may_stay {
            return Err(VerifyError("a colour profile with a tag or a word that may not stay"));
        }
        used.push(range);
    }
    used.sort_unstable();
    let mut covered = 0;
    for (from, to) in used {
        if covered < from && !profile.get(covered..from).is_some_and(is_zero) {
            return Err(VerifyError("a colour profile with bytes between its tags"));
        }
        covered = covered.max(to);
    }
    if profile.get(covered..).is_some_and(is_zero) { Ok(()) } else { Err(VerifyError("a colour profile with a tail")) }
}

/// One of our words in one of the three types of text, and zeros.
fn is_known_text(element: &[u8]) -> bool {
    PROFILE_WORDS.iter().chain(&[""]).any(|word| {
        let wide: Vec<u8> = word.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let (count, width) = (u32::try_from(word.len()).unwrap_or(0) + 1, u32::try_from(wide.len()).unwrap_or(0));
        let forms = [
            [b"desc\0\0\0\0", &count.to_be_bytes()[..], word.as_bytes()].concat(),
            [b"text\0\0\0\0", word.as_bytes()].concat(),
            [b"mluc\0\0\0\0\0\0\0\x01\0\0\0\x0cenUS", &width.to_be_bytes()[..], b"\0\0\0\x1c", &wide].concat(),
        ];
        forms.iter().any(|form| element.strip_prefix(form.as_slice()).is_some_and(is_zero))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::icc::{rewrite, tests::talkative};

    #[test]
    fn a_rewritten_profile_passes_and_any_word_put_back_does_not() {
        let source = talkative("ZYXC's monitor");
        assert!(check(&source).is_err());
        let clean = rewrite(&source).unwrap();
        assert_eq!(check(&clean), Ok(()));
        let mut bad = 0;
        for (at, _) in source.iter().enumerate().filter(|(at, byte)| clean[*at] != **byte) {
            let mut mixed = clean.clone();
            mixed[at] = source[at];
            bad += usize::from(check(&mixed).is_ok());
        }
        // What the two colour elements hold behind their numbers is not looked at again.
        assert!(bad <= 8, "{bad}");
    }
}
