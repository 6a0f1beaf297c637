//! For tests: a hub over the memory store with the lab route, one protocol behind a real loopback socket, and clients.
//! Only compiled for tests.

use broker::{Broker, Lease};
use bytes::Bytes;
use hub::{Hub, Outlet, Parts, Protocol, Session};
use message::{Address, Clock, Dice};
use net::{Client, Connections, Door, Egress, Listener, Metrics, Sniffer, Tasks};
use serde_json::{Value, json};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const NORMAL: &[u8] = include_bytes!("../../../examples/oru-normal.hl7");
pub(crate) const CRITICAL: &[u8] = include_bytes!("../../../examples/oru-critical.hl7");

/// Nothing here takes this long unless it hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) tasks: Tasks,
}

fn key(name: &str, role: &str) -> Value {
    // The digest of nothing that anybody holds: these principals come in by their listener only.
    let digit = name.bytes().fold(0_u8, |sum, byte| sum.wrapping_add(byte));
    json!({ "name": name, "sha256": format!("{digit:02x}").repeat(32), "roles": [role] })
}

/// A program with `protocol` configured by `section`.
pub(crate) async fn start(protocol: &'static Protocol, section: Value) -> Server {
    let route: Value = serde_json::to_value(lab_route()).unwrap();
    let config = json!({
        "access": {
            "keys": [key("lab", "lab"), key("guest", "guest"), key("boss", "admin")],
            "roles": {
                "lab": { "allow": [{ "verbs": ["publish"], "on": ["topic/hl7/#", "topic/lines/#", "topic/lost"] }] },
                "guest": { "allow": [{ "verbs": ["publish"], "on": ["topic/other"] }] },
            },
        },
        "limits": { "message_bytes": 20_000 },
        "queues": { "lab-results": {}, "lines": {} },
        "routes": [route, { "name": "lines", "from": "topic/lines/in", "to": ["queue/lines"] }],
    });
    let (clock, dice, tasks) = (Clock::system(), Dice::from_system(), Tasks::new());
    let engine: Arc<dyn store::Engine> = Arc::new(store::Memory::new(store::Faults::none()));
    let settings = broker::Settings::default();
    let broker = Broker::open(Arc::clone(&engine), settings, clock.clone(), dice.clone(), tasks.clone())
        .await
        .unwrap();
    let metrics = Arc::new(Metrics::default());
    let egress = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
    let client = Client::new(egress, &tasks, clock.clone(), Arc::clone(&metrics)).unwrap();
    let connections = Connections::new(100, clock.clone(), metrics);
    let parts = Parts {
        broker,
        engine,
        client,
        tasks: tasks.clone(),
        clock,
        dice,
        outside: hub::Outside::Read,
        outlet_kinds: Vec::new(),
    };
    let hub = Hub::new(parts).unwrap();
    let mut config: hub::Config = serde_json::from_value(config).unwrap();
    config.base = examples();
    hub.apply(config).await.unwrap();
    let inlet = (protocol.open)(&hub, section).unwrap();
    let serve: net::Serve = Arc::new(move |conn| Arc::clone(&inlet).accept(conn));
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local();
    let sniffers = vec![Sniffer { name: protocol.name, sniff: |_| net::Sniff::Yes, serve }];
    let first_bytes = Duration::from_secs(10);
    listener.serve(Door { sniffers, tls: None, first_bytes, connections, tasks: tasks.clone() });
    Server { address, hub, tasks }
}

fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"))
}

fn lab_route() -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(examples().join("lab-route.yaml")).unwrap()).unwrap()
}

impl Server {
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = soon(TcpStream::connect(self.address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn boss(&self) -> Session {
        let origin = hub::Origin { protocol: "test", peer: self.address };
        self.hub.open(self.hub.identity("boss").unwrap(), origin)
    }

    /// The bodies that wait in a queue.
    pub(crate) async fn waiting(&self, queue: &str) -> Vec<Bytes> {
        let address = Address::parse(queue).unwrap();
        let lease = Lease::new("test", 100);
        let deliveries = soon(self.boss().lease(&address, lease)).await.unwrap();
        deliveries.iter().map(|delivery| delivery.envelope.body.clone()).collect()
    }

    pub(crate) fn outlet(&self, protocol: &Protocol, section: Value) -> Arc<dyn Outlet> {
        let kind = protocol.outlets.first().unwrap();
        (kind.build)(&self.hub, "test", section).unwrap()
    }

    pub(crate) fn faults(&self, code: message::Code) -> u64 {
        self.hub.counters().faults().iter().filter(|(have, _)| *have == code).map(|(_, count)| count).sum()
    }
}

/// Sends `bytes`, then reads up to and with `end`.
pub(crate) async fn ask(stream: &mut TcpStream, bytes: &[u8], end: &[u8]) -> Vec<u8> {
    soon(stream.write_all(bytes)).await.unwrap();
    let mut answer = Vec::new();
    soon(async {
        while !answer.ends_with(end) {
            answer.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    answer
}

/// Waits for the peer's end of the connection.
pub(crate) async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    drop(soon(stream.read_to_end(&mut rest)).await);
}
