//! Tables for strict reading.

use super::*;
use serde::Deserialize;

#[test]
fn queries_are_strict() {
    for (query, says) in [
        ("retian=true", "did you mean \"retain\"?"),
        ("zzzzzzzz", "known are retain, ttl"),
        ("ttl=1s&ttl=2s", "stands twice"),
        ("ttl=%ff", "not UTF-8"),
    ] {
        let fault = Query::read(Some(query), &["retain", "ttl"]).unwrap_err();
        assert_eq!(fault.code(), Code::BadRequest);
        assert!(fault.detail().contains(says), "{query}: {}", fault.detail());
    }
    let query = Query::read(Some("retain&ttl=30s&access_token=x"), &["retain", "ttl"]).unwrap();
    assert_eq!(query.flag("retain").unwrap(), Some(true));
    assert_eq!(query.span("ttl").unwrap(), Some(Duration::from_secs(30)));
    assert!(query.number("ttl", 0..=9).is_err());
}

#[test]
fn bodies_are_strict() {
    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Lease {
        max: u32,
        hold: String,
    }
    assert_eq!(json::<Lease>(b" \n").unwrap(), Lease::default());
    for (body, says) in [
        (r#"{"hodl":1}"#, "unknown member \"hodl\"; did you mean \"hold\"?"),
        (r#"{"max":"x"}"#, "invalid type"),
        ("{", "EOF"),
    ] {
        let fault = json::<Lease>(body.as_bytes()).unwrap_err();
        assert!(fault.detail().contains(says), "{}", fault.detail());
    }
}
