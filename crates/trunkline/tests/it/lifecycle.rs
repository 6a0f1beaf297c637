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
    let server = Server::start(ACCESS);
    server.cli(&["queue", "ls"]);
    server.configure("access: {}\n");
    server.wait_for("configuration applied");
    let refused = server.try_cli(&["queue", "ls"]);
    assert!(text(&refused.stderr).contains("TL0001"), "{}", text(&refused.stderr));
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
