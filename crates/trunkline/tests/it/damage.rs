//! Damage to the files of a data folder, as its operator meets it: in the log, in the metrics, in `doctor`.

use crate::harness::{ACCESS, KEY, Server, text};
use std::fs;
use std::path::{Path, PathBuf};

/// The newest segment with records in a folder of the store.
fn newest(server: &Path, folder: &str) -> PathBuf {
    let entries = fs::read_dir(server.join("data").join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "segment"));
    paths.sort();
    paths.retain(|path| fs::read(path).unwrap()[4096..4196].iter().any(|byte| *byte != 0));
    paths.pop().unwrap()
}

fn get(server: &Server, path: &str) -> (u16, String) {
    let answer = server.http("GET", path, &[("authorization", &format!("Bearer {KEY}"))], "");
    (answer.status, answer.body)
}

/// The damage is where an operator looks.
fn told(server: &Server) {
    let (_, metrics) = get(server, "/metrics");
    assert!(metrics.contains("trunkline_store_damage 1"), "{metrics}");
    let doctor = server.try_cli(&["doctor"]);
    assert!(text(&doctor.stdout).contains("its store is damaged"), "{}", text(&doctor.stdout));
}

// Finding: B6
#[test]
fn a_flipped_bit_in_a_table_costs_its_own_value_and_is_told() {
    let server = Server::start(ACCESS);
    for number in 0..5 {
        let path = format!("/api/topics/plant/{number}?retain=true");
        let body = format!("value {number}");
        let answer = server.http("POST", &path, &[("authorization", &format!("Bearer {KEY}"))], &body);
        assert!(answer.status < 300, "{} {}", answer.status, answer.body);
    }
    let folder = server.kill();
    let path = newest(folder.path(), "tables");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"value 2").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let server = Server::start_in(folder);
    for number in 0..5 {
        let (status, body) = get(&server, &format!("/api/topics/plant/{number}"));
        assert_eq!(status, if number == 2 { 404 } else { 200 }, "value {number}: {body}");
    }
    told(&server);
}

// Finding: B7
#[test]
fn a_log_without_its_end_is_told_with_what_it_lost() {
    for emptied in [false, true] {
        let server = Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\n"));
        for number in 0..20 {
            server.cli(&["publish", "queue/orders", &format!("order {number}")]);
        }
        let folder = server.kill();
        let path = newest(folder.path(), "log");
        if emptied {
            fs::write(&path, b"").unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let server = Server::start_in(folder);
        let (_, overview) = get(&server, "/admin/overview");
        assert!(overview.contains("\"state\":\"damaged\""), "{overview}");
        server.cli(&["publish", "queue/orders", "what comes next"]);
    }
}

// Finding: B7
#[test]
fn a_flipped_bit_in_the_newest_acknowledged_message_is_told() {
    let server = Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\n"));
    for number in 0..3 {
        server.cli(&["publish", "queue/orders", &format!("order {number}")]);
    }
    let folder = server.kill();
    let path = newest(folder.path(), "log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"order 2").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let server = Server::start_in(folder);
    let peeked = server.cli(&["queue", "peek", "orders", "-n", "100"]);
    assert!(
        peeked.contains("order 0") && peeked.contains("order 1") && !peeked.contains("order 2"),
        "{peeked}"
    );
    told(&server);
}
