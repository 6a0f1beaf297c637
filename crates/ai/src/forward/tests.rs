//! The way upstream: what is cut in, who is asked next, when one is left alone, what is written down.

mod next;

use crate::testing::{KEY, NARROW, Upstream, World, chat_answer, nowhere};
use access::Outcome;
use bytes::Bytes;
use http::StatusCode;
use message::{Address, Code, Kind};
use net::http::{Body, Response, respond};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ASK: &str = r#"{"model":"fast","messages":[{"role":"user","content":"eight by"}]}"#;
const CHAT: &str = "/v1/chat/completions";

fn events(text: &'static str) -> Response {
    respond(StatusCode::OK, "text/event-stream", text)
}

#[tokio::test]
async fn an_alias_changes_the_bytes_of_the_model_only_and_sets_the_key() {
    let upstream = Upstream::start(|_| chat_answer(19, 10));
    let folder = std::env::temp_dir().join(format!("trunkline-ai-{}", std::process::id()));
    std::fs::write(&folder, "sk-theirs\n").unwrap();
    let world = World::start(json!({
        "providers": { "up": { "url": upstream.url(), "key": format!("file:{}", folder.display()) } },
        "aliases": { "fast": { "provider": "up", "model": "gpt \"5\"", "price": { "input": "2.50", "output": "10" } } },
    }))
    .await;
    std::fs::remove_file(&folder).unwrap();
    let body = r#"{ "x":{"model":"fast"}, "model" :  "fast" , "messages" : [] }"#;
    assert_eq!(world.post(CHAT, body).await.status, StatusCode::OK);
    let seen = upstream.last();
    assert_eq!(seen.body, r#"{ "x":{"model":"fast"}, "model" :  "gpt \"5\"" , "messages" : [] }"#);
    assert_eq!(seen.headers["authorization"], "Bearer sk-theirs");
    assert!(!format!("{:?}", seen.headers).contains(KEY));

    let record = world.record(|record| record.usage.is_some()).await;
    let usage = record.usage.as_ref().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (19, 10, false));
    assert_eq!(usage.cost_nano, 19 * 2_500 + 10 * 10_000);
    assert_eq!((&*usage.provider, &*record.principal, &*record.address), ("up", "all", "model/fast"));
    assert!(record.trace_id.is_some() && record.outcome == Outcome::Done);
    let status = &world.gateway.models().into_iter().find(|model| model.alias == "fast").unwrap();
    let first = &status.deployments[0];
    assert_eq!((first.calls, first.failures, first.cost_nano), (1, 0, 147_500));
    assert_eq!(status.price.as_ref().unwrap().cached_input, "2.50");
}

#[tokio::test]
async fn a_stream_is_counted_while_it_passes() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::start(move |_| events(text));
    let world = World::start(json!({ "providers": { "up": { "url": upstream.url() } } })).await;
    let got = world.post(CHAT, r#"{"model":"m","stream":true}"#).await;
    assert_eq!(got.body, text);
    let usage = world.usage().await;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated, &*usage.model), (3, 2, false, "m"));
}

#[tokio::test]
async fn usage_that_is_not_sent_is_guessed_or_asked_for() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"nine byte\"}}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::start(move |_| events(text));
    let mut section = json!({
        "providers": { "up": { "url": upstream.url() } }, "aliases": { "fast": { "provider": "up" } },
    });
    let world = World::start(section.clone()).await;
    let ask = ASK.replace("{\"model", "{\"stream\":true,\"model");
    world.post(CHAT, ask.clone()).await;
    assert_eq!(upstream.last().body, ask);
    let usage = world.usage().await;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (2, 3, true));

    section["providers"]["up"]["ask_usage"] = json!(true);
    world.gateway.reload(section).unwrap();
    let check = async |sent: &str, arrives: &str| {
        world.post(CHAT, sent.to_owned()).await;
        assert_eq!(upstream.last().body, arrives);
    };
    check(
        r#"{"model":"fast","stream":true}"#,
        r#"{"stream_options":{"include_usage":true},"model":"fast","stream":true}"#,
    )
    .await;
    check(
        r#"{"model":"fast","stream":true,"stream_options":null}"#,
        r#"{"model":"fast","stream":true,"stream_options":{"include_usage":true}}"#,
    )
    .await;
    let refused = r#"{"model":"fast","stream":true,"stream_options":{"include_usage":false}}"#;
    check(refused, refused).await;
    check(r#"{"model":"fast"}"#, r#"{"model":"fast"}"#).await;
}

#[tokio::test]
async fn errors_of_providers_pass_as_they_are_and_are_written_down() {
    let upstream = Upstream::start(|_| {
        let mut response =
            respond(StatusCode::TOO_MANY_REQUESTS, "application/json", r#"{"error":{"odd":1}}"#);
        response.headers_mut().insert("retry-after", "7".parse().unwrap());
        response
    });
    let world = World::start(json!({ "providers": { "up": { "url": upstream.url() } } })).await;
    let got = world.post(CHAT, ASK).await;
    assert_eq!((got.status, &got.body[..]), (StatusCode::TOO_MANY_REQUESTS, &br#"{"error":{"odd":1}}"#[..]));
    assert_eq!((got.header("retry-after"), got.header("x-trunkline-fault")), ("7", "TL0017"));
    let record = world.record(|record| record.outcome != Outcome::Done).await;
    let Outcome::Failed(fault) = &record.outcome else { panic!("{record:?}") };
    assert_eq!((fault.code(), fault.upstream_status()), (Code::UpstreamRefused, Some(429)));
    assert_eq!(record.usage, None);
}

// Finding: A14
#[tokio::test]
async fn the_next_deployment_is_asked_when_one_cannot() {
    let busy = Upstream::start(|_| respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "busy"));
    let good = Upstream::start(|_| chat_answer(1, 1));
    let world = World::start(json!({
        "providers": { "down": { "url": nowhere() }, "busy": { "url": busy.url() }, "good": { "url": good.url() } },
        "aliases": {
            "fast": { "provider": "down", "model": "a", "fallback": [
                { "provider": "busy", "model": "b" }, { "provider": "good", "model": "c", "price": { "input": "1" } },
            ] },
            "lost": { "provider": "down" },
        },
        "default_provider": "good",
    }))
    .await;
    let got = world.post(CHAT, ASK).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(
        busy.last().body.starts_with(br#"{"model":"b""#) && good.last().body.starts_with(br#"{"model":"c""#)
    );
    let usage = world.usage().await;
    assert_eq!((&*usage.provider, &*usage.model, usage.cost_nano), ("good", "fast", 1_000));

    let got = world.post(CHAT, ASK.replace("fast", "lost")).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::BAD_GATEWAY, "TL0008"));
    assert_eq!(got.json()["error"]["code"], "upstream_down");
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_for_a_while() {
    let upstream = Upstream::start(|_| respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "broken"));
    let section = json!({
        "providers": { "up": { "url": upstream.url(), "retries": 0, "breaker": { "failures": 2, "open_for": "1h" } } },
        "aliases": { "fast": { "provider": "up" }, "other": { "provider": "up" } },
    });
    let world = World::start(section.clone()).await;
    for _ in 0..2 {
        assert_eq!(world.post(CHAT, ASK).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let got = world.post(CHAT, ASK).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::SERVICE_UNAVAILABLE, "TL0016"));
    assert_eq!(got.header("retry-after"), "3600");
    assert_eq!(upstream.count(), 2);
    // Another model of the same provider has a breaker of its own.
    assert_eq!(
        world.post(CHAT, ASK.replace("fast", "other")).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );

    let state = || {
        world.gateway.models().into_iter().find(|model| model.alias == "fast").unwrap().deployments.remove(0)
    };
    assert_eq!((state().breaker, state().opened, state().failures), ("open", 1, 2));
    world.gateway.reload(section).unwrap();
    assert_eq!(state().breaker, "open", "a reload that changes nothing keeps it");
    let misfit = world.gateway.reload(json!({ "aliases": { "fast": { "provider": "upp" } } })).unwrap_err();
    assert_eq!((misfit.path.join("."), state().breaker), ("aliases.fast.provider".to_owned(), "open"));
}

// Finding: A16
#[tokio::test]
async fn one_keys_failures_do_not_shut_a_model_for_another() {
    let upstream = Upstream::start(|seen| {
        let broken = seen.body.windows(6).any(|word| word == b"poison");
        if broken {
            respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "broken")
        } else {
            chat_answer(1, 1)
        }
    });
    let world = World::start(json!({
        "providers": { "up": { "url": upstream.url(), "breaker": { "failures": 3, "open_for": "1h" } } },
        "aliases": { "fast": { "provider": "up" } },
    }))
    .await;
    let ask = async |key: &str, body: String| {
        let mut request = world.json(CHAT, body);
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        world.send(request).await.status.as_u16()
    };
    let poison = || ASK.replace("eight", "poison");
    for _ in 0..3 {
        ask(NARROW, poison()).await;
    }
    assert_eq!(ask(NARROW, ASK.to_owned()).await, 503);
    assert_eq!(ask(KEY, ASK.to_owned()).await, 200);
    // It is well, so it is open to all again.
    assert_eq!(ask(NARROW, ASK.to_owned()).await, 200);
}

#[tokio::test]
async fn a_silent_provider_is_not_waited_for() {
    let world = World::start(json!({
        "providers": { "slow": { "kind": "echo" }, "hung": { "url": hung(), "timeout": "50ms" } },
        "aliases": { "fast": { "provider": "hung" } },
    }))
    .await;
    let got = world.post(CHAT, ASK).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::GATEWAY_TIMEOUT, "TL0009"));
}

/// A socket that takes connections and says nothing, for as long as the test runs.
fn hung() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::mem::forget(listener);
    format!("http://{address}/v1")
}

#[tokio::test]
async fn a_client_who_leaves_ends_the_upstream_and_is_charged_for_what_came() {
    let (sender, body) = Body::channel(4);
    let body = Mutex::new(Some(body));
    let upstream = Upstream::start(move |_| {
        let mut response = events("");
        *response.body_mut() = body.lock().take().unwrap();
        response
    });
    let world = World::start(json!({ "providers": { "up": { "url": upstream.url() } } })).await;
    sender.send("data: {\"choices\":[{\"delta\":{\"content\":\"eight by\"}}]}\n\n").await;
    let mut answer = world.open(world.json(CHAT, r#"{"model":"m","stream":true}"#)).await;
    assert!(answer.body_mut().next().await.unwrap().unwrap().starts_with(b"data: "));
    drop(answer);
    sender.closed().await;
    let usage = world.usage().await;
    assert_eq!((usage.output_tokens, usage.estimated), (2, true));
}

#[tokio::test]
async fn a_client_who_leaves_before_the_answer_is_written_down() {
    use std::io::Write;
    let section = json!({ "providers": { "up": { "url": hung(), "breaker": { "failures": 1 } } } });
    let world = World::start(section).await;
    let mut socket = std::net::TcpStream::connect(world.address).unwrap();
    let length = ASK.len();
    write!(
        socket,
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{ASK}"
    )
    .unwrap();
    let direct = || world.gateway.providers().into_iter().find(|up| up.name == "up").unwrap().direct.unwrap();
    while direct().calls == 0 {
        tokio::task::yield_now().await;
    }
    drop(socket);
    let record = world.record(|record| &*record.address == "model/fast").await;
    let Outcome::Failed(fault) = &record.outcome else { panic!("{record:?}") };
    assert!(fault.code() == Code::DeadlinePassed && fault.detail().contains("the client left"), "{fault}");
    assert_eq!((direct().breaker, direct().failures), ("closed", 0));
}

#[tokio::test]
async fn a_stream_that_breaks_breaks_for_the_client_too() {
    let world = World::start(json!({})).await;
    let ask = r#"{"model":"echo","stream":true,"messages":[{"role":"user","content":"a b c {\"echo\":{\"cut_after\":2}}"}]}"#;
    let mut answer = world.open(world.json(CHAT, ask)).await;
    let mut broke = false;
    while let Some(piece) = answer.body_mut().next().await {
        broke |= piece.is_err();
    }
    assert!(broke);
    let record = world.record(|record| record.outcome != Outcome::Done).await;
    assert!(record.usage.as_ref().unwrap().estimated);
}

#[tokio::test]
async fn a_call_that_came_by_another_protocol_is_answered_too() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let world = World::start(json!({
        "providers": { "up": { "url": upstream.url() } }, "aliases": { "fast": { "provider": "up", "model": "gpt" } },
    }))
    .await;
    let identity =
        world.hub.identities().into_iter().find(|identity| &*identity.principal.name == "all").unwrap();
    let origin = hub::Origin { protocol: "test", peer: "127.0.0.1:1".parse().unwrap() };
    let session = world.hub.open(identity, origin);
    let address = Address::new(Kind::Model, "fast").unwrap();
    let ask = async |body: &'static str, path: Option<&str>| {
        let mut envelope = session.envelope(address.clone(), Bytes::from_static(body.as_bytes()));
        path.into_iter().for_each(|path| envelope.headers.push("path", path));
        session.request(envelope.into()).await.unwrap().body.collect(1_000).await.unwrap();
        upstream.last()
    };
    let seen = ask(r#"{"messages":[]}"#, None).await;
    assert_eq!(
        (&*seen.uri, &seen.body[..]),
        ("/base/v1/chat/completions", &br#"{"model":"gpt","messages":[]}"#[..])
    );
    let seen = ask("{}", Some("/v1/embeddings")).await;
    assert_eq!((&*seen.uri, &seen.body[..]), ("/base/v1/embeddings", &br#"{"model":"gpt"}"#[..]));
}

#[tokio::test]
async fn answers_are_asked_for_uncompressed_where_they_are_counted() {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let upstream = Upstream::start(move |request| {
        seen.fetch_add(u64::from(request.headers.contains_key("accept-encoding")), Ordering::Relaxed);
        chat_answer(1, 1)
    });
    let world = World::start(json!({ "providers": { "up": { "url": upstream.url() } } })).await;
    for path in [CHAT, "/v1/files"] {
        let mut request = if path == CHAT {
            world.json(path, ASK)
        } else {
            world.request(http::Method::GET, path, Body::empty())
        };
        request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        world.send(request).await;
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

/// What other protocols send: an envelope with a header `path`, by who shows this key.
async fn ask_by_path(world: &World, key: &str, to: &str, path: &str, body: &str) -> Result<StatusCode, Code> {
    let origin = hub::Origin { protocol: "test", peer: "127.0.0.1:1".parse().unwrap() };
    let identity = world.hub.authenticate(access::Credential::Key(key.as_bytes()), origin).unwrap();
    let session = world.hub.open(identity, origin);
    let mut envelope = session.envelope(Address::new(Kind::Model, to).unwrap(), body.to_owned());
    envelope.headers.push("path", path);
    let reply = session.request(envelope.into()).await.map_err(|fault| fault.code())?;
    Ok(reply.status)
}

// Finding: S2, S9
#[tokio::test]
async fn the_right_to_a_model_reaches_only_paths_of_models_by_whatever_way() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let world = World::start(json!({
        "providers": { "up": { "url": upstream.url() }, "spare": { "url": upstream.url() } },
        "aliases": { "fast": { "provider": "up", "model": "m", "fallback": [{ "provider": "spare" }] } },
    }))
    .await;
    let body = r#"{"model":"dear","training_file":"f"}"#;
    for path in [
        "/v1/fine_tuning/jobs",
        "/v1/organization/admin_api_keys?x=y",
        "/v1/files",
        "/v1/chat/completions/",
        "/v1/responses/resp_1/cancel",
        "/v1/models",
    ] {
        let refused = ask_by_path(&world, NARROW, "fast", path, body).await;
        assert_eq!(refused, Err(Code::Forbidden), "{path}");
    }
    for path in ["/v1/..%252f..%252fadmin", "/v1/..;/x", "/v1/embeddings/..\\admin", "/admin", "x"] {
        let refused = ask_by_path(&world, KEY, "fast", path, body).await;
        assert_eq!(refused, Err(Code::BadRequest), "{path}");
    }
    assert_eq!(upstream.count(), 0);
    // Paths of models are there for who may call the model, and it is the admitted model that is asked.
    for path in ["/v1/embeddings", "/v1/images/generations", "/v1/chat/completions?x=1"] {
        assert_eq!(ask_by_path(&world, NARROW, "fast", path, body).await, Ok(StatusCode::OK), "{path}");
        assert_eq!(upstream.last().uri, format!("/base{path}"));
        assert_eq!(upstream.last().body, body.replace("dear", "m"));
    }
    let odd = ask_by_path(&world, NARROW, "fast", "/v1/embeddings", r#"{"model":["dear"]}"#).await;
    assert_eq!(odd, Err(Code::BadRequest));
    // Who may call the provider itself may call all of it.
    assert_eq!(ask_by_path(&world, KEY, "fast", "/v1/fine_tuning/jobs", body).await, Ok(StatusCode::OK));
    assert_eq!(upstream.last().uri, "/base/v1/fine_tuning/jobs");
}
