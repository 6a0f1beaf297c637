//! Enqueue, lease, extend, settle, look.

use crate::testing::{start, start_with};
use serde_json::json;

#[tokio::test]
async fn a_message_goes_through_its_whole_life() {
    let server = start().await;
    let headers = [("content-type", "application/json"), ("tl-key", "k"), ("tl-id", "o-1"), ("tl-h-a", "1")];
    let stored = server.post("/api/queues/orders", &headers, r#"{"n": 1}"#).await;
    assert_eq!((stored.status.as_u16(), stored.json()["durable"].clone()), (201, json!(1)));
    assert_eq!(stored.json()["id"], "o-1");
    let peeked = server.get("/api/queues/orders/peek", &[]).await.json();
    assert_eq!(
        (&peeked["messages"][0]["id"], &peeked["messages"][0]["state"]),
        (&json!("o-1"), &json!("ready"))
    );

    let delivery = server.lease("orders").await.remove(0);
    assert_eq!(delivery["attempt"], 1);
    assert_eq!(delivery["body"], json!({"n": 1}));
    assert_eq!(delivery["key"], "k");
    assert_eq!(delivery["headers"], json!({"a": "1"}));
    assert_eq!(delivery["principal"], "all");
    let lease = format!("/api/queues/orders/leases/{}", delivery["token"].as_str().unwrap());
    let extended = server.post(&lease, &[], r#"{"action":"extend","hold":"1m"}"#).await.json();
    assert_eq!(extended["settled"], "held");
    let retried =
        server.post(&lease, &[], r#"{"action":"retry","delay":"0s","error":"not now"}"#).await.json();
    assert_eq!(retried["settled"], "retrying");
    assert_eq!(server.post(&lease, &[], r#"{"action":"ack"}"#).await.fault(), (409, "TL0015".into()));

    let again = server.lease("orders").await.remove(0);
    assert_eq!((&again["attempt"], &again["id"]), (&json!(2), &json!("o-1")));
    let lease = format!("/api/queues/orders/leases/{}", again["token"].as_str().unwrap());
    assert_eq!(server.post(&lease, &[], r#"{"action":"ack"}"#).await.json(), json!({"settled": "acked"}));
    let stats = server.get("/api/queues/orders", &[]).await.json();
    assert_eq!((&stats["depth"], &stats["acked"], &stats["retried"]), (&json!(0), &json!(1), &json!(1)));
}

#[tokio::test]
async fn batches_in_and_out() {
    let server = start().await;
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": id});
    let batch = json!([event("1"), event("2"), event("3")]).to_string();
    let stored = server
        .post("/api/queues/orders", &[("content-type", "application/cloudevents-batch+json")], batch)
        .await;
    assert_eq!(stored.status, 201, "{:?}", stored.body);
    let ids: Vec<_> = stored.json().as_array().unwrap().iter().map(|receipt| receipt["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    let accept = [("accept", "application/cloudevents-batch+json")];
    let leased = server.post("/api/queues/orders/lease", &accept, r#"{"max":2.0}"#).await;
    assert_eq!(leased.header("content-type"), "application/cloudevents-batch+json");
    let events = leased.json();
    assert_eq!(
        (&events[1]["id"], &events[1]["source"], &events[1]["tlattempt"]),
        (&json!("2"), &json!("/s"), &json!(1))
    );
    let settlements = json!([
        { "token": events[0]["tltoken"], "action": "ack" },
        { "token": events[1]["tltoken"], "action": "reject", "error": "no such customer" },
        { "token": "0-9-0", "action": "ack" },
    ]);
    let results = server.post("/api/queues/orders/settle", &[], settlements.to_string()).await.json();
    assert_eq!((&results[0]["settled"], &results[1]["settled"]), (&json!("acked"), &json!("dead")));
    assert_eq!(results[2]["fault"]["code"], "TL0015");
    let malformed =
        json!([{ "token": events[1]["tltoken"], "action": "ack" }, { "token": "nonsense", "action": "ack" }]);
    let refused = server.post("/api/queues/orders/settle", &[], malformed.to_string()).await;
    assert_eq!(refused.fault(), (400, "TL0028".into()));
    let stats = server.get("/api/queues/orders", &[]).await.json();
    assert_eq!((&stats["depth"], &stats["dead"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_batch_that_is_taken_in_part_says_so() {
    let server = start().await;
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t"});
    let batch = json!([event("1"), event("2")]).to_string();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let stored = server.post("/api/queues/small", &headers, batch).await;
    assert_eq!(stored.fault(), (503, "TL0007".into()));
    let results = stored.json()["results"].clone();
    assert_eq!((&results[0]["id"], &results[1]["fault"]["code"]), (&json!("1"), &json!("TL0007")));
}

#[tokio::test]
async fn a_consumer_that_waits_is_woken() {
    let server = start().await;
    let (deliveries, stored) =
        tokio::join!(server.lease("orders"), server.post("/api/queues/orders", &[], "now"));
    assert_eq!(stored.status, 201);
    assert_eq!(deliveries[0]["body"], "now");
    let none = server.post("/api/queues/orders/lease", &[], "").await;
    assert_eq!(none.json(), json!({"deliveries": []}));
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let server = start_with(json!({"queues": {"tiny": {"messages": 1}}})).await;
    assert_eq!(server.post("/api/queues/tiny", &[], "1").await.status, 201);
    assert_eq!(server.post("/api/queues/tiny", &[], "2").await.fault(), (503, "TL0007".into()));
}

// Finding: H0.1
#[tokio::test]
async fn an_event_is_known_by_its_source_and_its_id() {
    let server = start().await;
    let put = async |source: &str, id: &str| {
        let event = json!({"specversion": "1.0", "id": id, "source": source, "type": "t"}).to_string();
        let kind = [("content-type", "application/cloudevents+json")];
        server.post("/api/queues/orders", &kind, event).await.json()["duplicate"].clone()
    };
    for again in [false, true] {
        for (source, id) in [("/one", "1"), ("/two", "1"), ("/one", "2")] {
            assert_eq!(put(source, id).await, json!(again), "{source} {id}");
        }
    }
    let stats = server.get("/api/queues/orders", &[]).await.json();
    assert_eq!((&stats["depth"], &stats["duplicates"]), (&json!(3), &json!(3)));
    assert_eq!((&stats["known"], &stats["forgotten"]), (&json!(3), &json!(0)));
}
