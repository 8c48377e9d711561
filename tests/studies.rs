//! Which study and series a capture becomes part of: the same whatever comes when, numbers taken
//! once, and nothing of a study that changes under it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;
use shutterbridge::capture::order::Code;
use shutterbridge::capture::record::{Acceptance, ItemFacts};
use shutterbridge::capture::{
    Binding, CaptureId, Claim, Equipment, Essence, Facts, FailureCode, Identifier, MediaClass, MediaKind, Operator, Order,
    Patient, Record, TakenAt, Uid, Visit, claim::parse_taken_at,
};
use shutterbridge::journal::StudyRow;
use shutterbridge::pipeline::bind::{self, Department, Place};
use shutterbridge::pipeline::identify::Match;

fn place() -> Place {
    let department = |id: &str, procedure: Option<&str>| Department {
        id: id.to_owned(),
        name: id.to_uppercase(),
        kind: None,
        procedure: procedure.map(|code| Code { code: code.to_owned(), scheme: "L".to_owned(), meaning: "Wound".to_owned() }),
    };
    Place {
        institution: "Test Hospital".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        departments: vec![department("derm", None), department("ed", Some("W1"))],
        uid_key: [7; 32],
        gateway_version: "0".to_owned(),
    }
}

fn item(media: MediaKind, model: Option<&str>, taken_at: Option<TakenAt>) -> ItemFacts {
    let model = model.map(str::to_owned);
    ItemFacts {
        media,
        size_bytes: 1,
        sha256: [0; 32],
        sealed_bytes: 1,
        sealed_sha256: None,
        sop_instance_uid: Uid::from_uuid_bytes([1; 16]),
        location_found: false,
        removed: Vec::new(),
        essence: Essence::Unchanged,
        verifier: 0,
        sealed_as_received: None,
        facts: Facts { model, taken_at, ..Facts::unread() },
    }
}

fn record(number: u8, department: &str, items: Vec<ItemFacts>) -> Record {
    let claim = json!({"patient": {"id": "4711"}, "department": department});
    let acceptance = Acceptance {
        id: CaptureId::new(1_772_000_000_000 + u64::from(number), [number; 10]),
        accepted_at: "2026-03-10T12:00:00Z".parse().unwrap(),
        operator: Operator { issuer: String::new(), subject: String::new(), name: String::new() },
        idempotency: None,
        claim: Claim::from_json(&claim).unwrap(),
        items: u16::try_from(items.len()).unwrap(),
    };
    Record::accepted(acceptance, items)
}

fn photo(day: &str) -> ItemFacts {
    item(MediaKind::Jpeg, Some("Phone"), parse_taken_at(&format!("{day}T10:15:30")))
}

fn number(id: &str) -> Identifier {
    Identifier { id: id.into(), issuer: "HOSP".to_owned(), ..Identifier::default() }
}

fn found(id: &str, visit: Option<&str>, order: Option<Order>) -> Match {
    let visit = visit.map(|id| Visit { id: id.into(), referring: "Ref^Rita".into(), ..Visit::default() });
    Match {
        patient: Patient { identifier: number(id), ..Patient::default() },
        prior_ids: Vec::new(),
        visit,
        order,
        notes: Vec::new(),
    }
}

/// A gateway's memory of its studies.
#[derive(Default)]
struct Rows(BTreeMap<[u8; 32], StudyRow>);

impl Rows {
    fn bind(&mut self, found: &Match, record: &Record) -> Result<Binding, FailureCode> {
        let (key, before) = bind::study_keys(found, record, &place()).map_err(|(code, _)| code)?;
        let known = [&key].into_iter().chain(&before).find(|k| self.0.contains_key(&k.row)).unwrap_or(&key);
        let row = self.0.get(&known.row).cloned();
        let now = Timestamp::from_second(1_772_000_000).unwrap();
        let (binding, row) = bind::bind(found.clone(), record, known, row, &place(), now).map_err(|(code, _)| code)?;
        self.0.insert(known.row, row);
        Ok(binding)
    }
}

#[test]
fn the_study_is_the_orders_own_else_that_of_the_same_order_else_of_the_encounter_else_of_the_session() {
    let uid = |uid: &str| Some(Order { study_instance_uid: uid.to_owned(), accession: "A1".into(), ..Order::default() });
    let accession = |number: &str| Some(Order { accession: number.into(), ..Order::default() });
    let day = "2026-03-01";
    let table = [
        // (visit, order, department, day) of two captures of one patient, and whether they are one study
        ("the order's UID", (Some("V1"), uid("1.2.3"), "derm", day), (Some("V2"), uid("1.2.3"), "ed", "2026-03-09"), true),
        ("two UIDs", (Some("V1"), uid("1.2.3"), "derm", day), (Some("V1"), uid("1.2.4"), "derm", day), false),
        ("one accession", (Some("V1"), accession("A7"), "derm", day), (None, accession("A7"), "ed", "2026-03-09"), true),
        ("two accessions", (Some("V1"), accession("A7"), "derm", day), (Some("V1"), accession("A8"), "derm", day), false),
        ("an order and none", (Some("V1"), accession("A7"), "derm", day), (Some("V1"), None, "derm", day), false),
        ("one encounter", (Some("V1"), None, "derm", day), (Some("V1"), None, "derm", day), true),
        ("another visit", (Some("V1"), None, "derm", day), (Some("V2"), None, "derm", day), false),
        ("another department", (Some("V1"), None, "derm", day), (Some("V1"), None, "ed", day), false),
        ("another day", (Some("V1"), None, "derm", day), (Some("V1"), None, "derm", "2026-03-02"), false),
        ("no visit", (None, None, "derm", day), (None, None, "derm", day), false),
    ];
    for (what, one, other, is_same) in table {
        let mut rows = Rows::default();
        let [first, second] = [(1, one), (2, other)].map(|(capture, (visit, order, department, day))| {
            rows.bind(&found("4711", visit, order), &record(capture, department, vec![photo(day)])).unwrap()
        });
        assert_eq!(first.study == second.study, is_same, "{what}");
        assert_eq!(first.study.instance_uid == second.study.instance_uid, is_same, "{what}");
        assert_ne!(first.series[0].instance_uid, second.series[0].instance_uid, "{what}: two sessions in one series");
        assert_eq!(first.series[0].number == second.series[0].number, !is_same, "{what}");
    }
    let verbatim = Rows::default().bind(&found("4711", None, uid("1.2.3")), &record(1, "derm", vec![photo(day)])).unwrap();
    assert_eq!(verbatim.study.instance_uid.as_str(), "1.2.3");
    let wrong = Rows::default().bind(&found("4711", None, uid("1.02.3")), &record(1, "derm", vec![photo(day)]));
    assert_eq!(wrong.err(), Some(FailureCode::WrapFailed));
}

#[test]
fn what_is_said_of_a_study_first_holds_for_all_of_it() {
    let mut rows = Rows::default();
    let order = |meaning: &str| Order {
        accession: "A1".into(),
        procedure: Code { code: "P".to_owned(), scheme: "L".to_owned(), meaning: meaning.to_owned() },
        ..Order::default()
    };
    let first = found("4711", Some("V1"), Some(order("Ulcer")));
    let mut second = found("4711", Some("V1"), Some(order("Ulcer, corrected")));
    second.visit.as_mut().unwrap().referring = "Other^Olga".into();
    let night = item(MediaKind::Jpeg, None, parse_taken_at("2026-03-01T23:59:00"));
    let first = rows.bind(&first, &record(1, "derm", vec![night])).unwrap();
    let second = rows.bind(&second, &record(2, "derm", vec![photo("2026-03-02")])).unwrap();
    assert_eq!(first.study, second.study);
    assert_eq!((second.study.description.as_str(), second.study.referring.expose()), ("Ulcer", "Ref^Rita"));
    assert_eq!(second.study.started.to_string(), "2026-03-01T23:59:00");
    assert_eq!(second.series[0].started.to_string(), "2026-03-02T10:15:30");
}

#[test]
fn a_department_has_its_own_name_for_what_it_does_where_nothing_was_ordered() {
    let of = |department| {
        let bound = Rows::default().bind(&found("4711", Some("V1"), None), &record(1, department, vec![photo("2026-03-01")]));
        let study = bound.unwrap().study;
        (study.procedure.code, study.procedure.scheme, study.description)
    };
    let words = |code: &str, scheme: &str, text: &str| (code.to_owned(), scheme.to_owned(), text.to_owned());
    assert_eq!(of("derm"), words("197157006", "SCT", "Photography, DERM"));
    assert_eq!(of("ed"), words("W1", "L", "Wound"));
    assert_eq!(of("gone"), words("197157006", "SCT", "Photography, gone"));
}

#[test]
fn a_study_goes_on_when_the_numbers_of_its_patient_were_merged_and_never_for_anybody_else() {
    for uid in ["", "1.2.3"] {
        let order = Order { accession: "A1".into(), study_instance_uid: uid.to_owned(), ..Order::default() };
        let mut rows = Rows::default();
        let day = || vec![photo("2026-03-01")];
        let begun = rows.bind(&found("815", None, Some(order.clone())), &record(1, "derm", day())).unwrap();
        let survivor = Match { prior_ids: vec![number("815")], ..found("4711", None, Some(order.clone())) };
        for capture in [2, 3] {
            let next = rows.bind(&survivor, &record(capture, "derm", day())).unwrap();
            assert_eq!(next.study, begun.study, "the order has two studies");
            assert_eq!(next.series[0].number, u32::from(capture));
        }
        let stranger = rows.bind(&found("9", None, Some(order)), &record(4, "derm", day()));
        match uid {
            "" => assert_ne!(stranger.unwrap().study.instance_uid, begun.study.instance_uid),
            _ => assert_eq!(stranger.err(), Some(FailureCode::IdentityDisagrees)),
        }
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn capture(&mut self, number: u8) -> (Match, Record) {
        let media = [MediaKind::Jpeg, MediaKind::Heic, MediaKind::Mp4, MediaKind::Pdf];
        let models = [Some("Phone"), Some("Camera"), None];
        let days = ["2026-03-01", "2026-03-02"];
        let items = (0..=self.below(5)).map(|_| {
            let taken = format!("{}T0{}:00:00", self.of(&days), self.below(10));
            item(self.of(&media), self.of(&models), parse_taken_at(&taken).filter(|_| self.below(3) > 0))
        });
        let items = items.collect();
        let order = |accession: &str, uid: &str| Order {
            accession: accession.into(),
            study_instance_uid: uid.to_owned(),
            ..Order::default()
        };
        let orders = [None, None, Some(order("A1", "")), Some(order("A2", "1.2.3"))];
        let found = found("4711", self.of(&[None, Some("V1"), Some("V2")]), self.of(&orders));
        (found, record(number, self.of(&["derm", "ed"]), items))
    }
}

/// What has to be true of everything that was ever bound.
fn judge(captures: &[(Record, Binding)], seed: u64) {
    let mut studies = BTreeMap::new();
    let (mut series, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for (record, binding) in captures {
        let study = binding.study.instance_uid.as_str();
        assert_eq!(studies.entry(study).or_insert(&binding.study), &&binding.study, "seed {seed}");
        let mut instances = BTreeSet::new();
        for (index, item) in (0..).zip(&record.items) {
            let own = binding.series_of(index).expect("every item has a series");
            let uid = own.instance_uid.as_str();
            let is = (record.id(), MediaClass::of(item.facts.media), Equipment::of(None, &item.facts.facts), own.number);
            assert_eq!(series.entry(uid).or_insert_with(|| is.clone()), &is, "seed {seed}: two kinds in one series");
            assert_eq!(numbers.entry((study, own.number)).or_insert(uid), &uid, "seed {seed}: a number was taken twice");
            assert!(instances.insert((uid, binding.instance_numbers[usize::from(index)])), "seed {seed}");
        }
        assert!(binding.series_of(u16::try_from(record.items.len()).unwrap()).is_none());
        let used: BTreeSet<u16> = binding.item_series.iter().copied().collect();
        assert_eq!(used.len(), binding.series.len(), "seed {seed}: a series of nothing");
    }
}

#[test]
fn whatever_comes_in_whatever_order_series_are_of_one_kind_and_numbers_are_taken_once() {
    for seed in 1..=300 {
        let mut random = Random(seed * 0x9E37_79B9);
        let (mut rows, mut captures) = (Rows::default(), Vec::new());
        for number in 1..=12 {
            let (found, record) = random.capture(number);
            let binding = rows.bind(&found, &record).unwrap();
            captures.push((record, binding));
        }
        judge(&captures, seed);
    }
}

#[test]
fn a_lost_index_makes_the_same_studies_and_takes_no_number_again() {
    for seed in 1..=300 {
        let mut random = Random(seed * 0x9E37_79B9);
        let (mut rows, mut captures) = (Rows::default(), Vec::new());
        for number in 1..=6 {
            let (found, record) = random.capture(number);
            let binding = rows.bind(&found, &record).unwrap();
            captures.push((record, binding));
        }
        let mut again = Rows::default();
        let mut left: Vec<_> = captures.iter().collect();
        while !left.is_empty() {
            let (record, binding) = left.swap_remove(random.below(left.len()));
            let key = bind::bound_study(binding, record, &place()).unwrap();
            let row = bind::restore(binding, again.0.remove(&key), &place());
            again.0.insert(key, row);
        }
        let known = |rows: &Rows| -> Vec<_> {
            rows.0.iter().map(|(key, row)| (*key, row.study.clone(), row.patient, row.next_series_number)).collect()
        };
        assert_eq!(known(&again), known(&rows), "seed {seed}");
        for number in 7..=12 {
            let (found, record) = random.capture(number);
            let binding = again.bind(&found, &record).unwrap();
            captures.push((record, binding));
        }
        judge(&captures, seed);
    }
}
