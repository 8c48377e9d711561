//! What leaves a scrub of HEIF, as a user would look at it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::similar_names)]

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use shutterbridge::capture::claim::parse_taken_at;
use shutterbridge::capture::media::{Coding, Essence, MediaKind, Orientation};
use shutterbridge::media::exif::{orientation_block, with_location};
use shutterbridge::media::source::Source;
use shutterbridge::scrub::container::{self, CopyError, PlanError};
use shutterbridge::scrub::{Limits, Purpose, PushError, ScrubCode, ScrubError, Scrubbed, Scrubber, verify};

/// Stands wherever a file has room for a word; may come out nowhere.
const CANARY: &[u8] = b"ZYXCANARY";

// ---------------------------------------------------------------- how it is driven

type Outcome = Result<(Vec<u8>, Scrubbed), ScrubError>;

fn scrub_for(file: &[u8], purpose: Purpose) -> Outcome {
    let mut out = Vec::new();
    let mut sink = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<(), Infallible>(())
    };
    match container::scrub(&Bytes(file), purpose, &Limits::default(), &mut sink) {
        Ok(scrubbed) => Ok((out, scrubbed)),
        Err(CopyError::Scrub(error)) => Err(error),
        Err(CopyError::Read(error)) => panic!("memory can be read: {error}"),
        Err(CopyError::Sink(never)) => match never {},
    }
}

fn scrub(file: &[u8]) -> Outcome {
    scrub_for(file, Purpose::File)
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

// ---------------------------------------------------------------- a writer of HEIF

fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &kind, &body].concat()
}

fn number(value: usize, width: usize) -> Vec<u8> {
    (value as u64).to_be_bytes()[8 - width..].to_vec()
}

/// Where an item's bytes are put.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Media,
    Index,
    /// In two extents with the canary between them.
    Split,
}

#[derive(Clone)]
struct Item {
    id: usize,
    kind: [u8; 4],
    rest: Vec<u8>,
    data: Vec<u8>,
    place: In,
    /// Essential, position from one.
    properties: Vec<(bool, usize)>,
}

impl Item {
    fn new(id: usize, kind: [u8; 4], data: &[u8]) -> Self {
        Self { id, kind, rest: Vec::new(), data: data.to_vec(), place: In::Media, properties: Vec::new() }
    }

    fn with(mut self, properties: &[(bool, usize)]) -> Self {
        self.properties = properties.to_vec();
        self
    }

    fn placed(mut self, place: In) -> Self {
        self.place = place;
        self
    }

    fn saying(mut self, rest: &[u8]) -> Self {
        self.rest = rest.to_vec();
        self
    }
}

#[derive(Clone)]
struct Heif {
    version: u8,
    media_first: bool,
    primary: usize,
    items: Vec<Item>,
    references: Vec<(&'static [u8; 4], usize, Vec<usize>)>,
    properties: Vec<Vec<u8>>,
    handler_name: &'static [u8],
    in_index: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
    brand: &'static [u8; 4],
}

impl Heif {
    fn write(&self) -> Vec<u8> {
        let ftyp = boxed(*b"ftyp", &[self.brand, CANARY.get(..4).unwrap(), b"mif1heicZYXC"]);
        let mut media = CANARY.to_vec();
        let mut idat = Vec::new();
        let mut places = Vec::new();
        for item in &self.items {
            let into = if item.place == In::Index { &mut idat } else { &mut media };
            let (first, second) = item.data.split_at(if item.place == In::Split { item.data.len() / 2 } else { item.data.len() });
            let mut extents = vec![(into.len(), first.len())];
            into.extend(first);
            if item.place == In::Split {
                into.extend(CANARY);
                extents.push((into.len(), second.len()));
                into.extend(second);
            }
            places.push(extents);
        }
        media.extend(CANARY);
        let media = boxed(*b"mdat", &[&media]);
        let front = ftyp.len() + self.before.len();
        let media_at = if self.media_first { front } else { front + self.meta(&places, &idat, 0).len() } + 8;
        let meta = self.meta(&places, &idat, media_at);
        let (a, b) = if self.media_first { (media, meta) } else { (meta, media) };
        [ftyp, self.before.clone(), a, b, self.after.clone()].concat()
    }

    fn meta(&self, places: &[Vec<(usize, usize)>], idat: &[u8], media_at: usize) -> Vec<u8> {
        let wide = if self.version == 2 { 4 } else { 2 };
        let mut iloc = [vec![self.version, 0, 0, 0, 0x44, 0x40], number(self.items.len(), wide)].concat();
        for (item, extents) in self.items.iter().zip(places) {
            iloc.extend(number(item.id, wide));
            if self.version > 0 {
                iloc.extend([0, u8::from(item.place == In::Index)]);
            }
            let base = if item.place == In::Index { 0 } else { media_at };
            iloc.extend([number(0, 2), number(base, 4), number(extents.len(), 2)].concat());
            for (at, length) in extents {
                iloc.extend([number(*at, 4), number(*length, 4)].concat());
            }
        }
        let mut iinf = [&[0; 4][..], &number(self.items.len(), 2)].concat();
        for item in &self.items {
            let id = number(item.id, wide);
            let hidden = u8::from(item.id != self.primary);
            iinf.extend(boxed(
                *b"infe",
                &[&[if wide == 4 { 3 } else { 2 }, 0, 0, hidden], &id, &[0; 2], &item.kind, CANARY, &[0], &item.rest],
            ));
        }
        let mut iref = vec![u8::from(wide == 4), 0, 0, 0];
        for (kind, from, to) in &self.references {
            let ids: Vec<u8> = to.iter().flat_map(|id| number(*id, wide)).collect();
            iref.extend(boxed(**kind, &[&number(*from, wide), &number(to.len(), 2), &ids]));
        }
        let mut ipma = [vec![u8::from(wide == 4), 0, 0, 0], number(self.items.len(), 4)].concat();
        for item in &self.items {
            ipma.extend(number(item.id, wide));
            ipma.push(u8::try_from(item.properties.len()).unwrap());
            ipma.extend(item.properties.iter().map(|(essential, n)| u8::try_from(*n).unwrap() | u8::from(*essential) << 7));
        }
        let primary = number(self.primary, wide);
        boxed(
            *b"meta",
            &[
                &[0; 4],
                &boxed(*b"hdlr", &[&[0; 8], b"pict", &[0; 12], self.handler_name, &[0]]),
                &boxed(*b"dinf", &[&boxed(*b"dref", &[&[0; 7], &[1], &boxed(*b"url ", &[&[0, 0, 0, 1]])])]),
                &boxed(*b"pitm", &[&[u8::from(wide == 4), 0, 0, 0], &primary]),
                &boxed(*b"iloc", &[&iloc]),
                &boxed(*b"iinf", &[&iinf]),
                &boxed(*b"iref", &[&iref]),
                &boxed(*b"iprp", &[&boxed(*b"ipco", &[&self.properties.concat()]), &boxed(*b"ipma", &[&ipma])]),
                &boxed(*b"idat", &[idat]),
                &self.in_index,
            ],
        )
    }
}

/// A unit of HEVC of one kind, with its length before it.
fn unit(kind: u8, body: &[u8]) -> Vec<u8> {
    [&number(body.len() + 2, 4)[..], &[kind << 1, 1], body].concat()
}

const SLICE: u8 = 20;
const MESSAGE: u8 = 39;

fn coded(seed: u8) -> Vec<u8> {
    unit(SLICE, &(0..60).map(|n| seed.wrapping_mul(31).wrapping_add(n * 3) | 1).collect::<Vec<_>>())
}

const VIDEO_SET: &[u8] = b"\x40\x01deo set";

fn hvcc(message: &[u8]) -> Vec<u8> {
    let array = |kind: u8, bytes: &[u8]| [&[0x80 | kind, 0, 1][..], &number(bytes.len(), 2), bytes].concat();
    let mut numbers = [1; 22];
    numbers[21] = 0x0F;
    let arrays =
        [array(32, VIDEO_SET), array(33, b"\x42\x01quence set"), array(MESSAGE, message), array(34, b"\x44\x01cture set")]
            .concat();
    boxed(*b"hvcC", &[&numbers, &[4], &arrays])
}

fn ispe(width: usize, height: usize) -> Vec<u8> {
    boxed(*b"ispe", &[&[0; 4], &number(width, 4), &number(height, 4)])
}

/// A TIFF block with Orientation 6, when and with what it was taken, and where.
fn exif() -> Vec<u8> {
    let taken = parse_taken_at("2026-03-01T10:15:30+01:00").unwrap();
    let jpeg = with_location(&[0xFF, 0xD8], 47.137_219, 9.523_847, &taken);
    // Behind SOI, marker and length; before it, how far behind the number the block begins.
    [&[0, 0, 0, 6][..], &jpeg[6..], CANARY].concat()
}

/// A display profile with words.
fn profile() -> Vec<u8> {
    let curve = b"curv\0\0\0\0\0\0\0\x04\x07\x07\x07\x07\x07\x07\x07\x07".to_vec();
    let text = [b"desc\0\0\0\0\0\0\0\x0a", CANARY, &[0; 79]].concat();
    let mut head = vec![0; 128];
    head[8..24].copy_from_slice(b"\x02\x10\0\0mntrRGB XYZ ");
    head[36..44].copy_from_slice(b"acspAPPL");
    let mut table = 2u32.to_be_bytes().to_vec();
    let mut data = Vec::new();
    for (signature, element) in [(b"desc", &text), (b"rTRC", &curve)] {
        table.extend([&signature[..], &number(128 + 4 + 24 + data.len(), 4), &number(element.len(), 4)].concat());
        data.extend(element);
    }
    let mut profile = [head, table, data].concat();
    let size = number(profile.len(), 4);
    profile[..4].copy_from_slice(&size);
    profile
}

const XMP: &[u8] = b"<x exif:GPSLatitude=\"47,8N\" a=\"ZYXCANARY\"/>";

/// One picture and nothing to hide.
fn plain() -> Heif {
    Heif {
        version: 1,
        media_first: false,
        primary: 1,
        items: vec![Item::new(1, *b"hvc1", &coded(1)).with(&[(true, 1), (false, 2), (false, 3)])],
        references: Vec::new(),
        properties: vec![hvcc(b"x"), ispe(64, 48), boxed(*b"pixi", &[&[0; 4], &[3, 8, 8, 8]])],
        handler_name: b"",
        in_index: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        brand: b"heic",
    }
}

/// A phone's photo of four tiles with something to hide in every place at once.
fn photo() -> Heif {
    let tile = |id: usize| {
        let data = [coded(u8::try_from(id).unwrap()), unit(MESSAGE, CANARY), unit(SLICE, b"second slice")].concat();
        Item::new(id, *b"hvc1", &data).with(&[(true, 1), (false, 2)])
    };
    let mut items: Vec<Item> = (11..15).map(tile).collect();
    items.push(Item::new(20, *b"grid", &[0, 0, 1, 1, 0, 128, 0, 96]).placed(In::Index).with(&[
        (false, 3),
        (false, 4),
        (true, 5),
        (false, 6),
        (false, 9),
    ]));
    items.push(Item::new(30, *b"Exif", &exif()));
    items.push(Item::new(31, *b"mime", XMP).saying(b"application/rdf+xml\0"));
    items.push(Item::new(32, *b"uri ", CANARY).saying(b"urn:ZYXCANARY\0"));
    items.push(Item::new(40, *b"hvc1", &[coded(40), CANARY.to_vec()].concat()).with(&[(true, 1), (false, 2)]));
    items.push(Item::new(41, *b"hvc1", &[coded(41), CANARY.to_vec()].concat()).with(&[(true, 1), (false, 2), (true, 7)]));
    items.push(Item::new(42, *b"hvc1", &[coded(42), CANARY.to_vec()].concat()).with(&[(true, 1), (false, 2)]));
    items.push(Item::new(43, *b"Exif", &exif()).placed(In::Index));
    Heif {
        primary: 20,
        items,
        references: vec![
            (b"dimg", 20, vec![11, 12, 13, 14]),
            (b"cdsc", 30, vec![20]),
            (b"cdsc", 31, vec![20]),
            (b"thmb", 40, vec![20]),
            (b"auxl", 41, vec![20]),
        ],
        properties: vec![
            hvcc(CANARY),
            ispe(64, 48),
            ispe(128, 96),
            boxed(*b"colr", &[b"prof", &profile()]),
            boxed(*b"irot", &[&[0xF3]]),
            boxed(*b"pixi", &[&[0; 4], &[3, 8, 8, 8], CANARY]),
            boxed(*b"auxC", &[&[0; 4], b"urn:mpeg:hevc:2015:auxid:2\0", CANARY]),
            boxed(*b"udes", &[CANARY]),
            boxed(*b"udes", &[CANARY]),
        ],
        handler_name: CANARY,
        in_index: [boxed(*b"udta", &[&boxed(*b"\xA9xyz", &[b"\0\x12\x15\xc7+47.1372+009.5238/"])]), boxed(*b"free", &[CANARY])]
            .concat(),
        before: boxed(*b"free", &[CANARY]),
        after: [boxed(*b"uuid", &[&[7; 16], CANARY]), boxed(*b"mpvd", &[CANARY]), boxed(*b"moov", &[CANARY]), CANARY.to_vec()]
            .concat(),
        ..plain()
    }
}

// ---------------------------------------------------------------- a reader of HEIF

fn boxes(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        found.push((String::from_utf8(rest[4..8].to_vec()).unwrap(), &rest[8..size]));
        rest = &rest[size..];
    }
    found
}

fn child<'b>(bytes: &'b [u8], kind: &str) -> &'b [u8] {
    boxes(bytes).into_iter().find(|(k, _)| k == kind).unwrap_or_else(|| panic!("no {kind}")).1
}

fn words(bytes: &[u8]) -> String {
    boxes(bytes).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>().join(" ")
}

// ---------------------------------------------------------------- what stays and what goes

#[test]
fn a_photo_leaves_with_its_tiles_its_colours_and_its_turn_and_nothing_else() {
    let (out, scrubbed) = scrub(&photo().write()).unwrap();
    assert!(!holds(&out, CANARY) && !holds(&out, b"ZYXC"));
    assert_eq!(words(&out), "ftyp meta mdat");
    assert_eq!(child(&out, "ftyp"), b"heic\0\0\0\0mif1heic");
    let meta = &child(&out, "meta")[4..];
    assert_eq!(words(meta), "hdlr pitm iinf iref iprp idat iloc");
    assert_eq!(words(child(child(meta, "iprp"), "ipco")), "hvcC ispe ispe colr irot pixi");
    assert_eq!(child(child(child(meta, "iprp"), "ipco"), "irot"), [3], "and no bits that say nothing");
    assert_eq!(child(meta, "idat"), [0, 0, 1, 1, 0, 128, 0, 96]);
    assert_eq!(words(&child(meta, "iref")[4..]), "dimg");
    let tile = |id: u8| [coded(id), unit(SLICE, b"second slice")].concat();
    assert_eq!(child(&out, "mdat"), [tile(11), tile(12), tile(13), tile(14)].concat(), "bit for bit, messages aside");
    assert!(scrubbed.location_found);
    let removed = "exif exif.gps heif.auxiliary heif.free heif.item heif.moov heif.mpvd heif.name heif.property heif.sei \
                   heif.thumbnail heif.trailer heif.udta heif.unreferenced heif.uri heif.uuid icc.text xmp";
    assert_eq!(scrubbed.removed.join(" "), removed);
    assert_eq!((scrubbed.media, scrubbed.essence), (MediaKind::Heic, Essence::Unchanged));
    assert_eq!(scrubbed.kept_bytes, out.len() as u64);
    let format = scrubbed.facts.format;
    assert_eq!((format.width, format.height, format.coding), (128, 96, Coding::Heic));
}

#[test]
fn a_photo_tells_when_and_with_what_it_was_taken_and_only_its_own_turn_turns_it() {
    let (_, scrubbed) = scrub(&photo().write()).unwrap();
    assert_eq!(scrubbed.facts.taken_at, parse_taken_at("2026-03-01T10:15:30+01:00"));
    assert_eq!(scrubbed.facts.make.as_deref(), Some("Shutterbridge"));
    assert!(scrubbed.facts.orientation.is_upright());
}

#[test]
fn the_plan_says_what_becomes_of_every_byte() {
    let mut file = plain();
    file.items[0].data = [coded(1), unit(MESSAGE, CANARY)].concat();
    file.items.push(Item::new(2, *b"Exif", &exif()));
    file.after = boxed(*b"free", &[CANARY]);
    let file = file.write();
    let plan = container::plan(&Bytes(&file), Purpose::File, &Limits::default()).unwrap().plan;
    assert_eq!(plan.length(), file.len() as u64);
    let text = "        0 rewrite        28 ftyp into 24\n       28 rewrite       406 meta into 278\n      \
                434 rewrite         8 mdat into 8\n      442 drop            9 heif.unreferenced\n      451 keep           66 picture\n      \
                517 drop           15 heif.sei\n      532 drop          267 exif\n      799 drop            9 heif.unreferenced\n      \
                808 drop           17 heif.free\n";
    assert_eq!(plan.to_string(), text, "\n{plan}");
}

#[test]
fn however_a_file_is_laid_out_the_result_is_the_same() {
    let (whole, scrubbed) = scrub(&photo().write()).unwrap();
    for version in [0, 1, 2] {
        for media_first in [false, true] {
            for place in [In::Media, In::Index, In::Split] {
                let mut file = Heif { version, media_first, ..photo() };
                for item in file.items.iter_mut().filter(|i| i.kind == *b"hvc1" && i.id < 20) {
                    item.place = place;
                }
                if version == 0 {
                    // It cannot say that something is in the index.
                    file.items.iter_mut().for_each(|item| item.place = if place == In::Split { In::Split } else { In::Media });
                }
                let (out, again) = scrub(&file.write()).unwrap();
                assert_eq!(out, whole, "version {version}, media first {media_first}");
                assert_eq!(again.removed, scrubbed.removed);
            }
        }
    }
}

#[test]
fn a_profile_keeps_its_colours_and_an_object_gets_it_apart() {
    let (out, _) = scrub(&photo().write()).unwrap();
    assert!(holds(&out, b"curv\0\0\0\0\0\0\0\x04\x07\x07") && holds(&out, b"mntrRGB "));
    let (out, scrubbed) = scrub_for(&photo().write(), Purpose::Object).unwrap();
    assert!(!holds(&out, b"mntrRGB "));
    let profile = scrubbed.facts.icc_profile.expect("the profile left the stream, it did not vanish");
    assert!(holds(&profile, b"curv\0\0\0\0\0\0\0\x04\x07\x07") && !holds(&profile, CANARY));
}

#[test]
fn a_profile_that_no_viewer_uses_goes_and_the_picture_stays() {
    let mut file = plain();
    file.properties.push(boxed(*b"colr", &[b"prof"]));
    file.items[0].properties.push((true, 4));
    let (out, scrubbed) = scrub(&file.write()).unwrap();
    assert_eq!(out, scrub(&plain().write()).unwrap().0);
    assert!(scrubbed.removed.contains(&"icc".to_owned()));
}

#[test]
fn what_a_picture_hides_by_transparency_stays_hidden() {
    let mut file = plain();
    file.items.push(Item::new(2, *b"hvc1", &coded(2)).with(&[(true, 1), (false, 2), (true, 4)]));
    file.references = vec![(b"auxl", 2, vec![1]), (b"prem", 1, vec![2])];
    file.properties.push(boxed(*b"auxC", &[&[0; 4], b"urn:mpeg:hevc:2015:auxid:1\0", CANARY]));
    let (out, _) = scrub(&file.write()).unwrap();
    assert_eq!(child(&out, "mdat"), [coded(1), coded(2)].concat());
    assert_eq!(words(&child(&child(&out, "meta")[4..], "iref")[4..]), "prem auxl");
    assert!(holds(&out, b"auxC\0\0\0\0urn:mpeg:hevc:2015:auxid:1\0") && !holds(&out, CANARY));
}

#[test]
fn turns_and_cuts_stay_in_their_order() {
    let mut file = plain();
    let clap = number(1, 4).repeat(8);
    file.properties.extend([boxed(*b"irot", &[&[1]]), boxed(*b"imir", &[&[1]]), boxed(*b"clap", &[&clap])]);
    for order in [[4, 5, 6], [6, 5, 4], [5, 4, 6]] {
        file.items[0].properties = [1, 2, 3].iter().chain(&order).map(|n| (*n == 1 || *n > 3, *n)).collect();
        let (out, _) = scrub(&file.write()).unwrap();
        let ipma = child(child(&child(&out, "meta")[4..], "iprp"), "ipma");
        let associated: Vec<usize> = ipma[11..].iter().map(|n| usize::from(n & 0x7F)).collect();
        assert_eq!(associated, [&[1, 2, 3], &order[..]].concat());
        assert!(ipma[14..].iter().all(|n| n & 0x80 != 0), "what must be applied still must");
    }
}

#[test]
fn exif_is_found_by_its_type_whatever_stands_in_it() {
    for data in
        [exif()[4..].to_vec(), exif()[10..].to_vec(), [&[0, 0, 0, 9][..], &exif()[4..]].concat(), CANARY.to_vec(), vec![0xFF]]
    {
        let mut file = plain();
        file.items.push(Item::new(2, *b"Exif", &data));
        let (out, scrubbed) = scrub(&file.write()).unwrap();
        assert!(!holds(&out, CANARY));
        assert!(scrubbed.removed.contains(&"exif".to_owned()));
        assert_eq!(scrubbed.location_found, data.len() > 100);
        assert_eq!(scrubbed.facts.make.is_some(), data.len() > 100);
    }
}

// ---------------------------------------------------------------- whatever arrives

#[test]
fn a_message_that_is_listed_as_a_parameter_set_goes() {
    let file = photo().write();
    let at = file.windows(VIDEO_SET.len()).position(|w| w == VIDEO_SET).unwrap();
    let mut disguised = file.clone();
    disguised[at..at + VIDEO_SET.len()].copy_from_slice(b"\x4e\x01ZYXCANA");
    let (out, scrubbed) = scrub(&disguised).unwrap();
    assert!(!holds(&out, b"ZYXCANA") && scrubbed.removed.contains(&"heif.sei".to_owned()), "{:?}", scrubbed.removed);
    // And the second look stops it where it was let through.
    let mut out = scrub(&file).unwrap().0;
    let at = out.windows(VIDEO_SET.len()).position(|w| w == VIDEO_SET).unwrap();
    out[at] = 0x4E;
    assert!(verify::container(MediaKind::Heic, Purpose::File, &Bytes(&out)).is_err());
}

#[test]
fn scrubbing_twice_changes_nothing() {
    for file in [plain().write(), photo().write()] {
        for purpose in [Purpose::File, Purpose::Object] {
            let (once, _) = scrub_for(&file, purpose).unwrap();
            assert_eq!(verify::container(MediaKind::Heic, purpose, &Bytes(&once)), Ok(()));
            let (twice, again) = scrub_for(&once, purpose).unwrap();
            assert_eq!(once, twice);
            assert!(again.removed.is_empty() && !again.location_found, "{:?}", again.removed);
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_comes_out_whole() {
    for media_first in [false, true] {
        let file = Heif { media_first, ..photo() }.write();
        let (whole, _) = scrub(&file).unwrap();
        let mut refused = 0;
        for length in 0..file.len() {
            match scrub(&file[..length]) {
                Ok((out, _)) => assert_eq!(out, whole, "cut at {length}"),
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
    for file in [plain().write(), photo().write(), Heif { version: 2, media_first: true, ..photo() }.write()] {
        for _ in 0..3000 {
            let broken = random.damage(&file);
            for purpose in [Purpose::File, Purpose::Object] {
                let Ok((out, _)) = scrub_for(&broken, purpose) else { continue };
                accepted += 1;
                assert_eq!(verify::container(MediaKind::Heic, purpose, &Bytes(&out)), Ok(()), "seed {seed}");
                let (again, _) = scrub_for(&out, purpose).expect("what came out goes in again");
                assert_eq!(again, out, "seed {seed}");
            }
        }
    }
    assert!(accepted > 1000, "the damage leaves nothing to look at ({accepted})");
}

#[test]
fn the_verifier_finds_a_byte_put_back_anywhere() {
    let (out, _) = scrub(&photo().write()).unwrap();
    for at in 0..=out.len() {
        let more = [&out[..at], b"Z", &out[at..]].concat();
        assert!(verify::container(MediaKind::Heic, Purpose::File, &Bytes(&more)).is_err(), "{at}");
    }
}

#[test]
fn exif_never_turns_a_heif_and_a_disagreement_is_told() {
    // What the file does, what Exif asks for; whether somebody has to look.
    let table: [(Option<u8>, u16, bool); 7] = [
        (Some(3), 6, false),
        (Some(3), 1, false),
        (None, 6, true),
        (None, 1, false),
        (Some(3), 8, true),
        (Some(1), 8, false),
        (Some(0), 3, true),
    ];
    for (irot, exif, is_disputed) in table {
        let mut file = plain();
        if let Some(angle) = irot {
            file.properties.push(boxed(*b"irot", &[&[angle]]));
            file.items[0].properties.push((true, 4));
        }
        let block = orientation_block(Orientation::from_exif(exif).unwrap());
        file.items.push(Item::new(2, *b"Exif", &[&[0; 4][..], &block].concat()));
        file.references.push((b"cdsc", 2, vec![1]));
        let (out, scrubbed) = scrub(&file.write()).unwrap();
        assert_eq!(scrubbed.facts.orientation, Orientation::UPRIGHT, "the file's own turn is in the file");
        assert_eq!(scrubbed.facts.details.is_turn_disputed, is_disputed, "irot {irot:?}, Exif {exif}");
        assert_eq!(holds(&out, b"irot"), irot.is_some());
        assert!(!holds(&out, b"MM\0*") && !holds(&out, b"Exif"), "no Exif is left");
    }
}

// ---------------------------------------------------------------- refusals

fn changed(change: impl FnOnce(&mut Heif)) -> Vec<u8> {
    let mut file = photo();
    change(&mut file);
    file.write()
}

#[test]
fn what_cannot_be_shown_or_trusted_is_refused_with_its_reason() {
    use ScrubCode::{DamagedMedia, Empty, TooLarge, UnsupportedMedia};
    let meta = child(&plain().write(), "meta").to_vec();
    let ring: Vec<_> = (11..14).map(|id| (b"dimg", id, vec![id + 1])).chain([(b"dimg", 14, vec![11])]).collect();
    let table: [(&str, Vec<u8>, ScrubCode, &str); 18] = [
        ("nothing", vec![], Empty, "empty"),
        ("a GIF", b"GIF89a and more than the bytes that are looked at".to_vec(), UnsupportedMedia, "image/heic"),
        ("no index", [boxed(*b"ftyp", &[b"heic\0\0\0\0mif1"]), boxed(*b"mdat", &[&coded(1)])].concat(), DamagedMedia, "index"),
        ("two indexes", changed(|f| f.after = boxed(*b"meta", &[&meta])), DamagedMedia, "several"),
        ("two types", changed(|f| f.after = boxed(*b"ftyp", &[b"heic\0\0\0\0mif1"])), DamagedMedia, "two"),
        ("a primary that is not listed", changed(|f| f.primary = 99), DamagedMedia, "how large"),
        ("a tile that is not listed", changed(|f| f.references[0].2[3] = 99), DamagedMedia, "not list"),
        ("a tile too few", changed(|f| f.references[0].2.truncate(3)), DamagedMedia, "tiles"),
        ("tiles in a ring", changed(|f| f.references.extend(ring)), DamagedMedia, "too many times"),
        ("a primary of AV1", changed(|f| f.items[0].kind = *b"av01"), UnsupportedMedia, "AV1"),
        ("a primary of a kind nobody knows", changed(|f| f.items[0].kind = *b"tmap"), UnsupportedMedia, "not known"),
        ("a property that must be known", changed(|f| f.items[4].properties.push((true, 8))), UnsupportedMedia, "needs"),
        ("a picture without a decoder", changed(|f| f.items[0].properties.clear()), DamagedMedia, "how it is coded"),
        ("a picture of messages alone", changed(|f| f.items[0].data = unit(MESSAGE, CANARY)), DamagedMedia, "coded in it"),
        ("a unit cut short", changed(|f| f.items[0].data.truncate(70)), DamagedMedia, "middle"),
        ("an item twice", changed(|f| f.items[1].id = 11), DamagedMedia, "twice"),
        ("too many pixels", changed(|f| f.properties[2] = ispe(70_000, 70_000)), TooLarge, "pixels"),
        ("no pixels", changed(|f| f.properties[2] = ispe(0, 5)), DamagedMedia, "pixels"),
    ];
    for (what, file, code, word) in table {
        let error = scrub(&file).expect_err(what);
        assert_eq!(error.code, code, "{what}: {}", error.detail);
        assert!(error.detail.contains(word) && error.detail.len() > 40, "{what}: {}", error.detail);
        assert!(!holds(error.detail.as_bytes(), CANARY), "{what}: {}", error.detail);
    }
}

#[test]
fn a_small_file_cannot_become_a_large_one() {
    // 256 tiles that all stand in the same place.
    let mut file = plain().write();
    let tiles: Vec<Item> = (2..258).map(|id| Item::new(id, *b"hvc1", &[]).with(&[(true, 1), (false, 2)])).collect();
    let shared = Heif {
        primary: 1,
        items: [vec![Item::new(1, *b"grid", &[0, 0, 15, 15, 4, 0, 3, 0]).with(&[(false, 2)])], tiles].concat(),
        references: vec![(b"dimg", 1, (2..258).collect())],
        ..plain()
    };
    file.clear();
    file.extend(shared.write());
    let picture = coded(9).repeat(30);
    // Each tile has no bytes; give all of them the same ones, behind the rest.
    let start = file.len() + 8;
    file.extend(boxed(*b"mdat", &[&picture]));
    let iloc = file.windows(4).position(|w| w == b"iloc").unwrap();
    for tile in 1..257 {
        let entry = iloc + 4 + 8 + tile * 20;
        file[entry + 6..entry + 10].copy_from_slice(&number(start, 4));
        file[entry + 12..entry + 20].copy_from_slice(&[number(0, 4), number(picture.len(), 4)].concat());
    }
    let error = scrub(&file).unwrap_err();
    assert!(error.detail.contains("share"), "{}", error.detail);
}

#[test]
fn what_has_an_index_is_never_scrubbed_while_it_arrives() {
    let mut sink = |_: &[u8]| Ok::<(), Infallible>(());
    let mut scrubber = Scrubber::new(Purpose::Object, &Limits::default());
    let Err(PushError::Scrub(error)) = scrubber.push(&photo().write(), &mut sink) else { panic!("it was taken in") };
    assert_eq!(error.code, ScrubCode::UnsupportedMedia);
    assert!(error.detail.contains("whole"), "{}", error.detail);
}

struct Unreadable(Vec<u8>, u64);

impl Source for Unreadable {
    fn length_bytes(&self) -> u64 {
        self.0.as_slice().length_bytes()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        if at >= self.1 { Err(io::Error::other("bad sector")) } else { self.0.as_slice().read_at(at, into) }
    }
}

#[test]
fn a_disk_that_fails_is_told_as_what_it_is() {
    let file = photo().write();
    for from in [0, 40, file.len() as u64 / 2] {
        let source = Unreadable(file.clone(), from);
        assert!(matches!(container::plan(&source, Purpose::File, &Limits::default()), Err(PlanError::Read(_))));
    }
    let mut full = |_: &[u8]| Err("disk full");
    assert!(matches!(
        container::scrub(&Bytes(&file), Purpose::File, &Limits::default(), &mut full),
        Err(CopyError::Sink("disk full"))
    ));
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
        let [name, "image/heic", has_location, _, must, ..] = columns[..] else { continue };
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
    assert!(files > 25, "{files} files");
}

#[test]
fn the_photos_of_phones_come_through() {
    let Some(media) = corpus() else {
        println!("no corpus beside the project; skipped");
        return;
    };
    let mut files = 0;
    for entry in std::fs::read_dir(media.join("real/heic")).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let (out, scrubbed) = scrub(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(out.len() < file.len(), "{}", path.display());
        assert!(!holds(&out, b"Exif\0\0") && !holds(&out, b"<rdf:"), "{}", path.display());
        assert_eq!(scrubbed.plan.length(), file.len() as u64, "{}", path.display());
        assert_eq!(scrub(&out).unwrap().0, out, "{}", path.display());
        files += 1;
    }
    assert!(files > 10, "{files} files");
}
