//! Tokens and objects (ISO 32000-1 §7.2, §7.3): of a file, of a content stream, of a character map.

use std::collections::BTreeMap;

use crate::media::Fault;

/// Nesting of arrays and dictionaries. Viewers stop at about a hundred; writers need some ten.
pub const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Integer(i64),
    /// As written, but for what no reader needs.
    Real(Vec<u8>),
    /// A string, decoded.
    Text(Vec<u8>),
    /// Without its solidus, decoded.
    Name(Vec<u8>),
    ArrayOpen,
    ArrayClose,
    DictOpen,
    DictClose,
    BraceOpen,
    BraceClose,
    Word(Vec<u8>),
}

pub type Dict = BTreeMap<Vec<u8>, Object>;

/// A value, without the data that may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Null,
    Bool(bool),
    Integer(i64),
    Real(Vec<u8>),
    Text(Vec<u8>),
    Name(Vec<u8>),
    Array(Vec<Object>),
    Dict(Dict),
    /// By number alone: one file has no two objects of one number that are both reached.
    Reference(u32),
}

impl Object {
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }

    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            // Some writers give whole numbers a point.
            Self::Real(text) => std::str::from_utf8(text).ok()?.split('.').next()?.parse().ok(),
            _ => None,
        }
    }

    #[must_use]
    pub fn dict(&self) -> Option<&Dict> {
        if let Self::Dict(dict) = self { Some(dict) } else { None }
    }

    #[must_use]
    pub fn array(&self) -> Option<&[Object]> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }
}

#[must_use]
pub fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | 9 | 10 | 12 | 13 | 32)
}

#[must_use]
pub fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !is_delimiter(byte)
}

/// Reads tokens from a slice. `hit_end` tells that the last one may go on behind it.
#[derive(Debug)]
pub struct Lexer<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    pub hit_end: bool,
    /// A comment was passed over.
    pub saw_comment: bool,
}

impl<'a> Lexer<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, hit_end: false, saw_comment: false }
    }

    #[must_use]
    pub fn peek(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.hit_end |= byte.is_none();
        byte
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take_while(&mut self, test: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| !test(*b)).unwrap_or_else(|| {
            self.hit_end = true;
            rest.len()
        });
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// White space and comments.
    pub fn skip(&mut self) {
        loop {
            self.take_while(is_space);
            if self.peek() != Some(b'%') {
                return;
            }
            self.saw_comment = true;
            self.take_while(|b| b != b'\n' && b != b'\r');
        }
    }

    /// # Errors
    /// Where a string does not end, or a closing sign stands alone.
    pub fn token(&mut self) -> Result<Option<Token>, Fault> {
        self.skip();
        let Some(byte) = self.bump() else { return Ok(None) };
        Ok(Some(match byte {
            b'/' => Token::Name(decode_name(self.take_while(is_regular))),
            b'(' => Token::Text(self.literal()?),
            b'[' => Token::ArrayOpen,
            b']' => Token::ArrayClose,
            b'{' => Token::BraceOpen,
            b'}' => Token::BraceClose,
            b'<' if self.peek() == Some(b'<') => {
                self.at += 1;
                Token::DictOpen
            }
            b'<' => Token::Text(self.hex()?),
            b'>' if self.peek() == Some(b'>') => {
                self.at += 1;
                Token::DictClose
            }
            b'>' | b')' => return Err(Fault("has a bracket that closes nothing")),
            _ => {
                self.at -= 1;
                let word = self.take_while(is_regular);
                number(word).unwrap_or_else(|| Token::Word(word.to_vec()))
            }
        }))
    }

    /// A string in parentheses, behind the first (§7.3.4.2).
    fn literal(&mut self) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        let mut depth = 0usize;
        while let Some(byte) = self.bump() {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 0 => return Ok(text),
                b')' => depth -= 1,
                b'\\' => {
                    text.extend(self.escape());
                    continue;
                }
                b'\r' => {
                    if self.peek() == Some(b'\n') {
                        self.at += 1;
                    }
                    text.push(b'\n');
                    continue;
                }
                _ => {}
            }
            text.push(byte);
        }
        Err(Fault("has a string that does not end"))
    }

    fn escape(&mut self) -> Option<u8> {
        match self.bump()? {
            b'n' => Some(b'\n'),
            b'r' => Some(b'\r'),
            b't' => Some(b'\t'),
            b'b' => Some(8),
            b'f' => Some(12),
            b'\n' => None,
            b'\r' => {
                if self.peek() == Some(b'\n') {
                    self.at += 1;
                }
                None
            }
            first @ b'0'..=b'7' => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else { break };
                    self.at += 1;
                    value = value * 8 + u32::from(digit - b'0');
                }
                // High-order overflow is ignored.
                u8::try_from(value & 0xFF).ok()
            }
            other => Some(other),
        }
    }

    fn hex(&mut self) -> Result<Vec<u8>, Fault> {
        let mut digits = Vec::new();
        while let Some(byte) = self.bump() {
            match byte {
                b'>' => return Ok(pairs(&digits)),
                _ => digits.extend(char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())),
            }
        }
        Err(Fault("has a string that does not end"))
    }

    /// One object; with `references`, `7 0 R` is one.
    ///
    /// # Errors
    /// Where none stands here, or it is nested too deep.
    pub fn object(&mut self, references: bool) -> Result<Object, Fault> {
        let token = self.token()?.ok_or(Fault("ends in the middle of an object"))?;
        self.object_from(token, references, 0)
    }

    /// The object that begins with `token`.
    ///
    /// # Errors
    /// As [`Lexer::object`].
    pub fn object_from(&mut self, token: Token, references: bool, depth: usize) -> Result<Object, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault("has objects nested too deep"));
        }
        Ok(match token {
            Token::Integer(n) => self.reference(n).filter(|_| references).map_or(Object::Integer(n), Object::Reference),
            Token::Real(text) => Object::Real(text),
            Token::Text(text) => Object::Text(text),
            Token::Name(name) => Object::Name(name),
            Token::Word(word) => match word.as_slice() {
                b"true" => Object::Bool(true),
                b"false" => Object::Bool(false),
                b"null" => Object::Null,
                _ => return Err(Fault("has a word where a value belongs")),
            },
            Token::ArrayOpen => {
                let mut items = Vec::new();
                loop {
                    match self.token()?.ok_or(Fault("has an array that does not end"))? {
                        Token::ArrayClose => break Object::Array(items),
                        token => items.push(self.object_from(token, references, depth + 1)?),
                    }
                }
            }
            Token::DictOpen => Object::Dict(self.dict(references, depth)?),
            Token::ArrayClose | Token::DictClose | Token::BraceOpen | Token::BraceClose => {
                return Err(Fault("has a bracket that closes nothing"));
            }
        })
    }

    fn dict(&mut self, references: bool, depth: usize) -> Result<Dict, Fault> {
        let mut dict = Dict::new();
        loop {
            match self.token()?.ok_or(Fault("has a dictionary that does not end"))? {
                Token::DictClose => return Ok(dict),
                Token::Name(key) => {
                    let token = self.token()?.ok_or(Fault("has a dictionary that does not end"))?;
                    if token == Token::DictClose {
                        return Ok(dict);
                    }
                    dict.insert(key, self.object_from(token, references, depth + 1)?);
                }
                _ => return Err(Fault("has a dictionary without its keys")),
            }
        }
    }

    /// The rest of `n 0 R`; nothing is consumed where it is none.
    fn reference(&mut self, number: i64) -> Option<u32> {
        let number = u32::try_from(number).ok()?;
        let (at, saw_comment) = (self.at, self.saw_comment);
        let found = matches!(self.token(), Ok(Some(Token::Integer(0..=65_535))))
            && matches!(self.token(), Ok(Some(Token::Word(word))) if word == b"R");
        if !found {
            (self.at, self.saw_comment) = (at, saw_comment);
        }
        found.then_some(number)
    }
}

fn pairs(digits: &[u8]) -> Vec<u8> {
    digits.chunks(2).map(|pair| pair.first().map_or(0, |d| d << 4) | pair.get(1).copied().unwrap_or(0)).collect()
}

/// `#41` is a character by its number (§7.3.5).
fn decode_name(raw: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, later)) = rest.split_first() {
        rest = later;
        let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (byte, hex(later.first()), hex(later.get(1))) {
            (b'#', Some(high), Some(low)) => {
                name.push(high << 4 | low);
                rest = later.get(2..).unwrap_or_default();
            }
            _ => name.push(*byte),
        }
    }
    name
}

/// A number as PDF writes it, and as sloppy writers do: `+1`, `.5`, `4.`, `--3`.
fn number(word: &[u8]) -> Option<Token> {
    let signs = word.iter().take_while(|b| matches!(b, b'+' | b'-')).count();
    let is_negative = word.get(..signs)?.contains(&b'-');
    // A sign inside means nothing to viewers.
    let body: Vec<u8> = word.get(signs..)?.iter().copied().filter(|b| *b != b'-').collect();
    if word.is_empty() || !body.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
        return None;
    }
    let sign = if is_negative { "-" } else { "" };
    let digits = std::str::from_utf8(&body).ok()?;
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(w, p)| (w, Some(p)));
    if part.is_some_and(|p| p.contains('.')) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    match part.map(|p| p.trim_end_matches('0')) {
        None if body.is_empty() => None,
        None => {
            // What no reader can count is cut to what it can.
            let value = whole.parse::<i64>().unwrap_or(if whole.is_empty() { 0 } else { i64::from(i32::MAX) });
            Some(Token::Integer(if is_negative { -value } else { value }))
        }
        Some("") if whole.is_empty() => Some(Token::Integer(0)),
        Some("") => Some(Token::Real(format!("{sign}{whole}.0").into_bytes())),
        Some(part) => Some(Token::Real(format!("{sign}{}.{part}", if whole.is_empty() { "0" } else { whole }).into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_read_as_written_and_as_sloppy_writers_write_them() {
        let read = |text: &[u8]| Lexer::new(text).object(true);
        let name = |n: &[u8]| Object::Name(n.to_vec());
        assert_eq!(read(b"/A#20B"), Ok(name(b"A B")));
        assert_eq!(read(b"12 0 R"), Ok(Object::Reference(12)));
        assert_eq!(read(b"[1 0 7 0 R]"), Ok(Object::Array(vec![Object::Integer(1), Object::Integer(0), Object::Reference(7)])));
        assert_eq!(read(b"(a\\(b(c)\\051\\\r\nd)"), Ok(Object::Text(b"a(b(c))d".to_vec())));
        assert_eq!(read(b"<4 1 4>"), Ok(Object::Text(b"A@".to_vec())));
        assert_eq!(read(b"-.50"), Ok(Object::Real(b"-0.5".to_vec())));
        assert_eq!(read(b"4."), Ok(Object::Real(b"4.0".to_vec())));
        assert_eq!(read(b"<</A 1/B>>"), Ok(Object::Dict([(b"A".to_vec(), Object::Integer(1))].into())));
        for bad in [&b"("[..], b"<<", b"[", b"]", b"<</A", b"zyx", b""] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&b"[".repeat(100_000)).is_err());
    }
}
