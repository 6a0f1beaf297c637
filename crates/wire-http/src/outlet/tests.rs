//! Deliveries to a real socket: what the server sees, and what its answers mean.

use super::*;
use crate::testing::{Server, soon, start_with, until};
use message::{Address, Kind};
use net::http::{Call, Routes, handler, respond};
use net::{Connections, Door, Listener, Sniffer, Tasks};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::SocketAddr;

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;
/// Status and `Retry-After`.
type Told = (u16, Option<&'static str>);

/// A webhook that keeps what it was sent and answers what it is told to.
struct Sink {
    address: SocketAddr,
    seen: Seen,
    answers: Arc<Mutex<Vec<Told>>>,
    _tasks: Tasks,
}

fn sink(answers: &[Told]) -> Sink {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(answers.to_vec()));
    let (kept, told) = (Arc::clone(&seen), Arc::clone(&answers));
    let mut routes = Routes::new();
    routes.any(
        "/hook",
        handler(move |mut call: Call| {
            let (kept, told) = (Arc::clone(&kept), Arc::clone(&told));
            async move {
                let headers = call.request.headers().clone();
                let body = call.body(1 << 20).await?;
                kept.lock().push((headers, body));
                let (status, wait) = if told.lock().is_empty() { (204, None) } else { told.lock().remove(0) };
                let mut response =
                    respond(StatusCode::from_u16(status).unwrap(), "text/plain", "as told\n by the test");
                if let Some(wait) = wait {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(wait));
                }
                Ok::<_, Fault>(response)
            }
        }),
    );
    let tasks = Tasks::new();
    let (routes, settings, of_server) =
        (Arc::new(routes), Arc::new(net::http::Settings::default()), tasks.clone());
    let serve: net::Serve = Arc::new(move |conn| {
        Box::pin(net::http::serve(conn, Arc::clone(&routes), Arc::clone(&settings), of_server.clone()))
    });
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local();
    let sniffers = vec![Sniffer { name: "http", sniff: net::http::sniff, serve }];
    let connections = Connections::new(100, Clock::system(), Arc::default());
    listener.serve(Door {
        sniffers,
        tls: None,
        first_bytes: Duration::from_secs(5),
        connections,
        tasks: tasks.clone(),
    });
    Sink { address, seen, answers, _tasks: tasks }
}

fn webhook(server: &Server, section: Value) -> Webhook {
    let config: Config = serde_json::from_value(section).unwrap();
    let (client, dice) = (server.hub.client().clone(), Dice::seeded(3));
    Webhook::new(
        &config,
        Outside::Read,
        client,
        Clock::manual(message::Time::from_millis(1_700_000_000_500)),
        dice,
    )
    .unwrap()
}

fn envelope() -> Envelope {
    let (clock, dice) = (Clock::system(), Dice::seeded(1));
    let mut envelope =
        Envelope::new(Address::new(Kind::Queue, "orders").unwrap(), "{\"a\":1}", &clock, &dice);
    envelope.id = message::Id::from_text("order 1");
    envelope.content_type = Some("application/json".into());
    envelope.headers.push("region", "eu west");
    envelope.key = Some("k".into());
    envelope.attempt = 2;
    envelope.trace = Some(message::Trace::start(&dice));
    envelope
}

async fn deliver(server: &Server, section: Value) -> Result<(), Fault> {
    let webhook = webhook(server, section);
    soon(webhook.deliver(&envelope(), Duration::from_secs(5))).await
}

#[tokio::test]
async fn what_the_server_sees_in_each_mode() {
    let server = start_with(json!({})).await;
    let sink = sink(&[]);
    let url = format!("http://{}/hook?token=secret", sink.address);
    deliver(&server, json!({"url": url, "mode": "raw", "headers": {"x-tenant": "a"}})).await.unwrap();
    deliver(&server, json!({"url": url})).await.unwrap();
    deliver(&server, json!({"url": url, "mode": "structured"})).await.unwrap();
    let seen = sink.seen.lock();
    for (headers, _) in seen.iter() {
        let trace = headers["traceparent"].to_str().unwrap().to_owned();
        let own = envelope().trace.unwrap();
        assert!(
            trace.contains(&format!("{:032x}", own.trace_id))
                && !trace.contains(&format!("{:016x}", own.span_id))
        );
        assert_eq!(headers["tl-attempt"], "2");
        assert_eq!(headers["idempotency-key"], "order%201");
    }
    let (raw, body) = &seen[0];
    assert_eq!(
        (&raw["x-tenant"], &raw["tl-h-region"], &raw["tl-key"]),
        (
            &HeaderValue::from_static("a"),
            &HeaderValue::from_static("eu%20west"),
            &HeaderValue::from_static("k")
        )
    );
    assert_eq!(
        (&raw["content-type"], &body[..]),
        (&HeaderValue::from_static("application/json"), &b"{\"a\":1}"[..])
    );
    let (binary, body) = &seen[1];
    assert_eq!(
        (&binary["ce-id"], &binary["ce-subject"]),
        (&HeaderValue::from_static("order%201"), &HeaderValue::from_static("queue/orders"))
    );
    assert_eq!(
        (&binary["content-type"], &body[..]),
        (&HeaderValue::from_static("application/json"), &b"{\"a\":1}"[..])
    );
    let (structured, body) = &seen[2];
    assert_eq!(structured["content-type"], STRUCTURED_TYPE);
    let event: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(
        (&event["data"], &event["region"], &event["partitionkey"]),
        (&json!({"a":1}), &json!("eu west"), &json!("k"))
    );
}

// Finding: B8
#[tokio::test]
async fn what_an_answer_means() {
    let server = start_with(json!({})).await;
    let sink = sink(&[]);
    let url = format!("http://{}/hook?token=secret", sink.address);
    for (status, wait, code, retry_in) in [
        (200, None, None, None),
        (202, None, None, None),
        (301, None, Some(Code::UpstreamFailed), None),
        (400, Some("9"), Some(Code::UpstreamFailed), Some(9)),
        (401, None, Some(Code::UpstreamFailed), None),
        (403, Some("99999999999999999999"), Some(Code::UpstreamFailed), Some(u64::MAX)),
        (404, None, Some(Code::UpstreamFailed), None),
        (409, None, Some(Code::UpstreamFailed), None),
        (410, Some("9"), Some(Code::UpstreamRefused), None),
        (413, None, Some(Code::UpstreamFailed), None),
        (422, None, Some(Code::UpstreamFailed), None),
        (408, None, Some(Code::UpstreamFailed), None),
        (425, None, Some(Code::UpstreamFailed), None),
        (429, Some("7"), Some(Code::UpstreamFailed), Some(7)),
        (500, None, Some(Code::UpstreamFailed), None),
        (503, Some("Tue, 14 Nov 2023 22:13:50 GMT"), Some(Code::UpstreamFailed), Some(29)),
    ] {
        sink.answers.lock().push((status, wait));
        let result = deliver(&server, json!({"url": url, "timeout": "5s"})).await;
        assert_eq!(result.as_ref().err().map(Fault::code), code, "{status}");
        if let Err(fault) = result {
            assert_eq!(fault.upstream_status(), Some(status));
            assert_eq!(fault.retry_in().map(|wait| wait.as_secs()), retry_in, "{status}");
            let shows = fault.detail().contains("as told by the test") && !fault.detail().contains("secret");
            assert!(shows, "{}", fault.detail());
        }
    }
    let nobody = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap().local();
    let down = deliver(&server, json!({"url": format!("http://{nobody}/")})).await.unwrap_err();
    assert_eq!(down.code(), Code::UpstreamDown);
    let inside = deliver(&server, json!({"url": "http://169.254.169.254/"})).await.unwrap_err();
    assert_eq!(inside.code(), Code::EgressForbidden);
}

#[tokio::test]
async fn signed_and_authenticated() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "open sesame\n").unwrap();
    let (secret, token) = (format!("file:{}", secret.display()), format!("file:{}", token.display()));
    let server = start_with(json!({})).await;
    let sink = sink(&[]);
    let url = format!("http://{}/hook", sink.address);
    for (auth, name, value) in [
        (json!({"bearer": token}), "authorization", "Bearer open sesame"),
        (json!({"basic": {"user": "me", "password": token}}), "authorization", "Basic bWU6b3BlbiBzZXNhbWU="),
        (json!({"header": {"name": "x-key", "value": token}}), "x-key", "open sesame"),
    ] {
        deliver(&server, json!({"url": url, "auth": auth, "sign": secret})).await.unwrap();
        let (headers, body) = sink.seen.lock().pop().unwrap();
        assert_eq!(headers[name], value);
        assert_eq!(
            (&headers["webhook-id"], &headers["webhook-timestamp"]),
            (&HeaderValue::from_static("order%201"), &HeaderValue::from_static("1700000000"))
        );
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            headers["webhook-signature"].to_str().unwrap(),
            signer.sign("order%201", 1_700_000_000, &body)
        );
    }
}

#[tokio::test]
async fn a_misfit_says_where_and_what() {
    let server = start_with(json!({})).await;
    for (section, says) in [
        (json!({}), "missing field `url`"),
        (json!({"url": "http://a/", "mehtod": "PUT"}), "did you mean \"method\"?"),
        (json!({"url": "http://a/", "mode": "strutured"}), "did you mean \"structured\"?"),
        (json!({"url": "/hook"}), "url: \"/hook\" is no absolute"),
        (json!({"url": "ftp://a/"}), "no absolute http"),
        (json!({"url": "http://me:pass@a/"}), "use `auth`"),
        (json!({"url": "http://a/", "method": "P T"}), "no HTTP method"),
        (json!({"url": "http://a/", "headers": {"content-length": "1"}}), "headers.content-length"),
        (
            json!({"url": "http://a/", "auth": {"bearer": "in the clear"}}),
            "auth.bearer: a secret is a reference",
        ),
        (json!({"url": "http://a/", "sign": "file:/nowhere"}), "sign: cannot read"),
    ] {
        let misfit =
            build(&server.hub, "x", section.clone()).err().unwrap_or_else(|| panic!("{section} was taken"));
        assert!(misfit.to_string().contains(says), "{section}: {misfit}");
    }
}

#[tokio::test]
async fn our_own_api_takes_what_our_outlet_sends() {
    // A queue remembers ids, so each mode has its own.
    let server = start_with(json!({"queues": {"raw": {}, "binary": {}, "structured": {}}})).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, crate::testing::KEY).unwrap();
    let auth = json!({"bearer": format!("file:{}", key.display())});
    for mode in ["raw", "binary", "structured"] {
        let url = format!("http://{}/api/queues/{mode}", server.address);
        deliver(&server, json!({"url": url, "mode": mode, "auth": auth})).await.unwrap();
        let delivery = server.lease(mode).await.remove(0);
        let (sent, body) = (envelope(), json!({"a": 1}));
        assert_eq!((&delivery["id"], &delivery["body"]), (&json!("order 1"), &body), "{mode}");
        assert_eq!((&delivery["key"], &delivery["attempt"]), (&json!("k"), &json!(1)), "{mode}");
        assert_eq!(delivery["headers"]["region"], "eu west", "{mode}");
        let trace = delivery["traceparent"].as_str().unwrap();
        assert!(trace.contains(&format!("{:032x}", sent.trace.unwrap().trace_id)), "{mode}");
        let lease = format!("/api/queues/{mode}/leases/{}", delivery["token"].as_str().unwrap());
        assert_eq!(server.post(&lease, &[], r#"{"action":"ack"}"#).await.status, 200);
    }
}

#[tokio::test]
async fn through_the_hub_with_retries_and_dead_letters() {
    let sink = sink(&[(503, None), (200, None), (410, None)]);
    let url = format!("http://{}/hook", sink.address);
    let server = start_with(json!({
        "queues": { "orders": {} },
        "outlets": { "hook": { "http": { "url": url } } },
        "routes": [{ "name": "deliver", "from": "queue/orders", "to": ["out/hook"], "concurrency": 1,
            "retry": { "count": 3, "first": "10ms", "jitter": 0.0 } }],
    }))
    .await;
    assert_eq!(server.post("/api/queues/orders", &[("tl-id", "one")], "first").await.status, 201);
    until("the second attempt is taken", async || sink.seen.lock().len() == 2).await;
    assert_eq!(sink.seen.lock()[1].0["tl-attempt"], "2");
    assert_eq!(sink.seen.lock()[1].0["ce-subject"], "queue/orders", "it says where it comes from");
    assert_eq!(server.post("/api/queues/orders", &[("tl-id", "two")], "second").await.status, 201);
    let queue = Address::new(Kind::Queue, "orders").unwrap();
    until("the refused one is a dead letter", async || {
        server.hub.broker().stats(&queue).await.unwrap().dead == 1
    })
    .await;
    let dead = server.hub.broker().dead(&queue, None, 10).await.unwrap();
    let envelope = dead[0].envelope.as_ref().unwrap();
    assert_eq!((envelope.id.to_string().as_str(), &envelope.body[..]), ("two", &b"second"[..]));
    assert!(dead[0].text.contains("410"), "{}", dead[0].text);
    assert_eq!(sink.seen.lock().len(), 3);
}
