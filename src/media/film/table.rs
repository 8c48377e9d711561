//! The samples of one track: where they stand, how large they are, when they are shown. By the
//! tables of `moov`, and by the runs of each `moof` behind them.
//!
//! Source: ISO/IEC 14496-12 §8.6, §8.7, §8.8.

use crate::media::Fault;
use crate::media::isobmff::{Fields, children};

/// Samples of one track that are held in memory: nine hours at 60 pictures a second.
const SAMPLES_MAX: usize = 2_000_000;
/// `sample_is_non_sync_sample` among the flags of a sample (§8.8.3.1).
const NOT_SYNC: u32 = 0x1_0000;

const TOO_MANY: Fault = Fault("has more samples than any phone writes");
const CONTRADICTS: Fault = Fault("has tables of its samples that contradict each other");

/// Some samples in a row, and what holds for each.
pub(super) type Runs<T> = Vec<(u32, T)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Bytes of each sample.
    pub(super) sizes: Vec<u32>,
    /// Where samples that stand together begin, and how many they are.
    pub(super) chunks: Vec<(u64, u32)>,
    /// Ticks to the next sample.
    pub(super) durations: Runs<u32>,
    /// Ticks from decoding to showing; empty: none.
    pub(super) shifts: Runs<i32>,
    /// Samples that a player may begin with, counted from 1; `None`: all.
    pub(super) sync: Option<Vec<u32>>,
    /// Ticks from the beginning of the film to the first sample of a track that is all fragments.
    pub(super) start: u64,
    /// Ticks from the first sample to the end of the last.
    pub(super) ticks: u64,
}

impl Table {
    /// `table` is the body of `stbl`, `movie` that of `moov`; of each fragment its place and its
    /// bytes, the header of `moof` included.
    pub(super) fn read(table: &[u8], movie: &[u8], fragments: &[(u64, Vec<u8>)], id: u32) -> Result<Self, Fault> {
        let mut read = Self::of_tables(table)?;
        let defaults = Defaults::of(movie, id)?;
        for (at, fragment) in fragments {
            for (_, traf) in children(fragment.get(8..).unwrap_or_default()).filter(|(kind, _)| kind == b"traf") {
                read.add_fragment(traf, *at, id, defaults)?;
            }
        }
        let samples = |runs: u64| usize::try_from(runs).ok();
        let in_chunks = read.chunks.iter().map(|(_, n)| u64::from(*n)).sum();
        let is_told = |total: u64| samples(total) == Some(read.sizes.len());
        if !is_told(in_chunks) || !is_told(total(&read.durations)) || !(read.shifts.is_empty() || is_told(total(&read.shifts))) {
            return Err(CONTRADICTS);
        }
        Ok(read)
    }

    /// Bytes of all samples.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes.iter().map(|n| u64::from(*n)).sum()
    }

    /// When the first and the last sample are shown, in ticks from the beginning of the track.
    pub(super) fn shown(&self) -> Option<(i64, i64)> {
        let mut shifts = self.shifts.iter().flat_map(|(n, shift)| std::iter::repeat_n(*shift, usize::try_from(*n).unwrap_or(0)));
        let mut decoded = 0i64;
        let mut seen: Option<(i64, i64)> = None;
        for (count, ticks) in &self.durations {
            for _ in 0..*count {
                let at = decoded.saturating_add(i64::from(shifts.next().unwrap_or(0)));
                let (first, last) = seen.unwrap_or((at, at));
                seen = Some((first.min(at), last.max(at)));
                decoded = decoded.saturating_add(i64::from(*ticks));
            }
        }
        seen
    }

    /// When the last sample was shown, in ticks from the beginning of the track: behind the end of the last one
    /// where they are shown later than they are decoded.
    pub(super) fn shown_end(&self) -> u64 {
        let each = self.durations.last().map_or(0, |(_, ticks)| i64::from(*ticks));
        let end = self.shown().map_or(0, |(_, last)| last.saturating_add(each));
        u64::try_from(end).unwrap_or(0).max(self.ticks)
    }

    fn of_tables(table: &[u8]) -> Result<Self, Fault> {
        let find = |wanted: &[u8; 4]| children(table).find(|(kind, _)| kind == wanted).map(|(_, body)| body);
        let sizes = read_sizes(find(b"stsz").ok_or(Fault("does not say how large its samples are"))?)?;
        let places = match (find(b"stco"), find(b"co64")) {
            (Some(places), None) => read_places(places, 4)?,
            (None, Some(places)) => read_places(places, 8)?,
            _ => return Err(Fault("does not say where its samples are")),
        };
        let groups = find(b"stsc").ok_or(Fault("does not say which samples stand together"))?;
        let chunks = read_chunks(&places, groups, sizes.len())?;
        let durations = find(b"stts").map_or(Ok(Vec::new()), |body| read_runs(body, |ticks| ticks))?;
        let shifts = find(b"ctts").map_or(Ok(Vec::new()), |body| read_runs(body, u32::cast_signed))?;
        let sync = find(b"stss").map(read_numbers).transpose()?;
        let ticks = durations.iter().map(|(n, ticks)| u64::from(*n) * u64::from(*ticks)).fold(0, u64::saturating_add);
        Ok(Self { sizes, chunks, durations, shifts, sync, start: 0, ticks })
    }
}

/// Samples of all runs.
fn total<T>(runs: &Runs<T>) -> u64 {
    runs.iter().map(|(n, _)| u64::from(*n)).sum()
}

/// Entries of a table: as many as it says, and no more than it holds.
fn entries(body: &[u8], entry_bytes: usize) -> Result<Fields<'_>, Fault> {
    let mut fields = Fields(body);
    fields.version()?;
    let count = usize::try_from(fields.long()?).unwrap_or(usize::MAX);
    fields.take(count.saturating_mul(entry_bytes)).map(Fields)
}

fn read_numbers(body: &[u8]) -> Result<Vec<u32>, Fault> {
    let fields = entries(body, 4)?;
    Ok(fields.0.as_chunks::<4>().0.iter().map(|raw| u32::from_be_bytes(*raw)).collect())
}

fn read_places(body: &[u8], width: usize) -> Result<Vec<u64>, Fault> {
    let mut fields = entries(body, width)?;
    let mut places = Vec::with_capacity(fields.0.len() / width);
    while !fields.0.is_empty() {
        places.push(fields.number(width)?);
    }
    Ok(places)
}

fn read_runs<T>(body: &[u8], value: impl Fn(u32) -> T) -> Result<Runs<T>, Fault> {
    let mut fields = entries(body, 8)?;
    let mut runs = Vec::with_capacity(fields.0.len() / 8);
    while !fields.0.is_empty() {
        let (count, value) = (fields.long()?, value(fields.long()?));
        if count > 0 {
            runs.push((count, value));
        }
    }
    Ok(runs)
}

fn read_sizes(body: &[u8]) -> Result<Vec<u32>, Fault> {
    let mut fields = Fields(body);
    fields.version()?;
    let (size, count) = (fields.long()?, usize::try_from(fields.long()?).unwrap_or(usize::MAX));
    if count > SAMPLES_MAX {
        return Err(TOO_MANY);
    }
    if size != 0 {
        return Ok(vec![size; count]);
    }
    let raw = fields.take(count.saturating_mul(4))?;
    Ok(raw.as_chunks::<4>().0.iter().map(|raw| u32::from_be_bytes(*raw)).collect())
}

/// How many samples each chunk holds: each group says from which chunk on it counts.
fn read_chunks(places: &[u64], groups: &[u8], samples: usize) -> Result<Vec<(u64, u32)>, Fault> {
    let mut groups = entries(groups, 12)?;
    let mut next_group = || -> Result<Option<(u32, u32)>, Fault> {
        if groups.0.is_empty() {
            return Ok(None);
        }
        let (first, count, _description) = (groups.long()?, groups.long()?, groups.long()?);
        Ok(Some((first, count)))
    };
    let mut next = next_group()?;
    let (mut each, mut left) = (0, u32::try_from(samples).map_err(|_| TOO_MANY)?);
    let mut chunks = Vec::with_capacity(places.len());
    for (place, number) in places.iter().zip(1u32..) {
        while let Some((_, count)) = next.filter(|(first, _)| *first <= number) {
            each = count;
            next = next_group()?;
        }
        let here = each.min(left);
        left -= here;
        if here > 0 {
            chunks.push((*place, here));
        }
    }
    Ok(chunks)
}

/// What holds for the samples of a fragment where it says nothing (`trex`, `tfhd`).
#[derive(Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

impl Defaults {
    fn of(movie: &[u8], id: u32) -> Result<Self, Fault> {
        let extends = children(movie).find(|(kind, _)| kind == b"mvex").map(|(_, body)| body).unwrap_or_default();
        for (_, body) in children(extends).filter(|(kind, _)| kind == b"trex") {
            let mut fields = Fields(body);
            fields.version()?;
            if fields.long()? == id {
                fields.take(4)?;
                return Ok(Self { duration: fields.long()?, size: fields.long()?, flags: fields.long()? });
            }
        }
        Ok(Self::default())
    }
}

impl Table {
    /// One `traf` of a `moof` that stands at `moof`; nothing where it is of another track.
    fn add_fragment(&mut self, traf: &[u8], moof: u64, id: u32, defaults: Defaults) -> Result<(), Fault> {
        let find = |wanted: &[u8; 4]| children(traf).find(|(kind, _)| kind == wanted).map(|(_, body)| body);
        let mut head = Fields(find(b"tfhd").ok_or(Fault("has a fragment of no track"))?);
        let (_, flags) = head.version()?;
        if head.long()? != id {
            return Ok(());
        }
        let base = if flags & 1 != 0 { head.number(8)? } else { moof };
        head.take(if flags & 2 != 0 { 4 } else { 0 })?;
        let mut told = |flag: u32, default: u32| if flags & flag != 0 { head.long() } else { Ok(default) };
        let defaults =
            Defaults { duration: told(8, defaults.duration)?, size: told(16, defaults.size)?, flags: told(32, defaults.flags)? };
        if let Some(time) = find(b"tfdt") {
            self.move_to(time)?;
        }
        let mut end = base;
        for (_, run) in children(traf).filter(|(kind, _)| kind == b"trun") {
            end = self.add_run(run, base, end, defaults)?;
        }
        Ok(())
    }

    /// Where the fragments leave a gap, the sample before it is shown longer.
    fn move_to(&mut self, time: &[u8]) -> Result<(), Fault> {
        let mut fields = Fields(time);
        let (version, _) = fields.version()?;
        let time = fields.number(if version == 0 { 4 } else { 8 })?;
        if self.sizes.is_empty() {
            self.start = time;
            return Ok(());
        }
        let gap = time.saturating_sub(self.start.saturating_add(self.ticks));
        if gap > 0
            && let Some((count, ticks)) = self.durations.pop()
        {
            self.ticks = self.ticks.saturating_add(gap);
            let longer = u32::try_from(gap).ok().and_then(|gap| gap.checked_add(ticks));
            if count > 1 {
                self.durations.push((count - 1, ticks));
            }
            self.durations.push((1, longer.ok_or(Fault("has a gap between its fragments"))?));
        }
        Ok(())
    }

    fn add_run(&mut self, run: &[u8], base: u64, after: u64, defaults: Defaults) -> Result<u64, Fault> {
        let mut fields = Fields(run);
        let (_, flags) = fields.version()?;
        let count = fields.long()?;
        let known = self.sizes.len();
        if usize::try_from(count).ok().and_then(|n| n.checked_add(known)).is_none_or(|n| n > SAMPLES_MAX) {
            return Err(TOO_MANY);
        }
        let at = if flags & 1 != 0 {
            let offset = fields.long()?.cast_signed();
            base.checked_add_signed(i64::from(offset)).ok_or(Fault("has samples before its beginning"))?
        } else {
            after
        };
        let first_flags = if flags & 4 != 0 { Some(fields.long()?) } else { None };
        let mut end = at;
        for number in 0..count {
            let mut told = |flag: u32, default: u32| if flags & flag != 0 { fields.long() } else { Ok(default) };
            let (duration, size) = (told(0x100, defaults.duration)?, told(0x200, defaults.size)?);
            let default_flags = first_flags.filter(|_| number == 0).unwrap_or(defaults.flags);
            let (of_sample, shift) = (told(0x400, default_flags)?, told(0x800, 0)?.cast_signed());
            self.add_sample(size, duration, shift, of_sample & NOT_SYNC == 0);
            end = end.saturating_add(u64::from(size));
        }
        if count > 0 {
            self.chunks.push((at, count));
        }
        Ok(end)
    }

    fn add_sample(&mut self, size: u32, duration: u32, shift: i32, is_sync: bool) {
        let before = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        self.sizes.push(size);
        self.ticks = self.ticks.saturating_add(u64::from(duration));
        add(&mut self.durations, duration);
        if shift != 0 && self.shifts.is_empty() && before > 0 {
            self.shifts.push((before, 0));
        }
        if shift != 0 || !self.shifts.is_empty() {
            add(&mut self.shifts, shift);
        }
        match &mut self.sync {
            Some(sync) if is_sync => sync.push(before.saturating_add(1)),
            None if !is_sync => self.sync = Some((1..=before).collect()),
            Some(_) | None => {}
        }
    }
}

/// One sample more.
fn add<T: PartialEq>(runs: &mut Runs<T>, value: T) {
    match runs.last_mut() {
        Some((count, last)) if *last == value => *count = count.saturating_add(1),
        _ => runs.push((1, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &kind, &body].concat()
    }

    fn numbers(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    /// Tables of so many samples of ten bytes and 20 ticks, two in each chunk.
    fn tables(samples: u32) -> Vec<u8> {
        let chunks = samples.div_ceil(2);
        let places: Vec<u32> = (0..chunks).map(|n| 100 + n * 1_000).collect();
        [
            boxed(*b"stts", &[&numbers(&[0, 1, samples, 20])]),
            boxed(*b"stsc", &[&numbers(&[0, 1, 1, 2, 1])]),
            boxed(*b"stsz", &[&numbers(&[0, 10, samples])]),
            boxed(*b"stco", &[&numbers(&[0, chunks]), &numbers(&places)]),
        ]
        .concat()
    }

    /// `moof` of track 7 that begins at `time`: samples of these sizes, the first one sync.
    fn fragment(time: u32, sizes: &[u32]) -> Vec<u8> {
        const SIZES_AND_FIRST: u32 = 0x205;
        let run = [numbers(&[SIZES_AND_FIRST, u32::try_from(sizes.len()).unwrap(), 500, 0]), numbers(sizes)].concat();
        let traf =
            [boxed(*b"tfhd", &[&numbers(&[0x2_0000, 7])]), boxed(*b"tfdt", &[&numbers(&[0, time])]), boxed(*b"trun", &[&run])];
        boxed(*b"moof", &[&boxed(*b"traf", &[&traf.concat()])])
    }

    /// Samples of fragments last 30 ticks and cannot be begun with.
    fn extends() -> Vec<u8> {
        boxed(*b"mvex", &[&boxed(*b"trex", &[&numbers(&[0, 7, 1, 30, 0, NOT_SYNC])])])
    }

    #[test]
    fn fragments_go_on_where_the_tables_end() {
        let fragments = [(10_000, fragment(60, &[11, 12])), (20_000, fragment(170, &[13]))];
        let table = Table::read(&tables(3), &extends(), &fragments, 7).unwrap();
        assert_eq!(table.sizes, [10, 10, 10, 11, 12, 13]);
        assert_eq!(table.chunks, [(100, 2), (1_100, 1), (10_500, 2), (20_500, 1)]);
        // 50 ticks are missing before the last, in which the one before stays on the screen.
        assert_eq!(table.durations, [(3, 20), (1, 30), (1, 80), (1, 30)]);
        assert_eq!((table.ticks, table.bytes(), table.start), (200, 66, 0));
        assert_eq!(table.sync, Some(vec![1, 2, 3, 4, 6]));
        assert_eq!(table.shown(), Some((0, 170)));
    }

    #[test]
    fn a_gap_makes_the_picture_before_it_longer_and_no_run_of_none() {
        let fragments = [(10_000, fragment(0, &[11])), (20_000, fragment(100, &[12]))];
        let table = Table::read(&tables(0), &extends(), &fragments, 7).unwrap();
        assert_eq!((table.durations, table.ticks), (vec![(1, 100), (1, 30)], 130));
    }

    #[test]
    fn a_track_of_fragments_alone_remembers_when_it_begins() {
        let empty = tables(0);
        let table = Table::read(&empty, &extends(), &[(0, fragment(900, &[5, 6]))], 7).unwrap();
        assert_eq!((table.start, table.ticks, table.chunks.len()), (900, 60, 1));
        assert_eq!(Table::read(&empty, &extends(), &[(0, fragment(900, &[5, 6]))], 8).unwrap(), Table::default());
    }

    #[test]
    fn tables_that_contradict_each_other_are_no_film() {
        let good = tables(3);
        assert!(Table::read(&good, b"", &[], 7).is_ok());
        let with = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|w| w == from).unwrap();
            [&good[..at], to, &good[at + from.len()..]].concat()
        };
        let table = [
            with(&numbers(&[1, 3, 20]), &numbers(&[1, 4, 20])),
            with(&numbers(&[10, 3]), &numbers(&[10, 5])),
            with(&numbers(&[10, 3]), &numbers(&[10, u32::MAX])),
            with(&numbers(&[0, 2, 100]), &numbers(&[0, 9, 100])),
            with(b"stsz", b"free"),
            with(b"stsc", b"free"),
            with(b"stco", b"free"),
        ];
        for bytes in table {
            assert!(Table::read(&bytes, b"", &[], 7).is_err());
        }
        for length in 0..good.len() {
            let _ = Table::read(&good[..length], b"", &[], 7);
        }
    }
}
