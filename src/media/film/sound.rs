//! How the sound of a film is coded.
//!
//! Source: ISO/IEC 14496-1 §7.2.6, ISO/IEC 14496-3 §1.6.2.1, ISO/IEC 14496-14 §5.6; `QuickTime` File
//! Format, Sound Media.

use super::bits::Bits;
use crate::media::Fault;
use crate::media::isobmff::{Fields, children};

/// Bytes of a sound entry before its boxes, in version 0, 1 and 2.
const ENTRY_BYTES: [usize; 3] = [28, 44, 64];
/// MPEG-4 Audio, among the kinds of object of a decoder.
const MPEG4_AUDIO: u8 = 0x40;
/// Longest configuration of a decoder that is copied: encoders write two to seven bytes.
const CONFIGURATION_BYTES_MAX: usize = 64;

/// What a sound track says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    Aac(Aac),
    /// By its sample entry.
    Other([u8; 4]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aac {
    /// 2 is AAC-LC.
    pub object: u32,
    /// 0: not in the table of the standard.
    pub rate_hz: u32,
    pub channels: u32,
    /// What the decoder is configured with, as it stands in the file.
    pub(super) configuration: Vec<u8>,
}

/// Reads the sample entry of a sound track; `entry` begins behind its kind.
///
/// # Errors
/// An entry that cannot be read.
pub(super) fn read(kind: [u8; 4], entry: &[u8]) -> Result<Sound, Fault> {
    if kind != *b"mp4a" {
        return Ok(Sound::Other(kind));
    }
    let version = entry.get(9).map_or(0, |n| usize::from(*n));
    let head = ENTRY_BYTES.get(version).ok_or(Fault("has sound of a version that is not known"))?;
    let mut boxes = entry.get(*head..).unwrap_or_default();
    if let Some((_, wave)) = children(boxes).find(|(kind, _)| kind == b"wave") {
        boxes = wave;
    }
    let Some((_, streams)) = children(boxes).find(|(kind, _)| kind == b"esds") else { return Ok(Sound::Other(kind)) };
    let Some(configuration) = configuration(streams.get(4..).unwrap_or_default())? else { return Ok(Sound::Other(kind)) };
    if configuration.len() > CONFIGURATION_BYTES_MAX {
        return Err(Fault("has sound whose decoder is told more than any encoder says"));
    }
    let (object, rate_hz, channels) = aac(configuration)?;
    Ok(Sound::Aac(Aac { object, rate_hz, channels, configuration: configuration.to_vec() }))
}

/// The decoder's configuration, where the sound is MPEG-4 Audio.
fn configuration(streams: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let mut stream = descriptor(&mut Fields(streams), 3)?;
    stream.take(2)?;
    let flags = stream.byte()?;
    stream.take(if flags & 0x80 == 0 { 0 } else { 2 })?;
    if flags & 0x40 != 0 {
        let length = stream.byte()?;
        stream.take(usize::from(length))?;
    }
    stream.take(if flags & 0x20 == 0 { 0 } else { 2 })?;
    let mut decoder = descriptor(&mut stream, 4)?;
    if decoder.byte()? != MPEG4_AUDIO {
        return Ok(None);
    }
    decoder.take(12)?;
    Ok(Some(descriptor(&mut decoder, 5)?.0))
}

/// The body of the next descriptor, which has to be of that kind.
fn descriptor<'b>(fields: &mut Fields<'b>, tag: u8) -> Result<Fields<'b>, Fault> {
    if fields.byte()? != tag {
        return Err(Fault("has sound whose decoder is not told"));
    }
    let mut length = 0;
    for _ in 0..4 {
        let byte = fields.byte()?;
        length = length << 7 | usize::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            break;
        }
    }
    fields.take(length).map(Fields)
}

/// Object type, sampling rate and channels of an `AudioSpecificConfig`.
fn aac(configuration: &[u8]) -> Result<(u32, u32, u32), Fault> {
    const RATES_HZ: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    const ESCAPED: u32 = 31;
    const EXPLICIT: u32 = 15;
    let mut bits = Bits::new(configuration);
    let object = match bits.number(5)? {
        ESCAPED => 32 + bits.number(6)?,
        object => object,
    };
    let rate_hz = match bits.number(4)? {
        EXPLICIT => bits.number(24)?,
        index => usize::try_from(index).ok().and_then(|n| RATES_HZ.get(n)).copied().unwrap_or(0),
    };
    Ok((object, rate_hz, bits.number(4)?))
}
