//! The built-in archive: takes real C-STORE and keeps files.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Target;
use crate::archive::scp::Scp;

/// Its AE title.
const AE_TITLE: &str = "DEMO";

/// An open archive. It ends when this is dropped.
pub struct BuiltIn {
    scp: Scp,
    folder: PathBuf,
}

impl BuiltIn {
    /// Opens it on a free loopback port.
    pub fn open(folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let scp = Scp::start(any, AE_TITLE, folder).map_err(|error| format!("the built-in archive does not open: {error}"))?;
        Ok(Self { scp, folder: folder.to_owned() })
    }

    pub fn target(&self) -> Target {
        let address = self.scp.local_addr().to_string();
        Target { address, called_ae: AE_TITLE.to_owned(), files: Some(self.folder.clone()) }
    }

    /// The objects it keeps.
    pub fn objects(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "dcm")).collect()
    }
}
