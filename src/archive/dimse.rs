//! C-STORE to an archive (PS3.4 §B, PS3.7 §9): associations are kept and used again.

mod examine;

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dicom_ul::pdu::{AssociationRJ, AssociationRJResult};
use rustls::ClientConfig;

pub(super) use self::examine::{told_of_association, told_of_clear_text, told_of_connection, told_of_echo};
use super::association::{Answer, Association, NoAnswer, NoAssociation, WRITE_BYTES};
use super::finding::Finding;
use super::profile::{NATIVE, Profile, send_decoded};
use super::status::{Verdict, meaning};
use super::wire::Fault;
use super::{AeTitle, Archive, Asked, Refused, Stored, commitment};
use crate::capture::{Commitment, FailureCode, MediaClass, SopRef, Uid};
use crate::dicom::{Instance, Pixels, Syntax, iod};

/// Begin of an object that is remembered on an association that was used before, bytes: where
/// the archive has left meanwhile, the first write still passes and the second tells.
const REPLAY_BYTES_MAX: usize = 2 * WRITE_BYTES;

/// One archive.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`.
    pub address: String,
    pub called_ae: AeTitle,
    pub calling_ae: AeTitle,
    /// `None`: in clear text.
    pub tls: Option<Arc<ClientConfig>>,
    pub profile: Profile,
    pub limits: Limits,
}

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connect_ms: u64,
    /// From the request to its answer.
    pub association_ms: u64,
    /// From the last byte of an object to the answer.
    pub response_ms: u64,
    /// After a question for commitment, for the report on the same association.
    pub report_wait_ms: u64,
    /// A write that moves nothing.
    pub stall_ms: u64,
    /// An object may take `response_ms` and its size at this rate.
    pub bytes_per_second_min: u64,
    /// An association that did nothing for so long is released.
    pub idle_ms: u64,
    /// At the same time.
    pub associations_max: usize,
}

impl Default for Limits {
    /// An archive in the house connects in milliseconds; its answer may wait for a disk array.
    /// Slower than an old DSL line is as good as down. Archives close idle associations after
    /// half a minute or more: we do it first. An archive that reports on the same association does
    /// so at once. Four associations keep one archive busy.
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            association_ms: 15_000,
            response_ms: 60_000,
            report_wait_ms: 2_000,
            stall_ms: 30_000,
            bytes_per_second_min: 32 << 10,
            idle_ms: 10_000,
            associations_max: 4,
        }
    }
}

/// The archive behind an address. Several threads may store at once; each has an association of
/// its own for that time.
pub struct Dimse {
    options: Options,
    pool: Mutex<Pool>,
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Association>,
    /// Idle, in use, and being negotiated.
    open: usize,
}

/// An association for one message; gone when dropped, unless given back.
struct Lease<'a> {
    dimse: &'a Dimse,
    association: Option<Association>,
    was_used: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut pool = self.dimse.pool();
        match self.association.take() {
            Some(mut association) => {
                association.idle_since = Instant::now();
                pool.idle.push(association);
            }
            None => pool.open -= 1,
        }
        drop(pool);
        self.dimse.freed.notify_one();
    }
}

impl Lease<'_> {
    /// A-ABORT: whatever was on its way is void.
    fn abort(mut self) {
        if let Some(association) = self.association.take() {
            association.abort();
        }
    }
}

impl Dimse {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, pool: Mutex::default(), freed: Condvar::new() }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // The counters are whole at every point where the lock is let go.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle association, else a new one, else waits for one to come free.
    fn lease(&self, may_reuse: bool) -> Result<Lease<'_>, Refused> {
        let deadline = Instant::now() + Duration::from_millis(self.options.limits.response_ms);
        let mut pool = self.pool();
        loop {
            let (kept, stale) = if may_reuse { take_usable(&mut pool, self.options.limits.idle_ms) } else { (None, Vec::new()) };
            pool.open -= stale.len();
            if let Some(association) = kept {
                drop(pool);
                release(stale);
                return Ok(Lease { dimse: self, association: Some(association), was_used: true });
            }
            if !may_reuse && pool.open >= self.options.limits.associations_max {
                // A fresh one is wanted and an idle one is in its place.
                if let Some(association) = pool.idle.pop() {
                    pool.open -= 1;
                    drop(pool);
                    association.release();
                    pool = self.pool();
                    continue;
                }
            }
            if pool.open < self.options.limits.associations_max {
                pool.open += 1;
                drop(pool);
                release(stale);
                return self.negotiate();
            }
            let left = deadline.checked_duration_since(Instant::now()).unwrap_or_default();
            if left.is_zero() {
                let detail = "every association is in use; the archive is slow, or there are more workers than associations";
                return Err(Refused { code: FailureCode::ArchiveUnreachable, detail: detail.to_owned() });
            }
            pool = self.freed.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The place in the pool is already taken.
    fn negotiate(&self) -> Result<Lease<'_>, Refused> {
        let mut lease = Lease { dimse: self, association: None, was_used: false };
        lease.association = Some(Association::request(&self.options).map_err(|why| no_association(&why))?);
        Ok(lease)
    }

    /// Over a kept association, and once more over a new one where the kept one had died.
    fn send(&self, instance: &Instance, source: &mut Source<'_>) -> Result<Stored, Refused> {
        if let Some(result) = self.attempt(self.lease(true)?, instance, source) {
            return result;
        }
        self.attempt(self.lease(false)?, instance, source).unwrap_or_else(|| {
            let detail = "the archive closed two associations before it had the object".to_owned();
            Err(Refused { code: FailureCode::ArchiveUnreachable, detail })
        })
    }

    /// Whether the archive takes the class of a JPEG with its pixels decoded.
    fn takes_decoded(&self, instance: &Instance) -> bool {
        let takes = |lease: &Lease<'_>| {
            lease.association.as_ref().is_some_and(|a| a.context(instance.sop_class.as_str(), &NATIVE).is_some())
        };
        self.options.profile.can_decode(instance) && self.lease(true).is_ok_and(|lease| takes(&lease))
    }

    fn refused_context(&self, association: &Association, instance: &Instance) -> Refused {
        if let Err(left_out) = self.options.profile.syntax_of(instance) {
            return left_out;
        }
        let class = instance.sop_class.as_str();
        let syntax = instance.transfer_syntax().uid();
        // What is refused is the class only where its native context is refused as well: many
        // acceptors give that reason for a transfer syntax, too.
        let detail = if association.takes_class(class) {
            let or = match instance.pixels {
                Pixels::Jpeg { .. } if !self.options.profile.fallback => ", or let fallback = true of this [[archive]] decode it",
                Pixels::Video { syntax: Syntax::HevcMain, .. } => {
                    ", or leave it out in `syntaxes` of this [[archive]]: what no archive is offered in HEVC is coded anew as H.264"
                }
                Pixels::Jpeg { .. } | Pixels::Native { .. } | Pixels::Video { .. } | Pixels::Document { .. } => "",
            };
            format!("the archive takes SOP class {class} but not in transfer syntax {syntax}; enable it there{or}")
        } else if matches!(instance.pixels, Pixels::Video { .. }) {
            format!("the archive does not take SOP class {class} in transfer syntax {syntax}; enable both there")
        } else {
            format!("the archive does not take SOP class {class}; enable it there")
        };
        Refused { code: FailureCode::ArchiveRefusedClass, detail }
    }

    /// Sends the object; `None` where an association that was used before turned out to be dead
    /// while its begin was still remembered.
    fn attempt(&self, mut lease: Lease<'_>, instance: &Instance, source: &mut Source<'_>) -> Option<Result<Stored, Refused>> {
        let Some(association) = &mut lease.association else { return None };
        let Some(context) = association.context(instance.sop_class.as_str(), instance.syntaxes()) else {
            return Some(Err(self.refused_context(association, instance)));
        };
        let data_set = match source.data_set(instance, context.syntax, lease.was_used) {
            Ok(data_set) => data_set,
            Err(refused) => return Some(Err(refused)),
        };
        let size_bytes = data_set.size_bytes;
        match association.store(instance, context, data_set, size_bytes, &self.options) {
            Ok(answer) => Some(judge(&answer, instance)),
            Err(NoAnswer::Source) => {
                lease.abort();
                let detail = "the sealed picture could not be read to its end; the archive was told to forget the begin";
                Some(Err(Refused { code: FailureCode::SpoolUnreadable, detail: detail.to_owned() }))
            }
            Err(NoAnswer::NotSent(_)) if lease.was_used && data_set.rewind() => {
                lease.abort();
                None
            }
            Err(NoAnswer::NotSent(fault)) => {
                lease.abort();
                Some(Err(unreachable(fault, "before it had the whole object")))
            }
            Err(NoAnswer::NotAnswered(fault)) => {
                lease.abort();
                let detail = format!("the archive had the whole object and gave no answer: {fault}");
                Some(Err(Refused { code: FailureCode::ArchiveAborted, detail }))
            }
        }
    }
}

impl Archive for Dimse {
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        let instance = &*self.options.profile.dress(instance);
        let mut source = Source::Waiting(payload);
        match (self.send(instance, &mut source), source) {
            (Err(refused), Source::Waiting(payload))
                if refused.code == FailureCode::ArchiveRefusedClass && self.takes_decoded(instance) =>
            {
                send_decoded(instance, payload, refused, |native, payload| self.send(native, &mut Source::Waiting(payload)))
            }
            (result, _) => result,
        }
    }

    /// Over an association of its own, so that an archive which takes no new ones is noticed.
    fn probe(&self) -> Result<(), Refused> {
        let mut lease = self.lease(false)?;
        let Some(association) = &mut lease.association else { return Ok(()) };
        match association.echo(&self.options) {
            Ok(0) => match lacking(association) {
                None => Ok(()),
                Some(iod) => Err(Refused {
                    code: FailureCode::ArchiveRefusedClass,
                    detail: format!("the archive answers C-ECHO and does not take SOP class {}", iod.sop_class),
                }),
            },
            Ok(status) => Err(Refused {
                code: FailureCode::ArchiveRejected,
                detail: format!("the archive answered C-ECHO with status {status:04X}H"),
            }),
            Err(fault) => {
                lease.abort();
                Err(unreachable(fault, "at C-ECHO"))
            }
        }
    }

    fn offers(&self, syntax: Syntax) -> bool {
        self.options.profile.offers(syntax)
    }

    fn takes_stand_ins(&self) -> bool {
        self.options.profile.fallback
    }

    fn ask_commitment(&self, transaction: &Uid, wanted: &[SopRef]) -> Result<Asked, Refused> {
        commitment::ask(&self.options, transaction, wanted)
    }

    fn examine(&self, commitment: Commitment, named: &[MediaClass]) -> Vec<Finding> {
        examine::examine(&self.options, commitment, named)
    }

    fn release_idle(&self) {
        let mut pool = self.pool();
        let idle = Duration::from_millis(self.options.limits.idle_ms);
        let (expired, kept): (Vec<_>, Vec<_>) = pool.idle.drain(..).partition(|a| a.idle_since.elapsed() >= idle);
        pool.idle = kept;
        pool.open -= expired.len();
        drop(pool);
        release(expired);
    }
}

impl Drop for Dimse {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.pool().idle);
        release(idle);
    }
}

/// The youngest idle association that still lives, and those that do not or were idle too long.
fn take_usable(pool: &mut Pool, idle_ms: u64) -> (Option<Association>, Vec<Association>) {
    let mut stale = Vec::new();
    while let Some(mut association) = pool.idle.pop() {
        if association.idle_since.elapsed() < Duration::from_millis(idle_ms) && association.is_quiet() {
            return (Some(association), stale);
        }
        stale.push(association);
    }
    (None, stale)
}

/// A kind of object that cannot go, as itself or as another that may stand in for it. Many archives
/// take no video, and are there all the same.
fn lacking(association: &Association) -> Option<&'static iod::Iod> {
    let takes = |iod: &iod::Iod| association.takes_class(iod.sop_class);
    let has_stand_in = |iod: &iod::Iod| iod.stand_in.is_some_and(takes);
    let is_asked = |iod: &iod::Iod| !iod.is_stand_in() && iod.media != MediaClass::Video;
    iod::ALL.iter().copied().find(|iod| is_asked(iod) && !takes(iod) && !has_stand_in(iod))
}

fn release(associations: Vec<Association>) {
    for association in associations {
        association.release();
    }
}

/// The payload, and the data set around it once the transfer syntax is agreed.
enum Source<'a> {
    Waiting(&'a mut dyn Read),
    Streaming(crate::dicom::Syntax, DataSet<'a>),
    Spent,
}

struct DataSet<'a> {
    size_bytes: u64,
    replay: Replay<crate::dicom::DataSetStream<'a>>,
}

impl<'a> Source<'a> {
    fn data_set(
        &mut self,
        instance: &Instance,
        syntax: crate::dicom::Syntax,
        remember: bool,
    ) -> Result<&mut DataSet<'a>, Refused> {
        if let Self::Waiting(_) = self {
            let Self::Waiting(payload) = std::mem::replace(self, Self::Spent) else { return Err(changed_its_mind()) };
            let stream = instance
                .stream(syntax, payload)
                .map_err(|error| Refused { code: error.failure_code(), detail: error.to_string() })?;
            let size_bytes = stream.size_bytes();
            *self = Self::Streaming(syntax, DataSet { size_bytes, replay: Replay::new(stream, remember) });
        }
        match self {
            Self::Streaming(agreed, data_set) if *agreed == syntax => Ok(data_set),
            _ => Err(changed_its_mind()),
        }
    }
}

/// The begin of the object is written already, in another syntax.
fn changed_its_mind() -> Refused {
    let detail = "the archive chose another transfer syntax on a second association".to_owned();
    Refused { code: FailureCode::ArchiveUnreachable, detail }
}

impl DataSet<'_> {
    fn rewind(&mut self) -> bool {
        self.replay.rewind()
    }
}

impl Read for DataSet<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.replay.read(out)
    }
}

/// A reader that can begin again as long as it was not read far.
struct Replay<R> {
    inner: R,
    kept: Vec<u8>,
    at: usize,
    is_kept: bool,
}

impl<R: Read> Replay<R> {
    fn new(inner: R, remember: bool) -> Self {
        Self { inner, kept: Vec::new(), at: 0, is_kept: remember }
    }

    /// False where the begin is no longer there.
    fn rewind(&mut self) -> bool {
        self.at = 0;
        self.is_kept
    }
}

impl<R: Read> Read for Replay<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(mut rest) = self.kept.get(self.at..).filter(|rest| !rest.is_empty()) {
            let count = rest.read(out)?;
            self.at += count;
            return Ok(count);
        }
        let count = self.inner.read(out)?;
        if self.is_kept {
            if self.kept.len() + count <= REPLAY_BYTES_MAX {
                self.kept.extend_from_slice(out.get(..count).unwrap_or_default());
                self.at = self.kept.len();
            } else {
                self.is_kept = false;
                self.kept = Vec::new();
                self.at = 0;
            }
        }
        Ok(count)
    }
}

fn judge(answer: &Answer, instance: &Instance) -> Result<Stored, Refused> {
    let meaning = meaning(answer.status);
    let said = quote(&answer.comment, instance);
    let words = format!("status {:04X}H: {} ({}){said}", answer.status, meaning.says, meaning.clause);
    match meaning.verdict {
        Verdict::Stored => Ok(Stored { warning: None }),
        Verdict::StoredWithWarning => Ok(Stored { warning: Some(words) }),
        Verdict::Failed(code) => Err(Refused { code, detail: words }),
    }
}

/// The archive's own words (0000,0902), less what could name a patient: words of the object's
/// own persons and numbers, every name in DICOM form, and every number but those of DICOM itself.
fn quote(comment: &str, instance: &Instance) -> String {
    /// Error Comment is LO (PS3.7 §E.1); archives do not always mind.
    const WORDS_MAX: usize = 24;
    let is_safe = |word: &str| {
        let core = word.trim_matches(|c: char| c.is_ascii_punctuation());
        let is_tag =
            core.len() == 9 && core.split(',').all(|half| half.len() == 4 && half.bytes().all(|b| b.is_ascii_hexdigit()));
        let is_standard_uid = core.starts_with("1.2.840.10008.") && crate::capture::Uid::parse(core).is_ok();
        is_tag || is_standard_uid || !(core.contains('^') || core.chars().any(char::is_numeric) || instance.names(core))
    };
    let words: Vec<&str> =
        comment.split_whitespace().take(WORDS_MAX).map(|word| if is_safe(word) { word } else { "[redacted]" }).collect();
    let text: String = words.join(" ").chars().filter(|c| !c.is_control()).take(160).collect();
    if text.is_empty() { String::new() } else { format!("; the archive says: {text}") }
}

fn unreachable(fault: Fault, when: &str) -> Refused {
    Refused { code: FailureCode::ArchiveUnreachable, detail: format!("the archive was lost {when}: {fault}") }
}

pub(super) fn no_association(why: &NoAssociation) -> Refused {
    match why {
        NoAssociation::Unreachable(fault) => unreachable(*fault, "at association"),
        NoAssociation::Aborted => Refused {
            code: FailureCode::ArchiveRejected,
            detail: "the archive aborted the association request; look at its log".to_owned(),
        },
        NoAssociation::Rejected(AssociationRJ { result, source }) => {
            let how = match result {
                AssociationRJResult::Permanent => "permanently",
                AssociationRJResult::Transient => "for now",
            };
            let detail = format!("the archive rejected the association {how}: {source} (PS3.8 §9.3.4)");
            Refused { code: FailureCode::ArchiveRejected, detail }
        }
    }
}
