//! An archive that is a folder: one Part 10 file for each object, for whoever fetches it there.
//!
//! A file appears under its name when it is whole and flushed, and its name holds nothing but its
//! SOP Instance UID. The folder is never made here: where a network drive is not mounted, a new
//! folder on the own disk would be taken for it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::profile::Profile;
use super::{Archive, Refused, Stored};
use crate::capture::{Commitment, FailureCode, MediaClass};
use crate::dicom::{Instance, Syntax, file_prefix};
use crate::store::folder;

/// Bytes copied at a time.
const COPY_BYTES: usize = 128 << 10;
/// What `examine` writes and removes again.
const PROBE: &str = ".shutterbridge-check";

#[derive(Clone, Debug)]
pub struct Options {
    pub path: PathBuf,
    pub profile: Profile,
}

pub struct Folder {
    options: Options,
}

impl Folder {
    /// Touches nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn write(&self, instance: &Instance, payload: &mut dyn Read, part: &Path) -> Result<(), Refused> {
        let unfit = |error: crate::dicom::DicomError| Refused { code: error.failure_code(), detail: error.to_string() };
        let syntax = self.options.profile.syntax_of(instance)?;
        let dressed = self.options.profile.dress(instance);
        let prefix = file_prefix(&instance.sop_class, &instance.sop_instance, syntax.uid(), None).map_err(unfit)?;
        let mut data_set = dressed.stream(syntax, payload).map_err(unfit)?;
        let mut file = File::create(part).map_err(|e| cannot("written", &e))?;
        file.write_all(&prefix).map_err(|e| cannot("written", &e))?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = match data_set.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    let detail = "the sealed picture could not be read to its end; nothing was left in the folder".to_owned();
                    return Err(Refused { code: FailureCode::SpoolUnreadable, detail });
                }
            };
            file.write_all(buffer.get(..count).unwrap_or_default()).map_err(|e| cannot("written", &e))?;
        }
        file.sync_all().map_err(|e| cannot("flushed", &e))
    }

    /// Gives the whole file its name. One that is there already is this object, sent before its
    /// success was written down: then it is flushed once more, because a crash may have come
    /// between its name and the flush.
    fn publish(&self, part: &Path, instance: &Instance) -> Result<(), Refused> {
        let path = self.options.path.join(format!("{}.dcm", instance.sop_instance));
        match is_same(part, &path) {
            Ok(Some(true)) => {
                File::open(&path).and_then(|f| f.sync_all()).map_err(|e| cannot("flushed", &e))?;
            }
            Ok(Some(false)) => {
                let detail = format!(
                    "the folder has another file under the name {}.dcm; look at it, and move it away if it is not wanted",
                    instance.sop_instance
                );
                return Err(Refused { code: FailureCode::ArchiveRefusedObject, detail });
            }
            Ok(None) => fs::rename(part, &path).map_err(|e| cannot("named", &e))?,
            Err(error) => return Err(cannot("compared with the one that is there", &error)),
        }
        folder::sync(&self.options.path).map_err(|e| cannot("flushed", &e))
    }
}

impl Archive for Folder {
    fn offers(&self, syntax: Syntax) -> bool {
        self.options.profile.offers(syntax)
    }

    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        self.options.profile.fit(instance, payload, |instance, payload| {
            // The same object is never written twice at once, and what a crash left is written over.
            let part = Part(self.options.path.join(format!(".{}.part", instance.sop_instance)));
            self.write(instance, payload, &part.0)?;
            self.publish(&part.0, instance)?;
            Ok(Stored { warning: None })
        })
    }

    fn probe(&self) -> Result<(), Refused> {
        let probe = Part(self.options.path.join(PROBE));
        let mut file = File::create(&probe.0).map_err(|e| cannot("written", &e))?;
        file.write_all(b"shutterbridge").and_then(|()| file.sync_all()).map_err(|e| cannot("flushed", &e))?;
        fs::remove_file(&probe.0).map_err(|e| cannot("removed", &e))?;
        folder::sync(&self.options.path).map_err(|e| cannot("flushed", &e))
    }

    fn examine(&self, _commitment: Commitment, _named: &[MediaClass]) -> Vec<Finding> {
        let path = self.options.path.display();
        if !self.options.path.is_dir() {
            let says = format!("there is no folder {path}");
            return vec![Finding::fail(says, "path", "make it, or mount it; the gateway does not, lest it fill the wrong disk")];
        }
        vec![match self.probe() {
            Ok(()) => Finding::pass(format!("a file was written to {path}, flushed and removed")),
            Err(refused) => Finding::fail(refused.detail, "path", "let this user write there, or name another folder"),
        }]
    }
}

/// A file that is gone when it was not given another name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether two files hold the same bytes; `None` where the second is not there.
fn is_same(one: &Path, other: &Path) -> io::Result<Option<bool>> {
    let other = match File::open(other) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let one = File::open(one)?;
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(Some(false));
    }
    let (mut one, mut other) = (BufReader::with_capacity(COPY_BYTES, one), BufReader::with_capacity(COPY_BYTES, other));
    let (mut left, mut right) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(Some(true));
        }
        let Some(room) = right.get_mut(..count) else { return Ok(Some(false)) };
        other.read_exact(room)?;
        if left.get(..count) != right.get(..count) {
            return Ok(Some(false));
        }
    }
}

/// What the file system says of a file of ours. Its names are UIDs.
fn cannot(what: &str, error: &io::Error) -> Refused {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => FailureCode::ArchiveBusy,
        _ => FailureCode::ArchiveUnreachable,
    };
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; `path` of this [[archive]] is not there: make the folder, or mount it",
        io::ErrorKind::PermissionDenied => "; let this user write to `path` of this [[archive]]",
        _ => "",
    };
    Refused { code, detail: format!("a file could not be {what} in the folder ({}){hint}", error.kind()) }
}
