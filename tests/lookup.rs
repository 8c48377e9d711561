//! Patients, visits and orders, as HL7 tells them and as a capture asks for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod hl7_support;

use std::sync::Arc;

use hl7_support::{Adt, Gateway, adt, by_accession, by_barcode, by_id, by_id_of, by_placer, by_visit, merge, orm};
use shutterbridge::capture::Phi;
use shutterbridge::capture::order::OrderStatus;
use shutterbridge::capture::person::VisitStatus;
use shutterbridge::lookup::{Answer, Feed};
use shutterbridge::store::Store;
use shutterbridge::store::memory::MemoryStore;

const UID: &str = "1.2.826.0.1.3680043.10.99.1";

#[test]
fn the_contract_s_patient_is_answered_in_the_contract_s_words() {
    let gateway = Gateway::new();
    gateway.tell(Adt::default().text());
    let patient = gateway.patient(&by_id_of("4711", "1.2.3.4"));
    let json = serde_json::to_value(&patient).unwrap();
    let want = serde_json::json!({
        "id": "4711", "issuer": "HOSP", "issuer_universal_id": "1.2.3.4", "issuer_universal_id_type": "ISO", "id_type": "MR",
        "other_ids": [], "active": true, "deceased": false,
        "name": "Dr. Jörg Karl Müller Jr.", "name_dicom": "Müller^Jörg^Karl^Dr^Jr", "birth_date": "1970-03-01", "sex": "M",
        "visits": [{
            "id": "V100", "issuer": "VN", "issuer_universal_id": "1.2.9", "issuer_universal_id_type": "ISO", "class": "O",
            "status": "active", "ward": "DERM", "room": "1", "bed": "2", "facility": "", "department": "",
            "attending": "Doc^Dora", "referring": "Ref^Rita"
        }],
        "orders": []
    });
    assert_eq!(json, want);
}

#[test]
fn an_order_is_found_by_each_of_its_numbers_and_holds_just_the_match() {
    let gateway = Gateway::new();
    gateway.tell(Adt { id: "4711^^^HOSP^MR".into(), ..Adt::default() }.text());
    gateway.tell(orm("20260301081000", "4711", "NW|P1|F1", "A123", UID));
    gateway.tell(orm("20260301082000", "4711", "NW|P2|F2", "A124", ""));
    for asked in [by_accession("A123"), by_placer("P1"), by_barcode("A123")] {
        let patient = gateway.patient(&asked);
        assert_eq!(patient.identifier.id, Phi::from("4711"));
        assert_eq!(patient.orders.len(), 1, "{asked:?}");
        assert!(patient.visits.is_empty());
        let order = &patient.orders[0];
        assert_eq!((order.study_instance_uid.as_str(), order.modality.as_str()), (UID, "XC"));
        assert_eq!((order.procedure.code.as_str(), order.procedure.scheme.as_str()), ("DERMPH", "L"));
        assert_eq!(order.requesting_physician, Phi::from("Doc^Dora"));
    }
    let whole = gateway.patient(&by_id("4711"));
    let accessions: Vec<&str> = whole.orders.iter().map(|o| o.accession.expose()).collect();
    assert_eq!(accessions, ["A124", "A123"], "newest first");
    assert_eq!(whole.visits.len(), 1);
    assert_eq!(gateway.patient(&by_visit("V100")).orders, []);
}

#[test]
fn a_merged_id_answers_with_its_survivor_for_ever() {
    // given these merges (survivor, prior), both ids lead to
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("B", "A")], "B"),
        (&[("B", "A"), ("C", "B")], "C"),
        (&[("C", "B"), ("B", "A")], "C"),
        (&[("B", "A"), ("A", "B")], "A"),
        (&[("B", "A"), ("C", "B"), ("A", "C")], "A"),
        (&[("A", "A")], "A"),
    ];
    for (merges, survivor) in table {
        for is_prior_seen in [true, false] {
            let gateway = Gateway::new();
            if is_prior_seen {
                gateway.tell(adt("A04", "20260301080000", "A").text());
            }
            for (survivor, prior) in *merges {
                gateway.tell(merge("A40", "20260301090000", survivor, prior));
            }
            for id in merges.iter().flat_map(|(a, b)| [a, b]) {
                assert_eq!(gateway.who(&by_id(id)), *survivor, "{merges:?} {id}");
            }
        }
    }
}

#[test]
fn a_retired_id_is_not_brought_back_by_a_late_update() {
    let gateway = Gateway::new();
    gateway.tell(adt("A04", "20260301080000", "A").text());
    gateway.tell(merge("A40", "20260301090000", "B", "A"));
    let late = Adt { name: "Wrong^Name".into(), ..adt("A08", "20260301083000", "A") };
    gateway.tell(late.text());
    let patient = gateway.patient(&by_id("A"));
    assert_eq!(patient.identifier.id, Phi::from("B"));
    assert_eq!(patient.other_ids, []);
    assert_eq!(patient.name_dicom, Phi::from("Müller^Jörg^Karl^Dr^Jr"), "an older word changes nothing");
    gateway.tell(Adt { name: "Newer^Name".into(), ..adt("A08", "20260301100000", "A") }.text());
    assert_eq!(gateway.patient(&by_id("B")).name_dicom, Phi::from("Newer^Name"));
}

#[test]
fn visits_and_orders_follow_a_merge_and_later_messages_about_them_are_understood() {
    let gateway = Gateway::new();
    let admitted = Adt { visit: "V1^^^VN".into(), ..adt("A01", "20260301080000", "A") };
    gateway.tell(admitted.text());
    gateway.tell(orm("20260301081000", "A", "NW|P1|F1", "ACC1", UID));
    gateway.tell(merge("A40", "20260301090000", "B", "A"));
    assert_eq!(gateway.who(&by_visit("V1")), "B");
    let patient = gateway.patient(&by_id("B"));
    assert_eq!((patient.visits.len(), patient.orders.len()), (1, 1));
    gateway.tell(orm("20260301100000", "B", "CA|P1|F1", "ACC1", ""));
    gateway.tell(Adt { visit: "V1".into(), ..adt("A03", "20260301110000", "B") }.text());
    let patient = gateway.patient(&by_id("B"));
    assert_eq!((patient.visits.len(), patient.orders.len()), (0, 0), "one visit and one order, both over");
    let order = &gateway.patient(&by_accession("ACC1")).orders[0];
    assert_eq!((order.status, order.study_instance_uid.as_str()), (OrderStatus::Cancelled, UID));
    assert_eq!(gateway.patient(&by_visit("V1")).visits[0].status, VisitStatus::Finished);
}

#[test]
fn a_changed_id_keeps_the_record() {
    let gateway = Gateway::new();
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301080000", "OLD") }.text());
    let mut change = adt("A47", "20260301090000", "NEW");
    (change.name, change.born, change.mrg) = (String::new(), String::new(), "OLD".into());
    gateway.tell(change.text());
    let patient = gateway.patient(&by_id("OLD"));
    assert_eq!(patient.identifier.id, Phi::from("NEW"));
    assert_eq!(patient.birth_date.unwrap().to_string(), "1970-03-01");
    assert_eq!(patient.visits.len(), 1);
}

#[test]
fn two_quotes_delete_and_nothing_changes_nothing() {
    let gateway = Gateway::new();
    let told = |time, born: &str, sex: &str| {
        let message = Adt { born: born.into(), sex: sex.into(), ..adt("A08", time, "1") };
        gateway.tell(message.text());
        let patient = gateway.patient(&by_id("1"));
        (patient.birth_date.map(|d| d.to_string()).unwrap_or_default(), patient.sex)
    };
    assert_eq!(told("20260301080000", "19700301", "F"), ("1970-03-01".into(), "F".into()));
    assert_eq!(told("20260301090000", "", ""), ("1970-03-01".into(), "F".into()));
    assert_eq!(told("20260301100000", "\"\"", ""), (String::new(), "F".into()));
    assert_eq!(told("20260301090500", "19700302", "M"), (String::new(), "M".into()), "older than the deletion, newer than F");
    assert_eq!(told("20260301110000", "", "U"), (String::new(), String::new()));
}

#[test]
fn messages_out_of_order_leave_the_newest_word_and_fill_what_was_unknown() {
    let gateway = Gateway::new();
    gateway.tell(orm("20260301100000", "1", "CA|P1|F1", "", ""));
    gateway.tell(orm("20260301090000", "1", "NW|P1|F1", "ACC1", UID));
    let order = &gateway.patient(&by_accession("ACC1")).orders[0];
    assert_eq!((order.status, order.study_instance_uid.as_str()), (OrderStatus::Cancelled, UID));
    gateway.tell(Adt { visit: "V1".into(), ..adt("A03", "20260302100000", "1") }.text());
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301100000", "1") }.text());
    assert_eq!(gateway.patient(&by_visit("V1")).visits[0].status, VisitStatus::Finished);
}

#[test]
fn the_same_message_twice_has_one_effect_and_the_same_control_id_with_other_content_another() {
    let gateway = Gateway::new();
    let first = adt("A04", "20260301080000", "1").text();
    gateway.tell(&first);
    gateway.tell(Adt { sex: "F".into(), ..adt("A08", "20260301080000", "1") }.text());
    gateway.tell(&first);
    assert_eq!(gateway.patient(&by_id("1")).sex, "F", "the repeat undid nothing, although of the same time");
    gateway.tell(first.replace("PID|1||1^", "PID|1||2^"));
    assert_eq!(gateway.who(&by_id("2")), "2");
}

#[test]
fn an_authority_is_known_by_its_oid_first_and_its_name_otherwise() {
    let gateway = Gateway::new();
    let person = |id: &str, name: &str| {
        gateway.tell(Adt { id: id.into(), name: name.into(), visit: String::new(), ..Adt::default() }.text());
    };
    person("4711^^^&1.2.276.0.99&ISO^MR", "One^Person");
    person("4711^^^HOSPX&1.2.276.0.99&ISO^MR", "One^Person");
    person("4711^^^HOSPX&1.2.3.4&ISO^MR", "Other^Person");
    assert_eq!(gateway.patient(&by_id_of("4711", "1.2.276.0.99")).name_dicom, Phi::from("One^Person"));
    assert_eq!(gateway.patient(&by_id_of("4711", "1.2.3.4")).name_dicom, Phi::from("Other^Person"));
    assert_eq!(gateway.who(&by_id_of("4711", "HOSPX")), "multiple");
    assert_eq!(gateway.who(&by_id("4711")), "multiple");
    assert_eq!(gateway.who(&by_id_of("4711", "ELSEWHERE")), "none");
    // One authority under two local names.
    person("4711^^^HOSPY&1.2.276.0.99&ISO^MR", "One^Person");
    assert_eq!(gateway.patient(&by_id_of("4711", "HOSPY")).name_dicom, Phi::from("One^Person"));
}

#[test]
fn asked_without_an_issuer_the_site_s_own_patient_is_meant_where_that_leaves_one() {
    let gateway = Gateway::new();
    gateway.tell(Adt { id: "4711^^^OTHER^MR".into(), name: "Other^One".into(), ..Adt::default() }.text());
    assert_eq!(gateway.patient(&by_id("4711")).name_dicom, Phi::from("Other^One"), "the only one there is");
    gateway.tell(Adt { id: "4711".into(), name: "Own^One".into(), ..Adt::default() }.text());
    let own = gateway.patient(&by_id("4711"));
    assert_eq!((own.identifier.issuer.as_str(), own.name_dicom.expose()), ("HOSP", "Own^One"));
}

#[test]
fn one_number_of_two_patients_is_never_silently_one_of_them() {
    let gateway = Gateway::new();
    gateway.tell(orm("20260301080000", "1", "NW|P1|F1", "ACC1", ""));
    gateway.tell(orm("20260301080000", "2", "NW|P2|F2", "ACC1", ""));
    assert_eq!(gateway.who(&by_accession("ACC1")), "multiple");
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301080000", "1") }.text());
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301080000", "2") }.text());
    assert_eq!(gateway.who(&by_visit("V1")), "multiple");
    let Answer::Multiple(patients) = gateway.find(&by_visit("V1")) else { panic!("two patients") };
    assert_eq!(patients.len(), 2);
    gateway.tell(merge("A40", "20260301090000", "1", "2"));
    assert_eq!(gateway.who(&by_visit("V1")), "1", "one person after all");
}

#[test]
fn two_people_who_share_a_second_number_are_two_people() {
    let gateway = Gateway::new();
    let with_national = |mrn: &str| Adt { id: format!("{mrn}^^^HOSP^MR~N1^^^NAT^NI"), visit: String::new(), ..Adt::default() };
    gateway.tell(with_national("1").text());
    gateway.tell(with_national("2").text());
    assert_eq!(gateway.who(&by_id("1")), "1");
    assert_eq!(gateway.who(&by_id("2")), "2");
    assert_eq!(gateway.who(&by_id_of("N1", "NAT")), "multiple");
    // A patient known by the second number alone is the one who brings a first.
    gateway.tell(Adt { id: "N9^^^NAT^NI".into(), ..Adt::default() }.text());
    gateway.tell(Adt { id: "9^^^HOSP^MR~N9^^^NAT^NI".into(), ..Adt::default() }.text());
    let patient = gateway.patient(&by_id_of("N9", "NAT"));
    assert_eq!((patient.identifier.id.expose(), patient.other_ids[0].id.expose()), ("9", "N9"));
}

#[test]
fn a_scanned_code_that_means_two_things_is_multiple() {
    let gateway = Gateway::new();
    gateway.tell(Adt { visit: "77".into(), ..adt("A01", "20260301080000", "1") }.text());
    assert_eq!(gateway.who(&by_barcode("77")), "1");
    assert_eq!(gateway.patient(&by_barcode("77")).visits.len(), 1);
    gateway.tell(adt("A04", "20260301080000", "77").text());
    assert_eq!(gateway.who(&by_barcode("77")), "multiple");
    assert_eq!(gateway.who(&by_id("77")), "77", "typed, it is one");
    assert_eq!(gateway.who(&by_barcode("nothing")), "none");
}

#[test]
fn a_visit_goes_through_its_states() {
    let gateway = Gateway::new();
    let table = [
        ("A05", VisitStatus::Planned),
        ("A01", VisitStatus::Active),
        ("A02", VisitStatus::Active),
        ("A03", VisitStatus::Finished),
        ("A08", VisitStatus::Finished),
        ("A13", VisitStatus::Active),
        ("A11", VisitStatus::Cancelled),
        ("A08", VisitStatus::Cancelled),
        ("A01", VisitStatus::Active),
    ];
    for (event, want) in table {
        gateway.tell(Adt { visit: "V1".into(), ..adt(event, "20260301080000", "1") }.text());
        assert_eq!(gateway.patient(&by_visit("V1")).visits[0].status, want, "{event}");
        let open = gateway.patient(&by_id("1")).visits.len();
        assert_eq!(open, usize::from(want == VisitStatus::Active), "{event}");
    }
}

#[test]
fn an_order_goes_through_its_states() {
    let table = [
        ("NW|P1|F1", OrderStatus::Ordered),
        ("HD|P1|F1", OrderStatus::Held),
        ("RL|P1|F1", OrderStatus::Ordered),
        ("SC|P1|F1||IP", OrderStatus::Ordered),
        ("UC|P1|F1||CA", OrderStatus::Ordered),
        ("SC|P1|F1||CM", OrderStatus::Completed),
        ("XO|P1|F1", OrderStatus::Completed),
        ("DC|P1|F1", OrderStatus::Discontinued),
        ("CA|P1|F1", OrderStatus::Cancelled),
    ];
    let gateway = Gateway::new();
    for (orc, want) in table {
        gateway.tell(orm("20260301080000", "1", orc, "ACC1", ""));
        let patient = gateway.patient(&by_accession("ACC1"));
        assert_eq!((patient.orders.len(), patient.orders[0].status), (1, want), "{orc}");
    }
}

#[test]
fn a_placer_s_order_gets_its_filler_and_accession_later_and_loses_a_corrected_one() {
    let gateway = Gateway::new();
    gateway.tell(orm("20260301080000", "1", "NW|P1", "", ""));
    gateway.tell(orm("20260301081000", "1", "SC|P1|F1||SC", "ACC1", UID));
    gateway.tell(orm("20260301082000", "1", "XO||F1", "ACC2", ""));
    assert_eq!(gateway.who(&by_accession("ACC1")), "none", "corrected");
    let patient = gateway.patient(&by_placer("P1"));
    assert_eq!(patient.orders.len(), 1);
    let order = &patient.orders[0];
    assert_eq!((order.filler.expose(), order.accession.expose(), order.study_instance_uid.as_str()), ("F1", "ACC2", UID));
}

#[test]
fn the_filler_is_the_accession_only_where_there_is_none_and_it_fits() {
    let gateway = Gateway::new();
    gateway.tell(orm("20260301080000", "1", "NW|P1|F1", "", ""));
    assert_eq!(gateway.who(&by_accession("F1")), "1");
    gateway.tell(orm("20260301081000", "1", "SC|P1|F1", "ACC1", ""));
    gateway.tell(orm("20260301082000", "1", "CA|P1|F1", "", ""));
    assert_eq!(gateway.patient(&by_placer("P1")).orders[0].accession, Phi::from("ACC1"));
    gateway.tell(orm("20260301080000", "1", "NW|P2|F2-LONGER-THAN-16-CHARACTERS", "", ""));
    assert!(gateway.patient(&by_placer("P2")).orders[0].accession.is_empty());
}

#[test]
fn a_cancel_by_group_number_ends_all_its_orders() {
    let gateway = Gateway::new();
    gateway.tell(orm("20260301080000", "1", "NW|GROUP|F1", "ACC1", ""));
    gateway.tell(orm("20260301080000", "1", "NW|GROUP|F2", "ACC2", ""));
    gateway.tell(orm("20260301090000", "1", "CA|GROUP", "", ""));
    for accession in ["ACC1", "ACC2"] {
        assert_eq!(gateway.patient(&by_accession(accession)).orders[0].status, OrderStatus::Cancelled, "{accession}");
    }
}

#[test]
fn a_moved_visit_takes_its_orders_along_and_leaves_the_patient() {
    let gateway = Gateway::new();
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301080000", "1") }.text());
    let order = orm("20260301081000", "1", "NW|P1|F1", "ACC1", "").replace("PV1|1|O|DERM\r", "PV1|1|O|DERM||||||||||||||||V1\r");
    gateway.tell(order);
    gateway.tell(orm("20260301081000", "1", "NW|P2|F2", "ACC2", ""));
    let moved = Adt { mrg: "1||||V1".into(), visit: "V1".into(), ..adt("A45", "20260301090000", "2") };
    gateway.tell(moved.text());
    let table = [(by_visit("V1"), "2"), (by_accession("ACC1"), "2"), (by_accession("ACC2"), "1"), (by_id("1"), "1")];
    for (asked, want) in table {
        assert_eq!(gateway.who(&asked), want, "{asked:?}");
    }
    assert_eq!(gateway.patient(&by_id("1")).visits, []);
    assert_eq!(gateway.patient(&by_id("2")).visits.len(), 1);
}

#[test]
fn a_renumbered_visit_answers_under_both_numbers() {
    let gateway = Gateway::new();
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301080000", "1") }.text());
    gateway.tell(Adt { mrg: "1||||V1".into(), visit: "V2".into(), ..adt("A50", "20260301090000", "1") }.text());
    gateway.tell(Adt { visit: "V1".into(), ..adt("A03", "20260301100000", "1") }.text());
    for number in ["V1", "V2"] {
        let visits = gateway.patient(&by_visit(number)).visits;
        assert_eq!(visits.len(), 1, "{number}");
        assert_eq!((visits[0].id.expose(), visits[0].status), ("V2", VisitStatus::Finished), "{number}");
    }
}

#[test]
fn a_renumbering_that_is_taken_back_leads_to_the_visit_again() {
    let gateway = Gateway::new();
    gateway.tell(Adt { visit: "V1".into(), ..adt("A01", "20260301080000", "1") }.text());
    gateway.tell(Adt { mrg: "1||||V1".into(), visit: "V2".into(), ..adt("A50", "20260301090000", "1") }.text());
    gateway.tell(Adt { mrg: "1||||V2".into(), visit: "V1".into(), ..adt("A50", "20260301093000", "1") }.text());
    gateway.tell(Adt { visit: "V1".into(), ..adt("A03", "20260301100000", "1") }.text());
    for number in ["V1", "V2"] {
        let visits = gateway.patient(&by_visit(number)).visits;
        assert_eq!(visits.len(), 1, "{number}");
        assert_eq!((visits[0].id.expose(), visits[0].status), ("V1", VisitStatus::Finished), "{number}");
    }
}

#[test]
fn a_moved_id_leaves_its_patient() {
    let gateway = Gateway::new();
    let both = Adt { id: "1^^^HOSP^MR~X^^^LAB^PI".into(), ..adt("A04", "20260301080000", "") };
    gateway.tell(both.text());
    gateway.tell(adt("A04", "20260301080000", "2").text());
    gateway.tell(Adt { mrg: "X^^^LAB^PI".into(), ..adt("A43", "20260301090000", "2") }.text());
    assert_eq!(gateway.who(&by_id_of("X", "LAB")), "2");
    assert_eq!(gateway.patient(&by_id("1")).other_ids, []);
}

#[test]
fn a_deleted_person_answers_inactive_until_added_again() {
    let gateway = Gateway::new();
    for (event, time, want) in [
        ("A28", "20260301080000", true),
        ("A29", "20260301090000", false),
        ("A08", "20260301091000", false),
        ("A28", "20260301100000", true),
    ] {
        gateway.tell(adt(event, time, "1").text());
        assert_eq!(gateway.patient(&by_id("1")).active, want, "{event}");
    }
}

#[test]
fn a_capture_that_waits_is_told_by_every_name_a_message_has() {
    let gateway = Gateway::new();
    let touched = gateway.tell(orm("20260301080000", "1", "NW|P1|F1", "ACC1", UID));
    for name in ["1", "P1", "F1", "ACC1", UID] {
        assert!(touched.0.contains(&Phi::from(name)), "{name}");
    }
    let touched = gateway.tell(merge("A40", "20260301090000", "2", "1"));
    assert!(touched.0.contains(&Phi::from("1")) && touched.0.contains(&Phi::from("2")));
}

#[test]
fn what_was_told_is_there_after_a_restart_and_no_key_on_the_disk_tells_whom() {
    let store = Arc::new(MemoryStore::new());
    let gateway = Gateway::on(store.clone());
    gateway.tell(Adt::default().text());
    gateway.tell(orm("20260301080000", "4711", "NW|PLACER1|FILLER1", "ACCESS1", UID));
    drop(gateway);
    for row in store.scan(&[0], &[255], 1_000).unwrap() {
        let key = String::from_utf8_lossy(&row.key).into_owned();
        for secret in ["4711", "V100", "PLACER1", "FILLER1", "ACCESS1", UID] {
            assert!(!key.contains(secret), "{secret}");
        }
    }
    let again = Gateway::on(store);
    assert_eq!(again.who(&by_accession("ACCESS1")), "4711");
}

#[test]
fn many_connections_at_once_lose_nothing() {
    let gateway = Gateway::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for n in 0..40 {
                    let visit = format!("V{thread}-{n}");
                    let message = Adt { visit, ..adt("A01", "20260301080000", "SHARED") }.text();
                    gateway.local.apply(&gateway.read(message.as_bytes()).update).unwrap();
                }
            });
        }
    });
    for thread in 0..8 {
        for n in 0..40 {
            assert_eq!(gateway.who(&by_visit(&format!("V{thread}-{n}"))), "SHARED");
        }
    }
    assert_eq!(gateway.patient(&by_id("SHARED")).visits.len(), 50, "the latest open ones");
}
