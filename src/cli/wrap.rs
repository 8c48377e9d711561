//! `wrap`: scrub and DICOM without a server.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::WrapArgs;
use super::open_file::{OpenFile, kind_of};
use super::output::Output;
use super::scrub::print_line;
use super::status;
use crate::capture::claim::ClaimError;
use crate::capture::{Claim, Patient, Uid};
use crate::media::Sniffed;
use crate::pipeline::burst::{Gathered, MISFIT};
use crate::pipeline::offline::{Offline, Still, Unwrapped};
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
    if args.burst {
        return wrap_burst(args, &mut wrapper, out);
    }
    let mut all_done = true;
    for (file, number) in args.files.iter().zip(1..) {
        let report = wrap_file(file, &args.out, number, &mut wrapper);
        all_done &= report.error.is_none();
        print_line(&report, out);
    }
    if all_done { status::DONE } else { status::FAILED }
}

/// All files into one object, or none: a line for each either way.
fn wrap_burst(args: &WrapArgs, wrapper: &mut Offline, out: &mut dyn Write) -> u8 {
    let named = |path: &Path| path.to_string_lossy().into_owned();
    let (mut stills, mut refused) = (Vec::new(), Vec::new());
    let made = gather(args, wrapper, &mut stills, &mut refused).and_then(|made| made.ok_or_else(gone_with_the_others));
    for (path, at) in args.files.iter().zip(0..) {
        let why = refused.iter().find(|(number, _)| *number == at).map(|(_, why)| why);
        let report = match (&made, stills.get(at)) {
            (Ok((name, sop_class, syntax)), Some(still)) => Report {
                essence: Some(still.essence),
                sop_class: Some(sop_class.clone()),
                transfer_syntax: Some(syntax.clone()),
                ..Report::scrubbed(named(path), name.to_string_lossy().into_owned(), &still.scrubbed)
            },
            (made, _) => {
                let (code, detail) = why.or(made.as_ref().err()).cloned().unwrap_or_else(gone_with_the_others);
                Report::refused(named(path), code, detail)
            }
        };
        print_line(&report, out);
    }
    if made.is_ok() { status::DONE } else { status::FAILED }
}

fn gone_with_the_others() -> Unwrapped {
    (MISFIT, "Not wrapped: another photo of this burst was refused.".to_owned())
}

/// Where the object is, with its class and syntax; `None` where a photo was refused, with its place
/// among the files.
fn gather(
    args: &WrapArgs,
    wrapper: &mut Offline,
    stills: &mut Vec<Still>,
    refused: &mut Vec<(usize, Unwrapped)>,
) -> Result<Option<(PathBuf, Uid, Uid)>, Unwrapped> {
    let mut burst = Offline::begin_burst(&args.out)?;
    for (path, at) in args.files.iter().zip(0..) {
        match add_still(path, wrapper, &mut burst) {
            Ok(still) => stills.push(still),
            Err(why) => refused.push((at, why)),
        }
    }
    if !refused.is_empty() {
        return Ok(None);
    }
    let unwritable = |e| ("unwritable", format!("The output cannot be written: {e}."));
    let mut output = Output::create(&args.out, 1).map_err(unwritable)?;
    let (sop_class, syntax) = wrapper.wrap_burst(burst, &mut output)?;
    Ok(Some((output.finish("dcm").map_err(unwritable)?, sop_class, syntax)))
}

fn add_still(path: &Path, wrapper: &mut Offline, burst: &mut Gathered) -> Result<Still, Unwrapped> {
    let mut file = File::open(path).map_err(|e| ("unreadable", format!("The file cannot be read: {e}.")))?;
    if matches!(kind_of(&file), Some(Sniffed::Known(kind)) if kind.is_video()) {
        return Err((MISFIT, "A burst is of photos, and this is a video. Wrap it without --burst.".to_owned()));
    }
    wrapper.add_still(burst, &mut file)
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
