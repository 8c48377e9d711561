//! Value rules (PS3.5 §6.2): what may stand in an attribute, and what becomes of the rest.
//!
//! Identifiers are held where they do not fit, because a cut number is another patient's;
//! descriptions are cut.

use super::DicomError;

/// Long String, characters.
pub(super) const LO_MAX: usize = 64;
/// Short String, characters.
pub(super) const SH_MAX: usize = 16;
/// Short Text, characters.
pub(super) const ST_MAX: usize = 1024;
/// Decimal String, characters.
pub(super) const DS_MAX: usize = 16;
/// A component group of a Person Name, characters.
const PN_GROUP_MAX: usize = 64;
/// Alphabetic, ideographic, phonetic (PS3.5 §6.2.1).
const PN_GROUPS_MAX: usize = 3;
/// Family, given, middle, prefix, suffix.
const PN_COMPONENTS_MAX: usize = 5;

/// Without what no short text VR may hold: a backslash separates values (PS3.5 §6.4) and HL7's
/// `\E\` makes one; control characters and direction overrides change what a reader sees.
pub(super) fn plain(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| match c {
            '\\' => '/',
            c if c.is_control() => ' ',
            c => c,
        })
        .filter(|c| !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'))
        .collect();
    clean.trim().to_owned()
}

/// A description, cut at a character boundary. The limits count characters (PS3.5 §6.2), yet
/// validators and the tables of many archives count bytes: cut to so many bytes it is within both.
pub(super) fn description(text: &str, max: usize) -> String {
    let clean = plain(text);
    if clean.len() <= max {
        return clean;
    }
    let end = (0..=max).rev().find(|at| clean.is_char_boundary(*at)).unwrap_or(0);
    clean.get(..end).unwrap_or_default().trim_end().to_owned()
}

/// Whether a Short String (SH) can hold it.
#[must_use]
pub fn is_short_string(text: &str) -> bool {
    identifier("", text, SH_MAX).is_ok()
}

/// An identifier, whole or not at all.
pub(super) fn identifier(attribute: &'static str, text: &str, characters_max: usize) -> Result<String, DicomError> {
    let clean = plain(text);
    if clean.chars().count() > characters_max {
        return Err(DicomError::IdentifierTooLong { attribute, characters_max });
    }
    Ok(clean)
}

/// A code string (CS), or nothing where the text is none.
pub(super) fn code_string(text: &str) -> Option<String> {
    let text = text.trim();
    let legal = !text.is_empty()
        && text.len() <= 16
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ' || b == b'_');
    legal.then(|| text.to_owned())
}

/// A Person Name that keeps PS3.5 §6.2.1: three groups of five components, 64 characters each group.
pub(super) fn person_name(text: &str) -> String {
    let groups: Vec<String> = text.split('=').take(PN_GROUPS_MAX).map(name_group).collect();
    groups.join("=").trim_end_matches('=').to_owned()
}

fn name_group(text: &str) -> String {
    let mut components: Vec<String> = text.split('^').map(plain).collect();
    if components.len() > PN_COMPONENTS_MAX {
        let rest = components.split_off(PN_COMPONENTS_MAX - 1);
        components.push(rest.join(" ").trim().to_owned());
    }
    // A name is not cut before its limit in characters, whatever their bytes.
    let group: String = components.join("^").chars().take(PN_GROUP_MAX).collect();
    group.trim_end_matches(['^', ' ']).to_owned()
}

/// The display name of a token as a Person Name: `Rivera, Ana` says which part is the family
/// name. Other orders differ from land to land and are not guessed: one component holds it all.
pub(super) fn display_name(text: &str) -> String {
    let text = text.replace(['^', '='], " ");
    match text.split_once(',') {
        Some((family, given)) if !family.trim().is_empty() && !given.trim().is_empty() => {
            person_name(&format!("{}^{}", family.trim(), given.trim()))
        }
        _ => person_name(text.trim_matches([',', ' '])),
    }
}

/// Decimal String: at most 16 characters.
pub(super) fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.len() <= DS_MAX { text.to_owned() } else { format!("{value:.8E}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_groups_and_loses_what_would_split_it() {
        let table = [
            ("Müller^Jörg^Karl^Dr^Jr", "Müller^Jörg^Karl^Dr^Jr"),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
            ("A^B^^^^", "A^B"),
            ("A^B==", "A^B"),
            ("=山田", "=山田"),
            ("A\\B^C\nD", "A/B^C D"),
            ("A^B^C^D^E^F^G", "A^B^C^D^E F G"),
            ("A=B=C=D", "A=B=C"),
        ];
        for (given, then) in table {
            assert_eq!(person_name(given), then, "{given}");
        }
        assert_eq!(person_name(&"ü".repeat(70)).chars().count(), 64);
    }

    #[test]
    fn the_operator_of_a_token_is_named_family_first() {
        let table = [
            ("Rivera, Ana", "Rivera^Ana"),
            ("Ana Rivera", "Ana Rivera"),
            (" van der Berg , Dr. Jan ", "van der Berg^Dr. Jan"),
            ("Rivera,", "Rivera"),
            ("", ""),
            ("A^B=C", "A B C"),
        ];
        for (given, then) in table {
            assert_eq!(display_name(given), then, "{given}");
        }
    }

    #[test]
    fn an_identifier_is_whole_or_not_there_and_a_description_is_cut() {
        assert_eq!(identifier("Accession Number", "1234567890123456", SH_MAX).as_deref(), Ok("1234567890123456"));
        assert_eq!(
            identifier("Accession Number", "12345678901234567", SH_MAX),
            Err(DicomError::IdentifierTooLong { attribute: "Accession Number", characters_max: 16 })
        );
        assert!(is_short_string("1234567890123456") && !is_short_string("12345678901234567"));
        for (max, then) in [(8, "Prüfung"), (3, "Pr"), (4, "Prü"), (64, "Prüfung der äußeren Haut")] {
            assert_eq!(description("Prüfung der äußeren Haut", max), then);
        }
        assert_eq!(plain("4\\7\u{202E}11\0"), "4/711");
    }

    #[test]
    fn a_ratio_fits_a_decimal_string() {
        for (value, then) in [(10.25, "10.25"), (1.0, "1"), (15.123_456, "15.123"), (1e300, "1.00000000E300")] {
            assert_eq!(decimal(value), then);
            assert!(decimal(value).len() <= 16);
        }
    }
}
