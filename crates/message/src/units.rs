//! Spans of time and counts of bytes as people write them in configuration: `30s`, `250ms`, `1MiB`.
//! Only reading and printing; arithmetic belongs to `Duration` and `usize`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A span of time: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole milliseconds.
    pub const fn millis(count: u64) -> Span {
        Span(Duration::from_millis(count))
    }

    /// A span of whole seconds.
    pub const fn secs(count: u64) -> Span {
        Span(Duration::from_secs(count))
    }

    /// Reads `250ms`, `30s`, `5m`, `2h` or `7d`.
    pub fn parse(text: &str) -> Option<Span> {
        let (count, unit) = split(text)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        count.checked_mul(millis).map(Span::millis)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (count, unit) = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
            .into_iter()
            .find(|(size, _)| millis >= *size && millis.is_multiple_of(*size))
            .map_or((millis, "ms"), |(size, unit)| (millis / size, unit));
        write!(out, "{count}{unit}")
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        // A bare number is the usual slip; it deserves the same advice as any other text.
        let text = match Written::deserialize(deserializer)? {
            Written::Number(count) => count.to_string(),
            Written::Text(text) => text,
        };
        Span::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no span of time: write a whole number and ms, s, m, h or d, as in 30s"
            ))
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "a span of time: 250ms, 30s, 5m, 2h, 7d" })
    }
}

/// A count of bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// Reads `512B`, `64KiB`, `1MiB`, `2GiB` or a bare number.
    pub fn parse(text: &str) -> Option<ByteCount> {
        let (count, unit) = split(text)?;
        let size: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        count.checked_mul(size).map(ByteCount)
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size))
            .map_or((self.0, "B"), |(size, unit)| (self.0 / size, unit));
        write!(out, "{count}{unit}")
    }
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteCount, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let refuse = |text: &dyn fmt::Debug| {
            D::Error::custom(format!(
                "{text:?} is no count of bytes: write a whole number and B, KiB, MiB or GiB, as in 1MiB"
            ))
        };
        match Written::deserialize(deserializer)? {
            Written::Number(count) => Ok(ByteCount(count)),
            Written::Text(text) => ByteCount::parse(&text).ok_or_else(|| refuse(&text)),
        }
    }
}

impl JsonSchema for ByteCount {
    fn schema_name() -> Cow<'static, str> {
        "ByteCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$", "description": "a count of bytes: 512B, 64KiB, 1MiB, 2GiB" })
    }
}

/// The leading digits as a number, and the rest.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit))
}

#[cfg(test)]
mod tests;
