//! The form in a real browser, where the machine has one; skipped where it has not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod browser_support;
mod http_support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use browser_support::Browser;
use http_support::{Gateway, photo};
use shutterbridge::http::Limits;
use shutterbridge::pipeline::{Acceptor, Desk};
use shutterbridge::web::{DemoPerson, DemoSignIn, Department, Options, Web};

fn gateway() -> Gateway {
    let token: Arc<Mutex<Option<String>>> = Arc::default();
    let given = Arc::clone(&token);
    let gateway = Gateway::with(Limits::default(), move |parts| {
        let options = Options {
            institution: "Demo General Hospital".to_owned(),
            departments: vec![
                Department { id: "derm".into(), name: "Dermatology".into() },
                Department { id: "ed".into(), name: "Emergency".into() },
            ],
            demo_sign_in: Some(DemoSignIn {
                persons: vec![DemoPerson { name: "Nina Nurse".into(), role: "files photos".into() }],
                token_of: Box::new(move |_| given.lock().unwrap().clone()),
            }),
        };
        let (acceptor, desk) = (Arc::clone(&parts.fake) as Arc<dyn Acceptor>, Arc::clone(&parts.fake) as Arc<dyn Desk>);
        Some(Arc::new(Web::new(options, acceptor, desk, Arc::clone(&parts.verifier), parts.clock.clone())))
    });
    // The demo's clock stands in the future of this machine's; only the gateway reads it.
    *token.lock().unwrap() = Some(gateway.writer());
    gateway
}

fn photo_file(folder: &Path, name: &str, bytes: usize) -> String {
    let path = folder.join(name);
    std::fs::write(&path, photo(bytes)).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_nurse_files_two_photos_without_a_script() {
    let Some(browser) = Browser::start() else { return };
    let gateway = gateway();
    browser.open(&format!("https://localhost:{}/", gateway.addr.port()));
    browser.click("button[name=person]");
    browser.sees("N. Nurse");

    browser.write("#number", "4711");
    browser.write("#description", "day 3");
    browser.click("#department option[value=derm]");
    browser.write("#body_site", "Hand");
    browser.click("#side option[value=L]");
    browser.click("form[action='/send'] button");
    browser.sees("Nothing was filed");
    browser.sees("at least one photo");
    assert_eq!((browser.value("#number"), browser.value("#description")), ("4711".to_owned(), "day 3".to_owned()));
    assert_eq!((browser.value("#department"), browser.value("#body_site")), ("derm".to_owned(), "Hand".to_owned()));

    let (one, two) = (photo_file(&browser.folder, "a.jpg", 3_000_000), photo_file(&browser.folder, "b.jpg", 800_000));
    browser.write("#photos", &format!("{one}\n{two}"));
    browser.click("form[action='/send'] button");
    browser.sees("2 photos: accepted");
    browser.sees("Found, and removed");
    let (_, files, claim) = gateway.fake.filed().remove(0);
    assert_eq!(files, [photo(3_000_000), photo(800_000)]);
    assert_eq!(claim["barcode"], "4711");

    browser.click("a.button[href^='/captures/']");
    browser.sees("2 photos: accepted");
    browser.click("a.button[href='/']");
    browser.sees("Filed in this session");
    assert_eq!(browser.value("#department"), "derm", "the department was not offered again");
    browser.click("form[action='/sign-out'] button");
    browser.sees("Sign in with a token");
    assert_eq!(gateway.fake.filed().len(), 1);
    let complaints = browser.complaints();
    assert!(
        complaints.iter().all(|c| c["level"] != "SEVERE" || c["message"].as_str().unwrap().contains("422")),
        "{complaints:?}"
    );
}
