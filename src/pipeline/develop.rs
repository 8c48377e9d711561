//! What is decoded and coded behind the fence: a stranger's file goes in, and a stranger's file comes out.

use std::io::{self, Read};
use std::sync::Arc;

use super::film::{NoReel, Reel, reel};
use super::identify::Doubt;
use super::{sealed, wrap};
use crate::capture::{Essence, FailureCode, ItemId};
use crate::dicom::video::Unfit;
use crate::dicom::{LossyHistory, LossyMethod, LossyStep};
use crate::fence::{Ended, Fence, Sink, Task};
use crate::media::film::coding::Family;
use crate::media::film::flat::Reader;
use crate::media::film::front::front;
use crate::media::film::{self, Facts, recode};
use crate::media::isobmff::ReadError;
use crate::media::source::Source;
use crate::scrub::Scrubbed;
use crate::spool::{Name, Spool};

/// The picture of a sealed HEIC as an upright baseline JPEG, and what there was to scrub from it. It is
/// read to its last code as if a phone had sent it: whoever broke the decoder gets no further than this.
///
/// # Errors
/// A [`Doubt`]: the picture is not for us, or there is no fence.
pub(super) fn heic(fence: &Fence, sealed: &[u8], quality: u8) -> Result<(Scrubbed, Vec<u8>), Doubt> {
    let mut made = Vec::new();
    let mut sink = |piece: &[u8]| {
        made.extend_from_slice(piece);
        Ok(())
    };
    fence.run(&Task::Heic { quality }, &mut &*sealed, &mut sink).map_err(|ended| doubt(&ended))?;
    wrap::walk(&made)
        .ok_or_else(|| (FailureCode::WrapFailed, "the decoder's process gave something that is no baseline JPEG".to_owned()))
}

/// A film that was coded anew.
pub(super) struct Recoded {
    /// What its pictures have lost: where only its sound was at fault they are the camera's.
    pub history: LossyHistory,
    /// Its high dynamic range was cut, for want of filters.
    pub has_flat_tones: bool,
}

impl Recoded {
    /// Of the coded pictures.
    pub fn essence(&self) -> Essence {
        match self.history {
            LossyHistory::Original | LossyHistory::Lossless => Essence::Unchanged,
            LossyHistory::Reencoded { .. } => Essence::Reencoded,
        }
    }
}

/// Codes a scrubbed film anew, into fragments: only its sound, where that is all that no syntax
/// carries. What comes out holds nothing to rely on: what leaves is a film with a head of ours, and
/// samples.
///
/// # Errors
/// A [`Doubt`]: there is no program for it, or it does not take the film.
pub(super) fn recoded(
    fence: &Fence,
    source: &dyn Source,
    sink: &mut Sink<'_>,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Recoded, Doubt> {
    let ffmpeg = fence.ffmpeg().ok_or_else(|| doubt(&Ended::NotStarted(io::ErrorKind::NotFound.into())))?;
    let film = film::read(source).map_err(unread)?;
    let is_sound_only = matches!(reel(source, LossyHistory::Original), Err(NoReel::Unfit(why)) if why == [Unfit::Sound]);
    let arguments = if is_sound_only { recode::sound_arguments() } else { recode::arguments(&film.facts, ffmpeg.maps_tones) };
    let task = Task::Film { program: ffmpeg.program.clone(), arguments };
    let front = Arc::new(front(source).map_err(unread)?);
    let all_bytes = front.length_bytes();
    let mut input = Watched { film: Reader::new(front, source), read_bytes: 0, all_bytes, watch };
    fence.run(&task, &mut input, sink).map_err(|ended| doubt(&ended))?;
    let history = if is_sound_only { LossyHistory::Original } else { history(&film.facts) };
    let has_flat_tones = !is_sound_only && recode::is_high_range(&film.facts) && !ffmpeg.maps_tones;
    Ok(Recoded { history, has_flat_tones })
}

/// The film of one item, coded anew and sealed beside it, piece by piece: never in the clear, never
/// whole in memory.
///
/// # Errors
/// A [`Doubt`].
pub(super) fn film(spool: &Spool, fence: &Fence, item: ItemId, watch: &mut dyn FnMut(u64, u64) -> bool) -> Result<(), Doubt> {
    let unreadable = |e| wrap::unreadable(&e);
    // Who asked may have looked for it just before it was there.
    if sealed::derived_manifest(spool, item).map_err(unreadable)?.is_some() {
        return Ok(());
    }
    let source = spool.read_at_any_place(item).map_err(unreadable)?;
    let mut draft = spool.unkeyed_draft(Name::Derived(item)).map_err(unreadable)?;
    let mut sink = |piece: &[u8]| draft.write(piece).map_err(io::Error::other);
    let recoded = recoded(fence, &source, &mut sink, watch)?;
    let made = draft.read_back().map_err(unreadable)?;
    let Reel { picture, .. } = reel(&made, recoded.history).map_err(Doubt::from).map_err(strange)?;
    drop(made);
    let manifest = wrap::film_manifest(item, &picture, draft.payload_bytes(), &recoded);
    spool.promise(vec![draft.finish(&manifest).map_err(unreadable)?]).map_err(unreadable)
}

/// Whatever is wrong with what came out: asking again would not help.
pub(super) fn strange((_, detail): Doubt) -> Doubt {
    (FailureCode::WrapFailed, format!("the video was coded anew, and still: {detail}"))
}

/// What a film has lost before it was coded anew: the step of the camera, where DICOM has a word for it.
fn history(facts: &Facts) -> LossyHistory {
    let from = facts.coding.as_ref().ok().map(|coding| {
        let method = match coding.family {
            Family::Avc => LossyMethod::Avc,
            Family::Hevc => LossyMethod::Hevc,
        };
        let plain = f64::from(coding.width) * f64::from(coding.height) * 3.0 * f64::from(facts.frames);
        // Exact up to 2^53 bytes.
        #[allow(clippy::cast_precision_loss)]
        let coded = facts.picture_bytes.max(1) as f64;
        LossyStep { method, ratio: plain / coded }
    });
    LossyHistory::Reencoded { from }
}

/// The same of a sealed film.
///
/// # Errors
/// A [`Doubt`] where it cannot be read.
pub(super) fn history_of(source: &dyn Source) -> Result<LossyHistory, Doubt> {
    film::read(source).map(|film| history(&film.facts)).map_err(unread)
}

fn unread(error: ReadError) -> Doubt {
    match error {
        ReadError::Source(error) => (FailureCode::SpoolUnreadable, error.to_string()),
        ReadError::Fault(fault) => (FailureCode::WrapFailed, format!("the video {fault}")),
    }
}

/// A film on its way in.
struct Watched<'a, R> {
    film: R,
    read_bytes: u64,
    all_bytes: u64,
    /// Told how many bytes were read, and of how many; false: break off.
    watch: &'a mut dyn FnMut(u64, u64) -> bool,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !(self.watch)(self.read_bytes, self.all_bytes) {
            return Err(io::Error::other("the gateway stops"));
        }
        let length = self.film.read(out)?;
        self.read_bytes = self.read_bytes.saturating_add(u64::try_from(length).unwrap_or(0));
        Ok(length)
    }
}

/// What lacks a fence, or a program, waits for a gateway that has one; the rest is the file's own fault.
fn doubt(ended: &Ended) -> Doubt {
    let code = match ended {
        Ended::NotStarted(_) | Ended::Unfenced => FailureCode::NeedsTranscoding,
        Ended::Input(_) => FailureCode::SpoolUnreadable,
        Ended::Output(_) => FailureCode::StoreUnavailable,
        Ended::Refused(_) | Ended::Broke(_) | Ended::TooLong | Ended::TooMuch => FailureCode::WrapFailed,
    };
    (code, ended.to_string())
}
