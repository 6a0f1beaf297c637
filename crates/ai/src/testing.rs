//! A gateway and upstreams on ports of their own, for the tests of this crate.
//! Nothing here is in the program.

use crate::Gateway;
use access::Record;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use hub::{Hub, Parts};
use message::{Clock, Dice};
use net::http::{Body, Call, Request, Response, Routes, handler};
use net::{Client, Connections, Door, Egress, Listener, Metrics, Options, Sniffer, Tasks};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The key that may do everything.
pub(crate) const KEY: &str = "tl_the-key-of-the-tests";
/// The key that may call `model/fast` only.
pub(crate) const NARROW: &str = "tl_the-narrow-key-of-the-tests";

/// The SHA-256 of the two.
pub(crate) const DIGESTS: [&str; 2] = [
    "ed661af12ab436d3ae48fe44d6a041423a100a18e66015cd8ccb77b526795879",
    "59a78e0402853fd32557ad2399dcd90cfd95af89ebf88b74ed59d29f1a34b077",
];

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    client: Client,
    _tasks: Tasks,
}

/// A request as an upstream got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer as a client got it.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server that answers as it is told and remembers what it was asked.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: Tasks,
}

impl Upstream {
    pub(crate) fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Upstream {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        let mut routes = Routes::new();
        routes.fallback(handler(move |call: Call| {
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            async move {
                let (parts, body) = call.into_parts();
                let body = body.collect(64 << 20).await?;
                let got =
                    Seen { method: parts.method, uri: parts.uri.to_string(), headers: parts.headers, body };
                log.lock().push(got.clone());
                Ok::<_, message::Fault>(answer(&got))
            }
        }));
        let tasks = Tasks::new();
        let address = listen(routes, &tasks);
        Upstream { address, seen, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/base/v1", self.address)
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().last().cloned().expect("a request")
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

/// A chat answer with this usage.
pub(crate) fn chat_answer(input: u64, output: u64) -> Response {
    net::http::json(
        StatusCode::OK,
        &json!({ "choices": [{ "message": { "content": "hello" } }], "usage": { "prompt_tokens": input, "completion_tokens": output } }),
    )
}

/// A port where nothing listens.
pub(crate) fn nowhere() -> String {
    let tasks = Tasks::new();
    let address = {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.local()
    };
    drop(tasks);
    format!("http://{address}/v1")
}

fn listen(routes: Routes, tasks: &Tasks) -> SocketAddr {
    let (routes, settings) = (Arc::new(routes), Arc::new(net::http::Settings::default()));
    let of_server = tasks.clone();
    let serve: net::Serve = Arc::new(move |conn| {
        Box::pin(net::http::serve(conn, Arc::clone(&routes), Arc::clone(&settings), of_server.clone()))
    });
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local();
    let sniffers = vec![Sniffer { name: "http", sniff: net::http::sniff, serve }];
    let connections = Connections::new(1_000, Clock::system(), Arc::new(Metrics::default()));
    listener.serve(Door { sniffers, tls: None, first_bytes: PATIENCE, connections, tasks: tasks.clone() });
    address
}

fn client(tasks: &Tasks) -> Client {
    let settings = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    Client::new(settings, tasks, Clock::system(), Arc::default()).unwrap()
}

impl World {
    /// A gateway with this section, behind a hub that knows the two keys.
    pub(crate) async fn start(section: Value) -> World {
        let (clock, dice, tasks) = (Clock::system(), Dice::from_system(), Tasks::new());
        let engine: Arc<dyn store::Engine> = Arc::new(store::Memory::new(store::Faults::none()));
        let settings = broker::Settings::default();
        let broker =
            broker::Broker::open(Arc::clone(&engine), settings, clock.clone(), dice.clone(), tasks.clone())
                .await
                .unwrap();
        let parts = Parts {
            broker,
            engine,
            client: client(&tasks),
            tasks: tasks.clone(),
            clock,
            dice,
            outside: access::Outside::Read,
            outlet_kinds: Vec::new(),
        };
        let hub = Hub::new(parts).unwrap();
        let config = json!({
            "access": {
                "keys": [
                    { "name": "all", "sha256": DIGESTS[0], "roles": ["admin"] },
                    { "name": "narrow", "sha256": DIGESTS[1], "roles": ["fast"] },
                ],
                "roles": { "fast": { "allow": [{ "verbs": ["call"], "on": ["model/fast"] }] } },
            },
            "limits": { "message_bytes": 10_000 },
        });
        hub.apply(serde_json::from_value(config).unwrap()).await.unwrap();
        let gateway = Gateway::start(&hub, section).unwrap();
        let mut routes = Routes::new();
        crate::mount(&gateway, &mut routes);
        let address = listen(routes, &tasks);
        let outside = client(&tasks);
        World { hub, gateway, address, client: outside, _tasks: tasks }
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: impl Into<Body>) -> Request {
        let builder = http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        builder.header("authorization", format!("Bearer {KEY}")).body(body.into()).unwrap()
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    pub(crate) async fn open(&self, request: Request) -> Response {
        self.client.request(request, Options::within(PATIENCE)).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request) -> Got {
        let (parts, body) = self.open(request).await.into_parts();
        let body = body.collect(64 << 20).await.unwrap();
        Got { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send(self.request(Method::GET, path, Body::empty())).await
    }

    /// Posts JSON bytes as they are.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Got {
        self.send(self.json(path, body)).await
    }

    pub(crate) fn json(&self, path: &str, body: impl Into<Body>) -> Request {
        let mut request = self.request(Method::POST, path, body);
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        request
    }

    /// The newest record that `want` accepts, as soon as it is there.
    pub(crate) async fn record(&self, want: impl Fn(&Record) -> bool) -> Arc<Record> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.hub.ledger().recent(100).into_iter().find(|record| want(record));
            if let Some(record) = found {
                return record;
            }
            assert!(tokio::time::Instant::now() < until, "{:#?}", self.hub.ledger().recent(100));
            tokio::task::yield_now().await;
        }
    }

    /// The usage of the newest call that has one.
    pub(crate) async fn usage(&self) -> access::Usage {
        self.record(|record| record.usage.is_some()).await.usage.clone().unwrap()
    }
}
