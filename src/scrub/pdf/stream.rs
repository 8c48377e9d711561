//! Streams, each by what its data are.

use super::pages::CONTENT_BYTES_MAX;
use super::write::{Data, deflate, name};
use super::{Planner, Result, content, font, jbig2, unsupported};
use crate::media::pdf::Loaded;
use crate::media::pdf::lexer::{Dict, Object};
use crate::scrub::ScrubError;
use crate::scrub::policy::pdf::{CALCULATOR, Kind, is_outline_font};

/// A font program, a table of a function, a mesh, unpacked. A font of all Chinese characters has
/// some ten megabytes.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Two bytes for each of 65,536 characters (§9.7.4.2).
const GLYPHS_BYTES_MAX: usize = 128 * 1024;

pub(super) type Made = Option<(Object, Option<Data>)>;

impl Planner<'_> {
    /// A stream of the source as what it is used for; `None`: it is no such thing.
    pub(super) fn stream(&mut self, kind: Kind, dict: &Dict, loaded: &Loaded) -> Result<Made> {
        let subtype = dict.get(b"Subtype".as_slice()).and_then(Object::name);
        Ok(match kind {
            Kind::Outside if subtype == Some(b"Image") => self.image(dict, loaded)?,
            Kind::Outside if subtype == Some(b"Form") => Some(self.drawing(Kind::Form, dict, loaded)?),
            Kind::Pattern => Some(self.drawing(Kind::Tiling, dict, loaded)?),
            Kind::Content => Some(self.drawing(Kind::Content, dict, loaded)?),
            Kind::Shading => {
                let kept = self.dict(Kind::Shading, dict, 0)?;
                let bytes = self.document.unpack(loaded, TABLE_BYTES_MAX)?;
                Some(made(kept, &bytes))
            }
            Kind::Function => self.function(dict, loaded)?,
            Kind::Profile => match self.rewritten_profile(loaded)? {
                Some(bytes) => {
                    let kept = self.dict(Kind::Profile, dict, 0)?;
                    Some(made(kept, &bytes))
                }
                None => None,
            },
            Kind::FontProgram => {
                let mut kept = self.dict(Kind::FontProgram, dict, 0)?;
                let bytes = self.document.unpack(loaded, TABLE_BYTES_MAX)?;
                let Some(clean) = font::strip(&bytes) else { return Ok(None) };
                if clean != bytes {
                    self.findings.remove_bytes(&bytes, "pdf.font");
                    if is_outline_font(&bytes) {
                        // All of it is the one part whose length is told.
                        kept.insert(b"Length1".to_vec(), super::write::integer(clean.len() as u64));
                    }
                }
                Some(made(kept, &clean))
            }
            Kind::Data => {
                let mut bytes = self.document.unpack(loaded, TABLE_BYTES_MAX)?;
                bytes.truncate(GLYPHS_BYTES_MAX);
                Some(made(Dict::new(), &bytes))
            }
            Kind::Shared => {
                let bytes = self.document.unpack(loaded, TABLE_BYTES_MAX)?;
                let clean = jbig2::strip(&bytes).map_err(|fault| ScrubError::damaged("PDF", fault))?;
                Some(made(Dict::new(), &clean))
            }
            Kind::CharacterMap => {
                let kept = self.dict(Kind::CharacterMap, dict, 0)?;
                let bytes = self.document.unpack(loaded, TABLE_BYTES_MAX)?;
                let Some((program, lost_words)) = content::character_map(&bytes) else { return Ok(None) };
                if lost_words {
                    self.findings.remove_bytes(&bytes, "pdf.comments");
                }
                Some(made(kept, &program))
            }
            _ => None,
        })
    }

    /// A form, the cell of a pattern, or a glyph: a content with its resources.
    fn drawing(&mut self, kind: Kind, dict: &Dict, loaded: &Loaded) -> Result<(Object, Option<Data>)> {
        let bytes = self.document.unpack(loaded, CONTENT_BYTES_MAX)?;
        let (bytes, used) = self.draw(&bytes)?;
        let mut own = dict.clone();
        let resources = own.remove(b"Resources".as_slice());
        let mut kept = self.dict(kind, &own, 0)?;
        if let (Some(resources), true) = (resources, kind != Kind::Content) {
            kept.insert(b"Resources".to_vec(), self.resources(&resources, Some(&used))?);
        }
        kept.insert(b"Filter".to_vec(), name(b"FlateDecode"));
        Ok(with_length(kept, Data::New(deflate(&bytes))))
    }

    /// A function of samples, cut where they end, or a program (§7.10).
    fn function(&mut self, dict: &Dict, loaded: &Loaded) -> Result<Made> {
        let mut kept = self.dict(Kind::Function, dict, 0)?;
        let mut bytes = self.document.unpack(loaded, TABLE_BYTES_MAX)?;
        match dict.get(b"FunctionType".as_slice()).and_then(Object::integer) {
            Some(0) => {
                let numbers = |key: &[u8]| {
                    kept.get(key)
                        .and_then(Object::array)
                        .map(|items| items.iter().filter_map(Object::integer).collect::<Vec<_>>())
                };
                let samples = numbers(b"Size")
                    .unwrap_or_default()
                    .into_iter()
                    .try_fold(1usize, |sum, n| sum.checked_mul(usize::try_from(n).ok()?));
                let outputs = kept.get(b"Range".as_slice()).and_then(Object::array).map_or(1, |r| r.len() / 2);
                let bits = kept.get(b"BitsPerSample".as_slice()).and_then(Object::integer).and_then(|n| usize::try_from(n).ok());
                let most = samples.zip(bits).and_then(|(samples, bits)| samples.checked_mul(outputs)?.checked_mul(bits));
                bytes.truncate(most.map_or(0, |bits| bits.div_ceil(8)));
            }
            Some(4) => {
                let Some((program, lost_comment)) = content::program(&bytes, |word| CALCULATOR.contains(&word)) else {
                    return Err(unsupported("a function that is no program of the standard").into());
                };
                if lost_comment {
                    self.findings.remove_bytes(&bytes, "pdf.comments");
                }
                bytes = program;
            }
            _ => return Ok(None),
        }
        kept.insert(b"Filter".to_vec(), name(b"FlateDecode"));
        Ok(Some(with_length(kept, Data::New(deflate(&bytes)))))
    }
}

/// A dictionary, and bytes that are packed for it.
fn made(mut kept: Dict, bytes: &[u8]) -> (Object, Option<Data>) {
    kept.insert(b"Filter".to_vec(), name(b"FlateDecode"));
    with_length(kept, Data::New(deflate(bytes)))
}

/// The length of the data, as part of what describes them.
pub(super) fn with_length(mut kept: Dict, data: Data) -> (Object, Option<Data>) {
    kept.insert(b"Length".to_vec(), super::write::integer(data.length_bytes()));
    (Object::Dict(kept), Some(data))
}
