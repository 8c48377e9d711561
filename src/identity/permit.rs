//! What a verified person may do.

use jiff::Timestamp;

use crate::capture::Operator;

/// The words of the `scope` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    CaptureWrite,
    CaptureRead,
    PatientLookup,
    QueueOperate,
    AuditRead,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::CaptureWrite, Self::CaptureRead, Self::PatientLookup, Self::QueueOperate, Self::AuditRead];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CaptureWrite => "capture.write",
            Self::CaptureRead => "capture.read",
            Self::PatientLookup => "patient.lookup",
            Self::QueueOperate => "queue.operate",
            Self::AuditRead => "audit.read",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// A person whose token was verified. Only this room can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    operator: Operator,
    scopes: Vec<Scope>,
    expires_at: Timestamp,
}

impl Permit {
    pub(in crate::identity) fn new(operator: Operator, scopes: Vec<Scope>, expires_at: Timestamp) -> Self {
        Self { operator, scopes, expires_at }
    }

    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The token's `exp`. What was opened with this permit ends then at the latest.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}
