//! A whole door for tests: store in memory, broker, hub, one port with MQTT and its WebSocket path.
//! No other wing: what crosses wings is tested with the real binary.

use anyhow::Context as _;
use hub::{Hub, Parts};
use message::{Clock, Dice};
use net::{Connections, Door, Listener, Sniffer, Tasks};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// May publish and subscribe below `plant/` and put on `queue/orders`.
pub(crate) const DEVICE: (&str, &str) = ("device", "device-key-0123456789");
/// May do everything.
pub(crate) const ADMIN: (&str, &str) = ("admin", "admin-key-0123456789");

pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) hub: Hub,
    engine: store::Memory,
    pub(crate) connections: Connections,
}

/// The configuration that the tests share; `more` is laid over its top level.
fn config(more: &Value) -> Value {
    let mut config = json!({
        "access": {
            "keys": [
                { "name": DEVICE.0, "roles": ["device"],
                  "sha256": "99fcf8512c7d9bb2feaeb36bc2ab9f8199f47a7eb7d140fe1f7663a79556cead" },
                { "name": ADMIN.0, "roles": ["admin"],
                  "sha256": "6d843254d280913cb5f8e0b48efffb584cce7ff577178fe68e738ddf193af10c" },
            ],
            "roles": { "device": { "allow": [
                { "verbs": ["publish", "subscribe"], "on": ["topic/plant/#"] },
                { "verbs": ["publish"], "on": ["queue/orders"] },
            ] } },
        },
        "limits": { "message_bytes": 100_000 },
    });
    if let (Some(all), Some(more)) = (config.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    config
}

impl Server {
    /// Starts on a free port (or `port`) of the loopback interface, with time that `clock` tells.
    pub(crate) async fn start(
        port: u16,
        clock: Clock,
        more: Value,
        section: Value,
    ) -> anyhow::Result<Server> {
        Server::over(store::Memory::new(store::Faults::none()), port, clock, more, section).await
    }

    /// A server on what this one's store would have on disk if the power went now. This one goes on with its own.
    pub(crate) async fn after_a_crash(&self, more: Value, section: Value) -> anyhow::Result<Server> {
        Server::over(self.engine.crash(), 0, self.hub.clock().clone(), more, section).await
    }

    /// Whether nothing is left on disk for any session, and that it is done with is on disk as well.
    pub(crate) fn shelf_is_empty(&self) -> bool {
        let log = store::Engine::log(&self.engine, "shelf").unwrap();
        self.hub.broker().shelf().messages == 0 && log.head() == log.tail()
    }

    async fn over(
        memory: store::Memory,
        port: u16,
        clock: Clock,
        more: Value,
        section: Value,
    ) -> anyhow::Result<Server> {
        let (tasks, dice) = (Tasks::default(), Dice::from_system());
        let engine: Arc<dyn store::Engine> = Arc::new(memory.clone());
        let broker = broker::Broker::open(
            Arc::clone(&engine),
            broker::Settings::default(),
            clock.clone(),
            dice.clone(),
            tasks.clone(),
        )
        .await?;
        let metrics = Arc::new(net::Metrics::default());
        let client = net::Client::new(net::Settings::default(), &tasks, clock.clone(), Arc::clone(&metrics))?;
        let parts = Parts {
            broker,
            engine,
            client,
            tasks: tasks.clone(),
            clock: clock.clone(),
            dice,
            outside: hub::Outside::Read,
            outlet_kinds: Vec::new(),
        };
        let hub = Hub::new(parts)?;
        hub.apply(serde_json::from_value(config(&more)).context("configuration")?).await?;
        let inlet = (wire_mqtt::MQTT.open)(&hub, section)?;
        let mut routes = net::http::Routes::new();
        Arc::clone(&inlet).mount(&mut routes);
        let routes = Arc::new(routes);
        let http_tasks = tasks.clone();
        let settings = Arc::new(net::http::Settings::default());
        let sniffers = vec![
            Sniffer {
                name: "mqtt",
                sniff: wire_mqtt::MQTT.sniff,
                serve: Arc::new(move |conn| Arc::clone(&inlet).accept(conn)),
            },
            Sniffer {
                name: "http",
                sniff: net::http::sniff,
                serve: Arc::new(move |conn| {
                    Box::pin(net::http::serve(
                        conn,
                        Arc::clone(&routes),
                        Arc::clone(&settings),
                        http_tasks.clone(),
                    ))
                }),
            },
        ];
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let at = listener.local();
        let connections = Connections::new(10_000, clock, metrics);
        listener.serve(Door {
            sniffers,
            tls: None,
            first_bytes: Duration::from_secs(10),
            connections: connections.clone(),
            tasks,
        });
        Ok(Server { at, hub, engine: memory, connections })
    }
}
