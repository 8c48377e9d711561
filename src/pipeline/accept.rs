//! From the first byte of a request to the promise line.
//!
//! Every byte is hashed and sealed while it arrives, and scrubbed and verified before anything is
//! promised (`arrival`). Until
//! [`Intake::finish`] returns, dropping the intake leaves nothing behind; after it, the capture
//! is on disk, whatever happens to this process.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::arrival::{Arrival, Arrived, Contents};
use super::department::{DepartmentRule, complete};
use super::identify;
use super::observer::Observer;
use super::pending::{Pending, Ticket};
use super::refusal::{Refusal, RefusalCode};
use crate::audit::{Audit, Event, Object, Outcome, Proof};
use crate::capture::record::{Acceptance, Digest, Idempotency, ItemFacts, SealedManifest};
use crate::capture::{CaptureId, Claim, Essence, Facts, FailureCode, Operator, Record, Uid};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::lookup::Lookup;
use crate::scrub::{self, verify};
use crate::seal::{digest, random};
use crate::spool::{Draft, Finished, Spool, SpoolError};

/// Longest Idempotency-Key, characters: a UUID or a digest fits several times.
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// Captures that may be promised while the journal takes none: they stand in memory.
const PENDING_MAX: usize = 2_000;

/// What the doors ask of the pipeline.
pub trait Acceptor: Send + Sync {
    /// Opens one request. Nothing is kept before [`Intake::finish`].
    ///
    /// # Errors
    /// A claim that is not valid, an unknown department, a spool that takes nothing.
    fn begin(&self, operator: &Operator, claim: &Value, idempotency_key: Option<&str>) -> Result<Box<dyn Intake>, Refusal>;
}

/// One request in progress. Blocking: call it where waiting for a disk is allowed.
pub trait Intake: Send {
    /// # Errors
    /// Too many files.
    fn start_file(&mut self) -> Result<(), Refusal>;
    /// # Errors
    /// The file is of no accepted kind, damaged or too large, or the disk does not take it.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal>;
    /// # Errors
    /// The file ended too early.
    fn end_file(&mut self) -> Result<(), Refusal>;
    /// The promise line: returns after every byte and name is flushed.
    ///
    /// # Errors
    /// No file, an Idempotency-Key used for something else, or a disk that did not flush.
    fn finish(self: Box<Self>) -> Result<Receipt, Refusal>;
}

/// Exists only for captures that are flushed.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub record: Record,
    pub replayed: bool,
}

/// How much is taken, and of whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest photo, bytes received.
    pub photo_bytes: u64,
    /// Largest video.
    pub video_bytes: u64,
    pub request_files: u16,
    pub scrub: scrub::Limits,
    pub departments: Vec<DepartmentRule>,
    pub quotas: Quotas,
}

/// Sealed bytes that may wait for the archive; `None`: any number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quotas {
    pub subject_bytes: Option<u64>,
    pub department_bytes: Option<u64>,
}

impl Quotas {
    /// One sender, or one ward, cannot fill the disk while an archive is away.
    fn check(&self, (of_subject, of_department): (u64, u64)) -> Result<(), Refusal> {
        let whose = match (self.subject_bytes, self.department_bytes) {
            (Some(limit), _) if of_subject >= limit => "you sent",
            (_, Some(limit)) if of_department >= limit => "this department sent",
            _ => return Ok(()),
        };
        let detail = format!(
            "Too much of what {whose} still waits here for the archive. Keep the photo and try again later; the administrator can raise the quota."
        );
        Err(Refusal::new(RefusalCode::SpoolFull, detail))
    }
}

/// Who is asked at the door whether the hospital knows whom a claim names.
pub struct Census {
    pub lookup: Arc<dyn Lookup>,
    /// The authority of numbers that the claim gives no issuer.
    pub home: String,
}

impl Census {
    /// Refuses only whom nobody announced: every other doubt is held for a person, and facts that
    /// cannot be read are no reason to turn a photo away.
    fn check(&self, claim: &Claim) -> Result<(), Refusal> {
        match identify::identify(claim, self.lookup.as_ref(), &self.home) {
            Err((FailureCode::PatientUnknown, why)) => {
                let detail = format!("Not accepted: {why}. Check the number and scan the wristband again.");
                Err(Refusal::new(RefusalCode::UnknownPatient, detail))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Everything an intake needs, shared by all.
pub struct Reception {
    pub options: Options,
    /// `None`: a capture of a patient nobody announced is held.
    pub census: Option<Census>,
    pub spool: Arc<Spool>,
    pub journal: Arc<Journal>,
    pub pending: Arc<Pending>,
    pub clock: Clock,
    pub audit: Arc<Audit>,
    pub observer: Arc<dyn Observer>,
}

/// The front desk: an [`Acceptor`] over the spool.
#[derive(Clone)]
pub struct FrontDesk(pub Arc<Reception>);

impl Acceptor for FrontDesk {
    fn begin(&self, operator: &Operator, claim: &Value, idempotency_key: Option<&str>) -> Result<Box<dyn Intake>, Refusal> {
        let parsed = read_claim(claim, &self.0.options.departments)?;
        let key = idempotency_key.map(|key| key_digest(operator, key)).transpose()?;
        self.0.options.quotas.check(self.0.journal.waiting_bytes(operator, &parsed.department))?;
        self.0.spool.health().map_err(|e| refuse_spool(&e))?;
        if !self.0.journal.is_sound() {
            let detail = "The gateway's disk did not confirm a write, so nothing is accepted until it does. Keep the photo and try again; the administrator is told.";
            return Err(Refusal::new(RefusalCode::Unavailable, detail));
        }
        if self.0.pending.len() >= PENDING_MAX {
            let detail = "The gateway's index takes no more just now. Keep the photo and try again; the administrator is told.";
            return Err(Refusal::new(RefusalCode::Unavailable, detail));
        }
        if let Some(census) = &self.0.census
            && !self.is_known(key)?
        {
            census.check(&parsed)?;
        }
        let accepted_at = self.0.clock.now();
        let random = random::random::<10>().map_err(|_| no_randomness())?;
        let id = CaptureId::new(u64::try_from(accepted_at.as_millisecond()).unwrap_or(0), random);
        Ok(Box::new(Session {
            reception: self.0.clone(),
            id,
            accepted_at,
            operator: operator.clone(),
            claim: parsed,
            claim_digest: digest::sha256(claim.to_string().as_bytes()),
            key,
            head: None,
            tail: Vec::new(),
            items: Vec::new(),
            current: None,
        }))
    }
}

impl FrontDesk {
    /// True where a request with this key was accepted: it is answered as then, whoever is known now.
    fn is_known(&self, key: Option<Digest>) -> Result<bool, Refusal> {
        key.map_or(Ok(false), |key| Ok(self.0.earlier(&key)?.is_some()))
    }
}

impl Reception {
    /// What was accepted under a key.
    fn earlier(&self, key: &Digest) -> Result<Option<Record>, Refusal> {
        if let Some(record) = self.pending.by_key(key) {
            return Ok(Some(record));
        }
        self.journal.by_idempotency(key).map_err(|e| {
            Refusal::new(
                RefusalCode::Unavailable,
                format!("The index cannot be read ({e}). Try again; the key keeps its meaning."),
            )
        })
    }
}

fn read_claim(claim: &Value, departments: &[DepartmentRule]) -> Result<Claim, Refusal> {
    let parsed = Claim::from_json(claim).map_err(claim_invalid)?;
    let Some(rule) = departments.iter().find(|d| d.id == parsed.department) else {
        return Err(claim_error("/department", "not one of the configured departments"));
    };
    complete(parsed, rule).map_err(claim_invalid)
}

fn claim_invalid(errors: Vec<crate::capture::claim::ClaimError>) -> Refusal {
    Refusal {
        errors,
        ..Refusal::new(RefusalCode::ClaimInvalid, "The claim is not valid; `errors` tells each place. Correct it and send again.")
    }
}

fn claim_error(pointer: &str, detail: &str) -> Refusal {
    claim_invalid(vec![crate::capture::claim::ClaimError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}

fn key_digest(operator: &Operator, key: &str) -> Result<Digest, Refusal> {
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX || !key.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        let detail = format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters.");
        return Err(Refusal::new(RefusalCode::Malformed, detail));
    }
    let mut hasher = digest::Hasher::new();
    for part in [operator.issuer.as_bytes(), operator.subject.as_bytes(), key.as_bytes()] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    Ok(hasher.finish())
}

/// One request in progress.
struct Session {
    reception: Arc<Reception>,
    id: CaptureId,
    accepted_at: Timestamp,
    operator: Operator,
    claim: Claim,
    claim_digest: Digest,
    key: Option<Digest>,
    /// Item 0, still open: its manifest needs the number of items.
    head: Option<Draft>,
    tail: Vec<Finished>,
    items: Vec<ItemFacts>,
    current: Option<Arrival>,
}

impl Intake for Session {
    fn start_file(&mut self) -> Result<(), Refusal> {
        let limit = self.reception.options.request_files;
        let index = u16::try_from(self.items.len()).unwrap_or(u16::MAX);
        if index >= limit {
            let detail = format!("More than {limit} files in one request. Send the rest as another capture.");
            return Err(Refusal::new(RefusalCode::TooLarge, detail));
        }
        let (item, part) = (self.id.item(index), index.saturating_add(1));
        let has_body_site = self.claim.body_site.is_some();
        self.current = Some(Arrival::begin(Arc::clone(&self.reception), item, part, has_body_site)?);
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.current.as_mut().ok_or_else(out_of_order)?.push(bytes)
    }

    fn end_file(&mut self) -> Result<(), Refusal> {
        let index = u16::try_from(self.items.len()).unwrap_or(u16::MAX);
        let Arrived { draft, contents, received, received_bytes, sealed } =
            self.current.take().ok_or_else(out_of_order)?.end()?;
        let uuid = random::random::<16>().map_err(|_| no_randomness())?;
        let bare = ItemFacts {
            media: contents.media(),
            size_bytes: received_bytes,
            sha256: received,
            sealed_bytes: draft.payload_bytes(),
            sealed_sha256: Some(sealed),
            sop_instance_uid: Uid::from_uuid_bytes(uuid),
            location_found: false,
            removed: Vec::new(),
            essence: Essence::Unchanged,
            verifier: 0,
            sealed_as_received: None,
            facts: Facts::unread(),
        };
        let item = match contents {
            Contents::Scrubbed(scrubbed) => ItemFacts {
                location_found: scrubbed.location_found,
                removed: scrubbed.removed,
                essence: scrubbed.essence,
                verifier: verify::VERSION,
                facts: scrubbed.facts,
                ..bare
            },
            Contents::AsReceived { why, .. } => ItemFacts { sealed_as_received: Some(why), ..bare },
        };
        if index == 0 {
            self.head = Some(draft);
        } else {
            let manifest = self.manifest(index, item.clone(), None)?;
            self.tail.push(draft.finish(&manifest).map_err(|e| refuse_spool(&e))?);
        }
        self.items.push(item);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt, Refusal> {
        if self.current.is_some() || self.head.is_none() {
            return Err(Refusal::new(
                RefusalCode::Malformed,
                "There is no file in the request. Add at least one part named `file`.",
            ));
        }
        let idempotency = self.key.map(|key| Idempotency { key, request: self.request_digest() });
        let ticket = match idempotency {
            None => None,
            Some(mark) => match self.replay(mark)? {
                Replay::Known(receipt) => return Ok(*receipt),
                Replay::New(ticket) => Some(ticket),
            },
        };
        self.record_in_audit()?;
        let record = self.promise(idempotency)?;
        // From here on nothing can fail: the record is on disk, and the ticket lets those wait
        // no longer who sent the same key meanwhile.
        self.reception.pending.add(record.clone());
        drop(ticket);
        self.tell(&record);
        Ok(Receipt { record, replayed: false })
    }
}

enum Replay {
    Known(Box<Receipt>),
    New(Ticket),
}

impl Session {
    /// The claim by value and the bytes of the files in order: what "the same body" means.
    fn request_digest(&self) -> Digest {
        let mut hasher = digest::Hasher::new();
        hasher.update(&self.claim_digest);
        for item in &self.items {
            hasher.update(&item.sha256);
        }
        hasher.finish()
    }

    /// Waits for a request with the same key that is being finished, then looks what became of it.
    fn replay(&self, mark: Idempotency) -> Result<Replay, Refusal> {
        let ticket = self.reception.pending.reserve(mark.key);
        match self.reception.earlier(&mark.key)? {
            None => Ok(Replay::New(ticket)),
            Some(record) if record.acceptance.idempotency.is_some_and(|i| i.request == mark.request) => {
                Ok(Replay::Known(Box::new(Receipt { record, replayed: true })))
            }
            Some(_) => Err(Refusal::new(
                RefusalCode::IdempotencyMismatch,
                "This Idempotency-Key was used for another request. Use a new key for new content.",
            )),
        }
    }

    /// Everything before the answer: the head's manifest, the syncs, the names.
    fn promise(&mut self, idempotency: Option<Idempotency>) -> Result<Record, Refusal> {
        let acceptance = Acceptance {
            id: self.id,
            accepted_at: self.accepted_at,
            operator: self.operator.clone(),
            idempotency,
            claim: self.claim.clone(),
            items: u16::try_from(self.items.len()).unwrap_or(u16::MAX),
        };
        let (Some(head), Some(first)) = (self.head.take(), self.items.first()) else { return Err(out_of_order()) };
        let manifest = self.manifest(0, first.clone(), Some(acceptance.clone()))?;
        let mut finished = vec![head.finish(&manifest).map_err(|e| refuse_spool(&e))?];
        finished.append(&mut self.tail);
        self.reception.spool.promise(finished).map_err(|e| refuse_spool(&e))?;
        Ok(Record::accepted(acceptance, std::mem::take(&mut self.items)))
    }

    fn manifest(&self, index: u16, item: ItemFacts, acceptance: Option<Acceptance>) -> Result<Vec<u8>, Refusal> {
        let manifest = SealedManifest { version: SealedManifest::VERSION, capture: self.id, index, item, acceptance };
        serde_json::to_vec(&manifest)
            .map_err(|_| Refusal::new(RefusalCode::Unavailable, "The record of the capture could not be written. Report this."))
    }

    /// Written before the promise, so that nothing is accepted that the trail does not know: what was
    /// removed from each file, then that the capture was accepted.
    fn record_in_audit(&self) -> Result<(), Refusal> {
        for (index, item) in (0..).zip(&self.items) {
            let proof = Proof {
                media: item.media.mime().to_owned(),
                location_found: item.location_found,
                removed: item.removed.clone(),
                received_sha256: digest::hex(&item.sha256),
                sealed_sha256: item.sealed_sha256.map(|sealed| digest::hex(&sealed)),
                verifier: item.verifier,
            };
            self.record_done("item.scrub", Object::Scrubbed(self.id.item(index), &proof))?;
        }
        self.record_done("capture.accept", Object::Capture(self.id))
    }

    fn record_done(&self, action: &'static str, object: Object<'_>) -> Result<(), Refusal> {
        let (at, actor) = (self.accepted_at, Some(&self.operator));
        let event = Event { at, actor, action, outcome: Outcome::Done, object, detail: "" };
        self.reception.audit.record(&event).map_err(|_| no_audit())
    }

    fn tell(&self, record: &Record) {
        for item in &record.items {
            self.reception.observer.accepted(item.facts.media, item.facts.location_found);
        }
    }
}

pub(super) fn refuse_spool(error: &SpoolError) -> Refusal {
    match error {
        SpoolError::Full => Refusal::new(
            RefusalCode::SpoolFull,
            "The gateway's disk is full. Keep the photo and try again later; the administrator is told.",
        ),
        other => Refusal::new(
            RefusalCode::Unavailable,
            format!("The gateway could not put the photo safely on disk ({other}). Keep it and try again."),
        ),
    }
}

fn no_audit() -> Refusal {
    let detail = "The audit trail cannot be written, so nothing may be accepted. Keep the photo; tell the administrator.";
    Refusal::new(RefusalCode::Unavailable, detail)
}

fn no_randomness() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "The system gives no random numbers; nothing can be sealed. Try again later.")
}

pub(super) fn out_of_order() -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        "The parts of the request came in an order that this door should have refused. Report this.",
    )
}
