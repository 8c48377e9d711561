//! What a value may be, and how it is read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::archive::stow::Url;
use crate::capture::Uid;
use crate::capture::order::Code;
use crate::capture::text::is_plain;
use crate::cli::suggest::closest;
use crate::dicom::codes::{self, Entry, Search};
use crate::dicom::{Syntax, iod};

/// The kind of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain text, 1 to `max` characters.
    Text {
        max: usize,
    },
    /// One of these words.
    Choice {
        built: &'static [&'static str],
        unbuilt: &'static [&'static str],
    },
    /// A list of such words, each once.
    Words {
        built: &'static [&'static str],
        unbuilt: &'static [&'static str],
    },
    /// A list of plain texts of at most `max` characters, each once.
    Names {
        max: usize,
    },
    Flag,
    /// `none`, `ask` or `required`; a flag says the first or the last.
    Commitment,
    Count {
        min: u64,
        max: u64,
    },
    /// Bytes: a number, or a text such as `64MiB`.
    Size {
        min: u64,
        max: u64,
    },
    /// A size, or a share such as `5%`.
    Space,
    /// `ip:port` to listen on.
    Listen,
    /// `host:port` to connect to.
    Peer,
    /// A file that must be there and readable.
    File,
    Path,
    /// An IANA time zone.
    Zone,
    UidRoot,
    /// PS3.5 §6.2, AE.
    AeTitle,
    /// A list of transfer syntax UIDs that are written here.
    Syntaxes,
    /// `https://host[:port][/path]`; `http://` to this machine only.
    ServiceUrl,
    /// HL7 table 0211.
    Charset,
    /// `auto`, `off` or a path from the root.
    Ffmpeg,
    /// Code of a site of the body that is known here.
    BodySite,
    /// Code of a kind of department (PS3.16 CID 7030).
    DepartmentType,
    /// As [`procedure`] reads it.
    Procedure,
    /// 32 bytes in base64.
    Key,
}

/// A value as it stands in the file, or in a text of the environment or of a flag.
#[derive(Clone, Debug)]
pub enum Raw {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Raw>),
    /// Something no key takes: a float, a date, a table. Its TOML name.
    Other(&'static str),
    /// A text without quotes, whose type the key decides.
    Bare(String),
}

/// How much space must stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Bytes(u64),
    /// Per cent of the file system.
    Percent(u8),
}

/// A secret. It prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Words(Vec<String>),
    Flag(bool),
    Count(u64),
    Size(u64),
    Space(Space),
    Listen(SocketAddr),
    Path(PathBuf),
    Zone(TimeZone),
    Uid(Uid),
    Secret(Secret),
}

/// Length of the names of HL7 table 0211 and ASCII, as `hl7` reads them (blanks and hyphens aside).
const CHARSETS: &[&str] = &[
    "ASCII",
    "8859/1",
    "8859/2",
    "8859/3",
    "8859/4",
    "8859/5",
    "8859/6",
    "8859/7",
    "8859/8",
    "8859/9",
    "8859/15",
    "ISO IR14",
    "ISO IR87",
    "ISO IR159",
    "GB 18030-2000",
    "KS X 1001",
    "BIG-5",
    "UNICODE UTF-8",
    "WINDOWS-1252",
];

/// Longest part of a code: its meaning is LO (PS3.5 §6.2).
const CODE_PART_MAX: usize = 64;
/// UIDs are made of UUIDs (PS3.5 §B.2).
const UUID_ROOT: &str = "2.25";

impl Kind {
    /// Reads a value; `folder` is what a relative path is relative to.
    ///
    /// # Errors
    /// What is wrong with it, for the administrator.
    pub fn read(self, raw: &Raw, folder: &Path) -> Result<Value, String> {
        match self {
            Self::Text { max } => read_text(raw, max).map(Value::Text),
            Self::Choice { built, unbuilt } => read_word(&text(raw)?, built, unbuilt).map(Value::Text),
            Self::Words { built, unbuilt } => read_words(raw, built, unbuilt).map(Value::Words),
            Self::Names { max } => read_names(raw, max).map(Value::Words),
            Self::Flag => read_flag(raw).map(Value::Flag),
            Self::Commitment => read_commitment(raw).map(Value::Text),
            Self::Count { min, max } => read_count(raw, min, max).map(Value::Count),
            Self::Size { min, max } => read_size(raw, min, max).map(Value::Size),
            Self::Space => read_space(raw).map(Value::Space),
            Self::Listen => read_listen(&text(raw)?).map(Value::Listen),
            Self::Peer => read_peer(&text(raw)?).map(Value::Text),
            Self::File => read_file(&text(raw)?, folder).map(Value::Path),
            Self::Path => read_path(&text(raw)?, folder).map(Value::Path),
            Self::Zone => read_zone(&text(raw)?).map(Value::Zone),
            Self::UidRoot => read_uid_root(&text(raw)?).map(Value::Uid),
            Self::AeTitle => read_ae_title(&text(raw)?).map(Value::Text),
            Self::Syntaxes => read_syntaxes(raw).map(Value::Words),
            Self::ServiceUrl => read_service_url(&text(raw)?).map(Value::Text),
            Self::Ffmpeg => read_ffmpeg(&text(raw)?).map(Value::Text),
            Self::BodySite => read_code(&text(raw)?, codes::body_sites(), "body site").map(Value::Text),
            Self::DepartmentType => read_code(&text(raw)?, codes::department_types(), "kind of department").map(Value::Text),
            Self::Procedure => {
                let text = read_text(raw, 3 * CODE_PART_MAX)?;
                procedure(&text).map(|_| Value::Text(text))
            }
            Self::Charset => read_charset(&text(raw)?).map(Value::Text),
            Self::Key => read_key(&text(raw)?).map(Value::Secret),
        }
    }
}

impl Value {
    /// The value as TOML that reads back as the same; `None` for a secret.
    #[must_use]
    pub fn to_toml(&self) -> Option<String> {
        let quoted = |text: &str| toml_edit::Value::from(text).to_string();
        Some(match self {
            Self::Text(text) => quoted(text),
            Self::Words(words) => format!("[{}]", words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(", ")),
            Self::Flag(flag) => flag.to_string(),
            Self::Count(count) => count.to_string(),
            Self::Size(bytes) | Self::Space(Space::Bytes(bytes)) => quoted(&size_text(*bytes)),
            Self::Space(Space::Percent(share)) => quoted(&format!("{share}%")),
            Self::Listen(address) => quoted(&address.to_string()),
            Self::Path(path) => quoted(&path.to_string_lossy()),
            Self::Zone(zone) => quoted(zone.iana_name().unwrap_or("UTC")),
            Self::Uid(uid) => quoted(uid.as_str()),
            Self::Secret(_) => return None,
        })
    }
}

fn text(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Text(text) | Raw::Bare(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Raw::Text(_) | Raw::Bare(_) => Err("is empty".to_owned()),
        Raw::Integer(_) => Err("must be a text in quotes, not a number".to_owned()),
        Raw::Flag(_) => Err("must be a text in quotes, not true or false".to_owned()),
        Raw::List(_) => Err("must be a text in quotes, not a list".to_owned()),
        Raw::Other(what) => Err(format!("must be a text in quotes, not {what}")),
    }
}

/// A code that is known here; a name leads to its code.
fn read_code(code: &str, table: &[Entry], what: &str) -> Result<String, String> {
    if codes::find_code(table, code).is_some() {
        return Ok(code.to_owned());
    }
    let hits = Search::new(code).among(table);
    let hint = hits.first().map(|hit| format!("; did you mean \"{}\" ({})?", hit.code, hit.meaning)).unwrap_or_default();
    Err(format!("\"{}\" is no code of a {what} that is known here{hint}", shown(code)))
}

/// A procedure: `code^meaning^scheme` as in HL7 (CE), or a code that is known here.
///
/// # Errors
/// What is wrong with it.
pub fn procedure(text: &str) -> Result<Code, String> {
    if !text.contains('^') {
        let known = codes::find_code(codes::procedures(), text).map(Entry::to_code);
        return known.ok_or_else(|| {
            format!("\"{}\" is no code that is known here; write your own as \"code^meaning^scheme\"", shown(text))
        });
    }
    let parts: Vec<&str> = text.split('^').map(str::trim).collect();
    match parts.as_slice() {
        [code, meaning, scheme] if parts.iter().all(|p| !p.is_empty() && p.chars().count() <= CODE_PART_MAX) => {
            let [code, meaning, scheme] = [code, meaning, scheme].map(|part| (*part).to_owned());
            Ok(Code { code, scheme, meaning })
        }
        _ => Err(format!("is not \"code^meaning^scheme\", each of 1 to {CODE_PART_MAX} characters")),
    }
}

fn read_commitment(raw: &Raw) -> Result<String, String> {
    const WORDS: [&str; 3] = ["required", "ask", "none"];
    let word = match raw {
        Raw::Flag(true) => "required".to_owned(),
        Raw::Flag(false) => "none".to_owned(),
        Raw::Bare(text) if text == "true" => "required".to_owned(),
        Raw::Bare(text) if text == "false" => "none".to_owned(),
        other => text(other)?,
    };
    read_word(&word, &WORDS, &[])
}

fn read_text(raw: &Raw, max: usize) -> Result<String, String> {
    let text = text(raw)?;
    let length = text.chars().count();
    if length > max {
        return Err(format!("has {length} characters; {max} is the most"));
    }
    if !is_plain(&text) {
        return Err("has a control character, a direction override or a backslash".to_owned());
    }
    Ok(text)
}

fn read_word(word: &str, built: &[&'static str], unbuilt: &[&'static str]) -> Result<String, String> {
    if built.contains(&word) {
        return Ok(word.to_owned());
    }
    let choice = built.join("\", \"");
    if unbuilt.contains(&word) {
        return Err(format!("\"{word}\" is not built yet; use \"{choice}\""));
    }
    let hint = closest(word, built.iter().chain(unbuilt).copied()).map(|w| format!("; did you mean \"{w}\"?"));
    Err(format!("\"{}\" is not one of \"{choice}\"{}", shown(word), hint.unwrap_or_default()))
}

/// The texts of a list; `None` where it is none.
fn list(raw: &Raw) -> Option<Result<Vec<String>, String>> {
    match raw {
        Raw::List(list) => Some(list.iter().map(text).collect()),
        Raw::Bare(text) => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            Some(Ok(inner.split(',').map(|w| w.trim().trim_matches('"').to_owned()).collect()))
        }
        Raw::Text(_) | Raw::Integer(_) | Raw::Flag(_) | Raw::Other(_) => None,
    }
}

fn read_syntaxes(raw: &Raw) -> Result<Vec<String>, String> {
    let mut known: Vec<&str> = iod::ALL.iter().flat_map(|i| i.contexts).flat_map(|c| c.iter()).map(|s| s.uid()).collect();
    known.sort_unstable();
    known.dedup();
    let uids = list(raw).ok_or_else(|| format!("must be a list of UIDs, such as [\"{}\"]", Syntax::JpegBaseline.uid()))??;
    let mut read: Vec<String> = Vec::new();
    for uid in uids {
        if !known.contains(&uid.as_str()) {
            return Err(format!("\"{}\" is no transfer syntax that is written here: {}", shown(&uid), known.join(", ")));
        }
        if !read.contains(&uid) {
            read.push(uid);
        }
    }
    if read.is_empty() { Err("is empty; leave it out to offer all".to_owned()) } else { Ok(read) }
}

fn read_service_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text)
        .ok_or_else(|| format!("\"{}\" is not an address of a service; write \"https://host/dicom-web\"", shown(text)))?;
    let is_here = url.host == "localhost" || url.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if url.is_tls || is_here {
        return Ok(text.to_owned());
    }
    Err("sends patients' data and the token in clear text; write https://, or put a TLS tunnel on this machine".to_owned())
}

fn read_words(raw: &Raw, built: &[&'static str], unbuilt: &[&'static str]) -> Result<Vec<String>, String> {
    let given = list(raw).ok_or_else(|| format!("must be a list, such as [\"{}\"]", built.join("\", \"")))??;
    let mut words: Vec<String> = Vec::new();
    for word in given {
        let word = read_word(&word, built, unbuilt)?;
        if words.contains(&word) {
            return Err(format!("names \"{word}\" twice"));
        }
        words.push(word);
    }
    if words.is_empty() { Err(format!("is empty; name \"{}\"", built.join("\", \""))) } else { Ok(words) }
}

fn read_names(raw: &Raw, max: usize) -> Result<Vec<String>, String> {
    let given = match raw {
        Raw::List(list) => list.clone(),
        Raw::Bare(text) => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            inner.split(',').map(|w| Raw::Text(w.trim().trim_matches('"').to_owned())).collect()
        }
        Raw::Text(_) | Raw::Integer(_) | Raw::Flag(_) | Raw::Other(_) => return Err("must be a list of texts".to_owned()),
    };
    let mut names: Vec<String> = Vec::new();
    for name in &given {
        let name = read_text(name, max)?;
        if names.contains(&name) {
            return Err(format!("names \"{}\" twice", shown(&name)));
        }
        names.push(name);
    }
    if names.is_empty() { Err("is an empty list; leave the key out instead".to_owned()) } else { Ok(names) }
}

fn read_flag(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Flag(flag) => Ok(*flag),
        Raw::Bare(text) if text == "true" => Ok(true),
        Raw::Bare(text) if text == "false" => Ok(false),
        Raw::Text(_) => Err("must be true or false, without quotes".to_owned()),
        _ => Err("must be true or false".to_owned()),
    }
}

fn read_count(raw: &Raw, min: u64, max: u64) -> Result<u64, String> {
    let count = match raw {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Bare(text) => text.trim().parse().ok(),
        Raw::Text(_) => return Err("must be a number, without quotes".to_owned()),
        Raw::Flag(_) | Raw::List(_) | Raw::Other(_) => None,
    };
    count.filter(|c| (min..=max).contains(c)).ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

fn size_text(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(unit, size)| format!("{}{unit}", bytes / size))
}

fn parse_size(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Integer(bytes) => u64::try_from(*bytes).ok(),
        Raw::Text(text) | Raw::Bare(text) => {
            let text = text.trim();
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = text.get(digits.len()..)?;
            let number: u64 = digits.trim_end().replace('_', "").parse().ok()?;
            if unit.is_empty() {
                return Some(number);
            }
            let (_, size) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
            number.checked_mul(*size)
        }
        Raw::Flag(_) | Raw::List(_) | Raw::Other(_) => None,
    }
}

fn read_size(raw: &Raw, min: u64, max: u64) -> Result<u64, String> {
    let bytes = parse_size(raw).ok_or("is not a size; write \"64MiB\", \"4GiB\" or a number of bytes")?;
    if (min..=max).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("must be from {} to {}", size_text(min), size_text(max)))
}

fn read_space(raw: &Raw) -> Result<Space, String> {
    const HOW: &str = "is neither a share nor a size; write \"5%\" or \"2GiB\"";
    if let Raw::Text(text) | Raw::Bare(text) = raw
        && let Some(share) = text.trim().strip_suffix('%')
    {
        let share: u8 = share.trim().parse().map_err(|_| HOW)?;
        return if share <= 90 { Ok(Space::Percent(share)) } else { Err("must be from 0% to 90%".to_owned()) };
    }
    parse_size(raw).map(Space::Bytes).ok_or_else(|| HOW.to_owned())
}

fn read_listen(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| port_wrong(port))?;
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        if let Some(port) = text.strip_prefix(':') {
            return format!("has no address; write \"127.0.0.1:{0}\", or \"0.0.0.0:{0}\" for every interface", shown(port));
        }
        if text.parse::<std::net::IpAddr>().is_ok() {
            return format!("has no port; write \"{text}:8443\"");
        }
        format!("\"{}\" is not an address to listen on; write \"127.0.0.1:8443\" or \"[::1]:8443\"", shown(text))
    })
}

fn read_peer(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("has no port; write \"host:port\"")?;
    if !port.parse::<u16>().is_ok_and(|p| p > 0) {
        return Err(port_wrong(port));
    }
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let legal = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 253 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    if legal { Ok(text.to_owned()) } else { Err(format!("\"{}\" is not a host name or an address", shown(host))) }
}

fn port_wrong(port: &str) -> String {
    format!("\"{}\" is not a port from 1 to 65535", shown(port))
}

fn read_path(text: &str, folder: &Path) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("has a NUL character".to_owned());
    }
    Ok(folder.join(text))
}

fn read_file(text: &str, folder: &Path) -> Result<PathBuf, String> {
    let path = read_path(text, folder)?;
    let found = std::fs::File::open(&path).and_then(|file| file.metadata());
    match found {
        Ok(meta) if meta.is_dir() => Err(format!("{} is a folder, not a file", path.display())),
        Ok(_) => Ok(path),
        Err(error) => Err(format!("{}: {}", path.display(), io_reason(&error))),
    }
}

/// A reason in words; the number of the operating system helps nobody here.
fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => error.to_string(),
    }
}

fn read_zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| {
        let names: Vec<String> = jiff::tz::db().available().map(|n| n.to_string()).collect();
        let hint = closest(text, names.iter().map(String::as_str)).map(|n| format!("; did you mean \"{n}\"?"));
        format!("\"{}\" is not an IANA time zone{}", shown(text), hint.unwrap_or_default())
    })
}

fn read_uid_root(text: &str) -> Result<Uid, String> {
    let root =
        Uid::parse(text).map_err(|bad| format!("\"{}\" is {bad}; digits and single dots, as \"{UUID_ROOT}\"", shown(text)))?;
    if root.as_str() == UUID_ROOT { Ok(root) } else { Err(format!("\"{root}\" is not built yet; use \"{UUID_ROOT}\"")) }
}

fn read_ae_title(text: &str) -> Result<String, String> {
    if text.len() > 16 {
        return Err(format!("has {} characters; an AE title has 16 at most (PS3.5 §6.2)", text.len()));
    }
    if !text.bytes().all(|b| (0x20..0x7F).contains(&b) && b != b'\\') {
        return Err("has a character that no AE title may have (PS3.5 §6.2)".to_owned());
    }
    Ok(text.to_owned())
}

fn read_charset(text: &str) -> Result<String, String> {
    let plain = |name: &str| name.replace([' ', '-'], "").to_uppercase();
    let found = CHARSETS.iter().find(|name| plain(name) == plain(text));
    found.map(|name| (*name).to_owned()).ok_or_else(|| {
        let hint = closest(&text.to_uppercase(), CHARSETS.iter().copied()).map(|n| format!("; did you mean \"{n}\"?"));
        format!("\"{}\" is not a character set of HL7 table 0211{}", shown(text), hint.unwrap_or_default())
    })
}

fn read_ffmpeg(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if text.contains('/') {
        return Err("is a path that does not begin with /; name the whole path, \"auto\" or \"off\"".to_owned());
    }
    read_word(text, &["auto", "off"], &[])
}

fn read_key(text: &str) -> Result<Secret, String> {
    // 32 bytes are 43 letters and one `=`. The text itself never enters a message.
    let (body, pad) = text.split_at_checked(43).unwrap_or((text, ""));
    let legal = body.len() == 43 && pad == "=" && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    if legal { Ok(Secret(text.to_owned())) } else { Err("is not 32 bytes in base64 (44 characters)".to_owned()) }
}

/// What a message may repeat of a wrong value: enough to find it.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(kind: Kind, text: &str) -> Result<Value, String> {
        kind.read(&Raw::Bare(text.to_owned()), Path::new("/etc/gw"))
    }

    #[test]
    fn a_size_reads_in_binary_and_decimal_units() {
        let size = Kind::Size { min: 0, max: u64::MAX };
        for (text, bytes) in [("64MiB", 64 << 20), ("4 GiB", 4 << 30), ("1kB", 1000), ("1KB", 1000), ("17", 17), ("17B", 17)] {
            assert_eq!(bare(size, text), Ok(Value::Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "64 apples", "99999999999TiB"] {
            assert!(bare(size, text).is_err(), "{text}");
        }
        assert_eq!(size_text(64 << 20), "64MiB");
        assert_eq!(size_text(1001), "1001B");
        assert_eq!(size_text(0), "0B");
    }

    #[test]
    fn an_address_says_what_it_lacks() {
        assert!(bare(Kind::Listen, "127.0.0.1").unwrap_err().contains("no port"));
        assert!(bare(Kind::Listen, ":8443").unwrap_err().contains("0.0.0.0:8443"));
        assert!(bare(Kind::Listen, "[::1]:0").is_ok() && bare(Kind::Listen, "localhost:0").is_ok());
        for good in ["pacs.example:104", "10.0.0.1:11112", "[fe80::1]:104"] {
            assert!(bare(Kind::Peer, good).is_ok(), "{good}");
        }
        for wrong in ["pacs", "pacs:", "pacs:0", "pacs:70000", ":104", "fe80::1:104", "[pacs]:104", "http://pacs:104"] {
            assert!(bare(Kind::Peer, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_in_no_message() {
        let told = bare(Kind::Key, "c2VjcmV0").unwrap_err();
        assert!(!told.contains("c2Vj"), "{told}");
        let key = bare(Kind::Key, &format!("{}=", "A".repeat(43))).unwrap();
        assert_eq!(format!("{key:?}"), "Secret([redacted])");
        assert_eq!(key.to_toml(), None);
    }

    #[test]
    fn a_time_zone_is_checked_against_the_database() {
        assert!(bare(Kind::Zone, "Asia/Tokyo").is_ok());
        assert!(bare(Kind::Zone, "Europe/Berln").unwrap_err().contains("did you mean \"Europe/Berlin\""));
    }
}
