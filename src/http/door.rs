//! One request: admitted by its head, handled, answered, told.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use actix_http::header::HeaderMap;
use actix_http::{Request, RequestHead, Response};
use actix_server::GracefulShutdownSignal;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Version};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};

use super::body::{Body, block, too_large};
use super::captures::{CaptureParts, read_key, read_listing};
use super::codes;
use super::events::{self, Watch};
use super::json;
use super::multipart::boundary_of;
use super::observe::AccessLine;
use super::problem::Problem;
use super::routes::{Found, Handler, ROUTES, find};
use super::server::{Limits, Pages, Services};
use super::wire::{Pace, Phase};
use crate::identity::Permit;
use crate::pipeline::{Act, Refusal, RefusalCode};
use crate::seal::digest::hex;
use crate::seal::random::random;

/// Longest question of `POST /lookup`: four identifiers of 64 characters.
const QUESTION_MAX_BYTES: usize = 4 * 1024;

/// Longest decision of the desk: a reason of 500 characters, each written as an escape, and a patient.
const DECISION_MAX_BYTES: usize = 16 * 1024;

/// Every answer carries these, unless its handler said otherwise.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Shared by all workers.
pub struct Door {
    services: Arc<Services>,
    limits: Limits,
    uploads: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    stopping: GracefulShutdownSignal,
}

/// What a head is good for.
enum Admitted<'h> {
    Api(Handler, &'h str, Option<Permit>),
    Page(&'h Arc<dyn Pages>),
}

impl Door {
    #[must_use]
    pub fn new(services: Arc<Services>, limits: Limits, stopping: GracefulShutdownSignal) -> Self {
        Self { services, limits, uploads: Arc::default(), streams: Arc::default(), stopping }
    }

    /// A head with `Expect: 100-continue` (RFC 9110 §10.1.1). What its head forbids is refused at
    /// once, so that the body need not be sent at all.
    ///
    /// # Errors
    /// The answer.
    pub fn expect(&self, mut request: Request) -> Result<Request, Response<BoxBody>> {
        let started = Instant::now();
        let Err(problem) = self.admit(request.head()) else { return Ok(request) };
        let pace = request.conn_data::<Pace>().cloned();
        let body = Body::new(request.take_payload(), &self.limits);
        Err(self.close(request.head(), pace.as_ref(), body, Err(problem), started).into())
    }

    pub async fn answer(self: Arc<Self>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
        let started = Instant::now();
        let pace = request.conn_data::<Pace>().cloned();
        if let Some(pace) = &pace {
            pace.set(Phase::Busy);
        }
        let mut body = Body::new(payload.into_inner(), &self.limits);
        let outcome = self.serve(&request, &mut body).await;
        self.close(request.head(), pace.as_ref(), body, outcome, started)
    }

    async fn serve(&self, request: &HttpRequest, body: &mut Body) -> Result<HttpResponse, Problem> {
        match self.admit(request.head())? {
            Admitted::Page(pages) => {
                let uploads = boundary_of(request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes)).is_ok();
                let _place = if uploads { Some(self.take_place()?) } else { None };
                Ok(pages.answer(request, body).await?)
            }
            Admitted::Api(Handler::Health, ..) => Ok(ok_json("{\"status\":\"ok\"}".to_owned())),
            Admitted::Api(handler, id, Some(permit)) => match handler {
                Handler::Upload => self.upload(request, body, &permit).await,
                Handler::Capture => self.capture(permit, id).await,
                Handler::Events => self.events(request, permit, id).await,
                Handler::Retry | Handler::Hold | Handler::Discard | Handler::Assign => {
                    self.decide(permit, id, handler, body).await
                }
                Handler::Captures => self.captures(permit, request.query_string()).await,
                Handler::Lookup => self.lookup(permit, body).await,
                Handler::Codes => {
                    let question = codes::read_question(request.query_string())?;
                    Ok(ok_json(codes::answer(&question, &self.services.departments).to_string()))
                }
                Handler::Health => Err(Problem::not_found()),
            },
            Admitted::Api(_, _, None) => Err(Problem::unauthenticated(None)),
        }
    }

    /// What the head alone decides: framing, route, person, and whether the body can be one.
    fn admit<'h>(&'h self, head: &'h RequestHead) -> Result<Admitted<'h>, Problem> {
        let hosts = head.headers().get_all(header::HOST).count();
        if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
            return Err(Problem::new(RefusalCode::Malformed, "The request does not name its Host exactly once (RFC 9112 §3.2)."));
        }
        let path = head.uri.path();
        let (route, id) = match find(head.method.as_str(), path) {
            Found::Route(route, id) => (route, id),
            Found::OtherMethod(allow) => return Err(Problem::method_not_allowed(allow)),
            Found::Nothing => return self.admit_to_page(head, path),
        };
        let permit = if route.scopes.is_empty() { None } else { Some(self.identify(head.headers())?) };
        let may = permit.as_ref().is_none_or(|permit| route.scopes.iter().any(|s| permit.may(*s)));
        if let (false, [first, ..]) = (may, route.scopes) {
            return Err(Problem::forbidden(*first));
        }
        self.check_length(head.headers())?;
        if route.handler == Handler::Upload {
            if !head.headers().contains_key(header::CONTENT_LENGTH) && !head.headers().contains_key(header::TRANSFER_ENCODING) {
                return Err(Problem::new(
                    RefusalCode::LengthRequired,
                    "The request has no body. Send one with Content-Length, or in chunks.",
                ));
            }
            boundary_of(head.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes))?;
            read_key(idempotency_keys(head.headers()))?;
        }
        Ok(Admitted::Api(route.handler, id, permit))
    }

    fn admit_to_page<'h>(&'h self, head: &'h RequestHead, path: &str) -> Result<Admitted<'h>, Problem> {
        let known = self.services.pages.as_ref().and_then(|pages| Some((pages, pages.methods(path)?)));
        let (pages, methods) = known.ok_or_else(Problem::not_found)?;
        if !methods.split(", ").any(|m| m == head.method.as_str()) {
            return Err(Problem::method_not_allowed(methods));
        }
        self.check_length(head.headers())?;
        Ok(Admitted::Page(pages))
    }

    /// One `Authorization: Bearer …` (RFC 6750 §2.1); a token anywhere else is not looked at.
    fn identify(&self, headers: &HeaderMap) -> Result<Permit, Problem> {
        let mut values = headers.get_all(header::AUTHORIZATION);
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Problem::unauthenticated(None)) };
        let token =
            value.to_str().ok().and_then(|v| v.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| Problem::unauthenticated(None))?;
        self.services.verifier.verify(token, self.services.clock.now()).map_err(|denied| Problem::unauthenticated(Some(denied)))
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<(), Problem> {
        // A decompressor turns kilobytes into gigabytes, and photos do not shrink.
        if headers.get_all(header::CONTENT_ENCODING).any(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Problem::new(RefusalCode::UnsupportedMedia, "The body is encoded. Send it without Content-Encoding."));
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()).and_then(|l| l.parse::<u64>().ok());
        if length.is_some_and(|l| l > self.limits.body_max_bytes) {
            return Err(too_large(self.limits.body_max_bytes).into());
        }
        Ok(())
    }

    async fn upload(&self, request: &HttpRequest, body: &mut Body, permit: &Permit) -> Result<HttpResponse, Problem> {
        let _place = self.take_place()?;
        let headers = request.headers();
        let boundary = boundary_of(headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes))?;
        let key = read_key(idempotency_keys(headers))?;
        let parts = CaptureParts::new(Arc::clone(&self.services.acceptor), permit.operator().clone(), key);
        let parts = body.read_parts(&boundary, self.limits.parts_max, parts).await?;
        let receipt = block(move || parts.finish()).await?;
        let mut response = HttpResponse::Created();
        response.insert_header((header::LOCATION, format!("/api/v1/captures/{}", receipt.record.id())));
        if receipt.replayed {
            response.insert_header(("Idempotency-Replayed", "true"));
        }
        Ok(response.content_type("application/json").body(json::receipt(&receipt.record).to_string()))
    }

    /// A place among the uploads that run at a time.
    fn take_place(&self) -> Result<Place, Problem> {
        Place::among(&self.uploads, self.limits.uploads_max)
            .ok_or_else(|| Problem::new(RefusalCode::Busy, "Too many uploads at this moment. Send it again in a few seconds."))
    }

    async fn capture(&self, permit: Permit, id: &str) -> Result<HttpResponse, Problem> {
        let id = id.parse().map_err(|_| Problem::not_found())?;
        let desk = Arc::clone(&self.services.desk);
        let record = block(move || desk.capture(&permit, id)).await?;
        Ok(ok_json(json::capture(&record).to_string()))
    }

    async fn captures(&self, permit: Permit, query: &str) -> Result<HttpResponse, Problem> {
        let asked = read_listing(query)?;
        let desk = Arc::clone(&self.services.desk);
        let (records, next) = block(move || desk.captures(&permit, asked.stage, asked.after, asked.limit)).await?;
        Ok(ok_json(json::page(&records, next).to_string()))
    }

    async fn events(&self, request: &HttpRequest, permit: Permit, id: &str) -> Result<HttpResponse, Problem> {
        let id = id.parse().map_err(|_| Problem::not_found())?;
        let place = Place::among(&self.streams, self.limits.streams_max).ok_or_else(|| {
            Problem::new(RefusalCode::Busy, "Too many event streams at this moment. Ask for the capture itself.")
        })?;
        let (desk, seen_by) = (Arc::clone(&self.services.desk), permit.clone());
        block(move || desk.capture(&seen_by, id)).await?;
        let mut response = HttpResponse::Ok();
        response.content_type("text/event-stream");
        if request.head().method.as_str() == "HEAD" {
            return Ok(response.finish());
        }
        let last = request.headers().get("Last-Event-ID").and_then(|v| v.to_str().ok());
        let (desk, clock, stopping) = (Arc::clone(&self.services.desk), self.services.clock.clone(), self.stopping.clone());
        let first = events::first_line(last);
        Ok(response.streaming(events::stream(Watch { desk, clock, permit, id, first, stopping, place })))
    }

    /// A decision of the desk: the capture as it stands then.
    async fn decide(&self, permit: Permit, id: &str, handler: Handler, body: &mut Body) -> Result<HttpResponse, Problem> {
        let id = id.parse().map_err(|_| Problem::not_found())?;
        let decision = body.read_all(DECISION_MAX_BYTES).await?;
        let malformed = |detail: &str| Refusal::new(RefusalCode::Malformed, detail);
        let decision = crate::identity::json::parse(&decision)
            .map_err(|_| malformed("The decision is no JSON in UTF-8, or a name stands twice in it."))?;
        let read = match handler {
            Handler::Assign => json::assignment(&decision).map(|(reason, patient)| (Act::Assign(patient), reason)),
            Handler::Discard => json::reason(&decision).map(|reason| (Act::Discard, reason)),
            Handler::Hold => json::reason(&decision).map(|reason| (Act::Hold, reason)),
            _ => json::reason(&decision).map(|reason| (Act::Retry, reason)),
        };
        let (act, reason) = read
            .map_err(|errors| Refusal { errors, ..malformed("The decision cannot be read like this; `errors` says where.") })?;
        let desk = Arc::clone(&self.services.desk);
        let record = block(move || desk.decide(&permit, id, act, reason)).await?;
        Ok(ok_json(json::capture(&record).to_string()))
    }

    async fn lookup(&self, permit: Permit, body: &mut Body) -> Result<HttpResponse, Problem> {
        let question = body.read_all(QUESTION_MAX_BYTES).await?;
        let malformed = |detail: &str| Refusal::new(RefusalCode::Malformed, detail);
        let question = crate::identity::json::parse(&question)
            .map_err(|_| malformed("The question is no JSON in UTF-8, or a name stands twice in it."))?;
        let asked = json::asked(&question)
            .map_err(|errors| Refusal { errors, ..malformed("The question cannot be asked like this; `errors` says where.") })?;
        let desk = Arc::clone(&self.services.desk);
        let answer = block(move || desk.lookup(&permit, &asked)).await?;
        Ok(ok_json(json::answer(&answer).to_string()))
    }

    /// Makes the answer whole, and tells of it.
    fn close(
        &self,
        head: &RequestHead,
        pace: Option<&Pace>,
        body: Body,
        outcome: Result<HttpResponse, Problem>,
        started: Instant,
    ) -> HttpResponse {
        // Without random bytes nothing would be accepted anyway; the answer must still go out.
        let request_id = random::<12>().map_or_else(|_| "none".to_owned(), |bytes| hex(&bytes));
        let problem = outcome.as_ref().err().cloned();
        let mut response = outcome.unwrap_or_else(|problem| self.explain(head, &problem, &request_id));
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            headers.insert(HeaderName::from_static("x-request-id"), value);
        }
        // After a request that could not be read, the next bytes could mean anything.
        let unreadable = problem.as_ref().is_some_and(|p| p.refusal.code == RefusalCode::Malformed);
        if unreadable || !body.is_read() {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        if let Some(pace) = pace {
            pace.set(if body.is_read() { Phase::Between } else { Phase::Unread });
        }
        self.services.observer.answered(&AccessLine {
            request_id: &request_id,
            method: method_word(head),
            route: self.route_word(head),
            status: response.status().as_u16(),
            refusal: problem.as_ref().map(|p| p.refusal.code),
            denied: problem.as_ref().and_then(|p| p.denied),
            body_bytes: body.received_bytes(),
            took: started.elapsed(),
        });
        let rest = body.into_rest();
        response.map_body(|_, answer| BoxBody::new(Held { answer, _rest: rest }))
    }

    /// A refusal in the words of who asked: a page for a page, else a problem document.
    fn explain(&self, head: &RequestHead, problem: &Problem, request_id: &str) -> HttpResponse {
        match self.services.pages.as_ref().filter(|pages| pages.methods(head.uri.path()).is_some()) {
            None => problem.to_response(request_id),
            Some(pages) => {
                let mut response = pages.explain(&problem.refusal, request_id);
                problem.set_headers(&mut response);
                response
            }
        }
    }

    /// The shape of the path, from a closed set.
    fn route_word(&self, head: &RequestHead) -> &'static str {
        let path = head.uri.path();
        if let Found::Route(route, _) = find(head.method.as_str(), path) {
            return route.path;
        }
        let is_page = self.services.pages.as_ref().is_some_and(|p| p.methods(path).is_some());
        let other = ROUTES.iter().find(|r| r.path == path).map_or("other", |r| r.path);
        if is_page { "page" } else { other }
    }
}

fn method_word(head: &RequestHead) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    known.into_iter().find(|m| *m == head.method.as_str()).unwrap_or("other")
}

fn idempotency_keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all("Idempotency-Key").map(HeaderValue::as_bytes)
}

fn ok_json(text: String) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text)
}

/// One running upload, or one stream.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    fn among(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        (taken.fetch_add(1, Ordering::SeqCst) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An answer that holds the unread rest of its request until it is out: actix then ends the
/// connection, where it would otherwise read a chunked rest for ever.
struct Held {
    answer: BoxBody,
    _rest: Payload,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().answer).poll_next(cx)
    }
}
