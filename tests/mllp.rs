//! The HL7 door, as a sender meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod hl7_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hl7_support::{Gateway, adt, by_id};
use shutterbridge::hl7;
use shutterbridge::lookup::Feed;
use shutterbridge::mllp::{Inbox, Listener, Options, Reply};

/// Far beyond anything a test waits for; only so that a failure ends.
const PATIENCE: Duration = Duration::from_secs(20);

struct Hospital {
    gateway: Gateway,
    is_broken: AtomicBool,
    held: Mutex<Held>,
    released: Condvar,
    waiting: Condvar,
}

#[derive(Default)]
struct Held {
    /// While true, deliveries wait.
    is_closed: bool,
    /// Deliveries that wait.
    in_hand: usize,
}

impl Hospital {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gateway: Gateway::new(),
            is_broken: AtomicBool::new(false),
            held: Mutex::default(),
            released: Condvar::new(),
            waiting: Condvar::new(),
        })
    }
}

impl Inbox for Hospital {
    fn deliver(&self, message: &[u8]) -> Reply {
        let mut held = self.held.lock().unwrap();
        held.in_hand += 1;
        self.waiting.notify_all();
        held = self.released.wait_while(held, |held| held.is_closed).unwrap();
        held.in_hand -= 1;
        drop(held);
        if self.is_broken.load(Ordering::SeqCst) {
            return Reply::Close;
        }
        match hl7::read(message, &self.gateway.rules, self.gateway.received_at) {
            Ok(read) => {
                self.gateway.local.apply(&read.update).unwrap();
                Reply::Ack(read.accepted())
            }
            Err(nack) => Reply::Ack(nack.answer()),
        }
    }

    fn refuse_oversize(&self, start: &[u8]) -> Reply {
        Reply::Ack(hl7::refuse_oversize(start, self.gateway.received_at).answer())
    }
}

fn open(inbox: Arc<Hospital>, options: Options) -> Listener {
    Listener::open((Ipv4Addr::LOCALHOST, 0).into(), options, inbox).unwrap()
}

struct Sender(TcpStream);

impl Sender {
    fn to(listener: &Listener) -> Self {
        let stream = TcpStream::connect(listener.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    fn send(&mut self, message: &str) {
        self.raw(hl7::frame::wrap(message.as_bytes()));
    }

    /// The next acknowledgement: code and MSA-2.
    fn ack(&mut self) -> String {
        let mut frame = Vec::new();
        let mut byte = [0];
        while !frame.ends_with(b"\x1c\r") {
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "closed instead of acknowledged");
            frame.push(byte[0]);
        }
        assert_eq!(frame[0], 0x0b);
        let text = String::from_utf8_lossy(&frame).into_owned();
        let msa = text.split('\r').find(|s| s.starts_with("MSA|")).unwrap();
        msa.split('|').skip(1).take(2).collect::<Vec<_>>().join(" ")
    }

    fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(e) => e.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// A message of that control id for the patient of the same name.
fn message(id: &str) -> String {
    let text = adt("A04", "20260301080000", id).text();
    let control_id = text.split('|').nth(9).unwrap();
    text.replacen(&format!("|{control_id}|"), &format!("|{id}|"), 1)
}

#[test]
fn every_message_is_answered_in_order_and_is_on_file_when_it_is() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    let mut sender = Sender::to(&listener);
    let ids: Vec<String> = (0..200).map(|n| format!("P{n}")).collect();
    let all: Vec<u8> = ids.iter().flat_map(|id| hl7::frame::wrap(message(id).as_bytes())).collect();
    sender.raw(all);
    for id in &ids {
        assert_eq!(sender.ack(), format!("AA {id}"));
        assert_eq!(hospital.gateway.who(&by_id(id)), *id);
    }
}

#[test]
fn a_frame_may_be_dressed_as_senders_dress_it() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    let mut sender = Sender::to(&listener);
    let (a, b) = (message("A"), message("B"));
    sender.raw(format!("\r\n \r\n\u{b}{a}\u{1c}\r\n\u{b}{b}\u{1c}\u{b}{a}\u{1c}\r"));
    assert_eq!([sender.ack(), sender.ack(), sender.ack()], ["AA A", "AA B", "AA A"]);
    for byte in hl7::frame::wrap(message("C").as_bytes()) {
        sender.raw([byte]);
    }
    assert_eq!(sender.ack(), "AA C");
}

#[test]
fn a_torn_frame_leaves_nothing_and_the_next_one_counts() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    let mut sender = Sender::to(&listener);
    sender.raw(format!("\u{b}{}", &message("TORN")[..80]));
    sender.send(&message("WHOLE"));
    assert_eq!(sender.ack(), "AA WHOLE");
    assert_eq!(hospital.gateway.who(&by_id("TORN")), "none");
    // Cut in the middle of the last segment: everything needed was there, and still it is nothing.
    let mut cut = Sender::to(&listener);
    let text = message("CUT");
    cut.raw(format!("\u{b}{}", &text[..text.len() - 3]));
    drop(cut);
    sender.send(&message("AFTER"));
    assert_eq!(sender.ack(), "AA AFTER");
    assert_eq!(hospital.gateway.who(&by_id("CUT")), "none");
}

#[test]
fn a_batch_gets_one_answer_per_message() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    let mut sender = Sender::to(&listener);
    sender.send(&format!("FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{}{}BTS|2\rFTS|1", message("B1"), message("B2")));
    assert_eq!([sender.ack(), sender.ack()], ["AA B1", "AA B2"]);
    assert_eq!(hospital.gateway.who(&by_id("B2")), "B2");
}

#[test]
fn a_failure_of_ours_is_silence_and_a_closed_connection() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    let mut sender = Sender::to(&listener);
    hospital.is_broken.store(true, Ordering::SeqCst);
    sender.send(&message("A"));
    assert!(sender.is_closed());
    hospital.is_broken.store(false, Ordering::SeqCst);
    let mut again = Sender::to(&listener);
    again.send(&message("A"));
    assert_eq!(again.ack(), "AA A");
}

#[test]
fn a_message_over_the_limit_is_refused_once_and_the_connection_ends() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options { frame_max_bytes: 2_000, ..Options::default() });
    let mut sender = Sender::to(&listener);
    sender.send(&message("BIG").replace("Müller", &"M".repeat(3_000)));
    assert_eq!(sender.ack(), "AR BIG");
    assert!(sender.is_closed());
    assert_eq!(hospital.gateway.who(&by_id("BIG")), "none");
}

#[test]
fn what_does_not_speak_mllp_is_let_go() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    let mut stranger = Sender::to(&listener);
    stranger.raw("GET / HTTP/1.1\r\nX: ".repeat(400));
    assert!(stranger.is_closed());
}

#[test]
fn silence_inside_a_frame_ends_the_connection_and_silence_between_frames_does_not() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options { frame_stall_ms: 50, ..Options::default() });
    let mut idle = Sender::to(&listener);
    let mut stalled = Sender::to(&listener);
    stalled.raw("\u{b}MSH|^~\\&|");
    assert!(stalled.is_closed(), "given up while the other one slept as long");
    idle.send(&message("A"));
    assert_eq!(idle.ack(), "AA A");
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_live() {
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options { connections_max: 2, ..Options::default() });
    let mut first = Sender::to(&listener);
    let mut second = Sender::to(&listener);
    for (sender, id) in [(&mut first, "A"), (&mut second, "B")] {
        sender.send(&message(id));
        assert_eq!(sender.ack(), format!("AA {id}"));
    }
    assert!(Sender::to(&listener).is_closed());
    first.send(&message("C"));
    assert_eq!(first.ack(), "AA C");
}

#[test]
fn a_stopping_door_finishes_the_message_in_hand() {
    let hospital = Hospital::new();
    let mut listener = open(hospital.clone(), Options::default());
    let mut idle = Sender::to(&listener);
    let mut busy = Sender::to(&listener);
    let mut held = hospital.held.lock().unwrap();
    held.is_closed = true;
    busy.send(&message("IN-HAND"));
    drop(hospital.waiting.wait_while(held, |held| held.in_hand == 0).unwrap());
    let address = listener.address();
    let stopping = std::thread::spawn(move || listener.stop());
    assert!(idle.is_closed());
    hospital.held.lock().unwrap().is_closed = false;
    hospital.released.notify_all();
    assert_eq!(busy.ack(), "AA IN-HAND");
    assert!(busy.is_closed());
    stopping.join().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn hostile_bytes_never_take_the_door_down() {
    let Some(corpus) = hl7_support::corpus() else { return };
    let hospital = Hospital::new();
    let listener = open(hospital.clone(), Options::default());
    for entry in std::fs::read_dir(corpus.join("hostile")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let mut hostile = Sender::to(&listener);
        // The door may have closed already: that is an answer too.
        let _ = hostile.0.write_all(&hl7::frame::wrap(&bytes));
        let mut good = Sender::to(&listener);
        good.send(&message("GOOD"));
        assert_eq!(good.ack(), "AA GOOD");
    }
}
