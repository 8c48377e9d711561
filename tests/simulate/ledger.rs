//! What was promised, what the archive holds, and what must never be.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Value, json};
use shutterbridge::capture::{CaptureId, Commitment, ItemId, Record, Stage, Uid};
use shutterbridge::dicom::Instance;
use shutterbridge::pipeline::Receipt;

use super::{hospital, photos};

/// Whether a person said whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assigned {
    No,
    /// It was asked for, and nobody heard what came of it.
    Perhaps,
    Yes,
}

/// What a phone wants to have filed.
#[derive(Clone)]
pub struct Request {
    pub key: Option<String>,
    pub claim: Value,
    /// In every object of it, and in none of another.
    pub caption: String,
    pub photos: Vec<usize>,
    /// The birth date in the claim is not the patient's: it must be held.
    pub is_contradictory: bool,
    /// Under whom it may be filed by its claim.
    claimed: BTreeSet<usize>,
    /// Under whom the capture may be filed of which the sender heard: a person may have said.
    pub owners: BTreeSet<usize>,
    pub assigned: Assigned,
    /// How often it was sent to its end.
    pub tries: usize,
    pub heard: Option<CaptureId>,
    /// A person gave it up, or may have.
    pub is_discarded: bool,
    /// The index was lost after its bytes had gone, and with it the memory of its key.
    pub is_forgotten: bool,
    /// How many captures may have its key: one, and one more each time it was forgotten.
    lives: usize,
}

impl Request {
    pub fn new(number: usize, photos: Vec<usize>, patient: usize, birth_date: Option<String>, key: Option<String>) -> Self {
        let caption = format!("Caption {number} of the ward");
        let mut claim = json!({
            "patient": {"id": hospital::id(patient), "issuer": "HOSP"}, "department": "derm", "description": caption,
        });
        let is_contradictory = birth_date.as_ref().is_some_and(|d| *d != hospital::claimed_birth_date(patient));
        if let Some(date) = birth_date {
            claim["birth_date"] = date.into();
        }
        Self {
            key,
            claim,
            caption,
            photos,
            is_contradictory,
            claimed: BTreeSet::from([patient, hospital::survivor(patient)]),
            owners: BTreeSet::from([patient, hospital::survivor(patient)]),
            assigned: Assigned::No,
            tries: 0,
            heard: None,
            is_discarded: false,
            is_forgotten: false,
            lives: 1,
        }
    }
}

impl Request {
    /// Waits for a person who knows better.
    pub fn is_rightly_held(&self) -> bool {
        self.is_contradictory && self.assigned != Assigned::Yes
    }
}

/// What a 201 said.
struct Promise {
    request: usize,
    uids: Vec<Uid>,
}

/// An object at the archive.
struct Object {
    photo: usize,
    /// Of the whole data set as it was sent.
    digest: u64,
    /// False where the archive lost it since.
    is_there: bool,
    /// How often it did.
    losses: usize,
    /// The gateway was told that it is kept.
    is_kept: bool,
}

#[derive(Default)]
pub struct Books {
    pub requests: Vec<Request>,
    promises: BTreeMap<CaptureId, Promise>,
    /// Captures whose bytes are going, or have gone.
    erased: BTreeSet<CaptureId>,
    objects: BTreeMap<Uid, Object>,
    /// Which patient a study is of.
    studies: BTreeMap<String, usize>,
    /// Bytes that went by a person's word, to be compared with the record.
    given_up: BTreeSet<CaptureId>,
    /// The archive's word at storing is enough.
    pub believes_the_archive: bool,
    violations: Vec<String>,
}

#[derive(Default)]
pub struct Ledger(Mutex<Books>);

impl Ledger {
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Bytes of a promised item are about to go.
    pub fn erasing(&self, item: ItemId) {
        self.books().erasing(item);
    }
}

impl Books {
    /// The first thing that must never be.
    pub fn violation(&self) -> Option<String> {
        self.violations.first().cloned()
    }

    pub fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub fn captures(&self) -> Vec<CaptureId> {
        self.promises.keys().copied().collect()
    }

    pub fn request_of(&mut self, capture: CaptureId) -> &mut Request {
        let request = self.promises[&capture].request;
        &mut self.requests[request]
    }

    /// The sender has its 201.
    pub fn heard(&mut self, request: usize, receipt: &Receipt) {
        let id = receipt.record.id();
        let uids: Vec<Uid> = receipt.record.items.iter().map(|i| i.facts.sop_instance_uid.clone()).collect();
        let photos = self.requests[request].photos.clone();
        if uids.len() != photos.len() {
            return self.violated(format!("request {request}: {} photos, {} items", photos.len(), uids.len()));
        }
        match self.requests[request].heard {
            Some(before) if before != id => {
                self.violated(format!("request {request}: its key was ignored: {before} and then {id}"));
            }
            Some(_) if self.promises[&id].uids != uids => self.violated(format!("request {request}: other UIDs when repeated")),
            Some(_) => {}
            None => {
                self.requests[request].heard = Some(id);
                self.promises.insert(id, Promise { request, uids: uids.clone() });
            }
        }
        for (uid, photo) in uids.iter().zip(photos) {
            if self.objects.get(uid).is_some_and(|object| object.photo != photo) {
                self.violated(format!("request {request}: the archive has another photo under the UID of the receipt"));
            }
        }
    }

    /// The archive took an object. All that can be seen of it is compared with what was asked.
    pub fn stored(&mut self, instance: &Instance, payload: &[u8], sent: &[u8]) {
        let uid = instance.sop_instance.clone();
        let mut hasher = DefaultHasher::new();
        sent.hash(&mut hasher);
        let digest = hasher.finish();
        let Some(photo) = photos::identify(payload) else {
            return self.violated(format!("{uid}: corrupt: no photo of ours"));
        };
        let owner = self.requests.iter().position(|r| r.photos.contains(&photo));
        let Some(number) = owner else { return self.violated(format!("{uid}: a ghost: photo {photo} was never accepted")) };
        match self.objects.get_mut(&uid) {
            Some(object) if object.photo != photo => self.violated(format!("{uid}: two photos under one UID")),
            Some(object) if object.digest != digest => self.violated(format!("{uid}: sent again, and not the same")),
            Some(object) => object.is_there = true,
            None => {
                self.objects.insert(uid.clone(), Object { photo, digest, is_there: true, losses: 0, is_kept: false });
                self.look_for_duplicates(number, photo, &uid);
            }
        }
        self.compare(number, photo, instance);
    }

    fn look_for_duplicates(&mut self, number: usize, photo: usize, uid: &Uid) {
        let request = &self.requests[number];
        let copies = self.objects.values().filter(|o| o.photo == photo).count();
        // Without a key each try may have become a capture of its own.
        let allowed = if request.key.is_some() { request.lives } else { request.tries };
        if copies > allowed {
            return self.violated(format!("{uid}: photo {photo} is there under {copies} UIDs, of {} tries", request.tries));
        }
        let promised = request.heard.map(|id| &self.promises[&id].uids);
        let place = request.photos.iter().position(|p| *p == photo).unwrap_or_default();
        if request.key.is_some() && request.lives == 1 && promised.is_some_and(|uids| uids[place] != *uid) {
            self.violated(format!("{uid}: photo {photo} was promised under another UID"));
        }
    }

    /// The object's attributes against the request whose photo it is.
    fn compare(&mut self, number: usize, photo: usize, instance: &Instance) {
        let uid = &instance.sop_instance;
        let request = &self.requests[number];
        let text = |tag: Tag| instance.dataset.get(tag).and_then(|e| e.to_str().ok()).unwrap_or_default().trim().to_owned();
        let mut wrong = Vec::new();
        if text(tags::SOP_INSTANCE_UID) != uid.as_str() {
            wrong.push("its data set has another UID".to_owned());
        }
        if text(tags::SERIES_DESCRIPTION) != request.caption {
            wrong.push(format!("caption {:?} in place of {:?}", text(tags::SERIES_DESCRIPTION), request.caption));
        }
        let time = &photos::all()[photo].time;
        if !text(tags::CONTENT_TIME).starts_with(time.as_str()) {
            wrong.push(format!("time {} in place of {time}", text(tags::CONTENT_TIME)));
        }
        let place = request.photos.iter().position(|p| *p == photo).unwrap_or_default();
        if text(tags::INSTANCE_NUMBER) != (place + 1).to_string() {
            wrong.push(format!("instance number {} in place of {}", text(tags::INSTANCE_NUMBER), place + 1));
        }
        let is_heard = request.heard.is_some_and(|id| self.promises[&id].uids.contains(uid));
        let owners = if is_heard { &request.owners } else { &request.claimed };
        let owner = text(tags::PATIENT_ID).strip_prefix('P').and_then(|n| n.parse().ok());
        match owner {
            Some(owner) if owners.contains(&owner) => {
                if hospital::named(&text(tags::PATIENT_NAME)) != Some(owner) {
                    wrong.push("the number is one patient's and the name another's".to_owned());
                }
                if text(tags::PATIENT_BIRTH_DATE) != hospital::birth_date(owner) {
                    wrong.push("the birth date is not the patient's".to_owned());
                }
                let study = self.studies.entry(text(tags::STUDY_INSTANCE_UID)).or_insert(owner);
                if hospital::survivor(*study) != hospital::survivor(owner) {
                    wrong.push("its study is another patient's".to_owned());
                }
            }
            _ => wrong.push(format!("crosswired: {} in place of {:?}", text(tags::PATIENT_ID), owners)),
        }
        if request.is_contradictory && !(is_heard && request.assigned != Assigned::No) {
            wrong.push("sent although its birth date is not the patient's".to_owned());
        }
        let wrong: Vec<String> = wrong.into_iter().map(|w| format!("{uid}, photo {photo} of request {number}: {w}")).collect();
        self.violations.extend(wrong);
    }

    /// What the archive has, and has told the gateway that it keeps.
    pub fn told_kept(&mut self, uid: &Uid) {
        if let Some(object) = self.objects.get_mut(uid) {
            object.is_kept = true;
        }
    }

    pub fn has(&self, uid: &Uid) -> bool {
        self.objects.get(uid).is_some_and(|o| o.is_there)
    }

    pub fn is_kept(&self, uid: &Uid) -> bool {
        self.objects.get(uid).is_some_and(|o| o.is_there && o.is_kept)
    }

    pub fn losses(&self, uid: &Uid) -> usize {
        self.objects.get(uid).map_or(0, |o| o.losses)
    }

    /// The archive's disk broke.
    pub fn lose(&mut self, uid: &Uid) {
        if let Some(object) = self.objects.get_mut(uid).filter(|o| o.is_there) {
            (object.is_there, object.is_kept) = (false, false);
            object.losses += 1;
        }
    }

    fn erasing(&mut self, item: ItemId) {
        self.erased.insert(item.capture);
        let Some(promise) = self.promises.get(&item.capture) else { return };
        let (request, uids) = (promise.request, &promise.uids);
        if uids.iter().all(|uid| self.is_kept(uid) || self.believes_the_archive && self.has(uid)) {
            return;
        }
        if self.requests[request].is_discarded {
            self.given_up.insert(item.capture);
        } else {
            self.violated(format!("{item} of request {request} is erased, and the archive does not have it for good"));
        }
    }

    pub fn take_given_up(&mut self) -> BTreeSet<CaptureId> {
        std::mem::take(&mut self.given_up)
    }

    /// Bytes went by a person's word: of each item, or the archive has it for good.
    pub fn compare_given_up(&mut self, record: &Record, commitment: Commitment) {
        for item in &record.items {
            let uid = &item.facts.sop_instance_uid;
            let may_go = match item.stage {
                Stage::Discarded => true,
                Stage::Committed => self.is_kept(uid),
                Stage::Forwarded => commitment != Commitment::Required && item.schedule.due.is_none() && self.has(uid),
                Stage::Accepted | Stage::Identified | Stage::Wrapped | Stage::Held => false,
            };
            if !may_go {
                self.violated(format!("{}: erased with an item that is {}", record.id(), item.stage.word()));
            }
        }
    }

    /// The index is lost. What is not in the spool any more is known to nobody.
    pub fn forget(&mut self) {
        for (_, promise) in self.promises.iter().filter(|(id, _)| self.erased.contains(*id)) {
            self.requests[promise.request].is_forgotten = true;
        }
        // So are the losses that were written down, and with them the questions of before.
        self.objects.values_mut().for_each(|object| object.losses = 0);
        // The sender of these has not heard yet, and will send them again.
        let kept: BTreeSet<usize> = self.objects.values().filter(|o| o.is_kept).map(|o| o.photo).collect();
        for request in self.requests.iter_mut().filter(|r| r.heard.is_none() && r.photos.iter().any(|p| kept.contains(p))) {
            request.lives += 1;
        }
    }

    /// At the end, when all is well again for long: everything promised is at the archive.
    pub fn settle(&mut self, commitment: Commitment) {
        let mut missing = Vec::new();
        for (number, request) in self.requests.iter().enumerate() {
            let Some(id) = request.heard else {
                missing.push(format!("request {number} is still refused when all is well"));
                continue;
            };
            if request.is_discarded || request.is_rightly_held() {
                continue;
            }
            for uid in &self.promises[&id].uids {
                let is_done = if commitment == Commitment::Required { self.is_kept(uid) } else { self.has(uid) };
                if !is_done {
                    missing.push(format!("lost: request {number}, {id}, {uid} is not at the archive"));
                }
            }
        }
        self.violations.extend(missing);
    }

    pub fn objects(&self) -> usize {
        self.objects.len()
    }
}
