//! What is sealed beside an item: the binding of its capture, what a person stopped, its derived picture.

use serde::{Deserialize, Serialize};

use super::identify::Doubt;
use super::wrap::unreadable;
use crate::capture::record::{ItemFacts, SealedManifest};
use crate::capture::{Binding, CaptureId, FailureCode, ItemId};
use crate::spool::{Name, Spool, SpoolError};

/// The binding's bytes; `None` where the capture was never bound.
pub fn binding(spool: &Spool, id: CaptureId) -> Result<Option<Vec<u8>>, SpoolError> {
    beside(spool, Name::Binding(id))
}

fn beside(spool: &Spool, name: Name) -> Result<Option<Vec<u8>>, SpoolError> {
    let mut bytes = Vec::new();
    match spool.payload(name) {
        Err(SpoolError::Missing) => Ok(None),
        Err(e) => Err(e),
        Ok(mut reader) => loop {
            let chunk = reader.fill_chunk()?;
            if chunk.is_empty() {
                return Ok(Some(bytes));
            }
            bytes.extend_from_slice(chunk);
        },
    }
}

/// The binding of a capture, understood.
pub fn read_binding(spool: &Spool, id: CaptureId) -> Result<Option<Binding>, Doubt> {
    let Some(bytes) = binding(spool, id).map_err(|e| unreadable(&e))? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .ok()
        .filter(|binding: &Binding| binding.version <= Binding::VERSION)
        .map(Some)
        .ok_or_else(|| (FailureCode::SpoolUnreadable, "the sealed binding cannot be read by this version".to_owned()))
}

/// What a person stopped, or gave up: a lost index must not send it.
#[derive(Serialize, Deserialize)]
struct Stopped {
    version: u16,
    items: Vec<u16>,
}

impl Stopped {
    const VERSION: u16 = 1;
}

/// Seals which items of a capture a person stopped; none: nothing is left to say.
pub fn stop(spool: &Spool, id: CaptureId, items: Vec<u16>) -> Result<(), SpoolError> {
    if items.is_empty() {
        return spool.detach(Name::Stopped(id));
    }
    let bytes = serde_json::to_vec(&Stopped { version: Stopped::VERSION, items }).map_err(|_| SpoolError::Broken)?;
    spool.attach(Name::Stopped(id), &bytes)
}

/// Seals that an item is about to be sent in HEVC, where that is not said yet: only what never was may be
/// coded anew after the index was lost. Callers take turns.
pub fn note_hevc(spool: &Spool, id: ItemId) -> Result<(), Doubt> {
    let Some(mut binding) = read_binding(spool, id.capture)? else { return Ok(()) };
    // An older version's says nothing, which is taken for everything.
    let Some(noted) = binding.in_hevc.as_mut().filter(|noted| !noted.contains(&id.index)) else { return Ok(()) };
    noted.push(id.index);
    bind_all(spool, &[(id.capture, binding)]).map_err(|e| (FailureCode::StoreUnavailable, e.to_string()))
}

/// Items of a capture that a person stopped.
pub fn stopped(spool: &Spool, id: CaptureId) -> Result<Vec<u16>, Doubt> {
    let Some(bytes) = beside(spool, Name::Stopped(id)).map_err(|e| unreadable(&e))? else { return Ok(Vec::new()) };
    serde_json::from_slice::<Stopped>(&bytes)
        .ok()
        .filter(|stopped| stopped.version <= Stopped::VERSION)
        .map(|stopped| stopped.items)
        .ok_or_else(|| (FailureCode::SpoolUnreadable, "what a person decided cannot be read by this version".to_owned()))
}

/// Seals the bindings of a round; they share one sync of the folder.
pub fn bind_all(spool: &Spool, bindings: &[(CaptureId, Binding)]) -> Result<(), SpoolError> {
    let mut finished = Vec::with_capacity(bindings.len());
    for (id, binding) in bindings {
        let bytes = serde_json::to_vec(binding).map_err(|_| SpoolError::Broken)?;
        let mut draft = spool.draft(Name::Binding(*id))?;
        draft.write(&bytes)?;
        finished.push(draft.finish(b"")?);
    }
    if finished.is_empty() { Ok(()) } else { spool.promise(finished) }
}

/// What is true of an item since it was accepted, the colour profile included.
pub fn item_facts(spool: &Spool, id: ItemId) -> Result<ItemFacts, Doubt> {
    let bytes = spool.manifest(id).map_err(|e| unreadable(&e))?;
    // serde's message would repeat what stands there.
    serde_json::from_slice::<SealedManifest>(&bytes)
        .ok()
        .filter(|manifest| manifest.version <= SealedManifest::VERSION)
        .map(|manifest| manifest.item)
        .ok_or_else(|| (FailureCode::SpoolUnreadable, "the sealed manifest cannot be read by this version".to_owned()))
}

/// The manifest of what was made of an item, a [`Name::Derived`] or [`Name::Stills`]; `None` where it was not
/// made yet.
pub fn made_manifest(spool: &Spool, name: Name) -> Result<Option<Vec<u8>>, SpoolError> {
    match spool.manifest(name) {
        Err(SpoolError::Missing) => Ok(None),
        other => other.map(Some),
    }
}
