//! What is sent as what: every kind of file, to archives that take everything, little, or the wrong
//! things. One gateway sends each file to all of them at once.
//!
//! `cargo nextest run --test archive_table --no-capture` prints the table, and why each object is held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archive_peer;
mod dicom_fixture;
mod media_fixture;
mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use archive_peer::web::orthanc;
use archive_peer::{Takes, listed};
use dicom_dictionary_std::tags;
use dicom_fixture::{TempDir, validator_errors};
use dicom_object::OpenFileOptions;
use media_fixture::{files_below, pdf};
use serde_json::{Value, json};
use support::archive::Storescp;
use support::gateway::Gateway;
use support::phone::Phone;
use support::photo::Photo;
use support::{hospital, is_installed, wait_until};

const LATER: Duration = Duration::from_secs(110);

/// What dcmtk's archive is told to take: by its options, or by a list.
const STORESCP: [(&str, &[&str]); 3] = [("everything", &["+xa"]), ("jpeg first", &["+xy"]), ("implicit", &["+xi"])];
const LISTED: [(&str, Takes); 4] = [
    ("jpeg only", &[(PHOTO, &[JPEG]), (DERMOSCOPIC, &[JPEG])]),
    ("avc only", &[(PHOTO, &[JPEG, IMPLICIT]), (VIDEO, &[AVC])]),
    ("capture", &[(CAPTURE, &[JPEG]), (STILLS, &[JPEG])]),
    ("old", &[(CAPTURE, &[IMPLICIT])]),
];
const WEB: &str = "orthanc web";
const ORTHANC: &str = "orthanc";

const PHOTO: &str = "1.2.840.10008.5.1.4.1.1.77.1.4";
const DERMOSCOPIC: &str = "1.2.840.10008.5.1.4.1.1.77.1.7";
const VIDEO: &str = "1.2.840.10008.5.1.4.1.1.77.1.4.1";
const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
const STILLS: &str = "1.2.840.10008.5.1.4.1.1.7.4";
const DOCUMENT: &str = "1.2.840.10008.5.1.4.1.1.104.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const AVC: &str = "1.2.840.10008.1.2.4.102";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";

// ---------------------------------------------------------------- files

fn made(program: &str, args: &[&str], into: &Path) -> Vec<u8> {
    let output = Command::new(program).args(args).arg(into).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(into).unwrap()
}

/// Soft tones: no two columns alike.
fn scene() -> image::RgbImage {
    let tone = |n: u32| u8::try_from(n).unwrap();
    image::RgbImage::from_fn(320, 240, |x, y| image::Rgb([tone(x / 2 + 40), tone(y), tone(200 - x / 4 - y / 4)]))
}

const HEVC: [&str; 7] = ["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=none:info=0", "-pix_fmt"];

fn film(folder: &Path, encoder: &[&str], rate: u32) -> Vec<u8> {
    let source = format!("testsrc2=size=320x240:rate={rate}:duration=1");
    let input = ["-v", "error", "-y", "-f", "lavfi", "-i", &source, "-bsf:v", "filter_units=remove_types=6"];
    made("ffmpeg", &[&input[..], encoder].concat(), &folder.join("film.mp4"))
}

/// Name, bytes, and how it was seen.
fn files(folder: &Path) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (ppm, png) = (folder.join("scene.ppm"), folder.join("scene.png"));
    let scene = scene();
    std::fs::write(&ppm, [&b"P6 320 240 255\n"[..], scene.as_raw().as_slice()].concat()).unwrap();
    scene.save(&png).unwrap();
    let (ppm, png) = (ppm.to_str().unwrap(), png.to_str().unwrap());
    let baseline = Photo::draw(320, 240).bytes().to_vec();
    let orientation = [1, 0x12, 0, 3, 0, 0, 0, 1, 0, 1];
    let at = memchr::memmem::find(&baseline, &orientation).unwrap() + orientation.len() - 1;
    let mut rotated = baseline.clone();
    rotated[at] = 6;
    let jpeg = |how: &str| {
        let out = folder.join("made.jpg");
        let done = Command::new("cjpeg").args([how, "-outfile"]).arg(&out).arg(ppm).status().unwrap();
        assert!(done.success());
        std::fs::read(out).unwrap()
    };
    let high = ["-c:v", "libx264", "-profile:v", "high", "-pix_fmt", "yuv420p", "-level"];
    vec![
        ("baseline", baseline.clone(), "overview"),
        ("progressive", jpeg("-progressive"), "overview"),
        ("rotated", rotated, "overview"),
        ("grey", jpeg("-grayscale"), "overview"),
        ("png", std::fs::read(png).unwrap(), "overview"),
        ("heic", made("heif-enc", &[png, "-o"], &folder.join("made.heic")), "overview"),
        ("dermoscopic", baseline, "dermoscopic"),
        ("film .102", film(folder, &[&high[..], &["4.1"]].concat(), 30), "overview"),
        ("film .104", film(folder, &[&high[..], &["4.2"]].concat(), 60), "overview"),
        ("film .107", film(folder, &[&HEVC[..], &["yuv420p"]].concat(), 30), "overview"),
        ("film 10 bit", film(folder, &[&HEVC[..], &["yuv420p10le"]].concat(), 30), "overview"),
        ("pdf", pdf(false), "consent-form"),
    ]
}

// ---------------------------------------------------------------- archives

struct Archives {
    kept: Vec<(&'static str, TempDir)>,
    sections: String,
    running: Vec<Box<dyn std::any::Any>>,
}

impl Archives {
    fn none() -> Self {
        Self { kept: Vec::new(), sections: String::new(), running: Vec::new() }
    }

    fn open() -> Option<Self> {
        let mut archives = Self::none();
        for (name, args) in STORESCP {
            archives.storescp(name, args);
        }
        for (name, takes) in LISTED {
            archives.listed(name, takes);
        }
        for name in [ORTHANC, WEB] {
            let kept = TempDir::new("table-orthanc");
            let (orthanc, dicom) = orthanc(kept.path(), ",\"StorageCompression\":false")?;
            let section = if name == WEB {
                format!("kind = \"stow\"\nurl = \"http://{}/dicom-web\"", orthanc.address)
            } else {
                format!("address = \"127.0.0.1:{dicom}\"\ncalled_ae = \"PACS\"")
            };
            writeln!(archives.sections, "[[archive]]\nname = \"{name}\"\n{section}").unwrap();
            archives.running.push(Box::new(orthanc));
            archives.kept.push((name, kept));
        }
        Some(archives)
    }

    fn listed(&mut self, name: &'static str, takes: Takes) {
        let folder = TempDir::new("table-cfg");
        let file = listed(folder.path(), takes);
        self.storescp(name, &["-xf", file.to_str().unwrap(), "ALL"]);
        self.running.push(Box::new(folder));
    }

    fn storescp(&mut self, name: &'static str, args: &[&str]) {
        let kept = TempDir::new("table-storescp");
        let archive = Storescp::taking(Some(kept.path()), args);
        let port = archive.port;
        writeln!(self.sections, "[[archive]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\ncalled_ae = \"PACS\"").unwrap();
        self.running.push(Box::new(archive));
        self.kept.push((name, kept));
    }

    /// The one object of a patient that an archive has: its class and its syntax.
    fn object(&self, archive: &str, patient: &str) -> String {
        let (_, folder) = self.kept.iter().find(|(name, _)| *name == archive).unwrap();
        let mut found = Vec::new();
        for file in files_below(folder.path()) {
            let open = OpenFileOptions::new().read_until(tags::PIXEL_DATA).open_file(&file);
            let Ok(object) = open else { continue };
            if object.element(tags::PATIENT_ID).unwrap().to_str().unwrap().trim() == patient {
                let word = |uid: &str| uid.trim_end_matches('\0').to_owned();
                let (class, syntax) = (word(&object.meta().media_storage_sop_class_uid), word(object.meta().transfer_syntax()));
                found.push((class, syntax, file));
            }
        }
        let [(class, syntax, file)] = found.as_slice() else { panic!("{archive} has {} of {patient}", found.len()) };
        // The validator knows neither HEVC nor the end of Frame of Reference in what a dermoscope sees.
        let is_known = |error: &String| !["FrameOfReference", "PositionReference"].iter().any(|word| error.contains(word));
        if !syntax.ends_with(".107") {
            let errors: Vec<_> = validator_errors(file).into_iter().filter(is_known).collect();
            assert!(errors.is_empty(), "{archive} {patient}: {errors:?}");
        }
        format!("{} {}", short(class), short(syntax))
    }
}

fn short(uid: &str) -> &str {
    match uid {
        PHOTO => "photo",
        DERMOSCOPIC => "dermo",
        VIDEO => "video",
        CAPTURE => "capture",
        STILLS => "stills",
        DOCUMENT => "pdf",
        EXPLICIT => "explicit",
        IMPLICIT => "implicit",
        compressed => compressed.strip_prefix("1.2.840.10008.1.2.4").unwrap_or(compressed),
    }
}

// ---------------------------------------------------------------- the table

/// Uploads one file of a patient of its own; where to ask about it.
fn send(gateway: &Gateway, patient: &str, bytes: &[u8], view: &str) -> String {
    hospital::tell(gateway.mllp, &[hospital::admit(patient)]);
    let hand = json!({"code": "85562004", "scheme": "SCT", "meaning": "Hand"});
    let claim = json!({"patient": {"id": patient, "issuer": "HOSP"}, "department": "derm", "view": view, "body_site": hand, "laterality": "L"});
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let answer = phone.upload(patient, &claim, &[bytes]);
    assert_eq!(answer.status, 201, "{patient}: {}", String::from_utf8_lossy(&answer.body));
    format!("/api/v1/captures/{}", answer.json()["id"].as_str().unwrap())
}

/// How it went on the way to one archive.
fn end(phone: &mut Phone, path: &str, archive: &str) -> Value {
    wait_until(LATER, &format!("{path} is at {archive}, or held"), || {
        let capture = phone.call("GET", path, "", &[]).json();
        let leg = capture["items"][0]["legs"].as_array().unwrap().iter().find(|leg| leg["archive"] == archive)?.clone();
        (leg["stage"] == "forwarded" || leg["stage"] == "held").then_some(leg)
    })
}

/// Down the ladder: as it is; decoded; as a Secondary Capture; that decoded; held. A film: as it is; stills
/// of it, while it is held; held alone. A document has no other form.
const TABLE: &str = "
              everything        jpeg first        implicit          jpeg only         avc only          capture           old               orthanc           orthanc web
baseline      photo .50         photo .50         photo implicit    photo .50         photo .50         capture .50       capture implicit  photo .50         photo .50
progressive   photo .50         photo .50         photo implicit    photo .50         photo .50         capture .50       capture implicit  photo .50         photo .50
rotated       photo .50         photo .50         photo implicit    photo .50         photo .50         capture .50       capture implicit  photo .50         photo .50
grey          photo .50         photo .50         photo implicit    photo .50         photo .50         capture .50       capture implicit  photo .50         photo .50
png           photo explicit    photo explicit    photo implicit    held              photo implicit    held              capture implicit  photo explicit    photo explicit
heic          photo .50         photo .50         photo implicit    photo .50         photo .50         capture .50       capture implicit  photo .50         photo .50
dermoscopic   dermo .50         dermo .50         dermo implicit    dermo .50         held              capture .50       capture implicit  dermo .50         dermo .50
film .102     video .102        stills .50        held              held              video .102        stills .50        held              video .102        video .102
film .104     video .104        stills .50        held              held              held              stills .50        held              video .104        video .104
film .107     video .107        stills .50        held              held              held              stills .50        held              video .107        video .107
film 10 bit   video .102        stills .50        held              held              video .102        stills .50        held              video .102        video .102
pdf           pdf explicit      pdf explicit      pdf implicit      held              held              held              held              pdf explicit      pdf explicit
";

/// Which file, at which archive: what the person who has to enable something there reads.
const REASONS: [(&str, &str, &str); 4] = [
    (
        "png",
        "jpeg only",
        "takes SOP class 1.2.840.10008.5.1.4.1.1.77.1.4 but not in transfer syntax 1.2.840.10008.1.2.1; enable it there",
    ),
    ("dermoscopic", "avc only", "does not take SOP class 1.2.840.10008.5.1.4.1.1.77.1.7"),
    (
        "film .104",
        "avc only",
        "takes SOP class 1.2.840.10008.5.1.4.1.1.77.1.4.1 but not in transfer syntax 1.2.840.10008.1.2.4.104; enable it there",
    ),
    (
        "film .102",
        "implicit",
        "does not take SOP class 1.2.840.10008.5.1.4.1.1.77.1.4.1 in transfer syntax 1.2.840.10008.1.2.4.102",
    ),
];

#[test]
fn every_kind_of_file_arrives_in_the_best_form_that_the_archive_takes() {
    let programs = ["storescp", "Orthanc", "ffmpeg", "heif-enc", "cjpeg", "dciodvfy"];
    if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
        return eprintln!("skipped: {missing} is not installed");
    }
    let folder = TempDir::new("table");
    let Some(archives) = Archives::open() else { return };
    let gateway = Gateway::start_for(env!("CARGO_BIN_EXE_shutterbridge"), &archives.sections);
    let mut phone = Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let mut sent = Vec::new();
    for (n, (name, bytes, view)) in files(folder.path()).into_iter().enumerate() {
        let patient = format!("{}", 5_000 + n);
        let path = send(&gateway, &patient, &bytes, view);
        sent.push((name, patient, path));
    }
    let mut table = format!("{:<12}", "");
    archives.kept.iter().for_each(|(archive, _)| write!(table, "  {archive:<16}").unwrap());
    let mut reasons = String::new();
    for (name, patient, path) in &sent {
        write!(table, "\n{name:<12}").unwrap();
        for (archive, _) in &archives.kept {
            let done = end(&mut phone, path, archive);
            let has_stills = done["failure"]["code"] == "archive-has-stills";
            let cell = if done["stage"] == "held" && !has_stills {
                assert_eq!(done["failure"]["code"], "archive-refused-class", "{name} at {archive}: {done}");
                writeln!(reasons, "{name} at {archive}: {}", done["failure"]["detail"].as_str().unwrap()).unwrap();
                "held".to_owned()
            } else {
                archives.object(archive, patient)
            };
            write!(table, "  {cell:<16}").unwrap();
        }
    }
    let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    println!("{table}\n{reasons}");
    assert!(table.trim() == TABLE.trim(), "the table is another one");
    for (name, archive, says) in REASONS {
        let about = format!("{name} at {archive}: ");
        let told = reasons.lines().find_map(|line| line.strip_prefix(&about)).unwrap();
        assert!(told.contains(says), "{about}{told}");
    }
}

#[test]
fn a_film_in_hevc_is_coded_anew_where_no_archive_is_offered_hevc() {
    if let Some(missing) = ["storescp", "ffmpeg"].iter().find(|program| !is_installed(program)) {
        return eprintln!("skipped: {missing} is not installed");
    }
    let folder = TempDir::new("table-hevc");
    let mut archives = Archives::none();
    archives.listed("avc only", &[(PHOTO, &[JPEG, IMPLICIT]), (VIDEO, &[AVC])]);
    let offered = format!("syntaxes = [\"{JPEG}\", \"{AVC}\", \"{IMPLICIT}\"]\n");
    let plain = archives.sections.clone();
    let mut gateway = Gateway::start_for(env!("CARGO_BIN_EXE_shutterbridge"), &plain);
    let path = send(&gateway, "5000", &film(folder.path(), &[&HEVC[..], &["yuv420p"]].concat(), 30), "overview");
    let phone = |gateway: &Gateway| Phone::connect(gateway.https, &gateway.issuer.token(&json!({})));
    let held = end(&mut phone(&gateway), &path, "avc only");
    let says = held["failure"]["detail"].as_str().unwrap().to_owned();
    assert!(held["stage"] == "held" && says.contains("leave it out in `syntaxes`"), "{held}");
    // The administrator does as it says, and a person has it tried again.
    let file = gateway.folder.path().join("shutterbridge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&plain, &format!("{plain}{offered}"))).unwrap();
    gateway.kill_and_restart();
    let retry = [&br#"{"reason": "HEVC is left out now"}"#[..]];
    let answer = phone(&gateway).call("POST", &format!("{path}/retry"), "Content-Type: application/json\r\n", &retry);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    wait_until(LATER, "it is coded anew and sent", || {
        (phone(&gateway).call("GET", &path, "", &[]).json()["stage"] == "forwarded").then_some(())
    });
    assert_eq!(archives.object("avc only", "5000"), "video .102");
}
