//! Scrub and wrap without a server: the patient was resolved beforehand, and nothing is kept.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::bind::{self, Place};
use super::burst::{Gathered, MISFIT, Whole};
use super::film::{self, NoReel, Reel};
use super::identify::Match;
use super::{develop, wrap};
use crate::capture::media::EdgeBlocks;
use crate::capture::record::{Acceptance, ItemFacts, Manifest};
use crate::capture::{Binding, CaptureId, Claim, Essence, MediaKind, Operator, Patient, Record, Uid};
use crate::clock::Clock;
use crate::dicom::{self, Instance, LossyHistory};
use crate::fence::Fence;
use crate::journal::StudyRow;
use crate::media::film::flat::Reader;
use crate::media::sniff::HEAD_BYTES;
use crate::media::source::Source;
use crate::media::{Sniffed, sniff};
use crate::scrub::container::{self, CopyError, Seen};
use crate::scrub::{Limits, Purpose, PushError, ScrubError, Scrubbed, Scrubber, verify};
use crate::seal::digest::Hasher;
use crate::seal::random::random;

/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// Objects of one claim: one study, numbered as they come.
pub struct Offline {
    acceptance: Acceptance,
    found: Match,
    place: Place,
    photo_bytes: u64,
    video_bytes: u64,
    fence: Fence,
    edges: EdgeBlocks,
    /// Made with the first file, whose time begins the study; with the numbers that it took.
    binding: Option<(Binding, StudyRow)>,
}

/// What became of one still of a burst.
#[derive(Debug)]
pub struct Still {
    pub scrubbed: Scrubbed,
    pub essence: Essence,
}

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub media: MediaKind,
    pub location_found: bool,
    pub removed: Vec<String>,
    pub essence: Essence,
    pub sop_class: Uid,
    pub transfer_syntax: Uid,
}

/// Why a file became no object: a word of `api-spec/problems.md`, and what to do.
pub type Unwrapped = (&'static str, String);

impl Offline {
    /// `patient` with the one visit and the one order to use, if any; then the largest photo and the
    /// largest video, bytes.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn new(
        claim: Claim,
        mut patient: Patient,
        place: Place,
        (photo_bytes, video_bytes): (u64, u64),
        (fence, edges): (Fence, EdgeBlocks),
        clock: &Clock,
    ) -> Result<Self, String> {
        let visit = std::mem::take(&mut patient.visits).into_iter().next();
        let order = std::mem::take(&mut patient.orders).into_iter().next();
        let accepted_at = clock.now();
        let id = random::<10>().map_err(|_| "the system gives no random numbers".to_owned())?;
        let acceptance = Acceptance {
            id: CaptureId::new(u64::try_from(accepted_at.as_millisecond()).unwrap_or(0), id),
            accepted_at,
            operator: Operator { issuer: String::new(), subject: String::new(), name: String::new() },
            idempotency: None,
            claim,
            items: 1,
        };
        let found = Match { patient, prior_ids: Vec::new(), visit, order, notes: Vec::new() };
        Ok(Self { acceptance, found, place, photo_bytes, video_bytes, fence, edges, binding: None })
    }

    /// Scrubs and wraps one file into a Part 10 file. `number` becomes the instance number.
    ///
    /// # Errors
    /// [`Unwrapped`]; what was written to `object` is to be thrown away.
    pub fn wrap(&mut self, number: u32, file: &mut dyn Read, object: &mut dyn Write) -> Result<Object, Unwrapped> {
        let (item, coded, scrubbed) = self.scrub(file)?;
        let mut binding = self.bind(&item)?;
        binding.instance_numbers = vec![number];
        let manifest = |item| Manifest { version: Manifest::VERSION, acceptance: self.acceptance.clone(), index: 0, item };
        let unfit = |e: dicom::DicomError| (e.failure_code().word(), e.to_string());
        let (instance, bytes, essence) = if item.media == MediaKind::Pdf {
            (dicom::build_document(&binding, &manifest(item)).map_err(unfit)?, coded, Essence::Unchanged)
        } else {
            let (picture, bytes, essence) = wrap::in_memory(&self.fence, self.edges, &item, coded).map_err(held)?;
            (dicom::build(&binding, &manifest(item), &picture).map_err(unfit)?, bytes, essence)
        };
        write_object(&instance, &mut bytes.as_slice(), object, scrubbed, essence)
    }

    /// Begins a burst, whose stills lie in `scratch` meanwhile, in a file without a name.
    ///
    /// # Errors
    /// [`Unwrapped`].
    pub fn begin_burst(scratch: &Path) -> Result<Gathered, Unwrapped> {
        unnamed_file(scratch, "burst").map(Gathered::new).map_err(|e| unwritable(&e))
    }

    /// Scrubs one still and adds it to a burst. What is told of the object is told of the still.
    ///
    /// # Errors
    /// As [`Offline::wrap`]; and a still that does not fit.
    pub fn add_still(&mut self, burst: &mut Gathered, file: &mut dyn Read) -> Result<Still, Unwrapped> {
        let (item, coded, scrubbed) = self.scrub(file)?;
        if item.media == MediaKind::Pdf {
            return Err((MISFIT, "A burst is of photos, and this is a document. Wrap it without --burst.".to_owned()));
        }
        let (picture, bytes, essence) = wrap::in_memory(&self.fence, self.edges, &item, coded).map_err(held)?;
        burst.add(item, picture, &bytes)?;
        Ok(Still { scrubbed, essence })
    }

    /// Makes one object of all that was added: the first instance of its series.
    ///
    /// # Errors
    /// As [`Offline::wrap`]; and a burst of fewer than two.
    pub fn wrap_burst(&mut self, burst: Gathered, object: &mut dyn Write) -> Result<(Uid, Uid), Unwrapped> {
        let Whole { item, picture, burst, coded } = burst.whole()?;
        let mut binding = self.bind(&item)?;
        binding.instance_numbers = vec![1];
        let manifest = Manifest { version: Manifest::VERSION, acceptance: self.acceptance.clone(), index: 0, item };
        let built = dicom::build_burst(&binding, &manifest, &picture, &burst);
        let instance = built.map_err(|e| (e.failure_code().word(), e.to_string()))?;
        let syntax = write_instance(&instance, &mut coded.reader().map_err(|e| unwritable(&e))?, object)?;
        Ok((instance.sop_class, syntax))
    }

    /// The same for a film, which is never held whole: it is read where it lies, as often as it takes.
    /// One that is coded anew lies in `scratch` meanwhile, in a file without a name.
    ///
    /// # Errors
    /// As [`Offline::wrap`].
    pub fn wrap_film(
        &mut self,
        number: u32,
        file: &dyn Source,
        scratch: &Path,
        object: &mut dyn Write,
    ) -> Result<Object, Unwrapped> {
        check_size(file.length_bytes(), self.video_bytes, "video")?;
        if self.acceptance.claim.body_site.is_none() {
            let detail = "A video needs `body_site` in its claim: the part of the body that it shows.";
            return Err(("claim-invalid", detail.to_owned()));
        }
        let seen = container::see(file, Purpose::Object, &Limits::default()).map_err(|error| unscrubbed(error.into()))?;
        let scrubbed = seen.scrubbed();
        let (reel, made) = match film::reel(&seen, LossyHistory::Original, true) {
            Ok(reel) => (reel, None),
            Err(NoReel::Unfit(_)) if self.fence.ffmpeg().is_some() => {
                let (reel, made, essence) = self.code_anew(&seen, scratch)?;
                (reel, Some((made, essence)))
            }
            Err(why) => return Err(held(why.into())),
        };
        let item = Self::facts(file.length_bytes(), digest(file)?, &scrubbed)?;
        let mut binding = self.bind(&item)?;
        binding.instance_numbers = vec![number];
        let manifest = Manifest { version: Manifest::VERSION, acceptance: self.acceptance.clone(), index: 0, item };
        let built = dicom::build_video(&binding, &manifest, &reel.picture, &reel.cine);
        let instance = built.map_err(|e| (e.failure_code().word(), e.to_string()))?;
        match made {
            None => write_object(&instance, &mut Reader::new(reel.flat, seen), object, scrubbed, Essence::Unchanged),
            Some((made, essence)) => write_object(&instance, &mut Reader::new(reel.flat, made), object, scrubbed, essence),
        }
    }

    fn code_anew(&self, seen: &Seen<'_>, scratch: &Path) -> Result<(Reel, Scratch, Essence), Unwrapped> {
        let mut file = unnamed_file(scratch, "film").map_err(|e| unwritable(&e))?;
        let mut sink = |piece: &[u8]| file.write_all(piece);
        let recoded = develop::recoded(&self.fence, seen, true, &mut sink, &mut |_, _| true).map_err(held)?;
        let made = Scratch::of(file).map_err(|e| unwritable(&e))?;
        let reel = recoded.reel(&made).map_err(held)?;
        Ok((reel, made, recoded.essence()))
    }

    fn scrub(&self, file: &mut dyn Read) -> Result<(ItemFacts, Vec<u8>, Scrubbed), Unwrapped> {
        let mut head = Vec::new();
        file.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(|e| unreadable(&e))?;
        if matches!(sniff(&head), Sniffed::Known(MediaKind::Pdf | MediaKind::Heic)) {
            return self.scrub_whole(&mut head.as_slice().chain(file));
        }
        let file: &mut dyn Read = &mut head.as_slice().chain(file);
        let mut sieve = Scrubber::new(Purpose::Object, &Limits::walking());
        let (mut received, mut size_bytes, mut coded) = (Hasher::new(), 0u64, Vec::new());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = file.read(&mut buffer).map_err(|e| unreadable(&e))?;
            let chunk = buffer.get(..length).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            size_bytes += u64::try_from(length).unwrap_or(0);
            check_size(size_bytes, self.photo_bytes, "photo")?;
            received.update(chunk);
            sieve.push(chunk, &mut into(&mut coded)).map_err(refused)?;
        }
        let scrubbed = sieve.finish(&mut into(&mut coded)).map_err(refused)?;
        let item = Self::facts(size_bytes, received, &scrubbed)?;
        Ok((item, coded, scrubbed))
    }

    /// What has an index is read at any place, and so has to be there whole.
    fn scrub_whole(&self, file: &mut dyn Read) -> Result<(ItemFacts, Vec<u8>, Scrubbed), Unwrapped> {
        let (mut whole, mut coded) = (Vec::new(), Vec::new());
        file.take(self.photo_bytes.saturating_add(1)).read_to_end(&mut whole).map_err(|e| unreadable(&e))?;
        let size_bytes = u64::try_from(whole.len()).unwrap_or(u64::MAX);
        check_size(size_bytes, self.photo_bytes, "photo")?;
        let scrubbed = container::scrub(&whole.as_slice(), Purpose::Object, &Limits::default(), &mut into(&mut coded))
            .map_err(unscrubbed)?;
        let mut received = Hasher::new();
        received.update(&whole);
        let item = Self::facts(size_bytes, received, &scrubbed)?;
        Ok((item, coded, scrubbed))
    }

    fn facts(size_bytes: u64, received: Hasher, scrubbed: &Scrubbed) -> Result<ItemFacts, Unwrapped> {
        let uuid = random::<16>().map_err(|_| ("unavailable", "The system gives no random numbers.".to_owned()))?;
        Ok(ItemFacts {
            media: scrubbed.media,
            size_bytes,
            sha256: received.finish(),
            sealed_bytes: scrubbed.kept_bytes,
            sealed_sha256: None,
            sop_instance_uid: Uid::from_uuid_bytes(uuid),
            location_found: scrubbed.location_found,
            removed: scrubbed.removed.clone(),
            essence: scrubbed.essence,
            verifier: verify::VERSION,
            sealed_as_received: None,
            facts: scrubbed.facts.clone(),
        })
    }

    fn bind(&mut self, item: &ItemFacts) -> Result<Binding, Unwrapped> {
        if let Some((binding, row)) = &mut self.binding {
            let at = bind::enter_series(&mut binding.series, row, &self.acceptance, item, &self.place);
            binding.item_series = vec![at];
            return Ok(binding.clone());
        }
        let record = Record::accepted(self.acceptance.clone(), vec![item.clone()]);
        let (key, _) = bind::study_keys(&self.found, &record, &self.place).map_err(held)?;
        let now = self.acceptance.accepted_at;
        let (binding, row) = bind::bind(self.found.clone(), &record, &key, None, &self.place, now).map_err(held)?;
        self.binding = Some((binding.clone(), row));
        Ok(binding)
    }
}

fn check_size(size_bytes: u64, limit: u64, what: &str) -> Result<(), Unwrapped> {
    if size_bytes > limit {
        return Err(("too-large", format!("The file is larger than {limit} bytes, the limit for a {what}.")));
    }
    Ok(())
}

fn write_object(
    instance: &Instance,
    payload: &mut dyn Read,
    object: &mut dyn Write,
    scrubbed: Scrubbed,
    essence: Essence,
) -> Result<Object, Unwrapped> {
    let transfer_syntax = write_instance(instance, payload, object)?;
    Ok(Object {
        media: scrubbed.media,
        location_found: scrubbed.location_found,
        removed: scrubbed.removed,
        essence,
        sop_class: instance.sop_class.clone(),
        transfer_syntax,
    })
}

/// As a file; in which syntax.
fn write_instance(instance: &Instance, payload: &mut dyn Read, object: &mut dyn Write) -> Result<Uid, Unwrapped> {
    let syntax = instance.transfer_syntax();
    object.write_all(&instance.part10_prefix().map_err(|e| unwritable(&e))?).map_err(|e| unwritable(&e))?;
    let mut data_set = instance.stream(syntax, payload).map_err(|e| unwritable(&e))?;
    io::copy(&mut data_set, object).map_err(|e| unwritable(&e))?;
    Uid::parse(syntax.uid()).map_err(|e| unwritable(&e))
}

pub(super) fn unwritable(error: &dyn std::fmt::Display) -> Unwrapped {
    ("unwritable", format!("The output cannot be written: {error}."))
}

fn unreadable(error: &io::Error) -> Unwrapped {
    ("unreadable", format!("The file cannot be read: {error}."))
}

fn unscrubbed(error: CopyError<Infallible>) -> Unwrapped {
    match error {
        CopyError::Scrub(ScrubError { code, detail }) => (code.word(), detail),
        CopyError::Read(error) => unreadable(&error),
    }
}

fn held((code, detail): super::identify::Doubt) -> Unwrapped {
    (code.word(), detail)
}

/// Of the whole file.
fn digest(file: &dyn Source) -> Result<Hasher, Unwrapped> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut left = file.length_bytes();
    while left > 0 {
        let length = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let part = buffer.get_mut(..length).unwrap_or_default();
        file.read_at(file.length_bytes() - left, part).map_err(|e| unreadable(&e))?;
        hasher.update(part);
        left -= u64::try_from(length).unwrap_or(left);
    }
    Ok(hasher)
}

/// Gone with its last handle, also where the process is killed.
fn unnamed_file(folder: &Path, what: &str) -> io::Result<File> {
    let path = folder.join(format!(".shutterbridge-{}-{what}.part", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// What lies in it, to the end that it had.
pub(super) struct Scratch {
    file: File,
    length_bytes: u64,
}

impl Scratch {
    pub(super) fn of(file: File) -> io::Result<Self> {
        Ok(Self { length_bytes: file.metadata()?.len(), file })
    }

    /// From its beginning.
    pub(super) fn reader(mut self) -> io::Result<File> {
        self.file.rewind()?;
        Ok(self.file)
    }
}

impl Source for Scratch {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

/// A sink in memory takes everything.
fn into(coded: &mut Vec<u8>) -> impl FnMut(&[u8]) -> Result<(), Infallible> {
    |kept| {
        coded.extend_from_slice(kept);
        Ok(())
    }
}

fn refused(error: PushError<Infallible>) -> Unwrapped {
    let PushError::Scrub(ScrubError { code, detail }) = error;
    (code.word(), detail)
}
