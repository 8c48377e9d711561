//! `shutterbridge serve` in a folder of its own, on ports that the system gives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::folder::Folder;
use super::issuer::Issuer;
use super::wait_until;

const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);

/// The smallest site: one department, one issuer, one archive; every port free. `more` goes below:
/// first what is said of the archive, then other sections.
pub fn config(folder: &Path, issuer: &Issuer, archive_port: u16, more: &str) -> PathBuf {
    let archive = format!(
        "[[archive]]\nname = \"pacs\"\nkind = \"dimse\"\naddress = \"127.0.0.1:{archive_port}\"\n\
         called_ae = \"PACS\"\ncalling_ae = \"SHUTTERBRIDGE\"\n{more}"
    );
    config_for(folder, issuer, &archive)
}

/// The same, with archives of its own.
fn config_for(folder: &Path, issuer: &Issuer, archives: &str) -> PathBuf {
    let text = format!(
        r#"[server]
listen = "127.0.0.1:0"
ops_listen = "127.0.0.1:0"
[data]
dir = "data"
[site]
institution = "Test Hospital"
timezone = "Europe/Berlin"
assigning_authority = "HOSP"
[[department]]
id = "derm"
name = "Dermatology"
[[issuer]]
issuer = "{}"
audience = "shutterbridge"
jwks_file = "jwks.json"
[hl7]
listen = "127.0.0.1:0"
[lookup]
order = ["local"]
[audit]
file = "audit.log"
{archives}
"#,
        issuer.url
    );
    let file = folder.join("shutterbridge.toml");
    std::fs::write(&file, text).expect("the configuration is written");
    std::fs::write(folder.join("jwks.json"), issuer.jwks().to_string()).expect("the keys are written");
    file
}

pub struct Gateway {
    pub https: SocketAddr,
    pub mllp: SocketAddr,
    pub ops: SocketAddr,
    pub issuer: Issuer,
    /// Configuration, data, audit: all of it.
    pub folder: Folder,
    binary: PathBuf,
    child: Child,
}

impl Gateway {
    /// Starts `binary` (`env!("CARGO_BIN_EXE_shutterbridge")`) and waits for its `ready` line.
    pub fn start(binary: &str, archive_port: u16, more: &str) -> Self {
        Self::start_in(Folder::new(), binary, archive_port, more)
    }

    pub fn start_in(folder: Folder, binary: &str, archive_port: u16, more: &str) -> Self {
        let issuer = Issuer::new();
        config(folder.path(), &issuer, archive_port, more);
        Self::serve(folder, issuer, binary)
    }

    /// `archives`: the sections of its archives, and whatever else.
    pub fn start_for(binary: &str, archives: &str) -> Self {
        let (folder, issuer) = (Folder::new(), Issuer::new());
        config_for(folder.path(), &issuer, archives);
        Self::serve(folder, issuer, binary)
    }

    fn serve(folder: Folder, issuer: Issuer, binary: &str) -> Self {
        let binary = PathBuf::from(binary);
        let (child, [https, mllp, ops]) = serve(&binary, folder.path());
        Self { https, mllp, ops, issuer, folder, binary, child }
    }

    /// A power cut and a new start on the same folder. The ports change.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    /// After [`Gateway::kill`].
    pub fn restart(&mut self) {
        let (child, [https, mllp, ops]) = serve(&self.binary, self.folder.path());
        (self.child, self.https, self.mllp, self.ops) = (child, https, mllp, ops);
    }

    /// SIGTERM, then the end within the time it has to drain.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status().expect("a shell");
        wait_until(STOP_MAX, "the gateway drains", || self.child.try_wait().expect("a child of ours"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the ops door says at `path`: the status line, and the body below the headers.
    pub fn ops(&self, path: &str) -> (String, String) {
        let mut socket = TcpStream::connect(self.ops).expect("the ops door is open");
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    /// The sum of a metric over all its series whose labels hold `labels`, such as `stage="held"`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = self.ops("/metrics");
        let is_ours =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels));
        text.lines().filter(is_ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ready https=ADDR mllp=ADDR ops=ADDR` on stderr says that every door is open.
fn serve(binary: &Path, folder: &Path) -> (Child, [SocketAddr; 3]) {
    let mut command = Command::new(binary);
    command.args(["serve", "--config", "shutterbridge.toml"]).current_dir(folder);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the gateway starts");
    let stderr = child.stderr.take().expect("piped");
    let (said, lines) = mpsc::channel();
    std::thread::spawn(move || listen(stderr, &said));
    let mut all = String::new();
    let Some(ready) = wait_for_ready(&lines, &mut all) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("the gateway did not say ready within {START_MAX:?}:\n{all}");
    };
    let door = |name: &str| {
        let address = ready.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        address.and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("no {name} address in: {ready}"))
    };
    (child, [door("https"), door("mllp"), door("ops")])
}

/// Reads to the end, so that a full pipe never stops the gateway.
fn listen(stderr: ChildStderr, said: &mpsc::Sender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let _ = said.send(line);
    }
}

fn wait_for_ready(lines: &mpsc::Receiver<String>, all: &mut String) -> Option<String> {
    while let Ok(line) = lines.recv_timeout(START_MAX) {
        if line.starts_with("ready ") {
            return Some(line);
        }
        all.push_str(&line);
        all.push('\n');
    }
    None
}
