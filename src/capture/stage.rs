//! The stages of an item, and the only moves between them.

use serde::{Deserialize, Serialize};

/// Where an item stands on its way to the archive. The same words in the API, the CLI, the
/// metrics and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Accepted,
    Identified,
    Wrapped,
    Forwarded,
    Committed,
    Held,
    Discarded,
}

impl Stage {
    pub const ALL: [Self; 7] =
        [Self::Accepted, Self::Identified, Self::Wrapped, Self::Forwarded, Self::Committed, Self::Held, Self::Discarded];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Identified => "identified",
            Self::Wrapped => "wrapped",
            Self::Forwarded => "forwarded",
            Self::Committed => "committed",
            Self::Held => "held",
            Self::Discarded => "discarded",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }

    /// True where the gateway has nothing left to do by itself.
    #[must_use]
    pub fn is_at_rest(self, commitment_wanted: bool) -> bool {
        match self {
            Self::Committed | Self::Discarded => true,
            Self::Forwarded => !commitment_wanted,
            Self::Accepted | Self::Identified | Self::Wrapped | Self::Held => false,
        }
    }

    /// The transition table. Never backwards, except out of `Held` to where it was.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use Stage::{Accepted, Committed, Discarded, Forwarded, Held, Identified, Wrapped};
        let forward = matches!(
            (self, next),
            (Accepted, Identified) | (Identified, Wrapped) | (Wrapped, Forwarded) | (Forwarded, Committed)
        );
        let by_doubt = matches!((self, next), (Accepted | Identified | Wrapped, Held));
        let by_person = matches!((self, next), (Held, Accepted | Identified | Wrapped | Discarded));
        self == next || forward || by_doubt || by_person
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_gateway_but_by_the_archive_or_a_person() {
        for stage in Stage::ALL {
            let ends: Vec<Stage> =
                [Stage::Committed, Stage::Discarded].into_iter().filter(|e| *e != stage && stage.may_become(*e)).collect();
            match stage {
                Stage::Forwarded => assert_eq!(ends, [Stage::Committed]),
                Stage::Held => assert_eq!(ends, [Stage::Discarded]),
                _ => assert!(ends.is_empty(), "{stage:?} may become {ends:?}"),
            }
        }
    }

    #[test]
    fn no_stage_goes_back() {
        let way = [Stage::Accepted, Stage::Identified, Stage::Wrapped, Stage::Forwarded, Stage::Committed];
        for (i, later) in way.iter().enumerate() {
            for earlier in &way[..i] {
                assert!(!later.may_become(*earlier), "{later:?} to {earlier:?}");
            }
        }
    }
}
