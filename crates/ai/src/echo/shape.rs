//! A value that fits a JSON Schema, made of a text: what `echo` says when the client wants an answer in a form.
//! It knows the part of JSON Schema that OpenAI's structured outputs take, and guesses nothing beyond it.

use super::{field, text_of};
use serde_json::{Map, Value};

/// The deepest nesting that is filled in; a schema that refers to itself ends there.
const DEPTH_MAX: u32 = 16;

/// The value; `text` stands in every place for free text.
pub(super) fn value(schema: &Value, text: &str) -> Value {
    Shape { root: schema, text }.at(schema, DEPTH_MAX)
}

struct Shape<'a> {
    root: &'a Value,
    text: &'a str,
}

impl Shape<'_> {
    fn at(&self, schema: &Value, depth: u32) -> Value {
        let Some(depth) = depth.checked_sub(1) else { return Value::Null };
        if let Some(place) = field(schema, "$ref").as_str() {
            let found = place.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return found.map_or(Value::Null, |found| self.at(found, depth));
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(first) = field(schema, "enum").as_array().and_then(|values| values.first()) {
            return first.clone();
        }
        for word in ["anyOf", "oneOf", "allOf"] {
            // Of several forms one that ends soonest: `null` ends what refers to itself.
            if let Some(forms) = field(schema, word).as_array() {
                let null =
                    forms.iter().find(|form| field(form, "type") == "null").filter(|_| depth < DEPTH_MAX / 2);
                return null.or(forms.first()).map_or(Value::Null, |form| self.at(form, depth));
            }
        }
        let kind = match field(schema, "type") {
            Value::String(word) => word.as_str(),
            Value::Array(words) => words.first().map_or("", text_of),
            _ if schema.get("properties").is_some() => "object",
            _ => "string",
        };
        match kind {
            "object" => self.object(schema, depth),
            "array" => {
                let count = field(schema, "minItems").as_u64().unwrap_or(0).min(64);
                (0..count).map(|_| self.at(field(schema, "items"), depth)).collect()
            }
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(0)),
            "boolean" => Value::Bool(false),
            "null" => Value::Null,
            _ => Value::from(self.string(schema)),
        }
    }

    fn object(&self, schema: &Value, depth: u32) -> Value {
        let properties = field(schema, "properties").as_object();
        let members = properties.into_iter().flatten();
        members.map(|(name, inner)| (name.clone(), self.at(inner, depth))).collect::<Map<_, _>>().into()
    }

    fn string(&self, schema: &Value) -> String {
        let bound = |word: &str| field(schema, word).as_u64().and_then(|count| usize::try_from(count).ok());
        let mut text: String = match field(schema, "format").as_str() {
            Some("date-time") => return "2026-01-01T00:00:00Z".to_owned(),
            Some("date") => return "2026-01-01".to_owned(),
            Some("email") => return "echo@example.com".to_owned(),
            Some("uuid") => return "00000000-0000-4000-8000-000000000000".to_owned(),
            _ => self.text.chars().take(bound("maxLength").unwrap_or(usize::MAX)).collect(),
        };
        let least = bound("minLength").unwrap_or(0).min(4_096);
        while text.chars().count() < least {
            text.push('x');
        }
        text
    }
}
