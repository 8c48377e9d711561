//! What is sealed beside an item: the binding of its capture, its derived picture.

use crate::capture::{Binding, CaptureId, ItemId};
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

/// The manifest of a derived picture; `None` where none was made yet.
pub fn derived_manifest(spool: &Spool, id: ItemId) -> Result<Option<Vec<u8>>, SpoolError> {
    match spool.manifest(Name::Derived(id)) {
        Err(SpoolError::Missing) => Ok(None),
        other => other.map(Some),
    }
}
