//! From a binding, a manifest and a picture to an instance.

use super::data_set::DataSet;
use super::encapsulate::PIXEL_BYTES_MAX;
use super::iod::{Iod, PHOTOGRAPH};
use super::moment::Moment;
use super::{DicomError, Instance, LossyHistory, Picture, Pixels, modules};
use crate::capture::binding::SeriesBinding;
use crate::capture::record::Manifest;
use crate::capture::{Binding, Uid};

/// What the modules read.
pub(super) struct Source<'a> {
    pub(super) binding: &'a Binding,
    pub(super) series: &'a SeriesBinding,
    pub(super) manifest: &'a Manifest,
    pub(super) picture: &'a Picture,
    pub(super) iod: &'static Iod,
    pub(super) moment: Moment,
    pub(super) instance_number: u32,
}

impl<'a> Source<'a> {
    /// # Errors
    /// [`DicomError::ItemUnknown`], and a time zone that is none.
    pub(super) fn new(
        binding: &'a Binding,
        manifest: &'a Manifest,
        picture: &'a Picture,
        iod: &'static Iod,
    ) -> Result<Self, DicomError> {
        let times = [manifest.item.facts.taken_at, manifest.acceptance.claim.taken_at];
        let moment = Moment::new(&binding.site.timezone, times, manifest.acceptance.accepted_at)?;
        let number = binding.instance_numbers.get(usize::from(manifest.index));
        let series = binding.series_of(manifest.index).ok_or(DicomError::ItemUnknown)?;
        let instance_number = *number.ok_or(DicomError::ItemUnknown)?;
        Ok(Self { binding, series, manifest, picture, iod, moment, instance_number })
    }
}

/// Builds the object of one item. The same arguments give the same bytes, so that every resend is
/// the same object.
///
/// # Errors
/// [`DicomError`]: the hospital's identifiers do not fit, or the arguments contradict each other.
pub fn build(binding: &Binding, manifest: &Manifest, picture: &Picture) -> Result<Instance, DicomError> {
    check_picture(picture)?;
    let source = Source::new(binding, manifest, picture, &PHOTOGRAPH)?;
    let mut notes = Vec::new();
    let mut to = DataSet::new();
    modules::patient(&mut to, &source)?;
    modules::general_study(&mut to, &source)?;
    modules::patient_study(&mut to, &source)?;
    modules::general_series(&mut to, &source)?;
    modules::request_attributes(&mut to, &source)?;
    modules::general_equipment(&mut to, &source);
    modules::general_acquisition(&mut to, &source);
    modules::general_image(&mut to, &source);
    modules::lossy_compression(&mut to, &source);
    modules::image_pixel(&mut to, &source)?;
    modules::vl_image(&mut to, &source);
    modules::icc_profile(&mut to, &source, &mut notes);
    modules::sop_common(&mut to, &source);
    modules::contributing_equipment(&mut to, &source);
    Ok(Instance {
        sop_class: Uid::parse(source.iod.sop_class).map_err(|_| DicomError::Encoding)?,
        sop_instance: manifest.item.sop_instance_uid.clone(),
        pixels: picture.pixels,
        dataset: to.finish(),
        notes,
    })
}

fn check_picture(picture: &Picture) -> Result<(), DicomError> {
    let length = picture.pixels.length();
    let area = u64::from(picture.width) * u64::from(picture.height) * u64::from(picture.samples);
    let rules = [
        (matches!(picture.samples, 1 | 3), "a photograph has one or three samples per pixel"),
        (u16::try_from(picture.width).is_ok_and(|w| w > 0), "Columns is 1 to 65535"),
        (u16::try_from(picture.height).is_ok_and(|h| h > 0), "Rows is 1 to 65535"),
        (length > 0 && length <= PIXEL_BYTES_MAX, "Pixel Data is empty or longer than one element may be"),
        (
            !matches!(picture.pixels, Pixels::Native { .. }) || length == area,
            "native Pixel Data is not rows by columns by samples",
        ),
        (
            !(matches!(picture.pixels, Pixels::Jpeg { .. }) && picture.history == LossyHistory::Lossless),
            "a JPEG stream has lost something",
        ),
        (
            !(matches!(picture.pixels, Pixels::Native { .. }) && picture.history == LossyHistory::Original),
            "native samples are not the camera's coefficients",
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, why)) => Err(DicomError::Picture(why)),
    }
}
