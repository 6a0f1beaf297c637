//! Tests of the listening side over real sockets: detection, budget, deadlines, TLS, closing by id.
//! TLS certificates are tested beside `tls.rs`, HTTP beside `http/serve.rs`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::Routes;
use crate::testing::{self, echo_sniffer, raw, serve, soon, text, until};

fn hello() -> Routes {
    let mut routes = Routes::new();
    routes.get("/hello", text("world"));
    routes
}

#[tokio::test]
async fn port_0_reports_the_real_port_and_a_taken_one_is_named() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_ne!(first.local().port(), 0);
    let fault = Listener::bind(first.local()).unwrap_err();
    assert_eq!(fault.code(), Code::AddressInUse);
    assert!(fault.detail().contains(&first.local().port().to_string()), "{fault}");
}

#[tokio::test]
async fn tells_protocols_apart_on_one_port() {
    let server = serve(hello());
    let answer = raw(&server, b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nworld"), "{answer}");
    let mut echo = server.plain().await;
    echo.write_all(b"@ping").await.unwrap();
    let mut back = [0; 5];
    soon(echo.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"@ping");
    let list = server.connections.list();
    assert_eq!(
        list.last().map(|state| (state.protocol, state.bytes_in, state.bytes_out)),
        Some(("echo", 5, 5))
    );
    drop(echo);
    until(|| server.connections.is_empty()).await;
    let names: Vec<_> = server
        .connections
        .protocols()
        .into_iter()
        .map(|(name, counts)| (name, counts.accepted, counts.open))
        .collect();
    assert_eq!(names, [("echo", 1, 0), ("http/1.1", 1, 0)]);
    assert!(server.connections.bytes().0 > 5);
}

#[tokio::test]
async fn a_head_in_single_bytes_is_still_http() {
    let server = serve(hello());
    let mut stream = server.plain().await;
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("world"), "{answer}");
}

#[tokio::test]
async fn an_unknown_protocol_is_told_and_counted() {
    let server = serve(hello());
    let answer = raw(&server, b"\x01\x02\x03\x04").await;
    assert!(answer.starts_with("TL0026"), "{answer}");
    assert_eq!(server.metrics().unknown.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn silence_is_closed() {
    let tasks = Tasks::new();
    let mut door = testing::door(vec![echo_sniffer()], &tasks);
    door.first_bytes = Duration::from_millis(50);
    let server = testing::open(door);
    let mut stream = server.plain().await;
    assert_eq!(soon(stream.read(&mut [0; 8])).await.unwrap(), 0);
    assert_eq!(server.metrics().silent.load(Ordering::Relaxed), 1);
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn over_the_budget_is_closed_at_once_and_the_place_comes_back() {
    let tasks = Tasks::new();
    let mut door = testing::door(vec![echo_sniffer()], &tasks);
    door.connections = Connections::new(2, message::Clock::system(), Arc::default());
    let server = testing::open(door);
    let first = server.plain().await;
    let _second = server.plain().await;
    until(|| server.connections.len() == 2).await;
    let mut third = server.plain().await;
    // Closed with or without a reset: either way there is nothing to read.
    assert!(!matches!(soon(third.read(&mut [0; 8])).await, Ok(1..)));
    assert_eq!(server.metrics().refused.load(Ordering::Relaxed), 1);
    drop(first);
    until(|| server.connections.len() == 1).await;
    let mut fourth = server.plain().await;
    fourth.write_all(b"@x").await.unwrap();
    let mut back = [0; 2];
    soon(fourth.read_exact(&mut back)).await.unwrap();
}

// Finding: S10, H0.3
#[tokio::test]
async fn one_peer_takes_only_its_share_of_the_places() {
    let tasks = Tasks::new();
    let server = testing::open(testing::door(vec![echo_sniffer()], &tasks));
    server.connections.set_max(10, 2);
    let first = server.plain().await;
    let _second = server.plain().await;
    until(|| server.connections.len() == 2).await;
    let mut third = server.plain().await;
    assert!(!matches!(soon(third.read(&mut [0; 8])).await, Ok(1..)));
    let metrics = server.metrics();
    assert_eq!(metrics.refused_peer.load(Ordering::Relaxed), 1);
    assert_eq!(metrics.refused.load(Ordering::Relaxed), 1);
    drop(first);
    until(|| server.connections.len() == 1).await;
    let local = server.address;
    assert!(
        server.connections.admit("127.0.0.2:1".parse().unwrap(), local).is_ok(),
        "another peer has its own"
    );
    let _fourth = server.plain().await;
    until(|| server.connections.len() == 2).await;
    // A changed limit holds from the next connection on.
    server.connections.set_max(10, 3);
    let mut fifth = server.plain().await;
    fifth.write_all(b"@x").await.unwrap();
    soon(fifth.read_exact(&mut [0; 2])).await.unwrap();
}

#[tokio::test]
async fn the_only_protocol_may_speak_first() {
    let tasks = Tasks::new();
    let greeter = Sniffer {
        name: "greeter",
        sniff: |_| Sniff::Yes,
        serve: Arc::new(|mut conn| {
            Box::pin(async move {
                conn.write_all(b"220 hello\r\n").await.unwrap();
            })
        }),
    };
    let server = testing::open(testing::door(vec![greeter], &tasks));
    assert_eq!(raw(&server, b"").await, "220 hello\r\n");
}

#[tokio::test]
async fn closes_by_id_while_the_peer_is_silent() {
    let server = serve(hello());
    let mut stream = server.plain().await;
    stream.write_all(b"@x").await.unwrap();
    let mut back = [0; 2];
    soon(stream.read_exact(&mut back)).await.unwrap();
    let id = server.connections.list()[0].id;
    assert!(server.connections.close(id) && !server.connections.close(id + 1));
    assert!(!matches!(soon(stream.read(&mut back)).await, Ok(1..)));
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn a_listener_stops_when_the_program_drains() {
    let server = serve(hello());
    let mut undecided = server.plain().await;
    undecided.write_all(b"GE").await.unwrap();
    until(|| server.connections.len() == 1).await;
    assert!(server.tasks.shutdown(Duration::from_secs(5)).await.is_empty());
    assert!(server.connections.is_empty());
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
