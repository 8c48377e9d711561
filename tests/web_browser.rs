//! The form in a real browser, where the machine has one; skipped where it has not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod http_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_support::{Gateway, photo};
use serde_json::{Value, json};
use shutterbridge::http::Limits;
use shutterbridge::pipeline::{Acceptor, Desk};
use shutterbridge::web::{DemoPerson, DemoSignIn, Department, Options, Web};

/// Chromium by the `WebDriver` protocol (W3C).
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    folder: PathBuf,
}

impl Browser {
    fn start() -> Option<Self> {
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut lines = BufReader::new(driver.stdout.take()?).lines().map_while(Result::ok);
        let started = lines.find(|l| l.contains("started successfully on port"))?;
        // It says more later, and would end at a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        let port = started.trim_end_matches('.').rsplit(' ').next()?.parse().ok()?;
        let folder = std::env::temp_dir().join(format!("shutterbridge-browser-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut browser = Self { driver, port, session: String::new(), folder };
        let profile = format!("--user-data-dir={}", browser.folder.join("profile").display());
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=420,900", &profile];
        let wanted = json!({"capabilities": {"alwaysMatch": {"acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let answer = browser.call("POST", "", &wanted);
        browser.session = format!("/{}", answer["sessionId"].as_str()?);
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let text = if method == "GET" { String::new() } else { body.to_string() };
        let (session, length) = (&self.session, text.len());
        write!(stream, "{method} /session{session}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{text}").unwrap();
        let mut answer = Vec::new();
        let head = loop {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "chromedriver ended");
            answer.extend_from_slice(&piece[..n]);
            if let Some(at) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
        let length: usize = text.split("content-length:").nth(1).unwrap().split("\r\n").next().unwrap().trim().parse().unwrap();
        let mut rest = vec![0; head + length - answer.len()];
        stream.read_exact(&mut rest).unwrap();
        answer.extend(rest);
        let value: Value = serde_json::from_slice(&answer[head..]).unwrap();
        value["value"].clone()
    }

    fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    fn find(&self, css: &str) -> String {
        let found = self.call("POST", "/element", &json!({"using": "css selector", "value": css}));
        let element = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        element.unwrap_or_else(|| panic!("no {css}: {found}")).to_owned()
    }

    fn click(&self, css: &str) {
        self.call("POST", &format!("/element/{}/click", self.find(css)), &json!({}));
    }

    fn write(&self, css: &str, text: &str) {
        self.call("POST", &format!("/element/{}/value", self.find(css)), &json!({ "text": text }));
    }

    /// Waits for a page that says so: a click returns before the next page is there.
    fn sees(&self, words: &str) {
        let asked = Instant::now();
        let mut last = json!(null);
        while asked.elapsed() < Duration::from_secs(30) {
            // An element of the page before may be gone between the two calls.
            let body = self.call("POST", "/element", &json!({"using": "css selector", "value": "body"}));
            let body = body.as_object().and_then(|o| o.values().next()).and_then(Value::as_str).unwrap_or_default().to_owned();
            last = self.call("GET", &format!("/element/{body}/text"), &json!({}));
            if last.as_str().is_some_and(|text| text.contains(words)) {
                return;
            }
        }
        panic!("the browser never showed {words:?}: {last}");
    }

    fn value(&self, css: &str) -> String {
        let element = self.find(css);
        let value = self.call("GET", &format!("/element/{element}/property/value"), &json!({}));
        value.as_str().unwrap_or_else(|| panic!("no value of {css}: {value}")).to_owned()
    }

    fn complaints(&self) -> Vec<Value> {
        self.call("POST", "/se/log", &json!({"type": "browser"})).as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", "", &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

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
