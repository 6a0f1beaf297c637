//! Every field of the file either takes effect at a reload or is said to wait for the next start.

use super::*;
use crate::config::reference::schema;
use std::collections::BTreeSet;

/// Sections that are handed to parts that take them while they run.
const LIVE: [&str; 12] = [
    "access",
    "audit",
    "idempotency",
    "limits",
    "mcp",
    "models",
    "outlets",
    "protocols",
    "queues",
    "queues_on_demand",
    "routes",
    "streams",
];

fn program(text: &str) -> Program {
    let document = parse(Path::new("t.yaml"), text, []).unwrap();
    take_apart(&document, Path::new("")).unwrap().program
}

// Finding: H0.3
#[test]
fn a_field_that_is_read_at_the_start_only_is_told() {
    let whole = schema();
    let mut waits = BTreeSet::new();
    let other = [
        ("listen", "127.0.0.1:1"),
        ("ports", "[{listen: '127.0.0.1:2'}]"),
        ("tls", "{certificate: c, key: k}"),
        ("data", "elsewhere"),
        ("durability", "buffered"),
        ("store", "{spare_segments_max: 7}"),
        ("broker", "{addresses_counted_max: 7}"),
        ("client", "{connect_ms: 7}"),
        ("log", "{level: debug}"),
        ("egress", "{allow: [a]}"),
        ("drain", "7s"),
    ];
    for (field, value) in other {
        assert_eq!(changed(&program(""), &program(&format!("{field}: {value}"))), [field]);
        waits.insert(field);
    }
    let all: BTreeSet<&str> = whole["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(waits.union(&LIVE.into()).copied().collect::<BTreeSet<_>>(), all);
}
