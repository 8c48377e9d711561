//! The index of a HEIF file: its items, where their bytes stand, what they refer to and which
//! properties they have. Everything is read from the boxes of `meta`; no picture is touched.
//!
//! Source: ISO/IEC 14496-12 §8.11, ISO/IEC 23008-12 §6 and §9.3.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Fault;
use super::isobmff::{BoxAt, Fields, ReadError, boxes, bytes_of};
use super::source::Source;
use crate::capture::media::Orientation;

/// Largest box of `meta` that is held in memory; `idat` is not. A grid of 768 tiles needs 20 KiB,
/// and three colour profiles at our limit fit.
const BOX_BYTES_MAX: usize = 1024 * 1024;

/// An item that is no item of its own type: `infe` of version 0 and 1 has none.
pub const UNTYPED: [u8; 4] = [0; 4];

#[allow(clippy::struct_excessive_bools)] // four answers to four questions
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: [u8; 4],
    pub is_hidden: bool,
    pub is_protected: bool,
    pub has_name: bool,
    /// A `mime` item of RDF.
    pub is_xmp: bool,
    pub data: Data,
}

/// Where the bytes of an item stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In these ranges of the file, joined in this order.
    At(Vec<Range<u64>>),
    /// They cannot be told, or are not all there.
    Lost(Fault),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub kind: [u8; 4],
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Association {
    pub is_essential: bool,
    /// Position in `ipco`, from zero.
    pub property: usize,
}

#[derive(Debug, Default)]
pub struct Index {
    pub primary: u32,
    pub items: BTreeMap<u32, Item>,
    /// By the item that refers, and how.
    pub references: BTreeMap<(u32, [u8; 4]), Vec<u32>>,
    pub properties: Vec<Property>,
    pub associations: BTreeMap<u32, Vec<Association>>,
    /// The handler, which may have a name.
    pub handler: Vec<u8>,
    /// Boxes of `meta` that are no index.
    pub others: Vec<[u8; 4]>,
}

/// Turns as matrices `[a, b, c, d]`: x' = a·x + b·y, y' = c·x + d·y, y downwards. The eight of Exif.
const TURNS: [[i32; 4]; 8] =
    [[1, 0, 0, 1], [-1, 0, 0, 1], [-1, 0, 0, -1], [1, 0, 0, -1], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, -1, 0], [0, 1, -1, 0]];
/// None, 90, 180 and 270 degrees anticlockwise.
const QUARTERS: [[i32; 4]; 4] = [[1, 0, 0, 1], [0, 1, -1, 0], [-1, 0, 0, -1], [0, -1, 1, 0]];
/// Top and bottom change places, left and right do (ISO/IEC 23008-12:2022 §6.5.12).
const MIRRORS: [[i32; 4]; 2] = [[1, 0, 0, -1], [-1, 0, 0, 1]];

/// First `before`, then `step`.
fn product(step: [i32; 4], before: [i32; 4]) -> [i32; 4] {
    let ([a, b, c, d], [left, right, low_left, low_right]) = (step, before);
    [a * left + b * low_left, a * right + b * low_right, c * left + d * low_left, c * right + d * low_right]
}

impl Index {
    /// Reads the boxes of `meta`.
    ///
    /// # Errors
    /// A box that is damaged, missing, there twice or too large; bytes that cannot be read.
    pub fn read(source: &dyn Source, meta: &BoxAt, boxes_max: u32) -> Result<Self, ReadError> {
        if meta.is_cut || meta.body.end - meta.body.start < 4 {
            return Err(Fault("ends inside its index").into());
        }
        let (children, end) = boxes(source, meta.body.start + 4..meta.body.end, boxes_max)?;
        if end != meta.body.end || children.iter().any(|child| child.is_cut) {
            return Err(Fault("has an index that does not end with a box").into());
        }
        let once = |kind: &[u8; 4]| {
            let mut found = children.iter().filter(|child| child.kind == *kind);
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(Fault("has a box twice that stands once in an index")),
                (first, None) => Ok(first),
            }
        };
        let bytes = |kind: &[u8; 4]| -> Result<Vec<u8>, ReadError> {
            once(kind)?.map_or(Ok(Vec::new()), |child| bytes_of(source, &child.body, BOX_BYTES_MAX))
        };
        let (handler, primary, entries) = (bytes(b"hdlr")?, bytes(b"pitm")?, bytes(b"iinf")?);
        if handler.get(8..12) != Some(b"pict") {
            return Err(Fault("has an index that is not one of pictures").into());
        }
        let mut index = Self { handler, primary: read_primary(&primary)?, ..Self::default() };
        index.read_items(&entries)?;
        let idat = once(b"idat")?.map(|child| child.body.clone());
        index.read_places(&bytes(b"iloc")?, idat.as_ref(), source.length_bytes())?;
        index.read_references(&bytes(b"iref")?)?;
        index.read_properties(&bytes(b"iprp")?)?;
        let known = [b"hdlr", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"idat"];
        index.others = children.iter().map(|c| c.kind).filter(|kind| !known.contains(&kind)).collect();
        Ok(index)
    }

    /// The properties of an item, in the order in which they are applied.
    pub fn properties_of(&self, id: u32) -> impl Iterator<Item = (&Association, &Property)> {
        let of_item = self.associations.get(&id).into_iter().flatten();
        of_item.filter_map(|a| self.properties.get(a.property).map(|p| (a, p)))
    }

    /// How an item is turned: its `irot` and `imir`, one after the other (ISO/IEC 23008-12 §6.5.10,
    /// §6.5.12), as one of the eight turns that Exif has.
    #[must_use]
    pub fn turn_of(&self, id: u32) -> Orientation {
        // Where the corner at the top left, and its neighbours to the right and below, come to lie.
        let mut matrix = [1, 0, 0, 1];
        for (_, property) in self.properties_of(id) {
            let value = property.body.first().copied().unwrap_or(0);
            let steps: &[[i32; 4]] = match (&property.kind, value & 3) {
                // Anticlockwise, in quarters.
                (b"irot", quarters) => QUARTERS.get(usize::from(quarters)..).unwrap_or_default(),
                (b"imir", axis) => MIRRORS.get(usize::from(axis & 1)..).unwrap_or_default(),
                _ => &[],
            };
            if let Some(step) = steps.first() {
                matrix = product(*step, matrix);
            }
        }
        let exif = TURNS.iter().zip(1..).find(|(turn, _)| **turn == matrix).map_or(1, |(_, exif)| exif);
        Orientation::from_exif(exif).unwrap_or_default()
    }

    /// What `from` refers to by references of one kind.
    pub fn references_of(&self, from: u32, kind: [u8; 4]) -> impl Iterator<Item = u32> {
        self.references.get(&(from, kind)).into_iter().flatten().copied()
    }

    fn read_items(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut fields = Fields(bytes);
        let (version, _) = fields.version()?;
        fields.number(if version == 0 { 2 } else { 4 })?;
        while let Some((kind, entry)) = fields.inner()? {
            if kind != *b"infe" {
                continue;
            }
            let (id, item) = read_item(entry)?;
            if self.items.insert(id, item).is_some() {
                return Err(Fault("lists an item twice"));
            }
        }
        Ok(())
    }

    /// `iloc` (ISO/IEC 14496-12 §8.11.3).
    fn read_places(&mut self, bytes: &[u8], idat: Option<&Range<u64>>, length: u64) -> Result<(), Fault> {
        let mut fields = Fields(bytes);
        let (version, _) = fields.version()?;
        let sizes = fields.short()?;
        let nibble = |shift: u16| usize::from(sizes >> shift & 15);
        let (offset, size, base) = (nibble(12), nibble(8), nibble(4));
        let position = if version == 0 { 0 } else { nibble(0) };
        if version > 2 || [offset, size, base, position].iter().any(|width| ![0, 4, 8].contains(width)) {
            return Err(Fault("places its items in a way that is not known"));
        }
        let wide = if version == 2 { 4 } else { 2 };
        for _ in 0..fields.number(wide)? {
            let id = u32::try_from(fields.number(wide)?).unwrap_or(u32::MAX);
            let method = if version == 0 { 0 } else { fields.short()? & 15 };
            let elsewhere = fields.short()? != 0;
            let from = fields.number(base)?;
            let count = usize::from(fields.short()?);
            let raw = fields.take(count.checked_mul(position + offset + size).ok_or(Fault("has too many extents"))?)?;
            // Extents of no bytes at all cost nothing to announce.
            let mut data = if position + offset + size == 0 && count > 1 {
                Data::Lost(Fault("has an item whose place is not told"))
            } else {
                Data::At(Vec::with_capacity(count))
            };
            let mut extents = Fields(raw);
            for _ in 0..if matches!(data, Data::At(_)) { count } else { 0 } {
                extents.take(position)?;
                let (start, length_bytes) = (extents.number(offset)?, extents.number(size)?);
                data = join(data, place(method, elsewhere, (from, start, length_bytes), idat, length));
            }
            if let Some(item) = self.items.get_mut(&id) {
                if item.data != Data::Lost(NOWHERE) {
                    return Err(Fault("places an item twice"));
                }
                item.data = data;
            }
        }
        Ok(())
    }

    fn read_references(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut fields = Fields(bytes);
        let width = if fields.version()?.0 == 0 { 2 } else { 4 };
        while let Some((kind, mut entry)) = fields.inner()? {
            let from = u32::try_from(entry.number(width)?).unwrap_or(u32::MAX);
            let count = usize::from(entry.short()?);
            let mut raw = Fields(entry.take(count.saturating_mul(width))?);
            let to = self.references.entry((from, kind)).or_default();
            for _ in 0..count {
                to.push(u32::try_from(raw.number(width)?).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }

    fn read_properties(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut fields = Fields(bytes);
        let mut has_list = false;
        while let Some((kind, mut body)) = fields.inner()? {
            match &kind {
                b"ipco" if has_list => return Err(Fault("has two lists of properties")),
                b"ipco" => {
                    has_list = true;
                    while let Some((kind, body)) = body.inner()? {
                        self.properties.push(Property { kind, body: body.0.to_vec() });
                    }
                }
                b"ipma" => self.read_associations(body)?,
                _ => self.others.push(kind),
            }
        }
        Ok(())
    }

    fn read_associations(&mut self, mut fields: Fields<'_>) -> Result<(), Fault> {
        let (version, flags) = fields.version()?;
        let is_wide = flags & 1 == 1;
        for _ in 0..fields.long()? {
            let id = u32::try_from(fields.number(if version == 0 { 2 } else { 4 })?).unwrap_or(u32::MAX);
            let count = usize::from(fields.byte()?);
            let mut list = Vec::with_capacity(count);
            for _ in 0..count {
                let raw = if is_wide { fields.short()? } else { u16::from(fields.byte()?) };
                let flag = if is_wide { 0x8000 } else { 0x80 };
                // Zero stands for no property (ISO/IEC 23008-12 §9.3.3).
                if let Some(property) = usize::from(raw & !flag).checked_sub(1) {
                    list.push(Association { is_essential: raw & flag != 0, property });
                }
            }
            if self.associations.insert(id, list).is_some() {
                return Err(Fault("gives an item its properties twice"));
            }
        }
        Ok(())
    }
}

const NOWHERE: Fault = Fault("has an item without a place");

fn read_primary(bytes: &[u8]) -> Result<u32, Fault> {
    if bytes.is_empty() {
        return Err(Fault("does not say which of its pictures is the one to show"));
    }
    let mut fields = Fields(bytes);
    let width = if fields.version()?.0 == 0 { 2 } else { 4 };
    Ok(u32::try_from(fields.number(width)?).unwrap_or(u32::MAX))
}

/// `infe` (ISO/IEC 14496-12 §8.11.6).
fn read_item(mut fields: Fields<'_>) -> Result<(u32, Item), Fault> {
    let (version, flags) = fields.version()?;
    let id = u32::try_from(fields.number(if version == 3 { 4 } else { 2 })?).unwrap_or(u32::MAX);
    let is_protected = fields.short()? != 0;
    let kind = if version < 2 { UNTYPED } else { fields.kind()? };
    let has_name = !fields.text().is_empty();
    let is_xmp = kind == *b"mime" && fields.text() == b"application/rdf+xml";
    Ok((id, Item { kind, is_hidden: flags & 1 == 1, is_protected, has_name, is_xmp, data: Data::Lost(NOWHERE) }))
}

/// The range of one extent.
fn place(
    method: u16,
    elsewhere: bool,
    (base, start, length): (u64, u64, u64),
    idat: Option<&Range<u64>>,
    file: u64,
) -> Result<Range<u64>, Fault> {
    let frame = match method {
        _ if elsewhere => return Err(Fault("has a picture that stands in another file")),
        0 => 0..file,
        1 => idat.cloned().ok_or(Fault("has an item in a box that is not there"))?,
        _ => return Err(Fault("has an item that is a part of another")),
    };
    if length == 0 {
        return Err(Fault("has an item without a length"));
    }
    let from = frame.start.checked_add(base).and_then(|at| at.checked_add(start));
    let to = from.and_then(|at| at.checked_add(length)).filter(|to| *to <= frame.end);
    match (from, to) {
        (Some(from), Some(to)) => Ok(from..to),
        _ => Err(Fault("ends before its picture does")),
    }
}

fn join(data: Data, next: Result<Range<u64>, Fault>) -> Data {
    match (data, next) {
        (Data::At(mut list), Ok(range)) => {
            list.push(range);
            Data::At(list)
        }
        (Data::At(_), Err(fault)) => Data::Lost(fault),
        (lost, _) => lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(id: u32) -> Index {
        let item = Item {
            kind: *b"hvc1",
            is_hidden: false,
            is_protected: false,
            has_name: false,
            is_xmp: false,
            data: Data::Lost(NOWHERE),
        };
        Index { items: [(id, item)].into(), ..Index::default() }
    }

    type Step = ([u8; 4], u8);

    #[test]
    fn turns_and_mirrors_follow_each_other_in_their_order() {
        let (irot, imir) = (|angle| (*b"irot", angle), |axis| (*b"imir", axis));
        let table: [(&[Step], u8); 10] = [
            (&[], 1),
            (&[irot(1)], 8),
            (&[irot(2)], 3),
            (&[irot(3)], 6),
            (&[imir(1)], 2),
            (&[imir(0)], 4),
            (&[irot(1), imir(0)], 5),
            (&[irot(3), imir(0)], 7),
            (&[imir(0), irot(1)], 7),
            (&[(*b"clap", 3), irot(3), (*b"pasp", 1)], 6),
        ];
        for (steps, exif) in table {
            let mut index = index_of(1);
            index.properties = steps.iter().map(|(kind, value)| Property { kind: *kind, body: vec![*value] }).collect();
            let each = (0..steps.len()).map(|property| Association { is_essential: true, property });
            index.associations.insert(1, each.collect());
            assert_eq!(index.turn_of(1).to_exif(), exif, "{steps:?}");
        }
    }

    #[test]
    fn an_item_is_where_its_extents_say_or_nowhere() {
        let at = |ranges: &[(u64, u64)]| Data::At(ranges.iter().map(|(from, to)| *from..*to).collect());
        // Version 1: four bytes of offset, length and base; id 7; method, elsewhere, base, count.
        let iloc = |method: u8, elsewhere: u8, base: u8, extents: &[[u8; 2]]| {
            let mut bytes = vec![1, 0, 0, 0, 0x44, 0x40, 0, 1, 0, 7, 0, method, 0, elsewhere, 0, 0, 0, base];
            bytes.extend([0, u8::try_from(extents.len()).unwrap()]);
            bytes.extend(extents.iter().flat_map(|[at, length]| [0, 0, 0, *at, 0, 0, 0, *length]));
            bytes
        };
        let table = [
            (iloc(0, 0, 0, &[[10, 5]]), at(&[(10, 15)])),
            (iloc(0, 0, 20, &[[1, 5], [40, 2]]), at(&[(21, 26), (60, 62)])),
            (iloc(1, 0, 0, &[[1, 5]]), at(&[(51, 56)])),
            (iloc(0, 0, 0, &[]), at(&[])),
            (iloc(0, 0, 0, &[[98, 3]]), Data::Lost(Fault("ends before its picture does"))),
            (iloc(1, 0, 0, &[[1, 10]]), Data::Lost(Fault("ends before its picture does"))),
            (iloc(0, 1, 0, &[[1, 1]]), Data::Lost(Fault("has a picture that stands in another file"))),
            (iloc(2, 0, 0, &[[1, 1]]), Data::Lost(Fault("has an item that is a part of another"))),
            (iloc(0, 0, 0, &[[1, 1], [1, 0]]), Data::Lost(Fault("has an item without a length"))),
        ];
        for (bytes, data) in table {
            let mut index = index_of(7);
            index.read_places(&bytes, Some(&(50..60)), 100).unwrap();
            assert_eq!(index.items[&7].data, data, "{bytes:?}");
            for length in 0..bytes.len() {
                assert!(index_of(7).read_places(&bytes[..length], Some(&(50..60)), 100).is_err(), "{bytes:?} cut at {length}");
            }
        }
    }

    #[test]
    fn extents_that_cost_no_bytes_are_not_counted_out() {
        let entry = [0, 7, 0, 0, 0, 0, 0xFF, 0xFF];
        let bytes = [&[1, 0, 0, 0, 0, 0, 0xFF, 0xFF][..], &entry].concat();
        let mut index = index_of(7);
        assert!(index.read_places(&bytes, None, 100).is_err(), "and 65,534 items more");
        assert_eq!(index.items[&7].data, Data::Lost(Fault("has an item whose place is not told")));
    }
}
