//! Log lines on stderr: `time level event key=value …`.
//!
//! A value is anything that prints itself; [`crate::capture::Phi`] does not, so that no name or
//! number can get in by itself. The sender's texts never belong here.

use std::fmt::{Display, Write as _};
use std::io::Write as _;

use jiff::Timestamp;

use crate::clock::Clock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something happened as it should.
    Note,
    /// Somebody should look at it in working hours.
    Warn,
    /// The gateway cannot do what it promised; somebody should look at it now.
    Error,
}

impl Level {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What a line may say beside its event.
pub type Pairs<'a> = &'a [(&'static str, &'a dyn Display)];

/// Longest value of a log line, characters: an archive's own words may be a page.
const VALUE_MAX: usize = 300;

pub fn note(event: &str, pairs: Pairs<'_>) {
    write(Level::Note, event, pairs);
}

pub fn warn(event: &str, pairs: Pairs<'_>) {
    write(Level::Warn, event, pairs);
}

pub fn error(event: &str, pairs: Pairs<'_>) {
    write(Level::Error, event, pairs);
}

fn write(level: Level, event: &str, pairs: Pairs<'_>) {
    let line = line(Clock::system().now(), level, event, pairs);
    // A log that cannot be written must not stop a capture.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// One line, ended. A value with blanks, quotes or control characters is quoted, so that no value
/// can look like another pair or another line.
#[must_use]
pub fn line(at: Timestamp, level: Level, event: &str, pairs: Pairs<'_>) -> String {
    let mut out = format!("{at:.3} {} {event}", level.word());
    for (key, value) in pairs {
        let text = value.to_string();
        let plain = !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=');
        let cut: String = text.chars().take(VALUE_MAX).collect();
        let _ = if plain { write!(out, " {key}={cut}") } else { write!(out, " {key}={cut:?}") };
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_forge_another_line_or_pair() {
        let at = Timestamp::from_millisecond(1_772_000_000_120).unwrap();
        let made = line(at, Level::Warn, "archive-refused", &[("archive", &"pacs"), ("said", &"no\nerror x=\"1\""), ("n", &7)]);
        assert_eq!(made, "2026-02-25T06:13:20.120Z warn archive-refused archive=pacs said=\"no\\nerror x=\\\"1\\\"\" n=7\n");
    }
}
