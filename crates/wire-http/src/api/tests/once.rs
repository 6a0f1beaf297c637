//! A request with an `Idempotency-Key` has one effect and one answer, whoever sends it again and however.

use crate::testing::{PLANT_KEY, Server, soon, start, start_with};
use futures_util::future::BoxFuture;
use http::Method;
use hub::{Handler, Reply, Request, Session};
use message::{Address, Code, Fault, Kind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Semaphore;

/// A tool that counts how often it is asked, and answers when it may.
#[derive(Clone)]
struct Tool {
    asked: Arc<AtomicU32>,
    may: Arc<Semaphore>,
}

impl Handler for Tool {
    fn call(&self, _: Session, request: Request) -> BoxFuture<'static, Result<Reply, Fault>> {
        let count = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let may = Arc::clone(&self.may);
        Box::pin(async move {
            may.acquire().await.unwrap().forget();
            match &request.envelope.body[..] {
                b"later" => Err(Fault::new(Code::BreakerOpen, "not now")),
                b"fails" => Err(Fault::new(Code::UpstreamFailed, "it fell over")),
                _ => Ok(Reply::json(json!({ "count": count }).to_string())),
            }
        })
    }

    fn addresses(&self) -> Vec<Address> {
        vec![Address::parse("tool/count").unwrap()]
    }
}

fn tool(server: &Server, may: usize) -> Tool {
    let tool = Tool { asked: Arc::default(), may: Arc::new(Semaphore::new(may)) };
    server.hub.serve(Kind::Tool, Arc::new(tool.clone()));
    tool
}

// Finding: I6
#[tokio::test]
async fn a_call_is_made_once_and_its_answer_comes_again() {
    let server = start().await;
    let tool = tool(&server, 100);
    let ask = async |key: &str, body: &'static str| {
        server.post("/api/call/tool/count", &[("idempotency-key", key)], body).await
    };
    for (key, body, count, again) in [
        ("k", "x", 1, ""),
        ("k", "x", 1, "true"),
        ("\"k\"", "x", 1, "true"),
        ("l", "x", 2, ""),
        ("", "x", 3, ""),
        ("", "x", 4, ""),
    ] {
        let answer = ask(key, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "count": count })), "{key}");
        assert_eq!(
            (answer.header("idempotency-replayed"), answer.header("content-type")),
            (again, "application/json")
        );
    }
    assert_eq!(ask("k", "y").await.fault(), (422, "TL0041".into()));
    // What may have been done is not done again; what was not begun is.
    for (body, code, asked) in [("fails", (502, "TL0018"), 1), ("later", (503, "TL0016"), 2)] {
        let before = tool.asked.load(Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(ask(body, body).await.fault(), (code.0, code.1.into()));
        }
        assert_eq!(tool.asked.load(Ordering::SeqCst) - before, asked, "{body}");
    }
    assert_eq!(ask(&"k".repeat(257), "x").await.fault(), (400, "TL0028".into()));
}

// Finding: I6
#[tokio::test]
async fn a_call_goes_on_when_its_client_leaves_and_a_second_one_waits_its_turn() {
    let server = start().await;
    let tool = tool(&server, 0);
    let headers = [("idempotency-key", "k")];
    let first = server.send(Method::POST, "/api/call/tool/count", &headers, "x");
    tokio::select! {
        _ = first => panic!("it was not answered yet"),
        () = soon(async { while tool.asked.load(Ordering::SeqCst) == 0 { tokio::task::yield_now().await } }) => {}
    }
    let second = server.post("/api/call/tool/count", &headers, "x").await;
    assert_eq!((second.header("retry-after"), second.fault()), ("1", (409, "TL0040".into())));
    tool.may.add_permits(1);
    soon(async {
        loop {
            let answer = server.post("/api/call/tool/count", &headers, "x").await;
            if answer.status == 200 {
                assert_eq!(
                    (answer.json(), answer.header("idempotency-replayed")),
                    (json!({ "count": 1 }), "true")
                );
                return;
            }
        }
    })
    .await;
    assert_eq!(tool.asked.load(Ordering::SeqCst), 1);
}

// Finding: I6, H0.1
#[tokio::test]
async fn a_publish_with_a_key_is_one_wherever_it_goes_and_each_principals_own() {
    let server = start_with(json!({
        "routes": [{ "name": "r", "from": "topic/plant/in", "to": ["stream/audit", "queue/orders"] }],
    }))
    .await;
    let plant = format!("Bearer {PLANT_KEY}");
    let put = async |path: &str, more: &[(&str, &str)]| {
        let headers = [&[("idempotency-key", "1")], more].concat();
        server.post(path, &headers, r#"{"n":1}"#).await
    };
    for again in ["", "true"] {
        for (path, more) in [
            ("/api/topics/plant/in", &[][..]),
            ("/api/topics/plant/in", &[("authorization", plant.as_str())][..]),
            ("/api/streams/audit", &[]),
            ("/api/queues/orders", &[]),
        ] {
            let answer = put(path, more).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("idempotency-replayed")),
                (201, again),
                "{path}"
            );
            assert_eq!(answer.json()["duplicate"], json!(false), "the answer is the first one's");
        }
    }
    let stream = server.get("/api/streams/audit", &[]).await.json();
    assert_eq!(stream["records"].as_array().map(Vec::len), Some(3), "{stream}");
    let queue: Value = server.get("/api/queues/orders", &[]).await.json();
    assert_eq!((&queue["depth"], &queue["duplicates"]), (&json!(3), &json!(0)));
}

#[tokio::test]
async fn a_publish_that_was_refused_may_come_again() {
    let server = start().await;
    let put = async |key: &str| server.post("/api/queues/small", &[("idempotency-key", key)], "x").await;
    assert_eq!(put("1").await.status, 201);
    assert_eq!(put("2").await.fault(), (503, "TL0007".into()));
    let token = server.lease("small").await[0]["token"].as_str().unwrap().to_owned();
    server.post(&format!("/api/queues/small/leases/{token}"), &[], r#"{"action":"ack"}"#).await;
    assert_eq!(put("2").await.status, 201);
}

#[tokio::test]
async fn who_may_not_gets_no_answer_of_before() {
    let server = start().await;
    let mut config = server.hub.config();
    let plant = format!("Bearer {PLANT_KEY}");
    let headers = [("authorization", plant.as_str()), ("idempotency-key", "1")];
    assert_eq!(server.post("/api/topics/plant/1", &headers, "x").await.status, 202);
    config.access.roles.get_mut("plant").unwrap().allow.clear();
    server.hub.apply(config).await.unwrap();
    assert_eq!(server.post("/api/topics/plant/1", &headers, "x").await.fault(), (403, "TL0002".into()));
}
