//! The hospital's facts as its HL7 feed told them, durable in a store.
//!
//! What a row is:
//!
//! | first byte | rest of the key | value |
//! |---|---|---|
//! | `P` | person | a patient, or a tombstone that names the survivor |
//! | `i` | hash of an identifier's value | whose it is, per authority |
//! | `v` | hash of a visit number | the visits that have it |
//! | `O` | person, order | an order |
//! | `a` `p` `f` `u` | hash of an accession, placer, filler number, study UID | the orders that have it |
//!
//! Few rows per message: each costs the engine some 40 µs. So a visit stands in the row of its
//! number, and the messages that were seen stand with their patient.
//!
//! Keys stand in clear on the disk, so they hold keyed hashes only; values are sealed by the store.
//! A merge moves no row: the survivor lists whom it absorbed.

mod apply;
mod find;
mod ledger;
mod row;

use std::sync::Arc;

use super::{Answer, Asked, Feed, Lookup, Touched, Unavailable};
use crate::capture::{Identifier, Phi};
use crate::hl7::rules::Authority;
use crate::hl7::update::{Act, Change, Update};
use crate::store::{Store, StoreError};

use apply::Applying;
use ledger::Ledger;
use row::{Keys, Seen};

/// What the index must know of the place.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The site's own: asked without an issuer, its identifier wins where several have the value.
    pub assigning_authority: Authority,
}

/// The index. Any number of threads may write and read; writers share flushes.
pub struct Local {
    ledger: Ledger,
    keys: Keys,
    options: Options,
}

impl Local {
    /// `key`: for the hashes in the keys of the store; derived from the data key, the same for life.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, key: [u8; 32], options: Options) -> Self {
        Self { ledger: Ledger::new(store), keys: Keys::new(key), options }
    }

    /// Whether what is written is on the disk; where it was not once, mends that.
    ///
    /// # Errors
    /// [`StoreError`]; see [`Store::health`].
    pub fn health(&self) -> Result<(), StoreError> {
        self.ledger.health()
    }
}

impl Feed for Local {
    fn apply(&self, update: &Update) -> Result<Touched, Unavailable> {
        let message = Seen(self.keys.message(update), update.received_at.as_millisecond());
        self.ledger.write(|txn| {
            let mut applying =
                Applying { txn, keys: &self.keys, event: update.event, source: &update.source, message: Some(message) };
            for fact in &update.facts {
                if !applying.fact(fact)? {
                    break; // seen before
                }
            }
            Ok(())
        })?;
        Ok(touched(update))
    }
}

impl Lookup for Local {
    fn find(&self, asked: &Asked) -> Result<Answer, Unavailable> {
        self.ledger.read(|txn| find::find(txn, &self.keys, &self.options, asked))
    }
}

/// Everything the update names.
fn touched(update: &Update) -> Touched {
    let mut names: Vec<Phi> = Vec::new();
    let mut add = |id: &Phi| {
        if !id.is_empty() && !names.contains(id) {
            names.push(id.clone());
        }
    };
    for fact in &update.facts {
        fact.patient.ids.iter().for_each(|id| add(&id.identifier.id));
        fact.patient.visit.iter().for_each(|visit| add(&visit.number.id));
        for order in &fact.patient.orders {
            for key in [&order.placer, &order.filler, &order.accession] {
                if let Change::Set(key) = key {
                    add(&key.id);
                }
            }
            if let Change::Set(uid) = &order.study_instance_uid {
                add(&Phi::from(uid.as_str()));
            }
        }
        match &fact.act {
            Act::Record => {}
            Act::Merge { prior, .. } | Act::TakeIdentifiers(prior) => prior.iter().for_each(|id| add(&id.id)),
            Act::TakeVisit { from, visit } => from.iter().chain([visit]).for_each(|id| add(&id.id)),
            Act::RenumberVisit { prior } => add(&prior.id),
        }
    }
    Touched(names)
}

/// Whether two identifiers are of one authority: their universal ids decide where both have one,
/// the names otherwise (a site's local names for one authority differ, and one name is used for
/// two authorities).
fn same_authority(a: &Identifier, b: &Identifier) -> bool {
    if a.issuer_universal_id.is_empty() || b.issuer_universal_id.is_empty() {
        let unnamed = a.issuer.is_empty() && b.issuer.is_empty();
        return a.issuer == b.issuer && (!unnamed || (a.issuer_universal_id.is_empty() && b.issuer_universal_id.is_empty()));
    }
    a.issuer_universal_id == b.issuer_universal_id
}

/// True where the identifier names no authority at all.
fn is_unowned(id: &Identifier) -> bool {
    id.issuer.is_empty() && id.issuer_universal_id.is_empty()
}

fn unavailable(error: &StoreError) -> Unavailable {
    Unavailable(error.to_string())
}
