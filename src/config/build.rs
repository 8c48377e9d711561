//! From the draft to the [`Config`], and the rules that hold between keys.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::draft::{Draft, Group};
use super::options::{
    ArchiveOptions, ArchivePeer, AuditOptions, Config, DataOptions, Department, DicomDoorTls, DicomOptions, Ffmpeg, Hl7Options,
    Hl7Source, IssuerOptions, KeySource, LimitsOptions, LookupOptions, LookupSource, PhotoOptions, ServerOptions, SiteOptions,
    TlsFiles, TranscodeOptions, UnknownPatient, WorklistOptions,
};
use super::problem::{Origin, Problem};
use super::schema::{Fallback, Key};
use super::value::{Value, procedure};
use crate::archive::profile::{CharacterSet, Profile};
use crate::archive::stow::Url;
use crate::archive::tls::Files;
use crate::capture::claim::View;
use crate::capture::media::EdgeBlocks;
use crate::capture::{Commitment, MediaClass, Takes};
use crate::cli::suggest::closest;
use crate::dicom::Syntax;
use crate::dicom::codes::{self, Entry, Sides};

/// Makes the configuration. `None` where a value is missing: the draft has a problem then.
pub fn build(draft: &Draft) -> Option<Config> {
    Some(Config {
        server: server(draft.one("server")?)?,
        limits: limits(draft.one("limits")?)?,
        data: data(draft.one("data")?)?,
        site: site(draft.one("site")?)?,
        departments: draft.of("department").map(department).collect::<Option<_>>()?,
        issuers: draft.of("issuer").map(issuer).collect::<Option<_>>()?,
        hl7: Hl7Options {
            listen: draft.one("hl7")?.value("listen").and_then(as_listen),
            sources: draft.of("hl7.source").map(hl7_source).collect(),
        },
        dicom: dicom(draft.one("dicom")?),
        lookup: lookup(draft.one("lookup")?, draft.one("lookup.mwl")?)?,
        archives: draft.of("archive").map(archive).collect::<Option<_>>()?,
        photo: photo(draft.one("photo")?)?,
        transcode: transcode(draft.one("transcode")?)?,
        audit: AuditOptions { file: path(draft.one("audit")?, "file")? },
    })
}

fn server(group: &Group) -> Option<ServerOptions> {
    let tls = path(group, "tls_cert").zip(path(group, "tls_key")).map(|(cert, key)| TlsFiles { cert, key });
    Some(ServerOptions { listen: listen(group, "listen")?, tls, ops_listen: listen(group, "ops_listen")? })
}

fn limits(group: &Group) -> Option<LimitsOptions> {
    let size = |key: &str| match group.value(key)? {
        Value::Size(bytes) => Some(*bytes),
        _ => None,
    };
    let request_files = match group.value("request_files")? {
        Value::Count(count) => u16::try_from(*count).ok()?,
        _ => return None,
    };
    let spool_free_min = match group.value("spool_free_min")? {
        Value::Space(space) => *space,
        _ => return None,
    };
    Some(LimitsOptions {
        photo_bytes: size("photo_bytes")?,
        video_bytes: size("video_bytes")?,
        request_files,
        spool_free_min,
        subject_bytes: size("subject_bytes"),
        department_bytes: size("department_bytes"),
    })
}

fn data(group: &Group) -> Option<DataOptions> {
    let key = match group.value("key") {
        Some(Value::Secret(secret)) => KeySource::Given(secret.clone()),
        _ => KeySource::File(path(group, "key_file")?),
    };
    Some(DataOptions { dir: path(group, "dir")?, key })
}

fn site(group: &Group) -> Option<SiteOptions> {
    let timezone = match group.value("timezone")? {
        Value::Zone(zone) => zone.clone(),
        _ => return None,
    };
    let uid_root = match group.value("uid_root")? {
        Value::Uid(uid) => uid.clone(),
        _ => return None,
    };
    let assigning_authority = text(group, "assigning_authority")?;
    Some(SiteOptions { institution: text(group, "institution")?, timezone, assigning_authority, uid_root })
}

fn department(group: &Group) -> Option<Department> {
    let body_site_required = flag(group, "body_site_required")?;
    Some(Department {
        id: text(group, "id")?,
        name: text(group, "name")?,
        body_site_required,
        body_site: default_site(group).map(Entry::to_site),
        view: text(group, "view").and_then(|word| View::from_word(&word)),
        procedure: text(group, "procedure").and_then(|text| procedure(&text).ok()),
        kind: text(group, "type").and_then(|code| codes::find_code(codes::department_types(), &code)).map(Entry::to_code),
    })
}

fn default_site(group: &Group) -> Option<&'static Entry> {
    codes::find_code(codes::body_sites(), &text(group, "body_site")?)
}

fn issuer(group: &Group) -> Option<IssuerOptions> {
    let jwks_file = path(group, "jwks_file")?;
    Some(IssuerOptions { issuer: text(group, "issuer")?, audience: text(group, "audience")?, jwks_file })
}

fn hl7_source(group: &Group) -> Hl7Source {
    Hl7Source {
        application: text(group, "application"),
        facility: text(group, "facility"),
        default_charset: text(group, "default_charset"),
        assigning_authority: text(group, "assigning_authority"),
    }
}

fn lookup(group: &Group, mwl: &Group) -> Option<LookupOptions> {
    let source = |word: &String| if word == "mwl" { LookupSource::Worklist } else { LookupSource::Local };
    let order: Vec<LookupSource> = lookup_order(group).iter().map(source).collect();
    let worklist = if order.contains(&LookupSource::Worklist) { Some(worklist(mwl)?) } else { None };
    let refuse = text(group, "unknown_patient")? == "refuse";
    let unknown_patient = if refuse { UnknownPatient::Refuse } else { UnknownPatient::Hold };
    Some(LookupOptions { order, unknown_patient, worklist })
}

fn lookup_order(group: &Group) -> Vec<String> {
    match group.value("order") {
        Some(Value::Words(words)) => words.clone(),
        _ => Vec::new(),
    }
}

fn worklist(group: &Group) -> Option<WorklistOptions> {
    let Some(Value::Count(seconds)) = group.value("timeout") else { return None };
    Some(WorklistOptions {
        address: text(group, "address")?,
        called_ae: text(group, "called_ae")?,
        calling_ae: text(group, "calling_ae")?,
        timeout_ms: seconds.saturating_mul(1_000),
        tls: tls_files(group),
    })
}

fn tls_files(group: &Group) -> Option<Files> {
    let identity = path(group, "tls_cert").zip(path(group, "tls_key"));
    path(group, "tls_ca").map(|ca| Files { ca, identity })
}

fn dicom(group: &Group) -> DicomOptions {
    let files = path(group, "tls_cert").zip(path(group, "tls_key")).map(|(cert, key)| TlsFiles { cert, key });
    let tls = files.map(|files| DicomDoorTls { files, client_ca: path(group, "client_ca") });
    DicomOptions { listen: listen(group, "listen"), ae: text(group, "ae"), tls }
}

fn archive(group: &Group) -> Option<ArchiveOptions> {
    let tls = tls_files(group);
    let peer = match text(group, "kind")?.as_str() {
        "stow" => ArchivePeer::Stow { url: Url::parse(&text(group, "url")?)?, tls, bearer_file: path(group, "bearer_file") },
        "folder" => ArchivePeer::Folder { path: path(group, "path")? },
        _ => ArchivePeer::Dimse {
            address: text(group, "address")?,
            called_ae: text(group, "called_ae")?,
            calling_ae: text(group, "calling_ae")?,
            tls,
            study_lookup: flag(group, "study_lookup")?,
        },
    };
    let syntaxes = match group.value("syntaxes") {
        Some(Value::Words(uids)) => Some(uids.iter().filter_map(|uid| Syntax::from_uid(uid)).collect()),
        _ => None,
    };
    let is_latin1 = text(group, "character_set")? == "ISO_IR 100";
    let character_set = if is_latin1 { CharacterSet::Latin1 } else { CharacterSet::Utf8 };
    Some(ArchiveOptions {
        name: text(group, "name")?,
        peer,
        commitment: match text(group, "commitment")?.as_str() {
            "required" => Commitment::Required,
            "ask" => Commitment::Ask,
            _ => Commitment::None,
        },
        takes: takes(group),
        profile: Profile { syntaxes, character_set, fallback: flag(group, "fallback")? },
    })
}

fn takes(group: &Group) -> Takes {
    let words = |key| match group.value(key) {
        Some(Value::Words(words)) => words.clone(),
        _ => Vec::new(),
    };
    let media = words("media").iter().filter_map(|word| MediaClass::from_word(word)).collect();
    Takes { departments: words("departments"), media, sensitive: flag(group, "sensitive") }
}

fn photo(group: &Group) -> Option<PhotoOptions> {
    let is_trimmed = text(group, "edge_blocks")? == "trim";
    Some(PhotoOptions { edge_blocks: if is_trimmed { EdgeBlocks::Trim } else { EdgeBlocks::Recode } })
}

fn transcode(group: &Group) -> Option<TranscodeOptions> {
    let ffmpeg = match text(group, "ffmpeg")?.as_str() {
        "auto" => Ffmpeg::Auto,
        "off" => Ffmpeg::Off,
        path => Ffmpeg::At(path.into()),
    };
    Some(TranscodeOptions { ffmpeg })
}

fn text(group: &Group, key: &str) -> Option<String> {
    match group.value(key)? {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn flag(group: &Group, key: &str) -> Option<bool> {
    match group.value(key)? {
        Value::Flag(flag) => Some(*flag),
        _ => None,
    }
}

fn path(group: &Group, key: &str) -> Option<PathBuf> {
    match group.value(key)? {
        Value::Path(path) => Some(path.clone()),
        _ => None,
    }
}

fn listen(group: &Group, key: &str) -> Option<SocketAddr> {
    group.value(key).and_then(as_listen)
}

fn as_listen(value: &Value) -> Option<SocketAddr> {
    match value {
        Value::Listen(address) => Some(*address),
        _ => None,
    }
}

/// The rules between keys. Problems go into the draft.
pub fn check(draft: &mut Draft) {
    let mut found = Vec::new();
    check_tls(draft, &mut found);
    check_doors(draft, &mut found);
    check_issuers(draft, &mut found);
    check_sources(draft, &mut found);
    check_dicom(draft, &mut found);
    check_worklist(draft, &mut found);
    draft.of("archive").for_each(|group| check_archive(group, &mut found));
    draft.of("department").for_each(|group| check_department(group, &mut found));
    check_unique(draft, "department", &["id"], &mut found);
    check_unique(draft, "issuer", &["issuer", "audience"], &mut found);
    check_unique(draft, "hl7.source", &["application", "facility"], &mut found);
    check_unique(draft, "archive", &["name"], &mut found);
    check_archives(draft, &mut found);
    check_routes(draft, &mut found);
    draft.problems.append(&mut found);
}

fn check_tls(draft: &Draft, found: &mut Vec<Problem>) {
    let Some(server) = draft.one("server") else { return };
    check_pair(server, found);
    let Some(address) = listen(server, "listen").filter(|a| !a.ip().is_loopback()) else { return };
    if !server.is_set("tls_cert") && !server.is_set("tls_key") {
        let text = format!(
            "server.listen = \"{address}\" is reachable from other machines, which the dev certificate is not meant for; \
             set server.tls_cert and server.tls_key, or listen on 127.0.0.1"
        );
        found.push(Problem { origin: server.origin_of("listen"), text });
    }
    if draft.of("issuer").next().is_none() {
        let text = format!(
            "server.listen = \"{address}\" is reachable from other machines, but no [[issuer]] says whose tokens are \
             good; add one, or listen on 127.0.0.1"
        );
        found.push(Problem { origin: server.origin_of("listen"), text });
    }
}

fn check_doors(draft: &Draft, found: &mut Vec<Problem>) {
    let doors = [
        ("server", "listen", None),
        (
            "server",
            "ops_listen",
            Some("plain HTTP without sign-in; listen on 127.0.0.1 and let an agent on this machine read it"),
        ),
        (
            "hl7",
            "listen",
            Some("plain text with patient data; listen on 127.0.0.1 and put a TLS tunnel in front (MLLPS is not built yet)"),
        ),
        // A report names UIDs and nobody, and counts only for a question of ours.
        ("dicom", "listen", None),
    ];
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    for (section, key, only_loopback) in doors {
        let Some((group, address)) = draft.one(section).and_then(|g| Some((g, listen(g, key)?))) else { continue };
        let full = format!("{section}.{key}");
        if let Some(why) = only_loopback.filter(|_| !address.ip().is_loopback()) {
            let text = format!("{full} = \"{address}\" is reachable from other machines, and this door is {why}");
            found.push(Problem { origin: group.origin_of(key), text });
        }
        if let Some((_, other)) = taken.iter().find(|(a, _)| *a == address && address.port() != 0) {
            let text = format!("{full} = \"{address}\" is also {other}; give each door a port of its own");
            found.push(Problem { origin: group.origin_of(key), text });
        }
        taken.push((address, full));
    }
}

fn check_dicom(draft: &Draft, found: &mut Vec<Problem>) {
    let Some(group) = draft.one("dicom") else { return };
    check_pair(group, found);
    if group.is_set("client_ca") && !group.is_set("tls_cert") {
        let text = "dicom.client_ca is set, but dicom.tls_cert is not; a door that speaks no TLS sees no certificate".to_owned();
        found.push(Problem { origin: group.origin_of("client_ca"), text });
    }
    let can_report = |archive: &Group| text(archive, "kind").is_none_or(|kind| kind == "dimse");
    if group.is_set("listen") && !draft.of("archive").any(can_report) {
        let text = "dicom.listen waits for the reports of an archive, but there is no [[archive]] of kind \"dimse\"; add one";
        found.push(Problem { origin: group.origin_of("listen"), text: text.to_owned() });
    }
}

/// The worklist is asked where `lookup.order` says so, after what the hospital announced.
fn check_worklist(draft: &Draft, found: &mut Vec<Problem>) {
    let (Some(lookup), Some(mwl)) = (draft.one("lookup"), draft.one("lookup.mwl")) else { return };
    let order = lookup_order(lookup);
    let mut wrong = |group: &Group, key: &str, text: &str| {
        found.push(Problem { origin: group.origin_of(key), text: text.to_owned() });
    };
    if !order.is_empty() && order.first().is_none_or(|first| first != "local") {
        wrong(
            lookup,
            "order",
            "lookup.order does not begin with \"local\": a worklist knows the study of an order, not who is here",
        );
    }
    let is_asked = order.iter().any(|word| word == "mwl");
    for key in ["address", "called_ae"].into_iter().filter(|key| is_asked && mwl.setting(key).is_none()) {
        let doc = mwl.section.key(key).map_or("", |k| k.doc);
        wrong(lookup, "order", &format!("lookup.order names \"mwl\", and [lookup.mwl] has no {key}: {doc}"));
    }
    // What has a default is also printed where nobody is asked.
    let is_meant = |key: &&Key| key.fallback == Fallback::Unset && mwl.is_set(key.name);
    if let Some(key) = mwl.section.keys.iter().find(is_meant).filter(|_| !is_asked) {
        wrong(mwl, key.name, "[lookup.mwl] is never asked; write lookup.order = [\"local\", \"mwl\"], or remove it");
    }
    check_client_tls(mwl, found);
}

/// A certificate of ours needs somebody to believe on the other side.
fn check_client_tls(group: &Group, found: &mut Vec<Problem>) {
    check_pair(group, found);
    if group.is_set("tls_cert") && !group.is_set("tls_ca") {
        let section = group.section.name;
        let text = format!("{section}.tls_cert is set, but {section}.tls_ca is not: who is to be believed on the other side?");
        found.push(Problem { origin: group.origin_of("tls_cert"), text });
    }
}

/// A certificate and its key go together.
fn check_pair(group: &Group, found: &mut Vec<Problem>) {
    let section = group.section.name;
    for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
        if group.is_set(one) && !group.is_set(other) {
            let text = format!("{section}.{one} is set, but {section}.{other} is not; a certificate and its key go together");
            found.push(Problem { origin: group.origin_of(one), text });
        }
    }
}

fn check_department(group: &Group, found: &mut Vec<Problem>) {
    let Some(site) = default_site(group) else { return };
    let why = if site.sides == Some(Sides::Paired) {
        format!(
            "department.body_site is {}, which the body has twice, and nobody would say the side; choose another",
            site.meaning
        )
    } else if flag(group, "body_site_required") == Some(true) {
        "department.body_site would never be used, because body_site_required = true; keep one of them".to_owned()
    } else {
        return;
    };
    found.push(Problem { origin: group.origin_of("body_site"), text: why });
}

/// For each kind: what it needs, and what has no meaning for it.
const ARCHIVE_KINDS: [(&str, &[&str], &[&str]); 3] = [
    ("dimse", &["address", "called_ae"], &["url", "bearer_file", "path"]),
    ("stow", &["url"], &["address", "called_ae", "calling_ae", "path", "study_lookup"]),
    (
        "folder",
        &["path"],
        &["address", "called_ae", "calling_ae", "study_lookup", "url", "bearer_file", "tls_ca", "tls_cert", "tls_key"],
    ),
];

fn check_archive(group: &Group, found: &mut Vec<Problem>) {
    let Some(kind) = text(group, "kind") else { return };
    let Some((_, needed, foreign)) = ARCHIVE_KINDS.iter().find(|(name, ..)| *name == kind) else { return };
    for key in needed.iter().filter(|key| group.setting(key).is_none()) {
        let doc = group.section.key(key).map_or("", |k| k.doc);
        found.push(Problem { origin: group.origin.clone(), text: format!("[[archive]] has no {key}: {doc}") });
    }
    for key in foreign.iter().filter(|key| group.is_set(key)) {
        let text = format!("archive.{key} means nothing to an archive of kind \"{kind}\"; remove it, or correct kind");
        found.push(Problem { origin: group.origin_of(key), text });
    }
    check_client_tls(group, found);
    if text(group, "url").is_some_and(|url| url.starts_with("https://")) && !group.is_set("tls_ca") {
        let text = "archive.url is https://, but archive.tls_ca is not set: the authority that signs the archive's certificate, \
                    such as the bundle of this system";
        found.push(Problem { origin: group.origin_of("url"), text: text.to_owned() });
    }
    if kind == "folder" && text(group, "commitment").is_some_and(|word| word == "required") {
        let text = "archive.commitment = \"required\": a folder commits to nothing, since whoever fetches a file takes it \
                    away; write \"none\"";
        found.push(Problem { origin: group.origin_of("commitment"), text: text.to_owned() });
    }
}

/// Each has workers of its own; a hospital has a handful.
const ARCHIVES_MAX: usize = 16;

fn check_archives(draft: &Draft, found: &mut Vec<Problem>) {
    if let Some(group) = draft.of("archive").nth(ARCHIVES_MAX) {
        found.push(Problem { origin: group.origin.clone(), text: format!("more than {ARCHIVES_MAX} entries of [[archive]]") });
    }
    let known: Vec<String> = draft.of("department").filter_map(|g| text(g, "id")).collect();
    for group in draft.of("archive") {
        for name in takes(group).departments.iter().filter(|name| !known.contains(name)) {
            let near = closest(name, known.iter().map(String::as_str)).map(|n| format!("; did you mean \"{n}\"?"));
            let text = format!("archive.departments names \"{name}\", which no [[department]] is{}", near.unwrap_or_default());
            found.push(Problem { origin: group.origin_of("departments"), text });
        }
    }
    let Some(dicom) = draft.one("dicom").filter(|g| g.is_set("listen") && !g.is_set("ae")) else { return };
    let reporting = draft.of("archive").filter(|g| text(g, "kind").is_none_or(|kind| kind == "dimse"));
    let mut names = reporting.filter_map(|g| text(g, "calling_ae"));
    let first = names.next();
    if names.any(|name| Some(name) != first) {
        let text = "dicom.ae is not set, and the archives know this gateway by more than one calling_ae; set dicom.ae".to_owned();
        found.push(Problem { origin: dicom.origin_of("listen"), text });
    }
}

/// What nobody takes would be held for ever, so it is told before the first photo. One problem
/// names the first gap.
fn check_routes(draft: &Draft, found: &mut Vec<Problem>) {
    let archives: Vec<Takes> = draft.of("archive").map(takes).collect();
    let Some(origin) = draft.of("archive").next().map(|g| g.origin.clone()) else { return };
    let departments: Vec<String> = draft.of("department").filter_map(|g| text(g, "id")).collect();
    for department in &departments {
        for media in MediaClass::ALL {
            for sensitive in [false, true] {
                if archives.iter().any(|a| a.takes(department, media, sensitive)) {
                    continue;
                }
                let how = if sensitive { "sensitive" } else { "not sensitive" };
                let text = format!(
                    "no [[archive]] takes a {} of department \"{department}\" that is {how}; widen departments, media or \
                     sensitive of one, or add an [[archive]] without them",
                    media.word()
                );
                return found.push(Problem { origin, text });
            }
        }
    }
}

fn check_issuers(draft: &Draft, found: &mut Vec<Problem>) {
    for group in draft.of("issuer") {
        if group.setting("jwks_file").is_none() && group.setting("jwks_url").is_none() {
            let text = "[[issuer]] has no jwks_file: the public keys of its tokens".to_owned();
            found.push(Problem { origin: group.origin.clone(), text });
        }
    }
}

fn check_sources(draft: &Draft, found: &mut Vec<Problem>) {
    for group in draft.of("hl7.source") {
        if !group.is_set("application") && !group.is_set("facility") {
            let text = "[[hl7.source]] names no sender; set application (MSH-3), facility (MSH-4) or both".to_owned();
            found.push(Problem { origin: group.origin.clone(), text });
        }
    }
}

/// No two entries of a list may have the same name.
fn check_unique(draft: &Draft, section: &str, keys: &[&str], found: &mut Vec<Problem>) {
    let mut seen: Vec<(Vec<&Value>, &Origin)> = Vec::new();
    for group in draft.of(section) {
        let name: Vec<&Value> = keys.iter().filter_map(|k| group.value(k)).collect();
        if name.is_empty() {
            continue;
        }
        if let Some((_, first)) = seen.iter().find(|(n, _)| *n == name) {
            let origin = keys.iter().find(|k| group.is_set(k)).map_or_else(|| group.origin.clone(), |k| group.origin_of(k));
            let text = format!("a second [[{section}]] with the same {}; the first is at {first}", keys.join(" and "));
            found.push(Problem { origin, text });
        }
        seen.push((name, &group.origin));
    }
}

/// What starts, but is probably not meant.
pub fn warnings(draft: &Draft) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut warn = |text: &str| found.push(Problem { origin: Origin::Default, text: text.to_owned() });
    if draft.of("issuer").next().is_none() {
        warn("no [[issuer]] is configured: nobody can sign in");
    }
    if draft.of("archive").next().is_none() {
        warn("no [[archive]] is configured: captures are kept here and go nowhere");
    }
    if draft.one("hl7").is_some_and(|g| g.value("listen").is_none()) {
        warn("hl7.listen is not set: the hospital cannot announce patients, and every capture waits for one");
    }
    let waits = |g: &Group| text(g, "commitment").is_some_and(|word| word != "none");
    if draft.of("archive").any(waits) && draft.one("dicom").is_some_and(|g| g.value("listen").is_none()) {
        warn("dicom.listen is not set: an archive that reports commitment on an association of its own is not heard");
    }
    if draft.one("site").is_some_and(|g| !g.is_set("institution")) {
        warn("site.institution is not set: objects will carry the name of the demo hospital");
    }
    if draft.of("department").all(|g| g.origin == Origin::Default) {
        warn("no [[department]] is configured: `derm` (Dermatology) is the only one");
    }
    found
}
