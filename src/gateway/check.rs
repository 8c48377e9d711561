//! `check`: everything that the gateway needs is really tried, and nothing is kept.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::archive::find::Find;
use crate::archive::finding::{Finding, Grade};
use crate::archive::tls::Files;
use crate::capture::media::TakenAt;
use crate::cli::check::Row;
use crate::clock::Clock;
use crate::config::options::{ArchivePeer, Config, Ffmpeg, KeySource};
use crate::config::value::Space;
use crate::config::{Loaded, Problems};
use crate::identity::{IssuerOptions, JwksSource, Verifier};
use crate::media::{exif, raster};
use crate::ops::{key, tls};
use crate::scrub::{Limits, Purpose, Scrubbed, Scrubber};
use crate::spool;
use crate::store::folder::sync;

use super::{archives, transcode};

/// A certificate that ends sooner is to be renewed now.
const CERTIFICATE_DAYS_MIN: i64 = 30;
/// How long the own gateway may take to say that it runs.
const OWN_DOOR_WAIT: Duration = Duration::from_secs(1);
/// What is written to a folder and removed again.
const PROBE: &str = ".shutterbridge-check";

/// Tries everything; the rows in the order of the configuration.
#[must_use]
pub fn rows(loaded: Result<Loaded, Problems>) -> Vec<Row> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(Problems(problems)) => {
            let row =
                |p: &crate::config::Problem| Row::new("config", Grade::Fail, p.to_string(), "correct it; see `config print`");
            return problems.iter().map(row).collect();
        }
    };
    let look = Look { loaded: &loaded, config: &loaded.config, clock: Clock::system() };
    let mut rows = vec![Row::pass("config", "every key is known and reads")];
    rows.extend(
        loaded.warnings.iter().map(|w| Row::new("config", Grade::Warn, w.to_string(), "set it, where it is not meant so")),
    );
    rows.push(look.certificate());
    rows.extend(look.disk());
    rows.extend(look.issuers());
    rows.extend(look.doors());
    rows.extend(look.worklist());
    rows.extend(look.archives());
    rows.push(look.transcoder());
    rows.push(scrub());
    rows
}

struct Look<'a> {
    loaded: &'a Loaded,
    config: &'a Config,
    clock: Clock,
}

impl Look<'_> {
    /// A row whose fix is to change a key.
    fn wrong(&self, grade: Grade, key: (&'static str, &'static str), says: impl Into<String>, fix: impl Into<String>) -> Row {
        let (section, name) = key;
        let full = format!("{section}.{name}");
        let at = self.line(section, 0, name);
        Row::new(&full, grade, says, fix).at(full.clone(), at)
    }

    /// `file:line`; empty where nobody set it.
    fn line(&self, section: &str, index: usize, key: &str) -> String {
        match self.loaded.origin(section, index, key) {
            crate::config::Origin::Default => String::new(),
            origin => origin.to_string(),
        }
    }

    /// Codes a second of nothing behind the fence, as a film would be.
    fn transcoder(&self) -> Row {
        const KEY: (&str, &str) = ("transcode", "ffmpeg");
        let wanted = &self.config.transcode.ffmpeg;
        if *wanted == Ffmpeg::Off {
            return Row::pass("transcode.ffmpeg", "off: what no transfer syntax carries is held with needs-transcoding");
        }
        let Some(place) = transcode::place(wanted) else {
            let fix = "install ffmpeg with libx264, name its path, or set it to \"off\"";
            return self.wrong(Grade::Warn, KEY, "there is no ffmpeg on the path: turned, HDR and other videos are held", fix);
        };
        let place = place.display();
        let Some(found) = transcode::find(wanted) else {
            let says = format!("{place} cannot be run, or has no libx264 or aac encoder");
            return self.wrong(Grade::Fail, KEY, says, "install an ffmpeg that has both, or set it to \"off\"");
        };
        let tones = if found.maps_tones { "" } else { "; it has no zscale and tonemap: HDR videos will look flat" };
        match transcode::rehearse(found) {
            Ok(()) => Row::pass("transcode.ffmpeg", format!("{place}, which works within its limits{tones}")),
            Err(why) => {
                let fix = "see that this system has seccomp, and that ffmpeg is one of its packages, or set it to \"off\"";
                self.wrong(Grade::Fail, KEY, format!("{place} does not work within its limits: {why}"), fix)
            }
        }
    }

    fn certificate(&self) -> Row {
        const KEY: (&str, &str) = ("server", "tls_cert");
        let Some(files) = &self.config.server.tls else {
            return Row::pass("server.tls_cert", "not set: a dev certificate is made, for this machine only");
        };
        let identity = match tls::load(&files.cert, &files.key, self.clock.now()) {
            Ok(identity) => identity,
            Err(why) => return self.wrong(Grade::Fail, KEY, why.to_string(), "name a certificate in PEM and its key"),
        };
        if identity.names.is_empty() {
            let fix = "have it made with a Subject Alternative Name; browsers and phones look at nothing else";
            return self.wrong(Grade::Fail, KEY, "the certificate names no host", fix);
        }
        let names = identity.names.join(", ");
        let Some(expires) = identity.expires else { return Row::pass("server.tls_cert", format!("for {names}")) };
        let days = expires.duration_since(self.clock.now()).as_hours() / 24;
        let says = format!("for {names}; good for {days} days, until {expires}");
        if days < CERTIFICATE_DAYS_MIN {
            return self.wrong(Grade::Warn, KEY, says, "renew it before phones refuse to send");
        }
        Row::pass("server.tls_cert", says)
    }

    fn disk(&self) -> Vec<Row> {
        let data = &self.config.data;
        let mut rows = vec![self.folder(("data", "dir"), &data.dir), self.key()];
        if let Some(folder) = self.config.audit.file.parent() {
            rows.push(self.folder(("audit", "file"), folder));
        }
        rows.push(self.space());
        rows
    }

    /// Writes, flushes and removes a file; where the folder is not there, in the one above it.
    fn folder(&self, key: (&'static str, &'static str), folder: &Path) -> Row {
        let Some(there) = folder.ancestors().find(|f| f.is_dir() || f.as_os_str().is_empty()) else {
            return self.wrong(Grade::Fail, key, format!("{} is nowhere", folder.display()), "name a folder");
        };
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        match try_folder(there) {
            Ok(()) if there == folder => {
                Row::pass(&format!("{}.{}", key.0, key.1), format!("{} takes files and flushes them", there.display()))
            }
            Ok(()) => Row::pass(&format!("{}.{}", key.0, key.1), format!("{} is made at the first start", folder.display())),
            Err(error) => {
                let says = format!("{} takes no file: {error}", there.display());
                self.wrong(Grade::Fail, key, says, "let this user write there (chown, chmod), or name another folder")
            }
        }
    }

    fn key(&self) -> Row {
        const KEY: (&str, &str) = ("data", "key_file");
        let KeySource::File(path) = &self.config.data.key else { return Row::pass("data.key", "is given and reads") };
        let sealed_already = self.config.data.dir.join("spool").exists();
        if !path.exists() && !sealed_already {
            return Row::pass("data.key_file", format!("{} is made at the first start", path.display()));
        }
        match key::load_or_make(path, false) {
            Ok(file) if file.readable_by_others => {
                self.wrong(Grade::Warn, KEY, format!("others can read {}", path.display()), "chmod 600")
            }
            Ok(_) => Row::pass("data.key_file", format!("{} reads", path.display())),
            Err(why) => self.wrong(Grade::Fail, KEY, why.to_string(), "put the key back from its backup"),
        }
    }

    fn space(&self) -> Row {
        const KEY: (&str, &str) = ("limits", "spool_free_min");
        let there = self.config.data.dir.ancestors().find(|f| f.is_dir()).unwrap_or(Path::new("."));
        let capacity = match spool::capacity_of(there) {
            Ok(capacity) => capacity,
            Err(why) => return self.wrong(Grade::Fail, ("data", "dir"), why.to_string(), "put data.dir on a disk that works"),
        };
        let min_bytes = match self.config.limits.spool_free_min {
            Space::Percent(percent) => capacity.total_bytes / 100 * u64::from(percent),
            Space::Bytes(bytes) => bytes,
        };
        let free = capacity.free_bytes;
        let says = format!("{} MiB are free, {} MiB must stay so", free >> 20, min_bytes >> 20);
        if free < min_bytes {
            return self.wrong(
                Grade::Fail,
                KEY,
                says,
                "make room on the disk of data.dir; until then every upload is refused (507)",
            );
        }
        // The largest file that is taken, twice: it is there sealed, and as what is made of it.
        if free - min_bytes < self.config.limits.video_bytes.saturating_mul(2) {
            return self.wrong(
                Grade::Warn,
                KEY,
                says,
                "make room: one video of limits.video_bytes would fill the disk to the limit",
            );
        }
        Row::pass("limits.spool_free_min", says)
    }

    fn issuers(&self) -> Vec<Row> {
        let row = |(index, options): (usize, &crate::config::options::IssuerOptions)| {
            let at = self.line("issuer", index, "jwks_file");
            let file = options.jwks_file.display();
            let issuer = IssuerOptions {
                issuer: options.issuer.clone(),
                audience: options.audience.clone(),
                jwks: JwksSource::File(options.jwks_file.clone()),
            };
            let keys =
                Verifier::open(vec![issuer]).map(|v| v.usable_keys(self.clock.now()).iter().map(|(_, keys)| keys).sum::<usize>());
            let name = format!("issuer.{index}");
            match keys {
                Ok(0) => {
                    let fix = "fetch the issuer's keys anew: RS256, PS256, ES256, ES384 or EdDSA; RSA of 2048 bits or more";
                    Row::new(&name, Grade::Fail, format!("{file} holds no key that can verify a token"), fix)
                }
                Ok(keys) => Row::pass(&name, format!("{}: {keys} keys can verify a token", options.issuer)),
                Err(why) => Row::new(&name, Grade::Fail, why.to_string(), "fetch the issuer's keys (a JWK set) into this file"),
            }
            .at("issuer.jwks_file", at)
        };
        self.config.issuers.iter().enumerate().map(row).collect()
    }

    /// Whether each address is free; a gateway that runs already holds them rightly.
    fn doors(&self) -> Vec<Row> {
        let (server, dicom) = (&self.config.server, &self.config.dicom);
        let is_running = answers_healthz(server.ops_listen);
        let doors: [(&'static str, &'static str, Option<SocketAddr>); 4] = [
            ("server", "listen", Some(server.listen)),
            ("server", "ops_listen", Some(server.ops_listen)),
            ("hl7", "listen", self.config.hl7.listen),
            ("dicom", "listen", dicom.listen),
        ];
        let door = |(section, key, address): (&'static str, &'static str, Option<SocketAddr>)| {
            let (address, full) = (address?, format!("{section}.{key}"));
            Some(match TcpListener::bind(address) {
                Ok(_) => Row::pass(&full, format!("{address} is free")),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_running => {
                    Row::pass(&full, format!("{address} is held by the gateway that runs"))
                }
                Err(error) => {
                    let fix = match error.kind() {
                        std::io::ErrorKind::AddrInUse => "end what listens there, or write another port",
                        std::io::ErrorKind::PermissionDenied => {
                            "write a port from 1024 on, or give the right to lower ones (CAP_NET_BIND_SERVICE)"
                        }
                        std::io::ErrorKind::AddrNotAvailable => "write an address of this machine, or 0.0.0.0",
                        _ => "write an address that can be listened on",
                    };
                    self.wrong(Grade::Fail, (section, key), format!("{address} cannot be opened: {error}"), fix)
                }
            })
        };
        let mut rows: Vec<Row> = doors.into_iter().filter_map(door).collect();
        if let Err(why) = archives::reports_tls(dicom) {
            rows.push(self.wrong(Grade::Fail, ("dicom", "tls_cert"), why, "name a certificate in PEM and its key"));
        }
        rows
    }

    fn worklist(&self) -> Vec<Row> {
        const SECTION: &str = "lookup.mwl";
        let place = |row: Row, key: &str| {
            let row = Row { check: SECTION.to_owned(), ..row };
            if key.is_empty() { row } else { row.at(format!("{SECTION}.{key}"), self.line(SECTION, 0, key)) }
        };
        let row = |found: Finding| place(Row::new(SECTION, found.grade, found.says, found.fix), found.key);
        let ours = self.config.lookup.worklist.as_ref().and_then(|of| self.own_certificate(of.tls.as_ref()));
        let mut rows: Vec<Row> = ours.map(|found| place(found, "tls_cert")).into_iter().collect();
        match archives::worklist(&self.config.lookup) {
            Ok(worklist) => rows.extend(worklist.iter().flat_map(Find::examine).map(row)),
            Err(why) => rows.push(row(Finding::fail(why, "tls_ca", "name files that hold what they should"))),
        }
        rows
    }

    fn archives(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (index, options) in self.config.archives.iter().enumerate() {
            let check = format!("archive.{}", options.name);
            let place = |row: Row, key: &str| {
                if key.is_empty() { row } else { row.at(format!("archive.{key}"), self.line("archive", index, key)) }
            };
            rows.extend(
                self.own_certificate(tls_of(&options.peer))
                    .map(|found| place(found, "tls_cert"))
                    .map(|row| Row { check: check.clone(), ..row }),
            );
            match archives::open(options) {
                Ok(archive) => {
                    let mut found = archive.examine(options.commitment, &options.takes.media);
                    let asked = archives::studies(options).ok().flatten();
                    found.extend(asked.and_then(|find| find.examine_service("study_lookup")));
                    rows.extend(found.into_iter().map(|f| place(Row::new(&check, f.grade, f.says, f.fix), f.key)));
                }
                Err(why) => {
                    let key = if matches!(options.peer, ArchivePeer::Folder { .. }) { "path" } else { "tls_ca" };
                    rows.push(place(Row::new(&check, Grade::Fail, why, "name files that hold what they should"), key));
                }
            }
        }
        rows
    }
}

impl Look<'_> {
    /// A certificate that a peer is shown: nothing tells of its end but an archive that suddenly takes
    /// no more.
    fn own_certificate(&self, tls: Option<&Files>) -> Option<Row> {
        let (cert, key) = tls?.identity.as_ref()?;
        match tls::load(cert, key, self.clock.now()) {
            Ok(identity) => {
                let expires = identity.expires?;
                let days = expires.duration_since(self.clock.now()).as_hours() / 24;
                let says = format!("the certificate of this gateway is good for {days} days, until {expires}");
                (days < CERTIFICATE_DAYS_MIN).then(|| Row::new("", Grade::Warn, says, "renew it before it is refused"))
            }
            Err(why) => Some(Row::new("", Grade::Fail, why.to_string(), "name a certificate in PEM and its key")),
        }
    }
}

fn tls_of(peer: &ArchivePeer) -> Option<&Files> {
    match peer {
        ArchivePeer::Dimse { tls, .. } | ArchivePeer::Stow { tls, .. } => tls.as_ref(),
        ArchivePeer::Folder { .. } => None,
    }
}

/// As the spool writes: the file and its folder are flushed.
fn try_folder(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(PROBE);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(b"shutterbridge")?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed).and_then(|()| sync(folder))
}

fn answers_healthz(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&address, OWN_DOOR_WAIT)?;
        socket.set_read_timeout(Some(OWN_DOOR_WAIT))?;
        socket.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer == "HTTP/1.1 200")
}

/// A drawn photo with a place is scrubbed, and looked at again.
fn scrub() -> Row {
    let taken = TakenAt { local: jiff::civil::datetime(2026, 3, 1, 10, 15, 30, 0), offset: None };
    let photo = exif::with_location(&raster::draw_sample_photo(), 51.4769, 0.0005, &taken);
    let mut clean = Vec::new();
    let first = scrub_into(&photo, &mut clean);
    let second = scrub_into(&clean, &mut Vec::new());
    match (first, second) {
        (Some(first), Some(second)) if first.location_found && !second.location_found && second.removed.is_empty() => {
            Row::pass("scrub", "the place of a drawn photo was found and removed, and the picture was kept")
        }
        _ => Row::new("scrub", Grade::Fail, "the place of a drawn photo was not removed", "do not start this build; report it"),
    }
}

fn scrub_into(photo: &[u8], out: &mut Vec<u8>) -> Option<Scrubbed> {
    let mut sink = |bytes: &[u8]| -> Result<(), std::convert::Infallible> {
        out.extend_from_slice(bytes);
        Ok(())
    };
    let mut scrubber = Scrubber::new(Purpose::File, &Limits::default());
    scrubber.push(photo, &mut sink).ok()?;
    scrubber.finish(&mut sink).ok()
}
