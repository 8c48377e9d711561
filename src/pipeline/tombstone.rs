//! What is kept of a capture whose bytes are erased, for whoever sends its Idempotency-Key again.
//!
//! The journal has it all; but the journal may be lost, and is then made anew from a spool that has
//! the bytes no more. So a line is sealed into the spool before the bytes go: the receipt, and what
//! recognises the request, but nothing that names the patient.

use jiff::{SignedDuration, Timestamp};

use crate::capture::{Claim, Record};
use crate::journal::{Commit, Journal};
use crate::spool::{Day, Spool, SpoolError};

/// The same key gives the same answer for so many days.
const KEPT_DAYS: i64 = 7;
const DAY_SECONDS: i64 = 86_400;
/// Rows in one flushed batch.
const BATCH: usize = 500;

/// To be called before the bytes of `record` are erased.
///
/// # Errors
/// Text for the operator; the bytes should stay then.
pub fn leave(spool: &Spool, record: &Record, now: Timestamp) -> Result<(), String> {
    let age = now.duration_since(record.acceptance.accepted_at);
    if record.acceptance.idempotency.is_none() || age > SignedDuration::from_hours(24 * KEPT_DAYS) {
        return Ok(());
    }
    // By the day of acceptance: the term runs from there.
    let day = day_of(record.acceptance.accepted_at);
    let bytes = serde_json::to_vec(&anonymous(record)).map_err(|_| "a record has no JSON form".to_owned())?;
    spool.bury(day, &bytes).map_err(|e| e.to_string())
}

/// Drops those whose term is over.
///
/// # Errors
/// Text for the operator.
pub fn forget_old(spool: &Spool, now: Timestamp) -> Result<(), String> {
    // A day more, since days begin and end.
    spool.forget_buried(day_of(now) - KEPT_DAYS - 1).map(|_| ()).map_err(|e| e.to_string())
}

/// Inserts a row for each that the journal does not know; how many were inserted, and how many
/// could not be read.
///
/// # Errors
/// Text for the operator.
pub fn bring_back(spool: &Spool, journal: &Journal) -> Result<(usize, usize), String> {
    let (mut inserted, mut foreign) = (0, 0);
    let mut rows: Vec<Record> = Vec::new();
    let write = |rows: &mut Vec<Record>| {
        let commit = Commit { insert: std::mem::take(rows), ..Commit::default() };
        journal.commit(commit).map_err(|e| Broken(e.to_string()))
    };
    let graves = spool
        .buried(|bytes| {
            let record = serde_json::from_slice::<Record>(bytes).ok().filter(|record| record.check().is_ok());
            let Some(record) = record else {
                foreign += 1;
                return Ok(());
            };
            let is_known = journal.contains(record.id()).map_err(|e| Broken(e.to_string()))?;
            if !is_known && !rows.iter().any(|row| row.id() == record.id()) {
                inserted += 1;
                rows.push(record);
            }
            if rows.len() >= BATCH { write(&mut rows) } else { Ok(()) }
        })
        .map_err(|Broken(why)| why)?;
    write(&mut rows).map_err(|Broken(why)| why)?;
    Ok((inserted, graves.damaged + foreign))
}

struct Broken(String);

impl From<SpoolError> for Broken {
    fn from(error: SpoolError) -> Self {
        Self(error.to_string())
    }
}

fn day_of(at: Timestamp) -> Day {
    at.as_second().div_euclid(DAY_SECONDS)
}

/// Everything that names or describes the patient left out, and what persons wrote.
fn anonymous(record: &Record) -> Record {
    let mut left = record.clone();
    left.acceptance.claim = Claim {
        patient: None,
        visit: None,
        order: None,
        barcode: None,
        birth_date: None,
        department: record.acceptance.claim.department.clone(),
        body_site: None,
        laterality: None,
        description: None,
        taken_at: None,
        device: None,
        view: None,
        sensitive: record.acceptance.claim.sensitive,
        consent: None,
    };
    left.notes.clear();
    left.also_waits_for.clear();
    left.patient_key = None;
    for event in &mut left.history {
        event.why = None;
        event.by = None;
    }
    for item in &mut left.items {
        item.failure = None;
        item.schedule.due = None;
        item.legs.iter_mut().for_each(|leg| (leg.failure, leg.refused) = (None, None));
        item.facts.facts.taken_at = None;
    }
    left
}
