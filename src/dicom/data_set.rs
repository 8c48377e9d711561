//! A data set while it is filled: the three ways an attribute may be there.

use dicom_core::value::{C, DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_object::InMemDicomObject;

pub(super) struct DataSet(InMemDicomObject);

impl DataSet {
    pub(super) fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    pub(super) fn finish(self) -> InMemDicomObject {
        self.0
    }

    /// Present even where empty: Type 1 and 2 (PS3.5 §7.4).
    pub(super) fn put(&mut self, tag: Tag, vr: VR, text: impl Into<String>) {
        let text = text.into();
        let value = if text.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(text) };
        self.0.put(DataElement::new(tag, vr, value));
    }

    /// Left out where empty: Type 3.
    pub(super) fn put_some(&mut self, tag: Tag, vr: VR, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.put(tag, vr, text);
        }
    }

    /// Several values; left out where there is none.
    pub(super) fn put_values(&mut self, tag: Tag, vr: VR, values: impl IntoIterator<Item = String>) {
        let values: C<String> = values.into_iter().filter(|v| !v.is_empty()).collect();
        if !values.is_empty() {
            self.0.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
        }
    }

    /// Where it has no value yet: what is not known of what must be told.
    pub(super) fn put_where_empty(&mut self, tag: Tag, vr: VR, text: &str) {
        if self.0.get(tag).is_none_or(|element| element.value().to_str().is_ok_and(|known| known.is_empty())) {
            self.put(tag, vr, text);
        }
    }

    pub(super) fn put_number(&mut self, tag: Tag, value: u16) {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }

    /// The tag of another attribute (AT).
    pub(super) fn put_tag(&mut self, tag: Tag, value: Tag) {
        self.0.put(DataElement::new(tag, VR::AT, PrimitiveValue::from(value)));
    }

    /// Left out where it has no room; nothing of that length is made here.
    pub(super) fn put_long(&mut self, tag: Tag, value: u64) {
        if let Ok(value) = u32::try_from(value) {
            self.0.put(DataElement::new(tag, VR::UL, PrimitiveValue::from(value)));
        }
    }

    pub(super) fn put_bytes(&mut self, tag: Tag, value: Vec<u8>) {
        self.0.put(DataElement::new(tag, VR::OB, PrimitiveValue::U8(C::from_vec(value))));
    }

    /// Left out where there is no item: an empty Type 3 sequence is an error.
    pub(super) fn put_items(&mut self, tag: Tag, items: impl IntoIterator<Item = Self>) {
        let items: Vec<InMemDicomObject> = items.into_iter().map(Self::finish).collect();
        if !items.is_empty() {
            self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        }
    }

    /// Present with no item: Type 2.
    pub(super) fn put_empty_sequence(&mut self, tag: Tag) {
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(Vec::new())));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().next().is_none()
    }
}
