//! Films: how a sealed one leaves. Its coded pictures are not touched; what is put before them is
//! made from its index, the same each time.

use std::sync::Arc;

use super::forward::NamedArchive;
use super::identify::Doubt;
use crate::capture::{FailureCode, MediaClass};
use crate::dicom::video::{Unfit, carrier};
use crate::dicom::{Cine, LossyHistory, Picture, Pixels, Syntax};
use crate::media::Fault;
use crate::media::film::coding::Family;
use crate::media::film::flat::{self, Flat};
use crate::media::film::{self, Facts, Lasts};
use crate::media::isobmff::ReadError;
use crate::media::source::Source;

/// A film that a transfer syntax carries.
pub(super) struct Reel {
    pub picture: Picture,
    pub cine: Cine,
    pub lasts: Lasts,
    pub flat: Arc<Flat>,
}

/// Why there is none.
pub(super) enum NoReel {
    /// It has to be coded again, for each of these reasons.
    Unfit(Vec<Unfit>),
    Doubt(Doubt),
}

impl From<NoReel> for Doubt {
    fn from(why: NoReel) -> Self {
        match why {
            NoReel::Unfit(reasons) => {
                let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                (FailureCode::NeedsTranscoding, format!("no transfer syntax carries the video as it is: {}", words.join("; ")))
            }
            NoReel::Doubt(doubt) => doubt,
        }
    }
}

/// Whether some archive that takes films is offered HEVC. Where none is, such a film is coded anew as
/// H.264, which is what an archive that takes films has.
pub(super) fn goes_as_hevc(archives: &[NamedArchive]) -> bool {
    let mut takers = archives.iter().filter(|to| to.takes.media.is_empty() || to.takes.media.contains(&MediaClass::Video));
    takers.clone().next().is_none() || takers.any(|to| to.archive.offers(Syntax::HevcMain))
}

/// Reads the index of a scrubbed film; `history`: whether its pictures are the camera's; `with_hevc`:
/// whether HEVC is taken for a form in which it can leave.
pub(super) fn reel(source: &dyn Source, history: LossyHistory, with_hevc: bool) -> Result<Reel, NoReel> {
    let film = film::read(source).map_err(|error| {
        NoReel::Doubt(match error {
            ReadError::Source(error) => (FailureCode::SpoolUnreadable, error.to_string()),
            ReadError::Fault(fault) => unreadable(fault),
        })
    })?;
    let flat = film.flat();
    let carrier = match &flat {
        Ok(flat) => carrier(&film.facts, flat.length_bytes()),
        Err(flat::TOO_LONG) => carrier(&film.facts, u64::MAX),
        Err(fault) => Err(with_fault(carrier(&film.facts, 0), *fault)),
    };
    let syntax = offered(&film.facts, carrier, with_hevc).map_err(NoReel::Unfit)?;
    let flat = flat.map_err(|fault| NoReel::Doubt(unreadable(fault)))?;
    let (width, height) = film.facts.coding.as_ref().map_or((0, 0), |coding| (coding.width, coding.height));
    let pixels = Pixels::Video { length: flat.length_bytes(), syntax };
    let picture = Picture { width, height, samples: 3, pixels, history, icc_profile: None };
    Ok(Reel { picture, cine: Cine::of(&film.facts), lasts: film.lasts(), flat: Arc::new(flat) })
}

/// Why a film whose index cannot be followed goes in no syntax, though its stream might.
fn with_fault(carrier: Result<Syntax, Vec<Unfit>>, fault: Fault) -> Vec<Unfit> {
    let mut reasons = carrier.err().unwrap_or_default();
    reasons.push(Unfit::Coding(fault.0));
    reasons
}

/// The carrier where it is one that an archive is offered, else every reason against it.
fn offered(facts: &Facts, carrier: Result<Syntax, Vec<Unfit>>, with_hevc: bool) -> Result<Syntax, Vec<Unfit>> {
    let is_hevc = facts.coding.as_ref().is_ok_and(|coding| coding.family == Family::Hevc);
    match carrier {
        carrier if with_hevc || !is_hevc => carrier,
        Ok(syntax) => Err(vec![Unfit::NotOffered(syntax)]),
        Err(reasons) => Err([&[Unfit::NotOffered(Syntax::HevcMain)], reasons.as_slice()].concat()),
    }
}

fn unreadable(fault: Fault) -> Doubt {
    (FailureCode::WrapFailed, format!("the video {fault}"))
}
