//! The only crate that opens a socket: listeners, protocol detection, TLS, HTTP, WebSocket, egress, named tasks, draining.
//! It knows no message, no queue and no policy of access; what is spoken over a connection belongs to the wings.
#![warn(missing_docs)]

mod budget;
mod client;
mod conn;
mod cores;
pub mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod http;
mod listen;
mod registry;
pub mod sse;
mod tasks;
mod telling;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod ws;

pub use budget::{Answers, PIECE_BYTES, Share};
pub use client::{Cidr, Client, Egress, Options, Settings, Upgraded, strip_hop_by_hop};
pub use conn::{Conn, Peeked};
pub use listen::{Door, Listener, Serve, Sniff, Sniffer};
pub use registry::{ConnInfo, ConnState, Connections, Counts, Metrics};
pub use tasks::{Task, Tasks};
pub use telling::network;
pub use tokio_util::sync::CancellationToken;
