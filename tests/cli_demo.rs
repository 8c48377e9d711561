//! The demo, with a pretended gateway in the middle: everything round it is real.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use shutterbridge::cli::args::{ArchivePeer, DemoArgs};
use shutterbridge::cli::demo::{Roof, run};
use shutterbridge::cli::serve::{DemoPersons, Doors, Running};
use shutterbridge::clock::Clock;
use shutterbridge::config::options::ArchivePeer as Peer;
use shutterbridge::config::{self, Sources};
use shutterbridge::media::exif::Block;

/// An MLLP door that accepts everything, for as long as the process lives.
fn accepting_door() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || acknowledge(&mut stream.unwrap()));
        }
    });
    address
}

fn acknowledge(stream: &mut TcpStream) {
    let mut byte = [0u8];
    while stream.read(&mut byte).unwrap_or(0) == 1 {
        if byte[0] == 0x1C && stream.write_all(b"\x0bMSH|^~\\&|\rMSA|AA|1\r\x1c\r").is_err() {
            return;
        }
    }
}

struct Pretended {
    folder: PathBuf,
    stopped: Rc<Cell<bool>>,
}

impl Running for Pretended {
    fn doors(&self) -> Doors {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let dev_ca = Some(self.folder.join("data/dev-ca/ca.pem"));
        Doors { https: at(8443), mllp: Some(accepting_door()), ops: at(9443), dev_ca }
    }

    fn stop(self: Box<Self>) {
        assert!(self.folder.exists(), "the folder outlives the gateway");
        self.stopped.set(true);
    }
}

struct Ran {
    code: u8,
    out: String,
    err: String,
    folder: PathBuf,
    config: config::Config,
    photo: Vec<u8>,
    stopped: bool,
}

/// Runs the demo until it is ready, and ends it then.
fn demo(args: &DemoArgs) -> Ran {
    let seen = RefCell::new(None);
    let stopped = Rc::new(Cell::new(false));
    let start = &mut |file: &Path, _: DemoPersons| {
        let folder = file.parent().unwrap().to_owned();
        let loaded = config::load(&Sources::of_file(file)).map_err(|problems| problems.to_string())?;
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let photo = std::fs::read(folder.join("sample.jpg")).unwrap();
        *seen.borrow_mut() = Some((folder.clone(), loaded.config, photo));
        Ok(Box::new(Pretended { folder, stopped: Rc::clone(&stopped) }) as Box<dyn Running>)
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let wait = &|_: Duration| true;
    let code = run(args, &mut Roof { start, wait, clock: Clock::system(), out: &mut out, err: &mut err });
    let (folder, config, photo) = seen.into_inner().expect("started");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code, out: text(out), err: text(err), folder, config, photo, stopped: stopped.get() }
}

#[test]
fn the_demo_prints_what_is_needed_to_try_it_and_leaves_nothing_behind() {
    let ran = demo(&DemoArgs::default());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.stopped && !ran.folder.exists());
    assert!(ran.out.ends_with("\nready\n"), "{}", ran.out);
    assert!(ran.out.contains("https://127.0.0.1:8443/\n") && ran.out.contains("/data/dev-ca/ca.pem\n"), "{}", ran.out);
    let curl = ran.out.lines().find(|l| l.starts_with("curl ")).expect("a curl line");
    for part in [
        "--cacert ",
        "-H \"Authorization: Bearer ",
        "-F 'claim={\"patient\":{\"id\":\"4711\"",
        "\"order\":{\"accession\":\"A123\"}",
        ";type=application/json'",
        "/sample.jpg https://127.0.0.1:8443/api/v1/captures",
    ] {
        assert!(curl.contains(part), "{part}\n{curl}");
    }
    let token = ran.out.lines().find_map(|l| l.strip_prefix("Token     ")).expect("a token");
    assert!(curl.contains(token) && token.split('.').count() == 3);
}

#[test]
fn the_sample_photo_is_one_that_a_phone_would_hand_in() {
    let photo = demo(&DemoArgs::default()).photo;
    assert!(photo.starts_with(&[0xFF, 0xD8]) && photo.len() > 10_000, "{} bytes", photo.len());
    let tiff = photo.windows(6).position(|w| w == b"Exif\0\0").expect("an Exif block") + 6;
    assert!(Block::read(&photo[tiff..]).expect("Exif").has_position);
}

#[test]
fn the_demo_keeps_a_folder_that_somebody_named_and_signs_with_the_same_key_again() {
    let named = std::env::temp_dir().join(format!("shutterbridge-demo-named-{}", std::process::id()));
    let args = DemoArgs { data: Some(named.clone()), archive: None };
    let ran = demo(&args);
    assert!(ran.out.contains(&format!("Ctrl-C ends it; {} stays.", named.display())), "{}", ran.out);
    let jwks = std::fs::read(named.join("jwks.json")).unwrap();
    demo(&args);
    assert_eq!(std::fs::read(named.join("jwks.json")).unwrap(), jwks);
    std::fs::remove_dir_all(&named).unwrap();
}

#[test]
fn the_built_in_archive_listens_unless_a_real_one_is_named() {
    let built_in = demo(&DemoArgs::default()).config.archives.remove(0);
    let Peer::Dimse { address, called_ae, .. } = built_in.peer else { panic!("{built_in:?}") };
    assert!(address.starts_with("127.0.0.1:") && called_ae == "DEMO");
    let archive = Some(ArchivePeer { address: "pacs.example:104".to_owned(), called_ae: "PACS".to_owned() });
    let real = demo(&DemoArgs { data: None, archive }).config.archives.remove(0);
    let Peer::Dimse { address, called_ae, .. } = real.peer else { panic!("{real:?}") };
    assert_eq!((address.as_str(), called_ae.as_str()), ("pacs.example:104", "PACS"));
}

#[test]
fn a_gateway_that_does_not_start_ends_the_demo_with_its_reason() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let folder = RefCell::new(PathBuf::new());
    let start = &mut |file: &Path, _: DemoPersons| {
        *folder.borrow_mut() = file.parent().unwrap().to_owned();
        Err("the disk is full".to_owned())
    };
    let wait = &|_: Duration| true;
    let clock = Clock::system();
    let code = run(&DemoArgs::default(), &mut Roof { start, wait, clock, out: &mut out, err: &mut err });
    assert_eq!((code, out), (1, Vec::new()));
    assert_eq!(String::from_utf8(err).unwrap(), "The demo did not start: the disk is full\n");
    assert!(!folder.into_inner().exists());
}
