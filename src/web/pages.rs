//! The addresses of the pages and what each does.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::{FutureExt as _, LocalBoxFuture};

use super::fields::{Fields, Wrong, explain};
use super::page::{Frame, Refused, advice};
use super::session::{COOKIE, Session, Sessions};
use super::upload::{FormParts, Kept};
use crate::capture::CaptureId;
use crate::clock::Clock;
use crate::http::Pages;
use crate::http::body::{Body, block};
use crate::http::multipart::boundary_of;
use crate::http::problem::status;
use crate::http::query;
use crate::identity::{Permit, Scope, Verifier};
use crate::pipeline::{Acceptor, Desk, Refusal, RefusalCode};
use crate::seal::digest::hex;
use crate::seal::random::random;

/// Longest sign-in body: a token of 8 kB, each byte at most three in this encoding.
const SIGN_IN_MAX_BYTES: usize = 32 * 1024;
/// Parts of one form: its fields, two file inputs, a hundred files.
const PARTS_MAX: usize = 112;
/// No script, no frame, no other host. `'self'` lets the one stylesheet and the icon in.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// One choice of the form.
#[derive(Clone, Debug)]
pub struct Department {
    pub id: String,
    pub name: String,
}

/// Somebody to be, in the demo.
#[derive(Clone, Debug)]
pub struct DemoPerson {
    pub name: String,
    pub role: String,
}

/// Signs in without a token. Only the demo has this.
pub struct DemoSignIn {
    pub persons: Vec<DemoPerson>,
    /// A token for the person of this index; it is verified like any other.
    pub token_of: Box<dyn Fn(usize) -> Option<String> + Send + Sync>,
}

pub struct Options {
    pub institution: String,
    pub departments: Vec<Department>,
    pub demo_sign_in: Option<DemoSignIn>,
}

/// The pages.
pub struct Web {
    options: Options,
    acceptor: Arc<dyn Acceptor>,
    desk: Arc<dyn Desk>,
    verifier: Arc<Verifier>,
    clock: Clock,
    sessions: Sessions,
}

impl Web {
    #[must_use]
    pub fn new(
        options: Options,
        acceptor: Arc<dyn Acceptor>,
        desk: Arc<dyn Desk>,
        verifier: Arc<Verifier>,
        clock: Clock,
    ) -> Self {
        Self { options, acceptor, desk, verifier, clock, sessions: Sessions::default() }
    }

    async fn serve(&self, request: &HttpRequest, body: &mut Body) -> Result<HttpResponse, Refusal> {
        let is_post = request.method() == "POST";
        if is_post && !is_same_origin(request) {
            let detail = "The request comes from another site. Open this site itself and send again.";
            return Err(Refusal::new(RefusalCode::Forbidden, detail));
        }
        match (request.path(), is_post) {
            ("/style.css", _) => Ok(asset("text/css; charset=utf-8", include_str!("style.css"))),
            ("/icon.svg", _) => Ok(asset("image/svg+xml", include_str!("icon.svg"))),
            ("/", _) => Ok(self.front(request)),
            ("/sign-in", true) => self.sign_in(body).await,
            ("/sign-out", true) => self.sign_out(request, body).await,
            ("/send", true) => self.send(request, body).await,
            (path, false) if path.starts_with("/captures/") => self.follow(request, path).await,
            // Reloaded after a POST, or typed by hand.
            _ => Ok(redirect("/")),
        }
    }

    fn session(&self, request: &HttpRequest) -> Option<(String, Session)> {
        let id = cookie_of(request)?;
        let session = self.sessions.find(&id, self.clock.now())?;
        Some((id, session))
    }

    fn frame<'f>(&'f self, session: Option<&'f Session>) -> Frame<'f> {
        Frame { institution: &self.options.institution, session }
    }

    fn sign_in_page(&self, code: StatusCode, wrong: Option<&str>) -> HttpResponse {
        let persons = self.options.demo_sign_in.as_ref().map_or(&[][..], |d| &d.persons);
        html(code, self.frame(None).sign_in(wrong, persons))
    }

    fn front(&self, request: &HttpRequest) -> HttpResponse {
        let Some((_, session)) = self.session(request) else { return self.sign_in_page(StatusCode::OK, None) };
        let fields = Fields { key: form_key(), department: session.department.clone(), ..Fields::default() };
        html(StatusCode::OK, self.frame(Some(&session)).form(&session, &self.options.departments, &fields, None))
    }

    async fn sign_in(&self, body: &mut Body) -> Result<HttpResponse, Refusal> {
        let form = read_form(body).await?;
        let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.trim());
        let demo = self.options.demo_sign_in.as_ref().zip(value("person").and_then(|p| p.parse().ok()));
        let token = match demo {
            Some((demo, person)) => (demo.token_of)(person),
            None => value("token").map(|t| t.strip_prefix("Bearer ").unwrap_or(t).to_owned()),
        };
        let permit = token.and_then(|t| self.verifier.verify(&t, self.clock.now()).ok());
        let Some(permit) = permit else {
            let words =
                "This token is not valid: it may have ended, or be meant for another place. Get a new one and paste it whole.";
            return Ok(self.sign_in_page(StatusCode::UNAUTHORIZED, Some(words)));
        };
        if !permit.may(Scope::CaptureWrite) {
            let words = "You are known, but may not file photos (capture.write). Ask your administrator.";
            return Ok(self.sign_in_page(StatusCode::FORBIDDEN, Some(words)));
        }
        let id =
            self.sessions.open(permit, self.clock.now()).map_err(|e| Refusal::new(RefusalCode::Unavailable, e.to_string()))?;
        let mut response = redirect("/");
        set_cookie(&mut response, &format!("{COOKIE}={id}; Path=/; Secure; HttpOnly; SameSite=Strict"));
        Ok(response)
    }

    async fn sign_out(&self, request: &HttpRequest, body: &mut Body) -> Result<HttpResponse, Refusal> {
        let form = read_form(body).await?;
        let token = form.iter().find(|(n, _)| n == "csrf").map_or("", |(_, v)| v.as_str());
        if let Some((id, _)) = self.session(request).filter(|(_, s)| s.is_own_form(token)) {
            self.sessions.close(&id);
        }
        let mut response = redirect("/");
        set_cookie(&mut response, &format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"));
        response
            .headers_mut()
            .insert(header::HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\", \"storage\""));
        Ok(response)
    }

    async fn send(&self, request: &HttpRequest, body: &mut Body) -> Result<HttpResponse, Refusal> {
        let Some((id, session)) = self.session(request) else {
            let words = "Your sign-in has ended, and nothing was filed. Sign in and fill in the form again.";
            return Ok(self.sign_in_page(StatusCode::UNAUTHORIZED, Some(words)));
        };
        let boundary = boundary_of(request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes))?;
        let kept = Arc::new(Mutex::new(Kept::default()));
        let parts = FormParts::new(Arc::clone(&self.acceptor), session.clone(), Arc::clone(&kept));
        let outcome = match body.read_parts(&boundary, PARTS_MAX, parts).await {
            Ok(parts) => block(move || parts.finish()).await,
            Err(refusal) => Err(refusal),
        };
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match outcome {
            Ok(receipt) => {
                self.sessions.remember(&id, receipt.record.id(), &kept.fields.department, self.clock.now());
                Ok(redirect(&format!("/captures/{}", receipt.record.id())))
            }
            Err(refusal) => Ok(self.form_again(&session, kept, &refusal)),
        }
    }

    /// The form once more, with what was written and what to change.
    fn form_again(&self, session: &Session, kept: Kept, refusal: &Refusal) -> HttpResponse {
        let Kept { mut fields, mut wrong } = kept;
        wrong.extend(explain(&refusal.errors));
        if wrong.is_empty() && matches!(refusal.code, RefusalCode::UnsupportedMedia | RefusalCode::DamagedMedia) {
            wrong.push(Wrong { field: "photo", words: advice(refusal) });
        }
        // What may still be under way is sent again as the same; anything else is another form.
        if refusal.code != RefusalCode::Conflict {
            fields.key = form_key();
        }
        let refused = Refused { wrong, advice: advice(refusal) };
        html(status(refusal.code), self.frame(Some(session)).form(session, &self.options.departments, &fields, Some(&refused)))
    }

    async fn follow(&self, request: &HttpRequest, path: &str) -> Result<HttpResponse, Refusal> {
        let Some((_, session)) = self.session(request) else { return Ok(redirect("/")) };
        let missing = || Refusal::new(RefusalCode::NotFound, "There is no such receipt, or it is another person's.");
        let id: CaptureId = path.strip_prefix("/captures/").and_then(|id| id.parse().ok()).ok_or_else(missing)?;
        let (desk, permit): (_, Permit) = (Arc::clone(&self.desk), session.permit.clone());
        let record = block(move || desk.capture(&permit, id)).await?;
        Ok(html(StatusCode::OK, self.frame(Some(&session)).status(&record)))
    }
}

impl Pages for Web {
    fn methods(&self, path: &str) -> Option<&'static str> {
        match path {
            "/" | "/style.css" | "/icon.svg" => Some("GET, HEAD"),
            "/sign-in" | "/sign-out" | "/send" => Some("GET, HEAD, POST"),
            _ if path.starts_with("/captures/") => Some("GET, HEAD"),
            _ => None,
        }
    }

    fn answer<'a>(&'a self, request: &'a HttpRequest, body: &'a mut Body) -> LocalBoxFuture<'a, Result<HttpResponse, Refusal>> {
        self.serve(request, body).boxed_local()
    }

    fn explain(&self, refusal: &Refusal, request_id: &str) -> HttpResponse {
        let words = if refusal.code == RefusalCode::NotFound { refusal.detail.clone() } else { advice(refusal) };
        html(status(refusal.code), self.frame(None).notice(refusal.code.title(), &words, Some(request_id)))
    }
}

async fn read_form(body: &mut Body) -> Result<Vec<(String, String)>, Refusal> {
    let form = body.read_all(SIGN_IN_MAX_BYTES).await?;
    query::pairs(&form).ok_or_else(|| Refusal::new(RefusalCode::Malformed, "The form cannot be read."))
}

fn html(code: StatusCode, page: String) -> HttpResponse {
    HttpResponse::build(code)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        // `no-referrer` would make browsers send `Origin: null` with our own forms.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header(("Permissions-Policy", "geolocation=(), microphone=(), payment=(), usb=()"))
        .body(page)
}

fn asset(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(content_type).body(text)
}

fn redirect(to: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, to)).finish()
}

fn set_cookie(response: &mut HttpResponse, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// Names one filling-in of the form, so that a double click files once. Without random bytes it is
/// empty, and then nothing is accepted anyway.
fn form_key() -> String {
    random::<16>().map_or_else(|_| String::new(), |bytes| hex(&bytes))
}

fn cookie_of(request: &HttpRequest) -> Option<String> {
    let mut all = request.headers().get_all(header::COOKIE).filter_map(|c| c.to_str().ok()).flat_map(|c| c.split(';'));
    all.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned))
}

/// What a browser says of where a request comes from (Fetch metadata; RFC 6454 §7). A session's
/// form also carries its own token; this is the second lock, and the only one of the sign-in.
fn is_same_origin(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    if let Some(site) = header("sec-fetch-site") {
        return site == b"same-origin";
    }
    match (header("origin"), header("host")) {
        (Some(origin), Some(host)) => origin.strip_prefix(b"https://") == Some(host),
        (Some(_), None) => false,
        (None, _) => true,
    }
}
