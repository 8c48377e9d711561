//! What leaves a scrub of a PDF, as a user would look at it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::similar_names)]
#![allow(clippy::format_push_string, clippy::format_collect, clippy::too_many_lines, clippy::assigning_clones)]
#![allow(clippy::semicolon_if_nothing_returned)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use shutterbridge::capture::claim::parse_taken_at;
use shutterbridge::capture::media::{Coding, Essence, MediaKind};
use shutterbridge::media::exif::with_location;
use shutterbridge::media::source::Source;
use shutterbridge::scrub::container::{self, CopyError};
use shutterbridge::scrub::{Limits, Purpose, ScrubCode, ScrubError, Scrubbed, verify};

/// Stands wherever a file has room for a word; may come out nowhere.
const CANARY: &str = "ZYXCANARY";

// ---------------------------------------------------------------- how it is driven

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

fn check(out: &[u8]) -> Result<(), verify::VerifyError> {
    verify::container(MediaKind::Pdf, Purpose::File, &Bytes(out))
}

fn holds(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).any(|w| w == pattern)
}

/// The bytes, and all that is packed in them.
fn unpacked(file: &[u8]) -> Vec<u8> {
    let mut all = file.to_vec();
    for (at, _) in file.windows(7).enumerate().filter(|(_, w)| *w == b"stream\n") {
        let mut part = Vec::new();
        let mut decoder = flate2::read::ZlibDecoder::new(&file[at + 7..]);
        // What is not packed says so.
        let _ = io::copy(&mut decoder, &mut part);
        all.extend(part);
    }
    all
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn picture() -> Vec<u8> {
    let samples: Vec<u8> = (0..16 * 16 * 3).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 85).write_image(&samples, 16, 16, ExtendedColorType::Rgb8).unwrap();
    jpeg
}

fn located_picture() -> Vec<u8> {
    let taken = parse_taken_at("2026-03-01T10:15:30+01:00").unwrap();
    with_location(&picture(), 47.137, 9.523, &taken)
}

// ---------------------------------------------------------------- a writer of PDF

/// One page with words and a photo.
#[derive(Clone)]
struct Doc {
    catalog: String,
    page: String,
    resources: String,
    content: Vec<u8>,
    photo_keys: String,
    photo: Vec<u8>,
    trailer: String,
    /// Objects from 10 on.
    more: BTreeMap<u32, Vec<u8>>,
    /// The trailing part.
    tail: Vec<u8>,
}

fn doc() -> Doc {
    Doc {
        catalog: String::new(),
        page: String::new(),
        resources: String::new(),
        content: b"BT /F 24 Tf 72 700 Td (Dorsal hand, day 3) Tj ET\nq 200 0 0 200 72 400 cm /P Do Q\n".to_vec(),
        photo_keys: "/Filter /DCTDecode".to_owned(),
        photo: picture(),
        trailer: String::new(),
        more: BTreeMap::new(),
        tail: Vec::new(),
    }
}

fn stream(keys: &str, data: &[u8]) -> Vec<u8> {
    [format!("<< {keys} /Length {} >>\nstream\n", data.len()).as_bytes(), data, b"\nendstream"].concat()
}

impl Doc {
    fn with(mut self, number: u32, object: impl AsRef<[u8]>) -> Self {
        self.more.insert(number, object.as_ref().to_vec());
        self
    }

    fn objects(&self) -> BTreeMap<u32, Vec<u8>> {
        let mut objects = self.more.clone();
        let mut put = |number: u32, object: Vec<u8>| {
            objects.entry(number).or_insert(object);
        };
        put(1, format!("<< /Type /Catalog /Pages 2 0 R {} >>", self.catalog).into_bytes());
        put(2, b"<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 595 842] >>".to_vec());
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F 5 0 R >> /XObject << /P 6 0 R >> {} >> {} >>",
            self.resources, self.page
        );
        put(3, page.into_bytes());
        put(4, stream("", &self.content));
        put(5, b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec());
        let keys = format!(
            "/Type /XObject /Subtype /Image /Width 16 /Height 16 /ColorSpace /DeviceRGB /BitsPerComponent 8 {}",
            self.photo_keys
        );
        put(6, stream(&keys, &self.photo));
        objects
    }

    fn write(&self) -> Vec<u8> {
        let mut out = b"%PDF-1.6\n%\xE2\xE3\xCF\xD3\n".to_vec();
        let objects = self.objects();
        let size = objects.keys().max().unwrap() + 1;
        let mut places = BTreeMap::new();
        for (number, object) in &objects {
            places.insert(*number, out.len());
            out.extend(format!("{number} 0 obj\n").bytes());
            out.extend(object);
            out.extend(b"\nendobj\n");
        }
        let start = out.len();
        out.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
        for number in 1..size {
            match places.get(&number) {
                Some(place) => out.extend(format!("{place:010} 00000 n \n").bytes()),
                None => out.extend(b"0000000000 00000 f \n"),
            }
        }
        out.extend(format!("trailer\n<< /Size {size} /Root 1 0 R {} >>\nstartxref\n{start}\n%%EOF\n", self.trailer).bytes());
        out.extend(&self.tail);
        out
    }
}

/// An update appended to `file`: objects, and a table of them alone.
fn updated(file: &[u8], objects: &[(u32, &str)]) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let before = text.rsplit_once("startxref\n").unwrap().1.split('\n').next().unwrap().to_owned();
    let mut out = file.to_vec();
    let mut table = String::new();
    for (number, object) in objects {
        table.push_str(&format!("{number} 1\n{:010} 00000 n \n", out.len()));
        out.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    let start = out.len();
    out.extend(format!("xref\n{table}trailer\n<< /Size 99 /Root 1 0 R /Prev {before} >>\nstartxref\n{start}\n%%EOF\n").bytes());
    out
}

// ---------------------------------------------------------------- what goes

const XMP: &str = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><dc:creator>ZYXCANARY</dc:creator><exif:GPSLatitude>47,8.2N</exif:GPSLatitude></x:xmpmeta>";

/// Places to hide in, each in a file that shows the same page.
fn hiding_places() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let with = |change: &dyn Fn(&mut Doc)| {
        let mut file = doc();
        change(&mut file);
        file.write()
    };
    let xmp = stream("/Type /Metadata /Subtype /XML", XMP.as_bytes());
    let packed_xmp = stream("/Type /Metadata /Subtype /XML /Filter /FlateDecode", &deflate(XMP.as_bytes()));
    let info = "<< /Title (ZYXCANARY) /Author (ZYXCANARY) /Creator <5A595843414E415259> >>";
    let file = stream("/Type /EmbeddedFile", CANARY.as_bytes());
    let names = |kind: &str| format!("/Names << /{kind} << /Names [(ZYXCANARY) 10 0 R] >> >>");
    let exif = located_picture();
    let mut tailed = picture();
    tailed.extend(b"ZYXCANARY");
    vec![
        ("nothing", doc().write(), ""),
        ("info", with(&|d| (d.trailer, d.more) = ("/Info 10 0 R".into(), [(10, info.into())].into())), "pdf.info"),
        ("id", with(&|d| d.trailer = "/ID [(ZYXCANARY) (ZYXCANARY)]".into()), "pdf.id"),
        ("xmp", with(&|d| (d.catalog, d.more) = ("/Metadata 10 0 R".into(), [(10, xmp.clone())].into())), "xmp"),
        ("xmp of a page", with(&|d| (d.page, d.more) = ("/Metadata 10 0 R".into(), [(10, packed_xmp.clone())].into())), "xmp"),
        (
            "xmp of a picture",
            with(&|d| (d.photo_keys, d.more) = ("/Filter /DCTDecode /Metadata 10 0 R".into(), [(10, packed_xmp.clone())].into())),
            "xmp",
        ),
        ("exif of a picture", with(&|d| d.photo = exif.clone()), "exif.gps"),
        (
            "exif of a packed picture",
            with(&|d| (d.photo_keys, d.photo) = ("/Filter [/FlateDecode /DCTDecode]".into(), deflate(&exif))),
            "exif.gps",
        ),
        ("a picture with a tail", with(&|d| d.photo = tailed.clone()), ""),
        (
            "an attachment",
            with(&|d| {
                d.catalog = names("EmbeddedFiles");
                d.more = [(10, b"<< /Type /Filespec /F (ZYXCANARY) /EF << /F 11 0 R >> >>".to_vec()), (11, file.clone())].into();
            }),
            "pdf.attachments",
        ),
        (
            "an attachment on the page",
            with(&|d| {
                d.page = "/Annots [10 0 R]".into();
                d.more = [(10, b"<< /Subtype /FileAttachment /Rect [0 0 9 9] /Contents (ZYXCANARY) >>".to_vec())].into();
            }),
            "pdf.attachments",
        ),
        (
            "a note that is hidden",
            with(&|d| d.page = "/Annots [<< /Subtype /Text /F 2 /Rect [0 0 9 9] /Contents (ZYXCANARY) >>]".into()),
            "pdf.annotations",
        ),
        ("a script", with(&|d| d.catalog = "/OpenAction << /S /JavaScript /JS (ZYXCANARY) >>".into()), "pdf.actions"),
        (
            "a script by name",
            with(&|d| {
                (d.catalog, d.more) = (names("JavaScript"), [(10, b"<< /S /JavaScript /JS (ZYXCANARY) >>".to_vec())].into())
            }),
            "pdf.javascript",
        ),
        ("a launch", with(&|d| d.page = "/AA << /O << /S /Launch /F (ZYXCANARY) >> >>".into()), "pdf.actions"),
        ("private data", with(&|d| d.page = "/PieceInfo << /ZYXCANARY << /Private (ZYXCANARY) >> >>".into()), "pdf.private"),
        ("a date", with(&|d| d.page = "/LastModified (D:ZYXCANARY)".into()), "pdf.dates"),
        (
            "a thumbnail",
            with(&|d| (d.page, d.more) = ("/Thumb 10 0 R".into(), [(10, stream("/Width 3 /Height 1", b"ZYXCANARY"))].into())),
            "pdf.thumbnail",
        ),
        (
            "outlines",
            with(&|d| (d.catalog, d.more) = ("/Outlines 10 0 R".into(), [(10, b"<< /Title (ZYXCANARY) >>".to_vec())].into())),
            "pdf.outlines",
        ),
        (
            "the tree of structure",
            with(&|d| d.catalog = "/Lang (ZYXCANARY) /StructTreeRoot << /K << /Alt (ZYXCANARY) >> >>".into()),
            "pdf.structure",
        ),
        ("an unknown key", with(&|d| d.page = "/ZYXCANARY << /GPTS [47.137219 9.523847] >>".into()), "pdf.unknown"),
        ("an object of nobody", doc().with(10, "(ZYXCANARY)").write(), "pdf.unused"),
        (
            "a resource of nobody",
            with(&|d| {
                (d.resources, d.more) =
                    ("/Pattern << /X 10 0 R >>".into(), [(10, stream("/PatternType 1", b"(ZYXCANARY) Tj"))].into())
            }),
            "",
        ),
        (
            "an older revision",
            updated(
                &doc().with(4, stream("", b"(ZYXCANARY) Tj")).write(),
                &[(4, std::str::from_utf8(&stream("", &doc().content)).unwrap())],
            ),
            "pdf.history",
        ),
        ("a tail", with(&|d| d.tail = b"ZYXCANARY".to_vec()), "pdf.trailer"),
        ("a comment", with(&|d| d.content = [b"% ZYXCANARY\n", &d.content[..]].concat()), "pdf.comments"),
        (
            "operands in vain",
            with(&|d| d.content = [&b"(ZYXCANARY) zyx /ZYXCANARY 1 g 0 g "[..], &d.content, b" (ZYXCANARY)"].concat()),
            "pdf.unknown",
        ),
        (
            "marks",
            with(&|d| d.content = [&b"/ZYXCANARY << /Alt (ZYXCANARY) /MCID 0 >> DP "[..], &d.content].concat()),
            "pdf.structure",
        ),
        (
            "between objects",
            {
                let mut file = doc().write();
                let at = file.windows(10).position(|w| w == b"endobj\n2 0").unwrap() + 7;
                file.splice(at..at, *b"% ZYXCANARY\n");
                file
            },
            "",
        ),
    ]
}

#[test]
fn every_place_to_hide_in_is_empty_and_the_page_is_the_same() {
    let (plain, scrubbed) = scrub(&doc().write()).unwrap();
    assert_eq!((scrubbed.media, scrubbed.essence), (MediaKind::Pdf, Essence::Unchanged));
    assert_eq!(scrubbed.facts.format.coding, Coding::Document { pages: 1 });
    assert!(scrubbed.removed.is_empty() && !scrubbed.location_found, "{:?}", scrubbed.removed);
    assert!(holds(&unpacked(&plain), b"Dorsal hand, day 3"));
    assert!(holds(&plain, &picture()), "the coded picture is the source's");
    for (what, file, word) in hiding_places() {
        let (out, scrubbed) = scrub(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(word.is_empty() || scrubbed.removed.iter().any(|w| w == word), "{what}: {:?}", scrubbed.removed);
        assert_eq!(scrubbed.location_found, what.contains("xmp") || what.contains("exif"), "{what}");
        let all = unpacked(&out);
        assert!(!holds(&all, CANARY.as_bytes()) && !holds(&all, b"5A595843"), "{what}");
        // The same page makes the same file, whatever was hidden in it.
        assert!(what == "operands in vain" || out == plain, "{what}");
        assert_eq!(scrub(&out).unwrap().0, out, "{what}: again");
    }
}

#[test]
fn a_name_somebody_gave_a_field_goes_and_what_it_shows_stays() {
    let look = stream("/Type /XObject /Subtype /Form /BBox [0 0 99 20]", b"BT /F 12 Tf (Seen by ward) Tj ET");
    let shown = "<< /Type /Annot /Subtype /Widget /FT /Tx /T (ZYXCANARY) /TU (ZYXCANARY) /V (ZYXCANARY) /Rect [0 0 99 20] /AP << /N 11 0 R >> >>";
    let drawn = "<< /Type /Annot /Subtype /Widget /Parent 13 0 R /Rect [0 30 99 50] >>";
    let parent = "<< /FT /Tx /T (ZYXCANARY) /V (Left hand) /DA (/F 12 Tf 0 g % ZYXCANARY\n) /Kids [12 0 R] >>";
    let mut file = doc();
    file.catalog = "/AcroForm << /Fields [10 0 R 13 0 R 14 0 R] /XFA (ZYXCANARY) /DR << /Font << /F 5 0 R >> >> >>".to_owned();
    file.page = "/Annots [10 0 R 12 0 R]".to_owned();
    let file =
        file.with(10, shown).with(11, look).with(12, drawn).with(13, parent).with(14, "<< /FT /Tx /T (x) /V (ZYXCANARY) >>");
    let (out, scrubbed) = scrub(&file.write()).unwrap();
    let all = unpacked(&out);
    assert!(!holds(&all, CANARY.as_bytes()));
    assert!(holds(&all, b"Seen by ward") && holds(&all, b"(Left hand)") && holds(&all, b"/F 12 Tf 0 g"));
    assert!(["pdf.form", "pdf.xfa"].iter().all(|w| scrubbed.removed.iter().any(|r| r == w)), "{:?}", scrubbed.removed);
    assert_eq!(scrub(&out).unwrap().0, out);
}

#[test]
fn a_character_map_keeps_its_codes_and_no_word() {
    let map = b"%!PS ZYXCANARY\n/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n\
        /CIDSystemInfo << /Registry (ZYXCANARY) /Ordering (ZYXCANARY) /Supplement 0 >> def /CMapName /ZYXCANARY def\n\
        /ZYXCANARY (ZYXCANARY ZYXCANARY) def /WMode 1 def 1 begincodespacerange <00> <ff> endcodespacerange\n\
        2 beginbfchar <48> <0048> <49> /I endbfchar 1 beginbfrange <50> <51> [<0050> <0051>] endbfrange\n\
        (ZYXCANARY) pop endcmap end end\n";
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 10 0 R >>";
    let file = doc().with(5, font).with(10, stream("/CMapName /ZYXCANARY", map));
    let (out, scrubbed) = scrub(&file.write()).unwrap();
    let all = unpacked(&out);
    assert!(!holds(&all, b"ZYX") && !holds(&all, b"5a5958"));
    let codes = b"/WMode\n1\ndef\n1\nbegincodespacerange\n<00>\n<ff>\nendcodespacerange\n2\nbeginbfchar\n<48>\n<0048>\n<49>\n/I\nendbfchar\n\
        1\nbeginbfrange\n<50>\n<51>\n[\n<0050>\n<0051>\n]\nendbfrange\nendcmap\n";
    assert!(holds(&all, codes), "{}", String::from_utf8_lossy(&all));
    assert!(scrubbed.removed.contains(&"pdf.comments".to_owned()), "{:?}", scrubbed.removed);
    assert_eq!(scrub(&out).unwrap().0, out);
}

#[test]
fn names_of_the_standard_stay_and_names_of_somebody_go() {
    let mut file = doc();
    file.resources = "/ExtGState << /A << /BM /Multiply /RI /Perceptual >> /B << /BM /ZYXCANARY /RI /ZYXCANARY >> >>".to_owned();
    file.content.extend(b"/A gs /B gs /Perceptual ri /ZYXCANARY ri\n");
    file.page = "/Annots [<< /Type /Annot /Subtype /Line /Rect [1 1 9 9] /L [1 1 9 9] /LE [/Butt /ZYXCANARY] >>]".to_owned();
    let (out, _) = scrub(&file.write()).unwrap();
    let all = unpacked(&out);
    assert!(!holds(&all, CANARY.as_bytes()));
    for word in [&b"/Multiply"[..], b"/RI /Perceptual", b"/Perceptual ri", b"/Butt"] {
        assert!(holds(&all, word), "{}", String::from_utf8_lossy(word));
    }
    assert_eq!(scrub(&out).unwrap().0, out);
}

#[test]
fn layers_and_what_stands_for_what_is_drawn_stay() {
    let mut file = doc();
    file.catalog =
        "/OCProperties << /OCGs [10 0 R] /D << /OFF [10 0 R] /Order [(ZYXCANARY) 10 0 R] /Name (ZYXCANARY) >> >>".to_owned();
    file.resources = "/Properties << /L 10 0 R >>".to_owned();
    file.content = b"/OC /L BDC 0 0 9 9 re f EMC /Span << /ActualText (hyphen-less) /Lang (ZYXCANARY) >> BDC EMC".to_vec();
    let file = file.with(
        10,
        "<< /Type /OCG /Name (ZYXCANARY) /Usage << /CreatorInfo << /Creator (ZYXCANARY) >> /View << /ViewState /OFF >> >> >>",
    );
    let (out, _) = scrub(&file.write()).unwrap();
    let all = unpacked(&out);
    assert!(!holds(&all, CANARY.as_bytes()));
    for kept in ["/OC /L BDC", "/OFF [", "/ViewState /OFF", "<</ActualText (hyphen-less)>> BDC"] {
        assert!(holds(&all, kept.as_bytes()), "{kept}");
    }
}

#[test]
fn a_coded_picture_that_lost_its_filter_is_not_taken_for_samples() {
    for (keys, is_long) in [("/iFlter /DCTDecode", true), ("/Filter /ASCIIHexDecode", true), ("", false)] {
        let mut file = doc();
        file.photo = located_picture();
        assert!(file.photo.len() > 16 * 16 * 3, "it has more bytes than the samples");
        if !is_long {
            file.photo = b"47.137219 9.523847".to_vec();
        }
        if keys.contains("Hex") {
            file.photo = file.photo.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect();
        }
        file.photo_keys = keys.to_owned();
        assert_eq!(scrub(&file.write()).map(|_| ()).unwrap_err().code, ScrubCode::DamagedMedia, "{keys}");
    }
}

#[test]
fn pictures_keep_their_samples_and_lose_what_is_behind_them() {
    let samples: Vec<u8> = (0..16 * 16 * 3).map(|n| u8::try_from(n % 253).unwrap()).collect();
    let packed = deflate(&samples);
    let longer = deflate(&[&samples[..], CANARY.as_bytes()].concat());
    let hex = samples.iter().map(|b| format!("{b:02x}")).collect::<String>() + ">";
    let inline = [&b"BI /W 2 /H 2 /CS /G /BPC 8 /ZYXCANARY (ZYXCANARY) ID abcd EI Q"[..], b" 1 g"].concat();
    let table: [(&str, &str, Vec<u8>); 6] = [
        ("plain", "", [&samples[..], CANARY.as_bytes()].concat()),
        ("packed", "/Filter /FlateDecode", packed.clone()),
        ("packed, with a tail", "/Filter /FlateDecode", [&packed[..], CANARY.as_bytes()].concat()),
        ("packed with a tail", "/Filter /FlateDecode", longer),
        ("hexadecimal", "/Filter /ASCIIHexDecode", [hex.as_bytes(), CANARY.as_bytes()].concat()),
        ("hexadecimal and packed", "/Filter [/AHx /Fl]", packed.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect()),
    ];
    for (what, keys, data) in table {
        let mut file = doc();
        (file.photo_keys, file.photo) = (keys.to_owned(), data);
        let (out, _) = scrub(&file.write()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let all = unpacked(&out);
        assert!(holds(&all, &samples) && !holds(&all, CANARY.as_bytes()), "{what}");
        assert_eq!(scrub(&out).unwrap().0, out, "{what}");
    }
    let mut file = doc();
    file.content = inline;
    let (out, _) = scrub(&file.write()).unwrap();
    let all = unpacked(&out);
    assert!(holds(&all, b"/F [/AHx /Fl]") && !holds(&all, CANARY.as_bytes()), "{}", String::from_utf8_lossy(&all));
    assert_eq!(scrub(&out).unwrap().0, out);
}

#[test]
fn pictures_of_scanners_keep_what_is_picture() {
    let segment =
        |kind: u8, data: &[u8]| [&[0, 0, 0, 1, kind, 0, 1, 0, 0, 0, u8::try_from(data.len()).unwrap()][..], data].concat();
    let (page, comment) = (segment(48, b"page"), segment(62, CANARY.as_bytes()));
    let mut file = doc();
    file.photo_keys = "/Filter /JBIG2Decode /DecodeParms << /JBIG2Globals 10 0 R /ZYXCANARY 1 >>".to_owned();
    file.photo = [&comment[..], &page, &comment].concat();
    let shared = [&segment(0, b"symbols")[..], &comment].concat();
    let (out, _) = scrub(&file.with(10, stream("", &shared)).write()).unwrap();
    let all = unpacked(&out);
    assert!(holds(&all, &page) && holds(&all, b"symbols") && !holds(&all, CANARY.as_bytes()));
    assert_eq!(scrub(&out).unwrap().0, out);
    let mut fax = doc();
    fax.photo_keys =
        "/Filter [/ASCIIHexDecode /CCITTFaxDecode] /DecodeParms [null << /K -1 /Columns 16 /ZYXCANARY 1 >>]".to_owned();
    fax.photo = b"00112233>".to_vec();
    let (out, _) = scrub(&fax.write()).unwrap();
    assert!(holds(&out, b"<</Columns 16/K -1>>"), "{}", String::from_utf8_lossy(&out));
    assert!(holds(&out, &[0, 0x11, 0x22, 0x33]) && !holds(&out, CANARY.as_bytes()));
    assert_eq!(scrub(&out).unwrap().0, out);
}

// ---------------------------------------------------------------- refusals

#[test]
fn a_signature_is_never_broken_in_silence() {
    let field = |value: &str| {
        let mut file = doc();
        file.catalog = "/AcroForm << /SigFlags 3 /Fields [10 0 R] >>".to_owned();
        file.page = "/Annots [10 0 R]".to_owned();
        file.with(10, format!("<< /Subtype /Widget /FT /Sig /T (ZYXCANARY) /Rect [0 0 0 0] {value} >>"))
            .with(11, "<< /Type /Sig /Filter /Adobe.PPKLite /ByteRange [0 1 2 3] /Contents <00> >>")
    };
    let error = scrub(&field("/V 11 0 R").write()).unwrap_err();
    assert_eq!((error.code, error.code.word()), (ScrubCode::SignedDocument, "signed-document"));
    assert!(error.detail.contains("signed") && error.detail.contains("signature"), "{}", error.detail);
    // A line that waits for a signature is a form like any other.
    let (out, _) = scrub(&field("").write()).unwrap();
    assert!(!holds(&unpacked(&out), CANARY.as_bytes()));
    let mut guarded = doc();
    guarded.catalog = "/Perms << /DocMDP 11 0 R >>".to_owned();
    assert_eq!(scrub(&guarded.with(11, "<< /Type /Sig >>").write()).unwrap_err().code, ScrubCode::SignedDocument);
}

#[test]
fn what_cannot_be_read_or_costs_too_much_is_refused_with_its_reason() {
    use ScrubCode::{DamagedMedia, TooLarge, UnsupportedMedia};
    let bomb = {
        let mut zeros = Vec::new();
        for _ in 0..6 {
            zeros = deflate(&if zeros.is_empty() { vec![b' '; 80 << 20] } else { zeros });
            if zeros.len() < 4096 {
                break;
            }
        }
        zeros
    };
    let filters = |count: usize| format!("/Filter [{}]", "/FlateDecode ".repeat(count));
    let page_of = |content: Vec<u8>| doc().with(4, content).write();
    let encrypted = {
        let mut file = doc();
        file.trailer = "/Encrypt << /Filter /Standard /V 1 /R 2 /O (12345678901234567890123456789012) /U (12345678901234567890123456789012) /P -4 >> /ID [(a) (a)]".to_owned();
        file.write()
    };
    let table: [(&str, Vec<u8>, ScrubCode, &str); 9] = [
        ("a password", encrypted, UnsupportedMedia, "password"),
        ("only a head", b"%PDF-1.7\n".to_vec(), DamagedMedia, "cut short"),
        ("cut short", doc().write()[..700].to_vec(), DamagedMedia, "cut short"),
        ("no page", doc().with(2, "<< /Type /Pages /Kids [] >>").write(), DamagedMedia, "pages"),
        ("pages in a ring", doc().with(2, "<< /Kids [2 0 R 2 0 R] >>").write(), DamagedMedia, "pages"),
        ("a stream that unpacks for ever", page_of(stream(&filters(6), &bomb)), TooLarge, "unpacks"),
        ("many filters", page_of(stream(&filters(50), b"x")), TooLarge, "filters"),
        ("a filter nobody knows", page_of(stream("/Filter /ZYXCANARY", b"x")), DamagedMedia, "packed"),
        (
            "JBIG2 of no known length",
            {
                let mut f = doc();
                (f.photo_keys, f.photo) = ("/Filter /JBIG2Decode".into(), vec![0xFF; 40]);
                f.write()
            },
            DamagedMedia,
            "JBIG2",
        ),
    ];
    for (what, file, code, word) in table {
        let error = scrub(&file).map(|_| ()).expect_err(what);
        assert_eq!(error.code, code, "{what}: {}", error.detail);
        assert!(error.detail.contains(word) && error.detail.len() > 40, "{what}: {}", error.detail);
        assert!(!error.detail.contains(CANARY), "{what}: {}", error.detail);
    }
}

#[test]
fn hostile_structures_end_soon() {
    let started = std::time::Instant::now();
    let nested =
        |open: &str| doc().with(10, open.repeat(500_000)).with(3, "<< /Type /Page /Parent 2 0 R /MediaBox 10 0 R >>").write();
    let ring = doc().with(10, "[10 0 R 10 0 R]").with(3, "<< /Type /Page /Parent 2 0 R /MediaBox 10 0 R >>").write();
    // Each node has the next one twice: 2^60 pages.
    let mut doubled = doc().with(2, "<< /Kids [10 0 R 10 0 R] >>");
    for number in 10..70 {
        doubled = doubled.with(number, format!("<< /Kids [{0} 0 R {0} 0 R] >>", number + 1));
    }
    let unended = {
        let mut f = doc();
        f.content = b"BI ID ".repeat(200_000);
        f.write()
    };
    let mut prev = doc();
    prev.trailer = "/Prev 15".to_owned();
    // Objects that lie in each other: reading all of them would cost the square of the file.
    let overlapping = {
        let mut text = b"%PDF-1.7\n".to_vec();
        for number in 10..3000 {
            text.extend(format!("{number} 0 obj [ ").bytes());
        }
        text
    };
    for (what, file) in [
        ("arrays", nested("[")),
        ("dictionaries", nested("<</A ")),
        ("ring", ring),
        ("doubled", doubled.write()),
        ("unended", unended),
        ("prev", prev.write()),
        ("overlapping", overlapping),
    ] {
        if let Ok((out, _)) = scrub(&file) {
            assert_eq!(check(&out), Ok(()), "{what}");
        }
        assert!(started.elapsed().as_secs() < 60, "{what} takes {:?}", started.elapsed());
    }
}

#[test]
fn a_file_whose_table_is_broken_is_read_as_viewers_read_it() {
    let (plain, _) = scrub(&doc().write()).unwrap();
    let text = doc().write();
    let broken = [&b"%PDF-1.4\n% a line more\n"[..], &text[9..]].concat();
    assert_eq!(scrub(&broken).unwrap().0, plain, "every place is wrong");
    let text = String::from_utf8_lossy(&text).into_owned();
    let astray = doc().write();
    let page = text.lines().find(|l| l.ends_with(" n ")).unwrap();
    let at = astray.windows(page.len()).rposition(|w| w == page.as_bytes()).unwrap() + 40;
    let changed = [&astray[..at], b"0000000001", &astray[at + 10..]].concat();
    assert_eq!(scrub(&changed).unwrap().0, plain, "one place is wrong");
    assert_eq!(scrub(&[b"\r\n", &doc().write()[..]].concat()).unwrap().0, plain, "a line end before the head");
    let text = doc().write();
    // But what lost its end may have lost its last page.
    let at = text.windows(9).rposition(|w| w == b"startxref").unwrap();
    let error = scrub(&text[..at]).unwrap_err();
    assert!(error.detail.contains("cut short"), "{}", error.detail);
}

// ---------------------------------------------------------------- damage

/// Xorshift: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }

    fn damage(&mut self, file: &[u8]) -> Vec<u8> {
        const WORDS: [&[u8]; 12] = [
            b"<<",
            b">>",
            b"[",
            b"]",
            b"(",
            b" 3 0 R ",
            b" obj ",
            b"stream\n",
            b"endstream",
            b"/Length 9",
            b"99999999999999999999",
            b"/Kids",
        ];
        let mut broken = file.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(broken.len());
            match self.below(6) {
                0 => broken[at] = 0xFF,
                1 => broken[at] ^= 1 << self.below(8),
                2 => drop(broken.drain(at..(at + self.below(9)).min(broken.len()))),
                3 => drop(broken.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                4 => {
                    let from = self.below(broken.len());
                    let part = broken[from..(from + self.below(200)).min(broken.len())].to_vec();
                    drop(broken.splice(at..at, part));
                }
                _ => broken[at] = u8::try_from(self.below(256)).unwrap(),
            }
        }
        broken
    }
}

#[test]
fn no_damage_makes_it_panic_or_let_something_unverified_through() {
    let seed = std::env::var("SHUTTERBRIDGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    let rounds = std::env::var("SHUTTERBRIDGE_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(120);
    println!("seed {seed}; set SHUTTERBRIDGE_SEED for another");
    let mut random = Random(seed | 1);
    let (mut accepted, mut unverified) = (0, 0);
    let mut files: Vec<Vec<u8>> = hiding_places().into_iter().map(|(_, file, _)| file).collect();
    files.extend(corpus_files());
    for file in files {
        for _ in 0..rounds {
            let broken = random.damage(&file);
            let out = match scrub(&broken) {
                Ok((out, _)) => out,
                Err(error) => {
                    if error.detail.contains("its own check") {
                        println!("{}", error.detail);
                        unverified += 1;
                    }
                    continue;
                }
            };
            accepted += 1;
            assert_eq!(check(&out), Ok(()), "seed {seed}");
            let (again, _) = scrub(&out).unwrap_or_else(|e| panic!("what came out goes in again (seed {seed}): {e}"));
            assert!(again == out, "seed {seed}");
        }
    }
    assert!(accepted > 1000, "the damage leaves nothing to look at ({accepted})");
    assert_eq!(unverified, 0, "planner and verifier disagree, seed {seed}");
}

#[test]
fn the_verifier_finds_a_byte_put_back_anywhere() {
    let mut file = doc();
    file.photo_keys = "/Filter /FlateDecode".to_owned();
    file.photo = deflate(&[7; 768]);
    let (out, _) = scrub(&file.write()).unwrap();
    assert_eq!(check(&out), Ok(()));
    for at in 0..=out.len() {
        for byte in [b'Z', b' ', b'%', b'0'] {
            let more = [&out[..at], &[byte], &out[at..]].concat();
            assert!(check(&more).is_err(), "{at} {}", char::from(byte));
        }
    }
}

#[test]
fn the_verifier_knows_no_key_that_the_planner_would_drop() {
    let (out, _) = scrub(&doc().write()).unwrap();
    assert_eq!(check(&out), Ok(()));
    for (from, to) in [("/Type /Page/", "/Thumb 5 0 R"), ("/Type /Catalog", "/Metadata 5 0 R"), ("/Type /Font", "/Author (a)")] {
        let text = out.windows(from.len()).position(|w| w == from.as_bytes());
        let Some(at) = text else { continue };
        let changed = rewritten(&out, at, to);
        assert!(check(&changed).is_err(), "{to}");
    }
}

/// `out` with `key` before the key at `at`, its table made right again.
fn rewritten(out: &[u8], at: usize, key: &str) -> Vec<u8> {
    let mut changed = [&out[..at], key.as_bytes(), &out[at..]].concat();
    let start = changed
        .windows(5)
        .rposition(|w| w == b"xref\n")
        .map(|p| if &changed[p.saturating_sub(5)..p] == b"start" { 0 } else { p })
        .unwrap();
    let start = if start == 0 { changed.windows(7).rposition(|w| w == b"xref\n0 ").unwrap() } else { start };
    let body = changed[..start].to_vec();
    let mut table = String::new();
    let mut count = 1;
    while let Some(place) =
        body.windows(format!("\n{count} 0 obj\n").len()).position(|w| w == format!("\n{count} 0 obj\n").as_bytes())
    {
        table.push_str(&format!("{:010} 00000 n \n", place + 1));
        count += 1;
    }
    let tail = String::from_utf8_lossy(&out[out.len() - 200..]).into_owned();
    let root = tail.split("/Root ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    changed.truncate(start);
    changed.extend(
        format!(
            "xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<</Root {root} 0 R/Size {count}>>\nstartxref\n{start}\n%%EOF\n"
        )
        .bytes(),
    );
    changed
}

// ---------------------------------------------------------------- the eyes of others

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

fn run(program: &str, arguments: &[&str], file: &[u8]) -> (bool, Vec<u8>) {
    let folder = std::env::temp_dir().join(format!("scrub-pdf-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("file.pdf");
    std::fs::write(&path, file).unwrap();
    let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "{}" { path.to_str().unwrap() } else { *a }).collect();
    let output = Command::new(program).args(arguments).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    (output.status.success(), output.stdout)
}

fn shows_the_same(what: &str, before: &[u8], after: &[u8]) {
    if is_installed("qpdf") {
        let (is_sound, text) = run("qpdf", &["--check", "{}"], after);
        assert!(is_sound, "{what}: {}", String::from_utf8_lossy(&text));
    }
    for (program, arguments) in [("pdftoppm", &["-r", "30", "{}"][..]), ("pdftotext", &["{}", "-"])] {
        if is_installed(program) {
            let (before, after) = (run(program, arguments, before), run(program, arguments, after));
            assert!(before.1 == after.1, "{what}: {program} shows something else");
        }
    }
}

#[test]
fn other_programs_show_the_page_as_before() {
    for (what, file, _) in hiding_places() {
        // The pin of an attachment goes with it.
        if what != "an attachment on the page" {
            shows_the_same(what, &file, &scrub(&file).unwrap().0);
        }
    }
}

// ---------------------------------------------------------------- the shared corpus

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared");
    let shared = std::env::var_os("SHUTTERBRIDGE_SHARED").map_or(beside, PathBuf::from);
    Some(shared.join("corpus/media")).filter(|media| media.join("made/EXPECT.tsv").is_file())
}

fn corpus_files() -> Vec<Vec<u8>> {
    let Some(media) = corpus() else { return Vec::new() };
    let entries = std::fs::read_dir(media.join("made/pdf")).unwrap().chain(std::fs::read_dir(media.join("real/pdf")).unwrap());
    let paths = entries.map(|e| e.unwrap().path()).filter(|p| std::fs::metadata(p).unwrap().len() < 20_000);
    paths.map(|path| std::fs::read(path).unwrap()).collect()
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
        if kind != "application/pdf" {
            continue;
        }
        let file = std::fs::read(media.join("made").join(name)).unwrap();
        files += 1;
        match (must, scrub(&file)) {
            ("refuse", Ok(_)) => panic!("{name} was accepted"),
            ("accept", Err(error)) => panic!("{name} was refused: {error}"),
            (_, Err(_)) => {}
            (_, Ok((out, scrubbed))) => {
                assert!(!holds(&unpacked(&out), CANARY.as_bytes()), "{name}");
                if has_location != "maybe" {
                    assert_eq!(scrubbed.location_found, has_location == "yes", "{name}");
                }
                assert_eq!(scrub(&out).unwrap().0, out, "{name}");
            }
        }
    }
    assert!(files > 20, "{files} files");
}

#[test]
fn the_documents_of_others_come_through() {
    let Some(media) = corpus() else {
        println!("no corpus beside the project; skipped");
        return;
    };
    for entry in std::fs::read_dir(media.join("real/pdf")).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let (out, _) = scrub(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(scrub(&out).unwrap().0, out, "{}", path.display());
        if !path.ends_with("attachment.pdf") {
            shows_the_same(&path.display().to_string(), &file, &out);
        }
    }
}
