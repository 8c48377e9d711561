//! The stills of a burst, gathered into one object: only what is one picture in all but the moment.

use std::fs::File;
use std::io::Write;

use super::offline::{Scratch, Unwrapped, unwritable};
use crate::capture::TakenAt;
use crate::capture::record::ItemFacts;
use crate::dicom::{Burst, LossyHistory, LossyStep, Picture, Pixels};

/// The word of a photo that does not fit its burst, and of those that fit and go with it.
pub const MISFIT: &str = "burst-misfit";

/// What was gathered so far.
pub struct Gathered {
    coded: File,
    still_bytes: Vec<u64>,
    /// Of the first; with what all of them lost before they were coded as they are.
    first: Option<(ItemFacts, Picture)>,
    taken: Vec<Option<TakenAt>>,
    /// Uncompressed by compressed size of each source, where it was coded anew.
    ratios: Vec<f64>,
}

/// All of a burst.
pub(super) struct Whole {
    pub item: ItemFacts,
    pub picture: Picture,
    pub burst: Burst,
    pub coded: Scratch,
}

impl Gathered {
    /// `coded`: where the stills lie until all are there.
    pub(super) fn new(coded: File) -> Self {
        Self { coded, still_bytes: Vec::new(), first: None, taken: Vec::new(), ratios: Vec::new() }
    }

    /// One still more, upright, with its coded bytes.
    pub(super) fn add(&mut self, item: ItemFacts, picture: Picture, coded: &[u8]) -> Result<(), Unwrapped> {
        if let Some(why) = self.misfit(&picture) {
            return Err((MISFIT, format!("{why} Wrap it without --burst.")));
        }
        self.coded.write_all(coded).map_err(|e| unwritable(&e))?;
        self.still_bytes.push(picture.pixels.length());
        self.taken.push(item.facts.taken_at);
        self.ratios.extend(step(&picture).map(|step| step.ratio));
        self.first.get_or_insert((item, picture));
        Ok(())
    }

    fn misfit(&self, picture: &Picture) -> Option<String> {
        if !matches!(picture.pixels, Pixels::Jpeg { .. }) || picture.samples != 3 {
            return Some("A burst is of photos in colour that are JPEG or HEIC, and this one is not.".to_owned());
        }
        let (_, first) = self.first.as_ref()?;
        let size = |of: &Picture| format!("{} × {}", of.width, of.height);
        if size(first) != size(picture) {
            return Some(format!(
                "The photos of a burst have one size, and this one has {}, not {}.",
                size(picture),
                size(first)
            ));
        }
        if first.icc_profile != picture.icc_profile {
            return Some("The photos of a burst have one colour profile, and this one has another.".to_owned());
        }
        let lost = |of: &Picture| {
            (matches!(of.history, LossyHistory::Original | LossyHistory::Trimmed), step(of).map(|step| step.method))
        };
        (lost(first) != lost(picture)).then(|| {
            "The photos of a burst are coded in one way, and this one has to be coded anew, or has not, unlike the first."
                .to_owned()
        })
    }

    /// # Errors
    /// [`Unwrapped`] where there are fewer than two.
    pub(super) fn whole(self) -> Result<Whole, Unwrapped> {
        let too_few = || (MISFIT, "A burst has two photos or more. Wrap a single one without --burst.".to_owned());
        let (item, first) = self.first.filter(|_| self.still_bytes.len() > 1).ok_or_else(too_few)?;
        let length = self.still_bytes.iter().fold(0, |all, n| n.saturating_add(all));
        // All that the sources held, by all that they took.
        #[allow(clippy::cast_precision_loss)] // some hundred
        let ratio = self.ratios.len() as f64 / self.ratios.iter().map(|ratio| 1.0 / ratio).sum::<f64>();
        let history = match step(&first) {
            Some(LossyStep { method, .. }) => LossyHistory::Reencoded { from: Some(LossyStep { method, ratio }) },
            None => first.history,
        };
        let picture = Picture { pixels: Pixels::Jpeg { length }, history, ..first };
        let coded = Scratch::of(self.coded).map_err(|e| unwritable(&e))?;
        let burst = Burst { still_bytes: self.still_bytes, apart_ms: apart_ms(&self.taken), is_of_film: false };
        Ok(Whole { item, picture, burst, coded })
    }
}

fn step(picture: &Picture) -> Option<LossyStep> {
    match picture.history {
        LossyHistory::Reencoded { from } => from,
        LossyHistory::Original | LossyHistory::Trimmed | LossyHistory::Lossless => None,
    }
}

/// Milliseconds since the still before; `None` where not all tell when, in one manner, and each later
/// than the one before: phones write whole seconds, in which a burst is over.
fn apart_ms(taken: &[Option<TakenAt>]) -> Option<Vec<u64>> {
    let mut apart = vec![0];
    for pair in taken.windows(2) {
        let [Some(before), Some(then)] = pair else { return None };
        let ms = match (before.offset, then.offset) {
            (Some(a), Some(b)) => {
                let (a, b) = (a.to_timestamp(before.local).ok()?, b.to_timestamp(then.local).ok()?);
                b.duration_since(a).as_millis()
            }
            (None, None) => then.local.duration_since(before.local).as_millis(),
            _ => return None,
        };
        apart.push(u64::try_from(ms).ok().filter(|ms| *ms > 0)?);
    }
    Some(apart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::claim::parse_taken_at;

    #[test]
    fn stills_are_apart_by_their_own_times_or_only_in_their_order() {
        let table: [(&[&str], Option<Vec<u64>>); 6] = [
            (&["2026-03-01T10:15:30.100", "2026-03-01T10:15:30.250", "2026-03-01T10:15:31"], Some(vec![0, 150, 750])),
            (&["2026-03-01T10:15:30+01:00", "2026-03-01T09:15:31Z"], Some(vec![0, 1_000])),
            (&["2026-03-01T10:15:30", "2026-03-01T10:15:30"], None),
            (&["2026-03-01T10:15:31", "2026-03-01T10:15:30"], None),
            (&["2026-03-01T10:15:30+01:00", "2026-03-01T10:15:31"], None),
            (&["2026-03-01T10:15:30", ""], None),
        ];
        for (given, then) in table {
            let taken: Vec<_> = given.iter().map(|text| parse_taken_at(text)).collect();
            assert_eq!(apart_ms(&taken), then, "{given:?}");
        }
    }
}
