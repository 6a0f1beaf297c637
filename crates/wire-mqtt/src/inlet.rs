//! MQTT as a protocol of the hub: the constant, detection by the first bytes, connections over TCP, TLS and WebSocket.
//! Each connection is a task of its own; what they share are the sessions and the configuration.

mod connect;
mod connection;
mod incoming;
mod outgoing;
mod output;
mod row;
mod session;
mod sessions;
mod subscribe;
mod will;

use crate::config::Config;
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use hub::{Gauge, Hub, Inlet, Keyless, LogPace, Protocol};
use message::Misfit;
use net::Sniff;
use serde_json::Value;
use session::Session;
use sessions::Sessions;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The path of MQTT over WebSocket, and its subprotocol (§6); MQTT 3.1 had one of its own.
const WEBSOCKET_PATH: &str = "/mqtt";
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
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
MQTT 3.1.1 and 5.0 (OASIS), and 3.1, over TCP, TLS and WebSocket (path `/mqtt`, subprotocol `mqtt` or `mqttv3.1`), with QoS 0, 1 and 2, \
retained messages, wills with delay, shared subscriptions, subscription identifiers, topic aliases both ways, flow \
control, message expiry and user properties. The password is an API key; the user is empty or the key's name. The topic \
`plant/7/temp` is the address `topic/plant/7/temp`; publishing to `$queue/orders` puts a message on `queue/orders`. \
QoS 1 and 2 are acknowledged when the hub has a receipt: when a queue or a route stores the message, it is on disk by then. \
Retained values survive a restart, and so do sessions that outlive their connection: subscriptions, QoS 1 and 2 messages \
that wait or are not acknowledged, unfinished QoS 2 exchanges, on disk before their publisher is acknowledged, for \
`session_expiry` at most and bounded by `limits.mailbox`, `session_bytes` and `sessions_bytes` (see `when_full`). QoS 0 \
messages that wait, and wills with a delay, end with the program. Sessions belong to a principal and a \
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
    /// Messages that were acknowledged although they were refused.
    let_go: LogPace,
}

impl Shared {
    fn gauges(&self) -> Vec<Gauge> {
        let shelf = self.hub.broker().shelf();
        vec![
            Gauge::new("mqtt_sessions", self.sessions.len(), self.config.load().sessions),
            Gauge::new("mqtt_sessions_bytes", shelf.bytes, shelf.bytes_max),
        ]
    }
}

struct Mqtt(Arc<Shared>);

fn open(hub: &Hub, section: Value) -> Result<Arc<dyn Inlet>, Misfit> {
    let config: Config = hub::section(section)?;
    hub.broker().limit_shelf(config.sessions_bytes);
    let shared = Arc::new(Shared {
        hub: hub.clone(),
        config: ArcSwap::from_pointee(config),
        sessions: Sessions::new(hub.clock().clone()),
        owners: AtomicU64::new(1),
        let_go: LogPace::default(),
    });
    restore(&shared);
    let gauged = Arc::downgrade(&shared);
    hub.add_gauges(Box::new(move || gauged.upgrade().map_or_else(Vec::new, |shared| shared.gauges())));
    let swept = Arc::downgrade(&shared);
    hub.tasks().background("mqtt sessions", async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(shared) = swept.upgrade() else { return };
            let swept = shared.sessions.sweep();
            for will in swept.wills {
                shared.hub.tasks().spawn("mqtt will", will.publish());
            }
            for session in swept.over {
                // The writing goes on without us; unwritten, the session is over again after the next start.
                drop(end(&shared.hub, session));
            }
        }
    });
    Ok(Arc::new(Mqtt(shared)))
}

/// Takes up the sessions that were found on disk; their clients are away.
fn restore(shared: &Shared) {
    let now = shared.hub.clock().both();
    for kept in shared.hub.broker().kept_mailboxes(row::PREFIX) {
        let (name, mailbox) = (kept.name.clone(), Arc::clone(&kept.mailbox));
        match row::read_key(&name).zip(Session::restored(kept, now)) {
            Some((key, (session, until))) if !until.is_over(now.moment) => {
                mailbox.set_options(connect::mailbox_options(shared));
                shared.hub.watch_mailbox(&mailbox);
                shared.sessions.restore(key, session, until);
            }
            Some((_, (session, _))) => drop(end(&shared.hub, session)),
            None => tracing::warn!(name, "a session on disk is unreadable and left alone"),
        }
    }
    let sessions = shared.sessions.len();
    if sessions > 0 {
        tracing::info!(sessions, "MQTT sessions go on");
    }
}

/// Ends a session for good. What another member of a group can take goes there first. Resolves when the end is on disk;
/// it is under way when this returns.
fn end(
    hub: &Hub,
    mut session: Session,
) -> impl Future<Output = Result<(), message::Fault>> + Send + 'static + use<> {
    session.hand_on(hub.broker(), true);
    session.mailbox.forget()
}

impl Inlet for Mqtt {
    fn accept(self: Arc<Self>, conn: net::Conn) -> BoxFuture<'static, ()> {
        Box::pin(connect::serve(Arc::clone(&self.0), conn, Keyless::Plain))
    }

    fn mount(self: Arc<Self>, routes: &mut net::http::Routes) {
        websocket(self, routes);
    }

    fn reload(&self, section: Value) -> Result<(), Misfit> {
        let config: Config = hub::section(section)?;
        self.0.hub.broker().limit_shelf(config.sessions_bytes);
        self.0.config.store(Arc::new(config));
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
            let (response, upgrading) = net::ws::upgrade(&mut call, &SUBPROTOCOLS, packet_max)?;
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
