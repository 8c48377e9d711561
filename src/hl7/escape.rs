//! Escape sequences (HL7 v2.5.1 §2.7).

use std::borrow::Cow;

use super::message::Delimiters;

/// Longest text between two escape characters that is taken for a sequence. `\X..\` of 64 bytes
/// is the longest of any use; longer is a text with backslashes in it.
const SEQUENCE_MAX_BYTES: usize = 128;

/// `raw` with its escape sequences replaced. A backslash that begins no sequence stays.
#[must_use]
pub fn unescape<'a>(raw: &'a str, delimiters: &Delimiters) -> Cow<'a, str> {
    let Some(escape) = delimiters.escape.map(char::from) else { return Cow::Borrowed(raw) };
    let Some((before, mut rest)) = raw.split_once(escape) else { return Cow::Borrowed(raw) };
    let mut out = String::with_capacity(raw.len());
    out.push_str(before);
    loop {
        let sequence = rest.split_once(escape).filter(|(sequence, _)| sequence.len() <= SEQUENCE_MAX_BYTES);
        rest = match sequence {
            Some((sequence, behind)) if replace(sequence, *delimiters, &mut out) => behind,
            _ => {
                out.push(escape);
                rest
            }
        };
        let Some((text, next)) = rest.split_once(escape) else { break };
        out.push_str(text);
        rest = next;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Writes what `sequence` stands for; false where it is no sequence.
fn replace(sequence: &str, delimiters: Delimiters, out: &mut String) -> bool {
    let own = |b: Option<u8>| b.map(char::from);
    let mut letters = sequence.chars();
    match (letters.next(), letters.as_str()) {
        (Some('F'), "") => out.push(char::from(delimiters.field)),
        (Some('S'), "") => out.push(char::from(delimiters.component)),
        (Some('T'), "") => out.extend(own(delimiters.subcomponent)),
        (Some('R'), "") => out.extend(own(delimiters.repetition)),
        (Some('E'), "") => out.extend(own(delimiters.escape)),
        // Highlighting, and switches of the character set, which are decoded before (§2.7.2).
        (Some('H' | 'N'), "") => {}
        (Some('C' | 'M'), hex) if is_hex(hex) => {}
        (Some('X'), hex) if is_hex(hex) => push_hex(hex, out),
        (Some('.'), command) => match command.get(..2) {
            Some("br" | "sp" | "ce") => out.push_str("\r\n"),
            Some("in" | "ti" | "sk" | "fi" | "nf") => {}
            _ => return false,
        },
        // Local sequences (§2.7.7): meaningless to us.
        (Some('Z'), local) if !local.contains(char::is_whitespace) => {}
        _ => return false,
    }
    true
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `\X..\`: bytes. The standard does not say in which character set; UTF-8 where they are that.
fn push_hex(hex: &str, out: &mut String) {
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    match std::str::from_utf8(&bytes) {
        Ok(text) => out.push_str(text),
        Err(_) => out.extend(bytes.iter().map(|b| char::from(*b))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_replaced_and_backslashes_that_are_none_stay() {
        let delimiters = Delimiters::new(b'|', b"^~\\&").unwrap();
        let table = [
            ("plain", "plain"),
            (r"O\T\Neil \S\x\R\", "O&Neil ^x~"),
            (r"F\F\ay \E\ \X41\", r"F|ay \ A"),
            (r"Back\slash", r"Back\slash"),
            (r"a\temp\b", r"a\temp\b"),
            (r"\E\\E\", r"\\"),
            (r"\XC3BC\", "ü"),
            (r"\XFC\", "ü"),
            (r"\XZZ\", r"\XZZ\"),
            (r"\X0\", r"\X0\"),
            (r"line1\.br\line2\.sp2\3", "line1\r\nline2\r\n3"),
            (r"\H\bold\N\ \Zx\y", "bold y"),
            (r"end\", r"end\"),
            (r"\\", r"\\"),
        ];
        for (raw, want) in table {
            assert_eq!(unescape(raw, &delimiters), want, "{raw}");
        }
    }

    #[test]
    fn a_message_without_an_escape_character_has_no_sequences() {
        let delimiters = Delimiters::new(b'|', b"^~").unwrap();
        assert_eq!(unescape(r"a\T\b", &delimiters), r"a\T\b");
    }
}
