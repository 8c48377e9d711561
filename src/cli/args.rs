//! The command line: one table of commands, from which the usage text is written.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use super::suggest::closest;
use crate::capture::{CaptureId, Stage};
use crate::identity::Scope;

/// What a person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print this text: the usage, the version, the API.
    Say(String),
    Demo(DemoArgs),
    Serve(Settings),
    Check {
        settings: Settings,
        json: bool,
    },
    Scrub(ScrubArgs),
    Wrap(WrapArgs),
    ConfigPrint {
        settings: Settings,
        origin: bool,
    },
    JournalRebuild(Settings),
    SpoolVerify(Settings),
    AuditVerify(Settings),
    Backup {
        settings: Settings,
        out: PathBuf,
    },
    Restore {
        settings: Settings,
        from: PathBuf,
    },
    TokenMint(MintArgs),
    /// What this program asks another of its own processes; no person does.
    Fenced(Vec<OsString>),
    Queue(QueueArgs),
}

/// Where the configuration comes from, beside the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub config: Option<PathBuf>,
    /// `section.key=value`, in order.
    pub flags: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoArgs {
    /// Kept; not given: a temporary folder that is removed.
    pub data: Option<PathBuf>,
    /// Not given: the built-in archive.
    pub archive: Option<ArchivePeer>,
}

/// `HOST:PORT/AET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePeer {
    pub address: String,
    pub called_ae: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubArgs {
    pub files: Vec<PathBuf>,
    pub out: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrapArgs {
    pub files: Vec<PathBuf>,
    pub claim: PathBuf,
    pub out: PathBuf,
    /// All files are one object.
    pub burst: bool,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintArgs {
    /// The dev key; made where there is none.
    pub key: PathBuf,
    /// Where the public half is written.
    pub jwks: Option<PathBuf>,
    pub issuer: String,
    pub audience: String,
    pub subject: String,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub hours: u32,
}

/// A question to a running gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueArgs {
    /// `https://HOST[:PORT]`.
    pub to: String,
    pub token_file: PathBuf,
    /// Not given: the system's authorities.
    pub ca: Option<PathBuf>,
    pub json: bool,
    pub ask: QueueAsk,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueAsk {
    List {
        stage: Option<Stage>,
    },
    Show {
        id: CaptureId,
    },
    Retry {
        id: CaptureId,
        reason: String,
    },
    Hold {
        id: CaptureId,
        reason: String,
    },
    Discard {
        id: CaptureId,
        reason: String,
    },
    /// `patient` is `-` where the number comes from the input.
    Assign {
        id: CaptureId,
        reason: String,
        patient: String,
        issuer: Option<String>,
    },
}

/// The command line is wrong. The text says what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// One row of the usage text.
struct Row {
    words: &'static str,
    usage: &'static str,
    what: &'static str,
    read: fn(&mut Options) -> Result<Command, UsageError>,
}

const COMMANDS: &[Row] = &[
    Row {
        words: "demo",
        usage: "[--data DIR] [--archive HOST:PORT/AET]",
        what: "Everything on this machine in one process: try it.",
        read: demo,
    },
    Row {
        words: "serve",
        usage: "--config FILE [--set section.key=value]…",
        what: "The gateway.",
        read: |o| Ok(Command::Serve(o.settings(true)?)),
    },
    Row {
        words: "check",
        usage: "--config FILE [--json] [--set section.key=value]…",
        what: "Really connects: does everything hold that the gateway needs? Each FAIL says what to change.",
        read: |o| Ok(Command::Check { settings: o.settings(true)?, json: o.take_flag("json") }),
    },
    Row {
        words: "scrub",
        usage: "FILE… --out DIR",
        what: "Removes location and identity from photos, videos and PDFs; one JSON line per file.",
        read: scrub,
    },
    Row {
        words: "wrap",
        usage: "FILE… --claim CLAIM.json --out DIR [--config FILE] [--burst]",
        what: "Scrubs photos, videos and PDFs and makes DICOM objects of them, of a burst one; one JSON line per file.",
        read: wrap,
    },
    Row {
        words: "config print",
        usage: "[--config FILE] [--origin] [--set …]…",
        what: "The effective configuration, and where each value comes from.",
        read: |o| Ok(Command::ConfigPrint { settings: o.settings(false)?, origin: o.take_flag("origin") }),
    },
    Row {
        words: "journal rebuild",
        usage: "--config FILE",
        what: "Makes the journal anew from the spool. Stop the gateway first.",
        read: |o| Ok(Command::JournalRebuild(o.settings(true)?)),
    },
    Row {
        words: "spool verify",
        usage: "--config FILE",
        what: "Opens every sealed file and checks it.",
        read: |o| Ok(Command::SpoolVerify(o.settings(true)?)),
    },
    Row {
        words: "audit verify",
        usage: "--config FILE",
        what: "Checks the audit log against its chain and its signed head.",
        read: |o| Ok(Command::AuditVerify(o.settings(true)?)),
    },
    Row {
        words: "backup",
        usage: "--config FILE --out DIR",
        what: "Copies spool, index, hospital facts and audit to a new folder, also while the gateway runs. Never the key.",
        read: |o| Ok(Command::Backup { settings: o.settings(true)?, out: o.need_path("out", "DIR")? }),
    },
    Row {
        words: "restore",
        usage: "--config FILE --from DIR",
        what: "Puts a backup where there is no data yet. Bring the key file first.",
        read: |o| Ok(Command::Restore { settings: o.settings(true)?, from: o.need_path("from", "DIR")? }),
    },
    Row {
        words: "queue ls",
        usage: "--to URL --token-file FILE [--ca FILE] [--stage STAGE] [--json]",
        what: "What waits in a running gateway: held first, then what is on its way.",
        read: |o| {
            let stage = o.take_stage()?;
            queue(o, QueueAsk::List { stage })
        },
    },
    Row {
        words: "queue show",
        usage: "ID --to URL --token-file FILE [--ca FILE] [--json]",
        what: "One capture with its failures and its history.",
        read: |o| {
            let id = o.take_capture()?;
            queue(o, QueueAsk::Show { id })
        },
    },
    Row {
        words: "queue retry",
        usage: "ID --reason TEXT --to URL --token-file FILE [--ca FILE] [--json]",
        what: "Goes on with what is held or waits, now.",
        read: |o| {
            let (id, reason) = o.take_decision()?;
            queue(o, QueueAsk::Retry { id, reason })
        },
    },
    Row {
        words: "queue hold",
        usage: "ID --reason TEXT --to URL --token-file FILE [--ca FILE] [--json]",
        what: "Stops what is not at the archive until a person says otherwise.",
        read: |o| {
            let (id, reason) = o.take_decision()?;
            queue(o, QueueAsk::Hold { id, reason })
        },
    },
    Row {
        words: "queue discard",
        usage: "ID --reason TEXT --to URL --token-file FILE [--ca FILE] [--json]",
        what: "Gives up what is held, for good: its bytes are erased.",
        read: |o| {
            let (id, reason) = o.take_decision()?;
            queue(o, QueueAsk::Discard { id, reason })
        },
    },
    Row {
        words: "queue assign",
        usage: "ID --patient NUMBER|- [--issuer AUTHORITY] --reason TEXT --to URL --token-file FILE [--ca FILE] [--json]",
        what: "Gives a capture to another patient; with `-` the number is read from the input.",
        read: |o| {
            let (id, reason) = o.take_decision()?;
            let patient = o.need_text("patient", "NUMBER")?;
            let issuer = o.take_text("issuer")?;
            queue(o, QueueAsk::Assign { id, reason, patient, issuer })
        },
    },
    Row { words: "openapi", usage: "", what: "The HTTP API as OpenAPI.", read: |_| Ok(Command::Say(super::OPENAPI.to_owned())) },
    Row {
        words: "token mint",
        usage: "--key FILE [--jwks FILE] [--issuer I] [--audience A] [--subject S] [--name N] [--scope 'W W'] [--hours H]",
        what: "A token signed with a dev key, for trying things. The key is made where there is none.",
        read: mint,
    },
    Row { words: "version", usage: "", what: "The version.", read: |_| Ok(Command::Say(super::VERSION.to_owned())) },
];

/// Commands of the contract that are not in this build.
const UNBUILT: &[&str] = &["send", "audit tail"];

/// Options that take a value, and those that do not.
const VALUES: &[&str] = &[
    "archive",
    "audience",
    "ca",
    "claim",
    "config",
    "data",
    "from",
    "hours",
    "issuer",
    "jwks",
    "key",
    "name",
    "out",
    "patient",
    "reason",
    "scope",
    "set",
    "stage",
    "subject",
    "to",
    "token-file",
];
const FLAGS: &[&str] = &["burst", "json", "origin"];

/// Most files of one `scrub` or `wrap`; a shell gives fewer.
const FILES_MAX: usize = 1_000_000;

/// Reads the command line, without the name of the program.
///
/// # Errors
/// [`UsageError`] with what is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter().peekable();
    if args.next_if(|word| word == crate::fence::WORD).is_some() {
        return Ok(Command::Fenced(args.collect()));
    }
    let mut options = Options::read(args)?;
    if options.help || options.words.first().is_some_and(|w| w == "help") {
        return Ok(Command::Say(usage()));
    }
    if options.version {
        return Ok(Command::Say(super::VERSION.to_owned()));
    }
    let Some(row) = options.take_command()? else {
        return Err(UsageError(format!("Say what to do.\n\n{}", usage())));
    };
    options.command = row.words;
    let command = (row.read)(&mut options)?;
    options.nothing_left(row)?;
    Ok(command)
}

/// The usage text.
#[must_use]
pub fn usage() -> String {
    let mut text = "Shutterbridge: clinical photos from phones into the record.\n\n".to_owned();
    for row in COMMANDS {
        let line = format!("  shutterbridge {} {}", row.words, row.usage);
        text = format!("{text}{}\n      {}\n", line.trim_end(), row.what);
    }
    text + "\nThe configuration may also come from the environment: SHUTTERBRIDGE__SECTION__KEY=value.\n"
}

/// The command line, split and not yet understood.
#[derive(Debug, Default)]
struct Options {
    command: &'static str,
    words: Vec<OsString>,
    values: Vec<(String, OsString)>,
    flags: Vec<String>,
    help: bool,
    version: bool,
}

impl Options {
    fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Self::default();
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Short('h') | Arg::Long("help") => options.help = true,
                Arg::Short('V') | Arg::Long("version") => options.version = true,
                Arg::Long(name) if FLAGS.contains(&name) => options.flags.push(name.to_owned()),
                Arg::Long(name) if VALUES.contains(&name) => {
                    let name = name.to_owned();
                    let value = parser.value().map_err(|_| UsageError(format!("--{name} needs a value.")))?;
                    options.values.push((name, value));
                }
                Arg::Long(name) => {
                    let near = closest(name, VALUES.iter().chain(FLAGS).copied());
                    let hint = near.map(|n| format!("; did you mean --{n}?"));
                    return Err(UsageError(format!("There is no option --{name}{}", hint.unwrap_or_else(|| ".".to_owned()))));
                }
                Arg::Short(letter) => return Err(UsageError(format!("There is no option -{letter}."))),
                Arg::Value(word) if options.words.len() < FILES_MAX => options.words.push(word),
                Arg::Value(_) => return Err(UsageError(format!("More than {FILES_MAX} files at once."))),
            }
        }
        Ok(options)
    }

    /// Takes the one or two words of a command from the front.
    fn take_command(&mut self) -> Result<Option<&'static Row>, UsageError> {
        let word = |n: usize| self.words.get(n).map(|w| w.to_string_lossy().into_owned());
        let Some(first) = word(0) else { return Ok(None) };
        let both = word(1).map_or_else(|| first.clone(), |second| format!("{first} {second}"));
        if let Some(row) = COMMANDS.iter().find(|r| r.words == both || r.words == first) {
            let count = row.words.split(' ').count();
            self.words.drain(..count);
            return Ok(Some(row));
        }
        if let Some(unbuilt) = UNBUILT.iter().find(|u| **u == both || **u == first) {
            return Err(UsageError(format!("`{unbuilt}` is not built yet: this build does not have it.\n\n{}", usage())));
        }
        let shown = if COMMANDS.iter().any(|r| r.words.split(' ').next() == Some(&first)) { &both } else { &first };
        let near = closest(&both, COMMANDS.iter().map(|r| r.words)).or_else(|| closest(&first, COMMANDS.iter().map(|r| r.words)));
        let hint = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        Err(UsageError(format!("There is no command `{shown}`{hint}\n\n{}", usage())))
    }

    fn take(&mut self, name: &str) -> Result<Option<OsString>, UsageError> {
        let mut found = self.values.extract_if(.., |(n, _)| n == name).map(|(_, v)| v);
        let value = found.next();
        if found.next().is_some() {
            return Err(UsageError(format!("--{name} is given twice.")));
        }
        Ok(value)
    }

    fn take_path(&mut self, name: &str) -> Result<Option<PathBuf>, UsageError> {
        Ok(self.take(name)?.map(PathBuf::from))
    }

    fn take_text(&mut self, name: &str) -> Result<Option<String>, UsageError> {
        self.take(name)?.map(|v| v.string().map_err(|_| UsageError(format!("--{name} is not UTF-8.")))).transpose()
    }

    fn need_path(&mut self, name: &str, what: &str) -> Result<PathBuf, UsageError> {
        let command = self.command;
        self.take_path(name)?.ok_or_else(|| UsageError(format!("{command} needs --{name} {what}.")))
    }

    fn need_text(&mut self, name: &str, what: &str) -> Result<String, UsageError> {
        let command = self.command;
        let text = self.take_text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| UsageError(format!("{command} needs --{name} {what}.")))
    }

    fn take_stage(&mut self) -> Result<Option<Stage>, UsageError> {
        let words = Stage::ALL.map(Stage::word).join(", ");
        let stage = |word: String| Stage::from_word(&word).ok_or_else(|| UsageError(format!("--stage is not one of {words}.")));
        self.take_text("stage")?.map(stage).transpose()
    }

    /// The one word behind the command.
    fn take_capture(&mut self) -> Result<CaptureId, UsageError> {
        let command = self.command;
        let word = if self.words.is_empty() { None } else { Some(self.words.remove(0)) };
        let id = word.as_deref().and_then(OsStr::to_str).and_then(|word| word.parse().ok());
        id.ok_or_else(|| UsageError(format!("{command} needs the id of a capture, as `queue ls` shows it.")))
    }

    fn take_decision(&mut self) -> Result<(CaptureId, String), UsageError> {
        Ok((self.take_capture()?, self.need_text("reason", "TEXT")?))
    }

    fn take_flag(&mut self, name: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|f| f != name);
        self.flags.len() < before
    }

    fn take_files(&mut self) -> Result<Vec<PathBuf>, UsageError> {
        let files: Vec<PathBuf> = self.words.drain(..).map(PathBuf::from).collect();
        if files.is_empty() { Err(UsageError(format!("{} needs at least one file.", self.command))) } else { Ok(files) }
    }

    fn settings(&mut self, config_needed: bool) -> Result<Settings, UsageError> {
        let config = if config_needed { Some(self.need_path("config", "FILE")?) } else { self.take_path("config")? };
        let given = self.values.extract_if(.., |(n, _)| n == "set").map(|(_, v)| v.string());
        let flags = given.collect::<Result<_, _>>().map_err(|_| UsageError("--set is not UTF-8.".to_owned()))?;
        Ok(Settings { config, flags })
    }

    /// An option that the command does not know is a mistake, never passed over.
    fn nothing_left(&self, row: &Row) -> Result<(), UsageError> {
        let words = row.words;
        let left = self.values.first().map(|(n, _)| n).or(self.flags.first());
        if let Some(name) = left {
            return Err(UsageError(format!("{words} has no option --{name}. Usage: shutterbridge {words} {}", row.usage)));
        }
        if let Some(word) = self.words.first() {
            let word = word.to_string_lossy();
            return Err(UsageError(format!("{words} does not take `{word}`. Usage: shutterbridge {words} {}", row.usage)));
        }
        Ok(())
    }
}

fn demo(options: &mut Options) -> Result<Command, UsageError> {
    let archive = options.take_text("archive")?.map(|text| archive_peer(&text)).transpose()?;
    Ok(Command::Demo(DemoArgs { data: options.take_path("data")?, archive }))
}

fn archive_peer(text: &str) -> Result<ArchivePeer, UsageError> {
    let wrong = || UsageError(format!("--archive {text} is not HOST:PORT/AET, such as 127.0.0.1:11112/PACS."));
    let (address, called_ae) = text.rsplit_once('/').ok_or_else(wrong)?;
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    let legal = matches!(port, Some(Ok(1..))) && !called_ae.trim().is_empty() && called_ae.len() <= 16 && !text.contains('"');
    if legal { Ok(ArchivePeer { address: address.to_owned(), called_ae: called_ae.to_owned() }) } else { Err(wrong()) }
}

fn scrub(options: &mut Options) -> Result<Command, UsageError> {
    let out = options.need_path("out", "DIR")?;
    Ok(Command::Scrub(ScrubArgs { files: options.take_files()?, out }))
}

fn wrap(options: &mut Options) -> Result<Command, UsageError> {
    let claim = options.need_path("claim", "CLAIM.json")?;
    let out = options.need_path("out", "DIR")?;
    let settings = options.settings(false)?;
    let burst = options.take_flag("burst");
    Ok(Command::Wrap(WrapArgs { files: options.take_files()?, claim, out, burst, settings }))
}

fn queue(options: &mut Options, ask: QueueAsk) -> Result<Command, UsageError> {
    Ok(Command::Queue(QueueArgs {
        to: options.need_text("to", "URL")?,
        token_file: options.need_path("token-file", "FILE")?,
        ca: options.take_path("ca")?,
        json: options.take_flag("json"),
        ask,
    }))
}

fn mint(options: &mut Options) -> Result<Command, UsageError> {
    /// A dev token is for trying things; a month is more than enough.
    const HOURS_MAX: u32 = 24 * 31;
    let text = |options: &mut Options, name: &str, otherwise: &str| {
        options.take_text(name).map(|v| v.unwrap_or_else(|| otherwise.to_owned()))
    };
    let words = text(options, "scope", "capture.write capture.read patient.lookup queue.operate audit.read")?;
    let scope = |word: &str| {
        let known = Scope::ALL.map(Scope::word);
        let found = Scope::ALL.into_iter().find(|s| s.word() == word);
        found.ok_or_else(|| UsageError(format!("--scope {word} is not one of {}.", known.join(", "))))
    };
    let hours = text(options, "hours", "12")?;
    let hours = hours.parse().ok().filter(|h| (1..=HOURS_MAX).contains(h));
    Ok(Command::TokenMint(MintArgs {
        key: options.need_path("key", "FILE")?,
        jwks: options.take_path("jwks")?,
        issuer: text(options, "issuer", super::token::DEV_ISSUER)?,
        audience: text(options, "audience", super::token::AUDIENCE)?,
        subject: text(options, "subject", "dev")?,
        name: text(options, "name", "Developer")?,
        scopes: words.split_whitespace().map(scope).collect::<Result<_, _>>()?,
        hours: hours.ok_or_else(|| UsageError(format!("--hours must be from 1 to {HOURS_MAX}.")))?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|e| e.to_string())
    }

    #[test]
    fn every_command_reads_its_own_options() {
        let settings = |config: &str| Settings { config: Some(config.into()), flags: Vec::new() };
        let files = vec![PathBuf::from("a.jpg"), PathBuf::from("-b.jpg")];
        for (line, command) in [
            ("demo", Command::Demo(DemoArgs::default())),
            ("serve --config gw.toml", Command::Serve(settings("gw.toml"))),
            ("serve --config=gw.toml", Command::Serve(settings("gw.toml"))),
            ("scrub --out o -- a.jpg -b.jpg", Command::Scrub(ScrubArgs { files: files.clone(), out: "o".into() })),
            (
                "wrap a.jpg --claim c.json --out o -- -b.jpg",
                Command::Wrap(WrapArgs {
                    files: files.clone(),
                    claim: "c.json".into(),
                    out: "o".into(),
                    burst: false,
                    settings: Settings::default(),
                }),
            ),
            (
                "wrap --burst --claim c.json --out o -- a.jpg -b.jpg",
                Command::Wrap(WrapArgs {
                    files,
                    claim: "c.json".into(),
                    out: "o".into(),
                    burst: true,
                    settings: Settings::default(),
                }),
            ),
            ("config print --origin --config x", Command::ConfigPrint { settings: settings("x"), origin: true }),
            ("journal rebuild --config x", Command::JournalRebuild(settings("x"))),
            ("spool verify --config x", Command::SpoolVerify(settings("x"))),
            ("audit verify --config x", Command::AuditVerify(settings("x"))),
            ("openapi", Command::Say(crate::cli::OPENAPI.to_owned())),
            ("version", Command::Say(crate::cli::VERSION.to_owned())),
            ("--version", Command::Say(crate::cli::VERSION.to_owned())),
            (
                "queue hold 01J00000000000000000000000 --reason later --to https://gw --token-file t --json",
                Command::Queue(QueueArgs {
                    to: "https://gw".to_owned(),
                    token_file: "t".into(),
                    ca: None,
                    json: true,
                    ask: QueueAsk::Hold { id: "01J00000000000000000000000".parse().unwrap(), reason: "later".to_owned() },
                }),
            ),
            (
                "serve --config x --set a.b=1 --set c.d=2",
                Command::Serve(Settings { config: Some("x".into()), flags: vec!["a.b=1".to_owned(), "c.d=2".to_owned()] }),
            ),
        ] {
            assert_eq!(told(line), Ok(command), "{line}");
        }
        let demo = told("demo --data d --archive pacs.example:104/BIG PACS".trim_end_matches(" PACS"));
        let peer = ArchivePeer { address: "pacs.example:104".to_owned(), called_ae: "BIG".to_owned() };
        assert_eq!(demo, Ok(Command::Demo(DemoArgs { data: Some("d".into()), archive: Some(peer) })));
        let Ok(Command::TokenMint(mint)) = told("token mint --key k") else { panic!("mint") };
        assert_eq!((mint.scopes.len(), mint.hours), (5, 12));
    }

    #[test]
    fn a_wrong_line_says_what_would_be_right() {
        for (line, wanted) in [
            ("", "Say what to do."),
            ("serve", "serve needs --config FILE."),
            ("srve --config x", "There is no command `srve`; did you mean `serve`?"),
            ("config pritn", "There is no command `config pritn`; did you mean `config print`?"),
            ("serve --confg x", "There is no option --confg; did you mean --config?"),
            ("serve --config", "--config needs a value."),
            ("serve --config a --config b", "--config is given twice."),
            ("scrub a.jpg", "scrub needs --out DIR."),
            ("scrub --out d", "scrub needs at least one file."),
            ("scrub a.jpg --out d --origin", "scrub has no option --origin. Usage: shutterbridge scrub FILE… --out DIR"),
            ("version 2", "version does not take `2`."),
            ("demo --archive pacs", "--archive pacs is not HOST:PORT/AET"),
            ("demo --archive pacs:104/", "--archive pacs:104/ is not HOST:PORT/AET"),
            ("token mint --key k --scope root", "--scope root is not one of capture.write"),
            ("token mint --key k --hours 0", "--hours must be from 1 to 744."),
            ("check", "check needs --config FILE."),
            ("queue ls --to https://gw", "queue ls needs --token-file FILE."),
            ("queue show --to https://gw --token-file t", "queue show needs the id of a capture"),
            ("queue hold 01J00000000000000000000000 --to u --token-file t", "queue hold needs --reason TEXT."),
            ("queue ls --stage lost --to u --token-file t", "--stage is not one of accepted"),
            ("queue rm", "There is no command `queue rm`"),
            ("audit tail", "`audit tail` is not built yet"),
        ] {
            let told = told(line).expect_err(line);
            assert!(told.starts_with(wanted), "{line}: {told}");
        }
    }

    #[test]
    fn the_usage_text_names_every_command() {
        let text = usage();
        for row in COMMANDS {
            assert!(text.contains(&format!("shutterbridge {}", row.words)), "{}", row.words);
        }
        assert_eq!(told("--help"), Ok(Command::Say(text.clone())));
        assert_eq!(told("help"), Ok(Command::Say(text)));
    }
}
