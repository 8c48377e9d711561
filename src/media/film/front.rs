//! The same film with its index in front, for who reads from a pipe and cannot go back. Nothing is
//! taken away: its turn, its sound and its edits are what the reader is to look at.
//!
//! Source: ISO/IEC 14496-12 §8.7.5 (chunk offsets).

use std::ops::Range;

use super::flat::Flat;
use super::{BOXES_MAX, INDEX_BYTES_MAX};
use crate::media::Fault;
use crate::media::isobmff::{BoxAt, ReadError, boxes, bytes_of};
use crate::media::source::Source;

/// Boxes on the way to the offsets.
const ON_THE_WAY: [[u8; 4]; 5] = [*b"moov", *b"trak", *b"mdia", *b"minf", *b"stbl"];

/// Plans the file: the index, moved before the first of its samples.
///
/// # Errors
/// A film without an index, and one whose places do not fit when they move.
pub fn front(source: &dyn Source) -> Result<Flat, ReadError> {
    let length_bytes = source.length_bytes();
    let (found, _) = boxes(source, 0..length_bytes, BOXES_MAX)?;
    let movie = found.iter().find(|b| b.kind == *b"moov").ok_or(Fault("has no index of its pictures"))?;
    let media = found.iter().find(|b| b.kind == *b"mdat").filter(|media| media.at < movie.at);
    let Some(media) = media else {
        return Ok(Flat { head: Vec::new(), ranges: whole(0..length_bytes), length_bytes });
    };
    let mut head = bytes_of(source, &(0..media.at), INDEX_BYTES_MAX)?;
    head.extend(moved(source, movie, media.at)?);
    let ranges = [media.at..movie.at, movie.body.end..length_bytes].into_iter().flat_map(whole).collect();
    Ok(Flat { head, ranges, length_bytes })
}

fn whole(range: Range<u64>) -> Vec<Range<u64>> {
    if range.is_empty() { Vec::new() } else { vec![range] }
}

/// The index, its places told as they are once it stands at `to`.
fn moved(source: &dyn Source, movie: &BoxAt, to: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = bytes_of(source, &(movie.at..movie.body.end), INDEX_BYTES_MAX)?;
    let shift = Shift { range: to..movie.at, by: movie.body.end - movie.at };
    shift.boxes(&mut bytes)?;
    Ok(bytes)
}

/// Places in this range move `by` so many bytes.
struct Shift {
    range: Range<u64>,
    by: u64,
}

impl Shift {
    fn boxes(&self, mut bytes: &mut [u8]) -> Result<(), Fault> {
        const CUT: Fault = Fault("has an index that does not end with a box");
        while !bytes.is_empty() {
            let Some((size, kind)) = bytes.split_first_chunk::<4>().and_then(|(s, rest)| Some((s, rest.first_chunk::<4>()?)))
            else {
                return Err(CUT);
            };
            let (size, kind) = (u32::from_be_bytes(*size) as usize, *kind);
            let (one, rest) = bytes.split_at_mut_checked(size).filter(|(one, _)| one.len() >= 8).ok_or(CUT)?;
            let body = one.get_mut(8..).unwrap_or_default();
            match &kind {
                kind if ON_THE_WAY.contains(kind) => self.boxes(body)?,
                b"stco" => self.places(body.get_mut(8..).unwrap_or_default().as_chunks_mut::<4>().0)?,
                b"co64" => self.wide_places(body.get_mut(8..).unwrap_or_default().as_chunks_mut::<8>().0)?,
                _ => {}
            }
            bytes = rest;
        }
        Ok(())
    }

    fn places(&self, places: &mut [[u8; 4]]) -> Result<(), Fault> {
        for place in places {
            let to = self.to(u64::from(u32::from_be_bytes(*place)))?;
            *place = u32::try_from(to).map_err(|_| TOO_FAR)?.to_be_bytes();
        }
        Ok(())
    }

    fn wide_places(&self, places: &mut [[u8; 8]]) -> Result<(), Fault> {
        for place in places {
            *place = self.to(u64::from_be_bytes(*place))?.to_be_bytes();
        }
        Ok(())
    }

    fn to(&self, place: u64) -> Result<u64, Fault> {
        if self.range.contains(&place) { place.checked_add(self.by).ok_or(TOO_FAR) } else { Ok(place) }
    }
}

const TOO_FAR: Fault = Fault("is too long for the places in its index");

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::super::flat::Reader;
    use super::*;

    fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
        [&size[..], &kind, body].concat()
    }

    fn index(places: [u32; 2]) -> Vec<u8> {
        let table = [&[0, 0, 0, 0, 0, 0, 0, 2][..], &places[0].to_be_bytes(), &places[1].to_be_bytes()].concat();
        ON_THE_WAY.iter().rev().fold(boxed(*b"stco", &table), |inner, kind| boxed(*kind, &inner))
    }

    fn read(film: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Reader::new(Arc::new(front(&film).unwrap()), film).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn an_index_behind_its_samples_comes_in_front_and_still_finds_them() {
        let (brands, media) = (boxed(*b"ftyp", b"isom"), boxed(*b"mdat", b"abcdefgh"));
        let at = u32::try_from(brands.len() + 8).unwrap();
        let movie = index([at, at + 4]);
        let film = [brands.clone(), media.clone(), movie.clone()].concat();
        let by = u32::try_from(movie.len()).unwrap();
        let wanted = [brands.clone(), index([at + by, at + 4 + by]), media.clone()].concat();
        assert_eq!(read(&film), wanted);
        let already = [brands, movie, media].concat();
        assert_eq!(read(&already), already);
    }

    #[test]
    fn what_stands_before_the_index_where_it_goes_stays_in_its_place() {
        let (brands, media) = (boxed(*b"ftyp", b"isom"), boxed(*b"mdat", b"abcdefgh"));
        let at = u32::try_from(brands.len() + 8).unwrap();
        let by = u32::try_from(index([0; 2]).len()).unwrap();
        let film = [brands.clone(), media.clone(), index([8, at])].concat();
        assert_eq!(read(&film), [brands, index([8, at + by]), media].concat());
    }

    #[test]
    fn a_place_that_would_not_fit_is_an_error() {
        let shift = Shift { range: 0..u64::MAX, by: 10 };
        assert_eq!(shift.boxes(&mut index([u32::MAX - 3, 0])), Err(TOO_FAR));
        assert!(shift.boxes(&mut index([0, 0])[..20]).is_err());
    }
}
