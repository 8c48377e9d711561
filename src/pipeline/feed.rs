//! One HL7 message: read → apply, flushed → wake whoever waited → acknowledge.

use std::sync::Arc;

use super::step::Line;
use crate::clock::Clock;
use crate::hl7::{self, AckCode};
use crate::journal::Journal;
use crate::lookup::{Feed, Unavailable};

/// Where messages come in.
pub struct Inlet {
    pub feed: Arc<dyn Feed>,
    pub journal: Arc<Journal>,
    pub line: Arc<Line>,
    pub rules: hl7::Rules,
    pub clock: Clock,
}

/// What becomes of a message.
pub enum Delivered {
    /// `answer` is the acknowledgement, unframed; `kind` the message type, for a metric.
    Answered { answer: Vec<u8>, kind: String, code: AckCode },
    /// The change could not be made durable: no answer, so that the sender keeps the message.
    /// `why` is for the operator.
    Unanswered { why: String },
}

impl Inlet {
    /// Answers AA only for what is on disk.
    #[must_use]
    pub fn deliver(&self, message: &[u8]) -> Delivered {
        let read = match hl7::read(message, &self.rules, self.clock.now()) {
            Ok(read) => read,
            Err(nack) => {
                return Delivered::Answered { answer: nack.answer(), kind: "refused".to_owned(), code: nack.fault.ack };
            }
        };
        let touched = match self.feed.apply(&read.update) {
            Ok(touched) => touched,
            Err(Unavailable(why)) => return Delivered::Unanswered { why },
        };
        self.line.facts_changed();
        // Whoever is not woken now for want of an index is found by the walk over all held captures.
        if !touched.0.is_empty() {
            self.line.wake(self.journal.waiting(&touched.0).unwrap_or_default());
        }
        Delivered::Answered { answer: read.accepted(), kind: read.kind, code: AckCode::Accept }
    }
}
