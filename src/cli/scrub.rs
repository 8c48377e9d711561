//! `scrub`: the scrub alone, file by file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::args::ScrubArgs;
use super::output::Output;
use super::status;
use crate::capture::MediaKind;
use crate::media::sniff::HEAD_BYTES;
use crate::media::source::Source;
use crate::media::{Sniffed, sniff};
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

/// A file that is read at any place, by as many as like.
struct OpenFile {
    file: File,
    length_bytes: u64,
}

impl Source for OpenFile {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

/// What is no JPEG and no PNG has an index, or is refused by who knows all kinds.
fn scrub_into(file: File, output: &mut Output) -> Result<Scrubbed, Stopped> {
    // A pipe has no length and no places; what has no index needs neither.
    let length_bytes = file.metadata().map_err(Stopped::Read)?.len();
    let mut head = [0; HEAD_BYTES];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    match sniff(head.get(..length).unwrap_or_default()) {
        Sniffed::Known(MediaKind::Jpeg | MediaKind::Png) => stream(file, output),
        _ if length == 0 => stream(file, output),
        Sniffed::Known(MediaKind::Heic | MediaKind::Mp4 | MediaKind::QuickTime | MediaKind::Pdf) | Sniffed::Other(_) => {
            let mut sink = |bytes: &[u8]| output.write_all(bytes);
            let source = OpenFile { file, length_bytes };
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
