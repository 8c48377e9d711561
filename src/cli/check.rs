//! `check`: what was found, as a table or as JSON.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::{say, status};
use crate::archive::finding::Grade;

/// One thing that was looked at. Carries no patient data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// A key of the configuration, or what else was looked at.
    pub check: String,
    pub grade: Grade,
    pub says: String,
    /// What to do; empty where nothing is to be done.
    pub fix: String,
    /// The key to change; empty where none helps.
    pub key: String,
    /// Where it stands, `file:line`; empty where it is a default.
    pub at: String,
}

impl Row {
    #[must_use]
    pub fn new(check: &str, grade: Grade, says: impl Into<String>, fix: impl Into<String>) -> Self {
        let (says, fix) = (says.into(), fix.into());
        Self { check: check.to_owned(), grade, says, fix, key: String::new(), at: String::new() }
    }

    #[must_use]
    pub fn pass(check: &str, says: impl Into<String>) -> Self {
        Self::new(check, Grade::Pass, says, "")
    }

    /// The line of the configuration that the fix speaks of.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>, at: impl Into<String>) -> Self {
        (self.key, self.at) = (key.into(), at.into());
        self
    }
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Pass => "PASS",
        Grade::Warn => "WARN",
        Grade::Fail => "FAIL",
    }
}

/// Prints the rows; fails where one of them does.
pub fn tell(rows: &[Row], as_json: bool, out: &mut dyn Write) -> u8 {
    let printed = say(out, &if as_json { as_document(rows) } else { as_table(rows) });
    let has_failed = rows.iter().any(|row| row.grade == Grade::Fail);
    if has_failed { status::FAILED } else { printed }
}

fn as_document(rows: &[Row]) -> String {
    let some = |text: &str| if text.is_empty() { None } else { Some(text.to_owned()) };
    let row = |row: &Row| {
        json!({
            "check": row.check, "result": word(row.grade), "says": row.says,
            "fix": some(&row.fix), "key": some(&row.key), "at": some(&row.at),
        })
    };
    let ok = rows.iter().all(|row| row.grade != Grade::Fail);
    format!("{}\n", json!({"ok": ok, "rows": rows.iter().map(row).collect::<Vec<_>>()}))
}

fn as_table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    // Writing to a text has no way to fail.
    for row in rows {
        let _ = writeln!(text, "{}  {:width$}  {}", word(row.grade), row.check, row.says);
        if !row.fix.is_empty() {
            let place = match (row.key.as_str(), row.at.as_str()) {
                ("", _) => String::new(),
                (key, "") => format!("{key}: "),
                (key, at) => format!("{key} ({at}): "),
            };
            let _ = writeln!(text, "      {:width$}  → {place}{}", "", row.fix);
        }
    }
    let count = |grade| rows.iter().filter(|row| row.grade == grade).count();
    let (pass, warn, fail) = (count(Grade::Pass), count(Grade::Warn), count(Grade::Fail));
    let _ = writeln!(text, "{pass} PASS, {warn} WARN, {fail} FAIL");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::pass("data.dir", "can be written"),
            Row::new("archive.pacs", Grade::Fail, "nobody listens at pacs:104", "correct the port")
                .at("archive.address", "gw.toml:3"),
        ]
    }

    #[test]
    fn a_failure_names_its_fix_and_the_line_to_change() {
        let mut out = Vec::new();
        assert_eq!(tell(&rows(), false, &mut out), status::FAILED);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PASS  data.dir      can be written\n\
             FAIL  archive.pacs  nobody listens at pacs:104\n                    \
             → archive.address (gw.toml:3): correct the port\n\
             1 PASS, 0 WARN, 1 FAIL\n"
        );
    }

    #[test]
    fn the_json_says_the_same() {
        let mut out = Vec::new();
        assert_eq!(tell(&rows()[..1], true, &mut out), status::DONE);
        let said: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&said["ok"], &said["rows"][0]["result"], &said["rows"][0]["fix"]),
            (&json!(true), &json!("PASS"), &json!(null))
        );
        let mut out = Vec::new();
        assert_eq!(tell(&rows(), true, &mut out), status::FAILED);
        let said: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&said["ok"], &said["rows"][1]["at"]), (&json!(false), &json!("gw.toml:3")));
    }
}
