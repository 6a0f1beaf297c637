//! How much one request can make the server hold: pages end at their bytes, and what nobody reads is not in memory.

use crate::testing::{KEY, Server, start, start_with, until};
use http::Method;
use net::http::Body;
use serde_json::json;
use tokio::io::AsyncWriteExt;

async fn fill(server: &Server, path: &str, count: usize) {
    for _ in 0..count {
        assert_eq!(server.post(path, &[], vec![b'x'; 90_000]).await.status, 201);
    }
}

// Finding: B3
#[tokio::test]
async fn a_lease_ends_at_its_bytes_and_always_brings_one() {
    let server = start().await;
    fill(&server, "/api/queues/orders", 60).await;
    for (order, expected) in [
        (r#"{"max":1000,"bytes":1}"#, 1),
        (r#"{"max":1000,"bytes":300000}"#, 3),
        (r#"{"max":2,"bytes":300000}"#, 2),
        // 4 MiB unless said otherwise.
        (r#"{"max":1000}"#, 46),
    ] {
        let answer = server.post("/api/queues/orders/lease", &[], order).await;
        assert_eq!(answer.json()["deliveries"].as_array().unwrap().len(), expected, "{order}");
    }
    let refused = server.post("/api/queues/orders/lease", &[], r#"{"bytes":0}"#).await;
    assert_eq!(refused.fault(), (400, "TL0028".into()));
}

// Finding: B3
#[tokio::test]
async fn pages_end_at_their_bytes_and_say_where_to_go_on() {
    let server = start().await;
    fill(&server, "/api/queues/orders", 60).await;
    fill(&server, "/api/streams/audit", 60).await;
    let mut after = String::new();
    let mut seen = Vec::new();
    loop {
        let page = server.get(&format!("/api/queues/orders/peek?max=1000{after}"), &[]).await.json();
        let messages = page["messages"].as_array().unwrap();
        assert!(messages.len() <= 47, "{}", messages.len());
        seen.extend(messages.iter().map(|one| one["number"].as_u64().unwrap()));
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.is_sorted());
    let few = server.get("/api/queues/orders/peek?max=1000&bytes=200000", &[]).await.json();
    assert_eq!(few["messages"].as_array().unwrap().len(), 3);
    let page = server.get("/api/streams/audit?max=1000&bytes=200000", &[]).await.json();
    assert_eq!((page["records"].as_array().unwrap().len(), &page["next"]), (3, &json!(3)));
}

// Finding: B3
#[tokio::test]
async fn clients_that_do_not_read_hold_little_of_what_they_asked_for() {
    let server =
        start_with(json!({ "limits": { "message_bytes": 1_000_000, "answers_bytes": 4 << 20 } })).await;
    for path in ["/api/queues/orders", "/api/streams/audit"] {
        for _ in 0..20 {
            assert_eq!(server.post(path, &[], vec![b'x'; 1_000_000]).await.status, 201);
        }
    }
    let mut silent = Vec::new();
    for path in
        ["/api/queues/orders/peek?max=1000&bytes=60000000", "/api/streams/audit?max=1000&bytes=60000000"]
    {
        for _ in 0..8 {
            let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            silent.push(stream);
        }
    }
    until("the memory of answers is used", async || server.connections.answers().used > 3 << 20).await;
    // Sixteen answers of 20 MB, and each holds one message at most; others wait for them.
    assert!(server.connections.answers().used <= 6 << 20, "{:?}", server.connections.answers());
    // Who reads is served nevertheless: those who have not read for long go.
    let answer = server.get("/api/queues/orders/peek?max=2", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len() > 2_000_000), (200, true));
    drop(silent);
    until("all of it is given back", async || server.connections.answers().used == 0).await;
}

// Finding: B3
#[tokio::test]
async fn what_a_client_leased_and_never_read_goes_back() {
    let server = start_with(json!({ "limits": { "message_bytes": 1_000_000 } })).await;
    for _ in 0..12 {
        assert_eq!(server.post("/api/queues/orders", &[], vec![b'x'; 1_000_000]).await.status, 201);
    }
    let headers = [("content-type", "application/json")];
    let order = Body::full(r#"{"max":12,"bytes":20000000,"hold":"1h"}"#);
    let response = server.send(Method::POST, "/api/queues/orders/lease", &headers, order).await;
    assert_eq!(response.status(), 200);
    drop(response);
    until("what was not sent is ready again", async || {
        let stats = server.get("/api/queues/orders", &[]).await.json();
        stats["ready"].as_u64().unwrap() >= 4
    })
    .await;
}
