//! What the hospital says about a person.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::order::Order;
use super::text::Phi;

/// One identifier with its authority (HL7 CX). Unknown members are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Identifier {
    pub id: Phi,
    /// Namespace of the assigning authority (CX-4.1).
    pub issuer: String,
    /// Its universal id and that id's type (CX-4.2, CX-4.3).
    pub issuer_universal_id: String,
    pub issuer_universal_id_type: String,
    /// CX-5: `MR`, `PI` …
    pub id_type: String,
}

/// A patient as `POST /lookup` answers it; also the `resolved` member of `wrap`'s claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patient {
    #[serde(flatten)]
    pub identifier: Identifier,
    pub other_ids: Vec<Identifier>,
    /// Numbers that were merged into these and name nobody else now. They stay in the house.
    #[serde(skip)]
    pub prior_ids: Vec<Identifier>,
    pub active: bool,
    pub deceased: bool,
    /// As a person reads it: prefix given middle family suffix.
    pub name: Phi,
    /// DICOM PN; groups joined with `=` (PS3.5 §6.2.1).
    pub name_dicom: Phi,
    #[serde(with = "date_or_empty")]
    pub birth_date: Option<Date>,
    /// `M`, `F`, `O` or empty.
    pub sex: String,
    pub visits: Vec<Visit>,
    pub orders: Vec<Order>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visit {
    pub id: Phi,
    pub issuer: String,
    pub issuer_universal_id: String,
    pub issuer_universal_id_type: String,
    /// PV1-2.
    pub class: String,
    pub status: VisitStatus,
    pub ward: String,
    pub room: String,
    pub bed: String,
    pub facility: String,
    pub department: String,
    /// Persons in PN form.
    pub attending: Phi,
    pub referring: Phi,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VisitStatus {
    Planned,
    #[default]
    Active,
    Finished,
    Cancelled,
}

/// The person who acts, as the verified token names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operator {
    pub issuer: String,
    pub subject: String,
    /// Display name; empty where the token has none.
    pub name: String,
}

/// JSON: `YYYY-MM-DD`, or `""` where unknown.
mod date_or_empty {
    use jiff::civil::Date;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)] // serde's `with` asks for this shape
    pub fn serialize<S: Serializer>(date: &Option<Date>, s: S) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => s.collect_str(date),
            None => s.serialize_str(""),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Date>, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| serde::de::Error::custom("not a date (YYYY-MM-DD)"))
    }
}
