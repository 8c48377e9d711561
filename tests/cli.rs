//! The commands as a person at a shell meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use shutterbridge::capture::TakenAt;
use shutterbridge::media::{exif, raster};

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("shutterbridge-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shutterbridge"));
    command.args(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SHUTTERBRIDGE__")) {
        command.env_remove(name);
    }
    command
}

/// Exit code, stdout, stderr.
fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("runs");
    (status.code().expect("an exit code"), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn phone_photo() -> Vec<u8> {
    let taken = TakenAt { local: "2026-03-01T10:15:30".parse().unwrap(), offset: None };
    exif::with_location(&raster::draw_sample_photo(), 51.4769, 0.0005, &taken)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_would_be_right() {
    for (args, wanted) in [
        (&[][..], "Say what to do."),
        (&["srve"], "did you mean `serve`?"),
        (&["serve"], "serve needs --config FILE."),
        (&["scrub", "a.jpg"], "scrub needs --out DIR."),
        (&["scrub", "--out", "d"], "scrub needs at least one file."),
        (&["wrap", "a.jpg", "--out", "d"], "wrap needs --claim CLAIM.json."),
        (&["config", "print", "--orign"], "did you mean --origin?"),
        (&["check"], "check needs --config FILE."),
        (&["send", "a.jpg"], "`send` is not built yet"),
        (&["queue", "ls"], "queue ls needs --to URL."),
    ] {
        let (code, out, err) = run(&mut command(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(wanted), "{args:?}: {err}");
    }
}

#[test]
fn version_help_and_the_api_go_to_stdout() {
    let (code, out, _) = run(&mut command(&["version"]));
    assert_eq!((code, out), (0, format!("shutterbridge {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, out, _) = run(&mut command(&["--help"]));
    assert!(code == 0 && out.contains("shutterbridge scrub FILE… --out DIR"), "{out}");
    let (code, out, _) = run(&mut command(&["openapi"]));
    assert!(code == 0 && out.starts_with("openapi: 3"), "{out}");
}

#[test]
fn a_wrong_configuration_stops_serve_with_every_problem_and_its_line() {
    let folder = Folder::new();
    let config = folder.write("gw.toml", "[server]\nlisen = \"127.0.0.1:0\"\n[site]\ntimezone = \"Mars/Olympus\"\n");
    let mut serve = command(&["serve", "--config", &text(&config), "--set", "limits.request_files=0"]);
    let (code, out, err) = run(serve.env("SHUTTERBRIDGE__SITE__TIMZONE", "UTC"));
    assert_eq!((code, out.as_str()), (1, ""));
    for wanted in [
        "gw.toml:2: server.lisen is not a key; did you mean `listen`?",
        "gw.toml:4: site.timezone \"Mars/Olympus\" is not an IANA time zone",
        "environment SHUTTERBRIDGE__SITE__TIMZONE: site.timzone is not a key; did you mean SHUTTERBRIDGE__SITE__TIMEZONE?",
        "flag --set limits.request_files: limits.request_files must be a whole number from 1 to 1000",
        "The configuration has 4 problems; nothing was started.",
    ] {
        assert!(err.contains(wanted), "{wanted}\n{err}");
    }
}

#[test]
fn config_print_tells_where_each_value_comes_from_and_reads_back() {
    let folder = Folder::new();
    let config = folder.write("gw.toml", "[site]\ninstitution = \"St. Ägidius\"\n");
    let args = ["config", "print", "--origin", "--config", &text(&config), "--set", "limits.photo_bytes=1MiB"];
    let (code, out, _) = run(command(&args).env("SHUTTERBRIDGE__SITE__TIMEZONE", "Asia/Tokyo"));
    assert_eq!(code, 0);
    for wanted in [
        format!("institution = \"St. Ägidius\" # from {}:2", config.display()),
        "timezone = \"Asia/Tokyo\" # from environment SHUTTERBRIDGE__SITE__TIMEZONE".to_owned(),
        "photo_bytes = \"1MiB\" # from flag --set limits.photo_bytes".to_owned(),
        "listen = \"127.0.0.1:8443\" # from default".to_owned(),
    ] {
        assert!(out.lines().any(|line| line == wanted), "{wanted}\n{out}");
    }
    let again = folder.write("again.toml", &out);
    let (_, plain, _) = run(&mut command(&["config", "print", "--config", &text(&again)]));
    assert!(plain.contains("timezone = \"Asia/Tokyo\"\n") && !plain.contains("# from"), "{plain}");
}

#[test]
fn scrub_takes_the_location_out_and_the_name_away() {
    let folder = Folder::new();
    let photo = folder.write("Meier Hans 1970.jpg", phone_photo());
    let out = folder.0.join("out");
    let (code, lines, err) = run(&mut command(&["scrub", &text(&photo), "--out", &text(&out)]));
    assert_eq!((code, err.as_str()), (0, ""));
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(line["input"], text(&photo));
    assert_eq!((&line["media"], &line["essence"]), (&"image/jpeg".into(), &"unchanged".into()));
    assert_eq!((&line["location_found"], &line["error"], &line["sop_class"]), (&true.into(), &Value::Null, &Value::Null));
    let names = folder.names("out");
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(
        names[0].starts_with("1-") && names[0].len() == "1-0123456789abcdef.jpg".len() && !names[0].contains("Meier"),
        "{names:?}"
    );
    assert_eq!(line["output"], text(&out.join(&names[0])));
    let scrubbed = fs::read(out.join(&names[0])).unwrap();
    assert!(scrubbed.starts_with(&[0xFF, 0xD8]) && !scrubbed.windows(4).any(|w| w == b"Exif"));
}

#[test]
fn scrub_goes_on_after_a_bad_file_and_leaves_nothing_of_it() {
    let folder = Folder::new();
    let mut cut = phone_photo();
    cut.truncate(cut.len() / 2);
    let files = [
        text(&folder.write("cut.jpg", cut)),
        text(&folder.write("words.jpg", "no picture at all, whatever its name says")),
        text(&folder.write("empty.jpg", "")),
        text(&folder.0.join("nowhere.jpg")),
        text(&folder.0),
        text(&folder.write("good.jpg", phone_photo())),
    ];
    let out = text(&folder.0.join("out"));
    let mut args: Vec<&str> = vec!["scrub", "--out", &out];
    args.extend(files.iter().map(String::as_str));
    let (code, lines, _) = run(&mut command(&args));
    assert_eq!(code, 1);
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let codes: Vec<&str> = lines.iter().map(|l| l["error"]["code"].as_str().unwrap_or("fine")).collect();
    assert_eq!(codes, ["damaged-media", "unsupported-media", "damaged-media", "unreadable", "unreadable", "fine"]);
    assert!(lines[..5].iter().all(|l| l["output"].is_null()));
    assert_eq!(folder.names("out").len(), 1, "{:?}", folder.names("out"));
}

#[test]
fn wrap_says_what_is_wrong_with_a_claim_and_repeats_nothing_of_it() {
    let folder = Folder::new();
    let photo = text(&folder.write("a.jpg", phone_photo()));
    for (claim, wanted) in [
        ("{", "is not JSON (line 1, column 1)."),
        ("{\"patient\":{\"id\":\"4711\"},\"department\":\"derm\"}", "has no member `resolved`"),
        ("{\"patient\":{\"id\":4711},\"department\":\"derm\",\"resolved\":{}}", "/patient/id: must be a text"),
        ("{\"patient\":{\"id\":\"4711\"},\"department\":\"derm\",\"resolved\":{\"birth_date\":\"4711\"}}", "is not a patient"),
        (
            "{\"patient\":{\"id\":\"4711\"},\"department\":\"derm\",\"resolved\":{\"id\":\"4711\",\"visits\":[{},{}]}}",
            "more than one visit or order",
        ),
    ] {
        let file = text(&folder.write("claim.json", claim));
        let (code, out, err) = run(&mut command(&["wrap", &photo, "--claim", &file, "--out", &text(&folder.0.join("out"))]));
        assert_eq!((code, out.as_str()), (2, ""), "{claim}");
        assert!(err.contains(wanted) && !err.replace(&file, "").contains("4711"), "{claim}: {err}");
    }
}

#[test]
fn token_mint_makes_a_key_once_and_says_how_to_trust_it() {
    let folder = Folder::new();
    let (key, jwks) = (text(&folder.0.join("dev.key")), text(&folder.0.join("jwks.json")));
    let args = ["token", "mint", "--key", &key, "--jwks", &jwks, "--scope", "capture.write", "--name", "A. Khan"];
    let (code, token, err) = run(&mut command(&args));
    assert_eq!((code, token.trim().split('.').count()), (0, 3), "{err}");
    assert!(err.contains("[[issuer]]") && err.contains(&jwks), "{err}");
    let first = fs::read(&jwks).unwrap();
    assert_eq!(run(&mut command(&args)).0, 0);
    assert_eq!(fs::read(&jwks).unwrap(), first, "the same key");
}
