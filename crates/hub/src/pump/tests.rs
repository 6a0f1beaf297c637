//! Pumps: retries and their waits, breakers, dead letters, and changes while something is under way.

use crate::Breach;
use crate::testing::{Act, Script, World, address, config, script, until, world};
use message::Code;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn one_route(server: &str, more: Value) -> Value {
    let mut outlet = json!({ "script": server, "breaker": { "failures": 100 }, "retry": { "first": "10ms", "jitter": 0.0 } });
    let mut route = json!({
        "name": "r", "from": "queue/a", "to": ["out/w"], "concurrency": 1,
        "retry": { "count": 3, "first": "30ms", "factor": 2.0, "jitter": 0.0 },
    });
    for (key, value) in more.as_object().unwrap() {
        let place = if key == "breaker" { &mut outlet } else { &mut route };
        place[key] = value.clone();
    }
    json!({ "queues": { "a": {}, "b": {} }, "outlets": { "w": outlet }, "routes": [route] })
}

async fn acked(world: &World, queue: &str, count: u64) {
    until(async || world.stats(queue).await.acked == count).await;
}

fn gaps(server: &Script) -> Vec<Duration> {
    server.seen.lock().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

#[tokio::test]
async fn failed_deliveries_come_again_after_growing_waits() {
    let server = script("waits", &[Act::Fail, Act::Fail]);
    let world = world(one_route("waits", json!({}))).await;
    world.publish("queue/a", "x").await.unwrap();
    acked(&world, "queue/a", 1).await;
    let gaps = gaps(&server);
    assert!(gaps[0] >= Duration::from_millis(29) && gaps[1] >= Duration::from_millis(59), "{gaps:?}");
    let attempts: Vec<u32> = server.seen.lock().iter().map(|(_, seen)| seen.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(world.hub.ledger().faults(10).len(), 2, "each failure is on record");
}

#[tokio::test]
async fn a_server_that_names_a_time_is_listened_to() {
    let server = script("asks", &[Act::RetryAfter(Duration::from_millis(200))]);
    let world = world(one_route("asks", json!({}))).await;
    world.publish("queue/a", "x").await.unwrap();
    acked(&world, "queue/a", 1).await;
    assert!(gaps(&server)[0] >= Duration::from_millis(199));
}

#[tokio::test]
async fn a_refusal_is_a_dead_letter_at_once_and_does_not_trip_the_breaker() {
    let server = script("refuses", &[Act::Refuse]);
    let world = world(one_route("refuses", json!({ "breaker": { "failures": 1 } }))).await;
    world.publish("queue/a", "x").await.unwrap();
    until(async || world.dead("queue/a").await.len() == 1).await;
    let dead = world.dead("queue/a").await.remove(0);
    assert_eq!((dead.deliveries, dead.reason, server.bodies().len()), (1, Code::UpstreamRefused, 1));
    assert_eq!(world.hub.outlets()[0].breaker, Breach::Closed);
}

#[tokio::test]
async fn a_dead_letter_keeps_the_original_and_every_attempt() {
    script("dead", &[Act::Fail, Act::Fail, Act::Fail]);
    let world = world(one_route("dead", json!({ "steps": [{ "map": ".x" }] }))).await;
    world.publish("queue/a", r#"{"x":1}"#).await.unwrap();
    until(async || world.dead("queue/a").await.len() == 1).await;
    let dead = world.dead("queue/a").await.remove(0);
    assert_eq!(&dead.envelope.as_ref().unwrap().body[..], br#"{"x":1}"#);
    assert_eq!((dead.deliveries, dead.reason), (3, Code::UpstreamFailed));
    assert_eq!(dead.attempts.len(), 3, "{dead:?}");
    assert!(
        dead.attempts
            .iter()
            .all(|attempt| &*attempt.consumer == "route/r" && attempt.code == Code::UpstreamFailed)
    );
    world.hub.broker().replay(&address("queue/a"), broker::Selection::All).await.unwrap();
    acked(&world, "queue/a", 1).await;
}

#[tokio::test]
async fn an_open_breaker_holds_messages_back_without_using_up_attempts() {
    let server = script("breaks", &[Act::Fail, Act::Fail]);
    let more = json!({ "concurrency": 8, "breaker": { "failures": 2, "open_for": "300ms" } });
    let world = world(one_route("breaks", more)).await;
    for n in 0..20 {
        world.publish("queue/a", &n.to_string()).await.unwrap();
    }
    acked(&world, "queue/a", 20).await;
    assert_eq!(world.hub.outlets()[0].opened, 1);
    assert!(world.dead("queue/a").await.is_empty());
    let over: Vec<u32> = server.seen.lock().iter().map(|(_, seen)| seen.attempt).filter(|n| *n > 1).collect();
    assert!(
        over.iter().all(|attempt| *attempt == 2) && over.len() <= 2,
        "only what failed was an attempt: {over:?}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let server = script("hangs", &[Act::Hang]);
    let world = world(one_route("hangs", json!({ "timeout": "50ms" }))).await;
    world.publish("queue/a", "x").await.unwrap();
    acked(&world, "queue/a", 1).await;
    assert_eq!(server.bodies().len(), 2);
    let stats = world.stats("queue/a").await;
    assert_eq!((stats.lost, stats.retried), (0, 1), "the lease held for longer than the delivery");
}

#[tokio::test]
async fn several_targets_get_it_by_queues_of_their_own() {
    let (well, ill) = (script("well", &[]), script("ill", &[Act::Fail, Act::Fail, Act::Fail]));
    let outlet = |server: &str| json!({ "script": server, "retry": { "first": "10ms", "jitter": 0.0 } });
    let world = world(json!({
        "queues": { "a": {}, "b": {} },
        "outlets": { "well": outlet("well"), "ill": outlet("ill") },
        "routes": [{ "name": "r", "from": "queue/a", "to": ["out/well", "out/ill", "queue/b"] }],
    }))
    .await;
    world.publish("queue/a", "x").await.unwrap();
    acked(&world, "queue/$out/ill", 1).await;
    acked(&world, "queue/$out/well", 1).await;
    assert_eq!((well.bodies().len(), ill.bodies().len()), (1, 4), "who is well is not told again");
    assert_eq!(world.waiting("queue/b").await, ["x"]);
}

#[tokio::test]
async fn an_outlet_takes_what_is_published_to_it() {
    let server = script("direct", &[Act::Fail]);
    let world =
        world(json!({ "outlets": { "w": { "script": "direct", "retry": { "first": "10ms" } } } })).await;
    let receipt = world.publish("out/w", "x").await.unwrap();
    assert_eq!((receipt.durable, receipt.live), (1, 0));
    acked(&world, "queue/$out/w", 1).await;
    assert_eq!(server.bodies(), ["x", "x"]);
}

#[tokio::test]
async fn what_is_under_way_survives_a_reload_and_what_follows_is_new() {
    let old = script("old", &[Act::Hang]);
    let new = script("new", &[]);
    let world = world(one_route("old", json!({ "timeout": "500ms" }))).await;
    world.publish("queue/a", "1").await.unwrap();
    until(async || old.bodies().len() == 1).await;
    world.hub.apply(config(one_route("new", json!({ "timeout": "500ms" })))).await.unwrap();
    assert_eq!(world.stats("queue/a").await.leased, 1, "the lease was kept");
    world.publish("queue/a", "2").await.unwrap();
    acked(&world, "queue/a", 2).await;
    assert_eq!((old.bodies().len(), new.bodies().len()), (1, 2));
    assert_eq!(world.stats("queue/a").await.lost, 0);
}

#[tokio::test]
async fn a_waiting_worker_works_by_the_new_configuration() {
    let (old, new) = (script("was", &[]), script("is", &[]));
    let world = world(one_route("was", json!({}))).await;
    until(async || world.stats("queue/a").await.waiting == 1).await;
    world.hub.apply(config(one_route("is", json!({})))).await.unwrap();
    world.publish("queue/a", "x").await.unwrap();
    acked(&world, "queue/a", 1).await;
    assert_eq!((old.bodies().len(), new.bodies().len()), (0, 1));
}

#[tokio::test]
async fn a_route_that_is_taken_out_stops() {
    let server: Arc<Script> = script("stops", &[]);
    let world = world(one_route("stops", json!({}))).await;
    until(async || world.stats("queue/a").await.waiting == 1).await;
    world.hub.apply(config(json!({ "queues": { "a": {} } }))).await.unwrap();
    until(async || world.stats("queue/a").await.waiting == 0).await;
    world.publish("queue/a", "x").await.unwrap();
    assert_eq!((world.waiting("queue/a").await.len(), server.bodies().len()), (1, 0));
}

#[tokio::test]
async fn a_panic_costs_an_attempt_and_not_the_worker() {
    let server = script("panics", &[Act::Panic, Act::Panic]);
    let world = world(one_route("panics", json!({}))).await;
    world.publish("queue/a", "x").await.unwrap();
    acked(&world, "queue/a", 1).await;
    world.publish("queue/a", "y").await.unwrap();
    acked(&world, "queue/a", 2).await;
    assert_eq!((server.bodies().len(), world.tasks.panics()), (4, 0));
}
