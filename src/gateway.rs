//! The composition root: opens the adapters, wires the rooms, starts and stops threads.

use crate::capture::{Claim, Patient};
use crate::cli::serve::Running;
use crate::cli::upkeep::Upkeep;
use crate::cli::wrap::Wrapper;
use crate::config::Config;

const NOT_YET: &str = "this is not built yet";

/// # Errors
/// Always, for now.
pub fn start(_: Config) -> Result<Box<dyn Running>, String> {
    Err(NOT_YET.to_owned())
}

/// # Errors
/// Always, for now.
pub fn wrapper(_: &Config, _: Claim, _: Patient) -> Result<Box<dyn Wrapper>, String> {
    Err(NOT_YET.to_owned())
}

/// # Errors
/// Always, for now.
pub fn rebuild_journal(_: &Config) -> Result<Upkeep, String> {
    Err(NOT_YET.to_owned())
}

/// # Errors
/// Always, for now.
pub fn verify_spool(_: &Config) -> Result<Upkeep, String> {
    Err(NOT_YET.to_owned())
}
