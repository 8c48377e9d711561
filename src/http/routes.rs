//! Every route of the API, in one table. `api-spec/openapi.yaml` describes the same.

use crate::identity::Scope;
use crate::identity::Scope::{CaptureRead, CaptureWrite, PatientLookup, QueueOperate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    Upload,
    Captures,
    Capture,
    Events,
    Retry,
    Hold,
    Discard,
    Assign,
    Lookup,
    Codes,
    Health,
}

/// One row. One of `scopes` is enough; none: no token is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub scopes: &'static [Scope],
    pub handler: Handler,
}

#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    Route { method: Method::Post, path: "/api/v1/captures", scopes: &[CaptureWrite], handler: Handler::Upload },
    Route { method: Method::Get, path: "/api/v1/captures", scopes: &[CaptureRead, CaptureWrite], handler: Handler::Captures },
    Route { method: Method::Get, path: "/api/v1/captures/{id}", scopes: &[CaptureRead, CaptureWrite], handler: Handler::Capture },
    Route { method: Method::Get, path: "/api/v1/captures/{id}/events", scopes: &[CaptureRead, CaptureWrite], handler: Handler::Events },
    Route { method: Method::Post, path: "/api/v1/captures/{id}/retry", scopes: &[QueueOperate], handler: Handler::Retry },
    Route { method: Method::Post, path: "/api/v1/captures/{id}/hold", scopes: &[QueueOperate], handler: Handler::Hold },
    Route { method: Method::Post, path: "/api/v1/captures/{id}/discard", scopes: &[QueueOperate], handler: Handler::Discard },
    Route { method: Method::Post, path: "/api/v1/captures/{id}/assign", scopes: &[QueueOperate], handler: Handler::Assign },
    Route { method: Method::Post, path: "/api/v1/lookup", scopes: &[PatientLookup], handler: Handler::Lookup },
    Route { method: Method::Get, path: "/api/v1/codes", scopes: &[CaptureWrite, CaptureRead, PatientLookup], handler: Handler::Codes },
    Route { method: Method::Get, path: "/healthz", scopes: &[], handler: Handler::Health },
];

/// What a request line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'p> {
    /// With the text that stands for `{id}`; empty where there is none.
    Route(&'static Route, &'p str),
    /// The path is known, by these other methods.
    OtherMethod(&'static str),
    Nothing,
}

/// GET answers HEAD as well (RFC 9110 §9.3.2); everything else is exact, byte by byte: a path that
/// would have to be repaired first is another path.
#[must_use]
pub fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    let mut allowed = None;
    for route in ROUTES {
        let Some(id) = matches(route.path, path) else { continue };
        let serves = match route.method {
            Method::Get => matches!(method, "GET" | "HEAD"),
            Method::Post => method == "POST",
        };
        if serves {
            return Found::Route(route, id);
        }
        allowed = match (allowed, route.method) {
            (None, Method::Get) => Some("GET, HEAD"),
            (None, Method::Post) => Some("POST"),
            (Some(_), _) => Some("GET, HEAD, POST"),
        };
    }
    allowed.map_or(Found::Nothing, Found::OtherMethod)
}

/// What stands for `{id}`, where `path` is of this shape.
fn matches<'p>(shape: &str, path: &'p str) -> Option<&'p str> {
    match shape.split_once("{id}") {
        None => (shape == path).then_some(""),
        Some((before, behind)) => {
            path.strip_prefix(before)?.strip_suffix(behind).filter(|id| !id.is_empty() && !id.contains('/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_finds_its_handler_or_hears_what_would() {
        let table = [
            ("POST", "/api/v1/captures", Ok(Handler::Upload)),
            ("GET", "/api/v1/captures", Ok(Handler::Captures)),
            ("HEAD", "/api/v1/captures", Ok(Handler::Captures)),
            ("GET", "/api/v1/captures/01J", Ok(Handler::Capture)),
            ("GET", "/api/v1/captures/01J/events", Ok(Handler::Events)),
            ("POST", "/api/v1/captures/01J/assign", Ok(Handler::Assign)),
            ("GET", "/api/v1/captures/01J/assign", Err(Some("POST"))),
            ("POST", "/api/v1/captures//assign", Err(None)),
            ("POST", "/api/v1/captures/01J/drop", Err(None)),
            ("GET", "/api/v1/codes", Ok(Handler::Codes)),
            ("POST", "/api/v1/codes", Err(Some("GET, HEAD"))),
            ("GET", "/healthz", Ok(Handler::Health)),
            ("DELETE", "/api/v1/captures", Err(Some("GET, HEAD, POST"))),
            ("POST", "/api/v1/captures/01J", Err(Some("GET, HEAD"))),
            ("GET", "/api/v1/lookup", Err(Some("POST"))),
            ("TRACE", "/healthz", Err(Some("GET, HEAD"))),
            ("get", "/healthz", Err(Some("GET, HEAD"))),
            ("GET", "/api/v1/captures/", Err(None)),
            ("GET", "/api/v1/captures/a/b", Err(None)),
            ("GET", "/api/v1//captures", Err(None)),
            ("GET", "/api/v1/captures/..%2f", Ok(Handler::Capture)),
            ("GET", "/", Err(None)),
        ];
        for (method, path, then) in table {
            let found = match find(method, path) {
                Found::Route(route, _) => Ok(route.handler),
                Found::OtherMethod(allowed) => Err(Some(allowed)),
                Found::Nothing => Err(None),
            };
            assert_eq!(found, then, "{method} {path}");
        }
    }
}
