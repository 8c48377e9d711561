//! Command sets (PS3.7 §6.3, §9.3): always implicit VR little endian, group 0000.

/// Longest command set that is read. Real ones have some hundred bytes.
pub(super) const COMMAND_BYTES_MAX: usize = 16 << 10;

const STORE_REQUEST: u16 = 0x0001;
const FIND_REQUEST: u16 = 0x0020;
const CANCEL_REQUEST: u16 = 0x0FFF;
const ECHO_REQUEST: u16 = 0x0030;
const EVENT_REQUEST: u16 = 0x0100;
const ACTION_REQUEST: u16 = 0x0130;
/// Set in the command field of every response.
const RESPONSE: u16 = 0x8000;
/// Command Data Set Type: no data set follows (PS3.7 §E.1).
const NO_DATA_SET: u16 = 0x0101;
const DATA_SET: u16 = 0x0001;
/// Request Storage Commitment (PS3.4 §J.3.2).
const ACTION_TYPE: u16 = 1;
const PRIORITY_MEDIUM: u16 = 0x0000;

/// Element numbers of group 0000 (PS3.7 §E.1).
mod element {
    pub const GROUP_LENGTH: u16 = 0x0000;
    pub const AFFECTED_SOP_CLASS: u16 = 0x0002;
    pub const REQUESTED_SOP_CLASS: u16 = 0x0003;
    pub const COMMAND_FIELD: u16 = 0x0100;
    pub const MESSAGE_ID: u16 = 0x0110;
    pub const RESPONDED_MESSAGE_ID: u16 = 0x0120;
    pub const PRIORITY: u16 = 0x0700;
    pub const DATA_SET_TYPE: u16 = 0x0800;
    pub const STATUS: u16 = 0x0900;
    pub const ERROR_COMMENT: u16 = 0x0902;
    pub const AFFECTED_SOP_INSTANCE: u16 = 0x1000;
    pub const REQUESTED_SOP_INSTANCE: u16 = 0x1001;
    pub const EVENT_TYPE: u16 = 0x1002;
    pub const ACTION_TYPE: u16 = 0x1008;
}

/// What a command set asks for or answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    StoreRequest {
        message_id: u16,
        sop_class: String,
        sop_instance: String,
    },
    StoreResponse {
        message_id: u16,
        status: u16,
        comment: String,
    },
    FindResponse {
        message_id: u16,
        status: u16,
    },
    EchoRequest {
        message_id: u16,
    },
    EchoResponse {
        message_id: u16,
        status: u16,
    },
    ActionResponse {
        message_id: u16,
        status: u16,
        comment: String,
    },
    EventRequest(EventRequest),
    /// Something that is not spoken here.
    Other,
}

/// N-EVENT-REPORT (PS3.7 §10.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventRequest {
    pub(super) message_id: u16,
    pub(super) sop_class: String,
    pub(super) sop_instance: String,
    pub(super) event_type: u16,
}

impl Command {
    /// The command, and whether a data set follows it. `None` where the bytes are no command set.
    pub(super) fn parse_announced(bytes: &[u8]) -> Option<(Self, bool)> {
        let follows = Elements::parse(bytes)?.number(element::DATA_SET_TYPE)? != NO_DATA_SET;
        Some((Self::parse(bytes)?, follows))
    }

    /// `None` where the bytes are no command set.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let set = Elements::parse(bytes)?;
        let message_id = |element| set.number(element);
        Some(match set.number(element::COMMAND_FIELD)? {
            STORE_REQUEST => Self::StoreRequest {
                message_id: message_id(element::MESSAGE_ID)?,
                sop_class: set.text(element::AFFECTED_SOP_CLASS),
                sop_instance: set.text(element::AFFECTED_SOP_INSTANCE),
            },
            ECHO_REQUEST => Self::EchoRequest { message_id: message_id(element::MESSAGE_ID)? },
            field if field == RESPONSE | STORE_REQUEST => Self::StoreResponse {
                message_id: message_id(element::RESPONDED_MESSAGE_ID)?,
                status: set.number(element::STATUS)?,
                comment: set.text(element::ERROR_COMMENT),
            },
            field if field == RESPONSE | FIND_REQUEST => Self::FindResponse {
                message_id: message_id(element::RESPONDED_MESSAGE_ID)?,
                status: set.number(element::STATUS)?,
            },
            EVENT_REQUEST => Self::EventRequest(EventRequest {
                message_id: message_id(element::MESSAGE_ID)?,
                sop_class: set.text(element::AFFECTED_SOP_CLASS),
                sop_instance: set.text(element::AFFECTED_SOP_INSTANCE),
                event_type: set.number(element::EVENT_TYPE)?,
            }),
            field if field == RESPONSE | ACTION_REQUEST => Self::ActionResponse {
                message_id: message_id(element::RESPONDED_MESSAGE_ID)?,
                status: set.number(element::STATUS)?,
                comment: set.text(element::ERROR_COMMENT),
            },
            field if field == RESPONSE | ECHO_REQUEST => Self::EchoResponse {
                message_id: message_id(element::RESPONDED_MESSAGE_ID)?,
                status: set.number(element::STATUS)?,
            },
            _ => Self::Other,
        })
    }
}

pub(super) fn store_request(message_id: u16, sop_class: &str, sop_instance: &str) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::AFFECTED_SOP_CLASS, sop_class);
    set.number(element::COMMAND_FIELD, STORE_REQUEST);
    set.number(element::MESSAGE_ID, message_id);
    set.number(element::PRIORITY, PRIORITY_MEDIUM);
    set.number(element::DATA_SET_TYPE, DATA_SET);
    set.uid(element::AFFECTED_SOP_INSTANCE, sop_instance);
    set.finish()
}

pub(super) fn store_response(message_id: u16, sop_class: &str, sop_instance: &str, status: u16) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::AFFECTED_SOP_CLASS, sop_class);
    set.number(element::COMMAND_FIELD, RESPONSE | STORE_REQUEST);
    set.number(element::RESPONDED_MESSAGE_ID, message_id);
    set.number(element::DATA_SET_TYPE, NO_DATA_SET);
    set.number(element::STATUS, status);
    set.uid(element::AFFECTED_SOP_INSTANCE, sop_instance);
    set.finish()
}

/// C-FIND (PS3.7 §9.3.2.1).
pub(super) fn find_request(message_id: u16, sop_class: &str) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::AFFECTED_SOP_CLASS, sop_class);
    set.number(element::COMMAND_FIELD, FIND_REQUEST);
    set.number(element::MESSAGE_ID, message_id);
    set.number(element::PRIORITY, PRIORITY_MEDIUM);
    set.number(element::DATA_SET_TYPE, DATA_SET);
    set.finish()
}

/// C-CANCEL of a C-FIND (PS3.7 §9.3.2.3).
pub(super) fn cancel_request(message_id: u16) -> Vec<u8> {
    let mut set = Writer::new();
    set.number(element::COMMAND_FIELD, CANCEL_REQUEST);
    set.number(element::RESPONDED_MESSAGE_ID, message_id);
    set.number(element::DATA_SET_TYPE, NO_DATA_SET);
    set.finish()
}

pub(super) fn echo_request(message_id: u16) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::AFFECTED_SOP_CLASS, crate::dicom::iod::VERIFICATION);
    set.number(element::COMMAND_FIELD, ECHO_REQUEST);
    set.number(element::MESSAGE_ID, message_id);
    set.number(element::DATA_SET_TYPE, NO_DATA_SET);
    set.finish()
}

pub(super) fn echo_response(message_id: u16) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::AFFECTED_SOP_CLASS, crate::dicom::iod::VERIFICATION);
    set.number(element::COMMAND_FIELD, RESPONSE | ECHO_REQUEST);
    set.number(element::RESPONDED_MESSAGE_ID, message_id);
    set.number(element::DATA_SET_TYPE, NO_DATA_SET);
    set.number(element::STATUS, 0);
    set.finish()
}

/// N-ACTION: the request for storage commitment (PS3.7 §10.3.5, PS3.4 §J.3.2).
pub(super) fn action_request(message_id: u16) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::REQUESTED_SOP_CLASS, crate::dicom::iod::STORAGE_COMMITMENT);
    set.number(element::COMMAND_FIELD, ACTION_REQUEST);
    set.number(element::MESSAGE_ID, message_id);
    set.number(element::DATA_SET_TYPE, DATA_SET);
    set.uid(element::REQUESTED_SOP_INSTANCE, crate::dicom::iod::STORAGE_COMMITMENT_INSTANCE);
    set.number(element::ACTION_TYPE, ACTION_TYPE);
    set.finish()
}

pub(super) fn event_response(to: &EventRequest, status: u16) -> Vec<u8> {
    let mut set = Writer::new();
    set.uid(element::AFFECTED_SOP_CLASS, &to.sop_class);
    set.number(element::COMMAND_FIELD, RESPONSE | EVENT_REQUEST);
    set.number(element::RESPONDED_MESSAGE_ID, to.message_id);
    set.number(element::DATA_SET_TYPE, NO_DATA_SET);
    set.number(element::STATUS, status);
    set.uid(element::AFFECTED_SOP_INSTANCE, &to.sop_instance);
    set.number(element::EVENT_TYPE, to.event_type);
    set.finish()
}

/// Elements must be written in ascending order; the group length comes last and stands first.
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(Vec::with_capacity(256))
    }

    fn number(&mut self, element: u16, value: u16) {
        self.element(element, &value.to_le_bytes());
    }

    fn uid(&mut self, element: u16, uid: &str) {
        let mut value = uid.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        self.element(element, &value);
    }

    fn element(&mut self, element: u16, value: &[u8]) {
        let length = u32::try_from(value.len()).unwrap_or(0);
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value);
    }

    fn finish(self) -> Vec<u8> {
        let mut whole = Self::new();
        let length = u32::try_from(self.0.len()).unwrap_or(0);
        whole.element(element::GROUP_LENGTH, &length.to_le_bytes());
        whole.0.extend_from_slice(&self.0);
        whole.0
    }
}

struct Elements<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Elements<'a> {
    fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            let [0, 0, e1, e2, l1, l2, l3, l4] = *head else { return None };
            let length = usize::try_from(u32::from_le_bytes([l1, l2, l3, l4])).ok()?;
            let (value, rest) = rest.split_at_checked(length)?;
            all.push((u16::from_le_bytes([e1, e2]), value));
            bytes = rest;
        }
        Some(Self(all))
    }

    fn value(&self, element: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(e, _)| *e == element).map(|(_, v)| *v)
    }

    fn number(&self, element: u16) -> Option<u16> {
        self.value(element)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b))
    }

    fn text(&self, element: u16) -> String {
        let text = String::from_utf8_lossy(self.value(element).unwrap_or_default());
        text.trim_matches(['\0', ' ']).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_back_as_it_was_written() {
        let (class, instance) = ("1.2.840.10008.5.1.4.1.1.77.1.4".to_owned(), "2.25.123".to_owned());
        let table = [
            (
                store_request(7, &class, &instance),
                Command::StoreRequest { message_id: 7, sop_class: class.clone(), sop_instance: instance.clone() },
            ),
            (
                store_response(7, &class, &instance, 0xB000),
                Command::StoreResponse { message_id: 7, status: 0xB000, comment: String::new() },
            ),
            (echo_request(65_535), Command::EchoRequest { message_id: 65_535 }),
            (echo_response(1), Command::EchoResponse { message_id: 1, status: 0 }),
        ];
        for (bytes, then) in table {
            assert_eq!(bytes.len() % 2, 0);
            assert_eq!(Command::parse(&bytes), Some(then));
        }
    }

    #[test]
    fn what_is_no_command_is_not_read_as_one() {
        let whole = store_request(7, "1.2.3", "2.25.1");
        for bytes in [&whole[..whole.len() - 1], &whole[..5], &[8, 0, 0, 0, 0, 0, 0, 0], &[]] {
            assert_eq!(Command::parse(bytes), None);
        }
        let mut huge = whole;
        huge[4..8].fill(0xFF);
        assert_eq!(Command::parse(&huge), None);
    }
}
