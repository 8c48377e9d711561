//! A whole JPEG into coefficients: its segments, and its scans one after the other.

use super::bits::Intervals;
use super::huffman::{Reading, Spec};
use super::plane::{EMPTY, Layout, Plane, factors};
use super::{Frame, Process, Unfit, marker, progressive, sequential};
use crate::media::Fault;
use crate::media::field::be16;

/// Most coefficients that are held: two bytes each, 384 MiB. A picture of 128 million pixels
/// with chroma at half resolution has as many.
pub(super) const COEFFICIENTS_MAX: u64 = 192 << 20;
/// Most blocks that are visited, over all scans. A progressive picture of 128 million pixels takes
/// some 30 million; scans without end over a large picture would keep a core busy for minutes.
pub(super) const VISITS_MAX: u64 = 128 << 20;

/// A picture that was read, with what tells its colours.
pub(super) struct Picture {
    pub(super) layout: Layout,
    pub(super) planes: Vec<Plane>,
    pub(super) is_jfif: bool,
    pub(super) adobe_transform: Option<u8>,
}

/// The tables that are in force.
#[derive(Default)]
struct Slots {
    steps: [Option<[u16; 64]>; 4],
    dc: [Option<Box<Reading>>; 4],
    ac: [Option<Box<Reading>>; 4],
}

/// One component of a scan.
pub(super) struct Selected<'t> {
    /// Which plane.
    pub(super) plane: usize,
    pub(super) dc: Option<&'t Reading>,
    pub(super) ac: Option<&'t Reading>,
}

/// A scan header (T.81 §B.2.3).
pub(super) struct Scan<'t> {
    pub(super) selected: Vec<Selected<'t>>,
    pub(super) first: u8,
    pub(super) last: u8,
    pub(super) high: u8,
    pub(super) low: u8,
    /// MCUs of a restart interval; 0: no restarts.
    pub(super) interval: u32,
}

struct Reader {
    slots: Slots,
    interval: u32,
    frame: Option<Frame>,
    picture: Option<Picture>,
    is_jfif: bool,
    adobe_transform: Option<u8>,
    /// One bit for each component whose picture a scan began.
    begun: u8,
    visits: u64,
}

/// Reads a JPEG up to its EOI.
///
/// # Errors
/// [`Unfit`]: too large, of a kind that is not read, or damaged.
pub(super) fn read(jpeg: &[u8]) -> Result<Picture, Unfit> {
    let mut reader = Reader {
        slots: Slots::default(),
        interval: 0,
        frame: None,
        picture: None,
        is_jfif: false,
        adobe_transform: None,
        begun: 0,
        visits: 0,
    };
    let mut rest = jpeg.strip_prefix(&[0xFF, marker::SOI]).ok_or(Fault("does not begin as one"))?;
    loop {
        let (code, payload, behind) = segment(rest)?;
        rest = match code {
            marker::EOI => return reader.finish(),
            marker::SOS => {
                reader.scan(payload, behind)?;
                behind_scan(behind)
            }
            _ => {
                reader.segment(code, payload)?;
                behind
            }
        };
    }
}

/// By which process a JPEG is coded: what its frame header says.
#[must_use]
pub fn process(jpeg: &[u8]) -> Option<Process> {
    let mut rest = jpeg.get(2..)?;
    loop {
        let (code, payload, behind) = segment(rest).ok()?;
        match code {
            marker::SOF0..=marker::SOF2 => return Some(Frame::read(code, payload).ok()?.process),
            marker::SOS | marker::EOI => return None,
            _ => rest = behind,
        }
    }
}

/// The next marker, the content of its segment, and what follows.
pub(super) fn segment(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Fault> {
    const CUT: Fault = Fault("ends before its picture does");
    let at = bytes.iter().position(|b| *b != 0xFF).ok_or(CUT)?;
    let code = if at > 0 { bytes.get(at).copied().unwrap_or_default() } else { 0 };
    let rest = bytes.get(at + 1..).unwrap_or_default();
    match code {
        0 => Err(Fault("has bytes between its segments")),
        marker::EOI => Ok((code, &[], rest)),
        _ => {
            let length = be16(rest, 0).filter(|l| *l >= 2).ok_or(CUT)?;
            let (segment, behind) = rest.split_at_checked(usize::from(length)).ok_or(CUT)?;
            Ok((code, segment.get(2..).unwrap_or_default(), behind))
        }
    }
}

/// What begins with the first marker behind entropy-coded data.
fn behind_scan(mut bytes: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr(0xFF, bytes) {
        bytes = bytes.get(at..).unwrap_or_default();
        match bytes.get(1) {
            Some(0 | marker::RST0..=marker::RST7) => bytes = bytes.get(2..).unwrap_or_default(),
            Some(0xFF) => bytes = bytes.get(1..).unwrap_or_default(),
            _ => return bytes,
        }
    }
    &[]
}

impl Reader {
    fn segment(&mut self, code: u8, payload: &[u8]) -> Result<(), Unfit> {
        match code {
            marker::DQT => self.slots.define_steps(payload)?,
            marker::DHT => self.slots.define_huffman(payload)?,
            marker::DRI => {
                super::check_restart_interval(payload)?;
                self.interval = be16(payload, 0).map_or(0, u32::from);
            }
            marker::SOF0..=marker::SOF2 => self.begin(code, payload)?,
            marker::APP0 => self.is_jfif |= payload.starts_with(b"JFIF\0"),
            marker::APP14 if payload.starts_with(b"Adobe") => self.adobe_transform = payload.get(11).copied(),
            0xC3..=0xCF | marker::DNL..=0xDF => return Err(Unfit::Kind("it is coded in a way that is not read here")),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, code: u8, payload: &[u8]) -> Result<(), Unfit> {
        if self.frame.is_some() {
            return Err(Fault("has two frame headers").into());
        }
        let frame = Frame::read(code, payload)?;
        let layout = Layout::of(&frame);
        if layout.coefficients(frame.components.iter().map(|c| factors(*c, &frame))) > COEFFICIENTS_MAX {
            return Err(Unfit::TooLarge);
        }
        let planes = frame.components.iter().map(|component| {
            let (h, v) = factors(*component, &frame);
            let [(across, down), (stride, rows)] = layout.blocks(h, v);
            let blocks = vec![EMPTY; stride as usize * rows as usize];
            Plane { id: component.id, h, v, across, down, stride, steps: None, blocks }
        });
        let planes = planes.collect();
        self.picture = Some(Picture { layout, planes, is_jfif: false, adobe_transform: None });
        self.frame = Some(frame);
        Ok(())
    }

    fn scan(&mut self, payload: &[u8], data: &[u8]) -> Result<(), Unfit> {
        let (Some(frame), Some(picture)) = (&self.frame, &mut self.picture) else {
            return Err(Fault("has a scan before its frame header").into());
        };
        let scan = self.slots.select(payload, frame, self.interval)?;
        for selected in &scan.selected {
            let (Some(plane), Some(component)) = (picture.planes.get_mut(selected.plane), frame.components.get(selected.plane))
            else {
                continue;
            };
            self.visits += plane.blocks.len() as u64;
            if plane.steps.is_none() {
                plane.steps = *self.slots.steps.get(usize::from(component.table)).unwrap_or(&None);
            }
            if scan.first == 0 && scan.high == 0 {
                self.begun |= 1 << selected.plane;
            }
        }
        if self.visits > VISITS_MAX {
            return Err(Unfit::TooLarge);
        }
        let mut intervals = Intervals::new(data);
        match frame.process {
            Process::Baseline | Process::Extended => sequential::read(&scan, picture, &mut intervals)?,
            Process::Progressive => progressive::read(&scan, picture, &mut intervals)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Picture, Unfit> {
        let mut picture = self.picture.ok_or(Fault("has no picture"))?;
        if usize::from(self.begun) + 1 != 1 << picture.planes.len() {
            return Err(Fault("ends before its picture does").into());
        }
        picture.is_jfif = self.is_jfif;
        picture.adobe_transform = self.adobe_transform;
        Ok(picture)
    }
}

impl Slots {
    fn define_steps(&mut self, mut payload: &[u8]) -> Result<(), Fault> {
        const WRONG: Fault = Fault("has quantization tables that do not add up");
        while let Some((head, rest)) = payload.split_first() {
            let (steps, rest) = rest.split_at_checked(64 << (head >> 4 & 1)).ok_or(WRONG)?;
            let mut table = [0; 64];
            for (index, step) in table.iter_mut().enumerate() {
                *step =
                    if head >> 4 == 0 { steps.get(index).map(|s| u16::from(*s)) } else { be16(steps, index * 2) }.unwrap_or(0);
            }
            *self.steps.get_mut(usize::from(head & 15)).ok_or(WRONG)? = Some(table);
            payload = rest;
        }
        Ok(())
    }

    fn define_huffman(&mut self, payload: &[u8]) -> Result<(), Fault> {
        huffman_tables(payload, |class, slot, spec| {
            let table = Box::new(Reading::new(&spec)?);
            let slots = if class == 0 { &mut self.dc } else { &mut self.ac };
            if let Some(place) = slots.get_mut(usize::from(slot)) {
                *place = Some(table);
            }
            Ok(())
        })
    }

    fn select(&self, payload: &[u8], frame: &Frame, interval: u32) -> Result<Scan<'_>, Fault> {
        const WRONG: Fault = Fault("has a scan header that does not add up");
        let (&count, rest) = payload.split_first().ok_or(WRONG)?;
        let (pairs, tail) = rest.split_at_checked(usize::from(count) * 2).ok_or(WRONG)?;
        let &[first, last, approximation] = tail else { return Err(WRONG) };
        let mut selected: Vec<Selected> = Vec::with_capacity(usize::from(count));
        for pair in pairs.chunks_exact(2) {
            let &[id, tables] = pair else { continue };
            let plane = frame.components.iter().position(|c| c.id == id).ok_or(WRONG)?;
            // In the frame's order, each once (T.81 §B.2.3).
            if selected.last().is_some_and(|s| s.plane >= plane) {
                return Err(WRONG);
            }
            selected.push(Selected {
                plane,
                dc: self.dc.get(usize::from(tables >> 4)).and_then(Option::as_deref),
                ac: self.ac.get(usize::from(tables & 15)).and_then(Option::as_deref),
            });
        }
        let (first, last, high, low) = match frame.process {
            // Fixed by the process; some writers leave zeros (T.81 table B.3).
            Process::Baseline | Process::Extended => (0, 63, 0, 0),
            Process::Progressive => (first, last, approximation >> 4, approximation & 15),
        };
        // 13 is the most that 8 bit samples can be shifted by.
        let bands = first <= last && last <= 63 && low <= 13 && high <= 13;
        let progressive = frame.process != Process::Progressive || ((first == 0) == (last == 0) && (first == 0 || count == 1));
        let is_sound = bands && progressive && !selected.is_empty();
        if is_sound { Ok(Scan { selected, first, last, high, low, interval }) } else { Err(WRONG) }
    }
}

/// Calls `each` with class, slot and content of every table of a DHT segment (T.81 §B.2.4.2).
pub(super) fn huffman_tables(mut payload: &[u8], mut each: impl FnMut(u8, u8, Spec) -> Result<(), Fault>) -> Result<(), Fault> {
    const WRONG: Fault = Fault("has Huffman tables that do not add up");
    while let Some((head, rest)) = payload.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or(WRONG)?;
        let codes = counts.iter().map(|c| usize::from(*c)).sum();
        let (symbols, rest) = rest.split_at_checked(codes).ok_or(WRONG)?;
        if head >> 4 > 1 || head & 15 > 3 || codes > 256 {
            return Err(WRONG);
        }
        each(head >> 4, head & 15, Spec { counts, symbols })?;
        payload = rest;
    }
    Ok(())
}
