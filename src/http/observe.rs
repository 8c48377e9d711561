//! What was answered: for the log and the counters. Never a body, a token, a name.

use std::fmt;
use std::time::Duration;

use crate::identity::Denied;
use crate::pipeline::RefusalCode;

/// Hears of every answer, once, when it is ready to be sent.
pub trait Observer: Send + Sync {
    fn answered(&self, line: &AccessLine<'_>);
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// As in `X-Request-Id` and in the problem document.
    pub request_id: &'a str,
    /// One of the methods of RFC 9110, or `other`.
    pub method: &'static str,
    /// The shape of the path, from a closed set: `/api/v1/captures/{id}`, or `other`.
    pub route: &'static str,
    pub status: u16,
    pub refusal: Option<RefusalCode>,
    /// Why a token was not accepted; the sender is not told.
    pub denied: Option<Denied>,
    pub body_bytes: u64,
    pub took: Duration,
}

impl fmt::Display for AccessLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request_id, method, route, status, body_bytes, .. } = self;
        write!(f, "{method} {route} {status} body_bytes={body_bytes} took_ms={} request_id={request_id}", self.took.as_millis())?;
        if let Some(code) = self.refusal {
            write!(f, " refusal={}", code.word())?;
        }
        if let Some(denied) = self.denied {
            write!(f, " denied={}", denied.word())?;
        }
        Ok(())
    }
}
