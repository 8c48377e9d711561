//! How often a thing is told that strangers can make happen as often as they like.

use std::time::{Duration, Instant};

/// Lines in one [`PERIOD`].
const LINES_MAX: u32 = 60;
const PERIOD: Duration = Duration::from_secs(60);

/// What to write of one more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    It,
    /// That there are more, which are not told until the period is over.
    More,
    Nothing,
}

/// Counts lines, so that whoever knocks without end does not fill a disk with them.
#[derive(Debug, Default)]
pub struct Sparing {
    since: Option<Instant>,
    lines: u32,
}

impl Sparing {
    pub fn next(&mut self, now: Instant) -> Say {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            *self = Self { since: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            ..=LINES_MAX => Say::It,
            line if line == LINES_MAX + 1 => Say::More,
            _ => Say::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knocks_without_end_is_told_of_a_few_times_a_minute_and_that_there_is_more() {
        let (start, mut sparing) = (Instant::now(), Sparing::default());
        for minute in 0..3 {
            let said: Vec<Say> = (0..1_000).map(|ms| sparing.next(start + PERIOD * minute + Duration::from_millis(ms))).collect();
            let count = |say| said.iter().filter(|s| **s == say).count();
            assert_eq!((count(Say::It), count(Say::More)), (60, 1));
            assert_eq!(said[60], Say::More);
        }
    }
}
