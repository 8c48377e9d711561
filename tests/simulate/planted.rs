//! Bugs that are planted around the gateway, to see that the model finds them.

use std::io::Read;
use std::sync::{Arc, Mutex};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use shutterbridge::archive::{Archive, Asked, Refused, Report, Stored};
use shutterbridge::capture::{SopRef, Uid};
use shutterbridge::dicom::Instance;
use shutterbridge::seal::random::random;

use super::archive::Pacs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// 201 before the bytes are synced.
    AckBeforeSync,
    /// Each attempt has a UID of its own.
    NewUidEachAttempt,
    /// That it was asked counts as an answer, so that bytes go before the archive has committed.
    DeleteBeforeCommitment,
    /// The Idempotency-Key is not looked at.
    KeyIgnored,
    /// An object has the attributes of the one before it.
    WrongMetadata,
}

/// Stands between the gateway and the archive, as the bug would in the gateway.
pub struct Between {
    pub pacs: Arc<Pacs>,
    pub bug: Option<Bug>,
    pub last: Mutex<Option<Instance>>,
}

impl Between {
    fn spoilt(&self, instance: &Instance) -> Option<Instance> {
        match self.bug? {
            Bug::NewUidEachAttempt => {
                let uid = Uid::from_uuid_bytes(random().unwrap());
                let mut spoilt = instance.clone();
                spoilt.dataset.put(text(tags::SOP_INSTANCE_UID, VR::UI, uid.as_str()));
                spoilt.sop_instance = uid;
                Some(spoilt)
            }
            Bug::WrongMetadata => {
                let last = self.last.lock().unwrap().replace(instance.clone())?;
                let mut dataset = last.dataset;
                dataset.put(text(tags::SOP_INSTANCE_UID, VR::UI, instance.sop_instance.as_str()));
                Some(Instance { dataset, ..instance.clone() })
            }
            Bug::AckBeforeSync | Bug::DeleteBeforeCommitment | Bug::KeyIgnored => None,
        }
    }
}

fn text(tag: dicom_core::Tag, vr: VR, value: &str) -> DataElement<dicom_object::InMemDicomObject> {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

impl Archive for Between {
    fn store(&self, instance: &Instance, payload: &mut dyn Read) -> Result<Stored, Refused> {
        self.pacs.store(self.spoilt(instance).as_ref().unwrap_or(instance), payload)
    }

    fn probe(&self) -> Result<(), Refused> {
        self.pacs.probe()
    }

    fn ask_commitment(&self, transaction: &Uid, wanted: &[SopRef]) -> Result<Asked, Refused> {
        let asked = self.pacs.ask_commitment(transaction, wanted)?;
        if self.bug == Some(Bug::DeleteBeforeCommitment) {
            let report = Report { transaction: transaction.clone(), committed: wanted.to_vec(), failed: Vec::new() };
            return Ok(Asked::Answered(vec![report]));
        }
        Ok(asked)
    }
}
