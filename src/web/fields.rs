//! What was written into the form, and the claim it makes.

use serde_json::{Map, Value, json};

use super::sites::meaning_of;
use crate::capture::Claim;
use crate::capture::claim::ClaimError;

/// Longest text of one field; the longest of a claim is a description of 1024 characters.
pub const FIELD_MAX_BYTES: usize = 8 * 1024;

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
        if let Some(meaning) = meaning_of(&self.body_site) {
            say("body_site", json!({ "code": self.body_site, "scheme": "SCT", "meaning": meaning }));
        }
        Value::Object(claim)
    }

    /// All that is wrong before anybody else is asked.
    #[must_use]
    pub fn check(&self, has_file: bool) -> Vec<Wrong> {
        let mut wrong = Claim::from_json(&self.claim()).err().map(|errors| explain(&errors)).unwrap_or_default();
        if !has_file {
            wrong.push(Wrong { field: "photo", words: "Take or choose at least one photo.".to_owned() });
        }
        wrong
    }
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
            "laterality" => ("side", format!("Choose a side: {}.", error.detail)),
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
            body_site: "85562004".into(),
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
    fn everything_that_is_wrong_is_said_at_once_at_its_field() {
        let form = Fields { birth_date: "1.3.1970".into(), ..Fields::default() };
        let at: Vec<&str> = form.check(false).iter().map(|w| w.field).collect();
        for field in ["number", "birth_date", "department", "photo"] {
            assert!(at.contains(&field), "{field} not in {at:?}");
        }
    }
}
