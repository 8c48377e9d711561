//! `/api/v1/codes`: what can be chosen from, found by the beginnings of words.

use serde_json::{Value, json};

use super::query;
use crate::capture::claim::ClaimError;
use crate::capture::order::Code;
use crate::dicom::codes::{self, Entry, Folded, Search, Sides};
use crate::pipeline::{Refusal, RefusalCode};

/// Longest search: no name of a site is longer.
const SEARCH_MAX_CHARS: usize = 64;
/// How many are answered: a list on a phone, and every table whole.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 1_000;

const KINDS: [(&str, Kind); 6] = [
    ("body-site", Kind::BodySite),
    ("laterality", Kind::Side),
    ("view", Kind::View),
    ("department", Kind::Department),
    ("department-type", Kind::DepartmentType),
    ("procedure", Kind::Procedure),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BodySite,
    Side,
    View,
    /// Those that are configured.
    Department,
    DepartmentType,
    Procedure,
}

/// A department as it is configured.
#[derive(Clone, Debug)]
pub struct Department {
    pub id: String,
    pub name: String,
    pub kind: Option<Code>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    kind: Kind,
    search: Search,
    limit: usize,
}

/// Reads `kind=&q=&limit=`.
///
/// # Errors
/// [`RefusalCode::Malformed`], by the name of the parameter.
pub fn read_question(text: &str) -> Result<Question, Refusal> {
    let malformed = |errors| Refusal {
        errors,
        ..Refusal::new(RefusalCode::Malformed, "The query cannot be read; `errors` says which parameter.")
    };
    let wrong = |name: &str, detail: &str| ClaimError { pointer: name.to_owned(), detail: detail.to_owned() };
    let pairs = query::pairs(text.as_bytes()).ok_or_else(|| malformed(vec![wrong("", "not in the form name=value&…")]))?;
    let (mut kind, mut search, mut limit, mut errors) = (None, Search::new(""), LIMIT_DEFAULT, Vec::new());
    for (name, value) in pairs {
        match name.as_str() {
            "kind" => kind = KINDS.iter().find(|(word, _)| *word == value).map(|(_, kind)| *kind),
            "q" if value.chars().count() <= SEARCH_MAX_CHARS => search = Search::new(&value),
            "q" => errors.push(wrong("q", "longer than 64 characters")),
            "limit" => match value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n)) {
                Some(number) => limit = number,
                None => errors.push(wrong("limit", "not a number from 1 to 1000")),
            },
            _ => errors.push(wrong("", "has a parameter that is not known here; known are kind, q, limit")),
        }
    }
    match kind {
        Some(kind) if errors.is_empty() => Ok(Question { kind, search, limit }),
        Some(_) => Err(malformed(errors)),
        None => {
            let words = KINDS.map(|(word, _)| word).join(", ");
            errors.push(wrong("kind", &format!("must be one of {words}")));
            Err(malformed(errors))
        }
    }
}

/// What fits, best first.
#[must_use]
pub fn answer(question: &Question, departments: &[Department]) -> Value {
    let table = match question.kind {
        Kind::BodySite => codes::body_sites(),
        Kind::Side => codes::sides(),
        Kind::View => codes::views(),
        Kind::DepartmentType => codes::department_types(),
        Kind::Procedure => codes::procedures(),
        Kind::Department => &[],
    };
    let mut hits: Vec<Value> = question.search.among(table).into_iter().map(entry).collect();
    if question.kind == Kind::Department {
        let fits = |d: &&Department| question.search.rank(&Folded::new(&d.name, &[&d.id])).is_some();
        hits = departments.iter().filter(fits).map(department).collect();
    }
    let has_more = hits.len() > question.limit;
    hits.truncate(question.limit);
    json!({ "codes": hits, "more": has_more })
}

fn entry(entry: &Entry) -> Value {
    let side = match entry.sides {
        Some(Sides::Paired) => "required",
        Some(Sides::Either) => "optional",
        Some(Sides::Unpaired) => "none",
        None => "",
    };
    json!({
        "code": entry.code, "scheme": entry.scheme, "meaning": entry.meaning, "term": entry.term,
        "side": side, "sensitive": entry.is_intimate,
    })
}

fn department(of: &Department) -> Value {
    let kind = of.kind.clone().unwrap_or_default();
    json!({
        "code": kind.code, "scheme": kind.scheme, "meaning": of.name, "term": of.id,
        "side": "", "sensitive": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Value {
        let dermatology = codes::find_code(codes::department_types(), "309923008").map(Entry::to_code);
        let departments = [("derm", "Dermatology", dermatology), ("ed", "Unfallchirurgie Süd", None)]
            .map(|(id, name, kind)| Department { id: id.to_owned(), name: name.to_owned(), kind });
        answer(&read_question(query).unwrap(), &departments)
    }

    #[test]
    fn a_site_says_with_its_code_whether_a_side_must_be_said() {
        let hand = &ask("kind=body-site&q=H%C3%A4nd&limit=1");
        assert_eq!(
            hand["codes"],
            json!([{"code": "85562004", "scheme": "SCT", "meaning": "Hand", "term": "HAND", "side": "required", "sensitive": false}])
        );
        assert_eq!(hand["more"], true);
        assert_eq!(ask("kind=body-site&q=skin+of+abdomen")["codes"][0]["side"], "optional");
        assert_eq!(ask("kind=body-site&q=perineum")["codes"][0]["sensitive"], true);
        assert_eq!(ask("kind=body-site&q=xyz"), json!({"codes": [], "more": false}));
        assert_eq!(ask("kind=body-site")["codes"].as_array().map(Vec::len), Some(20));
        assert_eq!(ask("kind=body-site&limit=1000")["more"], false);
    }

    #[test]
    fn what_a_claim_says_in_words_has_them_as_its_terms() {
        let terms = |query: &str| {
            let answer = ask(query);
            let codes = answer["codes"].as_array().unwrap();
            codes.iter().map(|c| c["term"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(terms("kind=laterality"), ["L", "R", "B", "U"]);
        assert_eq!(terms("kind=view&q=close"), ["close-up"]);
        assert_eq!(terms("kind=department"), ["derm", "ed"]);
        assert_eq!(terms("kind=department&q=sud"), ["ed"]);
        assert_eq!(ask("kind=department&q=derm")["codes"][0]["code"], "309923008");
        assert_eq!(ask("kind=department-type&q=dermat")["codes"][0]["code"], "309923008");
        assert_eq!(ask("kind=procedure")["codes"][0]["code"], "197157006");
    }

    #[test]
    fn a_question_that_cannot_be_read_is_told_by_its_parameter() {
        let long = format!("kind=view&q={}", "a".repeat(65));
        for (query, pointer) in [
            ("", "kind"),
            ("kind=colour", "kind"),
            ("kind=view&limit=0", "limit"),
            ("kind=view&limit=1001", "limit"),
            ("kind=view&page=2", ""),
            ("kind=view&q=%zz", ""),
            ("kind=view&q=%ff", ""),
            (&long, "q"),
        ] {
            let refusal = read_question(query).unwrap_err();
            assert_eq!((refusal.code, refusal.errors[0].pointer.as_str()), (RefusalCode::Malformed, pointer), "{query}");
        }
    }
}
