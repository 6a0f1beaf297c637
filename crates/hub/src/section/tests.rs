//! What does not fit is named by its path, with the nearest known name.

use super::*;
use serde_json::json;

#[derive(serde::Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Outer {
    list: Vec<Inner>,
}

#[derive(serde::Deserialize, Debug)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is read")]
struct Inner {
    count: u32,
}

#[test]
fn slips_are_named_by_their_path() {
    for (value, expected) in [
        (
            json!({ "list": [{ "count": 1 }, { "count": "x" }] }),
            "list.1.count: invalid type: string \"x\", expected a whole number",
        ),
        (
            json!({ "list": [{ "cuont": 1 }] }),
            "list.0.cuont: unknown field `cuont`, expected `count`; did you mean \"count\"?",
        ),
    ] {
        let text = section::<Outer>(value).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{text}");
    }
    assert_eq!(section::<Outer>(json!({ "list": [] })).unwrap().list.len(), 0);
}
