//! What happened in a run, line by line.

use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Mutex<Vec<String>>>>);

impl Trace {
    /// One that keeps its lines; the default one keeps none.
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            lines.lock().unwrap().push(line());
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.as_ref().map(|lines| lines.lock().unwrap().clone()).unwrap_or_default()
    }
}
