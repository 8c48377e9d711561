//! `spool verify`, `journal rebuild`, `audit verify`: does what lies on the disk hold?

use std::io::Write;
use std::path::Path;

use super::status;
use crate::audit;
use crate::capture::CaptureId;
use crate::capture::record::SealedManifest;
use crate::spool::{Entry, Name, Present, Spool, SpoolError};

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
            Entry::Damaged { name, why } => upkeep.faults.push(format!("{}: {why}", own_name(&name))),
            Entry::Orphan(present) => upkeep.faults.push(format!("{}: files without their head, never promised", present.id)),
        }
    }
    upkeep.summary = format!("{captures} captures, {files} sealed files");
    Ok(upkeep)
}

/// A name that is none of ours may be anything, also a person's.
fn own_name(name: &str) -> &str {
    let is_ours = name.parse::<CaptureId>().is_ok() || name.parse::<Name>().is_ok();
    if is_ours { name } else { "a file in the spool that is none of the gateway's" }
}

fn names(present: &Present) -> impl Iterator<Item = Name> {
    let item = |index: &u16| present.id.item(*index);
    let items = present.items.iter().map(item).map(Name::Item);
    let derived = present.derived.iter().map(item).map(Name::Derived);
    let stills = present.stills.iter().map(item).map(Name::Stills);
    let beside = [(present.binding, Name::Binding(present.id)), (present.stopped, Name::Stopped(present.id))];
    items.chain(derived).chain(stills).chain(beside.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)))
}

/// Reads all of it: every chunk is authenticated, and the end is the true end.
fn verify_file(spool: &Spool, name: Name) -> Result<(), String> {
    let told = |error: SpoolError| error.to_string();
    let mut payload = spool.payload(name).map_err(told)?;
    let mut length = 0;
    loop {
        let chunk = payload.fill_chunk().map_err(told)?;
        if chunk.is_empty() {
            break;
        }
        length += chunk.len() as u64;
    }
    let Name::Item(item) = name else { return Ok(()) };
    let bytes = spool.manifest(item).map_err(told)?;
    // serde's message would repeat what stands there.
    let manifest: SealedManifest =
        serde_json::from_slice(&bytes).map_err(|_| "its manifest cannot be read by this version".to_owned())?;
    if manifest.capture != item.capture || manifest.index != item.index || manifest.item.sealed_bytes != length {
        return Err("it is not the file that its manifest tells of".to_owned());
    }
    Ok(())
}

/// Checks the chain of the audit log, and holds it against its signed head.
///
/// # Errors
/// Names the first line that is not what was written there.
pub fn verify_audit(file: &Path, seal: &audit::Seal) -> Result<Upkeep, String> {
    let verified = audit::verify(file, seal).map_err(|error| error.to_string())?;
    let summary = format!("{} lines, the last has the hash {}", verified.lines, verified.head);
    Ok(Upkeep { summary, faults: Vec::new() })
}
