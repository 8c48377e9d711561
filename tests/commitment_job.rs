//! Storage commitment from outside: one phone, a real archive that reports on an association of
//! its own, the whole program between them, and somebody who forges reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod support;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use archive_peer::Other;
use archive_peer::committer::Reporter;
use serde_json::json;
use support::folder::Folder;
use support::gateway::Gateway;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, wait_until};

const SOON: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_photo_is_committed_by_the_archive_and_by_nobody_else() {
    let (store, config, reports_port, port) = (Folder::new(), Folder::new(), free_port(), free_port());
    let file = config.path().join("orthanc.json");
    let settings = json!({
        "DicomAet": "PACS", "DicomPort": port, "HttpServerEnabled": false, "Plugins": [],
        "StorageDirectory": store.path(), "IndexDirectory": store.path(),
        "DicomModalities": { "gateway": ["SHUTTERBRIDGE", "127.0.0.1", reports_port] },
    });
    std::fs::write(&file, settings.to_string()).unwrap();
    let Some(_orthanc) = Other::start("Orthanc", &[file.to_str().unwrap()], port) else { return };
    let more = format!("commitment = \"required\"\n[dicom]\nlisten = \"127.0.0.1:{reports_port}\"\n");
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_shutterbridge"), port, &more);
    hospital::tell(gateway.mllp, &[hospital::admit("4711")]);
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"});
    let answer = phone.upload("k-1", &claim, &[Photo::draw(320, 240).bytes()]);
    assert_eq!(answer.status, 201);
    let path = format!("/api/v1/captures/{}", answer.json()["id"].as_str().unwrap());
    wait_until(SOON, "the capture is committed", || {
        (phone.call("GET", &path, "", &[]).json()["stage"] == "committed").then_some(())
    });
    let door = SocketAddr::from(([127, 0, 0, 1], reports_port));
    assert!(Reporter::connect(door, "EVIL", "SHUTTERBRIDGE", Some((false, true))).is_none());
    let mut forger = Reporter::connect(door, "PACS", "SHUTTERBRIDGE", Some((false, true))).unwrap();
    assert_eq!(forger.report("2.25.1", &["2.25.2"], &[]), Some(0x0115));
    forger.release();
    assert!(gateway.stop().success());
    let audit = std::fs::read_to_string(gateway.folder.path().join("audit.log")).unwrap();
    for why in ["AE title of a stranger", "unknown transaction"] {
        let is_told = |line: &str| line.contains("commitment.report") && line.contains(why);
        assert!(audit.lines().any(is_told), "{why} is not in the audit");
    }
}
