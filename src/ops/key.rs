//! The key file: 32 bytes in base64 that seal the spool.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::files;
use crate::seal::random::random;
use crate::seal::secret::Secret;

/// 44 letters and a line end; a longer file is something else.
const FILE_BYTES_MAX: u64 = 256;

/// The key, and what an administrator should hear of its file.
#[derive(Clone, Debug)]
pub struct KeyFile {
    pub key: Secret<32>,
    /// It was not there and was made just now.
    pub made: bool,
    pub readable_by_others: bool,
}

#[derive(Debug)]
pub enum KeyError {
    /// The file is not there, and sealed data is: a new key could not open it.
    Lost(PathBuf),
    Unreadable(PathBuf, io::Error),
    Unwritable(PathBuf, io::Error),
    /// Not 32 bytes in base64.
    NotAKey(PathBuf),
    NoRandom,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(path) => write!(
                f,
                "the key {} is not there, but data sealed with it is; put the key back (data.key_file), or move data.dir away",
                path.display()
            ),
            Self::Unreadable(path, error) => write!(f, "the key {} cannot be read: {error}", path.display()),
            Self::Unwritable(path, error) => {
                write!(
                    f,
                    "the key {} cannot be made: {error}; set data.key_file to a place that this user may write",
                    path.display()
                )
            }
            Self::NotAKey(path) => write!(
                f,
                "{} does not hold 32 bytes in base64; where this is a first start that was cut short, remove it and start again",
                path.display()
            ),
            Self::NoRandom => f.write_str("the system gives no random numbers, so that no key can be made"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Reads the key. `may_make`: nothing is sealed yet, so where there is no file one is made.
///
/// # Errors
/// [`KeyError`]; a file that is there is never replaced.
pub fn load_or_make(path: &Path, may_make: bool) -> Result<KeyFile, KeyError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => make(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyError::Lost(path.to_owned())),
        Err(error) => Err(KeyError::Unreadable(path.to_owned(), error)),
    }
}

fn load(path: &Path, file: File) -> Result<KeyFile, KeyError> {
    let unreadable = |error| KeyError::Unreadable(path.to_owned(), error);
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let key = from_base64(text.trim()).ok_or_else(|| KeyError::NotAKey(path.to_owned()))?;
    let readable_by_others = files::is_readable_by_others(path).map_err(unreadable)?;
    Ok(KeyFile { key, made: false, readable_by_others })
}

fn make(path: &Path) -> Result<KeyFile, KeyError> {
    let key = Secret::new(random::<32>().map_err(|_| KeyError::NoRandom)?);
    let unwritable = |error| KeyError::Unwritable(path.to_owned(), error);
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        files::make_private_folder(folder).map_err(unwritable)?;
    }
    let text = format!("{}\n", STANDARD.encode(key.expose()));
    // Exclusive: of two first starts at once one loses, rather than sealing with a key that is gone.
    files::write_new(path, text.as_bytes(), files::SECRET_MODE).map_err(unwritable)?;
    Ok(KeyFile { key, made: true, readable_by_others: false })
}

/// Exactly 32 bytes in base64 (RFC 4648 §4), padded.
#[must_use]
pub fn from_base64(text: &str) -> Option<Secret<32>> {
    STANDARD.decode(text).ok()?.try_into().ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("shutterbridge-key-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder.join("deep").join("data.key")
    }

    #[test]
    fn the_first_start_makes_a_key_and_the_next_reads_it() {
        let path = place("first");
        let made = load_or_make(&path, true).expect("made");
        assert!(made.made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = load_or_make(&path, false).expect("read");
        assert!(!again.made && !again.readable_by_others);
        assert_eq!(again.key.expose(), made.key.expose());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_make(&path, false).expect("read").readable_by_others);
    }

    #[test]
    fn a_lost_key_is_never_replaced_where_something_is_sealed_with_it() {
        let path = place("lost");
        assert!(matches!(load_or_make(&path, false), Err(KeyError::Lost(_))));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_key_is_left_as_it_is() {
        let path = place("wrong");
        files::make_private_folder(path.parent().unwrap()).unwrap();
        for text in ["", "short", &"A".repeat(44), &format!("{}B=", "A".repeat(42)), &format!("{}=", "-".repeat(43))] {
            fs::write(&path, text).unwrap();
            assert!(matches!(load_or_make(&path, true), Err(KeyError::NotAKey(_))), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
