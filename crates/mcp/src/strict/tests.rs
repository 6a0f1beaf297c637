//! Doubled keys in every spelling and at every depth, halves of pairs, nesting at the limit; and that a tree would see the same.

use super::*;
use serde_json::{Value, json};

fn refused(text: &str) -> bool {
    check(text, 4).is_err()
}

// Finding: M16
#[test]
fn what_two_readers_could_read_as_two_things_is_refused() {
    for (text, expected) in [
        (r#"{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}"#, false),
        (r#"{"a":1,"a":2}"#, true),
        (r#"{"a":1,"\u0061":2}"#, true),
        (r#"{"x":{"a":1,"b":2,"a" : 3}}"#, true),
        (r#"[{"a":{},"b":[],"a":[]}]"#, true),
        (r#"{"a":"a","b":"a"}"#, false),
        (r#"{"a\"":1,"a":2}"#, false),
        (r#"{"a":"\ud83d\ude00"}"#, false),
        (r#"{"a":"\ud83d"}"#, true),
        (r#"{"a":"\ud83dx"}"#, true),
        (r#"{"a":"\ud83d\n"}"#, true),
        (r#"{"a":"\ud83d\ud83d\ude00"}"#, true),
        (r#"{"a":"\ude00"}"#, true),
        (r#"{"\uDE00":1}"#, true),
        (r#"{"a":"\\ude00"}"#, false),
        (r#"{"a":"\\\ude00"}"#, true),
        ("[[[[]]]]", false),
        ("[[[[[]]]]]", true),
        (r#"{"a":{"b":{"c":{"d":{}}}}}"#, true),
        (r#"["[[[[[[", "{\"a\":1,\"a\":2}"]"#, false),
        ("7", false),
        ("", false),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
    assert_eq!(check("[[]]", 1).unwrap_err().code(), Code::DecodeFailed);
}

fn value() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf =
        prop_oneof![Just(json!(null)), any::<i32>().prop_map(Value::from), ".{0,6}".prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn what_a_writer_wrote_passes(value in value()) {
        proptest::prop_assert!(check(&value.to_string(), 64).is_ok(), "{}", value);
        let twice = format!("{{\"k\":{value},\"\\u006b\":1}}");
        proptest::prop_assert!(check(&twice, 64).is_err());
    }

    #[test]
    fn garbage_is_survived(text in ".{0,60}") {
        drop(check(&text, 3));
    }
}
