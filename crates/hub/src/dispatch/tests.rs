//! Routes: all or nothing, rescue, chains and their end, fan-out, conditions, receipts.

use crate::testing::{World, address, script, soon, world};
use broker::{MailboxOptions, SubscribeOptions};
use message::{Code, Pattern};
use serde_json::{Value, json};

async fn routed(routes: Value) -> World {
    world(json!({
        "queues": { "a": {}, "b": {}, "errors": {}, "tiny": { "messages": 1 } },
        "streams": { "s": {} },
        "limits": { "fan_out": 4, "depth": 5 },
        "routes": routes,
    }))
    .await
}

fn listen(world: &World, filter: &str) -> std::sync::Arc<broker::Mailbox> {
    let mailbox = world.hub.mailbox(MailboxOptions::default());
    let pattern = Pattern::parse(filter).unwrap();
    world.session("boss").subscribe(&mailbox, &pattern, &SubscribeOptions::default()).unwrap();
    mailbox
}

#[tokio::test]
async fn a_refusing_step_leaves_nothing() {
    let world = routed(json!([
        { "name": "keeps", "from": "topic/in", "to": ["queue/a", "stream/s", "topic/next"] },
        { "name": "deeper", "from": "topic/next", "steps": [{ "filter": ".ok | if . then true else error(\"no\") end" }], "to": ["queue/b"] },
    ]))
    .await;
    let mailbox = listen(&world, "topic/#");
    let fault = world.publish("topic/in", r#"{"ok":false}"#).await.unwrap_err();
    assert_eq!(fault.code(), Code::StepFailed);
    assert!(fault.detail().starts_with("route keeps: route deeper: step 1 (filter): "), "{fault}");
    assert!(world.waiting("queue/a").await.is_empty() && world.waiting("queue/b").await.is_empty());
    assert_eq!(world.hub.broker().stream_stats(&address("stream/s")).unwrap().tail, 0);
    assert!(mailbox.is_empty());
    let receipt = world.publish("topic/in", r#"{"ok":true}"#).await.unwrap();
    assert_eq!((receipt.durable, receipt.live, receipt.routes), (3, 2, 1));
    assert_eq!(world.waiting("queue/b").await, [r#"{"ok":true}"#]);
    let stats: Vec<_> = world.hub.routes().iter().map(|r| (r.taken, r.failed, r.delivered)).collect();
    assert_eq!(stats, [(2, 1, 6), (2, 1, 1)]);
}

// Finding: I1
#[tokio::test]
async fn a_sender_that_cannot_be_told_is_not_refused_for_a_route() {
    let world = routed(json!([
        { "name": "fails", "from": "topic/in", "steps": [{ "decode": "json" }], "to": ["queue/a"] },
        { "name": "leads", "from": "topic/in", "to": ["topic/next", "queue/errors"] },
        { "name": "deep", "from": "topic/next", "steps": [{ "map": "error(\"no\")" }], "to": ["stream/s"] },
        { "name": "takes", "from": "topic/in", "to": ["queue/b"] },
    ]))
    .await;
    let mailbox = listen(&world, "topic/#");
    let boss = world.session("boss");
    let receipt = boss.publish_untold(boss.envelope(address("topic/in"), "no json")).await.unwrap();
    assert_eq!((receipt.durable, receipt.live), (1, 1));
    assert_eq!(world.waiting("queue/b").await, ["no json"]);
    assert!(world.waiting("queue/a").await.is_empty() && world.waiting("queue/errors").await.is_empty());
    assert!(!mailbox.is_empty());
    let failed: Vec<_> = world.hub.routes().iter().map(|route| route.failed).collect();
    assert_eq!(failed, [1, 1, 1, 0]);
    // Who can be told is told, and nothing is left behind.
    let fault = world.publish("topic/in", "no json").await.unwrap_err();
    assert_eq!(fault.code(), Code::DecodeFailed);
    assert_eq!(world.waiting("queue/b").await.len(), 1);
}

// Finding: I1
#[tokio::test]
async fn a_body_that_is_not_json_fits_no_condition() {
    let world = routed(json!([
        { "name": "hot", "from": "topic/in", "steps": [{ "filter": ".celsius > 75" }], "to": ["queue/a"] },
        { "name": "some", "from": "topic/in", "to": [{ "to": "queue/b", "when": ".celsius" }] },
    ]))
    .await;
    let mailbox = listen(&world, "topic/#");
    let receipt = world.publish("topic/in", "not json{").await.unwrap();
    assert_eq!((receipt.durable, receipt.live, receipt.filtered), (0, 1, true));
    assert!(!mailbox.is_empty());
}

#[tokio::test]
async fn a_missing_target_is_found_before_anything_is_stored() {
    let world = routed(json!([{ "name": "r", "from": "topic/in", "to": ["queue/a", "stream/s"] }])).await;
    world.hub.broker().remove(&address("stream/s")).await.unwrap();
    assert_eq!(world.publish("topic/in", "x").await.unwrap_err().code(), Code::UnknownAddress);
    assert!(world.waiting("queue/a").await.is_empty());
}

#[tokio::test]
async fn what_a_route_refuses_goes_where_it_says() {
    let world = routed(json!([
        { "name": "skips", "from": "topic/in", "on_error": "skip", "steps": [{ "decode": "json" }], "to": ["queue/a"] },
        { "name": "keeps", "from": "topic/in", "on_error": { "queue": "errors" }, "steps": [{ "decode": "json" }], "to": ["queue/b"] },
        { "name": "full", "from": "topic/full", "on_error": { "queue": "queue/errors" }, "to": ["queue/tiny", "topic/x"] },
    ]))
    .await;
    let receipt = world.publish("topic/in", "no json").await.unwrap();
    assert_eq!((receipt.durable, receipt.routes), (1, 2));
    assert!(world.waiting("queue/a").await.is_empty() && world.waiting("queue/b").await.is_empty());
    let kept = world.lease_one("queue/errors").await.envelope;
    assert_eq!(&kept.body[..], b"no json");
    assert_eq!(kept.headers.get("tl-route"), Some("keeps"));
    assert_eq!(kept.headers.get("tl-from"), Some("topic/in"));
    assert!(kept.headers.get("tl-fault").unwrap().starts_with("TL0014 "));
    // A target that refuses counts as well.
    world.publish("topic/full", "1").await.unwrap();
    let receipt = world.publish("topic/full", "2").await.unwrap();
    assert_eq!(receipt.durable, 1);
    let kept = world.lease_one("queue/errors").await.envelope;
    assert!(kept.headers.get("tl-fault").unwrap().starts_with("TL0007 "), "{kept:?}");
}

#[tokio::test]
async fn a_forgiving_route_answers_for_what_follows_it() {
    let world = routed(json!([
        { "name": "outer", "from": "topic/in", "on_error": "skip", "to": ["queue/a", "topic/mid"] },
        { "name": "inner", "from": "topic/mid", "steps": [{ "decode": "json" }], "to": ["queue/b"] },
    ]))
    .await;
    let receipt = world.publish("topic/in", "no json").await.unwrap();
    assert_eq!((receipt.durable, receipt.routes), (0, 1));
    assert!(world.waiting("queue/a").await.is_empty(), "its targets are all or nothing too");
    assert_eq!(world.publish("topic/mid", "no json").await.unwrap_err().code(), Code::DecodeFailed);
}

#[tokio::test]
async fn a_circle_of_topics_ends() {
    let world = routed(json!([
        { "name": "there", "from": "topic/a", "to": ["topic/b"] },
        { "name": "back", "from": "topic/b", "to": ["topic/a"] },
    ]))
    .await;
    let fault = world.publish("topic/a", "").await.unwrap_err();
    assert_eq!(fault.code(), Code::StepFailed);
}

#[tokio::test]
async fn a_chain_may_be_eight_routes_long() {
    let chain = |length: usize| -> Value {
        (0..length)
            .map(|n| json!({ "name": format!("r{n}"), "from": format!("topic/{n}"), "to": [format!("topic/{}", n + 1)] }))
            .collect()
    };
    let world = world(json!({ "routes": chain(9) })).await;
    assert_eq!(world.publish("topic/1", "").await.unwrap().routes, 1);
    let fault = world.publish("topic/0", "").await.unwrap_err();
    assert!(fault.detail().ends_with("topic/8 was reached through 8 routes in a row"), "{fault}");
}

#[tokio::test]
async fn fan_out_is_bounded_in_all() {
    let world = routed(json!([
        { "name": "one", "from": "topic/in", "to": ["topic/1", "topic/2", "topic/3"] },
        { "name": "two", "from": "topic/in", "to": ["queue/a", "queue/b"] },
    ]))
    .await;
    let fault = world.publish("topic/in", "").await.unwrap_err();
    assert_eq!(
        (fault.code(), fault.detail()),
        (Code::StepFailed, "route two: more than 4 targets for one message")
    );
    assert!(world.waiting("queue/a").await.is_empty());
}

#[tokio::test]
async fn conditions_choose_targets_and_depth_is_bounded() {
    let world = routed(json!([{
        "name": "r", "from": "topic/in", "to": [
            { "to": "queue/a", "when": ".n > 1" },
            { "to": "queue/b", "when": ".n > 2", "steps": [{ "map": ".n" }] },
        ],
    }]))
    .await;
    for n in 1..=3 {
        world.publish("topic/in", &format!(r#"{{"n":{n}}}"#)).await.unwrap();
    }
    assert_eq!(world.waiting("queue/a").await, [r#"{"n":2}"#, r#"{"n":3}"#]);
    assert_eq!(world.waiting("queue/b").await, ["3"]);
    assert_eq!(world.hub.routes()[0].filtered, 1);
    let fault = world.publish("topic/in", r#"{"n":[[[[["[["]]]]]}"#).await.unwrap_err();
    assert_eq!(fault.detail(), "route r: the JSON is nested deeper than 5 levels");
    world.publish("topic/in", r#"{"n":[[[["[[[[\"["]]]]}"#).await.unwrap();
}

#[tokio::test]
async fn two_outcomes_on_one_queue_are_two_messages_and_a_repeat_is_none() {
    let world = routed(json!([{
        "name": "r", "from": "topic/in",
        "to": [{ "to": "queue/a", "steps": [{ "map": ".x" }] }, { "to": "queue/a", "steps": [{ "map": ".y" }] }],
    }]))
    .await;
    let mut envelope = world.envelope("topic/in", r#"{"x":1,"y":2}"#);
    envelope.identify("1");
    let receipt = soon(world.session("boss").publish(envelope.clone())).await.unwrap();
    assert_eq!((receipt.durable, receipt.duplicate), (2, false));
    let receipt = soon(world.session("boss").publish(envelope)).await.unwrap();
    assert_eq!((receipt.durable, receipt.duplicate), (2, true));
    assert_eq!(world.waiting("queue/a").await, ["1", "2"]);
}

#[tokio::test]
async fn receipts_count_what_is_retained_and_what_is_live() {
    let world = routed(json!([])).await;
    let (_one, _two) = (listen(&world, "topic/#"), listen(&world, "topic/+"));
    let mut envelope = world.envelope("topic/x", "1");
    envelope.retain = true;
    let receipt = soon(world.session("boss").publish(envelope)).await.unwrap();
    assert_eq!((receipt.durable, receipt.live), (1, 2));
    let receipt = world.publish("stream/s", "1").await.unwrap();
    assert_eq!((receipt.durable, receipt.live, receipt.duplicate), (1, 0, false));
}

#[tokio::test]
async fn an_outlet_is_told_where_a_message_comes_from() {
    let server = script("told", &[]);
    let world = world(json!({
        "queues": { "a": {} },
        "outlets": { "w": { "script": "told" } },
        "routes": [
            { "name": "live", "from": "topic/plant/+", "to": ["out/w"] },
            { "name": "pumped", "from": "queue/a", "to": ["out/w"] },
        ],
    }))
    .await;
    world.publish("topic/plant/7", "1").await.unwrap();
    world.publish("queue/a", "2").await.unwrap();
    world.publish("out/w", "3").await.unwrap();
    crate::testing::until(async || server.seen.lock().len() == 3).await;
    let mut from: Vec<String> = server.seen.lock().iter().map(|(_, seen)| seen.address.to_string()).collect();
    from.sort();
    assert_eq!(from, ["out/w", "queue/a", "topic/plant/7"]);
}

/// Publishes as somebody, with an id of his choice.
async fn say(world: &World, name: &str, to: &str, id: &str, source: Option<&str>) -> message::Receipt {
    let session = world.session(name);
    let mut envelope = session.envelope(address(to), format!("{name} {to} {id}"));
    envelope.source = source.map(Into::into);
    envelope.identify(id);
    soon(session.publish(envelope)).await.unwrap()
}

// Finding: H0.1
#[tokio::test]
async fn the_same_message_is_stored_once_and_no_other_is_taken_for_it() {
    let world = routed(json!([
        { "name": "r", "from": "topic/open/+", "to": ["queue/a"] },
        { "name": "s", "from": "topic/$open", "to": ["queue/a"] },
    ]))
    .await;
    let different: [(&str, &str, &str, Option<&str>); 7] = [
        ("boss", "topic/open/x", "1", None),
        ("guest", "topic/open/x", "1", None),
        ("boss", "topic/open/y", "1", None),
        ("boss", "queue/a", "1", None),
        ("boss", "topic/open/x", "2", None),
        ("boss", "topic/open/x", "1", Some("/one")),
        ("boss", "topic/open/x", "1", Some("/two")),
    ];
    for again in [false, true] {
        for (name, to, id, source) in different {
            let receipt = say(&world, name, to, id, source).await;
            assert_eq!((receipt.durable, receipt.duplicate), (1, again), "{name} {to} {id} {source:?}");
        }
    }
    assert!(
        say(&world, "boss", "topic/open/y", "1", Some("/one")).await.duplicate,
        "an event is one wherever it is sent"
    );
    assert!(
        !say(&world, "guest", "topic/open/x", "1", Some("/one")).await.duplicate,
        "whatever source others name"
    );
    assert_eq!(world.waiting("queue/a").await.len(), different.len() + 1);
}

// Finding: H0.1
#[tokio::test]
async fn two_outcomes_at_one_queue_are_two_each_time_and_so_is_what_two_routes_rescue() {
    let fails = |name: &str| json!({ "name": name, "from": "topic/open/+", "on_error": { "queue": "errors" }, "steps": [{ "decode": "json" }], "to": ["queue/b"] });
    let twice = json!({ "name": "twice", "from": "topic/open/+", "to": ["queue/a", "queue/a"] });
    let world = routed(json!([twice, fails("one"), fails("other")])).await;
    for again in [false, true] {
        let receipt = say(&world, "boss", "topic/open/x", "1", None).await;
        assert_eq!((receipt.durable, receipt.duplicate), (4, again));
        assert_eq!((world.waiting("queue/a").await.len(), world.waiting("queue/errors").await.len()), (2, 2));
    }
}

// Finding: I6
#[tokio::test]
async fn a_target_without_room_leaves_nothing_at_the_others() {
    let world = routed(json!([
        { "name": "r", "from": "topic/in", "to": ["queue/a", "stream/s", "queue/tiny"] },
        { "name": "twice", "from": "topic/two", "to": ["queue/b", "queue/tiny", "queue/tiny"] },
    ]))
    .await;
    assert_eq!(world.publish("topic/two", "x").await.unwrap_err().code(), Code::QueueFull);
    assert!(world.waiting("queue/b").await.is_empty() && world.waiting("queue/tiny").await.is_empty());
    world.publish("topic/in", "first").await.unwrap();
    for _ in 0..5 {
        assert_eq!(world.publish("topic/in", "more").await.unwrap_err().code(), Code::QueueFull);
    }
    assert_eq!(world.waiting("queue/a").await, ["first"]);
    assert_eq!(world.hub.broker().stream_stats(&address("stream/s")).unwrap().tail, 1);
    let delivery = world.lease_one("queue/tiny").await;
    let session = world.session("boss");
    soon(session.settle(&address("queue/tiny"), delivery.token, broker::Settlement::Ack)).await.unwrap();
    world.publish("topic/in", "second").await.unwrap();
    assert_eq!(
        world.waiting("queue/a").await,
        ["first", "second"],
        "the room that was asked for was given back"
    );
}
