//! The plan: which bytes of a file stay, go or are written anew. It prints as text.

use std::fmt;

/// Lines of a plan; later ones are only counted. A phone's photo has some twenty.
const ENTRIES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Keep,
    Drop,
    /// So many other bytes stand in its place.
    Rewrite {
        into_bytes: u64,
    },
}

/// `length` bytes from `offset` of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    pub length: u64,
    pub action: Action,
    pub what: &'static str,
}

/// The entries cover the source without a gap, in order; neighbours of one kind are one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    entries: Vec<Entry>,
    length: u64,
    unlisted: u64,
}

impl Plan {
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many bytes of the source it speaks of.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn add(&mut self, length: usize, action: Action, what: &'static str) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let offset = self.length;
        self.length = self.length.saturating_add(length);
        if let Some(last) = self.entries.last_mut().filter(|last| self.unlisted == 0 && last.what == what) {
            let joined = match (last.action, action) {
                (Action::Keep, Action::Keep) => Some(Action::Keep),
                (Action::Drop, Action::Drop) => Some(Action::Drop),
                (Action::Rewrite { into_bytes: a }, Action::Rewrite { into_bytes: b }) => {
                    Some(Action::Rewrite { into_bytes: a.saturating_add(b) })
                }
                _ => None,
            };
            if let Some(action) = joined {
                last.action = action;
                last.length = last.length.saturating_add(length);
                return;
            }
        }
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push(Entry { offset, length, action, what });
        } else {
            self.unlisted += 1;
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { offset, length, action, what } in &self.entries {
            match action {
                Action::Keep => writeln!(f, "{offset:>9} keep    {length:>9} {what}")?,
                Action::Drop => writeln!(f, "{offset:>9} drop    {length:>9} {what}")?,
                Action::Rewrite { into_bytes } => writeln!(f, "{offset:>9} rewrite {length:>9} {what} into {into_bytes}")?,
            }
        }
        if self.unlisted > 0 {
            writeln!(f, "and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_kind_are_one_line() {
        let mut plan = Plan::default();
        for (length, action, what) in [
            (2, Action::Keep, "soi"),
            (10, Action::Drop, "xmp"),
            (20, Action::Drop, "xmp"),
            (7, Action::Rewrite { into_bytes: 3 }, "icc"),
            (5, Action::Rewrite { into_bytes: 4 }, "icc"),
            (0, Action::Rewrite { into_bytes: 38 }, "exif"),
            (1, Action::Keep, "scan"),
        ] {
            plan.add(length, action, what);
        }
        let text = "        0 keep            2 soi\n        2 drop           30 xmp\n       32 rewrite        12 icc into 7\n       \
                    44 rewrite         0 exif into 38\n       44 keep            1 scan\n";
        assert_eq!(plan.to_string(), text);
        assert_eq!(plan.length(), 45);
    }

    #[test]
    fn a_plan_stays_small_whatever_the_file() {
        let mut plan = Plan::default();
        for n in 0..10_000 {
            plan.add(1, if n % 2 == 0 { Action::Keep } else { Action::Drop }, "x");
        }
        assert_eq!(plan.entries().len(), ENTRIES_MAX);
        assert!(plan.to_string().ends_with("and 9744 more\n"));
    }
}
