//! Multi-frame True Color Secondary Capture (PS3.3 §A.8.5): the stills of a burst in one object, each
//! as it was coded, each in a fragment of its own.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::build::{Source, check_picture};
use super::data_set::DataSet;
use super::encapsulate::framed_bytes;
use super::iod::BURST;
use super::{DicomError, Instance, Picture, Pixels};
use crate::capture::Binding;
use crate::capture::record::Manifest;

/// The stills of a burst, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Bytes of each coded still.
    pub still_bytes: Vec<u64>,
    /// Milliseconds between each and the one before it, of the first 0. `None`: not all of them tell
    /// when they were taken, or not in this order.
    pub apart_ms: Option<Vec<u64>>,
    /// They were taken out of a film, in whose place they go.
    pub is_of_film: bool,
}

const NO_BURST: DicomError = DicomError::Picture("a burst is two or more JPEGs in colour of one size");

/// Builds the object of a burst. `picture`: what all its stills are, and the bytes of all of them;
/// `manifest`: of the first. The same arguments give the same bytes.
///
/// # Errors
/// [`DicomError`]: the hospital's identifiers do not fit, or the arguments contradict each other.
pub fn build_burst(binding: &Binding, manifest: &Manifest, picture: &Picture, burst: &Burst) -> Result<Instance, DicomError> {
    check_picture(picture)?;
    let Burst { still_bytes, apart_ms, .. } = burst;
    let rules = [
        matches!(picture.pixels, Pixels::Jpeg { .. }) && picture.samples == 3,
        still_bytes.len() > 1 && !still_bytes.contains(&0),
        still_bytes.iter().fold(0, |all, n| n.saturating_add(all)) == picture.pixels.length(),
        apart_ms.as_ref().is_none_or(|apart| apart.len() == still_bytes.len()),
    ];
    if rules.contains(&false) {
        return Err(NO_BURST);
    }
    if framed_bytes(still_bytes) > u64::from(u32::MAX) {
        return Err(DicomError::Picture("a burst is longer than the 4 GiB that its offset table counts"));
    }
    let source = Source { burst: Some(burst), ..Source::new(binding, manifest, picture, &BURST)? };
    source.object(manifest.item.sop_instance_uid.clone())
}

/// Multi-frame (§C.7.6.6), and the vector that it points at (§C.8.6.4, §C.7.6.5): when each still was
/// taken, else its number.
pub(super) fn put_stills(to: &mut DataSet, source: &Source) -> Result<(), DicomError> {
    let burst = source.burst.ok_or(NO_BURST)?;
    to.put(tags::NUMBER_OF_FRAMES, VR::IS, burst.still_bytes.len().to_string());
    let numbers = |values: &[u64]| values.iter().map(u64::to_string).collect::<Vec<_>>();
    if let Some(apart_ms) = &burst.apart_ms {
        to.put_tag(tags::FRAME_INCREMENT_POINTER, tags::FRAME_TIME_VECTOR);
        to.put_values(tags::FRAME_TIME_VECTOR, VR::DS, numbers(apart_ms));
    } else {
        to.put_tag(tags::FRAME_INCREMENT_POINTER, tags::PAGE_NUMBER_VECTOR);
        let pages: Vec<u64> = (1..).zip(&burst.still_bytes).map(|(number, _)| number).collect();
        to.put_values(tags::PAGE_NUMBER_VECTOR, VR::IS, numbers(&pages));
    }
    Ok(())
}
