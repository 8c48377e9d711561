//! Pictures: samples, JPEG, fax, bilevel; each without a byte that is no picture.

use std::ops::Range;

use super::content::{Inline, raw_length};
use super::stream::{Made, with_length};
use super::write::{Data, deflate, kept, name};
use super::{Planner, Result, unsupported};
use super::{jbig2, jpx};
use crate::media::Fault;
use crate::media::pdf::filter::{Filter, Inflate};
use crate::media::pdf::lexer::{Dict, Object};
use crate::media::pdf::{Coding, Loaded};
use crate::scrub::ScrubError;
use crate::scrub::apply::Edits;
use crate::scrub::container::{BUFFER_BYTES, Piece, PlanError, portion};
use crate::scrub::jpeg;
use crate::scrub::policy::pdf::{CODING_KEYS, Kind, PREDICTOR_KEYS};
use crate::scrub::policy::{Limits, Purpose};

/// Start of Image and the marker behind it (ISO/IEC 10918-1 §B.1.1.3).
const SOI: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// A coded picture whose filter was lost is no samples: all that is written in it would stay. `head`:
/// the first of so many `bytes`.
fn are_samples(head: &[u8], bytes: u64, most: Option<usize>) -> Result<()> {
    let most = most.and_then(|most| u64::try_from(most).ok());
    if most.is_some_and(|most| bytes < most) {
        return Err(ScrubError::damaged("PDF", Fault("has a picture with fewer samples than it says")).into());
    }
    if head.starts_with(&SOI) {
        return Err(ScrubError::damaged("PDF", Fault("has a picture that is a JPEG and does not say so")).into());
    }
    Ok(())
}

/// Samples that are held in memory, where they cannot be copied as they are packed.
const SAMPLES_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How far from the start of its data a JPEG may begin.
const START_WITHIN_BYTES: u64 = 64;
/// An inline picture, unpacked. They are meant for four kilobytes.
const INLINE_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Planner<'_> {
    /// A picture, with its data as they are coded wherever that hides nothing.
    pub(super) fn image(&mut self, dict: &Dict, loaded: &Loaded) -> Result<Made> {
        let kept_keys = self.dict(Kind::Image, dict, 0)?;
        let coding = self.document.coding(dict)?;
        let Some(range) = loaded.data.clone() else { return Ok(None) };
        let most = self.samples_bytes(&kept_keys, dict)?;
        let made = match coding.filters.as_slice() {
            [] if coding.is_plain => {
                let length = range.end - range.start;
                let mut head = [0; SOI.len()];
                let head = portion(&mut head, length);
                self.document.read(range.start, head)?;
                are_samples(head, length, most)?;
                let length = most.and_then(|m| u64::try_from(m).ok()).map_or(length, |most| length.min(most));
                with_length(kept_keys, kept(range.start..range.start + length))
            }
            [(Filter::Flate, parameters)] if coding.is_plain => {
                return match self.whole_flate(&range, parameters, &kept_keys, most)? {
                    Some(range) => {
                        let mut keys = kept_keys;
                        keys.insert(b"Filter".to_vec(), name(b"FlateDecode"));
                        let parameters = plain(parameters, PREDICTOR_KEYS);
                        if !parameters.is_empty() {
                            keys.insert(b"DecodeParms".to_vec(), Object::Dict(parameters));
                        }
                        Ok(Some(with_length(keys, kept(range))))
                    }
                    None => self.unpacked_image(kept_keys, &coding, loaded, most),
                };
            }
            [(Filter::Dct, parameters)] if coding.is_plain => {
                let data = self.jpeg_of_source(&range)?;
                jpeg_with(kept_keys, parameters, data)
            }
            _ => return self.unpacked_image(kept_keys, &coding, loaded, most),
        };
        Ok(Some(made))
    }

    /// A picture whose data have to be unpacked as far as they are no picture.
    fn unpacked_image(&mut self, mut keys: Dict, coding: &Coding, loaded: &Loaded, most: Option<usize>) -> Result<Made> {
        let mut bytes = self.document.unpack(loaded, SAMPLES_BYTES_MAX)?;
        let picture = coding.filters.iter().find(|(filter, _)| filter.is_picture());
        let Some((filter, parameters)) = picture else {
            are_samples(&bytes, bytes.len() as u64, most)?;
            bytes.truncate(most.unwrap_or(usize::MAX));
            keys.insert(b"Filter".to_vec(), name(b"FlateDecode"));
            return Ok(Some(with_length(keys, Data::New(deflate(&bytes)))));
        };
        match filter {
            Filter::Dct => {
                let data = self.jpeg_of_bytes(&bytes)?;
                Ok(Some(jpeg_with(keys, parameters, Data::New(data))))
            }
            Filter::Ccitt => {
                keys.insert(b"Filter".to_vec(), name(b"CCITTFaxDecode"));
                keys.insert(b"DecodeParms".to_vec(), Object::Dict(plain(parameters, CODING_KEYS)));
                Ok(Some(with_length(keys, Data::New(bytes))))
            }
            Filter::Jpx => {
                let clean = jpx::strip(&bytes).map_err(|fault| ScrubError::damaged("PDF", fault))?;
                if clean != bytes {
                    self.findings.remove_bytes(&bytes, "jpx.metadata");
                }
                keys.insert(b"Filter".to_vec(), name(b"JPXDecode"));
                Ok(Some(with_length(keys, Data::New(clean))))
            }
            Filter::Jbig2 => {
                let clean = jbig2::strip(&bytes).map_err(|fault| ScrubError::damaged("PDF", fault))?;
                if clean != bytes {
                    self.findings.remove_bytes(&bytes, "jbig2.metadata");
                }
                keys.insert(b"Filter".to_vec(), name(b"JBIG2Decode"));
                if let Some(Object::Reference(number)) = parameters.get(b"JBIG2Globals".as_slice()) {
                    let shared = self.refer(*number, Kind::Shared)?;
                    keys.insert(b"DecodeParms".to_vec(), Object::Dict([(b"JBIG2Globals".to_vec(), shared)].into()));
                }
                Ok(Some(with_length(keys, Data::New(clean))))
            }
            // Those that pack are undone before.
            _ => Err(unsupported("a picture coded in a way that is not known").into()),
        }
    }

    /// Bytes of all samples, where the picture says how many there are. `kept` has the numbers,
    /// `source` the colours as the source refers to them.
    fn samples_bytes(&mut self, kept: &Dict, source: &Dict) -> Result<Option<usize>> {
        let number = |key: &[u8]| kept.get(key).and_then(Object::integer).and_then(|n| usize::try_from(n).ok());
        let is_mask = kept.get(b"ImageMask".as_slice()) == Some(&Object::Bool(true));
        let (bits, colours) = if is_mask {
            (Some(1), Some(1))
        } else {
            let space = source.get(b"ColorSpace".as_slice()).cloned().unwrap_or(Object::Null);
            (number(b"BitsPerComponent"), self.components(&space, 0)?)
        };
        let (Some(width), Some(height), Some(bits), Some(colours)) = (number(b"Width"), number(b"Height"), bits, colours) else {
            return Ok(None);
        };
        let row = width.checked_mul(colours).and_then(|n| n.checked_mul(bits)).map(|n| n.div_ceil(8));
        Ok(row.and_then(|row| row.checked_mul(height)))
    }

    /// The packed bytes, where they end well and hold no more than the samples.
    fn whole_flate(
        &mut self,
        range: &Range<u64>,
        parameters: &Dict,
        dict: &Dict,
        most: Option<usize>,
    ) -> Result<Option<Range<u64>>> {
        let is_png_row = parameters.get(b"Predictor".as_slice()).and_then(Object::integer).is_some_and(|p| p >= 10);
        let height = dict.get(b"Height".as_slice()).and_then(Object::integer).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let most = most.and_then(|m| u64::try_from(m).ok()).map(|m| m + if is_png_row { height } else { 0 });
        let mut engine = Inflate::new();
        let mut at = range.start;
        let mut buffer = vec![0; BUFFER_BYTES];
        while at < range.end && !engine.is_whole() {
            let part = portion(&mut buffer, range.end - at);
            let length = part.len() as u64;
            self.document.read(at, part)?;
            let before = (engine.consumed_bytes(), engine.given_bytes());
            engine.push(part, &mut |_| true);
            self.document.pay_unpacked((engine.given_bytes() - before.1) / 4)?;
            if engine.consumed_bytes() - before.0 < length && !engine.is_whole() {
                return Ok(None);
            }
            at += length;
        }
        let fits = engine.is_whole() && most.is_none_or(|most| engine.given_bytes() <= most);
        Ok(fits.then(|| range.start..range.start + engine.consumed_bytes()))
    }

    fn jpeg_limits(&self) -> Limits {
        // It is never decoded here.
        Limits { decoded_pixels_max: self.limits.pixels_max, ..self.limits }
    }

    /// A JPEG of the source, as the parts of it that stay.
    fn jpeg_of_source(&mut self, range: &Range<u64>) -> Result<Data> {
        let mut planner = jpeg::Planner::new(Purpose::Object, self.jpeg_limits());
        let mut buffer = vec![0; BUFFER_BYTES];
        let head = portion(&mut buffer, (range.end - range.start).min(START_WITHIN_BYTES));
        self.document.read(range.start, head)?;
        let mut at = range.start + start_of_jpeg(head)? as u64;
        let mut parts = Parts { at, pieces: Vec::new() };
        while at < range.end {
            let part = portion(&mut buffer, range.end - at);
            self.document.read(at, part)?;
            planner.push(part, &mut parts)?;
            at += part.len() as u64;
        }
        self.finish_jpeg(planner)?;
        Ok(Data::Pieces(parts.pieces))
    }

    fn jpeg_of_bytes(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut planner = jpeg::Planner::new(Purpose::Object, self.jpeg_limits());
        let mut copy = Copy(Vec::with_capacity(bytes.len()));
        planner.push(bytes.get(start_of_jpeg(bytes)?..).unwrap_or_default(), &mut copy)?;
        self.finish_jpeg(planner)?;
        Ok(copy.0)
    }

    fn finish_jpeg(&mut self, planner: jpeg::Planner) -> Result<()> {
        let (_, found) = planner.finish()?;
        // A line end behind the picture is the writer's, and no one's trailer.
        let words = found.removed.into_iter().filter(|word| *word != "jpeg.trailer");
        self.findings.removed.extend(words);
        self.findings.finder.note(found.finder.has_found());
        Ok(())
    }

    /// An inline picture with a filter whose end needs no search.
    pub(super) fn inline(&mut self, found: Inline) -> Result<Option<Inline>> {
        let coding_keys = found.keys.iter().filter(|(key, _)| matches!(key.as_slice(), b"F" | b"DP"));
        let known: Dict = coding_keys.map(|(key, value)| (key.clone(), value.clone())).collect();
        let coding = self.document.coding(&known)?;
        let mut bytes = found.data;
        for (filter, parameters) in coding.filters.iter().take_while(|(f, _)| !f.is_picture()) {
            bytes = crate::media::pdf::filter::decode(*filter, parameters, &bytes, INLINE_BYTES_MAX)
                .map_err(crate::media::pdf::PdfError::from)?;
        }
        let mut keys = Dict::new();
        for (key, value) in &found.keys {
            let kept = match (key.as_slice(), value) {
                (b"W" | b"H" | b"BPC", Object::Integer(_) | Object::Real(_))
                | (b"IM" | b"I", Object::Bool(_))
                | (b"CS" | b"Intent", Object::Name(_)) => true,
                (b"D", Object::Array(items)) => items.iter().all(|i| matches!(i, Object::Integer(_) | Object::Real(_))),
                (b"CS", Object::Array(items)) => {
                    items.len() <= 4 && items.iter().all(|i| matches!(i, Object::Integer(_) | Object::Name(_) | Object::Text(_)))
                }
                _ => false,
            };
            if kept {
                keys.insert(key.clone(), value.clone());
            }
        }
        let (last, parameters, data) = match coding.filters.iter().find(|(f, _)| f.is_picture()) {
            None => {
                bytes.truncate(raw_length(&keys).unwrap_or(usize::MAX));
                (b"Fl".as_slice(), None, deflate(&bytes))
            }
            Some((Filter::Dct, _)) => (b"DCT".as_slice(), None, self.jpeg_of_bytes(&bytes)?),
            Some((Filter::Ccitt, parameters)) => (b"CCF".as_slice(), Some(plain(parameters, CODING_KEYS)), bytes),
            Some(_) => return Ok(None),
        };
        keys.insert(b"F".to_vec(), Object::Array(vec![name(b"AHx"), name(last)]));
        if let Some(parameters) = parameters {
            keys.insert(b"DP".to_vec(), Object::Array(vec![Object::Null, Object::Dict(parameters)]));
        }
        let mut hex: Vec<u8> = data.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect();
        hex.push(b'>');
        Ok(Some(Inline { keys, data: hex }))
    }
}

/// Where a JPEG begins: some writers put a line end before it.
fn start_of_jpeg(bytes: &[u8]) -> Result<usize> {
    let near = bytes.iter().take(usize::try_from(START_WITHIN_BYTES).unwrap_or(0)).copied().collect::<Vec<u8>>();
    let fault = Fault("has a picture that is said to be a JPEG and is none");
    Ok(near.windows(3).position(|w| w == [0xFF, 0xD8, 0xFF]).ok_or_else(|| ScrubError::damaged("PDF", fault))?)
}

fn jpeg_with(mut keys: Dict, parameters: &Dict, data: Data) -> (Object, Option<Data>) {
    keys.insert(b"Filter".to_vec(), name(b"DCTDecode"));
    let parameters = plain(parameters, CODING_KEYS);
    if !parameters.is_empty() {
        keys.insert(b"DecodeParms".to_vec(), Object::Dict(parameters));
    }
    with_length(keys, data)
}

/// Of the parameters of a filter those that are numbers and known.
fn plain(parameters: &Dict, known: &[&str]) -> Dict {
    let is_plain = |value: &Object| matches!(value, Object::Integer(_) | Object::Real(_) | Object::Bool(_));
    let those = parameters.iter().filter(|(key, value)| known.iter().any(|k| k.as_bytes() == key.as_slice()) && is_plain(value));
    those.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What stays of a JPEG, as places of the source.
struct Parts {
    at: u64,
    pieces: Vec<Piece>,
}

impl Edits for Parts {
    type Stop = PlanError;

    fn keep(&mut self, bytes: &[u8], _: &'static str) -> Result<()> {
        let end = self.at.saturating_add(bytes.len() as u64);
        match self.pieces.last_mut() {
            Some(Piece::Kept(last)) if last.end == self.at => last.end = end,
            _ => self.pieces.push(Piece::Kept(self.at..end)),
        }
        self.at = end;
        Ok(())
    }

    fn discard(&mut self, length: usize, _: &'static str) {
        self.at = self.at.saturating_add(length as u64);
    }

    fn replace(&mut self, length: usize, with: &[u8], _: &'static str) -> Result<()> {
        self.at = self.at.saturating_add(length as u64);
        if !with.is_empty() {
            self.pieces.push(Piece::New(with.to_vec()));
        }
        Ok(())
    }
}

/// What stays of a JPEG, as bytes.
struct Copy(Vec<u8>);

impl Edits for Copy {
    type Stop = PlanError;

    fn keep(&mut self, bytes: &[u8], _: &'static str) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn discard(&mut self, _: usize, _: &'static str) {}

    fn replace(&mut self, _: usize, with: &[u8], _: &'static str) -> Result<()> {
        self.0.extend_from_slice(with);
        Ok(())
    }
}
