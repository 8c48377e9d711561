//! What the rows answer.

use std::collections::BTreeMap;

use super::super::{Answer, Asked, Unavailable};
use super::Options;
use super::apply::{homes, person, survivor, visits_with};
use super::ledger::Transaction;
use super::row::{Hash, Index, Keys, OrderRow, Owned, Owners, PersonRow, RowRef, Told, VisitRow, order_key, orders_key};
use crate::capture::claim::OrderKey;
use crate::capture::order::{Order, OrderStatus};
use crate::capture::person::VisitStatus;
use crate::capture::{Identifier, Patient, Phi, Visit};

/// Most patients told where several match: enough for a person to see that it is not one.
const MULTIPLE_MAX: usize = 10;

/// What was found, per person.
#[derive(Default)]
struct Hits {
    persons: BTreeMap<Hash, Hit>,
    /// More have the value than are listed.
    crowded: bool,
}

/// The rows found. None: he was found himself, and what is active is told.
#[derive(Default)]
struct Hit {
    visits: Vec<VisitRow>,
    orders: Vec<RowRef>,
}

pub(super) fn find(txn: &Transaction<'_>, keys: &Keys, options: &Options, asked: &Asked) -> Result<Answer, Unavailable> {
    let mut hits = Hits::default();
    match asked {
        Asked::Patient { id, issuer } => patients(txn, keys, options, id, issuer.as_deref(), &mut hits)?,
        Asked::Visit { id } => visits(txn, keys, id, &mut hits)?,
        Asked::Order(key) => {
            let (index, value) = match key {
                OrderKey::Accession(value) => (Index::Accession, value),
                OrderKey::Placer(value) => (Index::Placer, value),
                OrderKey::Filler(value) => (Index::Filler, value),
                OrderKey::StudyInstanceUid(value) => (Index::StudyUid, value),
            };
            orders(txn, keys, index, value, &mut hits)?;
        }
        Asked::Barcode(code) => {
            patients(txn, keys, options, code, None, &mut hits)?;
            visits(txn, keys, code, &mut hits)?;
            orders(txn, keys, Index::Accession, code, &mut hits)?;
        }
    }
    answer(txn, keys, hits)
}

fn answer(txn: &Transaction<'_>, keys: &Keys, hits: Hits) -> Result<Answer, Unavailable> {
    let is_multiple = hits.crowded || hits.persons.len() > 1;
    let mut patients = Vec::new();
    for (home, hit) in hits.persons.into_iter().take(MULTIPLE_MAX) {
        patients.push(patient(txn, keys, home, hit)?);
    }
    if is_multiple {
        return Ok(Answer::Multiple(patients));
    }
    Ok(patients.pop().map_or(Answer::None, |patient| Answer::Found(Box::new(patient))))
}

/// Who has that identifier: of the issuer asked for, else of any; of several, the site's own.
fn patients(
    txn: &Transaction<'_>,
    keys: &Keys,
    options: &Options,
    id: &Phi,
    issuer: Option<&str>,
    hits: &mut Hits,
) -> Result<(), Unavailable> {
    let owners: Owners<Owned> = txn.get(&keys.index(Index::Identifier, id.expose()))?.unwrap_or_default();
    let is_of = |owned: &&Owned, issuer: &str| owned.id.issuer == issuer || owned.id.issuer_universal_id == issuer;
    let mut found: Vec<&Owned> = match issuer {
        Some(issuer) => owners.list.iter().filter(|owned| is_of(owned, issuer)).collect(),
        None => owners.list.iter().collect(),
    };
    let mut persons = survivors(txn, &found)?;
    if issuer.is_none() && persons.len() > 1 {
        let site = &options.assigning_authority;
        found.retain(|owned| {
            let by_oid = !site.universal_id.is_empty() && owned.id.issuer_universal_id == site.universal_id;
            by_oid || (!site.namespace.is_empty() && owned.id.issuer == site.namespace)
        });
        let own = survivors(txn, &found)?;
        if own.len() == 1 {
            persons = own;
        }
    }
    hits.crowded |= owners.crowded;
    for person in persons {
        hits.persons.entry(person).or_default();
    }
    Ok(())
}

fn survivors(txn: &Transaction<'_>, owned: &[&Owned]) -> Result<Vec<Hash>, Unavailable> {
    let mut persons = Vec::new();
    for owned in owned {
        let person = survivor(txn, owned.person)?;
        if !persons.contains(&person) {
            persons.push(person);
        }
    }
    Ok(persons)
}

/// Who has a visit with that number.
fn visits(txn: &Transaction<'_>, keys: &Keys, number: &Phi, hits: &mut Hits) -> Result<(), Unavailable> {
    let found = visits_with(txn, keys, number)?;
    hits.crowded |= found.crowded;
    for visit in found.list {
        let hit = hits.persons.entry(survivor(txn, visit.home)?).or_default();
        if !hit.visits.contains(&visit) {
            hit.visits.push(visit);
        }
    }
    Ok(())
}

/// Whose orders have that value.
fn orders(txn: &Transaction<'_>, keys: &Keys, index: Index, value: &Phi, hits: &mut Hits) -> Result<(), Unavailable> {
    let owners: Owners<RowRef> = txn.get(&keys.index(index, value.expose()))?.unwrap_or_default();
    hits.crowded |= owners.crowded;
    for at in owners.list {
        hits.persons.entry(survivor(txn, at.home)?).or_default().orders.push(at);
    }
    Ok(())
}

fn patient(txn: &Transaction<'_>, keys: &Keys, home: Hash, hit: Hit) -> Result<Patient, Unavailable> {
    let row = person(txn, home)?;
    let (mut visits, mut orders) = (Vec::new(), Vec::new());
    if hit.visits.is_empty() && hit.orders.is_empty() {
        for number in &row.open_visits {
            for visit in visits_with(txn, keys, number)?.list {
                if visit.status.get() == VisitStatus::Active && survivor(txn, visit.home)? == home {
                    visits.push(visit);
                }
            }
        }
        for place in homes(home, &row) {
            orders.extend(txn.rows::<OrderRow>(&orders_key(place))?.into_iter().map(|(_, row)| row));
        }
        orders.retain(|order| matches!(order.status.get(), OrderStatus::Ordered | OrderStatus::Held));
    }
    visits.extend(hit.visits);
    for at in hit.orders {
        orders.extend(txn.get::<OrderRow>(&order_key(at))?);
    }
    visits.sort_by_key(|visit| std::cmp::Reverse(visit.started_ms));
    orders.sort_by_key(|order| std::cmp::Reverse(order.created_ms));
    Ok(Patient {
        visits: visits.into_iter().map(visit).collect(),
        orders: orders.into_iter().map(order).collect(),
        ..demographics(row)
    })
}

fn demographics(row: PersonRow) -> Patient {
    let (mut live, mut retired): (Vec<_>, Vec<_>) = row.ids.iter().partition(|known| !known.retired);
    if live.is_empty() {
        live = std::mem::take(&mut retired);
    }
    live.sort_by_key(|known| known.rank); // stable: the first told among equals
    let mut ids = live.into_iter().map(|known| known.id.clone());
    let name = row.name.value.unwrap_or_default();
    Patient {
        identifier: ids.next().unwrap_or_default(),
        other_ids: ids.collect(),
        prior_ids: retired.into_iter().map(|known| known.id.clone()).collect(),
        active: row.active.value.unwrap_or(true),
        deceased: row.deceased.take(),
        name: name.display,
        name_dicom: name.dicom,
        birth_date: row.birth_date.value,
        sex: row.sex.take(),
        visits: Vec::new(),
        orders: Vec::new(),
    }
}

fn visit(row: VisitRow) -> Visit {
    let location = row.location.take();
    Visit {
        class: row.class.take(),
        status: row.status.take(),
        department: row.department.take(),
        attending: row.attending.take(),
        referring: row.referring.take(),
        id: row.number.id,
        issuer: row.number.issuer,
        issuer_universal_id: row.number.issuer_universal_id,
        issuer_universal_id_type: row.number.issuer_universal_id_type,
        ward: location.ward,
        room: location.room,
        bed: location.bed,
        facility: location.facility,
    }
}

fn order(row: OrderRow) -> Order {
    let id = |told: Told<Identifier>| told.take().id;
    let accession = row.accession.take();
    Order {
        accession: accession.id,
        accession_issuer: accession.issuer,
        accession_issuer_universal_id: accession.issuer_universal_id,
        accession_issuer_universal_id_type: accession.issuer_universal_id_type,
        placer: id(row.placer),
        filler: id(row.filler),
        requested_procedure_id: row.requested_procedure_id.take(),
        scheduled_step_id: row.scheduled_step_id.take(),
        study_instance_uid: row.study_instance_uid.take(),
        procedure: row.procedure.take(),
        modality: row.modality.take(),
        requesting_physician: row.requesting_physician.take(),
        status: row.status.take(),
        visit: row.visit.take(),
    }
}
