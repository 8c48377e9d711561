//! PDF: its cross-references, its objects one at a time, its streams.
//!
//! A file is never held as a whole: what is asked for is read where the cross-references say.
//! Everything has a limit, and each byte is paid for: where references overlap, so that a small
//! file would cost the work of a large one, the budget ends it.
//!
//! Source: ISO 32000-1:2008 §7.3 (objects), §7.5 (structure), §7.6 (encryption).

mod crypt;
pub mod filter;
pub mod lexer;
mod xref;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::Fault;
use super::source::Source;
use crypt::Crypt;
use filter::{Filter, TooMuch};
use lexer::{Dict, Lexer, Object, Token, is_space};

/// Objects of one file. A report of a thousand pages has some ten thousand.
pub const OBJECTS_MAX: usize = 200_000;
/// One object, less the data of a stream: an index of all pages of a large file has a few hundred
/// KiB. In memory it takes up to sixteen times as much.
const OBJECT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a stream that has to be unpacked, as it lies in the file.
const PACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that all object streams together unpack into; they stay in memory.
const OBJECT_STREAMS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that are unpacked for one file, all together: a second or two of work.
const UNPACKED_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes that are read again and again in a small file: resources that hundreds of pages share.
const PARSED_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// What looking at an object costs at least, in bytes: a ring of small ones ends soon.
const OBJECT_COST_BYTES: u64 = 256;
/// Read at a time; most objects are shorter.
const WINDOW_BYTES: usize = 16 * 1024;
/// References that lead to a reference.
const HOPS_MAX: usize = 16;
/// Filters of one stream. Writers use one or two.
const FILTERS_MAX: usize = 8;

/// Why a file cannot be read.
#[derive(Debug)]
pub enum PdfError {
    Read(io::Error),
    Fault(Fault),
    /// Larger, as the word tells, than is worked on.
    TooMuch(&'static str),
    /// It opens with a password alone, or in a way that is not known here.
    Locked,
}

impl From<io::Error> for PdfError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Fault> for PdfError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TooMuch> for PdfError {
    fn from(_: TooMuch) -> Self {
        Self::TooMuch("a stream that unpacks into too many bytes")
    }
}

type Result<T> = std::result::Result<T, PdfError>;

/// Where an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    At(u64),
    /// In an object stream, at this position of it.
    In(u32, usize),
    Free,
}

/// An object as it was found.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub number: u32,
    pub value: Object,
    /// The data of a stream, as they lie in the file.
    pub data: Option<Range<u64>>,
}

/// Data of a stream, by what has to be done to read them.
pub struct Coding {
    pub filters: Vec<(Filter, Dict)>,
    /// As in the file, so that they may be copied from it.
    pub is_plain: bool,
}

/// One file. Objects are read when they are asked for.
pub struct Document<'s> {
    source: &'s dyn Source,
    places: BTreeMap<u32, Place>,
    pub trailer: Dict,
    /// There are older revisions beside the one that is shown.
    pub has_history: bool,
    /// Where the structure ends; what follows is a tail.
    pub end: u64,
    /// That end was found.
    has_end: bool,
    object_streams: BTreeMap<u32, Rc<ObjectStream>>,
    object_stream_bytes: usize,
    crypt: Option<Crypt>,
    window: (u64, Vec<u8>),
    parse_budget: u64,
    unpack_budget: u64,
}

struct ObjectStream {
    bytes: Vec<u8>,
    /// Number and first byte of each.
    index: Vec<(u32, usize)>,
}

impl<'s> Document<'s> {
    /// Reads the cross-references and the trailer.
    ///
    /// # Errors
    /// [`PdfError`].
    pub fn open(source: &'s dyn Source) -> Result<Self> {
        let mut document = Self::unread(source);
        xref::read(&mut document)?;
        document.unlock()
    }

    /// Finds the objects without cross-references, for a file whose own lead astray.
    ///
    /// # Errors
    /// [`PdfError`].
    pub fn open_without_references(source: &'s dyn Source) -> Result<Self> {
        let mut document = Self::unread(source);
        xref::find(&mut document)?;
        document.unlock()
    }

    fn unread(source: &'s dyn Source) -> Self {
        Self {
            source,
            places: BTreeMap::new(),
            trailer: Dict::new(),
            has_history: false,
            end: source.length_bytes(),
            has_end: false,
            object_streams: BTreeMap::new(),
            object_stream_bytes: 0,
            crypt: None,
            window: (0, Vec::new()),
            parse_budget: source.length_bytes().saturating_mul(8).saturating_add(PARSED_BYTES_MIN),
            unpack_budget: UNPACKED_BYTES_MAX,
        }
    }

    /// Where it is encrypted: opens it, if anybody can.
    fn unlock(mut self) -> Result<Self> {
        let document = &mut self;
        if let Some(encrypt) = document.trailer.get(b"Encrypt".as_slice()).cloned() {
            let encrypt = document.follow(&encrypt)?.value;
            let dict = encrypt.dict().ok_or(PdfError::Locked)?;
            let mut known = Dict::new();
            for (key, value) in dict {
                known.insert(key.clone(), document.follow(value)?.value);
            }
            let id = document.trailer.get(b"ID".as_slice()).cloned().unwrap_or(Object::Null);
            let id = document.follow(&id)?.value;
            let first = match id.array().and_then(<[Object]>::first) {
                Some(Object::Text(first)) => first.clone(),
                _ => Vec::new(),
            };
            document.crypt = Some(Crypt::open(&known, &first).ok_or(PdfError::Locked)?);
        }
        Ok(self)
    }

    /// The numbers of all objects that the cross-references name.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        self.places.iter().filter(|(_, place)| **place != Place::Free).map(|(number, _)| *number).collect()
    }

    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.source.length_bytes()
    }

    /// # Errors
    /// Where the file cannot be read there.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        Ok(self.source.read_at(at, into)?)
    }

    /// The object of this number; null where there is none (§7.3.10).
    ///
    /// # Errors
    /// Where it is damaged, or the file costs too much work.
    pub fn load(&mut self, number: u32) -> Result<Loaded> {
        let nothing = Loaded { number, value: Object::Null, data: None };
        match self.places.get(&number) {
            None | Some(Place::Free) => Ok(nothing),
            Some(Place::At(at)) => {
                let at = *at;
                let (found, mut value, behind) = self.object_at(at)?;
                if found != number {
                    return Err(Fault("has cross-references that lead elsewhere").into());
                }
                let data = self.data_behind(&value, behind)?;
                if let Some(crypt) = &self.crypt {
                    crypt.decrypt_texts(number, &mut value);
                }
                Ok(Loaded { number, value, data })
            }
            Some(Place::In(stream, index)) => {
                let (stream, index) = (*stream, *index);
                let objects = self.object_stream(stream)?;
                let at = objects
                    .index
                    .get(index)
                    .filter(|(n, _)| *n == number)
                    .or_else(|| objects.index.iter().find(|(n, _)| *n == number));
                let Some((_, start)) = at else { return Ok(nothing) };
                let mut lexer = Lexer::new(objects.bytes.get(*start..).unwrap_or_default());
                let value = lexer.object(true)?;
                let cost = lexer.at as u64;
                self.pay(cost)?;
                Ok(Loaded { number, value, data: None })
            }
        }
    }

    /// What `object` is, or leads to.
    ///
    /// # Errors
    /// As [`Document::load`].
    pub fn follow(&mut self, object: &Object) -> Result<Loaded> {
        let mut now = Loaded { number: 0, value: object.clone(), data: None };
        for _ in 0..HOPS_MAX {
            let Object::Reference(number) = now.value else { return Ok(now) };
            now = self.load(number)?;
        }
        Err(Fault("has references that lead in a ring").into())
    }

    fn pay(&mut self, bytes: u64) -> Result<()> {
        let left = self.parse_budget.checked_sub(bytes.max(OBJECT_COST_BYTES));
        self.parse_budget = left.ok_or(PdfError::TooMuch("objects that lie in each other"))?;
        Ok(())
    }

    /// Bytes from `at`, at least `wanted` of them unless the file ends before.
    fn window(&mut self, at: u64, wanted: usize) -> Result<&[u8]> {
        let (start, held) = (&self.window.0, self.window.1.len() as u64);
        let reaches = at >= *start && at.saturating_add(wanted as u64) <= start.saturating_add(held);
        if !reaches {
            let left = usize::try_from(self.source.length_bytes().saturating_sub(at)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; left.min(wanted.max(4 * WINDOW_BYTES))];
            self.source.read_at(at.min(self.source.length_bytes()), &mut bytes)?;
            self.window = (at, bytes);
        }
        let from = usize::try_from(at - self.window.0).unwrap_or(usize::MAX);
        let bytes = self.window.1.get(from..).unwrap_or_default();
        Ok(bytes.get(..wanted).unwrap_or(bytes))
    }

    /// Runs `read` over the bytes from `at`, over more of them as long as it runs into their end.
    fn lex<T>(&mut self, at: u64, read: impl Fn(&mut Lexer<'_>) -> std::result::Result<T, Fault>) -> Result<(T, u64)> {
        let length = self.source.length_bytes();
        let mut wanted = WINDOW_BYTES;
        loop {
            let bytes = self.window(at, wanted)?;
            let is_all = at.saturating_add(bytes.len() as u64) >= length;
            let mut lexer = Lexer::new(bytes);
            let result = read(&mut lexer);
            let (used, hit_end) = (lexer.at as u64, lexer.hit_end);
            if hit_end && !is_all {
                self.pay(used)?;
                wanted = wanted.saturating_mul(4);
                if wanted > OBJECT_BYTES_MAX {
                    return Err(PdfError::TooMuch("an object of many megabytes"));
                }
                continue;
            }
            self.pay(used)?;
            return Ok((result?, at.saturating_add(used)));
        }
    }

    /// `n g obj` and the value; where what follows begins, and whether that is `stream`.
    fn object_at(&mut self, at: u64) -> Result<(u32, Object, Option<u64>)> {
        let ((number, value, has_data), behind) = self.lex(at, |lexer| {
            let (Some(Token::Integer(number)), Some(Token::Integer(_)), Some(Token::Word(word))) =
                (lexer.token()?, lexer.token()?, lexer.token()?)
            else {
                return Err(Fault("has cross-references that lead to no object"));
            };
            if word != b"obj" {
                return Err(Fault("has cross-references that lead to no object"));
            }
            let number = u32::try_from(number).map_err(|_| Fault("has an object without a number"))?;
            let value = match lexer.token()?.ok_or(Fault("ends in the middle of an object"))? {
                Token::Word(word) if word == b"endobj" => return Ok((number, Object::Null, false)),
                token => lexer.object_from(token, true, 0)?,
            };
            let at = lexer.at;
            let has_data =
                matches!(value, Object::Dict(_)) && matches!(lexer.token(), Ok(Some(Token::Word(word))) if word == b"stream");
            if has_data {
                // CR LF, LF, or, by sloppy writers, CR alone.
                match lexer.peek() {
                    Some(b'\r') => lexer.at += 1 + usize::from(lexer.bytes.get(lexer.at + 1) == Some(&b'\n')),
                    Some(b'\n') => lexer.at += 1,
                    _ => {}
                }
            } else {
                lexer.at = at;
            }
            Ok((number, value, has_data))
        })?;
        Ok((number, value, has_data.then_some(behind)))
    }

    /// The data that begin at `start`: as long as the dictionary says where that is true, else up
    /// to `endstream`.
    fn data_behind(&mut self, value: &Object, start: Option<u64>) -> Result<Option<Range<u64>>> {
        let (Some(start), Some(dict)) = (start, value.dict()) else { return Ok(None) };
        let told = match dict.get(b"Length".as_slice()) {
            Some(Object::Reference(number)) => self.plain_number(*number)?,
            Some(object) => object.integer(),
            None => None,
        };
        let told = told.and_then(|n| u64::try_from(n).ok()).and_then(|n| start.checked_add(n));
        if let Some(end) = told.filter(|end| *end <= self.source.length_bytes())
            && self.ends_stream(end)?
        {
            return Ok(Some(start..end));
        }
        let end = self.find_end_of_stream(start)?;
        Ok(Some(start..end))
    }

    /// The number that an object is; it may not itself be in need of one.
    fn plain_number(&mut self, number: u32) -> Result<Option<i64>> {
        match self.places.get(&number).copied() {
            Some(Place::At(at)) => match self.object_at(at) {
                Ok((found, value, None)) if found == number => Ok(value.integer()),
                Err(PdfError::Fault(_)) | Ok(_) => Ok(None),
                Err(error) => Err(error),
            },
            Some(Place::In(stream, _)) if self.object_streams.contains_key(&stream) => Ok(self.load(number)?.value.integer()),
            Some(Place::In(stream, _)) if self.is_beside(stream) => Ok(self.load(number)?.value.integer()),
            _ => Ok(None),
        }
    }

    /// An object stream whose own length needs no other one: so that reading ends.
    fn is_beside(&mut self, stream: u32) -> bool {
        let Some(Place::At(at)) = self.places.get(&stream).copied() else { return false };
        let found = self.object_at(at);
        found.is_ok_and(|(_, value, _)| {
            value.dict().is_some_and(|d| matches!(d.get(b"Length".as_slice()), Some(Object::Integer(_))))
        })
    }

    fn ends_stream(&mut self, at: u64) -> Result<bool> {
        let bytes = self.window(at, 32)?;
        let spaces = bytes.iter().take_while(|b| is_space(**b)).count();
        let found = bytes.get(spaces..).is_some_and(|rest| rest.starts_with(b"endstream") || rest.starts_with(b"endobj"));
        self.pay(32)?;
        Ok(found)
    }

    fn find_end_of_stream(&mut self, start: u64) -> Result<u64> {
        let mut at = start;
        let length = self.source.length_bytes();
        while at < length {
            let bytes = self.window(at, WINDOW_BYTES)?;
            let read = bytes.len();
            if let Some(found) = memchr::memmem::find(bytes, b"endstream") {
                let before = bytes.get(..found).unwrap_or_default();
                // The line end before it is no data.
                let trim =
                    if before.ends_with(b"\r\n") { 2 } else { usize::from(before.ends_with(b"\n") || before.ends_with(b"\r")) };
                self.pay(found as u64)?;
                return Ok(at + (found - trim) as u64);
            }
            let step = if read < WINDOW_BYTES { read } else { read - 16 };
            self.pay(step as u64)?;
            at += step as u64;
        }
        Err(Fault("has a stream that does not end").into())
    }

    fn object_stream(&mut self, number: u32) -> Result<Rc<ObjectStream>> {
        if let Some(known) = self.object_streams.get(&number) {
            return Ok(Rc::clone(known));
        }
        let Some(Place::At(at)) = self.places.get(&number).copied() else {
            return Err(Fault("has objects in a stream that is none").into());
        };
        let (found, value, behind) = self.object_at(at)?;
        let data = self.data_behind(&value, behind)?;
        let loaded = Loaded { number, value, data };
        let dict = loaded.value.dict().ok_or(Fault("has objects in a stream that is none"))?;
        if found != number || dict.get(b"Type".as_slice()).and_then(Object::name) != Some(b"ObjStm") {
            return Err(Fault("has objects in a stream that is none").into());
        }
        let (count, first) = (dict.get(b"N".as_slice()), dict.get(b"First".as_slice()));
        let number_of = |o: Option<&Object>| o.and_then(Object::integer).and_then(|n| usize::try_from(n).ok());
        let (Some(count), Some(first)) = (number_of(count), number_of(first)) else {
            return Err(Fault("has an object stream without an index").into());
        };
        let bytes = self.unpack(&loaded, OBJECT_STREAMS_BYTES_MAX.saturating_sub(self.object_stream_bytes))?;
        self.object_stream_bytes = self.object_stream_bytes.saturating_add(bytes.len());
        let mut index = Vec::new();
        let mut lexer = Lexer::new(&bytes);
        while index.len() < count.min(OBJECTS_MAX) {
            let (Ok(Some(Token::Integer(number))), Ok(Some(Token::Integer(offset)))) = (lexer.token(), lexer.token()) else {
                break;
            };
            let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(first));
            if let (Ok(number), Some(start)) = (u32::try_from(number), start) {
                index.push((number, start));
            }
        }
        let stream = Rc::new(ObjectStream { bytes, index });
        self.object_streams.insert(number, Rc::clone(&stream));
        Ok(stream)
    }

    /// How the data of a stream are coded.
    ///
    /// # Errors
    /// Where a filter is not known.
    pub fn coding(&mut self, dict: &Dict) -> Result<Coding> {
        let one_or_more = |document: &mut Self, keys: [&[u8]; 2]| -> Result<Vec<Object>> {
            let value = keys.iter().find_map(|key| dict.get(*key)).cloned().unwrap_or(Object::Null);
            let value = document.follow(&value)?.value;
            let items = match value {
                Object::Array(items) => items,
                Object::Null => Vec::new(),
                other => vec![other],
            };
            if items.len() > FILTERS_MAX {
                return Err(PdfError::TooMuch("a stream of many filters"));
            }
            items.iter().map(|item| Ok(document.follow(item)?.value)).collect()
        };
        let names = one_or_more(self, [b"Filter", b"F"])?;
        let parameters = one_or_more(self, [b"DecodeParms", b"DP"])?;
        let mut filters = Vec::new();
        let mut is_plain = self.crypt.is_none();
        for (index, name) in names.iter().enumerate() {
            let name = name.name().ok_or(Fault("has a filter without a name"))?;
            let parameters = parameters.get(index).and_then(Object::dict).cloned().unwrap_or_default();
            if name == b"Crypt" {
                is_plain = false;
                continue;
            }
            let filter = Filter::of(name).ok_or(Fault("has a stream packed in a way that does not exist"))?;
            let mut known = Dict::new();
            for (key, value) in parameters {
                known.insert(key, if filter == Filter::Jbig2 { value } else { self.follow(&value)?.value });
            }
            filters.push((filter, known));
        }
        Ok(Coding { filters, is_plain })
    }

    /// The data of a stream as they lie in the file, decrypted.
    ///
    /// # Errors
    /// Where they are too many, or cannot be read.
    pub fn packed(&mut self, loaded: &Loaded) -> Result<Vec<u8>> {
        let Some(range) = &loaded.data else { return Ok(Vec::new()) };
        let length = range.end.saturating_sub(range.start);
        if length > PACKED_BYTES_MAX {
            return Err(PdfError::TooMuch("a packed stream of many megabytes"));
        }
        self.pay_unpacked(length)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.read_at(range.start, &mut bytes)?;
        match (&self.crypt, loaded.value.dict()) {
            (Some(crypt), Some(dict)) => Ok(crypt.decrypt_data(loaded.number, dict, bytes)),
            _ => Ok(bytes),
        }
    }

    /// Pays for bytes that are unpacked.
    ///
    /// # Errors
    /// Where the file has no more.
    pub fn pay_unpacked(&mut self, bytes: u64) -> Result<()> {
        let left = self.unpack_budget.checked_sub(bytes.max(64));
        self.unpack_budget = left.ok_or(PdfError::TooMuch("streams that unpack into too many bytes"))?;
        Ok(())
    }

    /// The data of a stream, unpacked as far as the filters are no coding of a picture.
    ///
    /// # Errors
    /// Where more than `most` bytes come out.
    pub fn unpack(&mut self, loaded: &Loaded, most: usize) -> Result<Vec<u8>> {
        let dict = loaded.value.dict().cloned().unwrap_or_default();
        let coding = self.coding(&dict)?;
        let mut bytes = self.packed(loaded)?;
        for (filter, parameters) in coding.filters.iter().take_while(|(f, _)| !f.is_picture()) {
            bytes = filter::decode(*filter, parameters, &bytes, most)?;
            self.pay_unpacked(bytes.len() as u64)?;
        }
        Ok(bytes)
    }
}
