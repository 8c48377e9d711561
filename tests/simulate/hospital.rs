//! A hospital that tells of its patients over HL7, one message after the other, each until it is
//! acknowledged.
//!
//! Patients are twins: an even one and the next have one birth date, and only the second is ever
//! merged into the first. So a claim that gives a birth date fits both or neither.

use std::collections::BTreeSet;

use super::chance::Chance;

pub const PATIENTS: usize = 6;

/// Who stands in for patient `n` after a merge.
pub fn survivor(n: usize) -> usize {
    n - n % 2
}

pub fn id(n: usize) -> String {
    format!("P{n}")
}

/// As DICOM writes it.
pub fn birth_date(n: usize) -> String {
    format!("19{}0301", 70 + n / 2)
}

/// As a claim writes it.
pub fn claimed_birth_date(n: usize) -> String {
    let text = birth_date(n);
    format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..8])
}

#[derive(Default)]
pub struct Hospital {
    admitted: BTreeSet<usize>,
    merged: BTreeSet<usize>,
    versions: u32,
    minutes: u32,
    /// Said, and not acknowledged.
    unheard: Option<String>,
    /// Acknowledged ones, to be said again by mistake.
    old: Vec<String>,
}

impl Hospital {
    /// The next thing it has to say.
    pub fn say(&mut self, chance: &Chance) -> String {
        if let Some(text) = &self.unheard {
            return text.clone();
        }
        if !self.old.is_empty() && chance.one_in(8) {
            return self.old[chance.below(self.old.len())].clone();
        }
        let patient = chance.below(PATIENTS);
        let text = match chance.below(4) {
            _ if self.merged.contains(&patient) => self.admit(survivor(patient)),
            0 if patient % 2 == 1 => self.merge(patient),
            _ => self.admit(patient),
        };
        self.unheard = Some(text.clone());
        text
    }

    /// The next patient whom it has not announced yet.
    pub fn announce(&mut self) -> Option<String> {
        if let Some(text) = &self.unheard {
            return Some(text.clone());
        }
        let missing = (0..PATIENTS).find(|n| !self.admitted.contains(n) && !self.merged.contains(n))?;
        let text = self.admit(missing);
        self.unheard = Some(text.clone());
        Some(text)
    }

    pub fn acknowledged(&mut self) {
        self.old.extend(self.unheard.take());
    }

    /// A new patient, or a new name of a known one.
    fn admit(&mut self, patient: usize) -> String {
        let kind = if self.admitted.insert(patient) { "A04" } else { "A08" };
        let head = self.head(kind, "ADT_A01");
        format!("{head}PID|1||{}\rPV1|1|O|DERM||||||||||||||||V{patient}^^^VN\r", self.person(patient))
    }

    fn merge(&mut self, prior: usize) -> String {
        self.merged.insert(prior);
        self.admitted.insert(survivor(prior));
        let head = self.head("A40", "ADT_A39");
        format!("{head}PID|1||{}\rMRG|{}^^^HOSP^MR\r", self.person(survivor(prior)), id(prior))
    }

    fn head(&mut self, kind: &str, structure: &str) -> String {
        self.minutes += 1;
        let time = format!("20260301{:02}{:02}00", self.minutes / 60, self.minutes % 60);
        let control = format!("M{}", self.minutes);
        format!(
            "MSH|^~\\&|HIS|HOSP|GW|IMG|{time}||ADT^{kind}^{structure}|{control}|P|2.5.1||||||UNICODE UTF-8\r\
             EVN|{kind}|{time}\r"
        )
    }

    fn person(&mut self, patient: usize) -> String {
        self.versions += 1;
        format!("{}^^^HOSP^MR||PAT{patient}^V{}||{}|F", id(patient), self.versions, birth_date(patient))
    }
}

/// Whom a name belongs to.
pub fn named(name: &str) -> Option<usize> {
    name.strip_prefix("PAT")?.split('^').next()?.parse().ok()
}
