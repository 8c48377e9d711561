//! Where the samples of each track stand: by the tables of `moov`, and by the runs of each `moof`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::index::{Track, at_path, list};
use super::{Film, damaged};
use crate::media::Fault;
use crate::media::isobmff::Fields;
use crate::media::source::Source;
use crate::scrub::ScrubError;
use crate::scrub::container::PlanError;

/// Samples of dropped tracks that are asked for a place: a minute of a sensor that speaks 60
/// times a second.
const ASKED_MAX: usize = 4096;

/// Samples that stand together.
pub(super) struct Run {
    pub at: u64,
    pub sizes: Sizes,
}

pub(super) enum Sizes {
    Each(Vec<u32>),
    All { count: u64, size: u32 },
}

impl Run {
    fn range(&self) -> Range<u64> {
        let length = match &self.sizes {
            Sizes::Each(sizes) => sizes.iter().map(|n| u64::from(*n)).sum(),
            Sizes::All { count, size } => count.saturating_mul(u64::from(*size)),
        };
        self.at..self.at.saturating_add(length)
    }

    /// Each sample.
    pub(super) fn samples(&self) -> impl Iterator<Item = Range<u64>> {
        let (each, all): (&[u32], _) = match &self.sizes {
            Sizes::Each(sizes) => (sizes, (0, 0)),
            Sizes::All { count, size } => (&[], (*count, *size)),
        };
        let sizes = each.iter().copied().chain((0..all.0).map(move |_| all.1));
        sizes.scan(self.at, |at, size| {
            let start = *at;
            *at = at.saturating_add(u64::from(size));
            Some(start..*at)
        })
    }
}

#[derive(Default)]
pub(super) struct Samples {
    pub kept: Vec<Range<u64>>,
    pub pictures: Vec<Run>,
    /// First samples of the tracks that go.
    pub dropped: Vec<Range<u64>>,
}

pub(super) fn find(film: &Film) -> Result<Samples, ScrubError> {
    let mut samples = Samples::default();
    for track in &film.tracks {
        match of_tables(film, track) {
            Ok(runs) => samples.add(track, runs),
            Err(fault) if track.is_kept => return Err(damaged(fault)),
            Err(_) => {}
        }
    }
    let defaults = defaults(&film.movie).map_err(damaged)?;
    for (at, bytes) in &film.fragments {
        for traf in list(bytes, 8..bytes.len()).map_err(damaged)?.into_iter().filter(|f| f.kind == *b"traf") {
            let (id, runs) = of_fragment(bytes, *at, &traf.body, &defaults).map_err(damaged)?;
            if let Some(track) = film.tracks.iter().find(|t| t.id == id) {
                samples.add(track, runs);
            }
        }
    }
    Ok(samples)
}

impl Samples {
    fn add(&mut self, track: &Track, runs: Vec<Run>) {
        if !track.is_kept {
            let left = ASKED_MAX.saturating_sub(self.dropped.len());
            self.dropped.extend(runs.iter().flat_map(Run::samples).take(left));
            return;
        }
        self.kept.extend(runs.iter().map(Run::range));
        if track.is_picture {
            self.pictures.extend(runs);
        }
    }
}

/// `stsz`, `stsc` and `stco` or `co64` (ISO/IEC 14496-12 §8.7).
fn of_tables(film: &Film, track: &Track) -> Result<Vec<Run>, Fault> {
    let movie = &film.movie;
    let table = |kind: &[u8; 4]| {
        let range = at_path(movie, &track.table, &[kind])?;
        Ok::<_, Fault>(range.and_then(|range| movie.get(range)))
    };
    let mut sizes = Fields(table(b"stsz")?.ok_or(Fault("does not say how large its samples are"))?);
    sizes.version()?;
    let (size, count) = (sizes.long()?, sizes.long()?);
    let mut each =
        Fields(if size == 0 { sizes.take(usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(4))? } else { &[] });
    let (offsets, width) = match (table(b"stco")?, table(b"co64")?) {
        (Some(offsets), None) => (offsets, 4),
        (None, Some(offsets)) => (offsets, 8),
        _ => return Err(Fault("does not say where its samples are")),
    };
    let mut offsets = Fields(offsets);
    offsets.version()?;
    let chunks = offsets.long()?;
    let mut groups = Fields(table(b"stsc")?.ok_or(Fault("does not say which samples stand together"))?);
    groups.version()?;
    let mut left = groups.long()?;
    let mut next: Option<(u32, u32)> = None;
    let mut per_chunk = 0;
    let mut samples_left = u64::from(count);
    let mut runs = Vec::new();
    for chunk in 1..=chunks {
        let at = offsets.number(width)?;
        loop {
            if next.is_none() && left > 0 {
                left -= 1;
                let (first, samples, _) = (groups.long()?, groups.long()?, groups.long()?);
                next = Some((first, samples));
            }
            let Some((_, samples)) = next.filter(|(first, _)| *first <= chunk) else { break };
            per_chunk = samples;
            next = None;
        }
        let here = u64::from(per_chunk).min(samples_left);
        samples_left -= here;
        let sizes = if size == 0 {
            let raw = each.take(usize::try_from(here).unwrap_or(usize::MAX).saturating_mul(4))?;
            Sizes::Each(raw.as_chunks::<4>().0.iter().map(|n| u32::from_be_bytes(*n)).collect())
        } else {
            Sizes::All { count: here, size }
        };
        runs.push(Run { at, sizes });
    }
    if samples_left > 0 { Err(Fault("has samples that stand nowhere")) } else { Ok(runs) }
}

/// Default sizes of the samples in fragments, by track.
fn defaults(movie: &[u8]) -> Result<BTreeMap<u32, u32>, Fault> {
    let mut defaults = BTreeMap::new();
    if let Some(range) = at_path(movie, &(8..movie.len()), &[b"mvex"])? {
        for trex in list(movie, range)?.into_iter().filter(|f| f.kind == *b"trex") {
            let mut fields = Fields(movie.get(trex.body).unwrap_or_default());
            fields.version()?;
            let id = fields.long()?;
            fields.take(8)?;
            defaults.insert(id, fields.long()?);
        }
    }
    Ok(defaults)
}

/// `tfhd` and each `trun` (ISO/IEC 14496-12 §8.8.7, §8.8.8).
fn of_fragment(bytes: &[u8], moof: u64, traf: &Range<usize>, defaults: &BTreeMap<u32, u32>) -> Result<(u32, Vec<Run>), Fault> {
    let head = at_path(bytes, traf, &[b"tfhd"])?.and_then(|range| bytes.get(range)).unwrap_or_default();
    let mut fields = Fields(head);
    let (_, flags) = fields.version()?;
    let id = fields.long()?;
    let base = if flags & 1 != 0 { fields.number(8)? } else { moof };
    fields.take([2, 8].iter().filter(|f| flags & **f != 0).count() * 4)?;
    let size = if flags & 16 != 0 { fields.long()? } else { defaults.get(&id).copied().unwrap_or(0) };
    let mut runs: Vec<Run> = Vec::new();
    for found in list(bytes, traf.clone())?.into_iter().filter(|f| f.kind == *b"trun") {
        let mut fields = Fields(bytes.get(found.body).unwrap_or_default());
        let (_, flags) = fields.version()?;
        let count = fields.long()?;
        let at = if flags & 1 != 0 {
            let offset = i32::from_be_bytes(fields.long()?.to_be_bytes());
            base.checked_add_signed(i64::from(offset)).ok_or(Fault("has samples before its beginning"))?
        } else {
            runs.last().map_or(base, |run| run.range().end)
        };
        fields.take(if flags & 4 != 0 { 4 } else { 0 })?;
        let before = usize::from(flags & 0x100 != 0) * 4;
        let behind = (flags >> 10 & 3).count_ones() as usize * 4;
        let sizes = if flags & 0x200 == 0 {
            // Samples of nothing cost nothing to announce, and are not counted through.
            Sizes::All { count: if size == 0 { 0 } else { u64::from(count) }, size }
        } else {
            let mut sizes = Vec::new();
            for _ in 0..count {
                fields.take(before)?;
                sizes.push(fields.long()?);
                fields.take(behind)?;
            }
            Sizes::Each(sizes)
        };
        runs.push(Run { at, sizes });
    }
    Ok((id, runs))
}

/// True where a sample of a track that goes is a position: of a camera motion track (`camm`, types
/// 5 and 6), or of an action camera's sensors (`GPS5`, `GPS9` of doubles or integers).
pub(super) fn knows_a_place(source: &dyn Source, samples: &[Range<u64>]) -> Result<bool, PlanError> {
    for range in samples.iter().filter(|range| range.end <= source.length_bytes()) {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(16 * 1024);
        let mut bytes = vec![0; length];
        source.read_at(range.start, &mut bytes)?;
        let is_motion = matches!(bytes.as_slice(), [0, 0, 5 | 6, 0, rest @ ..] if rest.len() >= 24);
        let is_sensor = memchr::memmem::find(&bytes, b"GPS5l").or_else(|| memchr::memmem::find(&bytes, b"GPS9?")).is_some();
        if is_motion || is_sensor {
            return Ok(true);
        }
    }
    Ok(false)
}
