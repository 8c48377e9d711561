//! A colour profile for a picture that tells its colours by number only.
//!
//! Source: ICC.1:2022 §7 (structure), §8.4.3 (displays with a matrix), §10 (types); ITU-T H.273 §8.1.

/// Code points of H.273 table 2.
const PRIMARIES_BT2020: u16 = 9;
const PRIMARIES_DCI_P3: u16 = 11;
const PRIMARIES_DISPLAY_P3: u16 = 12;

/// The illuminant of every profile (§7.2.16), X, Y, Z.
const D50: [f64; 3] = [0.9642, 1.0, 0.8249];
/// From D65 to D50 by the Bradford matrix (annex E), row by row.
const FROM_D65: [f64; 9] = [1.047_886, 0.022_919, -0.050_216, 0.029_582, 0.990_484, -0.017_079, -0.009_252, 0.015_073, 0.751_678];
/// IEC 61966-2-1 as the parametric curve of function 3 (§10.18): g, a, b, c, d.
const CURVE: [f64; 5] = [2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.040_45];
/// X, Y, Z of red, green and blue, whose white is D65, seen under D50.
type Colourants = [[f64; 3]; 3];
const P3: Colourants = [[0.515_12, 0.241_19, -0.001_05], [0.291_98, 0.692_24, 0.041_88], [0.157_10, 0.066_57, 0.784_07]];
const BT2020: Colourants = [[0.673_48, 0.279_04, -0.001_93], [0.165_67, 0.675_34, 0.029_98], [0.125_05, 0.045_61, 0.796_85]];

const HEADER_BYTES: usize = 128;
const ENTRY_BYTES: usize = 12;

/// The profile of a display with these primaries and the curve of sRGB. The white of DCI-P3 is taken
/// for D65, as displays do. `None` where the primaries are those of sRGB, or near, or not said: nobody
/// needs to be told.
#[must_use]
pub fn of_primaries(primaries: u16) -> Option<Vec<u8>> {
    let (name, [red, green, blue]) = match primaries {
        PRIMARIES_DCI_P3 | PRIMARIES_DISPLAY_P3 => ("Display P3", P3),
        PRIMARIES_BT2020 => ("BT.2020", BT2020),
        _ => return None,
    };
    let curve = element(*b"para", &[0, 3, 0, 0], &CURVE);
    let colour = |of: [f64; 3]| element(*b"XYZ ", &[], &of);
    let tags = [
        (*b"desc", text(name)),
        (*b"cprt", text("none")),
        (*b"wtpt", colour(D50)),
        (*b"chad", element(*b"sf32", &[], &FROM_D65)),
        (*b"rXYZ", colour(red)),
        (*b"gXYZ", colour(green)),
        (*b"bXYZ", colour(blue)),
        (*b"rTRC", curve.clone()),
        (*b"gTRC", curve.clone()),
        (*b"bTRC", curve),
    ];
    let start = HEADER_BYTES + 4 + tags.len() * ENTRY_BYTES;
    let (mut table, mut elements) = (long(tags.len()).to_vec(), Vec::new());
    for (signature, element) in tags {
        table.extend([signature, long(start + elements.len()), long(element.len())].concat());
        elements.extend(element);
    }
    Some([header(start + elements.len()), table, elements].concat())
}

/// Version 4.4, of a display, RGB over XYZ, made when the year 2000 began (§7.2).
fn header(size_bytes: usize) -> Vec<u8> {
    let mut header =
        [&long(size_bytes)[..], &[0; 4], &[4, 0x40, 0, 0], b"mntrRGB XYZ ", &[7, 0xD0, 0, 1, 0, 1], &[0; 6]].concat();
    header.extend(b"acsp");
    header.extend([0; 28]);
    header.extend(D50.into_iter().flat_map(fixed));
    header.resize(HEADER_BYTES, 0);
    header
}

/// An element of numbers.
fn element(kind: [u8; 4], head: &[u8], numbers: &[f64]) -> Vec<u8> {
    let mut element = [&kind[..], &[0; 4], head].concat();
    element.extend(numbers.iter().copied().flat_map(fixed));
    element
}

/// An element of one text (`mluc`), of whole fours.
fn text(words: &str) -> Vec<u8> {
    let utf16: Vec<u8> = words.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut element = [&b"mluc\0\0\0\0\0\0\0\x01\0\0\0\x0CenUS"[..], &long(utf16.len()), &long(28), &utf16].concat();
    element.resize(element.len().next_multiple_of(4), 0);
    element
}

/// A number of 16 bits before the point and 16 behind it.
fn fixed(value: f64) -> [u8; 4] {
    #[allow(clippy::cast_possible_truncation)] // the numbers above are below 3
    let fixed = (value * 65_536.0).round() as i32;
    fixed.to_be_bytes()
}

fn long(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_colours_together_are_white() {
        for [red, green, blue] in [P3, BT2020] {
            for (((r, g), b), white) in red.into_iter().zip(green).zip(blue).zip(D50) {
                assert!((r + g + b - white).abs() < 0.0005, "{r} + {g} + {b} is not {white}");
            }
        }
    }

    #[test]
    fn only_wide_colours_need_words() {
        for (primaries, is_wide) in [(1, false), (2, false), (5, false), (6, false), (9, true), (11, true), (12, true)] {
            let profile = of_primaries(primaries);
            assert_eq!(profile.is_some(), is_wide, "{primaries}");
            assert!(profile.is_none_or(|p| p.len() % 4 == 0 && p[..4] == long(p.len())), "{primaries}");
        }
    }
}
