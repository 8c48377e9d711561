//! The inside: limits first, then the task.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::wall::{self, Calls};
use super::{ABSENT, OPEN, REFUSALS, Task, UNKNOWN};
use crate::media::heic;
use crate::media::raster::RasterError;

/// Does what the words say, from the standard input to the standard output, behind the wall. Gives the
/// code to exit with.
#[must_use]
pub fn run(words: &[OsString]) -> u8 {
    let Some(task) = Task::of_words(words) else { return UNKNOWN };
    let calls = match &task {
        Task::Heic { .. } => Calls::Decoding,
        Task::Film { program, .. } => Calls::Program(program.clone()),
    };
    if wall::build(&task.bounds(), &calls).is_err() {
        return OPEN;
    }
    match task {
        Task::Heic { .. } if !decode_on_this_thread() => OPEN,
        Task::Heic { quality } => match picture(quality) {
            Ok(()) => 0,
            Err(error) => REFUSALS.iter().find(|(_, known)| *known == error).map_or(u8::MAX, |(code, _)| *code),
        },
        Task::Film { program, arguments } => {
            // Where it comes back, there is no such program.
            let _ = Command::new(program).args(arguments).exec();
            ABSENT
        }
    }
}

/// The decoder asks for threads, and the wall lets none be made.
fn decode_on_this_thread() -> bool {
    rayon_core::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().is_ok()
}

fn picture(quality: u8) -> Result<(), RasterError> {
    let mut file = Vec::new();
    io::stdin().lock().read_to_end(&mut file).map_err(|_| RasterError::Undecodable)?;
    let jpeg = heic::upright_jpeg(file, quality)?;
    let mut out = io::stdout().lock();
    out.write_all(&jpeg).and_then(|()| out.flush()).map_err(|_| RasterError::Uncodable)
}
