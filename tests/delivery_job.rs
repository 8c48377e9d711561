//! Two archives from outside: the whole program, one real archive that takes, and one that nobody
//! ever answers for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use support::archive::Storescp;
use support::gateway::Gateway;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn capture(gateway: &Gateway, id: &str) -> Value {
    let token = gateway.issuer.token(&json!({}));
    Phone::connect(gateway.https, &token).call("GET", &format!("/api/v1/captures/{id}"), "", &[]).json()
}

/// Stage of an item's way to an archive, and the code of what went wrong on it. Empty before the
/// capture is in the index.
fn leg(capture: &Value, item: usize, archive: &str) -> (String, String) {
    let legs = capture["items"][item]["legs"].as_array().expect("legs");
    let leg = legs.iter().find(|leg| leg["archive"] == archive).unwrap_or(&Value::Null);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (word(&leg["stage"]), word(&leg["failure"]["code"]))
}

#[test]
fn a_dead_archive_delays_nobody_and_what_waits_for_it_outlives_its_section() {
    if !is_installed("storescp") {
        return eprintln!("storescp (Debian: dcmtk) is not installed: nothing is tested here");
    }
    let archive = Storescp::start(None);
    // Bound and never listened on: nobody answers, and nobody else gets the port.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let section = format!("[[archive]]\nname = \"vna\"\naddress = \"{dead}\"\ncalled_ae = \"VNA\"\n");
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), archive.port, &section);
    hospital::tell(gateway.mllp, &[hospital::admit("4711")]);
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"});
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let mut picture = Photo::draw(64, 48);
    let mut ids = Vec::new();
    for n in 0..20_u64 {
        let answer = phone.upload(&n.to_string(), &claim, &[picture.numbered(n)]);
        assert_eq!(answer.status, 201);
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let last = ids.last().unwrap();
    wait_until(SOON, "the living archive has all", || (leg(&capture(&gateway, last), 0, "pacs").0 == "forwarded").then_some(()));
    let waits = capture(&gateway, last);
    assert!(waits["stage"] == "identified" || waits["stage"] == "wrapped", "{waits}");
    wait_until(SOON, "the first attempt at the dead one is told", || {
        (leg(&capture(&gateway, &ids[0]), 0, "vna").1 == "archive-unreachable").then_some(())
    });
    assert!((gateway.metric("shutterbridge_queue_items", "archive=\"vna\"") - 20.0).abs() < 0.5);
    assert!(gateway.metric("shutterbridge_queue_items", "archive=\"pacs\"").abs() < 0.5);
    assert!(gateway.metric("shutterbridge_queue_oldest_seconds", "archive=\"vna\"") > 0.0);
    assert!((gateway.metric("shutterbridge_forward_attempts_total", "archive=\"pacs\",outcome=\"stored\"") - 20.0).abs() < 0.5);
    assert!(gateway.metric("shutterbridge_forward_attempts_total", "archive=\"vna\",outcome=\"transient\"") < 20.0);

    let file = gateway.folder.path().join("shutterbridge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&section, "")).unwrap();
    gateway.kill_and_restart();
    wait_until(SOON, "what waits for the removed archive is held", || {
        let held = capture(&gateway, last);
        (held["stage"] == "held" && leg(&held, 0, "vna").1 == "archive-gone").then_some(())
    });
    let second = capture(&gateway, &ids[1]);
    assert_eq!(leg(&second, 0, "pacs"), ("forwarded".to_owned(), String::new()));
    assert!(gateway.stop().success());
}
