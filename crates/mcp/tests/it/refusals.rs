//! Every refusal with its own code: malformed, batch, media types, foreign pages, headers, keys, roles, sizes, sessions.
//! All over one gateway each, so that a refusal cannot hide behind another.

use crate::gate::{ANN, BOB, Gate, modern_body, request};
use fixtures::mcp::Era;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused() {
    let gate = Gate::before(Era::Both).await;
    for (body, status, code) in [
        ("{", 400, -32700),
        ("", 400, -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"ping"}"#, 400, -32600),
    ] {
        let answer = gate.send("POST", &[], body).await;
        assert_eq!((answer.status, answer.error()), (status, code), "{body}: {}", answer.text);
    }
    let list = request(1, "tools/list", json!({})).to_string();
    let answer = gate.send("POST", &[("Accept", "application/json")], &list).await;
    assert_eq!(answer.status, 406, "{}", answer.text);
    let answer = gate.send("POST", &[("Content-Type", "text/plain")], &list).await;
    assert_eq!(answer.status, 415, "{}", answer.text);
    for headers in [[("Host", "evil.example.com")], [("Origin", "http://evil.example.com")]] {
        assert_eq!(gate.send("POST", &headers, &list).await.status, 403);
    }
    let answer = gate.send("POST", &[], &"x".repeat((1 << 20) + 1)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(gate.send("PUT", &[], "").await.status, 405);
    assert_eq!(gate.send("GET", &[("Accept", "text/event-stream")], "").await.status, 405);
    assert_eq!(gate.send("DELETE", &[], "").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn modern_requests_must_agree_with_their_headers() {
    let gate = Gate::before(Era::Both).await;
    let call = |name: &str| {
        modern_body("tools/call", json!({ "name": name, "arguments": { "message": "hi" } }), &json!({}))
    };
    let body = call("echo").to_string();
    let right = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")];
    assert_eq!(gate.send("POST", &right, &body).await.status, 200);
    let encoded = [right[0], right[1], ("Mcp-Name", "=?base64?ZWNobw==?=")];
    assert_eq!(gate.send("POST", &encoded, &body).await.status, 200);
    for wrong in [
        vec![right[0], right[1]],
        vec![right[0], right[1], ("Mcp-Name", "ECHO")],
        vec![right[0], ("Mcp-Method", "tools/list"), right[2]],
        vec![right[0], right[2]],
        vec![right[1], right[2]],
        vec![("MCP-Protocol-Version", "2025-11-25"), right[1], right[2]],
    ] {
        let answer = gate.send("POST", &wrong, &body).await;
        assert_eq!((answer.status, answer.error()), (400, -32020), "{wrong:?}: {}", answer.text);
    }
    let answer = gate.modern("tools/call", json!({ "name": "ecko", "arguments": {} }), &[]).await;
    assert_eq!((answer.status, answer.error()), (200, -32602), "{}", answer.text);
    assert!(answer.text.contains("TL0031") && answer.text.contains("echo"), "{}", answer.text);
    let answer = gate.modern("tools/frobnicate", json!({}), &[]).await;
    assert_eq!((answer.status, answer.error()), (404, -32601));
    let answer = gate.modern("tools/call", json!({ "name": "echo", "arguments": [1] }), &[]).await;
    assert_eq!(answer.error(), -32602);
    let answer = gate.modern("tools/list", json!({ "cursor": "p99999" }), &[]).await;
    assert_eq!(answer.error(), -32602);
    let answer = gate.modern("resources/read", json!({ "uri": "test://nowhere" }), &[]).await;
    assert_eq!(answer.error(), -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_roles_hold() {
    let address = crate::gate::fixture(Era::Both).await;
    let section = json!({ "upstreams": { "fx": { "url": format!("http://{address}/mcp"), "prefix": "" } } });
    let gate = Gate::open(section, false).await;
    let answer = gate.modern("tools/list", json!({}), &[]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"trunkline\""));
    assert!(answer.text.contains("TL0001"));
    let answer = gate.modern("tools/list", json!({}), &[("Authorization", "Bearer wrong")]).await;
    assert_eq!(answer.status, 401);
    let (ann, bob) = (format!("Bearer {ANN}"), format!("Bearer {BOB}"));
    let count = |answer: &crate::gate::Answer| answer.json()["result"]["tools"].as_array().unwrap().len();
    let all = gate.modern("tools/list", json!({}), &[("Authorization", &ann)]).await;
    assert!(count(&all) > 20, "{}", all.text);
    let few = gate.modern("tools/list", json!({}), &[("Authorization", &bob)]).await;
    assert_eq!(count(&few), 2, "{}", few.text);
    let echo = json!({ "name": "echo", "arguments": { "message": "hi" } });
    assert_eq!(gate.modern("tools/call", echo, &[("X-Api-Key", BOB)]).await.status, 200);
    let add = json!({ "name": "add", "arguments": { "a": 1, "b": 2 } });
    let answer = gate.modern("tools/call", add, &[("X-Api-Key", BOB)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains("TL0031"), "{}", answer.text);
    // Our own tools act as their caller: bob may call `enqueue`, but not put anything on a queue.
    let enqueue = json!({ "name": "enqueue", "arguments": { "queue": "q", "body": "x" } });
    let answer = gate.modern("tools/call", enqueue, &[("X-Api-Key", BOB)]).await;
    assert_eq!(answer.json()["result"]["isError"], json!(true), "{}", answer.text);
    assert_eq!(answer.json()["result"]["structuredContent"]["fault"], json!("TL0002"));
    let records = gate.hub.ledger().recent(100);
    let refused = records.iter().find(|record| &*record.address == "tool/fx/add").unwrap();
    assert_eq!(
        (&*refused.principal, refused.outcome.fault().unwrap().code()),
        ("bob", message::Code::Forbidden)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_their_owners() {
    let address = crate::gate::fixture(Era::Both).await;
    let section = json!({ "sessions": 2, "upstreams": { "fx": { "url": format!("http://{address}/mcp"), "prefix": "" } } });
    let gate = Gate::open(section, false).await;
    let session = gate.initialize(&[("X-Api-Key", ANN)]).await;
    let ping = request(2, "ping", json!({})).to_string();
    let with = |key: &'static str, session: &str| {
        vec![("X-Api-Key", key), ("Mcp-Session-Id", session)]
            .into_iter()
            .map(|(a, b)| (a, b.to_owned()))
            .collect::<Vec<_>>()
    };
    let send = async |headers: Vec<(&str, String)>, method: &str, body: &str| {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        gate.send(method, &headers, body).await
    };
    let answer = send(with(ANN, &session), "POST", &ping).await;
    assert_eq!((answer.status, answer.json()["result"].clone()), (200, json!({})));
    assert_eq!(send(with(BOB, &session), "POST", &ping).await.status, 404);
    assert_eq!(send(with(ANN, "nobody"), "POST", &ping).await.status, 404);
    assert_eq!(gate.send("POST", &[("X-Api-Key", ANN)], &ping).await.status, 400);
    let mut odd = with(ANN, &session);
    odd.push(("MCP-Protocol-Version", "2024-11-05".into()));
    assert_eq!(send(odd, "POST", &ping).await.status, 400);
    gate.initialize(&[("X-Api-Key", BOB)]).await;
    let third =
        request(1, "initialize", json!({ "protocolVersion": "x", "capabilities": {}, "clientInfo": {} }))
            .to_string();
    let answer = gate.send("POST", &[("X-Api-Key", ANN)], &third).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(send(with(BOB, &session), "DELETE", "").await.status, 404);
    assert_eq!(send(with(ANN, &session), "DELETE", "").await.status, 204);
    assert_eq!(send(with(ANN, &session), "POST", &ping).await.status, 404);
    assert_eq!(gate.send("POST", &[("X-Api-Key", ANN)], &third).await.status, 200);
}
