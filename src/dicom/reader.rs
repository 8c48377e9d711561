//! Little endian data sets from the network (PS3.5 §7.1), read front to back and without recursion:
//! what is not looked for is stepped over, to a depth.

use dicom_core::Tag;

use super::Syntax;

/// Sequences within sequences that are stepped over. What is read here has three at most.
pub(super) const DEPTH_MAX: usize = 8;
/// Items of one sequence that are looked at: a patient has few numbers, a request few procedures.
const ITEMS_MAX: usize = 64;
pub(super) const UNDEFINED: u32 = u32::MAX;

pub(super) const ITEM: (u16, u16) = (0xFFFE, 0xE000);
pub(super) const ITEM_END: (u16, u16) = (0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: (u16, u16) = (0xFFFE, 0xE0DD);

pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) explicit: bool,
}

pub(super) struct Element {
    pub(super) tag: (u16, u16),
    pub(super) length: u32,
    /// How the items are coded where it is a sequence. In one whose VR was not known (UN) they have no VR
    /// (PS3.5 §6.2.2): it was handed on as it had come.
    pub(super) is_explicit: bool,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    pub(super) fn element(&mut self) -> Option<Element> {
        let [g1, g2, e1, e2] = self.take::<4>()?;
        let tag = (u16::from_le_bytes([g1, g2]), u16::from_le_bytes([e1, e2]));
        // Items and delimiters have no VR (PS3.5 §7.5).
        if !self.explicit || tag.0 == 0xFFFE {
            return Some(Element { tag, length: u32::from_le_bytes(self.take::<4>()?), is_explicit: self.explicit });
        }
        let [v1, v2, l1, l2] = self.take::<4>()?;
        // PS3.5 §7.1.2: these have two reserved bytes and a long length.
        let is_long = matches!(
            &[v1, v2],
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
        );
        let length = if is_long { u32::from_le_bytes(self.take::<4>()?) } else { u32::from(u16::from_le_bytes([l1, l2])) };
        Some(Element { tag, length, is_explicit: &[v1, v2] != b"UN" })
    }

    pub(super) fn value(&mut self, length: u32) -> Option<&'a [u8]> {
        let (value, rest) = self.bytes.split_at_checked(usize::try_from(length).ok()?)?;
        self.bytes = rest;
        Some(value)
    }

    /// Steps over a value, also over a sequence or an item of undefined length.
    pub(super) fn skip(&mut self, element: &Element, depth: usize) -> Option<()> {
        if element.length != UNDEFINED {
            return self.value(element.length).map(|_| ());
        }
        // Of each sequence and item that is open: how what comes behind it is coded.
        let mut open = vec![self.explicit];
        self.explicit = element.is_explicit;
        while !open.is_empty() {
            let inner = self.element()?;
            match inner.tag {
                ITEM_END | SEQUENCE_END => self.explicit = open.pop()?,
                _ if inner.length == UNDEFINED => open.push(std::mem::replace(&mut self.explicit, inner.is_explicit)),
                _ => self.value(inner.length).map(|_| ())?,
            }
            if open.len() > 2 * depth {
                return None;
            }
        }
        Some(())
    }

    /// A value as [`Reader::skip`] steps over it, with the delimiter of an undefined length.
    fn whole(&mut self, element: &Element) -> Option<&'a [u8]> {
        let before = self.bytes;
        self.skip(element, DEPTH_MAX)?;
        before.get(..before.len() - self.bytes.len())
    }
}

/// The attributes of a data set, or of an item in it, as the peer wrote them.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    explicit: bool,
}

impl<'a> Fields<'a> {
    /// `None` where it is no data set.
    #[must_use]
    pub fn of(bytes: &'a [u8], syntax: Syntax) -> Option<Self> {
        let fields = Self { bytes, explicit: syntax != Syntax::ImplicitLe };
        let mut reader = fields.reader();
        while !reader.bytes.is_empty() {
            let element = reader.element()?;
            reader.skip(&element, DEPTH_MAX)?;
        }
        Some(fields)
    }

    fn reader(&self) -> Reader<'a> {
        Reader { bytes: self.bytes, explicit: self.explicit }
    }

    /// The value as it stands there, without the padding (PS3.5 §6.2); empty where there is none.
    #[must_use]
    pub fn value(&self, tag: Tag) -> &'a [u8] {
        let value = self.raw(tag).map(|(value, _)| value).unwrap_or_default();
        let end = value.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
        value.get(..end).unwrap_or_default().trim_ascii_start()
    }

    /// The items of a sequence, the first of very many; none where it is not there.
    #[must_use]
    pub fn items(&self, tag: Tag) -> Vec<Self> {
        let (bytes, explicit) = self.raw(tag).unwrap_or_default();
        let mut reader = Reader { bytes, explicit };
        let mut items = Vec::new();
        while items.len() < ITEMS_MAX
            && let Some(item @ Element { tag: ITEM, .. }) = reader.element()
            && let Some(bytes) = reader.whole(&item)
        {
            items.push(Self { bytes, explicit });
        }
        items
    }

    /// The value, and whether items in it have VRs.
    fn raw(&self, wanted: Tag) -> Option<(&'a [u8], bool)> {
        let mut reader = self.reader();
        loop {
            let element = reader.element()?;
            let value = reader.whole(&element)?;
            if element.tag == (wanted.0, wanted.1) {
                return Some((value, element.is_explicit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;
    use dicom_dictionary_std::tags;

    use super::super::data_set::DataSet;
    use super::super::encapsulate::encode;
    use super::*;

    fn answer(syntax: Syntax) -> Vec<u8> {
        let mut code = DataSet::new();
        code.put(tags::CODE_VALUE, VR::SH, "D1");
        let mut set = DataSet::new();
        set.put(tags::ACCESSION_NUMBER, VR::SH, "A123");
        set.put(tags::PATIENT_ID, VR::LO, "");
        set.put_items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, [code]);
        set.put(tags::REQUESTED_PROCEDURE_ID, VR::SH, "RP1");
        encode(&set.finish(), syntax).unwrap()
    }

    /// The same with sequence and item of undefined length (PS3.5 §7.5.2).
    fn undefined() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |tag: (u16, u16), length: u32, value: &[u8]| {
            bytes.extend([tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat());
            bytes.extend(length.to_le_bytes());
            bytes.extend(value);
        };
        put((0x0008, 0x0050), 4, b"A123");
        put((0x0032, 0x1064), UNDEFINED, b"");
        put(ITEM, UNDEFINED, b"");
        put((0x0008, 0x0100), 2, b"D1");
        put(ITEM_END, 0, b"");
        put(SEQUENCE_END, 0, b"");
        put((0x0040, 0x1001), 4, b"RP1 ");
        bytes
    }

    #[test]
    fn an_attribute_is_found_whatever_stands_before_it() {
        let sets = [
            (answer(Syntax::ExplicitLe), Syntax::ExplicitLe),
            (answer(Syntax::ImplicitLe), Syntax::ImplicitLe),
            (undefined(), Syntax::ImplicitLe),
        ];
        for (bytes, syntax) in sets {
            let fields = Fields::of(&bytes, syntax).unwrap();
            assert_eq!(fields.value(tags::ACCESSION_NUMBER), b"A123");
            assert_eq!(fields.value(tags::REQUESTED_PROCEDURE_ID), b"RP1");
            assert_eq!((fields.value(tags::PATIENT_ID), fields.value(tags::STUDY_INSTANCE_UID)), (&b""[..], &b""[..]));
            let items = fields.items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE);
            assert_eq!(items.iter().map(|item| item.value(tags::CODE_VALUE)).collect::<Vec<_>>(), [b"D1"]);
            assert!(fields.items(tags::PATIENT_ID).is_empty());
        }
    }

    /// Explicit VR, with the sequence of [`undefined`] as one of unknown VR, inside another and alone.
    fn unknown(length: Option<u32>) -> Vec<u8> {
        let implicit = undefined();
        let items = implicit.get(12 + 8..implicit.len() - 12).unwrap();
        let items = if length.is_some() { &items[..items.len() - 8] } else { items };
        let un = [&[0x32, 0, 0x64, 0x10, b'U', b'N', 0, 0], &length.unwrap_or(UNDEFINED).to_le_bytes()[..], items].concat();
        let item = [&[0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF], &un[..], &[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]].concat();
        let outer = [&[0x08, 0, 0x10, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], &item[..]].concat();
        let outer = [&outer[..], &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]].concat();
        let (first, last) = (b"\x08\0\x50\0SH\x04\0A123", b"\x40\0\x01\x10SH\x04\0RP1 ");
        [&outer[..], &first[..], &un, last].concat()
    }

    #[test]
    fn a_sequence_of_unknown_vr_has_items_without_vrs_and_what_is_behind_it_has_vrs_again() {
        // The item: its head, the attribute of ten bytes, its end.
        for length in [None, Some(8 + 10 + 8)] {
            let bytes = unknown(length);
            let fields = Fields::of(&bytes, Syntax::ExplicitLe).unwrap();
            let code = |of: &Fields<'_>| of.items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE)[0].value(tags::CODE_VALUE).to_vec();
            let outer = fields.items(tags::REFERENCED_STUDY_SEQUENCE);
            assert_eq!((code(&fields), outer.iter().map(code).collect::<Vec<_>>()), (b"D1".to_vec(), vec![b"D1".to_vec()]));
            assert_eq!(
                (fields.value(tags::ACCESSION_NUMBER), fields.value(tags::REQUESTED_PROCEDURE_ID)),
                (&b"A123"[..], &b"RP1"[..])
            );
        }
        let deep = [
            &[0x32, 0, 0x64, 0x10, b'U', b'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF][..],
            &[0x32, 0, 0x64, 0x10, 0xFF, 0xFF, 0xFF, 0xFF].repeat(100),
        ];
        assert!(Fields::of(&deep.concat(), Syntax::ExplicitLe).is_none());
    }

    #[test]
    fn what_is_cut_or_nested_without_end_is_no_data_set() {
        let whole = undefined();
        let is_at_an_end = |at: usize| at == 0 || at == 12 || at == whole.len();
        for at in (0..whole.len()).filter(|at| !is_at_an_end(*at)) {
            let is_data_set = Fields::of(&whole[..at], Syntax::ImplicitLe).is_some();
            // Behind the sequence, before the last attribute.
            assert_eq!(is_data_set, at == whole.len() - 12, "{at}");
        }
        let deep = [0x32, 0, 0x64, 0x10, 0xFF, 0xFF, 0xFF, 0xFF].repeat(100);
        assert!(Fields::of(&deep, Syntax::ImplicitLe).is_none());
    }
}
