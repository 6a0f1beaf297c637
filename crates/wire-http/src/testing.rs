//! For tests: a hub over the memory store behind a real loopback socket, and clients that talk to it.
//! Only compiled for tests.

use broker::Broker;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use hub::{Hub, Parts};
use message::{Clock, Dice};
use net::http::{Body, Request, Response, Routes};
use net::{Client, Connections, Door, Egress, Listener, Metrics, Options, Sniffer, Tasks};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// May do everything.
pub(crate) const KEY: &str = "tl_everything_0123456789";
/// May publish and subscribe below `topic/plant`, and nothing else.
pub(crate) const PLANT_KEY: &str = "tl_plant_only_0123456789";

/// A program around this wing.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) client: Client,
    pub(crate) connections: Connections,
}

/// Nothing here takes this long unless it hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// The usual configuration with these members put over it.
pub(crate) async fn start_with(more: Value) -> Server {
    let mut config = json!({
        "access": {
            "keys": [
                { "name": "all", "sha256": digest(KEY), "roles": ["admin"] },
                { "name": "plant", "sha256": digest(PLANT_KEY), "roles": ["plant"] },
            ],
            "roles": { "plant": { "allow": [
                { "verbs": ["publish", "subscribe"], "on": ["topic/plant/#"] },
            ] } },
        },
        "limits": { "message_bytes": 100_000 },
        "queues": { "orders": {}, "small": { "messages": 1 } },
        "streams": { "audit": {} },
    });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    let (clock, dice, tasks) = (Clock::system(), Dice::from_system(), Tasks::new());
    let engine: Arc<dyn store::Engine> = Arc::new(store::Memory::new(store::Faults::none()));
    let settings = broker::Settings::default();
    let broker = Broker::open(Arc::clone(&engine), settings, clock.clone(), dice.clone(), tasks.clone())
        .await
        .unwrap();
    let metrics = Arc::new(Metrics::default());
    let egress = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    let client = Client::new(egress, &tasks, clock.clone(), Arc::clone(&metrics)).unwrap();
    let limits = serde_json::from_value(config["limits"].clone()).unwrap();
    let connections = Connections::bounded(&limits, clock.clone(), metrics);
    let outlet_kinds = vec![&crate::OUTLET];
    // The clients of a test outlive the program that they talk to.
    let egress = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    let outside = Client::new(egress, &Tasks::new(), clock.clone(), Arc::default()).unwrap();
    let parts = Parts {
        broker,
        engine,
        client,
        tasks: tasks.clone(),
        clock,
        dice,
        outside: access::Outside::Read,
        outlet_kinds,
    };
    let hub = Hub::new(parts).unwrap();
    hub.apply(serde_json::from_value(config).unwrap()).await.unwrap();
    let mut routes = Routes::new();
    for protocol in crate::ALL {
        (protocol.open)(&hub, json!({})).unwrap().mount(&mut routes);
    }
    assert!(routes.conflicts().is_empty());
    let (routes, settings) = (Arc::new(routes), Arc::new(net::http::Settings::default()));
    let of_server = tasks.clone();
    let serve: net::Serve = Arc::new(move |conn| {
        Box::pin(net::http::serve(conn, Arc::clone(&routes), Arc::clone(&settings), of_server.clone()))
    });
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local();
    let sniffers = vec![Sniffer { name: "http", sniff: net::http::sniff, serve }];
    let kept = connections.clone();
    listener.serve(Door { sniffers, tls: None, first_bytes: Duration::from_secs(10), connections, tasks });
    Server { address, hub, client: outside, connections: kept }
}

pub(crate) async fn start() -> Server {
    start_with(json!({})).await
}

fn digest(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
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

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The fault's code, status checked against it.
    pub(crate) fn fault(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{:?}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        (self.status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    }
}

impl Server {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response {
        let mut request =
            http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {KEY}"));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request: Request = request.body(body.into()).unwrap();
        soon(self.client.request(request, Options::default())).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        answer(self.send(Method::POST, path, headers, body).await).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        answer(self.send(Method::GET, path, headers, Body::empty()).await).await
    }

    /// Leases up to ten messages, waiting for the first.
    pub(crate) async fn lease(&self, queue: &str) -> Vec<Value> {
        let answer =
            self.post(&format!("/api/queues/{queue}/lease"), &[], r#"{"max":10,"wait":"10s"}"#).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()["deliveries"].as_array().unwrap().clone()
    }
}

async fn answer(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let body = soon(body.collect(10 << 20)).await.unwrap();
    Answer { status: head.status, headers: head.headers, body }
}

/// Waits until `done` says so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let tries = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), tries).await.is_ok(), "waited in vain: {what}");
}
