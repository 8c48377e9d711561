//! Scrub and wrap without a server: the patient was resolved beforehand, and nothing is kept.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use super::bind::{self, Place};
use super::identify::Match;
use super::wrap;
use crate::capture::record::{Acceptance, ItemFacts, Manifest};
use crate::capture::{Binding, CaptureId, Claim, Essence, MediaKind, Operator, Patient, Record, Uid};
use crate::clock::Clock;
use crate::dicom;
use crate::fence::Fence;
use crate::journal::StudyRow;
use crate::media::sniff::HEAD_BYTES;
use crate::media::{Sniffed, sniff};
use crate::scrub::container::{self, CopyError};
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
    fence: Fence,
    /// Made with the first file, whose time begins the study; with the numbers that it took.
    binding: Option<(Binding, StudyRow)>,
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
    /// `patient` with the one visit and the one order to use, if any.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn new(
        claim: Claim,
        mut patient: Patient,
        place: Place,
        photo_bytes: u64,
        fence: Fence,
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
        Ok(Self { acceptance, found, place, photo_bytes, fence, binding: None })
    }

    /// Scrubs and wraps one file into a Part 10 file. `number` becomes the instance number.
    ///
    /// # Errors
    /// [`Unwrapped`]; what was written to `object` is to be thrown away.
    pub fn wrap(&mut self, number: u32, file: &mut dyn Read, object: &mut dyn Write) -> Result<Object, Unwrapped> {
        let (item, coded, scrubbed) = self.scrub(file)?;
        let mut binding = self.bind(&item)?;
        binding.instance_numbers = vec![number];
        let held = |(code, detail): (crate::capture::FailureCode, String)| (code.word(), detail);
        let manifest = |item| Manifest { version: Manifest::VERSION, acceptance: self.acceptance.clone(), index: 0, item };
        let unfit = |e: dicom::DicomError| (e.failure_code().word(), e.to_string());
        let (instance, bytes, essence) = if item.media == MediaKind::Pdf {
            (dicom::build_document(&binding, &manifest(item)).map_err(unfit)?, coded, Essence::Unchanged)
        } else {
            let (picture, bytes, essence) = wrap::in_memory(&self.fence, &item, coded).map_err(held)?;
            (dicom::build(&binding, &manifest(item), &picture).map_err(unfit)?, bytes, essence)
        };
        let broken = |e: &dyn std::fmt::Display| ("unwritable", format!("The output cannot be written: {e}."));
        let syntax = instance.transfer_syntax();
        object.write_all(&instance.part10_prefix().map_err(|e| broken(&e))?).map_err(|e| broken(&e))?;
        let mut payload = bytes.as_slice();
        let mut data_set = instance.stream(syntax, &mut payload).map_err(|e| broken(&e))?;
        std::io::copy(&mut data_set, object).map_err(|e| broken(&e))?;
        Ok(Object {
            media: scrubbed.media,
            location_found: scrubbed.location_found,
            removed: scrubbed.removed,
            essence,
            sop_class: instance.sop_class,
            transfer_syntax: Uid::parse(syntax.uid()).map_err(|e| broken(&e))?,
        })
    }

    fn scrub(&self, file: &mut dyn Read) -> Result<(ItemFacts, Vec<u8>, Scrubbed), Unwrapped> {
        let mut head = Vec::new();
        let unreadable = |e: io::Error| ("unreadable", format!("The file cannot be read: {e}."));
        file.take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(unreadable)?;
        if matches!(sniff(&head), Sniffed::Known(MediaKind::Pdf | MediaKind::Heic)) {
            return self.scrub_whole(&mut head.as_slice().chain(file));
        }
        let file: &mut dyn Read = &mut head.as_slice().chain(file);
        let mut sieve = Scrubber::new(Purpose::Object, &Limits::walking());
        let (mut received, mut size_bytes, mut coded) = (Hasher::new(), 0u64, Vec::new());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = file.read(&mut buffer).map_err(unreadable)?;
            let chunk = buffer.get(..length).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            size_bytes += u64::try_from(length).unwrap_or(0);
            self.check_size(size_bytes)?;
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
        let unreadable = |e: io::Error| ("unreadable", format!("The file cannot be read: {e}."));
        file.take(self.photo_bytes.saturating_add(1)).read_to_end(&mut whole).map_err(unreadable)?;
        let size_bytes = u64::try_from(whole.len()).unwrap_or(u64::MAX);
        self.check_size(size_bytes)?;
        let scrubbed =
            container::scrub(&whole.as_slice(), Purpose::Object, &Limits::default(), &mut into(&mut coded)).map_err(|error| {
                match error {
                    CopyError::Scrub(ScrubError { code, detail }) => (code.word(), detail),
                    CopyError::Read(error) => unreadable(error),
                }
            })?;
        let mut received = Hasher::new();
        received.update(&whole);
        let item = Self::facts(size_bytes, received, &scrubbed)?;
        Ok((item, coded, scrubbed))
    }

    fn check_size(&self, size_bytes: u64) -> Result<(), Unwrapped> {
        if size_bytes > self.photo_bytes {
            return Err(("too-large", format!("The file is larger than {} bytes, the limit for a photo.", self.photo_bytes)));
        }
        Ok(())
    }

    fn facts(size_bytes: u64, received: Hasher, scrubbed: &Scrubbed) -> Result<ItemFacts, Unwrapped> {
        let uuid = random::<16>().map_err(|_| ("unavailable", "The system gives no random numbers.".to_owned()))?;
        Ok(ItemFacts {
            media: scrubbed.media,
            size_bytes,
            sha256: received.finish(),
            sealed_bytes: scrubbed.kept_bytes,
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
        let held = |(code, detail): super::identify::Doubt| (code.word(), detail);
        let record = Record::accepted(self.acceptance.clone(), vec![item.clone()]);
        let (key, _) = bind::study_keys(&self.found, &record, &self.place).map_err(held)?;
        let now = self.acceptance.accepted_at;
        let (binding, row) = bind::bind(self.found.clone(), &record, &key, None, &self.place, now).map_err(held)?;
        self.binding = Some((binding.clone(), row));
        Ok(binding)
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
