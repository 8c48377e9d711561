//! Who is signed in. Kept in memory: a restart signs everybody out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::capture::CaptureId;
use crate::identity::Permit;
use crate::seal::digest::{equal, hex, sha256};
use crate::seal::random::{NoRandom, random};

/// The prefix makes a browser insist on Secure, the whole site and no other host (RFC 6265bis §4.1.3.2).
pub const COOKIE: &str = "__Host-sb";
/// A shared PC signs its user out after so long without a click (HIPAA 164.312(a)(2)(iii)).
const IDLE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Nobody's shift is longer.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(12);
/// More than a hospital has PCs in use with this form; the one longest unused makes room.
const SESSIONS_MAX: usize = 2048;
/// Captures of this session that the form links to.
const RECENT_MAX: usize = 10;

/// What a page may know of a session.
#[derive(Clone, Debug)]
pub struct Session {
    pub permit: Permit,
    /// Stands in each form of this session and must come back with it.
    pub csrf: String,
    /// Newest first.
    pub recent: Vec<(CaptureId, Timestamp)>,
    /// What was chosen last, offered again.
    pub department: String,
    opened_at: Timestamp,
    used_at: Timestamp,
}

impl Session {
    fn holds(&self, now: Timestamp) -> bool {
        let idle = now.duration_since(self.used_at);
        let age = now.duration_since(self.opened_at);
        // Never longer than the token that opened it.
        idle < IDLE_MAX && age < AGE_MAX && now < self.permit.expires_at()
    }

    /// True where `token` is the one of this session.
    #[must_use]
    pub fn is_own_form(&self, token: &str) -> bool {
        equal(self.csrf.as_bytes(), token.as_bytes())
    }
}

/// All sessions, by the digest of their id: the id itself is with its browser only.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// A new session; the text is the cookie's value.
    ///
    /// # Errors
    /// [`NoRandom`].
    pub fn open(&self, permit: Permit, now: Timestamp) -> Result<String, NoRandom> {
        let id = hex(&random::<32>()?);
        let csrf = hex(&random::<16>()?);
        let session = Session { permit, csrf, recent: Vec::new(), department: String::new(), opened_at: now, used_at: now };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SESSIONS_MAX {
            all.retain(|_, s| s.holds(now));
        }
        if all.len() >= SESSIONS_MAX {
            let oldest = all.iter().min_by_key(|(_, s)| s.used_at).map(|(id, _)| *id);
            all.remove(&oldest.unwrap_or_default());
        }
        all.insert(sha256(id.as_bytes()), session);
        Ok(id)
    }

    /// The session of a cookie; being asked for keeps it alive.
    #[must_use]
    pub fn find(&self, id: &str, now: Timestamp) -> Option<Session> {
        let key = sha256(id.as_bytes());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get_mut(&key)?;
        if session.holds(now) {
            session.used_at = now;
            return Some(session.clone());
        }
        all.remove(&key);
        None
    }

    pub fn remember(&self, id: &str, capture: CaptureId, department: &str, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = all.get_mut(&sha256(id.as_bytes())) {
            session.recent.retain(|(known, _)| *known != capture);
            session.recent.insert(0, (capture, now));
            session.recent.truncate(RECENT_MAX);
            department.clone_into(&mut session.department);
        }
    }

    pub fn close(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&sha256(id.as_bytes()));
    }
}
