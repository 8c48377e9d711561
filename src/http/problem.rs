//! Refusals as RFC 9457 documents.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::capture::MediaKind;
use crate::identity::{Denied, Scope};
use crate::pipeline::{Refusal, RefusalCode};

/// Seconds after which a busy gateway may be asked again: an upload takes about one.
const BUSY_RETRY_S: &str = "2";
/// Space and health come back when a person or the archive acts, not within seconds.
const UNAVAILABLE_RETRY_S: &str = "30";

/// A refusal with what HTTP says beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub refusal: Refusal,
    /// For 405.
    pub allow: Option<&'static str>,
    /// For 403: a scope that would have been enough.
    pub scope: Option<Scope>,
    /// For the log.
    pub denied: Option<Denied>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, allow: None, scope: None, denied: None }
    }
}

impl Problem {
    #[must_use]
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Refusal::new(code, detail).into()
    }

    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            RefusalCode::NotFound,
            "There is nothing at this address, or not for you. See the API description for what there is.",
        )
    }

    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("This address answers {allow} only.");
        Self { allow: Some(allow), ..Self::new(RefusalCode::MethodNotAllowed, detail) }
    }

    /// The same words whatever was wrong with the token: nothing can be found out by trying.
    #[must_use]
    pub fn unauthenticated(denied: Option<Denied>) -> Self {
        let detail = "There is no valid token. Sign in again and send: Authorization: Bearer, then the token.";
        Self { denied, ..Self::new(RefusalCode::Unauthenticated, detail) }
    }

    #[must_use]
    pub fn forbidden(scope: Scope) -> Self {
        let detail = format!("The token does not carry the scope {}. Ask your administrator for it.", scope.word());
        Self { scope: Some(scope), ..Self::new(RefusalCode::Forbidden, detail) }
    }

    /// The whole answer.
    #[must_use]
    pub fn to_response(&self, request_id: &str) -> HttpResponse {
        let code = self.refusal.code;
        let mut response = HttpResponse::build(status(code));
        response.insert_header(("Content-Type", "application/problem+json"));
        let mut response = response.body(document(&self.refusal, request_id).to_string());
        if code == RefusalCode::Unauthenticated {
            set(&mut response, header::WWW_AUTHENTICATE, "Bearer realm=\"shutterbridge\"");
        }
        if code == RefusalCode::Forbidden {
            let scope = self.scope.map_or("", Scope::word);
            let challenge = format!("Bearer realm=\"shutterbridge\", error=\"insufficient_scope\", scope=\"{scope}\"");
            set(&mut response, header::WWW_AUTHENTICATE, &challenge);
        }
        self.set_headers(&mut response);
        response
    }

    /// What belongs to the answer whether a program or a person reads it.
    pub fn set_headers(&self, response: &mut HttpResponse) {
        if let Some(allow) = self.allow {
            set(response, header::ALLOW, allow);
        }
        match self.refusal.code {
            _ if self.refusal.lasts => {}
            RefusalCode::Busy | RefusalCode::Conflict => set(response, header::RETRY_AFTER, BUSY_RETRY_S),
            RefusalCode::SpoolFull | RefusalCode::Unavailable => set(response, header::RETRY_AFTER, UNAVAILABLE_RETRY_S),
            _ => {}
        }
    }
}

fn set(response: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The status a code answers with (`api-spec/problems.md`).
#[must_use]
pub fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::Malformed => StatusCode::BAD_REQUEST,
        RefusalCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        RefusalCode::Forbidden => StatusCode::FORBIDDEN,
        RefusalCode::NotFound => StatusCode::NOT_FOUND,
        RefusalCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        RefusalCode::Conflict => StatusCode::CONFLICT,
        RefusalCode::LengthRequired => StatusCode::LENGTH_REQUIRED,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::Timeout => StatusCode::REQUEST_TIMEOUT,
        RefusalCode::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        RefusalCode::DamagedMedia
        | RefusalCode::ClaimInvalid
        | RefusalCode::IdempotencyMismatch
        | RefusalCode::UnknownPatient => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalCode::Busy => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::SpoolFull => StatusCode::INSUFFICIENT_STORAGE,
        RefusalCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// `type` names the heading of `api-spec/problems.md`; it is a name, not an address.
fn document(refusal: &Refusal, request_id: &str) -> Value {
    let code = refusal.code;
    let mut document = json!({
        "type": format!("urn:shutterbridge:problem:{}", code.word()),
        "code": code.word(),
        "title": code.title(),
        "status": status(code).as_u16(),
        "detail": refusal.detail,
        "request_id": request_id,
        "retryable": refusal.is_retryable(),
    });
    let Some(members) = document.as_object_mut() else { return document };
    if let Some(part) = refusal.part {
        members.insert("part".to_owned(), part.into());
    }
    if let Some(limit) = refusal.limit_bytes {
        members.insert("limit_bytes".to_owned(), limit.into());
    }
    if !refusal.errors.is_empty() {
        members.insert("errors".to_owned(), json!(refusal.errors));
    }
    if code == RefusalCode::UnsupportedMedia {
        members.insert("accepted".to_owned(), json!(MediaKind::ACCEPTED_TYPES));
    }
    document
}
