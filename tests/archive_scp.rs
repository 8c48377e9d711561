//! The built-in archive, as strangers meet it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use archive_peer::*;
use dicom_dictionary_std::tags;
use dicom_fixture::*;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use dicom_ul::{ClientAssociation, ClientAssociationOptions};
use shutterbridge::archive::Archive as _;
use shutterbridge::archive::scp::{Received, Scp};

const VL: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

fn start(dir: &TempDir) -> (Scp, Arc<Mutex<Vec<Received>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&received);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let scp = Scp::start(address, ae("PACS"), dir.path(), move |r| told.lock().unwrap().push(r.clone())).unwrap();
    (scp, received)
}

fn requestor(scp: &Scp) -> ClientAssociation<TcpStream> {
    ClientAssociationOptions::new()
        .calling_ae_title("TEST")
        .called_ae_title("PACS")
        .with_presentation_context(VL, vec![EXPLICIT])
        .establish(scp.local_addr())
        .unwrap()
}

fn value(value_type: PDataValueType, is_last: bool, data: Vec<u8>) -> Pdu {
    Pdu::PData { data: vec![PDataValue { presentation_context_id: 1, value_type, is_last, data }] }
}

fn store_request(sop_instance: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut put = |element: u16, value: &[u8]| {
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&element.to_le_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        body.extend_from_slice(value);
    };
    put(0x0002, VL.as_bytes());
    put(0x0100, &1_u16.to_le_bytes());
    put(0x0110, &7_u16.to_le_bytes());
    put(0x0800, &1_u16.to_le_bytes());
    let mut uid = sop_instance.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    put(0x1000, &uid);
    body
}

/// The status of the response in a PDU.
fn status(pdu: Pdu) -> u16 {
    let Pdu::PData { data } = pdu else { panic!("{}", pdu.short_description()) };
    let bytes = &data[0].data;
    let at = bytes.windows(4).position(|w| w == [0, 0, 0, 9]).unwrap();
    u16::from_le_bytes([bytes[at + 8], bytes[at + 9]])
}

#[test]
fn objects_of_another_maker_are_kept_as_they_came() {
    let (dir, made) = (TempDir::new("scp"), TempDir::new("made"));
    let (scp, received) = start(&dir);
    let port = scp.local_addr().port().to_string();
    let photo = made.path().join("photo.jpg");
    image::save_buffer(&photo, &noise(160, 120, 3), 160, 120, image::ExtendedColorType::Rgb8).unwrap();
    let (jpeg_object, native_object) = (made.path().join("jpeg.dcm"), made.path().join("native.dcm"));
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let Some(output) = run("img2dcm", &["-vlp", &text(&photo), &text(&jpeg_object)]) else { return };
    assert!(output.status.success(), "{output:?}");
    assert!(run("dcmdjpeg", &[&text(&jpeg_object), &text(&native_object)]).unwrap().status.success());
    assert!(run("dcmodify", &["-gin", &text(&native_object)]).unwrap().status.success());
    for (how, object) in [("-xy", &jpeg_object), ("-xe", &native_object)] {
        let sent = run("storescu", &[how, "-aec", "PACS", "127.0.0.1", &port, &text(object)]).unwrap();
        assert!(sent.status.success(), "{how}: {sent:?}");
    }
    assert!(run("echoscu", &["-aec", "PACS", "127.0.0.1", &port]).unwrap().status.success());
    scp.stop();
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 2);
    for (received, original) in received.iter().zip([&jpeg_object, &native_object]) {
        let (kept, sent) = (dicom_object::open_file(&received.path).unwrap(), dicom_object::open_file(original).unwrap());
        assert_eq!(kept.element(tags::PIXEL_DATA).unwrap().value(), sent.element(tags::PIXEL_DATA).unwrap().value());
        assert_eq!(kept.meta().transfer_syntax(), sent.meta().transfer_syntax());
        let yes = run("dcmftest", &[received.path.to_str().unwrap()]).unwrap();
        assert!(String::from_utf8_lossy(&yes.stdout).starts_with("yes"));
    }
}

#[test]
fn a_peer_that_calls_somebody_else_is_told_so() {
    let dir = TempDir::new("scp");
    let (scp, _) = start(&dir);
    let port = scp.local_addr().port().to_string();
    let Some(output) = run("echoscu", &["-aec", "OTHER", "127.0.0.1", &port]) else { return };
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Called AE Title Not Recognized"), "{output:?}");
}

#[test]
fn a_uid_that_is_none_names_no_file() {
    let dir = TempDir::new("scp");
    let (scp, received) = start(&dir);
    let mut peer = requestor(&scp);
    for bad in ["../../evil", "/tmp/evil", "1.2.03", "", &"1.".repeat(40)] {
        peer.send(&value(PDataValueType::Command, true, store_request(bad))).unwrap();
        peer.send(&value(PDataValueType::Data, true, vec![0; 100])).unwrap();
        assert_eq!(status(peer.receive().unwrap()), 0x0117, "{bad}");
    }
    peer.send(&value(PDataValueType::Command, true, store_request("2.25.1"))).unwrap();
    peer.send(&value(PDataValueType::Data, true, vec![0; 100])).unwrap();
    assert_eq!(status(peer.receive().unwrap()), 0);
    peer.release().unwrap();
    scp.stop();
    assert_eq!(dir.files(), [dir.path().join("2.25.1.dcm")]);
    assert_eq!(received.lock().unwrap().len(), 1);
}

#[test]
fn an_object_in_mid_transfer_leaves_nothing_behind() {
    let dir = TempDir::new("scp");
    let (scp, received) = start(&dir);
    let begin = |uid: &str| {
        let mut peer = requestor(&scp);
        peer.send(&value(PDataValueType::Command, true, store_request(uid))).unwrap();
        peer.send(&value(PDataValueType::Data, false, vec![0; 1_000])).unwrap();
        peer
    };
    let still_there = begin("2.25.1");
    while dir.files().is_empty() {
        std::thread::yield_now();
    }
    drop(begin("2.25.2"));
    begin("2.25.3").abort().unwrap();
    scp.stop();
    drop(still_there);
    assert_eq!(dir.files(), Vec::<PathBuf>::new());
    assert!(received.lock().unwrap().is_empty());
}

#[test]
fn a_stranger_who_talks_nonsense_is_hung_up_on_and_others_are_served() {
    let dir = TempDir::new("scp");
    let (scp, _) = start(&dir);
    for nonsense in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF], &[4, 0, 0, 0, 0, 4, 0, 0, 0, 9]]
    {
        let mut stranger = write_raw(scp.local_addr(), nonsense);
        let _ = stranger.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stranger.read_to_end(&mut said);
    }
    // Out of turn within an association: data without a command, and a value that runs past its PDU.
    let mut peer = requestor(&scp);
    peer.send(&value(PDataValueType::Data, true, vec![0; 10])).unwrap();
    assert!(matches!(peer.receive(), Ok(Pdu::AbortRQ { .. }) | Err(_)));
    let mut peer = requestor(&scp);
    peer.inner_stream().write_all(&[4, 0, 0, 0, 0, 6, 0, 0, 0, 99, 1, 3]).unwrap();
    assert!(matches!(peer.receive(), Ok(Pdu::AbortRQ { .. }) | Err(_)));
    assert_eq!(dimse(scp.local_addr()).probe(), Ok(()));
}

#[test]
fn the_same_instance_again_takes_the_place_of_the_first() {
    let dir = TempDir::new("scp");
    let (scp, received) = start(&dir);
    let payload = jpeg(64, 48, 3);
    let instance = photograph(1, &payload, 64, 48);
    let archive = dimse(scp.local_addr());
    for _ in 0..2 {
        archive.store(&instance, &mut payload.as_slice()).unwrap();
    }
    assert_eq!(received.lock().unwrap().len(), 2);
    assert_eq!(dir.files().len(), 1);
}

#[test]
fn it_listens_on_loopback_only() {
    let dir = TempDir::new("scp");
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(Scp::start(everywhere, ae("PACS"), dir.path(), |_| ()).is_err());
}
