//! MQTT 3.1.1 and 5 as a face of the hub: a codec without I/O and the inlet that devices connect to.
//! What a message may do, where it goes and who may read it is the hub's business, not decided here.

pub mod codec;
mod config;
mod inlet;
mod reason;
mod topic;
mod translate;

pub use config::Config;
pub use inlet::MQTT;

/// The protocols of this wing.
pub const ALL: &[hub::Protocol] = &[MQTT];
