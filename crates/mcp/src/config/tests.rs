//! What the check refuses, with the key at which it stands.
//! Reading YAML is the binary's.

use super::*;

fn upstream(json: &str) -> Upstream {
    serde_json::from_str(json).unwrap()
}

#[test]
fn impossible_upstreams_are_refused() {
    for (json, part) in [
        ("{}", "needs"),
        (r#"{"url":"http://a/","command":"b"}"#, "both"),
        (r#"{"url":"ftp://a/"}"#, "http"),
        (r#"{"url":"http://a/","prefix":"a b"}"#, "prefix"),
        (r#"{"command":"x","auth":"env:KEY"}"#, "env"),
        (r#"{"command":"x","in_flight":0}"#, "in_flight"),
    ] {
        let why = check_upstream("a", &upstream(json)).unwrap_err();
        assert!(why.contains(part), "{json}: {why}");
    }
    assert!(check_upstream("A", &upstream(r#"{"command":"x"}"#)).is_err());
    assert!(serde_json::from_str::<Upstream>(r#"{"comand":"x"}"#).is_err());
}

#[test]
fn equal_prefixes_are_refused() {
    let mut config = Config::default();
    config.upstreams.insert("a".into(), upstream(r#"{"command":"x","prefix":""}"#));
    assert!(config.check().is_ok());
    config.upstreams.insert("b".into(), upstream(r#"{"command":"x","prefix":""}"#));
    assert!(config.check().is_err());
    config.upstreams.insert("b".into(), upstream(r#"{"command":"x"}"#));
    assert!(config.check().is_ok());
}
