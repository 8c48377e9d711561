//! The demo's folder: temporary, or a person's own.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::seal::digest::hex;
use crate::seal::random::random;

/// Only this user may enter: the folder holds keys and pictures.
const MODE: u32 = 0o700;

/// A folder. A temporary one is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    /// `kept`: a folder to use and leave, made where it is not there; `None`: a temporary one.
    ///
    /// # Errors
    /// As the file system says, or where the system gives no random name.
    pub fn open(kept: Option<&Path>) -> io::Result<Self> {
        if let Some(path) = kept {
            fs::DirBuilder::new().recursive(true).mode(MODE).create(path)?;
            return Ok(Self { path: std::path::absolute(path)?, temporary: false });
        }
        let name = random::<8>().map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let path = std::env::temp_dir().join(format!("shutterbridge-demo-{}", hex(&name)));
        fs::DirBuilder::new().mode(MODE).create(&path)?;
        Ok(Self { path: std::path::absolute(path)?, temporary: true })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_temporary_folder_is_private_and_leaves_nothing_behind() {
        let folder = Folder::open(None).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(path.join("deep")).unwrap();
        fs::write(path.join("deep/file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_somebody_named_is_kept() {
        let named = std::env::temp_dir().join(format!("shutterbridge-demo-kept-{}", std::process::id()));
        drop(Folder::open(Some(&named)).unwrap());
        assert!(named.is_dir());
        fs::remove_dir(&named).unwrap();
    }
}
