//! Headers that mirror the body: `Mcp-Name`, and `Mcp-Param-*` from `x-mcp-header` in a tool's schema (2026-07-28,
//! Streamable HTTP, Value Encoding). Only plain chains of `properties` count; nothing is resolved or fetched.

use crate::json::Fields;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::borrow::Cow;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";
/// Deeper annotations are treated as invalid, so that a schema cannot make us recurse.
const DEPTH_MAX: usize = 16;

/// One annotated parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Param {
    /// The whole header name, lower case: `mcp-param-region`.
    pub(crate) header: String,
    path: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Integer,
    Boolean,
}

/// The annotations of an input schema, or why the tool must not be offered.
pub(crate) fn params(schema: &Value) -> Result<Vec<Param>, String> {
    let mut found = Vec::new();
    walk(schema, &mut Vec::new(), true, 0, &mut found)?;
    Ok(found)
}

fn walk(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    depth: usize,
    found: &mut Vec<Param>,
) -> Result<(), String> {
    if depth > DEPTH_MAX * 2 {
        return Ok(());
    }
    match schema {
        Value::Object(members) => {
            if let Some(name) = members.get("x-mcp-header")
                && !path.is_empty()
            {
                let param = annotated(name, members.get("type"), path, reachable)?;
                if found.iter().any(|have| have.header == param.header) {
                    return Err(format!("x-mcp-header {name} stands twice"));
                }
                found.push(param);
            }
            for (key, value) in members {
                if key == "properties"
                    && let Value::Object(properties) = value
                {
                    for (name, property) in properties {
                        path.push(name.clone());
                        walk(property, path, reachable && path.len() <= DEPTH_MAX, depth + 1, found)?;
                        path.pop();
                    }
                } else if !matches!(key.as_str(), "default" | "const" | "enum" | "examples" | "x-mcp-header")
                {
                    path.push(String::new());
                    walk(value, path, false, depth + 1, found)?;
                    path.pop();
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, path, false, depth + 1, found)),
        _ => Ok(()),
    }
}

fn annotated(name: &Value, kind: Option<&Value>, path: &[String], reachable: bool) -> Result<Param, String> {
    let name = name.as_str().ok_or("x-mcp-header must be a string")?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("x-mcp-header {name:?} is no header name"));
    }
    if !reachable {
        return Err(format!("x-mcp-header {name:?} stands where only a chain of properties may lead"));
    }
    let kind = match kind.and_then(Value::as_str) {
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        other => return Err(format!("x-mcp-header {name:?} is on a parameter of type {other:?}")),
    };
    Ok(Param { header: format!("mcp-param-{}", name.to_ascii_lowercase()), path: path.to_vec(), kind })
}

impl Param {
    /// The value in `arguments` as the header says it before encoding; `None` when it is absent or null.
    pub(crate) fn value(&self, arguments: Option<&str>) -> Option<String> {
        let mut at: Cow<'_, str> = Cow::Borrowed(arguments?);
        for step in &self.path {
            let inner = Fields::parse(&at).ok()?.get(step)?.to_owned();
            at = Cow::Owned(inner);
        }
        match at.trim() {
            "null" => None,
            text if text.starts_with('"') => crate::json::string(text).map(Cow::into_owned),
            text => Some(text.to_owned()),
        }
    }

    /// Whether the header's text stands for the argument's.
    pub(crate) fn matches(&self, header: &str, argument: &str) -> bool {
        if self.kind == Kind::Integer
            && let (Ok(left), Ok(right)) = (header.parse::<f64>(), argument.parse::<f64>())
        {
            return left == right;
        }
        header == argument
    }
}

/// A value as a header may carry it.
pub(crate) fn encode(value: &str) -> Cow<'_, str> {
    let plain = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let padded = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    let sentinel = value.starts_with(OPEN) && value.ends_with(CLOSE);
    if plain && !padded && !sentinel {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(value)))
    }
}

/// What a header's value stands for; `None` when it is in the sentinel form but no base64 of UTF-8.
pub(crate) fn decode(header: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = header.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else {
        return Some(Cow::Borrowed(header));
    };
    let bytes = STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests;
