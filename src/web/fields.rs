//! What was written into the form, and the claim it makes.

use serde_json::{Map, Value, json};

use crate::capture::Claim;
use crate::capture::claim::ClaimError;
use crate::dicom::codes::{self, Search};

/// Longest text of one field; the longest of a claim is a description of 1024 characters.
pub const FIELD_MAX_BYTES: usize = 8 * 1024;

/// Sites that are offered for a word that names none.
const SITES_MEANT_MAX: usize = 4;

/// How the patient is named: value of the option, words, the claim's member.
pub const KINDS: &[(&str, &str)] = &[
    ("barcode", "Any number, or a scanned wristband"),
    ("patient", "Patient number"),
    ("visit", "Visit number"),
    ("order", "Order (accession) number"),
];

/// Sides: value of the option, words.
pub const SIDES: &[(&str, &str)] = &[("", "Not said"), ("L", "Left"), ("R", "Right"), ("B", "Both"), ("U", "Not a paired part")];

#[derive(Clone, Default)]
pub struct Fields {
    pub csrf: String,
    pub key: String,
    pub kind: String,
    pub number: String,
    pub birth_date: String,
    pub department: String,
    pub body_site: String,
    pub side: String,
    pub description: String,
}

/// One thing wrong with one field; `field` is the id of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub field: &'static str,
    pub words: String,
}

impl Fields {
    /// The field of this name.
    pub fn of(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "csrf" => &mut self.csrf,
            "key" => &mut self.key,
            "kind" => &mut self.kind,
            "number" => &mut self.number,
            "birth_date" => &mut self.birth_date,
            "department" => &mut self.department,
            "body_site" => &mut self.body_site,
            "side" => &mut self.side,
            "description" => &mut self.description,
            _ => return None,
        })
    }

    /// The claim, with what is empty left out.
    #[must_use]
    pub fn claim(&self) -> Value {
        let mut claim = Map::new();
        let mut say = |name: &str, value: Value| claim.insert(name.to_owned(), value);
        let number = self.number.trim();
        if !number.is_empty() {
            match self.kind.as_str() {
                "patient" => say("patient", json!({ "id": number })),
                "visit" => say("visit", json!({ "id": number })),
                "order" => say("order", json!({ "accession": number })),
                _ => say("barcode", json!(number)),
            };
        }
        for (name, text) in [
            ("birth_date", &self.birth_date),
            ("department", &self.department),
            ("laterality", &self.side),
            ("description", &self.description),
        ] {
            // A browser sends line ends as CR LF; a caption is one line (PS3.5 §6.2, LO).
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if !text.is_empty() {
                say(name, json!(text));
            }
        }
        if let Some(site) = codes::site_named(&self.body_site) {
            say("body_site", json!(site.to_site()));
        }
        Value::Object(claim)
    }

    /// All that is wrong before anybody else is asked.
    #[must_use]
    pub fn check(&self, has_file: bool) -> Vec<Wrong> {
        let mut wrong = match Claim::from_json(&self.claim()) {
            Err(errors) => explain(&errors),
            Ok(claim) => {
                let fault = claim.body_site.and_then(|site| codes::side_fault(&site, claim.laterality));
                fault.map(|fault| Wrong { field: "side", words: side_words(fault) }).into_iter().collect()
            }
        };
        wrong.extend(self.site_fault());
        if !has_file {
            wrong.push(Wrong { field: "photo", words: "Take or choose at least one photo.".to_owned() });
        }
        wrong
    }
}

impl Fields {
    /// A site that is none, with those that may be meant.
    fn site_fault(&self) -> Option<Wrong> {
        if self.body_site.trim().is_empty() || codes::site_named(&self.body_site).is_some() {
            return None;
        }
        let meant = Search::new(&self.body_site).among(codes::body_sites());
        let names: Vec<&str> = meant.iter().take(SITES_MEANT_MAX).map(|site| site.meaning).collect();
        let words = if names.is_empty() {
            "Choose a body site of the list, or leave it empty.".to_owned()
        } else {
            format!("Choose a body site of the list, such as {}.", names.join(", "))
        };
        Some(Wrong { field: "body_site", words })
    }
}

fn side_words(fault: &str) -> String {
    format!("Check the side: {fault}.")
}

/// Errors of a claim at the inputs they came from.
#[must_use]
pub fn explain(errors: &[ClaimError]) -> Vec<Wrong> {
    let explain = |error: &ClaimError| {
        let top = error.pointer.split('/').nth(1).unwrap_or_default();
        let (field, words) = match top {
            "birth_date" => ("birth_date", "Write the birth date as year-month-day, like 1970-03-01.".to_owned()),
            "department" => ("department", "Choose a department.".to_owned()),
            "body_site" => ("body_site", "Choose a body site: this department, or a video, asks for one.".to_owned()),
            "laterality" => ("side", side_words(&error.detail)),
            "description" => ("description", format!("Change the description: {}.", error.detail)),
            "" => ("number", "Write or scan a number, so that the photo finds its patient.".to_owned()),
            _ => ("number", format!("Check the number: {}.", error.detail)),
        };
        Wrong { field, words }
    };
    let mut wrong: Vec<Wrong> = errors.iter().map(explain).collect();
    wrong.dedup();
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(kind: &str, number: &str) -> Fields {
        Fields { kind: kind.into(), number: number.into(), department: "derm".into(), ..Fields::default() }
    }

    #[test]
    fn each_kind_of_number_becomes_its_own_member() {
        for (kind, then) in [
            ("patient", json!({"patient": {"id": "4711"}, "department": "derm"})),
            ("visit", json!({"visit": {"id": "4711"}, "department": "derm"})),
            ("order", json!({"order": {"accession": "4711"}, "department": "derm"})),
            ("barcode", json!({"barcode": "4711", "department": "derm"})),
            ("", json!({"barcode": "4711", "department": "derm"})),
        ] {
            assert_eq!(fields(kind, " 4711 ").claim(), then, "{kind}");
            assert!(Claim::from_json(&fields(kind, "4711").claim()).is_ok());
        }
    }

    #[test]
    fn a_whole_form_becomes_a_whole_claim() {
        let form = Fields {
            birth_date: "1970-03-01".into(),
            body_site: " hand".into(),
            side: "L".into(),
            description: "Dorsal hand,\r\nday 3".into(),
            ..fields("patient", "4711")
        };
        let claim = Claim::from_json(&form.claim()).unwrap();
        assert_eq!(
            claim.body_site.map(|s| (s.code, s.scheme, s.meaning)),
            Some(("85562004".into(), "SCT".into(), "Hand".into()))
        );
        assert_eq!(claim.description, Some("Dorsal hand, day 3".into()));
        assert!(form.check(true).is_empty());
    }

    #[test]
    fn a_site_is_chosen_by_its_name_and_with_the_side_that_it_wants() {
        for (body_site, side, wrong) in [
            ("", "", None),
            ("Abdomen", "", None),
            ("Skin of abdomen", "L", None),
            ("Hand", "R", None),
            ("Hand", "", Some("side")),
            ("Hand", "U", Some("side")),
            ("Abdomen", "L", Some("side")),
            ("Han", "L", Some("body_site")),
            ("the left hand", "L", Some("body_site")),
        ] {
            let form = Fields { body_site: body_site.into(), side: side.into(), ..fields("patient", "4711") };
            let found = form.check(true);
            assert_eq!(found.first().map(|w| w.field), wrong, "{body_site} {side}");
        }
        let form = Fields { body_site: "forea".into(), ..fields("patient", "4711") };
        assert!(form.check(true)[0].words.contains("Forearm"), "{:?}", form.check(true));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_at_its_field() {
        let form = Fields { birth_date: "1.3.1970".into(), ..Fields::default() };
        let at: Vec<&str> = form.check(false).iter().map(|w| w.field).collect();
        for field in ["number", "birth_date", "department", "photo"] {
            assert!(at.contains(&field), "{field} not in {at:?}");
        }
    }
}
