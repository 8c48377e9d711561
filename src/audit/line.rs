//! One line of the file.

use serde::{Deserialize, Serialize};

use super::{Event, Object, Outcome, Proof};
use crate::seal::digest::{hex, sha256};

/// What the first line follows.
pub(super) const FIRST_PREV: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Longest line. Issuer, subject and name of an operator are what the identity room lets through.
pub(super) const LINE_MAX_BYTES: usize = 16 * 1024;

/// Between the hashed text and its hash. The hash is over the line without this member, brace
/// closed: whoever reads the file can check it with any SHA-256.
const HASH_MEMBER: &str = ",\"hash\":\"";
const LINE_END: &str = "\"}";

/// The end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub seq: u64,
    pub hash: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub seq: u64,
    utc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<Actor>,
    action: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    object: String,
    outcome: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent_sha256: Option<String>,
    /// Hash of the line before.
    pub prev: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Actor {
    issuer: String,
    subject: String,
    name: String,
}

impl Line {
    /// The line that follows `last`.
    pub(super) fn of(event: &Event<'_>, object: String, last: &Head) -> Self {
        let outcome = match event.outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        let (proof, sent_sha256) = match event.object {
            Object::Scrubbed(_, proof) => (Some(proof.clone()), None),
            Object::Sent(_, sha256) => (None, Some(hex(sha256))),
            Object::None | Object::Capture(_) | Object::StandIn(..) | Object::Identifier(_) => (None, None),
        };
        let actor = event.actor.map(|operator| Actor {
            issuer: operator.issuer.clone(),
            subject: operator.subject.clone(),
            name: operator.name.clone(),
        });
        Self {
            seq: last.seq + 1,
            utc: event.at.to_string(),
            actor,
            action: event.action.to_owned(),
            object,
            outcome: outcome.to_owned(),
            detail: event.detail.to_owned(),
            proof,
            sent_sha256,
            prev: last.hash.clone(),
        }
    }

    /// The text of the line, its newline included, and the head of the chain behind it.
    pub(super) fn seal(&self) -> Option<(String, Head)> {
        let mut text = serde_json::to_string(self).ok()?;
        let hash = hex(&sha256(text.as_bytes()));
        text.pop();
        text.push_str(HASH_MEMBER);
        text.push_str(&hash);
        text.push_str(LINE_END);
        text.push('\n');
        (text.len() <= LINE_MAX_BYTES).then_some((text, Head { seq: self.seq, hash }))
    }

    /// Reads a line without its newline. `None` where its hash is not its own.
    pub(super) fn open(text: &[u8]) -> Option<(Self, Head)> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix(LINE_END)?;
        let (front, hash) = text.rsplit_once(HASH_MEMBER)?;
        let hashed = format!("{front}}}");
        if hex(&sha256(hashed.as_bytes())) != hash {
            return None;
        }
        let line: Self = serde_json::from_str(&hashed).ok()?;
        let head = Head { seq: line.seq, hash: hash.to_owned() };
        Some((line, head))
    }
}
