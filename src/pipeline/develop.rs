//! What is decoded and coded behind the fence: a stranger's file goes in, and a stranger's file comes out.

use std::io::{self, Read};
use std::sync::Arc;

use super::film::{NoReel, Reel, reel};
use super::identify::Doubt;
use super::{sealed, wrap};
use crate::capture::media::Orientation;
use crate::capture::{Essence, FailureCode, ItemId};
use crate::dicom::video::Unfit;
use crate::dicom::{Cine, LossyHistory, LossyMethod, LossyStep};
use crate::fence::{Ended, Fence, Sink, Task};
use crate::media::film::coding::Family;
use crate::media::film::flat::Reader;
use crate::media::film::front::front;
use crate::media::film::stills::{Plan, Stream};
use crate::media::film::{self, Facts, Lasts, recode};
use crate::media::isobmff::ReadError;
use crate::media::jpeg;
use crate::media::source::Source;
use crate::scrub::Scrubbed;
use crate::spool::{Draft, Name, Spool};

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
    whole: Whole,
}

/// What has to come out of a film, lest a part of it be lost unseen: a program leaves out what it
/// cannot decode, and ends as if all were well.
struct Whole {
    lasts: Lasts,
    /// Number and bytes of the coded pictures where they were not to be touched.
    pictures: Option<(u32, u64)>,
}

impl Whole {
    /// What one picture, one block of sound and a rate that was evened out may take away.
    const SLACK_SECONDS: f64 = 0.5;
    const SLACK_SHARE: f64 = 0.02;

    /// `Err`: what is missing.
    fn check(&self, made: &Reel) -> Result<(), String> {
        let Cine { frames, picture_bytes, .. } = made.cine;
        if self.pictures.is_some_and(|pictures| pictures != (frames, picture_bytes)) {
            return Err("its pictures are not the same, and only its sound was to be another".to_owned());
        }
        let pairs = [("picture", self.lasts.picture, made.lasts.picture), ("sound", self.lasts.sound, made.lasts.sound)];
        match pairs.into_iter().find(|(_, all, came)| came + Self::SLACK_SECONDS + all * Self::SLACK_SHARE < *all) {
            Some((what, all, came)) => {
                Err(format!("of {all:.1} s of {what} only {came:.1} s could be decoded: the file may be damaged"))
            }
            None => Ok(()),
        }
    }
}

impl Recoded {
    /// Of the coded pictures.
    pub fn essence(&self) -> Essence {
        match self.history {
            LossyHistory::Original | LossyHistory::Trimmed | LossyHistory::Lossless => Essence::Unchanged,
            LossyHistory::Reencoded { .. } => Essence::Reencoded,
        }
    }

    /// Reads what came out.
    ///
    /// # Errors
    /// A [`Doubt`]: no syntax carries it even so, or a part is missing.
    pub fn reel(&self, made: &dyn Source) -> Result<Reel, Doubt> {
        let reel = reel(made, self.history, true).map_err(Doubt::from).map_err(|(_, why)| strange(&why))?;
        self.whole.check(&reel).map_err(|why| strange(&why))?;
        Ok(reel)
    }
}

/// Whatever is wrong with what came out: asking again would not help.
fn strange(why: &str) -> Doubt {
    (FailureCode::WrapFailed, format!("the video was coded anew, and still: {why}"))
}

/// Asking again would not help here, either.
fn damaged() -> Doubt {
    let detail = "the video is damaged: more than one in fifty of its pictures, or of the pieces of its sound, cannot be decoded, and coded anew it would stand still or fall silent there";
    (FailureCode::WrapFailed, detail.to_owned())
}

/// Codes a scrubbed film anew, into fragments: only its sound, where that is all that no syntax
/// carries. What comes out holds nothing to rely on: what leaves is a film with a head of ours, and
/// samples. `with_hevc` as for [`reel`].
///
/// # Errors
/// A [`Doubt`]: there is no program for it, or it does not take the film.
pub(super) fn recoded(
    fence: &Fence,
    source: &dyn Source,
    with_hevc: bool,
    sink: &mut Sink<'_>,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Recoded, Doubt> {
    let ffmpeg = fence.ffmpeg().ok_or_else(|| doubt(&Ended::NotStarted(io::ErrorKind::NotFound.into())))?;
    let film = film::read(source).map_err(unread)?;
    let is_sound_only =
        matches!(reel(source, LossyHistory::Original, with_hevc), Err(NoReel::Unfit(why)) if why == [Unfit::Sound]);
    let arguments = if is_sound_only { recode::sound_arguments() } else { recode::arguments(&film.facts, ffmpeg.maps_tones) };
    let task = Task::Film { program: ffmpeg.program.clone(), arguments };
    run(fence, &task, source, sink, watch)?;
    let history = if is_sound_only { LossyHistory::Original } else { history(&film.facts) };
    let has_flat_tones = !is_sound_only && recode::is_high_range(&film.facts) && !ffmpeg.maps_tones;
    let pictures = is_sound_only.then_some((film.facts.frames, film.facts.picture_bytes));
    Ok(Recoded { history, has_flat_tones, whole: Whole { lasts: film.lasts(), pictures } })
}

/// Runs a program over a film, whose index it is shown first.
fn run(
    fence: &Fence,
    task: &Task,
    source: &dyn Source,
    sink: &mut Sink<'_>,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), Doubt> {
    let front = Arc::new(front(source).map_err(unread)?);
    let all_bytes = front.length_bytes();
    let mut input = Watched { film: Reader::new(front, source), read_bytes: 0, all_bytes, watch };
    fence.run(task, &mut input, sink).map_err(|ended| match ended {
        Ended::Code(recode::DAMAGED) => damaged(),
        ended => doubt(&ended),
    })
}

/// Written between two looks at the room that is left.
const PIECE_BYTES: u64 = 16 << 20;

/// The film of one item, coded anew and sealed beside it, piece by piece: never in the clear, never
/// whole in memory. Where the disk runs short it is given up, and begun anew later.
///
/// # Errors
/// A [`Doubt`].
pub(super) fn film(
    spool: &Spool,
    fence: &Fence,
    item: ItemId,
    with_hevc: bool,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), Doubt> {
    let unreadable = |e| wrap::unreadable(&e);
    // Who asked may have looked for it just before it was there. One whose pictures are still in HEVC, which
    // no archive is offered any more, is replaced.
    if sealed::made_manifest(spool, Name::Derived(item)).map_err(unreadable)?.is_some() {
        let made = spool.read_at_any_place(Name::Derived(item)).map_err(unreadable)?;
        match reel(&made, LossyHistory::Original, with_hevc) {
            Ok(_) => return Ok(()),
            Err(NoReel::Unfit(_)) => {}
            Err(NoReel::Doubt(doubt)) => return Err(doubt),
        }
    }
    let source = spool.read_at_any_place(item).map_err(unreadable)?;
    let mut draft = spool.unkeyed_draft(Name::Derived(item)).map_err(unreadable)?;
    let mut room = Room { spool, spared_bytes: 0 };
    let mut sink = |piece: &[u8]| room.write(&mut draft, piece);
    let recoded = recoded(fence, &source, with_hevc, &mut sink, watch)?;
    let made = draft.read_back().map_err(unreadable)?;
    let Reel { picture, .. } = recoded.reel(&made)?;
    drop(made);
    let manifest = wrap::film_manifest(item, &picture, draft.payload_bytes(), &recoded);
    spool.promise(vec![draft.finish(&manifest).map_err(unreadable)?]).map_err(unreadable)
}

/// Stills of the film of one item, sealed beside it. Each is coded here, from pixels: whoever broke the
/// program gets no further than a picture.
///
/// # Errors
/// A [`Doubt`].
pub(super) fn stills(
    spool: &Spool,
    fence: &Fence,
    item: ItemId,
    quality: u8,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), Doubt> {
    let unreadable = |e| wrap::unreadable(&e);
    if sealed::made_manifest(spool, Name::Stills(item)).map_err(unreadable)?.is_some() {
        return Ok(());
    }
    let ffmpeg = fence.ffmpeg().ok_or_else(|| doubt(&Ended::NotStarted(io::ErrorKind::NotFound.into())))?;
    let source = spool.read_at_any_place(item).map_err(unreadable)?;
    let film = film::read(&source).map_err(unread)?;
    let plan = Plan::of(film.lasts().picture);
    let arguments = recode::stills_arguments(&film.facts, ffmpeg.maps_tones, plan);
    let mut draft = spool.unkeyed_draft(Name::Stills(item)).map_err(unreadable)?;
    let mut room = Room { spool, spared_bytes: 0 };
    let (mut stream, mut still_bytes, mut size) = (Stream::new(plan.count), Vec::new(), (0, 0));
    let mut is_strange = false;
    let mut sink = |piece: &[u8]| {
        let pushed = stream.push(piece, &mut |planes| {
            size = planes.first().map_or((0, 0), |luma| (luma.width, luma.height));
            let jpeg = jpeg::encode_planes(planes, Orientation::UPRIGHT, quality).map_err(|_| io::ErrorKind::InvalidData)?;
            still_bytes.push(u64::try_from(jpeg.len()).unwrap_or(u64::MAX));
            room.write(&mut draft, &jpeg)
        });
        // Not for want of room, which would be tried again.
        pushed.inspect_err(|error| is_strange = error.kind() == io::ErrorKind::InvalidData)
    };
    let task = Task::Film { program: ffmpeg.program.clone(), arguments };
    let ran = run(fence, &task, &source, &mut sink, watch);
    if is_strange {
        return Err(strange_stills("they are no pictures"));
    }
    ran?;
    stream.finish().map_err(|_| strange_stills("the last of them is not whole"))?;
    if still_bytes.len() < 2 {
        return Err(strange_stills("there are fewer than two"));
    }
    let has_flat_tones = recode::is_high_range(&film.facts) && !ffmpeg.maps_tones;
    let manifest = wrap::stills_manifest(item, size, still_bytes, plan.apart_ms, has_flat_tones);
    spool.promise(vec![draft.finish(&manifest).map_err(unreadable)?]).map_err(unreadable)
}

fn strange_stills(why: &str) -> Doubt {
    (FailureCode::WrapFailed, format!("stills of the video were made, and {why}"))
}

/// The room on the disk for what is written while phones send.
struct Room<'s> {
    spool: &'s Spool,
    /// Up to which room was found.
    spared_bytes: u64,
}

impl Room<'_> {
    fn write(&mut self, draft: &mut Draft, piece: &[u8]) -> io::Result<()> {
        if draft.payload_bytes() >= self.spared_bytes {
            self.spool.spare(PIECE_BYTES).map_err(io::Error::other)?;
            self.spared_bytes = draft.payload_bytes().saturating_add(PIECE_BYTES);
        }
        draft.write(piece).map_err(io::Error::other)
    }
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
        Ended::Refused(_) | Ended::Broke(_) | Ended::Code(_) | Ended::TooLong | Ended::TooMuch => FailureCode::WrapFailed,
    };
    (code, ended.to_string())
}
