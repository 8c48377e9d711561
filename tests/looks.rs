//! Objects as other programs show them: colours, turns and edges are those of the source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod archive_peer;
mod dicom_fixture;
mod support;

use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use archive_peer::web::orthanc;
use dicom_dictionary_std::tags;
use dicom_fixture::{TempDir, run};
use dicom_object::DefaultDicomObject;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GenericImageView, GrayImage, ImageBuffer, ImageFormat, Rgb, RgbImage, RgbaImage};
use serde_json::{Value, json};
use shutterbridge::media::{jpeg, raster};

// ---------------------------------------------------------------- from a file to its object, and back

fn wrap(folder: &Path, file: &Path) -> PathBuf {
    let line = dicom_fixture::wrap(folder, &[file], &json!({}), |_| ()).remove(0);
    line["output"].as_str().unwrap_or_else(|| panic!("{line}")).into()
}

fn object_of(folder: &Path, file: &Path) -> DefaultDicomObject {
    dicom_object::open_file(wrap(folder, file)).unwrap()
}

/// The picture of an object, as the samples say without a profile.
fn shown(object: &DefaultDicomObject) -> RgbImage {
    let pixels = object.element(tags::PIXEL_DATA).unwrap();
    if let Some([fragment]) = pixels.fragments() {
        return image::load_from_memory_with_format(fragment, ImageFormat::Jpeg).unwrap().into_rgb8();
    }
    let side = |tag| object.element(tag).unwrap().to_int::<u32>().unwrap();
    RgbImage::from_raw(side(tags::COLUMNS), side(tags::ROWS), pixels.to_bytes().unwrap().into_owned()).unwrap()
}

/// The same of a JPEG whose chroma is repeated, as libheif does, where others smooth it; `None` where
/// `djpeg` is not installed.
fn unsmoothed(folder: &Path, object: &DefaultDicomObject) -> Option<RgbImage> {
    let file = folder.join("fragment.jpg");
    std::fs::write(&file, &object.element(tags::PIXEL_DATA).unwrap().fragments().unwrap()[0]).unwrap();
    let output = run("djpeg", &["-nosmooth", "-rgb", "-dct", "int", "-ppm", file.to_str().unwrap()])?;
    // A head of text, then three bytes a pixel.
    let picture = image::load_from_memory(&std::fs::read(&file).unwrap()).unwrap();
    let samples = picture.width() as usize * picture.height() as usize * 3;
    RgbImage::from_raw(picture.width(), picture.height(), output.stdout[output.stdout.len() - samples..].to_vec())
}

fn file_of(folder: &Path, name: &str, picture: &DynamicImage) -> PathBuf {
    let file = folder.join(name);
    let mut bytes = Vec::new();
    if name.ends_with("png") {
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    } else {
        JpegEncoder::new_with_quality(&mut bytes, 98).encode_image(picture).unwrap();
    }
    std::fs::write(&file, bytes).unwrap();
    file
}

/// A picture as `heif-enc` codes it; `None` where that is not installed.
fn heic_of(folder: &Path, source: &Path, options: &[&str]) -> Option<Vec<u8>> {
    let heic = folder.join("coded.heic");
    let output = run("heif-enc", &[options, &["-o", heic.to_str().unwrap(), source.to_str().unwrap()]].concat())?;
    assert!(output.status.success(), "heif-enc: {}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(heic).unwrap())
}

/// The index of a HEIC with further properties of the picture that is shown, in the order in which they
/// are applied: those of its last item.
fn with_properties(heic: &[u8], properties: &[Vec<u8>]) -> Vec<u8> {
    let mut file = heic.to_vec();
    let number = |file: &[u8], at: usize| u32::from_be_bytes(*file[at..].first_chunk().unwrap());
    let place = |kind: &[u8; 4]| memchr::memmem::find(heic, kind).unwrap() - 4;
    let (ipco, ipma, iloc, mdat) = (place(b"ipco"), place(b"ipma"), place(b"iloc"), place(b"mdat"));
    let end = ipma + number(heic, ipma) as usize;
    // Version and flags, how many items, then for each its number and how many properties it has.
    let mut last = ipma + 16;
    while last + 3 + usize::from(heic[last + 2]) < end {
        last += 3 + usize::from(heic[last + 2]);
    }
    let boxes = properties.concat();
    // The list of properties ends with the last one of this item.
    let numbers: Vec<u8> = ((heic[end - 1] & 0x7F) + 1..).take(properties.len()).collect();
    let added = boxes.len() + numbers.len();
    for (at, more) in [(ipco, boxes.len()), (ipma, numbers.len()), (place(b"iprp"), added), (place(b"meta"), added)] {
        let size = number(heic, at) + u32::try_from(more).unwrap();
        file[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }
    let told = u32::try_from(mdat + 8).unwrap();
    let at = iloc + memchr::memmem::find(&heic[iloc..], &told.to_be_bytes()).unwrap();
    file[at..at + 4].copy_from_slice(&(told + u32::try_from(added).unwrap()).to_be_bytes());
    file[last + 2] += u8::try_from(numbers.len()).unwrap();
    file.splice(end..end, numbers);
    file.splice(ipma..ipma, boxes);
    file
}

fn property(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&u32::try_from(8 + body.len()).unwrap().to_be_bytes()[..], &kind, body].concat()
}

// ---------------------------------------------------------------- HEIC beside libheif

/// Mean and largest difference of two pictures, in levels of 255.
fn apart(ours: &RgbImage, theirs: &RgbImage) -> (f64, u8) {
    assert_eq!(ours.dimensions(), theirs.dimensions());
    let each = || ours.as_raw().iter().zip(theirs.as_raw()).map(|(a, b)| a.abs_diff(*b));
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let mean = each().map(f64::from).sum::<f64>() / ours.as_raw().len() as f64;
    (mean, each().max().unwrap())
}

/// What libheif makes of a file, on white; `None` where it is not installed, or does not take it.
fn by_libheif(folder: &Path, heic: &Path) -> Option<RgbImage> {
    let png = folder.join("theirs.png");
    let _ = std::fs::remove_file(&png);
    run("heif-convert", &[heic.to_str().unwrap(), png.to_str().unwrap()])?;
    let theirs = raster::native(&std::fs::read(png).ok()?, shutterbridge::capture::media::Orientation::UPRIGHT).unwrap();
    let bytes = if theirs.samples == 3 { theirs.bytes } else { theirs.bytes.iter().flat_map(|grey| [*grey; 3]).collect() };
    RgbImage::from_raw(theirs.width, theirs.height, bytes)
}

/// The hardest that there is for chroma: thin lines and sharp shapes in full colours.
fn drawing(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (i64::from(x) - i64::from(width * 2 / 3), i64::from(y) - i64::from(height / 2));
        let reach = i64::from(height / 4);
        Rgb(if dx * dx + dy * dy < reach * reach {
            [10, 40, 220]
        } else if x < width / 3 && y < height / 3 {
            [250, 240, 10]
        } else if (x + y) % 29 < 2 {
            [255, 255, 255]
        } else {
            [u8::try_from(y * 250 / height).unwrap(), 120, 60]
        })
    })
}

/// One coding as JPEG of quality 95 costs up to a level; colours of a wrong matrix or range are five to
/// fourteen levels off.
const MEAN_MAX: f64 = 1.25;
const MOST_MAX: u8 = 40;

/// A name, a picture, how `heif-enc` codes it, and properties it has not thought of.
type Case<'a> = (&'a str, &'a DynamicImage, &'a [&'a str], &'a [Vec<u8>]);

#[test]
fn what_cannot_be_turned_as_it_is_coded_is_coded_again_or_cut_as_the_configuration_says() {
    let folder = TempDir::new("looks-edge");
    // As 4000 × 3000 pixels: the chroma of the last rows has no whole block.
    let picture = RgbImage::from_fn(64, 56, |x, y| {
        let tone = |n: u32| u8::try_from(n).unwrap();
        Rgb([tone(3 * x), tone(4 * y), tone(x + y)])
    });
    let plain = folder.path().join("plain.jpg");
    let ppm = folder.path().join("plain.ppm");
    std::fs::write(&ppm, [&b"P6 64 56 255\n"[..], picture.as_raw()].concat()).unwrap();
    if run("cjpeg", &["-sample", "2x2", "-outfile", plain.to_str().unwrap(), ppm.to_str().unwrap()]).is_none() {
        return eprintln!("skipped: cjpeg is not installed");
    }
    let coded = std::fs::read(&plain).unwrap();
    let block = [b"Exif\0\0", &exif(6)[..]].concat();
    let length = u16::try_from(block.len() + 2).unwrap().to_be_bytes();
    let file = folder.path().join("turned.jpg");
    std::fs::write(&file, [&coded[..2], b"\xFF\xE1", &length, &block, &coded[2..]].concat()).unwrap();
    let text = |object: &DefaultDicomObject, tag| object.element(tag).unwrap().to_str().unwrap().trim().to_owned();
    for (edges, columns, methods, says) in [
        ("recode", "56", "ISO_10918_1\\ISO_10918_1", "compressed again"),
        ("trim", "48", "ISO_10918_1", "Cut at one edge or two by less than a unit of its coding"),
    ] {
        let set = |command: &mut std::process::Command| {
            command.env("SHUTTERBRIDGE__PHOTO__EDGE_BLOCKS", edges);
        };
        let line = dicom_fixture::wrap(folder.path(), &[&file], &json!({}), set).remove(0);
        let path = line["output"].as_str().unwrap_or_else(|| panic!("{line}"));
        let object = dicom_object::open_file(path).unwrap();
        assert_eq!(dicom_fixture::validator_errors(Path::new(path)), Vec::<String>::new(), "{edges}");
        assert_eq!((text(&object, tags::ROWS), text(&object, tags::COLUMNS)), ("64".to_owned(), columns.to_owned()), "{edges}");
        assert_eq!(text(&object, tags::IMAGE_TYPE), "DERIVED\\PRIMARY", "{edges}");
        assert_eq!(text(&object, tags::LOSSY_IMAGE_COMPRESSION_METHOD), methods, "{edges}");
        assert!(text(&object, tags::DERIVATION_DESCRIPTION).contains(says), "{edges}");
        if edges == "trim" {
            let turned = folder.path().join("referee.jpg");
            let args = ["-copy", "none", "-trim", "-rotate", "90", "-outfile", turned.to_str().unwrap(), plain.to_str().unwrap()];
            run("jpegtran", &args).unwrap();
            let theirs = image::open(&turned).unwrap().into_rgb8();
            assert_eq!(shown(&object), theirs, "not one pixel of what is left is another");
        }
    }
}

#[test]
fn a_heic_looks_as_libheif_shows_it() {
    let folder = TempDir::new("looks-heic");
    let photo = image::load_from_memory(&raster::draw_sample_photo()).unwrap().thumbnail(400, 300);
    let grey = GrayImage::from_fn(160, 100, |x, y| image::Luma([u8::try_from(u32::midpoint(x, y)).unwrap()]));
    let deep = ImageBuffer::from_fn(160, 120, |x, y| Rgb([x, y, x + y].map(|n| u16::try_from(n * 230).unwrap())));
    let veiled =
        RgbaImage::from_fn(128, 96, |x, y| image::Rgba([200, 60, u8::try_from(y).unwrap(), u8::try_from(x * 2).unwrap()]));
    // Within the range that is left where it is limited.
    let dull = RgbImage::from_fn(400, 300, |x, y| {
        Rgb(photo.get_pixel(x, y).0[..3].try_into().map(|rgb: [u8; 3]| rgb.map(|n| 60 + n / 2)).unwrap())
    });
    let [grey, deep, veiled, dull] = [grey.into(), DynamicImage::ImageRgb16(deep), veiled.into(), dull.into()];
    let turned = [property(*b"irot", &[3]), property(*b"imir", &[0])];
    let limited = [property(*b"colr", b"nclx\0\x01\0\x0D\0\x06\0")];
    let bt709 = [property(*b"colr", b"nclx\0\x01\0\x01\0\x01\0")];
    let table: [Case; 11] = [
        ("photo.jpg", &photo, &[], &[]),
        ("full chroma.jpg", &photo, &["-p", "chroma=444"], &[]),
        ("half chroma.jpg", &photo, &["-p", "chroma=422"], &[]),
        ("turned.jpg", &photo, &[], &turned[..1]),
        ("mirrored.jpg", &photo, &[], &turned[1..]),
        ("turned and mirrored.jpg", &photo, &["-p", "chroma=422"], &turned),
        ("limited range.jpg", &dull, &[], &limited),
        ("another matrix.jpg", &dull, &[], &bt709),
        ("grey.png", &grey, &[], &[]),
        ("ten bits.png", &deep, &["-b", "10"], &[]),
        ("transparent.png", &veiled, &[], &[]),
    ];
    for (name, picture, options, properties) in table {
        let source = file_of(folder.path(), name, picture);
        let Some(heic) = heic_of(folder.path(), &source, &[&["-q", "90"], options].concat()) else { return };
        let file = source.with_extension("heic");
        std::fs::write(&file, with_properties(&heic, properties)).unwrap();
        let Some(theirs) = by_libheif(folder.path(), &file) else { return };
        let (mean, most) = apart(&shown(&object_of(folder.path(), &file)), &theirs);
        assert!(mean < MEAN_MAX && most < MOST_MAX, "{name}: {mean} levels off, at most {most}");
    }
}

#[test]
fn the_colours_of_sharp_edges_stay_where_they_are() {
    let folder = TempDir::new("looks-edges");
    let turns = [property(*b"irot", &[1]), property(*b"imir", &[1])];
    // Where an edge cuts a sample of chroma in two, and the picture is mirrored, it lies between two others.
    for (size, turn, most) in
        [((96, 64), &turns[..0], 4.0), ((97, 65), &[], 4.0), ((97, 65), &turns[..1], 6.0), ((97, 65), &turns[1..], 6.0)]
    {
        let source = file_of(folder.path(), "drawing.png", &drawing(size.0, size.1).into());
        let Some(heic) = heic_of(folder.path(), &source, &["-q", "95"]) else { return };
        let file = folder.path().join("drawing.heic");
        std::fs::write(&file, with_properties(&heic, turn)).unwrap();
        let Some(theirs) = by_libheif(folder.path(), &file) else { return };
        let Some(ours) = unsmoothed(folder.path(), &object_of(folder.path(), &file)) else { return };
        let moved = |x: i64, y: i64| {
            let at =
                |place: u32, by: i64, side: u32| u32::try_from((i64::from(place) + by).clamp(0, i64::from(side) - 1)).unwrap();
            let (width, height) = theirs.dimensions();
            let theirs = RgbImage::from_fn(width, height, |px, py| *theirs.get_pixel(at(px, x, width), at(py, y, height)));
            apart(&ours, &theirs).0
        };
        assert!(moved(0, 0) < most, "{size:?}: {} levels off", moved(0, 0));
        for (x, y) in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
            assert!(moved(0, 0) * 2.0 < moved(x, y), "{size:?}: a pixel beside it fits better, {x} {y}");
        }
    }
}

// ---------------------------------------------------------------- Display P3

/// As a chart for cameras has them, and the three primaries; each moved by so little that 8 bits of YCbCr
/// say it to the level, for it is not the rounding of JPEG that is in question. sRGB has seven of them not.
const PATCHES: [[u8; 3]; 24] = [
    [114, 82, 69],
    [195, 148, 130],
    [98, 122, 158],
    [83, 110, 67],
    [129, 132, 175],
    [101, 190, 170],
    [214, 128, 43],
    [76, 94, 168],
    [189, 94, 100],
    [91, 64, 107],
    [158, 188, 64],
    [228, 163, 45],
    [56, 62, 148],
    [73, 144, 76],
    [175, 54, 61],
    [231, 198, 33],
    [190, 86, 147],
    [8, 133, 163],
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [243, 243, 243],
    [122, 122, 122],
    [52, 52, 52],
];
const SIDE: u32 = 64;

fn chart() -> RgbImage {
    RgbImage::from_fn(6 * SIDE, 4 * SIDE, |x, y| Rgb(PATCHES[(y / SIDE * 6 + x / SIDE) as usize]))
}

type Vector = [f64; 3];

fn by_matrix(columns: &[Vector; 3], [a, b, c]: Vector) -> Vector {
    std::array::from_fn(|row| columns[0][row] * a + columns[1][row] * b + columns[2][row] * c)
}

/// The three columns of the inverse of a matrix, by Cramer's rule.
fn inverse(columns: &[Vector; 3]) -> [Vector; 3] {
    let cross = |a: Vector, b: Vector| [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let [a, b, c] = *columns;
    let rows = [cross(b, c), cross(c, a), cross(a, b)];
    let determinant: f64 = a.iter().zip(rows[0]).map(|(a, b)| a * b).sum();
    std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column] / determinant))
}

const D50: Vector = [0.9642, 1.0, 0.8249];
/// IEC 61966-2-1, which Display P3 shares.
fn light(code: f64) -> f64 {
    if code <= 0.040_45 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) }
}

/// X, Y, Z under D50 of red, green and blue with these chromaticities and a white of D65: Bradford.
fn colourants(primaries: [[f64; 2]; 3]) -> [Vector; 3] {
    let xyz = |[x, y]: [f64; 2]| [x / y, 1.0, (1.0 - x - y) / y];
    let (bare, white) = (primaries.map(xyz), xyz([0.3127, 0.3290]));
    let shares = by_matrix(&inverse(&bare), white);
    let bradford = [[0.8951, -0.7502, 0.0389], [0.2664, 1.7135, -0.0685], [-0.1614, 0.0367, 1.0296]];
    let (from, to) = (by_matrix(&bradford, white), by_matrix(&bradford, D50));
    std::array::from_fn(|colour| {
        let cones = by_matrix(&bradford, bare[colour].map(|part| part * shares[colour]));
        by_matrix(&inverse(&bradford), std::array::from_fn(|n| cones[n] * to[n] / from[n]))
    })
}

fn lab(xyz: Vector) -> Vector {
    let [x, y, z] = std::array::from_fn(|n| {
        let t: f64 = xyz[n] / D50[n];
        if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// CIE 1976.
fn delta_e(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// A profile of a matrix and one curve, as bytes: version 4, a parametric curve like that of sRGB.
fn display_p3() -> Vec<u8> {
    let fixed = |value: f64| {
        #[allow(clippy::cast_possible_truncation)]
        let fixed = (value * 65_536.0).round() as i32;
        fixed.to_be_bytes()
    };
    let numbers = |kind: &[u8], head: &[u8], all: &[f64]| {
        [kind, &[0; 4], head, &all.iter().flat_map(|n| fixed(*n)).collect::<Vec<_>>()].concat()
    };
    let [red, green, blue] = colourants([[0.680, 0.320], [0.265, 0.690], [0.150, 0.060]]);
    let curve = numbers(b"para", &[0, 3, 0, 0], &[2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.040_45]);
    let colour = |of: Vector| numbers(b"XYZ ", &[], &of);
    let tags = [
        (b"wtpt", colour(D50)),
        (b"rXYZ", colour(red)),
        (b"gXYZ", colour(green)),
        (b"bXYZ", colour(blue)),
        (b"rTRC", curve.clone()),
        (b"gTRC", curve.clone()),
        (b"bTRC", curve),
    ];
    let long = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
    let start = 132 + tags.len() * 12;
    let (mut table, mut data) = (long(tags.len()).to_vec(), Vec::new());
    for (name, element) in tags {
        table.extend([*name, long(start + data.len()), long(element.len())].concat());
        data.extend(element);
    }
    let size = long(start + data.len());
    let mut header =
        [&size[..], &[0; 4], &[4, 0, 0, 0], b"mntrRGB XYZ ", &[7, 0xE2, 0, 1, 0, 1], &[0; 6], b"acsp", &[0; 28]].concat();
    header.extend(D50.into_iter().flat_map(fixed));
    header.resize(128, 0);
    [header, table, data].concat()
}

/// What a profile makes of three codes; without one they are sRGB.
fn seen(profile: Option<&[u8]>, codes: Vector) -> Vector {
    let Some(profile) = profile else {
        let srgb = colourants([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]]);
        return lab(by_matrix(&srgb, codes.map(|code| light(code / 255.0))));
    };
    let long = |at: usize| u32::from_be_bytes(*profile[at..].first_chunk().unwrap());
    let element = |name: &[u8; 4]| {
        let entry = (0..long(128) as usize).map(|n| 132 + n * 12).find(|at| profile[*at..*at + 4] == *name).unwrap();
        long(entry + 4) as usize
    };
    let fixed = |at: usize| f64::from(i32::from_be_bytes(*profile[at..].first_chunk().unwrap())) / 65_536.0;
    let colour = |name| std::array::from_fn(|n| fixed(element(name) + 8 + n * 4));
    let columns = [colour(b"rXYZ"), colour(b"gXYZ"), colour(b"bXYZ")];
    let names = [b"rTRC", b"gTRC", b"bTRC"];
    let linear = std::array::from_fn(|n| {
        let (at, code) = (element(names[n]), codes[n] / 255.0);
        assert_eq!(profile[at..at + 10], *b"para\0\0\0\0\0\x03");
        let [power, slope, offset, near_black, end] = std::array::from_fn(|n| fixed(at + 12 + n * 4));
        if code >= end { (slope * code + offset).powf(power) } else { near_black * code }
    });
    lab(by_matrix(&columns, linear))
}

#[test]
fn the_colours_of_display_p3_are_seen_as_they_were_meant() {
    let folder = TempDir::new("looks-p3");
    let chart = chart();
    let deep =
        ImageBuffer::from_fn(chart.width(), chart.height(), |x, y| Rgb(chart.get_pixel(x, y).0.map(|n| u16::from(n) * 257)));
    let plain = file_of(folder.path(), "plain.png", &DynamicImage::ImageRgb8(chart.clone()));
    let deep = file_of(folder.path(), "deep.png", &DynamicImage::ImageRgb16(deep));
    let bytes = |file: &Path| std::fs::read(file).unwrap();
    let photo = bytes(&file_of(folder.path(), "plain.jpg", &DynamicImage::ImageRgb8(chart)));
    let colr = |body: &[u8]| [property(*b"colr", body)];
    let profile = [b"prof", &display_p3()[..]].concat();
    let number = b"nclx\0\x0C\0\x0D\0\x06\x80";
    let mut table = vec![("photo.jpg", jpeg::with_profile(&photo, &display_p3()))];
    if let Some(heic) = heic_of(folder.path(), &plain, &["-q", "98", "-p", "chroma=444"]) {
        let deep = heic_of(folder.path(), &deep, &["-q", "98", "-p", "chroma=444", "-b", "10"]).unwrap();
        let coarse = heic_of(folder.path(), &plain, &["-q", "98"]).unwrap();
        table.extend([
            ("profile.heic", with_properties(&heic, &colr(&profile))),
            ("profile, 10 bits.heic", with_properties(&deep, &colr(&profile))),
            ("profile, 4:2:0.heic", with_properties(&coarse, &colr(&profile))),
            ("number.heic", with_properties(&heic, &colr(number))),
            ("number, 10 bits.heic", with_properties(&deep, &colr(number))),
            ("number and profile.heic", with_properties(&heic, &[colr(number), colr(&profile)].concat())),
        ]);
    }
    let p3 = colourants([[0.680, 0.320], [0.265, 0.690], [0.150, 0.060]]);
    for (name, bytes) in table {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let object = object_of(folder.path(), &file);
        let profile = object.get(tags::ICC_PROFILE).map(|element| element.to_bytes().unwrap().into_owned());
        assert!(profile.as_ref().is_none_or(|profile| profile[12..20] == *b"scnrRGB "), "{name}");
        let picture = shown(&object);
        for (number, patch) in (0..).zip(PATCHES) {
            // The middle of the patch: at its edges chroma is shared.
            let (left, top) = (number % 6 * SIDE + SIDE / 4, number / 6 * SIDE + SIDE / 4);
            let part = image::imageops::crop_imm(&picture, left, top, SIDE / 2, SIDE / 2).to_image();
            let codes = std::array::from_fn(|n| {
                part.pixels().map(|pixel| f64::from(pixel.0[n])).sum::<f64>() / f64::from(SIDE * SIDE / 4)
            });
            let meant = lab(by_matrix(&p3, patch.map(|code| light(f64::from(code) / 255.0))));
            let off = delta_e(seen(profile.as_deref(), codes), meant);
            assert!(off <= 1.0, "{name}: {patch:?} is {codes:?}, {off} off");
        }
    }
}

// ---------------------------------------------------------------- eight turns

/// Red, green, blue and white, from the upper left on.
const QUARTERS: [[u8; 3]; 4] = [[220, 30, 30], [30, 180, 40], [40, 50, 200], [240, 240, 240]];

/// As it lies in a file that asks for one of the turns of Exif.
fn lying(picture: &RgbImage, orientation: u8) -> DynamicImage {
    let picture = DynamicImage::ImageRgb8(picture.clone());
    match orientation {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        5 => picture.rotate90().fliph(),
        6 => picture.rotate270(),
        7 => picture.rotate270().fliph(),
        8 => picture.rotate90(),
        _ => picture,
    }
}

/// A TIFF of Orientation alone.
fn exif(orientation: u8) -> Vec<u8> {
    [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation, 0, 0, 0, 0, 0, 0]].concat()
}

/// The turn as HEIF says it (ISO/IEC 23008-12 §6.5.10, §6.5.12).
fn turn(orientation: u8) -> Vec<Vec<u8>> {
    let (irot, imir) = (|quarters| property(*b"irot", &[quarters]), |axis| property(*b"imir", &[axis]));
    match orientation {
        2 => vec![imir(1)],
        3 => vec![irot(2)],
        4 => vec![imir(0)],
        5 => vec![irot(1), imir(0)],
        6 => vec![irot(3)],
        7 => vec![irot(3), imir(0)],
        8 => vec![irot(1)],
        _ => vec![],
    }
}

/// The same picture in every container, held in one of eight ways.
fn held(folder: &Path, orientation: u8) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    // Whole blocks, and edges that are none.
    for (width, height) in [(96, 64), (101, 71)] {
        let quarter = |x, y| usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
        let upright = RgbImage::from_fn(width, height, |x, y| Rgb(QUARTERS[quarter(x, y)]));
        let lying = lying(&upright, orientation);
        let file = |name: &str| file_of(folder, name, &lying);
        let bytes = |name: &str| std::fs::read(file(name)).unwrap();
        let jpeg = bytes("lying.jpg");
        let block = [b"Exif\0\0", &exif(orientation)[..]].concat();
        let length = u16::try_from(block.len() + 2).unwrap().to_be_bytes();
        all.push((format!("{width}.jpg"), [&jpeg[..2], &[0xFF, 0xE1], &length, &block, &jpeg[2..]].concat()));
        let png = bytes("lying.png");
        let mut chunk = [b"eXIf", &exif(orientation)[..]].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&chunk);
        chunk.extend(crc.sum().to_be_bytes());
        let length = u32::try_from(chunk.len() - 8).unwrap().to_be_bytes();
        // Behind the header.
        all.push((format!("{width}.png"), [&png[..33], &length, &chunk, &png[33..]].concat()));
        if let Some(heic) = heic_of(folder, &file("lying.png"), &["-q", "90"]) {
            all.push((format!("{width}.heic"), with_properties(&heic, &turn(orientation))));
        }
    }
    all
}

/// Asks a web service, and gives the body of what it answers.
fn ask(address: SocketAddr, request: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    answer.split_off(head + 4)
}

/// Orthanc's own picture of an object.
fn preview(archive: SocketAddr, object: &Path) -> RgbImage {
    let answer: Value = serde_json::from_slice(&ask(archive, "POST /instances", &std::fs::read(object).unwrap())).unwrap();
    let png = ask(archive, &format!("GET /instances/{}/preview", answer["ID"].as_str().unwrap()), &[]);
    image::load_from_memory_with_format(&png, ImageFormat::Png).unwrap().into_rgb8()
}

#[test]
fn an_archive_shows_every_picture_upright_however_it_was_held() {
    let folder = TempDir::new("looks-turns");
    let Some((archive, _)) = orthanc(folder.path(), "") else { return };
    for orientation in 1..=8 {
        for (name, bytes) in held(folder.path(), orientation) {
            let file = folder.path().join(&name);
            std::fs::write(&file, bytes).unwrap();
            let seen = preview(archive.address, &wrap(folder.path(), &file));
            let (width, height) = seen.dimensions();
            assert!(width > height, "{name} held as {orientation} is {width} × {height}");
            for (n, colour) in (0..).zip(QUARTERS) {
                let at = (width / 4 + n % 2 * width / 2, height / 4 + n / 2 * height / 2);
                let far = seen.get_pixel(at.0, at.1).0.iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max();
                assert!(
                    far < Some(12),
                    "{name} held as {orientation}: {:?} where {colour:?} belongs",
                    seen.get_pixel(at.0, at.1)
                );
            }
        }
    }
}
