//! Which archive takes what.

use super::claim::Claim;
use super::media::MediaKind;

/// What kind of object a file becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaClass {
    Photo,
    Video,
    Document,
}

impl MediaClass {
    pub const ALL: [Self; 3] = [Self::Photo, Self::Video, Self::Document];

    /// As in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Video => "video",
            Self::Document => "document",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    #[must_use]
    pub fn of(kind: MediaKind) -> Self {
        match kind.mime().split('/').next() {
            Some("video") => Self::Video,
            Some("image") => Self::Photo,
            _ => Self::Document,
        }
    }
}

/// What an archive takes. Where nothing is said, everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Ids of departments; empty: all.
    pub departments: Vec<String>,
    /// Empty: all.
    pub media: Vec<MediaClass>,
    /// `true`: what is sensitive and nothing else; `false`: what is not; `None`: both.
    pub sensitive: Option<bool>,
}

impl Takes {
    #[must_use]
    pub fn takes(&self, department: &str, media: MediaClass, sensitive: bool) -> bool {
        (self.departments.is_empty() || self.departments.iter().any(|d| d == department))
            && (self.media.is_empty() || self.media.contains(&media))
            && self.sensitive.is_none_or(|only| only == sensitive)
    }

    #[must_use]
    pub fn takes_item(&self, claim: &Claim, media: MediaKind) -> bool {
        self.takes(&claim.department, MediaClass::of(media), claim.sensitive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_takes_everything_but_what_it_is_told_not_to() {
        let all = Takes::default();
        let derm = Takes { departments: vec!["derm".to_owned()], ..Takes::default() };
        let videos = Takes { media: vec![MediaClass::Video], ..Takes::default() };
        let vault = Takes { sensitive: Some(true), ..Takes::default() };
        let open = Takes { sensitive: Some(false), ..Takes::default() };
        let table = [
            // given department, media and sensitivity, then: all, derm, videos, vault, open
            ("derm", MediaClass::Photo, false, [true, true, false, false, true]),
            ("ent", MediaClass::Video, false, [true, false, true, false, true]),
            ("derm", MediaClass::Document, true, [true, true, false, true, false]),
        ];
        for (department, media, sensitive, then) in table {
            let takes = [&all, &derm, &videos, &vault, &open].map(|t| t.takes(department, media, sensitive));
            assert_eq!(takes, then, "{department} {media:?} {sensitive}");
        }
    }

    #[test]
    fn every_kind_of_file_has_a_class() {
        for (kind, class) in
            [(MediaKind::Jpeg, MediaClass::Photo), (MediaKind::Heic, MediaClass::Photo), (MediaKind::Mp4, MediaClass::Video)]
        {
            assert_eq!(MediaClass::of(kind), class);
        }
        for class in MediaClass::ALL {
            assert_eq!(MediaClass::from_word(class.word()), Some(class));
        }
    }
}
