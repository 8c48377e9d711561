//! One gateway without doors: real scrub, spool, journal and objects; archives and a hospital that do as they
//! are told; a clock set by hand. Everything that decides runs on the test's own thread, step by step.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

pub mod films;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use shutterbridge::archive::studies::Studies;
use shutterbridge::archive::{Archive, Asked as Answered, Refused, Report, Stored};
use shutterbridge::audit::Audit;
use shutterbridge::capture::TakenAt;
use shutterbridge::capture::claim::{OrderKey, PatientKey};
use shutterbridge::capture::media::{EdgeBlocks, Orientation};
use shutterbridge::capture::retry::RetryPolicy;
use shutterbridge::capture::{
    CaptureId, Commitment, FailureCode, Identifier, MediaKind, Operator, Order, Patient, Record, SopRef, Stage, Takes, Uid,
};
use shutterbridge::clock::Clock;
use shutterbridge::dicom::{Instance, Syntax};
use shutterbridge::fence::{self, Fence, Ffmpeg};
use shutterbridge::journal::Journal;
use shutterbridge::lookup::{Answer, Asked, Lookup, Unavailable};
use shutterbridge::media::exif;
use shutterbridge::pipeline::accept::{Census, FrontDesk, Options, Quotas, Reception};
use shutterbridge::pipeline::bind::{Department, Place};
use shutterbridge::pipeline::department::DepartmentRule;
use shutterbridge::pipeline::forward::NamedArchive;
use shutterbridge::pipeline::inquire::{Source, SourceKind};
use shutterbridge::pipeline::observer::{Nobody, Observer};
use shutterbridge::pipeline::pending::Pending;
use shutterbridge::pipeline::step::{Line, Progress, Works};
use shutterbridge::pipeline::{Acceptor, Act, Decision, Reason, Receipt, Refusal, recover};
use shutterbridge::scrub;
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::{self, Spool};
use shutterbridge::store::memory::MemoryStore;
use shutterbridge::store::{Batch, Row, Store, StoreError};

/// Answers C-STORE as it is told and remembers every data set it took.
#[derive(Default)]
pub struct Shelf {
    pub stored: Mutex<HashMap<String, Vec<Vec<u8>>>>,
    /// Refusals to come, first one last.
    pub refuse: Mutex<Vec<FailureCode>>,
    pub attempts: AtomicU32,
    /// Words about commitment to come, first one last; then it says nothing.
    pub words: Mutex<Vec<Says>>,
    pub asked: Mutex<Vec<(Uid, Vec<SopRef>)>>,
    /// What it says in place of an answer, once.
    pub forged: Mutex<Option<Report>>,
    /// UIDs in the order in which they were taken.
    pub taken: Mutex<Vec<String>>,
    /// What it answers everything with, while it is away.
    pub away: Mutex<Option<FailureCode>>,
    /// What it answers these UIDs with, always.
    pub bad: Mutex<HashMap<String, FailureCode>>,
    /// SOP classes that it does not take.
    pub refused_classes: Mutex<Vec<&'static str>>,
    /// It may be given a Secondary Capture instead.
    pub takes_stand_ins: bool,
    /// Its section of the configuration leaves this syntax out.
    pub leaves_out: Mutex<Option<Syntax>>,
    /// In which syntax each object came, those that it broke off at as well.
    pub came_in: Mutex<Vec<Syntax>>,
    /// What happens while the next object is being sent.
    pub meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// What a shelf says when it is asked for commitment.
#[derive(Clone, Copy)]
pub enum Says {
    Kept,
    NotKept(u16),
    Nothing,
    /// It cannot be asked, or not just now.
    Refuses(FailureCode),
}

impl Shelf {
    pub fn last_question(&self) -> (Uid, Vec<SopRef>) {
        self.asked.lock().unwrap().last().cloned().expect("a question")
    }

    pub fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub fn sends(&self) -> u32 {
        self.attempts.load(Ordering::SeqCst)
    }
}

impl Archive for Shelf {
    fn ask_commitment(&self, transaction: &Uid, wanted: &[SopRef]) -> Result<Answered, Refused> {
        self.asked.lock().unwrap().push((transaction.clone(), wanted.to_vec()));
        if let Some(forged) = self.forged.lock().unwrap().take() {
            return Ok(Answered::Answered(vec![forged]));
        }
        let report = |committed: &[SopRef], failed: Vec<(SopRef, u16)>| {
            Ok(Answered::Answered(vec![Report { transaction: transaction.clone(), committed: committed.to_vec(), failed }]))
        };
        match self.words.lock().unwrap().pop().unwrap_or(Says::Nothing) {
            Says::Kept => report(wanted, Vec::new()),
            Says::NotKept(reason) => report(&[], wanted.iter().map(|sop| (sop.clone(), reason)).collect()),
            Says::Nothing => Ok(Answered::Later),
            Says::Refuses(code) => Err(Refused { code, detail: "as told".to_owned() }),
        }
    }

    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let mut bytes = Vec::new();
        instance.stream(instance.transfer_syntax(), payload).unwrap().read_to_end(&mut bytes).unwrap();
        let uid = instance.sop_instance.to_string();
        if !self.offers(instance.transfer_syntax()) {
            return Err(Refused { code: FailureCode::ArchiveRefusedClass, detail: "left out".to_owned() });
        }
        if self.refused_classes.lock().unwrap().contains(&instance.sop_class.as_str()) {
            return Err(Refused { code: FailureCode::ArchiveRefusedClass, detail: "no such class".to_owned() });
        }
        let away = *self.away.lock().unwrap();
        let bad = self.bad.lock().unwrap().get(&uid).copied();
        let answer = away.or(bad).or_else(|| self.refuse.lock().unwrap().pop());
        if answer.is_none() {
            self.taken.lock().unwrap().push(uid);
        }
        // A connection that breaks may break after the object was stored.
        if answer.is_none_or(|code| code == FailureCode::ArchiveAborted) {
            self.came_in.lock().unwrap().push(instance.transfer_syntax());
            self.stored.lock().unwrap().entry(instance.sop_instance.to_string()).or_default().push(bytes);
        }
        answer.map_or(Ok(Stored::default()), |code| Err(Refused { code, detail: "as told".to_owned() }))
    }

    fn takes_stand_ins(&self) -> bool {
        self.takes_stand_ins
    }

    fn offers(&self, syntax: Syntax) -> bool {
        *self.leaves_out.lock().unwrap() != Some(syntax)
    }

    fn probe(&self) -> Result<(), Refused> {
        Ok(())
    }
}

/// Knows the patients it is told, and whose an order is, by its accession or filler number.
#[derive(Default)]
pub struct Hospital(pub Mutex<HashMap<String, Patient>>, pub Mutex<HashMap<String, (String, Order)>>);

impl Hospital {
    pub fn order(&self, accession: &str, patient: &str, study: &str) {
        let order = Order { accession: accession.into(), study_instance_uid: study.to_owned(), ..Order::default() };
        self.1.lock().unwrap().insert(accession.to_owned(), (patient.to_owned(), order));
    }

    /// Of several requested procedures under one accession number, the order that has this filler number.
    pub fn order_of_procedure(&self, filler: &str, accession: &str, procedure_id: &str, patient: &str) {
        let order = Order {
            accession: accession.into(),
            filler: filler.into(),
            requested_procedure_id: procedure_id.into(),
            ..Order::default()
        };
        self.1.lock().unwrap().insert(filler.to_owned(), (patient.to_owned(), order));
    }

    /// The prior number answers with the survivor.
    pub fn merge(&self, prior: &str, survivor: &str) {
        let mut patients = self.0.lock().unwrap();
        let patient = patients[survivor].clone();
        patients.insert(prior.to_owned(), patient);
    }

    pub fn admit(&self, id: &str, birth_date: &str) {
        let patient = Patient {
            identifier: Identifier { id: id.into(), issuer: "HOSP".to_owned(), ..Identifier::default() },
            name_dicom: "Test^Tessa".into(),
            birth_date: birth_date.parse().ok(),
            active: true,
            ..Patient::default()
        };
        self.0.lock().unwrap().insert(id.to_owned(), patient);
    }

    pub fn forget(&self, id: &str) {
        self.0.lock().unwrap().remove(id);
    }
}

impl Lookup for Hospital {
    fn find(&self, asked: &Asked) -> Result<Answer, Unavailable> {
        if let Asked::Order(OrderKey::Accession(number) | OrderKey::Filler(number)) = asked
            && let Some((patient, order)) = self.1.lock().unwrap().get(number.expose())
        {
            let patient = self.0.lock().unwrap()[patient].clone();
            return Ok(Answer::Found(Box::new(Patient { orders: vec![order.clone()], ..patient })));
        }
        let (Asked::Patient { id, .. } | Asked::Barcode(id)) = asked else { return Ok(Answer::None) };
        let known = self.0.lock().unwrap().get(id.expose()).cloned();
        let scanned = matches!(asked, Asked::Barcode(_));
        // Asked by the patient's own number, all that is open is listed.
        let order = Order { accession: "A1".into(), ..Order::default() };
        let known = known.map(|p| Patient { orders: if scanned { vec![order] } else { Vec::new() }, ..p });
        Ok(known.map_or(Answer::None, |p| Answer::Found(Box::new(p))))
    }
}

/// One gateway without doors. `start` again on the same folder is a restart after a crash.
pub struct House {
    pub desk: FrontDesk,
    pub line: Line,
    pub journal: Arc<Journal>,
    pub pending: Arc<Pending>,
    pub clock: Clock,
}

/// Counts the rows that are read.
struct Counted(Arc<MemoryStore>, Arc<AtomicU64>);

impl Store for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.0.scan(from, until, limit)?;
        self.1.fetch_add(1 + u64::try_from(rows.len()).unwrap(), Ordering::SeqCst);
        Ok(rows)
    }

    fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.last(from, until)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }
}

/// What outlives a crash.
pub struct World {
    pub folder: PathBuf,
    pub store: Arc<MemoryStore>,
    pub shelf: Arc<Shelf>,
    pub hospital: Arc<Hospital>,
    pub commitment: Commitment,
    /// What the clock of a gateway says when it starts.
    pub now: Timestamp,
    /// Rows of the index that were read.
    pub reads: Arc<AtomicU64>,
    pub refused: Arc<Mutex<Vec<&'static str>>>,
    /// Patients nobody announced are refused at the door.
    pub refuses_strangers: bool,
    /// Nobody is in the darkroom unless a test goes there: what has to be coded anew waits.
    pub ffmpeg: PathBuf,
    /// Who is asked which study an order has.
    pub asked: Vec<(SourceKind, Arc<dyn Studies>)>,
}

/// Remembers which reports were refused.
pub struct Watch(pub Arc<Mutex<Vec<&'static str>>>);

impl Observer for Watch {
    fn accepted(&self, _: MediaKind, _: bool) {}
    fn reached(&self, _: Stage) {}
    fn attempted(&self, _: &str, _: Result<bool, FailureCode>) {}
    fn delivered(&self, _: f64) {}
    fn written(&self, result: Result<(), &str>) {
        assert_eq!(result, Ok(()));
    }
    fn swept(&self, _: Result<usize, &str>) {}
    fn report_refused(&self, why: &'static str) {
        self.0.lock().unwrap().push(why);
    }
}

impl World {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sb-pipeline-{}-{name}", std::process::id()));
        let _left_by_a_failed_run = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let hospital = Arc::new(Hospital::default());
        hospital.admit("4711", "1970-03-01");
        Self {
            folder,
            store: Arc::new(MemoryStore::default()),
            shelf: Arc::default(),
            hospital,
            commitment: Commitment::None,
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            reads: Arc::default(),
            refused: Arc::default(),
            refuses_strangers: false,
            ffmpeg: "/nowhere/ffmpeg".into(),
            asked: Vec::new(),
        }
    }

    pub fn ask(&mut self, kind: SourceKind, studies: Arc<dyn Studies>) {
        self.asked.push((kind, studies));
    }

    fn sources(&self) -> Vec<Source> {
        let source = |(kind, studies): &(SourceKind, Arc<dyn Studies>)| {
            let name = if *kind == SourceKind::Worklist { "the worklist" } else { "the archive" };
            Source { name: name.to_owned(), kind: *kind, studies: studies.clone() }
        };
        self.asked.iter().map(source).collect()
    }

    pub fn spool_folder(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// With these archives, each with a shelf of its own.
    pub fn start_at(&self, shelves: &[(&str, &Arc<Shelf>)]) -> House {
        self.start_with(shelves.iter().map(|(name, shelf)| self.archive(name, shelf)).collect())
    }

    pub fn start(&self) -> House {
        self.start_with(vec![self.archive("pacs", &self.shelf)])
    }

    pub fn archive(&self, name: &str, behind: &Arc<Shelf>) -> NamedArchive {
        let takes = Takes::default();
        NamedArchive { name: name.to_owned(), archive: behind.clone(), commitment: self.commitment, takes }
    }

    /// Whatever it complains of.
    pub fn start_watched_by_nobody(&self) -> House {
        self.start_under(vec![self.archive("pacs", &self.shelf)], Arc::new(Nobody))
    }

    pub fn start_with(&self, archives: Vec<NamedArchive>) -> House {
        self.start_under(archives, Arc::new(Watch(self.refused.clone())))
    }

    fn start_under(&self, archives: Vec<NamedArchive>, observer: Arc<dyn Observer>) -> House {
        let kek = Kek::new(Secret::new([7; 32]));
        let spool =
            Arc::new(Spool::open(&self.spool_folder(), &kek, spool::Options { free_min: spool::FreeMin::Bytes(0) }).unwrap());
        let journal = Arc::new(Journal::open(Arc::new(Counted(self.store.clone(), self.reads.clone())), &kek).unwrap());
        recover::recover(&spool, &journal, &place()).unwrap();
        let pending = Arc::new(Pending::default());
        let clock = Clock::set_by_hand(self.now);
        recover::tidy(&spool, &journal, clock.now(), &|| false).unwrap();
        let desk = FrontDesk(Arc::new(Reception {
            options: Options {
                photo_bytes: 1 << 20,
                video_bytes: 8 << 20,
                request_files: 3,
                scrub: scrub::Limits::default(),
                departments: vec![DepartmentRule { id: "derm".to_owned(), ..DepartmentRule::default() }],
                quotas: Quotas::default(),
            },
            census: self.refuses_strangers.then(|| Census { lookup: self.hospital.clone(), home: "HOSP".to_owned() }),
            spool: spool.clone(),
            journal: journal.clone(),
            pending: pending.clone(),
            clock: clock.clone(),
            audit: Arc::new(Audit::open(&self.folder.join("audit.log"), &kek).unwrap()),
            observer: Arc::new(Nobody),
        }));
        let line = Line::new(Works {
            edges: EdgeBlocks::Recode,
            fence: Arc::new(
                Fence::of([env!("CARGO_BIN_EXE_shutterbridge").into(), fence::WORD.into()])
                    .with_ffmpeg(Some(Ffmpeg { program: self.ffmpeg.clone(), maps_tones: false })),
            ),
            spool,
            journal: journal.clone(),
            pending: pending.clone(),
            lookup: self.hospital.clone(),
            archives,
            sources: self.sources(),
            clock: clock.clone(),
            observer,
            place: place(),
            assigning_authority: "HOSP".to_owned(),
            retry: RetryPolicy::default(),
        });
        House { desk, line, journal, pending, clock }
    }

    pub fn stored(&self) -> usize {
        self.shelf.stored.lock().unwrap().len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    pub fn send(&self, claim: &Value, key: Option<&str>, files: &[&[u8]]) -> Result<Receipt, Refusal> {
        let operator = Operator { issuer: "idp".to_owned(), subject: "u-1".to_owned(), name: "Rivera, Ana".to_owned() };
        let mut intake = self.desk.begin(&operator, claim, key)?;
        for file in files {
            intake.start_file()?;
            for chunk in file.chunks(10_000) {
                intake.push(chunk)?;
            }
            intake.end_file()?;
        }
        intake.finish()
    }

    /// Rounds and jobs until nothing is left to do now.
    pub fn settle(&self) {
        for _ in 0..10_000 {
            let progress = self.line.step();
            let worked = self.line.work_one() | self.line.ask_some() | self.line.inquire_one();
            if !worked && !matches!(progress, Progress::Did(_)) {
                return;
            }
        }
        panic!("the line never comes to rest");
    }

    /// What a person decides, and the round that applies it.
    pub fn decide(&self, id: CaptureId, act: Act) -> Result<Record, Refusal> {
        let awaited = self.line.ask(decision(id, act))?;
        self.line.step();
        self.line.answer(&awaited)
    }

    pub fn record(&self, id: CaptureId) -> Record {
        self.pending.get(id).or_else(|| self.journal.get(id).unwrap()).expect("a capture that was promised")
    }

    /// Stage and failure of the first item's way to an archive.
    pub fn leg(&self, id: CaptureId, archive: &str) -> (Stage, Option<FailureCode>) {
        let record = self.record(id);
        let leg = record.leg(0, archive).unwrap_or_else(|| panic!("no leg to {archive}"));
        (leg.stage, leg.failure.as_ref().map(|f| f.code))
    }

    pub fn stage(&self, id: CaptureId) -> Stage {
        self.record(id).stage()
    }
}

pub fn place() -> Place {
    Place {
        institution: "Test Hospital".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        departments: vec![Department { id: "derm".to_owned(), name: "Dermatology".to_owned(), kind: None, procedure: None }],
        uid_key: [9; 32],
        gateway_version: "0".to_owned(),
    }
}

pub fn decision(id: CaptureId, act: Act) -> Decision {
    let by = Operator { issuer: "idp".to_owned(), subject: "u-9".to_owned(), name: "Desk, Dora".to_owned() };
    Decision { capture: id, by, act, reason: Reason::parse("the ward called").unwrap() }
}

pub fn to_patient(id: &str) -> Act {
    Act::Assign(PatientKey { id: id.into(), issuer: Some("HOSP".to_owned()) })
}

pub fn claim(id: &str) -> Value {
    json!({"patient": {"id": id, "issuer": "HOSP"}, "department": "derm"})
}

/// A small photo with a location in it; each number is another picture.
pub fn photo(number: u8) -> Vec<u8> {
    let taken = TakenAt { local: "2026-03-01T10:15:30".parse().unwrap(), offset: None };
    exif::with_location(&jpeg(32, 32, number.wrapping_mul(37)), 47.137_219, 9.523_847, &taken)
}

pub fn jpeg(width: u32, height: u32, grey: u8) -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb([grey, 90, 60]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// An Exif block with nothing but an orientation in front of everything else.
pub fn turned(jpeg: &[u8], exif_orientation: u16) -> Vec<u8> {
    let block = exif::orientation_block(Orientation::from_exif(exif_orientation).unwrap());
    let length = u16::try_from(block.len() + 8).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, b"Exif\0\0", &block, &jpeg[2..]].concat()
}

pub fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}
