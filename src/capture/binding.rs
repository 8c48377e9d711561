//! Whose picture it is: frozen once, when a capture is identified, and sealed beside it.
//!
//! Everything that enters an object and does not come from the file stands here or in the
//! manifest, so that each resend is the same object, whatever the hospital, the clock or the
//! configuration say later.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::claim::PatientKey;
use super::order::{Code, Order};
use super::person::{Patient, Visit};
use super::text::Phi;
use super::uid::Uid;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub version: u16,
    /// As the lookup answered; `visits` and `orders` are empty here.
    pub patient: Patient,
    pub visit: Option<Visit>,
    pub order: Option<Order>,
    pub study: StudyBinding,
    /// In the order of their numbers.
    pub series: Vec<SeriesBinding>,
    /// Per item, in the items' order: its place in `series`.
    pub item_series: Vec<u16>,
    /// Instance numbers, one per item, in the items' order (0020,0013).
    pub instance_numbers: Vec<u32>,
    pub site: SiteNames,
    /// Whom a person named; every later look asks for this patient and not for the claim's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<PatientKey>,
    /// What the hospital named as (0040,1001) of the order when somebody else said which study that has,
    /// which may be nothing; `None`: nobody else said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_for: Option<Phi>,
    /// What they said, as they said it, also what no object can hold. `None` in older bindings, too: they tell
    /// it by `order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Order>,
    /// For a person: what was left open, or out, when the capture was identified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Of each item the archives it goes to, as it was decided when it came in; empty where that was
    /// not decided yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<Vec<String>>,
    /// Items that are films and that were about to be sent in HEVC, each noted before it was; `None`: an
    /// older version froze this and did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_hevc: Option<Vec<u16>>,
    /// When this was frozen: instance creation, contribution time.
    pub bound_at: Timestamp,
    /// Version of the gateway that froze it.
    pub gateway_version: String,
}

impl Binding {
    pub const VERSION: u16 = 2;

    /// The series of the item of this index; `None` where the capture has no such item.
    #[must_use]
    pub fn series_of(&self, index: u16) -> Option<&SeriesBinding> {
        let at = self.item_series.get(usize::from(index))?;
        self.series.get(usize::from(*at))
    }
}

/// Identical in every object of a study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyBinding {
    pub instance_uid: Uid,
    /// In the site's zone (0008,0020)/(0008,0030).
    pub started: DateTime,
    /// (0020,0010), at most 16 characters.
    pub id: String,
    /// What was done, and its name; of the order, else of the department.
    pub procedure: Code,
    pub description: String,
    /// Of the visit as the study began, in PN form; empty where unknown.
    pub referring: Phi,
    pub attending: Phi,
    /// The visit's department.
    pub requesting_service: String,
}

/// What one session made of one kind of object with one device: a series has one modality, one
/// class and one equipment (PS3.3 §A.1.2.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesBinding {
    pub instance_uid: Uid,
    pub number: u32,
    /// First capture time of the series, in the site's zone.
    pub started: DateTime,
}

/// What the configuration says of the place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteNames {
    pub institution: String,
    pub department_id: String,
    pub department_name: String,
    /// What kind of department it is.
    pub department_type: Option<Code>,
    /// IANA name, e.g. `Europe/Berlin`.
    pub timezone: String,
}
