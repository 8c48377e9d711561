//! The configuration after reading: plain, typed, complete.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::value::{Secret, Space};
use crate::archive::profile::Profile;
use crate::archive::stow::Url;
use crate::archive::tls::Files;
use crate::capture::claim::{BodySite, View};
use crate::capture::media::EdgeBlocks;
use crate::capture::order::Code;
use crate::capture::{Commitment, Takes, Uid};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub server: ServerOptions,
    pub limits: LimitsOptions,
    pub data: DataOptions,
    pub site: SiteOptions,
    /// At least one.
    pub departments: Vec<Department>,
    pub issuers: Vec<IssuerOptions>,
    pub hl7: Hl7Options,
    pub dicom: DicomOptions,
    pub lookup: LookupOptions,
    /// Each with a name of its own. An object goes to every one that takes it.
    pub archives: Vec<ArchiveOptions>,
    pub photo: PhotoOptions,
    pub transcode: TranscodeOptions,
    pub audit: AuditOptions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    pub listen: SocketAddr,
    /// `None`: a dev CA and certificate; then `listen` is a loopback address.
    pub tls: Option<TlsFiles>,
    /// A loopback address.
    pub ops_listen: SocketAddr,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsOptions {
    pub photo_bytes: u64,
    pub video_bytes: u64,
    pub request_files: u16,
    pub spool_free_min: Space,
    /// Bytes that may wait of one person, and of one department; `None`: any number.
    pub subject_bytes: Option<u64>,
    pub department_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataOptions {
    pub dir: PathBuf,
    pub key: KeySource,
}

/// Where the key of the spool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// 32 bytes in base64.
    Given(Secret),
    /// Made on first start where there is none.
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteOptions {
    pub institution: String,
    /// Has an IANA name.
    pub timezone: TimeZone,
    pub assigning_authority: String,
    pub uid_root: Uid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Department {
    pub id: String,
    pub name: String,
    pub body_site_required: bool,
    /// For a claim without one; never a site that wants a side.
    pub body_site: Option<BodySite>,
    pub view: Option<View>,
    /// What is done where nothing was ordered.
    pub procedure: Option<Code>,
    /// What kind of department it is.
    pub kind: Option<Code>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerOptions {
    pub issuer: String,
    pub audience: String,
    pub jwks_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hl7Options {
    /// A loopback address. `None`: no HL7 door.
    pub listen: Option<SocketAddr>,
    pub sources: Vec<Hl7Source>,
}

/// The door for what an archive reports by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DicomOptions {
    /// `None`: no door.
    pub listen: Option<SocketAddr>,
    /// What an archive calls; `None`: the `calling_ae`, the same for all.
    pub ae: Option<String>,
    /// `None`: in clear text.
    pub tls: Option<DicomDoorTls>,
}

/// PEM files of the door for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DicomDoorTls {
    pub files: TlsFiles,
    /// `Some`: whoever comes must have a certificate of it.
    pub client_ca: Option<PathBuf>,
}

/// Rules for one sender; the first that fits MSH-3 and MSH-4 holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hl7Source {
    pub application: Option<String>,
    pub facility: Option<String>,
    /// A name of HL7 table 0211, in its own spelling.
    pub default_charset: Option<String>,
    pub assigning_authority: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupOptions {
    pub order: Vec<LookupSource>,
    pub unknown_patient: UnknownPatient,
    /// There where `order` names it.
    pub worklist: Option<WorklistOptions>,
}

/// The modality worklist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorklistOptions {
    /// `host:port`.
    pub address: String,
    pub called_ae: String,
    pub calling_ae: String,
    /// For all answers to one question.
    pub timeout_ms: u64,
    /// `None`: in clear text.
    pub tls: Option<Files>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupSource {
    /// What the hospital told over HL7.
    Local,
    /// The modality worklist, for the study of an order.
    Worklist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPatient {
    Hold,
    Refuse,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveOptions {
    pub name: String,
    pub peer: ArchivePeer,
    pub commitment: Commitment,
    pub takes: Takes,
    pub profile: Profile,
}

/// Where an archive is, by what it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivePeer {
    Dimse {
        /// `host:port`.
        address: String,
        called_ae: String,
        calling_ae: String,
        /// `None`: in clear text.
        tls: Option<Files>,
        /// It is asked which study it has of an order.
        study_lookup: bool,
    },
    Stow {
        url: Url,
        /// There where the URL is `https`.
        tls: Option<Files>,
        bearer_file: Option<PathBuf>,
    },
    Folder {
        path: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoOptions {
    pub edge_blocks: EdgeBlocks,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscodeOptions {
    pub ffmpeg: Ffmpeg,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ffmpeg {
    /// Where it is on the path.
    Auto,
    At(PathBuf),
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    pub file: PathBuf,
}
