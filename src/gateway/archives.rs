//! Which adapter an archive of the configuration gets.

use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use crate::archive::dimse::{self, Dimse};
use crate::archive::folder::{self, Folder};
use crate::archive::stow::{self, Stow};
use crate::archive::tls::{self, Files};
use crate::archive::{AeTitle, Archive};
use crate::config::options::{ArchiveOptions, ArchivePeer, DicomOptions};
use crate::pipeline::WORKERS;

/// Connects to nothing; reads the files of TLS.
///
/// # Errors
/// Text for the administrator.
pub(super) fn open(options: &ArchiveOptions) -> Result<Arc<dyn Archive>, String> {
    let of = |why: &dyn std::fmt::Display| format!("[[archive]] \"{}\": {why}", options.name);
    let title = |text: &str| AeTitle::parse(text).map_err(|bad| of(&bad));
    let client = |files: &Option<Files>, protocols: &[&[u8]]| -> Result<Option<Arc<ClientConfig>>, String> {
        files.as_ref().map(|files| tls::client(files, protocols)).transpose().map_err(|why| of(&why))
    };
    let profile = options.profile.clone();
    Ok(match &options.peer {
        ArchivePeer::Dimse { address, called_ae, calling_ae, tls } => Arc::new(Dimse::new(dimse::Options {
            address: address.clone(),
            called_ae: title(called_ae)?,
            calling_ae: title(calling_ae)?,
            tls: client(tls, &[])?,
            profile,
            limits: dimse::Limits { associations_max: WORKERS, ..dimse::Limits::default() },
        })),
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

/// Of the door for reports.
///
/// # Errors
/// Text for the administrator.
pub(super) fn reports_tls(options: &DicomOptions) -> Result<Option<Arc<ServerConfig>>, String> {
    let made = options.tls.as_ref().map(|tls| tls::server(&tls.files.cert, &tls.files.key, tls.client_ca.as_deref()));
    made.transpose().map_err(|why| format!("dicom.tls_cert: {why}"))
}
