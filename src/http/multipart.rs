//! `multipart/form-data` (RFC 7578, RFC 2046 §5.1) as it streams by.
//!
//! Why no library: those at hand collect a part, or copy each chunk into a buffer of their own, and
//! their errors are texts. Here a body of any length needs a fixed few hundred bytes, a file's bytes
//! are handed on where they lie, and each refusal has its code.
//!
//! Strict on framing, lenient on labels. A line ends with CR LF, a header stands on one line, a
//! delimiter is the whole delimiter: where two readers could cut differently, nothing is accepted.
//! What phones write into part headers (types, charsets, encodings, file names) decides nothing
//! and is not kept.

use memchr::memmem::{Finder, find};

use crate::pipeline::{Refusal, RefusalCode};

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;
/// Longest text before the first delimiter. Nobody writes any; RFC 2046 §5.1.1 allows it.
const PREAMBLE_MAX_BYTES: usize = 1024;
/// Longest header of one part; a file name is the only long thing in it.
const HEADER_MAX_BYTES: usize = 8 * 1024;
/// Most blanks between a delimiter and the end of its line (RFC 2046 §5.1.1, transport padding).
const PADDING_MAX_BYTES: usize = 64;

/// What the body says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'e> {
    PartStart {
        name: &'e str,
    },
    /// The next bytes of the part; empty never.
    Data(&'e [u8]),
    PartEnd,
    /// The closing delimiter was read.
    End,
}

/// Takes the events of one body.
pub trait Parts: Send {
    /// # Errors
    /// A [`Refusal`] ends the reading.
    fn take(&mut self, event: Event<'_>) -> Result<(), Refusal>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Preamble,
    /// Behind a delimiter: `--`, or blanks and CR LF.
    Delimiter,
    Header,
    Data,
    /// Behind the closing delimiter; whatever follows is no part (RFC 2046 §5.1.1).
    Epilogue,
}

/// The reader of one body.
pub struct Multipart {
    /// CR LF `--` boundary.
    delimiter: Finder<'static>,
    place: Place,
    /// What could not be decided yet: in data, the beginning of a possible delimiter; elsewhere the
    /// line or header so far.
    held: Vec<u8>,
    skipped_bytes: usize,
    parts: usize,
    parts_max: usize,
}

impl Multipart {
    /// `boundary` as [`boundary_of`] gives it.
    #[must_use]
    pub fn new(boundary: &str, parts_max: usize) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand at the very beginning, without the line end before it.
        let held = b"\r\n".to_vec();
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            place: Place::Preamble,
            held,
            skipped_bytes: 0,
            parts: 0,
            parts_max,
        }
    }

    /// True where the closing delimiter was read: nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.place == Place::Epilogue
    }

    /// Reads the next bytes of the body, however they were cut.
    ///
    /// # Errors
    /// [`RefusalCode::Malformed`] where this is no such body, [`RefusalCode::TooLarge`] for too many
    /// parts, and whatever `parts` refuses. Nothing may be fed after an error.
    pub fn feed(&mut self, input: &[u8], parts: &mut dyn Parts) -> Result<(), Refusal> {
        let mut rest = input;
        while !rest.is_empty() {
            rest = match self.place {
                Place::Preamble | Place::Data => self.read_data(rest, parts)?,
                Place::Delimiter => self.read_delimiter(rest, parts)?,
                Place::Header => self.read_header(rest, parts)?,
                Place::Epilogue => return Ok(()),
            };
        }
        Ok(())
    }

    /// Data up to the next delimiter. Returns what is behind it.
    fn read_data<'i>(&mut self, input: &'i [u8], parts: &mut dyn Parts) -> Result<&'i [u8], Refusal> {
        let length = self.delimiter.needle().len();
        if !self.held.is_empty() {
            // The held bytes and one delimiter's length of new ones hold every delimiter that
            // began before `input`.
            let held = self.held.len();
            let (near, _) = cut(input, length);
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(near);
            return match self.delimiter.find(&joined) {
                Some(at) if at < held => {
                    self.pass_on(cut(&joined, at).0, parts)?;
                    self.end_part(parts)?;
                    Ok(cut(input, at + length - held).1)
                }
                _ if near.len() == length => {
                    self.pass_on(cut(&joined, held).0, parts)?;
                    Ok(input)
                }
                _ => {
                    self.pass_on_but_tail(&joined, parts)?;
                    Ok(&[])
                }
            };
        }
        if let Some(at) = self.delimiter.find(input) {
            self.pass_on(cut(input, at).0, parts)?;
            self.end_part(parts)?;
            return Ok(cut(input, at + length).1);
        }
        self.pass_on_but_tail(input, parts)?;
        Ok(&[])
    }

    /// Passes on all but a tail that may be the beginning of a delimiter.
    fn pass_on_but_tail(&mut self, bytes: &[u8], parts: &mut dyn Parts) -> Result<(), Refusal> {
        let needle = self.delimiter.needle();
        let longest = bytes.len().min(needle.len() - 1);
        let tail = (1..=longest).rev().find(|n| needle.starts_with(cut(bytes, bytes.len() - n).1)).unwrap_or(0);
        let (data, tail) = cut(bytes, bytes.len() - tail);
        self.pass_on(data, parts)?;
        self.held = tail.to_vec();
        Ok(())
    }

    fn pass_on(&mut self, bytes: &[u8], parts: &mut dyn Parts) -> Result<(), Refusal> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.place == Place::Data {
            return parts.take(Event::Data(bytes));
        }
        self.skipped_bytes += bytes.len();
        if self.skipped_bytes > PREAMBLE_MAX_BYTES {
            return Err(malformed(
                "The body does not begin with its boundary. Send multipart/form-data with the boundary that the Content-Type names.",
            ));
        }
        Ok(())
    }

    fn end_part(&mut self, parts: &mut dyn Parts) -> Result<(), Refusal> {
        let ended = self.place == Place::Data;
        self.place = Place::Delimiter;
        if ended { parts.take(Event::PartEnd) } else { Ok(()) }
    }

    /// The end of a delimiter's line: `--`, or blanks and CR LF.
    fn read_delimiter<'i>(&mut self, input: &'i [u8], parts: &mut dyn Parts) -> Result<&'i [u8], Refusal> {
        let (byte, rest) = cut(input, 1);
        self.held.extend_from_slice(byte);
        match self.held.as_slice() {
            b"--" => {
                self.place = Place::Epilogue;
                self.held = Vec::new();
                parts.take(Event::End)?;
            }
            [blanks @ .., b'\r', b'\n'] if blanks.iter().all(is_blank) => {
                self.place = Place::Header;
                self.held.clear();
            }
            b"-" => {}
            [blanks @ .., b'\r'] if blanks.iter().all(is_blank) => {}
            blanks if blanks.iter().all(is_blank) && blanks.len() <= PADDING_MAX_BYTES => {}
            _ => {
                return Err(malformed(
                    "A line begins with the boundary and goes on. End it with CR LF, or with -- behind the last part.",
                ));
            }
        }
        Ok(rest)
    }

    /// Header lines up to the empty one.
    fn read_header<'i>(&mut self, input: &'i [u8], parts: &mut dyn Parts) -> Result<&'i [u8], Refusal> {
        // The end may lie across two inputs: three bytes before this one can belong to it.
        let from = self.held.len().saturating_sub(3);
        let room = HEADER_MAX_BYTES.saturating_sub(self.held.len());
        let before = self.held.len();
        self.held.extend_from_slice(cut(input, room).0);
        let Some(at) = find(cut(&self.held, from).1, b"\r\n\r\n") else {
            if self.held.starts_with(b"\r\n") {
                return Err(nameless());
            }
            if self.held.len() >= HEADER_MAX_BYTES {
                return Err(malformed("The header of a part is longer than 8 KiB. Leave out all but Content-Disposition."));
            }
            return Ok(&[]);
        };
        let end = from + at;
        self.parts += 1;
        if self.parts > self.parts_max {
            let files = self.parts_max.saturating_sub(1);
            return Err(Refusal::new(
                RefusalCode::TooLarge,
                format!("More than {files} files in one capture. Send the others as another capture."),
            ));
        }
        let name = name_of(cut(&self.held, end).0)?;
        self.place = Place::Data;
        self.held = Vec::new();
        parts.take(Event::PartStart { name: &name })?;
        Ok(cut(input, end + 4 - before).1)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape of `Iterator::all` over a slice
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `split_at` that gives all where there is less.
fn cut(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, detail)
}

fn nameless() -> Refusal {
    malformed("A part says no name. Begin each with: Content-Disposition: form-data; name=\"…\".")
}

/// The `name` of the one Content-Disposition (RFC 7578 §4.2).
fn name_of(header: &[u8]) -> Result<String, Refusal> {
    let mut name = None;
    let mut rest = Some(header);
    while let Some(lines) = rest {
        let (line, behind) = match find(lines, b"\r\n") {
            Some(at) => (cut(lines, at).0, Some(cut(lines, at + 2).1)),
            None => (lines, None),
        };
        rest = behind;
        // A folded line, or a control character: one reader's header would be another's two.
        let colon = line.iter().position(|b| *b == b':').filter(|at| *at > 0);
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let (field, value) = cut(line, colon.unwrap_or(0));
        if colon.is_none() || !field.iter().all(is_token) || value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(malformed("A header line of a part cannot be read. Write: Name: value, on one line."));
        }
        if field.eq_ignore_ascii_case(b"content-disposition") {
            if name.is_some() {
                return Err(malformed("A part has Content-Disposition twice. Say it once."));
            }
            let value = cut(value, 1).1;
            name = Some(
                parameters(value)
                    .filter(|p| p.value.eq_ignore_ascii_case(b"form-data"))
                    .and_then(|p| p.only("name"))
                    .ok_or_else(nameless)?,
            );
        }
    }
    let name = name.ok_or_else(nameless)?;
    String::from_utf8(name).map_err(|_| malformed("The name of a part is not UTF-8."))
}

/// The boundary of a `Content-Type: multipart/form-data; boundary=…`.
///
/// # Errors
/// [`RefusalCode::UnsupportedMedia`] where it is another type, [`RefusalCode::Malformed`] where the
/// boundary is missing or not allowed by RFC 2046 §5.1.1.
pub fn boundary_of(content_type: Option<&[u8]>) -> Result<String, Refusal> {
    let wanted = "Send multipart/form-data: one part `claim`, then one or more parts `file`.";
    let of_type = content_type.and_then(parameters).filter(|p| p.value.eq_ignore_ascii_case(b"multipart/form-data"));
    let parameters =
        of_type.ok_or_else(|| Refusal::new(RefusalCode::UnsupportedMedia, format!("The body has another type. {wanted}")))?;
    let boundary = parameters.only("boundary").and_then(|b| String::from_utf8(b).ok());
    let allowed = |b: &String| {
        let of_alphabet = b.bytes().all(|c| c.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&c));
        (1..=BOUNDARY_MAX).contains(&b.len()) && of_alphabet && !b.ends_with(' ')
    };
    boundary
        .filter(allowed)
        .ok_or_else(|| malformed("The Content-Type names no boundary, or one that RFC 2046 does not allow (1 to 70 characters)."))
}

/// A header value with parameters (RFC 9110 §5.6.6).
struct Parameters {
    value: Vec<u8>,
    list: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parameters {
    /// The parameter of this name, where it stands once.
    fn only(self, name: &str) -> Option<Vec<u8>> {
        let mut named = self.list.into_iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        match (named.next(), named.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

fn parameters(text: &[u8]) -> Option<Parameters> {
    let mut pieces = split_unquoted(text)?.into_iter();
    let value = pieces.next()?.trim_ascii().to_vec();
    let mut list = Vec::new();
    for piece in pieces {
        let piece = piece.trim_ascii();
        if piece.is_empty() {
            continue;
        }
        let at = piece.iter().position(|b| *b == b'=')?;
        let (name, value) = cut(piece, at);
        list.push((name.trim_ascii().to_vec(), unquoted(cut(value, 1).1.trim_ascii())?));
    }
    Some(Parameters { value, list })
}

/// Splits at semicolons outside quotes. `None` where a quote stays open.
fn split_unquoted(text: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = text.split(|b| {
        let is_end = *b == b';' && !quoted;
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        is_end
    });
    let pieces = pieces.collect();
    (!quoted).then_some(pieces)
}

/// A token as it is, a quoted string without its quotes (RFC 9110 §5.6.4).
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        return (!text.contains(&b'"')).then(|| text.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut escaped = false;
    let kept = inner.iter().filter(|b| {
        escaped = **b == b'\\' && !escaped;
        !escaped
    });
    Some(kept.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects (name, bytes) of each part.
    #[derive(Default)]
    struct Seen {
        parts: Vec<(String, Vec<u8>, bool)>,
        ended: bool,
    }

    impl Parts for Seen {
        fn take(&mut self, event: Event<'_>) -> Result<(), Refusal> {
            match event {
                Event::PartStart { name } => self.parts.push((name.to_owned(), Vec::new(), false)),
                Event::Data(bytes) => {
                    assert!(!bytes.is_empty());
                    self.parts.last_mut().unwrap().1.extend_from_slice(bytes);
                }
                Event::PartEnd => self.parts.last_mut().unwrap().2 = true,
                Event::End => self.ended = true,
            }
            Ok(())
        }
    }

    fn read(body: &[u8], cut_at: usize) -> Result<Seen, Refusal> {
        let mut seen = Seen::default();
        let mut reader = Multipart::new("XX", 4);
        for piece in body.chunks(cut_at) {
            reader.feed(piece, &mut seen)?;
        }
        assert_eq!(reader.is_complete(), seen.ended);
        Ok(seen)
    }

    fn part(name: &str, body: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{body}\r\n")
    }

    #[test]
    fn the_parts_are_the_same_however_the_body_is_cut() {
        let tricky = [
            "",
            "\r",
            "\r\n",
            "\r\n-",
            "\r\n--",
            "\r\n--X",
            "\r\n--X\r\n--X",
            "--XX",
            "\n--XX",
            "a\r\r\n--X--XX\r\n",
            "\r\n\r\n",
        ];
        for file in tricky {
            let body = format!("{}{}--XX--\r\nepilogue", part("claim", "{}"), part("file", file));
            for size in 1..=body.len() {
                let seen = read(body.as_bytes(), size).unwrap_or_else(|r| panic!("{file:?} by {size}: {}", r.detail));
                assert!(seen.ended, "{file:?} by {size}");
                let want = [("claim".to_owned(), b"{}".to_vec(), true), ("file".to_owned(), file.as_bytes().to_vec(), true)];
                assert_eq!(seen.parts, want, "{file:?} by {size}");
            }
        }
    }

    #[test]
    fn bytes_of_every_value_pass_unchanged() {
        let file: Vec<u8> = (0..60_000u32).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
        let body = [part("file", "").trim_end_matches("\r\n").as_bytes(), b"\r\n\r\n", &file, b"\r\n--XX--"].concat();
        for size in [1, 2, 3, 7, 4096, 65_536] {
            assert_eq!(read(&body, size).unwrap().parts[0].1, file, "by {size}");
        }
    }

    #[test]
    fn labels_decide_nothing() {
        for header in [
            "Content-Disposition: form-data; name=\"claim\"",
            "content-disposition:form-data;name=claim",
            "Content-Disposition: form-data; name=\"claim\"; filename=\"a;b \\\" name=x.json\"",
            "Content-Disposition: form-data; filename=\"\u{fc}.jpg\"; name=\"claim\"; filename*=UTF-8''x",
            "Content-Type: application/octet-stream\r\nContent-Disposition: form-data; name=\"claim\"",
            "Content-Disposition: form-data; name=\"claim\"\r\nContent-Type: text/plain; charset=UTF-16\r\nContent-Transfer-Encoding: binary",
            "Content-Disposition: form-data; name=\"claim\"\r\nX-Empty:",
        ] {
            let body = format!("preamble\r\n--XX \t\r\n{header}\r\n\r\n{{}}\r\n--XX--");
            for size in [1, 5, 1000] {
                let seen = read(body.as_bytes(), size).unwrap_or_else(|r| panic!("{header}: {}", r.detail));
                assert_eq!(seen.parts[0].0, "claim", "{header}");
                assert_eq!(seen.parts[0].1, b"{}", "{header}");
            }
        }
    }

    #[test]
    fn framing_is_refused_rather_than_repaired() {
        let head = "--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx";
        for body in [
            "--XX\nContent-Disposition: form-data; name=\"file\"\n\nx\n--XX--".to_owned(),
            "--XX\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent-Disposition: attachment; name=\"file\"\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; name=\"claim\"\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent-Disposition: form-data; name=\"fi\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\nx\r\n--XX--"
                .to_owned(),
            "--XX\r\nContent-Disposition: form-data;\r\n name=\"file\"\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nContent Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--XX--".to_owned(),
            "--XX\r\nno colon\r\n\r\nx\r\n--XX--".to_owned(),
            format!("{head}\r\n--XXY\r\n"),
            format!("{head}\r\n--XX-\r\n"),
            format!("{head}\r\n--XX\r\r\n"),
            format!("{head}\r\n--XX{}\r\n", " ".repeat(100)),
            format!("--XX\r\nX: {}\r\n\r\n", "y".repeat(9000)),
            "z".repeat(5000),
        ] {
            for size in [1, 10_000] {
                let refused = read(body.as_bytes(), size).err().map(|r| r.code);
                assert_eq!(refused, Some(RefusalCode::Malformed), "{body:.80} by {size}");
            }
        }
    }

    #[test]
    fn more_parts_than_allowed_are_refused() {
        let four = part("file", "x").repeat(4);
        assert!(read(format!("{four}--XX--").as_bytes(), 1000).is_ok());
        let refused = read((four + &part("file", "x")).as_bytes(), 1000).err().map(|r| r.code);
        assert_eq!(refused, Some(RefusalCode::TooLarge));
    }

    #[test]
    fn a_body_that_stops_is_not_complete() {
        let body = format!("{}--XX--", part("file", "picture"));
        for end in 0..body.len() {
            let mut seen = Seen::default();
            let mut reader = Multipart::new("XX", 4);
            reader.feed(&body.as_bytes()[..end], &mut seen).unwrap();
            assert!(!reader.is_complete(), "cut at {end}");
        }
    }

    #[test]
    fn a_boundary_is_one_the_standard_allows() {
        for (given, then) in [
            ("multipart/form-data; boundary=abc", Ok("abc")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b:c\"", Ok("a b:c")),
            ("multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", Ok("----WebKitFormBoundary7MA4YWxkTrZu0gW")),
            ("multipart/form-data", Err(RefusalCode::Malformed)),
            ("multipart/form-data; boundary=", Err(RefusalCode::Malformed)),
            ("multipart/form-data; boundary=a; boundary=b", Err(RefusalCode::Malformed)),
            ("multipart/form-data; boundary=\"a ", Err(RefusalCode::UnsupportedMedia)),
            ("multipart/form-data; boundary=\"a \"", Err(RefusalCode::Malformed)),
            ("multipart/form-data; boundary=a{b", Err(RefusalCode::Malformed)),
            ("multipart/mixed; boundary=abc", Err(RefusalCode::UnsupportedMedia)),
            ("application/json", Err(RefusalCode::UnsupportedMedia)),
        ] {
            assert_eq!(boundary_of(Some(given.as_bytes())).map_err(|r| r.code), then.map(str::to_owned), "{given}");
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        assert!(boundary_of(Some(long.as_bytes())).is_err());
        assert!(boundary_of(None).is_err());
    }
}
