//! JSON objects as heads: keys and raw values in order, so that bodies are forwarded as the bytes that came.
//! It never builds a tree of the values, and it changes nothing that it was not told to change.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The members of one JSON object; a key that stands twice is refused, because two readers could see two values.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Reads an object; anything else is an error.
    pub(crate) fn parse(text: &'a str) -> Result<Fields<'a>, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Reads an object from bytes.
    pub(crate) fn parse_bytes(bytes: &'a [u8]) -> Result<Fields<'a>, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// An object, or nothing at all where there is none.
    pub(crate) fn of(raw: Option<&'a str>) -> Result<Fields<'a>, serde_json::Error> {
        raw.map_or_else(|| Ok(Fields::default()), Fields::parse)
    }

    /// The raw value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(have, _)| have == key).map(|(_, value)| value.get())
    }

    /// The value of `key` when it is a string.
    pub(crate) fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(string)
    }

    /// All members in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(key, value)| (&**key, value.get()))
    }
}

/// The text of a raw value that is a JSON string.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Key<'_>>(raw).ok().map(|key| key.0)
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Fields<'a>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(8);
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    if members.iter().any(|(have, _)| *have == key.0) {
                        return Err(A::Error::custom(format!("the key {:?} stands twice", key.0)));
                    }
                    members.push((key.0, map.next_value()?));
                }
                Ok(Fields(members))
            }
        }
        source.deserialize_map(Members)
    }
}

/// Writes one JSON object member by member.
#[derive(Debug)]
pub(crate) struct Object {
    text: String,
    empty: bool,
}

impl Object {
    /// `{`, with room for about `size` bytes.
    pub(crate) fn with_capacity(size: usize) -> Object {
        let mut text = String::with_capacity(size + 2);
        text.push('{');
        Object { text, empty: true }
    }

    /// An empty object.
    pub(crate) fn new() -> Object {
        Object::with_capacity(128)
    }

    /// Adds a member whose value is JSON already.
    #[must_use]
    pub(crate) fn raw(mut self, key: &str, value: &str) -> Object {
        if !self.empty {
            self.text.push(',');
        }
        self.empty = false;
        quote_into(&mut self.text, key);
        self.text.push(':');
        self.text.push_str(value);
        self
    }

    /// Adds a member whose value is a text.
    #[must_use]
    pub(crate) fn text(self, key: &str, value: &str) -> Object {
        self.raw(key, &quote(value))
    }

    /// Adds a member when there is a value.
    #[must_use]
    pub(crate) fn maybe(self, key: &str, value: Option<&str>) -> Object {
        match value {
            Some(value) => self.raw(key, value),
            None => self,
        }
    }

    /// Adds all members of `fields` except those that `skip` names.
    #[must_use]
    pub(crate) fn all_but(mut self, fields: &Fields<'_>, skip: &[&str]) -> Object {
        for (key, value) in fields.iter() {
            if !skip.contains(&key) {
                self = self.raw(key, value);
            }
        }
        self
    }

    /// Closes it.
    pub(crate) fn done(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// `text` as a JSON string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    out
}

fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The object `raw` with `members` (`"key":value` pairs joined by commas) put first.
/// `raw` must be an object; the bytes of its own members are kept.
pub(crate) fn splice(raw: &str, members: &str) -> String {
    let inner = raw.trim_start().strip_prefix('{').unwrap_or(raw);
    let comma = if inner.trim_start().starts_with('}') || members.is_empty() { "" } else { "," };
    let mut out = String::with_capacity(raw.len() + members.len() + 2);
    out.push('{');
    out.push_str(members);
    out.push_str(comma);
    out.push_str(inner);
    out
}

/// `raw` on one line: line breaks between tokens become spaces (JSON has none inside strings).
pub(crate) fn one_line(raw: &str) -> Cow<'_, str> {
    if raw.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
        Cow::Owned(raw.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(raw)
    }
}

#[cfg(test)]
mod tests;
