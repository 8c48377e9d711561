//! What one archive is to be offered: archives are as they are.

use std::borrow::Cow;

use super::Refused;
use crate::capture::FailureCode;
use crate::dicom::{Instance, Syntax};

/// How objects are given to one archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The transfer syntaxes it is offered; `None`: every one that is written here.
    pub syntaxes: Option<Vec<Syntax>>,
    pub character_set: CharacterSet,
}

/// (0008,0005) of what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CharacterSet {
    /// `ISO_IR 192`.
    #[default]
    Utf8,
    /// `ISO_IR 100` where the object's text fits it, else UTF-8: a name is never spelled otherwise.
    Latin1,
}

impl Profile {
    pub(super) fn offers(&self, syntax: Syntax) -> bool {
        self.syntaxes.as_ref().is_none_or(|offered| offered.contains(&syntax))
    }

    /// The object with its text as the archive wants it.
    pub(super) fn dress<'a>(&self, instance: &'a Instance) -> Cow<'a, Instance> {
        match self.character_set {
            CharacterSet::Utf8 => Cow::Borrowed(instance),
            CharacterSet::Latin1 => instance.in_latin1().map_or(Cow::Borrowed(instance), Cow::Owned),
        }
    }

    /// The best syntax of an object where nobody negotiates.
    pub(super) fn syntax_of(&self, instance: &Instance) -> Result<Syntax, Refused> {
        let best = instance.syntaxes().iter().copied().find(|s| self.offers(*s));
        best.ok_or_else(|| left_out(instance))
    }
}

/// An object in a syntax that the configuration leaves out.
fn left_out(instance: &Instance) -> Refused {
    let syntax = instance.transfer_syntax().uid();
    let detail =
        format!("the object is in transfer syntax {syntax}, which `syntaxes` of this [[archive]] leaves out; add it there");
    Refused { code: FailureCode::ArchiveRefusedClass, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_offered_what_its_profile_names_and_else_everything() {
        assert!(Profile::default().offers(Syntax::JpegBaseline));
        let native = Profile { syntaxes: Some(vec![Syntax::ImplicitLe]), ..Profile::default() };
        assert!(native.offers(Syntax::ImplicitLe) && !native.offers(Syntax::JpegBaseline));
    }
}
