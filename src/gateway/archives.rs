//! Which adapter an archive of the configuration gets.

use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use crate::archive::dimse::{self, Dimse};
use crate::archive::find::Find;
use crate::archive::folder::{self, Folder};
use crate::archive::profile::Profile;
use crate::archive::stow::{self, Stow};
use crate::archive::tls::{self, Files};
use crate::archive::{AeTitle, Archive};
use crate::config::options::{ArchiveOptions, ArchivePeer, DicomOptions, LookupOptions, WorklistOptions};
use crate::dicom::query::Model;
use crate::pipeline::WORKERS;

/// An archive looks a number up in its database, where others wait behind it.
const STUDIES_MS: u64 = 10_000;

/// Connects to nothing; reads the files of TLS.
///
/// # Errors
/// Text for the administrator.
pub(super) fn open(options: &ArchiveOptions) -> Result<Arc<dyn Archive>, String> {
    let of = |why: &dyn std::fmt::Display| format!("[[archive]] \"{}\": {why}", options.name);
    let client = |files: &Option<Files>, protocols: &[&[u8]]| -> Result<Option<Arc<ClientConfig>>, String> {
        files.as_ref().map(|files| tls::client(files, protocols)).transpose().map_err(|why| of(&why))
    };
    let profile = options.profile.clone();
    Ok(match &options.peer {
        ArchivePeer::Dimse { address, called_ae, calling_ae, tls, .. } => {
            let limits = dimse::Limits { associations_max: WORKERS, ..dimse::Limits::default() };
            let peer = peer(address, (called_ae, calling_ae), tls.as_ref(), limits).map_err(|why| of(&why))?;
            Arc::new(Dimse::new(dimse::Options { profile, ..peer }))
        }
        ArchivePeer::Stow { url, tls, bearer_file } => Arc::new(Stow::new(stow::Options {
            url: url.clone(),
            tls: client(tls, &[b"http/1.1"])?,
            bearer_file: bearer_file.clone(),
            profile,
            limits: stow::Limits { idle_max: WORKERS, ..stow::Limits::default() },
        })),
        ArchivePeer::Folder { path } => Arc::new(Folder::new(folder::Options { path: path.clone(), profile })),
    })
}

/// Who speaks DICOM on associations.
fn peer(
    address: &str,
    (called_ae, calling_ae): (&str, &str),
    files: Option<&Files>,
    limits: dimse::Limits,
) -> Result<dimse::Options, String> {
    let title = |text: &str| AeTitle::parse(text).map_err(|bad| bad.to_string());
    Ok(dimse::Options {
        address: address.to_owned(),
        called_ae: title(called_ae)?,
        calling_ae: title(calling_ae)?,
        tls: files.map(|files| tls::client(files, &[])).transpose().map_err(|why| why.to_string())?,
        profile: Profile::default(),
        limits,
    })
}

/// The modality worklist, where one is configured. Connects to nothing.
///
/// # Errors
/// Text for the administrator.
pub(super) fn worklist(options: &LookupOptions) -> Result<Option<Find>, String> {
    let open = |of: &WorklistOptions| {
        let limits = dimse::Limits { response_ms: of.timeout_ms, ..dimse::Limits::default() };
        let peer = peer(&of.address, (&of.called_ae, &of.calling_ae), of.tls.as_ref(), limits);
        peer.map(|peer| Find::new(peer, Model::Worklist)).map_err(|why| format!("[lookup.mwl]: {why}"))
    };
    options.worklist.as_ref().map(open).transpose()
}

/// An archive that is asked which studies it has. Connects to nothing.
///
/// # Errors
/// Text for the administrator.
pub(super) fn studies(options: &ArchiveOptions) -> Result<Option<Find>, String> {
    let ArchivePeer::Dimse { address, called_ae, calling_ae, tls, study_lookup: true } = &options.peer else { return Ok(None) };
    let limits = dimse::Limits { response_ms: STUDIES_MS, ..dimse::Limits::default() };
    let peer = peer(address, (called_ae, calling_ae), tls.as_ref(), limits);
    peer.map(|peer| Some(Find::new(peer, Model::Studies))).map_err(|why| format!("[[archive]] \"{}\": {why}", options.name))
}

/// Of the door for reports.
///
/// # Errors
/// Text for the administrator.
pub(super) fn reports_tls(options: &DicomOptions) -> Result<Option<Arc<ServerConfig>>, String> {
    let made = options.tls.as_ref().map(|tls| tls::server(&tls.files.cert, &tls.files.key, tls.client_ca.as_deref()));
    made.transpose().map_err(|why| format!("dicom.tls_cert: {why}"))
}
