//! The floors are a test.
//!
//! This file is the plan of the house in a form that can fail. It reads every file under `src/` and
//! says, like a colleague, what is in the wrong room and where it belongs. Where a rule turns out
//! wrong, change it here, in a commit of its own, with the reason.
//!
//! Code under `#[cfg(test)]` is outside these rules: it ships with nobody.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

#[path = "support/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path as FilePath, PathBuf};

use shutterbridge::capture::FailureCode;
use shutterbridge::pipeline::RefusalCode;
use source::{Path, Source};

// ---- The plan ------------------------------------------------------------------------------

/// Every room, its floor, and what it may ask for beside the floors below it.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("capture", 1, &[]),
    ("media", 2, &[]),
    ("scrub", 2, &["media"]),
    ("dicom", 2, &["media"]),
    ("hl7", 2, &[]),
    ("seal", 2, &[]),
    // Floor 3: ports with their adapters. Their common ground is the engine and the time of day.
    ("store", 3, &[]),
    ("spool", 3, &["store", "clock"]),
    ("journal", 3, &["store", "clock"]),
    ("lookup", 3, &["store", "clock"]),
    ("archive", 3, &["store", "clock"]),
    ("identity", 3, &["store", "clock"]),
    ("audit", 3, &["store", "clock"]),
    ("clock", 3, &[]),
    // Codecs in a process of their own; needs neither.
    ("fence", 3, &[]),
    ("pipeline", 4, &[]),
    ("http", 5, &[]),
    // The pages are requests and answers of the HTTPS door: its body, its multipart reader, its problems.
    ("web", 5, &["http"]),
    ("mllp", 5, &[]),
    ("cli", 5, &[]),
    ("ops", 5, &[]),
    ("config", ROOF, &["gateway"]),
    ("gateway", ROOF, &["config"]),
    ("lib", ROOF, &["config", "gateway"]),
    ("main", ROOF, &["config", "gateway"]),
];
const ROOF: u8 = 6;

/// Files that speak one protocol or one engine. A decision that names one has chosen it for the
/// site, so floors 4 and 5 speak to the port and `gateway.rs` chooses.
const ADAPTERS: &[(&str, &[&str])] =
    &[("store", &["sled", "memory"]), ("lookup", &["local", "pdq", "fhir", "mwl"]), ("archive", &["dimse", "stow", "folder"])];

/// Each dependency is a colleague: what it does, and which room may speak to it. A place is a room
/// or a module in one, with what is below it, or `anywhere`.
const COLLEAGUES: &[(&str, &[&str], &str)] = &[
    ("actix-http", &["http", "ops"], "HTTP/1.1 itself: its timeouts and limits"),
    ("actix-server", &["http", "ops"], "accepts connections, a worker for each core"),
    ("actix-service", &["http", "ops"], "joins accept, TLS and HTTP"),
    ("actix-web", &["http", "web", "ops"], "routes and requests; its types stay at the door"),
    ("aes", &["media/pdf/crypt"], "opens a PDF that is encrypted and has no password"),
    ("base64", &["anywhere"], "RFC 4648; pure"),
    ("dicom-core", &["dicom", "archive"], "DICOM values and tags"),
    ("dicom-dictionary-std", &["dicom", "archive"], "the standard's data dictionary"),
    ("dicom-encoding", &["dicom", "archive"], "transfer syntaxes"),
    ("dicom-object", &["dicom", "archive"], "data sets and Part 10 files"),
    ("dicom-transfer-syntax-registry", &["dicom", "archive"], "which transfer syntax is which"),
    ("dicom-ul", &["archive"], "DICOM upper layer: associations and PDUs"),
    ("encoding_rs", &["hl7", "dicom"], "character sets of HL7 and DICOM"),
    ("flate2", &["media", "scrub", "dicom"], "deflate in PNG and PDF; bounded by its caller"),
    ("futures-util", &["http", "web", "ops", "mllp"], "body streams"),
    ("heic-decoder", &["media/heic"], "decodes HEIC; called behind the fence only"),
    ("image", &["media/raster"], "decodes for previews and for what DICOM cannot carry"),
    ("jiff", &["anywhere"], "dates, times and zones; only clock.rs asks it what time it is"),
    ("jsonwebtoken", &["identity/token"], "verifies tokens; one file, so that one review covers it"),
    ("kamadak-exif", &["media/exif"], "reads the times of an Exif block"),
    ("landlock", &["fence/wall"], "which files a process may read"),
    ("lexopt", &["cli", "main"], "splits the command line"),
    ("libc", &["fence/wall"], "the numbers of system calls; no call is made with it"),
    ("md-5", &["media/pdf/crypt"], "the keys of old PDF files; a signature of nothing"),
    ("memchr", &["anywhere"], "finds a byte fast; pure"),
    ("nix", &["fence/wall"], "closes what a process inherited; nothing else"),
    ("png", &["media/raster"], "decodes PNG with limits"),
    ("rayon-core", &["fence/inside"], "keeps the decoder of HEIC on one thread"),
    ("rcgen", &["ops"], "makes the dev CA; nothing in production"),
    ("ring", &["seal"], "AES-GCM, SHA-256, HMAC, signatures, randomness"),
    ("rustix", &["spool", "ops/open_files", "fence"], "free space of a file system, limits of a process"),
    ("rustls", &["http", "web", "mllp", "cli", "ops", "archive", "config", "gateway", "main"], "TLS, with ring"),
    ("seccompiler", &["fence/wall"], "which system calls a process may make"),
    ("serde", &["anywhere"], "derives the JSON forms"),
    ("serde_json", &["anywhere"], "JSON"),
    ("sha2", &["media/pdf/crypt"], "the keys of new PDF files; all other digests are seal's"),
    ("signal-hook", &["ops"], "hears SIGTERM"),
    ("sled", &["store"], "the journal's engine; may change, so nobody else knows it"),
    ("socket2", &["http", "mllp", "ops", "archive"], "socket options: timeouts, keep-alive"),
    ("tokio", &["http", "mllp", "ops"], "the doors' reactor"),
    ("tokio-rustls", &["http", "mllp", "ops"], "TLS on the doors' reactor"),
    ("toml_edit", &["config"], "reads the configuration, and knows the line"),
];

/// Words of the outside world, with what to do instead. Floors 1 and 2 are values in, values out.
const OUTSIDE: &[(&str, &str)] = &[
    ("std::fs", "take the bytes, or `&mut dyn Read`, from the caller"),
    ("std::net", "sockets belong to the doors and to archive/"),
    ("std::process", "a child process belongs behind a port on floor 3"),
    ("std::env", "take a value from Options"),
    ("std::thread", "threads are started in gateway.rs"),
    ("SystemTime", "take the time as an argument"),
    ("Instant::now", "take the time as an argument"),
    ("File::open", "take the bytes, or `&mut dyn Read`, from the caller"),
    ("TcpStream", "sockets belong to the doors and to archive/"),
    ("sleep", "return when it is due; the caller waits"),
];

/// A function fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Ends the process from the inside. One capture in flight would take all others with it.
const PANICS: &[&str] = &["panic!", "unreachable!", "todo!", "unimplemented!", ".unwrap()", ".expect(\"", ".unwrap_err()"];

// ---- The rules -----------------------------------------------------------------------------

/// Imports go down: never up, and sideways only where [`ROOMS`] says so.
fn imports_go_down(file: &Source) -> Vec<String> {
    let Some((_, floor, neighbours)) = room_of(file.room()) else {
        let path = &file.path;
        return vec![format!(
            "{path} is in no room of the plan. Give its room a floor in ROOMS, or move it into one that is there."
        )];
    };
    let mut complaints = Vec::new();
    for named in file.paths() {
        let Some(other) = room_named(file, &named) else { continue };
        let Some((_, theirs, _)) = room_of(other) else { continue };
        if other == file.room() || theirs < floor || neighbours.contains(&other) {
            continue;
        }
        let advice = if theirs > floor {
            "Take what it needs as an argument, or move the word down to where both may read it."
        } else {
            "Rooms of one floor do not know each other: the floor above brings them together."
        };
        complaints.push(format!("{} on floor {floor} names {other}/ on floor {theirs}. {advice}", at(file, &named)));
    }
    complaints
}

/// Floors 4 and 5 speak to ports.
fn adapters_are_named_in_the_gateway_only(file: &Source) -> Vec<String> {
    let Some((_, 4..=5, _)) = room_of(file.room()) else { return Vec::new() };
    let names_an_adapter = |named: &Path| {
        let second = named.segments.get(2)?;
        let (room, _) =
            ADAPTERS.iter().find(|(room, files)| room_named(file, named) == Some(room) && files.contains(&second.as_str()))?;
        Some(format!("{room}/{second}"))
    };
    let complain = |named: Path| {
        let adapter = names_an_adapter(&named)?;
        Some(format!("{} names the adapter {adapter}. Speak to its port; gateway.rs chooses the adapter.", at(file, &named)))
    };
    file.paths().into_iter().filter_map(complain).collect()
}

/// A dependency is spoken to in its room and nowhere else.
fn dependencies_stay_in_their_rooms(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let paths = file.paths();
    let brought_in: BTreeSet<&String> =
        paths.iter().filter(|p| p.in_use && p.segments.len() > 1).filter_map(|p| p.segments.last()).collect();
    for (package, places, why) in COLLEAGUES {
        if places.iter().any(|place| *place == "anywhere" || file.is_in(place)) {
            continue;
        }
        let name = crate_name(package);
        // `mod png;` and `use super::png;` are our own modules of the same name.
        let is_ours = brought_in.contains(&name) || file.code.contains(&format!("mod {name}"));
        let first = paths.iter().find(|p| (p.in_use || !is_ours) && p.segments.first() == Some(&name));
        complaints.extend(first.map(|named| {
            let (place, rooms) = (at(file, named), places.join(", "));
            format!("{place} names {package} ({why}), which lives in {rooms}. Ask that room for a function with words of ours.")
        }));
    }
    complaints
}

/// Floors 1 and 2 touch neither disk nor network nor clock, and nothing below a door is async.
fn low_floors_are_pure(file: &Source) -> Vec<String> {
    let Some((_, floor, _)) = room_of(file.room()) else { return Vec::new() };
    let mut complaints = Vec::new();
    if floor <= 2 {
        for (word, instead) in OUTSIDE {
            for offset in file.words(word) {
                let line = file.line_of(offset);
                complaints.push(format!("{}:{line} says {word} on floor {floor}, which is pure: {instead}.", file.path));
            }
        }
    }
    if floor <= 4 {
        for offset in file.words("async") {
            let line = file.line_of(offset);
            complaints.push(format!("{}:{line} is async on floor {floor}. Async stops at the door: make it a plain function; the door calls it on a thread.", file.path));
        }
    }
    complaints
}

/// One file reads the time of day; a test sets it by hand everywhere else.
fn only_the_clock_reads_time(file: &Source) -> Vec<String> {
    if file.path == "clock.rs" {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for word in ["SystemTime::now", "Timestamp::now", "Zoned::now", "UNIX_EPOCH.elapsed"] {
        for offset in file.words(word) {
            let line = file.line_of(offset);
            complaints.push(format!(
                "{}:{line} asks {word}. Only clock.rs reads time: take a Clock or a Timestamp, so that a test can set it.",
                file.path
            ));
        }
    }
    complaints
}

/// Random numbers that can be foreseen are for simulations.
fn nothing_foresees_randomness(file: &Source) -> Vec<String> {
    if file.path == "seal/random.rs" {
        return Vec::new();
    }
    let complain = |offset| {
        let line = file.line_of(offset);
        format!("{}:{line} says Foreseen, which makes keys that anybody can guess. It is for tests/simulate.rs alone.", file.path)
    };
    file.words("Foreseen").into_iter().map(complain).collect()
}

/// A function fits a screen.
fn functions_fit_a_screen(file: &Source) -> Vec<String> {
    let long = file.functions().into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX);
    long.map(|f| {
        let (path, line, name, lines) = (&file.path, f.line, f.name, f.lines);
        format!("{path}:{line} {name}() is {lines} lines, more than the {FUNCTION_LINES_MAX} of a screen. Split order from detail: one function says what comes first, others do it.")
    })
    .collect()
}

/// A room says at its door what it owns and what it never does.
fn rooms_say_what_they_own(file: &Source) -> Vec<String> {
    if !file.path.ends_with("/mod.rs") || file.path.matches('/').count() != 1 {
        return Vec::new();
    }
    let head: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let lacks = |word: &&str| !head.iter().any(|line| line.trim_start_matches("//!").trim_start().starts_with(word));
    ["Owns:", "Never:"]
        .iter()
        .filter(|word| lacks(word))
        .map(|word| format!("{} has no line \"{word} …\" in its head. Say it in one sentence: the next reader decides by it what belongs here.", file.path))
        .collect()
}

/// Nothing in the product ends the process from the inside.
fn nothing_panics(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for word in PANICS {
        // With its quote: `expect` is also a step of HTTP (RFC 9110 §10.1.1).
        let text = if word.ends_with('"') { &file.literal } else { &file.code };
        for (offset, _) in text.match_indices(word) {
            if word.starts_with('.') || !file.code[..offset].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                let line = file.line_of(offset);
                complaints.push(format!(
                    "{}:{line} has {word}. One bad photo would stop all others: return an error of this room, or `let … else`.",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// Where a TOML file lists a package that [`COLLEAGUES`] does not know, or the other way round.
fn every_dependency_has_a_room(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut brought = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let ("dependencies", Some((package, _)), false) = (section, line.split_once('='), line.starts_with('#')) {
            brought.insert(package.trim().trim_end_matches(".workspace"));
        }
    }
    let known: BTreeSet<&str> = COLLEAGUES.iter().map(|(package, ..)| *package).collect();
    let newcomers = brought.difference(&known).map(|p| {
        format!("Cargo.toml brings in {p}, and nobody says who may speak to it. Give it a row in COLLEAGUES: what it does, and its room.")
    });
    let leavers = known
        .difference(&brought)
        .map(|p| format!("COLLEAGUES still has a row for {p}, which Cargo.toml no longer brings in. Remove it."));
    newcomers.chain(leavers).collect()
}

/// The route table and the published contract name the same (method, path) pairs.
fn routes_and_contract_agree(routes: &str, openapi: &str) -> Vec<String> {
    let (ours, published) = (routes_of(routes), operations_of(openapi));
    let missing = |a: &BTreeSet<String>, b: &BTreeSet<String>, say: &str| {
        a.difference(b).map(|op| format!("{op} {say}")).collect::<Vec<_>>()
    };
    let mut complaints = missing(
        &ours,
        &published,
        "is in http/routes.rs and not in api-spec/openapi.yaml. Describe it there: a stranger builds against that file.",
    );
    complaints.extend(missing(
        &published,
        &ours,
        "is promised in api-spec/openapi.yaml and not in http/routes.rs. Serve it, or take the promise back.",
    ));
    complaints
}

/// Each code that a person can meet has a heading that says what it means and who acts.
fn every_code_has_a_heading(words: &[&str], problems: &str) -> Vec<String> {
    let headings: BTreeSet<&str> = problems
        .lines()
        .filter(|l| l.starts_with('#'))
        .filter_map(|l| l.split(['#', ' ', '`', ':']).find(|w| !w.is_empty()))
        .collect();
    let missing = words.iter().filter(|w| !headings.contains(*w));
    missing
        .map(|w| format!("api-spec/problems.md has no heading `{w}`. Write one: what it means, who acts, what to do."))
        .collect()
}

/// Nothing in the tree knows the machine it was written on, nor where packages come from.
fn the_tree_knows_no_machine(path: &str, text: &str) -> Vec<String> {
    let places = ["work", "farm", "root", "home", "Users"].map(|d| format!("/{d}/"));
    let hosts = [("crates", "io"), ("npmjs", "org"), ("pypi", "org"), ("debian", "org"), ("ghcr", "io"), ("docker", "io")]
        .map(|(a, b)| format!("{a}.{b}"));
    let is_word = |c: char| c.is_alphanumeric() || ".-_~$}>".contains(c);
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        for place in &places {
            let absolute = line.match_indices(place.as_str()).any(|(n, _)| !line[..n].ends_with(is_word));
            if absolute {
                complaints.push(format!("{path}:{number} names {place}…, a folder of one machine. Use a path relative to the project, or a temporary one."));
            }
        }
        for host in hosts.iter().filter(|h| line.contains(h.as_str())) {
            complaints.push(format!("{path}:{number} names {host}. Where packages come from is the site's own setting; leave it to cargo, apt and npm."));
        }
    }
    complaints
}

// ---- Reading -------------------------------------------------------------------------------

fn room_of(room: &str) -> Option<(&'static str, u8, &'static [&'static str])> {
    ROOMS.iter().find(|(name, ..)| *name == room).copied()
}

/// The room that a path of ours leads to: by its name, or by as many `super` as lead to the root.
fn room_named<'p>(file: &Source, named: &'p Path) -> Option<&'p str> {
    let climbs = named.segments.iter().take_while(|s| *s == "super").count();
    let at_root = match named.segments.first()?.as_str() {
        "crate" | "shutterbridge" => 1,
        "super" if climbs >= file.depth() => climbs,
        _ => return None,
    };
    named.segments.get(at_root).map(String::as_str)
}

fn crate_name(package: &str) -> String {
    match package {
        "kamadak-exif" => "exif".to_owned(),
        "md-5" => "md5".to_owned(),
        _ => package.replace('-', "_"),
    }
}

fn at(file: &Source, named: &Path) -> String {
    format!("{}:{}", file.path, named.line)
}

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

/// A row of the table holds a method and one path in quotes: `Get "/captures/{id}"`.
fn routes_of(routes: &str) -> BTreeSet<String> {
    let table = Source::new("http/routes.rs", routes);
    let mut found = BTreeSet::new();
    for row in table.literal.lines() {
        let Some((before, path)) = row.split_once("\"/").and_then(|(before, rest)| Some((before, rest.split_once('"')?.0)))
        else {
            continue;
        };
        let words = before.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        let methods: Vec<String> = words.filter(|w| METHODS.contains(&w.as_str())).collect();
        found.extend(methods.into_iter().map(|method| operation(&method, &format!("/{path}"))));
    }
    found
}

/// `paths:` of the published contract: two spaces before a path, four before a method.
fn operations_of(openapi: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut in_paths, mut path) = (false, "");
    for line in openapi.lines().filter(|l| !l.trim_start().starts_with('#')) {
        let key = line.trim().trim_end_matches(':').trim_matches(['"', '\'']);
        match line.len() - line.trim_start().len() {
            0 if !line.trim().is_empty() => in_paths = key == "paths",
            2 if in_paths && key.starts_with('/') => path = key,
            4 if in_paths && METHODS.contains(&key) => {
                found.insert(operation(key, path));
            }
            _ => {}
        }
    }
    found
}

fn operation(method: &str, path: &str) -> String {
    format!("{} {}", method.to_uppercase(), path.strip_prefix("/api/v1").unwrap_or(path))
}

fn project() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(project().join(path)).ok()
}

/// Every file below `folder`, in order; what is built or fetched is not ours.
fn files_below(folder: &FilePath, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if ["target", ".git", "node_modules"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            files_below(&path, found);
        } else if !["Cargo.lock", "package-lock.json"].contains(&name) {
            found.push(path);
        }
    }
}

fn house() -> Vec<Source> {
    let root = project().join("src");
    let mut files = Vec::new();
    files_below(&root, &mut files);
    let rust = files.iter().filter(|f| f.extension().is_some_and(|e| e == "rs"));
    let sources: Vec<Source> = rust
        .map(|file| {
            let path = file.strip_prefix(&root).expect("below src/").to_string_lossy().replace('\\', "/");
            Source::new(&path, &fs::read_to_string(file).expect("a source file is UTF-8"))
        })
        .collect();
    assert!(sources.len() > ROOMS.len() / 2, "src/ was not found");
    sources
}

fn nobody_complains(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n\n{}\n", complaints.join("\n"));
}

fn hold(rule: fn(&Source) -> Vec<String>) {
    nobody_complains(&house().iter().flat_map(rule).collect::<Vec<_>>());
}

// ---- The tests -----------------------------------------------------------------------------

#[test]
fn a_room_imports_from_lower_floors_only() {
    hold(imports_go_down);
}

#[test]
fn decisions_speak_to_ports() {
    hold(adapters_are_named_in_the_gateway_only);
}

#[test]
fn a_dependency_is_spoken_to_in_its_room_only() {
    hold(dependencies_stay_in_their_rooms);
}

#[test]
fn floors_one_and_two_are_pure_and_async_stops_at_the_door() {
    hold(low_floors_are_pure);
}

#[test]
fn only_one_file_reads_the_time() {
    hold(only_the_clock_reads_time);
}

#[test]
fn no_random_number_of_the_product_can_be_foreseen() {
    hold(nothing_foresees_randomness);
}

#[test]
fn a_function_fits_a_screen() {
    hold(functions_fit_a_screen);
}

#[test]
fn a_room_says_what_it_owns_and_what_it_never_does() {
    hold(rooms_say_what_they_own);
}

#[test]
fn nothing_in_the_product_panics() {
    hold(nothing_panics);
}

#[test]
fn every_dependency_is_introduced() {
    nobody_complains(&every_dependency_has_a_room(&read("Cargo.toml").expect("Cargo.toml")));
}

#[test]
fn the_contract_names_the_routes_that_are_served() {
    let routes = &read("src/http/routes.rs").expect("src/http/routes.rs");
    let openapi = &read("api-spec/openapi.yaml").expect("api-spec/openapi.yaml");
    assert!(
        !routes_of(routes).is_empty(),
        "no row of http/routes.rs was understood: a method, then a path in quotes, on one line"
    );
    nobody_complains(&routes_and_contract_agree(routes, openapi));
}

#[test]
fn every_code_a_person_can_meet_is_explained() {
    let failures = FailureCode::ALL.iter().map(|c| c.word());
    let words: Vec<&str> = failures.chain(RefusalCode::ALL.iter().map(|c| c.word())).collect();
    let problems = read("api-spec/problems.md").expect("api-spec/problems.md");
    nobody_complains(&every_code_has_a_heading(&words, &problems));
}

#[test]
fn the_readme_points_at_what_is_there() {
    let readme = read("README.md").expect("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let missing = links.filter(|link| !link.contains("://") && !project().join(link).exists());
    nobody_complains(&missing.map(|link| format!("README.md points at {link}, which is not there.")).collect::<Vec<_>>());
}

#[test]
fn nothing_in_the_tree_knows_the_machine_it_was_written_on() {
    let mut files = Vec::new();
    files_below(&project(), &mut files);
    let texts = files.iter().filter_map(|f| Some((f.strip_prefix(project()).ok()?, fs::read_to_string(f).ok()?)));
    nobody_complains(
        &texts.flat_map(|(path, text)| the_tree_knows_no_machine(&path.to_string_lossy(), &text)).collect::<Vec<_>>(),
    );
}

// ---- The rules can fail ----------------------------------------------------------------------

#[test]
fn a_misplaced_word_is_found_and_an_innocent_one_is_not() {
    type Rule = fn(&Source) -> Vec<String>;
    let table: &[(Rule, &str, &str, &str)] = &[
        // rule, given the file, with the text, then the complaint says (empty: no complaint)
        (imports_go_down, "media/jpeg.rs", "use crate::journal::Journal;", "names journal/ on floor 3"),
        (imports_go_down, "media/jpeg.rs", "use crate::{capture::Uid, scrub::Plan};", "names scrub/"),
        (imports_go_down, "scrub/jpeg.rs", "fn f() -> crate::dicom::Instance { g() }", "names dicom/"),
        (imports_go_down, "scrub/jpeg.rs", "use crate::media::Walk;", ""),
        (imports_go_down, "journal/mod.rs", "use crate::spool::Draft;", "names spool/"),
        (imports_go_down, "journal/mod.rs", "use crate::store::Table;\nuse crate::seal::Key;", ""),
        (imports_go_down, "http/upload.rs", "use crate::web::Page;", "names web/"),
        (imports_go_down, "http/upload.rs", "use crate::config::Config;", "names config/ on floor 6"),
        (imports_go_down, "gateway.rs", "use crate::{config::Config, http, archive::dimse};", ""),
        (imports_go_down, "scrub/deep/x.rs", "use super::super::super::hl7;", "names hl7/"),
        (imports_go_down, "scrub/deep/x.rs", "use super::super::media;", ""),
        (imports_go_down, "spool/mod.rs", "use super::journal::Journal;", "names journal/"),
        (imports_go_down, "media/jpeg.rs", "// crate::journal\nconst T: &str = \"crate::journal::X\";", ""),
        (imports_go_down, "media/jpeg.rs", "#[cfg(test)]\nmod tests { use crate::journal::X; }", ""),
        (imports_go_down, "attic/mod.rs", "", "is in no room"),
        (
            adapters_are_named_in_the_gateway_only,
            "pipeline/forward.rs",
            "use crate::archive::dimse::Dimse;",
            "names the adapter archive/dimse",
        ),
        (adapters_are_named_in_the_gateway_only, "pipeline/forward.rs", "use crate::archive::{Archive, Refused};", ""),
        (adapters_are_named_in_the_gateway_only, "gateway.rs", "use crate::store::sled::Engine;", ""),
        (dependencies_stay_in_their_rooms, "scrub/jpeg.rs", "fn f() { sled::open(p); }", "names sled"),
        (dependencies_stay_in_their_rooms, "store/sled.rs", "use sled::Db;", ""),
        (dependencies_stay_in_their_rooms, "identity/keys.rs", "use jsonwebtoken::jwk::Jwk;", "lives in identity/token"),
        (dependencies_stay_in_their_rooms, "media/png.rs", "use png::Decoder;", "names png"),
        (dependencies_stay_in_their_rooms, "media/raster/sample.rs", "use png::Decoder;", ""),
        (dependencies_stay_in_their_rooms, "media/raster_scan.rs", "use png::Decoder;", "names png"),
        (dependencies_stay_in_their_rooms, "scrub/mod.rs", "mod png;\nfn f() { png::plan(); }", ""),
        (
            dependencies_stay_in_their_rooms,
            "scrub/plan.rs",
            "use crate::media::{exif, png};\nfn f() { exif::read(png::walk()); }",
            "",
        ),
        (dependencies_stay_in_their_rooms, "archive/mod.rs", "use dicom_core::Tag;", ""),
        (dependencies_stay_in_their_rooms, "pipeline/wrap.rs", "use dicom_core::Tag;", "names dicom-core"),
        (low_floors_are_pure, "dicom/build.rs", "use std::fs::File;", "on floor 2, which is pure"),
        (low_floors_are_pure, "hl7/ack.rs", "let t = Instant::now();", "take the time as an argument"),
        (low_floors_are_pure, "hl7/ack.rs", "let n = Policy::File(Instant::from(x));", ""),
        (low_floors_are_pure, "pipeline/step.rs", "pub async fn step() {}", "Async stops at the door"),
        (low_floors_are_pure, "http/mod.rs", "pub async fn step() {}", ""),
        (nothing_foresees_randomness, "spool/mod.rs", "let _f = Foreseen::from_seed(1);", "keys that anybody can guess"),
        (nothing_foresees_randomness, "seal/random.rs", "pub struct Foreseen;", ""),
        (only_the_clock_reads_time, "pipeline/step.rs", "let t = Timestamp::now();", "Only clock.rs reads time"),
        (only_the_clock_reads_time, "clock.rs", "let t = Timestamp::now();", ""),
        (rooms_say_what_they_own, "spool/mod.rs", "//! Sealed bytes.\n//!\n//! Owns: the files.\n", "no line \"Never: …\""),
        (rooms_say_what_they_own, "spool/mod.rs", "//! Owns: a.\n//! Never: b.\n", ""),
        (nothing_panics, "spool/mod.rs", "let x = y.unwrap();", "has .unwrap()"),
        (nothing_panics, "spool/mod.rs", "let x = y.expect(\"z\");", "has .expect("),
        (nothing_panics, "http/server.rs", "service.expect(fn_service(f))", ""),
        (nothing_panics, "spool/mod.rs", "let x = y.unwrap_or_default(); // never .unwrap()", ""),
        (nothing_panics, "spool/mod.rs", "panic!(\"no\")", "has panic!"),
        (nothing_panics, "spool/mod.rs", "#[test]\n#[cfg(test)]\nfn f() -> [u8; 1] { y.unwrap() }", ""),
    ];
    for (rule, path, text, says) in table {
        let complaints = rule(&Source::new(path, text)).join("\n");
        assert_eq!(complaints.is_empty(), says.is_empty(), "{path}: {text}\n{complaints}");
        assert!(complaints.contains(says), "{path}: {text}\n{complaints}");
    }
}

#[test]
fn a_function_of_seventy_lines_passes_and_one_more_does_not() {
    let function = |lines: usize| {
        format!("/// Doc.\nfn long(a: [u8; 2]) -> bool {{\n{}}}\nfn next() {{}}\n", "    // '{' \"\n".repeat(lines - 2))
    };
    assert!(functions_fit_a_screen(&Source::new("media/a.rs", &function(70))).is_empty());
    assert!(
        functions_fit_a_screen(&Source::new("media/a.rs", &function(71))).join("").contains("media/a.rs:2 long() is 71 lines")
    );
}

#[test]
fn a_dependency_nobody_introduced_is_found() {
    let known: String = COLLEAGUES.iter().map(|(package, ..)| format!("{package} = \"1\"\n")).collect::<Vec<_>>().concat();
    assert!(every_dependency_has_a_room(&format!("[dependencies]\n{known}[dev-dependencies]\nother = \"1\"\n")).is_empty());
    let complaints = every_dependency_has_a_room(&format!("[dependencies]\nleft-pad = \"1\"\n{known}"));
    assert!(complaints.join("").contains("brings in left-pad"), "{complaints:?}");
    assert_eq!(every_dependency_has_a_room("[dependencies]\n").len(), COLLEAGUES.len());
}

#[test]
fn a_route_without_a_contract_is_found_and_so_is_the_reverse() {
    let routes = "const TABLE: &[Route] = &[\n    // Get \"/old\"\n    (Method::GET, \"/api/v1/captures\", list),\n    post(\"/captures\", create),\n];\n";
    let openapi = "openapi: 3.1.0\npaths:\n  /captures:\n    get:\n      summary: x\n    post:\n      x: y\n";
    assert!(routes_and_contract_agree(routes, openapi).is_empty(), "{:?}", routes_and_contract_agree(routes, openapi));
    let more = format!("{openapi}  \"/lookup\":\n    post:\ncomponents:\n  /x:\n    get:\n");
    assert_eq!(routes_and_contract_agree(routes, &more).len(), 1);
    assert!(
        routes_and_contract_agree(routes, "paths:\n  /captures:\n    get:\n")
            .join("")
            .contains("POST /captures is in http/routes.rs and not")
    );
}

#[test]
fn a_code_without_a_heading_is_found() {
    assert!(every_code_has_a_heading(&["spool-full", "busy"], "# Problems\n## `spool-full`\n### busy (429)\n").is_empty());
    assert_eq!(every_code_has_a_heading(&["spool-full"], "spool-full\n## spool\n").len(), 1);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let home = format!("/{}/ana/x", "home");
    assert_eq!(the_tree_knows_no_machine("a.md", &format!("see {home}")).len(), 1);
    assert!(the_tree_knows_no_machine("a.md", &format!("see target{home}, and /data and /tmp")).is_empty());
    assert_eq!(the_tree_knows_no_machine("a.md", &format!("from {}.io", "crates")).len(), 1);
}

#[test]
fn what_is_not_code_is_not_read_as_code() {
    let given =
        "let a = 'x'; let b: &'static str = r#\"fn \"q\" {\"#; /* fn /* { */ { */ let c = b'\\''; let d = \"\\\"{\"; // {\n";
    let code = Source::new("media/a.rs", given).code;
    assert_eq!(code.len(), given.len());
    assert!(!code.contains(['{', '"', 'q']), "{code}");
    assert!(code.contains("&'static str"), "{code}");
    let paths = Source::new("media/a.rs", "use a::{b, c::{self, d as e}};").paths();
    let named: Vec<String> = paths.iter().map(|p| p.segments.join("::")).collect();
    assert_eq!(named, ["a::b", "a::c", "a::c::d"]);
}
