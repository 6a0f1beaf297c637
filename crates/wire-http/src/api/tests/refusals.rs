//! Each refusal with its own code.

use crate::testing::{PLANT_KEY, start};
use http::Method;
use net::http::Body;

#[tokio::test]
async fn each_refusal_has_its_code() {
    let server = start().await;
    let plant = format!("Bearer {PLANT_KEY}");
    let plant = [("authorization", plant.as_str())];
    for (method, path, headers, body, expected) in [
        (
            Method::POST,
            "/api/topics/plant/1",
            &[("authorization", "Bearer nobody")][..],
            "x",
            (401, "TL0001"),
        ),
        (Method::POST, "/api/topics/plant/1", &[("authorization", "Digest x")], "x", (401, "TL0001")),
        (Method::POST, "/api/topics/plant/1?access_token=x", &[("authorization", "")], "x", (401, "TL0001")),
        (Method::POST, "/api/topics/office/1", &plant, "x", (403, "TL0002")),
        (Method::GET, "/api/topics/office/1", &plant, "", (403, "TL0002")),
        (Method::POST, "/api/queues/orders", &plant, "x", (403, "TL0002")),
        (Method::POST, "/api/queues/orders/lease", &plant, "", (403, "TL0002")),
        (Method::GET, "/api/queues/orders", &plant, "", (403, "TL0002")),
        (Method::GET, "/api/queues/orders/peek", &plant, "", (403, "TL0002")),
        (Method::POST, "/api/topics/$sys/x", &[], "x", (403, "TL0002")),
        (Method::POST, "/api/topics/plant/+/x", &[], "x", (400, "TL0011")),
        (Method::POST, "/api/topics/", &[], "x", (400, "TL0011")),
        (Method::POST, "/api/queues/odrers", &[], "x", (404, "TL0010")),
        (Method::GET, "/api/queues/odrers", &[], "", (404, "TL0010")),
        (Method::GET, "/api/nothing", &[], "", (404, "TL0010")),
        (Method::PUT, "/api/queues/orders", &[], "x", (405, "TL0035")),
        (Method::POST, "/api/topics/plant/1?retian=true", &[], "x", (400, "TL0028")),
        (Method::POST, "/api/topics/plant/1?retain=maybe", &[], "x", (400, "TL0028")),
        (Method::POST, "/api/topics/plant/1", &[("tl-prioritty", "1")], "x", (400, "TL0028")),
        (Method::POST, "/api/topics/plant/1", &[("ce-id", "1")], "x", (400, "TL0004")),
        (
            Method::POST,
            "/api/topics/plant/1",
            &[("tl-deadline", "2020-01-01T00:00:00Z")],
            "x",
            (400, "TL0028"),
        ),
        (Method::POST, "/api/queues/orders/lease", &[], r#"{"mxa":1}"#, (400, "TL0028")),
        (Method::POST, "/api/queues/orders/lease", &[], r#"{"max":0}"#, (400, "TL0028")),
        (Method::POST, "/api/queues/orders/lease", &[], r#"{"wait":"1h"}"#, (400, "TL0028")),
        (Method::POST, "/api/queues/orders/lease", &[], "[", (400, "TL0028")),
        (Method::POST, "/api/queues/orders/leases/x", &[], r#"{"action":"ack"}"#, (400, "TL0028")),
        (Method::POST, "/api/queues/orders/leases/1-1-1", &[], r#"{"action":"ack"}"#, (409, "TL0015")),
        (Method::POST, "/api/queues/orders/leases/1-1-1", &[], r#"{"action":"akc"}"#, (400, "TL0028")),
        (
            Method::POST,
            "/api/queues/orders/leases/1-1-1",
            &[],
            r#"{"action":"ack","delay":"1s"}"#,
            (400, "TL0028"),
        ),
        (Method::GET, "/api/streams/audit?from=soon", &[], "", (400, "TL0028")),
        (Method::GET, "/api/queues/orders/ws", &[], "", (400, "TL0028")),
    ] {
        let response = server.send(method.clone(), path, headers, body).await;
        let (head, body) = response.into_parts();
        let problem = body.collect(100_000).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        let got = (head.status.as_u16(), problem["code"].as_str().unwrap_or_default());
        assert_eq!(got, expected, "{method} {path} {headers:?}: {problem}");
        if expected.0 == 401 {
            assert!(head.headers.contains_key("www-authenticate"));
        }
    }
}

#[tokio::test]
async fn nearest_names_are_said() {
    let server = start().await;
    for (path, body, says) in [
        ("/api/topics/a?retian=true", "", "did you mean \\\"retain\\\"?"),
        ("/api/queues/odrers", "", "did you mean queue/orders?"),
        ("/api/queues/orders/lease", r#"{"hodl":"1s"}"#, "did you mean \\\"hold\\\"?"),
        ("/api/queues/orders/leases/1-1-1", r#"{"action":"akc"}"#, "did you mean \\\"ack\\\"?"),
    ] {
        let answer = server.post(path, &[], body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains(says), "{path}: {text}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let server = start().await;
    let announced = server.post("/api/queues/orders", &[], vec![b'x'; 100_001]).await;
    assert_eq!(announced.fault(), (413, "TL0003".into()));
    let pieces = futures_util::stream::iter((0..11).map(|_| Ok(vec![b'x'; 10_000].into())));
    let streamed = server.post("/api/queues/orders", &[], Body::stream(pieces)).await;
    assert_eq!(streamed.fault(), (413, "TL0003".into()));
    let fits = server.post("/api/queues/orders", &[], vec![b'x'; 100_000]).await;
    assert_eq!(fits.status, 201);
}

// Finding: B10
#[tokio::test]
async fn two_names_never_become_one() {
    let server = start().await;
    for path in
        ["/api/topics/a%ff", "/api/topics/a%fe", "/api/queues/%ff/peek", "/api/topics/a?retain=%ff", "/%ff"]
    {
        for method in [Method::GET, Method::POST] {
            let answer = server.send(method, path, &[], Body::empty()).await;
            assert_eq!(answer.status(), 400, "{path}");
        }
    }
    let long = "x".repeat(501);
    for path in
        [format!("/api/queues/{long}"), format!("/api/streams/{long}"), format!("/api/queues/{long}/peek")]
    {
        assert_eq!(server.get(&path, &[]).await.fault(), (400, "TL0011".into()), "{path}");
    }
    assert_eq!(server.post(&format!("/api/queues/{long}"), &[], "x").await.fault(), (400, "TL0011".into()));
}

// Finding: B11
#[tokio::test]
async fn spans_beyond_their_limit_are_refused_not_cut() {
    let server = start().await;
    server.post("/api/queues/orders", &[], "x").await;
    let refused = server.post("/api/queues/orders/lease", &[], r#"{"hold":"13h"}"#).await;
    assert_eq!(refused.fault(), (400, "TL0028".into()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("12h"), "{:?}", refused.body);
    let token = server.lease("orders").await.remove(0)["token"].as_str().unwrap().to_owned();
    let path = format!("/api/queues/orders/leases/{token}");
    for order in [r#"{"action":"extend","hold":"13h"}"#, r#"{"action":"retry","delay":"999999d"}"#] {
        assert_eq!(server.post(&path, &[], order).await.fault(), (400, "TL0028".into()), "{order}");
    }
    // The lease is as it was.
    for order in [r#"{"action":"extend","hold":"12h"}"#, r#"{"action":"retry","delay":"30d"}"#] {
        assert_eq!(server.post(&path, &[], order).await.status, 200, "{order}");
    }
}
