//! The look at the depth of JSON agrees with a reader's.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), r#"[\[\]{}"\\a]{0,6}"#.prop_map(Value::String)];
    leaf.prop_recursive(8, 64, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((r#"[\[{"\\]{0,3}"#, inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn depth_is_counted_as_it_is(value in json(), max in 1_usize..10) {
        let fits = check_depth(value.to_string().as_bytes(), max).is_ok();
        prop_assert_eq!(fits, depth(&value) <= max);
    }

    #[test]
    fn any_bytes_are_looked_at_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(check_depth(&bytes, 3));
    }
}
