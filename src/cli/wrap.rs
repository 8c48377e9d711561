//! `wrap`: scrub and DICOM without a server.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use serde_json::Value;

use super::args::WrapArgs;
use super::open_file::{OpenFile, kind_of};
use super::output::Output;
use super::scrub::print_line;
use super::status;
use crate::capture::claim::ClaimError;
use crate::capture::{Claim, Patient};
use crate::media::Sniffed;
use crate::pipeline::offline::Offline;
use crate::scrub::report::Report;

/// A claim with its patient is a page.
const CLAIM_BYTES_MAX: u64 = 1 << 20;

/// Makes the wrapper for a claim and the patient it was resolved to, or says why it cannot.
pub type Prepare<'a> = &'a mut dyn FnMut(Claim, Patient) -> Result<Offline, String>;

/// Wraps each file into the folder, and prints one JSON line for each.
pub fn run(args: &WrapArgs, prepare: Prepare<'_>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let prepared = read_claim(&args.claim).and_then(|(claim, patient)| prepare(claim, patient)).and_then(|wrapper| {
        fs::create_dir_all(&args.out)
            .map(|()| wrapper)
            .map_err(|error| format!("The folder {} cannot be made: {error}.", args.out.display()))
    });
    let mut wrapper = match prepared {
        Ok(wrapper) => wrapper,
        Err(why) => {
            let _ = writeln!(err, "{why}");
            return status::USAGE;
        }
    };
    let mut all_done = true;
    for (file, number) in args.files.iter().zip(1..) {
        let report = wrap_file(file, &args.out, number, &mut wrapper);
        all_done &= report.error.is_none();
        print_line(&report, out);
    }
    if all_done { status::DONE } else { status::FAILED }
}

fn wrap_file(path: &Path, folder: &Path, number: u32, wrapper: &mut Offline) -> Report {
    let input = path.to_string_lossy().into_owned();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Report::refused(input, "unreadable", format!("The file cannot be read: {error}.")),
    };
    let unwritable = |input, error| Report::refused(input, "unwritable", format!("The output cannot be written: {error}."));
    let mut output = match Output::create(folder, usize::try_from(number).unwrap_or(usize::MAX)) {
        Ok(output) => output,
        Err(error) => return unwritable(input, error),
    };
    let is_film = matches!(kind_of(&file), Some(Sniffed::Known(kind)) if kind.is_video());
    let made = if is_film {
        match OpenFile::new(file) {
            Ok(source) => wrapper.wrap_film(number, &source, folder, &mut output),
            Err(error) => return Report::refused(input, "unreadable", format!("The file cannot be read: {error}.")),
        }
    } else {
        wrapper.wrap(number, &mut file, &mut output)
    };
    let object = match made {
        Ok(object) => object,
        Err((code, detail)) => return Report::refused(input, code, detail),
    };
    match output.finish("dcm") {
        Ok(name) => Report {
            input,
            output: Some(name.to_string_lossy().into_owned()),
            media: Some(object.media),
            location_found: object.location_found,
            removed: object.removed,
            essence: Some(object.essence),
            sop_class: Some(object.sop_class),
            transfer_syntax: Some(object.transfer_syntax),
            error: None,
        },
        Err(error) => unwritable(input, error),
    }
}

/// Reads `CLAIM.json`: a claim with one member more, `resolved`, a patient as `POST /lookup`
/// answers it, with the one visit and the one order to use.
///
/// # Errors
/// What is wrong, for the person at the shell; no value of the file is repeated.
pub fn read_claim(path: &Path) -> Result<(Claim, Patient), String> {
    let shown = path.display();
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| format!("{shown} cannot be read: {error}."))?;
    file.take(CLAIM_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| format!("{shown} cannot be read: {error}."))?;
    if text.len() as u64 > CLAIM_BYTES_MAX {
        return Err(format!("{shown} is longer than 1 MiB, which no claim is."));
    }
    let mut value: Value = serde_json::from_slice(&text)
        .map_err(|error| format!("{shown} is not JSON (line {}, column {}).", error.line(), error.column()))?;
    let resolved = value.as_object_mut().and_then(|members| members.remove("resolved"));
    let claim =
        Claim::from_json(&value).map_err(|errors| format!("{shown} is not a valid claim:\n{}", ClaimError::list(&errors)))?;
    let resolved = resolved.ok_or_else(|| {
        format!("{shown} has no member `resolved`: the patient as POST /api/v1/lookup answers it, with the visit and the order to use.")
    })?;
    // serde's message would repeat the value.
    let patient: Patient = serde_json::from_value(resolved)
        .map_err(|_| format!("{shown}: `resolved` is not a patient as POST /api/v1/lookup answers it."))?;
    if patient.visits.len() > 1 || patient.orders.len() > 1 {
        return Err(format!("{shown}: `resolved` has more than one visit or order; keep the one to use."));
    }
    Ok((claim, patient))
}
