//! JSON Schema, compiled once. References find what has its `$id` or `$anchor` inside the document; nothing is fetched, and one that
//! leaves the document is refused when it is compiled.

use super::{SchemaSource, Surroundings};
use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use message::{Code, Fault};
use serde_json::Value;
use std::error::Error;

/// The most violations that one fault names.
const VIOLATIONS_MAX: usize = 10;
/// The longest text of one violation; it quotes the offending value.
const VIOLATION_CHARS_MAX: usize = 160;

/// The largest file of a schema: FHIR's, of all resources, has less than half of it.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub(super) struct Schema {
    validator: Validator,
}

impl Schema {
    /// Compiles an inline schema, or the one in the JSON file of that name; of a file that is not looked at any value is.
    pub(super) fn compile(source: &SchemaSource, with: Surroundings<'_>) -> Result<Schema, String> {
        let read;
        let schema = match &source.schema {
            Value::String(name) => {
                let path = with.base.join(name);
                let bytes = with
                    .outside
                    .file(&path, FILE_BYTES_MAX)
                    .map_err(|error| format!("schema file {} cannot be read: {error}", path.display()))?;
                read = bytes
                    .map_or(Ok(Value::Bool(true)), |bytes| serde_json::from_slice(&bytes))
                    .map_err(|error| format!("schema file {} is not JSON: {error}", path.display()))?;
                &read
            }
            inline => inline,
        };
        let validator = jsonschema::options()
            // Linear in the text, without look-around; backtracking could take exponential time on a message.
            .with_pattern_options(PatternOptions::regex())
            .with_retriever(Nowhere)
            .should_validate_formats(source.format)
            .build(schema)
            .map_err(|error| {
                format!("schema: {}{}", cut(&error.to_string()), at(error.instance_path().as_str()))
            })?;
        Ok(Schema { validator })
    }

    /// All that is wrong with `value`, up to a bound, as one fault.
    pub(super) fn check(&self, value: &Value) -> Result<(), Fault> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let mut errors = self.validator.iter_errors(value);
        let mut texts: Vec<String> = errors
            .by_ref()
            .take(VIOLATIONS_MAX)
            .map(|error| format!("{}{}", cut(&error.to_string()), at(error.instance_path().as_str())))
            .collect();
        let more = errors.take(1000).count();
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        Err(Fault::new(Code::SchemaViolation, texts.join("; ")))
    }
}

fn at(pointer: &str) -> String {
    if pointer.is_empty() { " at the root".to_owned() } else { format!(" at {pointer}") }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(VIOLATION_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// What is asked for a schema that is not in the document: nothing is fetched, from the network or from disk.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let shown = uri.as_str();
        Err(format!("{shown:?} leaves the document; only what has its `$id` inside is followed").into())
    }
}

#[cfg(test)]
mod tests;
