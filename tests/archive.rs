//! Objects on their way to archives, good ones and bad ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;

use std::io::{self, Cursor, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use archive_peer::*;
use dicom_dictionary_std::tags;
use dicom_fixture::*;
use shutterbridge::archive::dimse::{Dimse, Limits};
use shutterbridge::archive::scp::{Received, Scp};
use shutterbridge::archive::{Archive as _, Refused, Stored};
use shutterbridge::capture::{Class, FailureCode};
use shutterbridge::dicom::{self, Instance};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// The built-in archive, with what it received.
fn built_in(dir: &TempDir) -> (Scp, Arc<Mutex<Vec<Received>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&received);
    let scp =
        Scp::start(SocketAddr::from(LOOPBACK), ae("PACS"), dir.path(), move |r| told.lock().unwrap().push(r.clone())).unwrap();
    (scp, received)
}

fn data_set(instance: &Instance, payload: &[u8]) -> Vec<u8> {
    let (mut payload, mut out) = (payload, Vec::new());
    instance.stream(instance.transfer_syntax(), &mut payload).unwrap().read_to_end(&mut out).unwrap();
    out
}

fn store(to: &Dimse, instance: &Instance, payload: &[u8]) -> Result<Stored, Refused> {
    to.store(instance, &mut Cursor::new(payload))
}

/// A photograph of about so many bytes.
fn big(number: u8) -> (Instance, Vec<u8>) {
    let payload = jpeg(1_200, 900, 3);
    assert!(payload.len() > 1 << 20, "{}", payload.len());
    (photograph(number, &payload, 1_200, 900), payload)
}

fn small(number: u8) -> (Instance, Vec<u8>) {
    let payload = jpeg(64, 48, 3);
    (photograph(number, &payload, 64, 48), payload)
}

#[test]
fn an_archive_of_another_maker_receives_exactly_the_object() {
    let dir = TempDir::new("storescp");
    let Some(archive) = Other::storescp(dir.path(), &["+xa", "+uf"]) else { return };
    let (instance, payload) = big(1);
    assert_eq!(store(&dimse(archive.address), &instance, &payload), Ok(Stored { warning: None }));
    let files = dir.files();
    assert_eq!(files.len(), 1);
    assert_eq!(validator_errors(&files[0]), Vec::<String>::new());
    let object = dicom_object::open_file(&files[0]).unwrap();
    assert_eq!(dicom::check::faults(&object), Vec::<String>::new());
    let pixels = object.element(tags::PIXEL_DATA).unwrap();
    let fragments = pixels.fragments().unwrap();
    assert_eq!(fragments.len(), 1);
    assert_eq!(&fragments[0][..payload.len()], payload);
}

#[test]
fn the_built_in_archive_keeps_the_bytes_that_were_sent() {
    let dir = TempDir::new("scp");
    let (scp, received) = built_in(&dir);
    let (instance, payload) = big(2);
    let archive = dimse(scp.local_addr());
    assert_eq!(archive.probe(), Ok(()));
    assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }));
    let received = received.lock().unwrap().clone();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].sop_instance, instance.sop_instance);
    let file = std::fs::read(&received[0].path).unwrap();
    assert_eq!(file, file_bytes(&instance, &payload));
    assert_eq!(dir.files(), [received[0].path.clone()]);
    scp.stop();
}

#[test]
fn an_archive_that_takes_only_implicit_vr_gets_native_pixels_and_no_jpeg() {
    let dir = TempDir::new("implicit");
    let Some(archive) = Other::storescp(dir.path(), &["+xi"]) else { return };
    let dimse = dimse(archive.address);
    let (instance, payload) = small(3);
    let refused = store(&dimse, &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveRefusedClass);
    assert!(refused.detail.contains("transfer syntax 1.2.840.10008.1.2.4.50"), "{}", refused.detail);
    let samples = noise(33, 21, 3);
    let native = dicom::build(&full_binding(), &manifest(full_claim(), 3), &native_picture(33, 21, 3)).unwrap();
    assert_eq!(store(&dimse, &native, &samples), Ok(Stored { warning: None }));
    let files = dir.files();
    assert_eq!(files.len(), 1);
    assert_eq!(validator_errors(&files[0]), Vec::<String>::new());
    let object = dicom_object::open_file(&files[0]).unwrap();
    assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), "1.2.840.10008.1.2");
    assert_eq!(&object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap()[..samples.len()], samples);
}

#[test]
fn a_jpeg_is_decoded_for_an_archive_that_takes_its_class_without_compression() {
    for (takes, syntax, number, samples, photometric) in [
        ("+xe", "1.2.840.10008.1.2.1", 31, 3, "RGB"),
        ("+xe", "1.2.840.10008.1.2.1", 32, 1, "MONOCHROME2"),
        ("+xi", "1.2.840.10008.1.2", 33, 3, "RGB"),
    ] {
        let dir = TempDir::new("decoded");
        let Some(archive) = Other::storescp(dir.path(), &[takes]) else { return };
        let mut options = options(&archive.address.to_string());
        options.profile.fallback = true;
        let to = Dimse::new(options);
        let payload = jpeg(61, 47, samples);
        let instance =
            dicom::build(&full_binding(), &manifest(full_claim(), number), &jpeg_picture(&payload, 61, 47, samples)).unwrap();
        let warning = store(&to, &instance, &payload).unwrap().warning.unwrap();
        assert!(warning.contains("sent with its pixels decoded"), "{warning}");
        let file = dir.files().into_iter().find(|f| f.to_str().unwrap().contains(instance.sop_instance.as_str())).unwrap();
        assert_eq!(validator_errors(&file), Vec::<String>::new());
        let object = dicom_object::open_file(&file).unwrap();
        let text = |tag| object.element(tag).unwrap().to_str().unwrap().trim().to_owned();
        assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), syntax);
        assert_eq!(text(tags::PHOTOMETRIC_INTERPRETATION), photometric);
        // What was lost stays lost.
        assert_eq!(
            (text(tags::LOSSY_IMAGE_COMPRESSION), text(tags::LOSSY_IMAGE_COMPRESSION_METHOD)),
            ("01".into(), "ISO_10918_1".into())
        );
        let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let decoded = image::load_from_memory(&payload).unwrap();
        let decoded = if samples == 3 { decoded.into_rgb8().into_raw() } else { decoded.into_luma8().into_raw() };
        assert_eq!(pixels[..decoded.len()], decoded);
    }
}

#[test]
fn an_archive_that_dies_in_mid_object_gets_it_once_when_it_is_back() {
    let dir = TempDir::new("killed");
    let Some(mut archive) = Other::storescp(dir.path(), &["+xa", "+uf"]) else { return };
    let (instance, payload) = big(4);
    let dimse = dimse(archive.address);
    let port = archive.address.port();
    let mut dying = Tripwire {
        inner: &payload,
        after: payload.len() / 2,
        then: || {
            archive.kill();
            Ok(())
        },
    };
    let refused = dimse.store(&instance, &mut dying).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveUnreachable, "{}", refused.detail);
    assert_eq!(refused.code.class(), Class::Transient);
    let refused = store(&dimse, &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveUnreachable, "{}", refused.detail);
    let kept = TempDir::new("back");
    let _back = Other::storescp_at(port, kept.path(), &["+xa", "+uf"]).unwrap();
    assert_eq!(store(&dimse, &instance, &payload), Ok(Stored { warning: None }));
    assert_eq!(kept.files().len(), 1);
    assert_eq!(validator_errors(&kept.files()[0]), Vec::<String>::new());
}

#[test]
fn an_association_that_is_not_wanted_is_transient_and_says_why() {
    let dir = TempDir::new("reject");
    let (scp, _) = built_in(&dir);
    let mut wrong = options(&scp.local_addr().to_string());
    wrong.called_ae = ae("SOMEONE");
    let (instance, payload) = small(5);
    let refused = store(&Dimse::new(wrong), &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveRejected);
    assert!(refused.detail.contains("called AE title not recognized"), "{}", refused.detail);
    if let Some(archive) = Other::storescp(dir.path(), &["--refuse"]) {
        let refused = dimse(archive.address).probe().unwrap_err();
        assert_eq!(refused.code, FailureCode::ArchiveRejected);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [nobody.to_string(), "not an address".to_owned()] {
        let refused = store(&Dimse::new(options(&address)), &instance, &payload).unwrap_err();
        assert_eq!(refused.code, FailureCode::ArchiveUnreachable, "{}", refused.detail);
    }
}

#[test]
fn a_picture_that_cannot_be_read_to_its_end_never_becomes_an_object() {
    let dir = TempDir::new("source");
    let (scp, received) = built_in(&dir);
    let archive = dimse(scp.local_addr());
    let (instance, payload) = big(6);
    let fails = || Err(io::Error::other("a sealed chunk does not open"));
    let mut broken = Tripwire { inner: &payload, after: payload.len() / 2, then: fails };
    let refused = archive.store(&instance, &mut broken).unwrap_err();
    assert_eq!(refused.code, FailureCode::SpoolUnreadable, "{}", refused.detail);
    let mut long = payload.clone();
    long.push(0);
    for wrong in [&payload[..payload.len() - 1], &long] {
        assert_eq!(store(&archive, &instance, wrong).unwrap_err().code, FailureCode::SpoolUnreadable);
    }
    // The archive lives on, and has nothing of it.
    assert_eq!(archive.probe(), Ok(()));
    drop(archive);
    scp.stop();
    assert!(received.lock().unwrap().is_empty());
    assert_eq!(dir.files(), Vec::<PathBuf>::new());
}

#[test]
fn each_status_has_its_consequence() {
    let table = [
        (0x0000, Ok(None)),
        (0xB000, Ok(Some("B000H: elements were coerced"))),
        (0x0111, Ok(Some("has this instance already"))),
        (0xA700, Err(FailureCode::ArchiveBusy)),
        (0xA900, Err(FailureCode::ArchiveRefusedObject)),
        (0xC000, Err(FailureCode::ArchiveRefusedObject)),
        (0x0110, Err(FailureCode::ArchiveProcessing)),
        (0x0122, Err(FailureCode::ArchiveRefusedClass)),
        (0x0124, Err(FailureCode::ArchiveNotAuthorised)),
    ];
    let script = table.iter().map(|(status, _)| Then::Answer(*status, "")).collect();
    let peer = Scripted::start(16_384, vec![script]);
    let archive = dimse(peer.address);
    for (status, then) in &table {
        let (instance, payload) = small(7);
        match (store(&archive, &instance, &payload), then) {
            (Ok(Stored { warning }), Ok(want)) => {
                assert_eq!(warning.is_some(), want.is_some(), "{status:04X}");
                assert!(warning.unwrap_or_default().contains(want.unwrap_or_default()), "{status:04X}");
            }
            (Err(refused), Err(want)) => assert_eq!(refused.code, *want, "{status:04X}"),
            (got, _) => panic!("{status:04X}: {got:?}"),
        }
    }
    drop(archive);
    let saw = peer.finish();
    // All over one association, released at the end.
    assert_eq!(saw.iter().filter(|s| **s == Saw::Associated).count(), 1);
    assert_eq!(saw.last(), Some(&Saw::Released));
}

#[test]
fn the_archive_s_own_words_are_repeated_without_the_patient() {
    let comment = "Patient ID 4712 of MÜLLER differs (Doe^John) in (0010,0020) disk is full";
    let peer = Scripted::start(16_384, vec![vec![Then::Answer(0xA700, comment)]]);
    let (instance, payload) = small(8);
    let refused = store(&dimse(peer.address), &instance, &payload).unwrap_err();
    assert_eq!(
        refused.detail,
        "status A700H: out of resources (PS3.4 §B.2.3); the archive says: \
         Patient ID [redacted] of [redacted] differs [redacted] in (0010,0020) disk is full"
    );
    peer.finish();
}

/// A payload that goes on only after the archive has closed the connection: past the first
/// write, before the second.
fn until_closed<'a>(payload: &'a [u8], peer: &'a Scripted, seen: &'a mut Vec<Saw>) -> impl Read + 'a {
    let then = || {
        seen.extend(peer.wait_until_closed());
        Ok(())
    };
    Tripwire { inner: payload, after: 200_000, then }
}

#[test]
fn an_archive_that_goes_after_the_object_leaves_doubt_and_before_it_none() {
    let (instance, payload) = big(9);
    let peer = Scripted::start(16_384, vec![vec![Then::CloseAtOnce]]);
    let refused = dimse(peer.address).store(&instance, &mut until_closed(&payload, &peer, &mut Vec::new())).unwrap_err();
    assert_eq!((refused.code, refused.code.class()), (FailureCode::ArchiveUnreachable, Class::Transient), "{}", refused.detail);
    peer.finish();
    for then in [Then::CloseAfterIt, Then::Silence] {
        let peer = Scripted::start(16_384, vec![vec![then.clone()]]);
        let mut options = options(&peer.address.to_string());
        options.limits.response_ms = if matches!(then, Then::Silence) { 500 } else { 60_000 };
        let refused = store(&Dimse::new(options), &instance, &payload).unwrap_err();
        assert_eq!((refused.code, refused.code.class()), (FailureCode::ArchiveAborted, Class::Ambiguous), "{then:?}");
        peer.finish();
    }
}

#[test]
fn a_kept_association_that_died_is_replaced_at_once() {
    let again = || vec![Then::Answer(0, "")];
    let table = [
        ("between two objects", vec![vec![Then::AnswerAndClose], again()]),
        ("within the second", vec![vec![Then::Answer(0, ""), Then::CloseAtOnce], again()]),
    ];
    for (when, scripts) in table {
        let peer = Scripted::start(16_384, scripts);
        let archive = dimse(peer.address);
        let (instance, payload) = big(10);
        let mut saw = Vec::new();
        assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }), "{when}");
        if when == "between two objects" {
            saw.extend(peer.wait_until_closed());
            assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }), "{when}");
        } else {
            let second = archive.store(&instance, &mut until_closed(&payload, &peer, &mut saw));
            assert_eq!(second, Ok(Stored { warning: None }), "{when}");
        }
        drop(archive);
        let whole = data_set(&instance, &payload);
        saw.extend(peer.finish());
        assert_eq!(saw.iter().filter(|s| **s == Saw::Associated).count(), 2, "{when}");
        let received = saw.iter().filter(|s| matches!(s, Saw::Message { data, is_complete: true, .. } if *data == whole));
        assert_eq!(received.count(), 2, "{when}");
    }
}

#[test]
fn an_idle_association_is_released_after_its_time_and_not_before() {
    let peer = Scripted::start(16_384, vec![vec![Then::Answer(0, "")], vec![Then::Answer(0, ""), Then::Answer(0, "")]]);
    let mut options = options(&peer.address.to_string());
    options.limits.idle_ms = 0;
    let (instance, payload) = small(11);
    let impatient = Dimse::new(options.clone());
    assert!(store(&impatient, &instance, &payload).is_ok());
    impatient.release_idle();
    options.limits.idle_ms = 600_000;
    let patient = Dimse::new(options);
    assert!(store(&patient, &instance, &payload).is_ok());
    patient.release_idle();
    assert!(store(&patient, &instance, &payload).is_ok());
    drop((impatient, patient));
    let saw: Vec<Saw> = peer.finish().into_iter().filter(|s| !s.is_whole()).collect();
    assert_eq!(saw, [Saw::Associated, Saw::Released, Saw::Associated, Saw::Released]);
}

#[test]
fn several_threads_share_an_archive_without_more_associations_than_allowed() {
    let dir = TempDir::new("threads");
    let (scp, received) = built_in(&dir);
    let mut options = options(&scp.local_addr().to_string());
    options.limits.associations_max = 2;
    let archive = Dimse::new(options);
    std::thread::scope(|scope| {
        for thread in 0..6_u8 {
            let archive = &archive;
            scope.spawn(move || {
                for n in 0..5 {
                    let (instance, payload) = small(thread * 16 + n);
                    assert_eq!(store(archive, &instance, &payload), Ok(Stored { warning: None }));
                }
            });
        }
    });
    assert_eq!(received.lock().unwrap().len(), 30);
    assert_eq!(dir.files().len(), 30);
}

#[test]
fn no_pdu_is_longer_than_the_archive_takes_and_none_is_without_limit() {
    for (announced, limit) in [(1_024, 1_024), (16_384, 16_384), (4_000_000, 131_072)] {
        let peer = Scripted::start(announced, vec![vec![Then::Answer(0, "")]]);
        let (instance, payload) = big(12);
        assert_eq!(store(&dimse(peer.address), &instance, &payload), Ok(Stored { warning: None }));
        let saw = peer.finish();
        let Some(Saw::Message { longest_pdu, data, is_complete: true }) = saw.iter().find(|s| s.is_whole()) else {
            panic!("{announced}: {} events", saw.len())
        };
        assert!(*longest_pdu <= limit && *longest_pdu > limit / 2, "{announced}: {longest_pdu}");
        assert_eq!(*data, data_set(&instance, &payload));
    }
}

#[test]
fn an_archive_that_accepts_the_connection_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(&silent.local_addr().unwrap().to_string());
    options.limits = Limits { association_ms: 50, ..Limits::default() };
    let refused = Dimse::new(options).probe().unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveUnreachable);
    assert!(refused.detail.contains("did not answer in time"), "{}", refused.detail);
}

#[test]
fn an_archive_that_stops_reading_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(&listener.local_addr().unwrap().to_string());
    options.limits.stall_ms = 100;
    // More than the buffers of two kernels hold.
    let payload = vec![0x55; 64 << 20];
    let instance = dicom::build(&full_binding(), &manifest(full_claim(), 13), &jpeg_picture(&payload, 64, 48, 3)).unwrap();
    let deaf = std::thread::spawn(move || {
        let socket = listener.accept().unwrap().0;
        associate(socket, 16_384)
    });
    let refused = store(&Dimse::new(options), &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveUnreachable);
    assert!(refused.detail.contains("did not answer in time"), "{}", refused.detail);
    drop(deaf.join());
}

#[test]
fn an_archive_that_answers_nonsense_is_not_believed() {
    let mut wrong_context = vec![2, 0, 0, 0, 0, 68];
    wrong_context.extend_from_slice(&[0; 68]);
    let table: [(&str, Vec<u8>); 7] = [
        ("nothing", vec![]),
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("a PDU without an end", vec![2, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("an empty acceptance", wrong_context),
        ("data at once", vec![4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 3]),
        ("a release", vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0]),
        ("half a rejection", vec![3, 0, 0, 0, 0, 2, 0, 1]),
    ];
    let (instance, payload) = small(14);
    for (what, answer) in table {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let archive = dimse(listener.local_addr().unwrap());
        let liar = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 6];
            socket.read_exact(&mut request).unwrap();
            let length = u32::from_be_bytes([request[2], request[3], request[4], request[5]]);
            io::copy(&mut (&socket).take(u64::from(length)), &mut io::sink()).unwrap();
            socket.write_all(&answer).unwrap();
        });
        let refused = store(&archive, &instance, &payload).unwrap_err();
        assert_eq!(refused.code, FailureCode::ArchiveUnreachable, "{what}: {}", refused.detail);
        liar.join().unwrap();
    }
}

#[test]
fn an_archive_that_answers_another_message_leaves_doubt() {
    // The status of a message that was never sent.
    let peer = Scripted::start(16_384, vec![vec![Then::AnswerAnother]]);
    let (instance, payload) = small(15);
    let refused = store(&dimse(peer.address), &instance, &payload).unwrap_err();
    assert_eq!(refused.code, FailureCode::ArchiveAborted, "{}", refused.detail);
    assert_eq!(peer.finish().last(), Some(&Saw::Aborted));
}

/// A second real archive, which looks into what it stores.
#[test]
fn orthanc_takes_the_object_and_refuses_a_wrong_title() {
    let (store_dir, config) = (TempDir::new("orthanc"), TempDir::new("orthanc-config"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = config.path().join("orthanc.json");
    let settings = serde_json::json!({
        "DicomAet": "PACS", "DicomPort": port, "DicomCheckCalledAet": true, "HttpServerEnabled": false, "Plugins": [],
        "StorageDirectory": store_dir.path(), "IndexDirectory": store_dir.path(), "StorageCompression": false,
    });
    std::fs::write(&file, settings.to_string()).unwrap();
    let Some(orthanc) = Other::start("Orthanc", &[file.to_str().unwrap()], port) else { return };
    let (instance, payload) = big(16);
    let archive = dimse(orthanc.address);
    assert_eq!(archive.probe(), Ok(()));
    assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }));
    let samples = noise(33, 21, 3);
    let native = dicom::build(&full_binding(), &manifest(full_claim(), 17), &native_picture(33, 21, 3)).unwrap();
    assert_eq!(store(&archive, &native, &samples), Ok(Stored { warning: None }));
    let mut wrong = options(&orthanc.address.to_string());
    wrong.called_ae = ae("SOMEONE");
    assert_eq!(Dimse::new(wrong).probe().unwrap_err().code, FailureCode::ArchiveRejected);
    drop(archive);
    drop(orthanc);
    // It writes the attributes anew; the fragment is ours.
    let tail = [&payload[..], &vec![0; payload.len() % 2], &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]].concat();
    let kept = all_files(store_dir.path()).into_iter().filter(|f| std::fs::read(f).unwrap().ends_with(&tail));
    assert_eq!(kept.count(), 1);
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}
