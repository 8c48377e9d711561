//! Pictures, bindings and referees that the DICOM tests share.
#![allow(dead_code)] // each test binary uses a part

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use shutterbridge::capture::binding::{SeriesBinding, SiteNames, StudyBinding};
use shutterbridge::capture::media::{Coding, Details, Orientation, PictureFormat, TakenAt};
use shutterbridge::capture::record::{Acceptance, ItemFacts, Manifest};
use shutterbridge::capture::{
    Binding, CaptureId, Claim, Essence, Facts, Identifier, MediaKind, Operator, Order, Patient, Phi, Uid, Visit, claim, order,
};
use shutterbridge::dicom::{self, Instance, LossyHistory, Picture, Pixels};

/// The lines of `shutterbridge wrap` for files, whose objects go to `folder/out`. The members of `claim`
/// join a claim of a patient; `set` says more of the command.
pub fn wrap(folder: &Path, files: &[&Path], claim: &Value, set: impl FnOnce(&mut Command)) -> Vec<Value> {
    let mut whole = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm",
        "resolved": {"id": "4711", "issuer": "HOSP", "issuer_universal_id": "", "issuer_universal_id_type": "", "id_type": "MR",
            "other_ids": [], "active": true, "deceased": false, "name": "Jo Doe", "name_dicom": "Doe^Jo",
            "birth_date": "1970-03-01", "sex": "M", "visits": [], "orders": []}});
    whole.as_object_mut().unwrap().extend(claim.as_object().unwrap().clone());
    std::fs::write(folder.join("claim.json"), whole.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shutterbridge"));
    command.arg("wrap").args(files).args(["--claim", "claim.json", "--out"]).arg(folder.join("out")).current_dir(folder);
    set(&mut command);
    let output = command.output().unwrap();
    let lines: Result<Vec<Value>, _> =
        output.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(serde_json::from_slice).collect();
    let lines = lines.unwrap_or_else(|why| panic!("{why}: {output:?}"));
    assert_eq!(lines.len(), files.len(), "{output:?}");
    lines
}

/// What a claim says of where a film was taken.
pub fn hand() -> Value {
    json!({"body_site": {"code": "85562004", "scheme": "SCT", "meaning": "Hand"}, "laterality": "L"})
}

/// A directory that goes with its owner.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("shutterbridge-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Files in it, hidden ones too.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a program; `None`, and a word about it, where it is not installed.
pub fn run(program: &str, args: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(args).output().ok();
    if output.is_none() {
        eprintln!("skipped: {program} is not installed");
    }
    output
}

/// What dciodvfy finds; its exit status does not tell.
pub fn validator_errors(file: &Path) -> Vec<String> {
    let Some(output) = run("dciodvfy", &[file.to_str().unwrap()]) else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|l| l.starts_with("Error")).map(str::to_owned).collect()
}

/// A noisy picture, so that it does not shrink to nothing.
pub fn noise(width: u32, height: u32, samples: u32) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    (0..width * height * samples)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

pub fn jpeg(width: u32, height: u32, samples: u8) -> Vec<u8> {
    let kind = if samples == 1 { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
    let mut out = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 85)
        .encode(&noise(width, height, u32::from(samples)), width, height, kind)
        .unwrap();
    // Without the application data that the encoder wrote: as the scrub leaves it.
    let mut bare = vec![0xFF, 0xD8];
    let mut at = 2;
    while out[at + 1] != 0xDA {
        let length = 2 + usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
        if !(0xE0..=0xEF).contains(&out[at + 1]) {
            bare.extend_from_slice(&out[at..at + length]);
        }
        at += length;
    }
    bare.extend_from_slice(&out[at..]);
    bare
}

pub fn jpeg_picture(payload: &[u8], width: u32, height: u32, samples: u8) -> Picture {
    Picture {
        width,
        height,
        samples,
        pixels: Pixels::Jpeg { length: payload.len() as u64 },
        history: LossyHistory::Original,
        icc_profile: None,
    }
}

pub fn native_picture(width: u32, height: u32, samples: u8) -> Picture {
    Picture {
        width,
        height,
        samples,
        pixels: Pixels::Native { length: u64::from(width * height * u32::from(samples)) },
        history: LossyHistory::Lossless,
        icc_profile: None,
    }
}

/// An RGB display profile of so many bytes, as far as its header goes.
pub fn display_profile(length: usize) -> Vec<u8> {
    let mut p = vec![0x11; length];
    p[..4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    p[12..24].copy_from_slice(b"mntrRGB XYZ ");
    p[36..40].copy_from_slice(b"acsp");
    p
}

/// The contract's claim.
pub fn full_claim() -> Claim {
    claim_of(&json!({
        "patient": {"id": "4711", "issuer": "HOSP"}, "visit": {"id": "V100"}, "order": {"accession": "A123"},
        "department": "derm", "body_site": {"code": "85562004", "scheme": "SCT", "meaning": "Hand"}, "laterality": "L",
        "description": "Dorsal hand, day 3", "taken_at": "2026-03-01T10:15:30.123+01:00",
        "device": {"manufacturer": "Apple", "model": "iPhone 15", "software": "Capture 1.4"}, "view": "overview"
    }))
}

/// A claim that says next to nothing.
pub fn bare_claim() -> Claim {
    claim_of(&json!({"patient": {"id": "4711"}, "department": "derm"}))
}

pub fn claim_of(value: &Value) -> Claim {
    Claim::from_json(value).unwrap()
}

pub fn manifest(claim: Claim, number: u8) -> Manifest {
    Manifest {
        version: Manifest::VERSION,
        acceptance: Acceptance {
            id: CaptureId::new(1_772_000_000_123, [number; 10]),
            accepted_at: "2026-03-01T09:20:00Z".parse().unwrap(),
            operator: Operator { issuer: "https://idp.example".into(), subject: "u-17".into(), name: "Rivera, Ana".into() },
            idempotency: None,
            claim,
            items: 1,
        },
        index: 0,
        item: ItemFacts {
            media: MediaKind::Jpeg,
            size_bytes: 1,
            sha256: [0; 32],
            sealed_bytes: 1,
            sealed_sha256: None,
            sop_instance_uid: Uid::from_uuid_bytes([number; 16]),
            location_found: false,
            removed: Vec::new(),
            essence: Essence::Unchanged,
            verifier: 1,
            sealed_as_received: None,
            facts: Facts {
                format: PictureFormat { width: 1, height: 1, coding: Coding::JpegBaselineYcbcr },
                orientation: Orientation::UPRIGHT,
                taken_at: None,
                make: None,
                model: None,
                software: None,
                details: Details::default(),
                icc_profile: None,
            },
        },
    }
}

pub fn identifier(id: &str, issuer: &str, universal: &str, id_type: &str) -> Identifier {
    Identifier {
        id: Phi::from(id),
        issuer: issuer.into(),
        issuer_universal_id: universal.into(),
        issuer_universal_id_type: if universal.is_empty() { String::new() } else { "ISO".into() },
        id_type: id_type.into(),
    }
}

pub fn full_binding() -> Binding {
    let mut binding = bare_binding();
    binding.patient.identifier = identifier("4711", "HOSP", "1.2.3.4", "MR");
    binding.patient.other_ids = vec![identifier("8-15", "CITY", "", "PI"), identifier("9", "", "1.2.9", "")];
    binding.patient.name_dicom = Phi::from("Müller^Jörg^Karl^Dr^Jr");
    binding.patient.birth_date = Some("1970-03-01".parse().unwrap());
    binding.patient.sex = "M".into();
    binding.visit = Some(Visit {
        id: Phi::from("V100"),
        issuer: "VN".into(),
        issuer_universal_id: "1.2.9".into(),
        issuer_universal_id_type: "ISO".into(),
        department: "Dermatology".into(),
        attending: Phi::from("Doc^Dora"),
        referring: Phi::from("Ref^Rita"),
        ..Visit::default()
    });
    binding.order = Some(Order {
        accession: Phi::from("A123"),
        accession_issuer: "RIS".into(),
        placer: Phi::from("P1"),
        filler: Phi::from("F1"),
        requested_procedure_id: Phi::from("RP1"),
        scheduled_step_id: Phi::from("SPS1"),
        study_instance_uid: "1.2.826.0.1.3680043.10.99.1".into(),
        procedure: order::Code { code: "DERMPH".into(), scheme: "L".into(), meaning: "Dermatology photo".into() },
        requesting_physician: Phi::from("Req^Rob"),
        ..Order::default()
    });
    binding.study.instance_uid = Uid::parse("1.2.826.0.1.3680043.10.99.1").unwrap();
    binding.site.department_type =
        Some(order::Code { code: "309923008".into(), scheme: "SCT".into(), meaning: "Dermatology".into() });
    binding.study.procedure = binding.order.as_ref().map(|o| o.procedure.clone()).unwrap_or_default();
    binding.study.description = binding.study.procedure.meaning.clone();
    binding.study.referring = Phi::from("Ref^Rita");
    binding.study.attending = Phi::from("Doc^Dora");
    binding.study.requesting_service = "Dermatology".into();
    binding
}

/// A patient of whom only the number is known, and nothing else.
pub fn bare_binding() -> Binding {
    Binding {
        version: Binding::VERSION,
        patient: Patient { identifier: identifier("4711", "", "", ""), ..Patient::default() },
        visit: None,
        order: None,
        study: StudyBinding {
            instance_uid: Uid::from_uuid_bytes([1; 16]),
            started: "2026-03-01T10:15:30".parse().unwrap(),
            id: "S1".into(),
            procedure: order::Code { code: "197157006".into(), scheme: "SCT".into(), meaning: "Photography of patient".into() },
            description: "Photography, Dermatology".into(),
            referring: Phi::default(),
            attending: Phi::default(),
            requesting_service: String::new(),
        },
        series: vec![SeriesBinding {
            instance_uid: Uid::from_uuid_bytes([2; 16]),
            number: 1,
            started: "2026-03-01T10:15:30".parse().unwrap(),
        }],
        item_series: vec![0],
        instance_numbers: vec![1],
        site: SiteNames {
            institution: "Demo General Hospital".into(),
            department_id: "derm".into(),
            department_name: "Dermatology".into(),
            department_type: None,
            timezone: "Europe/Berlin".into(),
        },
        assigned: None,
        told_for: None,
        in_hevc: Some(vec![]),
        told: None,
        notes: vec![],
        archives: vec![],
        bound_at: "2026-03-01T09:20:01Z".parse::<Timestamp>().unwrap(),
        gateway_version: "0.1.0".into(),
    }
}

pub fn taken(text: &str) -> Option<TakenAt> {
    claim::parse_taken_at(text)
}

/// The whole Part 10 file.
pub fn file_bytes(instance: &Instance, payload: &[u8]) -> Vec<u8> {
    let mut out = instance.part10_prefix().unwrap();
    let mut payload = Cursor::new(payload);
    instance.stream(instance.transfer_syntax(), &mut payload).unwrap().read_to_end(&mut out).unwrap();
    out
}

/// A photograph with everything that can be known of it.
pub fn photograph(number: u8, payload: &[u8], width: u32, height: u32) -> Instance {
    dicom::build(&full_binding(), &manifest(full_claim(), number), &jpeg_picture(payload, width, height, 3)).unwrap()
}
