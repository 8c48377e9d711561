//! Regions of the body that are photographed, by their SNOMED CT codes.

use crate::capture::claim::BodySite;

/// A row of PS3.16 Annex L: SNOMED CT code, Body Part Examined term, whether the body has two.
pub(super) struct Region {
    code: u32,
    pub(super) term: &'static str,
    pub(super) is_paired: bool,
}

const fn region(code: u32, term: &'static str, is_paired: bool) -> Region {
    Region { code, term, is_paired }
}

/// Ordered by code. Inner organs and vessels are left out: no camera of ours sees them.
#[rustfmt::skip]
#[allow(clippy::unreadable_literal)] // codes, not quantities
const REGIONS: &[Region] = &[
    region(661005, "JAW", false), // Jaw region
    region(774007, "HEADNECK", false), // Head and Neck
    region(4596009, "LARYNX", false), // Larynx
    region(7569003, "FINGER", true), // Finger
    region(11708003, "HYPOGASTRIC", false), // Hypogastric region
    region(14975008, "FOREARM", true), // Forearm
    region(16953009, "ELBOW", true), // Elbow joint
    region(16982005, "SHOULDER", true), // Shoulder
    region(18619003, "SCLERA", true), // Sclera
    region(18911002, "PENIS", false), // Penis
    region(20233005, "SCROTUM", false), // Scrotum
    region(21974007, "TONGUE", false), // Tongue
    region(22943007, "TRUNK", false), // Trunk
    region(24136001, "HIP", true), // Hip joint
    region(26893007, "INGUINAL", false), // Inguinal region
    region(27947004, "EPIGASTRIC", false), // Epigastric region
    region(28726007, "CORNEA", true), // Cornea
    region(29707007, "TOE", true), // Toe
    region(30021000, "LOWERLEG", true), // Lower leg
    region(32361000, "POPLITEALFOSSA", true), // Popliteal fossa
    region(38266002, "WHOLEBODY", false), // Entire body
    region(38864007, "PERINEUM", false), // Perineum
    region(40983000, "UPPERARM", true), // Upper arm
    region(41695006, "SCALP", false), // Scalp
    region(45048000, "NECK", false), // Neck
    region(45206002, "NOSE", false), // Nose
    region(45292006, "VULVA", false), // Vulva
    region(46862004, "BUTTOCK", true), // Buttock
    region(51299004, "CLAVICLE", true), // Clavicle
    region(52612000, "LUMBAR", false), // Lumbar region
    region(53120007, "UPPERLIMB", true), // Upper limb
    region(53840002, "CALF", true), // Calf of leg
    region(54066008, "PHARYNX", false), // Pharynx
    region(54735007, "SSPINE", false), // Sacrum
    region(56459004, "FOOT", true), // Foot
    region(56873002, "STERNUM", false), // Sternum
    region(58602004, "FLANK", true), // Flank
    region(60819002, "CHEEK", true), // Cheek
    region(61685007, "LOWERLIMB", true), // Lower limb
    region(63337009, "LOWERTRUNK", false), // Lower trunk
    region(64234005, "PATELLA", true), // Patella
    region(64688005, "COCCYX", false), // Coccyx
    region(66019005, "EXTREMITY", true), // Extremity
    region(67734004, "UPPERTRUNK", false), // Upper trunk
    region(68367000, "THIGH", true), // Thigh
    region(69536005, "HEAD", false), // Head
    region(70258002, "ANKLE", true), // Ankle joint
    region(70925003, "MAXILLA", false), // Maxilla
    region(72696002, "KNEE", true), // Knee
    region(74670003, "WRIST", true), // Wrist joint
    region(76505004, "THUMB", true), // Thumb
    region(76752008, "BREAST", true), // Breast
    region(77568009, "BACK", false), // Back
    region(77621008, "SUPRACLAVICULAR", false), // Supraclavicular region of neck
    region(79361005, "FONTANEL", false), // Fontanel of skull
    region(79601000, "SCAPULA", true), // Scapula
    region(80144004, "CALCANEUS", true), // Calcaneus
    region(80243003, "EYELID", true), // Eyelid
    region(81745001, "EYE", true), // Eye
    region(84301002, "EAC", true), // External auditory canal
    region(85562004, "HAND", true), // Hand
    region(89545001, "FACE", false), // Face
    region(89546000, "SKULL", false), // Skull
    region(90290004, "UMBILICAL", false), // Umbilical region
    region(91470000, "AXILLA", true), // Axilla
    region(91609006, "MANDIBLE", false), // Mandible
    region(117590005, "EAR", true), // Ear
    region(122494005, "CSPINE", false), // Cervical spine
    region(123851003, "MOUTH", false), // Mouth
    region(363654007, "ORBIT", true), // Orbital structure
    region(417437006, "NECKCHEST", false), // Neck and Chest
    region(421060004, "SPINE", false), // Spine
    region(816092008, "PELVIS", false), // Pelvis
    region(816094009, "CHEST", false), // Chest
    region(818981001, "ABDOMEN", false), // Abdomen
    region(818982008, "ABDOMENPELVIS", false), // Abdomen and Pelvis
];

/// The row of a claimed site; `None` where its code is not in the table, and so nothing is sure.
pub(super) fn find(site: &BodySite) -> Option<&'static Region> {
    if site.scheme != "SCT" {
        return None;
    }
    let code = site.code.parse().ok()?;
    let at = REGIONS.binary_search_by_key(&code, |r| r.code).ok()?;
    REGIONS.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_its_terms_are_code_strings() {
        assert!(REGIONS.is_sorted_by(|a, b| a.code < b.code));
        for region in REGIONS {
            assert_eq!(crate::dicom::value::code_string(region.term).as_deref(), Some(region.term));
        }
    }

    #[test]
    fn a_region_is_known_by_code_and_scheme() {
        let site = |code: &str, scheme: &str| BodySite { code: code.into(), scheme: scheme.into(), meaning: "Hand".into() };
        assert_eq!(find(&site("85562004", "SCT")).map(|r| (r.term, r.is_paired)), Some(("HAND", true)));
        assert!(find(&site("85562004", "L")).is_none());
        assert!(find(&site("70887009", "SCT")).is_none());
    }
}
