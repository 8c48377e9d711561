//! What a verified person may do.

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
}

/// A person whose token was verified. Only this room can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    operator: Operator,
    scopes: Vec<Scope>,
}

impl Permit {
    pub(in crate::identity) fn new(operator: Operator, scopes: Vec<Scope>) -> Self {
        Self { operator, scopes }
    }

    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}
