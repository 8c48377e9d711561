//! `demo`: everything on this machine in one process.
//!
//! A folder, a hospital that talks, an archive that takes, an issuer that signs, and the real
//! gateway between them, started from a configuration file like any other.

mod archive;
mod folder;
pub mod hospital;
mod text;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{ArchivePeer, DemoArgs};
use super::serve::{DemoPersons, Doors, Running};
use super::{status, token};
use crate::capture::{Operator, TakenAt};
use crate::clock::Clock;
use crate::identity::{DevIssuer, Scope};
use crate::media::{exif, raster};
use archive::BuiltIn;
use folder::Folder;
use hospital::{Hospital, PEOPLE};

/// The photo of the `curl` line, beside the configuration.
pub const SAMPLE: &str = "sample.jpg";
const CONFIG: &str = "shutterbridge.toml";
/// A demo that runs for longer is somebody's server.
const TOKEN_LIFETIME_S: u32 = 30 * 24 * 3600;
/// How long the first patient may take; the gateway answers in milliseconds.
const FIRST_PATIENT: Duration = Duration::from_secs(10);
/// How often it looks for new objects at the built-in archive.
const LOOK: Duration = Duration::from_millis(250);

/// Starts the gateway from a configuration file.
pub type Start<'a> = &'a mut dyn FnMut(&Path, DemoPersons) -> Result<Box<dyn Running>, String>;

/// What the demo is given by the roof.
pub struct Roof<'a> {
    pub start: Start<'a>,
    /// Waits so long, or until somebody wants the demo to end: true then.
    pub wait: &'a dyn Fn(Duration) -> bool,
    pub clock: Clock,
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
}

/// Where finished objects go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: String,
    pub called_ae: String,
    /// Where the built-in archive keeps them.
    pub files: Option<PathBuf>,
}

/// Runs until somebody wants it to end.
pub fn run(args: &DemoArgs, roof: &mut Roof<'_>) -> u8 {
    match try_run(args, roof) {
        Ok(()) => status::DONE,
        Err(why) => {
            let _ = writeln!(roof.err, "The demo did not start: {why}");
            status::FAILED
        }
    }
}

/// What falls out of scope first was opened last: the folder goes when everybody is gone.
fn try_run(args: &DemoArgs, roof: &mut Roof<'_>) -> Result<(), String> {
    let folder = Folder::open(args.data.as_deref()).map_err(|error| format!("no folder for its data: {error}"))?;
    let built_in = match &args.archive {
        Some(_) => None,
        None => Some(BuiltIn::open(&folder.path().join("archive"))?),
    };
    let target = target(args.archive.as_ref(), built_in.as_ref());
    let (token, persons) = write_sign_in(folder.path(), &roof.clock)?;
    write_sample(folder.path(), &roof.clock)?;
    let config = folder.path().join(CONFIG);
    write(&config, text::configuration(folder.path(), &target).as_bytes())?;
    let gateway = (roof.start)(&config, persons)?;
    let served = serve(roof, &gateway.doors(), &folder, &token, &target, built_in.as_ref());
    gateway.stop();
    served
}

/// The hospital begins, the person reads, objects arrive.
fn serve(
    roof: &mut Roof<'_>,
    doors: &Doors,
    folder: &Folder,
    token: &str,
    target: &Target,
    built_in: Option<&BuiltIn>,
) -> Result<(), String> {
    let Doors { mllp: Some(mllp), dev_ca: Some(dev_ca), https, ops } = doors else {
        return Err("the gateway did not open every door".to_owned());
    };
    let hospital = Hospital::open(*mllp, roof.clock.clone()).map_err(|error| format!("no thread for the hospital: {error}"))?;
    if !PEOPLE.first().is_some_and(|first| hospital.has_announced(first.mrn, FIRST_PATIENT)) {
        return Err("the gateway did not accept the hospital's first patient".to_owned());
    }
    let welcome = text::Welcome { https: *https, mllp: *mllp, ops: *ops, dev_ca, folder, token, archive: target };
    let _ = write!(roof.out, "{}\nready\n", welcome.text()).and_then(|()| roof.out.flush());
    watch(roof, built_in);
    Ok(())
}

fn target(given: Option<&ArchivePeer>, built_in: Option<&BuiltIn>) -> Target {
    match (given, built_in) {
        (Some(peer), _) => Target { address: peer.address.clone(), called_ae: peer.called_ae.clone(), files: None },
        (None, Some(built_in)) => built_in.target(),
        (None, None) => Target { address: String::new(), called_ae: String::new(), files: None },
    }
}

/// Tells of each object that arrives, until the end.
fn watch(roof: &mut Roof<'_>, built_in: Option<&BuiltIn>) {
    while !(roof.wait)(LOOK) {
        for object in built_in.into_iter().flat_map(BuiltIn::arrived) {
            let _ = writeln!(roof.out, "archive received {}", object.display()).and_then(|()| roof.out.flush());
        }
    }
}

/// Who may be at the demo's ward.
const PERSONS: [(&str, &str); 2] = [("Rivera, Ana", "Nurse, Dermatology"), ("Okafor, Ben", "Physician, Wound Care")];

/// The issuer's key and what it publishes; a token for the `curl` line, and the persons of the page.
fn write_sign_in(folder: &Path, clock: &Clock) -> Result<(String, DemoPersons), String> {
    let issuer = DevIssuer::load(&folder.join("dev-issuer.key"), token::AUDIENCE).map_err(|error| error.to_string())?;
    write(&folder.join("jwks.json"), issuer.jwks().as_bytes())?;
    let clock = clock.clone();
    let mint = move |index: usize| {
        let (name, _) = PERSONS.get(index)?;
        let operator =
            Operator { issuer: token::DEV_ISSUER.to_owned(), subject: format!("demo-{index}"), name: (*name).to_owned() };
        issuer.mint(&operator, &Scope::ALL, clock.now(), TOKEN_LIFETIME_S).ok()
    };
    let token = mint(0).ok_or("no token could be signed")?;
    let persons = PERSONS.map(|(name, role)| (name.to_owned(), role.to_owned())).to_vec();
    Ok((token, DemoPersons { persons, token_of: Box::new(mint) }))
}

/// A photo as a phone would hand it in. The place is the Royal Observatory at Greenwich.
fn write_sample(folder: &Path, clock: &Clock) -> Result<(), String> {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
    let taken = clock.now().to_zoned(zone);
    let taken = TakenAt { local: taken.datetime(), offset: Some(taken.offset()) };
    let drawn = raster::draw_sample_photo();
    write(&folder.join(SAMPLE), &exif::with_location(&drawn, 51.4769, 0.0005, &taken))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
