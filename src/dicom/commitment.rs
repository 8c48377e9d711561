//! The data sets of the Storage Commitment Push Model (PS3.4 §J.3).

use std::collections::BTreeSet;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use super::encapsulate::encode;
use super::reader::{DEPTH_MAX, Element, ITEM, ITEM_END, Reader, SEQUENCE_END, UNDEFINED};
use super::{DicomError, Syntax};
use crate::capture::{SopRef, Uid};

/// Instances of one request. A report of so many stays far below what is read of one message.
pub const REFERENCES_MAX: usize = 1_000;

/// Failure Reason (0008,1197): the archive has no such instance (PS3.3 §C.14.1.1).
pub const NO_SUCH_INSTANCE: u16 = 0x0112;

/// What an archive says to a request (PS3.4 §J.3.3): of each instance that it names, whether it
/// keeps it, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub transaction: Uid,
    /// Those that are not named as failed besides.
    pub committed: Vec<SopRef>,
    /// With the failure reason (0008,1197); 0 where none is given.
    pub failed: Vec<(SopRef, u16)>,
}

/// The action information of a request (PS3.4 §J.3.2.1).
///
/// # Errors
/// [`DicomError::Encoding`].
pub fn write_request(transaction: &Uid, wanted: &[SopRef], syntax: Syntax) -> Result<Vec<u8>, DicomError> {
    let mut data = DataSet::new();
    data.put(tags::TRANSACTION_UID, VR::UI, transaction.as_str());
    let items = wanted.iter().map(|sop| {
        let mut item = DataSet::new();
        item.put(tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop.sop_class.as_str());
        item.put(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, sop.sop_instance.as_str());
        item
    });
    data.put_items(tags::REFERENCED_SOP_SEQUENCE, items);
    encode(&data.finish(), syntax)
}

/// The event information of a report (PS3.4 §J.3.3.1). `None` where it is no data set, has no
/// transaction, or names what is no instance: half a report is no report.
#[must_use]
pub fn read_report(bytes: &[u8], syntax: Syntax) -> Option<Report> {
    let mut reader = Reader { bytes, explicit: syntax != Syntax::ImplicitLe };
    let (mut transaction, mut kept, mut failed) = (None, Vec::new(), Vec::new());
    while !reader.bytes.is_empty() {
        let element = reader.element()?;
        match element.tag {
            (0x0008, 0x1195) => transaction = Some(uid(reader.value(element.length)?)?),
            (0x0008, 0x1199) => kept = reader.items(&element)?,
            (0x0008, 0x1198) => failed = reader.items(&element)?,
            _ => reader.skip(&element, DEPTH_MAX)?,
        }
    }
    let failed: Vec<(SopRef, u16)> = failed.into_iter().map(|(sop, reason)| (sop, reason.unwrap_or(0))).collect();
    let lost: BTreeSet<&SopRef> = failed.iter().map(|(sop, _)| sop).collect();
    // Of two words about one instance the worse one counts: nothing is erased for a mistake.
    let committed = kept.into_iter().map(|(sop, _)| sop).filter(|sop| !lost.contains(sop)).collect();
    Some(Report { transaction: transaction?, committed, failed })
}

fn uid(value: &[u8]) -> Option<Uid> {
    Uid::parse(std::str::from_utf8(value).ok()?.trim_end_matches(['\0', ' '])).ok()
}

impl Reader<'_> {
    /// The instances that the items of a sequence name, with their failure reasons.
    fn items(&mut self, sequence: &Element) -> Option<Vec<(SopRef, Option<u16>)>> {
        let length = sequence.length;
        let mut inner = Reader { bytes: self.bytes, explicit: sequence.is_explicit };
        if length != UNDEFINED {
            inner.bytes = self.value(length)?;
        }
        let mut found = Vec::new();
        loop {
            if inner.bytes.is_empty() && length != UNDEFINED {
                return Some(found);
            }
            let element = inner.element()?;
            match element.tag {
                ITEM if found.len() < REFERENCES_MAX => found.push(inner.item(element.length)?),
                SEQUENCE_END if length == UNDEFINED => {
                    self.bytes = inner.bytes;
                    return Some(found);
                }
                _ => return None,
            }
        }
    }

    fn item(&mut self, length: u32) -> Option<(SopRef, Option<u16>)> {
        let mut inner = Reader { bytes: self.bytes, explicit: self.explicit };
        if length != UNDEFINED {
            inner.bytes = self.value(length)?;
        }
        let (mut class, mut instance, mut reason) = (None, None, None);
        while !(inner.bytes.is_empty() && length != UNDEFINED) {
            let element = inner.element()?;
            match element.tag {
                (0x0008, 0x1150) => class = Some(uid(inner.value(element.length)?)?),
                (0x0008, 0x1155) => instance = Some(uid(inner.value(element.length)?)?),
                (0x0008, 0x1197) => reason = inner.value(element.length)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b)),
                ITEM_END if length == UNDEFINED => {
                    self.bytes = inner.bytes;
                    break;
                }
                _ => inner.skip(&element, DEPTH_MAX)?,
            }
        }
        Some((SopRef { sop_class: class?, sop_instance: instance? }, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sop(number: u8) -> SopRef {
        SopRef {
            sop_class: Uid::parse(super::super::iod::VL_PHOTOGRAPHIC).unwrap(),
            sop_instance: Uid::parse(&format!("2.25.{number}")).unwrap(),
        }
    }

    fn report(kept: &[SopRef], failed: &[(SopRef, u16)]) -> DataSet {
        let item = |(sop, reason): (&SopRef, Option<u16>)| {
            let mut item = DataSet::new();
            item.put(tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop.sop_class.as_str());
            item.put(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, sop.sop_instance.as_str());
            if let Some(reason) = reason {
                item.put_number(tags::FAILURE_REASON, reason);
            }
            item
        };
        let mut data = DataSet::new();
        data.put(tags::TRANSACTION_UID, VR::UI, "2.25.99");
        data.put(tags::RETRIEVE_AE_TITLE, VR::AE, "PACS");
        data.put_items(tags::REFERENCED_SOP_SEQUENCE, kept.iter().map(|s| item((s, None))));
        data.put_items(tags::FAILED_SOP_SEQUENCE, failed.iter().map(|(s, r)| item((s, Some(*r)))));
        data
    }

    #[test]
    fn a_report_says_what_is_kept_and_what_is_not_in_every_encoding() {
        for syntax in [Syntax::ExplicitLe, Syntax::ImplicitLe] {
            let bytes = encode(&report(&[sop(1), sop(2)], &[(sop(3), 0x0112)]).finish(), syntax).unwrap();
            let read = read_report(&bytes, syntax).unwrap();
            assert_eq!(read.transaction.as_str(), "2.25.99");
            assert_eq!((read.committed, read.failed), (vec![sop(1), sop(2)], vec![(sop(3), 0x0112)]));
        }
    }

    #[test]
    fn what_is_named_as_kept_and_as_lost_is_lost() {
        let bytes = encode(&report(&[sop(1), sop(2)], &[(sop(2), 0x0110)]).finish(), Syntax::ImplicitLe).unwrap();
        let read = read_report(&bytes, Syntax::ImplicitLe).unwrap();
        assert_eq!((read.committed, read.failed), (vec![sop(1)], vec![(sop(2), 0x0110)]));
    }

    #[test]
    fn a_request_reads_back_as_the_references_it_makes() {
        for syntax in [Syntax::ExplicitLe, Syntax::ImplicitLe] {
            let bytes = write_request(&Uid::parse("2.25.7").unwrap(), &[sop(1), sop(2)], syntax).unwrap();
            let read = read_report(&bytes, syntax).unwrap();
            assert_eq!((read.transaction.as_str(), read.committed), ("2.25.7", vec![sop(1), sop(2)]));
        }
    }

    #[test]
    fn a_cut_or_bottomless_report_is_no_report() {
        let whole = encode(&report(&[sop(1)], &[(sop(3), 0x0112)]).finish(), Syntax::ExplicitLe).unwrap();
        for end in 0..whole.len() {
            if let Some(read) = read_report(&whole[..end], Syntax::ExplicitLe) {
                // Cut between two elements: fewer words, none of them new.
                let is_said = read.failed.iter().all(|(s, _)| *s == sop(3)) && read.committed.iter().all(|s| *s == sop(1));
                assert!(is_said, "{end}");
            }
        }
        let mut deep = Vec::new();
        for _ in 0..100_000 {
            deep.extend_from_slice(&[0x08, 0, 0x40, 0x11, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
        }
        assert_eq!(read_report(&deep, Syntax::ImplicitLe), None);
    }

    #[test]
    fn a_thing_that_is_no_uid_makes_no_report() {
        let mut data = DataSet::new();
        data.put(tags::TRANSACTION_UID, VR::UI, "../evil");
        assert_eq!(read_report(&encode(&data.finish(), Syntax::ImplicitLe).unwrap(), Syntax::ImplicitLe), None);
        assert_eq!(read_report(&[], Syntax::ImplicitLe), None);
    }
}
