//! Reads a scrubbed PNG: known chunks in their order, lengths and checksums right, nothing else.

use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;

use super::{VerifyError, is_bare_turn, profile};
use crate::scrub::policy::{PNG_PROFILE_NAME, PROFILE_BYTES_MAX, Purpose};

type Verdict = Result<(), VerifyError>;

fn fail(what: &'static str) -> Verdict {
    Err(VerifyError(what))
}

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Largest chunk but for picture and profile: a palette.
const SMALL_BYTES_MAX: u32 = 768;
/// A packed profile may be a little longer than the profile.
const PACKED_BYTES_MAX: u32 = 257 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Signature,
    Head,
    Data(u32),
    Checksum,
    Nothing,
}

pub(super) struct Walk {
    purpose: Purpose,
    part: Part,
    /// Bytes of a part that is not complete.
    held: Vec<u8>,
    kind: [u8; 4],
    crc: Crc,
    /// Kinds so far; consecutive IDAT chunks stand once.
    order: Vec<[u8; 4]>,
    /// Pixels are places in a palette.
    is_indexed: bool,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("part", &self.part).finish_non_exhaustive()
    }
}

impl Walk {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            part: Part::Signature,
            held: Vec::new(),
            kind: [0; 4],
            crc: Crc::new(),
            order: Vec::new(),
            is_indexed: false,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Verdict {
        while !bytes.is_empty() {
            let wanted = match self.part {
                Part::Signature | Part::Head => 8,
                Part::Checksum => 4,
                Part::Nothing => return fail("bytes behind the end of the picture"),
                Part::Data(left) if self.kind == *b"IDAT" => {
                    let now = bytes.split_off(..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))).unwrap_or_default();
                    self.crc.update(now);
                    let left = left - u32::try_from(now.len()).unwrap_or(left);
                    self.part = if left > 0 { Part::Data(left) } else { Part::Checksum };
                    continue;
                }
                Part::Data(length) => usize::try_from(length).unwrap_or(usize::MAX),
            };
            let missing = bytes.len().min(wanted.saturating_sub(self.held.len()));
            self.held.extend_from_slice(bytes.split_off(..missing).unwrap_or_default());
            if self.held.len() == wanted {
                let held = std::mem::take(&mut self.held);
                self.complete(&held)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Verdict {
        if self.part == Part::Nothing { Ok(()) } else { fail("no end of the picture") }
    }

    fn complete(&mut self, bytes: &[u8]) -> Verdict {
        match self.part {
            Part::Signature if bytes == SIGNATURE => self.part = Part::Head,
            Part::Head => {
                let (Some(length), Some(kind)) = (bytes.first_chunk(), bytes.last_chunk()) else { return fail("a broken chunk") };
                self.kind = *kind;
                self.crc = Crc::new();
                self.crc.update(kind);
                return self.begin(u32::from_be_bytes(*length));
            }
            Part::Data(_) => {
                self.crc.update(bytes);
                self.part = Part::Checksum;
                return self.judge(bytes);
            }
            Part::Checksum if self.crc.sum().to_be_bytes() == bytes => {
                self.part = if self.kind == *b"IEND" { Part::Nothing } else { Part::Head };
            }
            Part::Signature | Part::Checksum | Part::Nothing => return fail("a signature or checksum that is wrong"),
        }
        Ok(())
    }

    fn begin(&mut self, length: u32) -> Verdict {
        let seen = |kind: &[u8; 4]| self.order.contains(kind);
        let last = self.order.last();
        let in_order = match &self.kind {
            b"IHDR" => last.is_none(),
            b"IDAT" => seen(b"IHDR") && (!seen(b"IDAT") || last == Some(b"IDAT")),
            b"IEND" => seen(b"IDAT") && length == 0,
            b"eXIf" => seen(b"IHDR") && !seen(b"eXIf"),
            kind => seen(b"IHDR") && !seen(b"IDAT") && !seen(kind),
        };
        if !in_order {
            return fail("a chunk where it may not stand");
        }
        let most = match &self.kind {
            b"IDAT" => u32::MAX >> 1,
            b"iCCP" => PACKED_BYTES_MAX,
            _ => SMALL_BYTES_MAX,
        };
        if length > most {
            return fail("a chunk that is too long");
        }
        if last != Some(&self.kind) {
            self.order.push(self.kind);
        }
        self.part = if length > 0 { Part::Data(length) } else { Part::Checksum };
        if length == 0 && !matches!(&self.kind, b"IDAT" | b"IEND") { fail("an empty chunk") } else { Ok(()) }
    }

    fn judge(&mut self, data: &[u8]) -> Verdict {
        if self.kind == *b"IHDR" {
            self.is_indexed = data.get(9) == Some(&3);
        }
        let fits = match (&self.kind, data.len()) {
            (b"IHDR", 13)
            | (b"gAMA" | b"cICP", 4)
            | (b"sRGB", 1)
            | (b"mDCV", 24)
            | (b"cLLI", 8)
            | (b"bKGD", 1 | 2 | 6)
            | (b"sBIT", 1..=4)
            | (b"tRNS", 1..=256) => true,
            (b"cHRM", 32) => data.chunks_exact(4).all(|n| matches!(n, [0, 0..=0x0F, ..])),
            (b"pHYs", 9) => data.last().is_some_and(|unit| *unit < 2),
            (b"PLTE", n) => n % 3 == 0 && self.is_indexed,
            (b"eXIf", _) => self.purpose == Purpose::File && is_bare_turn(data),
            (b"iCCP", _) if self.purpose == Purpose::File => return judge_profile(data),
            _ => false,
        };
        if fits { Ok(()) } else { fail("a chunk that may not stay") }
    }
}

fn judge_profile(data: &[u8]) -> Verdict {
    let Some([0, 0, packed @ ..]) = data.strip_prefix(PNG_PROFILE_NAME) else { return fail("a colour profile with a name") };
    let mut profile = Vec::new();
    let most = u64::try_from(PROFILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let mut unpacked = ZlibDecoder::new(packed).take(most);
    if unpacked.read_to_end(&mut profile).is_err() || unpacked.into_inner().total_in() != packed.len() as u64 {
        return fail("a colour profile that does not unpack");
    }
    profile::check(&profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
        let mut crc = Crc::new();
        crc.update(&kind);
        crc.update(data);
        [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], &kind, data, &crc.sum().to_be_bytes()].concat()
    }

    fn file(middle: &[Vec<u8>]) -> Vec<u8> {
        [SIGNATURE.to_vec(), chunk(*b"IHDR", &[0; 13]), middle.concat(), chunk(*b"IEND", &[])].concat()
    }

    fn verdict(bytes: &[u8], purpose: Purpose, portion: usize) -> Verdict {
        let mut walk = Walk::new(purpose);
        bytes.chunks(portion).try_for_each(|part| walk.push(part))?;
        walk.finish()
    }

    #[test]
    fn only_the_allow_list_passes() {
        let idat = || chunk(*b"IDAT", b"picture");
        let turn = || chunk(*b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
        let mut wrong_crc = file(&[idat()]);
        wrong_crc[20] ^= 1;
        let table = [
            ("bare", file(&[idat(), idat()]), true),
            ("colour", file(&[chunk(*b"gAMA", &[0; 4]), chunk(*b"pHYs", &[0; 9]), turn(), idat()]), true),
            ("a turn behind", file(&[idat(), turn()]), true),
            ("two turns", file(&[turn(), turn(), idat()]), false),
            ("more than a turn", file(&[chunk(*b"eXIf", b"MM\0*"), idat()]), false),
            ("text", file(&[chunk(*b"tEXt", b"Comment\0x"), idat()]), false),
            ("time", file(&[chunk(*b"tIME", &[0; 7]), idat()]), false),
            ("private", file(&[chunk(*b"prVt", b"x"), idat()]), false),
            ("colour with a tail", file(&[chunk(*b"gAMA", &[0; 5]), idat()]), false),
            ("colour behind the picture", file(&[idat(), chunk(*b"gAMA", &[0; 4])]), false),
            ("a profile that is none", file(&[chunk(*b"iCCP", b"icc\0\0x"), idat()]), false),
            ("no picture", file(&[]), false),
            ("a parted picture", file(&[idat(), turn(), idat()]), false),
            ("a wrong checksum", wrong_crc, false),
            ("a tail", [file(&[idat()]), vec![0]].concat(), false),
        ];
        for (what, bytes, passes) in table {
            for portion in [1, 5, 4096] {
                assert_eq!(verdict(&bytes, Purpose::File, portion).is_ok(), passes, "{what} by {portion}");
            }
        }
        assert!(verdict(&file(&[turn(), idat()]), Purpose::Object, 4096).is_err(), "no Exif in an object");
    }
}
