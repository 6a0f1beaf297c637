//! Secrets as references, so that a configuration file can be shown to anybody.
//! It reads the environment and files when asked, and keeps what it read only where it is used.

use crate::Outside;
use message::Misfit;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest file that holds a secret.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where a secret is to be found: `env:NAME` or `file:PATH`. A value in clear is refused.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

enum Scheme {
    Env,
    File,
}

impl Secret {
    /// A reference as people write it.
    pub fn reference(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// The secret itself, without the line break that editors leave at the end of a file; nothing when what lies outside is
    /// not looked at.
    ///
    /// # Errors
    /// When it is not a reference, or what it refers to is not there, empty, or not a regular file of at most 64 KiB.
    pub fn reveal(&self, outside: Outside) -> Result<Option<Zeroizing<String>>, Misfit> {
        let Some((scheme, rest)) = self.parts() else {
            return Err(Misfit::new(
                "a secret is a reference, env:NAME or file:PATH, never the value itself",
            ));
        };
        if outside == Outside::Unread {
            return Ok(None);
        }
        let value = match scheme {
            Scheme::Env => std::env::var(rest)
                .map_err(|_| Misfit::new(format!("the environment variable {rest:?} is not set")))?,
            Scheme::File => net::files::read_text(Path::new(rest), FILE_BYTES_MAX)
                .map_err(|error| Misfit::new(format!("cannot read the secret file {rest:?}: {error}")))?,
        };
        let value = Zeroizing::new(value.trim_end_matches(['\r', '\n']).to_owned());
        if value.is_empty() {
            return Err(Misfit::new(format!("the secret {self:?} is empty")));
        }
        Ok(Some(value))
    }

    /// Whether it is written as a reference, and so may be shown.
    pub fn is_reference(&self) -> bool {
        self.parts().is_some()
    }

    /// The reference as it was written, to tell secrets apart that are not looked at.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<(Scheme, &str)> {
        let (scheme, rest) = self.0.split_once(':').filter(|(_, rest)| !rest.is_empty())?;
        match scheme {
            "env" => Some((Scheme::Env, rest)),
            "file" => Some((Scheme::File, rest)),
            _ => None,
        }
    }
}

impl fmt::Debug for Secret {
    /// Only a reference is shown: should somebody have put the value itself there, it stays hidden.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.is_reference() { &self.0 } else { "(hidden)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        deserializer.deserialize_any(SecretVisitor).map(Secret)
    }
}

/// Takes a text only. Whatever else somebody wrote there may be the secret itself, so no refusal repeats it.
struct SecretVisitor;

impl SecretVisitor {
    fn refuse<T, E: Error>() -> Result<T, E> {
        Err(E::custom("a secret is a reference in quotes, \"env:NAME\" or \"file:PATH\""))
    }
}

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a reference to a secret")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<String, E> {
        SecretVisitor::refuse()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<String, E> {
        SecretVisitor::refuse()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<String, E> {
        SecretVisitor::refuse()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<String, E> {
        SecretVisitor::refuse()
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
