//! Query strings and JSON bodies, read strictly: what nobody knows is refused with the nearest name that is known.
//! What the values mean is each handler's business.

use crate::text;
use message::{Code, Fault, Span, nearest};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::time::Duration;

/// The parameters of one request, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query<'q> {
    pairs: Vec<(Cow<'q, str>, Cow<'q, str>)>,
}

impl<'q> Query<'q> {
    /// Reads `a=1&b=2`; each name must be among `known` and stand once. No query costs nothing.
    pub(crate) fn read(query: Option<&'q str>, known: &[&str]) -> Result<Query<'q>, Fault> {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(Query::default()) };
        let mut pairs: Vec<(Cow<'q, str>, Cow<'q, str>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let broken = || bad(format!("the query parameter {pair:?} is not UTF-8"));
            let name = text::form_decode(name).ok_or_else(broken)?;
            let value = text::form_decode(value).ok_or_else(broken)?;
            // A browser's WebSocket and EventSource cannot set headers; the credential was read before us.
            if name == "access_token" {
                continue;
            }
            if !known.contains(&&*name) {
                return Err(bad(unknown("query parameter", &name, known)));
            }
            if pairs.iter().any(|(have, _)| *have == name) {
                return Err(bad(format!("the query parameter {name:?} stands twice")));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(have, _)| have == name).map(|(_, value)| &**value)
    }

    /// A flag: `true`, `false`, or its bare name for true.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.get(name).map(|value| read_flag(name, value)).transpose()
    }

    /// A whole number within `range`.
    pub(crate) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Fault> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| range.contains(number));
        let (low, high) = range.into_inner();
        number
            .map(Some)
            .ok_or_else(|| bad(format!("{name} is {value:?}; it is a whole number from {low} to {high}")))
    }

    /// A span such as `30s`.
    pub(crate) fn span(&self, name: &str) -> Result<Option<Duration>, Fault> {
        self.get(name).map(|value| read_span(name, value)).transpose()
    }
}

/// `true` or `false`; an empty value is true.
pub(crate) fn read_flag(name: &str, value: &str) -> Result<bool, Fault> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(bad(format!("{name} is {value:?}; it is true or false"))),
    }
}

/// A span such as `30s`.
pub(crate) fn read_span(name: &str, value: &str) -> Result<Duration, Fault> {
    Span::parse(value).map(|span| span.0).ok_or_else(|| {
        bad(format!("{name} is {value:?}; it is a whole number and ms, s, m, h or d, as in 30s"))
    })
}

/// Reads a JSON body; an empty one is an empty object. Unknown members are refused by `T` itself.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad(explain(&error.to_string())))
}

/// A whole number, which JSON may also write as `5.0` or `5e0` (as JSON Schema sees it, these are integers).
pub(crate) fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    use serde::Deserialize;
    use serde::de::Error;
    let number = serde_json::Number::deserialize(deserializer)?;
    let written = number.to_string();
    let digits = written.strip_suffix(".0").unwrap_or(&written);
    digits.parse().map_err(|_| D::Error::custom(format!("{written} is no whole number")))
}

/// The same, when it is there.
pub(crate) fn maybe_whole<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    whole(deserializer).map(Some)
}

/// Puts the nearest known member into serde's words for an unknown one, which list all of them in backquotes.
pub(crate) fn explain(error: &str) -> String {
    let mut quoted = error.split('`').skip(1).step_by(2);
    let kind = ["unknown field", "unknown variant"].into_iter().find(|kind| error.starts_with(kind));
    match (kind, quoted.next()) {
        (Some(kind), Some(word)) => {
            let known: Vec<&str> = quoted.collect();
            let kind = if kind.ends_with("field") { "member" } else { "word" };
            unknown(kind, word, &known)
        }
        _ => error.to_owned(),
    }
}

/// `unknown KIND "word"; did you mean "near"?`, or what is known when nothing is near.
pub(crate) fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("unknown {kind} {word:?}; did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown {kind} {word:?}; none is known here"),
        None => format!("unknown {kind} {word:?}; known are {}", known.join(", ")),
    }
}

pub(crate) fn bad(what: impl Into<String>) -> Fault {
    Fault::new(Code::BadRequest, what)
}

#[cfg(test)]
mod tests;
