//! Starting, stopping, reloading, being killed.

use crate::harness::{ACCESS, KEY, Server, binary, text};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_stop_is_clean_and_quick() {
    let mut server = Server::start(ACCESS);
    server.signal("TERM");
    let (status, took) = server.ended();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let server = Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\n"));
    for number in 0..20 {
        server.cli(&["publish", "queue/orders", &format!("order {number}")]);
    }
    let server = Server::start_in(server.kill());
    let peeked = server.cli(&["queue", "peek", "orders", "-n", "100"]);
    for number in 0..20 {
        assert!(peeked.contains(&format!("order {number}\"")), "order {number} is lost: {peeked}");
    }
}

#[test]
fn a_good_file_is_applied_and_a_bad_one_changes_nothing() {
    let server = Server::start(&format!("{ACCESS}queues: {{a: {{}}}}\n"));
    server.configure(&format!("{ACCESS}queues: {{a: {{}}, b: {{}}}}\n"));
    server.wait_for("configuration applied");
    server.cli(&["publish", "queue/b", "x"]);
    server.configure(&format!(
        "{ACCESS}queues: {{a: {{}}, b: {{}}}}\nroutes: [{{name: r, from: topic/a, to: [queue/c]}}]\n"
    ));
    let refused = server.wait_for("configuration refused");
    assert!(refused["problem"].as_str().unwrap().contains("there is no queue \"c\""), "{refused}");
    server.cli(&["publish", "queue/b", "y"]);
}

#[test]
fn a_key_that_is_taken_out_is_refused_at_once() {
    let second = "tl_the-second-key-of-the-tests";
    let both = format!(
        "access: {{keys: [{{name: tester, key: 'env:TRUNKLINE_IT_KEY', roles: [admin]}}, {{name: second, sha256: {}, roles: [admin]}}]}}\n",
        crate::security::sha256(second)
    );
    let server = Server::start(&both);
    let authorization = format!("Bearer {second}");
    let ask = || server.http("GET", "/admin/queues", &[("authorization", &authorization)], "");
    assert_eq!(ask().status, 200);
    server.configure(ACCESS);
    let applied = server.wait_for("configuration applied");
    assert_eq!(applied["changed"], "-1 key", "{applied}");
    let refused = ask();
    assert!(refused.status == 401 && refused.body.contains("TL0001"), "{}", refused.body);
    let keyless = Command::new(binary()).args(["queue", "ls", "--url", &server.url]).output().unwrap();
    assert!(text(&keyless.stderr).contains("TRUNKLINE_KEY gives a key"), "{}", text(&keyless.stderr));
}

#[test]
fn a_port_or_folder_that_is_taken_is_named() {
    let server = Server::start(ACCESS);
    let address = server.url.trim_start_matches("http://");
    let folder = tempfile::tempdir().unwrap();
    let start = |config: String| {
        let file = folder.path().join("t.yaml");
        std::fs::write(&file, config).unwrap();
        let output = Command::new(binary())
            .args(["serve", "-c"])
            .arg(&file)
            .env("TRUNKLINE_IT_KEY", KEY)
            .output()
            .unwrap();
        assert!(!output.status.success());
        text(&output.stderr)
    };
    let said = start(format!("listen: {address}\ndata: {}\n", folder.path().join("data").display()));
    assert!(said.contains("TL0036"), "{said}");
    let said = start(format!("listen: 127.0.0.1:0\ndata: {}\n", server.folder.path().join("data").display()));
    assert!(said.contains("open"), "{said}");
}

#[test]
fn a_field_that_needs_a_restart_is_named() {
    let server = Server::start(ACCESS);
    server.configure(&format!("{ACCESS}drain: 7s\nqueues: {{late: {{}}}}\n"));
    let warned = server.wait_for("takes effect at the next start");
    assert_eq!(warned["field"], "drain", "{warned}");
    server.wait_for("configuration applied");
    server.cli(&["publish", "queue/late", "x"]);
}

// Finding: N-B1
#[test]
fn a_file_that_takes_everything_away_is_refused_unless_by_force() {
    let full = format!("{ACCESS}queues: {{a: {{}}, b: {{}}, c: {{}}}}\n");
    let server = Server::start(&full);
    // As an editor, a full disk or a failed template leave it.
    std::fs::write(server.config(), "").unwrap();
    let refused = server.wait_for("configuration refused");
    assert_eq!(refused["code"], "TL0012");
    assert!(refused["problem"].as_str().unwrap().contains("the file is empty"), "{refused}");
    server.cli(&["queue", "ls"]);
    for (text, expected) in [
        (
            "access: {keys: [{name: tester, key: 'env:TRUNKLINE_IT_KEY', roles: [viewer]}]}\nqueues: {a: {}, b: {}, c: {}}\n",
            "may manage",
        ),
        (&format!("{ACCESS}queues: {{a: {{}}}}\n"), "2 of 3 queues"),
    ] {
        server.configure(text);
        let refused = server.wait_for("configuration refused");
        assert!(refused["problem"].as_str().unwrap().contains(expected), "{refused}");
    }
    let refused = server.try_cli(&["reload"]);
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("reload --force"),
        "{}",
        text(&refused.stderr)
    );
    let applied = server.cli(&["reload", "--force"]);
    assert!(applied.contains("applied: -2 queues"), "{applied}");
    let logged = server.wait_for("configuration applied");
    assert_eq!(logged["changed"], "-2 queues");
}

// Finding: N-B1
#[test]
fn a_file_that_is_still_being_written_is_not_taken() {
    let server = Server::start(&format!("{ACCESS}queues: {{a: {{}}}}\n"));
    let began = std::time::Instant::now();
    // Each of these is a whole file; the last one counts.
    let mut number = 0;
    while began.elapsed() < Duration::from_secs(3) {
        number += 1;
        server.configure(&format!("{ACCESS}queues: {{a: {{}}, q{number}: {{}}}}\n"));
    }
    server.wait_for("configuration applied");
    let listed = server.cli(&["queue", "ls"]);
    assert!(listed.contains(&format!("q{number} ")), "{number}: {listed}");
    assert_eq!(listed.lines().filter(|line| line.starts_with('q')).count(), 1, "{listed}");
}

// Finding: N-B2
#[test]
fn a_queue_that_is_no_longer_declared_is_told_and_can_be_taken_away() {
    let three = format!("{ACCESS}queues: {{orders: {{}}, kept: {{}}, other: {{}}}}\n");
    let server = Server::start(&three);
    server.cli(&["publish", "queue/orders", "one"]);
    server.cli(&["publish", "queue/orders", "two"]);
    let early = server.try_cli(&["queue", "rm", "orders", "--yes"]);
    assert!(text(&early.stderr).contains("is in the configuration"), "{}", text(&early.stderr));
    server.configure(&format!("{ACCESS}queues: {{kept: {{}}, other: {{}}}}\n"));
    let said = "queue/orders is no longer declared but holds 2 messages";
    server.wait_for(said);
    let again = Server::start_in(server.kill());
    again.wait_for_later(said);
    let asked = again.try_cli(&["queue", "rm", "orders"]);
    assert!(text(&asked.stderr).contains("holds 2 messages"), "{}", text(&asked.stderr));
    let gone = again.cli(&["queue", "rm", "orders", "--yes"]);
    assert!(gone.contains("with it 2 messages"), "{gone}");
    assert!(!again.cli(&["queue", "ls"]).contains("orders"));
    let last = Server::start_in(again.kill());
    assert!(!last.cli(&["queue", "ls"]).contains("orders"));
}

// Finding: I19
#[test]
fn a_reload_of_a_bad_file_is_no_success() {
    let server = Server::start(ACCESS);
    let key = format!("Bearer {KEY}");
    let reload = || server.http("POST", "/admin/config/reload", &[("authorization", &key)], "");
    assert_eq!(reload().status, 200);
    server.configure(&format!("{ACCESS}quues: {{}}\nlimits: {{mailbox: many}}\n"));
    let refused = reload();
    let document: serde_json::Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(
        (refused.status, &document["code"], &document["ok"]),
        (422, &"TL0012".into(), &false.into()),
        "{document}"
    );
    assert_eq!(document["problems"].as_array().unwrap().len(), 2, "{document}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
}

// Finding: H0.3
#[test]
fn a_changed_limit_of_connections_holds_at_once() {
    let server = Server::start(ACCESS);
    server.configure(&format!("{ACCESS}limits: {{connections: 77, peer_connections: 66}}\n"));
    let applied = server.wait_for("configuration applied");
    assert_eq!(applied["changed"], "limits changed", "{applied}");
    let key = format!("Bearer {KEY}");
    let metrics = server.http("GET", "/metrics", &[("authorization", &key)], "");
    assert!(metrics.body.contains("trunkline_connections_limit 77"), "{}", metrics.body);
}
