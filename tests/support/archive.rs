//! dcmtk's storescp as the archive.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait_until;

pub struct Storescp {
    pub port: u16,
    child: Child,
}

impl Storescp {
    /// `keep`: the folder for what arrives, byte by byte; without one it is received and dropped.
    pub fn start(keep: Option<&Path>) -> Self {
        Self::taking(keep, &["--accept-all"])
    }

    /// The same, taking what these options say.
    pub fn taking(keep: Option<&Path>, takes: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let mut command = Command::new("storescp");
        command.args(["--fork", "--max-pdu", "131072", "-aet", "PACS"]).args(takes);
        match keep {
            Some(folder) => command.args(["--bit-preserving", "--unique-filenames", "-od"]).arg(folder),
            None => command.arg("--ignore"),
        };
        // Without TCP_NODELAY each answer waits for a delayed ACK: 40 ms that no archive takes.
        command.arg(port.to_string()).env("TCP_NODELAY", "1").process_group(0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let archive = Self { port, child: child.expect("storescp starts") };
        wait_until(Duration::from_secs(10), "storescp opens its port", || TcpStream::connect(("127.0.0.1", port)).ok());
        archive
    }
}

impl Drop for Storescp {
    fn drop(&mut self) {
        // Its forks too, or an open association would keep the archive alive.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &group]).status();
        let _ = self.child.wait();
    }
}
