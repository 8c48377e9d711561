//! What a person chooses from: sites of the body, sides, views, procedures, kinds of departments.
//! The tables are files beside this one; each says where it comes from.

use std::sync::LazyLock;

use super::macros::designator;
use crate::capture::claim::{BodySite, Laterality};
use crate::capture::order::Code;

/// One row of a table. What it does not have is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub code: &'static str,
    pub scheme: &'static str,
    pub meaning: &'static str,
    /// The word for it in a claim; of a site, its Body Part Examined.
    pub term: &'static str,
    /// Of a site.
    pub sides: Option<Sides>,
    /// A picture of it is sensitive.
    pub is_intimate: bool,
    /// A camera before the skin sees it.
    pub is_outside: bool,
    folded: Folded,
}

/// How a side goes with a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// The body has two: a side must be said.
    Paired,
    Unpaired,
    /// The body has one, of which a side may be meant.
    Either,
}

impl Entry {
    #[must_use]
    pub fn to_code(&self) -> Code {
        Code { code: self.code.to_owned(), scheme: self.scheme.to_owned(), meaning: self.meaning.to_owned() }
    }

    #[must_use]
    pub fn to_site(&self) -> BodySite {
        BodySite { code: self.code.to_owned(), scheme: self.scheme.to_owned(), meaning: self.meaning.to_owned() }
    }
}

/// In the order in which they are offered.
#[must_use]
pub fn body_sites() -> &'static [Entry] {
    static TABLE: LazyLock<Vec<Entry>> = LazyLock::new(|| table(include_str!("codes/body_sites.tsv"), site_row));
    &TABLE
}

#[must_use]
pub fn sides() -> &'static [Entry] {
    static TABLE: LazyLock<Vec<Entry>> = LazyLock::new(|| table(include_str!("codes/sides.tsv"), row));
    &TABLE
}

#[must_use]
pub fn views() -> &'static [Entry] {
    static TABLE: LazyLock<Vec<Entry>> = LazyLock::new(|| table(include_str!("codes/views.tsv"), row));
    &TABLE
}

/// The first is what holds where nobody says more.
#[must_use]
pub fn procedures() -> &'static [Entry] {
    static TABLE: LazyLock<Vec<Entry>> = LazyLock::new(|| table(include_str!("codes/procedures.tsv"), row));
    &TABLE
}

#[must_use]
pub fn department_types() -> &'static [Entry] {
    static TABLE: LazyLock<Vec<Entry>> = LazyLock::new(|| table(include_str!("codes/departments.tsv"), row));
    &TABLE
}

/// A line without a `#` before it is a row; that every one is read, the tests below see to.
fn table(text: &'static str, read: fn(&[&'static str]) -> Option<Entry>) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| read(&line.split('\t').map(|c| if c == "-" { "" } else { c }).collect::<Vec<_>>())).collect()
}

fn row(columns: &[&'static str]) -> Option<Entry> {
    let (code, scheme, meaning, term) = match columns {
        [code, scheme, meaning] => (*code, *scheme, *meaning, ""),
        [code, scheme, meaning, term] => (*code, *scheme, *meaning, *term),
        _ => return None,
    };
    let folded = Folded::new(meaning, &[code, term]);
    Some(Entry { code, scheme, meaning, term, sides: None, is_intimate: false, is_outside: true, folded })
}

fn site_row(columns: &[&'static str]) -> Option<Entry> {
    let [code, scheme, meaning, sides, intimate, seen, term, words] = columns else { return None };
    let sides = match *sides {
        "paired" => Sides::Paired,
        "unpaired" => Sides::Unpaired,
        "either" => Sides::Either,
        _ => return None,
    };
    Some(Entry {
        code,
        scheme,
        meaning,
        term,
        sides: Some(sides),
        is_intimate: *intimate == "intimate",
        is_outside: *seen == "outside",
        folded: Folded::new(meaning, &[code, words]),
    })
}

/// The row of a claimed site; `None` where its code is not in the table, and so nothing is sure.
#[must_use]
pub fn find_site(site: &BodySite) -> Option<&'static Entry> {
    let scheme = designator(&site.scheme);
    body_sites().iter().find(|e| e.code == site.code && e.scheme == scheme)
}

/// The row that has this code, whatever its scheme: in no table do two share one.
#[must_use]
pub fn find_code<'e>(table: &'e [Entry], code: &str) -> Option<&'e Entry> {
    table.iter().find(|entry| entry.code == code && !code.is_empty())
}

/// The site of this name or code, as a person writes it.
#[must_use]
pub fn site_named(text: &str) -> Option<&'static Entry> {
    let folded = fold(text);
    body_sites().iter().find(|entry| entry.folded.meaning == folded || entry.code == text.trim())
}

/// What is wrong with a side for a site, and what to do; `None`: nothing is known to be.
#[must_use]
pub fn side_fault(site: &BodySite, laterality: Option<Laterality>) -> Option<&'static str> {
    let has_side = matches!(laterality, Some(Laterality::L | Laterality::R | Laterality::B));
    match find_site(site)?.sides? {
        Sides::Paired if !has_side => Some("the body has two of this site: say which, L or R, or B for both"),
        Sides::Unpaired if has_side => {
            Some("the body has one of this site: leave the side out, or say U; choose a smaller site, or describe where on it")
        }
        Sides::Paired | Sides::Unpaired | Sides::Either => None,
    }
}

/// Image Laterality (PS3.3 §C.7.6.1): `None` where it is not known.
pub(super) fn image_laterality(site: Option<&Entry>, laterality: Option<Laterality>) -> Option<Laterality> {
    match (site.and_then(|s| s.sides), laterality) {
        (Some(Sides::Unpaired), _) | (Some(Sides::Either), None) => Some(Laterality::U),
        (Some(Sides::Paired), Some(Laterality::U)) => None,
        (_, as_claimed) => as_claimed,
    }
}

/// What a person looks for. Case, accents and signs do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search(String);

/// Text that a search is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    meaning: String,
    /// With the meaning, what else it is found by.
    all: String,
}

impl Folded {
    #[must_use]
    pub fn new(meaning: &str, more: &[&str]) -> Self {
        let meaning = fold(meaning);
        let all = more.iter().map(|text| fold(text)).filter(|t| !t.is_empty()).fold(meaning.clone(), |all, t| all + " " + &t);
        Self { meaning, all }
    }
}

impl Search {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(fold(text))
    }

    /// How well it fits, best first; `None` where a word of the search begins no word of the text.
    #[must_use]
    pub fn rank(&self, text: &Folded) -> Option<u8> {
        let fits = |text: &str| self.0.split(' ').all(|word| text.split(' ').any(|w| w.starts_with(word)));
        if text.meaning == self.0 {
            return Some(0);
        }
        if text.meaning.starts_with(&self.0) {
            return Some(1);
        }
        if fits(&text.meaning) { Some(2) } else { fits(&text.all).then_some(3) }
    }

    /// The rows that fit, best first, else in the order of their table.
    #[must_use]
    pub fn among<'e>(&self, table: &'e [Entry]) -> Vec<&'e Entry> {
        let mut hits: Vec<_> = table.iter().filter_map(|entry| Some((self.rank(&entry.folded)?, entry))).collect();
        hits.sort_by_key(|(rank, entry)| (*rank, !entry.is_outside));
        hits.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// Lower-case words of letters and digits without accents, one blank between them.
fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match plain_letter(c) {
            Some(plain) => out.push_str(plain),
            None if c.is_alphanumeric() => out.push(c),
            // Combining accents belong to the letter before them.
            None if ('\u{300}'..='\u{36F}').contains(&c) => {}
            None if out.ends_with(' ') || out.is_empty() => {}
            None => out.push(' '),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn plain_letter(c: char) -> Option<&'static str> {
    Some(match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'œ' => "oe",
        'ř' => "r",
        'ś' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ț' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dicom::value::code_string;

    fn rows(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn every_line_of_every_table_is_read_and_no_two_say_the_same() {
        let tables = [
            (body_sites(), rows(include_str!("codes/body_sites.tsv"))),
            (sides(), rows(include_str!("codes/sides.tsv"))),
            (views(), rows(include_str!("codes/views.tsv"))),
            (procedures(), rows(include_str!("codes/procedures.tsv"))),
            (department_types(), rows(include_str!("codes/departments.tsv"))),
        ];
        for (table, lines) in tables {
            assert_eq!(table.len(), lines);
            let meanings: BTreeSet<_> = table.iter().map(|e| &e.folded.meaning).collect();
            assert_eq!(meanings.len(), lines, "two of one name");
            let coded = table.iter().filter(|e| !e.code.is_empty());
            assert_eq!(coded.clone().map(|e| e.code).collect::<BTreeSet<_>>().len(), coded.count(), "two of one code");
            for entry in table {
                assert!(!entry.meaning.is_empty() && entry.meaning.chars().count() <= 64, "{entry:?}");
                assert_eq!(entry.code.is_empty(), entry.scheme.is_empty(), "{entry:?}");
                assert!(entry.code.is_empty() || designator(entry.scheme) == entry.scheme, "{entry:?}");
            }
        }
        for entry in body_sites().iter().filter(|e| !e.term.is_empty()) {
            assert_eq!(code_string(entry.term).as_deref(), Some(entry.term));
        }
    }

    #[test]
    fn the_words_of_a_claim_are_those_of_the_tables() {
        for entry in sides() {
            let side: Laterality = serde_json::from_value(entry.term.into()).unwrap();
            assert_eq!(side.term(), entry.term);
        }
        for entry in views() {
            serde_json::from_value::<crate::capture::claim::View>(entry.term.into()).unwrap();
        }
    }

    fn site(code: &str, scheme: &str) -> BodySite {
        BodySite { code: code.into(), scheme: scheme.into(), meaning: "as the sender says".into() }
    }

    #[test]
    fn a_site_is_known_by_code_and_scheme() {
        let known = |code: &str, scheme: &str| find_site(&site(code, scheme)).map(|e| (e.term, e.sides));
        assert_eq!(known("85562004", "SCT"), Some(("HAND", Some(Sides::Paired))));
        assert_eq!(known("85562004", "SNOMED-CT"), Some(("HAND", Some(Sides::Paired))));
        assert_eq!(known("85562004", "L"), None);
        assert_eq!(known("1", "SCT"), None);
    }

    #[test]
    fn a_site_that_the_body_has_twice_wants_a_side_and_one_that_it_has_once_takes_none() {
        use Laterality::{B, L, R, U};
        let table = [
            // site, sides that are taken
            (site("85562004", "SCT"), vec![Some(L), Some(R), Some(B)]), // Hand
            (site("818981001", "SCT"), vec![None, Some(U)]),            // Abdomen
            (site("75093004", "SCT"), vec![None, Some(U), Some(L), Some(R), Some(B)]), // Skin of abdomen
            (site("1", "99HOSP"), vec![None, Some(U), Some(L), Some(R), Some(B)]),
        ];
        for (site, taken) in table {
            for side in [None, Some(U), Some(L), Some(R), Some(B)] {
                assert_eq!(side_fault(&site, side).is_none(), taken.contains(&side), "{} {side:?}", site.code);
            }
        }
    }

    #[test]
    fn what_an_object_says_of_the_side_is_never_a_guess() {
        use Laterality::{L, U};
        let of = |code: &str, side| image_laterality(find_site(&site(code, "SCT")), side);
        assert_eq!([of("85562004", Some(L)), of("85562004", None), of("85562004", Some(U))], [Some(L), None, None]);
        assert_eq!([of("818981001", None), of("818981001", Some(L))], [Some(U), Some(U)]);
        assert_eq!([of("75093004", None), of("75093004", Some(L))], [Some(U), Some(L)]);
        assert_eq!([of("1", None), of("1", Some(L)), of("1", Some(U))], [None, Some(L), Some(U)]);
    }

    #[test]
    fn a_search_looks_at_the_beginnings_of_words_whatever_their_case_and_accents() {
        let first = |text: &str| Search::new(text).among(body_sites()).first().map(|e| e.meaning);
        for (text, then) in [
            ("hand", "Hand"),
            ("HÄND", "Hand"),
            ("ha\u{301}nd", "Hand"),
            ("armpit", "Axilla"),
            ("85562004", "Hand"),
            ("upper arm", "Upper arm"),
            ("arm upper", "Upper arm"),
            ("skin of palm", "Skin of palm of hand"),
            ("skin, fore-head", ""),
            ("groin", "Groin skin crease"),
            ("bottom", "Buttock"),
            ("ear", "Ear"),
            ("zzz", ""),
        ] {
            assert_eq!(first(text).unwrap_or_default(), then, "{text}");
        }
        assert!(Search::new("and").among(body_sites()).iter().all(|e| e.meaning.contains("and ")), "inside of a word");
        assert_eq!(Search::new(" ").among(body_sites()).len(), body_sites().len());
        assert_eq!(site_named(" skin of ABDOMEN ").map(|e| e.code), Some("75093004"));
        assert_eq!(site_named("85562004").map(|e| e.meaning), Some("Hand"));
        assert_eq!(site_named("Han"), None);
    }
}
