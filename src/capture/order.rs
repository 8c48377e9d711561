//! What the hospital ordered.

use serde::{Deserialize, Serialize};

use super::text::Phi;

/// An order as `POST /lookup` answers it. Unknown members are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    pub accession: Phi,
    /// Authority of the accession number, where the feed names one (EI-2 to EI-4).
    pub accession_issuer: String,
    pub accession_issuer_universal_id: String,
    pub accession_issuer_universal_id_type: String,
    pub placer: Phi,
    pub filler: Phi,
    pub requested_procedure_id: Phi,
    pub scheduled_step_id: Phi,
    /// Validated UID, or empty.
    pub study_instance_uid: String,
    pub procedure: Code,
    pub modality: String,
    /// PN form.
    pub requesting_physician: Phi,
    pub status: OrderStatus,
    /// The order's own visit number, where it names one.
    pub visit: Phi,
}

/// A coded concept. `scheme` as it was sent; empty members where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Code {
    pub code: String,
    pub scheme: String,
    pub meaning: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    #[default]
    Ordered,
    Held,
    Completed,
    Cancelled,
    Discontinued,
}
