//! The built-in archive: takes real C-STORE and keeps files.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

use super::Target;
use crate::archive::AeTitle;
use crate::archive::scp::Scp;

/// Its AE title.
const AE_TITLE: &str = "DEMO";

/// An open archive. It ends when this is dropped.
pub struct BuiltIn {
    scp: Scp,
    folder: PathBuf,
    /// Each object that is on the disk.
    received: Receiver<PathBuf>,
}

impl BuiltIn {
    /// Opens it on a free loopback port; files go into `folder`.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let told = |why: &dyn std::fmt::Display| format!("the built-in archive does not open: {why}");
        let ae = AeTitle::parse(AE_TITLE).map_err(|why| told(&why))?;
        let (tell, received) = mpsc::channel();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let scp = Scp::start(any, ae, folder, move |object| drop(tell.send(object.path.clone()))).map_err(|why| told(&why))?;
        Ok(Self { scp, folder: folder.to_owned(), received })
    }

    pub fn target(&self) -> Target {
        let address = self.scp.local_addr().to_string();
        Target { address, called_ae: AE_TITLE.to_owned(), files: Some(self.folder.clone()) }
    }

    /// Files that arrived since the last time.
    pub fn arrived(&self) -> impl Iterator<Item = PathBuf> {
        self.received.try_iter()
    }
}
