//! What people type, and what they read when they slip.

use crate::harness::{run, text};

#[test]
fn version_and_explain() {
    assert!(text(&run(&["version"]).stdout).starts_with("trunkline 0."));
    let page = text(&run(&["explain", "TL0012"]).stdout);
    assert!(page.contains("bad configuration") && page.contains("## What to do"), "{page}");
    assert!(text(&run(&["explain"]).stdout).lines().count() > 30);
    let unknown = run(&["explain", "TL9999"]);
    assert!(!unknown.status.success());
    assert!(text(&unknown.stderr).contains("there is no fault code"));
}

#[test]
fn the_default_configuration_is_valid_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trunkline.yaml");
    let printed = run(&["config", "default"]);
    std::fs::write(&file, &printed.stdout).unwrap();
    let checked = run(&["config", "check", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let printed = text(&printed.stdout);
    for field in ["listen:", "message_bytes:", "trust_loopback:", "deliveries:", "upstreams:", "open_for:"] {
        assert!(printed.contains(field), "the default file lacks {field}");
    }
    let schema: serde_json::Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).unwrap();
    for section in ["listen", "access", "routes", "outlets", "protocols", "mcp", "models", "queues"] {
        assert!(schema["properties"][section].is_object(), "the schema lacks {section}");
    }
}

#[test]
fn the_example_configuration_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let example = std::fs::read_to_string(format!("{root}/trunkline.yaml")).unwrap();
    let key = folder.path().join("demo.key");
    std::fs::write(&key, "tl_a-key-that-is-long-enough").unwrap();
    let file = folder.path().join("trunkline.yaml");
    std::fs::write(&file, example.replace("file:demo.key", &format!("file:{}", key.display()))).unwrap();
    std::fs::copy(format!("{root}/lab-result.schema.json"), folder.path().join("lab-result.schema.json"))
        .unwrap();
    let checked = run(&["config", "check", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

/// A wrong file, the place and the words that must be said.
fn check(config: &str, place: &str, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yaml");
    std::fs::write(&file, config).unwrap();
    let checked = run(&["config", "check", file.to_str().unwrap()]);
    let said = text(&checked.stderr);
    assert!(!checked.status.success(), "accepted: {config}");
    assert!(said.contains(&format!("t.yaml:{place}: ")), "expected {place}: {said}");
    assert!(said.contains(words), "expected {words:?}: {said}");
}

#[test]
fn slips_in_a_configuration_are_pointed_at() {
    check("ruotes: []\n", "1:1", "did you mean \"routes\"?");
    check("queues:\n  orders: {hold: soon}\n", "2:18", "no span of time");
    check(
        "routes:\n  - {name: a, from: topic/x, to: [queue/nowhere]}\n",
        "2:36",
        "there is no queue \"nowhere\"",
    );
    check("routes:\n  - name: a\n    from: topics/x\n    to: [topic/y]\n", "3:11", "did you mean \"topic\"?");
    check(
        "queues: {q: {}}\nroutes:\n  - name: a\n    from: topic/x\n    steps:\n      - map: 'def f: f; f'\n    to: [queue/q]\n",
        "6:14",
        "",
    );
    check("access: {keys: [{name: a, key: in-clear, roles: [admin]}]}\n", "1:32", "never the value itself");
    check("outlets:\n  shop: {htp: {url: 'http://127.0.0.1:1'}}\n", "2:10", "did you mean \"http\"?");
    check("protocols:\n  mqqt: {}\n", "2:3", "did you mean \"mqtt\"?");
}
