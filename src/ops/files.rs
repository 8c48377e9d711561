//! Files that hold secrets, and folders for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Only the gateway's own user may read it.
pub const SECRET_MODE: u32 = 0o600;
/// Anybody may read it, such as a certificate.
pub const PUBLIC_MODE: u32 = 0o644;

/// Makes a folder, and those above it, that only this user may enter.
///
/// # Errors
/// As the file system says.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that is not there yet, flushed with its folder. A file that is there is left alone.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`]; else as the file system says, and then nothing is left behind.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_folder_of(path));
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes a file whole, in place of one that may be there: nobody ever sees half of it.
///
/// # Errors
/// As the file system says.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    write_new(&beside, bytes, mode)?;
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// True where other users of this machine may read it.
///
/// # Errors
/// As the file system says.
pub fn is_readable_by_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// A new name is durable only when its folder is flushed.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
