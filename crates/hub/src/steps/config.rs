//! The configuration of steps; the doc comments are the manual. Compiling it is the parent module's.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One step of a route, written as a key and its value: `- decode: hl7`.
///
/// The steps see the body as JSON. A body that no `decode` step has read is taken as JSON when a step needs it.
/// jq expressions run in a total profile: each ends, in bounded time and memory, on every message. Refused are
/// recursion (`..`, `recurse`, `while`, a `def` that calls itself), `range` over data,
/// `input`, `env`, `now` and the repetition of texts with `*`. They may read `$headers`, `$address`, `$key`, `$time` and `$id`,
/// and pick HL7 fields with `hl7("PID-5.1")`. Regular expressions (`test`, `match`, `capture`, `scan`, `splits`, `sub`, `gsub`) know no
/// look-around and no back-references, and must stand in the program.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepConfig {
    /// Reads the body in this format; the steps after it see JSON. A body that cannot be read is refused with TL0014.
    Decode(Format),
    /// Writes the body in this format.
    Encode(Format),
    /// Lets a message pass only when this jq expression is neither `false` nor `null`.
    Filter(String),
    /// Replaces the body with the result of this jq expression. No result (`empty`) lets the message go; more than
    /// one is refused with TL0013.
    Map(String),
    /// Refuses a body that does not fit a JSON Schema with TL0006, naming up to ten violations.
    Validate(SchemaSource),
    /// Sets the key, headers or content type.
    Set(SetConfig),
}

impl StepConfig {
    /// The step's key.
    pub fn name(&self) -> &'static str {
        match self {
            StepConfig::Decode(_) => "decode",
            StepConfig::Encode(_) => "encode",
            StepConfig::Filter(_) => "filter",
            StepConfig::Map(_) => "map",
            StepConfig::Validate(_) => "validate",
            StepConfig::Set(_) => "set",
        }
    }
}

/// A format of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON (RFC 8259), at most 128 levels deep.
    Json,
    /// XML 1.0 in UTF-8, at most 128 levels deep, without document type and entities of its own. An element becomes an
    /// object: attributes `@name`, text `#text`, children by name, repeated ones as a list; one that holds only text
    /// becomes that text. The order of children with different names, comments and processing instructions are not kept.
    Xml,
    /// HL7 version 2 in its delimited form. Each segment becomes an object of its fields by number, `MSH` as one object,
    /// all others as lists under their names: `.MSH["9"]["1"]`, `.OBX[]["5"]`. A field with one component is a text, with
    /// more an object by number, with repetitions a list. `hl7("PID-5.1")` picks a value whatever its form, and inside a
    /// segment `hl7("5.1")`. `#` is the segment's place in the message. Empty fields are absent; escapes are resolved. It is
    /// written back exactly as it was read, with CR as line ends.
    Hl7,
    /// Text in UTF-8, seen as one JSON string.
    Text,
    /// Any bytes, seen as one JSON string in base64 (RFC 4648 §4).
    Base64,
}

/// Where a schema is.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaSource {
    /// A JSON Schema (2020-12 unless its `$schema` says otherwise), written here, or the name of a JSON file, relative to
    /// the configuration file. `$ref` works inside the document only; nothing is fetched.
    pub schema: serde_json::Value,
}

/// What is set beside the body. Each value is a jq expression whose result is a text, a number or null.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SetConfig {
    /// The key, by which order is kept; null takes it away.
    pub key: Option<String>,
    /// The media type, as it is: no expression.
    pub content_type: Option<String>,
    /// Headers by name; null takes one away.
    pub headers: BTreeMap<String, String>,
}
