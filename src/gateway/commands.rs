//! What the commands need of the composition root.

use super::{open_journal, open_key};
use crate::capture::{Claim, Patient};
use crate::cli::serve::{self, Doors};
use crate::cli::upkeep::{self, Upkeep};
use crate::cli::wrap::Wrapper;
use crate::clock::Clock;
use crate::config::Config;
use crate::spool::{self, Spool};

impl serve::Running for super::Running {
    fn doors(&self) -> Doors {
        Doors { https: self.https, mllp: self.mllp, ops: self.ops, dev_ca: self.dev_ca.clone() }
    }

    fn stop(self: Box<Self>) {
        super::Running::stop(*self);
    }
}

/// Starts the gateway.
///
/// # Errors
/// What the administrator must know.
pub fn start(config: &Config) -> Result<Box<dyn serve::Running>, String> {
    let running = super::start(config).map_err(|error| error.to_string())?;
    Ok(Box::new(running))
}

/// # Errors
/// Always: wrapping without a server is not wired yet.
pub fn wrapper(_: &Config, _: Claim, _: Patient) -> Result<Box<dyn Wrapper>, String> {
    Err("wrap is not built yet".to_owned())
}

/// # Errors
/// Where the spool cannot be opened or listed.
pub fn verify_spool(config: &Config) -> Result<Upkeep, String> {
    let (spool, _) = open_spool(config)?;
    upkeep::verify_spool(&spool)
}

/// # Errors
/// Where the spool or the journal cannot be opened.
pub fn rebuild_journal(config: &Config) -> Result<Upkeep, String> {
    let (spool, kek) = open_spool(config)?;
    let journal = open_journal(&config.data.dir.join("index"), &kek, &Clock::system()).map_err(|error| error.to_string())?;
    upkeep::rebuild_journal(&spool, &journal)
}

/// The spool as it lies there: a command that looks must not begin an empty one, nor a key.
fn open_spool(config: &Config) -> Result<(Spool, crate::seal::aead::Kek), String> {
    let dir = config.data.dir.join("spool");
    if !dir.is_dir() {
        return Err(format!("{} is not there: nothing was ever accepted in this data.dir", dir.display()));
    }
    let kek = open_key(config).map_err(|error| error.to_string())?;
    let spool = Spool::open(&dir, &kek, spool::Options::default()).map_err(|error| error.to_string())?;
    Ok((spool, kek))
}
