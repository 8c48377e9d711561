//! The head of a file (PS3.10 §7.1).

use super::{DicomError, Instance};
use crate::capture::Uid;

/// Ours (PS3.7 §D.3.3.2): a UUID that was drawn once.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.177599843409182409087384669389510703576";
/// At most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = "SHUTTERBRIDGE_1";

/// 128 zero bytes, `DICM` and the file meta information: what stands before a data set in a file.
///
/// # Errors
/// [`DicomError::Encoding`].
pub fn file_prefix(sop_class: &Uid, sop_instance: &Uid, syntax: &str, source_ae: Option<&str>) -> Result<Vec<u8>, DicomError> {
    let mut meta = dicom_object::FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class.as_str())
        .media_storage_sop_instance_uid(sop_instance.as_str())
        .transfer_syntax(syntax)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME);
    if let Some(ae) = source_ae.filter(|ae| !ae.is_empty()) {
        meta = meta.source_application_entity_title(ae);
    }
    let mut out = vec![0; 128];
    out.extend_from_slice(b"DICM");
    let meta = meta.build().map_err(|_| DicomError::Encoding)?;
    meta.write(&mut out).map_err(|_| DicomError::Encoding)?;
    Ok(out)
}

impl Instance {
    /// What stands before [`Instance::stream`] in a file; the stream is then in
    /// [`Instance::transfer_syntax`].
    ///
    /// # Errors
    /// [`DicomError::Encoding`].
    pub fn part10_prefix(&self) -> Result<Vec<u8>, DicomError> {
        file_prefix(&self.sop_class, &self.sop_instance, self.transfer_syntax().uid(), None)
    }
}

const _: () = assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Syntax;

    #[test]
    fn the_prefix_reads_back() {
        let uid = |text: &str| Uid::parse(text).expect("a uid");
        let class = uid("1.2.840.10008.5.1.4.1.1.77.1.4");
        let bytes = file_prefix(&class, &uid("2.25.1"), Syntax::JpegBaseline.uid(), Some("PACS")).expect("a prefix");
        let mut rest = &bytes[128..];
        let meta = dicom_object::FileMetaTable::from_reader(&mut rest).expect("a meta table");
        assert!(rest.is_empty());
        assert_eq!(meta.transfer_syntax(), Syntax::JpegBaseline.uid());
        assert_eq!(meta.implementation_class_uid(), IMPLEMENTATION_CLASS_UID);
        assert_eq!(meta.media_storage_sop_instance_uid(), "2.25.1");
    }
}
