//! Secrets as references, so that a configuration file can be shown to anybody.
//! It reads the environment and files when asked, and keeps what it read only where it is used.

use message::Misfit;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use zeroize::Zeroizing;

/// Where a secret is to be found: `env:NAME` or `file:PATH`. A value in clear is refused.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A reference as people write it.
    pub fn reference(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The secret itself, without the line break that editors leave at the end of a file.
    pub fn reveal(&self) -> Result<Zeroizing<String>, Misfit> {
        let (scheme, rest) = self.0.split_once(':').unwrap_or(("", ""));
        let value = match scheme {
            "env" => std::env::var(rest)
                .map_err(|_| Misfit::new(format!("the environment variable {rest:?} is not set")))?,
            "file" => std::fs::read_to_string(rest)
                .map_err(|error| Misfit::new(format!("cannot read the secret file {rest:?}: {error}")))?,
            _ => {
                return Err(Misfit::new(
                    "a secret is a reference, env:NAME or file:PATH, never the value itself",
                ));
            }
        };
        let value = Zeroizing::new(value.trim_end_matches(['\r', '\n']).to_owned());
        if value.is_empty() {
            return Err(Misfit::new(format!("the secret {self:?} is empty")));
        }
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    /// Only a reference is shown: should somebody have put the value itself there, it stays hidden.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_reference = self.0.starts_with("env:") || self.0.starts_with("file:");
        out.write_str(if is_reference { &self.0 } else { "(hidden)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(env|file):.+$", "description": "a reference to a secret: env:NAME or file:PATH" })
    }
}
