//! MQTT as a protocol of the hub: the constant, detection by the first bytes, connections over TCP, TLS and WebSocket.
//! Each connection is a task of its own; what they share are the sessions and the configuration.

mod connect;
mod connection;
mod incoming;
mod outgoing;
mod output;
mod session;
mod sessions;
mod subscribe;
mod will;

use crate::config::Config;
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use hub::{Hub, Inlet, Keyless, Protocol};
use message::Misfit;
use net::Sniff;
use serde_json::Value;
use sessions::Sessions;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The path of MQTT over WebSocket, and its subprotocol (§6).
const WEBSOCKET_PATH: &str = "/mqtt";
const SUBPROTOCOL: &str = "mqtt";
/// How often sessions whose time is up, and wills that are due, are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// MQTT 3.1.1 and 5.
pub const MQTT: Protocol = Protocol {
    name: "mqtt",
    title: "MQTT 3.1.1 and 5",
    manual: MANUAL,
    sniff,
    port: Some(1883),
    schema: || schemars::schema_for!(Config),
    open,
    outlets: &[],
};

const MANUAL: &str = "\
MQTT 3.1.1 and 5.0 (OASIS), and 3.1, over TCP, TLS and WebSocket (path `/mqtt`, subprotocol `mqtt`), with QoS 0, 1 and 2, \
retained messages, wills with delay, shared subscriptions, subscription identifiers, topic aliases both ways, flow \
control, message expiry and user properties. The password is an API key; the user is empty or the key's name. The topic \
`plant/7/temp` is the address `topic/plant/7/temp`; publishing to `$queue/orders` puts a message on `queue/orders`. \
QoS 1 and 2 are acknowledged when the hub has a receipt: when a queue or a route stores the message, it is on disk by then. \
Retained values survive a restart. Sessions do not: subscriptions, unread messages and unfinished QoS 2 exchanges \
of clients that are away live in memory, bounded by `limits.mailbox` (the oldest is dropped) and `session_expiry`, and end \
with the program; a client then gets `session present = 0` and subscribes again. Sessions belong to a principal and a \
client id together. Bridges, extended authentication (AUTH) and publishing to topics that begin with `$` are not offered.";

/// A CONNECT begins with 0x10, the remaining length, and the protocol name `MQTT` or, in 3.1, `MQIsdp`.
fn sniff(bytes: &[u8]) -> Sniff {
    let Some((0x10, rest)) = bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return if bytes.is_empty() { Sniff::More } else { Sniff::No };
    };
    let length_bytes = match rest.iter().take(4).position(|byte| byte & 0x80 == 0) {
        Some(last) => last + 1,
        None if rest.len() < 4 => return Sniff::More,
        None => return Sniff::No,
    };
    let name = rest.get(length_bytes..).unwrap_or_default();
    let fits = |want: &[u8]| {
        let common = name.len().min(want.len());
        name.get(..common) == want.get(..common)
    };
    match (fits(b"\0\x04MQTT"), fits(b"\0\x06MQIsdp")) {
        (true, _) if name.len() >= 6 => Sniff::Yes,
        (_, true) if name.len() >= 8 => Sniff::Yes,
        (false, false) => Sniff::No,
        _ => Sniff::More,
    }
}

/// What all connections share.
struct Shared {
    hub: Hub,
    config: ArcSwap<Config>,
    sessions: Sessions,
    /// Numbers the connections, so that one that was thrown out does not release its successor's session.
    owners: AtomicU64,
}

struct Mqtt(Arc<Shared>);

fn open(hub: &Hub, section: Value) -> Result<Arc<dyn Inlet>, Misfit> {
    let shared = Arc::new(Shared {
        hub: hub.clone(),
        config: ArcSwap::from_pointee(hub::section(section)?),
        sessions: Sessions::new(hub.clock().clone()),
        owners: AtomicU64::new(1),
    });
    let swept = Arc::downgrade(&shared);
    hub.tasks().background("mqtt sessions", async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(shared) = swept.upgrade() else { return };
            for will in shared.sessions.sweep() {
                shared.hub.tasks().spawn("mqtt will", will.publish());
            }
        }
    });
    Ok(Arc::new(Mqtt(shared)))
}

impl Inlet for Mqtt {
    fn accept(self: Arc<Self>, conn: net::Conn) -> BoxFuture<'static, ()> {
        Box::pin(connect::serve(Arc::clone(&self.0), conn, Keyless::Plain))
    }

    fn mount(self: Arc<Self>, routes: &mut net::http::Routes) {
        websocket(self, routes);
    }

    fn reload(&self, section: Value) -> Result<(), Misfit> {
        self.0.config.store(Arc::new(hub::section(section)?));
        Ok(())
    }
}

/// Offers the WebSocket; once it stands, its bytes are served like those of any other connection (§6).
fn websocket(mqtt: Arc<Mqtt>, routes: &mut net::http::Routes) {
    let handler = net::http::handler(move |mut call: net::http::Call| {
        let mqtt = Arc::clone(&mqtt);
        async move {
            let hub = mqtt.0.hub.clone();
            let packet_max = hub.limits().message_bytes.saturating_add(connect::BESIDE_BODY_BYTES);
            // Known from the upgrade only: a page that its user happens to visit must not act with the user's address.
            let keyless = Keyless::of(call.request.headers());
            let (response, upgrading) = net::ws::upgrade(&mut call, &[SUBPROTOCOL], packet_max)?;
            hub.tasks().spawn("mqtt over websocket", async move {
                match upgrading.socket().await {
                    Ok(socket) => {
                        let conn = net::Conn::from_ws(socket);
                        Box::pin(connect::serve(Arc::clone(&mqtt.0), conn, keyless)).await;
                    }
                    Err(fault) => tracing::debug!(%fault, "no websocket came of it"),
                }
            });
            Ok::<_, message::Fault>(response)
        }
    });
    routes.get(WEBSOCKET_PATH, handler);
}

#[cfg(test)]
mod tests;
