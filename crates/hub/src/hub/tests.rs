//! A configuration is applied whole or not at all, and what did not change goes on.

use crate::testing::{Act, address, config, script, until, world};
use message::Misfit;
use serde_json::{Value, json};

async fn misfit(more: Value) -> Misfit {
    let world = world(
        json!({ "queues": { "a": {} }, "routes": [{ "name": "r", "from": "topic/x", "to": ["queue/a"] }] }),
    )
    .await;
    let before = world.hub.config();
    let result = world.hub.apply(config(more.clone())).await;
    assert!(world.hub.check(&config(more)).is_err());
    assert_eq!(world.hub.config(), before);
    assert_eq!(world.publish("topic/x", "").await.unwrap().durable, 1, "the old route still runs");
    assert!(!world.hub.broker().exists(&address("queue/new")), "nothing of it was begun");
    result.unwrap_err()
}

#[tokio::test]
async fn a_bad_route_changes_nothing_and_says_where() {
    let route = |route: Value| json!({ "queues": { "new": {}, "b": {} }, "routes": [route] });
    check_misfits([
        (
            route(json!({ "name": "r", "from": "topic/x", "to": ["queue/nwe"] })),
            "routes.0.to.0: there is no queue \"nwe\" under `queues`; did you mean \"new\"?",
        ),
        (
            route(json!({ "name": "r", "from": "queue/nwe", "to": ["topic/x"] })),
            "routes.0.from: there is no queue \"nwe\"",
        ),
        (
            route(json!({ "name": "r", "from": "topic/x", "to": ["topic/x"] })),
            "routes.0.to: the route sends to \"topic/x\", from where it takes",
        ),
        (
            route(json!({ "name": "r", "from": "topic/x", "to": [] })),
            "routes.0.to: a route needs at least one target",
        ),
        (
            route(json!({ "name": "r", "from": "topic/x", "to": ["tool/x"] })),
            "routes.0.to.0.to: tool cannot be the target",
        ),
        (
            route(json!({ "name": "r", "from": "topic/x", "to": ["queue/$out/w"] })),
            "names that begin with `$`",
        ),
        (
            route(json!({ "name": "r", "from": "queue/+", "to": ["topic/x"] })),
            "routes.0.from: a route takes from one queue",
        ),
        (
            route(
                json!({ "name": "r", "from": "topic/x", "to": ["queue/new"], "on_error": { "queue": "nwe" } }),
            ),
            "routes.0.on_error: there is no queue \"nwe\"",
        ),
        (
            route(json!({ "name": "r", "from": "queue/b", "to": ["queue/new"], "on_error": "skip" })),
            "routes.0.on_error: a queue keeps what fails",
        ),
        (
            route(json!({ "name": "r", "from": "topic/x", "to": ["queue/new"], "steps": [{ "map": "(" }] })),
            "routes.0.steps.0",
        ),
        (
            route(json!({ "name": "r", "from": "queue/b", "to": ["topic/x"], "concurrency": 0 })),
            "routes.0.concurrency: from 1 to 256",
        ),
        (
            route(json!({ "name": "r", "from": "queue/b", "to": ["topic/x"], "retry": { "jitter": 2 } })),
            "routes.0.retry.jitter: a share",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_limit_queue_outlet_or_key_changes_nothing() {
    check_misfits([
        (json!({ "queues": { "new": { "hold": "0s" } } }), "queues.new.hold: with 0"),
        (json!({ "queues": { "new": {} }, "limits": { "fan_out": 0 } }), "limits.fan_out: with 0"),
        (
            json!({ "queues": { "new": {} }, "limits": { "message_bytes": 8 << 20 } }),
            "limits.message_bytes: queues keep messages of at most 7340032 bytes",
        ),
        (json!({ "queues": { "new": {}, "$x": {} } }), "queues.$x: names that begin"),
        (
            json!({ "queues": { "new": {} }, "outlets": { "w": { "scrpt": "x" } } }),
            "outlets.w.scrpt: \"scrpt\" is no outlet's protocol; did you mean \"script\"?",
        ),
        (
            json!({ "queues": { "new": {} }, "outlets": { "w": { "script": 1 } } }),
            "outlets.w.script: invalid type",
        ),
        (
            json!({ "queues": { "new": {} }, "outlets": { "w": {} } }),
            "outlets.w: an outlet has exactly one protocol section",
        ),
        (
            json!({ "queues": { "new": {} }, "access": { "keys": [{ "name": "local", "sha256": "01".repeat(32) }] } }),
            "access.keys.0.name: \"local\"",
        ),
    ])
    .await;
}

async fn check_misfits(cases: impl IntoIterator<Item = (Value, &str)>) {
    for (bad, expected) in cases {
        let text = misfit(bad).await.to_string();
        assert!(text.contains(expected), "{text}\n  is not\n{expected}");
    }
}

#[tokio::test]
async fn circles_through_queues_are_refused() {
    let text = misfit(json!({
        "queues": { "new": {}, "b": {} },
        "routes": [
            { "name": "there", "from": "queue/new", "to": ["topic/mid"] },
            { "name": "on", "from": "topic/mid", "to": ["queue/b"] },
            { "name": "back", "from": "queue/b", "to": ["queue/new"] },
        ],
    }))
    .await
    .to_string();
    assert_eq!(text, "routes.0.to: what this route sends comes back to queue/new by way of \"back\"");
}

#[tokio::test]
async fn what_did_not_change_goes_on() {
    script("stays", &[Act::Fail]);
    let setup = |failures: u32| {
        json!({
            "queues": { "a": {} },
            "outlets": { "w": { "script": "stays", "retry": { "first": "1h" }, "breaker": { "failures": failures } } },
            "routes": [{ "name": "r", "from": "topic/x", "to": ["queue/a"] }],
        })
    };
    let world = world(setup(1)).await;
    world.publish("topic/x", "").await.unwrap();
    world.publish("out/w", "").await.unwrap();
    until(async || world.hub.outlets()[0].opened == 1).await;
    world.hub.apply(config(setup(1))).await.unwrap();
    assert_eq!((world.hub.outlets()[0].opened, world.hub.routes()[0].taken), (1, 1));
    world.hub.apply(config(setup(2))).await.unwrap();
    assert_eq!(
        (world.hub.outlets()[0].opened, world.hub.routes()[0].taken),
        (0, 1),
        "a changed outlet is a new one"
    );
}

#[tokio::test]
async fn queues_are_made_on_demand_only_when_told() {
    let world = world(json!({ "queues_on_demand": true })).await;
    assert_eq!(world.publish("queue/new", "x").await.unwrap().durable, 1);
    world.hub.apply(config(json!({}))).await.unwrap();
    assert_eq!(world.publish("queue/new", "y").await.unwrap().durable, 1, "what is there stays");
    assert!(world.publish("queue/newer", "z").await.is_err());
}
