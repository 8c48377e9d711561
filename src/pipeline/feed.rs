//! One HL7 message: read → apply, flushed → wake whoever waited → acknowledge.

use std::sync::Arc;

use super::step::Line;
use crate::hl7;
use crate::lookup::Feed;

pub struct Inlet {
    pub feed: Arc<dyn Feed>,
    pub line: Arc<Line>,
    pub rules: hl7::SourceRules,
}
