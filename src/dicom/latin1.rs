//! Text in ISO 8859-1, for archives that read nothing else (PS3.3 §C.12.1.1.2).

use dicom_core::value::{PrimitiveValue, Value};
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Instance;

/// Sequences within sequences; objects that are made here have three.
const DEPTH_MAX: usize = 16;

impl Instance {
    /// The same object with `ISO_IR 100` as its character set; `None` where a value has a character
    /// that the set does not: nobody's name is spelled otherwise for an archive.
    #[must_use]
    pub fn in_latin1(&self) -> Option<Self> {
        if !fits(&self.dataset, 0) {
            return None;
        }
        let mut instance = self.clone();
        instance.dataset.put(DataElement::new(tags::SPECIFIC_CHARACTER_SET, VR::CS, PrimitiveValue::from("ISO_IR 100")));
        Some(instance)
    }
}

fn fits(dataset: &InMemDicomObject, depth: usize) -> bool {
    dataset.iter().all(|element| match element.value() {
        Value::Primitive(PrimitiveValue::Str(text)) => is_latin1(text),
        Value::Primitive(PrimitiveValue::Strs(texts)) => texts.iter().all(|text| is_latin1(text)),
        Value::Primitive(_) | Value::PixelSequence(_) => true,
        Value::Sequence(items) => depth < DEPTH_MAX && items.items().iter().all(|item| fits(item, depth + 1)),
    })
}

/// The control characters of the upper half are of another standard.
fn is_latin1(text: &str) -> bool {
    text.chars().all(|c| u32::from(c) <= 0xFF && !('\u{7F}'..='\u{9F}').contains(&c))
}
