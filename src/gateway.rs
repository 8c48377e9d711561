//! The composition root: opens the adapters, starts the threads, opens the doors, closes them
//! again. It makes no decisions.

mod archives;
pub mod check;
mod transcode;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::archive::reports::{self, Reports};
use crate::archive::{AeTitle, Report, ReportSink, Unwanted};
use crate::audit::{self, Audit, Event, Object, Outcome};
use crate::capture::claim::ClaimError;
use crate::capture::retry::RetryPolicy;
use crate::capture::{Claim, FailureCode, ItemId, MediaKind, Patient, Phi, Stage, Uid};
use crate::cli::serve::{DemoPersons, Doors, Running};
use crate::cli::upkeep::{self, Upkeep};
use crate::clock::Clock;
use crate::config::options::{ArchiveOptions, ArchivePeer, Config, Department, KeySource, UnknownPatient};
use crate::config::value::Space;
use crate::fence::Fence;
use crate::hl7::rules::Authority;
use crate::hl7::{self, AckCode, Rules, SourceRule};
use crate::http::{self, Server};
use crate::identity::{IssuerOptions, JwksSource, Verifier};
use crate::journal::{Journal, JournalError};
use crate::lookup::local::{self, Local};
use crate::mllp::{self, Inbox, Listener, Reply};
use crate::ops::door::{Door, Shown};
use crate::ops::metrics::{Answered, Attempt, Metrics};
use crate::ops::readiness::{Check, Condition, Readiness, Watch};
use crate::ops::sparing::{Say, Sparing};
use crate::ops::tls::{self, DevCa, Identity};
use crate::ops::{backup, files, key, log, open_files};
use crate::pipeline::accept::{Census, FrontDesk, Options, Quotas, Reception};
use crate::pipeline::bind::{self, Place};
use crate::pipeline::department::{DepartmentRule, complete};
use crate::pipeline::desk::Counter;
use crate::pipeline::feed::{Delivered, Inlet};
use crate::pipeline::forward::NamedArchive;
use crate::pipeline::inquire::{Source, SourceKind};
use crate::pipeline::observer::Observer;
use crate::pipeline::offline::Offline;
use crate::pipeline::pending::Pending;
use crate::pipeline::recover;
use crate::pipeline::step::{Line, Works};
use crate::pipeline::tombstone;
use crate::pipeline::{Acceptor, Desk, WORKERS};
use crate::scrub;
use crate::seal::aead::Kek;
use crate::seal::random::random;
use crate::seal::secret::Secret;
use crate::spool::{self, FreeMin, Spool};
use crate::store::StoreError;
use crate::store::sled::SledStore;
use crate::web;

/// How long what is in flight may take to end; the contract gives 30 s in all.
const STOP_MAX: Duration = Duration::from_secs(26);
const STOP_LOOK: Duration = Duration::from_millis(20);
/// So much of the audit's end may go unseen with whoever can take both its files back in time.
const TERMS_EVERY: Duration = Duration::from_secs(60);
/// One look in so many, a second each, tries the disk although nothing is known to be wrong.
const PROBE_EVERY_LOOKS: u32 = 5;

/// Why the gateway does not start: what happened, and what to do.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn cannot<E: fmt::Display>(what: &str) -> impl Fn(E) -> StartError {
    move |e| StartError(format!("{what}: {e}"))
}

/// A gateway whose doors are open.
struct Gateway {
    doors: Doors,
    server: Server,
    listener: Option<Listener>,
    reports: Option<Reports>,
    door: Door,
    readiness: Arc<Readiness>,
    watch: Arc<Watch>,
    line: Arc<Line>,
    threads: Vec<JoinHandle<()>>,
}

impl Running for Gateway {
    fn doors(&self) -> Doors {
        self.doors.clone()
    }

    fn stop(self: Box<Self>) {
        let Self { server, listener, reports, door, readiness, watch, line, threads, .. } = *self;
        readiness.fails(Condition::Doors, "stopping");
        let deadline = Instant::now() + STOP_MAX;
        // The workers end after the item in hand while the doors let their last callers go.
        line.stop();
        watch.stop();
        let server = thread::spawn(move || server.stop());
        if let Some(mut listener) = listener {
            listener.stop();
        }
        if let Some(reports) = reports {
            reports.stop();
        }
        while threads.iter().any(|t| !t.is_finished()) && Instant::now() < deadline {
            thread::sleep(STOP_LOOK);
        }
        if let Ok(Err(e)) = server.join() {
            log::warn("https-stop", &[("cause", &e)]);
        }
        // A store that an archive does not answer is given up: it is sent again at the next start.
        line.finish();
        door.stop();
    }
}

/// Everything below the doors.
struct House {
    spool: Arc<Spool>,
    journal: Arc<Journal>,
    facts: Arc<Local>,
    audit: Arc<Audit>,
    pending: Arc<Pending>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    watch: Arc<Watch>,
    line: Arc<Line>,
    rules: Rules,
    clock: Clock,
}

/// Opens everything and starts. `persons`: who may sign in at the page without a token.
///
/// # Errors
/// Text for the administrator.
pub fn start(config: &Config, persons: Option<DemoPersons>) -> Result<Box<dyn Running>, String> {
    let gateway = open_doors(config, persons).map_err(|StartError(why)| why)?;
    Ok(Box::new(gateway))
}

/// What `wrap` uses: the configuration's names, no data folder.
///
/// # Errors
/// Text for the person at the shell.
pub fn wrapper(config: &Config, claim: Claim, patient: Patient) -> Result<Offline, String> {
    let key = random::<32>().map_err(|_| "the system gives no random numbers".to_owned())?;
    let place = place(config, &Kek::new(Secret::new(key)));
    // A department that the configuration does not have asks nothing.
    let rule = config.departments.iter().find(|d| d.id == claim.department).map(rule).unwrap_or_default();
    let claim = complete(claim, &DepartmentRule { body_site_required: false, ..rule })
        .map_err(|errors| format!("The claim is not valid:\n{}", ClaimError::list(&errors)))?;
    let limits = (config.limits.photo_bytes, config.limits.video_bytes);
    Offline::new(claim, patient, place, limits, (fence(config), config.photo.edge_blocks), &Clock::system())
}

/// The index from the spool, after it was deleted or put aside.
///
/// # Errors
/// Text for the administrator, where key, spool or index cannot be opened.
pub fn rebuild_journal(config: &Config) -> Result<Upkeep, String> {
    let open = || -> Result<(Arc<Spool>, Journal, Place), StartError> {
        let kek = open_key(config)?;
        let journal = open_journal(&config.data.dir.join("index"), &kek, &Clock::system())?;
        Ok((open_spool(config, &kek)?, journal, place(config, &kek)))
    };
    let (spool, journal, place) = open().map_err(|StartError(why)| why)?;
    let recovered = recover::recover(&spool, &journal, &place)?;
    let summary = format!("{} captures known, {} added", recovered.known, recovered.inserted);
    let faults = recovered.damaged.into_iter().map(|(name, why)| format!("{name}: {why}")).collect();
    Ok(Upkeep { summary, faults })
}

/// Whether every sealed file opens to its end.
///
/// # Errors
/// Text for the administrator, where key or spool cannot be opened.
pub fn verify_spool(config: &Config) -> Result<Upkeep, String> {
    let open = || open_spool(config, &open_key(config)?);
    upkeep::verify_spool(&*open().map_err(|StartError(why)| why)?)
}

/// Whether the audit file is what was written.
///
/// # Errors
/// Names the first line that is not; text for the administrator.
pub fn verify_audit(config: &Config) -> Result<Upkeep, String> {
    let kek = open_key(config).map_err(|StartError(why)| why)?;
    upkeep::verify_audit(&config.audit.file, &audit::Seal::of(&kek))
}

/// Where foreign codecs run, with the program for films where there is one.
fn fence(config: &Config) -> Fence {
    Fence::default().with_ffmpeg(transcode::find(&config.transcode.ffmpeg))
}

fn places(config: &Config) -> backup::Places {
    let dir = &config.data.dir;
    let at = |name: &str| dir.join(name);
    backup::Places { spool: at("spool"), index: at("index"), hospital: at("hospital"), audit: config.audit.file.clone() }
}

/// A copy of everything but the key, while the gateway runs or stands.
///
/// # Errors
/// Text for the administrator.
pub fn backup(config: &Config, out: &Path) -> Result<Upkeep, String> {
    let mark = Clock::system().now();
    let label = backup::take(&places(config), out, mark).map_err(|e| format!("The backup is not whole: {e}"))?;
    let mut faults = Vec::new();
    if !label.has_hospital {
        faults.push(
            "the hospital's facts are not in it: they were written to all the time, or there are none yet; try again".to_owned(),
        );
    }
    Ok(Upkeep { summary: format!("{} captures, everything acknowledged before {mark}", label.captures), faults })
}

/// A backup put where there is no data, and whether this key opens it.
///
/// # Errors
/// Text for the administrator.
pub fn restore(config: &Config, from: &Path) -> Result<Upkeep, String> {
    let whole = |StartError(why)| why;
    if matches!(&config.data.key, KeySource::File(path) if !path.exists()) {
        return Err("The key file is missing: bring back the one that the backup was sealed with. A new one would open nothing."
            .to_owned());
    }
    let kek = open_key(config).map_err(whole)?;
    files::make_private_folder(&config.data.dir).map_err(|e| format!("data.dir cannot be made: {e}"))?;
    let label = backup::restore(from, &places(config)).map_err(|e| match e {
        backup::BackupError::Io(_) => format!("The restore is not whole: {e}. Empty the data folder before another try."),
        backup::BackupError::Taken | backup::BackupError::NoBackup | backup::BackupError::Newer(_) => {
            format!("Nothing was restored: {e}")
        }
    })?;
    let verified = upkeep::verify_spool(&*open_spool(config, &kek).map_err(whole)?)?;
    let index = if label.has_index { "" } else { "; the index is made at the next start" };
    Ok(Upkeep { summary: format!("everything acknowledged before {}: {}{index}", label.mark, verified.summary), ..verified })
}

fn open_doors(config: &Config, persons: Option<DemoPersons>) -> Result<Gateway, StartError> {
    let clock = Clock::system();
    open_files::raise();
    files::make_private_folder(&config.data.dir).map_err(cannot("data.dir cannot be made"))?;
    let house = open(config, &clock)?;
    let (identity, dev_ca) = certificate(config, &clock)?;
    let expires = identity.expires;
    let server = open_https(config, &house, &identity, persons)?;
    let listener = config.hl7.listen.map(|at| open_mllp(at, &house)).transpose()?;
    let reports = config.dicom.listen.map(|at| open_reports(at, config, &house)).transpose()?.flatten();
    let mut threads = start_threads(&house.line)?;
    threads.extend(start_upkeep(&house)?);
    let door = open_ops(config, &house, expires)?;
    house.readiness.holds(Condition::Doors);
    let doors = Doors { https: server.local_addr(), mllp: listener.as_ref().map(Listener::address), ops: door.address, dev_ca };
    let House { readiness, watch, line, .. } = house;
    Ok(Gateway { doors, server, listener, reports, door, readiness, watch, line, threads })
}

fn open(config: &Config, clock: &Clock) -> Result<House, StartError> {
    let dir = &config.data.dir;
    let kek = open_key(config)?;
    let spool = open_spool(config, &kek)?;
    // Others may have filled the disk meanwhile, and the index and the audit write when they open.
    spool.keep_ballast();
    let journal = open_journal(&dir.join("index"), &kek, clock)?;
    let recovered = recover::recover(&spool, &journal, &place(config, &kek))
        .map_err(cannot("the index could not be completed from the spool"))?;
    if recovered.inserted > 0 {
        log::note("index-completed", &[("captures", &recovered.inserted)]);
    }
    tell_damaged(&recovered.damaged);
    let facts = SledStore::open(&dir.join("hospital"), &kek).map_err(cannot("the hospital's facts cannot be opened"))?;
    let rules = rules(config);
    let site = local::Options { assigning_authority: rules.assigning_authority.clone() };
    let facts = Local::new(Arc::new(facts), *kek.derive("hospital identifiers").expose(), site);
    let audit = Arc::new(Audit::open(&config.audit.file, &kek).map_err(cannot("the audit trail cannot be opened"))?);
    let names: Vec<String> = config.archives.iter().map(|a| a.name.clone()).collect();
    let metrics = Arc::new(Metrics::new(&names));
    let readiness = Arc::new(Readiness::default());
    let (facts, journal, pending) = (Arc::new(facts), Arc::new(journal), Arc::new(Pending::default()));
    let line = Arc::new(Line::new(Works {
        spool: spool.clone(),
        fence: Arc::new(fence(config)),
        edges: config.photo.edge_blocks,
        journal: journal.clone(),
        pending: pending.clone(),
        lookup: facts.clone(),
        archives: config.archives.iter().map(archive).collect::<Result<_, _>>()?,
        sources: sources(config)?,
        clock: clock.clone(),
        observer: Arc::new(Counting {
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            refused: Mutex::default(),
        }),
        place: place(config, &kek),
        assigning_authority: config.site.assigning_authority.clone(),
        retry: RetryPolicy::default(),
    }));
    let wake = Arc::downgrade(&line);
    pending.on_arrival(Arc::new(move || {
        if let Some(line) = wake.upgrade() {
            line.arrived();
        }
    }));
    let watch = Arc::new(watch_of(&readiness, (&spool, &journal, &facts, &audit), place(config, &kek)));
    watch.look();
    Ok(House { spool, journal, facts, audit, pending, metrics, readiness, watch, line, rules, clock: clock.clone() })
}

/// What must take writes before a capture is accepted. A disk is tried now and then also while
/// nobody writes.
fn watch_of(
    readiness: &Arc<Readiness>,
    (spool, journal, facts, audit): (&Arc<Spool>, &Arc<Journal>, &Arc<Local>, &Arc<Audit>),
    place: Place,
) -> Watch {
    let (spool, journal, facts, audit) = (spool.clone(), journal.clone(), facts.clone(), audit.clone());
    let (sealed, told) = (spool.clone(), readiness.clone());
    let looks = AtomicU32::new(0);
    let takes = move || {
        spool.keep_ballast();
        let is_time = looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(PROBE_EVERY_LOOKS);
        let sound = if is_time { spool.probe() } else { spool.health() };
        sound.and_then(|()| spool.reserve(0).map(drop)).map_err(|e| e.to_string())
    };
    let checks: Vec<(Condition, Check)> = vec![
        (Condition::Spool, Box::new(takes)),
        (Condition::Index, Box::new(move || mend_index(&sealed, &journal, &place, &told))),
        (Condition::Facts, Box::new(move || facts.health().map_err(|e| e.to_string()))),
        (Condition::Audit, Box::new(move || audit.health().map_err(|e| e.to_string()))),
    ];
    Watch::new(readiness.clone(), checks)
}

fn open_key(config: &Config) -> Result<Kek, StartError> {
    let key = match &config.data.key {
        KeySource::Given(text) => {
            key::from_base64(text.expose()).ok_or_else(|| StartError("data.key is not 32 bytes in base64".to_owned()))?
        }
        KeySource::File(path) => {
            let sealed_already = config.data.dir.join("spool").exists();
            let file = key::load_or_make(path, !sealed_already).map_err(|e| StartError(e.to_string()))?;
            if file.readable_by_others {
                log::warn("key-readable", &[("advice", &"others can read the key file; chmod 600 it")]);
            }
            file.key
        }
    };
    Ok(Kek::new(key))
}

fn open_spool(config: &Config, kek: &Kek) -> Result<Arc<Spool>, StartError> {
    let free_min = match config.limits.spool_free_min {
        Space::Percent(percent) => FreeMin::Percent(percent),
        Space::Bytes(bytes) => FreeMin::Bytes(bytes),
    };
    let spool = Spool::open(&config.data.dir.join("spool"), kek, spool::Options { free_min })
        .map_err(cannot("the spool cannot be opened"))?;
    Ok(Arc::new(spool))
}

/// The index is only a cache of the spool: where it will not open it is put aside and made anew.
fn open_journal(dir: &Path, kek: &Kek, clock: &Clock) -> Result<Journal, StartError> {
    let open = || -> Result<Journal, JournalError> { Journal::open(Arc::new(SledStore::open(dir, kek)?), kek) };
    let journal = match open() {
        Err(JournalError::Store(StoreError::Corrupt(why))) => {
            let aside = dir.with_file_name(format!("index.damaged-{}", clock.now().as_second()));
            log::error("index-damaged", &[("cause", &why), ("advice", &"it was put aside and is rebuilt from the spool")]);
            std::fs::rename(dir, aside).map_err(cannot("the damaged index cannot be put aside"))?;
            open()
        }
        other => other,
    };
    journal.map_err(cannot("the index cannot be opened; it may be deleted, and is rebuilt from the spool"))
}

/// An index found damaged while the gateway runs is put aside and made anew from the spool.
fn mend_index(spool: &Spool, journal: &Journal, place: &Place, readiness: &Readiness) -> Result<(), String> {
    match journal.health() {
        Err(JournalError::Store(StoreError::Corrupt(why))) => {
            log::error("index-damaged", &[("cause", &why), ("advice", &"it was put aside and is rebuilt from the spool")]);
        }
        Err(JournalError::BeingMade) => {}
        other => return other.map_err(|e| e.to_string()),
    }
    readiness.fails(Condition::Index, "the index was damaged and is rebuilt from the spool");
    let recovered = recover::rebuild(spool, journal, place)?;
    log::note("index-completed", &[("captures", &recovered.inserted)]);
    tell_damaged(&recovered.damaged);
    Ok(())
}

fn tell_damaged(damaged: &[(String, String)]) {
    for (name, why) in damaged {
        log::error("spool-damaged", &[("file", name), ("cause", why)]);
    }
}

fn rules(config: &Config) -> Rules {
    let sources = config.hl7.sources.iter().map(|s| SourceRule {
        application: s.application.clone(),
        facility: s.facility.clone(),
        default_charset: s.default_charset.as_deref().and_then(|name| hl7::charset::Charset::named(name).ok()),
        assigning_authority: s.assigning_authority.clone().map(Authority::named),
        ..SourceRule::default()
    });
    Rules {
        assigning_authority: Authority::named(config.site.assigning_authority.clone()),
        zone: config.site.timezone.clone(),
        sources: sources.collect(),
    }
}

fn title(text: &str) -> Result<AeTitle, StartError> {
    AeTitle::parse(text).map_err(cannot("an AE title of the configuration"))
}

fn archive(options: &ArchiveOptions) -> Result<NamedArchive, StartError> {
    let archive = archives::open(options).map_err(StartError)?;
    Ok(NamedArchive { name: options.name.clone(), archive, commitment: options.commitment, takes: options.takes.clone() })
}

/// Who is asked which study an order has.
fn sources(config: &Config) -> Result<Vec<Source>, StartError> {
    let mut sources = Vec::new();
    if let Some(worklist) = archives::worklist(&config.lookup).map_err(StartError)? {
        sources.push(Source { name: "the worklist".to_owned(), kind: SourceKind::Worklist, studies: Arc::new(worklist) });
    }
    for options in &config.archives {
        if let Some(find) = archives::studies(options).map_err(StartError)? {
            let name = format!("archive \"{}\"", options.name);
            sources.push(Source { name, kind: SourceKind::Archive, studies: Arc::new(find) });
        }
    }
    Ok(sources)
}

fn place(config: &Config, kek: &Kek) -> Place {
    Place {
        institution: config.site.institution.clone(),
        timezone: config.site.timezone.iana_name().unwrap_or("UTC").to_owned(),
        departments: config.departments.iter().map(department).collect(),
        uid_key: *kek.derive("unique identifiers").expose(),
        gateway_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn department(of: &Department) -> bind::Department {
    bind::Department { id: of.id.clone(), name: of.name.clone(), kind: of.kind.clone(), procedure: of.procedure.clone() }
}

fn rule(of: &Department) -> DepartmentRule {
    let Department { id, body_site_required, body_site, view, .. } = of.clone();
    DepartmentRule { id, body_site_required, body_site, view }
}

fn certificate(config: &Config, clock: &Clock) -> Result<(Identity, Option<PathBuf>), StartError> {
    if let Some(files) = &config.server.tls {
        return Ok((tls::load(&files.cert, &files.key, clock.now()).map_err(|e| StartError(e.to_string()))?, None));
    }
    let ca = DevCa::in_folder(&config.data.dir.join("dev-ca"));
    let identity = ca.ensure(clock.now()).map_err(|e| StartError(e.to_string()))?;
    Ok((identity, Some(ca.ca)))
}

fn open_https(config: &Config, house: &House, identity: &Identity, persons: Option<DemoPersons>) -> Result<Server, StartError> {
    let issuers = config.issuers.iter().map(|i| IssuerOptions {
        issuer: i.issuer.clone(),
        audience: i.audience.clone(),
        jwks: JwksSource::File(i.jwks_file.clone()),
    });
    let verifier = Arc::new(Verifier::open(issuers.collect()).map_err(|e| StartError(e.to_string()))?);
    let acceptor: Arc<dyn Acceptor> = Arc::new(front_desk(config, house));
    let desk: Arc<dyn Desk> = Arc::new(Counter {
        journal: house.journal.clone(),
        pending: house.pending.clone(),
        line: house.line.clone(),
        facts: house.facts.clone(),
        audit: house.audit.clone(),
        clock: house.clock.clone(),
    });
    let clock = house.clock.clone();
    let pages = web::Web::new(pages(config, persons), acceptor.clone(), desk.clone(), verifier.clone(), clock.clone());
    let choice = |d: &Department| http::codes::Department { id: d.id.clone(), name: d.name.clone(), kind: d.kind.clone() };
    let departments = config.departments.iter().map(choice).collect();
    let (observer, pages): (_, Option<Arc<dyn http::Pages>>) = (Arc::new(AccessLog), Some(Arc::new(pages)));
    let services = http::Services { acceptor, desk, verifier, clock, observer, departments, pages };
    let listener = TcpListener::bind(config.server.listen)
        .map_err(cannot(&format!("server.listen {} cannot be opened", config.server.listen)))?;
    let files = u64::from(config.limits.request_files);
    let limits = http::Limits {
        body_max_bytes: files * (config.limits.photo_bytes.max(config.limits.video_bytes) + (1 << 16)) + (1 << 20),
        parts_max: usize::from(config.limits.request_files) + 1,
        ..http::Limits::default()
    };
    Server::start(listener, http::Options { tls: identity.config.clone(), limits }, Arc::new(services))
        .map_err(cannot("the HTTPS door cannot be opened"))
}

fn pages(config: &Config, persons: Option<DemoPersons>) -> web::Options {
    let choice = |d: &Department| web::Department { id: d.id.clone(), name: d.name.clone() };
    let person = |(name, role): (String, String)| web::DemoPerson { name, role };
    web::Options {
        institution: config.site.institution.clone(),
        departments: config.departments.iter().map(choice).collect(),
        demo_sign_in: persons
            .map(|p| web::DemoSignIn { persons: p.persons.into_iter().map(person).collect(), token_of: p.token_of }),
    }
}

fn front_desk(config: &Config, house: &House) -> FrontDesk {
    FrontDesk(Arc::new(Reception {
        options: Options {
            photo_bytes: config.limits.photo_bytes,
            video_bytes: config.limits.video_bytes,
            request_files: config.limits.request_files,
            scrub: scrub::Limits::default(),
            departments: config.departments.iter().map(rule).collect(),
            quotas: Quotas { subject_bytes: config.limits.subject_bytes, department_bytes: config.limits.department_bytes },
        },
        census: (config.lookup.unknown_patient == UnknownPatient::Refuse)
            .then(|| Census { lookup: house.facts.clone(), home: config.site.assigning_authority.clone() }),
        spool: house.spool.clone(),
        journal: house.journal.clone(),
        pending: house.pending.clone(),
        clock: house.clock.clone(),
        audit: house.audit.clone(),
        observer: Arc::new(Counting {
            metrics: house.metrics.clone(),
            readiness: house.readiness.clone(),
            audit: house.audit.clone(),
            clock: house.clock.clone(),
            refused: Mutex::default(),
        }),
    }))
}

fn open_mllp(at: SocketAddr, house: &House) -> Result<Listener, StartError> {
    let inlet = Inlet {
        feed: house.facts.clone(),
        journal: house.journal.clone(),
        line: house.line.clone(),
        rules: house.rules.clone(),
        clock: house.clock.clone(),
    };
    let inbox = HospitalInbox { inlet, metrics: house.metrics.clone() };
    Listener::open(at, mllp::Options::default(), Arc::new(inbox)).map_err(cannot(&format!("hl7.listen {at} cannot be opened")))
}

/// `None` where no archive reports on an association.
fn open_reports(at: SocketAddr, config: &Config, house: &House) -> Result<Option<Reports>, StartError> {
    let peers = config.archives.iter().filter_map(|archive| match &archive.peer {
        ArchivePeer::Dimse { called_ae, calling_ae, .. } => Some((&archive.name, called_ae, calling_ae)),
        ArchivePeer::Stow { .. } | ArchivePeer::Folder { .. } => None,
    });
    let peers: Vec<_> = peers.collect();
    let Some((_, _, calling_ae)) = peers.first() else { return Ok(None) };
    let ae = title(config.dicom.ae.as_ref().unwrap_or(calling_ae))?;
    let mut voices: HashMap<AeTitle, Vec<String>> = HashMap::new();
    for (name, called_ae, _) in &peers {
        voices.entry(title(called_ae)?).or_default().push((*name).clone());
    }
    let archive_aes = voices.keys().cloned().collect();
    let tls = archives::reports_tls(&config.dicom).map_err(StartError)?;
    let options = reports::Options { ae, archive_aes, tls };
    let reports = Reports::start(at, options, Arc::new(Reported { line: house.line.clone(), voices }))
        .map_err(cannot(&format!("dicom.listen {at} cannot be opened")))?;
    log::note("reports-listen", &[("address", &reports.local_addr())]);
    Ok(Some(reports))
}

/// What an archive reports, handed to the line.
struct Reported {
    line: Arc<Line>,
    /// Which archives have an AE title.
    voices: HashMap<AeTitle, Vec<String>>,
}

impl ReportSink for Reported {
    fn report(&self, from: &AeTitle, report: Report) -> Result<(), Unwanted> {
        self.line.report(self.voices.get(from).map_or(&[][..], Vec::as_slice), &report)
    }

    fn stranger(&self) {
        self.line.works().observer.report_refused("AE title of a stranger");
    }
}

fn start_threads(line: &Arc<Line>) -> Result<Vec<JoinHandle<()>>, StartError> {
    let start = |name: String, run: Box<dyn FnOnce(&Line) + Send>| {
        let line = line.clone();
        thread::Builder::new().name(name).spawn(move || run(&line)).map_err(cannot::<io::Error>("a thread cannot be started"))
    };
    let mut threads = vec![start("line".to_owned(), Box::new(Line::run_claimer))?];
    threads.push(start("studies".to_owned(), Box::new(Line::run_inquirer))?);
    threads.push(start("darkroom".to_owned(), Box::new(Line::run_darkroom))?);
    threads.push(start("sweep".to_owned(), Box::new(Line::run_sweeper))?);
    for lane in 0..line.works().archives.len() {
        threads.push(start(format!("commitment-{lane}"), Box::new(move |line| line.run_clerk(lane)))?);
        for n in 0..WORKERS {
            threads.push(start(format!("forward-{lane}-{n}"), Box::new(move |line| line.run_worker(lane)))?);
        }
    }
    Ok(threads)
}

/// The watch over the disks; and once, what a crash left half done.
fn start_upkeep(house: &House) -> Result<[JoinHandle<()>; 2], StartError> {
    let cannot = cannot::<io::Error>("a thread cannot be started");
    let watch = house.watch.clone();
    let watching = thread::Builder::new().name("disks".to_owned()).spawn(move || watch.run()).map_err(&cannot)?;
    let (spool, journal, watch) = (house.spool.clone(), house.journal.clone(), house.watch.clone());
    let (clock, audit) = (house.clock.clone(), house.audit.clone());
    let tidy = move || {
        count_usage(&journal, &watch);
        tidy(&spool, &journal, &clock, &watch);
        keep_terms(&spool, &audit, &clock, &watch);
    };
    let tidying = thread::Builder::new().name("tidy".to_owned()).spawn(tidy).map_err(&cannot)?;
    Ok([watching, tidying])
}

/// What waits of whom, for the quotas.
fn count_usage(journal: &Journal, watch: &Watch) {
    while !watch.is_stopping() {
        match journal.count_usage() {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => {
                return log::error("not-counted", &[("cause", &e), ("advice", &"quotas count too little until the next start")]);
            }
        }
    }
}

/// What a crash left half done.
fn tidy(spool: &Spool, journal: &Journal, clock: &Clock, watch: &Watch) {
    match recover::tidy(spool, journal, clock.now(), &|| watch.is_stopping()) {
        Ok(put_aside) => {
            for id in put_aside {
                let advice = "its first file is missing; the others are in quarantine/ with the reason";
                log::error("spool-put-aside", &[("capture", &id), ("advice", &advice)]);
            }
        }
        Err(why) => log::error("not-tidied", &[("cause", &why), ("advice", &"it is tried again at the next start")]),
    }
}

/// From time to time, until the gateway stops: forgets what has had its term, and repeats the head
/// of the audit in the log, which leaves this machine on many sites.
fn keep_terms(spool: &Spool, audit: &Audit, clock: &Clock, watch: &Watch) {
    let mut told = None;
    loop {
        if let Err(why) = tombstone::forget_old(spool, clock.now()) {
            log::error("not-forgotten", &[("cause", &why), ("advice", &"look at the disk")]);
        }
        let is_last = watch.wait_stopped(TERMS_EVERY);
        let head = audit.signed_head();
        if told.as_ref() != Some(&head) {
            log::note("audit-head", &[("lines", &head.lines), ("hash", &head.hash), ("signature", &head.signature)]);
            told = Some(head);
        }
        if is_last {
            return;
        }
    }
}

fn open_ops(config: &Config, house: &House, expires: Option<jiff::Timestamp>) -> Result<Door, StartError> {
    let (journal, spool, clock) = (house.journal.clone(), house.spool.clone(), house.clock.clone());
    let watch = house.watch.clone();
    let archives: Vec<String> = config.archives.iter().map(|a| a.name.clone()).collect();
    let refresh = move |metrics: &Metrics| {
        let now = clock.now();
        for archive in &archives {
            for (stage, captures) in journal.waiting_for(archive) {
                metrics.set_queue(archive, stage, captures);
            }
            let oldest = journal.oldest_waiting_for(archive).ok().flatten();
            metrics.set_queue_oldest(archive, oldest.map_or(0.0, |at| now.duration_since(at).as_secs_f64()));
        }
        if let Some(at) = expires {
            metrics.set_cert_expiry(at.duration_since(now).as_secs_f64());
        }
        if let Ok(capacity) = spool.capacity() {
            metrics.set_spool_free(capacity.free_bytes);
        }
        watch.look();
    };
    let shown = Shown { readiness: house.readiness.clone(), metrics: house.metrics.clone(), refresh: Arc::new(refresh) };
    Door::open(config.server.ops_listen, shown)
        .map_err(cannot(&format!("server.ops_listen {} cannot be opened", config.server.ops_listen)))
}

/// The pipeline's words as metrics.
struct Counting {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    audit: Arc<Audit>,
    clock: Clock,
    /// Reports that were refused.
    refused: Mutex<Sparing>,
}

impl Observer for Counting {
    fn accepted(&self, media: MediaKind, location_found: bool) {
        self.metrics.capture_reached(Stage::Accepted);
        if location_found {
            self.metrics.location_removed(media);
        }
    }

    fn reached(&self, stage: Stage) {
        self.metrics.capture_reached(stage);
    }

    fn attempted(&self, archive: &str, outcome: Result<bool, FailureCode>) {
        let how = match outcome {
            Ok(false) => Attempt::Stored,
            Ok(true) => Attempt::Warned,
            Err(code) => {
                log::warn("not-stored", &[("archive", &archive), ("code", &code.word()), ("advice", &code.advice())]);
                Attempt::Failed(code.class())
            }
        };
        self.metrics.forward_attempted(archive, how);
    }

    fn sent(&self, item: ItemId, sha256: &[u8; 32]) {
        let (at, action, object) = (self.clock.now(), "item.send", Object::Sent(item, sha256));
        // It is at the archive already: that the trail lacks the line is told, and stops acceptance.
        if let Err(e) = self.audit.record(&Event { at, actor: None, action, outcome: Outcome::Done, object, detail: "" }) {
            log::error("audit-blocked", &[("cause", &e)]);
        }
    }

    fn stood_in(&self, item: ItemId, sop_instance: &Uid) {
        let detail = "as a Secondary Capture, because an archive does not take its class";
        let (at, action, object) = (self.clock.now(), "item.stand-in", Object::StandIn(item, sop_instance));
        if let Err(e) = self.audit.record(&Event { at, actor: None, action, outcome: Outcome::Done, object, detail }) {
            log::error("audit-blocked", &[("cause", &e)]);
        }
    }

    fn transcoded(&self, failure: Option<&str>) {
        self.metrics.transcoded(failure.is_none());
        match failure {
            None => log::note("transcoded", &[]),
            Some(why) => log::warn("not-transcoded", &[("cause", &why)]),
        }
    }

    fn inquired(&self, accession: &Phi, answer: Result<(), &str>) {
        if let Err(why) = answer {
            log::warn("study-not-told", &[("cause", &why), ("advice", &FailureCode::StudyUnknown.advice())]);
        }
        let outcome = if answer.is_ok() { Outcome::Done } else { Outcome::Failed };
        let (at, action, object) = (self.clock.now(), "order.ask", Object::Identifier(accession));
        if let Err(e) = self.audit.record(&Event { at, actor: None, action, outcome, object, detail: "" }) {
            log::error("audit-blocked", &[("cause", &e)]);
        }
    }

    fn delivered(&self, seconds: f64) {
        self.metrics.archived_after(seconds);
    }

    fn written(&self, result: Result<(), &str>) {
        match result {
            Ok(()) => self.readiness.holds(Condition::Index),
            Err(why) => {
                log::error("index-blocked", &[("cause", &why)]);
                self.readiness.fails(Condition::Index, why);
            }
        }
    }

    fn swept(&self, result: Result<usize, &str>) {
        if let Err(why) = result {
            log::error(
                "not-erased",
                &[("cause", &why), ("advice", &"what is at the archive is still here, too; look at the disk")],
            );
        }
    }

    fn report_refused(&self, why: &'static str) {
        let why = match self.refused.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now()) {
            Say::It => why,
            Say::More => "and more, which are not told for a minute",
            Say::Nothing => return,
        };
        log::warn("report-refused", &[("cause", &why)]);
        let at = self.clock.now();
        let (action, outcome, object) = ("commitment.report", Outcome::Refused, Object::None);
        if let Err(e) = self.audit.record(&Event { at, actor: None, action, outcome, object, detail: why }) {
            log::error("audit-blocked", &[("cause", &e)]);
        }
    }
}

struct HospitalInbox {
    inlet: Inlet,
    metrics: Arc<Metrics>,
}

impl HospitalInbox {
    fn count(&self, kind: &str, code: AckCode) {
        let answered = match code {
            AckCode::Accept => Answered::Accepted,
            AckCode::Error => Answered::Error,
            AckCode::Reject => Answered::Rejected,
        };
        self.metrics.hl7_message(kind.split('^').next().unwrap_or_default(), answered);
    }
}

impl Inbox for HospitalInbox {
    fn refuse_oversize(&self, start: &[u8]) -> Reply {
        let nack = hl7::refuse_oversize(start, self.inlet.clock.now());
        self.count("other", nack.fault.ack);
        Reply::Ack(nack.answer())
    }

    fn deliver(&self, message: &[u8]) -> Reply {
        match self.inlet.deliver(message) {
            Delivered::Answered { answer, kind, code } => {
                self.count(&kind, code);
                Reply::Ack(answer)
            }
            Delivered::Unanswered { why } => {
                log::error("hl7-unanswered", &[("cause", &why)]);
                self.metrics.hl7_message("other", Answered::Unanswered);
                Reply::Close
            }
        }
    }
}

/// One line for each answer that is not a success.
struct AccessLog;

impl http::Observer for AccessLog {
    fn answered(&self, line: &http::AccessLine<'_>) {
        if line.status >= 400 {
            log::note("request", &[("line", line)]);
        }
    }
}
