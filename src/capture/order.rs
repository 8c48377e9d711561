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

impl Order {
    /// False where both name a requested procedure, and not the same: under one accession number there may
    /// be several, each with a study of its own.
    #[must_use]
    pub fn may_be_of_procedure(&self, procedure_id: &Phi) -> bool {
        let own = &self.requested_procedure_id;
        own.is_empty() || procedure_id.is_empty() || own == procedure_id
    }

    /// Keeps of what it says what the other says, too.
    pub fn keep_alike(&mut self, other: &Self) {
        fn keep<T: Default + PartialEq>(own: &mut T, other: &T) {
            if own != other {
                *own = T::default();
            }
        }
        // Steps are numbered within their procedure.
        if self.requested_procedure_id != other.requested_procedure_id {
            self.scheduled_step_id = Phi::default();
        }
        let issuer = |of: &Self| {
            let ids = [&of.accession_issuer, &of.accession_issuer_universal_id, &of.accession_issuer_universal_id_type];
            ids.map(Clone::clone)
        };
        if issuer(self) != issuer(other) {
            self.accession_issuer.clear();
            self.accession_issuer_universal_id.clear();
            self.accession_issuer_universal_id_type.clear();
        }
        keep(&mut self.requested_procedure_id, &other.requested_procedure_id);
        keep(&mut self.scheduled_step_id, &other.scheduled_step_id);
        keep(&mut self.procedure, &other.procedure);
        keep(&mut self.modality, &other.modality);
        keep(&mut self.requesting_physician, &other.requesting_physician);
    }

    /// Takes over what this one does not say; what it says stays.
    pub fn complete(&mut self, from: &Self) {
        let fill = |own: &mut Phi, other: &Phi| {
            if own.is_empty() {
                own.clone_from(other);
            }
        };
        // A step of another procedure is none of this order.
        if self.requested_procedure_id.is_empty() || self.requested_procedure_id == from.requested_procedure_id {
            fill(&mut self.requested_procedure_id, &from.requested_procedure_id);
            fill(&mut self.scheduled_step_id, &from.scheduled_step_id);
        }
        fill(&mut self.requesting_physician, &from.requesting_physician);
        if self.study_instance_uid.is_empty() {
            self.study_instance_uid.clone_from(&from.study_instance_uid);
        }
        if self.modality.is_empty() {
            self.modality.clone_from(&from.modality);
        }
        if self.procedure == Code::default() {
            self.procedure.clone_from(&from.procedure);
        }
        if self.accession_issuer.is_empty() && self.accession_issuer_universal_id.is_empty() {
            self.accession_issuer.clone_from(&from.accession_issuer);
            self.accession_issuer_universal_id.clone_from(&from.accession_issuer_universal_id);
            self.accession_issuer_universal_id_type.clone_from(&from.accession_issuer_universal_id_type);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_orders_what_is_alike_is_kept_and_a_step_only_with_its_procedure() {
        let one = Order {
            accession_issuer: "RIS".to_owned(),
            requested_procedure_id: "RP1".into(),
            scheduled_step_id: "S1".into(),
            procedure: Code { meaning: "Ulcer".to_owned(), ..Code::default() },
            modality: "XC".to_owned(),
            requesting_physician: "Req^Rob".into(),
            ..Order::default()
        };
        let alike = |other: &Order| {
            let mut order = one.clone();
            order.keep_alike(other);
            order
        };
        assert_eq!(alike(&one), one);
        let other = Order { requested_procedure_id: "RP2".into(), ..one.clone() };
        let then = Order { requested_procedure_id: Phi::default(), scheduled_step_id: Phi::default(), ..one.clone() };
        assert_eq!(alike(&other), then);
        let other = Order { requested_procedure_id: "RP1".into(), ..Order::default() };
        assert_eq!(alike(&other), other);
    }

    #[test]
    fn an_order_keeps_what_it_says_and_takes_over_no_step_of_another_procedure() {
        let told = Order {
            requested_procedure_id: "RP2".into(),
            scheduled_step_id: "S2".into(),
            study_instance_uid: "1.2.2".to_owned(),
            modality: "XC".to_owned(),
            accession_issuer: "RIS".to_owned(),
            ..Order::default()
        };
        let completed = |mut order: Order| {
            order.complete(&told);
            order
        };
        assert_eq!(completed(Order::default()), told);
        let own = Order { requested_procedure_id: "RP1".into(), accession_issuer: "HIS".to_owned(), ..Order::default() };
        let then = Order { study_instance_uid: "1.2.2".to_owned(), modality: "XC".to_owned(), ..own.clone() };
        assert_eq!(completed(own), then);
    }
}
