//! What a behaviour test needs around the gateway: a folder, a hospital, a phone, an archive, an
//! issuer of tokens. Nothing here uses the library: these are strangers, who know the contract only.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

pub mod archive;
pub mod folder;
pub mod gateway;
pub mod hospital;
pub mod issuer;
pub mod phone;
pub mod photo;

use std::time::{Duration, Instant};

/// Polls until `found` says so; stops the test with `why` after `limit`.
pub fn wait_until<T>(limit: Duration, why: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < end, "{why}, not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True where a program answers on the path.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The folder of fixtures shared between projects, where it lies beside this one.
pub fn shared() -> Option<std::path::PathBuf> {
    let beside = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let shared = std::env::var_os("SHUTTERBRIDGE_SHARED").map_or(beside, std::path::PathBuf::from);
    shared.is_dir().then_some(shared)
}
