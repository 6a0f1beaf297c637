//! The Model Context Protocol gateway: one server at `/mcp` made of many upstreams and of our own addresses, in both protocol
//! eras on both sides. Policy, limits and audit are the hub's; no tool is called except through its door.

mod builtin;
mod catalogue;
mod config;
mod door;
mod exchange;
mod face;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod json;
mod link;
mod links;
mod mirror;
mod names;
mod origin;
mod replay;
mod rpc;
mod session;
mod sse;
mod strict;
mod tasks;
mod ticket;
mod upstream;

pub use config::{BuiltIn, Config, Upstream as UpstreamConfig, schema};
pub use exchange::Era;
pub use face::routes;
pub use gateway::{Gateway, Tool};
pub use upstream::UpstreamStatus;
