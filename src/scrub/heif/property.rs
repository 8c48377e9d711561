//! The properties of the pictures that stay, each written anew from the fields that are known.

use std::collections::BTreeMap;

use super::{damaged, is_alpha_property, unsupported};
use crate::media::Fault;
use crate::media::heif::{Index, Property};
use crate::media::isobmff::Fields;
use crate::scrub::findings::Findings;
use crate::scrub::policy::{HEIF_ALPHA, HeifProperty, PROFILE_BYTES_MAX, Purpose};
use crate::scrub::{ScrubError, icc};

/// Parameter sets: video, sequence, picture (ISO/IEC 23008-2 §7.4.2.2).
fn is_parameter_set(kind: u8) -> bool {
    matches!(kind & 0x3F, 32..=34)
}

/// The list of the output, and where each property of the source went.
pub(super) struct Chosen {
    pub boxes: Vec<Vec<u8>>,
    positions: BTreeMap<usize, usize>,
}

impl Chosen {
    pub(super) fn of(index: &Index, ids: &[u32], purpose: Purpose, findings: &mut Findings) -> Result<Self, ScrubError> {
        let mut used: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
        for id in ids {
            for (association, _) in index.properties_of(*id) {
                let entry = used.entry(association.property).or_default();
                entry.0 |= association.is_essential;
                entry.1 |= *id == index.primary;
            }
        }
        let mut chosen = Self { boxes: Vec::new(), positions: BTreeMap::new() };
        for (position, property) in index.properties.iter().enumerate() {
            if HeifProperty::of(property.kind) == HeifProperty::Other && property.kind != *b"free" {
                findings.remove("heif.property");
            }
            let Some((is_essential, is_shown)) = used.get(&position) else { continue };
            match rewrite(property, purpose, *is_shown, findings)? {
                Some(body) => {
                    chosen.positions.insert(position, chosen.boxes.len());
                    chosen.boxes.push(super::write::boxed(property.kind, &[&body]));
                }
                None if *is_essential && property.kind != *b"colr" => {
                    return Err(unsupported("HEIF with a picture that needs what is not known here to be shown"));
                }
                None => {}
            }
        }
        Ok(chosen)
    }

    pub(super) fn of_item(&self, index: &Index, id: u32) -> Vec<(bool, usize)> {
        let list = index.properties_of(id).map(|(a, _)| a);
        list.filter_map(|a| Some((a.is_essential, self.positions.get(&a.property).copied()?))).collect()
    }
}

/// The body of a property as it leaves; `None`: it goes.
fn rewrite(
    property: &Property,
    purpose: Purpose,
    is_shown: bool,
    findings: &mut Findings,
) -> Result<Option<Vec<u8>>, ScrubError> {
    let body = property.body.as_slice();
    let length = Fault("has a property of a wrong length");
    Ok(match HeifProperty::of(property.kind) {
        HeifProperty::Decoder => Some(decoder(body, findings).map_err(damaged)?),
        HeifProperty::Profile => colour(body, purpose, is_shown, findings),
        HeifProperty::Auxiliary if is_alpha_property(body) => {
            let urn = HEIF_ALPHA.iter().find(|urn| body.get(4..).is_some_and(|rest| rest.starts_with(urn)));
            Some([&[0; 4], urn.copied().unwrap_or_default(), &[0]].concat())
        }
        HeifProperty::Auxiliary | HeifProperty::Other => None,
        HeifProperty::Depth => {
            let channels = body.get(4).map(|n| usize::from(*n)).ok_or_else(|| damaged(length))?;
            let bits = body.get(5..5 + channels).ok_or_else(|| damaged(length))?;
            Some([&[0; 4], &[u8::try_from(channels).unwrap_or(0)][..], bits].concat())
        }
        HeifProperty::Plain(bytes) => {
            let mut plain = body.get(..bytes).ok_or_else(|| damaged(length))?.to_vec();
            if let (b"ispe", Some(version)) = (&property.kind, plain.get_mut(..4)) {
                version.fill(0);
            }
            Some(plain)
        }
        HeifProperty::Bits(mask) => Some(vec![body.first().ok_or_else(|| damaged(length))? & mask]),
    })
}

/// `hvcC` with its numbers and its parameter sets (ISO/IEC 14496-15 §8.3.2.1).
fn decoder(body: &[u8], findings: &mut Findings) -> Result<Vec<u8>, Fault> {
    let mut fields = Fields(body);
    let (numbers, arrays) = (fields.take(22)?, fields.byte()?);
    let (mut count, mut lists) = (0u8, Vec::new());
    for _ in 0..arrays {
        let kind = fields.byte()?;
        let (mut units, mut kept) = (0u16, Vec::new());
        for _ in 0..fields.short()? {
            let length = fields.short()?;
            let unit = fields.take(usize::from(length))?;
            // What a unit is, its own head says.
            if is_parameter_set(kind) && unit.first().is_some_and(|first| is_parameter_set(first >> 1)) {
                units += 1;
                kept.extend(length.to_be_bytes());
                kept.extend(unit);
            } else {
                findings.remove("heif.sei");
            }
        }
        if units > 0 {
            count = count.saturating_add(1);
            // One bit of the kind is reserved.
            lists.push(kind & 0xBF);
            lists.extend(units.to_be_bytes());
            lists.append(&mut kept);
        }
    }
    Ok([numbers, &[count], &lists].concat())
}

/// `colr` (ISO/IEC 14496-12 §12.1.5).
fn colour(body: &[u8], purpose: Purpose, is_shown: bool, findings: &mut Findings) -> Option<Vec<u8>> {
    let (kind, rest) = body.split_first_chunk::<4>()?;
    match kind {
        b"nclx" => {
            let numbers = rest.get(..6)?;
            Some([&kind[..], numbers, &[rest.get(6)? & 0x80]].concat())
        }
        b"prof" | b"rICC" => {
            let clean = icc::rewrite(rest).ok().filter(|clean| clean.len() <= PROFILE_BYTES_MAX);
            let Some(clean) = clean else {
                findings.remove("icc");
                return None;
            };
            if clean != rest {
                findings.remove("icc.text");
            }
            if purpose == Purpose::Object {
                if is_shown || findings.profile.is_none() {
                    findings.profile = Some(clean);
                }
                return None;
            }
            Some([&kind[..], &clean].concat())
        }
        _ => None,
    }
}
