//! Pages of other sites (CORS, fetch.spec.whatwg.org §3.3): which may read answers, by the paths that they ask.
//! It lets nobody in: who asks still shows a key, and cookies are never taken.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::{Response, empty};

/// Says of an `Origin` whether its pages may read answers.
pub type Origins = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How long a browser may remember what it was told, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Headers of answers that scripts may read beside those that they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "*, Mcp-Session-Id, MCP-Protocol-Version, X-Request-Id, X-Trunkline-Id, X-Trunkline-Fault, Retry-After, Location, \
     Tl-Id, Traceparent, WWW-Authenticate",
);
const REQUEST_METHOD: HeaderName = header::ACCESS_CONTROL_REQUEST_METHOD;

/// The rules, each for the paths at and below one.
#[derive(Clone, Default)]
pub(super) struct Cors(Vec<(&'static str, Origins)>);

impl Cors {
    pub(super) fn add(&mut self, path: &'static str, origins: Origins) {
        self.0.push((path, origins));
    }

    /// The page's origin when it may read the answer of this request. A request without `Origin` costs one look-up.
    pub(super) fn admits(&self, path: &str, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        let below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.0.iter().any(|(root, origins)| below(root) && origins(text)).then(|| origin.clone())
    }
}

/// Whether a browser only asks whether it may ask.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(REQUEST_METHOD)
}

/// Yes, with whatever headers it wants to send: none of them opens anything.
pub(super) fn preflight(origin: HeaderValue, asked: Option<HeaderValue>) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(asked) = asked {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
    headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    allow(response, origin)
}

/// The answer, which that page may read.
pub(super) fn allow(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

/// Whether a list of origins, as a configuration has it, holds this one; `*` holds all.
pub fn origin_in(list: &[String], origin: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests;
