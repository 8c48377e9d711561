//! dcmtk's worklist over files that are made for it.
#![allow(dead_code)] // each test binary uses a part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One scheduled step.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    pub accession: &'a str,
    pub patient: &'a str,
    pub study: &'a str,
    /// As it stands in the file.
    pub charset: &'a [u8],
    pub description: &'a [u8],
}

impl<'a> Item<'a> {
    pub fn of(accession: &'a str, patient: &'a str, study: &'a str) -> Self {
        Self { accession, patient, study, charset: b"ISO_IR 100", description: b"Photo" }
    }

    /// In the form that dump2dcm reads.
    fn dump(&self) -> Vec<u8> {
        let Self { accession, patient, study, .. } = self;
        let mut out = Vec::new();
        let mut line = |tag: &str, value: &[u8]| {
            out.extend([tag.as_bytes(), b" [", value, b"]\n"].concat());
        };
        line("(0008,0005) CS", self.charset);
        line("(0008,0050) SH", accession.as_bytes());
        line("(0010,0010) PN", b"Test^Tessa");
        line("(0010,0020) LO", patient.as_bytes());
        line("(0010,0021) LO", b"HOSP");
        line("(0020,000d) UI", study.as_bytes());
        line("(0032,1032) PN", b"Req^Rob");
        line("(0032,1060) LO", self.description);
        out.extend(b"(0040,0100) SQ\n(fffe,e000) -\n");
        let mut line = |tag: &str, value: &str| out.extend(format!("{tag} [{value}]\n").into_bytes());
        line("(0008,0060) CS", "XC");
        line("(0040,0001) AE", "CAMERA");
        line("(0040,0002) DA", "20260301");
        line("(0040,0003) TM", "080000");
        line("(0040,0009) SH", &format!("SPS{accession}"));
        out.extend(b"(fffe,e00d) -\n(fffe,e0dd) -\n");
        out.extend(format!("(0040,1001) SH [RP{accession}]\n").into_bytes());
        out
    }
}

/// wlmscpfs, called PACS.
pub struct Worklist {
    child: Option<Child>,
    pub address: SocketAddr,
    folder: PathBuf,
}

impl Worklist {
    /// `None`, with a word about it, where dcmtk is not installed.
    pub fn start(items: &[Item<'_>]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sb-worklist-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut worklist = Self { child: None, address: SocketAddr::from(([127, 0, 0, 1], port)), folder };
        worklist.lists(items)?;
        worklist.open()?;
        Some(worklist)
    }

    /// These and no others from now on.
    pub fn lists(&self, items: &[Item<'_>]) -> Option<()> {
        let files = self.folder.join("PACS");
        let _ = std::fs::remove_dir_all(&files);
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("lockfile"), "").unwrap();
        for (number, item) in items.iter().enumerate() {
            let dump = files.join(format!("{number}.dump"));
            std::fs::write(&dump, item.dump()).unwrap();
            let made = Command::new("dump2dcm").args(["+te", "-q"]).arg(&dump).arg(files.join(format!("{number}.wl"))).status();
            let Ok(status) = made else {
                eprintln!("skipped: dcmtk is not installed");
                return None;
            };
            assert!(status.success(), "dump2dcm refuses a file");
        }
        Some(())
    }

    pub fn open(&mut self) -> Option<()> {
        let mut command = Command::new("wlmscpfs");
        command.args(["--single-process", "-csk", "-dfr", "-dfp"]).arg(&self.folder).arg(self.address.port().to_string());
        let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            eprintln!("skipped: wlmscpfs is not installed");
            return None;
        };
        self.child = Some(child);
        while TcpStream::connect(self.address).is_err() {
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "wlmscpfs ended at once");
            std::thread::yield_now();
        }
        Some(())
    }

    pub fn close(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Worklist {
    fn drop(&mut self) {
        self.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
