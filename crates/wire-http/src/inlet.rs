//! HTTP as one of the program's protocols: how it is told by its first bytes, its limits, and what it mounts.
//! The program serves one table of paths that all wings fill; `accept` here serves the data API alone.

use crate::api;
use crate::outlet::OUTLET;
use futures_util::future::BoxFuture;
use hub::{Hub, Inlet, OutletKind, Protocol};
use message::Misfit;
use net::Conn;
use net::http::{Routes, Settings, origin_in};
use parking_lot::RwLock;
use serde_json::Value;
use std::sync::Arc;

/// What this wing offers.
pub static ALL: &[Protocol] = &[Protocol {
    name: "http",
    title: "HTTP/1.1, HTTP/2, WebSocket, server-sent events",
    manual: "The data API under `/api` (described at `/api/openapi.json`): publish to topics, queues and streams with \
             any body or as CloudEvents 1.0 (binary, structured, batch); lease, extend and settle; follow by \
             server-sent events or WebSocket; call tools and models. HTTP/1.1 with keep-alive and HTTP/2 with and \
             without TLS are told apart by their first bytes; HTTP/3 is not spoken, and bodies are neither compressed \
             nor decompressed. A key is shown as `Authorization: Bearer`, `x-api-key`, or the password of Basic; as \
             `?access_token=` only where browsers can set no header (server-sent events, WebSocket). Refusals are \
             problem documents (RFC 9457) with the fault's code.",
    sniff: net::http::sniff,
    port: None,
    schema: || schemars::schema_for!(Settings),
    open,
    outlets: OUTLETS,
}];

const OUTLETS: &[OutletKind] = &[OUTLET];

fn open(hub: &Hub, section: Value) -> Result<Arc<dyn Inlet>, Misfit> {
    let settings = RwLock::new(Arc::new(read(section)?));
    let mut routes = Routes::new();
    api::mount(hub, &mut routes);
    Ok(Arc::new(Http { hub: hub.clone(), settings, routes: Arc::new(routes) }))
}

/// The section of the configuration.
fn read(section: Value) -> Result<Settings, Misfit> {
    hub::section(section)
}

struct Http {
    hub: Hub,
    settings: RwLock<Arc<Settings>>,
    routes: Arc<Routes>,
}

impl Inlet for Http {
    fn accept(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, ()> {
        let settings = Arc::clone(&self.settings.read());
        Box::pin(net::http::serve(conn, Arc::clone(&self.routes), settings, self.hub.tasks().clone()))
    }

    fn mount(self: Arc<Self>, routes: &mut Routes) {
        api::mount(&self.hub, routes);
        for path in ["/api", "/v1"] {
            let inlet = Arc::clone(&self);
            let listed = move |origin: &str| origin_in(&inlet.settings.read().cors_origins, origin);
            routes.origins(path, Arc::new(listed));
        }
    }

    fn reload(&self, section: Value) -> Result<(), Misfit> {
        *self.settings.write() = Arc::new(read(section)?);
        Ok(())
    }
}
