//! What a schema accepts, how it says no, and that nothing is fetched.

use super::*;
use serde_json::json;

fn compile(schema: Value) -> Result<Schema, String> {
    Schema::compile(&schema, Path::new("/nowhere"), Outside::Read)
}

#[test]
fn names_every_violation_with_its_place_up_to_a_bound() {
    let schema = compile(json!({
        "type": "object",
        "required": ["id"],
        "properties": {"list": {"type": "array", "items": {"type": "integer"}}},
    }))
    .unwrap();
    assert_eq!(schema.check(&json!({"id": 1, "list": [1]})), Ok(()));
    let fault = schema.check(&json!({"list": [1, "x", 2, "y"]})).unwrap_err();
    assert_eq!(fault.code(), Code::SchemaViolation);
    for part in ["/list/1", "/list/3", "\"id\" is a required property at the root"] {
        assert!(fault.detail().contains(part), "{part}: {}", fault.detail());
    }
    let many: Vec<&str> = std::iter::repeat_n("x", 50).collect();
    let fault = schema.check(&json!({"id": 1, "list": many})).unwrap_err();
    assert!(fault.detail().contains("and 40 more"), "{}", fault.detail());
    let long = "x".repeat(100_000);
    assert!(schema.check(&json!({"id": 1, "list": [long]})).unwrap_err().detail().len() < 1000);
}

#[test]
fn follows_references_inside_the_document_only() {
    let inside =
        compile(json!({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}})).unwrap();
    assert!(inside.check(&json!([1])).is_ok());
    assert!(inside.check(&json!(["x"])).is_err());
    for foreign in ["http://127.0.0.1:1/x.json", "file:///etc/passwd", "other.json", "//host/x"] {
        let refused = compile(json!({"items": {"$ref": foreign}})).err().unwrap();
        assert!(refused.contains("leaves the document"), "{refused}");
    }
    let id = compile(
        json!({"$id": "http://127.0.0.1:1/a", "$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}),
    );
    assert!(id.unwrap().check(&json!(null)).is_ok());
}

#[test]
fn refuses_what_is_no_schema() {
    assert!(compile(json!({"type": "strange"})).err().unwrap().starts_with("schema: "));
    assert!(compile(json!({"pattern": "(a"})).is_err());
    assert!(compile(json!("missing.json")).err().unwrap().contains("cannot be read"));
    // Look-around needs backtracking, whose time a message could choose.
    assert!(compile(json!({"pattern": "(?=a)b"})).is_err());
}
