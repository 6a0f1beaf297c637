//! What a protocol family is to the rest of the program: one constant, from which its detection, its configuration section,
//! its manual entry and its outlets follow. No registration is hidden: each wing lists its constants in `ALL`.

use crate::Hub;
use futures_util::future::BoxFuture;
use message::{Envelope, Fault, Misfit};
use schemars::Schema;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Makes a protocol's inlet from its section.
pub type OpenInlet = fn(&Hub, Value) -> Result<Arc<dyn Inlet>, Misfit>;
/// Makes the outlet of that name from its section.
pub type BuildOutlet = fn(&Hub, &str, Value) -> Result<Arc<dyn Outlet>, Misfit>;

/// One protocol.
pub struct Protocol {
    /// Its key under `protocols:` in the configuration, and its label in metrics and logs: `mqtt`.
    pub name: &'static str,
    /// Its name for people: `MQTT 3.1.1 and 5`.
    pub title: &'static str,
    /// One paragraph for the manual: what is spoken, by which specification, and what is not.
    pub manual: &'static str,
    /// Whether the first bytes of a connection are this protocol's; it must not claim bytes of another.
    pub sniff: fn(&[u8]) -> net::Sniff,
    /// The usual port, opened in addition when the configuration asks.
    pub port: Option<u16>,
    /// The shape of its configuration section.
    pub schema: fn() -> Schema,
    /// Makes its inlet from its section (an empty object when the section is missing). Called once; afterwards
    /// [`Inlet::reload`] gets what changed.
    pub open: OpenInlet,
    /// The outlets that speak it.
    pub outlets: &'static [OutletKind],
}

/// The side of a protocol that accepts clients.
pub trait Inlet: Send + Sync {
    /// Serves one connection until it ends. It ends by itself soon after the program begins to drain.
    fn accept(self: Arc<Self>, conn: net::Conn) -> BoxFuture<'static, ()>;

    /// Adds what it serves over HTTP, such as its WebSocket path.
    fn mount(self: Arc<Self>, _routes: &mut net::http::Routes) {}

    /// Takes a changed section; on a misfit everything stays as it was.
    fn reload(&self, section: Value) -> Result<(), Misfit>;
}

/// A way to deliver to foreign servers.
pub struct OutletKind {
    /// Its key inside an outlet's configuration: `http`, `mllp`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The shape of its section.
    pub schema: fn() -> Schema,
    /// Makes the outlet of that name from its section.
    pub build: BuildOutlet,
}

/// The side of a protocol that delivers to one foreign server.
pub trait Outlet: Send + Sync {
    /// Delivers one envelope, once. Resolves when the server has taken it; the fault says whose doing a failure was
    /// and whether a retry may help. Retries, breaker and dead letters are the hub's.
    fn deliver<'a>(&'a self, envelope: &'a Envelope, deadline: Duration) -> BoxFuture<'a, Result<(), Fault>>;

    /// Where it delivers to, for people; no secret in it.
    fn target(&self) -> String;
}
