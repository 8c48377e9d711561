//! From a binding, a manifest and a picture to an instance.

use super::data_set::DataSet;
use super::encapsulate::PIXEL_BYTES_MAX;
use super::iod::{DERMOSCOPIC, Iod, PHOTOGRAPH, STAND_IN};
use super::moment::Moment;
use super::{Burst, Cine, DicomError, Instance, LossyHistory, Picture, Pixels};
use crate::capture::binding::SeriesBinding;
use crate::capture::claim::View;
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
    /// Of a film.
    pub(super) cine: Option<&'a Cine>,
    /// Of a burst.
    pub(super) burst: Option<&'a Burst>,
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
        Ok(Self { binding, series, manifest, picture, iod, moment, instance_number, cine: None, burst: None })
    }

    /// Every module of the object's table, and nothing that the table does not have.
    pub(super) fn object(&self, sop_instance: Uid) -> Result<Instance, DicomError> {
        let (mut to, mut notes) = (DataSet::new(), Vec::new());
        for module in self.iod.modules {
            (module.fill)(&mut to, self, &mut notes)?;
        }
        let dataset = to.finish();
        if !self.iod.holds(&dataset) {
            return Err(DicomError::Unlisted);
        }
        let sop_class = Uid::parse(self.iod.sop_class).map_err(|_| DicomError::Encoding)?;
        let still_bytes = self.burst.map(|burst| burst.still_bytes.clone()).unwrap_or_default();
        Ok(Instance { sop_class, sop_instance, pixels: self.picture.pixels, still_bytes, dataset, notes })
    }
}

/// Builds the object of one item. The same arguments give the same bytes, so that every resend is
/// the same object.
///
/// # Errors
/// [`DicomError`]: the hospital's identifiers do not fit, or the arguments contradict each other.
pub fn build(binding: &Binding, manifest: &Manifest, picture: &Picture) -> Result<Instance, DicomError> {
    let is_dermoscopic = manifest.acceptance.claim.view == Some(View::Dermoscopic);
    build_as(if is_dermoscopic { &DERMOSCOPIC } else { &PHOTOGRAPH }, binding, manifest, picture)
}

/// The same picture as a Secondary Capture, for an archive that takes no other class of it. It is
/// another instance: its UID, in `manifest`, and its series, in `binding`, are its own.
///
/// # Errors
/// As for [`build`].
pub fn build_stand_in(binding: &Binding, manifest: &Manifest, picture: &Picture) -> Result<Instance, DicomError> {
    build_as(&STAND_IN, binding, manifest, picture)
}

fn build_as(iod: &'static Iod, binding: &Binding, manifest: &Manifest, picture: &Picture) -> Result<Instance, DicomError> {
    check_picture(picture)?;
    let source = Source::new(binding, manifest, picture, iod)?;
    source.object(manifest.item.sop_instance_uid.clone())
}

pub(super) fn check_picture(picture: &Picture) -> Result<(), DicomError> {
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
            !(matches!(picture.pixels, Pixels::Jpeg { .. } | Pixels::Video { .. }) && picture.history == LossyHistory::Lossless),
            "a coded stream has lost something",
        ),
        (
            !(matches!(picture.pixels, Pixels::Native { .. })
                && matches!(picture.history, LossyHistory::Original | LossyHistory::Trimmed)),
            "native samples are not the camera's coefficients",
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, why)) => Err(DicomError::Picture(why)),
    }
}
