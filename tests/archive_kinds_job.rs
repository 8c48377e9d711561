//! From a phone to archives that speak no DICOM network: a folder, and a web service that is asked
//! whether it keeps what it took.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod support;

use std::path::Path;
use std::time::Duration;

use archive_peer::web::orthanc;
use serde_json::json;
use support::folder::Folder;
use support::gateway::Gateway;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A gateway whose only archive is as these lines say.
fn gateway(archive: &str) -> Gateway {
    Gateway::start_for(env!("CARGO_BIN_EXE_shutterbridge"), &format!("[[archive]]\nname = \"pacs\"\n{archive}"))
}

/// Uploads a photo and waits until it has come so far.
fn deliver(gateway: &Gateway, stage: &str) {
    hospital::tell(gateway.mllp, &[hospital::admit("4711")]);
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let claim = json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm"});
    let answer = phone.upload("k-1", &claim, &[Photo::draw(320, 240).bytes()]);
    assert_eq!(answer.status, 201);
    let path = format!("/api/v1/captures/{}", answer.json()["id"].as_str().unwrap());
    wait_until(SOON, &format!("the capture is {stage}"), || {
        (phone.call("GET", &path, "", &[]).json()["stage"] == stage).then_some(())
    });
}

fn files(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_photo_lies_in_the_folder_under_its_uid() {
    let out = Folder::new();
    let gateway = gateway(&format!("kind = \"folder\"\npath = \"{}\"\n", out.path().display()));
    deliver(&gateway, "forwarded");
    let files = files(out.path());
    let [name] = files.as_slice() else { panic!("{files:?}") };
    assert!(name.strip_suffix(".dcm").unwrap().bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{name}");
    let object = dicom_object::open_file(out.path().join(name)).unwrap();
    assert_eq!(format!("{}.dcm", object.meta().media_storage_sop_instance_uid().trim_end_matches('\0')), *name);
}

#[test]
fn a_photo_is_committed_once_a_query_finds_it() {
    let store = Folder::new();
    let Some((orthanc, _)) = orthanc(store.path(), "") else { return };
    let url = format!("http://{}/dicom-web", orthanc.address);
    let gateway = gateway(&format!("kind = \"stow\"\nurl = \"{url}\"\ncommitment = \"required\"\n"));
    deliver(&gateway, "committed");
}
