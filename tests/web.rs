//! What a person at a PC or with a phone's browser sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod http_support;

use std::sync::Arc;

use http_support::{Answer, Gateway, Parts, labelled_part, photo};
use shutterbridge::http::{Limits, Pages};
use shutterbridge::identity::Scope;
use shutterbridge::pipeline::{Acceptor, Desk, Refusal, RefusalCode};
use shutterbridge::web::{DemoPerson, DemoSignIn, Department, Options, Web};

fn pages(parts: &Parts, demo: Option<DemoSignIn>) -> Arc<dyn Pages> {
    let department = |id: &str, name: &str| Department { id: id.into(), name: name.into() };
    let options = Options {
        institution: "Demo <General> Hospital".to_owned(),
        departments: vec![department("derm", "Dermatology"), department("ed", "Emergency \"A&E\"")],
        demo_sign_in: demo,
    };
    let fake = Arc::clone(&parts.fake);
    Arc::new(Web::new(
        options,
        Arc::clone(&fake) as Arc<dyn Acceptor>,
        fake as Arc<dyn Desk>,
        Arc::clone(&parts.verifier),
        parts.clock.clone(),
    ))
}

/// A browser: keeps its cookie, says where its requests come from.
struct Browser<'g> {
    gateway: &'g Gateway,
    cookie: String,
    site: &'static str,
}

impl<'g> Browser<'g> {
    fn new(gateway: &'g Gateway) -> Self {
        Self { gateway, cookie: String::new(), site: "same-origin" }
    }

    fn signed_in(gateway: &'g Gateway) -> Self {
        let mut browser = Self::new(gateway);
        let answer = browser.sign_in(&gateway.writer());
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
        browser
    }

    fn request(&mut self, line: &str, content_type: &str, body: &[u8]) -> Answer {
        let (cookie, site, length) = (&self.cookie, self.site, body.len());
        let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: theme=dark; {cookie}\r\n") };
        let body_head = if line.starts_with("POST") {
            format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n")
        } else {
            String::new()
        };
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: {site}\r\n{cookie}{body_head}\r\n");
        let answer = self.gateway.ask([head.as_bytes(), body].concat());
        if let Some(set) = answer.header("set-cookie") {
            set.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    fn get(&mut self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), "", b"")
    }

    fn post(&mut self, path: &str, form: &str) -> Answer {
        self.request(&format!("POST {path}"), "application/x-www-form-urlencoded", form.as_bytes())
    }

    fn sign_in(&mut self, token: &str) -> Answer {
        self.post("/sign-in", &format!("token=%20{token}%0D%0A"))
    }

    fn send(&mut self, fields: &[(&str, &str)], files: &[&[u8]]) -> Answer {
        let mut parts: Vec<Vec<u8>> = fields.iter().map(|(n, v)| http_support::part(n, v)).collect();
        let empty = "Content-Disposition: form-data; name=\"file\"; filename=\"\"\r\nContent-Type: application/octet-stream";
        parts.push(labelled_part(empty, ""));
        parts.extend(files.iter().map(|f| {
            labelled_part("Content-Disposition: form-data; name=\"file\"; filename=\"IMG_1.JPG\"\r\nContent-Type: image/jpeg", f)
        }));
        self.request("POST /send", "multipart/form-data; boundary=XX", &http_support::body(&parts))
    }

    /// The hidden fields of the form as it was shown.
    fn hidden(&mut self) -> (String, String) {
        let page = self.get("/").text();
        (hidden(&page, "csrf"), hidden(&page, "key"))
    }
}

fn hidden(page: &str, name: &str) -> String {
    // The form's own, not the sign-out button's.
    let form = page.split("action=\"/send\"").nth(1).expect("no form");
    let after = form.split(&format!("name=\"{name}\" value=\"")).nth(1).expect("no hidden field");
    after.split('"').next().unwrap().to_owned()
}

fn start() -> Gateway {
    Gateway::with(Limits::default(), |parts| Some(pages(parts, None)))
}

#[test]
fn a_person_signs_in_files_a_photo_and_sees_the_receipt() {
    let gateway = start();
    let mut browser = Browser::new(&gateway);
    let front = browser.get("/");
    assert_eq!(front.status, 200);
    assert!(front.text().contains("Sign in") && !front.text().contains("action=\"/send\""));
    browser.sign_in(&gateway.writer());
    let form = browser.get("/").text();
    assert!(
        form.contains("N. Nurse")
            && form.contains("Demo &lt;General&gt; Hospital")
            && form.contains("Emergency &quot;A&amp;E&quot;"),
        "{form}"
    );
    let (csrf, key) = (hidden(&form, "csrf"), hidden(&form, "key"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("kind", "patient"),
        ("number", "4711"),
        ("birth_date", "1970-03-01"),
        ("department", "derm"),
        ("body_site", "hand"),
        ("side", "L"),
        ("description", "day 3"),
    ];
    let sent = browser.send(&fields, &[&photo(500_000), &photo(70_000)]);
    assert_eq!(sent.status, 303, "{}", sent.text());
    let receipt = sent.header("location").unwrap().to_owned();
    assert!(!receipt.contains("4711"), "patient data in an address");
    let (record, files, claim) = gateway.fake.filed().remove(0);
    assert_eq!(files, [photo(500_000), photo(70_000)]);
    assert_eq!(claim["patient"]["id"], "4711");
    assert_eq!(claim["body_site"]["meaning"], "Hand");
    assert_eq!(claim["laterality"], "L");
    assert_eq!(record.acceptance.operator.subject, "nurse");
    let page = browser.get(&receipt);
    assert_eq!(page.status, 200);
    for words in ["2 photos", "Safe.", "Found, and removed", "500 kB", "2.25.", "Look again"] {
        assert!(page.text().contains(words), "no {words:?} in {}", page.text());
    }
    assert!(!page.text().contains("4711"));
    assert!(browser.get("/").text().contains(&receipt), "the form does not link to what was filed");

    let twice = browser.send(&fields, &[&photo(500_000), &photo(70_000)]);
    assert_eq!((twice.status, twice.header("location")), (303, Some(receipt.as_str())));
    assert_eq!(gateway.fake.filed().len(), 1, "a double click filed twice");
}

#[test]
fn what_is_wrong_is_said_at_its_field_and_what_was_written_stays() {
    let gateway = start();
    let mut browser = Browser::signed_in(&gateway);
    let (csrf, key) = browser.hidden();
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("kind", "visit"),
        ("number", ""),
        ("birth_date", "01.03.1970"),
        ("department", "ed"),
        ("body_site", "Foot"),
        ("side", "R"),
        ("description", "\"><script>alert(1)</script>"),
    ];
    let answer = browser.send(&fields, &[]);
    assert_eq!(answer.status, 422);
    let page = answer.text();
    for link in ["#number", "#birth_date", "#photo"] {
        assert!(page.contains(&format!("<a href=\"{link}\">")), "no link to {link} in {page}");
    }
    for kept in [
        "<option value=\"visit\" selected>",
        "<option value=\"ed\" selected>",
        "list=\"sites\" value=\"Foot\"",
        "<option value=\"R\" selected>",
        "value=\"01.03.1970\"",
        "value=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\"",
        "id=\"number-wrong\"",
        "aria-invalid=\"true\"",
        "role=\"alert\"",
        "<title>Error: ",
    ] {
        assert!(page.contains(kept), "no {kept} in {page}");
    }
    assert!(!page.contains("<script"));
    assert_ne!(hidden(&page, "key"), key);

    let good = |browser: &mut Browser<'_>, files: &[&[u8]]| {
        let (csrf, key) = browser.hidden();
        browser.send(&[("csrf", &csrf), ("key", &key), ("kind", "barcode"), ("number", "4711"), ("department", "derm")], files)
    };
    let gif = good(&mut browser, &[b"GIF89a"]);
    assert_eq!(gif.status, 415);
    assert!(gif.text().contains("JPG, PNG, HEIC, MP4, MOV") && gif.text().contains("value=\"4711\""), "{}", gif.text());
    for (code, status, words) in [
        (RefusalCode::SpoolFull, 507, "tell your IT department"),
        (RefusalCode::UnknownPatient, 422, "scan the wristband again"),
        (RefusalCode::Conflict, 409, "filed only once"),
    ] {
        gateway.fake.refuse_next(Refusal::new(code, "So it is."));
        let answer = good(&mut browser, &[b"x"]);
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(words) && answer.text().contains("So it is."), "{}", answer.text());
    }
    assert!(gateway.fake.filed().is_empty());
    assert_eq!(good(&mut browser, &[b"x"]).status, 303);
}

#[test]
fn nobody_files_in_the_name_of_another() {
    let gateway = start();
    let mut browser = Browser::signed_in(&gateway);
    let (csrf, key) = browser.hidden();
    let form = |csrf: &str, browser: &mut Browser<'_>| {
        browser.send(&[("csrf", csrf), ("key", &key), ("number", "4711"), ("department", "derm")], &[b"x"])
    };
    assert_eq!(form("", &mut browser).status, 403);
    assert_eq!(form(&"0".repeat(32), &mut browser).status, 403);
    for site in ["cross-site", "same-site", "none"] {
        browser.site = site;
        assert_eq!(form(&csrf, &mut browser).status, 403, "{site}");
        assert_eq!(browser.post("/sign-out", &format!("csrf={csrf}")).status, 403, "{site}");
    }
    let token = gateway.writer();
    let elsewhere = |origin: &str| {
        let body = format!("token={token}");
        gateway
            .ask(format!(
                "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .status
    };
    assert_eq!(elsewhere("https://evil.example"), 403);
    assert_eq!(elsewhere("http://localhost"), 403);
    assert_eq!(elsewhere("null"), 403);
    assert_eq!(elsewhere("https://localhost"), 303);
    browser.site = "same-origin";
    let stolen = std::mem::take(&mut browser.cookie);
    assert_eq!(form(&csrf, &mut browser).status, 401);
    browser.cookie = stolen;
    assert!(gateway.fake.filed().is_empty());
    assert_eq!(form(&csrf, &mut browser).status, 303);
}

#[test]
fn a_receipt_is_for_its_own_person() {
    let gateway = start();
    let mut nurse = Browser::signed_in(&gateway);
    let (csrf, key) = nurse.hidden();
    let sent = nurse.send(&[("csrf", &csrf), ("key", &key), ("number", "1"), ("department", "derm")], &[b"x"]);
    let receipt = sent.header("location").unwrap();
    let mut other = Browser::new(&gateway);
    other.sign_in(&gateway.token_of("other", &[Scope::CaptureWrite]));
    let (foreign, absent) = (other.get(receipt), other.get("/captures/01J00000000000000000000000"));
    assert_eq!((foreign.status, absent.status), (404, 404));
    assert_eq!(other.get("/captures/..%2f").status, 404);
    assert_eq!(Browser::new(&gateway).get(receipt).header("location"), Some("/"));
}

#[test]
fn a_session_ends_by_itself_and_by_its_button() {
    let gateway = start();
    let is_in = |browser: &mut Browser<'_>| browser.get("/").text().contains("action=\"/send\"");
    let mut browser = Browser::signed_in(&gateway);
    for _ in 0..3 {
        gateway.clock.advance_ms(9 * 60_000);
        assert!(is_in(&mut browser), "ended although it was used");
    }
    gateway.clock.advance_ms(10 * 60_000);
    assert!(!is_in(&mut browser), "an idle session goes on");

    let mut browser = Browser::signed_in(&gateway);
    for _ in 0..7 {
        gateway.clock.advance_ms(9 * 60_000);
        is_in(&mut browser);
    }
    assert!(!is_in(&mut browser), "a session outlives its token");

    let mut browser = Browser::signed_in(&gateway);
    let cookie = browser.cookie.clone();
    let (csrf, _) = browser.hidden();
    let out = browser.post("/sign-out", &format!("csrf={csrf}"));
    assert_eq!(out.status, 303);
    assert!(out.header("clear-site-data").unwrap().contains("cache"));
    browser.cookie = cookie;
    assert!(!is_in(&mut browser), "the cookie opens a session that was closed");
}

#[test]
fn only_a_token_that_may_file_photos_signs_in() {
    let gateway = start();
    for (token, status, words) in [
        ("x".to_owned(), 401, "not valid"),
        (String::new(), 401, "not valid"),
        (gateway.token(&[Scope::CaptureRead]), 403, "may not file photos"),
    ] {
        let mut browser = Browser::new(&gateway);
        let answer = browser.sign_in(&token);
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(words) && browser.cookie.is_empty());
        assert!(token.is_empty() || !answer.text().contains(&token) || token == "x");
    }
    let mut browser = Browser::new(&gateway);
    let set = browser.sign_in(&format!("Bearer+{}", gateway.writer()));
    let cookie = set.header("set-cookie").unwrap();
    for attribute in ["__Host-sb=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
    assert_eq!(Browser::new(&gateway).post("/sign-in", "person=0").status, 401, "a demo person outside the demo");
}

#[test]
fn the_demo_lets_one_be_somebody_by_a_button() {
    // The issuer is made with the gateway; the button asks for a token when it is pressed.
    let minted: Arc<std::sync::Mutex<Option<String>>> = Arc::default();
    let given = Arc::clone(&minted);
    let gateway = Gateway::with(Limits::default(), move |parts| {
        let persons = vec![DemoPerson { name: "Nina Nurse".into(), role: "files photos".into() }];
        let token_of = move |person| if person == 0 { given.lock().unwrap().clone() } else { None };
        Some(pages(parts, Some(DemoSignIn { persons, token_of: Box::new(token_of) })))
    });
    *minted.lock().unwrap() = Some(gateway.writer());
    let mut browser = Browser::new(&gateway);
    assert!(browser.get("/").text().contains("Nina Nurse"));
    assert_eq!(browser.post("/sign-in", "person=1").status, 401);
    assert_eq!(browser.post("/sign-in", "person=0").status, 303);
    assert!(browser.get("/").text().contains("action=\"/send\""));
}

#[test]
fn the_pages_run_no_script_and_stay_in_no_cache() {
    let gateway = start();
    let mut browser = Browser::signed_in(&gateway);
    let form = browser.get("/");
    let policy = form.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "style-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("script-src"));
    assert_eq!(form.header("cache-control"), Some("no-store"));
    assert_eq!(form.header("x-content-type-options"), Some("nosniff"));
    let page = form.text();
    for forbidden in ["<script", " style=", "onclick", "http://", "https://"] {
        assert!(!page.contains(forbidden), "{forbidden} in the form");
    }
    assert_eq!(browser.get("/style.css").header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(browser.get("/icon.svg").status, 200);
    for label in ["kind", "number", "birth_date", "department", "body_site", "side", "description", "photo", "photos"] {
        assert!(page.contains(&format!("<label for=\"{label}\">")) && page.contains(&format!("id=\"{label}\"")), "{label}");
    }
}

#[test]
fn a_page_that_is_not_there_says_so_to_a_person_and_to_a_program() {
    let gateway = start();
    let mut browser = Browser::signed_in(&gateway);
    assert_eq!(browser.get("/nothing").problem(), "not-found");
    let wrong_method = browser.request("DELETE /", "", b"");
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("GET, HEAD")));
    assert!(wrong_method.text().contains("<!doctype html>"));
    assert_eq!(browser.get("/send").header("location"), Some("/"));
    let lines = gateway.log.0.lock().unwrap().join("\n");
    assert!(lines.contains("POST page 303") && lines.contains("DELETE page 405"), "{lines}");
}
