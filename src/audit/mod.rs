//! What was done, by whom, to whose data.
//!
//! Owns: the audit file, its chain of hashes and the signed head, finding the first line that was
//! changed. A line the disk did not confirm is written again, and nothing is recorded until it is.
//! Never: holds a patient's identifier in clear; deletes or rewrites a line; decides what to audit.

mod head;
mod line;
mod verify;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, thread};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capture::{CaptureId, ItemId, Operator, Phi, Uid};
use crate::seal::aead::Kek;
use crate::seal::digest::{hex, hmac_sha256};
use crate::seal::secret::Secret;
use crate::store::{Cause, folder};
use head::BadHead;
pub use head::Seal;
use line::{FIRST_PREV, Head, LINE_MAX_BYTES, Line};
pub use verify::{Verified, VerifyError, verify};

/// Lines are synced together, this long after the first of them. A power cut may take so much of
/// the end of the file, which the chain then shows as nothing worse than an end.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Unsynced lines held in memory, bytes: where the disk is slower than that, who records waits.
const UNSYNCED_MAX_BYTES: usize = 4 << 20;

/// One line to write. `action` and `detail` are constants of the code: nothing a sender or a
/// hospital wrote gets into the file by them.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub at: Timestamp,
    /// `None`: the gateway itself.
    pub actor: Option<&'a Operator>,
    /// What was done: `capture.accept`, `patient.lookup` …
    pub action: &'static str,
    pub outcome: Outcome,
    pub object: Object<'a>,
    /// More for a reader; empty where there is none.
    pub detail: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused,
    Failed,
}

/// What it was done to.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    None,
    Capture(CaptureId),
    /// A patient's, visit's or order's number: it is written as a keyed hash, so that whoever has
    /// the number and the key finds its lines, and nobody else the number.
    Identifier(&'a Phi),
    /// An item, and what was taken out of it before it was sealed.
    Scrubbed(ItemId, &'a Proof),
    /// An item, and the UID of the object that went in its place.
    StandIn(ItemId, &'a Uid),
    /// An item, and the SHA-256 of its coded picture as the archive got it.
    Sent(ItemId, &'a [u8; 32]),
}

/// What was done to one file before it was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub media: String,
    pub location_found: bool,
    /// Words of the code.
    pub removed: Vec<String>,
    /// Of the bytes as they were received.
    pub received_sha256: String,
    /// Of what was sealed of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_sha256: Option<String>,
    /// Version of the verifier that read the sealed bytes to their end.
    pub verifier: u16,
}

/// Carries no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditError {
    /// Another process writes the file.
    Locked,
    /// The last whole line is none of ours: nothing is added to a file that was changed.
    Broken,
    /// So many lines are missing at the end that the disk had confirmed.
    Cut {
        missing: u64,
    },
    /// The file has lines, and no head beside it.
    HeadMissing,
    /// The head is not what was signed, or was signed under another key.
    HeadChanged,
    /// A newer gateway wrote the head.
    Newer(u16),
    /// A line is longer than a line may be.
    TooLong,
    /// The disk did not take or confirm a line, now or before.
    NotDurable(Cause),
    Io(Cause),
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process writes the audit file; stop it, or give this gateway a file of its own"),
            Self::Broken => f.write_str("the audit file was changed; keep it as evidence, move it aside and start a new one"),
            Self::Cut { missing } => {
                write!(f, "{missing} lines are missing at the end of the audit file; keep it and its .head as evidence, move both aside and start new ones")
            }
            Self::HeadMissing => f.write_str("the .head beside the audit file is missing; bring it back, or keep the file as evidence, move it aside and start a new one"),
            Self::HeadChanged => f.write_str("the .head beside the audit file was changed, or the key file is another one; bring the right one back, or keep both files as evidence, move them aside and start new ones"),
            Self::Newer(found) => write!(f, "the .head beside the audit file has format {found}, which this version does not know; run the newer version"),
            Self::TooLong => f.write_str("an audit line is too long"),
            Self::NotDurable(kind) => {
                write!(f, "the disk did not confirm an audit line ({kind}); nothing is done until it does; look at the disk")
            }
            Self::Io(why) => write!(f, "the audit file cannot be opened: {why}"),
        }
    }
}

impl std::error::Error for AuditError {}

/// The audit file of one gateway.
pub struct Audit {
    shared: Arc<Shared>,
    key: Secret<32>,
    cut_bytes: u64,
    syncer: Option<JoinHandle<()>>,
}

/// The end of the chain as far as the disk has it, signed: for whoever keeps it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    pub lines: u64,
    pub hash: String,
    pub signature: String,
}

struct Shared {
    file: File,
    path: PathBuf,
    seal: Seal,
    /// Held by whoever syncs and signs.
    signing: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    head: Head,
    /// What the disk confirmed, and the file beside says.
    signed: Head,
    /// Bytes of the file that the disk confirmed.
    synced_bytes: u64,
    /// Lines behind them, as they stand in the file.
    unsynced: Vec<u8>,
    failed: Option<Cause>,
    stopping: bool,
}

impl Audit {
    /// Opens the file, which is made where it is missing, and goes on with its chain. Half a line
    /// at its end, which a power cut left, is cut off: see [`Audit::cut_bytes`].
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(path: &Path, kek: &Kek) -> Result<Self, AuditError> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).append(true).create(true).mode(0o600).open(path).map_err(|e| AuditError::Io((&e).into()))?;
        file.try_lock().map_err(|_| AuditError::Locked)?;
        let seal = Seal::of(kek);
        let (head, whole_bytes) = last_line(&file)?;
        hold_against(&seal, path, &head, whole_bytes == 0)?;
        let cut_bytes = cut_behind(&file, whole_bytes)?;
        file.sync_all().and_then(|()| folder::sync(folder::above(path))).map_err(|e| AuditError::NotDurable((&e).into()))?;
        seal.write(path, &head).map_err(|e| AuditError::NotDurable((&e).into()))?;
        let state =
            State { signed: head.clone(), head, synced_bytes: whole_bytes, unsynced: Vec::new(), failed: None, stopping: false };
        let shared = Shared {
            file,
            path: path.to_owned(),
            seal,
            signing: Mutex::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        let shared = Arc::new(shared);
        let syncing = Arc::clone(&shared);
        let syncer = thread::Builder::new().name("audit-sync".to_owned()).spawn(move || syncing.sync_until_stopped());
        let syncer = Some(syncer.map_err(|e| AuditError::Io((&e).into()))?);
        Ok(Self { shared, key: kek.derive("audit identifiers"), cut_bytes, syncer })
    }

    /// Bytes of half a line that opening cut off; worth a line in the log.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Where the confirmed chain ends.
    #[must_use]
    pub fn signed_head(&self) -> SignedHead {
        let head = self.shared.lock().signed.clone();
        SignedHead { signature: self.shared.seal.sign(&head), lines: head.seq, hash: head.hash }
    }

    /// Appends one line. It is in the file when this returns, and on the disk within a second;
    /// nobody waits for that.
    ///
    /// # Errors
    /// [`AuditError::NotDurable`] from the first write or sync that failed: who must not act
    /// without an audit stops here.
    pub fn record(&self, event: &Event<'_>) -> Result<(), AuditError> {
        let object = self.object(event.object);
        let mut state = self.shared.lock();
        if let Some(why) = state.failed {
            return Err(AuditError::NotDurable(why));
        }
        let (line, head) = Line::of(event, object, &state.head).seal().ok_or(AuditError::TooLong)?;
        if let Err(e) = (&self.shared.file).write_all(line.as_bytes()) {
            // Half a line may stand there: another behind it would break the chain.
            state.failed = Some((&e).into());
            return Err(AuditError::NotDurable((&e).into()));
        }
        state.head = head;
        let is_first = state.unsynced.is_empty();
        state.unsynced.extend_from_slice(line.as_bytes());
        if state.unsynced.len() > UNSYNCED_MAX_BYTES {
            drop(self.shared.sync(state));
        } else if is_first {
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Whether lines can be recorded. After a write or a sync that failed, the lines that were not
    /// confirmed are cut off and written anew: a sync that merely succeeds later proves nothing of
    /// what was written before. To be called from time to time; it costs nothing while all is well.
    ///
    /// # Errors
    /// [`AuditError::NotDurable`] where the disk still does not take them.
    pub fn health(&self) -> Result<(), AuditError> {
        let mut state = self.shared.lock();
        if state.failed.is_none() {
            return Ok(());
        }
        let file = &self.shared.file;
        let rewritten = file.set_len(state.synced_bytes).and_then(|()| {
            (&*file).write_all(&state.unsynced)?;
            file.sync_all()?;
            self.shared.seal.write(&self.shared.path, &state.head)
        });
        if let Err(e) = rewritten {
            state.failed = Some((&e).into());
            return Err(AuditError::NotDurable((&e).into()));
        }
        let bytes = state.unsynced.len();
        let head = state.head.clone();
        state.confirm(bytes, head);
        state.failed = None;
        Ok(())
    }

    fn object(&self, object: Object<'_>) -> String {
        match object {
            Object::None => String::new(),
            Object::Capture(id) => format!("capture:{id}"),
            Object::StandIn(item, uid) => format!("item:{item} as {uid}"),
            Object::Scrubbed(item, _) | Object::Sent(item, _) => format!("item:{item}"),
            Object::Identifier(text) => {
                format!("identifier:{}", hex(&hmac_sha256(self.key.expose(), &[text.expose().as_bytes()])))
            }
        }
    }
}

impl Drop for Audit {
    /// Syncs what was written.
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(syncer) = self.syncer.take() {
            // It does not panic; and what would one do here about it?
            let _ = syncer.join();
        }
    }
}

impl State {
    /// The disk has so many bytes more.
    fn confirm(&mut self, bytes: usize, head: Head) {
        self.signed = head;
        self.unsynced.drain(..bytes.min(self.unsynced.len()));
        self.synced_bytes += bytes as u64;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that syncs: idle until there is a line, then once per [`SYNC_EVERY`].
    fn sync_until_stopped(&self) {
        let mut state = self.lock();
        loop {
            let idle = |s: &mut State| (s.unsynced.is_empty() || s.failed.is_some()) && !s.stopping;
            state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(state, SYNC_EVERY, |s| !s.stopping);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let is_last = state.stopping;
            state = self.sync(state);
            if is_last {
                return;
            }
        }
    }

    /// Syncs what was written so far, and signs it; others record meanwhile.
    fn sync<'s>(&'s self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let bytes = state.unsynced.len();
        if bytes == 0 || state.failed.is_some() {
            return state;
        }
        let (confirmed, head) = (state.synced_bytes, state.head.clone());
        drop(state);
        // One at a time, or an older head could replace a newer one.
        let signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_done = self.lock().synced_bytes != confirmed;
        let synced = if is_done { Ok(()) } else { self.file.sync_data().and_then(|()| self.seal.write(&self.path, &head)) };
        let mut state = self.lock();
        match synced {
            Ok(()) if is_done => {}
            Ok(()) => state.confirm(bytes, head),
            Err(e) => state.failed = Some((&e).into()),
        }
        drop(signing);
        state
    }
}

fn io_error(error: &io::Error) -> AuditError {
    AuditError::Io(error.into())
}

/// The file must have every line that was ever signed.
fn hold_against(seal: &Seal, path: &Path, last: &Head, is_empty: bool) -> Result<(), AuditError> {
    match seal.read(path) {
        Ok(signed) if signed.seq > last.seq => Err(AuditError::Cut { missing: signed.seq - last.seq }),
        Ok(signed) if signed.seq == last.seq && signed.hash != last.hash => Err(AuditError::Broken),
        // Lines behind the head were written when it came to an end, and are signed now.
        Ok(_) => Ok(()),
        Err(BadHead::Missing) if is_empty => seal.write(path, last).map_err(|e| AuditError::NotDurable((&e).into())),
        Err(BadHead::Missing) => Err(AuditError::HeadMissing),
        Err(BadHead::Changed) => Err(AuditError::HeadChanged),
        Err(BadHead::Newer(found)) => Err(AuditError::Newer(found)),
        Err(BadHead::Io(why)) => Err(AuditError::Io(why)),
    }
}

/// Cuts off half a line behind the whole ones; how many bytes that were.
fn cut_behind(file: &File, whole_bytes: u64) -> Result<u64, AuditError> {
    let half = file.metadata().map_err(|e| io_error(&e))?.len().saturating_sub(whole_bytes);
    if half > 0 {
        file.set_len(whole_bytes).map_err(|e| io_error(&e))?;
    }
    Ok(half)
}

/// The last whole line, and how many bytes the file has up to its end.
fn last_line(file: &File) -> Result<(Head, u64), AuditError> {
    let io_error = |e: io::Error| io_error(&e);
    let length = file.metadata().map_err(io_error)?.len();
    // Two lines, one whole and one half, fit.
    let tail_bytes = length.min(2 * LINE_MAX_BYTES as u64);
    let mut tail = vec![0; usize::try_from(tail_bytes).unwrap_or(0)];
    file.read_exact_at(&mut tail, length - tail_bytes).map_err(io_error)?;
    let whole = tail.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let (lines, half) = tail.split_at_checked(whole).unwrap_or((&tail, &[]));
    let head = match lines.strip_suffix(b"\n") {
        None if length == half.len() as u64 => Head { seq: 0, hash: FIRST_PREV.to_owned() },
        None => return Err(AuditError::Broken),
        Some(lines) => {
            let last = lines.rsplit(|b| *b == b'\n').next().unwrap_or_default();
            Line::open(last).map(|(_, head)| head).ok_or(AuditError::Broken)?
        }
    };
    Ok((head, length - half.len() as u64))
}
