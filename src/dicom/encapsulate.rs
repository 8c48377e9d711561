//! The data set as a stream: attributes from memory, the coded picture as it comes.

use std::io::{self, Read};

use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};

use super::{DicomError, Instance, Pixels, Syntax, document};

/// (7FE0,0010) OB of undefined length, an empty Basic Offset Table, and the tag of the one
/// fragment; its length follows (PS3.5 §A.4).
const FRAGMENT_HEAD: [u8; 24] = [
    0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, // Pixel Data
    0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0, // item: offset table
    0xFE, 0xFF, 0x00, 0xE0, // item: fragment
];
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
    head: Vec<u8>,
    head_at: usize,
    payload: &'a mut dyn Read,
    payload_left: u64,
    tail: Vec<u8>,
    tail_at: usize,
    size_bytes: u64,
}

impl<'a> DataSetStream<'a> {
    fn new(head: Vec<u8>, payload: &'a mut dyn Read, length: u64, tail: Vec<u8>) -> Self {
        let size_bytes = head.len() as u64 + length + tail.len() as u64;
        Self { head, head_at: 0, payload, payload_left: length, tail, tail_at: 0, size_bytes }
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
        let length_field = u32::try_from(length + length % 2).map_err(|_| DicomError::Picture("too long for one element"))?;
        let mut tail = vec![0; usize::from(length % 2 == 1)];
        match (self.pixels, syntax) {
            (Pixels::Jpeg { .. } | Pixels::Video { .. }, _) if syntax == self.transfer_syntax() => {
                head.extend_from_slice(&FRAGMENT_HEAD);
                tail.extend_from_slice(&SEQUENCE_DELIMITER);
            }
            (Pixels::Native { .. }, Syntax::ExplicitLe) => head.extend_from_slice(&[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0]),
            (Pixels::Native { .. }, Syntax::ImplicitLe) => head.extend_from_slice(&[0xE0, 0x7F, 0x10, 0]),
            _ => return Err(DicomError::SyntaxUnfit { syntax }),
        }
        head.extend_from_slice(&length_field.to_le_bytes());
        Ok(DataSetStream::new(head, payload, length, tail))
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
        let length_field = u32::try_from(length + length % 2).map_err(|_| DicomError::Picture("too long for one element"))?;
        head.extend_from_slice(match syntax {
            Syntax::ExplicitLe => &[0x42, 0, 0x11, 0, b'O', b'B', 0, 0],
            Syntax::ImplicitLe => &[0x42, 0, 0x11, 0],
            Syntax::JpegBaseline | Syntax::Avc41 | Syntax::Avc42 | Syntax::HevcMain => {
                return Err(DicomError::SyntaxUnfit { syntax });
            }
        });
        head.extend_from_slice(&length_field.to_le_bytes());
        let mut tail = vec![0; usize::from(length % 2 == 1)];
        tail.extend(encode(&behind, syntax)?);
        Ok(DataSetStream::new(head, payload, length, tail))
    }
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
        if out.is_empty() {
            return Ok(0);
        }
        if self.head_at < self.head.len() {
            return Ok(copy(&self.head, &mut self.head_at, out));
        }
        if self.payload_left > 0 {
            return self.read_payload(out);
        }
        Ok(copy(&self.tail, &mut self.tail_at, out))
    }
}

impl DataSetStream<'_> {
    fn read_payload(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.payload_left).map_or(out.len(), |left| left.min(out.len()));
        let Some(room) = out.get_mut(..want) else { return Ok(0) };
        let read = self.payload.read(room)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the coded picture is shorter than its record says"));
        }
        self.payload_left -= read as u64;
        if self.payload_left == 0 {
            self.check_end()?;
        }
        Ok(read)
    }

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
