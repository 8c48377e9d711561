//! The commands.
//!
//! Owns: the words of the command line, what each command prints, the demo.
//! Never: reads the configuration or opens the gateway: `main.rs` hands it what it needs.

use std::io::Write;

pub mod args;
pub mod check;
pub mod client;
pub mod demo;
pub mod open_file;
pub mod output;
pub mod queue;
pub mod scrub;
pub mod serve;
pub mod suggest;
pub mod token;
pub mod upkeep;
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
pub const VERSION: &str = concat!("shutterbridge ", env!("CARGO_PKG_VERSION"), "\n");

/// What `openapi` prints.
pub const OPENAPI: &str = include_str!("../../api-spec/openapi.yaml");

/// Prints `text`.
pub fn say(out: &mut dyn Write, text: &str) -> u8 {
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => status::DONE,
        Err(_) => status::FAILED,
    }
}
