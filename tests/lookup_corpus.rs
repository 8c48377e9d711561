//! The corpus of HL7 cases: every expectation on the answers and the acknowledgements.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod hl7_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hl7_support::{Gateway, corpus};
use serde_json::{Value, json};
use shutterbridge::capture::claim::OrderKey;
use shutterbridge::capture::{Patient, Phi};
use shutterbridge::lookup::{Answer, Asked};

/// The codes of the acknowledgements.
fn send(gateway: &Gateway, frame: &[u8]) -> Vec<String> {
    let code = |ack: Vec<u8>| {
        let separator = char::from(*ack.get(3).expect("an MSH"));
        let ack = String::from_utf8_lossy(&ack).into_owned();
        let msa = ack.split('\r').find(|s| s.starts_with("MSA")).expect("one MSA").to_owned();
        msa.split(separator).nth(1).unwrap_or_default().to_owned()
    };
    gateway.answers(frame).into_iter().map(code).collect()
}

fn ask(gateway: &Gateway, lookup: &Value) -> (String, Value) {
    let value = Phi::from(lookup["value"].as_str().expect("a value"));
    let asked = match lookup["by"].as_str().expect("a way") {
        "mrn" => Asked::Patient { id: value, issuer: lookup["issuer"].as_str().map(str::to_owned) },
        "visit" => Asked::Visit { id: value },
        "accession" => Asked::Order(OrderKey::Accession(value)),
        "placer" => Asked::Order(OrderKey::Placer(value)),
        "filler" => Asked::Order(OrderKey::Filler(value)),
        "study_uid" => Asked::Order(OrderKey::StudyInstanceUid(value)),
        _ => Asked::Barcode(value),
    };
    match gateway.find(&asked) {
        Answer::Found(patient) => ("found".into(), canonical(&patient)),
        Answer::None => ("not_found".into(), Value::Null),
        Answer::Multiple(_) => ("multiple".into(), Value::Null),
    }
}

/// The keys the corpus uses.
fn canonical(patient: &Patient) -> Value {
    let groups: Vec<&str> = patient.name_dicom.expose().split('=').chain(["", ""]).collect();
    let all = serde_json::to_value(patient).expect("JSON");
    let (visit, order) = (all["visits"][0].clone(), all["orders"][0].clone());
    let mut answer = json!({
        "patient.id": all["id"], "patient.issuer": all["issuer"], "patient.name": groups[0],
        "patient.name_ideographic": groups[1], "patient.name_phonetic": groups[2],
        "patient.birth_date": all["birth_date"].as_str().unwrap_or_default().replace('-', ""),
        "patient.sex": all["sex"], "patient.deceased": all["deceased"], "patient.active": all["active"],
        "order.study_uid": order["study_instance_uid"], "order.sps_id": order["scheduled_step_id"],
        "order.procedure_code": order["procedure"]["code"], "order.procedure_desc": order["procedure"]["meaning"],
    });
    for (name, object) in [("visit", visit), ("order", order)] {
        for (key, value) in object.as_object().into_iter().flatten() {
            answer[format!("{name}.{key}")] = value.clone();
        }
    }
    answer
}

fn same(want: &Value, got: &Value) -> bool {
    let text = |v: &Value| match v {
        Value::Null => String::new(),
        Value::String(s) => s.split('^').map(str::trim).collect::<Vec<_>>().join("^").trim_end_matches('^').trim().to_owned(),
        other => other.to_string(),
    };
    if let Some(any) = want["any_of"].as_array() {
        return any.iter().any(|w| same(w, got));
    }
    if !want["not"].is_null() {
        return text(&want["not"]) != text(got);
    }
    text(want) == text(got)
}

fn judge(gateway: &Gateway, lookup: &Value, refused: bool) -> Vec<String> {
    let (status, answer) = ask(gateway, lookup);
    let tag = format!("{}={} {status}", lookup["by"], lookup["value"]);
    let wrong = || -> Vec<String> {
        let expect = lookup["expect"].as_object().into_iter().flatten();
        expect
            .filter(|(key, want)| !same(want, &answer[key.as_str()]))
            .map(|(key, want)| format!("{tag} {key}: want {want} got {}", answer[key.as_str()]))
            .collect()
    };
    match lookup["status"].as_str().unwrap_or("found") {
        "any" => Vec::new(),
        "found_or_refused" if refused && status == "not_found" => Vec::new(),
        "found" | "found_or_refused" if status == "found" && !refused => wrong(),
        "found" if status == "found" => wrong(),
        "gone" if status == "not_found" || answer["patient.active"] == json!(false) => Vec::new(),
        want if want == status => Vec::new(),
        want => vec![format!("{tag}: want {want}")],
    }
}

fn cases(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).expect("the corpus").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            cases(&path, found);
        } else if path.to_string_lossy().ends_with("expect.json") {
            found.push(path);
        }
    }
}

fn run(gateway: &Gateway, case: &Path) -> Vec<String> {
    let expect: Value = serde_json::from_slice(&std::fs::read(case).expect("a case")).expect("JSON");
    let mut failures = Vec::new();
    let mut refused = false;
    let lookups = expect["lookups"].as_array().cloned().unwrap_or_default();
    for (at, name) in expect["messages"].as_array().into_iter().flatten().enumerate() {
        let message = std::fs::read(case.with_file_name(name.as_str().expect("a name"))).expect("a message");
        for code in send(gateway, &message) {
            let want = expect["ack"][at.to_string()].as_array().cloned().unwrap_or(vec![json!("AA")]);
            if !want.contains(&json!(code)) {
                failures.push(format!("message {at}: {code}, want {want:?}"));
            }
            refused |= code != "AA";
        }
        for lookup in lookups.iter().filter(|l| l["after"].as_u64() == Some(at as u64)) {
            failures.extend(judge(gateway, lookup, refused));
        }
    }
    for lookup in lookups.iter().filter(|l| l["after"].is_null()) {
        failures.extend(judge(gateway, lookup, refused));
    }
    failures
}

#[test]
fn every_case_of_the_corpus_is_answered_as_expected() {
    let Some(corpus) = corpus() else { return };
    let mut found = Vec::new();
    for group in ["msgs", "malformed", "scenarios", "charset", "format"] {
        cases(&corpus.join(group), &mut found);
    }
    assert!(found.len() > 100, "the corpus is not whole");
    let shared = Gateway::new();
    let mut failed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in &found {
        let name = case.strip_prefix(&corpus).unwrap_or(case).display().to_string();
        for (index, gateway) in [("one index", &shared), ("own index", &Gateway::new())] {
            let failures = run(gateway, case);
            if !failures.is_empty() {
                failed.insert(format!("{name} ({index})"), failures);
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} cases: {failed:#?}", failed.len(), found.len());
}

#[test]
fn whatever_a_sender_says_is_answered_once_and_breaks_nothing() {
    let Some(corpus) = corpus() else { return };
    let gateway = Gateway::new();
    let mut files = Vec::new();
    messages(&corpus, &mut files);
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        for code in send(&gateway, &std::fs::read(file).expect("a message")) {
            *codes.entry(code).or_default() += 1;
        }
    }
    println!("{codes:?}");
    assert!(files.len() > 800 && codes.len() == 3, "{codes:?}");
    for probe in ["INJECT", "%", "_", "S%", "..", "../../etc/passwd%00"] {
        assert_eq!(ask(&gateway, &json!({"by": "mrn", "value": probe})).0, "not_found", "{probe}");
    }
}

fn messages(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the corpus") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            messages(&path, found);
        } else if path.extension().is_some_and(|e| e == "hl7" || e == "bin") {
            found.push(path);
        }
    }
}
