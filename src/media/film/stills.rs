//! Stills of a film, at even distances: how many, and the uncoded pictures of them, which a program gives
//! as a stream of YUV4MPEG2: a line that tells the size, then a line and the planes for each picture.

use std::io;

use super::recode::LONG_SIDE;
use crate::media::jpeg::Samples;

/// Of a film of any length: what somebody looks through.
const STILLS_MAX: u32 = 60;
/// One is no series.
const STILLS_MIN: u32 = 2;
const SECONDS_APART: f64 = 1.0;

/// How many stills a film has, and how far they are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub count: u32,
    /// Milliseconds.
    pub apart_ms: u32,
}

impl Plan {
    /// One each second; of a long film, or a very short one, evenly spread over it.
    #[must_use]
    pub fn of(seconds: f64) -> Self {
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast of a float saturates
        let whole = |number: f64| number as u32;
        let count = whole((seconds / SECONDS_APART).ceil()).clamp(STILLS_MIN, STILLS_MAX);
        Self { count, apart_ms: whole((seconds * 1000.0 / f64::from(count)).round()).max(1) }
    }
}

/// One picture: luma, and two chromas of half its width and height.
pub type Planes = Vec<Samples>;

/// A stream on its way in, in pieces of any size.
#[derive(Debug)]
pub struct Stream {
    state: State,
    /// What is there of the line or the picture that comes next.
    gathered: Vec<u8>,
    left: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    PictureHead(Size),
    Picture(Size),
}

/// In pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
}

impl Size {
    fn chroma(self) -> Self {
        Self { width: self.width.div_ceil(2), height: self.height.div_ceil(2) }
    }

    fn area(self) -> usize {
        self.width as usize * self.height as usize
    }

    fn picture_bytes(self) -> usize {
        self.area() + 2 * self.chroma().area()
    }
}

/// A line is longer than this, bytes: it is none.
const LINE_MAX: usize = 256;

impl Stream {
    /// `stills`: more of them are an error.
    #[must_use]
    pub fn new(stills: u32) -> Self {
        Self { state: State::Head, gathered: Vec::new(), left: stills }
    }

    /// Takes one piece more; `each`: every picture that is whole with it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where it is no such stream, and what `each` says.
    pub fn push(&mut self, mut piece: &[u8], each: &mut dyn FnMut(Planes) -> io::Result<()>) -> io::Result<()> {
        while !piece.is_empty() {
            match self.state {
                State::Head => {
                    let Some(line) = self.line(&mut piece)? else { break };
                    self.state = State::PictureHead(size(&line).ok_or_else(|| strange("no head of a stream of pictures"))?);
                }
                State::PictureHead(size) => {
                    let Some(line) = self.line(&mut piece)? else { break };
                    if !line.starts_with(b"FRAME") {
                        return Err(strange("no head of a picture"));
                    }
                    self.left = self.left.checked_sub(1).ok_or_else(|| strange("more pictures than were asked for"))?;
                    self.state = State::Picture(size);
                }
                State::Picture(size) => {
                    let wanted = size.picture_bytes();
                    let missing = wanted.saturating_sub(self.gathered.len()).min(piece.len());
                    let (taken, rest) = piece.split_at(missing);
                    self.gathered.reserve_exact(wanted.saturating_sub(self.gathered.len()));
                    self.gathered.extend_from_slice(taken);
                    piece = rest;
                    if self.gathered.len() == wanted {
                        self.state = State::PictureHead(size);
                        each(planes(size, std::mem::take(&mut self.gathered)))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where it ends within a picture.
    pub fn finish(self) -> io::Result<()> {
        let is_whole = matches!(self.state, State::PictureHead(_)) && self.gathered.is_empty();
        if is_whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// The next line without its end, once it is there.
    fn line(&mut self, piece: &mut &[u8]) -> io::Result<Option<Vec<u8>>> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (taken, rest) = piece.split_at(end.unwrap_or(piece.len()));
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() > LINE_MAX {
            return Err(strange("a line that does not end"));
        }
        *piece = rest.get(1..).unwrap_or_default();
        Ok(end.map(|_| std::mem::take(&mut self.gathered)))
    }
}

fn strange(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What the first line tells: `YUV4MPEG2 W640 H480 C420jpeg …`.
fn size(line: &[u8]) -> Option<Size> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (mut width, mut height, mut has_half_chroma) = (None, None, true);
    if words.next() != Some("YUV4MPEG2") {
        return None;
    }
    for word in words {
        let (key, value) = word.split_at_checked(1)?;
        match key {
            "W" => width = value.parse().ok(),
            "H" => height = value.parse().ok(),
            "C" => has_half_chroma = matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv"),
            _ => {}
        }
    }
    let size = Size { width: width?, height: height? };
    let is_side = |side: u32| (1..=u32::from(LONG_SIDE)).contains(&side);
    (has_half_chroma && is_side(size.width) && is_side(size.height)).then_some(size)
}

fn planes(size: Size, mut luma: Vec<u8>) -> Planes {
    let of = |size: Size, bytes| Samples { width: size.width, height: size.height, bytes };
    let chroma = size.chroma();
    let mut blue = luma.split_off(size.area().min(luma.len()));
    let red = blue.split_off(chroma.area().min(blue.len()));
    vec![of(size, luma), of(chroma, blue), of(chroma, red)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_has_a_still_each_second_and_never_more_than_sixty_nor_less_than_two() {
        let table = [
            (0.0, (2, 1)),
            (0.5, (2, 250)),
            (2.0, (2, 1000)),
            (9.3, (10, 930)),
            (60.0, (60, 1000)),
            (3600.0, (60, 60_000)),
            (f64::NAN, (2, 1)),
            (-1.0, (2, 1)),
        ];
        for (seconds, (count, apart_ms)) in table {
            assert_eq!(Plan::of(seconds), Plan { count, apart_ms }, "{seconds}");
        }
    }

    const FIVE_BY_THREE: &str = "YUV4MPEG2 W5 H3 F1:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n";

    fn read(bytes: &[u8], piece_bytes: usize, stills: u32) -> io::Result<Vec<Planes>> {
        let (mut stream, mut found) = (Stream::new(stills), Vec::new());
        for piece in bytes.chunks(piece_bytes) {
            stream.push(piece, &mut |planes| {
                found.push(planes);
                Ok(())
            })?;
        }
        stream.finish()?;
        Ok(found)
    }

    fn two() -> Vec<u8> {
        let picture = |first: u8| (first..first + 15 + 12).collect::<Vec<u8>>();
        [FIVE_BY_THREE.as_bytes(), b"FRAME\n", &picture(10), b"FRAME Ip\n", &picture(b'\n')].concat()
    }

    #[test]
    fn pictures_come_whole_in_whatever_pieces_the_stream_comes() {
        for piece_bytes in [1, 2, 7, 40, 1000] {
            let found = read(&two(), piece_bytes, 2).unwrap();
            assert_eq!(found.len(), 2, "{piece_bytes}");
            let sides: Vec<_> = found[0].iter().map(|plane| (plane.width, plane.height, plane.bytes[0])).collect();
            assert_eq!(sides, [(5, 3, 10), (3, 2, 25), (3, 2, 31)]);
        }
    }

    #[test]
    fn what_is_no_such_stream_is_refused() {
        let whole = two();
        assert!(read(&whole, 9, 1).is_err(), "more than were asked for");
        assert!(read(&whole[..whole.len() - 1], 9, 2).is_err(), "a picture that is not whole");
        for head in ["YUV4MPEG2 W5 H3 C422\n", "YUV4MPEG2 W5\n", "YUV4MPEG2 W0 H3\n", "YUV4MPEG2 W5 H99999\n", "W5 H3\n"] {
            assert!(read(&[head.as_bytes(), &whole[FIVE_BY_THREE.len()..]].concat(), 9, 2).is_err(), "{head}");
        }
        assert!(read(&[b'x'; 1000], 100, 2).is_err(), "a line that does not end");
        assert!(read(&[FIVE_BY_THREE.as_bytes(), b"frame\n"].concat(), 9, 2).is_err());
    }
}
