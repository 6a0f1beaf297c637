//! What a client sends arrives as it was sent, what is refused is refused in OpenAI's form.

use crate::testing::{NARROW, Upstream, World, chat_answer};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use net::http::{Body, respond};
use serde_json::{Value, json};

fn one(upstream: &Upstream) -> Value {
    json!({ "providers": { "up": { "url": upstream.url(), "headers": { "OpenAI-Organization": "ours" } } } })
}

#[tokio::test]
async fn bytes_and_headers_pass_and_the_key_does_not() {
    let upstream = Upstream::start(|_| {
        let mut response = respond(StatusCode::OK, "application/json", r#"{ "odd" :1 }"#);
        for (name, value) in [("x-request-id", "req_1"), ("set-cookie", "a=b"), ("openai-version", "7")] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    });
    let world = World::start(one(&upstream)).await;
    let body = "{ \"model\" : \"gpt-5\",\n\t\"unknown\": [1e400, \"\\u00e4\"], \"messages\":[] } ";
    let mut request = world.json("/v1/chat/completions?x=%2F&y", body);
    for (name, value) in [
        ("x-api-key", "secret"),
        ("cookie", "session=1"),
        ("openai-beta", "assistants=v2"),
        ("openai-organization", "theirs"),
        ("x-request-id", "mine"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let got = world.send(request).await;
    assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &br#"{ "odd" :1 }"#[..]));
    assert_eq!((got.header("x-request-id"), got.header("openai-version")), ("req_1", "7"));
    assert!(!got.headers.contains_key("set-cookie"));
    assert!(!got.header("x-trunkline-id").is_empty());

    let seen = upstream.last();
    assert_eq!(seen.uri, "/base/v1/chat/completions?x=%2F&y");
    assert_eq!(&seen.body[..], body.as_bytes());
    assert_eq!(seen.headers["openai-beta"], "assistants=v2");
    assert_eq!(seen.headers["openai-organization"], "ours");
    assert_eq!(seen.headers["x-request-id"], "mine");
    assert_eq!(seen.headers["host"].to_str().unwrap(), upstream.address.to_string());
    for gone in ["authorization", "x-api-key", "cookie"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
    let trace = seen.headers["traceparent"].to_str().unwrap();
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !trace.contains("b7ad6b7169203331"));
}

#[tokio::test]
async fn every_other_path_and_method_passes() {
    let upstream = Upstream::start(|seen| {
        let kind = if seen.uri.contains("content") { "audio/mpeg" } else { "application/json" };
        respond(StatusCode::CREATED, kind, Bytes::from_static(&[0, 159, 146, 150]))
    });
    let world = World::start(one(&upstream)).await;
    for (method, path) in [
        (Method::GET, "/v1/files/file-1/content"),
        (Method::DELETE, "/v1/files/file%201?purge=1"),
        (Method::PATCH, "/v1/things/that/are/new"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/models/org%2Fmodel"),
    ] {
        let got = world.send(world.request(method.clone(), path, Body::empty())).await;
        assert_eq!((got.status, &got.body[..]), (StatusCode::CREATED, &[0, 159, 146, 150][..]), "{path}");
        assert_eq!((upstream.last().method, upstream.last().uri), (method, format!("/base{path}")));
    }
    let record = world.record(|_| true).await;
    assert_eq!(&*record.address, "model/$provider/up");
}

#[tokio::test]
async fn an_upload_streams_past_the_message_limit_and_not_past_its_own() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let mut section = one(&upstream);
    section["body_bytes"] = json!("1MiB");
    let world = World::start(section).await;
    let pieces =
        |count: usize| Body::stream(stream::iter((0..count).map(|_| Ok(Bytes::from(vec![b'x'; 100_000])))));
    let upload = |body: Body| {
        let mut request = world.request(Method::POST, "/v1/files", body);
        request.headers_mut().insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
        request
    };
    let got = world.send(upload(pieces(10))).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(upstream.last().body.len(), 1_000_000);

    let got = world.send(upload(pieces(11))).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::PAYLOAD_TOO_LARGE, "TL0003"));
    let got = world.send(upload(Body::full(vec![b'x'; 1_100_000]))).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(got.json()["error"]["type"], "invalid_request_error");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn large_json_streams_when_its_model_stands_early() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let mut section = one(&upstream);
    section["aliases"] = json!({ "fast": { "provider": "up", "model": "a much longer name" } });
    let world = World::start(section).await;
    let filler = "y".repeat(300_000);
    let body = format!(r#"{{"model":"fast","x":"{filler}"}}"#);
    let got = world.post("/v1/chat/completions", body.clone()).await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    assert_eq!(upstream.last().body, body.replace("\"fast\"", "\"a much longer name\""));

    let twice = format!(r#"{{"model":"fast","x":"{filler}","model":"other"}}"#);
    let got = world.post("/v1/chat/completions", twice).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::BAD_REQUEST, "TL0028"));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn refusals_have_the_form_that_clients_know() {
    let world = World::start(json!({ "aliases": { "fast": { "provider": "echo" } } })).await;
    let ask = |key: &str, body: &'static str| {
        let mut request = world.json("/v1/chat/completions", body);
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        request
    };
    let named = ["model_not_found", "missing_required_parameter", "invalid_type"];
    let check = async |request, status: u16, fault: &str, code: &str| {
        let got = world.send(request).await;
        let error = &got.json()["error"];
        assert_eq!((got.status.as_u16(), got.header("x-trunkline-fault")), (status, fault), "{error}");
        assert_eq!(error["code"], code, "{error}");
        assert!(
            error["message"].is_string()
                && error["type"].is_string()
                && error["param"].is_null() != named.contains(&code),
            "{error}"
        );
        error["message"].as_str().unwrap().to_owned()
    };
    check(ask("wrong", "{}"), 401, "TL0001", "invalid_api_key").await;
    check(ask(NARROW, r#"{"model":"echo"}"#), 403, "TL0002", "insufficient_permissions").await;
    let hint = check(ask(NARROW, r#"{"model":"fats"}"#), 404, "TL0030", "model_not_found").await;
    assert!(hint.contains("did you mean \"fast\"?"), "{hint}");
    check(ask(NARROW, r#"{"model":"a#b"}"#), 404, "TL0030", "model_not_found").await;
    check(ask(NARROW, "{}"), 400, "TL0028", "missing_required_parameter").await;
    check(ask(NARROW, r#"{"model":["fast"]}"#), 400, "TL0028", "invalid_type").await;
    let place = check(ask(NARROW, "{bad"), 400, "TL0028", "bad_request").await;
    assert!(place.contains("line 1 column 2"), "{place}");
    check(ask(NARROW, ""), 400, "TL0028", "bad_request").await;
    let mut plain = ask(NARROW, r#"{"model":"fast"}"#);
    plain.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    check(plain, 400, "TL0028", "bad_request").await;
    let mut seven = ask(NARROW, r#"{"model":"fast","+AG0-odel":"echo"}"#);
    seven.headers_mut().insert("content-type", "application/json; charset=utf-7".parse().unwrap());
    check(seven, 400, "TL0028", "bad_request").await;
    check(world.request(Method::GET, "/v1/models/nobody", Body::empty()), 404, "TL0030", "model_not_found")
        .await;
    check(world.request(Method::GET, "/v1/files", Body::empty()), 404, "TL0010", "unknown_url").await;
    check(world.json("/v1/responses", "{}"), 400, "TL0028", "missing_required_parameter").await;
    check(ask(NARROW, r#"{"model":"fast","model":"echo"}"#), 400, "TL0028", "bad_request").await;
    for path in ["/v1/../admin", "/v1/files/%2e%2E/x", "/v1/./x"] {
        check(world.request(Method::GET, path, Body::empty()), 400, "TL0028", "bad_request").await;
    }
    let good = ask(NARROW, r#"{"model":"fast","messages":[{"role":"user","content":"hi"}]}"#);
    assert_eq!(world.send(good).await.status, StatusCode::OK);
    let failed = world.hub.ledger().faults(100);
    assert!(failed.iter().any(|record| &*record.address == "model/fats" && &*record.principal == "narrow"));
}

#[tokio::test]
async fn models_are_listed_as_far_as_they_may_be_called() {
    let upstream = Upstream::start(|_| {
        let list = r#"{"object":"list","data":[{"id":"up-1","object":"model","created":1,"owned_by":"x","new":true},{"id":"fast"}]}"#;
        respond(StatusCode::OK, "application/json", list)
    });
    let mut section = one(&upstream);
    section["aliases"] = json!({ "fast": { "provider": "up" } });
    let world = World::start(section.clone()).await;
    let ids = |list: &Value| -> Vec<String> {
        list["data"].as_array().unwrap().iter().map(|card| card["id"].as_str().unwrap().to_owned()).collect()
    };
    let got = world.get("/v1/models").await;
    assert_eq!(ids(&got.json()), ["echo", "fast", "up-1"]);
    assert!(std::str::from_utf8(&got.body).unwrap().contains(r#""new":true"#));
    let mut narrow = world.request(Method::GET, "/v1/models", Body::empty());
    narrow.headers_mut().insert("authorization", format!("Bearer {NARROW}").parse().unwrap());
    assert_eq!(ids(&world.send(narrow).await.json()), ["fast"]);
    let got = world.get("/v1/models/fast").await;
    assert_eq!((got.json()["id"].as_str(), got.json()["owned_by"].as_str()), (Some("fast"), Some("up")));

    section["aliases"] = json!({});
    world.gateway.reload(section).unwrap();
    let passed = world.get("/v1/models").await;
    assert!(passed.body.starts_with(br#"{"object":"list","data":[{"id":"up-1""#), "{passed:?}");
}

#[tokio::test]
async fn a_model_in_a_body_does_not_open_the_rest_of_a_provider() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let mut section = one(&upstream);
    section["aliases"] = json!({ "fast": { "provider": "up" } });
    let world = World::start(section).await;
    let ask = |method: Method, path: &str| {
        let mut request = world.json(path, r#"{"model":"fast","messages":[]}"#);
        *request.method_mut() = method;
        request.headers_mut().insert("authorization", format!("Bearer {NARROW}").parse().unwrap());
        request
    };
    for (method, path) in [
        (Method::DELETE, "/v1/files/file-1"),
        (Method::GET, "/v1/files"),
        (Method::POST, "/v1/fine_tuning/jobs"),
        (Method::POST, "/v1/responses/resp_1/cancel"),
        (Method::DELETE, "/v1/chat/completions"),
    ] {
        let got = world.send(ask(method.clone(), path)).await;
        assert_eq!(
            (got.status, got.header("x-trunkline-fault")),
            (StatusCode::FORBIDDEN, "TL0002"),
            "{method} {path}"
        );
    }
    assert_eq!(upstream.count(), 0);
    for path in ["/v1/chat/completions", "/v1/embeddings", "/v1/images/generations"] {
        assert_eq!(world.send(ask(Method::POST, path)).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn whose_account_pays_is_the_operators_to_say() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-of-the-operator").unwrap();
    let section =
        json!({ "providers": { "up": { "url": upstream.url(), "key": format!("file:{}", key.display()) } } });
    let world = World::start(section).await;
    let mut request = world.json("/v1/chat/completions", r#"{"model":"gpt-5","messages":[]}"#);
    for name in ["openai-organization", "openai-project"] {
        request.headers_mut().insert(name, "theirs".parse().unwrap());
    }
    assert_eq!(world.send(request).await.status, StatusCode::OK);
    let seen = upstream.last();
    assert_eq!(seen.headers["authorization"], "Bearer sk-of-the-operator");
    assert!(
        !seen.headers.contains_key("openai-organization") && !seen.headers.contains_key("openai-project")
    );
}

const SPOKEN: &str = "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nAUDIO\r\n\
     --b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nfast\r\n--b0--\r\n";

#[tokio::test]
async fn the_model_of_a_form_routes_prices_and_is_renamed() {
    let upstream = Upstream::start(|_| chat_answer(7, 2));
    let mut section = one(&upstream);
    section["form_bytes"] = json!("100KiB");
    section["aliases"] =
        json!({ "fast": { "provider": "up", "model": "whisper-1", "price": { "input": "1" } } });
    let world = World::start(section).await;
    let form = |path: &str, body: Body| {
        let mut request = world.request(Method::POST, path, body);
        request.headers_mut().insert("content-type", "multipart/form-data; boundary=b0".parse().unwrap());
        request.headers_mut().insert("authorization", format!("Bearer {NARROW}").parse().unwrap());
        request
    };
    for path in
        ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations"]
    {
        let got = world.send(form(path, Body::full(SPOKEN))).await;
        assert_eq!(got.status, StatusCode::OK, "{path} {got:?}");
        assert_eq!(upstream.last().body, SPOKEN.replace("fast", "whisper-1"), "{path}");
        assert_eq!(upstream.last().uri, format!("/base{path}"));
    }
    let usage = world.usage().await;
    assert_eq!((usage.input_tokens, usage.cost_nano, &*usage.model), (7, 7_000, "fast"));

    // Larger than what is held: the model may come behind the file as long as there is room for both.
    let path = "/v1/audio/transcriptions";
    let long = |audio: usize, model: &str| SPOKEN.replace("AUDIO", &"x".repeat(audio)).replace("fast", model);
    let stream = |text: String| {
        Body::stream(stream::iter(
            text.into_bytes()
                .chunks(4_000)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect::<Vec<_>>(),
        ))
    };
    for body in [Body::full(long(50_000, "fast")), stream(long(50_000, "fast"))] {
        let got = world.send(form(path, body)).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
        assert_eq!(upstream.last().body, long(50_000, "whisper-1"));
    }
    let seen = upstream.count();
    let got = world.send(form(path, stream(long(200_000, "fast")))).await;
    assert_eq!((got.status, got.header("x-trunkline-fault")), (StatusCode::PAYLOAD_TOO_LARGE, "TL0003"));
    assert!(got.json()["error"]["message"].as_str().unwrap().contains("form_bytes"));
    let front = format!(
        "{}{}",
        SPOKEN.replace("--b0--\r\n", ""),
        SPOKEN.replace("AUDIO", &"y".repeat(200_000)).replace("name=\"model\"", "name=\"prompt\"")
    );
    let got = world.send(form(path, stream(front.clone()))).await;
    assert_eq!(
        (got.status, upstream.last().body),
        (StatusCode::OK, Bytes::from(front.replacen("fast", "whisper-1", 1)))
    );

    let refused = async |body: String, status: StatusCode, code: &str| {
        let got = world.send(form(path, Body::full(body))).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_str()), (status, Some(code)), "{got:?}");
    };
    refused(SPOKEN.replace("fast", "other"), StatusCode::FORBIDDEN, "insufficient_permissions").await;
    refused(SPOKEN.replace("\"model\"", "\"prompt\""), StatusCode::BAD_REQUEST, "missing_required_parameter")
        .await;
    refused(SPOKEN.replace("--b0--", ""), StatusCode::BAD_REQUEST, "bad_request").await;
    // A second model behind the part that was looked at never reaches the provider whole.
    let twice = front.replace("\"prompt\"", "\"model\"");
    let got = world.send(form(path, stream(twice))).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST, "{got:?}");
    assert_eq!(upstream.count(), seen + 1);
}

// Finding: A4, A18, A22, S10
#[tokio::test]
async fn what_is_between_the_client_and_us_stays_here_and_the_operators_key_goes_where_it_is_wanted() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("sk-{name}\n")).unwrap();
        format!("file:{}", path.display())
    };
    let section = json!({ "providers": { "up": {
        "url": format!("{}?api-version=7&x=1", upstream.url()),
        "key": secret("key"), "key_header": "api-key",
        "headers": { "x-goog-api-key": secret("goog"), "x-plain": "as it stands" },
    } } });
    let world = World::start(section).await;
    let private = [
        ("authorization", ""),
        ("x-api-key", "theirs"),
        ("ocp-apim-subscription-key", "theirs"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-host", "inner"),
        ("x-real-ip", "10.1.2.3"),
        ("forwarded", "for=10.1.2.3"),
        ("referer", "http://inner/page"),
        ("baggage", "user=7"),
        ("x_underscore", "1"),
        ("x-original-url", "/admin"),
    ];
    let path = "/v1/chat/completions";
    let ask = |path: &str| world.json(path, r#"{"model":"gpt-5","messages":[]}"#);
    let mut request = ask(&format!("{path}?access_token=s3cret&y=%2F&API-version=1&key=s3cret"));
    for (name, value) in private.iter().filter(|(name, _)| *name != "authorization") {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request.headers_mut().insert("openai-beta", "kept".parse().unwrap());
    assert_eq!(world.send(request).await.status, StatusCode::OK);
    let seen = upstream.last();
    for (name, _) in private {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert_eq!(seen.headers["api-key"], "sk-key");
    assert_eq!(seen.headers["x-goog-api-key"], "sk-goog");
    assert_eq!(seen.headers["x-plain"], "as it stands");
    assert_eq!(seen.headers["openai-beta"], "kept");
    assert_eq!(seen.uri, "/base/v1/chat/completions?api-version=7&x=1&y=%2F");
    assert_eq!(world.send(ask(path)).await.status, StatusCode::OK);
    assert_eq!(upstream.last().uri, "/base/v1/chat/completions?api-version=7&x=1");
}

// Finding: A19
#[tokio::test]
async fn a_slip_is_told_as_what_it_is() {
    let upstream = Upstream::start(|_| chat_answer(1, 1));
    let mut section = one(&upstream);
    section["aliases"] = json!({ "fast": { "provider": "up" } });
    let world = World::start(section).await;
    let check = async |method: Method, path: &str, coding: &str, status: u16, says: &str| {
        let mut request = world.json(path, r#"{"model":"fast","messages":[]}"#);
        *request.method_mut() = method;
        request.headers_mut().insert("authorization", format!("Bearer {NARROW}").parse().unwrap());
        if !coding.is_empty() {
            request.headers_mut().insert("content-encoding", coding.parse().unwrap());
        }
        let got = world.send(request).await;
        let error = &got.json()["error"];
        let message = error["message"].as_str().unwrap();
        assert!(got.status.as_u16() == status && message.contains(says), "{path} {} {error}", got.status);
    };
    check(Method::POST, "/v1/chat/completions/", "", 404, "leave out the slash").await;
    check(Method::PUT, "/v1/chat/completions", "", 405, "takes POST and not PUT").await;
    check(Method::POST, "/v1/embeddings", "gzip", 400, "is compressed").await;
    check(Method::POST, "/chat/completions", "", 404, "end with /v1").await;
    check(Method::GET, "/models", "", 404, "end with /v1").await;
    check(Method::POST, "/openai/v1/chat/completions", "", 404, "end with /v1").await;
    check(
        Method::POST,
        "/openai/deployments/fast/chat/completions?api-version=1",
        "",
        404,
        "name the deployment",
    )
    .await;
    check(Method::POST, "/v1beta/models/fast:generateContent", "", 404, "Gemini").await;
    assert_eq!(upstream.count(), 0);
    // Who may call the provider itself may send it what it likes.
    let got = world.post("/v1/chat/completions/", r#"{"model":"fast","messages":[]}"#).await;
    assert_eq!((got.status, &*upstream.last().uri), (StatusCode::OK, "/base/v1/chat/completions/"));
}
