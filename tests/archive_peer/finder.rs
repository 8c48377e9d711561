//! C-FIND from the other side: data sets and commands made by hand, apart from the code under test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use dicom_ul::association::server::ServerAssociation;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use super::{associate, number, response};

const IMPLICIT: &str = "1.2.840.10008.1.2";
const PENDING: u16 = 0xFF00;

/// Accession number, patient's number, study.
pub type Listed = (&'static str, &'static str, &'static str);

/// What is said to one question, whatever its keys.
pub enum Reply {
    /// All of them, and the end.
    List(Vec<Listed>),
    /// The same one until it is cancelled, which happens after so many.
    Flood(Listed, usize),
    /// The same one without end.
    Endless(Listed),
    /// The same one so often, and nothing more, whatever it is told.
    Mute(Listed, usize),
    /// The same one until it is cancelled, which it takes for the end of the association.
    Torn(Listed, usize),
    Status(u16),
    /// A data set that is none.
    Garbage,
    /// An answer to another question.
    Another,
    Silence,
    Close,
}

/// Who is asked once for each reply.
pub struct Finder {
    pub address: SocketAddr,
    thread: JoinHandle<Vec<String>>,
}

impl Finder {
    pub fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let one = move |reply: Reply| converse(associate(listener.accept().unwrap().0, 16 << 10), &reply);
        Self { address, thread: std::thread::spawn(move || replies.into_iter().map(one).collect()) }
    }

    /// What was asked, as it was written.
    pub fn finish(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

struct Talk {
    association: ServerAssociation<TcpStream>,
    context: u8,
    is_explicit: bool,
    message_id: u16,
}

impl Talk {
    fn send(&mut self, kind: PDataValueType, data: Vec<u8>) -> bool {
        let value = PDataValue { presentation_context_id: self.context, value_type: kind, is_last: true, data };
        self.association.send(&Pdu::PData { data: vec![value] }).is_ok()
    }

    fn pending(&mut self, data: Vec<u8>) -> bool {
        let mut command = response(self.message_id, 0x0020, PENDING, "");
        let at = command.windows(8).position(|w| w == [0, 0, 0, 8, 2, 0, 0, 0]).unwrap() + 8;
        command[at..at + 2].copy_from_slice(&1_u16.to_le_bytes());
        self.send(PDataValueType::Command, command) && self.send(PDataValueType::Data, data)
    }

    fn list(&mut self, (accession, patient, study): Listed) -> bool {
        let put = |group: u16, element: u16, vr: &[u8; 2], text: &str, is_explicit: bool| {
            let mut value = text.as_bytes().to_vec();
            value.resize(value.len().next_multiple_of(2), if vr == b"UI" { 0 } else { b' ' });
            let length = u32::try_from(value.len()).unwrap().to_le_bytes();
            let head = if is_explicit { [vr[0], vr[1], length[0], length[1]] } else { length };
            [&group.to_le_bytes()[..], &element.to_le_bytes(), &head, &value].concat()
        };
        let is_explicit = self.is_explicit;
        let set = [
            put(0x0008, 0x0050, b"SH", accession, is_explicit),
            put(0x0010, 0x0020, b"LO", patient, is_explicit),
            put(0x0020, 0x000D, b"UI", study, is_explicit),
        ];
        self.pending(set.concat())
    }

    fn end(&mut self, status: u16) {
        self.send(PDataValueType::Command, response(self.message_id, 0x0020, status, ""));
    }
}

fn converse(mut association: ServerAssociation<TcpStream>, reply: &Reply) -> String {
    let (command, data) = receive(&mut association).expect("a question");
    assert_eq!(number(&command, 0x0100), Some(0x0020), "no C-FIND");
    let agreed = association.presentation_contexts()[0].clone();
    let message_id = number(&command, 0x0110).unwrap();
    let mut talk = Talk { association, context: agreed.id, is_explicit: agreed.transfer_syntax != IMPLICIT, message_id };
    match reply {
        Reply::List(all) => {
            for listed in all {
                assert!(talk.list(*listed));
            }
            talk.end(0);
        }
        Reply::Flood(listed, count) => {
            for _ in 0..*count {
                assert!(talk.list(*listed));
            }
            let (cancel, _) = receive(&mut talk.association).expect("a cancel");
            assert_eq!((number(&cancel, 0x0100), number(&cancel, 0x0120)), (Some(0x0FFF), Some(message_id)));
            talk.list(*listed);
            talk.end(0xFE00);
        }
        Reply::Endless(listed) => while talk.list(*listed) {},
        Reply::Mute(listed, count) | Reply::Torn(listed, count) => {
            for _ in 0..*count {
                assert!(talk.list(*listed));
            }
            receive(&mut talk.association).expect("a cancel");
        }
        Reply::Status(status) => talk.end(*status),
        Reply::Garbage => {
            talk.pending(vec![8, 0, 5, 0, 0xFF, 0xFF, 0xFF, 0x7F]);
        }
        Reply::Another => {
            talk.message_id += 1;
            talk.end(0);
        }
        Reply::Silence | Reply::Close => {}
    }
    if !matches!(reply, Reply::Close | Reply::Torn(..))
        && let Ok(Pdu::ReleaseRQ) = talk.association.receive()
    {
        let _ = talk.association.send(&Pdu::ReleaseRP);
    }
    String::from_utf8_lossy(&data).into_owned()
}

/// A command, and its data set where one follows.
fn receive(association: &mut ServerAssociation<TcpStream>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut command, mut data) = (Vec::new(), Vec::new());
    loop {
        let Ok(Pdu::PData { data: values }) = association.receive() else { return None };
        for value in values {
            let is_command = value.value_type == PDataValueType::Command;
            if is_command { &mut command } else { &mut data }.extend_from_slice(&value.data);
            let is_alone = is_command && number(&command, 0x0800) == Some(0x0101);
            if is_alone || !is_command && value.is_last {
                return Some((command, data));
            }
        }
    }
}
