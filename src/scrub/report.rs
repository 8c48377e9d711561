//! The report line of `scrub` and `wrap`: one JSON object per file.

use serde::Serialize;

use super::{ScrubError, Scrubbed};
use crate::capture::{Essence, MediaKind, Uid};

/// Where there is an error, `output`, `media` and `essence` are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub input: String,
    pub output: Option<String>,
    pub media: Option<MediaKind>,
    pub location_found: bool,
    pub removed: Vec<String>,
    pub essence: Option<Essence>,
    /// Of the object; `null` from `scrub`.
    pub sop_class: Option<Uid>,
    pub transfer_syntax: Option<Uid>,
    pub error: Option<ReportError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportError {
    /// The words of the problem documents.
    pub code: String,
    pub detail: String,
}

impl Report {
    #[must_use]
    pub fn scrubbed(input: String, output: String, scrubbed: &Scrubbed) -> Self {
        Self {
            input,
            output: Some(output),
            media: Some(scrubbed.media),
            location_found: scrubbed.location_found,
            removed: scrubbed.removed.clone(),
            essence: Some(scrubbed.essence),
            sop_class: None,
            transfer_syntax: None,
            error: None,
        }
    }

    /// A file that did not come through, for whatever reason.
    #[must_use]
    pub fn refused(input: String, code: &str, detail: impl Into<String>) -> Self {
        Self {
            input,
            output: None,
            media: None,
            location_found: false,
            removed: Vec::new(),
            essence: None,
            sop_class: None,
            transfer_syntax: None,
            error: Some(ReportError { code: code.to_owned(), detail: detail.into() }),
        }
    }

    #[must_use]
    pub fn from_error(input: String, error: &ScrubError) -> Self {
        Self::refused(input, error.code.word(), error.detail.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::ScrubCode;

    #[test]
    fn a_refusal_has_every_member_of_the_contract() {
        let error = ScrubError { code: ScrubCode::Empty, detail: "why".to_owned() };
        let line = serde_json::to_string(&Report::from_error("a.jpg".to_owned(), &error)).unwrap();
        let contract = r#"{"input":"a.jpg","output":null,"media":null,"location_found":false,"removed":[],"essence":null,"sop_class":null,"transfer_syntax":null,"error":{"code":"damaged-media","detail":"why"}}"#;
        assert_eq!(line, contract);
    }
}
