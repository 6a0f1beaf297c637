//! Messages through the whole program, over the command line: topics, queues, tools, models, dead letters.

use crate::harness::{ACCESS, Server};
use serde_json::Value;

#[test]
fn a_message_goes_through_a_route_into_a_queue_and_out() {
    let config = "queues: {hot: {}}\nroutes:\n  - name: heat\n    from: topic/plant/+/temp\n    steps:\n      - filter: .celsius > 75\n      \
                  - map: '{plant, alarm: \"hot\"}'\n    to: [queue/hot]\n";
    let server = Server::start(&format!("{ACCESS}{config}"));
    server.cli(&["publish", "topic/plant/7/temp", r#"{"plant":7,"celsius":20}"#]);
    let receipt: Value =
        serde_json::from_str(&server.cli(&["publish", "topic/plant/7/temp", r#"{"plant":7,"celsius":80}"#]))
            .unwrap();
    assert_eq!(receipt["durable"], 1, "{receipt}");
    let leased = server.cli(&["queue", "lease", "hot", "-n", "10", "--ack"]);
    assert_eq!(leased.lines().count(), 1, "{leased}");
    assert!(leased.contains("alarm"), "{leased}");
    let rows: Value = serde_json::from_str(&server.cli(&["queue", "ls", "--json"])).unwrap();
    assert_eq!(rows["items"][0]["depth"], 0, "{rows}");
}

#[test]
fn a_route_is_tried_on_the_command_line() {
    let config = "queues: {hot: {}}\nroutes: [{name: heat, from: topic/plant/+/temp, steps: [{filter: .celsius > 75}, {map: '{plant}'}], to: [queue/hot]}]\n";
    let server = Server::start(&format!("{ACCESS}{config}"));
    let hot = server.cli(&["route", "test", "heat", r#"{"plant":7,"celsius":80}"#]);
    assert!(
        hot.contains("2 map       {\"plant\":7}\n-> queue/hot\n") && hot.ends_with("delivered\n"),
        "{hot}"
    );
    let cold = server.cli(&["route", "test", "heat", r#"{"plant":7,"celsius":8}"#]);
    assert!(cold.contains("1 filter    lets it go"), "{cold}");
    let other = server.cli(&["route", "test", "heat", "no json"]);
    assert!(other.contains("1 filter    lets it go"), "{other}");
    let broken = server.try_cli(&["route", "test", "heat", "[1]"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(crate::harness::text(&broken.stdout).contains("refused: TL0013"), "{broken:?}");
    let peeked = server.cli(&["queue", "peek", "queue/hot"]);
    assert!(
        peeked.lines().count() <= 1,
        "an address is taken for its name, and nothing was stored: {peeked}"
    );
    let listed = server.cli(&["route", "ls"]);
    assert!(listed.contains("heat  topic/plant/+/temp  filter map  queue/hot  0"), "{listed}");
}

#[test]
fn a_message_that_cannot_be_delivered_becomes_a_dead_letter_and_is_replayed() {
    let config = "queues: {bills: {}}\noutlets: {nobody: {http: {url: 'http://127.0.0.1:9/'}, breaker: {failures: 100}}}\n\
                  routes: [{name: bill, from: queue/bills, to: [out/nobody], retry: {count: 2, first: 10ms}}]\n";
    let server = Server::start(&format!("{ACCESS}{config}"));
    server.cli(&["publish", "queue/bills", "{\"amount\":1}"]);
    let dead = server.eventually(&["queue", "dead", "bills"], |said| said.contains("TL0008"));
    assert!(dead.matches(" ms  TL0008").count() >= 2, "both attempts are kept: {dead}");
    assert!(server.cli(&["queue", "replay", "bills", "--all"]).contains("1 put back"));
    server.eventually(&["queue", "ls", "--json"], |said| {
        let rows: Value = serde_json::from_str(said).unwrap();
        let bills = rows["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == "bills")
            .cloned()
            .unwrap_or_default();
        bills["died"] == 2
    });
}

#[test]
fn tools_and_models_answer() {
    let server = Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\n"));
    let tools = server.cli(&["tools", "ls"]);
    assert!(tools.contains("publish"), "{tools}");
    server.cli(&["tools", "call", "publish", r#"{"address":"queue/orders","body":"by a tool"}"#]);
    assert!(server.cli(&["queue", "peek", "orders"]).contains("by a tool"));
    assert!(server.cli(&["models", "ls"]).contains("echo"));
    assert!(server.cli(&["models", "ask", "echo", "hello there"]).contains("hello there"));
}

#[test]
fn refusals_carry_their_code() {
    let server =
        Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\nlimits: {{message_bytes: 100}}\n"));
    let check = |arguments: &[&str], code: &str| {
        let output = server.try_cli(arguments);
        let said = crate::harness::text(&output.stderr);
        assert!(!output.status.success() && said.contains(code), "{arguments:?} said {said}");
    };
    check(&["publish", "queue/oders", "x"], "TL0010");
    check(&["publish", "queue/orders", &"x".repeat(200)], "TL0003");
    check(&["publish", "queue/orders", "x", "--key", "tl_somebody-else-entirely"], "TL0001");
    check(&["tools", "call", "no_such_tool", "{}"], "TL0031");
    check(&["models", "ask", "no-such-model", "hi"], "TL0030");
    check(&["queue", "replay", "nowhere", "--all"], "TL0010");
}

#[test]
fn headers_given_on_the_command_line_arrive_as_they_were_typed() {
    let server = Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\n"));
    server.cli(&["publish", "queue/orders", "x", "-H", "Ward=Zürich 100%", "-k", "4711"]);
    let leased: Value = serde_json::from_str(&server.cli(&["queue", "lease", "orders"])).unwrap();
    assert_eq!(leased["headers"]["ward"], "Zürich 100%", "{leased}");
    assert_eq!(leased["key"], "4711", "{leased}");
}
