//! What goes on to a provider, and what does not.

use super::*;

// Finding: A18, S10
#[test]
fn headers_between_the_client_and_us_go_no_further() {
    let private = |name: &str| is_private(&name.parse().unwrap());
    for name in [
        "authorization",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
        "x-functions-key",
        "x-auth-token",
        "x-amz-security-token",
        "helicone-auth",
        "x-client-secret",
        "proxy-authorization",
        "cookie",
        "Content_Length",
        "x_api_key",
        "Transfer_Encoding",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-For",
        "x-forwarded-client-cert",
        "Forwarded",
        "x-real-ip",
        "via",
        "origin",
        "referer",
        "baggage",
        "sec-fetch-site",
        "sec-ch-ua",
        "cf-connecting-ip",
        "true-client-ip",
        "host",
        "expect",
        "tl-key",
    ] {
        assert!(private(name), "{name}");
    }
    for name in [
        "accept",
        "content-type",
        "content-encoding",
        "user-agent",
        "x-stainless-lang",
        "openai-beta",
        "openai-organization",
        "anthropic-version",
        "anthropic-beta",
        "x-request-id",
        "idempotency-key",
        "traceparent",
        "tracestate",
        "x-client-request-id",
        "http-referer",
        "x-title",
        "accept-language",
        "range",
        "x-ms-useragent",
        "api-version",
        "x-max-tokens",
    ] {
        assert!(!private(name), "{name}");
    }
}

// Finding: A18
#[test]
fn credentials_in_a_query_go_no_further() {
    let check = |given: &str, passes: &str| assert_eq!(public(given), passes, "{given}");
    check("/files", "/files");
    check("/files?", "/files?");
    check("/files?a=1&b=%2F&keys=2;c", "/files?a=1&b=%2F&keys=2;c");
    check("/files?access_token=s", "/files");
    check("/files?a=1&access_token=s&b", "/files?a=1&b");
    check("/files?ACCESS%5Ftoken=s&a=1", "/files?a=1");
    check("/files?a=1;key=s", "/files?a=1");
    check("/files?+api%2Dkey=s&subscription-key=t&a=?", "/files?a=?");
    check("/files?key", "/files");
    check("/files?a=key", "/files?a=key");
}
