//! What an update does to the rows.

use super::super::Unavailable;
use super::ledger::Transaction;
use super::row::{
    Hash, Index, Keys, KnownId, NameRow, OrderRow, Owned, Owners, PERSON_IDS_MAX, PersonRow, RowRef, Seen, Told, VisitRow,
    order_key, orders_key, person_key,
};
use super::{is_unowned, same_authority};
use crate::capture::order::OrderStatus;
use crate::capture::person::VisitStatus;
use crate::capture::{Identifier, Phi};
use crate::hl7::dates::Moment;
use crate::hl7::update::{Act, Change, Fact, MergeKind, OrderFact, PatientFact, RankedIdentifier, Source, VisitFact};

/// Merges from one id to its survivor. More is a broken index, not a hospital.
const HOPS_MAX: usize = 10_000;
/// Renumberings of one visit.
const RENUMBERED_MAX: usize = 20;
/// Rank of an identifier of which nothing is known.
const RANK_LAST: u8 = 3;

/// One update on its way into the rows.
pub(super) struct Applying<'a, 't> {
    pub txn: &'a mut Transaction<'t>,
    pub keys: &'a Keys,
    pub event: Moment,
    pub source: &'a Source,
    /// Until the first patient has taken note of it.
    pub message: Option<Seen>,
}

impl Applying<'_, '_> {
    /// False where the message was seen before: it has no effect then.
    pub fn fact(&mut self, fact: &Fact) -> Result<bool, Unavailable> {
        let patient = &fact.patient;
        let known = match &fact.act {
            Act::Merge { prior, kind: MergeKind::Rename } if self.by_first_id(patient)?.is_none() => self.by_any(prior)?,
            _ => None,
        };
        let is_survivor = matches!(fact.act, Act::Merge { .. });
        let Some(home) = self.person(patient, known, is_survivor)? else { return Ok(false) };
        match &fact.act {
            Act::Record => {}
            Act::Merge { prior, .. } => self.merge(home, patient, prior)?,
            Act::TakeIdentifiers(ids) => self.take_identifiers(home, ids)?,
            Act::TakeVisit { from, visit } => self.take_visit(home, from, visit)?,
            Act::RenumberVisit { prior } => self.renumber_visit(home, prior, patient.visit.as_ref())?,
        }
        if let Some(visit) = &patient.visit {
            self.visit(home, visit)?;
        }
        for order in &patient.orders {
            self.order(home, order)?;
        }
        Ok(true)
    }

    // ---- persons

    /// Records who it is; returns the person's name in the index. `None`: the message was seen.
    fn person(&mut self, patient: &PatientFact, known: Option<Hash>, is_survivor: bool) -> Result<Option<Hash>, Unavailable> {
        let home = match known {
            Some(home) => home,
            None => match self.by_ids(patient)? {
                Some(home) => home,
                None => self.new_person(patient)?,
            },
        };
        let before = person(self.txn, home)?;
        let mut row = before.clone();
        if let Some(message) = self.message.take()
            && !row.see(message)
        {
            return Ok(None);
        }
        for id in &patient.ids {
            self.attach(home, &mut row, id, is_survivor)?;
        }
        let name = match &patient.name {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(name) => Change::Set(NameRow::from(name)),
        };
        row.name.hear(&name, self.event);
        row.birth_date.hear(&patient.birth_date, self.event);
        row.sex.hear(&patient.sex, self.event);
        row.deceased.hear(&patient.deceased, self.event);
        row.active.hear(&patient.active, self.event);
        if row != before {
            self.txn.put(person_key(home), &row)?;
        }
        Ok(Some(home))
    }

    /// The first id names the patient. Where it is new, another known one does, unless that
    /// patient has another id of the same authority: then two people share an id, and it is not
    /// for us to say who is who.
    fn by_ids(&self, patient: &PatientFact) -> Result<Option<Hash>, Unavailable> {
        if let Some(home) = self.by_first_id(patient)? {
            return Ok(Some(home));
        }
        let Some(first) = patient.ids.first() else { return Ok(None) };
        for id in patient.ids.iter().skip(1) {
            if let Some(home) = self.owner(&id.identifier)? {
                let row = person(self.txn, home)?;
                let is_taken = row.ids.iter().any(|known| !known.retired && same_authority(&known.id, &first.identifier));
                if !is_taken {
                    return Ok(Some(home));
                }
            }
        }
        Ok(None)
    }

    fn by_first_id(&self, patient: &PatientFact) -> Result<Option<Hash>, Unavailable> {
        patient.ids.first().map_or(Ok(None), |id| self.owner(&id.identifier))
    }

    fn by_any(&self, ids: &[Identifier]) -> Result<Option<Hash>, Unavailable> {
        for id in ids {
            if let Some(home) = self.owner(id)? {
                return Ok(Some(home));
            }
        }
        Ok(None)
    }

    /// Whose identifier it is, by authority; the survivor where that person was merged. Where
    /// several could be meant, the one whose authority is written just so.
    fn owner(&self, id: &Identifier) -> Result<Option<Hash>, Unavailable> {
        let owners: Owners<Owned> = self.txn.get(&self.keys.index(Index::Identifier, id.id.expose()))?.unwrap_or_default();
        let (mut likely, mut exact) = (Vec::new(), Vec::new());
        for owned in owners.list.iter().filter(|owned| same_authority(&owned.id, id)) {
            let home = survivor(self.txn, owned.person)?;
            if !likely.contains(&home) {
                likely.push(home);
            }
            let is_exact = owned.id.issuer == id.issuer && owned.id.issuer_universal_id == id.issuer_universal_id;
            if is_exact && !exact.contains(&home) {
                exact.push(home);
            }
        }
        Ok(match (likely.as_slice(), exact.as_slice()) {
            ([one], _) | (_, [one]) => Some(*one),
            _ => None,
        })
    }

    fn new_person(&mut self, patient: &PatientFact) -> Result<Hash, Unavailable> {
        let home = self.keys.person(&patient.ids.first().map(|id| id.identifier.clone()).unwrap_or_default());
        if self.txn.get::<PersonRow>(&person_key(home))?.is_some() {
            // The id has too many owners to be listed, but its person is on file.
            return survivor(self.txn, home);
        }
        self.txn.put(person_key(home), &PersonRow::default())?;
        Ok(home)
    }

    /// Makes sure that `id` leads to `home` and is among its ids. A retired one stays retired,
    /// unless the person survives under it.
    fn attach(&mut self, home: Hash, row: &mut PersonRow, id: &RankedIdentifier, is_survivor: bool) -> Result<(), Unavailable> {
        self.lead(home, &id.identifier)?;
        let known = row.ids.iter_mut().find(|k| k.id.id == id.identifier.id && same_authority(&k.id, &id.identifier));
        if let Some(known) = known {
            complete(&mut known.id, &id.identifier);
            known.rank = known.rank.min(id.rank);
            known.retired = known.retired && !is_survivor;
        } else if row.ids.len() < PERSON_IDS_MAX {
            row.ids.push(KnownId { id: id.identifier.clone(), rank: id.rank, retired: false });
        }
        Ok(())
    }

    /// Enters `id` as an identifier of `home`.
    fn lead(&mut self, home: Hash, id: &Identifier) -> Result<(), Unavailable> {
        let key = self.keys.index(Index::Identifier, id.id.expose());
        let mut owners: Owners<Owned> = self.txn.get(&key)?.unwrap_or_default();
        let before = owners.clone();
        let mut is_known = false;
        for owned in &mut owners.list {
            let one_name = owned.id.issuer == id.issuer || owned.id.issuer.is_empty() || id.issuer.is_empty();
            if one_name && same_authority(&owned.id, id) && survivor(self.txn, owned.person)? == home {
                complete(&mut owned.id, id);
                is_known = true;
                break;
            }
        }
        if !is_known {
            owners.add(Owned { id: id.clone(), person: home });
        }
        if owners != before {
            self.txn.put(key, &owners)?;
        }
        Ok(())
    }

    // ---- merges and moves

    /// The prior ids are `home`'s from now on. Chains end at the last survivor, a merge into
    /// oneself changes nothing, and a merge back only changes which id is the live one.
    fn merge(&mut self, home: Hash, patient: &PatientFact, prior: &[Identifier]) -> Result<(), Unavailable> {
        for id in prior {
            let is_own = patient.ids.iter().any(|own| own.identifier.id == id.id && same_authority(&own.identifier, id));
            if is_own {
                continue;
            }
            if let Some(other) = self.owner(id)?
                && other != home
            {
                self.absorb(other, home)?;
            }
            self.lead(home, id)?;
            let mut row = person(self.txn, home)?;
            if let Some(known) = row.ids.iter_mut().find(|known| known.id.id == id.id && same_authority(&known.id, id)) {
                known.retired = true;
            } else if row.ids.len() < PERSON_IDS_MAX {
                row.ids.push(KnownId { id: id.clone(), rank: RANK_LAST, retired: true });
            }
            self.txn.put(person_key(home), &row)?;
        }
        Ok(())
    }

    /// `other` becomes a tombstone. Its rows stay where they are.
    fn absorb(&mut self, other: Hash, home: Hash) -> Result<(), Unavailable> {
        let mut prior = person(self.txn, other)?;
        let mut row = person(self.txn, home)?;
        row.absorbed.push(other);
        row.absorbed.append(&mut prior.absorbed);
        row.seen.append(&mut prior.seen);
        for number in std::mem::take(&mut prior.open_visits) {
            row.open_visit(&number);
        }
        prior.merged_into = Some(home);
        self.txn.put(person_key(other), &prior)?;
        self.txn.put(person_key(home), &row)
    }

    fn take_identifiers(&mut self, home: Hash, ids: &[Identifier]) -> Result<(), Unavailable> {
        for id in ids {
            let key = self.keys.index(Index::Identifier, id.id.expose());
            let mut owners: Owners<Owned> = self.txn.get(&key)?.unwrap_or_default();
            for owned in owners.list.iter_mut().filter(|owned| same_authority(&owned.id, id)) {
                let from = survivor(self.txn, owned.person)?;
                owned.person = home;
                if from != home {
                    let mut row = person(self.txn, from)?;
                    row.ids.retain(|known| known.id.id != id.id || !same_authority(&known.id, id));
                    self.txn.put(person_key(from), &row)?;
                }
            }
            self.txn.put(key, &owners)?;
            let mut row = person(self.txn, home)?;
            self.attach(home, &mut row, &RankedIdentifier { identifier: id.clone(), rank: RANK_LAST }, true)?;
            self.txn.put(person_key(home), &row)?;
        }
        Ok(())
    }

    /// The visit, and what was ordered in it, leave their patient.
    fn take_visit(&mut self, home: Hash, from: &[Identifier], number: &Identifier) -> Result<(), Unavailable> {
        let Some(source) = self.by_any(from)? else { return Ok(()) };
        if source == home {
            return Ok(());
        }
        let key = self.keys.index(Index::Visit, number.id.expose());
        let mut visits: Owners<VisitRow> = self.txn.get(&key)?.unwrap_or_default();
        let Some(place) = self.place_of_visit(&visits, source, number)? else { return Ok(()) };
        let mut is_open = false;
        if let Some(visit) = visits.list.get_mut(place) {
            visit.home = home;
            is_open = visit.status.get() == VisitStatus::Active;
        }
        self.txn.put(key, &visits)?;
        self.note_visit(source, &number.id, false)?;
        self.note_visit(home, &number.id, is_open)?;
        for place in homes(source, &person(self.txn, source)?) {
            for (key, order) in self.txn.rows::<OrderRow>(&orders_key(place))? {
                if order.visit.value.as_ref() == Some(&number.id)
                    && let Some(row) = row_of(&key)
                {
                    self.move_order(RowRef { home: place, row }, &order, home)?;
                }
            }
        }
        Ok(())
    }

    /// Puts the order at another person.
    fn move_order(&mut self, from: RowRef, order: &OrderRow, home: Hash) -> Result<(), Unavailable> {
        let to = RowRef { home, ..from };
        self.txn.remove(order_key(from));
        self.txn.put(order_key(to), order)?;
        for (index, value) in order_keys(order) {
            let key = self.keys.index(index, &value);
            let mut owners: Owners<RowRef> = self.txn.get(&key)?.unwrap_or_default();
            owners.list.retain(|at| *at != from);
            owners.add(to);
            self.txn.put(key, &owners)?;
        }
        Ok(())
    }

    /// The prior number leads to the visit's new one from now on, also where it was never seen.
    fn renumber_visit(&mut self, home: Hash, prior: &Identifier, now: Option<&VisitFact>) -> Result<(), Unavailable> {
        let Some(now) = now.map(|visit| &visit.number).filter(|now| now.id != prior.id) else { return Ok(()) };
        let key = self.keys.index(Index::Visit, prior.id.expose());
        let mut priors: Owners<VisitRow> = self.txn.get(&key)?.unwrap_or_default();
        let sign = VisitRow { home, number: prior.clone(), renumbered: Some(now.clone()), ..VisitRow::default() };
        let place = self.place_of_visit(&priors, home, prior)?;
        let old = place.and_then(|place| priors.list.get_mut(place)).map(|visit| std::mem::replace(visit, sign.clone()));
        priors.add(sign);
        self.txn.put(key, &priors)?;
        self.note_visit(home, &prior.id, false)?;
        let key = self.keys.index(Index::Visit, now.id.expose());
        let mut visits: Owners<VisitRow> = self.txn.get(&key)?.unwrap_or_default();
        // A number that leads elsewhere since an earlier renumbering leads nowhere else any more, or
        // a correction back would make a circle.
        let mut taken = self.place_of_visit(&visits, home, now)?;
        if let Some(place) = taken.filter(|place| visits.list.get(*place).is_some_and(|v| v.renumbered.is_some())) {
            visits.list.remove(place);
            taken = None;
        }
        let moved = old.filter(|old| old.renumbered.is_none() && taken.is_none());
        let is_open = moved.as_ref().is_some_and(|old| old.status.get() == VisitStatus::Active);
        let has_moved = moved.is_some();
        if let Some(old) = moved {
            visits.add(VisitRow { number: now.clone(), ..old });
        }
        self.txn.put(key, &visits)?;
        if has_moved { self.note_visit(home, &now.id, is_open) } else { Ok(()) }
    }

    // ---- visits

    /// The visit of that person in a row of its number. One without authority is the same as one
    /// with.
    fn place_of_visit(&self, visits: &Owners<VisitRow>, home: Hash, number: &Identifier) -> Result<Option<usize>, Unavailable> {
        for (place, visit) in visits.list.iter().enumerate() {
            let is_meant = is_unowned(&visit.number) || is_unowned(number) || same_authority(&visit.number, number);
            if is_meant && survivor(self.txn, visit.home)? == home {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn visit(&mut self, home: Hash, visit: &VisitFact) -> Result<(), Unavailable> {
        let mut number = visit.number.clone();
        for _ in 0..RENUMBERED_MAX {
            let key = self.keys.index(Index::Visit, number.id.expose());
            let mut visits: Owners<VisitRow> = self.txn.get(&key)?.unwrap_or_default();
            let known = self.place_of_visit(&visits, home, &number)?.and_then(|place| visits.list.get_mut(place));
            if let Some(now) = known.as_ref().and_then(|visit| visit.renumbered.clone()) {
                number = now;
                continue;
            }
            let mut row = known.as_ref().map_or_else(
                || VisitRow { home, number: number.clone(), started_ms: self.event.from_ms, ..VisitRow::default() },
                |visit| (*visit).clone(),
            );
            let was_open = known.is_some() && row.status.get() == VisitStatus::Active;
            if row.number.id == visit.number.id {
                complete(&mut row.number, &visit.number);
            }
            self.hear_visit(&mut row, visit);
            let is_open = row.status.get() == VisitStatus::Active;
            match known {
                Some(known) => *known = row,
                None => visits.add(row),
            }
            self.txn.put(key, &visits)?;
            return if is_open == was_open { Ok(()) } else { self.note_visit(home, &number.id, is_open) };
        }
        Err(Unavailable("the numbers of a visit lead nowhere; rebuild the hospital's facts".into()))
    }

    fn hear_visit(&self, row: &mut VisitRow, visit: &VisitFact) {
        if let Some(started) = visit.started {
            row.started_ms = started.from_ms;
        }
        row.class.hear(&visit.class, self.event);
        row.location.hear(&visit.location, self.event);
        row.department.hear(&visit.department, self.event);
        row.attending.hear(&visit.attending, self.event);
        row.referring.hear(&visit.referring, self.event);
        row.status.hear(&visit.status.map_or(Change::Keep, Change::Set), self.event);
        row.status.assume(visit.status_if_new);
    }

    /// Lists a visit among the person's open ones, or no more.
    fn note_visit(&mut self, home: Hash, number: &Phi, is_open: bool) -> Result<(), Unavailable> {
        let mut row = person(self.txn, home)?;
        if is_open {
            row.open_visit(number);
        } else {
            row.close_visit(number);
        }
        self.txn.put(person_key(home), &row)
    }

    // ---- orders

    fn order(&mut self, home: Hash, order: &OrderFact) -> Result<(), Unavailable> {
        let known = self.orders_meant(home, order)?;
        if known.len() > 1 {
            // A group number alone: it says what becomes of all of them, and no more.
            for (at, mut row) in known {
                row.status.hear(&order.status.map_or(Change::Keep, Change::Set), self.event);
                self.txn.put(order_key(at), &row)?;
            }
            return Ok(());
        }
        let keys = [set(&order.placer), set(&order.filler), set(&order.accession)];
        let (at, before) = match known.into_iter().next() {
            Some((at, row)) => (at, Some(row)),
            None => (RowRef { home, row: self.keys.order(home, self.source, keys) }, None),
        };
        let before = match before {
            Some(row) => Some(row),
            None => self.txn.get::<OrderRow>(&order_key(at))?,
        };
        let mut row = before.clone().unwrap_or_else(|| OrderRow {
            application: self.source.application.clone(),
            facility: self.source.facility.clone(),
            created_ms: self.event.from_ms,
            ..OrderRow::default()
        });
        self.hear_order(&mut row, order);
        if before.as_ref() != Some(&row) {
            self.txn.put(order_key(at), &row)?;
        }
        self.reindex(at, before.as_ref(), &row)
    }

    fn hear_order(&self, row: &mut OrderRow, order: &OrderFact) {
        let event = self.event;
        row.placer.hear(&order.placer, event);
        row.filler.hear(&order.filler, event);
        row.accession.hear(&order.accession, event);
        if let Some(fallback) = &order.accession_fallback {
            row.accession.assume(fallback.clone());
        }
        row.requested_procedure_id.hear(&order.requested_procedure_id, event);
        row.scheduled_step_id.hear(&order.scheduled_step_id, event);
        row.study_instance_uid.hear(&order.study_instance_uid, event);
        row.procedure.hear(&order.procedure, event);
        row.modality.hear(&order.modality, event);
        row.requesting_physician.hear(&order.requesting_physician, event);
        row.status.hear(&order.status.map_or(Change::Keep, Change::Set), event);
        row.status.assume(OrderStatus::Ordered);
        row.visit.hear(&order.visit, event);
    }

    /// The orders of that person a message means: by filler number, else by placer number, else
    /// by accession number. An order that has another filler (or placer) number is another one.
    fn orders_meant(&self, home: Hash, order: &OrderFact) -> Result<Vec<(RowRef, OrderRow)>, Unavailable> {
        let (placer, filler, accession) = (set(&order.placer), set(&order.filler), set(&order.accession));
        let mut meant = self.orders_with(Index::Filler, home, filler, |row| &row.filler)?;
        meant.truncate(1);
        if meant.is_empty() {
            meant = self.orders_with(Index::Placer, home, placer, |row| &row.placer)?;
            meant.retain(|(_, row)| self.agrees(row, &row.filler, filler));
            if meant.len() > 1 && accession.is_some() {
                meant.retain(|(_, row)| self.agrees(row, &row.accession, accession));
            }
        }
        if meant.is_empty() {
            meant = self.orders_with(Index::Accession, home, accession, |row| &row.accession)?;
            meant.retain(|(_, row)| self.agrees(row, &row.filler, filler) && self.agrees(row, &row.placer, placer));
        }
        Ok(meant)
    }

    fn orders_with(
        &self,
        index: Index,
        home: Hash,
        wanted: Option<&Identifier>,
        key: fn(&OrderRow) -> &Told<Identifier>,
    ) -> Result<Vec<(RowRef, OrderRow)>, Unavailable> {
        let Some(wanted) = wanted else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for at in self.rows_with(index, wanted.id.expose(), home)? {
            let Some(row) = self.txn.get::<OrderRow>(&order_key(at))? else { continue };
            if key(&row).value.is_some() && self.agrees(&row, key(&row), Some(wanted)) {
                found.push((at, row));
            }
        }
        Ok(found)
    }

    /// True where nothing says that these are two numbers. Without authorities on both sides they
    /// are compared within one source only.
    fn agrees(&self, row: &OrderRow, known: &Told<Identifier>, wanted: Option<&Identifier>) -> bool {
        let (Some(known), Some(wanted)) = (&known.value, wanted) else { return true };
        let one_source = row.application == self.source.application && row.facility == self.source.facility;
        let one_authority = if is_unowned(known) || is_unowned(wanted) { one_source } else { same_authority(known, wanted) };
        known.id == wanted.id && one_authority
    }

    fn reindex(&mut self, at: RowRef, before: Option<&OrderRow>, now: &OrderRow) -> Result<(), Unavailable> {
        let before = before.map(order_keys).unwrap_or_default();
        let now = order_keys(now);
        for (index, value) in before.iter().filter(|key| !now.contains(key)) {
            let key = self.keys.index(*index, value);
            let mut owners: Owners<RowRef> = self.txn.get(&key)?.unwrap_or_default();
            owners.list.retain(|other| *other != at);
            self.txn.put(key, &owners)?;
        }
        for (index, value) in now.iter().filter(|key| !before.contains(key)) {
            self.enter(*index, value, at)?;
        }
        Ok(())
    }

    // ---- indexes of rows

    fn rows_with(&self, index: Index, value: &str, home: Hash) -> Result<Vec<RowRef>, Unavailable> {
        let owners: Owners<RowRef> = self.txn.get(&self.keys.index(index, value))?.unwrap_or_default();
        let mut found = Vec::new();
        for at in owners.list {
            if survivor(self.txn, at.home)? == home {
                found.push(at);
            }
        }
        Ok(found)
    }

    fn enter(&mut self, index: Index, value: &str, at: RowRef) -> Result<(), Unavailable> {
        let key = self.keys.index(index, value);
        let mut owners: Owners<RowRef> = self.txn.get(&key)?.unwrap_or_default();
        owners.add(at);
        self.txn.put(key, &owners)
    }
}

/// The person a row or an identifier leads to, at the end of all merges.
pub(super) fn survivor(txn: &Transaction<'_>, person: Hash) -> Result<Hash, Unavailable> {
    let mut at = person;
    for _ in 0..HOPS_MAX {
        match self::person(txn, at)?.merged_into {
            Some(next) => at = next,
            None => return Ok(at),
        }
    }
    Err(Unavailable("the merges of a patient lead nowhere; rebuild the hospital's facts".into()))
}

pub(super) fn person(txn: &Transaction<'_>, person: Hash) -> Result<PersonRow, Unavailable> {
    let missing = || Unavailable("a patient's row is missing; rebuild the hospital's facts".into());
    txn.get(&person_key(person))?.ok_or_else(missing)
}

/// The visits under a number, at the end of all renumberings.
pub(super) fn visits_with(txn: &Transaction<'_>, keys: &Keys, number: &Phi) -> Result<Owners<VisitRow>, Unavailable> {
    let mut found: Owners<VisitRow> = txn.get(&keys.index(Index::Visit, number.expose()))?.unwrap_or_default();
    for _ in 0..RENUMBERED_MAX {
        let Some(place) = found.list.iter().position(|visit| visit.renumbered.is_some()) else { return Ok(found) };
        let sign = found.list.swap_remove(place);
        let Some(now) = sign.renumbered else { continue };
        let under: Owners<VisitRow> = txn.get(&keys.index(Index::Visit, now.id.expose()))?.unwrap_or_default();
        let home = survivor(txn, sign.home)?;
        for visit in under.list {
            if survivor(txn, visit.home)? == home && !found.list.contains(&visit) {
                found.list.push(visit);
            }
        }
    }
    Err(Unavailable("the numbers of a visit lead nowhere; rebuild the hospital's facts".into()))
}

/// The places where orders of a person stand.
pub(super) fn homes(home: Hash, row: &PersonRow) -> Vec<Hash> {
    std::iter::once(home).chain(row.absorbed.iter().copied()).collect()
}

pub(super) fn row_of(key: &[u8]) -> Option<Hash> {
    key.last_chunk::<16>().map(|row| Hash(*row))
}

fn set<T>(change: &Change<T>) -> Option<&T> {
    match change {
        Change::Set(value) => Some(value),
        Change::Keep | Change::Clear => None,
    }
}

/// Fills in what was not known of the authority and the type.
fn complete(known: &mut Identifier, told: &Identifier) {
    let fill = |known: &mut String, told: &String| {
        if known.is_empty() {
            known.clone_from(told);
        }
    };
    fill(&mut known.issuer, &told.issuer);
    fill(&mut known.issuer_universal_id, &told.issuer_universal_id);
    fill(&mut known.issuer_universal_id_type, &told.issuer_universal_id_type);
    fill(&mut known.id_type, &told.id_type);
}

/// The values under which an order is found.
fn order_keys(row: &OrderRow) -> Vec<(Index, String)> {
    let numbers = [(Index::Accession, &row.accession), (Index::Placer, &row.placer), (Index::Filler, &row.filler)];
    let mut keys: Vec<(Index, String)> = Vec::with_capacity(4);
    for (index, number) in numbers {
        keys.extend(number.value.as_ref().map(|id| (index, id.id.expose().to_owned())));
    }
    keys.extend(row.study_instance_uid.value.as_ref().map(|uid| (Index::StudyUid, uid.clone())));
    keys
}
