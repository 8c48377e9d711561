//! One run: a ward, its phones, a hospital, an archive, and a gateway that is started again and
//! again in between. One thread; the seed decides everything.

use std::cell::Cell;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use shutterbridge::archive::{Report, Unwanted};
use shutterbridge::audit::Audit;
use shutterbridge::capture::claim::PatientKey;
use shutterbridge::capture::media::EdgeBlocks;
use shutterbridge::capture::record::Event;
use shutterbridge::capture::retry::RetryPolicy;
use shutterbridge::capture::{CaptureId, Commitment, Operator, Record, Stage, Takes, Uid};
use shutterbridge::clock::Clock;
use shutterbridge::fence::{self, Fence};
use shutterbridge::hl7::rules::Authority;
use shutterbridge::hl7::{AckCode, Rules};
use shutterbridge::journal::Journal;
use shutterbridge::lookup::local::{self, Local};
use shutterbridge::pipeline::accept::{FrontDesk, Options, Quotas, Reception};
use shutterbridge::pipeline::bind::{Department, Place};
use shutterbridge::pipeline::department::DepartmentRule;
use shutterbridge::pipeline::feed::{Delivered, Inlet};
use shutterbridge::pipeline::forward::NamedArchive;
use shutterbridge::pipeline::observer::Nobody;
use shutterbridge::pipeline::pending::Pending;
use shutterbridge::pipeline::step::{Line, Progress, Works};
use shutterbridge::pipeline::{Acceptor, Act, Decision, Intake, Reason, Receipt, Refusal, RefusalCode, recover};
use shutterbridge::scrub;
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::random::Foreseen;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::{self, FreeMin, Spool};

use super::archive::{Mood, Pacs, Written};
use super::chance::Chance;
use super::disk::SimDisk;
use super::hospital::{self, Hospital};
use super::index::{Shelf, SimStore};
use super::ledger::{Assigned, Ledger, Request};
use super::photos;
use super::planted::{Between, Bug};
use super::power::{Point, Power};
use super::trace::Trace;

const ACTIONS: usize = 90;
/// Of one run, so that no photo is used twice.
const PHOTOS_MAX: usize = 48;
/// Uploads that are under way at a time.
const UPLOADS_MAX: usize = 3;
/// A line that has not come to rest after so many rounds turns in a circle.
const ROUNDS_MAX: usize = 400;
/// Rounds of an hour or more, with everything well, after which nothing may be left to do.
const LAST_ROUNDS: usize = 60;
/// Starts in a row that may fail for the disk.
const STARTS_MAX: usize = 20;
const MINUTE_MS: i64 = 60_000;

/// What a run was.
pub struct Run {
    pub outcome: Result<(), String>,
    pub trace: Vec<String>,
    pub crashes: [u32; Point::ALL.len()],
    pub captures: usize,
    pub objects: usize,
}

/// One process of the gateway.
struct House {
    desk: FrontDesk,
    line: Arc<Line>,
    journal: Arc<Journal>,
    pending: Arc<Pending>,
    spool: Arc<Spool>,
    inlet: Inlet,
    index: Arc<SimStore>,
    facts: Arc<SimStore>,
}

/// A request on its way in.
struct Upload {
    request: usize,
    photos: Vec<usize>,
    /// It says what another request under its key said before.
    is_other: bool,
    intake: Box<dyn Intake>,
    files: usize,
}

pub struct World {
    chance: Chance,
    trace: Trace,
    power: Arc<Power>,
    ledger: Arc<Ledger>,
    disk: SimDisk,
    index: Shelf,
    facts: Shelf,
    pacs: Arc<Pacs>,
    between: Arc<Between>,
    audit: Arc<Audit>,
    clock: Clock,
    hospital: Hospital,
    commitment: Commitment,
    bug: Option<Bug>,
    house: Option<House>,
    uploads: Vec<Upload>,
    photos_used: usize,
    /// When the line had something to do again, as it said last.
    next: Cell<Option<Timestamp>>,
    /// How often a disk of this run fails, and an archive.
    fault_rate: usize,
    trouble: usize,
    _foreseen: Foreseen,
}

/// Lives one seed through.
pub fn run(seed: u64, bug: Option<Bug>, trace: Trace, audit: &Arc<Audit>) -> Run {
    let mut world = World::new(seed, bug, trace, audit.clone());
    let outcome = world.live();
    let outcome = outcome.and_then(|()| world.ledger.books().violation().map_or(Ok(()), Err));
    world.uploads.clear();
    world.house = None;
    let books = world.ledger.books();
    Run {
        outcome,
        trace: world.trace.lines(),
        crashes: world.power.crashes(),
        captures: books.captures().len(),
        objects: books.objects(),
    }
}

fn kek() -> Kek {
    Kek::new(Secret::new([7; 32]))
}

fn folder() -> PathBuf {
    PathBuf::from("spool")
}

fn place() -> Place {
    Place {
        institution: "Test Hospital".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        departments: vec![Department { id: "derm".to_owned(), name: "Dermatology".to_owned(), kind: None, procedure: None }],
        uid_key: [9; 32],
        gateway_version: "0".to_owned(),
    }
}

fn nurse() -> Operator {
    Operator { issuer: "idp".to_owned(), subject: "u-1".to_owned(), name: "Rivera, Ana".to_owned() }
}

fn decision(capture: CaptureId, act: Act) -> Decision {
    let by = Operator { issuer: "idp".to_owned(), subject: "u-9".to_owned(), name: "Desk, Dora".to_owned() };
    Decision { capture, by, act, reason: Reason::parse("the ward called").unwrap() }
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, trace: Trace, audit: Arc<Audit>) -> Self {
        let chance = Chance::from_seed(seed);
        let power = Arc::new(Power::new(chance.clone(), trace.clone()));
        let ledger = Arc::new(Ledger::default());
        let commitment = chance.pick(&[Commitment::None, Commitment::Ask, Commitment::Required, Commitment::Required]);
        ledger.books().believes_the_archive = commitment != Commitment::Required;
        let serves = commitment == Commitment::Required || chance.one_in(2);
        let pacs = Arc::new(Pacs::new(power.clone(), chance.clone(), trace.clone(), ledger.clone(), serves));
        let lies = bug == Some(Bug::AckBeforeSync);
        let disk = SimDisk::new(power.clone(), chance.clone(), trace.clone(), ledger.clone(), lies);
        let between = Arc::new(Between { pacs: pacs.clone(), bug, last: Mutex::default() });
        let (fault_rate, trouble) = (chance.pick(&[0, 0, 400, 60]), chance.pick(&[0, 12, 5, 3]));
        trace.say(|| format!("seed {seed}: commitment {commitment:?}, served {serves}, faults {fault_rate}, trouble {trouble}"));
        Self {
            _foreseen: Foreseen::from_seed(seed),
            trace,
            power,
            ledger,
            disk,
            index: Shelf::new(),
            facts: Shelf::new(),
            pacs,
            between,
            audit,
            clock: Clock::set_by_hand("2026-03-01T12:00:00Z".parse().unwrap()),
            hospital: Hospital::default(),
            commitment,
            bug,
            house: None,
            uploads: Vec::new(),
            photos_used: 0,
            next: Cell::new(None),
            fault_rate,
            trouble,
            chance,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.set_weather();
        for _ in 0..ACTIONS {
            // No two captures of one millisecond: their order would be that of their ids.
            self.clock.advance_ms(1 + i64::try_from(self.chance.below(40)).unwrap());
            if self.house.is_none() {
                self.start()?;
            }
            self.act()?;
            self.look_after()?;
        }
        self.end()
    }

    // ---- The gateway's own life --------------------------------------------------------------

    /// Starts the gateway, as often as it takes.
    fn start(&mut self) -> Result<(), String> {
        for attempt in 0..STARTS_MAX {
            self.power.on();
            if self.chance.one_in(12) && attempt < 2 {
                self.power.arm(None, 1 + self.chance.below(12));
            }
            // A file that cannot be read just now is unknown until the next start, so is its key.
            let rate = if attempt < 3 { self.fault_rate } else { 0 };
            self.disk.set_faults(rate, false);
            if attempt == 3 {
                // An administrator makes room.
                self.disk.set_full(false);
                self.index.set_faults(0);
            }
            match self.open() {
                Ok(house) if self.power.is_on() => {
                    self.trace.say(|| "start".to_owned());
                    self.disk.set_faults(self.fault_rate, true);
                    self.house = Some(house);
                    self.check_given_up();
                    return Ok(());
                }
                Ok(_) => self.trace.say(|| "start: died".to_owned()),
                Err(why) => self.trace.say(|| format!("start: {why}")),
            }
            if !self.power.is_on() && self.chance.one_in(2) || self.disk.is_torn() {
                self.disk.cut_power();
            }
        }
        Err("the gateway does not start again".to_owned())
    }

    fn open(&self) -> Result<House, String> {
        let kek = kek();
        let options = spool::Options { free_min: FreeMin::Bytes(0) };
        let spool = Arc::new(Spool::open_on(Arc::new(self.disk.clone()), &folder(), &kek, options).map_err(|e| e.to_string())?);
        let store =
            |shelf, point| Arc::new(SimStore::open(shelf, point, self.power.clone(), self.chance.clone(), self.trace.clone()));
        let (index, facts) = (store(&self.index, Point::IndexCommit), store(&self.facts, Point::FactsCommit));
        let journal = Arc::new(Journal::open(index.clone(), &kek).map_err(|e| e.to_string())?);
        recover::recover(&spool, &journal, &place())?;
        recover::tidy(&spool, &journal, self.clock.now(), &|| false)?;
        let site = local::Options { assigning_authority: Authority::named("HOSP") };
        let hospital = Arc::new(Local::new(facts.clone(), [3; 32], site));
        let pending = Arc::new(Pending::default());
        let line = Arc::new(Line::new(Works {
            edges: EdgeBlocks::Recode,
            fence: Arc::new(Fence::of([env!("CARGO_BIN_EXE_shutterbridge").into(), fence::WORD.into()])),
            spool: spool.clone(),
            journal: journal.clone(),
            pending: pending.clone(),
            lookup: hospital.clone(),
            archives: vec![NamedArchive {
                name: "pacs".to_owned(),
                archive: self.between.clone(),
                commitment: self.commitment,
                takes: Takes::default(),
            }],
            sources: Vec::new(),
            clock: self.clock.clone(),
            observer: Arc::new(Nobody),
            place: place(),
            assigning_authority: "HOSP".to_owned(),
            retry: RetryPolicy::default(),
        }));
        line.find_unswept()?;
        let rules = Rules { assigning_authority: Authority::named("HOSP"), zone: TimeZone::UTC, sources: Vec::new() };
        let inlet = Inlet { feed: hospital, journal: journal.clone(), line: line.clone(), rules, clock: self.clock.clone() };
        let desk = FrontDesk(Arc::new(Reception {
            options: Options {
                photo_bytes: 8 << 20,
                video_bytes: 8 << 20,
                quotas: Quotas::default(),
                request_files: 3,
                scrub: scrub::Limits::default(),
                departments: vec![DepartmentRule { id: "derm".to_owned(), ..DepartmentRule::default() }],
            },
            census: None,
            spool: spool.clone(),
            journal: journal.clone(),
            pending: pending.clone(),
            clock: self.clock.clone(),
            audit: self.audit.clone(),
            observer: Arc::new(Nobody),
        }));
        Ok(House { desk, line, journal, pending, spool, inlet, index, facts })
    }

    fn house(&self) -> &House {
        self.house.as_ref().unwrap()
    }

    /// The process ends, in one of the ways it can; now and then it loses more than its memory.
    fn crash(&mut self, is_clean: bool) {
        if is_clean {
            self.house().line.finish();
        }
        self.check_given_up();
        self.power.off();
        self.uploads.clear();
        self.house = None;
        let is_cut = !is_clean && self.chance.one_in(2) || self.disk.is_torn();
        if is_cut {
            self.disk.cut_power();
        }
        let is_index_lost = self.chance.one_in(6);
        if is_index_lost {
            self.lose_index();
        }
        self.trace.say(|| format!("ended: clean {is_clean}, power cut {is_cut}, index lost {is_index_lost}"));
    }

    fn lose_index(&mut self) {
        let faults = self.index_fault_rate();
        self.index = Shelf::new();
        self.index.set_faults(faults);
        self.ledger.books().forget();
    }

    fn index_fault_rate(&self) -> usize {
        self.fault_rate / 4
    }

    /// The record says of each item why its bytes could go.
    fn check_given_up(&self) {
        let given_up = self.ledger.books().take_given_up();
        for id in given_up {
            if let Some(record) = self.house().journal.get(id).ok().flatten() {
                self.ledger.books().compare_given_up(&record, self.commitment);
            }
        }
    }

    /// After each thing that happened.
    fn look_after(&mut self) -> Result<(), String> {
        if self.house.is_some() {
            self.check_given_up();
        }
        if !self.power.is_on() && self.house.is_some() {
            self.crash(false);
        }
        if let Some(house) = &self.house {
            // An administrator sees that it takes nothing any more.
            if (house.index.is_broken() || house.facts.is_broken()) && self.chance.one_in(3) {
                self.crash(false);
            }
        }
        self.ledger.books().violation().map_or(Ok(()), Err)
    }

    // ---- What may happen ---------------------------------------------------------------------

    fn act(&mut self) -> Result<(), String> {
        match self.chance.below(100) {
            0..30 => self.upload(),
            30..42 => self.work(),
            42..54 => return self.settle().map(|_| ()),
            54..62 => self.pass_time(),
            62..70 => self.tell(),
            70..76 => self.report(),
            76..82 => return self.decide(),
            82..85 => self.sweep_late(),
            85..92 => self.arm(),
            92..95 => self.set_weather(),
            95..97 => self.crash(true),
            _ => self.crash(false),
        }
        Ok(())
    }

    fn arm(&self) {
        let at = if self.chance.one_in(3) { None } else { Some(self.chance.pick(&Point::ALL)) };
        let countdown = 1 + self.chance.below(if at.is_some() { 4 } else { 25 });
        self.trace.say(|| format!("to die at {at:?} {countdown}"));
        self.power.arm(at, countdown);
    }

    fn set_weather(&mut self) {
        let mood = Mood { is_away: self.chance.one_in(4), trouble: self.trouble };
        let is_full = self.chance.one_in(12);
        self.trace.say(|| format!("weather: {mood:?}, full {is_full}"));
        self.pacs.set_mood(mood);
        self.disk.set_full(is_full);
        self.disk.set_faults(self.fault_rate, true);
        self.index.set_faults(self.index_fault_rate());
        self.facts.set_faults(self.index_fault_rate());
    }

    fn work(&self) {
        let line = &self.house().line;
        match self.chance.below(3) {
            0 => {
                let progress = line.step();
                self.trace.say(|| format!("step: {progress:?}"));
            }
            1 => {
                let worked = line.work_one();
                self.trace.say(|| format!("work: {worked}"));
            }
            _ => {
                let asked = line.ask_some();
                self.trace.say(|| format!("ask: {asked}"));
            }
        }
    }

    /// Rounds and jobs until nothing is left to do now; false where something is in the way.
    fn settle(&self) -> Result<bool, String> {
        self.trace.say(|| "settle".to_owned());
        let line = &self.house().line;
        for _ in 0..ROUNDS_MAX {
            let progress = line.step();
            let worked = line.work_one() | line.ask_some();
            if !self.power.is_on() || progress == Progress::Blocked {
                return Ok(false);
            }
            if let (false, Progress::IdleUntil(next)) = (worked, progress) {
                self.next.set(next);
                return Ok(true);
            }
        }
        Err("the line never comes to rest".to_owned())
    }

    fn pass_time(&self) {
        let to_next = self.next.get().map_or(0, |due| due.as_millisecond() - self.clock.now().as_millisecond());
        let ms = match self.chance.below(16) {
            0..6 => 1_000 * i64::try_from(self.chance.below(60)).unwrap(),
            6..12 => to_next.max(0),
            12..14 => 11 * MINUTE_MS,
            14 => 24 * 60 * MINUTE_MS,
            // Somebody sets the clock back.
            _ => -MINUTE_MS * i64::try_from(self.chance.below(180)).unwrap(),
        };
        self.clock.advance_ms(ms);
        self.trace.say(|| format!("{ms} ms pass"));
    }

    fn tell(&mut self) {
        let text = self.hospital.say(&self.chance);
        self.deliver(&text);
    }

    fn deliver(&mut self, text: &str) {
        let house = self.house();
        // A sender that stops waiting tells it all again.
        let is_heard = match house.inlet.deliver(text.as_bytes()) {
            Delivered::Answered { code: AckCode::Accept, .. } => self.power.is_on(),
            Delivered::Answered { .. } => {
                self.ledger.books().violated("the hospital was refused");
                false
            }
            Delivered::Unanswered { .. } => false,
        };
        self.trace.say(|| format!("HL7, heard {is_heard}: {:?}", text.split('\r').nth(2)));
        if is_heard {
            self.hospital.acknowledged();
        }
    }

    /// What is at rest goes ten minutes later: a good moment to die.
    fn sweep_late(&self) {
        if self.chance.one_in(2) {
            self.clock.advance_ms(11 * MINUTE_MS);
        }
        if self.chance.one_in(3) {
            let at = self.chance.pick(&[Point::Overwrite, Point::Sync, Point::Remove]);
            self.power.arm(Some(at), 1 + self.chance.below(5));
        }
        self.sweep();
    }

    fn sweep(&self) {
        let house = self.house();
        if self.chance.one_in(4) {
            let _what_a_disk_fails = house.line.find_unswept();
        }
        let swept = house.line.sweep();
        self.trace.say(|| format!("sweep: {swept:?}"));
    }

    // ---- Phones ------------------------------------------------------------------------------

    fn upload(&mut self) {
        if self.uploads.len() < UPLOADS_MAX && (self.uploads.is_empty() || self.chance.one_in(4)) {
            self.begin();
            return;
        }
        let number = self.chance.below(self.uploads.len());
        if self.chance.one_in(25) {
            self.trace.say(|| "a phone goes away".to_owned());
            self.uploads.swap_remove(number);
            return;
        }
        let upload = &mut self.uploads[number];
        let Some(photo) = upload.photos.get(upload.files).copied() else {
            let upload = self.uploads.swap_remove(number);
            return self.finish(upload);
        };
        upload.files += 1;
        let sent = &photos::all()[photo].sent;
        let cut = self.chance.below(sent.len());
        let intake = &mut upload.intake;
        let pushed = intake
            .start_file()
            .and_then(|()| intake.push(&sent[..cut]))
            .and_then(|()| intake.push(&sent[cut..]))
            .and_then(|()| intake.end_file());
        self.trace.say(|| format!("photo {photo}: {:?}", pushed.as_ref().err().map(|r| r.code)));
        if let Err(refusal) = pushed {
            self.uploads.swap_remove(number);
            self.refused(&refusal);
        }
    }

    /// A new request, one that was not answered, or one that is repeated for no reason.
    fn begin(&mut self) {
        let mut books = self.ledger.books();
        let is_under_way = |number: usize| self.uploads.iter().any(|u| u.request == number);
        let known: Vec<usize> = (0..books.requests.len())
            .filter(|n| {
                let request = &books.requests[*n];
                // A phone without a key waits for the answer, and stops when it has it.
                !request.is_forgotten && (request.key.is_some() || request.heard.is_none() && !is_under_way(*n))
            })
            .collect();
        let is_again = !known.is_empty() && (self.chance.one_in(2) || self.photos_used >= PHOTOS_MAX);
        let number = if is_again {
            self.chance.pick(&known)
        } else if self.photos_used < PHOTOS_MAX {
            let number = books.requests.len();
            let request = new_request(&self.chance, number, &mut self.photos_used);
            books.requests.push(request);
            number
        } else {
            return;
        };
        let request = books.requests[number].clone();
        drop(books);
        let is_other = request.heard.is_some() && self.chance.one_in(4);
        let photos = if is_other { vec![photos::PHOTOS - 1] } else { request.photos.clone() };
        let key = request.key.as_deref().filter(|_| self.bug != Some(Bug::KeyIgnored));
        match self.house().desk.begin(&nurse(), &request.claim, key) {
            Ok(intake) => {
                self.trace.say(|| format!("request {number} begins, key {:?}, other {is_other}", request.key));
                self.uploads.push(Upload { request: number, photos, is_other, intake, files: 0 });
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn finish(&self, upload: Upload) {
        self.ledger.books().requests[upload.request].tries += usize::from(!upload.is_other);
        let answer = upload.intake.finish();
        let is_heard = self.power.is_on();
        self.trace.say(|| {
            let said = answer.as_ref().map(|r| (r.record.id().to_string(), r.replayed)).map_err(|r| r.code);
            format!("request {} ends, heard {is_heard}: {said:?}", upload.request)
        });
        if !is_heard {
            return;
        }
        match answer {
            Ok(_) if upload.is_other => self.ledger.books().violated("another body was taken under a key in use"),
            Ok(receipt) => self.hear(upload.request, &receipt),
            Err(refusal) if upload.is_other && refusal.code == RefusalCode::IdempotencyMismatch => {}
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn hear(&self, request: usize, receipt: &Receipt) {
        let mut books = self.ledger.books();
        let is_first = books.requests[request].heard.is_none();
        books.heard(request, receipt);
        if !is_first && !receipt.replayed {
            books.violated(format!("request {request} was taken twice"));
        }
    }

    /// Only a disk may be the reason.
    fn refused(&self, refusal: &Refusal) {
        let is_fair = matches!(refusal.code, RefusalCode::Unavailable | RefusalCode::SpoolFull);
        self.trace.say(|| format!("refused: {:?}", refusal.code));
        if !is_fair {
            self.ledger.books().violated(format!("a good request was refused: {:?} {}", refusal.code, refusal.detail));
        }
    }

    // ---- The archive's word ------------------------------------------------------------------

    fn report(&self) {
        if self.chance.one_in(4) {
            return self.forge();
        }
        let length = self.pacs.outbox().len();
        if length == 0 {
            return;
        }
        let number = self.chance.below(length);
        let is_kept_back = self.chance.one_in(4);
        let report = if is_kept_back { self.pacs.outbox()[number].clone() } else { self.pacs.outbox().swap_remove(number) };
        self.hand_in(&report);
    }

    fn hand_in(&self, Written { report, losses }: &Written) {
        // What it lost after it had written the report it must have told before the report comes.
        let is_early = |uid: &Uid, before: usize| {
            let losses = self.ledger.books().losses(uid);
            losses > before && losses > self.losses_heard_of(uid)
        };
        if report.committed.iter().zip(losses).any(|(sop, before)| is_early(&sop.sop_instance, *before)) {
            return;
        }
        let taken = self.house().line.report(&["pacs"], report);
        self.trace.say(|| format!("report about {}: {taken:?}", report.committed.len() + report.failed.len()));
        if taken.is_ok() {
            self.pacs.says(report);
        }
    }

    /// A report on a question that nobody asked.
    fn forge(&self) {
        let Some(id) = self.some_capture() else { return };
        let Some(record) = self.record(id) else { return };
        let class = Uid::parse("1.2.840.10008.5.1.4.1.1.77.1.4").unwrap();
        let about = |i: &shutterbridge::capture::ItemRecord| shutterbridge::capture::SopRef {
            sop_class: class.clone(),
            sop_instance: i.facts.sop_instance_uid.clone(),
        };
        let committed = record.items.iter().map(about).collect();
        let transaction = Uid::parse(&format!("2.25.{}", self.chance.draw())).unwrap();
        let taken = self.house().line.report(&["pacs"], &Report { transaction, committed, failed: Vec::new() });
        self.trace.say(|| format!("forged report: {taken:?}"));
        if taken != Err(Unwanted::UnknownTransaction) {
            self.ledger.books().violated(format!("a forged report was answered with {taken:?}"));
        }
    }

    /// How often the gateway has written down that the archive lost an object.
    fn losses_heard_of(&self, uid: &Uid) -> usize {
        let captures = self.ledger.books().captures();
        let of_item = |record: Record| {
            let index = record.items.iter().position(|i| i.facts.sop_instance_uid == *uid)?;
            let is_loss = |e: &&Event| e.why.as_deref().is_some_and(|w| w.contains("sent again"));
            Some(record.history.iter().filter(|e| usize::from(e.item) == index).filter(is_loss).count())
        };
        captures.into_iter().filter_map(|id| self.record(id)).find_map(of_item).unwrap_or(0)
    }

    // ---- The desk ----------------------------------------------------------------------------

    fn some_capture(&self) -> Option<CaptureId> {
        let captures = self.ledger.books().captures();
        (!captures.is_empty()).then(|| self.chance.pick(&captures))
    }

    fn record(&self, id: CaptureId) -> Option<Record> {
        let house = self.house();
        house.pending.get(id).or_else(|| house.journal.get(id).ok().flatten())
    }

    fn decide(&self) -> Result<(), String> {
        let Some(id) = self.some_capture() else { return Ok(()) };
        let act = match self.chance.below(8) {
            0..3 => Act::Retry,
            3..5 => Act::Hold,
            5 => Act::Discard,
            _ => self.assign(),
        };
        // Nobody may have it in hand: there is but one thread, and the desk waits for an answer.
        if self.settle()? && self.house().pending.get(id).is_none() {
            self.put(id, act);
        }
        Ok(())
    }

    fn assign(&self) -> Act {
        let patient = self.chance.below(hospital::PATIENTS);
        Act::Assign(PatientKey { id: hospital::id(patient).as_str().into(), issuer: Some("HOSP".to_owned()) })
    }

    fn put(&self, id: CaptureId, act: Act) {
        let line = &self.house().line;
        let target = match &act {
            Act::Assign(key) => key.id.expose().strip_prefix('P').and_then(|n| n.parse::<usize>().ok()),
            Act::Retry | Act::Hold | Act::Discard => None,
        };
        let before = self.ledger.books().request_of(id).clone();
        // Until the answer is heard it may have happened or not.
        {
            let mut books = self.ledger.books();
            let request = books.request_of(id);
            request.is_discarded |= act == Act::Discard;
            if let Some(target) = target {
                request.owners.extend([target, hospital::survivor(target)]);
                request.assigned = Assigned::Perhaps.max(request.assigned);
            }
        }
        let word = act.word();
        self.trace.say(|| {
            let failures = self.record(id).map(|r| r.items.into_iter().filter_map(|i| i.failure).collect::<Vec<_>>());
            format!("{word} {id}, after {failures:?}")
        });
        let Ok(awaited) = line.ask(decision(id, act)) else { return };
        let progress = line.step();
        if !self.power.is_on() || progress == Progress::Blocked {
            self.trace.say(|| format!("{word} {id}: unanswered"));
            return;
        }
        let verdict = line.answer(&awaited);
        self.trace.say(|| format!("{word} {id}: {:?}", verdict.as_ref().map(Record::stage).map_err(|r| r.code)));
        let mut books = self.ledger.books();
        let request = books.request_of(id);
        match (&verdict, target) {
            (Ok(_), Some(target)) => {
                request.owners = [target, hospital::survivor(target)].into();
                request.assigned = Assigned::Yes;
            }
            // A refusal is certain: nothing was changed.
            (Err(refusal), _) if refusal.code != RefusalCode::Unavailable => *request = before,
            (Ok(_), None) | (Err(_), _) => {}
        }
    }

    // ---- The end -----------------------------------------------------------------------------

    /// Everything that can be mended is mended, and time enough passes.
    fn end(&mut self) -> Result<(), String> {
        self.trace.say(|| "the end begins".to_owned());
        (self.fault_rate, self.trouble) = (0, 0);
        if self.house.is_none() {
            self.start()?;
        }
        self.crash(false);
        self.start_well()?;
        self.set_well();
        while let Some(text) = self.hospital.announce() {
            self.deliver(&text);
        }
        self.hear_all();
        let mut quiet_rounds = 0;
        for _ in 0..LAST_ROUNDS {
            self.settle()?;
            let reports: Vec<Written> = self.pacs.outbox().drain(..).collect();
            for report in &reports {
                self.hand_in(report);
            }
            let is_quiet = self.settle()? && self.is_at_rest() && !self.release_held()?;
            self.clock.advance_ms(61 * MINUTE_MS);
            self.sweep();
            self.look_after()?;
            quiet_rounds = if is_quiet { quiet_rounds + 1 } else { 0 };
            if quiet_rounds > 2 {
                break;
            }
        }
        self.hear_all();
        self.settle()?;
        // A clock that was set back is where it was again.
        self.clock.advance_ms(14 * 24 * 60 * MINUTE_MS);
        self.sweep();
        self.look_after()?;
        self.tell_what_is_open();
        self.ledger.books().settle(self.commitment);
        self.ledger.books().violation().map_or(Ok(()), Err)?;
        self.nothing_is_left()
    }

    fn tell_what_is_open(&self) {
        for id in self.ledger.books().captures() {
            for item in self.record(id).map(|r| r.items).unwrap_or_default() {
                self.trace.say(|| format!("{id}: {:?}, due {:?}, {:?}", item.stage, item.schedule.due, item.failure));
                self.trace.say(|| format!("  {:?}", item.legs));
            }
        }
    }

    fn start_well(&mut self) -> Result<(), String> {
        self.start()?;
        if self.power.is_on() {
            self.power.disarm();
        }
        Ok(())
    }

    fn set_well(&self) {
        self.pacs.set_mood(Mood::default());
        self.disk.set_full(false);
        self.disk.set_faults(0, false);
        self.index.set_faults(0);
        self.facts.set_faults(0);
    }

    /// Each phone asks until it has its answer, and once more where it has a key.
    fn hear_all(&mut self) {
        let count = self.ledger.books().requests.len();
        for number in 0..count {
            let request = self.ledger.books().requests[number].clone();
            if request.is_forgotten || request.heard.is_some() && request.key.is_none() {
                continue;
            }
            self.clock.advance_ms(1);
            let key = request.key.as_deref().filter(|_| self.bug != Some(Bug::KeyIgnored));
            let Ok(mut intake) = self.house().desk.begin(&nurse(), &request.claim, key) else { continue };
            let pushed = request.photos.iter().try_for_each(|photo| {
                intake.start_file()?;
                intake.push(&photos::all()[*photo].sent)?;
                intake.end_file()
            });
            match pushed {
                Ok(()) => {
                    let photos = request.photos;
                    self.finish(Upload { request: number, photos, is_other: false, intake, files: 0 });
                }
                Err(refusal) => self.refused(&refusal),
            }
        }
    }

    /// Nothing is to come, and the archive has nothing to say.
    fn is_at_rest(&self) -> bool {
        self.house().pending.is_empty() && self.next.get().is_none() && self.pacs.outbox().is_empty()
    }

    /// A person retries what is held and need not be; whether there was any.
    fn release_held(&self) -> Result<bool, String> {
        let mut did = false;
        let captures = self.ledger.books().captures();
        for id in captures {
            let is_rightly_held = self.ledger.books().request_of(id).is_rightly_held();
            if !is_rightly_held && self.record(id).is_some_and(|r| r.stage() == Stage::Held) {
                self.put(id, Act::Retry);
                self.settle()?;
                did = true;
            }
        }
        Ok(did)
    }

    /// What the archive has committed to is not here any more, and what waits for a person is.
    fn nothing_is_left(&self) -> Result<(), String> {
        let now: Timestamp = self.clock.now();
        let captures = self.ledger.books().captures();
        for id in captures {
            let is_held = {
                let mut books = self.ledger.books();
                let request = books.request_of(id);
                request.is_contradictory && request.assigned == Assigned::No && !request.is_discarded
            };
            if is_held {
                let mut bytes = Vec::new();
                let opened = self.house().spool.payload(id.item(0)).map_err(|e| e.to_string());
                let read = opened.and_then(|mut payload| payload.read_to_end(&mut bytes).map_err(|e| e.to_string()));
                read.map_err(|why| format!("lost: {id}, which is held for a person: {why}"))?;
            }
            let Some(record) = self.record(id) else { continue };
            let is_gone = record.items.iter().all(|i| matches!(i.stage, Stage::Committed));
            if is_gone && self.house().spool.has(id.item(0)).map_err(|e| e.to_string())? {
                return Err(format!("{id} is committed and still in the spool at {now}"));
            }
        }
        Ok(())
    }
}

fn new_request(chance: &Chance, number: usize, photos_used: &mut usize) -> Request {
    let count = chance.pick(&[1, 1, 1, 2, 3]);
    let photos = (*photos_used..*photos_used + count).collect();
    *photos_used += count;
    let patient = chance.below(hospital::PATIENTS);
    let birth_date = match chance.below(8) {
        0..3 => Some(hospital::claimed_birth_date(patient)),
        3 => Some(hospital::claimed_birth_date((patient + 2) % hospital::PATIENTS)),
        _ => None,
    };
    let key = (!chance.one_in(3)).then(|| format!("key-{number}"));
    Request::new(number, photos, patient, birth_date, key)
}
