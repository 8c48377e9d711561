//! The kind of a file, by its first bytes. A name or a `Content-Type` is never asked: phones and
//! mail programs get both wrong.

use crate::capture::MediaKind;

/// So many first bytes are enough to tell any kind that has a word here.
pub const HEAD_BYTES: usize = 32;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Major brands of pictures in HEIF (ISO/IEC 23008-12 §10 and annex B).
const HEIF: [&[u8; 4]; 8] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    Known(MediaKind),
    /// Not accepted; the word says what it looks like, for the text of the refusal.
    Other(&'static str),
}

/// The kind of a file that begins with `head`: its first [`HEAD_BYTES`] bytes, or all of a file
/// that is shorter.
#[must_use]
pub fn sniff(head: &[u8]) -> Sniffed {
    if head.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return Sniffed::Known(MediaKind::Jpeg);
    }
    // Some programs write a byte order mark or a line end before it.
    if head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start().starts_with(b"%PDF-") {
        return Sniffed::Known(MediaKind::Pdf);
    }
    if head.starts_with(PNG) {
        return Sniffed::Known(MediaKind::Png);
    }
    if head.get(4..8) == Some(b"ftyp") && head.get(8..12).is_some_and(|brand| HEIF.iter().any(|b| *b == brand)) {
        return Sniffed::Known(MediaKind::Heic);
    }
    match (head.get(4..8), head.get(8..12)) {
        (Some(b"ftyp"), Some(b"qt  ")) | (Some(b"moov" | b"mdat" | b"wide"), _) => Sniffed::Known(MediaKind::QuickTime),
        (Some(b"ftyp"), Some(brand)) if is_mp4(brand) => Sniffed::Known(MediaKind::Mp4),
        _ => Sniffed::Other(look(head)),
    }
}

/// Major brands of films; sound alone has others.
fn is_mp4(brand: &[u8]) -> bool {
    matches!(
        brand,
        b"isom"
            | [b'i', b's', b'o', b'2'..=b'9']
            | b"mp41"
            | b"mp42"
            | b"avc1"
            | b"M4V "
            | b"M4VH"
            | b"MSNV"
            | b"dash"
            | [b'3', b'g', ..]
    )
}

/// Signatures at offset 0, each with its word.
const SIGNATURES: [(&[u8], &str); 16] = [
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF or camera raw"),
    (b"MM\0*", "TIFF or camera raw"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"MZ", "program"),
    (b"\x7fELF", "program"),
    (b"\x1f\x8b", "gzip"),
    (b"{", "JSON"),
    (b"#!", "script"),
];

fn look(head: &[u8]) -> &'static str {
    if head.is_empty() {
        return "empty";
    }
    if head.get(4..8) == Some(b"ftyp") {
        return brand(head.get(8..12).unwrap_or_default());
    }
    if head.get(..4) == Some(b"RIFF") {
        return if head.get(8..12) == Some(b"WEBP") { "WebP" } else { "RIFF" };
    }
    if let Some((_, word)) = SIGNATURES.iter().find(|(start, _)| head.starts_with(start)) {
        return word;
    }
    let text = head.trim_ascii_start();
    if text.starts_with(b"<") {
        return if text.to_ascii_lowercase().starts_with(b"<svg") { "SVG" } else { "HTML or XML" };
    }
    if head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) { "text" } else { "unknown" }
}

/// Major brand of an ISO base media file (ISO/IEC 14496-12 §4.3).
fn brand(brand: &[u8]) -> &'static str {
    match brand {
        b"avif" | b"avis" => "AVIF",
        b"crx " => "camera raw",
        _ => "an ISO base media file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide_what_a_file_is() {
        let table: [(&[u8], Sniffed); 14] = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Sniffed::Known(MediaKind::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Sniffed::Known(MediaKind::Png)),
            (b"\x89PNG\r\n", Sniffed::Other("unknown")),
            (b"\0\0\0\x18ftypheic", Sniffed::Known(MediaKind::Heic)),
            (b"\0\0\0\x18ftypmif1", Sniffed::Known(MediaKind::Heic)),
            (b"\0\0\0\x18ftypqt  ", Sniffed::Known(MediaKind::QuickTime)),
            (b"\0\0\0\x18ftypisom", Sniffed::Known(MediaKind::Mp4)),
            (b"%PDF-1.7", Sniffed::Known(MediaKind::Pdf)),
            (b"\xEF\xBB\xBF\r\n%PDF-1.4", Sniffed::Known(MediaKind::Pdf)),
            (b"GIF89a", Sniffed::Other("GIF")),
            (b" <!DOCTYPE html>", Sniffed::Other("HTML or XML")),
            (b"hello", Sniffed::Other("text")),
            (b"PK\x03\x04", Sniffed::Other("ZIP")),
            (b"", Sniffed::Other("empty")),
        ];
        for (head, kind) in table {
            assert_eq!(sniff(head), kind, "{head:?}");
        }
    }
}
