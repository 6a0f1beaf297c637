//! Tasks through the gateway: each client's own, each at its upstream, in both eras.
//! The fixture makes them; what the conformance suite checks is not repeated.

use crate::gate::{ANN, BOB, Gate, events, eventually_some, fixture, modern_body, read_until, request};
use fixtures::mcp::Era;
use serde_json::{Value, json};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn capable() -> Value {
    json!({ "elicitation": {}, "extensions": { EXTENSION: {} } })
}

/// A request of a stateless client that has the extension.
async fn ask(gate: &Gate, key: &str, method: &str, params: Value) -> Value {
    let body = modern_body(method, params, &capable());
    let name = body["params"]["name"].as_str().or(body["params"]["taskId"].as_str()).unwrap_or("").to_owned();
    let bearer = format!("Bearer {key}");
    let headers = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", method),
        ("Mcp-Name", name.as_str()),
        ("Authorization", bearer.as_str()),
    ];
    gate.send("POST", &headers, &body.to_string()).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_owners_at_its_upstream() {
    let (one, two) = (fixture(Era::Modern).await, fixture(Era::Modern).await);
    let section = json!({ "upstreams": {
        "one": { "url": format!("http://{one}/mcp") },
        "fx": { "url": format!("http://{two}/mcp") },
    } });
    let gate = Gate::open(section, false).await;
    let mut ids = Vec::new();
    for name in ["one_slow_compute", "fx_slow_compute"] {
        let made =
            ask(&gate, ANN, "tools/call", json!({ "name": name, "arguments": { "seconds": 0 } })).await;
        assert_eq!(made["result"]["resultType"], json!("task"), "{made}");
        let id = made["result"]["taskId"].as_str().unwrap().to_owned();
        assert!(!id.starts_with("task-"), "the upstream's own id is not shown: {id}");
        ids.push(id);
    }
    for id in &ids {
        let done = eventually_some(async || {
            let task = ask(&gate, ANN, "tasks/get", json!({ "taskId": id })).await["result"].clone();
            (task["status"] == json!("completed")).then_some(task)
        })
        .await;
        assert_eq!(done["taskId"], json!(id));
        assert!(done["result"]["content"][0]["text"].is_string(), "{done}");
        for method in ["tasks/get", "tasks/cancel"] {
            let other = ask(&gate, BOB, method, json!({ "taskId": id })).await;
            assert_eq!(other["error"]["code"], json!(-32602), "{other}");
        }
    }
    let (payload, _) = ids[0].split_once('.').unwrap();
    let (_, seal) = ids[1].split_once('.').unwrap();
    let forged = ask(&gate, ANN, "tasks/get", json!({ "taskId": format!("{payload}.{seal}") })).await;
    assert_eq!(forged["error"]["code"], json!(-32602), "{forged}");
    let undeclared = gate
        .modern("tasks/get", json!({ "taskId": ids[0] }), &[("Authorization", &format!("Bearer {ANN}"))])
        .await;
    assert_eq!((undeclared.status, undeclared.error()), (400, -32021), "{}", undeclared.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_keeps_ids_over_a_restart() {
    let file = std::env::temp_dir().join(format!("mcp-test-task-secret-{}", std::process::id()));
    std::fs::write(&file, "0123456789abcdef").unwrap();
    let address = fixture(Era::Modern).await;
    let section = |secret: bool| {
        let mut section =
            json!({ "upstreams": { "fx": { "url": format!("http://{address}/mcp"), "prefix": "" } } });
        if secret {
            section["task_secret"] = json!(format!("file:{}", file.display()));
        }
        section
    };
    for (secret, known) in [(true, true), (false, false)] {
        let before = Gate::open(section(secret), false).await;
        let made = ask(
            &before,
            ANN,
            "tools/call",
            json!({ "name": "slow_compute", "arguments": { "seconds": 60 } }),
        )
        .await;
        let after = Gate::open(section(secret), false).await;
        let found = ask(&after, ANN, "tasks/get", json!({ "taskId": made["result"]["taskId"] })).await;
        assert_eq!(found["result"]["status"] == json!("working"), known, "{found}");
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_of_its_own_tasks() {
    let gate = Gate::before(Era::Modern).await;
    let make = async |name: &str| {
        let made =
            ask(&gate, ANN, "tools/call", json!({ "name": name, "arguments": { "filename": "x" } })).await;
        made["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    let (mine, other) = (make("confirm_delete").await, make("confirm_delete").await);
    let filter = json!({ "notifications": { "taskIds": [mine, "task-made-up"] } });
    let bearer = format!("Bearer {ANN}");
    let headers = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "subscriptions/listen"),
        ("Authorization", bearer.as_str()),
    ];
    let undeclared = modern_body("subscriptions/listen", filter.clone(), &json!({}));
    assert_eq!(gate.send("POST", &headers, &undeclared.to_string()).await.error(), -32021);
    let body = modern_body("subscriptions/listen", filter, &capable());
    let mut stream = gate.begin("POST", &headers, &body.to_string()).await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "acknowledged").await;
    read_until(&mut stream, &mut seen, "}\n\n").await;
    assert_eq!(events(&seen)[0]["params"]["notifications"]["taskIds"], json!([mine]), "{seen}");
    for id in [&other, &mine] {
        ask(&gate, ANN, "tasks/cancel", json!({ "taskId": id })).await;
    }
    read_until(&mut stream, &mut seen, "\"cancelled\"").await;
    read_until(&mut stream, &mut seen, "}\n\n").await;
    let told = events(&seen).pop().unwrap();
    assert_eq!(told["method"], json!("notifications/tasks"));
    assert_eq!(told["params"]["taskId"], json!(mine));
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], json!(7), "{told}");
    assert!(!seen.contains(&other) && !seen.contains("\"task-"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_tasks_of_its_own() {
    let gate = Gate::before(Era::Legacy).await;
    let (one, two) = (gate.initialize(&[]).await, gate.initialize(&[]).await);
    let call =
        json!({ "name": "confirm_delete", "arguments": { "filename": "x" }, "task": { "ttl": 60_000 } });
    let made = gate.in_session(&one, "tools/call", call).await.json();
    let id = made["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    assert!(!id.starts_with("task-"), "{id}");
    let listed = async |session: &str| {
        gate.in_session(session, "tasks/list", json!({})).await.json()["result"]["tasks"].clone()
    };
    let mine = listed(&one).await;
    assert_eq!((mine.as_array().unwrap().len(), &mine[0]["taskId"]), (1, &json!(id)), "{mine}");
    assert_eq!(listed(&two).await, json!([]));
    // The task asks on the stream of whoever waits for its result.
    let headers = [("Mcp-Session-Id", one.as_str()), ("MCP-Protocol-Version", "2025-11-25")];
    let wait = request(9, "tasks/result", json!({ "taskId": id })).to_string();
    let mut stream = gate.begin("POST", &headers, &wait).await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "elicitation/create").await;
    read_until(&mut stream, &mut seen, "}\n\n").await;
    let question = events(&seen).pop().unwrap();
    let related = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
    assert_eq!(related, &json!(id), "{question}");
    let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": { "confirm": true } } });
    assert_eq!(gate.send("POST", &headers, &reply.to_string()).await.status, 202);
    read_until(&mut stream, &mut seen, "\"id\":9").await;
    assert!(seen.contains("Answered") && !seen.contains("\"task-"), "{seen}");
    // How it stands is told on the standing stream, too.
    let ids = [("Mcp-Session-Id", one.as_str()), ("Accept", "text/event-stream")];
    let mut standing = gate.begin("GET", &ids, "").await;
    let mut heard = String::new();
    read_until(&mut standing, &mut heard, "notifications/tasks/status").await;
    read_until(&mut standing, &mut heard, &id).await;
    let done = gate.in_session(&one, "tasks/get", json!({ "taskId": id })).await.json();
    assert_eq!(done["result"]["status"], json!("completed"), "{done}");
    let late = gate.in_session(&one, "tasks/cancel", json!({ "taskId": id })).await;
    assert_eq!(late.error(), -32602, "{}", late.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_offered_where_an_upstream_has_them() {
    for (era, stateless, seated) in [(Era::Modern, true, false), (Era::Legacy, false, true)] {
        let gate = Gate::before(era).await;
        let found = gate.modern("server/discover", json!({}), &[]).await.json();
        let extensions = &found["result"]["capabilities"]["extensions"];
        assert_eq!(extensions.get(EXTENSION).is_some(), stateless, "{found}");
        let mut params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        for (version, has) in [("2025-11-25", seated), ("2025-06-18", false)] {
            params["protocolVersion"] = json!(version);
            let opened =
                gate.send("POST", &[], &request(1, "initialize", params.clone()).to_string()).await.json();
            assert_eq!(opened["result"]["capabilities"].get("tasks").is_some(), has, "{opened}");
        }
        let session = gate.initialize(&[]).await;
        let listed = gate.in_session(&session, "tasks/list", json!({})).await.json();
        assert_eq!(listed.get("result").is_some(), seated, "{listed}");
    }
}
