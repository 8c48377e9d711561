//! `scrub`: the scrub alone, file by file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::args::ScrubArgs;
use super::open_file::{OpenFile, kind_of};
use super::output::Output;
use super::status;
use crate::capture::MediaKind;
use crate::media::Sniffed;
use crate::scrub::container::{self, CopyError};
use crate::scrub::report::Report;
use crate::scrub::{Limits, Purpose, PushError, ScrubError, Scrubbed, Scrubber};

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Scrubs each file into the folder, and prints one JSON line for each.
pub fn run(args: &ScrubArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    if let Err(error) = fs::create_dir_all(&args.out) {
        let _ = writeln!(err, "The folder {} cannot be made: {error}.", args.out.display());
        return status::USAGE;
    }
    let mut all_done = true;
    for (file, number) in args.files.iter().zip(1..) {
        let report = scrub_file(file, &args.out, number);
        all_done &= report.error.is_none();
        print_line(&report, out);
    }
    if all_done { status::DONE } else { status::FAILED }
}

/// Prints a report line.
pub fn print_line(report: &Report, out: &mut dyn Write) {
    if let Ok(line) = serde_json::to_string(report) {
        // A reader that went away must not stop the files that are left.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

fn scrub_file(path: &Path, folder: &Path, number: usize) -> Report {
    let input = path.to_string_lossy().into_owned();
    let mut output = match Output::create(folder, number) {
        Ok(output) => output,
        Err(error) => return Report::refused(input, "unwritable", format!("The output cannot be written: {error}.")),
    };
    match File::open(path).map_err(Stopped::Read).and_then(|file| scrub_into(file, &mut output)) {
        Ok(scrubbed) => match output.finish(scrubbed.media.extension()) {
            Ok(name) => Report::scrubbed(input, name.to_string_lossy().into_owned(), &scrubbed),
            Err(error) => Report::refused(input, "unwritable", format!("The output cannot be written: {error}.")),
        },
        Err(Stopped::Read(error)) => Report::refused(input, "unreadable", format!("The file cannot be read: {error}.")),
        Err(Stopped::Scrub(error)) => Report::from_error(input, &error),
        Err(Stopped::Write(error)) => Report::refused(input, "unwritable", format!("The output cannot be written: {error}.")),
    }
}

enum Stopped {
    Read(io::Error),
    Scrub(ScrubError),
    Write(io::Error),
}

impl From<PushError<io::Error>> for Stopped {
    fn from(error: PushError<io::Error>) -> Self {
        match error {
            PushError::Scrub(error) => Self::Scrub(error),
            PushError::Sink(error) => Self::Write(error),
        }
    }
}

impl From<CopyError<io::Error>> for Stopped {
    fn from(error: CopyError<io::Error>) -> Self {
        match error {
            CopyError::Read(error) => Self::Read(error),
            CopyError::Scrub(error) => Self::Scrub(error),
            CopyError::Sink(error) => Self::Write(error),
        }
    }
}

/// What is no JPEG and no PNG has an index, or is refused by who knows all kinds.
fn scrub_into(file: File, output: &mut Output) -> Result<Scrubbed, Stopped> {
    match kind_of(&file) {
        // A pipe has no length and no places; what has no index needs neither.
        None | Some(Sniffed::Known(MediaKind::Jpeg | MediaKind::Png)) => stream(file, output),
        Some(Sniffed::Known(MediaKind::Heic | MediaKind::Mp4 | MediaKind::QuickTime | MediaKind::Pdf) | Sniffed::Other(_)) => {
            let mut sink = |bytes: &[u8]| output.write_all(bytes);
            let source = OpenFile::new(file).map_err(Stopped::Read)?;
            Ok(container::scrub(&source, Purpose::File, &Limits::default(), &mut sink)?)
        }
    }
}

/// The whole file is never in memory.
fn stream(mut file: File, output: &mut Output) -> Result<Scrubbed, Stopped> {
    let mut scrubber = Scrubber::new(Purpose::File, &Limits::walking());
    let mut sink = |bytes: &[u8]| output.write_all(bytes);
    let mut buffer = vec![0u8; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(scrubber.finish(&mut sink)?),
            Ok(length) => {
                let chunk = buffer.get(..length).unwrap_or_default();
                scrubber.push(chunk, &mut sink)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stopped::Read(error)),
        }
    }
}
