//! The claim: what the sender says about a capture. Parsed once, at the door.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::media::TakenAt;
use super::text::{Phi, is_plain};

/// Longest value of a free text member, characters (LO is 64, PS3.5 §6.2; a caption may be longer
/// and is cut where it enters an LO).
const TEXT_MAX: usize = 1024;
/// Longest identifier, characters: Patient ID is LO.
const ID_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub patient: Option<PatientKey>,
    pub visit: Option<Phi>,
    pub order: Option<OrderKey>,
    pub barcode: Option<Phi>,
    pub birth_date: Option<Date>,
    pub department: String,
    pub body_site: Option<BodySite>,
    pub laterality: Option<Laterality>,
    pub description: Option<Phi>,
    pub taken_at: Option<TakenAt>,
    pub device: Option<Device>,
    pub view: Option<View>,
    #[serde(default)]
    pub sensitive: bool,
    pub consent: Option<Consent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientKey {
    pub id: Phi,
    /// A namespace or an OID; `None`: the site's own authority.
    pub issuer: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKey {
    Accession(Phi),
    Placer(Phi),
    Filler(Phi),
    StudyInstanceUid(Phi),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodySite {
    pub code: String,
    pub scheme: String,
    pub meaning: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Laterality {
    L,
    R,
    U,
    B,
}

impl Laterality {
    /// The Image Laterality term (PS3.3 §C.7.6.1).
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Self::L => "L",
            Self::R => "R",
            Self::U => "U",
            Self::B => "B",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub software: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    Overview,
    CloseUp,
    WithScale,
    Dermoscopic,
    ConsentForm,
}

impl View {
    /// As in a claim.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word)).ok()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    pub level: ConsentLevel,
    pub given_by: Option<Phi>,
    pub form: Option<Phi>,
    pub witness: Option<Phi>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsentLevel {
    Record,
    Teaching,
    Publication,
}

/// One thing wrong with a claim. `pointer` is a JSON pointer (RFC 6901) and names members only;
/// `detail` never repeats a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimError {
    pub pointer: String,
    pub detail: String,
}

impl ClaimError {
    /// One line for each, for a person at the shell.
    #[must_use]
    pub fn list(errors: &[Self]) -> String {
        errors.iter().map(|e| format!("  {}: {}", e.pointer, e.detail)).collect::<Vec<_>>().join("\n")
    }
}

impl Claim {
    /// Reads a claim. All problems are reported at once.
    ///
    /// # Errors
    /// Every member that is unknown, of the wrong type or illegal, and a claim that names no
    /// patient, visit, order or barcode.
    pub fn from_json(value: &Value) -> Result<Self, Vec<ClaimError>> {
        let mut reader = Reader { errors: Vec::new() };
        let claim = reader.claim(value);
        match claim {
            Some(claim) if reader.errors.is_empty() => Ok(claim),
            _ => Err(reader.errors),
        }
    }
}

/// The date and time of `text` (RFC 3339; a missing offset is allowed) as the sender's wall clock.
#[must_use]
pub fn parse_taken_at(text: &str) -> Option<TakenAt> {
    let (body, offset) = match text.char_indices().skip(10).find(|(_, c)| matches!(c, '+' | '-' | 'Z' | 'z')) {
        None => (text, None),
        Some((at, _)) => {
            let (body, zone) = text.split_at_checked(at)?;
            (body, Some(parse_offset(zone)?))
        }
    };
    Some(TakenAt { local: body.parse().ok()?, offset })
}

fn parse_offset(zone: &str) -> Option<jiff::tz::Offset> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(jiff::tz::Offset::UTC);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
    let well_formed = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    let (hours, minutes) = digits.split_at_checked(2).filter(|_| well_formed)?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    if seconds > 14 * 3600 {
        return None;
    }
    jiff::tz::Offset::from_seconds(sign * seconds).ok()
}

struct Reader {
    errors: Vec<ClaimError>,
}

impl Reader {
    fn wrong(&mut self, pointer: &str, detail: impl Into<String>) {
        self.errors.push(ClaimError { pointer: pointer.to_owned(), detail: detail.into() });
    }

    fn claim(&mut self, value: &Value) -> Option<Claim> {
        const MEMBERS: [&str; 14] = [
            "patient",
            "visit",
            "order",
            "barcode",
            "birth_date",
            "department",
            "body_site",
            "laterality",
            "description",
            "taken_at",
            "device",
            "view",
            "sensitive",
            "consent",
        ];
        let root = self.object(value, "", &MEMBERS)?;
        let (patient, visit, order, barcode) = self.named(root);
        let birth_date = self.member(root, "birth_date", |r, v, p| {
            let text = r.text(v, p, 10)?;
            text.parse().map_err(|_| r.wrong(p, "not a date; write YYYY-MM-DD")).ok()
        });
        let department = self.member(root, "department", |r, v, p| r.text(v, p, ID_MAX));
        if !root.contains_key("department") {
            self.wrong("/department", "missing; name one of the configured departments");
        }
        let body_site = self.member(root, "body_site", Self::body_site);
        let laterality = self.member(root, "laterality", |r, v, p| r.term(v, p, "L, R, U or B"));
        let description = self.member(root, "description", |r, v, p| r.text(v, p, TEXT_MAX).map(Phi::from));
        let taken_at = self.member(root, "taken_at", |r, v, p| {
            let text = r.text(v, p, 40)?;
            let taken = parse_taken_at(&text);
            if taken.is_none() {
                r.wrong(p, "not a date and time; write 2026-03-01T10:15:30+01:00");
            }
            taken
        });
        let device = self.member(root, "device", Self::device);
        let view =
            self.member(root, "view", |r, v, p| r.term(v, p, "overview, close-up, with-scale, dermoscopic or consent-form"));
        let sensitive = self.member(root, "sensitive", |r, v, p| {
            v.as_bool().or_else(|| {
                r.wrong(p, "must be true or false");
                None
            })
        });
        let consent = self.member(root, "consent", Self::consent);
        Some(Claim {
            patient,
            visit,
            order,
            barcode,
            birth_date,
            department: department?,
            body_site,
            laterality,
            description,
            taken_at,
            device,
            view,
            sensitive: sensitive.unwrap_or(false),
            consent,
        })
    }

    /// Who or what the claim names: at least one of the four.
    fn named(&mut self, root: &Map<String, Value>) -> (Option<PatientKey>, Option<Phi>, Option<OrderKey>, Option<Phi>) {
        let patient = self.member(root, "patient", Self::patient);
        let visit = self.member(root, "visit", |r, v, p| {
            let o = r.object(v, p, &["id"])?;
            r.required_id(o, p, "id")
        });
        let order = self.member(root, "order", Self::order);
        let barcode = self.member(root, "barcode", |r, v, p| r.text(v, p, ID_MAX).map(Phi::from));
        let names_one = ["patient", "visit", "order", "barcode"].iter().any(|m| root.get(*m).is_some_and(|v| !v.is_null()));
        if !names_one {
            self.wrong("", "names nobody; give one of patient, visit, order or barcode");
        }
        (patient, visit, order, barcode)
    }

    fn patient(&mut self, value: &Value, at: &str) -> Option<PatientKey> {
        let o = self.object(value, at, &["id", "issuer"])?;
        let issuer = self.optional_text(o, at, "issuer", ID_MAX);
        Some(PatientKey { id: self.required_id(o, at, "id")?, issuer: issuer.filter(|i| !i.is_empty()) })
    }

    fn order(&mut self, value: &Value, at: &str) -> Option<OrderKey> {
        let o = self.object(value, at, &["accession", "placer", "filler", "study_instance_uid"])?;
        if o.len() != 1 {
            self.wrong(at, "name the order by exactly one of accession, placer, filler, study_instance_uid");
            return None;
        }
        let make: fn(Phi) -> OrderKey = if o.contains_key("accession") {
            OrderKey::Accession
        } else if o.contains_key("placer") {
            OrderKey::Placer
        } else if o.contains_key("filler") {
            OrderKey::Filler
        } else {
            OrderKey::StudyInstanceUid
        };
        let member = o.keys().next().cloned().unwrap_or_default();
        self.required_id(o, at, &member).map(make)
    }

    fn body_site(&mut self, value: &Value, at: &str) -> Option<BodySite> {
        let o = self.object(value, at, &["code", "scheme", "meaning"])?;
        let code = self.required_text(o, at, "code", ID_MAX);
        let scheme = self.required_text(o, at, "scheme", 16);
        let meaning = self.optional_text(o, at, "meaning", ID_MAX).unwrap_or_default();
        let code = code?;
        let meaning = if meaning.is_empty() { code.clone() } else { meaning };
        Some(BodySite { code, scheme: scheme?, meaning })
    }

    fn device(&mut self, value: &Value, at: &str) -> Option<Device> {
        let o = self.object(value, at, &["manufacturer", "model", "software"])?;
        Some(Device {
            manufacturer: self.optional_text(o, at, "manufacturer", 64),
            model: self.optional_text(o, at, "model", 64),
            software: self.optional_text(o, at, "software", 64),
        })
    }

    fn consent(&mut self, value: &Value, at: &str) -> Option<Consent> {
        let o = self.object(value, at, &["level", "given_by", "form", "witness"])?;
        let given_by = self.optional_text(o, at, "given_by", ID_MAX).map(Phi::from);
        let form = self.optional_text(o, at, "form", ID_MAX).map(Phi::from);
        let witness = self.optional_text(o, at, "witness", ID_MAX).map(Phi::from);
        let pointer = format!("{at}/level");
        let Some(level) = o.get("level") else {
            self.wrong(&pointer, "missing; record, teaching or publication");
            return None;
        };
        let level = self.term(level, &pointer, "record, teaching or publication")?;
        Some(Consent { level, given_by, form, witness })
    }

    fn member<T>(
        &mut self,
        object: &Map<String, Value>,
        name: &str,
        read: impl FnOnce(&mut Self, &Value, &str) -> Option<T>,
    ) -> Option<T> {
        let value = object.get(name).filter(|v| !v.is_null())?;
        read(self, value, &format!("/{name}"))
    }

    fn object<'v>(&mut self, value: &'v Value, at: &str, members: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.wrong(at, "must be a JSON object");
            return None;
        };
        // The name of an unknown member is the sender's text and could be anything: only its
        // place among the known ones is told.
        if object.keys().any(|k| !members.contains(&k.as_str())) {
            self.wrong(at, format!("has a member that is not known here; known are {}", members.join(", ")));
        }
        Some(object)
    }

    fn text(&mut self, value: &Value, at: &str, max: usize) -> Option<String> {
        let Some(text) = value.as_str() else {
            self.wrong(at, "must be a text");
            return None;
        };
        let text = text.trim();
        if text.chars().count() > max {
            self.wrong(at, format!("longer than {max} characters"));
            return None;
        }
        if !is_plain(text) {
            self.wrong(at, "has a control character, a direction override or a backslash");
            return None;
        }
        Some(text.to_owned())
    }

    fn optional_text(&mut self, o: &Map<String, Value>, at: &str, name: &str, max: usize) -> Option<String> {
        let value = o.get(name).filter(|v| !v.is_null())?;
        self.text(value, &format!("{at}/{name}"), max)
    }

    fn required_text(&mut self, o: &Map<String, Value>, at: &str, name: &str, max: usize) -> Option<String> {
        let pointer = format!("{at}/{name}");
        let text = match o.get(name) {
            Some(value) => self.text(value, &pointer, max)?,
            None => String::new(),
        };
        if text.is_empty() {
            self.wrong(&pointer, "missing or empty");
            return None;
        }
        Some(text)
    }

    fn required_id(&mut self, o: &Map<String, Value>, at: &str, name: &str) -> Option<Phi> {
        self.required_text(o, at, name, ID_MAX).map(Phi::from)
    }

    fn term<T: for<'de> Deserialize<'de>>(&mut self, value: &Value, at: &str, terms: &str) -> Option<T> {
        let term = T::deserialize(value).ok();
        if term.is_none() {
            self.wrong(at, format!("must be {terms}"));
        }
        term
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_problem_of_a_claim_is_told_at_once_and_no_value_is_repeated() {
        let errors = Claim::from_json(&json!({
            "patient": {"id": "SECRET\u{7}"}, "laterality": "X", "colour": "SECRET", "view": "sideways",
            "birth_date": "01.03.1970", "taken_at": "yesterday", "sensitive": "no"
        }))
        .expect_err("must be refused");
        let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        for want in ["", "/patient/id", "/laterality", "/view", "/birth_date", "/taken_at", "/sensitive", "/department"] {
            assert!(pointers.contains(&want), "{want} not in {pointers:?}");
        }
        assert!(!format!("{errors:?}").contains("SECRET"));
    }

    #[test]
    fn a_claim_that_names_nobody_is_refused() {
        let errors = Claim::from_json(&json!({"department": "derm"})).expect_err("must be refused");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].pointer, "");
    }

    #[test]
    fn the_contract_example_is_read_whole() {
        let claim = Claim::from_json(&json!({
            "patient": {"id": "4711", "issuer": "HOSP"}, "visit": {"id": "V100"}, "order": {"accession": "A123"},
            "birth_date": "1970-03-01", "department": "derm",
            "body_site": {"code": "85562004", "scheme": "SCT", "meaning": "Hand"}, "laterality": "L",
            "description": "Dorsal hand, day 3", "taken_at": "2026-03-01T10:15:30.123+01:00",
            "device": {"manufacturer": "Apple", "model": "iPhone 15", "software": "Capture 1.4"},
            "view": "overview", "sensitive": false,
            "consent": {"level": "record", "given_by": "patient", "form": "verbal", "witness": "A. Khan"}
        }))
        .expect("the contract's own example");
        assert_eq!(claim.patient.map(|p| p.id), Some(Phi::from("4711")));
        assert_eq!(claim.taken_at.and_then(|t| t.offset).map(jiff::tz::Offset::seconds), Some(3600));
        assert_eq!(claim.laterality, Some(Laterality::L));
    }

    #[test]
    fn a_time_is_read_with_and_without_a_zone() {
        for (text, offset) in
            [("2026-03-01T10:15:30", None), ("2026-03-01T10:15:30Z", Some(0)), ("2026-03-01T10:15:30-0330", Some(-12600))]
        {
            assert_eq!(parse_taken_at(text).map(|t| t.offset.map(jiff::tz::Offset::seconds)), Some(offset), "{text}");
        }
        assert_eq!(parse_taken_at("2026-03-01T10:15:30+25:00"), None);
    }
}
