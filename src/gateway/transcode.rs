//! The program that codes films: where it is, and what it can.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::config::options::Ffmpeg as Wanted;
use crate::fence::{Fence, Ffmpeg, Task};

const PROGRAM: &str = "ffmpeg";
/// Without them it cannot do what it is for.
const ENCODERS: [&str; 2] = ["libx264", "aac"];
/// Both bring a high dynamic range into 8 bits.
const TONE_FILTERS: [&str; 2] = ["zscale", "tonemap"];

/// `None` where it is off, not there, or lacks an encoder.
pub(super) fn find(wanted: &Wanted) -> Option<Ffmpeg> {
    let program = place(wanted)?;
    has(&program, "-encoders", &ENCODERS).then(|| {
        let maps_tones = has(&program, "-filters", &TONE_FILTERS);
        Ffmpeg { program, maps_tones }
    })
}

/// Where the program is.
pub(super) fn place(wanted: &Wanted) -> Option<PathBuf> {
    match wanted {
        Wanted::Off => None,
        Wanted::At(path) => Some(path.clone()),
        Wanted::Auto => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|file| file.is_absolute() && file.is_file())
        }
    }
}

/// A film of half a second, made and coded where films are coded.
pub(super) fn rehearse(ffmpeg: Ffmpeg) -> Result<(), String> {
    let words = "-nostdin -loglevel error -f lavfi -i testsrc2=size=320x240:rate=10:duration=0.5 -c:v libx264 -f mp4 \
                 -movflags +frag_keyframe+empty_moov pipe:1";
    let arguments = words.split_whitespace().map(str::to_owned).collect();
    let task = Task::Film { program: ffmpeg.program, arguments };
    let mut made_bytes = 0;
    let mut sink = |piece: &[u8]| {
        made_bytes += piece.len();
        Ok(())
    };
    Fence::default().run(&task, &mut std::io::empty(), &mut sink).map_err(|ended| ended.to_string())?;
    if made_bytes > 0 { Ok(()) } else { Err("it makes nothing".to_owned()) }
}

/// True where its list names all of these. A name is the second word of its line.
fn has(program: &PathBuf, list: &str, names: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args([OsStr::new("-hide_banner"), OsStr::new(list)]).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    let Ok(output) = command.output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    names.iter().all(|name| text.lines().any(|line| line.split_whitespace().nth(1) == Some(name)))
}
