//! What an archive was found to be like, for the administrator who configures it.

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    Pass,
    /// It works, and is probably not meant.
    Warn,
    Fail,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub grade: Grade,
    pub says: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
    /// The key of `[[archive]]` to change; empty where none helps.
    pub key: &'static str,
}

impl Finding {
    #[must_use]
    pub fn pass(says: impl Into<String>) -> Self {
        Self { grade: Grade::Pass, says: says.into(), fix: String::new(), key: "" }
    }

    #[must_use]
    pub fn warn(says: impl Into<String>, key: &'static str, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, says: says.into(), fix: fix.into(), key }
    }

    #[must_use]
    pub fn fail(says: impl Into<String>, key: &'static str, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, says: says.into(), fix: fix.into(), key }
    }
}
