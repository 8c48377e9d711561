//! The code tables beside the standard's, where a copy of them is at hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use shutterbridge::dicom::codes::{self, Entry, Sides};

/// Rows of a file of the standard's tables; `None` where there is no copy.
fn standard(name: &str) -> Option<Vec<Vec<String>>> {
    let shared = std::env::var("SHUTTERBRIDGE_SHARED").unwrap_or_else(|_| format!("{}/../shared", env!("CARGO_MANIFEST_DIR")));
    let Ok(text) = std::fs::read_to_string(format!("{shared}/standards/iod/{name}")) else {
        eprintln!("skipped: there is no copy of the standard's {name}");
        return None;
    };
    Some(text.lines().skip(1).map(columns).collect())
}

/// RFC 4180, as far as these files go.
fn columns(line: &str) -> Vec<String> {
    let (mut out, mut is_quoted) = (vec![String::new()], false);
    for c in line.trim_end().chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => out.push(String::new()),
            c => out.last_mut().unwrap().push(c),
        }
    }
    out
}

#[test]
fn every_site_is_one_of_the_standards_under_its_own_name() {
    let files = ["cid_4_anatomic_region.csv", "cid_4029_dermatology_sites.csv", "cid_4031_common_anatomic_region.csv"];
    let mut known = BTreeSet::new();
    for file in files {
        let Some(rows) = standard(file) else { return };
        known.extend(rows.into_iter().map(|row| (row[0].clone(), row[1].clone(), row[2].clone())));
    }
    let Some(annex) = standard("anatomic_regions.csv") else { return };
    known.extend(annex.into_iter().map(|row| (row[1].clone(), row[2].clone(), row[3].clone())));
    for site in codes::body_sites() {
        let row = (site.scheme.to_owned(), site.code.to_owned(), site.meaning.to_owned());
        assert!(known.contains(&row), "{row:?}");
    }
}

#[test]
fn sides_and_terms_are_those_of_annex_l_wherever_it_lists_a_code() {
    let Some(annex) = standard("anatomic_regions.csv") else { return };
    let mut terms = BTreeMap::<_, BTreeSet<_>>::new();
    for row in &annex {
        terms.entry(row[2].as_str()).or_default().insert((row[0].as_str(), row[4] == "True"));
    }
    for (code, listed) in terms {
        let site = codes::find_code(codes::body_sites(), code).unwrap_or_else(|| panic!("{code} is left out"));
        let is_paired = match site.sides {
            Some(Sides::Paired) => true,
            Some(Sides::Unpaired) => false,
            other => panic!("{code}: {other:?}"),
        };
        assert!(listed.contains(&(site.term, is_paired)), "{code} {site:?}");
    }
}

#[test]
fn the_intimate_ones_of_the_dermatology_sites_are_marked() {
    let Some(sites) = standard("cid_4029_dermatology_sites.csv") else { return };
    let of = |row: &Vec<String>| codes::find_code(codes::body_sites(), &row[1]).is_some_and(|site| site.is_intimate);
    assert_eq!(sites.iter().filter(|row| of(row)).count(), 28 - 1, "one of the 28 is left out, as the table says");
}

#[test]
fn departments_and_sides_have_codes_of_the_standard() {
    let Some(sides) = standard("cid_244_laterality.csv") else { return };
    let listed =
        |entry: &Entry| sides.iter().any(|row| row[1] == entry.code && row[2] == entry.meaning && row[0] == entry.scheme);
    assert!(codes::sides().iter().filter(|side| !side.code.is_empty()).all(listed));
}
