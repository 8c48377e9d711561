//! What a department asks of a claim, and what it says where the claim does not.

use crate::capture::Claim;
use crate::capture::claim::{BodySite, ClaimError, View};
use crate::dicom::codes;

#[derive(Clone, Debug, Default)]
pub struct DepartmentRule {
    pub id: String,
    pub body_site_required: bool,
    /// For a claim without one.
    pub body_site: Option<BodySite>,
    pub view: Option<View>,
}

/// A claim that is ready to be sealed: filled up from its department, its side judged, and
/// sensitive where its site is.
///
/// # Errors
/// What is wrong with it, each with what to do.
pub fn complete(mut claim: Claim, rule: &DepartmentRule) -> Result<Claim, Vec<ClaimError>> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, detail: &str| {
        errors.push(ClaimError { pointer: pointer.to_owned(), detail: detail.to_owned() });
    };
    if rule.body_site_required && claim.body_site.is_none() {
        wrong("/body_site", "this department requires a body site");
    }
    claim.body_site = claim.body_site.or_else(|| rule.body_site.clone());
    claim.view = claim.view.or(rule.view);
    if let Some(site) = &claim.body_site {
        if let Some(fault) = codes::side_fault(site, claim.laterality) {
            wrong("/laterality", fault);
        }
        claim.sensitive |= codes::find_site(site).is_some_and(|known| known.is_intimate);
    }
    if errors.is_empty() { Ok(claim) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule() -> DepartmentRule {
        let body_site = codes::site_named("Skin").map(codes::Entry::to_site);
        DepartmentRule { id: "derm".to_owned(), body_site_required: false, body_site, view: Some(View::CloseUp) }
    }

    fn claim(mut members: Value) -> Claim {
        members["barcode"] = json!("1");
        members["department"] = json!("derm");
        Claim::from_json(&members).unwrap()
    }

    #[test]
    fn a_department_speaks_only_where_the_claim_does_not() {
        let filled = complete(claim(json!({})), &rule()).unwrap();
        assert_eq!((filled.body_site.map(|s| s.meaning), filled.view), (Some("Skin".to_owned()), Some(View::CloseUp)));
        let said = json!({"body_site": {"code": "69536005", "scheme": "SCT", "meaning": "Kopf"}, "view": "overview"});
        let kept = complete(claim(said), &rule()).unwrap();
        assert_eq!((kept.body_site.map(|s| s.meaning), kept.view), (Some("Kopf".to_owned()), Some(View::Overview)));
    }

    #[test]
    fn an_intimate_site_makes_a_capture_sensitive_and_none_makes_it_less_so() {
        let of = |code: &str, sensitive: bool| {
            let site = json!({"body_site": {"code": code, "scheme": "SCT"}, "laterality": "L", "sensitive": sensitive});
            complete(claim(site), &rule()).unwrap().sensitive
        };
        assert_eq!([of("76752008", false), of("85562004", false), of("85562004", true)], [true, false, true]);
    }

    #[test]
    fn all_that_is_wrong_with_a_site_is_said_with_what_to_do() {
        let strict = DepartmentRule { body_site_required: true, body_site: None, ..rule() };
        let faults = |claim| complete(claim, &strict).unwrap_err().into_iter().map(|e| e.pointer).collect::<Vec<_>>();
        assert_eq!(faults(claim(json!({}))), ["/body_site"]);
        assert_eq!(faults(claim(json!({"body_site": {"code": "85562004", "scheme": "SCT"}}))), ["/laterality"]);
        let abdomen = json!({"body_site": {"code": "818981001", "scheme": "SCT"}, "laterality": "L"});
        assert_eq!(faults(claim(abdomen)), ["/laterality"]);
    }
}
