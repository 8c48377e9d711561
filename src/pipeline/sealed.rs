//! What is sealed beside an item: the binding of its capture, its derived picture.

use super::identify::Doubt;
use super::wrap::unreadable;
use crate::capture::record::{ItemFacts, SealedManifest};
use crate::capture::{Binding, CaptureId, FailureCode, ItemId};
use crate::spool::{Name, Spool, SpoolError};

/// The binding's bytes; `None` where the capture was never bound.
pub fn binding(spool: &Spool, id: CaptureId) -> Result<Option<Vec<u8>>, SpoolError> {
    let mut bytes = Vec::new();
    match spool.payload(Name::Binding(id)) {
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

/// The manifest of a derived picture; `None` where none was made yet.
pub fn derived_manifest(spool: &Spool, id: ItemId) -> Result<Option<Vec<u8>>, SpoolError> {
    match spool.manifest(Name::Derived(id)) {
        Err(SpoolError::Missing) => Ok(None),
        other => other.map(Some),
    }
}
