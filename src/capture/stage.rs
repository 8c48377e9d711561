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

    /// True where the gateway has nothing left to do by itself. `commitment_wanted`: the archive's
    /// word at storing is not enough.
    #[must_use]
    pub fn is_at_rest(self, commitment_wanted: bool) -> bool {
        match self {
            Self::Committed | Self::Discarded => true,
            Self::Forwarded => !commitment_wanted,
            Self::Accepted | Self::Identified | Self::Wrapped | Self::Held => false,
        }
    }

    /// The transition table. Never backwards, except out of `Held` to where it was (the leg knows
    /// where that is), and from `Forwarded` where the archive itself says that it has no such instance: then the object is
    /// sent again under the same UID (PS3.3 §C.14.1.1, Failure Reason 0112H).
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use Stage::{Accepted, Committed, Discarded, Forwarded, Held, Identified, Wrapped};
        let forward = matches!(
            (self, next),
            (Accepted, Identified) | (Identified, Wrapped) | (Wrapped, Forwarded) | (Forwarded, Committed)
        );
        let by_doubt = matches!((self, next), (Accepted | Identified | Wrapped | Forwarded, Held));
        let by_archive = matches!((self, next), (Forwarded, Wrapped));
        let by_person = matches!((self, next), (Held, Accepted | Identified | Wrapped | Forwarded | Discarded));
        self == next || forward || by_doubt || by_archive || by_person
    }
}

/// Whether an archive is asked to say that it keeps what it stored (PS3.4 §J).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commitment {
    /// Its word at storing is taken.
    #[default]
    None,
    /// Asked; where it does not offer the service, its word at storing is taken.
    Ask,
    /// Asked without end: nothing is done before it has committed.
    Required,
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
    fn no_stage_goes_back_but_where_the_archive_lost_the_object() {
        let way = [Stage::Accepted, Stage::Identified, Stage::Wrapped, Stage::Forwarded, Stage::Committed];
        for (i, later) in way.iter().enumerate() {
            for earlier in &way[..i] {
                let is_lost = (*later, *earlier) == (Stage::Forwarded, Stage::Wrapped);
                assert_eq!(later.may_become(*earlier), is_lost, "{later:?} to {earlier:?}");
            }
        }
    }
}
