//! What leaves a scrub of MP4 and `QuickTime`, as a user would look at it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::similar_names)]

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use shutterbridge::capture::claim::parse_taken_at;
use shutterbridge::capture::media::{Coding, Essence, MediaKind};
use shutterbridge::media::source::Source;
use shutterbridge::scrub::container::{self, CopyError};
use shutterbridge::scrub::{Limits, Purpose, ScrubCode, ScrubError, Scrubbed, verify};

/// Stands wherever a file has room for a word; may come out nowhere.
const CANARY: &[u8] = b"ZYXCANARY";

type Outcome = Result<(Vec<u8>, Scrubbed), ScrubError>;

fn scrub(file: &[u8]) -> Outcome {
    let mut out = Vec::new();
    let mut sink = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<(), Infallible>(())
    };
    match container::scrub(&Bytes(file), Purpose::File, &Limits::default(), &mut sink) {
        Ok(scrubbed) => Ok((out, scrubbed)),
        Err(CopyError::Scrub(error)) => Err(error),
        Err(CopyError::Read(error)) => panic!("memory can be read: {error}"),
        Err(CopyError::Sink(never)) => match never {},
    }
}

/// Never asked for more than there is, whatever the file says.
struct Bytes<'b>(&'b [u8]);

impl Source for Bytes<'_> {
    fn length_bytes(&self) -> u64 {
        self.0.length_bytes()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        assert!(into.len() <= self.0.len(), "{} bytes asked of a file of {}", into.len(), self.0.len());
        self.0.read_at(at, into)
    }
}

fn holds(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).any(|w| w == pattern)
}

// ---------------------------------------------------------------- a writer of films

fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &kind, &body].concat()
}

fn long(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_be_bytes()
}

/// A unit of H.264, with its length before it.
fn unit(first: u8, body: &[u8]) -> Vec<u8> {
    [&long(body.len() + 1)[..], &[first], body].concat()
}

const SLICE: u8 = 0x65;
const MESSAGE: u8 = 0x06;

fn picture(seed: u8) -> Vec<u8> {
    let message = [&[5, 9][..], CANARY, &[0x80]].concat();
    [unit(MESSAGE, &message), unit(SLICE, &[seed | 1; 40])].concat()
}

/// The same without its words.
fn quiet(seed: u8) -> Vec<u8> {
    [unit(MESSAGE, &[&[5, 9][..], &[0xFF; 9], &[0x80]].concat()), unit(SLICE, &[seed | 1; 40])].concat()
}

#[derive(Clone)]
struct Track {
    id: usize,
    handler: [u8; 4],
    entry: Vec<u8>,
    samples: Vec<Vec<u8>>,
    more: Vec<u8>,
}

fn avc() -> Vec<u8> {
    let mut fields = [0; 78];
    fields[7] = 1;
    fields[24..28].copy_from_slice(&[2, 128, 1, 224]);
    fields[42..52].copy_from_slice(b"\x09ZYXCANARY");
    boxed(*b"avc1", &[&fields, &boxed(*b"avcC", &[&[1, 100, 0, 40, 0xFF, 0xE0, 0]]), &boxed(*b"name", &[CANARY])])
}

fn sound_entry() -> Vec<u8> {
    let mut fields = [0; 28];
    fields[7] = 1;
    fields[12..16].copy_from_slice(b"ZYXC");
    boxed(*b"mp4a", &[&fields, &boxed(*b"esds", &[&[0; 4], b"decoder"])])
}

fn pictures(id: usize) -> Track {
    Track { id, handler: *b"vide", entry: avc(), samples: vec![picture(1), picture(2), picture(3)], more: Vec::new() }
}

fn sound(id: usize) -> Track {
    Track {
        id,
        handler: *b"soun",
        entry: sound_entry(),
        samples: vec![b"sound one".to_vec(), b"and two".to_vec()],
        more: Vec::new(),
    }
}

fn sensor(id: usize) -> Track {
    let sample = [b"GPS5l\x14\0\x01", CANARY].concat();
    Track { id, handler: *b"meta", entry: boxed(*b"gpmd", &[&[0; 6], &[0, 1], CANARY]), samples: vec![sample], more: Vec::new() }
}

#[derive(Clone)]
struct Film {
    brand: [u8; 4],
    tracks: Vec<Track>,
    index_first: bool,
    wide: bool,
    in_index: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Film {
    fn write(&self) -> Vec<u8> {
        let ftyp = boxed(*b"ftyp", &[&self.brand, b"ZYXCisomZYXC"]);
        let front = ftyp.len() + self.before.len() + 8 + if self.index_first { self.moov(0).len() } else { 0 };
        let moov = self.moov(front);
        let media = boxed(*b"mdat", &[&self.media()]);
        let (a, b) = if self.index_first { (moov, media) } else { (media, moov) };
        [ftyp, self.before.clone(), a, b, self.after.clone()].concat()
    }

    /// Each sample in a chunk of its own, the canary behind each.
    fn media(&self) -> Vec<u8> {
        let samples = self.tracks.iter().flat_map(|track| &track.samples);
        samples.flat_map(|sample| [sample.as_slice(), CANARY].concat()).collect()
    }

    fn moov(&self, mut at: usize) -> Vec<u8> {
        let mut parts = boxed(*b"mvhd", &[&[0; 4], &[0xE0, 0, 0, 0], b"ZYXC", &[0; 88]]);
        for track in &self.tracks {
            parts.extend(self.trak(track, &mut at));
        }
        boxed(*b"moov", &[&parts, &self.in_index])
    }

    fn trak(&self, track: &Track, at: &mut usize) -> Vec<u8> {
        let (mut sizes, mut offsets) = (Vec::new(), Vec::new());
        for sample in &track.samples {
            sizes.extend(long(sample.len()));
            offsets.extend(if self.wide { (*at as u64).to_be_bytes().to_vec() } else { long(*at).to_vec() });
            *at += sample.len() + CANARY.len();
        }
        let count = long(track.samples.len());
        let head = [0u8; 4];
        let table = [
            boxed(*b"stsd", &[&head, &long(1), &track.entry]),
            boxed(*b"stts", &[&head, &long(1), &count, &long(10), CANARY]),
            boxed(*b"stsc", &[&head, &long(1), &long(1), &long(1), &long(1)]),
            boxed(*b"stsz", &[&head, &[0; 4], &count, &sizes]),
            boxed(if self.wide { *b"co64" } else { *b"stco" }, &[&head, &count, &offsets]),
            boxed(*b"sgpd", &[CANARY]),
        ]
        .concat();
        let url = boxed(*b"url ", &[&[0, 0, 0, 1], CANARY]);
        let minf = [
            boxed(*b"hdlr", &[&head, b"dhlralis", &[0; 12], CANARY]),
            boxed(*b"dinf", &[&boxed(*b"dref", &[&head, &long(1), &url])]),
            boxed(*b"stbl", &[&table]),
        ]
        .concat();
        let mdia = [
            boxed(*b"mdhd", &[&head, b"ZYXCZYXC", &[0; 16]]),
            boxed(*b"hdlr", &[&head, b"mhlr", &track.handler, b"ZYXC", &[0; 8], CANARY]),
            boxed(*b"minf", &[&minf]),
        ]
        .concat();
        let tkhd = boxed(*b"tkhd", &[&[0, 0, 0, 1], b"ZYXCZYXC", &long(track.id), &[0; 68]]);
        boxed(*b"trak", &[&tkhd, &boxed(*b"tref", &[&boxed(*b"chap", &[&long(9)])]), &boxed(*b"mdia", &[&mdia]), &track.more])
    }
}

fn plain() -> Film {
    Film {
        brand: *b"isom",
        tracks: vec![pictures(1), sound(2)],
        index_first: false,
        wide: false,
        in_index: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
    }
}

/// A film with something to hide in every place at once.
fn film() -> Film {
    let place = boxed(*b"\xA9xyz", &[b"\0\x12\x15\xc7+47.1372+009.5238/"]);
    let mut second = pictures(4);
    second.samples.iter_mut().for_each(|sample| sample.extend(unit(SLICE, CANARY)));
    let mut first = pictures(1);
    first.more = [boxed(*b"udta", &[CANARY]), boxed(*b"meta", &[CANARY]), boxed(*b"uuid", &[CANARY])].concat();
    Film {
        tracks: vec![sensor(3), first, sound(2), second, sensor(5)],
        in_index: [boxed(*b"udta", &[&place, &[0; 4]]), boxed(*b"free", &[CANARY]), vec![0; 4]].concat(),
        before: [boxed(*b"wide", &[]), boxed(*b"uuid", &[CANARY]), boxed(*b"skip", &[CANARY])].concat(),
        after: [boxed(*b"meta", &[CANARY]), CANARY.to_vec()].concat(),
        ..plain()
    }
}

// ---------------------------------------------------------------- what stays and what goes

#[test]
fn a_film_leaves_with_its_pictures_its_sound_and_nothing_else() {
    for index_first in [false, true] {
        for wide in [false, true] {
            let file = Film { index_first, wide, ..film() }.write();
            let (out, scrubbed) = scrub(&file).unwrap();
            assert!(!holds(&out, CANARY) && !holds(&out, b"ZYXC"));
            assert_eq!(out.len() + CANARY.len(), file.len(), "nothing moved; only the trailer is cut off");
            for seed in [1, 2, 3] {
                let at = file.windows(picture(seed).len()).position(|w| w == picture(seed));
                let at = at.unwrap();
                assert!(out[at..].starts_with(&quiet(seed)), "the picture is bit for bit the same, at the same place");
            }
            assert!(holds(&out, b"sound one") && holds(&out, b"and two"));
            let tracks = out.windows(4).filter(|w| *w == b"trak").count();
            assert_eq!(tracks, 2);
            assert!(scrubbed.location_found);
            let removed = "video.chapters video.free video.meta video.name video.padding video.sei video.track video.trailer \
                           video.udta video.unknown video.unreferenced video.uuid";
            assert_eq!(scrubbed.removed.join(" "), removed);
            assert_eq!((scrubbed.media, scrubbed.essence), (MediaKind::Mp4, Essence::Unchanged));
            let format = scrubbed.facts.format;
            assert_eq!((format.width, format.height, format.coding), (640, 480, Coding::Video));
            assert_eq!(scrubbed.plan.length(), file.len() as u64, "the plan speaks of every byte");
        }
    }
}

#[test]
fn a_film_tells_when_it_was_taken_and_the_scrubbed_one_does_not() {
    let (out, scrubbed) = scrub(&plain().write()).unwrap();
    // 0xE0000000 seconds after 1904.
    let taken = parse_taken_at("2023-02-01T11:39:44Z").map(|t| t.local);
    assert_eq!(scrubbed.facts.taken_at.map(|t| t.local), taken, "{:?}", scrubbed.facts.taken_at);
    assert_eq!(scrub(&out).unwrap().1.facts.taken_at, None);
}

#[test]
fn the_kind_is_told_by_the_bytes() {
    let quicktime = Film { brand: *b"qt  ", ..plain() }.write();
    assert_eq!(scrub(&quicktime).unwrap().1.media, MediaKind::QuickTime);
    let without = &quicktime[24..];
    assert!(without[4..].starts_with(b"mdat"), "old films begin without a type");
    assert!(matches!(scrub(without), Err(e) if e.code == ScrubCode::DamagedMedia), "and this one has lost its place");
}

#[test]
fn a_position_is_found_in_a_track_of_sensors() {
    for (what, sample, found) in [
        ("action camera", &b"DEVC....GPS5l\x14\0\x01"[..], true),
        ("camera motion", &[0, 0, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8], true),
        ("gyroscope", &[0, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8], false),
    ] {
        let mut file = plain();
        file.tracks.push(Track { samples: vec![sample.to_vec()], ..sensor(3) });
        let (out, scrubbed) = scrub(&file.write()).unwrap();
        assert_eq!(scrubbed.location_found, found, "{what}");
        assert!(!holds(&out, sample), "{what}");
    }
}

/// How the tracks of a film are coded, with a word in every place that a decoder does not read.
fn talkative(kind: [u8; 4]) -> Film {
    let descriptor = |tag: u8, body: &[u8]| [&[tag, 0x80, u8::try_from(body.len()).unwrap()][..], body].concat();
    let configuration = descriptor(5, &[&b"\x11\x90"[..], &[1; 6], CANARY].concat());
    let decoder = descriptor(4, &[&[0x40, 0x15][..], &[0; 11], &configuration, &descriptor(0x13, CANARY)].concat());
    let address = [&[9][..], CANARY].concat();
    let stream = descriptor(3, &[&[0, 2, 0x40][..], &address, &decoder, &descriptor(6, b"\x02ZYXCANARY")].concat());
    let esds = boxed(*b"esds", &[&[0; 4], &stream, &descriptor(0x45, CANARY), CANARY]);
    let wave = boxed(*b"wave", &[&boxed(*b"frma", &[b"mp4a", CANARY]), &esds, &boxed(*b"zyxc", &[CANARY]), &boxed([0; 4], &[])]);
    let channels = boxed(*b"chan", &[&[0; 15], &[1], &[0, 0, 0, 42], &[0; 4], b"ZYXCANARY\0\0\0", CANARY]);
    let mut fields = [0; 28];
    fields[..8].copy_from_slice(b"ZYXCAN\0\x01");
    let sound_entry = boxed(*b"mp4a", &[&fields, &wave, &channels, &boxed(*b"dac3", &[b"\x10\x3d\xe0", CANARY])]);
    let set = |first: &[u8]| [&[0, u8::try_from(first.len() + 11).unwrap()][..], first, &[5, 9], CANARY].concat();
    let record = if kind == *b"avc1" {
        boxed(*b"avcC", &[&[1, 100, 0, 40, 0xFF, 0xE1], b"\0\x03\x67ab", &[2], b"\0\x03\x68cd", &set(b"\x06"), CANARY])
    } else {
        let lists = [&b"\x20\0\x02\0\x04\x40\x01ab"[..], &set(b"\x4e\x01"), b"\x27\0\x01", &set(b"\x4e\x01")].concat();
        boxed(*b"hvcC", &[&[1; 21], &[3, 2], &lists, CANARY])
    };
    let boxes = [
        record,
        boxed(*b"pasp", &[&[0, 0, 0, 1, 0, 0, 0, 1], CANARY]),
        boxed(*b"colr", &[b"nclx\0\x01\0\x01\0\x01\0", CANARY]),
        boxed(*b"colr", &[b"zyxc", CANARY]),
        boxed(*b"dvvC", &[b"\x01\0\x10\x25\x40", CANARY, &[0; 10]]),
        boxed(*b"d263", &[b"ZYXC\x01\x0a\0", CANARY]),
    ];
    let mut fields = [0; 78];
    fields[..8].copy_from_slice(b"ZYXCAN\0\x01");
    fields[16..24].copy_from_slice(b"ZYXCANAR");
    fields[24..28].copy_from_slice(&[2, 128, 1, 224]);
    let sample = unit(if kind == *b"avc1" { SLICE } else { 0x26 }, &[1; 40]);
    let picture = Track { entry: boxed(kind, &[&fields, &boxes.concat()]), samples: vec![sample], ..pictures(1) };
    Film { tracks: vec![picture, Track { entry: sound_entry, ..sound(2) }], ..plain() }
}

#[test]
fn nothing_hides_in_how_a_track_is_coded() {
    for kind in [*b"avc1", *b"hvc1"] {
        let file = talkative(kind).write();
        let (out, scrubbed) = scrub(&file).unwrap();
        assert!(!holds(&out, b"ZYX") && !holds(&out, b"zyx"));
        for word in ["video.sei", "video.padding", "video.unknown"] {
            assert!(scrubbed.removed.contains(&word.to_owned()), "{word} of {:?}", scrubbed.removed);
        }
        let kept: &[&[u8]] = match &kind {
            b"avc1" => &[b"\0\x03\x67ab", b"\0\x03\x68cd", b"\x06\x05\x09\xff\xff", b"\x11\x90\x01", b"frmamp4a"],
            _ => &[b"\0\x04\x40\x01ab", b"\x4e\x01\x05\x09\xff\xff", b"dvvC\x01\0\x10\x25\x40\0", b"\x10\x3d\xe0\0"],
        };
        for bytes in kept {
            assert!(holds(&out, bytes), "{bytes:?}");
        }
        let (twice, again) = scrub(&out).unwrap();
        assert_eq!(out, twice);
        assert!(again.removed.is_empty(), "{:?}", again.removed);
        // The second look finds each of the words where it was let through.
        let places =
            memchr::memmem::find_iter(&file, b"ZYXCANARY").filter(|at| out.get(*at).is_some_and(|b| matches!(b, 0 | 0xFF)));
        let mut looked = 0;
        for at in places.collect::<Vec<_>>() {
            let mut mixed = out.clone();
            mixed[at..at + 9].copy_from_slice(b"ZYXCANARY");
            assert!(verify::container(MediaKind::Mp4, Purpose::File, &Bytes(&mixed)).is_err(), "{kind:?} at {at}");
            looked += 1;
        }
        assert!(looked > 15, "{looked}");
        let mut random = Random(11);
        for _ in 0..3000 {
            let Ok((out, scrubbed)) = scrub(&random.damage(&file)) else { continue };
            assert_eq!(verify::container(scrubbed.media, Purpose::File, &Bytes(&out)), Ok(()));
            assert_eq!(scrub(&out).expect("what came out goes in again").0, out);
        }
    }
}

#[test]
fn fields_that_are_reserved_hold_nothing() {
    let file = plain().write();
    let mut busy = file.clone();
    let at = |kind: &[u8]| file.windows(4).position(|w| w == kind).unwrap() + 4;
    for (place, length) in [(at(b"mvhd") + 26, 10), (at(b"mvhd") + 72, 24), (at(b"tkhd") + 16, 4), (at(b"tkhd") + 24, 8)] {
        busy[place..place + length].fill(b'Z');
    }
    let (out, scrubbed) = scrub(&busy).unwrap();
    assert_eq!(out, scrub(&file).unwrap().0);
    assert!(scrubbed.removed.contains(&"video.padding".to_owned()));
    assert!(verify::container(MediaKind::Mp4, Purpose::File, &Bytes(&out)).is_ok());
    let mut mixed = out;
    mixed[at(b"mvhd") + 80] = b'Z';
    assert!(verify::container(MediaKind::Mp4, Purpose::File, &Bytes(&mixed)).is_err());
}

// ---------------------------------------------------------------- whatever arrives

#[test]
fn scrubbing_twice_changes_nothing() {
    for file in [plain().write(), film().write()] {
        let (once, _) = scrub(&file).unwrap();
        assert_eq!(verify::container(MediaKind::Mp4, Purpose::File, &Bytes(&once)), Ok(()));
        let (twice, again) = scrub(&once).unwrap();
        assert_eq!(once, twice);
        assert!(again.removed.is_empty() && !again.location_found, "{:?}", again.removed);
    }
}

#[test]
fn a_film_cut_anywhere_is_refused_or_loses_only_what_goes() {
    for index_first in [false, true] {
        let file = Film { index_first, ..film() }.write();
        let (whole, _) = scrub(&file).unwrap();
        let mut refused = 0;
        for length in 0..file.len() {
            match scrub(&file[..length]) {
                Ok((out, _)) => assert!(whole.starts_with(&out), "cut at {length}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}

/// Xorshift: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }

    fn damage(&mut self, file: &[u8]) -> Vec<u8> {
        let mut broken = file.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(broken.len());
            match self.below(4) {
                0 => broken[at] = 0xFF,
                1 => broken[at] ^= 1 << self.below(8),
                2 => drop(broken.drain(at..(at + self.below(9)).min(broken.len()))),
                _ => broken[at] = u8::try_from(self.below(256)).unwrap(),
            }
        }
        broken
    }
}

#[test]
fn no_damage_makes_it_panic_or_let_something_unverified_through() {
    let seed = std::env::var("SHUTTERBRIDGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed}; set SHUTTERBRIDGE_SEED for another");
    let mut random = Random(seed | 1);
    let mut accepted = 0;
    for file in [plain().write(), film().write(), Film { wide: true, index_first: true, ..film() }.write()] {
        for _ in 0..3000 {
            let broken = random.damage(&file);
            let Ok((out, scrubbed)) = scrub(&broken) else { continue };
            accepted += 1;
            assert_eq!(verify::container(scrubbed.media, Purpose::File, &Bytes(&out)), Ok(()), "seed {seed}");
            let (again, _) = scrub(&out).expect("what came out goes in again");
            assert_eq!(again, out, "seed {seed}");
        }
    }
    assert!(accepted > 1000, "the damage leaves nothing to look at ({accepted})");
}

/// `plain` as a live recorder writes it: an empty index, then a fragment with its pictures.
fn fragmented() -> Vec<u8> {
    let mut file = plain();
    file.tracks.truncate(1);
    let samples = std::mem::take(&mut file.tracks[0].samples);
    let trex = |id: usize| boxed(*b"trex", &[&[0; 4], &long(id), &long(1), &[0; 12], CANARY]);
    file.in_index = boxed(*b"mvex", &[&trex(1), &trex(7)]);
    let film = file.write();
    let sizes: Vec<u8> = samples.iter().flat_map(|sample| long(sample.len())).collect();
    let traf = |id: usize, offset: usize| {
        let tfhd = boxed(*b"tfhd", &[&[0, 2, 0, 0], &long(id)]);
        let trun = boxed(*b"trun", &[&[0, 0, 2, 1], &long(samples.len()), &long(offset), &sizes]);
        boxed(*b"traf", &[&tfhd, &trun, &boxed(*b"uuid", &[CANARY])])
    };
    let moof = |at: usize| boxed(*b"moof", &[&boxed(*b"mfhd", &[&[0; 8]]), &traf(1, at), &traf(7, at)]);
    let moof = moof(moof(0).len() + 8);
    let media = boxed(*b"mdat", &[&samples.concat(), CANARY]);
    [film, boxed(*b"emsg", &[CANARY]), moof, media, boxed(*b"mfra", &[CANARY])].concat()
}

#[test]
fn a_film_in_fragments_leaves_the_same_way() {
    let file = fragmented();
    let (out, scrubbed) = scrub(&file).unwrap();
    assert!(!holds(&out, CANARY));
    assert!(holds(&out, &[quiet(1), quiet(2), quiet(3)].concat()));
    assert_eq!(out.len(), file.len());
    assert_eq!(out.windows(4).filter(|w| *w == b"traf").count(), 1, "that of a track nobody has is gone");
    assert!(scrubbed.removed.contains(&"video.sei".to_owned()));
    let (twice, again) = scrub(&out).unwrap();
    assert_eq!(out, twice);
    assert!(again.removed.is_empty(), "{:?}", again.removed);
    let mut random = Random(7);
    for _ in 0..3000 {
        if let Ok((out, _)) = scrub(&random.damage(&file)) {
            assert_eq!(verify::container(MediaKind::Mp4, Purpose::File, &Bytes(&out)), Ok(()));
        }
    }
}

#[test]
fn billions_of_samples_of_nothing_are_not_counted_through() {
    let mut file = plain();
    let trex = boxed(*b"trex", &[&[0; 4], &long(1), &long(1), &[0; 12]]);
    file.in_index = boxed(*b"mvex", &[&trex]);
    let tfhd = boxed(*b"tfhd", &[&[0, 2, 0, 0], &long(1)]);
    let runs = boxed(*b"trun", &[&[0; 4], &[0xFF; 4]]).repeat(1000);
    let moof = boxed(*b"moof", &[&boxed(*b"mfhd", &[&[0; 8]]), &boxed(*b"traf", &[&tfhd, &runs])]);
    let file = [file.write(), moof].concat();
    let (out, _) = scrub(&file).unwrap();
    assert_eq!(out.len(), file.len());
}

#[test]
fn samples_that_share_their_bytes_are_not_read_again_and_again() {
    let mut file = plain();
    file.tracks[0].samples = vec![picture(1); 40];
    let mut bytes = file.write();
    let place = bytes.windows(4).position(|w| w == b"stsz").unwrap() + 16;
    for n in 0..40 {
        bytes[place + n * 4..place + n * 4 + 4].copy_from_slice(&long(3000));
    }
    let error = scrub(&bytes).unwrap_err();
    assert!(error.detail.contains("share"), "{}", error.detail);
}

// ---------------------------------------------------------------- refusals

#[test]
fn what_cannot_be_played_or_trusted_is_refused_with_its_reason() {
    use ScrubCode::{DamagedMedia, UnsupportedMedia};
    let changed = |change: &dyn Fn(&mut Film)| {
        let mut file = film();
        change(&mut file);
        file.write()
    };
    let mut elsewhere = plain().write();
    let url = elsewhere.windows(4).position(|w| w == b"url ").unwrap();
    elsewhere[url + 7] = 0;
    let mut beyond = plain().write();
    let offsets = beyond.windows(4).position(|w| w == b"stco").unwrap();
    beyond[offsets + 12] = 0x7F;
    let table: [(&str, Vec<u8>, ScrubCode, &str); 8] = [
        ("no index", boxed(*b"ftyp", &[b"isom\0\0\0\0isom"]), DamagedMedia, "index"),
        ("two indexes", [plain().write(), plain().moov(0)].concat(), DamagedMedia, "two"),
        ("sound alone", changed(&|f| f.tracks = vec![sound(1)]), UnsupportedMedia, "pictures"),
        (
            "a coding nobody knows",
            changed(&|f| f.tracks = vec![Track { entry: boxed(*b"zzzz", &[&[0; 90]]), ..pictures(1) }]),
            UnsupportedMedia,
            "coding",
        ),
        ("two tracks of one number", changed(&|f| f.tracks[1].id = 2), DamagedMedia, "number"),
        ("a unit cut short", changed(&|f| f.tracks[1].samples[0].truncate(50)), DamagedMedia, "middle of a unit"),
        ("samples in another file", elsewhere, DamagedMedia, "another file"),
        ("samples behind the end", beyond, DamagedMedia, "ends before"),
    ];
    for (what, file, code, word) in table {
        let error = scrub(&file).expect_err(what);
        assert_eq!(error.code, code, "{what}: {}", error.detail);
        assert!(error.detail.contains(word) && error.detail.len() > 40, "{what}: {}", error.detail);
        assert!(!holds(error.detail.as_bytes(), CANARY), "{what}: {}", error.detail);
    }
}

// ---------------------------------------------------------------- the shared corpus

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared");
    let shared = std::env::var_os("SHUTTERBRIDGE_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("corpus/media")).filter(|media| media.join("made/EXPECT.tsv").is_file())
}

#[test]
fn every_hiding_place_of_the_corpus_is_emptied() {
    let Some(media) = corpus() else {
        println!("no corpus beside the project; skipped");
        return;
    };
    let table = std::fs::read_to_string(media.join("made/EXPECT.tsv")).unwrap();
    let mut files = 0;
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, kind, has_location, _, must, ..] = columns[..] else { panic!("{row}") };
        if !kind.starts_with("video/") {
            continue;
        }
        let file = std::fs::read(media.join("made").join(name)).unwrap();
        files += 1;
        match (must, scrub(&file)) {
            ("refuse", Ok(_)) => panic!("{name} was accepted"),
            ("accept", Err(error)) => panic!("{name} was refused: {error}"),
            (_, Err(_)) => {}
            (_, Ok((out, scrubbed))) => {
                assert!(!holds(&out, CANARY), "{name}");
                if has_location != "maybe" {
                    assert_eq!(scrubbed.location_found, has_location == "yes", "{name}");
                }
                assert_eq!(scrub(&out).unwrap().0, out, "{name}");
            }
        }
    }
    assert!(files > 40, "{files} files");
}

#[test]
fn the_films_of_phones_come_through() {
    let Some(media) = corpus() else {
        println!("no corpus beside the project; skipped");
        return;
    };
    let mut files = 0;
    for entry in std::fs::read_dir(media.join("real/video")).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let (out, _) = scrub(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(out.len() <= file.len(), "{}", path.display());
        assert!(!holds(&out, b"\xA9xyz") && !holds(&out, b"com.apple.quicktime."), "{}", path.display());
        assert_eq!(scrub(&out).unwrap().0, out, "{}", path.display());
        files += 1;
    }
    assert!(files > 10, "{files} files");
}
