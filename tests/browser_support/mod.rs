//! Chromium, driven as a person would.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Chromium by the `WebDriver` protocol (W3C).
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    pub folder: PathBuf,
}

impl Browser {
    pub fn start() -> Option<Self> {
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
        // A film plays without a finger on it.
        let arguments = [
            "--headless=new",
            "--autoplay-policy=no-user-gesture-required",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=420,900",
            &profile,
        ];
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

    pub fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    pub fn find(&self, css: &str) -> String {
        let found = self.call("POST", "/element", &json!({"using": "css selector", "value": css}));
        let element = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        element.unwrap_or_else(|| panic!("no {css}: {found}")).to_owned()
    }

    pub fn click(&self, css: &str) {
        self.call("POST", &format!("/element/{}/click", self.find(css)), &json!({}));
    }

    pub fn write(&self, css: &str, text: &str) {
        self.call("POST", &format!("/element/{}/value", self.find(css)), &json!({ "text": text }));
    }

    /// Waits for a page that says so: a click returns before the next page is there.
    pub fn sees(&self, words: &str) {
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

    pub fn value(&self, css: &str) -> String {
        let element = self.find(css);
        let value = self.call("GET", &format!("/element/{element}/property/value"), &json!({}));
        value.as_str().unwrap_or_else(|| panic!("no value of {css}: {value}")).to_owned()
    }

    /// What a script of the page gives, which calls its last argument with it.
    pub fn told_by(&self, script: &str) -> Value {
        self.call("POST", "/execute/async", &json!({"script": script, "args": []}))
    }

    pub fn complaints(&self) -> Vec<Value> {
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
