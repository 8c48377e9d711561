//! A hospital that talks: it announces patients and orders over MLLP, as a real one does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;

/// HL7 v2.5.1 §C.4.3 (MLLP): start block, end block, carriage return.
const START: u8 = 0x0B;
const END: &[u8; 2] = b"\x1C\r";
/// Between two of its messages once everybody was announced.
const PACE: Duration = Duration::from_secs(4);
/// Before it calls again where the gateway hung up.
const RECONNECT: Duration = Duration::from_secs(1);
/// An acknowledgement takes milliseconds; a sender of a hospital waits 5 to 30 s.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// An acknowledgement is a few hundred bytes.
const ACK_BYTES_MAX: usize = 64 * 1024;

/// One invented person with a visit and an order.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub mrn: &'static str,
    /// PID-5, all repetitions.
    pub name: &'static str,
    /// PID-7.
    pub born: &'static str,
    pub sex: &'static str,
    pub visit: &'static str,
    pub accession: &'static str,
}

/// The first is the one of the `curl` line.
pub const PEOPLE: [Person; 14] = [
    person("4711", "Müller^Jörg^Karl^Jr^Dr^^L", "19700301", "M", "V100", "A123"),
    person("4712", "العلي^فاطمة^محمد^^^^L", "19850717", "F", "V101", "A124"),
    person("4713", "Wang^XiaoDong^^^^^L^A~王^小东^^^^^L^I", "19921130", "M", "V102", "A125"),
    person("4714", "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P", "19580412", "M", "V103", "A126"),
    person("4715", "Παπαδοπούλου^Ελένη^^^^^L", "19770909", "F", "V104", "A127"),
    person("4716", "Иванова^Анна^Сергеевна^^^^L", "20010228", "F", "V105", "A128"),
    person("4717", "כהן^שרה^^^^^L", "19640605", "F", "V106", "A129"),
    person("4718", "Hong^Gildong^^^^^L^A~洪^吉洞^^^^^L^I~홍^길동^^^^^L^P", "19891015", "M", "V107", "A130"),
    person("4719", "Groß^Änne^Ülkü^^^^L", "20240119", "F", "V108", "A131"),
    person("4720", "Şahin^Gülçin^^^^^L", "19990304", "F", "V109", "A132"),
    person("4721", "O'Brien^Siobhán^Áine^^^^L", "19471224", "F", "V110", "A133"),
    person("4722", "Nguyễn^Thị Hoa^^^^^L", "19930808", "F", "V111", "A134"),
    person("4723", "Wiśniewska-Łukaszewicz^Żaneta^^^^^L", "19810523", "F", "V112", "A135"),
    person("4724", "de la Tour^Élodie^Françoise^^Mme^^L", "19731101", "F", "V113", "A136"),
];

const fn person(
    mrn: &'static str,
    name: &'static str,
    born: &'static str,
    sex: &'static str,
    visit: &'static str,
    accession: &'static str,
) -> Person {
    Person { mrn, name, born, sex, visit, accession }
}

/// What the hospital has to tell the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The person of this number was acknowledged, with the order.
    Announced(&'static str),
    /// The gateway did not accept a message; MSA-1 of its answer.
    Refused(String),
    /// The connection failed; it calls again.
    HungUp(String),
}

/// A hospital on a thread of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Hospital {
    pub said: Receiver<Said>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hospital {
    /// Announces everybody to the MLLP door at once, then sends news every few seconds.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn open(door: SocketAddr, clock: Clock) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (say, said) = mpsc::channel();
        let desk = Desk { door, clock, stopped, say, sent: 0 };
        let thread = std::thread::Builder::new().name("demo-hospital".to_owned()).spawn(move || desk.work())?;
        Ok(Self { said, stop: Some(stop), thread: Some(thread) })
    }

    /// True as soon as the person was acknowledged; false where that takes longer than `longest`,
    /// or the gateway refuses.
    #[must_use]
    pub fn has_announced(&self, mrn: &str, longest: Duration) -> bool {
        loop {
            match self.said.recv_timeout(longest) {
                Ok(Said::Announced(known)) if known == mrn => return true,
                Ok(Said::Announced(_) | Said::HungUp(_)) => {}
                Ok(Said::Refused(_)) | Err(_) => return false,
            }
        }
    }
}

impl Drop for Hospital {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Desk {
    door: SocketAddr,
    clock: Clock,
    stopped: Receiver<()>,
    say: Sender<Said>,
    /// Messages so far: each has a control id of its own (MSH-10).
    sent: u64,
}

impl Desk {
    fn work(mut self) {
        let mut line = None;
        let mut next = 0;
        loop {
            let round = next / PEOPLE.len();
            let Some(person) = PEOPLE.get(next % PEOPLE.len()) else { return };
            match self.announce(&mut line, person, round) {
                Ok(said) => {
                    let _ = self.say.send(said);
                    next += 1;
                }
                Err(error) => {
                    line = None;
                    let _ = self.say.send(Said::HungUp(error.to_string()));
                    if self.is_over(RECONNECT) {
                        return;
                    }
                    continue;
                }
            }
            let pause = if round == 0 { Duration::ZERO } else { PACE };
            if self.is_over(pause) {
                return;
            }
        }
    }

    fn is_over(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
    }

    /// The patient, then the order; the same order again changes nothing.
    fn announce(&mut self, line: &mut Option<TcpStream>, person: &Person, round: usize) -> io::Result<Said> {
        let messages = [self.patient_message(person, round), self.order_message(person, round)];
        for message in messages {
            let stream = match line {
                Some(stream) => stream,
                None => line.insert(connect(self.door)?),
            };
            let code = exchange(stream, &message)?;
            if code != "AA" {
                return Ok(Said::Refused(code));
            }
        }
        Ok(Said::Announced(person.mrn))
    }

    /// ADT^A04 at first, then A08: somebody moved to another bed.
    fn patient_message(&mut self, person: &Person, round: usize) -> String {
        let event = if round == 0 { "A04" } else { "A08" };
        let now = self.now();
        let head = self.head(&format!("ADT^{event}^ADT_A01"), "2.5.1");
        let bed = round % 4 + 1;
        format!(
            "{head}EVN|{event}|{now}\r{}PV1|1|O|DERM^1^{bed}||||1234^Khan^Amira|5678^Lindqvist^Åsa|||||||||||{}^^^HOSP^VN\r",
            pid(person),
            person.visit
        )
    }

    fn order_message(&mut self, person: &Person, round: usize) -> String {
        let control = if round == 0 { "NW" } else { "XO" };
        let head = self.head("ORM^O01^ORM_O01", "2.3.1");
        let number = person.accession.trim_start_matches('A');
        format!(
            "{head}{}PV1|1|O|DERM^1^1||||||||||||||||{visit}^^^HOSP^VN\rORC|{control}|P{number}|F{number}\r\
             OBR|1|P{number}|F{number}|DERMPH^Dermatology photo^L||||||||||||1234^Khan^Amira||{}|RP{number}|SPS{number}||||XC\r",
            pid(person),
            person.accession,
            visit = person.visit
        )
    }

    fn head(&mut self, kind: &str, version: &str) -> String {
        self.sent += 1;
        let now = self.now();
        format!("MSH|^~\\&|HIS|HOSP|SHUTTERBRIDGE|IMG|{now}||{kind}|{now}{:06}|P|{version}||||||UNICODE UTF-8\r", self.sent)
    }

    fn now(&self) -> String {
        self.clock.now().strftime("%Y%m%d%H%M%S").to_string()
    }
}

fn pid(person: &Person) -> String {
    format!("PID|1||{}^^^HOSP^MR||{}||{}|{}\r", person.mrn, person.name, person.born, person.sex)
}

fn connect(door: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&door, ACK_WAIT)?;
    stream.set_read_timeout(Some(ACK_WAIT))?;
    stream.set_write_timeout(Some(ACK_WAIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one message and reads its acknowledgement: MSA-1.
fn exchange(stream: &mut TcpStream, message: &str) -> io::Result<String> {
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.push(START);
    frame.extend_from_slice(message.as_bytes());
    frame.extend_from_slice(END);
    stream.write_all(&frame)?;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    while !answer.ends_with(END) {
        let length = stream.read(&mut buffer)?;
        if length == 0 || answer.len() > ACK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without an acknowledgement"));
        }
        answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&answer);
    let msa = text.split('\r').find_map(|segment| segment.strip_prefix("MSA|"));
    Ok(msa.and_then(|fields| fields.split('|').next()).unwrap_or("no MSA").to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    /// A door that answers `code` to each message, and keeps what it heard. It hangs up after `patience` messages.
    pub fn door(code: &'static str, patience: usize) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for _ in 0..patience {
                    let mut frame = Vec::new();
                    let mut byte = [0u8];
                    while !frame.ends_with(END) && stream.read(&mut byte).unwrap_or(0) == 1 {
                        frame.push(byte[0]);
                    }
                    let Some(message) = frame.strip_prefix(&[START]).and_then(|f| f.strip_suffix(END)) else { break };
                    theirs.lock().unwrap().push(String::from_utf8(message.to_vec()).unwrap());
                    let _ = stream.write_all(format!("\x0bMSH|^~\\&|\rMSA|{code}|1\r\x1c\r").as_bytes());
                }
            }
        });
        (address, heard)
    }

    #[test]
    fn everybody_is_announced_at_once_with_an_order_and_in_their_own_script() {
        let (address, heard) = door("AA", usize::MAX);
        let hospital = Hospital::open(address, Clock::system()).unwrap();
        assert!(hospital.has_announced("4711", ACK_WAIT) && hospital.has_announced("4724", ACK_WAIT));
        let heard = heard.lock().unwrap().clone();
        assert!(heard.len() >= 2 * PEOPLE.len());
        assert!(heard[0].contains("|ADT^A04^ADT_A01|") && heard[0].contains("|UNICODE UTF-8\r"), "{}", heard[0]);
        assert!(heard[0].contains("PID|1||4711^^^HOSP^MR||Müller^Jörg^Karl^Jr^Dr^^L||19700301|M\r"), "{}", heard[0]);
        let field = |message: &str, segment: &str, n: usize| {
            let segment = message.split('\r').find(|s| s.starts_with(segment)).unwrap().to_owned();
            segment.split('|').nth(n).unwrap().to_owned()
        };
        assert_eq!(field(&heard[0], "PV1", 19), "V100^^^HOSP^VN");
        assert_eq!(field(&heard[1], "PV1", 19), "V100^^^HOSP^VN");
        assert_eq!((field(&heard[1], "OBR", 18), field(&heard[1], "OBR", 24)), ("A123".to_owned(), "XC".to_owned()));
        let ids: std::collections::BTreeSet<String> = heard.iter().map(|m| field(m, "MSH", 9)).collect();
        assert_eq!(ids.len(), heard.len(), "each message has a control id of its own");
    }

    #[test]
    fn a_gateway_that_hangs_up_is_called_again() {
        let (address, heard) = door("AA", 3);
        let hospital = Hospital::open(address, Clock::system()).unwrap();
        assert!(hospital.has_announced("4712", ACK_WAIT));
        assert!(heard.lock().unwrap().len() >= 4);
    }

    #[test]
    fn a_refusal_is_told() {
        let (address, _) = door("AE", usize::MAX);
        let hospital = Hospital::open(address, Clock::system()).unwrap();
        assert!(!hospital.has_announced("4711", ACK_WAIT));
    }
}
