//! What one archive is to be offered: archives are as they are.

use std::borrow::Cow;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use super::{Refused, Stored};
use crate::capture::FailureCode;
use crate::dicom::{Instance, Pixels, Syntax};
use crate::media::raster;

pub(super) const NATIVE: [Syntax; 2] = [Syntax::ExplicitLe, Syntax::ImplicitLe];

/// How objects are given to one archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The transfer syntaxes it is offered; `None`: every one that is written here.
    pub syntaxes: Option<Vec<Syntax>>,
    pub character_set: CharacterSet,
    /// Where a JPEG cannot go as it is, its pixels go decoded.
    pub fallback: bool,
}

/// A JPEG that is read whole to be decoded, bytes: more than any phone makes of
/// [`raster::PIXELS_MAX`] pixels.
const DECODED_JPEG_BYTES_MAX: u64 = 256 << 20;
/// One picture at a time, whatever the number of archives: the largest has 384 MB of pixels.
static DECODING: Mutex<()> = Mutex::new(());

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

    /// True where the object may go with its pixels decoded: one picture, and not the many of a burst.
    pub(super) fn can_decode(&self, instance: &Instance) -> bool {
        let is_jpeg = matches!(instance.pixels, Pixels::Jpeg { length } if length <= DECODED_JPEG_BYTES_MAX);
        self.fallback && is_jpeg && instance.still_bytes.is_empty() && NATIVE.iter().any(|s| self.offers(*s))
    }

    /// Where nobody negotiates: sends the object as it is, or decoded where the profile leaves
    /// out its syntax.
    pub(super) fn fit(
        &self,
        instance: &Instance,
        payload: &mut dyn Read,
        send: impl FnOnce(&Instance, &mut dyn Read) -> Result<Stored, Refused>,
    ) -> Result<Stored, Refused> {
        match self.syntax_of(instance) {
            Err(refused) if self.can_decode(instance) => send_decoded(instance, payload, refused, send),
            _ => send(instance, payload),
        }
    }

    /// The best syntax of an object where nobody negotiates.
    pub(super) fn syntax_of(&self, instance: &Instance) -> Result<Syntax, Refused> {
        let best = instance.syntaxes().iter().copied().find(|s| self.offers(*s));
        best.ok_or_else(|| left_out(instance))
    }
}

/// Sends the object with its pixels decoded; `refused`: why it cannot go as it is, and what stays
/// said where it cannot go so, either.
pub(super) fn send_decoded(
    instance: &Instance,
    payload: &mut dyn Read,
    refused: Refused,
    send: impl FnOnce(&Instance, &mut dyn Read) -> Result<Stored, Refused>,
) -> Result<Stored, Refused> {
    let _one_at_a_time = DECODING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut jpeg = Vec::new();
    payload.take(instance.pixels.length().saturating_add(1)).read_to_end(&mut jpeg).map_err(|_| unreadable())?;
    if jpeg.len() as u64 != instance.pixels.length() {
        return Err(unreadable());
    }
    let Ok(decoded) = raster::jpeg_samples(&jpeg) else { return Err(refused) };
    drop(jpeg);
    let Some(native) = instance.with_samples(decoded.width, decoded.height, decoded.samples) else { return Err(refused) };
    let stored = send(&native, &mut &*decoded.bytes)?;
    let note = "sent with its pixels decoded, as the archive does not take its JPEG syntax".to_owned();
    let warning = stored.warning.map_or_else(|| note.clone(), |warning| format!("{warning}; {note}"));
    Ok(Stored { warning: Some(warning) })
}

fn unreadable() -> Refused {
    let detail = "the sealed picture could not be read to its end; nothing was sent".to_owned();
    Refused { code: FailureCode::SpoolUnreadable, detail }
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
