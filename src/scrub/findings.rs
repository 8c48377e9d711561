//! What a planner learns of the bytes that go: words for the report, the one fact of location,
//! and the few facts that the record keeps.

use std::collections::BTreeSet;

use crate::media::exif::{Block, PREAMBLE};
use crate::media::iptc::{self, resource};
use crate::media::location::Finder;

/// Words are constants, so the set is bounded by itself: some forty.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub removed: BTreeSet<&'static str>,
    pub finder: Finder,
    /// The block that turns the picture and says when it was taken: the first that can be read.
    pub exif: Option<Block>,
    /// Bytes were cut out of a scan: its picture is the same, its run of bytes is not.
    pub is_scan_cut: bool,
    /// The profile that left the stream.
    pub profile: Option<Vec<u8>>,
}

impl Findings {
    pub(super) fn remove(&mut self, word: &'static str) {
        self.removed.insert(word);
    }

    /// `bytes` go under `word`: do they know a place?
    pub(super) fn remove_bytes(&mut self, bytes: &[u8], word: &'static str) {
        self.remove(word);
        self.finder.push(bytes);
        self.finder.end();
    }

    /// Looks through a TIFF block. A bare one needs no word: nothing but a turn is in it, and that
    /// is kept elsewhere.
    pub(super) fn see_exif(&mut self, tiff: &[u8], word: &'static str) -> Option<Block> {
        let block = Block::read(tiff);
        if block.as_ref().is_some_and(|b| b.is_bare) {
            return block;
        }
        // The thumbnail is a JPEG of its own and may hold Exif again.
        self.remove_bytes(tiff, word);
        if let Some(block) = &block {
            self.finder.note(block.has_position);
            let parts =
                [(block.has_gps, "exif.gps"), (block.has_maker_note, "exif.makernote"), (block.has_thumbnail, "exif.thumbnail")];
            self.removed.extend(parts.iter().filter(|(has, _)| *has).map(|(_, word)| word));
        }
        block
    }

    /// Looks through Photoshop resources, which hold IPTC, and Exif and XMP once more.
    pub(super) fn see_photoshop(&mut self, resources: &[u8]) {
        self.remove_bytes(resources, "photoshop");
        for (id, content) in iptc::resources(resources) {
            match id {
                resource::IPTC => {
                    self.remove("iptc");
                    self.finder.note(iptc::names_a_place(content));
                }
                resource::EXIF | resource::EXIF_MORE => {
                    let tiff = content.strip_prefix(PREAMBLE).unwrap_or(content);
                    self.see_exif(tiff, "exif");
                }
                _ => {}
            }
        }
    }
}
