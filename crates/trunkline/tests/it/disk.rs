//! A disk that is full, as an operator and a consumer see it.

use crate::harness::{ACCESS, KEY, Server};
use serde_json::Value;

/// A log that may take three small segments.
const SMALL: &str = "\
store: {segment_bytes: 4194304, disk_bytes_max: 12582912}
broker: {record_bytes_max: 2097152}
limits: {message_bytes: 262144}
queues: {q: {}}
";
const BODY_BYTES: usize = 200_000;

fn with_key() -> String {
    format!("Bearer {KEY}")
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let key = with_key();
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let answer = server.http(method, path, &headers, body);
    let body = if answer.header("transfer-encoding").is_some() { whole(&answer.body) } else { answer.body };
    (answer.status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// A body that came in pieces (RFC 9112 §7.1), put together.
fn whole(mut pieces: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = pieces.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let (piece, behind) = rest.split_at(size);
        body += piece;
        pieces = behind.trim_start_matches("\r\n");
    }
    body
}

fn fill(server: &Server) -> u64 {
    for stored in 0..1_000 {
        let (status, said) = ask(server, "POST", "/api/queues/q", &"x".repeat(BODY_BYTES));
        if status == 503 {
            assert_eq!(said["code"], "TL0019", "{said}");
            assert!(said["detail"].as_str().unwrap().contains("no space"), "{said}");
            return stored;
        }
    }
    panic!("the disk was never full");
}

fn lease(server: &Server) -> Vec<Value> {
    let (status, said) = ask(server, "POST", "/api/queues/q/lease", r#"{"max": 1}"#);
    assert_eq!(status, 200, "{said}");
    said["deliveries"]
        .as_array()
        .or(said["messages"].as_array())
        .or(said["items"].as_array())
        .unwrap()
        .clone()
}

fn metric(server: &Server, name: &str) -> String {
    let key = with_key();
    let said = server.http("GET", "/metrics", &[("authorization", &key)], "").body;
    said.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
}

// Finding: B1
#[test]
fn a_full_disk_says_so_and_is_drained_after_a_kill_by_acknowledgements_alone() {
    let server = Server::start(&format!("{ACCESS}{SMALL}"));
    let stored = fill(&server);
    assert!(stored > 10, "{stored}");
    let (status, ready) = ask(&server, "GET", "/readyz", "");
    assert_eq!((status, ready["reasons"][0]["code"].as_str()), (503, Some("TL0019")), "{ready}");
    assert_eq!(metric(&server, "trunkline_store_full"), "trunkline_store_full 1");
    let doctor = server.try_cli(&["doctor", "--url", &server.url]);
    assert!(crate::harness::text(&doctor.stdout).contains("its disk is full"), "{doctor:?}");
    // A lease that was granted before a refusal is as good after it.
    let held = lease(&server);
    assert_eq!(ask(&server, "POST", "/api/queues/q", &"x".repeat(BODY_BYTES)).0, 503);
    let ack = |server: &Server, one: &Value| {
        let token = one["token"].as_str().unwrap();
        ask(server, "POST", &format!("/api/queues/q/leases/{token}"), r#"{"action": "ack"}"#)
    };
    let (status, said) = ack(&server, &held[0]);
    assert_eq!(status, 200, "{said}");
    let server = Server::start_in(server.kill());
    let mut drained = 1;
    while drained < stored {
        let got = lease(&server);
        let (status, said) = ack(&server, &got[0]);
        assert_eq!(status, 200, "{said}");
        drained += 1;
    }
    let key = with_key();
    server.eventually(&["queue", "ls"], |_| {
        let ready = server.http("GET", "/readyz", &[("authorization", &key)], "");
        ready.status == 200 && ask(&server, "POST", "/api/queues/q", "again").0 < 300
    });
    assert_eq!(metric(&server, "trunkline_store_full"), "trunkline_store_full 0");
}

// Finding: B1
#[test]
fn a_purge_frees_a_full_disk_and_is_answered() {
    let server = Server::start(&format!("{ACCESS}{SMALL}"));
    let stored = fill(&server);
    // Who is refused over and over is on record, and must not stand in the way of the purge.
    for _ in 0..50 {
        ask(&server, "POST", "/api/queues/q", &"x".repeat(BODY_BYTES));
    }
    let (status, said) = ask(&server, "POST", "/admin/queues/q/purge", "");
    assert_eq!((status, said["purged"].as_u64()), (200, Some(stored)), "{said}");
    server.eventually(&["queue", "ls"], |_| ask(&server, "POST", "/api/queues/q", "again").0 < 300);
}
