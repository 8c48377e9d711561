//! What was photographed, as far as the bytes tell.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What a file is, decided by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MediaKind {
    #[serde(rename = "image/jpeg")]
    Jpeg,
    #[serde(rename = "image/png")]
    Png,
    /// HEIF with pictures coded as HEVC.
    #[serde(rename = "image/heic")]
    Heic,
    /// Also 3GP.
    #[serde(rename = "video/mp4")]
    Mp4,
    #[serde(rename = "video/quicktime")]
    QuickTime,
    #[serde(rename = "application/pdf")]
    Pdf,
}

impl MediaKind {
    /// Every kind that is accepted.
    pub const ACCEPTED: [Self; 6] = [Self::Jpeg, Self::Png, Self::Heic, Self::Mp4, Self::QuickTime, Self::Pdf];
    /// The same as the types that phones give their files, in the order in which an answer lists
    /// them: HEIF, 3GP and M4V are told from HEIC and MP4 by nothing that matters here.
    pub const ACCEPTED_TYPES: [&str; 9] = [
        "image/jpeg",
        "image/png",
        "image/heic",
        "image/heif",
        "video/mp4",
        "video/quicktime",
        "video/3gpp",
        "video/x-m4v",
        "application/pdf",
    ];

    /// True where it moves: its size has a limit of its own.
    #[must_use]
    pub fn is_video(self) -> bool {
        match self {
            Self::Mp4 | Self::QuickTime => true,
            Self::Jpeg | Self::Png | Self::Heic | Self::Pdf => false,
        }
    }

    /// True where it has an index and is scrubbed when it is there whole; else it is scrubbed while it
    /// arrives.
    #[must_use]
    pub fn has_index(self) -> bool {
        match self {
            Self::Heic | Self::Mp4 | Self::QuickTime | Self::Pdf => true,
            Self::Jpeg | Self::Png => false,
        }
    }

    #[must_use]
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Heic => "image/heic",
            Self::Mp4 => "video/mp4",
            Self::QuickTime => "video/quicktime",
            Self::Pdf => "application/pdf",
        }
    }

    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Heic => "heic",
            Self::Mp4 => "mp4",
            Self::QuickTime => "mov",
            Self::Pdf => "pdf",
        }
    }
}

/// What happened to the coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Essence {
    /// Bit-identical.
    Unchanged,
    /// Coefficients kept: a lossless turn, progressive to baseline, or a scan without what stood in
    /// it and belonged to no MCU.
    Rotated,
    Reencoded,
}

/// What becomes of a JPEG that cannot be turned upright as it is coded, because its width or height is no
/// whole number of its units: they would begin with the incomplete ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeBlocks {
    /// The components that it concerns are coded again; nothing is cut off.
    #[default]
    Recode,
    /// The incomplete units are cut off at one edge or two: less than a unit, which is 8 or 16 pixels, or 32 where
    /// four share their chroma. Nothing is coded again.
    Trim,
}

/// Exif Orientation (CIPA DC-008 §4.6.4, tag 0112H): what must be done to show the picture upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Orientation(u8);

impl Orientation {
    pub const UPRIGHT: Self = Self(1);

    /// `None` unless 1 to 8.
    #[must_use]
    pub fn from_exif(value: u16) -> Option<Self> {
        u8::try_from(value).ok().filter(|v| (1..=8).contains(v)).map(Self)
    }

    #[must_use]
    pub fn to_exif(self) -> u8 {
        if self.0 == 0 { 1 } else { self.0 }
    }

    #[must_use]
    pub fn is_upright(self) -> bool {
        self.to_exif() == 1
    }

    /// True where showing it upright swaps width and height.
    #[must_use]
    pub fn swaps_sides(self) -> bool {
        self.to_exif() >= 5
    }
}

impl TryFrom<u8> for Orientation {
    type Error = &'static str;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        Self::from_exif(u16::from(value)).ok_or("orientation is not 1 to 8")
    }
}

impl From<Orientation> for u8 {
    fn from(o: Orientation) -> Self {
        o.to_exif()
    }
}

/// When a picture was taken: the wall clock of the camera, and its zone where it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenAt {
    pub local: DateTime,
    #[serde(with = "offset_seconds")]
    pub offset: Option<Offset>,
}

impl TakenAt {
    /// So far the clock of a phone may be ahead of the gateway's. The network sets one to the second, a hand
    /// to some minutes; one of another zone or another day is beyond it, and so is its date.
    pub const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(10);

    /// A wall clock without a zone is the site's; of two instants that it may mean, the earlier. `None`: in
    /// a year that a DA cannot hold (PS3.5 §6.2).
    #[must_use]
    pub fn instant(self, site: &TimeZone) -> Option<Timestamp> {
        let instant = match self.offset {
            Some(offset) => offset.to_timestamp(self.local).ok()?,
            None => site.to_ambiguous_timestamp(self.local).compatible().ok()?,
        };
        (1..=9998).contains(&site.to_datetime(instant).year()).then_some(instant)
    }

    /// Later than the file came, by more than clocks may differ: that cannot be.
    #[must_use]
    pub fn is_ahead(self, site: &TimeZone, accepted_at: Timestamp) -> bool {
        self.instant(site).is_some_and(|at| at.duration_since(accepted_at) > Self::AHEAD_MAX)
    }

    /// When a picture was taken: by its file, else by the claim. `None` where neither says so, or only what
    /// cannot be.
    #[must_use]
    pub fn first_possible(told: [Option<Self>; 2], site: &TimeZone, accepted_at: Timestamp) -> Option<Timestamp> {
        let mut possible = told.into_iter().flatten().filter(|taken| !taken.is_ahead(site, accepted_at));
        possible.find_map(|taken| taken.instant(site))
    }
}

mod offset_seconds {
    use jiff::tz::Offset;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)] // serde's `with` asks for this shape
    pub fn serialize<S: Serializer>(offset: &Option<Offset>, s: S) -> Result<S::Ok, S::Error> {
        offset.map(Offset::seconds).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Offset>, D::Error> {
        Option::<i32>::deserialize(d)?.map(Offset::from_seconds).transpose().map_err(serde::de::Error::custom)
    }
}

/// How the coded samples of a picture are laid out, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureFormat {
    /// Coded size, before any turn. Pixels.
    pub width: u32,
    pub height: u32,
    pub coding: Coding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coding {
    /// SOF0, 8 bit, one component.
    JpegBaselineGrey,
    /// SOF0, 8 bit, three components in YCbCr.
    JpegBaselineYcbcr,
    /// Every other JPEG that decodes: progressive, extended, RGB, CMYK, YCCK. No transfer syntax
    /// of ours carries it as it is. Also a baseline one whose scan seems to go on behind its last
    /// MCU: what is no picture has to leave it first.
    JpegOther,
    /// `colour`: PNG colour type (0, 2, 3, 4, 6); `bits` per sample.
    Png { colour: u8, bits: u8, interlaced: bool },
    /// HEVC in HEIF, one picture or a grid. No transfer syntax of ours carries it as it is, and
    /// its turn is in the file: decoding applies it.
    Heic,
    /// The pictures of MP4 or `QuickTime`; its turn is in the file.
    Video,
    /// A document of so many pages, which has no size in pixels.
    Document { pages: u32 },
}

/// A number as Exif has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Whole(i64),
    /// The first over the second, which is never zero.
    Ratio(i64, i64),
}

/// Who said when a picture was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSource {
    /// `DateTimeOriginal`, with its zone where `OffsetTimeOriginal` has one.
    Exif,
    /// The date with a zone that `QuickTime` metadata holds.
    QuickTime,
    /// `mvhd`, which counts in UTC.
    MovieHeader,
}

/// What else is known of how a picture was taken: the record keeps it, the way to the archive does
/// not need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<TimeSource>,
    /// Of a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How the container turns its picture (`irot` and `imir` in HEIF, the matrix of a track); that
    /// turn is still in the file. `None` where it does something else, or there is no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<Orientation>,
    /// Exif asks for another turn than the container, which alone decides: a person has to look.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_turn_disputed: bool,
    /// Numbers of the exposure by their Exif tag, those that DICOM has attributes for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposure: BTreeMap<u16, Number>,
}

/// What the record needs of a file's metadata, read before it is removed. Never location, owner,
/// serial numbers or names of persons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub format: PictureFormat,
    #[serde(default)]
    pub orientation: Orientation,
    pub taken_at: Option<TakenAt>,
    pub make: Option<String>,
    pub model: Option<String>,
    pub software: Option<String>,
    #[serde(default)]
    pub details: Details,
    /// The colour profile that left the stream, its words rewritten, class as in the source.
    /// Only from scrubs made for an object.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::hex::option")]
    pub icc_profile: Option<Vec<u8>>,
}

impl Facts {
    /// Of a document that was not looked into.
    #[must_use]
    pub fn unread() -> Self {
        Self {
            format: PictureFormat { width: 0, height: 0, coding: Coding::Document { pages: 0 } },
            orientation: Orientation::UPRIGHT,
            taken_at: None,
            make: None,
            model: None,
            software: None,
            details: Details::default(),
            icc_profile: None,
        }
    }
}
