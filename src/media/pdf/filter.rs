//! What unpacks streams (ISO 32000-1 §7.4), each with a limit on what may come out.

use flate2::{Decompress, FlushDecompress, Status};

use super::lexer::{Dict, Object, is_space};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Flate,
    Lzw,
    Ascii85,
    AsciiHex,
    RunLength,
    /// Codings of pictures; they are not undone here.
    Dct,
    Jpx,
    Ccitt,
    Jbig2,
}

impl Filter {
    /// By its name, or the short one of inline pictures.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"FlateDecode" | b"Fl" => Self::Flate,
            b"LZWDecode" | b"LZW" => Self::Lzw,
            b"ASCII85Decode" | b"A85" => Self::Ascii85,
            b"ASCIIHexDecode" | b"AHx" => Self::AsciiHex,
            b"RunLengthDecode" | b"RL" => Self::RunLength,
            b"DCTDecode" | b"DCT" => Self::Dct,
            b"JPXDecode" => Self::Jpx,
            b"CCITTFaxDecode" | b"CCF" => Self::Ccitt,
            b"JBIG2Decode" => Self::Jbig2,
            _ => return None,
        })
    }

    #[must_use]
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Dct | Self::Jpx | Self::Ccitt | Self::Jbig2)
    }
}

/// More came out than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

/// Undoes one filter. What is damaged ends where the damage is, as viewers do.
///
/// # Errors
/// [`TooMuch`].
pub fn decode(filter: Filter, parameters: &Dict, bytes: &[u8], most: usize) -> Result<Vec<u8>, TooMuch> {
    match filter {
        Filter::Flate => predict(parameters, inflate(bytes, most)?.0),
        Filter::Lzw => predict(parameters, lzw(bytes, parameters, most)?),
        Filter::Ascii85 => ascii85(bytes, most),
        Filter::AsciiHex => ascii_hex(bytes, most),
        Filter::RunLength => run_length(bytes, most),
        Filter::Dct | Filter::Jpx | Filter::Ccitt | Filter::Jbig2 => Ok(bytes.to_vec()),
    }
}

/// The bytes, and whether the stream ended well at the end of `bytes`.
///
/// # Errors
/// [`TooMuch`].
pub fn inflate(bytes: &[u8], most: usize) -> Result<(Vec<u8>, bool), TooMuch> {
    let mut engine = Inflate::new();
    let mut out = Vec::new();
    let mut is_too_much = false;
    engine.push(bytes, &mut |part| {
        is_too_much |= out.len() + part.len() > most;
        if !is_too_much {
            out.extend_from_slice(part);
        }
        !is_too_much
    });
    if is_too_much { Err(TooMuch) } else { Ok((out, engine.is_whole() && engine.consumed_bytes() == bytes.len() as u64)) }
}

/// Inflates portion by portion.
pub struct Inflate {
    engine: Decompress,
    state: InflateState,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InflateState {
    Running,
    Ended,
    Damaged,
}

/// Bytes given out at a time.
const INFLATE_BYTES: usize = 32 * 1024;

impl Default for Inflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflate {
    #[must_use]
    pub fn new() -> Self {
        Self { engine: Decompress::new(true), state: InflateState::Running, buffer: vec![0; INFLATE_BYTES] }
    }

    /// Takes more of the stream; stops early where `sink` says so.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> bool) {
        while self.state == InflateState::Running {
            let (took, gave) = (self.engine.total_in(), self.engine.total_out());
            let result = self.engine.decompress(bytes, &mut self.buffer, FlushDecompress::None);
            let (took, gave) = (delta(self.engine.total_in(), took), delta(self.engine.total_out(), gave));
            bytes = bytes.get(took..).unwrap_or_default();
            let is_wanted = sink(self.buffer.get(..gave).unwrap_or_default());
            match result {
                Ok(Status::StreamEnd) => self.state = InflateState::Ended,
                Err(_) => self.state = InflateState::Damaged,
                Ok(_) if !is_wanted => self.state = InflateState::Damaged,
                Ok(_) if took == 0 && gave == 0 => break,
                Ok(_) => {}
            }
        }
    }

    /// The stream came to its own end, its checksum right.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == InflateState::Ended
    }

    #[must_use]
    pub fn consumed_bytes(&self) -> u64 {
        self.engine.total_in()
    }

    #[must_use]
    pub fn given_bytes(&self) -> u64 {
        self.engine.total_out()
    }
}

fn delta(now: u64, before: u64) -> usize {
    usize::try_from(now.saturating_sub(before)).unwrap_or(usize::MAX)
}

fn parameter(parameters: &Dict, key: &[u8], default: usize) -> usize {
    parameters.get(key).and_then(Object::integer).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
}

/// Undoes the predictor (§7.4.4.4).
fn predict(parameters: &Dict, bytes: Vec<u8>) -> Result<Vec<u8>, TooMuch> {
    let predictor = parameter(parameters, b"Predictor", 1);
    if predictor < 2 {
        return Ok(bytes);
    }
    let (colours, bits) = (parameter(parameters, b"Colors", 1), parameter(parameters, b"BitsPerComponent", 8));
    let columns = parameter(parameters, b"Columns", 1);
    let row_bits = colours.checked_mul(bits).and_then(|n| n.checked_mul(columns)).ok_or(TooMuch)?;
    let (row, pixel) = (row_bits.div_ceil(8), (colours * bits).div_ceil(8).max(1));
    if row == 0 || row > bytes.len().saturating_add(1024) * 8 {
        return Ok(bytes);
    }
    if predictor == 2 { Ok(tiff_rows(bytes, row, bits, colours)) } else { Ok(png_rows(&bytes, row, pixel)) }
}

fn tiff_rows(mut bytes: Vec<u8>, row: usize, bits: usize, colours: usize) -> Vec<u8> {
    for line in bytes.chunks_mut(row) {
        match bits {
            8 => {
                for at in colours..line.len() {
                    let left = line.get(at - colours).copied().unwrap_or(0);
                    if let Some(byte) = line.get_mut(at) {
                        *byte = byte.wrapping_add(left);
                    }
                }
            }
            16 => {
                let (samples, _) = line.as_chunks_mut::<2>();
                for at in colours..samples.len() {
                    let left = samples.get(at - colours).map_or(0, |s| u16::from_be_bytes(*s));
                    if let Some(sample) = samples.get_mut(at) {
                        *sample = u16::from_be_bytes(*sample).wrapping_add(left).to_be_bytes();
                    }
                }
            }
            _ => narrow_row(line, bits, colours),
        }
    }
    bytes
}

/// One row of samples of 1, 2 or 4 bits.
fn narrow_row(line: &mut [u8], bits: usize, colours: usize) {
    if !matches!(bits, 1 | 2 | 4) {
        return;
    }
    let mask = (1u8 << bits) - 1;
    let each = 8 / bits;
    let mut left = vec![0u8; colours.max(1)];
    for at in 0..line.len() * each {
        let shift = 8 - bits - (at % each) * bits;
        let Some(byte) = line.get_mut(at / each) else { return };
        let Some(before) = left.get_mut(at % colours.max(1)) else { return };
        *before = (*byte >> shift & mask).wrapping_add(*before) & mask;
        *byte = *byte & !(mask << shift) | *before << shift;
    }
}

fn png_rows(bytes: &[u8], row: usize, pixel: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut above = vec![0u8; row];
    for line in bytes.chunks(row + 1) {
        let Some((kind, line)) = line.split_first() else { break };
        let mut now = vec![0u8; row];
        for (at, byte) in line.iter().enumerate() {
            let before = |line: &[u8]| at.checked_sub(pixel).and_then(|at| line.get(at)).copied().unwrap_or(0);
            let (left, up, corner) = (before(&now), above.get(at).copied().unwrap_or(0), before(&above));
            let guess = match kind {
                1 => left,
                2 => up,
                3 => u8::try_from(u16::midpoint(u16::from(left), u16::from(up))).unwrap_or(0),
                4 => paeth(left, up, corner),
                _ => 0,
            };
            if let Some(place) = now.get_mut(at) {
                *place = byte.wrapping_add(guess);
            }
        }
        out.extend_from_slice(now.get(..line.len()).unwrap_or_default());
        above = now;
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let guess = a + b - c;
    let (to_a, to_b, to_c) = ((guess - a).abs(), (guess - b).abs(), (guess - c).abs());
    if to_a <= to_b && to_a <= to_c {
        left
    } else if to_b <= to_c {
        up
    } else {
        corner
    }
}

/// §7.4.4.2.
fn lzw(bytes: &[u8], parameters: &Dict, most: usize) -> Result<Vec<u8>, TooMuch> {
    const CLEAR: usize = 256;
    const END: usize = 257;
    let early = usize::from(parameter(parameters, b"EarlyChange", 1) != 0);
    let mut out: Vec<u8> = Vec::new();
    // Where in `out` each word of the table stands.
    let mut words: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<(usize, usize)> = None;
    let (mut bits, mut held, mut width) = (0u32, 0u32, 9u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        if bits < width {
            continue;
        }
        bits -= width;
        let code = usize::try_from(held >> bits & ((1 << width) - 1)).unwrap_or(END);
        held &= (1 << bits) - 1;
        match code {
            CLEAR => {
                words.clear();
                (last, width) = (None, 9);
                continue;
            }
            END => break,
            _ => {}
        }
        let start = out.len();
        if code < CLEAR {
            out.push(u8::try_from(code).unwrap_or(0));
        } else if let Some((from, length)) = words.get(code - 258).copied() {
            copy_within(&mut out, from, length);
        } else if let Some((from, length)) = last.filter(|_| code - 258 == words.len()) {
            copy_within(&mut out, from, length);
            copy_within(&mut out, from, 1);
        } else {
            break;
        }
        if let Some((from, length)) = last.filter(|_| words.len() < 4096 - 258) {
            // The word before, and the first byte of this one, which stands right behind it.
            words.push((from, length + 1));
        }
        last = Some((start, out.len() - start));
        width = match words.len() + 258 + 1 + early {
            ..=512 => 9,
            513..=1024 => 10,
            1025..=2048 => 11,
            _ => 12,
        };
        if out.len() > most {
            return Err(TooMuch);
        }
    }
    Ok(out)
}

fn copy_within(out: &mut Vec<u8>, from: usize, length: usize) {
    let word = out.get(from..from + length).map(<[u8]>::to_vec).unwrap_or_default();
    out.extend(word);
}

fn ascii85(bytes: &[u8], most: usize) -> Result<Vec<u8>, TooMuch> {
    let mut out = Vec::new();
    let mut group: Vec<u8> = Vec::with_capacity(5);
    for byte in bytes {
        match byte {
            b'z' if group.is_empty() => out.extend([0; 4]),
            b'!'..=b'u' => {
                group.push(byte - b'!');
                if group.len() == 5 {
                    out.extend(base85(&group));
                    group.clear();
                }
            }
            b'~' => break,
            _ => {}
        }
        if out.len() > most {
            return Err(TooMuch);
        }
    }
    if group.len() > 1 {
        let count = group.len() - 1;
        group.resize(5, 84);
        out.extend(base85(&group).into_iter().take(count));
    }
    Ok(out)
}

fn base85(group: &[u8]) -> [u8; 4] {
    group.iter().fold(0u32, |sum, digit| sum.wrapping_mul(85).wrapping_add(u32::from(*digit))).to_be_bytes()
}

fn ascii_hex(bytes: &[u8], most: usize) -> Result<Vec<u8>, TooMuch> {
    let digits: Vec<u8> = bytes
        .iter()
        .take_while(|b| **b != b'>')
        .filter(|b| !is_space(**b))
        .filter_map(|b| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let out: Vec<u8> =
        digits.chunks(2).map(|pair| pair.first().map_or(0, |d| d << 4) | pair.get(1).copied().unwrap_or(0)).collect();
    if out.len() > most { Err(TooMuch) } else { Ok(out) }
}

fn run_length(bytes: &[u8], most: usize) -> Result<Vec<u8>, TooMuch> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((length, later)) = rest.split_first() {
        let count = usize::from(*length);
        rest = match count {
            128 => break,
            0..128 => {
                let (now, later) = later.split_at_checked(count + 1).unwrap_or((later, &[]));
                out.extend_from_slice(now);
                later
            }
            _ => {
                let Some((byte, later)) = later.split_first() else { break };
                out.extend(std::iter::repeat_n(*byte, 257 - count));
                later
            }
        };
        if out.len() > most {
            return Err(TooMuch);
        }
    }
    Ok(out)
}
