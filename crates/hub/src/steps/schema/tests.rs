//! What a schema accepts, how it says no, and that nothing is fetched.

use super::*;
use serde_json::json;

fn compile_with(schema: Value, format: bool) -> Result<Schema, String> {
    let with =
        Surroundings { base: std::path::Path::new("/nowhere"), outside: access::Outside::Read, jq_steps: 1 };
    Schema::compile(&SchemaSource { schema, format }, with)
}

fn compile(schema: Value) -> Result<Schema, String> {
    compile_with(schema, true)
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
        assert!(refused.contains("retrieving it failed"), "{refused}");
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

// Finding: I13
#[test]
fn references_by_name_stay_inside_the_document() {
    let bundle = compile(json!({
        "$id": "https://example.com/order",
        "type": "object",
        "properties": {
            "customer": {"$ref": "/customer"},
            "item": {"$ref": "urn:example:item"},
            "note": {"$ref": "/customer#note"},
        },
        "$defs": {
            "customer": {
                "$id": "/customer",
                "type": "string",
                "$defs": {"note": {"$anchor": "note", "type": "null"}},
            },
            "item": {"$id": "urn:example:item", "type": "integer"},
        },
    }))
    .unwrap();
    assert!(bundle.check(&json!({"customer": "a", "item": 1, "note": null})).is_ok());
    for wrong in [json!({"customer": 1}), json!({"item": "x"}), json!({"note": 1})] {
        assert!(bundle.check(&wrong).is_err(), "{wrong}");
    }
    // A dialect is no reference, and the dialects' own schemas are known.
    let meta = json!({"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "http://json-schema.org/draft-07/schema#"});
    let meta = compile(meta).unwrap();
    assert!(meta.check(&json!({"type": "object"})).is_ok());
    assert!(meta.check(&json!({"type": 1})).is_err());
}

// Finding: I13
#[test]
fn formats_are_asserted_in_every_dialect_unless_switched_off() {
    for dialect in ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"]
    {
        for (format, good, bad) in [
            ("date-time", "2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z"),
            ("email", "a@example.com", "a@"),
            ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8"),
        ] {
            if format == "uuid" && dialect.contains("draft-07") {
                continue;
            }
            let schema = json!({"$schema": dialect, "format": format});
            let asserted = compile_with(schema.clone(), true).unwrap();
            assert!(asserted.check(&json!(good)).is_ok(), "{dialect} {format}");
            assert!(asserted.check(&json!(bad)).is_err(), "{dialect} {format}");
            assert!(compile_with(schema, false).unwrap().check(&json!(bad)).is_ok(), "{dialect} {format}");
        }
    }
}
