//! Tables for the text helpers.

use super::*;

#[test]
fn percent_decoding_keeps_what_is_no_pair() {
    for (input, expected) in
        [("a%20b", "a b"), ("%zz", "%zz"), ("100%", "100%"), ("%C3%A4", "ä"), ("a+b", "a+b")]
    {
        assert_eq!(percent_decode(input.as_bytes()).unwrap(), expected);
    }
    assert!(percent_decode(b"%ff").is_none());
    assert_eq!(form_decode("a+b%2B").unwrap(), "a b+");
}

#[test]
fn json_by_hand_is_read_by_serde() {
    for text in ["", "plain", "\"\\\n\r\t\u{1}\u{1f}", "ä€😀", "\u{7f}"] {
        let mut out = Vec::new();
        json_string(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
    for number in [0, 9, 10, 1234, u64::MAX] {
        let mut out = Vec::new();
        json_number(&mut out, number);
        assert_eq!(out, number.to_string().into_bytes());
    }
}

#[test]
fn media_types() {
    for (kind, json, text) in [
        ("application/json", true, false),
        ("Application/JSON; charset=utf-8", true, false),
        ("application/vnd.x+json", true, false),
        ("text/plain", false, true),
        ("text/plain; charset=latin1", false, false),
        ("application/soap+xml; charset=\"UTF-8\"", false, true),
        ("application/octet-stream", false, false),
        ("", false, false),
    ] {
        assert_eq!((is_json(kind), is_text(kind)), (json, text), "{kind}");
    }
}
