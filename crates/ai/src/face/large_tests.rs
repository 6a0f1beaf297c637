//! Bodies that are larger than a message, with their model behind everything else.

use crate::testing::{Upstream, World, chat_answer};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use net::http::{Body, respond};
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

/// As openai-python writes it: the messages first.
fn late(bytes: usize) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"{}"}}],"stream":true,"model":"fast"}}"#,
        "y".repeat(bytes)
    )
}

/// In pieces, of unknown length.
fn pieces(text: &str) -> Body {
    let pieces: Vec<_> =
        text.as_bytes().chunks(30_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::stream(stream::iter(pieces))
}

// Finding: A1
#[tokio::test]
async fn json_with_its_model_last_waits_on_disk_and_arrives_as_it_was_sent() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let world = World::start(json!({
        "providers": { "up": { "url": upstream.url(), "ask_usage": true } },
        "aliases": { "fast": { "provider": "up", "model": "another name" } },
    }))
    .await;
    let folder = tempfile::tempdir().unwrap();
    world.gateway.hold_in(folder.path().to_owned());
    // Under and over what is written at once; message_bytes is 10,000 in these tests.
    for size in [20_000, 300_000, 3_000_000] {
        let sent = late(size);
        let arrives = sent.replace("\"fast\"", "\"another name\"");
        let arrives = arrives.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        for body in [Body::full(sent.clone()), pieces(&sent)] {
            let got = world.post(CHAT, body).await;
            assert_eq!(got.status, StatusCode::OK, "{size} {got:?}");
            assert!(upstream.last().body == arrives, "{size}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(world.gateway.room().used(), 0);
    // The built-in model takes it too.
    let got =
        world.post(CHAT, pieces(&late(2_000_000).replace("fast", "echo").replace("true", "false"))).await;
    assert_eq!(got.json()["choices"][0]["message"]["content"].as_str().map(str::len), Some(2_000_000));
}

// Finding: A1, A14
#[tokio::test]
async fn what_waits_on_disk_can_be_sent_to_the_next_deployment() {
    let bad = Upstream::start(|_| respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "busy"));
    let good = Upstream::start(|_| chat_answer(1, 1));
    let world = World::start(json!({
        "providers": { "bad": { "url": bad.url() }, "good": { "url": good.url() } },
        "aliases": { "fast": { "provider": "bad", "fallback": [{ "provider": "good", "model": "b" }] } },
    }))
    .await;
    let sent = late(500_000);
    assert_eq!(world.post(CHAT, sent.clone()).await.status, StatusCode::OK);
    assert!(bad.count() == 2 && bad.last().body == sent);
    assert!(good.last().body == sent.replace("\"fast\"", "\"b\""));
}

// Finding: A1
#[tokio::test]
async fn what_waits_on_disk_has_its_limits() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let world = World::start(json!({
        "providers": { "up": { "url": upstream.url() } }, "json_bytes": "100KiB", "spool_bytes": "150KiB",
    }))
    .await;
    let got = world.post(CHAT, pieces(&late(200_000))).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::PAYLOAD_TOO_LARGE, "TL0003"));
    assert!(got.json()["error"]["message"].as_str().unwrap().contains("models.json_bytes"), "{got:?}");
    assert_eq!(world.post(CHAT, pieces(&late(90_000))).await.status, StatusCode::OK);

    // One that goes on for ever holds its share, and gives it back when it goes.
    let (sender, slow) = Body::channel(8);
    for piece in late(95_000).as_bytes().get(..90_000).unwrap().chunks(30_000) {
        sender.send(Bytes::copy_from_slice(piece)).await;
    }
    let mut waiting = Box::pin(world.open(world.json(CHAT, slow)));
    while world.gateway.room().used() < 90_000 {
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    let got = world.post(CHAT, pieces(&late(90_000))).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::TOO_MANY_REQUESTS, "TL0022"));
    assert_eq!(got.header("retry-after"), "1");
    drop((waiting, sender));
    while world.gateway.room().used() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.post(CHAT, pieces(&late(90_000))).await.status, StatusCode::OK);
}
