//! When to try again: data and one pure function.

use super::failure::Class;

/// Waits between attempts, milliseconds. They grow by `factor` up to `longest_ms` and never end.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    pub first_ms: u64,
    pub longest_ms: u64,
    pub factor: u64,
}

impl Default for RetryPolicy {
    /// The first wait is short because most outages are restarts; the longest is a minute, so that
    /// an archive that comes back is noticed while its administrator still looks.
    fn default() -> Self {
        Self { first_ms: 1_000, longest_ms: 60_000, factor: 2 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after so many milliseconds.
    After(u64),
    Hold,
}

impl RetryPolicy {
    /// The longest wait there is, milliseconds: what is due later was written by a clock that was wrong.
    #[must_use]
    pub fn bound_ms(&self) -> u64 {
        self.longest_ms.saturating_add(self.longest_ms / 4)
    }

    /// What follows the `attempts`-th failed attempt (from 1). `jitter` is 0 to 255: up to a
    /// quarter of the wait is added, so that a thousand items do not return in step.
    #[must_use]
    pub fn next(&self, attempts: u32, class: Class, jitter: u8) -> Next {
        match class {
            Class::Permanent => Next::Hold,
            Class::Transient | Class::Ambiguous => {
                let doublings = attempts.saturating_sub(1).min(32);
                let wait = self.first_ms.saturating_mul(self.factor.saturating_pow(doublings)).min(self.longest_ms);
                Next::After(wait + wait / 4 * u64::from(jitter) / 255)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_forward_waits_longer_each_time_and_never_gives_up() {
        let policy = RetryPolicy::default();
        let table = [
            (1, Class::Transient, Next::After(1_000)),
            (2, Class::Transient, Next::After(2_000)),
            (7, Class::Ambiguous, Next::After(60_000)),
            (u32::MAX, Class::Transient, Next::After(60_000)),
            (1, Class::Permanent, Next::Hold),
        ];
        for (attempts, class, then) in table {
            assert_eq!(policy.next(attempts, class, 0), then, "{attempts} {class:?}");
        }
        assert_eq!(policy.next(1, Class::Transient, 255), Next::After(1_250));
    }
}
