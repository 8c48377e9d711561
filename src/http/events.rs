//! `GET /captures/{id}/events`: the history of a capture, line by line as it is written
//! (server-sent events, WHATWG HTML §9.2).
//!
//! The history is the journal's; a stream looks there at a modest pace while somebody listens.
//! Nothing has to be kept for it: the number of a line is its `id`, so that a client that comes
//! back with `Last-Event-ID` misses nothing, also after a restart.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_server::GracefulShutdownSignal;
use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::future::{Either, select};
use futures_util::stream::unfold;
use serde_json::json;
use tokio::time::sleep;

use super::body::block;
use super::door::Place;
use crate::capture::{CaptureId, Record};
use crate::clock::Clock;
use crate::identity::Permit;
use crate::pipeline::Desk;

/// Between two looks: a person sees it as at once, and sixty-four streams read a hundred rows a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A comment after so much silence, so that nobody in between takes the connection for dead.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// What a client waits before it comes back.
const RETRY: &str = "retry: 2000\n\n";

/// One stream.
pub struct Watch {
    pub desk: Arc<dyn Desk>,
    pub clock: Clock,
    pub permit: Permit,
    pub id: CaptureId,
    /// The first line to tell.
    pub first: u64,
    pub stopping: GracefulShutdownSignal,
    /// Among the streams that run at a time.
    pub place: Place,
}

/// Where a stream goes on: behind the line that the client saw last.
#[must_use]
pub fn first_line(last_event_id: Option<&str>) -> u64 {
    last_event_id.and_then(|id| id.trim().parse::<u64>().ok()).map_or(0, |last| last.saturating_add(1))
}

/// The events of a capture until all its items are at rest, the permit ends, or the server stops.
pub fn stream(watch: Watch) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let teller = Teller { watch, begun: false, ended: false, silence: Duration::ZERO };
    unfold(teller, |mut teller| async move { teller.next().await.map(|text| (Ok(Bytes::from(text)), teller)) })
}

struct Teller {
    watch: Watch,
    begun: bool,
    ended: bool,
    silence: Duration,
}

impl Teller {
    /// What to send next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if !self.begun {
            // At once, so that the client has its answer.
            self.begun = true;
            return Some(RETRY.to_owned());
        }
        while !self.ended && self.watch.clock.now() < self.watch.permit.expires_at() {
            let (desk, permit, id) = (Arc::clone(&self.watch.desk), self.watch.permit.clone(), self.watch.id);
            // A client comes back, and reads then what is wrong.
            let record = block(move || desk.capture(&permit, id)).await.ok()?;
            self.ended = record.is_at_rest();
            let text = self.tell(&record);
            if !text.is_empty() {
                self.silence = Duration::ZERO;
                return Some(text);
            }
            if self.ended || self.is_stopping_within(LOOK_EVERY).await {
                return None;
            }
            self.silence += LOOK_EVERY;
            if self.silence >= SILENCE_MAX {
                self.silence = Duration::ZERO;
                return Some(": still here\n\n".to_owned());
            }
        }
        None
    }

    fn tell(&mut self, record: &Record) -> String {
        let newest = record.history_from(0).last().map_or(0, |(number, _)| number);
        if self.watch.first > newest.saturating_add(1) {
            // Of a history that was rebuilt since, and is shorter.
            self.watch.first = 0;
        }
        let mut text = String::new();
        for (number, event) in record.history_from(self.watch.first) {
            let mut data = json!({ "item": self.watch.id.item(event.item).to_string(), "stage": event.stage, "at": event.at });
            for (name, value) in [("why", &event.why), ("archive", &event.archive)] {
                if let (Some(members), Some(value)) = (data.as_object_mut(), value) {
                    members.insert(name.to_owned(), json!(value));
                }
            }
            // JSON writes no line break, so it is one line of data.
            let _ = write!(text, "id: {number}\nevent: stage\ndata: {data}\n\n");
        }
        self.watch.first = self.watch.first.max(newest.saturating_add(1));
        text
    }

    async fn is_stopping_within(&self, time: Duration) -> bool {
        matches!(select(pin!(self.watch.stopping.notified()), pin!(sleep(time))).await, Either::Left(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_behind_what_was_seen() {
        for (last, first) in [(None, 0), (Some("0"), 1), (Some(" 41 "), 42), (Some("x"), 0), (Some("-1"), 0)] {
            assert_eq!(first_line(last), first, "{last:?}");
        }
    }
}
