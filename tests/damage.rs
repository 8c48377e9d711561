//! Bytes that rot: what does not open is held or put aside with the reason, everything else goes
//! on, and nothing wrong is ever delivered. Real spool, index, objects; an archive that remembers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{env, fs};

use serde_json::{Value, json};
use shutterbridge::archive::{Archive, Asked as Answered, Refused, Stored};
use shutterbridge::audit::Audit;
use shutterbridge::capture::media::EdgeBlocks;
use shutterbridge::capture::retry::RetryPolicy;
use shutterbridge::capture::{
    CaptureId, Commitment, FailureCode, Identifier, Operator, Patient, Record, SopRef, Stage, Takes, Uid,
};
use shutterbridge::clock::Clock;
use shutterbridge::dicom::Instance;
use shutterbridge::fence::{self, Fence};
use shutterbridge::journal::{Commit, Journal, JournalError};
use shutterbridge::lookup::{Answer, Asked, Lookup, Unavailable};
use shutterbridge::ops::backup::{self, Places};
use shutterbridge::pipeline::accept::{FrontDesk, Options, Quotas, Reception};
use shutterbridge::pipeline::bind::{Department, Place};
use shutterbridge::pipeline::department::DepartmentRule;
use shutterbridge::pipeline::forward::NamedArchive;
use shutterbridge::pipeline::observer::Nobody;
use shutterbridge::pipeline::pending::Pending;
use shutterbridge::pipeline::recover::Recovered;
use shutterbridge::pipeline::step::{Line, Progress, Works};
use shutterbridge::pipeline::{Acceptor, Act, Decision, Reason, Receipt, Refusal, recover};
use shutterbridge::scrub;
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::{self, Spool};
use shutterbridge::store::memory::MemoryStore;
use shutterbridge::store::sled::SledStore;
use shutterbridge::store::{Batch, Row, Store, StoreError};

/// Data sets by SOP Instance UID.
type Objects = BTreeMap<String, Vec<u8>>;

/// Remembers every data set it took; away until it is told to be there.
#[derive(Default)]
struct Shelf {
    is_there: bool,
    stored: Mutex<Objects>,
}

impl Archive for Shelf {
    fn ask_commitment(&self, _: &Uid, _: &[SopRef]) -> Result<Answered, Refused> {
        Ok(Answered::Later)
    }

    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        if !self.is_there {
            return Err(Refused { code: FailureCode::ArchiveUnreachable, detail: "away".to_owned() });
        }
        let mut bytes = Vec::new();
        // A payload that breaks off breaks off the association: nothing was stored.
        let read = instance.stream(instance.transfer_syntax(), payload).unwrap().read_to_end(&mut bytes);
        read.map_err(|e| Refused { code: FailureCode::SpoolUnreadable, detail: e.to_string() })?;
        let before = self.stored.lock().unwrap().insert(instance.sop_instance.to_string(), bytes.clone());
        assert!(before.is_none_or(|before| before == bytes), "two objects under one UID");
        Ok(Stored::default())
    }

    fn probe(&self) -> Result<(), Refused> {
        Ok(())
    }
}

struct Hospital;

impl Lookup for Hospital {
    fn find(&self, asked: &Asked) -> Result<Answer, Unavailable> {
        let (Asked::Patient { id, .. } | Asked::Barcode(id)) = asked else { return Ok(Answer::None) };
        let identifier = Identifier { id: id.clone(), issuer: "HOSP".to_owned(), ..Identifier::default() };
        let patient = Patient { identifier, name_dicom: "Test^Tessa".into(), active: true, ..Patient::default() };
        Ok(Answer::Found(Box::new(patient)))
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("sb-damage-{}-{name}", std::process::id()));
        let _left_by_a_failed_run = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn live(&self) -> PathBuf {
        self.0.join("spool/live")
    }

    /// Files that may rot, sorted.
    fn files(&self, part: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join(part)).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
        files.sort();
        files
    }

    fn is_aside(&self, id: CaptureId) -> bool {
        fs::read_to_string(self.0.join(format!("spool/quarantine/{id}.reason"))).is_ok_and(|reason| reason.len() > 20)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, name) = (entry.as_ref().unwrap().path(), entry.as_ref().unwrap().file_name());
        if entry.is_dir() { copy(&entry, &to.join(name)) } else { fs::copy(&entry, to.join(name)).map(drop).unwrap() }
    }
}

/// One gateway without doors, its clock set by hand.
struct House {
    desk: FrontDesk,
    line: Line,
    spool: Arc<Spool>,
    journal: Arc<Journal>,
    clock: Clock,
    shelf: Arc<Shelf>,
    recovered: Recovered,
}

fn kek() -> Kek {
    Kek::new(Secret::new([7; 32]))
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

/// As the gateway does: an index that does not open is put aside.
fn open_journal(folder: &Folder) -> Journal {
    let dir = folder.0.join("index");
    let open = || -> Result<Journal, JournalError> { Journal::open(Arc::new(SledStore::open(&dir, &kek())?), &kek()) };
    match open() {
        Err(JournalError::Store(StoreError::Corrupt(_))) => {
            fs::rename(&dir, folder.0.join("aside")).unwrap();
            open().unwrap()
        }
        other => other.unwrap(),
    }
}

impl House {
    fn start(folder: &Folder, is_archive_there: bool) -> Self {
        let spool = Spool::open(&folder.0.join("spool"), &kek(), spool::Options { free_min: spool::FreeMin::Bytes(0) });
        let (spool, journal) = (Arc::new(spool.unwrap()), Arc::new(open_journal(folder)));
        // Whatever waited for the archive is due by the time that it is there.
        let now = if is_archive_there { "2026-03-03T12:00:00Z" } else { "2026-03-01T12:00:00Z" };
        let clock = Clock::set_by_hand(now.parse().unwrap());
        let recovered = recover::recover(&spool, &journal, &place()).unwrap();
        recover::tidy(&spool, &journal, clock.now(), &|| false).unwrap();
        let pending = Arc::new(Pending::default());
        let shelf = Arc::new(Shelf { is_there: is_archive_there, stored: Mutex::default() });
        let desk = FrontDesk(Arc::new(Reception {
            options: Options {
                photo_bytes: 8 << 20,
                video_bytes: 8 << 20,
                request_files: 3,
                scrub: scrub::Limits::default(),
                departments: vec![DepartmentRule { id: "derm".to_owned(), ..DepartmentRule::default() }],
                quotas: Quotas::default(),
            },
            census: None,
            spool: spool.clone(),
            journal: journal.clone(),
            pending: pending.clone(),
            clock: clock.clone(),
            audit: Arc::new(Audit::open(&folder.0.join("audit.log"), &kek()).unwrap()),
            observer: Arc::new(Nobody),
        }));
        let line = Line::new(Works {
            edges: EdgeBlocks::Recode,
            fence: Arc::new(Fence::of([env!("CARGO_BIN_EXE_shutterbridge").into(), fence::WORD.into()])),
            spool: spool.clone(),
            journal: journal.clone(),
            pending: pending.clone(),
            lookup: Arc::new(Hospital),
            archives: vec![NamedArchive {
                name: "pacs".to_owned(),
                archive: shelf.clone(),
                commitment: Commitment::None,
                takes: Takes::default(),
            }],
            sources: Vec::new(),
            clock: clock.clone(),
            observer: Arc::new(Nobody),
            place: place(),
            assigning_authority: "HOSP".to_owned(),
            retry: RetryPolicy::default(),
        });
        Self { desk, line, spool, journal, clock, shelf, recovered }
    }

    fn send(&self, number: u8, key: &str, files: &[&[u8]]) -> Result<Receipt, Refusal> {
        let operator = Operator { issuer: "idp".to_owned(), subject: "u-1".to_owned(), name: "Rivera, Ana".to_owned() };
        let claim: Value = json!({"patient": {"id": format!("CANARY-{number}"), "issuer": "HOSP"}, "department": "derm"});
        let mut intake = self.desk.begin(&operator, &claim, Some(key))?;
        for file in files {
            intake.start_file()?;
            intake.push(file)?;
            intake.end_file()?;
        }
        intake.finish()
    }

    /// Rounds and jobs until nothing is left to do; an index that is found damaged is made anew.
    fn settle(&self) {
        for _ in 0..3 {
            self.clock.advance_ms(3_600_000);
            for _ in 0..60 {
                let progress = self.line.step();
                if !self.line.work_one() && !matches!(progress, Progress::Did(_)) {
                    break;
                }
            }
            if let Err(JournalError::Store(StoreError::Corrupt(_))) = self.journal.health() {
                recover::rebuild(&self.spool, &self.journal, &place()).unwrap();
            }
        }
    }

    fn record(&self, id: CaptureId) -> Option<Record> {
        self.journal.get(id).unwrap()
    }
}

fn photo(number: u8) -> Vec<u8> {
    let byte = |n: u32| n.to_be_bytes()[3];
    let picture =
        image::RgbImage::from_fn(48, 48, |x, y| image::Rgb([number.wrapping_mul(37), byte(x * 5), byte((y * 5) ^ (x * y))]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// Six captures that wait for an archive that is away: four of one photo, two of two.
fn waiting(folder: &Folder) -> Vec<Record> {
    let house = House::start(folder, false);
    let receipts = (1..=6u8).map(|n| {
        let (first, second) = (photo(n), photo(n + 100));
        let files: Vec<&[u8]> = if n <= 4 { vec![&first] } else { vec![&first, &second] };
        house.send(n, &format!("key-{n}"), &files).unwrap().record
    });
    let records = receipts.collect();
    house.settle();
    records
}

#[test]
fn of_a_capture_with_a_damaged_item_the_others_arrive_after_the_index_was_lost() {
    let folder = Folder::new("item");
    let records = waiting(&folder);
    let (id, uid) = (records[4].id(), records[4].items[0].facts.sop_instance_uid.to_string());
    fs::write(folder.live().join(format!("{}.item", id.item(1))), "rubbish").unwrap();
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    assert_eq!((house.recovered.inserted, house.recovered.damaged.len()), (6, 1));
    house.settle();
    let record = house.record(id).unwrap();
    assert_eq!((record.items[0].stage, record.items[1].stage), (Stage::Forwarded, Stage::Held));
    let failure = record.items[1].failure.as_ref().unwrap();
    assert_eq!((failure.code, failure.detail.as_str()), (FailureCode::SpoolUnreadable, "the end of the sealed file is missing"));
    let stored = house.shelf.stored.lock().unwrap();
    assert!(stored.contains_key(&uid));
    assert_eq!(stored.len(), 7);
}

#[test]
fn a_capture_whose_first_file_is_damaged_is_put_aside_with_the_reason() {
    let folder = Folder::new("head");
    let records = waiting(&folder);
    let id = records[5].id();
    let head = folder.live().join(format!("{}.item", id.item(0)));
    let mut bytes = fs::read(&head).unwrap();
    bytes[60] ^= 1;
    fs::write(&head, bytes).unwrap();
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    house.settle();
    assert!(folder.is_aside(id), "{:?}", house.recovered);
    assert_eq!(house.record(id), None);
    assert_eq!(folder.files("spool/quarantine").len(), 4, "two items, a binding, the reason");
    assert_eq!(house.shelf.stored.lock().unwrap().len(), 6, "the others arrive");
}

#[test]
fn a_key_is_known_after_the_bytes_were_erased_and_the_index_was_lost() {
    let folder = Folder::new("key");
    let records = waiting(&folder);
    let (id, two) = (records[4].id(), [photo(5), photo(105)]);
    let house = House::start(&folder, true);
    house.settle();
    // As the sweeper does once the archive has committed.
    shutterbridge::pipeline::tombstone::leave(&house.spool, &house.record(id).unwrap(), house.clock.now()).unwrap();
    house.spool.remove(id, 2).unwrap();
    drop(house);
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    let files: [&[u8]; 2] = [&two[0], &two[1]];
    let again = house.send(5, "key-5", &files).unwrap();
    assert!(again.replayed && again.record.id() == id);
    assert_eq!(again.record.items[1].facts.sop_instance_uid, records[4].items[1].facts.sop_instance_uid);
    assert_eq!(again.record.items[1].facts.sha256, records[4].items[1].facts.sha256);
    let other = house.send(5, "key-5", &[&two[0]]).unwrap_err();
    assert_eq!(other.code.word(), "idempotency-mismatch");
    // It is sealed, and would name nobody if it were not.
    let left = serde_json::to_string(&again.record).unwrap();
    assert!(!left.contains("CANARY"), "{left}");
    house.settle();
    assert!(!house.shelf.stored.lock().unwrap().contains_key(records[4].items[0].facts.sop_instance_uid.as_str()));
    drop(house);
    // A line that rotted is passed over; one cut short by a power cut, too.
    let grave = folder.files("spool/erased").remove(0);
    let sound = fs::read(&grave).unwrap();
    fs::write(&grave, [b"rubbish\n", &sound[..], b"\nhalf a li"].concat()).unwrap();
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    assert!(house.send(5, "key-5", &files).unwrap().replayed);
    assert!(house.recovered.damaged.iter().any(|(_, why)| why == "1 lines do not open"), "{:?}", house.recovered);
    shutterbridge::pipeline::tombstone::forget_old(&house.spool, "2026-03-08T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(folder.files("spool/erased").len(), 1, "kept for seven days");
    shutterbridge::pipeline::tombstone::forget_old(&house.spool, "2026-03-10T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(folder.files("spool/erased").len(), 0);
}

#[test]
fn a_key_is_known_also_where_the_process_was_killed_while_it_made_the_index_anew() {
    let folder = Folder::new("half");
    let records = waiting(&folder);
    let id = records[4].id();
    let house = House::start(&folder, true);
    house.settle();
    shutterbridge::pipeline::tombstone::leave(&house.spool, &house.record(id).unwrap(), house.clock.now()).unwrap();
    house.spool.remove(id, 2).unwrap();
    drop(house);
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    // One batch was written, and then the power went.
    let one = Commit { insert: vec![records[0].clone()], ..Commit::default() };
    open_journal(&folder).commit(one).unwrap();
    let house = House::start(&folder, true);
    let again = house.send(5, "key-5", &[&photo(5), &photo(105)]).unwrap();
    assert!(again.replayed && again.record.id() == id);
}

#[test]
fn what_is_left_of_an_erased_capture_names_nobody_whatever_it_was_claimed_by() {
    let folder = Folder::new("nobody");
    let house = House::start(&folder, true);
    let operator = Operator { issuer: "idp".to_owned(), subject: "u-1".to_owned(), name: "Rivera, Ana".to_owned() };
    let claim = json!({"barcode": "CANARY-1", "department": "derm"});
    let mut intake = house.desk.begin(&operator, &claim, Some("key")).unwrap();
    intake.start_file().unwrap();
    intake.push(&photo(1)).unwrap();
    intake.end_file().unwrap();
    let id = intake.finish().unwrap().record.id();
    house.settle();
    let record = house.record(id).unwrap();
    assert_eq!((record.stage(), record.also_waits_for.len()), (Stage::Forwarded, 1), "its patient is not the claim's word");
    shutterbridge::pipeline::tombstone::leave(&house.spool, &record, house.clock.now()).unwrap();
    let mut left = Vec::new();
    let found = |bytes: &[u8]| {
        left.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok::<_, spool::SpoolError>(())
    };
    assert_eq!(house.spool.buried(found).unwrap().read, 1);
    assert!(!left[0].contains("CANARY"), "{}", left[0]);
}

fn decide(house: &House, capture: CaptureId, act: Act) {
    // Nothing is in a worker's hands.
    while house.line.work_one() {}
    let by = Operator { issuer: "idp".to_owned(), subject: "desk".to_owned(), name: String::new() };
    let awaited = house.line.ask(Decision { capture, by, act, reason: Reason::parse("not this patient").unwrap() }).unwrap();
    house.line.step();
    house.line.answer(&awaited).unwrap();
}

#[test]
fn what_a_person_stopped_stays_here_after_the_index_was_lost() {
    let folder = Folder::new("stopped");
    let records = waiting(&folder);
    let (stopped, freed) = (records[5].id(), records[1].id());
    let house = House::start(&folder, false);
    decide(&house, stopped, Act::Hold);
    decide(&house, freed, Act::Hold);
    decide(&house, freed, Act::Retry);
    drop(house);
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    assert_eq!(house.recovered.damaged, [], "that is no damage");
    house.settle();
    let record = house.record(stopped).unwrap();
    let codes: Vec<_> = record.items.iter().map(|item| item.failure.as_ref().map(|f| f.code)).collect();
    assert_eq!(codes, [Some(FailureCode::HeldByPerson); 2]);
    assert!(record.items.iter().flat_map(|item| &item.legs).all(|leg| leg.schedule.due.is_none() && leg.failure.is_some()));
    assert_eq!(house.shelf.stored.lock().unwrap().len(), 6, "the others arrive");
    decide(&house, stopped, Act::Retry);
    house.settle();
    assert_eq!(house.record(stopped).unwrap().stage(), Stage::Forwarded);
    assert!(!folder.live().join(format!("{stopped}.stopped")).exists());
}

#[test]
fn where_a_capture_goes_stays_decided_after_the_index_was_lost() {
    let folder = Folder::new("legs");
    let records = waiting(&folder);
    let before = House::start(&folder, false).record(records[5].id()).unwrap();
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    // Before any configuration is looked at.
    let record = House::start(&folder, true).record(records[5].id()).unwrap();
    assert_eq!(record.patient_key, before.patient_key);
    for item in &record.items {
        assert_eq!(
            item.legs.iter().map(|leg| (leg.archive.as_str(), leg.stage)).collect::<Vec<_>>(),
            [("pacs", Stage::Identified)]
        );
        assert!(item.legs.iter().all(|leg| leg.sent() == 1), "it may have left");
    }
}

#[test]
fn a_backup_has_also_what_is_left_of_a_capture_whose_first_file_is_damaged_or_gone() {
    let (folder, elsewhere) = (Folder::new("rotten"), Folder::new("backup"));
    let records = waiting(&folder);
    let (short, gone, erased) = (records[4].id(), records[5].id(), records[0].id());
    let head = |id: CaptureId| folder.live().join(format!("{}.item", id.item(0)));
    fs::write(head(short), "rubbish").unwrap();
    fs::remove_file(head(gone)).unwrap();
    let mut bytes = fs::read(head(erased)).unwrap();
    bytes[56..128].fill(0);
    fs::write(head(erased), bytes).unwrap();
    let at = |name: &str| folder.0.join(name);
    let places = Places { spool: at("spool"), index: at("index"), hospital: at("hospital"), audit: at("audit.log") };
    let label = backup::take(&places, &elsewhere.0, "2026-03-01T12:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(label.captures, 4, "three that are whole, and one whose head may hold something yet");
    let kept = |id: CaptureId| elsewhere.0.join(format!("spool/live/{}.item", id.item(1))).exists();
    assert!(kept(short) && kept(gone));
    assert!(elsewhere.files("spool/live").iter().all(|f| !f.to_string_lossy().contains(&erased.to_string())));
}

#[test]
fn a_damaged_key_id_is_damage_and_not_another_key() {
    let folder = Folder::new("key-id");
    let records = waiting(&folder);
    let (head, second) = (records[0].id(), records[5].id());
    for name in [head.item(0), second.item(1)] {
        let path = folder.live().join(format!("{name}.item"));
        let mut bytes = fs::read(&path).unwrap();
        bytes[43] ^= 4;
        fs::write(&path, bytes).unwrap();
    }
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    house.settle();
    assert!(folder.is_aside(head), "{:?}", house.recovered);
    let record = house.record(second).unwrap();
    assert_eq!((record.items[0].stage, record.items[1].stage), (Stage::Forwarded, Stage::Held));
}

#[test]
fn what_a_newer_version_sealed_waits_for_that_version() {
    let folder = Folder::new("newer");
    let id = waiting(&folder)[0].id();
    let house = House::start(&folder, false);
    let manifest = String::from_utf8(house.spool.manifest(id.item(0)).unwrap()).unwrap();
    assert!(manifest.starts_with(r#"{"version":1,"#));
    house.spool.remove(id, 1).unwrap();
    let mut draft = house.spool.draft(id.item(0)).unwrap();
    draft.write(&photo(1)).unwrap();
    let newer = manifest.replacen(r#""version":1"#, r#""version":2"#, 1);
    house.spool.promise(vec![draft.finish(newer.as_bytes()).unwrap()]).unwrap();
    drop(house);
    fs::remove_dir_all(folder.0.join("index")).unwrap();
    let house = House::start(&folder, true);
    house.settle();
    assert!(house.record(id).is_none() && !folder.is_aside(id), "it may be read yet");
    assert!(house.recovered.damaged.iter().any(|(name, why)| *name == id.to_string() && why.contains("newer version")));
}

/// A store that breaks when it is told to, and can be begun anew.
#[derive(Default)]
struct Rotten {
    rows: Mutex<MemoryStore>,
    is_damaged: AtomicBool,
    renewed: AtomicUsize,
    /// Happens once, while a commit is on its way to the disk.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Rotten {
    fn refuse(&self) -> Result<(), StoreError> {
        let damaged = StoreError::Corrupt("on purpose".to_owned());
        if self.is_damaged.load(Ordering::SeqCst) { Err(damaged) } else { Ok(()) }
    }
}

impl Store for Rotten {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.lock().unwrap().get(key)
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.rows.lock().unwrap().scan(from, until, limit)
    }

    fn last(&self, from: &[u8], until: &[u8]) -> Result<Option<Row>, StoreError> {
        self.rows.lock().unwrap().last(from, until)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let meanwhile = if batch.is_empty() { None } else { self.meanwhile.lock().unwrap().take() };
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.refuse()?;
        self.rows.lock().unwrap().commit(batch)
    }

    fn is_sound(&self) -> bool {
        self.refuse().is_ok()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.refuse()
    }

    fn renew(&self) -> Result<(), StoreError> {
        *self.rows.lock().unwrap() = MemoryStore::new();
        self.is_damaged.store(false, Ordering::SeqCst);
        self.renewed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn while_an_index_is_made_anew_nobody_is_told_that_something_is_not_there() {
    let folder = Folder::new("anew");
    let records = waiting(&folder);
    let (id, key) = (records[2].id(), records[2].acceptance.idempotency.unwrap().key);
    let spool = Spool::open(&folder.0.join("spool"), &kek(), spool::Options::default()).unwrap();
    let store = Arc::new(Rotten::default());
    let journal = Journal::open(store.clone(), &kek()).unwrap();
    recover::recover(&spool, &journal, &place()).unwrap();
    assert_eq!(journal.by_idempotency(&key).unwrap().map(|r| r.id()), Some(id));
    store.is_damaged.store(true, Ordering::SeqCst);
    let broke = journal.rebuild(|| -> Result<(), String> {
        assert_eq!(journal.by_idempotency(&key), Err(JournalError::BeingMade), "else it is accepted twice");
        assert_eq!(journal.find(id), Err(JournalError::BeingMade));
        Err("the disk does not give it".to_owned())
    });
    assert!(broke.is_err());
    // It did not come to its end, so it is begun again, and not from an empty store once more.
    assert!(!journal.is_sound());
    assert_eq!(journal.health(), Err(JournalError::BeingMade));
    assert_eq!(recover::rebuild(&spool, &journal, &place()).unwrap().inserted, 6);
    assert_eq!((journal.health(), journal.is_sound(), store.renewed.load(Ordering::SeqCst)), (Ok(()), true, 1));
    assert_eq!(journal.by_idempotency(&key).unwrap().map(|r| r.id()), Some(id));
    assert_eq!(journal.find(CaptureId::new(1, [1; 10])), Ok(None));
}

#[test]
fn what_cannot_be_put_aside_keeps_nothing_else_from_the_index() {
    let folder = Folder::new("not-aside");
    let id = waiting(&folder)[0].id();
    fs::write(folder.live().join(format!("{}.item", id.item(0))), "rubbish").unwrap();
    let spool = Spool::open(&folder.0.join("spool"), &kek(), spool::Options::default()).unwrap();
    fs::remove_dir(folder.0.join("spool/quarantine")).unwrap();
    let journal = Journal::open(Arc::new(MemoryStore::new()), &kek()).unwrap();
    let recovered = recover::recover(&spool, &journal, &place()).unwrap();
    assert_eq!(recovered.inserted, 5);
    assert!(recovered.damaged.iter().any(|(name, why)| *name == id.to_string() && why.contains("could not be put aside")));
}

#[test]
fn an_index_that_is_found_damaged_while_it_is_completed_is_made_anew() {
    let folder = Folder::new("completed");
    waiting(&folder);
    let spool = Spool::open(&folder.0.join("spool"), &kek(), spool::Options::default()).unwrap();
    let store = Arc::new(Rotten::default());
    let journal = Journal::open(store.clone(), &kek()).unwrap();
    store.is_damaged.store(true, Ordering::SeqCst);
    assert_eq!(recover::recover(&spool, &journal, &place()).unwrap().inserted, 6);
    assert!(journal.is_sound());
}

#[test]
fn a_commit_that_is_under_way_while_the_index_is_begun_anew_brings_nothing_of_the_old_one() {
    let folder = Folder::new("under-way");
    let records = waiting(&folder);
    let store = Arc::new(Rotten::default());
    let journal = Arc::new(Journal::open(store.clone(), &kek()).unwrap());
    let (late, early) = records.split_last().unwrap();
    journal.commit(Commit { insert: early.to_vec(), ..Commit::default() }).unwrap();
    let (rotting, anew) = (store.clone(), journal.clone());
    let (hand_over, begun) = std::sync::mpsc::channel();
    *store.meanwhile.lock().unwrap() = Some(Box::new(move || {
        rotting.is_damaged.store(true, Ordering::SeqCst);
        let rebuilding = std::thread::spawn(move || anew.rebuild(|| Ok(())).unwrap());
        // Either it waits for this commit, or it is through at once.
        for _ in 0..50 {
            if rebuilding.is_finished() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        hand_over.send(rebuilding).unwrap();
    }));
    let under_way = journal.commit(Commit { insert: vec![late.clone()], ..Commit::default() });
    begun.recv().unwrap().join().unwrap();
    assert!(matches!(under_way, Err(JournalError::Store(StoreError::Corrupt(_)))), "{under_way:?}");
    assert_eq!(journal.ids(&Stage::ALL).unwrap(), [], "keys without captures");
    assert_eq!(store.renewed.load(Ordering::SeqCst), 1);
}

/// First byte of the rows of keys.
const KEYS: u8 = 0x1A;

#[test]
fn an_index_whose_rows_of_keys_do_not_open_is_made_anew_while_the_gateway_runs() {
    let folder = Folder::new("sheet");
    let records = waiting(&folder);
    let store = Arc::new(SledStore::open(&folder.0.join("other-index"), &kek()).unwrap());
    let spool = Spool::open(&folder.0.join("spool"), &kek(), spool::Options::default()).unwrap();
    let journal = Journal::open(store.clone(), &kek()).unwrap();
    recover::recover(&spool, &journal, &place()).unwrap();
    // The first row of keys becomes rubbish.
    let row = store.scan(&[KEYS], &[KEYS + 1], 1).unwrap().remove(0);
    let mut batch = Batch::new();
    batch.put(row.key, vec![7; 9]);
    store.commit(batch).unwrap();
    let looked: Vec<_> = Stage::ALL.into_iter().map(|stage| journal.staged(stage, None, 100)).collect();
    let asked = journal.due_ids(records[0].acceptance.accepted_at, 100);
    assert!(looked.iter().chain([&asked]).any(Result::is_err), "an empty answer would hide what waits");
    assert!(matches!(journal.health(), Err(JournalError::Store(StoreError::Corrupt(_)))));
    assert_eq!(recover::rebuild(&spool, &journal, &place()).unwrap().inserted, records.len());
    assert_eq!((journal.health(), journal.ids(&Stage::ALL).unwrap().len()), (Ok(()), records.len()));
}

/// `SplitMix64`: the same places for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }
}

/// Flips a byte that says something, where there is one near: most of an index is zeros.
fn flip(file: &Path, dice: &mut Dice) -> usize {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = places[dice.roll(places.len())];
    bytes[at] ^= 1 << dice.roll(8);
    fs::write(file, bytes).unwrap();
    at
}

/// Delivered as it was sealed, or held or put aside with the reason: nothing else may become of an item.
fn check(folder: &Folder, house: &House, records: &[Record], sound: &Objects, where_: &str) -> usize {
    let stored = house.shelf.stored.lock().unwrap();
    for (uid, object) in stored.iter() {
        assert!(sound.get(uid) == Some(object), "{where_}: something was delivered that nobody sealed");
    }
    let mut explained = 0;
    for record in records {
        for (index, item) in record.items.iter().enumerate() {
            if stored.contains_key(item.facts.sop_instance_uid.as_str()) {
                continue;
            }
            let now = house.record(record.id());
            let held = now.as_ref().is_some_and(|r| r.items[index].stage == Stage::Held && r.items[index].failure.is_some());
            // What may be sealed under another key, or by a newer gateway, stays where it is and is told at the start.
            let told = house.recovered.damaged.iter().any(|(name, _)| name.starts_with(&record.id().to_string()));
            assert!(
                held || told || folder.is_aside(record.id()),
                "{where_}: {} is neither there nor explained: {now:?}",
                record.id()
            );
            explained += 1;
        }
    }
    explained
}

#[test]
fn of_random_flips_over_spool_and_index_nothing_wrong_is_delivered_and_each_is_explained() {
    let flips = env::var("SHUTTERBRIDGE_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    let seed = env::var("SHUTTERBRIDGE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(20_261_125);
    let base = Folder::new("base");
    let records = waiting(&base);
    let sound = {
        let folder = Folder::new("sound");
        copy(&base.0, &folder.0);
        let house = House::start(&folder, true);
        house.settle();
        house.shelf.stored.lock().unwrap().clone()
    };
    assert_eq!(sound.len(), 8);
    let (mut quarantined, mut dice) = (0, Dice(seed));
    for n in 0..flips {
        let folder = Folder::new("flip");
        copy(&base.0, &folder.0);
        // A third of the spool with its index, of the spool whose index was lost, of the index.
        let (part, is_index_lost) = [("spool/live", false), ("spool/live", true), ("index", false)][n % 3];
        let files: Vec<PathBuf> = folder.files(part).into_iter().filter(|f| fs::metadata(f).unwrap().len() > 0).collect();
        let file = &files[dice.roll(files.len())];
        let at = flip(file, &mut dice);
        if is_index_lost {
            fs::remove_dir_all(folder.0.join("index")).unwrap();
        }
        let place = format!("seed {seed}, flip {n}: byte {at} of {}", file.file_name().unwrap().display());
        let house = House::start(&folder, true);
        house.settle();
        let explained = check(&folder, &house, &records, &sound, &place);
        assert!(part != "index" || explained == 0, "{place}: the index was damaged and something did not arrive");
        quarantined += explained;
    }
    assert!(quarantined > 0, "no flip was seen at all");
    println!("{flips} flips: {quarantined} items held or put aside, nothing wrong delivered");
}
