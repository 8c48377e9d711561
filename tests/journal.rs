//! What the journal keeps and finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::json;
use shutterbridge::capture::binding::StudyBinding;
use shutterbridge::capture::media::{Coding, Details, Orientation, PictureFormat};
use shutterbridge::capture::order::Code;
use shutterbridge::capture::record::{Acceptance, Digest, Idempotency, ItemFacts, Schedule};
use shutterbridge::capture::{CaptureId, Claim, Essence, Facts, MediaKind, Operator, Phi, Record, SopRef, Stage, Uid};
use shutterbridge::journal::{Commit, Covered, Filter, Journal, JournalError, StudyRow, Transaction};
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::store::memory::MemoryStore;
use shutterbridge::store::sled::SledStore;

/// A folder of its own, gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("shutterbridge-journal-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn kek() -> Kek {
    Kek::new(Secret::new([1; 32]))
}

fn on_disk(path: &Path) -> Journal {
    Journal::open(Arc::new(SledStore::open(path, &kek()).unwrap()), &kek()).unwrap()
}

fn in_memory() -> Journal {
    Journal::open(Arc::new(MemoryStore::new()), &kek()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_772_000_000 + second).unwrap()
}

fn id(n: u64) -> CaptureId {
    CaptureId::new(1_772_000_000_000 + n, [7; 10])
}

fn facts(n: u64) -> ItemFacts {
    let format = PictureFormat { width: 4000, height: 3000, coding: Coding::JpegBaselineYcbcr };
    ItemFacts {
        media: MediaKind::Jpeg,
        size_bytes: 3_500_000,
        sha256: [n as u8; 32],
        sealed_bytes: 3_400_000,
        sealed_sha256: None,
        sop_instance_uid: Uid::from_uuid_bytes([n as u8; 16]),
        location_found: true,
        removed: vec!["exif.gps".to_owned(), "xmp".to_owned()],
        essence: Essence::Unchanged,
        verifier: 1,
        sealed_as_received: None,
        facts: Facts {
            format,
            orientation: Orientation::UPRIGHT,
            taken_at: None,
            make: None,
            model: None,
            software: None,
            details: Details::default(),
            icc_profile: None,
        },
    }
}

fn acceptance(n: u64, items: u16) -> Acceptance {
    let claim =
        json!({"patient": {"id": format!("CANARY-{}", n % 50)}, "visit": {"id": format!("V{}", n % 7)}, "department": "derm"});
    Acceptance {
        id: id(n),
        accepted_at: at(n.cast_signed()),
        operator: Operator { issuer: "https://id".to_owned(), subject: format!("nurse{}", n % 3), name: "N. Urse".to_owned() },
        idempotency: Some(Idempotency { key: digest(n), request: [0; 32] }),
        claim: Claim::from_json(&claim).unwrap(),
        items,
    }
}

fn digest(n: u64) -> Digest {
    shutterbridge::seal::digest::sha256(&n.to_be_bytes())
}

fn record(n: u64, items: u16) -> Record {
    Record::accepted(acceptance(n, items), (0..items).map(|_| facts(n)).collect())
}

fn insert(records: impl IntoIterator<Item = Record>) -> Commit {
    Commit { insert: records.into_iter().collect(), ..Commit::default() }
}

fn replace(old: &Record, new: &Record) -> Commit {
    Commit { replace: vec![(old.clone(), new.clone())], ..Commit::default() }
}

fn study_row(n: u64) -> StudyRow {
    StudyRow {
        study: StudyBinding {
            instance_uid: Uid::from_uuid_bytes([9; 16]),
            started: "2026-03-01T10:00:00".parse().unwrap(),
            id: "S1".to_owned(),
            procedure: Code::default(),
            description: "Ulcer".to_owned(),
            referring: "Ref^Rita".into(),
            attending: Phi::default(),
            requesting_service: String::new(),
        },
        patient: digest(n),
        begun_for: None,
        procedures: BTreeSet::new(),
        next_series_number: n as u32,
        last_capture_at: at(0),
    }
}

/// Random numbers that a seed repeats (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// A legal next state of `record`.
fn moved(record: &Record, dice: &mut Dice) -> Record {
    let mut new = record.clone();
    let index = dice.roll(u64::from(new.acceptance.items)) as u16;
    let item = &new.items[usize::from(index)];
    let nexts: Vec<Stage> = Stage::ALL.into_iter().filter(|s| item.stage.may_become(*s)).collect();
    let next = nexts[dice.roll(nexts.len() as u64) as usize];
    // A held item may go back to where it was only.
    let next = if item.stage == Stage::Held && next != Stage::Discarded { item.resume } else { next };
    new.study_instance_uid = Some(Uid::from_uuid_bytes([1; 16]));
    new.move_item(index, next, at(5), None).unwrap();
    let due = (dice.roll(3) > 0).then(|| at(dice.roll(100).cast_signed()));
    new.items[usize::from(index)].schedule = Schedule { due, attempts: dice.roll(9) as u32, ..Schedule::default() };
    new
}

/// Everything the journal can be asked must be what the model says.
fn compare(journal: &Journal, model: &BTreeMap<CaptureId, Record>, dice: &mut Dice) {
    for stage in Stage::ALL {
        let want = model.values().filter(|r| r.stage() == stage).count() as u64;
        assert_eq!(journal.counts().into_iter().find(|(s, _)| *s == stage).unwrap().1, want, "{stage:?}");
    }
    let now = at(dice.roll(100).cast_signed());
    let mut want: Vec<&Record> = model.values().filter(|r| r.due().is_some_and(|due| due <= now)).collect();
    want.sort_by_key(|r| (r.due(), r.id()));
    want.truncate(10);
    assert_eq!(journal.due(now, 10).unwrap().iter().collect::<Vec<_>>(), want);
    assert_eq!(journal.next_due(&BTreeSet::new()).unwrap(), model.values().filter_map(Record::due).min());
    let waits = |r: &Record| r.items.iter().any(|i| matches!(i.stage, Stage::Accepted | Stage::Held));
    let (patient, visit) = (dice.roll(50), dice.roll(7));
    let identifiers = [Phi::from(format!("CANARY-{patient}")), Phi::from(format!("V{visit}")), Phi::from("nobody")];
    let named = |r: &Record| {
        let claim = &r.acceptance.claim;
        claim.patient.as_ref().is_some_and(|p| p.id == identifiers[0]) || claim.visit.as_ref() == Some(&identifiers[1])
    };
    let want: Vec<CaptureId> = model.values().filter(|r| waits(r) && named(r)).map(Record::id).collect();
    assert_eq!(journal.waiting(&identifiers).unwrap(), want);
    let stage = Some(Stage::ALL[dice.roll(7) as usize]).filter(|_| dice.roll(2) == 0);
    let owner = Some(("https://id".to_owned(), format!("nurse{}", dice.roll(4)))).filter(|_| dice.roll(2) == 0);
    let filter = Filter { stage, owner };
    let shown = |r: &&Record| {
        stage.is_none_or(|s| r.stage() == s) && filter.owner.as_ref().is_none_or(|o| o.1 == r.acceptance.operator.subject)
    };
    let want: Vec<Record> = model.values().filter(shown).cloned().collect();
    let limit = 1 + dice.roll(20) as usize;
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = journal.list(&filter, after, limit).unwrap();
        assert!(page.records.len() <= limit);
        listed.extend(page.records);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, want, "{filter:?} by {limit}");
    let n = dice.roll(60);
    assert_eq!(journal.by_idempotency(&digest(n)).unwrap().as_ref(), model.get(&id(n)));
    assert_eq!(journal.contains(id(n)), Ok(model.contains_key(&id(n))));
}

/// One random commit, applied to both.
fn change(journal: &Journal, model: &mut BTreeMap<CaptureId, Record>, dice: &mut Dice) {
    let mut commit = Commit::default();
    let mut after = model.clone();
    for _ in 0..=dice.roll(3) {
        let n = dice.roll(60);
        match after.get(&id(n)).cloned() {
            Some(old) if dice.roll(4) > 0 => {
                let new = moved(&old, dice);
                after.insert(id(n), new.clone());
                commit.replace.push((old, new));
            }
            _ => {
                let new = record(n, 1 + dice.roll(3) as u16);
                // Insertions of a commit come before its replacements.
                if !commit.replace.iter().any(|(old, _)| old.id() == id(n)) {
                    after.entry(id(n)).or_insert_with(|| new.clone());
                    commit.insert.push(new);
                }
            }
        }
    }
    if dice.roll(8) == 0 {
        // Somebody else was faster: nothing of the commit happens.
        let mut stale = record(dice.roll(60), 1);
        stale.notes.push("never written".to_owned());
        commit.replace.push((stale.clone(), stale));
        assert_eq!(journal.commit(commit), Err(JournalError::Stale));
    } else {
        journal.commit(commit).unwrap();
        *model = after;
    }
}

#[test]
fn every_index_says_the_same_as_the_rows_whatever_was_committed() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    println!("SEED={seed}");
    let mut dice = Dice(seed);
    let (journal, mut model) = (in_memory(), BTreeMap::new());
    for _ in 0..1500 {
        change(&journal, &mut model, &mut dice);
        compare(&journal, &model, &mut dice);
    }
    let folder = Folder::new();
    let mut model = BTreeMap::new();
    for _ in 0..4 {
        // Dropped, not closed, and opened again.
        let journal = on_disk(&folder.0);
        for _ in 0..40 {
            compare(&journal, &model, &mut dice);
            change(&journal, &mut model, &mut dice);
        }
    }
    compare(&on_disk(&folder.0), &model, &mut dice);
}

#[test]
fn a_record_that_is_there_stays_when_it_is_inserted_again() {
    let journal = in_memory();
    let first = record(1, 1);
    journal.commit(insert([first.clone()])).unwrap();
    let mut dice = Dice(1);
    let second = moved(&first, &mut dice);
    journal.commit(replace(&first, &second)).unwrap();
    journal.commit(insert([first.clone()])).unwrap();
    assert_eq!(journal.get(id(1)), Ok(Some(second.clone())));
    assert_eq!(journal.commit(replace(&first, &second)), Err(JournalError::Stale));
}

#[test]
fn a_record_that_contradicts_itself_is_never_written() {
    let journal = in_memory();
    let mut broken = record(1, 2);
    broken.items.pop();
    assert!(matches!(journal.commit(insert([record(2, 1), broken])), Err(JournalError::Broken(_))));
    assert_eq!(journal.contains(id(2)), Ok(false), "nothing of the commit happens");
}

#[test]
fn the_latest_capture_under_a_key_is_the_one_the_sender_heard_of() {
    let journal = in_memory();
    let mut later = record(9, 1);
    later.acceptance.idempotency = record(3, 1).acceptance.idempotency;
    journal.commit(insert([later.clone()])).unwrap();
    journal.commit(insert([record(3, 1)])).unwrap();
    assert_eq!(journal.by_idempotency(&digest(3)), Ok(Some(later)));
}

#[test]
fn studies_are_kept_with_the_records_they_number() {
    let folder = Folder::new();
    let journal = on_disk(&folder.0);
    let commit =
        Commit { insert: vec![record(1, 1)], replace: vec![], studies: vec![(digest(1), study_row(3))], ..Commit::default() };
    journal.commit(commit).unwrap();
    drop(journal);
    let journal = on_disk(&folder.0);
    assert_eq!(journal.study(&digest(1)), Ok(Some(study_row(3))));
    assert_eq!(journal.study(&digest(2)), Ok(None));
    // A commit that fails leaves the numbers alone.
    let failing = Commit { studies: vec![(digest(1), study_row(4))], ..replace(&record(5, 1), &record(5, 1)) };
    assert_eq!(journal.commit(failing), Err(JournalError::Stale));
    assert_eq!(journal.study(&digest(1)), Ok(Some(study_row(3))));
}

#[test]
fn sixteen_threads_commit_and_nobody_loses_a_change() {
    let folder = Folder::new();
    let journal = on_disk(&folder.0);
    journal.commit(insert([record(500, 1)])).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16u64 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..10 {
                    journal.commit(insert([record(thread * 10 + n, 1)])).unwrap();
                    // All count on the same record; who was too slow reads again.
                    loop {
                        let old = journal.get(id(500)).unwrap().unwrap();
                        let mut new = old.clone();
                        new.items[0].schedule.attempts += 1;
                        match journal.commit(replace(&old, &new)) {
                            Ok(()) => break,
                            Err(JournalError::Stale) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    drop(journal);
    let journal = on_disk(&folder.0);
    assert_eq!(journal.get(id(500)).unwrap().unwrap().items[0].schedule.attempts, 160);
    assert_eq!(journal.list(&Filter::default(), None, 1000).unwrap().records.len(), 161);
    assert_eq!(journal.counts()[0], (Stage::Accepted, 161));
}

#[test]
fn nothing_of_a_patient_stands_in_the_index_in_clear() {
    let folder = Folder::new();
    let journal = on_disk(&folder.0);
    journal.commit(insert((0..50).map(|n| record(n, 2)))).unwrap();
    drop(journal);
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(path).unwrap();
            assert!(!bytes.windows(6).any(|w| w == b"CANARY"));
            assert!(!bytes.windows(5).any(|w| w == b"nurse"));
        }
    }
}

/// Not a claim by itself: the process that the next test kills.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Ok(path) = std::env::var("SHUTTERBRIDGE_TEST_CHILD") else { return };
    let journal = on_disk(Path::new(&path));
    for n in 0.. {
        journal.commit(insert([record(n, 1)])).unwrap();
        println!("committed {n}");
    }
}

#[test]
fn what_a_killed_process_committed_is_there() {
    let folder = Folder::new();
    for round in 1..=3u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_commits_until_it_is_killed", "--nocapture"])
            .env("SHUTTERBRIDGE_TEST_CHILD", &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut committed = lines.filter_map(|line| line.strip_prefix("committed ").and_then(|n| n.parse::<u64>().ok()));
        let last = committed.find(|n| *n == round * 150).unwrap();
        child.kill().unwrap();
        // What it said before it died counts as well.
        let last = committed.last().unwrap_or(last);
        child.wait().unwrap();
        let journal = on_disk(&folder.0);
        for n in 0..=last {
            assert_eq!(journal.contains(id(n)), Ok(true), "{n} of {last}");
        }
    }
}

#[test]
fn a_question_for_commitment_is_found_again_until_it_is_old() {
    let store = Arc::new(MemoryStore::new());
    let journal = Journal::open(store.clone(), &kek()).unwrap();
    let uid = |n: u64| Uid::from_uuid_bytes([n as u8, (n >> 8) as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    let transaction = |n: u64| Transaction {
        archive: "pacs".to_owned(),
        asked_at: at(n.cast_signed()),
        items: vec![Covered {
            capture: id(n),
            index: 1,
            sop: SopRef { sop_class: uid(1), sop_instance: uid(n) },
            history_lines: 0,
        }],
    };
    let transactions: Vec<_> = (0..700).map(|n| (uid(n), transaction(n))).collect();
    journal.commit(Commit { transactions, ..Commit::default() }).unwrap();
    drop(journal);
    let journal = Journal::open(store, &kek()).unwrap();
    assert_eq!(journal.transaction(&uid(650)), Ok(Some(transaction(650))));
    assert_eq!(journal.transaction(&uid(701)), Ok(None));
    assert_eq!(journal.drop_transactions(at(600)), Ok(600));
    assert_eq!((journal.transaction(&uid(599)), journal.transaction(&uid(600))), (Ok(None), Ok(Some(transaction(600)))));
    assert_eq!(journal.drop_transactions(at(600)), Ok(0));
}
