//! What the spool promises, and what it notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use shutterbridge::capture::{CaptureId, ItemId};
use shutterbridge::media::source::Source;
use shutterbridge::seal::aead::Kek;
use shutterbridge::seal::secret::Secret;
use shutterbridge::spool::{Damage, Entry, FreeMin, Name, Options, Present, Spool, SpoolError, Swept};

const CHUNK: usize = 64 * 1024;
const CANARY: &[u8] = b"CANARY-4711-Mueller";

/// A folder of its own, gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("shutterbridge-spool-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn spool(&self) -> PathBuf {
        self.0.join("data").join("spool")
    }

    fn live(&self, name: impl std::fmt::Display) -> PathBuf {
        self.spool().join("live").join(name.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kek(byte: u8) -> Kek {
    Kek::new(Secret::new([byte; 32]))
}

fn open(folder: &Folder) -> Spool {
    Spool::open(&folder.spool(), &kek(1), Options { free_min: FreeMin::Bytes(0) }).unwrap()
}

fn capture(n: u8) -> CaptureId {
    CaptureId::new(1_772_000_000_000 + u64::from(n), [n; 10])
}

/// Bytes that repeat nowhere near a chunk's length.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn promise(spool: &Spool, name: impl Into<Name>, bytes: &[u8], manifest: &[u8]) {
    let mut draft = spool.draft(name).unwrap();
    for piece in bytes.chunks(10_007) {
        draft.write(piece).unwrap();
    }
    spool.promise(vec![draft.finish(manifest).unwrap()]).unwrap();
}

fn read(spool: &Spool, name: impl Into<Name>) -> Result<Vec<u8>, SpoolError> {
    let mut reader = spool.payload(name)?;
    let mut out = Vec::new();
    loop {
        let chunk = reader.fill_chunk()?;
        if chunk.is_empty() {
            return Ok(out);
        }
        out.extend_from_slice(chunk);
    }
}

fn files(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_was_promised_reads_back_also_after_a_restart() {
    let folder = Folder::new();
    let lengths = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17];
    let spool = open(&folder);
    for (n, length) in lengths.into_iter().enumerate() {
        promise(&spool, capture(n as u8).item(0), &payload(length), format!("manifest {n}").as_bytes());
    }
    drop(spool);
    let spool = open(&folder);
    for (n, length) in lengths.into_iter().enumerate() {
        let item = capture(n as u8).item(0);
        assert_eq!(spool.payload(item).unwrap().len(), length as u64);
        assert_eq!(read(&spool, item).unwrap(), payload(length), "{length} bytes");
        assert_eq!(spool.manifest(item).unwrap(), format!("manifest {n}").as_bytes());
    }
}

#[test]
fn every_way_of_reading_gives_the_same_bytes() {
    let folder = Folder::new();
    let (spool, item) = (open(&folder), capture(1).item(0));
    let bytes = payload(3 * CHUNK + 17);
    promise(&spool, item, &bytes, b"");
    let mut whole = Vec::new();
    assert_eq!(spool.payload(item).unwrap().read_to_end(&mut whole).unwrap(), bytes.len());
    assert_eq!(whole, bytes);
    let mut reader = spool.payload(item).unwrap();
    let (mut small, mut out) = ([0; 1000], Vec::new());
    loop {
        let length = reader.read(&mut small).unwrap();
        if length == 0 {
            break;
        }
        out.extend_from_slice(&small[..length]);
        // A reader that begins small may go on in chunks.
        if out.len() > CHUNK {
            out.extend_from_slice(reader.fill_chunk().unwrap());
        }
    }
    assert_eq!(out, bytes);
    assert!(reader.fill_buf().unwrap().is_empty());
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing_behind() {
    let folder = Folder::new();
    let spool = open(&folder);
    let mut draft = spool.draft(capture(1).item(0)).unwrap();
    draft.write(&payload(3 * CHUNK)).unwrap();
    assert_eq!(files(&folder.spool().join("draft")).len(), 1);
    drop(draft);
    drop(spool.draft(capture(1).item(0)).unwrap().finish(b"manifest").unwrap());
    assert!(files(&folder.spool().join("draft")).is_empty());
    assert!(files(&folder.spool().join("live")).is_empty());
    assert_eq!(spool.payload(capture(1).item(0)).map(|_| ()), Err(SpoolError::Missing));
}

#[test]
fn drafts_of_a_killed_process_are_gone_when_the_spool_opens() {
    let folder = Folder::new();
    let spool = open(&folder);
    promise(&spool, capture(1).item(0), b"kept", b"");
    std::mem::forget(spool.draft(capture(2).item(0)).unwrap());
    drop(spool);
    let spool = open(&folder);
    assert!(files(&folder.spool().join("draft")).is_empty());
    assert_eq!(read(&spool, capture(1).item(0)).unwrap(), b"kept");
}

#[test]
fn two_gateways_cannot_own_one_spool() {
    let folder = Folder::new();
    let spool = open(&folder);
    assert_eq!(Spool::open(&folder.spool(), &kek(1), Options::default()).err(), Some(SpoolError::Locked));
    drop(spool);
    open(&folder);
}

#[test]
fn a_spool_of_a_newer_gateway_is_left_alone() {
    let folder = Folder::new();
    drop(open(&folder));
    fs::write(folder.spool().join("format"), "shutterbridge spool 2\n").unwrap();
    fs::write(folder.spool().join("draft").join("theirs"), "").unwrap();
    assert_eq!(Spool::open(&folder.spool(), &kek(1), Options::default()).err(), Some(SpoolError::Newer(2)));
    assert!(folder.spool().join("draft").join("theirs").exists());
}

#[test]
fn nothing_that_was_said_stands_on_the_disk_in_clear() {
    let folder = Folder::new();
    let (spool, item) = (open(&folder), capture(1).item(0));
    let mut draft = spool.draft(item).unwrap();
    for _ in 0..9000 {
        draft.write(CANARY).unwrap();
    }
    let canary_is_anywhere = || {
        let mut folders = vec![folder.0.clone()];
        while let Some(path) = folders.pop() {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if fs::read(path).unwrap().windows(CANARY.len()).any(|w| w == CANARY) {
                    return true;
                }
            }
        }
        false
    };
    assert!(!canary_is_anywhere());
    spool.promise(vec![draft.finish(CANARY).unwrap()]).unwrap();
    spool.attach(Name::Binding(capture(1)), CANARY).unwrap();
    promise(&spool, Name::Derived(item), CANARY, CANARY);
    assert!(!canary_is_anywhere());
    assert_eq!(spool.manifest(item).unwrap(), CANARY);
}

#[test]
fn only_the_gateway_may_read_its_files() {
    let folder = Folder::new();
    let spool = open(&folder);
    promise(&spool, capture(1).item(0), b"photo", b"");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["", "draft", "live", "quarantine"] {
        assert_eq!(mode(&folder.spool().join(name)), 0o700, "{name}");
    }
    assert_eq!(mode(&folder.live("").join(capture(1).item(0).to_string() + ".item")), 0o600);
}

/// Everything a caller can learn from a file; an error where any of it is not as it was sealed.
fn read_all(spool: &Spool, item: ItemId) -> Result<(Vec<u8>, Vec<u8>), SpoolError> {
    Ok((read(spool, item)?, spool.manifest(item)?))
}

#[test]
fn no_flipped_byte_of_a_sealed_file_goes_unseen() {
    let folder = Folder::new();
    let (spool, item) = (open(&folder), capture(1).item(0));
    promise(&spool, item, &payload(CHUNK + 300), b"manifest");
    let path = folder.live(Name::Item(item));
    let sound = fs::read(&path).unwrap();
    // All of the header, the seams and the end, and a byte here and there between.
    let seams = [0, 128 + CHUNK, sound.len() - 400];
    let places = seams.into_iter().flat_map(|at| at..at + 400).chain((0..sound.len()).step_by(4099));
    for at in places.filter(|at| *at < sound.len()) {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let seen = read_all(&spool, item);
        assert!(matches!(seen, Err(SpoolError::Damaged(_))), "byte {at}: {:?}", seen.map(|_| ()));
    }
    fs::write(&path, &sound).unwrap();
    assert!(read_all(&spool, item).is_ok());
}

#[test]
fn a_file_cut_anywhere_or_grown_is_seen_before_its_payload_is_read() {
    let folder = Folder::new();
    let (spool, item) = (open(&folder), capture(1).item(0));
    promise(&spool, item, &payload(2 * CHUNK), b"manifest");
    let path = folder.live(Name::Item(item));
    let sound = fs::read(&path).unwrap();
    let cuts = (0..200).chain((0..sound.len()).step_by(997)).chain(sound.len() - 200..sound.len());
    for cut in cuts {
        fs::write(&path, &sound[..cut]).unwrap();
        assert!(matches!(spool.payload(item), Err(SpoolError::Damaged(_))), "cut at {cut}");
        assert!(matches!(spool.manifest(item), Err(SpoolError::Damaged(_))), "cut at {cut}");
    }
    // A file that lost a page in a power cut has its length and a hole.
    let mut hole = sound.clone();
    hole[4096..8192].fill(0);
    fs::write(&path, &hole).unwrap();
    assert_eq!(read(&spool, item), Err(SpoolError::Damaged(Damage::Altered)));
    fs::write(&path, [&sound[..], b"x"].concat()).unwrap();
    assert_eq!(spool.payload(item).map(|_| ()), Err(SpoolError::Damaged(Damage::Torn)));
}

#[test]
fn chunks_that_were_exchanged_left_out_or_doubled_are_seen() {
    let folder = Folder::new();
    let (spool, item) = (open(&folder), capture(1).item(0));
    promise(&spool, item, &vec![7; 4 * CHUNK], b"manifest");
    let path = folder.live(Name::Item(item));
    let sound = fs::read(&path).unwrap();
    let sealed = CHUNK + 16;
    let header = &sound[..128];
    let chunks: Vec<&[u8]> = sound[128..128 + 4 * sealed].chunks(sealed).collect();
    let rest = &sound[128 + 4 * sealed..];
    let orders: [&[usize]; 6] = [&[1, 0, 2, 3], &[0, 1, 3, 2], &[0, 0, 1, 3], &[0, 1, 3], &[0, 1, 2, 2, 3], &[3, 1, 2, 0]];
    for order in orders {
        let mut bytes = header.to_vec();
        for n in order {
            bytes.extend_from_slice(chunks[*n]);
        }
        bytes.extend_from_slice(rest);
        fs::write(&path, bytes).unwrap();
        assert!(read(&spool, item).is_err(), "{order:?}");
    }
}

#[test]
fn files_that_were_exchanged_are_seen() {
    let folder = Folder::new();
    let spool = open(&folder);
    let (one, two) = (capture(1).item(0), capture(2).item(0));
    promise(&spool, one, b"one", b"manifest");
    promise(&spool, two, b"two", b"manifest");
    spool.attach(Name::Binding(capture(1)), b"binding").unwrap();
    fs::copy(folder.live(Name::Item(one)), folder.live(Name::Item(two))).unwrap();
    assert_eq!(read(&spool, two), Err(SpoolError::Damaged(Damage::Misnamed)));
    fs::copy(folder.live(Name::Item(one)), folder.live(Name::Binding(capture(1)))).unwrap();
    assert_eq!(read(&spool, Name::Binding(capture(1))), Err(SpoolError::Damaged(Damage::Misnamed)));
    // The header of one with the body of the other.
    let bytes = fs::read(folder.live(Name::Item(one))).unwrap();
    promise(&spool, capture(3).item(0), b"one", b"manifest");
    let path = folder.live(Name::Item(capture(3).item(0)));
    let other = fs::read(&path).unwrap();
    fs::write(&path, [&other[..128], &bytes[128..]].concat()).unwrap();
    assert!(matches!(read(&spool, capture(3).item(0)), Err(SpoolError::Damaged(_))));
}

#[test]
fn another_key_is_told_by_its_id_and_opens_nothing() {
    let folder = Folder::new();
    promise(&open(&folder), capture(1).item(0), b"photo", b"");
    let spool = Spool::open(&folder.spool(), &kek(2), Options::default()).unwrap();
    assert_eq!(read(&spool, capture(1).item(0)), Err(SpoolError::Damaged(Damage::OtherKey(kek(1).id()))));
    let listed: Vec<Entry> = spool.list().unwrap().collect();
    assert!(matches!(&listed[0], Entry::Damaged { why: Damage::OtherKey(_), .. }), "{listed:?}");
    assert_eq!(spool.sweep_orphans(&[], |_| false), Ok(Swept::default()), "what cannot be opened is never swept");
}

fn finished(spool: &Spool, capture: CaptureId, items: u16) -> Vec<shutterbridge::spool::Finished> {
    (0..items).map(|n| spool.draft(capture.item(n)).unwrap().finish(b"manifest").unwrap()).collect()
}

#[test]
fn a_capture_of_several_items_is_promised_whole_or_not_at_all() {
    let folder = Folder::new();
    let spool = open(&folder);
    spool.promise(finished(&spool, capture(1), 3)).unwrap();
    let whole = Present { id: capture(1), items: vec![0, 1, 2], binding: false, stopped: false, derived: vec![], stills: vec![] };
    assert_eq!(spool.list().unwrap().collect::<Vec<_>>(), [Entry::Capture(whole.clone())]);
    // The last file of the second capture cannot have its name: it is taken.
    promise(&spool, capture(2).item(2), b"", b"");
    assert_eq!(spool.promise(finished(&spool, capture(2), 3)), Err(SpoolError::Exists));
    assert_eq!(files(&folder.spool().join("live")).len(), 4, "only what was there before");
    assert!(files(&folder.spool().join("draft")).is_empty());
    // The head of the third cannot: its other items go again.
    promise(&spool, capture(3).item(0), b"", b"");
    assert_eq!(spool.promise(finished(&spool, capture(3), 3)), Err(SpoolError::Exists));
    assert_eq!(files(&folder.spool().join("live")).len(), 5);
}

#[test]
fn items_that_were_never_promised_are_swept_and_what_lost_its_head_is_put_aside() {
    let folder = Folder::new();
    let spool = open(&folder);
    for n in 1..=4 {
        spool.promise(finished(&spool, capture(n), 3)).unwrap();
    }
    spool.attach(Name::Binding(capture(2)), b"binding").unwrap();
    for n in 2..=4 {
        fs::remove_file(folder.live(Name::Item(capture(n).item(0)))).unwrap();
    }
    let listed: Vec<Entry> = spool.list().unwrap().collect();
    assert!(matches!(&listed[1], Entry::Orphan(o) if o.items == [1, 2] && o.binding), "{listed:?}");
    // The third has a row in the journal; the fourth nobody ever heard of.
    let swept = spool.sweep_orphans(&[], |id| id == capture(3)).unwrap();
    assert_eq!(swept, Swept { erased: 1, put_aside: vec![capture(2), capture(3)] });
    assert_eq!(spool.list().unwrap().count(), 1);
    assert_eq!(files(&folder.spool().join("live")).len(), 3);
    let aside = files(&folder.spool().join("quarantine"));
    assert_eq!(aside.len(), 3 + 1 + 2 + 1, "files and reasons: {aside:?}");
}

#[test]
fn of_a_known_capture_no_file_is_looked_at() {
    let folder = Folder::new();
    let spool = open(&folder);
    (1..=3).for_each(|n| spool.promise(finished(&spool, capture(n), 2)).unwrap());
    fs::write(folder.live(Name::Item(capture(1).item(0))), "rubbish").unwrap();
    fs::remove_file(folder.live(Name::Item(capture(2).item(0)))).unwrap();
    let mut listing = spool.list_beyond(vec![capture(1), capture(2)]).unwrap();
    assert!(matches!(listing.next(), Some(Entry::Orphan(o)) if o.id == capture(2)), "known, and its head is gone");
    assert!(matches!(listing.next(), Some(Entry::Capture(c)) if c.id == capture(3)));
    assert_eq!((listing.next(), listing.passed_over()), (None, 1));
}

#[test]
fn damage_is_listed_and_stops_nothing() {
    let folder = Folder::new();
    let spool = open(&folder);
    for n in 1..=5 {
        spool.promise(finished(&spool, capture(n), 2)).unwrap();
    }
    fs::write(folder.live("readme.txt"), "hello").unwrap();
    fs::write(folder.live(Name::Item(capture(2).item(0))), "hello").unwrap();
    let torn = folder.live(Name::Item(capture(3).item(1)));
    fs::write(&torn, &fs::read(&torn).unwrap()[..150]).unwrap();
    fs::remove_file(folder.live(Name::Item(capture(4).item(0)))).unwrap();
    fs::create_dir(folder.live(Name::Item(capture(4).item(0)))).unwrap();
    let mut whole = Vec::new();
    let mut damaged = Vec::new();
    for entry in spool.list().unwrap() {
        match entry {
            Entry::Capture(present) => whole.push((present.id, present.items)),
            Entry::Damaged { name, why } => damaged.push((name, why)),
            Entry::Orphan(orphan) => panic!("{orphan:?}"),
        }
    }
    assert_eq!(
        whole,
        [(capture(1), vec![0, 1]), (capture(2), vec![1]), (capture(3), vec![0]), (capture(4), vec![1]), (capture(5), vec![0, 1])]
    );
    assert_eq!(damaged[0], ("readme.txt".to_owned(), Damage::Foreign));
    assert_eq!(damaged[2].1, Damage::Torn);
    assert_eq!(damaged.len(), 4, "{damaged:?}");
}

#[test]
fn attachments_are_read_replaced_and_taken_away() {
    let folder = Folder::new();
    let (spool, item) = (open(&folder), capture(1).item(0));
    let (binding, derived, stills) = (Name::Binding(capture(1)), Name::Derived(item), Name::Stills(item));
    promise(&spool, item, b"photo", b"");
    assert_eq!(spool.has(binding), Ok(false));
    spool.attach(binding, b"first").unwrap();
    spool.attach(binding, b"second").unwrap();
    promise(&spool, derived, &payload(2 * CHUNK), b"");
    promise(&spool, stills, b"stills", b"");
    assert_eq!(read(&spool, binding).unwrap(), b"second");
    assert_eq!(read(&spool, derived).unwrap(), payload(2 * CHUNK));
    let listed: Vec<Entry> = spool.list().unwrap().collect();
    let whole = Present { id: capture(1), items: vec![0], binding: true, stopped: false, derived: vec![0], stills: vec![0] };
    assert_eq!(listed, [Entry::Capture(whole)]);
    for name in [derived, stills] {
        spool.detach(name).unwrap();
        assert_eq!(spool.has(name), Ok(false));
    }
    spool.detach(Name::Item(item)).unwrap();
    assert_eq!(spool.has(item), Ok(true), "an item goes with its capture only");
}

#[test]
fn a_removed_capture_cannot_be_opened_from_a_copy_of_the_folder_made_after_its_keys_went() {
    let folder = Folder::new();
    let spool = open(&folder);
    spool.promise(finished(&spool, capture(1), 2)).unwrap();
    spool.attach(Name::Binding(capture(1)), b"binding").unwrap();
    // A second name keeps the file itself, as a power cut between the two steps would.
    let (path, kept) = (folder.live(Name::Item(capture(1).item(0))), folder.0.join("kept"));
    fs::hard_link(&path, &kept).unwrap();
    spool.remove(capture(1), 2).unwrap();
    assert!(files(&folder.spool().join("live")).is_empty());
    spool.remove(capture(1), 2).unwrap();
    fs::rename(&kept, &path).unwrap();
    assert_eq!(read(&spool, capture(1).item(0)), Err(SpoolError::Damaged(Damage::Erased)));
    assert!(matches!(spool.list().unwrap().next(), Some(Entry::Orphan(_))), "half erased is no damage");
    assert_eq!(spool.sweep_orphans(&[], |_| true), Ok(Swept { erased: 1, put_aside: vec![] }));
    assert!(files(&folder.spool().join("live")).is_empty());
}

#[test]
fn a_capture_put_aside_leaves_the_list_and_keeps_its_bytes_and_the_reason() {
    let folder = Folder::new();
    let spool = open(&folder);
    spool.promise(finished(&spool, capture(1), 2)).unwrap();
    spool.attach(Name::Binding(capture(1)), b"binding").unwrap();
    let bytes = fs::read(folder.live(Name::Item(capture(1).item(1)))).unwrap();
    spool.quarantine(capture(1), 2, "item 1 does not open").unwrap();
    assert_eq!(spool.list().unwrap().count(), 0);
    let aside = folder.spool().join("quarantine");
    assert_eq!(fs::read(aside.join(Name::Item(capture(1).item(1)).to_string())).unwrap(), bytes);
    assert_eq!(fs::read_to_string(aside.join(format!("{}.reason", capture(1)))).unwrap(), "item 1 does not open");
    assert_eq!(files(&aside).len(), 4);
}

#[test]
fn room_is_refused_before_the_disk_is_full_and_given_back() {
    let folder = Folder::new();
    let free_bytes = open(&folder).capacity().unwrap().free_bytes;
    let keep = FreeMin::Bytes(free_bytes.saturating_sub(1 << 30));
    let spool = Spool::open(&folder.spool(), &kek(1), Options { free_min: keep }).unwrap();
    assert_eq!(spool.reserve(2 << 30).err(), Some(SpoolError::Full));
    let held = spool.reserve(600 << 20).expect("a GiB is free");
    assert_eq!(spool.reserve(600 << 20).err(), Some(SpoolError::Full), "two requests do not share the same room");
    drop(held);
    assert!(spool.reserve(600 << 20).is_ok());
    drop(spool);
    let spool = Spool::open(&folder.spool(), &kek(1), Options { free_min: FreeMin::Percent(100) }).unwrap();
    assert_eq!(spool.reserve(1).err(), Some(SpoolError::Full));
}

#[test]
fn sixteen_threads_promise_list_and_remove_and_nothing_is_lost_or_invented() {
    let folder = Folder::new();
    let spool = open(&folder);
    std::thread::scope(|scope| {
        for thread in 0..16u8 {
            let spool = spool.clone();
            scope.spawn(move || {
                for n in 0..12u8 {
                    let id = CaptureId::new(u64::from(thread), [n; 10]);
                    let items = u16::from(n % 3) + 1;
                    spool.promise(finished(&spool, id, items)).unwrap();
                    spool.attach(Name::Binding(id), &[thread, n]).unwrap();
                    if n % 4 == 3 {
                        spool.remove(id, items).unwrap();
                    }
                }
            });
        }
        for _ in 0..40 {
            // A removal may be seen half done, a promise never; sweeping disturbs neither.
            assert!(spool.list().unwrap().all(|e| !matches!(e, Entry::Damaged { .. })));
            spool.sweep_orphans(&[], |_| false).unwrap();
        }
    });
    let listed: Vec<Entry> = spool.list().unwrap().collect();
    assert_eq!(listed.len(), 16 * 9);
    for entry in listed {
        let Entry::Capture(present) = entry else { panic!("{entry:?}") };
        let n = present.id.to_bytes()[15];
        assert_eq!(present.items.len(), usize::from(n % 3) + 1);
        assert_eq!(read(&spool, Name::Binding(present.id)).unwrap()[1], n);
    }
}

// ---------------------------------------------------------------- drafts whose key is in memory

fn read_at(source: &dyn Source, at: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    source.read_at(at as u64, &mut bytes).unwrap();
    bytes
}

fn draft_bytes(folder: &Folder) -> Vec<u8> {
    let drafts: Vec<_> = fs::read_dir(folder.spool().join("draft")).unwrap().collect();
    assert_eq!(drafts.len(), 1);
    fs::read(drafts[0].as_ref().unwrap().path()).unwrap()
}

#[test]
fn a_draft_without_its_key_is_read_back_at_any_place_and_opened_by_nobody() {
    let folder = Folder::new();
    let spool = open(&folder);
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 7] {
        let bytes = payload(length);
        let mut draft = spool.unkeyed_draft(capture(1).item(0)).unwrap();
        draft.write(&bytes).unwrap();
        let back = draft.read_back().unwrap();
        assert_eq!(back.length_bytes(), length as u64);
        for (at, many) in
            [(0, length), (length / 2, length / 3), (length.saturating_sub(1), length.min(1)), (CHUNK - 3, 6), (0, 1)]
        {
            if at + many <= length {
                assert_eq!(read_at(&back, at, many), bytes[at..at + many], "{many} at {at} of {length}");
            }
        }
        let mut beyond = [0; 2];
        assert!(back.read_at(length as u64, &mut beyond).is_err() && back.read_at(u64::MAX, &mut beyond).is_err());
        assert_eq!(back.failure(), None, "that was no fault of the disk");
        let lies = draft_bytes(&folder);
        assert!(lies[..128].iter().all(|b| *b == 0), "a key is on the disk");
        assert!(length < 64 || !lies.windows(32).any(|w| w == &bytes[..32]));
        assert_eq!(draft.write(b"more"), Err(SpoolError::Broken), "what was read back is complete");
    }
    assert_eq!(fs::read_dir(folder.spool().join("draft")).unwrap().count(), 0);
}

#[test]
fn a_draft_sealed_anew_over_itself_holds_the_new_and_nothing_of_the_old() {
    let folder = Folder::new();
    let spool = open(&folder);
    for (n, (before, after)) in
        [(5 * CHUNK + 7, 5 * CHUNK + 7), (5 * CHUNK, 3 * CHUNK), (4 * CHUNK + 1, 4 * CHUNK), (10, 0)].into_iter().enumerate()
    {
        let item = capture(n as u8).item(0);
        let old = payload(before);
        let mut received = spool.unkeyed_draft(item).unwrap();
        received.write(&old).unwrap();
        let source = received.read_back().unwrap();
        let was = draft_bytes(&folder);
        let mut kept = spool.reseal(received).unwrap();
        let mut new = Vec::new();
        for at in (0..after).step_by(10_000) {
            let mut part = read_at(&source, at, 10_000.min(after - at));
            part[0] ^= 1;
            kept.write(&part).unwrap();
            new.extend(part);
        }
        drop(source);
        let back = kept.read_back().unwrap();
        assert_eq!(read_at(&back, 0, after), new);
        let is = draft_bytes(&folder);
        assert!(is[..128].iter().all(|b| *b == 0), "a key is on the disk before the end");
        for (a, b) in was[128..128 + after].chunks(CHUNK + 16).zip(is[128..].chunks(CHUNK + 16)) {
            assert!(a.len() < 32 || a[..16] != b[..16], "a chunk was left as it was");
        }
        spool.promise(vec![kept.finish(b"manifest").unwrap()]).unwrap();
        let mut opened = Vec::new();
        spool.payload(item).unwrap().read_to_end(&mut opened).unwrap();
        assert_eq!(opened, new);
        assert_eq!(spool.manifest(item).unwrap(), b"manifest");
        let chunks = after.div_ceil(CHUNK).max(1);
        assert_eq!(fs::metadata(folder.live(Name::Item(item))).unwrap().len(), (128 + after + 16 * chunks + 8 + 16 + 48) as u64);
    }
}

#[test]
fn what_was_written_over_cannot_be_read_by_whoever_still_reads_the_old() {
    let folder = Folder::new();
    let spool = open(&folder);
    let mut received = spool.unkeyed_draft(capture(1).item(0)).unwrap();
    received.write(&payload(8 * CHUNK)).unwrap();
    let source = received.read_back().unwrap();
    let mut kept = spool.reseal(received).unwrap();
    kept.write(&payload(5 * CHUNK)).unwrap();
    let mut byte = [0];
    assert!(source.read_at(0, &mut byte).is_err());
    assert_eq!(source.failure(), Some(SpoolError::Damaged(Damage::Altered)));
    assert!(source.read_at(7 * CHUNK as u64, &mut byte).is_ok(), "the rest is as it was");
}
