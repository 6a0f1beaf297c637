//! The section `models` of the configuration: providers, aliases, prices. The doc comments are the manual.
//! Reading files is the binary's business; what is wrong is said by the path of the field.

use crate::price::Price;
use access::Secret;
use hub::BreakerConfig;
use message::{ByteCount, Misfit, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The model gateway: OpenAI's API at `/v1/…` in front of any number of providers.
///
/// A request whose JSON body names a model goes to the address `model/NAME`; every other one, such as the listing of
/// files or an upload, to `model/$provider/NAME` of the default provider. A role needs `call` on that address;
/// `model/#` covers all models and none of the `$provider` addresses.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The servers that answer, by name. Default none.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// The models that clients may name, by name, with what stands behind them. Default none.
    pub aliases: BTreeMap<String, AliasConfig>,
    /// The provider that gets models without an alias and paths without a model. Default: the only provider when there
    /// is one, else none, so that such requests are refused with TL0030 or TL0010.
    pub default_provider: Option<String>,
    /// Whether the built-in provider `echo` is there and serves the models `echo` and `echo-…`. It needs no key and
    /// costs nothing: for trying out and for tests. Default true.
    pub echo: bool,
    /// The largest request body that is passed on while it arrives: files, audio, images, and JSON over
    /// `limits.message_bytes`. A larger one is refused with TL0003. Default 512MiB, what OpenAI takes for one file.
    pub body_bytes: ByteCount,
    /// How much of a body in JSON over `limits.message_bytes` is held until its `model` has come, without which it is not
    /// known where to send it: many clients write it behind the messages. It is held in a file without a name in the data
    /// folder, not in memory. A body in which it comes later is refused with TL0003. Default 64MiB.
    pub json_bytes: ByteCount,
    /// The same for a form (`multipart/form-data`, as audio and images are sent) and its part `model`. Default 32MiB, so
    /// that a file as large as OpenAI transcribes (25 MB) may stand before it.
    pub form_bytes: ByteCount,
    /// How much all bodies together may hold on disk until their model has come; then the next is refused with TL0022.
    /// Default 1GiB.
    pub spool_bytes: ByteCount,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            providers: BTreeMap::new(),
            aliases: BTreeMap::new(),
            default_provider: None,
            echo: true,
            body_bytes: ByteCount(512 << 20),
            json_bytes: ByteCount(64 << 20),
            form_bytes: ByteCount(32 << 20),
            spool_bytes: ByteCount(1 << 30),
        }
    }
}

/// A server that answers for models.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// What it speaks. Default `openai`.
    pub kind: ProviderKind,
    /// Where its API is, version included: `https://api.openai.com/v1`. What follows `/v1` in the client's path is put
    /// behind it. A query is sent with every request, in place of the client's parameters of the same names:
    /// `https://NAME.openai.azure.com/openai?api-version=2024-10-21`. Needed for `openai`.
    pub url: Option<String>,
    /// The key that it wants, as `env:NAME` or `file:PATH`; it takes the place of the client's. Default none: then no
    /// credential is sent, and the client's is not passed on either.
    pub key: Option<Secret>,
    /// The header in which it wants the key, as it is: `api-key` (Azure), `x-api-key` (Anthropic), `x-goog-api-key`
    /// (Google). Default: `Authorization`, as `Bearer KEY`.
    pub key_header: Option<String>,
    /// Headers that are set on every request to it, in place of the client's: `OpenAI-Organization`, say. A value
    /// `env:NAME` or `file:PATH` is a reference to a secret; a header whose name says that it holds a credential, such as
    /// `api-key`, must be one. Default none.
    pub headers: BTreeMap<String, String>,
    /// Models that it is known to have: a client that names one of them and no alias gets this provider. Default none.
    pub models: Vec<String>,
    /// How long it may take to begin its answer, sending the request included; then TL0009. Default 10m, what the
    /// OpenAI clients wait.
    pub timeout: Span,
    /// The longest silence inside its answer; then the answer is broken off. Default 5m.
    pub silence: Span,
    /// How often a request for a model is sent to it once more, within the same `timeout`, before the next deployment is
    /// asked: when it cannot be reached or breaks the connection before its answer, or answers 408, 500, 502, 503, 504 or 520
    /// to 529 without a `Retry-After`. A body that is passed on while it arrives is sent once. Default 1.
    pub retries: u8,
    /// When it is left alone after failures. Counted for each model apart; answers with a status of 500 and more that only
    /// one key gets leave only that key out.
    pub breaker: BreakerConfig,
    /// Whether a streamed chat is asked to end with its usage although the client did not ask for it. The client then
    /// gets one more event, with empty `choices`. Default false: the usage of such streams is estimated.
    pub ask_usage: bool,
}

impl Default for ProviderConfig {
    fn default() -> ProviderConfig {
        ProviderConfig {
            kind: ProviderKind::Openai,
            url: None,
            key: None,
            key_header: None,
            headers: BTreeMap::new(),
            models: Vec::new(),
            timeout: Span::secs(600),
            silence: Span::secs(300),
            retries: 1,
            breaker: BreakerConfig::default(),
            ask_usage: false,
        }
    }
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// OpenAI's HTTP API, as OpenAI and most others have it.
    #[default]
    Openai,
    /// Built in: answers every chat, response and embedding deterministically, and as scripts in the request say.
    Echo,
}

impl ProviderKind {
    /// The word in the configuration and the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ProviderKind::Openai => "openai",
            ProviderKind::Echo => "echo",
        }
    }
}

/// A model that clients may name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasConfig {
    /// The provider that answers, by its name in `providers`, or `echo`.
    pub provider: String,
    /// What the provider calls the model; only these bytes of the request are changed. Default: as the client says.
    #[serde(default)]
    pub model: Option<String>,
    /// What its tokens cost. Default: nothing, so that only tokens are counted.
    #[serde(default)]
    pub price: Option<PriceConfig>,
    /// Who answers instead, in this order, when the one before cannot be reached, is being left alone, does not take our
    /// credential (401, 403), does not have the model (404), cannot now (408, 429, 500 and more), answers with a web page,
    /// or begins its stream with an error; always before any byte of its answer was passed on, and within the sum of all
    /// `timeout`s. Default nobody.
    #[serde(default)]
    pub fallback: Vec<DeploymentConfig>,
}

/// One more place where a model is served.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentConfig {
    /// The provider, by its name in `providers`, or `echo`.
    pub provider: String,
    /// What the provider calls the model. Default: as the client says.
    #[serde(default)]
    pub model: Option<String>,
    /// What its tokens cost there. Default: the alias's price.
    #[serde(default)]
    pub price: Option<PriceConfig>,
}

/// What a million tokens cost, in USD, as decimal text: `"2.50"`. At most nine digits behind the point, so that the
/// sums are exact in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// A million tokens read.
    pub input: Price,
    /// A million tokens read that the provider had cached. Default: as `input`.
    #[serde(default)]
    pub cached_input: Option<Price>,
    /// A million tokens written. Default 0, as for embeddings.
    #[serde(default)]
    pub output: Price,
}

impl Config {
    /// Reads the section; an absent one is the default.
    pub(crate) fn read(section: serde_json::Value) -> Result<Config, Misfit> {
        if section.is_null() {
            return Ok(Config::default());
        }
        hub::section(section)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        // A bare number is taken by its digits as they stand, never by way of a binary fraction.
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        };
        Price::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no price: write USD per million tokens as a decimal number with at most nine digits behind the point, as in \"2.50\""
            ))
        })
    }
}

impl JsonSchema for Price {
    fn schema_name() -> Cow<'static, str> {
        "Price".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "pattern": "^[0-9]+(\\.[0-9]{1,9})?$", "description": "USD per million tokens, as decimal text: \"2.50\"" })
    }
}

#[cfg(test)]
mod tests;
