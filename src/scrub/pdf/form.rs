//! Annotations and fields: what of them is drawn. And signatures, which are never broken.

use std::collections::BTreeSet;

use super::write::name;
use super::{Planner, Result, signed, too_large};
use crate::media::pdf::lexer::{Dict, Object};
use crate::media::pdf::{Document, PdfError};
use crate::scrub::policy::pdf::{ANNOTATIONS, HIDDEN, Kind};

/// Fields of one form.
const FIELDS_MAX: usize = 50_000;
/// Annotations of one page.
const ANNOTATIONS_MAX: usize = 20_000;
/// Fields that stand in each other.
const PARENTS_MAX: usize = 16;
/// What a field takes from those above it (§12.7.3.1).
const INHERITED: [&[u8]; 6] = [b"FT", b"Ff", b"V", b"DA", b"Q", b"MaxLen"];
/// What a field is beside its looks.
const FIELD_KEYS: [&[u8]; 9] = [b"FT", b"Ff", b"V", b"DA", b"Q", b"MaxLen", b"Opt", b"T", b"Contents"];

/// True where a field of the form holds a signature (§12.8), or the catalog says that one guards
/// the document.
pub(super) fn is_signed(document: &mut Document<'_>, catalog: &Dict) -> Result<bool> {
    if let Some(permissions) = catalog.get(b"Perms".as_slice()) {
        let permissions = document.follow(permissions)?.value;
        if permissions.dict().is_some_and(|d| d.contains_key(b"DocMDP".as_slice())) {
            return Ok(true);
        }
    }
    let form = document.follow(catalog.get(b"AcroForm".as_slice()).unwrap_or(&Object::Null))?.value;
    let fields = form.dict().and_then(|d| d.get(b"Fields".as_slice())).cloned().unwrap_or(Object::Null);
    let mut open = vec![(fields, false)];
    let mut seen = BTreeSet::new();
    let mut count = 0usize;
    while let Some((field, is_signature)) = open.pop() {
        count += 1;
        if count > FIELDS_MAX {
            return Err(too_large("more fields than are read").into());
        }
        if let Object::Reference(number) = field
            && !seen.insert(number)
        {
            continue;
        }
        match document.follow(&field)?.value {
            Object::Array(items) => open.extend(items.into_iter().take(FIELDS_MAX).map(|item| (item, is_signature))),
            Object::Dict(dict) => {
                let is_signature = kind_of(document, &dict)?.map_or(is_signature, |kind| kind == b"Sig");
                if holds_signature(document, &dict, is_signature)? {
                    return Ok(true);
                }
                open.extend(dict.get(b"Kids".as_slice()).cloned().map(|kids| (kids, is_signature)));
            }
            _ => {}
        }
    }
    Ok(false)
}

fn kind_of(document: &mut Document<'_>, dict: &Dict) -> std::result::Result<Option<Vec<u8>>, PdfError> {
    let Some(kind) = dict.get(b"FT".as_slice()) else { return Ok(None) };
    Ok(document.follow(kind)?.value.name().map(<[u8]>::to_vec))
}

/// A field for a signature is signed once it has a value; without one it is an empty line.
fn holds_signature(document: &mut Document<'_>, dict: &Dict, is_signature: bool) -> std::result::Result<bool, PdfError> {
    let Some(value) = dict.get(b"V".as_slice()) else { return Ok(false) };
    let value = document.follow(value)?.value;
    Ok(value.dict().is_some_and(|v| is_signature || v.contains_key(b"ByteRange".as_slice())))
}

impl Planner<'_> {
    /// The annotations of a page that are drawn.
    pub(super) fn annotations(&mut self, list: &Object) -> Result<Vec<Object>> {
        let found = self.document.follow(list)?;
        self.used.insert(found.number);
        let Object::Array(items) = found.value else { return Ok(Vec::new()) };
        if items.len() > ANNOTATIONS_MAX {
            return Err(too_large("more notes on a page than are read").into());
        }
        let mut kept = Vec::new();
        for item in &items {
            let loaded = self.document.follow(item)?;
            let Some(dict) = loaded.value.dict().cloned() else { continue };
            let subtype = dict.get(b"Subtype".as_slice()).and_then(Object::name).unwrap_or_default();
            let flags = dict.get(b"F".as_slice()).and_then(Object::integer).unwrap_or(0);
            if !ANNOTATIONS.contains(&subtype) || flags & HIDDEN != 0 {
                self.findings.remove(match subtype {
                    b"FileAttachment" => "pdf.attachments",
                    b"Popup" => "pdf.notes",
                    _ => "pdf.annotations",
                });
                continue;
            }
            if holds_signature(&mut self.document, &dict, false)? {
                return Err(signed().into());
            }
            let reference = if matches!(item, Object::Reference(_)) {
                self.refer(loaded.number, Kind::Annotation)?
            } else {
                let made = self.annotation(&dict, 0)?;
                Object::Reference(self.queue(super::Job::Made(made, None))?)
            };
            kept.push(reference);
        }
        Ok(kept)
    }

    /// One annotation. A field that has looks keeps them and no more; without them, its value.
    pub(super) fn annotation(&mut self, dict: &Dict, number: u32) -> Result<Object> {
        let mut whole = dict.clone();
        self.inherit(&mut whole)?;
        let appearance = self.appearance(&whole)?;
        let has_looks = appearance.is_some();
        whole.remove(b"AP".as_slice());
        let subtype = whole.get(b"Subtype".as_slice()).and_then(Object::name).unwrap_or_default().to_vec();
        let mut kept = self.dict(Kind::Annotation, &whole, 0)?;
        if let Some(appearance) = appearance {
            kept.insert(b"AP".to_vec(), Object::Dict([(b"N".to_vec(), appearance)].into()));
            kept.remove(b"Name".as_slice());
        }
        let is_field = kept.contains_key(b"FT".as_slice()) && subtype == b"Widget";
        let is_drawn_anew = is_field && (self.needs_looks || !has_looks);
        if !is_drawn_anew {
            let stays = |key: &[u8]| subtype == b"FreeText" && !has_looks && matches!(key, b"Contents" | b"DA" | b"Q");
            for key in FIELD_KEYS {
                if !stays(key) {
                    kept.remove(key);
                }
            }
        } else if let Some(made) = self.numbers.get(&(number, Kind::Annotation)).copied() {
            kept.remove(b"Contents".as_slice());
            kept.insert(b"T".to_vec(), Object::Text(format!("field {made}").into_bytes()));
            self.fields.push(Object::Reference(made));
        }
        let says = |key: &[u8]| whole.contains_key(key) && !kept.contains_key(key);
        if subtype == b"Widget" && whole.contains_key(b"T".as_slice()) {
            self.findings.remove("pdf.form");
        } else if says(b"Contents") || says(b"T") {
            self.findings.remove("pdf.notes");
        }
        Ok(Object::Dict(kept))
    }

    fn inherit(&mut self, dict: &mut Dict) -> Result<()> {
        let mut parent = dict.get(b"Parent".as_slice()).cloned();
        for _ in 0..PARENTS_MAX {
            let Some(next) = parent else { break };
            let found = self.document.follow(&next)?;
            self.used.insert(found.number);
            let Some(above) = found.value.dict() else { break };
            for key in INHERITED {
                if let Some(value) = above.get(key) {
                    dict.entry(key.to_vec()).or_insert_with(|| value.clone());
                }
            }
            parent = above.get(b"Parent".as_slice()).cloned();
        }
        Ok(())
    }

    /// How it looks when nobody touches it, in the state that it is in (§12.5.5).
    fn appearance(&mut self, dict: &Dict) -> Result<Option<Object>> {
        let Some(looks) = dict.get(b"AP".as_slice()) else { return Ok(None) };
        let looks = self.document.follow(looks)?.value;
        let Some(normal) = looks.dict().and_then(|d| d.get(b"N".as_slice())).cloned() else { return Ok(None) };
        let found = self.document.follow(&normal)?;
        if found.data.is_some() {
            return self.value(Kind::Outside, &normal, 0);
        }
        self.used.insert(found.number);
        let Some(state) = dict.get(b"AS".as_slice()) else { return Ok(None) };
        let state = self.document.follow(state)?.value;
        let chosen = state.name().and_then(|state| found.value.dict()?.get(state)).cloned();
        match chosen {
            Some(chosen @ Object::Reference(_)) => self.value(Kind::Outside, &chosen, 0),
            // A state without looks shows nothing, and nothing is drawn in its place.
            _ => Ok(Some(self.blank()?)),
        }
    }

    fn blank(&mut self) -> Result<Object> {
        let keys = Dict::from([
            (b"Type".to_vec(), name(b"XObject")),
            (b"Subtype".to_vec(), name(b"Form")),
            (b"BBox".to_vec(), Object::Array(vec![Object::Integer(0); 4])),
            (b"Length".to_vec(), Object::Integer(0)),
        ]);
        let made = self.queue(super::Job::Made(Object::Dict(keys), Some(super::Data::New(Vec::new()))))?;
        Ok(Object::Reference(made))
    }

    /// Reads whether fields are to be drawn anew; before the pages.
    pub(super) fn read_form(&mut self, catalog: &Dict) -> Result<()> {
        let form = self.document.follow(catalog.get(b"AcroForm".as_slice()).unwrap_or(&Object::Null))?;
        self.used.insert(form.number);
        let Some(dict) = form.value.dict() else { return Ok(()) };
        self.needs_looks = dict.get(b"NeedAppearances".as_slice()) == Some(&Object::Bool(true));
        if dict.contains_key(b"XFA".as_slice()) {
            self.findings.remove("pdf.xfa");
        }
        Ok(())
    }

    /// The form, where a viewer draws a field of it.
    pub(super) fn form(&mut self, catalog: &Dict) -> Result<Option<Object>> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let form = self.document.follow(catalog.get(b"AcroForm".as_slice()).unwrap_or(&Object::Null))?;
        let mut known = form.value.dict().cloned().unwrap_or_default();
        known.remove(b"Fields".as_slice());
        known.remove(b"XFA".as_slice());
        known.remove(b"SigFlags".as_slice());
        let mut kept = self.dict(Kind::Fields, &known, 0)?;
        kept.insert(b"Fields".to_vec(), Object::Array(std::mem::take(&mut self.fields)));
        Ok(Some(Object::Dict(kept)))
    }
}
