//! For tests: a hub over the memory store with the console behind a real loopback socket, and a client that asks it.
//! Only compiled for tests.

use crate::{Console, mount};
use broker::Broker;
use bytes::Bytes;
use http::HeaderMap;
use hub::{Hub, Parts};
use message::{Clock, Dice};
use net::http::{Body, Method, Request, Routes, StatusCode};
use net::{Client, Connections, Door, Egress, Listener, Metrics, Options, Sniffer, Tasks};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// May do everything.
pub(crate) const KEY: &str = "tl_everything_0123456789";
/// May look at `queue/orders` and the lists, and change nothing.
pub(crate) const LOOK_KEY: &str = "tl_look_only_01234567890";

/// A program with a console.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    client: Client,
    /// Every endpoint.
    pub(crate) mounted: Vec<crate::openapi::Mounted>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn config() -> Value {
    json!({
        "access": {
            "keys": [
                { "name": "all", "sha256": digest(KEY), "roles": ["admin"] },
                { "name": "look", "sha256": digest(LOOK_KEY), "roles": ["look"] },
            ],
            "roles": { "look": { "allow": [{ "verbs": ["inspect"], "on": ["admin/#", "queue/orders"] }] } },
        },
        "queues": { "orders": { "deliveries": 1 }, "secret": {} },
        "streams": { "readings": {} },
        "routes": [{ "name": "keep", "from": "topic/plant/#", "to": ["stream/readings"] }],
    })
}

pub(crate) async fn start() -> Server {
    let (clock, dice, tasks) = (Clock::system(), Dice::from_system(), Tasks::new());
    let engine: Arc<dyn store::Engine> = Arc::new(store::Memory::new(store::Faults::none()));
    let settings = broker::Settings::default();
    let broker =
        Broker::open(Arc::clone(&engine), settings, clock.clone(), dice.clone(), tasks.clone()).await;
    let metrics = Arc::new(Metrics::default());
    let egress = || net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    let client = Client::new(egress(), &tasks, clock.clone(), Arc::clone(&metrics)).unwrap();
    // The client of a test outlives the program that it talks to.
    let outside = Client::new(egress(), &Tasks::new(), clock.clone(), Arc::default()).unwrap();
    let connections = Connections::new(100, clock.clone(), metrics);
    let broker = broker.unwrap();
    let parts = Parts {
        broker,
        engine,
        client,
        tasks: tasks.clone(),
        clock,
        dice,
        outside: access::Outside::Read,
        outlet_kinds: Vec::new(),
    };
    let hub = Hub::new(parts).unwrap();
    let console = Console {
        hub: hub.clone(),
        connections: connections.clone(),
        mcp: mcp::Gateway::start(&hub, mcp::Config::default()).unwrap(),
        models: ai::Gateway::start(&hub, json!({})).unwrap(),
        config_file: None,
        data: None,
        protocols: Vec::new(),
        show_config: |_| Some("masked".to_owned()),
        check_config: Arc::new(|text| {
            Box::pin(async move {
                Ok(if text == "good" { Vec::new() } else { vec![json!({ "line": 1, "what": text })] })
            })
        }),
        reload_config: Arc::new(|force| {
            Box::pin(async move {
                let changed = if force { "-3 keys" } else { "+1 route" }.to_owned();
                Ok(crate::Applied { changed, restart_needed: vec!["listen"], warnings: Vec::new() })
            })
        }),
    };
    hub.apply(serde_json::from_value(config()).unwrap()).await.unwrap();
    let mut routes = Routes::new();
    let mounted = mount(console, &mut routes).mounted.lock().clone();
    assert!(routes.conflicts().is_empty());
    let (routes, settings) = (Arc::new(routes), Arc::new(net::http::Settings::default()));
    let of_server = tasks.clone();
    let serve: net::Serve = Arc::new(move |conn| {
        Box::pin(net::http::serve(conn, Arc::clone(&routes), Arc::clone(&settings), of_server.clone()))
    });
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local();
    let sniffers = vec![Sniffer { name: "http", sniff: net::http::sniff, serve }];
    listener.serve(Door { sniffers, tls: None, first_bytes: Duration::from_secs(10), connections, tasks });
    Server { address, hub, client: outside, mounted }
}

impl Server {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request =
            http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request: Request = request.body(Body::full(body.to_owned())).unwrap();
        let deadline = Duration::from_secs(20);
        let response = tokio::time::timeout(deadline, self.client.request(request, Options::default())).await;
        let (head, body) = response.unwrap().unwrap().into_parts();
        let body = tokio::time::timeout(deadline, body.collect(10 << 20)).await.unwrap().unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("x-api-key", KEY)], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("x-api-key", KEY)], body).await
    }

    /// A session that may do everything.
    pub(crate) fn session(&self) -> hub::Session {
        let identity = self.hub.identity("all").unwrap();
        self.hub.open(identity, hub::Origin { protocol: "test", peer: self.address })
    }
}
