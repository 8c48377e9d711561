//! "Did you mean …?"

/// The candidate that a slip of the fingers would turn into `word`; `None` where nothing is near.
#[must_use]
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A third of the letters may be wrong; beyond that a suggestion confuses more than it helps.
    let far = (word.chars().count() / 3).clamp(1, 4);
    let distances = candidates.into_iter().map(|c| (distance(word, c), c));
    distances.filter(|(d, _)| *d <= far).min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&above, j) + usize::from(x != y);
            let mut best = replaced.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_understood() {
        let keys = ["listen", "tls_cert", "tls_key", "ops_listen"];
        for (typed, meant) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("tls_certt", Some("tls_cert")),
            ("opslisten", Some("ops_listen")),
            ("colour", None),
        ] {
            assert_eq!(closest(typed, keys), meant, "{typed}");
        }
    }
}
