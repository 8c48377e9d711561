//! Films on the test's own line: ffmpeg, and somebody in the darkroom while time passes.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use shutterbridge::capture::CaptureId;
use shutterbridge::pipeline::Act;

use super::{House, World, claim};

/// Until a film is coded anew beside everything else that a machine does.
const LATER: Duration = Duration::from_secs(60);

fn ffmpeg() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("ffmpeg")).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: ffmpeg is not installed");
    }
    found
}

/// A world that can code films anew; `None` where there is no ffmpeg.
pub fn world(name: &str) -> Option<World> {
    let mut world = World::new(name);
    world.ffmpeg = ffmpeg()?;
    Some(world)
}

pub fn claim_of_hand() -> Value {
    let mut claim = claim("4711");
    claim["body_site"] = json!({"code": "85562004", "scheme": "SCT", "meaning": "Hand"});
    claim["laterality"] = json!("L");
    claim
}

pub fn send(house: &House, film: &[u8]) -> CaptureId {
    house.send(&claim_of_hand(), None, &[film]).unwrap().record.id()
}

/// Whoever is in the darkroom leaves it, also where the test fails.
struct Leaving<'h>(&'h House);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.line.stop();
    }
}

/// A person asks once; then time passes, with somebody in the darkroom, until it is `done`.
pub fn develop(house: &House, id: CaptureId, done: impl Fn() -> bool) {
    house.settle();
    let _nothing_is_held = house.decide(id, Act::Retry);
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let _leaving = Leaving(house);
        scope.spawn(|| house.line.run_darkroom());
        while !done() {
            assert!(began.elapsed() < LATER, "it is not coded anew, and not held");
            std::thread::sleep(Duration::from_millis(20));
            house.clock.advance_ms(1_000);
            house.settle();
        }
    });
}
