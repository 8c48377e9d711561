//! The commands.
//!
//! Owns: the words of the command line, what each command prints, the demo.
//! Never: reads the configuration or opens the gateway: `main.rs` hands it what it needs.

pub mod args;
pub mod demo;
pub mod output;
pub mod scrub;
pub mod suggest;
pub mod token;
pub mod wrap;

/// Exit codes of every command.
pub mod status {
    pub const DONE: u8 = 0;
    /// What was asked for did not hold, or was not done for every file.
    pub const FAILED: u8 = 1;
    /// The command line, or a file that it names, is wrong.
    pub const USAGE: u8 = 2;
}

/// What `version` prints.
#[must_use]
pub fn version() -> String {
    format!("shutterbridge {}\n", env!("CARGO_PKG_VERSION"))
}
