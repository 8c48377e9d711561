//! Where finished instances go, and who else knows the study of an order.
//!
//! Owns: the ports [`Archive`] and [`studies::Studies`] and their adapters; what a status means, with its clause.
//! Never: decides when to try again, reads the journal or the spool.

mod association;
mod command;
mod commitment;
pub mod dimse;
pub mod find;
pub mod finding;
pub mod folder;
mod link;
mod listening;
mod message;
pub mod profile;
pub mod reports;
pub mod scp;
mod sniff;
pub mod status;
pub mod stow;
pub mod studies;
pub mod tls;
mod wire;

use std::fmt;
use std::io::Read;

use self::finding::Finding;
use crate::capture::{Commitment, FailureCode, MediaClass, SopRef, Uid};
pub use crate::dicom::commitment::{NO_SUCH_INSTANCE, Report};
use crate::dicom::{Instance, Syntax};

/// Where finished instances go. One implementation per protocol.
/// Every method may be repeated: an instance keeps its UIDs for life.
pub trait Archive: Send + Sync {
    /// Stores one instance. `payload` is the coded picture alone, as [`Instance::pixels`] says
    /// how it is wrapped.
    ///
    /// # Errors
    /// [`Refused`] with a code whose class tells the retry rule what to do.
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused>;

    /// True where an object whose class it does not take may go as another that stands in for it.
    fn takes_stand_ins(&self) -> bool {
        false
    }

    /// Whether objects in this transfer syntax are offered to it.
    fn offers(&self, _syntax: Syntax) -> bool {
        true
    }

    /// Asks whether the archive is there (C-ECHO).
    ///
    /// # Errors
    /// As for [`Archive::store`].
    fn probe(&self) -> Result<(), Refused>;

    /// Asks the archive to say that it keeps these instances (PS3.4 §J). `transaction` is new with
    /// each question, and was written down before this is called: the answer may come later, and
    /// elsewhere ([`ReportSink`]).
    ///
    /// # Errors
    /// As for [`Archive::store`]: the archive did not take the question. A permanent code says
    /// that it cannot be asked.
    fn ask_commitment(&self, _transaction: &Uid, _wanted: &[SopRef]) -> Result<Asked, Refused> {
        let detail = "this kind of archive cannot be asked for storage commitment".to_owned();
        Err(Refused { code: FailureCode::ArchiveRefusedClass, detail })
    }

    /// What it is like, and what of its configuration to change: really connects, stores nothing.
    /// `commitment`: whether it is to be asked for it. `named`: what the configuration sends there by
    /// name; empty: everything, unnamed.
    fn examine(&self, _commitment: Commitment, _named: &[MediaClass]) -> Vec<Finding> {
        vec![match self.probe() {
            Ok(()) => Finding::pass("the archive answers"),
            Err(refused) => Finding::fail(refused.detail, "", refused.code.advice()),
        }]
    }

    /// Closes connections that did nothing for a while. Called now and then, and when the gateway
    /// stops; costs nothing where there is nothing to close.
    fn release_idle(&self) {}
}

/// The archive has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The status word where it was a warning (Bxxx), with the archive's own comment.
    pub warning: Option<String>,
}

/// The archive took the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Reports came at once; one about an older question may be among them.
    Answered(Vec<Report>),
    /// It will report elsewhere.
    Later,
}

/// Who is told what an archive reports by itself. Called from many threads.
pub trait ReportSink: Send + Sync {
    /// `from`: as whom the archive came.
    ///
    /// # Errors
    /// [`Unwanted`], with which the archive is refused.
    fn report(&self, from: &AeTitle, report: Report) -> Result<(), Unwanted>;

    /// Somebody came who is not the archive, or who called somebody else.
    fn stranger(&self);
}

/// Why a report is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// No question of ours to this archive has this transaction: a forgery, or an answer to somebody else.
    UnknownTransaction,
    /// It could not be looked up or kept just now.
    Later,
}

/// The archive does not have it, or nobody knows. `detail` carries the archive's own words, cut
/// to what a log may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: FailureCode,
    pub detail: String,
}

/// An application entity title (PS3.5 §6.2, AE): 1 to 16 printable ASCII characters, no backslash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AeTitle(String);

/// The text is no application entity title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAeTitle;

impl fmt::Display for BadAeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an AE title; write 1 to 16 printable ASCII characters, no backslash (PS3.5 §6.2)")
    }
}

impl AeTitle {
    /// Spaces at either end do not count.
    ///
    /// # Errors
    /// [`BadAeTitle`].
    pub fn parse(text: &str) -> Result<Self, BadAeTitle> {
        let text = text.trim_matches(' ');
        let is_legal = (1..=16).contains(&text.len()) && text.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b'\\');
        if is_legal { Ok(Self(text.to_owned())) } else { Err(BadAeTitle) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ae_title_has_up_to_sixteen_plain_characters() {
        for good in ["PACS", " PACS ", "A B", "1234567890123456"] {
            assert_eq!(AeTitle::parse(good).map(|t| t.as_str().to_owned()), Ok(good.trim().to_owned()));
        }
        for bad in ["", "  ", "12345678901234567", "A\\B", "Ä", "A\nB"] {
            assert_eq!(AeTitle::parse(bad), Err(BadAeTitle), "{bad:?}");
        }
    }
}
