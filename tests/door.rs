//! What has an index comes in through the door: scrubbed where it lies, sealed from its first byte,
//! and on the disk readable by nobody before it is promised.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod media_fixture;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use media_fixture::{clip, files_below, film, heic, pdf, slice, tellers};
use serde_json::{Value, json};
use shutterbridge::archive::{Archive, Refused, Stored};
use shutterbridge::audit::Audit;
use shutterbridge::capture::claim::parse_taken_at;
use shutterbridge::capture::media::EdgeBlocks;
use shutterbridge::capture::media::TimeSource;
use shutterbridge::capture::retry::RetryPolicy;
use shutterbridge::capture::{Commitment, Essence, FailureCode, Identifier, MediaKind, Operator, Patient, Record, Stage, Takes};
use shutterbridge::clock::Clock;
use shutterbridge::dicom::Instance;
use shutterbridge::fence::{self, Fence};
use shutterbridge::journal::Journal;
use shutterbridge::lookup::{Answer, Asked, Lookup, Unavailable};
use shutterbridge::pipeline::accept::{FrontDesk, Options, Quotas, Reception};
use shutterbridge::pipeline::bind::{Department, Place};
use shutterbridge::pipeline::department::DepartmentRule;
use shutterbridge::pipeline::forward::NamedArchive;
use shutterbridge::pipeline::observer::Nobody;
use shutterbridge::pipeline::pending::Pending;
use shutterbridge::pipeline::step::{Line, Progress, Works};
use shutterbridge::pipeline::{Acceptor, Intake, Receipt, Refusal, RefusalCode, recover};
use shutterbridge::scrub::{self, Purpose, verify};
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::{self, Spool};
use shutterbridge::store::memory::MemoryStore;

const PHOTO_MAX: u64 = 300_000;
const VIDEO_MAX: u64 = 4_000_000;

/// Keeps the payloads that reach it.
#[derive(Default)]
struct Shelf(Mutex<Vec<(String, Vec<u8>)>>);

impl Archive for Shelf {
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        let mut bytes = Vec::new();
        payload.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, instance.pixels.length());
        self.0.lock().unwrap().push((instance.sop_class.to_string(), bytes));
        Ok(Stored { warning: None })
    }

    fn probe(&self) -> Result<(), Refused> {
        Ok(())
    }
}

/// Knows everybody.
struct Hospital;

impl Lookup for Hospital {
    fn find(&self, _: &Asked) -> Result<Answer, Unavailable> {
        let identifier = Identifier { id: "4711".into(), issuer: "HOSP".to_owned(), ..Identifier::default() };
        Ok(Answer::Found(Box::new(Patient { identifier, name_dicom: "Test^Tessa".into(), active: true, ..Patient::default() })))
    }
}

/// A gateway without doors; another one on the same folder is a restart after a crash.
struct House {
    folder: Folder,
    spool: Arc<Spool>,
    desk: FrontDesk,
    line: Line,
    journal: Arc<Journal>,
    shelf: Arc<Shelf>,
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

impl House {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sb-door-{}-{name}", std::process::id()));
        let _left_by_a_failed_run = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self::open(Folder(folder))
    }

    fn open(folder: Folder) -> Self {
        let kek = Kek::new(Secret::new([7; 32]));
        let options = spool::Options { free_min: spool::FreeMin::Bytes(0) };
        let spool = Arc::new(Spool::open(&folder.0.join("spool"), &kek, options).unwrap());
        let journal = Arc::new(Journal::open(Arc::new(MemoryStore::default()), &kek).unwrap());
        recover::recover(&spool, &journal, &place()).unwrap();
        let (pending, clock) = (Arc::new(Pending::default()), Clock::set_by_hand("2026-03-01T12:00:00Z".parse().unwrap()));
        let desk = FrontDesk(Arc::new(Reception {
            options: Options {
                photo_bytes: PHOTO_MAX,
                video_bytes: VIDEO_MAX,
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
            audit: Arc::new(Audit::open(&folder.0.join("audit.log"), &kek).unwrap()),
            observer: Arc::new(Nobody),
        }));
        let shelf = Arc::new(Shelf::default());
        let archive = NamedArchive {
            name: "pacs".to_owned(),
            archive: Arc::clone(&shelf) as _,
            commitment: Commitment::None,
            takes: Takes::default(),
        };
        let line = Line::new(Works {
            edges: EdgeBlocks::Recode,
            fence: Arc::new(Fence::of([env!("CARGO_BIN_EXE_shutterbridge").into(), fence::WORD.into()])),
            spool: spool.clone(),
            journal: journal.clone(),
            pending,
            lookup: Arc::new(Hospital),
            archives: vec![archive],
            sources: Vec::new(),
            clock,
            observer: Arc::new(Nobody),
            place: place(),
            assigning_authority: "HOSP".to_owned(),
            retry: RetryPolicy::default(),
        });
        Self { folder, spool, desk, line, journal, shelf }
    }

    fn begin(&self) -> Box<dyn Intake> {
        self.begin_with(&claim())
    }

    fn begin_with(&self, claim: &Value) -> Box<dyn Intake> {
        let operator = Operator { issuer: "idp".to_owned(), subject: "u-1".to_owned(), name: "Rivera, Ana".to_owned() };
        self.desk.begin(&operator, claim, None).unwrap()
    }

    fn send(&self, files: &[&[u8]]) -> Result<Receipt, Refusal> {
        let mut intake = self.begin();
        for file in files {
            intake.start_file()?;
            for chunk in file.chunks(10_007) {
                intake.push(chunk)?;
            }
            intake.end_file()?;
        }
        intake.finish()
    }

    fn settle(&self) {
        for _ in 0..100 {
            let progress = self.line.step();
            if !self.line.work_one() && !matches!(progress, Progress::Did(_)) {
                return;
            }
        }
        panic!("the line never comes to rest");
    }

    /// What lies sealed, opened with the key of the installation.
    fn sealed(&self, record: &Record, index: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.spool.payload(record.id().item(index)).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn drafts(&self) -> Vec<PathBuf> {
        files_below(&self.folder.0.join("spool/draft"))
    }
}

/// Gone after the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.0);
    }
}

fn claim() -> Value {
    let site = json!({"code": "85562004", "scheme": "SCT", "meaning": "Hand"});
    json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm", "body_site": site, "laterality": "L"})
}

fn holds(bytes: &[u8], pattern: &[u8]) -> bool {
    memchr::memmem::find(bytes, pattern).is_some()
}

fn tells_nothing(bytes: &[u8]) {
    for secret in media_fixture::secrets() {
        assert!(!holds(bytes, &secret), "{:?}", String::from_utf8_lossy(&secret));
    }
}

// ---------------------------------------------------------------- what comes in

#[test]
fn a_film_is_kept_with_its_pictures_where_they_were_and_without_its_place() {
    let house = House::new("film");
    // Of a byte less than a chunk, a chunk, and many that no chunk ends with.
    for (brand, pictures, bytes) in [(*b"isom", 1, 10), (*b"qt  ", 3, 50_000), (*b"3gp4", 40, 30_011), (*b"M4V ", 2, 65_536)] {
        let file = film(brand, pictures, bytes);
        let receipt = house.send(&[&file]).unwrap();
        let item = &receipt.record.items[0].facts;
        let media = if brand == *b"qt  " { MediaKind::QuickTime } else { MediaKind::Mp4 };
        assert_eq!((item.media, item.essence, item.location_found), (media, Essence::Unchanged, true));
        assert_eq!(item.size_bytes, file.len() as u64);
        for word in ["video.udta", "video.track", "video.sei", "video.trailer", "video.uuid", "video.unreferenced"] {
            assert!(item.removed.iter().any(|r| r == word), "{word} in {:?}", item.removed);
        }
        let sealed = house.sealed(&receipt.record, 0);
        assert_eq!(sealed.len() as u64, item.sealed_bytes);
        tells_nothing(&sealed);
        assert_eq!(verify::container(media, Purpose::Object, &sealed.as_slice()), Ok(()));
        for number in 0..pictures {
            let picture = slice(number, bytes);
            let at = memchr::memmem::find(&file, &picture).unwrap();
            assert_eq!(sealed.get(at..at + picture.len()), Some(&picture[..]), "picture {number} moved or changed");
        }
    }
    assert_eq!(house.drafts(), Vec::<PathBuf>::new());
    assert_eq!(tellers(&house.folder.0, &[]), Vec::<String>::new());
}

#[test]
fn a_heic_photo_is_kept_as_its_picture_alone() {
    let house = House::new("heic");
    let file = heic(70_000);
    let receipt = house.send(&[&file]).unwrap();
    let item = &receipt.record.items[0].facts;
    assert_eq!((item.media, item.essence, item.location_found), (MediaKind::Heic, Essence::Unchanged, true));
    let sealed = house.sealed(&receipt.record, 0);
    tells_nothing(&sealed);
    assert!(holds(&sealed, &slice(1, 70_000)[5..]), "the picture stays");
    assert!(sealed.len() < 71_000, "one picture, no thumbnail");
    assert_eq!(verify::container(MediaKind::Heic, Purpose::Object, &sealed.as_slice()), Ok(()));
    assert_eq!(house.drafts(), Vec::<PathBuf>::new());
    assert_eq!(tellers(&house.folder.0, &[]), Vec::<String>::new());
}

#[test]
fn what_the_record_needs_of_a_film_is_read_before_it_goes() {
    let house = House::new("facts");
    let receipt = house.send(&[&film(*b"isom", 2, 500)]).unwrap();
    let facts = &receipt.record.items[0].facts.facts;
    assert_eq!(facts.taken_at, parse_taken_at("2026-03-02T08:30:00+0900"));
    assert_eq!(facts.details.taken_from, Some(TimeSource::QuickTime));
    assert_eq!(facts.details.duration_ms, Some(1500));
    assert_eq!(facts.details.turn.map(u8::from), Some(6));
    assert_eq!((facts.model.as_deref(), facts.make.as_deref()), (Some("Phone"), None));
    assert_eq!((facts.format.width, facts.format.height), (640, 480));
}

#[test]
fn photos_and_films_of_one_request_stand_together() {
    let house = House::new("both");
    let (first, second) = (film(*b"qt  ", 5, 20_000), heic(5_000));
    let receipt = house.send(&[&first, &second]).unwrap();
    assert_eq!(receipt.record.items.len(), 2);
    tells_nothing(&house.sealed(&receipt.record, 0));
    tells_nothing(&house.sealed(&receipt.record, 1));
}

#[test]
fn a_film_that_goes_as_it_is_leaves_flat_with_every_picture_where_it_was_among_them() {
    let house = House::new("flat");
    // Chunks of the spool begin in the middle of a picture.
    let receipt = house.send(&[&clip(*b"qt  ", 5, 50_000)]).unwrap();
    house.settle();
    let record = house.journal.get(receipt.record.id()).unwrap().unwrap();
    assert_eq!(record.stage(), Stage::Forwarded, "{:?}", record.items[0].failure);
    let kept = house.shelf.0.lock().unwrap().clone();
    let [(class, payload)] = &kept[..] else { panic!("one object: {}", kept.len()) };
    assert_eq!(class, "1.2.840.10008.5.1.4.1.1.77.1.4.1");
    assert!(payload.starts_with(b"\0\0\0\x1cftypmp42"), "{:?}", &payload[..16]);
    tells_nothing(payload);
    let mut at = 0;
    for number in 0..5 {
        let picture = slice(number, 50_000);
        at += memchr::memmem::find(&payload[at..], &picture).unwrap_or_else(|| panic!("picture {number}")) + picture.len();
    }
    assert_eq!(at, payload.len(), "nothing stands behind the last picture");
    assert!(payload.len() < 5 * 50_400, "nor between them: {}", payload.len());
}

#[test]
fn a_film_of_no_part_of_the_body_is_refused_while_somebody_can_still_say_it() {
    let house = House::new("no-site");
    for file in [clip(*b"isom", 2, 90_000), film(*b"qt  ", 2, 500)] {
        let mut intake = house.begin_with(&json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"}));
        intake.start_file().unwrap();
        let refusal = match intake.push(&file[..20_000.min(file.len())]) {
            Err(refusal) => refusal,
            Ok(()) => intake.end_file().unwrap_err(),
        };
        assert_eq!((refusal.code, refusal.part), (RefusalCode::ClaimInvalid, Some(1)));
        assert_eq!(refusal.errors[0].pointer, "/body_site");
        drop(intake);
    }
    assert_eq!(house.drafts(), Vec::<PathBuf>::new());
    let mut intake = house.begin_with(&json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"}));
    intake.start_file().unwrap();
    intake.push(&heic(500)).unwrap();
    intake.end_file().unwrap();
    assert!(intake.finish().is_ok(), "a still needs none");
}

#[test]
fn what_no_object_can_be_made_of_is_held_with_the_reason_and_never_lost() {
    let house = House::new("held");
    let receipt = house.send(&[&heic(3_000)]).unwrap();
    house.settle();
    let record = house.journal.get(receipt.record.id()).unwrap().unwrap();
    assert_eq!(record.stage(), Stage::Held);
    assert_eq!(record.items[0].failure.as_ref().map(|f| f.code), Some(FailureCode::WrapFailed));
    let disputed = record.notes.iter().filter(|note| note.contains("another turn")).count();
    assert_eq!(disputed, 1, "its Exif asks for a turn that the file has not: {:?}", record.notes);
    tells_nothing(&house.sealed(&record, 0));
}

#[test]
fn a_document_is_kept_as_its_pages() {
    let house = House::new("document");
    let record = house.send(&[&pdf(false)]).unwrap().record;
    let item = &record.items[0].facts;
    assert_eq!((item.media, item.sealed_as_received, item.verifier), (MediaKind::Pdf, None, verify::VERSION));
    let sealed = house.sealed(&record, 0);
    tells_nothing(&sealed);
    assert_eq!(verify::container(MediaKind::Pdf, Purpose::Object, &sealed.as_slice()), Ok(()));
    assert_eq!(tellers(&house.folder.0, &[]), Vec::<String>::new());
}

#[test]
fn a_signed_document_is_kept_as_it_came_and_held_for_good() {
    let house = House::new("signed");
    let file = pdf(true);
    let receipt = house.send(&[&file]).unwrap();
    let item = &receipt.record.items[0].facts;
    assert_eq!((item.sealed_as_received, item.verifier), (Some(FailureCode::SignedDocument), 0));
    assert!(item.removed.is_empty() && !item.location_found, "nothing was looked at, nothing taken out");
    house.settle();
    let record = house.journal.get(receipt.record.id()).unwrap().unwrap();
    assert_eq!(record.stage(), Stage::Held);
    assert_eq!(record.items[0].failure.as_ref().map(|f| f.code), Some(FailureCode::SignedDocument));
    assert_eq!(house.sealed(&record, 0), file, "its signature still fits");
    assert_eq!(house.drafts(), Vec::<PathBuf>::new());
    assert_eq!(tellers(&house.folder.0, &[]), Vec::<String>::new(), "and nobody without the key reads it");
}

// ---------------------------------------------------------------- what does not

#[test]
fn a_film_that_is_cut_foreign_or_too_large_leaves_nothing() {
    let house = House::new("refused");
    let whole = film(*b"isom", 30, 30_000);
    let cut = &whole[..whole.len() / 2];
    let foreign = [&whole[..16], &[0; 40]].concat();
    let photo_limit = heic(usize::try_from(PHOTO_MAX).unwrap() / 2);
    let video_limit = film(*b"isom", 150, 30_000);
    let table: [(&str, &[u8], RefusalCode, Option<u64>); 5] = [
        ("cut", cut, RefusalCode::DamagedMedia, None),
        ("no index", &foreign, RefusalCode::DamagedMedia, None),
        ("a head alone", &whole[..20], RefusalCode::DamagedMedia, None),
        ("a photo over its limit", &photo_limit, RefusalCode::TooLarge, Some(PHOTO_MAX)),
        ("a film over its limit", &video_limit, RefusalCode::TooLarge, Some(VIDEO_MAX)),
    ];
    for (what, file, code, limit) in table {
        let refusal = house.send(&[file]).map(|_| ()).unwrap_err();
        assert_eq!((refusal.code, refusal.limit_bytes, refusal.part), (code, limit, Some(1)), "{what}: {}", refusal.detail);
        assert_eq!(house.drafts(), Vec::<PathBuf>::new(), "{what}");
    }
    // What is larger than a photo may be is not too large for a film.
    assert!(whole.len() as u64 > PHOTO_MAX && house.send(&[&whole]).is_ok());
}

#[test]
fn what_is_not_scrubbed_as_well_as_the_others_is_refused_with_what_is_accepted() {
    let house = House::new("kinds");
    let pad = |head: &[u8]| [head, &[0; 64]].concat();
    for (what, file) in [
        ("WebP", pad(b"RIFF\x40\0\0\0WEBPVP8 ")),
        ("GIF", pad(b"GIF89a")),
        ("TIFF", pad(b"II*\0\x08\0\0\0")),
        ("TIFF", pad(b"MM\0*\0\0\0\x08")),
        ("AVIF", pad(b"\0\0\0\x18ftypavif\0\0\0\0mif1")),
        ("WebM", pad(b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01webm")),
    ] {
        let refusal = house.send(&[&file]).map(|_| ()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::UnsupportedMedia, "{what}");
        assert!(refusal.detail.contains(what), "{}", refusal.detail);
        for accepted in MediaKind::ACCEPTED_TYPES {
            assert_eq!(refusal.detail.matches(accepted).count(), 1, "{accepted} in {}", refusal.detail);
        }
    }
    assert_eq!(house.drafts(), Vec::<PathBuf>::new());
}

// ---------------------------------------------------------------- crashes

/// The disk at each moment of an upload, as a crash would leave it.
#[test]
fn at_no_moment_of_an_upload_can_anybody_read_the_place_from_the_disk() {
    let house = House::new("moments");
    let file = film(*b"isom", 20, 30_000);
    let mut intake = house.begin();
    intake.start_file().unwrap();
    for (chunk, number) in file.chunks(50_000).zip(0..) {
        intake.push(chunk).unwrap();
        if number % 4 == 0 {
            nobody_can_read(&house.folder.0);
        }
    }
    nobody_can_read(&house.folder.0);
    intake.end_file().unwrap();
    nobody_can_read(&house.folder.0);
    drop(intake);
    assert_eq!(house.drafts(), Vec::<PathBuf>::new());
}

/// Nothing in clear; and no draft has a key that could be unwrapped: its place is zeros.
fn nobody_can_read(folder: &Path) {
    assert_eq!(tellers(folder, &[]), Vec::<String>::new());
    let drafts = files_below(&folder.join("spool/draft"));
    assert_eq!(drafts.len(), 1);
    for draft in drafts {
        let bytes = std::fs::read(draft).unwrap();
        assert!(bytes.iter().take(128).all(|b| *b == 0), "the key of a draft is on the disk");
    }
}

#[test]
fn a_crash_in_the_middle_leaves_ciphertext_that_the_next_start_removes() {
    let house = House::new("crash");
    let file = film(*b"isom", 20, 30_000);
    let mut intake = house.begin();
    intake.start_file().unwrap();
    intake.push(&file[..400_000]).unwrap();
    // What a killed process leaves: its files, not what it would have removed.
    let left = std::fs::read(&house.drafts()[0]).unwrap();
    assert!(left.len() > 300_000, "the film lies there already");
    drop(intake);
    let draft = house.folder.0.join("spool/draft/left.0");
    std::fs::write(&draft, left).unwrap();
    let House { folder, spool, desk, line, journal, shelf } = house;
    drop((spool, desk, line, journal, shelf));
    let again = House::open(folder);
    assert!(!draft.exists());
    assert_eq!(tellers(&again.folder.0, &[]), Vec::<String>::new());
}
