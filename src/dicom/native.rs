//! A JPEG object with its pixels decoded, for archives that take no compressed syntax.

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;

use super::{Instance, Pixels};

impl Instance {
    /// The same object, to be sent in a native syntax with a payload of samples, interleaved by
    /// pixel. Decoding loses nothing, so the UID stays; what was lost before stays lost, so the
    /// lossy attributes stay as well (PS3.3 §C.7.6.1.1.5).
    ///
    /// `None` where it is no JPEG, or where the samples are not those of its rows and columns.
    #[must_use]
    pub fn with_samples(&self, width: u32, height: u32, samples: u8) -> Option<Self> {
        let Pixels::Jpeg { .. } = self.pixels else { return None };
        if !self.still_bytes.is_empty() {
            return None;
        }
        let number = |tag| self.dataset.get(tag)?.to_int::<u32>().ok();
        let said = (number(tags::COLUMNS)?, number(tags::ROWS)?, number(tags::SAMPLES_PER_PIXEL)?);
        if said != (width, height, u32::from(samples)) {
            return None;
        }
        let mut instance = self.clone();
        instance.pixels = Pixels::Native { length: u64::from(width) * u64::from(height) * u64::from(samples) };
        if samples > 1 {
            instance.dataset.put(DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, PrimitiveValue::from("RGB")));
        }
        Some(instance)
    }
}
