//! `application/x-www-form-urlencoded` (URL Standard §5.1): queries, and forms without files.

/// The pairs in their order; `None` where it is not of this form, or not UTF-8.
#[must_use]
pub fn pairs(text: &[u8]) -> Option<Vec<(String, String)>> {
    let pairs = text.split(|b| *b == b'&').filter(|p| !p.is_empty()).map(|pair| {
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(at)?;
        Some((decode(name)?, decode(value.get(1..).unwrap_or_default())?))
    });
    pairs.collect()
}

fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = text.iter();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_form_is_read_as_a_browser_writes_it() {
        let read = |text: &str| pairs(text.as_bytes());
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(read("token=a.b%2Bc+d&x="), Some(vec![pair("token", "a.b+c d"), pair("x", "")]));
        assert_eq!(read("n=J%C3%B6rg"), Some(vec![pair("n", "Jörg")]));
        assert_eq!(read(""), Some(vec![]));
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
