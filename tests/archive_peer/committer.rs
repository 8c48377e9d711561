//! Storage commitment from the archive's side: data sets and commands made by hand, apart from
//! the code under test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use dicom_ul::association::server::ServerAssociation;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use dicom_ul::{ClientAssociation, ClientAssociationOptions};

use super::{associate, number, response};

pub const COMMITMENT: &str = "1.2.840.10008.1.20.1";
pub const COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";

/// What N-ACTION asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub transaction: String,
    pub instances: Vec<String>,
}

/// What an archive says to a question on the same association.
pub enum Reply {
    /// Takes it, and reports elsewhere or never.
    Later,
    /// Refuses it with a status.
    Status(u16),
    /// Takes it and reports: all kept but these, with a reason each.
    Report(Vec<(String, u16)>),
    /// Reports before it takes it.
    ReportFirst,
    /// Hangs up.
    Close,
}

/// An archive that is asked once for each reply.
pub struct Committer {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<(Question, Option<u16>)>>,
}

impl Committer {
    pub fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = asked.clone();
        let one = move |reply: Reply| {
            let association = associate(listener.accept().unwrap().0, 16 << 10);
            count.fetch_add(1, Ordering::SeqCst);
            converse(association, &reply)
        };
        let thread = std::thread::spawn(move || replies.into_iter().map(one).collect());
        Self { address, asked, thread }
    }

    /// Questions that were begun.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// What was asked, and how each report was answered.
    pub fn finish(self) -> Vec<(Question, Option<u16>)> {
        self.thread.join().unwrap()
    }
}

fn converse(mut association: ServerAssociation<TcpStream>, reply: &Reply) -> (Question, Option<u16>) {
    let (command, data) = receive(|| association.receive().ok()).expect("a question");
    assert_eq!(number(&command, 0x0100), Some(0x0130), "no N-ACTION");
    let question = question(&data);
    let class = association.presentation_contexts()[0].clone();
    let is_explicit = class.transfer_syntax != IMPLICIT;
    let status = if let Reply::Status(status) = reply { *status } else { 0 };
    let answer = response(number(&command, 0x0110).unwrap(), 0x0130, status, "");
    let send = |association: &mut ServerAssociation<TcpStream>, kind, data: Vec<u8>| {
        association.send(&pdu(class.id, kind, data)).unwrap();
    };
    let mut answered = None;
    if matches!(reply, Reply::Close) {
        return (question, None);
    }
    if !matches!(reply, Reply::ReportFirst) {
        send(&mut association, PDataValueType::Command, answer.clone());
    }
    if matches!(reply, Reply::Report(_) | Reply::ReportFirst) {
        let failed = if let Reply::Report(failed) = reply { failed.clone() } else { Vec::new() };
        let kept: Vec<&str> =
            question.instances.iter().map(String::as_str).filter(|i| !failed.iter().any(|(f, _)| f == i)).collect();
        let failed: Vec<(&str, u16)> = failed.iter().map(|(f, reason)| (f.as_str(), *reason)).collect();
        let event = event_command(9, COMMITMENT, COMMITMENT_INSTANCE, if failed.is_empty() { 1 } else { 2 });
        send(&mut association, PDataValueType::Command, event);
        send(&mut association, PDataValueType::Data, report(&question.transaction, &kept, &failed, is_explicit));
        let (command, _) = receive(|| association.receive().ok()).expect("an answer to the report");
        answered = number(&command, 0x0900);
    }
    if matches!(reply, Reply::ReportFirst) {
        send(&mut association, PDataValueType::Command, answer);
    }
    if let Ok(Pdu::ReleaseRQ) = association.receive() {
        let _ = association.send(&Pdu::ReleaseRP);
    }
    (question, answered)
}

/// Brings a report on an association of the archive's own; the status of the answer.
pub struct Reporter(ClientAssociation<TcpStream>);

impl Reporter {
    pub fn connect(address: SocketAddr, calling: &str, called: &str, roles: Option<(bool, bool)>) -> Option<Self> {
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(calling.to_owned())
            .called_ae_title(called.to_owned())
            .with_presentation_context(COMMITMENT, vec![IMPLICIT])
            .with_presentation_context("1.2.840.10008.1.1", vec![IMPLICIT]);
        if let Some((scu, scp)) = roles {
            options = options.with_role_selection(COMMITMENT, scu, scp);
        }
        options.establish(address).ok().map(Self)
    }

    /// True where the acceptor took the roles that were offered: the requestor is the SCP.
    pub fn is_provider(&self) -> bool {
        use dicom_ul::association::Association as _;
        self.0.requestor_roles_for(COMMITMENT).scp
    }

    pub fn send(&mut self, event: Vec<u8>, data: Vec<u8>) -> Option<u16> {
        let context = self.0.presentation_contexts().iter().find(|c| c.id == 1)?.id;
        self.0.send(&pdu(context, PDataValueType::Command, event)).ok()?;
        self.0.send(&pdu(context, PDataValueType::Data, data)).ok()?;
        let (command, _) = receive(|| self.0.receive().ok())?;
        number(&command, 0x0900)
    }

    pub fn report(&mut self, transaction: &str, kept: &[&str], failed: &[(&str, u16)]) -> Option<u16> {
        let event = event_command(3, COMMITMENT, COMMITMENT_INSTANCE, if failed.is_empty() { 1 } else { 2 });
        self.send(event, report(transaction, kept, failed, false))
    }

    pub fn release(self) {
        let _ = self.0.release();
    }
}

fn pdu(context: u8, value_type: PDataValueType, data: Vec<u8>) -> Pdu {
    Pdu::PData { data: vec![PDataValue { presentation_context_id: context, value_type, is_last: true, data }] }
}

/// One message: its command and its data set.
fn receive(mut next: impl FnMut() -> Option<Pdu>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut command, mut data) = (Vec::new(), Vec::new());
    loop {
        let Pdu::PData { data: values } = next()? else { return None };
        for value in values {
            match value.value_type {
                PDataValueType::Command => command.extend_from_slice(&value.data),
                PDataValueType::Data => data.extend_from_slice(&value.data),
            }
            let is_data = value.value_type == PDataValueType::Data;
            if value.is_last && (is_data || number(&command, 0x0800) == Some(0x0101)) {
                return Some((command, data));
            }
        }
    }
}

pub fn event_command(message_id: u16, class: &str, instance: &str, event_type: u16) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, 0, 0x0002, None, &even(class));
    put(&mut body, 0, 0x0100, None, &0x0100_u16.to_le_bytes());
    put(&mut body, 0, 0x0110, None, &message_id.to_le_bytes());
    put(&mut body, 0, 0x0800, None, &1_u16.to_le_bytes());
    put(&mut body, 0, 0x1000, None, &even(instance));
    put(&mut body, 0, 0x1002, None, &event_type.to_le_bytes());
    let mut whole = Vec::new();
    put(&mut whole, 0, 0x0000, None, &u32::try_from(body.len()).unwrap().to_le_bytes());
    [whole, body].concat()
}

pub fn report(transaction: &str, kept: &[&str], failed: &[(&str, u16)], is_explicit: bool) -> Vec<u8> {
    let vr = |vr: [u8; 2]| is_explicit.then_some(vr);
    let item = |instance: &str, reason: Option<u16>| {
        let mut item = Vec::new();
        put(&mut item, 8, 0x1150, vr(*b"UI"), &even("1.2.840.10008.5.1.4.1.1.77.1.4"));
        put(&mut item, 8, 0x1155, vr(*b"UI"), &even(instance));
        if let Some(reason) = reason {
            put(&mut item, 8, 0x1197, vr(*b"US"), &reason.to_le_bytes());
        }
        let mut whole = vec![0xFE, 0xFF, 0x00, 0xE0];
        whole.extend_from_slice(&u32::try_from(item.len()).unwrap().to_le_bytes());
        [whole, item].concat()
    };
    let mut data = Vec::new();
    put(&mut data, 8, 0x1195, vr(*b"UI"), &even(transaction));
    if !failed.is_empty() {
        let items: Vec<u8> = failed.iter().flat_map(|(i, reason)| item(i, Some(*reason))).collect();
        put(&mut data, 8, 0x1198, vr(*b"SQ"), &items);
    }
    if !kept.is_empty() {
        let items: Vec<u8> = kept.iter().flat_map(|i| item(i, None)).collect();
        put(&mut data, 8, 0x1199, vr(*b"SQ"), &items);
    }
    data
}

fn put(to: &mut Vec<u8>, group: u16, element: u16, vr: Option<[u8; 2]>, value: &[u8]) {
    to.extend_from_slice(&group.to_le_bytes());
    to.extend_from_slice(&element.to_le_bytes());
    let long = u32::try_from(value.len()).unwrap().to_le_bytes();
    match vr {
        None => to.extend_from_slice(&long),
        Some(vr) if &vr == b"SQ" => to.extend_from_slice(&[&vr[..], &[0, 0], &long[..]].concat()),
        Some(vr) => to.extend_from_slice(&[&vr[..], &long[..2]].concat()),
    }
    to.extend_from_slice(value);
}

fn even(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// The UIDs of a request, found by their look: `2.25.` and digits.
fn question(data: &[u8]) -> Question {
    let text: String = data.iter().map(|b| if b.is_ascii_digit() || *b == b'.' { char::from(*b) } else { ' ' }).collect();
    let mut uids = text.split(' ').filter(|word| word.starts_with("2.25.")).map(str::to_owned);
    Question { transaction: uids.next().unwrap_or_default(), instances: uids.collect() }
}
