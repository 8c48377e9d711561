//! Character sets (MSH-18, HL7 table 0211). A message is decoded whole, before it is split:
//! ISO 2022, GB 18030 and Big5 text has bytes equal to `| ^ ~ \ &` inside characters.

use std::borrow::Cow;

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7, ISO_8859_8,
    ISO_8859_10, ISO_8859_13, ISO_8859_14, ISO_8859_15, ISO_8859_16, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, WINDOWS_1254,
};

/// How a message is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Nothing declared, or `ASCII`.
    Default,
    Utf8,
    /// ISO 8859-1; where the bytes are valid multi-byte UTF-8, they are that: senders who declare
    /// 8859/1 and send UTF-8 are real.
    Latin1,
    /// ISO 2022 with JIS X 0201, 0208 and 0212 (`ISO IR14`, `ISO IR87`, `ISO IR159`).
    Jis,
    Other(&'static Encoding),
}

/// Why a message could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharsetFault {
    /// MSH-18 names no character set we know.
    Unknown,
    /// UTF-16 and UTF-32 hold the bytes of the frame (NUL, 0x0B, 0x1C) inside characters.
    CannotTravel,
    /// The bytes are not text in the declared character set.
    Undecodable,
}

/// A decoded message.
#[derive(Debug)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// The sender did not say, or said something else: its character set was guessed.
    pub guessed: bool,
}

impl Charset {
    /// The character set of a name: table 0211, and spellings met in the field. Blanks, hyphens,
    /// slashes and case do not count.
    ///
    /// # Errors
    /// [`CharsetFault::Unknown`], [`CharsetFault::CannotTravel`].
    pub fn named(name: &str) -> Result<Self, CharsetFault> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        let part = plain.strip_prefix("ISO").unwrap_or(&plain);
        Ok(match part {
            "" | "ASCII" | "USASCII" | "IR6" => Self::Default,
            "UNICODE" | "UNICODEUTF8" | "UTF8" | "IR192" => Self::Utf8,
            "88591" | "8859" | "LATIN1" | "IR100" => Self::Latin1,
            "88592" | "IR101" => Self::Other(ISO_8859_2),
            "88593" | "IR109" => Self::Other(ISO_8859_3),
            "88594" | "IR110" => Self::Other(ISO_8859_4),
            "88595" | "IR144" => Self::Other(ISO_8859_5),
            "88596" | "IR127" => Self::Other(ISO_8859_6),
            "88597" | "IR126" => Self::Other(ISO_8859_7),
            "88598" | "IR138" => Self::Other(ISO_8859_8),
            "88599" | "IR148" => Self::Other(WINDOWS_1254),
            "885910" => Self::Other(ISO_8859_10),
            "885913" => Self::Other(ISO_8859_13),
            "885914" => Self::Other(ISO_8859_14),
            "885915" | "IR203" => Self::Other(ISO_8859_15),
            "885916" => Self::Other(ISO_8859_16),
            "IR13" | "IR14" | "IR87" | "IR159" | "2022JP" => Self::Jis,
            "GB18030" | "GB180302000" => Self::Other(GB18030),
            "KSX1001" | "IR149" => Self::Other(EUC_KR),
            "BIG5" | "CNS116431992" => Self::Other(BIG5),
            _ if plain.contains("UTF16") || plain.contains("UTF32") => return Err(CharsetFault::CannotTravel),
            _ => Self::labelled(name)?,
        })
    }

    /// Names outside table 0211 that the Encoding Standard knows (`windows-1250`, `tis-620` …).
    fn labelled(name: &str) -> Result<Self, CharsetFault> {
        let encoding = Encoding::for_label_no_replacement(name.trim().as_bytes()).ok_or(CharsetFault::Unknown)?;
        match encoding {
            e if e == UTF_8 => Ok(Self::Utf8),
            e if e == UTF_16LE || e == UTF_16BE => Err(CharsetFault::CannotTravel),
            e if e == EUC_JP || e.is_ascii_compatible() => Ok(Self::Other(e)),
            _ => Err(CharsetFault::Unknown),
        }
    }

    /// The character set that MSH-18 asks for. It repeats: the first is the default set, the
    /// others are switched in by escape sequences (HL7 v2.5.1 §2.15.9.18).
    ///
    /// # Errors
    /// As [`Charset::named`].
    pub fn declared(msh18: &[u8], repetition: u8, component: u8) -> Result<Self, CharsetFault> {
        let mut chosen = Self::Default;
        for name in msh18.split(|b| *b == repetition) {
            let name = name.split(|b| *b == component).next().unwrap_or_default();
            let named = Self::named(std::str::from_utf8(name).map_err(|_| CharsetFault::Unknown)?)?;
            if chosen == Self::Default || (named == Self::Jis && chosen != Self::Utf8) {
                chosen = named;
            }
        }
        Ok(chosen)
    }

    /// Decodes `bytes`; a `default` is taken where nothing is declared. What is not text in the
    /// declared set but is in UTF-8 is that: senders forget to change MSH-18.
    ///
    /// # Errors
    /// [`CharsetFault::Undecodable`]: a replacement character never enters a name.
    pub fn decode(self, bytes: &[u8], default: Option<Self>) -> Result<Decoded<'_>, CharsetFault> {
        let charset = if self == Self::Default { default.unwrap_or(self) } else { self };
        match charset {
            Self::Default => Ok(guess(bytes)),
            Self::Latin1 => {
                let decoded = guess(bytes);
                let guessed = matches!(decoded.text, Cow::Borrowed(_)) && !bytes.is_ascii();
                Ok(Decoded { guessed, ..decoded })
            }
            Self::Utf8 | Self::Jis | Self::Other(_) => match (charset.strictly(bytes), std::str::from_utf8(bytes)) {
                (Some(text), _) => Ok(Decoded { text, guessed: false }),
                // With an ESC in it, it was meant to be ISO 2022 and is broken.
                (None, Ok(text)) if !text.contains('\x1B') => Ok(Decoded { text: Cow::Borrowed(text), guessed: true }),
                (None, _) => Err(CharsetFault::Undecodable),
            },
        }
    }

    fn strictly(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Default | Self::Latin1 | Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Jis => strict(EUC_JP, &jis_to_euc(bytes)?).map(|text| Cow::Owned(text.into_owned())),
            Self::Other(encoding) if encoding == EUC_KR || encoding == GB18030 => {
                strict(encoding, &without_designations(bytes)).map(|text| Cow::Owned(text.into_owned()))
            }
            Self::Other(encoding) => strict(encoding, bytes),
        }
    }
}

/// Valid UTF-8 is UTF-8, everything else windows-1252.
fn guess(bytes: &[u8]) -> Decoded<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Decoded { text: Cow::Borrowed(text), guessed: !bytes.is_ascii() },
        Err(_) => Decoded { text: WINDOWS_1252.decode_without_bom_handling(bytes).0, guessed: true },
    }
}

fn strict<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes)
}

/// `ESC $ ) C` and `ESC $ ) A` put KS X 1001 and GB 2312 into G1, where these encodings have them
/// anyway (ISO/IEC 2022).
fn without_designations(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0x1B, bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(b"\x1B$)C").or_else(|| rest.strip_prefix(b"\x1B$)A")) {
            rest = behind;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    Cow::Owned(out)
}

#[derive(Clone, Copy, PartialEq)]
enum Jis {
    Ascii,
    Katakana,
    X0208,
    X0212,
}

/// ISO 2022 as HL7 uses it (JIS X 0201, 0208, 0212 by escape sequences, katakana also in G1) as
/// EUC-JP, which has the same characters without a state. `None`: an escape sequence is unknown
/// or not ended before the segment is, or a character is cut.
fn jis_to_euc(bytes: &[u8]) -> Option<Vec<u8>> {
    const ESCAPES: [(&[u8], Jis); 9] = [
        (b"$B", Jis::X0208),
        (b"$@", Jis::X0208),
        (b"$(B", Jis::X0208),
        (b"$(@", Jis::X0208),
        (b"$(D", Jis::X0212),
        (b"(B", Jis::Ascii),
        (b"(J", Jis::Ascii),
        (b"(H", Jis::Ascii),
        (b"(I", Jis::Katakana),
    ];
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
    let mut mode = Jis::Ascii;
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, mode) {
            // ESC ) I puts katakana into G1, where it always is here.
            (0x1B, _) if tail.starts_with(b")I") => rest = tail.get(2..)?,
            (0x1B, _) => {
                let (sequence, next) = ESCAPES.iter().find(|(sequence, _)| tail.starts_with(sequence))?;
                rest = tail.get(sequence.len()..)?;
                mode = *next;
            }
            (b'\r' | b'\n', Jis::X0208 | Jis::X0212) => return None,
            (b'\r' | b'\n', _) => {
                mode = Jis::Ascii;
                out.push(byte);
            }
            (0x21..=0x7E, Jis::X0208 | Jis::X0212) => {
                let (&second, tail) = tail.split_first()?;
                if !(0x21..=0x7E).contains(&second) {
                    return None;
                }
                rest = tail;
                if mode == Jis::X0212 {
                    out.push(0x8F);
                }
                out.extend_from_slice(&[byte | 0x80, second | 0x80]);
            }
            (0x21..=0x5F, Jis::Katakana) => out.extend_from_slice(&[0x8E, byte | 0x80]),
            (0xA1..=0xDF, Jis::Ascii | Jis::Katakana) => out.extend_from_slice(&[0x8E, byte]),
            (0x80.., _) => return None,
            _ => out.push(byte),
        }
    }
    (mode != Jis::X0208 && mode != Jis::X0212).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(msh18: &[u8], bytes: &[u8]) -> Result<(String, bool), CharsetFault> {
        let decoded = Charset::declared(msh18, b'~', b'^')?.decode(bytes, None)?;
        Ok((decoded.text.into_owned(), decoded.guessed))
    }

    #[test]
    fn each_declared_set_decodes_to_the_right_letters() {
        let table: &[(&[u8], &[u8], &str)] = &[
            (b"8859/1", b"M\xFCller", "Müller"),
            (b"8859/2", b"Dvo\xF8\xE1k", "Dvořák"),
            (b"8859/5", b"\xB8\xD2\xD0\xDD\xDE\xD2", "Иванов"),
            (b"8859/9", b"Y\xFDld\xFDz", "Yıldız"),
            (b"8859/15", b"\xBCuvrard", "Œuvrard"),
            (b"UNICODE UTF-8", "Nguyễn".as_bytes(), "Nguyễn"),
            (b"UTF-8", "Weiß".as_bytes(), "Weiß"),
            (b"UNICODE", "Ü".as_bytes(), "Ü"),
            (b"UTF-8^ISO-8859-1", "Ü".as_bytes(), "Ü"),
            (b"~ISO IR87", b"\x1B$B;3ED\x1B(B^", "山田^"),
            (b"~ISOIR87", b"\x1B$BNkLZ\x1B(B", "鈴木"),
            (b"ISO IR14~ISO IR87", b"\x1B(ITO@^\x1B(B^\xD4", "ﾔﾏﾀﾞ^ﾔ"),
            (b"~ISO IR87~ISO IR159", b"\x1B$(D0!\x1B$BED\x1B(B", "丂田"),
            (b"GB 18030-2000", b"\x81\x7C", "亅"),
            (b"KS X 1001", b"\xC8\xAB", "홍"),
            (b"~KS X 1001", b"\x1B$)C\xC8\xAB", "홍"),
            (b"BIG-5", b"\xB3\x5C", "許"),
            (b"windows-1250", b"\xF8", "ř"),
        ];
        for (msh18, bytes, want) in table {
            assert_eq!(decode(msh18, bytes), Ok(((*want).to_owned(), false)), "{}", String::from_utf8_lossy(msh18));
        }
    }

    #[test]
    fn what_is_not_declared_is_guessed_and_said_so() {
        assert_eq!(decode(b"", "Jürg".as_bytes()), Ok(("Jürg".into(), true)));
        assert_eq!(decode(b"", b"J\xFCrg"), Ok(("Jürg".into(), true)));
        assert_eq!(decode(b"ASCII", b"J\xFCrg"), Ok(("Jürg".into(), true)));
        assert_eq!(decode(b"8859/1", "Grün".as_bytes()), Ok(("Grün".into(), true)));
        assert_eq!(decode(b"~ISO IR87", "患者".as_bytes()), Ok(("患者".into(), true)));
        assert_eq!(decode(b"", b"plain"), Ok(("plain".into(), false)));
    }

    #[test]
    fn a_default_of_the_source_is_taken_where_nothing_is_declared() {
        let default = Charset::named("8859/2").unwrap();
        let decoded = Charset::Default.decode(b"\xF8", Some(default)).unwrap();
        assert_eq!((&*decoded.text, decoded.guessed), ("ř", false));
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_never_replaced() {
        let table: &[(&[u8], &[u8], CharsetFault)] = &[
            (b"UNICODE UTF-8", b"Gr\xFCn", CharsetFault::Undecodable),
            (b"CP874", b"x", CharsetFault::Unknown),
            (b"code1~code2", b"x", CharsetFault::Unknown),
            (b"UNICODE UTF-16", b"x", CharsetFault::CannotTravel),
            (b"utf-16le", b"x", CharsetFault::CannotTravel),
            (b"~ISO IR87", b"\x1B$B;3E", CharsetFault::Undecodable),
            (b"~ISO IR87", b"\x1B$B;3\rPV1", CharsetFault::Undecodable),
            (b"~ISO IR87", b"\x1B%G;3", CharsetFault::Undecodable),
            (b"KS X 1001", b"\xC8\x01", CharsetFault::Undecodable),
            (b"8859/6", b"\xFF", CharsetFault::Undecodable),
        ];
        for (msh18, bytes, want) in table {
            assert_eq!(decode(msh18, bytes), Err(*want), "{}", String::from_utf8_lossy(msh18));
        }
    }
}
