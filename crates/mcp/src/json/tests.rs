//! Heads keep bytes, refuse doubles and survive odd spacing.
//! The text of numbers and strings inside values is nobody's business here.

use super::*;

#[test]
fn fields_keep_order_and_bytes() {
    let fields = Fields::parse(r#"{ "b" : 1.50, "a\u0041": [1, {"x":null}] }"#).unwrap();
    assert_eq!(fields.get("b"), Some("1.50"));
    assert_eq!(fields.get("aA"), Some(r#"[1, {"x":null}]"#));
    assert_eq!(fields.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>(), ["b", "aA"]);
}

#[test]
fn a_key_twice_is_refused() {
    assert!(Fields::parse(r#"{"name":"a","na\u006de":"b"}"#).is_err());
    assert!(Fields::parse("[1]").is_err());
    assert!(Fields::parse("null").is_err());
}

#[test]
fn objects_are_written_and_spliced() {
    let text = Object::new().text("a\"", "x\n\u{1}").raw("b", "[1]").done();
    assert_eq!(text, r#"{"a\"":"x\n\u0001","b":[1]}"#);
    assert_eq!(splice("{}", r#""k":1"#), r#"{"k":1}"#);
    assert_eq!(splice(r#" {"x":2}"#, r#""k":1"#), r#"{"k":1,"x":2}"#);
    assert_eq!(splice(r#"{"x":2}"#, ""), r#"{"x":2}"#);
}
