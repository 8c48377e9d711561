//! An archive as archives are: away, busy, in doubt, forgetful, late with its word, or wrong.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};

use shutterbridge::archive::{Archive, Asked, NO_SUCH_INSTANCE, Refused, Report, Stored};
use shutterbridge::capture::{FailureCode, SopRef, Uid};
use shutterbridge::dicom::Instance;

use super::chance::Chance;
use super::ledger::Ledger;
use super::power::{Fate, Point, Power};
use super::trace::Trace;

/// How it behaves just now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mood {
    pub is_away: bool,
    /// One answer in so many is not the best; 0: all are.
    pub trouble: usize,
}

/// A report, and how often the archive had lost each object in it by then.
#[derive(Clone)]
pub struct Written {
    pub report: Report,
    pub losses: Vec<usize>,
}

pub struct Pacs {
    power: Arc<Power>,
    chance: Chance,
    trace: Trace,
    ledger: Arc<Ledger>,
    /// Whether it knows the commitment service.
    serves: bool,
    mood: Mutex<Mood>,
    /// Reports that it has not sent, or may send again.
    outbox: Mutex<Vec<Written>>,
}

impl Pacs {
    pub fn new(power: Arc<Power>, chance: Chance, trace: Trace, ledger: Arc<Ledger>, serves: bool) -> Self {
        let (mood, outbox) = (Mutex::default(), Mutex::default());
        Self { power, chance, trace, ledger, serves, mood, outbox }
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    pub fn outbox(&self) -> MutexGuard<'_, Vec<Written>> {
        self.outbox.lock().unwrap()
    }

    fn is_in_trouble(&self) -> bool {
        self.chance.one_in(self.mood().trouble)
    }

    /// Takes the object whole.
    fn take(&self, instance: &Instance, payload: &mut dyn Read) -> Result<(), Refused> {
        let mut tee = Tee { source: payload, seen: Vec::new() };
        let mut sent = Vec::new();
        let stream = instance.stream(instance.transfer_syntax(), &mut tee);
        let read = stream.map_err(|e| e.to_string()).and_then(|mut s| s.read_to_end(&mut sent).map_err(|e| e.to_string()));
        if let Err(why) = read {
            // The sender's own disk: it breaks the association.
            return Err(refused(FailureCode::ArchiveAborted, &why));
        }
        self.ledger.books().stored(instance, &tee.seen, &sent);
        Ok(())
    }

    /// One object, when not all goes well.
    fn stumble(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        use FailureCode::{
            ArchiveAborted, ArchiveBusy, ArchiveNotAuthorised, ArchiveProcessing, ArchiveRefusedClass, ArchiveRefusedObject,
            ArchiveRejected, ArchiveUnreachable,
        };
        let mostly = [ArchiveAborted, ArchiveBusy, ArchiveProcessing, ArchiveRejected, ArchiveUnreachable];
        match self.chance.below(12) {
            0..2 => {
                self.take(instance, payload)?;
                self.trace.say(|| "  archive: stored, the answer is lost".to_owned());
                Err(refused(ArchiveAborted, "the answer is lost"))
            }
            2 => self.take(instance, payload).map(|()| Stored { warning: Some("B000".to_owned()) }),
            3 => Err(refused(self.chance.pick(&[ArchiveRefusedObject, ArchiveRefusedClass, ArchiveNotAuthorised]), "for good")),
            _ => Err(refused(self.chance.pick(&mostly), "not now")),
        }
    }

    /// What it truly has of what it is asked for. Now and then it finds that it lost one.
    fn report(&self, transaction: &Uid, wanted: &[SopRef], may_lose: bool) -> Report {
        let mut report = Report { transaction: transaction.clone(), committed: Vec::new(), failed: Vec::new() };
        for sop in wanted {
            let mut books = self.ledger.books();
            if may_lose && !books.is_kept(&sop.sop_instance) && self.is_in_trouble() {
                self.trace.say(|| format!("  archive: lost {}", sop.sop_instance));
                books.lose(&sop.sop_instance);
            }
            match books.has(&sop.sop_instance) {
                false => report.failed.push((sop.clone(), NO_SUCH_INSTANCE)),
                true if self.is_in_trouble() => report.failed.push((sop.clone(), self.chance.pick(&[0x0110, 0x0213]))),
                true => report.committed.push(sop.clone()),
            }
        }
        report
    }

    /// To be sent later.
    fn write(&self, report: Report) {
        let books = self.ledger.books();
        let losses = report.committed.iter().map(|sop| books.losses(&sop.sop_instance)).collect();
        drop(books);
        self.outbox().push(Written { report, losses });
    }

    /// It is bound by what the gateway hears.
    pub fn says(&self, report: &Report) {
        let mut books = self.ledger.books();
        for sop in &report.committed {
            books.told_kept(&sop.sop_instance);
        }
    }
}

fn refused(code: FailureCode, detail: &str) -> Refused {
    Refused { code, detail: detail.to_owned() }
}

impl Archive for Pacs {
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        let fate = self.power.fate(Point::Store);
        if fate == Fate::IsDead || fate == Fate::DiesBefore || self.mood().is_away {
            return Err(refused(FailureCode::ArchiveUnreachable, "away"));
        }
        if fate == Fate::DiesBehind {
            self.take(instance, payload)?;
            return Err(refused(FailureCode::ArchiveAborted, "dead"));
        }
        let answer = if self.is_in_trouble() {
            self.stumble(instance, payload)
        } else {
            self.take(instance, payload).map(|()| Stored::default())
        };
        self.trace.say(|| format!("  store {}: {answer:?}", instance.sop_instance));
        answer
    }

    fn probe(&self) -> Result<(), Refused> {
        if self.mood().is_away { Err(refused(FailureCode::ArchiveUnreachable, "away")) } else { Ok(()) }
    }

    fn ask_commitment(&self, transaction: &Uid, wanted: &[SopRef]) -> Result<Asked, Refused> {
        let fate = self.power.fate(Point::Ask);
        if fate == Fate::IsDead || fate == Fate::DiesBefore || self.mood().is_away {
            return Err(refused(FailureCode::ArchiveUnreachable, "away"));
        }
        if !self.serves {
            return Err(refused(FailureCode::ArchiveRefusedClass, "no such service"));
        }
        if fate == Fate::DiesBehind {
            let report = self.report(transaction, wanted, false);
            self.write(report);
            return Err(refused(FailureCode::ArchiveAborted, "dead"));
        }
        let way = if self.is_in_trouble() { self.chance.below(6) } else { self.chance.below(2) };
        self.trace.say(|| format!("  asked about {}: way {way}", wanted.len()));
        match way {
            0 => {
                let report = self.report(transaction, wanted, true);
                self.says(&report);
                Ok(Asked::Answered(vec![report]))
            }
            1 | 2 => {
                let report = self.report(transaction, wanted, false);
                self.write(report);
                Ok(Asked::Later)
            }
            // It takes the question and never answers.
            3 => Ok(Asked::Later),
            4 => {
                // Of half of them.
                let report = self.report(transaction, &wanted[..wanted.len() / 2], true);
                self.says(&report);
                Ok(Asked::Answered(vec![report]))
            }
            _ => Err(refused(self.chance.pick(&[FailureCode::ArchiveAborted, FailureCode::ArchiveBusy]), "not now")),
        }
    }
}

/// Keeps what is read through it.
struct Tee<'a> {
    source: &'a mut dyn Read,
    seen: Vec<u8>,
}

impl Read for Tee<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = self.source.read(out)?;
        self.seen.extend_from_slice(&out[..length]);
        Ok(length)
    }
}
