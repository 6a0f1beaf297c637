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
    for shape in ["#   - listen:", "#   NAME:", "#     messages: 1000000", "#   allow: []"] {
        assert!(printed.contains(shape), "the default file lacks {shape}");
    }
    for default in [
        "message_bytes: 1048576",
        "reply_bytes: 16777216",
        "durability: fsync",
        "level: info",
        "method: POST",
    ] {
        assert!(printed.contains(default), "the default file lacks {default}");
    }
    let schema: serde_json::Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).unwrap();
    for section in ["listen", "access", "routes", "outlets", "protocols", "mcp", "models", "queues"] {
        assert!(schema["properties"][section].is_object(), "the schema lacks {section}");
    }
}

// Finding: H0.2, H0.4
#[test]
fn all_that_is_documented_can_be_set() {
    let schema: serde_json::Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).unwrap();
    let resolve = |value: &serde_json::Value| match value["$ref"].as_str() {
        Some(name) => schema.pointer(name.trim_start_matches('#')).unwrap().clone(),
        None => value.clone(),
    };
    let fields_at = |path: &[&str]| -> std::collections::BTreeSet<String> {
        let found = path.iter().fold(schema.clone(), |value, key| resolve(&value["properties"][key]));
        found["properties"].as_object().unwrap_or_else(|| panic!("{path:?}")).keys().cloned().collect()
    };
    let fields_of = |schema: schemars::Schema| -> std::collections::BTreeSet<String> {
        schema.as_value()["properties"].as_object().unwrap().keys().cloned().collect()
    };
    for (path, of_type) in [
        (&["protocols", "http"][..], fields_of(schemars::schema_for!(net::http::Settings))),
        (&["broker"], fields_of(schemars::schema_for!(broker::Settings))),
        (&["store"], fields_of(schemars::schema_for!(store::Options))),
        (&["client"], fields_of(schemars::schema_for!(net::Settings))),
        (&["limits"], fields_of(schemars::schema_for!(message::Limits))),
    ] {
        assert_eq!(fields_at(path), of_type, "{path:?}");
    }
    // And the file is read as the schema says.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yaml");
    let text = "protocols: {http: {head_ms: 5000}}\nbroker: {addresses_counted_max: 5, retained: {topics: 3}}\n\
                store: {segment_bytes: 33554432}\nclient: {connect_ms: 700}\n";
    std::fs::write(&file, text).unwrap();
    let checked = run(&["config", "check", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", crate::harness::text(&checked.stderr));
    for (bad, expected) in [
        ("store: {segment_bytes: 1000}", "65,536"),
        ("store: {segment_bytes: 65536}", "must fit into half a segment"),
        ("broker: {lane_batch_max: 0}", "at least 1"),
        ("store: {durability: memory}", "unknown field"),
    ] {
        std::fs::write(&file, bad).unwrap();
        let said = crate::harness::text(&run(&["config", "check", file.to_str().unwrap()]).stderr);
        assert!(said.contains(expected), "{bad}: {said}");
    }
}

// Finding: H0.4
#[test]
fn a_setting_of_the_broker_holds() {
    let access = crate::harness::ACCESS;
    let server = crate::harness::Server::start(&format!("{access}broker: {{retained: {{topics: 1}}}}\n"));
    let key = format!("Bearer {}", crate::harness::KEY);
    let retain = |topic: &str| {
        server.http("POST", &format!("/api/topics/{topic}?retain=true"), &[("authorization", &key)], "x").body
    };
    assert!(retain("a").contains("durable"));
    assert!(retain("b").contains("TL0007"));
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

#[test]
fn the_example_for_production_is_valid_with_its_secrets_and_names_the_missing_one() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/production.yaml");
    let check = |names: &[&str]| {
        let mut command = std::process::Command::new(crate::harness::binary());
        command.args(["config", "check", example]);
        for name in names {
            command.env(name, format!("tl_a-key-for-the-{name}"));
        }
        command.output().unwrap()
    };
    let missing = text(&check(&["OPERATOR_KEY"]).stderr);
    assert!(missing.contains("the environment variable \"SENSOR_KEY\" is not set"), "{missing}");
    let output = check(&["OPERATOR_KEY", "SENSOR_KEY", "CLERK_KEY"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
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
        "2:35",
        "there is no queue \"nowhere\"",
    );
    check("routes:\n  - name: a\n    from: topics/x\n    to: [topic/y]\n", "3:11", "did you mean \"topic\"?");
    check(
        "queues: {q: {}}\nroutes:\n  - name: a\n    from: topic/x\n    steps:\n      - map: '.a | input'\n    to: [queue/q]\n",
        "6:9",
        "input is refused: a step sees one message",
    );
    check("access: {keys: [{name: a, key: in-clear, roles: [admin]}]}\n", "1:32", "never the value itself");
    check("outlets:\n  shop: {htp: {url: 'http://127.0.0.1:1'}}\n", "2:10", "did you mean \"http\"?");
    check("protocols:\n  mqqt: {}\n", "2:3", "did you mean \"mqtt\"?");
    check(
        "listen: localhost:7400\n",
        "1:9",
        "listen: no address to listen on: write an IP address and a port",
    );
    check(
        "routes: [{name: a, from: topic/x, to: [topic/y], steps: [{filtr: .a}]}]\n",
        "1:59",
        "did you mean \"filter\"?",
    );
    check("listen: 7400\n", "1:9", "write an IP address and a port");
    check("log: {format: yaml}\n", "1:15", "log.format: unknown word");
    check("log: {level: inof}\n", "1:14", "did you mean \"info\"?");
    check("limits: {message_bytes: -1}\n", "1:25", "expected a whole number that is not negative");
    check("durability: sync\n", "1:13", "durability: unknown word `sync`");
    check("queues: {a: 3}\n", "1:13", "expected a map of fields");
    check("access:\n\tkeys: []\n", "2:2", "indent with spaces");
    check("tls: {certificate: /nowhere/a.pem, key: /nowhere/b.pem}\n", "1:1", "/nowhere/a.pem");
    check("protocols: {mllp: {publish: topic/in, principal: ghost}}\n", "1:50", "nobody under access.keys");
    check("models: {aliases: {y: {provider: n, model: y}}}\n", "1:34", "there is no provider \"n\"");
}

#[test]
fn a_slip_in_the_environment_is_named_with_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yaml");
    std::fs::write(&file, "drain: 5s\n").unwrap();
    let mut command = std::process::Command::new(crate::harness::binary());
    let output =
        command.args(["config", "check"]).arg(&file).env("TRUNKLINE__LISTEN", "nowhere").output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("TRUNKLINE__LISTEN") && !said.contains("drain: 5s"), "{said}");
}

/// What a command must fail with, by exit code and words.
fn fails(arguments: &[&str], code: i32, words: &str) {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: expected {words:?}: {said}");
}

#[test]
fn slips_on_the_command_line_are_answered_with_what_to_do() {
    fails(&["serve", "-c", "/nowhere/t.yaml"], 1, "trunkline config default > /nowhere/t.yaml");
    fails(&["queue", "ls", "--url", "127.0.0.1:1"], 1, "start one with: trunkline demo");
    fails(&["queue", "ls", "--url", "https://127.0.0.1:1"], 1, "without `tls` in its configuration");
    fails(&["queue", "ls", "--url", "ftp://x"], 1, "write http://HOST:PORT");
    fails(&["subscribe", "queue/orders"], 1, "trunkline queue peek orders");
    fails(&["publish", "tool/x", "{}"], 1, "trunkline tools call x");
    fails(&["publish", "orders", "{}"], 1, "trunkline explain TL0011");
    fails(&["demo", "--listen", "127.0.0.1:0", "--data", "/proc/nowhere"], 1, "--data names it");
    fails(&["srve"], 2, "serve");
    fails(&["explain", "nonsense"], 1, "all of them: trunkline explain");
    assert!(text(&run(&["--help"]).stdout).starts_with("One program through which agents"));
}

#[test]
fn all_slips_of_a_file_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yaml");
    let config = "ruotes: []\nlimits: {headrs: 3}\nqueues: {a: {hold: soon}}\nprotocols: {mqqt: {}}\n";
    std::fs::write(&file, config).unwrap();
    for arguments in [["config", "check"], ["serve", "-c"]] {
        let refused = run(&[arguments[0], arguments[1], file.to_str().unwrap()]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        for part in ["t.yaml:1:1: ", "t.yaml:2:10: ", "t.yaml:3:20: ", "t.yaml:4:13: ", "4 problems"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

#[test]
fn the_doctor_looks_at_the_machine_the_file_and_the_servers_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yaml");
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let open = held.local_addr().unwrap();
    let config = format!(
        "listen: {open}\ndata: {}/data\noutlets: {{shop: {{http: {{url: 'http://{open}/'}}}}}}\n\
         mcp: {{upstreams: {{helper: {{command: no-such-program-here}}}}}}\n",
        folder.path().display()
    );
    std::fs::write(&file, config).unwrap();
    let looked = run(&["doctor", "-c", file.to_str().unwrap(), "--url", "http://127.0.0.1:1"]);
    let said = text(&looked.stdout);
    for part in [
        "ok    the clock says 20",
        "open files are allowed",
        "MiB are free on the disk of",
        "t.yaml can be used",
        "no server answers at http://127.0.0.1:1",
        &format!("FAIL  the port {open} cannot be opened"),
        &format!("ok    outlets.shop: 127.0.0.1:{} can be reached", open.port()),
        "look  mcp.upstreams.helper: there is no program no-such-program-here",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(looked.status.code(), Some(1), "{said}");
}
