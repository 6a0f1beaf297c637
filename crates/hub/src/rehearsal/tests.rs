//! What is told is what would happen, and nothing happens.

use super::*;
use crate::testing::{World, address, world};
use serde_json::json;

async fn lab() -> World {
    world(json!({
        "queues": { "all": {}, "odd": {} },
        "routes": [{
            "name": "sort", "from": "topic/in/+", "filtered": "refuse",
            "steps": [{ "filter": ".keep" }, { "map": "{n: (.n + 1)}" }],
            "to": ["queue/all", { "to": "queue/odd", "when": ".n % 2 == 1", "steps": [{ "map": ".n" }] }],
        }],
    }))
    .await
}

fn try_on(world: &World, body: &str) -> Rehearsal {
    world.hub.rehearse("sort", world.envelope("topic/in/a", body)).unwrap()
}

fn arriving(rehearsal: &Rehearsal) -> Vec<(String, String)> {
    let text = |envelope: &Envelope| String::from_utf8(envelope.body.to_vec()).unwrap();
    let arriving =
        rehearsal.targets.iter().filter_map(|aim| Some((aim.to.to_string(), text(aim.arrives.as_ref()?))));
    arriving.collect()
}

#[tokio::test]
async fn what_is_told_is_what_happens_and_nothing_happens() {
    let world = lab().await;
    let even = try_on(&world, r#"{"keep":true,"n":1}"#);
    assert!(even.arrives());
    assert_eq!(arriving(&even), [("queue/all".to_owned(), r#"{"n":2}"#.to_owned())]);
    assert_eq!(even.steps.iter().map(|stage| stage.name).collect::<Vec<_>>(), ["filter", "map"]);
    let odd = try_on(&world, r#"{"keep":true,"n":2}"#);
    assert_eq!(arriving(&odd)[1], ("queue/odd".to_owned(), "3".to_owned()));
    assert!(world.waiting("queue/all").await.is_empty() && world.hub.routes()[0].taken == 0);
    world.publish("topic/in/a", r#"{"keep":true,"n":2}"#).await.unwrap();
    assert_eq!(world.waiting("queue/odd").await, ["3"]);
}

#[tokio::test]
async fn where_it_ends_is_told() {
    let world = lab().await;
    let filtered = try_on(&world, r#"{"keep":false}"#);
    assert!(filtered.steps[0].made.as_ref().unwrap().is_none() && filtered.targets.is_empty());
    assert!(filtered.refused.unwrap().detail().contains("refuses what it filters"));
    let failed = try_on(&world, r#"{"keep":true,"n":"x"}"#);
    assert_eq!(failed.refused.as_ref().unwrap().code(), Code::StepFailed);
    assert!(failed.refused.unwrap().detail().starts_with("step 2 (map)"));
    assert!(try_on(&world, "no json").refused.unwrap().detail().contains("refuses what it filters"));
    let told = |name: &str, to: &str| world.hub.rehearse(name, world.envelope(to, "")).unwrap_err();
    assert!(told("srot", "topic/in/a").detail().contains("did you mean sort?"));
    assert_eq!(told("sort", "topic/out").code(), Code::BadRequest);
    assert_eq!(world.hub.source_of("sort"), Some(address("topic/in/any")));
}
