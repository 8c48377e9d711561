//! The object of one item: its header made from binding and manifest; its picture as it was
//! sealed, or, where no transfer syntax carries that, as it was made upright and baseline, in its
//! coefficients where that can be, once and sealed beside. Of a film that an archive does not take, its
//! stills.

use std::convert::Infallible;
use std::io::Read;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::bind::stand_in;
use super::develop::{self, Recoded};
use super::film::{NoReel, Reel, goes_as_hevc, reel};
use super::identify::Doubt;
use super::sealed;
use super::step::Works;
use crate::capture::media::{Coding, EdgeBlocks};
use crate::capture::record::{ItemFacts, Manifest};
use crate::capture::{Binding, Essence, Facts, FailureCode, Form, ItemId, Leg, MediaKind, Record, Stage, Uid};
use crate::dicom::{self, Burst, Instance, LossyHistory, LossyMethod, LossyStep, Picture, Pixels};
use crate::fence::Fence;
use crate::media::film::flat::{Flat, Reader};
use crate::media::jpeg::{self, Process};
use crate::media::raster;
use crate::scrub::{Limits, Purpose, Scrubbed, Scrubber};
use crate::spool::{Name, Spool, SpoolError};

/// JPEG quality of a picture that has to be coded again: differences stay below what an eye finds
/// at twice the size.
pub(super) const QUALITY: u8 = 95;

/// One picture is turned or decoded at a time: it may hold 384 MiB of coefficients.
static RASTER: Mutex<()> = Mutex::new(());

/// An object that is ready to be sent as often as it takes.
pub struct Wrapped {
    pub instance: Instance,
    pub essence: Essence,
    item: ItemId,
    source: Source,
}

enum Source {
    Sealed,
    Derived,
    /// Of a film.
    Stills,
    /// A sealed film, put in order as it is read.
    Film(Name, Arc<Flat>),
}

impl Wrapped {
    /// The coded picture, as it leaves.
    ///
    /// # Errors
    /// A [`Doubt`] where the sealed file cannot be opened.
    pub fn open(&self, spool: &Spool) -> Result<Box<dyn Read>, Doubt> {
        let payload: Result<Box<dyn Read>, SpoolError> = match &self.source {
            Source::Sealed => spool.payload(self.item).map(|payload| Box::new(payload) as _),
            Source::Derived => spool.payload(Name::Derived(self.item)).map(|payload| Box::new(payload) as _),
            Source::Stills => spool.payload(Name::Stills(self.item)).map(|payload| Box::new(payload) as _),
            Source::Film(name, flat) => {
                spool.read_at_any_place(*name).map(|film| Box::new(Reader::new(Arc::clone(flat), film)) as _)
            }
        };
        payload.map_err(|e| unreadable(&e))
    }
}

/// Sealed behind a derived picture.
#[derive(Serialize, Deserialize)]
struct DerivedManifest {
    version: u16,
    item: String,
    picture: DerivedPicture,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DerivedPicture {
    width: u32,
    height: u32,
    samples: u8,
    length: u64,
    /// A JPEG; else native samples.
    jpeg: bool,
    /// What that cost; nothing is said where older versions made it.
    #[serde(default)]
    essence: Option<Essence>,
    /// Rows or columns at an edge were cut off.
    #[serde(default)]
    is_trimmed: bool,
    /// Of a film whose high dynamic range was cut.
    #[serde(default)]
    has_flat_tones: bool,
    /// What its colours mean, where the file told them by number.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::capture::hex::option")]
    icc_profile: Option<Vec<u8>>,
}

/// Builds the object of one item. Doing it again builds the same one.
///
/// # Errors
/// A [`Doubt`] that a person has to look at.
pub fn wrap(works: &Works, record: &Record, index: u16, binding: &Binding, form: Form) -> Result<Wrapped, Doubt> {
    let (spool, fence) = (&works.spool, &works.fence);
    let id = record.id().item(index);
    let facts = &sealed::item_facts(spool, id)?;
    if let Some(why) = facts.sealed_as_received {
        return Err((why, why.advice().to_owned()));
    }
    if facts.media.is_video() {
        if form == Form::StandIn {
            return wrap_stills(works, record, index, binding, facts);
        }
        return wrap_film(works, record, index, binding, facts);
    }
    if facts.media == MediaKind::Pdf {
        let manifest = manifest_of(record, index, facts);
        let instance = dicom::build_document(binding, &manifest).map_err(|e| (e.failure_code(), e.to_string()))?;
        return Ok(Wrapped { instance, essence: Essence::Unchanged, item: id, source: Source::Sealed });
    }
    let (picture, source, essence) = if goes_as_it_is(facts) {
        (as_it_is(facts), Source::Sealed, facts.essence)
    } else {
        let derived = derived(spool, fence, works.edges, id, facts)?;
        (coded_again(facts, &derived), Source::Derived, essence_of(&derived))
    };
    let manifest = manifest_of(record, index, facts);
    let instance = match form {
        Form::Own => dicom::build(binding, &manifest, &picture),
        Form::StandIn => {
            let (binding, manifest) = stand_in(binding, manifest, &works.place);
            dicom::build_stand_in(&binding, &manifest, &picture)
        }
    };
    let instance = instance.map_err(|e| (e.failure_code(), e.to_string()))?;
    Ok(Wrapped { instance, essence, item: id, source })
}

/// What an archive may have under a UID stays what it is, whatever the configuration says today.
fn wrap_film(works: &Works, record: &Record, index: u16, binding: &Binding, facts: &ItemFacts) -> Result<Wrapped, Doubt> {
    let (spool, item) = (&works.spool, record.id().item(index));
    let film = spool.read_at_any_place(item).map_err(|e| unreadable(&e))?;
    let any_leg = |holds: fn(&Leg) -> bool| record.items.get(usize::from(index)).is_some_and(|item| item.any_leg(holds));
    let may_be_hevc = any_leg(Leg::may_be_there_in_hevc);
    let with_hevc = may_be_hevc || goes_as_hevc(&works.archives);
    let derived = match sealed::made_manifest(spool, Name::Derived(item)).map_err(|e| unreadable(&e))? {
        None => None,
        Some(bytes) => Some(derived_of(&bytes)?),
    };
    let (reel, name, essence) = if let Some(derived) = &derived {
        let (name, essence) = (Name::Derived(item), essence_of(derived));
        let made = spool.read_at_any_place(name).map_err(|e| unreadable(&e))?;
        let is_original = essence == Essence::Unchanged;
        let history = if is_original { LossyHistory::Original } else { develop::history_of(&film)? };
        (reel(&made, history, with_hevc), name, essence)
    } else {
        (reel(&film, LossyHistory::Original, with_hevc), Name::Item(item), facts.essence)
    };
    // What was coded anew as H.264 is its last form. An attempt on a film that was never built sent nothing.
    let is_final = essence == Essence::Reencoded || may_be_hevc && (derived.is_some() || any_leg(is_built));
    let Reel { picture, cine, flat, .. } = reel.map_err(|why| if is_final { stuck(why) } else { why.into() })?;
    let manifest = manifest_of(record, index, facts);
    let built = dicom::build_video(binding, &manifest, &picture, &cine);
    let mut instance = built.map_err(|e| (e.failure_code(), e.to_string()))?;
    instance.notes.extend(derived.as_ref().filter(|derived| derived.has_flat_tones).map(|_| FLAT_TONES));
    Ok(Wrapped { instance, essence, item, source: Source::Film(name, flat) })
}

/// Sealed behind the stills of a film.
#[derive(Serialize, Deserialize)]
struct StillsManifest {
    version: u16,
    item: String,
    width: u32,
    height: u32,
    /// Of each JPEG, in their order.
    still_bytes: Vec<u64>,
    /// Milliseconds from one to the next.
    apart_ms: u32,
    /// As of a film that was coded anew.
    #[serde(default)]
    has_flat_tones: bool,
}

impl StillsManifest {
    const VERSION: u16 = 1;
}

/// `size`: width and height.
pub(super) fn stills_manifest(
    item: ItemId,
    size: (u32, u32),
    still_bytes: Vec<u64>,
    apart_ms: u32,
    has_flat_tones: bool,
) -> Vec<u8> {
    let (width, height) = size;
    let version = StillsManifest::VERSION;
    let manifest = StillsManifest { version, item: item.to_string(), width, height, still_bytes, apart_ms, has_flat_tones };
    serde_json::to_vec(&manifest).unwrap_or_default()
}

/// The stills of a film, in its place.
fn wrap_stills(works: &Works, record: &Record, index: u16, binding: &Binding, facts: &ItemFacts) -> Result<Wrapped, Doubt> {
    let (spool, item) = (&works.spool, record.id().item(index));
    let made = sealed::made_manifest(spool, Name::Stills(item)).map_err(|e| unreadable(&e))?;
    let made = made.ok_or_else(|| (FailureCode::NeedsTranscoding, "its stills are not made yet".to_owned()))?;
    let stills: Option<StillsManifest> = serde_json::from_slice(&made).ok();
    let stills = stills.filter(|stills| stills.version <= StillsManifest::VERSION);
    let StillsManifest { width, height, still_bytes, apart_ms, has_flat_tones, .. } =
        stills.ok_or_else(|| failed("the stills of the video cannot be read"))?;
    let film = spool.read_at_any_place(item).map_err(|e| unreadable(&e))?;
    let picture = Picture {
        width,
        height,
        samples: 3,
        pixels: Pixels::Jpeg { length: still_bytes.iter().fold(0, |all, n| n.saturating_add(all)) },
        history: develop::history_of(&film)?,
        icc_profile: None,
    };
    let later = std::iter::repeat_n(u64::from(apart_ms), still_bytes.len().saturating_sub(1));
    let burst = Burst { apart_ms: Some(std::iter::once(0).chain(later).collect()), still_bytes, is_of_film: true };
    let (binding, manifest) = stand_in(binding, manifest_of(record, index, facts), &works.place);
    let built = dicom::build_burst(&binding, &manifest, &picture, &burst);
    let mut instance = built.map_err(|e| (e.failure_code(), e.to_string()))?;
    instance.notes.extend(has_flat_tones.then_some(FLAT_TONES));
    Ok(Wrapped { instance, essence: Essence::Reencoded, item, source: Source::Stills })
}

/// The UID under which something may stand in for an item; `None` where nothing does.
pub(super) fn stand_in_uid(works: &Works, record: &Record, index: u16, binding: &Binding) -> Option<Uid> {
    let facts = sealed::item_facts(&works.spool, record.id().item(index)).ok()?;
    if facts.media == MediaKind::Pdf {
        return None;
    }
    if facts.media.is_video() {
        // Its stills are made when they are to be sent, or were.
        let can_be = || works.fence.ffmpeg().is_some() || works.spool.has(Name::Stills(record.id().item(index))).unwrap_or(false);
        if !can_be() {
            return None;
        }
        let (_, manifest) = stand_in(binding, manifest_of(record, index, &facts), &works.place);
        return Some(manifest.item.sop_instance_uid);
    }
    let wrapped = wrap(works, record, index, binding, Form::StandIn).ok()?;
    Some(wrapped.instance.sop_instance)
}

fn manifest_of(record: &Record, index: u16, facts: &ItemFacts) -> Manifest {
    Manifest { version: Manifest::VERSION, acceptance: record.acceptance.clone(), index, item: facts.clone() }
}

fn is_built(leg: &Leg) -> bool {
    matches!(leg.progress(), Stage::Wrapped | Stage::Forwarded | Stage::Committed)
}

/// What an archive may have is not made anew.
fn stuck(why: NoReel) -> Doubt {
    match Doubt::from(why) {
        (FailureCode::NeedsTranscoding, why) => {
            (FailureCode::WrapFailed, format!("{why}; and an archive may have it already, so that it is not coded anew"))
        }
        doubt => doubt,
    }
}

/// Told on the capture.
pub(super) const FLAT_TONES: &str =
    "the video has a high dynamic range and was cut to 8 bits without being toned, for want of filters: it may look flat";

/// Sealed behind a film that was coded anew.
pub(super) fn film_manifest(item: ItemId, picture: &Picture, length: u64, recoded: &Recoded) -> Vec<u8> {
    let Picture { width, height, samples, .. } = *picture;
    let (essence, has_flat_tones) = (Some(recoded.essence()), recoded.has_flat_tones);
    let picture = DerivedPicture {
        width,
        height,
        samples,
        length,
        jpeg: false,
        essence,
        is_trimmed: false,
        has_flat_tones,
        icc_profile: None,
    };
    let manifest = DerivedManifest { version: 1, item: item.to_string(), picture };
    serde_json::to_vec(&manifest).unwrap_or_default()
}

fn derived_of(manifest: &[u8]) -> Result<DerivedPicture, Doubt> {
    let manifest: DerivedManifest = serde_json::from_slice(manifest).map_err(|_| failed("the derived picture cannot be read"))?;
    Ok(manifest.picture)
}

/// The same for bytes that lie in memory: the picture, its coded bytes, what happened to them.
///
/// # Errors
/// A [`Doubt`] where it cannot be decoded.
pub fn in_memory(
    fence: &Fence,
    edges: EdgeBlocks,
    facts: &ItemFacts,
    coded: Vec<u8>,
) -> Result<(Picture, Vec<u8>, Essence), Doubt> {
    if goes_as_it_is(facts) {
        return Ok((as_it_is(facts), coded, facts.essence));
    }
    let (derived, bytes) = decode(fence, edges, facts, &coded)?;
    Ok((coded_again(facts, &derived), bytes, essence_of(&derived)))
}

fn essence_of(derived: &DerivedPicture) -> Essence {
    derived.essence.unwrap_or(if derived.jpeg { Essence::Reencoded } else { Essence::Unchanged })
}

/// True for an upright baseline JPEG: .50 carries it as it came.
fn goes_as_it_is(facts: &ItemFacts) -> bool {
    facts.facts.orientation.is_upright() && is_baseline(facts.facts.format.coding)
}

fn is_baseline(coding: Coding) -> bool {
    matches!(coding, Coding::JpegBaselineGrey | Coding::JpegBaselineYcbcr)
}

fn samples_of(coding: Coding) -> u8 {
    if coding == Coding::JpegBaselineGrey { 1 } else { 3 }
}

fn as_it_is(facts: &ItemFacts) -> Picture {
    let format = facts.facts.format;
    Picture {
        width: format.width,
        height: format.height,
        samples: samples_of(format.coding),
        pixels: Pixels::Jpeg { length: facts.sealed_bytes },
        history: LossyHistory::Original,
        icc_profile: facts.facts.icc_profile.clone(),
    }
}

fn coded_again(facts: &ItemFacts, derived: &DerivedPicture) -> Picture {
    let length = derived.length;
    Picture {
        width: derived.width,
        height: derived.height,
        samples: derived.samples,
        pixels: if derived.jpeg { Pixels::Jpeg { length } } else { Pixels::Native { length } },
        history: match facts.media {
            // Its coefficients are the camera's (PS3.3 §C.7.6.1.1.5).
            MediaKind::Jpeg if derived.is_trimmed => LossyHistory::Trimmed,
            MediaKind::Jpeg if essence_of(derived) != Essence::Reencoded => LossyHistory::Original,
            MediaKind::Jpeg => LossyHistory::Reencoded {
                from: Some(LossyStep { method: LossyMethod::Jpeg, ratio: ratio(facts, derived.samples) }),
            },
            MediaKind::Png => LossyHistory::Lossless,
            // Two steps: the phone's, and ours to JPEG.
            MediaKind::Heic | MediaKind::Mp4 | MediaKind::QuickTime | MediaKind::Pdf => LossyHistory::Reencoded {
                from: Some(LossyStep { method: LossyMethod::Hevc, ratio: ratio(facts, derived.samples) }),
            },
        },
        icc_profile: facts.facts.icc_profile.as_ref().or(derived.icc_profile.as_ref()).cloned(),
    }
}

/// What the source's own coding has cost: uncompressed by compressed size.
fn ratio(facts: &ItemFacts, samples: u8) -> f64 {
    let format = facts.facts.format;
    let plain = f64::from(format.width) * f64::from(format.height) * f64::from(samples);
    // Exact up to 2^53 bytes; a file is smaller.
    #[allow(clippy::cast_precision_loss)]
    let coded = facts.sealed_bytes.max(1) as f64;
    plain / coded
}

/// The derived picture, made now or found from an earlier attempt.
fn derived(spool: &Spool, fence: &Fence, edges: EdgeBlocks, id: ItemId, facts: &ItemFacts) -> Result<DerivedPicture, Doubt> {
    if let Some(bytes) = sealed::made_manifest(spool, Name::Derived(id)).map_err(|e| unreadable(&e))? {
        return derived_of(&bytes);
    }
    if facts.media.is_video() {
        // Before it is read: it may have gigabytes.
        return Err(needs_transcoding(facts.media));
    }
    // What is decoded behind the fence waits there for its turn.
    let here = facts.media != MediaKind::Heic;
    let _one_at_a_time = here.then(|| RASTER.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let mut coded = Vec::new();
    spool
        .payload(id)
        .map_err(|e| unreadable(&e))?
        .read_to_end(&mut coded)
        .map_err(|e| (FailureCode::SpoolUnreadable, e.to_string()))?;
    let (picture, bytes) = decode(fence, edges, facts, &coded)?;
    drop(coded);
    seal(spool, id, &picture, &bytes).map_err(|e| unreadable(&e))?;
    Ok(picture)
}

fn decode(fence: &Fence, edges: EdgeBlocks, facts: &ItemFacts, coded: &[u8]) -> Result<(DerivedPicture, Vec<u8>), Doubt> {
    let orientation = facts.facts.orientation;
    let undecodable = |e: raster::RasterError| failed(&format!("the picture cannot be decoded: {e}"));
    let (mut icc_profile, mut is_trimmed) = (None, false);
    let ((width, height), samples, bytes, jpeg, essence) = match facts.media {
        MediaKind::Jpeg => {
            if let Some((Scrubbed { facts: Facts { format, .. }, essence, .. }, bytes)) = walked(facts, coded) {
                ((format.width, format.height), samples_of(format.coding), bytes, true, essence)
            } else {
                let made = raster::upright_jpeg(coded, orientation, edges, QUALITY).map_err(undecodable)?;
                let essence = if made.is_lossless { Essence::Rotated } else { Essence::Reencoded };
                is_trimmed = made.is_trimmed;
                ((made.width, made.height), made.components, made.jpeg, true, essence)
            }
        }
        MediaKind::Png => {
            let made = raster::native(coded, orientation).map_err(undecodable)?;
            ((made.width, made.height), made.samples, made.bytes, false, Essence::Unchanged)
        }
        MediaKind::Heic => {
            let (Scrubbed { facts: Facts { format, icc_profile: profile, .. }, .. }, bytes) =
                develop::heic(fence, coded, QUALITY)?;
            icc_profile = profile;
            ((format.width, format.height), samples_of(format.coding), bytes, true, Essence::Reencoded)
        }
        MediaKind::Mp4 | MediaKind::QuickTime | MediaKind::Pdf => return Err(needs_transcoding(facts.media)),
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let essence = Some(essence);
    Ok((DerivedPicture { width, height, samples, length, jpeg, essence, is_trimmed, has_flat_tones: false, icc_profile }, bytes))
}

/// An upright baseline picture whose scan was in doubt, without what belongs to none of its MCUs:
/// every code is read now. `None`: it is another kind of picture, or its codes do not make one; then
/// it is coded anew, which leaves nothing behind either.
fn walked(facts: &ItemFacts, coded: &[u8]) -> Option<(Scrubbed, Vec<u8>)> {
    if !facts.facts.orientation.is_upright() || jpeg::process(coded) != Some(Process::Baseline) {
        return None;
    }
    walk(coded)
}

/// Scrubs a JPEG and reads every code of it; `None` where it is no baseline one.
pub(super) fn walk(coded: &[u8]) -> Option<(Scrubbed, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(coded.len());
    let mut sink = |kept: &[u8]| {
        bytes.extend_from_slice(kept);
        Ok::<(), Infallible>(())
    };
    let mut scrubber = Scrubber::new(Purpose::Object, &Limits::walking());
    scrubber.push(coded, &mut sink).ok()?;
    let walked = scrubber.finish(&mut sink).ok()?;
    is_baseline(walked.facts.format.coding).then_some((walked, bytes))
}

fn seal(spool: &Spool, id: ItemId, picture: &DerivedPicture, bytes: &[u8]) -> Result<(), SpoolError> {
    let manifest = DerivedManifest { version: 1, item: id.to_string(), picture: picture.clone() };
    let manifest = serde_json::to_vec(&manifest).unwrap_or_default();
    let mut draft = spool.draft(Name::Derived(id))?;
    draft.write(bytes)?;
    spool.promise(vec![draft.finish(&manifest)?])
}

/// Nothing here makes of it what a transfer syntax carries. It waits, sealed, for a gateway that
/// has what it takes.
fn needs_transcoding(media: MediaKind) -> Doubt {
    (FailureCode::NeedsTranscoding, format!("no transfer syntax carries {} as it is, and nothing here decodes it", media.mime()))
}

fn failed(detail: &str) -> Doubt {
    (FailureCode::WrapFailed, detail.to_owned())
}

/// What is damaged or gone stays so; everything else may pass.
pub(super) fn unreadable(error: &SpoolError) -> Doubt {
    let code = match error {
        SpoolError::Damaged(_) | SpoolError::Missing => FailureCode::SpoolUnreadable,
        SpoolError::Locked
        | SpoolError::Newer(_)
        | SpoolError::Exists
        | SpoolError::Full
        | SpoolError::NotDurable(_)
        | SpoolError::Unsound
        | SpoolError::TooLong
        | SpoolError::Broken
        | SpoolError::NoRandom
        | SpoolError::Io { .. } => FailureCode::StoreUnavailable,
    };
    (code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Uid;
    use crate::capture::media::Orientation;
    use crate::media::jpeg::Encoding;

    /// A file as the door takes it in: its facts, and what is sealed.
    fn accepted(file: &[u8], turn: u16) -> (ItemFacts, Vec<u8>) {
        let mut sealed = Vec::new();
        let mut sink = |kept: &[u8]| {
            sealed.extend_from_slice(kept);
            Ok::<(), Infallible>(())
        };
        let mut scrubber = Scrubber::new(Purpose::Object, &Limits::default());
        scrubber.push(file, &mut sink).unwrap();
        let found = scrubber.finish(&mut sink).unwrap();
        let facts = ItemFacts {
            media: found.media,
            size_bytes: file.len() as u64,
            sha256: [0; 32],
            sealed_bytes: found.kept_bytes,
            sealed_sha256: None,
            sop_instance_uid: Uid::from_uuid_bytes([1; 16]),
            location_found: found.location_found,
            removed: found.removed,
            essence: found.essence,
            verifier: 1,
            sealed_as_received: None,
            facts: Facts { orientation: Orientation::from_exif(turn).unwrap(), ..found.facts },
        };
        (facts, sealed)
    }

    fn photo(width: u32, height: u32) -> Vec<u8> {
        let samples = (0..width * height * 3).map(|n| (n.wrapping_mul(0x9E37_79B1) >> 26) as u8 + 90).collect();
        let encoding = Encoding { quality: 90, has_full_chroma: false };
        jpeg::encode(samples, (width, height), 3, Orientation::UPRIGHT, encoding).unwrap()
    }

    #[test]
    fn what_happens_to_the_picture_is_what_the_object_says() {
        let step = |history: LossyHistory| match history {
            LossyHistory::Original => "original",
            LossyHistory::Trimmed => "trimmed",
            LossyHistory::Lossless => "lossless",
            LossyHistory::Reencoded { from: Some(_) } => "again, and lossy before",
            LossyHistory::Reencoded { from: None } => "again",
        };
        let table = [
            ((96, 64), 1, (96, 64), Essence::Unchanged, "original"),
            ((96, 64), 6, (64, 96), Essence::Rotated, "original"),
            ((100, 70), 5, (70, 100), Essence::Rotated, "original"),
            ((100, 70), 6, (70, 100), Essence::Reencoded, "again, and lossy before"),
        ];
        for ((width, height), turn, size, essence, history) in table {
            let (facts, sealed) = accepted(&photo(width, height), turn);
            let (picture, bytes, done) = in_memory(&Fence::default(), EdgeBlocks::Recode, &facts, sealed).unwrap();
            assert_eq!(((picture.width, picture.height), done), (size, essence), "{turn}");
            assert_eq!(step(picture.history), history, "{turn}");
            assert_eq!(picture.pixels.length(), bytes.len() as u64);
        }
    }

    #[test]
    fn what_hides_behind_the_last_mcu_is_not_in_the_object() {
        let plain = photo(320, 240);
        let (picture, end) = plain.split_at(plain.len() - 2);
        let (facts, sealed) = accepted(&[picture, b"+47.3769+008.5417/", end].concat(), 1);
        assert!(sealed.len() > plain.len(), "the door lets it pass");
        let (made, bytes, essence) = in_memory(&Fence::default(), EdgeBlocks::Recode, &facts, sealed).unwrap();
        assert!(bytes == plain, "{} and not {} bytes", bytes.len(), plain.len());
        assert_eq!((essence, made.history), (Essence::Rotated, LossyHistory::Original));
    }
}
