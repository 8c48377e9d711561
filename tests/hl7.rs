//! One message, read: what it says, or why it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod hl7_support;

use hl7_support::{Adt, Gateway, adt, by_accession, by_id, orm, rules};
use jiff::Timestamp;
use shutterbridge::capture::Phi;
use shutterbridge::hl7::ack::FaultCode;
use shutterbridge::hl7::charset::Charset;
use shutterbridge::hl7::path::FieldPath;
use shutterbridge::hl7::rules::Authority;
use shutterbridge::hl7::{self, AckCode, Rules, SourceRule};

fn at() -> Timestamp {
    "2026-04-20T12:00:00Z".parse().unwrap()
}

fn refusal(message: impl AsRef<[u8]>) -> (AckCode, FaultCode, String) {
    let nack = hl7::read(message.as_ref(), &rules(), at()).unwrap_err();
    let (segment, field) = nack.fault.location;
    (nack.fault.ack, nack.fault.code, format!("{segment}-{field}"))
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let good = adt("A04", "20260301080000", "1").text();
    let msh = |from: &str, to: &str| good.replacen(from, to, 1);
    let control_id = good.split('|').nth(9).unwrap();
    let table = [
        (String::new(), AckCode::Reject, FaultCode::SegmentSequence, "MSH-0"),
        ("GET / HTTP/1.1".into(), AckCode::Reject, FaultCode::SegmentSequence, "MSH-0"),
        (msh("^~\\&", "^^^^"), AckCode::Reject, FaultCode::DataType, "MSH-2"),
        (msh(&format!("|{control_id}|"), "||"), AckCode::Error, FaultCode::RequiredMissing, "MSH-10"),
        (msh(control_id, &"9".repeat(200)), AckCode::Error, FaultCode::DataType, "MSH-10"),
        (msh("2.5.1", "3.0"), AckCode::Reject, FaultCode::UnsupportedVersion, "MSH-12"),
        (msh("UNICODE UTF-8", "KLINGON"), AckCode::Error, FaultCode::TableValue, "MSH-18"),
        (msh("UNICODE UTF-8", "UNICODE UTF-16"), AckCode::Reject, FaultCode::TableValue, "MSH-18"),
        (msh("ADT^A04^ADT_A01", ""), AckCode::Error, FaultCode::RequiredMissing, "MSH-9"),
        (msh("ADT^A04", "ORU^R01"), AckCode::Reject, FaultCode::UnsupportedType, "MSH-9"),
        (msh("ADT^A04", "ADT^A99"), AckCode::Reject, FaultCode::UnsupportedEvent, "MSH-9"),
        (msh("PID|1||1^^^HOSP^MR|", "PID|1|||"), AckCode::Error, FaultCode::RequiredMissing, "PID-3"),
        (msh("PID|", "ZID|"), AckCode::Error, FaultCode::RequiredMissing, "PID-0"),
        (msh("PID|1||1^", "PID|1||1\\X07\\^"), AckCode::Error, FaultCode::DataType, "PID-3"),
        (msh("Müller", "M\u{b}ller"), AckCode::Error, FaultCode::DataType, "MSH-0"),
        (msh("ADT^A04", "ADT^A40"), AckCode::Error, FaultCode::RequiredMissing, "MRG-1"),
        (format!("{good}PID|2||2^^^HOSP^MR\r"), AckCode::Error, FaultCode::SegmentSequence, "PID-0"),
        (format!("{good}{good}"), AckCode::Error, FaultCode::SegmentSequence, "MSH-0"),
        (format!("{good}{}", "NTE|1\r".repeat(10_001)), AckCode::Reject, FaultCode::TooLarge, "MSH-0"),
        (orm("20260301080000", "1", "NW", "", ""), AckCode::Error, FaultCode::RequiredMissing, "ORC-2"),
    ];
    for (message, ack, code, place) in table {
        let head: String = message.chars().take(90).collect();
        assert_eq!(refusal(&message), (ack, code, place.to_owned()), "{head:?}");
    }
    let mut latin1 = good.clone().into_bytes();
    let at = latin1.iter().position(|b| *b == 0xC3).unwrap();
    latin1.remove(at);
    assert_eq!(refusal(&latin1), (AckCode::Error, FaultCode::DataType, "MSH-18".to_owned()));
}

#[test]
fn no_refusal_repeats_a_word_of_the_message() {
    let message = "MSH|^~\\&|SECRETAPP|F|G|I|2026||ADT^A40|C1|P|2.3\rPID|1||SECRETID^^^HOSP||SECRETNAME^X\rMRG|\r";
    let nack = hl7::read(message.as_bytes(), &rules(), at()).unwrap_err();
    let answer = String::from_utf8(nack.answer()).unwrap();
    assert!(!answer.contains("SECRETID") && !answer.contains("SECRETNAME"), "{answer}");
    assert!(!format!("{nack:?}").contains("SECRET"));
    let read = hl7::read(adt("A04", "20260301080000", "SECRETID").text().as_bytes(), &rules(), at()).unwrap();
    assert!(!format!("{read:?}").contains("SECRETID"));
}

#[test]
fn the_event_of_a_message_is_understood_however_it_is_spelt() {
    let good = adt("A04", "20260301080000", "1").text();
    for kind in ["ADT^A04", "ADT^A04^ADT_A01", "ADT^A04^ANYTHING", "adt^a04", "ADT"] {
        let message = good.replacen("ADT^A04^ADT_A01", kind, 1);
        let read = hl7::read(message.as_bytes(), &rules(), at()).unwrap();
        assert_eq!(read.kind, "ADT^A04", "{kind}");
    }
    for event in ["Z99", "A20"] {
        let message = good.replacen("ADT^A04^ADT_A01", &format!("ADT^{event}"), 1);
        let read = hl7::read(message.as_bytes(), &rules(), at()).unwrap();
        assert!(read.update.facts.is_empty(), "{event} is acknowledged and changes nothing");
    }
}

#[test]
fn a_clock_that_runs_ahead_does_not_freeze_the_patient() {
    let gateway = Gateway::new();
    gateway.tell(Adt { sex: "F".into(), ..adt("A04", "20990101000000", "1") }.text());
    gateway.tell(Adt { sex: "M".into(), ..adt("A08", "20260420140000", "1") }.text());
    assert_eq!(gateway.patient(&by_id("1")).sex, "M");
}

#[test]
fn the_first_id_is_the_site_s_else_the_record_number_and_an_expired_one_is_none() {
    let table = [
        ("1^^^NHS^NH~2^^^HOSP^PI", "2"),
        ("1^^^NHS^NH~2^^^ELSE^PI~3^^^ELSE^MR", "3"),
        ("1^^^NHS^NH~2^^^ELSE^PI", "2"),
        ("1^^^NHS^NH~2^^^NAT^NI", "1"),
        ("1^^^ELSE^MR^^20190101^20200101~2^^^NAT^NI", "2"),
        ("\"\"^^^X&1.2&ISO~2^^^NAT", "2"),
        ("0012^^^ELSE^MR", "0012"),
    ];
    for (ids, first) in table {
        let gateway = Gateway::new();
        gateway.tell(Adt { id: ids.into(), ..Adt::default() }.text());
        assert_eq!(gateway.who(&by_id(first)), first, "{ids}");
    }
    let gateway = Gateway::new();
    gateway.tell(Adt { id: "1^^^ELSE^MR^^20190101^20200101~2^^^NAT^NI".into(), ..Adt::default() }.text());
    assert_eq!(gateway.who(&by_id("1")), "none");
}

#[test]
fn a_source_is_read_by_its_own_rules() {
    let mut gateway = Gateway::new();
    gateway.rules = Rules {
        sources: vec![
            SourceRule {
                application: Some("HIS".into()),
                facility: Some("EAST".into()),
                default_charset: Some(Charset::named("8859/2").unwrap()),
                assigning_authority: Some(Authority::named("EASTSIDE")),
                is_snapshot: true,
                drops_degree: true,
                ..SourceRule::default()
            },
            SourceRule {
                application: Some("RIS".into()),
                accession: vec![FieldPath::parse("ZAC-2").unwrap(), FieldPath::parse("OBR-19").unwrap()],
                ..SourceRule::default()
            },
        ],
        ..rules()
    };
    let east = b"MSH|^~\\&|HIS|EAST|G|I|20260301080000||ADT^A04|1|P|2.5\rPID|1||7||Dvo\xF8\xE1k^J^^^^MD||19700101|M\r";
    gateway.tell(east);
    let patient = gateway.patient(&by_id("7"));
    assert_eq!((patient.identifier.issuer.as_str(), patient.name_dicom.expose()), ("EASTSIDE", "Dvořák^J"));
    gateway.tell("MSH|^~\\&|HIS|EAST|G|I|20260301090000||ADT^A08|2|P|2.5\rPID|1||7||X^Y|||M\r");
    assert_eq!(gateway.patient(&by_id("7")).birth_date, None, "a snapshot without one");
    gateway.tell(orm("20260301080000", "1", "NW|P1|F1", "NOT-THIS", "") + "ZAC|1|THIS\r");
    assert_eq!(gateway.who(&by_accession("NOT-THIS")), "none");
    assert_eq!(gateway.who(&by_accession("THIS")), "1");
    gateway.tell(orm("20260301080000", "1", "NW|P2|F2", "NOT-THIS", ""));
    assert_eq!(gateway.who(&by_accession("RP1")), "1", "the next path");
    assert_eq!(gateway.who(&by_accession("F2")), "none", "no path leads to the filler number here");
}

#[test]
fn an_omi_order_is_read_from_its_ipc_and_ids_stay_strings() {
    let gateway = Gateway::new();
    gateway.tell(
        "MSH|^~\\&|RIS|HOSP|G|I|20260301080000||OMI^O23^OMI_O23|1|P|2.5.1\rPID|1||007^^^HOSP^MR||A^B\r\
         ORC|NW|0001^HIS|0002^RIS||SC\rOBR|1|0001^HIS|0002^RIS|X^Y^L\r\
         IPC|0003^RIS&9.9&ISO|RP|1.2.3|SPS1|XC\rIPC|0003^RIS|RP|1.2.3|SPS2|XC\r",
    );
    let patient = gateway.patient(&by_accession("0003"));
    let order = &patient.orders[0];
    assert_eq!(patient.identifier.id, Phi::from("007"));
    assert_eq!((order.placer.expose(), order.filler.expose(), order.accession_issuer.as_str()), ("0001", "0002", "RIS"));
    assert_eq!((order.study_instance_uid.as_str(), order.scheduled_step_id.expose()), ("1.2.3", "SPS1"));
}
