//! An archive that is a folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dicom_fixture;

use std::io::Cursor;
use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_fixture::*;
use shutterbridge::archive::finding::Grade;
use shutterbridge::archive::folder::{Folder, Options};
use shutterbridge::archive::profile::{CharacterSet, Profile};
use shutterbridge::archive::{Archive as _, Refused, Stored};
use shutterbridge::capture::{Class, Commitment, FailureCode};
use shutterbridge::dicom::{self, Instance, Syntax};

fn folder(path: &Path, profile: Profile) -> Folder {
    Folder::new(Options { path: path.to_owned(), profile })
}

fn store(to: &Folder, instance: &Instance, payload: &[u8]) -> Result<Stored, Refused> {
    to.store(instance, &mut Cursor::new(payload))
}

fn small(number: u8) -> (Instance, Vec<u8>) {
    let payload = jpeg(64, 48, 3);
    (photograph(number, &payload, 64, 48), payload)
}

#[test]
fn an_object_is_a_whole_file_under_its_uid_and_nothing_else() {
    let dir = TempDir::new("folder");
    let (instance, payload) = small(1);
    let archive = folder(dir.path(), Profile::default());
    assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }));
    let path = dir.path().join(format!("{}.dcm", instance.sop_instance));
    assert_eq!(dir.files(), std::slice::from_ref(&path));
    assert_eq!(std::fs::read(&path).unwrap(), file_bytes(&instance, &payload));
    assert_eq!(validator_errors(&path), Vec::<String>::new());
}

#[test]
fn the_same_object_again_is_a_success_and_stays_one_file() {
    let dir = TempDir::new("folder-twice");
    let (instance, payload) = small(2);
    let archive = folder(dir.path(), Profile::default());
    // What a crash left behind is written over.
    std::fs::write(dir.path().join(format!(".{}.part", instance.sop_instance)), "half").unwrap();
    for _ in 0..2 {
        assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }));
    }
    assert_eq!(dir.files().len(), 1);
}

#[test]
fn another_file_under_its_name_is_never_written_over() {
    let dir = TempDir::new("folder-other");
    let (instance, payload) = small(3);
    let path = dir.path().join(format!("{}.dcm", instance.sop_instance));
    let mut other = file_bytes(&instance, &payload);
    *other.last_mut().unwrap() ^= 1;
    for other in [other, b"short".to_vec()] {
        std::fs::write(&path, &other).unwrap();
        let refused = store(&folder(dir.path(), Profile::default()), &instance, &payload).unwrap_err();
        assert_eq!((refused.code, refused.code.class()), (FailureCode::ArchiveRefusedObject, Class::Permanent));
        assert_eq!(std::fs::read(&path).unwrap(), other);
        assert_eq!(dir.files(), std::slice::from_ref(&path));
    }
}

#[test]
fn a_picture_that_cannot_be_read_to_its_end_leaves_nothing() {
    let dir = TempDir::new("folder-cut");
    let (instance, payload) = small(4);
    let cut = &payload[..payload.len() - 1];
    let refused = store(&folder(dir.path(), Profile::default()), &instance, cut).unwrap_err();
    assert_eq!(refused.code, FailureCode::SpoolUnreadable);
    assert!(dir.files().is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_waited_for_and_never_made() {
    let dir = TempDir::new("folder-gone");
    let unmounted = dir.path().join("pacs");
    let (instance, payload) = small(5);
    let archive = folder(&unmounted, Profile::default());
    let refused = store(&archive, &instance, &payload).unwrap_err();
    assert_eq!((refused.code, refused.code.class()), (FailureCode::ArchiveUnreachable, Class::Transient));
    assert!(refused.detail.contains("`path` of this [[archive]] is not there"), "{}", refused.detail);
    let found = archive.examine(Commitment::None, &[]);
    assert_eq!((found[0].grade, found[0].key), (Grade::Fail, "path"));
    assert!(!unmounted.exists());
    std::fs::create_dir(&unmounted).unwrap();
    assert_eq!(archive.examine(Commitment::None, &[])[0].grade, Grade::Pass);
    assert_eq!(archive.probe(), Ok(()));
    assert_eq!(store(&archive, &instance, &payload), Ok(Stored { warning: None }));
}

#[test]
fn text_is_written_in_latin_1_where_it_fits_and_only_there() {
    let dir = TempDir::new("folder-latin1");
    let archive = folder(dir.path(), Profile { character_set: CharacterSet::Latin1, ..Profile::default() });
    let (instance, payload) = small(6);
    let mut binding = full_binding();
    binding.patient.name_dicom = "Yamada^Tarou=山田^太郎".into();
    let japanese = dicom::build(&binding, &manifest(full_claim(), 7), &jpeg_picture(&payload, 64, 48, 3)).unwrap();
    for (instance, set, name, bytes) in [
        (&instance, "ISO_IR 100", "Müller^Jörg^Karl^Dr^Jr", &b"M\xFCller^J\xF6rg"[..]),
        (&japanese, "ISO_IR 192", "Yamada^Tarou=山田^太郎", "=山田^太郎".as_bytes()),
    ] {
        assert_eq!(store(&archive, instance, &payload), Ok(Stored { warning: None }));
        let path = dir.path().join(format!("{}.dcm", instance.sop_instance));
        assert_eq!(validator_errors(&path), Vec::<String>::new());
        let object = dicom_object::open_file(&path).unwrap();
        let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
        assert_eq!((text(tags::SPECIFIC_CHARACTER_SET).as_str(), text(tags::PATIENT_NAME).as_str()), (set, name));
        assert!(std::fs::read(&path).unwrap().windows(bytes.len()).any(|w| w == bytes), "{set}");
    }
}

#[test]
fn a_syntax_that_the_profile_leaves_out_is_refused_with_the_key_to_change() {
    let dir = TempDir::new("folder-syntax");
    let archive = folder(dir.path(), Profile { syntaxes: Some(vec![Syntax::ImplicitLe]), ..Profile::default() });
    let (instance, payload) = small(8);
    let refused = store(&archive, &instance, &payload).unwrap_err();
    assert_eq!((refused.code, refused.code.class()), (FailureCode::ArchiveRefusedClass, Class::Permanent));
    assert!(
        refused.detail.contains("1.2.840.10008.1.2.4.50, which `syntaxes` of this [[archive]] leaves out"),
        "{}",
        refused.detail
    );
    let decodes = Profile { syntaxes: Some(vec![Syntax::ExplicitLe]), fallback: true, ..Profile::default() };
    assert!(store(&folder(dir.path(), decodes), &instance, &payload).unwrap().warning.is_some());
    let file = dir.files().remove(0);
    assert_eq!(validator_errors(&file), Vec::<String>::new());
    std::fs::remove_file(file).unwrap();
    let native = dicom::build(&full_binding(), &manifest(full_claim(), 9), &native_picture(33, 21, 3)).unwrap();
    assert_eq!(store(&archive, &native, &noise(33, 21, 3)), Ok(Stored { warning: None }));
    let object = dicom_object::open_file(&dir.files()[0]).unwrap();
    assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), "1.2.840.10008.1.2");
}
