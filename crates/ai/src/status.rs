//! What the dashboard, the API and the metrics show of models and providers.
//! Looking only; nothing here changes anything.

use crate::config::PriceConfig;
use crate::table::{Deployment, Entry, Model, Table};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// A model that clients may name.
#[derive(Clone, Debug, Serialize)]
pub struct ModelStatus {
    /// Its name.
    pub alias: String,
    /// Its address, `model/NAME`.
    pub address: String,
    /// Who answers, in the order in which they are asked.
    pub deployments: Vec<DeploymentStatus>,
    /// What its tokens cost at the first of them.
    pub price: Option<PriceStatus>,
}

/// How one place where a model is served is doing, since the start or since its provider was last changed.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentStatus {
    /// The provider.
    pub provider: String,
    /// What the provider calls the model; none: as the client does.
    pub model: Option<String>,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// How many calls failed in a row, up to now.
    pub consecutive_failures: u32,
    /// How often the breaker has opened.
    pub opened: u64,
    /// How many calls were made.
    pub calls: u64,
    /// How many of them got no answer or one with a status of 500 and more.
    pub failures: u64,
    /// The sum of the times until the head of the answer, in microseconds.
    pub first_byte_us_total: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Of them, those that the provider had cached.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// What it all cost, in billionths of a USD.
    pub cost_nano: u64,
}

/// A price in USD per million tokens, as decimal text.
#[derive(Clone, Debug, Serialize)]
pub struct PriceStatus {
    /// Tokens read.
    pub input: String,
    /// Tokens read that the provider had cached.
    pub cached_input: String,
    /// Tokens written.
    pub output: String,
}

/// A provider.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderStatus {
    /// Its name.
    pub name: String,
    /// What it speaks: `openai` or `echo`.
    pub kind: &'static str,
    /// Where its API is; empty for `echo`.
    pub url: String,
    /// Whether it gets models without an alias and paths without a model.
    pub default: bool,
    /// Models that it is known to have.
    pub models: Vec<String>,
    /// What was asked of it without an alias.
    pub direct: Option<DeploymentStatus>,
}

pub(crate) fn models(table: &Table) -> Vec<ModelStatus> {
    let status = |name: &str, model: &Model| ModelStatus {
        alias: name.to_owned(),
        address: format!("model/{name}"),
        deployments: model.deployments.iter().map(|one| deployment(one)).collect(),
        price: model.deployments.first().and_then(|one| one.price.as_ref()).map(price),
    };
    table.aliases.iter().map(|(name, model)| status(name, model)).collect()
}

pub(crate) fn providers(table: &Table) -> Vec<ProviderStatus> {
    let status = |name: &str, entry: &Entry| ProviderStatus {
        name: name.to_owned(),
        kind: entry.provider.kind.as_str(),
        url: entry.provider.config.url.clone().unwrap_or_default(),
        default: table.default.as_deref() == Some(name),
        models: entry.provider.config.models.clone(),
        direct: entry.any.deployments.first().map(|one| deployment(one)),
    };
    table.entries.iter().map(|(name, entry)| status(name, entry)).collect()
}

fn deployment(one: &Deployment) -> DeploymentStatus {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let pulse = &one.pulse;
    let (breach, consecutive_failures, opened) = pulse.breaker.look();
    DeploymentStatus {
        provider: one.provider.name.to_string(),
        model: one.model.as_ref().map(|model| model.plain.to_string()),
        breaker: breach.as_str(),
        consecutive_failures,
        opened,
        calls: read(&pulse.calls),
        failures: read(&pulse.failures),
        first_byte_us_total: read(&pulse.first_byte_us),
        input_tokens: read(&pulse.input_tokens),
        cached_tokens: read(&pulse.cached_tokens),
        output_tokens: read(&pulse.output_tokens),
        cost_nano: read(&pulse.cost_nano),
    }
}

fn price(price: &PriceConfig) -> PriceStatus {
    PriceStatus {
        input: price.input.to_string(),
        cached_input: price.cached_input.unwrap_or(price.input).to_string(),
        output: price.output.to_string(),
    }
}
