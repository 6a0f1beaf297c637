//! HTTP as a protocol family: the data API under `/api` with SSE and WebSocket, the webhook outlet, and CloudEvents.
//! It serves no connection itself (`net::http` does) and knows nothing of dashboards, models or MCP.
#![warn(missing_docs)]

mod api;
pub mod cloudevents;
mod inlet;
mod outlet;
mod strict;
#[cfg(test)]
mod testing;
mod text;

pub use api::{OPENAPI, mount};
pub use inlet::ALL;
pub use outlet::{Auth, Config, Mode, OUTLET};
