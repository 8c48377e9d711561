//! Every section and key that a configuration may hold, as data.

use super::value::Kind;

/// One table of the file; `many`: an array of tables (`[[department]]`).
#[derive(Debug)]
pub struct Section {
    /// Dotted, e.g. `hl7.source`.
    pub name: &'static str,
    pub many: bool,
    pub keys: &'static [Key],
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub fallback: Fallback,
    pub doc: &'static str,
    /// Never printed; has a twin `<name>_file`.
    pub secret: bool,
    /// Part of the contract, but its feature is not in this build: setting it is refused with these words.
    pub unbuilt: Option<&'static str>,
}

/// What holds where nobody sets the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    Required,
    Unset,
    /// Read like a value from the environment.
    Text(&'static str),
}

impl Section {
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|s| s.name == name)
    }

    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// The other of a secret and its `_file` twin.
    #[must_use]
    pub fn twin(&self, key: &str) -> Option<&'static Key> {
        if let Some(secret) = key.strip_suffix("_file") {
            return self.key(secret).filter(|k| k.secret);
        }
        self.keys.iter().find(|k| k.name.strip_suffix("_file") == Some(key) && self.key(key).is_some_and(|s| s.secret))
    }
}

const fn key(name: &'static str, kind: Kind, fallback: Fallback, doc: &'static str) -> Key {
    Key { name, kind, fallback, doc, secret: false, unbuilt: None }
}

const fn unbuilt(name: &'static str, kind: Kind, what: &'static str) -> Key {
    Key { name, kind, fallback: Fallback::Unset, doc: "not built yet", secret: false, unbuilt: Some(what) }
}

const fn secret(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, fallback: Fallback::Unset, doc, secret: true, unbuilt: None }
}

use Fallback::{Required, Text, Unset};

/// Longest LO value (PS3.5 §6.2): institution, department and authority enter one.
const LO_MAX: usize = 64;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// No spool is larger.
const QUOTA_MAX: u64 = 1 << 50;
/// Items of an upload are counted in 16 bits; a thousand pictures of one patient at once is far beyond use.
const REQUEST_FILES_MAX: u64 = 1_000;

const MLLPS: &str = "MLLP over TLS";

const VIEWS: &[&str] = &["overview", "close-up", "with-scale", "dermoscopic", "consent-form"];

/// In the order in which `config print` writes them.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "server",
        many: false,
        keys: &[
            key("listen", Kind::Listen, Text("127.0.0.1:8443"), "address of the HTTPS door; port 0: any"),
            key("tls_cert", Kind::File, Unset, "PEM certificate chain; not set: a dev CA in data.dir, loopback only"),
            key("tls_key", Kind::File, Unset, "PEM private key of tls_cert"),
            unbuilt("client_ca", Kind::File, "mutual TLS"),
            key("ops_listen", Kind::Listen, Text("127.0.0.1:9443"), "address of /healthz /readyz /metrics, plain HTTP"),
        ],
    },
    Section {
        name: "limits",
        many: false,
        keys: &[
            key("photo_bytes", Kind::Size { min: 64 * KIB, max: 4 * GIB }, Text("64MiB"), "largest photo"),
            key("video_bytes", Kind::Size { min: 64 * KIB, max: 64 * GIB }, Text("4GiB"), "largest video"),
            key("request_files", Kind::Count { min: 1, max: REQUEST_FILES_MAX }, Text("100"), "most files of one capture"),
            key("spool_free_min", Kind::Space, Text("5%"), "below so much free space nothing is accepted (507)"),
            key(
                "subject_bytes",
                Kind::Size { min: MIB, max: QUOTA_MAX },
                Unset,
                "what may wait here for the archive of one person (507 beyond); not set: no quota",
            ),
            key(
                "department_bytes",
                Kind::Size { min: MIB, max: QUOTA_MAX },
                Unset,
                "the same of one department; not set: no quota",
            ),
        ],
    },
    Section {
        name: "data",
        many: false,
        keys: &[
            key("dir", Kind::Path, Text("data"), "spool, index and hospital facts"),
            secret("key", Kind::Key, "32 bytes, base64, that seal the spool"),
            key("key_file", Kind::Path, Text("data.key"), "file with that key; made on first start"),
        ],
    },
    Section {
        name: "site",
        many: false,
        keys: &[
            key("institution", Kind::Text { max: LO_MAX }, Text("Demo General Hospital"), "Institution Name (0008,0080)"),
            key("timezone", Kind::Zone, Text("Europe/Berlin"), "IANA zone of dates and times in objects"),
            key("assigning_authority", Kind::Text { max: LO_MAX }, Text("HOSP"), "default issuer of Patient ID"),
            key("uid_root", Kind::UidRoot, Text("2.25"), "root of the UIDs that are minted here"),
        ],
    },
    Section {
        name: "department",
        many: true,
        keys: &[
            key("id", Kind::Text { max: LO_MAX }, Required, "the word in a claim"),
            key("name", Kind::Text { max: LO_MAX }, Required, "Institutional Department Name (0008,1040)"),
            key("body_site_required", Kind::Flag, Text("false"), "refuse a claim without body_site"),
            key("body_site", Kind::BodySite, Unset, "code of the site of a claim without one, such as 39937001 (Skin)"),
            key("view", Kind::Choice { built: VIEWS, unbuilt: &[] }, Unset, "view of a claim without one"),
            key(
                "procedure",
                Kind::Procedure,
                Unset,
                "what is done where nothing was ordered: code^meaning^scheme, or a code of `GET /codes?kind=procedure`",
            ),
            key("type", Kind::DepartmentType, Unset, "code of Institutional Department Type (CID 7030), such as 309923008"),
        ],
    },
    Section {
        name: "issuer",
        many: true,
        keys: &[
            key("issuer", Kind::Text { max: 255 }, Required, "iss of the tokens"),
            key("audience", Kind::Text { max: 255 }, Required, "aud of the tokens"),
            key("jwks_file", Kind::File, Unset, "the issuer's public keys, a JWK set"),
            unbuilt("jwks_url", Kind::Text { max: 1024 }, "fetching keys over HTTP"),
            unbuilt("jwks_ca", Kind::File, "fetching keys over HTTP"),
        ],
    },
    Section {
        name: "hl7",
        many: false,
        keys: &[
            key("listen", Kind::Listen, Unset, "address of the MLLP door; not set: no door"),
            unbuilt("tls_cert", Kind::File, MLLPS),
            unbuilt("tls_key", Kind::File, MLLPS),
            unbuilt("client_ca", Kind::File, MLLPS),
        ],
    },
    Section {
        name: "dicom",
        many: false,
        keys: &[
            key("listen", Kind::Listen, Unset, "address for the commitment reports of an archive; not set: no door"),
            key("ae", Kind::AeTitle, Unset, "AE title of that door; not set: calling_ae of the archive"),
            key("tls_cert", Kind::File, Unset, "PEM certificate chain of that door; with it the door speaks TLS only"),
            key("tls_key", Kind::File, Unset, "PEM private key of tls_cert"),
            key("client_ca", Kind::File, Unset, "PEM: whoever comes must have a certificate of it"),
        ],
    },
    Section {
        name: "hl7.source",
        many: true,
        keys: &[
            key("application", Kind::Text { max: 180 }, Unset, "MSH-3 of the sender; not set: any"),
            key("facility", Kind::Text { max: 180 }, Unset, "MSH-4 of the sender; not set: any"),
            key("default_charset", Kind::Charset, Unset, "HL7 table 0211; read where MSH-18 is empty"),
            key("assigning_authority", Kind::Text { max: LO_MAX }, Unset, "issuer of identifiers that name none"),
        ],
    },
    Section {
        name: "lookup",
        many: false,
        keys: &[
            key(
                "order",
                Kind::Words { built: &["local", "mwl"], unbuilt: &["pdq", "fhir"] },
                Text("local"),
                "who is asked, in this order: what the hospital announced; then the worklist, for the study of an order",
            ),
            key(
                "unknown_patient",
                Kind::Choice { built: &["hold", "refuse"], unbuilt: &[] },
                Text("hold"),
                "what becomes of a capture of a patient nobody announced: held for a person, or 422 at the door",
            ),
        ],
    },
    Section {
        name: "lookup.mwl",
        many: false,
        keys: &[
            key("address", Kind::Peer, Unset, "host:port of the modality worklist"),
            key("called_ae", Kind::AeTitle, Unset, "AE title of the worklist"),
            key("calling_ae", Kind::AeTitle, Text("SHUTTERBRIDGE"), "AE title of this gateway"),
            key("timeout", Kind::Count { min: 1, max: 300 }, Text("10"), "seconds that it may take to answer one question"),
            key("tls_ca", Kind::File, Unset, "PEM: whose certificates are believed; with it the worklist is asked over TLS"),
            key("tls_cert", Kind::File, Unset, "PEM certificate chain of this gateway, for mutual TLS"),
            key("tls_key", Kind::File, Unset, "PEM private key of tls_cert"),
        ],
    },
    Section {
        name: "archive",
        many: true,
        keys: &[
            key("name", Kind::Text { max: LO_MAX }, Required, "the word in metrics and on the desk"),
            key("kind", Kind::Choice { built: &["dimse", "stow", "folder"], unbuilt: &[] }, Text("dimse"), "protocol"),
            key("address", Kind::Peer, Unset, "dimse: host:port"),
            key("called_ae", Kind::AeTitle, Unset, "dimse: AE title of the archive"),
            key("calling_ae", Kind::AeTitle, Text("SHUTTERBRIDGE"), "dimse: AE title of this gateway"),
            key("url", Kind::ServiceUrl, Unset, "stow: address of the service, without /studies; http:// to this machine only"),
            key("path", Kind::Path, Unset, "folder: where files go; it must be there"),
            key(
                "commitment",
                Kind::Commitment,
                Text("none"),
                "\"required\" (or true): kept until the archive commits; \"ask\": where it offers to; \"none\" (or false)",
            ),
            key("departments", Kind::Names { max: LO_MAX }, Unset, "ids of the departments whose objects it gets; not set: all"),
            key(
                "media",
                Kind::Words { built: &["photo", "video", "document"], unbuilt: &[] },
                Unset,
                "kinds of files that it gets: photo, video, document; not set: all",
            ),
            key("sensitive", Kind::Flag, Unset, "true: only what is sensitive; false: only what is not; not set: both"),
            key("study_lookup", Kind::Flag, Text("false"), "dimse: ask it which study it has of an order that comes without one"),
            key("tls_ca", Kind::File, Unset, "PEM: whose certificates are believed; with it dimse speaks TLS"),
            key("tls_cert", Kind::File, Unset, "PEM certificate chain of this gateway, for mutual TLS"),
            key("tls_key", Kind::File, Unset, "PEM private key of tls_cert"),
            key("bearer_file", Kind::File, Unset, "stow: file with a bearer token, read anew for each request"),
            key(
                "fallback",
                Kind::Flag,
                Text("true"),
                "decode a JPEG for an archive that takes its class in native syntaxes only; send a Secondary Capture to one that does not take the class",
            ),
            key("syntaxes", Kind::Syntaxes, Unset, "UIDs of the transfer syntaxes it is offered; not set: all"),
            key(
                "character_set",
                Kind::Choice { built: &["ISO_IR 192", "ISO_IR 100"], unbuilt: &[] },
                Text("ISO_IR 192"),
                "of text in objects; ISO_IR 100 where the text fits, else ISO_IR 192",
            ),
        ],
    },
    Section {
        name: "photo",
        many: false,
        keys: &[key(
            "edge_blocks",
            Kind::Choice { built: &["recode", "trim"], unbuilt: &[] },
            Text("recode"),
            "of a JPEG that cannot be turned as it is coded: \"recode\" what it concerns, or \"trim\" less than a unit of its coding at an edge",
        )],
    },
    Section {
        name: "transcode",
        many: false,
        keys: &[key(
            "ffmpeg",
            Kind::Ffmpeg,
            Text("auto"),
            "codes videos that no transfer syntax carries: where it is on the path, a path, or \"off\"",
        )],
    },
    Section {
        name: "audit",
        many: false,
        keys: &[
            key("file", Kind::Path, Text("audit.log"), "hash-chained log of who did what"),
            unbuilt("syslog", Kind::Text { max: 1024 }, "sending the audit log to a repository"),
        ],
    },
];

/// Sections of the contract whose feature is not in this build.
pub const UNBUILT_SECTIONS: &[(&str, &str)] = &[
    ("pdq", "asking a PDQ supplier"),
    ("fhir", "asking a FHIR server"),
    ("lookup.pdq", "asking a PDQ supplier"),
    ("lookup.fhir", "asking a FHIR server"),
];

/// A department where the configuration names none: as in the contract's example.
pub const DEFAULT_DEPARTMENT: (&str, &str) = ("derm", "Dermatology");
