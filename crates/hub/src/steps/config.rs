//! The configuration of steps; the doc comments are the manual. Compiling it is the parent module's.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One step of a route, written as a key and its value: `- decode: hl7`.
///
/// The steps see the body as JSON. A body that no `decode` step has read is taken as JSON when a step needs it.
/// Expressions are jq 1.8's, with its semantics: assignment makes what is missing, numbers keep the digits that they came with,
/// `walk`, `..`, `paths`, dates, `@csv` and the rest of its functions are there. Each run ends, in bounded time and memory, on
/// every message: it may take `limits.jq_steps`, and a value may be nested 512 levels deep; beyond that the message is refused with
/// TL0013, which no `try` catches. They may read `$headers`, `$address`, `$key`, `$time` and `$id`, and pick HL7 fields with
/// `hl7("PID-5.1")`.
///
/// Refused, when the configuration is checked: `input`, `inputs` and `input_line_number`, for a step sees one message; `env`, `$ENV` and
/// `halt`, for a program sees no environment and no process; `import`, `include` and `modulemeta`, for a step is one program.
/// Regular expressions are searched in time linear in the text, so look-around, back-references, possessive and atomic groups and the flag
/// `l` are refused; one that stands in the program is compiled with it, and one that comes from a message costs more steps. `now` is the
/// moment at which the message entered, so that a message gives the same whenever it is tried again; the local zone is UTC. `debug` and
/// `stderr` pass their input on and write nothing. `?//` may also stand for `?` and `//`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepConfig {
    /// Reads the body in this format; the steps after it see JSON. A body that cannot be read is refused with TL0014.
    Decode(Format),
    /// Writes the body in this format.
    Encode(Format),
    /// Lets a message pass only when this jq expression is neither `false` nor `null`. A body that is not JSON does not pass.
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
    /// Whether compiling it reads a file.
    pub(crate) fn reads_file(&self) -> bool {
        matches!(self, StepConfig::Validate(SchemaSource { schema: serde_json::Value::String(_), .. }))
    }

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
    /// XML 1.0 with namespaces, at most 128 levels deep, in UTF-8, UTF-16 or what its declaration names; written in UTF-8. A document that is
    /// not well formed is refused, and so are document types with declarations and entities of their own. An element becomes an object:
    /// attributes `@name`, text `#text`, children by name, repeated ones as a list; one that holds only text becomes that text. Where texts stand
    /// between children, `#mixed` lists both in their order, each child as an object with one field; elsewhere the order of children with different names is not kept, nor are comments and processing instructions. A child that
    /// comes once or many times is made a list by jq: `map: .order.line |= toarray`.
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
    /// the configuration file. `$ref` finds what is inside the document, by pointer, `$id` or `$anchor`; nothing is fetched.
    pub schema: serde_json::Value,
    /// Whether `format` refuses what does not fit it (`date-time`, `email`, `uuid` …), in every dialect. Without, it says nothing, as
    /// 2020-12 has it. Default true.
    #[serde(default = "yes")]
    pub format: bool,
}

fn yes() -> bool {
    true
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
