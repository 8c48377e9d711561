//! Files with an index, written here: each hides one place in every form that a phone or a camera
//! has for it.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

use std::fs;
use std::path::Path;

/// The place, in every form: text, UTF-16 in both orders, doubles and floats in both orders,
/// rationals, integers of ten millionths, 16.16.
pub fn secrets() -> Vec<Vec<u8>> {
    let (latitude, longitude) = (47.137_219_f64, 9.523_847_f64);
    let mut all: Vec<Vec<u8>> = vec![b"+47.1372+009.5238/".to_vec(), b"47.137219".to_vec(), b"9.523847N".to_vec()];
    for text in ["47.137219", "9.523847"] {
        all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    for degrees in [latitude, longitude] {
        all.extend([degrees.to_le_bytes().to_vec(), degrees.to_be_bytes().to_vec()]);
    }
    for (ten_millionths, fixed, seconds) in [(471_372_190_u32, 3_089_185_u32, 139_884_u32), (95_238_470, 624_155, 258_492)] {
        all.extend([ten_millionths.to_be_bytes().to_vec(), ten_millionths.to_le_bytes().to_vec()]);
        // Four bytes alone would be found in any ciphertext of some gigabytes.
        all.extend([[fixed.to_be_bytes(), ten_millionths.to_be_bytes()].concat()]);
        all.push([seconds.to_be_bytes(), 10_000_u32.to_be_bytes()].concat());
        all.push([seconds.to_le_bytes(), 10_000_u32.to_le_bytes()].concat());
    }
    all.retain(|secret| secret.len() >= 8);
    all
}

/// Every file below `folder` that holds a form of the place, or any of `more`.
pub fn tellers(folder: &Path, more: &[&[u8]]) -> Vec<String> {
    let mut wanted = secrets();
    wanted.extend(more.iter().map(|bytes| bytes.to_vec()));
    let mut found = Vec::new();
    for path in files_below(folder) {
        // A file may go while it is looked for.
        let bytes = fs::read(&path).unwrap_or_default();
        for secret in &wanted {
            if memchr::memmem::find(&bytes, secret).is_some() {
                found.push(format!("{} tells {:?}", path.display(), String::from_utf8_lossy(secret)));
            }
        }
    }
    found
}

pub fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|p| p.len()).sum::<usize>() + 8;
    let mut bytes = long(length).to_vec();
    bytes.extend(kind);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn long(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_be_bytes()
}

/// A coded slice of so many bytes; each number is another picture.
pub fn slice(number: usize, bytes: usize) -> Vec<u8> {
    let body = (0..bytes).map(|n| u8::try_from((n * 31 + number * 7 + n / 251) % 250).unwrap() | 1);
    [&long(bytes + 1)[..], &[0x65], &body.collect::<Vec<u8>>()].concat()
}

/// A film of so many pictures of so many bytes, with words in each picture and a sensor that speaks
/// between them. `brand`: `isom`, `qt  `, `3gp4`, `M4V `.
pub fn film(brand: [u8; 4], pictures: usize, bytes: usize) -> Vec<u8> {
    const TURNED: [i32; 9] = [0, 0x1_0000, 0, -0x1_0000, 0, 0, 0, 0, 0x4000_0000];
    written(brand, pictures, bytes, TURNED, &[1, 100, 0, 40, 0xFF, 0xE0, 0])
}

/// The same film, upright, with the parameter sets of 640×480 in H.264 High 4.0: one that a transfer
/// syntax carries as it is.
pub fn clip(brand: [u8; 4], pictures: usize, bytes: usize) -> Vec<u8> {
    const UPRIGHT: [i32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    const SETS: &[u8] = b"\x01\x64\0\x28\xFF\xE1\0\x19\x67\x64\0\x28\xAC\xD9\x40\xA0\x3D\xB0\x11\0\0\x03\0\x01\0\0\x03\0\x3C\x0F\x18\x31\x96\x01\0\x06\x68\xEB\xE3\xCB\x22\xC0";
    written(brand, pictures, bytes, UPRIGHT, SETS)
}

fn written(brand: [u8; 4], pictures: usize, bytes: usize, matrix: [i32; 9], sets: &[u8]) -> Vec<u8> {
    let place = secrets().concat();
    let words = [&[5, u8::try_from(place.len().min(250)).unwrap()][..], place.get(..250).unwrap_or(&place), &[0x80]].concat();
    let words = [&long(words.len() + 1)[..], &[6], &words].concat();
    let sensor = [b"GPS5l\x14\0\x01", &place[..]].concat();
    let ftyp = boxed(*b"ftyp", &[&brand, &[0; 4], &brand, b"isom"]);
    let (mut media, mut seen, mut felt) = (Vec::new(), Vec::new(), Vec::new());
    let start = ftyp.len() + 8;
    for number in 0..pictures {
        let picture = [&words[..], &slice(number, bytes)].concat();
        seen.push((start + media.len(), picture.len()));
        media.extend(picture);
        felt.push((start + media.len(), sensor.len()));
        media.extend(&sensor);
        media.extend(b"nobody's 47.137219 bytes");
    }
    let size = [2, 128, 1, 224];
    let avc = boxed(*b"avcC", &[sets]);
    let avc1 = boxed(*b"avc1", &[&[0; 7], &[1], &[0; 16], &size, &[0; 50], &avc]);
    let gpmd = boxed(*b"gpmd", &[&[0; 6], &[0, 1], &place]);
    let date = boxed(*b"\xA9day", &[&[0, 24, 0x55, 0xC4], b"2026-03-02T08:30:00+0900"]);
    let xyz = boxed(*b"\xA9xyz", &[b"\0\x12\x15\xc7+47.1372+009.5238/"]);
    // The whole film is not turned.
    let turn: Vec<u8> = [0x1_0000_u32, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000].iter().flat_map(|n| n.to_be_bytes()).collect();
    let moov = boxed(
        *b"moov",
        &[
            &boxed(
                *b"mvhd",
                &[&[0; 4], &3_855_252_600_u32.to_be_bytes(), &[0; 4], &long(600), &long(900), &[0; 16], &turn, &[0; 28]],
            ),
            &track(1, *b"vide", matrix, &avc1, &seen),
            &track(2, *b"meta", matrix, &gpmd, &felt),
            &boxed(*b"udta", &[&xyz, &date, &boxed(*b"\xA9mod", &[&[0, 5, 0x55, 0xC4], b"Phone"])]),
        ],
    );
    [ftyp, boxed(*b"mdat", &[&media]), moov, boxed(*b"uuid", &[&[7; 16], &place]), place].concat()
}

fn track(id: usize, handler: [u8; 4], matrix: [i32; 9], entry: &[u8], samples: &[(usize, usize)]) -> Vec<u8> {
    let (one, count, head) = (long(1), long(samples.len()), [0; 4]);
    let places: Vec<u8> = samples.iter().flat_map(|(at, _)| long(*at)).collect();
    let sizes: Vec<u8> = samples.iter().flat_map(|(_, length)| long(*length)).collect();
    let table = [
        boxed(*b"stsd", &[&head, &one, entry]),
        boxed(*b"stts", &[&head, &one, &count, &long(20)]),
        boxed(*b"stsc", &[&head, &one, &one, &one, &one]),
        boxed(*b"stsz", &[&head, &head, &count, &sizes]),
        boxed(*b"stco", &[&head, &count, &places]),
    ]
    .concat();
    let url = boxed(*b"url ", &[&[0, 0, 0, 1]]);
    let minf = [boxed(*b"dinf", &[&boxed(*b"dref", &[&head, &one, &url])]), boxed(*b"stbl", &[&table])].concat();
    let mdia = [
        boxed(*b"mdhd", &[&head, &[0; 8], &long(600), &long(20 * samples.len()), &[0; 4]]),
        boxed(*b"hdlr", &[&head, &head, &handler, &[0; 12], b"\0"]),
        boxed(*b"minf", &[&minf]),
    ]
    .concat();
    let matrix: Vec<u8> = matrix.iter().flat_map(|n| n.to_be_bytes()).collect();
    let tkhd = boxed(*b"tkhd", &[&[0, 0, 0, 1], &[0; 8], &long(id), &[0; 24], &matrix, &[0; 8]]);
    boxed(*b"trak", &[&tkhd, &boxed(*b"mdia", &[&mdia])])
}

/// Orientation 6, and nothing else that is read.
const EXIF: &[u8] = b"\0\0\0\x06Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

/// A HEIC photo of one picture of so many bytes, with XMP, a thumbnail, and Exif that asks for a turn
/// which the file has not.
pub fn heic(bytes: usize) -> Vec<u8> {
    let place = secrets().concat();
    let unit = |number: usize| [&long(bytes + 2)[..], &[40, 1], slice(number, bytes).get(5..).unwrap()].concat();
    let items = [
        (*b"hvc1", unit(1)),
        (*b"Exif", [EXIF, &place[..]].concat()),
        (*b"mime", [b"<x exif:GPSLatitude=\"47,8N\"/>", &place[..]].concat()),
        (*b"hvc1", unit(2)),
    ];
    let ftyp = boxed(*b"ftyp", &[b"heic\0\0\0\0mif1heic"]);
    let at = ftyp.len() + heif_index(&items, 0).len() + 8;
    let media: Vec<u8> = items.iter().flat_map(|(_, data)| data.clone()).collect();
    [ftyp, heif_index(&items, at), boxed(*b"mdat", &[&media]), place].concat()
}

fn heif_index(items: &[([u8; 4], Vec<u8>)], mut at: usize) -> Vec<u8> {
    let short = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let (mut iinf, mut iloc) = (short(items.len()).to_vec(), [&[0x44, 0], &short(items.len())[..]].concat());
    for ((kind, data), id) in items.iter().zip(1..) {
        let rest: &[u8] = if kind == b"mime" { b"application/rdf+xml\0" } else { b"" };
        iinf.extend(boxed(*b"infe", &[&[2, 0, 0, 0], &short(id), &[0; 2], kind, b"\0", rest]));
        iloc.extend([&short(id)[..], &[0; 4], &short(1), &long(at), &long(data.len())].concat());
        at += data.len();
    }
    let numbers = [&[1; 21][..], &[0x0F, 0]].concat();
    let ipco = [boxed(*b"hvcC", &[&numbers]), boxed(*b"ispe", &[&[0; 4], &long(64), &long(48)])].concat();
    let ipma = [&[0; 4][..], &long(2), &short(1), &[2, 0x81, 2], &short(4), &[2, 0x81, 2]].concat();
    let refers = |kind: [u8; 4], from: usize| boxed(kind, &[&short(from), &short(1), &short(1)]);
    boxed(
        *b"meta",
        &[
            &[0; 4],
            &boxed(*b"hdlr", &[&[0; 8], b"pict", &[0; 13]]),
            &boxed(*b"pitm", &[&[0; 4], &short(1)]),
            &boxed(*b"iloc", &[&[1, 0, 0, 0], &iloc]),
            &boxed(*b"iinf", &[&[0; 4], &iinf]),
            &boxed(*b"iref", &[&[0; 4], &refers(*b"cdsc", 2), &refers(*b"cdsc", 3), &refers(*b"thmb", 4)]),
            &boxed(*b"iprp", &[&boxed(*b"ipco", &[&ipco]), &boxed(*b"ipma", &[&ipma])]),
        ],
    )
}

/// A document of one page, its author a place; digitally signed or not.
pub fn pdf(is_signed: bool) -> Vec<u8> {
    let form = if is_signed { "/AcroForm << /SigFlags 3 /Fields [6 0 R] >>" } else { "" };
    let page = "0 0 1 rg 10 10 50 50 re f";
    let objects = [
        format!("<< /Type /Catalog /Pages 2 0 R {form} >>"),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R /Resources << >> >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Author (+47.1372+009.5238/ 47.137219) >>".to_owned(),
        "<< /Subtype /Widget /FT /Sig /T (s) /Rect [0 0 0 0] /V 7 0 R >>".to_owned(),
        "<< /Type /Sig /Filter /Adobe.PPKLite /ByteRange [0 1 2 3] /Contents <00> >>".to_owned(),
    ];
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (object, number) in objects.iter().zip(1..) {
        table.extend(format!("{:010} 00000 n \n", file.len()).chars());
        file.extend(format!("{number} 0 obj\n{object}\nendobj\n").into_bytes());
    }
    let at = file.len();
    let size = objects.len() + 1;
    file.extend(format!("{table}trailer\n<< /Size {size} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{at}\n%%EOF\n").into_bytes());
    file
}
