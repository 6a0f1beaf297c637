//! HTTP as a protocol family: the data API under `/api` with SSE and WebSocket, the webhook outlet, and CloudEvents.
//! It serves no connection itself (`net::http` does) and knows nothing of dashboards, models or MCP.

mod api;
pub mod cloudevents;
mod outlet;
mod text;
