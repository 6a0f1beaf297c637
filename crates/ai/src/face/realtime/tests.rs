//! A realtime connection through the gateway: keys, models, usage, codes, with our own client and a second gateway behind.

use crate::testing::{DIGESTS, KEY, NARROW, World, nowhere};
use access::Outcome;
use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use message::Code;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

struct Talk(WebSocketStream<TcpStream>);

/// Opens a connection; the key as a header, or, after `protocols `, among the subprotocols.
async fn dial(to: SocketAddr, query: &str, key: &str) -> Result<(Talk, http::HeaderMap), Error> {
    let mut request = format!("ws://{to}/v1/realtime{query}").into_client_request().unwrap();
    match key.strip_prefix("protocols ") {
        Some(words) => request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, words.parse().unwrap()),
        None => request.headers_mut().insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap()),
    };
    let stream = TcpStream::connect(to).await.unwrap();
    let (stream, answer) = tokio_tungstenite::client_async(request, stream).await?;
    Ok((Talk(stream), answer.headers().clone()))
}

/// The answer to a connection that is not let in.
async fn refusal(to: SocketAddr, query: &str, key: &str) -> (u16, String) {
    match dial(to, query, key).await {
        Err(Error::Http(answer)) => {
            let fault = answer.headers().get("x-trunkline-fault").map_or("", |value| value.to_str().unwrap());
            (answer.status().as_u16(), fault.to_owned())
        }
        Err(other) => panic!("{query}: {other}"),
        Ok(_) => panic!("{query} passed"),
    }
}

impl Talk {
    async fn say(&mut self, event: Value) {
        self.0.send(Message::text(event.to_string())).await.unwrap();
    }

    async fn ask(&mut self, text: &str) {
        let content = json!([{ "type": "input_text", "text": text }]);
        let item = json!({ "type": "message", "role": "user", "content": content });
        self.say(json!({ "type": "conversation.item.create", "item": item })).await;
        self.say(json!({ "type": "response.create" })).await;
    }

    async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
            match next.expect("in time").expect("a message").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                other => return other,
            }
        }
    }

    /// The next event of this kind.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let Message::Text(text) = self.next().await else { continue };
            let event: Value = serde_json::from_str(&text).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Code and reason of the goodbye.
    async fn goodbye(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame
                    .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
            }
        }
    }
}

/// A gateway in front of another one, whose `echo` is our provider.
async fn two() -> (World, World, tempfile::TempDir) {
    let behind = World::start(json!({ "aliases": { "echo-behind": { "provider": "echo" } } })).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let front = World::start(json!({
        "echo": false,
        "providers": {
            "up": { "url": format!("http://{}/v1", behind.address), "key": format!("file:{}", key.display()) },
            "gone": { "url": nowhere() },
        },
        "aliases": {
            "fast": {
                "provider": "gone", "price": { "input": "1", "output": "2" },
                "fallback": [{ "provider": "up", "model": "echo-behind" }],
            },
            "other": { "provider": "up", "model": "echo" },
        },
    }))
    .await;
    (front, behind, folder)
}

#[tokio::test]
async fn events_pass_both_ways_and_what_is_used_is_written_down() {
    let (front, behind, _folder) = two().await;
    let (mut talk, _) = dial(front.address, "?model=fast", NARROW).await.unwrap();
    assert_eq!(talk.until("session.created").await["session"]["model"], "echo-behind");
    talk.say(json!({ "type": "session.update", "session": { "model": "fast", "instructions": "be brief" } }))
        .await;
    assert_eq!(talk.until("session.updated").await["session"]["instructions"], "be brief");
    talk.ask("one two three").await;
    assert_eq!(talk.until("response.output_text.done").await["text"], "one two three");
    let done = talk.until("response.done").await;
    assert_eq!(done["response"]["usage"]["output_tokens"], 3);

    let record = front.record(|record| record.usage.is_some()).await;
    let usage = record.usage.clone().unwrap();
    assert_eq!((&*record.address, &*record.principal, &*usage.provider), ("model/fast", "narrow", "up"));
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cost_nano), (5, 3, 5 * 1_000 + 3 * 2_000));
    // The second gateway saw its own key and the provider's name for the model.
    let record = behind.record(|record| record.usage.is_some()).await;
    assert_eq!((&*record.address, &*record.principal), ("model/echo-behind", "all"));

    talk.0.close(Some(CloseFrame { code: 4001.into(), reason: "enough".into() })).await.unwrap();
    let whole = |record: &access::Record| record.usage.is_none() && record.outcome == Outcome::Done;
    front.record(|record| whole(record) && &*record.address == "model/fast").await;
    behind.record(whole).await;
}

#[tokio::test]
async fn the_code_of_either_goodbye_is_passed_on() {
    let (front, _behind, _folder) = two().await;
    let (mut talk, _) = dial(front.address, "?model=other", KEY).await.unwrap();
    talk.ask(r#"{"echo":{"close":4123}}"#).await;
    assert_eq!(talk.goodbye().await, (4123, "echo was told to close".to_owned()));

    // A provider of our own, which tells what it was told.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let told = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tokio_tungstenite::accept_async(stream).await.unwrap();
        loop {
            match stream.next().await.unwrap().unwrap() {
                Message::Close(frame) => {
                    return frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                }
                Message::Binary(bytes) => stream.send(Message::binary(bytes)).await.unwrap(),
                _ => {}
            }
        }
    };
    let world = World::start(json!({ "providers": { "up": { "url": url } } })).await;
    let says = async {
        let (mut talk, _) = dial(world.address, "?model=any", KEY).await.unwrap();
        talk.0.send(Message::binary(vec![0, 255])).await.unwrap();
        assert_eq!(talk.next().await, Message::binary(vec![0, 255]));
        talk.0.close(Some(CloseFrame { code: 4005.into(), reason: "so long".into() })).await.unwrap();
        talk.goodbye().await
    };
    let (told, _) = tokio::join!(told, says);
    assert_eq!(told, Some((4005, "so long".to_owned())));
}

#[tokio::test]
async fn browsers_show_their_key_among_the_subprotocols() {
    let (front, _behind, _folder) = two().await;
    let words =
        |key: &str| format!("protocols realtime, openai-insecure-api-key.{key}, openai-beta.realtime-v1");
    let (mut talk, headers) = dial(front.address, "?model=fast", &words(NARROW)).await.unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "realtime");
    talk.until("session.created").await;
    assert_eq!(refusal(front.address, "?model=fast", &words("wrong")).await, (401, "TL0001".to_owned()));
}

#[tokio::test]
async fn what_may_not_be_called_is_refused_before_and_after_it_opened() {
    let (front, _behind, _folder) = two().await;
    for (query, key, status, fault) in [
        ("?model=other", NARROW, 403, "TL0002"),
        ("?model=fast&model=other", KEY, 400, "TL0028"),
        ("?model=fast&mod%65l=other", KEY, 400, "TL0028"),
        ("?Model=fast", KEY, 400, "TL0028"),
        ("", KEY, 400, "TL0028"),
        ("?model=nobody", KEY, 404, "TL0030"),
        ("?model=fast", "wrong", 401, "TL0001"),
    ] {
        assert_eq!(refusal(front.address, query, key).await, (status, fault.to_owned()), "{query}");
    }

    let (mut talk, _) = dial(front.address, "?model=fast", NARROW).await.unwrap();
    for event in [
        r#"{"type":"session.update","session":{"model":"other"}}"#,
        r#"{"type":"session.update","session":{"model":"fast","mod\u0065l":"other"}}"#,
        r#"{"type":"session.update","session":{"Model":"other"}}"#,
        r#"{"type":"response.create","response":{"model":"other"}}"#,
    ] {
        talk.0.send(Message::text(event)).await.unwrap();
        assert_eq!(talk.until("error").await["error"]["param"], "session.model", "{event}");
    }
    talk.ask("still here").await;
    talk.until("response.done").await;

    // Nobody may call it any more: the connection ends.
    let config = json!({ "access": { "keys": [{ "name": "narrow", "sha256": DIGESTS[1], "roles": [] }] } });
    front.hub.apply(serde_json::from_value(config).unwrap()).await.unwrap();
    let (code, reason) = talk.goodbye().await;
    assert!(code == 1008 && reason.contains("TL000"), "{code} {reason}");
}

#[tokio::test]
async fn a_provider_that_cannot_and_one_that_says_nothing() {
    let quiet = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", quiet.local_addr().unwrap());
    let nothing = async move {
        let (stream, _) = quiet.accept().await.unwrap();
        let mut stream = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(_)) = stream.next().await {}
    };
    let world = World::start(json!({
        "providers": { "quiet": { "url": url, "silence": "200ms" }, "gone": { "url": nowhere() } },
        "aliases": { "quiet": { "provider": "quiet" }, "gone": { "provider": "gone" } },
    }))
    .await;
    let gone = refusal(world.address, "?model=gone", KEY).await;
    assert_eq!(gone.0, StatusCode::BAD_GATEWAY.as_u16(), "{gone:?}");
    let asks = async {
        let (mut talk, _) = dial(world.address, "?model=quiet", KEY).await.unwrap();
        talk.goodbye().await
    };
    let ((), (code, reason)) = tokio::join!(nothing, asks);
    assert!(code == 1001 && reason.contains("TL0038"), "{code} {reason}");
    let idle =
        |outcome: &Outcome| matches!(outcome, Outcome::Failed(fault) if fault.code() == Code::IdleTimeout);
    world.record(|record| idle(&record.outcome)).await;
}
