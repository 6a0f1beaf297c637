//! The URIs in what an upstream says, as its clients shall follow them: links and embedded resources in content, what was read,
//! and the app of a tool. Texts and structured content are passed on as they are.

use crate::json::{Fields, Object};
use serde_json::value::RawValue;

/// What a URI is written as instead, where it is.
pub(crate) type Rewrite<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The keys in a tool's `_meta` that name its app: of the MCP Apps extension, before it had an object of its own, and of one
/// host.
const APPS: [&str; 2] = ["ui/resourceUri", "openai/outputTemplate"];

/// A result of `tools/call`, `prompts/get` or `resources/read`, or of a task that holds one; `None` when nothing is written
/// otherwise.
pub(crate) fn result(result: &str, rewrite: Rewrite<'_>) -> Option<String> {
    members(result, |key, value| match key {
        "result" => plain(value, rewrite),
        key => member(key, value, rewrite),
    })
}

fn plain(result: &str, rewrite: Rewrite<'_>) -> Option<String> {
    members(result, |key, value| member(key, value, rewrite))
}

fn member(key: &str, value: &str, rewrite: Rewrite<'_>) -> Option<String> {
    match key {
        "content" | "contents" => blocks(value, rewrite),
        "messages" => each(value, |message| {
            members(message, |key, value| (key == "content").then(|| blocks(value, rewrite)).flatten())
        }),
        "_meta" => app_in(value, rewrite),
        _ => None,
    }
}

/// The description of a tool.
pub(crate) fn tool(raw: &str, rewrite: Rewrite<'_>) -> Option<String> {
    members(raw, |key, value| (key == "_meta").then(|| app_in(value, rewrite)).flatten())
}

fn app_in(meta: &str, rewrite: Rewrite<'_>) -> Option<String> {
    members(meta, |key, value| match key {
        "ui" => members(value, |key, value| (key == "resourceUri").then(|| uri(value, rewrite)).flatten()),
        key if APPS.contains(&key) => uri(value, rewrite),
        _ => None,
    })
}

/// One content block or a list of them: a link has a `uri`, an embedded resource one inside.
fn blocks(raw: &str, rewrite: Rewrite<'_>) -> Option<String> {
    let block = |raw: &str| {
        members(raw, |key, value| match key {
            "uri" => uri(value, rewrite),
            "resource" => members(value, |key, value| (key == "uri").then(|| uri(value, rewrite)).flatten()),
            _ => None,
        })
    };
    if raw.starts_with('[') { each(raw, block) } else { block(raw) }
}

fn uri(raw: &str, rewrite: Rewrite<'_>) -> Option<String> {
    let text = crate::json::string(raw)?;
    rewrite(&text).map(|text| crate::json::quote(&text))
}

/// An object with the members that `change` writes otherwise.
fn members(raw: &str, change: impl Fn(&str, &str) -> Option<String>) -> Option<String> {
    let fields = Fields::parse(raw).ok()?;
    let mut changed = false;
    let mut out = Object::with_capacity(raw.len() + 64);
    for (key, value) in fields.iter() {
        out = match change(key, value) {
            Some(other) => {
                changed = true;
                out.raw(key, &other)
            }
            None => out.raw(key, value),
        };
    }
    changed.then(|| out.done())
}

/// A list with the entries that `change` writes otherwise.
fn each(raw: &str, change: impl Fn(&str) -> Option<String>) -> Option<String> {
    let entries: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    let mut changed = false;
    let mut out = String::with_capacity(raw.len() + 64);
    for entry in entries {
        out.push(if out.is_empty() { '[' } else { ',' });
        match change(entry.get()) {
            Some(other) => {
                changed = true;
                out.push_str(&other);
            }
            None => out.push_str(entry.get()),
        }
    }
    out.push(']');
    changed.then_some(out)
}

#[cfg(test)]
mod tests;
