//! What may stay, as data. The planners and the verifier both read it; nothing else decides.

pub mod pdf;

use super::ScrubError;
use crate::media::raster;

/// What a scrub is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A file that looks as before in any viewer: the colour profile stays (its words rewritten),
    /// and an Exif block of Orientation alone where the source turned the picture by one.
    File,
    /// A stream for a DICOM object: no Exif at all, and the colour profile leaves the stream, for
    /// it goes to (0028,2000) (PS3.3 §C.11.15).
    Object,
}

/// Limits of one file. The number of bytes is limited where they come in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels of a picture.
    pub pixels_max: u64,
    /// Pixels of a picture that has to be decoded to become an object: PNG, and every JPEG that is
    /// turned or that no transfer syntax carries as it is.
    pub decoded_pixels_max: u64,
    /// Segments or chunks of one file, stray markers among them.
    pub segments_max: u32,
    /// Scans in one JPEG.
    pub scans_max: u32,
    /// Reads every Huffman code of a JPEG, so that what stands in a scan and belongs to no MCU goes
    /// too. Costs some milliseconds for a photo.
    pub walks_scans: bool,
}

impl Limits {
    /// The defaults, and scans are walked.
    #[must_use]
    pub fn walking() -> Self {
        Self { walks_scans: true, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The largest phone sensor of 2026 has 200 million.
            pixels_max: 256_000_000,
            decoded_pixels_max: raster::PIXELS_MAX,
            // 64 MiB of APP segments of 64 KiB are 1,024, and PNG writers cut IDAT into 8 KiB.
            segments_max: 16_384,
            // A progressive picture has ten, or some sixty where a packer went through all. Each
            // costs its reader a pass over the whole picture.
            scans_max: 200,
            walks_scans: false,
        }
    }
}

/// Longest side: Rows and Columns are US (PS3.3 §C.7.6.3.1).
pub const SIDE_MAX: u32 = 65_535;

impl Limits {
    pub(super) fn check_size(&self, width: u32, height: u32, must_decode: bool) -> Result<(), ScrubError> {
        let pixels = u64::from(width) * u64::from(height);
        let most = if must_decode { self.decoded_pixels_max } else { self.pixels_max };
        if width > SIDE_MAX || height > SIDE_MAX || pixels > most {
            return Err(ScrubError::too_large(format!(
                "The picture has {width} × {height} pixels; at most {most} pixels and {SIDE_MAX} on a side are accepted here. Send it smaller."
            )));
        }
        Ok(())
    }
}

/// Largest colour profile, bytes: it is held in memory. Those of phones have 0.5 to 4 KiB.
pub const PROFILE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a profile in one APP2 segment: 65,533 less identifier, number and count (ICC.1 §B.4).
pub const PROFILE_CHUNK_BYTES: usize = 65_519;
/// The name that every PNG's profile gets.
pub const PNG_PROFILE_NAME: &[u8] = b"icc";

/// Profile tags that hold the colours of a picture and no words (ICC.1:2022 §9.2). Those that describe a
/// screen or a print, and calculators (`D2B0`), go: every reader can do without.
pub const PROFILE_COLOUR_TAGS: [&[u8; 4]; 17] = [
    b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"bkpt", b"chad", b"cicp", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"A2B0", b"A2B1", b"A2B2",
    b"B2A0", b"B2A1", b"B2A2",
];

/// The words that a profile may have: common profiles keep their well-known name, so that people
/// and programs still recognise them; every other word becomes one of the last two.
pub const PROFILE_WORDS: [&str; 15] = [
    "sRGB IEC61966-2.1",
    "sRGB",
    "sRGB built-in",
    "sRGB2014",
    "Display P3",
    "Image P3",
    "P3",
    "Adobe RGB (1998)",
    "ProPhoto RGB",
    "ROMM RGB",
    "Generic RGB Profile",
    "Generic Gray Profile",
    "Generic Gray Gamma 2.2 Profile",
    PROFILE_UNNAMED,
    PROFILE_REMOVED,
];
pub const PROFILE_UNNAMED: &str = "unnamed";
pub const PROFILE_REMOVED: &str = "removed";

/// When every profile was made: the date is identity too, and no date is not a legal one.
pub const PROFILE_DATE: [u8; 12] = [0x07, 0xD0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];

/// What becomes of a PNG chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PngChunk {
    Header,
    Palette,
    Picture,
    End,
    Profile,
    Exif,
    Text,
    /// Colour and size of the pixels; of this many bytes, or of as many as the picture says.
    Colour(Length),
    /// Goes, under this word.
    Other(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Is(usize),
    /// tRNS, sBIT, bKGD: by colour type and palette.
    ByPicture,
}

impl PngChunk {
    #[must_use]
    pub fn of(kind: [u8; 4]) -> Self {
        match &kind {
            b"IHDR" => Self::Header,
            b"PLTE" => Self::Palette,
            b"IDAT" => Self::Picture,
            b"IEND" => Self::End,
            b"iCCP" => Self::Profile,
            b"eXIf" => Self::Exif,
            b"tEXt" | b"zTXt" | b"iTXt" => Self::Text,
            b"tRNS" | b"sBIT" | b"bKGD" => Self::Colour(Length::ByPicture),
            b"gAMA" | b"cICP" => Self::Colour(Length::Is(4)),
            b"sRGB" => Self::Colour(Length::Is(1)),
            b"cHRM" => Self::Colour(Length::Is(32)),
            b"pHYs" => Self::Colour(Length::Is(9)),
            b"mDCV" => Self::Colour(Length::Is(24)),
            b"cLLI" => Self::Colour(Length::Is(8)),
            b"tIME" => Self::Other("png.time"),
            b"acTL" | b"fcTL" | b"fdAT" => Self::Other("png.animation"),
            b"caBX" => Self::Other("png.jumbf"),
            _ => Self::Other("png.unknown"),
        }
    }
}

/// Brands that a scrubbed HEIF file may name (ISO/IEC 23008-12 §10, ISO/IEC 23000-22 §10): those of
/// single pictures. What names a sequence, a tone map or a maker goes with what it names.
pub const HEIF_BRANDS: [&[u8; 4]; 6] = [b"heic", b"heix", b"mif1", b"miaf", b"MiHB", b"MiHE"];
/// The whole handler box: pictures, no name.
pub const HEIF_HANDLER: &[u8] = b"\0\0\0\x21hdlr\0\0\0\0\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// How many pictures may be made of each other in a row, and how deep references are followed.
/// Phones do one: a grid of tiles.
pub const HEIF_DEPTH_MAX: u32 = 16;
/// Transparency (ISO/IEC 23008-12 §6.4.5, annex B.2.1.3): without it a picture shows what it hid.
pub const HEIF_ALPHA: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"];

/// What becomes of a property of a picture that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeifProperty {
    /// `hvcC`: parameter sets stay.
    Decoder,
    Profile,
    /// `auxC`: stays where it says transparency.
    Auxiliary,
    /// `pixi`: bits of each channel.
    Depth,
    /// So many bytes, all of them numbers.
    Plain(usize),
    /// One byte, of which these bits say something.
    Bits(u8),
    /// Goes. A picture that cannot be shown without it is refused.
    Other,
}

impl HeifProperty {
    #[must_use]
    pub fn of(kind: [u8; 4]) -> Self {
        match &kind {
            b"hvcC" => Self::Decoder,
            b"colr" => Self::Profile,
            b"auxC" => Self::Auxiliary,
            b"pixi" => Self::Depth,
            b"ispe" => Self::Plain(12),
            b"clap" => Self::Plain(32),
            b"clli" => Self::Plain(4),
            b"mdcv" => Self::Plain(24),
            b"pasp" | b"amve" => Self::Plain(8),
            b"irot" => Self::Bits(3),
            b"imir" => Self::Bits(1),
            _ => Self::Other,
        }
    }
}

/// True for the units of HEVC that are picture: coded slices and parameter sets of the base layer
/// (ISO/IEC 23008-2 §7.4.2.2). Messages to players (SEI), fillers, delimiters and what is reserved
/// or unspecified say nothing that a decoder needs for one picture.
#[must_use]
pub fn is_picture_unit(header: [u8; 2]) -> bool {
    let [high, low] = header;
    let layer = (high & 1) << 5 | low >> 3;
    high & 0x80 == 0 && layer == 0 && matches!(high >> 1, 0..=9 | 16..=21 | 32..=34)
}

/// True for messages among coded pictures (SEI: ITU-T H.264 and H.265, annex D) that are numbers of
/// decoding, timing and showing. All others are overwritten: user data (4, 5), in which cameras and
/// encoders write words, versions, places and captions; nested messages, which could hold them once
/// more; what is reserved or of no known type.
#[must_use]
pub fn is_message_kept(kind: usize, is_hevc: bool) -> bool {
    match kind {
        // Buffering, timing, pan-scan, recovery, scene, snapshot, refinement, film grain, filters, tone
        // mapping, packing, orientation, power; mastering display, colour remapping, light level,
        // transfer, ambient light.
        0..=2 | 6 | 9 | 15..=17 | 19 | 22 | 23 | 45 | 47 | 56 | 137 | 142 | 144 | 147 | 148 => true,
        // Repeated marking, spare pictures, sub-sequences, freezing, slice groups, deblocking, stereo.
        7 | 8 | 10..=14 | 18 | 20 | 21 => !is_hevc,
        // Structure, parameter sets, decoding units, layers, picture hash, refresh, no display, time
        // code, tiles, resampling, knee, deinterlacing, dependent points, colour volume, alpha.
        128..=132 | 134..=136 | 138..=141 | 143 | 145 | 149 | 165 => is_hevc,
        _ => false,
    }
}

/// True for units that no decoder reads: filler, and what is reserved or unspecified (H.264 table 7-1,
/// H.265 table 7-1). `first` is the first byte of the unit. Dolby Vision is shown by one of them (62),
/// which stays: numbers, with a checksum.
#[must_use]
pub fn is_void_unit(first: u8, is_hevc: bool) -> bool {
    if is_hevc { matches!(first >> 1 & 0x3F, 38 | 41..=61 | 63) } else { matches!(first & 0x1F, 0 | 12 | 24..=31) }
}

/// What becomes of a box of a video, by the box that it stands in. Boxes stay where they are; one
/// that goes becomes a `free` box of zeros, so that no offset changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoBox {
    Parent,
    /// Length of its fields in version 0 and 1.
    Fixed(usize, usize),
    /// The same, and it begins with two times, which go.
    Times(usize, usize),
    /// Bytes of one entry in version 0 and 1.
    Table(usize, usize),
    Sizes,
    Handler,
    References,
    Descriptions,
    FragmentHeader,
    Run,
    /// Goes.
    Other,
}

impl VideoBox {
    #[must_use]
    pub fn of(parent: [u8; 4], kind: [u8; 4]) -> Self {
        match (&parent, &kind) {
            (b"moov", b"trak" | b"mvex")
            | (b"trak", b"edts" | b"tapt" | b"mdia")
            | (b"mdia", b"minf")
            | (b"minf", b"dinf" | b"stbl")
            | (b"moof", b"traf") => Self::Parent,
            (b"moov", b"mvhd") => Self::Times(100, 112),
            (b"trak", b"tkhd") => Self::Times(84, 96),
            (b"mdia", b"mdhd") => Self::Times(24, 36),
            (b"mdia" | b"minf", b"hdlr") => Self::Handler,
            (b"minf", b"vmhd") | (b"tapt", b"clef" | b"prof" | b"enof") => Self::Fixed(12, 12),
            (b"minf", b"smhd") | (b"moof", b"mfhd") => Self::Fixed(8, 8),
            (b"mvex", b"mehd") | (b"traf", b"tfdt") => Self::Fixed(8, 12),
            (b"mvex", b"trex") => Self::Fixed(24, 24),
            (b"stbl", b"cslg") => Self::Fixed(24, 44),
            (b"edts", b"elst") => Self::Table(12, 20),
            (b"stbl", b"stts" | b"ctts" | b"co64") => Self::Table(8, 8),
            (b"stbl", b"stss" | b"stps" | b"stco") => Self::Table(4, 4),
            (b"stbl", b"stsc") => Self::Table(12, 12),
            (b"stbl", b"stsz") => Self::Sizes,
            (b"stbl", b"stsd") => Self::Descriptions,
            (b"dinf", b"dref") => Self::References,
            (b"traf", b"tfhd") => Self::FragmentHeader,
            (b"traf", b"trun") => Self::Run,
            _ => Self::Other,
        }
    }

    /// Ranges of a body in which the standard reserves what is zero (ISO/IEC 14496-12 §8.2.2, §8.3.2, §12.2.2).
    #[must_use]
    pub fn reserved(kind: [u8; 4], version: u8) -> &'static [(usize, usize)] {
        match (&kind, version) {
            (b"mvhd", 0) => &[(26, 36), (72, 96)],
            (b"mvhd", _) => &[(38, 48), (84, 108)],
            (b"tkhd", 0) => &[(16, 20), (24, 32), (38, 40)],
            (b"tkhd", _) => &[(24, 28), (36, 44), (50, 52)],
            (b"smhd", _) => &[(6, 8)],
            _ => &[],
        }
    }

    /// How many bytes of a body are fields; `None` where they are cut short, or it has no fields
    /// of its own.
    #[must_use]
    pub fn length_bytes(self, body: &[u8]) -> Option<usize> {
        let long = |at: usize| usize::try_from(u32::from_be_bytes(*body.get(at..)?.first_chunk()?)).ok();
        let version = *body.first()?;
        let flags = long(0)? & 0x00FF_FFFF;
        let length = match self {
            Self::Fixed(a, b) | Self::Times(a, b) => {
                if version == 0 {
                    a
                } else {
                    b
                }
            }
            Self::Table(a, b) => long(4)?.checked_mul(if version == 0 { a } else { b })?.checked_add(8)?,
            Self::Sizes => {
                if long(4)? == 0 {
                    long(8)?.checked_mul(4)?.checked_add(12)?
                } else {
                    12
                }
            }
            // Each of five fields is there where its flag says so (ISO/IEC 14496-12 §8.8.7).
            Self::FragmentHeader => {
                8 + [(1, 8), (2, 4), (8, 4), (16, 4), (32, 4)]
                    .iter()
                    .filter(|(f, _)| flags & f != 0)
                    .map(|(_, n)| n)
                    .sum::<usize>()
            }
            Self::Run => {
                let head = 8 + [1, 4].iter().filter(|f| flags & **f != 0).count() * 4;
                let entry = (flags >> 8 & 15).count_ones() as usize * 4;
                long(4)?.checked_mul(entry)?.checked_add(head)?
            }
            Self::Parent | Self::Handler | Self::References | Self::Descriptions | Self::Other => return None,
        };
        (length <= body.len()).then_some(length)
    }
}

/// Brands that a scrubbed film may name: those of the formats, none of a maker.
#[must_use]
pub fn is_film_brand(brand: [u8; 4]) -> bool {
    matches!(
        &brand,
        b"isom" | b"mp41" | b"mp42" | b"avc1" | b"hvc1" | b"qt  " | b"M4V " | b"M4VH" | b"MSNV" | b"dash" | b"cmfc" | b"cmfv"
            | [b'i', b's', b'o', b'2'..=b'9'] | [b'3', b'g', b'p' | b'g' | b'2', b'1'..=b'9' | b'a'..=b'c']
    )
}

/// Ways to code a picture track that a phone has, by its sample entry.
pub const VIDEO_CODINGS: [&[u8; 4]; 8] = [b"avc1", b"avc3", b"hvc1", b"hev1", b"dvh1", b"dvhe", b"mp4v", b"s263"];
/// Ways to code a sound track.
pub const SOUND_CODINGS: [&[u8; 4]; 12] =
    [b"mp4a", b"samr", b"sawb", b"alac", b"lpcm", b"sowt", b"twos", b"in24", b"ulaw", b"alaw", b"ac-3", b"ec-3"];
/// What a box of a sample entry holds that says how it is decoded and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodingBox {
    /// So many bytes of fields from the first of them on; all others are zeros.
    Fields { from: usize, bytes: usize },
    /// Lists of parameter sets: `avcC`, `hvcC`.
    Sets { is_hevc: bool },
    /// `colr`.
    Colour,
    /// `chan`: behind 16 bytes, descriptions of 20 that begin with what the channel is.
    Channels,
    /// `esds`.
    Descriptors,
    /// `wave`: more of these boxes.
    Parent,
    /// Goes.
    Other,
}

impl CodingBox {
    #[must_use]
    pub fn of(kind: [u8; 4]) -> Self {
        let plain = |bytes| Self::Fields { from: 0, bytes };
        match &kind {
            b"avcC" => Self::Sets { is_hevc: false },
            b"hvcC" => Self::Sets { is_hevc: true },
            b"colr" => Self::Colour,
            b"chan" => Self::Channels,
            b"esds" => Self::Descriptors,
            b"wave" => Self::Parent,
            b"fiel" | b"enda" => plain(2),
            // In `wave`: the coding once more, and the end of the list.
            b"mp4a" | b"\0\0\0\0" => plain(0),
            b"frma" | b"clli" => plain(4),
            b"dac3" => plain(3),
            // Behind them Dolby reserves what is zero.
            b"dvcC" | b"dvvC" => plain(5),
            // Of `dec3` one substream, and what depends on it.
            b"pasp" | b"amve" | b"dec3" => plain(8),
            b"btrt" => plain(12),
            b"mdcv" => plain(24),
            b"alac" => plain(28),
            b"clap" => plain(32),
            // A maker stands before their fields.
            b"d263" => Self::Fields { from: 4, bytes: 3 },
            b"damr" => Self::Fields { from: 4, bytes: 5 },
            _ => Self::Other,
        }
    }
}

/// The longest configuration of a sound decoder (ISO/IEC 14496-3 §1.6.2.1): AAC, with what doubles its rate and its channels.
pub const SOUND_CONFIGURATION_BYTES: usize = 8;

/// Words for JPEG application segments that have no better one.
pub const APP_WORDS: [&str; 16] = [
    "jpeg.app0",
    "jpeg.app1",
    "jpeg.app2",
    "jpeg.app3",
    "jpeg.app4",
    "jpeg.app5",
    "jpeg.app6",
    "jpeg.app7",
    "jpeg.app8",
    "jpeg.app9",
    "jpeg.app10",
    "jpeg.app11",
    "jpeg.app12",
    "jpeg.app13",
    "jpeg.app14",
    "jpeg.app15",
];
