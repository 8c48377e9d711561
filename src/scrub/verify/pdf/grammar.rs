//! Values as they are spelled here and no other way: one blank between items, no comments, no line
//! ends outside of strings.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// With its value where it is whole.
    Number(Option<i64>),
    Text(Vec<u8>),
    Name(Vec<u8>),
    Array(Vec<Value>),
    Dict(Vec<(Vec<u8>, Value)>),
    Reference(u32),
}

impl Value {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Value> {
        let Self::Dict(dict) = self else { return None };
        dict.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Number(number) = self { *number } else { None }
    }

    pub(super) fn name(&self) -> Option<&[u8]> {
        if let Self::Name(name) = self { Some(name) } else { None }
    }
}

const DEPTH_MAX: usize = 80;

type Read<'b> = Option<(Value, &'b [u8])>;

/// The value at the start of `bytes`, and what follows it.
pub(super) fn value(bytes: &[u8]) -> Read<'_> {
    nested(bytes, 0)
}

fn nested(bytes: &[u8], depth: usize) -> Read<'_> {
    if depth > DEPTH_MAX {
        return None;
    }
    match bytes {
        [b'<', b'<', rest @ ..] => dict(rest, depth),
        [b'[', rest @ ..] => array(rest, depth),
        [b'(', rest @ ..] => text(rest),
        [b'/', rest @ ..] => name(rest).map(|(name, rest)| (Value::Name(name), rest)),
        [b'-' | b'0'..=b'9', ..] => number(bytes),
        _ => [(&b"null"[..], Value::Null), (b"true", Value::Bool(true)), (b"false", Value::Bool(false))]
            .into_iter()
            .find_map(|(word, value)| Some((value, bytes.strip_prefix(word)?))),
    }
}

fn dict(mut rest: &[u8], depth: usize) -> Read<'_> {
    let mut items = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix(b">>") {
            return Some((Value::Dict(items), rest));
        }
        let (key, behind) = name(rest.strip_prefix(b"/")?)?;
        let (value, behind) = nested(behind.strip_prefix(b" ")?, depth + 1)?;
        items.push((key, value));
        rest = behind;
    }
}

fn array(mut rest: &[u8], depth: usize) -> Read<'_> {
    let mut items = Vec::new();
    if let Some(rest) = rest.strip_prefix(b"]") {
        return Some((Value::Array(items), rest));
    }
    loop {
        let (value, behind) = nested(rest, depth + 1)?;
        items.push(value);
        match behind {
            [b']', behind @ ..] => return Some((Value::Array(items), behind)),
            [b' ', behind @ ..] => rest = behind,
            _ => return None,
        }
    }
}

fn text(rest: &[u8]) -> Read<'_> {
    let mut text = Vec::new();
    let mut bytes = rest;
    loop {
        bytes = match bytes {
            [b')', rest @ ..] => return Some((Value::Text(text), rest)),
            [b'\\', escaped @ (b'(' | b')' | b'\\' | b'r' | b'n'), rest @ ..] => {
                text.push(match escaped {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    other => *other,
                });
                rest
            }
            [b'\\' | b'(' | b'\r' | b'\n', ..] | [] => return None,
            [byte, rest @ ..] => {
                text.push(*byte);
                rest
            }
        };
    }
}

fn name(rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    let mut bytes = rest;
    loop {
        bytes = match bytes {
            [b'#', high, low, rest @ ..] => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                name.push(digit(*high)? << 4 | digit(*low)?);
                rest
            }
            [b'#', ..] => return None,
            [b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%', ..] => return Some((name, bytes)),
            [byte @ b'!'..=b'~', rest @ ..] => {
                name.push(*byte);
                rest
            }
            _ => return Some((name, bytes)),
        };
    }
}

/// A number, or `7 0 R`.
fn number(bytes: &[u8]) -> Read<'_> {
    let length = bytes.iter().take_while(|b| matches!(b, b'-' | b'.' | b'0'..=b'9')).count();
    let (digits, rest) = bytes.split_at_checked(length)?;
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.rfind('-').is_some_and(|at| at > 0) || digits.matches('.').count() > 1 {
        return None;
    }
    // `0 0 RG` is a colour.
    if let Some(rest) = rest.strip_prefix(b" 0 R").filter(|rest| rest.first() != Some(&b'G')) {
        return Some((Value::Reference(digits.parse().ok()?), rest));
    }
    let whole = if digits.contains('.') { None } else { Some(digits.parse().ok()?) };
    Some((Value::Number(whole), rest))
}
