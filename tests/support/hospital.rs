//! What a hospital says over HL7: one patient, one visit, one order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Makes `mrn` known, with the active visit `V<mrn>`.
pub fn admit(mrn: &str) -> String {
    format!(
        "MSH|^~\\&|HIS|HOSP|GW|IMG|20260301080000||ADT^A04^ADT_A01|A{mrn}|P|2.5.1||||||UNICODE UTF-8\r\
         EVN|A04|20260301080000\r\
         PID|1||{mrn}^^^HOSP^MR||Müller^Jörg||19700301|M\r\
         PV1|1|O|DERM||||||||||||||||V{mrn}^^^VN\r"
    )
}

/// An order for `mrn` under `accession`.
pub fn order(mrn: &str, accession: &str) -> String {
    format!(
        "MSH|^~\\&|RIS|HOSP|GW|IMG|20260301081000||ORM^O01^ORM_O01|O{accession}|P|2.3.1||||||UNICODE UTF-8\r\
         PID|1||{mrn}^^^HOSP^MR||Müller^Jörg||19700301|M\r\
         PV1|1|O|DERM\r\
         ORC|NW|P{accession}|F{accession}\r\
         OBR|1|P{accession}|F{accession}|DERMPH^Dermatology photo^L||||||||||||||{accession}|RP1|SPS1||||XC\r"
    )
}

/// Sends the messages over one MLLP connection; each must be answered AA.
pub fn tell(address: SocketAddr, messages: &[String]) {
    let mut socket = TcpStream::connect(address).expect("the HL7 door is open");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    for message in messages {
        socket.write_all(format!("\x0b{message}\x1c\r").as_bytes()).expect("the message is read");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\x1c\r") {
            let mut piece = [0; 4096];
            let length = socket.read(&mut piece).expect("an acknowledgement in time");
            assert!(length > 0, "the HL7 door closed without an acknowledgement");
            answer.extend_from_slice(&piece[..length]);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("\rMSA|AA|"), "not accepted: {answer}");
    }
}
