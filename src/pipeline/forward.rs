//! One claimed capture to its archive: wrap → open the sealed bytes → store.

use std::collections::BTreeSet;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::darkroom::Darkroom;
use super::identify::Doubt;
use super::step::{Delivery, Failed, ItemOutcome, Job, Outcome, Works};
use super::{sealed, wrap};
use crate::archive::{Archive, Refused, Stored};
use crate::capture::{Binding, CaptureId, Commitment, Essence, Failure, FailureCode, Form, ItemId, Takes};
use crate::dicom::{Instance, Syntax};
use crate::seal::digest::Hasher;

/// An archive under the name that the configuration gives it.
#[derive(Clone)]
pub struct NamedArchive {
    pub name: String,
    pub archive: Arc<dyn Archive>,
    /// Whether it is asked to say that it keeps what it stored.
    pub commitment: Commitment,
    /// What goes there.
    pub takes: Takes,
}

const WORKER_BROKE: &str = "the worker broke; the cause is in the log";

/// Items that are being wrapped: what goes to two archives is coded again once.
#[derive(Default)]
pub(super) struct Wrapping {
    items: Mutex<BTreeSet<ItemId>>,
    done: Condvar,
    /// Held while a binding is sealed anew.
    notes: Mutex<()>,
    pub(super) darkroom: Darkroom,
}

/// The right to wrap one item.
struct Turn<'w> {
    wrapping: &'w Wrapping,
    item: ItemId,
}

impl Wrapping {
    fn items(&self) -> MutexGuard<'_, BTreeSet<ItemId>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, item: ItemId) -> Turn<'_> {
        let mut items = self.items();
        while !items.insert(item) {
            items = self.done.wait(items).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { wrapping: self, item }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.wrapping.items().remove(&self.item);
        self.wrapping.done.notify_all();
    }
}

/// Sends the items of a job in their order. An item that fails does not stop the next one, except
/// where the archive itself is away: then the rest waits with it. `go_on`: false once the gateway
/// stops; what was not tried then is due at the next start.
pub(super) fn deliver(works: &Works, wrapping: &Wrapping, job: &Job, go_on: &dyn Fn() -> bool) -> Outcome {
    let mut outcome = Outcome { id: job.record.id(), lane: job.lane, items: Vec::new(), untried: Vec::new() };
    let mut is_away = false;
    for index in &job.items {
        if is_away || !go_on() {
            outcome.untried.push(*index);
            continue;
        }
        let result = catch_unwind(AssertUnwindSafe(|| one(works, wrapping, job, *index)))
            .unwrap_or_else(|_| Err(broke(works, false, FailureCode::WrapFailed, WORKER_BROKE)));
        is_away = result.as_ref().is_err_and(|failed| failed.failure.code.concerns_the_archive());
        outcome.items.push(ItemOutcome { index: *index, at: works.clock.now(), result });
    }
    outcome
}

fn one(works: &Works, wrapping: &Wrapping, job: &Job, index: u16) -> Result<Delivery, Failed> {
    let binding = binding(works, job.record.id())?;
    let name = works.archives.get(job.lane).map(|target| target.name.as_str()).unwrap_or_default();
    let leg = job.record.leg(index, name);
    let (form, refused) = leg.map_or((Form::Own, None), |leg| (leg.form, leg.refused.as_deref()));
    let refused = refused.unwrap_or("the archive does not take it as what it is");
    let wrapped = {
        let _turn = wrapping.wait_for(job.record.id().item(index));
        wrap::wrap(works, &job.record, index, &binding, form)
    };
    let wrapped = wrapped.map_err(|doubt| {
        let (code, detail) = coded_anew(works, wrapping, job, (index, form), doubt);
        let (code, detail) = if form == Form::StandIn { without_stand_in(code, detail, refused) } else { (code, detail) };
        broke(works, false, code, &detail)
    })?;
    let mut payload = wrapped.open(&works.spool).map_err(|(code, detail)| broke(works, true, code, &detail))?;
    let Some(target) = works.archives.get(job.lane) else {
        return Err(broke(works, true, FailureCode::ArchiveUnreachable, "no archive is configured"));
    };
    if wrapped.instance.transfer_syntax() == Syntax::HevcMain {
        let _turn = wrapping.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = sealed::note_hevc(&works.spool, job.record.id().item(index));
        noted.map_err(|(code, detail)| broke(works, false, code, &detail))?;
    }
    let hasher = is_digested(job, index, wrapped.essence).then(Hasher::new);
    let mut payload = Digested { bytes: &mut payload, hasher };
    // Who breaks here may have sent all of it before.
    let sent = catch_unwind(AssertUnwindSafe(|| target.archive.store(&wrapped.instance, &mut payload)))
        .unwrap_or_else(|_| Err(Refused { code: FailureCode::WrapFailed, detail: WORKER_BROKE.to_owned() }));
    match sent {
        Ok(Stored { warning }) => {
            let sent_sha256 = payload.hasher.map(Hasher::finish);
            if let Some(digest) = &sent_sha256 {
                works.observer.sent(job.record.id().item(index), digest);
            }
            if form == Form::StandIn {
                works.observer.stood_in(job.record.id().item(index), &wrapped.instance.sop_instance);
            }
            works.observer.attempted(&target.name, Ok(warning.is_some()));
            if form == Form::StandIn && job.record.is_film(index) {
                // Stills are not the film: that stays here until a person has seen to it.
                let detail = told_of_stills(&wrapped.instance, refused, warning.as_deref());
                let failed = broke(works, true, FailureCode::ArchiveHasStills, &detail);
                return Err(Failed { notes: wrapped.instance.notes, ..failed });
            }
            Ok(Delivery { warning, notes: wrapped.instance.notes, sent_sha256 })
        }
        Err(Refused { code, detail }) => {
            works.observer.attempted(&target.name, Err(code));
            let may_stand_in = code == FailureCode::ArchiveRefusedClass && form == Form::Own && target.archive.takes_stand_ins();
            let stand_in = may_stand_in.then(|| wrap::stand_in_uid(works, &job.record, index, &binding)).flatten();
            let is_last = code == FailureCode::ArchiveRefusedClass && form == Form::StandIn;
            // What has to be enabled there is the first rather than the second.
            let detail = if is_last { format!("{refused}; nor anything in its place: {detail}") } else { detail };
            Err(Failed { stand_in, ..broke(works, true, code, &detail) })
        }
    }
}

/// What a person has to know of a film of which an archive has stills.
fn told_of_stills(stills: &Instance, refused: &str, warning: Option<&str>) -> String {
    let (count, class, uid) = (stills.still_bytes.len(), stills.sop_class.as_str(), stills.sop_instance.as_str());
    let warned = warning.map(|warning| format!(", and said: {warning}")).unwrap_or_default();
    format!("{refused}; in its place it took {count} stills, as SOP class {class}, instance {uid}{warned}")
}

/// A film that no syntax carries waits until it was coded anew, where something here does that.
fn coded_anew(works: &Works, wrapping: &Wrapping, job: &Job, (index, form): (u16, Form), doubt: Doubt) -> Doubt {
    let is_film = job.record.is_film(index);
    match (doubt, works.fence.ffmpeg()) {
        ((FailureCode::NeedsTranscoding, _), Some(_)) if is_film => wrapping.darkroom.ask(job.record.id().item(index), form),
        ((FailureCode::NeedsTranscoding, detail), None) if is_film => {
            (FailureCode::NeedsTranscoding, format!("{detail}. Nothing here codes it anew: see transcode.ffmpeg"))
        }
        (doubt, _) => doubt,
    }
}

/// That nothing can be made in its place is not what is wrong: the archive does not take it.
fn without_stand_in(code: FailureCode, why: String, refused: &str) -> Doubt {
    match code {
        FailureCode::WrapFailed | FailureCode::NeedsTranscoding => {
            (FailureCode::ArchiveRefusedClass, format!("{refused}; and nothing can be made in its place: {why}"))
        }
        code => (code, why),
    }
}

/// A photo that leaves as it came, less what was cut out, is not digested a second time: it would cost
/// a sixth of all that a photo costs, and every byte of it was authenticated on its way.
fn is_digested(job: &Job, index: u16, essence: Essence) -> bool {
    let item = job.record.items.get(usize::from(index));
    essence != Essence::Unchanged || item.is_none_or(|item| item.facts.media.has_index())
}

/// Bytes on their way to the archive: their digest is the proof of what left, and costs nobody a
/// wait here.
struct Digested<'a> {
    bytes: &'a mut dyn Read,
    hasher: Option<Hasher>,
}

impl Read for Digested<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = self.bytes.read(out)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(out.get(..length).unwrap_or_default());
        }
        Ok(length)
    }
}

pub(super) fn binding(works: &Works, id: CaptureId) -> Result<Binding, Failed> {
    let found = sealed::read_binding(&works.spool, id).map_err(|(code, detail)| broke(works, false, code, &detail))?;
    found.ok_or_else(|| broke(works, false, FailureCode::SpoolUnreadable, "the sealed binding is missing"))
}

fn broke(works: &Works, wrapped: bool, code: FailureCode, detail: &str) -> Failed {
    Failed { wrapped, failure: Failure::new(code, detail, works.clock.now()), notes: Vec::new(), stand_in: None }
}
