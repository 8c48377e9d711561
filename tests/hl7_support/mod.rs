//! A hospital in a test: messages, and an index they go into.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use shutterbridge::capture::claim::OrderKey;
use shutterbridge::capture::{Patient, Phi};
use shutterbridge::hl7::rules::Authority;
use shutterbridge::hl7::{self, Read, Rules, batch};
use shutterbridge::lookup::local::{Local, Options};
use shutterbridge::lookup::{Answer, Asked, Feed, Lookup, Touched};
use shutterbridge::store::Store;
use shutterbridge::store::memory::MemoryStore;

/// The corpus, where it lies beside the project.
pub fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("SHUTTERBRIDGE_SHARED").map_or(beside, PathBuf::from);
    let corpus = shared.join("corpus/hl7");
    corpus.is_dir().then_some(corpus)
}

pub fn rules() -> Rules {
    Rules {
        assigning_authority: Authority::named("HOSP"),
        zone: TimeZone::get("Europe/Berlin").expect("bundled"),
        sources: Vec::new(),
    }
}

pub struct Gateway {
    pub rules: Rules,
    pub local: Local,
    pub received_at: Timestamp,
}

impl Gateway {
    pub fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new()))
    }

    pub fn on(store: Arc<dyn Store>) -> Self {
        let options = Options { assigning_authority: Authority::named("HOSP") };
        Self {
            rules: rules(),
            local: Local::new(store, [7; 32], options),
            received_at: "2026-04-20T12:00:00Z".parse().expect("a time"),
        }
    }

    pub fn read(&self, message: &[u8]) -> Read {
        hl7::read(message, &self.rules, self.received_at).expect("a good message")
    }

    /// Applies a message that must be accepted.
    pub fn tell(&self, message: impl AsRef<[u8]>) -> Touched {
        self.local.apply(&self.read(message.as_ref()).update).expect("in memory")
    }

    /// The acknowledgements of one frame.
    pub fn answers(&self, frame: &[u8]) -> Vec<Vec<u8>> {
        let answer = |message: &[u8]| match hl7::read(message, &self.rules, self.received_at) {
            Ok(read) => {
                self.local.apply(&read.update).expect("in memory");
                read.accepted()
            }
            Err(nack) => nack.answer(),
        };
        batch::split(frame).into_iter().map(answer).collect()
    }

    pub fn find(&self, asked: &Asked) -> Answer {
        self.local.find(asked).expect("in memory")
    }

    /// Status in a word, and the first id of each patient.
    pub fn who(&self, asked: &Asked) -> String {
        match self.find(asked) {
            Answer::Found(patient) => patient.identifier.id.expose().to_owned(),
            Answer::None => "none".into(),
            Answer::Multiple(_) => "multiple".into(),
        }
    }

    pub fn patient(&self, asked: &Asked) -> Patient {
        match self.find(asked) {
            Answer::Found(patient) => *patient,
            other => panic!("one patient expected, got {other:?}"),
        }
    }
}

pub fn by_id(id: &str) -> Asked {
    Asked::Patient { id: Phi::from(id), issuer: None }
}

pub fn by_id_of(id: &str, issuer: &str) -> Asked {
    Asked::Patient { id: Phi::from(id), issuer: Some(issuer.into()) }
}

pub fn by_visit(id: &str) -> Asked {
    Asked::Visit { id: Phi::from(id) }
}

pub fn by_accession(id: &str) -> Asked {
    Asked::Order(OrderKey::Accession(Phi::from(id)))
}

pub fn by_placer(id: &str) -> Asked {
    Asked::Order(OrderKey::Placer(Phi::from(id)))
}

pub fn by_barcode(code: &str) -> Asked {
    Asked::Barcode(Phi::from(code))
}

/// One ADT message; every part can be set.
#[derive(Clone)]
pub struct Adt {
    pub event: &'static str,
    pub time: &'static str,
    pub id: String,
    pub name: String,
    pub born: String,
    pub sex: String,
    pub mrg: String,
    pub visit: String,
}

impl Default for Adt {
    fn default() -> Self {
        Self {
            event: "A04",
            time: "20260301080000",
            id: "4711^^^HOSP&1.2.3.4&ISO^MR".into(),
            name: "Müller^Jörg^Karl^Jr^Dr^^L".into(),
            born: "19700301".into(),
            sex: "M".into(),
            mrg: String::new(),
            visit: "V100^^^VN&1.2.9&ISO".into(),
        }
    }
}

impl Adt {
    pub fn text(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let control_id = NUMBER.fetch_add(1, Ordering::Relaxed);
        let Self { event, time, id, name, born, sex, mrg, visit } = self;
        let mrg = if mrg.is_empty() { String::new() } else { format!("MRG|{mrg}\r") };
        format!(
            "MSH|^~\\&|HIS|HOSP|GW|IMG|{time}||ADT^{event}^ADT_A01|C{control_id}|P|2.5.1||||||UNICODE UTF-8\r\
             EVN|{event}|{time}\rPID|1||{id}||{name}||{born}|{sex}\r{mrg}\
             PV1|1|O|DERM^1^2||||1234^Doc^Dora|5678^Ref^Rita|||||||||||{visit}\r"
        )
    }
}

/// An ADT for a bare id of authority HOSP.
pub fn adt(event: &'static str, time: &'static str, id: &str) -> Adt {
    Adt { event, time, id: format!("{id}^^^HOSP^MR"), visit: String::new(), ..Adt::default() }
}

pub fn merge(event: &'static str, time: &'static str, survivor: &str, prior: &str) -> String {
    Adt { mrg: format!("{prior}^^^HOSP^MR"), ..adt(event, time, survivor) }.text()
}

/// One order message. `orc`: `NW|P1|F1||SC`; `obr18`: accession; `zds`: study UID or empty.
pub fn orm(time: &str, id: &str, orc: &str, obr18: &str, zds: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let control_id = NUMBER.fetch_add(1, Ordering::Relaxed);
    let zds = if zds.is_empty() { String::new() } else { format!("ZDS|{zds}^^Application^DICOM\r") };
    format!(
        "MSH|^~\\&|RIS|HOSP|GW|IMG|{time}||ORM^O01^ORM_O01|O{control_id}|P|2.3.1||||||UNICODE UTF-8\r\
         PID|1||{id}^^^HOSP^MR||Müller^Jörg||19700301|M\rPV1|1|O|DERM\rORC|{orc}\r\
         OBR|1|||DERMPH^Dermatology photo^L||||||||||||1234^Doc^Dora||{obr18}|RP1|SPS1||||XC\r{zds}"
    )
}
