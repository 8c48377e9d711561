//! Storing over the web: STOW-RS (PS3.18 §10.5), judged per instance by the body of the answer, and
//! QIDO-RS (§10.6) to ask whether the archive has what nobody answered for.
//!
//! One instance is one request: `multipart/related` with one Part 10 file, the only form that every
//! server takes. It streams in chunks; nothing but a chunk of it is in memory.

mod answer;
mod http;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

pub use http::Url;

use self::answer::Fate;
use self::http::{Answer, Body, Connection, NoAnswer};
use super::finding::Finding;
use super::link::{Fault, Patience, Tongue};
use super::profile::Profile;
use super::sniff::tongue_at;
use super::status::{Verdict, meaning};
use super::{Archive, Asked, NO_SUCH_INSTANCE, Refused, Report, Stored};
use crate::capture::{Commitment, FailureCode, MediaClass, SopRef, Uid};
use crate::dicom::{Instance, Syntax, file_prefix};
use crate::seal::random::random;

/// A bearer token has some kilobytes at most.
const BEARER_BYTES_MAX: u64 = 16 << 10;
/// An archive may ask for rest, and no longer than this: our own waits grow, too.
const REST_MAX: Duration = Duration::from_secs(60 * 60);
/// "Already there", as a failure reason: by PS3.7, and as one large cloud service writes it.
const DUPLICATE: [u16; 2] = [0x0111, 0xB00E];
/// A UID that no instance has: the begin is ours and the rest was never given.
const NOBODY: &str = "2.25.0";

/// One archive.
#[derive(Clone, Debug)]
pub struct Options {
    /// The service: `/studies` and `/instances` are below it.
    pub url: Url,
    /// Wanted where the URL is `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// Read anew for each request, so that another program may renew it.
    pub bearer_file: Option<PathBuf>,
    pub profile: Profile,
    pub limits: Limits,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// TCP and TLS.
    pub connect_ms: u64,
    /// From the last byte of a request to the end of the answer.
    pub response_ms: u64,
    /// A write that moves nothing.
    pub stall_ms: u64,
    /// A body may take `response_ms` and its size at this rate.
    pub bytes_per_second_min: u64,
    /// A connection that did nothing for so long is closed.
    pub idle_ms: u64,
    /// Connections that are kept.
    pub idle_max: usize,
}

impl Default for Limits {
    /// As for DIMSE; common web servers close idle connections after five seconds or more.
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            response_ms: 60_000,
            stall_ms: 30_000,
            bytes_per_second_min: 32 << 10,
            idle_ms: 4_000,
            idle_max: 4,
        }
    }
}

pub struct Stow {
    options: Options,
    idle: Mutex<Vec<Connection>>,
    /// It wants to know the length before (411): remembered, because a body is read once.
    wants_length: AtomicBool,
    /// It asked for rest until then (`Retry-After`).
    rests_until: Mutex<Option<Instant>>,
}

impl Stow {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, idle: Mutex::default(), wants_length: AtomicBool::new(false), rests_until: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> Result<Connection, Fault> {
        loop {
            let kept = self.idle().pop();
            let Some(mut connection) = kept else { break };
            if connection.idle_since.elapsed() < Duration::from_millis(self.options.limits.idle_ms) && connection.is_usable() {
                return Ok(connection);
            }
        }
        let patience = Patience::from_now(self.options.limits.connect_ms);
        Connection::open(&self.options.url, self.options.tls.as_ref(), patience)
    }

    fn keep(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle();
        if idle.len() < self.options.limits.idle_max && connection.is_usable() {
            idle.push(connection);
        }
    }

    /// Request line and fields.
    fn head(&self, method: &str, path: &str, more: &str) -> Result<String, Refused> {
        let url = &self.options.url;
        let bearer = self.bearer()?.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let version = env!("CARGO_PKG_VERSION");
        Ok(format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: shutterbridge/{version}\r\n{bearer}\
             Accept: application/dicom+json\r\n{more}",
            url.path,
            url.authority()
        ))
    }

    fn bearer(&self) -> Result<Option<String>, Refused> {
        let Some(path) = &self.options.bearer_file else { return Ok(None) };
        let refused = |why: &str| {
            let detail = format!("bearer_file of this [[archive]] {why}; nothing was sent");
            Refused { code: FailureCode::ArchiveUnreachable, detail }
        };
        let mut token = String::new();
        File::open(path)
            .and_then(|file| file.take(BEARER_BYTES_MAX).read_to_string(&mut token))
            .map_err(|_| refused("cannot be read"))?;
        let token = token.trim();
        let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        if is_token { Ok(Some(token.to_owned())) } else { Err(refused("does not hold one token")) }
    }

    /// A request without a body of its own.
    fn ask(&self, method: &str, path: &str, more: &str, body: &[u8]) -> Result<Answer, Refused> {
        let head = self.head(method, path, more)?;
        let mut connection = self.connect().map_err(unreachable)?;
        let patience = Patience::from_now(self.options.limits.response_ms);
        let body = Body { source: &mut &*body, length: Some(body.len() as u64) };
        let answer = connection.exchange(&head, body, patience, self.options.limits.response_ms).map_err(|why| match why {
            NoAnswer::NotSent(fault) | NoAnswer::NotAnswered(fault) => unreachable(fault),
            NoAnswer::Source => unreachable(Fault::Closed),
        })?;
        self.keep(connection);
        Ok(answer)
    }

    /// Whether the archive has an instance (QIDO-RS). `Err`: it cannot be asked.
    fn has(&self, sop: &SopRef) -> Result<bool, Refused> {
        let answer = self.ask("GET", &format!("/instances?SOPInstanceUID={}", sop.sop_instance), "", &[])?;
        match answer.status {
            204 => Ok(false),
            200 => match answer::parse(&answer.body) {
                Some(sets) => Ok(answer::holds(&sets, sop.sop_class.as_str(), sop.sop_instance.as_str())),
                None => Err(no_qido("answers QIDO-RS with neither JSON nor XML")),
            },
            // What has no match is an error to some.
            404 if answer.body.trim_ascii() == b"[]" => Ok(false),
            400 | 404 | 405 | 406 | 410 | 501 => Err(no_qido("does not offer QIDO-RS for instances")),
            status => Err(self.by_status(status, &answer)),
        }
    }

    /// What an answer means that names no instance.
    fn by_status(&self, status: u16, answer: &Answer) -> Refused {
        let (code, what) = match status {
            300..=399 => (FailureCode::ArchiveRejected, "it is elsewhere (a redirect is never followed): correct url"),
            401 => (FailureCode::ArchiveRejected, "it does not know us: renew the token of bearer_file, or tls_cert"),
            403 | 407 => (FailureCode::ArchiveNotAuthorised, "it does not let this gateway store: ask its administrator"),
            404 | 405 | 410 | 501 => (FailureCode::ArchiveRejected, "there is no STOW-RS at this address: correct url"),
            411 => {
                self.wants_length.store(true, Ordering::Relaxed);
                (FailureCode::ArchiveProcessing, "it wants to know the length before: sent so from now on")
            }
            413 => (FailureCode::ArchiveRefusedObject, "the object is too large for it: raise its limit"),
            415 => (FailureCode::ArchiveRefusedClass, "it does not take this SOP class or transfer syntax: enable it there"),
            429 | 503 => {
                self.rest(answer);
                (FailureCode::ArchiveBusy, "it is busy")
            }
            502 | 504 => (FailureCode::ArchiveAborted, "something between it and us gave up waiting"),
            408 | 425 | 500..=599 => (FailureCode::ArchiveProcessing, "it failed at it"),
            200..=299 => (FailureCode::ArchiveProcessing, "it says neither that it has the instance nor why not"),
            _ => (FailureCode::ArchiveRefusedObject, "it does not take the object"),
        };
        Refused { code, detail: format!("the archive answered HTTP {status}: {what}") }
    }

    fn rest(&self, answer: &Answer) {
        let asked = answer.field("retry-after").and_then(|text| retry_after(text, answer.field("date")));
        let until = asked.and_then(|wait| Instant::now().checked_add(wait.min(REST_MAX)));
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// It asked to be left alone, and the time is not over.
    fn resting(&self) -> Option<Refused> {
        let until = (*self.rests_until.lock().unwrap_or_else(PoisonError::into_inner))?;
        let left = until.checked_duration_since(Instant::now())?;
        let detail = format!("the archive asked for rest (Retry-After), {} s are left", left.as_secs().saturating_add(1));
        Some(Refused { code: FailureCode::ArchiveBusy, detail })
    }

    fn send(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Answer, Refused> {
        let unfit = |error: crate::dicom::DicomError| Refused { code: error.failure_code(), detail: error.to_string() };
        let (profile, limits) = (&self.options.profile, &self.options.limits);
        let syntax = profile.syntax_of(instance)?;
        let dressed = profile.dress(instance);
        let prefix = file_prefix(&instance.sop_class, &instance.sop_instance, syntax.uid(), None).map_err(unfit)?;
        let data_set = dressed.stream(syntax, payload).map_err(unfit)?;
        let boundary = boundary()?;
        let begin = format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n").into_bytes();
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        let size_bytes = data_set.size_bytes() + (begin.len() + prefix.len() + end.len()) as u64;
        let mut source = begin.chain(&*prefix).chain(data_set).chain(&*end);
        let head = self.head("POST", "/studies", &content_type(&boundary))?;
        let mut connection = self.connect().map_err(unreachable)?;
        let sending_ms = limits.response_ms.saturating_add(size_bytes.saturating_mul(1_000) / limits.bytes_per_second_min.max(1));
        let sending = Patience { stall: Duration::from_millis(limits.stall_ms), ..Patience::from_now(sending_ms) };
        let length = self.wants_length.load(Ordering::Relaxed).then_some(size_bytes);
        let answer = connection.exchange(&head, Body { source: &mut source, length }, sending, limits.response_ms);
        let answer = answer.map_err(|why| match why {
            NoAnswer::Source => {
                let detail = "the sealed picture could not be read to its end; the archive never got the end of the request";
                Refused { code: FailureCode::SpoolUnreadable, detail: detail.to_owned() }
            }
            NoAnswer::NotSent(fault) => unreachable(fault),
            NoAnswer::NotAnswered(fault) => {
                let detail = format!("the archive had the whole object and gave no answer: {fault}");
                Refused { code: FailureCode::ArchiveAborted, detail }
            }
        })?;
        self.keep(connection);
        Ok(answer)
    }

    /// The body decides, not the status: servers answer 400 although the instance is stored.
    fn judge(&self, sop: &SopRef, answer: &Answer) -> Result<Stored, Refused> {
        let sets = answer::parse(&answer.body).unwrap_or_default();
        match answer::fate(&sets, sop.sop_instance.as_str()) {
            Fate::Stored(None) => Ok(Stored { warning: None }),
            Fate::Stored(Some(reason)) => Ok(Stored { warning: Some(words(answer.status, "warning reason", reason)) }),
            Fate::Failed(reason) if DUPLICATE.contains(&reason) => self.confirm(sop, answer, true),
            Fate::Failed(0) => Err(self.by_status(answer.status, answer)),
            Fate::Failed(reason) => {
                let code = match meaning(reason).verdict {
                    Verdict::Failed(code) => code,
                    Verdict::Stored | Verdict::StoredWithWarning => FailureCode::ArchiveRefusedObject,
                };
                Err(Refused { code, detail: words(answer.status, "failure reason", reason) })
            }
            Fate::Unnamed if (200..300).contains(&answer.status) => self.confirm(sop, answer, false),
            Fate::Unnamed => Err(self.by_status(answer.status, answer)),
        }
    }

    /// An answer that leaves open whether the archive has the instance: it is asked once. One that
    /// cannot be asked is believed, or an object would be sent without end.
    fn confirm(&self, sop: &SopRef, answer: &Answer, is_duplicate: bool) -> Result<Stored, Refused> {
        let said =
            if is_duplicate { "the archive says that it has this instance already" } else { "the answer names no instance" };
        match self.has(sop) {
            Ok(true) if is_duplicate => Ok(Stored { warning: Some(format!("{said}, and has it (QIDO-RS)")) }),
            Ok(true) => Ok(Stored { warning: None }),
            Ok(false) => {
                let detail = format!("HTTP {}: {said}, and a query does not find it (QIDO-RS)", answer.status);
                Err(Refused { code: FailureCode::ArchiveProcessing, detail })
            }
            Err(refused) if refused.code == FailureCode::ArchiveRefusedClass => {
                Ok(Stored { warning: Some(format!("HTTP {}: {said}; it cannot be asked, so its word is taken", answer.status)) })
            }
            Err(refused) => Err(Refused { code: FailureCode::ArchiveAborted, detail: format!("{said}; {}", refused.detail) }),
        }
    }

    /// A request that stores nothing: a body without a part. Whatever a STOW-RS service says to
    /// it, it says it as one.
    fn knock(&self) -> Result<Answer, Refused> {
        let boundary = boundary()?;
        self.ask("POST", "/studies", &content_type(&boundary), format!("--{boundary}--\r\n").as_bytes())
    }
}

impl Archive for Stow {
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        if let Some(resting) = self.resting() {
            return Err(resting);
        }
        self.options.profile.fit(instance, payload, |instance, payload| {
            let answer = self.send(instance, payload)?;
            let sop = SopRef { sop_class: instance.sop_class.clone(), sop_instance: instance.sop_instance.clone() };
            self.judge(&sop, &answer)
        })
    }

    fn probe(&self) -> Result<(), Refused> {
        let answer = self.knock()?;
        match answer.status {
            status if answers_as_stow(status) => Ok(()),
            status => Err(self.by_status(status, &answer)),
        }
    }

    fn offers(&self, syntax: Syntax) -> bool {
        self.options.profile.offers(syntax)
    }

    fn takes_stand_ins(&self) -> bool {
        self.options.profile.fallback
    }

    /// By query: what QIDO-RS finds is in the archive's index. That is the proof that STOW-RS has; it
    /// has no commitment of its own.
    fn ask_commitment(&self, transaction: &Uid, wanted: &[SopRef]) -> Result<Asked, Refused> {
        let mut report = Report { transaction: transaction.clone(), committed: Vec::new(), failed: Vec::new() };
        let mut failed = None;
        for sop in wanted {
            match self.has(sop) {
                Ok(true) => report.committed.push(sop.clone()),
                Ok(false) => report.failed.push((sop.clone(), NO_SUCH_INSTANCE)),
                // One that it fails at does not keep the answers about the others: it is asked about again.
                Err(refused) if refused.code == FailureCode::ArchiveProcessing => failed = Some(refused),
                Err(refused) => {
                    failed = Some(refused);
                    break;
                }
            }
        }
        let is_mute = report.committed.is_empty() && report.failed.is_empty();
        failed.filter(|_| is_mute).map_or(Ok(Asked::Answered(vec![report])), Err)
    }

    fn release_idle(&self) {
        let idle = Duration::from_millis(self.options.limits.idle_ms);
        let (expired, kept): (Vec<_>, Vec<_>) = self.idle().drain(..).partition(|c| c.idle_since.elapsed() >= idle);
        self.idle().extend(kept);
        drop(expired);
    }

    fn examine(&self, commitment: Commitment, _named: &[MediaClass]) -> Vec<Finding> {
        let url = &self.options.url;
        let patience = Patience::from_now(self.options.limits.connect_ms);
        let tls = match Connection::open(url, self.options.tls.as_ref(), patience) {
            Ok(connection) => connection.tls_version().unwrap_or("clear text"),
            Err(fault) => return vec![self.told(fault)],
        };
        let answer = match self.knock() {
            Ok(answer) => answer,
            Err(refused) => return vec![self.not_answered(refused)],
        };
        let says = format!("{} answers an empty POST with HTTP {} ({tls})", url.authority(), answer.status);
        let mut findings = vec![match answer.status {
            status if answers_as_stow(status) => Finding::pass(says),
            300..=399 => Finding::fail(says, "url", "write the address that it leads to; a redirect is never followed"),
            401 => Finding::fail(says, "bearer_file", "put a token there that is good; for mutual TLS set tls_cert and tls_key"),
            403 | 407 => Finding::fail(says, "bearer_file", "have the archive's administrator let this gateway store"),
            404 | 405 | 410 | 501 => Finding::fail(says, "url", "write the address of its STOW-RS service, without /studies"),
            _ => Finding::warn(says, "", "look at the log of the archive; objects wait until it answers otherwise"),
        }];
        if findings.iter().all(|f| f.grade == super::finding::Grade::Pass) {
            findings.push(self.asked(commitment));
        }
        findings
    }
}

impl Stow {
    /// Whether the archive can be asked what it has.
    fn asked(&self, commitment: Commitment) -> Finding {
        let nobody = Uid::parse(NOBODY).map(|uid| SopRef { sop_class: uid.clone(), sop_instance: uid });
        let Ok(nobody) = nobody else { return Finding::pass("") };
        match (self.has(&nobody), commitment) {
            (Ok(_), _) => Finding::pass("QIDO-RS finds instances: what is stored can be proven"),
            (Err(refused), Commitment::Required) => {
                Finding::fail(refused.detail, "commitment", "enable QIDO-RS there, or write \"none\"")
            }
            (Err(refused), Commitment::Ask) => {
                Finding::warn(refused.detail, "commitment", "enable QIDO-RS there; without it its word at storing is taken")
            }
            (Err(_), Commitment::None) => Finding::pass("QIDO-RS is not answered: its word at storing is taken"),
        }
    }

    fn not_answered(&self, refused: Refused) -> Finding {
        match tongue_at(&self.options.url.authority()) {
            Some(tongue) => self.told(Fault::Speaks(tongue)),
            None => Finding::fail(refused.detail, "url", "see that STOW-RS is enabled there"),
        }
    }

    /// What a connection that failed says about the configuration.
    fn told(&self, fault: Fault) -> Finding {
        let url = &self.options.url;
        let at = url.authority();
        let spoken = if fault.may_be_another_tongue() { tongue_at(&at) } else { None };
        let fault = spoken.map_or(fault, Fault::Speaks);
        let says = format!("{at}: {fault}");
        match fault {
            Fault::Speaks(Tongue::Dicom) => {
                Finding::fail(says, "kind", "write \"dimse\" with address and called_ae, or the port of its web service in url")
            }
            Fault::Speaks(Tongue::Tls) if !url.is_tls => Finding::fail(says, "url", "write https:// and set tls_ca"),
            Fault::Speaks(Tongue::Http) if url.is_tls => {
                Finding::fail(says, "url", "write the port of its HTTPS, or http:// where it is on this machine")
            }
            other => super::dimse::told_of_connection(other, says, "url"),
        }
    }
}

/// To an empty POST: whoever finds fault with its body takes bodies.
const fn answers_as_stow(status: u16) -> bool {
    matches!(status, 200..300 | 400 | 406 | 409 | 411 | 413 | 415 | 422)
}

/// Drawn anew for each request: a picture that holds a delimiter that it could know would end its
/// part and begin one of its own, an object that nobody made here.
fn boundary() -> Result<String, Refused> {
    let drawn = random::<16>()
        .map_err(|_| Refused { code: FailureCode::StoreUnavailable, detail: "the system gives no random numbers".to_owned() })?;
    Ok(format!("shutterbridge-{:032x}", u128::from_be_bytes(drawn)))
}

fn content_type(boundary: &str) -> String {
    format!("Content-Type: multipart/related; type=\"application/dicom\"; boundary={boundary}\r\n")
}

fn unreachable(fault: Fault) -> Refused {
    Refused { code: FailureCode::ArchiveUnreachable, detail: format!("the archive was lost before it had the object: {fault}") }
}

fn no_qido(what: &str) -> Refused {
    let detail = format!("the archive {what}; enable it there, or set commitment = \"none\"");
    Refused { code: FailureCode::ArchiveRefusedClass, detail }
}

fn words(status: u16, what: &str, reason: u16) -> String {
    let meaning = meaning(reason);
    format!("HTTP {status}, {what} {reason:04X}H: {} ({})", meaning.says, meaning.clause)
}

/// Seconds, or a date (RFC 9110 §10.2.3), which counts from the archive's own clock.
fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let read = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp());
    let seconds = read(text)?.duration_since(read(date?)?).as_secs();
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_left_alone_as_long_as_it_asks() {
        let now = Some("Wed, 25 Nov 2026 07:00:00 GMT");
        for (text, date, then) in [
            ("120", None, Some(120)),
            ("Wed, 25 Nov 2026 07:02:00 GMT", now, Some(120)),
            ("Wed, 25 Nov 2026 07:02:00 GMT", None, None),
            ("Wed, 25 Nov 2026 06:00:00 GMT", now, None),
            ("soon", now, None),
        ] {
            assert_eq!(retry_after(text, date), then.map(Duration::from_secs), "{text}");
        }
    }
}
