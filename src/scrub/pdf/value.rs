//! A value, as what it is by its place: kept, kept in part, or not at all.

use super::write::{Data, name};
use super::{Planner, Result};
use crate::media::pdf::Loaded;
use crate::media::pdf::lexer::{Dict, Object};
use crate::scrub::icc;
use crate::scrub::policy::PROFILE_BYTES_MAX;
use crate::scrub::policy::pdf::{Kind, LAYER_NAME, MAP_NAME, ORDERINGS, REGISTRIES, keys};

/// How deep values stand in each other before they are not looked at any more.
const DEPTH_MAX: usize = 32;
/// Names of colour spaces (§8.6.3), with the short ones of old files.
const SPACES: [&[u8]; 7] = [b"DeviceGray", b"DeviceRGB", b"DeviceCMYK", b"Pattern", b"G", b"RGB", b"CMYK"];

/// True where a value of this kind is an object of its own, if it is one in the source.
fn is_shared(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Group
            | Kind::GraphicsState
            | Kind::SoftMask
            | Kind::Outside
            | Kind::ColorSpace
            | Kind::Pattern
            | Kind::Shading
            | Kind::Function
            | Kind::Font
            | Kind::Descriptor
            | Kind::FontProgram
            | Kind::CharacterMap
            | Kind::Content
            | Kind::Profile
            | Kind::Data
            | Kind::Layer
    )
}

impl Planner<'_> {
    /// What of `value` stays; `None`: nothing.
    pub(super) fn value(&mut self, kind: Kind, value: &Object, depth: usize) -> Result<Option<Object>> {
        if depth > DEPTH_MAX {
            return Ok(None);
        }
        if let (Object::Reference(number), true) = (value, is_shared(kind)) {
            return Ok(Some(self.refer(*number, kind)?));
        }
        let found = self.document.follow(value)?;
        self.used.insert(found.number);
        let depth = depth + 1;
        let value_of = found.value;
        let kept = match (kind, &value_of) {
            (Kind::Bool, Object::Bool(_))
            | (Kind::Number, Object::Integer(_) | Object::Real(_))
            | (Kind::Name | Kind::Names, Object::Name(_))
            | (Kind::Text, Object::Text(_))
            | (Kind::Numbers, Object::Integer(_) | Object::Real(_) | Object::Bool(_))
            | (Kind::Differences, Object::Integer(_) | Object::Name(_))
            | (Kind::Value, Object::Text(_) | Object::Name(_)) => Some(value_of),
            (Kind::OneOf(words), Object::Name(word)) => words.contains(&word.as_slice()).then_some(value_of),
            (Kind::Numbers | Kind::Names | Kind::Value | Kind::Differences, Object::Array(items)) => {
                Some(self.list(kind, items, depth)?)
            }
            (Kind::List(kind), Object::Array(items)) => Some(self.list(*kind, items, depth)?),
            (Kind::List(kind), _) => self.value(*kind, value, depth)?.map(|item| Object::Array(vec![item])),
            (Kind::Map(kind), Object::Dict(dict)) => {
                let mut kept = Dict::new();
                for (key, value) in dict {
                    if let Some(value) = self.value(*kind, value, depth)? {
                        kept.insert(key.clone(), value);
                    }
                }
                Some(Object::Dict(kept))
            }
            _ => self.special(kind, value, &value_of, found.data.is_some(), depth)?,
        };
        Ok(kept)
    }

    fn list(&mut self, kind: Kind, items: &[Object], depth: usize) -> Result<Object> {
        let mut kept = Vec::new();
        for item in items {
            kept.extend(self.value(kind, item, depth)?);
        }
        Ok(Object::Array(kept))
    }

    /// Kinds with a shape of their own. `whole` is the value as it stood, maybe a reference.
    fn special(&mut self, kind: Kind, whole: &Object, value: &Object, is_stream: bool, depth: usize) -> Result<Option<Object>> {
        Ok(match (kind, value) {
            (Kind::ColorSpace, _) => self.colours(value, depth)?,
            (Kind::Resources, Object::Dict(_)) => Some(self.resources(whole, None)?),
            (Kind::FontSize, Object::Array(items)) => match items.as_slice() {
                [font, size @ (Object::Integer(_) | Object::Real(_))] => {
                    self.value(Kind::Font, font, depth)?.map(|font| Object::Array(vec![font, size.clone()]))
                }
                _ => None,
            },
            (Kind::SoftMask, Object::Name(word)) if word == b"None" => Some(value.clone()),
            (Kind::Function, Object::Name(word)) if matches!(word.as_slice(), b"Identity" | b"Default") => Some(value.clone()),
            (Kind::Function, Object::Array(items)) => Some(self.list(Kind::Function, items, depth)?),
            (Kind::Mask, Object::Array(items)) => Some(self.list(Kind::Numbers, items, depth)?),
            (Kind::Mask, Object::Dict(_)) if is_stream => self.value(Kind::Outside, whole, depth)?,
            (Kind::GlyphMap, Object::Name(_)) => Some(name(b"Identity")),
            (Kind::GlyphMap, Object::Dict(_)) if is_stream => self.value(Kind::Data, whole, depth)?,
            (Kind::Encoding, Object::Name(_)) => Some(value.clone()),
            (Kind::Encoding, Object::Dict(_)) if is_stream => self.value(Kind::CharacterMap, whole, depth)?,
            (Kind::Encoding, Object::Dict(dict)) => Some(Object::Dict(self.dict(Kind::EncodingDict, dict, depth)?)),
            (Kind::Expression, Object::Name(word)) if matches!(word.as_slice(), b"And" | b"Or" | b"Not") => Some(value.clone()),
            (Kind::Expression, Object::Array(items)) => Some(self.list(Kind::Expression, items, depth)?),
            (Kind::Expression, Object::Dict(_)) => self.value(Kind::Layer, whole, depth)?,
            (Kind::Operators, Object::Text(text)) => {
                let (bytes, _) = self.draw(text)?;
                Some(Object::Text(bytes.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect()))
            }
            (Kind::Property, Object::Dict(dict)) => {
                let kind = match dict.get(b"Type".as_slice()).and_then(Object::name) {
                    Some(b"OCG") => return self.value(Kind::Layer, whole, depth),
                    Some(b"OCMD") => Kind::Membership,
                    _ => Kind::Mark,
                };
                Some(Object::Dict(self.dict(kind, dict, depth)?))
            }
            (Kind::Pattern, Object::Dict(dict)) if !is_stream => {
                Some(Object::Dict(self.dict(Kind::ShadingPattern, dict, depth)?))
            }
            // What has data is an object of its own, and was referred to.
            (
                Kind::Outside
                | Kind::Content
                | Kind::FontProgram
                | Kind::CharacterMap
                | Kind::Profile
                | Kind::Data
                | Kind::Annotation,
                _,
            ) => None,
            (_, Object::Dict(dict)) if !keys(kind).is_empty() => Some(Object::Dict(self.dict(kind, dict, depth)?)),
            _ => None,
        })
    }

    /// The keys of `dict` that a dictionary of this kind may have.
    pub(super) fn dict(&mut self, kind: Kind, dict: &Dict, depth: usize) -> Result<Dict> {
        let mut kept = Dict::new();
        for (key, kind) in keys(kind) {
            let Some(value) = dict.get(key.as_bytes()) else { continue };
            if let Some(value) = self.value(*kind, value, depth)? {
                kept.insert(key.as_bytes().to_vec(), value);
            }
        }
        if kind == Kind::Layer {
            kept.insert(b"Name".to_vec(), Object::Text(LAYER_NAME.to_vec()));
        }
        if kind == Kind::CharacterMap && dict.contains_key(b"CMapName".as_slice()) {
            kept.insert(b"CMapName".to_vec(), name(MAP_NAME));
        }
        if kind == Kind::System {
            for (key, known, instead) in [("Registry", REGISTRIES, b"Adobe".as_slice()), ("Ordering", ORDERINGS, b"Identity")] {
                let is_known = matches!(kept.get(key.as_bytes()), Some(Object::Text(text)) if known.contains(&text.as_slice()));
                if !is_known {
                    kept.insert(key.as_bytes().to_vec(), Object::Text(instead.to_vec()));
                }
            }
        }
        self.note_keys(kind, dict);
        Ok(kept)
    }

    /// The object of this number, as what it is used for.
    pub(super) fn source_object(&mut self, number: u32, kind: Kind) -> Result<(Object, Option<Data>)> {
        let loaded = self.document.follow(&Object::Reference(number))?;
        self.used.insert(loaded.number);
        let nothing = (Object::Null, None);
        if let (Some(dict), true) = (loaded.value.dict(), loaded.data.is_some()) {
            let dict = dict.clone();
            return Ok(self.stream(kind, &dict, &loaded)?.unwrap_or(nothing));
        }
        if kind == Kind::Annotation {
            let kept = loaded.value.dict().cloned();
            return Ok(match kept {
                Some(dict) => (self.annotation(&dict, number)?, None),
                None => nothing,
            });
        }
        Ok((self.value(kind, &loaded.value, 0)?.unwrap_or(Object::Null), None))
    }

    /// A colour space (§8.6).
    pub(super) fn colours(&mut self, value: &Object, depth: usize) -> Result<Option<Object>> {
        if let Object::Name(space) = value {
            return Ok(SPACES.contains(&space.as_slice()).then(|| value.clone()));
        }
        let Some([Object::Name(family), rest @ ..]) = value.array() else { return Ok(None) };
        let mut kept = vec![name(family)];
        match (family.as_slice(), rest) {
            (word, []) if SPACES.contains(&word) => return Ok(Some(name(family))),
            (b"CalGray" | b"CalRGB", [dict, ..]) => kept.extend(self.value(Kind::CalGray, dict, depth)?),
            (b"Lab", [dict, ..]) => kept.extend(self.value(Kind::Lab, dict, depth)?),
            (b"ICCBased", [profile, ..]) => match self.profile(profile)? {
                Ok(profile) => kept.push(profile),
                Err(instead) => return Ok(instead),
            },
            (b"Pattern", [base, ..]) => kept.extend(self.value(Kind::ColorSpace, base, depth)?),
            (b"Indexed" | b"I", [base, highest, lookup, ..]) => {
                let Some(space) = self.value(Kind::ColorSpace, base, depth)? else { return Ok(None) };
                let highest = self.document.follow(highest)?.value.integer().unwrap_or(255).clamp(0, 255);
                let each = self.components(base, depth)?.unwrap_or(4);
                let most = usize::try_from(highest + 1).unwrap_or(256) * each;
                let found = self.document.follow(lookup)?;
                self.used.insert(found.number);
                let mut table = match &found.value {
                    Object::Text(text) => text.clone(),
                    Object::Dict(_) => self.document.unpack(&found, 1 << 20)?,
                    _ => return Ok(None),
                };
                table.truncate(most);
                kept.extend([space, Object::Integer(highest), Object::Text(table)]);
            }
            (b"Separation", [colorant, base, tint, ..]) => {
                let parts = (
                    self.value(Kind::Name, colorant, depth)?,
                    self.value(Kind::ColorSpace, base, depth)?,
                    self.value(Kind::Function, tint, depth)?,
                );
                let (Some(colorant), Some(base), Some(tint)) = parts else { return Ok(None) };
                kept.extend([colorant, base, tint]);
            }
            (b"DeviceN", [colorants, base, tint, ..]) => {
                let parts = (
                    self.value(Kind::Names, colorants, depth)?,
                    self.value(Kind::ColorSpace, base, depth)?,
                    self.value(Kind::Function, tint, depth)?,
                );
                let (Some(colorants), Some(base), Some(tint)) = parts else { return Ok(None) };
                kept.extend([colorants, base, tint]);
            }
            _ => return Ok(None),
        }
        Ok((kept.len() > 1).then_some(Object::Array(kept)))
    }

    /// A profile that can be used, or the space that a viewer takes without it.
    fn profile(&mut self, profile: &Object) -> Result<std::result::Result<Object, Option<Object>>> {
        let loaded = self.document.follow(profile)?;
        let known = self.profiles.get(&loaded.number).copied();
        let usable = if let Some(usable) = known { usable } else { self.rewritten_profile(&loaded)?.is_some() };
        self.profiles.insert(loaded.number, usable);
        if usable {
            return Ok(Ok(self.refer(loaded.number, Kind::Profile)?));
        }
        self.used.insert(loaded.number);
        let count = loaded.value.dict().and_then(|d| d.get(b"N".as_slice())).and_then(Object::integer);
        Ok(Err(match count {
            Some(1) => Some(name(b"DeviceGray")),
            Some(3) => Some(name(b"DeviceRGB")),
            Some(4) => Some(name(b"DeviceCMYK")),
            _ => None,
        }))
    }

    /// The profile without its words; `None`: it is none that a viewer would use.
    pub(super) fn rewritten_profile(&mut self, loaded: &Loaded) -> Result<Option<Vec<u8>>> {
        if loaded.data.is_none() {
            return Ok(None);
        }
        let bytes = self.document.unpack(loaded, 16 * PROFILE_BYTES_MAX)?;
        let clean = icc::rewrite(&bytes).ok();
        if clean.as_ref() != Some(&bytes) {
            self.findings.remove_bytes(&bytes, "icc");
        }
        Ok(clean)
    }

    /// How many numbers a colour of this space has.
    pub(super) fn components(&mut self, space: &Object, depth: usize) -> Result<Option<usize>> {
        let found = self.document.follow(space)?.value;
        if depth > DEPTH_MAX {
            return Ok(None);
        }
        let family = match &found {
            Object::Name(word) => word.clone(),
            Object::Array(items) => items.first().and_then(Object::name).unwrap_or_default().to_vec(),
            _ => return Ok(None),
        };
        let second = found.array().and_then(|items| items.get(1)).cloned().unwrap_or(Object::Null);
        Ok(match family.as_slice() {
            b"DeviceGray" | b"G" | b"CalGray" | b"Indexed" | b"I" | b"Separation" => Some(1),
            b"DeviceRGB" | b"RGB" | b"CalRGB" | b"Lab" => Some(3),
            b"DeviceCMYK" | b"CMYK" => Some(4),
            b"DeviceN" => self.document.follow(&second)?.value.array().map(<[Object]>::len),
            b"ICCBased" => {
                let profile = self.document.follow(&second)?.value;
                let count = profile.dict().and_then(|d| d.get(b"N".as_slice())).and_then(Object::integer);
                count.and_then(|n| usize::try_from(n).ok())
            }
            _ => None,
        })
    }

    /// Words for the keys that go.
    pub(super) fn note_keys(&mut self, kind: Kind, dict: &Dict) {
        for key in dict.keys().filter(|key| !keys(kind).iter().any(|(name, _)| name.as_bytes() == key.as_slice())) {
            let word = match key.as_slice() {
                // The data's own, and what has no meaning any more.
                b"Length" | b"Filter" | b"DecodeParms" | b"DL" | b"ProcSet" | b"Parent" | b"Name" | b"Type" | b"Length1" => {
                    continue;
                }
                b"Metadata" => "xmp",
                b"PieceInfo" => "pdf.private",
                b"LastModified" | b"M" | b"CreationDate" => "pdf.dates",
                b"Thumb" => "pdf.thumbnail",
                b"AA" | b"A" | b"PA" | b"OpenAction" => "pdf.actions",
                b"AF" => "pdf.attachments",
                b"StructParents" | b"StructParent" | b"Tabs" => "pdf.structure",
                b"B" => "pdf.threads",
                b"Contents" | b"T" | b"TU" | b"TM" | b"NM" | b"Popup" | b"RC" | b"Subj" => "pdf.notes",
                _ => "pdf.unknown",
            };
            self.findings.remove(word);
        }
    }
}
