//! What a C-STORE status, or a STOW-RS failure reason, means and what follows from it (PS3.4 §B.2.3, PS3.7 annex C).

use crate::capture::FailureCode;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Stored,
    /// The archive has it and wants something said.
    StoredWithWarning,
    Failed(FailureCode),
}

/// One range of statuses.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    pub first: u16,
    pub last: u16,
    pub verdict: Verdict,
    pub says: &'static str,
    pub clause: &'static str,
}

const fn row(first: u16, last: u16, verdict: Verdict, says: &'static str, clause: &'static str) -> Meaning {
    Meaning { first, last, verdict, says, clause }
}

use FailureCode::{ArchiveBusy, ArchiveNotAuthorised, ArchiveProcessing, ArchiveRefusedClass, ArchiveRefusedObject};
use Verdict::{Failed, Stored, StoredWithWarning};

/// The first row that holds a status counts; the last one holds them all.
#[rustfmt::skip]
pub static MEANINGS: &[Meaning] = &[
    row(0x0000, 0x0000, Stored, "stored", "PS3.4 §B.2.3"),
    row(0x0001, 0x0001, StoredWithWarning, "an optional attribute is not supported", "PS3.7 §C.3.4"),
    row(0x0107, 0x0107, StoredWithWarning, "attribute list error", "PS3.7 §C.4.2"),
    row(0x0110, 0x0110, Failed(ArchiveProcessing), "processing failure", "PS3.7 §C.5.21"),
    // Ours for life: what the archive has under this UID is this object, sent before an answer was lost.
    row(0x0111, 0x0111, StoredWithWarning, "the archive has this instance already", "PS3.7 §C.5.6"),
    row(0x0116, 0x0116, StoredWithWarning, "an attribute value is out of range", "PS3.7 §C.4.3"),
    row(0x0122, 0x0122, Failed(ArchiveRefusedClass), "SOP class not supported", "PS3.7 §C.5.24"),
    row(0x0124, 0x0124, Failed(ArchiveNotAuthorised), "not authorised", "PS3.7 §C.5.20"),
    row(0xA700, 0xA7FF, Failed(ArchiveBusy), "out of resources", "PS3.4 §B.2.3"),
    row(0xA900, 0xA9FF, Failed(ArchiveRefusedObject), "the data set does not match its SOP class", "PS3.4 §B.2.3"),
    row(0xB000, 0xB000, StoredWithWarning, "elements were coerced", "PS3.4 §B.2.3"),
    row(0xB006, 0xB006, StoredWithWarning, "elements were discarded", "PS3.4 §B.2.3"),
    row(0xB007, 0xB007, StoredWithWarning, "the data set does not match its SOP class", "PS3.4 §B.2.3"),
    row(0xB000, 0xBFFF, StoredWithWarning, "stored with a warning", "PS3.7 annex C"),
    row(0xC000, 0xCFFF, Failed(ArchiveRefusedObject), "the archive cannot understand the object", "PS3.4 §B.2.3"),
    EVERY_OTHER,
];

/// Every other status: the archive answered, and not that it has it.
const EVERY_OTHER: Meaning = row(0, u16::MAX, Failed(ArchiveRefusedObject), "a failure without a meaning here", "PS3.7 annex C");

/// The first row that holds the status.
#[must_use]
pub fn meaning(status: u16) -> &'static Meaning {
    MEANINGS.iter().find(|m| (m.first..=m.last).contains(&status)).unwrap_or(&EVERY_OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Class;

    #[test]
    fn each_status_is_met_as_the_standard_means_it() {
        let table = [
            (0x0000, Stored),
            (0xB000, StoredWithWarning),
            (0xB006, StoredWithWarning),
            (0xB007, StoredWithWarning),
            (0xB123, StoredWithWarning),
            (0x0111, StoredWithWarning),
            (0xA700, Failed(ArchiveBusy)),
            (0xA7FF, Failed(ArchiveBusy)),
            (0xA900, Failed(ArchiveRefusedObject)),
            (0xC000, Failed(ArchiveRefusedObject)),
            (0xC123, Failed(ArchiveRefusedObject)),
            (0x0110, Failed(ArchiveProcessing)),
            (0x0122, Failed(ArchiveRefusedClass)),
            (0x0124, Failed(ArchiveNotAuthorised)),
            (0x0117, Failed(ArchiveRefusedObject)),
            (0x0211, Failed(ArchiveRefusedObject)),
            (0xFE00, Failed(ArchiveRefusedObject)),
        ];
        for (status, then) in table {
            assert_eq!(meaning(status).verdict, then, "{status:04X}");
        }
    }

    #[test]
    fn only_a_shortage_a_processing_failure_or_a_missing_right_is_tried_again() {
        for status in 0..=u16::MAX {
            if let Failed(code) = meaning(status).verdict {
                let is_retried = code.class() == Class::Transient;
                assert_eq!(is_retried, matches!(status, 0x0110 | 0x0124) || status & 0xFF00 == 0xA700, "{status:04X}");
            }
        }
    }
}
