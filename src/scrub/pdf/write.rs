//! Writes the one revision that leaves: objects in the order of their numbers, a table of them, a
//! trailer that names the catalog and nothing else. No byte lies between.

use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::media::pdf::lexer::{Dict, Object, is_delimiter, is_space};
use crate::scrub::container::Piece;
use crate::scrub::policy::pdf::HEAD;

/// The data of a stream.
pub(super) enum Data {
    New(Vec<u8>),
    /// Parts of the source, and what stands between them.
    Pieces(Vec<Piece>),
}

impl Data {
    pub(super) fn length_bytes(&self) -> u64 {
        match self {
            Self::New(bytes) => bytes.len() as u64,
            Self::Pieces(pieces) => pieces.iter().map(Piece::length_bytes).fold(0, u64::saturating_add),
        }
    }
}

#[derive(Default)]
pub(super) struct Writer {
    pieces: Vec<Piece>,
    pending: Vec<u8>,
    /// Bytes of `pieces`.
    before: u64,
    /// Where each object begins.
    places: Vec<u64>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { pending: HEAD.to_vec(), ..Self::default() }
    }

    fn at(&self) -> u64 {
        self.before.saturating_add(self.pending.len() as u64)
    }

    /// The next object, whose number is one more than the last.
    pub(super) fn object(&mut self, value: &Object, data: Option<Data>) {
        self.places.push(self.at());
        let number = self.places.len();
        self.pending.extend(format!("{number} 0 obj\n").into_bytes());
        put(&mut self.pending, value);
        if let Some(data) = data {
            self.pending.extend(b"\nstream\n");
            match data {
                Data::New(bytes) => self.pending.extend(bytes),
                Data::Pieces(pieces) => pieces.into_iter().for_each(|piece| self.piece(piece)),
            }
            self.pending.extend(b"\nendstream");
        }
        self.pending.extend(b"\nendobj\n");
    }

    fn piece(&mut self, piece: Piece) {
        if let Piece::New(bytes) = piece {
            self.pending.extend(bytes);
            return;
        }
        self.flush();
        self.before = self.before.saturating_add(piece.length_bytes());
        self.pieces.push(piece);
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        self.before = self.before.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() {
            self.pieces.push(Piece::New(bytes));
        }
    }

    /// The table and the trailer. `root` is the catalog's number.
    pub(super) fn finish(mut self, root: u32) -> Vec<Piece> {
        let start = self.at();
        let size = self.places.len() + 1;
        self.pending.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").into_bytes());
        for place in &self.places {
            self.pending.extend(format!("{place:010} 00000 n \n").into_bytes());
        }
        let trailer = format!("trailer\n<</Root {root} 0 R/Size {size}>>\nstartxref\n{start}\n%%EOF\n");
        self.pending.extend(trailer.into_bytes());
        self.flush();
        self.pieces
    }
}

/// A value in the one form that is written.
pub(super) fn put(out: &mut Vec<u8>, value: &Object) {
    match value {
        Object::Null => out.extend(b"null"),
        Object::Bool(true) => out.extend(b"true"),
        Object::Bool(false) => out.extend(b"false"),
        Object::Integer(n) => out.extend(n.to_string().into_bytes()),
        Object::Real(text) => out.extend(text),
        Object::Text(text) => put_text(out, text),
        Object::Name(name) => put_name(out, name),
        Object::Reference(number) => out.extend(format!("{number} 0 R").into_bytes()),
        Object::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                put(out, item);
            }
            out.push(b']');
        }
        Object::Dict(dict) => put_dict(out, dict),
    }
}

fn put_dict(out: &mut Vec<u8>, dict: &Dict) {
    out.extend(b"<<");
    for (key, value) in dict {
        put_name(out, key);
        out.push(b' ');
        put(out, value);
    }
    out.extend(b">>");
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'(');
    for byte in text {
        match byte {
            b'(' | b')' | b'\\' => out.extend([b'\\', *byte]),
            b'\r' => out.extend(b"\\r"),
            b'\n' => out.extend(b"\\n"),
            _ => out.push(*byte),
        }
    }
    out.push(b')');
}

fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'/');
    for byte in name {
        if byte.is_ascii_graphic() && !is_delimiter(*byte) && !is_space(*byte) && *byte != b'#' {
            out.push(*byte);
        } else {
            out.extend(format!("#{byte:02X}").into_bytes());
        }
    }
}

pub(super) fn name(text: &[u8]) -> Object {
    Object::Name(text.to_vec())
}

pub(super) fn integer(number: u64) -> Object {
    Object::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::default());
    // A vector takes everything.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// As in the source.
pub(super) fn kept(range: Range<u64>) -> Data {
    Data::Pieces(vec![Piece::Kept(range)])
}
