//! Lines over real sockets, both ways.

use super::super::LINES;
use super::*;
use crate::testing::{ask, closed, soon, start};
use message::{Address, Clock, Dice, Envelope};
use serde_json::json;

#[tokio::test]
async fn lines_become_messages() {
    let server = start(&LINES, json!({ "principal": "lab", "answers": true })).await;
    let mut stream = server.connect().await;
    assert_eq!(ask(&mut stream, b"one\r\n\ntwo\n", b"ok\nok\n").await, b"ok\nok\n");
    assert_eq!(server.waiting("queue/lines").await, ["one", "two"]);
    let answer = ask(&mut stream, &[b'x'; 30_000], b"\n").await;
    assert!(answer.starts_with(b"error TL0003 "), "{}", String::from_utf8_lossy(&answer));
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_browser_cannot_post_lines() {
    let server = start(&LINES, json!({ "principal": "lab", "answers": true })).await;
    for request in [&b"POST / HTTP/1.1\r\nHost: x\r\n\r\none\n"[..], b"GET /one HTTP/1.0\n\n"] {
        let mut stream = server.connect().await;
        soon(stream.write_all(request)).await.unwrap();
        closed(&mut stream).await;
    }
    assert!(server.waiting("queue/lines").await.is_empty());
    let mut stream = server.connect().await;
    assert_eq!(ask(&mut stream, b"GET /one HTTP/1.1 200\n", b"ok\n").await, b"ok\n");
}

#[tokio::test]
async fn without_answers_a_refusal_closes() {
    let server = start(&LINES, json!({ "principal": "guest" })).await;
    let mut stream = server.connect().await;
    soon(stream.write_all(b"one\n")).await.unwrap();
    closed(&mut stream).await;
    assert!(server.waiting("queue/lines").await.is_empty());
    let server = start(&LINES, json!({ "principal": "lab", "idle_timeout": "50ms" })).await;
    closed(&mut server.connect().await).await;
}

#[tokio::test]
async fn the_outlet_writes_lines() {
    let server = start(&LINES, json!({ "principal": "lab" })).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outlet = server.outlet(&LINES, json!({ "address": listener.local_addr().unwrap().to_string() }));
    let envelope = |body: &'static str| {
        Envelope::new(Address::parse("out/printer").unwrap(), body, &Clock::system(), &Dice::seeded(1))
    };
    let wait = Duration::from_secs(10);
    soon(outlet.deliver(&envelope("one"), wait)).await.unwrap();
    soon(outlet.deliver(&envelope("two"), wait)).await.unwrap();
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let mut read = [0; 8];
    soon(stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"one\ntwo\n");
    let fault = soon(outlet.deliver(&envelope("a\nb"), wait)).await.unwrap_err();
    assert_eq!(fault.code(), Code::BadRequest);
}
