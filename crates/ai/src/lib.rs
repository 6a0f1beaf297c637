//! The model gateway: OpenAI's API in front of any number of providers, bytes kept, keys swapped, usage and cost recorded.
//! It keeps no conversation and rewrites no prompt; who may call which model is decided by the hub's session.
#![warn(missing_docs)]

mod config;
mod echo;
mod face;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod held;
mod meter;
mod paths;
mod percent;
mod price;
mod private;
mod refusal;
mod roster;
mod scan;
mod status;
mod table;
#[cfg(test)]
mod testing;
mod usage;

pub use config::{AliasConfig, Config, DeploymentConfig, PriceConfig, ProviderConfig, ProviderKind};
pub use face::mount;
pub use gateway::Gateway;
pub use status::{DeploymentStatus, ModelStatus, PriceStatus, ProviderStatus};

/// The JSON Schema of the section `models` of the configuration.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Config)
}
