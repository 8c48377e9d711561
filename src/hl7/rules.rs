//! What is known of the senders: defaults for all, and rules for some.

use jiff::tz::TimeZone;

use super::charset::Charset;
use super::path::FieldPath;

/// An assigning authority (HD, HL7 v2.5.1 §2.A.33). Empty members where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    pub namespace: String,
    pub universal_id: String,
    pub universal_id_type: String,
}

impl Authority {
    #[must_use]
    pub fn named(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }
}

/// How messages are read.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whose an identifier is that names no authority; its patient id is the first of several.
    pub assigning_authority: Authority,
    /// Zone of times without an offset.
    pub zone: TimeZone,
    /// The first that matches a message applies to it.
    pub sources: Vec<SourceRule>,
}

/// One sender, matched on MSH-3 and MSH-4. An empty member is as without a rule.
#[derive(Clone, Debug, Default)]
pub struct SourceRule {
    pub application: Option<String>,
    pub facility: Option<String>,
    /// Taken where MSH-18 is empty.
    pub default_charset: Option<Charset>,
    pub assigning_authority: Option<Authority>,
    pub zone: Option<TimeZone>,
    /// Where the accession number stands; the first that is not empty. None: IPC-1, else OBR-18,
    /// else the filler number where it fits 16 characters.
    pub accession: Vec<FieldPath>,
    /// Each message tells all there is: an empty field deletes (update mode is HL7's own rule).
    pub is_snapshot: bool,
    /// XPN-6 is not appended to the suffix.
    pub drops_degree: bool,
}

impl Rules {
    /// The rule for a sender.
    #[must_use]
    pub fn source(&self, application: &str, facility: &str) -> Option<&SourceRule> {
        let fits = |rule: &Option<String>, value: &str| rule.as_deref().is_none_or(|r| r == value);
        self.sources.iter().find(|s| fits(&s.application, application) && fits(&s.facility, facility))
    }
}
