//! Floor 3: foreign codecs in a process of their own.
//!
//! A decoder of HEVC is a hundred times what a scrub reads, and what it reads comes from a phone. So it
//! runs as another process of this same program, which takes limits of memory, time and system calls
//! upon itself before it sees the first byte, and has nothing but a pipe in and a pipe out. What comes
//! out is a stranger's file again: the caller scrubs it as if a phone had sent it.
//!
//! Owns: the process, its limits, its deadline, its end.
//! Never: opens a sealed file, knows whose picture it is, decides what becomes of one that is refused.

pub mod inside;
pub mod wall;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::media::raster::RasterError;

/// The word on the command line by which this program is told that it is inside.
pub const WORD: &str = "fenced";
/// Passed on at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How often it is looked whether a process that closed its output has ended.
const LOOK: Duration = Duration::from_millis(2);

/// Limits of one process.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of address space.
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    /// From its start to its end.
    pub wall: Duration,
    pub output_bytes: u64,
}

/// What is done inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// HEIC in, an upright baseline JPEG of this quality out. `has_profile`: a colour profile that
    /// left the file says what its colours mean; else they become sRGB.
    Heic { quality: u8, has_profile: bool },
}

impl Task {
    fn words(self) -> Vec<String> {
        match self {
            Self::Heic { quality, has_profile } => {
                vec!["heic".to_owned(), quality.to_string(), if has_profile { "profile" } else { "plain" }.to_owned()]
            }
        }
    }

    fn of_words(words: &[OsString]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
        match words.as_slice() {
            ["heic", quality, profile] => Some(Self::Heic { quality: quality.parse().ok()?, has_profile: *profile == "profile" }),
            _ => None,
        }
    }

    /// A picture of 12 million pixels takes a quarter of the memory and less than a second; one of 64
    /// million five times as much.
    fn bounds(self) -> Bounds {
        match self {
            Self::Heic { .. } => {
                Bounds { memory_bytes: 2 << 30, cpu_seconds: 30, wall: Duration::from_secs(60), output_bytes: 256 << 20 }
            }
        }
    }
}

/// Exit codes of the process, beside 0.
const REFUSALS: [(u8, RasterError); 4] =
    [(10, RasterError::TooLarge), (11, RasterError::Undecodable), (12, RasterError::Uncodable), (13, RasterError::HighRange)];
/// It could not take its limits upon itself, and so did nothing.
const OPEN: u8 = 14;
/// It was told to do what this version does not know.
const UNKNOWN: u8 = 15;

/// Why there is no result. Texts carry nothing of the picture.
#[derive(Debug)]
pub enum Ended {
    /// The picture was looked at and is not for us.
    Refused(RasterError),
    NotStarted(io::Error),
    /// This system gives no such limits: nothing is decoded without.
    Unfenced,
    /// It ran into one of its limits, or broke.
    Broke(String),
    TooLong,
    TooMuch,
    /// What it was given could not be read.
    Input(io::Error),
    /// What it gave could not be written.
    Output(io::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::NotStarted(error) => write!(f, "the decoder's process cannot be started: {error}"),
            Self::Unfenced => f.write_str("this system does not let the decoder's process limit itself (seccomp, rlimits), and without limits nothing is decoded"),
            Self::Broke(how) => write!(f, "the decoder's process {how}"),
            Self::TooLong => f.write_str("the decoder's process did not end in time and was ended"),
            Self::TooMuch => f.write_str("the decoder's process gave more than any picture is, and was ended"),
            Self::Input(error) => write!(f, "the sealed file cannot be read: {error}"),
            Self::Output(error) => write!(f, "what was decoded cannot be kept: {error}"),
        }
    }
}

impl std::error::Error for Ended {}

/// Takes what comes out, piece by piece.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// Starts processes, one at a time: each may take all the memory that it is allowed.
pub struct Fence {
    /// This program, and what comes before the words of a task.
    command: Vec<OsString>,
    one_at_a_time: Mutex<()>,
}

impl Default for Fence {
    /// With this program itself, also where its file was replaced since it started.
    fn default() -> Self {
        Self::of(["/proc/self/exe".into(), WORD.into()])
    }
}

impl Fence {
    /// `command`: a program that runs [`inside::run`] on the words that follow.
    pub fn of(command: impl IntoIterator<Item = OsString>) -> Self {
        Self { command: command.into_iter().collect(), one_at_a_time: Mutex::new(()) }
    }

    /// Runs one task to its end.
    ///
    /// # Errors
    /// [`Ended`]; what came out until then is worth nothing.
    pub fn run(&self, task: Task, input: &mut (dyn Read + Send), output: &mut Sink<'_>) -> Result<(), Ended> {
        self.run_within(task, task.bounds(), input, output)
    }

    /// The same with other limits of time and output than the task has by itself.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn run_within(
        &self,
        task: Task,
        bounds: Bounds,
        input: &mut (dyn Read + Send),
        output: &mut Sink<'_>,
    ) -> Result<(), Ended> {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut child, stdin, stdout) = self.start(task)?;
        let deadline = Instant::now() + bounds.wall;
        let (status, fed, taken) = thread::scope(|scope| {
            let feeding = scope.spawn(move || feed(input, stdin));
            let (tell, told) = sync_channel(1);
            let taking = scope.spawn(move || {
                let taken = take(stdout, output, bounds.output_bytes);
                let _ = tell.send(());
                taken
            });
            let has_closed = told.recv_timeout(bounds.wall).is_ok();
            let status = if has_closed { ended_by(&mut child, deadline) } else { None };
            // What did not end by itself; the others are not hit by it any more.
            let _ = child.kill();
            let _ = child.wait();
            let broken = || Ended::Broke("could not be watched".to_owned());
            (status, feeding.join().map_err(|_| broken()), taking.join().map_err(|_| broken()))
        });
        taken??;
        fed??;
        told_by(status)
    }

    fn start(&self, task: Task) -> Result<(Child, ChildStdin, ChildStdout), Ended> {
        let (program, before) = self.command.split_first().ok_or(Ended::Unfenced)?;
        let mut command = Command::new(program);
        command.args(before).args(task.words()).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(Ended::NotStarted)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((child, stdin, stdout)),
            _ => Err(Ended::NotStarted(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// A process that ends before it has read everything has its reasons, and says them otherwise.
fn feed(input: &mut dyn Read, mut stdin: ChildStdin) -> Result<(), Ended> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = match input.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Ended::Input(error)),
        };
        let chunk = buffer.get(..length).unwrap_or_default();
        if chunk.is_empty() || stdin.write_all(chunk).is_err() {
            return Ok(());
        }
    }
}

fn take(mut stdout: ChildStdout, output: &mut Sink<'_>, bytes_max: u64) -> Result<(), Ended> {
    let (mut buffer, mut left) = (vec![0; CHUNK_BYTES], bytes_max);
    loop {
        let length = match stdout.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Ended::Broke(format!("cannot be heard: {error}"))),
        };
        let chunk = buffer.get(..length).unwrap_or_default();
        if chunk.is_empty() {
            return Ok(());
        }
        left = left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)).ok_or(Ended::TooMuch)?;
        output(chunk).map_err(Ended::Output)?;
    }
}

/// `None` where it did not end by then.
fn ended_by(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
            _ => return None,
        }
    }
}

fn told_by(status: Option<ExitStatus>) -> Result<(), Ended> {
    use std::os::unix::process::ExitStatusExt;
    let status = status.ok_or(Ended::TooLong)?;
    if status.success() {
        return Ok(());
    }
    if let Some(signal) = status.signal() {
        return Err(Ended::Broke(format!("was ended by the system with signal {signal} ({})", meaning_of(signal))));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    if code == OPEN {
        return Err(Ended::Unfenced);
    }
    match REFUSALS.iter().find(|(known, _)| *known == code) {
        Some((_, error)) => Err(Ended::Refused(*error)),
        None => Err(Ended::Broke(format!("ended with code {code}"))),
    }
}

fn meaning_of(signal: i32) -> &'static str {
    match signal {
        6 => "it asked for more memory than it is allowed, or broke",
        9 => "killed, perhaps for want of memory",
        24 => "it used more time than it is allowed",
        25 => "it tried to write a file",
        31 => "it asked for what it is not allowed",
        _ => "it broke",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_in_words_and_understood() {
        for has_profile in [true, false] {
            let task = Task::Heic { quality: 95, has_profile };
            let words: Vec<OsString> = task.words().into_iter().map(OsString::from).collect();
            assert_eq!(Task::of_words(&words), Some(task));
        }
        for wrong in [&["heic"][..], &["heic", "x", "plain"], &["sh", "-c", "true"], &[]] {
            let words: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert_eq!(Task::of_words(&words), None);
        }
    }
}
