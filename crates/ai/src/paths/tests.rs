//! Which paths stay below their version, and which ask a model.

use super::*;

// Finding: S9
#[test]
fn paths_stay_below_their_version() {
    let check = |path: &str, rest: Option<&str>| assert_eq!(strip_version(path), rest, "{path}");
    for stays in [
        "/chat/completions?a=../b",
        "/a.b/..c/%2e%2ex",
        "/files/file.txt;v=1/content",
        "/files/a%2Fb",
        "/models/org%2Fmodel%3Afree",
        "/files/100%25.../x",
        "/files/%E4%BD%A0..",
        "/files/%zz.%2/.x",
        "/files/a%5Cb;..",
        "//double",
    ] {
        check(&format!("/v1{stays}"), Some(stays));
    }
    for other in ["/v1", "/v1x/y", "/v2/x", "/V1/x", "v1/x", "", "/v1?x=/y"] {
        check(other, None);
    }
    for climbs in [
        "/..",
        "/.",
        "/./x",
        "/a/%2E./b",
        "/%2e%2e%2fadmin",
        "/%2e%2e/admin",
        "/files/..%2f..%2fadmin",
        "/files/..%2F..%5cadmin",
        "/files/x%2f..",
        "/..;/admin",
        "/..;a=b/admin",
        "/..%3b/admin",
        "/..\\admin",
        "/x\\..\\..\\admin",
        "/files/..%5c..%5cadmin",
        "/..%252f..%252fadmin",
        "/..%25252f..%25252fadmin",
        "/%25%32%65%25%32%65/admin",
        "/%%32%65%2e/admin",
        "/..%00/admin",
        "/..%3f/admin",
        "/..%23/admin",
        "/.. /admin",
        "/..%20/admin",
        "/.%0d./admin",
        "/..%09;x/admin",
        "/%c0%ae%c0%ae/admin",
        "/..%c0%af../admin",
        "/..%c1%9cadmin",
        "/%25c0%25ae./admin",
    ] {
        check(&format!("/v1{climbs}"), None);
        check(&format!("/v1{climbs}?x=1"), None);
    }
}

// Finding: S9, S3
#[test]
fn undoing_escapes_costs_no_more_than_the_length() {
    // Half a million layers: undone layer by layer, a pass for each, they would take minutes.
    let path = format!("/v1/%{}2e./admin", "25".repeat(500_000));
    assert_eq!(strip_version(&path), None);
}

#[test]
fn only_what_asks_a_model_goes_by_its_name() {
    let check = |method: Method, path: &str, asks: Asks| assert_eq!(Asks::of(&method, path), asks, "{path}");
    for path in MUST {
        check(Method::POST, path, Asks::Must);
        check(Method::PUT, path, Asks::No);
    }
    for path in ["/responses", "/images/generations", "/audio/voices", "/rerank"] {
        check(Method::POST, path, Asks::May);
    }
    for path in [
        "/fine_tuning/jobs",
        "/files",
        "/responses/resp_1/cancel",
        "/chat/completions/",
        "/images/a/b",
        "/audio/",
        "/organization/admin_api_keys",
        "chat/completions",
        "",
    ] {
        check(Method::POST, path, Asks::No);
    }
}
