//! What a change says, and which change is refused.

use super::*;
use crate::config::{parse, take_apart};
use std::path::Path;

fn read(text: &str) -> (Settings, Value) {
    let document = parse(Path::new("t.yaml"), text, []).unwrap();
    (take_apart(&document, Path::new("")).unwrap(), document.value())
}

fn change(old: &str, new: &str) -> Change {
    let ((old, old_value), (new, new_value)) = (read(old), read(new));
    Change::between((&old, &old_value), (&new, &new_value))
}

const KEYS: &str = "access: {keys: [{name: boss, key: 'env:A', roles: [admin]}, {name: look, key: 'env:B', roles: [viewer]}]}\n";

// Finding: N-B1
#[test]
fn a_change_is_told_by_kinds() {
    let check = |old: &str, new: &str, expected: &str| assert_eq!(change(old, new).to_string(), expected);
    check(KEYS, KEYS, "nothing");
    check("queues: {a: {}}", "queues: {a: {}, b: {}, c: {hold: 1s}}", "+2 queues");
    check("queues: {a: {}, b: {}, c: {}}", "queues: {a: {hold: 1s}, b: {}}", "-1 queue, 1 queue changed");
    check(
        "routes: [{name: a, from: topic/a, to: [topic/b]}]\nlimits: {mailbox: 5}",
        "routes: [{name: b, from: topic/a, to: [topic/b]}]\nlimits: {mailbox: 6}\ndrain: 3s",
        "+1 route, -1 route, drain changed, limits changed",
    );
    check(
        "models: {aliases: {a: {provider: echo}, b: {provider: echo}}}",
        "mcp: {upstreams: {u: {command: x}}}",
        "+1 upstream, -2 aliases",
    );
}

// Finding: N-B1
#[test]
fn what_a_broken_file_would_take_away_is_refused() {
    let check = |old: &str, new: &str, expected: Option<&str>| {
        let alarm = change(old, new).alarm();
        match expected {
            Some(expected) => {
                assert!(alarm.as_deref().is_some_and(|why| why.contains(expected)), "{alarm:?}")
            }
            None => assert_eq!(alarm, None, "{old} -> {new}"),
        }
    };
    check(KEYS, "", Some("empty"));
    check(KEYS, "# nothing\n", Some("empty"));
    check("", "", None);
    check("", KEYS, None);
    check(KEYS, "access: {keys: [{name: look, key: 'env:B', roles: [viewer]}]}", Some("may manage"));
    check(KEYS, "access: {keys: [{name: boss, key: 'env:A', roles: [admin]}]}", None);
    check(KEYS, "access: {anonymous: [admin], keys: [{name: look, key: 'env:B', roles: [viewer]}]}", None);
    check(KEYS, "access: {trust_loopback: true}", Some("2 of 2 keys"));
    for section in ["queues", "streams"] {
        let with = |names: &str| format!("{section}: {{{names}}}\n{KEYS}");
        check(&with("a: {}, b: {}, c: {}, d: {}"), &with("a: {}, b: {}"), None);
        check(&with("a: {}, b: {}, c: {}, d: {}"), &with("a: {}, e: {}, f: {}, g: {}"), Some("3 of 4"));
        check(&with("a: {}"), KEYS, Some("1 of 1"));
    }
    let upstreams = |names: &str| format!("mcp: {{upstreams: {{{names}}}}}\n{KEYS}");
    check(&upstreams("a: {command: x}, b: {command: x}"), &upstreams("a: {command: y}"), None);
    check(&upstreams("a: {command: x}, b: {command: x}"), KEYS, Some("2 of 2 upstreams"));
    let route = "routes: [{name: a, from: topic/a, to: [topic/b]}]\n";
    check(&format!("{route}{KEYS}"), KEYS, Some("1 of 1 route"));
    check("outlets: {a: {http: {url: 'http://a/'}}}\ndrain: 1s", "drain: 1s", None);
}
