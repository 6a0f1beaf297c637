//! HTTP/1.1 on the wire (RFC 9112), without a task of its own: what both sides of the program share, and the server.
//! It opens no socket and knows no path, no pool and no policy.
//!
//! A connection is one task: it reads a head, polls the handler in place, pumps the request's body between the polls and
//! writes the answer. Nothing is handed from task to task, so that a request costs the wake-ups of its bytes and no more.

mod answer;
pub(crate) mod chunked;
pub(crate) mod fields;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod head;
mod link;
mod server;
mod slot;

pub(crate) use server::serve;
pub(crate) use slot::Arriving;

use tokio::sync::oneshot;

use crate::conn::Conn;

/// In the extensions of a request that asks for another protocol: gives the connection once the answer that agrees
/// (101, or 2xx to CONNECT) is written, with the bytes that came after the request put back.
#[derive(Debug)]
pub(crate) struct Switch(pub(crate) oneshot::Receiver<Conn>);

/// A shared place to take it from: extensions must be `Clone`, a switch happens once.
pub(crate) type Switching = std::sync::Arc<parking_lot::Mutex<Option<Switch>>>;
