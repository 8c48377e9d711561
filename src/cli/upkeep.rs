//! `spool verify`, `journal rebuild`, `audit verify`: does what lies on the disk hold?

use std::io::Write;
use std::path::Path;

use super::status;
use crate::audit;
use crate::capture::record::SealedManifest;
use crate::spool::{Damage, Entry, Name, Present, Spool, SpoolError};

/// What was looked at, and what does not hold. Carries ids, never patient data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// One line, e.g. `12 captures, 14 files`.
    pub summary: String,
    pub faults: Vec<String>,
}

/// Prints the outcome of `doing`; fails where something does not hold.
pub fn tell(outcome: Result<Upkeep, String>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let upkeep = match outcome {
        Ok(upkeep) => upkeep,
        Err(why) => {
            let _ = writeln!(err, "{why}");
            return status::FAILED;
        }
    };
    for fault in &upkeep.faults {
        let _ = writeln!(err, "{fault}");
    }
    let verdict = match upkeep.faults.len() {
        0 => "all is well".to_owned(),
        1 => "1 fault".to_owned(),
        n => format!("{n} faults"),
    };
    let _ = writeln!(out, "{}: {verdict}", upkeep.summary);
    if upkeep.faults.is_empty() { status::DONE } else { status::FAILED }
}

/// Opens every sealed file and reads it to its end.
///
/// # Errors
/// Where the spool cannot be listed; what is wrong with a file is a fault.
pub fn verify_spool(spool: &Spool) -> Result<Upkeep, String> {
    let mut upkeep = Upkeep::default();
    let (mut captures, mut files) = (0u64, 0u64);
    for entry in spool.list().map_err(|error| error.to_string())? {
        match entry {
            Entry::Capture(present) => {
                captures += 1;
                for name in names(&present) {
                    files += 1;
                    if let Err(why) = verify_file(spool, name) {
                        upkeep.faults.push(format!("{name}: {why}"));
                    }
                }
            }
            Entry::Damaged { name, why } => upkeep.faults.push(damage_line(&name, why)),
            Entry::Orphan(present) => upkeep.faults.push(format!("{}: files without their head, never promised", present.id)),
        }
    }
    upkeep.summary = format!("{captures} captures, {files} sealed files");
    Ok(upkeep)
}

/// A name that is none of ours may be anything, also a person's.
fn damage_line(name: &str, why: Damage) -> String {
    if why == Damage::Foreign { "a file in the spool that is none of the gateway's".to_owned() } else { format!("{name}: {why}") }
}

fn names(present: &Present) -> impl Iterator<Item = Name> {
    let item = |index: &u16| present.id.item(*index);
    let items = present.items.iter().map(item).map(Name::Item);
    let derived = present.derived.iter().map(item).map(Name::Derived);
    items.chain(derived).chain(present.binding.then_some(Name::Binding(present.id)))
}

/// Reads all of it: every chunk is authenticated, and the end is the true end.
fn verify_file(spool: &Spool, name: Name) -> Result<(), String> {
    let told = |error: SpoolError| error.to_string();
    let mut payload = spool.payload(name).map_err(told)?;
    while !payload.fill_chunk().map_err(told)?.is_empty() {}
    let Name::Item(item) = name else { return Ok(()) };
    let bytes = spool.manifest(item).map_err(told)?;
    // serde's message would repeat what stands there.
    serde_json::from_slice::<SealedManifest>(&bytes)
        .map(drop)
        .map_err(|_| "its manifest cannot be read by this version".to_owned())
}

/// Checks the chain of the audit log.
///
/// # Errors
/// Names the first line that is not what was written there.
pub fn verify_audit(file: &Path) -> Result<Upkeep, String> {
    let verified = audit::verify(file).map_err(|error| error.to_string())?;
    // Who keeps the last hash elsewhere sees also whether the end was cut off.
    let summary = format!("{} lines, the last has the hash {}", verified.lines, verified.head);
    Ok(Upkeep { summary, faults: Vec::new() })
}
