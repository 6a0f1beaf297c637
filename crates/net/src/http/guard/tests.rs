//! Which headers an answer is given, and which of a foreign server's are taken out.

use super::*;

fn guarded(
    transport: Option<&'static str>,
    headers: &[(&'static str, &'static str)],
    body: bool,
) -> Vec<String> {
    let guard = Guard { transport: transport.map(str::to_owned) };
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, HeaderValue::from_static(value));
    }
    guard.put(&mut all, body);
    let mut lines: Vec<String> =
        all.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

// Finding: S5
#[test]
fn what_an_answer_does_not_say_is_said_for_it() {
    let usual = [
        "cache-control: no-store",
        "content-security-policy: sandbox; default-src 'none'",
        "x-content-type-options: nosniff",
    ];
    assert_eq!(guarded(None, &[], false), usual);
    assert_eq!(
        guarded(Some("max-age=9"), &[], true),
        [
            usual[0],
            usual[1],
            "content-type: application/octet-stream",
            "strict-transport-security: max-age=9",
            usual[2]
        ]
    );
    let own = [
        ("cache-control", "no-cache"),
        ("content-security-policy", "default-src 'self'"),
        ("content-type", "text/css"),
    ];
    assert_eq!(
        guarded(None, &own, true),
        [
            "cache-control: no-cache",
            "content-security-policy: default-src 'self'",
            "content-type: text/css",
            usual[2]
        ]
    );
}

// Finding: S5
#[test]
fn what_a_foreign_server_says_of_its_origin_is_taken_out() {
    let mut headers = HeaderMap::new();
    let theirs = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "clear-site-data",
        "content-security-policy",
        "content-security-policy-report-only",
        "cross-origin-opener-policy",
        "service-worker-allowed",
        "set-cookie",
        "www-authenticate",
        "refresh",
        "strict-transport-security",
        "x-content-type-options",
    ];
    let kept = [
        "content-type",
        "x-request-id",
        "retry-after",
        "openai-processing-ms",
        "x-ratelimit-limit-requests",
        "etag",
    ];
    for name in theirs.iter().chain(&kept) {
        headers.append(*name, HeaderValue::from_static("x"));
        headers.append(*name, HeaderValue::from_static("y"));
    }
    strip_of_origin(&mut headers);
    assert_eq!(
        headers.keys().map(HeaderName::as_str).collect::<std::collections::BTreeSet<_>>(),
        kept.into()
    );
}
