//! JSON Schema, compiled once. Nothing is fetched: a `$ref` that leaves the document is refused when it is compiled.

use access::Outside;
use jsonschema::{PatternOptions, Validator};
use message::{Code, Fault};
use serde_json::Value;
use std::path::Path;

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
    /// Compiles an inline schema, or the one in the JSON file of that name relative to `base`; of a file that is not looked at
    /// any value is.
    pub(super) fn compile(source: &Value, base: &Path, outside: Outside) -> Result<Schema, String> {
        let read;
        let schema = match source {
            Value::String(name) => {
                let path = base.join(name);
                let bytes = outside
                    .file(&path, FILE_BYTES_MAX)
                    .map_err(|error| format!("schema file {} cannot be read: {error}", path.display()))?;
                read = bytes
                    .map_or(Ok(Value::Bool(true)), |bytes| serde_json::from_slice(&bytes))
                    .map_err(|error| format!("schema file {} is not JSON: {error}", path.display()))?;
                &read
            }
            inline => inline,
        };
        refuse_foreign(schema)?;
        let validator = jsonschema::options()
            // Linear in the text, without look-around; backtracking could take exponential time on a message.
            .with_pattern_options(PatternOptions::regex())
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

/// A `$ref` may point into the document (`#…`) only; relative names would be resolved against the network or disk.
fn refuse_foreign(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match (name.as_str(), value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) if !to.starts_with('#') => {
                Err(format!("schema: {name} {to:?} leaves the document; only #… is followed"))
            }
            ("const" | "enum" | "default" | "examples", _) => Ok(()),
            (_, value) => refuse_foreign(value),
        }),
        Value::Array(items) => items.iter().try_for_each(refuse_foreign),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
