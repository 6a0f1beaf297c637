//! Publish, retained values, streams, calls.

use crate::testing::{KEY, soon, start};
use futures_util::future::BoxFuture;
use hub::{Handler, Reply, Request, Session};
use message::{Address, Code, Fault, Kind};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_retained_value_comes_back_with_its_bytes() {
    let server = start().await;
    let published = server
        .post(
            "/api/topics/plant/7/temp?retain=true",
            &[("content-type", "text/csv"), ("tl-h-unit", "C")],
            "21,5",
        )
        .await;
    assert_eq!(published.status, 201, "{:?}", published.body);
    assert_eq!(published.json()["durable"], 1);
    let raw = server.get("/api/topics/plant/7/temp", &[]).await;
    assert_eq!((raw.status.as_u16(), &raw.body[..]), (200, &b"21,5"[..]));
    assert_eq!(raw.header("content-type"), "text/csv");
    assert_eq!(raw.header("ce-subject"), "topic/plant/7/temp");
    assert_eq!(raw.header("ce-unit"), "C");
    assert_eq!(raw.header("ce-id"), published.json()["id"].as_str().unwrap());
    let event = server.get("/api/topics/plant/7/temp", &[("accept", "application/cloudevents+json")]).await;
    assert_eq!(event.header("content-type"), "application/cloudevents+json");
    assert_eq!(event.json()["data"], "21,5");
    let gone = server.post("/api/topics/plant/7/temp?retain=true", &[], "").await;
    assert_eq!(gone.status, 202, "{:?}", gone.body);
    assert_eq!(server.get("/api/topics/plant/7/temp", &[]).await.fault(), (404, "TL0010".into()));
}

#[tokio::test]
async fn every_credential_that_clients_send() {
    let server = start().await;
    let basic = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("all:{KEY}"))
    };
    for (name, value) in [
        ("authorization", format!("Bearer {KEY}")),
        ("authorization", format!("Basic {basic}")),
        ("x-api-key", KEY.to_owned()),
        ("api-key", KEY.to_owned()),
    ] {
        let headers = [("authorization", ""), (name, value.as_str())];
        let answer = server.post("/api/topics/plant/1", &headers, "x").await;
        assert_eq!(answer.status, 202, "{name}: {:?}", answer.body);
    }
}

#[tokio::test]
async fn traces_come_back() {
    let server = start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer =
        server.post("/api/topics/plant/1", &[("traceparent", parent), ("tracestate", "a=1")], "x").await;
    assert_eq!((answer.header("traceparent"), answer.header("tracestate")), (parent, "a=1"));
}

#[tokio::test]
async fn streams_are_read_from_where_one_likes() {
    let server = start().await;
    for number in 0..5 {
        let answer = server
            .post("/api/streams/audit", &[("content-type", "application/json")], format!("{number}"))
            .await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }
    let all = server.get("/api/streams/audit?max=3", &[]).await.json();
    let bodies: Vec<_> =
        all["records"].as_array().unwrap().iter().map(|record| record["body"].clone()).collect();
    assert_eq!(bodies, [json!(0), json!(1), json!(2)]);
    let next = all["next"].as_u64().unwrap();
    let rest = server.get(&format!("/api/streams/audit?from={next}"), &[]).await.json();
    assert_eq!(rest["records"].as_array().unwrap().len(), 2);
    let accept = [("accept", "application/cloudevents-batch+json")];
    let events = server.get("/api/streams/audit?from=earliest", &accept).await.json();
    assert_eq!((events[4]["data"].clone(), events[4]["tloffset"].clone()), (json!(4), json!("4")));
    let fault = server.get("/api/streams/audti", &[]).await;
    assert_eq!(fault.fault(), (404, "TL0010".into()));
    assert!(fault.json()["detail"].as_str().unwrap().contains("stream/audit"));
}

struct Upper;

impl Handler for Upper {
    fn call(&self, _session: Session, request: Request) -> BoxFuture<'static, Result<Reply, Fault>> {
        Box::pin(async move {
            if request.envelope.body.is_empty() {
                return Err(Fault::new(Code::SchemaViolation, "nothing to do"));
            }
            Ok(Reply::full("text/plain", request.envelope.body.to_ascii_uppercase()))
        })
    }

    fn addresses(&self) -> Vec<Address> {
        vec![Address::new(Kind::Tool, "upper").unwrap()]
    }
}

#[tokio::test]
async fn calls_are_answered_by_whoever_serves_the_kind() {
    let server = start().await;
    server.hub.serve(Kind::Tool, Arc::new(Upper));
    let answer = server.post("/api/call/tool/upper", &[], "hello").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"HELLO"[..]));
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(server.post("/api/call/tool/upper", &[], "").await.fault(), (422, "TL0006".into()));
    assert_eq!(server.post("/api/call/model/fast", &[], "x").await.fault(), (404, "TL0010".into()));
    assert_eq!(server.post("/api/call/nothing", &[], "x").await.fault(), (400, "TL0011".into()));
}

#[tokio::test]
async fn the_description_lists_every_path() {
    let server = start().await;
    let answer = soon(server.get("/api/openapi.json", &[("authorization", "")])).await;
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut routes = net::http::Routes::new();
    crate::mount(&server.hub, &mut routes);
    for (template, method) in routes.list() {
        // OpenAPI knows no parameter that spans levels; there the slash is written as %2F or stands for itself.
        let path = template.replace("{*", "{");
        let operation = &document["paths"][path.as_str()][method.to_lowercase().as_str()];
        assert!(operation["responses"].is_object(), "{method} {path} is not described");
    }
}
