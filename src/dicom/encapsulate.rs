//! The data set as a stream: attributes from memory, the coded picture as it comes.

use std::collections::VecDeque;
use std::io::{self, Read};

use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};

use super::{DicomError, Instance, Pixels, Syntax, document};

/// (7FE0,0010) OB of undefined length (PS3.5 §A.4).
const PIXEL_DATA: [u8; 12] = [0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
/// Tag of an item; its length follows.
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
/// Sequence Delimitation Item.
const SEQUENCE_DELIMITER: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
/// An item holds an even number of bytes below the undefined length (PS3.5 §7.5, §A.4).
pub(super) const PIXEL_BYTES_MAX: u64 = 0xFFFF_FFFE;

/// A data set of known size whose picture is read from the payload as it goes out. Holds the
/// attributes, never the picture.
///
/// A payload that is shorter or longer than [`Pixels`] says, or that fails, makes the read fail
/// before the last byte was given out: the object is never complete by mistake.
pub struct DataSetStream<'a> {
    /// What is still to be given out; of the first, `at` bytes are.
    steps: VecDeque<Step>,
    at: usize,
    payload: &'a mut dyn Read,
    payload_left: u64,
    size_bytes: u64,
}

enum Step {
    Written(Vec<u8>),
    /// So many bytes of the payload.
    Payload(u64),
}

impl<'a> DataSetStream<'a> {
    fn new(steps: Vec<Step>, payload: &'a mut dyn Read) -> Self {
        let (mut payload_left, mut size_bytes) = (0, 0);
        for step in &steps {
            match step {
                Step::Written(bytes) => size_bytes += bytes.len() as u64,
                Step::Payload(length) => payload_left += length,
            }
        }
        size_bytes += payload_left;
        Self { steps: steps.into(), at: 0, payload, payload_left, size_bytes }
    }
}

impl DataSetStream<'_> {
    /// Of the whole data set.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Instance {
    /// The data set in `syntax`, without preamble and meta header.
    ///
    /// # Errors
    /// [`DicomError::SyntaxUnfit`] where the picture would have to be coded again.
    pub fn stream<'a>(&self, syntax: Syntax, payload: &'a mut dyn Read) -> Result<DataSetStream<'a>, DicomError> {
        if let Pixels::Document { length } = self.pixels {
            return self.document_stream(length, syntax, payload);
        }
        let mut head = encode(&self.dataset, syntax)?;
        let length = self.pixels.length();
        let native: &[u8] = match (self.pixels, syntax) {
            (Pixels::Jpeg { .. } | Pixels::Video { .. }, _) if syntax == self.transfer_syntax() => {
                let steps = if self.still_bytes.is_empty() {
                    fragments(head, &[length], &[])
                } else {
                    fragments(head, &self.still_bytes, &offsets(&self.still_bytes)?)
                };
                return Ok(DataSetStream::new(steps?, payload));
            }
            (Pixels::Native { .. }, Syntax::ExplicitLe) => &[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0],
            (Pixels::Native { .. }, Syntax::ImplicitLe) => &[0xE0, 0x7F, 0x10, 0],
            _ => return Err(DicomError::SyntaxUnfit { syntax }),
        };
        head.extend_from_slice(native);
        head.extend_from_slice(&length_field(length)?);
        Ok(DataSetStream::new(vec![Step::Written(head), Step::Payload(length), Step::Written(padding(length))], payload))
    }

    /// A document stands in the middle of its data set: (0042,0012) and (0042,0015) follow it.
    fn document_stream<'a>(
        &self,
        length: u64,
        syntax: Syntax,
        payload: &'a mut dyn Read,
    ) -> Result<DataSetStream<'a>, DicomError> {
        let (before, behind) = document::split(&self.dataset);
        let mut head = encode(&before, syntax)?;
        head.extend_from_slice(match syntax {
            Syntax::ExplicitLe => &[0x42, 0, 0x11, 0, b'O', b'B', 0, 0],
            Syntax::ImplicitLe => &[0x42, 0, 0x11, 0],
            Syntax::JpegBaseline | Syntax::Avc41 | Syntax::Avc42 | Syntax::HevcMain => {
                return Err(DicomError::SyntaxUnfit { syntax });
            }
        });
        head.extend_from_slice(&length_field(length)?);
        let mut tail = padding(length);
        tail.extend(encode(&behind, syntax)?);
        Ok(DataSetStream::new(vec![Step::Written(head), Step::Payload(length), Step::Written(tail)], payload))
    }
}

/// Encapsulated pixel data (PS3.5 §A.4): a fragment for each part of the payload.
fn fragments(mut head: Vec<u8>, parts: &[u64], table: &[u32]) -> Result<Vec<Step>, DicomError> {
    head.extend_from_slice(&PIXEL_DATA);
    head.extend_from_slice(&ITEM);
    head.extend_from_slice(&length_field(4 * table.len() as u64)?);
    head.extend(table.iter().flat_map(|offset| offset.to_le_bytes()));
    let mut steps = Vec::with_capacity(2 * parts.len() + 1);
    for length in parts {
        head.extend_from_slice(&ITEM);
        head.extend_from_slice(&length_field(*length)?);
        steps.extend([Step::Written(head), Step::Payload(*length)]);
        head = padding(*length);
    }
    head.extend_from_slice(&SEQUENCE_DELIMITER);
    steps.push(Step::Written(head));
    Ok(steps)
}

/// Of each fragment, where its item begins: bytes from the first one.
fn offsets(parts: &[u64]) -> Result<Vec<u32>, DicomError> {
    let mut at = 0;
    let offset = |length: &u64| {
        let here = u32::try_from(at).map_err(|_| TOO_LONG);
        at += framed_bytes(&[*length]);
        here
    };
    parts.iter().map(offset).collect()
}

/// Of fragments with the heads of their items.
pub(super) fn framed_bytes(parts: &[u64]) -> u64 {
    parts.iter().map(|length| length.saturating_add(8 + length % 2)).fold(0, u64::saturating_add)
}

const TOO_LONG: DicomError = DicomError::Picture("too long for one element");

fn length_field(length: u64) -> Result<[u8; 4], DicomError> {
    u32::try_from(length + length % 2).map(u32::to_le_bytes).map_err(|_| TOO_LONG)
}

fn padding(length: u64) -> Vec<u8> {
    vec![0; usize::from(length % 2 == 1)]
}

/// A data set without group 0002.
pub(super) fn encode(dataset: &InMemDicomObject, syntax: Syntax) -> Result<Vec<u8>, DicomError> {
    /// The attributes of a photograph without a profile; with one it grows once.
    const USUAL_BYTES: usize = 8 << 10;
    let mut out = Vec::with_capacity(USUAL_BYTES);
    match syntax {
        Syntax::JpegBaseline | Syntax::Avc41 | Syntax::Avc42 | Syntax::HevcMain | Syntax::ExplicitLe => {
            dataset.write_dataset_with_ts(&mut out, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
        }
        Syntax::ImplicitLe => dataset.write_dataset_with_ts(&mut out, &IMPLICIT_VR_LITTLE_ENDIAN.erased()),
    }
    .map_err(|_| DicomError::Encoding)?;
    Ok(out)
}

impl Read for DataSetStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let given = match self.steps.front_mut() {
                None => return Ok(0),
                Some(Step::Written(bytes)) => copy(bytes, &mut self.at, out),
                Some(Step::Payload(left)) => {
                    let want = usize::try_from(*left).map_or(out.len(), |left| left.min(out.len()));
                    let read = self.payload.read(out.get_mut(..want).unwrap_or_default())?;
                    *left -= read as u64;
                    self.payload_left -= read as u64;
                    match (read, *left) {
                        (0, 1..) if want > 0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, SHORTER)),
                        (1.., _) if self.payload_left == 0 => self.check_end()?,
                        _ => {}
                    }
                    read
                }
            };
            if given > 0 || out.is_empty() {
                return Ok(given);
            }
            self.steps.pop_front();
            self.at = 0;
        }
    }
}

const SHORTER: &str = "the coded picture is shorter than its record says";

impl DataSetStream<'_> {
    /// Asked before the last bytes of the payload are given out.
    fn check_end(&mut self) -> io::Result<()> {
        let mut probe = [0; 1];
        loop {
            match self.payload.read(&mut probe) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the coded picture is longer than its record says"));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn copy(from: &[u8], at: &mut usize, out: &mut [u8]) -> usize {
    let rest = from.get(*at..).unwrap_or_default();
    let count = rest.len().min(out.len());
    if let (Some(to), Some(part)) = (out.get_mut(..count), rest.get(..count)) {
        to.copy_from_slice(part);
    }
    *at += count;
    count
}
