//! What a message says happened.

/// One change of the hospital's facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update;
