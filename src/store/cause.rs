//! Why the system refused, without the path it refused.

use std::fmt;
use std::io::{self, ErrorKind};

/// An error of the operating system that may stand in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    pub kind: ErrorKind,
    /// `errno`, where there was one.
    pub code: Option<i32>,
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Self {
        Self { kind: error.kind(), code: error.raw_os_error() }
    }
}

impl From<Cause> for io::Error {
    fn from(cause: Cause) -> Self {
        cause.code.map_or_else(|| cause.kind.into(), Self::from_raw_os_error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_reads_what_the_system_said() {
        let error = io::Error::from_raw_os_error(5);
        assert!(Cause::from(&error).to_string().contains("nput/output error"));
        let error = io::Error::new(ErrorKind::UnexpectedEof, "/secret/path");
        assert_eq!(Cause::from(&error).to_string(), "unexpected end of file");
    }
}
