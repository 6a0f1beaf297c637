//! The trail is on disk soon, bounded, and misses nothing of an orderly stop.

use super::*;
use crate::testing::{address, until, world};
use crate::{Credential, Origin};
use serde_json::{Value, json};

fn lines(hub: &Hub) -> Vec<Value> {
    let read = read(hub, 0, 1_000).unwrap_or_default();
    read.iter().map(|(_, line)| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn refusals_and_publishes_are_written_down() {
    let world = world(json!({ "audit": { "publishes": true } })).await;
    world.publish("topic/x", "").await.unwrap();
    world.publish("queue/none", "").await.unwrap_err();
    until(async || tail(&world.hub).unwrap() == 2).await;
    let lines = lines(&world.hub);
    assert_eq!((&lines[0]["outcome"], &lines[0]["address"]), (&json!("done"), &json!("topic/x")));
    assert_eq!((&lines[1]["outcome"], &lines[1]["side"]), (&json!("TL0010"), &json!("client")));
    assert_eq!((&lines[1]["principal"], &lines[1]["protocol"]), (&json!("boss"), &json!("test")));
    let recent: Vec<Value> = world.hub.ledger().recent(2).iter().rev().map(|record| line(record)).collect();
    assert_eq!(recent, lines, "one form on disk and in the API");
}

#[tokio::test]
async fn the_trail_keeps_the_newest_only() {
    let world = world(json!({ "audit": { "publishes": true, "records": 10 } })).await;
    for _ in 0..25 {
        world.publish("topic/x", "").await.unwrap();
    }
    until(async || tail(&world.hub).unwrap() == 25).await;
    until(async || lines(&world.hub).len() <= 10).await;
}

// Finding: B14
#[tokio::test]
async fn the_trail_keeps_no_more_bytes_than_it_may() {
    let world = world(json!({ "audit": { "publishes": true, "bytes": "4KiB" } })).await;
    for _ in 0..100 {
        world.publish("topic/x", "").await.unwrap();
    }
    let log = world.hub.engine().log("audit").unwrap();
    until(async || tail(&world.hub).unwrap() == 100 && log.bytes() <= 4096).await;
    assert!(lines(&world.hub).len() > 5, "and not much less");
}

#[tokio::test]
async fn a_stop_writes_down_what_was_still_done() {
    let world = world(json!({ "audit": { "publishes": true } })).await;
    let session = world.session("boss");
    let draining = world.tasks.draining();
    let (hub, late) = (world.hub.clone(), world.envelope("topic/x", ""));
    world.tasks.spawn("late", async move {
        draining.cancelled().await;
        // Refused because the program is stopping, and that is on record too.
        assert!(session.publish(late).await.is_err());
    });
    assert!(world.tasks.shutdown(Duration::from_secs(10)).await.is_empty());
    assert_eq!(lines(&hub).len(), 1);
}

#[tokio::test]
async fn who_is_not_let_in_is_written_down_without_the_key_and_bounded() {
    let world = world(json!({})).await;
    let origin = Origin { protocol: "test", peer: "10.0.0.7:99".parse().unwrap() };
    for _ in 0..50 {
        world.hub.authenticate(Credential::Key(b"tl_a_guess_of_a_key"), origin).unwrap_err();
    }
    until(async || tail(&world.hub).unwrap() == 3).await;
    assert!(world.tasks.shutdown(Duration::from_secs(10)).await.is_empty());
    let lines = lines(&world.hub);
    let times: Vec<_> = lines.iter().map(|line| line["times"].as_u64().unwrap()).collect();
    assert_eq!(times, [1, 1, 1, 47], "each attempt is counted once, most of them in a sum");
    for line in lines {
        let said =
            ["principal", "protocol", "verb", "outcome", "peer"].map(|name| line[name].as_str().unwrap());
        assert_eq!(said, ["unknown", "test", "login", "TL0001", "10.0.0.7:99"]);
        assert!(!line.to_string().contains("guess"), "{line}");
    }
}

#[tokio::test]
async fn a_change_is_answered_when_its_record_is_on_disk() {
    let world = world(json!({})).await;
    let session = world.session("boss");
    for number in 1..20 {
        session.record_change(&address("queue/orders")).await.unwrap();
        assert_eq!(tail(&world.hub).unwrap(), number, "no waiting for the next turn");
    }
}
