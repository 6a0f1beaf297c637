//! The specification's own table of encodings, and the annotations that make a tool invalid.
//! Which requests are refused for their headers is tested at the face.

use super::*;
use serde_json::json;

#[test]
fn values_are_encoded_as_the_table_says() {
    for (plain, header) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ] {
        assert_eq!(encode(plain), header);
        assert_eq!(decode(header).as_deref(), Some(plain));
    }
    assert_eq!(decode("=?base64?SGVsbG8?="), None);
    assert_eq!(decode("=?base64?SGVs!!!bG8=?="), None);
    assert_eq!(decode("=?base64?SGVsbG8=").as_deref(), Some("=?base64?SGVsbG8="));
}

#[test]
fn annotations_are_found_or_refused() {
    let schema = json!({"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}});
    let found = params(&schema).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].header, "mcp-param-region");
    assert_eq!(found[1].value(Some(r#"{"deep":{"n":42}}"#)).as_deref(), Some("42"));
    assert!(found[1].matches("42.0", "42"));
    assert_eq!(found[0].value(Some(r#"{"region":null}"#)), None);
    assert_eq!(found[0].value(None), None);
    for bad in [
        json!({"properties":{"a":{"type":"number","x-mcp-header":"A"}}}),
        json!({"properties":{"a":{"type":"string","x-mcp-header":""}}}),
        json!({"properties":{"a":{"type":"string","x-mcp-header":"A b"}}}),
        json!({"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}),
        json!({"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}),
        json!({"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}),
    ] {
        assert!(params(&bad).is_err(), "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_survives_a_header(text in ".*") {
        let header = encode(&text).into_owned();
        proptest::prop_assert!(http::HeaderValue::from_str(&header).is_ok());
        let back = decode(&header);
        proptest::prop_assert_eq!(back.as_deref(), Some(text.as_str()));
    }
}
