//! The head of the chain, signed, in a file of its own beside the audit file.
//!
//! The chain alone shows every line that was changed, moved or slipped in, but not that its end was
//! cut off, nor that all of it was written anew by somebody who can compute a SHA-256. The head
//! shows both: it says how many lines the disk had confirmed and what the last of them was, under a
//! key that is derived from the data key. Whoever has that key can sign; so the gateway's log
//! repeats the head, for whoever keeps it elsewhere.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::line::Head;
use crate::seal::aead::Kek;
use crate::seal::digest::{equal, hex, hmac_sha256};
use crate::seal::secret::Secret;
use crate::store::folder;

/// Of the file; an older gateway refuses a newer one.
const VERSION: u16 = 1;
/// Longer than any head.
const FILE_MAX_BYTES: u64 = 4096;
const SUFFIX: &str = ".head";

/// What the file says. The signature is over the version, the number and the hash.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    version: u16,
    seq: u64,
    hash: String,
    signature: String,
}

/// Why there is no head to hold a file against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHead {
    Missing,
    Changed,
    Newer(u16),
    Io(crate::store::Cause),
}

/// Signs heads, and knows its own.
#[derive(Clone)]
pub struct Seal(Secret<32>);

impl Seal {
    #[must_use]
    pub fn of(kek: &Kek) -> Self {
        Self(kek.derive("audit head"))
    }

    pub(super) fn sign(&self, head: &Head) -> String {
        let parts: [&[u8]; 3] = [&VERSION.to_be_bytes(), &head.seq.to_be_bytes(), head.hash.as_bytes()];
        hex(&hmac_sha256(self.0.expose(), &parts))
    }

    pub(super) fn write(&self, audit_file: &Path, head: &Head) -> io::Result<()> {
        let signed = Signed { version: VERSION, seq: head.seq, hash: head.hash.clone(), signature: self.sign(head) };
        let text = serde_json::to_string(&signed).map_err(io::Error::other)? + "\n";
        let (path, fresh) = (beside(audit_file, SUFFIX), beside(audit_file, ".head.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        folder::sync(folder::above(&path))
    }

    pub(super) fn read(&self, audit_file: &Path) -> Result<Head, BadHead> {
        let path = beside(audit_file, SUFFIX);
        let length = match fs::metadata(&path) {
            Ok(data) => data.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(BadHead::Missing),
            Err(e) => return Err(BadHead::Io((&e).into())),
        };
        if length > FILE_MAX_BYTES {
            return Err(BadHead::Changed);
        }
        let text = fs::read(&path).map_err(|e| BadHead::Io((&e).into()))?;
        let version = |value: serde_json::Value| value.get("version").and_then(serde_json::Value::as_u64);
        match serde_json::from_slice(&text).ok().and_then(version).and_then(|found| u16::try_from(found).ok()) {
            Some(VERSION) => {}
            Some(found) if found > VERSION => return Err(BadHead::Newer(found)),
            _ => return Err(BadHead::Changed),
        }
        let signed: Signed = serde_json::from_slice(&text).map_err(|_| BadHead::Changed)?;
        let head = Head { seq: signed.seq, hash: signed.hash };
        if equal(self.sign(&head).as_bytes(), signed.signature.as_bytes()) { Ok(head) } else { Err(BadHead::Changed) }
    }
}

fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(word);
    path.with_file_name(name)
}
