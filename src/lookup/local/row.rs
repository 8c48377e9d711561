//! Rows and their keys.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::capture::order::{Code, OrderStatus};
use crate::capture::person::VisitStatus;
use crate::capture::{Identifier, Phi};
use crate::hl7::dates::Moment;
use crate::hl7::update::{Change, Location, Name, Source, Update};
use crate::seal::digest::hmac_sha256;
use crate::seal::secret::Secret;

/// Most owners of one value (identifier, number). A value that more have means nothing: it is
/// answered with *multiple*, and not listed further.
const OWNERS_MAX: usize = 100;
/// Most open visits told of a patient. Outpatient visits are seldom closed by anybody; what lies
/// further back still answers under its number.
pub(super) const OPEN_VISITS_MAX: usize = 50;
/// How long a message is known as seen. HL7 engines resend after hours; a feed that was down for
/// a long weekend resends four days.
const SEEN_MS: i64 = 8 * 86_400_000;
/// Most messages remembered of one patient: twenty an hour for a day. Beyond, the time of the event
/// still keeps an old message from undoing a new one.
const SEEN_MAX: usize = 500;
/// Most identifiers kept of one person, retired ones too.
pub(super) const PERSON_IDS_MAX: usize = 1_000;

/// A keyed hash; names a person or a row for life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Hash(pub [u8; 16]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let number = u128::from_str_radix(&text, 16).map_err(|_| serde::de::Error::custom("not a hash"))?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Makes keys. Whoever reads the disk learns neither values nor which rows share one.
pub(super) struct Keys(Secret<32>);

impl Keys {
    pub fn new(key: [u8; 32]) -> Self {
        Self(Secret::new(key))
    }

    fn hash(&self, kind: &str, parts: &[&str]) -> Hash {
        let mut all: Vec<&[u8]> = vec![kind.as_bytes()];
        all.extend(parts.iter().map(|p| p.as_bytes()));
        let digest = hmac_sha256(self.0.expose(), &all);
        let mut hash = [0; 16];
        hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Hash(hash)
    }

    /// The key of an index row.
    pub fn index(&self, index: Index, value: &str) -> Vec<u8> {
        let letter = index.letter();
        [&[letter][..], &self.hash("index", &[value]).0].concat()
    }

    pub fn person(&self, id: &Identifier) -> Hash {
        self.hash("person", &[id.id.expose(), &id.issuer, &id.issuer_universal_id])
    }

    pub fn order(&self, home: Hash, source: &Source, keys: [Option<&Identifier>; 3]) -> Hash {
        let home = home.to_string();
        let mut parts = vec![home.as_str(), &source.application, &source.facility];
        for key in keys {
            match key {
                Some(key) => parts.extend([key.id.expose(), &key.issuer, &key.issuer_universal_id]),
                None => parts.extend(["", "", ""]),
            }
        }
        self.hash("order", &parts)
    }

    /// What tells a message from every other: the control id alone does not.
    pub fn message(&self, update: &Update) -> u64 {
        let source = &update.source;
        let parts = [&*source.application, &source.facility, &update.control_id, update.body.expose()];
        self.hash("message", &parts).0.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

pub(super) fn person_key(person: Hash) -> Vec<u8> {
    [&b"P"[..], &person.0].concat()
}

/// Prefix of the orders at one person.
pub(super) fn orders_key(home: Hash) -> Vec<u8> {
    [&b"O"[..], &home.0].concat()
}

pub(super) fn order_key(at: RowRef) -> Vec<u8> {
    [&b"O"[..], &at.home.0, &at.row.0].concat()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    Identifier,
    Visit,
    Accession,
    Placer,
    Filler,
    StudyUid,
}

impl Index {
    fn letter(self) -> u8 {
        match self {
            Self::Identifier => b'i',
            Self::Visit => b'v',
            Self::Accession => b'a',
            Self::Placer => b'p',
            Self::Filler => b'f',
            Self::StudyUid => b'u',
        }
    }
}

/// Who has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owners<T> {
    pub list: Vec<T>,
    /// Too many have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crowded: bool,
}

impl<T> Default for Owners<T> {
    fn default() -> Self {
        Self { list: Vec::new(), crowded: false }
    }
}

impl<T: PartialEq> Owners<T> {
    pub fn add(&mut self, owner: T) {
        if self.list.contains(&owner) {
            return;
        }
        if self.list.len() < OWNERS_MAX {
            self.list.push(owner);
        } else {
            self.crowded = true;
        }
    }
}

/// An identifier and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owned {
    #[serde(flatten)]
    pub id: Identifier,
    pub person: Hash,
}

/// Where an order row stands: at the person it was first told of, also after a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowRef {
    pub home: Hash,
    pub row: Hash,
}

/// A value, and when it was last told. What is older than what we know changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told<T> {
    #[serde(default = "nothing", skip_serializing_if = "Option::is_none")]
    pub value: Option<T>,
    at_ms: i64,
}

fn nothing<T>() -> Option<T> {
    None
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { value: None, at_ms: i64::MIN }
    }
}

impl<T: Clone> Told<T> {
    pub fn hear(&mut self, change: &Change<T>, event: Moment) {
        let value = match change {
            Change::Keep => return,
            Change::Clear => None,
            Change::Set(value) => Some(value.clone()),
        };
        if event.until_ms >= self.at_ms {
            self.value = value;
            self.at_ms = self.at_ms.max(event.from_ms);
        }
    }

    /// What holds until anything is told.
    pub fn assume(&mut self, value: T) {
        if self.value.is_none() && self.at_ms == i64::MIN {
            self.value = Some(value);
        }
    }

    pub fn get(&self) -> T
    where
        T: Default,
    {
        self.value.clone().unwrap_or_default()
    }

    /// As [`Told::get`], at the end of the row's life.
    pub fn take(self) -> T
    where
        T: Default,
    {
        self.value.unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersonRow {
    pub ids: Vec<KnownId>,
    pub name: Told<NameRow>,
    pub birth_date: Told<Date>,
    pub sex: Told<String>,
    pub deceased: Told<bool>,
    pub active: Told<bool>,
    /// A tombstone: this person is that one.
    pub merged_into: Option<Hash>,
    /// Whose orders are this person's too.
    pub absorbed: Vec<Hash>,
    /// Numbers of the visits that are active, the latest last.
    pub open_visits: Vec<Phi>,
    /// Messages applied.
    pub seen: Vec<Seen>,
}

/// A message, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen(pub u64, pub i64);

impl PersonRow {
    /// False where the message was seen before; else it is from now on.
    pub fn see(&mut self, message: Seen) -> bool {
        self.seen.retain(|seen| seen.1 >= message.1 - SEEN_MS);
        if self.seen.iter().any(|seen| seen.0 == message.0) {
            return false;
        }
        let surplus = (self.seen.len() + 1).saturating_sub(SEEN_MAX);
        self.seen.drain(..surplus);
        self.seen.push(message);
        true
    }

    pub fn open_visit(&mut self, number: &Phi) {
        self.close_visit(number);
        if self.open_visits.len() >= OPEN_VISITS_MAX {
            self.open_visits.remove(0);
        }
        self.open_visits.push(number.clone());
    }

    pub fn close_visit(&mut self, number: &Phi) {
        self.open_visits.retain(|open| open != number);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownId {
    #[serde(flatten)]
    pub id: Identifier,
    pub rank: u8,
    /// Answers, but is nobody's number any more (MRG-1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameRow {
    pub dicom: Phi,
    pub display: Phi,
}

impl From<&Name> for NameRow {
    fn from(name: &Name) -> Self {
        Self { dicom: name.dicom.clone(), display: name.display.clone() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct VisitRow {
    /// Whose it is; the person it was first told of, also after a merge.
    pub home: Hash,
    pub number: Identifier,
    /// It goes on under that number; nothing else here counts.
    pub renumbered: Option<Identifier>,
    pub class: Told<String>,
    pub location: Told<Location>,
    pub department: Told<String>,
    pub attending: Told<Phi>,
    pub referring: Told<Phi>,
    pub status: Told<VisitStatus>,
    pub started_ms: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OrderRow {
    pub application: String,
    pub facility: String,
    pub placer: Told<Identifier>,
    pub filler: Told<Identifier>,
    pub accession: Told<Identifier>,
    pub requested_procedure_id: Told<Phi>,
    pub scheduled_step_id: Told<Phi>,
    pub study_instance_uid: Told<String>,
    pub procedure: Told<Code>,
    pub modality: Told<String>,
    pub requesting_physician: Told<Phi>,
    pub status: Told<OrderStatus>,
    pub visit: Told<Phi>,
    pub created_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Moment {
        Moment { from_ms: ms, until_ms: ms + 999 }
    }

    #[test]
    fn an_older_word_changes_nothing_and_an_assumption_gives_way() {
        let mut told = Told::default();
        told.assume(1);
        told.hear(&Change::Set(2), at(5_000));
        told.assume(9);
        assert_eq!(told.value, Some(2));
        told.hear(&Change::Set(3), at(1_000));
        assert_eq!(told.value, Some(2));
        told.hear(&Change::Set(4), at(5_000));
        assert_eq!(told.value, Some(4), "of two at one time the one that came last");
        told.hear(&Change::Keep, at(9_000));
        told.hear(&Change::Set(5), at(6_000));
        assert_eq!(told.value, Some(5), "an empty field is no word");
        told.hear(&Change::Clear, at(7_000));
        assert_eq!(told.value, None);
        told.hear(&Change::Set(6), at(5_000));
        assert_eq!(told.value, None, "a deletion stands against older words");
    }

    #[test]
    fn a_message_is_known_for_a_week_and_then_forgotten() {
        const DAY_MS: i64 = 86_400_000;
        let mut row = PersonRow::default();
        assert!(row.see(Seen(1, 0)));
        assert!(row.see(Seen(2, DAY_MS)));
        assert!(!row.see(Seen(1, 7 * DAY_MS)));
        assert!(row.see(Seen(3, 9 * DAY_MS)));
        assert_eq!(row.seen, [Seen(2, DAY_MS), Seen(3, 9 * DAY_MS)]);
        for n in 10..1_000 {
            assert!(row.see(Seen(n, 9 * DAY_MS)));
        }
        assert_eq!(row.seen.len(), SEEN_MAX);
    }

    #[test]
    fn a_row_survives_its_bytes() {
        let mut row = PersonRow::default();
        row.sex.hear(&Change::Set("F".into()), at(1));
        row.absorbed.push(Hash([7; 16]));
        row.ids.push(KnownId { id: Identifier { id: "4711".into(), ..Identifier::default() }, rank: 1, retired: true });
        let bytes = serde_json::to_vec(&row).unwrap();
        assert_eq!(serde_json::from_slice::<PersonRow>(&bytes).unwrap(), row);
    }
}
