//! Who is asked next, how often, and what the client reads of it.

use crate::testing::{Got, Upstream, World, chat_answer, nowhere};
use access::Outcome;
use http::StatusCode;
use message::Code;
use net::http::{Response, respond};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CHAT: &str = "/v1/chat/completions";
const ASK: &str = r#"{"model":"fast","messages":[]}"#;

/// A model at `first` with `second` behind it.
async fn pair(first: Value, second: &Upstream) -> World {
    World::start(json!({
        "providers": { "first": first, "second": { "url": second.url() } },
        "aliases": {
            "fast": { "provider": "first", "model": "one", "fallback": [{ "provider": "second", "model": "two" }] },
            "lone": { "provider": "first" },
        },
    }))
    .await
}

fn status(code: u16) -> Response {
    respond(StatusCode::from_u16(code).unwrap(), "application/json", r#"{"error":{"message":"sk-upst***"}}"#)
}

// Finding: A13, A14
#[tokio::test]
async fn whatever_one_deployment_cannot_the_next_may() {
    let second = Upstream::start(|_| chat_answer(1, 1));
    let check = async |answer: fn() -> Response, asked: usize| {
        let first = Upstream::start(move |_| answer());
        let world = pair(json!({ "url": first.url() }), &second).await;
        let got = world.post(CHAT, ASK).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
        assert!(second.last().body.starts_with(br#"{"model":"two""#));
        assert_eq!(first.count(), asked, "{got:?}");
    };
    check(|| status(401), 1).await;
    check(|| status(403), 1).await;
    check(|| status(404), 1).await;
    check(|| status(408), 2).await;
    check(|| status(429), 1).await;
    check(|| status(500), 2).await;
    check(|| status(503), 2).await;
    check(|| status(520), 2).await;
    check(|| status(529), 2).await;
    check(|| status(501), 1).await;
    check(|| respond(StatusCode::OK, "text/html", "<html>gateway</html>"), 1).await;
    check(
        || respond(StatusCode::OK, "text/event-stream", ": hold\n\ndata: {\"error\":{\"code\":529}}\n\n"),
        1,
    )
    .await;
    check(
        || {
            let mut response = status(503);
            response.headers_mut().insert("retry-after", "1".parse().unwrap());
            response
        },
        1,
    )
    .await;
}

// Finding: A14
#[tokio::test]
async fn what_the_client_did_wrong_is_asked_once_and_passes() {
    let second = Upstream::start(|_| chat_answer(1, 1));
    for code in [400, 409, 413, 422] {
        let first = Upstream::start(move |_| status(code));
        let world = pair(json!({ "url": first.url() }), &second).await;
        let got = world.post(CHAT, ASK).await;
        assert_eq!((got.status.as_u16(), got.header("x-trunkline-fault")), (code, "TL0017"));
        assert_eq!(first.count(), 1);
    }
    let text = "data: {\"error\":{\"code\":400}}\n\ndata: [DONE]\n\n";
    let first = Upstream::start(move |_| respond(StatusCode::OK, "text/event-stream", text));
    let world = pair(json!({ "url": first.url() }), &second).await;
    assert_eq!(world.post(CHAT, ASK).await.body, text);
    // A stream that began well is the client's, with all its bytes.
    let text = "data: {\"choices\":[]}\n\ndata: {\"error\":{\"code\":500}}\n\n";
    let first = Upstream::start(move |_| respond(StatusCode::OK, "text/event-stream", text));
    let world = pair(json!({ "url": first.url() }), &second).await;
    assert_eq!(world.post(CHAT, ASK).await.body, text);
    assert_eq!(second.count(), 0);
}

// Finding: A14
#[tokio::test]
async fn a_failure_of_a_moment_is_asked_over() {
    let times = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&times);
    let first = Upstream::start(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 { status(502) } else { chat_answer(1, 1) }
    });
    let second = Upstream::start(|_| chat_answer(1, 1));
    let world = pair(json!({ "url": first.url() }), &second).await;
    assert_eq!(world.post(CHAT, ASK.replace("fast", "lone")).await.status, StatusCode::OK);
    assert_eq!((first.count(), second.count()), (2, 0));
    // What is not a model's, such as a job that would be begun twice, is asked once; so is what the operator says.
    times.store(0, Ordering::Relaxed);
    let got = world.post("/v1/fine_tuning/jobs", ASK.replace("fast", "lone")).await;
    assert_eq!((got.status, first.count()), (StatusCode::BAD_GATEWAY, 3));
    let world = pair(json!({ "url": first.url(), "retries": 0 }), &second).await;
    times.store(0, Ordering::Relaxed);
    assert_eq!(world.post(CHAT, ASK.replace("fast", "lone")).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(first.count(), 4);
}

/// What the client reads, as one text.
fn told(got: &Got) -> String {
    format!("{:?} {}", got.headers, String::from_utf8_lossy(&got.body))
}

// Finding: A13, A17
#[tokio::test]
async fn a_refusal_of_our_credential_is_not_the_clients() {
    for (path, code) in [(CHAT, 401), (CHAT, 403), ("/v1/files", 401)] {
        let first = Upstream::start(move |_| status(code));
        let world = World::start(json!({ "providers": { "first": { "url": first.url() } } })).await;
        let got = world.post(path, ASK).await;
        assert_eq!(
            (got.status, got.header("x-trunkline-fault")),
            (StatusCode::BAD_GATEWAY, "TL0017"),
            "{path}"
        );
        assert!(!told(&got).contains("sk-upst") && told(&got).contains("first answered"), "{got:?}");
        assert_eq!(got.header("x-should-retry"), "false");
        let record = world.record(|record| record.outcome != Outcome::Done).await;
        let Outcome::Failed(fault) = &record.outcome else { panic!("{record:?}") };
        assert_eq!((fault.code(), fault.upstream_status()), (Code::UpstreamRefused, Some(code)));
    }
}

// Finding: A17
#[tokio::test]
async fn clients_are_told_the_providers_name_and_not_where_it_stands() {
    let odd = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = odd.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = odd.accept() {
            drop(std::io::Write::write_all(&mut stream, b"220 no http here\r\n\r\n"));
        }
    });
    for url in [nowhere(), format!("http://{address}/v1"), "http://no.such.host.invalid/v1".to_owned()] {
        let world = World::start(json!({ "providers": { "first": { "url": url } } })).await;
        let got = world.post(CHAT, ASK).await;
        assert_eq!(got.status, StatusCode::BAD_GATEWAY);
        let told = told(&got);
        assert!(
            told.contains("first ") && !told.contains("127.0.0.1") && !told.contains("invalid/"),
            "{told}"
        );
        assert!(!told.contains("no.such.host"), "{told}");
    }
}
