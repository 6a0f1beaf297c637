//! What every answer tells browsers, unless it says otherwise itself: whatever a message, an upstream or a refusal holds is data
//! and never a page of this server, for a page of its origin could read what an operator may read. It judges no request.

use super::Settings;
use crate::registry::ConnInfo;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What an answer lacks that a browser should hear: the type is not to be guessed, a document runs nothing and belongs to no
/// origin (CSP Level 3 §6.3.2), and nobody keeps a copy.
const USUAL: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    (header::CACHE_CONTROL, "no-store"),
];
/// What a body is of which nobody says more.
const BYTES: &str = "application/octet-stream";

/// What the answers of one connection are given.
#[derive(Debug)]
pub(super) struct Guard {
    /// `Strict-Transport-Security` (RFC 6797), said over TLS only.
    transport: Option<String>,
}

impl Guard {
    pub(super) fn new(settings: &Settings, info: &ConnInfo) -> Guard {
        let wanted = settings.hsts_seconds > 0 && info.tls().is_some();
        Guard { transport: wanted.then(|| format!("max-age={}", settings.hsts_seconds)) }
    }

    /// Calls `put` with each header that an answer lacks; `body` says whether it has one.
    pub(super) fn each(&self, headers: &HeaderMap, body: bool, mut put: impl FnMut(&HeaderName, &str)) {
        for (name, value) in &USUAL {
            if !headers.contains_key(name) {
                put(name, value);
            }
        }
        if body && !headers.contains_key(header::CONTENT_TYPE) {
            put(&header::CONTENT_TYPE, BYTES);
        }
        if let Some(transport) = &self.transport {
            put(&header::STRICT_TRANSPORT_SECURITY, transport);
        }
    }

    /// Puts them into the answer itself.
    pub(super) fn put(&self, headers: &mut HeaderMap, body: bool) {
        let mut lacking = Vec::new();
        self.each(headers, body, |name, value| {
            lacking.extend(HeaderValue::from_str(value).ok().map(|value| (name.clone(), value)));
        });
        headers.extend(lacking);
    }
}

/// Takes out of a foreign server's answer what it says as a place on the web: under our origin it would hold for ours.
pub fn strip_of_origin(headers: &mut HeaderMap) {
    let theirs: Vec<HeaderName> = headers.keys().filter(|name| is_of_origin(name)).cloned().collect();
    for name in theirs {
        headers.remove(name);
    }
}

fn is_of_origin(name: &HeaderName) -> bool {
    const NAMES: [&str; 18] = [
        "accept-ch",
        "activate-storage-access",
        "alt-svc",
        "clear-site-data",
        "critical-ch",
        "nel",
        "origin-agent-cluster",
        "public-key-pins",
        "refresh",
        "report-to",
        "reporting-endpoints",
        "service-worker-allowed",
        "set-cookie",
        "set-cookie2",
        "set-login",
        "sourcemap",
        "strict-transport-security",
        "www-authenticate",
    ];
    const FAMILIES: [&str; 5] =
        ["access-control-", "content-security-policy", "cross-origin-", "x-content-type-", "x-permitted-"];
    let name = name.as_str();
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests;
