//! Upstreams that do what none should: very long lists, cursors in a circle, answers twice, to others' questions, too large, in no
//! encoding, or never. One bad answer is one call's fault; the others go on.

use crate::gate::{Gate, eventually, fixture, request};
use crate::upstreams::{canned, http, id_of};
use fixtures::mcp::Era;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn result(request: &str, result: &Value) -> String {
    http("application/json", &json!({ "jsonrpc": "2.0", "id": id_of(request), "result": result }).to_string())
}

fn discovered() -> Value {
    json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } })
}

async fn before(address: std::net::SocketAddr) -> Gate {
    Gate::open(
        json!({ "upstreams": { "odd": { "url": format!("http://{address}/mcp"), "prefix": "" } } }),
        true,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tools_are_listed_and_called() {
    let address = canned(|request| match request {
        _ if request.contains("server/discover") => result(request, &discovered()),
        _ if request.contains("tools/list") => {
            let tools: Vec<Value> = (0..10_050).map(|number| tool(&format!("t{number}"))).collect();
            result(request, &json!({ "tools": tools }))
        }
        _ => result(request, &json!({ "content": [{ "type": "text", "text": "called" }] })),
    })
    .await;
    let gate = before(address).await;
    let (mut count, mut pages, mut cursor) = (0, 0, Value::Null);
    loop {
        let params = if cursor.is_null() { json!({}) } else { json!({ "cursor": cursor }) };
        let page = gate.modern("tools/list", params, &[]).await.json()["result"].clone();
        count += page["tools"].as_array().unwrap().len();
        pages += 1;
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!((count, pages), (10_004, 11), "the first 10,000, and our own");
    let last = gate.modern("tools/call", json!({ "name": "t9999", "arguments": {} }), &[]).await;
    assert!(last.text.contains("called"), "{}", last.text);
    let beyond = gate.modern("tools/call", json!({ "name": "t10001", "arguments": {} }), &[]).await;
    assert_eq!(beyond.error(), -32602, "{}", beyond.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_in_a_circle_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let address = canned(move |request| {
        if request.contains("server/discover") {
            return result(request, &discovered());
        }
        count.fetch_add(1, Ordering::Relaxed);
        let next = if request.contains("\"cursor\":\"a\"") { "b" } else { "a" };
        result(request, &json!({ "tools": [tool("one"), tool(next), tool("one")], "nextCursor": next }))
    })
    .await;
    let gate = before(address).await;
    let listed = gate.modern("tools/list", json!({}), &[]).await.json();
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["one", "a", "b", "publish", "enqueue", "lease", "settle"], "each once");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_question_is_none() {
    let address = canned(|request| match request {
        _ if request.contains("server/discover") => result(request, &discovered()),
        _ if request.contains("tools/list") => result(request, &json!({ "tools": [tool("x")] })),
        _ => http("application/json", r#"{"jsonrpc":"2.0","id":424242,"result":{"content":[]}}"#),
    })
    .await;
    let gate = before(address).await;
    let answer = gate.modern("tools/call", json!({ "name": "x", "arguments": {} }), &[]).await;
    assert!(answer.text.contains("TL0032"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_has_an_end() {
    let address = fixture(Era::Both).await;
    let url = format!("http://{address}/mcp");
    let section = json!({ "upstreams": { "fx": { "url": url, "prefix": "", "timeout": "200ms" } } });
    let gate = Gate::open(section, true).await;
    let call = json!({ "name": "wait", "arguments": { "ms": 60_000 } });
    let modern = gate.modern("tools/call", call.clone(), &[]).await;
    assert!(modern.text.contains("TL0009"), "{}", modern.text);
    let session = gate.initialize(&[]).await;
    let legacy = gate.in_session(&session, "tools/call", call).await;
    assert!(legacy.text.contains("TL0009"), "{}", legacy.text);
}

/// A child that misbehaves as the tool's name says.
const CHILD: &str = r#"
say() { printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}\n' "$1" "$2"; }
while read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case "$line" in
    *'"server/discover"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"what?"}}\n' "$id" ;;
    *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}}\n' "$id" ;;
    *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[' "$id"
      for name in twice foreign huge late broken never pid; do printf '{"name":"%s","inputSchema":{"type":"object"}},' "$name"; done
      printf '{"name":"end","inputSchema":{"type":"object"}}]}}\n' ;;
    *'"twice"'*) say "$id" first; say "$id" second ;;
    *'"foreign"'*) say 999999 foreign; say '"x"' foreign; say "$id" own ;;
    *'"huge"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":"' "$id"; head -c 3000000 /dev/zero | tr '\0' x; printf '"}}\n' ;;
    *'"late"'*) printf '{"result":{"content":"'; head -c 3000000 /dev/zero | tr '\0' x; printf '"},"jsonrpc":"2.0","id":%s}\n' "$id" ;;
    *'"broken"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":"\377"}}\n' "$id" ;;
    *'"pid"'*) say "$id" "pid $$" ;;
  esac
done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_child_may_say_anything() {
    let section = json!({ "upstreams": { "sh": {
        "command": "sh", "args": ["-c", CHILD], "prefix": "", "message": "1MiB", "timeout": "3s", "breaker": { "failures": 100 },
    } } });
    let gate = Gate::open(section, true).await;
    let call = async |name: &str| {
        gate.modern("tools/call", json!({ "name": name, "arguments": {} }), &[]).await.text
    };
    let pid = call("pid").await;
    assert!(pid.contains("pid "), "{pid}");
    for (name, said) in [
        ("twice", "first"),
        ("foreign", "own"),
        ("huge", "TL0003"),
        ("late", "TL0003"),
        ("broken", "TL0032"),
        ("never", "TL0009"),
    ] {
        let answer = call(name).await;
        assert!(answer.contains(said), "{name}: {answer}");
        assert!(!answer.contains("second") && !answer.contains("foreign"), "{name}: {answer}");
    }
    assert_eq!(call("pid").await, pid, "it is the same child still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_fails_its_calls_and_rests_before_it_comes_back() {
    let script = CHILD
        .replace("*'\"never\"'*) ;;", "")
        .replace("*'\"pid\"'*)", "*'\"end\"'*) exit 3 ;;\n    *'\"pid\"'*)");
    let section = json!({ "upstreams": { "sh": { "command": "sh", "args": ["-c", script], "prefix": "" } } });
    let gate = Gate::open(section, true).await;
    let call = async |name: &str| {
        gate.modern("tools/call", json!({ "name": name, "arguments": {} }), &[]).await.text
    };
    let before = call("pid").await;
    let dying = async {
        eventually("the first call is under way", || gate.gateway.upstreams()[0].in_flight == 1).await;
        call("end").await
    };
    let (first, second) = tokio::join!(call("never"), dying);
    for answer in [first, second] {
        assert!(answer.contains("TL0008") && answer.contains("upstream sh"), "{answer}");
    }
    let after = crate::gate::eventually_some(async || {
        let answer = call("pid").await;
        answer.contains("pid ").then_some(answer)
    })
    .await;
    assert_ne!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_roots_are_told_to_the_upstreams_session() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let address = canned(move |request| {
        let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if body.contains("notifications/roots/list_changed") && request.contains("mcp-session-id: s-1") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        match body {
            _ if body.contains("server/discover") => http(
                "application/json",
                &json!({ "jsonrpc": "2.0", "id": id_of(request), "error": { "code": -32601, "message": "what?" } }).to_string(),
            ),
            _ if body.contains("\"initialize\"") => {
                let welcome = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "o", "version": "1" } });
                result(request, &welcome).replacen("Content-Type", "Mcp-Session-Id: s-1\r\nContent-Type", 1)
            }
            _ if body.contains("tools/list") => result(request, &json!({ "tools": [tool("x")] })),
            _ if body.contains("tools/call") => result(request, &json!({ "content": [] })),
            _ if request.starts_with("GET") => "HTTP/1.1 405 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
            _ => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
        }
    })
    .await;
    let gate = before(address).await;
    let session = gate.initialize(&[]).await;
    let headers = [("Mcp-Session-Id", session.as_str())];
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" }).to_string();
    assert_eq!(gate.send("POST", &headers, &note).await.status, 202);
    assert_eq!(told.load(Ordering::Relaxed), 0, "the client has no session there yet");
    let called = gate.in_session(&session, "tools/call", json!({ "name": "x", "arguments": {} })).await;
    assert!(called.text.contains("content"), "{}", called.text);
    assert_eq!(gate.send("POST", &headers, &note).await.status, 202);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let other = gate.initialize(&[]).await;
    assert_eq!(gate.send("POST", &[("Mcp-Session-Id", other.as_str())], &note).await.status, 202);
    assert_eq!(told.load(Ordering::Relaxed), 1, "another client's roots are its own");
    assert_eq!(gate.send("POST", &headers, &request(3, "ping", json!({})).to_string()).await.status, 200);
}
