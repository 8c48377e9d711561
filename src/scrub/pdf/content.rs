//! What is drawn (ISO 32000-1 §7.8.2): operators that exist, each with the operands that it takes,
//! and nothing else. Comments go, so do operators nobody knows, what stands before an operator in
//! vain, and what marks content without changing it.

use std::collections::{BTreeMap, BTreeSet};

use super::write::{name, put};
use crate::media::pdf::lexer::{Dict, Lexer, Object, Token, is_space};
use crate::scrub::policy::pdf::{COLOURS_MAX, INTENTS, MAP_END, MAP_HEAD, MAP_PARTS, category, inline_key, operands};

/// Operands that are held; an operator takes the last ones.
const OPERANDS_MAX: usize = 128;
/// What follows `EI` is looked at that far, to tell it from data that happen to look like it.
const BEHIND_IMAGE: usize = 16;

/// What the names in a content lead to: category and name.
pub(super) type Used = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// A picture that stands among the operators.
pub(super) struct Inline {
    /// With the short keys.
    pub keys: Dict,
    pub data: Vec<u8>,
}

/// An operator's worth of output.
#[derive(Default)]
pub(super) struct Rewritten {
    pub bytes: Vec<u8>,
    pub used: Used,
    pub lost_comment: bool,
    /// Operators or operands that mean nothing.
    pub lost_other: bool,
    pub lost_mark: bool,
}

/// Writes a content anew. `image` makes of an inline picture what stays of it, with a filter that
/// needs no search for its end.
pub(super) fn rewrite<E>(source: &[u8], image: &mut dyn FnMut(Inline) -> Result<Option<Inline>, E>) -> Result<Rewritten, E> {
    let mut lexer = Lexer::new(source);
    let mut made = Rewritten::default();
    let mut stack: Vec<Object> = Vec::new();
    // Where no picture ends from here on, none ends further on: each byte is looked through once.
    let mut may_end = true;
    loop {
        let token = match lexer.token() {
            Ok(Some(token)) => token,
            Ok(None) => break,
            // As viewers do: what cannot be read is passed over.
            Err(_) => {
                made.lost_other = true;
                continue;
            }
        };
        match token {
            Token::Word(word) if word == b"BI" => {
                made.lost_other |= !stack.is_empty();
                stack.clear();
                match inline(&mut lexer, &mut may_end).map(&mut *image).transpose()?.flatten() {
                    Some(kept) => put_inline(&mut made, &kept),
                    None => made.lost_other = true,
                }
            }
            Token::Word(word) => operator(&mut made, &word, &mut stack),
            token => match lexer.object_from(token, false, 0) {
                Ok(value) => stack.push(value),
                Err(_) => made.lost_other = true,
            },
        }
        if stack.len() > OPERANDS_MAX {
            made.lost_other = true;
            stack.drain(..OPERANDS_MAX / 2);
        }
    }
    made.lost_other |= !stack.is_empty();
    made.lost_comment = lexer.saw_comment;
    Ok(made)
}

fn operator(made: &mut Rewritten, word: &[u8], stack: &mut Vec<Object>) {
    let found = std::mem::take(stack);
    match word {
        b"MP" | b"DP" => made.lost_mark = true,
        b"BMC" | b"BDC" => mark(made, word, &found),
        b"true" | b"false" | b"null" => made.lost_other = true,
        _ => {
            let Some(wanted) = operands(word).and_then(|signature| fitting(signature, &found)) else {
                made.lost_other = true;
                return;
            };
            made.lost_other |= wanted.len() < found.len();
            if let (Some(category), Some(Object::Name(name))) =
                (category(word), wanted.iter().find(|o| matches!(o, Object::Name(_))))
            {
                made.used.entry(category).or_default().insert(name.clone());
            }
            put_operator(&mut made.bytes, wanted, word);
        }
    }
}

fn put_operator(out: &mut Vec<u8>, operands: &[Object], word: &[u8]) {
    for operand in operands {
        put(out, operand);
        out.push(b' ');
    }
    out.extend(word);
    out.push(b'\n');
}

/// The last operands, where they are what the operator takes.
fn fitting<'o>(signature: &str, found: &'o [Object]) -> Option<&'o [Object]> {
    if signature == "c" {
        let numbers = match found.split_last() {
            Some((Object::Name(_), rest)) => rest,
            _ => found,
        };
        let is_fit = found.len() <= COLOURS_MAX + 1 && numbers.iter().all(is_number);
        return is_fit.then_some(found);
    }
    let wanted = found.get(found.len().checked_sub(signature.len())?..)?;
    let is_fit = signature.chars().zip(wanted).all(|(kind, operand)| match kind {
        'n' => is_number(operand),
        's' => matches!(operand, Object::Text(_)),
        '/' => matches!(operand, Object::Name(_)),
        'i' => operand.name().is_some_and(|name| INTENTS.contains(&name)),
        'a' => operand.array().is_some_and(|items| items.iter().all(|i| is_number(i) || matches!(i, Object::Text(_)))),
        _ => false,
    });
    is_fit.then_some(wanted)
}

fn is_number(object: &Object) -> bool {
    matches!(object, Object::Integer(_) | Object::Real(_))
}

/// Marked content: layers stay, and the text that stands for what is drawn; no other property.
fn mark(made: &mut Rewritten, word: &[u8], found: &[Object]) {
    let is_layer = found.iter().rev().nth(1).and_then(Object::name) == Some(b"OC");
    let tag = if is_layer { b"OC".as_slice() } else { b"Span" };
    match found.last() {
        Some(Object::Name(list)) if word == b"BDC" => {
            made.used.entry("Properties").or_default().insert(list.clone());
            put_operator(&mut made.bytes, &[name(tag), name(list)], b"BDC");
        }
        Some(Object::Dict(dict)) if word == b"BDC" => {
            if let Some(text @ Object::Text(_)) = dict.get(b"ActualText".as_slice()) {
                made.lost_mark |= dict.len() > 1;
                let kept = Object::Dict([(b"ActualText".to_vec(), text.clone())].into());
                put_operator(&mut made.bytes, &[name(b"Span"), kept], b"BDC");
            } else {
                made.lost_mark = true;
                put_operator(&mut made.bytes, &[name(b"Span")], b"BMC");
            }
        }
        _ => put_operator(&mut made.bytes, &[name(b"Span")], b"BMC"),
    }
}

/// The keys and the data behind `BI`, up to behind `EI`. `None`: there is no picture.
fn inline(lexer: &mut Lexer<'_>, may_end: &mut bool) -> Option<Inline> {
    let mut keys = Dict::new();
    loop {
        match lexer.token().ok()?? {
            Token::Word(word) if word == b"ID" => break,
            Token::Name(key) => {
                let token = lexer.token().ok()??;
                let value = lexer.object_from(token, false, 0).ok()?;
                if let Some(short) = inline_key(&key) {
                    keys.insert(short.to_vec(), value);
                }
            }
            _ => return None,
        }
    }
    // One blank; data that begin with one are rare, two are read as a line end.
    let start = match (lexer.bytes.get(lexer.at), lexer.bytes.get(lexer.at + 1)) {
        (Some(b'\r'), Some(b'\n')) => lexer.at + 2,
        (Some(byte), _) if is_space(*byte) => lexer.at + 1,
        _ => lexer.at,
    };
    let rest = lexer.bytes.get(start..)?;
    let known = if keys.contains_key(b"F".as_slice()) { None } else { raw_length(&keys) };
    let known = known.filter(|n| starts_with_end(rest.get(*n..).unwrap_or_default()));
    let found = known.or_else(|| may_end.then(|| find_end(rest)).flatten());
    *may_end &= found.is_some();
    let length = found?;
    lexer.at = start + length;
    // Its blank and `EI`.
    let _ = lexer.token();
    Some(Inline { keys, data: rest.get(..length)?.to_vec() })
}

/// `EI` behind white space.
fn starts_with_end(rest: &[u8]) -> bool {
    let trimmed = rest.trim_ascii_start();
    trimmed.starts_with(b"EI") && trimmed.get(2).is_none_or(|b| is_space(*b))
}

/// Where the data end: at an `EI` with blanks round it and something readable behind.
fn find_end(rest: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(rest, b"EI").find_map(|at| {
        let before = at.checked_sub(1).and_then(|at| rest.get(at));
        let behind = rest.get(at + 2..).unwrap_or_default();
        let is_readable = behind.iter().take(BEHIND_IMAGE).all(|b| is_space(*b) && *b != 0 || b.is_ascii_graphic());
        let is_alone = behind.first().is_none_or(|b| is_space(*b));
        (before.is_some_and(|b| is_space(*b)) && is_alone && is_readable).then(|| at - 1)
    })
}

/// Bytes of samples that are not packed, where the colours are known by their name.
pub(super) fn raw_length(keys: &Dict) -> Option<usize> {
    let number = |key: &[u8]| keys.get(key).and_then(Object::integer).and_then(|n| usize::try_from(n).ok());
    let is_mask = keys.get(b"IM".as_slice()) == Some(&Object::Bool(true));
    let colours = match keys.get(b"CS".as_slice()) {
        _ if is_mask => 1,
        Some(Object::Name(name)) => match name.as_slice() {
            b"G" | b"DeviceGray" | b"CalGray" => 1,
            b"RGB" | b"DeviceRGB" | b"CalRGB" => 3,
            b"CMYK" | b"DeviceCMYK" => 4,
            _ => return None,
        },
        Some(Object::Array(items)) if matches!(items.first().and_then(Object::name), Some(b"I" | b"Indexed")) => 1,
        _ => return None,
    };
    let bits = if is_mask { 1 } else { number(b"BPC")? };
    number(b"W")?.checked_mul(bits)?.checked_mul(colours)?.div_ceil(8).checked_mul(number(b"H")?)
}

fn put_inline(made: &mut Rewritten, kept: &Inline) {
    match kept.keys.get(b"CS".as_slice()) {
        Some(Object::Name(space)) => {
            made.used.entry("ColorSpace").or_default().insert(space.clone());
        }
        Some(Object::Array(items)) => {
            let names = items.iter().filter_map(Object::name).map(<[u8]>::to_vec);
            made.used.entry("ColorSpace").or_default().extend(names);
        }
        _ => {}
    }
    made.bytes.extend(b"BI\n");
    for (key, value) in &kept.keys {
        put(&mut made.bytes, &name(key));
        made.bytes.push(b' ');
        put(&mut made.bytes, value);
        made.bytes.push(b'\n');
    }
    made.bytes.extend(b"ID ");
    made.bytes.extend(&kept.data);
    made.bytes.extend(b"\nEI\n");
}

/// The calculator of a function: its tokens without comments. `None`: it cannot be read.
pub(super) fn program(source: &[u8], may_stay: impl Fn(&[u8]) -> bool) -> Option<(Vec<u8>, bool)> {
    let mut lexer = Lexer::new(source);
    let mut out = Vec::new();
    while let Some(token) = lexer.token().ok()? {
        match &token {
            Token::Word(word) if !may_stay(word) => return None,
            _ => put_token(&mut out, &token),
        }
    }
    Some((out, lexer.saw_comment))
}

/// A character map: its parts and what they build on, in a frame of ours; and whether words went.
/// `None`: it cannot be read.
pub(super) fn character_map(source: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut lexer = Lexer::new(source);
    let mut out = MAP_HEAD.to_vec();
    let mut part: Option<Vec<u8>> = None;
    let mut before: [Option<Token>; 2] = [None, None];
    let mut lost_words = false;
    while let Some(token) = lexer.token().ok()? {
        let named = |prefix: &[u8]| match &token {
            Token::Word(word) => word.strip_prefix(prefix).filter(|name| MAP_PARTS.contains(name)).map(<[u8]>::to_vec),
            _ => None,
        };
        if let Some(ended) = named(b"end") {
            if part.take().is_some() {
                put_token(&mut out, &Token::Word([b"end", &ended[..]].concat()));
            }
        } else if let (None, Some(begun)) = (&part, named(b"begin")) {
            let count = before.iter().flatten().last().filter(|token| matches!(token, Token::Integer(_)));
            put_token(&mut out, count.unwrap_or(&Token::Integer(1)));
            put_token(&mut out, &Token::Word([b"begin", &begun[..]].concat()));
            part = Some(begun);
        } else if part.is_some() {
            if matches!(&token, Token::Text(_) | Token::Integer(_) | Token::Name(_) | Token::ArrayOpen | Token::ArrayClose) {
                put_token(&mut out, &token);
            }
        } else {
            match (&before, &token) {
                ([_, Some(Token::Name(base))], Token::Word(word)) if word == b"usecmap" => {
                    put_token(&mut out, &Token::Name(base.clone()));
                    put_token(&mut out, &token);
                }
                ([Some(Token::Name(key)), Some(mode @ Token::Integer(0 | 1))], Token::Word(word))
                    if key == b"WMode" && word == b"def" =>
                {
                    put_token(&mut out, &Token::Name(key.clone()));
                    put_token(&mut out, mode);
                    put_token(&mut out, &token);
                }
                // Longer than the names of a collection.
                (_, Token::Text(text)) => lost_words |= text.len() > 16,
                _ => {}
            }
        }
        let [_, last] = before;
        before = [last, Some(token)];
    }
    if part.is_some() {
        return None;
    }
    out.extend(MAP_END);
    Some((out, lost_words || lexer.saw_comment))
}

/// One token on a line.
fn put_token(out: &mut Vec<u8>, token: &Token) {
    match token {
        Token::Integer(n) => out.extend(n.to_string().into_bytes()),
        Token::Real(text) | Token::Word(text) => out.extend(text),
        Token::Text(text) => {
            // Codes: as hexadecimal, which is what readers of character maps expect.
            out.push(b'<');
            out.extend(text.iter().flat_map(|b| format!("{b:02x}").into_bytes()));
            out.push(b'>');
        }
        Token::Name(text) => put(out, &name(text)),
        Token::ArrayOpen => out.push(b'['),
        Token::ArrayClose => out.push(b']'),
        Token::DictOpen => out.extend(b"<<"),
        Token::DictClose => out.extend(b">>"),
        Token::BraceOpen => out.push(b'{'),
        Token::BraceClose => out.push(b'}'),
    }
    out.push(b'\n');
}
