//! What can go wrong behind the promise line: code, class, owner, advice.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a failure is met. The retry rule reads this and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It did not happen; try again.
    Transient,
    /// It may have happened; the same object is sent again under the same UID.
    Ambiguous,
    /// Trying again as it is cannot help: held for a person.
    Permanent,
}

macro_rules! failure_codes {
    ($($variant:ident $word:literal $class:ident $owner:literal $advice:literal;)*) => {
        /// Each has a heading in `api-spec/problems.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum FailureCode { $($variant),* }

        impl FailureCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Stable machine word.
            #[must_use]
            pub fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }

            #[must_use]
            pub fn class(self) -> Class { match self { $(Self::$variant => Class::$class),* } }

            /// Who acts.
            #[must_use]
            pub fn owner(self) -> &'static str { match self { $(Self::$variant => $owner),* } }

            /// What to do.
            #[must_use]
            pub fn advice(self) -> &'static str { match self { $(Self::$variant => $advice),* } }
        }
    };
}

failure_codes! {
    PatientUnknown "patient-unknown" Permanent "desk" "Waits for the hospital to announce the patient, visit or order; check the number.";
    PatientAmbiguous "patient-ambiguous" Permanent "desk" "More than one patient answers to this number; assign the right one.";
    IdentityDisagrees "identity-disagrees" Permanent "desk" "What the sender claims and what the hospital says differ; compare and assign.";
    IdentifierTooLong "identifier-too-long" Permanent "desk" "An identifier does not fit its DICOM attribute and is never cut; correct it at its source.";
    OrderCancelled "order-cancelled" Permanent "desk" "The order was cancelled; assign another order or send without one.";
    LookupUnavailable "lookup-unavailable" Transient "operations" "The hospital index could not be read; look at the disk.";
    StudyUnknown "study-unknown" Transient "operations" "The worklist, or an archive, has not said yet which study the order has; it is asked again. Look whether it answers.";
    StudyUnclear "study-unclear" Permanent "desk" "The worklist has more than one study for the order, or none that has a valid UID; correct it there, then retry.";
    WrapFailed "wrap-failed" Permanent "support" "The object could not be built; keep it and report the capture id.";
    NeedsTranscoding "needs-transcoding" Permanent "operations" "No transfer syntax carries it as it is, and there is nothing here that makes it one; retry once there is.";
    Transcoding "transcoding" Transient "nobody" "It is being coded anew, which takes about as long as it lasts; it goes on by itself.";
    SignedDocument "signed-document" Permanent "desk" "It bears a digital signature, which a scrub would break; it is kept sealed and never sent. File it by another way, then discard it.";
    SpoolUnreadable "spool-unreadable" Permanent "operations" "The sealed file cannot be opened; see `spool verify`.";
    StoreUnavailable "store-unavailable" Transient "operations" "The disk did not take a write; look at space and health.";
    ArchiveUnreachable "archive-unreachable" Transient "operations" "The archive does not answer; check address, port and network.";
    ArchiveRejected "archive-rejected" Transient "operations" "The archive refused the association; check both AE titles on its side.";
    ArchiveAborted "archive-aborted" Ambiguous "operations" "The connection broke before the archive answered; the same object is sent again.";
    ArchiveBusy "archive-busy" Transient "operations" "The archive is out of resources (A7xx); it is asked again.";
    ArchiveProcessing "archive-processing" Transient "operations" "The archive reported a processing failure; it is asked again.";
    ArchiveNotCommitted "archive-not-committed" Transient "operations" "The archive has not said that it keeps the object; it is asked again.";
    ArchiveWillNotCommit "archive-will-not-commit" Permanent "operations" "The archive took the object and says that it will not keep it; look at its log, then retry, or discard what waits.";
    ArchiveRefusedClass "archive-refused-class" Permanent "operations" "The archive takes neither this SOP class nor this transfer syntax.";
    ArchiveRefusedObject "archive-refused-object" Permanent "support" "The archive cannot accept the object as it is (A9xx, Cxxx).";
    ArchiveNotAuthorised "archive-not-authorised" Transient "operations" "The archive does not let this gateway store; ask its administrator.";
    ArchiveStumbles "archive-stumbles" Permanent "support" "The archive failed each time it was sent this object, and took others meanwhile; look at its log before you retry.";
    ArchiveGone "archive-gone" Permanent "operations" "The archive that it waits for is not configured any more; configure it again under its name, or discard what waits.";
    NoArchive "no-archive" Permanent "operations" "No archive of the configuration takes it; look at departments, media and sensitive of each [[archive]].";
    GatewayDied "gateway-died" Permanent "support" "The gateway died three times in a row while it worked on this item; keep it and report the capture id.";
    HeldByPerson "held-by-person" Permanent "desk" "A person stopped it; the reason is in the history.";
}

impl FailureCode {
    /// True where the archive was not reached, left before it had the whole object, or does not take such
    /// objects at all: it stored nothing.
    #[must_use]
    pub fn nothing_was_stored(self) -> bool {
        matches!(self, Self::ArchiveUnreachable | Self::ArchiveRejected | Self::ArchiveRefusedClass)
    }

    /// True where no object can be the cause: whatever is sent next meets the same.
    #[must_use]
    pub fn concerns_the_archive(self) -> bool {
        matches!(self, Self::ArchiveUnreachable | Self::ArchiveRejected | Self::ArchiveNotAuthorised)
    }
}

/// One failure of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    pub class: Class,
    /// For an operator. Never patient data.
    pub detail: String,
    pub at: Timestamp,
}

impl Failure {
    #[must_use]
    pub fn new(code: FailureCode, detail: impl Into<String>, at: Timestamp) -> Self {
        Self { code, class: code.class(), detail: detail.into(), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_code_is_its_json_form() {
        for code in FailureCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("a word"), code.word());
        }
    }
}
