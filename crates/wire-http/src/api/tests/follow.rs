//! Following by server-sent events and WebSocket.

use crate::testing::{KEY, PLANT_KEY, Server, soon, start, start_with, until};
use futures_util::{SinkExt, StreamExt};
use http::Method;
use net::http::Body;
use net::sse::{Event, Reader};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;

async fn events(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reader {
    let mut all = vec![("accept", "text/event-stream")];
    all.extend_from_slice(headers);
    let response = server.send(Method::GET, path, &all, Body::empty()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Reader::new(response.into_body(), 1 << 20)
}

async fn next(reader: &mut Reader) -> Event {
    soon(reader.next()).await.expect("an event").unwrap()
}

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

#[tokio::test]
async fn server_sent_events_of_a_filter() {
    let server = start().await;
    server.post("/api/topics/plant/1/temp?retain=true", &[], "old").await;
    let mut reader = events(&server, "/api/topics/plant/+/temp", &[]).await;
    assert_eq!(data(&next(&mut reader).await)["data"], "old");
    let json = [("content-type", "application/json")];
    let live = server.post("/api/topics/plant/2/temp", &json, "{\n\"a\":1}").await;
    assert_eq!(live.json()["live"], 1);
    let event = data(&next(&mut reader).await);
    assert_eq!((&event["subject"], &event["data"]), (&json!("topic/plant/2/temp"), &json!({"a": 1})));
    let mut fresh = events(&server, "/api/topics/plant/%23?retained=false", &[("last-event-id", "7")]).await;
    server.post("/api/topics/plant/3", &[], "new").await;
    assert_eq!(data(&next(&mut fresh).await)["data"], "new");
    drop((reader, fresh));
    until("followers are gone", async || server.hub.broker().subscriptions() == 0).await;
}

#[tokio::test]
async fn a_browser_shows_its_key_in_the_query() {
    let server = start().await;
    let path = format!("/api/topics/plant/%23?access_token={PLANT_KEY}");
    let mut reader = events(&server, &path, &[("authorization", "")]).await;
    server.post("/api/topics/plant/3", &[], "new").await;
    assert_eq!(data(&next(&mut reader).await)["data"], "new");
    let wide = server
        .get(
            "/api/topics/%23",
            &[("accept", "text/event-stream"), ("authorization", &format!("Bearer {PLANT_KEY}"))],
        )
        .await;
    assert_eq!(wide.fault(), (403, "TL0002".into()));
}

#[tokio::test]
async fn a_stream_is_resumed_where_it_broke_off() {
    let server = start().await;
    for body in ["a", "b", "c"] {
        server.post("/api/streams/audit", &[], body).await;
    }
    let mut reader = events(&server, "/api/streams/audit?from=earliest", &[]).await;
    let first = next(&mut reader).await;
    assert_eq!((first.id.as_deref(), data(&first)["data"].clone()), (Some("0"), json!("a")));
    drop(reader);
    let mut reader = events(&server, "/api/streams/audit", &[("last-event-id", "0")]).await;
    assert_eq!(data(&next(&mut reader).await)["data"], "b");
    assert_eq!(data(&next(&mut reader).await)["data"], "c");
    server.post("/api/streams/audit", &[], "d").await;
    assert_eq!(next(&mut reader).await.id.as_deref(), Some("3"));
}

// Finding: B9
#[tokio::test]
async fn a_reader_of_a_stream_is_told_what_it_missed() {
    let server = start_with(json!({ "streams": { "audit": { "bytes": "100KiB" } } })).await;
    let append = async |count: usize| {
        for _ in 0..count {
            assert_eq!(server.post("/api/streams/audit", &[], vec![b'x'; 1_000]).await.status, 201);
        }
    };
    append(10).await;
    let stats = async || server.get("/api/streams/audit?max=1", &[]).await.json();
    while stats().await["head"] == 0 {
        append(100).await;
    }
    let now = stats().await;
    let (head, tail) = (now["head"].as_u64().unwrap(), now["tail"].as_u64().unwrap());
    let mut reader = events(&server, "/api/streams/audit", &[("last-event-id", "4")]).await;
    let first = next(&mut reader).await;
    assert_eq!((first.event.as_deref(), data(&first)), (Some("dropped"), json!({ "count": head - 5 })));
    assert_eq!(next(&mut reader).await.id, Some(head.to_string()));
    let page = server.get("/api/streams/audit?from=5&max=1", &[]).await.json();
    assert_eq!((&page["dropped"], &page["records"][0]["offset"]), (&json!(head - 5), &json!(head)));
    // An offset that was never given: the answer says which there are.
    for (path, last) in [
        ("/api/streams/audit?from=99999999", ""),
        ("/api/streams/audit", "99999999999"),
        ("/api/streams/audit", "18446744073709551615"),
    ] {
        let answer = server.get(path, &[("accept", "text/event-stream"), ("last-event-id", last)]).await;
        assert_eq!(answer.fault(), (400, "TL0028".into()), "{path} {last}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(&format!("{head} to {tail}")));
    }
    assert_eq!(server.get("/api/streams/audit?from=99999999", &[]).await.fault(), (400, "TL0028".into()));
    // The end itself is where the next one comes.
    let path = format!("/api/streams/audit?from={tail}");
    let mut reader = events(&server, &path, &[]).await;
    append(1).await;
    assert_eq!(next(&mut reader).await.id, Some(tail.to_string()));
}

#[tokio::test]
async fn draining_ends_what_follows() {
    let server = start().await;
    let mut reader = events(&server, "/api/topics/plant/%23", &[]).await;
    let mut socket = Socket::open(&server, "/api/queues/orders/ws").await;
    let tasks = server.hub.tasks().clone();
    let left = soon(tasks.shutdown(std::time::Duration::from_secs(10))).await;
    assert!(left.is_empty(), "{left:?}");
    assert!(soon(reader.next()).await.is_none());
    assert!(socket.closed().await);
}

#[tokio::test]
async fn a_key_that_is_taken_out_ends_what_follows() {
    let server = start().await;
    server.post("/api/streams/audit", &[], "a").await;
    let mut topics = events(&server, "/api/topics/plant/%23", &[]).await;
    let mut stream = events(&server, "/api/streams/audit?from=earliest", &[]).await;
    assert_eq!(data(&next(&mut stream).await)["data"], "a");
    let mut socket = Socket::open(&server, "/api/topics/plant/%23").await;
    let mut consumer = Socket::open(&server, "/api/queues/orders/ws").await;
    let mut config = server.hub.config();
    // A change that takes nothing away leaves everybody in peace.
    config.limits.headers += 1;
    server.hub.apply(config.clone()).await.unwrap();
    server.post("/api/topics/plant/1", &[], "still").await;
    assert_eq!(data(&next(&mut topics).await)["data"], "still");
    assert_eq!(socket.next().await["event"]["data"], "still");
    config.access.keys.retain(|key| key.name != "all");
    server.hub.apply(config).await.unwrap();
    for reader in [&mut topics, &mut stream] {
        let last = next(reader).await;
        assert_eq!((last.event.as_deref(), &data(&last)["code"]), (Some("fault"), &json!("TL0001")));
        assert!(soon(reader.next()).await.is_none());
    }
    assert!(socket.closed().await && consumer.closed().await);
}

struct Socket(tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>);

impl Socket {
    async fn open(server: &Server, path: &str) -> Socket {
        let mut request = format!("ws://{}{path}", server.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (socket, _) = soon(tokio_tungstenite::client_async(request, stream)).await.unwrap();
        Socket(socket)
    }

    async fn send(&mut self, frame: Value) {
        soon(self.0.send(Message::text(frame.to_string()))).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            match soon(self.0.next()).await.expect("a frame").unwrap() {
                Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> bool {
        loop {
            match soon(self.0.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return true,
                Some(Ok(_)) => return false,
            }
        }
    }
}

#[tokio::test]
async fn topics_over_a_socket() {
    let server = start().await;
    server.post("/api/topics/office/1?retain=true", &[], "kept").await;
    let mut socket = Socket::open(&server, "/api/topics/plant/%23").await;
    socket.send(json!({"type": "publish", "id": 1, "topic": "plant/7", "data": {"t": 21.5}, "headers": {"unit": "C"}})).await;
    let mut got = [socket.next().await, socket.next().await];
    got.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
    let [ack, event] = got;
    assert_eq!((&ack["type"], &ack["id"], &ack["receipt"]["live"]), (&json!("ack"), &json!(1), &json!(1)));
    assert_eq!((&event["filter"], &event["retained"]), (&json!("plant/#"), &json!(false)));
    assert_eq!((&event["event"]["data"], &event["event"]["unit"]), (&json!({"t": 21.5}), &json!("C")));

    socket.send(json!({"type": "subscribe", "id": "two", "filter": "office/+"})).await;
    let mut got = [socket.next().await, socket.next().await];
    got.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
    assert_eq!(got[0], json!({"type": "ack", "id": "two"}));
    assert_eq!((&got[1]["retained"], &got[1]["event"]["data"]), (&json!(true), &json!("kept")));
    socket.send(json!({"type": "unsubscribe", "id": 3, "filter": "office/+"})).await;
    assert_eq!(socket.next().await, json!({"type": "ack", "id": 3}));
    assert_eq!(server.hub.broker().subscriptions(), 1);

    for (frame, code) in [
        (json!({"type": "publihs", "id": 4}), "TL0028"),
        (json!({"type": "publish", "id": 4, "topic": "a/+"}), "TL0011"),
        (json!({"type": "publish", "id": 4, "topic": "$sys/a"}), "TL0002"),
        (json!({"type": "publish", "id": 4, "topic": "a", "retian": true}), "TL0028"),
        (json!({"type": "publish", "id": 4, "topic": "a", "event": {"id": "1"}}), "TL0004"),
        (json!({"type": "subscribe", "id": 4, "filter": "a", "data": 1}), "TL0028"),
        (json!({"type": "unsubscribe", "id": 4, "filter": "plant"}), "TL0028"),
    ] {
        socket.send(frame.clone()).await;
        let fault = socket.next().await;
        assert_eq!((&fault["id"], &fault["fault"]["code"]), (&json!(4), &json!(code)), "{frame}: {fault}");
    }
    drop(socket);
    until("the socket's filters are gone", async || server.hub.broker().subscriptions() == 0).await;
}

#[tokio::test]
async fn a_consumer_over_a_socket_has_its_credit() {
    let server = start().await;
    for number in 0..5 {
        server.post("/api/queues/orders", &[], format!("m{number}")).await;
    }
    let mut socket = Socket::open(&server, "/api/queues/orders/ws?credit=2&hold=30s").await;
    let first = socket.next().await;
    let second = socket.next().await;
    assert_eq!((&first["delivery"]["body"], &second["delivery"]["body"]), (&json!("m0"), &json!("m1")));
    assert_eq!(server.get("/api/queues/orders", &[]).await.json()["leased"], 2);

    socket
        .send(json!({"type": "settle", "id": 1, "token": first["delivery"]["token"], "action": "ack"}))
        .await;
    let mut got = [socket.next().await, socket.next().await];
    got.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
    assert_eq!(got[0], json!({"type": "ack", "id": 1, "settled": "acked"}));
    assert_eq!(got[1]["delivery"]["body"], "m2");

    socket
        .send(json!({"type": "settle", "id": 2, "token": first["delivery"]["token"], "action": "ack"}))
        .await;
    assert_eq!(socket.next().await["fault"]["code"], "TL0015");
    socket.send(json!({"type": "credit", "id": 3, "credit": 3})).await;
    let mut got = [socket.next().await, socket.next().await];
    got.sort_by_key(|frame| frame["type"].as_str().unwrap().to_owned());
    assert_eq!(got[0], json!({"type": "ack", "id": 3}));
    assert_eq!(got[1]["delivery"]["body"], "m3");

    drop(socket);
    until("all that was not settled is back", async || {
        let stats = server.get("/api/queues/orders", &[]).await.json();
        stats["leased"] == 0 && stats["ready"] == 4
    })
    .await;
    assert_eq!(server.lease("orders").await.len(), 4);
}
