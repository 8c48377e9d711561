//! Reads a scrubbed JPEG: a strict grammar, without fill bytes, gaps or tails.

use memchr::memchr;

use super::{VerifyError, is_bare_turn, profile};
use crate::media::jpeg::PROFILE_PREAMBLE;
use crate::scrub::policy::{PROFILE_BYTES_MAX, Purpose};

type Verdict = Result<(), VerifyError>;

fn fail(what: &'static str) -> Verdict {
    Err(VerifyError(what))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// FF D8.
    Start,
    /// A marker, and its length where it has one.
    Marker,
    /// So many more bytes of the segment's content.
    Content(usize),
    Entropy,
    /// The byte behind an FF in entropy-coded data.
    Stuffing,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Walk {
    purpose: Purpose,
    expect: Expect,
    /// Marker and length, as they come.
    head: Vec<u8>,
    content: Vec<u8>,
    seen: Seen,
    profile: Vec<u8>,
    /// Last number and count of the profile's segments.
    profile_at: (u8, u8),
}

#[allow(clippy::struct_excessive_bools)] // each header once
#[derive(Debug, Default)]
struct Seen {
    jfif: bool,
    exif: bool,
    adobe: bool,
    components: usize,
    scans: bool,
}

impl Walk {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            expect: Expect::Start,
            head: Vec::new(),
            content: Vec::new(),
            seen: Seen::default(),
            profile: Vec::new(),
            profile_at: (0, 0),
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Verdict {
        while !bytes.is_empty() {
            bytes = match self.expect {
                Expect::Entropy => self.entropy(bytes),
                Expect::Content(wanted) => {
                    let (now, later) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
                    self.content.extend_from_slice(now);
                    self.content_grew(wanted - now.len())?;
                    later
                }
                Expect::Nothing => return fail("bytes behind the end of the picture"),
                Expect::Start | Expect::Marker | Expect::Stuffing => {
                    let Some((byte, later)) = bytes.split_first() else { return Ok(()) };
                    self.step(*byte)?;
                    later
                }
            };
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Verdict {
        if self.expect == Expect::Nothing { Ok(()) } else { fail("no end of the picture") }
    }

    /// Entropy-coded data: up to the byte behind the next FF.
    fn entropy<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        // Nearly every FF is a stuffed one and is passed here without a change of state.
        while let Some(at) = memchr(0xFF, bytes) {
            let (_, behind) = bytes.split_at_checked(at + 1).unwrap_or((bytes, &[]));
            let [0 | 0xD0..=0xD7, rest @ ..] = behind else {
                self.expect = Expect::Stuffing;
                return behind;
            };
            bytes = rest;
        }
        &[]
    }

    fn step(&mut self, byte: u8) -> Verdict {
        if self.expect == Expect::Stuffing {
            if matches!(byte, 0 | 0xD0..=0xD7) {
                self.expect = Expect::Entropy;
                return Ok(());
            }
            self.expect = Expect::Marker;
            self.head.push(0xFF);
        }
        self.head.push(byte);
        match (self.expect, self.head.as_slice()) {
            (_, [0xFF]) | (Expect::Start, [0xFF, 0xD8]) => {}
            (Expect::Marker, [0xFF, 0xD9]) => return self.end(),
            (Expect::Marker, [0xFF, 0xC0..=0xC2 | 0xC4 | 0xDA | 0xDB | 0xDD | 0xE0..=0xE2 | 0xEE] | [0xFF, _, _]) => {
                return Ok(());
            }
            (Expect::Marker, [0xFF, _, high, low]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if length < 3 {
                    return fail("an empty segment");
                }
                self.content.clear();
                self.expect = Expect::Content(length - 2);
                return Ok(());
            }
            _ => return fail("a marker that may not stay"),
        }
        if self.expect == Expect::Start && self.head.len() == 2 {
            self.expect = Expect::Marker;
            self.head.clear();
        }
        Ok(())
    }

    fn content_grew(&mut self, wanted: usize) -> Verdict {
        self.expect = Expect::Content(wanted);
        if wanted > 0 {
            return Ok(());
        }
        let code = self.head.get(1).copied().unwrap_or_default();
        let content = std::mem::take(&mut self.content);
        let verdict = self.judge(code, &content);
        self.content = content;
        self.head.clear();
        self.expect = if code == 0xDA { Expect::Entropy } else { Expect::Marker };
        verdict
    }

    fn judge(&mut self, code: u8, content: &[u8]) -> Verdict {
        if self.seen.scans && !matches!(code, 0xC4 | 0xDA | 0xDB | 0xDD) {
            return fail("a header behind the first scan");
        }
        let sound = match code {
            0xE0 => !std::mem::replace(&mut self.seen.jfif, true) && is_bare_jfif(content),
            0xE1 => {
                let turn = content.strip_prefix(b"Exif\0\0").is_some_and(is_bare_turn);
                self.purpose == Purpose::File && !std::mem::replace(&mut self.seen.exif, true) && turn
            }
            0xE2 => return self.judge_profile(content),
            0xEE => !std::mem::replace(&mut self.seen.adobe, true) && content.len() == 12 && content.starts_with(b"Adobe"),
            0xC4 => fills(content, |t| Some(17 + t.get(1..17)?.iter().map(|n| usize::from(*n)).sum::<usize>())),
            0xDB => fills(content, |t| Some(if t.first()? >> 4 == 0 { 65 } else { 129 })),
            0xDD => content.len() == 2,
            0xDA => {
                self.seen.scans = true;
                let selectors = content.first().map_or(0, |n| usize::from(*n));
                let is_profile_whole = self.profile_at.0 == self.profile_at.1;
                (1..=self.seen.components).contains(&selectors) && content.len() == 4 + 2 * selectors && is_profile_whole
            }
            _ => {
                let components = content.get(5).map_or(0, |n| usize::from(*n));
                let is_first = std::mem::replace(&mut self.seen.components, components) == 0;
                is_first && matches!(components, 1 | 3 | 4) && content.len() == 6 + 3 * components && content.first() == Some(&8)
            }
        };
        if sound { Ok(()) } else { fail(rule(code)) }
    }

    fn judge_profile(&mut self, content: &[u8]) -> Verdict {
        let Some([number, count, data @ ..]) = content.strip_prefix(PROFILE_PREAMBLE) else {
            return fail("an APP2 segment that is no colour profile");
        };
        let (last, of) = self.profile_at;
        let continues = u16::from(*number) == u16::from(last) + 1 && number <= count && (last == 0 || of == *count);
        if self.purpose == Purpose::Object || !continues || self.profile.len() + data.len() > PROFILE_BYTES_MAX {
            return fail("a colour profile that may not stay");
        }
        self.profile_at = (*number, *count);
        self.profile.extend_from_slice(data);
        if number == count { profile::check(&std::mem::take(&mut self.profile)) } else { Ok(()) }
    }

    fn end(&mut self) -> Verdict {
        self.expect = Expect::Nothing;
        if self.seen.scans { Ok(()) } else { fail("no picture") }
    }
}

/// JFIF fields, and a thumbnail of nothing.
fn is_bare_jfif(content: &[u8]) -> bool {
    content.len() == 14 && content.starts_with(b"JFIF\0") && content.ends_with(&[0, 0])
}

/// True where tables, each as long as its own head says, fill `content` exactly.
fn fills(mut content: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> bool {
    while !content.is_empty() {
        match length(content).and_then(|n| content.get(n..)) {
            Some(rest) => content = rest,
            None => return false,
        }
    }
    true
}

fn rule(code: u8) -> &'static str {
    match code {
        0xE0 => "a JFIF header that is not bare",
        0xE1 => "an APP1 segment that is more than a turn",
        0xEE => "an Adobe header that is not bare",
        0xC4 | 0xDB | 0xDD => "a table with a tail",
        0xDA => "a scan header that does not fit",
        _ => "a frame header that does not fit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(code: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, code], &length[..], content].concat()
    }

    fn file(before: &[Vec<u8>], scan: &[u8], after: &[u8]) -> Vec<u8> {
        [
            vec![0xFF, 0xD8],
            before.concat(),
            segment(0xC0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]),
            segment(0xDA, &[1, 1, 0, 0, 63, 0]),
            scan.to_vec(),
            vec![0xFF, 0xD9],
            after.to_vec(),
        ]
        .concat()
    }

    fn verdict(bytes: &[u8], purpose: Purpose, portion: usize) -> Verdict {
        let mut walk = Walk::new(purpose);
        bytes.chunks(portion).try_for_each(|part| walk.push(part))?;
        walk.finish()
    }

    #[test]
    fn only_the_allow_list_passes() {
        let turn = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let table = [
            ("bare", file(&[], b"ab\xff\0\xff\xd3", b""), true),
            ("jfif", file(&[segment(0xE0, b"JFIF\0\x01\x02\0\0\x48\0\x48\0\0")], b"a", b""), true),
            ("a turn", file(&[segment(0xE1, turn)], b"a", b""), true),
            ("a turn and more", file(&[segment(0xE1, &[&turn[..], b"x"].concat())], b"a", b""), false),
            ("two turns", file(&[segment(0xE1, turn), segment(0xE1, turn)], b"a", b""), false),
            ("a thumbnail", file(&[segment(0xE0, b"JFIF\0\x01\x02\0\0\x48\0\x48\x01\x01rgb")], b"a", b""), false),
            ("xmp", file(&[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0x")], b"a", b""), false),
            ("a comment", file(&[segment(0xFE, b"x")], b"a", b""), false),
            ("APP13", file(&[segment(0xED, b"x")], b"a", b""), false),
            ("a stray byte", file(&[vec![7]], b"a", b""), false),
            ("a fill byte", file(&[vec![0xFF]], b"a", b""), false),
            ("a fill byte in the scan", file(&[], b"a\xff\xff", b""), false),
            ("a segment in the scan", file(&[], b"a\xff\xe1\0\x03x", b""), false),
            ("a tail", file(&[], b"a", b"\0"), false),
            ("a table with a tail", file(&[segment(0xDB, &[0; 66])], b"a", b""), false),
            ("no end", file(&[], b"a", b"")[..20].to_vec(), false),
        ];
        for (what, bytes, passes) in table {
            for portion in [1, 3, 4096] {
                assert_eq!(verdict(&bytes, Purpose::File, portion).is_ok(), passes, "{what} by {portion}");
            }
        }
        let turned = file(&[segment(0xE1, turn)], b"a", b"");
        assert!(verdict(&turned, Purpose::Object, 4096).is_err(), "no Exif in an object");
    }
}
