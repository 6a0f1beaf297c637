//! The reference of the configuration file, made from the types' own doc comments: JSON Schema, commented default file, manual page.
//! Nothing is described here a second time.

#![expect(
    clippy::indexing_slicing,
    reason = "a key that a JSON value lacks reads as null; what is written to is an object by its making"
)]

use super::load::Program;
use crate::serve::{outlet_kinds, protocols};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The JSON Schema (2020-12) of the whole file.
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let mut root = generator.root_schema_for::<Program>().to_value();
    merge(&mut root, generator.into_root_schema_for::<hub::Config>().to_value());
    add_outlets(&mut root);
    let mut sections = Map::new();
    for protocol in protocols() {
        let mut section = lift(&mut root, (protocol.schema)());
        if let Some(section) = section.as_object_mut() {
            section.insert("title".into(), protocol.title.into());
            section.insert("description".into(), protocol.manual.into());
        }
        sections.insert(protocol.name.to_owned(), section);
    }
    let protocols = json!({
        "type": "object",
        "description": "The protocols' own sections, by name. Every protocol is spoken on the one port, configured or not.",
        "properties": sections,
        "additionalProperties": false,
    });
    let mcp = lift(&mut root, schemars::schema_for!(mcp::Config));
    let models = lift(&mut root, ai::schema());
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("protocols".into(), protocols);
        properties.insert("mcp".into(), mcp);
        properties.insert("models".into(), models);
    }
    root["title"] = "trunkline.yaml".into();
    root["description"] = "The configuration of Trunkline.".into();
    root["additionalProperties"] = false.into();
    root
}

/// Properties and definitions of `other` go into `root`.
fn merge(root: &mut Value, mut other: Value) {
    for key in ["properties", "$defs"] {
        let Some(from) = other.get_mut(key).and_then(Value::as_object_mut).map(std::mem::take) else {
            continue;
        };
        if root.get(key).is_none() {
            root[key] = json!({});
        }
        if let Some(into) = root[key].as_object_mut() {
            into.extend(from);
        }
    }
}

/// A section's schema with its definitions moved to the root's.
fn lift(root: &mut Value, schema: Schema) -> Value {
    let mut section = schema.to_value();
    let definitions = section.as_object_mut().and_then(|section| section.remove("$defs"));
    if let Some(definitions) = definitions {
        merge(root, json!({ "$defs": definitions }));
    }
    if let Some(section) = section.as_object_mut() {
        section.remove("$schema");
    }
    section
}

/// The protocols that an outlet may speak, as properties of an outlet.
fn add_outlets(root: &mut Value) {
    for kind in outlet_kinds() {
        let mut section = lift(root, (kind.schema)());
        if let Some(section) = section.as_object_mut() {
            section.entry("description").or_insert_with(|| kind.title.into());
        }
        let outlet = root.pointer_mut("/$defs/OutletConfig");
        if let Some(outlet) = outlet.and_then(Value::as_object_mut) {
            outlet.entry("properties").or_insert_with(|| json!({}))[kind.name] = section;
            outlet.insert("additionalProperties".into(), false.into());
        }
    }
}

/// A file with every field, commented out, with its meaning and default: a valid configuration as it is.
pub fn default_file() -> String {
    let schema = schema();
    let mut out = String::from(
        "# Trunkline's configuration, every field with its meaning. All are commented out, so this file says what an\n\
         # empty one does. `trunkline config check FILE` checks it, `trunkline serve -c FILE` runs it, and a running\n\
         # server applies changes by itself. Scalars can be overridden from the environment:\n\
         # TRUNKLINE__LIMITS__MESSAGE_BYTES=2000000\n",
    );
    let mut begun = Vec::new();
    each_field(&schema, &schema, &mut Vec::new(), &mut |path, field, leaf| {
        let indent = "  ".repeat(path.len().saturating_sub(1));
        let outer = "  ".repeat(path.len().saturating_sub(2));
        let around = path.split_last().map_or(&[][..], |(_, around)| around).to_vec();
        let first = !begun.contains(&around);
        let place = around.last().map(String::as_str);
        begun.push(around.clone());
        out.push('\n');
        if first && place == Some("<name>") {
            push(&mut out, format_args!("# {outer}NAME:\n"));
        }
        for line in wrap(text(field), 100) {
            push(&mut out, format_args!("# {indent}# {line}\n"));
        }
        let key = path.last().map_or("", String::as_str);
        let value = match default_of(field) {
            Some(value) if leaf => format!(" {value}"),
            _ if !leaf => String::new(),
            _ if field["type"] == "array" => " []".to_owned(),
            _ if field["type"] == "object" => " {}".to_owned(),
            _ => "   # (none)".to_owned(),
        };
        // The first field of an entry carries its dash.
        let begin = if first && place == Some("[]") { format!("{outer}- ") } else { indent };
        push(&mut out, format_args!("# {begin}{key}:{value}\n"));
    });
    out
}

/// The manual's page on the configuration, in Markdown.
pub fn manual() -> String {
    let schema = schema();
    let mut out = String::from(
        "# Configuration\n\nOne YAML file. This page is made from the program's own types by `cargo xtask docs`; do not edit it.\n\
         `<name>` stands for a name that you choose, `[]` for each entry of a list.\n",
    );
    each_field(&schema, &schema, &mut Vec::new(), &mut |path, field, leaf| {
        if path.len() == 1 {
            push(&mut out, format_args!("\n## `{}`\n\n{}\n", path.join("."), text(field)));
            if leaf {
                push(&mut out, format_args!("\nType: {}\n", type_of(field)));
            }
        } else {
            let kind = if leaf { format!(" ({})", type_of(field)) } else { String::new() };
            push(
                &mut out,
                format_args!("\n- **`{}`**{kind}: {}\n", path.join("."), text(field).replace('\n', " ")),
            );
        }
    });
    out
}

fn push(out: &mut String, what: impl std::fmt::Display) {
    out.push_str(&what.to_string());
}

/// Calls `each` for every field below `schema`, outer before inner, with its path and whether it is a leaf.
fn each_field(
    root: &Value,
    schema: &Value,
    path: &mut Vec<String>,
    each: &mut dyn FnMut(&[String], &Value, bool),
) {
    // A type that contains itself ends here; the names of fields never go so deep.
    if path.len() > 7 {
        return;
    }
    let schema = resolve(root, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        path.push(name.clone());
        let inner = inner_of(root, field);
        each(path, &described(root, field), inner.is_none());
        if let Some((through, inner)) = inner {
            path.extend(through.iter().map(|step| (*step).to_owned()));
            each_field(root, &inner, path, each);
            path.truncate(path.len() - through.len());
        }
        path.pop();
    }
}

/// The schema of what a field holds, when that has fields itself, and the steps to it.
fn inner_of(root: &Value, field: &Value) -> Option<(&'static [&'static str], Value)> {
    let resolved = resolve(root, field);
    let has_fields = |schema: &Value| schema["properties"].as_object().is_some_and(|all| !all.is_empty());
    if has_fields(&resolved) {
        return Some((&[], resolved));
    }
    let items = resolve(root, &resolved["items"]);
    if has_fields(&items) {
        return Some((&["[]"], items));
    }
    let values = resolve(root, &resolved["additionalProperties"]);
    has_fields(&values).then_some((&["<name>"], values))
}

/// Follows references and the usual ways to write an optional.
fn resolve(root: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).cloned().unwrap_or(Value::Null);
        return resolve(root, &target);
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        let real: Vec<&Value> = schema[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one["type"] != "null" && one["type"] != "string")
            .collect();
        if let [only] = real.as_slice() {
            return resolve(root, only);
        }
    }
    schema.clone()
}

/// The field with the description of what it refers to, when it has none of its own.
fn described(root: &Value, field: &Value) -> Value {
    let mut merged = resolve(root, field);
    if let (Some(own), Some(merged)) = (field.get("description"), merged.as_object_mut()) {
        merged.insert("description".into(), own.clone());
    }
    merged
}

fn text(field: &Value) -> &str {
    field["description"].as_str().unwrap_or("")
}

fn type_of(field: &Value) -> String {
    match &field["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ if field["enum"].is_array() || field["oneOf"].is_array() => "one of several words".to_owned(),
        _ => "see text".to_owned(),
    }
}

/// What the description says after `Default `, as a YAML scalar: a number (of bytes, when a unit follows), a word in backticks, a
/// truth or an address. What is said in words has none.
fn default_of(field: &Value) -> Option<String> {
    if field["type"] == "array" || field["type"] == "object" {
        return None;
    }
    let (_, rest) = text(field).split_once("Default ")?;
    let mut words = rest.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ';', ':']));
    let (word, unit) = (words.next()?, words.next());
    if let Some(quoted) = word.strip_prefix('`') {
        return quoted.strip_suffix('`').map(str::to_owned);
    }
    let plain = word.replace(',', "");
    if let Ok(count) = plain.parse::<u64>() {
        let shift = [("KiB", 10), ("MiB", 20), ("GiB", 30)].iter().find(|(name, _)| unit == Some(name));
        return Some((count << shift.map_or(0, |(_, shift)| *shift)).to_string());
    }
    let number = plain.chars().next().is_some_and(|c| c.is_ascii_digit());
    (number || ["true", "false"].contains(&plain.as_str()) || plain.contains('/')).then_some(plain)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() + 1 > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
