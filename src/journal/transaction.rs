//! Questions for storage commitment that are on their way, or answered not long ago.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Journal, JournalError};
use crate::capture::{CaptureId, ItemId, SopRef, Uid};
use crate::store::{Batch, Table};

/// By Transaction UID. It is random and names nobody, so it may stand in clear.
pub(super) const TRANSACTIONS: Table<Uid, Transaction> = Table::new(0x17);

/// Rows looked at in one go when old ones are dropped.
const PAGE_ROWS: usize = 256;

/// One question: when, and about what. An answer counts for these instances and for no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    pub asked_at: Timestamp,
    /// Whom; empty in rows from when there was only one.
    #[serde(default)]
    pub archive: String,
    pub items: Vec<Covered>,
}

/// One item of a question, under the name that the archive has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    pub capture: CaptureId,
    pub index: u16,
    pub sop: SopRef,
    /// Lines that its history had by then: what was written behind them came later, whatever the
    /// clock said.
    #[serde(default)]
    pub history_lines: u64,
}

impl Covered {
    #[must_use]
    pub fn item(&self) -> ItemId {
        self.capture.item(self.index)
    }
}

impl Journal {
    /// # Errors
    /// As for [`Journal::get`].
    pub fn transaction(&self, transaction: &Uid) -> Result<Option<Transaction>, JournalError> {
        Ok(TRANSACTIONS.get(&*self.store, transaction)?)
    }

    /// Drops every question that was asked before `before`; how many.
    ///
    /// # Errors
    /// As for [`Journal::get`], and errors of a commit.
    pub fn drop_transactions(&self, before: Timestamp) -> Result<usize, JournalError> {
        let (mut dropped, mut after) = (0, None);
        loop {
            let page = TRANSACTIONS.scan(&*self.store, after.as_ref(), PAGE_ROWS)?;
            let mut batch = Batch::new();
            for (key, _) in page.iter().filter(|(_, row)| row.asked_at < before) {
                TRANSACTIONS.delete(&mut batch, key);
                dropped += 1;
            }
            if !batch.is_empty() {
                self.store.commit(batch)?;
            }
            if page.len() < PAGE_ROWS {
                return Ok(dropped);
            }
            after = page.into_iter().last().map(|(key, _)| key);
        }
    }
}
