//! Who else may know the study of an order: a worklist, or an archive that has it already.

use crate::capture::{Identifier, Order, Phi};

/// Asked about one order at a time.
pub trait Studies: Send + Sync {
    /// Everything that is there under this very accession number, whoever it is said to belong to.
    /// `patient_ids`, every number of the patient and the present one first, narrow the question where the
    /// peer does not match accession numbers: so many as its implementation says.
    ///
    /// # Errors
    /// [`Unanswered`]: never an empty answer instead.
    fn under(&self, accession: &Phi, patient_ids: &[Phi]) -> Result<Vec<Entry>, Unanswered>;
}

/// An order as another knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Every number that it gives the patient.
    pub patient: Vec<Identifier>,
    /// What it does not say is empty. The UID is as it was written there.
    pub order: Order,
}

/// Why there is no answer. Carries no patient data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered(pub String);
