//! All that is wrong with a file is told in one go, and nothing that only follows from something else.

use super::*;
use crate::config::parse;

async fn check(text: &str, expected: &[&str]) {
    let document = parse(Path::new("t.yaml"), text, []).unwrap();
    let problems = document_of(document, Path::new(""), Outside::Read).await;
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        let parts: Vec<&str> = expected.split(" .. ").collect();
        assert!(parts.iter().all(|part| said.contains(part)), "{expected} in {said}");
    }
}

#[tokio::test]
async fn a_good_file_has_no_problem() {
    check("queues: {orders: {}}\nroutes: [{name: a, from: topic/x, to: [queue/orders]}]\n", &[]).await;
}

#[tokio::test]
async fn problems_of_all_parts_are_told_at_once() {
    let text = "\
limits: {mesage_bytes: 5, headers: many}
quues:
  orders: {holdd: 30s}
routes:
  - name: a
    from: topic/x
    to: [queue/ordrs, queue/orders]
    steps: [{filter: '.a =='}, {map: 'nothing_known'}]
  - from: topc/y
    to: [queue/orders]
protocols:
  mllp: {publsh: topic/a, networks: [nowhere]}
  mqqt: {}
models: {providers: {echo: {kind: ecko}}}
mcp: {upstreams: {a: {urll: 'http://127.0.0.1:1/'}}}
";
    check(
        text,
        &[
            "t.yaml:1:10: limits.mesage_bytes .. did you mean \"message_bytes\"",
            "t.yaml:1:36: limits.headers .. whole number",
            "t.yaml:2:1: quues .. did you mean \"queues\"",
            "t.yaml:3:12: queues.orders.holdd .. did you mean \"hold\"",
            "t.yaml:7:10: routes.0.to.0 .. did you mean \"orders\"",
            "t.yaml:8: .. routes.0.steps.0",
            "t.yaml:8: .. routes.0.steps.1",
            "routes.1: missing field `name`",
            "t.yaml:9: .. routes.1.from .. did you mean \"topic\"",
            "t.yaml:12:10: protocols.mllp.publsh .. did you mean \"publish\"",
            "t.yaml:12:38: protocols.mllp.networks.0",
            "t.yaml:13:3: protocols.mqqt .. did you mean \"mqtt\"",
            "t.yaml:14: .. models.providers.echo.kind",
            "t.yaml:15: .. mcp.upstreams.a.urll",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_follows_from_another_problem_is_not_told() {
    // Without its key nobody is named `lab`, and a queue that cannot be is not there for the route either.
    let text = "\
access: {keys: [{name: lab, key: secret}]}
protocols: {mllp: {principal: lab}}
queues: {$mine: {}}
routes: [{name: a, from: topic/x, to: [queue/$mine]}]
";
    check(
        text,
        &["t.yaml:1: .. access.keys.0.key", "t.yaml:3: .. queues.$mine", "t.yaml:4: .. routes.0.to.0"],
    )
    .await;
}

#[tokio::test]
async fn a_file_full_of_problems_is_cut() {
    let lines: String = (0..500).map(|place| format!("zzzzzzzzzzzz{place}: 1\n")).collect();
    let document = parse(Path::new("t.yaml"), &lines, []).unwrap();
    let problems = document_of(document, Path::new(""), Outside::Read).await;
    assert_eq!(problems.len(), PROBLEMS_MAX);
    assert!(report(&problems).contains("50 problems or more"));
}
