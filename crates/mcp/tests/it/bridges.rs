//! The four combinations of a client's era and an upstream's: calls, questions in the middle of a call, retries, traces.
//! The same tool of the same fixture each time, so that only the bridge differs.

use crate::gate::{Answer, Gate, modern_body, read_until, request};
use fixtures::mcp::Era;
use serde_json::{Value, json};

fn text(answer: &Answer) -> String {
    answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_combinations_call_read_and_prompt() {
    for upstream in [Era::Both, Era::Legacy, Era::Modern] {
        let gate = Gate::before(upstream).await;
        let session = gate.initialize(&[]).await;
        let echo = json!({ "name": "echo", "arguments": { "message": "grüezi" } });
        let read = json!({ "uri": "test://static-text" });
        let prompt =
            json!({ "name": "test_prompt_with_arguments", "arguments": { "arg1": "x", "arg2": "y" } });
        let modern = gate.modern("tools/call", echo.clone(), &[]).await;
        assert_eq!(modern.json()["result"]["resultType"], json!("complete"), "{upstream:?}: {}", modern.text);
        assert!(text(&modern).contains("grüezi"));
        let legacy = gate.in_session(&session, "tools/call", echo).await;
        assert!(text(&legacy).contains("grüezi"), "{upstream:?}");
        assert!(legacy.json()["result"].get("resultType").is_none(), "{}", legacy.text);
        let modern = gate.modern("resources/read", read.clone(), &[]).await;
        assert!(modern.json()["result"]["ttlMs"].is_u64(), "{upstream:?}: {}", modern.text);
        let legacy = gate.in_session(&session, "resources/read", read).await;
        assert!(legacy.json()["result"]["contents"][0]["text"].is_string(), "{upstream:?}: {}", legacy.text);
        for answer in [
            gate.modern("prompts/get", prompt.clone(), &[]).await,
            gate.in_session(&session, "prompts/get", prompt).await,
        ] {
            assert!(answer.json()["result"]["messages"].is_array(), "{upstream:?}: {}", answer.text);
        }
        let status = &gate.gateway.upstreams()[0];
        assert_eq!((status.state, status.transport), ("ready", "http"));
        assert!(status.tools > 20 && status.last_error.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_client_answers_an_upstream_with_sessions() {
    let gate = Gate::before(Era::Legacy).await;
    let call = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let asked = gate.modern("tools/call", call.clone(), &[]).await.json()["result"].clone();
    assert_eq!(asked["resultType"], json!("input_required"), "{asked}");
    assert_eq!(asked["inputRequests"]["q1"]["method"], json!("elicitation/create"), "{asked}");
    let with = |state: &Value, arguments: Value, answers: Value| {
        let mut retry = call.clone();
        retry["arguments"] = arguments;
        retry["requestState"] = state.clone();
        retry["inputResponses"] = answers;
        retry
    };
    let same = call["arguments"].clone();
    let answer =
        json!({ "q1": { "action": "accept", "content": { "username": "ann", "email": "a@example.com" } } });
    // Of another request the state is nobody's, and the call waits on.
    let other = gate
        .modern(
            "tools/call",
            with(&asked["requestState"], json!({ "message": "other" }), answer.clone()),
            &[],
        )
        .await;
    assert_eq!(other.error(), -32602, "{}", other.text);
    // Without the answer it is asked again, with a new state.
    let again =
        gate.modern("tools/call", with(&asked["requestState"], same.clone(), json!({ "x": {} })), &[]).await;
    let again = again.json()["result"].clone();
    assert_eq!(again["resultType"], json!("input_required"), "{again}");
    assert_ne!(again["requestState"], asked["requestState"]);
    let done =
        gate.modern("tools/call", with(&again["requestState"], same.clone(), answer.clone()), &[]).await;
    assert!(text(&done).contains("ann"), "{}", done.text);
    // A state serves once.
    let replayed = gate.modern("tools/call", with(&again["requestState"], same, answer), &[]).await;
    assert_eq!(replayed.error(), -32602, "{}", replayed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_asked_at_once_are_shown_together() {
    let gate = Gate::before(Era::Legacy).await;
    let mut call = json!({ "name": "test_input_required_result_multiple_inputs", "arguments": {} });
    let asked = gate.modern("tools/call", call.clone(), &[]).await.json()["result"].clone();
    let questions = asked["inputRequests"].as_object().unwrap_or_else(|| panic!("{asked}")).clone();
    assert_eq!(questions.len(), 3, "{asked}");
    call["requestState"] = asked["requestState"].clone();
    for (key, question) in &questions {
        call["inputResponses"][key] = match question["method"].as_str().unwrap() {
            "elicitation/create" => json!({ "action": "accept", "content": { "name": "ann" } }),
            "roots/list" => json!({ "roots": [] }),
            _ => json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "hi" } }),
        };
    }
    let done = gate.modern("tools/call", call, &[]).await;
    assert!(text(&done).contains("ann") && text(&done).contains("hi"), "{}", done.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_session_answers_a_stateless_upstream() {
    for upstream in [Era::Modern, Era::Both] {
        let gate = Gate::before(upstream).await;
        let session = gate.initialize(&[]).await;
        let name = if upstream == Era::Modern {
            "test_input_required_result_elicitation"
        } else {
            "test_elicitation"
        };
        let call =
            request(9, "tools/call", json!({ "name": name, "arguments": { "message": "who?" } })).to_string();
        let headers = [("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", "2025-11-25")];
        let mut stream = gate.begin("POST", &headers, &call).await;
        let mut seen = String::new();
        read_until(&mut stream, &mut seen, "elicitation/create").await;
        read_until(&mut stream, &mut seen, "}\n\n").await;
        let question = crate::gate::events(&seen).pop().unwrap();
        let content = json!({ "name": "ann", "username": "ann", "email": "a@example.com" });
        let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": content } });
        let taken = gate.send("POST", &headers, &reply.to_string()).await;
        assert_eq!(taken.status, 202, "{}", taken.text);
        read_until(&mut stream, &mut seen, "\"id\":9").await;
        read_until(&mut stream, &mut seen, "ann").await;
        assert_eq!(
            gate.send("POST", &headers, &reply.to_string()).await.status,
            400,
            "nothing is asked any more"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_reach_the_upstream() {
    for upstream in [Era::Modern, Era::Legacy] {
        let gate = Gate::before(upstream).await;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        let by_header = gate
            .modern("tools/call", json!({ "name": "inspect_request" }), &[("traceparent", &parent)])
            .await;
        assert!(by_header.text.matches(trace).count() >= 2, "in headers and _meta: {}", by_header.text);
        assert!(!by_header.text.contains("b7ad6b7169203331"), "the span is ours: {}", by_header.text);
        let params =
            json!({ "name": "inspect_request", "_meta": { "traceparent": parent, "vendor/x": 1.50 } });
        let by_meta = gate.modern("tools/call", params, &[]).await;
        assert!(by_meta.text.contains(trace) && by_meta.text.contains("vendor/x"), "{}", by_meta.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_cancellation_pass() {
    for upstream in [Era::Modern, Era::Legacy] {
        let gate = Gate::before(upstream).await;
        let params = json!({ "name": "test_tool_with_progress", "arguments": {}, "_meta": { "progressToken": "tok" } });
        let events = gate.modern("tools/call", params.clone(), &[]).await.events();
        assert!(events.len() >= 4, "{events:?}");
        assert!(
            events[..3].iter().all(|event| event["params"]["progressToken"] == json!("tok")),
            "{events:?}"
        );
        let session = gate.initialize(&[]).await;
        let events = gate.in_session(&session, "tools/call", params).await.events();
        assert!(events.len() >= 4, "{events:?}");
        // A cancelled call ends, long before the tool would.
        let call = request(
            5,
            "tools/call",
            json!({ "name": "wait", "arguments": { "ms": 60_000, "milliseconds": 60_000, "seconds": 60 } }),
        );
        let headers = [("Mcp-Session-Id", session.as_str())];
        let (call, cancel) = (
            call.to_string(),
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } }),
        );
        let cancelling = async {
            crate::gate::eventually("the call is under way", || gate.gateway.upstreams()[0].in_flight == 1)
                .await;
            gate.send("POST", &headers, &cancel.to_string()).await
        };
        let (ended, taken) = tokio::join!(gate.send("POST", &headers, &call), cancelling);
        assert_eq!((ended.status, taken.status), (202, 202), "{}", ended.text);
        crate::gate::eventually("the call is given up", || gate.gateway.upstreams()[0].in_flight == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_messages_need_a_level() {
    let gate = Gate::before(Era::Legacy).await;
    let logs = |answer: &Answer| {
        answer.events().iter().filter(|event| event["method"] == "notifications/message").count()
    };
    let params = json!({ "name": "test_tool_with_logging", "arguments": {} });
    assert_eq!(logs(&gate.modern("tools/call", params.clone(), &[]).await), 0);
    let mut loud = params;
    loud["_meta"]["io.modelcontextprotocol/logLevel"] = json!("debug");
    assert_eq!(logs(&gate.modern("tools/call", loud.clone(), &[]).await), 3);
    loud["_meta"]["io.modelcontextprotocol/logLevel"] = json!("error");
    assert_eq!(logs(&gate.modern("tools/call", loud, &[]).await), 0);
    let body = modern_body(
        "tools/list",
        json!({ "_meta": { "io.modelcontextprotocol/logLevel": "loud" } }),
        &json!({}),
    );
    let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")];
    assert_eq!(gate.send("POST", &headers, &body.to_string()).await.error(), -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_a_gateway_keeps_its_own_state() {
    let inner = Gate::before(Era::Legacy).await;
    let url = format!("http://{}/mcp", inner.address);
    let section =
        json!({ "upstreams": { "in": { "url": url, "prefix": "" } }, "tools": { "publish": false } });
    let outer = Gate::open(section, true).await;
    let mut call = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let asked = outer.modern("tools/call", call.clone(), &[]).await.json()["result"].clone();
    call["requestState"] = asked["requestState"].clone();
    call["inputResponses"] =
        json!({ "q1": { "action": "accept", "content": { "username": "ann", "email": "a@example.com" } } });
    let done = outer.modern("tools/call", call, &[]).await;
    assert!(text(&done).contains("ann"), "{asked} {}", done.text);
}
