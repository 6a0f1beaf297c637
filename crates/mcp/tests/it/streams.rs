//! Streams of sessions that break and are taken up again, and batches.
//! A connection breaks here by being dropped.

use crate::gate::{Gate, events, eventually, read_until, request};
use fixtures::mcp::Era;
use serde_json::{Value, json};

fn ids(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("id: ").map(str::to_owned)).collect()
}

async fn open(gate: &Gate, version: &str) -> String {
    let params = json!({ "protocolVersion": version, "capabilities": { "roots": { "listChanged": true }, "elicitation": {} }, "clientInfo": { "name": "t", "version": "1" } });
    let answer = gate.send("POST", &[], &request(1, "initialize", params).to_string()).await;
    answer.header("mcp-session-id").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_its_connection() {
    let gate = Gate::before(Era::Legacy).await;
    let session = gate.initialize(&[]).await;
    let headers = [("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", "2025-11-25")];
    let call = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let mut seen = String::new();
    {
        let mut stream = gate.begin("POST", &headers, &request(9, "tools/call", call).to_string()).await;
        read_until(&mut stream, &mut seen, "elicitation/create").await;
        read_until(&mut stream, &mut seen, "}\n\n").await;
    }
    assert!(seen.contains("retry: "), "{seen}");
    let question = events(&seen).pop().unwrap();
    let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": { "username": "ann", "email": "a@example.com" } } });
    assert_eq!(gate.send("POST", &headers, &reply.to_string()).await.status, 202);
    eventually("the call has ended", || gate.gateway.upstreams()[0].in_flight == 0).await;
    let ids = ids(&seen);
    let resume = async |last: &str| {
        let headers = [("Mcp-Session-Id", session.as_str()), ("Last-Event-ID", last)];
        gate.send("GET", &headers, "").await
    };
    // From the question on only the answer is missing; from the opening on both; the same as often as the connection breaks.
    for (last, missing) in [(&ids[1], 1), (&ids[0], 2), (&ids[1], 1)] {
        let rest = resume(last).await;
        let events = rest.events();
        assert_eq!(events.len(), missing, "{}", rest.text);
        assert!(events[missing - 1]["id"] == json!(9) && rest.text.contains("ann"), "{}", rest.text);
    }
    let end = resume(&self::ids(&resume(&ids[1]).await.text).pop().unwrap()).await;
    assert_eq!(end.events(), Vec::<Value>::new(), "nothing is missing: {}", end.text);
    let (stream, _) = ids[0].split_once('-').unwrap();
    for stale in [format!("{stream}-99"), "999-1".into(), "what".into(), String::new()] {
        let refused = resume(&stale).await;
        assert_eq!(refused.status, 400, "{stale}: {}", refused.text);
        assert!(
            refused.text.contains("TL0028") && refused.text.contains("no longer kept"),
            "{}",
            refused.text
        );
    }
    // Another's session does not see it, as it does not see the session.
    let other = gate.initialize(&[]).await;
    let headers = [("Mcp-Session-Id", other.as_str()), ("Last-Event-ID", ids[0].as_str())];
    assert_eq!(gate.send("GET", &headers, "").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standing_stream_loses_nothing_between_two_connections() {
    let gate = Gate::before(Era::Legacy).await;
    let session = gate.initialize(&[]).await;
    let stand = async |last: Option<&str>| {
        let mut headers = vec![("Mcp-Session-Id", session.as_str()), ("Accept", "text/event-stream")];
        headers.extend(last.map(|last| ("Last-Event-ID", last)));
        gate.begin("GET", &headers, "").await
    };
    let trigger = async |tool: &str| {
        gate.in_session(&session, "tools/call", json!({ "name": tool, "arguments": {} })).await;
    };
    let mut seen = String::new();
    let mut standing = stand(None).await;
    read_until(&mut standing, &mut seen, ": open").await;
    trigger("test_trigger_tool_change").await;
    read_until(&mut standing, &mut seen, "tools/list_changed").await;
    read_until(&mut standing, &mut seen, "}\n\n").await;
    drop(standing);
    let last = ids(&seen).pop().unwrap();
    trigger("test_trigger_prompt_change").await;
    let mut again = String::new();
    let mut standing = stand(Some(&last)).await;
    read_until(&mut standing, &mut again, "prompts/list_changed").await;
    let number = |id: &String| id.strip_prefix("0-").unwrap().parse::<u64>().unwrap();
    let numbers: Vec<u64> = ids(&again).iter().map(number).collect();
    let wanted: Vec<u64> = (number(&last)..).take(numbers.len()).collect();
    assert_eq!(numbers, wanted, "behind the opening it goes on where it stopped: {again}");
    drop(standing);
    // As if the first change had not arrived.
    let (mut lost, mut standing) = (String::new(), stand(Some("0-0")).await);
    read_until(&mut standing, &mut lost, "tools/list_changed").await;
    read_until(&mut standing, &mut lost, "prompts/list_changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_long_becomes_a_stream() {
    let gate = Gate::before(Era::Legacy).await;
    let session = gate.initialize(&[]).await;
    let slow = async |ms: u64| {
        gate.in_session(&session, "tools/call", json!({ "name": "wait", "arguments": { "ms": ms } })).await
    };
    let (quick, slow) = tokio::join!(slow(10), slow(5_300));
    assert!(quick.header("content-type").unwrap().contains("json"), "{}", quick.text);
    assert_eq!(slow.header("content-type"), Some("text/event-stream"));
    assert_eq!(ids(&slow.text).len(), 2, "the opening and the answer: {}", slow.text);
    assert!(slow.json()["result"]["content"].is_array(), "{}", slow.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_back_and_the_call_ends() {
    let address = crate::gate::fixture(Era::Legacy).await;
    let section = json!({ "upstreams": { "fx": { "url": format!("http://{address}/mcp"), "prefix": "" } }, "resume_for": "100ms" });
    let gate = Gate::open(section, true).await;
    let session = gate.initialize(&[]).await;
    let headers = [("Mcp-Session-Id", session.as_str())];
    let call = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let mut seen = String::new();
    let mut stream = gate.begin("POST", &headers, &request(9, "tools/call", call).to_string()).await;
    read_until(&mut stream, &mut seen, "elicitation/create").await;
    assert_eq!(gate.gateway.upstreams()[0].in_flight, 1);
    drop(stream);
    eventually("the call is given up", || gate.gateway.upstreams()[0].in_flight == 0).await;
    let last = ids(&seen)[0].clone();
    let headers = [("Mcp-Session-Id", session.as_str()), ("Last-Event-ID", last.as_str())];
    assert_eq!(gate.send("GET", &headers, "").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_revision_has_batches() {
    let gate = Gate::before(Era::Legacy).await;
    let echo = |id: u64, text: &str| {
        request(id, "tools/call", json!({ "name": "echo", "arguments": { "message": text } }))
    };
    let session = open(&gate, "2025-03-26").await;
    let headers = [("Mcp-Session-Id", session.as_str())];
    let send = async |batch: Value| gate.send("POST", &headers, &batch.to_string()).await;
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let answer = send(json!([
        echo(1, "one"),
        note,
        request(2, "ping", json!({})),
        5,
        request(3, "initialize", json!({}))
    ]))
    .await;
    let all: Vec<Value> = serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!((answer.status, all.len()), (200, 4), "{}", answer.text);
    assert_eq!(
        all.iter().map(|one| one["id"].clone()).collect::<Vec<_>>(),
        [json!(1), json!(2), Value::Null, json!(3)]
    );
    assert!(all[0].to_string().contains("one") && all[1]["result"] == json!({}));
    assert!(all[2]["error"]["code"] == json!(-32600) && all[3]["error"]["code"] == json!(-32600));
    assert_eq!(send(json!([note])).await.status, 202);
    // A part that speaks first makes the whole a stream.
    let progress = request(
        4,
        "tools/call",
        json!({ "name": "test_tool_with_progress", "arguments": {}, "_meta": { "progressToken": "t" } }),
    );
    let streamed = send(json!([progress, echo(5, "five")])).await;
    let events = streamed.events();
    assert!(events.len() >= 5 && !streamed.text.contains("id: "), "{}", streamed.text);
    for id in [4, 5] {
        assert_eq!(
            events.iter().filter(|event| event["id"] == json!(id) && event.get("result").is_some()).count(),
            1
        );
    }
    for wrong in [json!([]), Value::Array((0..65).map(|id| request(id, "ping", json!({}))).collect())] {
        let refused = send(wrong).await;
        assert_eq!((refused.status, refused.error()), (400, -32600), "{}", refused.text);
    }
    for version in ["2025-06-18", "2025-11-25"] {
        let session = open(&gate, version).await;
        let refused = gate
            .send("POST", &[("Mcp-Session-Id", session.as_str())], &json!([echo(1, "x")]).to_string())
            .await;
        assert_eq!((refused.status, refused.error()), (400, -32600), "{}", refused.text);
        assert!(refused.text.contains(version) && refused.text.contains("2025-03-26"), "{}", refused.text);
    }
    let modern = gate
        .send("POST", &[("MCP-Protocol-Version", "2026-07-28")], &json!([echo(1, "x")]).to_string())
        .await;
    assert!(modern.status == 400 && modern.text.contains("2026-07-28"), "{}", modern.text);
}
