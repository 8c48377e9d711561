//! Text that belongs to a person, and text rules of the standards.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value about a person. It prints as `[redacted]`, so that no log, panic or error text can
/// carry it; [`Phi::expose`] is the one loud way to its letters.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phi(String);

impl Phi {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The letters. For objects, answers to permitted people and sealed files; never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Phi {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Phi {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Phi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "[redacted]" })
    }
}

/// True where `text` may stand in a DICOM LO, SH or PN value and in a log-free record: no control
/// character, no backslash (it separates values, PS3.5 §6.1.3), no bidirectional override.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c == '\\' || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'))
}
