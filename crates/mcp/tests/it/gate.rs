//! A gateway in this process and a client that writes HTTP by hand, so that every byte of a request is the test's own.
//! It judges nothing.

use fixtures::mcp::{Era, Options, Server};
use message::{Clock, Dice};
use net::{Client, Connections, Door, Egress, Listener, Metrics, Sniffer, Tasks};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const ANN: &str = "test-key-of-ann-0001";
const ANN_SHA256: &str = "7f80a65c25fa90ec67593ea935587c450d3fffaff33cbf1d1419d2a66140992e";
pub(crate) const BOB: &str = "test-key-of-bob-0002";
const BOB_SHA256: &str = "ebc506e13bff64b74de5022bba500cbc760be9dd40bb7229ef885aca3e71dfc0";

/// Her role allows nothing.
pub(crate) const EVE: &str = "test-key-of-eve-0003";
const EVE_SHA256: &str = "ccc5c9b050edfea5f1704343f2d6544dabb143f24964d8f5b63f6867fb30a96a";

pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) hub: hub::Hub,
    pub(crate) tasks: Tasks,
    pub(crate) gateway: mcp::Gateway,
}

/// A fixture server that speaks that era.
pub(crate) async fn fixture(era: Era) -> SocketAddr {
    Server::new(Options { era, ..Options::default() }).start().await.unwrap()
}

impl Gate {
    /// A gateway in front of one fixture, names unchanged; everybody on the loopback may do everything.
    pub(crate) async fn before(era: Era) -> Gate {
        let address = fixture(era).await;
        Gate::open(
            json!({ "upstreams": { "fx": { "url": format!("http://{address}/mcp"), "prefix": "" } } }),
            true,
        )
        .await
    }

    /// A gateway with that section. Without trust, ann may call everything, bob only `echo` and our own `enqueue`.
    pub(crate) async fn open(section: Value, trust: bool) -> Gate {
        let (clock, dice, tasks) = (Clock::system(), Dice::from_system(), Tasks::new());
        let metrics = Arc::new(Metrics::default());
        let engine: Arc<dyn store::Engine> = Arc::new(store::Memory::new(store::Faults::none()));
        let settings = broker::Settings::default();
        let broker =
            broker::Broker::open(engine.clone(), settings, clock.clone(), dice.clone(), tasks.clone())
                .await
                .unwrap();
        let settings = net::Settings { egress: Egress::trusting(), ..net::Settings::default() };
        let client = Client::new(settings, &tasks, clock.clone(), metrics.clone()).unwrap();
        let parts = hub::Parts {
            broker,
            engine,
            client,
            tasks: tasks.clone(),
            clock: clock.clone(),
            dice,
            outside: access::Outside::Read,
            outlet_kinds: Vec::new(),
        };
        let hub = hub::Hub::new(parts).unwrap();
        let access = json!({
            "trust_loopback": trust,
            "keys": [
                { "name": "ann", "sha256": ANN_SHA256, "roles": ["admin"] },
                { "name": "bob", "sha256": BOB_SHA256, "roles": ["little"] },
                { "name": "eve", "sha256": EVE_SHA256, "roles": ["none"] },
            ],
            "roles": { "none": { "allow": [] }, "little": { "allow": [{ "verbs": ["call"], "on": ["tool/fx/echo", "tool/enqueue"] }] } },
        });
        let config = json!({ "access": access, "queues_on_demand": true });
        hub.apply(serde_json::from_value(config).unwrap()).await.unwrap();
        let gateway = mcp::Gateway::start(&hub, serde_json::from_value(section).unwrap()).unwrap();
        let mut routes = net::http::Routes::new();
        mcp::routes(&gateway, &mut routes);
        let (routes, settings) = (Arc::new(routes), Arc::new(net::http::Settings::default()));
        let serving = tasks.clone();
        let http = Sniffer {
            name: "http",
            sniff: net::http::sniff,
            serve: Arc::new(move |conn| {
                Box::pin(net::http::serve(conn, routes.clone(), settings.clone(), serving.clone()))
            }),
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local();
        listener.serve(Door {
            sniffers: vec![http],
            tls: None,
            first_bytes: Duration::from_secs(10),
            connections: Connections::new(1_000, clock, metrics),
            tasks: tasks.clone(),
        });
        Gate { address, hub, tasks, gateway }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.begin(method, headers, body).await;
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
        read.expect("an answer within 20 s").unwrap();
        Answer::read(&bytes)
    }

    /// Sends a request and leaves the answer to be read piece by piece.
    pub(crate) async fn begin(&self, method: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head =
            format!("{method} /mcp HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        let has = |name: &str| headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name));
        for (name, value) in [
            ("Host", "127.0.0.1"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ] {
            if !has(name) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    /// A request of 2026-07-28 with the headers that belong to it.
    pub(crate) async fn modern(&self, method: &str, params: Value, more: &[(&str, &str)]) -> Answer {
        let body = modern_body(method, params, &json!({ "elicitation": {}, "sampling": {}, "roots": {} }));
        let name =
            body["params"]["name"].as_str().or(body["params"]["uri"].as_str()).unwrap_or("").to_owned();
        let mut headers = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
        if !name.is_empty() {
            headers.push(("Mcp-Name", &name));
        }
        headers.extend(more);
        self.send("POST", &headers, &body.to_string()).await
    }

    /// Opens a session and returns its id.
    pub(crate) async fn initialize(&self, more: &[(&str, &str)]) -> String {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": {}, "sampling": {}, "roots": {} },
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = self.send("POST", more, &request(1, "initialize", params).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.header("mcp-session-id").expect("a session").to_owned()
    }

    /// A request in a session.
    pub(crate) async fn in_session(&self, session: &str, method: &str, params: Value) -> Answer {
        let headers = [("Mcp-Session-Id", session), ("MCP-Protocol-Version", "2025-11-25")];
        self.send("POST", &headers, &request(7, method, params).to_string()).await
    }
}

pub(crate) fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub(crate) fn modern_body(method: &str, mut params: Value, capabilities: &Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    request(7, method, params)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_owned();
        let text = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            unchunk(body)
        } else {
            body.to_owned()
        };
        Answer { status, head, text }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named =
            |line: &str| line.split_once(": ").is_some_and(|(have, _)| have.eq_ignore_ascii_case(name));
        self.head
            .lines()
            .find(|line| named(line))
            .and_then(|line| line.split_once(": "))
            .map(|(_, value)| value)
    }

    /// The JSON body, or the last message of the stream.
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.text) {
            Ok(value) => value,
            Err(_) => self.events().pop().unwrap_or_else(|| panic!("no JSON: {self:?}")),
        }
    }

    /// All messages of a stream.
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.text)
    }

    pub(crate) fn error(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

pub(crate) fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

fn unchunk(body: &str) -> String {
    let (mut rest, mut out) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        let (piece, after) = after.split_at(size);
        out.push_str(piece);
        rest = after.trim_start_matches("\r\n");
    }
    out
}

/// Reads a stream until it holds that text.
pub(crate) async fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    let reading = async {
        let mut buffer = [0; 4096];
        while !seen.contains(text) {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the stream ended before {text:?}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    if tokio::time::timeout(Duration::from_secs(10), reading).await.is_err() {
        panic!("no {text:?} within 10 s: {seen}");
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "not within 10 s: {what}");
}

/// Asks until there is something.
pub(crate) async fn eventually_some<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.expect("within 10 s")
}
