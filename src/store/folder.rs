//! Folders whose names are durable.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Nobody but the gateway looks into its folders.
const FOLDER_MODE: u32 = 0o700;

/// Makes `path` and what is missing above it; each new name is durable.
///
/// # Errors
/// Errors of the disk.
pub fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make(above(path))?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => sync(above(path)),
    }
}

/// The folder a name stands in.
#[must_use]
pub fn above(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in the folder at `path` durable.
///
/// # Errors
/// Errors of the disk.
pub fn sync(path: &Path) -> io::Result<()> {
    sync_names(&File::open(path)?)
}

/// Makes the names in an open folder durable. XFS answers an fsync of a folder with success after
/// it has shut itself down over a failed write of its log (measured with Linux 6.18); it refuses a
/// stat from then on, which costs a microsecond.
///
/// # Errors
/// Errors of the disk. What was not durable then is not made so by another call that succeeds.
pub fn sync_names(folder: &File) -> io::Result<()> {
    folder.sync_all()?;
    folder.metadata().map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_made_with_all_that_is_missing_above_it_for_the_gateway_alone() {
        let root = std::env::temp_dir().join(format!("shutterbridge-folder-{}", std::process::id()));
        let path = root.join("a").join("b");
        make(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("file"), "").unwrap();
        assert!(make(&path.join("file").join("c")).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
