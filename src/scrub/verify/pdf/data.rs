//! The data of streams.

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};

use super::grammar::Value;
use super::{UNREADABLE, Verdict, Walk, content, fail, font, jbig2, jpx, read};
use crate::capture::MediaKind;
use crate::media::source::Source;
use crate::scrub::VerifyError;
use crate::scrub::policy::Purpose;
use crate::scrub::policy::pdf::{CALCULATOR, CODING_KEYS, Kind, MAP_END, MAP_HEAD, MAP_PARTS, PREDICTOR_KEYS};
use crate::scrub::verify::{Verifier, check_profile};

/// Read at a time.
const PORTION_BYTES: u64 = 64 * 1024;
/// What is unpacked to be read, at most: a content, a program.
const UNPACKED_BYTES_MAX: usize = 512 * 1024 * 1024;

impl Walk<'_> {
    pub(super) fn stream(&mut self, value: &Value, range: Range<u64>, kind: Kind) -> Verdict {
        let subtype = value.get(b"Subtype").and_then(Value::name);
        let filter = value.get(b"Filter").and_then(Value::name);
        let kind = match kind {
            Kind::Outside if subtype == Some(b"Image") => Kind::Image,
            Kind::Outside if subtype == Some(b"Form") => Kind::Form,
            Kind::Pattern => Kind::Tiling,
            Kind::Content
            | Kind::Shading
            | Kind::Function
            | Kind::Profile
            | Kind::FontProgram
            | Kind::Data
            | Kind::Shared
            | Kind::CharacterMap => kind,
            _ => return fail("data that may not stand where they do"),
        };
        self.dict(value, kind, 0)?;
        if kind == Kind::Image {
            return self.image(value, range, filter);
        }
        if filter.is_none() && range.is_empty() {
            return Ok(());
        }
        if filter != Some(b"FlateDecode") || value.get(b"DecodeParms").is_some() {
            return fail("data that are packed in a way that is not used here");
        }
        let bytes = unpack(&read(self.output, range)?)?;
        match kind {
            Kind::Form | Kind::Tiling | Kind::Content => content::check(&bytes, b'\n'),
            Kind::Profile => check_profile(&bytes),
            Kind::Shared => jbig2::check(&bytes),
            Kind::CharacterMap => character_map(&bytes),
            Kind::FontProgram => font::check(&bytes),
            Kind::Function if value.get(b"FunctionType").and_then(Value::integer) == Some(4) => {
                program(&bytes, |word| CALCULATOR.contains(&word))
            }
            _ => Ok(()),
        }
    }

    fn image(&mut self, value: &Value, range: Range<u64>, filter: Option<&[u8]>) -> Verdict {
        let known = match filter {
            Some(b"FlateDecode") => PREDICTOR_KEYS,
            _ => CODING_KEYS,
        };
        match value.get(b"DecodeParms") {
            None => {}
            Some(Value::Dict(dict)) if filter == Some(b"JBIG2Decode") => match dict.as_slice() {
                [(key, Value::Reference(number))] if key == b"JBIG2Globals" => self.reach(*number, Kind::Shared)?,
                _ => return fail("a parameter of a coding that may not stay"),
            },
            Some(Value::Dict(dict)) => {
                let is_plain = |v: &Value| matches!(v, Value::Number(_) | Value::Bool(_));
                if !dict.iter().all(|(key, v)| known.iter().any(|k| k.as_bytes() == key.as_slice()) && is_plain(v)) {
                    return fail("a parameter of a coding that may not stay");
                }
            }
            Some(_) => return fail("a parameter of a coding that may not stay"),
        }
        let most = self.samples(value);
        match filter {
            None if value.get(b"Filter").is_some() => fail("a picture with several filters"),
            None => {
                if most.is_none_or(|most| range.end - range.start <= most) {
                    Ok(())
                } else {
                    fail("a picture with a tail")
                }
            }
            Some(b"FlateDecode") => self.flate(value, range, most),
            Some(b"DCTDecode") => {
                let mut verifier = Verifier::new(MediaKind::Jpeg, Purpose::Object);
                portions(self.output, &range, &mut |part| verifier.push(part))?;
                verifier.finish()
            }
            Some(b"JBIG2Decode") => jbig2::check(&read(self.output, range)?),
            Some(b"JPXDecode") => jpx::check(&read(self.output, range)?),
            Some(b"CCITTFaxDecode") => Ok(()),
            Some(_) => fail("a picture that is coded in a way that is not known"),
        }
    }

    /// Packed samples: they end where the data end, and are no more than the picture has.
    fn flate(&self, value: &Value, range: Range<u64>, most: Option<u64>) -> Verdict {
        let predictor = value.get(b"DecodeParms").and_then(|p| p.get(b"Predictor")).and_then(Value::integer);
        let height = value.get(b"Height").and_then(Value::integer).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let most = most.map(|most| most + if predictor.is_some_and(|p| p >= 10) { height } else { 0 });
        let mut engine = Decompress::new(true);
        let mut buffer = vec![0; 64 * 1024];
        let mut is_done = false;
        portions(self.output, &range, &mut |part| {
            let mut part = part;
            while !part.is_empty() {
                let (before, given) = (engine.total_in(), engine.total_out());
                let status = engine.decompress(part, &mut buffer, FlushDecompress::None);
                let took = usize::try_from(engine.total_in() - before).map_err(|_| UNREADABLE)?;
                part = part.get(took..).unwrap_or_default();
                match status {
                    Ok(Status::StreamEnd) => {
                        is_done = true;
                        return if part.is_empty() { Ok(()) } else { fail("a picture with a tail") };
                    }
                    Ok(_) if took == 0 && engine.total_out() == given => return fail("a picture that is packed badly"),
                    Ok(_) => {}
                    Err(_) => return fail("a picture that is packed badly"),
                }
            }
            Ok(())
        })?;
        // What is left in the engine once the input has ended.
        while !is_done {
            let given = engine.total_out();
            match engine.decompress(&[], &mut buffer, FlushDecompress::None) {
                Ok(Status::StreamEnd) => is_done = true,
                Ok(_) if engine.total_out() > given => {}
                _ => return fail("a picture that does not end"),
            }
        }
        let is_all = engine.total_in() == range.end - range.start;
        if is_all && most.is_none_or(|most| engine.total_out() <= most) { Ok(()) } else { fail("a picture with a tail") }
    }

    /// Bytes of the samples, where colours and size tell.
    fn samples(&self, value: &Value) -> Option<u64> {
        let number = |key: &[u8]| value.get(key).and_then(Value::integer).and_then(|n| u64::try_from(n).ok());
        let is_mask = value.get(b"ImageMask") == Some(&Value::Bool(true));
        let (bits, colours) =
            if is_mask { (1, 1) } else { (number(b"BitsPerComponent")?, self.components(value.get(b"ColorSpace")?, 0)?) };
        number(b"Width")?.checked_mul(bits)?.checked_mul(colours)?.div_ceil(8).checked_mul(number(b"Height")?)
    }

    fn components(&self, space: &Value, depth: usize) -> Option<u64> {
        if depth > 8 {
            return None;
        }
        match space {
            Value::Reference(number) => self.components(&self.at(*number)?.value, depth + 1),
            Value::Name(word) => match word.as_slice() {
                b"DeviceGray" | b"G" => Some(1),
                b"DeviceRGB" | b"RGB" => Some(3),
                b"DeviceCMYK" | b"CMYK" => Some(4),
                _ => None,
            },
            Value::Array(parts) => match (parts.first()?.name()?, parts.get(1)) {
                (b"CalGray" | b"Indexed" | b"I" | b"Separation", _) => Some(1),
                (b"CalRGB" | b"Lab", _) => Some(3),
                (b"DeviceN", Some(Value::Array(colorants))) => u64::try_from(colorants.len()).ok(),
                (b"ICCBased", Some(Value::Reference(profile))) => {
                    u64::try_from(self.at(*profile)?.value.get(b"N")?.integer()?).ok()
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn portions(output: &dyn Source, range: &Range<u64>, sink: &mut dyn FnMut(&[u8]) -> Verdict) -> Verdict {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PORTION_BYTES);
        sink(&read(output, at..end)?)?;
        at = end;
    }
    Ok(())
}

/// Bytes that were packed here: they end where the data end.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, VerifyError> {
    const BAD: VerifyError = VerifyError("data that are packed badly");
    let mut engine = Decompress::new(true);
    let mut bytes = Vec::with_capacity(packed.len().saturating_mul(3).max(1024));
    loop {
        if bytes.len() > UNPACKED_BYTES_MAX {
            return Err(BAD);
        }
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len().max(1024));
        }
        let at = usize::try_from(engine.total_in()).map_err(|_| BAD)?;
        let given = bytes.len();
        let rest = packed.get(at..).unwrap_or_default();
        let status = engine.decompress_vec(rest, &mut bytes, FlushDecompress::None).map_err(|_| BAD)?;
        match status {
            Status::StreamEnd if engine.total_in() == packed.len() as u64 => return Ok(bytes),
            Status::StreamEnd => return Err(BAD),
            _ if rest.is_empty() && bytes.len() == given && bytes.len() < bytes.capacity() => return Err(BAD),
            _ => {}
        }
    }
}

pub(super) fn jpeg(bytes: &[u8]) -> Verdict {
    let mut verifier = Verifier::new(MediaKind::Jpeg, Purpose::Object);
    verifier.push(bytes)?;
    verifier.finish()
}

/// A program, one word on a line: nothing in it is a comment.
fn program(bytes: &[u8], may_stay: impl Fn(&[u8]) -> bool) -> Verdict {
    for line in bytes.split(|b| *b == b'\n') {
        let fits = match line {
            [] | [b'{' | b'}' | b'[' | b']'] | b"<<" | b">>" => true,
            [b'/', name @ ..] => !name.contains(&b'%'),
            [b'<', digits @ .., b'>'] => digits.iter().all(u8::is_ascii_hexdigit),
            number if number.iter().all(|b| matches!(b, b'-' | b'.' | b'0'..=b'9')) => true,
            word => !word.contains(&b'%') && may_stay(word),
        };
        if !fits {
            return fail("a program with more in it than words");
        }
    }
    Ok(())
}

/// Our frame, and in it parts whose lines are codes; between them what the map builds on.
fn character_map(bytes: &[u8]) -> Verdict {
    const MORE: &str = "a character map with more in it than codes";
    let Some(parts) = bytes.strip_prefix(MAP_HEAD).and_then(|rest| rest.strip_suffix(MAP_END)) else { return fail(MORE) };
    let mut lines = parts.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    while let Some(first) = lines.next() {
        let second = lines.next().unwrap_or_default();
        let begun = second.strip_prefix(b"begin").filter(|name| MAP_PARTS.contains(name));
        let is_number = |line: &[u8]| line.iter().all(|b| b.is_ascii_digit() || *b == b'-');
        match (first, second, begun) {
            ([b'/', ..], b"usecmap", _) => {}
            (b"/WMode", b"0" | b"1", _) if lines.next() == Some(b"def") => {}
            (count, _, Some(name)) if is_number(count) => loop {
                match lines.next() {
                    Some([b'[' | b']'] | [b'/', ..]) => {}
                    Some([b'<', codes @ .., b'>']) if codes.iter().all(u8::is_ascii_hexdigit) => {}
                    Some(line) if line.strip_prefix(b"end") == Some(name) => break,
                    Some(line) if is_number(line) => {}
                    _ => return fail(MORE),
                }
            },
            _ => return fail(MORE),
        }
    }
    Ok(())
}
