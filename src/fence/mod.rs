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
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::media::raster::RasterError;

/// The word on the command line by which this program is told that it is inside.
pub const WORD: &str = "fenced";
/// Passed on at once.
const CHUNK_BYTES: usize = 64 << 10;
/// A process whose output ended, or is not wanted any more, has so long to end.
const LAST_WORDS: Duration = Duration::from_secs(5);
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
    /// Without a byte of output.
    pub silence: Duration,
    pub output_bytes: u64,
}

/// What is done inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// HEIC in, an upright baseline JPEG of this quality out, with a profile where the file tells wide
    /// colours by number.
    Heic { quality: u8 },
    /// Another program, which codes a film anew: what comes in and goes out is its arguments' affair.
    Film { program: PathBuf, arguments: Vec<String> },
}

/// The program that codes films.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ffmpeg {
    pub program: PathBuf,
    /// It has the filters that bring a high dynamic range into 8 bits.
    pub maps_tones: bool,
}

impl Task {
    fn words(&self) -> Vec<OsString> {
        match self {
            Self::Heic { quality } => vec!["heic".into(), quality.to_string().into()],
            Self::Film { program, arguments } => {
                let mut words = vec!["film".into(), program.clone().into_os_string()];
                words.extend(arguments.iter().map(OsString::from));
                words
            }
        }
    }

    fn of_words(words: &[OsString]) -> Option<Self> {
        let text = |word: &OsString| word.to_str().map(str::to_owned);
        match words {
            [task, quality] if task == "heic" => Some(Self::Heic { quality: text(quality)?.parse().ok()? }),
            [task, program, arguments @ ..] if task == "film" => {
                Some(Self::Film { program: program.into(), arguments: arguments.iter().map(text).collect::<Option<_>>()? })
            }
            _ => None,
        }
    }

    /// A picture of 12 million pixels takes a quarter of the memory and less than a second; one of 64
    /// million five times as much. A film of an hour takes some hours.
    fn bounds(&self) -> Bounds {
        const HOUR: u64 = 3600;
        match self {
            Self::Heic { .. } => Bounds {
                memory_bytes: 2 << 30,
                cpu_seconds: 30,
                wall: Duration::from_secs(60),
                silence: Duration::from_secs(60),
                output_bytes: 256 << 20,
            },
            Self::Film { .. } => Bounds {
                memory_bytes: 4 << 30,
                cpu_seconds: 24 * HOUR,
                wall: Duration::from_secs(12 * HOUR),
                silence: Duration::from_secs(300),
                output_bytes: 4 << 30,
            },
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
/// The program that it was to become is not there, or is none.
const ABSENT: u8 = 16;
/// The same of what that program wanted to become, or to load: so end a shell (POSIX.1-2024, Shell Command
/// Language §2.8.2) and a dynamic loader.
const UNLOADED: [u8; 2] = [126, 127];

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
    /// It ended by itself; what its code means is its own affair.
    Code(u8),
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
            Self::NotStarted(error) => write!(f, "its process cannot be started: {error}"),
            Self::Unfenced => f.write_str("this system does not let the decoder's process limit itself (seccomp, rlimits), and without limits nothing is decoded"),
            Self::Broke(how) => write!(f, "the decoder's process {how}"),
            Self::Code(code) => write!(f, "the decoder's process ended with code {code}"),
            Self::TooLong => f.write_str("the decoder's process did not end in time and was ended"),
            Self::TooMuch => f.write_str("the decoder's process gave more than it may, and was ended"),
            Self::Input(error) => write!(f, "the sealed file cannot be read: {error}"),
            Self::Output(error) => write!(f, "what was decoded cannot be kept: {error}"),
        }
    }
}

impl std::error::Error for Ended {}

/// Takes what comes out, piece by piece.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// Starts processes.
pub struct Fence {
    /// This program, and what comes before the words of a task.
    command: Vec<OsString>,
    /// Of pictures: each may take all the memory that it is allowed.
    one_at_a_time: Mutex<()>,
    ffmpeg: Option<Ffmpeg>,
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
        Self { command: command.into_iter().collect(), one_at_a_time: Mutex::new(()), ffmpeg: None }
    }

    /// With a program for films.
    #[must_use]
    pub fn with_ffmpeg(self, ffmpeg: Option<Ffmpeg>) -> Self {
        Self { ffmpeg, ..self }
    }

    /// `None`: nothing here codes films.
    #[must_use]
    pub fn ffmpeg(&self) -> Option<&Ffmpeg> {
        self.ffmpeg.as_ref()
    }

    /// Runs one task to its end.
    ///
    /// # Errors
    /// [`Ended`]; what came out until then is worth nothing.
    pub fn run(&self, task: &Task, input: &mut dyn Read, output: &mut Sink<'_>) -> Result<(), Ended> {
        self.run_within(task, task.bounds(), input, output)
    }

    /// The same with other limits of time and output than the task has by itself.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn run_within(&self, task: &Task, bounds: Bounds, input: &mut dyn Read, output: &mut Sink<'_>) -> Result<(), Ended> {
        let is_picture = matches!(task, Task::Heic { .. });
        let _turn = is_picture.then(|| self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut child, stdin, stdout) = self.start(task)?;
        let deadline = Instant::now() + bounds.wall;
        let (status, fed, taken) = thread::scope(|scope| {
            let (tell, told) = sync_channel(1);
            let taking = scope.spawn(move || {
                take(stdout, bounds.output_bytes, &mut |piece| {
                    // Who listens looks at the time, and at nothing else; it may be behind.
                    let _ = tell.try_send(());
                    output(piece)
                })
            });
            let watching = scope.spawn(move || {
                let has_closed = closes_in_time(&told, deadline, bounds.silence);
                let status = if has_closed { ended_by(&mut child, Instant::now() + LAST_WORDS) } else { None };
                // What did not end by itself; the others are not hit by it any more.
                let _ = child.kill();
                let _ = child.wait();
                status
            });
            let fed = feed(input, stdin);
            let broken = || Ended::Broke("could not be watched".to_owned());
            (watching.join().map_err(|_| broken()), fed, taking.join().map_err(|_| broken()))
        });
        taken??;
        fed?;
        told_by(status?, is_picture)
    }

    fn start(&self, task: &Task) -> Result<(Child, ChildStdin, ChildStdout), Ended> {
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

/// True once the output ended.
fn closes_in_time(told: &Receiver<()>, deadline: Instant, silence: Duration) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match told.recv_timeout(silence.min(left)) {
            Ok(()) if left > Duration::ZERO => {}
            Err(RecvTimeoutError::Disconnected) => return true,
            Ok(()) | Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

fn take(mut stdout: ChildStdout, bytes_max: u64, output: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Ended> {
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

fn told_by(status: Option<ExitStatus>, is_picture: bool) -> Result<(), Ended> {
    use std::os::unix::process::ExitStatusExt;
    let status = status.ok_or(Ended::TooLong)?;
    if status.success() {
        return Ok(());
    }
    if let Some(signal) = status.signal() {
        return Err(Ended::Broke(format!("was ended by the system with signal {signal} ({})", meaning_of(signal))));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    // Another program has codes of its own.
    let refusal = REFUSALS.iter().find(|(known, _)| is_picture && *known == code);
    Err(match (code, refusal) {
        (_, Some((_, error))) => Ended::Refused(*error),
        (OPEN, None) => Ended::Unfenced,
        (ABSENT, None) => Ended::NotStarted(io::ErrorKind::NotFound.into()),
        (code, None) if UNLOADED.contains(&code) => {
            let why = format!("it, or a library of it, is not where the fence lets it be read (code {code})");
            Ended::NotStarted(io::Error::other(why))
        }
        (code, None) => Ended::Code(code),
    })
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
        let film = Task::Film { program: "/usr/bin/codec".into(), arguments: vec!["-i".to_owned(), "pipe:0".to_owned()] };
        for task in [Task::Heic { quality: 95 }, film] {
            assert_eq!(Task::of_words(&task.words()), Some(task));
        }
        for wrong in [&["heic"][..], &["heic", "x"], &["sh", "-c", "true"], &[]] {
            let words: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert_eq!(Task::of_words(&words), None);
        }
    }
}
