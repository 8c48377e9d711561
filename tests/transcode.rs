//! Films that no transfer syntax carries, coded anew by ffmpeg behind the fence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod dicom_fixture;
mod support;

use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dicom_dictionary_std::tags;
use dicom_fixture::{TempDir, validator_errors};
use serde_json::{Value, json};
use shutterbridge::fence::{self, Bounds, Ended, Fence, Task};
use support::archive::Storescp;
use support::folder::Folder;
use support::gateway::Gateway;
use support::phone::Phone;
use support::{hospital, is_installed, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_shutterbridge");
const PICTURES: &[&str] = &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=1"];
const SOUND: &[&str] = &["-f", "lavfi", "-i", "aevalsrc=0.3*sin(440*2*PI*t)|0.3*sin(660*2*PI*t):s=44100:d=1"];
const HIGH: &[&str] = &["-c:v", "libx264", "-profile:v", "high", "-pix_fmt", "yuv420p"];
const LATER: Duration = Duration::from_secs(120);

fn has_ffmpeg() -> bool {
    let has = ["ffmpeg", "ffprobe"].iter().all(|program| is_installed(program));
    if !has {
        eprintln!("skipped: ffmpeg is not installed");
    }
    has
}

fn ffmpeg(args: &[&[&str]], into: &Path) {
    let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args.concat()).arg(into).output().unwrap();
    assert!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A clip as a phone held upright records it: the pictures lie on their side, and a matrix says so.
fn portrait(folder: &Path) -> PathBuf {
    let (flat, turned) = (folder.join("flat.mp4"), folder.join("turned.mov"));
    ffmpeg(&[PICTURES, SOUND, HIGH, &["-c:a", "aac"]], &flat);
    ffmpeg(&[&["-i", flat.to_str().unwrap(), "-c", "copy", "-metadata:s:v", "rotate=90"]], &turned);
    turned
}

fn wrap(folder: &Path, file: &Path, ffmpeg: &str) -> Value {
    let set = |command: &mut Command| {
        command.env("SHUTTERBRIDGE__TRANSCODE__FFMPEG", ffmpeg);
    };
    dicom_fixture::wrap(folder, &[file], &dicom_fixture::hand(), set).remove(0)
}

fn claim_of_hand() -> Value {
    json!({"patient": {"id": "4711", "issuer": "HOSP"}, "department": "derm",
        "body_site": {"code": "85562004", "scheme": "SCT", "meaning": "Hand"}, "laterality": "L"})
}

/// The film in an object: everything from its first box on.
fn film_of(object: &Path, folder: &Path) -> PathBuf {
    let bytes = std::fs::read(object).unwrap();
    let at = bytes.windows(8).position(|w| &w[4..] == b"ftyp").expect("a film");
    let file = folder.join("fragment.mp4");
    std::fs::write(&file, &bytes[at..]).unwrap();
    file
}

fn stream(file: &Path, kind: &str) -> Value {
    let told = Command::new("ffprobe").args(["-v", "error", "-show_streams", "-of", "json"]).arg(file).output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    told["streams"].as_array().unwrap().iter().find(|s| s["codec_type"] == kind).cloned().unwrap_or(Value::Null)
}

/// The picture at a third of a second as grey samples of 90 × 160. `as_coded`: no matrix is looked at.
fn picture(file: &Path, as_coded: bool) -> Vec<u8> {
    let turn: &[&str] = if as_coded { &["-noautorotate"] } else { &[] };
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(turn)
        .arg("-i")
        .arg(file)
        .args(["-vf", "fps=30,select=eq(n\\,10),scale=90:160", "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    assert_eq!(output.stdout.len(), 90 * 160, "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn apart(ours: &[u8], theirs: &[u8]) -> f64 {
    let sum: u32 = ours.iter().zip(theirs).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / f64::from(u32::try_from(ours.len()).unwrap())
}

#[test]
fn a_film_held_upright_is_upright_without_its_matrix() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("transcode-turned");
    let source = portrait(folder.path());
    let line = wrap(folder.path(), &source, "auto");
    assert_eq!((&line["error"], &line["essence"]), (&Value::Null, &json!("reencoded")));
    let path = PathBuf::from(line["output"].as_str().unwrap());
    let object = dicom_object::open_file(&path).unwrap();
    let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
    assert_eq!(text(tags::IMAGE_TYPE), "DERIVED\\PRIMARY");
    assert_eq!(text(tags::LOSSY_IMAGE_COMPRESSION_METHOD), "ISO_14496_10\\ISO_14496_10");
    assert_eq!((text(tags::ROWS), text(tags::COLUMNS)), ("320".to_owned(), "180".to_owned()));
    assert_eq!(validator_errors(&path), Vec::<String>::new());
    let film = film_of(&path, folder.path());
    let (seen, heard) = (stream(&film, "video"), stream(&film, "audio"));
    assert_eq!((&seen["profile"], &seen["width"], &seen["height"]), (&json!("High"), &json!(180), &json!(320)));
    assert_eq!(seen["side_data_list"], Value::Null, "no matrix is left");
    assert_eq!((&heard["codec_name"], &heard["sample_rate"], &heard["channels"]), (&json!("aac"), &json!("48000"), &json!(2)));
    let mean = apart(&picture(&film, true), &picture(&source, false));
    assert!(mean < 6.0, "{mean} levels off");
    assert!(apart(&picture(&film, true), &picture(&source, true)) > 20.0, "lying on its side it looks otherwise");
    assert!(folder.files().iter().all(|file| !file.to_string_lossy().contains(".part")), "nothing is left behind");
}

#[test]
fn what_no_syntax_carries_is_carried_afterwards_or_held_where_that_is_off() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("transcode-odd");
    let main_10: &[&str] = &["-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1"];
    let hlg: &[&str] = &["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"];
    let fast: &[&str] = &["-r", "120"];
    let table: [(&str, &[&[&str]]); 6] = [
        ("main10.mp4", &[PICTURES, main_10]),
        ("old.mp4", &[PICTURES, &["-c:v", "mpeg4"]]),
        ("wide.mp4", &[PICTURES, HIGH, &["-vf", "setsar=4/3"]]),
        ("fields.mp4", &[PICTURES, HIGH, &["-flags", "+ildct+ilme"]]),
        ("hlg.mov", &[PICTURES, main_10, hlg]),
        ("fast.mp4", &[PICTURES, HIGH, fast, &["-level", "5.1"]]),
    ];
    for (name, args) in table {
        let source = folder.path().join(name);
        ffmpeg(args, &source);
        let line = wrap(folder.path(), &source, "off");
        assert_eq!(line["error"]["code"], "needs-transcoding", "{name}: {line}");
        let line = wrap(folder.path(), &source, "auto");
        assert_eq!((&line["error"], &line["essence"]), (&Value::Null, &json!("reencoded")), "{name}");
        let path = PathBuf::from(line["output"].as_str().unwrap());
        let mut errors = validator_errors(&path);
        errors.retain(|line| !line.contains("ISO_23008_2"));
        assert_eq!(errors, Vec::<String>::new(), "{name}");
        let seen = stream(&film_of(&path, folder.path()), "video");
        assert_eq!(
            (&seen["codec_name"], &seen["profile"], &seen["pix_fmt"]),
            (&json!("h264"), &json!("High"), &json!("yuv420p"))
        );
    }
}

/// The colour in the midst of the first of six bars, as a player shows it that goes by what the film says.
fn first_bar(film: &Path) -> [u8; 3] {
    let bar = "crop=8:8:20:100,scale=1:1:flags=area:in_color_matrix=bt709,format=rgb24";
    let args = ["-vf", bar, "-frames:v", "1", "-f", "rawvideo", "-"];
    let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(film).args(args).output().unwrap();
    output.stdout.try_into().unwrap()
}

#[test]
fn what_is_red_in_a_high_dynamic_range_stays_red() {
    let filters = Command::new("ffmpeg").args(["-hide_banner", "-filters"]).output();
    if !has_ffmpeg() || !filters.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains(" zscale ")) {
        eprintln!("skipped: ffmpeg has no zscale");
        return;
    }
    let folder = TempDir::new("transcode-red");
    let source = folder.path().join("hlg.mov");
    let main_10: &[&str] = &["-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1"];
    // Red, green and blue by the matrix that is told.
    let bars: &[&str] = &["-vf", "scale=out_color_matrix=bt2020"];
    let hlg: &[&str] = &["-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"];
    ffmpeg(&[PICTURES, bars, main_10, hlg], &source);
    let line = wrap(folder.path(), &source, "auto");
    let film = film_of(Path::new(line["output"].as_str().unwrap_or_else(|| panic!("{line}"))), folder.path());
    let seen = stream(&film, "video");
    let said = ["color_space", "color_transfer", "color_primaries", "color_range"].map(|name| seen[name].clone());
    assert_eq!(said, ["bt709", "bt709", "bt709", "tv"].map(|word| json!(word)));
    let [red, green, blue] = first_bar(&film);
    assert!(red > 200 && green < 8 && blue < 8, "{red} {green} {blue}");
}

/// Digest of the packets of the pictures.
fn packets(file: &Path) -> String {
    let map = ["-map", "0:v", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-"];
    let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(map).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn where_only_the_sound_is_odd_no_picture_is_touched() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("transcode-sound");
    let nameless: &[&str] = &["-bsf:v", "filter_units=remove_types=6", "-level", "4.0"];
    let reordered: &[&str] = &["-bf", "2", "-g", "10"];
    let table: [(&str, &[&str]); 3] = [
        ("pcm.mov", &["-c:a", "pcm_s16le"]),
        ("mono.mp4", &["-c:a", "aac", "-ar", "44100", "-ac", "1"]),
        ("mp3.mp4", &["-c:a", "libmp3lame", "-ar", "48000"]),
    ];
    for (name, sound) in table {
        let source = folder.path().join(name);
        ffmpeg(&[PICTURES, SOUND, HIGH, nameless, reordered, sound], &source);
        let line = wrap(folder.path(), &source, "auto");
        assert_eq!((&line["error"], &line["essence"]), (&Value::Null, &json!("unchanged")), "{name}");
        let path = PathBuf::from(line["output"].as_str().unwrap());
        let object = dicom_object::open_file(&path).unwrap();
        assert_eq!(object.element(tags::IMAGE_TYPE).unwrap().to_str().unwrap(), "ORIGINAL\\PRIMARY");
        assert_eq!(object.element(tags::NUMBER_OF_FRAMES).unwrap().to_str().unwrap(), "30");
        let film = film_of(&path, folder.path());
        assert_eq!(packets(&film), packets(&source), "{name}");
        let heard = stream(&film, "audio");
        assert_eq!((&heard["codec_name"], &heard["sample_rate"]), (&json!("aac"), &json!("48000")), "{name}");
        let delay = |file: &Path| {
            let start = |kind| stream(file, kind)["start_time"].as_str().unwrap().parse::<f64>().unwrap();
            start("video") - start("audio")
        };
        assert!((delay(&film) - delay(&source)).abs() < 0.06, "{name}: {} and {}", delay(&film), delay(&source));
    }
}

/// Overwrites the coded pictures, or the sound, of that part of the film.
fn damage(film: &Path, kind: &str, part: Range<f64>, into: &Path) {
    let packets = ["-v", "error", "-select_streams", kind, "-show_packets", "-of", "json"];
    let told = Command::new("ffprobe").args(packets).arg(film).output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let number = |packet: &Value, name: &str| packet[name].as_str().unwrap().parse::<usize>().unwrap();
    let packets = told["packets"].as_array().unwrap();
    let mut bytes = std::fs::read(film).unwrap();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // some hundred
    let number_of = |share: f64| (packets.len() as f64 * share) as usize;
    for packet in &packets[number_of(part.start)..number_of(part.end)] {
        let (at, size) = (number(packet, "pos"), number(packet, "size"));
        if kind == "a" {
            bytes[at..at + size].fill(0xFF);
            continue;
        }
        let mut unit = at;
        while unit < at + size {
            let length = u32::from_be_bytes(bytes[unit..unit + 4].try_into().unwrap()) as usize;
            bytes[unit + 5..unit + 4 + length].fill(0x55);
            unit += 4 + length;
        }
    }
    std::fs::write(into, bytes).unwrap();
}

#[test]
fn what_cannot_be_decoded_as_a_whole_is_held_and_sent_neither_shorter_nor_frozen() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("transcode-short");
    let long: &[&str] = &["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=4"];
    let tone: &[&str] = &["-f", "lavfi", "-i", "sine=f=440:d=4", "-c:a", "aac"];
    let baseline: &[&str] = &["-c:v", "libx264", "-profile:v", "baseline", "-g", "30", "-pix_fmt", "yuv420p"];
    let main_10: &[&str] = &["-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1"];
    let table = [
        // given the coding, and what of it is overwritten, then
        (baseline, "v", 0.4..0.6, "the video is damaged: more than one in fifty"),
        (baseline, "a", 0.4..0.6, "the video is damaged: more than one in fifty"),
        // Few beside so many blocks of sound.
        (baseline, "v", 0.45..0.49, "the video is damaged: more than one in fifty"),
        (baseline, "v", 0.5..1.0, "the video is damaged: more than one in fifty"),
        // To the decoder they are of a layer that it does not look at.
        (main_10, "v", 0.5..1.0, "of 4.0 s of picture only 2."),
    ];
    for (coding, kind, part, what) in table {
        let (whole, broken) = (folder.path().join("whole.mp4"), folder.path().join("broken.mp4"));
        ffmpeg(&[long, tone, coding], &whole);
        let line = wrap(folder.path(), &whole, "auto");
        assert_eq!(line["error"], Value::Null, "{line}");
        damage(&whole, kind, part, &broken);
        let line = wrap(folder.path(), &broken, "auto");
        assert_eq!(line["error"]["code"], "wrap-failed", "{line}");
        assert!(line["error"]["detail"].as_str().unwrap().contains(what), "{line}");
    }
}

// ---------------------------------------------------------------- the gateway

fn claim() -> Value {
    let mut claim = claim_of_hand();
    claim["order"] = json!({"accession": "A123"});
    claim
}

#[test]
fn a_gateway_that_dies_while_it_codes_makes_one_object() {
    if !has_ffmpeg() || !is_installed("storescp") {
        eprintln!("skipped: storescp (Debian: dcmtk) is not installed");
        return;
    }
    let folder = TempDir::new("transcode-killed");
    let film = std::fs::read(portrait(folder.path())).unwrap();
    let kept = Folder::new();
    let archive = Storescp::start(Some(kept.path()));
    let mut gateway = Gateway::start(BINARY, archive.port, "");
    hospital::tell(gateway.mllp, &[hospital::admit("4711"), hospital::order("4711", "A123")]);
    let phone = |gateway: &Gateway| Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let answer = phone(&gateway).upload("k-1", &claim(), &[&film]);
    assert_eq!(answer.status, 201, "{}", answer.json());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let capture = |gateway: &Gateway| phone(gateway).call("GET", &format!("/api/v1/captures/{id}"), "", &[]).json();
    wait_until(LATER, "the film is being coded", || {
        (capture(&gateway)["items"][0]["failure"]["code"] == "transcoding").then_some(())
    });
    gateway.kill_and_restart();
    wait_until(LATER, "the film is at the archive", || (capture(&gateway)["stage"] == "forwarded").then_some(()));
    let objects: Vec<_> = std::fs::read_dir(kept.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(objects.len(), 1);
    let object = dicom_object::open_file(&objects[0]).unwrap();
    assert_eq!(object.element(tags::ROWS).unwrap().to_str().unwrap(), "320");
    assert!(gateway.metric("shutterbridge_transcoded_total", "made") >= 1.0);
}

// ---------------------------------------------------------------- programs that fail

const BOUNDS: Bounds = Bounds {
    memory_bytes: 1 << 30,
    cpu_seconds: 10,
    wall: Duration::from_secs(20),
    silence: Duration::from_secs(5),
    output_bytes: 1 << 20,
};

/// Ends well where that file, which says `exit 0`, can be read.
fn reading(file: &Path) -> String {
    format!(". {}; exit 7", file.display())
}

/// It came with Linux 5.13.
fn has_landlock() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(13))
}

fn ending_of(script: &str) -> Result<(), Ended> {
    let arguments = vec!["-c".to_owned(), script.to_owned()];
    let task = Task::Film { program: "/bin/bash".into(), arguments };
    let fence = Fence::of([BINARY.into(), fence::WORD.into()]);
    fence.run_within(&task, BOUNDS, &mut std::io::empty(), &mut |_| Ok(()))
}

#[test]
fn a_program_behind_the_fence_reaches_nothing_but_its_pipes() {
    if !Path::new("/bin/bash").exists() {
        eprintln!("skipped: bash is not installed");
        return;
    }
    let folder = TempDir::new("transcode-reach");
    let file = folder.path().join("written");
    ending_of("echo fine").unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "exit 0").unwrap();
    let (write, read) = (format!("echo x > {}", file.display()), reading(&secret));
    if has_landlock() {
        assert!(matches!(ending_of(&read), Err(Ended::Code(_))), "{read}");
    }
    for deed in ["exec 3<>/dev/tcp/127.0.0.1/9", "/bin/true; true", "(exit 0)", &write, "exit 3"] {
        assert!(matches!(ending_of(deed), Err(Ended::Code(_))), "{deed}");
    }
    assert!(!file.exists());
    assert!(matches!(ending_of("while :; do :; done"), Err(Ended::TooLong)));
    assert!(matches!(ending_of("while echo 0123456789; do :; done"), Err(Ended::TooMuch)));
}

/// Of `fcntl`; libc has no name for it here.
const F_SETSIG: i32 = 10;

/// A call by its number, from a script behind the fence: what `perl` says was wrong with it; 0: nothing.
fn said_by_system(call: &str) -> i32 {
    // It hands out no text that is written in the call itself.
    let texts = "my $room = \"\\0\" x 256; my $path = '/usr/bin/perl'; my $name = 'name';";
    let script = format!("{texts} print syscall({call}) < 0 ? $! + 0 : 0;");
    let task = Task::Film { program: "/usr/bin/perl".into(), arguments: vec!["-".to_owned()] };
    let mut said = Vec::new();
    let mut sink = |piece: &[u8]| {
        said.extend_from_slice(piece);
        Ok(())
    };
    let fence = Fence::of([BINARY.into(), fence::WORD.into()]);
    fence.run_within(&task, BOUNDS, &mut script.as_bytes(), &mut sink).unwrap();
    String::from_utf8(said).unwrap().parse().unwrap()
}

#[test]
fn a_program_behind_the_fence_asks_nothing_of_anybody_but_itself() {
    if !Path::new("/usr/bin/perl").exists() {
        eprintln!("skipped: perl is not installed");
        return;
    }
    let gateway = std::process::id();
    let (open, signal, limit) = (libc::SYS_openat, libc::SYS_tgkill, libc::SYS_prlimit64);
    let (see, set) = (libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity);
    let (file, process) = (libc::SYS_fcntl, libc::SYS_prctl);
    let read = libc::O_RDONLY;
    let here = format!("{open}, {}, $path", libc::AT_FDCWD);
    let files = libc::RLIMIT_NOFILE;
    let done = [
        format!("{here}, {read}, 0"),
        format!("{signal}, $$ + 0, $$ + 0, 0"),
        format!("{limit}, 0, {files}, 0, $room"),
        format!("{limit}, $$ + 0, {files}, 0, $room"),
        format!("{see}, 0, 128, $room"),
        format!("{file}, 0, {}, 0", libc::F_GETFL),
        format!("{file}, 0, {}, 10", libc::F_DUPFD_CLOEXEC),
        format!("{process}, {}, $name", libc::PR_SET_NAME),
    ];
    for call in done {
        assert_eq!(said_by_system(&call), 0, "{call}");
    }
    let refused = [
        format!("{here}, {}, 0", read | libc::O_TRUNC),
        format!("{here}, {}, 0", libc::O_WRONLY),
        format!("{here}, {}, 0", libc::O_RDWR),
        format!("{here}, {}, 0", read | libc::O_CREAT),
        format!("{signal}, {gateway}, {gateway}, 0"),
        format!("{limit}, {gateway}, {files}, 0, $room"),
        format!("{see}, {gateway}, 128, $room"),
        format!("{set}, {gateway}, 128, $room"),
        format!("{file}, 0, {}, {gateway}", libc::F_SETOWN),
        format!("{file}, 0, {F_SETSIG}, 0"),
        format!("{file}, 0, {}, {}", libc::F_SETLEASE, libc::F_RDLCK),
        format!("{file}, 0, {}, 1", libc::F_NOTIFY),
        format!("{file}, 0, {}, 4096", libc::F_SETPIPE_SZ),
        format!("{process}, {}, 0", libc::PR_SET_PDEATHSIG),
        format!("{process}, {}, 1", libc::PR_SET_DUMPABLE),
    ];
    for call in refused {
        assert_eq!(said_by_system(&call), libc::ENOSYS, "{call}");
    }
}

#[test]
fn a_program_behind_the_fence_has_none_of_what_the_gateway_had_open() {
    if !Path::new("/bin/bash").exists() {
        eprintln!("skipped: bash is not installed");
        return;
    }
    let folder = TempDir::new("transcode-inherits");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a key").unwrap();
    let before = format!("exec 9<{} && exec \"$@\"", secret.display());
    let launched = ["/bin/bash", "-c", &before, "before", BINARY, fence::WORD];
    let task = Task::Film { program: "/bin/bash".into(), arguments: vec!["-c".to_owned(), "read -r -u 9 word".to_owned()] };
    let ended = Fence::of(launched.map(Into::into)).run_within(&task, BOUNDS, &mut std::io::empty(), &mut |_| Ok(()));
    assert!(matches!(ended, Err(Ended::Code(_))), "{ended:?}");
}

#[test]
fn a_program_reads_nothing_that_lies_beside_it() {
    if !Path::new("/bin/bash").exists() {
        eprintln!("skipped: bash is not installed");
        return;
    }
    let folder = TempDir::new("transcode-beside");
    let (program, key) = (folder.path().join("program"), folder.path().join("data.key"));
    std::fs::copy("/bin/bash", &program).unwrap();
    std::fs::write(&key, "exit 0").unwrap();
    let ending_of = |script: String| {
        let task = Task::Film { program: program.clone(), arguments: vec!["-c".to_owned(), script] };
        let fence = Fence::of([BINARY.into(), fence::WORD.into()]);
        fence.run_within(&task, BOUNDS, &mut std::io::empty(), &mut |_| Ok(()))
    };
    ending_of("echo fine".to_owned()).unwrap();
    if has_landlock() {
        let ended = ending_of(reading(&key));
        assert!(matches!(ended, Err(Ended::Code(_))), "{ended:?}");
    }
}

/// core(5): a system that hands images of memory to a program of its own does so whatever the limit is,
/// unless it is one byte; one that writes files begins them at a whole page.
#[test]
fn a_program_that_breaks_leaves_no_image_of_its_memory_with_anybody() {
    let program = Path::new("/usr/bin/prlimit");
    if !program.exists() {
        eprintln!("skipped: prlimit (Debian: util-linux) is not installed");
        return;
    }
    let arguments = ["--core", "--noheadings", "--raw", "--output=SOFT,HARD"].map(str::to_owned).to_vec();
    let mut said = Vec::new();
    let fence = Fence::of([BINARY.into(), fence::WORD.into()]);
    let mut sink = |piece: &[u8]| {
        said.extend_from_slice(piece);
        Ok(())
    };
    fence.run_within(&Task::Film { program: program.into(), arguments }, BOUNDS, &mut std::io::empty(), &mut sink).unwrap();
    assert_eq!(String::from_utf8(said).unwrap().trim(), "1 1");
}

#[test]
fn a_film_whose_program_dies_is_held_with_the_reason() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("transcode-dies");
    let (source, program) = (portrait(folder.path()), folder.path().join("ffmpeg"));
    std::fs::write(&program, "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libx264'; echo ' A aac';; *) exit 3;; esac\n")
        .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = wrap(folder.path(), &source, program.to_str().unwrap());
    assert_eq!(line["error"]["code"], "wrap-failed", "{line}");
    assert!(line["error"]["detail"].as_str().unwrap().contains("code 3"), "{line}");
}

#[test]
fn a_program_that_cannot_be_loaded_is_none_and_the_film_waits_for_one() {
    if !has_ffmpeg() {
        return;
    }
    let folder = TempDir::new("transcode-unloaded");
    let (source, program) = (portrait(folder.path()), folder.path().join("ffmpeg"));
    for becomes in ["exec /nowhere/ffmpeg", "exec /etc/hostname"] {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libx264'; echo ' A aac';; *-filters*) ;; *) {becomes};; esac\n"
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let line = wrap(folder.path(), &source, program.to_str().unwrap());
        assert_eq!(line["error"]["code"], "needs-transcoding", "{becomes}: {line}");
        let detail = line["error"]["detail"].as_str().unwrap();
        assert!(detail.contains("a library of it"), "{becomes}: {line}");
    }
}
