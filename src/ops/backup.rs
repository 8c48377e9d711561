//! A copy of everything the gateway must not lose, taken while it runs, and put back elsewhere.
//!
//! The spool is the record, and its files never change once they have their names; so they are
//! copied one capture after the other, and a capture that is erased meanwhile is left out whole. The
//! two stores and the audit are copied only as they stood at one instant: read twice, until nothing
//! was written in between. An index that never holds still is left out; it is made anew from the
//! spool. Keys and configuration are in no backup: without the key file its bytes are noise.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capture::CaptureId;
use crate::spool::Name;
use crate::store::folder;

/// Of a backup; a higher one is of a newer gateway.
pub const FORMAT: u16 = 1;
/// Written last: a folder without it is no backup.
const LABEL: &str = "backup.json";
/// How often a store is read again that was written to meanwhile, and the pause before.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);
const COPY_BYTES: usize = 256 * 1024;
/// Where a sealed file has its wrapped data key (`api-spec/spool.md` §4): zeros once it is erased.
const WRAPPED_AT: u64 = 56;
const WRAPPED_BYTES: usize = 72;

/// What is copied, and from where; a backup has the same four under these names.
#[derive(Clone, Debug)]
pub struct Places {
    pub spool: PathBuf,
    pub index: PathBuf,
    pub hospital: PathBuf,
    pub audit: PathBuf,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub format: u16,
    /// Everything acknowledged before is in it.
    pub mark: Timestamp,
    pub captures: u64,
    /// Else it is made anew from the spool.
    pub has_index: bool,
    /// Else the hospital is to send its patients again.
    pub has_hospital: bool,
}

/// Carries no path and no patient data.
#[derive(Debug)]
pub enum BackupError {
    /// There is something at the place already.
    Taken,
    /// The folder is no backup, or a broken one.
    NoBackup,
    Newer(u16),
    Io(io::Error),
}

impl std::fmt::Display for BackupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken => {
                f.write_str("there is data already; a backup is only written to, and restored to, where there is none")
            }
            Self::NoBackup => f.write_str("this is no whole backup: its backup.json is missing or cannot be read"),
            Self::Newer(found) => {
                write!(f, "the backup has format {found}, which this version does not know; use the newer version")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Places {
    /// The places in a backup.
    #[must_use]
    pub fn inside(backup: &Path) -> Self {
        let at = |name: &str| backup.join(name);
        Self { spool: at("spool"), index: at("index"), hospital: at("hospital"), audit: at("audit.log") }
    }

    fn is_taken(&self) -> bool {
        let has_names = |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut names| names.next().is_some());
        [&self.spool, &self.index, &self.hospital].into_iter().any(has_names) || self.audit.exists()
    }
}

/// Copies everything to the new folder `out`, durably.
///
/// # Errors
/// [`BackupError::Taken`] where `out` has something in it, and errors of the disks; what was copied
/// so far has no label then.
pub fn take(from: &Places, out: &Path, mark: Timestamp) -> Result<Label, BackupError> {
    if fs::read_dir(out).is_ok_and(|mut names| names.next().is_some()) {
        return Err(BackupError::Taken);
    }
    let to = Places::inside(out);
    folder::make(out)?;
    // The stores first: what they know of is then in the spool, or was erased since.
    let has_index = copy_store(&from.index, &to.index)?;
    let has_hospital = copy_store(&from.hospital, &to.hospital)?;
    let captures = copy_spool(&from.spool, &to.spool)?;
    copy_audit(&from.audit, &to.audit)?;
    let label = Label { format: FORMAT, mark, captures, has_index, has_hospital };
    let text = serde_json::to_vec_pretty(&label).map_err(io::Error::other)?;
    write_new(&out.join(LABEL), &text)?;
    folder::sync(out)?;
    Ok(label)
}

/// Puts a backup where nothing is.
///
/// # Errors
/// [`BackupError`]; on an error of the disk what was put there so far stays, for another try is to
/// begin with an empty place.
pub fn restore(backup: &Path, to: &Places) -> Result<Label, BackupError> {
    let label = read_label(backup)?;
    if to.is_taken() {
        return Err(BackupError::Taken);
    }
    let from = Places::inside(backup);
    copy_spool(&from.spool, &to.spool)?;
    if label.has_index {
        copy_store(&from.index, &to.index)?;
    }
    if label.has_hospital {
        copy_store(&from.hospital, &to.hospital)?;
    }
    folder::make(folder::above(&to.audit))?;
    copy_audit(&from.audit, &to.audit)?;
    Ok(label)
}

fn read_label(backup: &Path) -> Result<Label, BackupError> {
    #[derive(Deserialize)]
    struct Format {
        format: u16,
    }
    let text = fs::read(backup.join(LABEL)).map_err(|_| BackupError::NoBackup)?;
    let Format { format } = serde_json::from_slice(&text).map_err(|_| BackupError::NoBackup)?;
    if format > FORMAT {
        return Err(BackupError::Newer(format));
    }
    serde_json::from_slice(&text).map_err(|_| BackupError::NoBackup)
}

/// How many captures were copied.
fn copy_spool(from: &Path, to: &Path) -> Result<u64, BackupError> {
    for part in ["live", "quarantine", "erased"] {
        folder::make(&to.join(part))?;
    }
    copy_file(&from.join("format"), &to.join("format"))?;
    let mut copied = 0;
    for (_, mut names) in captures(&from.join("live"))? {
        names.sort_unstable();
        let paths = names.iter().map(|name| (from.join("live").join(name.to_string()), to.join("live").join(name.to_string())));
        let paths: Vec<(PathBuf, PathBuf)> = paths.collect();
        for (source, copy) in &paths {
            copy_file(source, copy)?;
        }
        // An erasure destroys the head's key first: where that is there now, it was while we copied. What
        // has no head, and its keys, has lost it: whoever opens the copy puts it aside.
        let has_head = names.first().is_some_and(|name| name.is_head());
        let mut telling = paths.iter().map(|(source, copy)| if has_head { source } else { copy });
        let is_alive =
            if has_head { telling.next().is_some_and(|head| !is_erased(head)) } else { telling.any(|copy| !is_erased(copy)) };
        if is_alive {
            copied += u64::from(has_head);
            continue;
        }
        for (_, copy) in &paths {
            remove_if_there(copy)?;
        }
    }
    // Behind the files: of what was erased meanwhile the line is there.
    for part in ["quarantine", "erased"] {
        for entry in fs::read_dir(from.join(part))? {
            let name = entry?.file_name();
            copy_file(&from.join(part).join(&name), &to.join(part).join(&name))?;
        }
    }
    for part in ["live", "quarantine", "erased", ""] {
        folder::sync(&to.join(part))?;
    }
    Ok(copied)
}

fn captures(live: &Path) -> io::Result<BTreeMap<CaptureId, Vec<Name>>> {
    let mut captures: BTreeMap<CaptureId, Vec<Name>> = BTreeMap::new();
    for entry in fs::read_dir(live)? {
        if let Some(name) = entry?.file_name().to_str().and_then(|text| text.parse::<Name>().ok()) {
            captures.entry(name.capture()).or_default().push(name);
        }
    }
    Ok(captures)
}

/// Gone, or without its key. A file that is damaged otherwise may hold something yet.
fn is_erased(file: &Path) -> bool {
    let mut wrapped = [0; WRAPPED_BYTES];
    match File::open(file).and_then(|file| file.read_exact_at(&mut wrapped, WRAPPED_AT)) {
        Ok(()) => wrapped == [0; WRAPPED_BYTES],
        Err(e) => e.kind() == ErrorKind::NotFound,
    }
}

/// Copies the files of a store as they stand at one instant; false where they never did.
fn copy_store(from: &Path, to: &Path) -> io::Result<bool> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        match fs::remove_dir_all(to) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let names = files(from)?;
        if names.is_empty() {
            return Ok(false);
        }
        for name in &names {
            folder::make(folder::above(&to.join(name)))?;
            copy_file(&from.join(name), &to.join(name))?;
        }
        // Nothing was written between the two readings of any file, so all stood at one instant.
        if files(from)? == names && all(&names, |name| is_same(&from.join(name), &to.join(name)))? {
            folder::make(&to.join("blobs"))?;
            folder::sync(to)?;
            return Ok(true);
        }
    }
    fs::remove_dir_all(to)?;
    Ok(false)
}

fn all(names: &[PathBuf], mut holds: impl FnMut(&PathBuf) -> io::Result<bool>) -> io::Result<bool> {
    for name in names {
        if !holds(name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files of a store, sorted; its lock is its own.
fn files(store: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(store) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(names),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != "lock" {
            names.push(PathBuf::from(entry.file_name()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The head before the file: the file has then every line that the head knows.
fn copy_audit(from: &Path, to: &Path) -> io::Result<()> {
    for word in [".head", ""] {
        let with = |path: &Path| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(word);
            path.with_file_name(name)
        };
        copy_file(&with(from), &with(to))?;
    }
    folder::sync(folder::above(to))
}

/// Copies one file, durably, for nobody else to read. What is gone meanwhile is no error.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = match File::open(from) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn is_same(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut of_a, mut of_b) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    loop {
        let length = a.read(&mut of_a)?;
        let (Some(of_a), Some(of_b)) = (of_a.get(..length), of_b.get_mut(..length)) else { return Ok(false) };
        if length == 0 {
            return Ok(true);
        }
        match b.read_exact(of_b) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if of_a != of_b {
            return Ok(false);
        }
    }
}
