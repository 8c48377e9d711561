//! What is decoded behind the fence: a stranger's file goes in, and a stranger's file comes out.

use super::identify::Doubt;
use super::wrap;
use crate::capture::FailureCode;
use crate::capture::media::PictureFormat;
use crate::capture::record::ItemFacts;
use crate::fence::{Ended, Fence, Task};

/// The picture of a sealed HEIC as an upright baseline JPEG. It is scrubbed and read to its last code
/// as if a phone had sent it: whoever broke the decoder gets no further than this.
///
/// # Errors
/// A [`Doubt`]: the picture is not for us, or there is no fence.
pub(super) fn heic(fence: &Fence, facts: &ItemFacts, sealed: &[u8], quality: u8) -> Result<(PictureFormat, Vec<u8>), Doubt> {
    let task = Task::Heic { quality, has_profile: facts.facts.icc_profile.is_some() };
    let mut made = Vec::new();
    let mut sink = |piece: &[u8]| {
        made.extend_from_slice(piece);
        Ok(())
    };
    fence.run(&task, &mut &*sealed, &mut sink).map_err(|ended| doubt(&ended))?;
    let strange = || (FailureCode::WrapFailed, "the decoder's process gave something that is no baseline JPEG".to_owned());
    let (format, bytes, _) = wrap::walk(&made).ok_or_else(strange)?;
    Ok((format, bytes))
}

/// What lacks a fence waits for a gateway that has one; the rest is the picture's own fault.
fn doubt(ended: &Ended) -> Doubt {
    let code = match ended {
        Ended::NotStarted(_) | Ended::Unfenced => FailureCode::NeedsTranscoding,
        Ended::Input(_) => FailureCode::SpoolUnreadable,
        Ended::Output(_) => FailureCode::StoreUnavailable,
        Ended::Refused(_) | Ended::Broke(_) | Ended::TooLong | Ended::TooMuch => FailureCode::WrapFailed,
    };
    (code, ended.to_string())
}
