//! Body sites to choose from, as a person names them.
//!
//! Codes and meanings: SNOMED CT, from DICOM PS3.16 CID 4031 (common anatomic regions).

/// One site: code, meaning. The scheme is `SCT`.
pub type Site = (&'static str, &'static str);

/// Groups in the order of a body.
pub const GROUPS: &[(&str, &[Site])] = &[
    (
        "Head and neck",
        &[
            ("69536005", "Head"),
            ("41695006", "Scalp"),
            ("89545001", "Face"),
            ("81745001", "Eye"),
            ("80243003", "Eyelid"),
            ("117590005", "Ear"),
            ("45206002", "Nose"),
            ("123851003", "Mouth"),
            ("45048000", "Neck"),
        ],
    ),
    (
        "Trunk",
        &[
            ("816094009", "Chest"),
            ("76752008", "Breast"),
            ("818981001", "Abdomen"),
            ("77568009", "Back"),
            ("46862004", "Buttock"),
            ("26893007", "Inguinal region"),
            ("38864007", "Perineum"),
        ],
    ),
    (
        "Arm",
        &[
            ("16982005", "Shoulder"),
            ("91470000", "Axilla"),
            ("40983000", "Upper arm"),
            ("16953009", "Elbow joint"),
            ("14975008", "Forearm"),
            ("74670003", "Wrist joint"),
            ("85562004", "Hand"),
            ("7569003", "Finger"),
            ("76505004", "Thumb"),
        ],
    ),
    (
        "Leg",
        &[
            ("24136001", "Hip joint"),
            ("68367000", "Thigh"),
            ("72696002", "Knee"),
            ("30021000", "Lower leg"),
            ("70258002", "Ankle joint"),
            ("56459004", "Foot"),
            ("29707007", "Toe"),
        ],
    ),
    ("Other", &[("22943007", "Trunk"), ("38266002", "Entire body")]),
];

/// The meaning of a code of this list.
#[must_use]
pub fn meaning_of(code: &str) -> Option<&'static str> {
    GROUPS.iter().flat_map(|(_, sites)| sites.iter()).find(|(c, _)| *c == code).map(|(_, meaning)| *meaning)
}
