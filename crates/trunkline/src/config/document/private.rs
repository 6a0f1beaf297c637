//! What of a configuration is not everybody's: values that hold secrets or may, told by the schema. A file shown to who may only
//! look has them masked, and a line that holds one is not quoted. It changes nothing that is applied.

use super::{Document, Node, Tree};
use crate::config::reference;
use access::Secret;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

/// What stands for a value that is not shown.
const HIDDEN: &str = "(hidden)";
/// Fields whose texts may hold a credential, whatever their type says.
const FREE: [&str; 3] = ["args", "env", "headers"];
/// What a secret's type is called in the schema.
const SECRET: &str = "Secret";

static SCHEMA: LazyLock<Value> = LazyLock::new(reference::schema);
/// The names of all fields that hold secrets.
static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut names: BTreeSet<String> = FREE.iter().map(|name| (*name).to_owned()).collect();
    gather(&SCHEMA, &mut names);
    names
});

/// A text as it is shown to who may not change it: everything that the schema knows, without comments, secrets in clear, the
/// queries of URLs, headers and arguments of programs; as JSON, which is YAML. Nothing when it cannot be read.
pub(crate) fn without_secrets(text: &str) -> Option<String> {
    let document = Document::parse(Path::new(""), text).ok()?;
    serde_json::to_string_pretty(&masked(&document.value(), At::top())).ok()
}

/// The lines of a document that hold something which is not shown.
pub(super) fn lines(root: &Node) -> BTreeSet<u64> {
    let mut scalars = Vec::new();
    walk(root, At::top(), &mut scalars);
    let mut found = BTreeSet::new();
    for (place, (line, private)) in scalars.iter().enumerate() {
        // A text may go on to the line where the next one begins.
        let end = scalars.get(place + 1).map_or(*line, |(next, _)| *next);
        if *private {
            found.extend(*line..=end.max(*line));
        }
    }
    found
}

/// Whether a line that could not be read seems to hold a secret.
pub(super) fn seems_private(line: &str) -> bool {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.into_iter().any(|word| NAMES.contains(&word.to_ascii_lowercase()))
}

/// A place in the schema.
#[derive(Clone)]
struct At {
    /// The ways in which what stands there may be written; none where nobody knows it.
    ways: Vec<&'static Value>,
    /// Whether it stands below a field of [`FREE`].
    free: bool,
}

impl At {
    fn top() -> At {
        At { ways: ways(&SCHEMA), free: false }
    }

    fn at(&self, key: &str) -> At {
        let found = self.ways.iter().filter_map(|way| {
            let named = way.get("properties").and_then(|all| all.get(key));
            named.or_else(|| way.get("additionalProperties").filter(|more| more.is_object()))
        });
        let ways: Vec<&'static Value> = found.flat_map(ways).collect();
        // Of the same name there are numbers, such as `limits.headers`.
        let holds_texts =
            ways.iter().any(|way| way.get("type").is_some_and(|kind| kind == "object" || kind == "array"));
        At { free: self.free || (FREE.contains(&key) && holds_texts), ways }
    }

    fn entry(&self) -> At {
        let found = self.ways.iter().filter_map(|way| way.get("items"));
        At { ways: found.flat_map(ways).collect(), free: self.free }
    }

    /// Anything may stand here, as in a JSON Schema that is written into the file.
    fn is_open(&self) -> bool {
        self.ways.iter().any(|way| {
            way.as_object().is_some_and(|way| !way.contains_key("type") && !way.contains_key("pattern"))
        })
    }

    fn is_secret(&self) -> bool {
        self.ways.iter().any(|way| way.get("pattern").is_some_and(|pattern| pattern == "^(env|file):.+$"))
    }

    /// Whether secrets stand beside what nobody knows here.
    fn is_beside_secrets(&self) -> bool {
        let fields = self.ways.iter().filter_map(|way| way.get("properties")?.as_object());
        fields.flatten().any(|(_, field)| At { ways: ways(field), free: false }.is_secret())
    }

    /// What of a text is not shown.
    fn hides(&self, text: &str) -> bool {
        let secret = self.free || self.is_secret() || self.ways.is_empty();
        (secret && !Secret::reference(text).is_reference()) || cut(text).is_some()
    }
}

/// A schema's alternatives, references followed.
fn ways(schema: &'static Value) -> Vec<&'static Value> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return SCHEMA.pointer(name.trim_start_matches('#')).map(ways).unwrap_or_default();
    }
    let alternatives = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(*key)?.as_array());
    let several: Vec<&'static Value> = alternatives.flatten().flat_map(ways).collect();
    if several.is_empty() { vec![schema] } else { several }
}

fn gather(schema: &Value, names: &mut BTreeSet<String>) {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let secret = |field: &Value| field.to_string().contains(&format!("#/$defs/{SECRET}\""));
        names.extend(fields.iter().filter(|(_, field)| secret(field)).map(|(name, _)| name.clone()));
    }
    match schema {
        Value::Object(map) => map.values().for_each(|value| gather(value, names)),
        Value::Array(list) => list.iter().for_each(|value| gather(value, names)),
        _ => {}
    }
}

fn masked(value: &Value, at: At) -> Value {
    if at.is_open() && !at.free {
        return value.clone();
    }
    match value {
        Value::Object(map) => {
            let shown = map.iter().map(|(key, value)| (key.clone(), masked(value, at.at(key))));
            Value::Object(shown.collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(|value| masked(value, at.entry())).collect(),
        Value::String(text) if at.free || at.is_secret() || at.ways.is_empty() => {
            if Secret::reference(text).is_reference() { value.clone() } else { HIDDEN.into() }
        }
        Value::String(text) => cut(text).map_or_else(|| value.clone(), Value::String),
        _ if at.is_secret() || at.ways.is_empty() || at.free => HIDDEN.into(),
        other => other.clone(),
    }
}

/// A URL without its user and query, when it has one of them.
fn cut(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (place, query) = rest.split_once('?').map_or((rest, false), |(place, _)| (place, true));
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host = authority.rsplit_once('@').map(|(_, host)| host);
    if host.is_none() && !query {
        return None;
    }
    let query = if query { "?…" } else { "" };
    Some(format!("{scheme}://{}{path}{query}", host.unwrap_or(authority)))
}

/// All scalars in the order of the file: their lines, and whether they are hidden.
fn walk(node: &Node, at: At, found: &mut Vec<(u64, bool)>) {
    match &node.tree {
        Tree::Scalar(value) => {
            let private = match value {
                Value::String(text) => at.hides(text),
                Value::Number(_) => at.is_secret() || at.free,
                _ => false,
            };
            found.push((node.place.line, private));
        }
        Tree::List(nodes) => nodes.iter().for_each(|node| walk(node, at.entry(), found)),
        Tree::Map(entries) => {
            for (key, place, node) in entries {
                found.push((place.line, false));
                let mut inner = at.at(key);
                if inner.ways.is_empty() && !at.is_beside_secrets() {
                    // A slip of the finger is worth showing where no secret can be meant.
                    inner.ways = vec![&Value::Null];
                }
                walk(node, inner, found);
            }
        }
    }
}

#[cfg(test)]
mod tests;
