//! The configuration as an administrator meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use shutterbridge::archive::profile::{CharacterSet, Profile};
use shutterbridge::archive::stow::Url;
use shutterbridge::archive::tls::Files;
use shutterbridge::capture::claim::View;
use shutterbridge::capture::order::Code;
use shutterbridge::capture::{Commitment, MediaClass};
use shutterbridge::config::options::{ArchiveOptions, ArchivePeer, Ffmpeg, KeySource, UnknownPatient, WorklistOptions};
use shutterbridge::config::{self, Loaded, Sources, Space};
use shutterbridge::dicom::Syntax;

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("shutterbridge-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("certs")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The file of the contract, §2, word for word.
const CONTRACT: &str = r#"
[server]
listen       = "127.0.0.1:8443"      # port 0 = any; the `ready` line tells
tls_cert     = "certs/server.pem"    # absent: a dev CA + certificate made in data.dir (loopback only)
tls_key      = "certs/server.key"
# client_ca  = "certs/device-ca.pem" # optional mutual TLS
ops_listen   = "127.0.0.1:9443"      # plain HTTP: /healthz /readyz /metrics

[limits]
photo_bytes = "64MiB"
video_bytes = "4GiB"
request_files = 100
spool_free_min = "5%"

[data]
dir      = "data"                    # spool/ is the record; index/ (sled) may be deleted and is rebuilt
key_file = "data.key"                # 32 bytes base64

[site]
institution         = "Demo General Hospital"
timezone            = "Europe/Berlin"
assigning_authority = "HOSP"         # default issuer of Patient ID
uid_root            = "2.25"

[[department]]
id = "derm"
name = "Dermatology"
body_site_required = true

[[issuer]]                           # who signs tokens
issuer   = "https://idp.example"
audience = "shutterbridge"
jwks_file = "jwks.json"              # or jwks_url

[hl7]
listen = "127.0.0.1:2575"            # MLLP
[[hl7.source]]                       # optional per-sender rules, matched on MSH-3/MSH-4
application = "HIS"
default_charset = "8859/1"

[lookup]
order = ["local"]                    # then "pdq", "fhir", "mwl" with sections of their own
unknown_patient = "hold"             # or "refuse"

[[archive]]
name       = "pacs"
kind       = "dimse"                 # "dimse" | "stow" | "folder"
address    = "127.0.0.1:11112"
called_ae  = "PACS"
calling_ae = "SHUTTERBRIDGE"
commitment = false
# tls_ca, tls_cert, tls_key for DICOM TLS;  url, bearer_file for stow;  path for folder

[transcode]
ffmpeg = "auto"                      # "auto" = where it is on the path; a path; "off"

[audit]
file = "audit.log"                   # hash-chained;  syslog = "tls://host:6514"
"#;

fn contract_folder() -> (Folder, PathBuf) {
    let folder = Folder::new();
    for file in ["certs/server.pem", "certs/server.key", "jwks.json"] {
        folder.write(file, "made by a test");
    }
    let file = folder.write("gw.toml", CONTRACT);
    (folder, file)
}

fn load(file: &Path, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
    let sources = Sources {
        file: Some(file.to_owned()),
        environment: environment.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect(),
        flags: flags.iter().map(|f| (*f).to_owned()).collect(),
    };
    config::load(&sources).map_err(|problems| problems.to_string())
}

fn told(text: &str) -> String {
    let folder = Folder::new();
    let file = folder.write("gw.toml", text);
    load(&file, &[], &[]).expect_err("a problem").replace(&folder.0.display().to_string(), "DIR")
}

#[test]
fn the_file_of_the_contract_starts_the_gateway() {
    let (folder, file) = contract_folder();
    let loaded = load(&file, &[], &[]).expect("no problem");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let c = loaded.config;
    assert_eq!(c.server.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(c.server.tls.expect("files").cert, folder.0.join("certs/server.pem"));
    assert_eq!((c.limits.photo_bytes, c.limits.video_bytes, c.limits.request_files), (64 << 20, 4 << 30, 100));
    assert_eq!(c.limits.spool_free_min, Space::Percent(5));
    assert_eq!(c.data.dir, folder.0.join("data"));
    assert_eq!(c.data.key, KeySource::File(folder.0.join("data.key")));
    assert_eq!(c.site.timezone.iana_name(), Some("Europe/Berlin"));
    assert!(c.departments[0].body_site_required);
    assert_eq!(c.issuers[0].jwks_file, folder.0.join("jwks.json"));
    assert_eq!(c.hl7.sources[0].default_charset.as_deref(), Some("8859/1"));
    assert_eq!(c.lookup.unknown_patient, UnknownPatient::Hold);
    let peer = ArchivePeer::Dimse {
        address: "127.0.0.1:11112".into(),
        called_ae: "PACS".into(),
        calling_ae: "SHUTTERBRIDGE".into(),
        tls: None,
        study_lookup: false,
    };
    assert_eq!(c.archives[0].peer, peer);
    assert_eq!(c.transcode.ffmpeg, Ffmpeg::Auto);
    assert_eq!(c.audit.file, folder.0.join("audit.log"));
}

#[test]
fn what_the_contract_says_is_what_holds_where_nothing_is_said() {
    let (_folder, file) = contract_folder();
    let said = load(&file, &[], &[]).expect("no problem").config;
    let silent = Folder::new();
    let loaded = load(&silent.write("gw.toml", ""), &[], &[]).expect("no problem");
    let c = loaded.config;
    assert_eq!((c.server.listen, c.server.ops_listen), (said.server.listen, said.server.ops_listen));
    assert_eq!((c.limits, c.site, c.transcode), (said.limits, said.site, said.transcode));
    assert_eq!((c.departments[0].id.as_str(), c.departments[0].name.as_str()), ("derm", "Dermatology"));
    assert_eq!(c.data.key, KeySource::File(silent.0.join("data.key")));
    // It starts, and says what it cannot do like this.
    for warned in ["[[issuer]]", "[[archive]]", "hl7.listen", "site.institution", "[[department]]"] {
        assert!(loaded.warnings.iter().any(|w| w.text.contains(warned)), "{warned}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_line_and_what_was_meant() {
    let told = told(
        r#"[server]
lisen = "127.0.0.1:8443"
ops_listen = "127.0.0.1"
[limitts]
photo_bytes = "64MiB"
[limits]
photo_bytes = "lots"
request_files = "100"
spool_free_min = "200%"
[site]
timezone = "Europe/Berln"
uid_root = "2.025"
institution = 7
[[department]]
id = "derm"
name = "Dermatology"
[[department]]
id = "derm"
name = "Again"
[[department]]
id = "ent"
[[archive]]
name = "pacs"
address = "pacs"
called_ae = "AN_AE_TITLE_TOO_LONG"
commitment = "yes"
"#,
    );
    let wanted = [
        "gw.toml:2: server.lisen is not a key; did you mean `listen`?",
        "gw.toml:3: server.ops_listen has no port; write \"127.0.0.1:8443\"",
        "gw.toml:4: [limitts] is not a section; did you mean [limits]?",
        "gw.toml:7: limits.photo_bytes is not a size",
        "gw.toml:8: limits.request_files must be a number, without quotes",
        "gw.toml:9: limits.spool_free_min must be from 0% to 90%",
        "gw.toml:11: site.timezone \"Europe/Berln\" is not an IANA time zone; did you mean \"Europe/Berlin\"?",
        "gw.toml:12: site.uid_root \"2.025\" is not a DICOM UID",
        "gw.toml:13: site.institution must be a text in quotes, not a number",
        "gw.toml:18: a second [[department]] with the same id; the first is at DIR/gw.toml:14",
        "gw.toml:20: [[department]] has no name",
        "gw.toml:24: archive[0].address has no port",
        "gw.toml:25: archive[0].called_ae has 20 characters; an AE title has 16 at most",
        "gw.toml:26: archive[0].commitment \"yes\" is not one of \"required\", \"ask\", \"none\"",
        "The configuration has 14 problems; nothing was started.",
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{told}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.trim_start_matches("DIR/").starts_with(wanted), "{line}\nshould be\n{wanted}");
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let told = told("[server]\nlisten = \"127.0.0.1:8443\"\nops_listen = 127.0.0.1\n");
    assert!(told.starts_with("DIR/gw.toml:3: not TOML: "), "{told}");
}

#[test]
fn a_feature_that_is_not_built_is_never_taken_in_silence() {
    let table = [
        ("[server]\nclient_ca = \"ca.pem\"".to_owned(), "gw.toml:2: server.client_ca: mutual TLS is not built yet"),
        ("[hl7]\ntls_cert = \"a.pem\"".to_owned(), "gw.toml:2: hl7.tls_cert: MLLP over TLS is not built yet"),
        ("[lookup]\norder = [\"local\", \"pdq\"]".to_owned(), "gw.toml:2: lookup.order \"pdq\" is not built yet"),
        ("[lookup.pdq]\naddress = \"x\"".to_owned(), "gw.toml:1: asking a PDQ supplier is not built yet"),
        ("[site]\nuid_root = \"1.2.826.0.1\"".to_owned(), "gw.toml:2: site.uid_root \"1.2.826.0.1\" is not built yet"),
        ("[audit]\nsyslog = \"tls://host:6514\"".to_owned(), "gw.toml:2: audit.syslog: sending the audit log"),
        ("[transcode]\nffmpeg = \"bin/ffmpeg\"".to_owned(), "gw.toml:2: transcode.ffmpeg is a path that does not begin with /"),
        (
            "[[issuer]]\nissuer = \"https://i\"\naudience = \"a\"\njwks_url = \"https://i/keys\"".to_owned(),
            "gw.toml:4: issuer[0].jwks_url: fetching keys over HTTP is not built yet",
        ),
    ];
    for (text, wanted) in table {
        let told = told(&text);
        assert!(told.starts_with(&format!("DIR/{wanted}")), "{told}\nshould be\n{wanted}");
        assert!(told.ends_with("has a problem; nothing was started."), "one problem only: {told}");
    }
}

#[test]
fn beyond_loopback_the_gateway_wants_a_certificate_and_an_issuer() {
    let told = told("[server]\nlisten = \"0.0.0.0:8443\"\n");
    assert!(told.contains("gw.toml:2: server.listen = \"0.0.0.0:8443\" is reachable from other machines"), "{told}");
    assert!(told.contains("set server.tls_cert and server.tls_key") && told.contains("no [[issuer]]"), "{told}");
    let (_folder, file) = contract_folder();
    let loaded = load(&file, &[("SHUTTERBRIDGE__SERVER__LISTEN", "0.0.0.0:8443")], &[]);
    assert!(loaded.is_ok(), "{loaded:?}");
}

#[test]
fn the_doors_without_encryption_stay_on_this_machine() {
    let told = told("[server]\nops_listen = \"10.0.0.1:9443\"\n[hl7]\nlisten = \"[::]:2575\"\n");
    assert!(told.contains("gw.toml:2: server.ops_listen = \"10.0.0.1:9443\" is reachable from other machines"), "{told}");
    assert!(told.contains("gw.toml:4: hl7.listen = \"[::]:2575\" is reachable from other machines"), "{told}");
    assert!(told.contains("TLS tunnel"), "{told}");
}

#[test]
fn two_doors_do_not_share_a_port() {
    let told = told("[hl7]\nlisten = \"127.0.0.1:8443\"\n");
    assert!(told.contains("gw.toml:2: hl7.listen = \"127.0.0.1:8443\" is also server.listen"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_told_before_anything_starts() {
    let told = told("[server]\ntls_cert = \"nowhere.pem\"\n");
    assert!(told.contains("gw.toml:2: server.tls_cert DIR/nowhere.pem: there is no such file"), "{told}");
    assert!(told.contains("server.tls_cert is set, but server.tls_key is not"), "{told}");
    let folder = Folder::new();
    let told = load(&folder.0.join("none.toml"), &[], &[]).unwrap_err();
    assert!(told.contains("none.toml: there is no such file; name your configuration with --config FILE"), "{told}");
}

#[test]
fn a_worklist_is_asked_where_the_order_of_lookups_says_so() {
    let mwl = "[lookup.mwl]\naddress = \"ris:2763\"\ncalled_ae = \"RIS\"";
    let folder = Folder::new();
    let lookup = |text: &str| load(&folder.write("gw.toml", text), &[], &[]).expect("no problem").config.lookup;
    assert_eq!(lookup("").worklist, None);
    let options = lookup(&format!("[lookup]\norder = [\"local\", \"mwl\"]\n{mwl}\ntimeout = 3")).worklist;
    let then = WorklistOptions {
        address: "ris:2763".into(),
        called_ae: "RIS".into(),
        calling_ae: "SHUTTERBRIDGE".into(),
        timeout_ms: 3_000,
        tls: None,
    };
    assert_eq!(options, Some(then));
    for (text, wanted) in [
        (mwl.to_owned(), "gw.toml:2: [lookup.mwl] is never asked; write lookup.order = [\"local\", \"mwl\"]"),
        (format!("[lookup]\norder = [\"mwl\"]\n{mwl}"), "gw.toml:2: lookup.order does not begin with \"local\""),
        (format!("[lookup]\norder = [\"mwl\", \"local\"]\n{mwl}"), "gw.toml:2: lookup.order does not begin with \"local\""),
        (
            "[lookup]\norder = [\"local\", \"mwl\"]\n[lookup.mwl]\naddress = \"ris:2763\"".to_owned(),
            "gw.toml:2: lookup.order names \"mwl\", and [lookup.mwl] has no called_ae",
        ),
        (
            "[[archive]]\nname = \"a\"\nkind = \"folder\"\npath = \"out\"\nstudy_lookup = true".to_owned(),
            "gw.toml:5: archive.study_lookup means nothing to an archive of kind \"folder\"",
        ),
    ] {
        let told = told(&text);
        assert!(told.starts_with(&format!("DIR/{wanted}")), "{told}\nshould be\n{wanted}");
    }
}

#[test]
fn a_section_in_the_wrong_shape_says_how_to_write_it() {
    for (text, wanted) in [
        ("[department]\nid = \"derm\"\nname = \"D\"", "gw.toml:1: department is a list; write [[department]]"),
        ("[[server]]\nlisten = \"127.0.0.1:1\"", "gw.toml:1: server is no list; write [server]"),
        ("server = 5", "gw.toml:1: server is a section, not a value; write [server]"),
        ("listen = \"127.0.0.1:1\"", "gw.toml:1: listen stands in no section; it belongs to [server]"),
        ("[server]\ntimezone = \"UTC\"", "gw.toml:2: server.timezone is not a key; timezone belongs to [site]"),
        ("[[archives]]\nname = \"p\"", "gw.toml:1: [archives] is not a section; did you mean [[archive]]?"),
        ("[hl7]\n[[hl7.sorce]]\napplication = \"HIS\"", "gw.toml:2: [hl7.sorce] is not a section; did you mean [[hl7.source]]?"),
        ("[[hl7.source]]\ndefault_charset = \"8859/1\"", "gw.toml:1: [[hl7.source]] names no sender"),
        (
            "[[hl7.source]]\nfacility = \"H\"\ndefault_charset = \"8859/99\"",
            "gw.toml:3: hl7.source[0].default_charset \"8859/99\" is not a character set",
        ),
    ] {
        let told = told(text);
        assert!(told.starts_with(&format!("DIR/{wanted}")), "{told}\nshould be\n{wanted}");
    }
}

fn department(keys: &str) -> String {
    format!("[[department]]\nid = \"ent\"\nname = \"ENT\"\n{keys}")
}

#[test]
fn a_department_says_in_codes_what_holds_where_nobody_says_more() {
    let folder = Folder::new();
    let keys = "body_site = \"39937001\"\nview = \"close-up\"\nprocedure = \"DP1^Skin photos^99HOSP\"\ntype = \"309923008\"";
    let config = load(&folder.write("gw.toml", &department(keys)), &[], &[]).expect("no problem").config;
    let ent = &config.departments[0];
    assert_eq!(ent.body_site.as_ref().map(|s| (s.code.as_str(), s.meaning.as_str())), Some(("39937001", "Skin")));
    assert_eq!(ent.view, Some(View::CloseUp));
    let code = |of: &Option<Code>| of.as_ref().map(|c| [c.code.clone(), c.scheme.clone(), c.meaning.clone()]);
    assert_eq!(code(&ent.procedure), Some(["DP1", "99HOSP", "Skin photos"].map(str::to_owned)));
    assert_eq!(code(&ent.kind), Some(["309923008", "SCT", "Dermatology"].map(str::to_owned)));
    for (keys, wanted) in [
        (
            "body_site = \"hand\"",
            "department[0].body_site \"hand\" is no code of a body site that is known here; did you mean \"85562004\" (Hand)?",
        ),
        ("body_site = \"85562004\"", "department.body_site is Hand, which the body has twice"),
        ("body_site_required = true\nbody_site = \"39937001\"", "department.body_site would never be used"),
        ("view = \"sideways\"", "department[0].view \"sideways\" is not one of \"overview\""),
        ("procedure = \"DP1\"", "department[0].procedure \"DP1\" is no code that is known here; write your own as"),
        ("procedure = \"DP1^^99HOSP\"", "department[0].procedure is not \"code^meaning^scheme\""),
        ("type = \"0\"", "department[0].type \"0\" is no code of a kind of department that is known here"),
    ] {
        let told = told(&department(keys));
        assert!(told.contains(wanted), "{told}\nshould be\n{wanted}");
    }
}

#[test]
fn inline_tables_and_dotted_keys_are_toml_too() {
    let folder = Folder::new();
    let file = folder.write(
        "gw.toml",
        "server.listen = \"127.0.0.1:0\"\ndepartment = [{ id = \"ent\", name = \"ENT\" }, { id = \"eye\", name = \"Eye\" }]\n",
    );
    let config = load(&file, &[], &[]).expect("no problem").config;
    assert_eq!(config.server.listen.port(), 0);
    assert_eq!(config.departments.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["ent", "eye"]);
}

#[test]
fn the_environment_wins_over_the_file_and_flags_win_over_both() {
    let (folder, file) = contract_folder();
    let environment = [
        ("SHUTTERBRIDGE__SITE__INSTITUTION", "From The Environment"),
        ("SHUTTERBRIDGE__LIMITS__REQUEST_FILES", "7"),
        ("SHUTTERBRIDGE__ARCHIVE__0__ADDRESS", "pacs.example:104"),
        ("SHUTTERBRIDGE__DEPARTMENT__1__ID", "ent"),
        ("SHUTTERBRIDGE__DEPARTMENT__1__NAME", "ENT"),
        ("SHUTTERBRIDGE__DATA__DIR", "elsewhere"),
        ("SHUTTERBRIDGE_SHARED", "not ours"),
        ("PATH", "/usr/bin"),
    ];
    let flags = ["limits.request_files=8", "lookup.order=local", "department.0.body_site_required=false"];
    let loaded = load(&file, &environment, &flags).expect("no problem");
    let c = &loaded.config;
    assert_eq!(c.site.institution, "From The Environment");
    assert_eq!(c.limits.request_files, 8);
    assert!(matches!(&c.archives[0].peer, ArchivePeer::Dimse { address, .. } if address == "pacs.example:104"));
    assert_eq!((c.departments.len(), c.departments[1].id.as_str()), (2, "ent"));
    assert!(!c.departments[0].body_site_required);
    assert_eq!(c.data.dir, folder.0.join("elsewhere"), "relative to the file's folder, wherever it was set");
    let printed = loaded.print(true);
    for wanted in [
        "institution = \"From The Environment\" # from environment SHUTTERBRIDGE__SITE__INSTITUTION".to_owned(),
        "request_files = 8 # from flag --set limits.request_files".to_owned(),
        format!("timezone = \"Europe/Berlin\" # from {}:21", file.display()),
        "# assigning_authority is not set: issuer of identifiers that name none".to_owned(),
    ] {
        assert!(printed.lines().any(|l| l == wanted), "{wanted}\n{printed}");
    }
}

#[test]
fn an_unknown_variable_or_flag_is_an_error_with_what_was_meant() {
    let (_folder, file) = contract_folder();
    let environment = [
        ("SHUTTERBRIDGE__SERVER__LISEN", "x"),
        ("SHUTTERBRIDGE__SITES__TIMEZONE", "UTC"),
        ("SHUTTERBRIDGE__ARCHIVE__ADDRESS", "x"),
        ("SHUTTERBRIDGE__ARCHIVE__5__ADDRESS", "pacs:104"),
        ("SHUTTERBRIDGE__LIMITS__REQUEST_FILES", "many"),
    ];
    let told = load(&file, &environment, &["site.timzone=UTC", "site.timezone"]).unwrap_err();
    for wanted in [
        "environment SHUTTERBRIDGE__SERVER__LISEN: server.lisen is not a key; did you mean SHUTTERBRIDGE__SERVER__LISTEN?",
        "environment SHUTTERBRIDGE__SITES__TIMEZONE: [sites] is not a section; did you mean SHUTTERBRIDGE__SITE__TIMEZONE?",
        "environment SHUTTERBRIDGE__ARCHIVE__ADDRESS: archive is a list: name an entry by its number from 0, SHUTTERBRIDGE__ARCHIVE__0__ADDRESS",
        "environment SHUTTERBRIDGE__ARCHIVE__5__ADDRESS: archive[5].address: entries are counted from 0, without gaps",
        "environment SHUTTERBRIDGE__LIMITS__REQUEST_FILES: limits.request_files must be a whole number from 1 to 1000",
        "flag --set site.timzone: site.timzone is not a key; did you mean --set site.timezone=…?",
        "flag --set site.timezone: has no value; write --set site.timezone=VALUE",
    ] {
        assert!(told.lines().any(|l| l == wanted), "{wanted}\n{told}");
    }
    assert!(told.ends_with("The configuration has 7 problems; nothing was started."), "{told}");
}

#[test]
fn a_secret_or_its_file_but_not_both_and_never_printed() {
    let key = format!("{}=", "k".repeat(43));
    let (_folder, file) = contract_folder();
    // A higher layer replaces the twin of a lower one.
    let loaded = load(&file, &[("SHUTTERBRIDGE__DATA__KEY", &key)], &[]).expect("no problem");
    assert!(matches!(&loaded.config.data.key, KeySource::Given(secret) if secret.expose() == key));
    assert!(!format!("{loaded:?}").contains(&key), "Debug");
    let printed = loaded.print(true);
    assert!(!printed.contains(&key) && printed.contains("# key is set and not shown # from environment"), "{printed}");
    let told = load(&file, &[("SHUTTERBRIDGE__DATA__KEY", &key), ("SHUTTERBRIDGE__DATA__KEY_FILE", "k")], &[]).unwrap_err();
    assert!(told.contains("keep one of them") && !told.contains(&key), "{told}");
}

#[test]
fn what_config_print_prints_reads_back_as_the_same() {
    let (folder, file) = contract_folder();
    let first = load(&file, &[("SHUTTERBRIDGE__SITE__INSTITUTION", "A \"quoted\" name, Ärzte")], &[]).expect("no problem");
    for with_origin in [false, true] {
        let again = load(&folder.write("again.toml", &first.print(with_origin)), &[], &[]).expect("no problem");
        assert_eq!(again.config, first.config);
    }
}

#[test]
fn commitment_is_asked_for_with_a_flag_or_a_word() {
    let archive = "[[archive]]\nname = \"p\"\naddress = \"127.0.0.1:104\"\ncalled_ae = \"P\"\n";
    let table = [
        ("true", Commitment::Required),
        ("\"required\"", Commitment::Required),
        ("\"ask\"", Commitment::Ask),
        ("\"none\"", Commitment::None),
        ("false", Commitment::None),
    ];
    for (word, then) in table {
        let folder = Folder::new();
        let file = folder.write("gw.toml", &format!("{archive}commitment = {word}\n[dicom]\nlisten = \"127.0.0.1:11113\"\n"));
        let config = load(&file, &[], &[]).unwrap().config;
        assert_eq!(config.archives[0].commitment, then, "{word}");
        assert_eq!(config.dicom.listen, "127.0.0.1:11113".parse().ok());
    }
    let lonely = told("[dicom]\nlisten = \"127.0.0.1:11113\"\n");
    assert!(lonely.contains("gw.toml:2: dicom.listen waits for the reports of an archive"), "{lonely}");
}

#[test]
fn several_archives_share_the_work_by_department_kind_and_sensitivity() {
    let folder = Folder::new();
    let archive = |name: &str, more: &str| {
        format!("[[archive]]\nname = \"{name}\"\naddress = \"127.0.0.1:104\"\ncalled_ae = \"P\"\n{more}\n")
    };
    let text = [
        "[[department]]\nid = \"derm\"\nname = \"Dermatology\"\n[[department]]\nid = \"ent\"\nname = \"ENT\"\n".to_owned(),
        archive("pacs", "departments = [\"derm\", \"ent\"]\nsensitive = false"),
        archive("video", "media = [\"video\", \"document\"]"),
        archive("vault", "sensitive = true"),
    ]
    .concat();
    let loaded = load(&folder.write("gw.toml", &text), &[], &[]).expect("no problem");
    let takes: Vec<_> = loaded.config.archives.iter().map(|a| a.takes.clone()).collect();
    assert_eq!((takes[0].departments.len(), takes[0].sensitive), (2, Some(false)));
    assert_eq!(takes[1].media, [MediaClass::Video, MediaClass::Document]);
    assert!(takes[2].takes("ent", MediaClass::Photo, true) && !takes[2].takes("ent", MediaClass::Photo, false));
    let again = load(&folder.write("again.toml", &loaded.print(true)), &[], &[]).expect("no problem");
    assert_eq!(again.config, loaded.config);
    let by_environment = [("SHUTTERBRIDGE__ARCHIVE__1__DEPARTMENTS", "derm, ent")];
    let loaded = load(&folder.0.join("gw.toml"), &by_environment, &[]).expect("no problem");
    assert_eq!(loaded.config.archives[1].takes.departments, ["derm", "ent"]);
}

#[test]
fn a_photo_that_no_archive_would_take_is_told_before_the_first_one() {
    let archive = "[[archive]]\nname = \"p\"\naddress = \"127.0.0.1:104\"\ncalled_ae = \"P\"\n";
    let other = archive.replace("\"p\"", "\"q\"");
    let table = [
        (
            format!("{archive}departments = [\"dern\"]"),
            "gw.toml:5: archive.departments names \"dern\", which no [[department]] is; did you mean \"derm\"?",
        ),
        (
            format!("{archive}media = [\"photo\"]"),
            "gw.toml:1: no [[archive]] takes a video of department \"derm\" that is not sensitive",
        ),
        (
            format!("{archive}sensitive = false"),
            "gw.toml:1: no [[archive]] takes a photo of department \"derm\" that is sensitive",
        ),
        (format!("{archive}media = [\"photos\"]\n"), "gw.toml:5: archive[0].media \"photos\" is not one of"),
        (format!("{archive}departments = []"), "gw.toml:5: archive[0].departments is an empty list"),
        (format!("{archive}{archive}"), "gw.toml:6: a second [[archive]] with the same name"),
        (
            format!("{archive}{other}calling_ae = \"OTHER\"\n[dicom]\nlisten = \"127.0.0.1:11113\""),
            "gw.toml:11: dicom.ae is not set, and the archives know this gateway by more than one calling_ae",
        ),
    ];
    for (text, wanted) in table {
        let told = told(&text);
        assert!(told.contains(&format!("DIR/{wanted}")), "{told}\nshould be\n{wanted}");
    }
}

/// What is told of one `[[archive]]`, its lines counted from 1.
fn told_of_archive(folder: &Folder, lines: &str) -> Result<ArchiveOptions, String> {
    let file = folder.write("gw.toml", &format!("[[archive]]\nname = \"p\"\n{lines}\n"));
    match load(&file, &[], &[]) {
        Ok(loaded) => Ok(loaded.config.archives[0].clone()),
        Err(problems) => Err(problems.replace(&format!("{}/", folder.0.display()), "")),
    }
}

#[test]
fn each_kind_of_archive_has_its_keys() {
    let folder = Folder::new();
    for name in ["ca.pem", "gw.pem", "gw.key", "token"] {
        folder.write(name, "x");
    }
    let at = |name: &str| folder.0.join(name);
    let tls = |identity| Some(Files { ca: at("ca.pem"), identity });
    let dimse = "address = \"pacs:2762\"\ncalled_ae = \"PACS\"\n";
    let mutual = format!("{dimse}tls_ca = \"ca.pem\"\ntls_cert = \"gw.pem\"\ntls_key = \"gw.key\"");
    let peer = |lines: &str| told_of_archive(&folder, lines).expect("no problem").peer;
    let dimse_of = |tls| ArchivePeer::Dimse {
        address: "pacs:2762".into(),
        called_ae: "PACS".into(),
        calling_ae: "SHUTTERBRIDGE".into(),
        tls,
        study_lookup: false,
    };
    assert_eq!(peer(&mutual), dimse_of(tls(Some((at("gw.pem"), at("gw.key"))))));
    assert_eq!(peer(&format!("{dimse}tls_ca = \"ca.pem\"")), dimse_of(tls(None)));
    assert_eq!(
        peer("kind = \"stow\"\nurl = \"https://pacs/dicom-web\"\ntls_ca = \"ca.pem\"\nbearer_file = \"token\""),
        ArchivePeer::Stow { url: Url::parse("https://pacs/dicom-web").unwrap(), tls: tls(None), bearer_file: Some(at("token")) }
    );
    assert_eq!(peer("kind = \"folder\"\npath = \"out\""), ArchivePeer::Folder { path: at("out") });
    let all = format!("{dimse}syntaxes = [\"1.2.840.10008.1.2.4.50\"]\ncharacter_set = \"ISO_IR 100\"\nfallback = false");
    let syntaxes = Some(vec![Syntax::JpegBaseline]);
    let profile = Profile { syntaxes, character_set: CharacterSet::Latin1, fallback: false };
    assert_eq!(told_of_archive(&folder, &all).expect("no problem").profile, profile);
}

#[test]
fn keys_of_an_archive_that_do_not_go_together_are_told() {
    let folder = Folder::new();
    for name in ["ca.pem", "gw.pem", "token"] {
        folder.write(name, "x");
    }
    let dimse = "address = \"pacs:104\"\ncalled_ae = \"PACS\"\n";
    for (lines, wanted) in [
        ("called_ae = \"PACS\"".to_owned(), "gw.toml:1: [[archive]] has no address: dimse: host:port"),
        ("kind = \"stow\"".to_owned(), "gw.toml:1: [[archive]] has no url: stow: address of the service"),
        ("kind = \"folder\"".to_owned(), "gw.toml:1: [[archive]] has no path: folder: where files go"),
        (format!("{dimse}path = \"out\""), "gw.toml:5: archive.path means nothing to an archive of kind \"dimse\"; remove it"),
        ("kind = \"folder\"\npath = \"x\"\ntls_ca = \"ca.pem\"".to_owned(), "gw.toml:5: archive.tls_ca means nothing to"),
        (
            format!("{dimse}tls_ca = \"ca.pem\"\ntls_cert = \"gw.pem\""),
            "gw.toml:6: archive.tls_cert is set, but archive.tls_key is not",
        ),
        ("kind = \"stow\"\nurl = \"https://p/\"".to_owned(), "gw.toml:4: archive.url is https://, but archive.tls_ca is not set"),
        (
            "kind = \"stow\"\nurl = \"http://pacs/\"".to_owned(),
            "gw.toml:4: archive[0].url sends patients' data and the token in clear text",
        ),
        ("kind = \"stow\"\nurl = \"pacs/x\"".to_owned(), "gw.toml:4: archive[0].url \"pacs/x\" is not an address of a service"),
        (
            "kind = \"folder\"\npath = \"x\"\ncommitment = \"required\"".to_owned(),
            "gw.toml:5: archive.commitment = \"required\": a folder commits to nothing",
        ),
        (
            format!("{dimse}syntaxes = [\"1.2.3\"]"),
            "gw.toml:5: archive[0].syntaxes \"1.2.3\" is no transfer syntax that is written here",
        ),
        (format!("{dimse}syntaxes = []"), "gw.toml:5: archive[0].syntaxes is empty"),
        (
            "kind = \"stow\"\nurl = \"http://127.0.0.1/\"\n[dicom]\nlisten = \"127.0.0.1:0\"".to_owned(),
            "gw.toml:6: dicom.listen waits for the reports of an archive, but there is no [[archive]] of kind \"dimse\"",
        ),
        (format!("{dimse}[dicom]\nclient_ca = \"ca.pem\""), "gw.toml:6: dicom.client_ca is set, but dicom.tls_cert is not"),
    ] {
        let told = told_of_archive(&folder, &lines).expect_err(wanted);
        assert!(told.starts_with(wanted), "{told}\nshould be\n{wanted}");
    }
}
