//! What is drawn: line by line an operator behind its operands. A comment has no place in it.

use super::grammar::{self, Value};
use super::{Verdict, data, fail};
use crate::scrub::VerifyError;
use crate::scrub::policy::pdf::{COLOURS_MAX, INTENTS, inline_key, operands};

const BAD: &str = "something drawn that is not spelled as it is here";

/// Reads operators, each of which ends with `end`.
pub(super) fn check(bytes: &[u8], end: u8) -> Verdict {
    let mut rest = bytes;
    let mut stack: Vec<Value> = Vec::new();
    while let Some(first) = rest.first() {
        if matches!(first, b'a'..=b'z' | b'A'..=b'Z' | b'\'' | b'"') {
            let length = rest.iter().take_while(|b| b.is_ascii_graphic()).count();
            let (word, behind) = rest.split_at_checked(length).unwrap_or_default();
            if word == b"BI" && stack.is_empty() {
                rest = picture(behind).ok_or(VerifyError(BAD))??;
                continue;
            }
            // `true` and the like stand in dictionaries and arrays alone.
            operator(word, &stack)?;
            stack.clear();
            match behind.split_first() {
                Some((byte, behind)) if *byte == end => rest = behind,
                _ => return fail(BAD),
            }
            continue;
        }
        let Some((value, behind)) = grammar::value(rest) else { return fail(BAD) };
        let Some(behind) = behind.strip_prefix(b" ") else { return fail(BAD) };
        stack.push(value);
        rest = behind;
    }
    if stack.is_empty() { Ok(()) } else { fail(BAD) }
}

fn operator(word: &[u8], stack: &[Value]) -> Verdict {
    let is_text_or_number = |v: &Value| matches!(v, Value::Number(_) | Value::Text(_));
    let fits = match (word, operands(word)) {
        (b"BMC", _) => matches!(stack, [Value::Name(tag)] if tag == b"Span"),
        (b"BDC", _) => match stack {
            [Value::Name(tag), Value::Name(_)] => tag == b"Span" || tag == b"OC",
            [Value::Name(tag), Value::Dict(dict)] => {
                tag == b"Span" && matches!(dict.as_slice(), [(key, Value::Text(_))] if key == b"ActualText")
            }
            _ => false,
        },
        (_, Some("c")) => {
            let numbers = stack.iter().take_while(|v| matches!(v, Value::Number(_))).count();
            stack.len() <= COLOURS_MAX + 1 && matches!(stack.get(numbers..), Some([] | [Value::Name(_)]))
        }
        (_, Some(signature)) => {
            signature.len() == stack.len()
                && signature.chars().zip(stack).all(|(kind, value)| match (kind, value) {
                    ('n', Value::Number(_)) | ('s', Value::Text(_)) | ('/', Value::Name(_)) => true,
                    ('i', Value::Name(name)) => INTENTS.contains(&name.as_slice()),
                    ('a', Value::Array(items)) => items.iter().all(is_text_or_number),
                    _ => false,
                })
        }
        (_, None) => false,
    };
    if fits { Ok(()) } else { fail("an operator that may not stay") }
}

/// A picture among the operators, behind `BI`; what follows it.
fn picture(rest: &[u8]) -> Option<Result<&[u8], VerifyError>> {
    let mut rest = rest.strip_prefix(b"\n")?;
    let mut coding = None;
    while let Some(key) = rest.strip_prefix(b"/") {
        let length = key.iter().position(|b| *b == b' ')?;
        let (key, behind) = key.split_at_checked(length)?;
        let (value, behind) = grammar::value(behind.strip_prefix(b" ")?)?;
        rest = behind.strip_prefix(b"\n")?;
        if inline_key(key) != Some(key) || !is_plain(key, &value) {
            return None;
        }
        if key == b"F" {
            let Value::Array(filters) = value else { return None };
            let [Value::Name(first), Value::Name(last)] = filters.as_slice() else { return None };
            coding = (first == b"AHx").then(|| last.clone());
        }
    }
    let rest = rest.strip_prefix(b"ID ")?;
    let length = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (hex, behind) = rest.split_at_checked(length)?;
    let behind = behind.strip_prefix(b">\nEI\n")?;
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
    let bytes: Vec<u8> = hex.chunks(2).map(|pair| pair.iter().fold(0, |sum, b| sum << 4 | digit(b))).collect();
    let verdict = match coding?.as_slice() {
        b"Fl" => data::unpack(&bytes).map(|_| ()),
        b"DCT" => data::jpeg(&bytes),
        b"CCF" => Ok(()),
        _ => fail(BAD),
    };
    Some(verdict.map(|()| behind))
}

fn is_plain(key: &[u8], value: &Value) -> bool {
    match (key, value) {
        (b"W" | b"H" | b"BPC", Value::Number(_))
        | (b"IM" | b"I", Value::Bool(_))
        | (b"CS" | b"Intent", Value::Name(_))
        | (b"F", Value::Array(_)) => true,
        (b"D", Value::Array(items)) => items.iter().all(|i| matches!(i, Value::Number(_))),
        (b"CS", Value::Array(items)) => {
            items.len() <= 4 && items.iter().all(|i| matches!(i, Value::Number(_) | Value::Name(_) | Value::Text(_)))
        }
        (b"DP", Value::Array(items)) => match items.as_slice() {
            [Value::Null, Value::Dict(dict)] => dict.iter().all(|(_, v)| matches!(v, Value::Number(_) | Value::Bool(_))),
            _ => false,
        },
        _ => false,
    }
}
